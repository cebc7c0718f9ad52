//! Files of one link type, one after the other: which is current, which is ready, which is done.
//!
//! Rotation never happens on the packet path. The [`keeper`](crate::keeper) creates and preallocates the next file
//! ahead of time; [`FileSeries::rotate`] swaps a pointer under a lock and raises the generation; each worker sees
//! the new generation at its next block, finishes what it has open in the old file and lets go of it; the keeper
//! closes a file once nobody else holds it.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use gannet_packet::LinkType;

use crate::compact::Encoding;
use crate::file::{CaptureFile, OpenAs, lock, now};

/// The files of one link type.
#[derive(Debug)]
pub struct FileSeries {
    plan: SeriesPlan,
    current: Mutex<Arc<CaptureFile>>,
    generation: AtomicU64,
    ready: Mutex<Option<Arc<CaptureFile>>>,
    /// Files that nobody appends to any more, on their way to the keeper.
    retired: Mutex<Vec<Arc<CaptureFile>>>,
    number: AtomicU64,
    /// A rotation was asked for when no next file was ready.
    rotation_wanted: AtomicBool,
    /// The disk has no room for what the series wants; set and cleared by the keeper.
    disk_full: AtomicBool,
}

/// What the files of a series have in common.
#[derive(Clone, Debug)]
pub struct SeriesPlan {
    /// Where they go.
    pub place: Place,
    /// What their packets are.
    pub link_type: LinkType,
    /// Format.
    pub encoding: Encoding,
    /// Largest captured length.
    pub snaplen: u32,
    /// Bytes at which a file is full; so large that none is, for a single file.
    pub limit: u64,
}

/// One file, or a directory of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A single file, which grows under its own name.
    File(PathBuf),
    /// Files named by `stem`, the time they were begun and a number. They have their final name only when complete.
    Directory {
        /// The directory.
        path: PathBuf,
        /// How names begin, such as `gannet-eth0`.
        stem: String,
    },
}

impl Place {
    /// The place for frames of a further link type, beside this one: `NAME.raw.pcapng`.
    pub fn sibling(&self, link_type: LinkType) -> Self {
        let word = link_type_word(link_type);
        match self {
            Self::File(path) => {
                let extension = path.extension().unwrap_or_default().to_string_lossy().into_owned();
                Self::File(if extension.is_empty() {
                    path.with_extension(word)
                } else {
                    path.with_extension(format!("{word}.{extension}"))
                })
            }
            Self::Directory { path, stem } => {
                Self::Directory { path: path.clone(), stem: format!("{stem}.{word}") }
            }
        }
    }
}

impl FileSeries {
    /// Creates the first file.
    pub fn open(plan: SeriesPlan) -> io::Result<Self> {
        let first = Arc::new(create(&plan, 1)?);
        Ok(Self {
            plan,
            current: Mutex::new(first),
            generation: AtomicU64::new(0),
            ready: Mutex::default(),
            retired: Mutex::default(),
            number: AtomicU64::new(1),
            rotation_wanted: AtomicBool::new(false),
            disk_full: AtomicBool::new(false),
        })
    }

    /// What the files have in common.
    pub fn plan(&self) -> &SeriesPlan {
        &self.plan
    }

    /// True for a directory, whose files follow one another.
    pub fn rotates(&self) -> bool {
        matches!(self.plan.place, Place::Directory { .. })
    }

    /// Rises with every rotation: a worker compares it at each block.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The file to append to, and its generation.
    pub fn current(&self) -> (Arc<CaptureFile>, u64) {
        let current = lock(&self.current);
        (Arc::clone(&current), self.generation())
    }

    /// Switches to the next file if `seen` is still the generation. False if the next file is not ready.
    pub fn rotate(&self, seen: u64) -> bool {
        let mut current = lock(&self.current);
        if self.generation() != seen {
            return true;
        }
        let Some(next) = lock(&self.ready).take() else { return false };
        let old = std::mem::replace(&mut *current, next);
        self.generation.store(seen + 1, Ordering::Release);
        lock(&self.retired).push(old);
        true
    }

