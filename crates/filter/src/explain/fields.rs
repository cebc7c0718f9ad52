//! What lies where in a packet, as far as a program has found out what it has in front of it.

use super::words;
use crate::bpf::{Ancillary, Width};

/// What a value is, to be said in words and to read constants by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    /// In a sentence: `the ethertype`.
    pub(super) what: String,
    /// How constants that it is compared with are shown, and what is learnt from a comparison.
    pub(super) kind: Kind,
    /// Of an address that was masked: what it was, and the mask.
    pub(super) masked: Option<(String, u32)>,
}

/// Kinds of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An ethertype that tells what follows at the offset, if it is told.
    Ethertype,
    /// PPP's protocol field.
    Ppp,
    /// The protocol of an IPv4 packet, the next header of an IPv6 packet.
    Protocol,
    /// The next header of a fragment.
    FragmentProtocol,
    /// The byte with version and header length, or part of it.
    Version,
    Ipv4Address,
    Mac,
    TcpFlags,
    /// The family of a BSD loopback header.
    Family,
    /// IPv4's flags and fragment offset.
    Fragment,
    /// Better in decimal.
    Decimal,
    /// Anything else.
    Plain,
}

/// The network layer that is known to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    /// Nothing is known of it.
    Unknown,
    Ipv4,
    Ipv6,
    Arp,
    Mpls,
    Pppoe,
    /// Something whose fields are not known here.
    Other,
}

impl Meaning {
    pub(super) fn new(what: impl Into<String>, kind: Kind) -> Self {
        Self { what: what.into(), kind, masked: None }
    }

    /// A constant beside this value.
    pub(super) fn constant(&self, k: u32) -> String {
        match self.kind {
            Kind::Ethertype => words::ethertype(k),
            Kind::Ppp => words::ppp(k),
            Kind::Protocol | Kind::FragmentProtocol => words::protocol(k),
            Kind::Ipv4Address => std::net::Ipv4Addr::from_bits(k).to_string(),
            Kind::Mac => format!("{k:#010x}"),
            Kind::TcpFlags => words::tcp_flags(k),
            Kind::Version => format!("{k:#04x}"),
            Kind::Family => match k.max(k.swap_bytes()) & 0xff00_0000 {
                0x0200_0000 => format!("IPv4 ({k:#010x})"),
                0x1800_0000 | 0x1c00_0000 | 0x1e00_0000 => format!("IPv6 ({k:#010x})"),
                _ => format!("{k:#010x}"),
            },
            Kind::Decimal => k.to_string(),
            Kind::Fragment => format!("{k:#06x}"),
            Kind::Plain if k > 9 => format!("{k:#x}"),
            Kind::Plain => k.to_string(),
        }
    }
}

/// A field `offset` bytes into an IPv4, IPv6, ARP, ... header; `transport` is the protocol above it, if it is known.
pub(super) fn network(layer: Layer, transport: Option<u32>, offset: u32, width: Width) -> Option<Meaning> {
    let meaning = |what: &str, kind| Some(Meaning::new(what, kind));
    match (layer, offset, width) {
        (Layer::Unknown | Layer::Ipv4 | Layer::Ipv6, 0, Width::Byte) => {
            meaning("the byte with the IP version", Kind::Version)
        }
        (Layer::Ipv4, 1, Width::Byte) => meaning("the IPv4 type of service", Kind::Plain),
        (Layer::Ipv4, 2, Width::Half) => meaning("the IPv4 total length", Kind::Decimal),
        (Layer::Ipv4, 4, Width::Half) => meaning("the IPv4 identification", Kind::Plain),
        (Layer::Ipv4, 6, Width::Half) => meaning("IPv4 flags and fragment offset", Kind::Fragment),
        (Layer::Ipv4, 8, Width::Byte) => meaning("the IPv4 time to live", Kind::Decimal),
        (Layer::Ipv4, 9, Width::Byte) => meaning("the IPv4 protocol", Kind::Protocol),
        (Layer::Ipv4, 10, Width::Half) => meaning("the IPv4 checksum", Kind::Plain),
        (Layer::Ipv4, 12, Width::Word) => meaning("the IPv4 source address", Kind::Ipv4Address),
        (Layer::Ipv4, 16, Width::Word) => meaning("the IPv4 destination address", Kind::Ipv4Address),
        (Layer::Ipv4, 16, Width::Byte) => {
            meaning("the first byte of the IPv4 destination address", Kind::Decimal)
        }
        (Layer::Ipv6, 0, _) => meaning("IPv6 version, traffic class and flow label", Kind::Plain),
        (Layer::Ipv6, 4, Width::Half) => meaning("the IPv6 payload length", Kind::Decimal),
        (Layer::Ipv6, 6, Width::Byte) => meaning("the IPv6 next header", Kind::Protocol),
        (Layer::Ipv6, 7, Width::Byte) => meaning("the IPv6 hop limit", Kind::Decimal),
        (Layer::Ipv6, 8..24, _) => {
            meaning(&format!("{} of the IPv6 source address", part(offset - 8, width)), Kind::Plain)
        }
        (Layer::Ipv6, 24..40, _) => {
            meaning(&format!("{} of the IPv6 destination address", part(offset - 24, width)), Kind::Plain)
        }
        (Layer::Ipv6, 40, Width::Byte) if transport == Some(44) => {
            meaning("the next header of the IPv6 fragment", Kind::FragmentProtocol)
        }
        (Layer::Ipv6, 40.., _) => self::transport(transport, offset - 40, width),
        (Layer::Arp, 0, Width::Half) => meaning("the ARP hardware type", Kind::Decimal),
        (Layer::Arp, 2, Width::Half) => meaning("the ARP protocol type", Kind::Plain),
        (Layer::Arp, 6, Width::Half) => meaning("the ARP operation", Kind::Decimal),
        (Layer::Arp, 14, Width::Word) => meaning("the ARP sender's IPv4 address", Kind::Ipv4Address),
        (Layer::Arp, 24, Width::Word) => meaning("the ARP target's IPv4 address", Kind::Ipv4Address),
        (Layer::Mpls, 0, Width::Word) => meaning("the MPLS label (in the upper 20 bits)", Kind::Plain),
        (Layer::Mpls, 2, Width::Byte) => meaning("the byte with the MPLS bottom-of-stack bit", Kind::Plain),
        (Layer::Pppoe, 2, Width::Half) => meaning("the PPPoE session id", Kind::Decimal),
        (Layer::Pppoe, 6, Width::Half) => meaning("the PPP protocol", Kind::Ppp),
        _ => None,
    }
}

