//! The two ways between a run and whoever started it: [`Control`] goes in, [`Event`]s come out.
//!
//! ```text
//!   signals ──► flags ──┐
//!                       ├─► Control ──► stop flag ──────► workers (read between blocks)
//!   threads ──► queue ──┘        └────► commands ───────► the run's housekeeping
//!   terminal, log ◄──── Event ◄──────── housekeeping and workers
//! ```
//!
//! Signal handlers may do very little, so they only set a flag and write a byte into a socket pair, which
//! wakes [`Control::wait`]. No thread is needed for signals, and so none has to give up its privileges.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read, Write};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gannet_packet::LinkType;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::config::Direction;
use crate::ledger::{Ledger, Report};

/// What a running capture can be told. Shared by reference; every method may be called from any thread, but only
/// one thread at a time should [`Control::wait`].
#[derive(Debug)]
pub struct Control {
    flags: Flags,
    commands: Mutex<VecDeque<Command>>,
    /// Bytes without meaning: there is something to look at.
    woken: UnixStream,
    waker: UnixStream,
}

/// The flags of a [`Control`] that a signal handler sets, followed by a byte into [`Control::waker`].
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// As [`Control::stop`].
    pub stop: Arc<AtomicBool>,
    /// As [`Command::Report`].
    pub report: Arc<AtomicBool>,
    /// As [`Command::Rotate`].
    pub rotate: Arc<AtomicBool>,
}

impl Control {
    /// No command waits and the run goes on. Fails if there are no file descriptors left.
    pub fn new() -> io::Result<Self> {
        let (woken, waker) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        // A full pair means that the reader has something to wake up for already.
        waker.set_nonblocking(true)?;
        Ok(Self { flags: Flags::default(), commands: Mutex::default(), woken, waker })
    }

    /// The flags, for signal handlers.
    pub fn flags(&self) -> Flags {
        self.flags.clone()
    }

    /// A byte written here wakes [`Self::wait`]. It does not block.
    pub fn waker(&self) -> io::Result<UnixStream> {
        self.waker.try_clone()
    }

    /// Ends the run: rings are drained, files closed, the report made. Cannot be taken back.
    pub fn stop(&self) {
        self.flags.stop.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether the run is to end. One relaxed load: fit for a look between two blocks.
    #[inline]
    pub fn stopping(&self) -> bool {
        self.flags.stop.load(Ordering::Relaxed)
    }

    /// Queues a command. Commands are carried out in order; those after [`Self::stop`] need not be.
    pub fn send(&self, command: Command) {
        self.queue().push_back(command);
        self.wake();
    }

    /// The next command: what signals asked for, then the oldest one sent.
    pub fn take(&self) -> Option<Command> {
        if self.flags.report.swap(false, Ordering::Relaxed) {
            return Some(Command::Report);
        }
        if self.flags.rotate.swap(false, Ordering::Relaxed) {
            return Some(Command::Rotate);
        }
        self.queue().pop_front()
    }

    /// Sleeps until there is a command or the run is to end, at most for `timeout`. Returns the next command, like
    /// [`Self::take`]. May return early with nothing.
    pub fn wait(&self, timeout: Duration) -> Option<Command> {
        self.wait_beside(None, timeout)
    }

    /// As [`Self::wait`], but not when `input` has something to read, or has come to its end.
    pub(crate) fn wait_beside(&self, input: Option<BorrowedFd<'_>>, timeout: Duration) -> Option<Command> {
        if let Some(command) = self.take() {
            return Some(command);
        }
        if !self.stopping() {
            let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
            // An interrupted sleep is as good as one that ended: the caller looks at everything anyway.
            let _ = match input.map(|input| [self.woken.as_fd(), input]) {
                None => poll(&mut [PollFd::new(self.woken.as_fd(), PollFlags::POLLIN)], timeout),
                Some(both) => poll(&mut both.map(|fd| PollFd::new(fd, PollFlags::POLLIN)), timeout),
            };
        }
        let mut bytes = [0; 64];
        while (&self.woken).read(&mut bytes).is_ok_and(|count| count == bytes.len()) {}
        self.take()
    }

    /// Ends a [`Self::wait`].
    pub(crate) fn wake(&self) {
        // Fails only when the pair is full of such bytes.
        let _ = (&self.waker).write(&[1]);
    }

    /// The queue is valid between any two statements that touch it, so a panic elsewhere does not spoil it.
    fn queue(&self) -> MutexGuard<'_, VecDeque<Command>> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wish for a running capture. None of them reopens a socket or a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Send an [`Event::Report`] now.
    Report,
    /// Begin the next file; for a single file, reopen its name.
    Rotate,
    /// Keep at most this many bytes of each frame from now on.
    Snaplen(NonZeroU32),
    /// Keep packets of this direction from now on.
    Direction(Direction),
}

/// Something the run wants its user to know. `Display` is the line for a person, without a newline.
#[derive(Clone, Debug)]
pub enum Event {
    /// Everything is open and every packet from now on is seen. Scripts wait for its first words.
    Capturing(Capturing),
    /// A capture file is being read.
    Reading {
        /// The file, `-` for standard input.
        path: PathBuf,
        /// Where its packets go.
        output: String,
        /// Which of them, if there is a filter.
        filter: Option<String>,
    },
    /// Nothing has come yet from the pipe that is to be read; `-` is standard input.
    Awaiting(PathBuf),
    /// Nobody reads yet from the FIFO that is to be written to.
    AwaitingReader(PathBuf),
    /// The kernel granted less ring memory than was asked for.
    RingShrunk {
        /// Bytes asked for, per worker.
        asked: u64,
        /// Bytes obtained, per worker.
        obtained: u64,
    },
    /// A file was begun after the first one, by rotation or for a further link type.
    FileBegun {
        /// Its final name.
        path: PathBuf,
        /// Set if the file is there because a frame's link type does not fit the first file.
        link_type: Option<LinkType>,
    },
    /// The interface went down; the capture waits for it.
    InterfaceDown(String),
    /// The interface is up again.
    InterfaceUp(String),
    /// The interface was removed; the capture waits for one of that name.
    InterfaceGone(String),
    /// An interface of that name is there again, and capture on it goes on.
    InterfaceBack(String),
    /// The periodic counters (`--stats`).
    Stats(Box<Ledger>),
    /// The report so far ([`Command::Report`]).
    Report(Box<Report>),
    /// Anything else that a user should know.
    Warning(String),
}

/// The facts of a capture that has just begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capturing {
    /// The interfaces in the user's words, such as `eth0` or `veth1 in netns lab`.
    pub interfaces: Vec<String>,
    /// The link types expected, one for each interface; empty where frames decide (`any`).
    pub link_types: Vec<LinkType>,
    /// Bytes kept of each frame.
    pub snaplen: u32,
    /// Capture threads.
    pub workers: usize,
    /// Ring memory obtained per worker and interface, in bytes.
    pub ring_bytes: u64,
    /// Size of a ring block in bytes.
    pub block_bytes: u64,
    /// Where packets and records go, in the user's words: a path, or `standard output`.
    pub output: String,
    /// What the kernel lets through, in the user's words: the filter asked for, and what the command implies.
    pub filter: Option<String>,
}

