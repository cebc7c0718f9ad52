//! A packet on its way into a file by copying: what the encoders need, wherever it comes from.

use gannet_packet::{Frame, LinkType, Timestamp};
use gannet_pcap::ng;
use gannet_ring::walk::{FrameHeader, VlanTag};

use crate::inplace::{MAC_ADDRESSES, VLAN_TAG, takes_vlan_tag};

/// A packet in up to three pieces: what is put in front, the addresses before a VLAN tag, the rest. Pieces save
/// a copy: the tag that the kernel took off goes back while the packet is written.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Number of the interface block in the file; without meaning for classic pcap.
    pub interface: u32,
    /// Time stamp.
    pub timestamp: Timestamp,
    /// Length on the wire, the pieces put back or in front included.
    pub orig_len: u32,
    /// The `epb_flags` word.
    pub flags: u32,
    /// Bytes written, at most the sum of the pieces.
    pub caplen: usize,
    prefix: Prefix,
    head: &'a [u8],
    tail: &'a [u8],
}

/// What the encoders need to know of a packet beside its bytes; the fields are those of [`Outgoing`].
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub interface: u32,
    pub timestamp: Timestamp,
    pub orig_len: u32,
    pub flags: u32,
}

impl Facts {
    /// Of a frame that lies in the ring as it is to be written.
    #[inline]
    pub fn from_ring(header: &FrameHeader, interface: u32) -> Self {
        let flags = ng::epb_flags(
            header.packet_type,
            header.checksum_not_ready(),
            header.checksum_valid(),
            header.segmentation_offloaded(),
        );
        Self { interface, timestamp: header.timestamp, orig_len: header.orig_len, flags }
    }
}

/// A few bytes before or within the packet that are not in the ring.
#[derive(Clone, Copy, Debug)]
struct Prefix {
    bytes: [u8; MAX_PREFIX],
    len: usize,
    /// The prefix goes behind `head` rather than in front of it.
    behind_head: bool,
}

impl Prefix {
    const NONE: Self = Self { bytes: [0; MAX_PREFIX], len: 0, behind_head: true };
}

impl<'a> Outgoing<'a> {
    /// A frame of a ring, with its own link header; a VLAN tag is put back.
    #[inline]
    pub fn from_ring(header: &FrameHeader, bytes: &'a [u8], interface: u32, snaplen: usize) -> Self {
        let facts = Facts::from_ring(header, interface);
        match header.vlan {
            Some(tag) if takes_vlan_tag(header) => Self::tagged(&facts, tag, bytes, snaplen),
            _ => Self::new(&facts, snaplen, Prefix::NONE, &[], bytes),
        }
    }

    /// A frame of an Ethernet interface whose VLAN tag is put back: what [`Outgoing::from_ring`] makes of it.
    /// `facts` is of the frame as it lies in the ring.
    #[inline]
    pub(crate) fn tagged(facts: &Facts, tag: VlanTag, bytes: &'a [u8], snaplen: usize) -> Self {
        let mut prefix = Prefix { bytes: [0; MAX_PREFIX], len: VLAN_TAG, behind_head: true };
        prefix.bytes[..2].copy_from_slice(&tag.tpid.to_be_bytes());
        prefix.bytes[2..4].copy_from_slice(&tag.tci.to_be_bytes());
        let (head, tail) = bytes.split_at(MAC_ADDRESSES.min(bytes.len()));
        Self::new(facts, snaplen, prefix, head, tail)
    }

