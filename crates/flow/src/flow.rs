//! What is known of a flow.

use gannet_packet::{Endpoint, FlowKey, Side, Surroundings, Timestamp};

use crate::entry::{Links, NONE, Phase};
use crate::history::{ConnectionState, History};
use crate::rare::{Beside, Disorders, Rare, UnusualStream};
use crate::stream::{Start, Stream};
use crate::tls::TlsHello;
use crate::{ConnectionId, IcmpError};

/// An end of a flow by its part in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// The one that sent the SYN; without one, the receiver of a SYN+ACK's answer or the sender of the first
    /// segment seen.
    Originator,
    /// The other one.
    Responder,
}

impl Peer {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Originator, Self::Responder];

    /// The other end.
    #[inline]
    pub fn opposite(self) -> Self {
        match self {
            Self::Originator => Self::Responder,
            Self::Responder => Self::Originator,
        }
    }
}

/// The facts of a flow, which handlers are shown with every event.
///
/// A million of these may stand in a table, so that much is kept in few bits and told by methods; in the order in which
/// segments ask for it: see the table's entries.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Flow {
    /// Its 5-tuple.
    pub key: FlowKey,
    /// Index of the interface that its first segment was seen on.
    pub interface: u32,
    /// Which side of `key` is the originator.
    pub originator: Side,
    /// Its SYN was not seen: streams begin with the first byte seen, at offset 0.
    pub midstream: bool,
    pub(crate) phase: Phase,
    pub(crate) attention: Attention,
    /// Time of its last segment so far.
    pub last_seen: Timestamp,
    pub(crate) history: History,
    /// What plain flows do not have.
    pub(crate) beside: Option<Box<Beside>>,
    /// Its neighbours in a bucket of the wheel of its phase.
    pub(crate) links: Links,
    /// Unique in the run and the same for any number of workers: the position of its first packet.
    pub id: u64,
    /// Time of its first segment.
    pub opened: Timestamp,
    /// SYN, SYN+ACK and ACK of the handshake: nanoseconds since `opened`; [`ABSENT`] and [`FAR`] are none.
    times: [i32; 3],
    /// The unit of time whose bucket it is in.
    pub(crate) filed: u32,
    /// Both directions, indexed by `Peer as usize` of the sender.
    pub(crate) streams: [Stream; 2],
}

/// Why the segments of a flow are to be looked at closely: a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attention(pub(crate) u8);

impl Attention {
    /// It is not (yet, or any longer) a flow with both directions.
    pub(crate) const NOT_ESTABLISHED: u8 = 1 << 0;
    /// The handler wants no more bytes.
    pub(crate) const UNWANTED: u8 = 1 << 1;
    /// The handshake lacks nothing but its last acknowledgement.
    pub(crate) const HANDSHAKE_WAITS: u8 = 1 << 2;
    /// The window that an end announced last is 0; shifted by the end.
    pub(crate) const STALLED: u8 = 1 << 3;
    /// A TLS hello is being collected.
    pub(crate) const HELLO: u8 = 1 << 5;
    /// A SYN or SYN+ACK was sent more than once. No reason for a close look.
    pub(crate) const SYN_AGAIN: u8 = 1 << 7;

    /// Nothing to look for.
    #[inline]
    pub(crate) fn none(self) -> bool {
        self.0 & !Self::SYN_AGAIN == 0
    }

    #[inline]
    pub(crate) fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    #[inline]
    pub(crate) fn set(&mut self, bit: u8, to: bool) {
        self.0 = if to { self.0 | bit } else { self.0 & !bit };
    }
}

/// Times of the three-way handshake, as seen at the capture point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handshake {
    syn: Option<Timestamp>,
    syn_ack: Option<Timestamp>,
    ack: Option<Timestamp>,
    /// A SYN or SYN+ACK was sent more than once: the times are not those of an undisturbed handshake.
    pub retransmitted: bool,
}

impl Handshake {
    /// From its times; not retransmitted.
    pub fn new(syn: Option<Timestamp>, syn_ack: Option<Timestamp>, ack: Option<Timestamp>) -> Self {
        Self { syn, syn_ack, ack, retransmitted: false }
    }

    /// The first SYN.
    pub fn syn(&self) -> Option<Timestamp> {
        self.syn
    }

    /// The first SYN+ACK.
    pub fn syn_ack(&self) -> Option<Timestamp> {
        self.syn_ack
    }

    /// The first acknowledgement of the SYN+ACK.
    pub fn ack(&self) -> Option<Timestamp> {
        self.ack
    }

    /// From SYN to SYN+ACK: the way from the capture point to the responder and back, in nanoseconds. `None` if one was
    /// not seen or sent twice: it is not known which was answered.
    pub fn responder_ns(&self) -> Option<u64> {
        self.between(self.syn, self.syn_ack)
    }

