//! One interface as one worker sees it: its ring, and what happens when the interface goes down, away and returns.
//!
//! ```text
//!            ENETDOWN             name unknown                   name known again
//!   Up ──────────────────► Down ────────────────► Gone ─────────────────────────────► Up
//!    ▲                       │                            socket bound anew, or, in a
//!    └───────────────────────┘                            fanout group, a new ring
//!        up again (the kernel goes on by itself)
//! ```
//!
//! While an interface is away its socket reports an error at every `poll`; so it is not polled then, but looked at a
//! few times a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gannet_filter::Program;
use gannet_recorder::InterfaceDescription;
use gannet_ring::fanout::FanoutMode;
use gannet_ring::netns::NetnsSpec;
use gannet_ring::{Block, Error, FanoutGroup, KernelStatistics, ReceiveRing, RingConfig, Target};

use crate::control::Event;

/// What all workers know of one interface of the run.
#[derive(Debug)]
pub(crate) struct Interface {
    /// Number of the source in the run.
    pub(crate) number: u32,
    pub(crate) target: Target,
    pub(crate) netns: Option<NetnsSpec>,
    pub(crate) ring: RingConfig,
    /// `None` for one worker.
    pub(crate) fanout: Option<FanoutMode>,
    /// The group that the workers' sockets are in, and the interface index it was made for.
    group: Mutex<Option<(FanoutGroup, i32)>>,
    /// One entry per worker, which alone writes it.
    pub(crate) counts: Vec<Counts>,
}

/// The kernel's counters of one worker's ring, for others to read.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    received: AtomicU64,
    dropped: AtomicU64,
    freezes: AtomicU64,
}

impl Interface {
    pub(crate) fn new(
        number: u32,
        target: Target,
        netns: Option<NetnsSpec>,
        ring: RingConfig,
        fanout: Option<FanoutMode>,
        workers: usize,
    ) -> Self {
        let counts = (0..workers).map(|_| Counts::default()).collect();
        Self { number, target, netns, ring, fanout, group: Mutex::default(), counts }
    }

    /// In the user's words.
    pub(crate) fn name(&self) -> String {
        match &self.netns {
            Some(netns) => format!("{} in network namespace {netns}", self.target),
            None => self.target.to_string(),
        }
    }

    /// The sums over all workers.
    pub(crate) fn statistics(&self) -> KernelStatistics {
        let sum = |field: fn(&Counts) -> &AtomicU64| {
            self.counts.iter().map(|counts| field(counts).load(Ordering::Relaxed)).sum()
        };
        KernelStatistics {
            received: sum(|counts| &counts.received),
            dropped: sum(|counts| &counts.dropped),
            freezes: sum(|counts| &counts.freezes),
        }
    }

    /// Opens a ring and puts it into the fanout group; the first one makes the group. It lets nothing in yet.
    pub(crate) fn open(&self) -> Result<ReceiveRing, Error> {
        let target = self.target.clone();
        let ring = gannet_ring::netns::enter(self.netns.as_ref(), || ReceiveRing::open(target, &self.ring))??;
        let Some(mode) = self.fanout else { return Ok(ring) };
        // A group belongs to one interface index: one that returned with another needs a new group.
        let ifindex = ring.socket().ifindex()?;
        let mut group = self.group.lock().unwrap_or_else(PoisonError::into_inner);
        match *group {
            Some((existing, of)) if of == ifindex => ring.socket().join_fanout(existing)?,
            _ => *group = Some((ring.socket().create_fanout(mode)?, ifindex)),
        }
        Ok(ring)
    }
}

/// One worker's ring on one interface.
pub(crate) struct Source {
    pub(crate) interface: Arc<Interface>,
    pub(crate) ring: ReceiveRing,
    worker: usize,
    state: State,
    /// Counters of rings that were replaced.
    before: KernelStatistics,
    /// Frames in the blocks taken so far, the unreadable ones included.
    pub(crate) taken: u64,
    next_look: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    Down,
    Gone,
}

impl Source {
    pub(crate) fn new(interface: Arc<Interface>, ring: ReceiveRing, worker: usize) -> Self {
        let before = KernelStatistics::default();
        Self { interface, ring, worker, state: State::Up, before, taken: 0, next_look: Instant::now() }
    }

    /// The next block that the kernel has finished.
    #[inline]
    pub(crate) fn next_block(&mut self) -> Option<Block> {
        self.ring.next_block()
    }

