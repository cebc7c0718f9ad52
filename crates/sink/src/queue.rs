//! The bounded queue of one output, and the merge by key.
//!
//! ```text
//!   lane 0 ── push ──┐                          by arrival: one batch after the other
//!   lane 1 ── push ──┼─► [ batches ] ── next ─►
//!   ...              │                          by key: all batches of a number, once every lane
//!         bounds ────┘                                  is past it; empty batches only say so
//! ```
//!
//! Bounds are in batches, in records (of the events that the output takes) and in the bytes of their heads and
//! bodies, so that memory is bounded whatever a batch holds. By arrival all lanes share them. By key each lane has
//! its part for itself: if one ran ahead and filled what all share, the one that the merge waits for could not send.
//! No lane waits for ever: of those with batches in the queue the one that is furthest behind has only such that
//! every lane is past, and these get written.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::batch::{Load, Parcel};
use crate::{Order, WhenFull};

pub(crate) struct Queue {
    state: Mutex<State>,
    /// The output's thread waits here.
    ready: Condvar,
    /// Lanes wait here.
    space: Condvar,
    order: Order,
    when_full: WhenFull,
    /// How many lanes the merge waits for.
    workers: usize,
    /// Of all lanes together, or by key of each.
    bounds: Load,
}

/// What the output's thread shall do.
pub(crate) enum Next {
    /// Write these: one batch, or all of one number.
    Write(Vec<Parcel>),
    /// There is nothing at the moment.
    Idle,
    /// Open the file again.
    Reopen,
    /// Everything has been handed out, nothing will follow.
    End,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    Queued,
    Shed,
}

/// A batch in the queue, with its lane and what it adds to the load.
type Entry = (usize, Load, Parcel);

#[derive(Default)]
struct State {
    lanes: Vec<Lane>,
    arrived: VecDeque<Entry>,
    numbered: BTreeMap<u64, Vec<Entry>>,
    /// Of all lanes.
    load: Load,
    /// The output's thread waits: it wants to be woken.
    is_waiting: bool,
    /// So many lanes wait for space. To wake nobody would be a system call for each batch.
    lanes_waiting: usize,
    reopen: bool,
    /// No more will come.
    ended: bool,
    /// Nobody takes anything any more.
    closed: bool,
    /// Lanes wait until then, and no longer.
    hurried: Option<Instant>,
}

struct Lane {
    /// The lowest number that it has not sent.
    next: u64,
    /// What it has in the queue.
    load: Load,
}

impl Queue {
    pub(crate) fn new(order: Order, when_full: WhenFull, workers: usize) -> Self {
        let bounds = match when_full {
            WhenFull::Wait => WAITING,
            WhenFull::Shed => BOUNDS,
        };
        let bounds = match order {
            Order::Arrival => bounds,
            Order::ByKey => Load {
                batches: (bounds.batches / workers.max(1)).max(1),
                records: (bounds.records / workers.max(1)).max(1),
                bytes: (bounds.bytes / workers.max(1)).max(1),
            },
        };
        Self {
            state: Mutex::default(),
            ready: Condvar::new(),
            space: Condvar::new(),
            order,
            when_full,
            workers,
            bounds,
        }
    }

    /// A further lane; returns its number, counted from 0.
    pub(crate) fn add_lane(&self) -> usize {
        let mut state = self.lock();
        state.lanes.push(Lane { next: 0, load: Load::default() });
        state.lanes.len() - 1
    }

    /// `lane` will send no more: nobody needs to wait for it.
    pub(crate) fn end_lane(&self, lane: usize) {
        let mut state = self.lock();
        if let Some(lane) = state.lanes.get_mut(lane) {
            lane.next = u64::MAX;
        }
        self.wake(&state);
    }

