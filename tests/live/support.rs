//! What the live tests share: a lab with a capture in it, traffic, and the ledger afterwards.

use std::collections::BTreeSet;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gannet_ring::transmit::TransmitSocket;
use gannet_ring::{ReceiveRing, RingConfig, Target, TimeSource};
use gannet_testkit::generator::{Generator, Plan, Spec};
use gannet_testkit::lab::{self, Counters, Lab, Side};
use nix::sys::signal::Signal;
use nix::sys::socket::{MsgFlags, send};
use serde_json::Value;

use crate::util::{Capture, Dir, Gannet, Outcome};

/// A lab and a directory for one test, which has the machine for itself: captures at speed compete for CPUs.
pub(super) struct Bench {
    pub(super) lab: Lab,
    pub(super) dir: Dir,
    _turn: MutexGuard<'static, ()>,
}

impl Bench {
    /// Waits for its turn. `None`, said on stderr, where network namespaces cannot be made.
    pub(super) fn new() -> Option<Self> {
        static TURN: Mutex<()> = Mutex::new(());
        lab::require().ok()?;
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Self { lab: Lab::new().unwrap(), dir: Dir::new(), _turn: turn })
    }

    /// `gannet` with these words, in the namespace of `side`.
    pub(super) fn gannet(&self, side: Side, words: &str) -> Gannet {
        let mut command = self.lab.command(side, env!("CARGO_BIN_EXE_gannet"));
        command.args(words.split_whitespace());
        Gannet::new(command, &self.dir)
    }

    /// A shell script in the namespace of `side`, in which `$gannet` is the program.
    pub(super) fn script(&self, side: Side, script: &str) -> Gannet {
        let mut command = self.lab.command(side, "bash");
        command.args(["-c", script]).env("gannet", env!("CARGO_BIN_EXE_gannet"));
        Gannet::new(command, &self.dir)
    }

    /// Starts a capture on `rx0`, with these words for the rest, and waits until it is open.
    pub(super) fn capture(&self, words: &str) -> Run<'_> {
        self.capture_on(Side::Receiver, &format!("-i rx0 {words}"))
    }

    /// The same on whatever `words` name, in the namespace of `side`.
    pub(super) fn capture_on(&self, side: Side, words: &str) -> Run<'_> {
        let before = self.lab.counters(side, side.interface()).unwrap();
        // Two captures of a test must not be taken for each other.
        let _ = std::fs::remove_file(self.dir.join("ledger.json"));
        let capture = self.gannet(side, &format!("record --stats-json ledger.json {words}")).capture();
        Run { bench: self, capture, side, before }
    }

    /// Sends `count` frames of `spec` from `tx0` to `rx0`, at `pps` frames per second or as fast as they go; all
    /// have passed the receiver's taps when it returns.
    pub(super) fn send(&self, spec: &Spec, count: u64, pps: impl Into<Option<f64>>) {
        let mut socket = self.sender();
        let plan = Plan { count, pps: pps.into() };
        let sent = Generator::new(spec).run(&mut socket, &plan, &AtomicBool::new(false)).unwrap();
        assert_eq!(sent.sent, count);
        settle();
    }

    /// Sends frames of `spec` from `tx0` without end while `work` runs, whose result comes back with the number of
    /// frames sent; all of them have passed the receiver's taps by then.
    pub(super) fn flood<T>(&self, spec: &Spec, pps: Option<f64>, work: impl FnOnce() -> T) -> (T, u64) {
        let stop = AtomicBool::new(false);
        let begun = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let flood = scope.spawn(|| {
                let mut socket = self.sender();
                let mut generator = Generator::new(spec);
                begun.store(true, Ordering::Relaxed);
                generator.run(&mut socket, &Plan { count: u64::MAX, pps }, &stop).unwrap().sent
            });
            // Also if `work` fails: the scope waits for the thread.
            let guard = SetOnDrop(&stop);
            wait_for("the flood", || begun.load(Ordering::Relaxed));
            let result = work();
            drop(guard);
            let sent = flood.join().unwrap();
            settle();
            (result, sent)
        })
    }

    /// A socket that sends from `tx0`.
    pub(super) fn sender(&self) -> TransmitSocket {
        self.lab.enter(Side::Sender, || TransmitSocket::open(Side::Sender.interface())).unwrap().unwrap()
    }

    /// Sends frames on that side's end of the pair so that captures there see them leave.
    pub(super) fn send_visibly<'a>(&self, side: Side, frames: impl IntoIterator<Item = &'a [u8]>) {
        let mut sender = self.visible_sender(side);
        for frame in frames {
            sender.send(frame);
        }
        settle();
    }

    /// See [`VisibleSender`].
    pub(super) fn visible_sender(&self, side: Side) -> VisibleSender {
        let config = RingConfig {
            ring_bytes: 0,
            block_bytes: 4 * gannet_pipeline::config::page_bytes().unwrap() as usize,
            block_timeout: Duration::from_secs(60),
            promiscuous: false,
            time_source: TimeSource::Software,
        };
        let target = Target::Named(side.interface().to_owned());
        VisibleSender(self.lab.enter(side, || ReceiveRing::open(target, &config)).unwrap().unwrap())
    }

    /// The books of the capture that ended last.
    pub(super) fn ledger(&self) -> Ledger {
        Ledger::read(&self.dir.join("ledger.json"))
    }
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends frames one by one through the stack's transmit path, where taps see them: the generator's sockets bypass
/// it. It is the socket of a ring that lets nothing in.
pub(super) struct VisibleSender(ReceiveRing);

