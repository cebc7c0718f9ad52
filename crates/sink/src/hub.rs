//! The threads of the outputs, and the way to them.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use gannet_record::RecordOptions;

use crate::batch::Parcel;
use crate::output::Output;
use crate::queue::Queue;
use crate::writer::{Lines, Maker, Sink, Writer};
use crate::{Batch, Error, Event, EventKinds, Format, HttpryOptions};

/// What a run's outputs are.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// The outputs.
    pub sinks: Vec<SinkSpec>,
    /// What records show.
    pub options: RecordOptions,
    /// What outputs in httpry's format show.
    pub httpry: HttpryOptions,
    /// How many workers will send.
    pub workers: usize,
    /// In which order records are written.
    pub order: Order,
    /// What happens when an output is slower than the workers.
    pub when_full: WhenFull,
    /// Write out after every record (`-l`).
    pub flush_each: bool,
    /// Who makes records and writes them.
    pub writing: Writing,
}

/// One output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkSpec {
    /// How.
    pub format: Format,
    /// Where.
    pub target: Target,
    /// Which events become records of it. Others are none of its business: they are not counted.
    pub events: EventKinds,
}

/// Where an output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file that is appended to; created with mode 0600.
    File(PathBuf),
}

/// In which order records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As they come.
    Arrival,
    /// By key (position, flow): batches of one number are waited for from all workers.
    ByKey,
}

/// What happens when an output is slower than the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The workers wait (files).
    Wait,
    /// Records are shed and counted (live).
    Shed,
}

/// Who makes records of events and writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// The thread of each output.
    ByThreads,
    /// Workers that have no processor beside them for such a thread do most of its work within [`Lane::send`]: one
    /// worker writes what goes to files and to `/dev/null`, several make the records, in formats of which each record
    /// stands for itself, and the thread puts them in order. For input without pauses: what is written is as fresh as
    /// what was sent last.
    ByWorkers,
}

/// The outputs of a run.
///
/// Each has a thread, named after its format, that writes out as soon as it has nothing else to do, and at the latest
/// after 100 ms; [`Writing::ByWorkers`] says which have none. The process must ignore SIGPIPE, as Rust's runtime
/// makes it do before `main`: a reader that has gone is then the end of its output, not of the process.
///
/// A reader that stays and does not read holds up a run that waits for its outputs, as a pager does. It does not hold
/// up the end of a run that must not wait (live), nor of one that [`Hub::hurry`] has told to end: see
/// [`Hub::finish`].
pub struct Hub {
    sinks: Arc<[Arc<Sink>]>,
    /// Waiting for their threads.
    opened: Vec<(Arc<Sink>, Writer)>,
    threads: Vec<(Arc<Sink>, JoinHandle<()>)>,
    ends: Arc<Ends>,
    /// Those that a lane writes itself.
    by_lane: Vec<Arc<Sink>>,
    worker_writes: bool,
    /// What records show, if lanes make them.
    for_makers: Option<RecordOptions>,
    /// Waiting for the lane that writes them. Locked while one is added: lanes are numbered alike in all queues.
    for_lane: Mutex<Vec<Writer>>,
}

/// One worker's way to the outputs. Dropping it tells the outputs not to wait for this worker any more.
pub struct Lane {
    sinks: Arc<[Arc<Sink>]>,
    number: usize,
    /// Of the outputs that have no thread.
    writers: Vec<Writer>,
    /// For each output, what makes its records here.
    makers: Vec<Option<Maker>>,
}

/// What an output did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkReport {
    /// Its target and format, as a sentence has them: `standard output (jsonl)`, `requests.jsonl (jsonl)`; `none`.
    pub name: String,
    /// Which events became records of it.
    pub events: EventKinds,
    /// Records given to it.
    pub made: u64,
    /// Records written.
    pub written: u64,
    /// Records not written: the queue was full, the output failed, or its reader has gone.
    pub shed: u64,
    /// Bodies that were not decoded to their end, because they would have become too large for what they are, or had
    /// too many codings.
    pub bodies_refused: u64,
    /// Messages that count in the total of the rates alone, because there was no room for their hosts.
    pub hosts_beyond: u64,
    /// Why it ended early; `None` also for a reader that closed its pipe.
    pub failure: Option<String>,
    /// The reader closed its pipe.
    pub closed: bool,
    /// Why the file could not be opened again the last time; records went on into the old one.
    pub reopen_failure: Option<String>,
}

