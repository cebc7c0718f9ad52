//! Every kind of tunnel around the same segment.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::*;

/// A frame with a segment in a tunnel.
struct Case {
    name: &'static str,
    frame: Vec<u8>,
    layers: Vec<LayerKind>,
    kind: TunnelKind,
    id: Option<u32>,
    /// The version of the IP header around the tunnel, 0 for none.
    outer: u8,
}

fn case(
    name: &'static str,
    frame: Vec<u8>,
    layers: &[LayerKind],
    (kind, id): (TunnelKind, Option<u32>),
    outer: u8,
) -> Case {
    let layers = layers.to_vec();
    Case { name, frame, layers, kind, id, outer }
}

/// What is in the tunnels: from 10.0.0.1:40000 to 10.0.0.2:80, or the same hosts of fd00::.
fn inner() -> Vec<u8> {
    ipv4(6, &tcp(40_000, 80, b"inner"))
}

fn inner6() -> Vec<u8> {
    ipv6(6, &tcp(40_000, 80, b"inner"))
}

/// Headers with the length of what follows in their big-endian field at `at`, that of the header not counted.
fn with_len(header: &[u8], at: usize, payload: &[u8]) -> Vec<u8> {
    let mut header = header.to_vec();
    header[at..at + 2].copy_from_slice(&(payload.len() as u16).to_be_bytes());
    [&header, payload].concat()
}

fn gre(flags: u16, protocol: u16, optional: &[u8], payload: &[u8]) -> Vec<u8> {
    let header = [flags.to_be_bytes(), protocol.to_be_bytes()].concat();
    ethernet(0x0800, &ipv4(47, &[&header[..], optional, payload].concat()))
}

fn over_udp(port: u16, header: &[u8], payload: &[u8]) -> Vec<u8> {
    ethernet(0x0800, &ipv4(17, &udp(50_000, port, &[header, payload].concat())))
}

fn labels(stack: &[u8], payload: &[u8]) -> Vec<u8> {
    ethernet(0x8847, &[stack, payload].concat())
}

fn pppoe(protocol: &[u8], payload: &[u8]) -> Vec<u8> {
    ethernet(0x8864, &with_len(&[0x11, 0, 0x0b, 0xad, 0, 0], 4, &[protocol, payload].concat()))
}

/// A label and the bottom of the stack.
const LABELS: [u8; 8] = [0, 1, 0x00, 64, 0x12, 0x34, 0x51, 64];
const MPLS_ID: (TunnelKind, Option<u32>) = (TunnelKind::Mpls, Some(0x12345));
const PPPOE_ID: (TunnelKind, Option<u32>) = (TunnelKind::Pppoe, Some(0x0bad));
const VNI: (TunnelKind, Option<u32>) = (TunnelKind::Vxlan, Some(0x01_0203));
const GENEVE_VNI: (TunnelKind, Option<u32>) = (TunnelKind::Geneve, Some(0x01_0203));
const TEID: (TunnelKind, Option<u32>) = (TunnelKind::Gtpu, Some(0x0102_0304));

