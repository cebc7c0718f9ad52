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

/// Frames begin on multiples of this (`V3_ALIGNMENT` in `net/packet/af_packet.c`).
const FRAME_ALIGNMENT: usize = 8;

/// Missing from the `libc` crate.
const TP_STATUS_GSO_TCP: u32 = 1 << 8;

const _: () = {
    assert!(size_of::<libc::tpacket_block_desc>() == DESCRIPTOR_LEN);
    assert!(size_of::<libc::tpacket3_hdr>() == FRAME_HEADER_LEN);
    assert!(size_of::<libc::sockaddr_ll>() == FRAME_HEADERS_LEN - FRAME_HEADER_LEN);
};
