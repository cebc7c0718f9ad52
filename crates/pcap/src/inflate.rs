//! Decompression between a source and the reader: gzip of several members, Zstandard of several frames, or none.

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
            self.failed |= error.kind() != io::ErrorKind::Interrupted;
        }
        result
    }
}

/// Decodes Zstandard frames one after the other; ruzstd's own reader stops after the first.
///
/// A frame cut off gives what lies further back than its window (ruzstd keeps that much until the frame ends).
struct ZstdDecoder<R> {
    frame: FrameDecoder,
    in_frame: bool,
    source: R,
}

impl<R: BufRead> ZstdDecoder<R> {
    fn new(source: R) -> Self {
        // ruzstd bounds the window, and with it its memory, to 128 MiB unless told otherwise.
        Self { frame: FrameDecoder::new(), in_frame: false, source }
    }

    /// Goes on to the next frame; `false` at the end of the source.
    fn next_frame(&mut self) -> io::Result<bool> {
        loop {
            if self.source.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.frame.reset(&mut self.source) {
                Ok(()) => {
                    self.in_frame = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let skipped = io::copy(&mut self.source.by_ref().take(length.into()), &mut io::sink())?;
                    if skipped != u64::from(length) {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
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
                self.frame
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(io::Error::other)?;
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

/// Bytes of compressed data read at once.
const INPUT_BUFFER: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

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