fn link_cases() -> Vec<Case> {
    let bridged = ethernet(0x0800, &inner());
    // A station whose address begins like an IPv4 header, and like a control word.
    let like_ip = [&[0x4c, 0xd9, 0x8f][..], &bridged[3..]].concat();
    let like_ipv6 = [&[0x6c, 0xd9, 0x8f, 0xff, 0xff][..], &bridged[5..]].concat();
    let like_control = [&[0x00, 0xd9, 0x8f][..], &bridged[3..]].concat();
    let tagged = ethernet(0x8100, &vlan(9, 0x0800, &inner()));
    let control = [&[0, 0, 0, 7][..], &bridged].concat();
    vec![
        case("mpls", labels(&LABELS, &inner()), &[Ethernet, Mpls, Mpls, Ipv4, Tcp], MPLS_ID, 0),
        case("mpls ipv6", labels(&LABELS, &inner6()), &[Ethernet, Mpls, Mpls, Ipv6, Tcp], MPLS_ID, 0),
        case(
            "mpls explicit null",
            labels(&[0x12, 0x34, 0x50, 64, 0, 0, 0x01, 64], &inner()),
            &[Ethernet, Mpls, Mpls, Ipv4, Tcp],
            MPLS_ID,
            0,
        ),
        case(
            "mpls ipv6 explicit null alone",
            labels(&[0, 0, 0x21, 64], &inner6()),
            &[Ethernet, Mpls, Ipv6, Tcp],
            (TunnelKind::Mpls, None),
            0,
        ),
        case(
            "pseudowire with control word",
            labels(&LABELS, &control),
            &[Ethernet, Mpls, Mpls, ControlWord, Ethernet, Ipv4, Tcp],
            MPLS_ID,
            0,
        ),
        case(
            "pseudowire",
            labels(&LABELS, &like_control),
            &[Ethernet, Mpls, Mpls, Ethernet, Ipv4, Tcp],
            MPLS_ID,
            0,
        ),
        case(
            "pseudowire like ipv4",
            labels(&LABELS, &like_ip),
            &[Ethernet, Mpls, Mpls, Ethernet, Ipv4, Tcp],
            MPLS_ID,
            0,
        ),
        case(
            "pseudowire like ipv6",
            labels(&LABELS, &like_ipv6),
            &[Ethernet, Mpls, Mpls, Ethernet, Ipv4, Tcp],
            MPLS_ID,
            0,
        ),
        case(
            "pseudowire tagged",
            labels(&LABELS, &tagged),
            &[Ethernet, Mpls, Mpls, Ethernet, Vlan, Ipv4, Tcp],
            MPLS_ID,
            0,
        ),
        case(
            "pseudowire tagged, with control word",
            labels(&LABELS, &[&[0, 0, 0, 7][..], &tagged].concat()),
            &[Ethernet, Mpls, Mpls, ControlWord, Ethernet, Vlan, Ipv4, Tcp],
            MPLS_ID,
            0,
        ),
        case("pppoe", pppoe(&[0, 0x21], &inner()), &[Ethernet, Pppoe, Ppp, Ipv4, Tcp], PPPOE_ID, 0),
        case("pppoe short", pppoe(&[0x21], &inner()), &[Ethernet, Pppoe, Ppp, Ipv4, Tcp], PPPOE_ID, 0),
        case("pppoe ipv6", pppoe(&[0x57], &inner6()), &[Ethernet, Pppoe, Ppp, Ipv6, Tcp], PPPOE_ID, 0),
        case(
            "pppoe mpls",
            pppoe(&[2, 0x81], &[&LABELS, &inner()[..]].concat()),
            &[Ethernet, Pppoe, Ppp, Mpls, Mpls, Ipv4, Tcp],
            MPLS_ID,
            0,
        ),
    ]
}

