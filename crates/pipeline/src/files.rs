//! Capture files as input: opened, read in the order of time.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gannet_packet::PacketType;
use gannet_pcap::{Merge, Packet, PacketSource, Piece, StreamReader};
use gannet_recorder::SeriesName;
use nix::fcntl::OFlag;

use crate::arrivals::Arrivals;
use crate::config::{CaptureConfig, Direction, FileInput};
use crate::control::{Command, Control, Event, LOOK_AROUND};
use crate::error::Error;
use crate::ledger::Report;

/// A source of bytes that any thread may read.
pub(crate) type Bytes = Box<dyn Read + Send>;

/// A reader whose packets can be kept without being copied: it reads ahead in buffers. Measured against a mapped
/// file: what copying costs is less than what the faults of 4 KiB pages do, and a file that shrinks is an error
/// instead of a signal.
pub(crate) fn buffered_reader(input: &FileInput) -> Result<StreamReader<Bytes>, Error> {
    let bytes: Bytes = match input {
        FileInput::Stdin => Box::new(io::stdin()),
        FileInput::Path(path) => Box::new(open_file(path, OFlag::empty())?),
    };
    StreamReader::new(bytes).map_err(failed(input))
}

/// A file or a pipe whose header has been read.
pub(crate) struct Opened {
    /// As [`buffered_reader`].
    pub(crate) reader: StreamReader<Bytes>,
    /// The way to its pieces if others may read those for it.
    pub(crate) pieces: Option<Pieces>,
    /// Set for what has pauses: where to wait for more.
    pub(crate) arrivals: Option<Arrivals>,
}

