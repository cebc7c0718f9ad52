//! Building a graph out of predicates joined by and, or, not.
//!
//! A predicate is a piece of graph with one way in and two kinds of ways out, those where it holds and those where it does
//! not. The ways out are not connected yet. They are chained: the field of each holds the next of its chain, and the
//! predicate knows both ends, so joining two predicates costs the same however large they are, and every way out is visited
//! once more only, when it gets its target.
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

    /// The block that it begins with.
    pub(super) fn head(self) -> BlockId {
        self.head
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

    /// A block that only does something, then goes on at `next`.
    pub(super) fn run(&mut self, statements: Vec<Instruction>, next: Predicate) -> Predicate {
        let head = self.push(Block { statements, end: End::Goto(next.head) });
        Predicate { head, ..next }
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

    /// Where `first` holds, goes through `detour`, which ends up at the head of `next` as well.
    pub(super) fn through(&mut self, first: Predicate, detour: Predicate, next: Predicate) -> Predicate {
        self.connect(first.holds, detour.head);
        self.connect(first.fails, next.head);
        Predicate { head: first.head, ..next }
    }

    /// Asks `yes` where `first` holds and `no` where not.
    pub(super) fn choose(&mut self, first: Predicate, yes: Predicate, no: Predicate) -> Predicate {
        self.connect(first.holds, yes.head);
        self.connect(first.fails, no.head);
        let holds = self.chain(yes.holds, no.holds);
        let fails = self.chain(yes.fails, no.fails);
        Predicate { head: first.head, holds, fails }
    }

    /// Puts statements before all others of a block.
    pub(super) fn prepend(&mut self, block: BlockId, mut statements: Vec<Instruction>) {
        let block = &mut self.blocks[block.0 as usize];
        statements.append(&mut block.statements);
        block.statements = statements;
    }

    /// The graph that ends with `pass` where `predicate` holds and rejects the packet elsewhere.
    pub(super) fn finish(mut self, predicate: Predicate, pass: BlockId) -> Graph {
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
        self.next_exits[(first.last >> 1) as usize][(first.last & 1) as usize] = second.first;
        Exits { first: first.first, last: second.last }
    }
}

/// A chain of ways out that have no target yet; never empty. A way out is its block's number, doubled, plus its side.
#[derive(Clone, Copy, Debug)]
struct Exits {
    first: u32,
    last: u32,
}

impl Exits {
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
