//! A live capture from set-up to report.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use caps::Capability;
use core_affinity::CoreId;
use crossbeam::channel::{Receiver, Sender, unbounded};
use gannet_filter::Program;
use gannet_packet::{LinkType, PacketType};
use gannet_record::{Interfaces, Traffic};
use gannet_recorder::{CountsSource, Destination, InterfaceKey, KernelCounts, Output, Writer};
use gannet_ring::fanout::FanoutMode;
use gannet_ring::interfaces::{Counters as DeviceCounters, link_type_of_arphrd};
use gannet_ring::prelude::{Prelude, reject_all};
use gannet_ring::{RingConfig, Target};
use gannet_sink::{Hub, SinkReport, Writing};

use crate::analysis::{Aim, Analysis, AnalysisPlan};
use crate::config::{
    CaptureConfig, Direction, Format, InterfaceName, InterfaceSpec, MIN_BLOCKS, RunConfig, ram_bytes,
};
use crate::control::{ByteSize, Capturing, Command, Control, Event};
use crate::error::Error;
use crate::filter::{implied, in_words, kernel_filter};
use crate::layer::Findings;
use crate::ledger::{Counters, CpuTime, DeviceLedger, FileReport, InterfaceLedger, Ledger, Report};
use crate::mailbox::{Post, PostOffice};
use crate::plan::{destination, event_of, finish_output, needs_override, output_plan, writer_plan};
use crate::privileges;
use crate::readers::await_readers;
use crate::records::{
    finish_records, http_report, merged, pending_after, records_hub, seed, tell_of_reopening,
};
use crate::source::{Interface, Source};
use crate::worker::{Common, News, Order, Worker};

pub(crate) fn run(
    config: &RunConfig,
    aim: Option<Aim<'_>>,
    specs: &[InterfaceSpec],
    control: &Control,
    events: &dyn Fn(Event),
) -> Result<Report, Error> {
    let capture = &config.capture;
    let name = name_for_files(specs);
    let destination = config.record.as_ref().map(|record| destination(record, &name)).transpose()?;
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let one_stream = destination.as_ref().is_some_and(Destination::is_one_stream);
    let workers = config.workers(one_stream, cores.len()).get();
    if workers > 1 && aim.is_some() && !matches!(capture.fanout, FanoutMode::Flow | FanoutMode::Hash) {
        let text = format!(
            "--fanout {} gives the packets of a connection to several workers, and it is read on one: use flow or hash, \
             or --workers 1",
            capture.fanout
        );
        return Err(Error::Usage(text));
    }
    if workers > 1 && config.record.as_ref().is_some_and(|record| record.format != Format::Pcapng) {
        let text =
            "classic pcap files are written by one worker: leave out --workers, or use --format pcapng";
        return Err(Error::Usage(text.to_owned()));
    }
    let filter = kernel_filter(capture, specs, &prelude(config))?;
    let interfaces = interfaces(config, specs, workers, events);
    let places = places(capture, &cores)?;
    let mut sources = open_rings(&interfaces, workers, &places, events)?;
    // Frames of a further link type get a file of their own.
    let several = specs.len() > 1 || specs.iter().any(|spec| spec.name == InterfaceName::Any);
    let needs_override = destination.as_ref().is_some_and(|destination| needs_override(destination, several));
    let implied = implied_of(config);
    let opened = Instant::now();
    let report = || {
        let report = Report::before_packets(capture, destination.is_some(), opened);
        Report { implied: implied.clone(), ..report }
    };
    let Some(held) = await_readers(aim, destination.as_ref(), control, events, &report) else {
        return Ok(report());
    };
    let mut outputs = Outputs::open(config, aim, destination, &interfaces, &sources[0][0], &name, workers)?;
    drop(held);

    let devices_before = device_counters(&interfaces);
    give_up_privileges(capture, needs_override, &interfaces)?;
    outputs.start()?;
    let common = Arc::new(Common {
        stop: AtomicBool::new(false),
        left: AtomicU64::new(capture.count.map_or(u64::MAX, |count| count.get())),
        counters: (0..workers).map(|_| Counters::new()).collect(),
    });
    let (news_sender, news) = unbounded();
    let mut running = Running { common, interfaces, implied, orders: Vec::new(), threads: Vec::new(), news };
    let capturing = capturing(config, &running.interfaces, &sources[0], &outputs, workers);
    let seed = seed();
    for (number, sources) in sources.drain(..).enumerate() {
        let place = places.get(number % places.len().max(1)).copied();
        let started = outputs.equipment(config, aim, number, workers, seed).and_then(|equipment| {
            running.start(config, number, sources, equipment, filter.clone(), place, news_sender.clone())
        });
        if let Err(error) = started {
            // What made the start fail says more than what a worker that was ended by it found.
            let _ = running.stop_and_join();
            return Err(error);
        }
    }
    drop(news_sender);
    let early = match running.wait_until_open() {
        Ok(early) => early,
        Err(error) => {
            // What made the start fail says more than what a worker that was ended by it found.
            let _ = running.stop_and_join();
            return Err(error);
        }
    };
    events(Event::Capturing(capturing));
    let begun = Instant::now();
    running.supervise(early, capture, control, &outputs, events, begun);
    let duration = begun.elapsed();
    outputs.hurry();
    let ended = running.stop_and_join();
    forward(running.news.try_iter(), events);
    let mut ledger = running.ledger(&devices_before);
    // Workers share every file of a run.
    let unordered = workers > 1 && outputs.packets.is_some();
    let files = outputs.finish(&mut ledger, events);
    let findings = ended?;
    Ok(Report {
        ledger,
        files,
        filter: capture.filter_text(),
        implied: implied_of(config),
        http: http_report(&findings, aim),
        pending_after: pending_after(aim),
        traffic: findings.traffic.as_ref().map(Traffic::summary),
        cpu: CpuTime::of_process(),
        duration,
        unordered,
    })
}

