//! Which frames are recorded, and how much of each: tags, lengths, directions, types, counts.

use std::collections::BTreeMap;

use gannet_testkit::generator::{Generator, Sizes, Spec};
use gannet_testkit::lab::Side;
use gannet_testkit::shape::{Network, Shape, Tag, Transport};

use super::recorded::{Packet, assert_perfect, packets, tally};
use super::support::{Bench, settle};
use super::tools;

const TAG: Tag = Tag { tpid: 0x8100, pcp: 5, dei: true, vid: 100 };
const SERVICE_TAG: Tag = Tag { tpid: 0x88a8, pcp: 3, dei: false, vid: 4_094 };

/// Stacks of tags as they occur, and one of a TPID that the kernel does not know.
fn tag_stacks() -> [Vec<Tag>; 8] {
    let priority = Tag { vid: 0, pcp: 7, dei: false, ..TAG };
    let old = Tag { tpid: 0x9100, ..SERVICE_TAG };
    [
        Vec::new(),
        vec![TAG],
        vec![SERVICE_TAG],
        vec![SERVICE_TAG, TAG],
        vec![TAG, Tag { vid: 200, pcp: 0, dei: false, ..TAG }],
        vec![SERVICE_TAG, TAG, priority],
        vec![priority],
        vec![old, TAG],
    ]
}

/// `each` frames of every stack of tags, numbered through.
fn tagged_frames(each: u64) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for (index, tags) in tag_stacks().into_iter().enumerate() {
        let network = if index % 2 == 0 { Network::V4 } else { Network::V6 };
        let shape = Shape { tags, network, ..Shape::default() };
        let spec = Spec { shape, sizes: Sizes::Range(60, 1_514), seed: index as u64, ..Spec::default() };
        let mut generator = Generator::new(&spec);
        let first = index as u64 * each;
        frames.extend((first..first + each).map(|number| generator.frame(number).to_vec()));
    }
    frames
}

#[test]
fn tags_are_put_back_byte_for_byte() {
    let Some(bench) = Bench::new() else { return };
    let frames = tagged_frames(400);
    for words in [
        "-w out.pcapng --writer zero-copy",
        "-w out.pcapng --writer copy",
        "-w out.pcapng",
        "-w out.pcap --format pcap",
    ] {
        let run = bench.capture(&format!("--ring-size 16MiB {words}"));
        send_all(&bench, &frames);
        let (_, ledger) = run.stop();
        ledger.is_lossless(frames.len() as u64);
        let file = &ledger.files(&bench.dir)[0];
        assert_same(words, &packets(file), &frames, usize::MAX);
        assert_eq!(ledger.bytes("written"), frames.iter().map(|frame| frame.len() as u64).sum::<u64>());
        tools::all_count(file, frames.len() as u64);
    }
}

/// The same for frames that leave, whose tags the kernel has left where they were.
#[test]
fn tags_of_outgoing_frames() {
    let Some(bench) = Bench::new() else { return };
    let frames = tagged_frames(100);
    for words in ["--writer zero-copy", "--writer copy"] {
        let run = bench.capture_on(Side::Sender, &format!("-i tx0 --ring-size 16MiB -w out.pcapng {words}"));
        bench.send_visibly(Side::Sender, frames.iter().map(Vec::as_slice));
        let (_, ledger) = run.stop();
        ledger.is_lossless(frames.len() as u64);
        assert_same(words, &packets(bench.dir.join("out.pcapng")), &frames, usize::MAX);
    }
}

