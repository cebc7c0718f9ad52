//! From IP fragments to the datagrams they are of.
//!
//! ```text
//!   fragment ──► Fragments ─┬─ held ─────── more of its datagram is to come
//!    (frame,     (by        ├─ completed ─► Datagram: an own buffer ─► decoded again ─► Segment, or fragment once more
//!     packet)  addresses,   ├─ duplicate ── the same bytes at the same place: counted, nothing else
//!              id, tunnel)  └─ refused ──── overlapping, cut, too many, impossible: the datagram is given up
//! ```
//!
//! # What is put together
//!
//! Fragments belong together as RFC 791 and RFC 8200 say: by addresses and identification, in IPv4 by protocol as
//! well; here also by the tunnel and the VLANs they came in, since networks inside of these have addresses of their
//! own. In any order; the header is that of the first fragment, for IPv6 with all that is in front of the fragment
//! header.
//!
//! What receivers disagree about is not guessed. Overlapping fragments make the whole datagram void, "including those
//! \[fragments\] not yet received" (RFC 5722, which says so for IPv6; Linux does likewise for IPv4). Only an exact copy
//! passes: captures see packets twice. That a copy of a completed datagram's fragment is one is known for a second.
//!
//! # Bounds
//!
//! Bytes and datagrams held (the oldest is evicted for a new one), fragments of a datagram, time from the first that
//! came. All memory is charged by what it takes, not by what is in it. Each bound has its counter, and every fragment
//! is in one account: [`FragmentCounters`].
//!
//! # How a worker uses it
//!
//! A packet whose [`End`](gannet_packet::End) is `Fragment` goes to [`Fragments::take`], besides to wherever it is
//! recorded as it was. A [`Datagram`] that comes out of it is decoded and goes the way of any packet:
//!
//! ```
//! use gannet_flow::{Fragments, Segment, Taken};
//! use gannet_packet::{Decap, End, Frame, Packet};
//!
//! fn analyse(frame: &Frame<'_>, position: u64, fragments: &mut Fragments, decap: &Decap) {
//!     let mut packet = Packet::decode_with(frame, decap);
//!     let mut whole = None;
//!     // A tunnel may have come in fragments and have fragments in it; the depth of tunnels bounds this.
//!     while packet.end == End::Fragment {
//!         let outer = whole.take();
//!         let of = outer.as_ref().map_or(*frame, |datagram: &gannet_flow::Datagram| datagram.frame());
//!         let taken = fragments.take(&of, &packet, position);
//!         outer.into_iter().for_each(|datagram| fragments.recycle(datagram));
//!         let Taken::Completed(datagram) = taken else { return };
//!         packet = datagram.decode(decap);
//!         whole = Some(datagram);
//!     }
//!     let of = whole.as_ref().map_or(*frame, |datagram| datagram.frame());
//!     if let Some(segment) = Segment::new(&of, &packet, position) {
//!         // ... to the flow table
//!     }
//!     whole.into_iter().for_each(|datagram| fragments.recycle(datagram));
//! }
//! ```
//!
//! [`Fragments::tick`] belongs where the flow table's is: between blocks, at the ends of batches. Nothing else lets
//! the time of other datagrams run out, so that a file gives the same with any number of workers. Workers that share
//! traffic by the inner flow need all fragments of a datagram at one of them: the fanout program sends them by
//! addresses and protocol.

mod counters;
mod datagram;
#[doc(hidden)]
pub mod fuzz;
mod incoming;
mod pool;
#[cfg(test)]
mod properties;
mod store;
#[cfg(test)]
mod tests;

use std::time::Duration;

use gannet_packet::{Decap, Frame, LinkType, Packet, PacketType, Surroundings, Timestamp, Violation};

use crate::Moment;
use datagram::{Entry, Place, State};
use incoming::Incoming;
use pool::{Pool, buffer_size};
use store::Store;

pub use counters::FragmentCounters;

/// The bounds of [`Fragments`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentLimits {
    /// Memory of held fragments, in bytes. Besides it, up to 4 MiB of unused buffers are kept, and under 1 KiB for each
    /// datagram.
    pub bytes: usize,
    /// Datagrams of which fragments are held or refused.
    pub datagrams: usize,
    /// Fragments of one datagram.
    pub fragments: usize,
    /// How long a datagram may take from its first fragment on, in frame time.
    pub patience: Duration,
}

impl Default for FragmentLimits {
    fn default() -> Self {
        Self {
            // 250 of the largest datagrams at a time; all fragments that 10 Gbit/s bring in 10 ms.
            bytes: 16 << 20,
            // More than a busy resolver or tunnel has open. Lower is what an attack gets by with sooner.
            datagrams: 8_192,
            // The largest datagram in fragments of 576 bytes, the smallest that senders of today make, has 119.
            fragments: 128,
            // Linux's `ipfrag_time`. RFC 8200 allows 60 s; what takes longer than a second is never completed.
            patience: Duration::from_secs(30),
        }
    }
}