impl VisibleSender {
    pub(super) fn send(&mut self, frame: &[u8]) {
        loop {
            match send(self.0.as_raw_fd(), frame, MsgFlags::empty()) {
                Ok(sent) => return assert_eq!(sent, frame.len()),
                Err(nix::Error::ENOBUFS | nix::Error::EINTR) => std::thread::yield_now(),
                Err(errno) => panic!("sending a frame of {} bytes: {errno}", frame.len()),
            }
        }
    }
}

/// A capture that runs. Dropping it kills it.
pub(super) struct Run<'a> {
    bench: &'a Bench,
    pub(super) capture: Capture,
    side: Side,
    before: Counters,
}

impl Run<'_> {
    /// Interrupts it; it must end well, its ledger must balance, and it must have received exactly what passed the
    /// interface of its side. For captures without a filter on one end of the pair.
    #[track_caller]
    pub(super) fn stop(self) -> (Outcome, Ledger) {
        let passed = self.passed();
        let (outcome, ledger) = self.interrupt();
        assert_eq!(ledger.packets("received"), passed, "received, and what passed the interface");
        (outcome, ledger)
    }

    /// The same without a word on how many it must have received.
    #[track_caller]
    pub(super) fn interrupt(self) -> (Outcome, Ledger) {
        self.capture.signal(Signal::SIGINT);
        self.end()
    }

    /// Waits until it ends by itself: well, and with a ledger that balances.
    #[track_caller]
    pub(super) fn end(self) -> (Outcome, Ledger) {
        let outcome = self.capture.end().exits(0);
        assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
        (outcome, self.bench.ledger())
    }

    /// Packets that have passed the interface since the capture began. Frames that bypass the taps are in it, too.
    pub(super) fn passed(&self) -> u64 {
        let now = self.bench.lab.counters(self.side, self.side.interface()).unwrap();
        now.rx_packets - self.before.rx_packets + now.tx_packets - self.before.tx_packets
    }
}

/// `--stats-json` of a capture that has ended. Its identities hold, or the test has failed.
#[derive(Debug)]
pub(super) struct Ledger(Value);

