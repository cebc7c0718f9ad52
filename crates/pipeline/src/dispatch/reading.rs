//! The packets of files, one after the other, and where their batches end.
//!
//! A batch is a number of packets, or of bytes, or what came in a time by the stamps: time passes at its end, and
//! records are put in order by it. Where it ends is part of the result, so it depends on nothing but the packets.
//! Where input has a pause records are handed on in the middle of a batch, which changes nothing about them: what
//! follows in the batch comes after them.

use std::sync::Arc;

use gannet_flow::Moment;
use gannet_packet::{Frame, LinkType, Packet as Decoded, Timestamp};
use gannet_pcap::{Merge, Packet, StreamReader, Take};
use gannet_record::Interfaces;

use crate::analysis::Run;
use crate::arrivals::Arrivals;
use crate::config::FileInput;
use crate::error::Error;
use crate::files::{Bytes, Step, advance};
use crate::filter::{Selection, Taken};

/// The files, and how far they have been read.
pub(super) struct Reading<'a> {
    pub(super) selection: Selection<'a>,
    pub(super) merge: Merge<StreamReader<Bytes>>,
    files: &'a [FileInput],
    names: Interfaces,
    named: u32,
    /// The newest time stamp so far.
    clock: Timestamp,
    /// Of the batch at hand. As many packets as make a batch, if it is whole for another reason.
    packets: usize,
    bytes: usize,
    /// Beyond this time stamp the batch ends.
    due: Timestamp,
    /// Packets have been taken since records were last handed on.
    has_news: bool,
    /// For each file, where to wait for it if it has pauses, and the one that has one.
    arrivals: Vec<Option<Arrivals>>,
    silent: Option<usize>,
}

/// Where packets go.
pub(super) trait Taker {
    /// Takes a packet, at once or as one of a run. It lies at `place`.
    fn take<'b>(&mut self, run: &mut Run<'b>, frame: &Frame<'b>, place: Place<'b>, position: u64);

    /// Takes what is left of a run.
    fn end_run(&mut self, run: &mut Run<'_>);
}

/// Where a packet's bytes are: the buffer, and the offset in there.
#[derive(Clone, Copy)]
pub(super) struct Place<'b> {
    pub(super) buffer: &'b Arc<Vec<u8>>,
    pub(super) offset: usize,
}

/// When to come back from reading, besides at the end of a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    Never,
    /// When the next packet is not in memory, but not without having taken any.
    AfterSome,
    /// When the next packet is not in memory.
    AtOnce,
}

/// How far reading has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    EndOfBatch,
    Pause,
    /// An input has nothing at the moment ([`Reading::awaited`]). With `news` there are packets whose records nobody
    /// has yet.
    Silence {
        news: bool,
    },
    /// The end of the input, or of what was asked for.
    End,
}

impl<'a> Reading<'a> {
    pub(super) fn new(
        selection: Selection<'a>,
        (merge, arrivals): (Merge<StreamReader<Bytes>>, Vec<Option<Arrivals>>),
        files: &'a [FileInput],
        names: Interfaces,
    ) -> Self {
        Self {
            selection,
            merge,
            files,
            names,
            named: 0,
            clock: Timestamp::default(),
            packets: 0,
            bytes: 0,
            due: Timestamp::default(),
            has_news: false,
            arrivals,
            silent: None,
        }
    }

    /// What has to be waited for before there is more to read.
    pub(super) fn awaited(&self) -> Option<&Arrivals> {
        self.arrivals.get(self.silent?)?.as_ref()
    }

    /// Of the files that have had packets of a link type that nobody looks into, the numbers; each type once for each.
    pub(super) fn unknown_links(&self) -> Vec<(usize, LinkType)> {
        let of =
            |number| self.merge.interface(number).map(|(source, interface)| (source, interface.link_type));
        let mut links: Vec<_> =
            (0..).map_while(of).filter(|(_, link_type)| !Decoded::knows(*link_type)).collect();
        links.sort_unstable_by_key(|(source, link_type)| (*source, link_type.0));
        links.dedup();
        links
    }

    /// The clock, and the position behind the last packet.
    pub(super) fn now(&self) -> Moment {
        Moment { time: self.clock, position: self.selection.read }
    }

    /// Reads on to the end of the batch at hand, or where there is to be a pause.
    pub(super) fn read_on(&mut self, to: &mut impl Taker, pause: Pause) -> Result<Reached, Error> {
        let begun = self.selection.read;
        self.silent = None;
        loop {
            if !self.is_full() {
                self.run(to)?;
            }
            if self.is_full() {
                (self.packets, self.bytes) = (0, 0);
                self.due = Timestamp(self.clock.0.saturating_add(BATCH_NS));
                self.has_news = false;
                return Ok(Reached::EndOfBatch);
            }
            self.has_news |= self.selection.read != begun;
            if pause == Pause::AtOnce || pause == Pause::AfterSome && self.selection.read != begun {
                let source = self.merge.only();
                if source.is_some_and(|(reader, _)| reader.is_used_up()) && !self.selection.is_full() {
                    return Ok(Reached::Pause);
                }
            }
            if self.selection.is_full() {
                return Ok(Reached::End);
            }
            match advance(&mut self.merge, self.files)? {
                Step::Packet => self.one(to)?,
                Step::End => return Ok(Reached::End),
                Step::Pause(source) => {
                    self.silent = Some(source);
                    return Ok(Reached::Silence { news: std::mem::take(&mut self.has_news) });
                }
            }
        }
    }

