//! Where a sink writes to, with an account of every record.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::behind::{Behind, is_regular};
use crate::direct::Direct;
use crate::turn::Turns;
use crate::{Error, Target};

/// A file, pipe or terminal, and what has not been written to it yet.
pub(crate) struct Output {
    /// Nobody else keeps it open for longer than a look takes.
    file: Arc<File>,
    behind: Behind,
    direct: Direct,
    turns: Turns,
    /// Large pieces may go [past the page cache](Direct).
    past_cache: bool,
    /// Some filling, and what is to be written.
    buffer: Vec<u8>,
    filling: usize,
    /// It is written out when it holds that many bytes.
    full: usize,
    /// Where in `buffer` each record ends, counted from the filling's end.
    ends: Vec<usize>,
    /// When the oldest record in the buffer may have been put there.
    since: Instant,
}

/// What became of the records in the buffer, and what went wrong if not all of them were written.
pub(crate) struct Flushed {
    pub(crate) written: u64,
    pub(crate) lost: u64,
    pub(crate) error: Option<io::Error>,
}

impl Output {
    /// `past_cache` says that large pieces may go [past the page cache](Direct): where records come as slowly as live,
    /// so that a disk can follow.
    pub(crate) fn open(target: &Target, past_cache: bool) -> Result<Self, Error> {
        // Others may have opened the file, too; its description is nobody else's.
        let is_ours = matches!(target, Target::File(_));
        let past_cache = past_cache && is_ours;
        let file = match target {
            // Not through the standard library's: it would write every line by itself.
            Target::Stdout => {
                let fd = io::stdout().as_fd().try_clone_to_owned();
                fd.map(File::from).map_err(|source| Error::Open { path: "standard output".into(), source })?
            }
            Target::File(path) => append(path, OFlag::empty())?,
        };
        let (behind, direct) = (Behind::new(&file), Direct::new(&file, past_cache));
        let (turns, full) = (Turns::new(&file, is_ours), full(&file, &direct));
        let buffer = Vec::with_capacity(full + ROOM_BEYOND);
        let (file, ends, since) = (Arc::new(file), Vec::new(), Instant::now());
        let mut output =
            Self { file, behind, direct, turns, past_cache, buffer, filling: 0, full, ends, since };
        output.clear();
        Ok(output)
    }

    /// Goes on with the file that is there now under the same name; the buffer must have been flushed. A FIFO that
    /// nobody reads from is an error here, and nothing that is waited for.
    pub(crate) fn reopen(&mut self, target: &Target) -> Result<(), Error> {
        if let Target::File(path) = target {
            let file = append(path, OFlag::O_NONBLOCK)?;
            // Whoever reads a pipe is waited for when it is written to. Fails on no file that has just been opened.
            let _ = fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND));
            self.file = Arc::new(file);
            self.behind = Behind::new(&self.file);
            self.direct = Direct::new(&self.file, self.past_cache);
            self.turns = Turns::new(&self.file, true);
            self.full = full(&self.file, &self.direct);
            self.clear();
        }
        Ok(())
    }

    /// What it writes to.
    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Columns of the terminal; `None` if it is none.
    pub(crate) fn terminal_width(&self) -> Option<usize> {
        if !self.file.is_terminal() {
            return None;
        }
        Some(match terminal_size::terminal_size_of(&*self.file) {
            Some((columns, _)) if columns.0 > 0 => usize::from(columns.0),
            _ => UNKNOWN_WIDTH,
        })
    }

    /// Whether it takes at once whatever is written to it: a file, `/dev/null` and the like. The reader of a pipe may
    /// be slow, and so may whoever looks at a terminal.
    pub(crate) fn keeps_nobody_waiting(&self) -> bool {
        self.file.metadata().is_ok_and(|facts| {
            facts.is_file() || (facts.file_type().is_char_device() && MEMORY_DEVICES.contains(&facts.rdev()))
        })
    }

    /// Nothing is waiting to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Adds what `write` appends, which is no record, unless it goes behind what a file has already.
    pub(crate) fn begin(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if !self.file.metadata().is_ok_and(|facts| facts.is_file() && facts.len() != 0) {
            self.add(write);
        }
    }

    /// Adds what `write` appends, which is no record.
    pub(crate) fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.buffer);
    }

    /// Adds what `write` appends as one record. Returns true if it is time to flush.
    pub(crate) fn record(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        write(&mut self.buffer);
        let len = self.buffer.len() - self.filling;
        self.ends.push(len);
        len >= self.full
    }

    /// When the buffer should be written out though more may come soon; `None` for at once. Records come from the
    /// workers in bursts, and a disk takes a few large pieces with less trouble than many.
    pub(crate) fn due(&self) -> Option<Instant> {
        (self.direct.is_on() && !self.is_empty()).then(|| self.since + PATIENCE)
    }

    /// Something has been in the buffer for longer than a reader should wait.
    pub(crate) fn is_overdue(&self) -> bool {
        !self.is_empty() && self.since.elapsed() >= MAX_DELAY
    }

    /// Writes the buffer. It is empty afterwards, whatever happened.
    pub(crate) fn flush(&mut self) -> Flushed {
        let file = Arc::clone(&self.file);
        let _turn = self.turns.wait(&file);
        let (bytes, error) = self.write_out();
        let written = self.ends.partition_point(|end| *end <= bytes);
        if error.is_some() {
            let whole = written.checked_sub(1).and_then(|last| self.ends.get(last)).copied();
            self.take_back(bytes - whole.unwrap_or(0));
        }
        let flushed = Flushed { written: written as u64, lost: (self.ends.len() - written) as u64, error };
        self.clear();
        self.since = Instant::now();
        flushed
    }

    /// Empties the buffer, but for what makes the next bytes lie well.
    fn clear(&mut self) {
        self.buffer.clear();
        self.ends.clear();
        self.filling = self.direct.padding(&self.file, &self.buffer);
        self.buffer.resize(self.filling, 0);
    }

    /// Cuts from a file the last `bytes` that were written to it, part of a record: whoever goes on with the file, as
    /// the next run does, would write the next one behind them on the same line. If others have written behind us, it
    /// stays as it is; so it does if that fails.
    fn take_back(&mut self, bytes: usize) {
        let Ok(facts) = self.file.metadata() else { return };
        if bytes == 0 || !facts.is_file() || (&*self.file).stream_position().ok() != Some(facts.len()) {
            return;
        }
        if let Some(end) = facts.len().checked_sub(bytes as u64)
            && self.file.set_len(end).is_ok()
        {
            // For those who have the same open file, such as the rest of a script, and do not append to it.
            let _ = (&*self.file).seek(SeekFrom::Start(end));
        }
    }

    /// How many bytes could be written, and what then happened.
    fn write_out(&mut self) -> (usize, Option<io::Error>) {
        let bytes = self.buffer.get(self.filling..).unwrap_or_default();
        let part = self.direct.part(&self.file, bytes);
        let mut past = 0;
        let (mut written, mut error) = write_all(&self.file, bytes.get(..part.start).unwrap_or_default());
        if error.is_none() {
            past = self.direct.write(&self.file, bytes.get(part).unwrap_or_default());
            let last = write_all(&self.file, bytes.get(written + past..).unwrap_or_default());
            (written, error) = (written + past + last.0, last.1);
        }
        self.behind.wrote(&self.file, written - past);
        (written, error)
    }
}

