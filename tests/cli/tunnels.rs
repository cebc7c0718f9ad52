//! What comes in tunnels, VLANs and fragments is reported as if it had come bare.

use std::collections::BTreeSet;

use gannet_packet::{LinkType, TunnelKind};
use gannet_testkit::conversation::{
    Carriage, Conversation, Identifications, Packet, Peer, Wrap, merge, variants,
};
use serde_json::Value;

use crate::util::Dir;

/// How packets may travel, and the name that records have for the innermost tunnel: of IPv4 and of IPv6 packets. `None`
/// for what is no tunnel.
type Way = (Option<[&'static str; 2]>, Vec<Wrap>);

/// Everything that is opened.
fn carriages() -> Vec<Way> {
    let vlan = |tpid, id| Wrap::Vlan { tpid, id };
    let gre = |ipv6, key| Wrap::Gre { ipv6, key, sequence: key, checksum: key.is_some() };
    let of = |name| Some([name; 2]);
    let mut all = vec![
        (None, vec![vlan(0x8100, 5)]),
        (None, vec![vlan(0x8100, 5), vlan(0x88a8, 6)]),
        (of("mpls"), vec![Wrap::Mpls { labels: vec![100, 200] }]),
        (of("mpls"), vec![Wrap::Pseudowire { label: 99, control_word: true }]),
        (of("mpls"), vec![Wrap::Pseudowire { label: 99, control_word: false }]),
        (of("pppoe"), vec![Wrap::Pppoe { session: 7 }]),
        (of("pppoe"), vec![Wrap::Pppoe { session: 7 }, vlan(0x8100, 9), vlan(0x88a8, 8)]),
        (of("pptp"), vec![Wrap::Pptp { call: 3, hdlc: true }]),
        (of("pptp"), vec![Wrap::Pptp { call: 3, hdlc: false }]),
    ];
    for ipv6 in [false, true] {
        let in_ip = Wrap::IpInIp { ipv6 };
        // Of IPv4 and of IPv6 in this one.
        let in_ip_names = Some(if ipv6 { ["4in6", "ipip"] } else { ["ipip", "6in4"] });
        let geneve = |vni, ethernet| Wrap::Geneve { ipv6, vni, option_words: 3, ethernet };
        let gtpu = |sequence, extension| Wrap::Gtpu { ipv6, teid: 44, sequence, extension };
        all.extend([
            (of("gre"), vec![gre(ipv6, None)]),
            (of("gre"), vec![gre(ipv6, Some(9))]),
            (of("gretap"), vec![Wrap::GreTap { ipv6, key: Some(9), sequence: None }]),
            (of("erspan"), vec![Wrap::Erspan1 { ipv6 }]),
            (of("erspan"), vec![Wrap::Erspan2 { ipv6, session: 11 }]),
            (of("erspan"), vec![Wrap::Erspan3 { ipv6, session: 11, platform: true }]),
            (of("erspan"), vec![Wrap::Erspan3 { ipv6, session: 11, platform: false }]),
            (in_ip_names, vec![in_ip.clone()]),
            (of("etherip"), vec![Wrap::EtherIp { ipv6 }]),
            (of("vxlan"), vec![Wrap::Vxlan { ipv6, vni: 42, port: 4789 }]),
            (of("geneve"), vec![geneve(43, true)]),
            (of("geneve"), vec![Wrap::Geneve { ipv6, vni: 43, option_words: 0, ethernet: false }]),
            (of("gtpu"), vec![gtpu(true, true)]),
            (of("gtpu"), vec![gtpu(false, false)]),
            // A mirror's tunnel around an overlay's around a tagged frame.
            (
                of("geneve"),
                vec![vlan(0x8100, 5), geneve(43, true), Wrap::Vxlan { ipv6: !ipv6, vni: 42, port: 4789 }],
            ),
            // Labels in GRE; a phone's packets on a provider's way to its gateway; IP in IP in IP.
            (of("mpls"), vec![Wrap::Mpls { labels: vec![100] }, gre(ipv6, None)]),
            (of("gtpu"), vec![gtpu(true, false), Wrap::Mpls { labels: vec![77, 78] }, vlan(0x88a8, 6)]),
            (in_ip_names, vec![in_ip, Wrap::IpInIp { ipv6: !ipv6 }, gre(ipv6, Some(1))]),
        ]);
    }
    all
}

/// Where packets are cut: nowhere, inside, outside, both, and between tunnels that lie in one another.
fn all_cuts(wraps: &[Wrap]) -> Vec<Vec<(usize, usize)>> {
    let outside = wraps.len();
    let mut all = vec![vec![], vec![(0, 400)], vec![(outside, 600)], vec![(0, 704), (outside, 304)]];
    if outside > 1 {
        all.push(vec![(1, 504)]);
    }
    all
}

#[test]
fn every_kind_of_tunnel_is_among_the_cases() {
    let ways = carriages();
    let names: BTreeSet<_> = ways.iter().filter_map(|(names, _)| *names).flatten().collect();
    assert_eq!(names, TunnelKind::ALL.map(TunnelKind::name).into());
}

/// Conversations with every trouble, but those that are in VLANs already, and those of which the snapshot length has
/// cut frames: what is put around these would say that they are whole.
fn whole() -> Vec<Conversation> {
    let is_whole = |packet: &Packet| {
        packet.orig_len as usize == packet.frame.len()
            && matches!(packet.frame[12..14], [8, 0] | [0x86, 0xdd])
    };
    let conversations = variants(1).into_iter().map(|variant| variant.conversation);
    conversations.filter(|conversation| conversation.packets().iter().all(is_whole)).collect()
}

/// The capture of packets of a link type, each a time and its bytes.
fn capture(link_type: LinkType, frames: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 262_144, link_type.0.into()] {
        file.extend(word.to_le_bytes());
    }
    for (time_ns, bytes) in frames {
        let len = bytes.len() as u32;
        for word in [(time_ns / 1_000_000_000) as u32, (time_ns % 1_000_000_000) as u32, len, len] {
            file.extend(word.to_le_bytes());
        }
        file.extend(bytes);
    }
    file
}

fn carried(packets: &[&Packet], carriage: &Carriage) -> Vec<u8> {
    let mut ids = Identifications::default();
    let frames = packets.iter().flat_map(|packet| {
        let frames = carriage.frames(packet, &mut ids).into_iter();
        frames.map(|frame| (packet.time_ns, frame)).collect::<Vec<_>>()
    });
    capture(LinkType::ETHERNET, &frames.collect::<Vec<_>>())
}

/// What a run finds: records without what tells the way of their packets, and what flows and messages count.
struct Findings {
    records: Vec<Value>,
    ways: Vec<[Value; 3]>,
    flows: Value,
    http: Value,
    fragments: Value,
    text: String,
}

fn find(dir: &Dir, file: &[u8], words: &str) -> Findings {
    let path = dir.write("carried.pcap", file);
    let report = dir.join("report.json");
    let command = format!("http {words} -r {} --stats-json {}", path.display(), report.display());
    let outcome = dir.gannet(&command).run().exits(0);
    assert!(!outcome.stderr.contains("defect"), "{}", outcome.stderr);
    let text = outcome.text();
    let mut ways = Vec::new();
    let mut records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for record in &mut records {
        let own = record["gannet"].as_object_mut().unwrap();
        // The id is the number of the first packet, and fragments are packets.
        own.remove("id").unwrap();
        ways.push(["tunnel", "vlan", "inner_vlan"].map(|key| own.remove(key).unwrap_or(Value::Null)));
    }
    let mut report: Value = serde_json::from_slice(&dir.read("report.json")).unwrap();
    // Copies of a packet in fragments are found to be copies one fragment at a time, and make no segment.
    for counter in ["segments", "bytes", "duplicates", "duplicate_bytes"] {
        report["analysis"]["flows"].as_object_mut().unwrap().remove(counter).unwrap();
    }
    let analysis = |part: &str| report["analysis"][part].clone();
    Findings {
        records,
        ways,
        flows: analysis("flows"),
        http: analysis("http"),
        fragments: analysis("fragments"),
        text,
    }
}

/// What a record tells of the way of its packets.
#[track_caller]
fn check_way([tunnel, vlan, _]: &[Value; 3], names: Option<[&str; 2]>, v6: bool, carriage: &Carriage) {
    assert_eq!(tunnel["kind"].as_str(), names.map(|names| names[usize::from(v6)]), "{carriage:?}");
    let tagged = carriage.wraps.iter().any(|wrap| matches!(wrap, Wrap::Vlan { .. }));
    assert_eq!(vlan.is_number(), tagged, "{carriage:?}");
}

/// Any tunnel, whole and in fragments within it and of it, with one, two and four workers: the records of the bare
/// packets.
#[test]
fn tunnels_make_no_difference() {
    let dir = Dir::new();
    let conversations = whole();
    let packets = merge(&conversations);
    let bare = find(&dir, &carried(&packets, &Carriage::default()), "");
    assert!(bare.records.len() > 20, "{}", bare.records.len());
    assert!(bare.ways.iter().flatten().all(Value::is_null));
    for (names, wraps) in carriages() {
        for cuts in all_cuts(&wraps) {
            let carriage = Carriage { wraps: wraps.clone(), cuts };
            let file = carried(&packets, &carriage);
            let one = find(&dir, &file, "--workers 1");
            assert_eq!(one.records.len(), bare.records.len(), "{carriage:?}");
            for (found, expected) in one.records.iter().zip(&bare.records) {
                assert_eq!(found, expected, "{carriage:?}");
            }
            assert_eq!((&one.flows, &one.http), (&bare.flows, &bare.http), "{carriage:?}");
            let v6 = |record: &Value| record["client"]["address"].as_str().unwrap().contains(':');
            for (way, record) in one.ways.iter().zip(&one.records) {
                check_way(way, names, v6(record), &carriage);
            }
            for workers in [2, 4] {
                let several = find(&dir, &file, &format!("--workers {workers}"));
                assert!(several.text == one.text, "{workers} workers, {carriage:?}");
                assert_eq!(several.fragments, one.fragments, "{carriage:?}");
            }
        }
    }
}

/// The same packet as another kind of interface would have it captured. Tags are kept where there is a place for them.
fn on_link(link_type: LinkType, frame: &[u8]) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    let (ether_type, contents) = rest.split_at(2);
    let ipv6 = ether_type == [0x86, 0xdd];
    let sender = [&addresses[6..], &[0, 0]].concat();
    let header = match link_type {
        LinkType::SLL => [&[0, 0, 0, 1, 0, 6][..], &sender, ether_type].concat(),
        LinkType::SLL2 => [ether_type, &[0, 0, 0, 0, 0, 3, 0, 1, 0, 6], &sender].concat(),
        // A Linux host's number of the family, and FreeBSD's.
        LinkType::NULL => vec![if ipv6 { 10 } else { 2 }, 0, 0, 0],
        LinkType::LOOP => vec![0, 0, 0, if ipv6 { 28 } else { 2 }],
        _ => vec![],
    };
    [&header, contents].concat()
}

