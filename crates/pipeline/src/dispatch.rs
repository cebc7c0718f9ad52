//! Capture files in, HTTP records out: the packets of files to the same analysis as live ones.
//!
//! ```text
//!   files ──► Merge ──► Sorter ──────────► Stretch: packets by flow, ──┬─► worker 0: analyse, let time pass, hand on records
//!   (pieces)  (time)    (tunnels,          ends of batches             ├─► worker 1: the same
//!                       fragments)                                     └─► ...        outputs put batch n of all in order
//!   └───────── every thread, in turns ─────────┘                           every thread, its own worker's
//! ```
//!
//! Before packets are shared out tunnels are opened and datagrams put together, so that all of a flow comes to one
//! worker, in order. A single worker does all that for itself; on a single processor its thread reads, too.
//!
//! The result is the same for any number of workers: batches are cut without regard to it ([`reading`]), every worker
//! gets every end of a batch, time passes there alone, and records are ordered by the packet that completed them.
//! Packets stay in the buffers that the files are read into, which are kept for as long as a worker looks at them.

mod reading;
mod relay;
mod sorter;
mod stretch;
mod worker;

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, Thread};
use std::time::{Duration, Instant};

use gannet_pcap::StreamReader;
use gannet_record::{Interfaces, Traffic};
use gannet_sink::{Hub, Writing};

use self::reading::{Pause, Reached, Reading};
use self::relay::Relay;
use self::sorter::Sorter;
use self::worker::FileWorker;
use crate::analysis::{Aim, Analysis, AnalysisPlan};
use crate::arrivals::{Arrivals, Bell};
use crate::config::{CaptureConfig, FileInput};
use crate::control::{Command, Control, Event, LOOK_AROUND, link_type_name};
use crate::error::Error;
use crate::files::{Bytes, Pieces, in_order, is_plain_file, open_early, path_of};
use crate::filter::Selection;
use crate::layer::Findings;
use crate::ledger::{Amount, AnalysisLedger, Counters, CpuTime, Ledger, Report};
use crate::privileges;
use crate::readers::await_readers;
use crate::records::{Troubles, finish_records, http_report, merged, pending_after, records_hub, seed};

