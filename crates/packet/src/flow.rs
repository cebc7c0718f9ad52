//! The flow key: the same for both directions of a conversation.

use std::cmp::Ordering;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
///
/// Kept as integers: keys are made, compared and hashed for every packet, and an [`IpAddr`] wants its version looked
/// at each time. Equal keys have equal words, because what a version does not use is 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The upper halves of both IPv6 addresses, the lower one's first; 0 for IPv4.
    upper: [u64; 2],
    /// The lower halves, or the IPv4 addresses.
    lower: [u64; 2],
    ports: [u16; 2],
    /// The protocol and, in a bit for each end, that its address is of IPv6. One number, so that no byte of a key is
    /// padding: to leave that out, a copy would be made of odd pieces, which a processor is slow to read back.
    kind: u32,
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
    /// The last of its [`numbers`](Self::numbers) is below this if both addresses are of IPv4.
    pub const ALL_V4: u64 = 1 << (V6_BIT[0] + 32);

    /// The key of a packet from `source` to `destination`, and which of its ends sent the packet.
    #[inline]
    pub fn new(source: Endpoint, destination: Endpoint, protocol: IpProtocol) -> (Self, Side) {
        match (source.address, destination.address) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                Self::v4((from.to_bits(), source.port), (to.to_bits(), destination.port), protocol)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                Self::v6((from.to_bits(), source.port), (to.to_bits(), destination.port), protocol)
            }
            _ if source <= destination => (Self::ordered(source, destination, protocol), Side::Low),
            _ => (Self::ordered(destination, source, protocol), Side::High),
        }
    }

    /// The same for IPv4 addresses and ports: their order is that of numbers of 48 bits.
    #[inline]
    pub(crate) fn v4(source: (u32, u16), destination: (u32, u16), protocol: IpProtocol) -> (Self, Side) {
        let number = |(address, port): (u32, u16)| u64::from(address) << 16 | u64::from(port);
        let (from, to) = (number(source), number(destination));
        let (low, high) = (from.min(to), from.max(to));
        let key = Self {
            upper: [0; 2],
            lower: [low >> 16, high >> 16],
            ports: [low as u16, high as u16],
            kind: u32::from(protocol.0),
        };
        (key, if from <= to { Side::Low } else { Side::High })
    }

    /// The same for IPv6 addresses and ports.
    #[inline]
    pub(crate) fn v6(source: (u128, u16), destination: (u128, u16), protocol: IpProtocol) -> (Self, Side) {
        let from_low = source <= destination;
        let (low, high) = if from_low { (source, destination) } else { (destination, source) };
        let key = Self {
            upper: [low, high].map(|(address, _)| (address >> 64) as u64),
            lower: [low, high].map(|(address, _)| address as u64),
            ports: [low.1, high.1],
            kind: u32::from(protocol.0) | 1 << V6_BIT[0] | 1 << V6_BIT[1],
        };
        (key, if from_low { Side::Low } else { Side::High })
    }

    /// The same for addresses of two versions, which are in order.
    fn ordered(low: Endpoint, high: Endpoint, protocol: IpProtocol) -> Self {
        let (ends, addresses) = ([low, high], [halves(low.address), halves(high.address)]);
        Self {
            upper: addresses.map(|(upper, _)| upper),
            lower: addresses.map(|(_, lower)| lower),
            ports: ends.map(|end| end.port),
            kind: u32::from(protocol.0)
                | u32::from(low.address.is_ipv6()) << V6_BIT[0]
                | u32::from(high.address.is_ipv6()) << V6_BIT[1],
        }
    }

    /// The lower endpoint.
    #[inline]
    pub fn low(&self) -> Endpoint {
        self.endpoint(Side::Low)
    }

    /// The higher endpoint.
    #[inline]
    pub fn high(&self) -> Endpoint {
        self.endpoint(Side::High)
    }

    /// The transport protocol.
    #[inline]
    pub fn protocol(&self) -> IpProtocol {
        IpProtocol(self.kind as u8)
    }

    /// The key in numbers: the upper halves of the addresses, the lower ones (or the addresses of IPv4, of 32 bits),
    /// and all else, which is below [`FlowKey::ALL_V4`] if both addresses are of IPv4. Equal keys have equal numbers,
    /// others do not.
    #[inline]
    pub fn numbers(&self) -> ([u64; 2], [u64; 2], u64) {
        let ports = u64::from(self.ports[0]) << 16 | u64::from(self.ports[1]);
        (self.upper, self.lower, u64::from(self.kind) << 32 | ports)
    }

    /// The endpoint on `side`.
    #[inline]
    pub fn endpoint(&self, side: Side) -> Endpoint {
        let end = side as usize;
        let address = if self.kind >> V6_BIT[end] & 1 != 0 {
            let bits = u128::from(self.upper[end]) << 64 | u128::from(self.lower[end]);
            Ipv6Addr::from_bits(bits).into()
        } else {
            Ipv4Addr::from_bits(self.lower[end] as u32).into()
        };
        Endpoint { address, port: self.ports[end] }
    }

    /// A hash for tables in this process, all bits usable. Direction-free because the key is.
    ///
    /// Keys are chosen by whoever sends packets: `seed` must be random per process, else collisions can be made
    /// at will. This is not the hash that spreads flows over workers; that one is the fanout program's.
    #[inline(always)]
    pub fn hash(&self, seed: u64) -> u64 {
        let ports =
            u64::from(self.ports[0]) << 32 | u64::from(self.ports[1]) << 8 | u64::from(self.kind as u8);
        let addresses = if self.kind < 1 << V6_BIT[0] {
            fold(seed ^ self.lower[0], K0 ^ self.lower[1])
        } else {
            fold(fold(seed ^ self.upper[0], K0 ^ self.lower[0]) ^ self.upper[1], K1 ^ self.lower[1])
        };
        fold(addresses ^ ports, K2)
    }
}

