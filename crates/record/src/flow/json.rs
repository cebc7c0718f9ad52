//! The parts of a line of `jsonl`; the module above says what they mean.

use std::sync::Arc;

use gannet_flow::{CloseReason, Peer, version_name};
use serde::{Serialize, Serializer};

use super::{FlowEnd, transport_name};
use crate::Interfaces;
use crate::record::{TunnelPart, inner_vlan};
use crate::short::Address;
use crate::time::Rfc3339;

#[derive(Serialize)]
pub(super) struct Line<'a> {
    timestamp: Rfc3339,
    duration_ns: u64,
    network: NetworkPart<'a>,
    source: EndPart,
    destination: EndPart,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp: Option<IcmpPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<TcpPart<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<TlsPart<'a>>,
    gannet: OwnPart,
}

impl<'a> Line<'a> {
    pub(super) fn new(end: &'a FlowEnd, interfaces: &Interfaces) -> Self {
        let flow = &end.flow;
        let handshake = HandshakePart {
            client_ns: flow.handshake.originator_ns(),
            server_ns: flow.handshake.responder_ns(),
        };
        Self {
            timestamp: Rfc3339(flow.opened),
            duration_ns: flow.duration_ns,
            network: NetworkPart {
                transport: transport_name(flow.protocol).into_owned(),
                r#type: end.network_type(),
                protocol: end.service.map(|service| ProtocolPart { name: service.name() }),
                community_id: &flow.community_id,
            },
            source: EndPart::new(end, Peer::Originator),
            destination: EndPart::new(end, Peer::Responder),
            icmp: flow.icmp.map(|(kind, code)| IcmpPart { r#type: kind, code }),
            tcp: end.is_tcp().then_some(TcpPart {
                state: flow.state.name(),
                history: &flow.history,
                handshake: (handshake.client_ns.is_some() || handshake.server_ns.is_some())
                    .then_some(handshake),
            }),
            tls: flow.tls.as_ref().map(|hello| TlsPart {
                client: ClientPart {
                    server_name: hello.server_name.as_deref(),
                    supported_protocols: &hello.offered,
                },
                next_protocol: hello.chosen.as_deref(),
                version: hello.version.or(hello.client_version).and_then(version_name),
            }),
            gannet: OwnPart {
                id: flow.id,
                connection: flow.connection_id.to_string(),
                end: reason_name(flow.reason),
                midstream: flow.midstream,
                interface: interfaces.shared_name(flow.interface).map(Text),
                tunnel: TunnelPart::of(&flow.around),
                vlan: flow.around.vlans().outermost(),
                inner_vlan: inner_vlan(&flow.around),
                icmp_errors: flow.icmp_errors.map(|(count, _)| count),
            },
        }
    }
}

#[derive(Serialize)]
struct NetworkPart<'a> {
    transport: String,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<ProtocolPart>,
    community_id: &'a str,
}

#[derive(Serialize)]
struct ProtocolPart {
    name: &'static str,
}

#[derive(Serialize)]
struct EndPart {
    address: Address,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    packets: u64,
    bytes: u64,
    payload_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<StreamPart>,
}

impl EndPart {
    fn new(end: &FlowEnd, peer: Peer) -> Self {
        let flow = &end.flow;
        let (endpoint, at) = match peer {
            Peer::Originator => (flow.originator, 0),
            Peer::Responder => (flow.responder, 1),
        };
        let facts = &flow.streams[at];
        let has_port = !end.is_icmp() && (flow.originator.port, flow.responder.port) != (0, 0);
        Self {
            address: Address(endpoint.address),
            port: has_port.then_some(endpoint.port),
            packets: facts.packets,
            bytes: flow.ip_bytes[at],
            payload_bytes: flow.stream_lens[at],
            tcp: end.is_tcp().then_some(StreamPart {
                missed_bytes: facts.gap_bytes,
                retransmitted_bytes: facts.retransmitted_bytes,
                conflicting_bytes: facts.conflicting_bytes,
                out_of_order: facts.out_of_order,
                duplicates: facts.duplicates,
                zero_windows: facts.zero_windows,
                zero_window_ns: facts.zero_window_ns,
                rtt_ns: facts.round_trip_ns,
            }),
        }
    }
}

#[derive(Serialize)]
struct StreamPart {
    missed_bytes: u64,
    retransmitted_bytes: u64,
    conflicting_bytes: u64,
    out_of_order: u32,
    duplicates: u32,
    zero_windows: u32,
    zero_window_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_ns: Option<u64>,
}

#[derive(Serialize)]
struct IcmpPart {
    r#type: u8,
    code: u8,
}

#[derive(Serialize)]
struct TcpPart<'a> {
    state: &'static str,
    history: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    handshake: Option<HandshakePart>,
}

#[derive(Serialize)]
struct HandshakePart {
    #[serde(skip_serializing_if = "Option::is_none")]
    client_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_ns: Option<u64>,
}

#[derive(Serialize)]
struct TlsPart<'a> {
    client: ClientPart<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_protocol: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
}

#[derive(Serialize)]
struct ClientPart<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    server_name: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    supported_protocols: &'a [String],
}

#[derive(Serialize)]
struct OwnPart {
    id: u64,
    connection: String,
    end: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    midstream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel: Option<TunnelPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inner_vlan: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_errors: Option<u32>,
}

struct Text(Arc<str>);

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Why a flow is over.
pub(super) fn reason_name(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Finished => "finished",
        CloseReason::Reset { by: Peer::Originator } => "reset-source",
        CloseReason::Reset { by: Peer::Responder } => "reset-destination",
        CloseReason::Idle => "idle",
        CloseReason::Evicted => "evicted",
        CloseReason::Reused => "reused",
        CloseReason::EndOfInput => "end-of-input",
    }
}
