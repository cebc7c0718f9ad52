//! Measures how fast a disk takes direct writes: the ceiling of every recorder that writes to it.
#![forbid(unsafe_code)]

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use gannet_testkit::disk::{Trial, ceiling};

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
    /// Size of the file in MiB; what is written beyond starts over
    #[arg(long, default_value_t = 8_192)]
    mib: u64,
    /// Writes under way at once
    #[arg(long, default_value_t = 4)]
    depth: usize,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let duration = Duration::try_from_secs_f64(arguments.seconds).context("--seconds")?;
    let trial = Trial { duration, mib: arguments.mib, depth: arguments.depth };
    let result = ceiling(&arguments.directory, &trial)
        .with_context(|| format!("direct writes in {}", arguments.directory.display()))?;
    serde_json::to_writer(io::stdout(), &result)?;
    writeln!(io::stdout())?;
    Ok(())
}
