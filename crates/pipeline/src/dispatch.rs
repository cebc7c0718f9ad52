//! Capture files in, HTTP records out: the packets of files in batches to the same analysis as live ones.
//!
//! ```text
//!   files ──► Merge ──► batch n: packets by flow ──┬─► worker 0: analyse, let time pass, hand on records of n
//!             (time)    and the clock, for all     ├─► worker 1: the same
//!                                                  └─► ...                 outputs put n of all workers in order
//! ```
//!
//! The result is the same for any number of workers: batches are cut without regard to it, every worker gets every batch
//! (if only its clock), time passes at the ends of batches alone, and records are ordered by the packet that
//! completed them. Packets of mapped files are not copied; those of streams are, once, into their batch.

use std::sync::Arc;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use gannet_flow::Moment;
use gannet_packet::{Frame, LinkType, Packet, PacketType, Timestamp};
use gannet_pcap::{Merge, PacketSource};
use gannet_record::{Interfaces, Latencies};
use gannet_sink::Hub;

use crate::analysis::{Analysis, AnalysisPlan};
use crate::config::{CaptureConfig, FileInput, HttpConfig};
use crate::control::{Command, Control, Event};
use crate::error::Error;
use crate::files::{Opened, advance, is_wanted, open, path_of, reader};
use crate::ledger::{Counters, CpuTime, Ledger, Report};
use crate::privileges;
use crate::records::{finish_records, http_report, merged, records_hub, seed};

pub(crate) fn run(
    capture: &CaptureConfig,
    config: &HttpConfig,
    files: &[FileInput],
    control: &Control,
    events: &dyn Fn(Event),
) -> Result<Report, Error> {
    let begun = Instant::now();
    let opened = files.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let readers =
        opened.iter().zip(files).map(|(opened, input)| reader(opened, input)).collect::<Result<_, _>>()?;
    let maps: Vec<_> = opened.iter().map(Opened::bytes).collect();
    let cpus = core_affinity::get_core_ids().unwrap_or_default().len();
    let workers = capture.workers.resolve(false, cpus).get();
    let names = Interfaces::default();
    let mut hub = records_hub(config, &names, workers, false)?;
    // Everything is open: foreign bytes are read without privileges.
    if let Some(user) = &capture.user {
        privileges::become_user(user)?;
    }
    privileges::restrict_thread(&[])?;
    hub.start()?;
    let output = hub.reports().into_iter().map(|sink| sink.name).collect::<Vec<_>>().join(" and ");
    for input in files {
        events(Event::Reading { path: path_of(input).to_owned(), output: output.clone() });
    }
    let counters: Vec<_> = (0..workers).map(|_| Counters::new()).collect();
    let plan = AnalysisPlan { config, seed: seed(), workers, interfaces: names };
    let mut reading = Reading {
        capture,
        merge: Merge::new(readers),
        mapped: maps.iter().map(Option::is_some).collect(),
        names: plan.interfaces.clone(),
        named: 0,
        read: 0,
        filtered: 0,
        clock: Timestamp::default(),
    };
    let ended = std::thread::scope(|scope| {
        let mut team = Team::start(scope, &plan, &hub, &maps, &counters)?;
        let result = feed(&mut reading, &mut team, files, control, &hub, events, &counters, begun);
        // Workers end when nothing more can come.
        let latencies = team.join();
        result.and(latencies)
    });
    let latencies = ended?;
    for (source, warning) in reading.merge.warnings() {
        events(Event::Warning(format!("{}: {warning}", path_of(&files[source]).display())));
    }
    let mut ledger = Ledger::files(reading.read, reading.filtered, &counters);
    ledger.recording = false;
    finish_records(hub, &mut ledger);
    Ok(Report {
        ledger,
        http: http_report(latencies),
        cpu: CpuTime::of_process(),
        duration: begun.elapsed(),
        ..Report::default()
    })
}

