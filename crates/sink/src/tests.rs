//! The hub with real files, pipes and devices.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, PipeReader, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::sample::{batch, connection, keyed, options};
use crate::{
    Batch, Error, Event, EventKinds, Format, HttpryOptions, Hub, HubConfig, Order, SinkReport, SinkSpec,
    Target, WhenFull, Writing,
};

fn config(sinks: Vec<SinkSpec>) -> HubConfig {
    HubConfig {
        sinks,
        options: options(),
        httpry: HttpryOptions::default(),
        workers: 1,
        order: Order::Arrival,
        when_full: WhenFull::Wait,
        flush_each: false,
        writing: Writing::ByThreads,
    }
}

fn started(config: HubConfig) -> Hub {
    let mut hub = Hub::open(config).unwrap();
    hub.start().unwrap();
    hub
}

fn jsonl(path: impl Into<PathBuf>) -> SinkSpec {
    SinkSpec { format: Format::Jsonl, target: Target::File(path.into()), events: EventKinds::EXCHANGES }
}

/// A pipe whose writing end has a name in the file system, and what keeps that name alive.
fn pipe() -> (PipeReader, PathBuf, impl Drop) {
    let (reader, writer) = std::io::pipe().unwrap();
    let path = format!("/proc/self/fd/{}", writer.as_raw_fd()).into();
    (reader, path, Keep(Some(writer)))
}

/// Keeps something until it is dropped.
struct Keep<T>(Option<T>);

impl<T> Drop for Keep<T> {
    fn drop(&mut self) {
        self.0.take();
    }
}

/// The ids of the records in a file.
fn ids(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            value["gannet"]["id"].as_str().unwrap().to_owned()
        })
        .collect()
}

fn only(mut reports: Vec<SinkReport>) -> SinkReport {
    assert_eq!(reports.len(), 1);
    let report = reports.remove(0);
    assert_eq!(report.made, report.written + report.shed, "{report:?}");
    report
}

fn wait_until(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited in vain");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn files_are_appended_to_and_private() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.jsonl");
    for _ in 0..2 {
        let hub = started(config(vec![jsonl(&path)]));
        let mut lane = hub.lane();
        lane.send(batch(0, 0, 3));
        lane.send(batch(0, 1, 0));
        drop(lane);
        let report = only(hub.finish());
        assert_eq!((report.made, report.written), (3, 3));
        assert_eq!(report.name, format!("{} (jsonl)", path.display()));
    }
    assert_eq!(ids(&path).len(), 6);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_cannot_be_opened_is_said() {
    let Err(error) = Hub::open(config(vec![jsonl("/nowhere/at/all")])) else { panic!("it was opened") };
    assert!(matches!(&error, Error::Open { .. }));
    assert!(error.to_string().starts_with("cannot write to /nowhere/at/all: "), "{error}");
}

#[test]
fn nothing_is_counted_as_written() {
    let none = SinkSpec { format: Format::None, target: Target::Stdout, events: EventKinds::EXCHANGES };
    let hub = started(config(vec![none]));
    hub.lane().send(batch(0, 0, 5));
    assert!(!hub.is_closed());
    let report = only(hub.finish());
    assert_eq!((report.name.as_str(), report.written), ("none", 5));
}

#[test]
fn no_outputs_at_all() {
    let hub = started(config(vec![]));
    hub.lane().send(batch(0, 0, 5));
    assert!(!hub.is_closed() && hub.reports().is_empty() && hub.finish().is_empty());
}

#[test]
fn a_record_reaches_an_idle_pipe_at_once() {
    let (reader, path, _keep) = pipe();
    let hub = started(config(vec![jsonl(path)]));
    let mut lane = hub.lane();
    let (heard, hears) = mpsc::channel();
    let listener = thread::spawn(move || {
        for line in BufReader::new(reader).lines().take(3) {
            heard.send(line.unwrap().len()).unwrap();
        }
    });
    for number in 0..3 {
        lane.send(batch(0, number, 1));
        // Far less than the reader is promised, far more than a loaded machine needs.
        assert!(hears.recv_timeout(Duration::from_secs(10)).unwrap() > 100);
    }
    listener.join().unwrap();
}

