//! `gannet extract`: so far, checking and mending of files that a crash may have left.
//!
//! Every file is looked at, whatever was wrong with those before it. What was found goes to standard output, what
//! could not be done to stderr, and the status is that of a bad file if anything is not as it should be.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use gannet_recorder::repair;

use crate::args::ExtractArgs;
use crate::exit::{Error, Exit};

/// Runs the command.
pub(crate) fn run(args: &ExtractArgs) -> Result<Exit, Error> {
    let mut exit = Exit::Done;
    for path in &args.paths {
        for file in files(path)? {
            // Either flag is there, clap sees to it.
            let result = if args.repair { mend(&file)? } else { verify(&file)? };
            if result == Outcome::Bad {
                exit = Exit::Usage;
            }
        }
    }
    Ok(exit)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Good,
    Bad,
}

fn verify(file: &Path) -> Result<Outcome, Error> {
    match repair::verify(file) {
        Ok(report) => {
            print(&report)?;
            Ok(if report.is_sound() { Outcome::Good } else { Outcome::Bad })
        }
        Err(error) => Ok(complain(&error)),
    }
}

fn mend(file: &Path) -> Result<Outcome, Error> {
    match repair::repair(file) {
        Ok(report) => print(&report).map(|()| Outcome::Good),
        Err(error) => Ok(complain(&error)),
    }
}

fn print(report: &dyn std::fmt::Display) -> Result<(), Error> {
    writeln!(io::stdout().lock(), "{report}").map_err(Error::stdout)
}

fn complain(error: &repair::Error) -> Outcome {
    // Fails when nobody reads; there is nobody to tell then.
    let _ = writeln!(io::stderr().lock(), "gannet: {error}");
    Outcome::Bad
}

/// The file itself, or the capture files in a directory in the order of their names, which is that of their times.
fn files(path: &Path) -> Result<Vec<PathBuf>, Error> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |error: io::Error| Error::usage(format!("directory {}: {error}", path.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if is_capture(&file) && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Error::usage(format!(
            "directory {}: no capture files (*.pcapng, *.pcap) in it",
            path.display()
        )));
    }
    Ok(files)
}

/// By its name: `*.pcapng` and `*.pcap`, also with the recorder's suffix for a file that is not finished.
fn is_capture(file: &Path) -> bool {
    let finished = match file.extension() {
        Some(extension) if extension == "part" => Path::new(file.file_stem().unwrap_or(OsStr::new(""))),
        _ => file,
    };
    finished.extension().is_some_and(|extension| extension == "pcapng" || extension == "pcap")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capture_files_of_a_directory_in_order() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["b.pcapng", "a.pcap", "c.pcapng.part", "notes.txt", "part", ".part", "pcapng"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        std::fs::create_dir(directory.path().join("d.pcap")).unwrap();
        let names: Vec<_> = files(directory.path())
            .unwrap()
            .into_iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["a.pcap", "b.pcapng", "c.pcapng.part"]);
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(files(empty.path()).unwrap_err().exit, Exit::Usage);
        // What is no directory is taken as it is: the error is that of the opening.
        assert_eq!(files(Path::new("/no/such")).unwrap(), [Path::new("/no/such")]);
    }
}
