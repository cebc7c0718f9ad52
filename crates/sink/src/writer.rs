//! The thread of one output: takes batches from its queue, puts records into the output, keeps the account.

use std::fs::File;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use gannet_record::{EventRecord, FlowFormat, Record, RecordOptions};
use nix::unistd::geteuid;

use crate::batch::{Parcel, Records};
use crate::httpry::HttpryText;
use crate::messages::Messages;
use crate::output::{Flushed, Output, has_lost_reader};
use crate::queue::{Next, Pushed, Queue};
use crate::text::TextLines;
use crate::{Batch, Error, Event, EventKinds, Format, HttpryOptions, SinkReport, SinkSpec, Target};

/// One output as lanes and the hub see it.
pub(crate) struct Sink {
    spec: SinkSpec,
    /// `None` for [`Format::None`], which has no thread.
    queue: Option<Queue>,
    made: AtomicU64,
    written: AtomicU64,
    shed: AtomicU64,
    bodies_refused: Arc<AtomicU64>,
    hosts_beyond: AtomicU64,
    /// It will write no more: the reader has gone, or writing failed.
    is_over: AtomicBool,
    /// See [`Sink::settle`].
    is_settled: AtomicBool,
    /// What is written to, as long as it is.
    watched: Mutex<Weak<File>>,
    notes: Mutex<Notes>,
}

/// What happens at most a few times.
#[derive(Default)]
struct Notes {
    failure: Option<String>,
    closed: bool,
    reopen_failure: Option<String>,
}

impl Sink {
    pub(crate) fn new(spec: SinkSpec, queue: Queue) -> Self {
        let queue = (spec.format != Format::None).then_some(queue);
        Self {
            spec,
            queue,
            made: AtomicU64::new(0),
            written: AtomicU64::new(0),
            shed: AtomicU64::new(0),
            bodies_refused: Arc::default(),
            hosts_beyond: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            is_settled: AtomicBool::new(false),
            watched: Mutex::default(),
            notes: Mutex::default(),
        }
    }

    pub(crate) fn spec(&self) -> &SinkSpec {
        &self.spec
    }

