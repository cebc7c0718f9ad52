//! One run of one recorder under one load: start, send, stop, count what is in the file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use gannet_ring::transmit::TransmitSocket;
use gannet_testkit::generator::{Generator, Plan, Sizes, Spec};
use gannet_testkit::lab::{Lab, Side};
use gannet_testkit::recording::{read_capture, read_stenotype};
use gannet_testkit::tally::{Report, Tally};
use nix::sys::signal::Signal;
use serde::Serialize;

use crate::process::{Ended, Process};
use crate::tools::Tool;

/// Who sends, and how fast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Load {
    /// The generator at so many frames per second.
    Paced(f64),
    /// The generator as fast as it goes.
    Full,
    /// trafgen as fast as it goes: identical frames without numbers.
    Trafgen,
}

impl Load {
    /// As in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Paced(_) => "pace",
            Self::Full => "full speed",
            Self::Trafgen => "trafgen",
        }
    }
}

/// What all runs of a comparison have in common.
pub(crate) struct Bench<'a> {
    pub(crate) lab: &'a Lab,
    /// The recorder under test.
    pub(crate) gannet: &'a Path,
    /// Where capture files go; emptied after each run.
    pub(crate) directory: &'a Path,
    /// Frames per run.
    pub(crate) count: u64,
    /// Set by Ctrl-C.
    pub(crate) stop: &'a AtomicBool,
}

/// What one run showed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measurement {
    /// `rx_packets` of the receiving interface.
    pub(crate) offered: u64,
    /// Packets in the file.
    pub(crate) recorded: u64,
    /// Frames per second while they were sent.
    pub(crate) offered_pps: f64,
    /// User and system time of the recorder's process, in seconds.
    pub(crate) cpu_seconds: f64,
    /// The part of it that had passed when it was ready: starting, and above all allocating its ring.
    pub(crate) start_cpu_seconds: f64,
    /// All files of the recording.
    pub(crate) file_bytes: u64,
    /// What the numbers in the frames say; trafgen's have none.
    pub(crate) report: Option<Report>,
    /// What was odd about the run.
    pub(crate) notes: Vec<String>,
}

impl Measurement {
    /// Frames offered and not in the file; negative if the file holds more.
    pub(crate) fn lost(&self) -> i64 {
        self.offered.cast_signed() - self.recorded.cast_signed()
    }
}

