//! The twin of the fanout program: the same number, computed in user space.
//!
//! What is hashed and why is told in `program.rs`; this follows it load by load, since a load that fails decides
//! the result there. No bytes make it panic.

use std::net::IpAddr;

use gannet_packet::{Endpoint, EtherType, FlowKey, IpProtocol, PacketType, bounds, is_vxlan_port};

use super::program::{ABSORB_SHIFT, FACTOR, FINAL_SHIFT, FINALISER, TUNNELS};

/// The value of [`flow_program`](super::flow_program)`(seed)` for a packet.
///
/// `net` are the packet's bytes from its network header on, `protocol` and `packet_type` what the kernel has for
/// it; [`network_view`](super::network_view) finds the former two for a captured frame.
///
/// `None` when the program would load from behind `net`. If these are all the bytes of the packet, its value
/// then is 0; if the frame was cut, the value cannot be known.
pub fn flow_hash(net: &[u8], protocol: u16, packet_type: PacketType, seed: u32) -> Option<u32> {
    let mut walk = Walk {
        net,
        at: 0,
        source: 0,
        destination: 0,
        protocol: u32::from(protocol),
        ports: 0,
        tunnels: 0,
        seed,
    };
    let mut next = walk.start(EtherType(protocol), packet_type)?;
    loop {
        next = match next {
            Next::Ethernet => walk.ethernet()?,
            Next::Ipv4 => walk.ipv4()?,
            Next::Ipv6 => walk.ipv6()?,
            Next::Transport => walk.transport()?,
            Next::Finish => return Some(walk.finish()),
        }
    }
}

/// The value of [`flow_program`](super::flow_program)`(seed)` for the packets of a flow of a protocol with ports,
/// wherever the program reads them: bare, or in tunnels that it looks into.
#[inline]
pub fn key_hash(key: &FlowKey, seed: u32) -> u32 {
    let end = |Endpoint { address, port }: Endpoint| {
        let hash = match address {
            IpAddr::V4(v4) => absorb(seed, v4.to_bits()),
            IpAddr::V6(v6) => {
                let bits = v6.to_bits();
                [96, 64, 32, 0].into_iter().fold(seed, |hash, shift| absorb(hash, (bits >> shift) as u32))
            }
        };
        absorb(hash, u32::from(port))
    };
    combine(seed, u32::from(key.protocol().0), end(key.low()), end(key.high()))
}

/// The scratch words of the program.
struct Walk<'a> {
    net: &'a [u8],
    /// Where the header at hand starts.
    at: usize,
    source: u32,
    destination: u32,
    protocol: u32,
    ports: u32,
    tunnels: usize,
    seed: u32,
}

/// The labels of the program.
enum Next {
    Ethernet,
    Ipv4,
    Ipv6,
    Transport,
    Finish,
}

