//! Walking the frames of a TPACKET_V3 block.
//!
//! ```text
//!   0            48                                    f (8-aligned)
//!   ├ descriptor ┼ frame ─ frame ─ ... ────────────────┼ tpacket3_hdr (48) ┬ sockaddr_ll (20) ┬ pad ┬ frame bytes ┬ pad to 8
//!   │ status, count, first, length, sequence, times    │ next, time, caplen, len, status, mac  │      └ at f + tp_mac
//! ```
//!
//! The walker works on memory, never on a socket, and trusts no number in it: every length and offset is checked
//! against the block before a slice is made (`struct tpacket_block_desc`, `struct tpacket3_hdr` in
//! `include/uapi/linux/if_packet.h`). A block that does not add up ends the walk with a [`BlockError`] and the
//! frames found so far; it never panics.

use gannet_packet::{PacketType, Timestamp};

use crate::prefetch::prefetch;

/// Size of `struct tpacket_block_desc` with a version 1 header: where the first frame may begin.
pub const DESCRIPTOR_LEN: usize = 48;

/// Size of `struct tpacket3_hdr` without the `sockaddr_ll` behind it.
pub const FRAME_HEADER_LEN: usize = 48;

/// From a frame's start to the end of its `sockaddr_ll` (`TPACKET3_HDRLEN`).
pub const FRAME_HEADERS_LEN: usize = FRAME_HEADER_LEN + 20;

/// `struct tpacket_block_desc`, in host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockDescriptor {
    /// `TP_STATUS_*` bits; bit 5 (`BLK_TMO`) says that the time-out has closed the block.
    pub status: u32,
    /// Frames in the block.
    pub packets: u32,
    /// Offset of the first frame from the block's start.
    pub first_frame: u32,
    /// Bytes used, descriptor included.
    pub len: u32,
    /// Number of the block since the ring was made; a jump means that a block was missed.
    pub sequence: u64,
    /// When the kernel *opened* the block (not the first frame's time).
    pub opened: Timestamp,
    /// Time of the last frame.
    pub last: Timestamp,
}

impl BlockDescriptor {
    /// Reads the descriptor from the first bytes of a block.
    #[inline]
    pub fn parse(bytes: &[u8; DESCRIPTOR_LEN]) -> Self {
        Self {
            status: u32_at(bytes, 8),
            packets: u32_at(bytes, 12),
            first_frame: u32_at(bytes, 16),
            len: u32_at(bytes, 20),
            sequence: u64::from(u32_at(bytes, 24)) | u64::from(u32_at(bytes, 28)) << 32,
            opened: Timestamp::from_sec_nsec(u32_at(bytes, 32), u32_at(bytes, 36)),
            last: Timestamp::from_sec_nsec(u32_at(bytes, 40), u32_at(bytes, 44)),
        }
    }

    /// True if the block was closed by its time-out rather than because it was full.
    pub fn timed_out(&self) -> bool {
        self.status & libc::TP_STATUS_BLK_TMO != 0
    }
}

/// `struct tpacket3_hdr` and the `sockaddr_ll` behind it, copied out: the bytes may be overwritten while the
/// frame is still needed. All lengths and offsets have been checked against the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Offset of the frame's bytes from the block's start.
    pub data: usize,
    /// Bytes captured (`tp_snaplen`).
    pub caplen: usize,
    /// Length on the wire as the kernel saw it, before a VLAN tag is put back (`tp_len`).
    pub orig_len: u32,
    /// Offset of the network header from the start of the frame's bytes; more than `caplen` if cut.
    pub network: usize,
    /// Time stamp.
    pub timestamp: Timestamp,
    /// `TP_STATUS_*` bits of the frame.
    pub status: u32,
    /// The 802.1Q tag that the kernel took off: TPID and TCI (PCP, DEI and VID).
    pub vlan: Option<VlanTag>,
    /// Interface index.
    pub ifindex: i32,
    /// ARPHRD_ type of that interface.
    pub hardware_type: u16,
    /// EtherType as the kernel has it (`sll_protocol`), host byte order.
    pub protocol: u16,
    /// Whom the frame is for.
    pub packet_type: PacketType,
    /// Length of `hardware_address`.
    pub hardware_len: u8,
    /// Link-layer address of the sender.
    pub hardware_address: [u8; 8],
}

