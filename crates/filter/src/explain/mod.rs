//! Filters in words: what an expression was taken for, and what each instruction of a program does.
//!
//! ```text
//!   (000) ldh      [12]                         A = the ethertype
//!   (001) jeq      #0x800     jt 2   jf 5       unless the ethertype is IPv4 (0x0800): go to 5
//!   (002) ldb      [23]                         A = the IPv4 protocol
//! ```
//!
//! An offset alone says little: 23 is the protocol only if the frame is an IPv4 packet without tags. [`listing`]
//! therefore follows what every way through the program has found out (as the checks of scratch memory do, in one
//! pass, since jumps only go forward) and says of an instruction what holds on all ways to it. Where they disagree
//! the offset itself is shown.

mod fields;
mod tree;
mod words;

use std::fmt::Write as _;

use self::fields::{Kind, Layer, Meaning};
pub use self::tree::tree;
use crate::Link;
use crate::bpf::insn::*;
use crate::bpf::{Ancillary, Instruction, Program, Width};

/// The listing of a program for frames of `link`, with the meaning beside each instruction. The last line ends in a
/// line feed.
pub fn listing(program: &Program, link: Link) -> String {
    let meanings = annotate(program, link);
    let text = program.to_string();
    let lines: Vec<String> = text.lines().map(|line| line.trim_end().replace('\t', "  ")).collect();
    let width = lines.iter().map(String::len).max().unwrap_or(0);
    let mut out = String::new();
    for (line, meaning) in lines.iter().zip(&meanings) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{line:width$}  {meaning}");
    }
    out
}

/// What each instruction does, one sentence for each.
pub fn annotate(program: &Program, link: Link) -> Vec<String> {
    let instructions = program.instructions();
    let mut states: Vec<Option<State>> = vec![None; instructions.len()];
    if let Some(first) = states.first_mut() {
        *first = Some(State::new(link));
    }
    let mut out = Vec::with_capacity(instructions.len());
    for (at, &insn) in instructions.iter().enumerate() {
        let Some(mut state) = states.get_mut(at).and_then(Option::take) else {
            out.push("never reached".to_owned());
            continue;
        };
        out.push(sentence(program, at, insn, &state));
        let (mut then, mut other) = (state.clone(), state.clone());
        match insn.code & 0x07 {
            RET => {}
            JMP if insn.code & 0xf0 == JA => reach(&mut states, at + 1 + insn.k as usize, state),
            JMP => {
                then.learn(insn, true);
                other.learn(insn, false);
                reach(&mut states, at + 1 + usize::from(insn.jt), then);
                reach(&mut states, at + 1 + usize::from(insn.jf), other);
            }
            _ => {
                state.step(insn);
                reach(&mut states, at + 1, state);
            }
        }
    }
    out
}

/// Two ways meet: what both know is known.
fn reach(states: &mut [Option<State>], at: usize, state: State) {
    if let Some(slot) = states.get_mut(at) {
        *slot = Some(match slot.take() {
            None => state,
            Some(present) => present.meet(state),
        });
    }
}

/// What is known at an instruction.
#[derive(Clone, Debug, PartialEq)]
struct State {
    link: Link,
    layer: Layer,
    /// Where the network header begins; `None` once ways disagree.
    network_at: Option<u32>,
    /// IP protocol of the packet.
    transport: Option<u32>,
    a: Meaning,
    x: Index,
    scratch: [Option<Meaning>; SCRATCH_WORDS],
}

/// What X holds.
#[derive(Clone, Debug, PartialEq)]
enum Index {
    /// The length of the IPv4 header.
    HeaderLength,
    Value(Meaning),
}