impl fmt::Display for Capturing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "capturing on {}, link type ", self.interfaces.join(", "))?;
        let mut names: Vec<_> = self.link_types.iter().map(|link_type| link_type_name(*link_type)).collect();
        names.dedup();
        match names.as_slice() {
            [] => f.write_str("of each frame")?,
            names => f.write_str(&names.join(", "))?,
        }
        write!(
            f,
            ", snapshot length {}, {} {}, ring {} in {} blocks, to {}",
            self.snaplen,
            self.workers,
            if self.workers == 1 { "worker" } else { "workers" },
            ByteSize(self.ring_bytes),
            ByteSize(self.block_bytes),
            self.output
        )?;
        write_filter(f, self.filter.as_deref())
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capturing(capturing) => capturing.fmt(f),
            Self::Reading { path, output, filter } => {
                write!(f, "reading {}, to {output}", path.display())?;
                write_filter(f, filter.as_deref())
            }
            Self::Awaiting(path) if path.as_os_str() == "-" => f.write_str("waiting for standard input"),
            Self::Awaiting(path) => write!(f, "waiting for {}", path.display()),
            Self::AwaitingReader(path) => write!(f, "waiting for a reader of {}", path.display()),
            Self::RingShrunk { asked, obtained } => write!(
                f,
                "ring of {} per worker could not be had, got {}: free memory, or ask for less with --ring-size",
                ByteSize(*asked),
                ByteSize(*obtained)
            ),
            Self::FileBegun { path, link_type: None } => write!(f, "now writing {}", path.display()),
            Self::FileBegun { path, link_type: Some(link_type) } => write!(
                f,
                "frames of link type {} go to {}, because a file holds only one link type",
                link_type_name(*link_type),
                path.display()
            ),
            Self::InterfaceDown(name) => write!(f, "{name} is down, waiting for it"),
            Self::InterfaceUp(name) => write!(f, "{name} is up again"),
            Self::InterfaceGone(name) => write!(f, "{name} is gone, waiting for it to return"),
            Self::InterfaceBack(name) => write!(f, "{name} is back, capturing on it again"),
            Self::Stats(ledger) => f.write_str(&ledger.one_line()),
            Self::Report(report) => report.fmt(f),
            Self::Warning(text) => f.write_str(text),
        }
    }
}

fn write_filter(f: &mut fmt::Formatter<'_>, filter: Option<&str>) -> fmt::Result {
    match filter {
        Some(filter) => write!(f, ", filter: {filter}"),
        None => Ok(()),
    }
}

