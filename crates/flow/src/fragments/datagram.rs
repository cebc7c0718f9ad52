//! A datagram in the making: its pieces, in order of their offsets and without overlap.

use gannet_packet::{LinkType, Timestamp};

use super::Refusal;
use super::incoming::{Incoming, Key};
use super::pool::Pool;

/// What is known of a datagram.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) hash: u64,
    pub(super) state: State,
    /// When its first fragment came; of a completed one, when it was completed.
    pub(super) since: Timestamp,
    /// Disjoint, sorted by offset.
    pub(super) pieces: Vec<Piece>,
    /// In front of the contents, once the first fragment is there; no header is empty.
    header: Vec<u8>,
    is_ipv6: bool,
    /// Length of the contents, once the last fragment is there.
    total: Option<usize>,
    /// The sum of the pieces' lengths.
    received: usize,
    /// What all of it takes.
    pub(super) memory: usize,
}

/// How far a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// Given up: its fragments are refused for the rest of its time.
    Refused(Refusal),
    /// Handed out: its pieces, without their bytes, tell copies.
    Completed,
}

/// The contents of one fragment.
#[derive(Debug)]
pub(super) struct Piece {
    offset: usize,
    len: usize,
    bytes: Vec<u8>,
    /// Of the bytes, for when these are gone.
    hash: u64,
}

/// Where a fragment goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In front of the piece with this index.
    Free(usize),
    /// The very same is there.
    Copy,
    /// Something else is there, or it is behind the end.
    Taken,
}

impl Entry {
    pub(super) fn new(key: Key, hash: u64, since: Timestamp) -> Self {
        Self {
            key,
            hash,
            state: State::Open,
            since,
            pieces: Vec::new(),
            header: Vec::new(),
            is_ipv6: false,
            total: None,
            received: 0,
            memory: 0,
        }
    }

    /// Begins another datagram in an entry without bytes.
    pub(super) fn reset(&mut self, key: Key, hash: u64, since: Timestamp) {
        let mut pieces = std::mem::take(&mut self.pieces);
        pieces.clear();
        pieces.shrink_to(PIECES_KEPT);
        *self = Self { pieces, ..Self::new(key, hash, since) };
    }

    /// Where a fragment belongs among the pieces.
    pub(super) fn place(&self, incoming: &Incoming<'_>) -> Place {
        let index = self.first_behind(incoming.offset);
        let copy = self.pieces.get(index).is_some_and(|piece| {
            (piece.offset, piece.len) == (incoming.offset, incoming.len)
                && piece.bytes.starts_with(incoming.bytes)
        });
        let last_end = self.pieces.last().map_or(0, Piece::end);
        let fits = match self.total {
            Some(total) if incoming.more => incoming.end() < total,
            Some(total) => incoming.end() == total,
            None => incoming.more || last_end <= incoming.offset || copy,
        };
        if !fits {
            return Place::Taken;
        }
        if copy {
            // The same bytes, once as the last ones and once not, are no copy.
            let is_last = self.total == Some(incoming.end());
            return if is_last == incoming.more { Place::Taken } else { Place::Copy };
        }
        match self.pieces.get(index) {
            Some(next) if next.offset < incoming.end() => Place::Taken,
            _ => Place::Free(index),
        }
    }

    /// Takes a fragment into its place.
    pub(super) fn insert(&mut self, index: usize, incoming: &Incoming<'_>, pool: &mut Pool) {
        let mut bytes = pool.buffer(incoming.bytes.len());
        bytes.extend_from_slice(incoming.bytes);
        self.memory += bytes.capacity() + PIECE_COST;
        self.received += incoming.len;
        if !incoming.more {
            self.total = Some(incoming.end());
        }
        let hash = hash_of(incoming.bytes);
        self.pieces.insert(index, Piece { offset: incoming.offset, len: incoming.len, bytes, hash });
        if let Some(header) = incoming.header {
            let mut bytes = pool.buffer(header.len());
            bytes.extend_from_slice(header.bytes);
            if let Some((at, next)) = header.next_header
                && let Some(byte) = bytes.get_mut(at)
            {
                *byte = next.0;
            }
            self.memory += bytes.capacity();
            self.header = bytes;
            self.is_ipv6 = incoming.is_ipv6;
        }
    }