impl State {
    fn new(link: Link) -> Self {
        let nothing = Meaning::new("0", Kind::Plain);
        let (layer, network_at) = match link {
            Link::Ethernet => (Layer::Unknown, 14),
            Link::Raw => (Layer::Unknown, 0),
            Link::Sll => (Layer::Unknown, 16),
            Link::Sll2 => (Layer::Unknown, 20),
            Link::Null | Link::NullBigEndian | Link::Loop => (Layer::Unknown, 4),
            Link::Kernel => (Layer::Unknown, SKF_NET_OFF),
        };
        Self {
            link,
            layer,
            network_at: Some(network_at),
            transport: None,
            a: nothing.clone(),
            x: Index::Value(nothing),
            scratch: [const { None }; SCRATCH_WORDS],
        }
    }

    fn meet(mut self, other: Self) -> Self {
        if self.layer != other.layer {
            self.layer = Layer::Unknown;
        }
        if self.network_at != other.network_at {
            self.network_at = None;
        }
        if self.transport != other.transport {
            self.transport = None;
        }
        if self.a != other.a {
            self.a = Meaning::new("A", Kind::Plain);
        }
        if self.x != other.x {
            self.x = Index::Value(Meaning::new("X", Kind::Plain));
        }
        for (mine, theirs) in self.scratch.iter_mut().zip(other.scratch) {
            if *mine != theirs {
                *mine = None;
            }
        }
        self
    }

    /// What lies at an absolute offset.
    fn load(&self, k: u32, width: Width) -> Meaning {
        if let Some(what) = Ancillary::from_offset(k) {
            return fields::beside(what);
        }
        self.known(k, width).unwrap_or_else(|| self.bytes(k, width))
    }

    fn known(&self, k: u32, width: Width) -> Option<Meaning> {
        let inside = |at: u32| k.checked_sub(at);
        let link = match self.link {
            Link::Ethernet => fields::ethernet(k, width),
            Link::Kernel if (SKF_LL_OFF..SKF_NET_OFF).contains(&k) => match k - SKF_LL_OFF {
                12 if width == Width::Half => Some(Meaning::new("the ethertype", Kind::Ethertype)),
                offset => fields::ethernet(offset, width),
            },
            Link::Sll => cooked(k, width),
            Link::Sll2 => match (k, width) {
                (0, Width::Half) => Some(Meaning::new("the ethertype", Kind::Ethertype)),
                (4, Width::Word) => Some(Meaning::new("the index of the interface", Kind::Decimal)),
                (10, Width::Byte) => {
                    Some(Meaning::new("the packet type (4: sent by this machine)", Kind::Decimal))
                }
                _ => None,
            },
            Link::Null | Link::NullBigEndian | Link::Loop if k == 0 && width == Width::Word => {
                Some(Meaning::new("the address family", Kind::Family))
            }
            _ => None,
        };
        let network_at = self.network_at?;
        let tagged = matches!(self.link, Link::Ethernet) && network_at >= 14;
        link.or_else(|| match (self.link, network_at.wrapping_sub(k), width) {
            // The ethertype is the last of an Ethernet header and of a VLAN tag, whose id stands in front of it.
            (Link::Ethernet | Link::Sll, 2, Width::Half) => {
                Some(Meaning::new("the ethertype", Kind::Ethertype))
            }
            (Link::Ethernet, 4, Width::Half) if tagged && network_at > 14 => {
                Some(Meaning::new("the VLAN tag (id in the lower 12 bits)", Kind::Decimal))
            }
            _ => None,
        })
        .or_else(|| fields::network(self.layer, self.transport, inside(network_at)?, width))
    }

    fn bytes(&self, k: u32, width: Width) -> Meaning {
        let (from, offset) = match k {
            SKF_NET_OFF.. => (" of the network header", k - SKF_NET_OFF),
            SKF_LL_OFF.. => (" of the link header", k - SKF_LL_OFF),
            _ => (" of the frame", k),
        };
        Meaning::new(format!("{}{from}", fields::part(offset, width)), Kind::Plain)
    }

