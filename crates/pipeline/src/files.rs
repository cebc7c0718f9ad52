//! Capture files as input: opened, read in the order of time.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use gannet_packet::PacketType;
use gannet_pcap::{Merge, Packet, PacketSource, StreamReader};

use crate::config::{CaptureConfig, Direction, FileInput};
use crate::error::Error;

/// A reader whose packets can be kept without being copied: it reads ahead in buffers. Measured against a mapped file: what
/// copying costs is less than what the faults of 4 KiB pages do, and a file that shrinks is an error instead of a signal.
pub(crate) fn buffered_reader(input: &FileInput) -> Result<StreamReader<Box<dyn Read>>, Error> {
    let bytes: Box<dyn Read> = match input {
        FileInput::Stdin => Box::new(io::stdin()),
        FileInput::Path(path) => Box::new(open_file(path)?),
    };
    StreamReader::new(bytes).map_err(|source| Error::Input { path: path_of(input).to_owned(), source })
}

fn open_file(path: &Path) -> Result<File, Error> {
    let failed = |source| Error::Open { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    Ok(file)
}

/// Whether it has all that will be in it: no pipe, and nothing else that may have pauses.
pub(crate) fn is_plain_file(input: &FileInput) -> bool {
    match input {
        FileInput::Stdin => false,
        FileInput::Path(path) => path.metadata().is_ok_and(|facts| facts.is_file()),
    }
}

#[inline(always)]
pub(crate) fn advance<S: PacketSource>(merge: &mut Merge<S>, files: &[FileInput]) -> Result<bool, Error> {
    merge
        .advance()
        .map_err(|(source, error)| Error::Input { path: path_of(&files[source]).to_owned(), source: error })
}

pub(crate) fn path_of(input: &FileInput) -> &Path {
    match input {
        FileInput::Stdin => Path::new("-"),
        FileInput::Path(path) => path,
    }
}

/// The way a packet went, if by that it is to be taken.
#[inline]
pub(crate) fn wanted(config: &CaptureConfig, packet: &Packet<'_>) -> Option<PacketType> {
    // Only where the file tells the direction can it be asked for.
    let went = packet.flags.map_or(PacketType::Host, |_| packet.frame.packet_type);
    let sent = went == PacketType::Outgoing;
    let direction = match config.direction {
        Direction::InOut => true,
        Direction::In => !sent,
        Direction::Out => sent,
    };
    let kind = config.packet_type.is_none_or(|wanted| wanted == went);
    (direction && kind).then_some(went)
}
