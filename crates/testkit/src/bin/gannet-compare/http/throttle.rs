//! A disk that is made slow, to see what a recorder does with packets that it cannot write in time.
//!
//! Tried in this order, and the report says which it was:
//! 1. cgroup v2 `io.max` on the block device, where that controller is there,
//! 2. cgroup v1 `blkio.throttle.write_bps_device` on it, likewise (it slows direct writes, which are the recorder's),
//! 3. a FIFO whose reader takes no more than that.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::stat::Mode;

/// Something slow to record to, until [`lift`](Throttle::lift).
pub(super) enum Throttle {
    /// A control group whose writes to a device are slow.
    Group(Group),
    /// A FIFO that is read slowly.
    Fifo(Fifo),
}

impl Throttle {
    /// What there is for this disk, best first; each is made when it is asked for.
    pub(super) fn candidates(directory: &Path) -> impl Iterator<Item = anyhow::Result<Self>> {
        let groups = Group::candidates(directory).into_iter();
        let directory = directory.to_owned();
        groups
            .map(|group| group.set(&group.limit).map(|()| Self::Group(group)))
            .chain(std::iter::once_with(move || Ok(Self::Fifo(Fifo::new(&directory.join("packets.fifo"))?))))
    }

    /// In words.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Group(group) => format!("{} {}", group.file_name, group.limit),
            Self::Fifo(_) => format!("a FIFO read at {BYTES_PER_SECOND} bytes/s"),
        }
    }

    /// Where to record to, and the recorder's options for it.
    pub(super) fn target(&self, directory: &Path) -> (PathBuf, &'static [&'static str]) {
        match self {
            Self::Group(_) => (directory.join("slow/"), &[]),
            Self::Fifo(fifo) => (fifo.path.clone(), &["--workers", "1"]),
        }
    }

    /// The command, to be run where writes are slow.
    pub(super) fn apply(&self, command: Command) -> Command {
        let Self::Group(group) = self else { return command };
        let mut slowed = Command::new("sh");
        slowed.args(["-c", "echo $$ >\"$0\" && exec \"$@\""]).arg(group.path.join("cgroup.procs"));
        slowed.arg(command.get_program()).args(command.get_args());
        slowed
    }

    /// Lets the rest be written at full speed.
    pub(super) fn lift(&self) -> anyhow::Result<()> {
        match self {
            Self::Group(group) => group.set(&group.unlimited),
            Self::Fifo(fifo) => {
                fifo.fast.store(true, Ordering::Relaxed);
                Ok(())
            }
        }
    }
}

/// A control group of our own; goes when it is dropped.
pub(super) struct Group {
    path: PathBuf,
    file_name: &'static str,
    limit: String,
    unlimited: String,
    /// `cgroup.subtree_control` of the root, where the controller had to be switched on.
    switched_on: Option<PathBuf>,
}

impl Group {
    fn candidates(directory: &Path) -> Vec<Self> {
        let Some(device) = block_device(directory) else { return Vec::new() };
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        let (v2, v1) = hierarchies(&mounts);
        let name = format!("gannet-compare-{}", std::process::id());
        let mut groups = Vec::new();
        if let Some(root) = v2.filter(|root| has_word(&root.join("cgroup.controllers"), "io")) {
            let control = root.join("cgroup.subtree_control");
            let switched_on = (!has_word(&control, "io")).then(|| control.clone());
            let ready = switched_on.as_ref().is_none_or(|control| fs::write(control, "+io").is_ok());
            let group = Self {
                path: root.join(&name),
                file_name: "io.max",
                limit: format!("{device} wbps={BYTES_PER_SECOND}"),
                unlimited: format!("{device} wbps=max"),
                switched_on,
            };
            groups.extend((ready && fs::create_dir(&group.path).is_ok()).then_some(group));
        }
        if let Some(root) = v1 {
            let group = Self {
                path: root.join(&name),
                file_name: "blkio.throttle.write_bps_device",
                limit: format!("{device} {BYTES_PER_SECOND}"),
                unlimited: format!("{device} 0"),
                switched_on: None,
            };
            groups.extend(fs::create_dir(&group.path).is_ok().then_some(group));
        }
        groups
    }

