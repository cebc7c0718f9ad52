//! Two workers: the packets of a flow, both directions, are with one of them, and it is the one that the twin of
//! the kernel's fanout program names.

use std::collections::HashMap;

use gannet_packet::{Frame, LinkType, PacketType, Timestamp};
use gannet_ring::fanout::{FLOW_SEED, flow_hash, worker_for_frame};
use gannet_testkit::generator::{Generator, Sizes, Spec};
use gannet_testkit::lab::Side;
use gannet_testkit::random::Random;
use gannet_testkit::shape::{Network, Shape, Tag, Transport};

use super::recorded::packets_by_worker;
use super::support::{Bench, settle};

const FLOWS: u32 = 1_000;

/// A flow: its number, and which of the shapes it has.
type Flow = (usize, u32);

/// Both directions of [`FLOWS`] flows in each of these shapes.
fn shapes() -> Vec<Shape> {
    let tag = Tag { tpid: 0x8100, pcp: 5, dei: true, vid: 100 };
    let service = Tag { tpid: 0x88a8, pcp: 1, dei: false, vid: 7 };
    let v6 = Shape { network: Network::V6, ..Shape::default() };
    vec![
        Shape::default(),
        Shape { transport: Transport::Tcp, ..Shape::default() },
        v6.clone(),
        Shape { transport: Transport::Tcp, ..v6.clone() },
        Shape { tags: vec![tag], ..Shape::default() },
        Shape { tags: vec![tag], ..v6.clone() },
        Shape { tags: vec![service, tag], ..Shape::default() },
        Shape { tags: vec![service, tag], ..v6.clone() },
        Shape { vxlan: Some(42), ..Shape::default() },
        Shape { vxlan: Some(42), transport: Transport::Tcp, ..v6.clone() },
        Shape { vxlan: Some(42), tags: vec![tag], ..Shape::default() },
        Shape { vxlan: Some(42), tags: vec![service, tag], ..v6 },
    ]
}

/// Every frame, with the flow it belongs to, and whether it is of the flow's reverse direction.
fn frames() -> Vec<(Vec<u8>, Flow, bool)> {
    let mut frames = Vec::new();
    for (index, shape) in shapes().into_iter().enumerate() {
        let first = index as u64 * 1_000_000;
        let sizes = Sizes::Range(100, 300);
        let spec = Spec { shape, flows: FLOWS, both_directions: true, sizes, first, seed: index as u64 };
        let mut generator = Generator::new(&spec);
        for number in first..first + 2 * u64::from(FLOWS) {
            // As the generator takes turns: each flow forward, then each flow back.
            let turn = number % (2 * u64::from(FLOWS));
            let flow = (index, (turn % u64::from(FLOWS)) as u32);
            frames.push((generator.frame(number).to_vec(), flow, turn >= u64::from(FLOWS)));
        }
    }
    frames
}

/// Checks a capture of all `frames`: every one is there, on the worker that the twin names, the flows' on one.
#[track_caller]
fn check(bench: &Bench, what: &str, frames: &[(Vec<u8>, Flow, bool)]) {
    let flow_of: HashMap<&[u8], Flow> =
        frames.iter().map(|(bytes, flow, _)| (bytes.as_slice(), *flow)).collect();
    assert_eq!(flow_of.len(), frames.len(), "frames that are the same");
    let mut workers: HashMap<Flow, u32> = HashMap::new();
    let mut per_worker = [0u32; 2];
    let captured = packets_by_worker(&bench.dir.join("out.pcapng"));
    assert_eq!(captured.len(), frames.len(), "{what}");
    for (worker, bytes) in &captured {
        let flow =
            *flow_of.get(bytes.as_slice()).unwrap_or_else(|| panic!("{what}: never sent: {bytes:02x?}"));
        assert_eq!(
            predicted(bytes),
            Some(*worker),
            "{what}: the twin disagrees about flow {flow:?}: {bytes:02x?}"
        );
        let first = *workers.entry(flow).or_insert(*worker);
        assert_eq!(first, *worker, "{what}: flow {flow:?} is with both workers: {bytes:02x?}");
        per_worker[*worker as usize] += 1;
    }
    assert_eq!(workers.len(), shapes().len() * FLOWS as usize, "{what}");
    // The hash spreads: neither worker has less than two fifths.
    assert!(per_worker.iter().all(|&count| count as usize > frames.len() * 2 / 5), "{what}: {per_worker:?}");
}

