//! Filter expressions, drawn from the grammar of pcap-filter(7).
//!
//! Every production that has a meaning on some link type of ours has a weight: what people write comes up in most
//! expressions, and what nobody has written since 1995 in every few hundredth. Most texts are accepted; a share is
//! damaged on purpose, since what libpcap refuses must be refused too.
//!
//! ```text
//!   expression ─► term { and|or term or inherited id } ─► primitive │ not term │ ( expression ) │ relation ─► arithmetic
//! ```
//!
//! The same seed gives the same texts on every machine.

mod identifier;
mod primitive;
mod relation;

use std::fmt::Write as _;

use gannet_filter::Link;

use crate::filters::shrink::split;
use crate::filters::vocabulary::{pick, pick_early};
use crate::random::Random;

/// An endless source of expressions.
#[derive(Clone, Debug)]
pub struct Expressions {
    random: Random,
    link: Link,
    /// The expression so far.
    text: String,
    /// What an address or number without qualifiers would be taken for at this place.
    inherited: Option<Inherited>,
}

/// What qualifiers stand before the last identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inherited {
    Host,
    Host6,
    Net,
    LinkHost,
    Port,
    PortRange,
    IpProtocol,
    EtherProtocol,
}

/// Makes one production.
type Production = fn(&mut Expressions);

impl Expressions {
    /// Expressions for frames of that link type: what it does not have comes up, but rarely.
    pub fn new(seed: u64, link: Link) -> Self {
        Self { random: Random::new(seed), link, text: String::new(), inherited: None }
    }

    /// The next one.
    pub fn next_expression(&mut self) -> String {
        self.text.clear();
        self.inherited = None;
        self.expression(0);
        if self.one_in(16) {
            self.damage();
        }
        std::mem::take(&mut self.text)
    }

    fn expression(&mut self, depth: u32) {
        let terms = match self.random.below(20) {
            0..=7 => 1,
            8..=13 => 2,
            14..=16 => 3,
            17..=18 => 4,
            _ => 5 + self.random.below(if depth == 0 { 8 } else { 2 }),
        };
        self.term(depth);
        for _ in 1..terms {
            let joined = pick_early(&mut self.random, &[" and ", " or ", " && ", " || ", "&&", "||"]);
            // `tcp&&udp` would do, `tcpanduspd` not, and after a backslash everything up to a blank is a name.
            self.put(if joined.starts_with(' ') || !self.text.contains('\\') { joined } else { " and " });
            if self.inherited.is_some() && self.one_in(3) {
                self.inherited_id(depth);
            } else {
                self.term(depth);
            }
        }
    }

    /// An identifier that takes its qualifiers from the one before: `port 80 or 443`.
    fn inherited_id(&mut self, depth: u32) {
        let Some(kind) = self.inherited else { return };
        if self.one_in(8) {
            self.put_one(&["not ", "! ", "!"]);
        }
        if depth < 3 && self.one_in(6) {
            self.put("(");
            self.id(kind);
            for _ in 0..self.random.between(0, 2) {
                self.put_one(&[" or ", " and ", " || "]);
                self.inherited_id(depth + 1);
            }
            self.put(")");
        } else {
            self.id(kind);
        }
        self.inherited = Some(kind);
    }

    fn term(&mut self, depth: u32) {
        match self.random.below(20) {
            0..=2 if depth < 4 => {
                self.put_one(&["not ", "! ", "!"]);
                self.term(depth + 1);
            }
            3..=5 if depth < 3 => {
                self.put_one(&["(", "( "]);
                self.expression(depth + 1);
                self.put(")");
                // The qualifiers inside do not reach out of the bracket.
                self.inherited = None;
            }
            6..=9 => {
                self.relation();
                self.inherited = None;
            }
            _ => self.primitive(),
        }
    }

