//! For tests, benches and measurements only: the traffic, the place it runs in, and the proofs of what arrived.
//!
//! ```text
//!   generator ── frames that carry number, flow and checksums ──► TransmitSocket ─► tx0 ═ veth ═ rx0 ─► capture
//!   shape ────── how such a frame is laid out, built once                 lab: two network namespaces       │
//!   tally ────── reads recorded frames: missing, doubled, corrupt, out of order  ◄──────────── file ◄───────┘
//!   block ────── TPACKET_V3 blocks in plain memory, as the kernel would have filled them
//!   disk ─────── how fast the disk is without anybody's help
//!
//!   conversation ── one TCP connection with HTTP on it, packet by packet, and every damage a capture can have
//!   capture ─────── a file of many such connections at once, as a busy server has them
//!   impaired ────── the same over wires and in captures that lose, delay and double packets; exchanges are numbered
//!   truth ───────── what records of either must say, and the comparison with what they do say
//!   delays ──────── a real server over the lab that answers after known delays, and when each byte can have passed
//!
//!   corpus ──────── real captures, and what other tools say of them
//!   filters ─────── expressions of the filter language, frames to try them on, and libpcap's verdict
//! ```
//!
//! Nothing here uses the decoders of `gannet-packet`: the proofs would share the faults of what they check.
#![forbid(unsafe_code)]

pub mod block;
pub mod capture;
pub mod conversation;
pub mod corpus;
pub mod delays;
pub mod disk;
pub mod filters;
pub mod generator;
pub mod impaired;
pub mod lab;
pub mod random;
pub mod recording;
pub mod shape;
pub mod tally;
pub mod truth;
