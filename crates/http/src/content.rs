//! Bodies without their codings (RFC 9110, section 8.4): gzip, deflate in both its meanings, br, zstd, several on top
//! of one another.
//!
//! ```text
//!   Message::body ──► Transfer-Encoding but for chunked ──► Content-Encoding, last one first ──► Decoded
//! ```
//!
//! Each layer's output is bounded in bytes and in its ratio to the input, so that a few bytes cannot become all of
//! memory; the number of layers is bounded as well. What was decoded before something was wrong is kept, and
//! [`DecodeEnd`] says what it was. Works on what was kept of a body, when a record is made: never on the way of
//! packets.

use std::io::{BufRead, ErrorKind, Read};

use flate2::{Decompress, FlushDecompress, Status};
use ruzstd::decoding::StreamingDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};

use crate::Message;

/// How far decoding may go.
#[derive(Clone, Copy, Debug)]
pub struct DecodeLimits {
    /// Most bytes of each layer.
    pub max_bytes: usize,
    /// Most bytes of output for each byte of input, once there are more than 64 KiB.
    pub max_ratio: usize,
    /// Most codings on top of one another.
    pub max_layers: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        // deflate cannot do better than 1032 to 1, and text does 4 to 20 to 1; nobody has a reason for more than two
        // layers.
        Self { max_bytes: 16 << 20, max_ratio: 1_100, max_layers: 4 }
    }
}

/// A body without its codings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// What could be decoded.
    pub bytes: Vec<u8>,
    /// How many codings were removed, also if the last of them only in part.
    pub layers: usize,
    /// How it ended.
    pub end: DecodeEnd,
}

/// Why decoding ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DecodeEnd {
    /// All is decoded.
    Whole,
    /// The input ended too early: the body is cut, or has a hole.
    Truncated,
    /// There are more bytes than allowed.
    TooLong,
    /// The output is too large for its input: a decompression bomb.
    Bomb,
    /// There are more layers than allowed.
    TooManyLayers,
    /// The next layer is of a coding that is not known.
    UnknownCoding,
    /// It is not what the field says.
    Corrupt,
}

impl DecodeEnd {
    /// All.
    pub const ALL: [Self; 7] = [
        Self::Whole,
        Self::Truncated,
        Self::TooLong,
        Self::Bomb,
        Self::TooManyLayers,
        Self::UnknownCoding,
        Self::Corrupt,
    ];

    /// Its name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Truncated => "truncated",
            Self::TooLong => "too-long",
            Self::Bomb => "bomb",
            Self::TooManyLayers => "too-many-layers",
            Self::UnknownCoding => "unknown-coding",
            Self::Corrupt => "corrupt",
        }
    }
}

impl Message {
    /// What was kept of the body, without its codings. A body that was not kept whole ends as [`DecodeEnd::Truncated`].
    pub fn decoded(&self, limits: &DecodeLimits) -> Decoded {
        let values = |wanted: &'static str| {
            let fields =
                self.head.fields().filter(move |(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes()));
            fields.map(|(_, value)| value)
        };
        let mut decoded =
            decode(values("content-encoding").chain(values("transfer-encoding")), &self.body, limits);
        if decoded.end == DecodeEnd::Whole && !self.body_is_whole() {
            decoded.end = DecodeEnd::Truncated;
        }
        decoded
    }
}

