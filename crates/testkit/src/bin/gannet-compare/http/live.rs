//! Live traffic between real clients and a real server: are the records its log, what does it cost, what is lost.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use gannet_testkit::lab::{Lab, Side};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::records::{self, Line, by_connection, describe, differences};
use super::said::{self, Httpry, Wrk};
use super::server::{SIZES, Server, client, url};
use super::throttle::Throttle;
use super::{Setup, Verdict};
use crate::process::{Process, Ready};
use crate::report::{Removed, Scratch, progress};
use crate::table::{Grid, median};

/// How much to offer.
pub(super) struct Load {
    /// GETs of h2load; a tenth of that as POSTs.
    pub(super) requests: u64,
    /// Seconds of wrk.
    pub(super) seconds: u64,
}

/// All of it.
pub(super) fn compare(setup: &Setup<'_>, load: &Load, verdict: &mut Verdict) -> anyhow::Result<()> {
    let lab = Lab::new()?;
    let scene = Scene { setup, lab: &lab };
    scene.against_the_log(load, verdict).context("h2load")?;
    scene.at_full_speed(load, verdict).context("wrk")?;
    scene.recorded_beside(load, verdict).context("--record")?;
    scene.to_a_slow_disk(load, verdict).context("--record to a slow disk")
}

/// The lab with everything that runs in it.
pub(super) struct Scene<'a> {
    pub(super) setup: &'a Setup<'a>,
    pub(super) lab: &'a Lab,
}

/// What a run of gannet left.
pub(super) struct Finished {
    ledger: Ledger,
    cpu_seconds: f64,
    said: String,
}

