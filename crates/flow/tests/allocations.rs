//! In-order segments of known flows allocate nothing, nor do fragments.
//!
//! The counting allocator is the only unsafe code around this crate, and it is not in it.
#![allow(unsafe_code, reason = "an allocator cannot be written without")]
#![allow(clippy::unwrap_used, reason = "a panic of a test is its report, in helpers as well")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::Ipv4Addr;

use gannet_flow::{
    CloseReason, Data, Flow, FlowTable, FragmentLimits, Fragments, Gap, Handler, Limits, Moment, Outcome,
    Segment, StreamEnd, Taken,
};
use gannet_packet::{
    Endpoint, FlowKey, Frame, IpProtocol, LinkType, Packet, PacketType, Side, Surroundings, TcpFlags,
    TcpHeader, Timestamp,
};

struct Counting;

thread_local! {
    /// Of this thread: the test runner allocates as it likes.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator with the arguments of the caller, who has to keep its rules.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Sums up what it is given.
#[derive(Default)]
struct Bytes(u64);

impl Handler for Bytes {
    type State = ();

    fn open(&mut self, _: &Flow) {}

    fn data(&mut self, (): &mut (), _: &Flow, data: Data<'_>) {
        self.0 += data.bytes.len() as u64;
    }

    fn gap(&mut self, (): &mut (), _: &Flow, _: Gap) {}

    fn end(&mut self, (): &mut (), _: &Flow, _: StreamEnd) {}

    fn close(&mut self, (): (), _: &Flow, _: CloseReason, _: Moment) {}
}

const FLOWS: u32 = 200;
const LEN: usize = 1_448;

/// Segment `number` of a flow, the one of this turn: a request byte first, then data, acknowledged now and then.
fn segment<'a>(flow: u32, number: u32, turn: u32, payload: &'a [u8]) -> Segment<'a> {
    let end = |host, port| Endpoint { address: Ipv4Addr::new(10, 0, 0, host).into(), port };
    let (key, _) = FlowKey::new(end(1, 1_024 + flow as u16), end(2, 80), IpProtocol::TCP);
    let tcp = TcpHeader {
        offset: 34,
        len: 20,
        flags: TcpFlags::ACK,
        sequence: number.wrapping_mul(LEN as u32),
        acknowledgement: 1,
        window: 1_000,
    };
    Segment {
        key,
        side: Side::High,
        tcp,
        options: &[],
        payload,
        wire_len: payload.len() as u32,
        moment: Moment {
            time: Timestamp(u64::from(turn) * 50_000_000),
            position: u64::from(turn * FLOWS + flow),
        },
        interface: 0,
        ip_id: number as u16 + 1,
        around: Surroundings::NONE,
    }
}

#[test]
fn segments_of_known_flows_allocate_nothing() {
    let payload = [7; LEN];
    let mut table = FlowTable::new(Limits::default(), 1, Bytes::default());
    let give = |table: &mut FlowTable<Bytes>, numbers: std::ops::Range<u32>, swapped: bool| {
        let before = ALLOCATIONS.get();
        for turn in numbers {
            // Two at a time change places: the second is held, and its buffer used again.
            let number = if swapped { turn ^ 1 } else { turn };
            for flow in 0..FLOWS {
                let segment = segment(flow, number, turn, &payload);
                assert_eq!(table.segment(&segment), Outcome::Accepted);
            }
            let time = Timestamp(u64::from(turn) * 50_000_000);
            table.tick(Moment { time, position: u64::from(turn * FLOWS) });
        }
        ALLOCATIONS.get() - before
    };
    assert_ne!(give(&mut table, 0..2, false), 0, "the allocator counts");
    assert_eq!(give(&mut table, 2..400, false), 0);
    // Held bytes allocate until their memory has been used once.
    give(&mut table, 400..402, true);
    assert_eq!(give(&mut table, 402..800, true), 0);
    assert_eq!(table.handler().0, u64::from(800 * FLOWS) * LEN as u64);
    assert_eq!(table.open_flows(), FLOWS as usize);
    assert_eq!(table.counters().out_of_order, u64::from(200 * FLOWS));
}

