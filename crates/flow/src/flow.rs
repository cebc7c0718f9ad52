//! What is known of a flow.

use std::num::NonZero;

use gannet_packet::{Endpoint, FlowKey, Side, Timestamp};

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
/// In the order in which segments ask for them: see the table's entries.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Flow {
    /// Its 5-tuple.
    pub key: FlowKey,
    /// Time of its last segment so far.
    pub last_seen: Timestamp,
    /// Index of the interface that its first segment was seen on.
    pub interface: u32,
    /// Which side of `key` is the originator.
    pub originator: Side,
    /// Its SYN was not seen: streams begin with the first byte seen, at offset 0.
    pub midstream: bool,
    /// What happened to each direction so far, indexed by `Peer as usize` of the sender.
    pub streams: [StreamFacts; 2],
    /// Unique in the run and the same for any number of workers: the position of its first packet.
    pub id: u64,
    /// Time of its first segment.
    pub opened: Timestamp,
    /// The times of the three-way handshake.
    pub handshake: Handshake,
}

/// Times of the three-way handshake, as seen at the capture point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handshake {
    pub(crate) syn: Seen,
    pub(crate) syn_ack: Seen,
    pub(crate) ack: Seen,
    /// A SYN or SYN+ACK was sent more than once: the times are not those of an undisturbed handshake.
    pub retransmitted: bool,
}

impl Handshake {
    /// From its times; not retransmitted.
    pub fn new(syn: Option<Timestamp>, syn_ack: Option<Timestamp>, ack: Option<Timestamp>) -> Self {
        let [syn, syn_ack, ack] = [syn, syn_ack, ack].map(Seen::from);
        Self { syn, syn_ack, ack, retransmitted: false }
    }

    /// The first SYN.
    pub fn syn(&self) -> Option<Timestamp> {
        self.syn.time()
    }

    /// The first SYN+ACK.
    pub fn syn_ack(&self) -> Option<Timestamp> {
        self.syn_ack.time()
    }

    /// The first acknowledgement of the SYN+ACK.
    pub fn ack(&self) -> Option<Timestamp> {
        self.ack.time()
    }

    /// The SYN+ACK was seen, and no acknowledgement of it.
    pub(crate) fn waits(&self) -> bool {
        self.syn_ack.time().is_some() && self.ack.time().is_none()
    }
}

/// A time or none in the space of a time: kept one nanosecond late, so that 0 is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen(Option<NonZero<u64>>);

impl Seen {
    /// Sets the time unless there is one.
    pub(crate) fn first(&mut self, time: Timestamp) {
        if self.0.is_none() {
            *self = Self::from(Some(time));
        }
    }

    fn from(time: Option<Timestamp>) -> Self {
        Self(time.map(|time| NonZero::<u64>::MIN.saturating_add(time.0)))
    }

    fn time(self) -> Option<Timestamp> {
        self.0.map(|late| Timestamp(late.get() - 1))
    }
}

/// What happened to one direction of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct StreamFacts {
    /// Segments with or without payload.
    pub packets: u64,
    /// Payload bytes on the wire, those sent again included.
    pub bytes: u64,
    /// Payload bytes that had been seen before.
    pub retransmitted_bytes: u64,
    /// Segments that came after one with a higher sequence number and filled a hole.
    pub out_of_order: u32,
    /// Copies of one packet seen more than once by the capture (`any`, bridges, mirror ports).
    pub duplicates: u32,
    /// Bytes that were not captured.
    pub gap_bytes: u64,
    /// Bytes sent again with other contents than the first time.
    pub conflicting_bytes: u64,
    /// Segments that announced a zero window.
    pub zero_windows: u32,
}

impl Flow {
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
    pub fn stream(&self, sender: Peer) -> &StreamFacts {
        &self.streams[sender as usize]
    }

    /// The part that the end on `side` of the key has.
    #[inline]
    pub fn peer(&self, side: Side) -> Peer {
        if side == self.originator { Peer::Originator } else { Peer::Responder }
    }
}