/// What a worker does with packets.
struct Equipment {
    writer: Option<Writer>,
    analysis: Option<Analysis>,
}

/// Where packets and records of a run go.
struct Outputs {
    packets: Option<Output>,
    records: Option<Hub>,
    /// The names of the interfaces that records come from.
    names: Interfaces,
    /// Between workers that analyse, if there are several.
    post: Option<Arc<PostOffice>>,
    /// What the user has been told of outputs that could not be opened again.
    told: RefCell<Vec<String>>,
}

impl Outputs {
    fn open(
        config: &RunConfig,
        aim: Option<Aim<'_>>,
        destination: Option<Destination>,
        interfaces: &[Arc<Interface>],
        first: &Source,
        name: &str,
        workers: usize,
    ) -> Result<Self, Error> {
        let names = Interfaces::default();
        let records =
            aim.map(|aim| records_hub(aim, &names, workers, true, Writing::ByThreads)).transpose()?;
        let post = (records.is_some() && workers > 1).then(|| PostOffice::new(workers)).transpose()?;
        let (Some(record), Some(destination)) = (&config.record, destination) else {
            return Ok(Self { packets: None, records, names, post, told: RefCell::default() });
        };
        let link_type = main_link_type(first)?;
        let plan = output_plan(record, &config.capture, destination, link_type, name)?;
        let packets = Some(Output::open(plan, kernel_counts(interfaces))?);
        Ok(Self { packets, records, names, post, told: RefCell::default() })
    }

    /// Starts the threads. They have the privileges that the calling thread has now.
    fn start(&mut self) -> Result<(), Error> {
        if let Some(records) = &mut self.records {
            records.start()?;
        }
        match &mut self.packets {
            Some(packets) => Ok(packets.start()?),
            None => Ok(()),
        }
    }

    fn equipment(
        &self,
        config: &RunConfig,
        aim: Option<Aim<'_>>,
        worker: usize,
        workers: usize,
        seed: u64,
    ) -> Result<Equipment, Error> {
        let writer = self.packets.as_ref().zip(config.record.as_ref()).map(|(output, record)| {
            Writer::new(output, writer_plan(record, &config.capture, worker, workers, aim.is_some()))
        });
        let analysis = self.records.as_ref().zip(aim).map(|(hub, aim)| {
            // A packet waits in its block for the time-out at most, then for its turn. One that is handed over did so
            // at another worker, and waits once more until what this worker was given before it must have come.
            let patience = config.capture.block_timeout * 2;
            let skew = if self.post.is_some() { patience * 2 } else { Duration::ZERO };
            let plan = AnalysisPlan { aim, seed, workers, interfaces: self.names.clone(), skew, live: true };
            let fanout = config.capture.fanout;
            let post = self.post.as_ref().map(|office| Post::new(office, worker, fanout, patience));
            Analysis::new(&plan, worker, hub.lane()).with_post(post)
        });
        Ok(Equipment { writer: writer.transpose()?, analysis })
    }

    /// In the user's words.
    fn names(&self) -> String {
        let packets = self.packets.iter().map(Output::name);
        let records = self.records.iter().flat_map(|hub| hub.reports()).map(|sink| sink.name);
        let mut names: Vec<_> = packets.chain(records).collect();
        if names.is_empty() {
            names.push("no output but the report".to_owned());
        }
        names.join(" and ")
    }

    fn notices(&self, events: &dyn Fn(Event)) {
        for notice in self.packets.iter().flat_map(|output| output.notices().try_iter()) {
            events(event_of(notice));
        }
        if let Some(records) = &self.records {
            tell_of_reopening(records, &mut self.told.borrow_mut(), events);
        }
    }

    /// Begins the next file, opens files by name again.
    fn rotate(&self) {
        if let Some(packets) = &self.packets {
            packets.rotate();
        }
        if let Some(records) = &self.records {
            records.reopen();
        }
    }

    /// True once nobody takes any more what this run makes.
    fn is_closed(&self) -> bool {
        self.packets.as_ref().is_none_or(Output::is_closed)
            && self.records.as_ref().is_none_or(Hub::is_closed)
    }

    /// The run is to end: nothing waits for room any more.
    fn hurry(&self) {
        if let Some(packets) = &self.packets {
            packets.hurry();
        }
        if let Some(records) = &self.records {
            records.hurry();
        }
    }

