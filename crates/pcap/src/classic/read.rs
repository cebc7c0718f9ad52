//! Reading: any magic number, either byte order.

use gannet_packet::{LinkType, PacketType, Timestamp};

use super::{FILE_HEADER, MAGIC_KUZNETZOV, MAGIC_MICRO, MAGIC_NANO, MAGIC_NETSNIFF, RECORD_HEADER};
use crate::decode::{Decoded, Step, u16_at, u32_at};
use crate::{Interface, MAX_RECORD, Reason, Resolution};

/// Which of the formats with the same file header this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    Micro,
    Nano,
    Kuznetzov,
    Netsniff,
}

impl Variant {
    /// The variant and whether the file is big endian.
    pub(crate) fn from_magic(bytes: [u8; 4]) -> Option<(Self, bool)> {
        let known = |magic| match magic {
            MAGIC_MICRO => Some(Self::Micro),
            MAGIC_NANO => Some(Self::Nano),
            MAGIC_KUZNETZOV => Some(Self::Kuznetzov),
            MAGIC_NETSNIFF => Some(Self::Netsniff),
            _ => None,
        };
        let little = known(u32::from_le_bytes(bytes)).map(|variant| (variant, false));
        little.or_else(|| known(u32::from_be_bytes(bytes)).map(|variant| (variant, true)))
    }

    /// Nanoseconds in one unit of the fraction.
    fn unit_ns(self) -> u64 {
        match self {
            Self::Micro | Self::Kuznetzov => 1000,
            Self::Nano | Self::Netsniff => 1,
        }
    }

    /// Bytes before the data of a record.
    fn record_header(self) -> usize {
        match self {
            Self::Micro | Self::Nano => RECORD_HEADER,
            Self::Kuznetzov | Self::Netsniff => PATCHED_RECORD_HEADER,
        }
    }
}

/// The order in which a record's two lengths stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lengths {
    /// Captured length first, as in every file of version 2.4.
    CapturedFirst,
    /// Original length first: versions before 2.3, and DG/UX's 543.
    OriginalFirst,
    /// Version 2.3 was written both ways: the smaller one is the captured length (libpcap `sf-pcap.c`).
    SmallerIsCaptured,
}

/// What the file header says.
#[derive(Debug)]
pub(crate) struct Header {
    variant: Variant,
    big_endian: bool,
    lengths: Lengths,
    link_type: LinkType,
    snaplen: u32,
    fcs_bytes: Option<u8>,
}

