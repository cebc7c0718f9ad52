//! From a [`RecordConfig`] to the plans of the recorder: what live captures and conversions have in common.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use gannet_packet::LinkType;
use gannet_pcap::classic::Precision;
use gannet_recorder::{
    Destination, Encoding, FileSummary, MOST_WRITES, Notice, Output, OutputPlan, Tally, WriterPlan,
    file_stamp,
};

use crate::config::{self, CaptureConfig, Format, RecordConfig, WriterMode};
use crate::control::Event;
use crate::error::Error;
use crate::ledger::{Account, Counters, FileReport, Ledger};

/// What the output path is. `source` names the input in file names: an interface, or "file".
pub(crate) fn destination(config: &RecordConfig, source: &str) -> Result<Destination, Error> {
    let stem = format!("gannet-{source}");
    Ok(match &config.output {
        config::Output::Stdout => Destination::Stdout,
        config::Output::Path(path) => Destination::of_path(path, &stem)?,
        config::Output::Automatic => {
            let name = format!("{stem}-{}.{}", file_stamp(), config.format.extension());
            Destination::File(PathBuf::from(name))
        }
    })
}

/// The plan of the output, whose main file has packets of `link_type`. `source` is as in [`destination`].
pub(crate) fn output_plan(
    config: &RecordConfig,
    capture: &CaptureConfig,
    destination: Destination,
    link_type: LinkType,
    source: &str,
) -> Result<OutputPlan, Error> {
    let rotate = config.rotate.unwrap_or_default();
    if config.rotate.is_some() && destination.is_one_stream() {
        return Err(Error::Usage("--rotate needs a directory: end the path of -w with /".to_owned()));
    }
    Ok(OutputPlan {
        destination,
        encoding: match config.format {
            Format::Pcapng => Encoding::Pcapng,
            Format::PcapMicros => Encoding::Pcap(Precision::Micro),
            Format::PcapNanos => Encoding::Pcap(Precision::Nano),
        },
        link_type: if config.cooked { LinkType::SLL2 } else { link_type },
        snaplen: capture.snaplen.get(),
        interface_name: source.to_owned(),
        rotate_bytes: rotate.bytes.map(|bytes| bytes.get()),
        rotate_period: rotate.period,
        align: rotate.align,
    })
}

/// The plan of worker `worker` of `workers`. Beside an analysis packets are copied out of the ring: the kernel fills
/// its blocks in order, so one that waits for a slow disk would stop it, and records would be lost with packets.
pub(crate) fn writer_plan(
    config: &RecordConfig,
    capture: &CaptureConfig,
    worker: usize,
    workers: usize,
    analysing: bool,
) -> WriterPlan {
    WriterPlan {
        worker: worker as u32,
        shared: workers > 1,
        always_copy: config.writer == WriterMode::Copy || analysing,
        never_copy: config.writer == WriterMode::ZeroCopy && !analysing,
        cooked: config.cooked,
        snaplen: capture.snaplen.get() as usize,
        flush_each_block: config.flush_per_packet,
        block_bytes: capture.block_bytes.get() as usize,
        most_writes: if analysing { WRITES_BESIDE_ANALYSIS } else { MOST_WRITES },
    }
}

/// Buffers of 1 MiB that may wait for the disk beside an analysis, which waits for nothing: 0.1 s of a saturated 10
/// Gbit/s link. They are allocated when they are needed.
const WRITES_BESIDE_ANALYSIS: usize = 128;

/// True if files will be created later in a directory that the bare user could not write to. `several`: frames of
/// several link types may come, so that a single file may get a sibling.
pub(crate) fn needs_override(destination: &Destination, several: bool) -> bool {
    let directory = match destination {
        Destination::Directory { path, .. } => path.as_path(),
        Destination::File(path) if several => {
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
        }
        _ => return false,
    };
    let user = nix::unistd::geteuid().as_raw();
    !std::fs::metadata(directory).is_ok_and(|facts| facts.uid() == user && facts.mode() & 0o300 == 0o300)
}

/// Adds what a writer has done since `before` to the accounts, and remembers it there.
pub(crate) fn book(counters: &Counters, before: &mut Tally, now: Tally) {
    let add = |account, before: (u64, u64), now: (u64, u64)| {
        if now != before {
            counters.account(account, now.0 - before.0, now.1 - before.1);
        }
    };
    add(Account::Written, before.written, now.written);
    add(Account::DiskShed, before.shed, now.shed);
    add(Account::OtherLinkType, before.other_link_type, now.other_link_type);
    counters.cut_by_snaplen(now.truncated - before.truncated);
    *before = now;
}

/// Ends the output and takes what it lost late out of the account of the written. A reader of a pipe that has gone is
/// a normal end; any other failure is in the ledger afterwards.
pub(crate) fn finish_output(output: Output, ledger: &mut Ledger, events: &dyn Fn(Event)) -> Vec<FileReport> {
    let notices = output.notices().clone();
    let written = ledger.total.accounts[Account::Written];
    let (files, lost, failure) = output.finish((written.packets, written.bytes));
    for notice in notices.try_iter() {
        events(event_of(notice));
    }
    move_to_shed(ledger, lost);
    ledger.failure = failure.map(|error| error.to_string());
    files.into_iter().map(file_report).collect()
}

fn move_to_shed(ledger: &mut Ledger, (packets, bytes): (u64, u64)) {
    let written = &mut ledger.total.accounts[Account::Written];
    let (packets, bytes) = (packets.min(written.packets), bytes.min(written.bytes));
    written.packets -= packets;
    written.bytes -= bytes;
    let shed = &mut ledger.total.accounts[Account::DiskShed];
    shed.packets += packets;
    shed.bytes += bytes;
}

fn file_report(file: FileSummary) -> FileReport {
    FileReport { path: file.path, packets: file.packets, bytes: file.bytes }
}

/// What the recorder has to say, as an event.
pub(crate) fn event_of(notice: Notice) -> Event {
    match notice {
        Notice::Begun { path, link_type } => Event::FileBegun { path, link_type },
        Notice::DiskFull(path) => Event::Warning(format!(
            "no room on disk for {}: packets are shed until there is (they are counted)",
            path.display()
        )),
        Notice::DiskHasRoom(path) => {
            Event::Warning(format!("there is room on disk again: recording to {} goes on", path.display()))
        }
        Notice::WriteFailed(text) => {
            Event::Warning(format!("{text}: its packets are shed, the file stays readable"))
        }
        Notice::Trouble(text) => Event::Warning(text),
    }
}