fn ip_cases() -> Vec<Case> {
    let bridged = ethernet(0x0800, &inner());
    let v4 = |protocol, payload: &[u8]| ethernet(0x0800, &ipv4(protocol, payload));
    let v6 = |protocol, payload: &[u8]| ethernet(0x86dd, &ipv6(protocol, payload));
    let plain = |kind| (kind, None);
    let key = [0, 0, 1, 2];
    let keyed = |kind| (kind, Some(0x0102));
    let erspan2 = [0x10, 9, 0x0b, 0xff, 0, 0, 0, 5];
    let mut erspan3 = [0x20, 9, 0x0b, 0xff, 0, 0, 0, 5, 0, 0, 0, 0];
    let session = (TunnelKind::Erspan, Some(0x03ff));
    let erspan = [Ethernet, Ipv4, Gre, Erspan, Ethernet, Ipv4, Tcp];
    let mut cases = vec![
        case("ipip", v4(4, &inner()), &[Ethernet, Ipv4, Ipv4, Tcp], plain(TunnelKind::IpInIp), 4),
        case("6in4", v4(41, &inner6()), &[Ethernet, Ipv4, Ipv6, Tcp], plain(TunnelKind::SixInFour), 4),
        case("4in6", v6(4, &inner()), &[Ethernet, Ipv6, Ipv4, Tcp], plain(TunnelKind::FourInSix), 6),
        case("6in6", v6(41, &inner6()), &[Ethernet, Ipv6, Ipv6, Tcp], plain(TunnelKind::IpInIp), 6),
        case(
            "etherip",
            v4(97, &[&[0x30, 0][..], &bridged].concat()),
            &[Ethernet, Ipv4, EtherIp, Ethernet, Ipv4, Tcp],
            plain(TunnelKind::EtherIp),
            4,
        ),
        case(
            "gre",
            gre(0, 0x0800, &[], &inner()),
            &[Ethernet, Ipv4, Gre, Ipv4, Tcp],
            plain(TunnelKind::Gre),
            4,
        ),
        case(
            "gre key",
            gre(0x2000, 0x86dd, &key, &inner6()),
            &[Ethernet, Ipv4, Gre, Ipv6, Tcp],
            keyed(TunnelKind::Gre),
            4,
        ),
        case(
            "gre checksum, key, sequence",
            gre(0xb000, 0x0800, &[&[9; 4], &key[..], &[0; 4]].concat(), &inner()),
            &[Ethernet, Ipv4, Gre, Ipv4, Tcp],
            keyed(TunnelKind::Gre),
            4,
        ),
        case(
            "gre route",
            gre(
                0x6000,
                0x0800,
                &[&[9; 4], &key[..], &[8, 0, 4, 8, 10, 0, 0, 7, 10, 0, 0, 8], &[0; 4]].concat(),
                &inner(),
            ),
            &[Ethernet, Ipv4, Gre, Ipv4, Tcp],
            keyed(TunnelKind::Gre),
            4,
        ),
        case(
            "gre mpls",
            gre(0, 0x8847, &[], &[&LABELS, &inner()[..]].concat()),
            &[Ethernet, Ipv4, Gre, Mpls, Mpls, Ipv4, Tcp],
            MPLS_ID,
            4,
        ),
        case(
            "nvgre",
            gre(0x2000, 0x6558, &key, &bridged),
            &[Ethernet, Ipv4, Gre, Ethernet, Ipv4, Tcp],
            keyed(TunnelKind::GreTap),
            4,
        ),
        case(
            "erspan 1",
            gre(0, 0x88be, &[], &bridged),
            &[Ethernet, Ipv4, Gre, Ethernet, Ipv4, Tcp],
            plain(TunnelKind::Erspan),
            4,
        ),
        case(
            "erspan 2",
            gre(0x1000, 0x88be, &[0; 4], &[&erspan2, &bridged[..]].concat()),
            &erspan,
            session,
            4,
        ),
        case(
            "erspan 3",
            gre(0x1000, 0x22eb, &[0; 4], &[&erspan3, &bridged[..]].concat()),
            &erspan,
            session,
            4,
        ),
    ];
    // With the platform's part, around Ethernet and around IP.
    erspan3[11] = 1;
    let long = [&erspan3[..], &[0; 8]].concat();
    cases.push(case(
        "erspan 3 platform",
        gre(0x1000, 0x22eb, &[0; 4], &[&long, &bridged[..]].concat()),
        &erspan,
        session,
        4,
    ));
    erspan3[10..].copy_from_slice(&[0x08, 0]);
    cases.push(case(
        "erspan 3 ip",
        gre(0x1000, 0x22eb, &[0; 4], &[&erspan3[..], &inner()].concat()),
        &[Ethernet, Ipv4, Gre, Erspan, Ipv4, Tcp],
        session,
        4,
    ));
    let pptp = |flags: u16, optional: &[u8], payload: &[u8]| {
        let len = (payload.len() as u16).to_be_bytes();
        gre(flags, 0x880b, &[&len[..], &[0x0b, 0xad], optional].concat(), payload)
    };
    let layers = [Ethernet, Ipv4, Gre, Ppp, Ipv4, Tcp];
    let call = (TunnelKind::Pptp, Some(0x0bad));
    let framed = [&[0xff, 3, 0, 0x21][..], &inner()].concat();
    cases.push(case("pptp", pptp(0x3081, &[0; 8], &framed), &layers, call, 4));
    cases.push(case("pptp short", pptp(0x3001, &[0; 4], &framed[3..]), &layers, call, 4));
    cases
}

