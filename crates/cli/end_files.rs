//! The files that are written when a run is over: `--stats-json`, `--summary`, `--histograms`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use gannet_pipeline::control::{Control, Event};
use gannet_pipeline::ledger::Report;
use gannet_pipeline::readers::{await_reader, is_fifo, write_all};

use crate::exit::{Error, Exit};
use crate::resolve::{Run, Summary};
use crate::units::is_dash;

/// Those of a run, open.
pub(crate) struct EndFiles<'c> {
    /// For the ledger as JSON.
    pub(crate) ledger: Option<EndFile<'c>>,
    /// For the tables.
    pub(crate) summary: Option<EndFile<'c>>,
    /// For the histograms.
    pub(crate) histograms: Option<EndFile<'c>>,
}

impl<'c> EndFiles<'c> {
    /// Opens them, which waits for the readers of FIFOs; `None` if the run is to end instead. `report` is what there
    /// is to tell meanwhile.
    pub(crate) fn open(
        run: &Run,
        control: &'c Control,
        show: &dyn Fn(Event),
        report: &dyn Fn() -> Report,
    ) -> Result<Option<Self>, Error> {
        let open = |flag, path: Option<&Path>| -> Result<Option<Option<EndFile<'c>>>, Error> {
            let Some(path) = path else { return Ok(Some(None)) };
            let waiting = || await_reader(path, control, show, report);
            let opened = match path {
                path if is_dash(path) => Some(io::stdout().as_fd().try_clone_to_owned().map(File::from)),
                path if is_fifo(path) => waiting(),
                path => Some(create(path)),
            };
            opened.map(|file| EndFile::new(flag, path, file, control).map(Some)).transpose()
        };
        let table = run.summary.as_ref().and_then(Summary::file);
        let Some(ledger) = open("--stats-json", run.stats_json.as_deref())? else { return Ok(None) };
        let Some(summary) = open("--summary", table)? else { return Ok(None) };
        let Some(histograms) = open("--histograms", run.histograms.as_deref())? else { return Ok(None) };
        Ok(Some(Self { ledger, summary, histograms }))
    }
}

/// One of them.
pub(crate) struct EndFile<'c> {
    flag: &'static str,
    path: PathBuf,
    file: File,
    /// Whoever waits for a reader listens to it.
    control: &'c Control,
}

impl<'c> EndFile<'c> {
    fn new(
        flag: &'static str,
        path: &Path,
        file: io::Result<File>,
        control: &'c Control,
    ) -> Result<Self, Error> {
        let file = file.map_err(|error| failed(flag, path, error))?;
        Ok(Self { flag, path: path.to_owned(), file, control })
    }

    /// Writes all there is to be in it.
    pub(crate) fn write(self, bytes: &[u8]) -> Result<(), Error> {
        write_all(&self.file, bytes, self.control).map_err(|error| failed(self.flag, &self.path, error))
    }

    /// The same of lines, the last of which has no end yet.
    pub(crate) fn write_lines(self, lines: &dyn std::fmt::Display) -> Result<(), Error> {
        self.write(format!("{lines}\n").as_bytes())
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn failed(flag: &str, path: &Path, error: io::Error) -> Error {
    let cause = anyhow::Error::new(error).context(format!("{flag} {}", path.display()));
    Error { exit: Exit::Output, cause }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_private_and_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let control = Control::new().unwrap();
        let open = |path: &Path| EndFile::new("--stats-json", path, create(path), &control);
        let path = directory.path().join("ledger.json");
        for lines in ["a longer text", "short"] {
            open(&path).unwrap().write_lines(&lines).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{lines}\n"));
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let error = open(&directory.path().join("missing/ledger.json")).err().unwrap();
        assert_eq!(error.exit, Exit::Output);
    }
}
