//! The capture file formats pcap and pcapng, read and written, with no I/O policy of their own.
//!
//! Writing is done by functions on slices and vectors ([`ng`], [`classic`]): the caller owns the buffers, the
//! files and the order of things, and nothing is allocated per packet.
#![forbid(unsafe_code)]

pub mod classic;
pub mod ng;
