//! Packets to disk, as they are in the ring.
//!
//! ```text
//!   Block ──► Writer ──┬─ in place ──► the block itself, as pcapng ────┐
//!   (ring)             └─ compact ──► a buffer of copied packets ──────┤
//!                                                                      ▼
//!   keeper (thread): next file, room ahead, sync, rename      extents of a CaptureFile, O_DIRECT, io_uring
//! ```
//!
//! [`Output`] is opened once per run; each worker has a [`Writer`]. What is in a file is in whole extents that start
//! on 4096-byte boundaries with a marker (see [`gannet_pcap::ng::marker`]), so that a file left by a crash can be
//! repaired ([`repair`]). What this crate refuses to do: look into packets, filter, wait for anything per packet.
#![forbid(unsafe_code)]

mod compact;
mod engine;
mod error;
mod file;
pub mod inplace;
mod keeper;
mod lane;
mod output;
mod packet;
pub mod repair;
mod run;
#[cfg(test)]
mod samples;
mod series;
mod stream;
mod writer;

pub use compact::Encoding;
pub use engine::MOST_WRITES;
pub use error::Error;
pub use file::{InterfaceDescription, InterfaceKey};
pub use output::{
    CountsSource, DEFAULT_ROTATE_BYTES, Destination, FileSummary, KernelCounts, Notice, Output, OutputPlan,
};
pub use packet::Outgoing;
pub use series::{SeriesName, file_stamp};
pub use writer::{Recorded, SourceView, Tally, Writer, WriterPlan};