/// From the bytes of a frame to those of its stream, by the short ways through the decoder and by the long one.
#[test]
fn decoding_and_reassembly_allocate_nothing() {
    for tags in [0, 1, 3] {
        let mut table = FlowTable::new(Limits::default(), 1, Bytes::default());
        let mut bytes = frame_bytes(tags);
        let tcp = bytes.len() - LEN - 20;
        let mut give = |numbers: std::ops::Range<u32>| {
            let before = ALLOCATIONS.get();
            for number in numbers {
                for flow in 0..FLOWS {
                    bytes[tcp..tcp + 2].copy_from_slice(&(1_024 + flow as u16).to_be_bytes());
                    bytes[tcp + 4..tcp + 8].copy_from_slice(&number.wrapping_mul(LEN as u32).to_be_bytes());
                    bytes[tcp - 16..tcp - 14].copy_from_slice(&(number as u16 + 1).to_be_bytes());
                    let position = u64::from(number * FLOWS + flow);
                    let frame = Frame {
                        data: &bytes,
                        timestamp: Timestamp(position * 1_000),
                        orig_len: bytes.len() as u32,
                        link_type: LinkType::ETHERNET,
                        interface: 0,
                        packet_type: PacketType::Host,
                    };
                    let plain = Packet::decode_plain(&frame);
                    assert_eq!(plain.is_some(), tags == 0);
                    assert_eq!(Packet::decode_usual(&frame).is_some(), tags < 3);
                    let packet = plain.unwrap_or_else(|| Packet::decode(&frame));
                    let segment = Segment::new(&frame, &packet, position).unwrap();
                    table.segments(&[segment], |_, outcome| assert_eq!(outcome, Outcome::Accepted));
                }
            }
            ALLOCATIONS.get() - before
        };
        assert_ne!(give(0..2), 0, "the allocator counts");
        assert_eq!(give(2..400), 0, "{tags} tags");
        assert_eq!(table.handler().0, u64::from(400 * FLOWS) * LEN as u64);
    }
}

/// A frame of IPv4 and TCP with a segment of bytes, behind so many VLAN tags.
fn frame_bytes(tags: usize) -> Vec<u8> {
    let mut bytes = vec![2; 12];
    for _ in 0..tags {
        bytes.extend([0x81, 0, 0, 7]);
    }
    bytes.extend([8, 0]);
    let total = (40 + LEN) as u16;
    bytes.extend([0x45, 0]);
    bytes.extend(total.to_be_bytes());
    bytes.extend([0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    bytes.extend([0, 0, 0, 80, 0, 0, 0, 0, 0, 0, 0, 1, 0x50, 0x10, 3, 232, 0, 0, 0, 0]);
    bytes.extend([7; LEN]);
    bytes
}

/// Datagrams of three fragments, the last one first; every eighth is never completed.
#[test]
fn fragments_allocate_nothing() {
    let mut fragments = Fragments::new(FragmentLimits { datagrams: 64, ..FragmentLimits::default() }, 1);
    let give = |fragments: &mut Fragments, ids: std::ops::Range<u16>| {
        let before = ALLOCATIONS.get();
        let mut completed = 0;
        for id in ids {
            let time = Timestamp(u64::from(id) * 1_000_000);
            for (offset, more, len) in [(2_960, false, 100), (1_480, true, 1_480), (0, true, 1_480)] {
                let mut data = [7; 1_500];
                let total = 20 + len as u16;
                let field = (offset / 8) | u16::from(more) << 13;
                data[..12].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 200, 0, 0]);
                data[2..4].copy_from_slice(&total.to_be_bytes());
                data[4..6].copy_from_slice(&id.to_be_bytes());
                data[6..8].copy_from_slice(&field.to_be_bytes());
                let frame = Frame {
                    data: &data[..usize::from(total)],
                    timestamp: time,
                    orig_len: u32::from(total),
                    link_type: LinkType::RAW,
                    interface: 0,
                    packet_type: PacketType::Host,
                };
                if id % 8 == 7 && offset == 1_480 {
                    continue;
                }
                let taken = fragments.take(&frame, &Packet::decode(&frame), u64::from(id));
                if let Taken::Completed(datagram) = taken {
                    completed += 1;
                    fragments.recycle(datagram);
                }
            }
            fragments.tick(time);
        }
        (ALLOCATIONS.get() - before, completed)
    };
    assert_ne!(give(&mut fragments, 0..16).0, 0, "the allocator counts");
    // Until as many datagrams are held, and as many remembered, as there may be.
    give(&mut fragments, 16..2_000);
    assert_eq!(give(&mut fragments, 2_000..10_000), (0, 7_000));
    assert!(fragments.counters().evicted > 1_000);
    assert_eq!(fragments.check(), []);
}

