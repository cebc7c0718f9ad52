//! Asynchronous writes of ring blocks and buffers: io_uring, or a pool of `pwrite` threads where there is none.
//!
//! A [`DiskQueue`] takes ownership of what it writes and hands it back in a [`Completion`]; until then the
//! kernel may read those bytes. That is the whole safety argument: memory that a device reads is owned by the
//! queue, and a queue that is dropped first waits for all its writes.
//!
//! Writes are retried here when the kernel writes less than asked or says `EINTR`/`EAGAIN`; every other error
//! is the caller's to judge.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use io_uring::{IoUring, opcode, types};

use crate::buffer::AlignedBuffer;
use crate::memory::InFlight;

/// What is written: blocks in ring memory, or the first bytes of a buffer.
#[derive(Debug)]
pub enum Payload {
    /// Ring blocks, at most [`MAX_BLOCKS`], written one behind the other from where the kernel put their packets.
    Blocks(Vec<InFlight>),
    /// The first `usize` bytes of a buffer.
    Buffer(AlignedBuffer, usize),
}

impl Payload {
    /// Bytes to write.
    pub fn len(&self) -> usize {
        match self {
            Self::Blocks(blocks) => blocks.iter().map(InFlight::len).sum(),
            Self::Buffer(buffer, len) => (*len).min(buffer.len()),
        }
    }

    /// True if there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pieces of memory behind the first `skip` bytes.
    fn pieces(&self, mut skip: usize) -> impl Iterator<Item = Piece> {
        let blocks = match self {
            Self::Blocks(blocks) => blocks.as_slice(),
            Self::Buffer(..) => &[],
        };
        let buffer = match self {
            Self::Blocks(_) => None,
            Self::Buffer(buffer, _) => Some((buffer.as_ptr(), self.len())),
        };
        blocks.iter().map(|block| (block.as_ptr(), block.len())).chain(buffer).filter_map(
            move |(start, len)| {
                let skipped = skip.min(len);
                skip -= skipped;
                // SAFETY: at most `len` bytes behind the start of a piece that is `len` bytes long.
                let start = unsafe { start.add(skipped) };
                let iovec = libc::iovec { iov_base: start.cast_mut().cast(), iov_len: len - skipped };
                (len > skipped).then_some(Piece(iovec))
            },
        )
    }
}

/// A piece of memory that a [`Payload`] owns, as the kernel wants it described.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Piece(libc::iovec);

// SAFETY: the pointer is only read through while the payload that owns the memory is owned beside it, and both go
// from thread to thread together.
unsafe impl Send for Piece {}

/// A finished write: the payload comes back, with the tag it was submitted with.
#[derive(Debug)]
pub struct Completion<T> {
    /// What was written.
    pub payload: Payload,
    /// Where in the file.
    pub offset: u64,
    /// The caller's own.
    pub tag: T,
    /// Success means that every byte has been written.
    pub result: io::Result<()>,
}

/// Which mechanism a [`DiskQueue`] uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Submission and completion rings shared with the kernel.
    IoUring,
    /// Threads that call `pwrite`.
    Threads,
}

/// A bounded queue of writes in flight. One thread owns it.
pub struct DiskQueue<T> {
    engine: Engine<T>,
    depth: usize,
    in_flight: usize,
}

enum Engine<T> {
    Uring { ring: Box<IoUring>, slots: Vec<Option<Write<T>>>, free: Vec<usize>, pieces: Vec<Vec<Piece>> },
    Threads { submit: Option<Sender<Write<T>>>, done: Receiver<(Write<T>, io::Result<()>)> },
}

struct Write<T> {
    file: Arc<File>,
    payload: Payload,
    offset: u64,
    written: usize,
    tag: T,
}

