//! Verifying and repairing files that a crash left: kill -9, power loss, a full or failing disk.
//!
//! A recorder has several writes in flight, and they complete out of order. What a crash leaves is a file like
//! this, and no reader gets past the first hole:
//!
//! ```text
//! ├ head ┼ extent ┼ extent ┼ 0 0 0 0 ┼ extent ┼ ext│0 0 ┼ extent ┼ 0 0 0 0 0 0 0 0 0 ┤
//!                            hole                torn               preallocated, never written
//! ```
//!
//! Every extent starts on a 4096-byte boundary with a marker ([`gannet_pcap::ng::marker`]), so the walk goes on
//! behind a hole. The repair covers holes and the rest of torn extents with filler blocks, corrects the markers of
//! torn extents, and cuts off what lies behind the last readable record. No packet that could be read before or
//! behind a hole is lost by it; what lies in a hole cannot be told from stale bytes and goes.
//!
//! Guarantees: after a repair every reader gets through the file; a second repair changes nothing; one that was
//! interrupted can be run again. Classic pcap files and pcapng files of other programs have no markers: they are
//! cut behind the last record of the unbroken chain, unless that would throw away more than a program that died
//! can have left unfinished.

mod apply;
mod report;
mod storage;
mod survey;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

pub use report::{Hole, RepairReport, VerifyReport};

use self::survey::{Fault, Survey};

/// Why a file was not verified or repaired. The file is as it was, but for [`Error::Io`] while repairing (run the
/// repair again) and for the errors of renaming, which come last.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be opened.
    #[error("{}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory, device or pipe.
    #[error("{}: not a regular file", path.display())]
    NotRegular {
        /// The file.
        path: PathBuf,
    },
    /// Somebody holds a lock on the file, as a recorder does while it writes.
    #[error("{}: is being recorded; stop the recorder first", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Reading or writing failed.
    #[error("{}: at offset {offset}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Where, in bytes.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The file has no bytes at all, as a full disk leaves it. It holds nothing that could be lost, and keeps its
    /// name, temporary or not: without a header it is no capture file.
    #[error("{}: the file is empty (0 bytes): there is nothing to repair, and it is left as it is", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A compressed file.
    #[error(
        "{}: {format} data, which are neither verified nor repaired: decompress the file first",
        path.display()
    )]
    Compressed {
        /// The file.
        path: PathBuf,
        /// How it is compressed.
        format: gannet_pcap::Format,
    },
    /// The first header is unreadable, and with it byte order and link type of everything behind it.
    #[error(
        "{}: at offset 0: {source}; what the packets behind it are stood there, so the file cannot be repaired",
        path.display()
    )]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: gannet_pcap::Error,
    },
    /// Packets, but the description of their interface is gone, and with it their link type.
    #[error(
        "{}: at offset {offset}: a packet, but no interface is described before it; its link type is not known, so \
         the file cannot be repaired",
        path.display()
    )]
    NoInterface {
        /// The file.
        path: PathBuf,
        /// Where the packet's block starts.
        offset: u64,
    },
    /// The chain of records breaks, and the file has no markers that tell where it goes on.
    #[error(
        "{}: at offset {offset}: {reason}; nothing tells where the records go on, and cutting here would throw \
         away {rest} bytes, so the file is left as it is",
        path.display()
    )]
    LostChain {
        /// The file.
        path: PathBuf,
        /// Where it breaks.
        offset: u64,
        /// Bytes behind.
        rest: u64,
        /// How.
        reason: gannet_pcap::Reason,
    },
    /// The file is repaired, but the name that it should have is taken.
    #[error("{}: repaired, but not renamed: {} exists", path.display(), to.display())]
    Exists {
        /// The file.
        path: PathBuf,
        /// The name that is taken.
        to: PathBuf,
    },
    /// The file is repaired, but could not be renamed.
    #[error("{}: repaired, but not renamed to {}: {source}", path.display(), to.display())]
    Rename {
        /// The file.
        path: PathBuf,
        /// The name that it should have.
        to: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    fn new(path: &Path, fault: Fault) -> Self {
        let path = path.to_owned();
        match fault {
            Fault::Io(offset, source) => Self::Io { path, offset, source },
            Fault::Empty => Self::Empty { path },
            Fault::Header(gannet_pcap::Error::Compressed(format)) => Self::Compressed { path, format },
            Fault::Header(source) => Self::Header { path, source },
            Fault::NoInterface { offset } => Self::NoInterface { path, offset },
            Fault::LostChain { offset, rest, reason } => Self::LostChain { path, offset, rest, reason },
        }
    }
}

