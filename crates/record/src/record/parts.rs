//! The parts of a line, nested as they are written.
//!
//! Serde's derived code writes each straight into the output: nothing here is built on the heap.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use gannet_http::{Exchange, Message, State};
use gannet_packet::Surroundings;
use serde::{Serialize, Serializer};

use super::headers::{HeaderPart, Selector};
use super::{OTHER_METHOD, RecordOptions, known_method};
use crate::time::Rfc3339;
use crate::wire_text;

#[derive(Serialize)]
pub(super) struct Line<'a> {
    pub(super) timestamp: Rfc3339,
    pub(super) http: HttpPart<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<UrlPart<'a>>,
    pub(super) client: EndPart<IpAddr>,
    pub(super) server: EndPart<Address<'a>>,
    pub(super) network: NetworkPart,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_agent: Option<AgentPart<'a>>,
    pub(super) timing: TimingPart,
    pub(super) tcp: TcpPart,
    pub(super) gannet: OwnPart<'a>,
}

#[derive(Serialize)]
pub(super) struct HttpPart<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request: Option<RequestPart<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response: Option<ResponsePart<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) route: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
pub(super) struct RequestPart<'a> {
    pub(super) method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) method_original: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "HeaderPart::is_empty")]
    pub(super) header: HeaderPart<'a>,
    pub(super) body: BodyPart,
}

impl<'a> RequestPart<'a> {
    pub(super) fn new(message: &'a Message, options: &'a RecordOptions, selector: &'a Selector<'a>) -> Self {
        let original = message.head.method();
        let known = known_method(original);
        Self {
            method: known.unwrap_or(OTHER_METHOD),
            method_original: known.is_none().then(|| wire_text(original)),
            header: HeaderPart::new(&message.head, options, selector),
            body: BodyPart { size: message.body_bytes },
        }
    }
}

#[derive(Serialize)]
pub(super) struct ResponsePart<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status_code: Option<u16>,
    #[serde(skip_serializing_if = "HeaderPart::is_empty")]
    pub(super) header: HeaderPart<'a>,
    pub(super) body: BodyPart,
}

#[derive(Serialize)]
pub(super) struct BodyPart {
    pub(super) size: u64,
}

#[derive(Serialize)]
pub(super) struct UrlPart<'a> {
    pub(super) path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) query: Option<Cow<'a, str>>,
    pub(super) scheme: Cow<'static, str>,
}

#[derive(Serialize)]
pub(super) struct EndPart<A> {
    pub(super) address: A,
    pub(super) port: u16,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Address<'a> {
    Name(Cow<'a, str>),
    Ip(IpAddr),
}

#[derive(Serialize)]
pub(super) struct NetworkPart {
    pub(super) peer: EndPart<IpAddr>,
    pub(super) protocol: ProtocolPart,
}

#[derive(Serialize)]
pub(super) struct ProtocolPart {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<&'static str>,
}

#[derive(Serialize)]
pub(super) struct AgentPart<'a> {
    pub(super) original: Cow<'a, str>,
}

#[derive(Serialize)]
pub(super) struct TimingPart {
    pub(super) connect_ns: Option<u64>,
    pub(super) send_ns: Option<u64>,
    pub(super) ttfb_ns: Option<u64>,
    pub(super) server_ns: Option<u64>,
    pub(super) receive_ns: Option<u64>,
    pub(super) total_ns: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct TcpPart {
    pub(super) retransmitted: u64,
    pub(super) out_of_order: u32,
    pub(super) gap_bytes: u64,
    pub(super) zero_windows: u32,
}

#[derive(Serialize)]
pub(super) struct OwnPart<'a> {
    pub(super) id: Id,
    pub(super) state: &'static str,
    pub(super) pair_confidence: &'static str,
    pub(super) untrusted: List<Reasons<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) interface: Option<ArcStr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tunnel: Option<TunnelPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) vlan: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) inner_vlan: Option<u16>,
    #[serde(skip_serializing_if = "List::is_empty")]
    pub(super) interim: List<Interims<'a>>,
    #[serde(skip_serializing_if = "List::is_empty")]
    pub(super) notes: List<Notes<'a>>,
}