/// Of any link type, with tags and without, of one worker and of two: the records that Ethernet gives.
#[test]
fn link_types_make_no_difference() {
    let dir = Dir::new();
    let conversations = whole();
    let packets = merge(&conversations);
    let bare = find(&dir, &carried(&packets, &Carriage::default()), "");
    let vlan = |tpid, id| Wrap::Vlan { tpid, id };
    let all_tags = [
        vec![],
        vec![vlan(0x8100, 5)],
        vec![vlan(0x8100, 5), vlan(0x88a8, 6)],
        vec![vlan(0x8100, 5), vlan(0x8100, 6), vlan(0x9100, 7)],
    ];
    let bare_links = [LinkType::NULL, LinkType::LOOP, LinkType::RAW].map(|link_type| (link_type, 0));
    let cooked =
        [LinkType::SLL, LinkType::SLL2].into_iter().flat_map(|link| (0..4).map(move |tags| (link, tags)));
    for (link_type, tags) in cooked.chain(bare_links).chain([(LinkType::ETHERNET, 3)]) {
        let carriage = Carriage { wraps: all_tags[tags].clone(), cuts: vec![] };
        let frames = packets.iter().map(|packet| {
            let frame = carriage.frames(packet, &mut Identifications::default()).remove(0);
            let frame = if link_type == LinkType::ETHERNET { frame } else { on_link(link_type, &frame) };
            (packet.time_ns, frame)
        });
        let file = capture(link_type, &frames.collect::<Vec<_>>());
        for words in ["--workers 1", "--workers 2"] {
            let found = find(&dir, &file, words);
            assert_eq!(found.records, bare.records, "{link_type:?}, {tags} tags, {words}");
            assert_eq!((&found.flows, &found.http), (&bare.flows, &bare.http), "{link_type:?}, {tags} tags");
            for way in &found.ways {
                let tag = |id| if tags == 0 { Value::Null } else { Value::from(id) };
                let outermost = if tags == 1 { 5 } else { 4 + tags };
                let innermost = if tags < 2 { Value::Null } else { tag(5) };
                assert_eq!(*way, [Value::Null, tag(outermost), innermost], "{link_type:?}, {tags} tags");
            }
        }
    }
}

