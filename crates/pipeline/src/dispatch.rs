//! Capture files in, HTTP records out: the packets of files in batches to the same analysis as live ones.
//!
//! ```text
//!   files ──► Merge ──► Intake ──► batch n: packets by flow ──┬─► worker 0: analyse, let time pass, hand on records of n
//!             (time)    (tunnels,  and the clock, for all     ├─► worker 1: the same
//!                       fragments)                            └─► ...                 outputs put n of all workers in order
//! ```
//!
//! Before packets are shared out tunnels are opened and datagrams put together, so that all of a flow comes to one worker, in
//! order. One worker does that for itself.
//!
//! The result is the same for any number of workers: batches are cut without regard to it, every worker gets every batch
//! (if only its clock), time passes at the ends of batches alone, and records are ordered by the packet that
//! completed them. Packets stay in the buffers that the files are read into, which workers keep for as long as they look at
//! them.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle, Thread};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, SendTimeoutError, Sender, bounded, unbounded};
use gannet_flow::Moment;
use gannet_packet::{End, FlowKey, Frame, LinkType, Packet, PacketType, Surroundings, Timestamp, Transport};
use gannet_pcap::{Merge, StreamReader};
use gannet_record::{Interfaces, Traffic};
use gannet_ring::prefetch::prefetch;
use gannet_sink::Hub;

use crate::analysis::{Aim, Analysis, AnalysisPlan, Run};
use crate::config::{CaptureConfig, FileInput};
use crate::control::{Command, Control, Event};
use crate::error::Error;
use crate::files::{advance, buffered_reader, is_plain_file, path_of};
use crate::filter::{Selection, Taken};
use crate::intake::{Found, Intake, Part};
use crate::layer::Findings;
use crate::ledger::{Amount, AnalysisLedger, Counters, CpuTime, Ledger, Report};
use crate::privileges;
use crate::records::{
    finish_records, http_report, merged, pending_after, records_hub, seed, tell_of_reopening,
};

pub(crate) fn run(
    capture: &CaptureConfig,
    aim: Aim<'_>,
    files: &[FileInput],
    control: &Control,
    events: &dyn Fn(Event),
) -> Result<Report, Error> {
    let begun = Instant::now();
    let readers = files.iter().map(buffered_reader).collect::<Result<Vec<_>, _>>()?;
    let selection = Selection::new(capture, files);
    for (source, reader) in readers.iter().enumerate() {
        // What is known before the first packet.
        if let Some(interface) = reader.interfaces().first() {
            selection.expect(source, interface)?;
        }
    }
    let cpus = core_affinity::get_core_ids().unwrap_or_default().len();
    let workers = capture.workers.resolve(false, cpus).get();
    let threads = if workers == 1 && cpus <= 1 { Threads::One } else { Threads::Many };
    let names = Interfaces::default();
    // Input that has pauses would leave in the buffers of outputs what was written before them.
    let worker_writes = threads == Threads::One && files.iter().all(is_plain_file);
    let mut hub = records_hub(aim, &names, workers, false, worker_writes)?;
    // Everything is open: foreign bytes are read without privileges.
    if let Some(user) = &capture.user {
        privileges::become_user(user)?;
    }
    privileges::restrict_thread(&[])?;
    hub.start()?;
    let mut outputs: Vec<_> = hub.reports().into_iter().map(|sink| sink.name).collect();
    if outputs.is_empty() {
        outputs.push("no output but the report".to_owned());
    }
    let output = outputs.join(" and ");
    for input in files {
        let (path, filter) = (path_of(input).to_owned(), capture.filter_text());
        events(Event::Reading { path, output: output.clone(), filter });
    }
    let counters: Vec<_> = (0..workers).map(|_| Counters::new()).collect();
    let plan =
        AnalysisPlan { aim, seed: seed(), workers, interfaces: names, skew: Duration::ZERO, live: false };
    let mut reading = Reading {
        selection,
        merge: Merge::new(readers),
        names: plan.interfaces.clone(),
        named: 0,
        clock: Timestamp::default(),
    };
    let ended = AtomicBool::new(false);
    let done = std::thread::scope(|scope| {
        let mut team = Team::start(scope, threads, &plan, &hub, &counters)?;
        let watch =
            (threads == Threads::One).then(|| Watch::start(scope, control, &hub, &ended)).transpose()?;
        let sorter = (workers > 1).then(|| Sorter::new(plan.aim, plan.seed, workers));
        team.sorter = sorter;
        let result = feed(&mut reading, &mut team, files, control, &hub, events, &counters, begun);
        if control.stopping() {
            hub.hurry();
        }
        // Workers end when nothing more can come.
        let sorted = team.sorter.take().map(Sorter::finish);
        let findings = team.join();
        drop(watch);
        result.and(findings).map(|findings| (findings, sorted))
    });
    let (findings, sorted) = done?;
    for (source, warning) in reading.merge.warnings() {
        events(Event::Warning(format!("{}: {warning}", path_of(&files[source]).display())));
    }
    let mut ledger = Ledger::files(reading.selection.read, reading.selection.filtered, &counters);
    if let Some((processed, analysis)) = &sorted {
        ledger.add_dispatch(*processed, analysis);
    }
    ledger.recording = false;
    finish_records(hub, &mut ledger);
    Ok(Report {
        ledger,
        http: http_report(&findings, Some(plan.aim)),
        pending_after: pending_after(Some(plan.aim)),
        traffic: findings.traffic.as_ref().map(Traffic::summary),
        filter: capture.filter_text(),
        cpu: CpuTime::of_process(),
        duration: begun.elapsed(),
        ..Report::default()
    })
}