    /// Takes a batch of this load, or sheds it: because there is no room and nobody may wait, or because nobody wants
    /// it.
    pub(crate) fn push(&self, lane: usize, batch: Parcel, load: Load) -> Pushed {
        let number = batch.number();
        let mut state = self.lock();
        let is_empty = load.records == 0;
        while !is_empty && !self.has_room(&state, lane, &load) && self.when_full == WhenFull::Wait {
            let left = state.hurried.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                break;
            }
            state.lanes_waiting += 1;
            state = match left {
                None => self.space.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => self.space.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
            state.lanes_waiting -= 1;
        }
        if state.closed || state.ended {
            return Pushed::Shed;
        }
        let is_queued = !is_empty && self.has_room(&state, lane, &load);
        if let Some(lane) = state.lanes.get_mut(lane) {
            lane.next = number.saturating_add(1);
        }
        if is_queued {
            state.count(lane, |sum| {
                sum.batches += load.batches;
                sum.records += load.records;
                sum.bytes += load.bytes;
            });
            let entry = (lane, load, batch);
            match self.order {
                Order::Arrival => state.arrived.push_back(entry),
                Order::ByKey => state.numbered.entry(number).or_default().push(entry),
            }
        }
        self.wake(&state);
        if is_queued || is_empty { Pushed::Queued } else { Pushed::Shed }
    }

    #[cfg(test)]
    pub(crate) fn next(&self, wait: bool) -> Next {
        self.next_before(wait, None)
    }

    /// What is to be done next. With `wait`, waits until there is something, but not beyond `deadline`; otherwise
    /// `Idle` says that there is nothing.
    pub(crate) fn next_before(&self, wait: bool, deadline: Option<Instant>) -> Next {
        let mut state = self.lock();
        loop {
            if state.reopen {
                state.reopen = false;
                return Next::Reopen;
            }
            if self.is_ready(&state) {
                let entries = match self.order {
                    Order::Arrival => state.arrived.pop_front().into_iter().collect(),
                    Order::ByKey => state.numbered.pop_first().map_or_else(Vec::new, |(_, entries)| entries),
                };
                for (lane, load, _) in &entries {
                    state.count(*lane, |sum| {
                        sum.batches -= load.batches;
                        sum.records -= load.records;
                        sum.bytes -= load.bytes;
                    });
                }
                if state.lanes_waiting > 0 {
                    self.space.notify_all();
                }
                return Next::Write(entries.into_iter().map(|(.., batch)| batch).collect());
            }
            if state.ended {
                return Next::End;
            }
            if !wait {
                return Next::Idle;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Next::Idle;
            }
            state.is_waiting = true;
            state = match left {
                None => self.ready.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => self.ready.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
            state.is_waiting = false;
        }
    }

    /// Asks the output's thread to open its file again.
    pub(crate) fn reopen(&self) {
        self.lock().reopen = true;
        self.ready.notify_all();
    }

    /// The run is to end: lanes wait a little longer for an output that gets on, and then shed what finds no room.
    pub(crate) fn hurry(&self) {
        self.lock().hurried.get_or_insert_with(|| Instant::now() + LAST_WAIT);
        self.space.notify_all();
    }

    /// Whether the run has time for a reader that is slower than it is.
    pub(crate) fn is_patient(&self) -> bool {
        self.when_full == WhenFull::Wait && self.lock().hurried.is_none()
    }

    /// Nothing more will come: what is queued is handed out, then the end.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.ready.notify_all();
        self.space.notify_all();
    }

    /// Nobody takes anything any more: returns how many records were left in the queue. Later ones are shed.
    pub(crate) fn close(&self) -> u64 {
        let mut state = self.lock();
        state.closed = true;
        let left = state.load.records as u64;
        state.arrived.clear();
        state.numbered.clear();
        state.load = Load::default();
        state.lanes.iter_mut().for_each(|lane| lane.load = Load::default());
        self.space.notify_all();
        left
    }

    fn is_ready(&self, state: &State) -> bool {
        match self.order {
            Order::Arrival => !state.arrived.is_empty(),
            Order::ByKey => state.numbered.first_key_value().is_some_and(|(number, _)| {
                let all_are_here = state.lanes.len() >= self.workers;
                state.ended || (all_are_here && state.lanes.iter().all(|lane| lane.next > *number))
            }),
        }
    }

    /// Whether there is nothing to wait for: there is room, or nobody takes anything any more.
    fn has_room(&self, state: &State, lane: usize, more: &Load) -> bool {
        let load = match self.order {
            Order::Arrival => state.load,
            Order::ByKey => state.lanes.get(lane).map_or(Load::default(), |lane| lane.load),
        };
        let fits = load.batches < self.bounds.batches
            && load.records + more.records <= self.bounds.records
            && load.bytes + more.bytes <= self.bounds.bytes;
        // One batch always fits, however large.
        fits || load.batches == 0 || state.closed || state.ended
    }

