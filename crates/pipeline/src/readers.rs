//! FIFOs among the outputs: a run begins when each of them has its reader, as tcpdump's does.
//!
//! To open a FIFO for writing the plain way sleeps in the kernel until somebody reads from it, and no signal that is only
//! noted ends that sleep. So the FIFOs are tried without sleeping, beside the control of the run, before the outputs are opened.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use gannet_recorder::Destination;
use gannet_sink::Target;
use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::analysis::Aim;
use crate::control::{Command, Control, Event, LOOK_AROUND};
use crate::ledger::Report;

/// FIFOs that have readers. While this is there, opening them for writing does not wait, even if a reader has gone meanwhile.
pub(crate) struct Held {
    _ends: Vec<File>,
}

/// Waits until every FIFO that the run will write to has a reader; `None` if the run is to end instead. `report` is what there
/// is to tell meanwhile.
pub(crate) fn await_readers(
    aim: Option<Aim<'_>>,
    destination: Option<&Destination>,
    control: &Control,
    events: &dyn Fn(Event),
    report: &dyn Fn() -> Report,
) -> Option<Held> {
    let sinks = match aim {
        Some(Aim::Http(config)) => config.sinks.as_slice(),
        Some(Aim::Flows(config)) => config.sinks.as_slice(),
        None => &[],
    };
    let records = sinks.iter().filter_map(|sink| match &sink.target {
        Target::File(path) => Some(path.as_path()),
        Target::Stdout => None,
    });
    let packets = destination.and_then(|destination| match destination {
        Destination::Special(path) => Some(path.as_path()),
        Destination::File(_) | Destination::Directory { .. } | Destination::Stdout => None,
    });
    let mut ends = Vec::new();
    for path in records.chain(packets).filter(|path| is_fifo(path)) {
        let mut told = false;
        let writing = loop {
            match open(path, OpenOptions::new().write(true)) {
                // "No process has the FIFO open for reading" (fifo(7)).
                Err(error) if error.raw_os_error() == Some(Errno::ENXIO as i32) => {}
                opened => break opened,
            }
            if !std::mem::replace(&mut told, true) {
                events(Event::AwaitingReader(path.to_owned()));
            }
            if let Some(Command::Report) = control.wait(LOOK_AROUND) {
                events(Event::Report(Box::new(report())));
            }
            if control.stopping() {
                return None;
            }
        };
        // Linux opens a FIFO for both ways at once, and as long as it is open for reading nobody waits who opens it for writing.
        // What cannot be opened is told of by whoever opens the outputs.
        ends.extend(writing);
        ends.extend(open(path, OpenOptions::new().read(true).write(true)));
    }
    Some(Held { _ends: ends })
}

fn is_fifo(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|facts| facts.file_type().is_fifo())
}

fn open(path: &Path, options: &mut OpenOptions) -> std::io::Result<File> {
    options.custom_flags(OFlag::O_NONBLOCK.bits()).open(path)
}