    /// For a single file whose name has been taken away (`mv`, logrotate): begins a new file of that name. True if so.
    pub fn reopen(&self) -> io::Result<bool> {
        let mut current = lock(&self.current);
        if self.rotates() || current.has_its_name() {
            return Ok(false);
        }
        let file = Arc::new(create(&self.plan, 1)?);
        let old = std::mem::replace(&mut *current, file);
        self.generation.fetch_add(1, Ordering::AcqRel);
        lock(&self.retired).push(old);
        Ok(true)
    }

    /// Creates the next file if there is none ready. Only the keeper calls this.
    pub fn prepare(&self) -> io::Result<()> {
        if !self.rotates() || lock(&self.ready).is_some() {
            return Ok(());
        }
        let number = self.number.load(Ordering::Relaxed) + 1;
        let file = create(&self.plan, number).map_err(|error| {
            let (Place::File(path) | Place::Directory { path, .. }) = &self.plan.place;
            io::Error::new(error.kind(), format!("creating the next file in {}: {error}", path.display()))
        })?;
        self.number.store(number, Ordering::Relaxed);
        *lock(&self.ready) = Some(Arc::new(file));
        Ok(())
    }

    /// True if a rotation would find its next file.
    pub fn is_next_ready(&self) -> bool {
        lock(&self.ready).is_some()
    }

    /// Takes the files that are to be closed.
    pub fn take_retired(&self) -> Vec<Arc<CaptureFile>> {
        std::mem::take(&mut lock(&self.retired))
    }

    /// Gives back a file that somebody still holds.
    pub fn put_back_retired(&self, file: Arc<CaptureFile>) {
        lock(&self.retired).push(file);
    }

    /// Takes the prepared file out, to be removed.
    pub fn take_ready(&self) -> Option<Arc<CaptureFile>> {
        lock(&self.ready).take()
    }

    /// Remembers, or forgets, that the next file is to be begun as soon as it is ready.
    pub fn want_rotation(&self, wanted: bool) {
        self.rotation_wanted.store(wanted, Ordering::Release);
    }

    /// See [`FileSeries::want_rotation`].
    pub fn is_rotation_wanted(&self) -> bool {
        self.rotation_wanted.load(Ordering::Acquire)
    }

    /// True while the disk has no room: workers shed instead of waiting.
    #[inline]
    pub fn disk_full(&self) -> bool {
        self.disk_full.load(Ordering::Acquire)
    }

    /// Set by the keeper. Returns what it was.
    pub fn set_disk_full(&self, full: bool) -> bool {
        self.disk_full.swap(full, Ordering::AcqRel)
    }
}

fn create(plan: &SeriesPlan, number: u64) -> io::Result<CaptureFile> {
    let (path, final_path, single) = match &plan.place {
        Place::File(path) => (path.clone(), path.clone(), true),
        Place::Directory { path, stem } => {
            let stamp = file_stamp();
            let extension = match plan.encoding {
                Encoding::Pcapng => "pcapng",
                Encoding::Pcap(_) => "pcap",
            };
            // A run of the same second may have left its files here.
            let mut number = number;
            loop {
                let name = format!("{stem}-{stamp}-{number:0NUMBER_DIGITS$}.{extension}");
                let (unfinished, finished) = (path.join(format!("{name}{UNFINISHED}")), path.join(name));
                if !unfinished.exists() && !finished.exists() {
                    break (unfinished, finished, false);
                }
                number += 1;
            }
        }
    };
    let existed = path.exists();
    let file = CaptureFile::create(&OpenAs {
        path: &path,
        final_path: &final_path,
        link_type: plan.link_type,
        encoding: plan.encoding,
        snaplen: plan.snaplen,
        limit: plan.limit,
        keep_size: single,
        truncate: single,
    });
    if file.is_err() && !existed {
        // What could not be begun is not left behind.
        let _ = std::fs::remove_file(&path);
    }
    file
}

/// What the name of a file in a directory says: `gannet-eth0-20260131T120000Z-000007.pcapng`, also of one that was
/// compressed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeriesName<'a> {
    /// Of all files of a run, and of other runs that record the same.
    pub stem: &'a str,
    /// When it was begun, as text that sorts by time.
    pub stamp: &'a str,
    /// Counted up by each run, but for numbers that another run has taken.
    pub number: u64,
}