    /// What lies at X + k.
    fn load_indexed(&self, k: u32, width: Width) -> Meaning {
        let transport = match (&self.x, self.network_at) {
            (Index::HeaderLength, Some(network_at)) => {
                fields::transport(self.transport, k.wrapping_sub(network_at), width).or_else(|| {
                    Some(Meaning::new(
                        format!("{} behind the IPv4 header", fields::part(k.checked_sub(network_at)?, width)),
                        Kind::Plain,
                    ))
                })
            }
            _ => None,
        };
        let what = match width {
            Width::Word => "4 bytes",
            Width::Half => "2 bytes",
            Width::Byte => "the byte",
        };
        let (from, offset) = match k {
            SKF_NET_OFF.. => (" of the network header", k - SKF_NET_OFF),
            SKF_LL_OFF.. => (" of the link header", k - SKF_LL_OFF),
            _ => ("", k),
        };
        transport.unwrap_or_else(|| Meaning::new(format!("{what} at X + {offset}{from}"), Kind::Plain))
    }

    /// What an instruction that is no jump changes.
    fn step(&mut self, insn: Instruction) {
        let k = insn.k;
        let width = Width::of(insn.code).unwrap_or(Width::Word);
        let index = k as usize % SCRATCH_WORDS;
        match (insn.code & 0x07, insn.code & 0xe0) {
            (LD, ABS) => self.a = self.load(k, width),
            (LD, IND) => self.a = self.load_indexed(k, width),
            (LD, IMM) => self.a = Meaning::new(k.to_string(), Kind::Plain),
            (LD, MEM) => {
                let stored = self.scratch.get(index).cloned().flatten();
                self.a = stored.unwrap_or_else(|| Meaning::new(format!("M[{k}]"), Kind::Plain));
            }
            (LD, _) => self.a = Meaning::new("the length of the packet", Kind::Decimal),
            (LDX, MSH) => self.x = Index::HeaderLength,
            (LDX, IMM) => self.x = Index::Value(Meaning::new(k.to_string(), Kind::Plain)),
            (LDX, MEM) => {
                let stored = self.scratch.get(index).cloned().flatten();
                self.x = Index::Value(stored.unwrap_or_else(|| Meaning::new(format!("M[{k}]"), Kind::Plain)));
            }
            (LDX, _) => self.x = Index::Value(Meaning::new("the length of the packet", Kind::Decimal)),
            (ST, _) => {
                if let Some(slot) = self.scratch.get_mut(index) {
                    *slot = Some(self.a.clone());
                }
            }
            (STX, _) => {
                let value = self.x_meaning();
                if let Some(slot) = self.scratch.get_mut(index) {
                    *slot = Some(value);
                }
            }
            (ALU, _) => self.a = self.calculated(insn),
            _ if insn.code & 0xf8 == TAX => self.x = Index::Value(self.a.clone()),
            _ => self.a = self.x_meaning(),
        }
    }

    fn x_meaning(&self) -> Meaning {
        match &self.x {
            Index::HeaderLength => Meaning::new("the length of the IPv4 header", Kind::Decimal),
            Index::Value(meaning) => meaning.clone(),
        }
    }