impl FrameHeader {
    /// The frame's bytes in the block behind its descriptor. Empty if `area` is not the block that the header was
    /// read from.
    #[inline]
    pub fn bytes<'a>(&self, area: &'a [u8]) -> &'a [u8] {
        let start = self.data.saturating_sub(DESCRIPTOR_LEN);
        area.get(start..start + self.caplen).unwrap_or_default()
    }

    /// The checksum of a locally generated frame has not been filled in yet.
    pub fn checksum_not_ready(&self) -> bool {
        self.status & libc::TP_STATUS_CSUMNOTREADY != 0
    }

    /// The kernel or the network card has verified the checksum.
    pub fn checksum_valid(&self) -> bool {
        self.status & libc::TP_STATUS_CSUM_VALID != 0
    }

    /// A TCP super-frame (GRO or TSO); its IP length field may be 0 (`TP_STATUS_GSO_TCP`, Linux 6.3).
    pub fn segmentation_offloaded(&self) -> bool {
        self.status & TP_STATUS_GSO_TCP != 0
    }

    /// The time stamp comes from the network card.
    pub fn hardware_stamped(&self) -> bool {
        self.status & libc::TP_STATUS_TS_RAW_HARDWARE != 0
    }
}

/// An 802.1Q tag as the kernel reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanTag {
    /// EtherType of the tag: 0x8100, 0x88a8, ...
    pub tpid: u16,
    /// Priority, drop-eligible bit and VLAN number.
    pub tci: u16,
}

/// Why a block does not add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The first frame, or the next one, begins outside the block.
    #[error("a frame header at offset {0} lies outside the block")]
    HeaderOutside(usize),
    /// The captured bytes of a frame reach outside the block or into its own headers.
    #[error("the bytes of the frame at offset {0} lie outside the block")]
    DataOutside(usize),
    /// The next frame begins before this one ends, or nowhere although more are announced.
    #[error("the frame behind the one at offset {0} overlaps it")]
    NextOverlaps(usize),
}

/// The frames of one block, in order.
///
/// `area` is the block *behind* its descriptor (see [`crate::memory::Block::area`]), so that the status word
/// is never part of a slice.
#[derive(Clone, Debug)]
pub struct FrameWalk {
    next: usize,
    left: u32,
    /// Set when the link to the next frame makes no sense: reported in place of that frame.
    broken: Option<BlockError>,
}

impl FrameWalk {
    /// Starts a walk over the block that `descriptor` describes.
    pub fn new(descriptor: &BlockDescriptor) -> Self {
        Self { next: descriptor.first_frame as usize, left: descriptor.packets, broken: None }
    }

    /// Frames announced and not yet returned; after an error those that cannot be reached any more.
    pub fn remaining(&self) -> u32 {
        self.left
    }

    /// The next frame's header, copied out; `None` at the end. After an error every further call repeats it.
    ///
    /// The area is passed at each step rather than borrowed by the walk, so that a caller may rewrite what lies
    /// before the frame just returned or in it: everything needed has been read.
    #[inline]
    pub fn next(&mut self, area: &[u8]) -> Option<Result<FrameHeader, BlockError>> {
        if self.left == 0 {
            return None;
        }
        if let Some(error) = self.broken {
            return Some(Err(error));
        }
        match parse_frame(area, self.next) {
            Ok((header, advance)) => {
                self.left -= 1;
                let next = self.next.saturating_add(advance);
                if self.left > 0 && (next < header.data + header.caplen || next % FRAME_ALIGNMENT != 0) {
                    self.broken = Some(BlockError::NextOverlaps(self.next));
                }
                self.next = next;
                Some(Ok(header))
            }
            Err(error) => {
                self.broken = Some(error);
                Some(Err(error))
            }
        }
    }
}

/// Asks the processor for the frames of a block before a [`FrameWalk`] comes to them.
///
/// The kernel wrote them on another processor, and where a frame begins is written in the one before: a walk alone
/// waits for several cold lines at each frame. Nothing is believed here: what lies outside the block is not asked
/// for.
#[derive(Clone, Debug)]
pub struct LookAhead {
    /// The last frame that was asked for.
    asked: usize,
}

