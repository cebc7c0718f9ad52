//! What the analysis costs: `cost [ROUNDS]` prints nanoseconds per exchange of ten body segments, and per segment.

#![allow(clippy::print_stdout, clippy::expect_used, reason = "a measurement")]

use std::net::Ipv4Addr;
use std::time::Instant;

use gannet_flow::{CloseReason, Data, Flow, Handler, Handshake, Moment, Peer};
use gannet_http::{Exchange, Http, HttpConfig, Sink};
use gannet_packet::{Endpoint, FlowKey, IpProtocol, Timestamp};

struct Count(u64);

impl Sink for Count {
    fn exchange(&mut self, exchange: Exchange) {
        self.0 += u64::from(exchange.request.is_some());
    }
}

fn main() {
    let rounds: u64 = std::env::args().nth(1).map_or(300_000, |rounds| rounds.parse().expect("a number"));
    for segments in [10, 1_000] {
        // Best of five: the machine is shared.
        let best = (0..5).map(|_| run(rounds * 10 / segments, segments)).fold(f64::MAX, f64::min);
        println!(
            "{segments} body segments: {best:.0} ns per exchange, {:.2} per segment",
            best / segments as f64
        );
    }
}

fn run(rounds: u64, segments: u64) -> f64 {
    let end = |host, port| Endpoint { address: Ipv4Addr::new(10, 0, 0, host).into(), port };
    let (key, originator) = FlowKey::new(end(1, 40_000), end(2, 80), IpProtocol::TCP);
    let start = Some(Timestamp(0));
    let flow = Flow::sample(0, key, originator, Handshake::new(start, start, start));
    let get = b"GET /index.html?a=b HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: measure/1.0\r\nAccept: */*\r\n\
        Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nCookie: session=0123456789abcdef\r\n\r\n";
    let body = segments * 1_448;
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Type: text/html\r\n\
         Content-Length: {body}\r\nConnection: keep-alive\r\nETag: \"0123456789\"\r\n\r\n"
    );
    let segment = [b'x'; 1_448];
    let mut http = Http::new(HttpConfig::default(), Count(0));
    let mut state = http.open(&flow);
    let mut offsets = [0_u64; 2];
    let mut position = 0;
    let mut give = |state: &mut _, from: Peer, bytes: &[u8]| {
        position += 1;
        let seen = Moment { time: Timestamp(position), position };
        let offset = offsets[from as usize];
        offsets[from as usize] += bytes.len() as u64;
        let acknowledged = Some(offsets[from.opposite() as usize]);
        http.data(state, &flow, Data { from, offset, bytes, seen, now: seen, acknowledged, late: false });
    };
    let started = Instant::now();
    for _ in 0..rounds {
        give(&mut state, Peer::Originator, get);
        give(&mut state, Peer::Responder, head.as_bytes());
        for _ in 0..segments {
            give(&mut state, Peer::Responder, &segment);
        }
    }
    let elapsed = started.elapsed();
    http.close(state, &flow, CloseReason::Finished, Moment::default());
    assert_eq!(http.sink().0, rounds);
    elapsed.as_nanos() as f64 / rounds as f64
}
