//! Callers that must not wait for the disk: what tells them that they would, and what becomes of what they shed.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gannet_packet::LinkType;
use gannet_pcap::classic::Precision;
use gannet_recorder::{Destination, Encoding, Output, OutputPlan, Recorded, SourceView, Writer, WriterPlan};
use gannet_ring::memory::RingMemory;
use gannet_testkit::block::BlockFrame;
use gannet_testkit::generator::Sizes;
use nix::sys::stat::Mode;

use crate::support::{BLOCK, Worker, alone, assert_perfect, describe, finish, open, plan, raw_ip, traffic};

/// Frames of two link types, some tagged, some cut; the block does not add up behind the hundredth.
fn odd_block() -> Vec<u8> {
    let mut block = traffic(Sizes::Range(60, 1514), 0).block_with(120, |number, frame| match number % 5 {
        0 => BlockFrame { vlan: Some((0x8100, 7)), ..frame },
        1 => BlockFrame { snaplen: 50, ..frame },
        2 => raw_ip(frame),
        _ => frame,
    });
    let mut at = 48;
    for _ in 0..100 {
        at += u32::from_ne_bytes(block[at..at + 4].try_into().unwrap()) as usize;
    }
    block[at..at + 4].copy_from_slice(&3_u32.to_ne_bytes());
    block
}

#[test]
fn a_shed_block_is_booked_as_a_recorded_one() {
    let block = odd_block();
    for (cooked, link_type) in [(false, LinkType::ETHERNET), (true, LinkType::SLL2)] {
        for to_stream in [false, true] {
            for (snaplen, allowed) in [(262_144, u64::MAX), (70, u64::MAX), (18, 40), (262_144, 0)] {
                let book = |record: fn(&mut Writer, gannet_ring::Block, u64) -> Recorded| {
                    let directory = tempfile::tempdir().unwrap();
                    let destination = if to_stream {
                        Destination::Special("/dev/null".into())
                    } else {
                        Destination::File(directory.path().join("day.pcapng"))
                    };
                    let output = open(OutputPlan { link_type, ..plan(destination) });
                    let mut writer = Writer::new(&output, WriterPlan { cooked, snaplen, ..alone() }).unwrap();
                    let ring = Arc::new(RingMemory::anonymous(BLOCK, 1).unwrap());
                    assert!(ring.deliver(0, &block));
                    let recorded = record(&mut writer, ring.take(0).unwrap(), allowed);
                    assert!(ring.take(0).is_none() && ring.deliver(0, &block), "the kernel has it back");
                    let tally = writer.finish();
                    finish(output, &tally);
                    (recorded, tally)
                };
                let (recorded, kept) = book(|writer, block, allowed| {
                    let source = SourceView { source: 0, describe: &describe, lagging: false };
                    writer.record(block, source, allowed)
                });
                let (booked, shed) = book(|writer, block, allowed| writer.shed_block(&block, allowed));
                assert_eq!(booked, recorded);
                assert_eq!(shed.shed, kept.written);
                assert_eq!(shed.other_link_type, kept.other_link_type);
                assert_eq!((shed.written, kept.shed), ((0, 0), (0, 0)));
                assert_eq!(recorded.packets + recorded.beyond.0 + recorded.unreadable, 120);
                assert_eq!(recorded.unreadable, 19);
                assert_eq!(kept.other_link_type.0 > 0, to_stream && !cooked && allowed > 0);
            }
        }
    }
}

#[test]
fn as_many_writes_as_may_be_are_under_way() {
    for encoding in [Encoding::Pcapng, Encoding::Pcap(Precision::Nano)] {
        let directory = tempfile::tempdir().unwrap();
        let output = open(OutputPlan { encoding, ..plan(Destination::File(directory.path().join("day"))) });
        let mut worker = Worker::new(&output, WriterPlan { always_copy: true, ..alone() });
        let mut traffic = traffic(Sizes::Fixed(1514), 0);
        // Finished writes are not taken in meanwhile, so they count as under way.
        let mut blocks = 0;
        while !worker.writer().would_wait() {
            worker.record(&traffic.block(usize::MAX));
            blocks += 1;
            assert!(blocks < 200, "{encoding:?}: writes have no end");
        }
        // Nearly all of the 32 buffers of 1 MiB that may be under way, also where one write follows the other.
        assert!(blocks > 100, "{encoding:?}: {blocks} blocks of 256 KiB");
        let start = Instant::now();
        while worker.writer().would_wait() {
            worker.writer().complete(Some(Duration::from_millis(10)));
            assert!(start.elapsed() < Duration::from_secs(20));
        }
        let tally = worker.finish();
        assert_eq!(tally.shed, (0, 0));
        assert_perfect(&finish(output, &tally), 0, traffic.next);
    }
}

