//! Reassembly: what the bytes of a segment become.
//!
//! ```text
//!   range of a segment, in offsets
//!     before next ───────────► seen before: counted, told, not delivered
//!     on a held piece ───────► compared with it, counted
//!     free, at next ─────────► delivered as a borrow, then the pieces that follow
//!     free, behind a hole ───► copied into the pool
//!   hole
//!     acknowledged, and time or much data has passed since ──┐
//!     too much is held behind it ────────────────────────────┼──► gap, then the pieces that follow
//!     the flow closes ───────────────────────────────────────┘
//! ```

use gannet_packet::TcpFlags;

use crate::entry::Entry;
use crate::flow::Attention;
use crate::hold::{Fin, Hold, HoldId, Holds, Piece, Room};
use crate::sequence::has;
use crate::stream::{Start, Stream};
use crate::{
    Counters, Data, Gap, GapReason, Handler, Limits, Moment, Peer, Retransmission, Segment, StreamEnd, tls,
};

/// What reassembly works with, besides the entry of the flow.
pub(crate) struct Assembly<'t, H> {
    pub(crate) handler: &'t mut H,
    pub(crate) counters: &'t mut Counters,
    pub(crate) holds: &'t mut Holds,
    pub(crate) limits: &'t Limits,
    /// Index of the entry.
    pub(crate) owner: u32,
    /// The packet that lets things happen now, or the tick.
    pub(crate) now: Moment,
}

/// A part of a segment, by offsets.
#[derive(Clone, Copy)]
struct Range<'a> {
    offset: u64,
    end: u64,
    /// What was captured of it, from its start.
    bytes: &'a [u8],
    acknowledged: Option<u64>,
}

impl<'a> Range<'a> {
    fn len(&self) -> u64 {
        self.end - self.offset
    }

    /// The part from `offset` to `end`, both within.
    fn part(&self, offset: u64, end: u64) -> Self {
        let bytes = self.bytes.get(narrow(offset - self.offset)..).unwrap_or_default();
        let bytes = bytes.get(..narrow(end - offset)).unwrap_or(bytes);
        Self { offset, end, bytes, acknowledged: self.acknowledged }
    }
}

