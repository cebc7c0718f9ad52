//! The flow key: the same for both directions of a conversation.

use std::net::IpAddr;

use crate::IpProtocol;

/// One end of a conversation. Ports are 0 where the protocol has none and for IP fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
}

/// The canonical 5-tuple.
///
/// Invariant: `low <= high`, so both directions of a flow have one key. Which end opened the flow is for the
/// flow table to say; a single packet only tells which [`Side`] sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    low: Endpoint,
    high: Endpoint,
    protocol: IpProtocol,
}

/// The end of a [`FlowKey`] that sent a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The lower endpoint; also when both are equal.
    Low,
    /// The higher endpoint.
    High,
}

impl FlowKey {
    /// The key of a packet from `source` to `destination`, and which of its ends sent the packet.
    #[inline]
    pub fn new(source: Endpoint, destination: Endpoint, protocol: IpProtocol) -> (Self, Side) {
        if source <= destination {
            (Self { low: source, high: destination, protocol }, Side::Low)
        } else {
            (Self { low: destination, high: source, protocol }, Side::High)
        }
    }

    /// The lower endpoint.
    #[inline]
    pub fn low(&self) -> Endpoint {
        self.low
    }

    /// The higher endpoint.
    #[inline]
    pub fn high(&self) -> Endpoint {
        self.high
    }

    /// The transport protocol.
    #[inline]
    pub fn protocol(&self) -> IpProtocol {
        self.protocol
    }

    /// The endpoint on `side`.
    #[inline]
    pub fn endpoint(&self, side: Side) -> Endpoint {
        match side {
            Side::Low => self.low,
            Side::High => self.high,
        }
    }

    /// A hash for tables in this process, all bits usable. Direction-free because the key is.
    ///
    /// Keys are chosen by whoever sends packets: `seed` must be random per process, else collisions can be made
    /// at will. This is not the hash that spreads flows over workers; that one is the fanout program's.
    #[inline]
    pub fn hash(&self, seed: u64) -> u64 {
        let ports =
            u64::from(self.low.port) << 32 | u64::from(self.high.port) << 8 | u64::from(self.protocol.0);
        let addresses = match (self.low.address, self.high.address) {
            (IpAddr::V4(low), IpAddr::V4(high)) => {
                fold(seed ^ u64::from(low.to_bits()), K0 ^ u64::from(high.to_bits()))
            }
            (low, high) => {
                let (l1, l0) = halves(low);
                let (h1, h0) = halves(high);
                fold(fold(seed ^ l1, K0 ^ l0) ^ h1, K1 ^ h0)
            }
        };
        fold(addresses ^ ports, K2)
    }
}

impl Side {
    /// The other end.
    #[inline]
    pub fn opposite(self) -> Self {
        match self {
            Self::Low => Self::High,
            Self::High => Self::Low,
        }
    }
}

fn halves(address: IpAddr) -> (u64, u64) {
    let bits = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    ((bits >> 64) as u64, bits as u64)
}

/// Both halves of the product: every bit of either operand reaches every bit of the result.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

// The first binary digits of the fractions of pi, as used wherever numbers with nothing up their sleeve are
// wanted. Operands of a product must not be 0, and these are not near any usual key.
const K0: u64 = 0x243f_6a88_85a3_08d3;
const K1: u64 = 0x1319_8a2e_0370_7344;
const K2: u64 = 0xa409_3822_299f_31d0;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn v4(host: u32, port: u16) -> Endpoint {
        Endpoint { address: Ipv4Addr::from_bits(0x0a00_0000 | host).into(), port }
    }

    fn any_endpoint() -> impl Strategy<Value = Endpoint> {
        let address = prop_oneof![
            any::<u32>().prop_map(|bits| IpAddr::from(Ipv4Addr::from_bits(bits))),
            any::<u128>().prop_map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits))),
        ];
        (address, any::<u16>()).prop_map(|(address, port)| Endpoint { address, port })
    }

    proptest! {
        #[test]
        fn both_directions_are_one_flow(a in any_endpoint(), b in any_endpoint(), protocol: u8, seed: u64) {
            let (forth, from_a) = FlowKey::new(a, b, IpProtocol(protocol));
            let (back, from_b) = FlowKey::new(b, a, IpProtocol(protocol));
            prop_assert_eq!(forth, back);
            prop_assert_eq!(forth.hash(seed), back.hash(seed));
            prop_assert_eq!(forth.endpoint(from_a), a);
            prop_assert_eq!(forth.endpoint(from_b), b);
            prop_assert!(a == b || from_a == from_b.opposite());
        }
    }

    #[test]
    fn neighbours_do_not_collide() {
        let mut keys = HashSet::new();
        let mut hashes = HashSet::new();
        let mut buckets = [0_u32; 64];
        for host in 1..64 {
            for port in 1..64 {
                for protocol in [IpProtocol::TCP, IpProtocol::UDP] {
                    let (key, _) = FlowKey::new(v4(host, 40_000 + port), v4(200, 80), protocol);
                    keys.insert(key);
                    let hash = key.hash(0x1234_5678_9abc_def0);
                    hashes.insert(hash);
                    buckets[(hash >> 58) as usize] += 1;
                }
            }
        }
        assert_eq!(keys.len(), 63 * 63 * 2);
        assert_eq!(hashes.len(), keys.len());
        let mean = keys.len() as u32 / 64;
        assert!(buckets.iter().all(|&n| n > mean / 2 && n < mean * 2), "{buckets:?}");
    }

    #[test]
    fn mapped_addresses_are_another_flow() {
        let (key4, _) = FlowKey::new(v4(1, 1), v4(2, 2), IpProtocol::TCP);
        let mapped = |host| match v4(host, 0).address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
            v6 => v6,
        };
        let (key6, _) = FlowKey::new(
            Endpoint { address: mapped(1), port: 1 },
            Endpoint { address: mapped(2), port: 2 },
            IpProtocol::TCP,
        );
        assert_ne!(key4, key6);
        assert_ne!(key4.hash(1), key6.hash(1));
    }
}
