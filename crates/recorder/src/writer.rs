//! One worker's way to the output: which path each block takes, and what becomes of its packets.
//!
//! ```text
//!   block ─┬─ full, or the reader lags ──► in place ─► InFlight ─► disk queue ─► back to the kernel
//!          └─ mostly empty, small frames ► compact ─► open buffer ─► (full, or a second old) ─► disk queue
//!                                          back to the kernel at once
//! ```
//!
//! A *lane* is one link type's way: the file or stream it goes to, the numbers of the interfaces there, the buffer
//! that is open. The first lane is the main file's; others exist where frames of a further link type turn up.
//!
//! Every packet given to a writer ends in its [`Tally`]: written (the write has completed), shed (with the reason
//! told once), or of a link type that the output cannot hold. Order within a lane is kept: whatever is open is
//! sealed before a block is written in place.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gannet_packet::{Frame, LinkType};
use gannet_ring::Block;
use gannet_ring::disk::{DiskQueue, Payload};
use gannet_ring::walk::{BlockDescriptor, FrameHeader, FrameWalk};

use crate::compact::Encoding;
use crate::engine::{Engine, GATHER_FOR, WRITES_IN_FLIGHT};
use crate::error::Error;
use crate::file::{InterfaceDescription, InterfaceKey};
use crate::inplace::{self, Layout, Verdict};
use crate::lane::{InterfaceCounts, Lane, NoRoom, Target, buffers_of, lane_for};
use crate::output::Output;
use crate::packet::{Outgoing, link_type_of};

/// How a worker writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterPlan {
    /// Number of the worker.
    pub worker: u32,
    /// Other workers append to the same files, which must be pcapng: a record of classic pcap may begin in one
    /// write and end in the next.
    pub shared: bool,
    /// Never write in place.
    pub always_copy: bool,
    /// Never copy where in place is possible.
    pub never_copy: bool,
    /// Every frame gets a Linux cooked header (SLL2).
    pub cooked: bool,
    /// Packets are cut to this.
    pub snaplen: usize,
    /// Hand over what is open after every block.
    pub flush_each_block: bool,
    /// Size of a ring block.
    pub block_bytes: usize,
    /// How many writes may be under way or wait for their turn before the next one waits, see [`crate::MOST_WRITES`].
    pub most_writes: usize,
}

/// What a writer has done so far. `written` and the others sum up to everything it was given, once it is idle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets and captured bytes whose write has completed (for a stream: that were handed to its thread).
    pub written: (u64, u64),
    /// Not written: the disk is full or failed, or the reader of a pipe has gone.
    pub shed: (u64, u64),
    /// Not written: a stream holds one link type, and these had another.
    pub other_link_type: (u64, u64),
    /// Packets that were cut to the snaplen.
    pub truncated: u64,
    /// Blocks written in place.
    pub blocks_in_place: u64,
    /// Blocks copied.
    pub blocks_copied: u64,
}

/// Where a block or frame comes from.
#[derive(Clone, Copy)]
pub struct SourceView<'a> {
    /// Number of the source within the run.
    pub source: u32,
    /// Describes one of its interfaces, when a file first needs it.
    pub describe: &'a dyn Fn(i32) -> InterfaceDescription,
    /// Further blocks wait in the ring.
    pub lagging: bool,
}

/// One worker's writer.
pub struct Writer {
    lanes: Vec<Lane>,
    engine: Engine,
}

impl Writer {
    /// A writer for `output`.
    pub fn new(output: &Output, plan: WriterPlan) -> Result<Self, Error> {
        let shared = Arc::clone(&output.shared);
        let link_type = shared.plan.link_type;
        let main =
            shared.series_for(link_type)?.ok_or_else(|| Error::Thread(io::ErrorKind::NotFound.into()))?;
        let disk = DiskQueue::new(WRITES_IN_FLIGHT, None).map_err(Error::Thread)?;
        let tally = Tally::default();
        let engine = Engine {
            plan,
            shared,
            disk,
            queued: VecDeque::new(),
            spare: Vec::new(),
            stuck: Vec::new(),
            gathered: None,
            tally,
            last_write: Instant::now(),
        };
        Ok(Self { lanes: vec![Lane::new(link_type, main)], engine })
    }

    /// What has become of the packets so far.
    pub fn tally(&self) -> Tally {
        self.engine.tally
    }

    /// True while blocks or buffers are with the disk or wait to go there: waiting is done in [`Writer::complete`]
    /// then.
    pub fn is_busy(&self) -> bool {
        self.engine.disk.in_flight() > 0 || self.engine.gathered.is_some()
    }

