//! From TCP segments to ordered bytes: the flow table and the reassembly of both directions of each flow.
//!
//! ```text
//!   Segment ──► FlowTable ──┬─ in order ───► Handler::data, a borrow of the frame ────────────────► Handler
//!               (by key)    ├─ early ──────► held in the pool ─► the hole fills, or becomes ─► data, gap
//!                           ├─ seen before ► compared while still held, counted, never delivered twice
//!                           └─ SYN, FIN, RST, idle, full ───────────────────────────────────► open, end, close
//! ```
//!
//! What is guaranteed: for each direction of a flow, offsets of [`Data`] and [`Gap`] follow one another without overlap
//! from 0 up to the end; the first copy of a byte wins; every payload byte given to the table is in exactly one
//! account of [`Counters`]. The frame's time stamp is the only clock. What this crate refuses to do: look into
//! payloads, read a clock, allocate per in-order segment.
//!
//! Beside the table, [`Conversations`] counts what is no TCP: who sent how much to whom, by the same keys. In front of
//! both, [`Fragments`] puts IP datagrams together that came in pieces.
#![forbid(unsafe_code)]

mod assembly;
mod community;
mod connection;
mod conversations;
mod counters;
mod entry;
mod flow;
mod fragments;
#[doc(hidden)]
pub mod fuzz;
mod handler;
mod hash;
mod history;
mod hold;
mod icmp;
mod index;
mod limits;
mod rare;
mod record;
mod rtt;
mod segment;
mod sequence;
mod stream;
mod table;
#[cfg(test)]
mod testing;
mod tls;
mod wheel;

pub use community::{community_id, community_id_icmp};
pub use connection::ConnectionId;
pub use conversations::{ConversationCounters, ConversationLimits, Conversations, Heard};
pub use counters::Counters;
pub use flow::{Flow, Handshake, Peer, StreamFacts};
#[doc(hidden)]
pub use fragments::fuzz::fragments as fuzz_fragments;
pub use fragments::{Datagram, FragmentCounters, FragmentLimits, Fragments, Refusal, Taken};
pub use gannet_packet::Violation;
pub use handler::{CloseReason, Data, Gap, GapReason, Had, Handler, Retransmission, StreamEnd};
pub use history::ConnectionState;
pub use icmp::{IcmpError, QuotedSegment};
pub use limits::Limits;
pub use record::FlowRecord;
pub use segment::{Moment, Segment};
pub use table::{FlowTable, Outcome};
#[doc(hidden)]
pub use tls::fuzz as fuzz_tls;
pub use tls::{TlsHello, version_name};
