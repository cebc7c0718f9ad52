//! The record of an exchange, as `cli.md` has it: OpenTelemetry's HTTP names, nested at the dots, and where it has
//! none ours under `timing`, `tcp` and `gannet`.
//!
//! Keys without a value are absent, but for those of `timing`, which are null. What each field means is said once, in
//! the registry of fields ([`crate::fields`]), from which come the manual page and the schema. What holds for
//! several:
//!
//! * Times are nanoseconds since 1970 as integers, the capture times of the segments that first carried a byte.
//!   Durations are their differences. A reader that keeps numbers as doubles rounds the former to 256 ns and the
//!   latter not at all.
//! * Sizes are bytes on the wire: `size` of the whole message, `body.size` of the body without the framing of chunks.
//! * `url.scheme`, `url.path` are absent for CONNECT, whose target is an authority only; `url.*` and `http.request`
//!   for an orphan response. `url.original` is the target as sent unless it begins with `/`: then path and query say
//!   the same.
//! * `network.peer` is the server's end of the connection, `server.port` its TCP port: at a tap there is no side of
//!   ours. Addresses and ports are always those inside of tunnels.
//! * `client.forwarded_for`, `trace_id`, `span_id` and `http.request.id` are what fields of the request say: anybody
//!   can write them.
//! * Text is the wire's, see [`crate::wire_text`] for bytes that are not UTF-8: `body.content` as well, whatever
//!   charset its `content_type` names. Bodies are not searched for credentials.

mod event;
mod headers;
mod message;
mod origin;
mod own;
mod parts;
#[cfg(test)]
mod tests;
mod timing;
mod usual;

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gannet_http::{DecodeEnd, DecodeLimits, Decoded, Exchange, Head, Message};
use gannet_packet::Timestamp;
use serde::{Serialize, Serializer};

pub use self::event::EventRecord;
pub use self::headers::HeaderSelection;
use self::headers::Scan;
use self::message::{RequestPart, ResponsePart};
use self::origin::Said;
use self::own::OwnPart;
pub(crate) use self::own::{TunnelPart, all_notes, inner_vlan};
use self::parts::{AgentPart, ClientPart, EndPart, HostPart, HttpPart, Line, NetworkPart, TcpPart, UrlPart};
use self::timing::TimingPart;
use crate::fields::Choice;
use crate::redact::{mask_authority, mask_query, masked_text};
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
    /// Show what was kept of bodies.
    pub bodies: bool,
    /// How far it is decoded.
    pub decode: DecodeLimits,
    /// Counts bodies that were not decoded to the end because they are bombs or have too many codings.
    pub bodies_refused: Arc<AtomicU64>,
    /// The fields that lines of JSON have; all of them if there is no choice.
    pub fields: Option<Choice>,
    /// The machine that captures: for live captures only, since a file says the same wherever it is read.
    pub host_name: Option<Arc<str>>,
}

impl Default for RecordOptions {
    /// The usual header fields, credentials masked, routes by the paths alone, bodies as far as they were kept.
    fn default() -> Self {
        Self {
            headers: HeaderSelection::default(),
            redact: true,
            routes: Routes::default(),
            interfaces: Interfaces::default(),
            bodies: true,
            decode: DecodeLimits::default(),
            bodies_refused: Arc::default(),
            fields: None,
            host_name: None,
        }
    }
}

impl RecordOptions {
    /// What was kept of a body, without its codings, as far as the limits allow.
    pub fn decoded(&self, message: &Message) -> Decoded {
        let decoded = message.decoded(&self.decode);
        if matches!(decoded.end, DecodeEnd::Bomb | DecodeEnd::TooManyLayers) {
            self.bodies_refused.fetch_add(1, Ordering::Relaxed);
        }
        decoded
    }
}

/// An exchange as it is reported; `Serialize` is a line of `jsonl`.
///
/// The methods are for outputs with a line of their own making: what they yield is masked where the options say so, and
/// is wire text, not yet fit for a terminal.
#[derive(Clone)]
pub struct Record<'a> {
    exchange: &'a Exchange,
    options: &'a RecordOptions,
    /// Not taken apart before it is asked for.
    url: OnceCell<Option<Url<'a>>>,
}

impl<'a> Record<'a> {
    /// The record of `exchange`.
    pub fn new(exchange: &'a Exchange, options: &'a RecordOptions) -> Self {
        Self { exchange, options, url: OnceCell::new() }
    }