#[test]
fn a_slow_reader_makes_workers_wait() {
    let (mut reader, path, keep) = pipe();
    let hub = started(config(vec![jsonl(path)]));
    let mut lane = hub.lane();
    let sent = Arc::new(AtomicUsize::new(0));
    let sender = thread::spawn({
        let sent = Arc::clone(&sent);
        move || {
            for number in 0..3_000 {
                lane.send(batch(0, number, 1));
                sent.store(number as usize + 1, Ordering::Relaxed);
            }
        }
    });
    // The pipe holds 16 pages of a few records each if they come one by one, the queue 32 batches, the buffer the rest.
    wait_until(|| sent.load(Ordering::Relaxed) > 60);
    thread::sleep(Duration::from_millis(50));
    assert!(sent.load(Ordering::Relaxed) < 3_000);
    drop(keep);
    let listener = thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text.lines().count()
    });
    sender.join().unwrap();
    let report = only(hub.finish());
    assert_eq!((report.written, report.shed), (3_000, 0));
    assert_eq!(listener.join().unwrap(), 3_000);
}

#[test]
fn a_slow_reader_sheds_when_nobody_may_wait() {
    let (mut reader, path, keep) = pipe();
    let hub = started(HubConfig { when_full: WhenFull::Shed, ..config(vec![jsonl(path)]) });
    let mut lane = hub.lane();
    for number in 0..3_000 {
        lane.send(batch(0, number, 2));
    }
    drop((lane, keep));
    assert!(hub.reports()[0].shed > 0);
    let listener = thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text.lines().count() as u64
    });
    let report = only(hub.finish());
    assert_eq!(report.made, 6_000);
    assert_eq!(report.failure, None);
    assert_eq!(listener.join().unwrap(), report.written);
}

/// As much as fills a pipe, the buffer and the queue, to a reader that does not read; then the end.
#[test]
fn a_reader_that_does_not_read_outlives_no_live_run() {
    let ((reader, path, _keep), (other, other_path, _other_keep)) = (pipe(), pipe());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out");
    let sinks = vec![jsonl(path), jsonl(other_path), jsonl(&file)];
    let hub = started(HubConfig { when_full: WhenFull::Shed, ..config(sinks) });
    let mut lane = hub.lane();
    for number in 0..30 {
        lane.send(batch(0, number, 100));
    }
    drop(lane);
    let start = Instant::now();
    let reports = hub.finish();
    // Together, not one after the other.
    let took = start.elapsed();
    assert!((Duration::from_secs(2)..Duration::from_millis(3_500)).contains(&took), "{took:?}");
    for report in &reports {
        assert_eq!((report.made, report.written + report.shed), (3_000, 3_000), "{report:?}");
    }
    for report in &reports[..2] {
        assert!(report.shed > 0 && !report.closed);
        assert_eq!(report.failure.as_deref(), Some("nobody read it within 2 s of the end"));
    }
    assert_eq!((reports[2].written, reports[2].failure.as_ref()), (3_000, None));
    // The threads end now.
    drop((reader, other));
}

#[test]
fn a_reader_that_does_not_read_outlives_no_hurried_run() {
    let (reader, path, _keep) = pipe();
    let hub = started(config(vec![jsonl(path)]));
    let mut lane = hub.lane();
    let sender = thread::spawn(move || (0..1_000).for_each(|number| drop(lane.send(batch(0, number, 10)))));
    wait_until(|| hub.reports()[0].made > 320);
    thread::sleep(Duration::from_millis(50));
    assert!(!sender.is_finished(), "it waits");
    hub.hurry();
    sender.join().unwrap();
    let start = Instant::now();
    let report = only(hub.finish());
    assert!(start.elapsed() < Duration::from_millis(3_500));
    assert_eq!((report.made, report.closed), (10_000, false));
    assert_eq!(report.failure.as_deref(), Some("nobody read it within 2 s of the end"));
    drop(reader);
}

