//! Equal blocks become one, and what is decided at the entry is left out.

use std::collections::HashMap;

use super::analyse;
use super::atoms::Traffic;
use super::order::Levels;
use crate::bpf::Instruction;
use crate::ir::{Block, BlockId, End, Graph, Way};

/// Lets one block stand for all that do the same and go on at the same blocks; whether there were any.
///
/// From the returns upward, so that blocks count as going on at the same ones once those have been merged.
pub(super) fn merge_equal(graph: &mut Graph) -> bool {
    let levels = Levels::of(graph);
    let mut stand_in: Vec<BlockId> = (0..graph.blocks.len() as u32).map(BlockId).collect();
    let mut known: HashMap<(&[Instruction], End), BlockId> = HashMap::new();
    let mut merged = false;
    let mut ends = Vec::new();
    for id in levels.upward() {
        let block = graph.block(id);
        let mut end = block.end;
        for way in [Way::Then, Way::Otherwise] {
            if let Some(next) = end.by(way) {
                end.turn(way, stand_in[next.0 as usize]);
            }
        }
        let one = *known.entry((&block.statements, end)).or_insert(id);
        stand_in[id.0 as usize] = one;
        merged |= one != id;
        ends.push((id, end));
    }
    for (id, end) in ends {
        graph.blocks[id.0 as usize].end = end;
    }
    graph.entry = stand_in[graph.entry.0 as usize];
    merged
}

/// Leaves out branches at the entry whose two ways are the same.
///
/// As in libpcap the statements of the first block stay, and those of the others that are left out do not, unless
/// they are needed.
pub(super) fn enter_late(graph: &mut Graph) {
    let wanted = analyse(graph, &Levels::of(graph)).wanted;
    let mut statements = graph.block(graph.entry).statements.clone();
    let mut late = graph.entry;
    while let Some(next) = graph.block(late).end.only_way() {
        let block = graph.block(next);
        let goes_on_at = block.end.only_way();
        if goes_on_at.is_none_or(|beyond| Traffic::of(block).writes & wanted[beyond.0 as usize] != 0) {
            statements.extend(&block.statements);
        }
        late = next;
    }
    if late != graph.entry {
        let end = graph.block(late).end;
        if matches!(end, End::Return(_)) {
            statements.clear();
        }
        graph.blocks[graph.entry.0 as usize] = Block { statements, end };
    }
}
