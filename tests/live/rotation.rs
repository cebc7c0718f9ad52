//! A directory of files: by size, by time, by signal; nothing lost or doubled between them.

use std::path::Path;
use std::time::Duration;

use gannet_testkit::generator::{Sizes, Spec};
use nix::sys::signal::Signal;

use super::recorded::{assert_perfect, packets};
use super::support::{Bench, wait_for};
use super::tools;
use crate::util::Outcome;

#[test]
fn by_size() {
    const COUNT: u64 = 30_000;
    const LIMIT: u64 = 1 << 20;
    let Some(bench) = Bench::new() else { return };
    for (dir, words, slack) in [
        // For each worker at most one ring block or buffer more than asked for, and the statistics at the end.
        ("a/", "--rotate 1MiB --workers 1", LIMIT),
        ("b/", "--rotate 1MiB --workers 1 --writer zero-copy --block-size 128KiB", LIMIT),
        ("c/", "--rotate 1MiB --workers 1 --writer copy", LIMIT),
        ("d/", "--rotate 1MiB --workers 2", 2 * LIMIT),
        ("e/", "--rotate 1MiB --workers 1 --format pcap", LIMIT),
    ] {
        std::fs::create_dir(bench.dir.join(dir)).unwrap();
        let run = bench.capture(&format!("--ring-size 32MiB -w {dir} {words}"));
        bench.send(&Spec { flows: 100, ..Spec::default() }, COUNT, 40_000.0);
        let (outcome, ledger) = run.stop();
        ledger.is_lossless(COUNT);
        let files = ledger.files(&bench.dir);
        assert!(files.len() as u64 >= COUNT * 1_514 / (LIMIT + slack), "{words}: {} files", files.len());
        assert_eq!(
            listing(&bench.dir.join(dir)),
            sorted(&files),
            "{words}: the files named, and those there are"
        );
        // In the order in which they were begun, which their names tell.
        let mut in_order = files.clone();
        in_order.sort();
        assert_perfect(&in_order, COUNT);
        for file in &files {
            let size = std::fs::metadata(file).unwrap().len();
            assert!(size <= LIMIT + slack + 65_536, "{words}: {} has {size} bytes", file.display());
            assert!(
                !packets(file).is_empty() || Some(file) == in_order.last(),
                "{words}: {}",
                file.display()
            );
        }
        // Each by itself, though for all of them at once.
        if tools::have(&["capinfos", "tcpdump"]) {
            assert_eq!(tools::capinfos_count(&files), COUNT, "{words}");
            assert_eq!(files.iter().map(|file| tools::tcpdump_count(file)).sum::<u64>(), COUNT, "{words}");
        }
        assert_eq!(begun(&outcome), files.len() - 1, "{words}: {}", outcome.stderr);
    }
}

#[test]
fn by_time() {
    const COUNT: u64 = 12_000;
    let Some(bench) = Bench::new() else { return };
    for (dir, words) in [("a/", "--rotate 500ms,align"), ("b/", "--rotate 1GiB,500ms --workers 2")] {
        std::fs::create_dir(bench.dir.join(dir)).unwrap();
        let run = bench.capture(&format!("--ring-size 16MiB -w {dir} {words}"));
        let spec = Spec { sizes: Sizes::Fixed(200), flows: 100, ..Spec::default() };
        bench.send(&spec, COUNT, COUNT as f64 / 2.2);
        let (_, ledger) = run.stop();
        ledger.is_lossless(COUNT);
        let files = ledger.files(&bench.dir);
        // One each half second, give or take one at either end; fewer if the machine has no time for it.
        let most = ledger.duration().as_millis() as usize / 500 + 2;
        assert!((3..=most).contains(&files.len()), "{words}: {files:?}");
        let mut in_order = files.clone();
        in_order.sort();
        assert_perfect(&in_order, COUNT);
        assert_eq!(listing(&bench.dir.join(dir)), sorted(&files));
        for file in &files {
            let times: Vec<u64> = packets(file).iter().map(|packet| packet.time).collect();
            let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) else { continue };
            // A block that is open when the time comes is a block time-out late.
            assert!(last - first < 900_000_000, "{words}: {}: {first} to {last}", file.display());
        }
    }
}

/// The report names the files in the order in which they were begun, though a worker that is idle lets go of an old
/// file later than of the next.
#[test]
fn files_are_reported_in_their_order() {
    let Some(bench) = Bench::new() else { return };
    std::fs::create_dir(bench.dir.join("dir")).unwrap();
    for round in 0..5 {
        let run = bench.capture("--ring-size 32MiB -w dir --rotate 1MiB --workers 2");
        // Few flows: one of the workers has much less to do.
        bench.send(&Spec { flows: 3, first: round * 100_000, ..Spec::default() }, 10_000, 40_000.0);
        let files = run.stop().1.files(&bench.dir);
        assert!(files.is_sorted(), "{files:?}");
    }
}