    /// Packets are cut to this from now on.
    pub fn set_snaplen(&mut self, snaplen: usize) {
        self.engine.plan.snaplen = snaplen;
    }

    /// Records a ring block: at most its first `allowed` packets. Returns what was taken up, in whatever account it
    /// ends, and what was not.
    pub fn record(&mut self, block: Block, source: SourceView<'_>, allowed: u64) -> Recorded {
        let descriptor = block.descriptor();
        if self.in_place(&descriptor, source.lagging) && u64::from(descriptor.packets) <= allowed {
            self.engine.tally.blocks_in_place += 1;
            self.write_in_place(block, &descriptor, source)
        } else {
            self.engine.tally.blocks_copied += 1;
            let recorded = self.copy(&block, &descriptor, source, allowed);
            drop(block);
            if self.engine.plan.flush_each_block {
                self.flush(Duration::ZERO);
            }
            recorded
        }
    }

    /// True if recording one more block now would have to wait: as many writes as may be are under way, a pipe's reader
    /// is behind, the next file of a directory is not there yet, or the disk's promise of room is used up.
    ///
    /// Cheap: a few loads for each link type. Finished writes count until [`Writer::complete`] has taken them in. The
    /// answer is for a full block, so that where it is false [`Writer::record`] returns as soon as it has walked the
    /// block, but for what cannot be foreseen or is rare:
    /// - Other workers take room in the same file, or places in the same pipe's queue, at the same moment.
    /// - When a file is rotated its end, at most one buffer, is written on the spot; so is the page that describes an
    ///   interface when its first packet comes, and the file for a further link type is then created.
    /// - A write that has failed is tried again before it is given up, which takes as long as the device takes.
    /// - A block several times as large as what a pipe's queue holds waits for the reader however empty the queue is.
    ///
    /// On a full disk it is false: packets are shed there, and nothing is waited for.
    pub fn would_wait(&self) -> bool {
        let block_bytes = self.engine.plan.block_bytes;
        // In place: what is open, what is gathered, the block. By copying: what it fills in any of the lanes.
        let writes = self.lanes.len() + 1 + buffers_of(block_bytes);
        self.engine.writes_free() < writes.min(self.engine.plan.most_writes)
            || self.lanes.iter().any(|lane| lane.would_wait(block_bytes))
    }

    /// Books a block as shed that the caller cannot wait to have recorded: the same packets and bytes, at most
    /// `allowed` packets, that [`Writer::record`] would have taken up, in the same accounts of what is returned. What
    /// had been refused for its link type is booked so here, too. To tell why is the caller's.
    pub fn shed_block(&mut self, block: &Block, allowed: u64) -> Recorded {
        let (area, mut walk) = (block.area(), FrameWalk::new(&block.descriptor()));
        let (cooked, snaplen) = (self.engine.plan.cooked, self.engine.plan.snaplen);
        let main = &self.lanes[0];
        let only = matches!(main.target, Target::Stream(_)).then_some(main.link_type);
        let (mut recorded, mut shed) = (Recorded::default(), Recorded::default());
        while let Some(step) = walk.next(area) {
            let Ok(header) = step else {
                recorded.unreadable = u64::from(walk.remaining());
                break;
            };
            if recorded.packets >= allowed {
                recorded.beyond.0 += 1;
                recorded.beyond.1 += inplace::recorded_len(&header, snaplen) as u64;
                continue;
            }
            let link_type = link_type_of(&header).filter(|_| !cooked).unwrap_or(LinkType::SLL2);
            if only.is_some_and(|only| only != link_type) {
                recorded.add(self.engine.refuse_link_type(&header));
                continue;
            }
            let caplen = if link_type == LinkType::SLL2 {
                Outgoing::cooked(&header, header.bytes(area), 0, snaplen).caplen
            } else {
                inplace::recorded_len(&header, snaplen)
            };
            let one = Recorded::of(1, caplen as u64);
            shed.add(one);
            recorded.add(one);
        }
        self.engine.shed(shed.packets, shed.bytes);
        recorded
    }