impl<T: Send + 'static> DiskQueue<T> {
    /// A queue for at most `depth` writes in flight (a power of two is used best), on io_uring if the kernel
    /// lets us, else on a few threads. `force` chooses the mechanism; with `IoUring` an error says why not.
    pub fn new(depth: usize, force: Option<Backend>) -> io::Result<Self> {
        let depth = depth.clamp(1, 1024);
        let engine = match force {
            Some(Backend::Threads) => Engine::threads(depth)?,
            Some(Backend::IoUring) => Engine::uring(depth)?,
            // Refused by a container policy, the sysctl io_uring_disabled, or a kernel before 5.11.
            None => Engine::uring(depth).or_else(|_| Engine::threads(depth))?,
        };
        Ok(Self { engine, depth, in_flight: 0 })
    }

    /// The mechanism in use.
    pub fn backend(&self) -> Backend {
        match self.engine {
            Engine::Uring { .. } => Backend::IoUring,
            Engine::Threads { .. } => Backend::Threads,
        }
    }

    /// Writes submitted whose completion has not been taken.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// True if a further [`DiskQueue::submit`] has room.
    pub fn has_room(&self) -> bool {
        self.in_flight < self.depth
    }

    /// Starts writing `payload` at `offset` of `file`.
    ///
    /// The caller has seen [`DiskQueue::has_room`]; without room, or if the submission itself fails, the write
    /// is returned as a completion with the error.
    pub fn submit(
        &mut self,
        file: &Arc<File>,
        offset: u64,
        payload: Payload,
        tag: T,
    ) -> Result<(), Completion<T>> {
        let write = Write { file: Arc::clone(file), payload, offset, written: 0, tag };
        if !self.has_room() {
            return Err(write.complete(Err(io::ErrorKind::WouldBlock.into())));
        }
        match &mut self.engine {
            Engine::Uring { ring, slots, free, pieces } => {
                let Some(slot) = free.pop() else {
                    return Err(write.complete(Err(io::ErrorKind::WouldBlock.into())));
                };
                push_write(ring, slot, slots[slot].insert(write), &mut pieces[slot]);
                // A refusal (EAGAIN, EBUSY) leaves the entry in the submission ring: the next enter takes it.
                let _ = ring.submit();
            }
            Engine::Threads { submit, .. } => {
                let refused = match submit {
                    Some(submit) => submit.send(write).map_err(|error| error.0).err(),
                    None => Some(write),
                };
                if let Some(write) = refused {
                    return Err(write.complete(Err(io::ErrorKind::BrokenPipe.into())));
                }
            }
        }
        self.in_flight += 1;
        Ok(())
    }

    /// Passes finished writes to `each`, after waiting up to `wait` for the first one if none has finished.
    ///
    /// Returns how many there were. Without writes in flight it returns at once.
    pub fn complete(&mut self, wait: Option<Duration>, mut each: impl FnMut(Completion<T>)) -> usize {
        if self.in_flight == 0 {
            return 0;
        }
        let count = match &mut self.engine {
            Engine::Uring { ring, slots, free, pieces } => {
                complete_uring(ring, slots, free, pieces, wait, &mut each)
            }
            Engine::Threads { done, .. } => {
                let mut count = 0;
                let first = match wait {
                    Some(wait) => done.recv_timeout(wait).ok(),
                    None => done.try_recv().ok(),
                };
                if let Some((write, result)) = first {
                    each(write.complete(result));
                    count += 1;
                }
                while let Ok((write, result)) = done.try_recv() {
                    each(write.complete(result));
                    count += 1;
                }
                count
            }
        };
        self.in_flight -= count;
        count
    }
}

impl<T> Write<T> {
    fn complete(self, result: io::Result<()>) -> Completion<T> {
        Completion { payload: self.payload, offset: self.offset, tag: self.tag, result }
    }

