//! Where the report goes, and the place for what a measurement leaves behind.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

/// The report's text goes to stdout as it comes, and to a file if one was named.
pub(crate) struct Report {
    file: Option<PathBuf>,
}

impl Report {
    /// Also appends to `file`.
    pub(crate) fn new(file: Option<PathBuf>) -> Self {
        Self { file }
    }

    /// Prints the text as it is.
    pub(crate) fn print(&mut self, text: &str) -> anyhow::Result<()> {
        io::stdout().write_all(text.as_bytes())?;
        io::stdout().flush()?;
        if let Some(path) = &self.file {
            let open = fs::OpenOptions::new().create(true).append(true).open(path);
            open.and_then(|mut file| file.write_all(text.as_bytes()))
                .with_context(|| path.display().to_string())?;
        }
        Ok(())
    }
}

/// A line on stderr: what happens now.
pub(crate) fn progress(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A directory for the captures, removed with all that is in it; those of processes that were killed go, too.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    /// Makes it on `disk`.
    pub(crate) fn new(disk: &Path) -> anyhow::Result<Self> {
        let failed = || disk.display().to_string();
        for entry in fs::read_dir(disk).with_context(failed)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner = name.strip_prefix(SCRATCH).and_then(|pid| pid.parse::<u32>().ok());
            if owner.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
                fs::remove_dir_all(entry.path()).with_context(failed)?;
            }
        }
        let path = fs::canonicalize(disk)?.join(format!("{SCRATCH}{}", std::process::id()));
        fs::create_dir(&path).with_context(failed)?;
        ensure!(path.is_dir(), "{} is gone", path.display());
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A file or directory that goes when this does.
pub(crate) struct Removed(pub(crate) PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = if self.0.is_dir() { fs::remove_dir_all(&self.0) } else { fs::remove_file(&self.0) };
    }
}

/// Start of the scratch directories' names; the process id follows.
const SCRATCH: &str = "gannet-compare-";
