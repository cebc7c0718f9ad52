//! A worker: one pinned thread that takes blocks from its rings, has them analysed, and gives them to its writer.
//!
//! ```text
//!   ┌─► blocks: take, analyse, record ── disk: finished writes ── commands ── housekeeping ── nothing done? wait ─┐
//!   └────────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Nothing is shared with other workers but the counters that each writes alone, the number of packets left of `-c`,
//! and the output's files. After a stop the kernel filter is closed, what the rings hold is recorded, and the
//! kernel's counters are read a last time: everything received is then either dropped by the kernel or processed.

use std::num::NonZeroU32;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender};
use gannet_filter::Program;
use gannet_recorder::{Recorded, SourceView, Tally, Writer};
use gannet_ring::Block;
use gannet_ring::prelude::Prelude;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::analysis::Analysis;
use crate::config::Direction;
use crate::control::Event;
use crate::error::Error;
use crate::filter::too_long;
use crate::layer::Findings;
use crate::ledger::{Account, Counters};
use crate::plan::book;
use crate::source::{DRAIN_MARGIN, Source};

/// What all workers of a run share.
#[derive(Debug)]
pub(crate) struct Common {
    /// The capture is to end.
    pub(crate) stop: AtomicBool,
    /// Packets that may still be recorded; `u64::MAX` without `-c`.
    pub(crate) left: AtomicU64,
    /// One page for each worker, which alone writes it.
    pub(crate) counters: Vec<Counters>,
}

/// What a worker is told while it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    Snaplen(NonZeroU32),
    Direction(Direction),
}

/// What a worker has to say.
#[derive(Debug)]
pub(crate) enum News {
    /// Its filter is open, or could not be opened.
    Open(Result<(), Error>),
    Event(Event),
    /// It has stopped taking packets, because `-c` is reached.
    Enough,
}

pub(crate) struct Worker {
    pub(crate) number: usize,
    pub(crate) sources: Vec<Source>,
    /// `None` in a run that records nothing.
    pub(crate) writer: Option<Writer>,
    /// `None` in a run that analyses nothing.
    pub(crate) analysis: Option<Analysis>,
    pub(crate) prelude: Prelude,
    /// What is asked about packets that the prelude lets through; `None` takes them all.
    pub(crate) filter: Option<Arc<Program>>,
    /// Both as they were attached last: what goes onto the ring of an interface that returns.
    pub(crate) program: Program,
    pub(crate) common: Arc<Common>,
    pub(crate) orders: Receiver<Order>,
    pub(crate) news: Sender<News>,
    pub(crate) block_timeout: Duration,
}

/// The state of a running worker that is not its equipment.
struct Progress {
    booked: Tally,
    next_housekeeping: Instant,
    /// When an analysis without packets is told the time next.
    next_tick: Instant,
    /// Set once the capture is to end: how long the blocks that the kernel has open may take.
    drain_until: Option<Instant>,
}

impl Worker {
    /// Captures until the run is to end. The rings have been joined to their groups; the filters are opened here.
    /// Returns what its analysis found.
    pub(crate) fn run(mut self) -> Option<Findings> {
        let opened = self.set_filter();
        let failed = opened.is_err();
        self.tell(News::Open(opened));
        let now = Instant::now();
        let mut progress = Progress {
            booked: Tally::default(),
            next_housekeeping: now,
            next_tick: now,
            drain_until: failed.then_some(now),
        };
        while !self.turn(&mut progress) {}
        self.read_statistics();
        if let Some(analysis) = &mut self.analysis {
            wait_for_mail(analysis);
        }
        let counters = &self.common.counters[self.number];
        if let Some(writer) = self.writer {
            book(counters, &mut progress.booked, writer.finish());
        }
        self.analysis.map(|analysis| analysis.finish(None, counters))
    }

