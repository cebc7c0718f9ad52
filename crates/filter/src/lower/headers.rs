//! Where the headers are at this point of the expression, and loads from them.

use crate::bpf::insn::*;
use crate::bpf::{Instruction, Width};
use crate::compile::Link;

/// Where something lies: a constant, and a part that is found out when the program runs and kept in a scratch word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The scratch word of the part that varies.
    pub(super) variable: Option<u32>,
    /// What is added to it.
    pub(super) constant: u32,
}

impl Place {
    pub(super) fn fixed(constant: u32) -> Self {
        Self { variable: None, constant }
    }

    pub(super) fn plus(self, bytes: u32) -> Self {
        Self { constant: self.constant.wrapping_add(bytes), ..self }
    }
}

/// How the link-level header that is looked at now says what comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// An ethertype or an 802.3 length.
    Ethernet,
    /// Nothing: the version of the IP header must do.
    Raw,
    /// An ethertype, with values of its own for 802.2 and 802.3.
    Sll,
    /// An ethertype.
    Sll2,
    /// An address family of 4 bytes.
    Family {
        /// Whether its bytes are the other way round than in network order.
        little_endian: bool,
    },
    /// A PPP protocol number.
    Ppp,
    /// The kernel's record of the ethertype.
    Kernel,
}

impl Framing {
    /// What messages call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ethernet => "Ethernet",
            Self::Raw => "raw IP",
            Self::Sll => "Linux cooked v1",
            Self::Sll2 => "Linux cooked v2",
            Self::Family { .. } => "BSD loopback",
            Self::Ppp => "PPP",
            Self::Kernel => "live capture on any interface",
        }
    }
}

/// The places of headers, as the primitives written so far leave them for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Headers {
    pub(super) framing: Framing,
    /// The link-level header.
    pub(super) link: Place,
    /// The field that [`Framing`] is about.
    pub(super) type_field: Place,
    /// What follows the link-level header.
    pub(super) payload: Place,
    /// The network header, from `payload`.
    pub(super) network: u32,
    /// The same where 802.2 is between them.
    pub(super) network_llc: u32,
    /// MPLS labels passed. Behind them only the first nibble tells protocols apart.
    pub(super) labels: u32,
    /// Behind Geneve: the link-level header may be missing, then `link` and `payload` are equal when the program runs.
    pub(super) link_may_miss: bool,
}

impl Headers {
    /// Before anything is written.
    pub(super) fn of(link: Link) -> Self {
        let (framing, type_field, payload) = match link {
            Link::Ethernet => (Framing::Ethernet, 12, 14),
            Link::Raw => (Framing::Raw, 0, 0),
            Link::Sll => (Framing::Sll, 14, 16),
            Link::Sll2 => (Framing::Sll2, 0, 20),
            Link::Null => (Framing::Family { little_endian: true }, 0, 4),
            Link::NullBigEndian | Link::Loop => (Framing::Family { little_endian: false }, 0, 4),
            Link::Kernel => (Framing::Kernel, Ancillary::Protocol.offset(), SKF_NET_OFF),
        };
        Self {
            framing,
            link: Place::fixed(if link == Link::Kernel { SKF_LL_OFF } else { 0 }),
            type_field: Place::fixed(type_field),
            payload: Place::fixed(payload),
            network: 0,
            // 802.2, which cooked headers have as well, but libpcap does not look behind it there.
            network_llc: if matches!(framing, Framing::Ethernet | Framing::Kernel) { LLC_LEN } else { 0 },
            labels: 0,
            link_may_miss: false,
        }
    }

    /// Where a primitive looks.
    pub(super) fn place(&self, at: At) -> Place {
        match at {
            At::Link(offset) => self.link.plus(offset),
            At::Type(offset) => self.type_field.plus(offset),
            At::Payload(offset) => self.payload.plus(offset),
            At::Network(offset) => self.payload.plus(self.network).plus(offset),
            At::NetworkLlc(offset) => self.payload.plus(self.network_llc).plus(offset),
            At::Transport4(offset) => self.payload.plus(self.network).plus(offset),
            At::Transport6(offset) => self.payload.plus(self.network).plus(IPV6_LEN).plus(offset),
        }
    }

    /// Loads into A.
    pub(super) fn load(&self, at: At, width: Width) -> Vec<Instruction> {
        let place = self.place(at);
        if matches!(at, At::Transport4(_)) {
            let mut statements = self.ipv4_len();
            statements.push(statement(LD | IND | width.bits(), place.constant));
            return statements;
        }
        match place.variable {
            Some(word) => {
                vec![statement(LDX | MEM, word), statement(LD | IND | width.bits(), place.constant)]
            }
            None => vec![statement(LD | ABS | width.bits(), place.constant)],
        }
    }

    /// Loads into X the length of the IPv4 header and whatever varies before it.
    pub(super) fn ipv4_len(&self) -> Vec<Instruction> {
        let network = self.place(At::Network(0));
        match network.variable {
            Some(word) => vec![
                statement(LDX | MEM, word),
                statement(LD | IND | B, network.constant),
                statement(ALU | AND | K, 0xf),
                statement(ALU | LSH | K, 2),
                statement(ALU | ADD | X, 0),
                statement(MISC | TAX, 0),
            ],
            None => vec![statement(LDX | MSH | B, network.constant)],
        }
    }

    /// Loads into X the offset in the scratch word `index`, with what varies before `place` added.
    pub(super) fn index(&self, place: Place, index: u32) -> Vec<Instruction> {
        match place.variable {
            Some(word) => vec![
                statement(LDX | MEM, word),
                statement(LD | MEM, index),
                statement(ALU | ADD | X, 0),
                statement(MISC | TAX, 0),
            ],
            None => vec![statement(LDX | MEM, index)],
        }
    }
}

/// What an offset counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// The link-level header.
    Link(u32),
    /// Its type field.
    Type(u32),
    /// What follows it.
    Payload(u32),
    /// The network header; the offset may be negative, modulo 2^32.
    Network(u32),
    /// The network header behind 802.2.
    NetworkLlc(u32),
    /// What follows an IPv4 header with its options.
    Transport4(u32),
    /// What follows an IPv6 header without extensions.
    Transport6(u32),
}

/// An instruction that is no jump.
pub(super) fn statement(code: u16, k: u32) -> Instruction {
    Instruction::statement(code, k)
}

/// Bytes of an 802.2 header with a one-byte control field.
pub(super) const LLC_LEN: u32 = 3;
/// Bytes of an IPv6 header.
pub(super) const IPV6_LEN: u32 = 40;
