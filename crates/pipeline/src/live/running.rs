//! The threads of a live run, and what the main thread does beside them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use core_affinity::CoreId;
use crossbeam::channel::{Receiver, Sender, unbounded};
use gannet_filter::Program;
use gannet_ring::Target;
use gannet_ring::interfaces::Counters as DeviceCounters;
use gannet_ring::prelude::{Prelude, reject_all};

use super::outputs::Outputs;
use crate::analysis::Aim;
use crate::config::{CaptureConfig, RunConfig};
use crate::control::{Command, Control, Event};
use crate::error::Error;
use crate::layer::Findings;
use crate::ledger::{Counters, CpuTime, DeviceLedger, InterfaceLedger, Ledger, Report};
use crate::records::{merged, seed};
use crate::source::{Interface, Source};
use crate::worker::{Common, News, Order, Worker};

/// The threads of a capture that has been set up.
pub(super) struct Running {
    common: Arc<Common>,
    interfaces: Vec<Arc<Interface>>,
    /// What the kernel lets through for the analysis, in words.
    implied: Option<String>,
    orders: Vec<Sender<Order>>,
    threads: Vec<JoinHandle<Option<Findings>>>,
    news: Receiver<News>,
}

/// What the threads of a capture begin with.
pub(super) struct Start<'a> {
    pub(super) config: &'a RunConfig,
    pub(super) aim: Option<Aim<'a>>,
    pub(super) outputs: &'a Outputs,
    /// What runs in the kernel before [`Start::filter`].
    pub(super) prelude: Prelude,
    pub(super) filter: Option<Arc<Program>>,
    /// Where workers run, in turn; anywhere if there is none.
    pub(super) places: Vec<CoreId>,
}

impl Running {
    /// Starts a worker on each of these lists of sources, and waits until all have opened their filters. Returns as
    /// well what the first ones have had to say meanwhile, which belongs behind the line that says that the capture
    /// is open.
    pub(super) fn begin(
        start: &Start<'_>,
        interfaces: Vec<Arc<Interface>>,
        sources: Vec<Vec<Source>>,
        implied: Option<String>,
    ) -> Result<(Self, Vec<News>), Error> {
        let common = Arc::new(Common {
            stop: AtomicBool::new(false),
            left: AtomicU64::new(start.config.capture.count.map_or(u64::MAX, |count| count.get())),
            counters: sources.iter().map(|_| Counters::new()).collect(),
        });
        let (said, news) = unbounded();
        let mut running = Self { common, interfaces, implied, orders: Vec::new(), threads: Vec::new(), news };
        let seed = seed();
        let mut each = sources.into_iter().enumerate();
        let begun = each
            .try_for_each(|(number, sources)| running.begin_one(start, number, sources, seed, said.clone()));
        // Whoever waits for news is to know when there is nobody left to tell some.
        drop(said);
        match begun.and_then(|()| running.wait_until_open()) {
            Ok(early) => Ok((running, early)),
            Err(error) => {
                // What made the start fail says more than what a worker that was ended by it found.
                let _ = running.stop_and_join();
                Err(error)
            }
        }
    }