/// `-s` bounds what is in the file with the tag back in it, the tag included; the kernel cuts without it.
#[test]
fn the_snapshot_length_holds_with_the_tag_back() {
    let Some(bench) = Bench::new() else { return };
    let frames = tagged_frames(200);
    for snaplen in [14, 64, 65, 1_000] {
        for words in
            ["-w out.pcapng --writer zero-copy", "-w out.pcapng --writer copy", "-w out.pcap --format pcap"]
        {
            let run = bench.capture(&format!("--ring-size 16MiB -s {snaplen} {words}"));
            send_all(&bench, &frames);
            let (outcome, ledger) = run.stop();
            ledger.is_lossless(frames.len() as u64);
            let file = &ledger.files(&bench.dir)[0];
            assert_same(&format!("-s {snaplen} {words}"), &packets(file), &frames, snaplen);
            let kept: u64 = frames.iter().map(|frame| frame.len().min(snaplen) as u64).sum();
            assert_eq!(ledger.bytes("written"), kept);
            let cut = frames.iter().filter(|frame| frame.len() > snaplen).count();
            let line = format!("{cut} packets cut to the snapshot length");
            assert!(outcome.stderr.contains(&line), "no '{line}': {}", outcome.stderr);
        }
    }
    tools::all_count(&bench.dir.join("out.pcapng"), frames.len() as u64);
    // 0 is the default, as in tcpdump.
    let run = bench.capture("--ring-size 16MiB -s 0 -w out.pcapng");
    send_all(&bench, &frames);
    run.stop().1.is_lossless(frames.len() as u64);
    assert_same("-s 0", &packets(bench.dir.join("out.pcapng")), &frames, usize::MAX);
}

#[test]
fn directions() {
    const IN: u64 = 700;
    const OUT: u64 = 300;
    let Some(bench) = Bench::new() else { return };
    let outgoing: Vec<Vec<u8>> = {
        let mut generator = Generator::new(&Spec { first: IN, sizes: Sizes::Fixed(200), ..Spec::default() });
        (IN..IN + OUT).map(|number| generator.frame(number).to_vec()).collect()
    };
    for (words, first, count) in [
        ("-Q in", 0, IN),
        ("-Q out", IN, OUT),
        ("-Q inout", 0, IN + OUT),
        ("--type outgoing", IN, OUT),
        ("--type others", 0, IN),
        // A fanout group's members get outgoing packets whatever PACKET_IGNORE_OUTGOING says.
        ("-Q in --workers 2", 0, IN),
        ("-Q out --workers 2", IN, OUT),
    ] {
        let run = bench.capture(&format!("--ring-size 16MiB -w out.pcapng {words}"));
        bench.send(&Spec { sizes: Sizes::Fixed(200), ..Spec::default() }, IN, 50_000.0);
        bench.send_visibly(Side::Receiver, outgoing.iter().map(Vec::as_slice));
        assert_eq!(run.passed(), IN + OUT);
        run.interrupt().1.is_lossless(count);
        let file = bench.dir.join("out.pcapng");
        let report = tally([&file], first, count);
        assert!(report.is_perfect(), "{words}: {report:?}");
        if words == "-Q inout" && tools::have(&["tshark"]) {
            // epb_flags, bits 0 and 1: 1 is inbound, 2 is outbound.
            let flags = tools::fields(&file, &["frame.packet_flags_direction"]);
            let count = |value: &str| flags.iter().filter(|flag| flag.ends_with(value)).count() as u64;
            assert_eq!((count("1"), count("2")), (IN, OUT), "{:?}", flags.first());
        }
    }
}

#[test]
fn types_of_packets() {
    const EACH: u64 = 50;
    let Some(bench) = Bench::new() else { return };
    let kinds = [
        ("host", Side::Receiver.mac()),
        ("broadcast", [0xff; 6]),
        ("multicast", [0x01, 0x00, 0x5e, 1, 2, 3]),
        ("others", Shape::default().destination),
    ];
    let spec = |index: usize, destination| Spec {
        shape: Shape { destination, ..Shape::default() },
        sizes: Sizes::Fixed(100),
        first: index as u64 * EACH,
        ..Spec::default()
    };
    for (wanted, (kind, _)) in kinds.iter().enumerate() {
        let run = bench.capture(&format!("--ring-size 16MiB -w out.pcapng --type {kind}"));
        for (index, (_, destination)) in kinds.iter().enumerate() {
            bench.send(&spec(index, *destination), EACH, None);
        }
        assert_eq!(run.passed(), EACH * kinds.len() as u64);
        run.interrupt().1.is_lossless(EACH);
        let report = tally([bench.dir.join("out.pcapng")], wanted as u64 * EACH, EACH);
        assert!(report.is_perfect(), "{kind}: {report:?}");
    }
}

