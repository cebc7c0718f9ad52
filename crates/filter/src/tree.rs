//! What an expression means, before any link type: the typed tree.
//!
//! Names are numbers here, abbreviations are written out (`port 80 or 443` is two ports), and what makes no sense for
//! any link type (`arp port 80`) has been refused. The tree is kept in postfix order: operands stand before their
//! operator.
//!
//! ```text
//!   vlan 7 and not (tcp or udp)   ──►   [Vlan(7)] [tcp] [udp] [Or] [Not] [And]
//! ```
//!
//! Postfix needs no recursion for an expression of any depth, and its order is the order in which libpcap generates
//! code, which is part of the language: `vlan`, `mpls`, `pppoes`, `geneve` and `vxlan` move the headers for
//! everything *written* after them.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::error::Span;

/// An expression. Empty = every packet passes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree {
    /// Postfix: run as a stack machine this leaves exactly one operand (or none if it is empty).
    pub steps: Vec<Step>,
}

/// One step, and the words that it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What to do.
    pub op: Op,
    /// Its place in the expression: the whole primitive for a test, the operator's word for the others.
    pub span: Span,
}

/// What a step does with the stack of verdicts.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Pushes the verdict of a primitive.
    Test(Test),
    /// Turns the topmost verdict round.
    Not,
    /// Joins the two topmost verdicts; the second is looked at only where the first holds.
    And,
    /// Joins the two topmost verdicts; the second is looked at only where the first does not hold.
    Or,
}

/// A primitive.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// A protocol by its keyword alone: `tcp`, `ip6`, `arp`, `isis` (libpcap's `gen_proto_abbrev`).
    Protocol(Protocol),
    /// `[protocol] proto NUMBER`; `within` is the qualifier, `None` if there is none.
    ProtocolNumber {
        /// The layer whose protocol field is meant.
        within: Option<Protocol>,
        /// The value of the field.
        number: u32,
    },
    /// `[ip|ip6] protochain NUMBER`.
    ProtocolChain {
        /// The layer whose chain is followed.
        within: Option<Protocol>,
        /// The protocol looked for.
        number: u32,
    },
    /// `[protocol] [direction] [host|net] ...`: IP addresses, any of which will do.
    Address {
        /// `ip`, `ip6`, `arp`, `rarp`; `None` = wherever such an address can be (libpcap's `Q_DEFAULT`). Only these.
        within: Option<Protocol>,
        /// Source, destination, or both.
        direction: Direction,
        /// At least one; a host is a network of one address.
        networks: Vec<Network>,
    },
    /// `[direction] [ether] host MAC`.
    LinkAddress {
        /// Source, destination, or both.
        direction: Direction,
        /// The address.
        address: [u8; 6],
    },
    /// `decnet host AREA.NODE`.
    DecnetAddress {
        /// Source, destination, or both.
        direction: Direction,
        /// Area in the upper 6 bits, node below.
        address: u16,
    },
    /// `gateway NAME`: the frame goes to or comes from the machine's MAC address, the packet does not.
    Gateway {
        /// `ip`, `arp`, `rarp` or nothing.
        within: Option<Protocol>,
        /// From the ethers file.
        link_address: [u8; 6],
        /// From the hosts file; at least one.
        addresses: Vec<Ipv4Addr>,
    },
    /// `[tcp|udp|sctp] [direction] port N` and `portrange N-M`.
    Port {
        /// `None` = all three.
        transport: Option<Transport>,
        /// Source, destination, or both.
        direction: Direction,
        /// Which ports.
        ports: Ports,
    },
    /// `[protocol] broadcast`.
    Broadcast(Option<Protocol>),
    /// `[protocol] multicast`.
    Multicast(Option<Protocol>),
    /// `less N`: at most so many bytes.
    Less(u32),
    /// `greater N`: at least so many bytes.
    Greater(u32),
    /// `byte OFFSET OPERATION VALUE`, libpcap's old form: the byte at an offset of the frame.
    Byte {
        /// From the start of the frame.
        offset: u32,
        /// How it is compared.
        operation: ByteOperation,
        /// With what.
        value: u32,
    },
    /// `inbound`.
    Inbound,
    /// `outbound`.
    Outbound,
    /// `ifindex N`.
    InterfaceIndex(u32),
    /// `vlan [ID]`; the id is below 4096.
    Vlan(Option<u16>),
    /// `mpls [LABEL]`; the label is below 2^20.
    Mpls(Option<u32>),
    /// `pppoed`.
    PppoeDiscovery,
    /// `pppoes [SESSION]`.
    PppoeSession(Option<u16>),
    /// `geneve [VNI]`; below 2^24.
    Geneve(Option<u32>),
    /// `vxlan [VNI]`; below 2^24.
    Vxlan(Option<u32>),
    /// `llc [KIND]`.
    Llc(Option<Llc>),
    /// `LEFT OPERATOR RIGHT`.
    Relation {
        /// How the two are compared; unsigned.
        relation: Relation,
        /// The left side.
        left: Arithmetic,
        /// The right side.
        right: Arithmetic,
    },
}

