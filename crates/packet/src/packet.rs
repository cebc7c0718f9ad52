//! What decoding a frame yields: offsets and the few fields every later stage asks for.

use std::ops::Range;

use crate::{FlowKey, IpProtocol, Side, Tunnel, TunnelKind, Vlans, bounds};

/// The headers of one frame.
///
/// All offsets count from the first captured byte. Invariant: every layer and payload offset lies within the
/// captured bytes, except [`Payload::wire_len`], which may reach beyond them when the frame was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub(crate) layers: [Layer; bounds::LAYERS],
    pub(crate) layer_count: u8,
    /// Why decoding ended. Everything below is what was read up to there.
    pub end: End,
    /// The innermost IP header.
    pub ip: Option<Ip>,
    /// The transport header behind `ip`.
    pub transport: Transport,
    /// What follows the last header.
    pub payload: Payload,
    /// The flow of the innermost IP packet and which end sent it. Fragments and protocols without ports have
    /// ports 0. `None` without an IP header, and when the packet is malformed or too short for its ports.
    pub flow: Option<(FlowKey, Side)>,
    /// Tunnels inside one another that were opened; labels and PPPoE below the outermost IP header do not count.
    pub tunnels: u8,
    /// The innermost tunnel around `ip`.
    pub tunnel: Option<Tunnel>,
    /// The VLAN tags passed.
    pub vlans: Vlans,
    /// The tunnel that was recognised and left closed, as [`Decap`](crate::Decap) asks for. Decoding ended in front
    /// of it.
    pub unopened: Option<TunnelKind>,
}

impl Packet {
    /// The headers found, outermost first.
    #[inline]
    pub fn layers(&self) -> &[Layer] {
        self.layers.get(..usize::from(self.layer_count)).unwrap_or_default()
    }

    /// Why the packet is malformed, if it is.
    #[inline]
    pub fn malformed(&self) -> Option<Malformed> {
        match self.end {
            End::Malformed(reason) => Some(reason),
            _ => None,
        }
    }
}

/// A header and where it starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// Which header.
    pub kind: LayerKind,
    /// Its offset in the frame, in bytes.
    pub offset: u16,
}

/// The kinds of headers that are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of the protocols")]
#[non_exhaustive]
pub enum LayerKind {
    #[default]
    Ethernet,
    Llc,
    Snap,
    LinuxCooked,
    LinuxCooked2,
    Null,
    CiscoHdlc,
    Nflog,
    Radiotap,
    Ieee80211,
    Vlan,
    Mpls,
    Arp,
    Ipv4,
    Ipv6,
    HopByHop,
    Routing,
    FragmentHeader,
    DestinationOptions,
    Authentication,
    Gre,
    Vxlan,
    Geneve,
    Gtpu,
    Erspan,
    EtherIp,
    Pppoe,
    Ppp,
    /// Of an Ethernet pseudowire.
    ControlWord,
    Tcp,
    Udp,
    UdpLite,
    Sctp,
    Dccp,
    Icmp,
    Icmpv6,
}

/// Why decoding ended where it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The transport header was read.
    Transport,
    /// An IP fragment: what follows is part of a datagram, even when it starts with a transport header.
    Fragment,
    /// A protocol that is not decoded here; the payload is its header.
    Unknown,
    /// The frame was cut to the snaplen before its headers ended. Not a fault of the packet. Also a frame that
    /// is shorter than its IP header says without having been cut as far as the capture tells.
    Cut,
    /// The packet contradicts itself or its protocol.
    Malformed(Malformed),
}

/// What is wrong with a packet: one counter each, indexed by `reason as usize`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Malformed {
    /// The frame ends within its link header, LLC included.
    LinkHeader,
    /// The frame ends within a VLAN tag.
    Vlan,
    /// More than [`bounds::VLAN_TAGS`] VLAN tags.
    VlanDepth,
    /// The frame ends within an MPLS label stack.
    Mpls,
    /// More than [`bounds::MPLS_LABELS`] MPLS labels.
    MplsDepth,
    /// The IP version does not fit the ethertype.
    IpVersion,
    /// The IPv4 header is short: the packet ends in it, or its length field is below 5.
    Ipv4Header,
    /// The IPv4 total length is below the header's, or above what the tunnel around it holds.
    Ipv4Length,
    /// The packet ends within the IPv6 header.
    Ipv6Header,
    /// The IPv6 payload length is above what the tunnel around it holds.
    Ipv6Length,
    /// The packet ends within an IPv6 extension or authentication header, or that has an impossible length.
    Extension,
    /// More than [`bounds::IPV6_EXTENSIONS`] extension headers.
    ExtensionDepth,
    /// The packet ends within the TCP header.
    TcpHeader,
    /// The TCP data offset is below 5.
    TcpDataOffset,
    /// The packet ends within the UDP header.
    UdpHeader,
    /// The UDP length is below 8 or above what the packet holds.
    UdpLength,
    /// The packet ends within the ICMP or ICMPv6 header.
    IcmpHeader,
    /// The packet ends within the ports of another transport protocol.
    TransportHeader,
    /// The packet ends within the GRE header.
    Gre,
    /// The packet ends within the VXLAN header.
    Vxlan,
    /// The datagram ends within the Geneve header or its options.
    Geneve,
    /// The datagram ends within the GTP-U header, its extensions included, or these have an impossible length.
    Gtpu,
    /// The packet ends within the ERSPAN header.
    Erspan,
    /// The packet ends within the EtherIP header.
    EtherIp,
    /// The frame ends within the PPPoE or PPP header, or the PPPoE length is above what it holds.
    Pppoe,
    /// More than [`bounds::TUNNELS`] tunnels inside one another.
    TunnelDepth,
    /// More than [`bounds::LAYERS`] headers, or one that starts beyond 65535 bytes.
    LayerDepth,
}

