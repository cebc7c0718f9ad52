//! The threads that read files and analyse them: who does what when.
//!
//! ```text
//!   runner 0   read piece 0 │ walk 0 │ analyse 0 │ read 2 ...          │ walk 2 │ analyse 1, 2
//!   runner 1   read piece 1          │ walk 1 │ analyse 0, 1 │ read 3 ...        │ walk 3 │ analyse 2, 3
//!              any time      in turns            each worker its part of all, in order
//! ```
//!
//! All threads (runners) are alike, and there is no further one that reads. A piece of the file is read into memory
//! by any of them at any time; to walk through it, from record to record and to each packet's worker, it has to be
//! the piece's turn, for only what came before says where its first record begins. What has been walked through is a
//! [`Stretch`], which all workers get. A thread prefers what others wait for: its turn, then its worker's part of
//! stretches, then reading.
//!
//! Files that cannot be read in pieces (pipes, compressed files, several files at once) are read in the turn, too.
//! Where input has a pause, what has been read is handed on; who has the next turn waits for more, and nobody with
//! it.
//!
//! What is under way is bounded. Who has nothing to do sleeps. A worker that waits for an output holds up the others
//! at most once everything is under way that may be; what it waits for does not depend on them before they have taken
//! what it has taken.

use std::collections::VecDeque;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crossbeam::utils::CachePadded;
use gannet_pcap::Piece;
use gannet_sink::Hub;

use super::reading::{Pause, Reached, Reading};
use super::sorter::{Sorter, Sorting};
use super::stretch::Stretch;
use super::worker::FileWorker;
use crate::arrivals::Bell;
use crate::control::Control;
use crate::error::Error;
use crate::files::Pieces;
use crate::layer::Findings;

/// What the threads have in common. What one of them looks at again and again is in no line of the cache with what
/// another one writes.
pub(super) struct Relay<'a> {
    board: CachePadded<Mutex<Board>>,
    /// Goes up with every change of the board that somebody may wait for.
    version: CachePadded<AtomicU64>,
    changed: Condvar,
    /// Locked by whoever's turn it is.
    baton: CachePadded<Mutex<Baton<'a>>>,
    /// `None` where reading is part of the turn.
    pieces: Option<Pieces>,
    /// Rings when nobody needs to wait for input any more.
    bell: Bell,
    control: &'a Control,
    hub: &'a Hub,
    workers: usize,
    /// Turns that may be claimed ahead, by all threads together.
    claims: u64,
    /// Rounds for which to look whether something has come, before going to sleep.
    spins: u32,
}

/// What has to be done in order.
pub(super) struct Baton<'a> {
    pub(super) reading: Reading<'a>,
    pub(super) sorter: Sorter,
    /// Who read the piece that the reader is in.
    runner: usize,
}

/// What is to be done, and who has claimed what.
struct Board {
    /// The turns that somebody has claimed, and the one that it is.
    claimed: u64,
    turn: u64,
    /// For each worker what it has to look at.
    queues: Vec<VecDeque<Arc<Stretch>>>,
    /// Stretches that not all workers have done with.
    under_way: usize,
    /// Nothing more is read.
    ended: bool,
    failure: Option<Error>,
    /// Threads that wait for a change.
    sleeping: usize,
    /// Threads that have not ended.
    running: usize,
    /// Buffers, and who filled them. Whoever looks at a stretch keeps its buffers.
    buffers: Vec<(usize, Arc<Vec<u8>>)>,
    /// Empty stretches of each thread.
    spare: Vec<Vec<Stretch>>,
}

impl Board {
    /// An empty stretch for a thread to fill.
    fn stretch(&mut self, runner: usize) -> Stretch {
        let spare = self.spare.get_mut(runner).and_then(Vec::pop);
        spare.unwrap_or_else(|| Stretch::new(self.queues.len(), runner))
    }
}

/// What a thread is to do.
enum Task {
    /// It is the turn that it has claimed.
    Turn(Stretch),
    Analyse(Arc<Stretch>),
    /// Claim this turn, and read its piece into the buffer.
    Claim(u64, Arc<Vec<u8>>),
    End,
}

/// A turn to come, and its piece of the file if that has been read.
struct Claim {
    turn: u64,
    piece: Option<Piece>,
}