    /// One turn of the loop. True when the capture has ended and the rings are empty.
    fn turn(&mut self, progress: &mut Progress) -> bool {
        let looked = Instant::now();
        let blocks = self.take_blocks();
        if let Some(writer) = &mut self.writer {
            writer.complete(None);
        }
        while let Ok(order) = self.orders.try_recv() {
            self.obey(order);
        }
        let now = Instant::now();
        if now >= progress.next_housekeeping {
            progress.next_housekeeping = now + HOUSEKEEPING_EVERY;
            self.housekeeping(progress);
        }
        if blocks == 0 && now >= progress.next_tick {
            progress.next_tick = now + TICK_EVERY;
            self.pass_time(Some(looked));
        }
        match progress.drain_until {
            None if self.common.stop.load(Ordering::Relaxed) => {
                // What cannot be closed would go on for ever: the deadline ends it then.
                for source in &self.sources {
                    let _ = source.ring.close_filter();
                }
                progress.drain_until = Some(now + self.block_timeout * 2 + DRAIN_MARGIN);
            }
            Some(_) if blocks == 0 && self.is_drained() => return true,
            Some(until) if blocks == 0 && now >= until => return true,
            _ => {}
        }
        if blocks == 0 {
            self.wait(progress.drain_until.is_some());
        }
        false
    }

    /// Takes what the rings have ready, a bounded number of blocks. Returns how many.
    fn take_blocks(&mut self) -> usize {
        let mut count = 0;
        for index in 0..self.sources.len() {
            for _ in 0..BLOCKS_PER_TURN {
                let Some(block) = self.sources[index].next_block() else { break };
                self.take(index, block);
                count += 1;
                if let Some(analysis) = &mut self.analysis {
                    analysis.take_mail();
                }
            }
        }
        if let Some(analysis) = &mut self.analysis {
            analysis.take_mail();
            analysis.flush();
        }
        count
    }

    /// Analyses a block and records it.
    fn take(&mut self, index: usize, block: Block) {
        let source = &mut self.sources[index];
        let in_block = u64::from(block.descriptor().packets);
        source.taken += in_block;
        let allowed = self.common.claim(in_block);
        let counters = &self.common.counters[self.number];
        let number = source.interface.number;
        let mut done = Recorded::default();
        if let Some(analysis) = &mut self.analysis {
            let name = |ifindex| source.describe(ifindex).name;
            let snaplen = self.prelude.snaplen as usize;
            done = analysis.block(&block, number, &name, snaplen, allowed);
        }
        if let Some(writer) = &mut self.writer {
            let copied = writer.tally().blocks_copied;
            // Records must not vanish with packets that wait for the disk: beside an analysis nothing waits for it.
            let shed = self.analysis.is_some() && writer.would_wait() && {
                // Writes that have finished meanwhile count until they are taken in.
                writer.complete(None);
                writer.would_wait()
            };
            done = if shed {
                writer.shed_block(&block, allowed)
            } else {
                let view = SourceView {
                    source: number,
                    describe: &|ifindex| source.describe(ifindex),
                    lagging: source.ring.has_queued(),
                };
                writer.record(block, view, allowed)
            };
            counters.block(writer.tally().blocks_copied != copied);
        } else {
            drop(block);
            counters.block(false);
        }
        counters.processed(done.packets + done.unreadable + done.beyond.0, done.bytes + done.beyond.1);
        if self.writer.is_some() {
            account(counters, &done);
        }
        if self.common.give_back(allowed - done.packets.min(allowed)) {
            self.tell(News::Enough);
        }
    }

    fn housekeeping(&mut self, progress: &mut Progress) {
        let counters = &self.common.counters[self.number];
        if let Some(writer) = &mut self.writer {
            writer.housekeeping();
            book(counters, &mut progress.booked, writer.tally());
        }
        if let Some(analysis) = &mut self.analysis {
            analysis.publish(counters);
        }
        // Also where packets never cease to come: what waits for a time must not wait for their end.
        self.pass_time(None);
        for index in 0..self.sources.len() {
            if let Some(event) = self.sources[index].look_after(&self.program) {
                self.tell(News::Event(event));
            }
        }
        self.read_statistics();
    }

