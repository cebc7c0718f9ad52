//! What the readers deliver, and what they have in common.

use gannet_packet::{Frame, Timestamp};

use crate::{Error, Interface, Warning};

/// A packet of a capture file.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Its captured bytes, time, lengths; [`Frame::interface`] is an index into the reader's interface table.
    ///
    /// A Simple Packet Block has no time: it reads as 0.
    pub frame: Frame<'a>,
    /// Where its record or block starts: bytes from the start of the file (of the decompressed contents).
    pub offset: u64,
    /// Where its captured bytes start, counted likewise.
    pub data_offset: u64,
    /// The word `epb_flags`, if the block has one: see [`crate::ng::epb_flags`].
    pub flags: Option<u32>,
    /// Packets lost between this one and the one before, where the writer counted them.
    pub dropped: Option<u64>,
}

/// A reader of packets: step with [`advance`](Self::advance), look with [`packet`](Self::packet).
///
/// Two calls instead of one because a packet borrows from the reader, and a merge has to look at many at once.
pub trait PacketSource {
    /// Goes on to the next packet; `false` at the end of the capture or of what can be read of it. After `false`
    /// or an error it stays `false`.
    ///
    /// # Errors
    /// Only [`Error::Io`]: damage ends the capture with a [`warning`](Self::warning).
    fn advance(&mut self) -> Result<bool, Error>;

    /// The packet that the last [`advance`](Self::advance) found.
    fn packet(&self) -> Option<Packet<'_>>;

    /// Its time and its interface.
    #[inline]
    fn stamp(&self) -> Option<(Timestamp, u32)> {
        self.packet().map(|packet| (packet.frame.timestamp, packet.frame.interface))
    }

    /// The interfaces described so far, of all sections; only ever appended to.
    fn interfaces(&self) -> &[Interface];

    /// Why reading ended early, if it did.
    fn warning(&self) -> Option<&Warning>;
}

impl<S: PacketSource + ?Sized> PacketSource for Box<S> {
    fn advance(&mut self) -> Result<bool, Error> {
        (**self).advance()
    }

    fn packet(&self) -> Option<Packet<'_>> {
        (**self).packet()
    }

    fn stamp(&self) -> Option<(Timestamp, u32)> {
        (**self).stamp()
    }

    fn interfaces(&self) -> &[Interface] {
        (**self).interfaces()
    }

    fn warning(&self) -> Option<&Warning> {
        (**self).warning()
    }
}