impl<'a> Relay<'a> {
    /// For so many threads, the first of which have a worker each. `alone`: on a single processor.
    pub(super) fn new(
        (reading, sorter): (Reading<'a>, Sorter),
        (pieces, bell): (Option<Pieces>, Bell),
        control: &'a Control,
        hub: &'a Hub,
        (runners, workers): (usize, usize),
        alone: bool,
    ) -> Self {
        let board = Board {
            claimed: 0,
            turn: 0,
            queues: (0..workers).map(|_| VecDeque::new()).collect(),
            under_way: 0,
            ended: false,
            failure: None,
            sleeping: 0,
            running: runners,
            buffers: Vec::new(),
            spare: (0..runners).map(|_| Vec::new()).collect(),
        };
        Self {
            board: CachePadded::new(Mutex::new(board)),
            version: CachePadded::new(AtomicU64::new(0)),
            changed: Condvar::new(),
            baton: CachePadded::new(Mutex::new(Baton { reading, sorter, runner: 0 })),
            claims: if pieces.is_some() { (runners * CLAIMS) as u64 } else { 1 },
            pieces,
            bell,
            control,
            hub,
            workers,
            spins: if alone { 0 } else { SPINS },
        }
    }

    /// The work of a thread, until there is no more. Those without a worker read and walk only.
    pub(super) fn run(&self, runner: usize, mut worker: Option<FileWorker<'_>>) -> Option<Findings> {
        let leaving = Leaving(self);
        let (mut claims, mut done) = (VecDeque::<Claim>::new(), None);
        loop {
            match self.next(runner, &claims, done.take()) {
                Task::Turn(stretch) => self.take_turn(runner, claims.pop_front(), stretch),
                Task::Analyse(stretch) => {
                    if let Some(worker) = &mut worker {
                        stretch.give(runner, worker);
                    }
                    done = Some(stretch);
                }
                Task::Claim(turn, buffer) => {
                    // The first turn is for what was read when the file was opened.
                    let number = turn.checked_sub(1);
                    let pieces = self.pieces.as_ref().zip(number);
                    let piece = pieces.map(|(pieces, number)| pieces.read(number, buffer));
                    claims.push_back(Claim { turn, piece });
                }
                Task::End => break,
            }
        }
        let findings = worker.map(FileWorker::finish);
        drop(leaving);
        findings
    }

    /// True while a thread has not ended.
    pub(super) fn is_running(&self) -> bool {
        self.board().running != 0
    }

    /// Nothing more is read.
    pub(super) fn give_up(&self) {
        let mut board = self.board();
        board.ended = true;
        self.tell(&board);
        self.bell.ring();
    }

    /// Wakes whoever waits for input: the run is to end.
    pub(super) fn ring(&self) {
        self.bell.ring();
    }

    /// What has to be done in order, after whoever's turn it is. Nobody waits in a turn.
    pub(super) fn baton(&self) -> MutexGuard<'_, Baton<'a>> {
        self.baton.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it was all about, when all threads have ended, and what went wrong with reading.
    pub(super) fn finish(self) -> (Reading<'a>, Sorter, Option<Error>) {
        let baton = self.baton.into_inner().into_inner();
        let board = self.board.into_inner().into_inner();
        let Baton { reading, sorter, .. } = baton.unwrap_or_else(PoisonError::into_inner);
        (reading, sorter, board.unwrap_or_else(PoisonError::into_inner).failure)
    }

    /// What the thread is to do next. It has done with the stretch `done`.
    fn next(&self, runner: usize, claims: &VecDeque<Claim>, done: Option<Arc<Stretch>>) -> Task {
        // The last one has it all.
        let spare = done.and_then(Arc::into_inner).map(|mut stretch| {
            stretch.clear();
            stretch
        });
        let mut board = self.board();
        if let Some(stretch) = spare {
            let had_room = self.has_room(&board);
            board.under_way -= 1;
            if let Some(spare) = board.spare.get_mut(stretch.runner) {
                spare.push(stretch);
            }
            if !had_room {
                self.tell(&board);
            }
        }
        loop {
            if let Some(task) = self.task(&mut board, runner, claims) {
                return task;
            }
            let version = self.version.load(Ordering::Relaxed);
            drop(board);
            for _ in 0..self.spins {
                if self.version.load(Ordering::Relaxed) != version {
                    break;
                }
                spin_loop();
            }
            board = self.board();
            if self.version.load(Ordering::Relaxed) == version {
                board.sleeping += 1;
                board = self.changed.wait(board).unwrap_or_else(PoisonError::into_inner);
                board.sleeping -= 1;
            }
        }
    }

    fn task(&self, board: &mut Board, runner: usize, claims: &VecDeque<Claim>) -> Option<Task> {
        if !board.ended && claims.front().is_some_and(|claim| claim.turn == board.turn) {
            return Some(Task::Turn(board.stretch(runner)));
        }
        if let Some(stretch) = board.queues.get_mut(runner).and_then(VecDeque::pop_front) {
            return Some(Task::Analyse(stretch));
        }
        if board.ended {
            return Some(Task::End);
        }
        if claims.len() >= CLAIMS || board.claimed - board.turn >= self.claims || !self.has_room(board) {
            return None;
        }
        board.claimed += 1;
        // The buffers that it filled itself are nearest to it, the one used last of them most of all.
        let free =
            |(filled, buffer): &(usize, Arc<Vec<u8>>)| *filled == runner && Arc::strong_count(buffer) == 1;
        let buffer = board.buffers.iter().rposition(free).map(|at| board.buffers.remove(at).1);
        Some(Task::Claim(board.claimed - 1, buffer.unwrap_or_default()))
    }

    /// Whether more may be under way. What has been claimed is going to be.
    fn has_room(&self, board: &Board) -> bool {
        board.under_way + ((board.claimed - board.turn) as usize) < STRETCHES * self.workers
    }

    /// Walks through a piece, or reads what is next, and hands on what is found. The next turn is another one's.
    fn take_turn(&self, runner: usize, claim: Option<Claim>, mut stretch: Stretch) {
        if self.pieces.is_none() {
            let awaited = self.baton().reading.awaited().cloned();
            if let Some(arrivals) = awaited {
                arrivals.wait(&self.bell);
            }
        }
        let mut baton = self.baton();
        let Baton { reading, sorter, runner: filled } = &mut *baton;
        let mut pause = Pause::AfterSome;
        let mut free = None;
        let reader = reading.merge.only().map(|(reader, _)| reader);
        let piece = claim.and_then(|claim| claim.piece);
        if let (Some(pieces), Some(reader), Some(piece)) = (&self.pieces, reader, piece) {
            let (buffer, taken) = pieces.give(reader, piece);
            free = Some((if taken { std::mem::replace(filled, runner) } else { runner }, buffer));
            if taken {
                pause = Pause::AtOnce;
            }
        }
        stretch.begin_at(reading.selection.read);
        let mut failure = None;
        let ended = loop {
            if self.control.stopping() || self.hub.is_closed() {
                break true;
            }
            match reading.read_on(&mut Sorting { sorter, stretch: &mut stretch }, pause) {
                Ok(Reached::Pause) => break false,
                Ok(Reached::Silence { news }) => {
                    if news {
                        stretch.pause();
                    }
                    break false;
                }
                Ok(Reached::EndOfBatch) => {
                    let end = reading.now();
                    sorter.tick(end);
                    stretch.end_batch(end);
                    if self.pieces.is_none() {
                        break false;
                    }
                    if stretch.packets >= STRETCH_PACKETS {
                        let mut board = self.publish(std::mem::take(&mut stretch));
                        stretch = board.stretch(runner);
                        stretch.begin_at(end.position);
                        self.tell(&board);
                    }
                }
                Ok(Reached::End) => break true,
                Err(error) => {
                    failure = Some(error);
                    break true;
                }
            }
        };
        if ended {
            let end = reading.now();
            sorter.tick(end);
            stretch.end_batch(end);
        }
        drop(baton);
        let mut board = self.publish(stretch);
        board.buffers.extend(free);
        board.turn += 1;
        board.ended |= ended;
        board.failure = board.failure.take().or(failure);
        self.tell(&board);
    }

    /// Gives a stretch to all workers.
    fn publish(&self, stretch: Stretch) -> MutexGuard<'_, Board> {
        let mut board = self.board();
        if !stretch.is_empty() {
            let stretch = Arc::new(stretch);
            board.under_way += 1;
            board.queues.iter_mut().for_each(|queue| queue.push_back(Arc::clone(&stretch)));
        }
        board
    }

    /// Wakes those who wait for a change.
    fn tell(&self, board: &Board) {
        self.version.fetch_add(1, Ordering::Relaxed);
        if board.sleeping != 0 {
            self.changed.notify_all();
        }
    }

    /// Nothing in here panics half-way.
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the others that a thread has ended. If it has panicked, what it was to do nobody does: the run ends.
struct Leaving<'r, 'a>(&'r Relay<'a>);

impl Drop for Leaving<'_, '_> {
    fn drop(&mut self) {
        let mut board = self.0.board();
        board.running -= 1;
        if std::thread::panicking() {
            board.ended = true;
            self.0.bell.ring();
        }
        self.0.tell(&board);
        if board.running == 0 {
            self.0.control.wake();
        }
    }
}

/// Stretches that may be under way for each worker: enough to even out what they cost, little enough to stay in
/// memory that is still in the cache.
const STRETCHES: usize = 6;

/// Turns that a thread may claim ahead, and have read the pieces of.
const CLAIMS: usize = 2;

/// Packets after which a stretch of small ones is handed on.
const STRETCH_PACKETS: usize = 1024;

/// Rounds of about 20 ns. A turn takes some 10 µs, a wake-up as much and more.
const SPINS: u32 = 500;