    fn calculated(&self, insn: Instruction) -> Meaning {
        let operation = insn.code & 0xf0;
        let operand = if insn.code & X != 0 {
            self.x_meaning().what
        } else {
            match operation {
                AND | OR | XOR if self.a.kind == Kind::Ipv4Address || self.a.kind == Kind::TcpFlags => {
                    self.a.constant(insn.k)
                }
                AND | OR | XOR => format!("{:#x}", insn.k),
                _ => insn.k.to_string(),
            }
        };
        let sign = match operation {
            ADD => "+",
            SUB => "-",
            MUL => "*",
            DIV => "/",
            OR => "|",
            AND => "&",
            LSH => "<<",
            RSH => ">>",
            MOD => "%",
            XOR => "^",
            _ => return Meaning::new(format!("-({})", self.a.what), Kind::Plain),
        };
        // A masked address, tag or set of flags is one still.
        let kind = if operation == AND { self.a.kind } else { Kind::Plain };
        let what = if operation == AND && insn.k == 0xfff && self.a.what.contains("VLAN tag") {
            "the VLAN id".to_owned()
        } else {
            let bracketed = |what: &str| {
                if SIGNS.iter().any(|sign| what.contains(sign)) {
                    format!("({what})")
                } else {
                    what.to_owned()
                }
            };
            format!("{} {sign} {}", bracketed(&self.a.what), bracketed(&operand))
        };
        let masked = match (operation, self.a.kind) {
            (AND, Kind::Ipv4Address) if insn.code & X == 0 => Some((self.a.what.clone(), insn.k)),
            _ => None,
        };
        let kind = if matches!(kind, Kind::Protocol | Kind::FragmentProtocol | Kind::Ethertype) {
            Kind::Plain
        } else {
            kind
        };
        if what.len() > LONGEST {
            let short =
                if insn.code & X != 0 { format!("A {sign} X") } else { format!("A {sign} {operand}") };
            return Meaning::new(short, Kind::Plain);
        }
        Meaning { masked, ..Meaning::new(what, kind) }
    }

    /// What a comparison tells on one of its two ways.
    fn learn(&mut self, insn: Instruction, holds: bool) {
        if !holds || insn.code & 0xf0 != JEQ || insn.code & X != 0 {
            return;
        }
        let k = insn.k;
        match self.a.kind {
            Kind::Ethertype => {
                self.transport = None;
                self.layer = match k {
                    0x0800 => Layer::Ipv4,
                    0x86dd => Layer::Ipv6,
                    0x0806 | 0x8035 => Layer::Arp,
                    0x8847 | 0x8848 => Layer::Mpls,
                    0x8863 | 0x8864 => Layer::Pppoe,
                    0x8100 | 0x88a8 | 0x9100 => {
                        self.network_at = self.network_at.map(|at| at.wrapping_add(4));
                        Layer::Unknown
                    }
                    _ => Layer::Other,
                };
            }
            Kind::Ppp => {
                self.network_at = self.network_at.map(|at| at.wrapping_add(8));
                self.layer = if k == 0x57 { Layer::Ipv6 } else { Layer::Ipv4 };
            }
            Kind::Family => {
                let known = self.a.constant(k);
                self.layer = match known {
                    text if text.starts_with("IPv4") => Layer::Ipv4,
                    text if text.starts_with("IPv6") => Layer::Ipv6,
                    _ => Layer::Other,
                };
            }
            Kind::Version if self.layer == Layer::Unknown => {
                self.layer = match k {
                    0x40 => Layer::Ipv4,
                    0x60 => Layer::Ipv6,
                    _ => Layer::Unknown,
                };
            }
            Kind::Protocol => self.transport = Some(k),
            _ => {}
        }
    }
}

fn cooked(k: u32, width: Width) -> Option<Meaning> {
    match (k, width) {
        (0, Width::Half) => Some(Meaning::new("the packet type (4: sent by this machine)", Kind::Decimal)),
        (2, Width::Half) => Some(Meaning::new("the hardware type of the interface", Kind::Decimal)),
        _ => None,
    }
}

fn sentence(program: &Program, at: usize, insn: Instruction, state: &State) -> String {
    let k = insn.k;
    let changed = || {
        let mut after = state.clone();
        after.step(insn);
        after
    };
    match insn.code & 0x07 {
        LD | ALU => format!("A = {}", changed().a.what),
        LDX => format!("X = {}", changed().x_meaning().what),
        ST => format!("M[{k}] = {}", state.a.what),
        STX => format!("M[{k}] = {}", state.x_meaning().what),
        RET if insn.code & 0x18 == A => format!("keep as many bytes as {}", state.a.what),
        RET if k == 0 => "reject the packet".to_owned(),
        RET => format!("accept the packet: keep up to {k} bytes of it"),
        JMP if insn.code & 0xf0 == JA => format!("go to {}", at as u64 + 1 + u64::from(k)),
        JMP => comparison(program, at, insn, state),
        _ if insn.code & 0xf8 == TAX => format!("X = {}", state.a.what),
        _ => format!("A = {}", state.x_meaning().what),
    }
}

