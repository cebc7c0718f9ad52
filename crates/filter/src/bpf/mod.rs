//! The classic BPF machine.
//!
//! A program is a run of [`Instruction`]s over an accumulator `A`, an index register `X` and 16 words of scratch
//! memory `M`; all of them are 32 bits wide. It only ever jumps forward, so it always ends, and what it returns
//! is a number: for a socket filter the bytes to keep (0 rejects the packet), for a fanout program the value
//! whose remainder chooses the member.
//!
//! ```text
//!   Assembler ──assemble()──► Program ──► Display: the listing
//!                               │   ├──► run(&Skb) -> u32
//!                               │   └──► Machine: the same answers, faster
//!                               └──► instructions(): what setsockopt takes
//! ```
//!
//! [`Program`] is the proof that the kernel's checks (`bpf_check_classic` in `net/core/filter.c`) hold; the
//! virtual machine and the listing take nothing else.

pub mod asm;
pub mod insn;
mod listing;
mod machine;
mod ports;
pub mod program;
mod vm;

pub use asm::{AssembleError, Assembler, Label, NEXT, Target};
pub use insn::{Ancillary, Instruction, Width, ll_offset, net_offset};
pub use machine::Machine;
pub use program::{Program, ProgramError};
pub use vm::{Skb, VlanTag};
