//! The datagrams: by key, and by age.
//!
//! ```text
//!   table ── hash ──► slot ──► entries ──┬── begun:  oldest ◄─► ... ◄─► newest    open and refused
//!                                        ├── recent: oldest ◄─► ... ◄─► newest    completed, to tell copies
//!                                        └── free
//! ```

use gannet_packet::Timestamp;
use hashbrown::HashTable;

use super::Refusal;
use super::datagram::{Entry, RECENT_NS, State};
use super::incoming::Key;

/// Invariant: each used slot is in the table and in one of the lists.
#[derive(Debug)]
pub(super) struct Store {
    slots: Vec<Slot>,
    free: Vec<u32>,
    table: HashTable<u32>,
    begun: List,
    recent: List,
    /// Begun datagrams that are open.
    live: usize,
    limit: usize,
    seeds: [u64; 3],
}

#[derive(Debug)]
struct Slot {
    entry: Entry,
    older: u32,
    newer: u32,
}

/// Slots in order of age.
#[derive(Debug)]
struct List {
    oldest: u32,
    newest: u32,
    len: usize,
}

impl Store {
    pub(super) fn new(limit: usize, seed: u64) -> Self {
        let most = limit + RECENT;
        Self {
            slots: Vec::new(),
            free: Vec::with_capacity(most),
            // With room to remove and insert without end.
            table: HashTable::with_capacity(2 * most),
            begun: List::EMPTY,
            recent: List::EMPTY,
            live: 0,
            limit,
            // None of them 0.
            seeds: [seed, seed.rotate_left(21) | 1, seed.rotate_left(42) | 1 << 63],
        }
    }

    /// Datagrams begun, open or refused.
    pub(super) fn len(&self) -> usize {
        self.begun.len
    }

    pub(super) fn live(&self) -> usize {
        self.live
    }

    pub(super) fn is_full(&self) -> bool {
        self.begun.len >= self.limit
    }

    pub(super) fn hash(&self, key: &Key) -> u64 {
        let [first, second, third] = self.seeds;
        let id = u64::from(key.id) << 1 | key.side as u64;
        fold(fold(key.addresses.hash(first) ^ id, second) ^ key.around.number(), third)
    }

    pub(super) fn find(&self, key: &Key, hash: u64) -> Option<u32> {
        self.table.find(hash, |&slot| self.entry(slot).key == *key).copied()
    }

    pub(super) fn entry(&self, slot: u32) -> &Entry {
        &self.slots[slot as usize].entry
    }

    pub(super) fn entry_mut(&mut self, slot: u32) -> &mut Entry {
        &mut self.slots[slot as usize].entry
    }

    /// Begins a datagram.
    pub(super) fn open(&mut self, key: Key, hash: u64, since: Timestamp) -> u32 {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.entry_mut(slot).reset(key, hash, since);
                slot
            }
            None => {
                self.slots.push(Slot { entry: Entry::new(key, hash, since), older: NONE, newer: NONE });
                self.slots.len() as u32 - 1
            }
        };
        let Self { table, slots, .. } = self;
        table.insert_unique(hash, slot, |&slot| slots[slot as usize].entry.hash);
        self.begun.push(&mut self.slots, slot);
        self.live += 1;
        slot
    }

    /// Gives up a datagram that is open, but keeps it in mind.
    pub(super) fn refuse(&mut self, slot: u32, refusal: Refusal) {
        self.live -= 1;
        self.entry_mut(slot).state = State::Refused(refusal);
    }

    /// Notes that an open datagram is complete; the oldest such is forgotten for it.
    pub(super) fn complete(&mut self, slot: u32, now: Timestamp) {
        self.live -= 1;
        self.begun.unlink(&mut self.slots, slot);
        let entry = self.entry_mut(slot);
        entry.state = State::Completed;
        entry.since = now;
        if self.recent.len == RECENT {
            self.remove(self.recent.oldest);
        }
        self.recent.push(&mut self.slots, slot);
    }

    /// Forgets completed datagrams that copies are no more expected of.
    pub(super) fn forget_recent(&mut self, now: Timestamp) {
        while self.recent.len != 0 && now.0.saturating_sub(self.entry(self.recent.oldest).since.0) > RECENT_NS
        {
            self.remove(self.recent.oldest);
        }
    }

    /// Forgets a datagram, which has no bytes any more.
    pub(super) fn remove(&mut self, slot: u32) {
        let (hash, state) = (self.entry(slot).hash, self.entry(slot).state);
        if let Ok(found) = self.table.find_entry(hash, |&other| other == slot) {
            found.remove();
        }
        match state {
            State::Completed => self.recent.unlink(&mut self.slots, slot),
            State::Open | State::Refused(_) => self.begun.unlink(&mut self.slots, slot),
        }
        self.live -= usize::from(state == State::Open);
        self.free.push(slot);
    }

    /// The datagram begun first.
    pub(super) fn oldest(&self) -> Option<u32> {
        (self.begun.len != 0).then_some(self.begun.oldest)
    }

    /// The one begun first but `slot`.
    pub(super) fn oldest_but(&self, slot: u32) -> Option<u32> {
        match self.oldest()? {
            oldest if oldest != slot => Some(oldest),
            oldest => Some(self.slots[oldest as usize].newer).filter(|&newer| newer != NONE),
        }
    }
}

impl List {
    const EMPTY: Self = Self { oldest: NONE, newest: NONE, len: 0 };

    fn push(&mut self, slots: &mut [Slot], slot: u32) {
        let older = std::mem::replace(&mut self.newest, slot);
        let links = &mut slots[slot as usize];
        (links.older, links.newer) = (older, NONE);
        match older {
            NONE => self.oldest = slot,
            older => slots[older as usize].newer = slot,
        }
        self.len += 1;
    }

    fn unlink(&mut self, slots: &mut [Slot], slot: u32) {
        let Slot { older, newer, .. } = slots[slot as usize];
        match older {
            NONE => self.oldest = newer,
            older => slots[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => slots[newer as usize].older = older,
        }
        self.len -= 1;
    }
}

/// Both halves of the product.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// No slot.
const NONE: u32 = u32::MAX;
/// Completed datagrams that are remembered: those between a fragment and its copy.
const RECENT: usize = 256;
