//! The loss ledger: every packet has an account, and the accounts add up.
//!
//! ```text
//!   received ──┬── dropped        the kernel had no room in the ring
//!              └── processed ──┬── written
//!                              ├── disk shed       the output did not take it
//!                              ├── after limit     beyond -c
//!                              ├── other link type the output could not hold it
//!                              └── malformed       could not be read out of its block or file
//! ```
//!
//! *Received* are the packets that passed the kernel filter, drops included (the sense of `PACKET_STATISTICS`), or
//! the packets of the files read. Every account is kept in packets and, from *processed* on, in bytes: captured
//! bytes, that is after cutting to the snapshot length and with a VLAN tag that was put back.
//!
//! A run that analyses packets has a second set of accounts for the same packets ([`Analysed`]): *processed* is the
//! sum of either. Streams, messages and outputs of records have identities of their own, which are checked with these.
//!
//! Each thread that accounts owns a page of [`Counters`] that nobody else writes; a [`Ledger`] is their sum at one
//! moment together with the kernel's counters. While a run goes on its accounts lag behind (packets wait in rings
//! and at the disk); when it has ended [`Ledger::check`] finds every identity that does not hold.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam::utils::CachePadded;
use gannet_packet::Audit;
pub use gannet_packet::Violation;
use gannet_sink::SinkReport;
use serde::Serialize;

use crate::control::ByteSize;

mod analysis;
mod exchanges;
mod report;

pub use analysis::{Analysed, AnalysisLedger};
pub use report::{CpuTime, FileReport, HttpReport, Report};

/// The final account of a processed packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Account {
    /// In the output: the write that holds it has completed.
    Written,
    /// Not in the output, because it was full, failed, or was too slow for a run that must not wait.
    DiskShed,
    /// Beyond the number of packets asked for with `-c`.
    AfterLimit,
    /// Of a link type that the output cannot hold and that has no file of its own to go to (a stream).
    OtherLinkType,
    /// Could not be read: a frame header in the ring or a record in a file points outside of its block.
    Malformed,
}

impl Account {
    /// Every account, in the order of the report.
    pub const ALL: [Self; 5] =
        [Self::Written, Self::DiskShed, Self::AfterLimit, Self::OtherLinkType, Self::Malformed];

    /// The key in the JSON report.
    pub fn key(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::DiskShed => "disk_shed",
            Self::AfterLimit => "after_limit",
            Self::OtherLinkType => "other_link_type",
            Self::Malformed => "malformed",
        }
    }

    /// The words of the text report, after a number of packets.
    pub fn words(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::DiskShed => "not written, refused by the output",
            Self::AfterLimit => "not written, beyond the count given with -c",
            Self::OtherLinkType => "not written, the output cannot hold the link type",
            Self::Malformed => "not written, unreadable",
        }
    }

    /// Whether a packet in this account is lost in the sense of `--strict`: wanted, and not in the output.
    pub fn is_loss(self) -> bool {
        match self {
            Self::Written | Self::AfterLimit => false,
            Self::DiskShed | Self::OtherLinkType | Self::Malformed => true,
        }
    }
}

/// One thread's counters. Only that thread calls the methods that take part in counting; anybody may read.
///
/// A page starts on a cache line of its own, so that a reader every second is all the sharing there is.
#[derive(Debug, Default)]
pub struct Counters(CachePadded<Page>);

#[derive(Debug, Default)]
struct Page {
    processed: Pair,
    accounts: [Pair; Account::ALL.len()],
    cut_by_snaplen: AtomicU64,
    blocks: AtomicU64,
    blocks_copied: AtomicU64,
    /// Copied in by the owner a few times a second; `None` in a run that analyses nothing.
    analysis: Mutex<Option<Box<AnalysisLedger>>>,
}

impl Counters {
    /// All zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds packets taken out of a ring or a file. Their final account follows when it is known.
    #[inline]
    pub fn processed(&self, packets: u64, bytes: u64) {
        self.0.processed.add(packets, bytes);
    }

