//! Where a flow's key lies in the table: not to be guessed.

use std::hash::Hasher;
use std::net::IpAddr;

use gannet_packet::FlowKey;
use siphasher::sip::SipHasher13;

/// A keyed hash of flow keys: SipHash-1-3.
///
/// Whoever sends packets chooses the keys. A hash with a seed but public multipliers can be aimed at (an operand that
/// makes a product 0 does so for every seed); SipHash is made for this use: without its key nobody finds keys that
/// collide. It costs 10 ns for IPv4.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyHash {
    keys: [u64; 2],
}

impl KeyHash {
    /// Both words of the key out of one random word.
    pub(crate) fn new(seed: u64) -> Self {
        Self { keys: [mix(seed.wrapping_add(STEP)), mix(seed.wrapping_add(STEP.wrapping_mul(2)))] }
    }

    /// The hash of a key, all bits usable.
    #[inline]
    pub(crate) fn hash(&self, key: &FlowKey) -> u32 {
        let [one, other] = self.keys;
        let mut hasher = SipHasher13::new_with_keys(one, other);
        let (low, high) = (key.low(), key.high());
        let ports = u64::from(low.port) << 16 | u64::from(high.port);
        let rest = ports << 8 | u64::from(key.protocol().0);
        match (low.address, high.address) {
            (IpAddr::V4(low), IpAddr::V4(high)) => {
                hasher.write_u64(u64::from(low.to_bits()) << 32 | u64::from(high.to_bits()));
            }
            (low, high) => {
                for address in [low, high] {
                    let bits = match address {
                        IpAddr::V4(v4) => u128::from(v4.to_bits()),
                        IpAddr::V6(v6) => v6.to_bits(),
                    };
                    hasher.write_u64((bits >> 64) as u64);
                    hasher.write_u64(bits as u64);
                }
            }
        }
        hasher.write_u64(rest);
        let hash = hasher.finish();
        (hash ^ hash >> 32) as u32
    }
}

/// The output function of SplitMix64: one word of seed becomes several that do not look alike.
fn mix(mut word: u64) -> u64 {
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

/// The step of SplitMix64: the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
