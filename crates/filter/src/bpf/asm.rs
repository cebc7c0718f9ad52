//! An assembler with labels, for programs written by hand and by a compiler.
//!
//! A conditional jump reaches 255 instructions. Where a target is farther away the assembler puts a `ja` behind
//! the jump and sends it there, so that the writer never counts:
//!
//! ```text
//!   jeq #6, far, next          jeq #6  jt 0 jf 1
//!                     ──►      ja  far
//!                              next: ...
//! ```

use thiserror::Error;

use super::insn::*;
use super::program::{Program, ProgramError};

/// Collects instructions and labels; [`assemble`](Self::assemble) resolves the jumps.
///
/// The methods are named after the mnemonics of `tcpdump -d`.
#[derive(Debug, Default)]
pub struct Assembler {
    items: Vec<Item>,
    /// For each label the index of the item it stands before.
    labels: Vec<Option<usize>>,
}

/// A place in a program, made by [`Assembler::label`] and put there by [`Assembler::bind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

/// Where one way of a conditional jump goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To the instruction written next.
    Next,
    /// To a label, which must be bound further on.
    To(Label),
}

impl From<Label> for Target {
    fn from(label: Label) -> Self {
        Self::To(label)
    }
}

/// The instruction written next: what a jump does where it need not jump.
pub const NEXT: Target = Target::Next;

/// Why a program could not be assembled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AssembleError {
    /// A jump to a label that was never bound.
    #[error("label {0} is never bound")]
    Unbound(usize),
    /// A jump to a label that was bound before it.
    #[error("label {0} is bound before a jump to it: programs only jump forward")]
    Backward(usize),
    /// The resolved program breaks a rule of the machine.
    #[error(transparent)]
    Program(#[from] ProgramError),
}

impl Assembler {
    /// An empty program.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new label, not yet bound.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Puts a label before the instruction written next. A label bound twice stands at the later place.
    pub fn bind(&mut self, label: Label) {
        // A `Label` of another assembler may be out of range; it then stays unbound here, which is an error.
        if let Some(place) = self.labels.get_mut(label.0) {
            *place = Some(self.items.len());
        }
    }

    /// Any instruction that does not jump.
    pub fn push(&mut self, code: u16, k: u32) {
        self.items.push(Item::Plain(Instruction::statement(code, k)));
    }

    /// A = packet at `k`.
    pub fn ld_abs(&mut self, width: Width, k: u32) {
        self.push(LD | width.bits() | ABS, k);
    }

    /// A = packet at X + `k`.
    pub fn ld_ind(&mut self, width: Width, k: u32) {
        self.push(LD | width.bits() | IND, k);
    }

    /// A = what Linux knows beside the packet. For [`Ancillary::XorX`] A is xored with X.
    pub fn ld_ancillary(&mut self, what: Ancillary) {
        self.push(LD | W | ABS, what.offset());
    }

    /// A = `k`.
    pub fn ld_imm(&mut self, k: u32) {
        self.push(LD | IMM, k);
    }

    /// A = length of the packet.
    pub fn ld_len(&mut self) {
        self.push(LD | W | LEN, 0);
    }

    /// A = M\[`index`\].
    pub fn ld_mem(&mut self, index: u32) {
        self.push(LD | MEM, index);
    }

    /// X = `k`.
    pub fn ldx_imm(&mut self, k: u32) {
        self.push(LDX | IMM, k);
    }

    /// X = M\[`index`\].
    pub fn ldx_mem(&mut self, index: u32) {
        self.push(LDX | MEM, index);
    }

    /// X = four times the low nibble of the byte at `k`.
    pub fn ldx_msh(&mut self, k: u32) {
        self.push(LDX | B | MSH, k);
    }

    /// M\[`index`\] = A.
    pub fn st(&mut self, index: u32) {
        self.push(ST, index);
    }

    /// M\[`index`\] = X.
    pub fn stx(&mut self, index: u32) {
        self.push(STX, index);
    }

    /// X = A.
    pub fn tax(&mut self) {
        self.push(MISC | TAX, 0);
    }

    /// A = X.
    pub fn txa(&mut self) {
        self.push(MISC | TXA, 0);
    }

    /// A = A `operation` `k`, with an operation of [`insn`](super::insn) such as [`ADD`].
    pub fn alu(&mut self, operation: u16, k: u32) {
        self.push(ALU | operation | K, k);
    }

    /// A = A `operation` X.
    pub fn alu_x(&mut self, operation: u16) {
        self.push(ALU | operation | X, 0);
    }