/// Removes the codings named in the values of fields, in the order in which they were applied. `chunked` and
/// `identity` are passed over: of the former nothing is left in a body.
pub fn decode<'v>(values: impl IntoIterator<Item = &'v [u8]>, body: &[u8], limits: &DecodeLimits) -> Decoded {
    let names =
        values.into_iter().flat_map(|value| value.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii);
    let mut codings = Vec::new();
    for name in names.filter(|name| !name.is_empty()) {
        if codings.len() > limits.max_layers {
            break;
        }
        match name.to_ascii_lowercase().as_slice() {
            b"identity" | b"chunked" => {}
            b"gzip" | b"x-gzip" => codings.push(Some(Coding::Gzip)),
            b"deflate" | b"x-deflate" => codings.push(Some(Coding::Deflate)),
            b"br" => codings.push(Some(Coding::Brotli)),
            b"zstd" => codings.push(Some(Coding::Zstd)),
            _ => codings.push(None),
        }
    }
    let mut decoded = Decoded { bytes: body.to_vec(), layers: 0, end: DecodeEnd::Whole };
    if codings.len() > limits.max_layers {
        decoded.end = DecodeEnd::TooManyLayers;
        return decoded;
    }
    for coding in codings.into_iter().rev() {
        let Some(coding) = coding else {
            decoded.end = DecodeEnd::UnknownCoding;
            break;
        };
        if decoded.bytes.is_empty() && decoded.layers == 0 {
            // Nothing was sent, as in an answer to HEAD.
            break;
        }
        let mut output = Output::new(decoded.bytes.len(), limits);
        let end = match coding {
            Coding::Gzip => gzip(&decoded.bytes, &mut output),
            Coding::Deflate => deflate(&decoded.bytes, &mut output),
            Coding::Brotli => brotli(&decoded.bytes, &mut output),
            Coding::Zstd => zstd(&decoded.bytes, &mut output),
        };
        decoded.bytes = output.bytes;
        decoded.layers += 1;
        // The first thing that went wrong is the reason for all that follows.
        if decoded.end == DecodeEnd::Whole {
            decoded.end = end;
        }
        if decoded.end != DecodeEnd::Whole && decoded.bytes.is_empty() {
            break;
        }
    }
    decoded
}

#[derive(Clone, Copy, Debug)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// What a layer has yielded, within its bounds.
struct Output {
    bytes: Vec<u8>,
    max_bytes: usize,
    max_of_ratio: usize,
}

impl Output {
    fn new(input: usize, limits: &DecodeLimits) -> Self {
        let max_of_ratio = input.saturating_mul(limits.max_ratio).max(RATIO_FROM);
        Self { bytes: Vec::new(), max_bytes: limits.max_bytes, max_of_ratio }
    }

    /// Adds what fits. The bound that was hit, if one was.
    fn add(&mut self, bytes: &[u8]) -> Option<DecodeEnd> {
        let room = self.max_bytes.min(self.max_of_ratio) - self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if bytes.len() <= room {
            return None;
        }
        Some(if self.max_of_ratio < self.max_bytes { DecodeEnd::Bomb } else { DecodeEnd::TooLong })
    }

    /// Adds all that `reader` yields.
    fn drain(&mut self, reader: &mut impl Read) -> DecodeEnd {
        let mut piece = [0; PIECE];
        loop {
            match reader.read(&mut piece) {
                Ok(0) => return DecodeEnd::Whole,
                Ok(len) => {
                    if let Some(end) = self.add(&piece[..len]) {
                        return end;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return DecodeEnd::Truncated,
                Err(_) => return DecodeEnd::Corrupt,
            }
        }
    }
}

/// Members one after another (RFC 1952, section 2.2). What follows the last one and is none is passed over, as gzip
/// does.
fn gzip(mut input: &[u8], output: &mut Output) -> DecodeEnd {
    loop {
        let mut member = flate2::bufread::GzDecoder::new(input);
        let end = output.drain(&mut member);
        let rest = member.into_inner();
        if end != DecodeEnd::Whole || !rest.starts_with(&[0x1f, 0x8b]) {
            return end;
        }
        input = rest;
    }
}

/// "The 'deflate' coding is a 'zlib' data format"; "Some non-conformant implementations send the 'deflate' compressed
/// data without the zlib wrapper" (RFC 9110, section 8.4.1.2).
fn deflate(input: &[u8], output: &mut Output) -> DecodeEnd {
    let zlib = match input {
        [first, second, ..] => {
            first & 0x0f == 8 && first >> 4 <= 7 && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0
        }
        _ => false,
    };
    if zlib {
        let end = inflate(input, true, output);
        if end != DecodeEnd::Corrupt || !output.bytes.is_empty() {
            return end;
        }
    }
    inflate(input, false, output)
}

fn inflate(mut input: &[u8], zlib: bool, output: &mut Output) -> DecodeEnd {
    let mut state = Decompress::new(zlib);
    let mut piece = [0; PIECE];
    loop {
        let (taken, given) = (state.total_in(), state.total_out());
        let status = state.decompress(input, &mut piece, FlushDecompress::None);
        let taken = (state.total_in() - taken) as usize;
        let given = (state.total_out() - given) as usize;
        input = input.get(taken..).unwrap_or_default();
        if let Some(end) = output.add(piece.get(..given).unwrap_or_default()) {
            return end;
        }
        match status {
            Ok(Status::StreamEnd) => return DecodeEnd::Whole,
            Err(_) => return DecodeEnd::Corrupt,
            Ok(_) if taken == 0 && given == 0 => {
                return if input.is_empty() { DecodeEnd::Truncated } else { DecodeEnd::Corrupt };
            }
            Ok(_) => {}
        }
    }
}

fn brotli(input: &[u8], output: &mut Output) -> DecodeEnd {
    let mut reader = brotli_decompressor::Decompressor::new(Watched { input, exhausted: false }, PIECE);
    let end = output.drain(&mut reader);
    // The decoder has one error for all that can be wrong. If it asked for more than there is, that was it.
    match end {
        DecodeEnd::Corrupt if reader.get_ref().exhausted => DecodeEnd::Truncated,
        end => end,
    }
}

/// A slice that knows whether more was asked of it than it has.
struct Watched<'a> {
    input: &'a [u8],
    exhausted: bool,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.exhausted |= self.input.is_empty();
        self.input.read(buffer)
    }
}