/// A field `offset` bytes into a transport header.
pub(super) fn transport(protocol: Option<u32>, offset: u32, width: Width) -> Option<Meaning> {
    let meaning = |what: &str, kind| Some(Meaning::new(what, kind));
    match (protocol, offset, width) {
        (None | Some(6 | 17 | 33 | 132), 0, Width::Half) => meaning("the source port", Kind::Decimal),
        (None | Some(6 | 17 | 33 | 132), 2, Width::Half) => meaning("the destination port", Kind::Decimal),
        (None | Some(6 | 17 | 33 | 132), 0, Width::Word) => {
            meaning("source and destination port", Kind::Plain)
        }
        (Some(6), 4, Width::Word) => meaning("the TCP sequence number", Kind::Plain),
        (Some(6), 8, Width::Word) => meaning("the TCP acknowledgement number", Kind::Plain),
        (Some(6), 12, Width::Byte) => meaning("the TCP header length (in the upper 4 bits)", Kind::Plain),
        (Some(6), 13, Width::Byte) => meaning("the TCP flags", Kind::TcpFlags),
        (Some(6), 14, Width::Half) => meaning("the TCP window", Kind::Decimal),
        (Some(17), 4, Width::Half) => meaning("the UDP length", Kind::Decimal),
        (Some(17), 8.., _) => meaning(&format!("UDP payload from byte {}", offset - 8), Kind::Plain),
        (Some(1), 0, Width::Byte) => meaning("the ICMP type", Kind::Decimal),
        (Some(1), 1, Width::Byte) => meaning("the ICMP code", Kind::Decimal),
        (Some(58), 0, Width::Byte) => meaning("the ICMPv6 type", Kind::Decimal),
        (Some(58), 1, Width::Byte) => meaning("the ICMPv6 code", Kind::Decimal),
        _ => None,
    }
}

/// A field of an Ethernet header; the ethertype is not among them.
pub(super) fn ethernet(offset: u32, width: Width) -> Option<Meaning> {
    let (whose, at) = match offset {
        0..6 => ("destination", offset),
        6..12 => ("source", offset - 6),
        _ => return None,
    };
    if offset == 0 && width == Width::Byte {
        return Some(Meaning::new(
            "the byte with the multicast bit of the destination MAC address",
            Kind::Plain,
        ));
    }
    Some(Meaning::new(format!("{} of the {whose} MAC address", part(at, width)), Kind::Mac))
}

/// What the kernel knows beside the bytes.
pub(super) fn beside(what: Ancillary) -> Meaning {
    let (what, kind) = match what {
        Ancillary::Protocol => ("the ethertype, as the kernel has it", Kind::Ethertype),
        Ancillary::PacketType => ("whom the packet is for (4: sent by this machine)", Kind::Decimal),
        Ancillary::InterfaceIndex => ("the index of the interface", Kind::Decimal),
        Ancillary::NetlinkAttribute => ("the place of a netlink attribute", Kind::Decimal),
        Ancillary::NestedNetlinkAttribute => ("the place of a nested netlink attribute", Kind::Decimal),
        Ancillary::Mark => ("the packet's mark", Kind::Plain),
        Ancillary::Queue => ("the receive queue", Kind::Decimal),
        Ancillary::HardwareType => ("the hardware type of the interface (1: Ethernet)", Kind::Decimal),
        Ancillary::RxHash => ("the receive hash", Kind::Plain),
        Ancillary::Cpu => ("the processor", Kind::Decimal),
        Ancillary::XorX => ("A xor X", Kind::Plain),
        Ancillary::VlanTag => ("the VLAN tag in the metadata", Kind::Decimal),
        Ancillary::VlanTagPresent => ("whether there is a VLAN tag in the metadata", Kind::Decimal),
        Ancillary::PayloadOffset => ("where the payload begins", Kind::Decimal),
        Ancillary::Random => ("a random number", Kind::Plain),
        Ancillary::VlanTpid => ("the ethertype of the VLAN tag in the metadata", Kind::Plain),
    };
    Meaning::new(what, kind)
}

pub(super) fn part(offset: u32, width: Width) -> String {
    match width {
        Width::Byte => format!("byte {offset}"),
        // An opcode may name any offset; one behind all packets is a mistake of whoever wrote it, not ours.
        _ => format!("bytes {offset}-{}", u64::from(offset) + u64::from(width.bytes()) - 1),
    }
}
