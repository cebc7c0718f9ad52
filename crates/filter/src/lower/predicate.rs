//! Building a graph out of predicates joined by and, or, not.
//!
//! A predicate is a piece of graph with one way in and two kinds of ways out, those where it holds and those where it
//! does not. The ways out are not connected yet. They are chained: the field of each holds the next of its chain, and
//! the predicate knows both ends, so joining two predicates costs the same however large they are, and every way out
//! is visited once more only, when it gets its target.
//!
//! ```text
//!              ┌───────┐ holds ─► exit ─► exit ─► end
//!   head ─────►│ blocks│
//!              └───────┘ fails ─► exit ─► end
//! ```

use crate::bpf::Instruction;
use crate::ir::{Block, BlockId, Comparison, Condition, End, Graph, Operand};

/// A piece of graph that asks something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Predicate {
    head: BlockId,
    holds: Exits,
    fails: Exits,
}

impl Predicate {
    /// The opposite question.
    pub(super) fn not(self) -> Self {
        Self { head: self.head, holds: self.fails, fails: self.holds }
    }
}

/// Blocks being built.
#[derive(Debug, Default)]
pub(super) struct Builder {
    blocks: Vec<Block>,
    /// For both ways out of each block, the next one in its chain.
    next_exits: Vec<[u32; 2]>,
}

impl Builder {
    /// A block that asks `condition` after `statements`.
    pub(super) fn ask(&mut self, statements: Vec<Instruction>, condition: Condition) -> Predicate {
        let head = self
            .push(Block { statements, end: End::Branch { condition, then: NOWHERE, otherwise: NOWHERE } });
        Predicate { head, holds: Exits::one(head, THEN), fails: Exits::one(head, OTHERWISE) }
    }

    /// A block that asks `condition`, with ways out that may lead to blocks already made.
    pub(super) fn branch(
        &mut self,
        statements: Vec<Instruction>,
        condition: Condition,
        then: Way,
        otherwise: Way,
        open: &mut Open,
    ) -> BlockId {
        let target = |way| if let Way::To(block) = way { block } else { NOWHERE };
        let end = End::Branch { condition, then: target(then), otherwise: target(otherwise) };
        let block = self.push(Block { statements, end });
        for (way, side) in [(then, THEN), (otherwise, OTHERWISE)] {
            let chain = match way {
                Way::To(_) => continue,
                Way::Holds => &mut open.holds,
                Way::Fails => &mut open.fails,
            };
            let exit = Exits::one(block, side);
            *chain = Some(match *chain {
                Some(exits) => self.chain(exits, exit),
                None => exit,
            });
        }
        block
    }

    /// A block that only does something.
    pub(super) fn goto(&mut self, statements: Vec<Instruction>, next: BlockId) -> BlockId {
        self.push(Block { statements, end: End::Goto(next) })
    }

    /// Where `asked` holds, what begins with `head` and has the ways out `open`.
    pub(super) fn enter(&mut self, asked: Predicate, head: BlockId, open: Open) -> Predicate {
        self.connect(asked.holds, head);
        let fails = match open.fails {
            Some(fails) => self.chain(asked.fails, fails),
            None => asked.fails,
        };
        Predicate { head: asked.head, holds: open.holds.unwrap_or(Exits::NONE), fails }
    }

    /// Where `asked` holds, `head`, a block of the same piece of graph as `other`; elsewhere `other`.
    pub(super) fn enter_or(&mut self, asked: Predicate, head: BlockId, other: Predicate) -> Predicate {
        self.connect(asked.holds, head);
        self.connect(asked.fails, other.head);
        Predicate { head: asked.head, ..other }
    }

    /// Holds where both do; `second` is asked only where `first` holds.
    pub(super) fn and(&mut self, first: Predicate, second: Predicate) -> Predicate {
        self.connect(first.holds, second.head);
        let fails = self.chain(first.fails, second.fails);
        Predicate { head: first.head, holds: second.holds, fails }
    }

