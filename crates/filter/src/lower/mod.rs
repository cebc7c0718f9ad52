//! From the typed tree to blocks for one link type.
//!
//! The tree is run as a stack machine, in the order in which it was written, with one piece of state: where the
//! headers are. Primitives look there, and `vlan`, `mpls`, `pppoes`, `geneve` and `vxlan` move it for all that is
//! written after them, also on the other side of an `or` and outside of parentheses: that is the language.
//!
//! # Where headers are
//! ```text
//!   Ethernet       0 | destination | source | 12 type/length | 14 network, or 802.2 with 17 network
//!   Sll            0 packet type | ... | 14 type | 16 network
//!   Sll2           0 type | 4 interface | 10 packet type | 20 network
//!   Null, Loop     0 address family | 4 network                       the family in one of two byte orders
//!   Raw            0 network                                          its version instead of a type
//!   Kernel         SKF_AD_PROTOCOL is the type, SKF_NET_OFF the network header, SKF_LL_OFF the link-level header
//!
//!   vlan           type and network 4 further on
//!   mpls           network 4 further on; behind it IPv4 and IPv6 only, told by bottom bit and version
//!   pppoes         link-level header and type at network + 6, network at network + 8; types are PPP's
//!   geneve         all three behind UDP, at places found when the program runs and kept in scratch words; Ethernet, or, if its
//!                  header names another protocol, without a link-level header, which `ether host` and the like ask first
//!   vxlan          all three behind UDP, by one scratch word; Ethernet
//!   vlan (Kernel)  as Ethernet through SKF_LL_OFF, with 4 in a scratch word if the kernel's record has no tag
//! ```
//!
//! The unoptimised graph of a file's link type is libpcap 1.10.3's, block for block (`tcpdump -O`): the same loads in
//! the same order, so that a packet cut short is judged alike. That includes what one would rather not have: the
//! right operand of `+` does not imply its protocol, `vlan or ip` looks for IP behind a tag that is not there, ports
//! in IPv6 are not found behind extension headers, Linux cooked v2 knows no 802.2, divisors may not begin with 0.
//!
//! # Where this differs from libpcap, and why
//! - `protochain` is no loop, which no kernel takes, but is written out for 6 extension headers (`ip6 protochain`: 4,
//!   to stay within one and a half times libpcap's length). Behind an AH header it looks at one more protocol and
//!   ends; libpcap goes on at a wrong place, as it forgets to add where the header was. Where the packet ends in the
//!   middle of an extension header's first two bytes, libpcap wants both, we want the one that names the next
//!   protocol.
//! - `byte N & V` and `byte N | V` load the byte; libpcap 1.10.3 forgets to and calculates with what an earlier test
//!   left behind.
//! - In `(tcp or geneve) and ip` the places that Geneve would have stored are 0 for a packet that is TCP; libpcap
//!   leaves them undefined, and kernels refuse its program.
//! - Accepted beyond libpcap 1.10.3: `vxlan`; `gateway`, which most builds of libpcap leave out; any number of
//!   `protochain` (libpcap loses a scratch word with each).
//! - Captures of link types IPv4 and IPv6 are [`Raw`](crate::Link::Raw): the version is looked at, which libpcap
//!   takes for granted.
//! - [`Kernel`](crate::Link::Kernel) has no counterpart. On Ethernet it selects what `tcpdump -i` does. It accepts
//!   `vlan`, `ether host`, `ether broadcast`, `llc`, `mpls` and the like on any interface; they do not hold where
//!   there is no Ethernet header, but for `ether broadcast` and `ether multicast`, which go by the packet type there.
//!   It refuses `link[...]` and `byte`: those bytes are something else on each kind of interface. Inside of `pppoes`
//!   and tunnels they are well defined and accepted.

mod arithmetic;
mod chain;
mod encapsulation;
mod headers;
mod keep;
mod kernel;
mod link;
mod network;
mod predicate;
mod scratch;
#[cfg(test)]
mod tests;
mod transport;

use self::headers::{At, Headers, statement};
use self::predicate::{Builder, Predicate, constant};
use self::scratch::ScratchWords;
use crate::bpf::insn::*;
use crate::bpf::{Instruction, Width};
use crate::compile::Options;
use crate::error::{Error, ErrorKind, Span};
use crate::ir::{Comparison, Graph};
use crate::tree::{ByteOperation, Direction, Op, Test, Tree};

