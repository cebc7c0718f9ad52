//! `-i any`: interfaces with and without link headers at once.

use gannet_packet::LinkType;
use gannet_ring::transmit::TransmitSocket;
use gannet_testkit::generator::{Generator, Sizes, Spec};
use gannet_testkit::lab::{Side, Tun};

use super::recorded::{packets, tally};
use super::support::{Bench, settle, wait_for};
use super::tools;

/// Frames of each of the three interfaces.
const COUNT: u64 = 3_000;
/// Which numbers go over loopback and over the tunnel.
const LOOPBACK: u64 = 100_000;
const TUNNEL: u64 = 200_000;

#[test]
fn veth_loopback_and_tun_at_once() {
    if !tools::have(&["socat", "tshark", "tcpdump", "capinfos"]) {
        return;
    }
    let Some(bench) = Bench::new() else { return };
    for words in ["--writer zero-copy", "--writer copy", "--workers 2"] {
        let run =
            bench.capture_on(Side::Receiver, &format!("-i any -w out.pcapng --ring-size 32MiB {words}"));
        let tun = talk_everywhere(&bench);
        let (outcome, ledger) = run.interrupt();
        drop(tun);
        ledger.is_lossless(3 * COUNT);
        let main = bench.dir.join("out.pcapng");
        let raw = bench.dir.join("out.raw.pcapng");
        assert_eq!(outcome.stderr.matches("out.raw.pcapng").count(), 1, "{}", outcome.stderr);
        let mut files = ledger.files(&bench.dir);
        files.sort();
        assert_eq!(files, [main.as_path(), raw.as_path()]);

        // Loopback frames once each although the kernel shows them twice.
        let of = |file, first| tally([file], first, COUNT);
        let (veth, loopback, tunnel) = (of(&main, 0), of(&main, LOOPBACK), of(&raw, TUNNEL));
        assert_eq!((veth.missing, veth.unexpected, veth.doubled, veth.corrupt), (0, COUNT, 0, 0), "{veth:?}");
        assert_eq!((loopback.missing, loopback.foreign), (0, 0), "{loopback:?}");
        assert!(tunnel.is_perfect(), "{tunnel:?}");
        assert!(packets(&main).iter().all(|packet| packet.link_type == LinkType::ETHERNET));
        assert!(packets(&raw).iter().all(|packet| packet.link_type == LinkType::RAW));

        tools::all_count(&main, 2 * COUNT);
        tools::all_count(&raw, COUNT);
        let names = tools::fields(&main, &["frame.interface_name"]);
        for (name, count) in [("rx0", COUNT), ("lo", COUNT), ("tun0", 0)] {
            assert_eq!(names.iter().filter(|line| *line == name).count() as u64, count, "{name}");
        }
        assert!(tools::fields(&raw, &["frame.interface_name"]).iter().all(|name| name == "tun0"));
        for file in [main, raw] {
            std::fs::remove_file(file).unwrap();
        }
    }
}

#[test]
fn cooked_puts_all_into_one_file() {
    if !tools::have(&["socat", "tshark", "tcpdump", "capinfos"]) {
        return;
    }
    let Some(bench) = Bench::new() else { return };
    for (file, words) in [("out.pcapng", ""), ("out.pcap", "--format pcap")] {
        let words = format!("-i any -w {file} --cooked --ring-size 32MiB {words}");
        let run = bench.capture_on(Side::Receiver, &words);
        let _tun = talk_everywhere(&bench);
        let (_, ledger) = run.interrupt();
        ledger.is_lossless(3 * COUNT);
        let path = bench.dir.join(file);
        assert_eq!(ledger.files(&bench.dir), [path.as_path()]);
        for first in [0, LOOPBACK, TUNNEL] {
            let report = tally([&path], first, COUNT);
            assert_eq!((report.missing, report.foreign, report.corrupt), (0, 0, 0), "{file}: {report:?}");
        }
        let read = packets(&path);
        assert!(read.iter().all(|packet| packet.link_type == LinkType::SLL2));
        assert_eq!(read.len() as u64, 3 * COUNT);
        // Each cooked header has the index of its interface (LINKTYPE_LINUX_SLL2, bytes 4 to 8).
        let mut indexes: Vec<u32> =
            read.iter().map(|packet| u32::from_be_bytes(packet.data[4..8].try_into().unwrap())).collect();
        indexes.sort_unstable();
        indexes.dedup();
        assert_eq!(indexes.len(), 3);
        assert_eq!(tools::capinfos_count(&[&path]), 3 * COUNT);
        assert_eq!(tools::fields(&path, &["frame.number"]).len() as u64, 3 * COUNT);
    }
}

