//! Where a recording goes: what the path is, the series of files behind it, and what has become of them.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use gannet_packet::{LinkType, Timestamp};

use crate::compact::Encoding;
use crate::error::Error;
use crate::file::{InterfaceDescription, InterfaceKey, lock};
use crate::keeper;
use crate::series::{FileSeries, Place, SeriesPlan};
use crate::stream::StreamSeries;

/// What is to be written, and how.
#[derive(Clone, Debug)]
pub struct OutputPlan {
    /// Where.
    pub destination: Destination,
    /// Format.
    pub encoding: Encoding,
    /// The link type of the main file; frames of others go to sibling files.
    pub link_type: LinkType,
    /// Largest captured length.
    pub snaplen: u32,
    /// The name that a file without packets gives its interface.
    pub interface_name: String,
    /// A directory's file is full at this size.
    pub rotate_bytes: Option<u64>,
    /// A directory's file is ended after this time.
    pub rotate_period: Option<Duration>,
    /// Files end on multiples of the period by the wall clock.
    pub align: bool,
}

/// What an output path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A single file.
    File(PathBuf),
    /// A directory of files whose names begin with `stem`.
    Directory {
        /// The directory.
        path: PathBuf,
        /// How names begin.
        stem: String,
    },
    /// Standard output.
    Stdout,
    /// Something that exists and is neither a file nor a directory: opened as it is.
    Special(PathBuf),
}

impl Destination {
    /// Finds out what `path` is. `stem` is how file names begin if it is a directory.
    pub fn of_path(path: &Path, stem: &str) -> Result<Self, Error> {
        let ends_in_slash = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        match std::fs::metadata(path) {
            Ok(facts) if facts.is_dir() => Ok(Self::Directory { path: path.into(), stem: stem.into() }),
            Ok(facts) if facts.is_file() => Ok(Self::File(path.into())),
            Ok(facts) if facts.file_type().is_socket() => Err(Error::Socket { path: path.into() }),
            Ok(_) => Ok(Self::Special(path.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !ends_in_slash => {
                Ok(Self::File(path.into()))
            }
            Err(source) => Err(Error::Directory { path: path.into(), source }),
        }
    }

    /// True if all packets go to one file or stream.
    pub fn is_one_stream(&self) -> bool {
        !matches!(self, Self::Directory { .. })
    }
}

/// Cumulated kernel counters of one interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelCounts {
    /// Packets that passed the filter, dropped ones included.
    pub received: u64,
    /// Of those, dropped.
    pub dropped: u64,
}

/// Tells the kernel's counters of an interface; `None` where it does not count by interface (`any`).
pub type CountsSource = dyn Fn(InterfaceKey) -> Option<KernelCounts> + Send + Sync;

/// Something that the run's user should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A file was begun after the first one.
    Begun {
        /// The name it has while it is written.
        path: PathBuf,
        /// Set if it is there for frames of a further link type.
        link_type: Option<LinkType>,
    },
    /// No room: packets are shed until there is.
    DiskFull(PathBuf),
    /// There is room again.
    DiskHasRoom(PathBuf),
    /// A write failed; the packets in it are shed.
    WriteFailed(String),
    /// Anything else that went wrong and was dealt with.
    Trouble(String),
}

/// A finished file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSummary {
    /// Its name.
    pub path: PathBuf,
    /// Packets in it.
    pub packets: u64,
    /// Its size.
    pub bytes: u64,
    /// Packets that had been counted as written and were cut off, because the device failed.
    pub lost_packets: u64,
    /// Their captured bytes.
    pub lost_bytes: u64,
}

/// An open output. Workers write to it through a [`crate::Writer`] each.
pub struct Output {
    pub(crate) shared: Arc<Shared>,
    notices: Receiver<Notice>,
    nudges: Receiver<()>,
    stop_keeper: Arc<AtomicBool>,
    keeper: Option<JoinHandle<()>>,
}

