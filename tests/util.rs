//! Running `gannet` in a directory of its own, and small capture files to feed it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A temporary directory, working directory of the commands run in it.
pub(crate) struct Dir(TempDir);

impl Dir {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// `gannet` with these words, separated by spaces.
    pub(crate) fn gannet(&self, words: &str) -> Gannet {
        self.program(env!("CARGO_BIN_EXE_gannet"), words)
    }

    /// `gannet` where it may use one processor only.
    pub(crate) fn gannet_on_one_cpu(&self, words: &str) -> Gannet {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
        let first = allowed.trim().split([',', '-']).next().unwrap();
        self.program("taskset", &format!("-c {first} {} {words}", env!("CARGO_BIN_EXE_gannet")))
    }

    /// `gannet` as the user nobody: a copy of it where nobody can reach it.
    pub(crate) fn gannet_as_nobody(&self, words: &str) -> Gannet {
        let copy = self.public_copy();
        let mut gannet = self.program(copy, words);
        gannet.command.uid(NOBODY).gid(NOBODY);
        gannet
    }

    /// A copy of the program that everybody may execute; the directory becomes readable to everybody, and writable
    /// to nobody but root.
    pub(crate) fn public_copy(&self) -> PathBuf {
        let copy = self.join("gannet-copy");
        if !copy.exists() {
            // By a process of its own: a descriptor of ours that may write to it would be inherited by whatever another
            // test starts at this moment, and the kernel refuses to execute a file that somebody may write (ETXTBSY).
            let status = Command::new("cp").arg(env!("CARGO_BIN_EXE_gannet")).arg(&copy).status().unwrap();
            assert!(status.success());
            std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).unwrap();
            std::fs::set_permissions(self.path(), PermissionsExt::from_mode(0o755)).unwrap();
        }
        copy
    }

    pub(crate) fn program(&self, program: impl AsRef<OsStr>, words: &str) -> Gannet {
        let mut command = Command::new(program);
        command.args(words.split_whitespace());
        Gannet::new(command, self)
    }
}

/// A command that is about to run.
pub(crate) struct Gannet {
    command: Command,
    input: Vec<u8>,
}