    fn begin_one(
        &mut self,
        start: &Start<'_>,
        number: usize,
        sources: Vec<Source>,
        seed: u64,
        news: Sender<News>,
    ) -> Result<(), Error> {
        let Start { config, aim, outputs, prelude, filter, places } = start;
        let workers = self.common.counters.len();
        let equipment = outputs.equipment(config, *aim, number, workers, seed)?;
        let (send_orders, orders) = unbounded();
        let worker = Worker {
            number,
            sources,
            writer: equipment.writer,
            analysis: equipment.analysis,
            prelude: prelude.clone(),
            filter: filter.clone(),
            program: reject_all(),
            common: Arc::clone(&self.common),
            orders,
            news: news.clone(),
            block_timeout: config.capture.block_timeout,
        };
        let place = places.get(number % places.len().max(1)).copied();
        let thread = std::thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || {
                if let Some(core) = place
                    && !core_affinity::set_for_current(core)
                {
                    let text = format!("worker {number} could not be pinned to CPU {}", core.id);
                    let _ = news.send(News::Event(Event::Warning(text)));
                }
                worker.run()
            })
            .map_err(Error::Thread)?;
        self.orders.push(send_orders);
        self.threads.push(thread);
        Ok(())
    }

    /// Waits until every worker has opened its filters. Returns what else they have said.
    fn wait_until_open(&self) -> Result<Vec<News>, Error> {
        let mut open = 0;
        let mut early = Vec::new();
        while open < self.threads.len() {
            match self.news.recv() {
                Ok(News::Open(result)) => {
                    result?;
                    open += 1;
                }
                Ok(news) => early.push(news),
                Err(_) => return Err(Error::Worker(open)),
            }
        }
        Ok(early)
    }

    /// What the main thread does while workers capture. `early` is what they have said before it began to listen.
    pub(super) fn supervise(
        &self,
        early: Vec<News>,
        config: &CaptureConfig,
        control: &Control,
        outputs: &Outputs,
        events: &dyn Fn(Event),
        begun: Instant,
    ) {
        let mut next_stats = config.stats_interval.map(|interval| begun + interval);
        let end = config.duration.map(|duration| begun + duration);
        let mut enough = forward(early, events);
        loop {
            let now = Instant::now();
            let deadlines = [next_stats, end].into_iter().flatten();
            let wait =
                deadlines.fold(TICK, |wait, deadline| wait.min(deadline.saturating_duration_since(now)));
            if let Some(command) = control.wait(wait) {
                self.command(command, config, outputs, events, begun);
            }
            outputs.notices(events);
            enough |= forward(self.news.try_iter(), events);
            let now = Instant::now();
            if next_stats.is_some_and(|due| now >= due) {
                next_stats = config.stats_interval.map(|interval| now + interval);
                events(Event::Stats(Box::new(self.ledger_so_far(outputs))));
            }
            let over = end.is_some_and(|end| now >= end);
            outputs.look_for_readers();
            let all_ended = self.threads.iter().all(JoinHandle::is_finished);
            if control.stopping() || enough || over || outputs.is_closed() || all_ended {
                return;
            }
        }
    }

    fn command(
        &self,
        command: Command,
        config: &CaptureConfig,
        outputs: &Outputs,
        events: &dyn Fn(Event),
        begun: Instant,
    ) {
        let order = match command {
            Command::Report => {
                let report = Report {
                    ledger: self.ledger_so_far(outputs),
                    filter: config.filter_text(),
                    implied: self.implied.clone(),
                    cpu: CpuTime::of_process(),
                    duration: begun.elapsed(),
                    ..Report::default()
                };
                return events(Event::Report(Box::new(report)));
            }
            Command::Rotate => return outputs.rotate(),
            // The files say what the largest captured length is, and readers believe it.
            Command::Snaplen(snaplen) if snaplen > config.snaplen => {
                return events(Event::Warning(format!(
                    "snapshot length {snaplen} refused: the files are for at most {}",
                    config.snaplen
                )));
            }
            Command::Snaplen(snaplen) => Order::Snaplen(snaplen),
            Command::Direction(direction) => Order::Direction(direction),
        };
        for orders in &self.orders {
            let _ = orders.send(order);
        }
    }

    /// Passes on what workers said at their end.
    pub(super) fn tell_the_rest(&self, events: &dyn Fn(Event)) {
        forward(self.news.try_iter(), events);
    }

    /// Ends the workers. Returns what they found, all of them together, or which one ended by a panic.
    pub(super) fn stop_and_join(&mut self) -> Result<Findings, Error> {
        self.common.stop.store(true, Ordering::Relaxed);
        let mut ended = Ok(Vec::new());
        for (number, thread) in self.threads.drain(..).enumerate() {
            match (thread.join(), &mut ended) {
                (Ok(findings), Ok(all)) => all.extend(findings),
                (Ok(_), Err(_)) => {}
                (Err(_), _) => ended = Err(Error::Worker(number)),
            }
        }
        ended.map(merged)
    }

    /// The ledger of a capture that goes on. The kernel's counters are read a few times a second; what has been taken
    /// out of the rings since then has been received as well.
    fn ledger_so_far(&self, outputs: &Outputs) -> Ledger {
        let mut ledger = self.ledger(&BTreeMap::new());
        ledger.recording = outputs.are_recorded();
        ledger.sinks = outputs.reports();
        ledger.received = ledger.received.max(ledger.dropped + ledger.total.processed.packets);
        ledger
    }

    pub(super) fn ledger(&self, devices_before: &BTreeMap<u32, DeviceCounters>) -> Ledger {
        let devices_now =
            if devices_before.is_empty() { BTreeMap::new() } else { device_counters(&self.interfaces) };
        let interfaces = self
            .interfaces
            .iter()
            .map(|interface| {
                let kernel = interface.statistics();
                let device = match (devices_before.get(&interface.number), devices_now.get(&interface.number))
                {
                    (Some(before), Some(now)) => Some(device_ledger(before, now)),
                    _ => None,
                };
                InterfaceLedger {
                    name: interface.name(),
                    received: kernel.received,
                    dropped: kernel.dropped,
                    freezes: kernel.freezes,
                    device,
                }
            })
            .collect();
        Ledger::live(interfaces, &self.common.counters)
    }
}

/// Passes on what workers said. True if one of them has reached the count.
fn forward(said: impl IntoIterator<Item = News>, events: &dyn Fn(Event)) -> bool {
    let mut enough = false;
    for news in said {
        match news {
            News::Event(event) => events(event),
            News::Enough => enough = true,
            News::Open(_) => {}
        }
    }
    enough
}

/// What the devices of the named interfaces have counted so far, by number of the source.
pub(super) fn device_counters(interfaces: &[Arc<Interface>]) -> BTreeMap<u32, DeviceCounters> {
    let of = |interface: &Arc<Interface>| -> Option<(u32, DeviceCounters)> {
        let Target::Named(name) = &interface.target else { return None };
        Some((interface.number, interface.facts.as_ref()?.by_name(name).ok()?.counters))
    };
    interfaces.iter().filter_map(of).collect()
}

fn device_ledger(before: &DeviceCounters, now: &DeviceCounters) -> DeviceLedger {
    DeviceLedger {
        rx_packets: now.rx_packets.saturating_sub(before.rx_packets),
        tx_packets: now.tx_packets.saturating_sub(before.tx_packets),
        rx_missed: now.rx_missed_errors.saturating_sub(before.rx_missed_errors),
        rx_dropped: now.rx_dropped.saturating_sub(before.rx_dropped),
        rx_fifo_errors: now.rx_fifo_errors.saturating_sub(before.rx_fifo_errors),
    }
}

/// How long the main thread sleeps when nothing else is due.
const TICK: Duration = Duration::from_millis(250);