    /// From SYN+ACK to its acknowledgement: the way from the capture point to the originator and back.
    pub fn originator_ns(&self) -> Option<u64> {
        self.between(self.syn_ack, self.ack)
    }

    fn between(&self, from: Option<Timestamp>, to: Option<Timestamp>) -> Option<u64> {
        to?.0.checked_sub(from?.0).filter(|_| !self.retransmitted)
    }
}

/// What happened to one direction of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamFacts {
    /// Segments with or without payload.
    pub packets: u64,
    /// Payload bytes on the wire, those sent again included.
    pub bytes: u64,
    /// Payload bytes that had been seen before.
    pub retransmitted_bytes: u64,
    /// Of these, the bytes of keep-alive and zero-window probes, which are there to be refused.
    pub probe_bytes: u32,
    /// Segments that came after one with a higher sequence number, by time stamps as well, and filled a hole.
    pub out_of_order: u32,
    /// Copies of one packet seen more than once by the capture (`any`, bridges, mirror ports).
    pub duplicates: u32,
    /// Bytes that were not captured.
    pub gap_bytes: u64,
    /// Bytes sent again with other contents than the first time.
    pub conflicting_bytes: u64,
    /// Segments that announced a zero window.
    pub zero_windows: u32,
    /// How long the window announced by this end was 0, up to the last segment of the flow, in nanoseconds.
    pub zero_window_ns: u64,
    /// From its data to their acknowledgement, the shortest, in nanoseconds: the way from the capture point to the
    /// receiver and back.
    pub round_trip_ns: Option<u64>,
}

impl Flow {
    pub(crate) fn new(id: u64, key: FlowKey, originator: Side, interface: u32, opened: Timestamp) -> Self {
        Self {
            key,
            interface,
            originator,
            midstream: false,
            phase: Phase::HalfOpen,
            attention: Attention(Attention::NOT_ESTABLISHED),
            last_seen: opened,
            history: History::default(),
            beside: None,
            links: Links { previous: NONE, next: NONE },
            id,
            opened,
            times: [ABSENT; 3],
            filed: 0,
            streams: [Stream::default(), Stream::default()],
        }
    }

    /// For tests of handlers: a flow that was set up at these times, of which nothing else has been seen; without
    /// times it is one joined midstream.
    #[doc(hidden)]
    pub fn sample(id: u64, key: FlowKey, originator: Side, handshake: Handshake) -> Self {
        let opened = handshake.syn.unwrap_or_default();
        let mut flow = Self::new(id, key, originator, 0, opened);
        flow.midstream = handshake == Handshake::default();
        for (at, time) in [handshake.syn, handshake.syn_ack, handshake.ack].into_iter().enumerate() {
            if let Some(time) = time {
                flow.times[at] = distance(time, opened).unwrap_or(ABSENT);
                if let Some(stream) = flow.streams.get_mut(at) {
                    stream.set_syn();
                }
            }
        }
        flow
    }

    /// For tests of handlers: changes what happened to a direction.
    #[doc(hidden)]
    pub fn sample_stream(&mut self, sender: Peer, change: impl FnOnce(&mut StreamFacts)) {
        let mut facts = self.stream(sender);
        change(&mut facts);
        let stream = &mut self.streams[sender as usize];
        (stream.packets, stream.bytes) = (facts.packets as u32, facts.bytes as u32);
        self.beside.get_or_insert_default().duplicates[sender as usize] = facts.duplicates;
        let rare = self.rare_mut();
        let bytes = &mut rare.bytes[sender as usize];
        (bytes.retransmitted, bytes.gaps) = (facts.retransmitted_bytes, facts.gap_bytes);
        rare.counts[sender as usize] = Disorders { out_of_order: facts.out_of_order, ..Disorders::default() };
        *self.unusual_stream(sender) = UnusualStream {
            packets_high: (facts.packets >> 32) as u32,
            bytes_high: (facts.bytes >> 32) as u32,
            conflicting_bytes: facts.conflicting_bytes,
            zero_windows: facts.zero_windows,
            probe_bytes: facts.probe_bytes,
            stalled_ns: facts.zero_window_ns,
            ..UnusualStream::default()
        };
    }

    /// The address and port of an end.
    #[inline]
    pub fn endpoint(&self, peer: Peer) -> Endpoint {
        self.key.endpoint(match peer {
            Peer::Originator => self.originator,
            Peer::Responder => self.originator.opposite(),
        })
    }