impl Scene<'_> {
    /// A fixed number of requests of all kinds: every record is a line of the log and the other way round.
    fn against_the_log(&self, load: &Load, verdict: &mut Verdict) -> anyhow::Result<()> {
        let setup = self.setup;
        let server = Server::start(self.lab, setup.scratch)?;
        let path = setup.scratch.join("records.jsonl");
        let gannet = self.start_gannet(&path, None)?;
        let mut pages: Vec<_> =
            SIZES.iter().map(|size| url(&format!("/{size}.txt?size={size}&from=h2load"))).collect();
        pages.extend(["/missing?status=404", "/fail?status=500"].map(url));
        let form = setup.scratch.join("form");
        fs::write(&form, "name=value")?;
        let posts = (load.requests / 10).max(CONNECTIONS);
        let words = [
            format!("h2load --h1 -n {} -c {CONNECTIONS} {}", load.requests, pages.join(" ")),
            format!("h2load --h1 -n {posts} -c {CONNECTIONS} -d {} {}", form.display(), url("/post?form")),
        ];
        verdict.print(&format!(
            "\nlive, h2load --h1 -n {} -c {CONNECTIONS}: GETs of {} sizes, 404, 500; then {posts} POSTs\n",
            load.requests,
            SIZES.len()
        ))?;
        for words in words {
            progress(&words);
            let (_, said) = Process::spawn("h2load", client(self.lab, &words))?.finish(setup.stop)?;
            verdict.print(&format!("         {}\n", said::h2load(&said)))?;
        }
        let finished = self.stop_gannet(gannet)?;
        let log = server.end(setup.stop)?;
        let records = read_and_remove(path)?;
        let lines = log.values().map(Vec::len).sum::<usize>() as u64;
        verdict.check(
            "the log has a line of each request",
            lines == load.requests + posts,
            &lines.to_string(),
        )?;
        let differing = differences(log.values().flatten(), records.iter().map(|record| &record.line));
        verdict.check(
            "records equal the access log (method, path with query, status, body bytes)",
            differing.is_empty(),
            &format!("{lines} lines, {} records; {}", records.len(), verdict_of(&differing)),
        )?;
        let incomplete = records.iter().filter(|record| !record.complete).count();
        verdict.check("all records are complete", incomplete == 0, &format!("{incomplete} are not"))?;
        finished.check_drops(verdict)
    }

    /// As fast as client and server can: gannet, httpry and nobody take turns.
    fn at_full_speed(&self, load: &Load, verdict: &mut Verdict) -> anyhow::Result<()> {
        verdict.print(&format!(
            "\nlive, wrk -t 2 -c {CONNECTIONS} -d {}s {}\n",
            load.seconds,
            url(SMALL_PAGE)
        ))?;
        let mut all =
            [Watcher::Gannet, Watcher::Httpry, Watcher::Nobody].map(|watcher| (watcher, Vec::new()));
        for turn in 1..=self.setup.runs {
            for (watcher, runs) in &mut all {
                let run = self.full_speed(*watcher, load, verdict)?;
                progress(&format!(
                    "wrk {turn}: {}: {:.0} requests/s, {} frames, {} processed, {} dropped",
                    watcher.name(),
                    run.wrk.per_second,
                    run.wire,
                    run.processed,
                    run.dropped
                ));
                runs.push(run);
            }
        }
        print_full_speed(&all, verdict)
    }

    fn full_speed(&self, watcher: Watcher, load: &Load, verdict: &mut Verdict) -> anyhow::Result<Run> {
        let setup = self.setup;
        let server = Server::start(self.lab, setup.scratch)?;
        let path = setup.scratch.join("records");
        let before = self.on_wire()?;
        let mut run = match watcher {
            Watcher::Gannet => {
                let gannet = self.start_gannet(&path, None)?;
                let wrk = self.wrk(load, SMALL_PAGE)?;
                thread::sleep(SETTLE);
                let Finished { ledger, cpu_seconds, .. } = self.stop_gannet(gannet)?;
                Run { wrk, processed: ledger.processed, dropped: ledger.dropped, cpu_seconds, wire: 0 }
            }
            Watcher::Httpry => {
                let mut command = self.lab.command(Side::Receiver, "httpry");
                command.args(["-i", Side::Receiver.interface(), "-o"]).arg(&path);
                let mut httpry = Process::start("httpry", command, Ready::Socket, self.lab)?;
                let wrk = self.wrk(load, SMALL_PAGE)?;
                thread::sleep(SETTLE);
                let ended = httpry.stop(Signal::SIGINT, setup.stop, None)?;
                let said = httpry.said();
                let counts = Httpry::parse(&said).with_context(|| format!("httpry said: {said}"))?;
                let processed = counts.received.saturating_sub(counts.dropped);
                Run { wrk, processed, dropped: counts.dropped, cpu_seconds: ended.cpu_seconds, wire: 0 }
            }
            Watcher::Nobody => {
                let wrk = self.wrk(load, SMALL_PAGE)?;
                Run { wrk, processed: 0, dropped: 0, cpu_seconds: 0.0, wire: 0 }
            }
        };
        run.wire = self.on_wire()? - before;
        let log = server.end(setup.stop)?;
        for error in &run.wrk.errors {
            verdict.print(&format!("note   {}: wrk: {error}\n", watcher.name()))?;
        }
        if watcher == Watcher::Gannet {
            check_connections(&log, &read_and_remove(path)?, verdict)?;
        } else {
            let _ = fs::remove_file(&path);
        }
        Ok(run)
    }

    /// Recorded beside at full speed: every packet that was analysed is in the files.
    fn recorded_beside(&self, load: &Load, verdict: &mut Verdict) -> anyhow::Result<()> {
        let setup = self.setup;
        verdict.print("\nlive, gannet http --record dir/ under wrk at full speed\n")?;
        let server = Server::start(self.lab, setup.scratch)?;
        let path = setup.scratch.join("records");
        let packets = Removed(setup.scratch.join("packets/"));
        let gannet = self.start_gannet(&path, Some((&packets.0, &[], None)))?;
        let wrk = self.wrk(load, SMALL_PAGE)?;
        thread::sleep(SETTLE);
        let finished = self.stop_gannet(gannet)?;
        let log = server.end(setup.stop)?;
        let ledger = &finished.ledger;
        verdict.print(&format!("         {:.0} requests/s\n", wrk.per_second))?;
        finished.check_drops(verdict)?;
        verdict.check(
            "recorded packets = processed packets",
            ledger.written == ledger.processed && ledger.in_files == ledger.processed,
            &format!(
                "{} processed, {} written, {} in the files, {} shed",
                ledger.processed, ledger.written, ledger.in_files, ledger.disk_shed
            ),
        )?;
        check_connections(&log, &read_and_remove(path)?, verdict)
    }

    /// Packets that the disk cannot take are shed, and no record is lost for it.
    fn to_a_slow_disk(&self, load: &Load, verdict: &mut Verdict) -> anyhow::Result<()> {
        let setup = self.setup;
        // The records go to memory: the disk that is slow is the recording's.
        let memory = Path::new("/dev/shm");
        let elsewhere = memory.is_dir().then(|| Scratch::new(memory)).transpose()?;
        let records_directory = elsewhere.as_ref().map_or(setup.scratch, |scratch| scratch.0.as_path());
        for throttle in Throttle::candidates(setup.scratch) {
            let throttle = match throttle {
                Ok(throttle) => throttle,
                Err(error) => {
                    verdict.print(&format!("note   cannot throttle: {error:#}\n"))?;
                    continue;
                }
            };
            verdict.print(&format!(
                "\nlive, gannet http --record to {} under wrk {}\n",
                throttle.name(),
                url(LARGE_PAGE)
            ))?;
            let server = Server::start(self.lab, setup.scratch)?;
            let path = records_directory.join("slow.jsonl");
            let (target, words) = throttle.target(setup.scratch);
            let target = Removed(target);
            let gannet = self.start_gannet(&path, Some((&target.0, words, Some(&throttle))))?;
            let wrk = self.wrk(load, LARGE_PAGE);
            // A queue is full that must be written; and whoever waits for the disk cannot even be killed.
            throttle.lift()?;
            wrk?;
            thread::sleep(SETTLE);
            let finished = self.stop_gannet(gannet)?;
            let log = server.end(setup.stop)?;
            let records = read_and_remove(path)?;
            let shed = finished.ledger.disk_shed;
            if shed == 0 && matches!(throttle, Throttle::Group(_)) {
                verdict
                    .print("note   it did not slow the recording: nothing was shed; another way follows\n")?;
                continue;
            }
            verdict.check(
                "packets were shed at the disk",
                shed > 0,
                &format!(
                    "{shed} of {} processed, {} written",
                    finished.ledger.processed, finished.ledger.written
                ),
            )?;
            finished.check_drops(verdict)?;
            return check_connections(&log, &records, verdict);
        }
        verdict.check("packets were shed at the disk", false, "no way to slow it")
    }

    /// Starts gannet on the receiver's interface and waits until it captures. With a recording: where to, options,
    /// and what slows it.
    pub(super) fn start_gannet(
        &self,
        records: &Path,
        recording: Option<(&Path, &[&str], Option<&Throttle>)>,
    ) -> anyhow::Result<Process> {
        let _ = fs::remove_file(self.ledger_path());
        let mut command = self.lab.command(Side::Receiver, self.setup.gannet);
        command.args(["http", "-i", Side::Receiver.interface(), "-o"]);
        command.arg(format!("jsonl:{}", records.display())).arg("--stats-json").arg(self.ledger_path());
        let mut throttle = None;
        if let Some((path, words, slowed)) = recording {
            if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
                fs::create_dir_all(path)?;
            }
            command.arg("--record").arg(path).args(words);
            throttle = slowed;
        }
        let command = match throttle {
            Some(throttle) => throttle.apply(command),
            None => command,
        };
        Process::start("gannet", command, Ready::Line("capturing on"), self.lab)
    }

    /// Ends gannet as Ctrl-C does.
    pub(super) fn stop_gannet(&self, mut gannet: Process) -> anyhow::Result<Finished> {
        let ended = gannet.stop(Signal::SIGINT, self.setup.stop, None)?;
        let said = gannet.said();
        ensure!(ended.status.success(), "gannet: {}: {said}", ended.status);
        let text = fs::read_to_string(self.ledger_path())
            .with_context(|| format!("no ledger; gannet said: {said}"))?;
        let ledger = Ledger::parse(&text)?;
        Ok(Finished { ledger, cpu_seconds: ended.cpu_seconds, said })
    }

    fn ledger_path(&self) -> PathBuf {
        self.setup.scratch.join("ledger.json")
    }

    /// Frames that passed the interface in either direction, as it counts them itself.
    fn on_wire(&self) -> anyhow::Result<u64> {
        let counters = self.lab.counters(Side::Receiver, Side::Receiver.interface())?;
        Ok(counters.rx_packets + counters.tx_packets)
    }

    fn wrk(&self, load: &Load, page: &str) -> anyhow::Result<Wrk> {
        let words = format!("wrk -t 2 -c {CONNECTIONS} -d {}s {}", load.seconds, url(page));
        let (_, said) = Process::spawn("wrk", client(self.lab, &words))?.finish(self.setup.stop)?;
        Wrk::parse(&said).with_context(|| format!("wrk said: {said}"))
    }
}

