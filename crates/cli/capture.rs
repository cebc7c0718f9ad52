//! What every command that takes packets does around its run: signals, messages, the report, the exit status.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use gannet_pipeline::control::{Control, Event};
use gannet_pipeline::ledger::Report;

use crate::exit::{Error, Exit};
use crate::resolve::{Run, Summary};
use crate::signals;
use crate::statistics::Statistics;

/// Runs the pipeline, shows what it says, writes the report.
pub(crate) fn run(run: &Run) -> Result<Exit, Error> {
    // Opened before the capture: a run of hours should not end with a report that cannot be written, and the user
    // of -Z may not be allowed to create it.
    let ledger = run.stats_json.as_deref().map(|path| EndFile::create("--stats-json", path)).transpose()?;
    let summary = match &run.summary {
        Some(Summary::File(path)) => Some(EndFile::create("--summary", path)?),
        Some(Summary::Stderr) | None => None,
    };
    let histograms =
        run.histograms.as_deref().map(|path| EndFile::create("--histograms", path)).transpose()?;
    let control =
        Control::new().map_err(|error| Error::new(Exit::Open, format!("preparing for signals: {error}")))?;
    signals::install(&control)
        .map_err(|error| Error::new(Exit::Open, format!("installing signal handlers: {error}")))?;

    let show = |event: Event| show(&event, run.quiet);
    let report = gannet_pipeline::run(&run.config, &control, &show)
        .map_err(|error| Error { exit: error.failure().into(), cause: error.into() });
    let report = match report {
        Err(error) if error.is_closed_pipe() => return Ok(Exit::Done),
        report => report?,
    };
    if !run.quiet {
        // On a terminal the cursor stands behind the ^C that ended the run.
        let begin = if io::stderr().is_terminal() && control.stopping() { "\n" } else { "" };
        if run.statistics_of_httpry {
            say(&format_args!("{begin}{}", Statistics { run, report: &report }));
        } else {
            say(&format_args!("{begin}{report}"));
        }
    }
    let tables: [Option<&dyn std::fmt::Display>; 2] = [
        report.http.as_ref().and_then(|http| Some(http.summary.as_ref()? as _)),
        report.traffic.as_ref().map(|traffic| traffic as _),
    ];
    // One that cannot be written is no reason to leave out the others.
    let mut failed = false;
    let mut note = |result: Result<(), Error>| match result {
        Err(error) if !error.is_closed_pipe() => {
            say(&format_args!("gannet: {}", error.sentence()));
            failed = true;
        }
        Ok(()) | Err(_) => {}
    };
    if let Some(tables) = tables.into_iter().flatten().next() {
        match (&run.summary, summary) {
            (_, Some(file)) => note(file.write(tables)),
            // Asked for by name or for a person who looks: not what --quiet is about.
            (Some(Summary::Stderr), None) => match terminal_width(&io::stderr()) {
                Some(width) => say(&format_args!("\n{tables:width$}")),
                None => say(&format_args!("\n{tables}")),
            },
            (Some(Summary::File(_)) | None, None) => {}
        }
    }
    let log = report.http.as_ref().and_then(|http| http.histogram_log.as_deref());
    if let (Some(file), Some(log)) = (histograms, log) {
        note(file.write_bytes(log));
    }
    if let Some(ledger) = ledger {
        note(as_json(&report).and_then(|json| ledger.write(&json)));
    }
    let exit = conclude(run, &report);
    Ok(if failed { Exit::Output } else { exit })
}

/// The status of a run that came to its end.
fn conclude(run: &Run, report: &Report) -> Exit {
    let violations = report.ledger.check();
    for violation in &violations {
        say(&format_args!("gannet: defect in the program, please report it: {violation}"));
    }
    if let Some(failure) = &report.ledger.failure {
        say(&format_args!("gannet: {failure}"));
        return Exit::Output;
    }
    let (lost, records) = (report.ledger.lost(), report.ledger.records_lost());
    if run.strict && (lost != 0 || records != 0 || !violations.is_empty()) {
        let records = if records == 0 { String::new() } else { format!(" and {records} records") };
        say(&format_args!("gannet: {lost} packets{records} were lost, and --strict was given"));
        return Exit::Lost;
    }
    Exit::Done
}

fn show(event: &Event, quiet: bool) {
    match event {
        Event::Warning(_) | Event::RingShrunk { .. } => say(&format_args!("gannet: {event}")),
        // Asked for by name, so not what --quiet is about.
        Event::Report(_) | Event::Stats(_) => say(event),
        event if !quiet => say(event),
        _ => {}
    }
}

