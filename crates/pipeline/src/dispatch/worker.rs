//! The analysis of one worker's packets, and their account.

use gannet_flow::{Moment, Segment};
use gannet_packet::{Frame, Surroundings};

use super::reading::{Place, Taker};
use crate::analysis::{Analysis, Run};
use crate::intake::Part;
use crate::layer::Findings;
use crate::ledger::Counters;

/// One worker, on whatever thread.
pub(super) struct FileWorker<'env> {
    analysis: Analysis,
    counters: &'env Counters,
    /// The end of the last batch.
    end: Moment,
    /// Of the batch at hand.
    packets: u64,
    bytes: u64,
}

/// A single worker takes packets where they are read.
impl Taker for FileWorker<'_> {
    #[inline(always)]
    fn take<'b>(&mut self, run: &mut Run<'b>, frame: &Frame<'b>, _place: Place<'b>, position: u64) {
        self.take_frame(run, frame, position);
    }

    #[inline]
    fn end_run(&mut self, run: &mut Run<'_>) {
        self.analysis.end_run(run);
    }
}

impl<'env> FileWorker<'env> {
    pub(super) fn new(analysis: Analysis, counters: &'env Counters) -> Self {
        Self { analysis, counters, end: Moment::default(), packets: 0, bytes: 0 }
    }

    /// Takes a packet, at once or as one of a run.
    #[inline(always)]
    pub(super) fn take_frame<'b>(&mut self, run: &mut Run<'b>, frame: &Frame<'b>, position: u64) {
        let bytes = frame.data.len() as u64;
        self.count(bytes);
        self.analysis.frame_of_run(run, frame, position, bytes);
    }

    /// Takes a segment whose frame has `caplen` captured bytes, at once or as one of a run.
    #[inline(always)]
    pub(super) fn take_segment<'b>(
        &mut self,
        run: &mut Run<'b>,
        segment: Segment<'b>,
        ip_bytes: u32,
        caplen: u32,
    ) {
        let bytes = u64::from(caplen);
        self.count(bytes);
        self.analysis.segment_of_run(run, segment, ip_bytes, bytes);
    }

    /// Takes a packet or a part of one.
    pub(super) fn take_part(&mut self, frame: &Frame<'_>, position: u64, part: Part) {
        let bytes = frame.data.len() as u64;
        // An error is told of beside its conversation, which counts.
        if part != Part::Error {
            self.count(bytes);
        }
        self.analysis.part(frame, position, bytes, part);
    }

    /// Takes a datagram. Its fragments have been counted.
    pub(super) fn take_datagram(
        &mut self,
        frame: &Frame<'_>,
        around: &Surroundings,
        position: u64,
        part: Part,
    ) {
        self.analysis.datagram(frame, around, position, part);
    }

    /// Time passes, records go out.
    pub(super) fn end_batch(&mut self, end: Moment) {
        self.end = end;
        self.analysis.tick(end);
        self.hand_on();
    }

    /// Records go out.
    pub(super) fn hand_on(&mut self) {
        self.counters.processed(self.packets, self.bytes);
        (self.packets, self.bytes) = (0, 0);
        self.analysis.send();
        self.analysis.publish(self.counters);
    }

    pub(super) fn finish(self) -> Findings {
        self.analysis.finish(Some(self.end), self.counters)
    }

    #[inline]
    fn count(&mut self, bytes: u64) {
        self.packets += 1;
        self.bytes += bytes;
    }
}