impl Ord for FlowKey {
    fn cmp(&self, other: &Self) -> Ordering {
        let parts = |key: &Self| (key.low(), key.high(), key.protocol());
        parts(self).cmp(&parts(other))
    }
}

impl PartialOrd for FlowKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlowKey")
            .field("low", &self.low())
            .field("high", &self.high())
            .field("protocol", &self.protocol())
            .finish()
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

/// The bits of an address in two words.
fn halves(address: IpAddr) -> (u64, u64) {
    match address {
        IpAddr::V4(v4) => (0, u64::from(v4.to_bits())),
        IpAddr::V6(v6) => ((v6.to_bits() >> 64) as u64, v6.to_bits() as u64),
    }
}

/// Both halves of the product: every bit of either operand reaches every bit of the result.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// The places of the bits for the lower and the higher end in [`FlowKey::kind`], above those of the protocol.
const V6_BIT: [u32; 2] = [8, 9];

// The first binary digits of the fractions of pi, as used wherever numbers with nothing up their sleeve are
// wanted. Operands of a product must not be 0, and these are not near any usual key.
const K0: u64 = 0x243f_6a88_85a3_08d3;
const K1: u64 = 0x1319_8a2e_0370_7344;
const K2: u64 = 0xa409_3822_299f_31d0;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

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
            prop_assert!(forth.low() <= forth.high());
            prop_assert_eq!((forth.low(), forth.high(), forth.protocol()), (a.min(b), a.max(b), IpProtocol(protocol)));
        }

        /// Few addresses and ports, so that parts of the keys are often equal.
        #[test]
        fn keys_compare_as_their_endpoints_do(ends in prop::array::uniform4((0..6_u8, 0..3_u16)), same: bool) {
            let [a, b, c, d] = ends.map(|(address, port)| {
                let v4 = Ipv4Addr::from_bits(u32::from(address % 3) << 24);
                let address = if address < 3 { v4.into() } else { v4.to_ipv6_mapped().into() };
                Endpoint { address, port }
            });
            let protocols = [IpProtocol::TCP, if same { IpProtocol::TCP } else { IpProtocol::UDP }];
            let (one, _) = FlowKey::new(a, b, protocols[0]);
            let (other, _) = FlowKey::new(c, d, protocols[1]);
            let slow = (a.min(b), a.max(b), protocols[0]).cmp(&(c.min(d), c.max(d), protocols[1]));
            prop_assert_eq!(one.cmp(&other), slow);
            prop_assert_eq!(one == other, slow.is_eq());
            prop_assert_eq!(one.hash(7) == other.hash(7), slow.is_eq());
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
