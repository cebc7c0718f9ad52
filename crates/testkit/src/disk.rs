//! How fast a disk takes direct writes: the ceiling of every recorder that writes to it.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FallocateFlags, fallocate};
use serde::Serialize;

use crate::random::Random;

/// How to measure.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// How long to write.
    pub duration: Duration,
    /// The file's size in MiB; what is written beyond starts over.
    pub mib: u64,
    /// Writes under way at once.
    pub depth: usize,
}

impl Default for Trial {
    /// Three seconds into 8 GiB, four writes at once: fresh space, as a recorder has it, on disks up to 2.7 GiB/s.
    fn default() -> Self {
        Self { duration: Duration::from_secs(3), mib: 8_192, depth: 4 }
    }
}

/// What a disk took.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Ceiling {
    /// Bytes written.
    pub bytes: u64,
    /// From the first write's start to the last one's end.
    pub seconds: f64,
    /// The one divided by the other.
    pub bytes_per_second: f64,
}

/// Writes noise to a new, preallocated file in `directory` with O_DIRECT, 1 MiB at a time, and removes it.
///
/// # Errors
/// The file system has no direct writes (`EINVAL`), no preallocation (`EOPNOTSUPP`), no room, ...
pub fn ceiling(directory: &Path, trial: &Trial) -> io::Result<Ceiling> {
    let path = directory.join(format!("gannet-disk-ceiling-{}.tmp", std::process::id()));
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(nix::libc::O_DIRECT)
        .open(&path)?;
    let _removed = Removed(path);
    let chunks = trial.mib.max(1);
    let size = i64::try_from(chunks * CHUNK as u64).map_err(io::Error::other)?;
    fallocate(&file, FallocateFlags::empty(), 0, size)?;
    let next = AtomicU64::new(0);
    let start = Instant::now();
    thread::scope(|scope| {
        let writers: Vec<_> = (0..trial.depth.max(1))
            .map(|number| {
                let (file, next) = (&file, &next);
                scope.spawn(move || -> io::Result<()> {
                    let buffer = Aligned::noise(number as u64);
                    while start.elapsed() < trial.duration {
                        let chunk = next.fetch_add(1, Ordering::Relaxed) % chunks;
                        file.write_all_at(buffer.bytes(), chunk * CHUNK as u64)?;
                    }
                    Ok(())
                })
            })
            .collect();
        writers
            .into_iter()
            .try_for_each(|writer| writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let bytes = next.into_inner() * CHUNK as u64;
    Ok(Ceiling { bytes, seconds, bytes_per_second: bytes as f64 / seconds })
}

/// One chunk of memory that O_DIRECT accepts: incompressible, and aligned to a page of any size up to 64 KiB.
struct Aligned {
    memory: Vec<u8>,
    start: usize,
}

impl Aligned {
    fn noise(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let memory: Vec<u8> =
            (0..(CHUNK + ALIGNMENT) / 8).flat_map(|_| random.next_u64().to_ne_bytes()).collect();
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        Self { memory, start }
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..][..CHUNK]
    }
}

/// A file that goes when this does, also after an error.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Bytes per write, the size of a ring block.
const CHUNK: usize = 1 << 20;
const ALIGNMENT: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_aligned_noise() {
        let chunk = Aligned::noise(3);
        assert_eq!(chunk.bytes().len(), CHUNK);
        assert_eq!(chunk.bytes().as_ptr().align_offset(4_096), 0);
        let distinct: std::collections::BTreeSet<_> = chunk.bytes().chunks(8).take(1_000).collect();
        assert_eq!(distinct.len(), 1_000);
    }

    #[test]
    fn a_trial_measures_and_leaves_nothing() {
        let directory = std::env::temp_dir().join(format!("gannet-ceiling-test-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let trial = Trial { duration: Duration::from_millis(20), mib: 8, depth: 2 };
        let result = ceiling(&directory, &trial);
        let left = fs::read_dir(&directory).unwrap().count();
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(left, 0);
        match result {
            Ok(ceiling) => assert!(ceiling.bytes > 0 && ceiling.bytes_per_second > 0.0, "{ceiling:?}"),
            // Memory file systems have no direct writes.
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}"),
        }
    }
}
