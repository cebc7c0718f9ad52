//! A live capture from set-up to report.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileTypeExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use caps::Capability;
use core_affinity::CoreId;
use crossbeam::channel::{Receiver, Sender, unbounded};
use gannet_packet::{LinkType, PacketType};
use gannet_recorder::{CountsSource, Destination, InterfaceKey, KernelCounts, Output, Writer};
use gannet_ring::interfaces::{Counters as DeviceCounters, link_type_of_arphrd};
use gannet_ring::prelude::Prelude;
use gannet_ring::{RingConfig, Target};

use crate::config::{Direction, Format, InterfaceName, InterfaceSpec, MIN_BLOCKS, RecordConfig, ram_bytes};
use crate::control::{ByteSize, Capturing, Command, Control, Event};
use crate::error::Error;
use crate::ledger::{Counters, CpuTime, DeviceLedger, InterfaceLedger, Ledger, Report};
use crate::plan::{destination, event_of, finish_output, needs_override, output_plan, writer_plan};
use crate::privileges;
use crate::source::{Interface, Source};
use crate::worker::{Common, News, Order, Worker};

pub(crate) fn run(
    config: &RecordConfig,
    specs: &[InterfaceSpec],
    control: &Control,
    events: &dyn Fn(Event),
) -> Result<Report, Error> {
    let name = name_for_files(specs);
    let destination = destination(config, &name)?;
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let workers = config.workers.resolve(destination.is_one_stream(), cores.len()).get();
    if workers > 1 && config.format != Format::Pcapng {
        let text =
            "classic pcap files are written by one worker: leave out --workers, or use --format pcapng";
        return Err(Error::Usage(text.to_owned()));
    }
    let interfaces = interfaces(config, specs, workers, events);
    let places = places(config, &cores)?;
    let mut sources = open_rings(&interfaces, workers, &places, events)?;
    let link_type = main_link_type(&sources[0][0])?;
    // Frames of a further link type get a file of their own.
    let several = specs.len() > 1 || specs.iter().any(|spec| spec.name == InterfaceName::Any);
    let needs_override = needs_override(&destination, several);
    let counts = kernel_counts(&interfaces);
    if let Destination::Special(path) = &destination
        && std::fs::metadata(path).is_ok_and(|facts| facts.file_type().is_fifo())
    {
        events(Event::Warning(format!(
            "opening {}, which waits until somebody reads from it",
            path.display()
        )));
    }
    let mut output = Output::open(output_plan(config, destination, link_type, &name)?, counts)?;

    let devices_before = device_counters(&interfaces);
    give_up_privileges(config, needs_override, &interfaces)?;
    output.start()?;
    let common = Arc::new(Common {
        stop: AtomicBool::new(false),
        left: AtomicU64::new(config.count.map_or(u64::MAX, |count| count.get())),
        counters: (0..workers).map(|_| Counters::new()).collect(),
    });
    let (news_sender, news) = unbounded();
    let mut running = Running { common, interfaces, orders: Vec::new(), threads: Vec::new(), news };
    let capturing = capturing(config, &running.interfaces, &sources[0], &output, workers);
    for (number, sources) in sources.drain(..).enumerate() {
        let writer = Writer::new(&output, writer_plan(config, number, workers));
        let started = writer.map_err(Error::from).and_then(|writer| {
            let place = places.get(number % places.len().max(1)).copied();
            running.start(config, number, sources, writer, place, news_sender.clone())
        });
        if let Err(error) = started {
            running.stop_and_join();
            return Err(error);
        }
    }
    drop(news_sender);
    let early = match running.wait_until_open() {
        Ok(early) => early,
        Err(error) => {
            running.stop_and_join();
            return Err(error);
        }
    };
    events(Event::Capturing(capturing));
    let begun = Instant::now();
    running.supervise(early, config, control, &output, events, begun);
    let duration = begun.elapsed();
    output.hurry();
    let defect = running.stop_and_join();
    forward(running.news.try_iter(), events);
    let mut ledger = running.ledger(&devices_before);
    let files = finish_output(output, &mut ledger, events);
    if let Some(worker) = defect {
        return Err(Error::Worker(worker));
    }
    // Workers share every file of a run.
    let unordered = workers > 1;
    Ok(Report { ledger, files, cpu: CpuTime::of_process(), duration, unordered })
}

/// The threads of a capture that has been set up.
struct Running {
    common: Arc<Common>,
    interfaces: Vec<Arc<Interface>>,
    orders: Vec<Sender<Order>>,
    threads: Vec<JoinHandle<()>>,
    news: Receiver<News>,
}

