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
//! - [`mod@resolve`]: what it means, names replaced by numbers ([`mod@names`]), what makes no sense refused: a
//!   [`tree::Tree`];
//! - [`mod@lower`]: where that lies in a packet of one [`Link`] type: an [`ir::Graph`];
//! - [`mod@optimise`], [`mod@emit`]: the same verdicts in fewer instructions, in the kernel's encoding: a [`Program`].
//!
//! The manual page pcap-filter(7) is the specification and libpcap's behaviour the judge. Attaching a program to a
//! socket is the business of `gannet-ring`; this crate makes, checks, prints and runs them.
//!
//! # Where it differs from libpcap 1.10
//!
//! `tests/differential.rs` compares the two on generated expressions and frames. These differences are meant, counted
//! by it, and together concern fewer than one expression in a hundred, on damaged frames most of them:
//! - **Loads that nothing depends on.** A load beyond the end of a packet rejects it. libpcap's optimiser leaves out
//!   loads whose value is not needed, so its optimised and unoptimised programs disagree on packets cut short; so do
//!   its and our optimised ones (`geneve or not arp` on an empty frame). Our unoptimised programs load what libpcap's
//!   unoptimised ones do.
//! - **Constants in front of `geneve` and `protochain`.** libpcap optimises no program with one of these in it, we
//!   do. Where it would have refused one (no packet can pass, constant division by 0) it does not, and neither do we.
//! - **`protochain` is bounded.** libpcap's is a loop, which Linux does not run. Ours passes 6 extension headers (4
//!   with `ip6`), and one header behind an authentication header.
//! - **`byte N & V` and `byte N | V`** look at byte N. libpcap forgets the load and tests what the register happens
//!   to hold.
//! - **What libpcap's optimiser loses.** Where it takes out a load that nothing depends on, it also takes out the
//!   length of the header in front, which a later load goes by (`udp[17] & 0 = 103 or port 80`: the ports are read at
//!   the wrong place). In one of a million expressions, a list of hosts behind arithmetic, it lost the comparison
//!   with one of them. Its unoptimised programs are with us there.
//! - **Nothing can pass.** Once in a million, among five tests or more, we find that an expression rejects all
//!   packets and libpcap does not.
//! - **Headers behind a `geneve` that was not reached** (`arp or geneve and tcp`): libpcap reads their place from a
//!   word it has not set, and neither verdict means anything.
//! - **Live, in a frame sent with its VLAN tag in it:** what an operator's right operand reads without a test of its
//!   protocol (`5 < 1 + udp[4:2]`) is looked for from the network header on, by libpcap at a fixed place.
//!
//! Beyond libpcap, `vxlan [VNI]` works like `geneve`, and [`Link::Kernel`] takes `geneve` and `protochain` into the
//! kernel. There `ether[...]`, `link[...]` and `byte` are refused: not every interface has a link header.
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
