//! The program, run by the filter crate's machine, against its twin and against what it is for.

use std::collections::HashSet;

use gannet_filter::{Program, Skb};
use gannet_packet::{Decap, End, Frame, LinkType, Packet, PacketType, Timestamp, Transport, bounds};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::program::TUNNELS;
use super::view::fuzz_twin;
use super::*;

const SEED: u32 = FLOW_SEED;

/// One packet of a conversation, described so that its answer can be built as well.
#[derive(Clone, Debug)]
struct Spec {
    /// VLAN tags, outermost first.
    tags: Vec<Tag>,
    /// Labels below the tags.
    labels: usize,
    outer: Hop,
}

#[derive(Clone, Copy, Debug)]
struct Tag {
    tpid: u16,
    tci: u16,
}

/// An IP header and what it carries.
#[derive(Clone, Debug)]
struct Hop {
    ip: Ip,
    carries: Carried,
}

#[derive(Clone, Debug)]
enum Ip {
    V4 { source: u32, destination: u32, options: usize, id: u16, fragment: u16 },
    V6 { source: u128, destination: u128, label: u32, extensions: Vec<Extension> },
}

#[derive(Clone, Copy, Debug)]
enum Extension {
    /// Hop-by-hop, routing or destination options, with this many bytes beyond 8, in units of 8.
    Options(u8, u8),
    Authentication(u8),
    /// Offset and M as they stand in the header; 0 for a whole packet.
    Fragment(u16),
}

#[derive(Clone, Debug)]
enum Carried {
    Vxlan { port: u16, source_ports: [u16; 2], tags: Vec<Tag>, inner: Box<Hop> },
    Gre { flags: u16, ethernet: bool, inner: Box<Hop> },
    IpInIp(Box<Hop>),
    Ports { protocol: u8, ports: [u16; 2], payload: Vec<u8> },
    Other { protocol: u8, payload: Vec<u8> },
}

/// Which end of the conversation sends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum From {
    A,
    B,
}

impl Spec {
    /// The packet from its ethertype on, `skip` tags left out, and the ethertype.
    fn build(&self, from: From, skip: usize) -> (u16, Vec<u8>) {
        let (mut ether_type, mut bytes) = self.outer.build(from);
        if self.labels > 0 {
            ether_type = 0x8847;
            for label in 0..self.labels {
                bytes.splice(..0, [0, 1, u8::from(label == 0), 64]);
            }
        }
        prepend_tags(&self.tags[skip..], ether_type, bytes)
    }

    /// The whole frame as a capture file has it.
    fn frame(&self, from: From) -> Vec<u8> {
        let (ether_type, bytes) = self.build(from, 0);
        [&MAC[..], &ether_type.to_be_bytes(), &bytes].concat()
    }
}

impl Hop {
    fn build(&self, from: From) -> (u16, Vec<u8>) {
        let (protocol, payload) = self.carries.build(from);
        match &self.ip {
            Ip::V4 { source, destination, options, id, fragment } => {
                let header_len = 20 + options * 4;
                let mut bytes = vec![0x40 | (header_len / 4) as u8, 0];
                bytes.extend(((header_len + payload.len()) as u16).to_be_bytes());
                bytes.extend(id.to_be_bytes());
                bytes.extend(fragment.to_be_bytes());
                bytes.extend([64, protocol, 0, 0]);
                let (first, second) = from.order(source, destination);
                bytes.extend(first.to_be_bytes());
                bytes.extend(second.to_be_bytes());
                bytes.resize(header_len, 1);
                bytes.extend(payload);
                (0x0800, bytes)
            }
            Ip::V6 { source, destination, label, extensions } => {
                let mut next = protocol;
                let mut payload = payload;
                for extension in extensions.iter().rev() {
                    let (kind, header) = extension.build(next);
                    payload.splice(..0, header);
                    next = kind;
                }
                let mut bytes = (0x6000_0000 | label).to_be_bytes().to_vec();
                bytes.extend((payload.len() as u16).to_be_bytes());
                bytes.extend([next, 64]);
                let (first, second) = from.order(source, destination);
                bytes.extend(first.to_be_bytes());
                bytes.extend(second.to_be_bytes());
                bytes.extend(payload);
                (0x86dd, bytes)
            }
        }
    }

    fn depth(&self) -> usize {
        match &self.carries {
            Carried::Vxlan { inner, .. } | Carried::Gre { inner, .. } | Carried::IpInIp(inner) => {
                1 + inner.depth()
            }
            _ => 0,
        }
    }
}