/// Walks the capture file at `path` and tells what can be read of it. Changes nothing; a file that is being
/// recorded may be verified, its last writes then look like damage.
///
/// # Errors
/// The file cannot be opened or read, or is none that could be repaired: see [`Error`].
pub fn verify(path: &Path) -> Result<VerifyReport, Error> {
    let file = open(path, OpenOptions::new().read(true))?;
    let survey = survey(path, &file)?;
    Ok(VerifyReport::new(path.to_owned(), &survey))
}

/// Makes the capture file at `path` readable from end to end, as the module says, and has it on the disk when it
/// returns. A file with the temporary name `NAME.part` is then renamed to `NAME`, unless it is empty.
///
/// # Errors
/// See [`Error`].
pub fn repair(path: &Path) -> Result<RepairReport, Error> {
    let mut file = open(path, OpenOptions::new().read(true).write(true))?;
    // A file system without locks cannot say that the file is in use.
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        return Err(Error::InUse { path: path.to_owned() });
    }
    let survey = survey(path, &file)?;
    let found = VerifyReport::new(path.to_owned(), &survey);
    if !found.is_sound() {
        apply::apply(&mut file, &survey).map_err(|(offset, source)| Error::Io {
            path: path.to_owned(),
            offset,
            source,
        })?;
    }
    let renamed = rename_finished(path)?;
    Ok(RepairReport { filled: found.hole_bytes(), cut: survey.len - survey.end, found, renamed })
}

/// The body of the fuzz target: repairs `bytes` as a file.
///
/// # Panics
/// If a repaired file is not readable from end to end, if a second repair would change it, or if a packet is lost
/// that a reader got out of it before.
#[doc(hidden)]
#[allow(clippy::panic, clippy::unwrap_used, reason = "a fuzz body reports by panicking")]
pub fn fuzz(bytes: &[u8]) {
    let mut file = bytes.to_vec();
    let Ok(found) = survey::survey(&file) else { return };
    let mut reader = gannet_pcap::SliceReader::new(bytes).unwrap();
    let before = reader.by_ref().count() as u64;
    let reached = reader.warning().map_or(bytes.len() as u64, |warning| warning.offset);
    apply::apply(&mut file, &found).unwrap();
    let mut reader = gannet_pcap::SliceReader::new(&file).unwrap();
    let after = reader.by_ref().count() as u64;
    assert_eq!(reader.warning(), None);
    assert_eq!(after, found.packets);
    // What a reader got through and is cut off all the same is space that was never written: records of a classic
    // file that are all zeros.
    let cut = bytes.get(found.end as usize..reached as usize).unwrap_or_default();
    assert!(after >= before || !cut.is_empty() && cut.iter().all(|&byte| byte == 0));
    let again = survey::survey(&file).unwrap();
    assert!(VerifyReport::new(PathBuf::new(), &again).is_sound(), "{again:?}");
}

fn open(path: &Path, options: &OpenOptions) -> Result<File, Error> {
    let failed = |source| Error::Open { path: path.to_owned(), source };
    // Before the opening, which would wait for the other end of a pipe.
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(Error::NotRegular { path: path.to_owned() });
    }
    options.open(path).map_err(failed)
}

fn survey(path: &Path, file: &File) -> Result<Survey, Error> {
    survey::survey(file).map_err(|fault| Error::new(path, fault))
}

/// Gives a file with a temporary name its final one, unless there is such a file.
fn rename_finished(path: &Path) -> Result<Option<PathBuf>, Error> {
    if path.extension().is_none_or(|extension| extension != PART) {
        return Ok(None);
    }
    let to = path.with_extension("");
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists { path: path.to_owned(), to: to.clone() },
        _ => Error::Rename { path: path.to_owned(), to: to.clone(), source },
    };
    // A link is made only if the name is free; a rename would replace the other file.
    match std::fs::hard_link(path, &to) {
        Ok(()) => std::fs::remove_file(path).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(failed(error)),
        // A file system without links.
        Err(_) if !to.exists() => std::fs::rename(path, &to).map_err(failed)?,
        Err(_) => return Err(failed(io::ErrorKind::AlreadyExists.into())),
    }
    // The new name is on the disk with its directory.
    let directory = match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
    Ok(Some(to))
}

/// The extension of a file that is being recorded into a directory.
const PART: &str = "part";
