//! From keys to entries.
//!
//! ```text
//!   slots, a power of two, at most half of them taken; a hash's place is its upper bits
//!   ┌────┬────┬────┬────┬────┬────┬
//!   │    │ a  │ b  │ c  │    │ d  │      looked for from its place on, up to a free slot
//!   └────┴────┴────┴────┴────┴────┴      removed: those behind move up, so that nothing is left to step over
//! ```
//!
//! A slot has the hash beside the entry's number: entries are only looked at when all 32 bits are equal, and when the
//! index grows none is.

/// Numbers of entries by hash.
#[derive(Debug)]
pub(crate) struct Index {
    /// The hash in the upper half, the number in the lower; [`FREE`] without.
    slots: Box<[u64]>,
    /// How far a hash is shifted to be a place.
    shift: u32,
    len: usize,
}

impl Index {
    pub(crate) fn new() -> Self {
        Self { slots: vec![FREE; 1 << SLOTS_MIN_LOG].into(), shift: 32 - SLOTS_MIN_LOG, len: 0 }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The number with this hash for which `is_it` holds.
    #[inline]
    pub(crate) fn find(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut place = self.place(hash);
        loop {
            let slot = self.slots[place];
            if slot == FREE {
                return None;
            }
            if (slot >> 32) as u32 == hash && is_it(slot as u32) {
                return Some(slot as u32);
            }
            place = self.behind(place);
        }
    }

    /// Puts a number in that is not there.
    pub(crate) fn insert(&mut self, hash: u32, number: u32) {
        if (self.len + 1) * 2 > self.slots.len() {
            self.grow();
        }
        let place = self.free_from(self.place(hash));
        self.slots[place] = u64::from(hash) << 32 | u64::from(number);
        self.len += 1;
    }

    /// Takes a number out.
    pub(crate) fn remove(&mut self, hash: u32, number: u32) {
        let wanted = u64::from(hash) << 32 | u64::from(number);
        let mut place = self.place(hash);
        while self.slots[place] != wanted {
            if self.slots[place] == FREE {
                return;
            }
            place = self.behind(place);
        }
        // What lies behind without a free slot between moves into the hole, unless its own place is behind the hole.
        let mut hole = place;
        loop {
            place = self.behind(place);
            let slot = self.slots[place];
            if slot == FREE {
                break;
            }
            let mask = self.slots.len() - 1;
            let home = self.place((slot >> 32) as u32);
            if place.wrapping_sub(home) & mask >= place.wrapping_sub(hole) & mask {
                self.slots[hole] = slot;
                hole = place;
            }
        }
        self.slots[hole] = FREE;
        self.len -= 1;
    }

    /// How many slots are looked at to find what is there.
    #[cfg(test)]
    pub(crate) fn probes(&self) -> Vec<usize> {
        let mask = self.slots.len() - 1;
        let taken = self.slots.iter().enumerate().filter(|(_, slot)| **slot != FREE);
        taken.map(|(at, slot)| (at.wrapping_sub(self.place((slot >> 32) as u32)) & mask) + 1).collect()
    }

    /// Twice as many slots. Places keep their order, so that this goes through memory from its start to its end.
    #[cold]
    fn grow(&mut self) {
        let slots = vec![FREE; self.slots.len() * 2].into();
        let old = std::mem::replace(&mut self.slots, slots);
        self.shift -= 1;
        for slot in old {
            if slot != FREE {
                let place = self.free_from(self.place((slot >> 32) as u32));
                self.slots[place] = slot;
            }
        }
    }

    fn free_from(&self, mut place: usize) -> usize {
        while self.slots[place] != FREE {
            place = self.behind(place);
        }
        place
    }

    #[inline]
    fn place(&self, hash: u32) -> usize {
        (hash >> self.shift) as usize
    }

    #[inline]
    fn behind(&self, place: usize) -> usize {
        (place + 1) & (self.slots.len() - 1)
    }
}

/// No number: entries are never that many.
const FREE: u64 = u64::MAX;
const SLOTS_MIN_LOG: u32 = 10;

/// Memory of the index for each entry at most: four slots after growing, and the two it grew out of.
pub(crate) const INDEX_COST: usize = 6 * size_of::<u64>();

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::net::Ipv4Addr;