impl Finished {
    pub(super) fn check_drops(&self, verdict: &mut Verdict) -> anyhow::Result<()> {
        let Ledger { received, dropped, processed, .. } = self.ledger;
        let said = if dropped == 0 { String::new() } else { format!("; gannet said: {}", self.said) };
        verdict.check(
            "0 dropped",
            dropped == 0,
            &format!("{received} received, {dropped} dropped, {processed} processed{said}"),
        )
    }
}

/// Who looks on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watcher {
    Gannet,
    Httpry,
    Nobody,
}

impl Watcher {
    fn name(self) -> &'static str {
        match self {
            Self::Gannet => "gannet http -i rx0 -o jsonl:FILE",
            Self::Httpry => "httpry -i rx0 -o FILE",
            Self::Nobody => "none",
        }
    }
}

/// One run of wrk with somebody who looks on.
struct Run {
    wrk: Wrk,
    /// Packets that the tool got to see.
    processed: u64,
    dropped: u64,
    cpu_seconds: f64,
    /// Frames that passed the interface meanwhile.
    wire: u64,
}

impl Run {
    /// Frames that passed and that the tool neither processed nor counts as dropped.
    fn unseen(&self) -> u64 {
        self.wire.saturating_sub(self.processed + self.dropped)
    }

    fn cpu_per_packet_ns(&self) -> f64 {
        self.cpu_seconds * 1e9 / self.processed.max(1) as f64
    }
}

