//! Decompression between a source and the reader: gzip of several members, Zstandard of several frames, or none.
//!
//! A source may have pauses: what it answers with [`io::ErrorKind::WouldBlock`] is passed on, and reading goes on
//! later where it was.

mod gzip;

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use self::gzip::GzipDecoder;
use crate::Format;

/// A source that is decompressed if its first bytes say so.
#[derive(Debug)]
pub(crate) struct Inflate<R>(Kind<R>);

/// Where compressed data is damaged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Bytes of the compressed file before it.
    pub(crate) at: u64,
    /// What is wrong there.
    pub(crate) what: String,
}

/// The source, its first bytes put back before it.
type Input<R> = BufReader<Chain<Cursor<Vec<u8>>, R>>;

enum Kind<R> {
    Plain(Chain<Cursor<Vec<u8>>, R>),
    Gzip(Box<GzipDecoder<Input<R>>>),
    Zstd(Box<ZstdDecoder<Input<R>>>),
}

impl<R: Read> Inflate<R> {
    /// Reads as many bytes as tell the format.
    pub(crate) fn new(mut source: R) -> io::Result<Self> {
        let mut start = Vec::with_capacity(4);
        source.by_ref().take(4).read_to_end(&mut start)?;
        let format = Format::detect(&start);
        let input = Cursor::new(start).chain(source);
        let buffered = |input| BufReader::with_capacity(INPUT_BUFFER, input);
        Ok(Self(match format {
            Some(Format::Gzip) => Kind::Gzip(Box::new(GzipDecoder::new(buffered(input)))),
            Some(Format::Zstd) => Kind::Zstd(Box::new(ZstdDecoder::new(buffered(input)))),
            _ => Kind::Plain(input),
        }))
    }

    /// How the source is compressed, whose bytes are then others than those that are read.
    pub(crate) fn compression(&self) -> Option<Format> {
        match self.0 {
            Kind::Plain(_) => None,
            Kind::Gzip(_) => Some(Format::Gzip),
            Kind::Zstd(_) => Some(Format::Zstd),
        }
    }

    /// After an error of `read`: what is wrong with the compressed data, if it is not the source that failed.
    pub(crate) fn damage(&self) -> Option<Damage> {
        match &self.0 {
            Kind::Plain(_) => None,
            Kind::Gzip(decoder) => decoder.damage(),
            Kind::Zstd(decoder) => decoder.damage.clone(),
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

/// Decodes Zstandard frames one after the other; ruzstd's own reader stops after the first.
///
/// ruzstd takes what it asks its source for and forgets it when the source then has a pause. So headers and blocks
/// are gathered here, and given to it whole.
///
/// ruzstd keeps as much as a frame's window until the frame ends. One that is cut off or damaged is ended here, so that
/// what came before is given.
struct ZstdDecoder<R> {
    frame: FrameDecoder,
    in_frame: bool,
    /// A frame came before.
    is_behind: bool,
    /// The frame ends with a checksum.
    has_checksum: bool,
    source: R,
    /// As much as there is of the header or block at hand: at most what the 21 bits of a block's length can say.
    unit: Vec<u8>,
    /// Bytes of a skippable frame that are still to come.
    to_skip: u64,
    /// Bytes of the source taken, but for the unit at hand.
    taken: u64,
    /// What is wrong; told of when all that came before has been given.
    damage: Option<Damage>,
}

impl<R: BufRead> ZstdDecoder<R> {
    fn new(source: R) -> Self {
        // ruzstd bounds the window, and with it its memory, to 128 MiB unless told otherwise.
        Self {
            frame: FrameDecoder::new(),
            in_frame: false,
            is_behind: false,
            has_checksum: false,
            source,
            unit: Vec::new(),
            to_skip: 0,
            taken: 0,
            damage: None,
        }
    }

    /// Goes on to the next frame; `false` at the end of the source, or at damage.
    fn next_frame(&mut self) -> io::Result<bool> {
        loop {
            self.skip()?;
            if self.damage.is_some() || !self.gather(header_len)? {
                if self.damage.is_none() && !self.unit.is_empty() {
                    self.damaged(ENDS_EARLY);
                }
                return Ok(false);
            }
            let started = self.frame.reset(self.unit.as_slice());
            self.has_checksum = self.unit.get(4).is_some_and(|descriptor| descriptor & 0b100 != 0);
            match started {
                Ok(()) => {
                    self.taken_unit();
                    self.in_frame = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    self.taken_unit();
                    self.to_skip = length.into();
                }
                Err(error) => {
                    let what = self.damage_of_header(&error);
                    self.damaged(what);
                    return Ok(false);
                }
            }
        }
    }

    /// Why a frame cannot begin so.
    fn damage_of_header(&self, error: &FrameDecoderError) -> String {
        match error {
            FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::BadMagicNumber(_))
                if self.is_behind =>
            {
                "bytes that are no Zstandard follow the Zstandard data".to_owned()
            }
            FrameDecoderError::WindowSizeTooBig { requested, .. } => format!(
                "a window of {} MiB, which is too much to be kept: decompress the file first",
                requested >> 20
            ),
            FrameDecoderError::DictNotProvided { .. } => {
                "a dictionary is needed for it: decompress the file first".to_owned()
            }
            _ => "the header of a frame is damaged".to_owned(),
        }
    }

    /// Behind what has been taken of the source something is wrong.
    fn damaged(&mut self, what: impl Into<String>) {
        self.damage = Some(Damage { at: self.taken, what: what.into() });
    }

    fn taken_unit(&mut self) {
        self.taken += self.unit.len() as u64;
        self.unit.clear();
    }

    /// Skips the rest of a skippable frame.
    fn skip(&mut self) -> io::Result<()> {
        while self.to_skip != 0 {
            let present = self.source.fill_buf()?.len();
            if present == 0 {
                self.damaged(ENDS_EARLY);
                return Ok(());
            }
            let skipped = usize::try_from(self.to_skip).unwrap_or(usize::MAX).min(present);
            self.source.consume(skipped);
            self.taken += skipped as u64;
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
        let one = BlockDecodingStrategy::UptoBlocks(1);
        if !self.gather(|unit| block_len(unit, has_checksum))? {
            self.damaged(ENDS_EARLY);
        } else if self.frame.decode_blocks(self.unit.as_slice(), one).is_err() {
            self.damaged("what is there is no compressed data");
        }
        if self.damage.is_some() {
            // An empty block, the last, as it is (section 3.1.1.2), and a checksum: ruzstd gives all that it kept then.
            let end = [1, 0, 0, 0, 0, 0, 0];
            let one = BlockDecodingStrategy::UptoBlocks(1);
            // Nothing in it can be refused. If it were, what was kept would be lost, and the damage told of all the same.
            let _ = self.frame.decode_blocks(end.as_slice(), one);
        }
        self.taken_unit();
        Ok(())
    }

    fn end_frame(&mut self) {
        (self.in_frame, self.is_behind) = (false, true);
        let told = self.frame.get_checksum_from_data();
        let found = self.frame.get_calculated_checksum();
        if self.damage.is_none() && told.is_some() && found.is_some() && told != found {
            self.damaged("the checksum differs");
        }
    }
}

impl<R: BufRead> Read for ZstdDecoder<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        while self.in_frame || self.next_frame()? {
            while self.damage.is_none() && self.frame.can_collect() == 0 && !self.frame.is_finished() {
                self.next_block()?;
            }
            let n = self.frame.read(buf)?;
            if n != 0 {
                return Ok(n);
            }
            if self.frame.is_finished() || self.damage.is_some() {
                self.end_frame();
            }
        }
        match &self.damage {
            Some(Damage { what, .. }) => Err(io::Error::other(what.clone())),
            None => Ok(0),
        }
    }
}

const ENDS_EARLY: &str = "the file ends within the Zstandard data";

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
        (out, result.err().map(|_| source.damage().is_some()))
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
                        Err(_) => break Some(source.damage().is_some()),
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
        let padded = [gzip(&first), vec![0; 9], gzip(&second), vec![0; 300_000]].concat();
        assert_eq!(inflated(&padded), (both.clone(), None));
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