/// Reads to the end, or until somebody says stop.
#[expect(clippy::too_many_arguments, reason = "the parts of one run, each borrowed for its own time")]
fn feed<'m>(
    reading: &mut Reading<'_, 'm>,
    team: &mut Team<'_>,
    files: &[FileInput],
    control: &Control,
    hub: &Hub,
    events: &dyn Fn(Event),
    counters: &[Counters],
    begun: Instant,
) -> Result<(), Error> {
    let mut more = true;
    while more {
        more = reading.batch(team, files)?;
        match control.take() {
            Some(Command::Report) => {
                let mut ledger = Ledger::files(reading.read, reading.filtered, counters);
                (ledger.recording, ledger.sinks) = (false, hub.reports());
                // What is on the way to the workers counts as not read yet.
                ledger.received = ledger.total.processed.packets;
                let (cpu, duration) = (CpuTime::of_process(), begun.elapsed());
                events(Event::Report(Box::new(Report { ledger, cpu, duration, ..Report::default() })));
            }
            Some(Command::Rotate) => hub.reopen(),
            Some(Command::Snaplen(_) | Command::Direction(_)) | None => {}
        }
        if control.stopping() || hub.is_closed() {
            return Ok(());
        }
    }
    Ok(())
}

/// The files, and how far they have been read.
struct Reading<'a, 'm> {
    capture: &'a CaptureConfig,
    merge: Merge<Box<dyn PacketSource + 'm>>,
    /// Which sources are mapped: their packets need not be copied.
    mapped: Vec<bool>,
    names: Interfaces,
    named: u32,
    read: u64,
    filtered: u64,
    /// The newest time stamp so far.
    clock: Timestamp,
}

impl Reading<'_, '_> {
    /// Reads a batch and hands it to the workers. False at the end of the input.
    fn batch(&mut self, team: &mut Team<'_>, files: &[FileInput]) -> Result<bool, Error> {
        let mut arena = Vec::new();
        let mut packets = 0;
        let mut more = true;
        while packets < BATCH_PACKETS && arena.len() < BATCH_BYTES {
            let full = self.capture.count.is_some_and(|count| self.read - self.filtered >= count.get());
            more = !full && advance(&mut self.merge, files)?;
            let Some((source, packet)) = self.merge.packet().filter(|_| more) else { break };
            packets += 1;
            let position = self.read;
            self.read += 1;
            let mut frame = packet.frame;
            if packet.flags.is_none() {
                frame.packet_type = PacketType::Host;
            }
            if !is_wanted(self.capture, frame.packet_type) {
                self.filtered += 1;
                continue;
            }
            self.clock = self.clock.max(frame.timestamp);
            // Numbers of the merge run without gaps, so that the names get the same ones.
            while self.named <= frame.interface {
                let interface = self.merge.interface(self.named);
                self.names.add(interface.map(|(_, interface)| interface.name.clone()).unwrap_or_default());
                self.named += 1;
            }
            let caplen = frame.data.len().min(self.capture.snaplen.get() as usize);
            frame.data = &frame.data[..caplen];
            let place = if self.mapped[source] {
                Place::Mapped { source: source as u32, offset: packet.data_offset }
            } else {
                let offset = arena.len();
                arena.extend_from_slice(frame.data);
                Place::Copied { offset }
            };
            team.add(&frame, place, position);
        }
        team.send(arena, Moment { time: self.clock, position: self.read });
        Ok(more)
    }
}

/// The workers, and the batches that are being filled for them.
struct Team<'scope> {
    workers: Vec<ScopedJoinHandle<'scope, Latencies>>,
    inputs: Vec<Sender<Batch>>,
    filling: Vec<Vec<Item>>,
    spare: Receiver<Vec<Item>>,
}

/// What a worker gets.
struct Batch {
    items: Vec<Item>,
    /// The bytes of packets that are not in a mapped file.
    arena: Arc<Vec<u8>>,
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
}

enum Place {
    Mapped { source: u32, offset: u64 },
    Copied { offset: usize },
}

