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

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gannet_packet::{Frame, LinkType};
use gannet_pcap::classic;
use gannet_ring::buffer::AlignedBuffer;
use gannet_ring::disk::{Completion, DiskQueue, MAX_BLOCKS, Payload};
use gannet_ring::walk::{BlockDescriptor, FrameHeader, FrameWalk};
use gannet_ring::{Block, InFlight};

use crate::compact::{BUFFER_BYTES, CompactBuffer, Encoding};
use crate::error::Error;
use crate::file::{CaptureFile, Extent, InterfaceDescription, InterfaceKey, Refusal};
use crate::inplace::{self, Layout, Verdict};
use crate::output::{Notice, Output, Series, Shared};
use crate::packet::{Outgoing, link_type_of};
use crate::series::FileSeries;
use crate::stream::StreamSeries;

/// How a worker writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterPlan {
    /// Number of the worker.
    pub worker: u32,
    /// Other workers append to the same files.
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

/// What all lanes of a writer share.
struct Engine {
    plan: WriterPlan,
    shared: Arc<Shared>,
    disk: DiskQueue<Ticket>,
    spare: Vec<AlignedBuffer>,
    /// Buffers of classic pcap whose write failed: they cannot be replaced by a filler.
    stuck: Vec<Completion<Ticket>>,
    /// Blocks that are to go into one write.
    gathered: Option<Gathered>,
    tally: Tally,
    last_write: Instant,
}

/// Rewritten blocks that follow one another in a file and wait for more: one large write costs the disk and us less
/// than several small ones.
struct Gathered {
    since: Instant,
    offset: u64,
    len: u64,
    blocks: Vec<InFlight>,
    ticket: Ticket,
}

/// What a write in flight carries.
struct Ticket {
    file: Arc<CaptureFile>,
    packets: u64,
    bytes: u64,
}

struct Lane {
    link_type: LinkType,
    target: Target,
    open: Option<CompactBuffer>,
    /// When the oldest packet in `open` was put there, and whether all of them are visible in the file by now.
    opened: Instant,
    visible: bool,
    interfaces: Vec<Known>,
}

/// An interface that the current file or stream has a number for.
struct Known {
    key: InterfaceKey,
    number: u32,
    /// Packets of it in the file; a stream has no such counter.
    packets: Option<Arc<AtomicU64>>,
}

enum Target {
    Files { series: Arc<FileSeries>, file: Arc<CaptureFile>, generation: u64 },
    Stream(Arc<StreamSeries>),
}

/// The disk would not take it: the packets are shed.
struct NoRoom;

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

    /// Records one packet of a capture file, by copying, as interface `interface` of source `source`.
    pub fn record_frame(&mut self, frame: &Frame<'_>, key: InterfaceKey, source: SourceView<'_>) {
        let engine = &mut self.engine;
        let Some(lane) = lane_for(&mut self.lanes, engine, frame.link_type) else {
            let caplen = frame.data.len().min(engine.plan.snaplen) as u64;
            engine.tally.other_link_type.0 += 1;
            engine.tally.other_link_type.1 += caplen;
            return;
        };
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
            if waiting && lane.opened.elapsed() >= age {
                lane.make_visible(&mut self.engine);
            }
        }
    }

    /// Writes everything that is open, waits for all writes, and lets go of the files.
    pub fn finish(mut self) -> Tally {
        for lane in &mut self.lanes {
            lane.end(&mut self.engine);
        }
        self.engine.write_gathered();
        while self.engine.disk.in_flight() > 0 {
            self.engine.complete(Some(Duration::from_millis(100)));
        }
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
        while let Some(step) = walk.next(area) {
            let Ok(header) = step else {
                recorded.unreadable = u64::from(walk.remaining());
                break;
            };
            if recorded.packets >= allowed {
                recorded.beyond.0 += 1;
                recorded.beyond.1 += inplace::recorded_len(&header, engine.plan.snaplen) as u64;
                continue;
            }
            recorded.add(record_by_copy(&mut self.lanes, engine, &header, header.bytes(area), source));
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
    fn of(packets: u64, bytes: u64) -> Self {
        Self { packets, bytes, ..Self::default() }
    }

    fn add(&mut self, other: Self) {
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
            Some(lane) => lane.push_ring_frame(engine, header, bytes, source),
            None => engine.refuse_link_type(header),
        }
    }
}

