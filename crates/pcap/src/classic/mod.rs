//! Classic pcap: one header of 24 bytes, then records of a short header and the captured bytes.
//!
//! Source: draft-ietf-opsawg-pcap (2024) and libpcap's `sf-pcap.c` for what the draft leaves out.

mod write;

pub use write::{FILE_HEADER, Precision, RECORD_HEADER, file_header, write_record};

/// Seconds and microseconds.
pub const MAGIC_MICRO: u32 = 0xa1b2_c3d4;
/// Seconds and nanoseconds.
pub const MAGIC_NANO: u32 = 0xa1b2_3c4d;