    /// A frame of a ring with a Linux cooked header v2 in place of its link header (LINKTYPE_LINUX_SLL2).
    ///
    /// A VLAN tag that the kernel took off is put back behind the cooked header.
    pub fn cooked(header: &FrameHeader, bytes: &'a [u8], interface: u32, snaplen: usize) -> Self {
        let mut prefix = Prefix { bytes: [0; MAX_PREFIX], len: SLL2_HEADER, behind_head: false };
        let sll2 = &mut prefix.bytes;
        sll2[..2].copy_from_slice(&header.protocol.to_be_bytes());
        sll2[4..8].copy_from_slice(&header.ifindex.to_be_bytes());
        sll2[8..10].copy_from_slice(&header.hardware_type.to_be_bytes());
        sll2[10] = header.packet_type as u8;
        sll2[11] = header.hardware_len.min(8);
        sll2[12..20].copy_from_slice(&header.hardware_address);
        if let Some(tag) = header.vlan {
            // As on the wire: the tag's TPID is the protocol, and the tag goes on with the TCI and the next protocol.
            sll2[..2].copy_from_slice(&tag.tpid.to_be_bytes());
            sll2[20..22].copy_from_slice(&tag.tci.to_be_bytes());
            sll2[22..24].copy_from_slice(&header.protocol.to_be_bytes());
            prefix.len = SLL2_HEADER + VLAN_TAG;
        }
        let network = header.network.min(bytes.len());
        // The link header goes, the cooked one comes.
        let facts = Facts::from_ring(header, interface);
        let mut outgoing = Self::new(&facts, snaplen, prefix, &[], &bytes[network..]);
        outgoing.orig_len = outgoing.orig_len.saturating_sub(header.network as u32);
        outgoing
    }

    /// A packet of a capture file.
    pub fn from_frame(frame: &Frame<'a>, interface: u32, snaplen: usize) -> Self {
        Self {
            interface,
            timestamp: frame.timestamp,
            orig_len: frame.orig_len,
            flags: ng::epb_flags(frame.packet_type, false, false, false),
            caplen: frame.data.len().min(snaplen),
            prefix: Prefix::NONE,
            head: &[],
            tail: frame.data,
        }
    }

    #[inline]
    fn new(facts: &Facts, snaplen: usize, prefix: Prefix, head: &'a [u8], tail: &'a [u8]) -> Self {
        Self {
            interface: facts.interface,
            timestamp: facts.timestamp,
            orig_len: facts.orig_len.saturating_add(prefix.len as u32),
            flags: facts.flags,
            caplen: (prefix.len + head.len() + tail.len()).min(snaplen),
            prefix,
            head,
            tail,
        }
    }

    /// What the encoders need to know beside the bytes.
    #[inline]
    pub(crate) fn facts(&self) -> Facts {
        Facts {
            interface: self.interface,
            timestamp: self.timestamp,
            orig_len: self.orig_len,
            flags: self.flags,
        }
    }

    /// True if the packet is shorter than it was on the wire.
    #[inline]
    pub fn is_truncated(&self) -> bool {
        (self.caplen as u64) < u64::from(self.orig_len)
    }

    /// The pieces in order; together at least `caplen` bytes.
    #[inline]
    pub fn pieces(&self) -> [&[u8]; 3] {
        let prefix = &self.prefix.bytes[..self.prefix.len];
        if self.prefix.behind_head { [self.head, prefix, self.tail] } else { [prefix, self.head, self.tail] }
    }
}

/// The link type that a ring frame has in a file, unless it is cooked; `None` = only cooked will do.
#[inline]
pub fn link_type_of(header: &FrameHeader) -> Option<LinkType> {
    gannet_ring::interfaces::link_type_of_arphrd(header.hardware_type)
}

/// The longest prefix: a cooked header and a VLAN tag.
const MAX_PREFIX: usize = SLL2_HEADER + VLAN_TAG;

/// Bytes of a `sll2_header` (<https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html>).
const SLL2_HEADER: usize = 20;

#[cfg(test)]
mod tests {
    use gannet_testkit::block::{BlockBuilder, BlockFrame};

    use super::*;
    use crate::samples::frames;

    /// The bytes of an outgoing packet, put together.
    fn bytes(outgoing: &Outgoing<'_>) -> Vec<u8> {
        let mut bytes = outgoing.pieces().concat();
        assert!(bytes.len() >= outgoing.caplen);
        bytes.truncate(outgoing.caplen);
        bytes
    }

    fn block(frame: &BlockFrame<'_>) -> Vec<u8> {
        let mut builder = BlockBuilder::new(4096, 6);
        assert!(builder.push(frame));
        builder.finish(false)
    }

