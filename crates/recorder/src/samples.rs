//! Frames for the tests of the encoders: how a frame lies in the ring, and what must come out of a file.
//!
//! Whatever must not reach the disk is [`SECRET`] in a sample: bytes beyond the snaplen, skipped frames, what the
//! ring held before.

use gannet_packet::{LinkType, PacketType, Timestamp};
use gannet_pcap::{SliceReader, ng};
use gannet_ring::walk::{BlockDescriptor, DESCRIPTOR_LEN, FrameHeader, FrameWalk};
use gannet_testkit::block::{BlockBuilder, BlockFrame};
use gannet_testkit::random::Random;
use proptest::prelude::*;

/// Stands for other people's bytes. No byte of a sample that may be recorded has this value.
pub(crate) const SECRET: u8 = 0xa5;

/// A frame as it came to the kernel.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) len: usize,
    pub(crate) seed: u64,
    /// ARPHRD_ type and the length of its link header.
    pub(crate) hardware: (u16, usize),
    pub(crate) kernel_snaplen: u32,
    pub(crate) vlan: Option<(u16, u16)>,
    pub(crate) time: (u32, u32),
    pub(crate) status: u32,
    pub(crate) ifindex: i32,
    pub(crate) packet_type: u8,
    pub(crate) skip: bool,
}

/// What a reader must find of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) interface: u32,
    pub(crate) timestamp: Timestamp,
    pub(crate) orig_len: u32,
    pub(crate) packet_type: PacketType,
    pub(crate) flags: u32,
    pub(crate) data: Vec<u8>,
}

impl Sample {
    /// The frame's bytes; what a snaplen of `snaplen` cuts off is secret, and all of a skipped frame.
    pub(crate) fn data(&self, snaplen: usize) -> Vec<u8> {
        let mut random = Random::new(self.seed);
        let mut data: Vec<u8> = (0..self.len).map(|_| random.next_u64() as u8).collect();
        for byte in &mut data {
            if *byte == SECRET {
                *byte = 0;
            }
        }
        let tag = if self.takes_tag(self.len.min(self.kernel_snaplen as usize)) { 4 } else { 0 };
        let kept = if self.skip { 0 } else { snaplen.saturating_sub(tag).min(self.len) };
        // The addresses in front of a tag are kept before anything behind it.
        let kept = if tag > 0 && !self.skip { kept.max(snaplen.min(12)) } else { kept };
        data[kept..].fill(SECRET);
        data
    }

    /// True if the tag goes back into a frame of which the ring holds `caplen` bytes.
    fn takes_tag(&self, caplen: usize) -> bool {
        let ethernet = matches!(self.hardware.0, 1 | 772);
        self.vlan.is_some() && ethernet && caplen >= 12
    }

    /// What a file must hold of it if the ring held `caplen` bytes.
    pub(crate) fn expected(&self, caplen: usize, interface: u32, snaplen: usize) -> Expected {
        let mut data = self.data(snaplen)[..caplen].to_vec();
        let mut orig_len = self.len as u32;
        if let Some((tpid, tci)) = self.vlan.filter(|_| self.takes_tag(caplen)) {
            let tag = [tpid.to_be_bytes(), tci.to_be_bytes()].concat();
            data.splice(12..12, tag);
            orig_len += 4;
        }
        data.truncate(snaplen);
        Expected {
            interface,
            timestamp: Timestamp(u64::from(self.time.0) * 1_000_000_000 + u64::from(self.time.1)),
            orig_len,
            packet_type: PacketType::from_kernel(self.packet_type),
            flags: self.flags(),
            data,
        }
    }

    /// `epb_flags`: direction in bits 0-1, reception type in 2-4, checksum not ready 9, valid 10, GSO 11.
    fn flags(&self) -> u32 {
        let direction_and_reception = [1 << 2 | 1, 3 << 2 | 1, 2 << 2 | 1, 4 << 2 | 1, 2];
        let bit = |kernel: u32, ours: u32| if self.status & 1 << kernel == 0 { 0 } else { 1 << ours };
        direction_and_reception[usize::from(self.packet_type)] | bit(3, 9) | bit(7, 10) | bit(8, 11)
    }

