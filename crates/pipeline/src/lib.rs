//! The wiring: packets from interfaces or files to a recording, by workers that share nothing.
//!
//! ```text
//!   live ──► opens rings and output, gives up privileges, starts workers, listens to Control, makes the Report
//!              └─ worker (thread, pinned) ── source: ring of one interface, down, gone and back
//!                    └─ Writer of the recorder
//!   convert ─► the same for capture files
//! ```
//!
//! What this crate refuses to do: parse flags, print, touch packet bytes.
#![forbid(unsafe_code)]

pub mod config;
pub mod control;
mod convert;
mod error;
pub mod ledger;
mod live;
mod plan;
pub mod privileges;
mod source;
mod worker;

pub use error::Error;

use config::{Input, RecordConfig};
use control::{Control, Event};
use ledger::Report;

/// Runs a recording to its end: until `control` says so, the count or the duration is reached, the files are read,
/// or the reader of the output has gone.
///
/// `events` is called on the calling thread. A capture that has begun ends with a report even if something failed on
/// the way: what was lost is in its ledger.
pub fn record(config: &RecordConfig, control: &Control, events: &dyn Fn(Event)) -> Result<Report, Error> {
    match &config.input {
        Input::Live { interfaces } => live::run(config, interfaces, control, events),
        Input::Files(files) => convert::run(config, files, control, events),
    }
}
