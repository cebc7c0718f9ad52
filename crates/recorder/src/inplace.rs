//! A ring block becomes a run of pcapng blocks where it lies: the packets stay, the headers between them change.
//!
//! ```text
//!  kernel   │ descriptor │hdr│ll│  packet 1  │hdr│ll│  packet 2  │hdr│ll│  packet 3  │ old bytes          │
//!           0            48                                                                              4096·n
//!  pcapng   │ marker ──────────│EPB│ packet 1 │o·t│EPB│ packet 2 │o·t│EPB│ packet 3 │o·t│ filler ──────────│
//! ```
//!
//! The 28 bytes of an Enhanced Packet Block header go right before the packet, over the `sockaddr_ll` that the
//! kernel left there; the block's trailing length (t) goes right before the *next* EPB, and options (o) take up
//! what lies between: `epb_flags`, then a custom option of zeros. As these writes overlay the next frame's
//! header, a frame's header is copied out before the frame in front of it is closed.
//!
//! Guarantees:
//! - No packet is left out or reordered. A packet whose place does not fit (a link header of odd length, no room
//!   for the trailer at the block's end) is moved down by a few bytes within its own slack: there are at least
//!   33 bytes of it in front of every packet, and no move needs more than 15.
//! - Every byte of the extent is accounted for: what is not a packet, a header or an option is zero. Nothing of a
//!   packet that was cut, skipped or lay in the ring before reaches the disk.
//! - The word at offset 8 of the block, the kernel's status, is never written: it is body of the marker.

use gannet_packet::LinkType;
use gannet_pcap::ng;
use gannet_ring::walk::{BlockDescriptor, DESCRIPTOR_LEN, FrameHeader, FrameWalk};

/// What is to become of one frame of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays, as a packet of this interface of the file.
    Keep {
        /// Number of the interface block in the file.
        interface: u32,
    },
    /// It does not belong into this file; its bytes are zeroed.
    Skip,
}

/// The constants of a conversion.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Packets are cut to this, a VLAN tag that was put back included.
    pub snaplen: usize,
    /// Length of the extent, from the block's start: the kernel's length of the block and [`WORST_CASE_TAIL`], or
    /// the block's size where that is less. A multiple of 4, at least [`MIN_EXTENT`]. A frame that reaches beyond it
    /// is unreadable.
    pub len: usize,
    /// Number of the worker, for the marker.
    pub worker: u32,
}

/// What a conversion made of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Converted {
    /// The first 8 bytes of the block, for [`gannet_ring::Block::into_in_flight`].
    pub head: [u8; 8],
    /// Packets kept.
    pub packets: u64,
    /// Their captured bytes.
    pub bytes: u64,
    /// Of those packets, the ones that are shorter than on the wire.
    pub truncated: u64,
    /// Frames that could not be reached because the block does not add up.
    pub unreadable: u64,
}

