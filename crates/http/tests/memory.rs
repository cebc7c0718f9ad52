//! What connections hold counts against the bound of the flow table.
#![allow(clippy::unwrap_used, reason = "a panic of a test is its report")]

use std::net::Ipv4Addr;

use gannet_flow::{FlowTable, Handler, Limits, Moment, Segment};
use gannet_http::{Exchange, Http, HttpConfig, Reason, Sink, State};
use gannet_packet::{Endpoint, FlowKey, IpProtocol, Side, Surroundings, TcpFlags, TcpHeader, Timestamp};

#[derive(Default)]
struct Kept(Vec<(State, Reason)>);

impl Sink for Kept {
    fn exchange(&mut self, exchange: Exchange) {
        self.0.push((exchange.state, exchange.reason));
    }
}

#[test]
fn idle_connections_are_small_and_bounded() {
    let limits = Limits { memory: 8 << 20, ..Limits::default() };
    let (mut table, number) = run(limits, 20_000, &[(Side::Low, REQUEST), (Side::High, RESPONSE)]);
    let counters = *table.counters();
    assert!(counters.flows_evicted > 0, "{counters:?}");
    let open = table.open_flows();
    assert_eq!(counters.flows_evicted as usize + open, 20_000);
    let each = table.memory() / open;
    assert!(each < 2_048, "{each} bytes of a connection");
    assert_eq!(
        std::mem::take(&mut table.handler().sink().0),
        vec![(State::Complete, Reason::Framing); 20_000]
    );
    finish(table, number);
}

#[test]
fn requests_of_evicted_connections_are_reported() {
    let limits = Limits { memory: 8 << 20, ..Limits::default() };
    // Cut within the head of the next one: its bytes are held.
    let part = [b"GET /", &[b'a'; 900][..]].concat();
    let segments = [(Side::Low, REQUEST), (Side::High, RESPONSE), (Side::Low, REQUEST), (Side::Low, &part)];
    let (mut table, number) = run(limits, 20_000, &segments);
    let evicted = table.counters().flows_evicted as usize;
    assert!(evicted > 10_000, "{evicted}");
    let exchanges = std::mem::take(&mut table.handler().sink().0);
    assert_eq!(exchanges.len(), 20_000 + evicted);
    let unanswered = exchanges.iter().filter(|&&how| how == (State::Truncated, Reason::Evicted)).count();
    assert_eq!(unanswered, evicted);
    finish(table, number);
}

/// So many connections, one after the other, each with a handshake and these segments.
fn run(limits: Limits, connections: u32, segments: &[(Side, &[u8])]) -> (FlowTable<Http<Kept>>, u64) {
    let mut table = FlowTable::new(limits, 1, Http::new(HttpConfig::default(), Kept::default()));
    let mut number = 0;
    for connection in 0..connections {
        let mut take = |side, sequence: [u32; 2], flags, payload: &[u8]| {
            number += 1;
            table.segment(&segment(connection, number, side, sequence, flags, payload));
            // What one connection takes may come between two looks at the sum.
            assert!(table.memory() <= limits.memory + (16 << 10), "{} bytes", table.memory());
        };
        take(Side::Low, [u32::MAX, 0], TcpFlags::SYN, b"");
        take(Side::High, [u32::MAX, 0], TcpFlags(TcpFlags::SYN.0 | TcpFlags::ACK.0), b"");
        take(Side::Low, [0, 0], TcpFlags::ACK, b"");
        let mut sent = [0, 0];
        for &(side, payload) in segments {
            let (own, other) = if side == Side::Low { (0, 1) } else { (1, 0) };
            take(side, [sent[own], sent[other]], TcpFlags::ACK, payload);
            sent[own] += payload.len() as u32;
        }
        if connection % 16 == 0 {
            table.tick(Moment { time: table.clock(), position: number });
            assert!(table.memory() <= limits.memory);
        }
    }
    (table, number)
}

/// Nothing is left in the sum when nothing is open.
fn finish(mut table: FlowTable<Http<Kept>>, number: u64) {
    assert!(table.handler().memory() > 0);
    table.finish(Moment { time: table.clock(), position: number });
    assert_eq!(table.check(), []);
    assert_eq!(table.handler().memory(), 0);
    assert_eq!(table.handler().counters().check(), []);
}

fn segment(
    connection: u32,
    number: u64,
    side: Side,
    [sequence, acknowledgement]: [u32; 2],
    flags: TcpFlags,
    payload: &[u8],
) -> Segment<'_> {
    let end = |address: u32, port| Endpoint { address: Ipv4Addr::from(address).into(), port };
    let (key, _) = FlowKey::new(end(0x0a00_0000 + connection, 40_000), end(0xc801_0001, 80), IpProtocol::TCP);
    Segment {
        key,
        side,
        tcp: TcpHeader { offset: 34, len: 20, flags, sequence, acknowledgement, window: 500 },
        options: &[],
        payload,
        wire_len: payload.len() as u32,
        moment: Moment { time: Timestamp(number * 1_000), position: number },
        interface: 0,
        ip_id: number as u16 | 1,
        around: Surroundings::NONE,
    }
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
