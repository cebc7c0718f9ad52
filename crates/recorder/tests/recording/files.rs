//! Files: one, a directory of them, several workers, several link types.

use std::time::Duration;

use gannet_packet::{Frame, LinkType, Timestamp};
use gannet_pcap::classic::Precision;
use gannet_recorder::{
    Destination, Encoding, InterfaceDescription, InterfaceKey, Notice, Output, OutputPlan, Recorded,
    SourceView, Writer, WriterPlan,
};
use gannet_testkit::block::BlockFrame;
use gannet_testkit::generator::Sizes;
use gannet_testkit::tally::Tally as Proof;

use crate::support::{
    BLOCK, Worker, alone, assert_accounted, assert_perfect, describe, finish, list, notices, open, plan,
    raw_ip, read, read_finished, traffic,
};

/// The ways in which a worker may write, each with whether its ring always has more.
const WAYS: [(bool, bool, bool); 4] =
    [(false, false, false), (false, false, true), (true, false, false), (false, true, false)];

fn way((always_copy, never_copy, _): (bool, bool, bool)) -> WriterPlan {
    WriterPlan { always_copy, never_copy, ..alone() }
}

#[test]
fn one_file_in_every_way() {
    for sizes in [Sizes::Fixed(1514), Sizes::Imix, Sizes::Range(60, 9000)] {
        for how in WAYS {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("day.pcapng");
            let output = open(plan(Destination::File(path.clone())));
            let mut worker = Worker::new(&output, way(how));
            worker.lagging = how.2;
            let mut traffic = traffic(sizes, 100);
            // Full blocks, and nearly empty ones between them.
            for turn in 0..24 {
                let block = traffic.block(if turn % 5 == 3 { turn } else { usize::MAX });
                worker.record(&block);
                worker.writer().housekeeping();
            }
            let tally = worker.finish();
            assert_eq!(tally.shed, (0, 0));
            assert_eq!(tally.blocks_in_place + tally.blocks_copied, 24);
            match how {
                (true, ..) => assert_eq!(tally.blocks_in_place, 0),
                (_, true, _) | (.., true) => assert_eq!(tally.blocks_copied, 0),
                // With time to spare, only full blocks of large frames are left where they are.
                _ if sizes == Sizes::Imix => assert_eq!(tally.blocks_in_place, 0),
                _ => assert_eq!(tally.blocks_in_place, 19),
            }
            let files = finish(output, &tally);
            assert_eq!((files.len(), &files[0].path), (1, &path));
            assert_perfect(&files, 100, traffic.next - 100);
            let read = read(&path, &mut Proof::new());
            let statistics = read.interfaces[0].statistics.unwrap();
            assert_eq!((statistics.received, statistics.dropped), (Some(10), Some(3)));
            assert_eq!((read.interfaces[0].name.as_str(), read.bytes), ("test1", tally.written.1));
        }
    }
}

#[test]
fn a_file_without_packets_names_an_interface() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("quiet.pcapng");
    let output = open(plan(Destination::File(path.clone())));
    let tally = Worker::new(&output, alone()).finish();
    let files = finish(output, &tally);
    let read = read_finished(&files[0], &mut Proof::new());
    assert_eq!((read.packets, read.interfaces.len(), read.interfaces[0].name.as_str()), (0, 1, "idle0"));
}

#[test]
fn a_classic_file_without_packets_has_its_header() {
    let directory = tempfile::tempdir().unwrap();
    let encoding = Encoding::Pcap(Precision::Micro);
    let path = directory.path().join("quiet.pcap");
    let output = open(OutputPlan { encoding, ..plan(Destination::File(path.clone())) });
    let worker = Worker::new(&output, alone());
    assert_eq!(read(&path, &mut Proof::new()).packets, 0, "from the first moment on");
    let tally = worker.finish();
    let files = finish(output, &tally);
    assert_eq!((files[0].packets, files[0].bytes), (0, 24));
    assert_eq!(read(&path, &mut Proof::new()).interfaces[0].link_type, LinkType::ETHERNET);
}

