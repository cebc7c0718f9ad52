//! `protochain`: a protocol anywhere among the headers of an IP packet.
//!
//! libpcap makes a loop of it, with a jump backward that no kernel takes. Here the loop is written out for a bounded number of
//! headers:
//!
//! ```text
//!   fixed header ──► level 1 ──► level 2 ──► ... ──► the last
//!        │ AH           │ AH        │ AH                │
//!        ▼              └───────────┴──► step ──────────┘
//!   compare ◄────────────────────────────┘  over one header, then compare the next protocol for the last time
//! ```
//!
//! A level has X at an extension header whose kind it knows already. It loads what that header says comes next; if it is what
//! was asked for, done; if it is an extension header, it steps over its own one. So nothing needs to be kept but X.

use super::headers::{At, IPV6_LEN, statement};
use super::predicate::{Open, Predicate, Way, constant};
use super::{Lowering, ethertype, ip};
use crate::bpf::Instruction;
use crate::bpf::Width::Byte;
use crate::bpf::insn::*;
use crate::error::{Error, ErrorKind};
use crate::ir::Comparison;
use crate::tree::Protocol;

/// IPv6 extension headers that `protochain` passes.
pub(super) const CHAIN_HEADERS: usize = 6;
/// The same for `ip6 protochain`: the most that stays within one and a half times libpcap's loop.
pub(super) const CHAIN_HEADERS_IP6: usize = 4;

impl Lowering<'_> {
    /// `[ip|ip6] protochain NUMBER`.
    pub(super) fn protocol_chain(
        &mut self,
        within: Option<Protocol>,
        number: u32,
    ) -> Result<Predicate, Error> {
        if !matches!(within, None | Some(Protocol::Ip | Protocol::Ip6)) {
            return Err(self.error(ErrorKind::Meaning, "`protochain` goes with `ip` and `ip6` only"));
        }
        if self.headers.payload.variable.is_some() {
            return Err(self.link_error("`protochain` needs headers at a fixed place"));
        }
        let header = self.headers.place(At::Network(0)).constant;
        let asked = constant(Comparison::Equal, number);
        let next = vec![statement(LD | IND | B, header)];
        let mut open = Open::default();
        // X at the last header that is looked at: what comes next?
        let last = self.graph.branch(next.clone(), asked, Way::Holds, Way::Fails, &mut open);
        let v4 = (within != Some(Protocol::Ip6)).then(|| {
            let skip = self.graph.goto(self.headers.ipv4_len(), last);
            let ah = constant(Comparison::Equal, ip::AH);
            let ah = self.graph.branch(Vec::new(), ah, Way::To(skip), Way::Fails, &mut open);
            let load = self.headers.load(At::Network(ip::V4_PROTOCOL), Byte);
            self.graph.branch(load, asked, Way::Holds, Way::To(ah), &mut open)
        });
        let v6 = (within != Some(Protocol::Ip)).then(|| {
            let levels = if within.is_none() { CHAIN_HEADERS } else { CHAIN_HEADERS_IP6 };
            // Over a header that is not AH, to the last look.
            let step = self.graph.goto(step_over(header), last);
            let mut following = step;
            for level in (0..levels).rev() {
                let mut load = next.clone();
                let (mut extension, mut ah) = (following, step);
                if level == 0 {
                    load = self.headers.load(At::Network(ip::V6_NEXT), Byte);
                    load.push(statement(LDX | IMM, IPV6_LEN));
                    ah = last;
                } else if level + 1 < levels {
                    extension = self.graph.goto(step_over(header), following);
                }
                let is_ah = constant(Comparison::Equal, ip::AH);
                let mut kinds = self.graph.branch(Vec::new(), is_ah, Way::To(ah), Way::Fails, &mut open);
                for kind in EXTENSION_HEADERS {
                    let is_kind = constant(Comparison::Equal, kind);
                    let (then, otherwise) = (Way::To(extension), Way::To(kinds));
                    kinds = self.graph.branch(Vec::new(), is_kind, then, otherwise, &mut open);
                }
                following = self.graph.branch(load, asked, Way::Holds, Way::To(kinds), &mut open);
            }
            following
        });
        let is_v4 = self.link_protocol(ethertype::IPV4)?;
        let is_v6 = self.link_protocol(ethertype::IPV6)?;
        Ok(match (v4, v6) {
            (Some(v4), Some(v6)) => {
                let v6 = self.graph.enter(is_v6, v6, open);
                self.graph.enter_or(is_v4, v4, v6)
            }
            (Some(v4), None) => self.graph.enter(is_v4, v4, open),
            (None, Some(v6)) => self.graph.enter(is_v6, v6, open),
            (None, None) => self.never(),
        })
    }
}

/// X over an extension header that tells its length in units of 8 bytes beyond the first 8.
fn step_over(header: u32) -> Vec<Instruction> {
    vec![
        statement(LD | IND | B, header.wrapping_add(1)),
        statement(ALU | ADD | K, 1),
        statement(ALU | LSH | K, 3),
        statement(ALU | ADD | X, 0),
        statement(MISC | TAX, 0),
    ]
}

/// Hop-by-hop options, destination options, routing, fragment: their lengths are told alike.
const EXTENSION_HEADERS: [u32; 4] = [0, 60, 43, 44];
