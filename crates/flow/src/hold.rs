//! Early bytes: what was captured before the bytes in front of it.
//!
//! ```text
//!   Holds ── slot ──► Hold of one stream            Pool
//!                      pieces, in order of offset ──► buffers by size, used again
//!                      FIN that was seen, highest byte that was seen
//!                      since when the first hole is acknowledged
//! ```
//!
//! A stream has a hold only while it knows something beyond its next byte. Memory is bounded by the sizes of the
//! buffers, not of the bytes in them, so that a flood of single bytes does not cost more than is allowed.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use gannet_packet::Timestamp;

use crate::Moment;

/// The place of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HoldId(std::num::NonZero<u32>);

/// Bytes that wait, in order of the stream: `[offset, offset + len)`, of which the first were captured.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) offset: u64,
    /// Length on the wire.
    pub(crate) len: u64,
    /// The captured bytes; fewer than `len` if the segment was cut.
    pub(crate) bytes: Vec<u8>,
    /// The packet that carried them.
    pub(crate) seen: Moment,
    /// What their sender had acknowledged.
    pub(crate) acknowledged: Option<u64>,
    /// Bytes behind them had passed the capture point before.
    pub(crate) late: bool,
}

impl Piece {
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.len
    }

    /// What its buffer costs of the bounds; its place is charged to the hold.
    fn cost(&self) -> usize {
        self.bytes.capacity()
    }
}

/// A FIN that cannot be reached yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fin {
    pub(crate) offset: u64,
    pub(crate) seen: Moment,
}

/// The peer has acknowledged a hole: the time runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Armed {
    pub(crate) since: Timestamp,
    /// What it had acknowledged then: all holes up to there have been waiting since.
    pub(crate) covered: u64,
    /// What has been held since.
    pub(crate) bytes: u64,
    /// In how many segments.
    pub(crate) segments: u32,
}

/// What is known of a stream beyond its next byte.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    /// The entry it belongs to.
    pub(crate) owner: u32,
    /// Disjoint and sorted. Invariant between segments: the first starts behind the stream's next byte.
    pub(crate) pieces: VecDeque<Piece>,
    pub(crate) fin: Option<Fin>,
    /// End of the highest byte seen, held or not.
    pub(crate) highest: u64,
    pub(crate) armed: Option<Armed>,
    /// The time under which it is queued, if it is.
    queued: Option<Timestamp>,
    /// What the pieces cost: their buffers and the places they take, not those of a row used again that stay free. Of
    /// one stream, so that its bound does not depend on others.
    cost: usize,
}

impl Hold {
    /// Where the first hole ends, if that is known.
    pub(crate) fn hole_end(&self) -> Option<u64> {
        match self.pieces.front() {
            Some(piece) => Some(piece.offset),
            None => self.fin.map(|fin| fin.offset),
        }
    }

    /// Index of the first piece that ends behind `offset`.
    pub(crate) fn first_behind(&self, offset: u64) -> usize {
        // Early segments mostly come one behind the other.
        match self.pieces.back() {
            Some(last) if last.end() > offset => self.pieces.partition_point(|piece| piece.end() <= offset),
            _ => self.pieces.len(),
        }
    }

    /// Whether something from `offset` on that passed the capture point at `time` was in its turn there, although
    /// what follows has been taken before: that has a later time, and was in its turn itself. Rings are read a block
    /// at a time, datagrams wait for their last fragment, and other workers send what they find: the order of arrival
    /// is not that of the wire.
    pub(crate) fn was_in_turn(&self, offset: u64, time: Timestamp) -> bool {
        match (self.pieces.get(self.first_behind(offset)), self.fin) {
            (Some(piece), _) => !piece.late && time < piece.seen.time,
            (None, Some(fin)) => time < fin.seen.time,
            // What followed could not be held.
            (None, None) => false,
        }
    }
}

/// All holds of a table and the memory they share.
#[derive(Debug)]
pub(crate) struct Holds {
    slots: Vec<Hold>,
    free: Vec<u32>,
    pool: Pool,
    /// Rows of places to be used again.
    rows: Vec<VecDeque<Piece>>,
    /// The holds that are or were armed, by time: one for each of them at least.
    armed: BinaryHeap<Reverse<(Timestamp, u32)>>,
    cost: usize,
    limit: usize,
    limit_per_stream: usize,
}

/// What became of a request for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Enough,
    /// This stream holds too much.
    StreamFull,
    /// All together hold too much.
    PoolFull,
}

