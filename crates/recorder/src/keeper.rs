//! The helper thread of a recording: everything about files that may take time.
//!
//! It keeps each series' next file ready, the disk's promise of room ahead of the workers, covers extents whose
//! write failed, rotates by the clock, and closes files: statistics at the end, size, sync, final name. Workers
//! never wait for it but for room.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::Receiver;
use gannet_packet::Timestamp;
use gannet_pcap::{StreamReader, ng};

use crate::compact::Encoding;
use crate::error::Error;
use crate::file::{CaptureFile, InterfaceKey, lock, now};
use crate::output::{FileSummary, Notice, Shared};
use crate::repair;
use crate::series::FileSeries;

/// Runs until `stop` is set and every file is closed.
pub(crate) fn run(shared: &Arc<Shared>, nudges: &Receiver<()>, stop: &AtomicBool) {
    let mut keeper = Keeper { shared, next_rotation: shared.rotation_deadline(now()), retry_at: None };
    while !stop.load(Ordering::Acquire) {
        keeper.turn();
        let _ = nudges.recv_timeout(keeper.pause());
    }
    keeper.close_all();
}

struct Keeper<'a> {
    shared: &'a Arc<Shared>,
    next_rotation: Option<Timestamp>,
    /// When to ask a full disk again.
    retry_at: Option<Instant>,
}

impl Keeper<'_> {
    fn turn(&mut self) {
        if self.next_rotation.is_some_and(|due| now() >= due) {
            self.shared.rotate();
            self.next_rotation = self.shared.rotation_deadline(now());
        }
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            self.close_released();
            return;
        }
        self.retry_at = None;
        for series in self.shared.file_series() {
            let result = make_room(&series);
            let full = matches!(&result, Err(error) if is_full(error));
            if let Err(error) = &result
                && !full
            {
                self.shared.notify_once(Notice::Trouble(format!("preparing the output: {error}")));
            }
            if series.is_rotation_wanted() {
                series.want_rotation(!self.shared.rotate_series(&series, series.generation()));
            }
            // Room that the current file still has is used up first.
            let starved = result.is_err() && series.current().0.room_ahead() < STARVED;
            if series.set_disk_full(starved) != starved {
                let path = series.current().0.path().to_owned();
                self.shared.notify(if starved { Notice::DiskFull(path) } else { Notice::DiskHasRoom(path) });
            }
            if result.is_err() {
                self.retry_at = Some(Instant::now() + FULL_DISK_RETRY);
            }
            if !series.current().0.mend() {
                self.retry_at = Some(Instant::now() + FULL_DISK_RETRY);
            }
        }
        self.close_released();
    }

    fn pause(&self) -> Duration {
        let until_rotation = self
            .next_rotation
            .map(|due| Duration::from_nanos(due.0.saturating_sub(now().0)).max(Duration::from_millis(1)));
        TICK.min(until_rotation.unwrap_or(TICK))
    }

    /// Closes the retired files that no worker holds any more.
    fn close_released(&self) {
        for series in self.shared.file_series() {
            for file in series.take_retired() {
                if Arc::strong_count(&file) == 1 {
                    close(self.shared, &file);
                } else {
                    series.put_back_retired(file);
                }
            }
        }
    }

    /// The end of the run: the workers are gone, so every file is free.
    fn close_all(&self) {
        for series in self.shared.file_series() {
            for file in series.take_retired() {
                close(self.shared, &file);
            }
            close(self.shared, &series.current().0);
            if let Some(unused) = series.take_ready() {
                let _ = std::fs::remove_file(unused.path());
            }
        }
    }
}

/// Prepares the next file and extends the promise of the current one, in smaller steps on a disk that is nearly full.
fn make_room(series: &FileSeries) -> io::Result<()> {
    let (current, _) = series.current();
    // Only speed: without it the file grows as it did.
    let _ = current.run_ahead();
    // A file that grows fast gets large steps, one that hardly grows does not hold space it never needs.
    let ahead = current.len().clamp(LEAST_AHEAD, MOST_AHEAD);
    let mut result = Ok(());
    if current.wants_room(ahead) {
        let mut step = ahead;
        loop {
            result = current.allocate(step);
            match &result {
                Err(error) if is_full(error) && step > SMALLEST_STEP => step /= 2,
                _ => break,
            }
        }
    }
    // The next file is made after the current one has its room.
    result.and_then(|()| series.prepare())
}

