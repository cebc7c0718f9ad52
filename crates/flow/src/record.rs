//! What is reported of a flow when it is over.

use gannet_packet::{Endpoint, IpProtocol, Surroundings, Timestamp};

use crate::{
    CloseReason, ConnectionId, ConnectionState, Flow, Handshake, IcmpError, Peer, StreamFacts, TlsHello,
};

/// A flow from its beginning to its end: what `conn.log` has columns for, and more. Of a conversation of another
/// protocol than TCP what only TCP has is left at its default.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowRecord {
    /// [`Flow::id`].
    pub id: u64,
    /// The transport protocol.
    pub protocol: IpProtocol,
    /// Names the connection at every tap.
    pub connection_id: ConnectionId,
    /// The join key of Zeek, Suricata and Arkime.
    pub community_id: String,
    /// Who opened it. The port of an end of ICMP is the type of what it sends.
    pub originator: Endpoint,
    /// The other end. Its port is, for an ICMP message that has no answer, the message's code.
    pub responder: Endpoint,
    /// Index of the interface that its first segment was seen on.
    pub interface: u32,
    /// The tunnel and the VLANs that its first segment came in.
    pub around: Surroundings,
    /// Its SYN was not seen.
    pub midstream: bool,
    /// Time of its first segment.
    pub opened: Timestamp,
    /// From its first to its last segment, in nanoseconds.
    pub duration_ns: u64,
    /// Why it is over.
    pub reason: CloseReason,
    /// Zeek's `conn_state`.
    pub state: ConnectionState,
    /// Zeek's history letters.
    pub history: String,
    /// Times of the handshake, and with them the round trip to either end.
    pub handshake: Handshake,
    /// What happened to each direction, indexed by `Peer as usize` of the sender.
    pub streams: [StreamFacts; 2],
    /// Length of each direction's stream, gaps included, or payload bytes of datagrams: Zeek's `orig_bytes` and
    /// `resp_bytes`.
    pub stream_lens: [u64; 2],
    /// Bytes of IP packets on the wire in each direction, headers included. The table does not see them: 0 unless
    /// whoever does has counted them ([`Handler::taken`](crate::Handler::taken)).
    pub ip_bytes: [u64; 2],
    /// Type and code of the first message of a conversation of ICMP.
    pub icmp: Option<(u8, u8)>,
    /// How many ICMP errors were about it, and the first.
    pub icmp_errors: Option<(u32, IcmpError)>,
    /// Of a conversation: the first [note](crate::Heard::noted) of a packet that is not 0.
    pub note: u8,
    /// What its TLS hellos said.
    pub tls: Option<TlsHello>,
}

impl Flow {
    /// Everything known of the flow, as plain data. Allocates: for the end of a flow, not for its segments.
    pub fn record(&self, reason: CloseReason) -> FlowRecord {
        FlowRecord {
            id: self.id,
            protocol: self.key.protocol(),
            connection_id: self.connection_id(),
            community_id: self.community_id(),
            originator: self.endpoint(Peer::Originator),
            responder: self.endpoint(Peer::Responder),
            interface: self.interface,
            around: self.around(),
            midstream: self.midstream,
            opened: self.opened,
            duration_ns: self.last_seen.0.saturating_sub(self.opened.0),
            reason,
            state: self.state(),
            history: self.history(),
            handshake: self.handshake(),
            streams: Peer::BOTH.map(|peer| self.stream(peer)),
            stream_lens: Peer::BOTH.map(|peer| self.stream_len(peer)),
            ip_bytes: [0; 2],
            icmp: None,
            note: 0,
            icmp_errors: self.icmp_errors(),
            tls: self.tls().cloned(),
        }
    }
}
