//! What a captured frame is, and what its headers say.
//!
//! The vocabulary every other crate shares: a [`Frame`] (captured bytes with their [`Timestamp`], lengths,
//! [`LinkType`] and direction), the layers found in it, and the flow key with its direction-free hash. Nothing
//! here knows a socket or a file: live rings and capture files meet in [`Frame`].
#![forbid(unsafe_code)]

mod frame;

pub use frame::{Frame, LinkType, PacketType, Timestamp};
