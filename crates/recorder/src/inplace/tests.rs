use gannet_testkit::block::{BlockBuilder, BlockFrame};
use proptest::prelude::*;

use super::*;
use crate::samples::{Expected, SECRET, Sample, frames, read_back, sample, section_of, snaplen};

/// An extent that was made of a block, and what it must hold.
struct Outcome {
    extent: Vec<u8>,
    converted: Converted,
    expected: Vec<Expected>,
    descriptor: BlockDescriptor,
}

/// Puts as many of the samples into a block as fit, converts it, and tells what must be found.
fn convert(samples: &[Sample], block_bytes: usize, reserve: usize, len: Len, snaplen: usize) -> Outcome {
    let mut builder = BlockBuilder::new(block_bytes, reserve).opened(1, (7, 8)).stale(SECRET);
    let pushed = samples.iter().take_while(|sample| sample.push(&mut builder, snaplen)).count();
    convert_block(builder.finish(false), &samples[..pushed], len, snaplen)
}

fn convert_block(mut block: Vec<u8>, samples: &[Sample], len: Len, snaplen: usize) -> Outcome {
    let expected: Vec<Expected> = samples
        .iter()
        .zip(frames(&block))
        .filter(|(sample, _)| !sample.skip)
        .map(|(sample, (header, _))| sample.expected(header.caplen, sample.ifindex as u32 - 1, snaplen))
        .collect();
    let (head, area) = block.split_first_chunk_mut::<DESCRIPTOR_LEN>().unwrap();
    let descriptor = BlockDescriptor::parse(head);
    let size = head.len() + area.len();
    let used = descriptor.len as usize;
    let len = match len {
        Len::Kernels => used.next_multiple_of(4),
        Len::Aligned(alignment) => (used + WORST_CASE_TAIL).next_multiple_of(alignment).min(size),
        Len::Whole => size,
    };
    let len = len.max(MIN_EXTENT);
    let layout = Layout { snaplen, len, worker: 9 };
    let mut verdicts = samples.iter();
    let converted = to_pcapng(&descriptor, area, layout, |header, bytes| {
        let sample = verdicts.next().unwrap();
        assert_eq!(bytes, &sample.data(snaplen)[..header.caplen], "as the kernel left them");
        if sample.skip { Verdict::Skip } else { Verdict::Keep { interface: header.ifindex as u32 - 1 } }
    });
    assert!(verdicts.next().is_none(), "every frame is asked for");
    head[..8].copy_from_slice(&converted.head);
    block.truncate(len);
    Outcome { extent: block, converted, expected, descriptor }
}

/// How long the extent is to be.
#[derive(Clone, Copy, Debug)]
enum Len {
    /// No byte more than the kernel has used: the last packet has to make room for its own trailer.
    Kernels,
    /// As a file of this alignment wants it.
    Aligned(usize),
    Whole,
}

impl Outcome {
    /// Everything that must hold of any conversion.
    fn check(&self) {
        let found = read_back(&section_of(3, &self.extent));
        assert_eq!(found.len(), self.expected.len());
        for (number, (found, expected)) in found.iter().zip(&self.expected).enumerate() {
            assert!(found == expected, "packet {number}: {found:?} instead of {expected:?}");
        }
        let bytes = found.iter().map(|packet| packet.data.len() as u64).sum();
        let cut = found.iter().filter(|packet| (packet.data.len() as u32) < packet.orig_len).count() as u64;
        let Converted { packets, bytes: counted, truncated, unreadable, .. } = self.converted;
        assert_eq!((packets, counted, truncated, unreadable), (found.len() as u64, bytes, cut, 0));
        self.check_marker();
        self.explain_every_byte();
    }