    /// Appends the record to `out` as a line of `jsonl`, without the line's end: the same bytes as `serde_json` makes
    /// of it, in half the time; of them those fields that the options choose. Fails, as that would, if `Serialize`
    /// says something that this JSON has no way to write; nothing in a record does.
    pub fn write_json(&self, out: &mut Vec<u8>) -> fmt::Result {
        match usual::write(self.exchange, self.options, out) {
            Some(written) => written,
            None => self.with_line(|line| write_line(line, line.http.room(), self.options, out)),
        }
    }

    fn url(&self) -> Option<Url<'a>> {
        *self.url.get_or_init(|| self.exchange.request.as_ref().map(|request| Url::of(&request.head)))
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
        self.url().and_then(|url| url.host).map(wire_text)
    }

    /// The host asked for and the port if it was given, as they were written.
    pub fn authority(&self) -> Option<Cow<'a, str>> {
        self.url().and_then(|url| url.authority).map(wire_text)
    }

    /// The path asked for, without query.
    pub fn path(&self) -> Option<Cow<'a, str>> {
        path_of(self.url()?, self.options)
    }

    /// The query, without `?`.
    pub fn query(&self) -> Option<Cow<'a, str>> {
        query_of(self.url()?, self.options)
    }

    /// The final response's status code.
    pub fn status(&self) -> Option<u16> {
        self.exchange.response.as_ref().and_then(|response| response.head.status())
    }
}

impl Serialize for Record<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.with_line(|line| line.serialize(serializer))
    }
}

impl Record<'_> {
    /// Lets `write` do something with the line: bodies are decoded once, however often it is written.
    #[inline]
    fn with_line<T>(&self, write: impl FnOnce(&Line<'_>) -> T) -> T {
        let Exchange { connection, request, response, tcp, .. } = self.exchange;
        let path = self.path();
        let (asked, answered) = (scan(request, self.options), scan(response, self.options));
        let head = request.as_ref().map(|request| &request.head);
        let said = Said::new(head.zip(asked.as_ref()), answered.as_ref(), self.options);
        let answer = response.as_ref().map(|response| &response.head);
        let line = Line {
            timestamp: Rfc3339(self.timestamp()),
            http: HttpPart {
                request: request
                    .as_ref()
                    .zip(asked.as_ref())
                    .map(|(message, scan)| RequestPart::new(message, scan, said.request_id, self.options)),
                response: response
                    .as_ref()
                    .zip(answered.as_ref())
                    .map(|(message, scan)| ResponsePart::new(message, scan, self.options)),
                route: path
                    .as_deref()
                    .map(|path| self.options.routes.route_of(path, said.operation.as_deref())),
            },
            url: UrlPart::new(head, self.url(), path.as_deref(), self.options),
            client: ClientPart::new(connection, said.forwarded_for),
            server: EndPart::server(connection, self.url().and_then(|url| url.host)),
            network: NetworkPart::new(connection, head.or(answer)),
            user_agent: said.agent.map(|original| AgentPart { original }),
            trace_id: said.trace_id,
            span_id: said.span_id,
            host: HostPart::new(self.options),
            timing: TimingPart(self.exchange),
            tcp: TcpPart(tcp),
            gannet: OwnPart {
                exchange: self.exchange,
                operation: said.operation.as_deref(),
                options: self.options,
            },
        };
        write(&line)
    }
}

/// The fields that the options choose, as JSON. All of them take `more` bytes than those of a usual record, or about
/// that many.
fn write_line(line: &impl Serialize, more: usize, options: &RecordOptions, out: &mut Vec<u8>) -> fmt::Result {
    match &options.fields {
        None => json::write(line, more, out),
        Some(choice) => {
            let is_large = more != 0 && LARGE.iter().any(|name| choice.has(name));
            json::write_chosen(line, choice, if is_large { more } else { 0 }, out)
        }
    }
}

/// The fields that make records large.
const LARGE: [&str; 4] = [
    "http.request.body.content",
    "http.response.body.content",
    "http.request.header",
    "http.response.header",
];

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

/// The target as sent, if it is not in origin form.
fn original_of<'a>(request: &'a Head, options: &RecordOptions) -> Option<Cow<'a, str>> {
    let target = request.target();
    if target.starts_with(b"/") {
        return None;
    }
    Some(match options.redact {
        false => wire_text(target),
        true if request.method() == b"CONNECT" => mask_authority(wire_text(target)),
        true => masked_text(target),
    })
}

fn scan<'m>(message: &'m Option<Message>, options: &RecordOptions) -> Option<Scan<'m>> {
    message.as_ref().map(|message| Scan::new(&message.head, &options.headers))
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
pub(crate) const KNOWN_METHODS: [&str; 10] =
    ["GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "QUERY"];