/// Opens an input, and reads its header. Of what has pauses the header may be long in coming: `wait` sleeps until
/// there may be more of it; if that says `false`, nobody wants it any more, and `None` is returned.
fn open(input: &FileInput, wait: &mut dyn FnMut(BorrowedFd<'_>) -> bool) -> Result<Option<Opened>, Error> {
    let file = match input {
        FileInput::Stdin => {
            let file = io::stdin().as_fd().try_clone_to_owned().map(File::from);
            file.map_err(|source| Error::Open { path: path_of(input).to_owned(), source })?
        }
        // A pipe is to be open before anybody writes to it.
        FileInput::Path(path) => open_file(path, OFlag::O_NONBLOCK)?,
    };
    if !file.metadata().is_ok_and(|facts| facts.is_file()) {
        let arrivals = Arrivals::new(file);
        let reader = arrivals.reader(wait).map_err(failed(input))?;
        return Ok(reader.map(|reader| Opened { reader, pieces: None, arrivals: Some(arrivals) }));
    }
    if *input == FileInput::Stdin {
        // Whoever had it before us may have read some of it.
        let reader = StreamReader::new(Box::new(file) as Bytes).map_err(failed(input))?;
        return Ok(Some(Opened { reader, pieces: None, arrivals: None }));
    }
    let pieces = Pieces { file: Arc::new(file), read: Arc::default(), first: 0 };
    let reader = StreamReader::new(Box::new(pieces.clone()) as Bytes).map_err(failed(input))?;
    let first = reader.bytes_read();
    let pieces = (!reader.is_compressed()).then_some(Pieces { first, ..pieces });
    Ok(Some(Opened { reader, pieces, arrivals: None }))
}

/// As [`open`], before there is anything else in a run: `report` is what there is to tell. `None` if the run is to end.
pub(crate) fn open_early(
    input: &FileInput,
    control: &Control,
    events: &dyn Fn(Event),
    report: &dyn Fn() -> Report,
) -> Result<Option<Opened>, Error> {
    let mut told = false;
    open(input, &mut |fd| {
        if !std::mem::replace(&mut told, true) {
            events(Event::Awaiting(path_of(input).to_owned()));
        }
        if let Some(Command::Report) = control.wait_beside(Some(fd), LOOK_AROUND) {
            events(Event::Report(Box::new(report())));
        }
        !control.stopping()
    })
}

/// The packets of files by time, but those of one recording in the order of its files: its workers fill their blocks
/// beside one another, so that the time in a file runs back by as much as a block may wait, and the packets of a flow
/// are in order in the whole recording alone.
pub(crate) fn in_order(readers: Vec<StreamReader<Bytes>>, files: &[FileInput]) -> Merge<StreamReader<Bytes>> {
    Merge::of_series(readers, &follows(files))
}

/// For each file the one that it goes on from, by their names.
fn follows(files: &[FileInput]) -> Vec<Option<usize>> {
    let mut named = Vec::new();
    for (place, input) in files.iter().enumerate() {
        let FileInput::Path(path) = input else { continue };
        let name = path.file_name().and_then(|name| SeriesName::of(name.to_str()?));
        named.extend(name.map(|name| (path.parent(), name, place)));
    }
    named.sort_by_key(|(directory, name, _)| (*directory, *name));
    let mut follows = vec![None; files.len()];
    for pair in named.windows(2) {
        let [(directory, name, place), (next_directory, next, next_place)] = pair else { continue };
        // A lower number is another run's, and the same one is a file that was given twice.
        let goes_on = (directory, name.stem) == (next_directory, next.stem) && name.number < next.number;
        if goes_on && let Some(before) = follows.get_mut(*next_place) {
            *before = Some(*place);
        }
    }
    follows
}

fn failed(input: &FileInput) -> impl Fn(gannet_pcap::Error) -> Error {
    |source| Error::Input { path: path_of(input).to_owned(), source }
}

/// A file that several threads read for one reader, and the reader itself: a source that goes on where reading has
/// come to.
///
/// The pieces have one size and begin where the reader stood when it was made. They are numbered from 0.
#[derive(Clone, Debug)]
pub(crate) struct Pieces {
    file: Arc<File>,
    /// Where the reader goes on.
    read: Arc<AtomicU64>,
    first: u64,
}

impl Pieces {
    /// Reads a piece into a buffer. If that fails or the file has ended it is shorter, or empty: the reader then
    /// finds out why.
    pub(crate) fn read(&self, number: u64, mut buffer: Arc<Vec<u8>>) -> Piece {
        let at = self.first + number * PIECE as u64;
        // A buffer that others keep is left to them.
        let bytes = Arc::make_mut(&mut buffer);
        if bytes.len() != PIECE_ROOM + PIECE {
            // Not made longer: memory that comes fresh from the system is 0 already.
            *bytes = vec![0; PIECE_ROOM + PIECE];
        }
        let mut end = PIECE_ROOM;
        while let Some(rest) = bytes.get_mut(end..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, at + (end - PIECE_ROOM) as u64) {
                Ok(0) => break,
                Ok(read) => end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        Piece { buffer, filled: PIECE_ROOM..end, at }
    }

    /// Gives the reader a piece. Returns the buffer that it has no more use for, and whether it took the piece.
    pub(crate) fn give(&self, reader: &mut StreamReader<Bytes>, piece: Piece) -> (Arc<Vec<u8>>, bool) {
        match reader.offer(piece) {
            Ok(buffer) => {
                self.read.store(reader.bytes_read(), Ordering::Relaxed);
                (buffer, true)
            }
            Err(piece) => (piece.buffer, false),
        }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Whoever has the reader is alone with it, and with this number.
        let at = self.read.load(Ordering::Relaxed);
        let read = self.file.read_at(buffer, at)?;
        self.read.store(at + read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

fn open_file(path: &Path, flags: OFlag) -> Result<File, Error> {
    let failed = |source| Error::Open { path: path.to_owned(), source };
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(Error::Directory { path: path.to_owned() });
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

/// How a step through the inputs ended.
pub(crate) enum Step {
    Packet,
    /// This input has nothing at the moment.
    Pause(usize),
    End,
}

#[inline(always)]
pub(crate) fn advance<S: PacketSource>(merge: &mut Merge<S>, files: &[FileInput]) -> Result<Step, Error> {
    match merge.advance() {
        Ok(true) => Ok(Step::Packet),
        Ok(false) => Ok(Step::End),
        Err((source, error)) if error.is_pause() => Ok(Step::Pause(source)),
        Err((source, error)) => Err(failed(&files[source])(error)),
    }
}

pub(crate) fn path_of(input: &FileInput) -> &Path {
    match input {
        FileInput::Stdin => Path::new("-"),
        FileInput::Path(path) => path,
    }
}

/// The way a packet went. Only where the file tells the direction can it be asked for.
#[inline]
pub(crate) fn way(packet: &Packet<'_>) -> PacketType {
    packet.flags.map_or(PacketType::Host, |_| packet.frame.packet_type)
}

/// The same, if by that the packet is to be taken.
#[inline]
pub(crate) fn wanted(config: &CaptureConfig, packet: &Packet<'_>) -> Option<PacketType> {
    let went = way(packet);
    let sent = went == PacketType::Outgoing;
    let direction = match config.direction {
        Direction::InOut => true,
        Direction::In => !sent,
        Direction::Out => sent,
    };
    let kind = config.packet_type.is_none_or(|wanted| wanted == went);
    (direction && kind).then_some(went)
}

/// Bytes of a file that a thread reads at once: little enough to be in its processor's own cache when it is walked
/// through.
const PIECE: usize = 256 << 10;

/// Room in front of a piece for the part of a record that the piece before ended with. A longer part, of a record
/// that no network has seen, is read by the reader itself.
const PIECE_ROOM: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_one_recording_follow_one_another() {
        let files = |names: &[&str]| {
            let file = |name: &&str| match *name {
                "-" => FileInput::Stdin,
                name => FileInput::Path(name.into()),
            };
            names.iter().map(file).collect::<Vec<_>>()
        };
        let of_run = |time: &str, number: u32| format!("d/gannet-eth0-20260131T{time}Z-{number:06}.pcapng");
        let [a1, a2, a3] = [of_run("120000", 1), of_run("120000", 2), of_run("120100", 3)];
        let [b1, b2] = [of_run("130000", 1), of_run("130000", 2)];
        assert_eq!(
            follows(&files(&[&a2, &b2, "-", &a1, "x.pcap", &a3, &b1])),
            [Some(3), Some(6), None, None, None, Some(0), None]
        );
        // Others, of another interface or in another directory, are merged by time.
        let other = a2.replace("eth0", "eth1");
        assert_eq!(follows(&files(&[&a1, &other, &a2.replace("d/", "e/"), &a1])), [None; 4]);
    }
}
