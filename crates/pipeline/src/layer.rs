//! What an analysis is made of above the flow table, and what is left of it at its end.

use gannet_flow::{Handler, Heard, Moment, Segment};
use gannet_http::ServerNames;
use gannet_packet::{Frame, Packet};
use gannet_record::{Latencies, Traffic};
use gannet_sink::Event;

use crate::flows::Flows;
use crate::ledger::AnalysisLedger;

/// What an analysis is made of above the flow table.
pub(crate) trait Layer: Handler {
    /// How long the IP packet is whose segment comes next.
    #[inline]
    fn expect(&mut self, ip_bytes: u32) {
        let _ = ip_bytes;
    }

    /// A segment has come in, whatever the flow table makes of it.
    #[inline]
    fn arrived(&mut self, segment: &Segment<'_>) {
        let _ = segment;
    }

    /// A packet that is no segment, if there is a use for it.
    #[inline]
    fn heard(frame: &Frame<'_>, packet: &Packet, position: u64) -> Option<Heard> {
        let _ = (frame, packet, position);
        None
    }

    /// Takes a packet that is no segment.
    fn hear(&mut self, heard: &Heard) {
        let _ = heard;
    }

    /// Lets time pass.
    fn tick(&mut self, now: Moment) {
        let _ = now;
    }

    /// Nothing more will come.
    fn finish(&mut self, now: Moment) {
        let _ = now;
    }

    /// What waits to be handed on.
    fn events(&mut self) -> &mut Vec<Event>;

    /// Adds its counters.
    fn show(&mut self, ledger: &mut AnalysisLedger);

    /// At its end.
    fn findings(&mut self) -> Findings;
}

impl Layer for Flows {
    #[inline]
    fn expect(&mut self, ip_bytes: u32) {
        Self::expect(self, ip_bytes);
    }

    fn heard(frame: &Frame<'_>, packet: &Packet, position: u64) -> Option<Heard> {
        Self::heard(frame, packet, position)
    }

    fn hear(&mut self, heard: &Heard) {
        Self::hear(self, heard);
    }

    fn tick(&mut self, now: Moment) {
        Self::tick(self, now);
    }

    fn finish(&mut self, now: Moment) {
        Self::finish(self, now);
    }

    fn events(&mut self) -> &mut Vec<Event> {
        Self::events(self)
    }

    fn show(&mut self, ledger: &mut AnalysisLedger) {
        ledger.conversations = Some(*self.conversations().counters());
        ledger.reported_at_once = self.reported_at_once();
        ledger.open_conversations = self.conversations().open() as u64;
    }

    fn findings(&mut self) -> Findings {
        Findings { traffic: Some(self.take_traffic()), ..Findings::default() }
    }
}

/// What is left of an analysis at its end, besides its records.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) latencies: Option<Latencies>,
    pub(crate) server_names: Option<ServerNames>,
    pub(crate) traffic: Option<Traffic>,
}

impl Findings {
    /// Those of all workers together.
    pub(crate) fn merge(&mut self, other: Self) {
        match (&mut self.latencies, other.latencies) {
            (Some(sum), Some(other)) => sum.merge(&other),
            (sum, other) => *sum = sum.take().or(other),
        }
        match (&mut self.server_names, other.server_names) {
            (Some(sum), Some(other)) => sum.merge(&other),
            (sum, other) => *sum = sum.take().or(other),
        }
        match (&mut self.traffic, other.traffic) {
            (Some(sum), Some(other)) => sum.merge(&other),
            (sum, other) => *sum = sum.take().or(other),
        }
    }
}
