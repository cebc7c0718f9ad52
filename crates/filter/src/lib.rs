//! Packet filters: the classic BPF machine that Linux runs on sockets, in user space and without any socket.
//!
//! [`bpf`] holds the machine: instructions, checked programs, an assembler with labels, a listing in the manner
//! of `tcpdump -d`, and a virtual machine that gives the kernel's answer for a packet. Attaching a program to a
//! socket is the business of `gannet-ring`; this crate only makes, checks, prints and runs them.
#![forbid(unsafe_code)]

pub mod bpf;

pub use bpf::{Assembler, Instruction, Program, Skb};