impl Malformed {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 27] = [
        Self::LinkHeader,
        Self::Vlan,
        Self::VlanDepth,
        Self::Mpls,
        Self::MplsDepth,
        Self::IpVersion,
        Self::Ipv4Header,
        Self::Ipv4Length,
        Self::Ipv6Header,
        Self::Ipv6Length,
        Self::Extension,
        Self::ExtensionDepth,
        Self::TcpHeader,
        Self::TcpDataOffset,
        Self::UdpHeader,
        Self::UdpLength,
        Self::IcmpHeader,
        Self::TransportHeader,
        Self::Gre,
        Self::Vxlan,
        Self::Geneve,
        Self::Gtpu,
        Self::Erspan,
        Self::EtherIp,
        Self::Pppoe,
        Self::TunnelDepth,
        Self::LayerDepth,
    ];

    /// Its name in reports: lower case with underscores.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LinkHeader => "link_header",
            Self::Vlan => "vlan",
            Self::VlanDepth => "vlan_depth",
            Self::Mpls => "mpls",
            Self::MplsDepth => "mpls_depth",
            Self::IpVersion => "ip_version",
            Self::Ipv4Header => "ipv4_header",
            Self::Ipv4Length => "ipv4_length",
            Self::Ipv6Header => "ipv6_header",
            Self::Ipv6Length => "ipv6_length",
            Self::Extension => "extension",
            Self::ExtensionDepth => "extension_depth",
            Self::TcpHeader => "tcp_header",
            Self::TcpDataOffset => "tcp_data_offset",
            Self::UdpHeader => "udp_header",
            Self::UdpLength => "udp_length",
            Self::IcmpHeader => "icmp_header",
            Self::TransportHeader => "transport_header",
            Self::Gre => "gre",
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::Gtpu => "gtpu",
            Self::Erspan => "erspan",
            Self::EtherIp => "etherip",
            Self::Pppoe => "pppoe",
            Self::TunnelDepth => "tunnel_depth",
            Self::LayerDepth => "layer_depth",
        }
    }
}

/// The innermost IP header, whichever version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Where the header starts.
    pub offset: u16,
    /// Where the IP payload starts: behind options and the extension headers that were read.
    pub payload_offset: u16,
    /// The protocol of that payload.
    pub protocol: IpProtocol,
    /// Set on fragments, the first one included, but not on a whole packet with an IPv6 fragment header
    /// (an "atomic" fragment, RFC 6946).
    pub fragment: Option<Fragment>,
}

/// Where a fragment belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Identification of the datagram: 16 bits in IPv4, 32 in IPv6.
    pub id: u32,
    /// Offset of the fragment in the datagram's payload, in bytes.
    pub offset: u32,
    /// More fragments follow.
    pub more: bool,
}

/// The transport header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// None was read.
    #[default]
    None,
    /// TCP.
    Tcp(TcpHeader),
    /// UDP.
    Udp,
    /// ICMP.
    Icmp {
        /// The message type.
        kind: u8,
        /// The code within the type.
        code: u8,
    },
    /// ICMPv6.
    Icmpv6 {
        /// The message type.
        kind: u8,
        /// The code within the type.
        code: u8,
    },
    /// Another protocol with ports: SCTP, DCCP or UDP-Lite. The payload begins with its header.
    Ports,
}

/// The fields of a TCP header (RFC 9293, section 3.1) that stream reassembly asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpHeader {
    /// Where the header starts in the frame.
    pub offset: u16,
    /// Length with options, in bytes, 20 to 60; all of them are captured.
    pub len: u8,
    /// The control bits.
    pub flags: TcpFlags,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number; means nothing without ACK.
    pub acknowledgement: u32,
    /// Window, not scaled.
    pub window: u16,
}

impl TcpHeader {
    /// Where the options lie in the frame.
    #[inline]
    pub fn options(&self) -> Range<usize> {
        let start = usize::from(self.offset);
        start + 20..start + usize::from(self.len)
    }
}

/// The control bits of TCP, as they stand in byte 13 of the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset the connection.
    pub const RST: Self = Self(0x04);
    /// Push.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgement number is valid.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer is valid.
    pub const URG: Self = Self(0x20);
    /// ECN echo.
    pub const ECE: Self = Self(0x40);
    /// Congestion window reduced.
    pub const CWR: Self = Self(0x80);

    /// Whether all bits of `flags` are set.
    #[inline]
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }
}

/// The bytes behind the last header that was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// Where they start.
    pub offset: u32,
    /// How many were captured.
    pub captured_len: u32,
    /// How many there were on the wire, by the lengths in the headers (padding excluded); never less than
    /// `captured_len`.
    pub wire_len: u32,
}

impl Payload {
    /// The captured bytes as a range of the frame.
    #[inline]
    pub fn range(&self) -> Range<usize> {
        self.offset as usize..self.offset as usize + self.captured_len as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_index_their_counters() {
        let mut names = Vec::new();
        for (index, reason) in Malformed::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            names.push(reason.name());
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Malformed::ALL.len());
    }

    #[test]
    fn flags_contain_all_of_the_asked() {
        let syn_ack = TcpFlags(0x12);
        assert!(syn_ack.contains(TcpFlags::SYN) && syn_ack.contains(TcpFlags(0x12)));
        assert!(!TcpFlags::SYN.contains(syn_ack));
    }
}