impl Holds {
    pub(crate) fn new(limit: usize, limit_per_stream: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            pool: Pool::default(),
            rows: Vec::new(),
            armed: BinaryHeap::new(),
            cost: 0,
            limit,
            limit_per_stream,
        }
    }

    /// A new hold for a stream of the entry `owner`.
    pub(crate) fn open(&mut self, owner: u32) -> HoldId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Hold::default());
            self.slots.len() as u32 - 1
        });
        self.slots[slot as usize].owner = owner;
        HoldId(std::num::NonZero::<u32>::MIN.saturating_add(slot))
    }

    /// Gives a hold back; returns the bytes (on the wire) that were still in it.
    pub(crate) fn close(&mut self, id: HoldId) -> u64 {
        let mut left = 0;
        while let Some(piece) = self.pop(id) {
            left += piece.len;
            self.recycle(piece);
        }
        let hold = &mut self.slots[id.slot()];
        let queued = hold.queued;
        let Hold { pieces, .. } = std::mem::replace(hold, Hold { queued, ..Hold::default() });
        self.cost -= pieces.capacity() * PLACE_COST;
        if (1..=PLACES_KEPT).contains(&pieces.capacity()) && self.rows.len() < ROWS_KEPT {
            self.rows.push(pieces);
        }
        self.free.push(id.slot() as u32);
        left
    }

    pub(crate) fn get(&self, id: HoldId) -> &Hold {
        &self.slots[id.slot()]
    }

    /// Pieces are put in and taken out with the methods below, which keep the sums.
    pub(crate) fn get_mut(&mut self, id: HoldId) -> &mut Hold {
        &mut self.slots[id.slot()]
    }

    /// Whether `captured` bytes more can be held for a stream.
    pub(crate) fn room(&self, id: HoldId, captured: usize) -> Room {
        let hold = &self.slots[id.slot()];
        let places = match hold.pieces.capacity() {
            0 => self.rows.last().map_or(PLACES_MIN, VecDeque::capacity),
            places if places == hold.pieces.len() => places,
            _ => 0,
        };
        let buffer = buffer_size(captured);
        if hold.cost + buffer + PLACE_COST > self.limit_per_stream || hold.pieces.len() >= PIECES_MAX {
            Room::StreamFull
        } else if self.memory() + buffer + places * PLACE_COST > self.limit {
            Room::PoolFull
        } else {
            Room::Enough
        }
    }

    /// Copies bytes into a piece at its place; the range of the piece must be free. There was [`Room`].
    pub(crate) fn insert(&mut self, id: HoldId, mut piece: Piece, bytes: &[u8]) {
        piece.bytes = self.pool.buffer(bytes.len());
        piece.bytes.extend_from_slice(bytes);
        self.cost += piece.cost();
        let hold = &mut self.slots[id.slot()];
        hold.cost += piece.cost() + PLACE_COST;
        let places = hold.pieces.capacity();
        if places == 0 {
            hold.pieces = self.rows.pop().unwrap_or_default();
        }
        let at = hold.first_behind(piece.offset);
        if let Some(armed) = &mut hold.armed {
            armed.bytes += piece.len;
        }
        hold.pieces.insert(at, piece);
        self.cost += (hold.pieces.capacity() - places) * PLACE_COST;
    }

    /// Takes the first piece out.
    pub(crate) fn pop(&mut self, id: HoldId) -> Option<Piece> {
        let piece = self.slots[id.slot()].pieces.pop_front()?;
        self.uncharge(id, &piece);
        Some(piece)
    }

    /// Takes back what lies behind `end`, the end of the stream; returns how many bytes (on the wire) that were.
    pub(crate) fn truncate(&mut self, id: HoldId, end: u64) -> u64 {
        let mut cut = 0;
        while let Some(last) = self.slots[id.slot()].pieces.back_mut() {
            if last.end() <= end {
                break;
            }
            if last.offset < end {
                cut += last.end() - end;
                last.len = end - last.offset;
                last.bytes.truncate(last.len as usize);
                break;
            }
            if let Some(piece) = self.slots[id.slot()].pieces.pop_back() {
                cut += piece.len;
                self.uncharge(id, &piece);
                self.recycle(piece);
            }
        }
        cut
    }

    /// Gives the memory of a piece back.
    pub(crate) fn recycle(&mut self, piece: Piece) {
        self.pool.recycle(piece.bytes);
    }

    /// Lets the time of a hold's first hole run.
    pub(crate) fn arm(&mut self, id: HoldId, since: Timestamp, covered: u64) {
        let hold = &mut self.slots[id.slot()];
        hold.armed = Some(Armed { since, covered, bytes: 0, segments: 0 });
        if hold.queued.is_none_or(|queued| since < queued) {
            hold.queued = Some(since);
            self.armed.push(Reverse((since, id.slot() as u32)));
        }
    }

    /// Adds to `due` the owners of holds that were armed at `before` or earlier. They are to be settled: a hold is
    /// told once.
    pub(crate) fn due(&mut self, before: Timestamp, due: &mut Vec<u32>) {
        while let Some(&Reverse((since, slot))) = self.armed.peek() {
            if since > before {
                return;
            }
            self.armed.pop();
            let hold = &mut self.slots[slot as usize];
            // It may have been queued again under an earlier time.
            if hold.queued == Some(since) {
                hold.queued = None;
            }
            let Some(armed) = hold.armed else { continue };
            if armed.since <= before {
                due.push(hold.owner);
            } else if hold.queued.is_none() {
                hold.queued = Some(armed.since);
                self.armed.push(Reverse((armed.since, slot)));
            }
        }
    }

    /// How much they may cost from now on.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// What they cost altogether.
    pub(crate) fn memory(&self) -> usize {
        self.cost + (self.slots.len() - self.free.len()) * HOLD_COST
    }

    /// What of that is for pieces, and so within the limit.
    pub(crate) fn pieces_memory(&self) -> usize {
        self.cost
    }

    fn uncharge(&mut self, id: HoldId, piece: &Piece) {
        self.slots[id.slot()].cost -= piece.cost() + PLACE_COST;
        self.cost -= piece.cost();
    }
}

