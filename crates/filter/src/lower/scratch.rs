//! The machine's 16 words of scratch memory.

use super::headers::statement;
use crate::bpf::insn::*;
use crate::ir::{BlockId, Graph};

/// Scratch words in use.
///
/// They are given out in libpcap's order (the last one again if it is free, else the next free one in turn), so that
/// programs can be compared and the 17th word is refused where libpcap refuses it.
#[derive(Debug, Default)]
pub(super) struct ScratchWords {
    used: [bool; SCRATCH_WORDS],
    at: usize,
}

impl ScratchWords {
    /// A word; `None` if all are in use.
    pub(super) fn take(&mut self) -> Option<u32> {
        for _ in 0..SCRATCH_WORDS {
            if !self.used[self.at] {
                self.used[self.at] = true;
                return Some(self.at as u32);
            }
            self.at = (self.at + 1) % SCRATCH_WORDS;
        }
        None
    }

    /// Gives a word back.
    pub(super) fn give_back(&mut self, word: u32) {
        if let Some(used) = self.used.get_mut(word as usize) {
            *used = false;
        }
    }
}

/// Sets those of `words` to 0 at the start that some way through the graph loads without having stored them.
///
/// In `(tcp or geneve) and ip` the second test goes by where Geneve put the headers, also for a packet that is TCP.
/// libpcap's machine then reads what happens to be in memory; the kernel refuses such a program.
pub(super) fn set_before_use(graph: &mut Graph, words: &[u32]) {
    let watched = words.iter().fold(0, |mask: u16, &word| mask | bit(word));
    if watched == 0 {
        return;
    }
    let mut stored_before = vec![u16::MAX; graph.blocks.len()];
    stored_before[graph.entry.0 as usize] = 0;
    let mut unset = 0;
    for id in from_start_to_end(graph) {
        let block = graph.block(id);
        let mut stored = stored_before[id.0 as usize];
        for insn in &block.statements {
            match insn.class() {
                ST | STX => stored |= bit(insn.k),
                LD | LDX if insn.code & MODE == MEM => unset |= bit(insn.k) & !stored,
                _ => {}
            }
        }
        for next in block.successors() {
            stored_before[next.0 as usize] &= stored;
        }
    }
    unset &= watched;
    if unset == 0 {
        return;
    }
    let mut start = vec![statement(LD | IMM, 0)];
    start.extend(
        (0..SCRATCH_WORDS as u32).filter(|&word| unset & bit(word) != 0).map(|word| statement(ST, word)),
    );
    let entry = &mut graph.blocks[graph.entry.0 as usize].statements;
    start.append(entry);
    *entry = start;
}

fn bit(word: u32) -> u16 {
    1_u16.checked_shl(word).unwrap_or(0)
}

/// The blocks that can be reached, each before all that follow it.
fn from_start_to_end(graph: &Graph) -> Vec<BlockId> {
    let mut seen = vec![false; graph.blocks.len()];
    let mut order = Vec::with_capacity(graph.blocks.len());
    // What is left to do: a block to enter, or one to put down behind all that follow it.
    let mut work = vec![(graph.entry, false)];
    while let Some((id, left)) = work.pop() {
        if left {
            order.push(id);
        } else if !std::mem::replace(&mut seen[id.0 as usize], true) {
            work.push((id, true));
            work.extend(graph.block(id).successors().map(|next| (next, false)));
        }
    }
    order.reverse();
    order
}

/// The mode bits of a load.
const MODE: u16 = 0xe0;