/// Looks, in place of a reading thread that waits for an output itself, whether the run is to end. See [`Team::send`].
struct Watch<'env> {
    ended: &'env AtomicBool,
    thread: Thread,
}

impl<'env> Watch<'env> {
    fn start<'scope>(
        scope: &'scope Scope<'scope, 'env>,
        control: &'env Control,
        hub: &'env Hub,
        ended: &'env AtomicBool,
    ) -> Result<Self, Error> {
        let look = move || {
            while !ended.load(Ordering::Relaxed) {
                std::thread::park_timeout(LOOK_AROUND);
                if control.stopping() {
                    hub.hurry();
                }
            }
        };
        let thread = std::thread::Builder::new().name("watch".to_owned());
        let thread = thread.spawn_scoped(scope, look).map_err(Error::Thread)?;
        Ok(Self { ended, thread: thread.thread().clone() })
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}

/// Reads to the end, or until somebody says stop.
#[expect(clippy::too_many_arguments, reason = "the parts of one run, each borrowed for its own time")]
fn feed(
    reading: &mut Reading<'_>,
    team: &mut Team<'_>,
    files: &[FileInput],
    control: &Control,
    hub: &Hub,
    events: &dyn Fn(Event),
    counters: &[Counters],
    begun: Instant,
) -> Result<(), Error> {
    let mut more = true;
    // Until it has been asked for there is nothing to tell, and asking costs more than a batch should.
    let (mut reopened, mut told) = (false, Vec::new());
    while more {
        more = reading.batch(team, files)?;
        team.send(control, hub);
        match control.take() {
            Some(Command::Report) => {
                let mut ledger = Ledger::files(reading.selection.read, reading.selection.filtered, counters);
                if let Some(sorter) = &mut team.sorter {
                    let (processed, analysis) = sorter.so_far();
                    ledger.add_dispatch(processed, analysis);
                }
                (ledger.recording, ledger.sinks) = (false, hub.reports());
                // What is on the way to the workers counts as not read yet.
                ledger.received = ledger.total.processed.packets;
                let (cpu, duration) = (CpuTime::of_process(), begun.elapsed());
                let filter = reading.selection.filter_text();
                events(Event::Report(Box::new(Report {
                    ledger,
                    filter,
                    cpu,
                    duration,
                    ..Report::default()
                })));
            }
            Some(Command::Rotate) => {
                hub.reopen();
                reopened = true;
            }
            Some(Command::Snaplen(_) | Command::Direction(_)) | None => {}
        }
        if reopened {
            tell_of_reopening(hub, &mut told, events);
        }
        if control.stopping() || hub.is_closed() {
            return Ok(());
        }
    }
    Ok(())
}

/// The files, and how far they have been read.
struct Reading<'a> {
    selection: Selection<'a>,
    merge: Merge<StreamReader<Box<dyn Read>>>,
    names: Interfaces,
    named: u32,
    /// The newest time stamp so far.
    clock: Timestamp,
}

