//! What can be left out without changing the verdict on any packet, however short.
//!
//! ```text
//!    ldb [9]                      1 ──► 2 (both ways)           st M[0]   (nobody loads it)
//!    == 6 ? ── Return 0     ──►   1 ──► 2 without asking   ──►  nothing
//!       `───── Return 0
//!       ──► Return 0, as a load outside the packet would have it
//! ```

use super::order::{Inward, Levels};
use super::values::Values;
use super::{Blocks, Scope, analyse, merge, simplify};
use crate::bpf::insn::MAX_INSTRUCTIONS;
use crate::ir::{BlockId, End, Graph, Way};

/// Makes a graph smaller and keeps its verdict on every packet: for graphs that libpcap would not optimise, and for
/// what it leaves of those that it does.
pub fn tidy(graph: &mut Graph) {
    for _ in 0..ROUNDS {
        let levels = Levels::of(graph);
        if levels.downward().nth(MOST_BLOCKS).is_some() {
            break;
        }
        let mut changed = reject_early(graph, &levels);
        changed |= ask_nothing_in_vain(graph, &levels);
        changed |= skip_empty(graph, &levels);
        changed |= statements(graph);
        changed |= merge::merge_equal(graph);
        if !changed {
            break;
        }
    }
}

/// Has blocks that can only end in a rejection reject at once: a load that fails on the way rejects as well.
fn reject_early(graph: &mut Graph, levels: &Levels) -> bool {
    let mut rejects = vec![false; graph.blocks.len()];
    let mut changed = false;
    for id in levels.upward() {
        let block = &graph.blocks[id.0 as usize];
        let surely = match block.end {
            End::Return(value) => value == 0,
            End::ReturnA => false,
            End::Branch { .. } | End::Goto(_) => block.successors().all(|next| rejects[next.0 as usize]),
        };
        if surely {
            rejects[id.0 as usize] = true;
            let block = &mut graph.blocks[id.0 as usize];
            changed |= block.end != End::Return(0) || !block.statements.is_empty();
            block.statements.clear();
            block.end = End::Return(0);
        }
    }
    changed
}

/// Branches with one way need no condition.
fn ask_nothing_in_vain(graph: &mut Graph, levels: &Levels) -> bool {
    let mut changed = false;
    for id in levels.upward() {
        let end = &mut graph.blocks[id.0 as usize].end;
        if let (End::Branch { .. }, Some(next)) = (*end, end.only_way()) {
            *end = End::Goto(next);
            changed = true;
        }
    }
    changed
}

/// Leads edges past blocks that do nothing, and has blocks end like the empty block they go to.
fn skip_empty(graph: &mut Graph, levels: &Levels) -> bool {
    let mut changed = false;
    for id in levels.upward() {
        for way in [Way::Then, Way::Otherwise] {
            let Some(next) = graph.block(id).end.by(way) else { continue };
            if let Some(beyond) = past_empty(graph, next) {
                graph.blocks[id.0 as usize].end.turn(way, beyond);
                changed = true;
            }
        }
        if let End::Goto(next) = graph.block(id).end {
            let next = graph.block(next);
            if next.statements.is_empty() && matches!(next.end, End::Return(_) | End::ReturnA) {
                graph.blocks[id.0 as usize].end = next.end;
                changed = true;
            }
        }
    }
    if let Some(beyond) = past_empty(graph, graph.entry) {
        graph.entry = beyond;
        changed = true;
    }
    changed
}

/// Where an empty block goes on; its own way has been led past others before.
fn past_empty(graph: &Graph, id: BlockId) -> Option<BlockId> {
    match graph.block(id).end {
        End::Goto(next) if graph.block(id).statements.is_empty() => Some(next),
        _ => None,
    }
}

/// Folds constants, takes out what is idle or dead but for loads that can fail.
fn statements(graph: &mut Graph) -> bool {
    let levels = Levels::of(graph);
    let mut blocks: Blocks = analyse(graph, &levels);
    let mut inward = Inward::of(graph, &levels);
    let mut values = Values::default();
    let mut changed = false;
    for id in levels.downward() {
        // Exact rewriting refuses nothing.
        changed |= simplify(graph, id, Scope::Statements, &mut inward, &mut blocks, &mut values, true)
            .unwrap_or(false);
    }
    changed
}

/// Rounds at most: each makes the graph smaller, and what a few leave is not worth more.
const ROUNDS: usize = 8;
/// Larger graphs are left alone: each block has an instruction at least, and tidying makes programs some per cent
/// shorter, not a quarter as long. More would cost time for programs that the kernel refuses anyway.
const MOST_BLOCKS: usize = 4 * MAX_INSTRUCTIONS;