impl Hub {
    /// Opens the outputs. Their threads are started by [`Hub::start`], after the caller has given up what privileges it
    /// needs no more: Linux keeps them by thread, and a thread begins with those of the one that starts it.
    pub fn open(config: HubConfig) -> Result<Self, Error> {
        let HubConfig { sinks, options, httpry, workers, order, when_full, flush_each, writing } = config;
        let sinks: Arc<[_]> = sinks
            .into_iter()
            .map(|spec| {
                let queue = Queue::new(order, when_full, workers);
                Arc::new(Sink::new(spec, queue))
            })
            .collect();
        let mut opened = Vec::new();
        for sink in sinks.iter().filter(|sink| sink.queue().is_some()) {
            let live = order == Order::Arrival;
            let output = Output::open(&sink.spec().target, live)?;
            let lines = Lines::new(sink.spec(), &httpry, live);
            let writer = Writer::new(Arc::clone(sink), output, lines, options.clone(), flush_each);
            opened.push((Arc::clone(sink), writer));
        }
        let worker_writes = writing == Writing::ByWorkers && workers == 1;
        let for_makers = (writing == Writing::ByWorkers && workers > 1).then_some(options);
        Ok(Self {
            sinks,
            opened,
            threads: Vec::new(),
            ends: Arc::default(),
            by_lane: Vec::new(),
            worker_writes,
            for_makers,
            for_lane: Mutex::default(),
        })
    }

    /// Starts the threads.
    pub fn start(&mut self) -> Result<(), Error> {
        let for_lane = self.for_lane.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (sink, mut writer) in self.opened.drain(..) {
            if self.worker_writes && writer.keeps_nobody_waiting() {
                // One that ends here has said why.
                if writer.begin().is_ok() {
                    for_lane.push(writer);
                }
                self.by_lane.push(sink);
                continue;
            }
            let end = End::of_thread(&self.ends, self.threads.len());
            let name = format!("sink-{}", sink.spec().format.name());
            let run = move || {
                let _end = end;
                writer.run();
            };
            let thread = thread::Builder::new().name(name).spawn(run).map_err(Error::Thread)?;
            self.threads.push((sink, thread));
        }
        Ok(())
    }

    /// A worker's way in. By key, the merge waits until there are as many as there are workers.
    pub fn lane(&self) -> Lane {
        let mut writers = self.for_lane.lock().unwrap_or_else(PoisonError::into_inner);
        let numbers = self.queues().map(Queue::add_lane);
        let number = numbers.last().unwrap_or(0);
        let maker = |sink: &Arc<Sink>| Maker::new(sink, self.for_makers.as_ref()?);
        let makers = self.sinks.iter().map(maker).collect();
        Lane { sinks: Arc::clone(&self.sinks), number, writers: std::mem::take(&mut writers), makers }
    }

    /// True once every output has ended early, because its reader has gone or because it failed: nobody wants more.
    pub fn is_closed(&self) -> bool {
        !self.sinks.is_empty() && self.sinks.iter().all(|sink| sink.is_over())
    }

    /// How many outputs have ended early. As long as it does not change, [`Hub::reports`] has no new failure to tell
    /// of; this is a load for each output.
    pub fn ended(&self) -> usize {
        self.sinks.iter().filter(|sink| sink.is_over()).count()
    }

    /// How many records have been shed so far, by all outputs together; this is a load for each output.
    pub fn shed(&self) -> u64 {
        self.sinks.iter().map(|sink| sink.shed()).sum()
    }

    /// Ends the outputs whose readers have gone, which writing would find out with the next record only: for whoever
    /// looks now and then, a system call or two for each output.
    pub fn look_for_readers(&self) {
        self.sinks.iter().for_each(|sink| sink.look_for_reader());
    }

    /// Reopens the files by name (SIGHUP).
    pub fn reopen(&self) {
        self.queues().for_each(Queue::reopen);
    }

    /// The run is to end: lanes wait half a second longer for outputs that get on, then they shed what finds no room.
    pub fn hurry(&self) {
        self.queues().for_each(Queue::hurry);
    }

    /// What the outputs have done so far.
    pub fn reports(&self) -> Vec<SinkReport> {
        self.sinks.iter().map(|sink| sink.report()).collect()
    }

    /// Nothing more will come: waits, at most that long, until the outputs have written what is queued and have
    /// ended. All lanes must be gone. True if nothing is left to be waited for; [`Hub::finish`] must follow all the
    /// same.
    pub fn wait(&self, timeout: Duration) -> bool {
        self.queues().for_each(Queue::end);
        self.ends.wait(timeout)
    }

