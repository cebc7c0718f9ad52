//! One worker's analysis: frames become segments, streams, exchanges; exchanges go to the outputs in batches.
//!
//! ```text
//!   ring block ──┐
//!                ├─► Frame ─► Packet ─► Segment ─► FlowTable ─► Http ─► Collector ──┬─► Latencies (kept here)
//!   file batch ──┘     │                                                            └─► Batch ─► Lane ─► outputs
//!                      └─► no segment: an account by the reason
//! ```
//!
//! The frame's time stamp is the clock. Only live, and only while nothing comes, it is moved on by what the machine's
//! clock says has passed.

use std::time::{Duration, Instant};

use gannet_flow::{FlowTable, Moment, Segment};
use gannet_http::{Exchange, Http, Sink};
use gannet_packet::{End, Frame, Packet, Timestamp};
use gannet_record::{Interfaces, Latencies};
use gannet_recorder::{InterfaceKey, Recorded, inplace};
use gannet_ring::Block;
use gannet_ring::interfaces::link_type_of_arphrd;
use gannet_ring::walk::{FrameHeader, FrameWalk};
use gannet_sink::{Batch, Event, Lane};

use crate::config::HttpConfig;
use crate::ledger::{Analysed, AnalysisLedger, Counters};

/// The analysis of one worker.
pub(crate) struct Analysis {
    table: FlowTable<Http<Collector>>,
    lane: Lane,
    /// Accounts of packets; the layers' own counters are added when it is shown.
    ledger: AnalysisLedger,
    worker: usize,
    workers: usize,
    batch: u64,
    interfaces: Known,
    /// Live: packets taken so far, the newest time stamp, and when that was.
    packets: u64,
    newest: Timestamp,
    newest_at: Instant,
}

/// What all analyses of a run have in common.
pub(crate) struct AnalysisPlan<'a> {
    pub(crate) config: &'a HttpConfig,
    /// Against collisions made on purpose: random for each run.
    pub(crate) seed: u64,
    pub(crate) workers: usize,
    pub(crate) interfaces: Interfaces,
}

/// Keeps exchanges until they are handed on.
struct Collector {
    events: Vec<Event>,
    latencies: Latencies,
}

impl Sink for Collector {
    fn exchange(&mut self, exchange: Exchange) {
        self.latencies.add(&exchange);
        self.events.push(Event::Exchange(exchange));
    }
}

/// The interfaces that frames have come from, with their numbers in the run.
struct Known {
    all: Interfaces,
    seen: Vec<(InterfaceKey, u32)>,
}

impl Known {
    /// An interface's number. There are few, and mostly one.
    #[inline]
    fn number(&mut self, key: InterfaceKey, name: impl FnOnce() -> String) -> u32 {
        match self.seen.iter().find(|(known, _)| *known == key) {
            Some((_, number)) => *number,
            None => {
                let number = self.all.add(name());
                self.seen.push((key, number));
                number
            }
        }
    }
}

impl Analysis {
    pub(crate) fn new(plan: &AnalysisPlan<'_>, worker: usize, lane: Lane) -> Self {
        let collector =
            Collector { events: Vec::new(), latencies: Latencies::new(plan.config.routes.clone()) };
        let http = Http::new(plan.config.analysis.clone(), collector);
        Self {
            table: FlowTable::new(plan.config.flows, plan.seed, http),
            lane,
            ledger: AnalysisLedger::default(),
            worker,
            workers: plan.workers,
            batch: 0,
            interfaces: Known { all: plan.interfaces.clone(), seen: Vec::new() },
            packets: 0,
            newest: Timestamp::default(),
            newest_at: Instant::now(),
        }
    }