impl Extension {
    /// Its number and its bytes.
    fn build(self, next: u8) -> (u8, Vec<u8>) {
        match self {
            Self::Options(kind, units) => {
                let mut header = vec![0; 8 + 8 * usize::from(units)];
                header[0] = next;
                header[1] = units;
                (kind, header)
            }
            Self::Authentication(units) => {
                let mut header = vec![0; 12 + 4 * usize::from(units)];
                header[0] = next;
                header[1] = units + 1;
                (51, header)
            }
            Self::Fragment(offset) => {
                let [high, low] = offset.to_be_bytes();
                (44, vec![next, 0, high, low, 1, 2, 3, 4])
            }
        }
    }
}

impl Carried {
    fn build(&self, from: From) -> (u8, Vec<u8>) {
        let udp = |source: u16, destination: u16, payload: &[u8]| {
            let len = (8 + payload.len()) as u16;
            [&source.to_be_bytes()[..], &destination.to_be_bytes(), &len.to_be_bytes(), &[0, 0], payload]
                .concat()
        };
        match self {
            // Each direction has the tunnel's port as destination and a source port of its own.
            Self::Vxlan { port, source_ports, tags, inner } => {
                let (ether_type, bytes) = inner.build(from);
                let (ether_type, bytes) = prepend_tags(tags, ether_type, bytes);
                let vxlan = [&[8, 0, 0, 0, 0, 0, 7, 0], &MAC[..], &ether_type.to_be_bytes(), &bytes].concat();
                (17, udp(source_ports[from as usize], *port, &vxlan))
            }
            Self::Gre { flags, ethernet, inner } => {
                let (mut ether_type, mut bytes) = inner.build(from);
                if *ethernet {
                    bytes.splice(..0, [&MAC[..], &ether_type.to_be_bytes()].concat());
                    ether_type = 0x6558;
                }
                let mut gre = [flags.to_be_bytes(), ether_type.to_be_bytes()].concat();
                gre.extend(vec![0xa5; 4 * (flags & 0xb000).count_ones() as usize]);
                (47, [gre, bytes].concat())
            }
            Self::IpInIp(inner) => {
                let (ether_type, bytes) = inner.build(from);
                (if ether_type == 0x0800 { 4 } else { 41 }, bytes)
            }
            Self::Ports { protocol, ports, payload } => {
                let (source, destination) = from.order(&ports[0], &ports[1]);
                // Long enough for every header that the decoder wants to see whole.
                let mut bytes = match protocol {
                    17 => return (17, udp(*source, *destination, payload)),
                    _ => [source.to_be_bytes(), destination.to_be_bytes()].concat(),
                };
                bytes.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 1, 0, 0, 0, 0]);
                bytes.extend(payload);
                (*protocol, bytes)
            }
            Self::Other { protocol, payload } => (*protocol, payload.clone()),
        }
    }
}

impl From {
    fn order<'a, T>(self, a: &'a T, b: &'a T) -> (&'a T, &'a T) {
        match self {
            Self::A => (a, b),
            Self::B => (b, a),
        }
    }
}

fn prepend_tags(tags: &[Tag], mut ether_type: u16, mut bytes: Vec<u8>) -> (u16, Vec<u8>) {
    for tag in tags.iter().rev() {
        bytes.splice(..0, [tag.tci.to_be_bytes(), ether_type.to_be_bytes()].concat());
        ether_type = tag.tpid;
    }
    (ether_type, bytes)
}

const MAC: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

fn tag() -> impl Strategy<Value = Tag> {
    (select(vec![0x8100, 0x8100, 0x88a8, 0x9100]), any::<u16>()).prop_map(|(tpid, tci)| Tag { tpid, tci })
}

fn ip() -> impl Strategy<Value = Ip> {
    let fragment = prop_oneof![6 => Just(0_u16), 1 => Just(0x4000), 1 => Just(0x2000), 1 => 1..0x2000_u16];
    let v4 = (any::<u32>(), any::<u32>(), 0..4_usize, any::<u16>(), fragment).prop_map(
        |(source, destination, options, id, fragment)| Ip::V4 { source, destination, options, id, fragment },
    );
    let extension = prop_oneof![
        3 => (select(vec![0, 43, 60]), 0..3_u8).prop_map(|(kind, units)| Extension::Options(kind, units)),
        1 => (0..3_u8).prop_map(Extension::Authentication),
        1 => Just(Extension::Fragment(0)),
        1 => (any::<u16>()).prop_map(Extension::Fragment),
    ];
    let extensions = prop_oneof![2 => Just(Vec::new()), 1 => vec(extension, 0..=bounds::IPV6_EXTENSIONS)];
    let v6 = (any::<u128>(), any::<u128>(), 0..1_u32 << 20, extensions).prop_map(
        |(source, destination, label, extensions)| Ip::V6 { source, destination, label, extensions },
    );
    prop_oneof![v4, v6]
}