fn print_full_speed(all: &[(Watcher, Vec<Run>)], verdict: &mut Verdict) -> anyhow::Result<()> {
    let of = |wanted: Watcher, value: &dyn Fn(&Run) -> f64| {
        let runs = all.iter().filter(|(watcher, _)| *watcher == wanted).flat_map(|(_, runs)| runs);
        median(runs.map(value).collect())
    };
    let rate = |run: &Run| run.wrk.per_second;
    let (httpry_rate, none_rate) = (of(Watcher::Httpry, &rate), of(Watcher::Nobody, &rate));
    let httpry_cpu = of(Watcher::Httpry, &Run::cpu_per_packet_ns);
    let mut grid = Grid::new(&[
        "tool",
        "runs",
        "on the wire",
        "processed",
        "unseen worst",
        "dropped",
        "dropped worst",
        "CPU s",
        "ns/packet",
        "/httpry",
        "requests/s",
        "/httpry",
        "/none",
        "",
    ]);
    for (watcher, runs) in all {
        let watcher = *watcher;
        let looks = watcher != Watcher::Nobody;
        let cell = |text: String| if looks { text } else { "-".to_owned() };
        let cpu = of(watcher, &Run::cpu_per_packet_ns);
        grid.row(vec![
            watcher.name().to_owned(),
            runs.len().to_string(),
            format!("{:.0}", of(watcher, &|run| run.wire as f64)),
            cell(format!("{:.0}", of(watcher, &|run| run.processed as f64))),
            cell(runs.iter().map(Run::unseen).max().unwrap_or(0).to_string()),
            cell(format!("{:.0}", of(watcher, &|run| run.dropped as f64))),
            cell(runs.iter().map(|run| run.dropped).max().unwrap_or(0).to_string()),
            cell(format!("{:.2}", of(watcher, &|run| run.cpu_seconds))),
            cell(format!("{cpu:.0}")),
            cell(format!("{:.3}", cpu / httpry_cpu)),
            format!("{:.0}", of(watcher, &rate)),
            format!("{:.3}", of(watcher, &rate) / httpry_rate),
            format!("{:.3}", of(watcher, &rate) / none_rate),
            String::new(),
        ]);
    }
    verdict.print(&format!(
        "{}\nmedians; CPU: user and system time of the process; processed: received less dropped, as the tool says; \
         on the wire: frames by the interface's own counters, unseen: those neither processed nor dropped\n\n",
        grid.render()
    ))?;
    verdict.at_most(
        "gannet's CPU per processed packet / httpry's",
        of(Watcher::Gannet, &Run::cpu_per_packet_ns) / httpry_cpu,
        CPU_LIMIT,
    )?;
    verdict.at_least(
        "wrk's rate with gannet / with httpry",
        of(Watcher::Gannet, &rate) / httpry_rate,
        RATE_LIMIT,
    )
}