#[test]
fn a_filter_longer_than_a_page_is_left_out() {
    let directory = tempfile::tempdir().unwrap();
    for len in [3_000, 3_900, 3_950, 4_000, 70_000] {
        let output = open(plan(Destination::File(directory.path().join(format!("{len}.pcapng")))));
        let mut writer = Writer::new(&output, alone()).unwrap();
        let describe = |_| InterfaceDescription {
            name: "eth0".to_owned(),
            filter: "p".repeat(len),
            ..InterfaceDescription::default()
        };
        let frame = Frame {
            data: &[1; 60],
            timestamp: Timestamp(5),
            orig_len: 60,
            link_type: LinkType::ETHERNET,
            interface: 0,
            packet_type: Default::default(),
        };
        for ifindex in 0..2 {
            let source = SourceView { source: 0, describe: &describe, lagging: false };
            writer.record_frame(&frame, InterfaceKey { source: 0, ifindex }, source);
        }
        let tally = writer.finish();
        assert_eq!(tally.written.0, 2, "{len}");
        let files = finish(output, &tally);
        let read = read_finished(&files[0], &mut Proof::new());
        assert!(
            read.interfaces.len() == 2 && read.interfaces.iter().all(|interface| interface.name == "eth0")
        );
    }
}

#[test]
fn an_existing_file_is_replaced_unless_somebody_writes_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("day.pcapng");
    std::fs::write(&path, vec![7; 100_000]).unwrap();
    let output = open(plan(Destination::File(path.clone())));
    let second = Output::open(plan(Destination::File(path.clone())), Box::new(|_| None));
    let refusal = second.err().unwrap().to_string();
    assert!(refusal.contains("day.pcapng") && refusal.contains("using this file"), "{refusal}");
    let mut worker = Worker::new(&output, alone());
    worker.record(&traffic(Sizes::Imix, 0).block(10));
    let tally = worker.finish();
    assert_perfect(&finish(output, &tally), 0, 10);
}

fn directory_of(path: &std::path::Path, limit: u64) -> OutputPlan {
    let destination = Destination::Directory { path: path.into(), stem: "t".into() };
    OutputPlan { rotate_bytes: Some(limit), ..plan(destination) }
}

#[test]
fn a_directory_rotates_by_size_in_every_way() {
    for encoding in [Encoding::Pcapng, Encoding::Pcap(Precision::Nano)] {
        for how in WAYS {
            let directory = tempfile::tempdir().unwrap();
            let limit = 3 << 20;
            let output = open(OutputPlan { encoding, ..directory_of(directory.path(), limit) });
            let mut worker = Worker::new(&output, way(how));
            worker.lagging = how.2;
            let mut traffic = traffic(Sizes::Range(60, 1514), 0);
            for _ in 0..64 {
                worker.record(&traffic.block(usize::MAX));
                worker.writer().housekeeping();
            }
            let tally = worker.finish();
            assert_eq!(tally.shed, (0, 0), "{how:?}");
            let files = finish(output, &tally);
            assert!(files.len() >= 5, "{} files", files.len());
            for file in &files {
                // Room for what a worker has open when the limit is reached: a buffer and a block.
                assert!(file.bytes <= limit + 64 * 1024, "{} bytes in {}", file.bytes, file.path.display());
                assert!(file.packets > 0);
            }
            // Nothing is left unfinished, the prepared next file is gone, names sort as the files were begun.
            let mut names: Vec<_> = files.iter().map(|file| file.path.clone()).collect();
            names.sort();
            assert_eq!(names, list(directory.path()));
            let mut proof = Proof::expecting(0, traffic.next);
            for name in &names {
                assert!(read(name, &mut proof).packets > 0);
            }
            assert!(proof.report().is_perfect(), "{how:?} {:?}", proof.report());
            if encoding == Encoding::Pcapng {
                files.iter().for_each(|file| assert!(read_finished(file, &mut Proof::new()).packets > 0));
            }
        }
    }
}

