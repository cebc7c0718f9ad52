//! Jump threading: an edge to a block whose branch is decided for whoever travels that edge goes on at once.
//!
//! ```text
//!     1: v1 == 0x800 ?                       1
//!         │ otherwise                        │ otherwise
//!         ▼                                  │
//!     2: v1 == 0x800 ?               ──►     │   2 (others may still come)
//!    then/     \otherwise                    │  / \
//!       3       4                            4
//! ```
//!
//! Passing a block by leaves out its statements. So nothing that they write may be wanted where the edge goes on,
//! except what was there before anyway.

use super::atoms::*;
use super::facts::Facts;
use super::order::Levels;
use super::values::{State, Values};
use super::{Blocks, question};
use crate::bpf::insn::{JEQ, JMP, K};
use crate::ir::{BlockId, Graph, Way};

/// Moves every edge as far as the facts on it reach; whether any moved, and whether one moved past a block whose two
/// ways are the same. Steps that move one cost of `budget`, and at its end nothing more moves.
pub(super) fn thread(
    graph: &mut Graph,
    levels: &Levels,
    blocks: &mut Blocks,
    facts: &Facts,
    values: &mut Values,
    budget: &mut usize,
) -> Threaded {
    let mut done = Threaded::default();
    // From the returns upward: below the edge at hand everything has moved already, above it nothing has, so that the
    // edges that dominate it are still those the facts were made from.
    for id in levels.upward() {
        for &way in graph.block(id).end.ways() {
            Thread { graph, blocks, facts, values, budget }.follow((id, way), &mut done);
        }
        // What this block's successors want, now that it has its last ones.
        let after =
            graph.block(id).successors().fold(0, |wanted, next| wanted | blocks.wanted[next.0 as usize]);
        blocks.wanted[id.0 as usize] = blocks.traffic[id.0 as usize].live_before(after);
    }
    done
}

/// What happened to the edges.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Threaded {
    /// An edge moved since the branch behind it was decided.
    pub(super) moved: bool,
    /// An edge moved past a block that goes on at the same block either way.
    pub(super) skipped: bool,
}

struct Thread<'a> {
    graph: &'a mut Graph,
    blocks: &'a Blocks,
    facts: &'a Facts,
    values: &'a mut Values,
    budget: &'a mut usize,
}

impl Thread<'_> {
    fn follow(&mut self, edge: (BlockId, Way), done: &mut Threaded) {
        let Some(next) = self.graph.block(edge.0).end.by(edge.1) else { return };
        if let Some(target) = self.graph.block(next).end.only_way()
            && self.may_pass_by(edge.0, next, target)
        {
            self.graph.blocks[edge.0.0 as usize].end.turn(edge.1, target);
            done.skipped = true;
        }
        // Every step goes down a level, so this ends.
        while let Some(next) = self.graph.block(edge.0).end.by(edge.1)
            && let Some(target) = self.decided(edge, next)
            && self.may_pass_by(edge.0, next, target)
            && let Some(rest) = self.budget.checked_sub(STEP_COST)
        {
            *self.budget = rest;
            self.graph.blocks[edge.0.0 as usize].end.turn(edge.1, target);
            done.moved = true;
        }
    }

    /// Where the branch of `next` goes for whoever comes by `edge`.
    fn decided(&mut self, edge: (BlockId, Way), next: BlockId) -> Option<BlockId> {
        let asked = question(self.graph, self.blocks, self.values, next)?;
        let way = self.facts.answer(edge, asked).or_else(|| {
            // A equals another constant already, so it does not equal this one. Different constants have different
            // numbers.
            let is_equality = asked.code == JMP | JEQ | K;
            (is_equality && self.facts.answer(edge, asked.of_any_constant()).is_some())
                .then_some(Way::Otherwise)
        })?;
        self.graph.block(next).end.by(way)
    }

    /// Whether the block `next` can be left out between `from` and `target`.
    fn may_pass_by(&mut self, from: BlockId, next: BlockId, target: BlockId) -> bool {
        let ends = &self.blocks.ends;
        let (from_end, target_end) = (ends[from.0 as usize], ends[target.0 as usize]);
        // libpcap's rule, which decides how far edges get: what is wanted behind the target is the same behind `from`.
        let merged = |value| self.values.is_merged(value);
        let agrees = members(self.blocks.live_after[target.0 as usize]).all(|atom| {
            let (one, other) = (from_end[atom], target_end[atom]);
            one == other || merged(one) && merged(other)
        });
        // And the rule that makes it right: what the target wants is not changed by `next`.
        agrees && {
            let wanted = self.blocks.wanted[target.0 as usize];
            let written = self.blocks.traffic[next.0 as usize].writes & wanted;
            written == 0 || {
                let mut through: State = from_end;
                self.values.run(&self.graph.block(next).statements, &mut through);
                members(written).all(|atom| through[atom] == from_end[atom])
            }
        }
    }
}

/// What moving an edge on by a block costs, in units of the [budget](super::BUDGET).
const STEP_COST: usize = 20;
