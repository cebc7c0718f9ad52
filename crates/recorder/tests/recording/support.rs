//! A recording without a network: blocks built in plain memory go through a ring, a writer and an output, and the
//! files are read back and held against what was given.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gannet_packet::LinkType;
use gannet_pcap::{Interface, SliceReader};
use gannet_recorder::{
    Destination, Encoding, FileSummary, InterfaceDescription, KernelCounts, MOST_WRITES, Notice, Output,
    OutputPlan, Recorded, SourceView, Tally, Writer, WriterPlan,
};
use gannet_ring::memory::RingMemory;
use gannet_testkit::block::{BlockBuilder, BlockFrame};
use gannet_testkit::generator::{Generator, Sizes, Spec};
use gannet_testkit::tally::{Report, Tally as Proof};

/// Size of the blocks that tests fill.
pub const BLOCK: usize = 256 << 10;

/// A single pcapng file of Ethernet frames.
pub fn plan(destination: Destination) -> OutputPlan {
    OutputPlan {
        destination,
        encoding: Encoding::Pcapng,
        link_type: LinkType::ETHERNET,
        snaplen: 262_144,
        interface_name: "idle0".to_owned(),
        rotate_bytes: None,
        rotate_period: None,
        align: false,
    }
}

/// A worker that has the output for itself and decides for each block how it is written.
pub fn alone() -> WriterPlan {
    WriterPlan {
        worker: 0,
        shared: false,
        always_copy: false,
        never_copy: false,
        cooked: false,
        snaplen: 262_144,
        flush_each_block: false,
        block_bytes: BLOCK,
        most_writes: MOST_WRITES,
    }
}

pub fn open(plan: OutputPlan) -> Output {
    // As if the kernel had dropped 3 of 10 on every interface.
    let counts = |_| Some(KernelCounts { received: 10, dropped: 3 });
    let mut output = Output::open(plan, Box::new(counts)).unwrap();
    output.start().unwrap();
    output
}

/// Numbered frames of several flows.
pub fn traffic(sizes: Sizes, first: u64) -> Traffic {
    let spec = Spec { sizes, first, ..Spec::default() };
    Traffic { generator: Generator::new(&spec), next: first }
}

/// Frames in the order of their numbers.
pub struct Traffic {
    generator: Generator,
    pub next: u64,
}

impl Traffic {
    /// A block of at most `most` frames as an Ethernet interface delivers them.
    pub fn block(&mut self, most: usize) -> Vec<u8> {
        self.block_with(most, |_, frame| frame)
    }

    /// The same, each frame changed by `change`, which is told its number.
    pub fn block_with(
        &mut self,
        most: usize,
        change: impl for<'a> Fn(u64, BlockFrame<'a>) -> BlockFrame<'a>,
    ) -> Vec<u8> {
        let mut builder = BlockBuilder::new(BLOCK, 6);
        for _ in 0..most {
            let time = (1_700_000_000 + (self.next / 1000) as u32, (self.next % 1000) as u32);
            let frame = BlockFrame::ethernet(self.generator.frame(self.next), time);
            if !builder.push(&change(self.next, frame)) {
                break;
            }
            self.next += 1;
        }
        builder.finish(most < usize::MAX)
    }
}

