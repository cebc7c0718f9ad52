use std::net::IpAddr;

use proptest::prelude::*;

use super::USUAL_LINK_TYPES;
use crate::*;

mod tunnels;

fn frame(data: &[u8], link_type: LinkType) -> Frame<'_> {
    Frame {
        data,
        timestamp: Timestamp(0),
        orig_len: data.len() as u32,
        link_type,
        interface: 0,
        packet_type: PacketType::Host,
    }
}

fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &ether_type.to_be_bytes(), payload].concat()
}

fn vlan(tci: u16, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&tci.to_be_bytes()[..], &ether_type.to_be_bytes(), payload].concat()
}

/// An IPv4 packet from 10.0.0.1 to 10.0.0.2.
fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let total_len = (20 + payload.len()) as u16;
    let mut header = vec![0x45, 0];
    header.extend(total_len.to_be_bytes());
    header.extend([0x12, 0x34, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    header.extend(payload);
    header
}

/// An IPv6 packet from fd00::1 to fd00::2.
fn ipv6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend((payload.len() as u16).to_be_bytes());
    header.extend([next_header, 64, 0xfd]);
    header.extend([0; 14]);
    header.extend([1, 0xfd]);
    header.extend([0; 14]);
    header.push(2);
    header.extend(payload);
    header
}

fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let len = (8 + payload.len()) as u16;
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &len.to_be_bytes(), &[0, 0], payload].concat()
}

/// A TCP segment with 4 bytes of options.
fn tcp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let mut segment = [from.to_be_bytes(), to.to_be_bytes()].concat();
    segment.extend(0x0102_0304_u32.to_be_bytes());
    segment.extend(0x0506_0708_u32.to_be_bytes());
    segment.extend([0x60, 0x18, 0x20, 0, 0, 0, 0, 0, 2, 4, 5, 0xb4]);
    segment.extend(payload);
    segment
}

fn vxlan(payload: &[u8]) -> Vec<u8> {
    [&[8, 0, 0, 0, 0, 0, 42, 0], payload].concat()
}

fn kinds(packet: &Packet) -> Vec<LayerKind> {
    packet.layers().iter().map(|layer| layer.kind).collect()
}

fn ports(packet: &Packet) -> (u16, u16) {
    let (key, side) = packet.flow.unwrap();
    (key.endpoint(side).port, key.endpoint(side.opposite()).port)
}

use LayerKind::*;

#[test]
fn tcp_over_ipv4() {
    let data = ethernet(0x0800, &ipv4(6, &tcp(40000, 80, b"GET /")));
    let packet = Packet::decode(&frame(&data, LinkType::ETHERNET));
    assert_eq!(packet.end, End::Transport);
    assert_eq!(kinds(&packet), [Ethernet, Ipv4, Tcp]);
    assert_eq!(packet.layers()[2].offset, 34);
    let Transport::Tcp(tcp) = packet.transport else { panic!("{:?}", packet.transport) };
    assert_eq!((tcp.offset, tcp.len, tcp.sequence, tcp.acknowledgement), (34, 24, 0x0102_0304, 0x0506_0708));
    assert_eq!((tcp.window, tcp.flags), (0x2000, TcpFlags(0x18)));
    assert_eq!(data[tcp.options()], [2, 4, 5, 0xb4]);
    assert_eq!(&data[packet.payload.range()], b"GET /");
    let (key, side) = packet.flow.unwrap();
    assert_eq!(key.endpoint(side).address, IpAddr::from([10, 0, 0, 1]));
    assert_eq!(ports(&packet), (40000, 80));
}

#[test]
fn padding_is_no_payload() {
    let mut data = ethernet(0x0800, &ipv4(17, &udp(1, 2, b"abc")));
    data.resize(60, 0xee);
    let packet = Packet::decode(&frame(&data, LinkType::ETHERNET));
    assert_eq!(&data[packet.payload.range()], b"abc");
    assert_eq!(packet.payload.wire_len, 3);
}