#[test]
fn rotation_by_hand_while_packets_are_open() {
    for encoding in [Encoding::Pcapng, Encoding::Pcap(Precision::Micro)] {
        for shared in [false, true].into_iter().filter(|shared| !shared || encoding == Encoding::Pcapng) {
            let directory = tempfile::tempdir().unwrap();
            let output = open(OutputPlan { encoding, ..directory_of(directory.path(), 1 << 30) });
            let mut worker = Worker::new(&output, WriterPlan { shared, ..alone() });
            let mut traffic = traffic(Sizes::Imix, 0);
            for turn in 0..6 {
                worker.record(&traffic.block(50));
                // The keeper has the next file ready soon after the last rotation.
                let begun = |notice: &Notice| matches!(notice, Notice::Begun { link_type: None, .. });
                crate::support::wait_for(&output, begun, || {
                    output.rotate();
                    std::thread::sleep(Duration::from_millis(10));
                });
                if turn % 2 == 0 {
                    worker.writer().housekeeping();
                }
            }
            worker.record(&traffic.block(50));
            let tally = worker.finish();
            let files = finish(output, &tally);
            assert!(files.len() >= 7, "{} files", files.len());
            let mut proof = Proof::expecting(0, 350);
            for name in list(directory.path()) {
                read(&name, &mut proof);
            }
            assert!(proof.report().is_perfect(), "{:?}", proof.report());
            assert_eq!(files.iter().map(|file| file.packets).sum::<u64>(), 350);
        }
    }
}

#[test]
fn a_single_file_whose_name_was_taken_is_begun_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("day.pcapng");
    let moved = directory.path().join("day.1");
    let output = open(plan(Destination::File(path.clone())));
    let mut worker = Worker::new(&output, alone());
    let mut traffic = traffic(Sizes::Imix, 0);
    worker.record(&traffic.block(50));
    output.rotate();
    worker.record(&traffic.block(50));
    std::fs::rename(&path, &moved).unwrap();
    output.rotate();
    worker.record(&traffic.block(20));
    let tally = worker.finish();
    finish(output, &tally);
    let mut proof = Proof::expecting(0, 120);
    let packets = [read(&moved, &mut proof).packets, read(&path, &mut proof).packets];
    assert_eq!(packets, [100, 20], "without the mv the file goes on");
    assert!(proof.report().is_perfect());
}

#[test]
fn several_workers_append_to_one_file() {
    for (always_copy, never_copy) in [(true, false), (false, true), (false, false)] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("all.pcapng");
        let output = open(plan(Destination::File(path.clone())));
        let blocks = 60;
        let mut ranges = Vec::new();
        let mut written = (0, 0);
        std::thread::scope(|scope| {
            let handles: Vec<_> = (0..3_u32)
                .map(|worker| {
                    let plan = WriterPlan { worker, shared: true, always_copy, never_copy, ..alone() };
                    let mut ring = Worker::new(&output, plan);
                    ring.source = worker;
                    scope.spawn(move || {
                        let first = u64::from(worker) << 32;
                        let mut traffic = traffic(Sizes::Range(60, 1514), first);
                        for turn in 0..blocks {
                            ring.record(&traffic.block(if turn % 7 == 0 { 3 } else { usize::MAX }));
                            ring.writer().housekeeping();
                        }
                        (ring.finish(), first..traffic.next)
                    })
                })
                .collect();
            for handle in handles {
                let (tally, range) = handle.join().unwrap();
                assert_eq!(tally.shed, (0, 0));
                written = (written.0 + tally.written.0, written.1 + tally.written.1);
                ranges.push(range);
            }
        });
        let (files, lost, failure) = output.finish(written);
        assert!(failure.is_none() && lost == (0, 0));
        let read = read_finished(&files[0], &mut Proof::new());
        assert_eq!(read.packets, written.0);
        assert_eq!(read.interfaces.len(), 3, "one of each worker's source");
        // Each worker's packets are there once and in its order. Which interface is whose, their numbers tell.
        let bytes = std::fs::read(&path).unwrap();
        let mut proofs = [Proof::new(), Proof::new(), Proof::new()];
        for packet in gannet_pcap::SliceReader::new(&bytes).unwrap() {
            let proof = &mut proofs[packet.frame.interface as usize];
            proof.add(packet.frame.link_type, packet.frame.data, packet.frame.orig_len);
        }
        let mut found = proofs.map(|proof| {
            assert!(proof.report().is_perfect(), "{:?}", proof.report());
            let (first, last) = proof.report().range.unwrap();
            first..last + 1
        });
        found.sort_by_key(|range| range.start);
        assert_eq!(found.to_vec(), ranges);
    }
}

