//! Transport headers.

use etherparse::{TcpHeaderSlice, UdpHeaderSlice, err::tcp};

use super::{Decoder, Step};
use crate::IpProtocol;
use crate::packet::{End, LayerKind, Malformed, TcpFlags, TcpHeader, Transport};

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
            IpProtocol::IPV4 | IpProtocol::IPV6 => self.ip_in_ip(protocol),
            IpProtocol::ETHERIP => self.ether_ip(),
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
    pub(super) fn is_ipv6(&self) -> bool {
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
        // RFC 2675, section 4: in a jumbogram "a zero in the UDP Length field" means the IP payload's length. Where
        // offloading has made a tunnel's super-frame of more than 64 KiB, the field has the length's lower 16 bits.
        let len_fits = len != 0 && self.wire_len() <= usize::from(u16::MAX);
        if len_fits || !self.length_unknown {
            if len < header_len {
                return Err(End::Malformed(Malformed::UdpLength));
            }
            self.limit(len, Malformed::UdpLength)?;
        }
        self.pass(LayerKind::Udp, header_len)?;
        self.packet.transport = Transport::Udp;
        match self.decap.of_port(port) {
            Some(kind) if self.wire_len() != 0 => self.udp_tunnel(kind),
            _ => Err(End::Transport),
        }
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
