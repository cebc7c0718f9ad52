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

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use gannet_http::{Exchange, Head, Message, State};
use gannet_packet::{Surroundings, Timestamp};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::redact::{MASKED_FIELD, is_credential_field, mask_query, masked_text};
use crate::time::Rfc3339;
use crate::url::Url;
use crate::{Interfaces, Routes, json, wire_text, words};

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

/// Which header fields records show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderSelection {
    /// Those of these names, in lower case.
    Named(Vec<String>),
    /// All.
    All,
}

impl Default for HeaderSelection {
    /// The contract's: host, user-agent, content-type, content-length, location, server, x-forwarded-for, traceparent.
    fn default() -> Self {
        let names = [
            "host",
            "user-agent",
            "content-type",
            "content-length",
            "location",
            "server",
            "x-forwarded-for",
            "traceparent",
        ];
        Self::Named(names.map(str::to_owned).to_vec())
    }
}

impl HeaderSelection {
    /// Which fields are selected, prepared for looking at many.
    fn selector(&self) -> Selector<'_> {
        match self {
            Self::Named(names) => {
                let mut of_length = [0; LENGTHS];
                for (at, name) in names.iter().enumerate() {
                    if let Some(bits) = of_length.get_mut(name.len().min(LENGTHS - 1)) {
                        *bits |= 1_u16 << at.min(LAST_BIT);
                    }
                }
                Selector { names, of_length, all: false }
            }
            Self::All => Selector { names: &[], of_length: [0; LENGTHS], all: true },
        }
    }
}

/// See [`HeaderSelection::selector`].
struct Selector<'a> {
    names: &'a [String],
    /// For each length, which of the names have it, as bits: most fields have another. The last element is for that length
    /// and any longer one; the last bit is for that name and all behind it.
    of_length: [u16; LENGTHS],
    all: bool,
}

/// Few names are longer.
const LENGTHS: usize = 32;
const LAST_BIT: usize = u16::BITS as usize - 1;

impl Selector<'_> {
    #[inline]
    fn contains(&self, name: &[u8]) -> bool {
        if self.all {
            return true;
        }
        let mut bits = self.of_length.get(name.len().min(LENGTHS - 1)).copied().unwrap_or(0);
        while bits != 0 {
            let at = bits.trailing_zeros() as usize;
            // Takes the lowest bit away.
            bits &= bits - 1;
            let names = if at == LAST_BIT { at..self.names.len() } else { at..at + 1 };
            let names = self.names.get(names).unwrap_or_default();
            if names.iter().any(|selected| same_name(name, selected.as_bytes())) {
                return true;
            }
        }
        false
    }
}

/// Whether two names of fields are one: "Each header field consists of a case-insensitive field name" (RFC 9112, section
/// 5).
#[inline]
fn same_name(a: &[u8], b: &[u8]) -> bool {
    words::same_but_for_case(a, b)
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
        let path = self.url?.path?;
        Some(if self.options.redact { masked_text(path) } else { wire_text(path) })
    }

    /// The query, without `?`.
    pub fn query(&self) -> Option<Cow<'a, str>> {
        let query = wire_text(self.url?.query?);
        Some(if self.options.redact { mask_query(query) } else { query })
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
                scheme: match self.url.and_then(|url| url.scheme) {
                    None => Cow::Borrowed("http"),
                    Some(scheme) => Cow::Owned(wire_text(scheme).to_ascii_lowercase()),
                },
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

impl RecordOptions {
    /// A header value as it is shown.
    fn value<'a>(&self, name: &(impl AsRef<[u8]> + ?Sized), value: &'a [u8]) -> Cow<'a, str> {
        if !self.redact {
            wire_text(value)
        } else if is_credential_field(name.as_ref()) {
            Cow::Borrowed(MASKED_FIELD)
        } else {
            masked_text(value)
        }
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

// The parts of a line. Serde's derived code writes each straight into the output: nothing here is built on the heap.

