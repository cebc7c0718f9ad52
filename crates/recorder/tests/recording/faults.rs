//! Disks that are full, or fail, and recover or not: what is in the files is what the accounts say.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gannet_pcap::classic::Precision;
use gannet_recorder::{Destination, Encoding, FileSummary, Notice, Output, OutputPlan, Tally, WriterPlan};
use gannet_testkit::generator::Sizes;
use gannet_testkit::tally::Tally as Proof;

use crate::mounts::{ballast, mount_image, mount_memory, with_own_mounts};
use crate::support::{Traffic, Worker, alone, list, notices, open, plan, read, traffic};

/// Ways to write to a single file, and one to a directory.
fn ways(directory: &Path) -> Vec<(OutputPlan, WriterPlan)> {
    let in_place = WriterPlan { never_copy: true, ..alone() };
    let copy = WriterPlan { always_copy: true, ..alone() };
    let file = |name: &str| plan(Destination::File(directory.join(name)));
    let many = Destination::Directory { path: directory.into(), stem: "t".into() };
    let micro = Encoding::Pcap(Precision::Micro);
    vec![
        (file("day.pcapng"), in_place),
        (file("day.pcapng"), copy),
        (file("day.pcapng"), WriterPlan { shared: true, ..copy }),
        (OutputPlan { encoding: micro, ..file("day.pcap") }, copy),
        (OutputPlan { rotate_bytes: Some(4 << 20), ..plan(many.clone()) }, in_place),
        (OutputPlan { rotate_bytes: Some(4 << 20), encoding: micro, ..plan(many) }, copy),
    ]
}

/// Records blocks until `done`.
fn record_until(worker: &mut Worker, traffic: &mut Traffic, when: &str, mut done: impl FnMut(Tally) -> bool) {
    let start = Instant::now();
    while !done(worker.writer().tally()) {
        worker.record(&traffic.block(usize::MAX));
        worker.writer().housekeeping();
        worker.writer().complete(Some(Duration::from_millis(2)));
        assert!(start.elapsed() < Duration::from_secs(30), "{when}: {:?}", worker.writer().tally());
    }
}

/// Ends the recording and reads what has become of it.
fn assert_agree(output: Output, tally: &Tally, directory: &Path, when: &str) -> Vec<FileSummary> {
    let (files, lost, failure) = output.finish(tally.written);
    assert!(failure.is_none(), "{when}: {failure:?}");
    let mut proof = Proof::new();
    let mut found = (0, 0);
    let mut names: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
    names.sort();
    assert_eq!(names, list(directory), "{when}: nothing else is left behind");
    for name in &names {
        let read = read(name, &mut proof);
        found = (found.0 + read.packets, found.1 + read.bytes);
        let summary = files.iter().find(|file| file.path == *name).unwrap();
        let size = name.metadata().unwrap().len();
        assert_eq!((summary.packets, summary.bytes), (read.packets, size), "{when}: {}", name.display());
    }
    let report = proof.report();
    assert_eq!((report.corrupt, report.doubled, report.out_of_order, report.foreign), (0, 0, 0, 0), "{when}");
    let kept = (tally.written.0 - lost.0, tally.written.1 - lost.1);
    assert_eq!(found, kept, "{when}: written {:?}, lost {lost:?}", tally.written);
    files
}