    /// What happened to the bytes that `sender` sent.
    #[inline]
    pub fn stream(&self, sender: Peer) -> StreamFacts {
        let stream = &self.streams[sender as usize];
        let mut facts = StreamFacts {
            packets: u64::from(stream.packets),
            bytes: u64::from(stream.bytes),
            round_trip_ns: self.round_trip_ns(sender),
            ..StreamFacts::default()
        };
        if let Some(beside) = &self.beside {
            beside.tell(sender, &mut facts, self.last_seen);
        }
        facts
    }

    /// The same as [`StreamFacts::round_trip_ns`] of the bytes that `sender` sent.
    #[inline]
    pub fn round_trip_ns(&self, sender: Peer) -> Option<u64> {
        self.streams[sender as usize].round_trip.shortest_ns()
    }

    /// True if nothing has happened in either direction but segments: all else that [`stream`](Self::stream) tells is
    /// 0. False does not say that something has.
    #[inline]
    pub fn is_undisturbed(&self) -> bool {
        self.beside.is_none()
    }

    /// Whether the SYN of `sender` was seen, so that its bytes are counted from their beginning.
    #[inline]
    pub fn begins_with_syn(&self, sender: Peer) -> bool {
        self.streams[sender as usize].syn()
    }

    /// The part that the end on `side` of the key has.
    #[inline]
    pub fn peer(&self, side: Side) -> Peer {
        if side == self.originator { Peer::Originator } else { Peer::Responder }
    }

    /// The times of the three-way handshake.
    pub fn handshake(&self) -> Handshake {
        let [syn, syn_ack, ack] = [SYN, SYN_ACK, ACK].map(|which| self.time(which));
        Handshake { syn, syn_ack, ack, retransmitted: self.attention.has(Attention::SYN_AGAIN) }
    }

    /// What became of it so far, as Zeek's `conn_state`.
    pub fn state(&self) -> ConnectionState {
        self.history.state()
    }

    /// What happened, in the letters of Zeek's `conn.log`.
    pub fn history(&self) -> String {
        let mut text = String::new();
        let letters = self.rare().into_iter().flat_map(Rare::letters);
        // Writing to a string does not fail.
        let _ = self.history.write(letters, &mut text);
        text
    }

    /// Length of a direction's stream so far: bytes delivered, and those in gaps.
    pub fn stream_len(&self, sender: Peer) -> u64 {
        self.streams[sender as usize].next
    }

    /// The initial sequence number of an end, if it is known.
    ///
    /// The peer's acknowledgement of a SYN that the capture missed tells it, too; nothing tells it of a flow joined
    /// midstream.
    pub fn initial_sequence(&self, peer: Peer) -> Option<u32> {
        let stream = &self.streams[peer as usize];
        (!self.midstream && stream.start != Start::Unknown).then(|| stream.base.wrapping_sub(1))
    }

    /// The tunnel and the VLANs that its first segment came in. Those of other segments may be others: many tunnels
    /// have a number for each direction.
    #[inline]
    pub fn around(&self) -> Surroundings {
        self.beside.as_ref().map_or(Surroundings::NONE, |beside| beside.around)
    }

    /// What names this connection at every tap and in every run.
    pub fn connection_id(&self) -> ConnectionId {
        ConnectionId::of(self)
    }

    /// The community id, version 1, seed 0.
    pub fn community_id(&self) -> String {
        crate::community::community_id(&self.key, 0)
    }

    /// What its TLS hellos said, if it began with one.
    pub fn tls(&self) -> Option<&TlsHello> {
        self.rare()?.more()?.tls.as_deref().filter(|hello| hello.client.is_some())
    }

    /// How many ICMP errors were about its segments, and the first of them.
    pub fn icmp_errors(&self) -> Option<(u32, IcmpError)> {
        let unusual = self.rare()?.unusual()?;
        unusual.icmp.map(|first| (unusual.icmp_errors, first))
    }

    /// Sets a time of the handshake unless it is known.
    pub(crate) fn seen(&mut self, which: usize, time: Timestamp) {
        if self.times[which] != ABSENT {
            return;
        }
        self.times[which] = distance(time, self.opened).unwrap_or(FAR);
        if self.times[which] == FAR {
            self.rare_mut().unusual_mut().handshake[which] = Some(time);
        }
    }

    /// The SYN+ACK was seen, and no acknowledgement of it.
    pub(crate) fn handshake_waits(&self) -> bool {
        self.times[SYN_ACK] != ABSENT && self.times[ACK] == ABSENT
    }

    /// What is rare, if there is any of it.
    #[inline]
    pub(crate) fn rare(&self) -> Option<&Rare> {
        self.beside.as_ref()?.rare.as_deref()
    }

    /// What is rare, made if there is nothing yet.
    #[cold]
    pub(crate) fn rare_mut(&mut self) -> &mut Rare {
        self.beside.get_or_insert_default().rare.get_or_insert_default()
    }

