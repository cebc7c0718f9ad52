//! Reading a capture that arrives: standard input, a pipe, compressed files, files too big or too lively to map.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use gannet_packet::{Frame, PacketType, Timestamp};

use crate::decode::{Decoded, Decoder, Opening, Step};
use crate::inflate::{Damage, Inflate};
use crate::{Error, Interface, Packet, PacketSource, Reason, Warning, classic};

/// Reads packets out of a stream, decompressing gzip and Zstandard, which it knows by their first bytes.
///
/// The buffer holds the record in hand and what came with it; it grows with the bytes that arrive, never on the
/// word of a length field. A record is delivered as soon as its last byte has been read.
///
/// Packets may be kept beyond the next step without a copy, by keeping the buffer they lie in
/// ([`buffer`](Self::buffer)): reading then goes on in another one, and a buffer that nobody keeps any more is used
/// again.
///
/// Of an uncompressed file several threads may read pieces, and offer them in their order ([`offer`](Self::offer)).
///
/// A source may have pauses: it answers [`io::ErrorKind::WouldBlock`] while it has nothing. That is an error which
/// [is a pause](Error::is_pause): the next step goes on where this one was, in the middle of a record as well.
#[derive(Debug)]
pub struct StreamReader<R> {
    source: Inflate<R>,
    buffer: Arc<Vec<u8>>,
    /// Buffers that somebody kept when they were full, oldest first.
    kept: VecDeque<Arc<Vec<u8>>>,
    /// `buffer[start..end]` are the bytes read and not done with.
    start: usize,
    end: usize,
    /// Where `start` is in the (decompressed) stream.
    offset: u64,
    decoder: Decoder,
    /// The packet in hand and where its record lies: in the buffer, in the stream.
    current: Option<(Decoded, usize, u64)>,
    /// What a run found to be skipped, and could not: see [`skip`](Self::skip).
    beyond: Option<(u64, u64)>,
    warning: Option<Warning>,
    ended: bool,
}

/// A piece of a source that somebody else has read than the reader.
#[derive(Debug)]
pub struct Piece {
    /// Nobody else may keep it when it is offered.
    pub buffer: Arc<Vec<u8>>,
    /// Where in the buffer the piece is. In front of it there has to be room for the beginning of a record.
    pub filled: Range<usize>,
    /// Where in the source it starts, in bytes.
    pub at: u64,
}

/// Takes the packets of a run. Unlike a closure it can be inlined into the loop, so that what it counts stays in
/// registers.
pub trait Take<'b> {
    /// Takes a packet whose bytes start at `place` in the buffer. False if it is refused.
    fn take(&mut self, packet: &Packet<'b>, buffer: &'b Arc<Vec<u8>>, place: usize) -> bool;
}

struct Each<F>(F);

impl<'b, F: FnMut(&Packet<'b>, &'b Arc<Vec<u8>>, usize) -> bool> Take<'b> for Each<F> {
    #[inline(always)]
    fn take(&mut self, packet: &Packet<'b>, buffer: &'b Arc<Vec<u8>>, place: usize) -> bool {
        (self.0)(packet, buffer, place)
    }
}

impl<R: Read> StreamReader<R> {
    /// Reads the first header. Blocks until enough has arrived to know the format.
    ///
    /// # Errors
    /// Not a capture, one whose first header is cut off or unusable, or the source failed, or pauses: then what it
    /// has given is lost.
    pub fn new(source: R) -> Result<Self, Error> {
        let mut source = Inflate::new(source).map_err(|source| Error::Io { offset: 0, source })?;
        let mut buffer = vec![0; BUFFER];
        let mut end = 0;
        let mut complete = false;
        loop {
            match Decoder::open(&buffer[..end], complete) {
                Ok(Opening::Ready { decoder, skip }) => {
                    // The header was whole, so it is in the buffer.
                    let start = (skip as usize).min(end);
                    return Ok(Self {
                        source,
                        buffer: Arc::new(buffer),
                        kept: VecDeque::new(),
                        start,
                        end,
                        offset: start as u64,
                        decoder,
                        current: None,
                        beyond: None,
                        warning: None,
                        ended: false,
                    });
                }
                Ok(Opening::Need) => {}
                // Compressed twice over: nobody does, and each layer would be another way to make a bomb.
                Err(Error::Compressed(format)) => {
                    return Err(Error::NotCapture { found: format!("{format} data inside compressed data") });
                }
                Err(Error::NotCapture { found }) => {
                    // What was found is not what other tools show of the file.
                    let found = match source.compression() {
                        Some(format) => format!("in its {format} data {found}"),
                        None => found,
                    };
                    return Err(Error::NotCapture { found });
                }
                Err(error) => return Err(error),
            }
            if end == buffer.len() {
                buffer.resize(buffer.len() * 2, 0);
            }
            match read_retrying(&mut source, &mut buffer[end..]) {
                Ok(0) => complete = true,
                Ok(n) => end += n,
                Err(source) if source.kind() == io::ErrorKind::WouldBlock => {
                    return Err(Error::Io { offset: end as u64, source });
                }
                Err(error) => {
                    return Err(match (source.compression(), source.damage()) {
                        (Some(format), Some(Damage { at, what })) => Error::Damaged { format, at, what },
                        _ => Error::Io { offset: end as u64, source: error },
                    });
                }
            }
        }
    }