    /// Records one packet of a capture file, by copying, as interface `interface` of source `source`.
    pub fn record_frame(&mut self, frame: &Frame<'_>, key: InterfaceKey, source: SourceView<'_>) {
        let engine = &mut self.engine;
        let Some(lane) = lane_for(&mut self.lanes, engine, frame.link_type) else {
            let caplen = frame.data.len().min(engine.plan.snaplen) as u64;
            engine.tally.other_link_type.0 += 1;
            engine.tally.other_link_type.1 += caplen;
            return;
        };
        let lane = &mut self.lanes[lane];
        lane.make_way(engine, frame.data.len());
        match lane.interface(engine, key, source.describe) {
            Ok(known) => {
                let number = lane.interfaces[known].number;
                lane.push(engine, &Outgoing::from_frame(frame, number, engine.plan.snaplen), known);
            }
            Err(NoRoom) => engine.shed(1, frame.data.len().min(engine.plan.snaplen) as u64),
        }
    }

    /// Takes in finished writes, after waiting up to `wait` for one. Returns how many there were.
    pub fn complete(&mut self, wait: Option<Duration>) -> usize {
        if self.engine.disk.in_flight() == 0
            && self.engine.gathered.is_some()
            && let Some(wait) = wait
        {
            std::thread::sleep(wait.min(GATHER_FOR));
        }
        self.engine.complete(wait)
    }

    /// What housekeeping calls between blocks and when idle: lets go of rotated files, makes packets visible in the
    /// file that have waited for a second (or for `age`).
    pub fn housekeeping(&mut self) {
        self.engine.retry_stuck();
        self.flush(VISIBLE_AFTER);
        for lane in &mut self.lanes {
            lane.follow_rotation(&mut self.engine);
            lane.settle_size(&self.engine);
        }
    }

    /// Makes packets visible that have been in an open buffer for longer than `age`.
    fn flush(&mut self, age: Duration) {
        for lane in &mut self.lanes {
            let waiting = lane.open.is_some() && !lane.visible;
            // A disk that is behind is not waited for: it has older packets to make visible first.
            let behind = self.engine.writes_free() == 0 || lane.would_wait(0);
            if waiting && lane.opened.elapsed() >= age && !behind {
                lane.make_visible(&mut self.engine);
            }
        }
    }

    /// Writes everything that is open, waits for all writes, and lets go of the files.
    pub fn finish(mut self) -> Tally {
        // What failed is tried again first: while it is missing its file takes nothing more.
        self.engine.settle_all();
        self.engine.retry_stuck();
        for lane in &mut self.lanes {
            lane.end(&mut self.engine);
        }
        self.engine.settle_all();
        self.engine.retry_stuck();
        self.engine.give_up_stuck();
        self.engine.tally
    }

    /// True if this block is to be written in place rather than copied.
    ///
    /// Copying gives smaller files and costs time; so a block is copied when there is time to spare, that is when
    /// the reader keeps up with the ring, and when it pays: frames so small that the headers between them, or the
    /// empty rest of a block that timed out, would make up much of what is written.
    fn in_place(&self, descriptor: &BlockDescriptor, lagging: bool) -> bool {
        let plan = &self.engine.plan;
        let Target::Files { file, .. } = &self.lanes[0].target else { return false };
        let possible = file.encoding() == Encoding::Pcapng
            && !plan.always_copy
            && !plan.cooked
            && plan.block_bytes.is_multiple_of(file.alignment());
        if !possible || plan.never_copy {
            return possible;
        }
        if lagging {
            return true;
        }
        let used = descriptor.len as usize;
        let mean = used / (descriptor.packets as usize).max(1);
        used > plan.block_bytes / 2 && mean > SMALL_FRAME
    }

    fn write_in_place(
        &mut self,
        mut block: Block,
        descriptor: &BlockDescriptor,
        source: SourceView<'_>,
    ) -> Recorded {
        let (main, others) = self.lanes.split_at_mut(1);
        let (main, engine) = (&mut main[0], &mut self.engine);
        main.seal(engine);
        let wanted = descriptor.len as usize + inplace::WORST_CASE_TAIL;
        let len = wanted.next_multiple_of(main.alignment()).min(engine.plan.block_bytes);
        // The file is settled before the block is rewritten, because interface numbers are the file's; the place in it
        // afterwards, because new interfaces are described in front of their packets.
        main.make_way(engine, len);
        for lane in &mut *others {
            lane.make_way(engine, len);
        }
        let mut others = Others { lanes: others, added: Vec::new() };
        let mut outside = Recorded::default();
        let mut per_interface = InterfaceCounts::default();
        let layout = Layout { snaplen: engine.plan.snaplen, len, worker: engine.plan.worker };
        let converted = inplace::to_pcapng(descriptor, block.area_mut(), layout, |header, bytes| {
            if link_type_of(header) != Some(main.link_type) {
                outside.add(others.divert(engine, header, bytes, source));
                return Verdict::Skip;
            }
            let key = InterfaceKey { source: source.source, ifindex: header.ifindex };
            match main.interface(engine, key, source.describe) {
                Ok(known) => {
                    per_interface.add(known);
                    Verdict::Keep { interface: main.interfaces[known].number }
                }
                Err(NoRoom) => {
                    let caplen = inplace::recorded_len(header, engine.plan.snaplen) as u64;
                    engine.shed(1, caplen);
                    outside.add(Recorded::of(1, caplen));
                    Verdict::Skip
                }
            }
        });
        let added = others.added;
        if converted.packets > 0 {
            let flight = block.into_in_flight(converted.head, len);
            main.count(&per_interface);
            main.write_bound(engine, Payload::Blocks(vec![flight]), (converted.packets, converted.bytes));
        }
        engine.tally.truncated += converted.truncated;
        self.lanes.extend(added);
        outside.add(Recorded {
            unreadable: converted.unreadable,
            ..Recorded::of(converted.packets, converted.bytes)
        });
        outside
    }

