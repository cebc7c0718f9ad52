//! Keeps large outputs from filling the page cache: what lies a few MiB behind the end is written to the disk and
//! dropped, every few MiB that went into the cache. What was written past it ([`direct`](crate::direct)) is not
//! counted: where most is, the looks are that much further apart in the file.
//!
//! Nobody reads records again so soon that memory should hold them, and a run on a busy server must not push out what
//! the server works with. It also pays: a page of the cache that is used again costs a fifth of a fresh one where a
//! host gives a virtual machine its memory page by page (2 µs against 10 µs), and records are some 100 MB/s on a busy
//! link.

use std::fs::File;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// Follows the writing of one file.
///
/// The work is done by a thread of its own, which is there once the file has grown by [`STEP`]: starting to write to
/// a disk that is behind with its work may take as long as the disk wants, and whoever writes records has no time for
/// that. What it has not got round to stays in the cache, as it would without it.
#[derive(Default)]
pub(crate) struct Behind {
    /// Bytes that went into the page cache since the thread was last told.
    fresh: usize,
    /// `None` before the first step, and where the thread could not be started.
    ends: Option<SyncSender<i64>>,
    is_off: bool,
}

impl Behind {
    /// For what `file` is: nothing is done but for regular files.
    pub(crate) fn new(file: &File) -> Self {
        Self { is_off: !is_regular(file), ..Self::default() }
    }

    /// `bytes` more have been written to the file, those past the page cache left out.
    pub(crate) fn wrote(&mut self, file: &File, bytes: usize) {
        self.fresh += bytes;
        if self.fresh < STEP || self.is_off {
            return;
        }
        self.fresh = 0;
        if self.ends.is_none() {
            self.ends = follow(file);
            self.is_off = self.ends.is_none();
        }
        if let (Some(ends), Some(end)) = (&self.ends, position(file)) {
            // A thread that is busy hears of this end with the next one.
            let _ = ends.try_send(end);
        }
    }
}

/// Whether it is a file that lies on a disk.
pub(crate) fn is_regular(file: &File) -> bool {
    file.metadata().is_ok_and(|facts| facts.is_file())
}

/// Where the next byte goes, which is the end of a file that is appended to.
fn position(mut file: &File) -> Option<i64> {
    std::io::Seek::stream_position(&mut file).ok()?.try_into().ok()
}

fn follow(file: &File) -> Option<SyncSender<i64>> {
    let file = file.try_clone().ok()?;
    let (sender, ends) = sync_channel(1);
    thread::Builder::new().name("sink-behind".into()).spawn(move || drop_behind(&file, &ends)).ok()?;
    Some(sender)
}

/// Until the writer is gone. The kernel's answers are of no interest: these are hints.
fn drop_behind(file: &File, ends: &Receiver<i64>) {
    let advise = |from: i64, to: i64| {
        let _ = posix_fadvise(file, from, to - from, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    };
    let mut asked = None;
    for end in ends {
        // Pages that are on the disk are dropped, for others writing is started (mm/fadvise.c, `generic_fadvise`): the
        // second time they are.
        advise((end - REACH).max(0), (end - KEPT).max(0));
        advise(asked.unwrap_or((end - STEP as i64).max(0)), end);
        asked = Some(end);
    }
}

/// How many bytes go into the page cache between two looks. Beside pieces past it the file grows by more than that.
const STEP: usize = 4 << 20;
/// For whoever follows the file (`tail -f`).
const KEPT: i64 = 8 << 20;
/// How far back a slow disk may have been: looking at what is dropped already costs next to nothing.
const REACH: i64 = 64 << 20;

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::Command;
    use std::time::{Duration, Instant};

    use nix::sys::statfs::TMPFS_MAGIC;

    use super::*;

    /// Bytes of the file that are in the page cache; `None` without the program that knows.
    fn in_memory(path: &std::path::Path) -> Option<u64> {
        let said = Command::new("fincore").args(["-b", "-n", "-o", "RES"]).arg(path).output().ok()?;
        Some(String::from_utf8(said.stdout).unwrap().trim().parse().unwrap())
    }

    #[test]
    fn what_lies_behind_leaves_the_cache() {
        // Beside the test's own binary: on a disk, which a directory for temporary files need not be.
        let program = std::env::current_exe().unwrap();
        let directory = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
        if nix::sys::statfs::statfs(directory.path()).unwrap().filesystem_type() == TMPFS_MAGIC {
            eprintln!("SKIPPED: {} is in memory: there is no disk to write to", directory.path().display());
            return;
        }
        let path = directory.path().join("records");
        let mut file = File::options().append(true).create(true).open(&path).unwrap();
        let mut behind = Behind::new(&file);
        let (piece, total) = (vec![b'x'; 1 << 20], 48 << 20);
        for _ in 0..total / piece.len() {
            file.write_all(&piece).unwrap();
            behind.wrote(&file, piece.len());
        }
        let start = Instant::now();
        let Some(mut left) = in_memory(&path) else {
            eprintln!("SKIPPED: no fincore (util-linux-extra)");
            return;
        };
        // A disk takes the time it takes; nothing is dropped before it is there.
        while left > 2 * KEPT as u64 {
            assert!(start.elapsed() < Duration::from_secs(60), "{left} bytes in memory");
            left = in_memory(&path).unwrap_or_default();
            file.sync_data().unwrap();
            behind.wrote(&file, STEP);
        }
        assert_eq!(file.metadata().unwrap().len(), total as u64);
        assert!(std::fs::read(&path).unwrap().iter().all(|byte| *byte == b'x'));
    }

    #[test]
    fn a_small_file_and_a_pipe_have_no_thread() {
        let mut file = tempfile::tempfile().unwrap();
        let mut behind = Behind::new(&file);
        file.write_all(b"x").unwrap();
        behind.wrote(&file, STEP - 1);
        assert!(behind.ends.is_none());
        let (_reader, writer) = std::io::pipe().unwrap();
        let pipe = File::from(std::os::fd::OwnedFd::from(writer));
        let mut behind = Behind::new(&pipe);
        behind.wrote(&pipe, 2 * STEP);
        assert!(behind.ends.is_none());
    }
}