#[test]
fn tags_labels_and_llc() {
    let ip = ipv4(17, &udp(1, 2, b""));
    let tagged = ethernet(0x88a8, &vlan(5, 0x8100, &vlan(6, 0x9100, &vlan(7, 0x0800, &ip))));
    let packet = Packet::decode(&frame(&tagged, LinkType::ETHERNET));
    assert_eq!(kinds(&packet), [Ethernet, Vlan, Vlan, Vlan, Ipv4, Udp]);

    let mut deep = ip.clone();
    for _ in 0..bounds::VLAN_TAGS {
        deep = vlan(1, if deep[0] == 0x45 { 0x0800 } else { 0x8100 }, &deep);
    }
    let packet = Packet::decode(&frame(&ethernet(0x8100, &deep), LinkType::ETHERNET));
    assert_eq!(packet.end, End::Transport);
    let packet = Packet::decode(&frame(&ethernet(0x8100, &vlan(1, 0x8100, &deep)), LinkType::ETHERNET));
    assert_eq!(packet.malformed(), Some(Malformed::VlanDepth));

    let labels = [&[0, 1, 0x00, 64, 0, 2, 0x01, 64][..], &ip].concat();
    let packet = Packet::decode(&frame(&ethernet(0x8847, &labels), LinkType::ETHERNET));
    assert_eq!(kinds(&packet), [Ethernet, Mpls, Mpls, Ipv4, Udp]);
    let endless = [0, 1, 0, 64].repeat(bounds::MPLS_LABELS + 1);
    let packet = Packet::decode(&frame(&ethernet(0x8847, &endless), LinkType::ETHERNET));
    assert_eq!(packet.malformed(), Some(Malformed::MplsDepth));

    let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 0x08, 0][..], &ip].concat();
    let mut data = ethernet(snap.len() as u16, &snap);
    data.extend([0xee; 4]);
    let packet = Packet::decode(&frame(&data, LinkType::ETHERNET));
    assert_eq!(kinds(&packet), [Ethernet, Llc, Snap, Ipv4, Udp]);
    assert_eq!(packet.payload.wire_len, 0);
}

#[test]
fn other_link_types() {
    let (v4, v6) = (ipv4(17, &udp(1, 2, b"x")), ipv6(17, &udp(1, 2, b"x")));
    let cooked = |protocol: u16, payload: &[u8]| {
        [&[0, 4, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0][..], &protocol.to_be_bytes(), payload].concat()
    };
    let cooked2 = |protocol: u16, payload: &[u8]| {
        [&protocol.to_be_bytes()[..], &[0, 0, 0, 0, 0, 3, 0, 1, 4, 6, 2, 0, 0, 0, 0, 1, 0, 0], payload]
            .concat()
    };
    let null = |family: [u8; 4], payload: &[u8]| [&family, payload].concat();
    let ends = |data: &[u8], link_type| kinds(&Packet::decode(&frame(data, link_type)));
    assert_eq!(ends(&cooked(0x0800, &v4), LinkType::SLL), [LinuxCooked, Ipv4, Udp]);
    assert_eq!(ends(&cooked(0x8100, &vlan(3, 0x86dd, &v6)), LinkType::SLL), [LinuxCooked, Vlan, Ipv6, Udp]);
    assert_eq!(ends(&cooked2(0x86dd, &v6), LinkType::SLL2), [LinuxCooked2, Ipv6, Udp]);
    for (family, payload, kind) in
        [(2, &v4, Ipv4), (10, &v6, Ipv6), (24, &v6, Ipv6), (28, &v6, Ipv6), (30, &v6, Ipv6)]
    {
        for link_type in [LinkType::NULL, LinkType::LOOP] {
            assert_eq!(ends(&null([family, 0, 0, 0], payload), link_type), [Null, kind, Udp]);
            assert_eq!(ends(&null([0, 0, 0, family], payload), link_type), [Null, kind, Udp]);
        }
    }
    assert_eq!(ends(&v4, LinkType::RAW), [Ipv4, Udp]);
    assert_eq!(ends(&v6, LinkType::RAW), [Ipv6, Udp]);
    assert_eq!(ends(&v4, LinkType::IPV4), [Ipv4, Udp]);
    assert_eq!(ends(&v6, LinkType::IPV6), [Ipv6, Udp]);
    assert_eq!(Packet::decode(&frame(&v6, LinkType::IPV4)).malformed(), Some(Malformed::IpVersion));
    assert_eq!(Packet::decode(&frame(&v4, LinkType(9999))).end, End::Unknown);
}

