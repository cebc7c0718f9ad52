//! Commands to a capture at full load, through the library: rings and sockets stay open, nothing goes missing
//! without an entry in the ledger.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::sync::Mutex;
use std::time::Duration;

use gannet_pipeline::config::{
    CaptureConfig, Direction, Input, InterfaceName, InterfaceSpec, Output, RecordConfig, Rotate, RunConfig,
    Workers, WriterMode,
};
use gannet_pipeline::control::{Command, Control, Event};
use gannet_pipeline::ledger::{Account, Report};
use gannet_ring::netns::NetnsSpec;
use gannet_testkit::generator::{Sizes, Spec};
use gannet_testkit::lab::Side;
use gannet_testkit::random::Random;

use super::recorded::tally;
use super::support::{Bench, wait_for};
use super::tools;

/// A run of the library, in a thread of its own: it gives up that thread's privileges.
pub(super) struct Running<'a> {
    control: &'a Control,
    thread: std::thread::ScopedJoinHandle<'a, Report>,
}

#[test]
fn two_hundred_commands_at_full_load() {
    let Some(bench) = Bench::new() else { return };
    for (workers, writer) in [(1, WriterMode::ZeroCopy), (2, WriterMode::Auto)] {
        let control = Control::new().unwrap();
        let events = Mutex::new(Vec::new());
        let directory = bench.dir.join(&format!("{workers}"));
        std::fs::create_dir(&directory).unwrap();
        let record = RecordConfig {
            output: Output::Path(directory.clone()),
            rotate: Some(Rotate { bytes: NonZeroU64::new(64 << 20), ..Rotate::default() }),
            writer,
            ..RecordConfig::default()
        };
        let capture = CaptureConfig {
            workers: Workers::Count(NonZeroUsize::new(workers).unwrap()),
            ring_bytes: NonZeroU64::new(32 << 20),
            ..CaptureConfig::new(input(&bench))
        };
        let config = RunConfig { capture, record: Some(record), http: None, stats: None };
        let (report, sent) = std::thread::scope(|scope| {
            let running = start(scope, &config, &control, &events);
            let sockets = packet_sockets(&bench);
            assert_eq!(sockets.len(), workers);
            let spec = Spec { sizes: Sizes::Imix, flows: 200, ..Spec::default() };
            let ((), sent) = bench.flood(&spec, None, || {
                send_commands(&control);
                assert_eq!(packet_sockets(&bench), sockets, "sockets came or went");
            });
            (running.stop(), sent)
        });

        let ledger = &report.ledger;
        assert!(ledger.check().is_empty(), "{:?}", ledger.check());
        assert_eq!(ledger.received, sent);
        let events = events.into_inner().unwrap();
        let warnings: Vec<_> = events.iter().filter(|event| matches!(event, Event::Warning(_))).collect();
        assert!(warnings.is_empty(), "{warnings:?}");
        let written = ledger.total.accounts[Account::Written].packets;
        let files: Vec<_> = report.files.iter().map(|file| file.path.clone()).collect();
        assert_eq!(report.files.iter().map(|file| file.packets).sum::<u64>(), written);
        // A rotation that comes before the next file is ready falls to the one before.
        assert!(files.len() >= 25, "{} files after 50 rotations", files.len());
        let tally = tally(&files, 0, sent);
        assert_eq!(tally.frames, written);
        assert_eq!(tally.missing, ledger.lost(), "{tally:?}");
        assert_eq!(
            (tally.corrupt, tally.doubled, tally.foreign, tally.out_of_order),
            (0, 0, 0, 0),
            "{tally:?}"
        );
        assert!(tally.cut > 0 && tally.cut == ledger.total.cut_by_snaplen, "{tally:?}");
        if tools::have(&["capinfos"]) {
            assert_eq!(tools::capinfos_count(&files), written);
        }
        std::fs::remove_dir_all(directory).unwrap();
    }
}

/// 200 commands in two seconds, none of which keeps incoming packets out; so all of them must be received.
fn send_commands(control: &Control) {
    let mut random = Random::new(7);
    for number in 0..200 {
        control.send(match number % 4 {
            0 => Command::Rotate,
            1 => Command::Snaplen(NonZeroU32::new(60 + random.below(1_500) as u32).unwrap()),
            2 => Command::Direction(Direction::In),
            _ => Command::Direction(Direction::InOut),
        });
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(200));
}

