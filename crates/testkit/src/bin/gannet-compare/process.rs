//! A process that is measured or measured with: started, known to be ready, ended, its CPU time and memory counted.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use gannet_testkit::lab::{Lab, Side};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeValLike as _;
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// How to know that a process captures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// It prints a line that contains this.
    Line(&'static str),
    /// It says nothing: a packet socket for all protocols has appeared in the receiver's namespace.
    Socket,
}

/// A running process; dropping it kills it.
pub(crate) struct Process {
    name: String,
    child: Child,
    started: Instant,
    cpu_of_others: f64,
    said: Option<thread::JoinHandle<String>>,
}

/// A process that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// From its start to its end.
    pub(crate) wall_seconds: f64,
    /// User and system time of all its threads.
    pub(crate) cpu_seconds: f64,
    /// The most memory it was seen with that is not a mapped file; 0 where nobody looked.
    pub(crate) memory_bytes: u64,
}

impl Process {
    /// Starts it and waits until it is ready. What it writes to stdout and stderr is kept for [`said`](Self::said).
    pub(crate) fn start(name: &str, mut command: Command, ready: Ready, lab: &Lab) -> anyhow::Result<Self> {
        let wanted = match ready {
            Ready::Line(part) => Some(part),
            Ready::Socket => None,
        };
        let (mut process, is_ready) = Self::spawn_watched(name, &mut command, wanted)?;
        let start = Instant::now();
        loop {
            let captures = match ready {
                Ready::Line(_) => is_ready.recv_timeout(Duration::from_millis(20)).is_ok(),
                Ready::Socket => {
                    thread::sleep(Duration::from_millis(20));
                    has_packet_socket(lab)?
                }
            };
            if captures {
                return Ok(process);
            }
            if let Some(status) = process.child.try_wait()? {
                bail!("{name} did not start: {status}: {}", process.said());
            }
            ensure!(start.elapsed() < START_TIMEOUT, "{name} is not ready after {START_TIMEOUT:?}");
        }
    }

    /// Starts it.
    pub(crate) fn spawn(name: &str, mut command: Command) -> anyhow::Result<Self> {
        Ok(Self::spawn_watched(name, &mut command, None)?.0)
    }

    fn spawn_watched(
        name: &str,
        command: &mut Command,
        wanted: Option<&'static str>,
    ) -> anyhow::Result<(Self, mpsc::Receiver<()>)> {
        let (output, writer) = std::io::pipe()?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let cpu_of_others = cpu_of_children()?;
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("starting {name}"))?;
        // The command holds the pipe's writing end, and the reader would wait for it for ever.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let (ready, is_ready) = mpsc::channel();
        let said = thread::spawn(move || {
            let mut text = String::new();
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                if wanted.is_some_and(|part| line.contains(part)) {
                    let _ = ready.send(());
                }
                text.push_str(&line);
                text.push('\n');
            }
            text
        });
        Ok((Self { name: name.to_owned(), child, started, cpu_of_others, said: Some(said) }, is_ready))
    }

    /// User and system time of all its threads so far, in seconds.
    pub(crate) fn cpu_so_far(&self) -> anyhow::Result<f64> {
        let clock = clock_getcpuclockid(Pid::from_raw(self.id().cast_signed()))?;
        Ok(Duration::from(clock.now()?).as_secs_f64())
    }

    /// Its id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it ends by itself and watches its memory meanwhile; kills it when `interrupted`.
    ///
    /// The CPU seconds are right if no other child ended since it was started.
    pub(crate) fn wait(&mut self, interrupted: &AtomicBool) -> anyhow::Result<Ended> {
        let mut memory_bytes = 0;
        for turn in 0_u64.. {
            if turn.is_multiple_of(MEMORY_LOOK_MS) {
                memory_bytes = memory_bytes.max(memory_of(self.id()));
            }
            if let Some(status) = self.child.try_wait()? {
                let wall_seconds = self.started.elapsed().as_secs_f64();
                ensure!(!interrupted.load(Ordering::Relaxed), "interrupted");
                let cpu_seconds = cpu_of_children()? - self.cpu_of_others;
                return Ok(Ended { status, wall_seconds, cpu_seconds, memory_bytes });
            }
            if interrupted.load(Ordering::Relaxed) {
                self.child.kill()?;
            }
            thread::sleep(Duration::from_millis(1));
        }
        bail!("{} never ends", self.name)
    }

    /// Waits until it ends by itself, and fails unless it succeeds; what it said.
    pub(crate) fn finish(mut self, interrupted: &AtomicBool) -> anyhow::Result<(Ended, String)> {
        let ended = self.wait(interrupted)?;
        let said = self.said();
        ensure!(ended.status.success(), "{}: {}: {said}", self.name, ended.status);
        Ok((ended, said))
    }

    /// Ends it with this signal; for good when `interrupted`, or after `patience` with those known to hang.
    pub(crate) fn stop(
        &mut self,
        signal: Signal,
        interrupted: &AtomicBool,
        patience: Option<Duration>,
    ) -> anyhow::Result<Ended> {
        // Somebody else's signal ends a capture as cleanly as ours, only sooner: what it counted is not the load's.
        if let Some(status) = self.child.try_wait()? {
            let said = self.said();
            bail!("{} ended before it was told to: {status}: {said}", self.name);
        }
        // The only child that ends between the two looks is this one, so the difference is its own.
        let before = cpu_of_children()?;
        kill(Pid::from_raw(self.id().cast_signed()), signal)?;
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Ended {
                    status,
                    wall_seconds: self.started.elapsed().as_secs_f64(),
                    cpu_seconds: cpu_of_children()? - before,
                    memory_bytes: 0,
                });
            }
            let hangs = patience.is_some_and(|patience| start.elapsed() > patience);
            if hangs || interrupted.load(Ordering::Relaxed) {
                self.child.kill()?;
            }
            ensure!(
                start.elapsed() < STOP_TIMEOUT,
                "{} did not end within {STOP_TIMEOUT:?} of {signal}",
                self.name
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it has written, once it has ended.
    pub(crate) fn said(&mut self) -> String {
        let text = self.said.take().and_then(|reader| reader.join().ok()).unwrap_or_default();
        text.trim().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Memory of a process that is not a file's: `RssAnon` and `RssShmem`; 0 if it is gone.
fn memory_of(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    memory_in(&status)
}

fn memory_in(status: &str) -> u64 {
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim_end_matches("kB").trim().parse::<u64>().ok()).unwrap_or(0)
    };
    (kib("RssAnon:") + kib("RssShmem:")) << 10
}