impl Bench<'_> {
    /// Runs a recorder under a load. The recording is gone afterwards, whatever happened.
    pub(crate) fn measure(
        &self,
        tool: Tool,
        sizes: Sizes,
        load: Load,
        inspect: impl FnOnce(&[PathBuf]) -> Vec<String>,
    ) -> anyhow::Result<Measurement> {
        let directory = Emptied::new(self.directory)?;
        for name in tool.directories() {
            fs::create_dir(directory.0.join(name))?;
        }
        let command = tool.command(self.lab, self.gannet, directory.0);
        let mut recorder = Process::start(&tool.name(), command, tool.ready(), self.lab)?;
        let start_cpu_seconds = recorder.cpu_so_far()?;
        let before = self.lab.received()?;
        let (sent, seconds) = self.send(sizes, load)?;
        thread::sleep(Duration::from_secs_f64(tool.settle_seconds()));
        let offered = self.lab.received()? - before;
        let patience = tool.hangs_at_its_end().then_some(Duration::from_secs(2));
        let Ended { status, cpu_seconds, .. } = recorder.stop(Signal::SIGINT, self.stop, patience)?;
        ensure!(!self.stop.load(Ordering::Relaxed), "interrupted");

        let mut notes = Vec::new();
        if !status.success() && !tool.hangs_at_its_end() {
            notes.push(format!("{}: {status}", tool.name()));
        }
        if offered != sent {
            notes.push(format!("{sent} sent, {offered} arrived at the interface"));
        }
        let files = files_below(directory.0)?;
        ensure!(!files.is_empty(), "{} left no file: {}", tool.name(), recorder.said());
        let mut tally = Tally::expecting(0, offered);
        let mut file_bytes = 0;
        for file in &files {
            file_bytes += file.metadata()?.len();
            let path = file.display();
            if tool.writes_blocks() {
                read_stenotype(file, &mut tally)?;
            } else {
                let warning =
                    read_capture(File::open(file)?, &mut tally).with_context(|| path.to_string())?;
                notes.extend(warning.map(|warning| format!("{path}: {warning}")));
            }
        }
        let report = tally.report();
        let recorded = if load == Load::Trafgen { report.frames } else { report.frames - report.foreign };
        notes.extend(inspect(&files));
        Ok(Measurement {
            offered,
            recorded,
            offered_pps: sent as f64 / seconds,
            cpu_seconds,
            start_cpu_seconds,
            file_bytes,
            report: (load != Load::Trafgen).then_some(report),
            notes,
        })
    }

    /// Sends the frames of one run; returns how many were sent, and in how many seconds.
    pub(crate) fn send(&self, sizes: Sizes, load: Load) -> anyhow::Result<(u64, f64)> {
        let pps = match load {
            Load::Paced(pps) => Some(pps),
            Load::Full => None,
            Load::Trafgen => return self.send_with_trafgen(sizes),
        };
        let sent = self.lab.enter(Side::Sender, || -> anyhow::Result<_> {
            let mut socket = TransmitSocket::open(Side::Sender.interface())?;
            let mut generator = Generator::new(&Spec { sizes, ..Spec::default() });
            Ok(generator.run(&mut socket, &Plan { count: self.count, pps }, self.stop)?)
        })??;
        Ok((sent.sent, sent.seconds))
    }

    fn send_with_trafgen(&self, sizes: Sizes) -> anyhow::Result<(u64, f64)> {
        let Sizes::Fixed(size) = sizes else { bail!("trafgen is given frames of one size only") };
        // The generator's first frame, so that both loads take the same way through the receiver.
        let mut generator = Generator::new(&Spec { sizes, ..Spec::default() });
        let bytes: Vec<String> = generator.frame(0).iter().map(|byte| format!("0x{byte:02x}")).collect();
        ensure!(bytes.len() == usize::from(size), "frames of {size} bytes are too short");
        let output = self
            .lab
            .command(Side::Sender, "trafgen")
            .args(["--dev", Side::Sender.interface(), "--cpus", "1", "--no-sock-mem"])
            .args(["--num", &self.count.to_string()])
            .arg(format!("{{ {} }}", bytes.join(", ")))
            .stdin(Stdio::null())
            .output()
            .context("trafgen")?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "trafgen: {}", output.status);
        // "3 sec, 777082 usec on CPU0 (2000000 packets)"
        let seconds = said.lines().find_map(|line| {
            let (sec, rest) = line.trim().split_once(" sec, ")?;
            let (usec, _) = rest.split_once(" usec on CPU")?;
            Some(sec.parse::<f64>().ok()? + usec.parse::<f64>().ok()? / 1e6)
        });
        let seconds = seconds.with_context(|| format!("trafgen does not say how long it took: {said}"))?;
        Ok((self.count, seconds))
    }
}

/// An existing directory that is empty now and will be when this is dropped, with nothing of it left to write.
struct Emptied<'a>(&'a Path);

impl<'a> Emptied<'a> {
    fn new(directory: &'a Path) -> anyhow::Result<Self> {
        let emptied = Self(directory);
        emptied.empty().with_context(|| directory.display().to_string())?;
        Ok(emptied)
    }

    fn empty(&self) -> std::io::Result<()> {
        for entry in fs::read_dir(self.0)? {
            let path = entry?.path();
            if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
        }
        // Removed files are never written; what is left of other writing must not slow the next recorder.
        nix::unistd::sync();
        Ok(())
    }
}

impl Drop for Emptied<'_> {
    fn drop(&mut self) {
        let _ = self.empty();
    }
}

/// Regular files with something in them, in the order of their names; stenotype hides the one being written.
fn files_below(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.metadata()?;
        if kind.is_dir() {
            files.extend(files_below(&entry.path())?);
        } else if kind.is_file() && kind.len() > 0 {
            files.push(entry.path());
        }
    }
    files.sort_by_key(|path| {
        path.file_name().map(|name| name.to_string_lossy().trim_start_matches('.').to_owned())
    });
    Ok(files)
}
