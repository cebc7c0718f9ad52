//! Value numbers: equal numbers stand for equal contents.
//!
//! Two statements that compute the same thing from the same things get the same number, wherever they are:
//!
//! ```text
//!    ldh [12]      A = v1            v1 is "half word at 12"
//!    st M[0]       M[0] = v1
//!    and #0xff     A = v3            v3 is "v1 and v2", v2 is "constant 255"
//!    ldx M[0]      X = v1            so this is `ldx` of what `ldh [12]` loads
//! ```
//!
//! Where ways with different contents meet, the atom gets a number of its own there, which equals nothing else: what is
//! proved by numbers holds for whichever way a packet took.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::atoms::{ATOM_A, ATOM_X, ATOMS, Atom};
use crate::bpf::insn::*;
use crate::bpf::{Ancillary, Instruction};
use crate::error::{Error, ErrorKind};
use crate::ir::BlockId;

/// The number of a value; 0 is none.
pub(super) type Value = u32;

/// What each atom holds.
pub(super) type State = [Value; ATOMS];

/// The numbers handed out in one pass.
#[derive(Debug, Default)]
pub(super) struct Values {
    numbers: HashMap<(u16, u32, u32), Value, BuildHasherDefault<Mixer>>,
    /// For each number, from 1 on.
    meanings: Vec<Meaning>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Constant(u32),
    Computed,
    /// Different on the ways that met, or never set.
    Merged,
}

/// What became of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Kept,
    Rewritten,
    /// It has no effect.
    Idle,
}

impl Values {
    /// The number of a constant.
    pub(super) fn constant(&mut self, value: u32) -> Value {
        self.number((LD | IMM, value, 0), Meaning::Constant(value))
    }

    /// The constant behind a number.
    pub(super) fn as_constant(&self, value: Value) -> Option<u32> {
        match self.meaning(value) {
            Meaning::Constant(constant) => Some(constant),
            Meaning::Computed | Meaning::Merged => None,
        }
    }

    /// Whether nothing is known about a value but that it is the same wherever it has this number.
    pub(super) fn is_merged(&self, value: Value) -> bool {
        self.meaning(value) == Meaning::Merged
    }

    /// What `atom` holds at the beginning of a block where ways with different contents meet.
    pub(super) fn merged(&mut self, block: BlockId, atom: Atom) -> Value {
        self.number((MERGE, block.0, atom as u32), Meaning::Merged)
    }