/// Rewrites the block that `descriptor` describes and whose bytes behind the descriptor are `area`.
///
/// `judge` is asked once per frame, in order, with the frame's bytes as the kernel left them. All of the extent's
/// `layout.len` bytes are valid pcapng afterwards, also if no packet was kept.
pub fn to_pcapng(
    descriptor: &BlockDescriptor,
    area: &mut [u8],
    layout: Layout,
    mut judge: impl FnMut(&FrameHeader, &[u8]) -> Verdict,
) -> Converted {
    let mut converted = Converted::default();
    let mut walk = FrameWalk::new(descriptor);
    let mut open: Option<Open> = None;
    let mut first = 0;
    loop {
        let header = match walk.next(area) {
            // A frame beyond what the kernel says it has filled is none.
            Some(Ok(header)) if header.data + header.caplen > layout.len => {
                converted.unreadable = u64::from(walk.remaining()) + 1;
                break;
            }
            Some(Ok(header)) => header,
            Some(Err(_)) => {
                converted.unreadable = u64::from(walk.remaining());
                break;
            }
            None => break,
        };
        let bytes = header.bytes(area);
        let Verdict::Keep { interface } = judge(&header, bytes) else { continue };
        let packet = place(area, &header, layout);
        let start = packet.start - ng::ENHANCED_PACKET_HEADER;
        match open {
            Some(open) => open.close(area, start),
            None => first = start,
        }
        packet.write_header(area, start, interface, &header);
        converted.packets += 1;
        converted.bytes += packet.len as u64;
        converted.truncated += u64::from((packet.len as u64) < u64::from(packet.orig_len));
        open = Some(Open {
            start,
            data_end: packet.start + packet.len,
            flags: ng::epb_flags(
                header.packet_type,
                header.checksum_not_ready(),
                header.checksum_valid(),
                header.segmentation_offloaded(),
            ),
        });
    }
    match open {
        Some(open) => open.close_last(area, layout.len),
        None => {
            first = ng::marker::MIN_LEN;
            ng::write_filler(&mut area[at(first)..at(layout.len)]);
        }
    }
    let marker_len = write_marker(area, first, layout, converted.packets);
    converted.head[..4].copy_from_slice(&ng::LOCAL.to_le_bytes());
    converted.head[4..].copy_from_slice(&(marker_len as u32).to_le_bytes());
    converted
}

/// A packet at its final place.
struct Placed {
    /// Offset of its first byte from the block's start.
    start: usize,
    /// Captured bytes, the VLAN tag included.
    len: usize,
    orig_len: u32,
}

impl Placed {
    fn write_header(&self, area: &mut [u8], start: usize, interface: u32, header: &FrameHeader) {
        let stamp = header.timestamp.0;
        let block = &mut area[at(start)..at(start) + ng::ENHANCED_PACKET_HEADER];
        put(block, 0, ng::ENHANCED_PACKET);
        put(block, 8, interface);
        put(block, 12, (stamp >> 32) as u32);
        put(block, 16, stamp as u32);
        put(block, 20, self.len as u32);
        put(block, 24, self.orig_len);
    }
}

/// Puts the VLAN tag back, cuts to the snaplen and moves the packet to where an EPB header fits in front of it
/// and a trailer behind it.
fn place(area: &mut [u8], header: &FrameHeader, layout: Layout) -> Placed {
    let mut start = header.data;
    let mut len = header.caplen;
    let mut orig_len = header.orig_len;
    if let Some(tag) = header.vlan.filter(|_| takes_vlan_tag(header)) {
        let from = at(start);
        area.copy_within(from..from + MAC_ADDRESSES, from - VLAN_TAG);
        let tag_at = from - VLAN_TAG + MAC_ADDRESSES;
        area[tag_at..tag_at + 2].copy_from_slice(&tag.tpid.to_be_bytes());
        area[tag_at + 2..tag_at + 4].copy_from_slice(&tag.tci.to_be_bytes());
        start -= VLAN_TAG;
        len += VLAN_TAG;
        orig_len = orig_len.saturating_add(VLAN_TAG as u32);
    }
    len = len.min(layout.snaplen);
    // Offsets count from the block's start, which is page-aligned, so they tell the alignment in the file.
    let misaligned = start % 4;
    let end = (start - misaligned + len).next_multiple_of(4) + MIN_TAIL;
    let excess = end.saturating_sub(layout.len);
    let shift = misaligned + excess.next_multiple_of(4);
    if shift > 0 {
        area.copy_within(at(start)..at(start) + len, at(start) - shift);
        start -= shift;
    }
    Placed { start, len, orig_len }
}

/// The body of the fuzz target: converts `bytes` as a block of the ring, as they are and with links that lead
/// somewhere. Its first word, which the kernel's version is in, decides snaplen, extent and which frames are skipped.
///
/// # Panics
/// If what comes out is not, to the last byte, a chain of blocks that starts with a marker and holds the packets
/// announced, or if the kernel's status word has changed.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    check_conversion(bytes.to_vec());
    let mut bent = bytes.to_vec();
    gannet_ring::walk::bend_links(&mut bent);
    check_conversion(bent);
}

