//! Who owns which block of a receive ring, and when.
//!
//! ```text
//!   block_status   kernel (0)        user (bit 0 set)                                 kernel (0)
//!   ─────────────────┬──────────────────────┬──────────────────────────────────────────┬────────
//!   bytes are        │ kernel writes        │ Block: one thread reads and rewrites     │ kernel
//!                    │ frames               │   └─ into_in_flight → InFlight: the disk │ writes
//!                    │                      │      reads, nobody writes                │
//!                    └ kernel: Release      └ ours: Acquire            ours: Release ──┘
//! ```
//!
//! The kernel hands a block over by storing a `block_status` with `TP_STATUS_USER` set (`prb_close_block` in
//! `net/packet/af_packet.c`); [`RingMemory::take`] loads that word with Acquire. From then on the bytes are ours
//! until a Release store of 0. In between the kernel only *reads* the status word, to see whether the block is
//! back; so the word stays out of every slice this module gives away and keeps its non-zero value even while
//! the block is rewritten into a file format.
//!
//! A [`Block`] exists at most once per ring slot: the slot has an owner mark of ours beside the kernel's word,
//! because that word still says "user" while a block is with the disk. `Block` and [`InFlight`] give the slot
//! back when dropped, are never `Clone`, and keep the mapping alive.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use memmap2::{MmapOptions, MmapRaw};

use crate::walk::{BlockDescriptor, DESCRIPTOR_LEN};

/// The mapping of one socket's receive ring, cut into blocks of equal size.
#[derive(Debug)]
pub struct RingMemory {
    map: MmapRaw,
    block_bytes: usize,
    /// One mark per block: true while a [`Block`] or [`InFlight`] of it exists.
    held: Box<[AtomicBool]>,
}

impl RingMemory {
    /// Maps the ring that was allocated on `socket`: `block_count` blocks of `block_bytes` each.
    ///
    /// `block_bytes` must be what the ring was requested with; the kernel refuses a mapping of another total
    /// size (`packet_mmap`).
    pub(crate) fn map(socket: &impl AsRawFd, block_bytes: usize, block_count: usize) -> io::Result<Self> {
        let len = block_bytes.checked_mul(block_count).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "ring larger than the address space")
        })?;
        let map = MmapOptions::new().len(len).map_raw(socket)?;
        Ok(Self { map, block_bytes, held: (0..block_count).map(|_| AtomicBool::new(false)).collect() })
    }

    /// Anonymous memory in place of a ring: for tests, benches and fuzzing of what lies above.
    ///
    /// Like a ring's, a block must hold its descriptor and end on a multiple of 8.
    pub fn anonymous(block_bytes: usize, block_count: usize) -> io::Result<Self> {
        // The status word of every block has to be in the mapping and aligned.
        if block_bytes < DESCRIPTOR_LEN || !block_bytes.is_multiple_of(8) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no block of a ring has this size"));
        }
        let len = block_bytes.checked_mul(block_count).ok_or(io::ErrorKind::OutOfMemory)?;
        let map = MmapRaw::from(memmap2::MmapMut::map_anon(len)?);
        Ok(Self { map, block_bytes, held: (0..block_count).map(|_| AtomicBool::new(false)).collect() })
    }

    /// Plays the kernel's part on [`RingMemory::anonymous`] memory: fills block `index` with `bytes` (a whole
    /// TPACKET_V3 block, status word included) and hands it to user space.
    ///
    /// False if the block is held or not the kernel's at the moment, or if `bytes` is larger than a block.
    pub fn deliver(&self, index: usize, bytes: &[u8]) -> bool {
        let Some(held) = self.held.get(index) else { return false };
        if bytes.len() > self.block_bytes || bytes.len() < DESCRIPTOR_LEN || self.user_owned(index) {
            return false;
        }
        if held.swap(true, Ordering::Acquire) {
            return false;
        }
        // SAFETY: the slot's mark was ours to take, so no Block of it exists, and the range lies inside the
        // mapping; the status word is written last, below, as the kernel does.
        unsafe {
            let start = self.block_start(index);
            start.copy_from_nonoverlapping(bytes.as_ptr(), STATUS_OFFSET);
            start.add(STATUS_OFFSET + 4).copy_from_nonoverlapping(
                bytes.as_ptr().add(STATUS_OFFSET + 4),
                bytes.len() - STATUS_OFFSET - 4,
            );
        }
        held.store(false, Ordering::Release);
        let status = [bytes[8], bytes[9], bytes[10], bytes[11]];
        self.status(index).store(u32::from_ne_bytes(status) | libc::TP_STATUS_USER, Ordering::Release);
        true
    }

    /// Bytes per block.
    pub fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// Blocks in the ring.
    pub fn block_count(&self) -> usize {
        self.held.len()
    }

    /// True if the kernel has handed block `index` over (it may be held by us at the moment).
    #[inline]
    pub(crate) fn user_owned(&self, index: usize) -> bool {
        self.status(index).load(Ordering::Acquire) & libc::TP_STATUS_USER != 0
    }

    /// Takes block `index` if the kernel has handed it over and nobody holds it.
    #[inline]
    pub fn take(self: &Arc<Self>, index: usize) -> Option<Block> {
        if !self.user_owned(index) || self.held[index].swap(true, Ordering::Acquire) {
            return None;
        }
        // Between the two steps the slot may have gone back to the kernel: look again, now that the mark is ours.
        if !self.user_owned(index) {
            self.held[index].store(false, Ordering::Release);
            return None;
        }
        Some(Block { slot: Slot { memory: Arc::clone(self), index } })
    }

    /// True if block `index` could be taken now.
    #[inline]
    pub(crate) fn is_waiting(&self, index: usize) -> bool {
        self.user_owned(index) && !self.held[index].load(Ordering::Acquire)
    }

    fn block_start(&self, index: usize) -> *mut u8 {
        assert!(index < self.held.len(), "block index within the ring");
        // SAFETY: index < count and the mapping is count * block_bytes long.
        unsafe { self.map.as_mut_ptr().add(index * self.block_bytes) }
    }

    fn status(&self, index: usize) -> &AtomicU32 {
        // SAFETY: the word lies inside the mapping, is 4-aligned (blocks are page-aligned) and is only ever
        // accessed atomically: no slice given away contains it.
        unsafe { AtomicU32::from_ptr(self.block_start(index).add(STATUS_OFFSET).cast()) }
    }
}

