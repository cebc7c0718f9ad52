//! Programs that passed the kernel's checks.

use thiserror::Error;

use super::insn::*;

/// A classic BPF program that Linux accepts.
///
/// Invariants, all from `bpf_check_classic` and `check_load_and_stores` in `net/core/filter.c` (Linux 6.18):
/// - between 1 and [`MAX_INSTRUCTIONS`] instructions, each with a known opcode;
/// - every jump lands inside the program, hence forward, and the last instruction is a `ret`;
/// - no division by the constant 0, no shift by a constant above 31;
/// - scratch indexes are below [`SCRATCH_WORDS`] and no path loads a word that it did not store before;
/// - absolute loads at [`SKF_AD_OFF`] and above name a known [`Ancillary`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    instructions: Box<[Instruction]>,
}

impl Program {
    /// Checks a program.
    ///
    /// # Errors
    /// The first violated rule, with the index of the instruction.
    pub fn new(instructions: Vec<Instruction>) -> Result<Self, ProgramError> {
        check(&instructions)?;
        Ok(Self { instructions: instructions.into_boxed_slice() })
    }

    /// The program `ret k`: keeps `k` bytes of every packet, or rejects all of them for 0.
    pub fn constant(k: u32) -> Self {
        Self { instructions: Box::new([Instruction::statement(RET | K, k)]) }
    }

    /// The instructions, as `SO_ATTACH_FILTER` and `PACKET_FANOUT_DATA` take them; never empty and at most
    /// [`MAX_INSTRUCTIONS`].
    #[inline]
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }
}

/// Why Linux would refuse a program. `at` is the index of the instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// No instruction, or more than [`MAX_INSTRUCTIONS`].
    #[error("a program has 1 to {MAX_INSTRUCTIONS} instructions, this one {0}")]
    Length(usize),
    /// An opcode that the classic machine does not have.
    #[error("instruction {at}: unknown opcode {code:#06x}")]
    Opcode {
        /// The instruction.
        at: usize,
        /// Its opcode.
        code: u16,
    },
    /// A jump out of the program.
    #[error("instruction {at}: jump out of the program")]
    Jump {
        /// The instruction.
        at: usize,
    },
    /// A division or a remainder by the constant 0.
    #[error("instruction {at}: division by 0")]
    DivisionByZero {
        /// The instruction.
        at: usize,
    },
    /// A shift by a constant above 31.
    #[error("instruction {at}: shift by more than 31 bits")]
    Shift {
        /// The instruction.
        at: usize,
    },
    /// A scratch index that does not exist.
    #[error("instruction {at}: there is no M[{index}]")]
    Scratch {
        /// The instruction.
        at: usize,
        /// The index asked for.
        index: u32,
    },
    /// A scratch word that may be loaded before it was stored.
    #[error("instruction {at}: M[{index}] may be loaded before it was stored")]
    Unset {
        /// The instruction.
        at: usize,
        /// The index asked for.
        index: u32,
    },
    /// An ancillary load that Linux does not know.
    #[error("instruction {at}: unknown ancillary offset {k:#010x}")]
    Ancillary {
        /// The instruction.
        at: usize,
        /// The offset of the load.
        k: u32,
    },
    /// The last instruction is no `ret`.
    #[error("the last instruction is no return")]
    NoReturn,
}

impl ProgramError {
    /// The index of the instruction that breaks the rule; `None` if the program as a whole does.
    pub const fn at(&self) -> Option<usize> {
        match *self {
            Self::Length(_) | Self::NoReturn => None,
            Self::Opcode { at, .. }
            | Self::Jump { at }
            | Self::DivisionByZero { at }
            | Self::Shift { at }
            | Self::Scratch { at, .. }
            | Self::Unset { at, .. }
            | Self::Ancillary { at, .. } => Some(at),
        }
    }
}

fn check(instructions: &[Instruction]) -> Result<(), ProgramError> {
    let len = instructions.len();
    if len == 0 || len > MAX_INSTRUCTIONS {
        return Err(ProgramError::Length(len));
    }
    for (at, &insn) in instructions.iter().enumerate() {
        if !is_known(insn.code) {
            return Err(ProgramError::Opcode { at, code: insn.code });
        }
        check_operand(at, insn, len)?;
    }
    match instructions.last() {
        Some(last) if last.class() == RET => check_scratch(instructions),
        _ => Err(ProgramError::NoReturn),
    }
}