impl Reading<'_> {
    /// Reads a batch and hands it to the workers. False at the end of the input.
    fn batch(&mut self, team: &mut Team<'_>, files: &[FileInput]) -> Result<bool, Error> {
        let mut filling = Filling::default();
        let mut more = true;
        while !filling.is_full() {
            self.run(team, &mut filling)?;
            if filling.is_full() {
                break;
            }
            more = !self.selection.is_full() && advance(&mut self.merge, files)?;
            if !more {
                break;
            }
            filling.packets += 1;
            let position = self.selection.read;
            let Some(Taken { source, frame, data_offset }) = self.selection.take(&self.merge)? else {
                continue;
            };
            self.clock = self.clock.max(frame.timestamp);
            // Numbers of the merge run without gaps, so that the names get the same ones.
            while self.named <= frame.interface {
                let interface = self.merge.interface(self.named);
                self.names.add(interface.map(|(_, interface)| interface.name.clone()).unwrap_or_default());
                self.named += 1;
            }
            filling.bytes += frame.data.len();
            if let Some(worker) = &mut team.own {
                let mut alone = Run::default();
                worker.take(&mut alone, &frame, position);
                worker.analysis.end_run(&mut alone);
                continue;
            }
            let Some((buffer, base)) = self.merge.sources()[source].buffer() else {
                debug_assert!(false, "a packet lies in a buffer");
                self.selection.filtered += 1;
                continue;
            };
            let place = filling.place(buffer, (data_offset - base) as usize);
            team.add(&frame, place, position);
        }
        team.end_batch(filling.buffers, Moment { time: self.clock, position: self.selection.read });
        Ok(more)
    }

    /// Takes what comes next of a single file as far as it can be taken without asking what it is.
    #[inline]
    fn run(&mut self, team: &mut Team<'_>, filling: &mut Filling) -> Result<(), Error> {
        let Self { selection, merge, named, clock, .. } = self;
        let Some((reader, numbers)) = merge.only() else { return Ok(()) };
        let mut gathered = Run::default();
        let mut failed = Ok(());
        reader.run(|packet, buffer, place| {
            let number = numbers.get(packet.frame.interface as usize).copied().flatten();
            // The interface has been met, and has its name. Of one link type the byte order means something.
            let known = number.filter(|number| *number < *named && packet.frame.link_type != LinkType::NULL);
            let Some(number) = known.filter(|_| !filling.is_full() && !selection.is_full()) else {
                return false;
            };
            filling.packets += 1;
            let position = selection.read;
            match selection.take_packet(0, packet, || false) {
                Ok(Some(mut frame)) => {
                    frame.interface = number;
                    *clock = (*clock).max(frame.timestamp);
                    filling.bytes += frame.data.len();
                    match &mut team.own {
                        Some(worker) => worker.take(&mut gathered, &frame, position),
                        None => team.add(&frame, filling.place(buffer, place), position),
                    }
                    true
                }
                Ok(None) => true,
                Err(error) => {
                    failed = Err(error);
                    false
                }
            }
        });
        if let Some(worker) = &mut team.own {
            worker.analysis.end_run(&mut gathered);
        }
        failed
    }
}

/// A batch that is being read.
#[derive(Default)]
struct Filling {
    /// Where its packets lie.
    buffers: Vec<Arc<Vec<u8>>>,
    packets: usize,
    bytes: usize,
}

impl Filling {
    #[inline]
    fn is_full(&self) -> bool {
        self.packets >= BATCH_PACKETS || self.bytes >= BATCH_BYTES
    }

    /// The place of bytes at `offset` in `buffer`.
    #[inline]
    fn place(&mut self, buffer: &Arc<Vec<u8>>, offset: usize) -> Place {
        let known = self.buffers.iter().rposition(|known| Arc::ptr_eq(known, buffer));
        let buffer = known.unwrap_or_else(|| {
            self.buffers.push(Arc::clone(buffer));
            self.buffers.len() - 1
        });
        Place { buffer, offset }
    }
}

/// Which threads do the work of one worker.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Threads {
    /// One thread reads and analyses: on a single processor others would only take it from one another, and what has been
    /// read would leave its caches before they get to it (measured: a quarter more time for a capture of 3 GB).
    One,
    /// One reads, each worker has its own.
    Many,
}

/// The workers, and the batches that are being filled for them.
struct Team<'scope> {
    /// The one worker that has no thread of its own.
    own: Option<FileWorker<'scope>>,
    workers: Vec<ScopedJoinHandle<'scope, Findings>>,
    inputs: Vec<Sender<Batch>>,
    filling: Vec<Vec<Item>>,
    /// What is to be sent, one for each worker.
    waiting: Vec<Option<Batch>>,
    spare: Receiver<Vec<Item>>,
    /// `None` for a single worker.
    sorter: Option<Sorter>,
}