/// Finds out where in a frame of `options.link` the tree's tests look.
///
/// # Errors
/// What this link type does not have.
pub fn lower(tree: &Tree, options: &Options<'_>) -> Result<Graph, Error> {
    let mut lowering = Lowering {
        options,
        graph: Builder::default(),
        headers: Headers::of(options.link),
        scratch: ScratchWords::default(),
        moving: Vec::new(),
        span: 0..0,
    };
    let predicate = lowering.tree(tree)?;
    let pass = keep::keep(&mut lowering.graph, options.link, options.snaplen);
    let mut graph = lowering.graph.finish(predicate, pass);
    scratch::set_before_use(&mut graph, &lowering.moving);
    Ok(graph)
}

/// The state of lowering.
struct Lowering<'a> {
    options: &'a Options<'a>,
    graph: Builder,
    /// Where headers are for the next primitive.
    headers: Headers,
    scratch: ScratchWords,
    /// The scratch words that say where headers are, for all the rest of the program.
    moving: Vec<u32>,
    /// The place of the step at hand.
    span: Span,
}

impl Lowering<'_> {
    /// The whole tree; `None` if it is empty.
    fn tree(&mut self, tree: &Tree) -> Result<Option<Predicate>, Error> {
        let mut stack: Vec<Predicate> = Vec::new();
        for step in &tree.steps {
            self.span.clone_from(&step.span);
            let predicate = match &step.op {
                Op::Test(test) => self.test(test)?,
                Op::Not => self.pop(&mut stack)?.not(),
                Op::And | Op::Or => {
                    let second = self.pop(&mut stack)?;
                    let first = self.pop(&mut stack)?;
                    if step.op == Op::And {
                        self.graph.and(first, second)
                    } else {
                        self.graph.or(first, second)
                    }
                }
            };
            stack.push(predicate);
        }
        Ok(stack.pop())
    }

    fn pop<T>(&self, stack: &mut Vec<T>) -> Result<T, Error> {
        stack.pop().ok_or_else(|| self.error(ErrorKind::Syntax, "an operand is missing"))
    }

    fn test(&mut self, test: &Test) -> Result<Predicate, Error> {
        match *test {
            Test::Protocol(protocol) => self.protocol(protocol),
            Test::ProtocolNumber { within, number } => self.protocol_number(within, number),
            Test::ProtocolChain { within, number } => self.protocol_chain(within, number),
            Test::Address { within, direction, ref networks } => self.address(within, direction, networks),
            Test::LinkAddress { direction, address } => self.link_address(direction, address),
            Test::DecnetAddress { direction, address } => self.decnet_address(direction, address),
            Test::Gateway { within, link_address, ref addresses } => {
                self.gateway(within, link_address, addresses)
            }
            Test::Port { transport, direction, ports } => self.port(transport, direction, ports),
            Test::Broadcast(within) => self.broadcast(within),
            Test::Multicast(within) => self.multicast(within),
            Test::Less(bytes) => Ok(self.length(Comparison::Greater, bytes).not()),
            Test::Greater(bytes) => Ok(self.length(Comparison::GreaterOrEqual, bytes)),
            Test::Byte { offset, operation, value } => self.byte(offset, operation, value),
            Test::Inbound => Ok(self.outbound()?.not()),
            Test::Outbound => self.outbound(),
            Test::InterfaceIndex(index) => self.interface_index(index),
            Test::Vlan(id) => self.vlan(id),
            Test::Mpls(label) => self.mpls(label),
            Test::PppoeDiscovery => self.pppoe_discovery(),
            Test::PppoeSession(session) => self.pppoe_session(session),
            Test::Geneve(vni) => self.geneve(vni),
            Test::Vxlan(vni) => self.vxlan(vni),
            Test::Llc(kind) => self.llc(kind),
            Test::Relation { relation, ref left, ref right } => self.relation(relation, left, right),
        }
    }

    fn length(&mut self, test: Comparison, bytes: u32) -> Predicate {
        self.graph.ask(vec![statement(LD | LEN, 0)], constant(test, bytes))
    }

    /// `byte OFFSET OPERATION VALUE`.
    fn byte(&mut self, offset: u32, operation: ByteOperation, value: u32) -> Result<Predicate, Error> {
        self.check_link_bytes()?;
        let at = At::Link(offset);
        Ok(match operation {
            ByteOperation::Equal => self.compare(at, Width::Byte, Comparison::Equal, value),
            ByteOperation::Less => self.compare(at, Width::Byte, Comparison::GreaterOrEqual, value).not(),
            ByteOperation::Greater => self.compare(at, Width::Byte, Comparison::Greater, value),
            ByteOperation::And | ByteOperation::Or => {
                let code = if operation == ByteOperation::And { AND } else { OR };
                let mut statements = self.headers.load(at, Width::Byte);
                statements.push(statement(ALU | code | K, value));
                self.graph.ask(statements, constant(Comparison::Equal, 0)).not()
            }
        })
    }

    /// Compares what lies there with a number.
    fn compare(&mut self, at: At, width: Width, test: Comparison, value: u32) -> Predicate {
        let statements = self.headers.load(at, width);
        self.graph.ask(statements, constant(test, value))
    }

    /// Is what lies there, under the mask, equal to `value`?
    fn masked(&mut self, at: At, width: Width, mask: u32, value: u32) -> Predicate {
        let mut statements = self.headers.load(at, width);
        if mask != u32::MAX {
            statements.push(statement(ALU | AND | K, mask));
        }
        self.graph.ask(statements, constant(Comparison::Equal, value))
    }

    /// Are these the bytes from `offset` on? Compared from the end, as many at a time as a load takes.
    fn bytes(&mut self, at: impl Fn(u32) -> At, offset: u32, bytes: &[u8]) -> Predicate {
        let mut all = None;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (width, len) = match rest.len() {
                4.. => (Width::Word, 4),
                2 | 3 => (Width::Half, 2),
                _ => (Width::Byte, 1),
            };
            let (before, last) = rest.split_at(rest.len() - len);
            let value = last.iter().fold(0, |value, &byte| value << 8 | u32::from(byte));
            let matches = self.compare(at(offset + before.len() as u32), width, Comparison::Equal, value);
            all = Some(self.both(all, matches));
            rest = before;
        }
        all.unwrap_or_else(|| self.always_after(Vec::new()))
    }

    /// A question about one end of a packet, asked of the ends that `direction` names.
    fn at_ends(
        &mut self,
        direction: Direction,
        source: u32,
        destination: u32,
        mut ask: impl FnMut(&mut Self, u32) -> Result<Predicate, Error>,
    ) -> Result<Predicate, Error> {
        match direction {
            Direction::Source => ask(self, source),
            Direction::Destination => ask(self, destination),
            Direction::Either | Direction::Both => {
                let source = ask(self, source)?;
                let destination = ask(self, destination)?;
                Ok(if direction == Direction::Both {
                    self.graph.and(source, destination)
                } else {
                    self.graph.or(source, destination)
                })
            }
        }
    }

    /// `first`, if there is one, and `second`.
    fn both(&mut self, first: Option<Predicate>, second: Predicate) -> Predicate {
        match first {
            Some(first) => self.graph.and(first, second),
            None => second,
        }
    }

    /// `first`, if there is one, or `second`.
    fn either(&mut self, first: Option<Predicate>, second: Predicate) -> Predicate {
        match first {
            Some(first) => self.graph.or(first, second),
            None => second,
        }
    }

    fn never(&mut self) -> Predicate {
        self.graph.ask(vec![statement(LD | IMM, 1)], constant(Comparison::Equal, 0))
    }

    /// Holds always, once the statements have run.
    fn always_after(&mut self, mut statements: Vec<Instruction>) -> Predicate {
        statements.push(statement(LD | IMM, 0));
        self.graph.ask(statements, constant(Comparison::Equal, 0))
    }

    fn error(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        Error::new(kind, message, self.span.clone())
    }

    /// Something that the link type at hand does not have.
    fn link_error(&self, message: &str) -> Error {
        self.error(ErrorKind::LinkType, format!("not on {}: {message}", self.headers.framing.name()))
    }
}