fn udp_cases() -> Vec<Case> {
    let bridged = ethernet(0x0800, &inner());
    let vxlan = |port: u16, flags: u8, protocol: u8, payload: &[u8]| {
        over_udp(port, &[flags, 0, 0, protocol, 1, 2, 3, 0], payload)
    };
    let in_vxlan = [Ethernet, Ipv4, Udp, Vxlan, Ethernet, Ipv4, Tcp];
    let geneve = |options: u8, protocol: [u8; 2], payload: &[u8]| {
        let header = [options, 0, protocol[0], protocol[1], 1, 2, 3, 0];
        over_udp(6081, &header, &[&vec![0; 4 * usize::from(options)], payload].concat())
    };
    let gtp = |header: &[u8], payload: &[u8]| {
        let body = [header.get(8..).unwrap_or_default(), payload].concat();
        over_udp(2152, &[], &with_len(&header[..8], 2, &body))
    };
    let in_gtp = [Ethernet, Ipv4, Udp, Gtpu, Ipv4, Tcp];
    vec![
        case("vxlan", vxlan(4789, 8, 0, &bridged), &in_vxlan, VNI, 4),
        case("vxlan with a policy", vxlan(8472, 0x88, 1, &bridged), &in_vxlan, VNI, 4),
        case(
            "vxlan with all reserved bits",
            over_udp(4789, &[0xff, 0xff, 0xff, 0xff, 1, 2, 3, 0xff], &bridged),
            &in_vxlan,
            VNI,
            4,
        ),
        case(
            "vxlan with a policy, a reserved bit where the extension has P",
            over_udp(4789, &[0x8c, 0, 0, 9, 1, 2, 3, 0], &bridged),
            &in_vxlan,
            VNI,
            4,
        ),
        case("vxlan gpe ethernet", vxlan(4789, 0x0c, 3, &bridged), &in_vxlan, VNI, 4),
        case(
            "vxlan gpe ipv4",
            vxlan(4789, 0x0c, 1, &inner()),
            &[Ethernet, Ipv4, Udp, Vxlan, Ipv4, Tcp],
            VNI,
            4,
        ),
        case(
            "vxlan gpe ipv6",
            vxlan(4789, 0x0c, 2, &inner6()),
            &[Ethernet, Ipv4, Udp, Vxlan, Ipv6, Tcp],
            VNI,
            4,
        ),
        case(
            "geneve",
            geneve(0, [0x65, 0x58], &bridged),
            &[Ethernet, Ipv4, Udp, Geneve, Ethernet, Ipv4, Tcp],
            GENEVE_VNI,
            4,
        ),
        case(
            "geneve options",
            geneve(3, [0x65, 0x58], &bridged),
            &[Ethernet, Ipv4, Udp, Geneve, Ethernet, Ipv4, Tcp],
            GENEVE_VNI,
            4,
        ),
        case(
            "geneve ipv4",
            geneve(1, [0x08, 0], &inner()),
            &[Ethernet, Ipv4, Udp, Geneve, Ipv4, Tcp],
            GENEVE_VNI,
            4,
        ),
        case(
            "geneve ipv6",
            geneve(63, [0x86, 0xdd], &inner6()),
            &[Ethernet, Ipv4, Udp, Geneve, Ipv6, Tcp],
            GENEVE_VNI,
            4,
        ),
        case("gtpu", gtp(&[0x30, 255, 0, 0, 1, 2, 3, 4], &inner()), &in_gtp, TEID, 4),
        case("gtpu sequence", gtp(&[0x32, 255, 0, 0, 1, 2, 3, 4, 0, 9, 0, 0], &inner()), &in_gtp, TEID, 4),
        case(
            "gtpu extensions",
            gtp(
                &[0x34, 255, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0x85, 1, 16, 9, 0xc0, 2, 0, 0, 0, 0, 0, 0, 0],
                &inner6(),
            ),
            &[Ethernet, Ipv4, Udp, Gtpu, Ipv6, Tcp],
            TEID,
            4,
        ),
    ]
}

fn cases() -> Vec<Case> {
    [link_cases(), ip_cases(), udp_cases()].into_iter().flatten().collect()
}

fn decode(data: &[u8]) -> Packet {
    Packet::decode(&frame(data, LinkType::ETHERNET))
}

#[test]
fn every_kind_is_among_the_cases() {
    let kinds: BTreeSet<TunnelKind> = cases().iter().map(|case| case.kind).collect();
    assert_eq!(kinds, BTreeSet::from(TunnelKind::ALL));
}

#[test]
fn the_inner_packet_and_its_tunnel() {
    for Case { name, frame: data, layers, kind, id, outer } in cases() {
        let packet = decode(&data);
        assert_eq!((packet.end, &kinds(&packet)), (End::Transport, &layers), "{name}");
        assert_eq!(ports(&packet), (40_000, 80), "{name}");
        assert_eq!(&data[packet.payload.range()], b"inner", "{name}");
        assert_eq!(packet.payload.wire_len, 5, "{name}");
        let tunnel = packet.tunnel.unwrap();
        assert_eq!((tunnel.kind, tunnel.id, packet.unopened), (kind, id, None), "{name}");
        let source = tunnel.outer_addresses(&data).map(|(source, _)| source);
        let expected = match outer {
            4 => Some(IpAddr::from([10, 0, 0, 1])),
            6 => Some(IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 1])),
            _ => None,
        };
        assert_eq!(source, expected, "{name}");
        for prefix in [[0, 0], [0x4b, 0x51], [0x92, 0x7c]] {
            decode::fuzz_decode(&[&prefix[..], &data].concat());
        }
    }
}