impl LookAhead {
    /// Asks for the first frames of the block that `descriptor` describes.
    pub fn new(descriptor: &BlockDescriptor, area: &[u8]) -> Self {
        let mut ahead = Self { asked: descriptor.first_frame as usize };
        ahead.ask(area);
        for _ in 1..FRAMES_AHEAD {
            ahead.step(area);
        }
        ahead
    }

    /// Asks for one frame more: to be called once for each step of the walk.
    #[inline]
    pub fn step(&mut self, area: &[u8]) {
        let start = self.asked.saturating_sub(DESCRIPTOR_LEN);
        let Some(next) = area.get(start..).and_then(<[u8]>::first_chunk::<4>) else { return };
        // A last frame says 0: it is asked for again.
        self.asked = self.asked.saturating_add(u32_at(next, 0) as usize);
        self.ask(area);
    }

    #[inline]
    fn ask(&self, area: &[u8]) {
        let start = self.asked.saturating_sub(DESCRIPTOR_LEN);
        for line in 0..LINES_AHEAD {
            if let Some(bytes) = area.get(start.saturating_add(line * CACHE_LINE)..) {
                prefetch(bytes);
            }
        }
    }
}

// Inlined, what a caller does not look at is not read.
#[inline]
fn parse_frame(area: &[u8], at: usize) -> Result<(FrameHeader, usize), BlockError> {
    let outside = BlockError::HeaderOutside(at);
    let start = at.checked_sub(DESCRIPTOR_LEN).ok_or(outside)?;
    let end = start.checked_add(FRAME_HEADERS_LEN).ok_or(outside)?;
    let bytes: &[u8; FRAME_HEADERS_LEN] =
        area.get(start..end).and_then(|bytes| bytes.try_into().ok()).ok_or(outside)?;
    let status = u32_at(bytes, 20);
    let mac = usize::from(u16_at(bytes, 24));
    let network = usize::from(u16_at(bytes, 26));
    let caplen = u32_at(bytes, 12) as usize;
    let inside =
        mac >= FRAME_HEADERS_LEN && start.checked_add(mac + caplen).is_some_and(|end| end <= area.len());
    if !inside {
        return Err(BlockError::DataOutside(at));
    }
    let vlan = (status & libc::TP_STATUS_VLAN_VALID != 0).then(|| VlanTag {
        tci: u32_at(bytes, 32) as u16,
        tpid: if status & libc::TP_STATUS_VLAN_TPID_VALID != 0 { u16_at(bytes, 36) } else { 0x8100 },
    });
    let mut hardware_address = [0; 8];
    hardware_address.copy_from_slice(&bytes[60..68]);
    let header = FrameHeader {
        data: at + mac,
        caplen,
        orig_len: u32_at(bytes, 16),
        network: network.saturating_sub(mac),
        timestamp: Timestamp::from_sec_nsec(u32_at(bytes, 4), u32_at(bytes, 8)),
        status,
        vlan,
        ifindex: u32_at(bytes, 52) as i32,
        hardware_type: u16_at(bytes, 56),
        protocol: u16::from_be_bytes([bytes[50], bytes[51]]),
        packet_type: PacketType::from_kernel(bytes[58]),
        hardware_len: bytes[59],
        hardware_address,
    };
    Ok((header, u32_at(bytes, 0) as usize))
}

#[inline]
fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[inline]
fn u16_at<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

/// The body of the fuzz target: walks `bytes` as a block as it is, and once more with its links bent so that they
/// lead somewhere, which random numbers seldom do.
///
/// # Panics
/// If a frame lies outside the block or overlaps the one before, if more frames come than are announced, or if the
/// walk goes on after an error.
#[doc(hidden)]
#[allow(clippy::panic, reason = "a fuzz body reports by panicking")]
pub fn fuzz(bytes: &[u8]) {
    check_walk(bytes);
    let mut bent = bytes.to_vec();
    bend_links(&mut bent);
    check_walk(&bent);
}

