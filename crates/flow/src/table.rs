//! The flow table.

use std::hint::black_box;

use gannet_packet::{Surroundings, TcpFlags, Timestamp};

use self::judge::{
    COPIES_WITHIN_NS, PROVISIONAL_REACH, answers_another, count, is_played_again, opens_a_flow,
    outlives_reset, plausible_reset, reach,
};
use crate::assembly::Assembly;
use crate::entry::{Entry, Phase, Slab};
use crate::flow::Attention;
use crate::hash::KeyHash;
use crate::hold::Holds;
use crate::index::{INDEX_COST, Index};
use crate::rare::Beside;
use crate::sequence::{has, mark};
use crate::stream::{REACH_UNKNOWN, Start};
use crate::wheel::Wheel;
use crate::{
    CloseReason, Counters, Data, Flow, Handler, IcmpError, Limits, Moment, Peer, QuotedSegment, Segment,
    Violation,
};

/// What became of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Taken into its flow.
    Accepted,
    /// The same packet was captured before.
    Duplicate,
    /// Not of this flow's present.
    OutOfWindow,
    /// No flow and nothing to open one for.
    WithoutFlow,
}

/// All flows of one worker.
///
/// ```text
///   index: FlowKey ──► number ──► slab: Entry ──┬── hold ──► Holds (early bytes)
///                                    ▲          └── links
///   wheels: half-open, established, lingering ─────┘  by the time of the last segment
/// ```
///
/// Invariant: every entry is in the index and in the wheel of its phase; entries with a handler's state are open.
pub struct FlowTable<H: Handler> {
    limits: Limits,
    /// As many flows as their number and their memory allow.
    flows_max: usize,
    hash: KeyHash,
    handler: H,
    counters: Counters,
    index: Index,
    slab: Slab<H::State>,
    holds: Holds,
    /// What open entries have beside themselves takes so much memory.
    beside: usize,
    /// Indexed by `Phase as usize`.
    wheels: [Wheel; 3],
    clock: Timestamp,
    /// Entries that a tick looks at; kept to be used again.
    due: Vec<u32>,
    ordered: Vec<(u64, u32)>,
}

impl<H: Handler> FlowTable<H> {
    /// An empty table. `seed` must not be guessable: keys are chosen by whoever sends packets.
    pub fn new(limits: Limits, seed: u64, handler: H) -> Self {
        let entries = limits.memory / ENTRIES_SHARE.1 * ENTRIES_SHARE.0 / entry_cost::<H::State>();
        Self {
            limits,
            flows_max: limits.flows.min(entries).max(1),
            hash: KeyHash::new(seed),
            handler,
            counters: Counters::default(),
            index: Index::new(),
            slab: Slab::new(),
            holds: Holds::new(limits.held_bytes.min(limits.memory), limits.held_bytes_per_stream),
            beside: 0,
            wheels: [limits.half_open, limits.idle, limits.linger].map(Wheel::new),
            clock: Timestamp::default(),
            due: Vec::new(),
            ordered: Vec::new(),
        }
    }

    /// Takes one segment.
    pub fn segment(&mut self, segment: &Segment<'_>) -> Outcome {
        self.hashed(segment, self.hash.hash(&segment.key))
    }