    /// Takes the packet that the merge stands at.
    fn one(&mut self, to: &mut impl Taker) -> Result<(), Error> {
        self.packets += 1;
        let position = self.selection.read;
        let Some(Taken { source, frame, data_offset }) = self.selection.take(&self.merge)? else {
            return Ok(());
        };
        self.clock = self.clock.max(frame.timestamp);
        if self.clock > self.due {
            self.packets = BATCH_PACKETS;
        }
        // Numbers of the merge run without gaps, so that the names get the same ones.
        while self.named <= frame.interface {
            let interface = self.merge.interface(self.named);
            self.names.add(interface.map(|(_, interface)| interface.name.clone()).unwrap_or_default());
            self.named += 1;
        }
        self.bytes += frame.data.len();
        let Some((buffer, base)) = self.merge.sources().get(source).and_then(StreamReader::buffer) else {
            debug_assert!(false, "a packet lies in a buffer");
            self.selection.filtered += 1;
            return Ok(());
        };
        let mut alone = Run::default();
        to.take(&mut alone, &frame, Place { buffer, offset: (data_offset - base) as usize }, position);
        to.end_run(&mut alone);
        Ok(())
    }

    /// Takes what comes next of a single file as far as it can be taken without asking what it is.
    #[inline]
    fn run(&mut self, to: &mut impl Taker) -> Result<(), Error> {
        let Self { selection, merge, named, clock, packets, bytes, due, .. } = self;
        let Some((reader, numbers)) = merge.only() else { return Ok(()) };
        let mut walk = Walk {
            takes_any: selection.takes_any(),
            selection,
            to,
            gathered: Run::default(),
            first: known(numbers.first(), *named),
            numbers,
            named: *named,
            clock: *clock,
            packets: *packets,
            bytes: *bytes,
            due: *due,
            failed: Ok(()),
        };
        reader.run_to(&mut walk);
        walk.to.end_run(&mut walk.gathered);
        (*clock, *packets, *bytes) = (walk.clock, walk.packets, walk.bytes);
        walk.failed
    }

    fn is_full(&self) -> bool {
        is_full(self.packets, self.bytes)
    }
}

/// A run of the packets of one file.
struct Walk<'w, 'a, 'b, T> {
    selection: &'w mut Selection<'a>,
    takes_any: bool,
    to: &'w mut T,
    gathered: Run<'b>,
    /// The numbers of the file's interfaces, and the first of them, which mostly is the only one.
    numbers: &'w [Option<u32>],
    first: Option<u32>,
    named: u32,
    /// As in [`Reading`].
    clock: Timestamp,
    packets: usize,
    bytes: usize,
    due: Timestamp,
    failed: Result<(), Error>,
}

impl<'b, T: Taker> Take<'b> for Walk<'_, '_, 'b, T> {
    #[inline(always)]
    fn take(&mut self, packet: &Packet<'b>, buffer: &'b Arc<Vec<u8>>, offset: usize) -> bool {
        let number = match packet.frame.interface {
            0 => self.first,
            interface => known(self.numbers.get(interface as usize), self.named),
        };
        let Some(number) = number.filter(|_| !is_full(self.packets, self.bytes)) else { return false };
        // Of one link type the byte order means something to filters.
        if !self.takes_any && (packet.frame.link_type == LinkType::NULL || self.selection.is_full()) {
            return false;
        }
        self.packets += 1;
        let position = self.selection.read;
        let frame = if self.takes_any {
            self.selection.take_any(packet)
        } else {
            match self.selection.take_packet(0, packet, || false) {
                Ok(Some(frame)) => frame,
                Ok(None) => return true,
                Err(error) => {
                    self.failed = Err(error);
                    return false;
                }
            }
        };
        self.clock = self.clock.max(frame.timestamp);
        if self.clock > self.due {
            self.packets = BATCH_PACKETS;
        }
        self.bytes += frame.data.len();
        let frame = Frame { interface: number, ..frame };
        self.to.take(&mut self.gathered, &frame, Place { buffer, offset }, position);
        true
    }
}

/// An interface's number, if it has been met and has its name.
#[inline]
fn known(number: Option<&Option<u32>>, named: u32) -> Option<u32> {
    number.copied().flatten().filter(|number| *number < named)
}

/// Whether a batch of so many packets and bytes is whole.
#[inline]
fn is_full(packets: usize, bytes: usize) -> bool {
    packets >= BATCH_PACKETS || bytes >= BATCH_BYTES
}

/// Packets of a batch. Fewer cost ends of batches; of more, records would come later than they need. The number is
/// part of the result, because time passes at the ends of batches.
const BATCH_PACKETS: usize = 512;

/// Captured bytes after which a batch ends: super-frames of 64 KiB would make it large.
const BATCH_BYTES: usize = 1 << 20;

/// The time after which a batch ends, in nanoseconds of time stamps: where packets are few, what waits for time to
/// pass (requests without an answer, lost segments, flows that are idle) waits as long as it would live.
const BATCH_NS: u64 = 100_000_000;