    /// Holds where one of them does; `second` is asked only where `first` does not hold.
    pub(super) fn or(&mut self, first: Predicate, second: Predicate) -> Predicate {
        self.connect(first.fails, second.head);
        let holds = self.chain(first.holds, second.holds);
        Predicate { head: first.head, holds, fails: second.fails }
    }

    /// Asks `yes` where `first` holds and `no` where not.
    pub(super) fn choose(&mut self, first: Predicate, yes: Predicate, no: Predicate) -> Predicate {
        self.connect(first.holds, yes.head);
        self.connect(first.fails, no.head);
        let holds = self.chain(yes.holds, no.holds);
        let fails = self.chain(yes.fails, no.fails);
        Predicate { head: first.head, holds, fails }
    }

    /// The graph that ends with `pass` where `predicate` holds and rejects the packet elsewhere; without one nothing
    /// is asked.
    pub(super) fn finish(mut self, predicate: Option<Predicate>, pass: BlockId) -> Graph {
        let Some(predicate) = predicate else { return Graph { blocks: self.blocks, entry: pass } };
        let reject = self.end(Vec::new(), End::Return(0));
        self.connect(predicate.holds, pass);
        self.connect(predicate.fails, reject);
        Graph { blocks: self.blocks, entry: predicate.head }
    }

    /// A block whose end needs no connecting.
    pub(super) fn end(&mut self, statements: Vec<Instruction>, end: End) -> BlockId {
        self.push(Block { statements, end })
    }

    fn push(&mut self, block: Block) -> BlockId {
        // Memory ends long before there are 2^31 blocks.
        let id = BlockId(self.blocks.len() as u32);
        self.blocks.push(block);
        self.next_exits.push([NO_EXIT; 2]);
        id
    }

    fn connect(&mut self, exits: Exits, target: BlockId) {
        let mut exit = exits.first;
        while exit != NO_EXIT {
            let (block, side) = ((exit >> 1) as usize, exit & 1);
            if let End::Branch { then, otherwise, .. } = &mut self.blocks[block].end {
                *(if side == THEN { then } else { otherwise }) = target;
            }
            exit = self.next_exits[block][side as usize];
        }
    }

    fn chain(&mut self, first: Exits, second: Exits) -> Exits {
        if first.first == NO_EXIT {
            return second;
        }
        if second.first == NO_EXIT {
            return first;
        }
        self.next_exits[(first.last >> 1) as usize][(first.last & 1) as usize] = second.first;
        Exits { first: first.first, last: second.last }
    }
}

/// Where a way out leads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// To a block.
    To(BlockId),
    /// Out, the predicate holds.
    Holds,
    /// Out, it does not.
    Fails,
}

/// The ways out of a piece of graph that is being made block by block.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Open {
    holds: Option<Exits>,
    fails: Option<Exits>,
}

/// A chain of ways out that have no target yet. A way out is its block's number, doubled, plus its side.
#[derive(Clone, Copy, Debug)]
struct Exits {
    first: u32,
    last: u32,
}

impl Exits {
    const NONE: Self = Self { first: NO_EXIT, last: NO_EXIT };

    fn one(block: BlockId, side: u32) -> Self {
        let exit = block.0 << 1 | side;
        Self { first: exit, last: exit }
    }
}

/// Ends a chain.
const NO_EXIT: u32 = u32::MAX;
/// Where a way out leads before it is connected.
const NOWHERE: BlockId = BlockId(u32::MAX);
const THEN: u32 = 0;
const OTHERWISE: u32 = 1;

/// A comparison with a constant.
pub(super) fn constant(test: Comparison, value: u32) -> Condition {
    Condition { test, operand: Operand::Constant(value) }
}

/// A comparison with X.
pub(super) fn with_x(test: Comparison) -> Condition {
    Condition { test, operand: Operand::X }
}