/// What a worker gets.
struct Batch {
    items: Vec<Item>,
    /// Where their bytes are.
    buffers: Arc<Vec<Arc<Vec<u8>>>>,
    datagrams: Arc<Datagrams>,
    /// The clock at the end, and the position behind the last packet.
    end: Moment,
}

/// A packet on its way to a worker: a frame without its bytes.
struct Item {
    place: Place,
    caplen: u32,
    orig_len: u32,
    timestamp: Timestamp,
    link_type: LinkType,
    packet_type: PacketType,
    interface: u32,
    position: u64,
    /// It is a datagram that was put together: its number in the batch.
    datagram: Option<u32>,
    part: Part,
}

/// Where a packet's bytes are: a buffer of its batch, and the offset in there.
#[derive(Clone, Copy)]
struct Place {
    buffer: usize,
    offset: usize,
}

impl<'scope> Team<'scope> {
    fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        threads: Threads,
        plan: &AnalysisPlan<'_>,
        hub: &Hub,
        counters: &'env [Counters],
    ) -> Result<Self, Error> {
        let (give_back, spare) = unbounded();
        let mut team = Self {
            own: None,
            workers: Vec::new(),
            inputs: Vec::new(),
            filling: Vec::new(),
            waiting: Vec::new(),
            spare,
            sorter: None,
        };
        for (number, counters) in counters.iter().enumerate() {
            let analysis = Analysis::new(plan, number, hub.lane());
            let worker = FileWorker { analysis, counters, end: Moment::default(), packets: 0, bytes: 0 };
            team.filling.push(Vec::new());
            if threads == Threads::One {
                team.own = Some(worker);
                continue;
            }
            let (sender, batches) = bounded(BATCHES_AHEAD);
            let give_back = give_back.clone();
            let thread = std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn_scoped(scope, move || worker.run(&batches, &give_back))
                .map_err(Error::Thread)?;
            team.workers.push(thread);
            team.inputs.push(sender);
            team.waiting.push(None);
        }
        Ok(team)
    }

    /// Adds a packet to the batch of its flow's worker.
    #[inline]
    fn add(&mut self, frame: &Frame<'_>, place: Place, position: u64) {
        let Some(sorter) = &mut self.sorter else {
            return self.filling[0].push(Item::new(frame, place, position));
        };
        let packet = sorter.intake.decode(frame);
        if packet.end == End::Fragment {
            if let Some((workers, item)) = sorter.fragment(frame, packet, position) {
                self.share(workers, item);
            }
        } else {
            let workers = sorter.workers(frame, &packet);
            self.share(workers, Item::new(frame, place, position));
        }
    }

    /// Gives a packet to its worker, and to the one whose flow it is about.
    #[inline]
    fn share(&mut self, (worker, about): (usize, Option<usize>), mut item: Item) {
        if let Some(about) = about {
            item.part = Part::Conversation;
            self.filling[about].push(Item { part: Part::Error, ..item });
        }
        self.filling[worker].push(item);
    }

    /// The batch is whole.
    fn end_batch(&mut self, buffers: Vec<Arc<Vec<u8>>>, end: Moment) {
        let datagrams = self.sorter.as_mut().map_or_else(Default::default, |sorter| sorter.end_batch(end));
        if let Some(worker) = &mut self.own {
            return worker.end_batch(end);
        }
        let buffers = Arc::new(buffers);
        for (filling, waiting) in self.filling.iter_mut().zip(&mut self.waiting) {
            let items = std::mem::replace(filling, self.spare.try_recv().unwrap_or_default());
            *waiting =
                Some(Batch { items, buffers: Arc::clone(&buffers), datagrams: Arc::clone(&datagrams), end });
        }
    }

    /// Sends every worker its part of the batch. A worker may wait for an output that nobody reads: once the run is to end,
    /// nobody waits for that any more.
    fn send(&mut self, control: &Control, hub: &Hub) {
        for (waiting, input) in self.waiting.iter_mut().zip(&self.inputs) {
            while let Some(batch) = waiting.take() {
                match input.send_timeout(batch, LOOK_AROUND) {
                    Err(SendTimeoutError::Timeout(batch)) => {
                        *waiting = Some(batch);
                        if control.stopping() {
                            hub.hurry();
                        }
                    }
                    // A worker that has ended has panicked, which `join` reports.
                    Ok(()) | Err(SendTimeoutError::Disconnected(_)) => {}
                }
            }
        }
    }

    /// Lets the workers come to their end.
    fn join(self) -> Result<Findings, Error> {
        drop(self.inputs);
        let mut all = Vec::new();
        let mut ended = Ok(());
        all.extend(self.own.map(FileWorker::finish));
        for (number, worker) in self.workers.into_iter().enumerate() {
            match worker.join() {
                Ok(findings) => all.push(findings),
                Err(_) => ended = Err(Error::Worker(number)),
            }
        }
        ended.map(|()| merged(all))
    }
}

