//! The record of what is known before an exchange is complete: a request or a response that is over, an interim
//! response, a request that waits for its answer.
//!
//! The names are those of an exchange's record, `gannet.event` says what it is, and only what is known is there:
//!
//! * `request`: `http.request`, `url`, `timing.send_ns`. `response`: `http.response`, `timing.receive_ns`, and of its
//!   request, if that is known, the head. `interim`: `http.response` without a body, and the like of its request.
//!   `pending`: the head of the request, and how long it has been waiting, `gannet.waited_ns`.
//! * `timestamp` is the first byte of the message that it is about; of the request, if it is `pending`.
//! * `gannet.id` is that of the exchange to come, and is absent while it is not known which request a response answers.
//!   `gannet.complete` is whether a message was seen to its end.

use std::borrow::Cow;
use std::fmt;

use gannet_http::{
    Connection, ExchangeId, Head, HeadKind, HeadReport, Message, MessageReport, PendingRequest,
};
use gannet_packet::Timestamp;
use serde::{Serialize, Serializer};

use super::headers::{HeaderPart, Scan};
use super::message::{RequestPart, ResponsePart, reason_phrase};
use super::origin::Said;
use super::own::{ArcStr, TunnelPart, inner_vlan};
use super::parts::{Address, AgentPart, ClientPart, EndPart, HostPart, NetworkPart, UrlPart};
use super::{OTHER_METHOD, RecordOptions, known_method, path_of, query_of, write_line};
use crate::json::Plain;
use crate::locator::{ID_BYTES_MAX, id_text};
use crate::short::Short;
use crate::text::Wire;
use crate::time::Rfc3339;
use crate::url::Url;
use crate::wire_text;

/// An event as it is reported; `Serialize` is a line of `jsonl`. As with [`Record`](crate::Record), what the methods
/// yield is masked where the options say so, and is not yet fit for a terminal.
#[derive(Clone, Copy)]
pub struct EventRecord<'a> {
    event: Event,
    connection: &'a Connection,
    index: Option<u32>,
    first: Timestamp,
    request: Option<Side<'a>>,
    response: Option<Side<'a>>,
    waited_ns: Option<u64>,
    options: &'a RecordOptions,
    url: Option<Url<'a>>,
}

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Request,
    Interim,
    Response,
    Pending,
}

/// What is known of a message: its head, or all of it.
#[derive(Clone, Copy)]
struct Side<'a> {
    head: &'a Head,
    message: Option<&'a Message>,
}

impl<'a> EventRecord<'a> {
    /// Of a message that is over.
    pub fn of_message(report: &'a MessageReport, options: &'a RecordOptions) -> Self {
        let MessageReport { connection, kind, index, request, message, .. } = report;
        let whole = Some(Side { head: &message.head, message: Some(message) });
        let asked = request.as_deref().map(|head| Side { head, message: None });
        let (event, request, response) = match kind {
            HeadKind::Request => (Event::Request, whole, None),
            HeadKind::Interim => (Event::Interim, asked, whole),
            HeadKind::Response => (Event::Response, asked, whole),
        };
        Self::new(event, connection, *index, message.first, [request, response], options)
    }

    /// Of a head that has been read: all that there is of an interim response.
    pub fn of_head(report: &'a HeadReport, options: &'a RecordOptions) -> Self {
        let HeadReport { connection, kind, index, head, request, first, .. } = report;
        let side = Some(Side { head, message: None });
        let asked = request.as_deref().map(|head| Side { head, message: None });
        let (event, sides) = match kind {
            HeadKind::Request => (Event::Request, [side, None]),
            HeadKind::Interim => (Event::Interim, [asked, side]),
            HeadKind::Response => (Event::Response, [asked, side]),
        };
        Self::new(event, connection, *index, *first, sides, options)
    }

    /// Of a request that waits for its answer.
    pub fn of_pending(request: &'a PendingRequest, options: &'a RecordOptions) -> Self {
        let PendingRequest { connection, index, head, first, now } = request;
        let side = Some(Side { head, message: None });
        let waited_ns = now.time.0.saturating_sub(first.0);
        let record = Self::new(Event::Pending, connection, Some(*index), *first, [side, None], options);
        Self { waited_ns: Some(waited_ns), ..record }
    }