fn comparison(program: &Program, at: usize, insn: Instruction, state: &State) -> String {
    let operand = if insn.code & X != 0 { state.x_meaning().what } else { state.a.constant(insn.k) };
    let verb = match insn.code & 0xf0 {
        JEQ => "is",
        JGT => "is above",
        JGE => "is at least",
        _ if insn.k.is_power_of_two() && insn.code & X == 0 => "has the bit",
        _ => "has any bit of",
    };
    if let (Some(net), true) = (&state.a.masked, verb == "is") {
        // `A & mask is value` of an address is membership in a network.
        let prefix = net.1.leading_ones();
        if prefix == net.1.count_ones() && insn.code & X == 0 {
            let condition = format!("{} is in {operand}/{prefix}", net.0);
            return ways(program, at, insn, &condition, &state.a.what);
        }
    }
    let fragment = state.a.kind == Kind::Fragment && insn.k == 0x1fff && insn.code & 0xf0 == JSET;
    let condition = if fragment {
        "it is not the first fragment (offset above 0)".to_owned()
    } else {
        format!("{} {verb} {operand}", state.a.what)
    };
    ways(program, at, insn, &condition, &state.a.what)
}

/// Where a comparison leads.
fn ways(program: &Program, at: usize, insn: Instruction, condition: &str, compared: &str) -> String {
    let go = |distance: u8| {
        let target = at + 1 + usize::from(distance);
        match program.instructions().get(target) {
            Some(target) if target.code == RET | K && target.k == 0 => "reject".to_owned(),
            Some(target) if target.class() == RET => "accept".to_owned(),
            _ => format!("go to {target}"),
        }
    };
    match (insn.jt, insn.jf) {
        (then, other) if then == other => format!("whatever {compared} is: {}", go(then)),
        (0, other) if go(0).starts_with("go") => format!("unless {condition}: {}", go(other)),
        (then, 0) if go(0).starts_with("go") => format!("if {condition}: {}", go(then)),
        (then, other) => format!("if {condition}: {}, else {}", go(then), go(other)),
    }
}

/// What tells that a description is a calculation.
const SIGNS: [&str; 10] = [" + ", " - ", " * ", " / ", " | ", " & ", " << ", " >> ", " % ", " ^ "];

