//! What is known of an exchange because it was made here: facts, the time of every edge, and the record that follows.
//!
//! ```text
//!   client  SYN ─►            ACK ─► │ first ······ head end ······ last │
//!   server         ◄─ SYN ACK        │                                   │ first ······ head end ······ last
//!           ├──────── connect ───────┤ ├───────────── send ─────────────┤
//!                                      ├─────────────── ttfb ──────────────┤├──────── receive ────────────┤
//!                                                                       ├──┤ server
//!                                      ├──────────────────────── total ───────────────────────────────────┤
//! ```
//! An edge's time is the capture time of the packet that first carried its byte. The record has the names and the
//! shape of `gannet http -o jsonl`; [`check`] compares the two.

mod compare;

pub use compare::{Difference, Outcome, check};

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

/// When the edges of a message passed the capture point, in ns since 1970; `None`: not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edges {
    /// Its first byte.
    pub first: Option<u64>,
    /// The last byte of its head.
    pub head_end: Option<u64>,
    /// Its last byte.
    pub last: Option<u64>,
}

/// When everything happened that durations are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// The handshake's three packets; `None` but for the first exchange of a connection.
    pub handshake: Option<Handshake>,
    /// The request.
    pub request: Edges,
    /// The final response.
    pub response: Edges,
    /// The last byte of the previous response on the connection.
    pub previous_response_last: Option<u64>,
}

/// When the three packets of a handshake passed, in ns since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Handshake {
    pub syn: u64,
    pub syn_ack: u64,
    pub ack: u64,
}

/// Durations in ns, as records call them; `None` if an edge is missing or the difference negative.
impl Times {
    /// From the SYN to the end of the handshake.
    pub fn connect(&self) -> Option<u64> {
        self.handshake.and_then(|handshake| handshake.ack.checked_sub(handshake.syn))
    }

    /// The request, first to last byte.
    pub fn send(&self) -> Option<u64> {
        self.request.last?.checked_sub(self.request.first?)
    }

    /// From the request's first to the response's first byte.
    pub fn ttfb(&self) -> Option<u64> {
        self.response.first?.checked_sub(self.request.first?)
    }

    /// From the request's last byte, or the previous response's if that came later, to the response's first.
    pub fn server(&self) -> Option<u64> {
        let ready = self.request.last?.max(self.previous_response_last.unwrap_or(0));
        self.response.first?.checked_sub(ready)
    }

    /// The response, first to last byte.
    pub fn receive(&self) -> Option<u64> {
        self.response.last?.checked_sub(self.response.first?)
    }

    /// From the request's first to the response's last byte.
    pub fn total(&self) -> Option<u64> {
        self.response.last?.checked_sub(self.request.first?)
    }

    /// The request began before the previous response had ended.
    pub fn pipelined(&self) -> bool {
        matches!((self.request.first, self.previous_response_last), (Some(first), Some(last)) if first < last)
    }
}

/// What the messages of an exchange say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// As sent.
    pub method: String,
    /// As sent: path and query.
    pub target: String,
    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    pub minor: u8,
    /// All fields in order, names as sent.
    pub request_headers: Vec<(String, String)>,
    /// Bytes of the request's body on the wire after removing the chunk framing.
    pub request_body_bytes: u64,
    /// The final response; `None` while there is none.
    pub response: Option<ResponseFacts>,
}

/// What the response of an exchange says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseFacts {
    /// The status code.
    pub status: u16,
    /// All fields in order, names as sent.
    pub headers: Vec<(String, String)>,
    /// Bytes of the body on the wire after removing the chunk framing.
    pub body_bytes: u64,
}

/// What TCP went through between the beginning of an exchange and its completion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TcpTruth {
    /// Payload bytes captured again in another packet; `retransmitted` in the record.
    #[serde(rename = "retransmitted")]
    pub retransmitted_bytes: u64,
    /// Segments that brought bytes from before the newest seen.
    pub out_of_order: u32,
    /// Bytes of the exchange that no captured packet carried.
    pub gap_bytes: u64,
    /// Segments that announced a window of zero.
    pub zero_windows: u32,
}

