//! The intermediate form: a graph of blocks over the registers of the classic machine.
//!
//! ```text
//!      ┌───────────────┐ then  ┌───────────────┐ then
//!      │ ldh [12]      ├──────►│ ldb [23]      ├──────► Return 262144
//!      │ == 0x800 ?    │       │ == 6 ?        │
//!      └──────┬────────┘       └──────┬────────┘
//!             │ otherwise             │ otherwise
//!             ▼                       ▼
//!          Return 0                Return 0
//! ```
//!
//! A block is a run of statements without jumps, then one way out. The graph has no cycle. Statements are
//! instructions of the classic machine that do not jump, so that nothing can be said here that the machine could not
//! do; what is abstract is where blocks lie and how far jumps reach, which [`emit`](crate::emit) decides.

use crate::bpf::Instruction;
use crate::bpf::insn::{JEQ, JGE, JGT, JMP, JSET, K, X};

/// A filter as blocks.
///
/// Invariants: every [`BlockId`] in it is an index of `blocks`; there is no cycle; a block that nothing reaches is
/// allowed and is not emitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// All blocks, in any order.
    pub blocks: Vec<Block>,
    /// Where it begins.
    pub entry: BlockId,
}

/// A block's index in [`Graph::blocks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockId(pub u32);

/// Statements, then a way out.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// Loads, stores, arithmetic and copies: any instruction but jumps and returns.
    pub statements: Vec<Instruction>,
    /// What comes after them.
    pub end: End,
}

/// How a block ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Goes on at one of two blocks.
    Branch {
        /// What is asked of register A.
        condition: Condition,
        /// Where to go if it holds.
        then: BlockId,
        /// Where to go if not.
        otherwise: BlockId,
    },
    /// Goes on there. Lowering makes none of these for ordinary tests.
    Goto(BlockId),
    /// Ends with this value.
    Return(u32),
    /// Ends with what register A holds.
    ReturnA,
}

/// A question about register A, unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Condition {
    /// The comparison.
    pub test: Comparison,
    /// What A is compared with.
    pub operand: Operand,
}

/// The comparisons of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// A = operand.
    Equal,
    /// A > operand.
    Greater,
    /// A >= operand.
    GreaterOrEqual,
    /// A has a bit of operand set.
    AnyBit,
}

/// The right side of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// A constant.
    Constant(u32),
    /// Register X.
    X,
}

impl Graph {
    /// The block of that id.
    ///
    /// # Panics
    /// If the id is of another graph: ids are made together with their block and blocks are never removed.
    #[inline]
    pub fn block(&self, id: BlockId) -> &Block {
        &self.blocks[id.0 as usize]
    }
}

impl Block {
    /// The blocks that it may go on at; both ways of a branch even if they are the same.
    pub fn successors(&self) -> impl Iterator<Item = BlockId> {
        let (first, second) = match self.end {
            End::Branch { then, otherwise, .. } => (Some(then), Some(otherwise)),
            End::Goto(next) => (Some(next), None),
            End::Return(_) | End::ReturnA => (None, None),
        };
        first.into_iter().chain(second)
    }
}

/// One of the two ways out of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// The condition holds.
    Then,
    /// It does not; never taken by anything but a branch.
    Otherwise,
}

impl End {
    /// The ways that it has; a `Goto` has one.
    pub fn ways(&self) -> &'static [Way] {
        match self {
            Self::Branch { .. } => &[Way::Then, Way::Otherwise],
            Self::Goto(_) => &[Way::Then],
            Self::Return(_) | Self::ReturnA => &[],
        }
    }

    /// Where a way leads; a `Goto` leads to the same block by both.
    pub fn by(&self, way: Way) -> Option<BlockId> {
        match *self {
            Self::Branch { then, otherwise, .. } => Some(if way == Way::Then { then } else { otherwise }),
            Self::Goto(next) => Some(next),
            Self::Return(_) | Self::ReturnA => None,
        }
    }

    /// Has a way lead to another block. Nothing happens to an end without ways.
    pub fn turn(&mut self, way: Way, to: BlockId) {
        match self {
            Self::Branch { then, otherwise, .. } => *(if way == Way::Then { then } else { otherwise }) = to,
            Self::Goto(next) => *next = to,
            Self::Return(_) | Self::ReturnA => {}
        }
    }

    /// The block where it goes on whatever the condition says.
    pub fn only_way(&self) -> Option<BlockId> {
        match *self {
            Self::Branch { then, otherwise, .. } => (then == otherwise).then_some(then),
            Self::Goto(next) => Some(next),
            Self::Return(_) | Self::ReturnA => None,
        }
    }
}

impl Comparison {
    /// Whether it holds for `a` and `operand`.
    pub fn holds(self, a: u32, operand: u32) -> bool {
        match self {
            Self::Equal => a == operand,
            Self::Greater => a > operand,
            Self::GreaterOrEqual => a >= operand,
            Self::AnyBit => a & operand != 0,
        }
    }
}

impl Condition {
    /// The opcode and the constant of the conditional jump that asks this.
    pub fn encoded(self) -> (u16, u32) {
        let operation = match self.test {
            Comparison::Equal => JEQ,
            Comparison::Greater => JGT,
            Comparison::GreaterOrEqual => JGE,
            Comparison::AnyBit => JSET,
        };
        match self.operand {
            Operand::Constant(value) => (JMP | operation | K, value),
            Operand::X => (JMP | operation | X, 0),
        }
    }
}
