//! Recordings end to end, without a network: ring blocks in, files out. `tests/limits.rs` has those that need a
//! process of their own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests report by panicking")]

mod crash;
mod faults;
mod files;
mod mounts;
mod secrets;
mod streams;
mod support;
mod visible;
mod waiting;
