//! Measures how fast this disk takes direct writes: the ceiling of every recorder that writes to it.
#![forbid(unsafe_code)]

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;
use gannet_testkit::random::Random;

/// Write noise to a new file in DIR with O_DIRECT, 1 MiB at a time, and print
/// {"bytes", "seconds", "bytes_per_second"}.
///
/// Space is allocated beforehand and several writes are under way at once, as a recorder would have it. The file
/// is removed.
#[derive(Parser)]
#[command(name = "gannet-disk-ceiling")]
struct Arguments {
    /// Directory on the disk to measure
    directory: PathBuf,
    /// How long to write
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Most to write, in MiB; the file wraps around there
    #[arg(long, default_value_t = 8_192)]
    mib: u64,
    /// Writes under way at once
    #[arg(long, default_value_t = 4)]
    depth: usize,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let path = arguments.directory.join(format!("gannet-disk-ceiling-{}.tmp", std::process::id()));
    let file = Removed(path.clone());
    let (bytes, elapsed) =
        measure(&arguments, &file.0).with_context(|| format!("direct writes to {}", path.display()))?;
    drop(file);
    let seconds = elapsed.as_secs_f64();
    let result = serde_json::json!({
        "bytes": bytes, "seconds": seconds, "bytes_per_second": bytes as f64 / seconds,
    });
    writeln!(io::stdout(), "{result}")?;
    Ok(())
}

fn measure(arguments: &Arguments, path: &Path) -> anyhow::Result<(u64, Duration)> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(nix::libc::O_DIRECT)
        .open(path)?;
    let chunks = arguments.mib.max(1);
    let size = i64::try_from(chunks * CHUNK as u64)?;
    nix::fcntl::fallocate(&file, nix::fcntl::FallocateFlags::empty(), 0, size).context("fallocate")?;
    let next = AtomicU64::new(0);
    let start = Instant::now();
    let limit = Duration::from_secs_f64(arguments.seconds);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..arguments.depth.max(1))
            .map(|number| {
                let (file, next) = (&file, &next);
                scope.spawn(move || -> io::Result<()> {
                    let buffer = Aligned::noise(number as u64);
                    while start.elapsed() < limit {
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
    Ok((next.into_inner() * CHUNK as u64, start.elapsed()))
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
