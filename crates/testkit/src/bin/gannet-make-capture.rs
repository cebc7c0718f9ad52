//! Writes a capture of HTTP traffic with its truth beside it, or compares records with such a truth.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use gannet_testkit::capture::{self, Plan};
use gannet_testkit::truth::check;

/// Write a capture of HTTP traffic (classic pcap, nanoseconds) and, beside it, what is true of every exchange in it.
///
/// The truth has the extension .truth.jsonl in place of the capture's: one record per exchange as
/// `gannet http -o jsonl` has them, in the order of completion. The same seed, size and number of connections give
/// the same bytes. Prints {"packets", "bytes", "exchanges", "pipelined", "connections", "duration_ns"}.
///
/// With --check compares records with a truth instead, in any order; exit status 1 if anything differs.
#[derive(Parser)]
#[command(name = "gannet-make-capture")]
struct Arguments {
    /// Decides everything that is drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Size of the capture: bytes, or with k M G T (powers of 1000; kB MB GB TB too) or KiB MiB GiB TiB
    #[arg(long, default_value = "3GB", value_parser = size)]
    size: u64,
    /// Connections at a time
    #[arg(long, default_value_t = 1_000)]
    connections: u32,
    /// The capture file
    #[arg(short, long, value_name = "FILE", required_unless_present = "check")]
    output: Option<PathBuf>,
    /// Compare records (- is stdin) with a truth
    #[arg(long, num_args = 2, value_names = ["TRUTH", "RECORDS"], conflicts_with_all = ["output", "seed", "size", "connections"])]
    check: Option<Vec<PathBuf>>,
    /// With --check: how many differences to print
    #[arg(long, default_value_t = 10)]
    show: usize,
}

fn main() -> ExitCode {
    let result = run(&Arguments::parse());
    result.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "gannet-make-capture: {error:#}");
        ExitCode::from(2)
    })
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if let Some([truth, records]) = arguments.check.as_deref() {
        return compare(truth, records, arguments.show);
    }
    let output = arguments.output.as_deref().context("no output file")?;
    let plan = Plan { seed: arguments.seed, size_bytes: arguments.size, connections: arguments.connections };
    let truth = output.with_extension("truth.jsonl");
    let create = |path: &Path| File::create(path).with_context(|| path.display().to_string());
    let (capture_file, truth_file) = (create(output)?, create(&truth)?);
    let report = capture::generate(&plan, capture_file, BufWriter::with_capacity(1 << 20, truth_file))
        .with_context(|| format!("writing {} and {}", output.display(), truth.display()))?;
    serde_json::to_writer(io::stdout(), &report)?;
    writeln!(io::stdout())?;
    Ok(ExitCode::SUCCESS)
}

fn compare(truth: &Path, records: &Path, show: usize) -> anyhow::Result<ExitCode> {
    let open = |path: &Path| -> anyhow::Result<Box<dyn BufRead>> {
        if path == Path::new("-") {
            return Ok(Box::new(io::stdin().lock()));
        }
        let file = File::open(path).with_context(|| path.display().to_string())?;
        Ok(Box::new(BufReader::with_capacity(1 << 20, file)))
    };
    let outcome = check(open(truth)?, open(records)?)?;
    let mut out = io::stdout().lock();
    for difference in outcome.differences.iter().take(show) {
        writeln!(out, "{difference}")?;
    }
    if outcome.differences.len() > show {
        writeln!(out, "... and {} more", outcome.differences.len() - show)?;
    }
    for (field, count) in outcome.by_field() {
        writeln!(out, "{count:>10} differ in {field}")?;
    }
    writeln!(
        out,
        "{} exchanges in the truth, {} records, {} equal, {} differences",
        outcome.truth,
        outcome.records,
        outcome.equal,
        outcome.differences.len()
    )?;
    Ok(if outcome.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| format!("{text:?} is not a size"))?;
    let factor = match unit {
        "" | "B" => 1,
        "k" | "kB" => 1_000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "T" | "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(format!("{unit:?} is not a unit of size")),
    };
    number.checked_mul(factor).ok_or_else(|| format!("{text:?} is too much"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_words() {
        assert_eq!(size("3GB"), Ok(3_000_000_000));
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("5"), Ok(5));
        assert_eq!(size("7k"), Ok(7_000));
        for bad in ["", "GB", "1.5G", "3gigs", "99999999999TiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