    /// What a block starts with, given what the blocks before it end with.
    pub(super) fn meet<'a>(&mut self, block: BlockId, mut ends: impl Iterator<Item = &'a State>) -> State {
        let Some(&first) = ends.next() else {
            return std::array::from_fn(|atom| self.merged(block, atom));
        };
        let mut state = first;
        let mut differs = [false; ATOMS];
        for end in ends {
            for atom in 0..ATOMS {
                differs[atom] |= end[atom] != first[atom];
            }
        }
        for atom in (0..ATOMS).filter(|&atom| differs[atom]) {
            state[atom] = self.merged(block, atom);
        }
        state
    }

    /// Carries out statements on numbers.
    pub(super) fn run(&mut self, statements: &[Instruction], state: &mut State) {
        for &insn in statements {
            let (atom, value) = self.effect(insn, state);
            state[atom] = value;
        }
    }

    /// The atom that a statement writes and what it writes there.
    fn effect(&mut self, insn: Instruction, state: &State) -> (Atom, Value) {
        let (a, x) = (state[ATOM_A], state[ATOM_X]);
        let Instruction { code, k, .. } = insn;
        let mut computed = |first, second| self.number((code, first, second), Meaning::Computed);
        match insn.class() {
            LD => match code & 0xe0 {
                ABS => match Ancillary::from_offset(k) {
                    Some(
                        Ancillary::XorX | Ancillary::NetlinkAttribute | Ancillary::NestedNetlinkAttribute,
                    ) => {
                        let inputs = computed(a, x);
                        (ATOM_A, self.number((ANCILLARY, k, inputs), Meaning::Computed))
                    }
                    // Another one each time.
                    Some(Ancillary::Random) => (ATOM_A, self.fresh()),
                    _ => (ATOM_A, computed(k, 0)),
                },
                IND => (ATOM_A, computed(k, x)),
                MEM => (ATOM_A, state[scratch(k)]),
                IMM => (ATOM_A, self.constant(k)),
                _ => (ATOM_A, self.number((LD | LEN, 0, 0), Meaning::Computed)),
            },
            LDX => match code & 0xe0 {
                IMM => (ATOM_X, self.constant(k)),
                MEM => (ATOM_X, state[scratch(k)]),
                LEN => (ATOM_X, self.number((LD | LEN, 0, 0), Meaning::Computed)),
                _ => (ATOM_X, computed(k, 0)),
            },
            ST => (scratch(k), a),
            STX => (scratch(k), x),
            ALU if code & 0xf0 == NEG => (ATOM_A, computed(a, 0)),
            ALU if code & X != 0 => (ATOM_A, computed(a, x)),
            ALU => {
                let operand = self.constant(k);
                (ATOM_A, self.number((code, a, operand), Meaning::Computed))
            }
            _ if code & 0xf8 == TAX => (ATOM_X, a),
            _ => (ATOM_A, x),
        }
    }

    /// Carries out one statement on numbers and makes it simpler where they tell how.
    ///
    /// Constants are folded as libpcap folds them, which is seen in two places: a constant shifted by 32 or more is
    /// 0, and 0 divided by X is 0 although the machine would end the program for X = 0. Where the verdict must be
    /// `exact`, such arithmetic stays as it is, and so does what cannot be computed.
    pub(super) fn rewrite(
        &mut self,
        insn: &mut Instruction,
        state: &mut State,
        exact: bool,
    ) -> Result<Outcome, Error> {
        let before = *insn;
        let constant_a = self.as_constant(state[ATOM_A]);
        let constant_x = self.as_constant(state[ATOM_X]);
        let Instruction { code, k, .. } = before;
        let operation = code & 0xf0;
        let is_odd = insn.class() == ALU
            && match operation {
                LSH | RSH => (if code & X != 0 { constant_x.unwrap_or(0) } else { k }) > 31,
                DIV | MOD => (if code & X != 0 { constant_x.unwrap_or(0) } else { k }) == 0,
                _ => false,
            };
        match insn.class() {
            ALU if exact && is_odd => {}
            LD if code & 0xe0 == IND => {
                if let Some(at) = constant_x.map(|x| x.wrapping_add(k)) {
                    // An absolute offset up there would ask for what lies beside the packet; X + k asks for a byte a
                    // megabyte behind the network header, where no packet has one.
                    let at = if at < SKF_AD_OFF { at } else { NOWHERE };
                    *insn = Instruction::statement(LD | ABS | code & 0x18, at);
                }
            }
            LD | LDX if code & 0xe0 == MEM => {
                if let Some(constant) = self.as_constant(state[scratch(k)]) {
                    *insn = Instruction::statement(insn.class() | IMM, constant);
                }
            }
            ALU if operation == NEG => {
                if let Some(a) = constant_a {
                    *insn = Instruction::statement(LD | IMM, a.wrapping_neg());
                }
            }
            ALU if code & X == 0 => match (operation, k) {
                (ADD | LSH | RSH | OR | XOR, 0) => return Ok(Outcome::Idle),
                (MUL | AND, 0) => *insn = Instruction::statement(LD | IMM, 0),
                _ => {
                    if let Some(a) = constant_a {
                        *insn = Instruction::statement(LD | IMM, fold(operation, a, k)?);
                    }
                }
            },
            ALU => match (constant_a, constant_x) {
                (Some(a), Some(x)) => *insn = Instruction::statement(LD | IMM, fold(operation, a, x)?),
                (None, Some(x)) => {
                    if matches!(operation, LSH | RSH) && x > 31 {
                        return Err(meaningless("shift by more than 31 bits"));
                    }
                    if matches!(operation, DIV | MOD) && x == 0 {
                        return Err(zero(operation));
                    }
                    *insn = Instruction::statement(ALU | operation | K, x);
                }
                (Some(0), None) => match operation {
                    ADD | OR | XOR => *insn = Instruction::statement(MISC | TXA, 0),
                    MUL | DIV | MOD | AND | LSH | RSH => *insn = Instruction::statement(LD | IMM, 0),
                    _ => {}
                },
                _ => {}
            },
            _ => {}
        }
        let (atom, value) = self.effect(*insn, state);
        if state[atom] == value && value != 0 {
            return Ok(Outcome::Idle);
        }
        state[atom] = value;
        Ok(if *insn == before { Outcome::Kept } else { Outcome::Rewritten })
    }

    fn meaning(&self, value: Value) -> Meaning {
        // Number 0, which no table holds, tells nothing.
        (value as usize)
            .checked_sub(1)
            .and_then(|at| self.meanings.get(at).copied())
            .unwrap_or(Meaning::Merged)
    }

    fn number(&mut self, key: (u16, u32, u32), meaning: Meaning) -> Value {
        let next = self.meanings.len() as Value + 1;
        let number = *self.numbers.entry(key).or_insert(next);
        if number == next {
            self.meanings.push(meaning);
        }
        number
    }

    fn fresh(&mut self) -> Value {
        self.meanings.push(Meaning::Computed);
        self.meanings.len() as Value
    }
}

fn fold(operation: u16, a: u32, operand: u32) -> Result<u32, Error> {
    Ok(match operation {
        ADD => a.wrapping_add(operand),
        SUB => a.wrapping_sub(operand),
        MUL => a.wrapping_mul(operand),
        DIV => a.checked_div(operand).ok_or_else(|| zero(DIV))?,
        MOD => a.checked_rem(operand).ok_or_else(|| zero(MOD))?,
        OR => a | operand,
        AND => a & operand,
        XOR => a ^ operand,
        LSH => a.checked_shl(operand).unwrap_or(0),
        _ => a.checked_shr(operand).unwrap_or(0),
    })
}

fn zero(operation: u16) -> Error {
    meaningless(if operation == DIV { "division by zero" } else { "modulus by zero" })
}

/// Arithmetic that came out wrong once its constants were computed. Where it was written is not known any more.
fn meaningless(message: &str) -> Error {
    Error::new(ErrorKind::Meaning, message, 0..0)
}

fn scratch(k: u32) -> Atom {
    k as usize & (SCRATCH_WORDS - 1)
}

/// An offset that is outside of every packet: negative, and below those that count from a header.
const NOWHERE: u32 = 0x8000_0000;

/// Keys of values that no instruction computes: above every opcode.
const MERGE: u16 = 0xffff;
const ANCILLARY: u16 = 0xfffe;

/// Mixes the few words of a key; the keys are ours, nobody can choose them to collide on purpose and gain more than the
/// optimiser's [budget](super).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 29
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(u32::from(byte));
        }
    }

    fn write_u16(&mut self, word: u16) {
        self.write_u32(u32::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        // An odd multiplier with bits all over, here the golden ratio's, spreads every input bit upward.
        self.0 = (self.0.rotate_left(23) ^ u64::from(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