#[test]
fn a_full_disk_sheds_and_goes_on_when_there_is_room() {
    with_own_mounts(|| {
        let temporary = tempfile::tempdir().unwrap();
        let disk = temporary.path();
        mount_memory(disk, 48);
        for number in 0..6 {
            let directory = disk.join(format!("way-{number}"));
            std::fs::create_dir(&directory).unwrap();
            let (output_plan, writer_plan) = ways(&directory).swap_remove(number);
            let when = format!("way {number}");
            ballast(&disk.join("ballast"), 24);
            let output = open(output_plan);
            let mut worker = Worker::new(&output, writer_plan);
            let mut traffic = traffic(Sizes::Range(60, 1514), 0);
            let mut told = Vec::new();
            record_until(&mut worker, &mut traffic, &when, |tally| {
                told.extend(notices(&output));
                tally.shed.0 > 10_000 && told.iter().any(|notice| matches!(notice, Notice::DiskFull(_)))
            });
            worker.drain();
            let full = worker.writer().tally();
            // Files of a directory take more room than they need until they are closed.
            let least = if number < 4 { 20 << 20 } else { 5 << 20 };
            assert!(full.written.1 > least, "{when}: the room that was there is used: {full:?}");
            std::fs::remove_file(disk.join("ballast")).unwrap();
            record_until(&mut worker, &mut traffic, &when, |tally| {
                told.extend(notices(&output));
                let has_room = told.iter().any(|notice| matches!(notice, Notice::DiskHasRoom(_)));
                has_room && tally.written.0 >= full.written.0 + 5_000
            });
            let tally = worker.finish();
            told.extend(notices(&output));
            let count = |wanted: fn(&Notice) -> bool| told.iter().filter(|notice| wanted(notice)).count();
            assert!(count(|notice| matches!(notice, Notice::DiskFull(_))) <= 3, "{when}: {told:?}");
            assert_eq!(count(|notice| matches!(notice, Notice::WriteFailed(_))), 0, "{when}: {told:?}");
            let files = assert_agree(output, &tally, &directory, &when);
            assert_eq!(files.iter().map(|file| file.lost_packets).sum::<u64>(), 0, "{when}");
            std::fs::remove_dir_all(&directory).unwrap();
        }
    });
}

#[test]
fn a_disk_that_stays_full() {
    with_own_mounts(|| {
        let temporary = tempfile::tempdir().unwrap();
        let disk = temporary.path();
        mount_memory(disk, 24);
        for number in 0..6 {
            let directory = disk.join(format!("way-{number}"));
            std::fs::create_dir(&directory).unwrap();
            let (output_plan, writer_plan) = ways(&directory).swap_remove(number);
            let when = format!("way {number}");
            let output = open(output_plan);
            let mut worker = Worker::new(&output, writer_plan);
            let mut traffic = traffic(Sizes::Range(60, 1514), 0);
            record_until(&mut worker, &mut traffic, &when, |tally| tally.shed.0 > 10_000);
            // A few packets are open when it ends.
            worker.record(&traffic.block(20));
            let tally = worker.finish();
            let files = assert_agree(output, &tally, &directory, &when);
            assert_eq!(files.iter().map(|file| file.lost_packets).sum::<u64>(), 0, "{when}");
            std::fs::remove_dir_all(&directory).unwrap();
        }
    });
}

#[test]
fn a_failing_device() {
    for recovers in [false, true] {
        for number in 0..4 {
            with_own_mounts(|| {
                let when = format!("way {number}, recovers {recovers}");
                let temporary = tempfile::tempdir().unwrap();
                let below = temporary.path().join("below");
                let disk = temporary.path().join("disk");
                mount_memory(&below, 64);
                mount_image(&below.join("image"), &disk, 512);
                let directory = disk.join("recording");
                std::fs::create_dir(&directory).unwrap();
                let (output_plan, writer_plan) = ways(&directory).swap_remove(number);
                let output = open(output_plan);
                let mut worker = Worker::new(&output, writer_plan);
                let mut traffic = traffic(Sizes::Range(60, 1514), 0);
                record_until(&mut worker, &mut traffic, &when, |tally| tally.written.0 > 10_000);
                // Between two writes: the loop device calls one a success that finds room for its first half.
                worker.drain();
                ballast(&below.join("ballast"), u64::MAX);
                record_until(&mut worker, &mut traffic, &when, |tally| tally.shed.0 > 10_000);
                worker.drain();
                let failing = worker.writer().tally();
                if recovers {
                    std::fs::remove_file(below.join("ballast")).unwrap();
                    record_until(&mut worker, &mut traffic, &when, |tally| {
                        tally.written.0 >= failing.written.0 + 5_000
                    });
                }
                let tally = worker.finish();
                let told = notices(&output);
                let failures = told.iter().filter(|notice| matches!(notice, Notice::WriteFailed(_))).count();
                assert!((1..=3).contains(&failures), "{when}: {told:?}");
                assert!(told.iter().all(|notice| !matches!(notice, Notice::DiskFull(_))), "{when}: {told:?}");
                assert_agree(output, &tally, &directory, &when);
            });
        }
    }
}