    /// The next packet; `None` at the end or at damage (see [`warning`](Self::warning)), and ever after.
    ///
    /// # Errors
    /// The source failed. What arrived before has been delivered.
    pub fn next_packet(&mut self) -> Result<Option<Packet<'_>>, Error> {
        self.step_to_packet()?;
        Ok(self.packet())
    }

    /// Gives `take` the packets that follow and lie in the buffer as a whole, up to the first that it refuses: that
    /// one comes again. With each come the buffer and where in the buffer the packet's bytes start.
    ///
    /// May give fewer than there are, or none: the next packet is then to be had with
    /// [`next_packet`](Self::next_packet).
    pub fn run<'b>(&'b mut self, take: impl FnMut(&Packet<'b>, &'b Arc<Vec<u8>>, usize) -> bool) {
        self.run_to(&mut Each(take));
    }

    /// The same for a [`Take`].
    #[inline(always)]
    pub fn run_to<'b>(&'b mut self, to: &mut impl Take<'b>) {
        self.current = None;
        let Self { buffer, decoder, start, offset, beyond, .. } = self;
        if self.ended || beyond.is_some() {
            return;
        }
        let buffer: &'b Arc<Vec<u8>> = buffer;
        let Some(buffered) = buffer.get(..self.end) else { return };
        let (mut at, base) = (*start, *offset - *start as u64);
        if let Some(header) = decoder.usual() {
            while let Some(record) = buffered.get(at..).and_then(|window| header.usual(window)) {
                let place = at + classic::RECORD_HEADER;
                let frame = Frame {
                    data: record.data,
                    timestamp: record.timestamp,
                    orig_len: record.orig_len,
                    link_type: record.link_type,
                    interface: 0,
                    packet_type: PacketType::default(),
                };
                let (offset, data_offset) = (base + at as u64, base + place as u64);
                let packet = Packet { frame, offset, data_offset, flags: None, dropped: None };
                if !to.take(&packet, buffer, place) {
                    break;
                }
                at = place + record.data.len();
            }
        } else {
            while let Some(window) = buffered.get(at..).filter(|window| !window.is_empty()) {
                let pending = decoder.pending();
                match decoder.step(window) {
                    Step::Packet { len, packet } => {
                        let place = at + packet.data.start;
                        let packet = packet.in_window(window, base + at as u64);
                        if !packet.is_some_and(|packet| to.take(&packet, buffer, place)) {
                            break;
                        }
                        at += len;
                    }
                    Step::Skip { len } if len <= window.len() as u64 => at += len as usize,
                    Step::Skip { len } => {
                        *beyond = Some((pending, len));
                        break;
                    }
                    // Asked again, it says the same.
                    Step::Need { .. } | Step::Damaged(_) => break,
                }
            }
        }
        (*start, *offset) = (at, base + at as u64);
    }

    /// True if what has been read holds no further whole record: for the next packet more has to be read.
    pub fn is_used_up(&mut self) -> bool {
        let window = self.buffer.get(self.start..self.end).unwrap_or_default();
        !self.ended && self.beyond.is_none() && matches!(self.decoder.step(window), Step::Need { .. })
    }

    /// True if offsets in the source are not those in the capture.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.source.compression().is_some()
    }

    /// How many bytes have been read, decompressed.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.offset + (self.end - self.start) as u64
    }

    /// Goes on in a piece of the source that somebody else has read, so that its bytes need not be read here: the
    /// source must not give them again. For sources that are not compressed. The packet in hand is no more.
    ///
    /// Returns the buffer that was in use until now, or the piece if it is of no use: it does not go on where reading
    /// has come to, or has no room in front for the part of a record that was left. The source is then to be read as
    /// ever.
    ///
    /// # Errors
    /// The piece, unchanged.
    pub fn offer(&mut self, mut piece: Piece) -> Result<Arc<Vec<u8>>, Piece> {
        let rest = self.start..self.end;
        let Some(place) = self.place_for(&piece) else { return Err(piece) };
        let Some(buffer) = Arc::get_mut(&mut piece.buffer) else { return Err(piece) };
        let (Some(room), Some(left)) =
            (buffer.get_mut(place.start..place.start + rest.len()), self.buffer.get(rest))
        else {
            return Err(piece);
        };
        room.copy_from_slice(left);
        self.current = None;
        (self.start, self.end) = (place.start, place.end);
        Ok(std::mem::replace(&mut self.buffer, piece.buffer))
    }

    /// Where in a piece's buffer what is left and what the piece brings will lie.
    fn place_for(&self, piece: &Piece) -> Option<Range<usize>> {
        // Some of it may have been read here.
        let known = usize::try_from(self.bytes_read().checked_sub(piece.at)?).ok()?;
        let new = piece.filled.start.checked_add(known)?;
        let start = new.checked_sub(self.end - self.start)?;
        let fits = new < piece.filled.end && piece.filled.end <= piece.buffer.len();
        // Buffers have a place in the stream from their first byte on.
        (fits && !self.ended && self.offset >= start as u64).then_some(start..piece.filled.end)
    }

    /// The interfaces described so far, of all sections.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        &self.decoder.interfaces
    }

    /// Why reading ended before the end of the stream, if it did.
    #[must_use]
    pub fn warning(&self) -> Option<&Warning> {
        self.warning.as_ref()
    }

    /// The buffer that the packet in hand lies in, to be kept by whoever wants its bytes for longer than until the next
    /// step, and where the buffer's first byte is, counted as [`Packet::data_offset`] is.
    #[inline]
    #[must_use]
    pub fn buffer(&self) -> Option<(&Arc<Vec<u8>>, u64)> {
        let (_, start, offset) = self.current.as_ref()?;
        Some((&self.buffer, offset - *start as u64))
    }

    #[inline]
    fn step_to_packet(&mut self) -> Result<bool, Error> {
        self.current = None;
        if let Some((pending, len)) = self.beyond.take() {
            self.skip(pending, len)?;
        }
        while !self.ended {
            let pending = self.decoder.pending();
            let window = &self.buffer[self.start..self.end];
            match self.decoder.step(window) {
                Step::Packet { len, packet } => {
                    self.current = Some((packet, self.start, self.offset));
                    self.consume(len);
                    return Ok(true);
                }
                Step::Skip { len } => self.skip(pending, len)?,
                Step::Need { len } => {
                    let present = self.end - self.start;
                    if self.fill()? {
                        continue;
                    }
                    // Where the compressed data broke off says more than where the record did.
                    if !self.ended && (present != 0 || pending != 0) {
                        self.truncated(pending, present as u64, len as u64);
                    }
                    self.ended = true;
                }
                Step::Damaged(reason) => self.damaged(pending, reason),
            }
        }
        Ok(false)
    }

    /// Discards `len` bytes, of which only some may have arrived.
    fn skip(&mut self, pending: u64, len: u64) -> Result<(), Error> {
        let mut rest = len;
        loop {
            let present = self.end - self.start;
            let now = usize::try_from(rest).unwrap_or(usize::MAX).min(present);
            self.consume(now);
            rest -= now as u64;
            if rest == 0 {
                return Ok(());
            }
            let filled = self.fill();
            if filled.as_ref().is_err_and(Error::is_pause) {
                // It goes on from here.
                self.beyond = Some((pending + (len - rest), rest));
            }
            if !filled? {
                if !self.ended {
                    // The block started before what has just been skipped.
                    let skipped = len - rest;
                    let reason = Reason::Truncated { present: pending + skipped, needed: pending + len };
                    self.damaged(pending + skipped, reason);
                }
                return Ok(());
            }
        }
    }

    fn consume(&mut self, len: usize) {
        self.start += len;
        self.offset += len as u64;
    }

    /// Reads what there is; `false` at the end of the stream, or where its compressed data is damaged, which also
    /// ends the reading with a warning.
    fn fill(&mut self) -> Result<bool, Error> {
        // What is left is part of a record: little, next to what one read brings.
        let rest = self.start..self.end;
        (self.start, self.end) = (0, rest.len());
        let buffer = match Arc::get_mut(&mut self.buffer) {
            Some(_) => {
                // Asked twice because the borrow checker cannot see that one answer excludes the other.
                let buffer = Arc::make_mut(&mut self.buffer);
                buffer.copy_within(rest, 0);
                buffer
            }
            None => {
                let mut next = self.spare();
                // It is nobody else's, so nothing is cloned here or below.
                Arc::make_mut(&mut next)[..rest.len()].copy_from_slice(&self.buffer[rest]);
                self.kept.push_back(std::mem::replace(&mut self.buffer, next));
                Arc::make_mut(&mut self.buffer)
            }
        };
        if self.end == buffer.len() {
            buffer.resize(buffer.len() * 2, 0);
        }
        match read_retrying(&mut self.source, &mut buffer[self.end..]) {
            Ok(0) => Ok(false),
            Ok(n) => {
                self.end += n;
                Ok(true)
            }
            Err(source) if source.kind() == io::ErrorKind::WouldBlock => {
                Err(Error::Io { offset: self.offset + self.end as u64, source })
            }
            Err(source) => {
                self.ended = true;
                let Some(Damage { at, what }) = self.source.damage() else {
                    return Err(Error::Io { offset: self.offset + self.end as u64, source });
                };
                let offset = self.offset + (self.end - self.start) as u64;
                let reason = Reason::Compression { at, what };
                self.warning = Some(Warning { offset, compression: self.source.compression(), reason });
                Ok(false)
            }
        }
    }

    /// A buffer as large as the present one that nobody keeps.
    fn spare(&mut self) -> Arc<Vec<u8>> {
        let len = self.buffer.len();
        let free = self.kept.iter_mut().position(|kept| Arc::get_mut(kept).is_some());
        let kept = free.and_then(|free| self.kept.remove(free));
        kept.filter(|kept| kept.len() == len).unwrap_or_else(|| Arc::new(vec![0; len]))
    }

    fn truncated(&mut self, pending: u64, present: u64, needed: u64) {
        let reason = Reason::Truncated { present: pending + present, needed: pending + needed };
        self.damaged(pending, reason);
    }

    fn damaged(&mut self, pending: u64, reason: Reason) {
        self.ended = true;
        let compression = self.source.compression();
        self.warning = Some(Warning { offset: self.offset - pending, compression, reason });
    }
}