/// Copies a frame to the lane of its link type.
fn record_by_copy(
    lanes: &mut Vec<Lane>,
    engine: &mut Engine,
    header: &FrameHeader,
    bytes: &[u8],
    source: SourceView<'_>,
) -> Recorded {
    let cooked = engine.plan.cooked;
    let wanted = link_type_of(header).filter(|_| !cooked).unwrap_or(LinkType::SLL2);
    match lane_for(lanes, engine, wanted) {
        Some(lane) => lane.push_ring_frame(engine, header, bytes, source),
        None => engine.refuse_link_type(header),
    }
}

/// The lane for a link type, made if it is new. `None` if the output cannot hold it.
fn lane_for<'a>(lanes: &'a mut Vec<Lane>, engine: &mut Engine, link_type: LinkType) -> Option<&'a mut Lane> {
    if let Some(index) = lanes.iter().position(|lane| lane.link_type == link_type) {
        return Some(&mut lanes[index]);
    }
    match engine.shared.series_for(link_type) {
        Ok(Some(series)) => {
            lanes.push(Lane::new(link_type, series));
            lanes.last_mut()
        }
        Ok(None) => {
            let text = format!(
                "this output holds one link type, and frames of LINKTYPE {} came: --cooked takes all",
                link_type.0
            );
            engine.shared.notify_once(Notice::Trouble(text));
            None
        }
        Err(error) => {
            engine.shared.notify_once(Notice::Trouble(error.to_string()));
            None
        }
    }
}

/// Packets per known interface within a block: a block has few interfaces, as a rule one.
#[derive(Default)]
struct InterfaceCounts(Vec<u64>);

impl InterfaceCounts {
    #[inline]
    fn add(&mut self, known: usize) {
        if known >= self.0.len() {
            self.0.resize(known + 1, 0);
        }
        self.0[known] += 1;
    }
}

impl Lane {
    fn new(link_type: LinkType, series: Series) -> Self {
        let target = match series {
            Series::Files(series) => {
                let (file, generation) = series.current();
                Target::Files { series, file, generation }
            }
            Series::Stream(stream) => Target::Stream(stream),
        };
        Self { link_type, target, open: None, opened: Instant::now(), visible: true, interfaces: Vec::new() }
    }

    fn encoding(&self) -> Encoding {
        match &self.target {
            Target::Files { file, .. } => file.encoding(),
            Target::Stream(stream) => stream.encoding(),
        }
    }

    fn alignment(&self) -> usize {
        match &self.target {
            Target::Files { file, .. } => file.alignment(),
            Target::Stream(_) => 1,
        }
    }

    /// Where in `interfaces` the interface `key` is; it gets a number in the current file if it has none.
    #[inline]
    fn interface(
        &mut self,
        engine: &mut Engine,
        key: InterfaceKey,
        describe: &dyn Fn(i32) -> InterfaceDescription,
    ) -> Result<usize, NoRoom> {
        match self.interfaces.iter().position(|known| known.key == key) {
            Some(known) => Ok(known),
            None => self.new_interface(engine, key, describe),
        }
    }

    #[cold]
    fn new_interface(
        &mut self,
        engine: &mut Engine,
        key: InterfaceKey,
        describe: &dyn Fn(i32) -> InterfaceDescription,
    ) -> Result<usize, NoRoom> {
        let (number, packets) = match &self.target {
            Target::Files { series, file, .. } => {
                let mut waited = Duration::ZERO;
                loop {
                    match file.interface(key, || describe(key.ifindex)) {
                        Ok((number, packets)) => break (number, Some(packets)),
                        // The keeper may only be late; the disk may be full.
                        Err(_) if !series.disk_full() && waited < ROOM_PATIENCE => engine.pause(&mut waited),
                        Err(_) => return Err(NoRoom),
                    }
                }
            }
            Target::Stream(stream) => (stream.interface(key, || describe(key.ifindex)), None),
        };
        self.interfaces.push(Known { key, number, packets });
        Ok(self.interfaces.len() - 1)
    }

    fn count(&self, counts: &InterfaceCounts) {
        for (known, count) in self.interfaces.iter().zip(&counts.0) {
            if let Some(packets) = &known.packets {
                packets.fetch_add(*count, Ordering::Relaxed);
            }
        }
    }

    /// Copies a ring frame into the open buffer.
    fn push_ring_frame(
        &mut self,
        engine: &mut Engine,
        header: &FrameHeader,
        bytes: &[u8],
        source: SourceView<'_>,
    ) -> Recorded {
        let key = InterfaceKey { source: source.source, ifindex: header.ifindex };
        let known = self.interface(engine, key, source.describe);
        let number = known.as_ref().map_or(0, |known| self.interfaces[*known].number);
        let snaplen = engine.plan.snaplen;
        let outgoing = if self.link_type == LinkType::SLL2 {
            Outgoing::cooked(header, bytes, number, snaplen)
        } else {
            Outgoing::from_ring(header, bytes, number, snaplen)
        };
        match known {
            Ok(known) => self.push(engine, &outgoing, known),
            Err(NoRoom) => engine.shed(1, outgoing.caplen as u64),
        }
        Recorded::of(1, outgoing.caplen as u64)
    }