impl HoldId {
    fn slot(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// Buffers by size class, to be used again.
#[derive(Debug, Default)]
struct Pool {
    free: [Vec<Vec<u8>>; CLASSES],
    kept_bytes: usize,
}

impl Pool {
    /// An empty buffer for `len` bytes.
    fn buffer(&mut self, len: usize) -> Vec<u8> {
        let size = buffer_size(len);
        match class(size).and_then(|class| self.free[class].pop()) {
            Some(buffer) => {
                self.kept_bytes -= buffer.capacity();
                buffer
            }
            None => Vec::with_capacity(size),
        }
    }

    fn recycle(&mut self, mut buffer: Vec<u8>) {
        let Some(class) = class(buffer.capacity()) else { return };
        if self.kept_bytes + buffer.capacity() <= KEPT_BYTES {
            buffer.clear();
            self.kept_bytes += buffer.capacity();
            self.free[class].push(buffer);
        }
    }
}

/// The size of the buffer that `len` bytes get.
fn buffer_size(len: usize) -> usize {
    match len {
        0 => 0,
        len => len.checked_next_power_of_two().unwrap_or(len).max(SMALLEST),
    }
}

/// The class of buffers of just this size.
fn class(size: usize) -> Option<usize> {
    let class = (size / SMALLEST).checked_ilog2()? as usize;
    (class < CLASSES && size == SMALLEST << class).then_some(class)
}

/// Bytes of the smallest buffers.
const SMALLEST: usize = 128;
/// 128 bytes to 128 KiB: all that a segment can hold without jumbograms (larger ones are allocated each time).
const CLASSES: usize = 11;
/// Bytes of unused buffers that are kept: what a moment of disorder needs. More would keep what one burst took.
const KEPT_BYTES: usize = 4 << 20;
/// Places of a row that is kept to be used again.
const PLACES_KEPT: usize = 64;
/// Rows that are kept.
const ROWS_KEPT: usize = 1 << 10;
/// What the place of a piece costs.
const PLACE_COST: usize = size_of::<Piece>();
/// Places that the first piece of a hold makes, if there is no row to be used again.
const PLACES_MIN: usize = 4;
/// What a hold costs besides its pieces.
const HOLD_COST: usize = size_of::<Hold>();
/// Pieces of one stream. A receive buffer of 8 MiB has 6,000 full segments; single bytes are never that many, and
/// finding their places would take ever longer.
const PIECES_MAX: usize = 1 << 13;

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(offset: u64, len: u64) -> Piece {
        Piece { offset, len, bytes: Vec::new(), seen: Moment::default(), acknowledged: None, late: false }
    }

    fn hold(holds: &mut Holds, id: HoldId, offset: u64, bytes: &[u8]) {
        holds.insert(id, piece(offset, bytes.len() as u64), bytes);
    }

    #[test]
    fn pieces_come_out_in_order_and_cost_what_they_take() {
        let mut holds = Holds::new(1 << 20, 1 << 10);
        let id = holds.open(7);
        hold(&mut holds, id, 30, b"ccc");
        hold(&mut holds, id, 10, b"a");
        hold(&mut holds, id, 20, b"bb");
        assert_eq!(holds.get(id).hole_end(), Some(10));
        assert_eq!([0, 10, 11, 22, 33].map(|at| holds.get(id).first_behind(at)), [0, 0, 1, 2, 3]);
        assert_eq!(holds.cost, 3 * SMALLEST + PLACES_MIN * PLACE_COST);
        assert_eq!(holds.room(id, 1_000), Room::StreamFull);
        assert_eq!(holds.room(id, 100), Room::Enough, "there is a place left");
        let first = holds.pop(id).unwrap();
        assert_eq!((first.offset, &first.bytes[..]), (10, &b"a"[..]));
        holds.recycle(first);
        assert_eq!(holds.truncate(id, 21), 4);
        assert_eq!(holds.get(id).pieces.len(), 1);
        assert_eq!(holds.close(id), 1);
        assert_eq!(holds.cost, 0);
        assert_eq!(holds.open(8), id, "slots are used again");
        assert_eq!(holds.memory(), HOLD_COST);
    }

    #[test]
    fn the_pool_is_bounded_over_all_streams() {
        let mut holds = Holds::new(2 * HOLD_COST + 2 * (256 + 4 * PLACE_COST) + 100, 2 * PLACE_COST + 700);
        let (one, two) = (holds.open(1), holds.open(2));
        hold(&mut holds, one, 1, &[0; 256]);
        hold(&mut holds, two, 1, &[0; 256]);
        assert_eq!(holds.room(one, 256), Room::PoolFull);
        assert_eq!(holds.room(one, 512), Room::StreamFull);
        holds.close(two);
        assert_eq!(holds.room(one, 256), Room::Enough);
    }

    /// A long row that another stream has left costs the pool, not the stream that gets it.
    #[test]
    fn what_a_stream_may_hold_does_not_depend_on_others() {
        let room_for = |holds: &mut Holds| {
            let id = holds.open(1);
            let mut number = 0;
            while holds.room(id, 1) == Room::Enough {
                hold(holds, id, number * 2, b"x");
                number += 1;
            }
            holds.close(id);
            number
        };
        let limit = 10 * (SMALLEST + PLACE_COST);
        let alone = room_for(&mut Holds::new(1 << 20, limit));
        let mut holds = Holds::new(1 << 20, limit);
        let other = holds.open(2);
        for number in 0..PLACES_KEPT as u64 {
            hold(&mut holds, other, number * 2, b"");
        }
        holds.close(other);
        assert_eq!((room_for(&mut holds), alone), (10, 10));
    }

    #[test]
    fn buffers_are_used_again_by_size() {
        let mut pool = Pool::default();
        for len in [1, 128, 129, 1_448, 65_535, 131_072] {
            let buffer = pool.buffer(len);
            assert!(buffer.capacity() >= len && class(buffer.capacity()).is_some());
            let address = buffer.as_ptr();
            pool.recycle(buffer);
            let again = pool.buffer(len);
            assert_eq!((again.as_ptr(), again.len()), (address, 0));
        }
        assert_eq!(class(buffer_size(131_073)), None);
        assert_eq!(pool.buffer(0).capacity(), 0);
    }

    #[test]
    fn pieces_are_bounded_however_small() {
        let mut holds = Holds::new(1 << 30, 1 << 30);
        let id = holds.open(1);
        for number in 0..PIECES_MAX as u64 {
            assert_eq!(holds.room(id, 1), Room::Enough);
            hold(&mut holds, id, number * 2, b"x");
        }
        assert_eq!(holds.room(id, 1), Room::StreamFull);
        holds.close(id);
        assert_eq!(holds.memory(), 0);
    }

    #[test]
    fn owners_are_due_when_their_time_is() {
        let mut holds = Holds::new(1 << 20, 1 << 20);
        let (one, two) = (holds.open(1), holds.open(2));
        holds.arm(one, Timestamp(100), 5);
        holds.arm(two, Timestamp(50), 5);
        let mut due = Vec::new();
        holds.due(Timestamp(49), &mut due);
        assert_eq!(due, []);
        holds.due(Timestamp(50), &mut due);
        assert_eq!(due, [2]);
        holds.close(two);
        due.clear();
        holds.due(Timestamp(100), &mut due);
        assert_eq!(due, [1]);
    }
}
