//! Writes that fail or come up short in the middle of a file: `RLIMIT_FSIZE` makes the system refuse every byte
//! beyond a size, also where room was promised. The limit is the process's, so these tests have one of their own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests report by panicking")]

#[path = "recording/support.rs"]
#[allow(dead_code, reason = "what the other tests need besides")]
mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gannet_pcap::classic::Precision;
use gannet_recorder::{Destination, Encoding, FileSummary, Notice, OutputPlan, Tally, WriterPlan};
use gannet_testkit::generator::Sizes;
use gannet_testkit::tally::Tally as Proof;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};

use support::{Worker, alone, notices, open, plan, read, traffic};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// No file of the process grows beyond a size while this lives.
struct Limit {
    before: (u64, u64),
    _turn: MutexGuard<'static, ()>,
}

impl Limit {
    fn new(bytes: u64) -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        // The signal that comes with the error would end the process; threads started from here inherit the mask.
        SigSet::from(Signal::SIGXFSZ).thread_block().unwrap();
        let before = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
        setrlimit(Resource::RLIMIT_FSIZE, bytes, before.1).unwrap();
        Self { before, _turn: turn }
    }

    fn lift(&self) {
        setrlimit(Resource::RLIMIT_FSIZE, self.before.0, self.before.1).unwrap();
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        self.lift();
    }
}

/// Neither a multiple of a block's size nor of a buffer's: the write that meets it comes up short.
const LIMIT: u64 = (9 << 20) + 12_288;

/// Encodings and plans of a worker that is alone with its file.
fn ways() -> [(Encoding, WriterPlan); 5] {
    let in_place = WriterPlan { never_copy: true, ..alone() };
    let copy = WriterPlan { always_copy: true, ..alone() };
    [
        (Encoding::Pcapng, in_place),
        (Encoding::Pcapng, copy),
        (Encoding::Pcapng, WriterPlan { shared: true, ..copy }),
        (Encoding::Pcap(Precision::Micro), copy),
        (Encoding::Pcap(Precision::Nano), WriterPlan { flush_each_block: true, ..copy }),
    ]
}

/// The file holds exactly what the accounts say: what was written, but for what was lost.
fn assert_agree(files: &[FileSummary], tally: &Tally, lost: (u64, u64), when: &str) {
    let mut proof = Proof::new();
    let found = read(&files[0].path, &mut proof);
    let report = proof.report();
    assert_eq!((report.corrupt, report.doubled, report.out_of_order), (0, 0, 0), "{when}: {report:?}");
    let kept = (tally.written.0 - lost.0, tally.written.1 - lost.1);
    assert_eq!((found.packets, found.bytes), kept, "{when}: written {:?}, lost {lost:?}", tally.written);
    assert_eq!(
        (files[0].packets, files[0].bytes),
        (found.packets, files[0].path.metadata().unwrap().len()),
        "{when}"
    );
}

#[test]
fn a_disk_that_fails_and_recovers() {
    for (encoding, how) in ways() {
        let when = format!("{encoding:?} {how:?}");
        let limit = Limit::new(LIMIT);
        let directory = tempfile::tempdir().unwrap();
        let path =
            directory.path().join(if encoding == Encoding::Pcapng { "day.pcapng" } else { "day.pcap" });
        let output = open(OutputPlan { encoding, ..plan(Destination::File(path)) });
        let mut worker = Worker::new(&output, how);
        let mut traffic = traffic(Sizes::Range(60, 1514), 0);
        let start = Instant::now();
        while worker.writer().tally().shed.0 == 0 {
            worker.record(&traffic.block(usize::MAX));
            worker.writer().housekeeping();
            assert!(start.elapsed() < Duration::from_secs(20), "{when}: nothing is refused");
        }
        for _ in 0..20 {
            worker.record(&traffic.block(usize::MAX));
        }
        worker.drain();
        let before = worker.writer().tally();
        limit.lift();
        // The keeper mends what the failed writes have left, and recording goes on.
        while worker.writer().tally().written.0 < before.written.0 + 5_000 {
            worker.record(&traffic.block(usize::MAX));
            worker.writer().housekeeping();
            std::thread::sleep(Duration::from_millis(5));
            assert!(start.elapsed() < Duration::from_secs(20), "{when}: it never goes on");
        }
        let tally = worker.finish();
        let told = notices(&output);
        let failures = told.iter().filter(|notice| matches!(notice, Notice::WriteFailed(_))).count();
        assert!((1..=3).contains(&failures), "{when}: told once, not for every write: {told:?}");
        let (files, lost, failure) = output.finish(tally.written);
        assert!(failure.is_none());
        assert_eq!(lost, (0, 0), "{when}: what was written is there");
        assert_agree(&files, &tally, lost, &when);
    }
}

#[test]
fn a_disk_that_fails_for_good() {
    for (encoding, how) in ways() {
        let when = format!("{encoding:?} {how:?}");
        let _limit = Limit::new(LIMIT);
        let directory = tempfile::tempdir().unwrap();
        let path =
            directory.path().join(if encoding == Encoding::Pcapng { "day.pcapng" } else { "day.pcap" });
        let output = open(OutputPlan { encoding, ..plan(Destination::File(path)) });
        let mut worker = Worker::new(&output, how);
        let mut traffic = traffic(Sizes::Range(60, 1514), 0);
        for _ in 0..60 {
            worker.record(&traffic.block(usize::MAX));
            worker.writer().housekeeping();
        }
        let tally = worker.finish();
        assert!(tally.shed.0 > 0, "{when}");
        let (files, lost, failure) = output.finish(tally.written);
        assert!(failure.is_none());
        assert_agree(&files, &tally, lost, &when);
        // At most one write of each kind, of 1 MiB, is missing below the limit.
        assert!(
            files[0].bytes > LIMIT - (3 << 20) && files[0].bytes <= LIMIT,
            "{when}: {} bytes",
            files[0].bytes
        );
    }
}

#[test]
fn a_disk_that_fails_under_several_workers() {
    let limit = Limit::new(LIMIT);
    for lift in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let output = open(plan(Destination::File(directory.path().join("all.pcapng"))));
        let mut sum = Tally::default();
        std::thread::scope(|scope| {
            let handles: Vec<_> = (0..3_u32)
                .map(|number| {
                    let plan =
                        WriterPlan { worker: number, shared: true, never_copy: number == 1, ..alone() };
                    let mut worker = Worker::new(&output, plan);
                    worker.source = number;
                    let limit = &limit;
                    scope.spawn(move || {
                        let mut traffic = traffic(Sizes::Range(60, 1514), u64::from(number) * 1_000_000);
                        for turn in 0..60 {
                            worker.record(&traffic.block(usize::MAX));
                            worker.writer().housekeeping();
                            std::thread::sleep(Duration::from_millis(3));
                            if turn == 40 && number == 0 && lift {
                                limit.lift();
                            }
                        }
                        worker.finish()
                    })
                })
                .collect();
            for handle in handles {
                let tally = handle.join().unwrap();
                sum.written = (sum.written.0 + tally.written.0, sum.written.1 + tally.written.1);
                sum.shed.0 += tally.shed.0;
            }
        });
        assert!(sum.shed.0 > 0);
        let (files, lost, failure) = output.finish(sum.written);
        assert!(failure.is_none());
        let mut proof = Proof::new();
        let found = read(&files[0].path, &mut proof);
        assert_eq!(
            (found.packets, found.bytes),
            (sum.written.0 - lost.0, sum.written.1 - lost.1),
            "lift {lift}"
        );
        assert_eq!((proof.report().corrupt, proof.report().doubled), (0, 0));
    }
}
