//! ICMP errors: whose segment they are about.

use gannet_packet::{Endpoint, FlowKey, IpProtocol, Side};
use std::net::{Ipv4Addr, Ipv6Addr};

/// What an ICMP error says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IcmpError {
    /// Of ICMPv6; its types are numbered otherwise.
    pub v6: bool,
    /// Its type: unreachable, time exceeded ...
    pub kind: u8,
    /// Its code.
    pub code: u8,
}

/// The TCP segment that an ICMP error quotes, as far as every error does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotedSegment {
    /// The flow it belongs to.
    pub key: FlowKey,
    /// The end that sent it.
    pub side: Side,
    /// Its sequence number.
    pub sequence: u32,
}

impl IcmpError {
    /// The error in an ICMP message, which starts with its type, and the segment it quotes. `None` if it is no error,
    /// or not about a TCP segment.
    pub fn decode(message: &[u8], v6: bool) -> Option<(Self, QuotedSegment)> {
        let &[kind, code, ..] = message else { return None };
        let errors: &[u8] = if v6 { &ERRORS_V6 } else { &ERRORS_V4 };
        let error = Self { v6, kind, code };
        errors.contains(&kind).then_some(())?;
        // "Internet Header + 64 bits of Original Data Datagram" (RFC 792); ICMPv6 quotes as much as there is room for.
        Some((error, QuotedSegment::decode(message.get(HEADER_LEN..)?)?))
    }
}

impl QuotedSegment {
    /// The segment at the start of `quoted`, which begins with its IP header and may be cut behind eight bytes of TCP.
    pub fn decode(quoted: &[u8]) -> Option<Self> {
        match quoted.first()? >> 4 {
            4 => Self::v4(quoted),
            6 => Self::v6(quoted),
            _ => None,
        }
    }

    fn v4(quoted: &[u8]) -> Option<Self> {
        let header: &[u8; 20] = quoted.first_chunk()?;
        let len = usize::from(header[0] & 0xf) * 4;
        let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
        if len < header.len() || header[9] != IpProtocol::TCP.0 || fragment != 0 {
            return None;
        }
        let address =
            |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]).into();
        Self::tcp(address(12), address(16), quoted.get(len..)?)
    }

    fn v6(quoted: &[u8]) -> Option<Self> {
        let header: &[u8; 40] = quoted.first_chunk()?;
        let address = |at: usize| -> Option<Ipv6Addr> {
            let octets: [u8; 16] = header.get(at..at + 16)?.try_into().ok()?;
            Some(octets.into())
        };
        let (source, destination) = (address(8)?, address(24)?);
        let mut next = header[6];
        let mut rest = quoted.get(header.len()..)?;
        for _ in 0..gannet_packet::bounds::IPV6_EXTENSIONS {
            let len = match next {
                // Hop-by-hop and destination options, routing: "in 8-octet units, not including the first 8 octets".
                0 | 43 | 60 => (usize::from(*rest.get(1)?) + 1) * 8,
                // A fragment that is not the first has no ports.
                44 if u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]) >> 3 == 0 => 8,
                _ => break,
            };
            next = *rest.first()?;
            rest = rest.get(len..)?;
        }
        (next == IpProtocol::TCP.0).then(|| Self::tcp(source.into(), destination.into(), rest))?
    }

    fn tcp(source: std::net::IpAddr, destination: std::net::IpAddr, tcp: &[u8]) -> Option<Self> {
        let &[a, b, c, d, sequence @ ..] = tcp.first_chunk::<8>()?;
        let from = Endpoint { address: source, port: u16::from_be_bytes([a, b]) };
        let to = Endpoint { address: destination, port: u16::from_be_bytes([c, d]) };
        let (key, side) = FlowKey::new(from, to, IpProtocol::TCP);
        Some(Self { key, side, sequence: u32::from_be_bytes(sequence) })
    }
}

/// Unreachable, source quench, redirect, time exceeded, parameter problem.
const ERRORS_V4: [u8; 5] = [3, 4, 5, 11, 12];
/// Unreachable, packet too big, time exceeded, parameter problem.
const ERRORS_V6: [u8; 4] = [1, 2, 3, 4];
/// Type, code, checksum, and four bytes by type.
const HEADER_LEN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// Port unreachable about a segment from 10.0.0.2:80 to 10.0.0.1:40000.
    fn unreachable_v4() -> Vec<u8> {
        let mut message = vec![3, 3, 0, 0, 0, 0, 0, 0];
        message.extend([0x45, 0, 0, 60, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1]);
        message.extend([0, 80, 0x9c, 0x40, 1, 2, 3, 4]);
        message
    }

    #[test]
    fn what_is_quoted_is_found() {
        let message = unreachable_v4();
        let (error, quoted) = IcmpError::decode(&message, false).unwrap();
        assert_eq!(error, IcmpError { v6: false, kind: 3, code: 3 });
        assert_eq!((quoted.key.low().port, quoted.key.high().port), (40_000, 80));
        assert_eq!((quoted.side, quoted.sequence), (Side::High, 0x0102_0304));
        for len in 0..message.len() {
            assert_eq!(IcmpError::decode(&message[..len], false), None, "cut at {len}");
        }
        for (at, value) in [(0, 8), (8, 0x44), (8, 0x75), (14, 0x20 | 1), (17, 17)] {
            let mut other = message.clone();
            other[at] = value;
            assert_eq!(IcmpError::decode(&other, false), None, "byte {at}");
        }
    }

    #[test]
    fn extension_headers_are_stepped_over() {
        let mut message = vec![3, 0, 0, 0, 0, 0, 0, 0];
        let mut header = [0; 40];
        (header[0], header[6], header[23], header[39]) = (0x60, 60, 1, 2);
        message.extend(header);
        message.extend([44, 1]);
        message.extend([0; 14]);
        message.extend([6, 0, 0, 1, 0, 0, 0, 9]);
        message.extend([0, 80, 0x9c, 0x40, 0, 0, 0, 5]);
        let (error, quoted) = IcmpError::decode(&message, true).unwrap();
        assert_eq!((error.kind, quoted.side, quoted.sequence), (3, Side::Low, 5));
        for len in 0..message.len() {
            assert_eq!(IcmpError::decode(&message[..len], true), None, "cut at {len}");
        }
        message[8 + 40 + 16 + 3] = 8;
        assert_eq!(IcmpError::decode(&message, true), None, "a later fragment");
    }
}
