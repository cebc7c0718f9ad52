//! The threads of the outputs, and the way to them.

use std::path::PathBuf;

use gannet_record::RecordOptions;

use crate::{Batch, Error, Format};

/// What a run's outputs are.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// The outputs.
    pub sinks: Vec<SinkSpec>,
    /// What records show.
    pub options: RecordOptions,
    /// How many workers will send.
    pub workers: usize,
    /// In which order records are written.
    pub order: Order,
    /// What happens when an output is slower than the workers.
    pub when_full: WhenFull,
    /// Write out after every record (`-l`).
    pub flush_each: bool,
}

/// One output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkSpec {
    /// How.
    pub format: Format,
    /// Where.
    pub target: Target,
}

/// Where an output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file that is appended to; created with mode 0600.
    File(PathBuf),
}

/// In which order records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As they come.
    Arrival,
    /// By key (position, flow, index): batches of one number are waited for from all workers.
    ByKey,
}

/// What happens when an output is slower than the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The workers wait (files).
    Wait,
    /// Records are shed and counted (live).
    Shed,
}

/// The outputs of a run.
pub struct Hub;

/// One worker's way to the outputs.
pub struct Lane;

/// What an output did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkReport {
    /// Its format and target in the user's words.
    pub name: String,
    /// Records given to it.
    pub made: u64,
    /// Records written.
    pub written: u64,
    /// Records not written: the queue was full, the output failed, or its reader has gone.
    pub shed: u64,
    /// Why it ended early; `None` also for a reader that closed its pipe.
    pub failure: Option<String>,
    /// The reader closed its pipe.
    pub closed: bool,
}

impl Hub {
    /// Opens the outputs and starts their threads.
    pub fn start(config: HubConfig) -> Result<Self, Error> {
        let _ = config;
        Ok(Self)
    }

    /// A worker's way in.
    pub fn lane(&self) -> Lane {
        Lane
    }

    /// True once every output's reader has gone: nobody wants more.
    pub fn is_closed(&self) -> bool {
        false
    }

    /// Reopens the files by name (SIGHUP).
    pub fn reopen(&self) {}

    /// What the outputs have done so far.
    pub fn reports(&self) -> Vec<SinkReport> {
        Vec::new()
    }

    /// Writes what is queued and ends the outputs. All lanes must be gone.
    pub fn finish(self) -> Vec<SinkReport> {
        Vec::new()
    }
}

impl Lane {
    /// Hands over a batch; blocks or sheds when the queue is full, as configured.
    pub fn send(&self, batch: Batch) {
        drop(batch);
    }
}