/// Ports other than the tunnels', which mean something else.
fn port() -> impl Strategy<Value = u16> {
    let tunnels = Decap::ALL;
    any::<u16>().prop_map(move |port| {
        let lists = [&tunnels.vxlan_ports, &tunnels.geneve_ports, &tunnels.gtpu_ports];
        if lists.iter().any(|ports| ports.contains(&port)) { 80 } else { port }
    })
}

fn hop() -> impl Strategy<Value = Hop> {
    let payload = vec(any::<u8>(), 0..16);
    let leaf = prop_oneof![
        4 => (select(vec![6_u8, 17, 33, 132, 136]), [port(), port()], payload.clone())
            .prop_map(|(protocol, ports, payload)| Carried::Ports { protocol, ports, payload }),
        1 => (select(vec![1_u8, 2, 50, 58, 59, 89, 103]), payload)
            .prop_map(|(protocol, payload)| Carried::Other { protocol, payload }),
    ];
    let leaf = (ip(), leaf).prop_map(|(ip, carries)| Hop { ip, carries });
    leaf.prop_recursive(3, 6, 1, |inner| {
        let inner = inner.prop_map(Box::new);
        let carries = prop_oneof![
            (select(vec![4789, 8472]), any::<[u16; 2]>(), vec(tag(), 0..3), inner.clone()).prop_map(
                |(port, source_ports, tags, inner)| Carried::Vxlan { port, source_ports, tags, inner }
            ),
            (0..8_u16, any::<bool>(), inner.clone()).prop_map(|(flags, ethernet, inner)| {
                // Checksum, key and sequence number: the bits 15, 13 and 12.
                let flags = (flags & 4) << 13 | (flags & 3) << 12;
                Carried::Gre { flags, ethernet, inner }
            }),
            inner.prop_map(Carried::IpInIp),
        ];
        (ip(), carries).prop_map(|(ip, carries)| Hop { ip, carries })
    })
}

fn spec() -> impl Strategy<Value = Spec> {
    let labels = prop_oneof![4 => Just(0), 1 => 1..=bounds::MPLS_LABELS];
    (vec(tag(), 0..=bounds::VLAN_TAGS), labels, hop()).prop_map(|(tags, labels, outer)| Spec {
        tags,
        labels,
        outer,
    })
}

fn program() -> Program {
    flow_program(SEED)
}

/// The kernel's answer, and the twin's is the same.
fn both(program: &Program, net: &[u8], protocol: u16, packet_type: PacketType) -> u32 {
    // In front of the network header lies the MAC header, which a received packet's data begin behind.
    let bytes = [&[0xff; 14], net].concat();
    let outgoing = packet_type == PacketType::Outgoing;
    let skb =
        Skb { network: 14, data: if outgoing { 0 } else { 14 }, protocol, packet_type, ..Skb::of(&bytes) };
    let value = program.run(&skb);
    assert_eq!(flow_hash(net, protocol, packet_type, SEED).unwrap_or(0), value);
    value
}

