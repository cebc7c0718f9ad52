//! Tests of the real binary, run as a user runs it.
//!
//! What needs root or network namespaces says `SKIPPED` without them, and fails instead if `REQUIRE_NETNS=1`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic in a test is its report")]

mod cli;
mod conformance;
mod live;
mod util;