#[test]
fn other_link_types_go_to_sibling_files() {
    for how in WAYS {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("any.pcapng");
        let output = open(plan(Destination::File(path.clone())));
        let mut worker = Worker::new(&output, way(how));
        worker.lagging = how.2;
        let mut traffic = traffic(Sizes::Imix, 0);
        let mut counts = [0_u64; 3];
        for _ in 0..8 {
            let first = traffic.next;
            worker.record(&traffic.block_with(usize::MAX, mixed));
            (first..traffic.next).for_each(|number| counts[kind(number)] += 1);
        }
        let tally = worker.finish();
        assert_eq!(tally.shed, (0, 0));
        let begun: Vec<Notice> = notices(&output);
        let raw = directory.path().join("any.raw.pcapng");
        let cooked = directory.path().join("any.sll2.pcapng");
        for (path, link_type) in [(&raw, LinkType::RAW), (&cooked, LinkType::SLL2)] {
            let notice = Notice::Begun { path: path.clone(), link_type: Some(link_type) };
            assert_eq!(begun.iter().filter(|found| **found == notice).count(), 1, "told once: {begun:?}");
        }
        let files = finish(output, &tally);
        assert_eq!(files.len(), 3);
        let mut proof = Proof::expecting(0, traffic.next);
        let mut found = [&path, &raw, &cooked].map(|path| {
            let summary = files.iter().find(|file| file.path == *path).unwrap();
            read_finished(summary, &mut proof).packets
        });
        found.rotate_left(0);
        assert_eq!(found, counts);
        let report = proof.report();
        assert_eq!((report.intact, report.missing, report.corrupt), (traffic.next, 0, 0), "{report:?}");
    }
}

/// Which of Ethernet, raw IP and a device of a kind that no link type describes a frame comes from.
fn kind(number: u64) -> usize {
    match number % 16 {
        3..=9 => 1,
        12 => 2,
        _ => 0,
    }
}

fn mixed(number: u64, frame: BlockFrame<'_>) -> BlockFrame<'_> {
    match kind(number) {
        1 => raw_ip(frame),
        // ARPHRD_INFINIBAND, with the link header of Ethernet.
        2 => BlockFrame { hardware_type: 32, ifindex: 8, ..frame },
        _ => frame,
    }
}

#[test]
fn sibling_files_of_a_directory_rotate_too() {
    for how in WAYS {
        let directory = tempfile::tempdir().unwrap();
        let limit = 1 << 20;
        let output = open(directory_of(directory.path(), limit));
        let mut worker = Worker::new(&output, way(how));
        worker.lagging = how.2;
        let mut traffic = traffic(Sizes::Fixed(1514), 0);
        let start = std::time::Instant::now();
        for _ in 0..96 {
            worker.record(
                &traffic.block_with(
                    usize::MAX,
                    |number, frame| {
                        if number % 4 == 0 { frame } else { raw_ip(frame) }
                    },
                ),
            );
            worker.writer().housekeeping();
        }
        let tally = worker.finish();
        assert_eq!(tally.shed, (0, 0), "{how:?}");
        assert!(start.elapsed() < Duration::from_secs(20), "nothing waits for room that is there");
        let files = finish(output, &tally);
        let mut proof = Proof::expecting(0, traffic.next);
        for file in &files {
            // A block may bring as much as it is long to a file that was just below its limit.
            assert!(file.bytes <= limit + 2 * BLOCK as u64, "{} in {}", file.bytes, file.path.display());
            read_finished(file, &mut proof);
        }
        assert_eq!((proof.report().intact, proof.report().missing), (traffic.next, 0), "{how:?}");
        assert!(files.iter().filter(|file| file.path.to_string_lossy().contains(".raw-")).count() > 10);
    }
}

#[test]
fn cooked_frames_byte_by_byte() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("any.pcapng");
    let output = open(OutputPlan { link_type: LinkType::SLL2, ..plan(Destination::File(path.clone())) });
    let mut worker = Worker::new(&output, WriterPlan { cooked: true, ..alone() });
    let mut traffic = traffic(Sizes::Fixed(100), 0);
    worker.record(&traffic.block_with(300, mixed));
    let tally = worker.finish();
    let files = finish(output, &tally);
    assert_eq!(files.len(), 1, "all in one file");
    assert_perfect(&files, 0, 300);
    let bytes = std::fs::read(&path).unwrap();
    let mut again = crate::support::traffic(Sizes::Fixed(100), 0);
    for (number, packet) in gannet_pcap::SliceReader::new(&bytes).unwrap().enumerate() {
        let block = again.block(1);
        // Where the builder has put the Ethernet frame.
        let ethernet = &block[48 + 88..][..100];
        let kind = kind(number as u64);
        let mut expected = vec![8, 0, 0, 0, 0, 0, 0, [1, 5, 8][kind]];
        expected.extend([&[0, 1], &[0xff, 0xfe], &[0, 32]][kind]);
        expected.extend([0, 6]);
        expected.extend(if kind == 1 { &[0; 6] } else { &ethernet[6..12] });
        expected.extend([0, 0]);
        expected.extend(&ethernet[14..]);
        assert_eq!(packet.frame.data, expected, "packet {number}");
        assert_eq!((packet.frame.link_type, packet.frame.orig_len), (LinkType::SLL2, 106));
    }
}