    fn new(
        event: Event,
        connection: &'a Connection,
        index: Option<u32>,
        first: Timestamp,
        [request, response]: [Option<Side<'a>>; 2],
        options: &'a RecordOptions,
    ) -> Self {
        let url = request.map(|side| Url::of(side.head));
        Self { event, connection, index, first, request, response, waited_ns: None, options, url }
    }

    /// Appends the record to `out` as a line of `jsonl`, without the line's end.
    pub fn write_json(&self, out: &mut Vec<u8>) -> fmt::Result {
        self.with_line(|line| write_line(line, line.http.room(), self.options, out))
    }

    /// `request`, `interim`, `response` or `pending`.
    pub fn event(&self) -> &'static str {
        match self.event {
            Event::Request => "request",
            Event::Interim => "interim",
            Event::Response => "response",
            Event::Pending => "pending",
        }
    }

    /// The connection.
    pub fn connection(&self) -> &'a Connection {
        self.connection
    }

    /// The first byte of the message that it is about.
    pub fn timestamp(&self) -> Timestamp {
        self.first
    }

    /// The method as sent.
    pub fn method(&self) -> Option<Cow<'a, str>> {
        self.request.map(|side| wire_text(side.head.method()))
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

    /// The status code of the response that it is about.
    pub fn status(&self) -> Option<u16> {
        self.response.and_then(|side| side.head.status())
    }

    /// Bytes of the body of the message that it is about, if that is over.
    pub fn body_bytes(&self) -> Option<u64> {
        self.message().map(|message| message.body_bytes)
    }

    /// Whether the message was seen to its end; `None` if it is not over.
    pub fn complete(&self) -> Option<bool> {
        self.message().map(|message| message.complete)
    }

    /// From the first to the last byte of the message that it is about, in nanoseconds; how long a request has been
    /// waiting.
    pub fn duration_ns(&self) -> Option<u64> {
        let message = self.message().filter(|message| message.complete);
        self.waited_ns.or(message.map(|message| message.last.0.saturating_sub(message.first.0)))
    }

    fn message(&self) -> Option<&'a Message> {
        [self.request, self.response].into_iter().flatten().find_map(|side| side.message)
    }
}

impl Serialize for EventRecord<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.with_line(|line| line.serialize(serializer))
    }
}

impl EventRecord<'_> {
    /// Lets `write` do something with the line: bodies are decoded once, however often it is written.
    #[inline]
    fn with_line<T>(&self, write: impl FnOnce(&Line<'_>) -> T) -> T {
        let Self { connection, options, .. } = *self;
        let path = self.path();
        let host = self.url.and_then(|url| url.host);
        let (asked, answered) = (
            self.request.map(|side| Scan::new(side.head, &options.headers)),
            self.response.map(|side| Scan::new(side.head, &options.headers)),
        );
        let said =
            Said::new(self.request.map(|side| side.head).zip(asked.as_ref()), answered.as_ref(), options);
        let duration = self.duration_ns();
        let line = Line {
            timestamp: Rfc3339(self.first),
            http: HttpPart {
                request: self
                    .request
                    .zip(asked.as_ref())
                    .map(|(side, scan)| RequestSide::new(side, scan, said.request_id, options)),
                response: self
                    .response
                    .zip(answered.as_ref())
                    .map(|(side, scan)| ResponseSide::new(side, scan, options)),
                route: path.as_deref().map(|path| options.routes.route_of(path, said.operation.as_deref())),
            },
            url: UrlPart::new(self.request.map(|side| side.head), self.url, path.as_deref(), options),
            client: ClientPart::new(connection, said.forwarded_for),
            server: EndPart::server(connection, host),
            network: NetworkPart::new(connection, self.response.or(self.request).map(|side| side.head)),
            user_agent: said.agent.map(|original| AgentPart { original }),
            trace_id: said.trace_id,
            span_id: said.span_id,
            host: HostPart::new(options),
            timing: TimingPart {
                send_ns: duration.filter(|_| self.event == Event::Request),
                receive_ns: duration.filter(|_| self.event == Event::Response),
            },
            gannet: OwnPart {
                event: Plain::name(self.event()),
                id: self.index.map(|index| id_text(ExchangeId { connection: connection.id, index })),
                complete: self.complete(),
                operation: said.operation.as_deref(),
                waited_ns: self.waited_ns,
                interface: options.interfaces.shared_name(connection.interface).map(ArcStr),
                tunnel: TunnelPart::of(&connection.around),
                vlan: connection.around.vlans().outermost(),
                inner_vlan: inner_vlan(&connection.around),
            },
        };
        write(&line)
    }
}

