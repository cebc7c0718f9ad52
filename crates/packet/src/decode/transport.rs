//! Transport headers and the tunnels that IP and UDP carry.

use etherparse::{TcpHeaderSlice, UdpHeaderSlice, err::tcp};

use super::{Decoder, Next, Step};
use crate::packet::{End, LayerKind, Malformed, TcpFlags, TcpHeader, Transport};
use crate::{EtherType, IpProtocol, bounds, is_vxlan_port};

impl Decoder<'_> {
    pub(super) fn protocol(&mut self, protocol: IpProtocol) -> Step {
        match protocol {
            IpProtocol::TCP => self.tcp(),
            IpProtocol::UDP => self.udp(),
            IpProtocol::ICMP | IpProtocol::ICMPV6 => self.icmp(protocol),
            IpProtocol::SCTP => self.ports(LayerKind::Sctp),
            IpProtocol::DCCP => self.ports(LayerKind::Dccp),
            IpProtocol::UDP_LITE => self.ports(LayerKind::UdpLite),
            IpProtocol::GRE => self.gre(),
            IpProtocol::IPV4 => self.tunnel(Next::Ipv4),
            IpProtocol::IPV6 => self.tunnel(Next::Ipv6),
            IpProtocol::AUTHENTICATION => self.extension(protocol),
            IpProtocol::HOP_BY_HOP
            | IpProtocol::ROUTING
            | IpProtocol::FRAGMENT
            | IpProtocol::DESTINATION_OPTIONS
                if self.is_ipv6() =>
            {
                self.extension(protocol)
            }
            _ => {
                self.set_flow(0, 0);
                Err(End::Unknown)
            }
        }
    }

    /// These numbers are headers of their own in IPv6 only.
    fn is_ipv6(&self) -> bool {
        matches!(self.addresses, Some((std::net::IpAddr::V6(_), _)))
    }

    fn tcp(&mut self) -> Step {
        // The flow is known from the first four bytes, which a short snaplen may leave.
        let &[s1, s2, d1, d2] = self.peek(Malformed::TcpHeader)?;
        self.set_flow(u16::from_be_bytes([s1, s2]), u16::from_be_bytes([d1, d2]));
        let header = TcpHeaderSlice::from_slice(self.rest()).map_err(|error| match error {
            tcp::HeaderSliceError::Len(e) => self.short(e.required_len, Malformed::TcpHeader),
            tcp::HeaderSliceError::Content(_) => End::Malformed(Malformed::TcpDataOffset),
        })?;
        let bytes = header.slice();
        let len = bytes.len();
        let tcp = TcpHeader {
            offset: self.at as u16,
            len: len as u8,
            // In range: the slice has at least the 20 bytes of a header without options.
            flags: TcpFlags(bytes[13]),
            sequence: header.sequence_number(),
            acknowledgement: header.acknowledgment_number(),
            window: header.window_size(),
        };
        self.pass(LayerKind::Tcp, len)?;
        self.packet.transport = Transport::Tcp(tcp);
        Err(End::Transport)
    }

    fn udp(&mut self) -> Step {
        let &[s1, s2, d1, d2] = self.peek(Malformed::UdpHeader)?;
        self.set_flow(u16::from_be_bytes([s1, s2]), u16::from_be_bytes([d1, d2]));
        let header = UdpHeaderSlice::from_slice(self.rest())
            .map_err(|e| self.short(e.required_len, Malformed::UdpHeader))?;
        let (len, header_len) = (usize::from(header.length()), header.slice().len());
        let port = header.destination_port();
        // RFC 2675, section 4: in a jumbogram "a zero in the UDP Length field" means the IP payload's length.
        if len != 0 || !self.length_unknown {
            if len < header_len {
                return Err(End::Malformed(Malformed::UdpLength));
            }
            self.limit(len, Malformed::UdpLength)?;
        }
        self.pass(LayerKind::Udp, header_len)?;
        self.packet.transport = Transport::Udp;
        if is_vxlan_port(port) && self.wire_len() != 0 {
            return self.vxlan();
        }
        Err(End::Transport)
    }

    /// VXLAN (RFC 7348, section 5: "The I flag MUST be set to 1 for a valid VXLAN Network ID"). Without it the
    /// port is just a port.
    fn vxlan(&mut self) -> Step {
        if self.peek::<1>(Malformed::Vxlan)?[0] & VXLAN_I == 0 {
            return Err(End::Transport);
        }
        self.peek::<8>(Malformed::Vxlan)?;
        self.pass(LayerKind::Vxlan, 8)?;
        self.tunnel(Next::Ethernet)
    }

    /// GRE (RFC 2784, RFC 2890). Version 1 (PPTP) and source routes (RFC 1701) are not followed.
    fn gre(&mut self) -> Step {
        let &[f1, f2, p1, p2] = self.peek(Malformed::Gre)?;
        let flags = u16::from_be_bytes([f1, f2]);
        self.set_flow(0, 0);
        if flags & (GRE_ROUTING | GRE_VERSION) != 0 {
            return Err(End::Unknown);
        }
        let optional = [GRE_CHECKSUM, GRE_KEY, GRE_SEQUENCE].iter().filter(|&bit| flags & bit != 0).count();
        let len = 4 + 4 * optional;
        if self.rest().len() < len {
            return Err(self.short(len, Malformed::Gre));
        }
        self.pass(LayerKind::Gre, len)?;
        match EtherType(u16::from_be_bytes([p1, p2])) {
            ether_type if ether_type.0 < MIN_ETHER_TYPE => Err(End::Unknown),
            ether_type => self.tunnel(Next::EtherType(ether_type)),
        }
    }

    /// Enters a tunnel. What was read so far stays the result until an inner IP header replaces it.
    fn tunnel(&mut self, inner: Next) -> Step {
        if usize::from(self.packet.tunnels) == bounds::TUNNELS {
            return Err(End::Malformed(Malformed::TunnelDepth));
        }
        self.packet.tunnels += 1;
        self.vlan_tags = 0;
        Ok(inner)
    }

    fn icmp(&mut self, protocol: IpProtocol) -> Step {
        let &[kind, code, ..] = self.peek::<8>(Malformed::IcmpHeader)?;
        self.set_flow(0, 0);
        // The last four bytes belong to the message type, so only the common part is passed.
        if protocol == IpProtocol::ICMP {
            self.pass(LayerKind::Icmp, 4)?;
            self.packet.transport = Transport::Icmp { kind, code };
        } else {
            self.pass(LayerKind::Icmpv6, 4)?;
            self.packet.transport = Transport::Icmpv6 { kind, code };
        }
        Err(End::Transport)
    }

    /// A transport of which only the ports matter.
    fn ports(&mut self, kind: LayerKind) -> Step {
        let &[s1, s2, d1, d2] = self.peek(Malformed::TransportHeader)?;
        self.set_flow(u16::from_be_bytes([s1, s2]), u16::from_be_bytes([d1, d2]));
        self.note(kind)?;
        self.packet.transport = Transport::Ports;
        Err(End::Transport)
    }
}

/// Set when the VXLAN header carries a network identifier.
const VXLAN_I: u8 = 0x08;
const GRE_CHECKSUM: u16 = 0x8000;
const GRE_ROUTING: u16 = 0x4000;
const GRE_KEY: u16 = 0x2000;
const GRE_SEQUENCE: u16 = 0x1000;
const GRE_VERSION: u16 = 0x0007;
/// Smaller protocol types of GRE are not ethertypes.
const MIN_ETHER_TYPE: u16 = 0x0600;