#[test]
fn a_closed_tunnel_leaves_the_outer_packet() {
    for Case { name, frame: data, layers, kind, outer, .. } in cases() {
        let whole = decode(&data);
        let closed = Decap { kinds: TunnelKinds::ALL.without(kind), ..Decap::ALL };
        let packet = Packet::decode_with(&frame(&data, LinkType::ETHERNET), &closed);
        assert_eq!(packet.unopened, Some(kind), "{name}");
        assert!(layers.starts_with(&kinds(&packet)) && packet.layer_count < whole.layer_count, "{name}");
        assert_ne!(packet.tunnel.map(|tunnel| tunnel.kind), Some(kind), "{name}");
        if outer != 0 && name != "gre mpls" {
            let (key, side) = packet.flow.unwrap();
            let over_udp = packet.transport == Transport::Udp;
            assert_eq!(packet.end, if over_udp { End::Transport } else { End::Unknown }, "{name}");
            assert_eq!(key.endpoint(side).port, if over_udp { 50_000 } else { 0 }, "{name}");
        }
        let only = Decap { kinds: TunnelKinds::NONE.with(kind), ..Decap::ALL };
        let packet = Packet::decode_with(&frame(&data, LinkType::ETHERNET), &only);
        let alone = !matches!(name, "gre mpls" | "pppoe mpls");
        assert_eq!(packet == whole, alone, "{name}");
    }
}

#[test]
fn networks_that_are_not_wanted_stay_closed() {
    for Case { name, frame: data, kind, .. } in cases() {
        let whole = decode(&data);
        for (vni, wanted) in [(0x01_0203, true), (7, false)] {
            let decap = Decap { vnis: Some(BTreeSet::from([vni])), ..Decap::ALL };
            let packet = Packet::decode_with(&frame(&data, LinkType::ETHERNET), &decap);
            let open = wanted || !kind.has_vni();
            assert_eq!(packet.unopened, (!open).then_some(kind), "{name}");
            assert_eq!(packet == whole, open, "{name}");
        }
    }
}

#[test]
fn other_ports_by_configuration() {
    for (case, from, to) in [("vxlan", 4789_u16, 4791_u16), ("geneve", 6081, 6082), ("gtpu", 2152, 3386)] {
        let Some(Case { frame: mut data, kind, .. }) = cases().into_iter().find(|c| c.name == case) else {
            panic!("no case {case}")
        };
        assert_eq!(data[36..38], from.to_be_bytes());
        data[36..38].copy_from_slice(&to.to_be_bytes());
        let packet = decode(&data);
        assert_eq!((packet.end, packet.tunnel, packet.unopened), (End::Transport, None, None));
        let ports = std::borrow::Cow::from(vec![1, to]);
        let mut decap = Decap::ALL;
        match kind {
            TunnelKind::Vxlan => decap.vxlan_ports = ports,
            TunnelKind::Geneve => decap.geneve_ports = ports,
            _ => decap.gtpu_ports = ports,
        }
        let packet = Packet::decode_with(&frame(&data, LinkType::ETHERNET), &decap);
        assert_eq!(packet.tunnel.map(|tunnel| tunnel.kind), Some(kind));
    }
}

/// By the snaplen: as far as it goes it is the same, and no fault is found. Where only what is below them tells labels'
/// contents, a cut may leave them unknown.
#[test]
fn cut_at_every_length() {
    for Case { name, frame: data, .. } in cases() {
        let whole = decode(&data);
        let headers = whole.payload.offset as usize;
        for len in 0..data.len() {
            let cut = Frame { orig_len: data.len() as u32, ..frame(&data[..len], LinkType::ETHERNET) };
            let packet = Packet::decode(&cut);
            if len >= headers {
                assert_eq!(
                    (packet.end, packet.flow, packet.tunnel),
                    (End::Transport, whole.flow, whole.tunnel)
                );
                assert_eq!(packet.payload.wire_len, 5, "{name} cut to {len}");
            } else if name.starts_with("pseudowire") {
                assert!(
                    matches!(packet.end, End::Cut | End::Unknown),
                    "{name} cut to {len}: {:?}",
                    packet.end
                );
            } else {
                assert_eq!(packet.end, End::Cut, "{name} cut to {len}");
                assert!(whole.layers().starts_with(packet.layers()), "{name} cut to {len}");
            }
            decode::fuzz_decode(&[&[15, 0][..], &data[..len]].concat());
        }
    }
}

