//! What the flow table costs per segment: a thousand flows, their segments by turns, as a busy server's link has
//! them; a million; and with old ones expiring while new ones come.
//!
//! And what decoding and reassembly of a whole capture cost beside a bare walk over it.
//!
//! `cargo bench --bench flow`; with `-- --test` each runs once, to see that it still works. Memory is printed to
//! stderr. The capture is the file that `GANNET_CAPTURE` names, best on one core (`taskset -c 0`); a small one is
//! made without.
#![allow(clippy::unwrap_used, reason = "a panic of a bench is its report")]

use std::fs::File;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use divan::counter::ItemsCount;
use divan::{Bencher, bench};
use gannet_flow::{
    CloseReason, Data, Flow, FlowTable, Gap, Handler, Limits, Moment, Outcome, Segment, StreamEnd,
};
use gannet_http::{Exchange, Http, HttpConfig, Sink};
use gannet_packet::{
    Endpoint, FlowKey, Frame, IpProtocol, Packet, Side, Surroundings, TcpFlags, TcpHeader, Timestamp,
};
use gannet_pcap::StreamReader;
use gannet_ring::mapped::MappedFile;
use gannet_testkit::capture::{Plan, generate};

fn main() {
    divan::main();
}

const FLOWS: u32 = 1_000;
/// Segments of each flow in one round.
const TURNS: u32 = 10;
const MSS: u32 = 1_448;

/// How the segments of a flow come.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// One behind the other.
    Sequential,
    /// Every second one before the one in front of it: held, and delivered with it.
    Swapped,
    /// Acknowledgements without payload.
    Acknowledgements,
}

#[bench(args = [Order::Sequential, Order::Swapped, Order::Acknowledgements])]
fn segments(bencher: Bencher, order: Order) {
    let payload = [b'x'; MSS as usize];
    let mut table = FlowTable::new(Limits::default(), 0x5eed, Bytes::default());
    handshakes(&mut table, FLOWS);
    let mut turn = 0;
    bencher.counter(ItemsCount::new(FLOWS * TURNS)).bench_local(|| {
        let before = table.handler().0;
        for _ in 0..TURNS {
            let number = if matches!(order, Order::Swapped) { turn ^ 1 } else { turn };
            for flow in 0..FLOWS {
                let next = match order {
                    Order::Acknowledgements => segment(flow, turn, &[], Side::Low),
                    _ => segment(flow, number, &payload, Side::High),
                };
                table.segment(black_box(&next));
            }
            turn += 1;
        }
        let bytes = table.handler().0 - before;
        match order {
            Order::Acknowledgements => assert_eq!(bytes, 0),
            _ => assert_eq!(bytes, u64::from(FLOWS * TURNS * MSS)),
        }
    });
    assert_eq!(table.check(), []);
    assert_eq!(table.open_flows(), FLOWS as usize);
}

/// Segments in one go of the benches below, whatever the number of flows.
const GO: u32 = 1_000_000;
/// As the pipeline gives them.
const BLOCK: usize = 32;

/// Established flows whose segments come interleaved: each sends one in every round, in an order that caches cannot
/// foresee.
#[bench(args = [1_000, 100_000, 1_000_000], sample_count = 8, sample_size = 1)]
fn interleaved(bencher: Bencher, flows: u32) {
    let before = resident_bytes();
    let mut table = FlowTable::new(Limits::default(), 0x5eed, Bytes::default());
    handshakes(&mut table, flows);
    let mut number = 0;
    bencher.counter(ItemsCount::new(GO)).bench_local(|| rounds(&mut table, flows, &mut number));
    assert_eq!(table.handler().0, u64::from(number) * u64::from(flows) * PAYLOAD.len() as u64);
    assert_eq!((table.check(), table.open_flows()), (vec![], flows as usize));
    report("interleaved", flows, before, table.memory());
}

/// A copy of a packet in each of a million flows, then a segment of each sent again: what a mirror of both ports and
/// a bad link do to every flow.
#[bench(args = [1_000_000], sample_count = 1, sample_size = 1)]
fn disturbed(bencher: Bencher, flows: u32) {
    let before = resident_bytes();
    let mut table = FlowTable::new(Limits::default(), 0x5eed, Bytes::default());
    handshakes(&mut table, flows);
    bencher.counter(ItemsCount::new(flows * 3)).bench_local(|| {
        for place in 0..flows {
            let next = segment(permuted(place, flows), 0, &PAYLOAD, Side::High);
            assert_eq!(table.segment(&next), Outcome::Accepted);
            assert_eq!(table.segment(&next), Outcome::Duplicate);
            let mut again = next;
            again.ip_id = 77;
            again.moment.time.0 += 1_000_000_000;
            assert_eq!(table.segment(&again), Outcome::Accepted);
        }
    });
    assert_eq!((table.check(), table.open_flows()), (vec![], flows as usize));
    assert_eq!(table.counters().duplicates, u64::from(flows));
    report("disturbed", flows, before, table.memory());
}

