//! The entries of a table and where they lie.

use crate::stream::Stream;
use crate::{Flow, Peer};

/// A flow in the table.
///
/// A table of many flows is larger than the caches, so a segment costs what it touches. Fields lie in lines of the
/// cache (with a state of 16 bytes):
///
/// ```text
///     0  state, key, interface, phase                                                   each segment
///    64  last seen, history   box of what is beside, links, id, opened, handshake         each segment its first fields
///   128  stream of the originator: next, acked, base, marks, counts, round trip         each segment
///   192  stream of the responder                                                        each segment
/// ```
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Entry<S> {
    /// What the handler keeps; `None` once the flow is closed.
    pub(crate) state: Option<S>,
    pub(crate) flow: Flow,
}

/// What decides how long a flow is kept when nothing comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// One direction, or a handshake without its end.
    HalfOpen,
    /// Both directions.
    Established,
    /// Closed.
    Lingering,
}

/// Neighbours in a list of entries; [`NONE`] at the ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links {
    pub(crate) previous: u32,
    pub(crate) next: u32,
}

/// No entry.
pub(crate) const NONE: u32 = u32::MAX;

impl<S> Entry<S> {
    pub(crate) fn new(flow: Flow, state: S) -> Self {
        Self { flow, state: Some(state) }
    }

    #[inline]
    pub(crate) fn stream(&mut self, from: Peer) -> &mut Stream {
        &mut self.flow.streams[from as usize]
    }

    /// Both directions have ended.
    #[inline]
    pub(crate) fn finished(&self) -> bool {
        self.flow.streams[0].ended() && self.flow.streams[1].ended()
    }

    /// Reads from each line that segments touch, so that they are there when a segment comes. The sum means nothing.
    #[inline]
    pub(crate) fn touch(&self) -> u64 {
        let [originator, responder] = &self.flow.streams;
        u64::from(self.flow.interface)
            ^ self.flow.last_seen.0
            ^ u64::from(originator.base)
            ^ u64::from(responder.base)
    }
}

/// Entries by index. Grows by whole chunks, so that nothing is ever moved; what is removed is used again.
#[derive(Debug)]
pub(crate) struct Slab<S> {
    chunks: Vec<Vec<Entry<S>>>,
    free: Vec<u32>,
    len: usize,
}

impl<S> Slab<S> {
    pub(crate) fn new() -> Self {
        Self { chunks: Vec::new(), free: Vec::new(), len: 0 }
    }

    /// Entries in use.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, entry: Entry<S>) -> u32 {
        self.len += 1;
        if let Some(index) = self.free.pop() {
            *self.get_mut(index) = entry;
            return index;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let chunk = self.chunks.len() - 1;
        self.chunks[chunk].push(entry);
        (chunk * CHUNK + self.chunks[chunk].len() - 1) as u32
    }

    /// Takes an entry out: closed and in no wheel any more.
    pub(crate) fn remove(&mut self, index: u32) {
        debug_assert!(self.get(index).state.is_none() && self.get(index).flow.beside.is_none());
        self.len -= 1;
        self.free.push(index);
    }

    /// Panics for an index that [`insert`](Self::insert) has never given.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> &Entry<S> {
        &self.chunks[index as usize / CHUNK][index as usize % CHUNK]
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> &mut Entry<S> {
        &mut self.chunks[index as usize / CHUNK][index as usize % CHUNK]
    }

    /// The indices of all flows that are open, by id.
    pub(crate) fn open(&self) -> Vec<(u64, u32)> {
        let mut open = Vec::new();
        for (number, chunk) in self.chunks.iter().enumerate() {
            for (place, entry) in chunk.iter().enumerate() {
                if entry.state.is_some() {
                    open.push((entry.flow.id, (number * CHUNK + place) as u32));
                }
            }
        }
        open.sort_unstable();
        open
    }
}

/// Entries in a chunk: one allocation of a quarter of a megabyte each time a thousand flows more are open at once.
const CHUNK: usize = 1 << 10;

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn what_a_segment_asks_for_lies_in_few_lines() {
        // The size of a handler's state that is a box and a tag.
        type Sample = Entry<Result<Box<u64>, u16>>;
        let line = |offset: usize| offset / 64;
        assert_eq!(size_of::<Sample>(), 4 * 64);
        assert_eq!(size_of::<Entry<()>>(), 4 * 64);
        let flow = offset_of!(Sample, flow);
        assert_eq!(flow, 16);
        assert_eq!(line(flow + offset_of!(Flow, attention)), 0, "the whole key in front of it");
        assert_eq!(line(flow + offset_of!(Flow, last_seen)), 1);
        assert_eq!(line(flow + offset_of!(Flow, history)), 1);
        let streams = flow + offset_of!(Flow, streams);
        assert_eq!((streams, size_of::<Stream>()), (128, 64));
    }
}
