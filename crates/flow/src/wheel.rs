//! Flows by the time they were last seen.
//!
//! A ring of buckets, one for each 0.13 s, each a list through the entries. A flow changes its bucket when a
//! segment comes in a later unit of time, so that a busy flow is moved a few times a second and not with each segment.
//! Whether a flow has expired depends on its own times alone, never on the other flows of the table: tables of
//! different workers decide alike, even when time stamps are not in order.

use std::time::Duration;

use gannet_packet::Timestamp;

use crate::entry::{Links, NONE, Slab};

/// The flows of one phase.
#[derive(Debug)]
pub(crate) struct Wheel {
    /// First entry of each bucket. Entries of times a whole turn apart share one.
    buckets: Box<[u32]>,
    /// No entry is in an older unit.
    oldest: u64,
    /// How many units an entry is kept.
    keep: u64,
    len: usize,
}

impl Wheel {
    /// Flows expire when they have not been seen for `timeout`: not before, and up to two units after.
    pub(crate) fn new(timeout: Duration) -> Self {
        let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        let keep = nanos.div_ceil(1 << UNIT_SHIFT);
        let buckets = keep.saturating_add(2).clamp(BUCKETS_MIN, BUCKETS_MAX).next_power_of_two();
        Self { buckets: vec![NONE; buckets as usize].into(), oldest: u64::MAX, keep, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Puts an entry in the bucket of its time.
    pub(crate) fn insert<S>(&mut self, slab: &mut Slab<S>, index: u32) {
        let unit = unit(slab.get(index).flow.last_seen);
        let bucket = self.bucket(unit);
        let next = std::mem::replace(&mut self.buckets[bucket], index);
        slab.get_mut(index).links = Links { previous: NONE, next };
        if next != NONE {
            slab.get_mut(next).links.previous = index;
        }
        self.oldest = self.oldest.min(unit);
        self.len += 1;
    }

    /// Takes an entry out; its time must be the one it was put in with.
    pub(crate) fn remove<S>(&mut self, slab: &mut Slab<S>, index: u32) {
        let entry = slab.get(index);
        let Links { previous, next } = entry.links;
        let bucket = self.bucket(unit(entry.flow.last_seen));
        match previous {
            NONE => self.buckets[bucket] = next,
            previous => slab.get_mut(previous).links.next = next,
        }
        if next != NONE {
            slab.get_mut(next).links.previous = previous;
        }
        self.len -= 1;
        if self.len == 0 {
            self.oldest = u64::MAX;
        }
    }

    /// Sets the time of an entry.
    #[inline]
    pub(crate) fn touch<S>(&mut self, slab: &mut Slab<S>, index: u32, time: Timestamp) {
        let entry = slab.get_mut(index);
        if unit(time) == unit(entry.flow.last_seen) {
            entry.flow.last_seen = time;
        } else {
            self.remove(slab, index);
            slab.get_mut(index).flow.last_seen = time;
            self.insert(slab, index);
        }
    }

    /// Whether an entry last seen at `last_seen` has expired.
    pub(crate) fn is_due(&self, last_seen: Timestamp, now: Timestamp) -> bool {
        self.last_due(now).is_some_and(|last| unit(last_seen) <= last)
    }

    /// Adds the entries that have expired to `due`. The caller takes all of them out of the wheel.
    pub(crate) fn due<S>(&mut self, slab: &Slab<S>, now: Timestamp, due: &mut Vec<u32>) {
        let Some(last) = self.last_due(now) else { return };
        if self.len == 0 || self.oldest > last {
            return;
        }
        let turn = self.buckets.len() as u64;
        let units = (last - self.oldest).saturating_add(1).min(turn);
        for unit_due in last + 1 - units..=last {
            let mut index = self.buckets[self.bucket(unit_due)];
            while index != NONE {
                let entry = slab.get(index);
                if unit(entry.flow.last_seen) <= last {
                    due.push(index);
                }
                index = entry.links.next;
            }
        }
        self.oldest = last + 1;
    }

    /// The entry that has not been seen for longest, to the accuracy of the buckets.
    pub(crate) fn oldest(&mut self) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        for _ in 0..self.buckets.len() {
            let first = self.buckets[self.bucket(self.oldest)];
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

    fn bucket(&self, unit: u64) -> usize {
        unit as usize & (self.buckets.len() - 1)
    }
}

/// Whether an entry stays in its bucket when its time becomes the other one.
#[inline]
pub(crate) fn same_bucket(one: Timestamp, other: Timestamp) -> bool {
    unit(one) == unit(other)
}

#[inline]
fn unit(time: Timestamp) -> u64 {
    time.0 >> UNIT_SHIFT
}

/// Units of 2^27 ns = 134 ms. Shorter: flows are moved more often. Longer: they expire later than they could.
const UNIT_SHIFT: u32 = 27;
const BUCKETS_MIN: u64 = 16;
/// Half an hour in one turn, 64 KiB of heads. Longer times share buckets, which costs a look at entries not due yet.
const BUCKETS_MAX: u64 = 1 << 14;