    /// The blocking twin of the ring's write.
    fn write_all(&mut self) -> io::Result<()> {
        while self.written < self.payload.len() {
            let Some(Piece(piece)) = self.payload.pieces(self.written).next() else { break };
            // SAFETY: the piece is valid for its length while `self` owns the payload. The only part that
            // anybody else looks at meanwhile is a block's status word, which the kernel and we merely read.
            let bytes = unsafe { std::slice::from_raw_parts(piece.iov_base.cast::<u8>(), piece.iov_len) };
            match self.file.write_at(bytes, self.offset + self.written as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl<T: Send + 'static> Engine<T> {
    fn uring(depth: usize) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder.dontfork();
        let ring = builder.build(depth.next_power_of_two() as u32)?;
        // Waiting with a time-out needs EXT_ARG (Linux 5.11).
        if !ring.params().is_feature_ext_arg() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self::Uring {
            ring: Box::new(ring),
            slots: (0..depth).map(|_| None).collect(),
            free: (0..depth).rev().collect(),
            pieces: (0..depth).map(|_| Vec::with_capacity(MAX_BLOCKS)).collect(),
        })
    }

    fn threads(depth: usize) -> io::Result<Self> {
        let (submit, work) = bounded::<Write<T>>(depth);
        let (finished, done) = bounded(depth);
        for number in 0..depth.min(WRITE_THREADS) {
            let (work, finished) = (work.clone(), finished.clone());
            std::thread::Builder::new().name(format!("write-{number}")).spawn(move || {
                for mut write in work {
                    let result = write.write_all();
                    if finished.send((write, result)).is_err() {
                        return;
                    }
                }
            })?;
        }
        Ok(Self::Threads { submit: Some(submit), done })
    }
}

/// Queues what is left of a write. `pieces` is the slot's own: the kernel reads it until the write has completed.
fn push_write<T>(ring: &mut IoUring, slot: usize, write: &Write<T>, pieces: &mut Vec<Piece>) {
    pieces.clear();
    pieces.extend(write.payload.pieces(write.written).take(MAX_BLOCKS));
    let entry = opcode::Writev::new(
        types::Fd(write.file.as_raw_fd()),
        pieces.as_ptr().cast::<libc::iovec>(),
        pieces.len() as u32,
    )
    .offset(write.offset + write.written as u64)
    .build()
    .user_data(slot as u64);
    // SAFETY: the bytes and the descriptor belong to the `Write` in `slots[slot]`, the list of pieces to the slot;
    // both stay until the completion has been seen. The push cannot fail: the ring has at least as many entries as
    // there are slots, and each slot has at most one entry in it.
    let pushed = unsafe { ring.submission().push(&entry) };
    debug_assert!(pushed.is_ok(), "the submission ring holds one entry per slot");
}

fn complete_uring<T>(
    ring: &mut IoUring,
    slots: &mut [Option<Write<T>>],
    free: &mut Vec<usize>,
    pieces: &mut [Vec<Piece>],
    wait: Option<Duration>,
    each: &mut impl FnMut(Completion<T>),
) -> usize {
    // Look first: what has finished costs no system call.
    if ring.completion().is_empty()
        && let Some(wait) = wait
    {
        let timespec = types::Timespec::from(wait);
        let args = types::SubmitArgs::new().timespec(&timespec);
        // ETIME, EINTR and EBUSY all mean the same here: see what has arrived.
        let _ = ring.submitter().submit_with_args(1, &args);
    }
    let mut count = 0;
    loop {
        let Some(entry) = ring.completion().next() else { break };
        let slot = entry.user_data() as usize;
        let Some(mut write) = slots.get_mut(slot).and_then(Option::take) else { continue };
        let result = match entry.result() {
            written if written > 0 => {
                write.written += written as usize;
                if write.written < write.payload.len() {
                    push_write(ring, slot, slots[slot].insert(write), &mut pieces[slot]);
                    let _ = ring.submit();
                    continue;
                }
                Ok(())
            }
            0 => Err(io::ErrorKind::WriteZero.into()),
            error if matches!(-error, libc::EINTR | libc::EAGAIN) => {
                push_write(ring, slot, slots[slot].insert(write), &mut pieces[slot]);
                let _ = ring.submit();
                continue;
            }
            error => Err(io::Error::from_raw_os_error(-error)),
        };
        free.push(slot);
        each(write.complete(result));
        count += 1;
    }
    count
}

impl<T> Drop for DiskQueue<T> {
    fn drop(&mut self) {
        match &mut self.engine {
            Engine::Uring { ring, slots, .. } => {
                // The kernel may still read what the slots own: wait, however long the device takes.
                while slots.iter().any(Option::is_some) {
                    let _ = ring.submit_and_wait(1);
                    while let Some(entry) = ring.completion().next() {
                        if let Some(slot) = slots.get_mut(entry.user_data() as usize) {
                            *slot = None;
                        }
                    }
                }
            }
            Engine::Threads { submit, done } => {
                submit.take();
                while done.recv().is_ok() {}
            }
        }
    }
}

/// Blocks that one write takes at most: 4 MiB of the usual size. More would hold ring memory longer for little gain.
pub const MAX_BLOCKS: usize = 4;

/// Threads of the fallback: enough to keep a fast disk busy with 1 MiB writes, few enough to stay cheap.
const WRITE_THREADS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::RingMemory;

    fn queues() -> Vec<DiskQueue<u32>> {
        let mut queues = vec![DiskQueue::new(4, Some(Backend::Threads)).unwrap()];
        match DiskQueue::new(4, Some(Backend::IoUring)) {
            Ok(queue) => queues.push(queue),
            Err(error) => eprintln!("SKIPPED: io_uring is refused here: {error}"),
        }
        queues
    }

    fn drain(queue: &mut DiskQueue<u32>) -> Vec<Completion<u32>> {
        let mut all = Vec::new();
        while queue.in_flight() > 0 {
            queue.complete(Some(Duration::from_millis(50)), |completion| all.push(completion));
        }
        all
    }

