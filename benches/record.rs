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
    Destination, Encoding, InterfaceDescription, MOST_WRITES, Output, OutputPlan, SourceView, Writer,
    WriterPlan,
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

/// What the copying writer does on the worker's core: blocks out of ring memory, larger together than the caches, into
/// buffers that a pipe's thread throws away.
#[bench(args = SIZES, sample_size = 64, sample_count = 50)]
fn copy(bencher: Bencher, size: usize) {
    copy_blocks(bencher, &Block::full_of(size));
}

/// The same for frames whose VLAN tag goes back in.
#[bench(args = SIZES, sample_size = 64, sample_count = 50)]
fn copy_tagged(bencher: Bencher, size: usize) {
    copy_blocks(
        bencher,
        &Block::full_of_frames(&BlockFrame { vlan: Some((0x8100, 5)), ..ethernet(&udp(size)) }),
    );
}

fn copy_blocks(bencher: Bencher, block: &Block) {
    const BLOCKS: usize = 64;
    let mut output = open(Destination::Special("/dev/null".into()));
    output.start().expect("its thread");
    let mut writer = Writer::new(&output, writer_plan(true)).expect("a writer");
    let ring = Arc::new(RingMemory::anonymous(BLOCK_BYTES, BLOCKS).expect("memory"));
    let describe = |_| InterfaceDescription::default();
    let mut index = 0;
    bencher
        .counter(ItemsCount::new(block.packets))
        .with_inputs(|| {
            index = (index + 1) % BLOCKS;
            assert!(ring.deliver(index, &block.bytes));
            ring.take(index).expect("the block just delivered")
        })
        .bench_local_values(|taken| {
            let view = SourceView { source: 0, describe: &describe, lagging: true };
            let recorded = writer.record(taken, view, u64::MAX);
            assert_eq!(recorded.packets as usize, block.packets);
        });
    let tally = writer.finish();
    assert_eq!(tally.shed, (0, 0));
    output.finish(tally.written);
}

/// The whole writer: 64 blocks from ring memory to a file, until all writes have completed.
fn write_blocks(bencher: Bencher, size: usize, always_copy: bool) {
    const BLOCKS: usize = 64;
    let block = Block::full_of(size);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let packets = block.packets * BLOCKS;
    bencher.counter(ItemsCount::new(packets)).bench(|| {
        let mut output = open(Destination::File(directory.path().join("bench.pcapng")));
        output.start().expect("its threads");
        let mut writer = Writer::new(&output, writer_plan(always_copy)).expect("a writer");
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

fn open(destination: Destination) -> Output {
    let plan = OutputPlan {
        destination,
        encoding: Encoding::Pcapng,
        link_type: LinkType::ETHERNET,
        snaplen: 262_144,
        interface_name: "bench".to_owned(),
        rotate_bytes: None,
        rotate_period: None,
        align: false,
    };
    Output::open(plan, Box::new(|_| None)).expect("an output")
}

fn writer_plan(always_copy: bool) -> WriterPlan {
    WriterPlan {
        worker: 0,
        shared: false,
        always_copy,
        never_copy: !always_copy,
        cooked: false,
        snaplen: 262_144,
        flush_each_block: false,
        block_bytes: BLOCK_BYTES,
        most_writes: MOST_WRITES,
    }
}

/// A kernel block full of frames of one kind.
struct Block {
    bytes: Vec<u8>,
    descriptor: BlockDescriptor,
    packets: usize,
}

impl Block {
    fn full_of(size: usize) -> Self {
        Self::full_of_frames(&ethernet(&udp(size)))
    }

    fn full_of_frames(frame: &BlockFrame<'_>) -> Self {
        let mut builder = BlockBuilder::new(BLOCK_BYTES, 6);
        while builder.push(frame) {}
        let packets = builder.frames() as usize;
        let bytes = builder.finish(false);
        let head = bytes[..DESCRIPTOR_LEN].try_into().expect("a block is longer than its descriptor");
        Self { descriptor: BlockDescriptor::parse(head), bytes, packets }
    }

    fn area(&self) -> &[u8] {
        &self.bytes[DESCRIPTOR_LEN..]
    }
}

/// A frame as an Ethernet interface delivers it.
fn ethernet(data: &[u8]) -> BlockFrame<'_> {
    BlockFrame::ethernet(data, (1_700_000_000, 5))
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