#[allow(clippy::panic, clippy::unwrap_used, reason = "a fuzz body reports by panicking")]
fn check_conversion(mut block: Vec<u8>) {
    block.truncate(block.len() / 4 * 4);
    if block.len() < MIN_EXTENT {
        return;
    }
    let (head, area) = block.split_first_chunk_mut::<DESCRIPTOR_LEN>().unwrap();
    let [snaplen, alignment, skip, salt] = [head[0], head[1], head[2], head[3]];
    // A block is only ours to convert with this bit set.
    head[8] |= 1;
    let descriptor = BlockDescriptor::parse(head);
    let kernel_words: [u8; 40] = *head[8..].first_chunk().unwrap();
    let size = DESCRIPTOR_LEN + area.len();
    let wanted = (descriptor.len as usize).saturating_add(WORST_CASE_TAIL).min(size);
    let len = wanted.next_multiple_of(4 << (alignment % 11)).clamp(MIN_EXTENT, size);
    let layout = Layout { snaplen: usize::from(snaplen) * usize::from(salt), len, worker: 3 };
    let mut number = 0_u32;
    let mut kept = 0;
    let converted = to_pcapng(&descriptor, area, layout, |_, _| {
        number += 1;
        if skip & 1 << (number % 8) == 0 {
            kept += 1;
            Verdict::Keep { interface: 0 }
        } else {
            Verdict::Skip
        }
    });
    assert_eq!(converted.packets, kept);
    assert_eq!(u64::from(number) + converted.unreadable, u64::from(descriptor.packets));
    assert_eq!(head[8..], kernel_words);
    head[..8].copy_from_slice(&converted.head);
    let marker = ng::marker::Marker::parse(&block[..len]).unwrap();
    assert_eq!((u64::from(marker.packets), marker.extent_len as usize, marker.worker), (kept, len, 3));
    let mut file = Vec::new();
    ng::section_header(&mut file, &ng::Section::default());
    ng::interface_description(&mut file, &ng::Interface::new(LinkType::ETHERNET, 0));
    file.extend_from_slice(&block[..len]);
    let mut reader = gannet_pcap::SliceReader::new(&file).unwrap();
    let (mut packets, mut bytes, mut truncated) = (0, 0, 0);
    for packet in &mut reader {
        packets += 1;
        bytes += packet.frame.data.len() as u64;
        truncated += u64::from((packet.frame.data.len() as u64) < u64::from(packet.frame.orig_len));
    }
    assert_eq!(reader.warning(), None);
    assert_eq!(reader.position(), file.len() as u64);
    assert_eq!((packets, bytes, truncated), (kept, converted.bytes, converted.truncated));
}

/// True if the kernel's VLAN tag of this frame belongs back into its bytes: an Ethernet header is there.
#[inline]
pub(crate) fn takes_vlan_tag(header: &FrameHeader) -> bool {
    header.vlan.is_some()
        && header.caplen >= MAC_ADDRESSES
        && gannet_ring::interfaces::link_type_of_arphrd(header.hardware_type) == Some(LinkType::ETHERNET)
}

/// Captured length that a frame has in a file.
pub fn recorded_len(header: &FrameHeader, snaplen: usize) -> usize {
    let tag = if takes_vlan_tag(header) { VLAN_TAG } else { 0 };
    (header.caplen + tag).min(snaplen)
}

/// An EPB whose length is not known yet, because it reaches to the next one.
#[derive(Clone, Copy)]
struct Open {
    start: usize,
    data_end: usize,
    flags: u32,
}

