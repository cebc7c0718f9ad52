//! Exchanges made by hand, for this crate's tests.

use std::net::Ipv4Addr;

use gannet_http::{
    Confidence, Connection, Exchange, Field, Head, Message, Oddities, Reason, StartLine, State, TcpFacts,
    Timing, Untrusted,
};
use gannet_packet::{Endpoint, Surroundings, Timestamp};

/// 2026-11-21T10:11:12.123456789Z
pub const FIRST: u64 = 1_795_255_872_123_456_789;

/// A request's head.
pub fn request(line: &str, fields: &[(&str, &str)]) -> Head {
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    head(line.as_bytes(), &fields)
}

/// A head of either kind, from its start line without the line's end.
pub fn head(line: &[u8], fields: &[(&[u8], &[u8])]) -> Head {
    let mut raw = line.to_vec();
    raw.extend_from_slice(b"\r\n");
    let blank = |n: usize| {
        line.iter().enumerate().filter(|(_, b)| **b == b' ').nth(n).map_or(line.len(), |(at, _)| at)
    };
    let start = if line.starts_with(b"HTTP/") {
        StartLine::Response {
            status: str::from_utf8(&line[9..12]).unwrap().parse().ok(),
            reason: (blank(1) as u32 + 1).min(line.len() as u32)..line.len() as u32,
            minor: line[7] - b'0',
        }
    } else {
        let last = line.iter().rposition(|b| *b == b' ').unwrap();
        StartLine::Request {
            method: 0..blank(0) as u32,
            target: blank(0) as u32 + 1..last as u32,
            minor: line[line.len() - 1] - b'0',
        }
    };
    let mut ranges = Vec::new();
    for (name, value) in fields {
        let at = raw.len();
        raw.extend_from_slice(name);
        raw.extend_from_slice(b": ");
        let value_at = raw.len();
        raw.extend_from_slice(value);
        ranges.push(Field {
            name: at as u32..(at + name.len()) as u32,
            value: value_at as u32..raw.len() as u32,
        });
        raw.extend_from_slice(b"\r\n");
    }
    raw.extend_from_slice(b"\r\n");
    Head::new(&raw, start, &ranges)
}

/// A message of `body` bytes that takes from `first` to `last` nanoseconds after [`FIRST`].
pub fn message(head: Head, body: u64, first: u64, last: u64) -> Message {
    let wire_bytes = head.raw().len() as u64 + body;
    Message {
        head,
        first: Timestamp(FIRST + first),
        head_end: Timestamp(FIRST + first),
        last: Timestamp(FIRST + last),
        last_seen: true,
        body_bytes: body,
        wire_bytes,
        complete: true,
        gap_bytes: 0,
        ambiguous_length: false,
        body: [].into(),
        trailers: None,
        oddities: Oddities::default(),
    }
}

/// A complete exchange, answered after 1 ms.
pub fn exchange(request: Head, response: Head) -> Exchange {
    exchange_of(Some(message(request, 0, 0, 20_000)), Some(message(response, 1234, 1_000_000, 1_500_000)))
}

/// An exchange of what there is.
pub fn exchange_of(request: Option<Message>, response: Option<Message>) -> Exchange {
    let state = match (&request, &response) {
        (Some(_), Some(_)) => State::Complete,
        (Some(_), None) => State::OrphanRequest,
        (None, _) => State::OrphanResponse,
    };
    let mut timing = Timing::default();
    if let (Some(request), Some(response)) = (&request, &response) {
        timing = Timing {
            connect: None,
            send: Some(request.last.0 - request.first.0),
            ttfb: Some(response.first.0 - request.first.0),
            server: Some(response.first.0 - request.last.0),
            receive: Some(response.last.0 - response.first.0),
            total: Some(response.last.0 - request.first.0),
            ..Timing::default()
        };
    }
    let end = |host: u8, port| Endpoint { address: Ipv4Addr::new(10, 0, 0, host).into(), port };
    Exchange {
        connection: Connection {
            flow: 17,
            id: "AAAAAAAAAAAAAAAAAAAAAAAAAA".parse().unwrap(),
            client: end(1, 51234),
            server: end(2, 8080),
            interface: 0,
            around: Surroundings::NONE,
            midstream: false,
        },
        index: 3,
        completed: Default::default(),
        state,
        reason: Reason::Framing,
        confidence: Confidence::High,
        request,
        interim: Vec::new(),
        response,
        timing,
        untrusted: Untrusted::default(),
        tcp: TcpFacts::default(),
        tunnel: None,
    }
}
