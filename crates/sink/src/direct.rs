//! Writes large pieces past the page cache: the disk takes them out of the buffer.
//!
//! For the page cache each record is copied, and for each block of the file a page, a buffer head and an extent are
//! made and given back. That is 600 µs for 512 KiB, more than all else that is done for the records in them; past it,
//! the same take 90 µs. What does not fill blocks goes the usual way:
//!
//! ```text
//!   file    ...|····■■■■|■■■■■■■■|■■■■■■■■|■■■·····     | borders of blocks
//!   buffer         ■■■■|■■■■■■■■|■■■■■■■■|■■■           at addresses that lie in pages as the bytes do in blocks
//!                  cache      past it      cache
//! ```
//!
//! The cache has a virtue, too: it takes what a slow disk does not. So a disk that needs long is left to it for a
//! while.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::behind::is_regular;

/// How one file is written to.
pub(crate) struct Direct {
    /// It cannot be, or nobody wants it.
    is_off: bool,
    /// Since when it is watched how long the disk takes, and how long it has taken.
    since: Instant,
    busy: Duration,
    /// So many more pieces go through the cache.
    cached: u32,
}

impl Direct {
    /// For what `file` is, whose description nobody else has: flags are set in it. Nothing is written past the cache
    /// but to regular files.
    pub(crate) fn new(file: &File, is_wanted: bool) -> Self {
        let is_off = !is_wanted || !is_regular(file);
        Self { is_off, since: Instant::now(), busy: Duration::ZERO, cached: 0 }
    }

    /// Whether anything is written past the cache.
    pub(crate) fn is_on(&self) -> bool {
        !self.is_off
    }

    /// In front of what is going to be written there must be so many bytes in `buffer`, if it is to lie in pages as it
    /// will in the blocks of the file.
    pub(crate) fn padding(&self, file: &File, buffer: &[u8]) -> usize {
        if self.is_off {
            return 0;
        }
        end(file).map_or(0, |end| end.wrapping_sub(buffer.as_ptr().addr()) % BLOCK)
    }

    /// What of `bytes`, which are to be appended, can be written past the cache: whole blocks in its middle.
    pub(crate) fn part(&mut self, file: &File, bytes: &[u8]) -> Range<usize> {
        let nothing = 0..0;
        if self.is_off || bytes.len() < LEAST {
            return nothing;
        }
        if let Some(left) = self.cached.checked_sub(1) {
            self.cached = left;
            return nothing;
        }
        // Others may have written to the file since the padding.
        let Some(end) = end(file) else { return nothing };
        if end % BLOCK != bytes.as_ptr().addr() % BLOCK {
            return nothing;
        }
        let start = end.next_multiple_of(BLOCK) - end;
        start..start + (bytes.len() - start) / BLOCK * BLOCK
    }

    /// Appends a [`part`](Self::part), in front of which everything has been written. Returns how many of its bytes
    /// were. What is left goes through the cache; if that fails as well it will say why.
    pub(crate) fn write(&mut self, mut file: &File, part: &[u8]) -> usize {
        if part.is_empty() {
            return 0;
        }
        let Ok(flags) = fcntl(file, FcntlArg::F_GETFL).map(OFlag::from_bits_retain) else { return 0 };
        let begun = Instant::now();
        // Refused by file systems that have no such thing.
        let Ok(_) = fcntl(file, FcntlArg::F_SETFL(flags | OFlag::O_DIRECT)) else {
            self.is_off = true;
            return 0;
        };
        let written = file.write(part);
        // It has just been set, so that it can be taken back; if not, the next write says so.
        let _ = fcntl(file, FcntlArg::F_SETFL(flags));
        self.is_off = written.is_err();
        self.took(begun.elapsed(), self.since.elapsed());
        written.unwrap_or(0)
    }

    /// Notes how long the disk took for a piece, after `watched`.
    fn took(&mut self, took: Duration, watched: Duration) {
        self.busy += took;
        // Pieces come several at once, so that one after the other says little.
        if watched < WINDOW && took < WINDOW {
            return;
        }
        if self.busy > watched / SHARE {
            self.cached = CACHED;
        }
        (self.since, self.busy) = (Instant::now(), Duration::ZERO);
    }
}

/// How long the file is: it is appended to.
fn end(file: &File) -> Option<usize> {
    file.metadata().ok()?.len().try_into().ok()
}