/// What became of a fragment.
#[derive(Debug)]
pub enum Taken {
    /// It waits for the others.
    Held,
    /// It was the last one missing.
    Completed(Datagram),
    /// The same bytes were there already.
    Duplicate,
    /// It is not used, and why.
    Refused(Refusal),
    /// The packet is none; nothing was counted.
    NotAFragment,
}

/// Why a fragment is not used. But for `Impossible`, the whole datagram is given up, with the fragments that it had and
/// those to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It overlaps another one, lies behind the end, or ends elsewhere than an earlier last one.
    Overlapping,
    /// The snapshot length has cut one of the datagram's fragments: it cannot be completed.
    Cut,
    /// The datagram has more than [`FragmentLimits::fragments`].
    TooMany,
    /// It has no contents, does not end at a multiple of 8 bytes though more follow, or ends beyond what a datagram
    /// can be ("ping of death"). Of this fragment alone; receivers ignore it.
    Impossible,
    /// There is no memory for it.
    Full,
}

/// A whole datagram, in a buffer of its own.
#[derive(Debug)]
pub struct Datagram {
    buffer: Vec<u8>,
    link_type: LinkType,
    moment: Moment,
    interface: u32,
    packet_type: PacketType,
    around: Surroundings,
}

impl Datagram {
    /// The datagram as if it had been captured whole, without the link and the tunnels around it: time, interface and
    /// direction are those of the fragment that completed it.
    pub fn frame(&self) -> Frame<'_> {
        Frame {
            data: &self.buffer,
            timestamp: self.moment.time,
            // At most 64 KiB and some headers.
            orig_len: self.buffer.len() as u32,
            link_type: self.link_type,
            interface: self.interface,
            packet_type: self.packet_type,
        }
    }

    /// Its headers, tunnels in it opened as `decap` says and counted with those around it.
    pub fn decode(&self, decap: &Decap) -> Packet {
        Packet::decode_inside(&self.frame(), decap, &self.around)
    }

    /// The tunnels and VLANs of the fragment that completed it.
    pub fn surroundings(&self) -> Surroundings {
        self.around
    }

    /// Time and place of the fragment that completed it.
    pub fn moment(&self) -> Moment {
        self.moment
    }
}

/// The fragments of datagrams that are not complete.
#[derive(Debug)]
pub struct Fragments {
    limits: FragmentLimits,
    store: Store,
    pool: Pool,
    /// What held fragments take.
    memory: usize,
    counters: FragmentCounters,
}

impl Fragments {
    /// None yet. `seed` has to be random per process: senders choose what is hashed.
    pub fn new(limits: FragmentLimits, seed: u64) -> Self {
        Self {
            limits,
            store: Store::new(limits.datagrams.max(1), seed),
            pool: Pool::default(),
            memory: 0,
            counters: FragmentCounters::default(),
        }
    }

    /// Takes the fragment in `frame`, of which `packet` is the decoding; `position` as [`Moment`] tells.
    pub fn take(&mut self, frame: &Frame<'_>, packet: &Packet, position: u64) -> Taken {
        let Some(incoming) = Incoming::new(frame, packet) else { return Taken::NotAFragment };
        self.counters.fragments += 1;
        self.counters.bytes += incoming.len as u64;
        if !incoming.is_possible() {
            self.counters.impossible += 1;
            return Taken::Refused(Refusal::Impossible);
        }
        let moment = Moment { time: frame.timestamp, position };
        let Some(slot) = self.slot_of(&incoming, moment.time) else {
            self.counters.duplicates += 1;
            return Taken::Duplicate;
        };
        let entry = self.store.entry(slot);
        if let State::Refused(refusal) = entry.state {
            *self.counters.of_refusal(refusal) += 1;
            return Taken::Refused(refusal);
        }
        let index = match entry.place(&incoming) {
            Place::Free(index) => index,
            Place::Copy => {
                self.counters.duplicates += 1;
                return Taken::Duplicate;
            }
            Place::Taken => return self.refuse(slot, Refusal::Overlapping),
        };
        if incoming.bytes.len() < incoming.len {
            return self.refuse(slot, Refusal::Cut);
        }
        if entry.pieces.len() >= self.limits.fragments {
            return self.refuse(slot, Refusal::TooMany);
        }
        if !self.make_room(slot, &incoming) {
            return self.refuse(slot, Refusal::Full);
        }
        if incoming.is_tiny_first() {
            self.counters.tiny_first += 1;
        }
        let before = self.store.entry(slot).memory;
        let entry = self.store.entry_mut(slot);
        entry.insert(index, &incoming, &mut self.pool);
        self.memory += entry.memory - before;
        self.counters.held += 1;
        if !entry.is_complete() {
            return Taken::Held;
        }
        Taken::Completed(self.complete(slot, frame, moment))
    }

    /// Gives up the datagrams whose time has run out. `now` is the time of the capture, as for the flow table.
    pub fn tick(&mut self, now: Timestamp) {
        while let Some(slot) = self.store.oldest() {
            if !self.is_over(self.store.entry(slot), now) {
                break;
            }
            self.expire(slot);
        }
        self.store.forget_recent(now);
    }