impl Open {
    /// Ends the block at `next`: options over the gap, lengths on both ends.
    fn close(self, area: &mut [u8], next: usize) {
        let padded = self.data_end.next_multiple_of(4);
        let mut end = next;
        if next - padded > MAX_OPTIONS {
            // Skipped frames lie here: an option cannot be that long, a filler block can.
            end = padded + FLAGS_AND_END + 4;
            ng::write_filler(&mut area[at(end)..at(next)]);
        }
        area[at(self.data_end)..at(end)].fill(0);
        let options = end - 4 - padded;
        let gap = &mut area[at(padded)..at(end)];
        if options >= 8 {
            put(gap, 0, u32::from(EPB_FLAGS) | 4 << 16);
            put(gap, 4, self.flags);
        }
        // What is left behind the flags: nothing, the end of options (4 zero bytes), or a custom option of zeros,
        // with the end of options behind it where there is room.
        let rest = options.saturating_sub(8);
        if rest >= 8 {
            let end_of_options = if rest >= 12 { 4 } else { 0 };
            let value = rest - 4 - end_of_options;
            put(gap, 8, u32::from(CUSTOM_NO_COPY) | (value as u32) << 16);
            put(gap, 12, ENTERPRISE_NUMBER);
        }
        let total = (end - self.start) as u32;
        put(gap, options, total);
        put(&mut area[at(self.start)..], 4, total);
    }

    /// Ends the last block and covers the rest up to `end`.
    fn close_last(self, area: &mut [u8], end: usize) {
        let tight = self.data_end.next_multiple_of(4) + MIN_TAIL;
        // A filler needs 12 bytes: a smaller rest goes into this block's options.
        if end - tight < ng::MIN_BLOCK + 4 {
            self.close(area, end);
        } else {
            self.close(area, tight + 4);
            ng::write_filler(&mut area[at(tight + 4)..at(end)]);
        }
    }
}

/// Our fields of the marker and the end of its block; the kernel's fields are there already. Returns the length of
/// the marker block, which reaches to the first packet's block at `first`.
fn write_marker(area: &mut [u8], first: usize, layout: Layout, packets: u64) -> usize {
    // Skipped frames may lie before the first packet kept: a marker stays short, a filler covers them.
    let len = if first < ng::marker::MAX_LEN { first } else { ng::marker::MIN_LEN };
    if len < first {
        ng::write_filler(&mut area[at(len)..at(first)]);
    }
    let marker = &mut area[..at(len)];
    marker.fill(0);
    put(marker, 0, ng::marker::MAGIC);
    put(marker, 4, layout.len as u32);
    put(marker, 8, packets as u32);
    put(marker, 12, layout.worker);
    let end = marker.len();
    put(marker, end - 4, len as u32);
    len
}

/// Index into the area of an offset in the block.
#[inline]
fn at(offset: usize) -> usize {
    offset - DESCRIPTOR_LEN
}

#[inline]
fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Both link-layer addresses of an Ethernet header: a VLAN tag goes behind them.
pub(crate) const MAC_ADDRESSES: usize = 12;

/// Bytes of an 802.1Q tag.
pub(crate) const VLAN_TAG: usize = 4;

/// What a block may need beyond the kernel's length of it: the padding and tail of its last packet.
pub const WORST_CASE_TAIL: usize = 3 + MIN_TAIL;

/// The shortest extent: a marker and a filler. Every page is longer.
pub const MIN_EXTENT: usize = ng::marker::MIN_LEN + ng::MIN_BLOCK;

/// Room that every packet has behind it: the option `epb_flags` and the trailing length.
const MIN_TAIL: usize = 8 + 4;

/// `epb_flags` with the end of options.
const FLAGS_AND_END: usize = 12;

/// An option's length has 16 bits; half of that leaves no doubt.
const MAX_OPTIONS: usize = 32 * 1024;

/// `epb_flags`, draft-ietf-opsawg-pcapng section 4.3.1.
const EPB_FLAGS: u16 = 2;

/// A custom option with binary value that is not to be copied to other files, section 3.5.1.
const CUSTOM_NO_COPY: u16 = 19373;

/// The number that IANA reserves for examples (RFC 5612), until the project has one of its own.
const ENTERPRISE_NUMBER: u32 = 32473;

#[cfg(test)]
mod tests;
