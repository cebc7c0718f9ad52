//! What `kill -9` and power failures leave: images of files taken while they were written, with some of the writes in
//! flight missing. `repair` makes them readable, and loses no packet but those of the missing writes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gannet_pcap::classic::Precision;
use gannet_pcap::ng::marker::{ALIGNMENT, Marker};
use gannet_recorder::repair::{self, RepairReport, verify};
use gannet_recorder::{Destination, Encoding, OutputPlan, WriterPlan};
use gannet_testkit::generator::Sizes;
use gannet_testkit::random::Random;
use gannet_testkit::tally::Tally as Proof;

use crate::support::{Worker, alone, finish, list, open, plan, read, traffic};

/// Records a while and returns the files as they are then: every write so far has completed, none is closed.
fn image(output_plan: OutputPlan, writer_plan: WriterPlan, directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let output = open(output_plan);
    let mut worker = Worker::new(&output, writer_plan);
    let mut traffic = traffic(Sizes::Range(60, 1514), 0);
    for turn in 0..40 {
        worker.record(&traffic.block(if turn % 5 == 4 { 20 } else { usize::MAX }));
    }
    worker.drain();
    let files = loop {
        // A file that is closed at this moment changes its name.
        let read = list(directory).into_iter().map(|path| std::fs::read(&path).map(|bytes| (path, bytes)));
        if let Ok(files) = read.collect() {
            break files;
        }
    };
    let tally = worker.finish();
    finish(output, &tally);
    list(directory).iter().for_each(|path| std::fs::remove_file(path).unwrap());
    files
}