#[test]
fn a_snaplen_set_on_the_way_holds_from_then_on() {
    for how in WAYS {
        let directory = tempfile::tempdir().unwrap();
        let output = open(plan(Destination::File(directory.path().join("cut.pcapng"))));
        let mut worker = Worker::new(&output, way(how));
        worker.lagging = how.2;
        let mut traffic = traffic(Sizes::Fixed(1514), 0);
        worker.record(&traffic.block(100));
        worker.writer().set_snaplen(96);
        worker.record(&traffic.block(100));
        let tally = worker.finish();
        assert_eq!((tally.truncated, tally.written), (100, (200, 100 * 1514 + 100 * 96)));
        let files = finish(output, &tally);
        let mut proof = Proof::new();
        assert_eq!(read_finished(&files[0], &mut proof).bytes, tally.written.1);
        assert_eq!((proof.report().cut, proof.report().intact), (100, 200));
    }
}

#[test]
fn no_more_packets_than_allowed() {
    for how in WAYS {
        let directory = tempfile::tempdir().unwrap();
        let output = open(plan(Destination::File(directory.path().join("few.pcapng"))));
        let mut worker = Worker::new(&output, way(how));
        worker.lagging = how.2;
        let mut traffic = traffic(Sizes::Fixed(200), 0);
        assert_eq!(worker.record_some(&traffic.block(100), 100).beyond, (0, 0));
        let recorded = worker.record_some(&traffic.block(100), 30);
        assert_eq!(recorded, Recorded { packets: 30, bytes: 6000, unreadable: 0, beyond: (70, 14_000) });
        let tally = worker.finish();
        assert_perfect(&finish(output, &tally), 0, 130);
    }
}

#[test]
fn packets_of_a_capture_file() {
    for encoding in [Encoding::Pcapng, Encoding::Pcap(Precision::Nano)] {
        let directory = tempfile::tempdir().unwrap();
        let output = open(OutputPlan { encoding, ..directory_of(directory.path(), 2 << 20) });
        let mut writer = Writer::new(&output, alone()).unwrap();
        let mut generator =
            gannet_testkit::generator::Generator::new(&gannet_testkit::generator::Spec::default());
        let mut given = Recorded::default();
        for number in 0..6000 {
            let ethernet = generator.frame(number);
            let (link_type, data) = if number % 3 == 0 {
                (LinkType::RAW, &ethernet[14..])
            } else {
                (LinkType::ETHERNET, ethernet)
            };
            let frame = Frame {
                data,
                timestamp: Timestamp(number),
                orig_len: data.len() as u32,
                link_type,
                interface: 0,
                packet_type: Default::default(),
            };
            let key = InterfaceKey { source: 7, ifindex: (number % 2) as i32 };
            writer.record_frame(&frame, key, SourceView { source: 7, describe: &describe, lagging: false });
            given.packets += 1;
            given.bytes += data.len() as u64;
        }
        let tally = writer.finish();
        assert_accounted(&tally, given);
        assert_eq!((tally.written.0, tally.blocks_copied), (6000, 0));
        let files = finish(output, &tally);
        assert!(files.len() >= 5, "{} files", files.len());
        let mut proof = Proof::expecting(0, 6000);
        for file in &files {
            assert!(file.bytes <= (2 << 20) + 8192, "{}", file.bytes);
            assert_eq!(read(&file.path, &mut proof).packets, file.packets);
        }
        assert_eq!((proof.report().intact, proof.report().missing), (6000, 0));
    }
}
