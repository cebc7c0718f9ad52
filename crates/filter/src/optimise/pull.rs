//! Pulling branches up a chain, to where A already holds what they ask about.
//!
//! `A or B or A'`, where A and A' ask about the same value, is a chain of blocks with the same `then`:
//!
//! ```text
//!     1: v1 == 80 ? ─then─┐                      1: v1 == 80 ? ─then─┐
//!         │ otherwise     │                          │               │
//!     2: v2 == 80 ? ──────┤         ──►          3: v1 == 53 ? ──────┤     3 no longer needs its load: A holds v1
//!         │               │                          │               │
//!     3: v1 == 53 ? ──────┤                      2: v2 == 80 ? ──────┤
//!         │               ▼                          │               ▼
//! ```
//!
//! `A and B and A'` is the same with the ways exchanged. Between two tests of one value there may be ones of others, so
//! a test is pulled over the first different one, again and again, until all of a value's tests stand together.

use super::Blocks;
use super::atoms::ATOM_A;
use super::order::{Inward, Levels};
use super::values::Value;
use crate::ir::{BlockId, Graph, Way};

/// Pulls at most two branches up in front of or behind each block; whether any was. Every step along a chain costs
/// one of `budget`, and at its end nothing more is pulled.
pub(super) fn pull_up(
    graph: &mut Graph,
    levels: &Levels,
    inward: &mut Inward,
    blocks: &Blocks,
    budget: &mut usize,
) -> bool {
    // What any block wants from those before it may not be written in a chain that changes its order. Asking about all
    // blocks at once stays true while edges move.
    let shared = levels.upward().fold(0, |shared, id| shared | blocks.traffic[id.0 as usize].wants);
    let private = |id: BlockId| blocks.traffic[id.0 as usize].writes & shared == 0;
    let mut pulled = false;
    let mut in_vain = [vec![false; graph.blocks.len()], vec![false; graph.blocks.len()]];
    for id in levels.upward() {
        for (same, in_vain) in [Way::Then, Way::Otherwise].into_iter().zip(&mut in_vain) {
            let done = Chain { graph, inward, blocks, budget, in_vain, same }.pull(id, &private);
            in_vain[id.0 as usize] = !done;
            pulled |= done;
        }
    }
    pulled
}

struct Chain<'a> {
    graph: &'a mut Graph,
    inward: &'a mut Inward,
    blocks: &'a Blocks,
    budget: &'a mut usize,
    /// From which blocks nothing could be pulled up in this round.
    in_vain: &'a [bool],
    /// The way that leads to the same block from all of the chain; the other way leads down the chain.
    same: Way,
}

impl Chain<'_> {
    /// Looks at the chain from `top` down.
    fn pull(&mut self, top: BlockId, private: &impl Fn(BlockId) -> bool) -> bool {
        let Some(common) = self.graph.block(top).end.by(self.same) else { return false };
        let Some(value) = self.value_before(top) else { return false };
        // First those that ask about the value that A holds on arrival, then one that asks about another.
        let mut edges_to_first = None;
        let mut first = top;
        while self.a_after(first) == value {
            let Some(next) = self.down(first, common) else { return false };
            // The search from `next` for the same value would be this one. Without this, long chains of one value
            // would be gone through from each of their blocks.
            if self.in_vain[next.0 as usize] {
                return false;
            }
            edges_to_first = Some((first, self.along()));
            first = next;
        }
        // Then others, then the one to pull.
        let mut above = first;
        let pull = loop {
            if !private(above) {
                return false;
            }
            let Some(next) = self.down(above, common) else { return false };
            if self.a_after(next) == value {
                break next;
            }
            above = next;
        };
        if !private(pull) {
            return false;
        }
        let Some(behind) = self.graph.block(pull).end.by(self.along()) else { return false };
        self.turn((above, self.along()), behind);
        match edges_to_first {
            Some(edge) => self.turn(edge, pull),
            None => {
                for edge in self.inward.edges(top).to_vec() {
                    self.turn(edge, pull);
                }
            }
        }
        self.turn((pull, self.along()), first);
        true
    }

    /// What A holds for everybody who arrives at a block; `None` if that differs or nobody does.
    fn value_before(&self, id: BlockId) -> Option<Value> {
        let mut values = self.inward.edges(id).iter().map(|&(from, _)| self.a_after(from));
        let first = values.next()?;
        values.all(|value| value == first).then_some(first)
    }

    fn a_after(&self, id: BlockId) -> Value {
        self.blocks.ends[id.0 as usize][ATOM_A]
    }

    /// The next block of the chain: it has the common way, too, and is reached from here alone.
    fn down(&mut self, id: BlockId, common: BlockId) -> Option<BlockId> {
        *self.budget = self.budget.checked_sub(1)?;
        let next = self.graph.block(id).end.by(self.along())?;
        let is_branch = self.graph.block(next).end.ways().len() == 2;
        let belongs = is_branch
            && self.graph.block(next).end.by(self.same) == Some(common)
            && self.inward.edges(next).len() == 1;
        belongs.then_some(next)
    }

    fn along(&self) -> Way {
        if self.same == Way::Then { Way::Otherwise } else { Way::Then }
    }

    fn turn(&mut self, edge: (BlockId, Way), to: BlockId) {
        self.inward.redirect(self.graph, edge, to);
    }
}
