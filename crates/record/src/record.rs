//! The record of an exchange, as `cli.md` has it: OpenTelemetry's HTTP names, nested at the dots.
//!
//! Keys without a value are absent, but for those of `timing`, which are null. Beside the contract's:
//!
//! * `url.scheme`, `url.path` are absent for CONNECT, whose target is an authority only; `url.*` and `http.request` for an
//!   orphan response.
//! * `network.peer` is the server's end of the connection, `server.port` its TCP port: at a tap there is no side of ours.
//! * `tcp.retransmitted` and `tcp.gap_bytes` are bytes, `tcp.out_of_order` and `tcp.zero_windows` segments.
//! * `gannet.id` is the flow's number in the run and the exchange's on its connection. `gannet.interim` lists the statuses
//!   of interim responses, `gannet.notes` what was odd about the heads and framing; both are absent when empty.
//! * `gannet.tunnel` is the innermost tunnel that the connection's first segment came in: its `kind`, by the names of
//!   [`gannet_packet::TunnelKind`] (`vxlan`, `geneve`, `gre`, ...), and its `id` (VNI, TEID, key, session, label) where it has
//!   one. `gannet.vlan` is the VLAN, the outermost if there are several, and `gannet.inner_vlan` then the innermost. Addresses and
//!   ports are always those inside.
//! * Text is the wire's, see [`crate::wire_text`] for bytes that are not UTF-8.

mod event;
mod headers;
mod parts;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use gannet_http::Exchange;
use gannet_packet::Timestamp;
use serde::{Serialize, Serializer};

pub use self::event::EventRecord;
use self::headers::HeaderPart;
pub use self::headers::HeaderSelection;
use self::parts::{
    Address, AgentPart, BodyPart, EndPart, HttpPart, Line, NetworkPart, OwnPart, ProtocolPart, RequestPart,
    ResponsePart, TcpPart, TimingPart, UrlPart,
};
pub(crate) use self::parts::{TunnelPart, inner_vlan};
use crate::redact::{mask_query, masked_text};
use crate::time::Rfc3339;
use crate::url::Url;
use crate::{Interfaces, Routes, json, wire_text};

/// What records show.
#[derive(Clone, Debug)]
pub struct RecordOptions {
    /// Which header fields.
    pub headers: HeaderSelection,
    /// Mask credentials.
    pub redact: bool,
    /// How paths become routes.
    pub routes: Routes,
    /// Names of interfaces.
    pub interfaces: Interfaces,
}

/// An exchange as it is reported; `Serialize` is a line of `jsonl`.
///
/// The methods are for outputs with a line of their own making: what they yield is masked where the options say so, and
/// is wire text, not yet fit for a terminal.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    exchange: &'a Exchange,
    options: &'a RecordOptions,
    url: Option<Url<'a>>,
}

impl<'a> Record<'a> {
    /// The record of `exchange`.
    pub fn new(exchange: &'a Exchange, options: &'a RecordOptions) -> Self {
        let url = exchange.request.as_ref().map(|request| Url::of(&request.head));
        Self { exchange, options, url }
    }

    /// Appends the record to `out` as a line of `jsonl`, without the line's end: the same bytes as `serde_json` makes of it,
    /// in half the time. Fails, as that would, if `Serialize` says something that this JSON has no way to write; nothing
    /// in a record does.
    pub fn write_json(&self, out: &mut Vec<u8>) -> fmt::Result {
        json::write(self, out)
    }

    /// What it is the record of.
    pub fn exchange(&self) -> &'a Exchange {
        self.exchange
    }

    /// The request's first byte; an orphan response's.
    pub fn timestamp(&self) -> Timestamp {
        started(self.exchange)
    }

    /// The method as sent.
    pub fn method(&self) -> Option<Cow<'a, str>> {
        self.exchange.request.as_ref().map(|request| wire_text(request.head.method()))
    }

    /// The host asked for, without port.
    pub fn host(&self) -> Option<Cow<'a, str>> {
        self.url.and_then(|url| url.host).map(wire_text)
    }

    /// The host asked for and the port if it was given, as they were written.
    pub fn authority(&self) -> Option<Cow<'a, str>> {
        self.url.and_then(|url| url.authority).map(wire_text)
    }

    /// The path asked for, without query.
    pub fn path(&self) -> Option<Cow<'a, str>> {
        path_of(self.url?, self.options)
    }

    /// The query, without `?`.
    pub fn query(&self) -> Option<Cow<'a, str>> {
        query_of(self.url?, self.options)
    }

    /// The final response's status code.
    pub fn status(&self) -> Option<u16> {
        self.exchange.response.as_ref().and_then(|response| response.head.status())
    }
}

