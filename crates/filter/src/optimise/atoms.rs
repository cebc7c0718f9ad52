//! What statements read and write: the registers and the words of scratch memory, and where their contents are still
//! wanted.
//!
//! ```text
//!   atom   0 ... 15   16   17
//!          M[0..16]   A    X        sets of them are the bits of a u32
//! ```

use crate::bpf::insn::*;
use crate::bpf::{Ancillary, Instruction};
use crate::ir::{Block, End, Operand};

/// A register or a scratch word.
pub(super) type Atom = usize;

/// A set of atoms.
pub(super) type Atoms = u32;

/// Register A.
pub(super) const ATOM_A: Atom = SCRATCH_WORDS;
/// Register X.
pub(super) const ATOM_X: Atom = SCRATCH_WORDS + 1;
/// How many there are.
pub(super) const ATOMS: usize = SCRATCH_WORDS + 2;

/// The set of one atom.
pub(super) const fn only(atom: Atom) -> Atoms {
    1 << atom
}

/// The atoms in a set.
pub(super) fn members(atoms: Atoms) -> impl Iterator<Item = Atom> {
    (0..ATOMS).filter(move |&atom| atoms & only(atom) != 0)
}

/// What a statement reads.
pub(super) fn uses(insn: Instruction) -> Atoms {
    match insn.class() {
        LD | LDX => match insn.code & 0xe0 {
            IND => only(ATOM_X),
            MEM => only(scratch(insn.k)),
            ABS if insn.class() == LD => match Ancillary::from_offset(insn.k) {
                Some(Ancillary::XorX | Ancillary::NetlinkAttribute | Ancillary::NestedNetlinkAttribute) => {
                    only(ATOM_A) | only(ATOM_X)
                }
                _ => 0,
            },
            _ => 0,
        },
        ST => only(ATOM_A),
        STX => only(ATOM_X),
        ALU if insn.code & 0xf0 != NEG && insn.code & X != 0 => only(ATOM_A) | only(ATOM_X),
        ALU => only(ATOM_A),
        MISC if insn.code & 0xf8 == TXA => only(ATOM_X),
        MISC => only(ATOM_A),
        _ => 0,
    }
}

/// What a statement writes: always one atom.
pub(super) fn defines(insn: Instruction) -> Atom {
    match insn.class() {
        ST | STX => scratch(insn.k),
        LDX => ATOM_X,
        MISC if insn.code & 0xf8 == TAX => ATOM_X,
        _ => ATOM_A,
    }
}

/// What the way out of a block reads.
pub(super) fn end_uses(end: &End) -> Atoms {
    match end {
        End::Branch { condition, .. } => match condition.operand {
            Operand::Constant(_) => only(ATOM_A),
            Operand::X => only(ATOM_A) | only(ATOM_X),
        },
        End::ReturnA => only(ATOM_A),
        End::Goto(_) | End::Return(_) => 0,
    }
}

/// Whether a statement can end the program: a load outside the packet, a division by X = 0.
pub(super) fn may_fail(insn: Instruction) -> bool {
    match insn.class() {
        LD => match insn.code & 0xe0 {
            ABS => Ancillary::from_offset(insn.k).is_none(),
            IND => true,
            _ => false,
        },
        LDX => insn.code & 0xe0 == MSH,
        ALU => matches!(insn.code & 0xf0, DIV | MOD) && insn.code & X != 0,
        _ => false,
    }
}

/// What a block does to the atoms as a whole.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traffic {
    /// Read before the block writes them: what it wants from the blocks before it.
    pub(super) wants: Atoms,
    /// Written.
    pub(super) writes: Atoms,
}

impl Traffic {
    pub(super) fn of(block: &Block) -> Self {
        let mut traffic = Self::default();
        for &insn in &block.statements {
            traffic.wants |= uses(insn) & !traffic.writes;
            traffic.writes |= only(defines(insn));
        }
        traffic.wants |= end_uses(&block.end) & !traffic.writes;
        traffic
    }

    /// What must be right at the block's beginning when `after` must be right at its end.
    pub(super) fn live_before(self, after: Atoms) -> Atoms {
        self.wants | after & !self.writes
    }
}

/// [`Program::new`](crate::bpf::Program::new) refuses larger indexes; the mask only keeps this total.
fn scratch(k: u32) -> Atom {
    k as usize & (SCRATCH_WORDS - 1)
}
