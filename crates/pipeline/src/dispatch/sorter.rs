//! Which worker gets a packet, and what it gets of it.

use gannet_flow::Moment;
use gannet_packet::{End, FlowKey, Frame, Packet, Transport};

use super::reading::{Place, Taker};
use super::stretch::{Spot, Stretch};
use crate::analysis::{Aim, Run};
use crate::intake::{Found, Intake, Part};
use crate::ledger::{Amount, AnalysisLedger};

/// Finds the worker of each packet. It sees all of them in order, so fragments are put together here, if there is more
/// than one worker.
pub(super) struct Sorter {
    intake: Intake,
    workers: u64,
    /// Conversations without TCP are followed, too.
    hears: bool,
    /// The fragments, which go no further.
    processed: Amount,
    ledger: AnalysisLedger,
}

/// A packet's worker, and that of the flow that it is about if that is another one.
type Workers = (usize, Option<usize>);

/// A sorter at work on a stretch.
pub(super) struct Sorting<'s> {
    pub(super) sorter: &'s mut Sorter,
    pub(super) stretch: &'s mut Stretch,
}

impl Taker for Sorting<'_> {
    #[inline(always)]
    fn take<'b>(&mut self, _run: &mut Run<'b>, frame: &Frame<'b>, place: Place<'b>, position: u64) {
        if self.sorter.workers == 1 {
            // It does all that for itself, as it does where nobody else reads.
            if frame.orig_len as usize == frame.data.len() {
                return self.stretch.add_frame(0, frame, place, position);
            }
            return pass_cut(self.stretch, frame, place, position);
        }
        if let Some(packet) = Packet::decode_plain(frame)
            && let Some((key, _)) = &packet.flow
        {
            let worker = self.sorter.worker(key);
            return self.stretch.add_frame(worker, frame, place, position);
        }
        self.sorter.less_plain(self.stretch, frame, place, position);
    }

    #[inline]
    fn end_run(&mut self, _run: &mut Run<'_>) {}
}

impl Sorter {
    pub(super) fn new(aim: Aim<'_>, seed: u64, workers: usize) -> Self {
        Self {
            intake: Intake::new(aim.intake(), seed),
            workers: workers as u64,
            hears: matches!(aim, Aim::Flows(_)),
            processed: Amount::default(),
            ledger: AnalysisLedger::default(),
        }
    }

    /// Adds a packet that is no plain segment.
    #[inline(never)]
    fn less_plain(&mut self, stretch: &mut Stretch, frame: &Frame<'_>, place: Place<'_>, position: u64) {
        if let Some(packet) = Packet::decode_usual(frame)
            && let Some((key, _)) = &packet.flow
        {
            return stretch.add_frame(self.worker(key), frame, place, position);
        }
        self.other(stretch, frame, place, position);
    }

    /// Adds a packet that there is no short way for.
    #[inline(never)]
    fn other(&mut self, stretch: &mut Stretch, frame: &Frame<'_>, place: Place<'_>, position: u64) {
        let packet = self.intake.decode(frame);
        if packet.end == End::Fragment {
            return self.fragment(stretch, frame, packet, position);
        }
        if packet.unopened.is_none()
            && let Found::Segment(segment, _) = Found::in_packet(frame, &packet, position)
        {
            let worker = self.worker(&segment.key);
            return stretch.add_segment(worker, &segment, &packet, frame, place);
        }
        let spot = stretch.place(place);
        share(stretch, self.workers(frame, &packet), frame, (spot, None), position);
    }

    /// The workers of a packet that is no fragment.
    fn workers(&self, frame: &Frame<'_>, packet: &Packet) -> Workers {
        // Packets without a flow have no state to share.
        let Some((key, _)) = &packet.flow else { return (0, None) };
        let own = self.worker(key);
        if !matches!(packet.transport, Transport::Icmp { .. } | Transport::Icmpv6 { .. }) {
            return (own, None);
        }
        match Found::in_packet(frame, packet, 0) {
            Found::Error { quoted, .. } => {
                let about = self.worker(&quoted.key);
                if self.hears { (own, (about != own).then_some(about)) } else { (about, None) }
            }
            _ => (own, None),
        }
    }

    #[inline(always)]
    fn worker(&self, key: &FlowKey) -> usize {
        // The upper half of the product: a number below that of the workers, without a division.
        ((u128::from(key.hash(DISPATCH_SEED)) * u128::from(self.workers)) >> 64) as usize
    }

    /// Takes a fragment, and adds the datagram if it is whole.
    #[cold]
    fn fragment(&mut self, stretch: &mut Stretch, frame: &Frame<'_>, packet: Packet, position: u64) {
        let bytes = frame.data.len() as u64;
        self.processed += Amount { packets: 1, bytes };
        let whole = self.intake.fragment(frame, packet, position, bytes, &mut self.ledger);
        let Some((datagram, packet)) = whole else { return };
        let whole = datagram.frame();
        let (number, spot) = stretch.add_datagram(whole.data, datagram.surroundings());
        share(stretch, self.workers(&whole, &packet), &whole, (spot, Some(number)), position);
        self.intake.recycle(datagram);
    }

    /// A batch ends here.
    pub(super) fn tick(&mut self, end: Moment) {
        self.intake.tick(end);
    }

    /// What has gone no further, so far.
    pub(super) fn so_far(&mut self) -> (Amount, &AnalysisLedger) {
        self.intake.publish(&mut self.ledger);
        (self.processed, &self.ledger)
    }

    pub(super) fn finish(mut self) -> (Amount, AnalysisLedger) {
        self.intake.finish();
        self.intake.publish(&mut self.ledger);
        (self.processed, self.ledger)
    }
}

/// Gives a frame that was cut to a single worker.
#[inline(never)]
fn pass_cut(stretch: &mut Stretch, frame: &Frame<'_>, place: Place<'_>, position: u64) {
    if Packet::decode_usual(frame).is_some() {
        return stretch.add_frame(0, frame, place, position);
    }
    let spot = stretch.place(place);
    stretch.add_other(0, frame, (spot, None), position, Part::Whole);
}

/// Gives a packet to its worker, and to the one whose flow it is about.
fn share(
    stretch: &mut Stretch,
    (worker, about): Workers,
    frame: &Frame<'_>,
    spot: (Spot, Option<u32>),
    position: u64,
) {
    let mut part = Part::Whole;
    if let Some(about) = about {
        stretch.add_other(about, frame, spot, position, Part::Error);
        part = Part::Conversation;
    }
    stretch.add_other(worker, frame, spot, position, part);
}

/// Whoever wrote a file can at most make one worker do all the work.
const DISPATCH_SEED: u64 = 0x9e37_79b9_7f4a_7c15;
