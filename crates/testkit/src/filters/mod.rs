//! Filters put to the test: expressions nobody would write, frames nobody would send, and what libpcap says of both.
//!
//! ```text
//!   vocabulary ── addresses, ports, tags that both sides draw from, so that verdicts are mixed
//!       ├──► expression ── text, production by production of pcap-filter(7) ──► oracle ── programs of `tcpdump -ddd`
//!       └──► frame ─────── bytes, header by header, whole and cut                  │
//!   foreign ── runs what `Program` refuses: loops, loads of words never stored ◄───┘
//!   compare ── ours and libpcap's over the frames, a difference made small by shrink
//! ```
//!
//! Nothing here uses the compiler of `gannet-filter`, only its machine: what is checked has no say in the check.

pub mod compare;
pub mod corpus;
pub mod expression;
pub mod foreign;
pub mod frame;
pub mod oracle;
pub mod shrink;
pub mod vocabulary;
