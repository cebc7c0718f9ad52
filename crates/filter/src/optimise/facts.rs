//! What is known on an edge: the outcomes of the branches that every packet passed on its way there.
//!
//! An edge dominates another if every way from the entry to the second goes through the first. Whoever travels the
//! second has then taken the first, and knows what that branch asked and what the answer was:
//!
//! ```text
//!            v1 == 0x800 ?                   on the edge 2 ─► 3 it is known that v1 is 0x800 and v2 is 6:
//!        then/         \otherwise            the edges entry ─► 2 and 2 ─► 3 dominate it
//!         2: v2 == 6 ?  \
//!     then/    \otherwise\                   on 3 ─► 5 nothing of that sort is known if 4 goes there, too
//!        3      `─────────4
//! ```
//!
//! Dominators form a tree, here of blocks and edges both. Numbered so that every node's subtree is a range of
//! numbers, "dominates" is one comparison of ranges, and all edges that asked the same question are one sorted list.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::order::{Inward, Levels};
use super::values::{Mixer, Value};
use crate::bpf::insn::{JEQ, JMP, K};
use crate::ir::{BlockId, Graph, Way};

/// A branch's question in value numbers: the opcode of the jump, what A holds, what it is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub(super) code: u16,
    pub(super) a: Value,
    pub(super) operand: Value,
}

impl Question {
    /// Whether A equals some constant or other, for a question about one. Only the yes is ever recorded.
    pub(super) fn of_any_constant(self) -> Self {
        // No value has the number 0.
        Self { operand: 0, ..self }
    }
}

/// The questions answered on the way to each edge.
#[derive(Debug)]
pub(super) struct Facts {
    /// First number of each edge's subtree of dominated nodes.
    enter: Vec<u32>,
    answers: HashMap<Question, Vec<Answer>, BuildHasherDefault<Mixer>>,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    way: Way,
    enter: u32,
    leave: u32,
    /// The nearest one in the list that dominates this one.
    up: Option<usize>,
}

impl Facts {
    /// `question` gives what a block's branch asks, if it ends in one.
    pub(super) fn of(
        graph: &Graph,
        levels: &Levels,
        inward: &Inward,
        mut question: impl FnMut(BlockId) -> Option<Question>,
    ) -> Self {
        let tree = Tree::of(graph, levels, inward);
        let (enter, leave) = tree.ranges();
        let mut by_number = vec![None; tree.order.len()];
        for id in levels.downward() {
            if let Some(question) = question(id) {
                for &way in graph.block(id).end.ways() {
                    let node = tree.edge(id, way);
                    by_number[enter[node] as usize] = Some((question, way, leave[node]));
                }
            }
        }
        let mut facts = Self { enter: enter[graph.blocks.len()..].to_vec(), answers: HashMap::default() };
        for (number, found) in by_number.into_iter().enumerate() {
            let Some((question, way, leave)) = found else { continue };
            facts.add(question, way, number as u32, leave);
            if question.code == JMP | JEQ | K && way == Way::Then {
                facts.add(question.of_any_constant(), way, number as u32, leave);
            }
        }
        facts
    }

    /// Adds an edge to the list of its question; edges come in the order of their numbers.
    fn add(&mut self, question: Question, way: Way, enter: u32, leave: u32) {
        let list = self.answers.entry(question).or_default();
        let mut up = list.len().checked_sub(1);
        while let Some(above) = up.filter(|&above| list[above].leave < enter) {
            up = list[above].up;
        }
        list.push(Answer { way, enter, leave, up });
    }

    /// The way that whoever travels this edge took when last asked that.
    pub(super) fn answer(&self, edge: (BlockId, Way), question: Question) -> Option<Way> {
        let at = self.enter[edge_index(edge.0, edge.1)];
        let list = self.answers.get(&question)?;
        let mut found = list.partition_point(|answer| answer.enter <= at).checked_sub(1);
        while let Some(index) = found {
            if list[index].leave >= at {
                return Some(list[index].way);
            }
            found = list[index].up;
        }
        None
    }
}