    /// Whether nothing is missing: pieces do not overlap, so their sum tells.
    pub(super) fn is_complete(&self) -> bool {
        self.total == Some(self.received)
    }

    /// Header and contents in one buffer, with the lengths of the whole, and what that is.
    pub(super) fn join(&self, pool: &mut Pool) -> (Vec<u8>, LinkType) {
        let mut whole = pool.buffer(self.header.len() + self.received);
        whole.extend_from_slice(&self.header);
        for piece in &self.pieces {
            whole.extend_from_slice(&piece.bytes);
        }
        if self.is_ipv6 {
            // In range: such a fragment is impossible otherwise.
            let len = whole.len().saturating_sub(40) as u16;
            put(&mut whole, 4, len);
            return (whole, LinkType::IPV6);
        }
        let len = whole.len() as u16;
        put(&mut whole, 2, len);
        // Flags and fragment offset.
        put(&mut whole, 6, 0);
        put(&mut whole, 10, 0);
        let checksum = checksum(whole.get(..self.header.len()).unwrap_or_default());
        put(&mut whole, 10, checksum);
        (whole, LinkType::IPV4)
    }

    /// Gives all memory back but what tells copies.
    pub(super) fn release_bytes(&mut self, pool: &mut Pool) {
        for piece in &mut self.pieces {
            pool.recycle(std::mem::take(&mut piece.bytes));
        }
        pool.recycle(std::mem::take(&mut self.header));
        self.memory = 0;
    }

    /// Forgets all pieces.
    pub(super) fn clear(&mut self, pool: &mut Pool) {
        self.release_bytes(pool);
        self.pieces.clear();
        self.pieces.shrink_to(PIECES_KEPT);
        self.received = 0;
        self.total = None;
    }

    /// Whether a fragment is a copy of one of this datagram's, which was completed a moment ago.
    pub(super) fn is_recent_copy(&self, incoming: &Incoming<'_>, now: Timestamp) -> bool {
        let index = self.first_behind(incoming.offset);
        now.0.saturating_sub(self.since.0) <= RECENT_NS
            && incoming.bytes.len() == incoming.len
            && self.pieces.get(index).is_some_and(|piece| {
                (piece.offset, piece.len) == (incoming.offset, incoming.len)
                    && piece.hash == hash_of(incoming.bytes)
            })
    }

    /// Index of the first piece that ends behind `offset`.
    fn first_behind(&self, offset: usize) -> usize {
        // Mostly they come one behind the other.
        match self.pieces.last() {
            Some(last) if last.end() > offset => self.pieces.partition_point(|piece| piece.end() <= offset),
            _ => self.pieces.len(),
        }
    }
}

impl Piece {
    fn end(&self) -> usize {
        self.offset + self.len
    }
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(field) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *field = value.to_be_bytes();
    }
}

/// The Internet checksum (RFC 1071).
fn checksum(header: &[u8]) -> u16 {
    let (words, _) = header.as_chunks();
    let sum: u32 = words.iter().map(|&word| u32::from(u16::from_be_bytes(word))).sum();
    // At most 30 words: folding twice leaves no carry.
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// A hash that tells contents from one another where nobody gains by making them equal: who sends a fragment that is
/// taken for a copy has his own datagram ignored.
fn hash_of(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks();
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(byte, value)| *byte = *value);
    let mut hash = bytes.len() as u64;
    for word in words.iter().chain([&last]) {
        hash = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(MULTIPLIER).rotate_left(29);
    }
    hash
}

/// What a piece takes besides its bytes.
pub(super) const PIECE_COST: usize = size_of::<Piece>();
/// Places for pieces that an unused entry keeps: an ordinary datagram's.
const PIECES_KEPT: usize = 8;
/// How long after a datagram's end copies of its fragments may come, in nanoseconds: a mirror's or a bridge's delay.
/// Longer, and a sender's next datagram with the same identification and contents might be taken for one.
pub(super) const RECENT_NS: u64 = 1_000_000_000;
/// Odd, with bits all over: 2^64 divided by the golden ratio.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
