//! IPv4, IPv6 and what lies between them and the transport.

use std::net::IpAddr;

use etherparse::err::{ip_auth, ipv4, ipv6};
use etherparse::{
    IpAuthHeaderSlice, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice, Ipv6RawExtHeaderSlice,
};

use super::{Decoder, Next, Step};
use crate::packet::{End, Fragment, Ip, LayerKind, Malformed, Transport};
use crate::{Endpoint, FlowKey, IpProtocol, bounds};

impl Decoder<'_> {
    /// Raw IP: the version tells.
    pub(super) fn ip(&mut self) -> Step {
        match self.peek::<1>(Malformed::LinkHeader)?[0] >> 4 {
            4 => Ok(Next::Ipv4),
            6 => Ok(Next::Ipv6),
            _ => Err(End::Malformed(Malformed::IpVersion)),
        }
    }

    pub(super) fn ipv4(&mut self) -> Step {
        let header = Ipv4HeaderSlice::from_slice(self.rest()).map_err(|error| match error {
            ipv4::HeaderSliceError::Len(e) => self.short(e.required_len, Malformed::Ipv4Header),
            ipv4::HeaderSliceError::Content(ipv4::HeaderError::UnexpectedVersion { .. }) => {
                End::Malformed(Malformed::IpVersion)
            }
            ipv4::HeaderSliceError::Content(_) => End::Malformed(Malformed::Ipv4Header),
        })?;
        let header_len = header.slice().len();
        let total_len = usize::from(header.total_len());
        self.length_unknown = total_len == 0;
        if total_len != 0 {
            if total_len < header_len {
                return Err(End::Malformed(Malformed::Ipv4Length));
            }
            self.limit_ip(total_len, Malformed::Ipv4Length)?;
        }
        let protocol = IpProtocol(header.protocol().0);
        let fragment = header.is_fragmenting_payload().then(|| Fragment {
            id: u32::from(header.identification()),
            offset: u32::from(header.fragments_offset().value()) * FRAGMENT_UNIT,
            more: header.more_fragments(),
        });
        self.enter_ip(
            LayerKind::Ipv4,
            header_len,
            (header.source_addr().into(), header.destination_addr().into()),
            protocol,
        )?;
        if fragment.is_some() {
            return Err(self.fragment(fragment));
        }
        Ok(Next::Protocol(protocol))
    }

    pub(super) fn ipv6(&mut self) -> Step {
        let header = Ipv6HeaderSlice::from_slice(self.rest()).map_err(|error| match error {
            ipv6::HeaderSliceError::Len(e) => self.short(e.required_len, Malformed::Ipv6Header),
            ipv6::HeaderSliceError::Content(_) => End::Malformed(Malformed::IpVersion),
        })?;
        let header_len = header.slice().len();
        let payload_len = usize::from(header.payload_length());
        // 0 is also what RFC 2675 puts into jumbograms.
        self.length_unknown = payload_len == 0;
        if payload_len != 0 {
            self.limit_ip(header_len + payload_len, Malformed::Ipv6Length)?;
        }
        let protocol = IpProtocol(header.next_header().0);
        self.enter_ip(
            LayerKind::Ipv6,
            header_len,
            (header.source_addr().into(), header.destination_addr().into()),
            protocol,
        )?;
        Ok(Next::Protocol(protocol))
    }

    /// Makes the IP header at hand the innermost one and passes it.
    fn enter_ip(
        &mut self,
        kind: LayerKind,
        header_len: usize,
        addresses: (IpAddr, IpAddr),
        protocol: IpProtocol,
    ) -> Result<(), End> {
        let offset = self.at;
        self.pass(kind, header_len)?;
        self.packet.ip = Some(Ip {
            // `pass` has seen that the header starts within 16 bits; where the payload starts may be beyond.
            offset: offset as u16,
            payload_offset: self.header_offset()?,
            protocol,
            fragment: None,
        });
        self.packet.transport = Transport::None;
        self.packet.flow = None;
        self.packet.tunnel = self.entered;
        self.mirrored = false;
        self.addresses = Some(addresses);
        self.extensions = 0;
        self.vlan_tags = 0;
        Ok(())
    }

    /// An IPv6 extension header, or AH behind either version. RFC 8200, section 4: all of these but the fragment
    /// header "are processed in the order they appear".
    pub(super) fn extension(&mut self, protocol: IpProtocol) -> Step {
        if self.extensions == bounds::IPV6_EXTENSIONS {
            return Err(End::Malformed(Malformed::ExtensionDepth));
        }
        self.extensions += 1;
        let rest = self.rest();
        let (kind, len, next, fragment) = match protocol {
            IpProtocol::FRAGMENT => {
                let header = Ipv6FragmentHeaderSlice::from_slice(rest)
                    .map_err(|e| self.short(e.required_len, Malformed::Extension))?;
                let fragment = header.is_fragmenting_payload().then(|| Fragment {
                    id: header.identification(),
                    offset: u32::from(header.fragment_offset().value()) * FRAGMENT_UNIT,
                    more: header.more_fragments(),
                });
                (LayerKind::FragmentHeader, header.slice().len(), header.next_header(), fragment)
            }
            IpProtocol::AUTHENTICATION => {
                let header = IpAuthHeaderSlice::from_slice(rest).map_err(|error| match error {
                    ip_auth::HeaderSliceError::Len(e) => self.short(e.required_len, Malformed::Extension),
                    ip_auth::HeaderSliceError::Content(_) => End::Malformed(Malformed::Extension),
                })?;
                (LayerKind::Authentication, header.slice().len(), header.next_header(), None)
            }
            options => {
                let header = Ipv6RawExtHeaderSlice::from_slice(rest)
                    .map_err(|e| self.short(e.required_len, Malformed::Extension))?;
                let kind = match options {
                    IpProtocol::HOP_BY_HOP => LayerKind::HopByHop,
                    IpProtocol::ROUTING => LayerKind::Routing,
                    _ => LayerKind::DestinationOptions,
                };
                (kind, header.slice().len(), header.next_header(), None)
            }
        };
        self.pass(kind, len)?;
        let next = IpProtocol(next.0);
        let payload_offset = self.header_offset()?;
        if let Some(ip) = &mut self.packet.ip {
            ip.payload_offset = payload_offset;
            ip.protocol = next;
        }
        if fragment.is_some() {
            return Err(self.fragment(fragment));
        }
        Ok(Next::Protocol(next))
    }

    /// Ends at a fragment: only the whole datagram has a transport header to be trusted.
    fn fragment(&mut self, fragment: Option<Fragment>) -> End {
        if let Some(ip) = &mut self.packet.ip {
            ip.fragment = fragment;
        }
        self.set_flow(0, 0);
        End::Fragment
    }

    /// Makes the flow key from the innermost addresses and these ports.
    pub(super) fn set_flow(&mut self, source_port: u16, destination_port: u16) {
        if let (Some((source, destination)), Some(ip)) = (self.addresses, self.packet.ip) {
            self.packet.flow = Some(FlowKey::new(
                Endpoint { address: source, port: source_port },
                Endpoint { address: destination, port: destination_port },
                ip.protocol,
            ));
        }
    }

    fn header_offset(&self) -> Result<u16, End> {
        u16::try_from(self.at).map_err(|_| End::Malformed(Malformed::LayerDepth))
    }
}

/// Fragment offsets count in units of 8 bytes.
const FRAGMENT_UNIT: u32 = 8;