/// Starts the keeper and waits until nothing has to be waited for.
fn keep(output: &mut Output, worker: &mut Worker) {
    output.start().unwrap();
    let start = Instant::now();
    while worker.writer().would_wait() {
        worker.writer().complete(Some(Duration::from_millis(1)));
        assert!(start.elapsed() < Duration::from_secs(20));
    }
}

#[test]
fn the_next_file_is_not_there_yet() {
    let directory = tempfile::tempdir().unwrap();
    let destination = Destination::Directory { path: directory.path().into(), stem: "t".into() };
    let plan = OutputPlan { rotate_bytes: Some(3 << 20), ..plan(destination) };
    // Nobody prepares files before the output is started.
    let mut output = Output::open(plan, Box::new(|_| None)).unwrap();
    let mut worker = Worker::new(&output, WriterPlan { never_copy: true, ..alone() });
    let mut traffic = traffic(Sizes::Fixed(1514), 0);
    let mut blocks = 0;
    while !worker.writer().would_wait() {
        worker.record(&traffic.block(usize::MAX));
        worker.drain();
        blocks += 1;
        assert!(blocks <= 12, "more than the file may hold");
    }
    assert_eq!(blocks, 11, "of 256 KiB each, behind a page of headers");
    keep(&mut output, &mut worker);
    worker.record(&traffic.block(usize::MAX));
    let tally = worker.finish();
    assert_eq!(tally.shed, (0, 0));
    let files = finish(output, &tally);
    assert_eq!(files.len(), 2);
    assert_perfect(&files, 0, traffic.next);
}

#[test]
fn the_disk_has_not_promised_enough() {
    let directory = tempfile::tempdir().unwrap();
    let plan = plan(Destination::File(directory.path().join("day.pcapng")));
    // Nobody asks for room before the output is started.
    let mut output = Output::open(plan, Box::new(|_| None)).unwrap();
    let mut worker = Worker::new(&output, WriterPlan { never_copy: true, ..alone() });
    let mut traffic = traffic(Sizes::Fixed(1514), 0);
    let mut blocks = 0;
    while !worker.writer().would_wait() {
        let start = Instant::now();
        worker.record(&traffic.block(usize::MAX));
        assert!(start.elapsed() < Duration::from_secs(1), "half of what it waits for room, and more");
        worker.drain();
        blocks += 1;
        assert!(blocks < 256, "more than the 64 MiB that a file has at first");
    }
    assert!(blocks > 250, "{blocks}");
    keep(&mut output, &mut worker);
    worker.record(&traffic.block(usize::MAX));
    let tally = worker.finish();
    assert_eq!(tally.shed, (0, 0));
    assert_perfect(&finish(output, &tally), 0, traffic.next);
}

#[test]
fn the_reader_of_a_pipe_is_behind() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fifo");
    nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
    let (go, gone) = std::sync::mpsc::channel();
    let name = path.clone();
    let reader = std::thread::spawn(move || {
        let mut pipe = File::open(name).unwrap();
        gone.recv().unwrap();
        std::io::copy(&mut pipe.by_ref(), &mut std::io::sink()).unwrap()
    });
    let output = open(plan(Destination::Special(path)));
    let mut worker = Worker::new(&output, alone());
    let mut traffic = traffic(Sizes::Fixed(1514), 0);
    let start = Instant::now();
    let mut blocks = 0;
    while !worker.writer().would_wait() {
        worker.record(&traffic.block(usize::MAX));
        blocks += 1;
        assert!(start.elapsed() < Duration::from_secs(20));
    }
    assert!((20..40).contains(&blocks), "a queue of 8 MiB, a pipe, and what is open: {blocks}");
    let before = worker.writer().tally();
    go.send(()).unwrap();
    while worker.writer().would_wait() {
        std::thread::sleep(Duration::from_millis(1));
        assert!(start.elapsed() < Duration::from_secs(20), "the reader reads");
    }
    worker.record(&traffic.block(usize::MAX));
    let tally = worker.finish();
    assert!(tally.written.0 > before.written.0);
    assert_eq!(tally.shed, (0, 0));
    let files = finish(output, &tally);
    assert_eq!(reader.join().unwrap(), files[0].bytes);
}
