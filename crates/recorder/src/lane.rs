//! A lane: one link type's way through a writer.
//!
//! It knows the file or stream that the packets go to, the numbers that their interfaces have there, and the buffer
//! that is being filled by copying. What it hands to the disk goes through the [`Engine`].

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gannet_packet::LinkType;
use gannet_pcap::classic;
use gannet_ring::disk::Payload;
use gannet_ring::walk::FrameHeader;

use crate::compact::{BUFFER_BYTES, CompactBuffer, Encoding};
use crate::engine::{Engine, Ticket};
use crate::file::{CaptureFile, InterfaceDescription, InterfaceKey, RESERVE_FOR_CLOSING, Refusal};
use crate::output::{Notice, Series};
use crate::packet::Outgoing;
use crate::series::FileSeries;
use crate::stream::StreamSeries;
use crate::writer::{Recorded, SourceView};

pub(crate) struct Lane {
    pub(crate) link_type: LinkType,
    pub(crate) target: Target,
    pub(crate) open: Option<CompactBuffer>,
    /// When the oldest packet in `open` was put there, and whether all of them are visible in the file by now.
    pub(crate) opened: Instant,
    pub(crate) visible: bool,
    pub(crate) interfaces: Vec<Known>,
}

/// An interface that the current file or stream has a number for.
pub(crate) struct Known {
    pub(crate) key: InterfaceKey,
    pub(crate) number: u32,
    /// Packets of it in the file; a stream has no such counter.
    pub(crate) packets: Option<Arc<AtomicU64>>,
}

pub(crate) enum Target {
    Files { series: Arc<FileSeries>, file: Arc<CaptureFile>, generation: u64 },
    Stream(Arc<StreamSeries>),
}

/// The disk would not take it: the packets are shed.
pub(crate) struct NoRoom;

/// Packets per known interface within a block: a block has few interfaces, as a rule one.
#[derive(Default)]
pub(crate) struct InterfaceCounts(Vec<u64>);

impl InterfaceCounts {
    #[inline]
    pub(crate) fn add(&mut self, known: usize) {
        if known >= self.0.len() {
            self.0.resize(known + 1, 0);
        }
        self.0[known] += 1;
    }
}

impl Lane {
    pub(crate) fn new(link_type: LinkType, series: Series) -> Self {
        let target = match series {
            Series::Files(series) => {
                let (file, generation) = series.current();
                Target::Files { series, file, generation }
            }
            Series::Stream(stream) => Target::Stream(stream),
        };
        Self { link_type, target, open: None, opened: Instant::now(), visible: true, interfaces: Vec::new() }
    }

    pub(crate) fn encoding(&self) -> Encoding {
        match &self.target {
            Target::Files { file, .. } => file.encoding(),
            Target::Stream(stream) => stream.encoding(),
        }
    }

    pub(crate) fn alignment(&self) -> usize {
        match &self.target {
            Target::Files { file, .. } => file.alignment(),
            Target::Stream(_) => 1,
        }
    }

