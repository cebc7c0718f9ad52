//! What can be wrong with a capture file, and which kinds of file there are.

use std::fmt;
use std::io;

/// A kind of file that the readers know by its first bytes, never by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Classic pcap, any of its magic numbers in either byte order.
    Pcap,
    /// pcapng.
    PcapNg,
    /// gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
}

impl Format {
    /// The format of a file that starts with `bytes`; four are enough, fewer tell nothing.
    #[must_use]
    pub fn detect(bytes: &[u8]) -> Option<Self> {
        let magic: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
        if crate::ng::SECTION_HEADER.to_le_bytes() == magic {
            Some(Self::PcapNg)
        } else if crate::classic::Variant::from_magic(magic).is_some() {
            Some(Self::Pcap)
        } else if magic.starts_with(&[0x1f, 0x8b]) {
            Some(Self::Gzip)
        } else if magic == [0x28, 0xb5, 0x2f, 0xfd]
            || (magic[0] & 0xf0 == 0x50 && magic[1..] == [0x2a, 0x4d, 0x18])
        {
            // The second is a skippable frame, which parallel compressors put first.
            Some(Self::Zstd)
        } else {
            None
        }
    }

    /// True for a capture as it is, which can be read where it lies.
    #[must_use]
    pub fn is_plain(self) -> bool {
        matches!(self, Self::Pcap | Self::PcapNg)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pcap => "pcap",
            Self::PcapNg => "pcapng",
            Self::Gzip => "gzip",
            Self::Zstd => "Zstandard",
        })
    }
}

/// Why a capture cannot be read at all. A file that starts well and goes bad later is no error: see [`Warning`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The first bytes are those of something else.
    #[error("not a capture file: {found}")]
    NotCapture {
        /// What was found, in words.
        found: String,
    },
    /// Compressed data that is damaged before the capture in it has begun.
    #[error("{format} data damaged at offset {at}, where the capture in it has not begun: {what}{}", CheckWith(*format))]
    Damaged {
        /// How it is compressed.
        format: Format,
        /// Bytes of the compressed file before the damage.
        at: u64,
        /// What is wrong there.
        what: String,
    },
    /// A mapped file is compressed; a [`crate::StreamReader`] reads it.
    #[error("{0} data has to be read as a stream")]
    Compressed(Format),
    /// A capture file whose first header is cut off.
    #[error("{format} file cut in its header: {present} bytes where {needed} are needed")]
    HeaderCut {
        /// What the first bytes say it is.
        format: Format,
        /// Bytes that there are.
        present: u64,
        /// Bytes that the header has.
        needed: u64,
    },
    /// A capture file whose first header cannot be used.
    #[error("{format} file with an unusable header: {reason}")]
    Header {
        /// What the first bytes say it is.
        format: Format,
        /// What is wrong with it.
        reason: Reason,
    },
    /// No header has come in a stream that is compressed, and what has come is as much as is kept of one.
    #[error(
        "compressed, and no header of a capture in the first {} MiB: decompress it first, or save it as a file and read that",
        beyond >> 20
    )]
    HeaderFar {
        /// Bytes that have come.
        beyond: u64,
    },
    /// The source failed.
    #[error("reading at offset {offset}: {source}")]
    Io {
        /// Bytes of the capture (after decompression) read before.
        offset: u64,
        /// What the source said.
        source: io::Error,
    },
}

impl Error {
    /// The source has nothing at the moment, but may have more later.
    #[must_use]
    pub fn is_pause(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::WouldBlock)
    }
}

/// Why reading ended before the end of the file. All packets before `offset` have been delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where the record or block starts that could not be read: bytes from the start of the file, of the
    /// decompressed contents if it is compressed.
    pub offset: u64,
    /// How the file is compressed.
    pub compression: Option<Format>,
    /// What is wrong there.
    pub reason: Reason,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, reason, .. } = self;
        match (self.compression, reason) {
            (Some(format), Reason::Compression { at, .. }) => write!(
                f,
                "{format} data damaged at offset {at}, which is {offset} of what is in it: {reason}; what follows is left \
                 out{}",
                CheckWith(format)
            ),
            (Some(format), _) => write!(
                f,
                "damaged at offset {offset} of what is in the {format} data: {reason}; what follows is left out{}",
                CheckWith(format)
            ),
            (None, _) => write!(f, "damaged at offset {offset}: {reason}; what follows is left out"),
        }
    }
}

/// What to do about compressed data that is damaged: whether it came so, its own tool says.
struct CheckWith(Format);

impl fmt::Display for CheckWith {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tool = match self.0 {
            Format::Gzip => "gzip -t",
            Format::Zstd => "zstd -t",
            Format::Pcap | Format::PcapNg => return Ok(()),
        };
        write!(f, " (copy the file again if `{tool}` refuses it, too)")
    }
}