impl Serialize for Record<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Exchange { connection, request, response, timing, tcp, .. } = self.exchange;
        let path = self.path();
        let selector = self.options.headers.selector();
        let agent = request.as_ref().and_then(|request| request.head.field("user-agent"));
        let line = Line {
            timestamp: Rfc3339(self.timestamp()),
            http: HttpPart {
                request: request.as_ref().map(|message| RequestPart::new(message, self.options, &selector)),
                response: response.as_ref().map(|message| ResponsePart {
                    status_code: message.head.status(),
                    header: HeaderPart::new(&message.head, self.options, &selector),
                    body: BodyPart { size: message.body_bytes },
                }),
                route: path.as_deref().map(|path| self.options.routes.route(path)),
            },
            url: path.as_deref().map(|path| UrlPart {
                path,
                query: self.query(),
                scheme: scheme_of(self.url.and_then(|url| url.scheme)),
            }),
            client: EndPart { address: connection.client.address, port: connection.client.port },
            server: EndPart {
                address: match self.host() {
                    Some(host) => Address::Name(host),
                    None => Address::Ip(connection.server.address),
                },
                port: connection.server.port,
            },
            network: NetworkPart {
                peer: EndPart { address: connection.server.address, port: connection.server.port },
                protocol: ProtocolPart {
                    version: request.as_ref().or(response.as_ref()).map(|message| message.head.version()),
                },
            },
            user_agent: agent.map(|agent| AgentPart { original: self.options.value("user-agent", agent) }),
            timing: TimingPart {
                connect_ns: timing.connect,
                send_ns: timing.send,
                ttfb_ns: timing.ttfb,
                server_ns: timing.server,
                receive_ns: timing.receive,
                total_ns: timing.total,
            },
            tcp: TcpPart {
                retransmitted: tcp.retransmitted_bytes,
                out_of_order: tcp.out_of_order,
                gap_bytes: tcp.gap_bytes,
                zero_windows: tcp.zero_windows,
            },
            gannet: OwnPart::new(self.exchange, self.options),
        };
        line.serialize(serializer)
    }
}

/// The path asked for, without query.
fn path_of<'a>(url: Url<'a>, options: &RecordOptions) -> Option<Cow<'a, str>> {
    let path = url.path?;
    Some(if options.redact { masked_text(path) } else { wire_text(path) })
}

/// The query, without `?`.
fn query_of<'a>(url: Url<'a>, options: &RecordOptions) -> Option<Cow<'a, str>> {
    let query = wire_text(url.query?);
    Some(if options.redact { mask_query(query) } else { query })
}

fn scheme_of(scheme: Option<&[u8]>) -> Cow<'static, str> {
    match scheme {
        None => Cow::Borrowed("http"),
        Some(scheme) => Cow::Owned(wire_text(scheme).to_ascii_lowercase()),
    }
}

/// When an exchange began: the request's first byte, or an orphan response's.
pub(crate) fn started(exchange: &Exchange) -> Timestamp {
    exchange
        .request
        .as_ref()
        .or(exchange.response.as_ref())
        .map_or(exchange.completed.time, |message| message.first)
}

/// The method if OpenTelemetry knows it: those of RFC 9110, PATCH (RFC 5789) and QUERY.
pub(crate) fn known_method(method: &[u8]) -> Option<&'static str> {
    KNOWN_METHODS.iter().find(|known| known.as_bytes() == method).copied()
}

/// What OpenTelemetry calls a method that it does not know.
pub(crate) const OTHER_METHOD: &str = "_OTHER";

/// The usual ones first.
const KNOWN_METHODS: [&str; 10] =
    ["GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "QUERY"];
