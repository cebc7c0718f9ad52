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
//! few times a second. Every worker finds out for itself; the first worker tells the user.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gannet_filter::Program;
use gannet_recorder::InterfaceDescription;
use gannet_ring::fanout::FanoutMode;
use gannet_ring::interfaces::Interfaces;
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
    /// The filter in force, in the user's words; empty for none.
    pub(crate) filter: String,
    /// Asks for the device's counters, in its own network namespace; opened while that could be entered.
    pub(crate) facts: Option<Interfaces>,
    /// `None` for one worker.
    pub(crate) fanout: Option<FanoutMode>,
    /// The group that the workers' sockets join when a run begins.
    group: Mutex<Option<FanoutGroup>>,
    /// Rings that one worker opened for the others when the interface returned, by worker, oldest first.
    successors: Mutex<Vec<VecDeque<ReceiveRing>>>,
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
        let facts = gannet_ring::netns::enter(netns.as_ref(), Interfaces::open).ok().and_then(Result::ok);
        Self {
            number,
            target,
            netns,
            ring,
            filter: String::new(),
            facts,
            fanout,
            group: Mutex::default(),
            successors: Mutex::new((0..workers).map(|_| VecDeque::new()).collect()),
            counts: (0..workers).map(|_| Counts::default()).collect(),
        }
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

    /// Opens a ring and puts it into the fanout group, whose members are numbered in the order of the calls; the
    /// first one makes the group. It lets nothing in yet.
    pub(crate) fn open(&self) -> Result<ReceiveRing, Error> {
        self.open_into(&mut lock(&self.group))
    }

    fn open_into(&self, group: &mut Option<FanoutGroup>) -> Result<ReceiveRing, Error> {
        let target = self.target.clone();
        let ring = gannet_ring::netns::enter(self.netns.as_ref(), || ReceiveRing::open(target, &self.ring))??;
        match (self.fanout, *group) {
            (None, _) => {}
            (Some(mode), None) => *group = Some(ring.socket().create_fanout(mode)?),
            (Some(_), Some(existing)) => ring.socket().join_fanout(existing)?,
        }
        Ok(ring)
    }

    /// The ring with which `worker` goes on after the interface has returned, open for what `filter` lets in.
    ///
    /// A group belongs to one interface index, so there is a new one. The first worker that asks opens the rings of
    /// all: in the order of the workers, which decides who gets which flow, and before the first packet is let in, as
    /// at the start. What comes in before the others ask waits in their rings.
    fn successor(&self, worker: usize, filter: &Program) -> Result<ReceiveRing, Error> {
        let mut successors = lock(&self.successors);
        if let Some(ring) = successors.get_mut(worker).and_then(VecDeque::pop_front) {
            // Its filter may be older than the worker's.
            ring.open_filter(filter)?;
            return Ok(ring);
        }
        let mut group = None;
        let rings = successors.iter().map(|_| self.open_into(&mut group)).collect::<Result<Vec<_>, _>>()?;
        for ring in &rings {
            ring.open_filter(filter)?;
        }
        let mut own = None;
        for (number, (ring, queue)) in rings.into_iter().zip(successors.iter_mut()).enumerate() {
            if number == worker { own = Some(ring) } else { queue.push_back(ring) }
        }
        own.ok_or_else(|| Error::NoInterface { name: self.name(), source: io::ErrorKind::NotFound.into() })
    }
}

/// Nothing that is done under these locks leaves them half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// When the interface was found to be gone.
    gone: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    Down,
    Gone,
}

impl Source {
    pub(crate) fn new(interface: Arc<Interface>, ring: ReceiveRing, worker: usize) -> Self {
        let (before, now) = (KernelStatistics::default(), Instant::now());
        Self { interface, ring, worker, state: State::Up, before, taken: 0, next_look: now, gone: now }
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
            filter: self.interface.filter.clone(),
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

    /// True if every packet that the kernel says it has put into the ring has been taken out.
    pub(crate) fn is_drained(&mut self) -> bool {
        self.read_statistics()
            .is_ok_and(|kernel| self.taken >= kernel.received.saturating_sub(kernel.dropped))
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
        let event = self
            .look()
            .unwrap_or(None)
            .or_else(|| (self.state == State::Down).then(|| Event::InterfaceDown(self.interface.name())));
        self.tell(event)
    }

    /// Looks after an interface that is not up, a few times a second. `filter` goes onto a new ring.
    pub(crate) fn look_after(&mut self, filter: &Program) -> Option<Event> {
        if self.state == State::Up || Instant::now() < self.next_look {
            return None;
        }
        self.next_look = Instant::now() + LOOK_EVERY;
        let event = match self.state {
            State::Gone => self.come_back(filter),
            State::Up | State::Down => self.look().unwrap_or(None),
        };
        self.tell(event)
    }

    /// What the user is told: one worker's view of the interface, and everybody's warnings.
    fn tell(&self, event: Option<Event>) -> Option<Event> {
        event.filter(|event| self.worker == 0 || matches!(event, Event::Warning(_)))
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
                self.gone = Instant::now();
                Ok(Some(Event::InterfaceGone(name)))
            }
            Err(error) => Err(error),
        }
    }

    /// From `Gone`: capture on whatever has that name now.
    fn come_back(&mut self, filter: &Program) -> Option<Event> {
        self.ring.socket().ifindex().ok()?;
        let result = if self.interface.fanout.is_none() {
            self.ring.rebind(self.interface.ring.promiscuous)
        } else if self.is_drained()
            || self.gone.elapsed() > self.interface.ring.block_timeout * 2 + DRAIN_MARGIN
        {
            self.replace_ring(filter)
        } else {
            // What the old ring still holds is read first; the block that was open is handed over after its time-out.
            return None;
        };
        let name = self.interface.name();
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
        let ring = self.interface.successor(self.worker, filter)?;
        self.before = self.read_statistics()?;
        self.ring = ring;
        Ok(())
    }
}

/// How often an interface that is down or gone is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Added to twice the block time-out, for timers that fire late.
pub(crate) const DRAIN_MARGIN: Duration = Duration::from_millis(100);

/// How long after a failed attempt to capture on an interface that has returned.
const RETRY_AFTER_FAILURE: Duration = Duration::from_secs(5);