impl Item {
    #[inline]
    fn new(frame: &Frame<'_>, place: Place, position: u64) -> Self {
        Self {
            place,
            caplen: frame.data.len() as u32,
            orig_len: frame.orig_len,
            timestamp: frame.timestamp,
            link_type: frame.link_type,
            packet_type: frame.packet_type,
            interface: frame.interface,
            position,
            datagram: None,
            part: Part::Whole,
        }
    }
}

/// Finds the worker of each packet.
struct Sorter {
    intake: Intake,
    workers: u64,
    /// Conversations without TCP are followed, too.
    hears: bool,
    /// The fragments, which go no further.
    processed: Amount,
    ledger: AnalysisLedger,
    /// Those of the batch at hand.
    filling: Datagrams,
    /// Those of the last batches, to be used again.
    used: Vec<Arc<Datagrams>>,
    /// Of batches that have none.
    none: Arc<Datagrams>,
}

/// The datagrams of a batch that were put together from fragments.
#[derive(Default)]
struct Datagrams {
    /// One behind the other.
    bytes: Vec<u8>,
    /// What each was in.
    around: Vec<Surroundings>,
}

impl Sorter {
    fn new(aim: Aim<'_>, seed: u64, workers: usize) -> Self {
        Self {
            intake: Intake::new(aim.intake(), seed),
            workers: workers as u64,
            hears: matches!(aim, Aim::Flows(_)),
            processed: Amount::default(),
            ledger: AnalysisLedger::default(),
            filling: Datagrams::default(),
            used: Vec::new(),
            none: Arc::default(),
        }
    }

    /// The worker of a packet that is no fragment, and that of the flow that it is about if that is another one.
    #[inline]
    fn workers(&self, frame: &Frame<'_>, packet: &Packet) -> (usize, Option<usize>) {
        // Packets without a flow have no state to share.
        let Some((key, _)) = &packet.flow else { return (0, None) };
        let own = self.worker(key);
        if !matches!(packet.transport, Transport::Icmp { .. } | Transport::Icmpv6 { .. }) {
            return (own, None);
        }
        match Found::in_packet(frame, packet, 0) {
            Found::Error { quoted, .. } => {
                let about = self.worker(&quoted.key);
                if self.hears { (own, (about != own).then_some(about)) } else { (about, None) }
            }
            _ => (own, None),
        }
    }

    #[inline]
    fn worker(&self, key: &FlowKey) -> usize {
        (key.hash(DISPATCH_SEED) % self.workers) as usize
    }

    /// Takes a fragment. Returns the datagram if it is whole, and its workers.
    #[cold]
    fn fragment(
        &mut self,
        frame: &Frame<'_>,
        packet: Packet,
        position: u64,
    ) -> Option<((usize, Option<usize>), Item)> {
        let bytes = frame.data.len() as u64;
        self.processed += Amount { packets: 1, bytes };
        let (datagram, packet) = self.intake.fragment(frame, packet, position, bytes, &mut self.ledger)?;
        let whole = datagram.frame();
        let place = Place { buffer: 0, offset: self.filling.bytes.len() };
        let number = self.filling.around.len() as u32;
        self.filling.bytes.extend_from_slice(whole.data);
        self.filling.around.push(datagram.surroundings());
        let item = Item { datagram: Some(number), ..Item::new(&whole, place, position) };
        let workers = self.workers(&whole, &packet);
        self.intake.recycle(datagram);
        Some((workers, item))
    }

    /// The batch is whole: time passes, and these are its datagrams.
    fn end_batch(&mut self, end: Moment) -> Arc<Datagrams> {
        self.intake.tick(end);
        if self.filling.around.is_empty() {
            return Arc::clone(&self.none);
        }
        // Those that all workers are done with.
        let free = self.used.iter().position(|used| Arc::strong_count(used) == 1);
        let mut next = free.and_then(|at| Arc::into_inner(self.used.swap_remove(at))).unwrap_or_default();
        next.bytes.clear();
        next.around.clear();
        let whole = Arc::new(std::mem::replace(&mut self.filling, next));
        self.used.push(Arc::clone(&whole));
        whole
    }