impl Running {
    fn start(
        &mut self,
        config: &RecordConfig,
        number: usize,
        sources: Vec<Source>,
        writer: Writer,
        place: Option<CoreId>,
        news: Sender<News>,
    ) -> Result<(), Error> {
        let (send_orders, orders) = unbounded();
        let worker = Worker {
            number,
            sources,
            writer,
            prelude: prelude(config),
            common: Arc::clone(&self.common),
            orders,
            news: news.clone(),
            block_timeout: config.block_timeout,
        };
        let thread = std::thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || {
                if let Some(core) = place
                    && !core_affinity::set_for_current(core)
                {
                    let text = format!("worker {number} could not be pinned to CPU {}", core.id);
                    let _ = news.send(News::Event(Event::Warning(text)));
                }
                worker.run();
            })
            .map_err(Error::Thread)?;
        self.orders.push(send_orders);
        self.threads.push(thread);
        Ok(())
    }

    /// Waits until every worker has opened its filters. Returns what the first ones have had to say meanwhile, which
    /// belongs behind the line that says that the capture is open.
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
    fn supervise(
        &self,
        early: Vec<News>,
        config: &RecordConfig,
        control: &Control,
        output: &Output,
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
                self.command(command, config, output, events, begun);
            }
            for notice in output.notices().try_iter() {
                events(event_of(notice));
            }
            enough |= forward(self.news.try_iter(), events);
            let now = Instant::now();
            if next_stats.is_some_and(|due| now >= due) {
                next_stats = config.stats_interval.map(|interval| now + interval);
                events(Event::Stats(Box::new(self.ledger_so_far())));
            }
            let over = end.is_some_and(|end| now >= end);
            let all_ended = self.threads.iter().all(JoinHandle::is_finished);
            if control.stopping() || enough || over || output.is_closed() || all_ended {
                return;
            }
        }
    }

    fn command(
        &self,
        command: Command,
        config: &RecordConfig,
        output: &Output,
        events: &dyn Fn(Event),
        begun: Instant,
    ) {
        let order = match command {
            Command::Report => {
                let report = Report {
                    ledger: self.ledger_so_far(),
                    cpu: CpuTime::of_process(),
                    duration: begun.elapsed(),
                    ..Report::default()
                };
                return events(Event::Report(Box::new(report)));
            }
            Command::Rotate => return output.rotate(),
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

    /// Ends the workers. Returns the number of one that ended by a panic.
    fn stop_and_join(&mut self) -> Option<usize> {
        self.common.stop.store(true, Ordering::Relaxed);
        let mut defect = None;
        for (number, thread) in self.threads.drain(..).enumerate() {
            if thread.join().is_err() {
                defect = Some(number);
            }
        }
        defect
    }

    /// The ledger of a capture that goes on. The kernel's counters are read a few times a second; what has been taken
    /// out of the rings since then has been received as well.
    fn ledger_so_far(&self) -> Ledger {
        let mut ledger = self.ledger(&BTreeMap::new());
        ledger.received = ledger.received.max(ledger.dropped + ledger.total.processed.packets);
        ledger
    }

    fn ledger(&self, devices_before: &BTreeMap<u32, DeviceCounters>) -> Ledger {
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

fn interfaces(
    config: &RecordConfig,
    specs: &[InterfaceSpec],
    workers: usize,
    events: &dyn Fn(Event),
) -> Vec<Arc<Interface>> {
    let request = config.ring_request(NonZeroUsize::new(workers).unwrap_or(NonZeroUsize::MIN), ram());
    if let Some(asked) = request.limited_from {
        events(Event::Warning(format!(
            "--ring-size {} is limited to {} per worker: all rings together take at most half of the memory",
            ByteSize(asked),
            ByteSize(request.bytes)
        )));
    }
    // A worker's ring memory is shared out over its interfaces; a ring of less than four blocks is none.
    let block_bytes = u64::from(config.block_bytes.get());
    let ring_bytes = (request.bytes / specs.len() as u64).max(MIN_BLOCKS * block_bytes);
    specs
        .iter()
        .enumerate()
        .map(|(number, spec)| {
            let target = match &spec.name {
                InterfaceName::Any => Target::Any,
                InterfaceName::Named(name) => Target::Named(name.clone()),
            };
            let ring = RingConfig {
                ring_bytes,
                block_bytes: config.block_bytes.get() as usize,
                block_timeout: config.block_timeout,
                promiscuous: config.promiscuous_on(&spec.name),
                time_source: config.time_source,
            };
            let fanout = (workers > 1).then_some(config.fanout);
            Arc::new(Interface::new(number as u32, target, spec.netns.clone(), ring, fanout, workers))
        })
        .collect()
}

fn ram() -> u64 {
    ram_bytes().unwrap_or(u64::MAX)
}

/// The CPUs that workers are pinned to: those asked for, of those the process may use.
fn places(config: &RecordConfig, cores: &[CoreId]) -> Result<Vec<CoreId>, Error> {
    if config.cpus.is_empty() {
        return Ok(cores.to_vec());
    }
    let place = |&id: &usize| {
        let known = cores.iter().copied().find(|core| core.id == id);
        known.ok_or_else(|| Error::Usage(format!("--cpus: this process may not run on CPU {id}")))
    };
    config.cpus.iter().map(place).collect()
}

/// Opens every worker's ring on every interface, each from the worker's CPU where that can be had, so that its memory
/// is near it.
fn open_rings(
    interfaces: &[Arc<Interface>],
    workers: usize,
    places: &[CoreId],
    events: &dyn Fn(Event),
) -> Result<Vec<Vec<Source>>, Error> {
    let mask = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0));
    let mut sources = Vec::new();
    for worker in 0..workers {
        if let Some(place) = places.get(worker % places.len().max(1)) {
            core_affinity::set_for_current(*place);
        }
        let mut of_worker = Vec::new();
        for interface in interfaces {
            let ring = interface.open()?;
            if let (0, Some(asked)) = (worker, ring.shrunk_from()) {
                events(Event::RingShrunk { asked, obtained: ring.ring_bytes() });
            }
            of_worker.push(Source::new(Arc::clone(interface), ring, worker));
        }
        sources.push(of_worker);
    }
    if let Ok(mask) = mask {
        // The main thread goes back to where it was allowed to be.
        let _ = nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &mask);
    }
    Ok(sources)
}