    /// Takes segments, one after the other; `told` is given the number of each and what became of it.
    ///
    /// The same as one call of [`segment`](Self::segment) for each, but faster where the table is larger than the
    /// caches: the entries are looked up ahead, so that loads from memory wait for one another no longer.
    pub fn segments(&mut self, segments: &[Segment<'_>], told: impl FnMut(usize, Outcome)) {
        self.segments_with(segments, |_, _| (), told);
    }

    /// The same; `before` is given the handler and the number of each segment before that is taken.
    pub fn segments_with(
        &mut self,
        segments: &[Segment<'_>],
        mut before: impl FnMut(&mut H, usize),
        mut told: impl FnMut(usize, Outcome),
    ) {
        for (number, batch) in segments.chunks(BATCH).enumerate() {
            let mut hashes = [0; BATCH];
            let mut places = [None; BATCH];
            for (hash, segment) in hashes.iter_mut().zip(batch) {
                *hash = self.hash.hash(&segment.key);
            }
            if self.is_large() {
                // Each of these loops only loads, and no load needs another one of its loop.
                for (place, &hash) in places.iter_mut().zip(&hashes[..batch.len()]) {
                    *place = self.index.find(hash, |_| true);
                }
                let touched = places.iter().flatten().map(|&index| self.slab.get(index).touch());
                black_box(touched.fold(0, |sum, touched| sum ^ touched));
            }
            for (at, (segment, &hash)) in batch.iter().zip(&hashes).enumerate() {
                before(&mut self.handler, number * BATCH + at);
                told(number * BATCH + at, self.hashed(segment, hash));
            }
        }
    }

    /// Whether the entries are more than the caches hold: [`segments`](Self::segments) is worth gathering them then.
    #[inline]
    pub fn is_large(&self) -> bool {
        self.slab.len() > CACHED
    }

    #[inline]
    fn hashed(&mut self, segment: &Segment<'_>, hash: u32) -> Outcome {
        self.counters.segments += 1;
        self.counters.bytes += u64::from(segment.wire_len);
        self.clock = self.clock.max(segment.moment.time);
        let slab = &self.slab;
        let found = self.index.find(hash, |index| slab.get(index).flow.key == segment.key);
        if let Some(index) = found
            && self.next(index, segment)
        {
            self.counters.accepted += 1;
            return Outcome::Accepted;
        }
        self.any(found, hash, segment)
    }

    /// Takes a segment that goes on where its stream is, or only acknowledges, in a flow without holes that is open
    /// in both directions: nearly all of them. False if it is no such segment; nothing has been done then.
    ///
    /// What it does is what [`take`](Self::take) does with such a segment; what cannot be is left out.
    #[inline]
    fn next(&mut self, index: u32, segment: &Segment<'_>) -> bool {
        let now = segment.moment;
        let len = segment.wire_len;
        let entry = self.slab.get_mut(index);
        let flow = &mut entry.flow;
        let from = flow.peer(segment.side);
        let last_seen = flow.last_seen.max(now.time);
        let [ref mut originator, ref mut responder] = flow.streams;
        let (stream, opposite) = match from {
            Peer::Originator => (originator, responder),
            Peer::Responder => (responder, originator),
        };
        let tcp = &segment.tcp;
        let flags = tcp.flags.0 & (TcpFlags::ACK.0 | TcpFlags::SYN.0 | TcpFlags::FIN.0 | TcpFlags::RST.0);
        let (bytes, carry) = stream.bytes.overflowing_add(len);
        let plain = flags == TcpFlags::ACK.0
            && tcp.window != 0
            && flow.attention.none()
            && flow.history.knows(from, len != 0)
            && stream.is_plain()
            && opposite.is_plain()
            && stream.next_sequence() == tcp.sequence
            && segment.payload.len() == len as usize
            && !carry
            && stream.packets != u32::MAX;
        let Some(state) = &mut entry.state else { return false };
        if !plain {
            return false;
        }
        // New bytes are no copy of anything; an acknowledgement may be.
        let dedup = len == 0 && self.limits.deduplicate;
        if dedup && stream.newest.is_after(now.time, last_seen) {
            return false;
        }
        let mark = mark(segment);
        if dedup && mark.is_some_and(|mark| stream.recent.contains(mark, now.time, || false)) {
            return false;
        }
        // What is acknowledged unseen is told of, where there are no bytes that say it.
        let reach = if len == 0 { 0 } else { REACH_UNKNOWN as i32 };
        let Some(acknowledged) = opposite.acknowledge_near(tcp.acknowledgement, reach) else { return false };
        if let Some(mark) = mark {
            stream.recent.push(mark, now.time);
        }
        stream.newest.raise(now.time, flow.last_seen);
        flow.last_seen = last_seen;
        stream.packets += 1;
        stream.bytes = bytes;
        let scale = stream.scale().filter(|_| opposite.scale().is_some()).unwrap_or(0);
        opposite.raise_window(u32::from(tcp.window) << scale);
        opposite.round_trip.acknowledged(tcp.acknowledgement, now.time);
        if len == 0 {
            self.handler.taken(state, flow, segment);
            return true;
        }
        let offset = stream.next;
        if stream.unacknowledged() >= 0 {
            stream.round_trip.sent(tcp.sequence.wrapping_add(len), now.time);
        }
        stream.advance_by(len);
        self.counters.delivered_bytes += u64::from(len);
        self.handler.taken(state, flow, segment);
        let bytes = segment.payload;
        let data =
            Data { from, offset, bytes, seen: now, now, acknowledged: Some(acknowledged), late: false };
        self.handler.data(state, flow, data);
        if !self.handler.wants_more(state) {
            flow.attention.set(Attention::UNWANTED, true);
        }
        true
    }

    /// Takes any segment.
    #[inline(never)]
    fn any(&mut self, found: Option<u32>, hash: u32, segment: &Segment<'_>) -> Outcome {
        let bytes = u64::from(segment.wire_len);
        let found = found.filter(|&index| !self.forget_if_due(index, segment.moment));
        let index = match found {
            Some(index) if !self.is_reused(index, segment) => index,
            found => {
                // Behind a RST that came before a byte, nothing of what it carries has been missed.
                let unspoken = found.is_some_and(|old| {
                    let flow = &self.slab.get(old).flow;
                    !flow.midstream && flow.streams.iter().all(|stream| stream.next == 0)
                });
                if let Some(old) = found {
                    self.replace(old, hash, segment.moment);
                }
                if !opens_a_flow(segment) {
                    // Only a RST has payload here; its text belongs to no stream.
                    self.counters.discarded_bytes += bytes;
                    self.counters.without_flow += 1;
                    return Outcome::WithoutFlow;
                }
                self.open(hash, segment, unspoken)
            }
        };
        let outcome = self.keeping_count(index, |table| table.take(index, segment));
        match outcome {
            Outcome::Accepted => self.counters.accepted += 1,
            Outcome::Duplicate => {
                self.counters.duplicates += 1;
                self.counters.duplicate_bytes += bytes;
            }
            Outcome::OutOfWindow => {
                self.counters.out_of_window += 1;
                self.counters.out_of_window_bytes += bytes;
            }
            Outcome::WithoutFlow => {}
        }
        outcome
    }

    /// Lets time pass: expires flows, gives up holes whose patience has run out. Events carry `now`.
    ///
    /// For results that do not depend on the number of workers it is called at the same positions in all of them.
    /// Flows expire up to 0.3 s later than their limit says. Events come in the order of the flows' ids.
    pub fn tick(&mut self, now: Moment) {
        let mut due = std::mem::take(&mut self.due);
        self.wheels[Phase::Lingering as usize].due(&mut self.slab, now.time, &mut due);
        for index in due.drain(..) {
            self.forget(index, now);
        }
        for phase in [Phase::HalfOpen, Phase::Established] {
            self.wheels[phase as usize].due(&mut self.slab, now.time, &mut due);
        }
        let patience = u64::try_from(self.limits.hole_patience.as_nanos()).unwrap_or(u64::MAX);
        if let Some(before) = now.time.0.checked_sub(patience) {
            self.holds.due(Timestamp(before), &mut due);
        }
        let mut ordered = std::mem::take(&mut self.ordered);
        ordered.extend(due.drain(..).map(|index| (self.slab.get(index).flow.id, index)));
        ordered.sort_unstable();
        ordered.dedup();
        for (_, index) in ordered.drain(..) {
            self.keeping_count(index, |table| {
                let (entry, mut assembly) = table.parts(index, now);
                assembly.settle(entry, Peer::Originator);
                assembly.settle(entry, Peer::Responder);
            });
            let entry = self.slab.get(index);
            let Flow { phase, last_seen, .. } = entry.flow;
            if entry.state.is_none() {
                continue;
            }
            if entry.finished() {
                self.close(index, CloseReason::Finished, now);
                self.linger(index);
            } else if self.wheels[phase as usize].is_due(last_seen, now.time) {
                self.close(index, CloseReason::Idle, now);
                self.forget(index, now);
            }
        }
        self.due = due;
        self.ordered = ordered;
        while self.memory() > self.limits.memory && self.evict(now) {}
        self.share_memory();
    }

    /// An ICMP error about a segment: counted on its flow. False if it is of no flow, or not of its present.
    pub fn icmp_error(&mut self, error: IcmpError, quoted: &QuotedSegment, now: Moment) -> bool {
        let slab = &self.slab;
        let hash = self.hash.hash(&quoted.key);
        let found = self.index.find(hash, |index| slab.get(index).flow.key == quoted.key);
        let plausible = found.filter(|&index| {
            let (entry, assembly) = self.parts(index, now);
            let from = entry.flow.peer(quoted.side);
            let stream = &entry.flow.streams[from as usize];
            let (low, high) = assembly.edges(stream);
            let reach = reach(entry, from);
            // Anybody can send one; who cannot see the flow cannot quote it (RFC 5927).
            entry.state.is_some()
                && (stream.start == Start::Unknown
                    || (low - reach..=high + reach).contains(&stream.offset(quoted.sequence)))
        });
        let Some(index) = plausible else {
            self.counters.icmp_errors_without_flow += 1;
            return false;
        };
        self.counters.icmp_errors += 1;
        self.keeping_count(index, |table| {
            let unusual = table.slab.get_mut(index).flow.rare_mut().unusual_mut();
            unusual.icmp_errors = unusual.icmp_errors.saturating_add(1);
            unusual.icmp.get_or_insert(error);
        });
        true
    }

    /// Ends all flows, in the order of their ids.
    pub fn finish(&mut self, now: Moment) {
        for (_, index) in self.slab.open() {
            self.close(index, CloseReason::EndOfInput, now);
            self.forget(index, now);
        }
        while let Some(index) = self.wheels[Phase::Lingering as usize].oldest(&mut self.slab) {
            self.forget(index, now);
        }
    }

    /// The sums so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The identities of [`Counters`] that do not hold now. Empty, or the table has a defect.
    pub fn check(&self) -> Vec<Violation> {
        self.counters.check(self.open_flows() as u64)
    }

    /// Flows that are open now.
    pub fn open_flows(&self) -> usize {
        self.slab.len() - self.wheels[Phase::Lingering as usize].len()
    }

    /// The handler.
    pub fn handler(&mut self) -> &mut H {
        &mut self.handler
    }

    /// The time of the newest segment.
    pub fn clock(&self) -> Timestamp {
        self.clock
    }

    /// The memory that the table takes, of which [`Limits::memory`] is the bound.
    pub fn memory(&self) -> usize {
        self.entries_memory() + self.holds.memory()
    }

    /// Flows of which one direction or only a SYN has been seen, now.
    pub fn half_open_flows(&self) -> usize {
        self.wheels[Phase::HalfOpen as usize].len()
    }

    /// The memory that held bytes take, of which [`Limits::held_bytes`] is the bound.
    pub(crate) fn held_memory(&self) -> usize {
        self.holds.pieces_memory()
    }

    /// Takes a segment into its flow, or says why not.
    fn take(&mut self, index: u32, segment: &Segment<'_>) -> Outcome {
        let now = segment.moment;
        let (entry, mut assembly) = self.parts(index, now);
        let from = entry.flow.peer(segment.side);
        let mark = mark(segment);
        let is_doubled = entry.flow.is_doubled();
        let stream = entry.stream(from);
        let syn = has(segment, TcpFlags::SYN);
        // The sequence number of the first payload byte.
        let sequence = segment.tcp.sequence.wrapping_add(u32::from(syn));
        let in_order =
            segment.wire_len != 0 && stream.start == Start::Known && stream.next_sequence() == sequence;
        let marked = mark.is_some_and(|mark| stream.recent.contains(mark, now.time, || is_doubled));
        // New bytes are no copy of anything.
        let dedup = assembly.limits.deduplicate;
        if !in_order
            && dedup
            && (marked && assembly.brings_nothing(entry, from, segment, sequence)
                || assembly.is_late_copy(entry, from, segment, sequence))
        {
            if entry.state.is_some() {
                entry.flow.copied(from);
            }
            return Outcome::Duplicate;
        }
        let last_seen = entry.flow.last_seen;
        let stream = entry.stream(from);
        if let Some(mark) = mark {
            stream.recent.push(mark, now.time);
        }
        stream.newest.raise(now.time, last_seen);
        if entry.state.is_none() {
            let outcome = assembly.late(entry, from, segment, sequence);
            if outcome == Outcome::Accepted {
                assembly.handler.late(&entry.flow, segment);
            }
            return outcome;
        }
        if has(segment, TcpFlags::RST) {
            if !plausible_reset(entry, from, segment, &assembly) {
                return Outcome::OutOfWindow;
            }
            assembly.counters.discarded_bytes += u64::from(segment.wire_len);
            count(entry, from, segment);
            assembly.tell(entry, segment);
            self.touch(index, segment);
            self.end(index, CloseReason::Reset { by: from }, now);
            self.linger(index);
            return Outcome::Accepted;
        }
        if syn {
            assembly.syn(entry, from, segment, sequence);
        } else if answers_another(entry, from, segment) {
            return Outcome::OutOfWindow;
        }
        assembly.begin(entry, from, segment, sequence);
        let mut offset = entry.stream(from).offset(sequence);
        if !in_order && !assembly.in_window(entry, from, offset, segment) {
            if !assembly.goes_on_elsewhere(entry, from, segment, sequence) {
                return Outcome::OutOfWindow;
            }
            offset = entry.stream(from).offset(sequence);
        }
        count(entry, from, segment);
        assembly.tell(entry, segment);
        let acknowledged = assembly.acknowledge(entry, from, segment);
        assembly.settle(entry, from.opposite());
        let stream = entry.stream(from);
        if segment.wire_len != 0
            && offset == stream.next as i64
            && stream.hold.is_none()
            && stream.acked() <= stream.next
        {
            stream.round_trip.sent(sequence.wrapping_add(segment.wire_len), now.time);
        }
        assembly.take(entry, from, segment, offset, acknowledged);
        assembly.settle(entry, from);
        let finished = entry.finished();
        self.touch(index, segment);
        if finished {
            self.end(index, CloseReason::Finished, now);
            self.linger(index);
        }
        Outcome::Accepted
    }

    /// Whether a segment begins a new flow on the ports of a known one.
    #[inline]
    fn is_reused(&self, index: u32, segment: &Segment<'_>) -> bool {
        let entry = self.slab.get(index);
        entry.state.is_none() && outlives_reset(entry, entry.flow.peer(segment.side), segment)
            || has(segment, TcpFlags::SYN) && self.is_reused_by(index, segment)
    }

    #[cold]
    fn is_reused_by(&self, index: u32, segment: &Segment<'_>) -> bool {
        let entry = self.slab.get(index);
        let from = entry.flow.peer(segment.side);
        let stream = &entry.flow.streams[from as usize];
        let first = segment.tcp.sequence.wrapping_add(1);
        let copy = self.limits.deduplicate
            && mark(segment).is_some_and(|mark| {
                stream.recent.contains(mark, segment.moment.time, || entry.flow.is_doubled())
            });
        if copy || has(segment, TcpFlags::RST) {
            return false;
        }
        let same = match stream.start {
            Start::Unknown => true,
            Start::Known => stream.base == first,
            // What the peer acknowledged may be behind the first byte.
            Start::Provisional => stream.base.wrapping_sub(first) <= PROVISIONAL_REACH,
        };
        let answer = has(segment, TcpFlags::ACK);
        if same {
            // A new connection of the same ports has another initial sequence number (RFC 6528): this one is the old
            // one's, copied or sent again. Of a flow that is over and whose sender was never heard it begins the
            // next.
            let unheard = entry.state.is_none() && stream.start == Start::Unknown;
            return !answer && (unheard || is_played_again(entry, from, segment, self.limits.deduplicate));
        }
        let opened = entry.flow.opened.0;
        if (1..=COPIES_WITHIN_NS).contains(&opened.saturating_sub(segment.moment.time.0)) {
            // Sent before this flow began, captured by another interface: of the flow before it.
            return false;
        }
        let opposite = &entry.flow.streams[from.opposite() as usize];
        let acknowledged = opposite.offset(segment.tcp.acknowledgement);
        if entry.state.is_none() {
            // One that acknowledges what the flow that is over has sent is its own, captured late.
            let late = opposite.start != Start::Unknown && (0..=opposite.next as i64).contains(&acknowledged);
            return !(answer && late);
        }
        // A SYN+ACK alone could be anybody's; of a new connection it acknowledges something new, too.
        !answer
            || opposite.start == Start::Unknown
            || (acknowledged - opposite.next as i64).abs() > reach(entry, from.opposite())
    }

    /// Ends a flow whose ports are taken by a new one.
    fn replace(&mut self, index: u32, hash: u32, now: Moment) {
        if self.slab.get(index).state.is_some() {
            self.close(index, CloseReason::Reused, now);
        }
        debug_assert_eq!(hash, self.hash.hash(&self.slab.get(index).flow.key));
        self.forget(index, now);
    }

    /// Makes an entry for the flow of a segment; `begins` says that it is known to be its first one with data.
    fn open(&mut self, hash: u32, segment: &Segment<'_>, begins: bool) -> u32 {
        if self.half_open_flows() >= self.limits.half_open_flows.max(1) {
            self.evict_from(Phase::HalfOpen, segment.moment);
        }
        while (self.slab.len() >= self.flows_max || self.memory() > self.limits.memory)
            && self.evict(segment.moment)
        {}
        let syn = has(segment, TcpFlags::SYN);
        let answer = syn && has(segment, TcpFlags::ACK);
        let Moment { time, position } = segment.moment;
        let originator = if answer { segment.side.opposite() } else { segment.side };
        let mut flow = Flow::new(position, segment.key, originator, segment.interface, time);
        flow.midstream = !syn && !begins;
        if answer {
            flow.history.set_turned();
        }
        if segment.around != Surroundings::NONE {
            flow.beside = Some(Box::new(Beside { around: segment.around, ..Beside::default() }));
            self.beside += flow.beside_cost();
        }
        self.counters.flows_opened += 1;
        self.counters.flows_midstream += u64::from(flow.midstream);
        let state = self.handler.open(&flow);
        let index = self.slab.insert(Entry::new(flow, state));
        self.wheels[Phase::HalfOpen as usize].insert(&mut self.slab, index);
        self.index.insert(hash, index);
        self.share_memory();
        index
    }

    /// Makes room for a flow. False if there is none to evict.
    #[cold]
    fn evict(&mut self, now: Moment) -> bool {
        [Phase::Lingering, Phase::HalfOpen, Phase::Established]
            .into_iter()
            .any(|phase| self.evict_from(phase, now))
    }

    /// Ends the flow of a phase that has not been seen for longest. False if there is none.
    fn evict_from(&mut self, phase: Phase, now: Moment) -> bool {
        let Some(index) = self.wheels[phase as usize].oldest(&mut self.slab) else { return false };
        if phase != Phase::Lingering {
            self.counters.flows_evicted_half_open += u64::from(phase == Phase::HalfOpen);
            self.close(index, CloseReason::Evicted, now);
        }
        self.forget(index, now);
        true
    }

    fn entries_memory(&self) -> usize {
        self.slab.len() * entry_cost::<H::State>() + self.beside + self.handler.memory()
    }

    /// Early bytes may have what the entries leave.
    #[inline]
    fn share_memory(&mut self) {
        let left = self.limits.memory.saturating_sub(self.entries_memory());
        self.holds.set_limit(self.limits.held_bytes.min(left));
    }

    /// Does something to an entry that may change what it has beside itself, the memory of which is counted.
    #[inline]
    fn keeping_count<T>(&mut self, index: u32, what: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.slab.get(index).flow.beside_cost();
        let result = what(self);
        // What it had is in the sum.
        self.beside = self.beside - before + self.slab.get(index).flow.beside_cost();
        result
    }

    /// Flushes an open flow and tells the handler that it is over.
    fn close(&mut self, index: u32, reason: CloseReason, now: Moment) {
        self.keeping_count(index, |table| table.end(index, reason, now));
    }

    /// Does it, while the entry's memory is being counted.
    fn end(&mut self, index: u32, reason: CloseReason, now: Moment) {
        let (entry, mut assembly) = self.parts(index, now);
        for from in Peer::BOTH {
            assembly.flush(entry, from);
        }
        let counter = match reason {
            CloseReason::Finished => &mut assembly.counters.flows_finished,
            CloseReason::Reset { .. } => &mut assembly.counters.flows_reset,
            CloseReason::Idle => &mut assembly.counters.flows_idle,
            CloseReason::Evicted => &mut assembly.counters.flows_evicted,
            CloseReason::Reused => &mut assembly.counters.flows_reused,
            CloseReason::EndOfInput => &mut assembly.counters.flows_at_end,
        };
        *counter += 1;
        if let Some(state) = entry.state.take() {
            assembly.handler.close(state, &entry.flow, reason, now);
        }
        entry.flow.attention.set(Attention::HELLO, false);
        entry.flow.beside = None;
    }

    /// Keeps a closed flow for a while.
    fn linger(&mut self, index: u32) {
        self.enter(index, Phase::Lingering);
    }

    /// Removes a closed flow whose time has passed. Ticks come late behind a pause of the whole capture.
    #[inline]
    fn forget_if_due(&mut self, index: u32, now: Moment) -> bool {
        let entry = self.slab.get(index);
        let lingering = &self.wheels[Phase::Lingering as usize];
        let due = entry.state.is_none() && lingering.is_due(entry.flow.last_seen, now.time);
        if due {
            self.forget(index, now);
        }
        due
    }

    /// Removes a closed flow.
    fn forget(&mut self, index: u32, now: Moment) {
        let flow = &self.slab.get(index).flow;
        self.handler.forget(flow, now);
        let Flow { key, phase, .. } = *flow;
        self.wheels[phase as usize].remove(&mut self.slab, index);
        self.index.remove(self.hash.hash(&key), index);
        self.slab.remove(index);
    }

    /// Brings the time of an open flow up to that of a segment.
    #[inline]
    fn touch(&mut self, index: u32, segment: &Segment<'_>) {
        let flow = &mut self.slab.get_mut(index).flow;
        flow.last_seen = flow.last_seen.max(segment.moment.time);
        if flow.phase == Phase::HalfOpen && !has(segment, TcpFlags::SYN) {
            let [originator, responder] = &flow.streams;
            if originator.packets != 0 && responder.packets != 0 {
                self.enter(index, Phase::Established);
            }
        }
    }

    /// Moves an entry to another wheel.
    fn enter(&mut self, index: u32, phase: Phase) {
        let flow = &mut self.slab.get_mut(index).flow;
        flow.attention.set(Attention::NOT_ESTABLISHED, phase != Phase::Established);
        let left = std::mem::replace(&mut flow.phase, phase);
        self.wheels[left as usize].remove(&mut self.slab, index);
        self.wheels[phase as usize].insert(&mut self.slab, index);
    }

    /// An entry and what reassembly works with.
    #[inline]
    fn parts(&mut self, index: u32, now: Moment) -> (&mut Entry<H::State>, Assembly<'_, H>) {
        let assembly = Assembly {
            handler: &mut self.handler,
            counters: &mut self.counters,
            holds: &mut self.holds,
            limits: &self.limits,
            owner: index,
            now,
        };
        (self.slab.get_mut(index), assembly)
    }
}

/// Memory for each entry: itself, its place in the index and in the list of free ones.
const fn entry_cost<S>() -> usize {
    size_of::<Entry<S>>() + INDEX_COST + size_of::<u32>()
}

/// Entries have at most three quarters of the memory, so that early bytes find room beside them.
const ENTRIES_SHARE: (usize, usize) = (3, 4);

/// Flows whose entries lie in the caches anyway.
const CACHED: usize = 1 << 12;

/// Segments that are looked up together. More: the first are gone from the cache again. Fewer: loads wait for one
/// another.
const BATCH: usize = 32;

mod judge;

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod copies;
#[cfg(test)]
mod facts;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod tests;
