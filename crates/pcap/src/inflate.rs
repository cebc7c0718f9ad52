//! Decompression between a source and the reader: gzip of several members, Zstandard of several frames, or none.
//!
//! A source may have pauses: what it answers with [`io::ErrorKind::WouldBlock`] is passed on, and reading goes on
//! later where it was.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::Format;

/// A source that is decompressed if its first bytes say so.
#[derive(Debug)]
pub(crate) struct Inflate<R>(Kind<R>);

/// The source, its first bytes put back before it, watched for failures.
type Input<R> = BufReader<Watched<Chain<Cursor<Vec<u8>>, R>>>;

enum Kind<R> {
    Plain(Watched<Chain<Cursor<Vec<u8>>, R>>),
    Gzip(Box<MultiGzDecoder<Input<R>>>),
    Zstd(Box<ZstdDecoder<Input<R>>>),
}

impl<R: Read> Inflate<R> {
    /// Reads as many bytes as tell the format.
    pub(crate) fn new(mut source: R) -> io::Result<Self> {
        let mut start = Vec::with_capacity(4);
        source.by_ref().take(4).read_to_end(&mut start)?;
        let format = Format::detect(&start);
        let input = Watched { source: Cursor::new(start).chain(source), failed: false };
        let buffered = |input| BufReader::with_capacity(INPUT_BUFFER, input);
        Ok(Self(match format {
            Some(Format::Gzip) => Kind::Gzip(Box::new(MultiGzDecoder::new(buffered(input)))),
            Some(Format::Zstd) => Kind::Zstd(Box::new(ZstdDecoder::new(buffered(input)))),
            _ => Kind::Plain(input),
        }))
    }

    /// Whether the source's bytes are others than those that are read.
    pub(crate) fn is_compressed(&self) -> bool {
        !matches!(self.0, Kind::Plain(_))
    }

    /// After an error of `read`: is it the compressed data that is bad, rather than the source that failed?
    pub(crate) fn is_damage(&self) -> bool {
        match &self.0 {
            Kind::Plain(_) => false,
            Kind::Gzip(decoder) => !decoder.get_ref().get_ref().failed,
            Kind::Zstd(decoder) => !decoder.source.get_ref().failed,
        }
    }
}

impl<R: Read> Read for Inflate<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Plain(source) => source.read(buf),
            Kind::Gzip(decoder) => decoder.read(buf),
            Kind::Zstd(decoder) => decoder.read(buf),
        }
    }
}

impl<R> std::fmt::Debug for Kind<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Gzip(_) => "Gzip",
            Self::Zstd(_) => "Zstd",
        })
    }
}

/// Remembers whether the source has failed: the decoders above wrap its errors and their own alike.
struct Watched<R> {
    source: R,
    failed: bool,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let result = self.source.read(buf);
        if let Err(error) = &result {
            self.failed |= !matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock);
        }
        result
    }
}

/// Decodes Zstandard frames one after the other; ruzstd's own reader stops after the first.
///
/// ruzstd takes what it asks its source for and forgets it when the source then has a pause. So headers and blocks
/// are gathered here, and given to it whole.
///
/// A frame cut off gives what lies further back than its window (ruzstd keeps that much until the frame ends).
struct ZstdDecoder<R> {
    frame: FrameDecoder,
    in_frame: bool,
    /// The frame ends with a checksum.
    has_checksum: bool,
    source: R,
    /// As much as there is of the header or block at hand: at most what the 21 bits of a block's length can say.
    unit: Vec<u8>,
    /// Bytes of a skippable frame that are still to come.
    to_skip: u64,
}

impl<R: BufRead> ZstdDecoder<R> {
    fn new(source: R) -> Self {
        // ruzstd bounds the window, and with it its memory, to 128 MiB unless told otherwise.
        Self {
            frame: FrameDecoder::new(),
            in_frame: false,
            has_checksum: false,
            source,
            unit: Vec::new(),
            to_skip: 0,
        }
    }

