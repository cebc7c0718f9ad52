//! An interface as a capture file describes it, and its clock.

use gannet_packet::{LinkType, Timestamp};

use crate::ng::Statistics;

/// An interface of a capture file. A classic file has one, without a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// What its packets start with.
    pub link_type: LinkType,
    /// The longest captured length in bytes that the writer meant; 0 = no limit. Packets may break it.
    pub snaplen: u32,
    /// The capturing system's name for it; empty if not told.
    pub name: String,
    /// A description; empty if not told.
    pub description: String,
    /// The unit of its time stamps.
    pub resolution: Resolution,
    /// Seconds to add to every time stamp (`if_tsoffset`).
    pub offset_s: i64,
    /// Bytes of frame check sequence at the end of every packet, if told.
    pub fcs_bytes: Option<u8>,
    /// Number of the section (from 0) that describes it.
    pub section: u32,
    /// Its part of the file is big-endian, as the capturing machine was: the byte order of what `LinkType::NULL`
    /// begins with.
    pub big_endian: bool,
    /// The latest statistics for it, met so far.
    pub statistics: Option<Statistics>,
}

impl Interface {
    /// An interface of which nothing but link type and snaplen is known.
    pub(crate) fn new(link_type: LinkType, snaplen: u32) -> Self {
        Self {
            link_type,
            snaplen,
            name: String::new(),
            description: String::new(),
            resolution: Resolution::default(),
            offset_s: 0,
            fcs_bytes: None,
            section: 0,
            big_endian: false,
            statistics: None,
        }
    }

    /// The time that `ticks` of this interface's clock are, cut to what [`Timestamp`] can hold.
    #[inline]
    pub(crate) fn time(&self, ticks: u64) -> Timestamp {
        if self.offset_s == 0 {
            return Timestamp(self.resolution.nanos(ticks));
        }
        let nanos = self.resolution.nanos_wide(ticks);
        let nanos = i128::try_from(nanos).unwrap_or(i128::MAX);
        let nanos = nanos.saturating_add(i128::from(self.offset_s) * 1_000_000_000);
        Timestamp(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
    }
}

/// The unit of time stamps (`if_tsresol`, draft section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// 10^-n seconds; n is at most 127.
    Decimal(u8),
    /// 2^-n seconds; n is at most 127.
    Binary(u8),
}

impl Default for Resolution {
    /// "If this option is not present, a resolution of 10^-6 is assumed".
    fn default() -> Self {
        Self::Decimal(6)
    }
}

impl Resolution {
    /// From the option's byte: the top bit chooses base 2, the rest is the exponent.
    pub(crate) fn from_option(byte: u8) -> Self {
        if byte & 0x80 == 0 { Self::Decimal(byte) } else { Self::Binary(byte & 0x7f) }
    }

    /// `ticks` in nanoseconds, rounded down; [`u64::MAX`] if there are more.
    #[inline]
    fn nanos(self, ticks: u64) -> u64 {
        match self {
            Self::Decimal(9) => ticks,
            Self::Decimal(6) => ticks.saturating_mul(1000),
            _ => u64::try_from(self.nanos_wide(ticks)).unwrap_or(u64::MAX),
        }
    }

    /// `ticks` in nanoseconds, rounded down. 2^64 ticks of a second each are less than 2^94 ns.
    fn nanos_wide(self, ticks: u64) -> u128 {
        let ticks = u128::from(ticks);
        match self {
            Self::Decimal(n @ ..=9) => ticks * 10_u128.pow(u32::from(9 - n)),
            // 10^38 is the last power that fits; from 10^20 on nothing is left of 2^64 ticks anyway.
            Self::Decimal(n) => ticks / 10_u128.pow(u32::from(n - 9).min(38)),
            Self::Binary(n) => (ticks * 1_000_000_000) >> n.min(127),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(resolution: Resolution, offset_s: i64, ticks: u64) -> u64 {
        Interface { resolution, offset_s, ..Interface::new(LinkType::ETHERNET, 0) }.time(ticks).0
    }

    #[test]
    fn both_bases() {
        use Resolution::{Binary, Decimal};
        for (resolution, ticks, nanos) in [
            (Decimal(0), 7, 7_000_000_000),
            (Decimal(3), 7, 7_000_000),
            (Decimal(6), 7, 7_000),
            (Decimal(9), 7, 7),
            (Decimal(12), 6_999, 6),
            (Decimal(127), u64::MAX, 0),
            (Binary(0), 3, 3_000_000_000),
            (Binary(1), 3, 1_500_000_000),
            (Binary(10), 1, 976_562),
            (Binary(32), 1 << 31, 500_000_000),
            (Binary(127), u64::MAX, 0),
            // More than a time stamp holds.
            (Decimal(0), u64::MAX, u64::MAX),
            (Decimal(6), u64::MAX, u64::MAX),
            (Binary(0), u64::MAX, u64::MAX),
            (Decimal(9), u64::MAX, u64::MAX),
        ] {
            assert_eq!(time(resolution, 0, ticks), nanos, "{resolution:?} {ticks}");
        }
        assert_eq!(Resolution::from_option(0x8a), Binary(10));
        assert_eq!(Resolution::from_option(9), Decimal(9));
    }

    #[test]
    fn offsets_are_signed_and_saturate() {
        let nano = Resolution::Decimal(9);
        assert_eq!(time(nano, 2, 5), 2_000_000_005);
        assert_eq!(time(nano, -2, 3_000_000_000), 1_000_000_000);
        assert_eq!(time(nano, -2, 5), 0);
        assert_eq!(time(nano, i64::MIN, u64::MAX), 0);
        assert_eq!(time(nano, i64::MAX, u64::MAX), u64::MAX);
        // The sum counts, not its parts: ticks beyond the range with an offset that brings them back.
        assert_eq!(time(Resolution::Decimal(0), -20_000_000_000, 20_000_000_001), 1_000_000_000);
    }
}