/// What writers and the keeper share.
pub(crate) struct Shared {
    pub(crate) plan: OutputPlan,
    series: Mutex<BTreeMap<LinkType, Series>>,
    counts: Box<CountsSource>,
    /// Kernel counters at the end of the last file that has statistics of an interface.
    last_counts: Mutex<BTreeMap<InterfaceKey, KernelCounts>>,
    /// With the time at which each was begun.
    pub(crate) closed: Mutex<Vec<(Timestamp, FileSummary)>>,
    /// Why the output as a whole has failed, if it has: the first reason.
    pub(crate) failure: Mutex<Option<Error>>,
    notices: Sender<Notice>,
    noticed: Mutex<Vec<Notice>>,
    nudge: Sender<()>,
}

/// Packets of one link type go here.
#[derive(Clone)]
pub(crate) enum Series {
    Files(Arc<FileSeries>),
    Stream(Arc<StreamSeries>),
}

impl Output {
    /// Opens the output: creates the first file, or opens the pipe (which waits for a reader, as every tool does).
    pub fn open(plan: OutputPlan, counts: Box<CountsSource>) -> Result<Self, Error> {
        let main = open_series(&plan)?;
        let (notices, inbox) = unbounded();
        let (nudge, nudges) = bounded(1);
        let link_type = plan.link_type;
        let shared = Arc::new(Shared {
            plan,
            series: Mutex::new(BTreeMap::from([(link_type, main)])),
            counts,
            last_counts: Mutex::default(),
            closed: Mutex::default(),
            failure: Mutex::default(),
            notices,
            noticed: Mutex::default(),
            nudge,
        });
        Ok(Self { shared, notices: inbox, nudges, stop_keeper: Arc::default(), keeper: None })
    }

    /// Starts the helper threads. They inherit the privileges that the calling thread has now, so a run that gives
    /// up privileges does so between [`Output::open`] and this.
    pub fn start(&mut self) -> Result<(), Error> {
        for series in lock(&self.shared.series).values() {
            if let Series::Stream(stream) = series {
                stream.start().map_err(Error::Thread)?;
            }
        }
        let (shared, nudges) = (Arc::clone(&self.shared), self.nudges.clone());
        let stop = Arc::clone(&self.stop_keeper);
        let keeper = std::thread::Builder::new()
            .name("keeper".to_owned())
            .spawn(move || keeper::run(&shared, &nudges, &stop))
            .map_err(Error::Thread)?;
        self.keeper = Some(keeper);
        Ok(())
    }

    /// What the user calls the output: a path, or "standard output".
    pub fn name(&self) -> String {
        match &self.shared.plan.destination {
            Destination::File(path) | Destination::Special(path) | Destination::Directory { path, .. } => {
                path.display().to_string()
            }
            Destination::Stdout => STDOUT.to_owned(),
        }
    }

    /// Things to tell the user, oldest first.
    pub fn notices(&self) -> &Receiver<Notice> {
        &self.notices
    }

    /// Begins the next file of a directory now. A single file is begun anew if its name was taken away (`mv`,
    /// logrotate); a stream goes on.
    pub fn rotate(&self) {
        self.shared.rotate();
    }

    /// Tells that the run is to end: from now on the reader of a pipe is waited for only a moment longer.
    pub fn hurry(&self) {
        for series in lock(&self.shared.series).values() {
            if let Series::Stream(stream) = series {
                stream.hurry();
            }
        }
    }

    /// Lets a stream's thread write what it has been given, and waits for it. All writers must have been finished.
    pub fn drain(&self) {
        for series in lock(&self.shared.series).values() {
            if let Series::Stream(stream) = series {
                stream.drain();
            }
        }
    }

    /// Closes a pipe whose reader has gone by what `has_gone` says of it. Writing would find that out with the next
    /// packet only.
    pub fn look_for_reader(&self, has_gone: impl Fn(&File) -> bool) {
        for series in lock(&self.shared.series).values() {
            if let Series::Stream(stream) = series {
                stream.look_for_reader(&has_gone);
            }
        }
    }

