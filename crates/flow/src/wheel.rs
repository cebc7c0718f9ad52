//! Flows by the time they were last seen.
//!
//! A ring of buckets, one for each 0.13 s, each a list through the entries. A flow stays where it was filed when a
//! segment comes: only when its bucket's time has come is it looked whether it was seen since, and if so it is filed
//! anew. A busy flow so costs a look in each time-out and not one in each segment.
//! Whether a flow has expired depends on its own times alone, never on the other flows of the table: tables of
//! different workers decide alike, even when time stamps are not in order.

use std::time::Duration;

use gannet_packet::Timestamp;

use crate::entry::{Links, NONE, Slab};

/// The flows of one phase.
#[derive(Debug)]
pub(crate) struct Wheel {
    /// First entry of each bucket; the lists are rings, so that its last is before it. Entries of times a whole turn
    /// apart share one.
    buckets: Box<[u32]>,
    /// No entry is filed in an older unit.
    oldest: u64,
    /// How many units an entry is kept.
    keep: u64,
    len: usize,
    /// Entries of the bucket that is looked at; kept to be used again.
    bucket: Vec<u32>,
}

impl Wheel {
    /// Flows expire when they have not been seen for `timeout`: not before, and up to two units after.
    pub(crate) fn new(timeout: Duration) -> Self {
        let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        let keep = nanos.div_ceil(1 << UNIT_SHIFT);
        let buckets = keep.saturating_add(2).clamp(BUCKETS_MIN, BUCKETS_MAX).next_power_of_two();
        let buckets = vec![NONE; buckets as usize].into();
        Self { buckets, oldest: u64::MAX, keep, len: 0, bucket: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Puts an entry in the bucket of its time, behind those that are there.
    pub(crate) fn insert<S>(&mut self, slab: &mut Slab<S>, index: u32) {
        let flow = &mut slab.get_mut(index).flow;
        let unit = unit(flow.last_seen);
        flow.filed = unit as u32;
        let bucket = self.place(unit);
        match self.buckets[bucket] {
            NONE => {
                flow.links = Links { previous: index, next: index };
                self.buckets[bucket] = index;
            }
            first => {
                let last = std::mem::replace(&mut slab.get_mut(first).flow.links.previous, index);
                slab.get_mut(last).flow.links.next = index;
                slab.get_mut(index).flow.links = Links { previous: last, next: first };
            }
        }
        self.oldest = self.oldest.min(unit);
        self.len += 1;
    }

    /// Takes an entry out.
    pub(crate) fn remove<S>(&mut self, slab: &mut Slab<S>, index: u32) {
        let flow = &slab.get(index).flow;
        let Links { previous, next } = flow.links;
        let bucket = self.place(u64::from(flow.filed));
        if next == index {
            self.buckets[bucket] = NONE;
        } else {
            slab.get_mut(previous).flow.links.next = next;
            slab.get_mut(next).flow.links.previous = previous;
            if self.buckets[bucket] == index {
                self.buckets[bucket] = next;
            }
        }
        self.len -= 1;
        if self.len == 0 {
            self.oldest = u64::MAX;
        }
    }

    /// Whether an entry last seen at `last_seen` has expired.
    pub(crate) fn is_due(&self, last_seen: Timestamp, now: Timestamp) -> bool {
        self.last_due(now).is_some_and(|last| unit(last_seen) <= last)
    }

    /// Adds the entries that have expired to `due`. The caller takes all of them out of the wheel.
    pub(crate) fn due<S>(&mut self, slab: &mut Slab<S>, now: Timestamp, due: &mut Vec<u32>) {
        let Some(last) = self.last_due(now) else { return };
        if self.len == 0 || self.oldest > last {
            return;
        }
        let turn = self.buckets.len() as u64;
        let units = (last - self.oldest).saturating_add(1).min(turn);
        let oldest = last + 1;
        for unit_due in last + 1 - units..=last {
            let first = self.buckets[self.place(unit_due)];
            let mut bucket = std::mem::take(&mut self.bucket);
            let mut index = first;
            while index != NONE {
                bucket.push(index);
                let next = slab.get(index).flow.links.next;
                index = if next == first { NONE } else { next };
            }
            for index in bucket.drain(..) {
                let flow = &slab.get(index).flow;
                let seen = unit(flow.last_seen);
                if seen <= last {
                    due.push(index);
                } else if seen as u32 != flow.filed {
                    self.remove(slab, index);
                    self.insert(slab, index);
                }
            }
            self.bucket = bucket;
        }
        self.oldest = if self.len == 0 { u64::MAX } else { oldest };
    }

    /// An entry that has not been seen for long: of the first that are filed the oldest. Those that were seen since
    /// they were filed are filed anew on the way, a bounded number of them.
    pub(crate) fn oldest<S>(&mut self, slab: &mut Slab<S>) -> Option<u32> {
        let mut best: Option<(Timestamp, u32)> = None;
        for _ in 0..LOOKS {
            let index = self.first()?;
            let flow = &slab.get(index).flow;
            let (seen, filed) = (flow.last_seen, flow.filed);
            if best.is_none_or(|(time, _)| seen < time) {
                best = Some((seen, index));
            }
            if unit(seen) as u32 == filed {
                break;
            }
            self.remove(slab, index);
            self.insert(slab, index);
        }
        best.map(|(_, index)| index)
    }

    /// The first entry of the oldest bucket that has any.
    fn first(&mut self) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        for _ in 0..self.buckets.len() {
            let first = self.buckets[self.place(self.oldest)];
            if first != NONE {
                return Some(first);
            }
            self.oldest = self.oldest.saturating_add(1);
        }
        None
    }

    fn last_due(&self, now: Timestamp) -> Option<u64> {
        unit(now).checked_sub(self.keep)?.checked_sub(1)
    }

    fn place(&self, unit: u64) -> usize {
        unit as usize & (self.buckets.len() - 1)
    }
}

#[inline]
fn unit(time: Timestamp) -> u64 {
    time.0 >> UNIT_SHIFT
}

/// Units of 2^27 ns = 134 ms. Longer: they expire later than they could. Shorter: more buckets.
const UNIT_SHIFT: u32 = 27;
const BUCKETS_MIN: u64 = 16;
/// Half an hour in one turn, 64 KiB of heads. Longer times share buckets, which costs a look at entries not due yet.
const BUCKETS_MAX: u64 = 1 << 14;
/// How many entries are looked at to find one to evict. More: closer to the oldest of all. Fewer: cheaper when a full
/// table is busy.
const LOOKS: usize = 32;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use gannet_packet::{Endpoint, FlowKey, IpProtocol, Side};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::Flow;
    use crate::entry::Entry;

