//! Which worker gets a packet.
//!
//! A fanout group spreads the packets of one interface over the sockets of the workers. Mode `flow` does so by a
//! classic BPF program of ours, so that both directions of a flow reach the same worker, inside VXLAN and GRE as
//! well, and so that anybody can compute the choice:
//!
//! ```text
//!              ┌── program: runs in the kernel, result % members ──► socket of the worker
//!   packet ────┤                     ‖ the same number
//!              └── twin: flow_hash() in user space ──► mailboxes, tests           
//! ```
//!
//! The other modes are the kernel's own.

mod mode;
mod program;
mod twin;
mod view;

pub use mode::{FanoutMode, UnknownFanoutMode};
pub use program::{FLOW_SEED, flow_program};
pub use twin::{flow_hash, key_hash};
pub use view::{NetworkView, network_view, worker_for_frame};

#[doc(hidden)]
pub use view::fuzz_twin;

#[cfg(test)]
mod tests;
