//! A machine for programs that are not ours.
//!
//! libpcap makes programs that Linux, and [`Program`], refuse: `protochain` jumps backward, dead stores leave loads
//! of scratch words behind, and an offset may lie where Linux keeps its ancillary data. libpcap runs them in its own
//! machine, so their verdict has to be known. [`Foreign`] takes any instructions; where [`Program`] takes them too,
//! they run there.

use gannet_filter::bpf::insn::*;
use gannet_filter::{Instruction, Program, Skb};

/// Instructions of somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    instructions: Vec<Instruction>,
    /// The same, if they hold to the rules of Linux.
    program: Option<Program>,
}

/// What a run of a program was like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Jumps backward.
    pub turns: u64,
    /// Of those, over more than 15 instructions: libpcap's `protochain` steps over an authentication header so.
    pub long_turns: u64,
    /// It used a scratch word that it had not stored, with libpcap whatever lies there, or register X, which is 0
    /// then, before it had set it.
    pub unset: bool,
    /// It ended because a load lay beyond the bytes, or at a division by 0.
    pub cut_short: bool,
    /// It shifted by more than 31 bits: 0 in libpcap, by the lowest five bits of the number in Linux.
    pub long_shift: bool,
}

impl Foreign {
    /// Any instructions at all.
    pub fn new(instructions: Vec<Instruction>) -> Self {
        let program = Program::new(instructions.clone()).ok();
        Self { instructions, program }
    }

    /// The instructions.
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// The same as a checked program; `None` if Linux would refuse it.
    pub fn program(&self) -> Option<&Program> {
        self.program.as_ref()
    }

    /// True if it jumps backward, as libpcap's `protochain` does.
    pub fn has_loop(&self) -> bool {
        self.instructions.iter().any(|insn| insn.code == JMP | JA && (insn.k as i32) < 0)
    }

    /// Runs the program on the bytes of a packet; `None` if it does not end within [`STEPS`].
    pub fn run(&self, skb: &Skb<'_>) -> Option<u32> {
        match &self.program {
            Some(program) => Some(program.run(skb)),
            None => self.interpret(skb, &mut Trace::default()),
        }
    }

    /// What happens on these bytes.
    pub fn trace(&self, skb: &Skb<'_>) -> Trace {
        let mut trace = Trace::default();
        let _ = self.interpret(skb, &mut trace);
        trace
    }

    fn interpret(&self, skb: &Skb<'_>, trace: &mut Trace) -> Option<u32> {
        let (mut a, mut x) = (0_u32, 0_u32);
        let mut memory = [0_u32; SCRATCH_WORDS];
        let mut stored = 0_u32;
        let mut x_is_set = false;
        let mut at = 0_i64;
        for _ in 0..STEPS {
            let Some(&insn) = usize::try_from(at).ok().and_then(|at| self.instructions.get(at)) else {
                return Some(0);
            };
            at += 1;
            let k = insn.k;
            let operand = if insn.code & X != 0 { x } else { k };
            trace.unset |= !x_is_set && uses_x(insn);
            match insn.class() {
                LD | LDX => {
                    let value = match insn.code & 0xe0 {
                        IMM => Some(k),
                        ABS => load(skb, insn.code, u64::from(k)),
                        IND => load(skb, insn.code, u64::from(x.wrapping_add(k))),
                        MEM => {
                            trace.unset |= k < 16 && stored & 1 << k == 0;
                            memory.get(k as usize).copied()
                        }
                        LEN => Some(skb.len),
                        _ => load(skb, B, u64::from(k)).map(|byte| 4 * (byte & 15)),
                    };
                    let Some(value) = value else {
                        trace.cut_short = true;
                        return Some(0);
                    };
                    x_is_set |= insn.class() == LDX;
                    *(if insn.class() == LD { &mut a } else { &mut x }) = value;
                }
                ST | STX => match memory.get_mut(k as usize) {
                    Some(word) => {
                        stored |= 1 << k;
                        *word = if insn.class() == ST { a } else { x };
                    }
                    None => return Some(0),
                },
                ALU => {
                    trace.long_shift |= matches!(insn.code & 0xf0, LSH | RSH) && operand > 31;
                    let Some(value) = arithmetic(insn.code & 0xf0, a, operand) else {
                        trace.cut_short = true;
                        return Some(0);
                    };
                    a = value;
                }
                JMP if insn.code & 0xf0 == JA => {
                    trace.turns += u64::from((k as i32) < 0);
                    trace.long_turns += u64::from((k as i32) < -15);
                    at += i64::from(k as i32);
                }
                JMP => {
                    let holds = match insn.code & 0xf0 {
                        JEQ => a == operand,
                        JGT => a > operand,
                        JGE => a >= operand,
                        _ => a & operand != 0,
                    };
                    at += i64::from(if holds { insn.jt } else { insn.jf });
                }
                RET => return Some(if insn.code & 0x18 == A { a } else { k }),
                _ if insn.code & 0xf8 == TXA => a = x,
                _ => {
                    x_is_set = true;
                    x = a;
                }
            }
        }
        None
    }
}