/// What file systems and disks ask for is no more than a page: 512 bytes mostly, of offsets, lengths and addresses.
const BLOCK: usize = 4_096;
/// For fewer bytes the disk's way is no shorter than the cache's.
const LEAST: usize = 64 << 10;
/// How long a disk is watched.
const WINDOW: Duration = Duration::from_millis(100);
/// One that is busy with records for more than this part of the time has no time for peaks.
const SHARE: u32 = 2;
/// For so many pieces it is left to the cache then: 32 MiB at most.
const CACHED: u32 = 32;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;

    /// A file beside the test's own binary, on a disk, which a directory for temporary files need not be.
    fn file() -> (tempfile::TempDir, std::path::PathBuf, File) {
        let program = std::env::current_exe().unwrap();
        let directory = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
        let path = directory.path().join("records");
        let file = File::options().append(true).create(true).mode(0o600).open(&path).unwrap();
        (directory, path, file)
    }

    #[test]
    fn blocks_in_the_middle_go_past_the_cache() {
        let (_directory, path, mut file) = file();
        let mut direct = Direct::new(&file, true);
        let mut expected = Vec::new();
        let mut past = 0;
        for (number, len) in [5, 200_000, 4_096, 131_072, 300_001, 140_000].into_iter().enumerate() {
            let mut buffer = Vec::with_capacity(BLOCK + len);
            let padding = direct.padding(&file, &buffer);
            buffer.resize(padding, 0);
            buffer.extend((0..len).map(|at| (number * 7 + at) as u8));
            // Somebody else may write, too.
            if number == 4 {
                file.write_all(b"x").unwrap();
                expected.push(b'x');
            }
            let bytes = &buffer[padding..];
            direct.cached = 0;
            let part = direct.part(&file, bytes);
            assert_eq!(part.is_empty(), len < LEAST || number == 4, "{part:?} of {len}");
            file.write_all(&bytes[..part.start]).unwrap();
            let written = direct.write(&file, &bytes[part.clone()]);
            assert!(written == part.len() || direct.is_off, "{written} bytes of {part:?}");
            past += written;
            file.write_all(&bytes[part.start + written..]).unwrap();
            expected.extend_from_slice(bytes);
        }
        assert!(std::fs::read(&path).unwrap() == expected);
        if direct.is_off {
            eprintln!("SKIPPED: {} has no O_DIRECT", path.display());
        } else {
            assert!(past > 400_000, "{past} bytes");
        }
        // Whoever appends a few bytes need not care for blocks.
        assert!(!OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL).unwrap()).contains(OFlag::O_DIRECT));
    }

    #[test]
    fn a_disk_that_is_slow_is_left_to_the_cache() {
        let (_directory, _, file) = file();
        let mut direct = Direct::new(&file, true);
        let bytes = vec![0; LEAST + 2 * BLOCK];
        let bytes = &bytes[direct.padding(&file, &bytes)..];
        assert_eq!(direct.part(&file, bytes).len(), LEAST / BLOCK * BLOCK + BLOCK);
        let ms = Duration::from_millis;
        direct.took(ms(90), ms(95));
        assert_eq!(direct.cached, 0, "it is watched");
        direct.took(ms(20), ms(250));
        assert_eq!((direct.cached, direct.busy), (0, Duration::ZERO), "for less than half of the time");
        direct.took(ms(150), ms(160));
        assert_eq!((direct.cached, direct.busy), (CACHED, Duration::ZERO));
        direct.cached = 2;
        assert!(direct.part(&file, bytes).is_empty() && direct.part(&file, bytes).is_empty());
        assert!(!direct.part(&file, bytes).is_empty());
    }

    #[test]
    fn nothing_else_is_written_so() {
        let bytes = vec![0; 2 * LEAST];
        let (_directory, _, file) = file();
        assert!(Direct::new(&file, false).part(&file, &bytes).is_empty());
        let (_reader, writer) = std::io::pipe().unwrap();
        let pipe = File::from(std::os::fd::OwnedFd::from(writer));
        let mut direct = Direct::new(&pipe, true);
        assert_eq!(direct.padding(&pipe, &bytes), 0);
        assert!(direct.part(&pipe, &bytes).is_empty() && direct.write(&pipe, &[]) == 0);
    }
}