    /// Adds packets to their final account.
    #[inline]
    pub fn account(&self, account: Account, packets: u64, bytes: u64) {
        self.0.accounts[account as usize].add(packets, bytes);
    }

    /// Adds packets of which only the first `snaplen` bytes are kept. Information: they have an account besides.
    #[inline]
    pub fn cut_by_snaplen(&self, packets: u64) {
        add(&self.0.cut_by_snaplen, packets);
    }

    /// Adds one ring block; `copied` says that its packets were copied out instead of written in place.
    #[inline]
    pub fn block(&self, copied: bool) {
        add(&self.0.blocks, 1);
        add(&self.0.blocks_copied, u64::from(copied));
    }

    /// Shows what the owner's analysis has done so far.
    pub fn publish(&self, analysis: &AnalysisLedger) {
        let mut page = self.analysis();
        match &mut *page {
            Some(seen) => seen.as_mut().clone_from(analysis),
            None => *page = Some(Box::new(analysis.clone())),
        }
    }

    /// A ledger is a sum of plain numbers, whole before and after every statement.
    fn analysis(&self) -> MutexGuard<'_, Option<Box<AnalysisLedger>>> {
        self.0.analysis.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sums so far. Not one moment for all of them while the owner counts on.
    pub fn snapshot(&self) -> WorkerLedger {
        // Accounts before `processed`: a packet is processed first, so that this order cannot show an account
        // that its packets have not reached yet.
        let analysis = self.analysis().as_deref().cloned();
        let accounts = Accounts(Account::ALL.map(|account| self.0.accounts[account as usize].load()));
        let page = &self.0;
        WorkerLedger {
            accounts,
            analysis,
            processed: page.processed.load(),
            cut_by_snaplen: page.cut_by_snaplen.load(Ordering::Relaxed),
            blocks: page.blocks.load(Ordering::Relaxed),
            blocks_copied: page.blocks_copied.load(Ordering::Relaxed),
        }
    }
}

/// Two counters that move together.
#[derive(Debug, Default)]
struct Pair {
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl Pair {
    #[inline]
    fn add(&self, packets: u64, bytes: u64) {
        add(&self.bytes, bytes);
        // Release and Acquire on the packets keep the order that `Counters::snapshot` relies on; on x86-64 both
        // are plain moves.
        let sum = self.packets.load(Ordering::Relaxed).wrapping_add(packets);
        self.packets.store(sum, Ordering::Release);
    }

    fn load(&self) -> Amount {
        let packets = self.packets.load(Ordering::Acquire);
        Amount { packets, bytes: self.bytes.load(Ordering::Relaxed) }
    }
}

/// A load and a store instead of a locked addition: there is one writer.
#[inline]
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

/// A number of packets and their captured bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// Packets.
    pub packets: u64,
    /// Captured bytes of those packets.
    pub bytes: u64,
}

impl std::ops::AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

/// What is in each final account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accounts([Amount; Account::ALL.len()]);

impl Accounts {
    /// The sum over all accounts.
    pub fn sum(&self) -> Amount {
        let mut sum = Amount::default();
        for amount in self.0 {
            sum += amount;
        }
        sum
    }

    /// The accounts that are not empty, in the order of the report.
    pub fn used(&self) -> impl Iterator<Item = (Account, Amount)> {
        Account::ALL.into_iter().zip(self.0).filter(|(_, amount)| amount.packets != 0)
    }
}

impl std::ops::Index<Account> for Accounts {
    type Output = Amount;

    fn index(&self, account: Account) -> &Amount {
        &self.0[account as usize]
    }
}

impl std::ops::IndexMut<Account> for Accounts {
    fn index_mut(&mut self, account: Account) -> &mut Amount {
        &mut self.0[account as usize]
    }
}