/// Whether what the instruction does depends on register X.
fn uses_x(insn: Instruction) -> bool {
    match insn.class() {
        LD => insn.code & 0xe0 == IND,
        STX => true,
        ALU | JMP => insn.code & X != 0,
        MISC => insn.code & 0xf8 == TXA,
        _ => false,
    }
}

/// `None` for a division by 0.
fn arithmetic(operation: u16, a: u32, operand: u32) -> Option<u32> {
    Some(match operation {
        ADD => a.wrapping_add(operand),
        SUB => a.wrapping_sub(operand),
        MUL => a.wrapping_mul(operand),
        DIV => a.checked_div(operand)?,
        MOD => a.checked_rem(operand)?,
        OR => a | operand,
        AND => a & operand,
        XOR => a ^ operand,
        LSH => a.wrapping_shl(operand),
        RSH => a.wrapping_shr(operand),
        _ => a.wrapping_neg(),
    })
}

fn load(skb: &Skb<'_>, code: u16, at: u64) -> Option<u32> {
    let width = match code & 0x18 {
        W => 4,
        H => 2,
        _ => 1,
    };
    let at = usize::try_from(at).ok()?;
    let bytes = skb.bytes.get(at..at.checked_add(width)?)?;
    Some(bytes.iter().fold(0, |value, &byte| value << 8 | u32::from(byte)))
}

/// A chain of headers takes some 20 instructions per header, and a header at least 8 bytes: frames of 9,000 bytes end
/// long before.
pub const STEPS: u32 = 200_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_runs_and_ends() {
        // X counts up to 5, by a backward jump of three instructions.
        let foreign = Foreign::new(vec![
            Instruction::statement(MISC | TXA, 0),
            Instruction::statement(ALU | ADD | K, 1),
            Instruction::statement(MISC | TAX, 0),
            Instruction::jump(JMP | JEQ | K, 5, 1, 0),
            Instruction::statement(JMP | JA, -5_i32 as u32),
            Instruction::statement(RET | A, 0),
        ]);
        assert!(foreign.has_loop() && foreign.program().is_none());
        assert_eq!(foreign.run(&Skb::of(&[])), Some(5));
    }

    #[test]
    fn a_register_that_was_never_set_is_told() {
        let load = Instruction::statement(LD | H | IND, 14);
        let end = Instruction::statement(RET | K, 1);
        let unset = |instructions: &[Instruction]| {
            Foreign::new(instructions.to_vec()).trace(&Skb::of(&[0; 20])).unset
        };
        assert!(unset(&[load, end]));
        assert!(!unset(&[Instruction::statement(LDX | IMM, 0), load, end]));
        assert!(!unset(&[Instruction::statement(MISC | TAX, 0), load, end]));
    }

    #[test]
    fn an_endless_loop_is_given_up() {
        let foreign = Foreign::new(vec![
            Instruction::statement(JMP | JA, u32::MAX),
            Instruction::statement(RET | K, 1),
        ]);
        assert_eq!(foreign.run(&Skb::of(&[])), None);
    }

    #[test]
    fn agrees_with_the_machine_of_linux_where_both_run() {
        let bytes: Vec<u8> = (0..64).collect();
        let skb = Skb::of(&bytes);
        for (code, k) in [(LD | W | ABS, 3), (LD | H | IND, 60), (LD | B | ABS, 64), (LD | W | LEN, 0)] {
            for alu in [ADD, SUB, MUL, DIV, MOD, OR, AND, XOR, LSH, RSH] {
                let foreign = Foreign::new(vec![
                    Instruction::statement(LDX | B | MSH, 3),
                    Instruction::statement(code, k),
                    Instruction::statement(ALU | alu | X, 0),
                    Instruction::statement(RET | A, 0),
                ]);
                assert_eq!(
                    foreign.interpret(&skb, &mut Trace::default()),
                    foreign.program().map(|program| program.run(&skb))
                );
            }
        }
    }
}
