//! Two workers and traffic whose flow the kernel's fanout program does not see: in tunnels and in fragments. What it
//! gives to the wrong worker is handed over, and the records are those of the bare traffic.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use gannet_testkit::conversation::{
    Body, Builder, Carriage, Conversation, Identifications, Packet, Peer, Request, Response, Setup, Wrap,
    merge,
};
use gannet_testkit::lab::Side;
use gannet_testkit::random::Random;
use serde_json::Value;

use super::http::{Server, end, ledger, records, start};
use super::support::{Bench, settle, wait_for};
use super::tools;
use crate::util::Capture;

/// The network within the tunnel.
const INSIDE: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 98, 0, 1), Ipv4Addr::new(10, 98, 0, 2)];

const VNI: u64 = 77;

/// A vxlan device on each side, over the pair.
fn join_by_vxlan(bench: &Bench, port: u16) {
    for (side, address) in Side::BOTH.into_iter().zip(INSIDE) {
        for words in [
            format!(
                "link add vxlan0 type vxlan id {VNI} dstport {port} dev {} local {} remote {}",
                side.interface(),
                side.address(),
                side.other().address()
            ),
            format!("address add {address}/24 dev vxlan0"),
            "link set vxlan0 up".to_owned(),
        ] {
            bench.lab.ip(side, &words).unwrap();
        }
    }
}

fn part_vxlan(bench: &Bench) {
    for side in Side::BOTH {
        bench.lab.ip(side, "link delete vxlan0").unwrap();
    }
}

/// Starts a run with two workers, also with these words.
fn begin(bench: &Bench, words: &str) -> Capture {
    // Records are appended.
    let _ = std::fs::remove_file(bench.dir.join("records.jsonl"));
    start(bench, &format!("-o jsonl:records.jsonl --workers 2 --ring-size 64MiB {words}"))
}

/// Pages of all sizes and uploads, over many connections. Every request ends before its client does.
fn browse(bench: &Bench, server: &Server<'_>, address: Ipv4Addr) {
    bench.dir.write("form", &[b'a'; 5_000]);
    for (count, words) in [
        (700, "http://SERVER/0.txt http://SERVER/100.txt http://SERVER/20000.txt http://SERVER/100000.txt"),
        (300, "http://SERVER/missing http://SERVER/fail"),
        (100, "-d form http://SERVER/post"),
    ] {
        let words = format!("h2load --h1 -n {count} -c 20 {words}").replace("SERVER", &address.to_string());
        server.client(&words).unwrap();
    }
}

/// How often each exchange is there: method, path, status, sizes and state.
fn exchanges(records: &[Value]) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for record in records {
        let of = |pointer: &str| record.pointer(pointer).unwrap_or(&Value::Null).to_string();
        let facts = [
            "/http/request/method",
            "/url/path",
            "/http/response/status_code",
            "/http/request/body/size",
            "/http/response/body/size",
            "/gannet/state",
        ];
        *counts.entry(facts.map(of).join(" ")).or_default() += 1;
    }
    counts
}

/// Nothing was lost on the way from the interface to the records.
#[track_caller]
fn nothing_missing(ledger: &Value, records: &[Value]) {
    assert_eq!(ledger["packets"]["dropped"], 0, "{ledger}");
    let analysis = &ledger["analysis"];
    assert_eq!(analysis["packets"]["mailbox_full"], 0, "{ledger}");
    assert_eq!(analysis["datagrams"]["mailbox_full"], Value::Null, "{ledger}");
    assert_eq!(analysis["flows"]["gap_bytes"], 0, "{ledger}");
    assert_eq!(analysis["http"]["exchanges"], records.len(), "{ledger}");
    assert_eq!(analysis["http"]["complete"], records.len(), "{ledger}");
    assert!(ledger["sinks"].as_array().unwrap().iter().all(|sink| sink["shed"] == 0), "{ledger}");
}