#[test]
fn serial_links_and_netfilter() {
    let ip = ipv4(6, &tcp(7, 80, b"x"));
    let headers = [&[0xff, 3, 0, 0x21][..], &[0, 0x21], &[0x21]];
    for header in headers {
        let data = [header, &ip].concat();
        for link_type in [LinkType::PPP, LinkType::PPP_HDLC] {
            let packet = Packet::decode(&frame(&data, link_type));
            assert_eq!(kinds(&packet), [Ppp, Ipv4, Tcp]);
            assert_eq!((ports(&packet), packet.end), ((7, 80), End::Transport));
        }
    }
    for address in [0x0f, 0x8f, 0x10] {
        let data = [&[address, 0, 8, 0][..], &ip].concat();
        let packet = Packet::decode(&frame(&data, LinkType::C_HDLC));
        match address {
            0x10 => assert_eq!(packet.end, End::Unknown),
            _ => assert_eq!(kinds(&packet), [CiscoHdlc, Ipv4, Tcp]),
        }
    }
    // A header attribute, a prefix of five bytes and its padding, the packet, and another attribute.
    let attribute = |little: bool, kind: u16, value: &[u8]| {
        let numbers = [value.len() as u16 + 4, kind];
        let numbers = numbers.map(|number| if little { number.to_le_bytes() } else { number.to_be_bytes() });
        let mut bytes = [numbers.as_flattened(), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    for little in [true, false] {
        let before = [attribute(little, 1, &[8, 0, 1, 0]), attribute(little, 10, b"drop\0")].concat();
        let whole = [&[2, 0, 0, 30][..], &before, &attribute(little, 9, &ip), &attribute(little, 4, &[0; 4])]
            .concat();
        let packet = Packet::decode(&frame(&whole, LinkType::NFLOG));
        assert_eq!(kinds(&packet), [Nflog, Ipv4, Tcp]);
        assert_eq!((ports(&packet), packet.payload.wire_len), ((7, 80), 1));
        let none = [&[2, 0, 0, 30][..], &before].concat();
        assert_eq!(Packet::decode(&frame(&none, LinkType::NFLOG)).end, End::Malformed(Malformed::LinkHeader));
    }
    assert_eq!(
        Packet::decode(&frame(&[2, 0, 0, 0, 3, 0, 1, 0], LinkType::NFLOG)).end,
        End::Malformed(Malformed::LinkHeader)
    );
    assert_eq!(Packet::decode(&frame(&[7, 0, 0, 0, 9, 0, 9, 0], LinkType::NFLOG)).end, End::Unknown);
}

#[test]
fn wireless() {
    let ip = ipv4(6, &tcp(7, 80, b"x"));
    let llc = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &ip].concat();
    let air = |kind: u8, flags: u8, fragment: u8, beside: &[u8], payload: &[u8]| {
        let mut header = [0x55; 24];
        (header[0], header[1], header[22]) = (kind, flags, fragment);
        // The check sequence of the frame comes behind the packet.
        [&header[..], beside, payload, &[1, 2, 3, 4]].concat()
    };
    let radio = |present: u32, fields: &[u8], frame: &[u8]| {
        let len = (8 + fields.len() as u16).to_le_bytes();
        [&[0, 0][..], &len, &present.to_le_bytes(), fields, frame].concat()
    };
    for (kind, flags, beside) in [
        (0x08, 1, &[][..]),
        (0x08, 2, &[]),
        (0x08, 3, &[9; 6]),
        (0x88, 0x0a, &[0; 2]),
        (0x88, 3, &[0; 8]),
        (0x88, 0x81, &[0; 6]),
    ] {
        let data = air(kind, flags, 0x10, beside, &llc);
        let packet = Packet::decode(&frame(&data, LinkType::IEEE802_11));
        assert_eq!(kinds(&packet), [Ieee80211, Llc, Snap, Ipv4, Tcp], "{kind:x} {flags:x}");
        assert_eq!((ports(&packet), packet.payload.wire_len), ((7, 80), 1));
        let time = [&[0; 8][..], &[0x10, 2]].concat();
        for (present, fields) in [(0, &[][..]), (2, &[0x10]), (3, &time), (0x8000_0000, &[0; 4])] {
            let data = radio(present, fields, &data);
            let packet = Packet::decode(&frame(&data, LinkType::IEEE802_11_RADIOTAP));
            assert_eq!(kinds(&packet), [Radiotap, Ieee80211, Llc, Snap, Ipv4, Tcp], "{present:x}");
            assert_eq!((ports(&packet), packet.payload.wire_len), ((7, 80), 1));
            for len in 0..data.len() {
                let cut = Frame {
                    orig_len: data.len() as u32,
                    ..frame(&data[..len], LinkType::IEEE802_11_RADIOTAP)
                };
                assert!(matches!(Packet::decode(&cut).end, End::Cut | End::Transport), "{len}");
                Packet::decode(&frame(&data[..len], LinkType::IEEE802_11_RADIOTAP));
            }
        }
    }
    // Padded by the radio, with the flag behind its time, which has its own padding behind two words of the list.
    let padded = air(0x88, 1, 0, &[0, 0, 0xee, 0xee], &llc);
    let fields = [&[0, 0, 0, 0][..], &[0; 4], &[0; 8], &[0x20]].concat();
    let data = radio(0x8000_0003, &fields, &padded);
    let packet = Packet::decode(&frame(&data, LinkType::IEEE802_11_RADIOTAP));
    assert_eq!((ports(&packet), packet.end), ((7, 80), End::Transport));
    // Management, control, nothing in it, encrypted, a fragment, its last, several in one.
    for (kind, flags, fragment, beside) in [
        (0x80, 0, 0, &[][..]),
        (0xb4, 0, 0, &[]),
        (0x48, 1, 0, &[]),
        (0x08, 0x41, 0, &[]),
        (0x08, 0x05, 0, &[]),
        (0x08, 0x01, 1, &[]),
        (0x88, 1, 0, &[0x80, 0]),
    ] {
        let data = air(kind, flags, fragment, beside, &llc);
        assert_eq!(Packet::decode(&frame(&data, LinkType::IEEE802_11)).end, End::Unknown, "{kind:x}");
    }
    let broken = [0, 0, 7, 0, 0, 0, 0, 0];
    assert_eq!(
        Packet::decode(&frame(&broken, LinkType::IEEE802_11_RADIOTAP)).end,
        End::Malformed(Malformed::LinkHeader)
    );
}

#[test]
fn extension_headers() {
    let payload = [
        &[43, 0, 0, 0, 0, 0, 0, 0][..],
        &[51, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[44, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[60, 0, 0, 0, 0, 0, 0, 9],
        &[6, 0, 0, 0, 0, 0, 0, 0],
        &tcp(1, 2, b"data"),
    ]
    .concat();
    let data = ipv6(0, &payload);
    let packet = Packet::decode(&frame(&data, LinkType::RAW));
    assert_eq!(
        kinds(&packet),
        [Ipv6, HopByHop, Routing, Authentication, FragmentHeader, DestinationOptions, Tcp]
    );
    assert_eq!(packet.end, End::Transport);
    let ip = packet.ip.unwrap();
    assert_eq!((ip.protocol, ip.fragment), (IpProtocol::TCP, None));
    assert_eq!(usize::from(ip.payload_offset), data.len() - tcp(1, 2, b"data").len());

    let endless = [60, 0, 0, 0, 0, 0, 0, 0].repeat(bounds::IPV6_EXTENSIONS + 1);
    let packet = Packet::decode(&frame(&ipv6(60, &endless), LinkType::RAW));
    assert_eq!(packet.malformed(), Some(Malformed::ExtensionDepth));
    // The numbers mean nothing of the kind in IPv4.
    let packet = Packet::decode(&frame(&ipv4(60, &endless), LinkType::RAW));
    assert_eq!(packet.end, End::Unknown);
}

#[test]
fn fragments_have_no_ports() {
    let mut data = ipv4(17, &udp(1, 2, &[0; 24]));
    data[6..8].copy_from_slice(&0x2003_u16.to_be_bytes());
    let packet = Packet::decode(&frame(&data, LinkType::RAW));
    assert_eq!(packet.end, End::Fragment);
    let fragment = packet.ip.unwrap().fragment.unwrap();
    assert_eq!((fragment.id, fragment.offset, fragment.more), (0x1234, 24, true));
    assert_eq!(ports(&packet), (0, 0));
    assert_eq!(packet.payload.captured_len, 32);

    let data = ipv6(44, &[&[17, 0, 0, 0x18, 1, 2, 3, 4][..], &udp(1, 2, b"abcdefgh")].concat());
    let packet = Packet::decode(&frame(&data, LinkType::RAW));
    let fragment = packet.ip.unwrap().fragment.unwrap();
    assert_eq!((fragment.id, fragment.offset, fragment.more), (0x0102_0304, 24, false));
    assert_eq!(packet.flow.unwrap().0.protocol(), IpProtocol::UDP);
}

#[test]
fn tunnels_yield_the_inner_flow() {
    let inner = ipv4(6, &tcp(40000, 80, b"inner"));
    let check = |data: &[u8], layers: &[LayerKind]| {
        let packet = Packet::decode(&frame(data, LinkType::RAW));
        assert_eq!(kinds(&packet), layers);
        assert_eq!(packet.end, End::Transport);
        assert_eq!(ports(&packet), (40000, 80));
        assert_eq!(&data[packet.payload.range()], b"inner");
    };
    let over_vxlan = vxlan(&ethernet(0x8100, &vlan(9, 0x0800, &inner)));
    check(&ipv6(17, &udp(5, 4789, &over_vxlan)), &[Ipv6, Udp, Vxlan, Ethernet, Vlan, Ipv4, Tcp]);
    check(&ipv4(47, &[&[0, 0, 8, 0][..], &inner].concat()), &[Ipv4, Gre, Ipv4, Tcp]);
    let all_optional =
        [&[0xb0, 0, 0x65, 0x58, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2][..], &ethernet(0x0800, &inner)];
    check(&ipv4(47, &all_optional.concat()), &[Ipv4, Gre, Ethernet, Ipv4, Tcp]);
    check(&ipv6(4, &inner), &[Ipv6, Ipv4, Tcp]);
}

#[test]
fn what_only_looks_like_a_tunnel() {
    // No I flag: a datagram like any other.
    let data = ipv4(17, &udp(5, 4789, &[0; 60]));
    let packet = Packet::decode(&frame(&data, LinkType::RAW));
    assert_eq!((packet.end, packet.transport, ports(&packet)), (End::Transport, Transport::Udp, (5, 4789)));
    // PPTP's version of GRE.
    let data = ipv4(47, &[0x30, 0x81, 0x88, 0x0b, 0, 0, 0, 0]);
    let packet = Packet::decode(&frame(&data, LinkType::RAW));
    assert_eq!(packet.end, End::Unknown);
    assert_eq!(packet.flow.unwrap().0.protocol(), IpProtocol::GRE);
    // ARP inside VXLAN: the outer datagram is what there is.
    let data = ipv4(17, &udp(5, 4789, &vxlan(&ethernet(0x0806, &[0; 28]))));
    let packet = Packet::decode(&frame(&data, LinkType::RAW));
    assert_eq!((packet.end, ports(&packet)), (End::Unknown, (5, 4789)));
}

#[test]
fn impossible_lengths() {
    let reason = |data: &[u8]| Packet::decode(&frame(data, LinkType::RAW)).malformed();
    let with = |mut data: Vec<u8>, at: usize, value: &[u8]| {
        data[at..at + value.len()].copy_from_slice(value);
        data
    };
    let v4 = ipv4(6, &tcp(1, 2, b"xx"));
    assert_eq!(reason(&with(v4.clone(), 0, &[0x44])), Some(Malformed::Ipv4Header));
    assert_eq!(reason(&with(v4.clone(), 2, &[0, 19])), Some(Malformed::Ipv4Length));
    assert_eq!(reason(&with(v4.clone(), 32, &[0x40])), Some(Malformed::TcpDataOffset));
    assert_eq!(reason(&with(v4.clone(), 32, &[0xf0])), Some(Malformed::TcpHeader));
    assert_eq!(reason(&with(v4, 0, &[0x75])), Some(Malformed::IpVersion));
    let v4 = ipv4(17, &udp(1, 2, b"xx"));
    assert_eq!(reason(&with(v4.clone(), 24, &[0, 7])), Some(Malformed::UdpLength));
    assert_eq!(reason(&with(v4.clone(), 24, &[0, 11])), Some(Malformed::UdpLength));
    assert_eq!(reason(&with(v4, 24, &[0, 0])), Some(Malformed::UdpLength));
    assert_eq!(reason(&ipv6(51, &[6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])), Some(Malformed::Extension));
    assert_eq!(reason(&ipv4(1, &[8, 0, 0])), Some(Malformed::IcmpHeader));
    assert_eq!(reason(&ipv4(132, &[8, 0, 0])), Some(Malformed::TransportHeader));
    let inner = with(ipv4(17, &udp(1, 2, b"xx")), 2, &[0, 99]);
    assert_eq!(reason(&ipv4(4, &inner)), Some(Malformed::Ipv4Length));
    let inner = with(ipv6(17, &udp(1, 2, b"xx")), 4, &[0, 99]);
    assert_eq!(reason(&ipv4(41, &inner)), Some(Malformed::Ipv6Length));
}

/// Found in a capture whose frames had lost their last bytes, original lengths adjusted.
#[test]
fn a_frame_shorter_than_its_ip_header_says_counts_as_cut() {
    let mut data = ipv4(6, &tcp(1, 2, b"0123456789"));
    data.truncate(data.len() - 4);
    let packet = Packet::decode(&frame(&data, LinkType::RAW));
    assert_eq!(packet.end, End::Transport);
    assert_eq!((packet.payload.captured_len, packet.payload.wire_len), (6, 10));
    data.truncate(30);
    let packet = Packet::decode(&frame(&data, LinkType::RAW));
    assert_eq!(packet.end, End::Cut);
    assert_eq!(ports(&packet), (1, 2));
}

#[test]
fn super_frames_have_length_0() {
    let payload = vec![7; 100_000];
    for (data, offset) in [(ipv4(6, &tcp(1, 2, &payload)), 2), (ipv6(6, &tcp(1, 2, &payload)), 4)] {
        let mut data = data;
        data[offset..offset + 2].fill(0);
        let packet = Packet::decode(&frame(&data, LinkType::RAW));
        assert_eq!(packet.end, End::Transport);
        assert_eq!(packet.payload.captured_len, 100_000);
    }
    // A jumbogram's UDP length is 0 as well.
    let mut data = ipv6(17, &udp(1, 2, &payload));
    data[4..6].fill(0);
    data[44..46].fill(0);
    let packet = Packet::decode(&frame(&data, LinkType::RAW));
    assert_eq!((packet.end, packet.payload.wire_len), (End::Transport, 100_000));
}

/// A frame with every kind of header that can be stacked.
fn tall_frame() -> Vec<u8> {
    let inner = ipv6(0, &[&[6, 0, 0, 0, 0, 0, 0, 0][..], &tcp(1, 2, b"payload")].concat());
    let over_vxlan = vxlan(&ethernet(0x8100, &vlan(9, 0x86dd, &inner)));
    ethernet(0x88a8, &vlan(1, 0x8100, &vlan(2, 0x0800, &ipv4(17, &udp(5, 4789, &over_vxlan)))))
}

#[test]
fn cut_at_every_length() {
    let data = tall_frame();
    let whole = Packet::decode(&frame(&data, LinkType::ETHERNET));
    assert_eq!(whole.end, End::Transport);
    let headers = whole.payload.offset as usize;
    for len in 0..data.len() {
        // Cut by the snaplen: never malformed, and the same as far as it goes.
        let cut = Frame { orig_len: data.len() as u32, ..frame(&data[..len], LinkType::ETHERNET) };
        let packet = Packet::decode(&cut);
        assert_eq!(packet.end, if len < headers { End::Cut } else { End::Transport }, "cut to {len}");
        assert!(whole.layers().starts_with(packet.layers()), "cut to {len}");
        if len >= headers {
            assert_eq!(packet.payload.wire_len, 7);
            assert_eq!(packet.payload.captured_len as usize, len - headers);
            assert_eq!(packet.flow, whole.flow);
        }
        // Really that short: malformed in front of the IP header, behind it the IP length is believed.
        let short = Packet::decode(&frame(&data[..len], LinkType::ETHERNET));
        match len {
            0..14 => assert_eq!(short.malformed(), Some(Malformed::LinkHeader), "short at {len}"),
            14..22 => assert_eq!(short.malformed(), Some(Malformed::Vlan), "short at {len}"),
            22..42 => assert_eq!(short.malformed(), Some(Malformed::Ipv4Header), "short at {len}"),
            _ => assert_eq!(short.end, packet.end, "short at {len}"),
        }
    }
}

#[test]
fn short_at_every_length_behind_a_length_that_says_so() {
    let bodies = [
        (6, tcp(1, 2, b""), Malformed::TcpHeader),
        (17, udp(1, 2, b""), Malformed::UdpHeader),
        (1, vec![8, 0, 0, 0, 0, 1, 0, 1], Malformed::IcmpHeader),
        (58, vec![128, 0, 0, 0, 0, 1, 0, 1], Malformed::IcmpHeader),
        (0, [&[6, 0, 0, 0, 0, 0, 0, 0][..], &tcp(1, 2, b"")].concat(), Malformed::Extension),
        (47, [&[0x30, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &ipv4(59, b"")].concat(), Malformed::Gre),
    ];
    for (protocol, body, reason) in bodies {
        assert!(Packet::decode(&frame(&ipv6(protocol, &body), LinkType::RAW)).malformed().is_none());
        // 8 bytes are the shortest of these headers; the one behind an extension header has its own reason.
        for len in 0..8 {
            // An empty payload needs a length that is not 0: 0 means "as long as the frame".
            let data = ipv6(60, &[&[protocol, 0, 0, 0, 0, 0, 0, 0][..], &body[..len]].concat());
            let packet = Packet::decode(&frame(&data, LinkType::RAW));
            assert_eq!(packet.malformed(), Some(reason), "{protocol} with {len} bytes");
            assert_eq!(packet.flow, None);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes_keep_the_invariants(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        super::fuzz_decode(&data);
    }

    /// Mutated real frames get deeper than random bytes.
    #[test]
    fn mutated_frames_keep_the_invariants(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<proptest::sample::Index>(),
        prefix: [u8; 2],
    ) {
        let mut data = tall_frame();
        for (at, value) in changes {
            let at = at.index(data.len());
            data[at] = value;
        }
        data.truncate(cut.index(data.len()) + 1);
        super::fuzz_decode(&[&prefix[..], &data].concat());
    }

    /// Usual segments with a few changes: on either side of what the short ways take.
    #[test]
    fn the_short_ways_are_no_others(
        (link_type, tags, v6) in (any_link_type(), 0..4_usize, any::<bool>()),
        payload in proptest::collection::vec(any::<u8>(), 0..40),
        changes in proptest::collection::vec((0..100_usize, any::<u8>()), 0..3),
        cut in any::<proptest::sample::Index>(),
        padding in 0..8_usize,
        prefix: [u8; 2],
    ) {
        let mut data = usual(link_type, tags, v6, &payload);
        data.extend(vec![0; padding]);
        for (at, value) in changes {
            if let Some(byte) = data.get_mut(at) {
                *byte = value;
            }
        }
        data.truncate((cut.index(2 * data.len()) + 1).min(data.len()));
        super::fuzz_decode(&[&prefix[..], &data].concat());
    }
}

fn any_link_type() -> impl Strategy<Value = LinkType> {
    proptest::sample::select(USUAL_LINK_TYPES.to_vec())
}

/// A segment with four bytes of options in a frame that may have so many tags, if its link type has a place for them.
fn usual(link_type: LinkType, tags: usize, v6: bool, payload: &[u8]) -> Vec<u8> {
    let segment = tcp(40_000, 80, payload);
    let (mut ether_type, mut data) =
        if v6 { (0x86dd, ipv6(6, &segment)) } else { (0x0800, ipv4(6, &segment)) };
    let family = if v6 { 10 } else { 2 };
    let link_tags = if has_tags(link_type) { tags } else { 0 };
    for tag in 0..link_tags {
        data = vlan(100 + tag as u16, ether_type, &data);
        ether_type = [0x8100, 0x88a8, 0x9100][tag % 3];
    }
    match link_type {
        LinkType::ETHERNET => ethernet(ether_type, &data),
        LinkType::SLL => [&[0, 0, 0, 1][..], &[0; 10], &ether_type.to_be_bytes(), &data].concat(),
        LinkType::SLL2 => [&ether_type.to_be_bytes()[..], &[0; 6], &[0, 1], &[0; 10], &data].concat(),
        LinkType::NULL => [&[family, 0, 0, 0], &data[..]].concat(),
        LinkType::LOOP => [&[0, 0, 0, family], &data[..]].concat(),
        _ => data,
    }
}

fn has_tags(link_type: LinkType) -> bool {
    matches!(link_type, LinkType::ETHERNET | LinkType::SLL | LinkType::SLL2)
}

/// A tag that the kernel has taken off is the outermost, however a frame is decoded.
#[test]
fn tags_that_were_taken_off_are_told() {
    for tags in 0..3 {
        for tci in [0xe123, 0xe000] {
            let data = usual(LinkType::ETHERNET, tags, tags == 1, b"hello");
            let tag = [0x8100, tci].map(u16::to_be_bytes);
            let whole = [&data[..12], tag.as_flattened(), &data[12..]].concat();
            let frame = |data| frame(data, LinkType::ETHERNET);
            let expected = Packet::decode(&frame(&whole)).vlans;
            let short = Packet::decode_usual(&frame(&data)).unwrap().behind_tag(tci);
            let long = Packet::decode_inside(&frame(&data), &Decap::ALL, &Surroundings::of_tag(tci));
            assert_eq!((short.vlans, long.vlans), (expected, expected), "{tags} tags in {tci:#x}");
            assert_eq!(short, long);
        }
    }
}

/// What the short ways take, as they and the loop find it.
#[test]
fn usual_frames_take_a_short_way() {
    let cases = USUAL_LINK_TYPES.into_iter().flat_map(|link_type| {
        (0..4).flat_map(move |tags| [false, true].map(move |v6| (link_type, tags, v6)))
    });
    for (link_type, tags, v6) in cases.filter(|(link_type, tags, _)| *tags == 0 || has_tags(*link_type)) {
        let case = format!("{link_type:?}, {tags} tags, {v6}");
        let mut data = usual(link_type, tags, v6, b"hello");
        // There is no version 6 of IPv4.
        let fits = match link_type {
            LinkType::IPV4 => !v6,
            LinkType::IPV6 => v6,
            _ => tags < 3,
        };
        let is_plain = link_type == LinkType::ETHERNET && tags == 0 && !v6;
        let headers = data.len() - b"hello".len();
        for len in 0..data.len() {
            let frame = frame(&data[..len], link_type);
            let [plain, usual] = [Packet::decode_plain(&frame), Packet::decode_usual(&frame)];
            assert_eq!(plain.is_some(), is_plain && len >= headers, "{case}: {len} bytes");
            assert_eq!(usual.is_some(), fits && len >= headers, "{case}: {len} bytes");
        }
        if !fits {
            continue;
        }
        let whole = Packet::decode_usual(&frame(&data, link_type));
        assert_eq!(whole.as_ref().map(|packet| &data[packet.payload.range()]), Some(&b"hello"[..]), "{case}");
        assert_eq!(whole, Some(Packet::decode_unusual(&frame(&data, link_type), &Decap::ALL)), "{case}");
        // What the loop is for: the version, the protocol, and in IPv4 options and fragments.
        let ip = usize::from(whole.unwrap().ip.unwrap().offset);
        let unusual = if v6 {
            vec![(0, 0x40), (6, 17), (6, 0), (6, 44), (4, 0xff)]
        } else {
            vec![(0, 0x46), (0, 0x65), (9, 17), (6, 0x20), (7, 1), (2, 0xff)]
        };
        for (at, value) in unusual {
            let before = std::mem::replace(&mut data[ip + at], value);
            let frame = frame(&data, link_type);
            let is_longer = value == 0xff;
            assert_eq!(Packet::decode_usual(&frame).is_some(), is_longer, "{case}: {value} at {at}");
            assert!(Packet::decode_plain(&frame).is_none_or(|_| is_longer), "{case}: {value} at {at}");
            data[ip + at] = before;
        }
    }
}