fn predicted(bytes: &[u8]) -> Option<u32> {
    let frame = Frame {
        data: bytes,
        timestamp: Timestamp(0),
        orig_len: bytes.len() as u32,
        link_type: LinkType::ETHERNET,
        interface: 0,
        packet_type: PacketType::Host,
    };
    worker_for_frame(&frame, 2, FLOW_SEED)
}

const WORDS: &str = "--workers 2 --ring-size 32MiB -w out.pcapng";

#[test]
fn both_directions_received() {
    let Some(bench) = Bench::new() else { return };
    let frames = frames();
    for words in ["--writer zero-copy", "--writer copy"] {
        let run = bench.capture(&format!("{WORDS} {words}"));
        let mut socket = bench.sender();
        for chunk in frames.chunks(500) {
            let chunk: Vec<&[u8]> = chunk.iter().map(|(bytes, ..)| bytes.as_slice()).collect();
            assert_eq!(socket.send(&chunk).unwrap(), chunk.len());
        }
        settle();
        run.stop().1.is_lossless(frames.len() as u64);
        check(&bench, words, &frames);
    }
}

/// What a server sees: requests come in, answers go out.
#[test]
fn one_direction_received_the_other_sent() {
    let Some(bench) = Bench::new() else { return };
    let frames = frames();
    let run = bench.capture(WORDS);
    let (mut there, mut back) = (bench.sender(), bench.visible_sender(Side::Receiver));
    for (bytes, _, reverse) in &frames {
        if *reverse {
            back.send(bytes);
        } else {
            assert_eq!(there.send(&[bytes]).unwrap(), 1);
        }
    }
    settle();
    run.stop().1.is_lossless(frames.len() as u64);
    check(&bench, "in and out", &frames);
}

/// The sender's own view: everything is outgoing, tags included.
#[test]
fn both_directions_sent() {
    let Some(bench) = Bench::new() else { return };
    let frames = frames();
    let run = bench.capture_on(Side::Sender, &format!("-i tx0 {WORDS} -Q out"));
    bench.send_visibly(Side::Sender, frames.iter().map(|(bytes, ..)| bytes.as_slice()));
    run.stop().1.is_lossless(frames.len() as u64);
    check(&bench, "out", &frames);
}

/// Frames that a router sends on have their tags where the network card would put them: beside the frame. A bridge
/// brings them there.
#[test]
fn forwarded_frames() {
    let Some(bench) = Bench::new() else { return };
    let frames = frames();
    // In the receiving namespace: rx0 is bridged to a further pair, whose far end nobody listens to.
    for words in [
        "link add out0 type veth peer name out1",
        // With snooping it would send queries of its own.
        "link add bridge0 type bridge mcast_snooping 0",
        "link set rx0 master bridge0",
        "link set out0 master bridge0",
        // Or the frames of the reverse direction would go back to where their destination has been seen.
        "link set rx0 type bridge_slave learning off",
        "link set bridge0 up",
        "link set out0 arp off up",
        "link set out1 arp off up",
    ] {
        bench.lab.ip(Side::Receiver, words).unwrap();
    }
    // A bridge that has just come up learns before it forwards.
    super::support::wait_for("the bridge to forward", || {
        let ports = bench.lab.ip(Side::Receiver, "-d link show type bridge_slave").unwrap();
        ports.matches("state forwarding").count() == 2
    });
    let run = bench.capture_on(Side::Receiver, &format!("-i out0 {WORDS} -Q out"));
    let sent = |bench: &Bench| bench.lab.counters(Side::Receiver, "out0").unwrap().tx_packets;
    let before = sent(&bench);
    let mut socket = bench.sender();
    for chunk in frames.chunks(200) {
        let chunk: Vec<&[u8]> = chunk.iter().map(|(bytes, ..)| bytes.as_slice()).collect();
        assert_eq!(socket.send(&chunk).unwrap(), chunk.len());
        settle();
    }
    super::support::wait_for("all frames to be forwarded", || sent(&bench) - before == frames.len() as u64);
    settle();
    run.interrupt().1.is_lossless(frames.len() as u64);
    check(&bench, "forwarded", &frames);
}

