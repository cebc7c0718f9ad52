//! What is reported: the record of an exchange, the route it belongs to, latency histograms and their summary.
//!
//! No I/O here: records are written by whoever has an output (`gannet-sink`), histograms are filled by the workers, each
//! its own, and merged at the end.
#![forbid(unsafe_code)]

mod interfaces;
mod latency;
mod record;
mod redact;
mod route;

pub use interfaces::Interfaces;
pub use latency::{Latencies, Summary, SummaryRow};
pub use record::{HeaderSelection, Record, RecordOptions};
pub use route::Routes;
