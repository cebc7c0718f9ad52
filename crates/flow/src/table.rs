//! The flow table.

use std::time::Duration;

use gannet_packet::{FlowKey, TcpFlags, Timestamp};
use hashbrown::HashTable;

use crate::assembly::Assembly;
use crate::entry::{Entry, Phase, Slab};
use crate::hold::Holds;
use crate::sequence::{has, mark, window_scale};
use crate::stream::{REACH_UNKNOWN, Start, Stream};
use crate::wheel::{Wheel, same_bucket};
use crate::{
    CloseReason, Counters, Data, Flow, Handler, Handshake, Moment, Peer, Segment, StreamFacts, Violation,
};

/// Bounds and times of a table.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Flows at once; beyond it old ones are evicted.
    pub flows: usize,
    /// Memory for early bytes, over all flows: whole buffers, not just the bytes in them.
    pub held_bytes: usize,
    /// The same for one direction of one flow; beyond it the hole becomes a gap.
    pub held_bytes_per_stream: usize,
    /// A flow with nothing seen for this long is over.
    pub idle: Duration,
    /// The same for a flow of which only one direction or only a SYN was seen.
    pub half_open: Duration,
    /// How long a flow that is over is remembered, so that its late segments do not open a new one.
    pub linger: Duration,
    /// How long a hole that the receiver has acknowledged may still be filled: capture points see segments out of order.
    pub hole_patience: Duration,
}