/// What is wrong with a record or block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The file ends within it.
    #[error("cut off: {present} of {needed} bytes are there")]
    Truncated {
        /// Bytes of it that the file holds.
        present: u64,
        /// Bytes it has, as far as its header could be read.
        needed: u64,
    },
    /// Zeros where a block should start: space that was preallocated, or a write that never came.
    #[error("zeros where a block should start (a recording that was not closed?)")]
    Zeros,
    /// A total length that no block of this type can have.
    #[error("block of type {block_type:#x} with an impossible length of {length}")]
    BlockLength {
        /// The block's type.
        block_type: u32,
        /// Its total length as read.
        length: u32,
    },
    /// The two lengths of a block differ.
    #[error("block length {first} at its start, {last} at its end")]
    LengthsDiffer {
        /// The length at the start.
        first: u32,
        /// The length at the end.
        last: u32,
    },
    /// A packet longer than the block around it.
    #[error("packet of {caplen} captured bytes in a block that has room for {room}")]
    CaptureLength {
        /// The captured length as read.
        caplen: u32,
        /// Bytes that the block has for data.
        room: u32,
    },
    /// A record longer than any that can be meant: see [`crate::MAX_RECORD`].
    #[error("record of {0} captured bytes")]
    RecordLength(u32),
    /// A packet of an interface that no block has described.
    #[error("packet of interface {interface}, where {described} are described")]
    UnknownInterface {
        /// The number in the packet's block.
        interface: u32,
        /// Interfaces described so far in this section.
        described: u32,
    },
    /// More interfaces than [`crate::MAX_INTERFACES`].
    #[error("more than {} interfaces", crate::MAX_INTERFACES)]
    TooManyInterfaces,
    /// A section whose byte order cannot be told.
    #[error("byte-order magic {0:#010x}")]
    ByteOrder(u32),
    /// A version of the format that nobody has defined.
    #[error("format version {0}.{1}")]
    Version(u16, u16),
    /// The compressed data around it is damaged or ends early.
    #[error("{what}")]
    Compression {
        /// Bytes of the compressed file before the damage.
        at: u64,
        /// What is wrong there.
        what: String,
    },
}

/// The error for a file that starts with `bytes` and is none of ours.
pub(crate) fn not_capture(bytes: &[u8]) -> Error {
    let known: &[(&[u8], &str)] = &[
        (b"snoop\0\0\0", "a snoop file"),
        (b"RTSS", "a Network Monitor 1 file"),
        (b"GMBU", "a Network Monitor 2 file"),
        (b"\xfd7zXZ\0", "xz data"),
        (b"BZh", "bzip2 data"),
        (b"\x04\x22\x4d\x18", "lz4 data"),
        (b"PK\x03\x04", "a zip archive"),
        (b"\x7fELF", "an ELF file"),
    ];
    let found = if bytes.is_empty() {
        "the file is empty".to_owned()
    } else if let Some((_, name)) = known.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        (*name).to_owned()
    } else {
        let start = &bytes[..bytes.len().min(8)];
        let hex: Vec<String> = start.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = start.escape_ascii();
        if start.len() < 4 {
            let plural = if start.len() == 1 { "" } else { "s" };
            format!("only {} byte{plural}: {} (\"{text}\")", start.len(), hex.join(" "))
        } else {
            format!("it starts with {} (\"{text}\")", hex.join(" "))
        }
    };
    Error::NotCapture { found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_their_first_bytes() {
        for (bytes, format) in [
            (&b"\xd4\xc3\xb2\xa1"[..], Some(Format::Pcap)),
            (b"\xa1\xb2\x3c\x4d", Some(Format::Pcap)),
            (b"\x34\xcd\xb2\xa1", Some(Format::Pcap)),
            (b"\xa1\xe2\xcb\x12", Some(Format::Pcap)),
            (b"\x0a\x0d\x0d\x0a", Some(Format::PcapNg)),
            (b"\x1f\x8b\x08\x00", Some(Format::Gzip)),
            (b"\x28\xb5\x2f\xfd", Some(Format::Zstd)),
            (b"\x5e\x2a\x4d\x18", Some(Format::Zstd)),
            (b"\x0a\x0d\x0d", None),
            (b"GET ", None),
            (b"", None),
        ] {
            assert_eq!(Format::detect(bytes), format, "{bytes:x?}");
        }
    }

    #[test]
    fn what_was_found_is_named() {
        let text = |bytes: &[u8]| not_capture(bytes).to_string();
        assert_eq!(text(b""), "not a capture file: the file is empty");
        assert_eq!(text(b"BZh91AY"), "not a capture file: bzip2 data");
        assert_eq!(text(b"\x01A"), "not a capture file: only 2 bytes: 01 41 (\"\\x01A\")");
        assert_eq!(
            text(b"# readme\n and more"),
            "not a capture file: it starts with 23 20 72 65 61 64 6d 65 (\"# readme\")"
        );
    }
}
