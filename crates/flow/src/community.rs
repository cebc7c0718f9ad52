//! The community id, version 1: what Zeek, Suricata and Arkime call a flow alike.
//!
//! `"1:" + base64(SHA-1(seed, source address, destination address, protocol, 0, source port, destination port))`, all
//! in network byte order; source and destination are exchanged if the source is the greater, by address and then by
//! port. ICMP has no ports: type and code take their place, or the type of the answer where there is one
//! (<https://github.com/corelight/community-id-spec>).

use std::net::IpAddr;

use data_encoding::BASE64;
use gannet_packet::{FlowKey, IpProtocol};
use sha1::{Digest, Sha1};

/// The community id of a flow with ports, or without: both 0 in the key of a protocol that has none.
///
/// `seed` is 0 unless all who join by it have agreed on another.
pub fn community_id(key: &FlowKey, seed: u16) -> String {
    let (low, high) = (key.low(), key.high());
    // Endpoints are in just that order: addresses of one family by their bits, then ports.
    let protocol = key.protocol();
    let ports = has_ports(protocol).then_some([low.port, high.port]);
    digest(seed, low.address, high.address, protocol, ports)
}

/// The community id of an ICMP message (of either version) from `source` to `destination`.
///
/// Requests and their answers have one id. What has no answer is put into no order: it is a flow of one direction.
pub fn community_id_icmp(
    source: IpAddr,
    destination: IpAddr,
    protocol: IpProtocol,
    kind: u8,
    code: u8,
    seed: u16,
) -> String {
    let answer = answer_of(protocol, kind);
    let from = (source, u16::from(kind));
    let to = (destination, u16::from(answer.unwrap_or(code)));
    let (from, to) = if answer.is_some() && to < from { (to, from) } else { (from, to) };
    digest(seed, from.0, to.0, protocol, Some([from.1, to.1]))
}

/// The type of the ICMP messages that answer those of type `kind`, or that those answer.
pub(crate) fn answer_of(protocol: IpProtocol, kind: u8) -> Option<u8> {
    let pairs: &[(u8, u8)] = match protocol {
        IpProtocol::ICMPV6 => &ANSWERS_V6,
        _ => &ANSWERS_V4,
    };
    pairs.iter().find_map(|&(one, other)| match kind {
        kind if kind == one => Some(other),
        kind if kind == other => Some(one),
        _ => None,
    })
}

fn digest(seed: u16, from: IpAddr, to: IpAddr, protocol: IpProtocol, ports: Option<[u16; 2]>) -> String {
    let mut sha = Sha1::new();
    sha.update(seed.to_be_bytes());
    for address in [from, to] {
        match address {
            IpAddr::V4(v4) => sha.update(v4.octets()),
            IpAddr::V6(v6) => sha.update(v6.octets()),
        }
    }
    sha.update([protocol.0, 0]);
    for port in ports.into_iter().flatten() {
        sha.update(port.to_be_bytes());
    }
    format!("1:{}", BASE64.encode(&sha.finalize()))
}

fn has_ports(protocol: IpProtocol) -> bool {
    matches!(protocol, IpProtocol::TCP | IpProtocol::UDP | IpProtocol::SCTP)
}

/// Types that answer each other: echo, timestamp, information, router solicitation, address mask.
const ANSWERS_V4: [(u8, u8); 5] = [(8, 0), (13, 14), (15, 16), (10, 9), (17, 18)];
/// Echo, router and neighbour solicitation, multicast listener query, node information, home agent discovery.
const ANSWERS_V6: [(u8, u8); 6] = [(128, 129), (133, 134), (135, 136), (130, 131), (139, 140), (144, 145)];

#[cfg(test)]
mod tests {
    use gannet_packet::Endpoint;

    use super::*;

    fn id(source: (&str, u16), destination: (&str, u16), protocol: IpProtocol) -> String {
        let end = |(address, port): (&str, u16)| Endpoint { address: address.parse().unwrap(), port };
        let forth = community_id(&FlowKey::new(end(source), end(destination), protocol).0, 0);
        let back = community_id(&FlowKey::new(end(destination), end(source), protocol).0, 0);
        assert_eq!(forth, back);
        forth
    }

    #[test]
    fn ids_are_the_published_ones() {
        assert_eq!(
            id(("128.232.110.120", 34_855), ("66.35.250.204", 80), IpProtocol::TCP),
            "1:LQU9qZlK+B5F3KDmev6m5PMibrg="
        );
        assert_eq!(
            id(("192.168.1.52", 54_585), ("8.8.8.8", 53), IpProtocol::UDP),
            "1:d/FP5EW3wiY1vCndhwleRRKHowQ="
        );
        assert_eq!(
            id(("192.168.170.8", 7), ("192.168.170.56", 80), IpProtocol::SCTP),
            "1:jQgCxbku+pNGw8WPbEc/TS/uTpQ="
        );
        assert_eq!(
            id(
                ("2001:470:e5bf:dead:4957:2174:e82c:4887", 63_943),
                ("2607:f8b0:400c:c03::1a", 25),
                IpProtocol::TCP
            ),
            "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4="
        );
    }

    #[test]
    fn icmp_ids_are_the_published_ones() {
        let id = |source: &str, destination: &str, protocol, kind, code| {
            community_id_icmp(source.parse().unwrap(), destination.parse().unwrap(), protocol, kind, code, 0)
        };
        let icmp = |source, destination, kind, code| id(source, destination, IpProtocol::ICMP, kind, code);
        assert_eq!(icmp("192.168.0.89", "192.168.0.1", 8, 0), "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=");
        assert_eq!(icmp("192.168.0.1", "192.168.0.89", 0, 0), "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=");
        assert_eq!(icmp("192.168.0.89", "192.168.0.1", 20, 0), "1:3o2RFccXzUgjl7zDpqmY7yJi8rI=");
        let v6 = |source, destination, kind| id(source, destination, IpProtocol::ICMPV6, kind, 0);
        assert_eq!(
            v6("fe80::200:86ff:fe05:80da", "fe80::260:97ff:fe07:69ea", 135),
            "1:dGHyGvjMfljg6Bppwm3bg0LO8TY="
        );
        assert_eq!(
            v6("fe80::260:97ff:fe07:69ea", "fe80::200:86ff:fe05:80da", 136),
            "1:dGHyGvjMfljg6Bppwm3bg0LO8TY="
        );
    }
}