    /// Wakes the output's thread if it waits and there is something for it.
    fn wake(&self, state: &State) {
        if state.is_waiting && self.is_ready(state) {
            self.ready.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way; a panic of a thread that holds the lock leaves the state as it should be.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count(&mut self, lane: usize, change: impl Fn(&mut Load)) {
        change(&mut self.load);
        if let Some(lane) = self.lanes.get_mut(lane) {
            change(&mut lane.load);
        }
    }
}

/// What may be queued. A hundred thousand requests a second fill the records in two thirds of a second; with heads of
/// 1 KB they are 64 MB, and bodies besides as long as there is room. Batches are that many so that those with a single
/// exchange, as on an idle host, do not run out first.
const BOUNDS: Load = Load { batches: 1024, records: 65_536, bytes: 256 << 20 };

/// What an output that is being read needs at most for the little that workers wait with. Nobody who has asked for
/// the end of a run minds.
const LAST_WAIT: Duration = Duration::from_millis(500);

/// The same where workers wait: there is nothing to bridge, and what waits for long has left the processor's cache.
const WAITING: Load = Load { batches: 32, records: 1_024, bytes: 32 << 20 };

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::{EventKinds, sample};

    fn queue(order: Order, when_full: WhenFull, workers: usize, batches: usize, records: usize) -> Queue {
        Queue {
            bounds: Load { batches, records, bytes: usize::MAX },
            ..Queue::new(order, when_full, workers)
        }
    }

    fn batch(number: u64, count: usize) -> Parcel {
        Parcel::Events(Arc::new(sample::batch(0, number, count)))
    }

    fn push(queue: &Queue, lane: usize, batch: Parcel) -> Pushed {
        let load = batch.load(EventKinds::EXCHANGES);
        queue.push(lane, batch, load)
    }

    /// The numbers of the batches of everything that can be taken now.
    fn taken(queue: &Queue) -> Vec<Vec<u64>> {
        let mut taken = Vec::new();
        while let Next::Write(batches) = queue.next(false) {
            taken.push(batches.iter().map(Parcel::number).collect());
        }
        taken
    }

    #[test]
    fn both_bounds_hold() {
        let queue = queue(Order::Arrival, WhenFull::Shed, 1, 2, 10);
        let lane = queue.add_lane();
        let push = |count| push(&queue, lane, batch(0, count));
        // More than ever fits, but nothing else is there.
        assert_eq!(push(11), Pushed::Queued);
        assert_eq!(push(1), Pushed::Shed);
        assert_eq!(push(0), Pushed::Queued);
        assert_eq!(taken(&queue).len(), 1);
        assert_eq!(
            (push(4), push(7), push(6), push(1)),
            (Pushed::Queued, Pushed::Shed, Pushed::Queued, Pushed::Shed)
        );
        assert_eq!(taken(&queue).len(), 2);
        assert_eq!((push(1), push(1), push(1)), (Pushed::Queued, Pushed::Queued, Pushed::Shed));
        assert_eq!(queue.close(), 2);
        assert_eq!(push(1), Pushed::Shed);
    }

    /// A few large bodies fill the queue as many small records do.
    #[test]
    fn bytes_are_bounded() {
        let large = |bytes: usize| {
            let mut batch = sample::batch(0, 0, 1);
            let Some(crate::Event::Exchange(exchange)) = batch.events.first_mut() else { unreachable!() };
            exchange.response.as_mut().unwrap().body = vec![b'x'; bytes].into();
            Parcel::Events(Arc::new(batch))
        };
        let bounds = Load { batches: 9, records: 9, bytes: 1_000 };
        let queue = Queue { bounds, ..queue(Order::Arrival, WhenFull::Shed, 1, 9, 9) };
        let lane = queue.add_lane();
        assert_eq!(push(&queue, lane, large(2_000)), Pushed::Queued, "one always fits");
        assert_eq!(push(&queue, lane, large(1)), Pushed::Shed);
        assert_eq!(taken(&queue).len(), 1);
        assert_eq!(
            [600, 600, 200].map(|bytes| push(&queue, lane, large(bytes))),
            [Pushed::Queued, Pushed::Shed, Pushed::Queued]
        );
        assert_eq!(taken(&queue).len(), 2);
        assert_eq!(push(&queue, lane, large(900)), Pushed::Queued, "all room has come back");
    }

    #[test]
    fn a_number_waits_for_all_lanes() {
        let queue = queue(Order::ByKey, WhenFull::Wait, 2, 10, 100);
        let first = queue.add_lane();
        push(&queue, first, batch(0, 1));
        assert!(taken(&queue).is_empty(), "the second lane is not there yet");
        let second = queue.add_lane();
        assert!(taken(&queue).is_empty());
        push(&queue, second, batch(0, 0));
        push(&queue, second, batch(1, 1));
        push(&queue, second, batch(2, 1));
        assert_eq!(taken(&queue), [[0]]);
        push(&queue, first, batch(1, 1));
        assert_eq!(taken(&queue), [[1, 1]]);
        queue.end_lane(first);
        assert_eq!(taken(&queue), [[2]]);
    }

    #[test]
    fn a_shed_batch_still_moves_its_lane_on() {
        let queue = queue(Order::ByKey, WhenFull::Shed, 2, 1, 10);
        let lanes = [queue.add_lane(), queue.add_lane()];
        assert_eq!(push(&queue, lanes[0], batch(0, 1)), Pushed::Queued);
        assert_eq!(push(&queue, lanes[0], batch(1, 1)), Pushed::Shed);
        push(&queue, lanes[1], batch(0, 0));
        push(&queue, lanes[1], batch(1, 1));
        assert_eq!(taken(&queue), [[0], [1]]);
    }

    #[test]
    fn a_hurried_queue_sheds_what_would_have_waited() {
        let queue = queue(Order::Arrival, WhenFull::Wait, 1, 1, 10);
        let lane = queue.add_lane();
        assert_eq!(push(&queue, lane, batch(0, 1)), Pushed::Queued);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| push(&queue, lane, batch(1, 1)));
            std::thread::sleep(Duration::from_millis(20));
            assert!(!waiting.is_finished() && queue.is_patient());
            queue.hurry();
            // Whoever writes finds the time for the rest.
            assert!(matches!(queue.next(false), Next::Write(batches) if batches[0].number() == 0));
            assert_eq!(waiting.join().unwrap(), Pushed::Queued);
        });
        assert!(!queue.is_patient());
        assert_eq!(push(&queue, lane, batch(2, 1)), Pushed::Shed);
        assert_eq!(taken(&queue), [[1]]);
        assert_eq!(push(&queue, lane, batch(3, 1)), Pushed::Queued, "there is room again");
    }

    proptest! {
        /// Lanes that wait, of any speed, with bounds so narrow that all of them wait most of the time: everything
        /// arrives, in the order of numbers, and nobody waits for ever.
        #[test]
        fn waiting_lanes_get_on(
            counts in proptest::collection::vec(proptest::collection::vec(0..5_usize, 30), 1..4),
            batches in 1..4_usize, exchanges in 1..6_usize, pauses in proptest::collection::vec(0..3_u64, 30),
        ) {
            let queue = queue(Order::ByKey, WhenFull::Wait, counts.len(), batches, exchanges);
            let lanes: Vec<_> = counts.iter().map(|_| queue.add_lane()).collect();
            let total: usize = counts.iter().flatten().sum();
            let (mut last, mut arrived) = (0, 0);
            std::thread::scope(|scope| {
                for (lane, counts) in lanes.iter().zip(&counts) {
                    let (queue, pauses) = (&queue, &pauses);
                    scope.spawn(move || {
                        for (number, count) in counts.iter().enumerate() {
                            std::thread::sleep(Duration::from_micros(pauses[(number + lane) % pauses.len()] * 10));
                            assert_eq!(push(queue, *lane, batch(number as u64, *count)), Pushed::Queued);
                        }
                        queue.end_lane(*lane);
                    });
                }
                while arrived < total {
                    let Next::Write(batches) = queue.next(true) else { panic!("nothing else was asked for") };
                    for batch in batches {
                        assert!(batch.number() >= last, "{} after {last}", batch.number());
                        last = batch.number();
                        arrived += batch.load(EventKinds::EXCHANGES).records;
                    }
                }
            });
            prop_assert_eq!(arrived, total);
        }
    }
}
