//! Writing: little endian, microseconds or nanoseconds.

use gannet_packet::{LinkType, Timestamp};

/// Bytes of the file header.
pub const FILE_HEADER: usize = 24;
/// Bytes of a record before the captured data.
pub const RECORD_HEADER: usize = 16;

/// The unit of the fraction of a second in a file's time stamps, told by the file's magic number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Magic 0xa1b2c3d4, which every program reads.
    Micro,
    /// Magic 0xa1b23c4d.
    Nano,
}

impl Precision {
    /// The magic number of a file of this precision.
    #[must_use]
    pub fn magic(self) -> u32 {
        match self {
            Self::Micro => super::MAGIC_MICRO,
            Self::Nano => super::MAGIC_NANO,
        }
    }

    /// Nanoseconds in one unit.
    #[must_use]
    pub fn unit_ns(self) -> u32 {
        match self {
            Self::Micro => 1000,
            Self::Nano => 1,
        }
    }
}

/// The file header: version 2.4, little endian. `snaplen` is the longest captured length in bytes.
#[must_use]
pub fn file_header(precision: Precision, link_type: LinkType, snaplen: u32) -> [u8; FILE_HEADER] {
    let mut header = [0; FILE_HEADER];
    header[..4].copy_from_slice(&precision.magic().to_le_bytes());
    header[4..6].copy_from_slice(&2_u16.to_le_bytes());
    header[6..8].copy_from_slice(&4_u16.to_le_bytes());
    // Time zone and accuracy stay 0, as every writer leaves them.
    header[16..20].copy_from_slice(&snaplen.to_le_bytes());
    header[20..24].copy_from_slice(&u32::from(link_type.0).to_le_bytes());
    header
}

/// Writes a record to the start of `dst` and returns its length, [`RECORD_HEADER`] plus the data's.
///
/// `orig_len` is the length on the wire. A time past the year 2106 does not fit the format's 32-bit seconds and
/// is written as the last second before. Returns 0 and writes nothing if `dst` is too short or `data` does not
/// fit a 32-bit length.
#[inline]
pub fn write_record(
    dst: &mut [u8],
    precision: Precision,
    timestamp: Timestamp,
    orig_len: u32,
    data: &[u8],
) -> usize {
    let total = RECORD_HEADER + data.len();
    if dst.len() < total || write_record_header(dst, precision, timestamp, orig_len, data.len()) == 0 {
        return 0;
    }
    dst[RECORD_HEADER..total].copy_from_slice(data);
    total
}

/// Writes only the header of a record of `caplen` bytes, which the caller puts behind it. Returns the length of the
/// whole record, or 0 if `caplen` does not fit 32 bits or `dst` has no room for the header.
#[inline]
pub fn write_record_header(
    dst: &mut [u8],
    precision: Precision,
    timestamp: Timestamp,
    orig_len: u32,
    caplen: usize,
) -> usize {
    let Ok(caplen_u32) = u32::try_from(caplen) else { return 0 };
    let Some(record) = dst.get_mut(..RECORD_HEADER) else { return 0 };
    let secs = u32::try_from(timestamp.secs()).unwrap_or(u32::MAX);
    let fraction = timestamp.subsec_nanos() / precision.unit_ns();
    record[..4].copy_from_slice(&secs.to_le_bytes());
    record[4..8].copy_from_slice(&fraction.to_le_bytes());
    record[8..12].copy_from_slice(&caplen_u32.to_le_bytes());
    record[12..16].copy_from_slice(&orig_len.to_le_bytes());
    RECORD_HEADER + caplen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_header_bytes() {
        #[rustfmt::skip]
        let expected = [
            0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0x14, 1, 0, 0,
        ];
        assert_eq!(file_header(Precision::Micro, LinkType::SLL2, 262_144), expected);
        assert_eq!(file_header(Precision::Nano, LinkType::SLL2, 1)[..4], [0x4d, 0x3c, 0xb2, 0xa1]);
    }

    #[test]
    fn record_bytes() {
        let mut dst = [0xaa; 20];
        let time = Timestamp(5_000_006_007);
        assert_eq!(write_record(&mut dst, Precision::Micro, time, 9, b"abc"), 19);
        assert_eq!(dst[..16], [5, 0, 0, 0, 6, 0, 0, 0, 3, 0, 0, 0, 9, 0, 0, 0]);
        assert_eq!(dst[16..], *b"abc\xaa");
        write_record(&mut dst, Precision::Nano, time, 9, b"abc");
        assert_eq!(dst[4..8], 6007_u32.to_le_bytes());
        assert_eq!(write_record(&mut dst[..18], Precision::Nano, time, 9, b"abc"), 0);
    }
}
