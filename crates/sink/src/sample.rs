//! Exchanges made by hand, for this crate's tests.

use std::net::Ipv4Addr;

use gannet_http::{
    Confidence, Connection, Exchange, Field, Head, Message, Oddities, Reason, StartLine, State, TcpFacts,
    Timing, Untrusted,
};
use gannet_packet::{Endpoint, Surroundings, Timestamp};
use gannet_record::RecordOptions;

use crate::{Batch, Event};

/// 2026-11-21T10:11:12.123456789Z
const FIRST: u64 = 1_795_255_872_123_456_789;

/// What records show in tests.
pub fn options() -> RecordOptions {
    RecordOptions::default()
}

/// A complete exchange: `GET target` for `host`, answered with `status` and 4,242 bytes after 1.3 ms.
pub fn exchange(host: &[u8], target: &[u8], status: u16) -> Exchange {
    let request = [b"GET ", target, b" HTTP/1.1\r\nHost: ", host, b"\r\n\r\n"].concat();
    let target_end = 4 + target.len() as u32;
    let name = target_end + 11;
    let field = Field { name: name..name + 4, value: name + 6..name + 6 + host.len() as u32 };
    let start = StartLine::Request { method: 0..3, target: 4..target_end, minor: 1 };
    let request = Head::new(&request, start, &[field]);
    let start = StartLine::Response { status: Some(status), reason: 0..0, minor: 1 };
    let response = Head::new(&[], start, &[]);
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
        index: 0,
        completed: Default::default(),
        state: State::Complete,
        reason: Reason::Framing,
        confidence: Confidence::High,
        request: Some(message(request, 0, 0, 0)),
        interim: Vec::new(),
        response: Some(message(response, 4_242, 1_000_000, 1_300_000)),
        timing: Timing { total: Some(1_300_000), ..Timing::default() },
        untrusted: Untrusted::default(),
        tcp: TcpFacts::default(),
        tunnel: None,
    }
}

/// One with this key.
pub fn keyed(position: u64, flow: u64, index: u32) -> Exchange {
    let mut exchange = exchange(b"h", b"/", 200);
    exchange.completed.position = position;
    exchange.connection.flow = flow;
    exchange.connection.id = connection(flow).parse().unwrap();
    exchange.index = index;
    exchange
}

/// The name of the connection that is flow number `flow`: a letter for each figure.
pub fn connection(flow: u64) -> String {
    let letters: String = flow.to_string().bytes().map(|figure| char::from(b'B' + (figure - b'0'))).collect();
    format!("{letters:A<26}")
}

/// A batch of `count` exchanges that nobody needs to tell apart.
pub fn batch(worker: usize, number: u64, count: usize) -> Batch {
    let event = |n| Event::Exchange(keyed(n as u64, worker as u64, 0));
    Batch { worker, number, events: (0..count).map(event).collect() }
}

fn message(head: Head, body_bytes: u64, first: u64, last: u64) -> Message {
    Message {
        head,
        first: Timestamp(FIRST + first),
        head_end: Timestamp(FIRST + first),
        last: Timestamp(FIRST + last),
        last_seen: true,
        body_bytes,
        wire_bytes: body_bytes,
        complete: true,
        gap_bytes: 0,
        ambiguous_length: false,
        body: [].into(),
        trailers: None,
        oddities: Oddities::default(),
    }
}
