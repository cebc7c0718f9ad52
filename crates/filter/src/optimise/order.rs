//! The order of the passes over a graph: levels, and the edges that lead into each block.
//!
//! ```text
//!   level 3        1            a block's level is the longest way from it to a return, so every edge
//!   level 2      2   \          goes down, and going through the levels from the top meets each block
//!   level 1       \   3         after all that lead to it, from the bottom after all it leads to
//!   level 0       4   5
//! ```

use crate::ir::{Block, BlockId, Graph, Way};

/// The blocks that the entry reaches, by level.
#[derive(Debug)]
pub(super) struct Levels {
    levels: Vec<Vec<BlockId>>,
}

impl Levels {
    pub(super) fn of(graph: &Graph) -> Self {
        const UNSEEN: u32 = u32::MAX;
        const OPEN: u32 = u32::MAX - 1;
        let mut level_of = vec![UNSEEN; graph.blocks.len()];
        let mut levels: Vec<Vec<BlockId>> = Vec::new();
        let mut stack = vec![(graph.entry, false)];
        while let Some((id, ways_are_done)) = stack.pop() {
            let block = graph.block(id);
            if ways_are_done {
                // In a graph without cycles all successors are done now.
                let level = block.successors().map(|next| level_of[next.0 as usize] + 1).max().unwrap_or(0);
                level_of[id.0 as usize] = level;
                let level = level as usize;
                if levels.len() <= level {
                    levels.resize_with(level + 1, Vec::new);
                }
                levels[level].push(id);
            } else if level_of[id.0 as usize] == UNSEEN {
                level_of[id.0 as usize] = OPEN;
                stack.push((id, true));
                let mut next = block.successors();
                let (then, otherwise) = (next.next(), next.next());
                stack.extend(otherwise.into_iter().chain(then).map(|next| (next, false)));
            }
        }
        // libpcap goes through a level from the block found last.
        for level in &mut levels {
            level.reverse();
        }
        Self { levels }
    }

    /// Every block behind all that lead to it.
    pub(super) fn downward(&self) -> impl Iterator<Item = BlockId> {
        self.levels.iter().rev().flatten().copied()
    }

    /// Every block behind all it leads to.
    pub(super) fn upward(&self) -> impl Iterator<Item = BlockId> {
        self.levels.iter().flatten().copied()
    }
}

/// For each block the edges that lead into it, kept up to date by those who move edges.
#[derive(Debug)]
pub(super) struct Inward(Vec<Vec<(BlockId, Way)>>);

impl Inward {
    pub(super) fn of(graph: &Graph, levels: &Levels) -> Self {
        let mut inward = vec![Vec::new(); graph.blocks.len()];
        for id in levels.downward() {
            for &way in graph.block(id).end.ways() {
                if let Some(next) = graph.block(id).end.by(way) {
                    inward[next.0 as usize].push((id, way));
                }
            }
        }
        Self(inward)
    }

    /// The edges into a block.
    pub(super) fn edges(&self, id: BlockId) -> &[(BlockId, Way)] {
        &self.0[id.0 as usize]
    }

    /// Has the two edges out of a block change places, whose branch now asks the opposite.
    pub(super) fn exchange_ways(&mut self, id: BlockId, block: &Block) {
        let (then, otherwise) = (block.end.by(Way::Then), block.end.by(Way::Otherwise));
        for next in then.into_iter().chain(otherwise.filter(|_| then != otherwise)) {
            for (_, way) in self.0[next.0 as usize].iter_mut().filter(|(from, _)| *from == id) {
                *way = if *way == Way::Then { Way::Otherwise } else { Way::Then };
            }
        }
    }

    /// Moves an edge in the graph and here.
    pub(super) fn redirect(&mut self, graph: &mut Graph, (from, way): (BlockId, Way), to: BlockId) {
        if let Some(old) = graph.block(from).end.by(way) {
            self.0[old.0 as usize].retain(|&edge| edge != (from, way));
        }
        graph.blocks[from.0 as usize].end.turn(way, to);
        self.0[to.0 as usize].push((from, way));
    }
}
