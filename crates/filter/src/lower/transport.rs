//! Ports.
//!
//! In IPv4 the first fragment only has them, and the header before them is as long as it says. In IPv6 they are
//! looked for right behind the fixed header, as libpcap does: extension headers hide them.

use super::headers::At;
use super::predicate::Predicate;
use super::{Lowering, ethertype, ip};
use crate::bpf::Width::{Byte, Half};
use crate::error::Error;
use crate::ir::Comparison;
use crate::lower::predicate::constant;
use crate::tree::{Direction, Ports, Transport};

impl Lowering<'_> {
    /// `port` and `portrange`: IPv6 is asked first.
    pub(super) fn port(
        &mut self,
        transport: Option<Transport>,
        direction: Direction,
        ports: Ports,
    ) -> Result<Predicate, Error> {
        let v6 = self.port_in(IpVersion::V6, transport, direction, ports)?;
        let v4 = self.port_in(IpVersion::V4, transport, direction, ports)?;
        Ok(self.graph.or(v6, v4))
    }

    /// The same in one version of IP.
    pub(super) fn port_in(
        &mut self,
        version: IpVersion,
        transport: Option<Transport>,
        direction: Direction,
        ports: Ports,
    ) -> Result<Predicate, Error> {
        let is_ip = self.link_protocol(version.ethertype())?;
        let any = match transport {
            Some(Transport::Tcp) => self.port_of(version, ip::TCP, direction, ports)?,
            Some(Transport::Udp) => self.port_of(version, ip::UDP, direction, ports)?,
            Some(Transport::Sctp) => self.port_of(version, ip::SCTP, direction, ports)?,
            None => {
                let sctp = self.port_of(version, ip::SCTP, direction, ports)?;
                let tcp = self.port_of(version, ip::TCP, direction, ports)?;
                let udp = self.port_of(version, ip::UDP, direction, ports)?;
                let any = self.graph.or(sctp, tcp);
                self.graph.or(any, udp)
            }
        };
        Ok(self.graph.and(is_ip, any))
    }

    fn port_of(
        &mut self,
        version: IpVersion,
        protocol: u32,
        direction: Direction,
        ports: Ports,
    ) -> Result<Predicate, Error> {
        let has_ports = match version {
            IpVersion::V4 => {
                let is_protocol =
                    self.compare(At::Network(ip::V4_PROTOCOL), Byte, Comparison::Equal, protocol);
                let first = self.first_fragment();
                self.graph.and(is_protocol, first)
            }
            IpVersion::V6 => self.compare(At::Network(ip::V6_NEXT), Byte, Comparison::Equal, protocol),
        };
        let matches = self.at_ends(direction, 0, 2, |lowering, offset| {
            let at = version.transport(offset);
            Ok(match ports {
                Ports::One(port) => lowering.compare(at, Half, Comparison::Equal, u32::from(port)),
                Ports::Range(low, high) => {
                    let (low, high) = (u32::from(low.min(high)), u32::from(low.max(high)));
                    let above = lowering.compare(at, Half, Comparison::GreaterOrEqual, low);
                    let below = lowering.compare(at, Half, Comparison::Greater, high).not();
                    lowering.graph.and(above, below)
                }
            })
        })?;
        Ok(self.graph.and(has_ports, matches))
    }

    /// Is this no fragment of IPv4, or the first one?
    pub(super) fn first_fragment(&mut self) -> Predicate {
        let statements = self.headers.load(At::Network(ip::V4_FRAGMENT), Half);
        self.graph.ask(statements, constant(Comparison::AnyBit, FRAGMENT_OFFSET)).not()
    }
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IpVersion {
    V4,
    V6,
}

impl IpVersion {
    fn ethertype(self) -> u32 {
        match self {
            Self::V4 => ethertype::IPV4,
            Self::V6 => ethertype::IPV6,
        }
    }

    /// An offset in the transport header.
    pub(super) fn transport(self, offset: u32) -> At {
        match self {
            Self::V4 => At::Transport4(offset),
            Self::V6 => At::Transport6(offset),
        }
    }
}

/// The fragment offset in the 16 bits that it shares with the flags.
const FRAGMENT_OFFSET: u32 = 0x1fff;