/// Really that short, with lengths around it that say so: it is malformed, or no tunnel, and never more than there is.
#[test]
fn short_at_every_length() {
    use Malformed as M;
    let checks: [(&str, usize, &[Malformed]); 8] = [
        ("etherip", 34, &[M::EtherIp]),
        ("gre checksum, key, sequence", 34, &[M::Gre]),
        ("gre route", 34, &[M::Gre]),
        ("erspan 2", 42, &[M::Erspan]),
        ("erspan 3 platform", 42, &[M::Erspan]),
        ("pptp", 34, &[M::Gre, M::Pppoe]),
        ("vxlan", 42, &[M::Vxlan]),
        ("geneve options", 42, &[M::Geneve]),
    ];
    for (name, start, reasons) in checks {
        let case = cases().into_iter().find(|case| case.name == name).unwrap();
        let end = decode(&case.frame)
            .layers()
            .iter()
            .find(|layer| {
                usize::from(layer.offset) > start
                    && !matches!(layer.kind, Udp | Gre | Vxlan | Geneve | Erspan)
            })
            .map_or(0, |layer| usize::from(layer.offset));
        assert!(end > start, "{name}");
        for len in start..end {
            let mut data = case.frame[..len].to_vec();
            data[16..18].copy_from_slice(&((len - 14) as u16).to_be_bytes());
            if data[23] == 17 {
                data[38..40].copy_from_slice(&((len - 34) as u16).to_be_bytes());
            }
            let packet = decode(&data);
            match packet.end {
                End::Malformed(reason) => {
                    assert!(reasons.contains(&reason), "{name} short at {len}: {reason:?}")
                }
                // A datagram without contents, or shorter than any header of the tunnel.
                End::Transport => assert!(len == start || len < start + 8, "{name} short at {len}"),
                other => assert!(name == "pptp" && len >= 42, "{name} short at {len}: {other:?}"),
            }
            assert_eq!(packet.tunnel, None, "{name} short at {len}");
        }
    }
}

#[test]
fn impossible_lengths() {
    let named = |name: &str| cases().into_iter().find(|case| case.name == name).unwrap().frame;
    let with = |name: &str, at: usize, bytes: &[u8]| {
        let mut data = named(name);
        data[at..at + bytes.len()].copy_from_slice(bytes);
        decode(&data)
    };
    // GTP-U: longer than the datagram, which then is no tunnel; shorter, and the packet inside does not fit.
    assert_eq!(with("gtpu", 44, &[0xff, 0xff]).tunnel, None);
    assert_eq!(with("gtpu", 44, &[0, 30]).malformed(), Some(Malformed::Ipv4Length));
    assert_eq!(with("gtpu", 44, &[0, 3]).malformed(), Some(Malformed::Ipv4Header));
    assert_eq!(with("gtpu", 44, &[0, 0]).end, End::Unknown);
    // An extension header without length, and one that is longer than the packet.
    assert_eq!(with("gtpu extensions", 54, &[0]).malformed(), Some(Malformed::Gtpu));
    assert_eq!(with("gtpu extensions", 54, &[0xff]).malformed(), Some(Malformed::Gtpu));
    // Options beyond the datagram.
    assert_eq!(with("geneve", 42, &[0x3f]).malformed(), Some(Malformed::Geneve));
    // A route that never ends.
    let endless = gre(0x4000, 0x0800, &[&[0; 4][..], &[8, 0, 0, 0].repeat(20)].concat(), &inner());
    assert_eq!(decode(&endless).malformed(), Some(Malformed::Gre));
    assert_eq!(with("gre route", 49, &[0xff]).malformed(), Some(Malformed::Gre));
    // PPPoE: less than the packet inside, or more than the frame, counts as cut, as it does where IP is on the link.
    assert_eq!(with("pppoe", 18, &[0, 30]).end, End::Cut);
    assert_eq!(with("pppoe", 18, &[0, 1]).malformed(), Some(Malformed::Pppoe));
    assert_eq!(with("pppoe", 18, &[1, 0]).end, End::Transport);
    // Other versions and messages are something else.
    for (name, at, value) in [
        ("pppoe", 14, 0x21),
        ("pppoe", 15, 9),
        ("etherip", 34, 0x20),
        ("erspan 2", 42, 0x70),
        ("erspan 3", 42, 0x70),
        ("geneve", 42, 0x40),
        ("geneve", 43, 0x80),
        ("geneve", 43, 0x01),
        ("geneve", 44, 0x12),
        ("gtpu", 42, 0x50),
        ("gtpu", 43, 1),
        ("vxlan gpe ipv4", 45, 4),
    ] {
        let packet = with(name, at, &[value]);
        assert!(matches!(packet.end, End::Unknown | End::Transport), "{name}: {:?}", packet.end);
        assert_eq!((packet.tunnel, packet.unopened), (None, None), "{name}");
    }
}

