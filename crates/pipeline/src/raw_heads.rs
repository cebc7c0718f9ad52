//! Heads as httpry sees them: packet by packet, for outputs with its lines.
//!
//! ```text
//!   segment ──► begins like a head? ──┬─ all of it is here: told at once, whatever is known of the flow
//!                                     └─ the rest is elsewhere: left to the stream ─┐
//!   flow ─► stream ─► HTTP ─► head that several packets carried, or of which the end is missing ──► told
//! ```
//!
//! A head within one packet is never told by the stream: the packet was, if it begins with one. So every head is told
//! once for each time that httpry would have seen it, and those that it sees in part are told whole.

use gannet_flow::Segment;
use gannet_http::{HeadEvent, HeadExtent, HeadKind, PortSet};
use gannet_packet::Side;
use gannet_record::{HeadTexts, RawHead, Sent};
use gannet_sink::Event;

use crate::config::HttpConfig;

/// What is told.
#[derive(Debug)]
pub(crate) struct RawHeads {
    texts: HeadTexts,
    ports: Option<PortSet>,
    told: u64,
}

impl RawHeads {
    pub(crate) fn new(config: &HttpConfig) -> Self {
        let texts = config.httpry.texts(&config.methods);
        Self { texts, ports: config.analysis.ports.clone(), told: 0 }
    }

    /// Looks at a segment.
    #[inline]
    pub(crate) fn segment(&mut self, segment: &Segment<'_>, events: &mut Vec<Event>) {
        if self.texts.may_begin(segment.payload) {
            self.judge(segment, events);
        }
    }

    fn judge(&mut self, segment: &Segment<'_>, events: &mut Vec<Event>) {
        let (low, high) = (segment.key.low(), segment.key.high());
        if self.ports.as_ref().is_some_and(|ports| !ports.contains(low.port) && !ports.contains(high.port)) {
            return;
        }
        let (source, destination) = match segment.side {
            Side::Low => (low, high),
            Side::High => (high, low),
        };
        let (now, time) = (segment.moment, segment.moment.time);
        let cut = (segment.payload.len() as u64) < u64::from(segment.wire_len);
        let sent = Sent { time, source, destination };
        if let Some(text) = self.texts.of_segment(segment.payload, cut, &sent) {
            self.tell(RawHead { now, flow: 0, time, text }, events);
        }
    }

    /// Takes a head out of a stream.
    pub(crate) fn read(&mut self, event: &HeadEvent<'_>, events: &mut Vec<Event>) {
        let connection = event.connection;
        let (source, destination) = match event.kind {
            HeadKind::Request => (connection.client, connection.server),
            HeadKind::Interim | HeadKind::Response => (connection.server, connection.client),
        };
        let (now, flow, time) = (event.now, connection.flow, event.first);
        let (raw, sent) = (event.head.raw(), Sent { time, source, destination });
        let is_told = match event.arrival.extent {
            _ if event.arrival.split => false,
            HeadExtent::Whole | HeadExtent::Snapped => true,
            // httpry takes a line of blanks for the empty one.
            HeadExtent::Cut => self.texts.of_segment(raw, false, &sent).is_some(),
        };
        if is_told {
            return;
        }
        if let Some(text) = self.texts.of_joined(raw, &sent) {
            self.tell(RawHead { now, flow, time, text }, events);
        }
    }

    fn tell(&mut self, head: RawHead, events: &mut Vec<Event>) {
        self.told += 1;
        events.push(Event::RawHead(head));
    }

    /// How many heads have been told of.
    pub(crate) fn told(&self) -> u64 {
        self.told
    }
}
