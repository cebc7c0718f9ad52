//! The bodies of fuzz targets that need more than one crate; the others' are in the crates themselves.

mod contents;

pub use contents::contents;

/// Reads any bytes as a classic pcap file: the first byte chooses one of the magic numbers.
pub fn pcap(data: &[u8]) {
    let Some((selector, rest)) = data.split_first() else { return };
    let magic = PCAP_MAGICS[usize::from(selector >> 1) % PCAP_MAGICS.len()];
    let magic = if selector & 1 == 0 { magic.to_le_bytes() } else { magic.to_be_bytes() };
    gannet_pcap::fuzz::read(&[&magic, rest].concat());
}

/// Reads any bytes as a pcapng file: the section header's type comes first in all of them.
pub fn pcapng(data: &[u8]) {
    gannet_pcap::fuzz::read(&[&SECTION_HEADER, data].concat());
}

/// Microseconds, nanoseconds, and the two variants with longer record headers.
pub const PCAP_MAGICS: [u32; 4] = [0xa1b2_c3d4, 0xa1b2_3c4d, 0xa1b2_cd34, 0xa1e2_cb12];

/// Block type of a section header, the same in both byte orders.
pub const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
