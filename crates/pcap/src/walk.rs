//! The chain of records one step at a time, for those who check or mend a file rather than read its packets.

use crate::decode::{Decoder, Opening, Step};
use crate::ng::ENHANCED_PACKET;
use crate::{Error, Format, Interface, Reason};

/// Walks the records of a capture file whose bytes the caller fetches.
///
/// The same code as in the readers decides what is a whole record: what the walker passes, they read.
#[derive(Debug)]
pub struct Walker(Decoder);

/// What lies at the position that was asked about.
#[derive(Debug)]
pub enum Walk {
    /// A whole packet record of `len` bytes.
    Packet {
        /// Bytes to the next record.
        len: usize,
    },
    /// A whole Enhanced Packet Block whose interface has not been described: a reader stops here.
    Undescribed {
        /// Bytes to the next block.
        len: usize,
        /// Interface descriptions that are lacking.
        missing: u32,
    },
    /// `len` bytes without a packet, which may reach beyond the bytes given. If [`Walker::in_block`] is not zero
    /// then, the next step looks at the end of the same block.
    Skip {
        /// Bytes to go on.
        len: u64,
    },
    /// More bytes are needed to tell: `len` from the position on.
    Need {
        /// Bytes wanted.
        len: usize,
    },
    /// No record that can be read. [`Walker::forget`] makes ready to go on elsewhere.
    Damaged(Reason),
}

impl Walker {
    /// Reads the first header from `bytes`, the start of the file; `complete` says that this is all of it. Returns
    /// the length of that header, or `None` if more bytes are needed.
    ///
    /// # Errors
    /// As [`crate::SliceReader::new`].
    pub fn open(bytes: &[u8], complete: bool) -> Result<Option<(Self, u64)>, Error> {
        Ok(match Decoder::open(bytes, complete)? {
            Opening::Ready { decoder, skip } => Some((Self(decoder), skip)),
            Opening::Need => None,
        })
    }

    /// What lies at the current position, where `bytes` starts.
    pub fn step(&mut self, bytes: &[u8]) -> Walk {
        match self.0.step(bytes) {
            Step::Packet { len, .. } => Walk::Packet { len },
            Step::Skip { len } => Walk::Skip { len },
            Step::Need { len } => Walk::Need { len },
            Step::Damaged(Reason::UnknownInterface { interface, described })
                if self.block(bytes).is_some_and(|(block_type, _)| block_type == ENHANCED_PACKET) =>
            {
                let len = self.block(bytes).map_or(0, |(_, length)| length as usize);
                Walk::Undescribed { len, missing: (interface - described).saturating_add(1) }
            }
            Step::Damaged(reason) => Walk::Damaged(reason),
        }
    }

    /// Bytes of the current block that have been stepped over; 0 between blocks.
    #[must_use]
    pub fn in_block(&self) -> u64 {
        self.0.pending()
    }

    /// Gives up the block begun, to go on at the start of another.
    pub fn forget(&mut self) {
        if let Some(chain) = self.0.ng_mut() {
            chain.forget();
        }
    }

    /// Counts `count` more interfaces of the current section as described, like its first one. `None` if it has
    /// none, or if they would be more than [`crate::MAX_INTERFACES`].
    pub fn describe(&mut self, count: u32) -> Option<()> {
        let first = self.section_interfaces().first()?.clone();
        let len = self.0.interfaces.len().checked_add(count as usize)?;
        (len <= crate::MAX_INTERFACES).then(|| self.0.interfaces.resize(len, first))
    }

    /// The format of the file.
    #[must_use]
    pub fn format(&self) -> Format {
        if self.0.ng().is_some() { Format::PcapNg } else { Format::Pcap }
    }

    /// The byte order of the current section or of the file.
    #[must_use]
    pub fn big_endian(&self) -> bool {
        self.0.big_endian()
    }

    /// The interfaces of all sections.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        &self.0.interfaces
    }

    /// The interfaces of the current section.
    #[must_use]
    pub fn section_interfaces(&self) -> &[Interface] {
        let first = self.0.ng().map_or(0, crate::ng::Chain::first_interface);
        self.0.interfaces.get(first..).unwrap_or_default()
    }

    /// Type and total length of the pcapng block at the start of `bytes`.
    #[must_use]
    pub fn block(&self, bytes: &[u8]) -> Option<(u32, u32)> {
        self.0.ng()?;
        let word = |at| crate::decode::u32_at(bytes, at, self.big_endian());
        Some((word(0)?, word(4)?))
    }
}