impl Ledger {
    #[track_caller]
    pub(super) fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let ledger = Self(serde_json::from_slice(&bytes).unwrap());
        ledger.check();
        ledger
    }

    /// Every identity that the design names, from the numbers alone.
    #[track_caller]
    fn check(&self) {
        let json = &self.0;
        let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{value} in {json}"));
        let sum = |object: &Value| ACCOUNTS.iter().map(|account| number(&object[*account])).sum::<u64>();
        assert_eq!(self.packets("received"), self.packets("dropped") + self.packets("processed"), "{json}");
        assert_eq!(self.packets("processed"), sum(&json["packets"]), "{json}");
        assert_eq!(self.bytes("processed"), sum(&json["bytes"]), "{json}");
        for unit in ["packets", "bytes"] {
            let workers = json["workers"].as_array().unwrap();
            for key in ACCOUNTS.iter().chain(&["processed"]) {
                let by_worker: u64 = workers.iter().map(|worker| number(&worker[unit][*key])).sum();
                // What the device failed to keep is found out after the workers have ended.
                if ["written", "disk_shed"].contains(key) && self.packets("disk_shed") > 0 {
                    continue;
                }
                assert_eq!(number(&json[unit][*key]), by_worker, "{unit} {key}: {json}");
            }
        }
        let interfaces = json["interfaces"].as_array().unwrap();
        for key in ["received", "dropped"] {
            let by_interface: u64 = interfaces.iter().map(|interface| number(&interface[key])).sum();
            assert_eq!(self.packets(key), by_interface, "{key}: {json}");
        }
        let in_files: u64 =
            json["files"].as_array().unwrap().iter().map(|file| number(&file["packets"])).sum();
        assert_eq!(self.packets("written"), in_files, "packets of the files: {json}");
    }

    /// Packets in an account, by its key.
    #[track_caller]
    pub(super) fn packets(&self, key: &str) -> u64 {
        self.0["packets"][key].as_u64().unwrap_or_else(|| panic!("packets.{key} in {}", self.0))
    }

    /// Bytes in an account.
    #[track_caller]
    pub(super) fn bytes(&self, key: &str) -> u64 {
        self.0["bytes"][key].as_u64().unwrap_or_else(|| panic!("bytes.{key} in {}", self.0))
    }

    /// CPU time of the process in seconds, user and system.
    pub(super) fn cpu_seconds(&self) -> f64 {
        ["user_s", "sys_s"].iter().map(|key| self.0["cpu"][*key].as_f64().unwrap()).sum()
    }

    /// How long the capture was open.
    pub(super) fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.0["duration_s"].as_f64().unwrap())
    }

    /// The files that it names, in the order they were begun.
    pub(super) fn files(&self, dir: &Dir) -> Vec<PathBuf> {
        let files = self.0["files"].as_array().unwrap();
        files.iter().map(|file| dir.join(file["path"].as_str().unwrap())).collect()
    }

    /// Packets that each worker processed.
    pub(super) fn by_worker(&self) -> Vec<u64> {
        let workers = self.0["workers"].as_array().unwrap();
        workers.iter().map(|worker| worker["packets"]["processed"].as_u64().unwrap()).collect()
    }

    /// Ring blocks that were copied, and those that were not.
    pub(super) fn blocks(&self) -> (u64, u64) {
        let workers = self.0["workers"].as_array().unwrap();
        let sum = |key: &str| workers.iter().map(|worker| worker[key].as_u64().unwrap()).sum::<u64>();
        let copied = sum("blocks_copied");
        (copied, sum("blocks") - copied)
    }

    /// Nothing was dropped, shed, or left out for any other reason.
    #[track_caller]
    pub(super) fn is_lossless(&self, count: u64) {
        assert_eq!((self.packets("received"), self.packets("written")), (count, count), "{}", self.0);
    }
}

/// Waits until no received frame waits in any CPU's backlog, where it is counted by its interface, but no tap has
/// seen it yet.
pub(super) fn settle() {
    let mut busy: BTreeSet<usize> = (0..usize::MAX).take(backlogs().len()).collect();
    wait_for("backlogs to drain", || {
        let now = backlogs();
        busy.retain(|&cpu| now.get(cpu).is_some_and(|&backlog| backlog > 0));
        busy.is_empty()
    });
}

/// Frames that wait in the backlog of each CPU: the twelfth column of the kernel's table (`softnet_seq_show`).
fn backlogs() -> Vec<u64> {
    let table = std::fs::read_to_string("/proc/net/softnet_stat").unwrap();
    let backlog =
        |line: &str| u64::from_str_radix(line.split_whitespace().nth(11).unwrap_or("0"), 16).unwrap();
    table.lines().map(backlog).collect()
}

/// Asks until the answer is yes, at most ten seconds.
#[track_caller]
pub(super) fn wait_for(what: &str, mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !ready() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The accounts of processed packets: a new one must be added here, or no identity holds any more.
const ACCOUNTS: [&str; 5] = ["written", "disk_shed", "after_limit", "other_link_type", "malformed"];
