//! What workers hand over.

use gannet_http::Exchange;
use gannet_record::FlowEnd;

use crate::Format;

/// Events that one worker has for the outputs, in the order in which they happened.
#[derive(Debug)]
pub struct Batch {
    /// The worker.
    pub worker: usize,
    /// Number of the input batch that they come from, the same for all workers (files); counts up by one, also for empty
    /// batches. Live it has no meaning.
    pub number: u64,
    /// The events.
    pub events: Vec<Event>,
}

/// Something to be reported. Which kinds an output takes its format says: [`Format::takes`].
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "of exchanges there are many, and a box each would be an allocation each"
)]
pub enum Event {
    /// An exchange that is complete, or will not get further.
    Exchange(Exchange),
    /// A flow that is over.
    Flow(Box<FlowEnd>),
}

/// The kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// [`Event::Exchange`].
    Exchange,
    /// [`Event::Flow`].
    Flow,
}

impl Event {
    /// Which kind it is.
    #[inline]
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Exchange(_) => EventKind::Exchange,
            Self::Flow(_) => EventKind::Flow,
        }
    }

    /// Its place in the order of a run: the position of the packet that let it happen, the flow, and its number on the flow.
    /// A flow's end is behind everything else of it.
    pub(crate) fn key(&self) -> (u64, u64, u32) {
        match self {
            Self::Exchange(exchange) => {
                (exchange.completed.position, exchange.connection.flow, exchange.index)
            }
            Self::Flow(end) => (end.reported.position, end.flow.id, u32::MAX),
        }
    }
}

impl Batch {
    /// How many of its events outputs of this format take.
    pub(crate) fn count(&self, format: Format) -> usize {
        self.taken(format).count()
    }

    /// The events that outputs of this format take.
    pub(crate) fn taken(&self, format: Format) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |event| format.takes(event.kind()))
    }
}