#[derive(Serialize)]
struct Line<'a> {
    timestamp: Rfc3339,
    http: HttpPart<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<UrlPart<'a>>,
    client: ClientPart<'a>,
    server: EndPart<Address<'a>>,
    network: NetworkPart<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<AgentPart<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<HostPart<'a>>,
    #[serde(skip_serializing_if = "TimingPart::is_empty")]
    timing: TimingPart,
    gannet: OwnPart<'a>,
}

#[derive(Serialize)]
struct HttpPart<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<RequestSide<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<ResponseSide<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<Cow<'a, str>>,
}

impl HttpPart<'_> {
    /// As that of an exchange's record.
    fn room(&self) -> usize {
        let request = self.request.as_ref().map_or(0, |request| match request {
            RequestSide::Message(message) => message.room,
            RequestSide::Head { .. } => 0,
        });
        let response = self.response.as_ref().map_or(0, |response| match response {
            ResponseSide::Message(message) => message.room,
            ResponseSide::Head { .. } => 0,
        });
        request + response
    }
}

/// A request, or its head.
#[derive(Serialize)]
#[serde(untagged)]
enum RequestSide<'a> {
    Message(RequestPart<'a>),
    Head {
        method: Plain<'static>,
        #[serde(skip_serializing_if = "Option::is_none")]
        method_original: Option<Wire<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<Wire<'a>>,
        #[serde(skip_serializing_if = "HeaderPart::is_empty")]
        header: HeaderPart<'a>,
    },
}

impl<'a> RequestSide<'a> {
    fn new(side: Side<'a>, scan: &'a Scan<'a>, id: Option<&'a [u8]>, options: &'a RecordOptions) -> Self {
        if let Some(message) = side.message {
            return Self::Message(RequestPart::new(message, scan, id, options));
        }
        let original = side.head.method();
        let known = known_method(original);
        Self::Head {
            method: Plain::name(known.unwrap_or(OTHER_METHOD)),
            method_original: known.is_none().then_some(Wire(original)),
            id: id.map(Wire),
            header: HeaderPart::new(scan, options),
        }
    }
}

/// A response, or its head.
#[derive(Serialize)]
#[serde(untagged)]
enum ResponseSide<'a> {
    Message(ResponsePart<'a>),
    Head {
        #[serde(skip_serializing_if = "Option::is_none")]
        status_code: Option<u16>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason_phrase: Option<Wire<'a>>,
        #[serde(skip_serializing_if = "HeaderPart::is_empty")]
        header: HeaderPart<'a>,
    },
}

impl<'a> ResponseSide<'a> {
    fn new(side: Side<'a>, scan: &'a Scan<'a>, options: &'a RecordOptions) -> Self {
        if let Some(message) = side.message {
            return Self::Message(ResponsePart::new(message, scan, options));
        }
        Self::Head {
            status_code: side.head.status(),
            reason_phrase: reason_phrase(side.head),
            header: HeaderPart::new(scan, options),
        }
    }
}

#[derive(Serialize)]
struct TimingPart {
    #[serde(skip_serializing_if = "Option::is_none")]
    send_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receive_ns: Option<u64>,
}

impl TimingPart {
    fn is_empty(&self) -> bool {
        self.send_ns.is_none() && self.receive_ns.is_none()
    }
}

#[derive(Serialize)]
struct OwnPart<'a> {
    event: Plain<'static>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Short<ID_BYTES_MAX>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    complete: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waited_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<ArcStr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel: Option<TunnelPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inner_vlan: Option<u16>,
}

#[cfg(test)]
mod tests {
    use gannet_flow::Moment;
    use serde_json::{Value, json};

    use super::*;
    use crate::sample::{FIRST, exchange, head, message, request};

    fn options() -> RecordOptions {
        RecordOptions::default()
    }

    fn connection() -> Connection {
        exchange(asked(), head(b"HTTP/1.1 200 OK", &[])).connection
    }

    fn asked() -> Head {
        request("PURGE /users/7?sig=abc HTTP/1.1", &[("Host", "shop.example"), ("Authorization", "Basic x")])
    }

    /// As `serde_json` has it, and so does the writer of lines.
    fn value(record: &EventRecord<'_>) -> Value {
        let mut line = Vec::new();
        record.write_json(&mut line).unwrap();
        assert_eq!(String::from_utf8(line).unwrap(), serde_json::to_string(record).unwrap());
        serde_json::to_value(record).unwrap()
    }