    /// True if it is worth polling.
    pub(crate) fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// Describes an interface of this source for a file.
    pub(crate) fn describe(&self, ifindex: i32) -> InterfaceDescription {
        InterfaceDescription {
            name: match &self.interface.target {
                Target::Any => self.ring.socket().interface_name(ifindex),
                Target::Named(name) => name.clone(),
            },
            description: self
                .interface
                .netns
                .as_ref()
                .map_or_else(String::new, |netns| format!("in network namespace {netns}")),
            comment: if self.ring.hardware_stamps() {
                "time stamps: network card".to_owned()
            } else {
                "time stamps: kernel".to_owned()
            },
            filter: String::new(),
        }
    }

    /// Reads the kernel's counters and shows them to the others. Returns how many packets are accounted for by the
    /// kernel in all and how many it dropped.
    pub(crate) fn read_statistics(&mut self) -> Result<KernelStatistics, Error> {
        let ring = self.ring.statistics()?;
        let sum = KernelStatistics {
            received: self.before.received + ring.received,
            dropped: self.before.dropped + ring.dropped,
            freezes: self.before.freezes + ring.freezes,
        };
        let counts = &self.interface.counts[self.worker];
        counts.received.store(sum.received, Ordering::Relaxed);
        counts.dropped.store(sum.dropped, Ordering::Relaxed);
        counts.freezes.store(sum.freezes, Ordering::Relaxed);
        Ok(sum)
    }

    /// `poll` has reported an error on the socket.
    pub(crate) fn on_error(&mut self) -> Option<Event> {
        // Reading the error clears it. Any other than ENETDOWN would end the same way: look what the interface does.
        let _ = self.ring.socket().take_error();
        self.next_look = Instant::now();
        if self.state != State::Up {
            return None;
        }
        self.state = State::Down;
        // An interface that only blinked is up again by now.
        self.look()
            .unwrap_or(None)
            .or_else(|| (self.state == State::Down).then(|| Event::InterfaceDown(self.interface.name())))
    }

    /// Looks after an interface that is not up, a few times a second. `filter` goes onto a new ring.
    pub(crate) fn look_after(&mut self, filter: &Program) -> Option<Event> {
        if self.state == State::Up || Instant::now() < self.next_look {
            return None;
        }
        self.next_look = Instant::now() + LOOK_EVERY;
        if self.state == State::Gone {
            return self.come_back(filter);
        }
        self.look().unwrap_or(None)
    }

    /// From `Down`: is it up again, or gone?
    fn look(&mut self) -> Result<Option<Event>, Error> {
        let name = self.interface.name();
        match self.ring.socket().is_up() {
            // The socket's own binding is lost when the device is removed, even if one of that name is there again.
            Ok(true) if self.ring.is_bound() => {
                self.state = State::Up;
                Ok(Some(Event::InterfaceUp(name)))
            }
            Ok(false) if self.ring.is_bound() => Ok(None),
            Ok(_) | Err(Error::NoInterface { .. }) => {
                self.state = State::Gone;
                Ok(Some(Event::InterfaceGone(name)))
            }
            Err(error) => Err(error),
        }
    }

    /// From `Gone`: capture on whatever has that name now.
    fn come_back(&mut self, filter: &Program) -> Option<Event> {
        self.ring.socket().ifindex().ok()?;
        if self.ring.has_queued() {
            // What the old ring still holds is read first.
            return None;
        }
        let name = self.interface.name();
        let result = if self.interface.fanout.is_none() {
            self.ring.rebind(self.interface.ring.promiscuous)
        } else {
            self.replace_ring(filter)
        };
        match result {
            Ok(()) => {
                self.state = State::Up;
                Some(Event::InterfaceBack(name))
            }
            // It may vanish again at any moment.
            Err(error) if error.is_interface_gone() => None,
            Err(error) => {
                // Tried again, but not all the time.
                self.next_look = Instant::now() + RETRY_AFTER_FAILURE;
                Some(Event::Warning(format!("{name} is back, but capturing on it failed: {error}")))
            }
        }
    }

    /// A member of a fanout group cannot be bound anew: the ring is replaced, its counters are kept. The old ring has
    /// been read empty: nothing comes in while the interface is away.
    fn replace_ring(&mut self, filter: &Program) -> Result<(), Error> {
        let ring = self.interface.open()?;
        ring.open_filter(filter)?;
        self.before = self.read_statistics()?;
        self.ring = ring;
        Ok(())
    }
}

/// How often an interface that is down or gone is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long after a failed attempt to capture on an interface that has returned.
const RETRY_AFTER_FAILURE: Duration = Duration::from_secs(5);