/// One thread's part of the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerLedger {
    /// Packets taken out of the ring or file.
    pub processed: Amount,
    /// Where they ended.
    pub accounts: Accounts,
    /// Packets of which only a part was kept, because of the snapshot length.
    pub cut_by_snaplen: u64,
    /// Ring blocks taken.
    pub blocks: u64,
    /// Those of them whose packets were copied out instead of written in place.
    pub blocks_copied: u64,
    /// What its analysis did; `None` in a run that analyses nothing.
    pub analysis: Option<AnalysisLedger>,
}

/// One interface's part of the ledger; `any` is one interface here, because the kernel counts it as one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InterfaceLedger {
    /// Its name in the user's words.
    pub name: String,
    /// Packets that passed the kernel filter, those dropped included, over all workers.
    pub received: u64,
    /// Packets that the kernel dropped because the ring was full.
    pub dropped: u64,
    /// How often a ring became full (`tp_freeze_q_cnt`): episodes, not packets.
    pub freezes: u64,
    /// What the device and its driver counted during the run. Shown beside the sum and never in it; `None` for
    /// `any` and where the device does not tell.
    pub device: Option<DeviceLedger>,
}

/// What a network device counted during the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeviceLedger {
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Packets that the device missed or the driver had no buffer for; they never reached the kernel's network code.
    pub rx_missed: u64,
    /// Received packets that the driver or the kernel dropped before any capture point.
    pub rx_dropped: u64,
    /// Overruns of the device's FIFO.
    pub rx_fifo_errors: u64,
}

impl DeviceLedger {
    /// Packets that were on the wire and were lost before the capture point could see them.
    pub fn lost(&self) -> u64 {
        self.rx_missed + self.rx_dropped + self.rx_fifo_errors
    }
}

/// The whole ledger at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Packets are recorded: [`Account`]s sum up to what was processed.
    pub recording: bool,
    /// What the outputs of records did.
    pub sinks: Vec<SinkReport>,
    /// Packets that passed the filter, dropped ones included.
    pub received: u64,
    /// Those of them that the kernel dropped.
    pub dropped: u64,
    /// The sum over all workers.
    pub total: WorkerLedger,
    /// Packets that a filter (`-Q`, `--type`) kept out: exact for files, unknown (`None`) live, where the kernel
    /// does not count them.
    pub filtered: Option<u64>,
    /// Live interfaces, in the order given.
    pub interfaces: Vec<InterfaceLedger>,
    /// Each worker.
    pub workers: Vec<WorkerLedger>,
    /// Why the output ended before the run did, or is not whole; the exit status tells it. `None` for a reader that
    /// closed its pipe, which is a normal end, and for a recording that shed for a while and went on.
    pub failure: Option<String>,
}