    fn entry(id: u64, time: Timestamp) -> Entry<()> {
        let end = |port| Endpoint { address: Ipv4Addr::LOCALHOST.into(), port };
        let (key, _) = FlowKey::new(end(1), end(2), IpProtocol::TCP);
        Entry::new(Flow::new(id, key, Side::Low, 0, time), ())
    }

    fn ms(ms: u64) -> Timestamp {
        Timestamp(1_700_000_000_000_000_000 + ms * 1_000_000)
    }

    proptest! {
        /// Entries are due when their own time says so, wherever they were filed.
        #[test]
        fn due_are_those_not_seen_for_long(
            steps in vec((0..4_u8, 0..20_usize, 0..3_000_u64, any::<bool>()), 1..200), timeout in prop_oneof![1..9_000_u64, Just(600_000)],
        ) {
            let mut slab = Slab::new();
            let mut wheel = Wheel::new(Duration::from_millis(timeout));
            let mut alive: Vec<u32> = Vec::new();
            let mut clock = 20_000;
            for (kind, which, passed, back) in steps {
                clock += passed;
                let time = ms(clock - if back { 1_500 } else { 0 });
                match kind {
                    0 => {
                        let index = slab.insert(entry(clock, time));
                        wheel.insert(&mut slab, index);
                        alive.push(index);
                    }
                    1 if !alive.is_empty() => {
                        let flow = &mut slab.get_mut(alive[which % alive.len()]).flow;
                        flow.last_seen = flow.last_seen.max(time);
                    }
                    2 if !alive.is_empty() => {
                        let index = alive.swap_remove(which % alive.len());
                        wheel.remove(&mut slab, index);
                    }
                    _ => {
                        let mut due = Vec::new();
                        wheel.due(&mut slab, ms(clock), &mut due);
                        let expected: Vec<u32> = alive
                            .iter()
                            .copied()
                            .filter(|&index| wheel.is_due(slab.get(index).flow.last_seen, ms(clock)))
                            .collect();
                        due.sort_unstable();
                        let mut sorted = expected.clone();
                        sorted.sort_unstable();
                        prop_assert_eq!(&due, &sorted);
                        for index in due {
                            let seen = slab.get(index).flow.last_seen;
                            prop_assert!(ms(clock).0 - seen.0 > timeout * 1_000_000);
                            wheel.remove(&mut slab, index);
                        }
                        alive.retain(|index| !sorted.contains(index));
                        for &index in &alive {
                            let age = ms(clock).0.saturating_sub(slab.get(index).flow.last_seen.0);
                            prop_assert!(age < timeout * 1_000_000 + (3 << UNIT_SHIFT));
                        }
                    }
                }
                prop_assert_eq!(wheel.len(), alive.len());
                let oldest = wheel.oldest(&mut slab);
                prop_assert_eq!(oldest.is_some(), !alive.is_empty());
                if let Some(oldest) = oldest {
                    // Fewer than are looked at: the very oldest, to the accuracy of a bucket. Where turns share buckets
                    // another may be found.
                    let least = alive.iter().map(|&index| slab.get(index).flow.last_seen.0 >> UNIT_SHIFT).min();
                    let found = slab.get(oldest).flow.last_seen.0 >> UNIT_SHIFT;
                    prop_assert!(Some(found) == least || timeout < 600_000);
                }
            }
        }
    }

    #[test]
    fn of_one_bucket_the_first_goes_first() {
        let mut slab = Slab::new();
        let mut wheel = Wheel::new(Duration::from_secs(1));
        for id in 0..5 {
            let index = slab.insert(entry(id, ms(0)));
            wheel.insert(&mut slab, index);
        }
        for expected in 0..5 {
            let index = wheel.oldest(&mut slab).unwrap();
            assert_eq!(slab.get(index).flow.id, expected);
            wheel.remove(&mut slab, index);
        }
        assert_eq!((wheel.oldest(&mut slab), wheel.len()), (None, 0));
    }
}