    /// Gives up everything: the capture has ended.
    pub fn finish(&mut self) {
        while let Some(slot) = self.store.oldest() {
            let held = self.clear(slot);
            self.counters.at_end += held;
            self.counters.datagrams_at_end += u64::from(held != 0);
            self.store.remove(slot);
        }
        self.store.forget_recent(Timestamp(u64::MAX));
    }

    /// Takes the memory of a datagram back, for the next.
    pub fn recycle(&mut self, datagram: Datagram) {
        self.pool.recycle(datagram.buffer);
    }

    /// What held fragments take of [`FragmentLimits::bytes`].
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Datagrams of which fragments are held or refused.
    pub fn datagrams(&self) -> usize {
        self.store.len()
    }

    /// The counters.
    pub fn counters(&self) -> &FragmentCounters {
        &self.counters
    }

    /// The identities that do not hold.
    pub fn check(&self) -> Vec<Violation> {
        self.counters.check(self.store.live() as u64)
    }

    /// The datagram that the fragment is of, a new one if there is none; `None` if it is a copy of one of a completed
    /// datagram's.
    fn slot_of(&mut self, incoming: &Incoming<'_>, now: Timestamp) -> Option<u32> {
        let hash = self.store.hash(&incoming.key);
        if let Some(slot) = self.store.find(&incoming.key, hash) {
            let entry = self.store.entry(slot);
            match entry.state {
                State::Completed => {
                    if entry.is_recent_copy(incoming, now) {
                        return None;
                    }
                    // Another datagram with the same identification.
                    self.store.remove(slot);
                }
                State::Open | State::Refused(_) if self.is_over(entry, now) => self.expire(slot),
                State::Open | State::Refused(_) => return Some(slot),
            }
        }
        if self.store.is_full()
            && let Some(oldest) = self.store.oldest()
        {
            self.evict(oldest);
        }
        self.counters.datagrams += 1;
        Some(self.store.open(incoming.key, hash, now))
    }

    /// Whether the time of a datagram has run out.
    fn is_over(&self, entry: &Entry, now: Timestamp) -> bool {
        u128::from(now.0.saturating_sub(entry.since.0)) >= self.limits.patience.as_nanos()
    }

    /// Evicts older datagrams until there is memory for the fragment; `false` if there cannot be.
    fn make_room(&mut self, slot: u32, incoming: &Incoming<'_>) -> bool {
        let needed = datagram::PIECE_COST
            + buffer_size(incoming.len)
            + incoming.header.map_or(0, |header| buffer_size(header.len()));
        while self.memory + needed > self.limits.bytes {
            match self.store.oldest_but(slot) {
                Some(oldest) => self.evict(oldest),
                None => return false,
            }
        }
        true
    }

    /// Gives a datagram up, and with it the fragment at hand.
    fn refuse(&mut self, slot: u32, refusal: Refusal) -> Taken {
        let held = self.clear(slot);
        *self.counters.of_refusal(refusal) += held + 1;
        *self.counters.datagrams_of_refusal(refusal) += 1;
        self.store.refuse(slot, refusal);
        Taken::Refused(refusal)
    }

    fn expire(&mut self, slot: u32) {
        let held = self.clear(slot);
        self.counters.expired += held;
        self.counters.datagrams_expired += u64::from(held != 0);
        self.store.remove(slot);
    }

    fn evict(&mut self, slot: u32) {
        let held = self.clear(slot);
        self.counters.evicted += held;
        self.counters.datagrams_evicted += u64::from(held != 0);
        self.store.remove(slot);
    }

    /// Takes the fragments out of a datagram; returns how many there were.
    fn clear(&mut self, slot: u32) -> u64 {
        let entry = self.store.entry_mut(slot);
        self.memory -= entry.memory;
        let held = match entry.state {
            State::Open => entry.pieces.len() as u64,
            // Counted when it was refused.
            State::Refused(_) | State::Completed => 0,
        };
        entry.clear(&mut self.pool);
        self.counters.held -= held;
        held
    }

    /// The datagram, all of whose fragments are there. What it was made of is remembered for a while.
    fn complete(&mut self, slot: u32, frame: &Frame<'_>, moment: Moment) -> Datagram {
        let entry = self.store.entry_mut(slot);
        let count = entry.pieces.len() as u64;
        let (buffer, link_type) = entry.join(&mut self.pool);
        self.memory -= entry.memory;
        entry.release_bytes(&mut self.pool);
        let around = entry.key.around;
        self.counters.held -= count;
        self.counters.completed += count;
        self.counters.datagrams_completed += 1;
        self.counters.completed_bytes += buffer.len() as u64;
        self.store.complete(slot, moment.time);
        let (interface, packet_type) = (frame.interface, frame.packet_type);
        Datagram { buffer, link_type, moment, interface, packet_type, around }
    }
}