fn frame(data: &[u8]) -> Frame<'_> {
    Frame {
        data,
        timestamp: Timestamp(0),
        orig_len: data.len() as u32,
        link_type: LinkType::ETHERNET,
        interface: 0,
        packet_type: PacketType::Host,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// One value for a conversation: both directions, however the tags lie when the program sees the packet.
    #[test]
    fn a_conversation_has_one_value(spec in spec()) {
        let program = program();
        let kernel_tag = spec.tags.first().is_some_and(|tag| tag.tpid != 0x9100);
        let mut values = Vec::new();
        for from in [From::A, From::B] {
            // Received: the kernel took one tag off, if it knows it.
            let (protocol, net) = spec.build(from, usize::from(kernel_tag));
            let received = both(&program, &net, protocol, PacketType::Host);
            values.push(received);

            // What the twin makes of the frame in a file.
            let data = spec.frame(from);
            let members = 5;
            prop_assert_eq!(worker_for_frame(&frame(&data), members, SEED), Some(received % members));

            if kernel_tag && spec.labels == 0 {
                // Outgoing with the tag in the frame, the network header at IP or (bridged) at the tag.
                let (_, at_ip) = spec.build(from, spec.tags.len());
                values.push(both(&program, &at_ip, spec.tags[0].tpid, PacketType::Outgoing));
                let (_, tagged) = spec.build(from, 0);
                values.push(both(&program, &tagged, spec.tags[0].tpid, PacketType::Outgoing));
            }
        }
        prop_assert!(values.iter().all(|value| *value == values[0]), "{values:x?}");

        // The decoder tells the same conversations apart: one key, unless a bound ended it or there is none.
        let (a, b) = (spec.frame(From::A), spec.frame(From::B));
        let (a, b) = (Packet::decode(&frame(&a)), Packet::decode(&frame(&b)));
        if spec.outer.depth() <= bounds::TUNNELS {
            prop_assert_eq!(a.flow.map(|(key, _)| key), b.flow.map(|(key, _)| key));
            prop_assert!(a.flow.is_some() || matches!(a.end, End::Malformed(_)));
        }
        // And its worker is known from the key alone, where the program looks as far as the decoder.
        if let (Some((key, _)), Transport::Tcp(_), true) = (a.flow, a.transport, spec.outer.depth() <= TUNNELS) {
            prop_assert_eq!(key_hash(&key, SEED), values[0]);
        }
    }

    /// The twin is the program on damaged packets too: other lengths, versions, flags, bytes missing.
    #[test]
    fn the_twin_agrees_on_damaged_packets(
        spec in spec(),
        changes in vec((any::<Index>(), any::<u8>()), 0..5),
        len in any::<Index>(),
        cut: bool,
        outgoing: bool,
    ) {
        let (protocol, mut net) = spec.build(From::A, 0);
        for (at, value) in changes {
            // Mostly in the outer headers, where a change decides the way.
            let at = at.index(net.len().min(80));
            net[at] = value;
        }
        if cut {
            net.truncate(len.index(net.len()));
        }
        both(&program(), &net, protocol, if outgoing { PacketType::Outgoing } else { PacketType::Host });
    }

    #[test]
    fn the_twin_agrees_on_random_bytes(data in vec(any::<u8>(), 0..200)) {
        fuzz_twin(&data);
    }

    /// Random bytes rarely look like IP: start like it.
    #[test]
    fn the_twin_agrees_on_what_starts_like_ip(
        first in select(vec![0x45_u8, 0x46, 0x4f, 0x60, 0x44]),
        protocol in select(vec![0_u8, 4, 6, 17, 41, 43, 44, 47, 51, 60]),
        data in vec(any::<u8>(), 60..300),
        outgoing: bool,
    ) {
        let mut net = data;
        net[0] = first;
        let v6 = first >> 4 == 6;
        net[if v6 { 6 } else { 9 }] = protocol;
        if !v6 {
            net[6..8].fill(0);
        }
        let ether_type = if v6 { 0x86dd } else { 0x0800 };
        both(&program(), &net, ether_type, if outgoing { PacketType::Outgoing } else { PacketType::Host });
    }
}

fn tcp_hop(source: u32, destination: u32, ports: [u16; 2]) -> Hop {
    Hop {
        ip: Ip::V4 { source, destination, options: 0, id: 1, fragment: 0 },
        carries: Carried::Ports { protocol: 6, ports, payload: Vec::new() },
    }
}

fn value(hop: &Hop) -> u32 {
    let (protocol, net) = hop.build(From::A);
    flow_hash(&net, protocol, PacketType::Host, SEED).unwrap()
}

/// Clients of one server, as sparse as in a test and as dense as behind a balancer, IPv4 and IPv6.
fn many_flows() -> Vec<Hop> {
    let mut flows = Vec::new();
    for client in 0..40_u32 {
        for port in 0..300_u16 {
            let source = 0x0a00_0000 | client << 8 | 1;
            flows.push(tcp_hop(source, 0xc0a8_0001, [32768 + port * 2, 80]));
            let Hop { carries, .. } = tcp_hop(0, 0, [32768 + port * 2, 443]);
            let network = 0xfd00 << 112;
            flows.push(Hop {
                ip: Ip::V6 {
                    source: network | u128::from(client) << 64 | 2,
                    destination: network | 1,
                    label: 0,
                    extensions: Vec::new(),
                },
                carries,
            });
        }
    }
    flows
}