    use gannet_packet::{Endpoint, FlowKey, IpProtocol};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::hash::KeyHash;

    proptest! {
        /// Hashes from few values, so that runs are long and wrap around.
        #[test]
        fn it_is_a_map(steps in vec((any::<bool>(), 0..40_u32, prop_oneof![0..4_u32, u32::MAX - 3..=u32::MAX]), 0..400)) {
            let mut index = Index::new();
            let mut model = HashMap::new();
            for (insert, number, hash) in steps {
                let spread = hash.wrapping_mul(1 << 22);
                if insert {
                    model.entry(number).or_insert_with(|| {
                        index.insert(spread, number);
                        spread
                    });
                } else if let Some(spread) = model.remove(&number) {
                    index.remove(spread, number);
                }
                prop_assert_eq!(index.len(), model.len());
                for number in 0..40 {
                    let found = model.get(&number).and_then(|&hash| index.find(hash, |found| found == number));
                    prop_assert_eq!(found, model.contains_key(&number).then_some(number));
                }
            }
            index.remove(7, 99);
            prop_assert_eq!(index.len(), model.len());
        }
    }

    #[test]
    fn growing_loses_nothing() {
        let mut index = Index::new();
        let hash = |number: u32| number.wrapping_mul(0x9e37_79b9);
        for number in 0..100_000 {
            index.insert(hash(number), number);
        }
        assert_eq!(index.slots.len(), 1 << 18);
        assert!((0..100_000).all(|number| index.find(hash(number), |found| found == number) == Some(number)));
        for number in 0..100_000 {
            index.remove(hash(number), number);
        }
        assert!(index.slots.iter().all(|&slot| slot == FREE) && index.len() == 0);
    }

    /// The 99th percentile of probes, with these keys.
    fn p99(keys: &[FlowKey], hash: &KeyHash) -> usize {
        let mut index = Index::new();
        for (number, key) in keys.iter().enumerate() {
            index.insert(hash.hash(key), number as u32);
        }
        let mut probes = index.probes();
        probes.sort_unstable();
        probes[probes.len() * 99 / 100]
    }

    /// Whoever knows the seed finds keys that collide; under any other they lie as others do.
    #[test]
    fn keys_chosen_for_one_seed_do_not_collide_under_another() {
        let known = KeyHash::new(0x5eed);
        let end = |address, port| Endpoint { address: Ipv4Addr::from_bits(address).into(), port };
        let key = |number: u32| {
            let source = end(0x0a00_0000 | number >> 8, 1_024 + (number & 0xff) as u16);
            FlowKey::new(source, end(0xc0a8_0001, 80), IpProtocol::TCP).0
        };
        // One in 1,024: all in one place of an index for as many keys.
        let chosen: Vec<FlowKey> =
            (0..1_u32 << 21).map(key).filter(|key| known.hash(key) >> 22 == 0x155).take(1_500).collect();
        assert_eq!(chosen.len(), 1_500);
        assert!(p99(&chosen, &known) > 400, "{}", p99(&chosen, &known));
        for seed in 0..20_u64 {
            let probes = p99(&chosen, &KeyHash::new(seed.wrapping_mul(0x1234_5678_9abc_def1)));
            assert!(probes < 16, "{probes} with seed {seed}");
        }
    }

    /// With multipliers that everybody knows these have one hash for every seed.
    #[test]
    fn addresses_made_of_known_numbers_do_not_collide() {
        let seeded = KeyHash::new(77);
        let keys: Vec<FlowKey> = (0..1_500_u128)
            .map(|number| {
                let v6 = |bits: u128| std::net::Ipv6Addr::from_bits(bits).into();
                let source =
                    Endpoint { address: v6(0x2001 << 112 | number << 64 | 0x243f_6a88_85a3_08d3), port: 7 };
                let target = Endpoint { address: v6(0x2002 << 112 | 0x1319_8a2e_0370_7344), port: 80 };
                FlowKey::new(source, target, IpProtocol::TCP).0
            })
            .collect();
        assert!(keys.iter().all(|key| key.hash(1) == keys[0].hash(1)), "what makes this a test");
        assert!(p99(&keys, &seeded) < 16, "{}", p99(&keys, &seeded));
    }
}