/// The dominator tree. Nodes are the blocks, by their ids, and behind them two edges for each block.
struct Tree {
    blocks: usize,
    /// The node that dominates each node most closely; the root and nodes out of reach have themselves.
    parent: Vec<u32>,
    /// A node farther up, so chosen that any ancestor is found in logarithmically many steps (a skew-binary skip list).
    skip: Vec<u32>,
    depth: Vec<u32>,
    /// The nodes in reach, each behind its parent.
    order: Vec<u32>,
}

impl Tree {
    fn of(graph: &Graph, levels: &Levels, inward: &Inward) -> Self {
        let blocks = graph.blocks.len();
        let own: Vec<u32> = (0..3 * blocks as u32).collect();
        let mut tree =
            Self { blocks, skip: own.clone(), parent: own, depth: vec![0; 3 * blocks], order: Vec::new() };
        for id in levels.downward() {
            let mut dominator = None;
            for &(from, way) in inward.edges(id) {
                let edge = tree.edge(from, way) as u32;
                dominator = Some(dominator.map_or(edge, |other| tree.common_ancestor(other, edge)));
            }
            match dominator {
                Some(dominator) => tree.hang(id.0, dominator),
                None => tree.order.push(id.0),
            }
            for &way in graph.block(id).end.ways() {
                let edge = tree.edge(id, way) as u32;
                tree.hang(edge, id.0);
            }
        }
        tree
    }

    fn edge(&self, from: BlockId, way: Way) -> usize {
        self.blocks + edge_index(from, way)
    }

    fn hang(&mut self, node: u32, parent: u32) {
        let (at, above) = (node as usize, parent as usize);
        self.order.push(node);
        self.parent[at] = parent;
        self.depth[at] = self.depth[above] + 1;
        // Two skips of the same length in a row become one of twice that length and a bit.
        let skip = self.skip[above] as usize;
        let far = self.skip[skip];
        let doubles = self.depth[above] - self.depth[skip] == self.depth[skip] - self.depth[far as usize];
        self.skip[at] = if doubles { far } else { parent };
    }

    fn common_ancestor(&self, mut one: u32, mut other: u32) -> u32 {
        let depth = |node: u32| self.depth[node as usize];
        if depth(one) < depth(other) {
            std::mem::swap(&mut one, &mut other);
        }
        while depth(one) > depth(other) {
            let skip = self.skip[one as usize];
            one = if depth(skip) >= depth(other) { skip } else { self.parent[one as usize] };
        }
        // Same depth: skips are of the same length on both sides. The root is above all, so this ends.
        while one != other {
            let skips = (self.skip[one as usize], self.skip[other as usize]);
            (one, other) = if skips.0 != skips.1 {
                skips
            } else {
                (self.parent[one as usize], self.parent[other as usize])
            };
        }
        one
    }

    /// For each node the first and last of the numbers of what it dominates, its own first.
    fn ranges(&self) -> (Vec<u32>, Vec<u32>) {
        let nodes = self.parent.len();
        let mut size = vec![1_u32; nodes];
        for &node in self.order.iter().rev() {
            let parent = self.parent[node as usize];
            if parent != node {
                size[parent as usize] += size[node as usize];
            }
        }
        let (mut enter, mut leave, mut next) = (vec![0; nodes], vec![0; nodes], vec![0; nodes]);
        for &node in &self.order {
            let (at, above) = (node as usize, self.parent[node as usize] as usize);
            // The root, alone its own parent, begins at 0.
            enter[at] = if above == at { 0 } else { next[above] };
            next[above] += size[at];
            next[at] = enter[at] + 1;
            leave[at] = enter[at] + size[at] - 1;
        }
        (enter, leave)
    }
}

fn edge_index(from: BlockId, way: Way) -> usize {
    2 * from.0 as usize + usize::from(way == Way::Otherwise)
}