/// A pager reads when its user gets to it: a run that has the time loses nothing.
#[test]
fn a_reader_that_reads_late_gets_everything() {
    let (mut reader, path, keep) = pipe();
    let hub = started(config(vec![jsonl(path)]));
    let mut lane = hub.lane();
    lane.send(batch(0, 0, 1_000));
    let listener = thread::spawn(move || {
        thread::sleep(Duration::from_millis(2_500));
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text.lines().count()
    });
    drop((lane, keep));
    let report = only(hub.finish());
    assert_eq!((report.written, report.shed, report.failure), (1_000, 0, None));
    assert_eq!(listener.join().unwrap(), 1_000);
}

#[test]
fn a_reader_that_leaves_is_a_normal_end() {
    let (mut reader, path, keep) = pipe();
    let hub = started(config(vec![jsonl(path)]));
    drop(keep);
    let mut lane = hub.lane();
    lane.send(batch(0, 0, 2));
    let mut some = [0; 100];
    reader.read_exact(&mut some).unwrap();
    wait_until(|| hub.reports()[0].written == 2);
    assert!(!hub.is_closed());
    drop(reader);
    // Larger than the queue: whoever waits for room is let go.
    for number in 1..2_000 {
        lane.send(batch(0, number, 100));
    }
    wait_until(|| hub.is_closed());
    lane.send(batch(0, 2_000, 1));
    drop(lane);
    let report = only(hub.finish());
    assert_eq!((report.made, report.written), (2 + 1_999 * 100 + 1, 2));
    assert_eq!((report.failure, report.closed), (None, true));
}

/// Nothing is written that would tell: whoever looks finds out, and the other outputs go on.
#[test]
fn a_reader_that_leaves_is_noticed_without_a_record() {
    let dir = tempfile::tempdir().unwrap();
    let (reader, path, keep) = pipe();
    let hub = started(config(vec![jsonl(path), jsonl(dir.path().join("other"))]));
    drop(keep);
    let mut lane = hub.lane();
    lane.send(batch(0, 0, 2));
    wait_until(|| hub.reports().iter().all(|report| report.written == 2));
    hub.look_for_readers();
    assert!(!hub.reports()[0].closed);
    drop(reader);
    hub.look_for_readers();
    assert!(hub.reports()[0].closed && !hub.is_closed());
    lane.send(batch(0, 1, 3));
    drop(lane);
    let reports = hub.finish();
    assert_eq!((reports[0].made, reports[0].written, reports[0].shed), (5, 2, 3));
    assert_eq!((reports[1].written, reports[1].closed), (5, false));
    assert!(reports.iter().all(|report| report.failure.is_none()));
}

#[test]
fn a_full_disk_is_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("other");
    let hub = started(config(vec![jsonl("/dev/full"), jsonl(&other)]));
    let mut lane = hub.lane();
    lane.send(batch(0, 0, 300));
    wait_until(|| hub.reports()[0].failure.is_some());
    assert!(!hub.is_closed(), "the other one goes on");
    lane.send(batch(0, 1, 7));
    drop(lane);
    let reports = hub.finish();
    let shown: Vec<_> =
        reports.iter().map(|report| (report.made, report.written, report.shed, report.closed)).collect();
    assert_eq!(shown, [(307, 0, 307, false), (307, 307, 0, false)]);
    assert!(reports[0].failure.as_ref().unwrap().contains("No space left"), "{reports:?}");
    assert_eq!(ids(&other).len(), 307);
}