impl<'a> OwnPart<'a> {
    pub(super) fn new(exchange: &'a Exchange, options: &'a RecordOptions) -> Self {
        Self {
            id: Id { flow: exchange.connection.flow, index: exchange.index },
            state: State::name(exchange.state),
            pair_confidence: exchange.confidence.name(),
            untrusted: List(Reasons(exchange)),
            interface: options.interfaces.shared_name(exchange.connection.interface).map(ArcStr),
            tunnel: TunnelPart::of(&exchange.connection.around),
            vlan: exchange.connection.around.vlans().outermost(),
            inner_vlan: inner_vlan(&exchange.connection.around),
            interim: List(Interims(exchange)),
            notes: List(Notes(exchange)),
        }
    }
}

/// The tunnel that a connection came in.
#[derive(Serialize)]
pub(crate) struct TunnelPart {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u32>,
}

impl TunnelPart {
    pub(crate) fn of(around: &Surroundings) -> Option<Self> {
        around.tunnel().map(|tunnel| Self { kind: tunnel.kind.name(), id: tunnel.id })
    }
}

/// The last VLAN, if there are several.
pub(crate) fn inner_vlan(around: &Surroundings) -> Option<u16> {
    let vlans = around.vlans();
    vlans.innermost().filter(|&innermost| Some(innermost) != vlans.outermost())
}

/// `flow-index`.
pub(super) struct Id {
    pub(super) flow: u64,
    pub(super) index: u32,
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (mut flow, mut index) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (flow, index) = (flow.format(self.flow).as_bytes(), index.format(self.index).as_bytes());
        let mut text = [0; MAX_ID_BYTES];
        let mut rest = text.as_mut_slice();
        // As large as the largest: all of it fits.
        for part in [flow, b"-", index] {
            rest = match rest.split_at_mut_checked(part.len()) {
                Some((place, rest)) => {
                    place.copy_from_slice(part);
                    rest
                }
                None => &mut [],
            };
        }
        let len = flow.len() + 1 + index.len();
        serializer
            .serialize_str(text.get(..len).and_then(|text| str::from_utf8(text).ok()).unwrap_or_default())
    }
}

/// Digits of the largest flow number and index, and what is between them.
const MAX_ID_BYTES: usize = 20 + 1 + 10;

pub(super) struct ArcStr(pub(super) Arc<str>);

impl Serialize for ArcStr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Something that yields the items of an array as often as it is asked.
pub(super) trait Items {
    fn items(&self) -> impl Iterator<Item: Serialize>;
}

pub(super) struct List<I>(pub(super) I);

impl<I: Items> List<I> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.items().next().is_none()
    }
}

impl<I: Items> Serialize for List<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.items())
    }
}

pub(super) struct Reasons<'a>(&'a Exchange);

impl Items for Reasons<'_> {
    fn items(&self) -> impl Iterator<Item: Serialize> {
        self.0.untrusted.names()
    }
}

pub(super) struct Interims<'a>(&'a Exchange);

impl Items for Interims<'_> {
    fn items(&self) -> impl Iterator<Item: Serialize> {
        self.0.interim.iter().map(|interim| interim.status)
    }
}

pub(super) struct Notes<'a>(&'a Exchange);

impl Items for Notes<'_> {
    fn items(&self) -> impl Iterator<Item: Serialize> {
        let has = |message: &Option<Message>, what: fn(&Message) -> bool| message.as_ref().is_some_and(what);
        let Exchange { request, response, .. } = self.0;
        let notes = [
            (has(request, |message| message.head.cut), "request-head-cut"),
            (has(response, |message| message.head.cut), "response-head-cut"),
            (has(request, |message| message.head.folded), "request-head-folded"),
            (has(response, |message| message.head.folded), "response-head-folded"),
            (has(request, |message| message.ambiguous_length), "request-length-ambiguous"),
            (has(response, |message| message.ambiguous_length), "response-length-ambiguous"),
        ];
        notes.into_iter().filter(|(applies, _)| *applies).map(|(_, name)| name)
    }
}