/// Ethertypes.
mod ethertype {
    pub(super) const XEROX_NS: u32 = 0x0600;
    pub(super) const IPV4: u32 = 0x0800;
    pub(super) const ARP: u32 = 0x0806;
    pub(super) const MOP_DUMP_LOAD: u32 = 0x6001;
    pub(super) const MOP_REMOTE_CONSOLE: u32 = 0x6002;
    pub(super) const DECNET: u32 = 0x6003;
    pub(super) const LAT: u32 = 0x6004;
    pub(super) const SCA: u32 = 0x6007;
    pub(super) const BRIDGED_ETHERNET: u32 = 0x6558;
    pub(super) const RARP: u32 = 0x8035;
    pub(super) const ATALK: u32 = 0x809b;
    pub(super) const AARP: u32 = 0x80f3;
    pub(super) const VLAN: u32 = 0x8100;
    pub(super) const IPX: u32 = 0x8137;
    pub(super) const IPV6: u32 = 0x86dd;
    pub(super) const MPLS: u32 = 0x8847;
    pub(super) const PPPOE_DISCOVERY: u32 = 0x8863;
    pub(super) const PPPOE_SESSION: u32 = 0x8864;
    pub(super) const SERVICE_VLAN: u32 = 0x88a8;
    pub(super) const OLD_QINQ: u32 = 0x9100;
}