    /// Copies a packet into the open buffer, or sheds it. `known` is its interface.
    #[inline]
    fn push(&mut self, engine: &mut Engine, packet: &Outgoing<'_>, known: usize) {
        if !self.open.as_mut().is_some_and(|open| open.push(packet)) && !self.push_to_next(engine, packet) {
            engine.shed(1, packet.caplen as u64);
            return;
        }
        self.visible = false;
        engine.tally.truncated += u64::from(packet.is_truncated());
        if let Some(packets) = &self.interfaces[known].packets {
            packets.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The open buffer is full, or there is none: the packet is the first of the next.
    fn push_to_next(&mut self, engine: &mut Engine, packet: &Outgoing<'_>) -> bool {
        self.seal(engine);
        if self.open.is_none() {
            self.begin_buffer(engine, &[]);
        }
        self.opened = Instant::now();
        self.open.as_mut().is_some_and(|open| open.push(packet))
    }

    /// Opens a buffer. A classic pcap file's begins with `carry`, what is left of the buffer before, or with the file
    /// header.
    fn begin_buffer(&mut self, engine: &mut Engine, carry: &[u8]) {
        let (bytes, marked) = match &self.target {
            Target::Files { file, .. } => (engine.buffer(), file.encoding() == Encoding::Pcapng),
            Target::Stream(stream) => (stream.buffer(), false),
        };
        let mut open = CompactBuffer::new(bytes, self.encoding(), marked, engine.plan.worker);
        if let (Target::Files { file, .. }, Encoding::Pcap(precision)) = (&self.target, self.encoding()) {
            if file.is_empty() && carry.is_empty() {
                open.push_raw(&classic::file_header(precision, file.link_type(), file.snaplen()));
            } else {
                open.push_raw(carry);
            }
        }
        self.open = Some(open);
    }

    /// Writes the open buffer: from now on its packets are the disk's or the stream's business.
    fn seal(&mut self, engine: &mut Engine) {
        let Some(open) = self.open.take() else { return };
        let (packets, bytes) = (open.packets(), open.packet_bytes());
        match &self.target {
            Target::Stream(stream) => {
                let (memory, len) = open.into_parts();
                if packets > 0 && stream.send_packets(memory, len, packets, bytes) {
                    engine.tally.written.0 += packets;
                    engine.tally.written.1 += bytes;
                } else {
                    engine.shed(packets, bytes);
                }
                self.visible = true;
            }
            Target::Files { file, .. } => match file.encoding() {
                Encoding::Pcapng if packets == 0 => engine.recycle(open.into_parts().0),
                Encoding::Pcapng => {
                    let (memory, len) = open.seal(file.alignment());
                    self.write_bound(engine, Payload::Buffer(memory, len), (packets, bytes));
                    self.visible = true;
                }
                Encoding::Pcap(_) => self.seal_classic(engine, open),
            },
        }
    }

    /// Writes the aligned part of a classic pcap buffer and carries the rest over into the next.
    fn seal_classic(&mut self, engine: &mut Engine, open: CompactBuffer) {
        let alignment = self.alignment();
        let len = open.len() - open.len() % alignment;
        if len == 0 {
            // Too little for a write, so the packet that did not fit is larger than a whole buffer.
            self.open = Some(open);
            return;
        }
        let carry = open.beyond(alignment).to_vec();
        let earlier = open.raw().to_vec();
        let (packets, bytes) = (open.packets(), open.packet_bytes());
        let (memory, _) = open.into_parts();
        let written = self.write_bound(engine, Payload::Buffer(memory, len), (packets, bytes));
        // What was not written must not leave a torn record behind: go on from what was there before.
        self.begin_buffer(engine, if written { &carry } else { &earlier });
        self.visible = !written || carry.is_empty();
        self.opened = Instant::now();
    }

    /// Writes a sealed buffer or a rewritten block to the file that its packets are bound to by the numbers of their
    /// interfaces. False if they had to be shed.
    fn write_bound(&self, engine: &mut Engine, payload: Payload, (packets, bytes): (u64, u64)) -> bool {
        let Target::Files { series, file, .. } = &self.target else { return false };
        let mut waited = Duration::ZERO;
        loop {
            match file.reserve(payload.len() as u64) {
                Ok(offset) => {
                    engine.keep_ahead(file);
                    engine.write(offset, payload, Ticket { file: Arc::clone(file), packets, bytes });
                    return true;
                }
                Err(Refusal::NotYet) if !series.disk_full() && waited < ROOM_PATIENCE => {
                    engine.pause(&mut waited);
                }
                Err(Refusal::NotYet | Refusal::Faulty) => {
                    if let Payload::Buffer(memory, _) = payload {
                        engine.recycle(memory);
                    }
                    engine.shed(packets, bytes);
                    return false;
                }
            }
        }
    }

    /// Before `bytes` of packets are recorded: goes on in the next file if this one has been ended or has no room for
    /// them. Waits for the next file, but not on a full disk: then the file grows beyond its size, or packets are shed.
    fn make_way(&mut self, engine: &mut Engine, bytes: usize) {
        self.follow_rotation(engine);
        let Target::Files { series, file, generation } = &self.target else { return };
        let open = self.open.as_ref().map_or(0, CompactBuffer::len);
        if !series.rotates() || !file.would_exceed((open + bytes).next_multiple_of(file.alignment()) as u64) {
            return;
        }
        let mut waited = Duration::ZERO;
        while !engine.shared.rotate_series(series, *generation)
            && !series.disk_full()
            && waited < ROOM_PATIENCE
        {
            engine.pause(&mut waited);
        }
        self.follow_rotation(engine);
    }

    /// Finishes what is open in a file that has been rotated away, and goes on in the current one.
    #[inline]
    fn follow_rotation(&mut self, engine: &mut Engine) {
        let Target::Files { series, generation, .. } = &self.target else { return };
        if series.generation() == *generation {
            return;
        }
        let series = Arc::clone(series);
        self.end(engine);
        let (file, generation) = series.current();
        self.target = Target::Files { series, file, generation };
        self.interfaces.clear();
    }

    /// Makes the open packets readable in the file, or sends them down the stream.
    fn make_visible(&mut self, engine: &mut Engine) {
        let Target::Files { file, .. } = &self.target else { return self.seal(engine) };
        if engine.plan.shared {
            return self.seal(engine);
        }
        // Nobody else appends: the bytes go to where they will be written in the end, and the buffer stays open.
        if let Some(open) = &mut self.open {
            self.visible = file.write_buffered(file.end(), open.exact()).is_ok();
            self.opened = Instant::now();
        }
    }

    /// When the load is over, the file's size is again what has been written.
    fn settle_size(&self, engine: &Engine) {
        let Target::Files { file, .. } = &self.target else { return };
        if engine.plan.shared
            || engine.disk.in_flight() > 0
            || engine.gathered.is_some()
            || engine.last_write.elapsed() < CALM
        {
            return;
        }
        match &self.open {
            None => file.fall_back(file.end()),
            Some(open) if self.visible => file.fall_back(file.end() + open.len() as u64),
            Some(_) => {}
        }
    }

    /// Writes what is open as the end of the current file.
    fn end(&mut self, engine: &mut Engine) {
        let Target::Files { file, .. } = &self.target else { return self.seal(engine) };
        if engine.plan.shared {
            return self.seal(engine);
        }
        let Some(mut open) = self.open.take() else { return };
        self.visible = true;
        let file = Arc::clone(file);
        let (packets, bytes) = (open.packets(), open.packet_bytes());
        if open.is_empty() && (file.encoding() == Encoding::Pcapng || open.raw().is_empty()) {
            return engine.recycle(open.into_parts().0);
        }
        // The end of a file need not be aligned.
        let written = file
            .reserve(open.len() as u64)
            .is_ok_and(|offset| file.write_buffered(offset, open.exact()).is_ok());
        engine.recycle(open.into_parts().0);
        if written {
            file.add_packets(packets);
            engine.tally.written.0 += packets;
            engine.tally.written.1 += bytes;
        } else {
            engine.shed(packets, bytes);
        }
    }
}

impl Engine {
    fn buffer(&mut self) -> AlignedBuffer {
        self.spare.pop().unwrap_or_else(|| AlignedBuffer::new(BUFFER_BYTES))
    }

    fn recycle(&mut self, memory: AlignedBuffer) {
        if self.spare.len() < SPARE_BUFFERS {
            self.spare.push(memory);
        }
    }

    fn shed(&mut self, packets: u64, bytes: u64) {
        self.tally.shed.0 += packets;
        self.tally.shed.1 += bytes;
    }

    fn refuse_link_type(&mut self, header: &FrameHeader) -> Recorded {
        let caplen = inplace::recorded_len(header, self.plan.snaplen) as u64;
        self.tally.other_link_type.0 += 1;
        self.tally.other_link_type.1 += caplen;
        Recorded::of(1, caplen)
    }

    /// Waits a moment for the keeper, taking in finished writes meanwhile.
    fn pause(&mut self, waited: &mut Duration) {
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
    fn keep_ahead(&self, file: &CaptureFile) {
        if file.room_ahead() < NUDGE_BELOW {
            self.shared.nudge();
        }
    }

    /// Starts a write. Blocks may first be gathered into a larger one.
    fn write(&mut self, offset: u64, payload: Payload, ticket: Ticket) {
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
    fn write_gathered(&mut self) {
        if let Some(Gathered { offset, blocks, ticket, .. }) = self.gathered.take() {
            self.write_now(offset, Payload::Blocks(blocks), ticket);
        }
    }

    /// Starts a write, after waiting for a place in the queue if need be.
    fn write_now(&mut self, offset: u64, payload: Payload, ticket: Ticket) {
        self.last_write = Instant::now();
        while !self.disk.has_room() {
            self.complete(Some(Duration::from_millis(100)));
        }
        if self.disk.in_flight() >= QUEUED_WRITES && ticket.file.press() {
            self.shared.nudge();
        }
        let direct = Arc::clone(ticket.file.direct());
        if let Err(refused) = self.disk.submit(&direct, offset, payload, ticket) {
            self.settle(refused);
        }
    }

    /// Takes in finished writes, and starts a gathered one that has waited long enough.
    fn complete(&mut self, wait: Option<Duration>) -> usize {
        if self.gathered.as_ref().is_some_and(|gathered| gathered.since.elapsed() >= GATHER_FOR) {
            self.write_gathered();
        }
        let mut finished = Vec::new();
        let count = self.disk.complete(wait, |completion| finished.push(completion));
        for completion in finished {
            self.settle(completion);
        }
        count
    }

    /// Books a finished write; a failed one is tried once more.
    fn settle(&mut self, mut completion: Completion<Ticket>) {
        let ticket = &completion.tag;
        if let Err(error) = &completion.result {
            let extent = Extent { offset: completion.offset, len: completion.payload.len() as u64 };
            if let Err(second) = write_again(&ticket.file, &completion, error) {
                let text = format!("writing {} at {}: {second}", ticket.file.path().display(), extent.offset);
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
        ticket.file.add_packets(ticket.packets);
        self.tally.written.0 += ticket.packets;
        self.tally.written.1 += ticket.bytes;
        if let Payload::Buffer(memory, _) = completion.payload {
            self.recycle(memory);
        }
    }

    /// Tries the classic pcap writes again that have failed; until they succeed the file takes nothing more.
    fn retry_stuck(&mut self) {
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
    fn give_up_stuck(&mut self) {
        for completion in std::mem::take(&mut self.stuck) {
            self.shed(completion.tag.packets, completion.tag.bytes);
        }
    }
}

/// The blocking second attempt at a write. `first` is why the first one failed: a refusal of direct I/O as such
/// (`EINVAL`) is answered by a buffered write.
fn write_again(file: &CaptureFile, completion: &Completion<Ticket>, first: &io::Error) -> io::Result<()> {
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
const WRITES_IN_FLIGHT: usize = 32;

/// Blocks wait this long at most for more of them to be written with.
const GATHER_FOR: Duration = Duration::from_millis(10);

/// With this many writes in flight the disk is what is waited for.
const QUEUED_WRITES: usize = 2;

/// After this time without a write the load is over.
const CALM: Duration = Duration::from_millis(500);

/// Buffers kept for reuse.
const SPARE_BUFFERS: usize = 8;

/// Frames that take less than this in the ring, headers included, are worth copying into compact form when there is
/// time: in place a frame costs 88 bytes more than it is long, in compact form 44.
const SMALL_FRAME: usize = 512;

/// A packet is readable in the file at most this long after it was taken from the ring.
const VISIBLE_AFTER: Duration = Duration::from_millis(800);

/// How long a worker waits for room on a disk that is not known to be full, before it sheds.
const ROOM_PATIENCE: Duration = Duration::from_secs(5);

/// One step of that waiting.
const PAUSE: Duration = Duration::from_micros(500);

/// With less promised room than this the keeper is woken: 30 ms of a 10 Gbit/s link.
const NUDGE_BELOW: u64 = 32 << 20;