/// How many bytes could be written, and what then happened.
fn write_all(mut file: &File, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => return (written, Some(ErrorKind::WriteZero.into())),
            Ok(n) => written += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // A pipe that somebody made non-blocking for us, as some shells and terminals' other programs do.
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(RETRY_DELAY),
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

/// Whether nobody will read any more what is written to a pipe or a socket.
pub fn has_lost_reader(file: &File) -> bool {
    let is_read_by_others = file.metadata().is_ok_and(|facts| {
        let kind = facts.file_type();
        kind.is_fifo() || kind.is_socket()
    });
    // What is wrong is told without being asked for. "POLLERR ... is also set for a file descriptor referring to the
    // write end of a pipe when the read end has been closed" (poll(2)).
    let mut look = [PollFd::new(file.as_fd(), PollFlags::empty())];
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
    is_read_by_others
        && poll(&mut look, PollTimeout::ZERO).is_ok()
        && look.iter().filter_map(PollFd::revents).any(|told| told.intersects(gone))
}

/// Opens for appending. A file that is made here can be read by its owner alone: records name who asked for what.
fn append(path: &Path, flags: OFlag) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    let opened = options.append(true).create(true).mode(0o600).custom_flags(flags.bits()).open(path);
    opened.map_err(|source| Error::Open { path: path.to_owned(), source })
}

/// How large the buffer grows before it is written out.
fn full(file: &File, direct: &Direct) -> usize {
    match is_regular(file) {
        true if direct.is_on() => FULL_FOR_DISK,
        true => FULL_FOR_FILE,
        false => FULL_FOR_PIPE,
    }
}

/// The page cache takes a write in a few large pieces, but for its two ends, which are in the middle of pages: 1.7 µs
/// per page against 2.6 µs with 64 KiB.
const FULL_FOR_FILE: usize = 512 * 1024;
/// A disk takes large pieces in less of our time: 120 µs for 1 MiB, 90 µs for half of it.
const FULL_FOR_DISK: usize = 1024 * 1024;
/// As much as a pipe holds.
const FULL_FOR_PIPE: usize = 64 * 1024;
/// For the record that goes beyond.
const ROOM_BEYOND: usize = 16 * 1024;
/// Half of what a reader is promised (200 ms from the last packet to the record).
const MAX_DELAY: Duration = Duration::from_millis(100);
/// For more records of the same second: nobody sees a file grow more often.
const PATIENCE: Duration = Duration::from_millis(50);
/// `/dev/null`, `/dev/zero`, `/dev/full`: major number 1 and theirs (Linux, Documentation/admin-guide/devices.txt).
const MEMORY_DEVICES: [u64; 3] = [1 << 8 | 3, 1 << 8 | 5, 1 << 8 | 7];
const RETRY_DELAY: Duration = Duration::from_millis(1);
/// For a terminal that does not tell.
const UNKNOWN_WIDTH: usize = 110;
