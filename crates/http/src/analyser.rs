//! The handler that turns the bytes of flows into exchanges.

use gannet_flow::{CloseReason, Data, Flow, Gap, Handler, Moment, Retransmission, StreamEnd};

use crate::{Counters, Exchange, HeadEvent};

/// What the analysis may hold, and where it looks.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Longest head kept, in bytes; a longer one is framed to its end, what is beyond is not kept.
    pub max_head_bytes: usize,
    /// Most header fields kept of a head.
    pub max_fields: usize,
    /// Most requests without an answer on one connection; beyond it the oldest is reported as an orphan.
    pub max_pending: usize,
    /// Look only at flows with one of these ports; `None` looks at all.
    pub ports: Option<PortSet>,
}

/// A set of ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortSet(Vec<std::ops::RangeInclusive<u16>>);

impl PortSet {
    /// The ports in any of `ranges`.
    pub fn new(ranges: Vec<std::ops::RangeInclusive<u16>>) -> Self {
        Self(ranges)
    }

    /// Whether `port` is in it.
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.contains(&port))
    }
}

/// Takes what the analysis yields.
pub trait Sink {
    /// An exchange is complete, or will not get further.
    fn exchange(&mut self, exchange: Exchange);

    /// A head has been read. Its exchange follows later.
    fn head(&mut self, event: HeadEvent<'_>) {
        let _ = event;
    }
}

/// The HTTP analysis of one worker.
pub struct Http<S: Sink> {
    config: HttpConfig,
    counters: Counters,
    sink: S,
}

/// What the analysis keeps for each flow.
pub struct ConnectionState;

impl<S: Sink> Http<S> {
    /// An analysis that yields into `sink`.
    pub fn new(config: HttpConfig, sink: S) -> Self {
        Self { config, counters: Counters::default(), sink }
    }

    /// The sums so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Where exchanges go.
    pub fn sink(&mut self) -> &mut S {
        &mut self.sink
    }
}

impl<S: Sink> Handler for Http<S> {
    type State = ConnectionState;

    fn open(&mut self, flow: &Flow) -> Self::State {
        let _ = (flow, &self.config);
        ConnectionState
    }

    fn data(&mut self, state: &mut Self::State, flow: &Flow, data: Data<'_>) {
        let _ = (state, flow, data);
    }

    fn gap(&mut self, state: &mut Self::State, flow: &Flow, gap: Gap) {
        let _ = (state, flow, gap);
    }

    fn retransmission(&mut self, state: &mut Self::State, flow: &Flow, again: Retransmission) {
        let _ = (state, flow, again);
    }

    fn end(&mut self, state: &mut Self::State, flow: &Flow, end: StreamEnd) {
        let _ = (state, flow, end);
    }

    fn close(&mut self, state: Self::State, flow: &Flow, reason: CloseReason, now: Moment) {
        let _ = (state, flow, reason, now);
    }
}