/// A stream holds one link type: the others are refused, counted, and said once.
#[test]
fn a_stream_refuses_other_link_types() {
    if !tools::have(&["socat"]) {
        return;
    }
    let Some(bench) = Bench::new() else { return };
    let run = bench.capture_on(Side::Receiver, "-i any -w /dev/null --ring-size 32MiB");
    let _tun = talk_everywhere(&bench);
    let (outcome, ledger) = run.interrupt();
    assert_eq!(ledger.packets("received"), 3 * COUNT);
    assert_eq!((ledger.packets("written"), ledger.packets("other_link_type")), (2 * COUNT, COUNT));
    assert_eq!(outcome.stderr.matches("--cooked takes all").count(), 1, "{}", outcome.stderr);
}

/// Several interfaces by name: each has its ring, the file names both.
#[test]
fn two_named_interfaces_in_one_file() {
    if !tools::have(&["tshark"]) {
        return;
    }
    let Some(bench) = Bench::new() else { return };
    let namespace = bench.lab.namespace(Side::Receiver);
    let mut capture = bench.dir.gannet(&format!(
        "record --netns {namespace} -i rx0 -i lo -w out.pcapng --stats-json ledger.json --ring-size 16MiB"
    ));
    capture = capture.env("GANNET_BLOCK_SIZE", "256KiB");
    let capture = capture.capture();
    bench.send(&small(0), COUNT, 20_000.0);
    send_over_loopback(&bench);
    capture.signal(nix::sys::signal::Signal::SIGINT);
    capture.end().exits(0);
    bench.ledger().is_lossless(2 * COUNT);
    let names = tools::fields(&bench.dir.join("out.pcapng"), &["frame.interface_name"]);
    for name in ["rx0", "lo"] {
        assert_eq!(names.iter().filter(|line| *line == name).count() as u64, COUNT, "{name}");
    }
}

/// [`COUNT`] frames each on `rx0`, `lo` and a tun device. That one is to stay until the capture has ended: an interface
/// that is gone when its first packet is written has no name any more.
fn talk_everywhere(bench: &Bench) -> Tun {
    let tun = bench.lab.add_tun(Side::Receiver, "tun0").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| bench.send(&small(0), COUNT, 20_000.0));
        scope.spawn(|| send_over_loopback(bench));
        scope.spawn(|| {
            let mut generator = Generator::new(&small(TUNNEL));
            for number in TUNNEL..TUNNEL + COUNT {
                tun.receive(&generator.frame(number)[14..]).unwrap();
            }
        });
    });
    wait_for("the tunnel's packets", || {
        bench.lab.counters(Side::Receiver, "tun0").unwrap().rx_packets == COUNT
    });
    settle();
    tun
}

fn send_over_loopback(bench: &Bench) {
    let mut socket = bench.lab.enter(Side::Receiver, || TransmitSocket::open("lo")).unwrap().unwrap();
    let mut generator = Generator::new(&small(LOOPBACK));
    for number in LOOPBACK..LOOPBACK + COUNT {
        while socket.send(&[generator.frame(number)]).unwrap() == 0 {}
    }
    settle();
}

fn small(first: u64) -> Spec {
    Spec { sizes: Sizes::Range(60, 300), first, flows: 20, ..Spec::default() }
}
