//! What is known of a flow.

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
#[derive(Clone, Debug)]
pub struct Flow {
    /// Unique in the run and the same for any number of workers: the position of its first packet.
    pub id: u64,
    /// Its 5-tuple.
    pub key: FlowKey,
    /// Which side of `key` is the originator.
    pub originator: Side,
    /// Time of its first segment.
    pub opened: Timestamp,
    /// Time of its last segment so far.
    pub last_seen: Timestamp,
    /// Index of the interface that its first segment was seen on.
    pub interface: u32,
    /// Its SYN was not seen: streams begin with the first byte seen, at offset 0.
    pub midstream: bool,
    /// The times of the three-way handshake.
    pub handshake: Handshake,
    /// What happened to each direction so far, indexed by `Peer as usize` of the sender.
    pub streams: [StreamFacts; 2],
}

/// Times of the three-way handshake, as seen at the capture point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handshake {
    /// The first SYN.
    pub syn: Option<Timestamp>,
    /// The first SYN+ACK.
    pub syn_ack: Option<Timestamp>,
    /// The first acknowledgement of the SYN+ACK.
    pub ack: Option<Timestamp>,
    /// A SYN or SYN+ACK was sent more than once: the times are not those of an undisturbed handshake.
    pub retransmitted: bool,
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