    /// Tells the analysis the time; `idle` is when the rings were found to be empty, if they were.
    fn pass_time(&mut self, idle: Option<Instant>) {
        let Some(analysis) = &mut self.analysis else { return };
        let stamped_here = self.sources.iter().all(|source| !source.ring.hardware_stamps());
        // A packet waits in its block for the time-out at most. One that another worker found waits once more until
        // what this worker was given before it must have come.
        analysis.pass_time(idle, self.block_timeout + TIMER_MARGIN, self.block_timeout * 2, stamped_here);
        analysis.flush();
    }

    /// Sleeps until there is something to do.
    fn wait(&mut self, draining: bool) {
        if let Some(writer) = &mut self.writer
            && writer.is_busy()
        {
            // While blocks are with the disk, `poll` on the packet socket returns at once: the kernel looks at the
            // block before its current one, and that is ours. So the disk is waited for, briefly, as the next block
            // may come meanwhile.
            writer.complete(Some(WAIT_FOR_DISK));
            return;
        }
        let idle = if self.analysis.is_some() { TICK_EVERY } else { IDLE_POLL };
        let post = self.analysis.as_mut().and_then(Analysis::post);
        let soon = draining || post.as_ref().is_some_and(|post| post.holds_back());
        let timeout = if soon { DRAIN_POLL } else { idle };
        let mut fds: Vec<_> = self
            .sources
            .iter()
            .filter(|source| source.is_up())
            .map(|source| PollFd::new(source.ring.as_fd(), PollFlags::POLLIN))
            .collect();
        let bell = post.as_ref().and_then(|post| post.bell());
        fds.extend(bell.map(|bell| PollFd::new(bell, PollFlags::POLLIN)));
        if fds.is_empty() {
            drop(fds);
            std::thread::sleep(timeout);
            return;
        }
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::ZERO);
        // EINTR is as good as a time-out.
        let failed: Vec<bool> = match poll(&mut fds, timeout) {
            Ok(count) if count > 0 => fds
                .iter()
                .map(|fd| {
                    fd.revents()
                        .is_some_and(|events| events.intersects(PollFlags::POLLERR | PollFlags::POLLHUP))
                })
                .collect(),
            _ => return,
        };
        drop(fds);
        if let Some(post) = post {
            post.hush();
        }
        let up: Vec<usize> = (0..self.sources.len()).filter(|&index| self.sources[index].is_up()).collect();
        for (index, failed) in up.into_iter().zip(failed) {
            if failed && let Some(event) = self.sources[index].on_error() {
                self.tell(News::Event(event));
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Snaplen(snaplen) => {
                self.prelude.snaplen = snaplen.get();
                if let Some(writer) = &mut self.writer {
                    writer.set_snaplen(snaplen.get() as usize);
                }
            }
            Order::Direction(direction) => {
                self.prelude.incoming = direction != Direction::Out;
                self.prelude.outgoing = direction != Direction::In;
            }
        }
        if let Err(error) = self.set_filter() {
            self.tell(News::Event(Event::Warning(error.to_string())));
        }
    }

    /// Attaches prelude and filter as they are now.
    fn set_filter(&mut self) -> Result<(), Error> {
        self.program = match &self.filter {
            None => self.prelude.program(),
            Some(filter) => self.prelude.with_filter(filter).map_err(too_long)?,
        };
        for source in &self.sources {
            source.ring.open_filter(&self.program)?;
        }
        Ok(())
    }

    fn read_statistics(&mut self) {
        for index in 0..self.sources.len() {
            if let Err(error) = self.sources[index].read_statistics() {
                self.tell(News::Event(Event::Warning(error.to_string())));
            }
        }
    }