#[test]
fn files_are_reopened_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (path, old) = (dir.path().join("log"), dir.path().join("log.1"));
    let hub = started(config(vec![jsonl(&path)]));
    let mut lane = hub.lane();
    lane.send(batch(0, 0, 2));
    wait_until(|| hub.reports()[0].written == 2);
    fs::rename(&path, &old).unwrap();
    hub.reopen();
    wait_until(|| path.exists());
    lane.send(batch(0, 1, 3));
    wait_until(|| hub.reports()[0].written == 5);
    // A directory in its place: what cannot be opened is said, and records go on where they were.
    let newer = dir.path().join("log.2");
    fs::rename(&path, &newer).unwrap();
    fs::create_dir(&path).unwrap();
    hub.reopen();
    wait_until(|| hub.reports()[0].reopen_failure.is_some());
    lane.send(batch(0, 2, 1));
    drop(lane);
    let report = only(hub.finish());
    assert_eq!((report.written, report.failure), (6, None));
    assert_eq!((ids(&old).len(), ids(&newer).len()), (2, 4));
}

/// A FIFO whose reader has gone is not waited for when it is to be opened again.
#[test]
fn a_fifo_is_reopened_without_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let reader = thread::spawn({
        let path = path.clone();
        move || File::open(path).unwrap()
    });
    let hub = started(config(vec![jsonl(&path)]));
    let mut lane = hub.lane();
    let reader = reader.join().unwrap();
    // Opened again while somebody reads, it is a pipe that is waited for when it is full.
    hub.reopen();
    lane.send(batch(0, 0, 1));
    wait_until(|| hub.reports()[0].written == 1);
    drop(reader);
    hub.reopen();
    wait_until(|| hub.reports()[0].reopen_failure.is_some());
    lane.send(batch(0, 1, 1));
    drop(lane);
    let report = only(hub.finish());
    assert_eq!((report.made, report.written, report.closed), (2, 1, true));
}

/// Beside a pipe, which has a thread.
#[test]
fn a_worker_writes_what_keeps_nobody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let (path, old) = (dir.path().join("log"), dir.path().join("log.1"));
    let (mut reader, pipe, keep) = pipe();
    let sinks = vec![jsonl(&path), jsonl("/dev/full"), jsonl(pipe)];
    let hub = started(HubConfig { order: Order::ByKey, writing: Writing::ByWorkers, ..config(sinks) });
    let read = thread::spawn(move || {
        let mut all = String::new();
        reader.read_to_string(&mut all).unwrap();
        all.lines().count()
    });
    let mut lane = hub.lane();
    // More than the buffer of a file.
    lane.send(batch(0, 0, 1_000));
    // Nobody has to be waited for.
    let reports = hub.reports();
    assert!(reports[0].written != 0 && reports[1].failure.is_some(), "{reports:?}");
    fs::rename(&path, &old).unwrap();
    hub.reopen();
    lane.send(batch(0, 1, 200));
    assert!(path.exists());
    assert!(!hub.is_closed());
    drop(lane);
    let reports = hub.finish();
    drop(keep);
    let shown: Vec<_> = reports.iter().map(|report| (report.made, report.written, report.shed)).collect();
    assert_eq!(shown, [(1_200, 1_200, 0), (1_200, 0, 1_200), (1_200, 1_200, 0)]);
    assert_eq!((ids(&old).len(), ids(&path).len(), read.join().unwrap()), (1_000, 200, 1_200));
}

/// What a worker that panics was to write itself is lost, and said to be.
#[test]
fn a_worker_that_fails_leaves_an_account() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let hub =
        started(HubConfig { order: Order::ByKey, writing: Writing::ByWorkers, ..config(vec![jsonl(&path)]) });
    let mut lane = hub.lane();
    let worker = thread::spawn(move || {
        lane.send(batch(0, 0, 1_000));
        // Some are still in the buffer.
        lane.send(batch(0, 1, 1));
        panic!("as the test wants it");
    });
    assert!(worker.join().is_err());
    assert!(hub.is_closed());
    let report = only(hub.finish());
    assert_eq!((report.made, report.written as usize), (1_001, ids(&path).len()));
    assert!(report.shed != 0 && report.failure.is_some(), "{report:?}");
}

#[test]
fn every_record_can_be_written_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out");
    let hub = started(HubConfig { flush_each: true, ..config(vec![jsonl(&path)]) });
    hub.lane().send(batch(0, 0, 50));
    assert_eq!(only(hub.finish()).written, 50);
    assert_eq!(ids(&path).len(), 50);
}

