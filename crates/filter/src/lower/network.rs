//! Protocols by name and number, and network-layer addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::headers::At;
use super::predicate::Predicate;
use super::{Lowering, ethertype, ip, isis, llc, osi};
use crate::bpf::Width::{Byte, Half, Word};
use crate::error::{Error, ErrorKind};
use crate::ir::Comparison;
use crate::tree::{Direction, Network, Protocol};

impl Lowering<'_> {
    /// A protocol by its keyword.
    pub(super) fn protocol(&mut self, protocol: Protocol) -> Result<Predicate, Error> {
        let by_type = match protocol {
            Protocol::Ip => ethertype::IPV4,
            Protocol::Ip6 => ethertype::IPV6,
            Protocol::Arp => ethertype::ARP,
            Protocol::Rarp => ethertype::RARP,
            Protocol::Atalk => ethertype::ATALK,
            Protocol::Aarp => ethertype::AARP,
            Protocol::Decnet => ethertype::DECNET,
            Protocol::Lat => ethertype::LAT,
            Protocol::Sca => ethertype::SCA,
            Protocol::Moprc => ethertype::MOP_REMOTE_CONSOLE,
            Protocol::Mopdl => ethertype::MOP_DUMP_LOAD,
            Protocol::Iso => llc::ISO,
            Protocol::Stp => llc::SPANNING_TREE,
            Protocol::Ipx => llc::IPX,
            Protocol::Netbeui => llc::NETBEUI,
            Protocol::Tcp => return self.ip_protocol(ip::TCP),
            Protocol::Udp => return self.ip_protocol(ip::UDP),
            Protocol::Sctp => return self.ip_protocol(ip::SCTP),
            Protocol::Pim => return self.ip_protocol(ip::PIM),
            Protocol::Ah => return self.ip_protocol(ip::AH),
            Protocol::Esp => return self.ip_protocol(ip::ESP),
            Protocol::Icmp => return self.ipv4_protocol(ip::ICMP),
            Protocol::Igmp => return self.ipv4_protocol(ip::IGMP),
            Protocol::Igrp => return self.ipv4_protocol(ip::IGRP),
            Protocol::Vrrp | Protocol::Carp => return self.ipv4_protocol(ip::VRRP),
            Protocol::Icmp6 => return self.ipv6_protocol(ip::ICMPV6),
            Protocol::Esis => return self.osi_protocol(osi::ESIS),
            Protocol::Isis => return self.osi_protocol(osi::ISIS),
            Protocol::Clnp => return self.osi_protocol(osi::CLNP),
            Protocol::IsisLevel1 => return self.isis_any(&isis::LEVEL_1),
            Protocol::IsisLevel2 => return self.isis_any(&isis::LEVEL_2),
            Protocol::IsisHello => return self.isis_any(&isis::HELLO),
            Protocol::IsisLinkState => return self.isis_any(&isis::LINK_STATE),
            Protocol::IsisSequence => return self.isis_any(&isis::SEQUENCE),
            Protocol::IsisCompleteSequence => return self.isis_any(&isis::COMPLETE_SEQUENCE),
            Protocol::IsisPartialSequence => return self.isis_any(&isis::PARTIAL_SEQUENCE),
            Protocol::Radio => return Err(self.link_error("radio headers are there on 802.11 only")),
            Protocol::Link => {
                return Err(self.error(ErrorKind::Meaning, "the link layer by itself is not a question"));
            }
        };
        self.link_protocol(by_type)
    }

    /// `[within] proto NUMBER`.
    pub(super) fn protocol_number(
        &mut self,
        within: Option<Protocol>,
        number: u32,
    ) -> Result<Predicate, Error> {
        match within {
            None => self.ip_protocol(number),
            Some(Protocol::Link) => self.link_protocol(number),
            Some(Protocol::Ip) => self.ipv4_protocol(number),
            Some(Protocol::Ip6) => self.ipv6_protocol(number),
            Some(Protocol::Iso) => self.osi_protocol(number),
            Some(Protocol::Isis) => self.isis_protocol(number),
            Some(_) => Err(self.error(ErrorKind::Meaning, "`proto` does not go with this protocol")),
        }
    }

    /// Over IPv4 or IPv6.
    fn ip_protocol(&mut self, number: u32) -> Result<Predicate, Error> {
        let v4 = self.ipv4_protocol(number)?;
        let v6 = self.ipv6_protocol(number)?;
        Ok(self.graph.or(v4, v6))
    }

    fn ipv4_protocol(&mut self, number: u32) -> Result<Predicate, Error> {
        let is_ip = self.link_protocol(ethertype::IPV4)?;
        let protocol = self.compare(At::Network(ip::V4_PROTOCOL), Byte, Comparison::Equal, number);
        Ok(self.graph.and(is_ip, protocol))
    }

    /// As the next header, directly or behind one fragment header.
    fn ipv6_protocol(&mut self, number: u32) -> Result<Predicate, Error> {
        let is_ip6 = self.link_protocol(ethertype::IPV6)?;
        let next = self.compare(At::Network(ip::V6_NEXT), Byte, Comparison::Equal, number);
        let fragment = self.compare(At::Network(ip::V6_NEXT), Byte, Comparison::Equal, ip::FRAGMENT);
        let behind = self.compare(At::Transport6(0), Byte, Comparison::Equal, number);
        let behind = self.graph.and(fragment, behind);
        let either = self.graph.or(next, behind);
        Ok(self.graph.and(is_ip6, either))
    }

    fn osi_protocol(&mut self, number: u32) -> Result<Predicate, Error> {
        let is_osi = self.link_protocol(llc::ISO)?;
        let protocol = self.compare(At::NetworkLlc(0), Byte, Comparison::Equal, number);
        Ok(self.graph.and(is_osi, protocol))
    }

    fn isis_protocol(&mut self, kind: u32) -> Result<Predicate, Error> {
        let is_isis = self.osi_protocol(osi::ISIS)?;
        let kind = self.compare(At::NetworkLlc(isis::KIND), Byte, Comparison::Equal, kind);
        Ok(self.graph.and(is_isis, kind))
    }

    /// Any of these kinds of IS-IS packet, asked in the order given.
    fn isis_any(&mut self, kinds: &[u32]) -> Result<Predicate, Error> {
        let mut any = None;
        for &kind in kinds {
            let next = self.isis_protocol(kind)?;
            any = Some(self.either(any, next));
        }
        Ok(any.unwrap_or_else(|| self.never()))
    }

    /// `host` and `net`.
    pub(super) fn address(
        &mut self,
        within: Option<Protocol>,
        direction: Direction,
        networks: &[Network],
    ) -> Result<Predicate, Error> {
        let mut any = None;
        for network in networks {
            let next = match *network {
                Network::V4 { address, mask } => self.ipv4_network(within, direction, address, mask)?,
                Network::V6 { address, prefix } => self.ipv6_network(direction, address, prefix)?,
            };
            any = Some(self.either(any, next));
        }
        any.ok_or_else(|| self.error(ErrorKind::Meaning, "no address to look for"))
    }

    /// An IPv4 address in IPv4 and in both ARPs, or in one of them.
    pub(super) fn ipv4_network(
        &mut self,
        within: Option<Protocol>,
        direction: Direction,
        address: Ipv4Addr,
        mask: Ipv4Addr,
    ) -> Result<Predicate, Error> {
        let (address, mask) = (address.to_bits(), mask.to_bits());
        match within {
            None => {
                let mut any = self.word_address(direction, ethertype::IPV4, IPV4_ADDRESSES, address, mask)?;
                // Behind MPLS labels nothing but IP is recognised.
                if self.headers.labels == 0 {
                    for protocol in [ethertype::ARP, ethertype::RARP] {
                        let arp = self.word_address(direction, protocol, ARP_ADDRESSES, address, mask)?;
                        any = self.graph.or(any, arp);
                    }
                }
                Ok(any)
            }
            Some(Protocol::Ip) => {
                self.word_address(direction, ethertype::IPV4, IPV4_ADDRESSES, address, mask)
            }
            Some(Protocol::Arp) => self.word_address(direction, ethertype::ARP, ARP_ADDRESSES, address, mask),
            Some(Protocol::Rarp) => {
                self.word_address(direction, ethertype::RARP, ARP_ADDRESSES, address, mask)
            }
            Some(_) => Err(self.error(ErrorKind::Meaning, "this protocol has no IPv4 addresses")),
        }
    }

    fn word_address(
        &mut self,
        direction: Direction,
        protocol: u32,
        (source, destination): (u32, u32),
        address: u32,
        mask: u32,
    ) -> Result<Predicate, Error> {
        self.at_ends(direction, source, destination, |lowering, offset| {
            let is_protocol = lowering.link_protocol(protocol)?;
            let matches = lowering.masked(At::Network(offset), Word, mask, address);
            Ok(lowering.graph.and(is_protocol, matches))
        })
    }

    fn ipv6_network(
        &mut self,
        direction: Direction,
        address: Ipv6Addr,
        prefix: u8,
    ) -> Result<Predicate, Error> {
        let address = address.to_bits();
        let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
        self.at_ends(direction, IPV6_ADDRESSES.0, IPV6_ADDRESSES.1, |lowering, offset| {
            let mut all = lowering.link_protocol(ethertype::IPV6)?;
            for word in 0..4 {
                let shift = 96 - 32 * word;
                let (value, mask) = ((address >> shift) as u32, (mask >> shift) as u32);
                let matches = lowering.masked(At::Network(offset + 4 * word), Word, mask, value);
                all = lowering.graph.and(all, matches);
            }
            Ok(all)
        })
    }

    /// `decnet host`: a node's address in short and long headers, with and without padding; little-endian.
    pub(super) fn decnet_address(&mut self, direction: Direction, address: u16) -> Result<Predicate, Error> {
        let address = u32::from(address.swap_bytes());
        // From the header: the source's and the destination's place with a short and a long header.
        let places = |end| if end == 0 { (3, 15) } else { (1, 7) };
        self.at_ends(direction, 0, 1, |lowering, end| {
            let (short, long) = places(end);
            let is_decnet = lowering.link_protocol(ethertype::DECNET)?;
            let mut any = None;
            for (kind, place) in [(DECNET_SHORT, short), (DECNET_LONG, long)] {
                let plain = lowering.masked(At::Network(2), Byte, 7, kind);
                let node = lowering.compare(At::Network(2 + place), Half, Comparison::Equal, address);
                let plain = lowering.graph.and(plain, node);
                any = Some(lowering.either(any, plain));
                let padded = DECNET_PAD << 8 | kind;
                let padded = lowering.masked(At::Network(2), Half, DECNET_PADDED_MASK, padded);
                let node = lowering.compare(At::Network(3 + place), Half, Comparison::Equal, address);
                let padded = lowering.graph.and(padded, node);
                any = Some(lowering.either(any, padded));
            }
            let any = any.unwrap_or_else(|| lowering.never());
            Ok(lowering.graph.and(is_decnet, any))
        })
    }

    /// `gateway`: through the machine with this MAC address, but neither from nor to it.
    pub(super) fn gateway(
        &mut self,
        within: Option<Protocol>,
        link_address: [u8; 6],
        addresses: &[Ipv4Addr],
    ) -> Result<Predicate, Error> {
        let through = self.link_address(Direction::Either, link_address)?;
        let mut any = None;
        for &address in addresses {
            let host = self.ipv4_network(within, Direction::Either, address, Ipv4Addr::BROADCAST)?;
            any = Some(self.either(any, host));
        }
        Ok(match any {
            Some(any) => self.graph.and(through, any.not()),
            None => through,
        })
    }

    /// `broadcast`.
    pub(super) fn broadcast(&mut self, within: Option<Protocol>) -> Result<Predicate, Error> {
        match within {
            None | Some(Protocol::Link) => self.link_broadcast(),
            Some(Protocol::Ip) => {
                if self.options.netmask == u32::MAX {
                    return Err(self.error(
                        ErrorKind::Meaning,
                        "the network mask is not known, so `ip broadcast` cannot be asked",
                    ));
                }
                let host_bits = !self.options.netmask;
                let is_ip = self.link_protocol(ethertype::IPV4)?;
                let zeros = self.masked(At::Network(IPV4_ADDRESSES.1), Word, host_bits, 0);
                let ones = self.masked(At::Network(IPV4_ADDRESSES.1), Word, host_bits, host_bits);
                let either = self.graph.or(zeros, ones);
                Ok(self.graph.and(is_ip, either))
            }
            Some(_) => {
                Err(self.error(ErrorKind::Meaning, "broadcasts are those of the link layer or of IPv4"))
            }
        }
    }

    /// `multicast`.
    pub(super) fn multicast(&mut self, within: Option<Protocol>) -> Result<Predicate, Error> {
        let (protocol, offset, test, value) = match within {
            None | Some(Protocol::Link) => return self.link_multicast(),
            Some(Protocol::Ip) => (ethertype::IPV4, IPV4_ADDRESSES.1, Comparison::GreaterOrEqual, 224),
            Some(Protocol::Ip6) => (ethertype::IPV6, IPV6_ADDRESSES.1, Comparison::Equal, 255),
            Some(_) => {
                return Err(self.error(
                    ErrorKind::Meaning,
                    "multicasts are those of the link layer, of IPv4 or of IPv6",
                ));
            }
        };
        let is_protocol = self.link_protocol(protocol)?;
        let group = self.compare(At::Network(offset), Byte, test, value);
        Ok(self.graph.and(is_protocol, group))
    }
}

/// Source and destination in the IPv4 header.
const IPV4_ADDRESSES: (u32, u32) = (12, 16);
/// Sender and target in an ARP packet of Ethernet and IPv4.
const ARP_ADDRESSES: (u32, u32) = (14, 24);
/// Source and destination in the IPv6 header.
const IPV6_ADDRESSES: (u32, u32) = (8, 24);

const DECNET_SHORT: u32 = 2;
const DECNET_LONG: u32 = 6;
/// A padding byte that says it is one byte long.
const DECNET_PAD: u32 = 0x81;
const DECNET_PADDED_MASK: u32 = 0xff07;
