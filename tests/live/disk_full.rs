//! Disks that are full or fail: the recording sheds with counters and goes on when it can.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use gannet_testkit::generator::{Sizes, Spec};
use gannet_testkit::lab::Side;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;

use super::recorded::tally;
use super::support::Bench;
use super::tools;

/// Runs a test in a mount namespace of its own, with a small tmpfs at `small` in the bench's directory: what is
/// mounted there goes with the thread, however it ends.
fn with_small_disk(bytes: &str, test: impl FnOnce(&Bench, &Path) + Send) {
    let Some(bench) = Bench::new() else { return };
    let small = bench.dir.join("small");
    std::fs::create_dir(&small).unwrap();
    let result = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).unwrap();
            mount(&["--make-rprivate", "/"]);
            mount(&["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs", small.to_str().unwrap()]);
            test(&bench, &small);
        });
        thread.join()
    });
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_full_disk_sheds_and_goes_on_when_there_is_room() {
    for (words, file) in
        [("--writer zero-copy", "out.pcapng"), ("--workers 2", "out.pcapng"), ("--format pcap", "out.pcap")]
    {
        with_small_disk("48m", |bench, small| {
            let ballast = small.join("ballast");
            std::fs::write(&ballast, vec![1; 24 << 20]).unwrap();
            let mut run = bench.capture(&format!("--ring-size 64MiB -w small/{file} {words}"));
            // 45 MB into 24 MiB.
            let full = Spec { flows: 64, ..Spec::default() };
            bench.send(&full, 30_000, 40_000.0);
            run.capture.wait_for("gannet: no room on disk for small/");
            std::fs::remove_file(&ballast).unwrap();
            run.capture.wait_for("gannet: there is room on disk again");
            std::thread::sleep(Duration::from_millis(500));
            bench.send(&Spec { first: 100_000, ..full }, 4_000, 20_000.0);
            let (_, ledger) = run.stop();
            assert_eq!(ledger.packets("received"), 34_000);
            assert_eq!(ledger.packets("dropped"), 0, "{words}: it waited for the disk instead of shedding");
            assert!(ledger.packets("disk_shed") > 5_000, "{words}: {ledger:?}");
            let path = small.join(file);
            let (early, late) = (tally([&path], 0, 30_000), tally([&path], 100_000, 4_000));
            assert_eq!(late.missing, 0, "{words}: {late:?}");
            assert_eq!(early.missing, ledger.packets("disk_shed"), "{words}: {early:?}");
            assert_eq!((early.corrupt, early.doubled), (0, 0), "{words}: {early:?}");
            tools::all_count(&path, ledger.packets("written"));
        });
    }
}

#[test]
fn strict_tells_by_its_status() {
    with_small_disk("8m", |bench, small| {
        let words = "record -i rx0 --stats-json ledger.json --ring-size 16MiB -w small/out.pcapng --strict";
        let capture = bench.gannet(Side::Receiver, words).capture();
        bench.send(&Spec::default(), 20_000, 40_000.0);
        capture.signal(Signal::SIGINT);
        capture.end().exits(4).says("packets were lost, and --strict was given");
        let ledger = bench.ledger();
        assert_eq!(ledger.packets("received"), 20_000);
        let report = tally([small.join("out.pcapng")], 0, 20_000);
        assert_eq!(report.missing, ledger.packets("disk_shed") + ledger.packets("dropped"));
        assert_eq!(report.intact, report.frames);
    });
}