    /// True if every packet that the kernel says it has put into the rings has been taken out.
    fn is_drained(&mut self) -> bool {
        self.sources.iter_mut().all(Source::is_drained)
    }

    fn tell(&self, news: News) {
        // Nobody listens any more only when the run has been given up.
        let _ = self.news.send(news);
    }
}

/// Goes on with what other workers find, until none of them finds anything any more.
fn wait_for_mail(analysis: &mut Analysis) {
    let Some(post) = analysis.post() else { return };
    post.close();
    loop {
        // Asked first: what was written before it was over is taken then.
        let over = analysis.post().is_none_or(|post| post.is_over());
        let count = analysis.take_mail();
        analysis.flush();
        match (over, count) {
            (true, 0) => return,
            (false, 0) => std::thread::sleep(MAIL_POLL),
            _ => {}
        }
    }
}

/// Books what was not recorded of a block; what was, the writer books itself.
fn account(counters: &Counters, recorded: &Recorded) {
    let (beyond, beyond_bytes) = recorded.beyond;
    if recorded.unreadable > 0 {
        counters.account(Account::Malformed, recorded.unreadable, 0);
    }
    if beyond > 0 {
        counters.account(Account::AfterLimit, beyond, beyond_bytes);
    }
}

impl Common {
    /// Takes up to `wanted` of the packets that may still be recorded.
    fn claim(&self, wanted: u64) -> u64 {
        if self.left.load(Ordering::Relaxed) == u64::MAX {
            return wanted;
        }
        let claimed =
            self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| Some(left - left.min(wanted)));
        claimed.map_or(0, |left| left.min(wanted))
    }

    /// Gives back what was claimed and not used. True if nothing is left.
    fn give_back(&self, unused: u64) -> bool {
        match self.left.load(Ordering::Relaxed) {
            u64::MAX => false,
            _ if unused > 0 => {
                self.left.fetch_add(unused, Ordering::AcqRel);
                false
            }
            left => left == 0,
        }
    }
}

/// Blocks taken from one ring before the next ring, the disk and the commands have their turn.
const BLOCKS_PER_TURN: usize = 16;

/// How often visibility, accounts, interfaces and the kernel's counters are looked at. Those have 32 bits, which
/// 15 million packets/s fill in under 5 minutes; a report wants them younger than that.
const HOUSEKEEPING_EVERY: Duration = Duration::from_millis(100);

/// How often the clock of an analysis goes on while no packets come. With it, the time-out and the margin a request
/// that has to wait too long is told of within 200 ms; a worker that wakes so often and has nothing to do takes a
/// thousandth of a CPU.
const TICK_EVERY: Duration = Duration::from_millis(50);

/// The kernel hands over a block at its time-out, or so much later on a busy machine.
const TIMER_MARGIN: Duration = Duration::from_millis(40);

/// The longest sleep without packets: a stop is noticed after it at the latest.
const IDLE_POLL: Duration = Duration::from_millis(100);

/// The same while the rings are being drained, or other workers' packets wait for them.
const DRAIN_POLL: Duration = Duration::from_millis(10);

/// How often a worker that has nothing else to do any more looks for mail.
const MAIL_POLL: Duration = Duration::from_millis(1);

/// A ring block may become ready while the disk is waited for: short against the time a ring takes to fill.
const WAIT_FOR_DISK: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_exact_over_claims_and_returns() {
        let common = Common { stop: AtomicBool::new(false), left: AtomicU64::new(10), counters: Vec::new() };
        assert_eq!(common.claim(7), 7);
        assert!(!common.give_back(2), "two were not used");
        assert_eq!(common.claim(9), 5);
        assert!(common.give_back(0), "that was all");
        assert_eq!(common.claim(1), 0);
        let unlimited = Common { left: AtomicU64::new(u64::MAX), ..common };
        assert_eq!(unlimited.claim(9), 9);
        assert!(!unlimited.give_back(0));
    }
}