    /// Writes what is queued and ends the outputs. All lanes must be gone.
    ///
    /// Where lanes do not wait (live, or after [`Hub::hurry`]) this takes 2 s at most: the thread of an output that
    /// nobody reads stays behind in its `write`, and what it has not written is shed. Otherwise it waits as long as
    /// lanes would.
    pub fn finish(mut self) -> Vec<SinkReport> {
        self.stop();
        self.reports()
    }

    fn stop(&mut self) {
        self.queues().for_each(Queue::end);
        for (sink, _) in self.opened.drain(..) {
            sink.settle();
        }
        // A worker that panicked has left behind what it was to write.
        for sink in self.by_lane.drain(..) {
            sink.settle();
        }
        let is_patient = self.queues().any(Queue::is_patient);
        if !is_patient && !self.threads.is_empty() {
            self.ends.wait(MAX_END);
        }
        for (number, (sink, thread)) in self.threads.drain(..).enumerate() {
            if !is_patient && !self.ends.has_ended(number) {
                sink.leave(NOT_READ);
            } else if thread.join().is_err() {
                sink.settle();
            }
        }
    }

    fn queues(&self) -> impl Iterator<Item = &Queue> {
        self.sinks.iter().filter_map(|sink| sink.queue())
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Which threads have ended, or are about to: all that is left to them is to be joined.
#[derive(Default)]
struct Ends {
    threads: Mutex<Vec<bool>>,
    changed: Condvar,
}

/// A thread's own. Dropping it tells that the thread has ended.
struct End {
    ends: Arc<Ends>,
    number: usize,
}

impl Ends {
    /// Waits until all have ended, at most that long. True if they have.
    fn wait(&self, timeout: Duration) -> bool {
        let is_running = |threads: &mut Vec<bool>| threads.contains(&false);
        let waited = self.changed.wait_timeout_while(self.lock(), timeout, is_running);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn has_ended(&self, number: usize) -> bool {
        self.lock().get(number).is_none_or(|has_ended| *has_ended)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<bool>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl End {
    /// Of a thread that is about to begin; threads come in the order of their numbers.
    fn of_thread(ends: &Arc<Ends>, number: usize) -> Self {
        ends.lock().push(false);
        Self { ends: Arc::clone(ends), number }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if let Some(has_ended) = self.ends.lock().get_mut(self.number) {
            *has_ended = true;
        }
        self.ends.changed.notify_all();
    }
}

impl Lane {
    /// The kinds of events that any output takes: others need not be made.
    pub fn wanted(&self) -> EventKinds {
        self.sinks.iter().fold(EventKinds::NONE, |sum, sink| sum.union(sink.spec().events))
    }

    /// Hands over a batch; blocks or sheds when the queue is full, as configured. By key: one batch for each number.
    ///
    /// Returns room for the events of the next one: that of this one, if all of it is written.
    pub fn send(&mut self, batch: Batch) -> Vec<Event> {
        let batch = Arc::new(batch);
        for (sink, maker) in self.sinks.iter().zip(&mut self.makers) {
            let parcel = match maker {
                Some(maker) if !sink.is_over() => Parcel::Records(maker.records(&batch)),
                _ => Parcel::Events(Arc::clone(&batch)),
            };
            sink.send(self.number, parcel);
        }
        self.catch_up();
        // The next batch is likely to have as many: growing step by step would move each of them several times.
        let next = batch.events.len().min(ROOM_MAX);
        match Arc::into_inner(batch) {
            Some(Batch { mut events, .. }) if events.capacity() <= ROOM_MAX => {
                events.clear();
                events
            }
            _ => Vec::with_capacity(next),
        }
    }

    /// Writes what has no thread to write it.
    fn catch_up(&mut self) {
        self.writers.retain_mut(|writer| writer.catch_up().is_ok());
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        for queue in self.sinks.iter().filter_map(|sink| sink.queue()) {
            queue.end_lane(self.number);
        }
        if thread::panicking() {
            self.writers.iter().for_each(Writer::abandon);
        } else if !self.writers.is_empty() {
            // It is the only lane.
            self.sinks.iter().filter_map(|sink| sink.queue()).for_each(Queue::end);
            self.catch_up();
        }
    }
}

/// For so many events room is kept ready: more come when thousands of connections end at once.
const ROOM_MAX: usize = 4_096;
/// What a reader gets for the rest at the end of a run, all outputs together.
const MAX_END: Duration = Duration::from_secs(2);
const NOT_READ: &str = "nobody read it within 2 s of the end";