    fn report(kind: HeadKind, message: Message, request: Option<Head>) -> MessageReport {
        let now = Moment { time: message.last, position: 9 };
        let request = request.map(Box::new);
        MessageReport { connection: connection(), kind, index: Some(3), request, message, now }
    }

    #[test]
    fn a_request_says_what_is_known() {
        let report = report(HeadKind::Request, message(asked(), 12, 0, 5_000), None);
        let ends = json!({"client": {"address": "10.0.0.1", "port": 51234}});
        let found = value(&EventRecord::of_message(&report, &options()));
        let expected = json!({
            "timestamp": "2026-11-21T10:11:12.123456789Z",
            "http": {
                "request": {
                    "method": "_OTHER", "method_original": "PURGE", "header": {"host": ["shop.example"]},
                    "size": 91, "body": {"size": 12},
                },
                "route": "/users/{id}",
            },
            "url": {"path": "/users/7", "query": "sig=REDACTED", "scheme": "http"},
            "client": ends["client"],
            "server": {"address": "shop.example", "port": 8080},
            "network": {"peer": {"address": "10.0.0.2", "port": 8080}, "protocol": {"version": "1.1"}},
            "timing": {"send_ns": 5000},
            "gannet": {"event": "request", "id": "AAAAAAAAAAAAAAAAAAAAAAAAAA-3", "complete": true},
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn a_response_knows_its_request_or_does_not() {
        let answer = || Message { complete: false, ..message(head(b"HTTP/1.1 503 No", &[]), 7, 9, 20) };
        let known = report(HeadKind::Response, answer(), Some(asked()));
        let found = value(&EventRecord::of_message(&known, &options()));
        assert_eq!(found["timestamp"], "2026-11-21T10:11:12.123456798Z");
        assert_eq!(
            found["http"]["response"],
            json!({"status_code": 503, "reason_phrase": "No", "size": 26, "body": {"size": 7}})
        );
        assert_eq!(found["http"]["request"]["method_original"], "PURGE");
        assert_eq!(found["http"]["request"].get("body"), None, "nothing is known of it here");
        assert_eq!(
            found["gannet"],
            json!({"event": "response", "id": "AAAAAAAAAAAAAAAAAAAAAAAAAA-3", "complete": false})
        );
        // A response that is cut off has no end to reckon with.
        assert_eq!(found.get("timing"), None);

        let unknown = MessageReport { index: None, request: None, ..known };
        let found = value(&EventRecord::of_message(&unknown, &options()));
        assert_eq!(
            found["http"],
            json!({"response": {"status_code": 503, "reason_phrase": "No", "size": 26, "body": {"size": 7}}})
        );
        assert_eq!((found.get("url"), &found["server"]["address"]), (None, &json!("10.0.0.2")));
        assert_eq!(found["gannet"], json!({"event": "response", "complete": false}));
    }

    #[test]
    fn heads_and_waiting_requests() {
        let now = Moment { time: Timestamp(FIRST + 2_000_000_000), position: 4 };
        let first = Timestamp(FIRST);
        let interim = HeadReport {
            connection: connection(),
            kind: HeadKind::Interim,
            index: Some(0),
            head: head(b"HTTP/1.1 103 Early Hints", &[(b"Server", b"x")]),
            request: None,
            first,
            now,
        };
        let found = value(&EventRecord::of_head(&interim, &options()));
        assert_eq!(
            found["http"],
            json!({"response": {"status_code": 103, "reason_phrase": "Early Hints", "header": {"server": ["x"]}}})
        );
        assert_eq!(found["gannet"], json!({"event": "interim", "id": "AAAAAAAAAAAAAAAAAAAAAAAAAA-0"}));
        let pending = PendingRequest { connection: connection(), index: 1, head: asked(), first, now };
        let options = options();
        let record = EventRecord::of_pending(&pending, &options);
        let found = value(&record);
        assert_eq!(found["http"]["request"].get("body"), None);
        assert_eq!(
            found["gannet"],
            json!({"event": "pending", "id": "AAAAAAAAAAAAAAAAAAAAAAAAAA-1", "waited_ns": 2_000_000_000_u64})
        );
        assert_eq!((record.duration_ns(), record.complete()), (Some(2_000_000_000), None));
        assert_eq!(record.query().as_deref(), Some("sig=REDACTED"));
    }
}