    /// A = -A.
    pub fn neg(&mut self) {
        self.push(ALU | NEG, 0);
    }

    /// Goes to `target`.
    pub fn ja(&mut self, target: Label) {
        self.items.push(Item::Always(target));
    }

    /// Goes to `then` if A == `k`, else to `other`.
    pub fn jeq(&mut self, k: u32, then: impl Into<Target>, other: impl Into<Target>) {
        self.jump(JMP | JEQ | K, k, then.into(), other.into());
    }

    /// Goes to `then` if A > `k`, else to `other`.
    pub fn jgt(&mut self, k: u32, then: impl Into<Target>, other: impl Into<Target>) {
        self.jump(JMP | JGT | K, k, then.into(), other.into());
    }

    /// Goes to `then` if A >= `k`, else to `other`.
    pub fn jge(&mut self, k: u32, then: impl Into<Target>, other: impl Into<Target>) {
        self.jump(JMP | JGE | K, k, then.into(), other.into());
    }

    /// Goes to `then` if A & `k` is not 0, else to `other`.
    pub fn jset(&mut self, k: u32, then: impl Into<Target>, other: impl Into<Target>) {
        self.jump(JMP | JSET | K, k, then.into(), other.into());
    }

    /// A conditional jump by opcode; the way to the comparisons with X.
    pub fn jump(&mut self, code: u16, k: u32, then: Target, other: Target) {
        self.items.push(Item::Branch { code, k, then, other });
    }

    /// Ends with `k`.
    pub fn ret(&mut self, k: u32) {
        self.push(RET | K, k);
    }

    /// Ends with A.
    pub fn ret_a(&mut self) {
        self.push(RET | A, 0);
    }

    /// Resolves the labels and checks the program.
    ///
    /// # Errors
    /// A label that is unbound or lies behind a jump to it, or a program that Linux would refuse.
    pub fn assemble(self) -> Result<Program, AssembleError> {
        self.check_labels()?;
        let far = self.far_jumps();
        let addresses = self.addresses(&far);
        let mut out = Vec::with_capacity(self.items.len() * 2);
        for (index, (&item, &far)) in self.items.iter().zip(&far).enumerate() {
            // check_labels showed every target to lie ahead, so the differences cannot be negative.
            let distance = |target: Target, from: usize| match target {
                Target::Next => addresses[index + 1] - from - 1,
                Target::To(label) => addresses[self.place(label)] - from - 1,
            };
            let at = out.len();
            match item {
                Item::Plain(insn) => out.push(insn),
                Item::Always(label) => {
                    out.push(Instruction::statement(JMP | JA, distance(Target::To(label), at) as u32));
                }
                Item::Branch { code, k, then, other } => {
                    let other_hop = usize::from(far.then);
                    // A way that is far goes to its `ja` right behind; far_jumps() made the others fit 8 bits.
                    let jt = if far.then { 0 } else { distance(then, at) };
                    let jf = if far.other { other_hop } else { distance(other, at) };
                    out.push(Instruction::jump(code, k, jt as u8, jf as u8));
                    for (is_far, target) in [(far.then, then), (far.other, other)] {
                        if is_far {
                            out.push(Instruction::statement(JMP | JA, distance(target, out.len()) as u32));
                        }
                    }
                }
            }
        }
        Ok(Program::new(out)?)
    }