/// The link type of the main file: the first interface's. Frames of `any` are Ethernet as a rule, others get a file
/// of their own.
fn main_link_type(source: &Source) -> Result<LinkType, Error> {
    let hardware_type = source.ring.socket().hardware_type()?;
    Ok(link_type_of_arphrd(hardware_type).unwrap_or(LinkType::SLL2))
}

fn prelude(config: &RecordConfig) -> Prelude {
    let only_sent = config.packet_type == Some(PacketType::Outgoing);
    Prelude {
        incoming: config.direction != Direction::Out && !only_sent,
        outgoing: config.direction != Direction::In,
        packet_type: config.packet_type,
        snaplen: config.snaplen.get(),
    }
}

fn name_for_files(specs: &[InterfaceSpec]) -> String {
    match specs {
        [one] => one.name.to_string(),
        _ => "several".to_owned(),
    }
}

fn capturing(
    config: &RecordConfig,
    interfaces: &[Arc<Interface>],
    sources: &[Source],
    output: &Output,
    workers: usize,
) -> Capturing {
    let any = interfaces.iter().any(|interface| interface.target == Target::Any);
    let link_types = if config.cooked {
        vec![LinkType::SLL2]
    } else if any {
        Vec::new()
    } else {
        sources.iter().filter_map(|source| main_link_type(source).ok()).collect()
    };
    Capturing {
        interfaces: interfaces.iter().map(|interface| interface.name()).collect(),
        link_types,
        snaplen: config.snaplen.get(),
        workers,
        ring_bytes: sources.iter().map(|source| source.ring.ring_bytes()).sum(),
        block_bytes: u64::from(config.block_bytes.get()),
        output: output.name(),
    }
}

/// Tells the recorder the kernel's counters, for the statistics at the end of each file.
fn kernel_counts(interfaces: &[Arc<Interface>]) -> Box<CountsSource> {
    let interfaces = interfaces.to_vec();
    Box::new(move |key: InterfaceKey| {
        let interface = interfaces.get(key.source as usize)?;
        if interface.target == Target::Any {
            return None;
        }
        let kernel = interface.statistics();
        Some(KernelCounts { received: kernel.received, dropped: kernel.dropped })
    })
}

/// What the devices of the named interfaces have counted so far, by number of the source.
fn device_counters(interfaces: &[Arc<Interface>]) -> BTreeMap<u32, DeviceCounters> {
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

/// Everything is open: from here on hostile bytes are read, so the process keeps only what it still needs.
fn give_up_privileges(
    config: &RecordConfig,
    needs_override: bool,
    interfaces: &[Arc<Interface>],
) -> Result<(), Error> {
    if let Some(user) = &config.user {
        privileges::become_user(user)?;
    }
    let mut keep = Vec::new();
    // New sockets are needed when an interface returns, if sockets are in fanout groups; in the namespace where it is.
    for interface in interfaces {
        if interface.fanout.is_some() && interface.target != Target::Any {
            keep.push(Capability::CAP_NET_RAW);
            if interface.netns.is_some() {
                keep.push(Capability::CAP_SYS_ADMIN);
            }
        }
    }
    if needs_override && config.user.is_none() {
        keep.push(Capability::CAP_DAC_OVERRIDE);
    }
    privileges::restrict_thread(&keep)?;
    Ok(())
}

/// How long the main thread sleeps when nothing else is due.
const TICK: Duration = Duration::from_millis(250);
