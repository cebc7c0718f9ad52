//! What recording costs per packet, without a network: blocks as the kernel would fill them, built in memory.
//!
//! Three levels, each with its result checked: functions (walking a block, decoding, the fanout twin), stages (a block
//! rewritten in place, a block copied), and the whole writer from ring memory to a file. `cargo bench`; with
//! `cargo bench -- --test` each runs once, to see that it still works.

// A bench that cannot be set up has nothing better to do than to say so.
#![allow(clippy::expect_used)]

use std::hint::black_box;
use std::sync::Arc;

use divan::counter::ItemsCount;
use divan::{Bencher, bench};
use gannet_packet::{Frame, LinkType, Packet, PacketType, Timestamp};
use gannet_recorder::inplace::{self, Layout, Verdict};
use gannet_recorder::{
    Destination, Encoding, InterfaceDescription, Output, OutputPlan, SourceView, Writer, WriterPlan,
};
use gannet_ring::fanout::{FLOW_SEED, worker_for_frame};
use gannet_ring::memory::RingMemory;
use gannet_ring::walk::{BlockDescriptor, DESCRIPTOR_LEN, FrameWalk};
use gannet_testkit::block::{BlockBuilder, BlockFrame};

fn main() {
    divan::main();
}

/// Frame sizes: the smallest, the limit between copying and in place, the largest of Ethernet.
const SIZES: [usize; 3] = [60, 512, 1514];

#[bench(args = SIZES)]
fn walk(bencher: Bencher, size: usize) {
    let block = Block::full_of(size);
    bencher.counter(ItemsCount::new(block.packets)).bench(|| {
        let mut walk = FrameWalk::new(&block.descriptor);
        let mut count = 0;
        while let Some(Ok(header)) = walk.next(black_box(block.area())) {
            count += usize::from(header.caplen == size);
        }
        assert_eq!(count, block.packets);
    });
}

#[bench(args = SIZES)]
fn decode(bencher: Bencher, size: usize) {
    let data = udp(size);
    bencher.counter(ItemsCount::new(1_usize)).bench(|| {
        let packet = Packet::decode(&frame(black_box(&data)));
        assert!(packet.flow.is_some());
        packet
    });
}

#[bench]
fn flow_twin(bencher: Bencher) {
    let data = udp(60);
    bencher.counter(ItemsCount::new(1_usize)).bench(|| {
        let worker = worker_for_frame(&frame(black_box(&data)), 4, FLOW_SEED);
        assert!(worker.is_some());
        worker
    });
}

#[bench(args = SIZES)]
fn rewrite_in_place(bencher: Bencher, size: usize) {
    let block = Block::full_of(size);
    let layout = Layout { snaplen: 262_144, len: BLOCK_BYTES, worker: 0 };
    bencher
        .counter(ItemsCount::new(block.packets))
        .with_inputs(|| block.bytes[DESCRIPTOR_LEN..].to_vec())
        .bench_values(|mut area| {
            let keep = |_: &_, _: &[u8]| Verdict::Keep { interface: 0 };
            let converted = inplace::to_pcapng(&block.descriptor, &mut area, layout, keep);
            assert_eq!(converted.packets as usize, block.packets);
            area
        });
}

#[bench(args = SIZES)]
fn writer_in_place(bencher: Bencher, size: usize) {
    write_blocks(bencher, size, false);
}

#[bench(args = SIZES)]
fn writer_by_copy(bencher: Bencher, size: usize) {
    write_blocks(bencher, size, true);
}

/// The whole writer: 64 blocks from ring memory to a file, until all writes have completed.
fn write_blocks(bencher: Bencher, size: usize, always_copy: bool) {
    const BLOCKS: usize = 64;
    let block = Block::full_of(size);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let packets = block.packets * BLOCKS;
    bencher.counter(ItemsCount::new(packets)).bench(|| {
        let plan = OutputPlan {
            destination: Destination::File(directory.path().join("bench.pcapng")),
            encoding: Encoding::Pcapng,
            link_type: LinkType::ETHERNET,
            snaplen: 262_144,
            interface_name: "bench".to_owned(),
            rotate_bytes: None,
            rotate_period: None,
            align: false,
        };
        let mut output = Output::open(plan, Box::new(|_| None)).expect("an output");
        output.start().expect("its threads");
        let plan = WriterPlan {
            worker: 0,
            shared: false,
            always_copy,
            never_copy: !always_copy,
            cooked: false,
            snaplen: 262_144,
            flush_each_block: false,
            block_bytes: BLOCK_BYTES,
        };
        let mut writer = Writer::new(&output, plan).expect("a writer");
        let ring = Arc::new(RingMemory::anonymous(BLOCK_BYTES, BLOCKS).expect("memory"));
        let describe = |_| InterfaceDescription::default();
        for index in 0..BLOCKS {
            assert!(ring.deliver(index, &block.bytes));
            let taken = ring.take(index).expect("the block just delivered");
            writer.record(taken, SourceView { source: 0, describe: &describe, lagging: true }, u64::MAX);
        }
        let tally = writer.finish();
        assert_eq!(tally.written.0 as usize, packets);
        output.finish(tally.written);
    });
}

/// A kernel block full of frames of one size.
struct Block {
    bytes: Vec<u8>,
    descriptor: BlockDescriptor,
    packets: usize,
}

impl Block {
    fn full_of(size: usize) -> Self {
        let data = udp(size);
        let mut builder = BlockBuilder::new(BLOCK_BYTES, 6);
        while builder.push(&BlockFrame::ethernet(&data, (1_700_000_000, 5))) {}
        let packets = builder.frames() as usize;
        let bytes = builder.finish(false);
        let head = bytes[..DESCRIPTOR_LEN].try_into().expect("a block is longer than its descriptor");
        Self { descriptor: BlockDescriptor::parse(head), bytes, packets }
    }

    fn area(&self) -> &[u8] {
        &self.bytes[DESCRIPTOR_LEN..]
    }
}

/// An Ethernet/IPv4/UDP frame of `size` bytes.
fn udp(size: usize) -> Vec<u8> {
    let payload = vec![0x55; size - 42];
    let builder = etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(1000, 2000);
    let mut frame = Vec::new();
    builder.write(&mut frame, &payload).expect("a vector takes everything");
    frame
}

fn frame(data: &[u8]) -> Frame<'_> {
    Frame {
        data,
        timestamp: Timestamp(0),
        orig_len: data.len() as u32,
        link_type: LinkType::ETHERNET,
        interface: 0,
        packet_type: PacketType::Host,
    }
}

const BLOCK_BYTES: usize = 1 << 20;