/// One exchange, known to the last nanosecond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// The client's address and port.
    pub client: SocketAddr,
    /// The server's.
    pub server: SocketAddr,
    /// What its messages say.
    pub facts: Facts,
    /// When.
    pub times: Times,
    /// What TCP went through.
    pub tcp: TcpTruth,
    /// Every byte of both messages is in the capture.
    pub whole: bool,
}

impl Truth {
    /// The value of the request's `Host`.
    pub fn host(&self) -> Option<&str> {
        let named = |(name, _): &&(String, String)| name.eq_ignore_ascii_case("host");
        self.facts.request_headers.iter().find(named).map(|(_, value)| value.as_str())
    }

    /// Writes the record, one line of JSON.
    ///
    /// `gannet.state` is `complete` for an exchange that is whole and left out otherwise: what becomes of a damaged
    /// one is for the test to say.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut impl io::Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, &self.record())?;
        out.write_all(b"\n")
    }

    fn record(&self) -> Record<'_> {
        let facts = &self.facts;
        let times = &self.times;
        let (path, query) = match facts.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (facts.target.as_str(), None),
        };
        let request_headers = shown(&facts.request_headers);
        let user_agent = request_headers.get("user-agent").and_then(|values| values.first().copied());
        let address =
            self.host().map_or_else(|| self.server.ip().to_string(), |host| without_port(host).to_owned());
        Record {
            timestamp: times.request.first.map(rfc3339),
            http: Http {
                request: RequestPart {
                    method: &facts.method,
                    header: request_headers,
                    body: Size { size: facts.request_body_bytes },
                },
                response: facts.response.as_ref().map(|response| ResponsePart {
                    status_code: response.status,
                    header: shown(&response.headers),
                    body: Size { size: response.body_bytes },
                }),
            },
            url: Url { path, query, scheme: "http" },
            client: Place { address: self.client.ip().to_string(), port: self.client.port() },
            server: Place { address, port: self.server.port() },
            network: Network {
                peer: PeerPart { address: self.server.ip(), port: self.server.port() },
                protocol: Protocol { version: if facts.minor == 0 { "1.0" } else { "1.1" } },
            },
            user_agent: user_agent.map(|original| UserAgent { original }),
            timing: Timing {
                connect_ns: times.connect(),
                send_ns: times.send(),
                ttfb_ns: times.ttfb(),
                server_ns: times.server(),
                receive_ns: times.receive(),
                total_ns: times.total(),
            },
            tcp: self.tcp,
            gannet: self.whole.then_some(Gannet { state: "complete" }),
        }
    }
}

/// The header fields that a record shows by default.
pub const SHOWN_HEADERS: [&str; 8] = [
    "host",
    "user-agent",
    "content-type",
    "content-length",
    "location",
    "server",
    "x-forwarded-for",
    "traceparent",
];

/// UTC with nine digits. A time past the year 9999 has no such form and comes out empty.
pub fn rfc3339(time_ns: u64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(time_ns))
        .map_or_else(|_| String::new(), |time| format!("{time:.9}"))
}

fn shown(headers: &[(String, String)]) -> BTreeMap<&'static str, Vec<&str>> {
    let mut shown: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (name, value) in headers {
        if let Some(known) = SHOWN_HEADERS.iter().find(|known| known.eq_ignore_ascii_case(name)) {
            shown.entry(*known).or_default().push(value.as_str());
        }
    }
    shown
}

/// RFC 3986: a port follows the last colon, unless that is inside the brackets of an IPv6 address.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[derive(Serialize)]
struct Record<'a> {
    timestamp: Option<String>,
    http: Http<'a>,
    url: Url<'a>,
    client: Place,
    server: Place,
    network: Network,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<UserAgent<'a>>,
    timing: Timing,
    tcp: TcpTruth,
    #[serde(skip_serializing_if = "Option::is_none")]
    gannet: Option<Gannet>,
}

#[derive(Serialize)]
struct Http<'a> {
    request: RequestPart<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<ResponsePart<'a>>,
}

#[derive(Serialize)]
struct RequestPart<'a> {
    method: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    header: BTreeMap<&'static str, Vec<&'a str>>,
    body: Size,
}

#[derive(Serialize)]
struct ResponsePart<'a> {
    status_code: u16,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    header: BTreeMap<&'static str, Vec<&'a str>>,
    body: Size,
}

