//! Reads captures of numbered frames and says, as JSON, what is missing, doubled, corrupt or out of order.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use gannet_testkit::recording::read_capture;
use gannet_testkit::tally::{Report, Tally};
use serde::Serialize;

/// Tell from captures (pcap or pcapng, also compressed) what became of the frames that gannet-generate sent.
///
/// Several files are one capture, in the order given. Exit status: 0 if nothing is missing, doubled, corrupt or
/// unexpected, 1 if something is, 2 if a file cannot be read to its end.
#[derive(Parser)]
#[command(name = "gannet-tally")]
struct Arguments {
    /// Files; - is standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Frames that were sent [default: the numbers from the lowest seen to the highest]
    #[arg(long, value_name = "N")]
    expect: Option<u64>,
    /// Number of the first frame sent
    #[arg(long, default_value_t = 0, requires = "expect")]
    first: u64,
}

/// What is printed: the counts, and why reading ended early, if it did.
#[derive(Serialize)]
struct Output {
    #[serde(flatten)]
    report: Report,
    warnings: Vec<String>,
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "gannet-tally: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut tally =
        arguments.expect.map_or_else(Tally::new, |count| Tally::expecting(arguments.first, count));
    let mut warnings = Vec::new();
    for path in &arguments.files {
        let name = || path.display().to_string();
        let warning = if path.as_os_str() == "-" {
            read_capture(io::stdin().lock(), &mut tally).with_context(name)?
        } else {
            read_capture(File::open(path).with_context(name)?, &mut tally).with_context(name)?
        };
        warnings.extend(warning.map(|warning| format!("{}: {warning}", name())));
    }
    let report = tally.report();
    let faults = report.missing + report.doubled + report.corrupt + report.unexpected;
    let code = match (warnings.is_empty(), faults) {
        (false, _) => 2,
        (true, 0) => 0,
        (true, _) => 1,
    };
    serde_json::to_writer(io::stdout(), &Output { report, warnings })?;
    writeln!(io::stdout())?;
    Ok(ExitCode::from(code))
}