/// Questions and answers without TCP between two hosts, of either version: short ones and such as are cut.
fn datagrams(first_ns: u64) -> Vec<Packet> {
    let mut packets = Vec::new();
    for (number, len) in [40, 1_200, 7, 999, 0, 300].into_iter().enumerate() {
        for (protocol, ipv6) in [(17, false), (17, true), (1, false), (58, true), (132, false)] {
            let from = [Peer::Client, Peer::Server][number % 2];
            let (to, from_host) = (from.other() as u8 + 1, from as u8 + 1);
            let ports = [[0x14, 0xe9], [0, 53]];
            let mut contents = match protocol {
                // An echo and its answer.
                1 => vec![[8, 0][number % 2], 0, 0, 0, 0, 1, 0, 1],
                58 => vec![[128, 129][number % 2], 0, 0, 0, 0, 1, 0, 1],
                17 => {
                    let udp_len = (8 + len as u16).to_be_bytes();
                    [ports[number % 2], ports[1 - number % 2], udp_len, [0, 0]].concat()
                }
                _ => [ports[number % 2], ports[1 - number % 2], [0; 2], [0; 2], [0; 2], [0; 2]].concat(),
            };
            contents.resize(contents.len() + len, b'd');
            let mut frame = vec![2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from_host];
            if ipv6 {
                let address = |host| [0x20, 0x01, 0x0d, 0xb8, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, host];
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.extend((contents.len() as u16).to_be_bytes());
                frame.extend([protocol, 64]);
                frame.extend([address(from_host), address(to)].concat());
            } else {
                frame.extend([8, 0, 0x45, 0]);
                frame.extend((20 + contents.len() as u16).to_be_bytes());
                frame.extend([0, number as u8, 0, 0, 64, protocol, 0, 0]);
                frame.extend([192, 0, 2, from_host, 192, 0, 2, to]);
            }
            frame.extend(contents);
            packets.push(Packet {
                time_ns: first_ns + packets.len() as u64 * 1_000_000,
                orig_len: frame.len() as u32,
                frame,
                from,
                flags: 0,
                range: 0..0,
                position: 0,
                ack: 0,
                window: 0,
                sending: 0,
                copy: false,
            });
        }
    }
    packets
}