#[derive(Serialize)]
struct Line<'a> {
    timestamp: Rfc3339,
    http: HttpPart<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<UrlPart<'a>>,
    client: EndPart<IpAddr>,
    server: EndPart<Address<'a>>,
    network: NetworkPart,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<AgentPart<'a>>,
    timing: TimingPart,
    tcp: TcpPart,
    gannet: OwnPart<'a>,
}

#[derive(Serialize)]
struct HttpPart<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<RequestPart<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<ResponsePart<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
struct RequestPart<'a> {
    method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    method_original: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "HeaderPart::is_empty")]
    header: HeaderPart<'a>,
    body: BodyPart,
}

impl<'a> RequestPart<'a> {
    fn new(message: &'a Message, options: &'a RecordOptions, selector: &'a Selector<'a>) -> Self {
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
struct ResponsePart<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<u16>,
    #[serde(skip_serializing_if = "HeaderPart::is_empty")]
    header: HeaderPart<'a>,
    body: BodyPart,
}

#[derive(Serialize)]
struct BodyPart {
    size: u64,
}

#[derive(Serialize)]
struct UrlPart<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<Cow<'a, str>>,
    scheme: Cow<'static, str>,
}

#[derive(Serialize)]
struct EndPart<A> {
    address: A,
    port: u16,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Address<'a> {
    Name(Cow<'a, str>),
    Ip(IpAddr),
}

#[derive(Serialize)]
struct NetworkPart {
    peer: EndPart<IpAddr>,
    protocol: ProtocolPart,
}

#[derive(Serialize)]
struct ProtocolPart {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
}

#[derive(Serialize)]
struct AgentPart<'a> {
    original: Cow<'a, str>,
}

#[derive(Serialize)]
struct TimingPart {
    connect_ns: Option<u64>,
    send_ns: Option<u64>,
    ttfb_ns: Option<u64>,
    server_ns: Option<u64>,
    receive_ns: Option<u64>,
    total_ns: Option<u64>,
}

#[derive(Serialize)]
struct TcpPart {
    retransmitted: u64,
    out_of_order: u32,
    gap_bytes: u64,
    zero_windows: u32,
}

#[derive(Serialize)]
struct OwnPart<'a> {
    id: Id,
    state: &'static str,
    pair_confidence: &'static str,
    untrusted: List<Reasons<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<ArcStr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel: Option<TunnelPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inner_vlan: Option<u16>,
    #[serde(skip_serializing_if = "List::is_empty")]
    interim: List<Interims<'a>>,
    #[serde(skip_serializing_if = "List::is_empty")]
    notes: List<Notes<'a>>,
}

impl<'a> OwnPart<'a> {
    fn new(exchange: &'a Exchange, options: &'a RecordOptions) -> Self {
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
struct Id {
    flow: u64,
    index: u32,
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

struct ArcStr(Arc<str>);

impl Serialize for ArcStr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Something that yields the items of an array as often as it is asked.
trait Items {
    fn items(&self) -> impl Iterator<Item: Serialize>;
}

struct List<I>(I);

impl<I: Items> List<I> {
    fn is_empty(&self) -> bool {
        self.0.items().next().is_none()
    }
}

impl<I: Items> Serialize for List<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.items())
    }
}

struct Reasons<'a>(&'a Exchange);

impl Items for Reasons<'_> {
    fn items(&self) -> impl Iterator<Item: Serialize> {
        self.0.untrusted.names()
    }
}

struct Interims<'a>(&'a Exchange);

impl Items for Interims<'_> {
    fn items(&self) -> impl Iterator<Item: Serialize> {
        self.0.interim.iter().map(|interim| interim.status)
    }
}

struct Notes<'a>(&'a Exchange);

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

