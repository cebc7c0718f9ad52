//! What workers hand over.

use std::sync::Arc;

use gannet_http::{Exchange, HeadReport, Message, MessageReport, PendingRequest};
use gannet_record::{FlowEnd, RawHead};

use crate::{EventKind, EventKinds};

/// What a lane has for one output.
pub(crate) enum Parcel {
    /// Events, of which the output's thread makes records.
    Events(Arc<Batch>),
    /// Records that the lane has made of them.
    Records(Records),
}

/// Batches, their records for one output, and the bytes that these keep in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) batches: usize,
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

/// Records of the events of one batch, made for one output.
pub(crate) struct Records {
    /// That of the batch.
    pub(crate) number: u64,
    /// One behind the other.
    pub(crate) bytes: Vec<u8>,
    /// Of each the place of its event in the order of the run, and where it ends.
    pub(crate) ends: Vec<((u64, u64), usize)>,
}

/// Events that one worker has for the outputs, in the order in which they happened.
#[derive(Debug)]
pub struct Batch {
    /// The worker.
    pub worker: usize,
    /// Number of the input batch that they come from, the same for all workers (files); counts up by one, also for
    /// empty batches. Live it has no meaning.
    pub number: u64,
    /// The events.
    pub events: Vec<Event>,
}

/// Something to be reported. Which kinds an output takes is said by [`SinkSpec::events`].
///
/// [`SinkSpec::events`]: crate::SinkSpec::events
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "of exchanges there are many, and a box each would be an allocation each"
)]
pub enum Event {
    /// An exchange that is complete, or will not get further.
    Exchange(Exchange),
    /// A head that has been read.
    Head(Box<HeadReport>),
    /// A request or a final response that is over.
    Message(Box<MessageReport>),
    /// A request that has been without an answer for long.
    Pending(Box<PendingRequest>),
    /// A flow that is over.
    Flow(Box<FlowEnd>),
    /// A head as httpry sees it.
    RawHead(RawHead),
}

impl Event {
    /// Which kind it is.
    #[inline]
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Exchange(_) => EventKind::Exchange,
            Self::Head(head) => EventKind::of_head(head.kind),
            Self::Message(message) => EventKind::of_message(message.kind),
            Self::Pending(_) => EventKind::Pending,
            Self::Flow(_) => EventKind::Flow,
            Self::RawHead(_) => EventKind::RawHead,
        }
    }

    /// What it holds that came over the wire: heads and bodies.
    pub(crate) fn held_bytes(&self) -> usize {
        let held = |message: &Message| message.head.raw().len() + message.body.len();
        match self {
            Self::Exchange(exchange) => {
                [&exchange.request, &exchange.response].into_iter().flatten().map(held).sum()
            }
            Self::Head(head) => head.head.raw().len(),
            Self::Message(message) => held(&message.message),
            Self::Pending(request) => request.head.raw().len(),
            Self::RawHead(head) => head.text.len(),
            Self::Flow(_) => 0,
        }
    }

    /// Its place in the order of a run: the position of the packet that let it happen, and the flow. Events of one
    /// flow at one position are all of one worker, and stay in the order in which they happened: a request before its
    /// response, both before their exchange.
    pub(crate) fn key(&self) -> (u64, u64) {
        match self {
            Self::Exchange(exchange) => (exchange.completed.position, exchange.connection.flow),
            Self::Head(head) => (head.now.position, head.connection.flow),
            Self::Message(message) => (message.now.position, message.connection.flow),
            Self::Pending(request) => (request.now.position, request.connection.flow),
            Self::Flow(end) => (end.reported.position, end.flow.id),
            Self::RawHead(head) => (head.now.position, head.flow),
        }
    }
}

impl Parcel {
    /// That of the batch.
    pub(crate) fn number(&self) -> u64 {
        match self {
            Self::Events(batch) => batch.number,
            Self::Records(records) => records.number,
        }
    }

    /// What it is for an output that takes `events`.
    pub(crate) fn load(&self, events: EventKinds) -> Load {
        let mut load = Load { batches: 1, records: 0, bytes: 0 };
        match self {
            Self::Events(batch) => {
                for event in batch.taken(events) {
                    load.records += 1;
                    load.bytes += event.held_bytes();
                }
            }
            Self::Records(records) => (load.records, load.bytes) = (records.ends.len(), records.bytes.len()),
        }
        load
    }
}

impl Records {
    /// Each with the place of its event.
    pub(crate) fn each(&self) -> impl Iterator<Item = ((u64, u64), &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        starts
            .zip(&self.ends)
            .map(|(start, (key, end))| (*key, self.bytes.get(start..*end).unwrap_or_default()))
    }
}

impl Batch {
    /// The events of these kinds.
    pub(crate) fn taken(&self, kinds: EventKinds) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |event| kinds.contains(event.kind()))
    }
}