impl Default for Limits {
    /// - 262,144 flows: about 100 MB and the handler's states, used only when there are that many.
    /// - 64 MiB of early bytes, 8 MiB of one stream. A receiver holds no more than its receive buffer (Linux: 6 MiB,
    ///   `tcp_rmem`), and a sender no more than that in flight: at 10 Gbit/s a retransmission within 6 ms finds all
    ///   bytes behind the hole still held. Less makes gaps of losses that were repaired; more costs memory.
    /// - Idle after 10 minutes: longer than the keep-alive time of common servers and proxies (60 to 350 s).
    /// - Half-open after a minute: Linux gives up a SYN+ACK after 63 s.
    /// - Linger 10 s: retransmissions of a FIN come within seconds; ports are reused with a SYN, which needs no waiting.
    /// - Holes 100 ms: more than any queue between two capture points, less than anybody waits for a record.
    fn default() -> Self {
        Self {
            flows: 1 << 18,
            held_bytes: 64 << 20,
            held_bytes_per_stream: 8 << 20,
            idle: Duration::from_secs(600),
            half_open: Duration::from_secs(60),
            linger: Duration::from_secs(10),
            hole_patience: Duration::from_millis(100),
        }
    }
}

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
    seed: u64,
    handler: H,
    counters: Counters,
    index: HashTable<u32>,
    slab: Slab<H::State>,
    holds: Holds,
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
        Self {
            limits,
            seed,
            handler,
            counters: Counters::default(),
            index: HashTable::new(),
            slab: Slab::new(),
            holds: Holds::new(limits.held_bytes, limits.held_bytes_per_stream),
            wheels: [limits.half_open, limits.idle, limits.linger].map(Wheel::new),
            clock: Timestamp::default(),
            due: Vec::new(),
            ordered: Vec::new(),
        }
    }

    /// Takes one segment.
    pub fn segment(&mut self, segment: &Segment<'_>) -> Outcome {
        self.counters.segments += 1;
        self.counters.bytes += u64::from(segment.wire_len);
        self.clock = self.clock.max(segment.moment.time);
        let hash = segment.key.hash(self.seed);
        let slab = &self.slab;
        let found = self.index.find(hash, |&index| slab.get(index).flow.key == segment.key).copied();
        if let Some(index) = found
            && self.next(index, segment)
        {
            self.counters.accepted += 1;
            return Outcome::Accepted;
        }
        self.any(found, hash, segment)
    }

    /// Takes a segment that goes on where its stream is, or only acknowledges, in a flow without holes that is open in both
    /// directions: nearly all of them. False if it is no such segment; nothing has been done then.
    ///
    /// What it does is what [`take`](Self::take) does with such a segment; what cannot be is left out.
    #[inline]
    fn next(&mut self, index: u32, segment: &Segment<'_>) -> bool {
        let now = segment.moment;
        let len = segment.wire_len;
        let entry = self.slab.get_mut(index);
        let from = entry.flow.peer(segment.side);
        let last_seen = entry.flow.last_seen.max(now.time);
        let [ref mut originator, ref mut responder] = entry.streams;
        let (stream, opposite) = match from {
            Peer::Originator => (originator, responder),
            Peer::Responder => (responder, originator),
        };
        let tcp = &segment.tcp;
        let flags = tcp.flags.0 & (TcpFlags::ACK.0 | TcpFlags::SYN.0 | TcpFlags::FIN.0 | TcpFlags::RST.0);
        let plain = flags == TcpFlags::ACK.0
            && tcp.window != 0
            && entry.phase == Phase::Established
            && !entry.unwanted
            && !entry.handshake_waits
            && stream.is_plain()
            && opposite.is_plain()
            && stream.next_sequence() == tcp.sequence
            && segment.payload.len() == len as usize
            && same_bucket(entry.flow.last_seen, last_seen);
        let Some(state) = &mut entry.state else { return false };
        if !plain {
            return false;
        }
        // New bytes are no copy of anything; an acknowledgement may be.
        if len == 0 && stream.newest.is_after(now.time, last_seen) {
            return false;
        }
        if let Some(mark) = mark(segment) {
            if len == 0 && stream.recent.contains(mark, now.time) {
                return false;
            }
            stream.recent.push(mark, now.time);
        }
        stream.newest.raise(now.time, entry.flow.last_seen);
        entry.flow.last_seen = last_seen;
        let facts = &mut entry.flow.streams[from as usize];
        facts.packets += 1;
        facts.bytes += u64::from(len);
        let scale = stream.scale().filter(|_| opposite.scale().is_some()).unwrap_or(0);
        opposite.window = opposite.window.max(u32::from(tcp.window) << scale);
        let acknowledged = opposite.acknowledge(tcp.acknowledgement, opposite.next.max(opposite.acked));
        if len == 0 {
            return true;
        }
        let offset = stream.next;
        stream.next += u64::from(len);
        self.counters.delivered_bytes += u64::from(len);
        let bytes = segment.payload;
        let data =
            Data { from, offset, bytes, seen: now, now, acknowledged: Some(acknowledged), late: false };
        self.handler.data(state, &entry.flow, data);
        if !self.handler.wants_more(state) {
            entry.unwanted = true;
        }
        true
    }

    /// Takes any segment.
    #[inline(never)]
    fn any(&mut self, found: Option<u32>, hash: u64, segment: &Segment<'_>) -> Outcome {
        let bytes = u64::from(segment.wire_len);
        let index = match found {
            Some(index) if !self.is_reused(index, segment) => index,
            found => {
                if let Some(old) = found {
                    self.replace(old, hash, segment.moment);
                }
                if !opens_a_flow(segment) {
                    // Only a RST has payload here; its text belongs to no stream.
                    self.counters.discarded_bytes += bytes;
                    self.counters.without_flow += 1;
                    return Outcome::WithoutFlow;
                }
                self.open(hash, segment)
            }
        };
        let outcome = self.take(index, segment);
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
        self.wheels[Phase::Lingering as usize].due(&self.slab, now.time, &mut due);
        for index in due.drain(..) {
            self.forget(index);
        }
        for phase in [Phase::HalfOpen, Phase::Established] {
            self.wheels[phase as usize].due(&self.slab, now.time, &mut due);
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
            let (entry, mut assembly) = self.parts(index, now);
            assembly.settle(entry, Peer::Originator);
            assembly.settle(entry, Peer::Responder);
            let &mut Entry { phase, ref flow, .. } = entry;
            let last_seen = flow.last_seen;
            if entry.finished() {
                self.close(index, CloseReason::Finished, now);
                self.linger(index);
            } else if self.wheels[phase as usize].is_due(last_seen, now.time) {
                self.close(index, CloseReason::Idle, now);
                self.forget(index);
            }
        }
        self.due = due;
        self.ordered = ordered;
    }

    /// Ends all flows, in the order of their ids.
    pub fn finish(&mut self, now: Moment) {
        for (_, index) in self.slab.open() {
            self.close(index, CloseReason::EndOfInput, now);
            self.forget(index);
        }
        while let Some(index) = self.wheels[Phase::Lingering as usize].oldest() {
            self.forget(index);
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

    /// The memory that held bytes take, of which [`Limits::held_bytes`] is the bound.
    pub(crate) fn held_memory(&self) -> usize {
        self.holds.memory()
    }

    /// Takes a segment into its flow, or says why not.
    fn take(&mut self, index: u32, segment: &Segment<'_>) -> Outcome {
        let now = segment.moment;
        let (entry, mut assembly) = self.parts(index, now);
        let from = entry.flow.peer(segment.side);
        let mark = mark(segment);
        let stream = entry.stream(from);
        let syn = has(segment, TcpFlags::SYN);
        // The sequence number of the first payload byte.
        let sequence = segment.tcp.sequence.wrapping_add(u32::from(syn));
        let in_order =
            segment.wire_len != 0 && stream.start == Start::Known && stream.next_sequence() == sequence;
        let marked = mark.is_some_and(|mark| stream.recent.contains(mark, now.time));
        // New bytes are no copy of anything.
        if !in_order && (marked || assembly.is_late_copy(entry, from, segment, sequence)) {
            entry.flow.streams[from as usize].duplicates += 1;
            return Outcome::Duplicate;
        }
        let last_seen = entry.flow.last_seen;
        let stream = entry.stream(from);
        if let Some(mark) = mark {
            stream.recent.push(mark, now.time);
        }
        stream.newest.raise(now.time, last_seen);
        if entry.state.is_none() {
            return assembly.late(entry, from, segment, sequence);
        }
        if has(segment, TcpFlags::RST) {
            if !plausible_reset(entry, from, segment, &assembly) {
                return Outcome::OutOfWindow;
            }
            assembly.counters.discarded_bytes += u64::from(segment.wire_len);
            count(entry, from, segment);
            self.touch(index, segment);
            self.close(index, CloseReason::Reset { by: from }, now);
            self.linger(index);
            return Outcome::Accepted;
        }
        if syn {
            assembly.syn(entry, from, segment, sequence);
        }
        assembly.begin(entry, from, segment, sequence);
        let offset = entry.stream(from).offset(sequence);
        if !in_order && !assembly.in_window(entry, from, offset, segment) {
            return Outcome::OutOfWindow;
        }
        count(entry, from, segment);
        let acknowledged = assembly.acknowledge(entry, from, segment);
        assembly.settle(entry, from.opposite());
        assembly.take(entry, from, segment, offset, acknowledged);
        assembly.settle(entry, from);
        let finished = entry.finished();
        self.touch(index, segment);
        if finished {
            self.close(index, CloseReason::Finished, now);
            self.linger(index);
        }
        Outcome::Accepted
    }

    /// Whether a segment begins a new flow on the ports of a known one.
    #[inline]
    fn is_reused(&self, index: u32, segment: &Segment<'_>) -> bool {
        has(segment, TcpFlags::SYN) && self.is_reused_by(index, segment)
    }

    #[cold]
    fn is_reused_by(&self, index: u32, segment: &Segment<'_>) -> bool {
        let entry = self.slab.get(index);
        let from = entry.flow.peer(segment.side);
        let stream = &entry.streams[from as usize];
        let first = segment.tcp.sequence.wrapping_add(1);
        let copy = mark(segment).is_some_and(|mark| stream.recent.contains(mark, segment.moment.time));
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
            // A new connection of the same ports has another initial sequence number (RFC 6528): this one is the old one's,
            // copied or sent again. Of a flow that is over and whose sender was never heard it begins the next.
            return entry.state.is_none() && !answer && stream.start == Start::Unknown;
        }
        let opened = entry.flow.opened.0;
        if (1..=COPIES_WITHIN_NS).contains(&opened.saturating_sub(segment.moment.time.0)) {
            // Sent before this flow began, captured by another interface: of the flow before it.
            return false;
        }
        if entry.state.is_none() {
            return true;
        }
        // A SYN+ACK alone could be anybody's; of a new connection it acknowledges something new, too.
        let opposite = &entry.streams[from.opposite() as usize];
        let acknowledged = opposite.offset(segment.tcp.acknowledgement);
        !answer
            || opposite.start == Start::Unknown
            || (acknowledged - opposite.next as i64).abs() > reach(entry, from.opposite())
    }

    /// Ends a flow whose ports are taken by a new one.
    fn replace(&mut self, index: u32, hash: u64, now: Moment) {
        if self.slab.get(index).state.is_some() {
            self.close(index, CloseReason::Reused, now);
        }
        debug_assert_eq!(hash, self.slab.get(index).flow.key.hash(self.seed));
        self.forget(index);
    }

    /// Makes an entry for the flow of a segment.
    fn open(&mut self, hash: u64, segment: &Segment<'_>) -> u32 {
        if self.slab.len() >= self.limits.flows.max(1) {
            self.evict(segment.moment);
        }
        let syn = has(segment, TcpFlags::SYN);
        let answer = syn && has(segment, TcpFlags::ACK);
        let flow = Flow {
            id: segment.moment.position,
            key: segment.key,
            originator: if answer { segment.side.opposite() } else { segment.side },
            opened: segment.moment.time,
            last_seen: segment.moment.time,
            interface: segment.interface,
            midstream: !syn,
            handshake: Handshake::default(),
            streams: [StreamFacts::default(); 2],
        };
        self.counters.flows_opened += 1;
        self.counters.flows_midstream += u64::from(!syn);
        let state = self.handler.open(&flow);
        let index = self.slab.insert(Entry::new(flow, state));
        self.wheels[Phase::HalfOpen as usize].insert(&mut self.slab, index);
        let (slab, seed) = (&self.slab, self.seed);
        self.index.insert_unique(hash, index, |&index| slab.get(index).flow.key.hash(seed));
        index
    }

    /// Makes room for a flow.
    #[cold]
    fn evict(&mut self, now: Moment) {
        for phase in [Phase::Lingering, Phase::HalfOpen, Phase::Established] {
            if let Some(index) = self.wheels[phase as usize].oldest() {
                if phase != Phase::Lingering {
                    self.close(index, CloseReason::Evicted, now);
                }
                self.forget(index);
                return;
            }
        }
    }

    /// Flushes an open flow and tells the handler that it is over.
    fn close(&mut self, index: u32, reason: CloseReason, now: Moment) {
        let (entry, mut assembly) = self.parts(index, now);
        for from in [Peer::Originator, Peer::Responder] {
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
    }

    /// Keeps a closed flow for a while.
    fn linger(&mut self, index: u32) {
        self.enter(index, Phase::Lingering);
    }

    /// Removes a closed flow.
    fn forget(&mut self, index: u32) {
        let entry = self.slab.get(index);
        let (key, phase) = (entry.flow.key, entry.phase);
        self.wheels[phase as usize].remove(&mut self.slab, index);
        if let Ok(found) = self.index.find_entry(self.hash(&key), |&other| other == index) {
            found.remove();
        }
        self.slab.remove(index);
    }

    /// Brings the time of an open flow up to that of a segment.
    #[inline]
    fn touch(&mut self, index: u32, segment: &Segment<'_>) {
        let entry = self.slab.get(index);
        let phase = entry.phase;
        let time = entry.flow.last_seen.max(segment.moment.time);
        self.wheels[phase as usize].touch(&mut self.slab, index, time);
        if phase == Phase::HalfOpen && !has(segment, TcpFlags::SYN) {
            let [originator, responder] = &self.slab.get(index).flow.streams;
            if originator.packets != 0 && responder.packets != 0 {
                self.enter(index, Phase::Established);
            }
        }
    }

    /// Moves an entry to another wheel.
    fn enter(&mut self, index: u32, phase: Phase) {
        let entry = self.slab.get_mut(index);
        let left = std::mem::replace(&mut entry.phase, phase);
        self.wheels[left as usize].remove(&mut self.slab, index);
        self.wheels[phase as usize].insert(&mut self.slab, index);
    }

    fn hash(&self, key: &FlowKey) -> u64 {
        key.hash(self.seed)
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

/// How a segment stands to the streams of its flow.
impl<H: Handler> Assembly<'_, H> {
    /// Whether a segment is the copy of one that was taken a while ago: nothing of it is new, and time runs backwards.
    ///
    /// Interfaces that see the same packets (both ends of a pair, ports of a bridge) are read a block of one after a block
    /// of the other, so copies come too late for the marks of the last segments. What is sent again has a later time.
    #[inline]
    fn is_late_copy(
        &self,
        entry: &Entry<H::State>,
        from: Peer,
        segment: &Segment<'_>,
        sequence: u32,
    ) -> bool {
        let stream = &entry.streams[from as usize];
        stream.newest.is_after(segment.moment.time, entry.flow.last_seen)
            && self.is_known(entry, from, segment, sequence)
    }

    /// Whether everything that a segment says has been said before.
    #[cold]
    fn is_known(&self, entry: &Entry<H::State>, from: Peer, segment: &Segment<'_>, sequence: u32) -> bool {
        let stream = &entry.streams[from as usize];
        let opposite = &entry.streams[from.opposite() as usize];
        let offset = stream.offset(sequence);
        let end = offset + i64::from(segment.wire_len);
        let start = match stream.start {
            Start::Unknown => false,
            Start::Provisional => segment.wire_len == 0,
            Start::Known => true,
        };
        let syn = !has(segment, TcpFlags::SYN) || stream.syn && offset == 0;
        let ack = !has(segment, TcpFlags::ACK)
            || opposite.start != Start::Unknown
                && opposite.offset(segment.tcp.acknowledgement) <= opposite.acked as i64;
        start
            && syn
            && ack
            && offset >= 0
            && !has(segment, TcpFlags::RST)
            && self.has_seen(stream, offset as u64, end as u64, has(segment, TcpFlags::FIN))
    }

    /// A segment of a flow that is closed.
    #[cold]
    fn late(
        &mut self,
        entry: &mut Entry<H::State>,
        from: Peer,
        segment: &Segment<'_>,
        sequence: u32,
    ) -> Outcome {
        let stream = entry.stream(from);
        if segment.wire_len == 0 {
            return Outcome::Accepted;
        }
        let end = stream.offset(sequence) + i64::from(segment.wire_len);
        let known = stream.start != Start::Unknown && end <= stream.next as i64;
        if !known || end < stream.next as i64 - reach(entry, from) {
            return Outcome::OutOfWindow;
        }
        self.counters.retransmitted_bytes += u64::from(segment.wire_len);
        Outcome::Accepted
    }

    /// A SYN that belongs to this flow: where its stream starts, when, and how windows are to be read.
    #[cold]
    fn syn(&mut self, entry: &mut Entry<H::State>, from: Peer, segment: &Segment<'_>, first: u32) {
        let stream = entry.stream(from);
        let again = stream.syn;
        match stream.start {
            Start::Unknown => stream.begin(first, Start::Known),
            Start::Provisional => {
                let distance = stream.base.wrapping_sub(first);
                if distance <= PROVISIONAL_REACH {
                    stream.start = Start::Known;
                    self.start_earlier(entry, from, distance);
                }
            }
            Start::Known => {}
        }
        let stream = entry.stream(from);
        if stream.base != first {
            // A SYN+ACK that is not this flow's; the window test will say so.
            return;
        }
        stream.syn = true;
        stream.set_scale(window_scale(segment.options));
        entry.flow.midstream = false;
        let handshake = &mut entry.flow.handshake;
        let time = if has(segment, TcpFlags::ACK) { &mut handshake.syn_ack } else { &mut handshake.syn };
        time.first(segment.moment.time);
        handshake.retransmitted |= again;
        entry.handshake_waits = handshake.waits();
    }

    /// Starts the streams that a segment tells the start of.
    #[inline]
    fn begin(&mut self, entry: &mut Entry<H::State>, from: Peer, segment: &Segment<'_>, sequence: u32) {
        match entry.stream(from).start {
            Start::Known => {}
            Start::Unknown => {
                let start = if segment.wire_len == 0 { Start::Provisional } else { Start::Known };
                entry.stream(from).begin(sequence, start);
            }
            Start::Provisional => {
                let stream = entry.stream(from);
                let distance = stream.base.wrapping_sub(sequence);
                // A probe of one byte just before the start is no earlier data.
                let probe = segment.wire_len == 1 && distance == 1;
                if segment.wire_len != 0 && (1..=PROVISIONAL_REACH).contains(&distance) && !probe {
                    self.start_earlier(entry, from, distance);
                }
            }
        }
        if has(segment, TcpFlags::ACK) {
            let opposite = entry.stream(from.opposite());
            if opposite.start == Start::Unknown {
                opposite.begin(segment.tcp.acknowledgement, Start::Provisional);
            }
        }
    }

    /// Whether a segment can be of this flow's present.
    fn in_window(&self, entry: &mut Entry<H::State>, from: Peer, offset: i64, segment: &Segment<'_>) -> bool {
        let reach_here = reach(entry, from);
        let end = offset + i64::from(segment.wire_len);
        let (low, high) = self.edges(entry.stream(from));
        if offset <= high + reach_here && end >= low - reach_here {
            return true;
        }
        // The capture may have missed more than a window. What its sender has received shows then that it is
        // up to date.
        let opposite = entry.stream(from.opposite());
        if !has(segment, TcpFlags::ACK) || opposite.start == Start::Unknown || offset > high + REACH_UNKNOWN {
            return false;
        }
        let acknowledged = opposite.offset(segment.tcp.acknowledgement);
        let (_, high) = self.edges(opposite);
        offset > 0 && (high - reach(entry, from.opposite())..=high + 1).contains(&acknowledged)
    }

    /// Takes note of what a segment acknowledges and of its window. Returns the acknowledged offset.
    #[inline]
    fn acknowledge(&mut self, entry: &mut Entry<H::State>, from: Peer, segment: &Segment<'_>) -> Option<u64> {
        if !has(segment, TcpFlags::ACK) {
            return None;
        }
        let syn = has(segment, TcpFlags::SYN);
        let both_scale = entry.streams[0].scale().is_some() && entry.streams[1].scale().is_some();
        let scale = entry.stream(from).scale().filter(|_| both_scale && !syn).unwrap_or(0);
        let window = u32::from(segment.tcp.window) << scale;
        let opposite = entry.stream(from.opposite());
        opposite.window = opposite.window.max(window);
        let (_, high) = self.edges(opposite);
        let offset = opposite.acknowledge(segment.tcp.acknowledgement, high as u64);
        // A FIN takes a sequence number, but is no byte.
        let end = match opposite.hold {
            _ if opposite.ended => opposite.next,
            Some(id) => self.holds.get(id).fin.map_or(u64::MAX, |fin| fin.offset),
            None => u64::MAX,
        };
        let first = opposite.base;
        if entry.handshake_waits
            && !syn
            && from == Peer::Originator
            && segment.tcp.acknowledgement.wrapping_sub(first) as i32 >= 0
        {
            entry.flow.handshake.ack.first(segment.moment.time);
            entry.handshake_waits = false;
        }
        Some(offset.min(end))
    }

    /// Between which offsets a stream's present lies: its next byte, and the highest that was seen or acknowledged.
    fn edges(&self, stream: &Stream) -> (i64, i64) {
        let highest = stream.hold.map_or(0, |id| self.holds.get(id).highest);
        (stream.next as i64, stream.next.max(stream.acked).max(highest) as i64)
    }
}

/// Whether a RST is one of the sender's, as far as its numbers tell.
fn plausible_reset<H: Handler>(
    entry: &mut Entry<H::State>,
    from: Peer,
    segment: &Segment<'_>,
    assembly: &Assembly<'_, H>,
) -> bool {
    // A refused SYN is answered from sequence number 0: its acknowledgement counts.
    let (whose, number) = match entry.stream(from).start {
        Start::Unknown if !has(segment, TcpFlags::ACK) => return true,
        Start::Unknown => (from.opposite(), segment.tcp.acknowledgement),
        _ => (from, segment.tcp.sequence),
    };
    let stream = entry.stream(whose);
    if stream.start == Start::Unknown {
        return true;
    }
    let offset = stream.offset(number);
    let (low, high) = assembly.edges(stream);
    let reach = reach(entry, whose);
    (low - reach..=high + reach).contains(&offset)
}

/// How far from its present a stream may plausibly jump.
fn reach<S>(entry: &Entry<S>, from: Peer) -> i64 {
    if entry.streams[0].syn && entry.streams[1].syn {
        // Windows that were announced while the capture missed packets are not known, small ones mean little.
        i64::from(entry.streams[from as usize].window.max(REACH_MIN)) + i64::from(REACH_MIN)
    } else {
        REACH_UNKNOWN
    }
}

/// Counts a segment among the facts of its stream.
#[inline]
fn count<S>(entry: &mut Entry<S>, from: Peer, segment: &Segment<'_>) {
    let facts = &mut entry.flow.streams[from as usize];
    facts.packets += 1;
    facts.bytes += u64::from(segment.wire_len);
    let closing = TcpFlags(TcpFlags::SYN.0 | TcpFlags::RST.0);
    if segment.tcp.window == 0 && segment.tcp.flags.0 & closing.0 == 0 {
        facts.zero_windows += 1;
    }
}

/// "Pure ACK, FIN and RST" of nothing known: the rest of something whose end would never be seen.
fn opens_a_flow(segment: &Segment<'_>) -> bool {
    !has(segment, TcpFlags::RST) && (has(segment, TcpFlags::SYN) || segment.wire_len != 0)
}

/// Bytes before a provisional start that are taken for late captured ones rather than for sent again: one
/// window of a sender that has just begun, or what a mirror puts out of order.
const PROVISIONAL_REACH: u32 = 64 << 10;

/// How much earlier than a flow's first segment a copy of another's may be, in nanoseconds: some blocks of a capture ring,
/// and little enough that a clock that is set back costs no flow.
const COPIES_WITHIN_NS: u64 = 1_000_000_000;

/// The least window assumed, in bytes.
const REACH_MIN: u32 = 64 << 10;

#[cfg(test)]
mod copies;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