/// A directory on a full disk: the files that are complete are complete, and the one at hand is ended properly.
#[test]
fn a_directory_on_a_full_disk() {
    for words in ["", "--workers 2"] {
        with_small_disk("96m", |bench, small| {
            std::fs::create_dir(small.join("dir")).unwrap();
            let ballast = small.join("ballast");
            std::fs::write(&ballast, vec![1; 64 << 20]).unwrap();
            let mut run = bench.capture(&format!("--ring-size 64MiB -w small/dir --rotate 4MiB {words}"));
            let spec = Spec { flows: 64, ..Spec::default() };
            bench.send(&spec, 30_000, 40_000.0);
            run.capture.wait_for("gannet: no room on disk for small/");
            std::fs::remove_file(&ballast).unwrap();
            run.capture.wait_for("gannet: there is room on disk again");
            // That may have been said of what a file gave back that was closed meanwhile.
            std::thread::sleep(Duration::from_millis(500));
            bench.send(&Spec { first: 100_000, ..spec }, 2_000, 20_000.0);
            let (_, ledger) = run.stop();
            assert_eq!((ledger.packets("received"), ledger.packets("dropped")), (32_000, 0));
            let files = ledger.files(&bench.dir);
            assert!(files.len() > 4, "{files:?}");
            let report = tally(&files, 0, 30_000);
            assert_eq!(report.missing, ledger.packets("disk_shed"), "{report:?}");
            assert_eq!(tally(&files, 100_000, 2_000).missing, 0);
            let left: Vec<_> =
                std::fs::read_dir(small.join("dir")).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert_eq!(left.len(), files.len(), "{left:?}");
            if tools::have(&["capinfos"]) {
                assert_eq!(tools::capinfos_count(&files), ledger.packets("written"));
            }
        });
    }
}

/// No room from the start: that is an output that cannot be opened, or a recording that waits for room; never one
/// that is silent about it.
#[test]
fn a_disk_that_is_full_already() {
    with_small_disk("1m", |bench, small| {
        std::fs::write(small.join("ballast"), vec![1; 1 << 20]).unwrap_or_default();
        let words = "record -i rx0 --duration 500ms --ring-size 4MiB -w small/out.pcapng";
        let outcome = bench.gannet(Side::Receiver, words).run();
        assert!(outcome.status.code() == Some(5) || outcome.stderr.contains("no room"), "{outcome:?}");
    });
}

/// A disk that fails for a while: its storage refuses pages in the middle of the recording. What was with the disk at
/// that time is shed, its place in the file is covered, and the recording goes on behind it.
#[test]
fn write_errors_leave_a_file_that_reads_to_its_end() {
    if !tools::have(&["mkfs.ext4"]) {
        return;
    }
    for (words, file) in [
        ("--writer zero-copy", "out.pcapng"),
        ("--writer copy", "out.pcapng"),
        ("--workers 2", "out.pcapng"),
        ("--format pcap", "out.pcap"),
    ] {
        with_small_disk("1m", |bench, _| {
            let Some(disk) = FailingDisk::mount(&bench.dir.join("disk")) else { return };
            let mut run = bench.capture(&format!("--ring-size 64MiB -w disk/{file} {words}"));
            let spec = |first| Spec { first, flows: 64, ..Spec::default() };
            bench.send(&spec(0), 8_000, 40_000.0);
            disk.refuse();
            bench.send(&spec(100_000), 12_000, 40_000.0);
            run.capture.wait_for("gannet: writing disk/");
            disk.accept();
            // Time for another attempt at what could not be covered or written.
            std::thread::sleep(Duration::from_millis(600));
            bench.send(&spec(200_000), 4_000, 20_000.0);
            let (outcome, ledger) = run.stop();
            assert_eq!((ledger.packets("received"), ledger.packets("dropped")), (24_000, 0), "{words}");
            let path = disk.path.join(file);
            let of = |first, count| tally([&path], first, count);
            let report = of(0, 8_000);
            assert_eq!(report.frames, ledger.packets("written"), "{words}: {report:?}\n{}", outcome.stderr);
            assert_eq!((report.corrupt, report.doubled), (0, 0), "{words}: {report:?}");
            let missing = report.missing + of(100_000, 12_000).missing;
            assert_eq!(missing, ledger.packets("disk_shed"), "{words}: {}", outcome.stderr);
            assert!(missing > 0, "{words}: nothing was refused");
            assert_eq!(of(200_000, 4_000).missing, 0, "{words}: it did not go on: {}", outcome.stderr);
            tools::all_count(&path, report.frames);
        });
    }
}

