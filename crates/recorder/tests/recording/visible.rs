//! A single file can be read while it grows.

use std::path::Path;
use std::time::Duration;

use gannet_pcap::classic::Precision;
use gannet_recorder::{Destination, Encoding, OutputPlan, WriterPlan};
use gannet_testkit::block::BlockFrame;
use gannet_testkit::generator::Sizes;
use gannet_testkit::tally::Tally as Proof;

use crate::support::{Worker, alone, assert_perfect, finish, open, plan, read, traffic};

/// The file as it is now holds frames 0 to `count` and nothing else.
fn assert_visible(path: &Path, count: u64, when: &str) {
    let mut proof = Proof::expecting(0, count);
    read(path, &mut proof);
    assert!(proof.report().is_perfect(), "{when}: {:?}", proof.report());
}

fn name(encoding: Encoding) -> &'static str {
    if encoding == Encoding::Pcapng { "live.pcapng" } else { "live.pcap" }
}

#[test]
fn at_every_flush() {
    for encoding in [Encoding::Pcapng, Encoding::Pcap(Precision::Micro), Encoding::Pcap(Precision::Nano)] {
        for (shared, lagging) in [(false, false), (true, false), (false, true)] {
            if encoding != Encoding::Pcapng && (shared || lagging) {
                continue;
            }
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join(name(encoding));
            let output = open(OutputPlan { encoding, ..plan(Destination::File(path.clone())) });
            let mut worker = Worker::new(&output, WriterPlan { shared, flush_each_block: true, ..alone() });
            let mut traffic = traffic(Sizes::Range(60, 1514), 0);
            for turn in 0..80 {
                // Nearly empty blocks, some of them with an interface that has not been seen before, and full ones,
                // which are written in place where the format allows.
                let most = [1, 30, 7, usize::MAX, 20][turn % 5];
                let ifindex = 1 + turn as i32 / 16;
                let block = traffic.block_with(most, |number, frame| {
                    let ifindex = if number % 2 == 0 { 1 } else { ifindex };
                    BlockFrame { ifindex, ..frame }
                });
                worker.lagging = lagging && turn % 3 == 0;
                worker.record(&block);
                worker.drain();
                assert_visible(&path, traffic.next, &format!("{encoding:?}, shared {shared}, turn {turn}"));
            }
            let tally = worker.finish();
            assert_perfect(&finish(output, &tally), 0, traffic.next);
        }
    }
}

#[test]
fn within_a_second_without_being_asked() {
    for encoding in [Encoding::Pcapng, Encoding::Pcap(Precision::Micro)] {
        for shared in [false, true].into_iter().filter(|shared| !shared || encoding == Encoding::Pcapng) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join(name(encoding));
            let output = open(OutputPlan { encoding, ..plan(Destination::File(path.clone())) });
            let mut worker = Worker::new(&output, WriterPlan { shared, ..alone() });
            let mut traffic = traffic(Sizes::Imix, 0);
            for turn in 0..3 {
                worker.record(&traffic.block(10));
                // What housekeeping does every few milliseconds of an idle worker.
                for _ in 0..45 {
                    std::thread::sleep(Duration::from_millis(20));
                    worker.writer().housekeeping();
                    worker.writer().complete(None);
                }
                worker.drain();
                assert_visible(&path, traffic.next, &format!("{encoding:?}, shared {shared}, turn {turn}"));
            }
            let tally = worker.finish();
            assert_perfect(&finish(output, &tally), 0, 30);
        }
    }
}

#[test]
fn while_an_interface_is_met_for_the_first_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("live.pcapng");
    let output = open(plan(Destination::File(path.clone())));
    let mut worker = Worker::new(&output, alone());
    let mut traffic = traffic(Sizes::Fixed(1514), 0);
    let mut visible = 0;
    for ifindex in 1..4 {
        worker.record(&traffic.block_with(20, |_, frame| BlockFrame { ifindex, ..frame }));
        worker.drain();
        // Its packets wait, but those that could be read before can be read still.
        let mut proof = Proof::expecting(0, visible);
        assert!(read(&path, &mut proof).packets >= visible, "interface {ifindex}");
        std::thread::sleep(Duration::from_millis(850));
        worker.writer().housekeeping();
        visible = traffic.next;
        assert_visible(&path, visible, "after a second");
    }
    let tally = worker.finish();
    assert_perfect(&finish(output, &tally), 0, visible);
}

#[test]
fn the_size_is_what_is_in_it_once_the_load_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("live.pcapng");
    let output = open(plan(Destination::File(path.clone())));
    let mut worker = Worker::new(&output, WriterPlan { never_copy: true, ..alone() });
    let mut traffic = traffic(Sizes::Fixed(1514), 0);
    // Load, and calm: twice, because the file's size has run ahead in between.
    for turn in 0..2 {
        for _ in 0..300 {
            worker.record(&traffic.block(usize::MAX));
        }
        worker.drain();
        for _ in 0..40 {
            std::thread::sleep(Duration::from_millis(20));
            worker.writer().housekeeping();
        }
        assert_visible(&path, traffic.next, &format!("turn {turn}"));
    }
    let tally = worker.finish();
    assert_perfect(&finish(output, &tally), 0, traffic.next);
}