    /// True once the reader of a pipe has gone: there is nobody to write for.
    pub fn is_closed(&self) -> bool {
        lock(&self.shared.series)
            .values()
            .any(|series| matches!(series, Series::Stream(stream) if stream.is_closed()))
    }

    /// Ends every file. All writers must have been finished.
    ///
    /// Returns what was written, and how many packets and captured bytes that a writer had counted as written were
    /// not, because a device failed late or a pipe was closed with packets in it.
    pub fn finish(mut self, counted_as_written: (u64, u64)) -> (Vec<FileSummary>, (u64, u64), Option<Error>) {
        self.close_files();
        let mut files = std::mem::take(&mut *lock(&self.shared.closed));
        files.sort_by_key(|(begun, _)| *begun);
        let mut files: Vec<_> = files.into_iter().map(|(_, file)| file).collect();
        let mut lost =
            files.iter().fold((0, 0), |sum, file| (sum.0 + file.lost_packets, sum.1 + file.lost_bytes));
        let mut failure = lock(&self.shared.failure).take();
        for series in lock(&self.shared.series).values() {
            let Series::Stream(stream) = series else { continue };
            let bytes = stream.finish().unwrap_or_else(|source| {
                failure = Some(Error::Write { path: stream.name().into(), source });
                0
            });
            let (packets, packet_bytes) = stream.written();
            lost.0 += counted_as_written.0.saturating_sub(packets);
            lost.1 += counted_as_written.1.saturating_sub(packet_bytes);
            files.push(FileSummary {
                path: stream.name().into(),
                packets,
                bytes,
                lost_packets: 0,
                lost_bytes: 0,
            });
        }
        (files, lost, failure)
    }