/// The same without looking ahead.
#[bench(args = [1_000, 1_000_000], sample_count = 4, sample_size = 1)]
fn one_by_one(bencher: Bencher, flows: u32) {
    let mut table = FlowTable::new(Limits::default(), 0x5eed, Bytes::default());
    handshakes(&mut table, flows);
    let mut number = 0;
    bencher.counter(ItemsCount::new(GO)).bench_local(|| {
        for _ in 0..GO / flows {
            for place in 0..flows {
                table.segment(&segment(permuted(place, flows), number, &PAYLOAD, Side::High));
            }
            number += 1;
        }
    });
    assert_eq!(table.open_flows(), flows as usize);
}

/// HTTP connections that have had an exchange, and on which nothing but acknowledgements comes. They have the memory
/// they need: what is reported is what they take.
#[bench(args = [1_000_000], sample_count = 2, sample_size = 1)]
fn idle_http(bencher: Bencher, flows: u32) {
    let before = resident_bytes();
    let limits = Limits { memory: 4 << 30, ..Limits::default() };
    let mut table = FlowTable::new(limits, 0x5eed, Http::new(HttpConfig::default(), Nothing));
    handshakes(&mut table, flows);
    for flow in 0..flows {
        let mut request = segment(flow, 1, REQUEST, Side::Low);
        request.tcp.sequence = 0;
        let mut response = segment(flow, 1, RESPONSE, Side::High);
        (response.tcp.sequence, response.tcp.acknowledgement) = (0, REQUEST.len() as u32);
        for segment in [request, response] {
            assert_eq!(table.segment(&segment), Outcome::Accepted);
        }
    }
    assert_eq!(table.handler().counters().complete, u64::from(flows));
    // The identification is the number made odd: another one than the handshake's, or it would be a copy.
    let mut number = 3;
    bencher.counter(ItemsCount::new(GO)).bench_local(|| {
        for place in 0..flows {
            let mut next = segment(permuted(place, flows), number, &[], Side::Low);
            (next.tcp.sequence, next.tcp.acknowledgement) = (REQUEST.len() as u32, RESPONSE.len() as u32);
            table.segment(&next);
        }
        number += 2;
    });
    assert_eq!(table.open_flows(), flows as usize);
    report("idle_http", flows, before, table.memory());
}

/// Flows that open and are never heard of again, as many at a time as `flows`: each new one lets an old one expire.
#[bench(args = [1_000, 100_000, 1_000_000], sample_count = 3, sample_size = 1)]
fn expiring(bencher: Bencher, flows: u32) {
    const STEP_NS: u64 = 20_000;
    let lives = Duration::from_nanos(u64::from(flows) * STEP_NS);
    let limits =
        Limits { flows: 2 << 20, memory: 1 << 30, idle: lives, half_open: lives, ..Limits::default() };
    let mut table = FlowTable::new(limits, 0x5eed, Bytes::default());
    let mut opened = 0_u32;
    let mut open = |table: &mut FlowTable<Bytes>, count: u32| {
        for _ in 0..count {
            let time = Timestamp((1 << 50) + u64::from(opened) * STEP_NS);
            for mut segment in handshake(opened) {
                segment.moment.time = time;
                table.segment(&segment);
            }
            opened += 1;
            if opened.is_multiple_of(1_000) {
                table.tick(Moment { time, position: u64::from(opened) });
            }
        }
    };
    open(&mut table, flows + flows / 4 + 30_000);
    bencher.counter(ItemsCount::new(GO)).bench_local(|| open(&mut table, GO / 3));
    let open_flows = table.open_flows() as u32;
    assert!((flows..flows + flows / 4 + 30_000).contains(&open_flows), "{open_flows}");
    assert_eq!((table.check(), table.counters().flows_evicted), (vec![], 0));
}