    fn check_labels(&self) -> Result<(), AssembleError> {
        for (index, item) in self.items.iter().enumerate() {
            let targets = match *item {
                Item::Plain(_) => continue,
                Item::Always(label) => [Target::To(label), Target::Next],
                Item::Branch { then, other, .. } => [then, other],
            };
            for target in targets {
                if let Target::To(label) = target {
                    match self.labels.get(label.0).copied().flatten() {
                        None => return Err(AssembleError::Unbound(label.0)),
                        Some(place) if place <= index => return Err(AssembleError::Backward(label.0)),
                        Some(_) => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// Finds the ways of conditional jumps that do not fit 8 bits. Every `ja` added may push another target out
    /// of reach, so this repeats until nothing changes; a way once far stays far, hence it ends.
    fn far_jumps(&self) -> Vec<Far> {
        let mut far = vec![Far::default(); self.items.len()];
        loop {
            let addresses = self.addresses(&far);
            let mut changed = false;
            for (index, item) in self.items.iter().enumerate() {
                let Item::Branch { then, other, .. } = *item else { continue };
                let reaches = |target: Target| match target {
                    Target::Next => true,
                    Target::To(label) => addresses[self.place(label)] - addresses[index] - 1 <= 255,
                };
                let now = Far {
                    then: far[index].then || !reaches(then),
                    other: far[index].other || !reaches(other),
                };
                changed |= now != far[index];
                far[index] = now;
            }
            if !changed {
                return far;
            }
        }
    }

    /// The address of each item, and at the end that of the program's end.
    fn addresses(&self, far: &[Far]) -> Vec<usize> {
        let mut addresses = Vec::with_capacity(self.items.len() + 1);
        let mut next = 0;
        for far in far {
            addresses.push(next);
            next += 1 + usize::from(far.then) + usize::from(far.other);
        }
        addresses.push(next);
        addresses
    }

    /// The item a label stands before; the end of the program for one that is not bound, which
    /// [`check_labels`](Self::check_labels) has excluded.
    fn place(&self, label: Label) -> usize {
        self.labels.get(label.0).copied().flatten().unwrap_or(self.items.len())
    }
}

#[derive(Clone, Copy, Debug)]
enum Item {
    Plain(Instruction),
    Always(Label),
    Branch { code: u16, k: u32, then: Target, other: Target },
}

/// Which ways of a conditional jump need a `ja` of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Far {
    then: bool,
    other: bool,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bpf::Skb;

    #[test]
    fn a_filter_for_ipv4_tcp() {
        let mut asm = Assembler::new();
        let reject = asm.label();
        asm.ld_abs(Width::Half, 12);
        asm.jeq(0x0800, NEXT, reject);
        asm.ld_abs(Width::Byte, 23);
        asm.jeq(6, NEXT, reject);
        asm.ret(65535);
        asm.bind(reject);
        asm.ret(0);
        let program = asm.assemble().unwrap();
        assert_eq!(
            program.instructions(),
            [
                Instruction::statement(0x28, 12),
                Instruction::jump(0x15, 0x0800, 0, 3),
                Instruction::statement(0x30, 23),
                Instruction::jump(0x15, 6, 0, 1),
                Instruction::statement(0x06, 65535),
                Instruction::statement(0x06, 0),
            ]
        );
    }

    #[test]
    fn labels_are_bound_ahead() {
        let mut asm = Assembler::new();
        let lost = asm.label();
        asm.ja(lost);
        asm.ret(0);
        assert_eq!(asm.assemble().unwrap_err(), AssembleError::Unbound(0));

        let mut asm = Assembler::new();
        let behind = asm.label();
        asm.bind(behind);
        asm.ld_imm(1);
        asm.jeq(1, behind, NEXT);
        asm.ret(0);
        assert_eq!(asm.assemble().unwrap_err(), AssembleError::Backward(0));

        let mut asm = Assembler::new();
        let end = asm.label();
        asm.ja(end);
        asm.bind(end);
        assert!(matches!(asm.assemble(), Err(AssembleError::Program(ProgramError::Jump { at: 0 }))));
    }

    /// A chain of branches over a filler: taken to the far end, or through every one of them.
    fn chain(branches: usize, filler: usize) -> Program {
        let mut asm = Assembler::new();
        let (equal, end) = (asm.label(), asm.label());
        asm.ld_abs(Width::Byte, 0);
        for value in 1..=branches {
            let skip = asm.label();
            asm.jeq(value as u32, equal, skip);
            for _ in 0..filler {
                asm.ld_imm(99);
            }
            asm.bind(skip);
        }
        asm.ja(end);
        asm.bind(equal);
        asm.ret_a();
        asm.bind(end);
        asm.ret(1000);
        asm.assemble().unwrap()
    }

    proptest! {
        /// Whatever the distances, a far jump and a near one end at the same place.
        #[test]
        fn far_jumps_land_where_near_ones_do(branches in 1_usize..40, filler in 0_usize..90, value in 0_u8..60) {
            let program = chain(branches, filler);
            let expected = if (1..=branches).contains(&usize::from(value)) { u32::from(value) } else { 1000 };
            prop_assert_eq!(program.run(&Skb::of(&[value])), expected);
        }
    }

    #[test]
    fn both_ways_may_be_far() {
        let mut asm = Assembler::new();
        let (yes, no) = (asm.label(), asm.label());
        asm.ld_abs(Width::Byte, 0);
        asm.jset(1, yes, no);
        for _ in 0..300 {
            asm.ret(7);
        }
        asm.bind(yes);
        asm.ret(1);
        asm.bind(no);
        asm.ret(2);
        let program = asm.assemble().unwrap();
        assert_eq!(program.run(&Skb::of(&[3])), 1);
        assert_eq!(program.run(&Skb::of(&[4])), 2);
    }
}