    fn reports(&self) -> Vec<SinkReport> {
        self.records.as_ref().map(Hub::reports).unwrap_or_default()
    }

    /// Ends the outputs. Workers and their equipment are gone.
    fn finish(self, ledger: &mut Ledger, events: &dyn Fn(Event)) -> Vec<FileReport> {
        ledger.recording = self.packets.is_some();
        let files = self.packets.map(|output| finish_output(output, ledger, events)).unwrap_or_default();
        if let Some(records) = self.records {
            finish_records(records, ledger);
        }
        files
    }
}

/// The threads of a capture that has been set up.
struct Running {
    common: Arc<Common>,
    interfaces: Vec<Arc<Interface>>,
    /// What the kernel lets through for the analysis, in words.
    implied: Option<String>,
    orders: Vec<Sender<Order>>,
    threads: Vec<JoinHandle<Option<Findings>>>,
    news: Receiver<News>,
}

impl Running {
    #[expect(clippy::too_many_arguments, reason = "the parts of one worker, each owned by it from here on")]
    fn start(
        &mut self,
        config: &RunConfig,
        number: usize,
        sources: Vec<Source>,
        equipment: Equipment,
        filter: Option<Arc<Program>>,
        place: Option<CoreId>,
        news: Sender<News>,
    ) -> Result<(), Error> {
        let (send_orders, orders) = unbounded();
        let worker = Worker {
            number,
            sources,
            writer: equipment.writer,
            analysis: equipment.analysis,
            prelude: prelude(config),
            filter,
            program: reject_all(),
            common: Arc::clone(&self.common),
            orders,
            news: news.clone(),
            block_timeout: config.capture.block_timeout,
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
                worker.run()
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

    /// Ends the workers. Returns what they found, all of them together, or which one ended by a panic.
    fn stop_and_join(&mut self) -> Result<Findings, Error> {
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
        ledger.recording = outputs.packets.is_some();
        ledger.sinks = outputs.reports();
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
    run: &RunConfig,
    specs: &[InterfaceSpec],
    workers: usize,
    events: &dyn Fn(Event),
) -> Vec<Arc<Interface>> {
    let config = &run.capture;
    let count = NonZeroUsize::new(workers).unwrap_or(NonZeroUsize::MIN);
    let request = config.ring_request(run.default_ring_bytes(), count, ram());
    if let Some(asked) = request.limited_from {
        events(Event::Warning(format!(
            "--ring-size {} is limited to {} per worker: all rings together take at most half of the memory",
            ByteSize(asked),
            ByteSize(request.bytes)
        )));
    }
    // A worker's ring memory is shared out over its interfaces; a ring of less than four blocks is none.
    let block_bytes = u64::from(config.block_bytes.get());
    let filter = config.filter_text().unwrap_or_default();
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
            let netns = spec.netns.clone();
            let mut interface = Interface::new(number as u32, target, netns, ring, fanout, workers);
            interface.filter.clone_from(&filter);
            Arc::new(interface)
        })
        .collect()
}

fn ram() -> u64 {
    ram_bytes().unwrap_or(u64::MAX)
}

/// The CPUs that workers are pinned to: those asked for, of those the process may use.
fn places(config: &CaptureConfig, cores: &[CoreId]) -> Result<Vec<CoreId>, Error> {
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

fn prelude(config: &RunConfig) -> Prelude {
    let capture = &config.capture;
    let only_sent = capture.packet_type == Some(PacketType::Outgoing);
    Prelude {
        incoming: capture.direction != Direction::Out && !only_sent,
        outgoing: capture.direction != Direction::In,
        packet_type: capture.packet_type,
        only_tcp: config.http.as_ref().map(|http| http.intake.decap.clone()),
        snaplen: capture.snaplen.get(),
    }
}

/// What the prelude lets through, in words.
fn implied_of(config: &RunConfig) -> Option<String> {
    config.http.as_ref().map(|http| implied(&http.intake.decap))
}

fn name_for_files(specs: &[InterfaceSpec]) -> String {
    match specs {
        [one] => one.name.to_string(),
        _ => "several".to_owned(),
    }
}

fn capturing(
    config: &RunConfig,
    interfaces: &[Arc<Interface>],
    sources: &[Source],
    outputs: &Outputs,
    workers: usize,
) -> Capturing {
    let any = interfaces.iter().any(|interface| interface.target == Target::Any);
    let link_types = if config.record.as_ref().is_some_and(|record| record.cooked) {
        vec![LinkType::SLL2]
    } else if any {
        Vec::new()
    } else {
        sources.iter().filter_map(|source| main_link_type(source).ok()).collect()
    };
    Capturing {
        interfaces: interfaces.iter().map(|interface| interface.name()).collect(),
        link_types,
        snaplen: config.capture.snaplen.get(),
        workers,
        ring_bytes: sources.iter().map(|source| source.ring.ring_bytes()).sum(),
        block_bytes: u64::from(config.capture.block_bytes.get()),
        output: outputs.names(),
        filter: in_words(config.capture.filter_text().as_deref(), implied_of(config).as_deref()),
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
    config: &CaptureConfig,
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
