//! Where records go: formats, and the thread that writes them; where workers have all processors to themselves, they
//! do what they can of it ([`Writing::ByWorkers`]).
//!
//! ```text
//!   worker 0 ──► Batch ──┐  bounded queue                ┌─ jsonl ──► file, pipe
//!   worker 1 ──► Batch ──┼─► (full: wait, or shed and ───┼─ text ───► terminal
//!   ...                  ┘    count, as the run says)    └─ messages ...
//!                           order: as they come (live), or merged by key (files)
//! ```
//!
//! Records made = written + shed, for every sink. A reader that closes its pipe ends that sink in order.
#![forbid(unsafe_code)]

mod batch;
mod behind;
mod direct;
mod error;
mod format;
mod httpry;
mod hub;
mod kinds;
mod messages;
mod output;
mod queue;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
mod text;
mod turn;
mod writer;

pub use batch::{Batch, Event};
pub use error::Error;
pub use format::Format;
pub use httpry::{HttpryOptions, RateOptions};
pub use hub::{Hub, HubConfig, Lane, Order, SinkReport, SinkSpec, Target, WhenFull, Writing};
pub use kinds::{EventKind, EventKinds};
pub use output::has_lost_reader;