impl<'scope> Team<'scope> {
    fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        plan: &AnalysisPlan<'_>,
        hub: &Hub,
        maps: &'env [Option<&'env [u8]>],
        counters: &'env [Counters],
    ) -> Result<Self, Error> {
        let (give_back, spare) = unbounded();
        let mut team = Self { workers: Vec::new(), inputs: Vec::new(), filling: Vec::new(), spare };
        for (number, counters) in counters.iter().enumerate() {
            let (sender, batches) = bounded(BATCHES_AHEAD);
            let worker = FileWorker {
                analysis: Analysis::new(plan, number, hub.lane()),
                batches,
                give_back: give_back.clone(),
                maps,
                counters,
            };
            let thread = std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn_scoped(scope, move || worker.run())
                .map_err(Error::Thread)?;
            team.workers.push(thread);
            team.inputs.push(sender);
            team.filling.push(Vec::new());
        }
        Ok(team)
    }

    /// Adds a packet to the batch of its flow's worker.
    #[inline]
    fn add(&mut self, frame: &Frame<'_>, place: Place, position: u64) {
        let worker = match self.filling.len() {
            1 => 0,
            // Packets without a flow have no state to share.
            workers => Packet::decode(frame)
                .flow
                .map_or(0, |(key, _)| (key.hash(DISPATCH_SEED) % workers as u64) as usize),
        };
        self.filling[worker].push(Item {
            place,
            caplen: frame.data.len() as u32,
            orig_len: frame.orig_len,
            timestamp: frame.timestamp,
            link_type: frame.link_type,
            packet_type: frame.packet_type,
            interface: frame.interface,
            position,
        });
    }

    /// Sends every worker its part of the batch.
    fn send(&mut self, arena: Vec<u8>, end: Moment) {
        let arena = Arc::new(arena);
        for (filling, input) in self.filling.iter_mut().zip(&self.inputs) {
            let items = std::mem::replace(filling, self.spare.try_recv().unwrap_or_default());
            // Fails only if the worker has ended by a panic, which `join` reports.
            let _ = input.send(Batch { items, arena: Arc::clone(&arena), end });
        }
    }

    /// Lets the workers come to their end.
    fn join(self) -> Result<Option<Latencies>, Error> {
        drop(self.inputs);
        let mut all = Vec::new();
        let mut ended = Ok(());
        for (number, worker) in self.workers.into_iter().enumerate() {
            match worker.join() {
                Ok(latencies) => all.push(latencies),
                Err(_) => ended = Err(Error::Worker(number)),
            }
        }
        ended.map(|()| merged(all))
    }
}

/// One thread of the analysis.
struct FileWorker<'env> {
    analysis: Analysis,
    batches: Receiver<Batch>,
    give_back: Sender<Vec<Item>>,
    maps: &'env [Option<&'env [u8]>],
    counters: &'env Counters,
}

impl FileWorker<'_> {
    fn run(mut self) -> Latencies {
        let mut end = Moment::default();
        for mut batch in self.batches.iter() {
            end = batch.end;
            let (packets, mut bytes) = (batch.items.len() as u64, 0);
            for item in &batch.items {
                let data = match item.place {
                    Place::Mapped { source, offset } => {
                        let map = self.maps.get(source as usize).copied().flatten().unwrap_or_default();
                        map.get(offset as usize..).and_then(|data| data.get(..item.caplen as usize))
                    }
                    Place::Copied { offset } => batch.arena.get(offset..offset + item.caplen as usize),
                };
                let frame = Frame {
                    // The reader has seen these bytes where the item says they are.
                    data: data.unwrap_or_default(),
                    timestamp: item.timestamp,
                    orig_len: item.orig_len,
                    link_type: item.link_type,
                    interface: item.interface,
                    packet_type: item.packet_type,
                };
                bytes += u64::from(item.caplen);
                self.analysis.frame(&frame, item.position, u64::from(item.caplen));
            }
            self.counters.processed(packets, bytes);
            self.analysis.tick(end);
            self.analysis.send();
            self.analysis.publish(self.counters);
            batch.items.clear();
            // Nobody takes it back any more at the end.
            let _ = self.give_back.send(batch.items);
        }
        self.analysis.finish(Some(end), self.counters)
    }
}

/// Packets of a batch. Fewer cost hand-overs, more make records wait and memory hold more; the number is part of the
/// result, because time passes at the ends of batches.
const BATCH_PACKETS: usize = 4096;

/// Bytes of a batch that had to be copied, after which it ends.
const BATCH_BYTES: usize = 4 << 20;

/// Batches that may wait for a worker: enough to even out what batches cost, little enough to stay in memory that is
/// still in the cache.
const BATCHES_AHEAD: usize = 4;

/// Whoever wrote a file can at most make one worker do all the work.
const DISPATCH_SEED: u64 = 0x9e37_79b9_7f4a_7c15;
