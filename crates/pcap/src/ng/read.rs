//! Reading a chain of blocks.

use gannet_packet::{LinkType, PacketType, Timestamp};

use super::options::Options;
use super::{
    BYTE_ORDER_MAGIC, ENHANCED_PACKET, ENHANCED_PACKET_HEADER, INTERFACE_DESCRIPTION, INTERFACE_STATISTICS,
    MIN_BLOCK, OBSOLETE_PACKET, SECTION_HEADER, SIMPLE_PACKET, Statistics, option, packet_type,
};
use crate::decode::{Decoded, Step, u16_at, u32_at, u64_at};
use crate::{Interface, MAX_BLOCK, MAX_INTERFACES, Reason, Resolution};

/// What the blocks so far have said about those to come.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    big_endian: bool,
    /// Sections begun.
    sections: u32,
    /// Index of the section's first interface in the reader's table, which holds those of all sections.
    first_interface: usize,
    /// All but the trailing length of a block has been skipped: here is what it must be.
    trailing_length: Option<u32>,
}

impl Chain {
    /// The block at the start of `window`.
    #[inline]
    pub(crate) fn step(&mut self, window: &[u8], interfaces: &mut Vec<Interface>) -> Step {
        if let Some(first) = self.trailing_length {
            return self.trailer(window, first);
        }
        // A section header tells its byte order only after its length.
        let (Some(block_type), Some(length)) =
            (u32_at(window, 0, self.big_endian), u32_at(window, 4, self.big_endian))
        else {
            return Step::Need { len: 8 };
        };
        let step = match block_type {
            SECTION_HEADER => self.section(window, interfaces),
            INTERFACE_DESCRIPTION
            | OBSOLETE_PACKET
            | SIMPLE_PACKET
            | INTERFACE_STATISTICS
            | ENHANCED_PACKET => match whole(window, block_type, length, self.big_endian) {
                Err(step) => Ok(step),
                Ok(block) => match block_type {
                    ENHANCED_PACKET => self.enhanced_packet(block, interfaces),
                    INTERFACE_DESCRIPTION => self.interface(block, interfaces),
                    INTERFACE_STATISTICS => self.statistics(block, interfaces),
                    SIMPLE_PACKET => self.simple_packet(block, interfaces),
                    _ => self.obsolete_packet(block, interfaces),
                },
            },
            0 if length == 0 => Err(Reason::Zeros),
            _ => self.unknown(block_type, length),
        };
        step.unwrap_or_else(Step::Damaged)
    }

    /// Bytes of the current block that have been skipped already.
    #[inline]
    pub(crate) fn pending(&self) -> u64 {
        self.trailing_length.map_or(0, |length| u64::from(length) - 4)
    }

    /// Gives up the block begun.
    pub(crate) fn forget(&mut self) {
        self.trailing_length = None;
    }

    /// The byte order of the current section.
    pub(crate) fn big_endian(&self) -> bool {
        self.big_endian
    }

    /// Index of the section's first interface in the reader's table.
    pub(crate) fn first_interface(&self) -> usize {
        self.first_interface
    }

    /// Steps over a block of any length that has nothing to say to us, then looks at its trailing length: the
    /// block need not be in memory as a whole.
    fn unknown(&mut self, block_type: u32, length: u32) -> Result<Step, Reason> {
        if length < MIN_BLOCK as u32 || !length.is_multiple_of(4) {
            return Err(Reason::BlockLength { block_type, length });
        }
        self.trailing_length = Some(length);
        Ok(Step::Skip { len: u64::from(length) - 4 })
    }

    fn trailer(&mut self, window: &[u8], first: u32) -> Step {
        match u32_at(window, 0, self.big_endian) {
            None => Step::Need { len: 4 },
            Some(last) if last == first => {
                self.trailing_length = None;
                Step::Skip { len: 4 }
            }
            Some(last) => Step::Damaged(Reason::LengthsDiffer { first, last }),
        }
    }

    fn section(&mut self, window: &[u8], interfaces: &[Interface]) -> Result<Step, Reason> {
        let Some(magic) = u32_at(window, 8, false) else { return Ok(Step::Need { len: 12 }) };
        let big_endian = match magic {
            BYTE_ORDER_MAGIC => false,
            _ if magic.swap_bytes() == BYTE_ORDER_MAGIC => true,
            _ => return Err(Reason::ByteOrder(magic)),
        };
        let length = u32_at(window, 4, big_endian).unwrap_or_default();
        let block = match whole(window, SECTION_HEADER, length, big_endian) {
            Ok(block) => block,
            Err(step) => return Ok(step),
        };
        let bad_length = || Reason::BlockLength { block_type: SECTION_HEADER, length };
        let major = u16_at(block, 12, big_endian).ok_or_else(bad_length)?;
        let minor = u16_at(block, 14, big_endian).ok_or_else(bad_length)?;
        if block.len() < SECTION_FIXED {
            return Err(bad_length());
        }
        if major != 1 {
            return Err(Reason::Version(major, minor));
        }
        self.big_endian = big_endian;
        self.sections += 1;
        self.first_interface = interfaces.len();
        Ok(Step::Skip { len: u64::from(length) })
    }