/// A mirror cuts its copies to what the path to the collector takes.
#[test]
fn a_mirrored_packet_longer_than_its_tunnel_was_cut() {
    let jumbo = ethernet(0x0800, &ipv4(6, &tcp(40_000, 80, &[7; 8_900])));
    for (name, data) in [
        ("vxlan", over_udp(4789, &[8, 0, 0, 0, 0, 0, 42, 0], &jumbo[..1_400])),
        ("geneve", over_udp(6081, &[0, 0, 0x65, 0x58, 0, 0, 42, 0], &jumbo[..1_400])),
        ("erspan", gre(0x1000, 0x88be, &[0; 4], &[&[0x10, 0, 0, 1, 0, 0, 0, 0], &jumbo[..1_400]].concat())),
        ("gretap", gre(0, 0x6558, &[], &jumbo[..1_400])),
    ] {
        let packet = decode(&data);
        assert_eq!((packet.end, ports(&packet)), (End::Transport, (40_000, 80)), "{name}");
        let captured = 1_400 - 14 - 20 - 24;
        assert_eq!((packet.payload.captured_len, packet.payload.wire_len), (captured, 8_900), "{name}");
    }
    // Cut within the headers.
    let packet = decode(&over_udp(4789, &[8, 0, 0, 0, 0, 0, 42, 0], &jumbo[..40]));
    assert_eq!(packet.end, End::Cut);
    // What was not bridged came from a host, and its receiver refuses it; so it is with a tunnel in the mirrored
    // packet.
    let short = &jumbo[14..1_400];
    assert_eq!(decode(&ethernet(0x0800, &ipv4(4, short))).malformed(), Some(Malformed::Ipv4Length));
    let nested = ethernet(0x0800, &ipv4(4, short));
    let packet = decode(&over_udp(4789, &[8, 0, 0, 0, 0, 0, 42, 0], &nested));
    assert_eq!(packet.malformed(), Some(Malformed::Ipv4Length));
}

/// Super-frames of offloading, whose lengths do not fit their fields.
#[test]
fn a_tunnel_in_a_frame_of_more_than_64_kib() {
    let mut inner = ipv4(6, &tcp(40_000, 80, &vec![7; 100_000]));
    inner[2..4].fill(0);
    let bridged = ethernet(0x0800, &inner);
    let datagram = udp(50_000, 4789, &[&[8, 0, 0, 0, 0, 0, 42, 0][..], &bridged].concat());
    for udp_len in [[0, 0], [datagram[4], datagram[5]]] {
        let mut datagram = datagram.clone();
        datagram[4..6].copy_from_slice(&udp_len);
        for (mut outer, at) in [(ipv4(17, &datagram), 2), (ipv6(17, &datagram), 4)] {
            outer[at..at + 2].fill(0);
            let packet = Packet::decode(&frame(&outer, LinkType::RAW));
            assert_eq!((packet.end, ports(&packet)), (End::Transport, (40_000, 80)));
            assert_eq!((packet.payload.captured_len, packet.payload.wire_len), (100_000, 100_000));
        }
    }
    // 64 KiB inside a frame that is a little longer, all lengths in their fields but the outer ones.
    let inner = ethernet(0x0800, &ipv4(6, &tcp(40_000, 80, &vec![7; 65_535 - 44])));
    let datagram = udp(50_000, 4789, &[&[8, 0, 0, 0, 0, 0, 42, 0][..], &inner].concat());
    let mut outer = ipv4(17, &datagram);
    outer[2..4].fill(0);
    let packet = Packet::decode(&frame(&outer, LinkType::RAW));
    assert_eq!((packet.end, packet.payload.wire_len), (End::Transport, 65_535 - 44));
}