/// The selected fields: an array of values under each name in lower case, in the order of their first appearance.
///
/// Which are selected is found out once and kept as bits: there is a field or two among many. Heads of more fields than a
/// word has bits are rare, and theirs beyond are looked at each time.
struct HeaderPart<'a> {
    head: &'a Head,
    options: &'a RecordOptions,
    selector: &'a Selector<'a>,
    /// The bit of a place says that its field is selected.
    selected: u64,
    /// There are more fields than bits.
    is_long: bool,
}

impl<'a> HeaderPart<'a> {
    fn new(head: &'a Head, options: &'a RecordOptions, selector: &'a Selector<'a>) -> Self {
        let (mut selected, mut bit) = (0, 1_u64);
        for (name, _) in head.fields().take(BITS) {
            if selector.contains(name) {
                selected |= bit;
            }
            bit = bit.wrapping_shl(1);
        }
        Self { head, options, selector, selected, is_long: head.field_at(BITS).is_some() }
    }

    fn is_empty(&self) -> bool {
        self.fields_from(0).next().is_none()
    }

    /// Places, names and values of the selected fields, from place `first` on.
    fn fields_from(&self, first: usize) -> impl Iterator<Item = (usize, &'a [u8], &'a [u8])> {
        let head = self.head;
        let mut bits = if first < BITS { self.selected >> first << first } else { 0 };
        let few = std::iter::from_fn(move || {
            let place = bits.trailing_zeros() as usize;
            // Takes the lowest bit away.
            bits &= bits.checked_sub(1)?;
            head.field_at(place).map(|(name, value)| (place, name, value))
        });
        let beyond = if self.is_long { first.max(BITS)..usize::MAX } else { 0..0 };
        let beyond = beyond.map_while(|place| head.field_at(place).map(|(name, value)| (place, name, value)));
        few.chain(beyond.filter(|(_, name, _)| self.selector.contains(name)))
    }
}

/// Places that [`HeaderPart::selected`] has a bit for.
const BITS: usize = u64::BITS as usize;

impl Serialize for HeaderPart<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (at, name, _) in self.fields_from(0) {
            let mut earlier = self.fields_from(0).take_while(|(place, ..)| *place < at);
            if earlier.any(|(_, other, _)| same_name(name, other)) {
                continue;
            }
            let values = List(Values { part: self, name, at });
            // A name that is in lower case as it is needs no copy; HTTP/1 spells most with capitals.
            let mut buffer = [0; SHORT_NAME_BYTES];
            match buffer.get_mut(..name.len()) {
                Some(lower) if name.is_ascii() => {
                    lower.copy_from_slice(name);
                    lower.make_ascii_lowercase();
                    map.serialize_entry(str::from_utf8(lower).unwrap_or_default(), &values)?;
                }
                _ => map.serialize_entry(&wire_text(name).to_ascii_lowercase(), &values)?,
            }
        }
        map.end()
    }
}

/// The values of all fields called `name`; the first of them is the one at `at`.
struct Values<'a> {
    part: &'a HeaderPart<'a>,
    name: &'a [u8],
    at: usize,
}

impl Items for Values<'_> {
    fn items(&self) -> impl Iterator<Item: Serialize> {
        let is_it = |place, name| place == self.at || same_name(self.name, name);
        let same = self.part.fields_from(self.at).filter(move |(place, name, _)| is_it(*place, name));
        same.map(|(_, _, value)| self.part.options.value(self.name, value))
    }
}