    fn check_marker(&self) {
        let marker = ng::marker::Marker::parse(&self.extent).unwrap();
        let expected = ng::marker::Marker {
            total_len: marker.total_len,
            block_status: self.descriptor.status,
            num_pkts: self.descriptor.packets,
            offset_to_first_pkt: self.descriptor.first_frame,
            blk_len: self.descriptor.len,
            seq_num: self.descriptor.sequence,
            ts_first: self.descriptor.opened,
            ts_last: self.descriptor.last,
            extent_len: self.extent.len() as u32,
            packets: self.expected.len() as u32,
            worker: 9,
        };
        assert_eq!(marker, expected);
    }

    /// Walks the chain by its lengths and asserts of every byte that is no packet what it is: a header, an option
    /// as it must be, or zero.
    fn explain_every_byte(&self) {
        let word = |at: usize| u32::from_le_bytes(self.extent[at..at + 4].try_into().unwrap());
        let zero = |from: usize, to: usize| {
            let stale = self.extent[from..to].iter().position(|&byte| byte != 0);
            assert_eq!(
                stale.map(|at| from + at),
                None,
                "a byte of {from}..{to} is neither zero nor explained"
            );
        };
        let mut at = 0;
        let mut packets = 0;
        while at < self.extent.len() {
            let total = word(at + 4) as usize;
            assert!(total >= ng::MIN_BLOCK && total.is_multiple_of(4) && at + total <= self.extent.len());
            assert_eq!(word(at + total - 4) as usize, total, "both lengths of the block at {at}");
            match word(at) {
                ng::LOCAL if at == 0 => zero(64, total - 4),
                ng::LOCAL => zero(at + 8, at + total - 4),
                ng::ENHANCED_PACKET => {
                    let data_end = at + ng::ENHANCED_PACKET_HEADER + word(at + 20) as usize;
                    let mut option = data_end.next_multiple_of(4);
                    zero(data_end, option);
                    let end = at + total - 4;
                    let mut flags = 0;
                    while option < end {
                        let (code, len) = (word(option) & 0xffff, (word(option) >> 16) as usize);
                        match code {
                            0 => {
                                assert_eq!((len, option + 4), (0, end), "the end of options ends the block");
                            }
                            2 => {
                                assert_eq!(len, 4);
                                flags += 1;
                            }
                            19_373 => {
                                assert_eq!(word(option + 4), 32_473);
                                zero(option + 8, option + 4 + len);
                            }
                            other => panic!("option {other} at {option}"),
                        }
                        option += 4 + len.next_multiple_of(4);
                    }
                    assert_eq!((option, flags), (end, 1), "options of the packet at {at}");
                    packets += 1;
                }
                other => panic!("a block of type {other:#x} at {at}"),
            }
            at += total;
        }
        assert_eq!((at, packets), (self.extent.len(), self.expected.len()));
    }
}

/// An Ethernet frame of so many bytes.
fn plain(len: usize) -> Sample {
    Sample {
        len,
        seed: len as u64,
        hardware: (1, 14),
        kernel_snaplen: 262_144,
        vlan: None,
        time: (1_700_000_000, 5),
        status: 0,
        ifindex: 1,
        packet_type: 0,
        skip: false,
    }
}

const ALL: usize = 262_144;

#[test]
fn ethernet_with_the_rings_reserve_stays_where_it_is() {
    // 88 bytes in front of the packet, 28 of which are the header: 48 + 60 is where the first block starts.
    let outcome = convert(&[plain(60), plain(61)], 4096, 6, Len::Whole, ALL);
    outcome.check();
    let block = 48 + 60;
    assert_eq!(outcome.extent[4..8], (block as u32).to_le_bytes());
    assert_eq!(outcome.extent[block..block + 4], 6_u32.to_le_bytes());
    assert_eq!(outcome.extent[block + 28..][..60], plain(60).data(ALL));
}

#[test]
fn every_reserve_and_link_header() {
    for reserve in 0..=16 {
        for hardware in [(1, 14), (65_534, 0), (801, 27), (801, 25), (772, 14)] {
            for vlan in [None, Some((0x88a8, 0xffff))] {
                let samples: Vec<Sample> =
                    (0..9).map(|number| Sample { hardware, vlan, ..plain(57 + number) }).collect();
                convert(&samples, 4096, reserve, Len::Kernels, ALL).check();
                convert(&samples, 4096, reserve, Len::Aligned(4096), ALL).check();
            }
        }
    }
}

