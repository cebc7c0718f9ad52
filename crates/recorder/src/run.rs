//! The common case of copying: one frame after the other, straight from the block into the open buffer.
//!
//! ```text
//!   block   │ A │ A │ A │ B │ A │ x │ A │ A │          A, B: of the lane's link type, from interfaces it knows
//!           └── run ────────────┘   └─ run ┘          x: anything else, or no room: the caller's business
//! ```
//!
//! What does not change from frame to frame is looked up once: the buffer, and while frames come from the same
//! interface its number and its link type. The counts are kept here and booked when the run, or the interface's
//! part of it, is over.

use std::sync::atomic::Ordering;

use gannet_ring::walk::{FrameHeader, FrameWalk, VlanTag};

use crate::compact::Filling;
use crate::engine::Engine;
use crate::file::InterfaceKey;
use crate::inplace::takes_vlan_tag;
use crate::lane::{Known, Lane};
use crate::packet::{Facts, Outgoing, link_type_of};
use crate::writer::Recorded;

impl Lane {
    /// Copies frames of a block into the open buffer, at most `most`, until one comes that is not of the common kind:
    /// that one is what the walk returns next.
    #[inline(never)]
    pub(crate) fn push_run(
        &mut self,
        engine: &mut Engine,
        walk: &mut FrameWalk,
        area: &[u8],
        source: u32,
        most: u64,
    ) -> Recorded {
        let Some(open) = &mut self.open else { return Recorded::default() };
        let mut run = Run { filling: open.fill(), snaplen: engine.plan.snaplen, truncated: 0 };
        let mut sender: Option<Sender<'_>> = None;
        let mut booked = 0;
        let mut at = walk.clone();
        while run.packets() < most {
            let mut ahead = at.clone();
            let Some(Ok(header)) = ahead.next(area) else { break };
            let number = match &sender {
                Some(sender) if sender.sent(&header) => sender.known.number,
                _ => {
                    // The lane of cooked frames has a link type that no frame has.
                    if link_type_of(&header) != Some(self.link_type) || engine.plan.cooked {
                        break;
                    }
                    let key = InterfaceKey { source, ifindex: header.ifindex };
                    let Some(known) = self.interfaces.iter().find(|known| known.key == key) else { break };
                    if let Some(before) = sender {
                        before.book(run.packets() - booked);
                        booked = run.packets();
                    }
                    sender =
                        Some(Sender { ifindex: header.ifindex, hardware_type: header.hardware_type, known });
                    known.number
                }
            };
            if !run.push(&header, area, number) {
                break;
            }
            at = ahead;
        }
        *walk = at;
        let truncated = run.truncated;
        let filled = run.filling.end();
        open.book(&filled);
        if let Some(sender) = sender {
            sender.book(filled.packets - booked);
        }
        if filled.packets > 0 {
            self.visible = false;
        }
        engine.tally.truncated += truncated;
        Recorded::of(filled.packets, filled.packet_bytes)
    }
}

/// The interface that frames come from.
struct Sender<'a> {
    ifindex: i32,
    hardware_type: u16,
    known: &'a Known,
}

impl Sender<'_> {
    #[inline]
    fn sent(&self, header: &FrameHeader) -> bool {
        self.ifindex == header.ifindex && self.hardware_type == header.hardware_type
    }

    fn book(&self, count: u64) {
        if let Some(packets) = &self.known.packets {
            packets.fetch_add(count, Ordering::Relaxed);
        }
    }
}

/// A run of frames: where they go.
struct Run<'a> {
    filling: Filling<'a>,
    snaplen: usize,
    truncated: u64,
}

