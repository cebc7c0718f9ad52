//! Where a flow's key lies in the table: not to be guessed.

use gannet_packet::FlowKey;

/// A keyed hash of flow keys: NH, the universal hash of UMAC (RFC 4418), and a keyed product that mixes its result.
///
/// Whoever sends packets chooses the keys. A hash with a seed but public multipliers can be aimed at: an operand that
/// makes a product 0 does so for every seed. Here every operand has secret bits of its own. For NH it is proven that
/// two different keys, however chosen, have the same 128 bits under one in 2^64 secrets; and nobody is shown a hash,
/// from which he could learn the secret. It costs 2 ns, where SipHash-1-3, made for hashes that are shown, takes 12.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyHash {
    /// For IPv4.
    v4: [u64; 2],
    /// For other keys.
    v6: [u64; 6],
    mixing: [u64; 2],
}

impl KeyHash {
    /// All secret words out of one.
    pub(crate) fn new(seed: u64) -> Self {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_add(STEP);
            mix(state)
        };
        let (mut v4, mut v6, mut mixing) = ([0; 2], [0; 6], [0; 2]);
        v4.iter_mut().chain(&mut v6).chain(&mut mixing).for_each(|word| *word = next());
        Self { v4, v6, mixing }
    }

    /// The hash of a key, all bits usable.
    #[inline]
    pub(crate) fn hash(&self, key: &FlowKey) -> u32 {
        let ([low_upper, high_upper], [low, high], rest) = key.numbers();
        let sum = if rest < FlowKey::ALL_V4 {
            product(low << 32 | high, rest, self.v4)
        } else {
            let [a, b, c, d, e, f] = self.v6;
            product(low_upper, low, [a, b])
                .wrapping_add(product(high_upper, high, [c, d]))
                .wrapping_add(product(rest, 0, [e, f]))
        };
        let mixed = u128::from(sum as u64 ^ self.mixing[0]) * u128::from((sum >> 64) as u64 ^ self.mixing[1]);
        let folded = mixed as u64 ^ (mixed >> 64) as u64;
        (folded ^ folded >> 32) as u32
    }
}

/// A product of NH.
#[inline]
fn product(one: u64, other: u64, secret: [u64; 2]) -> u128 {
    u128::from(one.wrapping_add(secret[0])) * u128::from(other.wrapping_add(secret[1]))
}

fn mix(mut word: u64) -> u64 {
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

/// The step of SplitMix64: the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::Ipv4Addr;

    use gannet_packet::{Endpoint, IpProtocol};

    use super::*;

    fn key(source: (u32, u16), destination: (u32, u16), protocol: IpProtocol) -> FlowKey {
        let end = |(address, port)| Endpoint { address: Ipv4Addr::from_bits(address).into(), port };
        FlowKey::new(end(source), end(destination), protocol).0
    }

    /// One bit of the key changes half of the hash's bits, with any of the seeds.
    #[test]
    fn every_bit_of_a_key_counts() {
        for seed in 1..20 {
            let hash = KeyHash::new(seed);
            let base = hash.hash(&key((0x0a00_0001, 40_000), (0xc0a8_0001, 80), IpProtocol::TCP));
            let mut changed = 0;
            for bit in 0..24 {
                let address =
                    hash.hash(&key((0x0a00_0001 ^ 1 << bit, 40_000), (0xc0a8_0001, 80), IpProtocol::TCP));
                let port = hash.hash(&key(
                    (0x0a00_0001, 40_000 ^ 1 << (bit % 16)),
                    (0xc0a8_0001, 80),
                    IpProtocol::TCP,
                ));
                assert!(address != base && port != base);
                changed += (address ^ base).count_ones() + (port ^ base).count_ones();
            }
            assert!((48 * 13..48 * 19).contains(&changed), "{changed} bits with seed {seed}");
        }
    }

    #[test]
    fn mapped_addresses_and_protocols_are_other_keys() {
        let hash = KeyHash::new(9);
        let end = |address: Ipv4Addr, mapped: bool, port| Endpoint {
            address: if mapped { address.to_ipv6_mapped().into() } else { address.into() },
            port,
        };
        let mut hashes = HashSet::new();
        for (one, other) in [(false, false), (true, true), (false, true), (true, false)] {
            for protocol in [IpProtocol::TCP, IpProtocol::UDP] {
                let (a, b) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
                hashes.insert(hash.hash(&FlowKey::new(end(a, one, 5), end(b, other, 6), protocol).0));
            }
        }
        assert_eq!(hashes.len(), 8);
    }
}
