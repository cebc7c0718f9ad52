//! The capture file formats pcap and pcapng, read and written, with no I/O policy of their own.
//!
//! Reading has two fronts over one core: [`SliceReader`] for a file that is in memory as a whole (mapped), and
//! [`StreamReader`] for anything that implements [`std::io::Read`], which also decompresses gzip and Zstandard.
//! Both deliver [`Packet`]s whose bytes are borrowed, keep a table of [`Interface`]s, and treat a capture that goes
//! bad as what it mostly is, a recording that was cut short: everything before the damage is delivered, then a
//! [`Warning`] says where and why reading ended. [`Merge`] puts several readers in the order of time.
//!
//! Writing is done by functions on slices and vectors ([`ng`], [`classic`]): the caller owns the buffers, the
//! files and the order of things, and nothing is allocated per packet.
//!
//! No input makes these readers panic, and none makes them allocate more than a small multiple of its own size.
#![forbid(unsafe_code)]

pub mod classic;
mod decode;
mod error;
#[doc(hidden)]
#[allow(clippy::panic, reason = "a fuzz body reports by panicking")]
pub mod fuzz;
mod inflate;
mod interface;
mod merge;
pub mod ng;
mod packet;
mod slice;
mod stream;
#[cfg(test)]
mod testing;
mod walk;

pub use error::{Error, Format, Reason, Warning};
pub use interface::{Interface, Resolution};
pub use merge::Merge;
pub use packet::{Packet, PacketSource};
pub use slice::SliceReader;
pub use stream::{Piece, StreamReader, Take};
pub use walk::{Walk, Walker};

/// The longest captured length, in bytes, that is believed of a record. Nothing on a wire is longer (a GRO frame
/// reaches 512 KiB), and libpcap refuses more; a greater number means that the record's start was missed.
pub const MAX_RECORD: u32 = 16 << 20;

/// The longest pcapng block, in bytes, whose contents are read: tcpdump's limit too. Blocks of unknown type may
/// have any length, since they are stepped over.
pub const MAX_BLOCK: u32 = 16 << 20;

/// The most interfaces that a capture may describe, over all its sections. Two packet blocks number them with 16
/// bits; a file that describes more is an attempt to fill memory.
pub const MAX_INTERFACES: usize = 1 << 16;
