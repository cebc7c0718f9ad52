//! From stream bytes to HTTP messages, from messages to exchanges.
//!
//! ```text
//!   Data, Gap (client) ──► framing of requests ───► queue of requests without an answer ─┐
//!                                                                                        ├─► Exchange ──► Sink
//!   Data, Gap (server) ──► framing of responses ──► 1xx kept aside, final answer ────────┘
//! ```
//!
//! HTTP/1.0 and 1.1 are found by content on any port; HTTP/2 is recognised by its preface and counted, TLS by its
//! record header. A handshake of SOCKS or a header of the PROXY protocol in front is passed over. Bodies are framed
//! without touching their bytes, unless some of them are to be kept. No bytes make this crate panic, and what a
//! connection may hold in memory is bounded. What it refuses to do: look into packet headers, read
//! a clock, look into what a tunnel carries beyond HTTP/1 and WebSocket's frame headers.
#![forbid(unsafe_code)]

mod analyser;
mod body;
mod content;
mod counters;
mod detect;
mod event;
mod exchange;
mod framing;
#[doc(hidden)]
pub mod fuzz;
mod head;
mod held;
mod keep;
mod names;
mod oddity;
mod pairing;
mod parse;
mod pending;
mod prelude;
mod timing;
mod tunnel;
mod websocket;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use analyser::{ConnectionState, Http, HttpConfig, PortSet, Sink};
pub use content::{DecodeEnd, DecodeLimits, Decoded, decode};
pub use counters::Counters;
pub use detect::{Protocol, recognise};
pub use event::{
    HeadArrival, HeadEvent, HeadExtent, HeadKind, HeadReport, MessageEvent, MessageReport, PendingRequest,
};
pub use exchange::{
    Confidence, Connection, Exchange, ExchangeId, Interim, Message, NoExchangeId, Reason, State, TcpFacts,
    Timing, Untrusted,
};
pub use gannet_packet::Violation;
pub use head::{Field, Head, StartLine};
pub use keep::Trailers;
pub use names::ServerNames;
pub use oddity::Oddities;
pub use tunnel::{Tunnel, TunnelProtocol};
pub use websocket::{Opcode, WebSocketFrames};
