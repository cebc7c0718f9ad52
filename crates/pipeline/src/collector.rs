//! What is made of HTTP: which exchanges are selected, their latencies, and the events that outputs want.

use gannet_flow::{Moment, Segment};
use gannet_http::{
    Connection, Exchange, Head, HeadEvent, HeadKind, Http, MessageEvent, PendingRequest, Sink,
};
use gannet_record::{Interfaces, Latencies, Selector};
use gannet_sink::{Event, EventKind, EventKinds};

use crate::config::HttpConfig;
use crate::layer::{Findings, Layer};
use crate::ledger::AnalysisLedger;
use crate::raw_heads::RawHeads;
use crate::records::record_options;

/// Keeps what the outputs want of the events until it is handed on.
pub(crate) struct Collector {
    /// What any output wants: nothing else is made.
    wanted: EventKinds,
    /// `None` where no output takes heads as httpry sees them.
    heads: Option<Box<RawHeads>>,
    events: Vec<Event>,
    /// `None` where nobody asks for them.
    latencies: Option<Latencies>,
    /// `None` if everything is selected.
    choice: Option<Box<Choice>>,
}

/// Says what is selected, and counts what is not.
struct Choice {
    selector: Selector,
    /// By kind.
    not_selected: [u64; EventKind::ALL.len()],
}

/// What is selected is decided in here and nowhere else, before anything is counted or copied.
impl Sink for Collector {
    fn exchange(&mut self, exchange: Exchange) {
        if let Some(choice) = &mut self.choice
            && !choice.selector.selects(&exchange)
        {
            choice.not_selected[EventKind::Exchange as usize] += 1;
            return;
        }
        if let Some(latencies) = &mut self.latencies {
            latencies.add(&exchange);
        }
        if self.wanted.contains(EventKind::Exchange) {
            self.events.push(Event::Exchange(exchange));
        }
    }

    #[inline]
    fn head(&mut self, event: HeadEvent<'_>) {
        let request = request_of(event.kind, event.head, event.request);
        if self.wants(EventKind::of_head(event.kind), event.connection, request) {
            self.events.push(Event::Head(Box::new(event.to_report())));
        }
        if let Some(heads) = &mut self.heads {
            heads.read(&event, &mut self.events);
        }
    }

    #[inline]
    fn message(&mut self, event: MessageEvent<'_>) {
        let request = request_of(event.kind, event.head, event.request);
        if self.wants(EventKind::of_message(event.kind), event.connection, request) {
            self.events.push(Event::Message(Box::new(event.to_report())));
        }
    }

    fn pending(&mut self, request: PendingRequest) {
        if self.wants(EventKind::Pending, &request.connection, Some(&request.head)) {
            self.events.push(Event::Pending(Box::new(request)));
        }
    }
}

impl Collector {
    /// Collects what outputs want of the kinds in `wanted`.
    pub(crate) fn new(config: &HttpConfig, wanted: EventKinds, interfaces: Interfaces, live: bool) -> Self {
        let options = record_options(config, interfaces, live);
        Self {
            wanted,
            heads: wanted.contains(EventKind::RawHead).then(|| Box::new(RawHeads::new(config))),
            events: Vec::new(),
            latencies: config.latencies.then(|| Latencies::new(config.routes.clone())),
            choice: Selector::new(config.selection.clone(), options)
                .map(|selector| Box::new(Choice { selector, not_selected: Default::default() })),
        }
    }

    /// Whether an output takes an event of this kind, and it is selected as far as its request tells.
    #[inline]
    fn wants(&mut self, kind: EventKind, connection: &Connection, request: Option<&Head>) -> bool {
        if !self.wanted.contains(kind) {
            return false;
        }
        let Some(choice) = &mut self.choice else { return true };
        let selected = choice.selector.selects_request(connection, request);
        choice.not_selected[kind as usize] += u64::from(!selected);
        selected
    }
}

/// The head of the request that a head is, or answers.
fn request_of<'a>(kind: HeadKind, head: &'a Head, request: Option<&'a Head>) -> Option<&'a Head> {
    match kind {
        HeadKind::Request => Some(head),
        HeadKind::Interim | HeadKind::Response => request,
    }
}

impl Layer for Http<Collector> {
    #[inline]
    fn arrived(&mut self, segment: &Segment<'_>) {
        let Collector { heads, events, .. } = self.sink();
        if let Some(heads) = heads {
            heads.segment(segment, events);
        }
    }

    fn tick(&mut self, now: Moment) {
        self.report_pending(now);
    }

    fn events(&mut self) -> &mut Vec<Event> {
        &mut self.sink().events
    }

    fn show(&mut self, ledger: &mut AnalysisLedger) {
        ledger.http = *self.counters();
        ledger.raw_heads = self.sink().heads.as_ref().map_or(0, |heads| heads.told());
        if let Some(choice) = &self.sink().choice {
            ledger.not_selected = choice.not_selected;
        }
    }

    fn findings(&mut self) -> Findings {
        let server_names = Some(self.server_names().clone());
        Findings { latencies: self.sink().latencies.take(), server_names, traffic: None }
    }
}