/// Turns an Ethernet frame into what a device without link header delivers.
pub fn raw_ip(frame: BlockFrame<'_>) -> BlockFrame<'_> {
    BlockFrame { data: &frame.data[14..], mac_len: 0, hardware_type: 65_534, ifindex: 5, ..frame }
}

/// A worker: a ring of a few blocks and the writer that empties it.
pub struct Worker {
    ring: Arc<RingMemory>,
    slot: usize,
    writer: Writer,
    /// What was taken up so far.
    pub given: Recorded,
    pub lagging: bool,
    pub source: u32,
}

impl Worker {
    pub fn new(output: &Output, plan: WriterPlan) -> Self {
        let ring = Arc::new(RingMemory::anonymous(BLOCK, 8).unwrap());
        let writer = Writer::new(output, plan).unwrap();
        Self { ring, slot: 0, writer, given: Recorded::default(), lagging: false, source: 0 }
    }

    /// The kernel delivers a block, the worker records it.
    pub fn record(&mut self, block: &[u8]) -> Recorded {
        self.record_some(block, u64::MAX)
    }

    /// At most `allowed` packets of it.
    pub fn record_some(&mut self, block: &[u8], allowed: u64) -> Recorded {
        while !self.ring.deliver(self.slot, block) {
            assert!(self.writer.is_busy(), "a block is neither the kernel's nor with the disk");
            self.writer.complete(Some(Duration::from_millis(100)));
        }
        let block = self.ring.take(self.slot).unwrap();
        self.slot = (self.slot + 1) % self.ring.block_count();
        let source = SourceView { source: self.source, describe: &describe, lagging: self.lagging };
        let recorded = self.writer.record(block, source, allowed);
        self.given.packets += recorded.packets;
        self.given.bytes += recorded.bytes;
        self.given.unreadable += recorded.unreadable;
        self.given.beyond.0 += recorded.beyond.0;
        self.given.beyond.1 += recorded.beyond.1;
        recorded
    }

    /// Waits until the disk has everything it was given.
    pub fn drain(&mut self) {
        while self.writer.is_busy() {
            self.writer.complete(Some(Duration::from_millis(100)));
        }
    }

    pub fn writer(&mut self) -> &mut Writer {
        &mut self.writer
    }

    /// Ends the writer. Everything given is in one of its accounts.
    pub fn finish(self) -> Tally {
        let tally = self.writer.finish();
        assert_accounted(&tally, self.given);
        assert!(
            (0..self.ring.block_count()).all(|slot| self.ring.take(slot).is_none()),
            "all blocks are back"
        );
        tally
    }
}

/// Every packet and byte given is written, shed, or of another link type.
pub fn assert_accounted(tally: &Tally, given: Recorded) {
    let packets = tally.written.0 + tally.shed.0 + tally.other_link_type.0;
    let bytes = tally.written.1 + tally.shed.1 + tally.other_link_type.1;
    assert_eq!((packets, bytes), (given.packets, given.bytes), "{tally:?}");
}

/// Describes an interface by its index.
pub fn describe(ifindex: i32) -> InterfaceDescription {
    InterfaceDescription { name: format!("test{ifindex}"), ..InterfaceDescription::default() }
}

/// Ends the output, which must be free of errors and have lost nothing.
pub fn finish(output: Output, tally: &Tally) -> Vec<FileSummary> {
    let (files, lost, failure) = output.finish(tally.written);
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(lost, (0, 0));
    files
}

/// What has been told so far.
pub fn notices(output: &Output) -> Vec<Notice> {
    output.notices().try_iter().collect()
}

/// Waits until `output` says something that `wanted` likes, while `meanwhile` runs.
pub fn wait_for(output: &Output, wanted: impl Fn(&Notice) -> bool, mut meanwhile: impl FnMut()) {
    let start = Instant::now();
    loop {
        if notices(output).iter().any(&wanted) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "a notice that does not come");
        meanwhile();
    }
}

/// A file read from end to end.
pub struct Read {
    pub packets: u64,
    pub bytes: u64,
    pub interfaces: Vec<Interface>,
    /// Packets of each interface.
    pub per_interface: BTreeMap<u32, u64>,
}

/// Reads a file to its last byte, into `proof`.
pub fn read(path: &Path, proof: &mut Proof) -> Read {
    let bytes = std::fs::read(path).unwrap();
    let mut reader = SliceReader::new(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut read = Read { packets: 0, bytes: 0, interfaces: Vec::new(), per_interface: BTreeMap::new() };
    for packet in &mut reader {
        read.packets += 1;
        read.bytes += packet.frame.data.len() as u64;
        *read.per_interface.entry(packet.frame.interface).or_default() += 1;
        proof.add(packet.frame.link_type, packet.frame.data, packet.frame.orig_len);
    }
    assert_eq!(reader.warning(), None, "{}", path.display());
    assert_eq!(reader.position(), bytes.len() as u64, "{}", path.display());
    read.interfaces = reader.interfaces().to_vec();
    read
}

/// Reads a finished file; the interfaces of one named `.pcapng` must have statistics that tell its packets.
pub fn read_finished(summary: &FileSummary, proof: &mut Proof) -> Read {
    let read = read(&summary.path, proof);
    assert_eq!(read.packets, summary.packets, "{}", summary.path.display());
    assert_eq!(summary.path.metadata().unwrap().len(), summary.bytes);
    assert!(!read.interfaces.is_empty(), "readers refuse a file without interface");
    for (number, interface) in read.interfaces.iter().enumerate() {
        let packets = read.per_interface.get(&(number as u32)).copied().unwrap_or_default();
        let pcapng = summary.path.extension().is_some_and(|extension| extension == "pcapng");
        if summary.packets > 0 && pcapng {
            let statistics = interface.statistics.unwrap_or_else(|| panic!("no statistics of {number}"));
            assert_eq!(statistics.delivered, Some(packets));
        }
    }
    read
}

/// Reads all of a recording's files in their order. Every frame from `first` on must be there once, intact, in order.
pub fn assert_perfect(files: &[FileSummary], first: u64, count: u64) -> Report {
    let mut proof = Proof::expecting(first, count);
    for file in files {
        read_finished(file, &mut proof);
    }
    let report = proof.report();
    assert!(report.is_perfect(), "{report:?}");
    report
}

/// The files of a directory, unfinished ones too, in the order of their names.
pub fn list(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}