/// The protocols that have a keyword.
#[allow(missing_docs, reason = "each is its keyword; pcap-filter(7) says what it stands for")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `ether`, `link`, `fddi`, `tr`, `wlan`, `ppp`, `slip`: the link layer, whatever it is.
    Link,
    Ip,
    Ip6,
    Arp,
    Rarp,
    Tcp,
    Udp,
    Sctp,
    Icmp,
    Icmp6,
    Igmp,
    Igrp,
    Pim,
    Vrrp,
    Carp,
    Ah,
    Esp,
    Atalk,
    Aarp,
    Decnet,
    Lat,
    Sca,
    Moprc,
    Mopdl,
    Iso,
    Esis,
    Isis,
    /// `l1`
    IsisLevel1,
    /// `l2`
    IsisLevel2,
    /// `iih`
    IsisHello,
    /// `lsp`
    IsisLinkState,
    /// `snp`
    IsisSequence,
    /// `csnp`
    IsisCompleteSequence,
    /// `psnp`
    IsisPartialSequence,
    Clnp,
    Stp,
    Ipx,
    Netbeui,
    Radio,
}

/// Which end of a packet an address or port is looked for at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// `src`.
    Source,
    /// `dst`.
    Destination,
    /// `src or dst`, and nothing at all: one of them is enough.
    Either,
    /// `src and dst`.
    Both,
}

/// An address with the bits of it that count; bits outside the mask are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// IPv4; the mask may have holes.
    V4 {
        /// The address.
        address: Ipv4Addr,
        /// The mask.
        mask: Ipv4Addr,
    },
    /// IPv6.
    V6 {
        /// The address.
        address: Ipv6Addr,
        /// Leading bits that count, 0 to 128.
        prefix: u8,
    },
}

/// The transport protocols that have ports.
#[allow(missing_docs, reason = "the keyword is the name")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    Tcp,
    Udp,
    Sctp,
}

/// Ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ports {
    /// `port`.
    One(u16),
    /// `portrange`: from the lower to the upper, both included.
    Range(u16, u16),
}

/// Kinds of LLC frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Llc {
    /// `llc i`.
    Information,
    /// `llc s`.
    Supervisory,
    /// `llc u`.
    Unnumbered,
    /// `llc rr|rnr|rej`: the control byte of a supervisory frame.
    SupervisoryKind(u8),
    /// `llc ui|ua|disc|test|sabme|xid|frmr`: the control byte of an unnumbered frame.
    UnnumberedKind(u8),
}

/// Comparisons of `byte`.
#[allow(missing_docs, reason = "each is its sign")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteOperation {
    Equal,
    Less,
    Greater,
    And,
    Or,
}

/// Comparisons of arithmetic.
#[allow(missing_docs, reason = "each is its sign")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
}

/// A value of 32 bits without sign, in postfix order like [`Tree`].
#[derive(Clone, Debug, PartialEq)]
pub struct Arithmetic {
    /// Run as a stack machine this leaves exactly one value.
    pub steps: Vec<Value>,
}

/// A step of [`Arithmetic`].
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Pushes a number.
    Number(u32),
    /// Pushes the length of the packet.
    Length,
    /// Takes an offset off the stack and pushes what lies there: `protocol[offset:size]`. As in libpcap the access
    /// also tests that the packet is of this protocol.
    Load {
        /// Whose header the offset counts from.
        protocol: Protocol,
        /// 1, 2 or 4 bytes.
        size: u8,
        /// The place of `protocol[...]`, for refusals by link type.
        span: Span,
    },
    /// `-`: turns the sign of the topmost value.
    Negate,
    /// Joins the two topmost values.
    Binary(Arith),
}

/// Arithmetic operators.
#[allow(missing_docs, reason = "each is its name in the instruction set")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arith {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRight,
}
