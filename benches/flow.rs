//! What the flow table costs per segment: a thousand flows, their segments by turns, as a busy server's link has them.
//!
//! `cargo bench --bench flow`; with `-- --test` each runs once, to see that it still works.

use std::hint::black_box;
use std::net::Ipv4Addr;

use divan::counter::ItemsCount;
use divan::{Bencher, bench};
use gannet_flow::{CloseReason, Data, Flow, FlowTable, Gap, Handler, Limits, Moment, Segment, StreamEnd};
use gannet_packet::{Endpoint, FlowKey, IpProtocol, Side, TcpFlags, TcpHeader, Timestamp};

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
    for flow in 0..FLOWS {
        let mut syn = segment(flow, 0, &[], Side::Low);
        syn.tcp.flags = TcpFlags::SYN;
        syn.tcp.sequence = u32::MAX;
        table.segment(&syn);
        syn.side = Side::High;
        syn.tcp.flags = TcpFlags(TcpFlags::SYN.0 | TcpFlags::ACK.0);
        table.segment(&syn);
    }
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

/// A segment with the options that Linux sends: time stamps.
fn segment(flow: u32, number: u32, payload: &[u8], side: Side) -> Segment<'_> {
    let [.., high, low] = flow.to_be_bytes();
    let end = |address, port| Endpoint { address: Ipv4Addr::from_octets(address).into(), port };
    let (key, _) = FlowKey::new(end([10, 0, high, low], 40_000), end([10, 1, 0, 1], 80), IpProtocol::TCP);
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
