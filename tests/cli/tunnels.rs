//! What comes in tunnels, VLANs and fragments is reported as if it had come bare.

use gannet_testkit::conversation::{Carriage, Conversation, Identifications, Packet, Wrap, merge, variants};
use serde_json::Value;

use crate::util::Dir;

/// Everything that is opened, by the name that records have for it; `None` for what is no tunnel.
fn carriages() -> Vec<(Option<&'static str>, Vec<Wrap>)> {
    let vlan = |tpid, id| Wrap::Vlan { tpid, id };
    let gre = |ipv6, key| Wrap::Gre { ipv6, key, sequence: key, checksum: key.is_some() };
    let mut all = vec![
        (None, vec![vlan(0x8100, 5)]),
        (None, vec![vlan(0x8100, 5), vlan(0x88a8, 6)]),
        (Some("mpls"), vec![Wrap::Mpls { labels: vec![100, 200] }]),
        (Some("mpls"), vec![Wrap::Pseudowire { label: 99, control_word: true }]),
        (Some("pppoe"), vec![Wrap::Pppoe { session: 7 }]),
        (Some("pptp"), vec![Wrap::Pptp { call: 3, hdlc: true }]),
    ];
    for ipv6 in [false, true] {
        all.extend([
            (Some("gre"), vec![gre(ipv6, None)]),
            (Some("gre"), vec![gre(ipv6, Some(9))]),
            (Some("gretap"), vec![Wrap::GreTap { ipv6, key: Some(9), sequence: None }]),
            (Some("erspan"), vec![Wrap::Erspan1 { ipv6 }]),
            (Some("erspan"), vec![Wrap::Erspan2 { ipv6, session: 11 }]),
            (Some("erspan"), vec![Wrap::Erspan3 { ipv6, session: 11, platform: true }]),
            (Some("etherip"), vec![Wrap::EtherIp { ipv6 }]),
            (Some("vxlan"), vec![Wrap::Vxlan { ipv6, vni: 42, port: 4789 }]),
            (Some("geneve"), vec![Wrap::Geneve { ipv6, vni: 43, option_words: 3, ethernet: true }]),
            (Some("geneve"), vec![Wrap::Geneve { ipv6, vni: 43, option_words: 0, ethernet: false }]),
            (Some("gtpu"), vec![Wrap::Gtpu { ipv6, teid: 44, sequence: true, extension: true }]),
            // A mirror's tunnel around an overlay's around a tagged frame.
            (
                Some("geneve"),
                vec![
                    vlan(0x8100, 5),
                    Wrap::Geneve { ipv6, vni: 43, option_words: 1, ethernet: true },
                    Wrap::Vxlan { ipv6: !ipv6, vni: 42, port: 4789 },
                ],
            ),
        ]);
    }
    all
}

/// Conversations with every trouble, but those that are in VLANs already, and those of which the snapshot length has cut
/// frames: what is put around these would say that they are whole.
fn whole() -> Vec<Conversation> {
    let is_whole = |packet: &Packet| {
        packet.orig_len as usize == packet.frame.len()
            && matches!(packet.frame[12..14], [8, 0] | [0x86, 0xdd])
    };
    let conversations = variants(1).into_iter().map(|variant| variant.conversation);
    conversations.filter(|conversation| conversation.packets().iter().all(is_whole)).collect()
}

/// The capture of packets, each a time and its bytes.
fn capture(frames: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 262_144, 1] {
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
    capture(&frames.collect::<Vec<_>>())
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

/// Any tunnel, whole and in fragments within it and of it, with one, two and four workers: the records of the bare packets.
#[test]
fn tunnels_make_no_difference() {
    let dir = Dir::new();
    let conversations = whole();
    let packets = merge(&conversations);
    let bare = find(&dir, &carried(&packets, &Carriage::default()), "");
    assert!(bare.records.len() > 20, "{}", bare.records.len());
    assert!(bare.ways.iter().flatten().all(Value::is_null));
    for (kind, wraps) in carriages() {
        for cuts in [vec![], vec![(0, 400)], vec![(wraps.len(), 600)]] {
            let carriage = Carriage { wraps: wraps.clone(), cuts };
            let file = carried(&packets, &carriage);
            let one = find(&dir, &file, "--workers 1");
            assert_eq!(one.records.len(), bare.records.len(), "{carriage:?}");
            for (found, expected) in one.records.iter().zip(&bare.records) {
                assert_eq!(found, expected, "{carriage:?}");
            }
            assert_eq!((&one.flows, &one.http), (&bare.flows, &bare.http), "{carriage:?}");
            for [tunnel, vlan, _] in &one.ways {
                assert_eq!(tunnel["kind"].as_str(), kind, "{carriage:?}");
                assert_eq!(kind.is_none(), vlan.is_number() && tunnel.is_null(), "{carriage:?}");
            }
            for workers in [2, 4] {
                let several = find(&dir, &file, &format!("--workers {workers}"));
                assert!(several.text == one.text, "{workers} workers, {carriage:?}");
                assert_eq!(several.fragments, one.fragments, "{carriage:?}");
            }
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
        .says("packet(s) in tunnels not opened");
}