/// Flows that open, exchange a few segments out of order, end and are forgotten, in batches as the pipeline gives them.
#[test]
fn flows_that_come_and_go_allocate_nothing_for_their_segments() {
    const STEP_NS: u64 = 1_000_000;
    let payload = [7; LEN];
    let mut table = FlowTable::new(Limits::default(), 1, Bytes::default());
    let give = |table: &mut FlowTable<Bytes>, flows: std::ops::Range<u32>| {
        let before = ALLOCATIONS.get();
        for flow in flows {
            let part = |sequence: u32, side, flags: TcpFlags, payload| {
                let mut part = segment(flow % 40_000, 0, 0, payload);
                (part.side, part.tcp.flags, part.ip_id) = (side, flags, sequence as u16 + 1);
                // Other numbers each time the ports come again.
                let isn = flow.wrapping_mul(0x10_0000);
                let received = if side == Side::Low { 9_001 } else { 1_001 + LEN as u32 * 2 };
                (part.tcp.sequence, part.tcp.acknowledgement) =
                    (sequence.wrapping_add(isn), isn.wrapping_add(received));
                part.moment.time = Timestamp(u64::from(flow) * STEP_NS);
                part.moment.position = u64::from(flow) * 10;
                part
            };
            let with_ack = |flag: TcpFlags| TcpFlags(flag.0 | TcpFlags::ACK.0);
            let len = LEN as u32;
            let segments = [
                part(1_000, Side::Low, TcpFlags::SYN, &[][..]),
                part(9_000, Side::High, with_ack(TcpFlags::SYN), &[]),
                part(1_001, Side::Low, TcpFlags::ACK, &payload[..]),
                part(1_001 + len, Side::Low, TcpFlags::ACK, &payload),
                part(9_001 + len, Side::High, TcpFlags::ACK, &payload),
                part(9_001, Side::High, TcpFlags::ACK, &payload),
                part(1_001 + 2 * len, Side::Low, with_ack(TcpFlags::FIN), &[]),
                part(9_001 + 2 * len, Side::High, with_ack(TcpFlags::FIN), &[]),
            ];
            table.segments(&segments, |_, outcome| assert_eq!(outcome, Outcome::Accepted));
            if flow % 100 == 0 {
                table.tick(Moment {
                    time: Timestamp(u64::from(flow) * STEP_NS),
                    position: u64::from(flow) * 10,
                });
            }
        }
        ALLOCATIONS.get() - before
    };
    // As many as linger at a time, and some.
    give(&mut table, 0..30_000);
    let flows = 10_000;
    let allocations = give(&mut table, 30_000..30_000 + flows);
    assert_eq!(table.counters().flows_finished, u64::from(30_000 + flows));
    assert_eq!(table.counters().out_of_order, u64::from(30_000 + flows));
    // What is out of order is rare: two boxes for the flow, none for its segments.
    assert_eq!(allocations, 2 * u64::from(flows));
}
