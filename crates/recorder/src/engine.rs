//! What all lanes of a writer share: the disk queue, buffers, and the booking of what was written and what was shed.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gannet_ring::InFlight;
use gannet_ring::buffer::AlignedBuffer;
use gannet_ring::disk::{Completion, DiskQueue, MAX_BLOCKS, Payload};
use gannet_ring::walk::FrameHeader;

use crate::compact::{BUFFER_BYTES, Encoding};
use crate::file::{CaptureFile, Extent};
use crate::inplace;
use crate::output::{Notice, Shared};
use crate::writer::{Recorded, Tally, WriterPlan};

/// What all lanes of a writer share.
pub(crate) struct Engine {
    pub(crate) plan: WriterPlan,
    pub(crate) shared: Arc<Shared>,
    pub(crate) disk: DiskQueue<Ticket>,
    /// Writes that wait for the one under way, oldest first: of classic pcap. While there are any, one is with the
    /// disk.
    pub(crate) queued: VecDeque<Queued>,
    pub(crate) spare: Vec<AlignedBuffer>,
    /// Buffers of classic pcap whose write failed: they cannot be replaced by a filler.
    pub(crate) stuck: Vec<Completion<Ticket>>,
    /// Blocks that are to go into one write.
    pub(crate) gathered: Option<Gathered>,
    pub(crate) tally: Tally,
    pub(crate) last_write: Instant,
}

/// Rewritten blocks that follow one another in a file and wait for more: one large write costs the disk and us less
/// than several small ones.
pub(crate) struct Gathered {
    pub(crate) since: Instant,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) blocks: Vec<InFlight>,
    pub(crate) ticket: Ticket,
}

/// A write that has not been started.
pub(crate) struct Queued {
    offset: u64,
    payload: Payload,
    ticket: Ticket,
}

/// What a write in flight carries.
pub(crate) struct Ticket {
    pub(crate) file: Arc<CaptureFile>,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

impl Engine {
    pub(crate) fn buffer(&mut self) -> AlignedBuffer {
        self.spare.pop().unwrap_or_else(|| AlignedBuffer::new(BUFFER_BYTES))
    }

    pub(crate) fn recycle(&mut self, memory: AlignedBuffer) {
        if self.spare.len() < SPARE_BUFFERS {
            self.spare.push(memory);
        }
    }

    pub(crate) fn shed(&mut self, packets: u64, bytes: u64) {
        self.tally.shed.0 += packets;
        self.tally.shed.1 += bytes;
    }

    pub(crate) fn refuse_link_type(&mut self, header: &FrameHeader) -> Recorded {
        let caplen = inplace::recorded_len(header, self.plan.snaplen) as u64;
        self.tally.other_link_type.0 += 1;
        self.tally.other_link_type.1 += caplen;
        Recorded::of(1, caplen)
    }

    /// Waits a moment for the keeper, taking in finished writes meanwhile.
    pub(crate) fn pause(&mut self, waited: &mut Duration) {
        self.shared.nudge();
        self.write_gathered();
        if self.disk.in_flight() > 0 {
            self.complete(Some(PAUSE));
        } else {
            std::thread::sleep(PAUSE);
        }
        *waited += PAUSE;
    }

    /// Wakes the keeper if the room that the disk has promised runs short.
    pub(crate) fn keep_ahead(&self, file: &CaptureFile) {
        if file.room_ahead() < NUDGE_BELOW {
            self.shared.nudge();
        }
    }

    /// Starts a write. Blocks may first be gathered into a larger one.
    pub(crate) fn write(&mut self, offset: u64, payload: Payload, ticket: Ticket) {
        let Payload::Blocks(blocks) = payload else { return self.write_now(offset, payload, ticket) };
        let len = blocks.iter().map(|block| block.len() as u64).sum();
        if let Some(gathered) = &mut self.gathered
            && gathered.offset + gathered.len == offset
            && Arc::ptr_eq(&gathered.ticket.file, &ticket.file)
        {
            gathered.len += len;
            gathered.blocks.extend(blocks);
            gathered.ticket.packets += ticket.packets;
            gathered.ticket.bytes += ticket.bytes;
        } else {
            self.write_gathered();
            self.gathered = Some(Gathered { since: Instant::now(), offset, len, blocks, ticket });
        }
        if self.gathered.as_ref().is_some_and(|gathered| gathered.blocks.len() >= MAX_BLOCKS) {
            self.write_gathered();
        }
    }

    /// Writes what has been gathered.
    pub(crate) fn write_gathered(&mut self) {
        if let Some(Gathered { offset, blocks, ticket, .. }) = self.gathered.take() {
            self.write_now(offset, Payload::Blocks(blocks), ticket);
        }
    }

    /// Starts a write, after waiting for a place in the queue if need be.
    pub(crate) fn write_now(&mut self, offset: u64, payload: Payload, ticket: Ticket) {
        self.last_write = Instant::now();
        while self.writes_free() == 0 {
            self.complete(Some(WAIT_STEP));
        }
        self.queued.push_back(Queued { offset, payload, ticket });
        self.start_queued();
    }

    /// Gives the disk what it may have by now.
    fn start_queued(&mut self) {
        while let Some(Queued { offset, payload, ticket }) = self.queued.pop_front() {
            // Nothing marks where records begin in classic pcap, so a hole that a crash leaves loses what is behind it:
            // its writes follow one another.
            let in_turn = ticket.file.encoding() != Encoding::Pcapng;
            if in_turn && self.disk.in_flight() > 0 || !self.disk.has_room() {
                self.queued.push_front(Queued { offset, payload, ticket });
                return;
            }
            if self.disk.in_flight() >= QUEUED_WRITES && ticket.file.press() {
                self.shared.nudge();
            }
            let direct = Arc::clone(ticket.file.direct());
            if let Err(refused) = self.disk.submit(&direct, offset, payload, ticket) {
                self.settle(refused);
            }
        }
    }