/// What a failed run failed at. Each has an exit status of its own, so errors of the pipeline tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// What was asked for makes no sense, or is not possible here.
    Usage,
    /// A file to be read is missing, unreadable, or no capture file.
    Input,
    /// The live capture could not be opened: permission, no such interface, no memory for the ring.
    Open,
    /// The output could not be opened or written.
    Output,
}

/// A number of bytes for people: the largest binary unit that divides it, else one decimal (`1 MiB`, `1.5 GiB`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        let Some((unit, shift)) = UNITS.into_iter().find(|(_, shift)| self.0 >> shift != 0) else {
            return write!(f, "{} bytes", self.0);
        };
        if self.0.trailing_zeros() >= shift {
            write!(f, "{} {unit}", self.0 >> shift)
        } else {
            write!(f, "{:.1} {unit}", self.0 as f64 / (1u64 << shift) as f64)
        }
    }
}

/// The name of a link type as tcpdump prints and accepts it (`-y`), or `LINKTYPE_n`.
pub fn link_type_name(link_type: LinkType) -> String {
    let name = match link_type {
        LinkType::NULL => "NULL",
        LinkType::ETHERNET => "EN10MB",
        LinkType::RAW => "RAW",
        LinkType::LOOP => "LOOP",
        LinkType::SLL => "LINUX_SLL",
        LinkType::SLL2 => "LINUX_SLL2",
        LinkType::IPV4 => "IPV4",
        LinkType::IPV6 => "IPV6",
        LinkType(105) => "IEEE802_11",
        LinkType(127) => "IEEE802_11_RADIO",
        LinkType(n) => return format!("LINKTYPE_{n}"),
    };
    name.to_owned()
}

/// How long who waits for something else waits at most before looking whether the run is to end.
pub(crate) const LOOK_AROUND: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn the_line_that_scripts_wait_for() {
        let mut capturing = Capturing {
            interfaces: vec!["eth0".into()],
            link_types: vec![LinkType::ETHERNET],
            snaplen: 262_144,
            workers: 1,
            ring_bytes: 256 << 20,
            block_bytes: 1 << 20,
            output: "a.pcapng".into(),
            filter: None,
        };
        assert_eq!(
            capturing.to_string(),
            "capturing on eth0, link type EN10MB, snapshot length 262144, 1 worker, ring 256 MiB in 1 MiB blocks, \
             to a.pcapng"
        );
        capturing.interfaces = vec!["any".into()];
        capturing.link_types.clear();
        capturing.workers = 2;
        capturing.filter = Some("TCP".to_owned());
        assert_eq!(
            Event::Capturing(capturing).to_string(),
            "capturing on any, link type of each frame, snapshot length 262144, 2 workers, ring 256 MiB in 1 MiB \
             blocks, to a.pcapng, filter: TCP"
        );
    }

    #[test]
    fn byte_sizes() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1 KiB"),
            (1 << 20, "1 MiB"),
            ((1 << 20) + 1, "1.0 MiB"),
            (3 << 29, "1.5 GiB"),
            (1 << 42, "4 TiB"),
        ] {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }

    #[test]
    fn commands_keep_their_order() {
        let control = Control::new().unwrap();
        control.send(Command::Rotate);
        control.send(Command::Report);
        assert_eq!(control.wait(Duration::ZERO), Some(Command::Rotate));
        assert_eq!(control.take(), Some(Command::Report));
        assert_eq!(control.take(), None);
        assert_eq!(control.wait(Duration::ZERO), None);
    }

    #[test]
    fn flags_are_commands_once() {
        let control = Control::new().unwrap();
        let flags = control.flags();
        flags.rotate.store(true, Ordering::Relaxed);
        flags.report.store(true, Ordering::Relaxed);
        assert_eq!(control.take(), Some(Command::Report));
        assert_eq!(control.take(), Some(Command::Rotate));
        assert_eq!(control.take(), None);
        flags.stop.store(true, Ordering::Relaxed);
        assert!(control.stopping());
    }

    #[test]
    fn a_waiter_is_woken() {
        let control = Control::new().unwrap();
        let mut waker = control.waker().unwrap();
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| control.wait(Duration::from_secs(60)));
            control.flags().report.store(true, Ordering::Relaxed);
            waker.write_all(&[0]).unwrap();
            assert_eq!(waiter.join().unwrap(), Some(Command::Report));
            let waiter = scope.spawn(|| control.wait(Duration::from_secs(60)));
            control.stop();
            assert_eq!(waiter.join().unwrap(), None);
        });
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_waiter_sleeps_though_it_was_woken_often_before() {
        let control = Control::new().unwrap();
        for _ in 0..100_000 {
            control.send(Command::Report);
        }
        while control.take().is_some() {}
        assert_eq!(control.wait(Duration::ZERO), None);
        let begun = Instant::now();
        assert_eq!(control.wait(Duration::from_millis(50)), None);
        assert!(begun.elapsed() >= Duration::from_millis(50));
    }
}