impl<H: Handler> Assembly<'_, H> {
    /// Takes the payload and the FIN of a segment that is in the window; `offset` is where its payload starts.
    #[inline]
    pub(crate) fn take(
        &mut self,
        entry: &mut Entry<H::State>,
        from: Peer,
        segment: &Segment<'_>,
        offset: i64,
        acknowledged: Option<u64>,
    ) {
        let end = offset + i64::from(segment.wire_len);
        if segment.wire_len != 0 {
            self.payload(entry, from, segment, offset, acknowledged);
        }
        if has(segment, TcpFlags::FIN) && end >= 0 {
            self.fin(entry, from, end as u64);
        }
    }

    /// Whether the bytes from `offset` to `end` have come before, or been given up, and if `fin` a FIN behind them.
    pub(crate) fn has_seen(&self, stream: &Stream, offset: u64, end: u64, fin: bool) -> bool {
        let hold = stream.hold.map(|id| self.holds.get(id));
        let fin_seen = match hold {
            _ if stream.ended() => end == stream.next,
            Some(hold) => hold.fin.is_some_and(|known| known.offset == end),
            None => false,
        };
        if fin && !fin_seen {
            return false;
        }
        if end <= stream.next {
            return true;
        }
        let Some(hold) = hold else { return false };
        let offset = offset.max(stream.next);
        let range = Range { offset, end, bytes: &[], acknowledged: None };
        offset < end && compare(hold, range).0 == range.len()
    }

    /// Looks whether the holes of a stream may be given up now.
    pub(crate) fn settle(&mut self, entry: &mut Entry<H::State>, from: Peer) {
        while let Some(id) = entry.stream(from).hold {
            let acked = entry.stream(from).acked();
            let hold = self.holds.get_mut(id);
            let Some(hole_end) = hold.hole_end() else {
                hold.armed = None;
                self.tidy(entry, from);
                return;
            };
            match hold.armed {
                Some(armed) if armed.covered >= hole_end => {
                    let waited = self.now.time.0.saturating_sub(armed.since.0);
                    if u128::from(waited) < self.limits.hole_patience.as_nanos()
                        && armed.bytes < BEHIND_BYTES
                        && armed.segments < BEHIND_SEGMENTS
                    {
                        return;
                    }
                    self.give_up(entry, from, hole_end);
                }
                // Holes up to what was acknowledged then are gone; what has been acknowledged since waits from now on.
                Some(_) => hold.armed = None,
                None if acked >= hole_end => self.holds.arm(id, self.now.time, acked),
                None => return,
            }
        }
    }

    /// Tells the handler of a segment that its flow has taken.
    #[inline]
    pub(crate) fn tell(&mut self, entry: &mut Entry<H::State>, segment: &Segment<'_>) {
        if let Some(state) = &mut entry.state {
            self.handler.taken(state, &entry.flow, segment);
        }
    }

    /// Brings a stream to its end when the flow closes: what is missing becomes gaps, what is held is delivered.
    pub(crate) fn flush(&mut self, entry: &mut Entry<H::State>, from: Peer) {
        self.give_up_all(entry, from);
        let stream = entry.stream(from);
        let (next, acked, ended) = (stream.next, stream.acked(), stream.ended());
        // One byte more than was seen may be the FIN that the capture missed.
        if !unwanted(entry) && !ended && acked > next + 1 {
            self.gap(entry, from, acked, GapReason::NotCaptured);
        }
    }

    /// Gives up all holes of a stream and delivers what lies between them.
    pub(crate) fn give_up_all(&mut self, entry: &mut Entry<H::State>, from: Peer) {
        while let Some(id) = entry.stream(from).hold {
            let Some(hole_end) = self.holds.get(id).hole_end() else { break };
            self.give_up(entry, from, hole_end);
        }
        self.release(entry, from);
    }

    /// Drops what is held for a stream.
    pub(crate) fn release(&mut self, entry: &mut Entry<H::State>, from: Peer) {
        if let Some(id) = entry.stream(from).hold.take() {
            let left = self.holds.close(id);
            self.counters.held_bytes -= left;
            self.counters.discarded_bytes += left;
        }
    }

    /// Moves the provisional start of a stream back by `distance`: bytes before it were captured late.
    pub(crate) fn start_earlier(&mut self, entry: &mut Entry<H::State>, from: Peer, distance: u32) {
        let shift = u64::from(distance);
        let stream = entry.stream(from);
        stream.base = stream.base.wrapping_sub(distance);
        if let Some(id) = stream.hold {
            let hold = self.holds.get_mut(id);
            hold.highest += shift;
            for piece in &mut hold.pieces {
                piece.offset += shift;
            }
            if let Some(fin) = &mut hold.fin {
                fin.offset += shift;
            }
            if let Some(armed) = &mut hold.armed {
                armed.covered += shift;
            }
        }
        if let Some(id) = entry.stream(from.opposite()).hold {
            for piece in &mut self.holds.get_mut(id).pieces {
                piece.acknowledged = piece.acknowledged.map(|offset| offset + shift);
            }
        }
    }

    /// Puts payload where it belongs.
    #[inline]
    fn payload(
        &mut self,
        entry: &mut Entry<H::State>,
        from: Peer,
        segment: &Segment<'_>,
        offset: i64,
        acknowledged: Option<u64>,
    ) {
        let stream = entry.stream(from);
        let (next, ended, hold) = (stream.next, stream.ended(), stream.hold);
        let end = offset + i64::from(segment.wire_len);
        let mut bytes = segment.payload.get(..segment.wire_len as usize).unwrap_or(segment.payload);
        if offset < next as i64 {
            let again_end = end.min(next as i64);
            self.again(entry, from, offset, again_end);
            if end <= next as i64 {
                return;
            }
            bytes = bytes.get(narrow((again_end - offset) as u64)..).unwrap_or_default();
        }
        // Not negative: both are at least `next`.
        let mut range =
            Range { offset: offset.max(next as i64) as u64, end: end as u64, bytes, acknowledged };
        let stream_end = match hold {
            _ if ended => next,
            Some(id) => self.holds.get(id).fin.map_or(u64::MAX, |fin| fin.offset),
            None => u64::MAX,
        };
        if range.end > stream_end {
            // Nothing can follow a FIN.
            let beyond = range.end - stream_end.max(range.offset);
            self.counters.out_of_window_bytes += beyond;
            if stream_end <= range.offset {
                return;
            }
            range = range.part(range.offset, stream_end);
        }
        if unwanted(entry) {
            // A hole that is skipped here does not matter to anybody.
            self.counters.unwanted_bytes += range.len();
            self.greet(entry, from, range.offset, range.bytes);
            entry.stream(from).advance(range.end);
            return;
        }
        if hold.is_none() && range.offset == next {
            self.deliver(entry, from, range, self.now, false);
        } else {
            self.beside_holes(entry, from, range);
        }
    }

    /// Payload of a stream with holes, or that makes one.
    #[cold]
    fn beside_holes(&mut self, entry: &mut Entry<H::State>, from: Peer, range: Range<'_>) {
        let id = self.hold_of(entry, from);
        let hold = self.holds.get_mut(id);
        let late = (range.offset < hold.highest || hold.fin.is_some())
            && !hold.was_in_turn(range.offset, self.now.time);
        hold.highest = hold.highest.max(range.end);
        if let Some(armed) = &mut hold.armed {
            armed.segments += 1;
        }
        let (seen_before, conflicts) = compare(hold, range);
        self.counters.retransmitted_bytes += seen_before;
        self.counters.conflicting_bytes += conflicts;
        if seen_before != 0 {
            entry.flow.sent_again(from, seen_before);
            if conflicts != 0 {
                entry.flow.unusual_stream(from).conflicting_bytes += conflicts;
            }
        }
        if late && seen_before < range.len() {
            self.counters.out_of_order += 1;
            let counts = &mut entry.flow.rare_mut().counts[from as usize];
            counts.out_of_order = counts.out_of_order.saturating_add(1);
        }
        // What fills a hole may have been sent before, and what lies behind one is acknowledged when it is filled.
        entry.stream(from).round_trip.forget();

        let mut cursor = range.offset;
        let mut left = range.len() - seen_before;
        while cursor < range.end {
            let &mut Stream { next, hold: Some(id), .. } = entry.stream(from) else {
                // The end was reached, and nothing is left; or the handler has lost interest.
                self.counters.unwanted_bytes += left;
                return;
            };
            // Pieces that lay within the range may have been delivered together with what filled the hole before them.
            if cursor < next {
                cursor = next;
                continue;
            }
            let hold = self.holds.get(id);
            let following = hold.pieces.get(hold.first_behind(cursor));
            let end = match following {
                Some(piece) if piece.offset <= cursor => {
                    cursor = piece.end();
                    continue;
                }
                Some(piece) => piece.offset.min(range.end),
                None => range.end,
            };
            if self.place(entry, from, id, range.part(cursor, end), late) {
                left -= end - cursor;
                cursor = end;
            }
        }
        self.tidy(entry, from);
    }

    /// Delivers or holds a range that is free. False if there had to be made room first.
    fn place(
        &mut self,
        entry: &mut Entry<H::State>,
        from: Peer,
        id: HoldId,
        range: Range<'_>,
        late: bool,
    ) -> bool {
        if entry.stream(from).next == range.offset {
            // The pieces behind it may have been drained up to here, or there is no hole.
            self.deliver(entry, from, range, self.now, late);
            self.drain(entry, from);
            return true;
        }
        match self.holds.room(id, range.bytes.len()) {
            Room::Enough => {
                let Range { offset, bytes, acknowledged, .. } = range;
                let len = range.len();
                let piece = Piece { offset, len, bytes: Vec::new(), seen: self.now, acknowledged, late };
                self.holds.insert(id, piece, bytes);
                self.counters.held_bytes += len;
            }
            full => {
                let hole_end = self.holds.get(id).hole_end().unwrap_or(range.offset).min(range.offset);
                if full == Room::StreamFull || entry.stream(from).acked() >= hole_end {
                    self.counters.crowded_out_bytes += hole_end.saturating_sub(entry.stream(from).next);
                    self.give_up(entry, from, hole_end);
                    return false;
                }
                // The hole may still be filled, and nothing of this stream can make room.
                self.counters.refused_bytes += range.len();
            }
        }
        true
    }

    /// The bytes up to `hole_end` will not come.
    fn give_up(&mut self, entry: &mut Entry<H::State>, from: Peer, hole_end: u64) {
        let stream = entry.stream(from);
        let (next, acked) = (stream.next, stream.acked());
        let captured_not = acked.clamp(next, hole_end);
        if captured_not > next {
            self.gap(entry, from, captured_not, GapReason::NotCaptured);
        }
        if hole_end > captured_not && !unwanted(entry) {
            self.gap(entry, from, hole_end, GapReason::Lost);
        }
        self.drain(entry, from);
    }

    /// Delivers the pieces that follow without a hole, and the end.
    fn drain(&mut self, entry: &mut Entry<H::State>, from: Peer) {
        while let Some(id) = entry.stream(from).hold {
            let next = entry.stream(from).next;
            let hold = self.holds.get(id);
            if hold.pieces.front().is_some_and(|piece| piece.offset == next) {
                let Some(piece) = self.holds.pop(id) else { return };
                self.counters.held_bytes -= piece.len;
                let Piece { offset, acknowledged, .. } = piece;
                let range = Range { offset, end: piece.end(), bytes: &piece.bytes, acknowledged };
                self.deliver(entry, from, range, piece.seen, piece.late);
                self.holds.recycle(piece);
            } else if let Some(fin) = hold.fin.filter(|fin| fin.offset == next) {
                self.end(entry, from, fin.seen);
            } else {
                return;
            }
        }
    }

    /// Gives the hold back when nothing is known beyond the next byte.
    fn tidy(&mut self, entry: &mut Entry<H::State>, from: Peer) {
        let stream = entry.stream(from);
        let Some(id) = stream.hold else { return };
        let hold = self.holds.get(id);
        if hold.pieces.is_empty() && hold.fin.is_none() && hold.highest <= stream.next {
            self.release(entry, from);
        }
    }

    /// Hands on bytes at the next offset, and says what of them was cut.
    #[inline]
    fn deliver(
        &mut self,
        entry: &mut Entry<H::State>,
        from: Peer,
        range: Range<'_>,
        seen: Moment,
        late: bool,
    ) {
        let captured = range.bytes.len() as u64;
        let Range { offset, bytes, acknowledged, .. } = range;
        if offset == 0 || entry.flow.attention.has(Attention::HELLO) {
            self.greet(entry, from, offset, bytes);
        }
        entry.stream(from).advance(range.end);
        self.counters.delivered_bytes += captured;
        let cut = range.len() - captured;
        if cut != 0 {
            self.counters.cut_bytes += cut;
            entry.flow.missed(from, cut);
        }
        let Some(state) = &mut entry.state else { return };
        if captured != 0 {
            let data = Data { from, offset, bytes, seen, now: self.now, acknowledged, late };
            self.handler.data(state, &entry.flow, data);
        }
        if cut != 0 {
            let gap =
                Gap { from, offset: offset + captured, len: cut, reason: GapReason::Cut, now: self.now };
            self.handler.gap(state, &entry.flow, gap);
        }
        self.ask(entry);
    }

    /// Tells the handler that the bytes up to `end` are missing.
    pub(crate) fn gap(&mut self, entry: &mut Entry<H::State>, from: Peer, end: u64, reason: GapReason) {
        let stream = entry.stream(from);
        let offset = stream.next;
        stream.advance(end);
        let len = end - offset;
        self.counters.gaps += 1;
        self.counters.gap_bytes += len;
        entry.flow.missed(from, len);
        if let Some(state) = &mut entry.state {
            self.handler.gap(state, &entry.flow, Gap { from, offset, len, reason, now: self.now });
        }
        self.ask(entry);
    }

    /// Looks for a TLS hello in the first bytes of a stream.
    #[inline(never)]
    fn greet(&mut self, entry: &mut Entry<H::State>, from: Peer, offset: u64, bytes: &[u8]) {
        if entry.flow.attention.has(Attention::HELLO) || offset == 0 && tls::may_start(bytes) {
            entry.flow.greet(from, offset, bytes);
        }
    }

    /// Asks the handler whether it wants more; if not, nothing is held any longer.
    #[inline]
    fn ask(&mut self, entry: &mut Entry<H::State>) {
        if entry.state.as_ref().is_some_and(|state| !self.handler.wants_more(state)) {
            self.turn_away(entry);
        }
    }

    #[cold]
    fn turn_away(&mut self, entry: &mut Entry<H::State>) {
        entry.flow.attention.set(Attention::UNWANTED, true);
        for from in [Peer::Originator, Peer::Responder] {
            if let Some(id) = entry.stream(from).hold {
                // A FIN that waited for bytes waits no more.
                let &Hold { highest, fin, .. } = self.holds.get(id);
                self.release(entry, from);
                let stream = entry.stream(from);
                stream.advance(stream.next.max(highest).max(fin.map_or(0, |fin| fin.offset)));
                if fin.is_some() {
                    stream.set_ended();
                }
            }
        }
    }

    /// A FIN at `offset`.
    fn fin(&mut self, entry: &mut Entry<H::State>, from: Peer, offset: u64) {
        let unwanted = unwanted(entry);
        let stream = entry.stream(from);
        if stream.ended() || offset < stream.next {
            return;
        }
        if unwanted {
            stream.advance(offset);
            stream.set_ended();
            return;
        }
        if offset == stream.next {
            self.end(entry, from, self.now);
            return;
        }
        let id = self.hold_of(entry, from);
        if self.holds.get(id).fin.is_none() {
            self.holds.get_mut(id).fin = Some(Fin { offset, seen: self.now });
            let cut = self.holds.truncate(id, offset);
            self.counters.held_bytes -= cut;
            self.counters.discarded_bytes += cut;
        }
    }

    /// The FIN is reached.
    fn end(&mut self, entry: &mut Entry<H::State>, from: Peer, seen: Moment) {
        self.release(entry, from);
        let stream = entry.stream(from);
        stream.set_ended();
        stream.start = Start::Known;
        let end = StreamEnd { from, offset: stream.next, seen, now: self.now };
        if let Some(state) = &mut entry.state {
            self.handler.end(state, &entry.flow, end);
        }
    }

    /// Bytes before the next one have come again: `[offset, end)`.
    #[cold]
    fn again(&mut self, entry: &mut Entry<H::State>, from: Peer, offset: i64, end: i64) {
        let count = (end - offset) as u64;
        self.counters.retransmitted_bytes += count;
        // "the sequence number ... is one less than what is expected": a keep-alive or zero-window probe, whose byte
        // is there to be refused.
        let probe = count == 1 && end == entry.stream(from).next as i64;
        let first = offset.max(0);
        if probe {
            entry.flow.rare_mut().bytes[from as usize].retransmitted += count;
            let unusual = entry.flow.unusual_stream(from);
            unusual.probe_bytes = unusual.probe_bytes.saturating_add(1);
            return;
        }
        entry.flow.sent_again(from, count);
        if unwanted(entry) || end <= first {
            return;
        }
        if let Some(state) = &mut entry.state {
            let again =
                Retransmission { from, offset: first as u64, len: (end - first) as u64, now: self.now };
            self.handler.retransmission(state, &entry.flow, again);
        }
    }

    /// The hold of a stream, made if there is none.
    fn hold_of(&mut self, entry: &mut Entry<H::State>, from: Peer) -> HoldId {
        let stream = entry.stream(from);
        *stream.hold.get_or_insert_with(|| {
            let id = self.holds.open(self.owner);
            self.holds.get_mut(id).highest = stream.next;
            id
        })
    }
}