/// A direction that is switched off and on again keeps out exactly what comes in between.
#[test]
fn direction_and_snaplen_take_effect_at_once() {
    let Some(bench) = Bench::new() else { return };
    let control = Control::new().unwrap();
    let events = Mutex::new(Vec::new());
    let path = bench.dir.join("out.pcapng");
    let record = RecordConfig { output: Output::Path(path.clone()), ..RecordConfig::default() };
    let capture = CaptureConfig {
        ring_bytes: NonZeroU64::new(16 << 20),
        stats_interval: Some(Duration::from_millis(50)),
        ..CaptureConfig::new(input(&bench))
    };
    let config = RunConfig { capture, record: Some(record), http: None, stats: None };
    // What is still in the ring when the next command comes would have to obey it.
    let send = |first: u64, processed: u64| {
        // A command is obeyed at the next turn of the worker's loop, a tenth of a second away when it is idle.
        std::thread::sleep(Duration::from_millis(400));
        bench.send(&Spec { first, ..Spec::default() }, 100, None);
        let is_done = |event: &Event| match event {
            Event::Stats(ledger) => ledger.total.processed.packets >= processed,
            _ => false,
        };
        wait_for("the packets to be processed", || events.lock().unwrap().iter().any(is_done));
    };
    let report = std::thread::scope(|scope| {
        let running = start(scope, &config, &control, &events);
        send(0, 100);
        control.send(Command::Direction(Direction::Out));
        send(100, 100);
        control.send(Command::Direction(Direction::In));
        send(200, 200);
        control.send(Command::Snaplen(NonZeroU32::new(100).unwrap()));
        send(300, 300);
        // The files say 262,144: more is refused.
        control.send(Command::Snaplen(NonZeroU32::new(300_000).unwrap()));
        send(400, 400);
        running.stop()
    });
    assert!(report.ledger.check().is_empty());
    assert_eq!((report.ledger.received, report.ledger.lost()), (400, 0));
    let (before, without) = (tally([&path], 0, 100), tally([&path], 100, 100));
    assert_eq!((before.missing, without.missing), (0, 100));
    let after = tally([&path], 200, 300);
    assert_eq!((after.missing, after.corrupt, after.cut), (0, 0, 200), "{after:?}");
    let refused = |event: &Event| matches!(event, Event::Warning(text) if text.contains("300000"));
    assert_eq!(events.into_inner().unwrap().iter().filter(|event| refused(event)).count(), 1);
}

/// The library's own identities and numbers, seen while a run goes on.
#[test]
fn reports_on_demand_never_contradict_themselves() {
    let Some(bench) = Bench::new() else { return };
    let control = Control::new().unwrap();
    let events = Mutex::new(Vec::new());
    let record = RecordConfig { output: Output::Path("/dev/null".into()), ..RecordConfig::default() };
    let capture = CaptureConfig {
        ring_bytes: NonZeroU64::new(16 << 20),
        workers: Workers::Count(NonZeroUsize::new(2).unwrap()),
        stats_interval: Some(Duration::from_millis(50)),
        ..CaptureConfig::new(input(&bench))
    };
    let config = RunConfig { capture, record: Some(record), http: None, stats: None };
    let report = std::thread::scope(|scope| {
        let running = start(scope, &config, &control, &events);
        for first in 0..20 {
            control.send(Command::Report);
            bench.send(&Spec { first: first * 1_000, ..Spec::default() }, 1_000, 20_000.0);
        }
        running.stop()
    });
    assert!(report.ledger.check().is_empty());
    assert_eq!(report.ledger.received, 20_000);
    let events = events.into_inner().unwrap();
    let ledgers: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Stats(ledger) => Some(ledger.as_ref()),
            Event::Report(report) => Some(&report.ledger),
            _ => None,
        })
        .collect();
    assert!(ledgers.len() > 30, "{} reports", ledgers.len());
    for pair in ledgers.windows(2) {
        assert!(pair[0].total.processed.packets <= pair[1].total.processed.packets);
        assert!(pair[0].received <= pair[1].received);
        assert!(pair[1].total.accounts.sum().packets <= pair[1].total.processed.packets);
    }
}

pub(super) fn input(bench: &Bench) -> Input {
    let netns = NetnsSpec::Name(bench.lab.namespace(Side::Receiver));
    let name = InterfaceName::Named("rx0".to_owned());
    Input::Live { interfaces: vec![InterfaceSpec { name, netns: Some(netns) }] }
}

pub(super) fn start<'a>(
    scope: &'a std::thread::Scope<'a, '_>,
    config: &'a RunConfig,
    control: &'a Control,
    events: &'a Mutex<Vec<Event>>,
) -> Running<'a> {
    let listen = move |event| events.lock().unwrap().push(event);
    let thread = scope.spawn(move || gannet_pipeline::run(config, control, &listen).unwrap());
    wait_for("the capture to open", || {
        assert!(!thread.is_finished(), "it ended: {:?}", events.lock().unwrap());
        events.lock().unwrap().iter().any(|event| matches!(event, Event::Capturing(_)))
    });
    Running { control, thread }
}

impl Running<'_> {
    pub(super) fn stop(self) -> Report {
        self.control.stop();
        self.thread.join().unwrap()
    }
}

/// The packet sockets in the namespace of the capture, which are the rings', by inode (`packet_seq_show`).
fn packet_sockets(bench: &Bench) -> Vec<String> {
    let table =
        bench.lab.enter(Side::Receiver, || std::fs::read_to_string("/proc/thread-self/net/packet").unwrap());
    let mut inodes: Vec<_> = table
        .unwrap()
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().last().unwrap().to_owned())
        .collect();
    inodes.sort();
    inodes
}