impl Header {
    /// Reads the header at the start of `bytes`; `None` if it is cut off or the magic is not ours.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Result<Self, Reason>> {
        let header = bytes.get(..FILE_HEADER)?;
        let (variant, big_endian) = Variant::from_magic(header[..4].try_into().ok()?)?;
        let major = u16_at(header, 4, big_endian)?;
        let minor = u16_at(header, 6, big_endian)?;
        let lengths = match (major, minor) {
            (2, 0..=2) | (543, _) => Lengths::OriginalFirst,
            (2, 3) => Lengths::SmallerIsCaptured,
            (2, _) => Lengths::CapturedFirst,
            _ => return Some(Err(Reason::Version(major, minor))),
        };
        // "FCS length ... in 16-bit words" in the top four bits, valid if bit 26 is set; link type in the lower 16.
        let link = u32_at(header, 20, big_endian)?;
        let fcs_bytes = (link & 0x0400_0000 != 0).then_some((link >> 28) as u8 * 2);
        Some(Ok(Self {
            variant,
            big_endian,
            lengths,
            link_type: LinkType::of_file(link as u16),
            snaplen: u32_at(header, 16, big_endian)?,
            fcs_bytes,
        }))
    }

    pub(crate) fn big_endian(&self) -> bool {
        self.big_endian
    }

    /// The file's one interface.
    pub(crate) fn interface(&self) -> Interface {
        Interface {
            resolution: match self.variant.unit_ns() {
                1 => Resolution::Decimal(9),
                _ => Resolution::Decimal(6),
            },
            fcs_bytes: self.fcs_bytes,
            big_endian: self.big_endian,
            ..Interface::new(self.link_type, self.snaplen)
        }
    }

    /// The record at the start of `window`.
    #[inline(always)]
    pub(crate) fn step(&self, window: &[u8]) -> Step {
        self.record(window).unwrap_or(Step::Need { len: self.variant.record_header() })
    }

    /// Whether records are those that nearly every file has: little endian, with a header of 16 bytes and the
    /// captured length first. [`usual`](Self::usual) reads them.
    pub(crate) fn is_usual(&self) -> bool {
        matches!(self.variant, Variant::Micro | Variant::Nano)
            && matches!(self.lengths, Lengths::CapturedFirst)
            && !self.big_endian
    }

    /// The whole usual record at the start of `window`; `None` if [`step`](Self::step) has to say what is there.
    ///
    /// Where this finds a record, `step` finds the same: a test holds them against each other.
    #[inline(always)]
    pub(crate) fn usual<'a>(&self, window: &'a [u8]) -> Option<Usual<'a>> {
        let (words, _) = window.first_chunk::<RECORD_HEADER>()?.as_chunks::<4>();
        let [seconds, fraction, caplen, orig_len] =
            [0, 1, 2, 3].map(|at: usize| u32::from_le_bytes(words[at]));
        if caplen > MAX_RECORD {
            return None;
        }
        let data = window.get(RECORD_HEADER..RECORD_HEADER + caplen as usize)?;
        let unit_ns = if self.variant == Variant::Nano { 1 } else { 1000 };
        let nanos = u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * unit_ns;
        Some(Usual { data, timestamp: Timestamp(nanos), orig_len, link_type: self.link_type })
    }

    /// `None` if the header of the record is not whole.
    #[inline(always)]
    fn record(&self, window: &[u8]) -> Option<Step> {
        let header_len = self.variant.record_header();
        let header = window.get(..header_len)?;
        // All variants begin alike: within these bytes nothing has to be asked again.
        let (words, _) = header.first_chunk::<RECORD_HEADER>()?.as_chunks::<4>();
        let word = |at: usize| {
            let word = u32::from_le_bytes(words[at]);
            if self.big_endian { word.swap_bytes() } else { word }
        };
        let (seconds, fraction, first, second) = (word(0), word(1), word(2), word(3));
        let (caplen, orig_len) = match self.lengths {
            Lengths::CapturedFirst => (first, second),
            Lengths::OriginalFirst => (second, first),
            Lengths::SmallerIsCaptured => (first.min(second), first.max(second)),
        };
        if caplen > MAX_RECORD {
            return Some(Step::Damaged(Reason::RecordLength(caplen)));
        }
        let len = header_len + caplen as usize;
        if window.len() < len {
            return Some(Step::Need { len });
        }
        let packet_type = match self.variant {
            Variant::Micro | Variant::Nano => PacketType::default(),
            Variant::Kuznetzov => PacketType::from_kernel(header[22]),
            Variant::Netsniff => PacketType::from_kernel(header[23]),
        };
        // A fraction of more than a second is carried over, as every reader does. At most 2^32 seconds twice.
        let nanos = u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * self.variant.unit_ns();
        let packet = Decoded {
            data: header_len..len,
            timestamp: Timestamp(nanos),
            orig_len,
            link_type: self.link_type,
            interface: 0,
            packet_type,
            flags: None,
            dropped: None,
        };
        Some(Step::Packet { len, packet })
    }
}

/// A usual record.
pub(crate) struct Usual<'a> {
    pub(crate) data: &'a [u8],
    pub(crate) timestamp: Timestamp,
    pub(crate) orig_len: u32,
    pub(crate) link_type: LinkType,
}

/// Bytes of a record header with an interface's index, protocol and packet type.
const PATCHED_RECORD_HEADER: usize = 24;