    fn primitive(&mut self) {
        self.inherited = None;
        let ethernet = self.link == Link::Ethernet;
        let cooked = matches!(self.link, Link::Sll | Link::Sll2);
        // What libpcap refuses on this link type comes up just often enough.
        let if_ethernet = |weight| if ethernet { weight } else { 1 };
        let if_linked = |weight| if ethernet || cooked { weight } else { 1 };
        let table: [(u32, Production); 33] = [
            (80, Self::protocol),
            (100, Self::host),
            (40, Self::net),
            (90, Self::port),
            (25, Self::port_range),
            (25, Self::ip_protocol),
            (if_linked(14), Self::ether_protocol),
            (if_ethernet(30), Self::link_host),
            (8, Self::protocol_chain),
            (10, Self::host6),
            (12, Self::net6),
            (if_linked(6), Self::isis_protocol),
            (if_linked(3), Self::iso_protocol),
            (if_linked(4), Self::decnet_host),
            (if_ethernet(1), Self::gateway),
            (12, Self::broadcast_or_multicast),
            (12, Self::less_or_greater),
            (4, Self::byte),
            (if cooked { 8 } else { 1 }, Self::inbound_or_outbound),
            (if self.link == Link::Sll2 { 8 } else { 1 }, Self::interface_index),
            (if_ethernet(30), Self::vlan),
            (if_ethernet(14), Self::mpls),
            (if_linked(12), Self::pppoe),
            (12, Self::geneve),
            (if_ethernet(12), Self::llc),
            (4, Self::numeric_host),
            (2, Self::service_elsewhere),
            (1, Self::named_host),
            (1, Self::named_net),
            (1, Self::foreign_link),
            (1, Self::arcnet),
            (1, Self::unknown_word),
            (3, Self::bracketed_ids),
        ];
        let sum: u32 = table.iter().map(|(weight, _)| weight).sum();
        let mut at = self.random.below(u64::from(sum)) as u32;
        for (weight, production) in table {
            if at < weight {
                return production(self);
            }
            at -= weight;
        }
    }

    /// In decimal, hexadecimal or octal digits.
    fn number(&mut self, number: u32) {
        let _ = match self.random.below(12) {
            0..=1 => write!(self.text, "{number:#x}"),
            2 if self.one_in(3) => write!(self.text, "0{number:o}"),
            3 if self.one_in(4) => write!(self.text, "0X{number:X}"),
            _ => write!(self.text, "{number}"),
        };
    }

    /// Spoils one or two words of the text: most of what comes out is no expression.
    fn damage(&mut self) {
        let mut words = split(&self.text);
        for _ in 0..self.random.between(1, 2) {
            let at = self.random.below(words.len() as u64) as usize;
            match self.random.below(5) {
                0 if words.len() > 1 => drop(words.remove(at)),
                1 if !words.is_empty() => words.insert(at, words[at].clone()),
                2 if !words.is_empty() => words[at] = pick(&mut self.random, &STRAY).to_owned(),
                3 => {
                    let other = self.random.below(words.len() as u64) as usize;
                    if !words.is_empty() {
                        words.swap(at, other);
                    }
                }
                _ => words.insert(at, pick(&mut self.random, &STRAY).to_owned()),
            }
        }
        self.text = words.join(" ");
    }

    fn put(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn put_one(&mut self, list: &[&str]) {
        let at = self.random.below(list.len() as u64) as usize;
        self.text.push_str(list.get(at).copied().unwrap_or_default());
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.random.below(count) == 0
    }
}

/// Words for damaged expressions.
const STRAY: [&str; 36] = [
    "and",
    "or",
    "not",
    "(",
    ")",
    "host",
    "net",
    "port",
    "src",
    "dst",
    "tcp",
    "ip",
    "proto",
    "80",
    "10.0.0.1",
    "::1",
    "[",
    "]",
    "&",
    "len",
    "=",
    "<",
    "vlan",
    "mask",
    "/",
    "-",
    "foo",
    "ether",
    "gateway",
    "broadcast",
    "99999999999",
    "0x",
    "089",
    "10.0.0.256",
    "'",
    "\\tcp",
];

#[cfg(test)]
mod tests {
    use super::identifier::SERVICES;
    use super::primitive::PROTOCOLS;
    use super::relation::{ICMP_KINDS, ICMP6_KINDS, TCP_FLAGS};
    use super::*;

    #[test]
    fn a_seed_is_a_sequence() {
        let texts = |seed| {
            let mut source = Expressions::new(seed, Link::Ethernet);
            (0..50).map(|_| source.next_expression()).collect::<Vec<_>>()
        };
        assert_eq!(texts(1), texts(1));
        assert_ne!(texts(1), texts(2));
    }

    #[test]
    fn every_word_comes_up() {
        let mut source = Expressions::new(7, Link::Ethernet);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..60_000 {
            seen.extend(split(&source.next_expression()));
        }
        let words = PROTOCOLS
            .iter()
            .chain(&SERVICES)
            .chain(&TCP_FLAGS)
            .chain(&ICMP_KINDS)
            .chain(&ICMP6_KINDS)
            .chain(&[
                "inbound",
                "ifindex",
                "vlan",
                "mpls",
                "pppoes",
                "pppoed",
                "geneve",
                "llc",
                "gateway",
                "protochain",
                "portrange",
            ])
            .chain(&[
                "less",
                "greater",
                "byte",
                "broadcast",
                "multicast",
                "mask",
                "<<",
                ">>",
                "%",
                "^",
                "|",
                "&&",
                "||",
            ]);
        let missing: Vec<_> = words.filter(|&&word| !seen.contains(word)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
