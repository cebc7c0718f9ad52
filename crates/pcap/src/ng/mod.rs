//! pcapng: what its blocks are made of, and the functions that write them.
//!
//! Source: draft-ietf-opsawg-pcapng (the version of 2024). A file is a chain of blocks, each with its length at
//! both ends, so that it can be walked either way and unknown types can be stepped over:
//!
//! ```text
//!  0           4              8                                  T-4            T
//!  ├───────────┼──────────────┼──────────────────────────────────┼──────────────┤
//!  │ type      │ total length │ body, padded to 4 bytes          │ total length │
//!  └───────────┴──────────────┴──────────────────────────────────┴──────────────┘
//! ```
//!
//! Everything written here is little endian with nanosecond time stamps (`if_tsresol` 9).

mod blocks;
pub mod marker;
mod options;
mod packet;
mod read;

pub use blocks::{
    Interface, Section, Statistics, interface_description, interface_statistics, section_header,
};
pub use packet::{
    ENHANCED_PACKET_HEADER, MAX_FILLER, MIN_BLOCK, enhanced_packet_len, epb_flags, filler_piece, packet_type,
    write_around_packet, write_enhanced_packet, write_filler,
};

pub(crate) use read::Chain;

/// Section Header Block: a palindrome, so that it is known before the byte order is.
pub const SECTION_HEADER: u32 = 0x0a0d_0d0a;
/// Interface Description Block.
pub const INTERFACE_DESCRIPTION: u32 = 1;
/// Packet Block, obsolete since 2004 and still met.
pub const OBSOLETE_PACKET: u32 = 2;
/// Simple Packet Block: data only, no time.
pub const SIMPLE_PACKET: u32 = 3;
/// Interface Statistics Block.
pub const INTERFACE_STATISTICS: u32 = 5;
/// Enhanced Packet Block.
pub const ENHANCED_PACKET: u32 = 6;
/// The type of our own blocks, fillers and [`marker`]s: in the range the draft leaves to local use ("GNT" with
/// the top bit set). tcpdump, tshark, capinfos, editcap and mergecap step over it without a word.
pub const LOCAL: u32 = 0x8047_4e54;

/// The section header's byte-order magic as its writer's byte order shows it.
pub const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

/// Option codes, grouped by the block they belong to.
pub(crate) mod option {
    pub(crate) const END: u16 = 0;
    pub(crate) const COMMENT: u16 = 1;

    pub(crate) const SHB_HARDWARE: u16 = 2;
    pub(crate) const SHB_OS: u16 = 3;
    pub(crate) const SHB_USERAPPL: u16 = 4;

    pub(crate) const IF_NAME: u16 = 2;
    pub(crate) const IF_DESCRIPTION: u16 = 3;
    pub(crate) const IF_SPEED: u16 = 8;
    pub(crate) const IF_TSRESOL: u16 = 9;
    pub(crate) const IF_FILTER: u16 = 11;
    pub(crate) const IF_OS: u16 = 12;
    pub(crate) const IF_FCSLEN: u16 = 13;
    pub(crate) const IF_TSOFFSET: u16 = 14;

    pub(crate) const ISB_STARTTIME: u16 = 2;
    pub(crate) const ISB_ENDTIME: u16 = 3;
    pub(crate) const ISB_IFRECV: u16 = 4;
    pub(crate) const ISB_IFDROP: u16 = 5;
    pub(crate) const ISB_FILTERACCEPT: u16 = 6;
    pub(crate) const ISB_OSDROP: u16 = 7;
    pub(crate) const ISB_USRDELIV: u16 = 8;

    pub(crate) const EPB_FLAGS: u16 = 2;
    pub(crate) const EPB_DROPCOUNT: u16 = 4;
}