pub(crate) fn run(
    capture: &CaptureConfig,
    aim: Aim<'_>,
    files: &[FileInput],
    control: &Control,
    events: &dyn Fn(Event),
) -> Result<Report, Error> {
    let begun = Instant::now();
    let report = || Report::before_packets(capture, false, begun);
    let Some(inputs) = open_all(files, control, events, &report)? else { return Ok(report()) };
    let selection = Selection::new(capture, files);
    for (source, reader) in inputs.readers.iter().enumerate() {
        // What is known before the first packet.
        if let Some(interface) = reader.interfaces().first() {
            selection.expect(source, interface)?;
        }
    }
    let cpus = core_affinity::get_core_ids().unwrap_or_default().len();
    let workers = capture.workers.resolve(false, cpus).get();
    let names = Interfaces::default();
    // Input that has pauses would leave in the buffers of outputs what was written before them.
    let by_workers = workers >= cpus && files.iter().all(is_plain_file);
    let writing = if by_workers { Writing::ByWorkers } else { Writing::ByThreads };
    let Some(held) = await_readers(Some(aim), None, control, events, &report) else { return Ok(report()) };
    let mut hub = records_hub(aim, &names, workers, false, writing)?;
    drop(held);
    privileges::give_up(capture.user.as_ref(), &[])?;
    hub.start()?;
    tell_of_reading(capture, files, &hub, events);
    let counters: Vec<_> = (0..workers).map(|_| Counters::new()).collect();
    let plan =
        AnalysisPlan { aim, seed: seed(), workers, interfaces: names, skew: Duration::ZERO, live: false };
    let merge = (in_order(inputs.readers, files), inputs.arrivals);
    let reading = Reading::new(selection, merge, files, plan.interfaces.clone());
    let mut desk =
        Desk { control, hub: &hub, events, counters: &counters, begun, troubles: Troubles::default() };
    let done = if cpus <= 1 && workers == 1 {
        alone(reading, &plan, &mut desk)
    } else {
        together(reading, inputs.pieces, cpus, &plan, &mut desk)
    };
    if done.is_err() {
        // What has been found is written all the same.
        await_outputs(&hub, control, events, || Report::before_packets(capture, false, begun));
    }
    let Done { reading, findings, sorted } = done?;
    for (source, warning) in reading.merge.warnings() {
        events(Event::Warning(format!("{}: {warning}", path_of(&files[source]).display())));
    }
    for (source, link_type) in reading.unknown_links() {
        let (path, name) = (path_of(&files[source]).display(), link_type_name(link_type));
        events(Event::Warning(format!("{path}: its packets of link type {name} are not looked into")));
    }
    let mut ledger = Ledger::files(reading.selection.read, reading.selection.filtered, &counters);
    if let Some((processed, analysis)) = &sorted {
        ledger.add_dispatch(*processed, analysis);
    }
    ledger.recording = false;
    await_outputs(&hub, control, events, || {
        let (ledger, cpu) = (Ledger { sinks: hub.reports(), ..ledger.clone() }, CpuTime::of_process());
        Report { ledger, filter: capture.filter_text(), cpu, duration: begun.elapsed(), ..Report::default() }
    });
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

/// The files, opened.
struct Inputs {
    readers: Vec<StreamReader<Bytes>>,
    /// Where several threads may read: see [`Pieces`].
    pieces: Option<Pieces>,
    /// For each file, where to wait for it if it has pauses.
    arrivals: Vec<Option<Arrivals>>,
}

/// Opens the files, in their order. `None` if the run is to end before all of them are there.
fn open_all(
    files: &[FileInput],
    control: &Control,
    events: &dyn Fn(Event),
    report: &dyn Fn() -> Report,
) -> Result<Option<Inputs>, Error> {
    let mut inputs = Inputs { readers: Vec::new(), pieces: None, arrivals: Vec::new() };
    for input in files {
        let Some(opened) = open_early(input, control, events, report)? else { return Ok(None) };
        inputs.readers.push(opened.reader);
        // Pieces are of one file: of several the next packet may be in any.
        inputs.pieces = opened.pieces.filter(|_| files.len() == 1);
        inputs.arrivals.push(opened.arrivals);
    }
    Ok(Some(inputs))
}

/// Tells what is read, and where what is found goes.
fn tell_of_reading(capture: &CaptureConfig, files: &[FileInput], hub: &Hub, events: &dyn Fn(Event)) {
    let mut outputs: Vec<_> = hub.reports().into_iter().map(|sink| sink.name).collect();
    if outputs.is_empty() {
        outputs.push("no output but the report".to_owned());
    }
    let output = outputs.join(" and ");
    for input in files {
        let (path, filter) = (path_of(input).to_owned(), capture.filter_text());
        events(Event::Reading { path, output: output.clone(), filter });
    }
}

/// Waits until the outputs have written everything, for as long as the run is not told to end. `report` is what there
/// is to tell.
fn await_outputs(hub: &Hub, control: &Control, events: &dyn Fn(Event), report: impl Fn() -> Report) {
    while !hub.wait(LOOK_AROUND) && !control.stopping() {
        match control.take() {
            Some(Command::Report) => events(Event::Report(Box::new(report()))),
            Some(Command::Rotate) => hub.reopen(),
            Some(Command::Snaplen(_) | Command::Direction(_)) | None => {}
        }
    }
    if control.stopping() {
        hub.hurry();
    }
}

/// What a run leaves.
struct Done<'a> {
    reading: Reading<'a>,
    findings: Findings,
    /// What was done in front of the workers.
    sorted: Option<(Amount, AnalysisLedger)>,
}

/// One thread reads and analyses: on a single processor others would only take it from one another, and what has been
/// read would leave its caches before they get to it (measured: a quarter more time for a capture of 3 GB).
fn alone<'a>(
    mut reading: Reading<'a>,
    plan: &AnalysisPlan<'_>,
    desk: &mut Desk<'_>,
) -> Result<Done<'a>, Error> {
    let Some(counters) = desk.counters.first() else { return Err(Error::Worker(0)) };
    let mut worker = FileWorker::new(Analysis::new(plan, 0, desk.hub.lane()), counters);
    let ended = AtomicBool::new(false);
    let (read, findings) = std::thread::scope(|scope| {
        // Also while the last records are handed on.
        let _watch = Watch::start(scope, desk.control, desk.hub, &ended)?;
        let read = loop {
            let reached = reading.read_on(&mut worker, Pause::Never);
            match reached {
                Ok(Reached::Silence { news: true }) => worker.hand_on(),
                Ok(Reached::Silence { news: false }) => {}
                _ => worker.end_batch(reading.now()),
            }
            let command = match reading.awaited() {
                Some(arrivals) => {
                    desk.hub.look_for_readers();
                    desk.control.wait_beside(Some(arrivals.as_fd()), LOOK_AROUND)
                }
                None => desk.control.take(),
            };
            if let Some(command) = command {
                desk.carry_out(command, &reading, None);
            }
            desk.look_around();
            let is_over = matches!(reached, Ok(Reached::End) | Err(_));
            if is_over || desk.control.stopping() || desk.hub.is_closed() {
                break reached;
            }
        };
        // A pause is no end of a batch.
        worker.end_batch(reading.now());
        if desk.control.stopping() {
            desk.hub.hurry();
        }
        // Of what was open when reading failed there are records as well.
        Ok::<_, Error>((read, worker.finish()))
    })?;
    read?;
    Ok(Done { reading, findings, sorted: None })
}

