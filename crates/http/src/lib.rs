//! From stream bytes to HTTP messages, from messages to exchanges.
//!
//! ```text
//!   Data, Gap (client) ──► framing of requests ───► queue of requests without an answer ─┐
//!                                                                                        ├─► Exchange ──► Sink
//!   Data, Gap (server) ──► framing of responses ──► 1xx kept aside, final answer ────────┘
//! ```
//!
//! HTTP/1.0 and 1.1 are found by content on any port; HTTP/2 is recognised by its preface and counted, TLS by its
//! record header. Bodies are framed without touching their bytes. No bytes make this crate panic, and what a
//! connection may hold in memory is bounded. What it refuses to do: look into packet headers, read a clock, keep bodies.
#![forbid(unsafe_code)]

mod analyser;
mod body;
mod counters;
mod detect;
mod exchange;
mod framing;
#[doc(hidden)]
pub mod fuzz;
mod head;
mod held;
mod pairing;
mod parse;
mod timing;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use analyser::{ConnectionState, Http, HttpConfig, PortSet, Sink};
pub use counters::Counters;
pub use detect::{Protocol, recognise};
pub use exchange::{
    Confidence, Connection, Exchange, HeadEvent, HeadKind, Interim, Message, State, TcpFacts, Timing,
    Untrusted,
};
pub use gannet_packet::Violation;
pub use head::{Field, Head, StartLine};
