//! Compares gannet with its peers on the same traffic in one run.
#![forbid(unsafe_code)]

mod capture_a;
mod filter;
mod http;
mod process;
mod record;
mod recorders;
mod report;
mod table;
mod tools;
mod trial;
mod verdict;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use clap::Parser;

use crate::report::progress;

/// Compare gannet with its peers on the same traffic, alternating, and print the medians.
#[derive(Parser)]
#[command(name = "gannet-compare")]
enum Arguments {
    /// Packets to disk: loss, CPU per packet, size of the file, contents
    Record(record::RecordArguments),
    /// HTTP exchanges from a file and live: time, memory, CPU per packet, loss, and whether every record is right
    Http(http::HttpArguments),
    /// Filters over a capture file: time, and whether the same packets pass
    Filter(filter::FilterArguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let stop = Arc::new(AtomicBool::new(false));
    let result = install_handlers(&stop).and_then(|()| match &arguments {
        Arguments::Record(arguments) => record::record(arguments, &stop).map(|()| true),
        Arguments::Http(arguments) => http::http(arguments, &stop),
        Arguments::Filter(arguments) => filter::filter(arguments, &stop),
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            progress(&format!("gannet-compare: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn install_handlers(stop: &Arc<AtomicBool>) -> anyhow::Result<()> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(stop)).context("installing a signal handler")?;
    }
    Ok(())
}