    /// Puts it into a block. False if it does not fit.
    pub(crate) fn push(&self, builder: &mut BlockBuilder, snaplen: usize) -> bool {
        let data = self.data(snaplen);
        builder.push(&BlockFrame {
            mac_len: self.hardware.1,
            snaplen: self.kernel_snaplen,
            vlan: self.vlan,
            status: self.status,
            protocol: 0x0800,
            ifindex: self.ifindex,
            hardware_type: self.hardware.0,
            packet_type: self.packet_type,
            ..BlockFrame::ethernet(&data, self.time)
        })
    }
}

/// Frames of every kind. Large ones are rare, because they fill a block alone.
pub(crate) fn sample() -> impl Strategy<Value = Sample> {
    let len = prop_oneof![2 => 0_usize..20, 6 => 40_usize..1515, 1 => 0_usize..70_000];
    // Ethernet, loopback, raw IP, 802.11 with a header of odd length.
    let hardware =
        prop_oneof![6 => Just((1, 14)), 1 => Just((772, 14)), 2 => Just((65_534, 0)), 1 => Just((801, 27))];
    let kernel_snaplen = prop_oneof![4 => Just(262_144_u32), 1 => 0_u32..200];
    let tpid = prop_oneof![Just(0x8100_u16), Just(0x88a8), Just(0x9100), any::<u16>()];
    let status = prop_oneof![Just(0_u32), Just(1 << 3), Just(1 << 7), Just(1 << 8 | 1 << 3)];
    (
        (len, any::<u64>(), hardware, kernel_snaplen),
        prop::option::of((tpid, any::<u16>())),
        (any::<u32>(), 0_u32..1_000_000_000),
        (status, 1_i32..4, 0_u8..5, prop::bool::weighted(0.15)),
    )
        .prop_map(
            |((len, seed, hardware, kernel_snaplen), vlan, time, (status, ifindex, packet_type, skip))| {
                Sample { len, seed, hardware, kernel_snaplen, vlan, time, status, ifindex, packet_type, skip }
            },
        )
}

/// Snaplens of writers: mostly none to speak of.
pub(crate) fn snaplen() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(262_144_usize), 1 => 0_usize..100, 1 => 100_usize..1600]
}

/// The frame headers of a block, and the bytes of its frames.
pub(crate) fn frames(block: &[u8]) -> Vec<(FrameHeader, &[u8])> {
    let (descriptor, area) = block.split_first_chunk::<DESCRIPTOR_LEN>().unwrap();
    let mut walk = FrameWalk::new(&BlockDescriptor::parse(descriptor));
    let mut frames = Vec::new();
    while let Some(step) = walk.next(area) {
        let header = step.unwrap();
        frames.push((header, header.bytes(area)));
    }
    frames
}

/// A pcapng section with so many interfaces of Ethernet, and `blocks` behind it.
pub(crate) fn section_of(interfaces: usize, blocks: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    ng::section_header(&mut file, &ng::Section::default());
    for _ in 0..interfaces {
        ng::interface_description(&mut file, &ng::Interface::new(LinkType::ETHERNET, 0));
    }
    file.extend_from_slice(blocks);
    file
}

/// What a reader finds in a file, which must be readable to its last byte.
pub(crate) fn read_back(file: &[u8]) -> Vec<Expected> {
    let mut reader = SliceReader::new(file).unwrap();
    let mut found = Vec::new();
    for packet in &mut reader {
        found.push(Expected {
            interface: packet.frame.interface,
            timestamp: packet.frame.timestamp,
            orig_len: packet.frame.orig_len,
            packet_type: packet.frame.packet_type,
            flags: packet.flags.unwrap_or_default(),
            data: packet.frame.data.to_vec(),
        });
    }
    assert_eq!(reader.warning(), None);
    assert_eq!(reader.position(), file.len() as u64);
    found
}
