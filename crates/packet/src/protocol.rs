//! Protocol numbers. Each is the number as it stands on the wire with names for those we know, so that a number
//! has one representation only and unknown ones pass through unharmed.

use std::fmt;

/// An ethertype (IEEE 802 numbers, <https://www.iana.org/assignments/ieee-802-numbers>).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EtherType(pub u16);

impl EtherType {
    /// Not an ethertype but Linux's mark for a frame with an LLC header (`ETH_P_802_2`).
    pub const LLC: Self = Self(0x0004);
    /// IPv4.
    pub const IPV4: Self = Self(0x0800);
    /// ARP.
    pub const ARP: Self = Self(0x0806);
    /// Reverse ARP: the same format.
    pub const RARP: Self = Self(0x8035);
    /// Transparent Ethernet bridging: an Ethernet frame inside GRE.
    pub const ETHERNET: Self = Self(0x6558);
    /// IEEE 802.1Q VLAN tag.
    pub const VLAN: Self = Self(0x8100);
    /// IPv6.
    pub const IPV6: Self = Self(0x86dd);
    /// MPLS.
    pub const MPLS: Self = Self(0x8847);
    /// MPLS with an upstream-assigned label (multicast before RFC 5332).
    pub const MPLS_UPSTREAM: Self = Self(0x8848);
    /// IEEE 802.1ad service tag, the outer one of QinQ.
    pub const SERVICE_VLAN: Self = Self(0x88a8);
    /// A PPPoE session's packets.
    pub const PPPOE_SESSION: Self = Self(0x8864);
    /// PPP, in GRE version 1 only.
    pub const PPP: Self = Self(0x880b);
    /// ERSPAN type I and II, in GRE only.
    pub const ERSPAN: Self = Self(0x88be);
    /// ERSPAN type III, in GRE only.
    pub const ERSPAN3: Self = Self(0x22eb);
    /// The outer tag of QinQ before it had a standard.
    pub const OLD_QINQ: Self = Self(0x9100);

    /// Whether a VLAN tag follows: four bytes, TCI and the next ethertype.
    #[inline]
    pub const fn is_vlan(self) -> bool {
        matches!(self, Self::VLAN | Self::SERVICE_VLAN | Self::OLD_QINQ)
    }

    /// Whether Linux takes this tag off a received frame (`eth_type_vlan`, `include/linux/if_vlan.h`).
    #[inline]
    pub const fn is_kernel_vlan(self) -> bool {
        matches!(self, Self::VLAN | Self::SERVICE_VLAN)
    }

    /// Whether an MPLS label stack follows.
    #[inline]
    pub const fn is_mpls(self) -> bool {
        matches!(self, Self::MPLS | Self::MPLS_UPSTREAM)
    }
}

impl fmt::Debug for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EtherType({:#06x})", self.0)
    }
}

/// An IP protocol number, also the type of the header behind an IPv6 header
/// (<https://www.iana.org/assignments/protocol-numbers>).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IpProtocol(pub u8);

impl IpProtocol {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: Self = Self(0);
    /// ICMP.
    pub const ICMP: Self = Self(1);
    /// IPv4 inside IP.
    pub const IPV4: Self = Self(4);
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// DCCP.
    pub const DCCP: Self = Self(33);
    /// IPv6 inside IP.
    pub const IPV6: Self = Self(41);
    /// IPv6 routing header.
    pub const ROUTING: Self = Self(43);
    /// IPv6 fragment header.
    pub const FRAGMENT: Self = Self(44);
    /// Generic routing encapsulation.
    pub const GRE: Self = Self(47);
    /// Encapsulating security payload: what follows is encrypted.
    pub const ESP: Self = Self(50);
    /// Authentication header.
    pub const AUTHENTICATION: Self = Self(51);
    /// ICMPv6.
    pub const ICMPV6: Self = Self(58);
    /// Nothing follows.
    pub const NO_NEXT_HEADER: Self = Self(59);
    /// IPv6 destination options.
    pub const DESTINATION_OPTIONS: Self = Self(60);
    /// Ethernet inside IP.
    pub const ETHERIP: Self = Self(97);
    /// SCTP.
    pub const SCTP: Self = Self(132);
    /// UDP-Lite.
    pub const UDP_LITE: Self = Self(136);

    /// Whether the transport header starts with a source and a destination port of 16 bits each.
    #[inline]
    pub const fn has_ports(self) -> bool {
        matches!(self, Self::TCP | Self::UDP | Self::DCCP | Self::SCTP | Self::UDP_LITE)
    }
}