#[test]
fn tunnels_are_followed_to_their_depth() {
    let mut packet = inner();
    for depth in 1..=bounds::TUNNELS {
        packet = ipv4(4, &packet);
        let decoded = Packet::decode(&frame(&packet, LinkType::RAW));
        assert_eq!((decoded.end, usize::from(decoded.tunnels)), (End::Transport, depth));
    }
    let decoded = Packet::decode(&frame(&ipv4(4, &packet), LinkType::RAW));
    assert_eq!((decoded.malformed(), decoded.flow), (Some(Malformed::TunnelDepth), None));
    // Another that lies in two already has two left.
    let around = Packet::decode(&frame(&ipv4(4, &ipv4(4, &inner())), LinkType::RAW)).surroundings();
    let inside = |data: &[u8]| Packet::decode_inside(&frame(data, LinkType::RAW), &Decap::ALL, &around);
    assert_eq!(inside(&ipv4(4, &ipv4(4, &inner()))).end, End::Transport);
    assert_eq!(inside(&ipv4(4, &ipv4(4, &ipv4(4, &inner())))).malformed(), Some(Malformed::TunnelDepth));
    // Labels around an endless row of frames.
    let mut data = ethernet(0x0800, &inner());
    for _ in 0..=bounds::TUNNELS {
        data = labels(&LABELS[4..], &[&[0, 0, 0, 7][..], &data].concat());
    }
    assert_eq!(decode(&data).malformed(), Some(Malformed::TunnelDepth));
}

#[test]
fn the_innermost_tunnel_and_all_tags_are_kept() {
    let pods = ethernet(0x8100, &vlan(30, 0x0800, &inner()));
    let overlay = ipv6(17, &udp(1, 6081, &[&[0, 0, 0x65, 0x58, 0, 0, 9, 0][..], &pods].concat()));
    let mirror = [&[8, 0, 0, 0, 0, 0, 7, 0][..], &ethernet(0x86dd, &overlay)].concat();
    let outer = ipv4(17, &udp(2, 4789, &mirror));
    let data = ethernet(0x88a8, &vlan(10, 0x8100, &vlan(0xe000, 0x9100, &vlan(20, 0x0800, &outer))));
    let packet = decode(&data);
    let tunnel = packet.tunnel.unwrap();
    assert_eq!((tunnel.kind, tunnel.id, packet.tunnels), (TunnelKind::Geneve, Some(9), 2));
    let addresses = tunnel.outer_addresses(&data).unwrap();
    assert!(addresses.0.is_ipv6() && addresses.1.is_ipv6());
    assert_eq!((packet.vlans.outermost(), packet.vlans.innermost()), (Some(10), Some(30)));

    // Only the mirror's network is wanted: the overlay's stays closed.
    let decap = Decap { vnis: Some(BTreeSet::from([7])), ..Decap::ALL };
    let packet = Packet::decode_with(&frame(&data, LinkType::ETHERNET), &decap);
    let tunnel = packet.tunnel.unwrap();
    assert_eq!((tunnel.kind, tunnel.id, packet.tunnels), (TunnelKind::Vxlan, Some(7), 1));
    assert_eq!((packet.unopened, ports(&packet)), (Some(TunnelKind::Geneve), (1, 6081)));
    assert_eq!((packet.vlans.outermost(), packet.vlans.innermost()), (Some(10), Some(20)));

    // A tunnel without an IP packet in it is no packet's tunnel.
    let data = over_udp(4789, &[8, 0, 0, 0, 0, 0, 42, 0], &ethernet(0x0806, &[0; 28]));
    assert_eq!((decode(&data).tunnel, decode(&data).tunnels), (None, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn mutated_tunnels_keep_the_invariants(
        which in any::<proptest::sample::Index>(),
        around in any::<proptest::sample::Index>(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<proptest::sample::Index>(),
        prefix: [u8; 2],
    ) {
        let cases = cases();
        let mut data = which.get(&cases).frame.clone();
        // Half of them inside another one that carries Ethernet.
        let outer = around.index(8);
        data = match outer {
            0 => over_udp(4789, &[8, 0, 0, 0, 0, 0, 42, 0], &data),
            1 => over_udp(6081, &[0, 0, 0x65, 0x58, 0, 0, 42, 0], &data),
            2 => gre(0x2000, 0x6558, &[0, 0, 0, 42], &data),
            3 => labels(&LABELS, &[&[0, 0, 0, 7][..], &data].concat()),
            _ => data,
        };
        for (at, value) in changes {
            let at = at.index(data.len());
            data[at] = value;
        }
        data.truncate(cut.index(2 * data.len()) + 1);
        decode::fuzz_decode(&[&prefix[..], &data].concat());
    }
}
