//! Single situations. What any sequence of fragments does is in `properties.rs`.

use std::time::Duration;

use gannet_packet::{
    Decap, End, Frame, IpProtocol, LayerKind, LinkType, Packet, PacketType, Timestamp, TunnelKind,
};

use super::*;

const SECOND: u64 = 1_000_000_000;

pub(super) fn frame(data: &[u8], time: u64) -> Frame<'_> {
    Frame {
        data,
        timestamp: Timestamp(time),
        orig_len: data.len() as u32,
        link_type: LinkType::RAW,
        interface: 7,
        packet_type: PacketType::Outgoing,
    }
}

/// A fragment from 10.0.0.1 to 10.0.0.2; `offset` in bytes.
pub(super) fn v4(id: u16, protocol: u8, offset: usize, more: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x45, 0];
    bytes.extend(((20 + payload.len()) as u16).to_be_bytes());
    bytes.extend(id.to_be_bytes());
    bytes.extend(((offset / 8) as u16 | u16::from(more) << 13).to_be_bytes());
    bytes.extend([64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    bytes.extend(payload);
    bytes
}

/// A fragment behind these extension headers, each a kind and its contents after the first byte.
pub(super) fn v6(
    id: u32,
    protocol: u8,
    extensions: &[(u8, &[u8])],
    offset: usize,
    more: bool,
    payload: &[u8],
) -> Vec<u8> {
    let mut kinds: Vec<u8> = extensions.iter().map(|(kind, _)| *kind).collect();
    kinds.push(44);
    let mut rest = Vec::new();
    for ((_, contents), next) in extensions.iter().zip(&kinds[1..]) {
        rest.push(*next);
        rest.extend(*contents);
    }
    rest.extend([protocol, 0]);
    rest.extend((offset as u16 | u16::from(more)).to_be_bytes());
    rest.extend(id.to_be_bytes());
    rest.extend(payload);
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend((rest.len() as u16).to_be_bytes());
    bytes.extend([kinds[0], 64]);
    bytes.extend([&[0xfd; 15][..], &[1], &[0xfd; 15], &[2]].concat());
    bytes.extend(rest);
    bytes
}

/// A UDP datagram with as many bytes of contents, all different from their neighbours.
pub(super) fn udp(len: usize) -> Vec<u8> {
    let mut bytes = vec![0x10, 0, 0, 53];
    bytes.extend(((8 + len) as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend((0..len).map(|at| (at * 7 + at / 256) as u8));
    bytes
}

struct Bench {
    fragments: Fragments,
    time: u64,
    position: u64,
}

impl Bench {
    fn new() -> Self {
        Self::with(FragmentLimits::default())
    }

    fn with(limits: FragmentLimits) -> Self {
        Self { fragments: Fragments::new(limits, 0x5eed), time: 100 * SECOND, position: 0 }
    }

    fn take(&mut self, data: &[u8]) -> Taken {
        self.take_frame(&frame(data, self.time))
    }

    fn take_frame(&mut self, frame: &Frame<'_>) -> Taken {
        self.position += 1;
        self.time += 1_000;
        let taken = self.fragments.take(frame, &Packet::decode(frame), self.position);
        assert_eq!(self.fragments.check(), []);
        taken
    }

    #[track_caller]
    fn held(&mut self, data: &[u8]) {
        let taken = self.take(data);
        assert!(matches!(taken, Taken::Held), "{taken:?}");
    }

    #[track_caller]
    fn refused(&mut self, data: &[u8], refusal: Refusal) {
        let taken = self.take(data);
        assert!(matches!(taken, Taken::Refused(why) if why == refusal), "{taken:?}");
    }

    #[track_caller]
    fn completed(&mut self, data: &[u8]) -> Datagram {
        match self.take(data) {
            Taken::Completed(datagram) => datagram,
            taken => panic!("{taken:?}"),
        }
    }

    fn count(&self) -> &FragmentCounters {
        self.fragments.counters()
    }
}

#[test]
fn in_any_order() {
    let whole = udp(3_000);
    let parts = [(0, 1_480), (1_480, 2_960), (2_960, whole.len())];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for is_v6 in [false, true] {
            let mut bench = Bench::new();
            let mut made = None;
            for (turn, &part) in order.iter().enumerate() {
                let (start, end) = parts[part];
                let more = end < whole.len();
                let data = match is_v6 {
                    true => v6(9, 17, &[], start, more, &whole[start..end]),
                    false => v4(9, 17, start, more, &whole[start..end]),
                };
                match bench.take(&data) {
                    Taken::Completed(datagram) if turn == 2 => made = Some(datagram),
                    Taken::Held if turn < 2 => {}
                    taken => panic!("{order:?} {turn}: {taken:?}"),
                }
            }
            let datagram = made.unwrap();
            let packet = datagram.decode(&Decap::ALL);
            let made = datagram.frame();
            assert_eq!((packet.end, packet.payload.captured_len), (End::Transport, 3_000));
            assert_eq!(made.data[packet.payload.range()], whole[8..]);
            let (key, side) = packet.flow.unwrap();
            assert_eq!((key.endpoint(side).port, key.endpoint(side.opposite()).port), (0x1000, 53));
            assert_eq!((datagram.moment().position, made.interface), (3, 7));
            assert_eq!((made.timestamp.0, made.packet_type), (100 * SECOND + 2_000, PacketType::Outgoing));
            assert_eq!((bench.fragments.datagrams(), bench.fragments.memory()), (0, 0));
        }
    }
}

#[test]
fn the_header_is_the_first_fragments() {
    let whole = udp(24);
    let mut bench = Bench::new();
    let mut first = v4(5, 17, 0, true, &whole[..16]);
    // Options, another type of service; the checksum of the whole has to fit them.
    first[0] = 0x46;
    first[1] = 0x28;
    first.splice(20..20, [1, 1, 1, 0]);
    first[2..4].copy_from_slice(&40_u16.to_be_bytes());
    bench.held(&v4(5, 17, 16, false, &whole[16..]));
    let datagram = bench.completed(&first);
    let data = datagram.frame().data;
    assert_eq!((datagram.frame().link_type, data.len()), (LinkType::IPV4, 24 + whole.len()));
    assert_eq!((&data[..2], &data[2..4], &data[6..8]), (&[0x46, 0x28][..], &[0, 56][..], &[0, 0][..]));
    let sum: u32 = data[..24].chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);

    // IPv6: what is in front of the fragment header stays, and the header in front of it names what is behind.
    let hop = [0, 1, 4, 0, 0, 0, 0];
    let routing = [0, 4, 0, 0, 0, 0, 0];
    bench.held(&v6(5, 17, &[(0, &hop), (43, &routing)], 0, true, &whole[..16]));
    // Another number in a later fragment means nothing.
    let datagram = bench.completed(&v6(5, 6, &[(0, &hop)], 16, false, &whole[16..]));
    let packet = datagram.decode(&Decap::ALL);
    let kinds: Vec<LayerKind> = packet.layers().iter().map(|layer| layer.kind).collect();
    assert_eq!(kinds, [LayerKind::Ipv6, LayerKind::HopByHop, LayerKind::Routing, LayerKind::Udp]);
    assert_eq!(datagram.frame().link_type, LinkType::IPV6);
    assert_eq!(datagram.frame().data[packet.payload.range()], whole[8..]);
}

#[test]
fn datagrams_are_kept_apart() {
    let whole = udp(24);
    let (first, last) = (&whole[..16], &whole[16..]);
    let mut bench = Bench::new();
    bench.held(&v4(1, 17, 0, true, first));
    bench.held(&v4(2, 17, 16, false, last));
    bench.held(&v4(1, 6, 16, false, last));
    let mut back = v4(1, 17, 16, false, last);
    back[12..20].rotate_left(4);
    bench.held(&back);
    bench.held(&v6(1, 17, &[], 16, false, last));
    // In tunnels of different numbers, and in a VLAN.
    let gre = |key: u8| {
        let fragment = v4(1, 17, 16, false, last);
        let gre = [&[0x20, 0, 8, 0, 0, 0, 0, key][..], &fragment].concat();
        v4(77, 47, 0, false, &gre)
    };
    bench.held(&gre(1));
    bench.held(&gre(2));
    let tagged = |id: u8| [&[0; 12][..], &[0x81, 0, 0, id, 8, 0], &v4(1, 17, 16, false, last)].concat();
    for id in [5, 6] {
        let data = tagged(id);
        let framed = Frame { link_type: LinkType::ETHERNET, ..frame(&data, bench.time) };
        assert!(matches!(bench.take_frame(&framed), Taken::Held));
    }
    assert_eq!(bench.fragments.datagrams(), 9);
    bench.completed(&v4(1, 17, 16, false, last));
    assert_eq!(bench.count().held, 8);
}

#[test]
fn overlaps_void_the_datagram_and_copies_do_not() {
    let whole = udp(56);
    let fragment = |start: usize, end: usize| v4(3, 17, start, end < whole.len(), &whole[start..end]);
    for (start, end) in [(8, 32), (16, 40), (24, 32), (0, 40), (16, 64), (8, 16)] {
        let mut bench = Bench::new();
        bench.held(&fragment(8, 16));
        bench.held(&fragment(16, 32));
        assert!(matches!(bench.take(&fragment(16, 32)), Taken::Duplicate));
        if (start, end) == (8, 16) {
            // The same place, other bytes.
            let mut other = fragment(8, 16);
            other[25] ^= 1;
            bench.refused(&other, Refusal::Overlapping);
        } else {
            bench.refused(&fragment(start, end), Refusal::Overlapping);
        }
        assert_eq!(bench.fragments.memory(), 0);
        // Also those to come.
        bench.refused(&fragment(0, 8), Refusal::Overlapping);
        bench.refused(&fragment(32, 64), Refusal::Overlapping);
        let count = bench.count();
        assert_eq!((count.overlapping, count.duplicates, count.datagrams_overlapping), (5, 1, 1));
        // Until its time is over.
        bench.time += 31 * SECOND;
        bench.held(&fragment(0, 8));
    }
}

#[test]
fn ends_that_contradict_each_other() {
    let whole = udp(56);
    let part = |start: usize, end: usize, more| v4(3, 17, start, more, &whole[start..end]);
    for (before, after) in [
        (part(32, 64, false), part(64 - 8, 60, false)),
        (part(32, 48, false), part(48, 64, true)),
        (part(32, 48, false), part(48, 64, false)),
        (part(32, 48, true), part(16, 32, false)),
        (part(16, 32, false), part(16, 32, true)),
        (part(16, 32, true), part(16, 32, false)),
        (part(32, 48, false), part(16, 48, true)),
    ] {
        let mut bench = Bench::new();
        bench.held(&before);
        bench.refused(&after, Refusal::Overlapping);
    }
}

#[test]
fn copies_after_the_end() {
    let whole = udp(24);
    let (first, last) = (v4(3, 17, 0, true, &whole[..16]), v4(3, 17, 16, false, &whole[16..]));
    let mut bench = Bench::new();
    bench.held(&first);
    assert!(matches!(bench.take(&first), Taken::Duplicate));
    bench.completed(&last);
    assert!(matches!(bench.take(&last), Taken::Duplicate));
    assert!(matches!(bench.take(&first), Taken::Duplicate));
    // Another datagram with the same number.
    let mut other = first.clone();
    other[30] ^= 1;
    bench.held(&other);
    bench.completed(&last);
    // The very same a while later is sent again.
    bench.time += 2 * SECOND;
    bench.held(&last);
    bench.completed(&other);
    assert_eq!((bench.count().duplicates, bench.count().datagrams_completed), (3, 3));
}

#[test]
fn impossible_fragments() {
    let mut bench = Bench::new();
    // No contents; not a multiple of 8 with more to come.
    bench.refused(&v4(3, 17, 16, false, &[]), Refusal::Impossible);
    bench.refused(&v4(3, 17, 16, true, &[0; 12]), Refusal::Impossible);
    bench.refused(&v6(3, 17, &[], 16, true, &[0; 12]), Refusal::Impossible);
    // Beyond what a datagram can be: 65535 bytes with the header in IPv4, without it in IPv6.
    bench.refused(&v4(3, 17, 65_528, false, &[0; 8]), Refusal::Impossible);
    bench.refused(&v4(3, 17, 65_512, false, &[0; 4]), Refusal::Impossible);
    bench.refused(&v4(3, 17, 65_504, false, &[0; 1_000]), Refusal::Impossible);
    bench.refused(&v6(3, 17, &[], 65_528, false, &[0; 8]), Refusal::Impossible);
    bench.refused(&v6(3, 17, &[(60, &[0; 7])], 65_520, false, &[0; 8]), Refusal::Impossible);
    assert_eq!((bench.count().impossible, bench.fragments.datagrams()), (8, 0));
    // What just fits.
    bench.held(&v4(3, 17, 65_512, false, &[0; 3]));
    bench.held(&v6(3, 17, &[], 65_528, false, &[0; 7]));
    // Not a fragment at all: not counted.
    assert!(matches!(bench.take(&v4(3, 17, 0, false, &udp(3))), Taken::NotAFragment));
    assert_eq!(bench.count().fragments, 10);
}

#[test]
fn the_largest_datagram() {
    let whole = udp(65_535 - 28);
    let mut bench = Bench::new();
    let pieces: Vec<&[u8]> = whole.chunks(1_480).collect();
    let mut made = None;
    for (number, piece) in pieces.iter().enumerate().rev() {
        match bench.take(&v4(3, 17, number * 1_480, number + 1 < pieces.len(), piece)) {
            Taken::Completed(datagram) => made = Some(datagram),
            Taken::Held => {}
            taken => panic!("{taken:?}"),
        }
    }
    let datagram = made.unwrap();
    assert_eq!(datagram.frame().data.len(), 65_535);
    assert_eq!(datagram.decode(&Decap::ALL).payload.wire_len as usize, whole.len() - 8);
}

#[test]
fn a_cut_fragment_voids_the_datagram() {
    let whole = udp(56);
    let data = v4(3, 17, 0, true, &whole[..32]);
    let mut bench = Bench::new();
    bench.held(&v4(3, 17, 32, false, &whole[32..]));
    let cut = Frame { orig_len: data.len() as u32, ..frame(&data[..data.len() - 1], bench.time) };
    assert!(matches!(bench.take_frame(&cut), Taken::Refused(Refusal::Cut)));
    bench.refused(&data, Refusal::Cut);
    assert_eq!((bench.count().cut, bench.count().datagrams_cut, bench.fragments.memory()), (3, 1, 0));
    // A cut copy of what is there harms nothing.
    let mut bench = Bench::new();
    bench.held(&data);
    assert!(matches!(bench.take_frame(&cut), Taken::Duplicate));
}

#[test]
fn tiny_first_fragments() {
    let mut bench = Bench::new();
    let tcp = [0, 80, 0, 81, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 1, 0, 0, 0, 0, 0, b'x'];
    // The flags are in the second fragment; whole, it is a segment like any other.
    bench.held(&v4(3, 6, 0, true, &tcp[..8]));
    let datagram = bench.completed(&v4(3, 6, 8, false, &tcp[8..]));
    let packet = datagram.decode(&Decap::ALL);
    assert_eq!((packet.end, bench.count().tiny_first), (End::Transport, 1));
    assert!(crate::Segment::new(&datagram.frame(), &packet, 2).is_some());
    // Too short even together.
    bench.held(&v4(4, 6, 0, true, &tcp[..8]));
    let datagram = bench.completed(&v4(4, 6, 8, false, &tcp[8..12]));
    assert!(datagram.decode(&Decap::ALL).malformed().is_some());
}

#[test]
fn time_runs_out() {
    let mut bench = Bench::new();
    let since = bench.time;
    bench.held(&v4(3, 17, 0, true, &[0; 8]));
    bench.time += 10 * SECOND;
    bench.held(&v4(3, 17, 8, true, &[0; 8]));
    bench.held(&v4(4, 17, 8, true, &[0; 8]));
    bench.fragments.tick(Timestamp(since + 30 * SECOND - 1));
    assert_eq!(bench.count().expired, 0);
    bench.fragments.tick(Timestamp(since + 30 * SECOND));
    assert_eq!((bench.count().expired, bench.count().datagrams_expired, bench.count().held), (2, 1, 1));
    // Without a tick between, the next fragment begins another datagram.
    bench.time += 40 * SECOND;
    bench.held(&v4(4, 17, 0, true, &[0; 8]));
    assert_eq!((bench.count().expired, bench.fragments.datagrams()), (3, 1));
    bench.fragments.finish();
    assert_eq!((bench.count().at_end, bench.count().datagrams_at_end, bench.fragments.memory()), (1, 1, 0));
    assert_eq!(bench.fragments.check(), []);
}

#[test]
fn the_oldest_make_room() {
    let limits = FragmentLimits { datagrams: 3, ..FragmentLimits::default() };
    let mut bench = Bench::with(limits);
    for id in 1..=4 {
        bench.held(&v4(id, 17, 0, true, &[0; 8]));
    }
    assert_eq!((bench.count().evicted, bench.fragments.datagrams()), (1, 3));
    bench.completed(&v4(2, 17, 8, false, &[0; 8]));
    // Its place is free, and the first one begins anew.
    bench.held(&v4(1, 17, 8, false, &[0; 8]));
    assert_eq!((bench.count().evicted, bench.fragments.datagrams()), (1, 3));

    let cost = 2_048 + 64 + datagram::PIECE_COST;
    let mut bench = Bench::with(FragmentLimits { bytes: 3 * cost, ..FragmentLimits::default() });
    for id in 1..=4 {
        bench.held(&v4(id, 17, 0, true, &[0; 1_480]));
    }
    assert_eq!((bench.count().evicted, bench.fragments.memory()), (1, 3 * cost));
    // More than all of the memory: the others go first, then it is given up itself.
    bench.held(&v4(9, 17, 0, true, &[0; 4_000]));
    bench.refused(&v4(9, 17, 4_000, true, &[0; 4_000]), Refusal::Full);
    assert_eq!((bench.count().evicted, bench.count().full, bench.fragments.memory()), (4, 2, 0));
}

#[test]
fn too_many_pieces() {
    let mut bench = Bench::with(FragmentLimits { fragments: 4, ..FragmentLimits::default() });
    for number in 0..4 {
        bench.held(&v4(3, 17, number * 16, true, &[0; 8]));
    }
    bench.refused(&v4(3, 17, 64, true, &[0; 8]), Refusal::TooMany);
    bench.refused(&v4(3, 17, 8, true, &[0; 8]), Refusal::TooMany);
    assert_eq!((bench.count().too_many, bench.count().datagrams_too_many), (6, 1));
}

/// An inner datagram in fragments, in a tunnel whose packets come in fragments.
#[test]
fn fragments_in_tunnels_in_fragments() {
    let whole = udp(2_000);
    let inner = [v4(5, 17, 0, true, &whole[..1_480]), v4(5, 17, 1_480, false, &whole[1_480..])];
    let mut bench = Bench::new();
    let mut completed = Vec::new();
    for (number, fragment) in inner.iter().enumerate() {
        let mut bridged = vec![0; 12];
        bridged.extend([8, 0]);
        bridged.extend(fragment);
        let vxlan = [&[8, 0, 0, 0, 0, 1, 2, 0][..], &bridged].concat();
        let mut datagram = udp(vxlan.len());
        datagram[2..4].copy_from_slice(&4789_u16.to_be_bytes());
        datagram[8..].copy_from_slice(&vxlan);
        let id = 100 + number as u16;
        let cut = 400;
        bench.held(&v4(id, 17, 0, true, &datagram[..cut]));
        let outer = bench.completed(&v4(id, 17, cut, false, &datagram[cut..]));
        let packet = outer.decode(&Decap::ALL);
        assert_eq!((packet.end, packet.tunnels), (End::Fragment, 1));
        match bench.fragments.take(&outer.frame(), &packet, bench.position) {
            Taken::Completed(datagram) => completed.push(datagram),
            Taken::Held => assert_eq!(number, 0),
            taken => panic!("{taken:?}"),
        }
        bench.fragments.recycle(outer);
    }
    let packet = completed[0].decode(&Decap::ALL);
    let tunnel = packet.tunnel.unwrap();
    assert_eq!((packet.end, packet.tunnels), (End::Transport, 1));
    assert_eq!((tunnel.kind, tunnel.id, tunnel.outer_ip), (TunnelKind::Vxlan, Some(0x0102), None));
    assert_eq!(completed[0].frame().data[packet.payload.range()], whole[8..]);
    assert_eq!(packet.flow.unwrap().0.protocol(), IpProtocol::UDP);
    assert_eq!(bench.fragments.check(), []);
}

/// Never completed: the memory stays within its bound, and what is legitimate beside it is put together.
#[test]
fn a_flood_of_fragments() {
    let limits = FragmentLimits { bytes: 1 << 20, datagrams: 500, ..FragmentLimits::default() };
    let mut fragments = Fragments::new(limits, 0x5eed);
    let whole = udp(2_000);
    let mut completed = 0;
    let mut flood = [
        v4(0, 17, 0, true, &[0; 8]),
        v4(0, 17, 64_000, true, &[0; 1_400]),
        v6(0, 17, &[], 64_000, true, &[0; 8]),
    ];
    let rounds: u32 = if cfg!(debug_assertions) { 300_000 } else { 3_000_000 };
    let mut time = SECOND;
    for round in 0..rounds {
        time += 300;
        let data = &mut flood[round as usize % 3];
        let source = if data[0] == 0x45 { 12 } else { 12 + 8 };
        data[source..source + 4].copy_from_slice(&round.wrapping_mul(0x9e37_79b1).to_be_bytes());
        let given = frame(data, time);
        let taken = fragments.take(&given, &Packet::decode(&given), u64::from(round));
        assert!(matches!(taken, Taken::Held));
        assert!(fragments.memory() <= limits.bytes && fragments.datagrams() <= limits.datagrams);
        // 30 fragments of the flood between the two of each datagram.
        let id = (round / 60) as u16;
        let legitimate = match round % 60 {
            0 => v4(id, 17, 0, true, &whole[..1_480]),
            30 => v4(id, 17, 1_480, false, &whole[1_480..]),
            _ => continue,
        };
        let given = frame(&legitimate, time);
        if let Taken::Completed(datagram) = fragments.take(&given, &Packet::decode(&given), u64::from(round))
        {
            assert_eq!(datagram.frame().data[20..], whole);
            completed += 1;
            fragments.recycle(datagram);
        }
        fragments.tick(Timestamp(time));
    }
    assert_eq!(completed, rounds / 60);
    assert_eq!(fragments.check(), []);
    let count = fragments.counters();
    assert_eq!(count.evicted + count.held + count.completed, count.fragments);
    assert!(count.evicted > u64::from(rounds) - 1_000);
}

#[test]
fn patience_of_any_length() {
    for (patience, over) in [(Duration::ZERO, true), (Duration::MAX, false)] {
        let mut fragments = Fragments::new(FragmentLimits { patience, ..FragmentLimits::default() }, 1);
        let data = v4(1, 17, 0, true, &[0; 8]);
        let given = frame(&data, 5);
        assert!(matches!(fragments.take(&given, &Packet::decode(&given), 0), Taken::Held));
        fragments.tick(Timestamp(u64::MAX));
        assert_eq!(fragments.datagrams() == 0, over);
    }
}
