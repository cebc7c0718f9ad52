//! Classic pcap: one header of 24 bytes, then records of a short header and the captured bytes.
//!
//! Source: draft-ietf-opsawg-pcap (2024) and libpcap's `sf-pcap.c` for what the draft leaves out.
//!
//! ```text
//! file    magic │ version │ zone │ accuracy │ snaplen │ link type, FCS length     24 bytes
//! record  seconds │ fraction │ captured length │ original length │ data           16 bytes + data
//! ```

mod read;
mod write;

pub(crate) use read::{Header, Variant};
pub use write::{FILE_HEADER, Precision, RECORD_HEADER, file_header, write_record, write_record_header};

/// Seconds and microseconds.
pub const MAGIC_MICRO: u32 = 0xa1b2_c3d4;
/// Seconds and nanoseconds.
pub const MAGIC_NANO: u32 = 0xa1b2_3c4d;
/// Alexey Kuznetzov's modified libpcap: microseconds; the record header goes on with the interface's index
/// (32 bits), its protocol (16), the packet type (8) and a byte of padding.
pub const MAGIC_KUZNETZOV: u32 = 0xa1b2_cd34;
/// netsniff-ng (`pcap_io.h`, `pcap_pkthdr_bkm`): nanoseconds; the record header goes on with the source of the
/// time stamp, the interface's index, its protocol (16 bits each), hardware type and packet type (8 each).
pub const MAGIC_NETSNIFF: u32 = 0xa1e2_cb12;