/// What the constant and the jump distances of one instruction may be.
fn check_operand(at: usize, insn: Instruction, len: usize) -> Result<(), ProgramError> {
    // Every operand below fits u64, so the sums cannot wrap.
    let after = at as u64 + 1;
    let inside = |distance: u64| after + distance < len as u64;
    match insn.code {
        code if insn.is_conditional_jump() => {
            debug_assert_eq!(code & 0x07, JMP);
            if !inside(u64::from(insn.jt)) || !inside(u64::from(insn.jf)) {
                return Err(ProgramError::Jump { at });
            }
        }
        JUMP_ALWAYS if !inside(u64::from(insn.k)) => return Err(ProgramError::Jump { at }),
        DIV_K | MOD_K if insn.k == 0 => return Err(ProgramError::DivisionByZero { at }),
        LSH_K | RSH_K if insn.k > 31 => return Err(ProgramError::Shift { at }),
        LD_MEM | LDX_MEM | ST | STX if insn.k as usize >= SCRATCH_WORDS => {
            return Err(ProgramError::Scratch { at, index: insn.k });
        }
        LD_ABS_W | LD_ABS_H | LD_ABS_B
            if insn.k >= SKF_AD_OFF && Ancillary::from_offset(insn.k).is_none() =>
        {
            return Err(ProgramError::Ancillary { at, k: insn.k });
        }
        _ => {}
    }
    Ok(())
}