    /// How many more writes are taken without waiting.
    pub(crate) fn writes_free(&self) -> usize {
        self.plan.most_writes.saturating_sub(self.disk.in_flight() + self.queued.len())
    }

    /// Takes in finished writes, and starts a gathered one that has waited long enough.
    pub(crate) fn complete(&mut self, wait: Option<Duration>) -> usize {
        if self.gathered.as_ref().is_some_and(|gathered| gathered.since.elapsed() >= GATHER_FOR) {
            self.write_gathered();
        }
        let mut finished = Vec::new();
        let count = self.disk.complete(wait, |completion| finished.push(completion));
        for completion in finished {
            self.settle(completion);
        }
        self.start_queued();
        count
    }

    /// Waits until the disk has everything.
    pub(crate) fn settle_all(&mut self) {
        self.write_gathered();
        while self.disk.in_flight() > 0 {
            self.complete(Some(WAIT_STEP));
        }
    }

    /// Books a finished write; a failed one is tried once more.
    pub(crate) fn settle(&mut self, mut completion: Completion<Ticket>) {
        let ticket = &completion.tag;
        if let Err(error) = &completion.result {
            let extent = Extent { offset: completion.offset, len: completion.payload.len() as u64 };
            if let Err(second) = write_again(&ticket.file, &completion, error) {
                let text = format!("writing {}: {second}", ticket.file.path().display());
                self.shared.notify_once(Notice::WriteFailed(text));
                ticket.file.fault(extent);
                self.shared.nudge();
                if ticket.file.encoding() == Encoding::Pcapng {
                    self.shed(completion.tag.packets, completion.tag.bytes);
                } else {
                    completion.result = Err(second);
                    self.stuck.push(completion);
                }
                return;
            }
        }
        ticket.file.add_written(ticket.packets, ticket.bytes);
        self.tally.written.0 += ticket.packets;
        self.tally.written.1 += ticket.bytes;
        if let Payload::Buffer(memory, _) = completion.payload {
            self.recycle(memory);
        }
    }

    /// Tries the classic pcap writes again that have failed; until they succeed the file takes nothing more.
    pub(crate) fn retry_stuck(&mut self) {
        for completion in std::mem::take(&mut self.stuck) {
            let extent = Extent { offset: completion.offset, len: completion.payload.len() as u64 };
            match write_again(&completion.tag.file, &completion, &io::ErrorKind::Other.into()) {
                Ok(()) => {
                    completion.tag.file.clear_fault(extent);
                    self.settle(Completion { result: Ok(()), ..completion });
                }
                Err(_) => self.stuck.push(completion),
            }
        }
    }

    /// At the end: what could not be written is shed, and the file is cut where it would have been.
    pub(crate) fn give_up_stuck(&mut self) {
        for completion in std::mem::take(&mut self.stuck) {
            self.shed(completion.tag.packets, completion.tag.bytes);
        }
    }
}

/// The blocking second attempt at a write. `first` is why the first one failed: a refusal of direct I/O as such
/// (`EINVAL`) is answered by a buffered write.
pub(crate) fn write_again(
    file: &CaptureFile,
    completion: &Completion<Ticket>,
    first: &io::Error,
) -> io::Result<()> {
    let mut copy = Vec::new();
    let bytes = match &completion.payload {
        Payload::Buffer(memory, len) => &memory[..*len],
        Payload::Blocks(blocks) => {
            blocks.iter().for_each(|block| block.copy_to(&mut copy));
            &copy
        }
    };
    if first.kind() == io::ErrorKind::InvalidInput {
        return file.write_buffered(completion.offset, bytes);
    }
    let mut aligned = AlignedBuffer::new(bytes.len());
    aligned[..bytes.len()].copy_from_slice(bytes);
    file.direct().write_all_at(&aligned[..bytes.len()], completion.offset)
}

/// Writes that one worker has with the disk at a time. 32 of 1 MiB keep a fast NVMe device busy; more would only
/// take blocks away from the ring.
pub(crate) const WRITES_IN_FLIGHT: usize = 32;

/// The usual [`WriterPlan::most_writes`]: nothing waits for its turn at the disk but what classic pcap writes in
/// order. A caller that must not wait, and copies, bridges longer pauses of the disk with more: each is a buffer of 1
/// MiB.
pub const MOST_WRITES: usize = WRITES_IN_FLIGHT;

/// Blocks wait this long at most for more of them to be written with.
pub(crate) const GATHER_FOR: Duration = Duration::from_millis(10);

/// With this many writes in flight when the next one starts, the disk is what is waited for.
pub(crate) const QUEUED_WRITES: usize = 2;

/// Buffers kept for reuse: all that can be in flight, because a new one costs a page fault for every 4 KiB of it.
pub(crate) const SPARE_BUFFERS: usize = WRITES_IN_FLIGHT;

/// How long a finished write is waited for before looking around.
const WAIT_STEP: Duration = Duration::from_millis(100);

/// One step of waiting for the keeper.
pub(crate) const PAUSE: Duration = Duration::from_micros(500);

/// With less promised room than this the keeper is woken: 30 ms of a 10 Gbit/s link.
pub(crate) const NUDGE_BELOW: u64 = 32 << 20;