    fn interface(&self, block: &[u8], interfaces: &mut Vec<Interface>) -> Result<Step, Reason> {
        let big_endian = self.big_endian;
        let fixed = u16_at(block, 8, big_endian).zip(u32_at(block, 12, big_endian));
        let (Some((link_type, snaplen)), Some(options)) = (fixed, options(block, INTERFACE_FIXED)) else {
            return Err(too_short(INTERFACE_DESCRIPTION, block));
        };
        if interfaces.len() >= MAX_INTERFACES {
            return Err(Reason::TooManyInterfaces);
        }
        let mut interface = Interface::new(LinkType::of_file(link_type), snaplen);
        interface.section = self.sections.saturating_sub(1);
        interface.big_endian = big_endian;
        for (code, value) in Options::new(options, big_endian) {
            match (code, value) {
                (option::IF_NAME, _) => interface.name = text(value),
                (option::IF_DESCRIPTION, _) => interface.description = text(value),
                (option::IF_TSRESOL, &[byte]) => interface.resolution = Resolution::from_option(byte),
                (option::IF_FCSLEN, &[byte]) => interface.fcs_bytes = Some(byte),
                (option::IF_TSOFFSET, _) => {
                    interface.offset_s = u64_at(value, 0, big_endian).unwrap_or_default().cast_signed();
                }
                _ => {}
            }
        }
        interfaces.push(interface);
        Ok(Step::Skip { len: block.len() as u64 })
    }

    fn statistics(&self, block: &[u8], interfaces: &mut [Interface]) -> Result<Step, Reason> {
        let big_endian = self.big_endian;
        let (Some(number), Some(options)) = (u32_at(block, 8, big_endian), options(block, STATISTICS_FIXED))
        else {
            return Err(too_short(INTERFACE_STATISTICS, block));
        };
        let skip = Step::Skip { len: block.len() as u64 };
        let index = self.first_interface.saturating_add(number as usize);
        // Statistics of an interface that was never described say nothing to anybody.
        let Some(interface) = interfaces.get_mut(index) else { return Ok(skip) };
        let mut statistics = Statistics::default();
        for (code, value) in Options::new(options, big_endian) {
            let count = u64_at(value, 0, big_endian);
            let time = || ticks(value, 0, big_endian).map(|ticks| interface.time(ticks));
            match code {
                option::ISB_STARTTIME => statistics.start = time(),
                option::ISB_ENDTIME => statistics.end = time(),
                option::ISB_IFRECV => statistics.received = count,
                option::ISB_IFDROP => statistics.dropped = count,
                option::ISB_FILTERACCEPT => statistics.filter_accepted = count,
                option::ISB_OSDROP => statistics.os_dropped = count,
                option::ISB_USRDELIV => statistics.delivered = count,
                _ => {}
            }
        }
        interface.statistics = Some(statistics);
        Ok(skip)
    }

    #[inline]
    fn enhanced_packet(&self, block: &[u8], interfaces: &[Interface]) -> Result<Step, Reason> {
        let big_endian = self.big_endian;
        let word = |at| u32_at(block, at, big_endian);
        let (Some(number), Some(ticks), Some(caplen), Some(orig_len)) =
            (word(8), ticks(block, 12, big_endian), word(20), word(24))
        else {
            return Err(too_short(ENHANCED_PACKET, block));
        };
        // The lengths first: only a packet that is whole otherwise is told to be of an unknown interface.
        let body = Body::new(ENHANCED_PACKET, block, ENHANCED_PACKET_HEADER, caplen)?;
        let (index, interface) = self.described(number, interfaces)?;
        let mut flags = None;
        let mut dropped = None;
        for (code, value) in Options::new(body.options, big_endian) {
            match code {
                option::EPB_FLAGS => flags = u32_at(value, 0, big_endian),
                option::EPB_DROPCOUNT => dropped = u64_at(value, 0, big_endian),
                _ => {}
            }
        }
        Ok(body.packet(interface, index, interface.time(ticks), orig_len, flags, dropped))
    }

    /// Interface and count of drops are 16 bits here, and 0xffff drops are "not known" (draft appendix A).
    fn obsolete_packet(&self, block: &[u8], interfaces: &[Interface]) -> Result<Step, Reason> {
        let big_endian = self.big_endian;
        let short = |at| u16_at(block, at, big_endian);
        let word = |at| u32_at(block, at, big_endian);
        let (Some(number), Some(drops), Some(ticks), Some(caplen), Some(orig_len)) =
            (short(8), short(10), ticks(block, 12, big_endian), word(20), word(24))
        else {
            return Err(too_short(OBSOLETE_PACKET, block));
        };
        let (index, interface) = self.described(u32::from(number), interfaces)?;
        let body = Body::new(OBSOLETE_PACKET, block, ENHANCED_PACKET_HEADER, caplen)?;
        let flags = Options::new(body.options, big_endian)
            .filter(|&(code, _)| code == option::EPB_FLAGS)
            .find_map(|(_, value)| u32_at(value, 0, big_endian));
        let dropped = (drops != u16::MAX).then_some(u64::from(drops));
        Ok(body.packet(interface, index, interface.time(ticks), orig_len, flags, dropped))
    }

