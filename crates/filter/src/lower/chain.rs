//! `protochain`: a protocol anywhere among the headers of an IP packet.
//!
//! libpcap makes a loop of it, with a jump backward that no kernel takes. Here the loop is written out for a bounded
//! number of headers:
//!
//! ```text
//!   fixed header ──► level 1 ──► level 2 ──► ... ──► the last
//!        │ AH           │ AH        │ AH                │
//!        ▼              └───────────┴──► step ──────────┘
//!   compare ◄────────────────────────────┘  over one header, then compare the next protocol for the last time
//! ```
//!
//! A level has X at an extension header whose kind it knows already. It loads what that header says comes next; if it
//! is what was asked for, done; if it is an extension header, it steps over its own one. So nothing needs to be kept
//! but X.

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bpf::{Program, Skb};
    use crate::compile::{Link, Options, Snaplen, compile};
    use crate::names::Names;

    fn program(expression: &str, optimise: bool) -> Program {
        let names = Names::default();
        let snaplen = Snaplen::Fixed(1);
        compile(expression, &Options { link: Link::Ethernet, snaplen, optimise, netmask: 0, names: &names })
            .unwrap()
    }

    /// An IPv6 packet whose extension headers are of these kinds and lengths, then `last`.
    fn ipv6(chain: &[(u8, u8)], last: u8) -> Vec<u8> {
        let kinds: Vec<u8> = chain.iter().map(|&(kind, _)| kind).chain([last]).collect();
        let mut bytes = vec![0; 12];
        bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, kinds[0], 0]);
        bytes.resize(54, 0);
        for (&(kind, units), &next) in chain.iter().zip(&kinds[1..]) {
            let len = if kind == 51 { 8 + 4 * usize::from(units) } else { 8 + 8 * usize::from(units) };
            let mut header = vec![0xff; len];
            header[0] = next;
            header[1] = units;
            bytes.extend(header);
        }
        bytes.extend([0; 20]);
        bytes
    }

    fn ipv4(words: u8, ah: bool, last: u8) -> Vec<u8> {
        let mut bytes = vec![0; 12];
        bytes.extend([8, 0]);
        let mut header = vec![0; usize::from(words) * 4];
        header[0] = 0x40 | words;
        header[9] = if ah { 51 } else { last };
        bytes.extend(header);
        if ah {
            bytes.extend([last, 4]);
            bytes.resize(bytes.len() + 22, 0xff);
        }
        bytes
    }

    #[test]
    fn as_far_as_it_says() {
        let (both, ip6) = (program("protochain 6", false), program("ip6 protochain 6", false));
        for headers in 0..10 {
            let packet = ipv6(&vec![(60, 1); headers], 6);
            assert_eq!(both.run(&Skb::of(&packet)), u32::from(headers <= CHAIN_HEADERS), "{headers}");
            assert_eq!(ip6.run(&Skb::of(&packet)), u32::from(headers <= CHAIN_HEADERS_IP6), "{headers}");
        }
    }

    #[test]
    fn short_enough() {
        // Half as much again as libpcap's loops, of 58, 24 and 36 instructions.
        for (expression, most) in [("protochain 6", 87), ("ip protochain 6", 36), ("ip6 protochain 6", 54)] {
            let len = program(expression, true).instructions().len();
            assert!(len <= most, "{expression}: {len}");
        }
    }

    proptest! {
        #[test]
        fn follows_ipv6(
            chain in proptest::collection::vec((prop::sample::select(vec![0_u8, 43, 44, 60]), 0..5_u8), 0..=CHAIN_HEADERS_IP6),
            ah in any::<bool>(),
            last in prop::sample::select(vec![6_u8, 17, 59]),
            asked in prop::sample::select(vec![0_u8, 6, 17, 43, 44, 51, 59, 60]),
        ) {
            let mut chain = chain;
            if ah {
                // AH takes the place of the last one.
                chain.pop();
                chain.push((51, 4));
            }
            let packet = ipv6(&chain, last);
            let expected = last == asked || chain.iter().any(|&(kind, _)| kind == asked);
            for expression in [format!("protochain {asked}"), format!("ip6 protochain {asked}")] {
                for optimise in [false, true] {
                    let verdict = program(&expression, optimise).run(&Skb::of(&packet));
                    prop_assert_eq!(verdict > 0, expected, "{} optimised {}", expression, optimise);
                }
            }
            prop_assert_eq!(program(&format!("ip protochain {asked}"), false).run(&Skb::of(&packet)), 0);
        }

        #[test]
        fn follows_ipv4(words in 5..16_u8, ah: bool, last in prop::sample::select(vec![6_u8, 17, 59]), asked in prop::sample::select(vec![6_u8, 17, 51])) {
            let packet = ipv4(words, ah, last);
            let expected = last == asked || ah && asked == 51;
            for expression in [format!("protochain {asked}"), format!("ip protochain {asked}")] {
                prop_assert_eq!(program(&expression, true).run(&Skb::of(&packet)) > 0, expected);
            }
        }
    }
}