/// A line on stderr. Whether anybody reads it is not the capture's concern: a closed stderr must not end it.
fn say(text: &dyn std::fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Columns, if it is a terminal that says how many it has.
fn terminal_width(stream: &io::Stderr) -> Option<usize> {
    let (columns, _) = terminal_size::terminal_size_of(stream)?;
    Some(usize::from(columns.0)).filter(|columns| *columns > 0)
}

/// A file for what comes at the end of a run.
struct EndFile {
    flag: &'static str,
    path: PathBuf,
    file: File,
}

impl EndFile {
    fn create(flag: &'static str, path: &Path) -> Result<Self, Error> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| failed(flag, path, error))?;
        Ok(Self { flag, path: path.to_owned(), file })
    }

    fn write_bytes(mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|error| failed(self.flag, &self.path, error))
    }

    fn write(mut self, text: &dyn std::fmt::Display) -> Result<(), Error> {
        writeln!(self.file, "{text}").map_err(|error| failed(self.flag, &self.path, error))
    }
}

fn as_json(report: &Report) -> Result<String, Error> {
    serde_json::to_string_pretty(report)
        .context("writing the report as JSON")
        .map_err(|cause| Error { exit: Exit::Output, cause })
}

fn failed(flag: &str, path: &Path, error: io::Error) -> Error {
    let cause = anyhow::Error::new(error).context(format!("{flag} {}", path.display()));
    Error { exit: Exit::Output, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    use gannet_pipeline::config::{CaptureConfig, Input, RecordConfig, RunConfig};
    use gannet_pipeline::ledger::{Account, Counters, InterfaceLedger, Ledger};

    fn report(dropped: u64) -> Report {
        let page = Counters::new();
        page.processed(7, 700);
        page.account(Account::Written, 6, 600);
        page.account(Account::AfterLimit, 1, 100);
        let interface =
            InterfaceLedger { name: "eth0".into(), received: 7 + dropped, dropped, ..Default::default() };
        Report { ledger: Ledger::live(vec![interface], [&page]), ..Report::default() }
    }

    fn recording(strict: bool) -> Run {
        let capture = CaptureConfig::new(Input::Live { interfaces: Vec::new() });
        let config = RunConfig { capture, record: Some(RecordConfig::default()), http: None, stats: None };
        Run {
            config,
            quiet: false,
            strict,
            stats_json: None,
            summary: None,
            histograms: None,
            statistics_of_httpry: false,
        }
    }

    #[test]
    fn loss_is_an_error_only_if_asked() {
        assert_eq!(conclude(&recording(false), &report(3)), Exit::Done);
        assert_eq!(conclude(&recording(true), &report(0)), Exit::Done);
        assert_eq!(conclude(&recording(true), &report(3)), Exit::Lost);
        let mut wrong = report(0);
        wrong.ledger.received += 1;
        assert_eq!(conclude(&recording(true), &wrong), Exit::Lost);
    }

    #[test]
    fn an_output_that_failed_is_an_error() {
        let mut failed = report(3);
        failed.ledger.failure = Some("out.pcap: no space left".to_owned());
        assert_eq!(conclude(&recording(false), &failed), Exit::Output);
        assert_eq!(conclude(&recording(true), &failed), Exit::Output);
    }

    /// The contract of `--stats-json`, which scripts are written against.
    #[test]
    fn the_ledger_as_json() {
        let json = serde_json::to_value(report(3)).unwrap();
        assert_eq!(json["packets"]["received"], 10);
        assert_eq!(json["packets"]["dropped"], 3);
        assert_eq!(json["packets"]["processed"], 7);
        assert_eq!(json["packets"]["written"], 6);
        assert_eq!(json["packets"]["after_limit"], 1);
        assert_eq!(json["packets"]["disk_shed"], 0);
        assert!(json["packets"]["filtered"].is_null());
        assert_eq!(json["bytes"]["processed"], 700);
        assert_eq!(json["bytes"]["written"], 600);
        assert!(json["cpu"]["user_s"].is_number() && json["cpu"]["sys_s"].is_number());
        assert!(json["duration_s"].is_number());
        assert_eq!(json["files"], serde_json::json!([]));
        assert_eq!(json["interfaces"][0]["name"], "eth0");
        assert_eq!(json["workers"][0]["packets"]["processed"], 7);
        let files =
            serde_json::to_value(Report { ledger: Ledger::files(9, 2, &[]), ..Report::default() }).unwrap();
        assert_eq!(files["packets"]["filtered"], 2);
    }

    #[test]
    fn the_ledger_file_is_private_and_replaced() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.json");
        for dropped in [3, 0] {
            let json = as_json(&report(dropped)).unwrap();
            EndFile::create("--stats-json", &path).unwrap().write(&json).unwrap();
            let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            assert_eq!(json["packets"]["dropped"], dropped);
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let error =
            EndFile::create("--stats-json", &directory.path().join("missing/ledger.json")).err().unwrap();
        assert_eq!(error.exit, Exit::Output);
    }
}
