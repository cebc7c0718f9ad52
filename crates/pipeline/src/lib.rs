//! The wiring: packets from interfaces or files to recordings and HTTP records, by workers that share nothing.
//!
//! ```text
//!   live ──► opens rings and outputs, gives up privileges, starts workers, listens to Control, makes the Report
//!              └─ worker (thread, pinned) ── source: ring of one interface, down, gone and back
//!                    ├─ Analysis: flows, HTTP, latencies ──► records: outputs in threads of their own
//!                    └─ Writer of the recorder
//!   dispatch ─► capture files in batches to the same Analysis, on as many workers
//!   convert ──► capture files to one Writer
//! ```
//!
//! What this crate refuses to do: parse flags, print, change packet bytes.
#![forbid(unsafe_code)]

mod analysis;
mod arrivals;
mod clock;
mod collector;
pub mod config;
pub mod control;
mod convert;
pub mod count;
mod cpus;
mod dispatch;
mod error;
mod files;
pub mod filter;
mod flows;
mod intake;
mod layer;
pub mod ledger;
mod live;
mod mailbox;
mod plan;
pub mod privileges;
mod raw_heads;
pub mod readers;
mod records;
mod services;
mod source;
mod worker;

pub use error::Error;

use analysis::Aim;
use config::{Input, RunConfig};
use control::{Control, Event};
use ledger::Report;

/// Runs a recording, an analysis, or both to the end: until `control` says so, the count or the duration is reached,
/// the files are read, or the readers of all outputs have gone.
///
/// `events` is called on the calling thread. A capture that has begun ends with a report even if something failed on
/// the way: what was lost is in its ledger.
pub fn run(config: &RunConfig, control: &Control, events: &dyn Fn(Event)) -> Result<Report, Error> {
    let aim = match (&config.http, &config.stats) {
        (Some(_), Some(_)) => {
            return Err(Error::Usage("HTTP and flows are two runs: one of them at a time".to_owned()));
        }
        (Some(http), None) => Some(Aim::Http(http)),
        (None, Some(stats)) => Some(Aim::Flows(stats)),
        (None, None) => None,
    };
    if matches!(config.capture.input, Input::Files(_)) {
        cpus::keep_to(&config.capture.cpus)?;
    }
    match (&config.capture.input, &config.record, aim) {
        (_, None, None) => Err(Error::Usage("nothing is to be done with the packets".to_owned())),
        (Input::Live { interfaces }, _, aim) => live::run(config, aim, interfaces, control, events),
        (Input::Files(files), Some(record), None) => {
            convert::run(&config.capture, record, files, control, events)
        }
        (Input::Files(files), None, Some(aim)) => dispatch::run(&config.capture, aim, files, control, events),
        (Input::Files(_), Some(_), Some(_)) => {
            let text = "--record is for live captures: the packets of -r are in a file already (see gannet record -r)";
            Err(Error::Usage(text.to_owned()))
        }
    }
}