#[test]
fn a_tag_keeps_priority_and_drop_eligible_bit() {
    for tci in [0, 0x1000, 0xe000, 0xffff, 0x0fff, 0x7064] {
        for tpid in [0x8100, 0x88a8, 0x9100, 0] {
            let samples = [Sample { vlan: Some((tpid, tci)), ..plain(60) }, plain(60)];
            let outcome = convert(&samples, 4096, 6, Len::Whole, ALL);
            outcome.check();
            assert_eq!(outcome.expected[0].data[12..16], [tpid.to_be_bytes(), tci.to_be_bytes()].concat());
        }
    }
}

#[test]
fn the_snaplen_counts_the_tag() {
    for snaplen in 0..70 {
        let samples = [Sample { vlan: Some((0x8100, 5)), ..plain(60) }, plain(60), plain(0)];
        let outcome = convert(&samples, 4096, 6, Len::Kernels, snaplen);
        outcome.check();
        assert_eq!(outcome.expected[0].data.len(), snaplen.min(64));
        assert!(!outcome.extent.windows(4).any(|window| window == [SECRET; 4]), "snaplen {snaplen}");
    }
}

#[test]
fn no_packet_no_problem() {
    let skipped = Sample { skip: true, ..plain(500) };
    for samples in [vec![], vec![skipped.clone()], vec![skipped; 3]] {
        for len in [Len::Aligned(4), Len::Aligned(4096), Len::Whole] {
            let outcome = convert(&samples, 8192, 6, len, ALL);
            outcome.check();
            assert_eq!(outcome.converted.packets, 0);
        }
    }
}

#[test]
fn skipped_frames_beyond_an_options_length() {
    // 60 KiB of skipped frames: before the first packet, between two, behind the last.
    let run = vec![Sample { skip: true, ..plain(1514) }; 40];
    let samples = [run.clone(), vec![plain(60)], run.clone(), vec![plain(61)], run].concat();
    let outcome = convert(&samples, 262_144, 6, Len::Aligned(4096), ALL);
    outcome.check();
    assert_eq!(outcome.converted.packets, 2);
    assert!(!outcome.extent.windows(4).any(|window| window == [SECRET; 4]));
}

#[test]
fn skipped_frames_around_the_length_at_which_a_filler_is_needed() {
    // From just below to just above 32 KiB between two packets, and a marker of about 4 KiB before the first.
    for len in (MAX_OPTIONS - 250..MAX_OPTIONS + 50).step_by(8).chain(3700..4100) {
        let skipped = Sample { skip: true, ..plain(len) };
        let samples = [plain(60), skipped.clone(), plain(60)];
        convert(&samples, 65_536, 6, Len::Aligned(4096), ALL).check();
        convert(&samples[1..], 65_536, 6, Len::Aligned(4096), ALL).check();
    }
}

#[test]
fn a_block_filled_to_its_last_byte() {
    for reserve in 0..=16 {
        for vlan in [None, Some((0x8100, 1))] {
            // Clamped by the kernel to what a block holds: the data ends where the block does.
            let samples = [Sample { vlan, ..plain(9000) }];
            let outcome = convert(&samples, 4096, reserve, Len::Whole, ALL);
            outcome.check();
            assert_eq!(outcome.descriptor.len, 4096);
            // The last of several, as near to the end as the kernel goes.
            for last in 3700..3830 {
                convert(&[plain(60), Sample { vlan, ..plain(last) }], 4096, reserve, Len::Whole, ALL).check();
            }
        }
    }
}

#[test]
fn every_length_of_the_last_packet_against_the_end() {
    for last in 0..300 {
        for len in [Len::Kernels, Len::Aligned(4), Len::Aligned(64)] {
            convert(&[plain(60), plain(last)], 4096, 6, len, ALL).check();
        }
    }
}