impl Gannet {
    /// `command` in `dir`, with an environment that has nothing to say about captures.
    pub(crate) fn new(mut command: Command, dir: &Dir) -> Self {
        for (name, _) in std::env::vars_os() {
            let ours = name.to_str().is_some_and(|name| {
                name.starts_with("GANNET_") || ["NET_DEVICE", "VPC_MIRROR_DEVICE"].contains(&name)
            });
            if ours {
                command.env_remove(name);
            }
        }
        command.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, input: Vec::new() }
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn stdin(mut self, bytes: &[u8]) -> Self {
        self.input = bytes.to_vec();
        self.command.stdin(Stdio::piped());
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Outcome {
        let words = format!("{:?}", self.command);
        let mut child = self.command.spawn().unwrap();
        let (stdin, input) = (child.stdin.take(), std::mem::take(&mut self.input));
        // By a thread of its own: what writes before it has read everything would wait for us, and we for it.
        let writer = std::thread::spawn(move || {
            // A program that refuses its input does not read it all.
            stdin.map(|mut stdin| stdin.write_all(&input))
        });
        let output = child.wait_with_output().unwrap();
        let _ = writer.join().unwrap();
        Outcome {
            words,
            status: output.status,
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts it and waits for the line that says that the capture is open.
    pub(crate) fn capture(self) -> Capture {
        let mut capture = self.start();
        capture.wait_for("capturing on ");
        capture
    }

    /// Starts it; its standard input is a pipe that the test writes to.
    pub(crate) fn start_fed(mut self) -> (Capture, ChildStdin) {
        self.command.stdin(Stdio::piped());
        let mut capture = self.start();
        let stdin = capture.child.stdin.take().unwrap();
        (capture, stdin)
    }

    /// Starts it with this as its standard input.
    pub(crate) fn start_reading(mut self, stdin: impl Into<Stdio>) -> Capture {
        self.command.stdin(stdin);
        self.start()
    }

    /// Starts it.
    pub(crate) fn start(mut self) -> Capture {
        let mut child = self.command.spawn().unwrap();
        let lines = lines_of(child.stderr.take().unwrap());
        Capture { child, lines, seen: Vec::new() }
    }
}

/// The lines of a stream as they come.
fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    words: String,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Outcome {
    /// It ended with this status; on anything else the test fails and shows what it said.
    #[track_caller]
    pub(crate) fn exits(self, status: i32) -> Self {
        assert_eq!(self.status.code(), Some(status), "{}\n{}\n{}", self.words, self.text(), self.stderr);
        self
    }

    /// Its stderr has these words in it.
    #[track_caller]
    pub(crate) fn says(self, words: &str) -> Self {
        assert!(self.stderr.contains(words), "{} does not say '{words}':\n{}", self.words, self.stderr);
        self
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// A capture that runs. Dropping it kills it.
pub(crate) struct Capture {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Capture {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its standard output, for whoever reads as much of it as they want.
    pub(crate) fn take_stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().unwrap()
    }

    /// The lines of its standard output as they come, instead of all of them at its end.
    pub(crate) fn follow_stdout(&mut self) -> Receiver<String> {
        lines_of(self.child.stdout.take().unwrap())
    }

    /// Waits for a line that begins with these words, at most 20 seconds.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, words: &str) -> String {
        self.wait_for_line(words, |line| line.starts_with(words))
    }

    /// The same for a line with these words in it.
    #[track_caller]
    pub(crate) fn wait_for_part(&mut self, words: &str) -> String {
        self.wait_for_line(words, |line| line.contains(words))
    }

    #[track_caller]
    fn wait_for_line(&mut self, words: &str, is_it: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let rest = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(rest) else {
                panic!("no line '{words}' came; there were:\n{}", self.seen.join("\n"));
            };
            self.seen.push(line.clone());
            if is_it(&line) {
                return line;
            }
        }
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end, and reads nothing of its standard output.
    pub(crate) fn end_unread(mut self) -> Outcome {
        let stdout = self.child.stdout.take();
        let outcome = self.end();
        drop(stdout);
        outcome
    }

    /// Waits for its end; the lines are everything that it said since it was started.
    pub(crate) fn end(mut self) -> Outcome {
        let deadline = Instant::now() + Duration::from_secs(20);
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > deadline => panic!("it does not end:\n{}", self.seen.join("\n")),
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        let mut stdout = Vec::new();
        if let Some(mut pipe) = self.child.stdout.take() {
            pipe.read_to_end(&mut stdout).unwrap();
        }
        self.seen.extend(self.lines.iter());
        Outcome { words: "capture".to_owned(), status, stdout, stderr: self.seen.join("\n") }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether the test runs as root. If not, it says so.
pub(crate) fn is_root(what: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    assert!(
        root || std::env::var_os("REQUIRE_NETNS").is_none_or(|value| value != "1"),
        "REQUIRE_NETNS=1, and this is not root"
    );
    if !root {
        eprintln!("SKIPPED, needs root: {what}");
    }
    root
}

/// A packet of a classic pcap file with microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) sec: u32,
    pub(crate) fraction: u32,
    pub(crate) orig_len: u32,
    pub(crate) data: Vec<u8>,
}

/// A classic pcap file, little endian, Ethernet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pcap {
    pub(crate) magic: u32,
    pub(crate) snaplen: u32,
    pub(crate) link_type: u32,
    pub(crate) records: Vec<Record>,
}

impl Pcap {
    pub(crate) const MICROS: u32 = 0xa1b2_c3d4;
    pub(crate) const NANOS: u32 = 0xa1b2_3c4d;

    /// `count` Ethernet frames of growing length, a millisecond apart, each with its number in it.
    pub(crate) fn sample(count: u32) -> Self {
        let record = |number: u32| {
            let mut data = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5];
            data.extend(number.to_be_bytes());
            data.resize(60 + number as usize % 100, number as u8);
            let orig_len = data.len() as u32;
            Record { sec: 1_700_000_000 + number / 1000, fraction: number % 1000 * 1000, orig_len, data }
        };
        Self {
            magic: Self::MICROS,
            snaplen: 262_144,
            link_type: 1,
            records: (0..count).map(record).collect(),
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [self.magic, 0x0004_0002, 0, 0, self.snaplen, self.link_type] {
            bytes.extend(word.to_le_bytes());
        }
        for record in &self.records {
            for word in [record.sec, record.fraction, record.data.len() as u32, record.orig_len] {
                bytes.extend(word.to_le_bytes());
            }
            bytes.extend(&record.data);
        }
        bytes
    }

    /// Reads such a file; anything odd fails the test. Shares no code with what it checks.
    pub(crate) fn parse(mut bytes: &[u8]) -> Self {
        let mut word = || {
            let (word, rest) = bytes.split_first_chunk::<4>().expect("a word");
            bytes = rest;
            u32::from_le_bytes(*word)
        };
        let (magic, version) = (word(), word());
        assert_eq!(version, 0x0004_0002);
        assert_eq!((word(), word()), (0, 0));
        let mut pcap = Self { magic, snaplen: word(), link_type: word(), records: Vec::new() };
        while !bytes.is_empty() {
            let header: Vec<u32> = bytes[..16]
                .chunks_exact(4)
                .map(|chunk| u32::from_le_bytes(chunk.try_into().unwrap()))
                .collect();
            let (data, rest) = bytes[16..].split_at(header[2] as usize);
            bytes = rest;
            pcap.records.push(Record {
                sec: header[0],
                fraction: header[1],
                orig_len: header[3],
                data: data.to_vec(),
            });
        }
        pcap
    }
}

/// Debian's nobody and nogroup.
pub(crate) const NOBODY: u32 = 65_534;