    pub(crate) fn queue(&self) -> Option<&Queue> {
        self.queue.as_ref()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    pub(crate) fn shed(&self) -> u64 {
        self.shed.load(Ordering::Relaxed)
    }

    pub(crate) fn send(&self, lane: usize, parcel: Parcel) {
        let load = parcel.load(self.spec.events);
        let records = load.records as u64;
        self.made.fetch_add(records, Ordering::Relaxed);
        match self.queue.as_ref().map(|queue| queue.push(lane, parcel, load)) {
            None => self.written.fetch_add(records, Ordering::Relaxed),
            Some(Pushed::Shed) => self.shed.fetch_add(records, Ordering::Relaxed),
            Some(Pushed::Queued) => return,
        };
    }

    pub(crate) fn report(&self) -> SinkReport {
        let name = match (&self.spec.format, &self.spec.target) {
            (Format::None, _) => "none".to_owned(),
            (format, Target::Stdout) => format!("standard output ({})", format.name()),
            (format, Target::File(path)) => format!("{} ({})", path.display(), format.name()),
        };
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        // Written and shed before made: what is under way must not make the parts more than the whole.
        let (written, shed) = (self.written.load(Ordering::Relaxed), self.shed.load(Ordering::Relaxed));
        let made = self.made.load(Ordering::Relaxed);
        let shed = if self.is_settled.load(Ordering::Relaxed) { made.saturating_sub(written) } else { shed };
        SinkReport {
            name,
            events: self.spec.events,
            made,
            written,
            shed,
            bodies_refused: self.bodies_refused.load(Ordering::Relaxed),
            hosts_beyond: self.hosts_beyond.load(Ordering::Relaxed),
            failure: notes.failure.clone(),
            closed: notes.closed,
            reopen_failure: notes.reopen_failure.clone(),
        }
    }

    /// The thread has panicked, never was, or is left alone, and all lanes are gone: what was made and not written is
    /// lost. Said of the account rather than reckoned here, so that it is right, too, if a thread left alone does get
    /// on.
    pub(crate) fn settle(&self) {
        self.is_settled.store(true, Ordering::Relaxed);
    }

    /// Its thread is in the middle of writing and nobody waits for it any more: `why`.
    pub(crate) fn leave(&self, why: &str) {
        self.note(|notes| {
            notes.failure.get_or_insert_with(|| why.to_owned());
        });
        self.end_early(0);
        self.settle();
    }

    /// Ends the output if whoever reads it has gone: writing would find that out with the next record only.
    pub(crate) fn look_for_reader(&self) {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        if !self.is_over() && watched.is_some_and(|file| has_lost_reader(&file)) {
            self.note(|notes| notes.closed = true);
            self.end_early(0);
        }
    }

    fn watch(&self, output: &Output) {
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(output.file());
    }

    fn note(&self, change: impl FnOnce(&mut Notes)) {
        change(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// From here on everything is shed.
    fn end_early(&self, lost: u64) {
        let queued = self.queue.as_ref().map_or(0, Queue::close);
        self.shed.fetch_add(lost + queued, Ordering::Relaxed);
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// The thread's own, or the lane's.
pub(crate) struct Writer {
    sink: Arc<Sink>,
    output: Output,
    lines: Lines,
    options: RecordOptions,
    flush_each: bool,
}

/// What is written as one record.
enum Source<'a> {
    Event(&'a Event),
    /// The record itself.
    Record(&'a [u8]),
}

/// Makes records for an output in a worker's thread: for formats of which each record stands for itself. That
/// spares another processor's fetching all that an exchange consists of, and giving it back to the memory of the first.
pub(crate) struct Maker {
    lines: Lines,
    options: RecordOptions,
    events: EventKinds,
}

impl Maker {
    /// `None` for formats whose records depend on those before.
    pub(crate) fn new(sink: &Sink, options: &RecordOptions) -> Option<Self> {
        let lines = match sink.spec.format {
            Format::Jsonl => Lines::Jsonl,
            Format::Flows(format) => Lines::Flows(format),
            Format::Text { .. } | Format::Messages { .. } | Format::Httpry | Format::None => return None,
        };
        let options = RecordOptions { bodies_refused: Arc::clone(&sink.bodies_refused), ..options.clone() };
        Some(Self { lines, options, events: sink.spec.events })
    }

    /// The records of a batch.
    pub(crate) fn records(&mut self, batch: &Batch) -> Records {
        let mut records = Records { number: batch.number, bytes: Vec::new(), ends: Vec::new() };
        for event in batch.taken(self.events) {
            self.lines.write(event, &self.options, &mut records.bytes);
            records.ends.push((event.key(), records.bytes.len()));
        }
        records
    }
}

/// How a record becomes a line.
pub(crate) enum Lines {
    Text(TextLines),
    Jsonl,
    Httpry(HttpryText),
    Messages(Messages),
    Flows(FlowFormat),
}

/// Nothing more can be written, or nothing more will come; the account is in order.
pub(crate) struct Over;

impl Writer {
    pub(crate) fn new(
        sink: Arc<Sink>,
        output: Output,
        lines: Lines,
        options: RecordOptions,
        flush_each: bool,
    ) -> Self {
        let options = RecordOptions { bodies_refused: Arc::clone(&sink.bodies_refused), ..options };
        sink.watch(&output);
        Self { sink, output, lines, options, flush_each }
    }

    /// Writes until the queue ends or the output does.
    pub(crate) fn run(mut self) {
        let sink = Arc::clone(&self.sink);
        let _guard = PanicGuard(&sink);
        let Some(queue) = sink.queue() else { return };
        let mut done = self.begin();
        while done.is_ok() {
            let deadline = match &self.lines {
                Lines::Httpry(text) => text.deadline(),
                _ => None,
            };
            let due = self.output.due();
            let may_wait = self.output.is_empty() || due.is_some();
            let next = queue.next_before(may_wait, deadline.into_iter().chain(due).min());
            done = self.follow(next).and_then(|()| self.tick());
        }
    }

    /// Writes what is queued and does not wait for more, nor for the output, which must keep nobody waiting.
    pub(crate) fn catch_up(&mut self) -> Result<(), Over> {
        let sink = Arc::clone(&self.sink);
        let Some(queue) = sink.queue() else { return Err(Over) };
        loop {
            match queue.next_before(false, None) {
                Next::Idle if !self.output.is_overdue() => return self.tick(),
                next => self.follow(next)?,
            }
        }
    }

    /// The worker that writes it has panicked.
    pub(crate) fn abandon(&self) {
        self.sink.note(|notes| notes.failure = Some("its worker failed".to_owned()));
        self.sink.end_early(0);
    }

    /// Whether the output takes at once whatever is written to it.
    pub(crate) fn keeps_nobody_waiting(&self) -> bool {
        self.output.keeps_nobody_waiting()
    }

    /// Does what the queue says.
    fn follow(&mut self, next: Next) -> Result<(), Over> {
        match next {
            Next::Write(batches) => self.write(&batches),
            Next::Idle => self.flush(),
            Next::Reopen => self.reopen(),
            Next::End => {
                self.finish_file();
                self.flush()?;
                Err(Over)
            }
        }
    }

    /// Writes what stands in front of the first record of a file.
    pub(crate) fn begin(&mut self) -> Result<(), Over> {
        self.lines.set_width(self.output.terminal_width());
        match &mut self.lines {
            Lines::Text(lines) => lines.begin(),
            Lines::Httpry(text) => self.output.add(|out| text.begin(out)),
            _ => self.output.begin(|out| self.sink.spec.format.header(out)),
        }
        self.flush()
    }

    /// Writes what is due at its time.
    fn tick(&mut self) -> Result<(), Over> {
        let Lines::Httpry(text) = &mut self.lines else { return Ok(()) };
        if text.deadline().is_none_or(|deadline| deadline > Instant::now()) {
            return Ok(());
        }
        self.output.add(|out| text.tick(out));
        self.sink.hosts_beyond.store(text.hosts_beyond(), Ordering::Relaxed);
        self.flush()
    }

    /// Puts what stands behind the last record of a file into the buffer.
    fn finish_file(&mut self) {
        if let Lines::Httpry(text) = &mut self.lines {
            self.output.add(|out| text.end(out));
            self.sink.hosts_beyond.store(text.hosts_beyond(), Ordering::Relaxed);
        }
    }

    /// Ends the output as if its reader had gone if it has all that was asked for. `left` records are lost.
    fn end_if_enough(&mut self, left: u64) -> Result<(), Over> {
        if !matches!(&self.lines, Lines::Httpry(text) if text.is_enough()) {
            return Ok(());
        }
        self.finish_file();
        self.flush_losing(left)?;
        self.sink.note(|notes| notes.closed = true);
        self.sink.end_early(left);
        Err(Over)
    }

    /// Several batches are of one number: the records of all of them in the order of their keys.
    fn write(&mut self, batches: &[Parcel]) -> Result<(), Over> {
        let kinds = self.sink.spec.events;
        let mut all = Vec::new();
        for batch in batches {
            match batch {
                Parcel::Events(batch) => {
                    all.extend(batch.taken(kinds).map(|event| (event.key(), Source::Event(event))));
                }
                Parcel::Records(records) => {
                    all.extend(records.each().map(|(key, record)| (key, Source::Record(record))));
                }
            }
        }
        if !all.is_sorted_by_key(|(key, _)| *key) {
            all.sort_by_key(|(key, _)| *key);
        }
        self.write_all(&all)
    }

    fn write_all(&mut self, all: &[((u64, u64), Source<'_>)]) -> Result<(), Over> {
        let mut left = all.len() as u64;
        for (_, source) in all {
            let (lines, options) = (&mut self.lines, &self.options);
            let is_full = self.output.record(|out| match source {
                Source::Event(event) => lines.write(event, options, out),
                Source::Record(record) => out.extend_from_slice(record),
            });
            left -= 1;
            self.end_if_enough(left)?;
            if is_full || self.flush_each {
                self.flush_losing(left)?;
            }
        }
        if self.output.is_overdue() { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Over> {
        self.flush_losing(0)
    }

    /// Writes the buffer out. `left` records, besides those in the buffer, are lost if that fails.
    fn flush_losing(&mut self, left: u64) -> Result<(), Over> {
        // A terminal may have got another size.
        if !matches!(self.lines, Lines::Jsonl | Lines::Httpry(_) | Lines::Flows(_)) {
            self.lines.set_width(self.output.terminal_width());
        }
        let Flushed { written, lost, error } = self.output.flush();
        self.sink.written.fetch_add(written, Ordering::Relaxed);
        let Some(error) = error else { return Ok(()) };
        self.sink.note(|notes| match error.kind() {
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => notes.closed = true,
            _ => notes.failure = Some(error.to_string()),
        });
        self.sink.end_early(lost + left);
        Err(Over)
    }

    fn reopen(&mut self) -> Result<(), Over> {
        self.finish_file();
        self.flush()?;
        let failure = self.output.reopen(&self.sink.spec.target).err().map(|error| match error {
            Error::Open { ref source, .. }
                if source.kind() == ErrorKind::PermissionDenied && geteuid().is_root() =>
            {
                format!("{error} ({GIVEN_UP})")
            }
            _ => error.to_string(),
        });
        self.sink.watch(&self.output);
        self.sink.note(|notes| notes.reopen_failure = failure);
        self.begin()
    }
}

impl Lines {
    /// For this output of a run. `live` says that the machine's clock is the run's.
    pub(crate) fn new(spec: &SinkSpec, httpry: &HttpryOptions, live: bool) -> Self {
        let zone = jiff::tz::TimeZone::system;
        match spec.format {
            Format::Text { colour } => Self::Text(TextLines::new(colour, zone(), live)),
            Format::Jsonl | Format::None => Self::Jsonl,
            Format::Messages { colour } => Self::Messages(Messages::new(colour, zone())),
            Format::Httpry => Self::Httpry(HttpryText::new(httpry, &spec.target, live, zone())),
            Format::Flows(format) => Self::Flows(format),
        }
    }

    /// Columns of the terminal; `None` if it goes somewhere else.
    fn set_width(&mut self, width: Option<usize>) {
        match self {
            Self::Text(lines) => lines.set_width(width),
            Self::Messages(messages) => messages.set_terminal(width.is_some()),
            Self::Httpry(text) => text.set_terminal(width.is_some()),
            Self::Jsonl | Self::Flows(_) => {}
        }
    }

    /// Appends the record of an event that the output takes.
    fn write(&mut self, event: &Event, options: &RecordOptions, out: &mut Vec<u8>) {
        match self {
            Self::Jsonl => {
                // Fails on what records have not.
                let _ = match event {
                    Event::Exchange(exchange) => Record::new(exchange, options).write_json(out),
                    Event::Head(head) => EventRecord::of_head(head, options).write_json(out),
                    Event::Message(message) => EventRecord::of_message(message, options).write_json(out),
                    Event::Pending(request) => EventRecord::of_pending(request, options).write_json(out),
                    Event::Flow(end) => end.write_json(&options.interfaces, out),
                    Event::RawHead(_) => Ok(()),
                };
                out.push(b'\n');
            }
            Self::Text(lines) => match event {
                Event::Exchange(exchange) => lines.write(&Record::new(exchange, options), out),
                Event::Head(head) => lines.write_event(&EventRecord::of_head(head, options), out),
                Event::Message(message) => lines.write_event(&EventRecord::of_message(message, options), out),
                Event::Pending(request) => lines.write_event(&EventRecord::of_pending(request, options), out),
                Event::Flow(_) | Event::RawHead(_) => debug_assert!(false, "the output does not take it"),
            },
            Self::Messages(messages) => match event {
                Event::Message(message) => messages.message(message, options, out),
                Event::Head(head) => messages.interim(head, options, out),
                Event::Pending(request) => messages.pending(request, out),
                Event::Exchange(exchange) => messages.exchange(exchange, options, out),
                Event::Flow(_) | Event::RawHead(_) => debug_assert!(false, "the output does not take it"),
            },
            Self::Httpry(text) => match event {
                Event::RawHead(head) => text.write(head, out),
                _ => debug_assert!(false, "the output does not take it"),
            },
            Self::Flows(format) => match event {
                Event::Flow(end) => end.write_line(*format, &options.interfaces, out),
                _ => debug_assert!(false, "the output does not take it"),
            },
        }
    }
}

/// Why root is refused.
const GIVEN_UP: &str = "root's privileges were given up at the start, and its directory is somebody else's: with -Z USER \
                        files are opened again as USER";

/// If the thread panics all the same, nobody shall wait for it for ever, and the report shall say so.
struct PanicGuard<'a>(&'a Sink);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.note(|notes| notes.failure = Some("its thread failed".to_owned()));
            self.0.end_early(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Order, WhenFull, sample};

    #[test]
    fn a_thread_that_fails_keeps_nobody_waiting() {
        let events = EventKinds::EXCHANGES;
        let spec = SinkSpec { format: Format::Jsonl, target: Target::Stdout, events };
        let sink = Arc::new(Sink::new(spec, Queue::new(Order::Arrival, WhenFull::Wait, 1)));
        let lane = sink.queue().unwrap().add_lane();
        let thread = std::thread::spawn({
            let sink = Arc::clone(&sink);
            move || {
                let _guard = PanicGuard(&sink);
                let queue = sink.queue().unwrap();
                let Next::Write(_) = queue.next(true) else { return };
                panic!("as the test wants it");
            }
        });
        for number in 0..2_000 {
            sink.send(lane, Parcel::Events(Arc::new(sample::batch(0, number, 1))));
        }
        assert!(thread.join().is_err());
        sink.settle();
        let report = sink.report();
        assert_eq!((report.made, report.written, report.shed), (2_000, 0, 2_000));
        assert!(sink.is_over() && report.failure.is_some());
    }
}