#[test]
fn frames_that_cannot_be_reached_are_counted() {
    let mut builder = BlockBuilder::new(4096, 6).stale(SECRET);
    for second in 0..5 {
        assert!(builder.push(&BlockFrame::ethernet(&[1; 60], (second, 0))));
    }
    let mut block = builder.finish(false);
    // The third frame leads nowhere.
    block[48 + 2 * 152..][..4].fill(0);
    let (head, area) = block.split_first_chunk_mut::<DESCRIPTOR_LEN>().unwrap();
    let layout = Layout { snaplen: ALL, len: 4096, worker: 0 };
    let converted =
        to_pcapng(&BlockDescriptor::parse(head), area, layout, |_, _| Verdict::Keep { interface: 0 });
    assert_eq!((converted.packets, converted.unreadable), (3, 2));
    head[..8].copy_from_slice(&converted.head);
    assert_eq!(read_back(&section_of(1, &block)).len(), 3);
}

#[test]
fn a_frame_beyond_what_the_kernel_says_it_has_filled_is_none() {
    let mut builder = BlockBuilder::new(8192, 6).stale(SECRET);
    for len in [60, 1500, 1500, 1500, 60] {
        assert!(builder.push(&BlockFrame::ethernet(&vec![1; len], (1, 0))));
    }
    let mut block = builder.finish(false);
    let (head, area) = block.split_first_chunk_mut::<DESCRIPTOR_LEN>().unwrap();
    let layout = Layout { snaplen: ALL, len: 4096, worker: 0 };
    let converted =
        to_pcapng(&BlockDescriptor::parse(head), area, layout, |_, _| Verdict::Keep { interface: 0 });
    assert_eq!((converted.packets, converted.unreadable), (3, 2));
    head[..8].copy_from_slice(&converted.head);
    assert_eq!(read_back(&section_of(1, &block[..4096])).len(), 3);
}

#[test]
fn an_absurd_wire_length_does_not_overflow() {
    // Found by the fuzz body: the tag's four bytes made it panic.
    let mut builder = BlockBuilder::new(4096, 6);
    assert!(builder.push(&BlockFrame { vlan: Some((0x8100, 1)), ..BlockFrame::ethernet(&[1; 60], (1, 0)) }));
    let mut block = builder.finish(false);
    block[48 + 16..48 + 20].fill(0xff);
    fuzz(&block);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_comes_out_is_what_came_in(
        samples in prop::collection::vec(sample(), 0..60),
        block in prop_oneof![Just(8192_usize), Just(65_536), Just(262_144)],
        reserve in 0_usize..=16,
        len in prop_oneof![
            Just(Len::Kernels), Just(Len::Whole), Just(Len::Aligned(4)), Just(Len::Aligned(4096)),
            Just(Len::Aligned(8192)),
        ],
        snaplen in snaplen(),
    ) {
        let mut outcome = convert(&samples, block, reserve, len, snaplen);
        outcome.check();
        // The tags are the only kept bytes that a sample does not choose.
        if samples.iter().all(|sample| sample.vlan.is_none()) {
            outcome.extent[..64].fill(0);
            prop_assert!(!outcome.extent.windows(8).any(|window| window == [SECRET; 8]));
        }
    }

    #[test]
    fn anything_at_all(bytes in prop::collection::vec(any::<u8>(), 0..9000)) {
        fuzz(&bytes);
    }

    #[test]
    fn a_damaged_block(
        samples in prop::collection::vec(sample(), 1..12),
        reserve in 0_usize..=16,
        damage in prop::collection::vec((0_usize..8000, any::<u8>()), 0..12),
    ) {
        let mut builder = BlockBuilder::new(8192, reserve);
        for sample in &samples {
            sample.push(&mut builder, ALL);
        }
        let mut block = builder.finish(false);
        for (at, byte) in damage {
            block[at] = byte;
        }
        fuzz(&block);
    }
}