/// LLC: service access points, and a control byte.
mod llc {
    pub(super) const IP: u32 = 0x06;
    pub(super) const SPANNING_TREE: u32 = 0x42;
    pub(super) const SNAP: u8 = 0xaa;
    pub(super) const IPX: u32 = 0xe0;
    pub(super) const NETBEUI: u32 = 0xf0;
    pub(super) const ISO: u32 = 0xfe;
    /// Unnumbered information.
    pub(super) const UI: u8 = 0x03;
}

/// IP protocols, and where the headers have their fields.
mod ip {
    pub(super) const ICMP: u32 = 1;
    pub(super) const IGMP: u32 = 2;
    pub(super) const TCP: u32 = 6;
    pub(super) const IGRP: u32 = 9;
    pub(super) const UDP: u32 = 17;
    pub(super) const FRAGMENT: u32 = 44;
    pub(super) const ESP: u32 = 50;
    pub(super) const AH: u32 = 51;
    pub(super) const ICMPV6: u32 = 58;
    pub(super) const PIM: u32 = 103;
    /// Also CARP's.
    pub(super) const VRRP: u32 = 112;
    pub(super) const SCTP: u32 = 132;
    /// Flags and fragment offset.
    pub(super) const V4_FRAGMENT: u32 = 6;
    pub(super) const V4_PROTOCOL: u32 = 9;
    pub(super) const V6_NEXT: u32 = 6;
}

/// The protocols of OSI, by their network layer protocol identifier.
mod osi {
    pub(super) const CLNP: u32 = 0x81;
    pub(super) const ESIS: u32 = 0x82;
    pub(super) const ISIS: u32 = 0x83;
}

/// Kinds of IS-IS packets, in groups; the order is libpcap's.
mod isis {
    /// The byte that has the kind.
    pub(super) const KIND: u32 = 4;
    const L1_LAN_HELLO: u32 = 15;
    const L2_LAN_HELLO: u32 = 16;
    const POINT_TO_POINT_HELLO: u32 = 17;
    const L1_LINK_STATE: u32 = 18;
    const L2_LINK_STATE: u32 = 20;
    const L1_COMPLETE: u32 = 24;
    const L2_COMPLETE: u32 = 25;
    const L1_PARTIAL: u32 = 26;
    const L2_PARTIAL: u32 = 27;
    pub(super) const LEVEL_1: [u32; 5] =
        [L1_PARTIAL, L1_COMPLETE, L1_LINK_STATE, L1_LAN_HELLO, POINT_TO_POINT_HELLO];
    pub(super) const LEVEL_2: [u32; 5] =
        [L2_PARTIAL, L2_COMPLETE, L2_LINK_STATE, L2_LAN_HELLO, POINT_TO_POINT_HELLO];
    pub(super) const HELLO: [u32; 3] = [POINT_TO_POINT_HELLO, L1_LAN_HELLO, L2_LAN_HELLO];
    pub(super) const LINK_STATE: [u32; 2] = [L1_LINK_STATE, L2_LINK_STATE];
    pub(super) const SEQUENCE: [u32; 4] = [L2_PARTIAL, L1_PARTIAL, L1_COMPLETE, L2_COMPLETE];
    pub(super) const COMPLETE_SEQUENCE: [u32; 2] = [L1_COMPLETE, L2_COMPLETE];
    pub(super) const PARTIAL_SEQUENCE: [u32; 2] = [L1_PARTIAL, L2_PARTIAL];
}