/// Every line has a record, and only the last of a connection may differ.
fn check_connections(
    log: &BTreeMap<u16, Vec<Line>>,
    records: &[records::Record],
    verdict: &mut Verdict,
) -> anyhow::Result<()> {
    let result = by_connection(log, records);
    let lines: usize = log.values().map(Vec::len).sum();
    let mut detail = format!(
        "{lines} lines, {} records, {} connections; {} with a last record that differs and is not complete",
        records.len(),
        result.connections,
        result.left
    );
    for wrong in result.wrong.iter().take(3) {
        detail.push_str(&format!("\n         {wrong}"));
    }
    verdict.check("every line has its record", lines > 0 && result.wrong.is_empty(), &detail)
}

/// The records of a file, which goes.
pub(super) fn read_and_remove(path: PathBuf) -> anyhow::Result<Vec<records::Record>> {
    records::read(&Removed(path).0)
}

fn verdict_of(differing: &BTreeMap<&Line, i64>) -> String {
    if differing.is_empty() { "no difference".to_owned() } else { describe(differing, 5) }
}

/// The loss ledger's numbers that count here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ledger {
    received: u64,
    dropped: u64,
    processed: u64,
    written: u64,
    disk_shed: u64,
    /// The sum over the files of the recording.
    in_files: u64,
}

impl Ledger {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let ledger: Value = serde_json::from_str(text)?;
        let number = |name: &str| {
            let value = ledger["packets"][name].as_u64();
            value.with_context(|| format!("the ledger has no packets.{name}"))
        };
        let files = ledger["files"].as_array().map_or(&[][..], Vec::as_slice);
        Ok(Self {
            received: number("received")?,
            dropped: number("dropped")?,
            processed: number("processed")?,
            written: number("written")?,
            disk_shed: number("disk_shed")?,
            in_files: files.iter().filter_map(|file| file["packets"].as_u64()).sum(),
        })
    }
}

/// Connections of every client.
const CONNECTIONS: u64 = 64;

/// Many packets a second.
const SMALL_PAGE: &str = "/1000.txt?wrk";

/// Many bytes a second.
const LARGE_PAGE: &str = "/100000.txt?wrk";

/// CPU time of gannet per processed packet, of httpry's.
const CPU_LIMIT: f64 = 0.6;

/// wrk's rate with gannet, of that with httpry.
const RATE_LIMIT: f64 = 0.98;

/// From the client's end until the last packets have been handed to whoever looks on: several block time-outs.
const SETTLE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_is_read() {
        let text = r#"{"packets":{"received":9,"dropped":1,"processed":8,"written":6,"disk_shed":2},
            "files":[{"packets":4},{"packets":2}]}"#;
        let expected =
            Ledger { received: 9, dropped: 1, processed: 8, written: 6, disk_shed: 2, in_files: 6 };
        assert_eq!(Ledger::parse(text).unwrap(), expected);
        assert!(Ledger::parse(r#"{"packets":{}}"#).is_err());
    }
}