fn close(shared: &Shared, file: &CaptureFile) {
    let tail = statistics(shared, file);
    let cut = file.finish(&tail).unwrap_or_else(|error| {
        shared.notify(Notice::Trouble(format!("closing {}: {error}", file.path().display())));
        // A file that has not got its name is no output; what else failed is in the accounts.
        if !file.final_path().exists() {
            lock(&shared.failure).get_or_insert(Error::Write { path: file.path().to_owned(), source: error });
        }
        file.had_faults()
    });
    file.unlock();
    let mut path = if file.final_path().exists() { file.final_path() } else { file.path() }.to_owned();
    let written = file.written();
    let mut found = written;
    if cut || matches!(file.encoding(), Encoding::Pcap(_)) && file.had_faults() {
        // A classic file may have been cut inside a record.
        match repair::repair(&path) {
            Ok(report) => path = report.renamed.unwrap_or(path),
            Err(error) => shared.notify(Notice::Trouble(error.to_string())),
        }
        found = count(&path);
    }
    let summary = FileSummary {
        path: file.final_path().to_owned(),
        packets: found.0,
        bytes: std::fs::metadata(&path).map_or(file.len(), |facts| facts.len()),
        lost_packets: written.0.saturating_sub(found.0),
        lost_bytes: written.1.saturating_sub(found.1),
    };
    lock(&shared.closed).push((file.opened(), summary));
}

/// The packets that can be read of a file, and their captured bytes.
fn count(path: &Path) -> (u64, u64) {
    let mut sum = (0, 0);
    let reader = File::open(path).ok().and_then(|file| StreamReader::new(file).ok());
    let Some(mut reader) = reader else { return sum };
    while let Ok(Some(packet)) = reader.next_packet() {
        sum.0 += 1;
        sum.1 += packet.frame.data.len() as u64;
    }
    sum
}

/// The Interface Statistics Blocks that end a file.
fn statistics(shared: &Shared, file: &CaptureFile) -> Vec<u8> {
    let mut tail = Vec::new();
    if file.encoding() != Encoding::Pcapng {
        return tail;
    }
    if file.interfaces().is_empty() {
        // Readers refuse a file without any interface, even if it has no packet.
        let nobody = InterfaceKey { source: u32::MAX, ifindex: 0 };
        if let Err(error) = file.interface(nobody, || shared.placeholder_interface()) {
            shared.notify(Notice::Trouble(format!("describing {}: {error}", file.path().display())));
        }
    }
    let end = now();
    for (number, interface) in file.interfaces().into_iter().enumerate() {
        let delivered = interface.packets.load(Ordering::Relaxed);
        let kernel = shared.kernel_counts_since_last(interface.key);
        let statistics = ng::Statistics {
            start: Some(file.opened()),
            end: Some(end),
            received: kernel.map(|counts| counts.received),
            dropped: kernel.map(|counts| counts.dropped),
            delivered: Some(delivered),
            ..ng::Statistics::default()
        };
        ng::interface_statistics(&mut tail, number as u32, end, &statistics);
    }
    tail
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// Between two looks when nothing is going on; workers nudge when they run short of room.
const TICK: Duration = Duration::from_millis(50);

/// A full disk is asked again this often.
const FULL_DISK_RETRY: Duration = Duration::from_millis(200);

/// The promise is kept at least this far ahead: 60 ms of a 10 Gbit/s link.
const LEAST_AHEAD: u64 = 64 << 20;

/// And at most this far, lest a crash leave much allocated for nothing.
const MOST_AHEAD: u64 = 1 << 30;

/// The smallest step worth asking for: one ring block.
const SMALLEST_STEP: u64 = 1 << 20;

/// With less room than this left, and none to be had, packets are shed.
const STARVED: u64 = 2 << 20;