#[derive(Serialize)]
struct Size {
    size: u64,
}

#[derive(Serialize)]
struct Url<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<&'a str>,
    scheme: &'static str,
}

#[derive(Serialize)]
struct Place {
    address: String,
    port: u16,
}

#[derive(Serialize)]
struct Network {
    peer: PeerPart,
    protocol: Protocol,
}

#[derive(Serialize)]
struct PeerPart {
    address: IpAddr,
    port: u16,
}

#[derive(Serialize)]
struct Protocol {
    version: &'static str,
}

#[derive(Serialize)]
struct UserAgent<'a> {
    original: &'a str,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the record's names have the unit")]
struct Timing {
    connect_ns: Option<u64>,
    send_ns: Option<u64>,
    ttfb_ns: Option<u64>,
    server_ns: Option<u64>,
    receive_ns: Option<u64>,
    total_ns: Option<u64>,
}

#[derive(Serialize)]
struct Gannet {
    state: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn example() -> Truth {
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Truth {
            client: "192.0.2.1:50000".parse().unwrap(),
            server: "[2001:db8::5]:80".parse().unwrap(),
            facts: Facts {
                method: "GET".to_owned(),
                target: "/a/b?c=d?e".to_owned(),
                minor: 1,
                request_headers: vec![
                    field("HOST", "example.org:8080"),
                    field("Cookie", "a=b"),
                    field("X-Forwarded-For", "192.0.2.7"),
                    field("x-forwarded-for", "192.0.2.8"),
                ],
                request_body_bytes: 0,
                response: Some(ResponseFacts { status: 404, headers: Vec::new(), body_bytes: 9 }),
            },
            times: Times {
                handshake: Some(Handshake { syn: 5, syn_ack: 8, ack: 9 }),
                request: Edges { first: Some(10), head_end: Some(12), last: Some(14) },
                response: Edges { first: Some(20), head_end: Some(20), last: Some(31) },
                previous_response_last: None,
            },
            tcp: TcpTruth::default(),
            whole: true,
        }
    }

    #[test]
    fn the_record_as_the_contract_has_it() {
        let mut out = Vec::new();
        example().write(&mut out).unwrap();
        let expected = serde_json::json!({
            "timestamp": "1970-01-01T00:00:00.000000010Z",
            "http": {
                "request": {
                    "method": "GET",
                    "header": {"host": ["example.org:8080"], "x-forwarded-for": ["192.0.2.7", "192.0.2.8"]},
                    "body": {"size": 0},
                },
                "response": {"status_code": 404, "body": {"size": 9}},
            },
            "url": {"path": "/a/b", "query": "c=d?e", "scheme": "http"},
            "client": {"address": "192.0.2.1", "port": 50000},
            "server": {"address": "example.org", "port": 80},
            "network": {"peer": {"address": "2001:db8::5", "port": 80}, "protocol": {"version": "1.1"}},
            "timing": {
                "connect_ns": 4, "send_ns": 4, "ttfb_ns": 10, "server_ns": 6, "receive_ns": 11, "total_ns": 21,
            },
            "tcp": {"retransmitted": 0, "out_of_order": 0, "gap_bytes": 0, "zero_windows": 0},
            "gannet": {"state": "complete"},
        });
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&out).unwrap(), expected);
        assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 1);
    }

    #[test]
    fn the_server_is_ready_when_both_the_request_and_the_previous_response_have_ended() {
        let mut times = example().times;
        assert!(!times.pipelined());
        times.previous_response_last = Some(18);
        assert_eq!((times.server(), times.pipelined()), (Some(2), true));
        times.previous_response_last = None;
        times.request.last = Some(21);
        assert_eq!(times.server(), None, "an answer before the request's end has no server time");
    }

    #[test]
    fn hosts_without_ports() {
        for (host, name) in [("a.b", "a.b"), ("a.b:80", "a.b"), ("[::1]:8080", "[::1]"), ("[::1]", "[::1]")] {
            assert_eq!(without_port(host), name);
        }
    }

    #[test]
    fn times_in_words() {
        assert_eq!(rfc3339(1_768_471_200_000_000_001), "2026-01-15T10:00:00.000000001Z");
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000000Z");
    }
}