impl<R: Read> PacketSource for StreamReader<R> {
    #[inline]
    fn advance(&mut self) -> Result<bool, Error> {
        self.step_to_packet()
    }

    #[inline(always)]
    fn packet(&self) -> Option<Packet<'_>> {
        let (packet, start, offset) = self.current.as_ref()?;
        packet.in_window(self.buffer.get(*start..)?, *offset)
    }

    #[inline]
    fn stamp(&self) -> Option<(Timestamp, u32)> {
        self.current.as_ref().map(|(packet, ..)| (packet.timestamp, packet.interface))
    }

    fn interfaces(&self) -> &[Interface] {
        self.interfaces()
    }

    fn warning(&self) -> Option<&Warning> {
        self.warning()
    }
}

fn read_retrying(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Bytes asked for at once. A pipe gives at most 64 KiB; from 256 KiB on the calls no longer show.
const BUFFER: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ng;
    use crate::testing::Halting;
    use gannet_packet::{LinkType, Timestamp};

    /// Gives some bytes, then an error.
    struct Failing<'a>(&'a [u8]);

    impl Read for Failing<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() { Err(io::Error::other("cable pulled")) } else { self.0.read(buf) }
        }
    }

    fn capture(packets: u32) -> Vec<u8> {
        let mut file = Vec::new();
        ng::section_header(&mut file, &ng::Section::default());
        ng::interface_description(&mut file, &ng::Interface::new(LinkType::ETHERNET, 0));
        for number in 0..packets {
            let start = file.len();
            file.resize(start + ng::enhanced_packet_len(100, false), 0);
            ng::write_enhanced_packet(
                &mut file[start..],
                0,
                Timestamp(u64::from(number)),
                100,
                None,
                &[7; 100],
            );
        }
        file
    }

    #[test]
    fn a_failing_source_is_an_error_after_what_came_before() {
        let file = capture(3);
        let mut reader = StreamReader::new(Failing(&file[..file.len() - 1])).unwrap();
        assert!(reader.next_packet().unwrap().is_some());
        assert!(reader.next_packet().unwrap().is_some());
        let error = reader.next_packet().unwrap_err();
        assert_eq!(error.to_string(), format!("reading at offset {}: cable pulled", file.len() - 1));
        assert!(reader.next_packet().unwrap().is_none());
        assert!(matches!(StreamReader::new(Failing(b"\x0a\x0d")), Err(Error::Io { .. })));
    }

    /// Packets, warnings and the end are the same wherever the source has pauses.
    #[test]
    fn pauses_change_nothing() {
        let mut file = capture(3);
        // A block that is skipped.
        for word in [0x0bad_u32, 800].into_iter().chain([7; 197]).chain([800]) {
            file.extend_from_slice(&word.to_le_bytes());
        }
        file.extend_from_slice(&capture(2)[..]);
        for cut in [0, 1, 100, 140, 500, 1_000] {
            let file = &file[..file.len() - cut];
            let mut plain = StreamReader::new(file).unwrap();
            let mut expected = Vec::new();
            while let Some(packet) = plain.next_packet().unwrap() {
                expected.push((packet.offset, packet.frame.timestamp, packet.frame.interface));
            }
            for step in [1, 5, 64, 130, 4_096] {
                let (header, rest) = file.split_at(200);
                let mut reader = StreamReader::new(header.chain(Halting::new(rest, step))).unwrap();
                let (mut found, mut pauses) = (Vec::new(), 0);
                loop {
                    match reader.next_packet() {
                        Ok(Some(packet)) => {
                            found.push((packet.offset, packet.frame.timestamp, packet.frame.interface));
                        }
                        Ok(None) => break,
                        Err(error) => {
                            assert!(error.is_pause(), "{error}");
                            pauses += 1;
                        }
                    }
                }
                assert_eq!((found, reader.warning()), (expected.clone(), plain.warning()), "{cut} {step}");
                assert!(pauses >= rest.len() / step, "{cut} {step}");
            }
        }
    }

    /// Whoever keeps the buffers has the packets, and no buffer is kept for longer.
    #[test]
    fn packets_outlive_the_step() {
        let file = capture(20_000);
        let mut reader = StreamReader::new(&file[..]).unwrap();
        let mut window = VecDeque::new();
        let mut count = 0;
        while reader.advance().unwrap() {
            let (buffer, base) = reader.buffer().unwrap();
            let packet = PacketSource::packet(&reader).unwrap();
            let place = (packet.data_offset - base) as usize;
            assert_eq!(buffer[place..place + 100].as_ptr(), packet.frame.data.as_ptr());
            window.push_back((Arc::clone(buffer), place, packet.frame.timestamp));
            if window.len() > 5_000 {
                let (buffer, place, time) = window.pop_front().unwrap();
                assert_eq!((&buffer[place..place + 100], time), (&[7; 100][..], Timestamp(count)));
                count += 1;
            }
        }
        assert_eq!(count + window.len() as u64, 20_000);
        // 5,000 records of 132 bytes are in four buffers at most.
        assert!(reader.kept.len() <= 5, "{}", reader.kept.len());
    }

    #[test]
    fn no_buffer_on_the_word_of_a_length() {
        let mut file = capture(0);
        // A packet block that claims almost 16 MiB.
        file.extend_from_slice(&ng::ENHANCED_PACKET.to_le_bytes());
        file.extend_from_slice(&0x00ff_fffc_u32.to_le_bytes());
        file.resize(file.len() + 5000, 0);
        let mut reader = StreamReader::new(&file[..]).unwrap();
        assert!(reader.next_packet().unwrap().is_none());
        assert_eq!(
            reader.warning().unwrap().reason,
            Reason::Truncated { present: 5008, needed: 0x00ff_fffc }
        );
        assert_eq!(reader.buffer.len(), BUFFER);
    }

    #[test]
    fn a_long_unknown_block_is_skipped_without_holding_it() {
        let mut file = capture(1);
        let start = file.len();
        file.resize(start + (20 << 20), 0);
        let length = (20_u32 << 20).to_le_bytes();
        file[start..start + 4].copy_from_slice(&0x0bad_u32.to_le_bytes());
        file[start + 4..start + 8].copy_from_slice(&length);
        file[start + (20 << 20) - 4..].copy_from_slice(&length);
        let tail = capture(2);
        file.extend_from_slice(&tail);
        let mut reader = StreamReader::new(&file[..]).unwrap();
        let mut interfaces = Vec::new();
        while let Some(packet) = reader.next_packet().unwrap() {
            interfaces.push(packet.frame.interface);
        }
        assert_eq!((interfaces, reader.warning()), (vec![0, 1, 1], None));
        assert_eq!(reader.buffer.len(), BUFFER);
    }
}