/// Longer names are lowered on the heap.
const SHORT_NAME_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use gannet_http::{Interim, TcpFacts, Timing, Untrusted};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::sample::{FIRST, exchange, exchange_of, head, message, request};

    fn options() -> RecordOptions {
        let interfaces = Interfaces::default();
        interfaces.add("eth0".into());
        interfaces.add(String::new());
        RecordOptions {
            headers: HeaderSelection::default(),
            redact: true,
            routes: Routes::default(),
            interfaces,
        }
    }

    fn line(exchange: &Exchange, options: &RecordOptions) -> String {
        serde_json::to_string(&Record::new(exchange, options)).unwrap()
    }

    fn value(exchange: &Exchange, options: &RecordOptions) -> Value {
        serde_json::from_str(&line(exchange, options)).unwrap()
    }

    fn ok() -> Head {
        head(b"HTTP/1.1 200 OK", &[])
    }

    #[test]
    fn a_whole_line() {
        let fields =
            [("Host", "shop.example:8080"), ("User-Agent", "curl/8.5"), ("Accept", "*/*"), ("X", "y")];
        let request = request("GET /users/42/orders?full=1 HTTP/1.1", &fields);
        let response =
            head(b"HTTP/1.1 200 OK", &[(b"Content-Type", b"application/json"), (b"Server", b"nginx")]);
        let mut exchange = exchange(request, response);
        exchange.timing.connect = Some(70_000);
        exchange.tcp = TcpFacts {
            retransmitted_bytes: 1448,
            out_of_order: 1,
            gap_bytes: 5,
            zero_windows: 2,
            ..TcpFacts::default()
        };
        let expected = concat!(
            r#"{"timestamp":"2026-11-21T10:11:12.123456789Z","#,
            r#""http":{"request":{"method":"GET","header":{"host":["shop.example:8080"],"user-agent":["curl/8.5"]},"#,
            r#""body":{"size":0}},"#,
            r#""response":{"status_code":200,"header":{"content-type":["application/json"],"server":["nginx"]},"#,
            r#""body":{"size":1234}},"route":"/users/{id}/orders"},"#,
            r#""url":{"path":"/users/42/orders","query":"full=1","scheme":"http"},"#,
            r#""client":{"address":"10.0.0.1","port":51234},"server":{"address":"shop.example","port":8080},"#,
            r#""network":{"peer":{"address":"10.0.0.2","port":8080},"protocol":{"version":"1.1"}},"#,
            r#""user_agent":{"original":"curl/8.5"},"#,
            r#""timing":{"connect_ns":70000,"send_ns":20000,"ttfb_ns":1000000,"server_ns":980000,"#,
            r#""receive_ns":500000,"total_ns":1500000},"#,
            r#""tcp":{"retransmitted":1448,"out_of_order":1,"gap_bytes":5,"zero_windows":2},"#,
            r#""gannet":{"id":"17-3","state":"complete","pair_confidence":"high","untrusted":[],"interface":"eth0"}}"#,
        );
        assert_eq!(line(&exchange, &options()), expected);
    }

    #[test]
    fn tunnels_and_vlans_are_told() {
        use gannet_packet::TunnelKind;
        let of = |tunnel, vlans: &[u16]| {
            let mut exchange = exchange(request("GET / HTTP/1.1", &[]), ok());
            exchange.connection.around = Surroundings::sample(tunnel, vlans);
            let mut quick = Vec::new();
            Record::new(&exchange, &options()).write_json(&mut quick).unwrap();
            assert_eq!(quick, line(&exchange, &options()).as_bytes());
            let own = value(&exchange, &options())["gannet"].clone();
            [own["tunnel"].clone(), own["vlan"].clone(), own["inner_vlan"].clone()]
        };
        let vxlan = json!({"kind": "vxlan", "id": 16_777_215});
        assert_eq!(of(Some((TunnelKind::Vxlan, Some(0xff_ffff))), &[]), [vxlan, Value::Null, Value::Null]);
        let ip = json!({"kind": "ipip"});
        assert_eq!(of(Some((TunnelKind::IpInIp, None)), &[5]), [ip, json!(5), Value::Null]);
        assert_eq!(of(None, &[100, 5]), [Value::Null, json!(100), json!(5)]);
        assert_eq!(of(None, &[]), [Value::Null, Value::Null, Value::Null]);
    }

    #[test]
    fn an_orphan_response_has_no_request() {
        let mut exchange =
            exchange_of(None, Some(message(head(b"HTTP/1.0 408 Request Timeout", &[]), 3, 11, 12)));
        exchange.connection.interface = 1;
        exchange.untrusted = Untrusted { midstream: true, pairing: true, ..Untrusted::default() };
        let expected = concat!(
            r#"{"timestamp":"2026-11-21T10:11:12.123456800Z","#,
            r#""http":{"response":{"status_code":408,"body":{"size":3}}},"#,
            r#""client":{"address":"10.0.0.1","port":51234},"server":{"address":"10.0.0.2","port":8080},"#,
            r#""network":{"peer":{"address":"10.0.0.2","port":8080},"protocol":{"version":"1.0"}},"#,
            r#""timing":{"connect_ns":null,"send_ns":null,"ttfb_ns":null,"server_ns":null,"receive_ns":null,"#,
            r#""total_ns":null},"tcp":{"retransmitted":0,"out_of_order":0,"gap_bytes":0,"zero_windows":0},"#,
            r#""gannet":{"id":"17-3","state":"orphan-response","pair_confidence":"high","#,
            r#""untrusted":["midstream","pairing"]}}"#,
        );
        assert_eq!(line(&exchange, &options()), expected);
    }

    #[test]
    fn an_orphan_request_has_no_response() {
        let mut exchange = exchange_of(Some(message(request("POST /a HTTP/1.0", &[]), 9, 0, 5)), None);
        exchange.timing = Timing { send: Some(5), ..Timing::default() };
        let value = value(&exchange, &options());
        assert_eq!(value["http"], json!({"request": {"method": "POST", "body": {"size": 9}}, "route": "/a"}));
        assert_eq!(value["timing"]["send_ns"], 5);
        assert_eq!(value["network"]["protocol"]["version"], "1.0");
        assert_eq!(value["gannet"]["state"], "orphan-request");
        assert!(value.get("user_agent").is_none());
    }

    #[test]
    fn methods_that_nobody_knows() {
        for (method, known) in
            [("GET", true), ("QUERY", true), ("TRACE", true), ("get", false), ("PROPFIND", false)]
        {
            let value = value(&exchange(request(&format!("{method} / HTTP/1.1"), &[]), ok()), &options());
            let request = &value["http"]["request"];
            if known {
                assert_eq!(request["method"], method);
                assert!(request.get("method_original").is_none());
            } else {
                assert_eq!(request["method"], "_OTHER");
                assert_eq!(request["method_original"], method);
            }
        }
    }

    #[test]
    fn targets() {
        let parts = |line: &str| {
            let value = value(&exchange(request(line, &[("Host", "h")]), ok()), &options());
            (value["url"].clone(), value["server"]["address"].clone(), value["http"]["route"].clone())
        };
        assert_eq!(
            parts("GET HTTPS://u:p@o.example:1/7?a HTTP/1.1"),
            (json!({"path": "/7", "query": "a", "scheme": "https"}), json!("o.example"), json!("/{id}"))
        );
        assert_eq!(parts("CONNECT o.example:443 HTTP/1.1"), (Value::Null, json!("o.example"), Value::Null));
        assert_eq!(
            parts("OPTIONS * HTTP/1.1"),
            (json!({"path": "*", "scheme": "http"}), json!("h"), json!("*"))
        );
        assert_eq!(parts("GET /? HTTP/1.1").0, json!({"path": "/", "query": "", "scheme": "http"}));
    }

    #[test]
    fn headers_are_selected_and_gathered() {
        let fields: [(&[u8], &[u8]); 5] = [
            (b"Server", b"a"),
            (b"X-Long", b"1"),
            (b"SERVER", b"b"),
            (b"x-long", b""),
            (b"Set-Cookie", b"id=secret"),
        ];
        let exchange = exchange(request("GET / HTTP/1.1", &[]), head(b"HTTP/1.1 200 OK", &fields));
        let header = |headers| {
            let value = value(&exchange, &RecordOptions { headers, ..options() });
            value["http"]["response"].get("header").cloned()
        };
        assert_eq!(header(HeaderSelection::default()), Some(json!({"server": ["a", "b"]})));
        assert_eq!(header(HeaderSelection::Named(vec!["etag".into()])), None);
        assert_eq!(
            header(HeaderSelection::All),
            Some(json!({"server": ["a", "b"], "x-long": ["1", ""], "set-cookie": ["[REDACTED]"]}))
        );
    }

    #[test]
    fn credentials_are_masked_unless_wanted() {
        let fields = [
            ("Host", "h"),
            ("Authorization", "Bearer s3cret"),
            ("Proxy-Authorization", "Basic s3cret"),
            ("Cookie", "id=s3cret"),
            ("Referer", "http://joe:s3cret@h/?sig=s3cret"),
            ("User-Agent", "bot http://u:s3cret@h/"),
        ];
        let request =
            request("GET http://joe:s3cret@h/http://joe:s3cret@h?a=1&Signature=s3cret HTTP/1.1", &fields);
        let location: [(&[u8], &[u8]); 2] =
            [(b"Location", b"https://h/?X-Goog-Signature=s3cret&b=2"), (b"Set-Cookie", b"s3cret")];
        let exchange = exchange(request, head(b"HTTP/1.1 302 Found", &location));
        let options = RecordOptions { headers: HeaderSelection::All, ..options() };
        let masked = line(&exchange, &options);
        assert!(!masked.contains("s3cret"), "{masked}");
        let value = value(&exchange, &options);
        assert_eq!(value["url"]["query"], "a=1&Signature=REDACTED");
        assert_eq!(value["http"]["request"]["header"]["authorization"], json!(["[REDACTED]"]));
        assert_eq!(
            value["http"]["response"]["header"]["location"],
            json!(["https://h/?X-Goog-Signature=REDACTED&b=2"])
        );
        let plain = line(&exchange, &RecordOptions { redact: false, ..options });
        assert_eq!(plain.matches("s3cret").count(), 12, "{plain}");
    }

    #[test]
    fn odd_bytes_stay_in_their_place() {
        let mut exchange = exchange(
            head(
                b"G\xffT /a\xe9/b\x01?q=\"\xc3\xa9\" HTTP/1.1",
                &[(b"Host", b"h\xfe"), (b"User-Agent", b"\x1b[1m\n")],
            ),
            head(b"HTTP/1.1 200 OK", &[(b"Server\xff", b"1"), (b"Content-Type", b"\xff")]),
        );
        exchange.interim.push(Interim { status: 100, first: Timestamp(FIRST) });
        exchange.interim.push(Interim { status: 103, first: Timestamp(FIRST) });
        for message in [&mut exchange.request, &mut exchange.response] {
            let message = message.as_mut().unwrap();
            (message.head.cut, message.head.folded, message.ambiguous_length) = (true, true, true);
        }
        let options = RecordOptions { headers: HeaderSelection::All, ..options() };
        let text = line(&exchange, &options);
        assert!(text.bytes().all(|byte| byte >= b' '), "{text:?}");
        let value = value(&exchange, &options);
        assert_eq!(value["http"]["request"]["method_original"], "G\u{fffd}FFT");
        assert_eq!(value["url"]["path"], "/a\u{fffd}E9/b\u{1}");
        assert_eq!(value["url"]["query"], "q=\"é\"");
        assert_eq!(value["server"]["address"], "h\u{fffd}FE");
        assert_eq!(
            value["http"]["response"]["header"],
            json!({"server\u{fffd}ff": ["1"], "content-type": ["\u{fffd}FF"]})
        );
        assert_eq!(value["gannet"]["interim"], json!([100, 103]));
        assert_eq!(value["gannet"]["notes"].as_array().unwrap().len(), 6);
    }

    #[test]
    fn heads_of_more_fields_than_a_word_has_bits() {
        let names: Vec<_> =
            (0..130).map(|n| if n % 63 == 0 { "Server".to_owned() } else { format!("X-{n}") }).collect();
        let fields: Vec<(&[u8], &[u8])> =
            names.iter().map(|name| (name.as_bytes(), b"v".as_slice())).collect();
        let exchange = exchange(request("GET / HTTP/1.1", &[]), head(b"HTTP/1.1 200 OK", &fields));
        let header = |headers| {
            let value = value(&exchange, &RecordOptions { headers, ..options() });
            value["http"]["response"]["header"].as_object().cloned().unwrap_or_default()
        };
        let three = json!(["v", "v", "v"]);
        assert_eq!(Value::from(header(HeaderSelection::default())), json!({"server": three}));
        assert_eq!(header(HeaderSelection::Named(vec!["x-128".into()])).len(), 1);
        let all = header(HeaderSelection::All);
        assert_eq!((all.len(), &all["server"]), (128, &three));
    }

    #[test]
    fn long_selections_select_all_of_their_names() {
        let names: Vec<_> = (0..40).map(|n| format!("x-{}{n}", "long-".repeat(n % 9))).collect();
        let fields: Vec<(&[u8], &[u8])> =
            names.iter().map(|name| (name.as_bytes(), b"".as_slice())).collect();
        let selector = HeaderSelection::Named(names.clone());
        let selector = selector.selector();
        assert!(fields.iter().all(|(name, _)| selector.contains(name)));
        assert!(!fields.iter().any(|(name, _)| selector.contains(&name[1..])));
    }

    fn any_head(line: &'static str) -> impl Strategy<Value = Head> {
        let name = prop_oneof![
            "(Host|host|Server|LOCATION|User-Agent|Cookie|X-A|x-a|x-forwarded-for)"
                .prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..70),
        ];
        let value = prop_oneof![
            "[ -~]{0,40}".prop_map(String::into_bytes),
            "https?://(u:p@)?[a-z]{0,9}/(\\?sig=[a-z\"\\\\]{0,9})?".prop_map(String::into_bytes),
            proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'"'), Just(b'\\'), Just(b'\n')], 0..40),
        ];
        proptest::collection::vec((name, value), 0..70).prop_map(move |fields| {
            let fields: Vec<_> =
                fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
            head(line.as_bytes(), &fields)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// Against `serde_json`.
        #[test]
        fn lines_are_those_of_serde_json(
            request in any_head("P\u{e9}T /a/42\"/\u{1}?b=\\&sig=1 HTTP/1.1"), response in any_head("HTTP/1.0 503 X"),
            ends in 0..3_u8, selection in 0..3_u8, redact: bool, v6: bool, numbers: [u64; 8], flags: [bool; 5],
        ) {
            let request = (ends != 1).then(|| message(request, numbers[0], 0, 1));
            let response = (ends != 2).then(|| message(response, numbers[1], 2, 3));
            let mut exchange = exchange_of(request, response);
            if let Some(request) = &mut exchange.request {
                request.first = Timestamp(numbers[2]);
                request.ambiguous_length = flags[0];
            }
            if v6 {
                exchange.connection.server.address = IpAddr::from(u128::from(numbers[3]).to_be_bytes());
            }
            (exchange.connection.flow, exchange.index) = (numbers[4], numbers[5] as u32);
            exchange.timing.connect = flags[1].then_some(numbers[6]);
            exchange.untrusted = Untrusted { gap: flags[2], pairing: flags[3], ..Untrusted::default() };
            exchange.tcp.gap_bytes = numbers[7];
            if flags[4] {
                exchange.interim = vec![Interim { status: 103, first: Timestamp(FIRST) }; 2];
            }
            let headers = match selection {
                0 => HeaderSelection::default(),
                1 => HeaderSelection::Named(vec!["x-a".into(), "cookie".into()]),
                _ => HeaderSelection::All,
            };
            let options = RecordOptions { headers, redact, ..options() };
            let mut written = Vec::new();
            Record::new(&exchange, &options).write_json(&mut written).unwrap();
            prop_assert_eq!(String::from_utf8(written).unwrap(), line(&exchange, &options));
        }
    }
}