/// SYNs of random keys, a legitimate flow beside them that goes on.
#[bench(args = [20_000_000], sample_count = 1, sample_size = 1)]
fn syn_flood(bencher: Bencher, syns: u32) {
    let syns = if std::env::args().any(|argument| argument == "--test") { syns / 20 } else { syns };
    let before = resident_bytes();
    let mut table = FlowTable::new(Limits::default(), 0x5eed, Bytes::default());
    bencher.counter(ItemsCount::new(syns)).bench_local(|| {
        let mut random = 0x1234_5678_9abc_def1_u64;
        for segment in handshake(7) {
            table.segment(&segment);
        }
        let mut number = 0;
        for at in 0..syns {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let end = |address, port| Endpoint { address: Ipv4Addr::from_bits(address).into(), port };
            let source = end(random as u32 | 0x8000_0000, (random >> 32) as u16);
            let (key, side) = FlowKey::new(source, end(0x0a01_0001, 80), IpProtocol::TCP);
            let time = Timestamp((1 << 50) + u64::from(at) * 1_000);
            let mut syn = Segment { key, side, ..segment(0, 0, &[], side) };
            syn.tcp.flags = TcpFlags::SYN;
            syn.moment = Moment { time, position: 100 + u64::from(at) };
            table.segment(&syn);
            if at % 1_000 == 0 {
                let mut next = segment(7, number, &PAYLOAD, Side::High);
                next.moment = syn.moment;
                assert_eq!(table.segment(&next), Outcome::Accepted);
                number += 1;
                table.tick(syn.moment);
            }
        }
        assert_eq!(table.handler().0, u64::from(number) * PAYLOAD.len() as u64);
    });
    assert_eq!(table.check(), []);
    assert!(table.open_flows() <= Limits::default().half_open_flows + 1);
    report("syn_flood", table.open_flows() as u32, before, table.memory());
}

/// A capture from the page cache, without HTTP: read, decoded and reassembled, and walked over in turns.
///
/// Issue 5 wants at least half of the walk's packets per second, and hopes for 0.68.
#[bench(sample_count = 1, sample_size = 1)]
fn capture(bencher: Bencher) {
    let small = std::env::temp_dir().join(format!("gannet-bench-{}.pcap", std::process::id()));
    let path = match std::env::var_os("GANNET_CAPTURE") {
        Some(path) => path.into(),
        None => {
            let plan = Plan { seed: 1, size_bytes: 50_000_000, connections: 200 };
            generate(&plan, File::create(&small).unwrap(), std::io::sink()).unwrap();
            small.clone()
        }
    };
    let mut times = [vec![], vec![]];
    let mut packets = 0;
    bencher.bench_local(|| {
        for _ in 0..CAPTURE_TURNS {
            let begun = Instant::now();
            packets = walk(&path);
            times[0].push(begun.elapsed());
            let begun = Instant::now();
            let (segments, bytes) = reassemble(&path);
            times[1].push(begun.elapsed());
            assert_eq!(segments, packets);
            black_box(bytes);
        }
    });
    let [walk, ours] = times.map(|mut times| {
        times.sort();
        packets as f64 / times[CAPTURE_TURNS / 2].as_secs_f64()
    });
    eprintln!(
        "capture: {packets} packets; walk {walk:.0}/s, decode and reassembly {ours:.0}/s: {:.3} of the walk",
        ours / walk
    );
    let _ = std::fs::remove_file(small);
}

const CAPTURE_TURNS: usize = 5;

/// Touches the headers of each packet of a classic capture file that is mapped. Returns how many there are.
fn walk(path: &Path) -> u64 {
    let map = MappedFile::new(&File::open(path).unwrap()).unwrap().unwrap();
    let (mut at, mut packets, mut touched) = (24, 0, 0_u64);
    while let Some((header, rest)) = map.get(at..).and_then(|rest| rest.split_first_chunk::<16>()) {
        let len = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
        let Some(frame) = rest.get(..len) else { break };
        // Link, network and transport header.
        for place in [12, 23, 47] {
            touched += u64::from(frame.get(place).copied().unwrap_or_default());
        }
        packets += 1;
        at += 16 + len;
    }
    black_box(touched);
    packets
}

/// Reads, decodes and reassembles as the pipeline does. Returns how many packets there were, and their streams' bytes.
fn reassemble(path: &Path) -> (u64, u64) {
    let mut reader = StreamReader::new(File::open(path).unwrap()).unwrap();
    let mut table = FlowTable::new(Limits::default(), 0x5eed, Bytes::default());
    let mut position = 0;
    let mut take = |frame: &Frame<'_>| {
        let packet = Packet::decode_plain(frame).unwrap_or_else(|| Packet::decode(frame));
        if let Some(segment) = Segment::new(frame, &packet, position) {
            table.segment(&segment);
        }
        position += 1;
        if position.is_multiple_of(512) {
            table.tick(Moment { time: frame.timestamp, position });
        }
    };
    loop {
        reader.run(|packet, _, _| {
            take(&packet.frame);
            true
        });
        let Some(packet) = reader.next_packet().unwrap() else { break };
        take(&packet.frame);
    }
    assert_eq!(table.check(), []);
    (position, table.handler().0)
}