fn check_walk(bytes: &[u8]) {
    let Some((descriptor, area)) = bytes.split_first_chunk::<DESCRIPTOR_LEN>() else { return };
    let descriptor = BlockDescriptor::parse(descriptor);
    let mut walk = FrameWalk::new(&descriptor);
    let mut ahead = LookAhead::new(&descriptor, area);
    let (mut frames, mut end) = (0_u32, 0);
    while let Some(step) = walk.next(area) {
        ahead.step(area);
        let header = match step {
            Ok(header) => header,
            Err(error) => {
                assert_eq!(walk.next(area), Some(Err(error)), "an error stays");
                break;
            }
        };
        frames += 1;
        assert!(
            header.data >= end + FRAME_HEADERS_LEN,
            "frame at {} overlaps what ends at {end}",
            header.data
        );
        end = header.data + header.caplen;
        assert!(end <= bytes.len(), "frame ends at {end} in a block of {}", bytes.len());
        assert_eq!(header.bytes(area).len(), header.caplen);
    }
    assert_eq!(frames.checked_add(walk.remaining()), Some(descriptor.packets));
}

/// Makes a block of arbitrary `bytes` one that adds up: its frames keep what the bytes say of their lengths and
/// places, but small enough to follow one another to the block's end. For fuzzing only.
#[doc(hidden)]
pub fn bend_links(bytes: &mut [u8]) {
    let mut at = DESCRIPTOR_LEN;
    let mut frames = 0_u32;
    while let Some(header) = bytes.get_mut(at..at + FRAME_HEADERS_LEN) {
        let mac = FRAME_HEADERS_LEN + usize::from(header[24]) % 48;
        let caplen = usize::from(u16::from_ne_bytes([header[12], header[13]])) % 2048;
        let advance = (mac + caplen + usize::from(header[0] % 16)).next_multiple_of(FRAME_ALIGNMENT);
        header[..4].copy_from_slice(&(advance as u32).to_ne_bytes());
        header[12..16].copy_from_slice(&(caplen as u32).to_ne_bytes());
        header[24..26].copy_from_slice(&(mac as u16).to_ne_bytes());
        at += advance;
        frames += 1;
    }
    if let Some(descriptor) = bytes.get_mut(..DESCRIPTOR_LEN) {
        descriptor[12..16].copy_from_slice(&frames.to_ne_bytes());
        descriptor[16..20].copy_from_slice(&(DESCRIPTOR_LEN as u32).to_ne_bytes());
    }
}

/// How many frames are asked for ahead: the time of one is longer than memory takes, and a second one evens out short
/// frames.
const FRAMES_AHEAD: usize = 2;

/// What of a frame is asked for: the kernel's header, those of the packet (they end 154 bytes into the frame, with
/// TCP's time stamps), and as much of what it carries as most heads take. What follows the processor asks for by
/// itself.
const LINES_AHEAD: usize = 7;

const CACHE_LINE: usize = 64;

/// Frames begin on multiples of this (`V3_ALIGNMENT` in `net/packet/af_packet.c`).
const FRAME_ALIGNMENT: usize = 8;

/// Missing from the `libc` crate.
const TP_STATUS_GSO_TCP: u32 = 1 << 8;

const _: () = {
    assert!(size_of::<libc::tpacket_block_desc>() == DESCRIPTOR_LEN);
    assert!(size_of::<libc::tpacket3_hdr>() == FRAME_HEADER_LEN);
    assert!(size_of::<libc::sockaddr_ll>() == FRAME_HEADERS_LEN - FRAME_HEADER_LEN);
};

#[cfg(test)]
mod tests {
    use gannet_testkit::block::{BlockBuilder, BlockFrame};
    use proptest::prelude::*;

    use super::*;

    const BLOCK: usize = 4096;

    /// Three frames of 60, 61 and 1000 bytes.
    fn block() -> Vec<u8> {
        let data: Vec<u8> = (0..1000).map(|number| number as u8).collect();
        let mut builder = BlockBuilder::new(BLOCK, 6).opened(7, (1, 2)).stale(0xa5);
        for (second, len) in [(10, 60), (11, 61), (12, 1000)] {
            assert!(builder.push(&BlockFrame::ethernet(&data[..len], (second, 999_999_999))));
        }
        builder.finish(true)
    }

