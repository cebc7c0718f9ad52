//! How a capture ends: by a signal, without losing what the ring holds, or by a crash, after which the file is mended.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gannet_testkit::generator::{Sizes, Spec};
use nix::sys::signal::Signal;

use super::recorded::{assert_perfect, tally};
use super::support::Bench;
use super::tools;

/// Everything that was sent before the signal is in the file, though most of it is in a block that the kernel has
/// not handed over when the signal comes.
#[test]
fn a_signal_loses_nothing_that_the_ring_holds() {
    const COUNT: u64 = 3_000;
    let Some(bench) = Bench::new() else { return };
    for words in [
        "-w out.pcapng",
        "-w out.pcapng --writer zero-copy",
        "-w out.pcapng --workers 2",
        "-w out.pcap --format pcap",
        "-w out.pcapng --block-timeout 1s",
        "-w out.pcapng --block-timeout 1ms",
    ] {
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            let run = bench.capture(&format!("--ring-size 32MiB {words}"));
            bench.send(&Spec { sizes: Sizes::Imix, flows: 50, ..Spec::default() }, COUNT, None);
            run.capture.signal(signal);
            let passed = run.passed();
            let (_, ledger) = run.end();
            assert_eq!(passed, COUNT);
            ledger.is_lossless(COUNT);
            assert_perfect(ledger.files(&bench.dir), COUNT);
        }
    }
}

/// While packets come in at speed: everything up to some packet is there, nothing after it.
#[test]
fn a_signal_at_load() {
    let Some(bench) = Bench::new() else { return };
    for words in ["--writer zero-copy", "--writer copy", "--workers 2"] {
        let run = bench.capture(&format!("--ring-size 64MiB -w out.pcapng {words}"));
        let ((_, ledger), _) = bench.flood(&flood(), Some(100_000.0), || {
            std::thread::sleep(Duration::from_millis(500));
            run.interrupt()
        });
        assert_eq!(ledger.packets("received"), ledger.packets("written"), "{words}: {ledger:?}");
        let report = tally([bench.dir.join("out.pcapng")], 0, ledger.packets("written"));
        // Workers close one after the other: where there are several, the last packets are those of one of them.
        let late = if words.contains("workers") { ledger.packets("written") / 20 } else { 0 };
        assert!(report.missing <= late && report.missing == report.unexpected, "{words}: {report:?}");
        assert_eq!((report.intact, report.out_of_order), (report.frames, 0), "{words}: {report:?}");
    }
}

/// `kill -9` with writes in flight: what is missing after the repair are the packets that had not reached the disk,
/// which are among the last.
#[test]
fn after_a_crash_files_are_mended() {
    let Some(bench) = Bench::new() else { return };
    for (path, words) in [
        ("out.pcapng", "--writer zero-copy"),
        ("out.pcapng", "--writer copy"),
        ("out.pcapng", "--workers 2"),
        ("dir/", "--rotate 8MiB"),
    ] {
        crash_and_repair(&bench, path, words);
    }
}

/// Classic pcap has no marks to find records by, but what is there is to be whole as well.
#[test]
fn after_a_crash_classic_files_are_mended() {
    let Some(bench) = Bench::new() else { return };
    for _ in 0..5 {
        crash_and_repair(&bench, "out.pcap", "--format pcap");
    }
}

fn crash_and_repair(bench: &Bench, path: &str, words: &str) {
    let _ = std::fs::create_dir(bench.dir.join("dir"));
    let run = bench.capture(&format!("--ring-size 64MiB -w {path} {words}"));
    let (sent, _) = bench.flood(&flood(), Some(100_000.0), || {
        std::thread::sleep(Duration::from_millis(800));
        run.capture.signal(Signal::SIGKILL);
        let sent = run.passed();
        drop(run);
        sent
    });
    bench.dir.gannet(&format!("extract --repair {path}")).run().exits(0);
    let files = captures(&bench.dir.join(path));
    assert!(!files.is_empty());
    let verified = bench.dir.gannet(&format!("extract --verify {path}")).run().exits(0);
    assert_eq!(verified.text().matches(": sound").count(), files.len(), "{}", verified.text());
    let report = tally(&files, 0, sent);
    assert_eq!((report.corrupt, report.doubled, report.foreign), (0, 0, 0), "{path} {words}: {report:?}");
    assert_eq!(report.intact, report.frames, "{path} {words}: {report:?}");
    // A second's worth of packets may have been in buffers, and as much in the ring of the dead.
    assert!(report.intact > 0 && report.missing < sent, "{path} {words}: {sent} sent, {report:?}");
    // What is missing before the last are extents that were in flight: at most 32 for each worker, and a buffer.
    let (_, last) = report.range.unwrap();
    let holes = (last + 1).saturating_sub(report.intact);
    let in_flight = 2 * 33 * (1 << 20) / 1_514;
    assert!(holes < in_flight, "{path} {words}: {holes} packets missing before number {last}");
    if tools::have(&["capinfos", "tcpdump"]) {
        assert_eq!(tools::capinfos_count(&files), report.frames, "{path} {words}");
        // A file that had been made ready ahead of time has no interface yet; tcpdump refuses such files.
        let used: Vec<_> = files.iter().filter(|file| tools::capinfos_count(&[file]) > 0).collect();
        assert_eq!(used.iter().map(|file| tools::tcpdump_count(file)).sum::<u64>(), report.frames);
        assert!(used.len() + 2 >= files.len(), "{} of {} are empty", files.len() - used.len(), files.len());
    }
    for file in files {
        std::fs::remove_file(file).unwrap();
    }
}

/// What is on disk for longer than a second survives, in whatever buffer it was.
#[test]
fn a_crash_costs_a_quiet_link_at_most_a_second() {
    const COUNT: u64 = 200;
    let Some(bench) = Bench::new() else { return };
    for (file, words) in [("a.pcapng", ""), ("b.pcapng", "--workers 2"), ("c.pcap", "--format pcap")] {
        let run = bench.capture(&format!("--ring-size 16MiB -w {file} {words}"));
        bench.send(&Spec { sizes: Sizes::Imix, flows: 50, ..Spec::default() }, COUNT, None);
        std::thread::sleep(Duration::from_millis(1_200));
        run.capture.signal(Signal::SIGKILL);
        drop(run);
        bench.dir.gannet(&format!("extract --repair {file}")).run().exits(0);
        assert_perfect([bench.dir.join(file)], COUNT);
        tools::all_count(&bench.dir.join(file), COUNT);
    }
}

/// A second recorder must not get hold of a file that is being written, and a repair neither.
#[test]
fn a_file_in_use_is_left_alone() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.capture("--ring-size 16MiB -w out.pcapng");
    bench.send(&Spec::default(), 1_000, None);
    bench.dir.gannet("extract --repair out.pcapng").run().exits(2).says("out.pcapng");
    let second =
        bench.gannet(gannet_testkit::lab::Side::Receiver, "record -i rx0 -w out.pcapng --duration 1s");
    second.run().exits(5).says("another process is using this file");
    bench.send(&Spec { first: 1_000, ..Spec::default() }, 1_000, None);
    run.stop().1.is_lossless(2_000);
    assert_perfect([bench.dir.join("out.pcapng")], 2_000);
}

fn flood() -> Spec {
    Spec { flows: 200, ..Spec::default() }
}

/// The file itself, or the capture files of the directory, unfinished ones included.
fn captures(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let mut files: Vec<_> = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|file| file.to_str().unwrap().contains(".pcap"))
        .collect();
    files.sort();
    files
}
