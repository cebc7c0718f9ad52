//! What is written: primitives with the qualifiers that hold for them, before anybody has looked up a name or asked
//! whether they make sense.
//!
//! Postfix like [`Tree`](crate::tree::Tree), and for the same reasons.

use std::net::Ipv6Addr;

use crate::lex::Place;
use crate::tree::{Arithmetic, ByteOperation, Direction, Protocol, Relation};

/// A step of the expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    /// What it does.
    pub kind: ItemKind,
    /// The whole primitive, or the operator's word.
    pub place: Place,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ItemKind {
    Primitive(Primitive),
    Not,
    And,
    Or,
}

/// A primitive as written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Primitive {
    /// A protocol's keyword alone.
    Protocol(Protocol),
    /// An address, port, protocol or name, with qualifiers in front of it or taken over from an earlier one.
    Qualified(Qualifiers, Identifier),
    /// `[protocol] broadcast`.
    Broadcast(Option<Protocol>),
    /// `[protocol] multicast`.
    Multicast(Option<Protocol>),
    /// `less N`.
    Less(u32),
    /// `greater N`.
    Greater(u32),
    /// `byte OFFSET OPERATION VALUE`.
    Byte(u32, ByteOperation, u32),
    /// `inbound`.
    Inbound,
    /// `outbound`.
    Outbound,
    /// `ifindex N`.
    Ifindex(u32),
    /// `vlan`, `mpls` and the like, perhaps with a number.
    Tagged(Tag, Option<(u32, Place)>),
    /// `pppoed`.
    Pppoed,
    /// `llc`, perhaps with the kind of frame.
    Llc(Option<Place>),
    /// A comparison.
    Relation(Relation, Arithmetic, Arithmetic),
}

/// What `vlan 7` is about.
#[allow(missing_docs, reason = "each is its keyword")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    Vlan,
    Mpls,
    Pppoes,
    Geneve,
    Vxlan,
}

/// What stands in front of an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Qualifiers {
    /// Whose address or port.
    pub protocol: Option<Protocol>,
    /// Which end; `Either` if nothing is said.
    pub direction: Direction,
    /// What sort of thing the identifier is.
    pub sort: Sort,
    /// The qualifiers' words.
    pub place: Place,
}

/// What an identifier is the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Nothing is said; taken for a host.
    Unsaid,
    /// `host`.
    Host,
    /// `net`.
    Net,
    /// `port`.
    Port,
    /// `portrange`.
    Portrange,
    /// `proto`.
    Proto,
    /// `protochain`.
    Protochain,
    /// `gateway`.
    Gateway,
}

/// What qualifiers are put in front of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identifier {
    /// What is written.
    pub kind: IdentifierKind,
    /// Where.
    pub place: Place,
}

/// Ways of writing identifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdentifierKind {
    /// A name; the text without its backslash.
    Name(Place),
    /// `80`, in parentheses or not.
    Number(u32),
    /// `10.0.0.1`.
    Dotted,
    /// `10.0.0.0/8`: the address and the length.
    DottedPrefix(Place, u32),
    /// `10.0.0.0 mask 255.0.0.0`: the address and the mask.
    DottedMask(Place, Place),
    /// `::1`, and the length in `fe80::/10`.
    Ip6(Ipv6Addr, Option<u32>),
    /// `00:00:5e:00:53:01`.
    Mac([u8; 6]),
}