    /// Goes on to the next frame; `false` at the end of the source.
    fn next_frame(&mut self) -> io::Result<bool> {
        loop {
            self.skip()?;
            // A header that is cut off is ruzstd's to refuse, here and below.
            if !self.gather(header_len)? && self.unit.is_empty() {
                return Ok(false);
            }
            let started = self.frame.reset(self.unit.as_slice());
            self.has_checksum = self.unit.get(4).is_some_and(|descriptor| descriptor & 0b100 != 0);
            self.unit.clear();
            match started {
                Ok(()) => {
                    self.in_frame = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => self.to_skip = length.into(),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }

    /// Skips the rest of a skippable frame.
    fn skip(&mut self) -> io::Result<()> {
        while self.to_skip != 0 {
            let present = self.source.fill_buf()?.len();
            if present == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let skipped = usize::try_from(self.to_skip).unwrap_or(usize::MAX).min(present);
            self.source.consume(skipped);
            self.to_skip -= skipped as u64;
        }
        Ok(())
    }

    /// Gathers a unit, whose length so far as its beginning tells `len` says. `false` if the source ends in it.
    fn gather(&mut self, len: impl Fn(&[u8]) -> usize) -> io::Result<bool> {
        loop {
            let missing = len(&self.unit).saturating_sub(self.unit.len());
            if missing == 0 {
                return Ok(true);
            }
            let present = self.source.fill_buf()?;
            if present.is_empty() {
                return Ok(false);
            }
            let taken = missing.min(present.len());
            self.unit.extend_from_slice(present.get(..taken).unwrap_or_default());
            self.source.consume(taken);
        }
    }

    fn next_block(&mut self) -> io::Result<()> {
        let has_checksum = self.has_checksum;
        self.gather(|unit| block_len(unit, has_checksum))?;
        let decoded = self.frame.decode_blocks(self.unit.as_slice(), BlockDecodingStrategy::UptoBlocks(1));
        self.unit.clear();
        decoded.map(drop).map_err(io::Error::other)
    }

    fn end_frame(&mut self) -> io::Result<()> {
        self.in_frame = false;
        match (self.frame.get_checksum_from_data(), self.frame.get_calculated_checksum()) {
            (Some(told), Some(found)) if told != found => {
                Err(io::Error::other("checksum of a frame differs"))
            }
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Read for ZstdDecoder<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        while self.in_frame || self.next_frame()? {
            while self.frame.can_collect() == 0 && !self.frame.is_finished() {
                self.next_block()?;
            }
            let n = self.frame.read(buf)?;
            if n != 0 {
                return Ok(n);
            }
            if self.frame.is_finished() {
                self.end_frame()?;
            }
        }
        Ok(0)
    }
}

/// The length of the frame header that begins so, as far as that tells (RFC 8878, section 3.1.1.1): magic number,
/// descriptor, window, dictionary, size of the contents. Of a skippable frame, its magic number and its length.
fn header_len(unit: &[u8]) -> usize {
    match *unit {
        [first, 0x2a, 0x4d, 0x18, ..] if first & 0xf0 == 0x50 => 8,
        [_, _, _, _, descriptor, ..] => {
            let is_single_segment = descriptor & 0b10_0000 != 0;
            let window = usize::from(!is_single_segment);
            let dictionary = [0, 1, 2, 4][usize::from(descriptor & 0b11)];
            let contents = [usize::from(is_single_segment), 2, 4, 8][usize::from(descriptor >> 6)];
            5 + window + dictionary + contents
        }
        _ => 5,
    }
}

/// The length of the block that begins so, as far as that tells (section 3.1.1.2), with the checksum behind the last
/// one of a frame.
fn block_len(unit: &[u8], has_checksum: bool) -> usize {
    let [low, middle, high, ..] = *unit else { return 3 };
    let header = u32::from_le_bytes([low, middle, high, 0]);
    // Of a run of one byte only that is there.
    let contents = if header >> 1 & 0b11 == 1 { 1 } else { header as usize >> 3 };
    let checksum = if header & 1 != 0 && has_checksum { 4 } else { 0 };
    3 + contents + checksum
}

/// Bytes of compressed data read at once.
const INPUT_BUFFER: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;
    use crate::testing::Halting;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    fn sample() -> Vec<u8> {
        (0..300_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect()
    }

    fn inflated(compressed: &[u8]) -> (Vec<u8>, Option<bool>) {
        let mut source = Inflate::new(compressed).unwrap();
        let mut out = Vec::new();
        let result = source.read_to_end(&mut out);
        (out, result.err().map(|_| source.is_damage()))
    }

    /// Wherever a source has a pause, reading goes on behind it, and damage is damage.
    #[test]
    fn pauses_change_nothing() {
        let (first, second) = (sample()[..40_000].to_vec(), b"the second".to_vec());
        let skippable = [0x51, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        for compressed in [
            [first.clone(), second.clone()].concat(),
            [gzip(&first), gzip(&second)].concat(),
            [zstd(&first), skippable.to_vec(), zstd(&second)].concat(),
            gzip(&first)[..2_000].to_vec(),
            zstd(&first)[..2_000].to_vec(),
        ] {
            let expected = inflated(&compressed);
            for step in [1, 2, 3, 7, 1_000] {
                // What tells the format is read before there can be pauses.
                let (start, rest) = compressed.split_at(4);
                let mut source = Inflate::new(start.chain(Halting::new(rest, step))).unwrap();
                let (mut out, mut buffer) = (Vec::new(), [0; 3_000]);
                let damage = loop {
                    match source.read(&mut buffer) {
                        Ok(0) => break None,
                        Ok(n) => out.extend_from_slice(&buffer[..n]),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(_) => break Some(source.is_damage()),
                    }
                };
                assert!((out, damage) == expected, "{step} bytes at a time");
            }
        }
    }

    #[test]
    fn several_members_and_frames() {
        let (first, second) = (sample(), b"the second".to_vec());
        let both = [first.clone(), second.clone()].concat();
        assert_eq!(inflated(&[gzip(&first), gzip(&second)].concat()), (both.clone(), None));
        let skippable = [0x51, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        for frames in [
            [zstd(&first), zstd(&second)].concat(),
            [skippable.to_vec(), zstd(&first), skippable.to_vec(), zstd(&second)].concat(),
        ] {
            assert_eq!(inflated(&frames), (both.clone(), None));
        }
        assert_eq!(inflated(b"plain"), (b"plain".to_vec(), None));
        assert_eq!(inflated(b"pl"), (b"pl".to_vec(), None));
    }

    #[test]
    fn cut_and_damaged_data_is_damage() {
        let whole = sample();
        for compressed in [gzip(&whole), zstd(&whole)] {
            let (out, damage) = inflated(&compressed[..compressed.len() - 3]);
            assert_eq!(damage, Some(true));
            assert!(whole.starts_with(&out));
            let mut flipped = compressed.clone();
            let last = flipped.len() - 2;
            flipped[last] ^= 1;
            assert_eq!(inflated(&flipped).1, Some(true), "a checksum is checked");
        }
        let mut cut = zstd(b"x");
        cut.extend_from_slice(&[0x50, 0x2a, 0x4d, 0x18, 9, 0, 0, 0, 1]);
        assert_eq!(inflated(&cut), (b"x".to_vec(), Some(true)));
    }
}