#[test]
fn a_vxlan_device_makes_no_difference() {
    let Some(bench) = Bench::new() else { return };
    if !tools::have(&["nginx", "curl", "h2load"]) {
        return;
    }
    let server = Server::start(&bench);
    let capture = begin(&bench, "");
    browse(&bench, &server, Side::Receiver.address());
    end(capture);
    let bare = records(&bench, "records.jsonl");
    assert_eq!(bare.len(), 1_100);
    nothing_missing(&ledger(&bench), &bare);
    assert!(bare.iter().all(|record| record["gannet"]["tunnel"].is_null()));

    // The fanout program looks into the first; of the second it sees ports that each direction draws for itself.
    for (port, more, seen_by_the_kernel) in [(4_789, "", true), (5_000, "--decap vxlan:5000", false)] {
        join_by_vxlan(&bench, port);
        let [client, inside] = INSIDE.map(|address| address.to_string());
        let ready = || server.client(&format!("curl -s -o /dev/null http://{inside}/100.txt")).is_some();
        wait_for("the tunnel", ready);
        let capture = begin(&bench, more);
        browse(&bench, &server, INSIDE[1]);
        end(capture);
        let tunnelled = records(&bench, "records.jsonl");
        let ledger = ledger(&bench);
        nothing_missing(&ledger, &tunnelled);
        assert_eq!(exchanges(&tunnelled), exchanges(&bare), "port {port}");
        for record in &tunnelled {
            assert_eq!(record["gannet"]["tunnel"], serde_json::json!({"kind": "vxlan", "id": VNI}));
            assert_eq!(
                [&record["client"]["address"], &record["network"]["peer"]["address"]],
                [&client, &inside]
            );
        }
        let workers = ledger["workers"].as_array().unwrap();
        assert!(workers.iter().all(|worker| worker["packets"]["processed"] != 0), "{ledger}");
        let handed_over = ledger["analysis"]["handed_over"].as_u64().unwrap();
        assert_eq!(handed_over == 0, seen_by_the_kernel, "port {port}: {ledger}");
        part_vxlan(&bench);
    }
}

/// Complete exchanges of 60 clients at 15 addresses, at the same time; answers from nothing to many segments.
fn conversations() -> Vec<Conversation> {
    let conversation = |number: u16| {
        // Room for a tunnel's headers in the frames of the lab.
        let mut setup = Setup { mss: 1_300, ..Setup::default() };
        setup.route.client = (Ipv4Addr::new(198, 18, 0, 1 + (number % 15) as u8), 40_000 + number).into();
        let mut builder = Builder::new(setup.seed(number.into()));
        builder.handshake();
        for turn in 0..3_usize {
            let body = vec![b'q'; turn * 1_000];
            let target = format!("/{number}/{turn}");
            builder.request(&Request::new("POST", target, "shop.example").body(Body::length(body)));
            let answer = vec![b'a'; usize::from(number) * 150 * turn];
            builder.response(&Response::new(200 + turn as u16, Body::chunked(answer, 700)));
        }
        builder.close(Peer::Client);
        builder.finish()
    };
    (0..60).map(conversation).collect()
}

/// The frames of all packets in their order; the fragments of each packet in any order.
fn frames(packets: &[&Packet], carriage: &Carriage, random: &mut Random) -> Vec<Vec<u8>> {
    let mut ids = Identifications::default();
    let carry = |packet: &&Packet| {
        let mut frames = carriage.frames(packet, &mut ids);
        for last in (1..frames.len()).rev() {
            frames.swap(last, random.below(last as u64 + 1) as usize);
        }
        frames
    };
    packets.iter().flat_map(carry).collect()
}

fn send(bench: &Bench, frames: &[Vec<u8>]) {
    let mut socket = bench.sender();
    for chunk in frames.chunks(32) {
        let chunk: Vec<&[u8]> = chunk.iter().map(Vec::as_slice).collect();
        assert_eq!(socket.send(&chunk).unwrap(), chunk.len());
        std::thread::sleep(Duration::from_millis(1));
    }
    settle();
}