impl Ledger {
    /// The ledger of a live capture: the kernel's counters by interface, and the workers' pages.
    pub fn live<'a>(
        interfaces: Vec<InterfaceLedger>,
        workers: impl IntoIterator<Item = &'a Counters>,
    ) -> Self {
        let mut ledger = Self::of_workers(workers);
        ledger.received = interfaces.iter().map(|interface| interface.received).sum();
        ledger.dropped = interfaces.iter().map(|interface| interface.dropped).sum();
        ledger.interfaces = interfaces;
        ledger
    }

    /// The ledger of a run over files: `read` packets were in them, of which a filter kept out `filtered`.
    pub fn files<'a>(read: u64, filtered: u64, workers: impl IntoIterator<Item = &'a Counters>) -> Self {
        let mut ledger = Self::of_workers(workers);
        ledger.received = read.saturating_sub(filtered);
        ledger.filtered = Some(filtered);
        ledger
    }

    /// Adds what was done in front of all workers: where files are shared out, fragments are put together there.
    pub(crate) fn add_dispatch(&mut self, processed: Amount, analysis: &AnalysisLedger) {
        self.total.processed += processed;
        *self.total.analysis.get_or_insert_default() += analysis;
    }

    fn of_workers<'a>(pages: impl IntoIterator<Item = &'a Counters>) -> Self {
        let workers: Vec<_> = pages.into_iter().map(Counters::snapshot).collect();
        let mut total = WorkerLedger::default();
        for worker in &workers {
            if let Some(analysis) = &worker.analysis {
                *total.analysis.get_or_insert_default() += analysis;
            }
            total.processed += worker.processed;
            for account in Account::ALL {
                total.accounts[account] += worker.accounts[account];
            }
            total.cut_by_snaplen += worker.cut_by_snaplen;
            total.blocks += worker.blocks;
            total.blocks_copied += worker.blocks_copied;
        }
        Self { recording: true, total, workers, ..Self::default() }
    }

    /// The identities that do not hold. Empty for every run that has ended, or the program has a defect.
    pub fn check(&self) -> Vec<Violation> {
        let mut audit = Audit::default();
        let accounts = self.total.accounts.sum();
        audit.hold(
            "packets received = dropped + processed",
            self.received,
            self.dropped.wrapping_add(self.total.processed.packets),
        );
        let processed = self.total.processed;
        if self.recording {
            audit.hold("packets processed = sum of accounts", processed.packets, accounts.packets);
            audit.hold("bytes processed = sum of accounts", processed.bytes, accounts.bytes);
        }
        if let Some(analysis) = &self.total.analysis {
            let sum = analysis.sum();
            audit.hold("packets processed = sum of analysed", processed.packets, sum.packets);
            audit.hold("bytes processed = sum of analysed", processed.bytes, sum.bytes);
            analysis.audit(&mut audit);
            for sink in &self.sinks {
                let events = sink.events.iter().map(|kind| analysis.events(kind)).sum();
                audit.hold("events of its kinds = records made", events, sink.made);
                audit.hold("records made = written + shed", sink.made, sink.written + sink.shed);
            }
        }
        audit.violations()
    }

    /// Packets that were wanted and are not in the output: kernel drops and the accounts that mean loss. With
    /// `--strict`, more than none of them makes the exit status 4.
    pub fn lost(&self) -> u64 {
        let shed = Account::ALL.into_iter().filter(|account| self.recording && account.is_loss());
        let shed: u64 = shed.map(|account| self.total.accounts[account].packets).sum();
        let analysis = self.total.analysis.as_ref();
        let unread = analysis.filter(|_| !self.recording);
        let unread = unread.map_or(0, |analysis| analysis.account(Analysed::Unreadable).packets);
        // Recorded all the same, if there is a recording, but missing in the records.
        let full = analysis.map_or(0, |analysis| {
            let full = Analysed::MailboxFull;
            analysis.account(full).packets + analysis.datagrams(full).packets
        });
        self.dropped + shed + unread + full
    }

    /// Records that were made and that an output did not take. With `--strict`, more than none of them makes the exit
    /// status 4, unless the output's reader has gone, which is a normal end.
    pub fn records_lost(&self) -> u64 {
        self.sinks.iter().filter(|sink| !sink.closed).map(|sink| sink.shed).sum()
    }

    /// The live line of `--stats`.
    pub fn one_line(&self) -> String {
        let mut line = format!(
            "{} packets received, {} dropped, {} processed",
            self.received, self.dropped, self.total.processed.packets
        );
        if self.recording {
            let written = self.total.accounts[Account::Written];
            line.push_str(&format!(", {} written ({})", written.packets, ByteSize(written.bytes)));
        }
        if let Some(analysis) = &self.total.analysis {
            match analysis.flow_ends() {
                Some(ends) => {
                    let open = analysis.open_flows + analysis.open_conversations;
                    line.push_str(&format!(", {open} flows, {ends} ended"));
                }
                None => {
                    let exchanges = analysis.http.exchanges;
                    line.push_str(&format!(", {} flows, {exchanges} exchanges", analysis.open_flows));
                }
            }
        }
        let shed = self.lost() - self.dropped;
        if shed != 0 {
            line.push_str(&format!(", {shed} shed"));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn interface(received: u64, dropped: u64) -> InterfaceLedger {
        InterfaceLedger { name: "eth0".into(), received, dropped, freezes: 2, device: None }
    }

    /// Two workers that processed 7 packets, all of them accounted for.
    pub(super) fn pages() -> [Counters; 2] {
        let pages = [Counters::new(), Counters::new()];
        pages[0].processed(5, 500);
        pages[0].account(Account::Written, 4, 440);
        pages[0].account(Account::AfterLimit, 1, 60);
        pages[1].processed(2, 128);
        pages[1].account(Account::Written, 1, 64);
        pages[1].account(Account::DiskShed, 1, 64);
        pages
    }

    #[test]
    fn workers_are_summed_and_the_identities_hold() {
        let ledger = Ledger::live(vec![interface(8, 0), interface(2, 3)], &pages());
        assert_eq!(ledger.total.processed, Amount { packets: 7, bytes: 628 });
        assert_eq!(ledger.total.accounts[Account::Written], Amount { packets: 5, bytes: 504 });
        assert_eq!((ledger.received, ledger.dropped), (10, 3));
        assert_eq!(ledger.check(), []);
        assert_eq!(ledger.lost(), 4);
    }

    #[test]
    fn each_identity_is_checked() {
        let identity = |ledger: &Ledger| ledger.check().iter().map(|v| v.identity).collect::<Vec<_>>();
        let whole = Ledger::live(vec![interface(10, 3)], &pages());
        assert_eq!(identity(&whole), [""; 0]);

        let mut ledger = whole.clone();
        ledger.received += 1;
        assert_eq!(identity(&ledger), ["packets received = dropped + processed"]);
        let mut ledger = whole.clone();
        ledger.total.accounts[Account::Malformed].packets += 1;
        assert_eq!(identity(&ledger), ["packets processed = sum of accounts"]);
        assert_eq!(
            ledger.check()[0].to_string(),
            "packets processed = sum of accounts does not hold: 7 is not 8"
        );
        let mut ledger = whole;
        ledger.total.accounts[Account::Written].bytes -= 1;
        assert_eq!(identity(&ledger), ["bytes processed = sum of accounts"]);
    }

    #[test]
    fn files_count_what_the_filter_kept_out() {
        let ledger = Ledger::files(9, 2, &pages());
        assert_eq!((ledger.received, ledger.dropped, ledger.filtered), (7, 0, Some(2)));
        assert_eq!(ledger.check(), []);
    }

    #[test]
    fn every_account_has_its_own_place_and_words() {
        for (index, account) in Account::ALL.into_iter().enumerate() {
            assert_eq!(account as usize, index);
            let page = Counters::new();
            page.processed(3, 30);
            page.account(account, 3, 30);
            let ledger = Ledger::live(vec![interface(3, 0)], [&page]);
            assert_eq!(ledger.check(), []);
            assert_eq!(ledger.total.accounts.used().collect::<Vec<_>>().len(), 1);
            let text = Report { ledger, ..Report::default() }.to_string();
            assert!(text.contains(&format!("\n  3 packets {}", account.words())), "{text}");
        }
    }

    #[test]
    fn the_line_of_statistics() {
        let ledger = Ledger::live(vec![interface(10, 3)], &pages());
        assert_eq!(
            ledger.one_line(),
            "10 packets received, 3 dropped, 7 processed, 5 written (504 bytes), 1 shed"
        );
    }

    #[test]
    fn a_reader_never_sees_an_account_ahead_of_processed() {
        let page = Counters::new();
        const ROUNDS: u64 = 200_000;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    page.processed(1, 10);
                    page.account(Account::Written, 1, 10);
                }
            });
            loop {
                let seen = page.snapshot();
                assert!(seen.accounts.sum().packets <= seen.processed.packets);
                if seen.processed.packets == ROUNDS {
                    break;
                }
            }
        });
        assert_eq!(
            page.snapshot().accounts[Account::Written],
            Amount { packets: ROUNDS, bytes: 10 * ROUNDS }
        );
    }
}
