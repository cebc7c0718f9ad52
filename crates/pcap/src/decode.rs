//! The one core under both readers: given the bytes from the current position on, what is the next step?
//!
//! The core holds what a capture has told so far (byte order, interfaces) and no bytes. It reads nothing and keeps
//! no position, so a mapped file and a stream that arrives in pieces take the same road through it.

use std::ops::Range;

use gannet_packet::{Frame, LinkType, PacketType, Timestamp};

use crate::error::not_capture;
use crate::{Error, Format, Interface, Packet, Reason, classic, ng};

/// What to do with the bytes at the current position.
#[derive(Debug)]
pub(crate) enum Step {
    /// The next `len` bytes, all in the window, are a packet.
    Packet { len: usize, packet: Decoded },
    /// The next `len` bytes hold no packet. They may reach beyond the window.
    Skip { len: u64 },
    /// Undecided until the window holds `len` bytes (more than it has now).
    Need { len: usize },
    /// Reading ends here.
    Damaged(Reason),
}

/// A packet before it is given a place: `data` counts from the start of the window.
#[derive(Clone, Debug)]
pub(crate) struct Decoded {
    pub(crate) data: Range<usize>,
    pub(crate) timestamp: Timestamp,
    pub(crate) orig_len: u32,
    pub(crate) link_type: LinkType,
    pub(crate) interface: u32,
    pub(crate) packet_type: PacketType,
    pub(crate) flags: Option<u32>,
    pub(crate) dropped: Option<u64>,
}

impl Decoded {
    /// The packet in `window`, the slice it was decoded from, which starts at `offset` in the file.
    #[inline(always)]
    pub(crate) fn in_window<'a>(&self, window: &'a [u8], offset: u64) -> Option<Packet<'a>> {
        let frame = Frame {
            data: window.get(self.data.clone())?,
            timestamp: self.timestamp,
            orig_len: self.orig_len,
            link_type: self.link_type,
            interface: self.interface,
            packet_type: self.packet_type,
        };
        let data_offset = offset + self.data.start as u64;
        Some(Packet { frame, offset, data_offset, flags: self.flags, dropped: self.dropped })
    }
}

/// The state of reading one capture.
#[derive(Debug)]
pub(crate) struct Decoder {
    chain: Chain,
    pub(crate) interfaces: Vec<Interface>,
}

#[derive(Debug)]
enum Chain {
    Classic(classic::Header),
    Ng(ng::Chain),
}

/// The result of looking at the start of a capture.
pub(crate) enum Opening {
    /// Ready; the first `skip` bytes are done with.
    Ready { decoder: Decoder, skip: u64 },
    /// Undecided until there are more bytes.
    Need,
}

impl Decoder {
    /// Reads the first header from `window`, the start of the capture. `complete` says that the window is all
    /// there will ever be.
    pub(crate) fn open(window: &[u8], complete: bool) -> Result<Opening, Error> {
        if window.len() < 4 {
            return if complete { Err(not_capture(window)) } else { Ok(Opening::Need) };
        }
        let Some(format) = Format::detect(window) else {
            // A few bytes more make a better message.
            return if complete || window.len() >= 8 { Err(not_capture(window)) } else { Ok(Opening::Need) };
        };
        let (step, decoder) = match format {
            Format::Pcap => match classic::Header::parse(window) {
                None => (Step::Need { len: classic::FILE_HEADER }, None),
                Some(Err(reason)) => (Step::Damaged(reason), None),
                Some(Ok(header)) => {
                    let interfaces = vec![header.interface()];
                    let decoder = Self { chain: Chain::Classic(header), interfaces };
                    (Step::Skip { len: classic::FILE_HEADER as u64 }, Some(decoder))
                }
            },
            Format::PcapNg => {
                let mut decoder = Self { chain: Chain::Ng(ng::Chain::default()), interfaces: Vec::new() };
                (decoder.step(window), Some(decoder))
            }
            Format::Gzip | Format::Zstd => return Err(Error::Compressed(format)),
        };
        match (step, decoder) {
            (Step::Skip { len }, Some(decoder)) => Ok(Opening::Ready { decoder, skip: len }),
            (Step::Need { len }, _) if complete => {
                Err(Error::HeaderCut { format, present: window.len() as u64, needed: len as u64 })
            }
            (Step::Need { .. }, _) => Ok(Opening::Need),
            // Without its byte-order magic the first bytes are a chance likeness.
            (Step::Damaged(Reason::ByteOrder(_)), _) => Err(not_capture(window)),
            (Step::Damaged(reason), _) => Err(Error::Header { format, reason }),
            // A section header is skipped and never a packet.
            (Step::Packet { .. } | Step::Skip { .. }, _) => Err(not_capture(window)),
        }
    }

    /// Bytes of the block at hand that lie before the current position: 0 except at the trailing length of a block
    /// that was skipped.
    #[inline]
    pub(crate) fn pending(&self) -> u64 {
        match &self.chain {
            Chain::Classic(_) => 0,
            Chain::Ng(chain) => chain.pending(),
        }
    }

    /// The header of a classic file with the usual records.
    #[inline]
    pub(crate) fn usual(&self) -> Option<&classic::Header> {
        match &self.chain {
            Chain::Classic(header) => Some(header).filter(|header| header.is_usual()),
            Chain::Ng(_) => None,
        }
    }

    /// The state of a chain of pcapng blocks, if it is one.
    pub(crate) fn ng(&self) -> Option<&ng::Chain> {
        match &self.chain {
            Chain::Classic(_) => None,
            Chain::Ng(chain) => Some(chain),
        }
    }

    /// As [`ng`](Self::ng), to change it.
    pub(crate) fn ng_mut(&mut self) -> Option<&mut ng::Chain> {
        match &mut self.chain {
            Chain::Classic(_) => None,
            Chain::Ng(chain) => Some(chain),
        }
    }

    /// The byte order of the file or current section.
    pub(crate) fn big_endian(&self) -> bool {
        match &self.chain {
            Chain::Classic(header) => header.big_endian(),
            Chain::Ng(chain) => chain.big_endian(),
        }
    }

    /// What to do at the current position, where `window` starts.
    ///
    /// Inlined, so that a packet goes to where the reader wants it and not through memory twice.
    #[inline(always)]
    pub(crate) fn step(&mut self, window: &[u8]) -> Step {
        match &mut self.chain {
            Chain::Classic(header) => header.step(window),
            Chain::Ng(chain) => chain.step(window, &mut self.interfaces),
        }
    }
}

/// Reads an unsigned number at `at`; `None` beyond the end of `bytes`.
macro_rules! number {
    ($name:ident, $type:ty) => {
        #[inline]
        pub(crate) fn $name(bytes: &[u8], at: usize, big_endian: bool) -> Option<$type> {
            let raw = bytes.get(at..at + size_of::<$type>())?.try_into().ok()?;
            Some(if big_endian { <$type>::from_be_bytes(raw) } else { <$type>::from_le_bytes(raw) })
        }
    };
}

number!(u16_at, u16);
number!(u32_at, u32);
number!(u64_at, u64);