/// A limit to the size of files, which a write meets though room was promised: the file ends where the limit is,
/// properly, and the capture goes on to shed.
#[test]
fn a_limit_to_the_size_of_files() {
    const LIMIT: u64 = 8 << 20;
    let Some(bench) = Bench::new() else { return };
    for (words, file) in [
        ("--writer zero-copy", "out.pcapng"),
        ("--writer copy", "out.pcapng"),
        ("--workers 2", "out.pcapng"),
        ("--format pcap", "out.pcap"),
    ] {
        let script = format!(
            "ulimit -f {}; exec $gannet record -i rx0 --stats-json ledger.json --ring-size 64MiB -w {file} {words}",
            LIMIT / 1024
        );
        let capture = bench.script(Side::Receiver, &script).capture();
        bench.send(&Spec { flows: 64, ..Spec::default() }, 12_000, 40_000.0);
        capture.signal(Signal::SIGINT);
        let outcome = capture.end().exits(0);
        let ledger = bench.ledger();
        let path = bench.dir.join(file);
        let report = tally([&path], 0, 12_000);
        let written = ledger.packets("written");
        assert_eq!(
            (ledger.packets("received"), report.frames),
            (12_000, written),
            "{words}: {}",
            outcome.stderr
        );
        assert_eq!(report.intact, report.frames, "{words}: {report:?}");
        assert_eq!(report.missing, ledger.packets("disk_shed"), "{words}: {report:?}");
        assert!((1_000..LIMIT / 1_514).contains(&written), "{words}: {written} written");
        tools::all_count(&path, written);
    }
}

/// A device without room: status 5, and everything that came is in the ledger as shed.
#[test]
fn a_device_that_takes_nothing() {
    let Some(bench) = Bench::new() else { return };
    let words = "record -i rx0 --stats-json ledger.json --ring-size 4MiB -w /dev/full";
    let capture = bench.gannet(Side::Receiver, words).capture();
    std::thread::sleep(Duration::from_millis(200));
    bench.send(&Spec { sizes: Sizes::Fixed(100), ..Spec::default() }, 100, None);
    let outcome = capture.end().exits(5);
    assert!(outcome.stderr.contains("/dev/full"), "{}", outcome.stderr);
    assert_eq!(bench.ledger().packets("written"), 0);
}

/// An ext4 on a compressed memory disk, whose memory can be taken away and given back: writes then fail with I/O
/// errors, page by page.
struct FailingDisk {
    path: PathBuf,
    number: String,
}

impl FailingDisk {
    /// `None`, said on stderr, where there is no such device.
    fn mount(path: &Path) -> Option<Self> {
        // Reading it makes a new device and tells its number.
        let number = match std::fs::read_to_string("/sys/class/zram-control/hot_add") {
            Ok(number) => number.trim().to_owned(),
            Err(error) => {
                eprintln!("SKIPPED, needs zram devices: {error}");
                return None;
            }
        };
        std::fs::create_dir(path).unwrap();
        let disk = Self { path: path.to_owned(), number };
        disk.set("disksize", "256M");
        let device = format!("/dev/zram{}", disk.number);
        // Without a journal, whose own failed writes would make the file system give up.
        run("mkfs.ext4", &["-q", "-F", "-O", "^has_journal", "-E", "lazy_itable_init=0", &device]).unwrap();
        mount(&["-o", "errors=continue", &device, path.to_str().unwrap()]);
        Some(disk)
    }

    /// From a mebibyte on, no page is taken any more.
    fn refuse(&self) {
        let used: u64 = {
            let statistics =
                std::fs::read_to_string(format!("/sys/block/zram{}/mm_stat", self.number)).unwrap();
            statistics.split_whitespace().nth(2).unwrap().parse().unwrap()
        };
        self.set("mem_limit", &(used + (1 << 20)).to_string());
    }

    fn accept(&self) {
        self.set("mem_limit", "0");
    }

    fn set(&self, attribute: &str, value: &str) {
        std::fs::write(format!("/sys/block/zram{}/{attribute}", self.number), value).unwrap();
    }
}

impl Drop for FailingDisk {
    fn drop(&mut self) {
        let _ = run("umount", &[self.path.to_str().unwrap()]);
        let _ = std::fs::write(format!("/sys/block/zram{}/reset", self.number), "1");
        let _ = std::fs::write("/sys/class/zram-control/hot_remove", &self.number);
    }
}

fn mount(words: &[&str]) {
    run("mount", words).unwrap();
}

fn run(program: &str, words: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(words).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr)))
}
