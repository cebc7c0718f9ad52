//! FIFOs among the outputs: a run begins when each of them has its reader, as tcpdump's does.
//!
//! To open a FIFO for writing the plain way sleeps in the kernel until somebody reads from it, and no signal that is
//! only noted ends that sleep. So the FIFOs are tried without sleeping, beside the control of the run, before the
//! outputs are opened.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use gannet_recorder::Destination;
use gannet_sink::Target;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::analysis::Aim;
use crate::control::{Command, Control, Event, LOOK_AROUND};
use crate::ledger::Report;

/// FIFOs that have readers. While this is there, opening them for writing does not wait, even if a reader has gone
/// meanwhile.
pub(crate) struct Held {
    _ends: Vec<File>,
}

/// Waits until every FIFO that the run will write to has a reader; `None` if the run is to end instead. `report` is
/// what there is to tell meanwhile.
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
        // What cannot be opened is told of by whoever opens the outputs.
        ends.extend(await_reader(path, control, events, report)?);
        // Linux opens a FIFO for both ways at once, and as long as it is open for reading nobody waits who opens it
        // for writing.
        ends.extend(open(path, OpenOptions::new().read(true).write(true)));
    }
    Some(Held { _ends: ends })
}

/// Opens a FIFO for writing as soon as somebody reads from it; `None` if the run is to end instead. Writing does not
/// wait: see [`write_all`]. `events` is told of the wait, and of `report` when that is asked for meanwhile.
pub fn await_reader(
    fifo: &Path,
    control: &Control,
    events: &dyn Fn(Event),
    report: &dyn Fn() -> Report,
) -> Option<io::Result<File>> {
    let mut told = false;
    loop {
        match open(fifo, OpenOptions::new().write(true)) {
            // "No process has the FIFO open for reading" (fifo(7)).
            Err(error) if error.raw_os_error() == Some(Errno::ENXIO as i32) => {}
            opened => return Some(opened),
        }
        if !std::mem::replace(&mut told, true) {
            events(Event::AwaitingReader(fifo.to_owned()));
        }
        if let Some(Command::Report) = control.wait(LOOK_AROUND) {
            events(Event::Report(Box::new(report())));
        }
        if control.stopping() {
            return None;
        }
    }
}

/// Writes all of `bytes` to a file, or to a FIFO that was opened by [`await_reader`]. A reader that reads nothing is
/// waited for until the run is to end, and then for [`MAX_END`] more.
pub fn write_all(mut file: &File, mut bytes: &[u8], control: &Control) -> io::Result<()> {
    let mut ending_since = None;
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                ending_since = None;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if control.stopping() && ending_since.get_or_insert_with(Instant::now).elapsed() > MAX_END {
                    let text = format!("nobody read it within {} s of the end", MAX_END.as_secs());
                    return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                }
                let room = PollFd::new(file.as_fd(), PollFlags::POLLOUT);
                // What is wrong shows when it is written to.
                let _ = poll(&mut [room], PollTimeout::try_from(LOOK_AROUND).unwrap_or(PollTimeout::MAX));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether a path leads to a FIFO, or to a pipe by its name in `/dev/fd`.
pub fn is_fifo(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|facts| facts.file_type().is_fifo())
}

fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.custom_flags(OFlag::O_NONBLOCK.bits()).open(path)
}

/// What a reader that reads nothing gets when the run is to end.
pub const MAX_END: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// A pipe as [`await_reader`] opens it, and its other end.
    fn pipe() -> (File, File) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let reader = open(&path, OpenOptions::new().read(true)).unwrap();
        let none = || Report::default();
        let writer = await_reader(&path, &Control::new().unwrap(), &|_| (), &none).unwrap().unwrap();
        (writer, reader)
    }

    const MORE_THAN_FITS: usize = 1 << 20;

    #[test]
    fn a_reader_that_is_slow_gets_everything() {
        let (writer, mut reader) = pipe();
        let control = Control::new().unwrap();
        // Whoever was ended by a signal still writes what there is for somebody who reads.
        control.stop();
        let bytes: Vec<_> = (0..MORE_THAN_FITS).map(|at| (at / 251) as u8).collect();
        std::thread::scope(|scope| {
            let written = scope.spawn(|| {
                let result = write_all(&writer, &bytes, &control);
                drop(writer);
                result
            });
            let (mut read, mut buffer) = (Vec::new(), vec![0; 100_000]);
            while read.len() < bytes.len() {
                std::thread::sleep(Duration::from_millis(20));
                match reader.read(&mut buffer) {
                    Ok(count) => read.extend_from_slice(&buffer[..count]),
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
            }
            written.join().unwrap().unwrap();
            assert!(read == bytes);
        });
    }

    #[test]
    fn a_reader_that_reads_nothing_does_not_keep_a_run_that_is_to_end() {
        let (writer, reader) = pipe();
        let control = Control::new().unwrap();
        control.stop();
        let error = write_all(&writer, &vec![0; MORE_THAN_FITS], &control).unwrap_err();
        assert_eq!(error.to_string(), "nobody read it within 2 s of the end");
        drop(reader);
        let error = write_all(&writer, b"x", &control).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