/// Several threads read in turns, and each analyses what is its worker's. This one sees to commands.
fn together<'a>(
    reading: Reading<'a>,
    pieces: Option<Pieces>,
    cpus: usize,
    plan: &AnalysisPlan<'_>,
    desk: &mut Desk<'a>,
) -> Result<Done<'a>, Error> {
    let bell = Bell::new().map_err(Error::Thread)?;
    let sorter = Sorter::new(plan.aim, plan.seed, plan.workers);
    let runners = plan.workers.max(cpus.min(READERS));
    let sizes = (runners, plan.workers);
    let relay = Relay::new((reading, sorter), (pieces, bell), desk.control, desk.hub, sizes, cpus <= 1);
    let counters = desk.counters;
    let hub = desk.hub;
    let findings = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for number in 0..runners {
            let worker = counters
                .get(number)
                .map(|counters| FileWorker::new(Analysis::new(plan, number, hub.lane()), counters));
            let relay = &relay;
            let thread = std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn_scoped(scope, move || relay.run(number, worker))
                .map_err(|error| {
                    relay.give_up();
                    Error::Thread(error)
                })?;
            threads.push(thread);
        }
        while relay.is_running() && !desk.control.stopping() && !hub.is_closed() {
            match desk.control.wait(LOOK_AROUND) {
                Some(Command::Report) => {
                    let relay::Baton { reading, sorter, .. } = &mut *relay.baton();
                    desk.report(reading, Some(sorter.so_far()));
                }
                Some(command) => desk.carry_out_without_reading(command),
                None => {}
            }
            desk.look_around();
            hub.look_for_readers();
        }
        relay.ring();
        if desk.control.stopping() {
            // A worker may wait for an output that nobody reads: nobody waits for that any more.
            hub.hurry();
        }
        let mut findings = Ok(Vec::new());
        for (number, thread) in threads.into_iter().enumerate() {
            match (thread.join(), &mut findings) {
                (Ok(found), Ok(all)) => all.extend(found),
                (Ok(_), Err(_)) => {}
                (Err(_), _) => findings = Err(Error::Worker(number)),
            }
        }
        findings
    });
    let (reading, sorter, failure) = relay.finish();
    if let Some(failure) = failure {
        return Err(failure);
    }
    Ok(Done { reading, findings: merged(findings?), sorted: Some(sorter.finish()) })
}

/// Where commands are carried out.
struct Desk<'a> {
    control: &'a Control,
    hub: &'a Hub,
    events: &'a dyn Fn(Event),
    counters: &'a [Counters],
    begun: Instant,
    troubles: Troubles,
}

impl Desk<'_> {
    fn carry_out(
        &mut self,
        command: Command,
        reading: &Reading<'_>,
        sorted: Option<(Amount, &AnalysisLedger)>,
    ) {
        match command {
            Command::Report => self.report(reading, sorted),
            command => self.carry_out_without_reading(command),
        }
    }

    fn carry_out_without_reading(&mut self, command: Command) {
        match command {
            Command::Rotate => {
                self.hub.reopen();
                self.troubles.reopening();
            }
            Command::Report | Command::Snaplen(_) | Command::Direction(_) => {}
        }
    }

    fn report(&self, reading: &Reading<'_>, sorted: Option<(Amount, &AnalysisLedger)>) {
        let selection = &reading.selection;
        let mut ledger = Ledger::files(selection.read, selection.filtered, self.counters);
        if let Some((processed, analysis)) = sorted {
            ledger.add_dispatch(processed, analysis);
        }
        (ledger.recording, ledger.sinks) = (false, self.hub.reports());
        // What is on the way to the workers counts as not read yet.
        ledger.received = ledger.total.processed.packets;
        let (cpu, duration) = (CpuTime::of_process(), self.begun.elapsed());
        let filter = selection.filter_text();
        (self.events)(Event::Report(Box::new(Report { ledger, filter, cpu, duration, ..Report::default() })));
    }

    fn look_around(&mut self) {
        self.troubles.tell(self.hub, self.events);
    }
}

/// Looks, in place of a thread that waits for an output itself, whether the run is to end.
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

/// Threads for a single worker: one more than there is work for would only wait.
const READERS: usize = 2;
