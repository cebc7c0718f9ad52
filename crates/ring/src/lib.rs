//! Linux packet sockets: the TPACKET_V3 receive ring, its blocks and who owns them, fanout, transmission,
//! interface facts, kernel counters, and the writes that go from ring memory to the disk.
//!
//! ```text
//!   socket ── options, filter, fanout        receive ── ReceiveRing: opens, maps, hands out blocks in order
//!   memory ── Block → InFlight: ownership    walk ───── frames of a block, every number checked
//!   disk ──── writes from ring memory        prelude ── the kernel program every capture starts with
//! ```
//!
//! This is the only crate with unsafe code, and it is confined to `sys` (system calls), [`memory`]
//! (kernel-shared memory), [`buffer`] (aligned memory), [`mapped`] (mapped files), [`disk`] (asynchronous writes),
//! [`transmit`] (frames handed to the kernel by address) and [`mod@prefetch`] (a hint to the processor). What it
//! refuses to do: judge traffic, know file formats, decide when to drop.
#![deny(unsafe_code)]

pub mod buffer;
pub mod disk;
mod error;
pub mod mapped;
pub mod memory;
pub mod prefetch;
pub mod prelude;
pub mod receive;
pub mod socket;
mod sys;
pub mod walk;

pub mod fanout;
pub mod interfaces;
pub mod netns;
pub mod transmit;

pub use error::Error;
pub use memory::{Block, InFlight};
pub use receive::{ReceiveRing, RingConfig, TimeSource};
pub use socket::{FanoutGroup, KernelStatistics, PacketSocket, Target};
