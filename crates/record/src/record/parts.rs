//! The parts of a line, nested as they are written.
//!
//! Serde's derived code writes each straight into the output: nothing here is built on the heap.

use std::borrow::Cow;

use gannet_http::{Connection, Head, TcpFacts};
use serde::{Serialize, Serializer};

use super::headers::Shown;
use super::message::{RequestPart, ResponsePart};
use super::own::OwnPart;
use super::timing::TimingPart;
use super::{RecordOptions, original_of, query_of};
use crate::json::Plain;
use crate::short;
use crate::text::Wire;
use crate::time::Rfc3339;
use crate::url::Url;
use crate::wire_text;

#[derive(Serialize)]
pub(super) struct Line<'a> {
    pub(super) timestamp: Rfc3339,
    pub(super) http: HttpPart<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<UrlPart<'a>>,
    pub(super) client: ClientPart<'a>,
    pub(super) server: EndPart<Address<'a>>,
    pub(super) network: NetworkPart<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_agent: Option<AgentPart<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) span_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) host: Option<HostPart<'a>>,
    pub(super) timing: TimingPart<'a>,
    pub(super) tcp: TcpPart<'a>,
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

impl HttpPart<'_> {
    /// What the messages are likely to take beyond the room that a usual record has.
    pub(super) fn room(&self) -> usize {
        let request = self.request.as_ref().map_or(0, |request| request.room);
        request + self.response.as_ref().map_or(0, |response| response.room)
    }
}

#[derive(Serialize)]
pub(super) struct UrlPart<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheme: Option<Scheme<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original: Option<Cow<'a, str>>,
}

impl<'a> UrlPart<'a> {
    /// Of a request, if there is one. The path comes masked, since others want it, too.
    pub(super) fn new(
        request: Option<&'a Head>,
        url: Option<Url<'a>>,
        path: Option<&'a str>,
        options: &RecordOptions,
    ) -> Option<Self> {
        let (request, url) = (request?, url?);
        Some(Self {
            path,
            query: query_of(url, options),
            scheme: path.map(|_| Scheme(url.scheme)),
            original: original_of(request, options),
        })
    }
}

/// As the target says it, in lower case; `http` if it says nothing.
struct Scheme<'a>(Option<&'a [u8]>);

impl Serialize for Scheme<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            None => Plain::name("http").serialize(serializer),
            Some(scheme) => serializer.serialize_str(&wire_text(scheme).to_ascii_lowercase()),
        }
    }
}

#[derive(Serialize)]
pub(super) struct ClientPart<'a> {
    pub(super) address: short::Address,
    pub(super) port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) forwarded_for: Option<Cow<'a, str>>,
}

impl<'a> ClientPart<'a> {
    pub(super) fn new(connection: &Connection, forwarded_for: Option<Cow<'a, str>>) -> Self {
        let address = short::Address(connection.client.address);
        Self { address, port: connection.client.port, forwarded_for }
    }
}

#[derive(Serialize)]
pub(super) struct HostPart<'a> {
    pub(super) name: &'a str,
}

impl<'a> HostPart<'a> {
    pub(super) fn new(options: &'a RecordOptions) -> Option<Self> {
        options.host_name.as_deref().map(|name| Self { name })
    }
}

#[derive(Serialize)]
pub(super) struct EndPart<A> {
    pub(super) address: A,
    pub(super) port: u16,
}

impl<'a> EndPart<Address<'a>> {
    /// By the name that it was asked for, if there is one.
    pub(super) fn server(connection: &Connection, host: Option<&'a [u8]>) -> Self {
        let address = match host {
            Some(host) => Address::Name(Wire(host)),
            None => Address::Ip(short::Address(connection.server.address)),
        };
        Self { address, port: connection.server.port }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Address<'a> {
    Name(Wire<'a>),
    Ip(short::Address),
}

#[derive(Serialize)]
pub(super) struct NetworkPart<'a> {
    pub(super) peer: EndPart<short::Address>,
    pub(super) protocol: ProtocolPart<'a>,
}

impl<'a> NetworkPart<'a> {
    /// With the version that `head` says.
    pub(super) fn new(connection: &Connection, head: Option<&'a Head>) -> Self {
        let address = short::Address(connection.server.address);
        let peer = EndPart { address, port: connection.server.port };
        Self { peer, protocol: ProtocolPart { version: head.and_then(Head::version).map(Wire) } }
    }
}

#[derive(Serialize)]
pub(super) struct ProtocolPart<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<Wire<'a>>,
}

#[derive(Serialize)]
pub(super) struct AgentPart<'a> {
    pub(super) original: Shown<'a>,
}

/// What TCP went through, put together where it is written.
pub(super) struct TcpPart<'a>(pub(super) &'a TcpFacts);

impl Serialize for TcpPart<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Facts::of(self.0).serialize(serializer)
    }
}

#[derive(Serialize)]
struct Facts {
    retransmitted: u64,
    client_retransmitted: u64,
    server_retransmitted: u64,
    out_of_order: u32,
    gap_bytes: u64,
    zero_windows: u32,
    zero_window_ns: u64,
}

impl Facts {
    #[inline]
    fn of(facts: &TcpFacts) -> Self {
        let client = facts.client_retransmitted_bytes;
        Self {
            retransmitted: facts.retransmitted_bytes,
            client_retransmitted: client,
            server_retransmitted: facts.retransmitted_bytes.saturating_sub(client),
            out_of_order: facts.out_of_order,
            gap_bytes: facts.gap_bytes,
            zero_windows: facts.zero_windows,
            zero_window_ns: facts.zero_window_ns,
        }
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