    fn so_far(&mut self) -> (Amount, &AnalysisLedger) {
        self.intake.publish(&mut self.ledger);
        (self.processed, &self.ledger)
    }

    fn finish(mut self) -> (Amount, AnalysisLedger) {
        self.intake.finish();
        self.intake.publish(&mut self.ledger);
        (self.processed, self.ledger)
    }
}

/// One worker, on a thread of its own or on the reader's.
struct FileWorker<'env> {
    analysis: Analysis,
    counters: &'env Counters,
    /// The end of the last batch.
    end: Moment,
    /// Of the batch at hand.
    packets: u64,
    bytes: u64,
}

impl FileWorker<'_> {
    fn run(mut self, batches: &Receiver<Batch>, give_back: &Sender<Vec<Item>>) -> Findings {
        for mut batch in batches {
            self.take_batch(&batch);
            batch.items.clear();
            // Nobody takes it back any more at the end.
            let _ = give_back.send(batch.items);
        }
        self.finish()
    }

    /// Takes a packet of the batch at hand, at once or as one of a run.
    #[inline(always)]
    fn take<'b>(&mut self, run: &mut Run<'b>, frame: &Frame<'b>, position: u64) {
        let bytes = frame.data.len() as u64;
        self.packets += 1;
        self.bytes += bytes;
        self.analysis.frame_of_run(run, frame, position, bytes);
    }

    /// Takes a batch.
    fn take_batch(&mut self, batch: &Batch) {
        let mut run = Run::default();
        for (index, item) in batch.items.iter().enumerate() {
            if let Some(soon) = batch.items.get(index + LOOK_AHEAD) {
                prefetch(bytes_of(soon, batch));
            }
            let frame = Frame {
                data: bytes_of(item, batch),
                timestamp: item.timestamp,
                orig_len: item.orig_len,
                link_type: item.link_type,
                interface: item.interface,
                packet_type: item.packet_type,
            };
            if let Some(number) = item.datagram {
                let around = batch.datagrams.around.get(number as usize).copied().unwrap_or_default();
                self.analysis.end_run(&mut run);
                self.analysis.datagram(&frame, &around, item.position, item.part);
                continue;
            }
            if item.part != Part::Whole {
                let bytes = u64::from(item.caplen);
                let counts = u64::from(item.part == Part::Conversation);
                self.packets += counts;
                self.bytes += bytes * counts;
                self.analysis.end_run(&mut run);
                self.analysis.part(&frame, item.position, bytes, item.part);
                continue;
            }
            self.take(&mut run, &frame, item.position);
        }
        self.analysis.end_run(&mut run);
        self.end_batch(batch.end);
    }

    /// Time passes, records go out.
    fn end_batch(&mut self, end: Moment) {
        self.counters.processed(self.packets, self.bytes);
        (self.packets, self.bytes, self.end) = (0, 0, end);
        self.analysis.tick(end);
        self.analysis.send();
        self.analysis.publish(self.counters);
    }

    fn finish(self) -> Findings {
        self.analysis.finish(Some(self.end), self.counters)
    }
}

/// A packet's bytes. The reader has seen them where the item says they are.
#[inline]
fn bytes_of<'b>(item: &Item, batch: &'b Batch) -> &'b [u8] {
    let Place { buffer, offset } = item.place;
    let buffer = match item.datagram {
        None => batch.buffers.get(buffer).map(|buffer| buffer.as_slice()).unwrap_or_default(),
        Some(_) => &batch.datagrams.bytes,
    };
    buffer.get(offset..offset + item.caplen as usize).unwrap_or_default()
}

/// Packets ahead whose bytes are fetched into the cache: far enough to be there in time.
const LOOK_AHEAD: usize = 4;

/// Packets of a batch. Fewer cost hand-overs; of more, the headers have left the processor's cache before a worker gets to
/// them (measured on one CPU: 4096 took 11 % longer than 512). The number is part of the result, because time passes at
/// the ends of batches.
const BATCH_PACKETS: usize = 512;

/// Captured bytes after which a batch ends: super-frames of 64 KiB would make it large.
const BATCH_BYTES: usize = 1 << 20;

/// Batches that may wait for a worker: enough to even out what batches cost, little enough to stay in memory that is
/// still in the cache.
const BATCHES_AHEAD: usize = 4;

/// Whoever wrote a file can at most make one worker do all the work.
const DISPATCH_SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// How long a worker is waited for before the reader looks whether the run is to end.
const LOOK_AROUND: Duration = Duration::from_millis(100);