    /// "The captured length ... is the minimum of the Original Packet Length and the SnapLen" of interface 0.
    fn simple_packet(&self, block: &[u8], interfaces: &[Interface]) -> Result<Step, Reason> {
        let Some(orig_len) = u32_at(block, 8, self.big_endian) else {
            return Err(too_short(SIMPLE_PACKET, block));
        };
        let (index, interface) = self.described(0, interfaces)?;
        let room = (block.len() as u32).saturating_sub(SIMPLE_FIXED as u32 + 4);
        let snaplen = if interface.snaplen == 0 { u32::MAX } else { interface.snaplen };
        let body = Body::new(SIMPLE_PACKET, block, SIMPLE_FIXED, orig_len.min(snaplen).min(room))?;
        Ok(body.packet(interface, index, Timestamp(0), orig_len, None, None))
    }

    /// The section's interface `number` and its index in the reader's table.
    #[inline]
    fn described<'i>(
        &self,
        number: u32,
        interfaces: &'i [Interface],
    ) -> Result<(u32, &'i Interface), Reason> {
        let index = self.first_interface.saturating_add(number as usize);
        interfaces.get(index).map(|interface| (index as u32, interface)).ok_or_else(|| {
            Reason::UnknownInterface {
                interface: number,
                described: (interfaces.len() - self.first_interface) as u32,
            }
        })
    }
}

/// The block at the start of `window` once it is whole and both its lengths agree; the step to take otherwise.
#[inline]
fn whole(window: &[u8], block_type: u32, length: u32, big_endian: bool) -> Result<&[u8], Step> {
    if length < MIN_BLOCK as u32 || length > MAX_BLOCK || !length.is_multiple_of(4) {
        return Err(Step::Damaged(Reason::BlockLength { block_type, length }));
    }
    let len = length as usize;
    let block = window.get(..len).ok_or(Step::Need { len })?;
    match u32_at(block, len - 4, big_endian) {
        Some(last) if last == length => Ok(block),
        last => Err(Step::Damaged(Reason::LengthsDiffer { first: length, last: last.unwrap_or_default() })),
    }
}

/// A packet block taken apart.
struct Body<'a> {
    /// Length of the block.
    len: usize,
    data: std::ops::Range<usize>,
    options: &'a [u8],
}

impl<'a> Body<'a> {
    /// `fixed` bytes, `caplen` bytes of data, padding, options, trailing length. A writer that left the padding
    /// out is forgiven.
    #[inline]
    fn new(block_type: u32, block: &'a [u8], fixed: usize, caplen: u32) -> Result<Self, Reason> {
        let Some(rest) = options(block, fixed) else { return Err(too_short(block_type, block)) };
        if caplen as usize > rest.len() {
            return Err(Reason::CaptureLength { caplen, room: rest.len() as u32 });
        }
        let options = rest.get((caplen as usize).next_multiple_of(4)..).unwrap_or_default();
        Ok(Self { len: block.len(), data: fixed..fixed + caplen as usize, options })
    }

    #[inline]
    fn packet(
        self,
        interface: &Interface,
        index: u32,
        timestamp: Timestamp,
        orig_len: u32,
        flags: Option<u32>,
        dropped: Option<u64>,
    ) -> Step {
        let packet = Decoded {
            data: self.data,
            timestamp,
            orig_len,
            link_type: interface.link_type,
            interface: index,
            packet_type: flags.map_or(PacketType::default(), packet_type),
            flags,
            dropped,
        };
        Step::Packet { len: self.len, packet }
    }
}

/// What lies between the first `fixed` bytes of a whole block and its trailing length.
#[inline]
fn options(block: &[u8], fixed: usize) -> Option<&[u8]> {
    block.get(fixed..block.len().checked_sub(4)?)
}

fn too_short(block_type: u32, block: &[u8]) -> Reason {
    Reason::BlockLength { block_type, length: block.len() as u32 }
}

/// A time stamp: the upper 32 bits first.
#[inline]
fn ticks(bytes: &[u8], at: usize, big_endian: bool) -> Option<u64> {
    let (high, low) = (u32_at(bytes, at, big_endian)?, u32_at(bytes, at + 4, big_endian)?);
    Some(u64::from(high) << 32 | u64::from(low))
}

/// An option's text, without the zero that some writers end it with, cut to [`MAX_TEXT`].
fn text(value: &[u8]) -> String {
    let value = &value[..value.len().min(MAX_TEXT)];
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// Bytes of a name or description that are kept. Interfaces have 15; longer ones are somebody's joke, and many of
/// them would add up.
const MAX_TEXT: usize = 1024;

/// Bytes of the blocks before their options or data.
const SECTION_FIXED: usize = 28;
const INTERFACE_FIXED: usize = 16;
const STATISTICS_FIXED: usize = 20;
const SIMPLE_FIXED: usize = 12;