#[test]
fn threads_have_the_names_of_their_formats() {
    let dir = tempfile::tempdir().unwrap();
    let text = SinkSpec {
        format: Format::Text { colour: false },
        target: Target::File(dir.path().join("text")),
        events: EventKinds::EXCHANGES,
    };
    let hub = started(config(vec![text, jsonl(dir.path().join("jsonl"))]));
    let names = || -> Vec<_> {
        let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
        tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok()).collect()
    };
    // A thread names itself after it has begun.
    wait_until(|| {
        ["sink-text\n", "sink-jsonl\n"].iter().all(|name| names().iter().any(|other| other == name))
    });
    hub.lane().send(batch(0, 0, 1));
    hub.finish();
    assert!(fs::read_to_string(dir.path().join("text")).unwrap().ends_with("GET  h/\n"));
}

/// A run that ends before its threads have started says of every record what became of it.
#[test]
fn an_output_that_never_started_wrote_nothing() {
    let hub = Hub::open(config(vec![jsonl("/dev/null")])).unwrap();
    hub.lane().send(batch(0, 0, 3));
    let report = only(hub.finish());
    assert_eq!((report.made, report.shed), (3, 3));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Exchanges of several workers, each with its own way through the numbers: the output is the sorted whole.
    #[test]
    fn by_key_is_the_sorted_whole(
        workers in proptest::collection::vec(
            // One thread sends for all lanes: no more batches than a lane may have waiting.
            proptest::collection::vec(proptest::collection::vec((0..4_u64, 0..3_u64), 0..6), 8), 1..5),
        writing in prop_oneof![Just(Writing::ByThreads), Just(Writing::ByWorkers)],
        order in Just((0..32_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let spec = jsonl(&path);
        let config = HubConfig {
            order: Order::ByKey, workers: workers.len(), writing, ..config(vec![spec])
        };
        let hub = started(config);
        let mut lanes: Vec<_> = workers.iter().map(|_| hub.lane()).collect();
        let mut whole = Vec::new();
        // Each worker's batches with all their keys, which are unique: worker and place are in the flow and the index.
        let mut batches: Vec<Vec<Batch>> = workers.iter().enumerate().map(|(worker, numbers)| {
            let batches = numbers.iter().enumerate().map(|(number, places)| {
                let keys = places.iter().enumerate().map(|(at, (position, flow))| {
                    (number as u64 * 10 + position, flow * 10 + worker as u64, (number * 10 + at) as u32)
                });
                let keys: Vec<_> = keys.collect();
                whole.extend(keys.iter().copied());
                let event = |(position, flow, index)| Event::Exchange(keyed(position, flow, index));
                Batch { worker, number: number as u64, events: keys.into_iter().map(event).collect() }
            });
            batches.rev().collect()
        }).collect();
        for pick in order {
            let worker = pick % workers.len();
            if let Some(batch) = batches[worker].pop() {
                lanes[worker].send(batch);
            }
        }
        for (lane, batches) in lanes.iter_mut().zip(&mut batches) {
            while let Some(batch) = batches.pop() {
                lane.send(batch);
            }
        }
        drop(lanes);
        let report = only(hub.finish());
        prop_assert_eq!(report.written, whole.len() as u64);
        whole.sort_unstable();
        let expected: Vec<_> = whole.iter().map(|(_, flow, index)| format!("{}-{index}", connection(*flow))).collect();
        prop_assert_eq!(ids(&path), expected);
    }
}

/// The file of a record is the one that was opened, also when it is a device.
#[test]
fn devices_are_opened_as_they_are() {
    let hub = started(config(vec![jsonl("/dev/null")]));
    hub.lane().send(batch(0, 0, 10));
    assert_eq!(only(hub.finish()).written, 10);
    assert!(!File::open("/dev/null").unwrap().metadata().unwrap().is_file());
}