    /// Looks at the first `allowed` packets of a ring block. `name` names its interfaces. Returns what a recording of
    /// the block would, so that either can be accounted for.
    pub(crate) fn block(
        &mut self,
        block: &Block,
        source: u32,
        name: &dyn Fn(i32) -> String,
        snaplen: usize,
        allowed: u64,
    ) -> Recorded {
        let descriptor = block.descriptor();
        let area = block.area();
        let mut walk = FrameWalk::new(&descriptor);
        let mut done = Recorded::default();
        while let Some(Ok(header)) = walk.next(area) {
            let bytes = inplace::recorded_len(&header, snaplen) as u64;
            if done.packets == allowed {
                done.beyond.0 += 1;
                done.beyond.1 += bytes;
                continue;
            }
            done.packets += 1;
            done.bytes += bytes;
            let key = InterfaceKey { source, ifindex: header.ifindex };
            let interface = self.interfaces.number(key, || name(header.ifindex));
            self.ring_frame(&header, header.bytes(area), interface, bytes);
        }
        done.unreadable = u64::from(walk.remaining());
        self.ledger.add(Analysed::AfterLimit, done.beyond.0, done.beyond.1);
        self.ledger.add(Analysed::Unreadable, done.unreadable, 0);
        self.newest_at = Instant::now();
        done
    }

    #[inline]
    fn ring_frame(&mut self, header: &FrameHeader, data: &[u8], interface: u32, bytes: u64) {
        // Positions of all workers are one sequence without two of the same.
        let position = self.packets * self.workers as u64 + self.worker as u64;
        self.packets += 1;
        self.newest = self.newest.max(header.timestamp);
        match link_type_of_arphrd(header.hardware_type) {
            Some(link_type) => {
                let frame = Frame {
                    data,
                    timestamp: header.timestamp,
                    orig_len: header.orig_len,
                    link_type,
                    interface,
                    packet_type: header.packet_type,
                };
                self.frame(&frame, position, bytes);
            }
            None => self.ledger.add_end(End::Unknown, bytes),
        }
    }

    /// Looks at one frame. `bytes` is what it counts for in the ledger.
    #[inline]
    pub(crate) fn frame(&mut self, frame: &Frame<'_>, position: u64, bytes: u64) {
        let packet = Packet::decode(frame);
        match Segment::new(frame, &packet, position) {
            Some(segment) if packet.end == End::Transport => {
                let outcome = self.table.segment(&segment);
                self.ledger.add(Analysed::of_outcome(outcome), 1, bytes);
            }
            _ => self.ledger.add_end(packet.end, bytes),
        }
    }

    /// Lets time pass, live. `delay` is how long a packet may be under way from its time stamp to this worker.
    pub(crate) fn pass_time(&mut self, delay: Duration) {
        let quiet = self.newest_at.elapsed().saturating_sub(delay).as_nanos();
        let time = Timestamp(self.newest.0.saturating_add(u64::try_from(quiet).unwrap_or(u64::MAX)));
        let position = self.packets * self.workers as u64 + self.worker as u64;
        self.tick(Moment { time, position });
    }

    /// Lets time pass until `now`.
    pub(crate) fn tick(&mut self, now: Moment) {
        self.table.tick(now);
    }

    /// Hands on the exchanges that are complete.
    pub(crate) fn flush(&mut self) {
        if !self.table.handler().sink().events.is_empty() {
            self.send();
        }
    }

    /// Hands on a batch, also an empty one: the end of an input batch, where records are put in order.
    pub(crate) fn send(&mut self) {
        let events = std::mem::take(&mut self.table.handler().sink().events);
        self.lane.send(Batch { worker: self.worker, number: self.batch, events });
        self.batch += 1;
    }

    /// Shows the sums so far.
    pub(crate) fn publish(&mut self, counters: &Counters) {
        self.ledger.flows = *self.table.counters();
        self.ledger.open_flows = self.table.open_flows() as u64;
        self.ledger.http = *self.table.handler().counters();
        counters.publish(&self.ledger);
    }

    /// Ends all flows, hands on the last exchanges and returns the histograms. `now`: the end of the input; `None` ends
    /// where this worker is.
    pub(crate) fn finish(mut self, now: Option<Moment>, counters: &Counters) -> Latencies {
        let here =
            Moment { time: self.newest, position: self.packets * self.workers as u64 + self.worker as u64 };
        self.table.finish(now.unwrap_or(here));
        self.send();
        self.publish(counters);
        let collector = self.table.handler().sink();
        std::mem::replace(&mut collector.latencies, Latencies::new(gannet_record::Routes::default()))
    }
}