/// Anything at all: the kernel and the twin agree about every frame, malformed ones included.
#[test]
fn kernel_and_twin_agree_on_random_frames() {
    const COUNT: usize = 20_000;
    let Some(bench) = Bench::new() else { return };
    let seed = std::env::var("GANNET_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5eed);
    eprintln!("seed {seed}: set GANNET_TEST_SEED to choose another");
    let mut random = Random::new(seed);
    let sound = frames();
    let frames: Vec<Vec<u8>> = (0..COUNT)
        .map(|_| {
            let mut frame = sound[random.below(sound.len() as u64) as usize].0.clone();
            for _ in 0..random.below(4) {
                // Mostly in the headers, where it matters.
                let at = 12 + random.below(frame.len().min(110) as u64 - 12) as usize;
                frame[at] =
                    INTERESTING.get(random.below(24) as usize).copied().unwrap_or(random.next_u64() as u8);
            }
            if random.below(8) == 0 {
                // A received frame that ends within its tag is dropped before any tap (`skb_vlan_untag`).
                frame.truncate(20 + random.below(100) as usize);
            }
            // To nobody, so that the receiving host keeps silent, whatever it is.
            frame[0] = 2;
            frame
        })
        .collect();
    for sent in [false, true] {
        let run = bench.capture(WORDS);
        if sent {
            bench.send_visibly(Side::Receiver, frames.iter().map(Vec::as_slice));
        } else {
            let mut socket = bench.sender();
            for frame in &frames {
                assert_eq!(socket.send(&[frame]).unwrap(), 1);
            }
            settle();
        }
        run.stop().1.is_lossless(COUNT as u64);
        let captured = packets_by_worker(&bench.dir.join("out.pcapng"));
        assert_eq!(captured.len(), COUNT);
        let twin = if sent { predicted_sent } else { predicted };
        let disagree: Vec<_> = captured
            .iter()
            .filter(|(worker, bytes)| twin(bytes).is_some_and(|twin| twin != *worker))
            .collect();
        let first = disagree.first().map(|(worker, bytes)| (worker, bytes.len(), bytes));
        assert!(
            disagree.is_empty(),
            "sent: {sent}: {} of {COUNT} differ, first: {first:02x?}",
            disagree.len()
        );
    }
}

/// The twin's word on a frame that a packet socket sends, from what the kernel knows of it then
/// (`packet_parse_headers`): the ethertype is the first one, the network header is behind all tags. For frames that
/// make sense it is the same as for received ones; here they need not.
fn predicted_sent(bytes: &[u8]) -> Option<u32> {
    let ether_type = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let mut network = 14;
    while [0x8100, 0x88a8].contains(&ether_type(network - 2)?) {
        network += 4;
    }
    if ether_type(network - 2)? == 0 {
        // Nothing that `vlan_get_protocol_and_depth` would call a protocol.
        network = 14;
    }
    let hash =
        flow_hash(&bytes[network.min(bytes.len())..], ether_type(12)?, PacketType::Outgoing, FLOW_SEED);
    Some(hash.unwrap_or(0) % 2)
}

/// Bytes that turn one header into another: protocol numbers, ethertypes, versions.
const INTERESTING: [u8; 16] =
    [0x45, 0x46, 0x60, 0x08, 0x00, 0x81, 0x88, 0xa8, 0x86, 0xdd, 4, 6, 17, 41, 44, 47];