/// A slot of the ring that is ours; gives itself back to the kernel when dropped.
#[derive(Debug)]
struct Slot {
    memory: Arc<RingMemory>,
    index: usize,
}

impl Drop for Slot {
    fn drop(&mut self) {
        // The word first: while the mark stands, `take` refuses the slot, so it cannot be taken on the strength
        // of a word that still says "user" because this store has not happened yet.
        self.memory.status(self.index).store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.memory.held[self.index].store(false, Ordering::Release);
    }
}

/// A block of frames that user space owns. Frames borrow it; dropping it returns it to the kernel.
#[derive(Debug)]
pub struct Block {
    slot: Slot,
}

impl Block {
    /// The kernel's description of the block, copied out.
    #[inline]
    pub fn descriptor(&self) -> BlockDescriptor {
        let memory = &self.slot.memory;
        let start = memory.block_start(self.slot.index);
        let mut bytes = [0_u8; DESCRIPTOR_LEN];
        // SAFETY: the descriptor lies inside the block; around the status word nobody writes while we own it.
        unsafe {
            bytes.as_mut_ptr().copy_from_nonoverlapping(start, STATUS_OFFSET);
            bytes
                .as_mut_ptr()
                .add(STATUS_OFFSET + 4)
                .copy_from_nonoverlapping(start.add(STATUS_OFFSET + 4), DESCRIPTOR_LEN - STATUS_OFFSET - 4);
        }
        let status = memory.status(self.slot.index).load(Ordering::Relaxed);
        bytes[STATUS_OFFSET..STATUS_OFFSET + 4].copy_from_slice(&status.to_ne_bytes());
        BlockDescriptor::parse(&bytes)
    }

    /// The frames: everything behind the 48-byte descriptor. Offsets of [`crate::walk`] count from the start
    /// of the block, so they are [`DESCRIPTOR_LEN`] larger than indices into this slice.
    #[inline]
    pub fn area(&self) -> &[u8] {
        // SAFETY: see `area_mut`; a shared borrow of the block allows reads only.
        unsafe {
            std::slice::from_raw_parts(
                self.slot.memory.block_start(self.slot.index).add(DESCRIPTOR_LEN),
                self.slot.memory.block_bytes - DESCRIPTOR_LEN,
            )
        }
    }

    /// The same bytes, to be rewritten.
    #[inline]
    pub fn area_mut(&mut self) -> &mut [u8] {
        // SAFETY: the range lies inside the mapping behind the status word; the kernel neither reads nor writes
        // it while the status says "user", this is the only `Block` of the slot, and `&mut self` the only borrow.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.slot.memory.block_start(self.slot.index).add(DESCRIPTOR_LEN),
                self.slot.memory.block_bytes - DESCRIPTOR_LEN,
            )
        }
    }

    /// Turns the block into what the disk reads: the first 8 bytes are replaced by `head` (the kernel keeps its
    /// version and private offset there and rebuilds both, `prb_open_block`), the status word stays as it is.
    ///
    /// `len` bytes from the block's start are to be written; it is clamped to the block's size.
    pub fn into_in_flight(self, head: [u8; STATUS_OFFSET], len: usize) -> InFlight {
        // SAFETY: the first 8 bytes lie before the status word and are ours while the block is.
        unsafe {
            let start = self.slot.memory.block_start(self.slot.index);
            start.copy_from_nonoverlapping(head.as_ptr(), head.len());
        }
        let len = len.min(self.slot.memory.block_bytes);
        InFlight { slot: self.slot, len }
    }
}

/// A block on its way to the disk: nobody writes it, the kernel gets it back when this is dropped.
///
/// Whoever submits it to a device holds it until the completion has arrived (see [`crate::disk`]).
#[derive(Debug)]
pub struct InFlight {
    slot: Slot,
    len: usize,
}

