//! `gannet-compare http`: gannet, httpry and, for latency, tshark, on one file and on live loads.
//!
//! ```text
//!   file      capture A, cached, one core:  httpry │ gannet ... │ cat, tcpdump read alone    time, memory
//!             the records of 1, 2 and 4 workers, and the truth                               all equal
//!   lines     its lines:                    httpry │ gannet httpry                            the same
//!   latency   a part of it:                 tshark │ gannet                                  http.time
//!   live      tx0 h2load ═ veth ═ rx0 nginx + gannet                                         records = access log
//!             tx0 wrk    ═ veth ═ rx0 nginx + gannet │ httpry │ nothing                      CPU, drops, wrk's rate
//!             tx0 wrk    ═ veth ═ rx0 nginx + gannet --record, then to a slow disk           nothing lost; shed
//!   delays    tx0 asks   ═ veth ═ rx0 a server that answers after known delays + gannet      server_ns = the delay
//!                                                                        the same packets │ tshark: http.time
//! ```
//! What must be so is a check, and one that fails makes the exit status 1. What should be fast is a limit: it is
//! printed with whether it was met, and decides nothing, for it depends on the machine.

mod delays;
mod file;
mod latency;
mod lines;
mod live;
mod records;
mod said;
mod server;
mod throttle;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use clap::ValueEnum;

use crate::capture_a::capture_a;
use crate::report::{Report, Scratch};
use crate::table;
use crate::verdict::Verdict;

#[derive(clap::Args)]
pub(crate) struct HttpArguments {
    /// Runs of each tool; the tools take turns
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Capture A, with its truth beside it; made by `tools/make-capture --seed 1 --size 3GB` if it is not there
    #[arg(long, default_value = "target/capture-a.pcap")]
    capture: PathBuf,
    /// The core on which the file is read
    #[arg(long, default_value_t = 0)]
    cpu: usize,
    /// Packets of the capture that tshark gets, too
    #[arg(long, default_value_t = 20_000)]
    packets: u64,
    /// GET requests of h2load
    #[arg(long, default_value_t = 200_000)]
    requests: u64,
    /// Seconds of each run of wrk, and of known delays
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Where records and recordings go (and are removed again): a directory on the disk to measure
    #[arg(long, default_value = ".")]
    disk: PathBuf,
    /// What to do
    #[arg(long, value_delimiter = ',', default_values_t = Part::value_variants().iter().map(|part| part.name()))]
    parts: Vec<String>,
    /// Everything once and short: 10,000 requests, 2 s of wrk and of delays, 100 MB of capture unless there is one
    /// already
    #[arg(long)]
    quick: bool,
    /// The gannet to measure
    #[arg(long, default_value = "target/release/gannet")]
    gannet: PathBuf,
    /// Append the report to this file, too
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Time, memory and correctness on capture A
    File,
    /// The lines of httpry, against its own
    Lines,
    /// Latency on a part of it, against tshark
    Latency,
    /// Against nginx's log, under full load, recorded beside
    Live,
    /// Times against a server that answers after known delays, and against tshark on the same packets
    Delays,
}

impl Part {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn wants_capture(self) -> bool {
        matches!(self, Self::File | Self::Lines | Self::Latency)
    }
}

/// What all parts have in common.
struct Setup<'a> {
    gannet: &'a Path,
    /// For records, recordings and pages; gone at the end.
    scratch: &'a Path,
    runs: usize,
    /// Set by Ctrl-C.
    stop: &'a AtomicBool,
}

/// Measures and checks all that was asked for; true if every check held.
pub(crate) fn http(arguments: &HttpArguments, stop: &AtomicBool) -> anyhow::Result<bool> {
    let mut parts = Vec::new();
    for name in &arguments.parts {
        parts.push(Part::from_str(name, false).map_err(|error| anyhow::anyhow!("{name}: {error}"))?);
    }
    let gannet = fs::canonicalize(&arguments.gannet).unwrap_or_else(|_| arguments.gannet.clone());
    let scratch = Scratch::new(&arguments.disk)?;
    let setup = Setup {
        gannet: &gannet,
        scratch: &scratch.0,
        runs: if arguments.quick { 1 } else { arguments.runs.max(1) },
        stop,
    };
    let mut verdict = Verdict::new(Report::new(arguments.out.clone()));
    verdict.print(&table::header(&arguments.disk, versions(&gannet)))?;

    if parts.iter().any(|part| part.wants_capture()) {
        let capture = capture_a(&arguments.capture, arguments.quick, &mut verdict)?;
        if parts.contains(&Part::File) {
            file::compare(&setup, &capture, arguments.cpu, &mut verdict).context("file")?;
        }
        if parts.contains(&Part::Lines) {
            lines::compare(&setup, &capture, &mut verdict).context("lines")?;
        }
        if parts.contains(&Part::Latency) {
            let packets = if arguments.quick { arguments.packets.min(5_000) } else { arguments.packets };
            latency::compare(&setup, &capture, packets, &mut verdict).context("latency")?;
        }
    }
    let seconds = if arguments.quick { arguments.seconds.min(2) } else { arguments.seconds };
    if parts.contains(&Part::Live) {
        let requests = if arguments.quick { arguments.requests.min(10_000) } else { arguments.requests };
        live::compare(&setup, &live::Load { requests, seconds }, &mut verdict).context("live")?;
    }
    if parts.contains(&Part::Delays) {
        delays::compare(&setup, seconds, &mut verdict).context("delays")?;
    }
    verdict.close()
}

fn versions(gannet: &Path) -> impl Iterator<Item = (String, Command)> {
    let query = |package: &str| {
        let mut command = Command::new("dpkg-query");
        command.args(["-W", package]);
        (package.to_owned(), command)
    };
    let mut ours = Command::new(gannet);
    ours.arg("--version");
    let mut all = vec![("gannet".to_owned(), ours)];
    all.extend(["httpry", "tcpdump", "tshark", "nginx-light", "wrk", "nghttp2-client"].map(query));
    all.into_iter()
}
