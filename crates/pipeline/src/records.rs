//! The outputs of records, and what is left of an analysis at its end: what live captures and file runs have in common.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use gannet_record::{Interfaces, Latencies, RecordOptions};
use gannet_sink::{HttpryOptions, Hub, HubConfig, Order, SinkReport, WhenFull, Writing};

use crate::analysis::Aim;
use crate::config::HttpConfig;
use crate::control::Event;
use crate::error::Error;
use crate::layer::Findings;
use crate::ledger::{HttpReport, Ledger};

/// Opens the outputs of records; their threads are not started yet. Live records are written as they come, and shed
/// rather than waited for; those of files in the order of their packets, and waited for. `writing` is
/// [`Writing::ByThreads`] if they are live.
pub(crate) fn records_hub(
    aim: Aim<'_>,
    names: &Interfaces,
    workers: usize,
    live: bool,
    writing: Writing,
) -> Result<Hub, Error> {
    let interfaces = names.clone();
    let (sinks, flush_each, httpry, options) = match aim {
        Aim::Http(config) => {
            let options = record_options(config, interfaces, live);
            (&config.sinks, config.flush_each, config.httpry.clone(), options)
        }
        Aim::Flows(config) => {
            let options = RecordOptions { interfaces, ..RecordOptions::default() };
            (&config.sinks, config.flush_each, HttpryOptions::default(), options)
        }
    };
    let hub = HubConfig {
        sinks: sinks.clone(),
        options,
        httpry,
        workers,
        order: if live { Order::Arrival } else { Order::ByKey },
        when_full: if live { WhenFull::Shed } else { WhenFull::Wait },
        flush_each,
        writing,
    };
    Ok(Hub::open(hub)?)
}

/// What records of HTTP show.
pub(crate) fn record_options(config: &HttpConfig, interfaces: Interfaces, live: bool) -> RecordOptions {
    RecordOptions {
        headers: config.headers.clone(),
        fields: config.fields.clone(),
        redact: config.redact,
        routes: config.routes.clone(),
        interfaces,
        // What is read from a file makes the same records on every machine.
        host_name: live.then(host_name).flatten(),
        bodies: config.bodies,
        decode: config.decode,
        ..RecordOptions::default()
    }
}

/// This machine's name, if it has one that is text.
fn host_name() -> Option<Arc<str>> {
    let name = nix::unistd::gethostname().ok()?.into_string().ok()?;
    (!name.is_empty()).then(|| name.into())
}

/// Ends the outputs and puts what they did into the ledger.
pub(crate) fn finish_records(hub: Hub, ledger: &mut Ledger) {
    ledger.sinks = hub.finish();
    let failures =
        ledger.sinks.iter().filter_map(|sink| Some(format!("{}: {}", sink.name, sink.failure.as_ref()?)));
    let all: Vec<_> = ledger.failure.take().into_iter().chain(failures).collect();
    ledger.failure = (!all.is_empty()).then(|| all.join("; "));
}

/// What the user is told of outputs while the run goes on, once for each reason.
#[derive(Default)]
pub(crate) struct Troubles {
    told: Vec<String>,
    /// So many outputs had ended when they were last asked, and so many records had been shed.
    ended: usize,
    shed: u64,
    /// Files were to be opened again by name.
    reopening: bool,
}

impl Troubles {
    /// Files are to be opened again by name. Whether they could be is asked for from here on.
    pub(crate) fn reopening(&mut self) {
        self.reopening = true;
    }

    /// Tells of outputs that have failed, of those that are too slow, and of those that could not be opened again by
    /// name. Costs two loads for each output as long as nothing has happened: asking costs more than a batch should.
    pub(crate) fn tell(&mut self, hub: &Hub, events: &dyn Fn(Event)) {
        let (ended, shed) = (hub.ended(), hub.shed());
        if (ended, shed) == (self.ended, self.shed) && !self.reopening {
            return;
        }
        (self.ended, self.shed) = (ended, shed);
        for SinkReport { name, failure, reopen_failure, shed, closed, .. } in hub.reports() {
            let is_slow = shed != 0 && failure.is_none() && !closed;
            let slow = is_slow.then(|| {
                format!("{name} takes records more slowly than they come: those that find no room are left out, and counted")
            });
            let follows = if hub.is_closed() {
                "no output is left, so the run ends"
            } else {
                "its records are not written from here on"
            };
            let failure = failure.map(|failure| format!("{name}: {failure}; {follows}"));
            let reopening = reopen_failure.map(|failure| {
                format!("{name} could not be opened again, so the old file goes on: {failure}")
            });
            for text in slow.into_iter().chain(failure).chain(reopening) {
                if !self.told.contains(&text) {
                    events(Event::Warning(text.clone()));
                    self.told.push(text);
                }
            }
        }
    }
}

/// What all workers found together.
pub(crate) fn merged(all: Vec<Findings>) -> Findings {
    let mut sum = Findings::default();
    all.into_iter().for_each(|findings| sum.merge(findings));
    sum
}

/// What the report shows of HTTP.
pub(crate) fn http_report(findings: &Findings, aim: Option<Aim<'_>>) -> Option<HttpReport> {
    let Some(Aim::Http(config)) = aim else { return None };
    let latencies = findings.latencies.as_ref();
    let histogram_log = latencies.filter(|_| config.histogram_log).map(|latencies| {
        let mut log = Vec::new();
        // Memory takes everything.
        let _ = latencies.write_log(&mut log);
        log
    });
    Some(HttpReport {
        summary: latencies.map(Latencies::summary),
        conditions: config.selection.conditions(),
        histogram_log,
        unused_routes: config.routes.unused(),
        server_names: findings.server_names.clone().unwrap_or_default(),
    })
}

/// How long a request may be without an answer before it is reported.
pub(crate) fn pending_after(aim: Option<Aim<'_>>) -> Option<Duration> {
    match aim {
        Some(Aim::Http(config)) => config.analysis.pending_after_ns.map(Duration::from_nanos),
        _ => None,
    }
}

/// A seed for hash tables whose keys come from the network: not to be guessed, another one for each run.
pub(crate) fn seed() -> u64 {
    RandomState::new().hash_one(0)
}