    /// To 1.2.3..., from 7.8.9..., IPv6, and two bytes of it.
    const ETHERNET: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x86, 0xdd, 0x60, 0x61];

    #[test]
    fn a_cooked_header_byte_by_byte() {
        let block = block(&BlockFrame {
            ifindex: 0x0102_0304,
            packet_type: 4,
            ..BlockFrame::ethernet(&ETHERNET, (1, 2))
        });
        let (header, data) = frames(&block)[0];
        let outgoing = Outgoing::cooked(&header, data, 3, 262_144);
        #[rustfmt::skip]
        let expected = [
            0x86, 0xdd, 0, 0, // protocol, reserved
            1, 2, 3, 4, // interface index
            0, 1, // ARPHRD_ETHER
            4, 6, // sent by us, length of the address
            7, 8, 9, 10, 11, 12, 0, 0, // its source address
            0x60, 0x61,
        ];
        assert_eq!(bytes(&outgoing), expected);
        assert_eq!((outgoing.orig_len, outgoing.caplen, outgoing.interface), (22, 22, 3));
        assert!(!outgoing.is_truncated());
        // Cut anywhere, in the header too.
        for snaplen in 0..22 {
            let cut = Outgoing::cooked(&header, data, 3, snaplen);
            assert_eq!(
                (bytes(&cut), cut.orig_len, cut.is_truncated()),
                (expected[..snaplen].to_vec(), 22, true)
            );
        }
    }

    #[test]
    fn a_tag_goes_behind_the_cooked_header() {
        let block =
            block(&BlockFrame { vlan: Some((0x88a8, 0xe123)), ..BlockFrame::ethernet(&ETHERNET, (1, 2)) });
        let (header, data) = frames(&block)[0];
        let cooked = bytes(&Outgoing::cooked(&header, data, 0, 262_144));
        assert_eq!(cooked[..4], [0x88, 0xa8, 0, 0], "the protocol is the tag's");
        assert_eq!(cooked[20..], [0xe1, 0x23, 0x86, 0xdd, 0x60, 0x61]);
        assert_eq!(Outgoing::cooked(&header, data, 0, 262_144).orig_len, 26);
    }

    #[test]
    fn a_frame_cut_within_its_link_header_is_cooked_to_a_header_alone() {
        let block = block(&BlockFrame { snaplen: 9, ..BlockFrame::ethernet(&ETHERNET, (1, 2)) });
        let (header, data) = frames(&block)[0];
        let outgoing = Outgoing::cooked(&header, data, 0, 262_144);
        assert_eq!((bytes(&outgoing).len(), outgoing.orig_len), (20, 22));
        assert!(outgoing.is_truncated());
    }

    #[test]
    fn raw_ip_is_cooked_whole() {
        let frame = BlockFrame {
            mac_len: 0,
            hardware_type: 65_534,
            protocol: 0x0800,
            ..BlockFrame::ethernet(&[0x45, 1, 2, 3], (1, 2))
        };
        let block = block(&frame);
        let (header, data) = frames(&block)[0];
        let cooked = bytes(&Outgoing::cooked(&header, data, 0, 262_144));
        assert_eq!(
            (&cooked[..2], &cooked[8..10], &cooked[20..]),
            (&[8, 0][..], &[0xff, 0xfe][..], &[0x45, 1, 2, 3][..])
        );
    }

    #[test]
    fn a_tag_goes_between_addresses_and_type() {
        let block =
            block(&BlockFrame { vlan: Some((0x8100, 0xffff)), ..BlockFrame::ethernet(&ETHERNET, (1, 2)) });
        let (header, data) = frames(&block)[0];
        let outgoing = Outgoing::from_ring(&header, data, 0, 262_144);
        let expected = [&ETHERNET[..12], &[0x81, 0, 0xff, 0xff], &ETHERNET[12..]].concat();
        assert_eq!((bytes(&outgoing), outgoing.orig_len), (expected, 20));
        // An interface without Ethernet header has no place for a tag.
        let raw = FrameHeader { hardware_type: 65_534, ..header };
        assert_eq!(bytes(&Outgoing::from_ring(&raw, data, 0, 262_144)), ETHERNET);
    }
}