/// Without promiscuous mode a real card would filter; veth delivers all the same, so the flag of the interface is
/// what can be seen.
#[test]
fn promiscuous_unless_told_otherwise() {
    let Some(bench) = Bench::new() else { return };
    for (words, promiscuous) in [("-i rx0", true), ("-i rx0 -p", false), ("-i any", false)] {
        let run = bench.capture_on(Side::Receiver, &format!("-w /dev/null --ring-size 4MiB {words}"));
        let text = bench.lab.ip(Side::Receiver, "-d link show dev rx0").unwrap();
        assert_eq!(text.contains("promiscuity 1"), promiscuous, "{words}: {text}");
        run.interrupt();
    }
}

#[test]
fn a_count_is_exact() {
    let Some(bench) = Bench::new() else { return };
    for (count, words) in [
        (1_000, ""),
        (1_000, "--writer zero-copy"),
        (1_000, "--workers 2"),
        (1_000, "--workers 2 --writer zero-copy --block-size 64KiB"),
        (1, ""),
        (4_999, "--workers 2 --block-size 64KiB"),
    ] {
        let run = bench.capture(&format!("--ring-size 16MiB -w out.pcapng -c {count} {words}"));
        bench.send(&Spec { sizes: Sizes::Imix, flows: 500, ..Spec::default() }, 5_000, 50_000.0);
        let (_, ledger) = run.end();
        assert_eq!(ledger.packets("written"), count, "-c {count} {words}");
        assert_eq!(ledger.packets("dropped"), 0);
        let file = bench.dir.join("out.pcapng");
        if words.contains("workers") {
            let report = tally([&file], 0, 5_000);
            assert_eq!((report.frames, report.intact, report.out_of_order), (count, count, 0), "{report:?}");
        } else {
            assert_perfect([&file], count);
        }
    }
    tools::all_count(&bench.dir.join("out.pcapng"), 4_999);
}

/// TCP over IPv6, and what the neighbourhood of it looks like: frames shorter than any header, of every length.
#[test]
fn odd_frames_are_frames() {
    let Some(bench) = Bench::new() else { return };
    let shape = Shape { network: Network::V6, transport: Transport::Tcp, ..Shape::default() };
    let mut generator = Generator::new(&Spec { shape, sizes: Sizes::Fixed(1_514), ..Spec::default() });
    let whole = generator.frame(0).to_vec();
    let frames: Vec<_> = (14..=1_514).map(|len| whole[..len].to_vec()).collect();
    for words in ["--writer zero-copy", "--writer copy"] {
        let run = bench.capture(&format!("--ring-size 16MiB -w out.pcapng {words}"));
        send_all(&bench, &frames);
        run.stop().1.is_lossless(frames.len() as u64);
        assert_same(words, &packets(bench.dir.join("out.pcapng")), &frames, usize::MAX);
    }
    tools::all_count(&bench.dir.join("out.pcapng"), frames.len() as u64);
}

/// The same frames in the same order, each cut to `snaplen`.
#[track_caller]
fn assert_same(what: &str, captured: &[Packet], sent: &[Vec<u8>], snaplen: usize) {
    assert_eq!(captured.len(), sent.len(), "{what}");
    // One line for each way to differ, not one for each frame.
    let mut different: BTreeMap<&'static str, usize> = BTreeMap::new();
    for (index, (captured, sent)) in captured.iter().zip(sent).enumerate() {
        if captured.orig_len as usize != sent.len() {
            different.entry("orig_len").or_insert(index);
        }
        if captured.data.len() != sent.len().min(snaplen) {
            different.entry("caplen").or_insert(index);
        }
        if !sent.starts_with(&captured.data) {
            different.entry("bytes").or_insert(index);
        }
    }
    assert!(different.is_empty(), "{what}: first frame that differs, by kind: {different:?}");
}

fn send_all(bench: &Bench, frames: &[Vec<u8>]) {
    let mut socket = bench.sender();
    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let mut sent = 0;
    while sent < frames.len() {
        sent += socket.send(&frames[sent..]).unwrap();
    }
    settle();
}