impl<'a> SeriesName<'a> {
    /// `None` for any other name.
    pub fn of(name: &'a str) -> Option<Self> {
        let name = [".gz", ".zst"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        let name = [".pcapng", ".pcap"].iter().find_map(|end| name.strip_suffix(end))?;
        let (rest, number) = name.rsplit_once('-')?;
        let (stem, stamp) = rest.rsplit_once('-')?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (date, time) = stamp.strip_suffix('Z')?.split_once('T')?;
        let is_stamp = (date.len(), time.len()) == (8, 6) && digits(date) && digits(time);
        if !is_stamp || number.len() < NUMBER_DIGITS || !digits(number) {
            return None;
        }
        Some(Self { stem, stamp, number: number.parse().ok()? })
    }
}

/// The time of now for a file name: UTC, sortable, no character that a shell minds.
pub fn file_stamp() -> String {
    jiff::Timestamp::from_nanosecond(i128::from(now().0))
        .map_or_else(|_| "00000000T000000Z".to_owned(), |time| time.strftime("%Y%m%dT%H%M%SZ").to_string())
}

/// The short word for a link type in file names.
fn link_type_word(link_type: LinkType) -> String {
    match link_type {
        LinkType::ETHERNET => "ethernet".to_owned(),
        LinkType::RAW => "raw".to_owned(),
        LinkType::SLL2 => "sll2".to_owned(),
        LinkType(number) => format!("link{number}"),
    }
}

/// Digits of a number in a name, at least.
const NUMBER_DIGITS: usize = 6;

/// What is appended to a name until the file is complete.
const UNFINISHED: &str = ".part";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_series() {
        let name = |number| Some(SeriesName { stem: "gannet-a-b", stamp: "20260131T120000Z", number });
        assert_eq!(SeriesName::of("gannet-a-b-20260131T120000Z-000007.pcapng"), name(7));
        assert_eq!(SeriesName::of("gannet-a-b-20260131T120000Z-1000000.pcap.zst"), name(1_000_000));
        for other in [
            "gannet-a-b-20260131T120000Z.pcapng",
            "gannet-a-b-20260131T120000Z-7.pcapng",
            "gannet-a-b-20260131T120000-000007.pcapng",
            "gannet-a-b-20260131T120000Z-000007.txt",
            "gannet-a-b-20260131T120000Z-000007.pcapng.part",
            "eth0-000007.pcap",
            "",
        ] {
            assert_eq!(SeriesName::of(other), None, "{other}");
        }
    }

    #[test]
    fn sibling_names() {
        let file = Place::File("/x/day.pcapng".into());
        assert_eq!(file.sibling(LinkType::RAW), Place::File("/x/day.raw.pcapng".into()));
        assert_eq!(Place::File("day".into()).sibling(LinkType::SLL2), Place::File("day.sll2".into()));
        let directory = Place::Directory { path: "/x".into(), stem: "gannet-any".into() };
        assert_eq!(
            directory.sibling(LinkType(9)),
            Place::Directory { path: "/x".into(), stem: "gannet-any.link9".into() }
        );
    }

    #[test]
    fn rotation_is_a_swap_once_the_next_file_is_ready() {
        let directory = tempfile::tempdir().unwrap();
        let plan = SeriesPlan {
            place: Place::Directory { path: directory.path().into(), stem: "t".into() },
            link_type: LinkType::ETHERNET,
            encoding: Encoding::Pcapng,
            snaplen: 262_144,
            limit: 1 << 20,
        };
        let series = FileSeries::open(plan).unwrap();
        let (first, generation) = series.current();
        assert!(!series.rotate(generation), "nothing is ready");
        series.prepare().unwrap();
        assert!(series.rotate(generation));
        assert!(series.rotate(generation), "somebody else has rotated already");
        let (second, _) = series.current();
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(
            second.path().to_str().unwrap().ends_with(UNFINISHED) && second.path() != second.final_path()
        );
        assert_eq!(series.take_retired().len(), 1);
        first.finish(&[]).unwrap();
        assert!(first.final_path().exists() && !first.path().exists());
    }
}