    /// Lets the keeper close every file, and waits for it.
    fn close_files(&mut self) {
        self.stop_keeper.store(true, Ordering::Release);
        let _ = self.shared.nudge.try_send(());
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

impl Drop for Output {
    /// A run that fails on the way leaves its files closed, too.
    fn drop(&mut self) {
        self.close_files();
    }
}

impl Shared {
    /// The series for frames of `link_type`, made if it is new. `None` for a stream, which holds only one.
    pub(crate) fn series_for(&self, link_type: LinkType) -> Result<Option<Series>, Error> {
        let mut all = lock(&self.series);
        if let Some(series) = all.get(&link_type) {
            return Ok(Some(series.clone()));
        }
        let Some(Series::Files(main)) = all.get(&self.plan.link_type) else { return Ok(None) };
        let plan =
            SeriesPlan { place: main.plan().place.sibling(link_type), link_type, ..main.plan().clone() };
        let (Place::File(path) | Place::Directory { path, .. }) = plan.place.clone();
        let series = Arc::new(FileSeries::open(plan).map_err(|source| create_error(&path, source))?);
        let begun = series.current().0.path().to_owned();
        self.notify(Notice::Begun { path: begun, link_type: Some(link_type) });
        all.insert(link_type, Series::Files(Arc::clone(&series)));
        Ok(Some(Series::Files(series)))
    }

    pub(crate) fn file_series(&self) -> Vec<Arc<FileSeries>> {
        lock(&self.series)
            .values()
            .filter_map(|series| match series {
                Series::Files(files) => Some(Arc::clone(files)),
                Series::Stream(_) => None,
            })
            .collect()
    }

    /// Rotates every series by hand or by the clock.
    pub(crate) fn rotate(&self) {
        for series in self.file_series() {
            match series.reopen() {
                Ok(true) => {
                    let path = series.current().0.path().to_owned();
                    self.notify(Notice::Begun { path, link_type: None });
                }
                Ok(false) => series.want_rotation(!self.rotate_series(&series, series.generation())),
                Err(error) => self.notify(Notice::Trouble(error.to_string())),
            }
        }
    }

    /// Rotates one series if `seen` is still its generation. False if the next file is not ready.
    pub(crate) fn rotate_series(&self, series: &FileSeries, seen: u64) -> bool {
        if !series.rotates() {
            return true;
        }
        let done = series.rotate(seen);
        if done && series.generation() == seen + 1 {
            let path = series.current().0.path().to_owned();
            self.notify_once(Notice::Begun { path, link_type: None });
        }
        self.nudge();
        done
    }

    /// When the clock next ends a file.
    pub(crate) fn rotation_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        let period = self.plan.rotate_period?.as_nanos() as u64;
        if !matches!(self.plan.destination, Destination::Directory { .. }) || period == 0 {
            return None;
        }
        Some(Timestamp(if self.plan.align { (now.0 / period + 1) * period } else { now.0 + period }))
    }

    /// Wakes the keeper.
    pub(crate) fn nudge(&self) {
        let _ = self.nudge.try_send(());
    }

    pub(crate) fn notify(&self, notice: Notice) {
        let _ = self.notices.send(notice);
    }

    /// Like `notify`, but the same notice is not given twice.
    pub(crate) fn notify_once(&self, notice: Notice) {
        let mut noticed = lock(&self.noticed);
        if noticed.contains(&notice) {
            return;
        }
        if noticed.len() >= REMEMBERED_NOTICES {
            noticed.remove(0);
        }
        noticed.push(notice.clone());
        self.notify(notice);
    }

    /// What the kernel has counted of an interface since its last file ended.
    pub(crate) fn kernel_counts_since_last(&self, key: InterfaceKey) -> Option<KernelCounts> {
        let counts = (self.counts)(key)?;
        let mut last = lock(&self.last_counts);
        let before = last.insert(key, counts).unwrap_or_default();
        Some(KernelCounts {
            received: counts.received.saturating_sub(before.received),
            dropped: counts.dropped.saturating_sub(before.dropped),
        })
    }

    /// The interface of a file that has no packet.
    pub(crate) fn placeholder_interface(&self) -> InterfaceDescription {
        InterfaceDescription { name: self.plan.interface_name.clone(), ..InterfaceDescription::default() }
    }
}

fn open_series(plan: &OutputPlan) -> Result<Series, Error> {
    let (place, path, limit) = match &plan.destination {
        Destination::Stdout => {
            let file = io::stdout().as_fd().try_clone_to_owned();
            let file = file.map_err(|source| create_error(Path::new(STDOUT), source))?;
            return open_stream(plan, STDOUT.to_owned(), file.into());
        }
        Destination::Special(path) => {
            let file =
                OpenOptions::new().write(true).open(path).map_err(|source| create_error(path, source))?;
            return open_stream(plan, path.display().to_string(), file);
        }
        Destination::File(path) => (Place::File(path.clone()), path, NO_LIMIT),
        Destination::Directory { path, stem } => {
            let place = Place::Directory { path: path.clone(), stem: stem.clone() };
            (place, path, plan.rotate_bytes.unwrap_or(DEFAULT_ROTATE_BYTES))
        }
    };
    let (link_type, encoding, snaplen) = (plan.link_type, plan.encoding, plan.snaplen);
    FileSeries::open(SeriesPlan { place, link_type, encoding, snaplen, limit })
        .map(|series| Series::Files(Arc::new(series)))
        .map_err(|source| create_error(path, source))
}

fn open_stream(plan: &OutputPlan, name: String, file: File) -> Result<Series, Error> {
    let stream = StreamSeries::new(name, file, plan.link_type, plan.snaplen, plan.encoding);
    Ok(Series::Stream(Arc::new(stream)))
}

fn create_error(path: &Path, source: io::Error) -> Error {
    Error::Create { path: path.to_owned(), source }
}

const STDOUT: &str = "standard output";

/// No file system has files of this size, and sums with it do not overflow.
const NO_LIMIT: u64 = u64::MAX / 2;

/// The size of a directory's files where none is given: small enough to be copied and opened in Wireshark, large
/// enough that a day at 1 Gbit/s is some ten thousand files.
pub const DEFAULT_ROTATE_BYTES: u64 = 1 << 30;

/// How many notices are remembered so as not to repeat them.
const REMEMBERED_NOTICES: usize = 64;