    /// What was decoded before the damage is given, and where it is is said of the compressed file.
    #[test]
    fn nothing_in_front_of_damage_is_lost() {
        let whole: Vec<u8> =
            (0..100_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for (compressed, least) in [(gzip(&whole), 190_000), (zstd(&whole), 128 << 10)] {
            let middle = compressed.len() / 2;
            let mut source = Inflate::new(&compressed[..middle]).unwrap();
            // One read asks for all of it: what the decoder has in hand when it meets the end is not forgotten.
            let mut out = vec![0; whole.len()];
            let (mut len, mut error) = (0, None);
            while error.is_none() {
                match source.read(&mut out[len..]) {
                    Ok(n) => len += n,
                    Err(other) => error = Some(other),
                }
            }
            assert!(whole.starts_with(&out[..len]) && len >= least, "{len}");
            let damage = source.damage().unwrap();
            assert!(damage.what.contains("the file ends within"), "{}", damage.what);
            assert!(damage.at <= middle as u64 && damage.at + (130 << 10) > middle as u64, "{}", damage.at);
        }
        // Bits in a block that say what no block says.
        let mut flipped = zstd(&whole);
        let second = 128 << 10;
        flipped[second + 20..second + 40].fill(0xff);
        let (out, damage) = inflated(&flipped);
        assert_eq!(damage, Some(true));
        assert!(out.len() >= 128 << 10 && whole.starts_with(&out[..128 << 10]), "{}", out.len());
    }

    #[test]
    fn damage_is_said_in_words() {
        let what = |compressed: &[u8]| {
            let mut source = Inflate::new(compressed).unwrap();
            let error = source.read_to_end(&mut Vec::new()).unwrap_err();
            let damage = source.damage().unwrap();
            assert_eq!(error.to_string(), damage.what);
            (damage.at, damage.what)
        };
        let (gz, zst) = (gzip(b"hello"), zstd(b"hello"));
        let behind = |front: &[u8], behind: &[u8]| [front, behind].concat();
        assert_eq!(what(b"\x1f\x8bhello").1, "it begins like gzip, and goes on like something else");
        assert_eq!(what(&gz[..6]), (6, "the file ends within the gzip data".to_owned()));
        assert_eq!(what(&behind(&gz, b"more")).1, "bytes that are no gzip follow the gzip data");
        assert_eq!(
            what(&behind(&zst, b"more bytes")),
            (zst.len() as u64, "bytes that are no Zstandard follow the Zstandard data".to_owned())
        );
        assert_eq!(what(&zst[..5]).1, ENDS_EARLY);
        // A window of 2 GiB.
        let window = what(&[0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3]).1;
        assert!(window.starts_with("a window of 2048 MiB"), "{window}");
        let dictionary = what(&[0x28, 0xb5, 0x2f, 0xfd, 0b10_0001, 7, 5]).1;
        assert!(dictionary.starts_with("a dictionary is needed"), "{dictionary}");
    }
}