/// What a live run finds in these frames: the ledger, and the records of each connection in their order, without what
/// tells times and the way of packets.
fn find(bench: &Bench, frames: &[Vec<u8>]) -> (Value, Vec<Value>) {
    let capture = begin(bench, "");
    send(bench, frames);
    end(capture);
    let mut records = records(bench, "records.jsonl");
    let ledger = ledger(bench);
    assert_eq!(ledger["packets"]["received"], frames.len(), "{ledger}");
    nothing_missing(&ledger, &records);
    for record in &mut records {
        let all = record.as_object_mut().unwrap();
        all.remove("timestamp").unwrap();
        all.remove("timing").unwrap();
        // What is handed over may arrive later than what was sent after it and was not; by its time it is in its turn.
        let own = all["gannet"].as_object_mut().unwrap();
        own.remove("id").unwrap();
        // It holds the time.
        own.remove("locator").unwrap();
        own.remove("tunnel");
    }
    // The client's port is in the path.
    records.sort_by_key(|record| record["url"]["path"].to_string());
    (ledger, records)
}

#[test]
fn crafted_tunnels_and_fragments_make_no_difference() {
    let Some(bench) = Bench::new() else { return };
    let seed = std::env::var("GANNET_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5eed);
    eprintln!("seed {seed}: set GANNET_TEST_SEED to choose another");
    let mut random = Random::new(seed);
    let conversations = conversations();
    let packets = merge(&conversations);
    let (ledger, bare) = find(&bench, &frames(&packets, &Carriage::default(), &mut random));
    assert_eq!(bare.len(), 180);
    assert_eq!(ledger["analysis"]["handed_over"], 0, "{ledger}");

    let geneve = Wrap::Geneve { ipv6: false, vni: 43, option_words: 2, ethernet: true };
    let vxlan = Wrap::Vxlan { ipv6: false, vni: 42, port: 4789 };
    for (wraps, cuts) in [
        (vec![geneve.clone()], vec![]),
        // Of these the kernel gives what is whole to the worker of the flow, and fragments to any.
        (vec![], vec![(0, 400)]),
        (vec![vxlan], vec![(1, 600)]),
        // In fragments inside and outside.
        (vec![geneve], vec![(0, 800), (1, 304)]),
    ] {
        let carriage = Carriage { wraps, cuts };
        let (ledger, found) = find(&bench, &frames(&packets, &carriage, &mut random));
        assert_eq!(found.len(), bare.len(), "{carriage:?}: {ledger}");
        for (found, bare) in found.iter().zip(&bare) {
            assert_eq!(found, bare, "{carriage:?}");
        }
        let analysis = &ledger["analysis"];
        assert_ne!(analysis["handed_over"], 0, "{carriage:?}: {ledger}");
        // Every fragment became part of a datagram, and every datagram a segment or a fragment once more.
        let fragments = &analysis["fragments"];
        assert_eq!(fragments["fragments"], fragments["completed"], "{carriage:?}: {ledger}");
        assert_eq!(fragments["fragments"] == 0, carriage.cuts.is_empty(), "{carriage:?}: {ledger}");
        let datagrams = analysis["datagrams"].as_object().unwrap();
        let ends: u64 = datagrams.values().map(|count| count.as_u64().unwrap()).sum();
        assert_eq!(fragments["datagrams_completed"], ends, "{carriage:?}: {ledger}");
        assert!(datagrams.keys().all(|key| ["stream", "fragment"].contains(&key.as_str())), "{ledger}");
    }
}

/// The kernel takes the outermost tag off what it receives. Records tell it all the same, of whole packets and of those
/// in fragments.
#[test]
fn tags_that_the_kernel_takes_off_are_told() {
    let Some(bench) = Bench::new() else { return };
    let conversations = &conversations()[..12];
    let packets = merge(conversations);
    let mut random = Random::new(7);
    let (_, bare) = find(&bench, &frames(&packets, &Carriage::default(), &mut random));
    let [inner, outer, odd] =
        [(0x8100, 5), (0x88a8, 6), (0x9100, 7)].map(|(tpid, id)| Wrap::Vlan { tpid, id });
    for (wraps, cuts, vlan, inner_vlan) in [
        (vec![inner.clone()], vec![], 5, None),
        (vec![inner.clone(), outer.clone()], vec![], 6, Some(5)),
        (vec![inner.clone(), outer], vec![(0, 400)], 6, Some(5)),
        // This one stays where it is.
        (vec![inner, odd], vec![], 7, Some(5)),
    ] {
        let carriage = Carriage { wraps, cuts };
        let (_, mut found) = find(&bench, &frames(&packets, &carriage, &mut random));
        for record in &mut found {
            let own = record["gannet"].as_object_mut().unwrap();
            assert_eq!(own.remove("vlan"), Some(vlan.into()), "{carriage:?}");
            assert_eq!(own.remove("inner_vlan"), inner_vlan.map(Value::from), "{carriage:?}");
        }
        assert_eq!(found, bare, "{carriage:?}");
    }
}

/// An IPv4 packet between these ends, the client's first; otherwise like `sample`.
fn packet(sample: &Packet, id: u16, from: Peer, protocol: u8, ends: [[u8; 4]; 2], contents: &[u8]) -> Packet {
    let ends = if from == Peer::Client { ends } else { [ends[1], ends[0]] };
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
    frame.extend((20 + contents.len() as u16).to_be_bytes());
    frame.extend(id.to_be_bytes());
    frame.extend([&[0, 0, 64, protocol, 0, 0], &ends.concat()[..], contents].concat());
    Packet { orig_len: frame.len() as u32, frame, from, ..sample.clone() }
}

/// Questions and answers of 40 pairs of hosts without TCP, each with an echo beside it, and the first segments of 20
/// connections. Then a router's errors about those.
fn datagrams(sample: &Packet) -> [Vec<Packet>; 2] {
    let (mut packets, mut errors) = (Vec::new(), Vec::new());
    for host in 1..=40_u8 {
        let ends = [[198, 18, 1, host], [198, 18, 2, 1]];
        for (turn, len) in [30, 1_100, 0, 700].into_iter().enumerate() {
            let (id, from) = (turn as u16, [Peer::Client, Peer::Server][turn % 2]);
            let ports = [[0x9c, host], [0, 53]];
            let [source, destination] = [ports[turn % 2], ports[1 - turn % 2]];
            let header = [source, destination, (8 + len as u16).to_be_bytes(), [0, 0]].concat();
            packets.push(packet(sample, id, from, 17, ends, &[header, vec![b'd'; len]].concat()));
            let echo = [[8, 0][turn % 2], 0, 0, 0, 0, host, 0, turn as u8];
            packets.push(packet(sample, id, from, 1, ends, &[&echo[..], &vec![b'e'; len / 2]].concat()));
        }
        if host <= 20 {
            let segment = [0x9c, host, 0, 80, 0, 0, 0, 9, 0, 0, 0, 0, 0x50, 2, 0x20, 0, 0, 0, 0, 0];
            let syn = packet(sample, 7, Peer::Client, 6, ends, &segment);
            let message = [&[3, 13, 0, 0, 0, 0, 0, 0], &syn.frame[14..14 + 28]].concat();
            errors.push(packet(sample, 9, Peer::Server, 1, [ends[0], [198, 18, 3, 1]], &message));
            packets.push(syn);
        }
    }
    [packets, errors]
}

/// What `gannet stats` finds in these frames: the ledger, and the records without times and what tells the way of
/// packets.
fn find_flows(bench: &Bench, parts: &[Vec<Vec<u8>>]) -> (Value, Vec<Value>) {
    for old in ["records.jsonl", "ledger.json"] {
        let _ = std::fs::remove_file(bench.dir.join(old));
    }
    let words =
        "stats -i rx0 --workers 2 --ring-size 64MiB --stats-json ledger.json -o jsonl:records.jsonl --strict";
    let capture = bench.gannet(Side::Receiver, words).capture();
    for frames in parts {
        send(bench, frames);
        // The blocks' time-out, the patience of letters, and much besides.
        std::thread::sleep(Duration::from_secs(1));
    }
    end(capture);
    let ledger: Value = serde_json::from_slice(&bench.dir.read("ledger.json")).unwrap();
    assert_eq!(ledger["packets"]["received"], parts.iter().map(Vec::len).sum::<usize>(), "{ledger}");
    let mut records = records(bench, "records.jsonl");
    for record in &mut records {
        let all = record.as_object_mut().unwrap();
        for key in ["timestamp", "duration_ns"] {
            all.remove(key).unwrap();
        }
        for end in ["source", "destination"] {
            if let Some(tcp) = all[end].get_mut("tcp") {
                tcp.as_object_mut().unwrap().remove("rtt_ns");
            }
        }
        if let Some(tcp) = all.get_mut("tcp") {
            let tcp = tcp.as_object_mut().unwrap();
            tcp.remove("handshake");
            // In the order of arrival, which is not that of the wire between two workers.
            let mut letters: Vec<char> = tcp["history"].as_str().unwrap().chars().collect();
            letters.retain(|letter| *letter != '^');
            letters.sort_unstable();
            tcp["history"] = letters.into_iter().collect::<String>().into();
        }
        let own = all["gannet"].as_object_mut().unwrap();
        own.remove("id").unwrap();
        own.remove("tunnel");
    }
    records.sort_by_key(Value::to_string);
    (ledger, records)
}

/// Each conversation is one record, whichever worker its packets and their fragments came to, and an error is told of
/// the connection that it is about.
#[test]
fn flows_of_all_kinds_are_in_one_place() {
    let Some(bench) = Bench::new() else { return };
    let mut random = Random::new(0x5eed);
    let conversations = conversations();
    let [datagrams, errors] = datagrams(&conversations[0].packets()[0]);
    let mut packets = merge(&conversations);
    packets.extend(&datagrams);
    // Errors come when their connections are there.
    let parts = [packets, errors.iter().collect()];
    let mut find = |carriage: &Carriage| {
        let frames = parts.each_ref().map(|packets| frames(packets, carriage, &mut random));
        find_flows(&bench, &frames)
    };
    let (ledger, bare) = find(&Carriage::default());
    assert_eq!(bare.len(), 60 + 2 * 40 + 20 + 20, "{ledger}");
    let errors = bare.iter().filter(|record| record["gannet"]["icmp_errors"] == 1).count();
    assert_eq!(errors, 20, "{ledger}");

    let geneve = Wrap::Geneve { ipv6: false, vni: 43, option_words: 2, ethernet: true };
    let vxlan = Wrap::Vxlan { ipv6: false, vni: 42, port: 4789 };
    for (wraps, cuts) in [
        (vec![geneve], vec![]),
        (vec![vxlan.clone()], vec![]),
        (vec![], vec![(0, 400)]),
        (vec![vxlan], vec![(1, 600)]),
    ] {
        let carriage = Carriage { wraps, cuts };
        let (ledger, found) = find(&carriage);
        assert_eq!(found.len(), bare.len(), "{carriage:?}: {ledger}");
        for (found, bare) in found.iter().zip(&bare) {
            assert_eq!(found, bare, "{carriage:?}");
        }
        let analysis = &ledger["analysis"];
        assert_ne!(analysis["handed_over"], 0, "{carriage:?}: {ledger}");
        assert_eq!(analysis["handed_over"], analysis["taken_over"], "{ledger}");
    }
}
