//! Packet filters: the pcap-filter language, compiled to classic BPF without libpcap, and the machine that runs it.
//!
//! ```text
//!  text ─lex─► tokens ─parse─► syntax ─resolve─► Tree ─lower─► Graph ─optimise─► Graph ─emit─► Program
//!              places          words    names,   numbers,      blocks,           fewer         checked,
//!              kept            only     refusals one meaning   one link type     blocks        classic BPF
//! ```
//!
//! Each pass is a file or folder of its own and knows only its neighbours' types:
//! - `lex`, `parse`: what is written, with the place of every word;
//! - [`mod@resolve`]: what it means, names replaced by numbers ([`mod@names`]), what makes no sense refused: a [`tree::Tree`];
//! - [`mod@lower`]: where that lies in a packet of one [`Link`] type: an [`ir::Graph`];
//! - [`mod@optimise`], [`mod@emit`]: the same verdicts in fewer instructions, in the kernel's encoding: a [`Program`].
//!
//! The manual page pcap-filter(7) is the specification and libpcap's behaviour the judge. Attaching a program to a
//! socket is the business of `gannet-ring`; this crate makes, checks, prints and runs them.
#![forbid(unsafe_code)]

mod advice;
pub mod bpf;
pub mod compile;
pub mod emit;
pub mod error;
pub mod explain;
pub mod file;
#[doc(hidden)]
#[allow(clippy::panic, reason = "a fuzz body reports by panicking")]
pub mod fuzz;
pub mod ir;
mod lex;
pub mod lower;
pub mod names;
pub mod opcodes;
pub mod optimise;
mod parse;
pub mod resolve;
mod syntax;
pub mod tree;
mod words;

pub use bpf::{Assembler, Instruction, Machine, Program, Skb};
pub use compile::{Link, Options, Snaplen, compile};
pub use error::{Error, ErrorKind};
pub use file::{FileFilter, FileOptions};
pub use names::Names;