impl Walk<'_> {
    fn start(&mut self, protocol: EtherType, packet_type: PacketType) -> Option<Next> {
        if protocol.is_vlan()
            && packet_type == PacketType::Outgoing
            && let Some(at_ip) = self.outgoing_at_ip()?
        {
            return Some(at_ip);
        }
        self.ether_type(protocol)
    }

    /// For an outgoing packet with a tag in the frame: the IP header that the network header is at; `Some(None)`
    /// when it is at the tag.
    fn outgoing_at_ip(&self) -> Option<Option<Next>> {
        let ether_type = EtherType(self.half(2)?);
        let at_tag = match ether_type {
            EtherType::IPV4 => self.byte(4)? >> 4 == 4,
            EtherType::IPV6 => self.byte(4)? >> 4 == 6,
            tag if tag.is_vlan() => {
                let inner = EtherType(self.half(6)?);
                inner.is_vlan() || inner == EtherType::IPV4 || inner == EtherType::IPV6
            }
            _ => false,
        };
        if at_tag {
            return Some(None);
        }
        Some(match self.byte(0)? >> 4 {
            4 => Some(Next::Ipv4),
            6 => Some(Next::Ipv6),
            _ => None,
        })
    }

    fn ethernet(&mut self) -> Option<Next> {
        let ether_type = EtherType(self.half(12)?);
        self.at += 14;
        self.ether_type(ether_type)
    }

    fn ether_type(&mut self, mut ether_type: EtherType) -> Option<Next> {
        for _ in 0..bounds::VLAN_TAGS {
            if !ether_type.is_vlan() {
                break;
            }
            ether_type = EtherType(self.half(2)?);
            self.at += 4;
        }
        match ether_type {
            EtherType::IPV4 => Some(Next::Ipv4),
            EtherType::IPV6 => Some(Next::Ipv6),
            mpls if mpls.is_mpls() => self.mpls(),
            _ => Some(Next::Finish),
        }
    }

    fn mpls(&mut self) -> Option<Next> {
        for _ in 0..bounds::MPLS_LABELS {
            let label = self.word(0)?;
            self.at += 4;
            if label & 0x100 != 0 {
                return Some(match self.byte(0)? >> 4 {
                    4 => Next::Ipv4,
                    6 => Next::Ipv6,
                    _ => Next::Finish,
                });
            }
        }
        Some(Next::Finish)
    }

    fn ipv4(&mut self) -> Option<Next> {
        let first = self.byte(0)?;
        if !(0x45..=0x4f).contains(&first) {
            return Some(Next::Finish);
        }
        self.protocol = u32::from(self.byte(9)?);
        self.source = absorb(self.seed, self.word(12)?);
        self.destination = absorb(self.seed, self.word(16)?);
        if self.half(6)? & 0x3fff != 0 {
            return Some(Next::Finish);
        }
        self.at += usize::from(first & 0x0f) * 4;
        Some(Next::Transport)
    }

    fn ipv6(&mut self) -> Option<Next> {
        if self.byte(0)? >> 4 != 6 {
            return Some(Next::Finish);
        }
        self.protocol = u32::from(self.byte(6)?);
        self.source = self.ipv6_address(8)?;
        self.destination = self.ipv6_address(24)?;
        self.at += 40;
        for _ in 0..bounds::IPV6_EXTENSIONS {
            match IpProtocol(self.protocol as u8) {
                IpProtocol::HOP_BY_HOP | IpProtocol::ROUTING | IpProtocol::DESTINATION_OPTIONS => {
                    self.protocol = u32::from(self.byte(0)?);
                    self.at += (usize::from(self.byte(1)?) + 1) * 8;
                }
                IpProtocol::AUTHENTICATION => {
                    self.protocol = u32::from(self.byte(0)?);
                    self.at += (usize::from(self.byte(1)?) + 2) * 4;
                }
                IpProtocol::FRAGMENT => {
                    self.protocol = u32::from(self.byte(0)?);
                    if self.half(2)? & 0xfff9 != 0 {
                        return Some(Next::Finish);
                    }
                    self.at += 8;
                }
                _ => break,
            }
        }
        Some(Next::Transport)
    }

    fn ipv6_address(&self, offset: usize) -> Option<u32> {
        (0..4).try_fold(self.seed, |hash, word| Some(absorb(hash, self.word(offset + 4 * word)?)))
    }

    fn transport(&mut self) -> Option<Next> {
        match IpProtocol(self.protocol as u8) {
            IpProtocol::UDP => {
                let ports = self.word(0)?;
                if is_vxlan_port(ports as u16) && self.byte(8)? & 0x0c == 0x08 {
                    self.at += 16;
                    return Some(self.enter(Next::Ethernet));
                }
                self.ports = ports;
                Some(Next::Finish)
            }
            IpProtocol::GRE => self.gre(),
            IpProtocol::IPV4 => Some(self.enter(Next::Ipv4)),
            IpProtocol::IPV6 => Some(self.enter(Next::Ipv6)),
            protocol => {
                if protocol.has_ports() {
                    self.ports = self.word(0)?;
                }
                Some(Next::Finish)
            }
        }
    }

    fn gre(&mut self) -> Option<Next> {
        let flags = self.half(0)?;
        if flags & 0x4007 != 0 {
            return Some(Next::Finish);
        }
        let ether_type = EtherType(self.half(2)?);
        // Checksum, key and sequence number.
        self.at += 4 + 4 * (flags & 0xb000).count_ones() as usize;
        Some(match ether_type {
            EtherType::IPV4 => self.enter(Next::Ipv4),
            EtherType::IPV6 => self.enter(Next::Ipv6),
            EtherType::ETHERNET => self.enter(Next::Ethernet),
            _ => Next::Finish,
        })
    }

    /// Goes into a tunnel, unless it is too deep.
    fn enter(&mut self, inner: Next) -> Next {
        if self.tunnels == TUNNELS {
            return Next::Finish;
        }
        self.tunnels += 1;
        inner
    }

    fn finish(&self) -> u32 {
        let source = absorb(self.source, self.ports >> 16);
        let destination = absorb(self.destination, self.ports & 0xffff);
        combine(self.seed, self.protocol, source, destination)
    }

    #[inline]
    fn bytes<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.net.get(self.at + offset..)?.first_chunk().copied()
    }

    #[inline]
    fn byte(&self, offset: usize) -> Option<u8> {
        self.bytes(offset).map(|[byte]| byte)
    }

    #[inline]
    fn half(&self, offset: usize) -> Option<u16> {
        self.bytes(offset).map(u16::from_be_bytes)
    }

    #[inline]
    fn word(&self, offset: usize) -> Option<u32> {
        self.bytes(offset).map(u32::from_be_bytes)
    }
}

/// One number of the hashes of both ends, whichever is which.
#[inline]
fn combine(seed: u32, protocol: u32, source: u32, destination: u32) -> u32 {
    let hash = absorb(seed ^ protocol, source.wrapping_add(destination));
    let mut hash = absorb(hash, source ^ destination);
    for (shift, factor) in FINALISER {
        hash = (hash ^ hash >> shift).wrapping_mul(factor);
    }
    hash ^ hash >> FINAL_SHIFT
}

/// Takes a word into a hash; for a given hash no two words give the same.
#[inline]
fn absorb(hash: u32, word: u32) -> u32 {
    let product = (hash ^ word).wrapping_mul(FACTOR);
    product ^ product >> ABSORB_SHIFT
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn absorbing_loses_nothing() {
        let values: HashSet<u32> =
            (0..100_000).map(|word| absorb(0x1234_5678, word << 12 | word >> 8)).collect();
        assert_eq!(values.len(), 100_000);
    }

    #[test]
    fn short_packets_have_no_value() {
        let mut packet = vec![0x45, 0, 0, 24, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 1, 2];
        let hash = |net: &[u8]| flow_hash(net, 0x0800, PacketType::Host, 1);
        assert!(hash(&packet).is_some());
        for len in 0..packet.len() {
            assert_eq!(hash(&packet[..len]), None, "{len} bytes");
        }
        // Not an IP header: the ethertype decides, and one byte was enough to see it.
        packet[0] = 0x44;
        assert_eq!(hash(&packet[..1]), hash(&packet));
        assert!(hash(&packet[..1]).is_some());
    }
}