/// Repairs a file that nobody records. Other tests start programs: until these have closed what they inherit, they
/// hold locks that have been given up here.
fn repair(path: &Path) -> Result<RepairReport, repair::Error> {
    let start = Instant::now();
    loop {
        match repair::repair(path) {
            Err(repair::Error::InUse { .. }) if start.elapsed() < Duration::from_secs(5) => {
                std::thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}

/// Where the extents of a file lie, and how many packets each has.
fn extents(file: &[u8]) -> Vec<(usize, usize, u64)> {
    let mut extents = Vec::new();
    let mut at = 0;
    while at < file.len() {
        let marker = Marker::parse(&file[at..]);
        if let Some(marker) = marker {
            extents.push((at, marker.extent_len as usize, u64::from(marker.packets)));
        }
        let len = marker.map_or(ALIGNMENT as usize, |marker| marker.extent_len as usize);
        at = (at + len).next_multiple_of(ALIGNMENT as usize);
    }
    extents
}

#[test]
fn missing_writes_cost_their_own_packets_only() {
    let in_place = WriterPlan { never_copy: true, ..alone() };
    let copy = WriterPlan { always_copy: true, ..alone() };
    for (way, (rotates, writer_plan)) in
        [(false, in_place), (false, copy), (false, WriterPlan { shared: true, ..alone() }), (true, in_place)]
            .into_iter()
            .enumerate()
    {
        let directory = tempfile::tempdir().unwrap();
        let destination = if rotates {
            Destination::Directory { path: directory.path().into(), stem: "t".into() }
        } else {
            Destination::File(directory.path().join("day.pcapng"))
        };
        let output_plan = OutputPlan { rotate_bytes: Some(4 << 20), ..plan(destination) };
        for (path, file) in image(output_plan, writer_plan, directory.path()) {
            let whole = extents(&file);
            for seed in 0..12 {
                let when = format!("way {way}, {}, seed {seed}", path.display());
                let mut random = Random::new(seed);
                let mut damaged = file.clone();
                let mut left: u64 = whole.iter().map(|extent| extent.2).sum();
                for (number, &(at, len, packets)) in whole.iter().enumerate() {
                    // Writes complete out of order: the last dozen may each be missing.
                    if number + 12 >= whole.len() && random.below(2) == 0 {
                        damaged[at..at + len].fill(0);
                        left -= packets;
                    }
                }
                // Room that was promised and never written, with the size or without.
                if random.below(2) == 0 {
                    damaged.resize(damaged.len() + (1 << 20) + random.below(5) as usize, 0);
                }
                std::fs::write(&path, &damaged).unwrap();
                let report = repair(&path).unwrap_or_else(|error| panic!("{when}: {error}"));
                let repaired = report.renamed.clone().unwrap_or_else(|| path.clone());
                assert_eq!(
                    report.renamed.is_some(),
                    rotates && path.extension().unwrap() == "part",
                    "{when}"
                );
                let mut proof = Proof::new();
                assert_eq!(read(&repaired, &mut proof).packets, left, "{when}");
                let found = proof.report();
                assert_eq!((found.intact, found.out_of_order), (left, 0), "{when}");
                assert!(verify(&repaired).unwrap().is_sound(), "{when}");
                assert!(!repair(&repaired).unwrap().is_changed(), "{when}: a second repair changes nothing");
                std::fs::remove_file(repaired).unwrap();
            }
        }
    }
}

#[test]
fn a_torn_write_keeps_what_came_before_the_tear() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("day.pcapng");
    let plan = plan(Destination::File(path.clone()));
    let (_, file) = image(plan, WriterPlan { never_copy: true, ..alone() }, directory.path()).remove(0);
    let whole = extents(&file);
    let total: u64 = whole.iter().map(|extent| extent.2).sum();
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let (at, len, packets) = whole[random.below(whole.len() as u64) as usize];
        // The device has written sectors up to somewhere.
        let tear = random.below(len as u64) as usize / 512 * 512;
        let mut damaged = file.clone();
        damaged[at + tear..at + len].fill(0);
        std::fs::write(&path, &damaged).unwrap();
        repair(&path).unwrap();
        let mut proof = Proof::new();
        let left = read(&path, &mut proof).packets;
        assert!(
            left >= total - packets && left <= total,
            "seed {seed}: {left} of {total}, {packets} in the extent"
        );
        // A packet that reaches over the tear must not be taken for one.
        assert_eq!(proof.report().corrupt, 0, "seed {seed}");
        let share = packets as f64 * tear as f64 / len as f64;
        let kept = (left + packets - total) as f64;
        assert!((kept - share).abs() < 0.15 * packets as f64 + 10.0, "seed {seed}: {kept} kept of {share}");
    }
}

#[test]
fn a_classic_file_is_cut_behind_its_last_whole_record() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("day.pcap");
    let encoding = Encoding::Pcap(Precision::Micro);
    let plan = OutputPlan { encoding, ..plan(Destination::File(path.clone())) };
    let (_, file) = image(plan, alone(), directory.path()).remove(0);
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let mut damaged = file.clone();
        damaged.truncate(file.len() - random.below(1 << 20) as usize);
        if random.below(2) == 0 {
            damaged.resize(damaged.len() + (1 << 20), 0);
        }
        std::fs::write(&path, &damaged).unwrap();
        let report = repair(&path).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let mut proof = Proof::new();
        let left = read(&path, &mut proof).packets;
        assert_eq!(left, report.found.packets, "seed {seed}");
        // Behind a cut, zeros may have become the end of the record that was cut.
        assert!(
            proof.report().corrupt <= 1 && proof.report().missing == 0,
            "seed {seed}: {:?}",
            proof.report()
        );
    }
}

#[test]
fn a_file_that_is_being_recorded_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("day.pcapng");
    let output = open(plan(Destination::File(path.clone())));
    let mut worker = Worker::new(&output, alone());
    worker.record(&traffic(Sizes::Imix, 0).block(10));
    assert!(matches!(repair::repair(&path), Err(repair::Error::InUse { .. })));
    let tally = worker.finish();
    finish(output, &tally);
    assert!(!repair(&path).unwrap().is_changed(), "and is sound when it is closed");
    assert_eq!(verify(&path).unwrap().closed, Some(true));
}