/// How many bytes of `range` are held already, and how many of those are different.
fn compare(hold: &Hold, range: Range<'_>) -> (u64, u64) {
    let mut seen_before = 0;
    let mut conflicts = 0;
    for piece in hold.pieces.range(hold.first_behind(range.offset)..) {
        if piece.offset >= range.end {
            break;
        }
        let (start, end) = (piece.offset.max(range.offset), piece.end().min(range.end));
        seen_before += end - start;
        let held = piece.bytes.get(narrow(start - piece.offset)..).unwrap_or_default();
        let held = held.get(..narrow(end - start)).unwrap_or(held);
        let new = range.part(start, end).bytes;
        conflicts += held.iter().zip(new).filter(|(held, new)| held != new).count() as u64;
    }
    (seen_before, conflicts)
}

/// Whether the handler wants no more bytes.
#[inline]
fn unwanted<S>(entry: &Entry<S>) -> bool {
    entry.flow.attention.has(Attention::UNWANTED)
}

/// Lengths of parts of a segment or piece; what does not fit is beyond any buffer.
fn narrow(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

/// How much held behind an acknowledged hole shows that it will not be filled: mirrors and receive queues put
/// packets out of order by tens of segments, not by more.
const BEHIND_BYTES: u64 = 64 << 10;
/// The same in segments.
const BEHIND_SEGMENTS: u32 = 32;
