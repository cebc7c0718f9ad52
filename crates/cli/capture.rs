//! What every command that takes packets does around its run: signals, messages, the report, the exit status.

use std::cell::Cell;
use std::io::{self, IsTerminal, Write};
use std::time::Instant;

use anyhow::Context;
use gannet_pipeline::control::{Control, Event};
use gannet_pipeline::ledger::Report;

use crate::end_files::EndFiles;
use crate::exit::{Error, Exit};
use crate::resolve::{Run, Summary};
use crate::signals;
use crate::statistics::Statistics;

/// Runs the pipeline, shows what it says, writes the report.
pub(crate) fn run(run: &Run) -> Result<Exit, Error> {
    let control =
        Control::new().map_err(|error| Error::new(Exit::Open, format!("preparing for signals: {error}")))?;
    let second = signals::install(&control)
        .map_err(|error| Error::new(Exit::Open, format!("installing signal handlers: {error}")))?;

    let second = Cell::new(Some(second));
    let show = |event: Event| {
        // Everything is open and privileges are given up.
        if let (Event::Capturing(_) | Event::Reading { .. }, Some(second)) = (&event, second.take()) {
            second.watch();
        }
        show(&event, run.quiet);
    };
    for warning in &run.warnings {
        show(Event::Warning(warning.clone()));
    }
    let began = Instant::now();
    let early = || Report::before_packets(&run.config.capture, run.config.record.is_some(), began);
    // Before the capture: a run of hours should not end with a report that cannot be written, and the user of -Z may
    // not be allowed to create it.
    let Some(files) = EndFiles::open(run, &control, &show, &early)? else {
        tell(run, &early(), &control);
        return Ok(Exit::Done);
    };
    let report = gannet_pipeline::run(&run.config, &control, &show)
        .map_err(|error| Error { exit: error.failure().into(), cause: error.into() });
    let report = match report {
        Err(error) if error.is_closed_pipe() => return Ok(Exit::Done),
        report => report?,
    };
    tell(run, &report, &control);
    let written = write_ends(run, &report, files);
    let exit = conclude(run, &report);
    Ok(if written { exit } else { Exit::Output })
}

/// The report, unless nobody wants it.
fn tell(run: &Run, report: &Report, control: &Control) {
    if run.quiet {
        return;
    }
    // On a terminal the cursor stands behind the ^C that ended the run.
    let begin = if io::stderr().is_terminal() && control.stopping() { "\n" } else { "" };
    if run.statistics_of_httpry {
        say(&format_args!("{begin}{}", Statistics { run, report }));
    } else {
        say(&format_args!("{begin}{report}"));
    }
}

/// What comes beside the report: tables, histograms, the ledger. False if some of it could not be written.
fn write_ends(run: &Run, report: &Report, files: EndFiles<'_>) -> bool {
    let tables: [Option<&dyn std::fmt::Display>; 2] = [
        report.http.as_ref().and_then(|http| Some(http.summary.as_ref()? as _)),
        report.traffic.as_ref().map(|traffic| traffic as _),
    ];
    // One that cannot be written is no reason to leave out the others.
    let mut written = true;
    let mut note = |result: Result<(), Error>| match result {
        Err(error) if !error.is_closed_pipe() => {
            say(&format_args!("gannet: {}", error.sentence()));
            written = false;
        }
        Ok(()) | Err(_) => {}
    };
    if let Some(tables) = tables.into_iter().flatten().next() {
        match (&run.summary, files.summary) {
            (_, Some(file)) => note(file.write_lines(tables)),
            // Asked for by name or for a person who looks: not what --quiet is about.
            (Some(Summary::Stderr), None) => match terminal_width(&io::stderr()) {
                Some(width) => say(&format_args!("\n{tables:width$}")),
                None => say(&format_args!("\n{tables}")),
            },
            (Some(Summary::File(_)) | None, None) => {}
        }
    }
    let log = report.http.as_ref().and_then(|http| http.histogram_log.as_deref());
    if let (Some(file), Some(log)) = (files.histograms, log) {
        note(file.write(log));
    }
    if let Some(ledger) = files.ledger {
        note(as_json(report).and_then(|json| ledger.write_lines(&json)));
    }
    written
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
    let loss = loss(report);
    if run.strict && (loss.is_some() || !violations.is_empty()) {
        let loss = loss.as_deref().unwrap_or("nothing was lost");
        say(&format_args!("gannet: {loss}, and --strict was given"));
        return Exit::Lost;
    }
    if let Some(loss) = loss.filter(|_| run.quiet) {
        // The report, which nobody has seen, says where.
        say(&format_args!("gannet: {loss}"));
    }
    Exit::Done
}

/// What was lost, as a sentence.
fn loss(report: &Report) -> Option<String> {
    match (report.ledger.lost(), report.ledger.records_lost()) {
        (0, 0) => None,
        (packets, 0) => Some(format!("{packets} packets were lost")),
        (packets, records) => Some(format!("{packets} packets and {records} records were lost")),
    }
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

fn as_json(report: &Report) -> Result<String, Error> {
    serde_json::to_string_pretty(report)
        .context("writing the report as JSON")
        .map_err(|cause| Error { exit: Exit::Output, cause })
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
            warnings: Vec::new(),
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
        assert_eq!((loss(&report(0)), loss(&report(3))), (None, Some("3 packets were lost".to_owned())));
    }

    #[test]
    fn an_output_that_failed_is_an_error() {
        let mut failed = report(3);
        failed.ledger.failure = Some("out.pcap: no space left".to_owned());
        assert_eq!(conclude(&recording(false), &failed), Exit::Output);
        assert_eq!(conclude(&recording(true), &failed), Exit::Output);
    }

    /// It was null where the report named the filter that is implied.
    #[test]
    fn the_filter_in_json_is_that_of_the_report() {
        for (filter, implied, both) in [
            (None, Some("TCP, fragments"), Some("TCP, fragments")),
            (Some("port 80"), Some("TCP, fragments"), Some("TCP, fragments; of these port 80")),
            (Some("port 80"), None, Some("port 80")),
            (None, None, None),
        ] {
            let report = Report {
                filter: filter.map(str::to_owned),
                implied: implied.map(str::to_owned),
                ..report(0)
            };
            assert_eq!(serde_json::to_value(&report).unwrap()["filter"].as_str(), both);
            let line = both.map(|both| format!("\nfilter: {both}"));
            assert!(line.is_none_or(|line| report.to_string().contains(&line)), "{report}");
        }
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
}