    fn set(&self, rule: &str) -> anyhow::Result<()> {
        let path = self.path.join(self.file_name);
        fs::write(&path, rule).with_context(|| format!("{rule} to {}", path.display()))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
        if let Some(control) = &self.switched_on {
            let _ = fs::write(control, "-io");
        }
    }
}

/// A FIFO and the thread that reads it.
pub(super) struct Fifo {
    path: PathBuf,
    fast: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Fifo {
    fn new(path: &Path) -> anyhow::Result<Self> {
        nix::unistd::mkfifo(path, Mode::S_IRWXU).with_context(|| path.display().to_string())?;
        // With a writing end of its own the file opens at once and has no end while no one writes; and without
        // waiting, so that the thread sees when it is to go.
        let mut file =
            fs::OpenOptions::new().read(true).write(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
        let (fast, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (is_fast, has_ended) = (Arc::clone(&fast), Arc::clone(&ended));
        let reader = thread::spawn(move || {
            let mut buffer = vec![0; BYTES_PER_SECOND / FIFO_TURNS];
            while !has_ended.load(Ordering::Relaxed) {
                let read = file.read(&mut buffer).unwrap_or(0);
                if read == 0 || !is_fast.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_secs(1) / FIFO_TURNS as u32);
                }
            }
        });
        Ok(Self { path: path.to_owned(), fast, ended, reader: Some(reader) })
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        let _ = fs::remove_file(&self.path);
    }
}

/// `major:minor` of the whole device that a directory is on; `None` where it is on none.
fn block_device(directory: &Path) -> Option<String> {
    let device = fs::metadata(directory).ok()?.dev();
    let number = format!("{}:{}", nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let entry = fs::canonicalize(Path::new("/sys/dev/block").join(&number)).ok()?;
    // The throttle is one of whole devices, not of their partitions.
    if entry.join("partition").exists() {
        return Some(fs::read_to_string(entry.parent()?.join("dev")).ok()?.trim().to_owned());
    }
    Some(number)
}

/// Where cgroup v2 and the v1 hierarchy of `blkio` are mounted.
fn hierarchies(mounts: &str) -> (Option<PathBuf>, Option<PathBuf>) {
    let find = |wanted: &dyn Fn(&str, &str) -> bool| {
        mounts.lines().find_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (path, kind, options) = (words.next()?, words.next()?, words.next()?);
            wanted(kind, options).then(|| PathBuf::from(path))
        })
    };
    let v2 = find(&|kind, _| kind == "cgroup2");
    let v1 = find(&|kind, options| kind == "cgroup" && options.split(',').any(|option| option == "blkio"));
    (v2, v1)
}

fn has_word(path: &Path, word: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.split_whitespace().any(|one| one == word))
}

/// A hundredth of what full load brings.
const BYTES_PER_SECOND: usize = 4_000_000;

/// How often a second the FIFO is read.
const FIFO_TURNS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_found() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
            cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0\n\
            cgroup /sys/fs/cgroup/blkio cgroup rw,relatime,blkio 0 0\n\
            cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n";
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(hierarchies(mounts), (path("/sys/fs/cgroup/unified"), path("/sys/fs/cgroup/blkio")));
        assert_eq!(hierarchies("proc /proc proc rw 0 0\n"), (None, None));
    }

    #[test]
    fn a_fifo_is_read_slowly_and_then_fast() {
        use std::io::Write as _;
        let path = std::env::temp_dir().join(format!("gannet-compare-fifo-{}", std::process::id()));
        let throttle = Throttle::Fifo(Fifo::new(&path).unwrap());
        let mut writer = fs::OpenOptions::new().write(true).open(&path).unwrap();
        let bytes = vec![0; 2_000_000];
        let start = std::time::Instant::now();
        writer.write_all(&bytes).unwrap();
        assert!(start.elapsed() > Duration::from_millis(400), "{:?}", start.elapsed());
        throttle.lift().unwrap();
        writer.write_all(&bytes).unwrap();
        drop((writer, throttle));
        assert!(!path.exists());
    }
}
