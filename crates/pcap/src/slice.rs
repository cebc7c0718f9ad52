//! Reading a capture that is in memory as a whole: a mapped file.

use crate::decode::{Decoder, Opening, Step};
use crate::{Error, Interface, Packet, PacketSource, Reason, Warning};

/// Reads packets out of a slice; their bytes are borrows of it.
///
/// ```
/// # fn main() -> Result<(), gannet_pcap::Error> {
/// # use gannet_packet::{LinkType, Timestamp};
/// # use gannet_pcap::{SliceReader, classic};
/// # let mut file = classic::file_header(classic::Precision::Nano, LinkType::ETHERNET, 262_144).to_vec();
/// # file.resize(24 + 16 + 60, 0);
/// # classic::write_record(&mut file[24..], classic::Precision::Nano, Timestamp(1), 60, &[0; 60]);
/// let mut reader = SliceReader::new(&file)?;
/// for packet in &mut reader {
///     println!("{}: {} bytes at {}", packet.frame.timestamp, packet.frame.orig_len, packet.offset);
/// }
/// if let Some(warning) = reader.warning() {
///     eprintln!("{warning}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SliceReader<'a> {
    bytes: &'a [u8],
    /// Everything before is done with. At most `bytes.len()`.
    at: usize,
    decoder: Decoder,
    current: Option<Packet<'a>>,
    warning: Option<Warning>,
    ended: bool,
}

impl<'a> SliceReader<'a> {
    /// Reads the file header or first section header of `bytes`, a whole pcap or pcapng file.
    ///
    /// # Errors
    /// Not a capture file, a compressed one, or one whose first header is cut off or unusable.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        match Decoder::open(bytes, true)? {
            Opening::Ready { decoder, skip } => {
                let at = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
                Ok(Self { bytes, at, decoder, current: None, warning: None, ended: false })
            }
            // `open` was told that there is no more.
            Opening::Need => Err(crate::error::not_capture(bytes)),
        }
    }

    /// The next packet; `None` at the end or at damage (see [`warning`](Self::warning)), and ever after.
    #[inline]
    pub fn next_packet(&mut self) -> Option<Packet<'a>> {
        while !self.ended {
            let window = &self.bytes[self.at..];
            let pending = self.decoder.pending();
            let present = window.len() as u64;
            match self.decoder.step(window) {
                Step::Packet { len, packet } => {
                    let found = packet.in_window(window, self.at as u64);
                    self.at += len;
                    if found.is_some() {
                        return found;
                    }
                }
                Step::Skip { len } if len <= present => self.at += len as usize,
                Step::Need { .. } if present == 0 && pending == 0 => self.ended = true,
                Step::Need { len } => self.truncated(pending, present, len as u64),
                Step::Skip { len } => self.truncated(pending, present, len),
                Step::Damaged(reason) => self.damaged(pending, reason),
            }
        }
        None
    }

    /// The interfaces described so far, of all sections.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        &self.decoder.interfaces
    }

    /// Why reading ended before the end of the file, if it did.
    #[must_use]
    pub fn warning(&self) -> Option<&Warning> {
        self.warning.as_ref()
    }

    /// Bytes from the start of the file that have been read: where the next record starts.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.at as u64
    }

    fn truncated(&mut self, pending: u64, present: u64, needed: u64) {
        let reason = Reason::Truncated { present: pending + present, needed: pending + needed };
        self.damaged(pending, reason);
    }

    fn damaged(&mut self, pending: u64, reason: Reason) {
        self.ended = true;
        self.warning = Some(Warning { offset: self.at as u64 - pending, compression: None, reason });
    }
}

impl<'a> Iterator for SliceReader<'a> {
    type Item = Packet<'a>;

    #[inline]
    fn next(&mut self) -> Option<Packet<'a>> {
        self.next_packet()
    }
}

impl PacketSource for SliceReader<'_> {
    fn advance(&mut self) -> Result<bool, Error> {
        self.current = self.next_packet();
        Ok(self.current.is_some())
    }

    fn packet(&self) -> Option<Packet<'_>> {
        self.current
    }

    fn interfaces(&self) -> &[Interface] {
        self.interfaces()
    }

    fn warning(&self) -> Option<&Warning> {
        self.warning()
    }
}
