//! The flow table.

use std::time::Duration;

use gannet_packet::Timestamp;

use crate::{Counters, Handler, Moment, Segment};

/// Bounds and times of a table.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Flows at once; beyond it old ones are evicted.
    pub flows: usize,
    /// Early bytes held, over all flows.
    pub held_bytes: usize,
    /// Early bytes held for one direction of one flow; beyond it the hole becomes a gap.
    pub held_bytes_per_stream: usize,
    /// A flow with nothing seen for this long is over.
    pub idle: Duration,
    /// The same for a flow of which only one direction or only a SYN was seen.
    pub half_open: Duration,
    /// How long a flow that is over is remembered, so that its late segments do not open a new one.
    pub linger: Duration,
    /// How long a hole that the receiver has acknowledged may still be filled: capture points see segments out of order.
    pub hole_patience: Duration,
}

/// What became of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Taken into its flow.
    Accepted,
    /// The same packet was captured before.
    Duplicate,
    /// Not of this flow's present.
    OutOfWindow,
    /// No flow and nothing to open one for.
    WithoutFlow,
}

/// All flows of one worker.
pub struct FlowTable<H: Handler> {
    limits: Limits,
    handler: H,
    counters: Counters,
}

impl<H: Handler> FlowTable<H> {
    /// An empty table. `seed` must not be guessable: keys are chosen by whoever sends packets.
    pub fn new(limits: Limits, seed: u64, handler: H) -> Self {
        let _ = seed;
        Self { limits, handler, counters: Counters::default() }
    }

    /// Takes one segment.
    pub fn segment(&mut self, segment: &Segment<'_>) -> Outcome {
        let _ = (segment, &self.limits);
        Outcome::Accepted
    }

    /// Lets time pass: expires flows, gives up holes whose patience has run out. Events carry `now`.
    ///
    /// For results that do not depend on the number of workers it is called at the same positions in all of them.
    pub fn tick(&mut self, now: Moment) {
        let _ = now;
    }

    /// Ends all flows, in the order of their ids.
    pub fn finish(&mut self, now: Moment) {
        let _ = now;
    }

    /// The sums so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Flows that are open now.
    pub fn open_flows(&self) -> usize {
        0
    }

    /// The handler.
    pub fn handler(&mut self) -> &mut H {
        &mut self.handler
    }

    /// The time of the newest segment.
    pub fn clock(&self) -> Timestamp {
        Timestamp::default()
    }
}