    /// Where in `interfaces` the interface `key` is; it gets a number in the current file if it has none.
    #[inline]
    pub(crate) fn interface(
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
    pub(crate) fn new_interface(
        &mut self,
        engine: &mut Engine,
        key: InterfaceKey,
        describe: &dyn Fn(i32) -> InterfaceDescription,
    ) -> Result<usize, NoRoom> {
        if matches!(&self.target, Target::Files { file, .. } if file.encoding() == Encoding::Pcapng) {
            // Its block goes to the file's end, where open packets may be readable by now: they keep their place.
            self.seal(engine);
        }
        let (number, packets) = match &self.target {
            Target::Files { series, file, .. } => {
                let mut waited = Duration::ZERO;
                loop {
                    match file.interface(key, || describe(key.ifindex)) {
                        Ok((number, packets)) => break (number, Some(packets)),
                        // The keeper may only be late; the disk may be full.
                        Err(error)
                            if error.kind() == io::ErrorKind::StorageFull
                                && !series.disk_full()
                                && waited < ROOM_PATIENCE =>
                        {
                            engine.pause(&mut waited);
                        }
                        Err(_) => return Err(NoRoom),
                    }
                }
            }
            Target::Stream(stream) => (stream.interface(key, || describe(key.ifindex)), None),
        };
        self.interfaces.push(Known { key, number, packets });
        Ok(self.interfaces.len() - 1)
    }

    pub(crate) fn count(&self, counts: &InterfaceCounts) {
        for (known, count) in self.interfaces.iter().zip(&counts.0) {
            if let Some(packets) = &known.packets {
                packets.fetch_add(*count, Ordering::Relaxed);
            }
        }
    }

    /// Copies a ring frame into the open buffer.
    pub(crate) fn push_ring_frame(
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
    pub(crate) fn push(&mut self, engine: &mut Engine, packet: &Outgoing<'_>, known: usize) {
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
    pub(crate) fn push_to_next(&mut self, engine: &mut Engine, packet: &Outgoing<'_>) -> bool {
        self.seal(engine);
        if self.open.is_none() {
            self.begin_buffer(engine, &[]);
        }
        self.opened = Instant::now();
        self.open.as_mut().is_some_and(|open| open.push(packet))
    }

    /// Opens a buffer. A classic pcap file's begins with `carry`, what is left of the buffer before, or with the file
    /// header.
    pub(crate) fn begin_buffer(&mut self, engine: &mut Engine, carry: &[u8]) {
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
    pub(crate) fn seal(&mut self, engine: &mut Engine) {
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
    pub(crate) fn seal_classic(&mut self, engine: &mut Engine, open: CompactBuffer) {
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
    pub(crate) fn write_bound(
        &self,
        engine: &mut Engine,
        payload: Payload,
        (packets, bytes): (u64, u64),
    ) -> bool {
        let (Target::Files { file, .. }, Some(offset)) =
            (&self.target, self.room(engine, payload.len() as u64))
        else {
            if let Payload::Buffer(memory, _) = payload {
                engine.recycle(memory);
            }
            engine.shed(packets, bytes);
            return false;
        };
        engine.write(offset, payload, Ticket { file: Arc::clone(file), packets, bytes });
        true
    }

    /// Takes `len` bytes at the end of the file. Waits if the keeper is only late; `None` if the disk is full or a
    /// write has failed.
    fn room(&self, engine: &mut Engine, len: u64) -> Option<u64> {
        let Target::Files { series, file, generation } = &self.target else { return None };
        let mut waited = Duration::ZERO;
        loop {
            match file.reserve(len) {
                Ok(offset) => {
                    engine.keep_ahead(file);
                    return Some(offset);
                }
                Err(Refusal::Faulty) => return None,
                // The keeper looks after the current file only.
                Err(Refusal::NotYet) if series.generation() != *generation => {
                    file.allocate(len + RESERVE_FOR_CLOSING).ok()?;
                    return file.reserve(len).ok();
                }
                Err(Refusal::NotYet) if series.disk_full() || waited >= ROOM_PATIENCE => return None,
                Err(Refusal::NotYet) => engine.pause(&mut waited),
            }
        }
    }

    /// True if recording a block of `block_bytes` in this lane would have to wait: for the reader of a stream, for the
    /// next file, for room on the disk. Where packets are shed at once, nothing is waited for.
    pub(crate) fn would_wait(&self, block_bytes: usize) -> bool {
        let (series, file) = match &self.target {
            Target::Stream(stream) => return stream.would_wait(buffers_of(block_bytes)),
            Target::Files { series, generation, .. } if series.generation() != *generation => {
                (series, &series.current().0)
            }
            Target::Files { series, file, .. } => (series, file),
        };
        if series.disk_full() || file.is_faulty() {
            return false;
        }
        let open = self.open.as_ref().map_or(0, CompactBuffer::len);
        let bytes = (open + block_bytes).next_multiple_of(file.alignment()) as u64;
        if series.rotates() && file.would_exceed(bytes) {
            return !series.is_next_ready();
        }
        // Each buffer and each new interface's description takes up whole units of the alignment.
        let padding = (buffers_of(block_bytes) + 2) * file.alignment();
        file.room_ahead() < bytes + padding as u64 + RESERVE_FOR_CLOSING
    }

    /// Before `bytes` of packets are recorded: goes on in the next file if this one has been ended or has no room for
    /// them. Waits for the next file, but not on a full disk: then the file grows beyond its size, or packets are shed.
    pub(crate) fn make_way(&mut self, engine: &mut Engine, bytes: usize) {
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
    pub(crate) fn follow_rotation(&mut self, engine: &mut Engine) {
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
    pub(crate) fn make_visible(&mut self, engine: &mut Engine) {
        let Target::Files { file, .. } = &self.target else { return self.seal(engine) };
        if engine.plan.shared {
            return self.seal(engine);
        }
        if !engine.queued.is_empty() {
            // In front of them the file would read as zeros, which classic pcap has no word for: their turn comes.
            return;
        }
        // Nobody else appends: the bytes go to where they will be written in the end, and the buffer stays open.
        if let Some(open) = &mut self.open {
            self.visible = file.write_buffered(file.end(), open.exact()).is_ok();
            self.opened = Instant::now();
        }
    }

    /// When the load is over, the file's size is again what has been written.
    pub(crate) fn settle_size(&self, engine: &Engine) {
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
    pub(crate) fn end(&mut self, engine: &mut Engine) {
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
        let offset = self.room(engine, open.len() as u64);
        if offset.is_some_and(|offset| file.write_granted(offset, open.exact()).is_ok()) {
            file.add_written(packets, bytes);
            engine.tally.written.0 += packets;
            engine.tally.written.1 += bytes;
        } else {
            engine.shed(packets, bytes);
        }
        if offset.is_none()
            && !open.raw().is_empty()
            && let Ok(offset) = file.reserve_rest(open.raw().len() as u64)
        {
            // No room for these packets, but the record that the write before has begun must not stay torn. If this
            // fails, the file has a fault and is mended when it is closed.
            let _ = file.write_granted(offset, open.raw());
        }
        engine.recycle(open.into_parts().0);
    }
}

/// How many buffers may have to be handed over while a block is copied: what was open before, and what it fills.
pub(crate) fn buffers_of(block_bytes: usize) -> usize {
    1 + block_bytes.div_ceil(BUFFER_BYTES)
}

/// Which of the lanes is that for a link type, made if it is new. `None` if the output cannot hold it.
pub(crate) fn lane_for(lanes: &mut Vec<Lane>, engine: &mut Engine, link_type: LinkType) -> Option<usize> {
    if let Some(index) = lanes.iter().position(|lane| lane.link_type == link_type) {
        return Some(index);
    }
    match engine.shared.series_for(link_type) {
        Ok(Some(series)) => {
            lanes.push(Lane::new(link_type, series));
            Some(lanes.len() - 1)
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

/// After this time without a write the load is over.
pub(crate) const CALM: Duration = Duration::from_millis(500);

/// How long a worker waits for room on a disk that is not known to be full, before it sheds.
pub(crate) const ROOM_PATIENCE: Duration = Duration::from_secs(5);