    /// A packet was captured twice.
    #[cold]
    pub(crate) fn copied(&mut self, from: Peer) {
        let duplicates = &mut self.beside.get_or_insert_default().duplicates[from as usize];
        *duplicates = duplicates.saturating_add(1);
    }

    /// Packets of it were captured twice.
    #[inline]
    pub(crate) fn is_doubled(&self) -> bool {
        self.beside.as_ref().is_some_and(|beside| beside.duplicates != [0; 2])
    }

    #[cold]
    pub(crate) fn unusual_stream(&mut self, from: Peer) -> &mut UnusualStream {
        &mut self.rare_mut().unusual_mut().streams[from as usize]
    }

    /// Memory of what plain flows do not have.
    #[inline]
    pub(crate) fn beside_cost(&self) -> usize {
        self.beside.as_ref().map_or(0, |beside| beside.cost())
    }

    /// Payload was sent again: the letter for it, and no round trip is measured with it.
    #[cold]
    pub(crate) fn sent_again(&mut self, from: Peer, bytes: u64) {
        self.streams[from as usize].round_trip.forget();
        let after = self.history.len();
        let rare = self.rare_mut();
        rare.bytes[from as usize].retransmitted += bytes;
        let count = rare.counts[from as usize].retransmissions.saturating_add(1);
        rare.counts[from as usize].retransmissions = count;
        rare.letter(from, b'T', count, after);
    }

    /// Bytes will not come.
    #[cold]
    pub(crate) fn missed(&mut self, from: Peer, bytes: u64) {
        let after = self.history.len();
        let rare = self.rare_mut();
        rare.bytes[from as usize].gaps += bytes;
        let count = rare.counts[from as usize].gaps.saturating_add(1);
        rare.counts[from as usize].gaps = count;
        rare.letter(from, b'G', count, after);
    }

    /// An end announces that it can take nothing, or something again.
    #[cold]
    pub(crate) fn stall(&mut self, from: Peer, zero: bool, now: Timestamp) {
        self.attention.set(Attention::STALLED << from as u8, zero);
        let after = self.history.len();
        let rare = self.rare_mut();
        let stream = &mut rare.unusual_mut().streams[from as usize];
        stream.window(zero, now);
        if zero {
            stream.zero_windows = stream.zero_windows.saturating_add(1);
            let count = stream.zero_windows;
            rare.letter(from, b'W', count, after);
        }
    }

    fn time(&self, which: usize) -> Option<Timestamp> {
        match self.times[which] {
            ABSENT => None,
            FAR => self.rare()?.unusual()?.handshake[which],
            distance => Some(Timestamp(self.opened.0.wrapping_add_signed(i64::from(distance)))),
        }
    }
}

impl Beside {
    /// Adds what it knows to the facts of a stream of a flow that was last seen then.
    #[cold]
    fn tell(&self, sender: Peer, facts: &mut StreamFacts, last_seen: Timestamp) {
        let at = sender as usize;
        facts.duplicates = self.duplicates[at];
        let Some(rare) = &self.rare else { return };
        facts.retransmitted_bytes = rare.bytes[at].retransmitted;
        facts.gap_bytes = rare.bytes[at].gaps;
        facts.out_of_order = rare.counts[at].out_of_order;
        if let Some(unusual) = rare.unusual() {
            unusual.streams[at].tell(facts, last_seen);
        }
    }
}

impl UnusualStream {
    /// The same, of a flow that was last seen then.
    #[cold]
    fn tell(&self, facts: &mut StreamFacts, last_seen: Timestamp) {
        facts.packets += u64::from(self.packets_high) << 32;
        facts.bytes += u64::from(self.bytes_high) << 32;
        facts.conflicting_bytes = self.conflicting_bytes;
        facts.zero_windows = self.zero_windows;
        facts.probe_bytes = self.probe_bytes;
        let present = self.stalled_since.map_or(0, |since| last_seen.0.saturating_sub(since.0));
        facts.zero_window_ns = self.stalled_ns.saturating_add(present);
    }
}

/// From `origin` to `time` in nanoseconds, if that is near enough.
fn distance(time: Timestamp, origin: Timestamp) -> Option<i32> {
    let distance = i32::try_from(time.0.wrapping_sub(origin.0) as i64).ok()?;
    (distance > FAR).then_some(distance)
}

/// The times of a handshake.
pub(crate) const SYN: usize = 0;
pub(crate) const SYN_ACK: usize = 1;
pub(crate) const ACK: usize = 2;
/// No time.
const ABSENT: i32 = i32::MIN;
/// More than two seconds away: kept with what is rare.
const FAR: i32 = i32::MIN + 1;