/// Follows, in one pass, which scratch words are set on every way to an instruction.
///
/// As in the kernel, what is known before a `ret` flows into the instruction after it, although no packet
/// takes that way: stricter than needed, and kept so that an accepted program is accepted there too.
fn check_scratch(instructions: &[Instruction]) -> Result<(), ProgramError> {
    const ALL: u16 = u16::MAX;
    let mut set_at = vec![ALL; instructions.len()];
    let mut set = 0_u16;
    for (at, &insn) in instructions.iter().enumerate() {
        set &= set_at[at];
        match insn.code {
            ST | STX => set |= 1 << insn.k,
            LD_MEM | LDX_MEM if set & (1 << insn.k) == 0 => {
                return Err(ProgramError::Unset { at, index: insn.k });
            }
            JUMP_ALWAYS => {
                set_at[at + 1 + insn.k as usize] &= set;
                set = ALL;
            }
            _ if insn.is_conditional_jump() => {
                set_at[at + 1 + usize::from(insn.jt)] &= set;
                set_at[at + 1 + usize::from(insn.jf)] &= set;
                set = ALL;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The opcodes of `chk_code_allowed`: a whitelist, as bits outside the fields must be 0.
fn is_known(code: u16) -> bool {
    let operation = code & 0xf0;
    match code & 0x07 {
        LD => matches!(
            code,
            LD_ABS_W | LD_ABS_H | LD_ABS_B | LD_IND_W | LD_IND_H | LD_IND_B | LD_IMM | LD_MEM | LD_LEN
        ),
        LDX => matches!(code, LDX_IMM | LDX_MEM | LDX_LEN | LDX_MSH),
        ST => code == ST,
        STX => code == STX,
        ALU if operation == NEG => code == ALU_NEG,
        ALU => code <= 0xff && matches!(operation, ADD | SUB | MUL | DIV | OR | AND | LSH | RSH | MOD | XOR),
        JMP if operation == JA => code == JUMP_ALWAYS,
        JMP => code <= 0xff && matches!(operation, JEQ | JGT | JGE | JSET),
        RET => matches!(code, RET_K | RET_A),
        _ => matches!(code, MISC_TAX | MISC_TXA),
    }
}

pub(super) const LD_ABS_W: u16 = LD | W | ABS;
pub(super) const LD_ABS_H: u16 = LD | H | ABS;
pub(super) const LD_ABS_B: u16 = LD | B | ABS;
pub(super) const LD_IND_W: u16 = LD | W | IND;
pub(super) const LD_IND_H: u16 = LD | H | IND;
pub(super) const LD_IND_B: u16 = LD | B | IND;
pub(super) const LD_IMM: u16 = LD | IMM;
pub(super) const LD_MEM: u16 = LD | MEM;
pub(super) const LD_LEN: u16 = LD | W | LEN;
pub(super) const LDX_IMM: u16 = LDX | IMM;
pub(super) const LDX_MEM: u16 = LDX | MEM;
pub(super) const LDX_LEN: u16 = LDX | W | LEN;
pub(super) const LDX_MSH: u16 = LDX | B | MSH;
pub(super) const JUMP_ALWAYS: u16 = JMP | JA;
pub(super) const ALU_NEG: u16 = ALU | NEG;
pub(super) const RET_K: u16 = RET | K;
pub(super) const RET_A: u16 = RET | A;
pub(super) const MISC_TAX: u16 = MISC | TAX;
pub(super) const MISC_TXA: u16 = MISC | TXA;
const DIV_K: u16 = ALU | DIV | K;
const MOD_K: u16 = ALU | MOD | K;
const LSH_K: u16 = ALU | LSH | K;
const RSH_K: u16 = ALU | RSH | K;

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(instructions: &[Instruction]) -> ProgramError {
        Program::new(instructions.to_vec()).unwrap_err()
    }

    const RETURN: Instruction = Instruction::statement(RET_K, 1);

    #[test]
    fn length() {
        assert_eq!(refused(&[]), ProgramError::Length(0));
        assert_eq!(refused(&vec![RETURN; 4097]), ProgramError::Length(4097));
        assert!(Program::new(vec![RETURN; 4096]).is_ok());
    }

    #[test]
    fn exactly_the_opcodes_of_the_kernel() {
        // 6 packet loads, 3 + 4 other loads, 2 stores, 10 operations by 2 sources and neg, ja and 4 conditions
        // by 2 sources, 2 returns, 2 copies: the entries of `chk_code_allowed`.
        let known = (0..=u16::MAX).filter(|&code| is_known(code)).count();
        assert_eq!(known, 6 + 3 + 4 + 2 + 21 + 9 + 2 + 2);
        assert_eq!(
            refused(&[Instruction::statement(LD | 0x18 | ABS, 0), RETURN]),
            ProgramError::Opcode { at: 0, code: 0x38 }
        );
    }

    #[test]
    fn jumps_stay_inside() {
        let jeq = |jt, jf| Instruction::jump(JMP | JEQ | K, 0, jt, jf);
        assert!(Program::new(vec![jeq(0, 1), RETURN, RETURN]).is_ok());
        assert_eq!(refused(&[jeq(2, 0), RETURN, RETURN]), ProgramError::Jump { at: 0 });
        assert_eq!(refused(&[jeq(0, 2), RETURN, RETURN]), ProgramError::Jump { at: 0 });
        let ja = |k| Instruction::statement(JUMP_ALWAYS, k);
        assert!(Program::new(vec![ja(0), RETURN]).is_ok());
        assert_eq!(refused(&[ja(1), RETURN]), ProgramError::Jump { at: 0 });
        // A backward jump in two's complement is a jump far out of the program.
        assert_eq!(refused(&[RETURN, ja(u32::MAX - 1), RETURN]), ProgramError::Jump { at: 1 });
    }

    #[test]
    fn ends_in_a_return() {
        assert_eq!(refused(&[Instruction::statement(LD_IMM, 1)]), ProgramError::NoReturn);
    }

    #[test]
    fn constants() {
        let one = |code, k| refused(&[Instruction::statement(code, k), RETURN]);
        assert_eq!(one(DIV_K, 0), ProgramError::DivisionByZero { at: 0 });
        assert_eq!(one(MOD_K, 0), ProgramError::DivisionByZero { at: 0 });
        assert_eq!(one(RSH_K, 32), ProgramError::Shift { at: 0 });
        assert_eq!(one(ST, 16), ProgramError::Scratch { at: 0, index: 16 });
        assert_eq!(one(LDX_MEM, 17), ProgramError::Scratch { at: 0, index: 17 });
        assert_eq!(one(LD_ABS_H, SKF_AD_OFF + 2), ProgramError::Ancillary { at: 0, k: SKF_AD_OFF + 2 });
        let ok = |code, k| Program::new(vec![Instruction::statement(code, k), RETURN]).is_ok();
        assert!(ok(LSH_K, 31) && ok(ALU | DIV | X, 0) && ok(LD_ABS_B, Ancillary::Random.offset()));
        // Only absolute loads are looked at: an indexed one just misses the packet when it runs.
        assert!(ok(LD_IND_W, SKF_AD_OFF + 2));
    }

    #[test]
    fn scratch_is_stored_before_it_is_loaded() {
        let store = Instruction::statement(ST, 3);
        let load = Instruction::statement(LD_MEM, 3);
        assert!(Program::new(vec![store, load, RETURN]).is_ok());
        assert_eq!(refused(&[load, RETURN]), ProgramError::Unset { at: 0, index: 3 });
        // Stored on one of two ways only.
        let jeq = Instruction::jump(JMP | JEQ | K, 0, 0, 1);
        assert_eq!(refused(&[jeq, store, load, RETURN]), ProgramError::Unset { at: 2, index: 3 });
        assert!(Program::new(vec![store, jeq, RETURN, load, RETURN]).is_ok());
    }
}