impl InFlight {
    /// Bytes to be written, from the block's start.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the bytes are. Valid for `len` bytes as long as `self` lives.
    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.slot.memory.block_start(self.slot.index)
    }

    /// The bytes, copied: for tests and for writers that cannot take them in place. The status word is read
    /// atomically.
    pub fn copy_to(&self, out: &mut Vec<u8>) {
        let start = self.as_ptr();
        let base = out.len();
        out.resize(base + self.len, 0);
        let status = self.slot.memory.status(self.slot.index).load(Ordering::Relaxed).to_ne_bytes();
        let head = STATUS_OFFSET.min(self.len);
        let tail = self.len.saturating_sub(STATUS_OFFSET + 4);
        // SAFETY: both ranges lie inside the block, which nobody writes while it is in flight, and inside the
        // room that `resize` has just made.
        unsafe {
            let to = out.as_mut_ptr().add(base);
            to.copy_from_nonoverlapping(start, head);
            if tail > 0 {
                to.add(STATUS_OFFSET + 4).copy_from_nonoverlapping(start.add(STATUS_OFFSET + 4), tail);
            }
        }
        for (slot, byte) in out[base..].iter_mut().skip(STATUS_OFFSET).zip(status) {
            *slot = byte;
        }
    }
}

/// Where `block_status` lies in a block: behind `version` and `offset_to_priv` (`struct tpacket_block_desc`).
pub const STATUS_OFFSET: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> Arc<RingMemory> {
        Arc::new(RingMemory::anonymous(8192, 2).unwrap())
    }

    #[test]
    fn a_block_exists_once_and_returns_on_drop() {
        let ring = ring();
        assert!(ring.take(0).is_none(), "the kernel owns every block at first");
        assert!(ring.deliver(0, &[1; 64]));
        let block = ring.take(0).unwrap();
        assert!(ring.take(0).is_none(), "held");
        assert!(ring.user_owned(0), "the status word still says user");
        assert!(!ring.deliver(0, &[2; 64]), "the kernel does not write a block that is ours");
        let flight = block.into_in_flight([7; 8], 4096);
        assert!(ring.take(0).is_none(), "with the disk");
        let mut bytes = Vec::new();
        flight.copy_to(&mut bytes);
        assert_eq!((bytes.len(), &bytes[..8], bytes[12]), (4096, &[7_u8; 8][..], 1));
        assert_ne!(u32::from_ne_bytes(bytes[8..12].try_into().unwrap()), 0, "non-zero until given back");
        drop(flight);
        assert!(!ring.user_owned(0));
        assert!(ring.deliver(0, &[3; 64]));
        assert_eq!(ring.take(0).unwrap().area()[0], 3);
    }

    #[test]
    fn blocks_that_no_ring_has_are_refused() {
        for block_bytes in [0, 8, 47, 4097, 4100] {
            assert!(RingMemory::anonymous(block_bytes, 3).is_err(), "{block_bytes}");
        }
        assert!(RingMemory::anonymous(usize::MAX - 7, 3).is_err());
        let smallest = Arc::new(RingMemory::anonymous(DESCRIPTOR_LEN, 3).unwrap());
        assert!(smallest.deliver(2, &[1; DESCRIPTOR_LEN]));
        assert!(!smallest.deliver(1, &[1; DESCRIPTOR_LEN + 1]), "larger than the block");
        assert!(!smallest.deliver(1, &[1; DESCRIPTOR_LEN - 1]), "without a whole descriptor");
        assert!(smallest.take(2).unwrap().area().is_empty());
    }

    #[test]
    fn one_of_many_takers_gets_the_block() {
        let ring = Arc::new(RingMemory::anonymous(4096, 1).unwrap());
        let taken = std::sync::atomic::AtomicU64::new(0);
        let rounds = 2_000;
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while taken.load(Ordering::Relaxed) < rounds {
                        let Some(mut block) = ring.take(0) else { continue };
                        // Two holders at once would see each other's numbers.
                        let seen = block.area()[0];
                        block.area_mut()[0] = seen.wrapping_add(1);
                        assert_eq!(block.area()[1], seen, "nobody else writes the block that is held");
                        taken.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            scope.spawn(|| {
                let mut bytes = [0; 4096];
                for round in 0..rounds {
                    bytes[DESCRIPTOR_LEN..DESCRIPTOR_LEN + 2].fill(round as u8);
                    while !ring.deliver(0, &bytes) {
                        std::hint::spin_loop();
                    }
                }
            });
        });
        assert_eq!(taken.into_inner(), rounds, "each delivery is taken once");
    }

    #[test]
    fn area_excludes_the_descriptor() {
        let ring = ring();
        ring.deliver(1, &[9; 8192]);
        let mut block = ring.take(1).unwrap();
        assert_eq!(block.area().len(), 8192 - DESCRIPTOR_LEN);
        block.area_mut().fill(0);
        assert!(ring.user_owned(1), "rewriting the area cannot hand the block back");
    }
}