    fn copy(
        &mut self,
        block: &Block,
        descriptor: &BlockDescriptor,
        source: SourceView<'_>,
        allowed: u64,
    ) -> Recorded {
        let engine = &mut self.engine;
        let mut recorded = Recorded::default();
        let area = block.area();
        let mut walk = FrameWalk::new(descriptor);
        for lane in &mut self.lanes {
            lane.make_way(engine, descriptor.len as usize);
        }
        let mut lane = 0;
        loop {
            let left = allowed - recorded.packets;
            recorded.add(self.lanes[lane].push_run(engine, &mut walk, area, source.source, left));
            // A frame that is not of the common kind: an interface's first, one of another lane, one for the next
            // buffer.
            match walk.next(area) {
                Some(Ok(header)) if recorded.packets < allowed => {
                    let cooked = engine.plan.cooked;
                    let link_type = link_type_of(&header).filter(|_| !cooked).unwrap_or(LinkType::SLL2);
                    match lane_for(&mut self.lanes, engine, link_type) {
                        Some(found) => {
                            lane = found;
                            let bytes = header.bytes(area);
                            recorded.add(self.lanes[lane].push_ring_frame(engine, &header, bytes, source));
                        }
                        None => recorded.add(engine.refuse_link_type(&header)),
                    }
                }
                Some(Ok(header)) => {
                    recorded.beyond.0 += 1;
                    recorded.beyond.1 += inplace::recorded_len(&header, engine.plan.snaplen) as u64;
                }
                Some(Err(_)) => {
                    recorded.unreadable = u64::from(walk.remaining());
                    break;
                }
                None => break,
            }
        }
        recorded
    }
}

/// What was taken up of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Packets, whatever account they end in.
    pub packets: u64,
    /// Their captured bytes.
    pub bytes: u64,
    /// Frames that could not be read, because the block does not add up.
    pub unreadable: u64,
    /// Packets, and their captured bytes, beyond the number allowed.
    pub beyond: (u64, u64),
}

impl Recorded {
    pub(crate) fn of(packets: u64, bytes: u64) -> Self {
        Self { packets, bytes, ..Self::default() }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.unreadable += other.unreadable;
    }
}

/// The lanes beside the main one while a block is rewritten, and those that it made necessary.
struct Others<'a> {
    lanes: &'a mut [Lane],
    added: Vec<Lane>,
}

impl Others<'_> {
    /// Copies a frame of another link type to where it belongs.
    fn divert(
        &mut self,
        engine: &mut Engine,
        header: &FrameHeader,
        bytes: &[u8],
        source: SourceView<'_>,
    ) -> Recorded {
        let link_type = link_type_of(header);
        let wanted = link_type.unwrap_or(LinkType::SLL2);
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.link_type == wanted) {
            return lane.push_ring_frame(engine, header, bytes, source);
        }
        match lane_for(&mut self.added, engine, wanted) {
            Some(lane) => self.added[lane].push_ring_frame(engine, header, bytes, source),
            None => engine.refuse_link_type(header),
        }
    }
}

/// Frames that take less than this in the ring, headers included, are worth copying into compact form when there is
/// time: in place a frame costs 88 bytes more than it is long, in compact form 44.
const SMALL_FRAME: usize = 512;

/// A packet is readable in the file at most this long after it was taken from the ring.
const VISIBLE_AFTER: Duration = Duration::from_millis(800);