/// What `gannet stats` finds: the records of flows without what tells the way of their packets, those ways, and the
/// output.
fn find_flows(dir: &Dir, file: &[u8], words: &str) -> (Vec<Value>, Vec<[Value; 3]>, String) {
    let path = dir.write("carried.pcap", file);
    let command = format!("stats -o jsonl --strict {words} -r {}", path.display());
    let outcome = dir.gannet(&command).run().exits(0);
    assert!(!outcome.stderr.contains("defect"), "{}", outcome.stderr);
    let text = outcome.text();
    let mut ways = Vec::new();
    let mut records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for record in &mut records {
        let own = record["gannet"].as_object_mut().unwrap();
        // The number of the first packet, and fragments are packets.
        own.remove("id").unwrap();
        ways.push(["tunnel", "vlan", "inner_vlan"].map(|key| own.remove(key).unwrap_or(Value::Null)));
        for end in ["source", "destination"] {
            if let Some(tcp) = record[end].get_mut("tcp") {
                // Copies of a packet in fragments are found one fragment at a time, and make no segment.
                tcp.as_object_mut().unwrap().remove("duplicates").unwrap();
            }
        }
    }
    (records, ways, text)
}

/// The same for the records of flows, those without TCP among them.
#[test]
fn tunnels_make_no_difference_to_flows() {
    let dir = Dir::new();
    let conversations = whole();
    let datagrams = datagrams(conversations[0].packets()[0].time_ns + 500_000);
    let mut packets = merge(&conversations);
    packets.extend(&datagrams);
    packets.sort_by_key(|packet| packet.time_ns);
    let (bare, ways, _) = find_flows(&dir, &carried(&packets, &Carriage::default()), "");
    assert!(ways.iter().flatten().all(Value::is_null));
    let transports: BTreeSet<_> =
        bare.iter().map(|record| record["network"]["transport"].as_str().unwrap()).collect();
    assert_eq!(transports, ["tcp", "udp", "icmp", "ipv6-icmp", "sctp"].into());
    for (names, wraps) in carriages() {
        for cuts in all_cuts(&wraps) {
            let carriage = Carriage { wraps: wraps.clone(), cuts };
            let file = carried(&packets, &carriage);
            let (found, ways, text) = find_flows(&dir, &file, "--workers 1");
            assert_eq!(found.len(), bare.len(), "{carriage:?}");
            for ((found, expected), way) in found.iter().zip(&bare).zip(&ways) {
                assert_eq!(found, expected, "{carriage:?}");
                check_way(way, names, found["network"]["type"] == "ipv6", &carriage);
            }
            let (_, _, several) = find_flows(&dir, &file, "--workers 3");
            assert!(several == text, "{carriage:?}");
        }
    }
}

#[test]
fn tunnels_are_left_closed_where_asked() {
    let dir = Dir::new();
    let conversations = &whole()[..1];
    let packets = merge(conversations);
    let vxlan = |vni, port| {
        carried(&packets, &Carriage { wraps: vec![Wrap::Vxlan { ipv6: false, vni, port }], cuts: vec![] })
    };
    let count = |file: &[u8], words: &str| find(&dir, file, words).records.len();
    let usual = vxlan(7, 4789);
    let all = count(&usual, "");
    assert!(all > 0);
    for (words, found) in [
        ("--decap none", 0),
        ("--decap gre", 0),
        ("--decap all,-vxlan", 0),
        ("--decap vxlan", all),
        ("--vni 7", all),
        ("--vni 6,8", 0),
        ("--decap vxlan:5000", 0),
    ] {
        assert_eq!(count(&usual, words), found, "{words}");
    }
    assert_eq!(count(&vxlan(7, 5_000), "--decap vxlan:4789:5000"), all);
    let path = dir.write("closed.pcap", &usual);
    dir.gannet(&format!("http --vni 6 -r {}", path.display()))
        .run()
        .exits(0)
        .says("in tunnels that were not to be opened (--decap, --vni): ")
        .says(" in tunnels not opened");
}