impl Run<'_> {
    #[inline]
    fn packets(&self) -> u64 {
        self.filling.filled().packets
    }

    /// Copies a frame. False if there is no room: nothing has changed then.
    #[inline(always)]
    fn push(&mut self, header: &FrameHeader, area: &[u8], interface: u32) -> bool {
        let bytes = header.bytes(area);
        let facts = Facts::from_ring(header, interface);
        match header.vlan {
            Some(tag) if takes_vlan_tag(header) => self.push_tagged(facts, tag, bytes),
            _ => {
                let data = &bytes[..bytes.len().min(self.snaplen)];
                let pushed = self.filling.push_whole(&facts, data);
                self.truncated += u64::from(pushed && (data.len() as u64) < u64::from(facts.orig_len));
                pushed
            }
        }
    }

    /// Copies a frame whose VLAN tag goes back in.
    #[inline(never)]
    fn push_tagged(&mut self, facts: Facts, tag: VlanTag, bytes: &[u8]) -> bool {
        let outgoing = Outgoing::tagged(&facts, tag, bytes, self.snaplen);
        let pushed = self.filling.push(&outgoing);
        self.truncated += u64::from(pushed && outgoing.is_truncated());
        pushed
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use gannet_packet::LinkType;
    use gannet_pcap::SliceReader;
    use gannet_ring::memory::RingMemory;
    use gannet_testkit::block::BlockBuilder;
    use proptest::prelude::*;

    use crate::samples::{Expected, Sample, frames, read_back, sample, snaplen};
    use crate::{
        Destination, Encoding, InterfaceDescription, MOST_WRITES, Output, OutputPlan, SourceView, Writer,
        WriterPlan,
    };

    const BLOCK: usize = 256 << 10;

    /// The samples in as many blocks as they take.
    fn blocks(samples: &[Sample], snaplen: usize) -> Vec<Vec<u8>> {
        let mut blocks = Vec::new();
        let mut builder = BlockBuilder::new(BLOCK, 6);
        for sample in samples {
            if !sample.push(&mut builder, snaplen) {
                let full = std::mem::replace(&mut builder, BlockBuilder::new(BLOCK, 6));
                blocks.push(full.finish(false));
                assert!(sample.push(&mut builder, snaplen));
            }
        }
        blocks.push(builder.finish(true));
        blocks
    }

    /// What each link type's file must hold.
    fn expected(samples: &[Sample], blocks: &[Vec<u8>], snaplen: usize) -> BTreeMap<LinkType, Vec<Expected>> {
        let mut files: BTreeMap<LinkType, (Vec<i32>, Vec<Expected>)> = BTreeMap::new();
        let headers = blocks.iter().flat_map(|block| frames(block));
        for (sample, (header, _)) in samples.iter().zip(headers) {
            let link_type = gannet_ring::interfaces::link_type_of_arphrd(sample.hardware.0).unwrap();
            let (interfaces, packets) = files.entry(link_type).or_default();
            if !interfaces.contains(&sample.ifindex) {
                interfaces.push(sample.ifindex);
            }
            let number = interfaces.iter().position(|known| *known == sample.ifindex).unwrap();
            packets.push(sample.expected(header.caplen, number as u32, snaplen));
        }
        files.into_iter().map(|(link_type, (_, packets))| (link_type, packets)).collect()
    }

    fn check(samples: &[Sample], snaplen: usize) {
        let directory = tempfile::tempdir().unwrap();
        let plan = OutputPlan {
            destination: Destination::File(directory.path().join("day.pcapng")),
            encoding: Encoding::Pcapng,
            link_type: LinkType::ETHERNET,
            snaplen: 262_144,
            interface_name: "idle0".to_owned(),
            rotate_bytes: None,
            rotate_period: None,
            align: false,
        };
        let mut output = Output::open(plan, Box::new(|_| None)).unwrap();
        output.start().unwrap();
        let plan = WriterPlan {
            worker: 0,
            shared: false,
            always_copy: true,
            never_copy: false,
            cooked: false,
            snaplen,
            flush_each_block: false,
            block_bytes: BLOCK,
            most_writes: MOST_WRITES,
        };
        let mut writer = Writer::new(&output, plan).unwrap();
        let ring = Arc::new(RingMemory::anonymous(BLOCK, 1).unwrap());
        let blocks = blocks(samples, snaplen);
        let mut taken = (0, 0);
        for block in &blocks {
            assert!(ring.deliver(0, block));
            let describe = |_| InterfaceDescription::default();
            let source = SourceView { source: 0, describe: &describe, lagging: false };
            let recorded = writer.record(ring.take(0).unwrap(), source, u64::MAX);
            taken = (taken.0 + recorded.packets, taken.1 + recorded.bytes);
        }
        let tally = writer.finish();
        assert_eq!((tally.written, tally.shed), (taken, (0, 0)));
        output.finish(tally.written);
        let (mut packets, mut truncated) = (0, 0);
        for (link_type, expected) in expected(samples, &blocks, snaplen) {
            let name = match link_type {
                LinkType::ETHERNET => "day.pcapng".to_owned(),
                LinkType::RAW => "day.raw.pcapng".to_owned(),
                LinkType(number) => format!("day.link{number}.pcapng"),
            };
            let bytes = std::fs::read(directory.path().join(name)).unwrap();
            assert_eq!(read_back(&bytes), expected);
            packets += expected.len() as u64;
            truncated +=
                expected.iter().filter(|packet| packet.data.len() < packet.orig_len as usize).count() as u64;
            let mut reader = SliceReader::new(&bytes).unwrap();
            while reader.next().is_some() {}
            for (number, interface) in reader.interfaces().iter().enumerate() {
                let count = expected.iter().filter(|packet| packet.interface == number as u32).count() as u64;
                assert_eq!(interface.statistics.as_ref().unwrap().delivered, Some(count), "{number}");
            }
        }
        assert_eq!((taken.0, tally.truncated), (packets, truncated));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn runs_end_where_frames_differ(
            samples in prop::collection::vec(sample().prop_map(|sample| Sample { skip: false, ..sample }), 1..150),
            // Long runs, too: each frame this often.
            times in 1_usize..30,
            snaplen in snaplen(),
        ) {
            let samples: Vec<_> =
                samples.iter().flat_map(|sample| std::iter::repeat_n(sample.clone(), times)).collect();
            check(&samples, snaplen);
        }
    }
}