#[test]
fn by_signal() {
    let Some(bench) = Bench::new() else { return };
    std::fs::create_dir(bench.dir.join("dir")).unwrap();
    let mut run = bench.capture("--ring-size 16MiB -w dir");
    for round in 0..4 {
        bench.send(&Spec { first: round * 500, ..Spec::default() }, 500, None);
        if round < 3 {
            // What was sent is in the file that ends: all of it has left the ring by then.
            std::thread::sleep(Duration::from_millis(300));
            run.capture.signal(Signal::SIGHUP);
            run.capture.wait_for("now writing ");
        }
    }
    let (_, ledger) = run.stop();
    ledger.is_lossless(2_000);
    let files = ledger.files(&bench.dir);
    assert_eq!(files.iter().map(|file| packets(file).len()).collect::<Vec<_>>(), [500; 4]);
    assert_perfect(&files, 2_000);
    assert_eq!(listing(&bench.dir.join("dir")), sorted(&files));
}

/// A file has its final name only once it is complete.
#[test]
fn names_are_final_when_files_are() {
    let Some(bench) = Bench::new() else { return };
    let dir = bench.dir.join("dir");
    std::fs::create_dir(&dir).unwrap();
    let run = bench.capture("--ring-size 16MiB -w dir --rotate 1MiB");
    let complete = || listing(&dir).into_iter().filter(|name| name.ends_with(".pcapng")).collect::<Vec<_>>();
    assert_eq!(complete(), [""; 0]);
    bench.send(&Spec::default(), 5_000, 20_000.0);
    wait_for("a complete file", || complete().len() >= 4);
    for name in complete() {
        assert!(!packets(dir.join(&name)).is_empty(), "{name}");
        let verified = bench.dir.gannet(&format!("extract --verify dir/{name}")).run().exits(0);
        assert!(verified.text().contains(": sound"), "{}", verified.text());
    }
    run.stop().1.is_lossless(5_000);
    assert!(listing(&dir).iter().all(|name| name.ends_with(".pcapng")), "{:?}", listing(&dir));
}

/// logrotate's way: the file is renamed, a signal makes the recorder begin a new one of the old name.
#[test]
fn a_single_file_is_begun_anew_when_its_name_was_taken() {
    let Some(bench) = Bench::new() else { return };
    for (words, second) in [("", "--writer copy"), ("--workers 2", "--format pcap")] {
        for words in [words, second] {
            let mut run = bench.capture(&format!("--ring-size 16MiB -w out.pcapng {words}"));
            bench.send(&Spec::default(), 1_000, 20_000.0);
            // Without a rename the file goes on.
            run.capture.signal(Signal::SIGHUP);
            std::thread::sleep(Duration::from_millis(300));
            let (current, moved) = (bench.dir.join("out.pcapng"), bench.dir.join("out.pcapng.1"));
            std::fs::rename(&current, &moved).unwrap();
            run.capture.signal(Signal::SIGHUP);
            run.capture.wait_for("now writing ");
            bench.send(&Spec { first: 1_000, ..Spec::default() }, 1_000, 20_000.0);
            let (_, ledger) = run.stop();
            ledger.is_lossless(2_000);
            assert!(!packets(&moved).is_empty() && !packets(&current).is_empty(), "{words}");
            assert_perfect([&moved, &current], 2_000);
            tools::all_count(&moved, packets(&moved).len() as u64);
        }
    }
}

#[test]
fn the_report_is_printed_on_demand() {
    let Some(bench) = Bench::new() else { return };
    let mut run = bench.capture("--ring-size 16MiB -w out.pcapng --block-timeout 10ms");
    bench.send(&Spec::default(), 500, None);
    // The kernel's counters are read once a second.
    std::thread::sleep(Duration::from_millis(1_300));
    run.capture.signal(Signal::SIGUSR1);
    run.capture.wait_for("500 packets received");
    run.capture.wait_for("500 packets processed");
    run.stop().1.is_lossless(500);
}

/// Files that an earlier run left stay what they are, also if the clock shows the same second.
#[test]
fn earlier_files_are_not_touched() {
    let Some(bench) = Bench::new() else { return };
    let dir = bench.dir.join("dir");
    std::fs::create_dir(&dir).unwrap();
    let mut all = Vec::new();
    for round in 0..3 {
        let run = bench.capture("--ring-size 4MiB -w dir");
        bench.send(&Spec { first: round * 100, ..Spec::default() }, 100, None);
        let (_, ledger) = run.stop();
        ledger.is_lossless(100);
        all.extend(ledger.files(&bench.dir));
    }
    assert_perfect(&all, 300);
    assert_eq!(listing(&dir), sorted(&all));
}

/// The names in a directory, sorted.
fn listing(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The last parts of paths, sorted.
fn sorted(paths: &[std::path::PathBuf]) -> Vec<String> {
    let mut names: Vec<_> =
        paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// How many files it said that it had begun after the first.
fn begun(outcome: &Outcome) -> usize {
    outcome.stderr.lines().filter(|line| line.starts_with("now writing ")).count()
}
