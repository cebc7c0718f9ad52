//! No byte reaches a file that does not belong to a packet in it: not of packets that the ring held before, not of
//! what a snaplen cut off, not of frames that went elsewhere.

use std::path::Path;

use gannet_packet::LinkType;
use gannet_pcap::classic::Precision;
use gannet_recorder::{Destination, Encoding, OutputPlan, WriterPlan};
use gannet_testkit::block::{BlockBuilder, BlockFrame};
use gannet_testkit::tally::Tally as Proof;

use crate::support::{BLOCK, Worker, alone, finish, list, open, plan, read};

/// Sixteen bytes that no frame, header or option has by chance.
const SECRET: &[u8; 16] = b"~correct horse!~";

fn assert_no_trace(directory: &Path, when: &str) {
    for path in list(directory) {
        let bytes = std::fs::read(&path).unwrap();
        // A quarter of it is enough to tell.
        for part in SECRET.chunks_exact(4) {
            let found = bytes.windows(4).position(|window| window == part);
            assert_eq!(found, None, "{when}: {:?} in {}", part, path.display());
        }
    }
}

fn block<'a>(frames: impl IntoIterator<Item = BlockFrame<'a>>) -> Vec<u8> {
    let mut builder = BlockBuilder::new(BLOCK, 6);
    for frame in frames {
        assert!(builder.push(&frame));
    }
    let mut bytes = builder.finish(true);
    // The kernel writes no further than this: behind it the ring keeps what it had.
    let used = u32::from_ne_bytes(bytes[20..24].try_into().unwrap()) as usize;
    bytes.truncate(used);
    bytes
}

/// Fills every block of the worker's ring with the secret, as packets that are not recorded.
fn whisper(worker: &mut Worker) {
    let secret = SECRET.repeat(1500 / 16);
    for _ in 0..8 {
        let mut builder = BlockBuilder::new(BLOCK, 6);
        while builder.push(&BlockFrame::ethernet(&secret, (1, 1))) {}
        let frames = u64::from(builder.frames());
        let mut bytes = builder.finish(false);
        // The rest of the block, and what lies between the frames, too.
        let (descriptor, used) = (48, u32::from_ne_bytes(bytes[20..24].try_into().unwrap()) as usize);
        assert!(used > descriptor);
        bytes[used..].iter_mut().zip(SECRET.iter().cycle()).for_each(|(slot, byte)| *slot = *byte);
        let recorded = worker.record_some(&bytes, 0);
        assert_eq!((recorded.packets, recorded.beyond.0), (0, frames));
    }
}

#[test]
fn of_what_the_ring_held_before() {
    let data: Vec<u8> = (0..1500).map(|number| (number % 251) as u8 | 0x80).collect();
    for encoding in [Encoding::Pcapng, Encoding::Pcap(Precision::Nano)] {
        for (always_copy, never_copy, shared) in
            [(false, true, false), (true, false, false), (false, false, false), (true, false, true)]
        {
            // Several workers cannot share a classic pcap file.
            if shared && encoding != Encoding::Pcapng {
                continue;
            }
            let when = format!("{encoding:?}, copy {always_copy}, in place {never_copy}, shared {shared}");
            let directory = tempfile::tempdir().unwrap();
            let destination = Destination::Directory { path: directory.path().into(), stem: "t".into() };
            let output = open(OutputPlan { encoding, rotate_bytes: Some(1 << 20), ..plan(destination) });
            let mut worker = Worker::new(&output, WriterPlan { always_copy, never_copy, shared, ..alone() });
            let mut packets = 0;
            for len in 0..120 {
                if len % 8 == 0 {
                    whisper(&mut worker);
                }
                // Odd lengths, so that there are pads of every kind.
                let lengths = [60 + len, 1, 14, 1381 - len];
                let frames = lengths.map(|len| BlockFrame::ethernet(&data[..len], (2, len as u32)));
                packets += worker.record(&block(frames)).packets;
                worker.writer().housekeeping();
                // While it is written, too.
                if len % 40 == 39 {
                    worker.drain();
                    assert_no_trace(directory.path(), &when);
                }
            }
            let tally = worker.finish();
            assert_eq!(tally.written.0, packets);
            finish(output, &tally);
            assert_no_trace(directory.path(), &when);
            let mut proof = Proof::new();
            let read: u64 = list(directory.path()).iter().map(|path| read(path, &mut proof).packets).sum();
            assert_eq!(read, packets);
        }
    }
}

#[test]
fn of_what_was_cut_or_went_elsewhere() {
    let secret = [&[0x80_u8; 96][..], &SECRET.repeat(80)].concat();
    for never_copy in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let output = open(plan(Destination::File(directory.path().join("main.pcapng"))));
        let plan = WriterPlan { never_copy, snaplen: 96, ..alone() };
        let mut worker = Worker::new(&output, plan);
        for turn in 0..20 {
            let cut = BlockFrame::ethernet(&secret, (2, turn));
            // A tag takes 4 bytes of the snaplen.
            let tagged = BlockFrame { vlan: Some((0x8100, 7)), ..cut.clone() };
            // To the sibling file, where it is cut as well.
            let elsewhere = BlockFrame { mac_len: 0, hardware_type: 65_534, ..cut.clone() };
            worker.record(&block([cut.clone(), elsewhere, tagged, cut]));
        }
        let tally = worker.finish();
        assert_eq!((tally.written, tally.truncated), ((80, 80 * 96), 80));
        finish(output, &tally);
        assert_no_trace(directory.path(), "cut");
    }
}

#[test]
fn of_frames_that_are_in_another_file() {
    // What is in the sibling file must not be in the main one as well.
    let secret = SECRET.repeat(80);
    let plain = [0x90; 700];
    for never_copy in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("main.pcapng");
        let output = open(plan(Destination::File(path.clone())));
        let mut worker = Worker::new(&output, WriterPlan { never_copy, ..alone() });
        for turn in 0..20 {
            let elsewhere =
                BlockFrame { mac_len: 0, hardware_type: 65_534, ..BlockFrame::ethernet(&secret, (2, turn)) };
            let stays = BlockFrame::ethernet(&plain, (2, turn));
            let run = std::iter::repeat_n(elsewhere, 40);
            worker.record(&block(
                run.clone().chain([stays.clone()]).chain(run.clone()).chain([stays]).chain(run),
            ));
        }
        let tally = worker.finish();
        assert_eq!(tally.written.0, 20 * 122);
        let files = finish(output, &tally);
        let raw = files.iter().find(|file| file.path != path).unwrap();
        assert_eq!((files.len(), raw.packets), (2, 20 * 120));
        let mut proof = Proof::new();
        assert!(read(&raw.path, &mut proof).interfaces[0].link_type == LinkType::RAW);
        std::fs::remove_file(&raw.path).unwrap();
        assert_no_trace(directory.path(), "elsewhere");
    }
}
