//! A packet on its way into a file by copying: what the encoders need, wherever it comes from.

use gannet_packet::{Frame, LinkType, Timestamp};
use gannet_pcap::ng;
use gannet_ring::walk::FrameHeader;

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

/// A few bytes before or within the packet that are not in the ring.
#[derive(Clone, Copy, Debug)]
struct Prefix {
    bytes: [u8; MAX_PREFIX],
    len: usize,
    /// The prefix goes behind `head` rather than in front of it.
    behind_head: bool,
}

impl<'a> Outgoing<'a> {
    /// A frame of a ring, with its own link header; a VLAN tag is put back.
    #[inline]
    pub fn from_ring(header: &FrameHeader, bytes: &'a [u8], interface: u32, snaplen: usize) -> Self {
        let mut prefix = Prefix { bytes: [0; MAX_PREFIX], len: 0, behind_head: true };
        let (head, tail) = match header.vlan {
            Some(tag) if takes_vlan_tag(header) => {
                prefix.bytes[..2].copy_from_slice(&tag.tpid.to_be_bytes());
                prefix.bytes[2..4].copy_from_slice(&tag.tci.to_be_bytes());
                prefix.len = VLAN_TAG;
                bytes.split_at(MAC_ADDRESSES)
            }
            _ => (&[][..], bytes),
        };
        Self::new(header, interface, snaplen, prefix, head, tail)
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
        let mut outgoing = Self::new(header, interface, snaplen, prefix, &[], &bytes[network..]);
        outgoing.orig_len = outgoing.orig_len.saturating_sub(header.network as u32);
        outgoing
    }

    /// A packet of a capture file.
    pub fn from_frame(frame: &Frame<'a>, interface: u32, snaplen: usize) -> Self {
        let prefix = Prefix { bytes: [0; MAX_PREFIX], len: 0, behind_head: false };
        Self {
            interface,
            timestamp: frame.timestamp,
            orig_len: frame.orig_len,
            flags: ng::epb_flags(frame.packet_type, false, false, false),
            caplen: frame.data.len().min(snaplen),
            prefix,
            head: &[],
            tail: frame.data,
        }
    }

    fn new(
        header: &FrameHeader,
        interface: u32,
        snaplen: usize,
        prefix: Prefix,
        head: &'a [u8],
        tail: &'a [u8],
    ) -> Self {
        Self {
            interface,
            timestamp: header.timestamp,
            orig_len: header.orig_len.saturating_add(prefix.len as u32),
            flags: ng::epb_flags(
                header.packet_type,
                header.checksum_not_ready(),
                header.checksum_valid(),
                header.segmentation_offloaded(),
            ),
            caplen: (prefix.len + head.len() + tail.len()).min(snaplen),
            prefix,
            head,
            tail,
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
pub fn link_type_of(header: &FrameHeader) -> Option<LinkType> {
    gannet_ring::interfaces::link_type_of_arphrd(header.hardware_type)
}

/// The longest prefix: a cooked header and a VLAN tag.
const MAX_PREFIX: usize = SLL2_HEADER + VLAN_TAG;

/// Bytes of a `sll2_header` (<https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html>).
const SLL2_HEADER: usize = 20;