/// Whether a packet socket for all protocols is bound in the receiver's namespace.
fn has_packet_socket(lab: &Lab) -> anyhow::Result<bool> {
    let table = lab.enter(Side::Receiver, || fs::read_to_string("/proc/thread-self/net/packet"))??;
    // sk RefCnt Type Proto Iface R ...: protocol 3 is ETH_P_ALL, R is 1 once bound to an interface that is up.
    Ok(table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(3) == Some(&"0003") && fields.get(4) != Some(&"0") && fields.get(5) == Some(&"1")
    }))
}

/// User and system time of all children that have ended, in seconds.
fn cpu_of_children() -> anyhow::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    Ok((usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6)
}

/// How often memory is looked at: every so many milliseconds.
pub(crate) const MEMORY_LOOK_MS: u64 = 20;

/// How long a process may take to start: a ring of 256 MiB is allocated in well under a second.
const START_TIMEOUT: Duration = Duration::from_secs(15);

/// How long it may take to end: gigabytes may wait in the page cache.
const STOP_TIMEOUT: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_without_mapped_files() {
        let status = "VmHWM:\t 9999 kB\nRssAnon:\t     100 kB\nRssFile:\t  5000 kB\nRssShmem:\t       3 kB\n";
        assert_eq!(memory_in(status), 103 << 10);
        assert_eq!(memory_in(""), 0);
        assert!(memory_of(std::process::id()) > 0);
    }

    #[test]
    fn a_process_is_run_to_its_end() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; sleep 0.1"]);
        let (ended, said) = Process::spawn("sh", command).unwrap().finish(&AtomicBool::new(false)).unwrap();
        assert_eq!(said, "one\ntwo");
        assert!(ended.wall_seconds >= 0.1 && ended.memory_bytes > 0, "{ended:?}");
        assert!(ended.cpu_seconds >= 0.0);
    }

    #[test]
    fn cpu_time_of_a_running_process() {
        let mut command = Command::new("sh");
        command.args(["-c", "while :; do :; done"]);
        let process = Process::spawn("sh", command).unwrap();
        while process.cpu_so_far().unwrap() < 0.05 {
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_process_that_ended_early_is_not_stopped() {
        let mut process = Process::spawn("true", Command::new("true")).unwrap();
        let never = AtomicBool::new(false);
        process.wait(&never).unwrap();
        let error = process.stop(Signal::SIGINT, &never, None).unwrap_err().to_string();
        assert!(error.starts_with("true ended before it was told to"), "{error}");
    }

    #[test]
    fn an_interrupted_process_does_not_live_on() {
        let mut command = Command::new("sleep");
        command.arg("60");
        let start = Instant::now();
        assert!(Process::spawn("sleep", command).unwrap().finish(&AtomicBool::new(true)).is_err());
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