/// One segment of each flow in turn, until as many as a go has.
fn rounds(table: &mut FlowTable<Bytes>, flows: u32, number: &mut u32) {
    for _ in 0..GO / flows {
        for start in (0..flows).step_by(BLOCK) {
            let block: [Segment<'_>; BLOCK] = std::array::from_fn(|at| {
                segment(permuted((start + at as u32) % flows, flows), *number, &PAYLOAD, Side::High)
            });
            let len = BLOCK.min((flows - start) as usize);
            table.segments(black_box(&block[..len]), |_, outcome| assert_eq!(outcome, Outcome::Accepted));
        }
        *number += 1;
    }
}

/// Establishes flows.
fn handshakes<H: Handler>(table: &mut FlowTable<H>, flows: u32) {
    for flow in 0..flows {
        for segment in handshake(flow) {
            table.segment(&segment);
        }
    }
}

/// The three segments of a handshake.
fn handshake(flow: u32) -> [Segment<'static>; 3] {
    let mut syn = segment(flow, 0, &[], Side::Low);
    (syn.tcp.flags, syn.tcp.sequence) = (TcpFlags::SYN, u32::MAX);
    let mut answer = segment(flow, 0, &[], Side::High);
    (answer.tcp.flags, answer.tcp.sequence) = (TcpFlags(TcpFlags::SYN.0 | TcpFlags::ACK.0), u32::MAX);
    [syn, answer, segment(flow, 0, &[], Side::Low)]
}

/// The flow whose turn it is: far from the one before.
fn permuted(place: u32, flows: u32) -> u32 {
    (u64::from(place) * 618_033 % u64::from(flows)) as u32
}

const PAYLOAD: [u8; MSS as usize] = [b'x'; MSS as usize];

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn report(name: &str, flows: u32, before: usize, table: usize) {
    let resident = resident_bytes();
    let each = resident.saturating_sub(before) / flows.max(1) as usize;
    eprintln!(
        "{name}: {flows} flows, table {} MiB, process {} MiB, {each} bytes more for each flow",
        table >> 20,
        resident >> 20
    );
}

/// Memory of this process that is in use.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4_096
}

/// Takes no exchanges.
struct Nothing;

impl Sink for Nothing {
    fn exchange(&mut self, _: Exchange) {}
}

/// A segment with the options that Linux sends: time stamps.
fn segment(flow: u32, number: u32, payload: &[u8], side: Side) -> Segment<'_> {
    let [_, middle, high, low] = flow.to_be_bytes();
    let end = |address, port| Endpoint { address: Ipv4Addr::from_octets(address).into(), port };
    let (key, _) = FlowKey::new(
        end([10 + (flow >> 24) as u8, middle, high, low], 40_000),
        end([200, 1, 0, 1], 80),
        IpProtocol::TCP,
    );
    let tcp = TcpHeader {
        offset: 34,
        len: 32,
        flags: TcpFlags::ACK,
        sequence: if payload.is_empty() { 0 } else { number.wrapping_mul(MSS) },
        acknowledgement: 0,
        window: 500,
    };
    Segment {
        key,
        side,
        tcp,
        options: &[1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8],
        payload,
        wire_len: payload.len() as u32,
        moment: Moment {
            time: Timestamp(u64::from(number) * 1_000_000 + u64::from(flow)),
            position: u64::from(number) * u64::from(FLOWS) + u64::from(flow),
        },
        interface: 0,
        ip_id: number as u16 | 1,
        around: Surroundings::NONE,
    }
}

/// Sums up what it is given.
#[derive(Default)]
struct Bytes(u64);

impl Handler for Bytes {
    type State = u64;

    fn open(&mut self, _: &Flow) -> u64 {
        0
    }

    fn data(&mut self, state: &mut u64, _: &Flow, data: Data<'_>) {
        *state += data.bytes.len() as u64;
        self.0 += data.bytes.len() as u64;
    }

    fn gap(&mut self, _: &mut u64, _: &Flow, _: Gap) {}

    fn end(&mut self, _: &mut u64, _: &Flow, _: StreamEnd) {}

    fn close(&mut self, _: u64, _: &Flow, _: CloseReason, _: Moment) {}
}