/// Bytes of a calculation that a line has room for; a longer one is called by its register.
const LONGEST: usize = 72;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opcodes;

    fn sentences(list: &str, link: Link) -> Vec<String> {
        annotate(&opcodes::parse(list).unwrap(), link)
    }

    /// `vlan 7 and tcp[tcpflags] & tcp-syn != 0`: behind the tag everything lies four bytes further.
    #[test]
    fn offsets_are_read_by_what_was_found_out_before() {
        let list = "18,40 0 0 12,21 2 0 33024,21 1 0 34984,21 0 13 37120,40 0 0 14,84 0 0 4095,21 0 10 7,40 0 0 16,21 0 8 2048,\
                    48 0 0 27,21 0 6 6,40 0 0 24,69 4 0 8191,177 0 0 18,80 0 0 31,69 0 1 2,6 0 0 262144,6 0 0 0";
        let expected = [
            "A = the ethertype",
            "if the ethertype is VLAN tag (0x8100): go to 4",
            "if the ethertype is service VLAN tag (0x88a8): go to 4",
            "unless the ethertype is old QinQ tag (0x9100): reject",
            "A = the VLAN tag (id in the lower 12 bits)",
            "A = the VLAN id",
            "unless the VLAN id is 7: reject",
            "A = the ethertype",
            "unless the ethertype is IPv4 (0x0800): reject",
            "A = the IPv4 protocol",
            "unless the IPv4 protocol is TCP (6): reject",
            "A = IPv4 flags and fragment offset",
            "if it is not the first fragment (offset above 0): reject",
            "X = the length of the IPv4 header",
            "A = the TCP flags",
            "if the TCP flags has the bit SYN: accept, else reject",
            "accept the packet: keep up to 262144 bytes of it",
            "reject the packet",
        ];
        assert_eq!(sentences(list, Link::Ethernet), expected);
    }

    #[test]
    fn the_same_bytes_are_other_fields_elsewhere() {
        let list = "4,32 0 0 12,84 0 0 4278190080,21 0 1 167772160,6 0 0 1,6 0 0 0".replace("4,32", "5,32");
        // Without the version nobody knows that it is an address.
        assert_eq!(sentences(&list, Link::Raw)[0], "A = bytes 12-15 of the frame");
        let known =
            "8,48 0 0 0,84 0 0 240,21 0 4 64,32 0 0 12,84 0 0 4278190080,21 0 1 167772160,6 0 0 1,6 0 0 0";
        let sentences = sentences(known, Link::Raw);
        assert_eq!(sentences[3], "A = the IPv4 source address");
        assert_eq!(sentences[5], "if the IPv4 source address is in 10.0.0.0/8: accept, else reject");
    }

    /// Where two ways meet that know different things, neither's is told.
    #[test]
    fn what_ways_disagree_about_is_not_said() {
        let list = "7,40 0 0 12,21 0 2 34525,48 0 0 20,21 0 0 6,48 0 0 23,22 0 0 0,6 0 0 0";
        let met = sentences(list, Link::Ethernet);
        assert_eq!(met[2], "A = the IPv6 next header");
        assert_eq!(met[3], "whatever the IPv6 next header is: go to 4");
        assert_eq!(met[4], "A = byte 23 of the frame");
        assert_eq!(met[6], "never reached");
    }

    #[test]
    fn what_the_kernel_knows() {
        let list = "6,48 0 0 4294963248,21 0 3 1,48 0 0 4294963244,84 0 0 4095,22 0 0 0,6 0 0 0";
        let sentences = sentences(list, Link::Kernel);
        assert_eq!(sentences[0], "A = whether there is a VLAN tag in the metadata");
        assert_eq!(sentences[3], "A = the VLAN id");
        assert_eq!(sentences[4], "keep as many bytes as the VLAN id");
    }

    #[test]
    fn a_listing_has_a_sentence_for_every_instruction() {
        let program = opcodes::parse("2\n40 0 0 12\n6 0 0 1\n").unwrap();
        let expected = "\
(000) ldh      [12]  A = the ethertype
(001) ret      #1    accept the packet: keep up to 1 bytes of it
";
        assert_eq!(listing(&program, Link::Ethernet), expected);
    }

    /// Found by fuzzing: the last byte of four at the last offset has a number beyond 32 bits.
    #[test]
    fn an_offset_may_be_any_number() {
        assert_eq!(fields::part(u32::MAX, Width::Word), "bytes 4294967295-4294967298");
    }

    #[test]
    fn trees_are_written_out() {
        let written = |text: &str| tree(&crate::resolve::resolve(text, &crate::Names::default()).unwrap());
        assert_eq!(written(""), "every packet\n");
        let expected = "\
all of:
  any of:
    TCP over IPv4 or IPv6 with source or destination port 80
    TCP over IPv4 or IPv6 with source or destination port 443
  not:
    IPv4, ARP or RARP with source address 10.0.0.0/8
";
        assert_eq!(written("tcp port (80 or 443) and not src net 10.0.0.0/8"), expected);
        assert_eq!(written("ip[2:2] - 20 > 1"), "(bytes 2 to 3 of IPv4 - 20) > 1\n".replace(['(', ')'], ""));
        // As deep as one likes.
        let deep = format!("{}tcp", "not ".repeat(2_000));
        assert!(written(&deep).lines().count() <= 2_001);
    }
}