#[test]
fn flows_spread_evenly() {
    let hashes: Vec<u32> = many_flows().iter().map(value).collect();
    for members in [2, 3, 4, 5, 8, 12, 16] {
        let mut counts = vec![0_u32; members];
        for hash in &hashes {
            counts[*hash as usize % members] += 1;
        }
        // Five standard deviations of a fair draw.
        let expected = hashes.len() as f64 / members as f64;
        let limit = 5.0 * (expected * (1.0 - 1.0 / members as f64)).sqrt();
        for count in &counts {
            assert!((f64::from(*count) - expected).abs() < limit, "{members} members: {counts:?}");
        }
    }
    // As good as random: of 24,000 values in 2^32 some 0.07 pairs are equal.
    let distinct: HashSet<u32> = hashes.iter().copied().collect();
    assert!(hashes.len() - distinct.len() <= 2, "{} collisions", hashes.len() - distinct.len());
}

/// A symmetric sum of addresses and ports would not notice these.
#[test]
fn exchanged_parts_make_another_flow() {
    let (a, b) = (0x0a00_0001, 0x0a00_0002);
    let hops = [
        tcp_hop(a, b, [1000, 2000]),
        tcp_hop(a, b, [2000, 1000]),
        tcp_hop(b, a, [1000, 2001]),
        tcp_hop(a, b, [1001, 1999]),
        // Both ends at one address.
        tcp_hop(b, b, [1000, 2000]),
        tcp_hop(a, a, [1000, 2000]),
    ];
    let values: HashSet<u32> = hops.iter().map(value).collect();
    assert_eq!(values.len(), hops.len());
    assert_eq!(value(&tcp_hop(a, b, [1000, 2000])), value(&tcp_hop(b, a, [2000, 1000])));
}

#[test]
fn a_datagrams_fragments_stay_together() {
    let fragment = |fragment, ports| {
        let mut hop = tcp_hop(1, 2, ports);
        if let Ip::V4 { fragment: field, .. } = &mut hop.ip {
            *field = fragment;
        }
        value(&hop)
    };
    // Only the first has ports; what looks like ports in the others is data.
    assert_eq!(fragment(0x2000, [5, 6]), fragment(0x2010, [7, 8]));
    assert_eq!(fragment(0x2000, [5, 6]), fragment(0x0020, [9, 9]));
    assert_ne!(fragment(0x2000, [5, 6]), fragment(0x4000, [5, 6]));

    let fragment = |offset, port| {
        let mut hop = tcp_hop(0, 0, [port, port]);
        let extensions = vec![Extension::Options(0, 0), Extension::Fragment(offset)];
        hop.ip = Ip::V6 { source: 1, destination: 2, label: 0, extensions };
        value(&hop)
    };
    assert_eq!(fragment(0x0001, 5), fragment(0x0108, 6));
    assert_ne!(fragment(0x0001, 5), fragment(0x0000, 5));
}

#[test]
fn seeds_spread_differently() {
    let flows = many_flows();
    let moved = flows
        .iter()
        .filter(|hop| {
            let (protocol, net) = hop.build(From::A);
            let under = |seed| flow_hash(&net, protocol, PacketType::Host, seed).unwrap() % 2;
            under(1) != under(2)
        })
        .count();
    assert!((flows.len() * 2 / 5..flows.len() * 3 / 5).contains(&moved), "{moved} of {}", flows.len());
}

#[test]
fn too_deep_a_tunnel_stays_together() {
    let inside = |port| {
        let mut hop = tcp_hop(1, 2, [port, 80]);
        for _ in 0..=TUNNELS {
            let ip = Ip::V4 { source: 3, destination: 4, options: 0, id: 0, fragment: 0 };
            hop = Hop {
                ip,
                carries: Carried::Vxlan {
                    port: 4789,
                    source_ports: [port, 9],
                    tags: vec![],
                    inner: Box::new(hop),
                },
            };
        }
        value(&hop)
    };
    assert_eq!(inside(1000), inside(2000));
}

/// The generic protocol extension may have an IP packet where Ethernet is looked for.
#[test]
fn vxlan_that_names_its_contents_goes_by_its_outer_flow() {
    let hash = |flags: u8, inner_port: u16| {
        let ip = Ip::V4 { source: 3, destination: 4, options: 0, id: 0, fragment: 0 };
        let inner = Box::new(tcp_hop(1, 2, [inner_port, 80]));
        let carries = Carried::Vxlan { port: 4789, source_ports: [7, 9], tags: vec![], inner };
        let (protocol, mut net) = Hop { ip, carries }.build(From::A);
        net[28] = flags;
        both(&program(), &net, protocol, PacketType::Host)
    };
    assert_ne!(hash(0x08, 1000), hash(0x08, 2000));
    assert_eq!(hash(0x0c, 1000), hash(0x0c, 2000));
    assert_eq!(hash(0x0c, 1000), hash(0x00, 1000));
}