    #[test]
    fn writes_buffers_and_blocks_where_asked() {
        for mut queue in queues() {
            let file = Arc::new(tempfile::tempfile().unwrap());
            let memory = Arc::new(RingMemory::anonymous(4096, 2).unwrap());
            let blocks = [5, 7].into_iter().enumerate().map(|(index, byte)| {
                memory.deliver(index, &[byte; 4096]);
                memory.take(index).unwrap().into_in_flight([byte + 10; 8], 4096)
            });
            let blocks = blocks.collect();
            let mut buffer = AlignedBuffer::new(4096);
            buffer[..3].copy_from_slice(b"abc");
            queue.submit(&file, 4096, Payload::Blocks(blocks), 1).unwrap();
            queue.submit(&file, 0, Payload::Buffer(buffer, 3), 2).unwrap();
            let mut done = drain(&mut queue);
            done.sort_by_key(|completion| completion.tag);
            assert!(done.iter().all(|completion| completion.result.is_ok()));
            drop(done);
            assert!(!memory.user_owned(0) && !memory.user_owned(1), "given back with the completion");
            let mut bytes = vec![0; 3 * 4096];
            file.read_at(&mut bytes, 0).unwrap();
            assert_eq!((&bytes[..4], &bytes[4096..4104], bytes[8191]), (&b"abc\0"[..], &[15; 8][..], 5));
            assert_eq!((&bytes[8192..8200], bytes[12287]), (&[17; 8][..], 7));
        }
    }

    #[test]
    fn the_rest_of_a_write_is_what_has_not_been_written() {
        // What the kernel is given after a short write, for every length of what it has written.
        let memory = Arc::new(RingMemory::anonymous(64, 3).unwrap());
        let lengths = [64, 16, 48];
        let blocks = lengths.into_iter().enumerate().map(|(index, len)| {
            assert!(memory.deliver(index, &[index as u8 + 1; 64]));
            memory.take(index).unwrap().into_in_flight([index as u8 + 100; 8], len)
        });
        let payload = Payload::Blocks(blocks.collect());
        let mut all = Vec::new();
        let Payload::Blocks(blocks) = &payload else { unreachable!() };
        blocks.iter().for_each(|block| block.copy_to(&mut all));
        assert_eq!((payload.len(), all.len(), payload.is_empty()), (128, 128, false));
        for skip in 0..=all.len() {
            let mut rest = Vec::new();
            for Piece(iovec) in payload.pieces(skip) {
                // SAFETY: nobody writes the blocks, which `payload` owns.
                rest.extend_from_slice(unsafe {
                    std::slice::from_raw_parts(iovec.iov_base.cast::<u8>(), iovec.iov_len)
                });
            }
            assert_eq!(rest, all[skip..], "{skip}");
        }
        let mut buffer = AlignedBuffer::new(100);
        buffer[..5].copy_from_slice(b"hello");
        let payload = Payload::Buffer(buffer, 5);
        let lengths = |skip| payload.pieces(skip).map(|piece| piece.0.iov_len).collect::<Vec<_>>();
        assert_eq!((lengths(0), lengths(3), lengths(5)), (vec![5], vec![2], vec![]));
    }

    #[test]
    fn an_error_comes_back_with_its_payload() {
        for mut queue in queues() {
            let read_only = Arc::new(File::open("/proc/self/exe").unwrap());
            queue.submit(&read_only, 0, Payload::Buffer(AlignedBuffer::new(1), 1), 9).unwrap();
            let done = drain(&mut queue);
            assert_eq!((done.len(), done[0].tag), (1, 9));
            assert_eq!(done[0].result.as_ref().unwrap_err().raw_os_error(), Some(libc::EBADF));
        }
    }

    #[test]
    fn refuses_more_than_its_depth_and_waits_in_drop() {
        for mut queue in queues() {
            let file = Arc::new(tempfile::tempfile().unwrap());
            for number in 0..4 {
                let payload = Payload::Buffer(AlignedBuffer::new(65_536), 65_536);
                queue.submit(&file, number * 65_536, payload, 0).unwrap();
            }
            assert!(!queue.has_room());
            let refused = queue.submit(&file, 0, Payload::Buffer(AlignedBuffer::new(1), 1), 7).unwrap_err();
            assert_eq!((refused.tag, refused.result.unwrap_err().kind()), (7, io::ErrorKind::WouldBlock));
            drop(queue);
            assert_eq!(file.metadata().unwrap().len(), 4 * 65_536);
        }
    }
}