    fn walk(block: &[u8]) -> (Vec<FrameHeader>, Option<BlockError>, u32) {
        let (descriptor, area) = block.split_first_chunk().unwrap();
        let mut walk = FrameWalk::new(&BlockDescriptor::parse(descriptor));
        let mut frames = Vec::new();
        loop {
            match walk.next(area) {
                Some(Ok(header)) => frames.push(header),
                Some(Err(error)) => return (frames, Some(error), walk.remaining()),
                None => return (frames, None, walk.remaining()),
            }
        }
    }

    fn put32(block: &mut [u8], at: usize, value: u32) {
        block[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }

    fn put16(block: &mut [u8], at: usize, value: u16) {
        block[at..at + 2].copy_from_slice(&value.to_ne_bytes());
    }

    /// The frames of [`block`]: 88 bytes in front of the data, multiples of 8.
    const SECOND: usize = DESCRIPTOR_LEN + 152;
    const THIRD: usize = SECOND + 152;

    #[test]
    fn frames_are_asked_for_before_they_come() {
        let block = block();
        let (descriptor, area) = block.split_first_chunk().unwrap();
        let descriptor = BlockDescriptor::parse(descriptor);
        let mut ahead = LookAhead::new(&descriptor, area);
        assert_eq!(ahead.asked, SECOND);
        ahead.step(area);
        assert_eq!(ahead.asked, THIRD);
        ahead.step(area);
        assert_eq!(ahead.asked, THIRD, "there is no frame behind the last one");
        // A link out of the block ends it, and so does a block without room for a frame.
        let mut broken = block.clone();
        put32(&mut broken, SECOND, u32::MAX);
        let area = &broken[DESCRIPTOR_LEN..];
        let mut ahead = LookAhead::new(&descriptor, area);
        for _ in 0..3 {
            ahead.step(area);
        }
        assert_eq!(ahead.asked, SECOND + u32::MAX as usize);
        LookAhead::new(&descriptor, &[]).step(&[]);
    }

    #[test]
    fn the_descriptor_is_read_field_by_field() {
        let block = block();
        let descriptor = BlockDescriptor::parse(block.first_chunk().unwrap());
        let expected = BlockDescriptor {
            status: libc::TP_STATUS_USER | libc::TP_STATUS_BLK_TMO,
            packets: 3,
            first_frame: 48,
            len: (THIRD + 1088) as u32,
            sequence: 7,
            opened: Timestamp(1_000_000_002),
            last: Timestamp(12_999_999_999),
        };
        assert_eq!(descriptor, expected);
        assert!(descriptor.timed_out());
        assert!(!BlockDescriptor { status: libc::TP_STATUS_USER, ..descriptor }.timed_out());
    }

    #[test]
    fn a_header_is_read_field_by_field() {
        let data = [[1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12], [0x86, 0xdd, 0, 0, 0, 0]].concat();
        let mut builder = BlockBuilder::new(BLOCK, 6);
        let status = libc::TP_STATUS_CSUMNOTREADY | libc::TP_STATUS_TS_RAW_HARDWARE | TP_STATUS_GSO_TCP;
        let frame = BlockFrame {
            snaplen: 16,
            vlan: Some((0x88a8, 0xf00d)),
            status,
            ifindex: 77,
            packet_type: 4,
            ..BlockFrame::ethernet(&data, (5, 6))
        };
        assert!(builder.push(&frame));
        let block = builder.finish(false);
        let (frames, error, left) = walk(&block);
        assert_eq!((frames.len(), error, left), (1, None, 0));
        let expected = FrameHeader {
            data: 48 + 88,
            caplen: 16,
            orig_len: 18,
            network: 14,
            timestamp: Timestamp(5_000_000_006),
            status: status
                | libc::TP_STATUS_USER
                | libc::TP_STATUS_VLAN_VALID
                | libc::TP_STATUS_VLAN_TPID_VALID,
            vlan: Some(VlanTag { tpid: 0x88a8, tci: 0xf00d }),
            ifindex: 77,
            hardware_type: 1,
            protocol: 0x86dd,
            packet_type: PacketType::Outgoing,
            hardware_len: 6,
            hardware_address: [7, 8, 9, 10, 11, 12, 0, 0],
        };
        assert_eq!(frames[0], expected);
        assert_eq!(frames[0].bytes(&block[DESCRIPTOR_LEN..]), &data[..16]);
        assert_eq!(frames[0].bytes(&block[..60]), &[] as &[u8], "not the block it was read from");
        let header = frames[0];
        assert!(header.checksum_not_ready() && header.hardware_stamped() && header.segmentation_offloaded());
        assert!(!header.checksum_valid());
        assert!(FrameHeader { status: libc::TP_STATUS_CSUM_VALID, ..header }.checksum_valid());
    }

    #[test]
    fn a_tag_without_tpid_is_of_802_1q() {
        let mut block = block();
        put32(&mut block, 48 + 20, libc::TP_STATUS_USER | libc::TP_STATUS_VLAN_VALID);
        put32(&mut block, 48 + 32, 0xabcd);
        put16(&mut block, 48 + 36, 0x9100);
        assert_eq!(walk(&block).0[0].vlan, Some(VlanTag { tpid: 0x8100, tci: 0xabcd }));
        put32(&mut block, 48 + 20, libc::TP_STATUS_USER);
        assert_eq!(walk(&block).0[0].vlan, None);
    }

    #[test]
    fn a_block_without_frames_ends_at_once() {
        let mut block = block();
        put32(&mut block, 12, 0);
        put32(&mut block, 16, u32::MAX);
        assert_eq!(walk(&block), (Vec::new(), None, 0));
    }

    #[test]
    fn impossible_numbers_end_the_walk_where_they_stand() {
        use BlockError::{DataOutside, HeaderOutside, NextOverlaps};
        let first = DESCRIPTOR_LEN;
        let last_header = (BLOCK - FRAME_HEADERS_LEN) as u32;
        // What is written where, the error, and how many frames come before it.
        let cases: &[(usize, u32, BlockError, usize)] = &[
            // offset_to_first_pkt: in the descriptor, behind the block, partly behind it.
            (16, 0, HeaderOutside(0), 0),
            (16, 47, HeaderOutside(47), 0),
            (16, last_header + 1, HeaderOutside(BLOCK - FRAME_HEADERS_LEN + 1), 0),
            (16, BLOCK as u32, HeaderOutside(BLOCK), 0),
            (16, u32::MAX, HeaderOutside(u32::MAX as usize), 0),
            // tp_next_offset: nowhere, into itself, just before the end of the data, misaligned, outside.
            (first, 0, NextOverlaps(first), 1),
            (first, 68, NextOverlaps(first), 1),
            (first, 144, NextOverlaps(first), 1),
            (first, 153, NextOverlaps(first), 1),
            (first, 148, NextOverlaps(first), 1),
            (first, BLOCK as u32, HeaderOutside(first + BLOCK), 1),
            (first, u32::MAX - 7, HeaderOutside(first + u32::MAX as usize - 7), 1),
            (SECOND, 0, NextOverlaps(SECOND), 2),
            (SECOND, 0u32.wrapping_sub(152), HeaderOutside(SECOND + u32::MAX as usize + 1 - 152), 2),
            // tp_snaplen: one byte too many in the last frame, absurd ones, overlap of the next frame.
            (first + 12, u32::MAX, DataOutside(first), 0),
            (first + 12, (BLOCK - first - 88 + 1) as u32, DataOutside(first), 0),
            (first + 12, 65, NextOverlaps(first), 1),
            (THIRD + 12, (BLOCK - THIRD - 88 + 1) as u32, DataOutside(THIRD), 2),
            // tp_mac (with tp_net behind it): in the headers, outside.
            (first + 24, 0, DataOutside(first), 0),
            (first + 24, 67, DataOutside(first), 0),
            (first + 24, 0xffff, DataOutside(first), 0),
        ];
        for &(at, value, error, before) in cases {
            let mut block = block();
            put32(&mut block, at, value);
            let (frames, found, left) = walk(&block);
            assert_eq!((frames.len(), found), (before, Some(error)), "{value} at {at}");
            assert_eq!(left as usize, 3 - before, "{value} at {at}: what cannot be reached");
        }
    }

    #[test]
    fn the_last_possible_byte_is_not_impossible() {
        let mut block = block();
        put32(&mut block, THIRD + 12, (BLOCK - THIRD - 88) as u32);
        let (frames, error, _) = walk(&block);
        assert_eq!((frames.len(), error), (3, None));
        assert_eq!(frames[2].data + frames[2].caplen, BLOCK);
        // An empty frame whose headers end with the block.
        let mut block = vec![0; BLOCK];
        put32(&mut block, 12, 1);
        put32(&mut block, 16, (BLOCK - FRAME_HEADERS_LEN) as u32);
        put16(&mut block, BLOCK - FRAME_HEADERS_LEN + 24, FRAME_HEADERS_LEN as u16);
        let (frames, error, _) = walk(&block);
        assert_eq!((frames.len(), error, frames[0].caplen), (1, None, 0));
    }

    #[test]
    fn more_announced_than_there_are() {
        let mut block = block();
        put32(&mut block, 12, u32::MAX);
        let (frames, error, left) = walk(&block);
        assert_eq!((frames.len(), error), (3, Some(BlockError::NextOverlaps(THIRD))));
        assert_eq!(left, u32::MAX - 3);
    }

    #[test]
    fn a_block_cut_anywhere_never_panics() {
        let block = block();
        for len in DESCRIPTOR_LEN..block.len() {
            let (frames, error, _) = walk(&block[..len]);
            assert_eq!(error.is_none(), len >= THIRD + 88 + 1000, "{len}: {} frames", frames.len());
        }
    }

    /// What the module's documentation says, in numbers that cannot overflow and without a shared line of code.
    fn oracle(block: &[u8]) -> (Vec<(i64, i64)>, Option<&'static str>) {
        let word = |at: i64, len: i64| {
            let bytes: Vec<u8> = (at..at + len).map(|at| block[at as usize]).collect();
            bytes.iter().rev().fold(0_i64, |sum, byte| sum << 8 | i64::from(*byte))
        };
        let (size, announced) = (block.len() as i64, word(12, 4));
        let (mut frames, mut at) = (Vec::new(), word(16, 4));
        for number in 0..announced {
            if at < 48 || at + 68 > size {
                return (frames, Some("header"));
            }
            let (mac, caplen) = (word(at + 24, 2), word(at + 12, 4));
            if mac < 68 || at + mac + caplen > size {
                return (frames, Some("data"));
            }
            frames.push((at + mac, caplen));
            let next = at + word(at, 4);
            if number + 1 < announced && (next < at + mac + caplen || next % 8 != 0) {
                return (frames, Some("next"));
            }
            at = next;
        }
        (frames, None)
    }

    /// Little numbers, numbers near the block's size, and anything.
    fn number() -> impl Strategy<Value = u32> {
        prop_oneof![0_u32..200, 3800_u32..4200, any::<u32>(), (0_u32..600).prop_map(|eighth| eighth * 8)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn damaged_blocks_read_as_the_oracle_says(
            sizes in prop::collection::vec(0_usize..700, 0..12),
            reserve in 0_usize..16,
            damage in prop::collection::vec((0_usize..12, 0_usize..9, number()), 0..4),
        ) {
            let data = [0x5a; 700];
            let mut builder = BlockBuilder::new(BLOCK, reserve);
            let mut starts = vec![0];
            let mut at = DESCRIPTOR_LEN;
            for len in sizes {
                if builder.push(&BlockFrame::ethernet(&data[..len], (1, 2))) {
                    starts.push(at);
                    at += (82 + reserve + len).next_multiple_of(8);
                }
            }
            let mut block = builder.finish(false);
            for (frame, field, value) in damage {
                let start = starts[frame % starts.len()];
                // Of the descriptor the number of packets and the first one's place; any word of a frame.
                let at = if start == 0 { 12 + field % 2 * 4 } else { start + field * 4 };
                put32(&mut block, at, value);
            }
            let (frames, error, left) = walk(&block);
            let kind = error.map(|error| match error {
                BlockError::HeaderOutside(_) => "header",
                BlockError::DataOutside(_) => "data",
                BlockError::NextOverlaps(_) => "next",
            });
            let found = frames.iter().map(|frame| (frame.data as i64, frame.caplen as i64)).collect();
            prop_assert_eq!((found, kind), oracle(&block));
            let announced = u32::from_ne_bytes(block[12..16].try_into().unwrap());
            prop_assert_eq!(frames.len() as u32 + left, announced);
        }

        #[test]
        fn anything_at_all(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            fuzz(&bytes);
        }
    }
}