/// Frames one after another, those that are to be skipped left out (RFC 8878, section 3.1).
fn zstd(mut input: &[u8], output: &mut Output) -> DecodeEnd {
    loop {
        let mut skip = None;
        let mut wrong = false;
        match StreamingDecoder::new_with_max_window_size(&mut input, ZSTD_WINDOW_MAX) {
            Ok(mut frame) => {
                let end = output.drain(&mut frame);
                if end == DecodeEnd::Corrupt && frame.get_ref().is_empty() {
                    return DecodeEnd::Truncated;
                }
                if end != DecodeEnd::Whole {
                    return end;
                }
            }
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length, ..
            })) => {
                skip = Some(length as usize);
            }
            Err(_) => wrong = true,
        }
        match skip {
            Some(len) if len > input.len() => return DecodeEnd::Truncated,
            Some(len) => input.consume(len),
            None if wrong && input.is_empty() => return DecodeEnd::Truncated,
            None if wrong => return DecodeEnd::Corrupt,
            None => {}
        }
        if input.is_empty() {
            return DecodeEnd::Whole;
        }
    }
}

/// Bytes decoded at once, on the stack.
const PIECE: usize = 8 << 10;
/// Output below this is no bomb, whatever its ratio.
const RATIO_FROM: usize = 64 << 10;
/// "a decoder ... MUST support Window_Size values up to 8 MB" and an encoder of HTTP content must not exceed it (RFC
/// 9659).
const ZSTD_WINDOW_MAX: u64 = 8 << 20;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn limits() -> DecodeLimits {
        DecodeLimits { max_bytes: 1 << 20, max_ratio: 2_000, max_layers: 3 }
    }

    fn encode(coding: &str, bytes: &[u8]) -> Vec<u8> {
        let level = Compression::best();
        match coding {
            "gzip" | "x-gzip" => {
                let mut encoder = GzEncoder::new(Vec::new(), level);
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            "deflate" | "x-deflate" => {
                let mut encoder = ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            "raw" => {
                let mut encoder = DeflateEncoder::new(Vec::new(), level);
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            "zstd" => compress_to_vec(bytes, CompressionLevel::Fastest),
            "br" => stored_brotli(bytes),
            _ => bytes.to_vec(),
        }
    }

    /// A stream of uncompressed meta-blocks (RFC 7932, section 9.2), window of 16 bits.
    fn stored_brotli(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        // WBITS = 16 is the single bit 0; what is left of the byte belongs to the first meta-block.
        let (mut bits, mut count) = (0_u64, 1);
        for piece in bytes.chunks(1 << 16) {
            // ISLAST 0, MNIBBLES 4, MLEN - 1, ISUNCOMPRESSED 1, then up to the next byte.
            bits |= (piece.len() as u64 - 1) << (count + 3) | 1 << (count + 19);
            count += 20;
            out.extend(&bits.to_le_bytes()[..usize::div_ceil(count, 8)]);
            out.extend(piece);
            (bits, count) = (0, 0);
        }
        // ISLAST, ISLASTEMPTY.
        bits |= 0b11 << count;
        out.push(bits as u8);
        out
    }

    fn one(coding: &str, bytes: &[u8]) -> Decoded {
        decode([coding.as_bytes()], bytes, &limits())
    }

    #[test]
    fn each_coding() {
        let text = b"The quick brown fox. ".repeat(300);
        for coding in ["gzip", "x-gzip", "deflate", "x-deflate", "zstd", "br", "identity"] {
            let decoded = one(coding, &encode(coding, &text));
            assert_eq!(decoded.end, DecodeEnd::Whole, "{coding}");
            assert_eq!(decoded.bytes, text, "{coding}");
        }
        assert_eq!(one("Deflate", &encode("raw", &text)).bytes, text);
        // What brotli's own encoder makes of it.
        let decoded = one("br", b"\x0b\x05\x80hello world\x03");
        assert_eq!((&decoded.bytes[..], decoded.end), (&b"hello world"[..], DecodeEnd::Whole));
    }

    #[test]
    fn members_and_frames_one_after_another() {
        for coding in ["gzip", "zstd"] {
            let two = [encode(coding, b"one "), encode(coding, b"two")].concat();
            assert_eq!(one(coding, &two).bytes, b"one two", "{coding}");
            assert_eq!(one(coding, &two).end, DecodeEnd::Whole, "{coding}");
        }
        // gzip passes over what follows; zstd skips frames made for that.
        let padded = [encode("gzip", b"one"), vec![0; 20]].concat();
        assert_eq!(
            (one("gzip", &padded).bytes, one("gzip", &padded).end),
            (b"one".to_vec(), DecodeEnd::Whole)
        );
        let skipped = [b"\x50\x2a\x4d\x18\x03\0\0\0abc".to_vec(), encode("zstd", b"one")].concat();
        assert_eq!(
            (one("zstd", &skipped).bytes, one("zstd", &skipped).end),
            (b"one".to_vec(), DecodeEnd::Whole)
        );
    }

    #[test]
    fn several_layers() {
        let text = b"stacked ".repeat(50);
        let inner = encode("gzip", &text);
        let body = encode("zstd", &encode("br", &inner));
        let decoded = decode([&b"gzip, br"[..], b"zstd"], &body, &limits());
        assert_eq!((decoded.end, decoded.layers), (DecodeEnd::Whole, 3));
        assert_eq!(decoded.bytes, text);
        // Transfer codings are outside, and chunked is gone already.
        let decoded = decode([&b"gzip"[..], b"deflate, chunked"], &encode("deflate", &inner), &limits());
        assert_eq!((decoded.bytes, decoded.layers), (text, 2));
        let decoded = decode([&b"gzip, gzip, gzip, gzip"[..]], &inner, &limits());
        assert_eq!((decoded.end, decoded.bytes), (DecodeEnd::TooManyLayers, inner));
        let decoded = decode([&b"snappy, br"[..]], &encode("br", b"x"), &limits());
        assert_eq!(
            (decoded.end, decoded.layers, &decoded.bytes[..]),
            (DecodeEnd::UnknownCoding, 1, &b"x"[..])
        );
    }

    #[test]
    fn bombs_go_off_within_bounds() {
        let zeros = vec![0; 4 << 20];
        for coding in ["gzip", "deflate", "zstd"] {
            let bomb = encode(coding, &zeros);
            assert!(bomb.len() < 64 << 10, "{coding}: {}", bomb.len());
            let any_ratio = DecodeLimits { max_ratio: usize::MAX, ..limits() };
            let decoded = decode([coding.as_bytes()], &bomb, &any_ratio);
            assert_eq!((decoded.end, decoded.bytes.len()), (DecodeEnd::TooLong, 1 << 20), "{coding}");
            let strict = DecodeLimits { max_ratio: 20, max_bytes: 64 << 20, max_layers: 1 };
            let decoded = decode([coding.as_bytes()], &bomb, &strict);
            assert_eq!(decoded.end, DecodeEnd::Bomb, "{coding}");
            assert_eq!(decoded.bytes.len(), (bomb.len() * 20).max(64 << 10), "{coding}");
        }
        // 4 MiB of zeros by brotli's own encoder.
        let bomb = b"\x9b\xff\xff\x3f\xf8\x27\x00\xe2\xb1\x40\x20\xf7\xfe\x07";
        let few = DecodeLimits { max_bytes: 1 << 20, max_ratio: usize::MAX, max_layers: 1 };
        assert_eq!(decode([&b"br"[..]], bomb, &few).end, DecodeEnd::TooLong);
        let decoded = decode([&b"br"[..]], bomb, &limits());
        assert_eq!((decoded.end, decoded.bytes.len()), (DecodeEnd::Bomb, 64 << 10));
        // A bomb in a bomb: each layer is bounded.
        let nested = encode("gzip", &encode("gzip", &zeros));
        assert_eq!(decode([&b"gzip, gzip"[..]], &nested, &limits()).bytes.len(), 1 << 20);
    }

    #[test]
    fn cut_anywhere() {
        let text: Vec<u8> = (0..3_000_u32).flat_map(|number| (number * number).to_le_bytes()).collect();
        for coding in ["gzip", "deflate", "raw", "zstd", "br"] {
            let name = if coding == "raw" { "deflate" } else { coding };
            let body = encode(coding, &text);
            for len in [1, 2, 5, 10, body.len() / 2, body.len() - 1] {
                let decoded = one(name, &body[..len]);
                assert!(text.starts_with(&decoded.bytes), "{coding} {len}");
                assert_eq!(decoded.end, DecodeEnd::Truncated, "{coding} {len}");
            }
        }
        for coding in ["gzip", "deflate", "zstd", "br"] {
            assert_eq!(one(coding, b"").end, DecodeEnd::Whole, "{coding}: an answer to HEAD");
        }
    }

    #[test]
    fn what_the_field_says_is_wrong() {
        for coding in ["gzip", "zstd", "deflate", "br"] {
            let decoded = one(coding, b"{\"plain\": \"text, not compressed at all\"}");
            assert!(decoded.end != DecodeEnd::Whole, "{coding}");
        }
        assert_eq!(one("gzip", b"plain text, which is long enough").end, DecodeEnd::Corrupt);
        // A wrong checksum: all of it is there, and it is said.
        let mut body = encode("gzip", b"all of it");
        let at = body.len() - 6;
        body[at] ^= 1;
        assert_eq!(
            (one("gzip", &body).bytes, one("gzip", &body).end),
            (b"all of it".to_vec(), DecodeEnd::Corrupt)
        );
    }

    proptest! {
        #[test]
        fn there_and_back(
            bytes in prop::collection::vec(any::<u8>(), 1..5_000),
            codings in prop::collection::vec(prop::sample::select(vec!["gzip", "deflate", "br", "zstd"]), 0..4),
        ) {
            let body = codings.iter().fold(bytes.clone(), |body, coding| encode(coding, &body));
            let value = codings.join(", ");
            let decoded = decode([value.as_bytes()], &body, &limits());
            prop_assert_eq!(decoded.end, DecodeEnd::Whole);
            prop_assert_eq!(decoded.bytes, bytes);
        }

        #[test]
        fn any_bytes_end(
            bytes in prop::collection::vec(any::<u8>(), 0..500),
            coding in prop::sample::select(vec!["gzip", "deflate", "br", "zstd"]),
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            prop_assert!(one(coding, &bytes).bytes.len() <= 1 << 20);
            let mut body = encode(coding, &bytes);
            for (at, bits) in flips {
                let at = at.index(body.len());
                body[at] ^= bits;
            }
            prop_assert!(one(coding, &body).bytes.len() <= 1 << 20);
        }
    }
}
