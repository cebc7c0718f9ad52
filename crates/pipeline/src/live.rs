//! A live capture from set-up to report.

mod outputs;
mod running;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use caps::Capability;
use core_affinity::CoreId;
use gannet_packet::{LinkType, PacketType};
use gannet_record::Traffic;
use gannet_recorder::Destination;
use gannet_ring::fanout::FanoutMode;
use gannet_ring::prelude::Prelude;
use gannet_ring::{RingConfig, Target};

use self::outputs::{Outputs, main_link_type};
use self::running::{Running, Start, device_counters};
use crate::analysis::Aim;
use crate::config::{
    CaptureConfig, Direction, Format, InterfaceName, InterfaceSpec, MIN_BLOCKS, RunConfig, ram_bytes,
};
use crate::control::{ByteSize, Capturing, Control, Event};
use crate::cpus;
use crate::error::Error;
use crate::filter::{implied, in_words, kernel_filter};
use crate::ledger::{CpuTime, Report};
use crate::plan::{destination, needs_override};
use crate::privileges;
use crate::readers::await_readers;
use crate::records::{http_report, pending_after};
use crate::source::{Interface, Source};

pub(crate) fn run(
    config: &RunConfig,
    aim: Option<Aim<'_>>,
    specs: &[InterfaceSpec],
    control: &Control,
    events: &dyn Fn(Event),
) -> Result<Report, Error> {
    let capture = &config.capture;
    let name = name_for_files(specs);
    let destination = config.record.as_ref().map(|record| destination(record, &name)).transpose()?;
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let one_stream = destination.as_ref().is_some_and(Destination::is_one_stream);
    let workers = config.workers(one_stream, cores.len()).get();
    if workers > 1 {
        refuse_several_workers(config, aim.is_some())?;
    }
    let filter = kernel_filter(capture, specs, &prelude(config))?;
    let interfaces = interfaces(config, specs, workers, events);
    let places = cpus::asked_for(&capture.cpus, &cores)?;
    let sources = open_rings(&interfaces, workers, &places, events)?;
    // Frames of a further link type get a file of their own.
    let several = specs.len() > 1 || specs.iter().any(|spec| spec.name == InterfaceName::Any);
    let needs_override = destination.as_ref().is_some_and(|destination| needs_override(destination, several));
    let opened = Instant::now();
    let report = || {
        let report = Report::before_packets(capture, destination.is_some(), opened);
        Report { implied: implied_of(config), ..report }
    };
    let Some(held) = await_readers(aim, destination.as_ref(), control, events, &report) else {
        return Ok(report());
    };
    let mut outputs = Outputs::open(config, aim, destination, &interfaces, &sources[0][0], &name, workers)?;
    drop(held);

    let devices_before = device_counters(&interfaces);
    give_up_privileges(capture, needs_override, &interfaces)?;
    outputs.start()?;
    let capturing = capturing(config, &interfaces, &sources[0], &outputs, workers);
    let start = Start { config, aim, outputs: &outputs, prelude: prelude(config), filter, places };
    let (mut running, early) = Running::begin(&start, interfaces, sources, implied_of(config))?;
    events(Event::Capturing(capturing));
    let begun = Instant::now();
    running.supervise(early, capture, control, &outputs, events, begun);
    let duration = begun.elapsed();
    outputs.hurry();
    let ended = running.stop_and_join();
    running.tell_the_rest(events);
    let mut ledger = running.ledger(&devices_before);
    // Workers share every file of a run.
    let unordered = workers > 1 && outputs.are_recorded();
    let files = outputs.finish(&mut ledger, events);
    let findings = ended?;
    Ok(Report {
        ledger,
        files,
        filter: capture.filter_text(),
        implied: implied_of(config),
        http: http_report(&findings, aim),
        pending_after: pending_after(aim),
        traffic: findings.traffic.as_ref().map(Traffic::summary),
        cpu: CpuTime::of_process(),
        duration,
        unordered,
    })
}

/// What cannot be done by several workers.
fn refuse_several_workers(config: &RunConfig, analyses: bool) -> Result<(), Error> {
    let fanout = config.capture.fanout;
    if analyses && !matches!(fanout, FanoutMode::Flow | FanoutMode::Hash) {
        return Err(Error::Usage(format!(
            "--fanout {fanout} gives the packets of a connection to several workers, and it is read on one: use flow or \
             hash, or --workers 1"
        )));
    }
    if config.record.as_ref().is_some_and(|record| record.format != Format::Pcapng) {
        let text =
            "classic pcap files are written by one worker: leave out --workers, or use --format pcapng";
        return Err(Error::Usage(text.to_owned()));
    }
    Ok(())
}

fn interfaces(
    run: &RunConfig,
    specs: &[InterfaceSpec],
    workers: usize,
    events: &dyn Fn(Event),
) -> Vec<Arc<Interface>> {
    let config = &run.capture;
    let count = NonZeroUsize::new(workers).unwrap_or(NonZeroUsize::MIN);
    let request = config.ring_request(run.default_ring_bytes(), count, ram());
    if let Some(asked) = request.limited_from {
        events(Event::Warning(format!(
            "--ring-size {} is limited to {} per worker: all rings together take at most half of the memory",
            ByteSize(asked),
            ByteSize(request.bytes)
        )));
    }
    // A worker's ring memory is shared out over its interfaces; a ring of less than four blocks is none.
    let block_bytes = u64::from(config.block_bytes.get());
    let filter = config.filter_text().unwrap_or_default();
    let ring_bytes = (request.bytes / specs.len() as u64).max(MIN_BLOCKS * block_bytes);
    specs
        .iter()
        .enumerate()
        .map(|(number, spec)| {
            let target = match &spec.name {
                InterfaceName::Any => Target::Any,
                InterfaceName::Named(name) => Target::Named(name.clone()),
            };
            let ring = RingConfig {
                ring_bytes,
                block_bytes: config.block_bytes.get() as usize,
                block_timeout: config.block_timeout,
                promiscuous: config.promiscuous_on(&spec.name),
                time_source: config.time_source,
            };
            let fanout = (workers > 1).then_some(config.fanout);
            let netns = spec.netns.clone();
            let mut interface = Interface::new(number as u32, target, netns, ring, fanout, workers);
            interface.filter.clone_from(&filter);
            Arc::new(interface)
        })
        .collect()
}

fn ram() -> u64 {
    ram_bytes().unwrap_or(u64::MAX)
}

/// Opens every worker's ring on every interface, each from the worker's CPU where that can be had, so that its memory
/// is near it.
fn open_rings(
    interfaces: &[Arc<Interface>],
    workers: usize,
    places: &[CoreId],
    events: &dyn Fn(Event),
) -> Result<Vec<Vec<Source>>, Error> {
    let mask = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0));
    let mut sources = Vec::new();
    for worker in 0..workers {
        if let Some(place) = places.get(worker % places.len().max(1)) {
            core_affinity::set_for_current(*place);
        }
        let mut of_worker = Vec::new();
        for interface in interfaces {
            let ring = interface.open()?;
            if let (0, Some(asked)) = (worker, ring.shrunk_from()) {
                events(Event::RingShrunk { asked, obtained: ring.ring_bytes() });
            }
            of_worker.push(Source::new(Arc::clone(interface), ring, worker));
        }
        sources.push(of_worker);
    }
    if let Ok(mask) = mask {
        // The main thread goes back to where it was allowed to be.
        let _ = nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &mask);
    }
    Ok(sources)
}

fn prelude(config: &RunConfig) -> Prelude {
    let capture = &config.capture;
    let only_sent = capture.packet_type == Some(PacketType::Outgoing);
    Prelude {
        incoming: capture.direction != Direction::Out && !only_sent,
        outgoing: capture.direction != Direction::In,
        packet_type: capture.packet_type,
        only_tcp: config.http.as_ref().map(|http| http.intake.decap.clone()),
        snaplen: capture.snaplen.get(),
    }
}

/// What the prelude lets through, in words.
fn implied_of(config: &RunConfig) -> Option<String> {
    config.http.as_ref().map(|http| implied(&http.intake.decap))
}

fn name_for_files(specs: &[InterfaceSpec]) -> String {
    match specs {
        [one] => one.name.to_string(),
        _ => "several".to_owned(),
    }
}

fn capturing(
    config: &RunConfig,
    interfaces: &[Arc<Interface>],
    sources: &[Source],
    outputs: &Outputs,
    workers: usize,
) -> Capturing {
    let any = interfaces.iter().any(|interface| interface.target == Target::Any);
    let link_types = if config.record.as_ref().is_some_and(|record| record.cooked) {
        vec![LinkType::SLL2]
    } else if any {
        Vec::new()
    } else {
        sources.iter().filter_map(|source| main_link_type(source).ok()).collect()
    };
    Capturing {
        interfaces: interfaces.iter().map(|interface| interface.name()).collect(),
        link_types,
        snaplen: config.capture.snaplen.get(),
        workers,
        ring_bytes: sources.iter().map(|source| source.ring.ring_bytes()).sum(),
        block_bytes: u64::from(config.capture.block_bytes.get()),
        output: outputs.names(),
        filter: in_words(config.capture.filter_text().as_deref(), implied_of(config).as_deref()),
    }
}

/// Everything is open: from here on hostile bytes are read, so the process keeps only what it still needs.
fn give_up_privileges(
    config: &CaptureConfig,
    needs_override: bool,
    interfaces: &[Arc<Interface>],
) -> Result<(), Error> {
    let mut keep = Vec::new();
    // New sockets are needed when an interface returns, if sockets are in fanout groups; in the namespace where it is.
    for interface in interfaces {
        if interface.fanout.is_some() && interface.target != Target::Any {
            keep.push(Capability::CAP_NET_RAW);
            if interface.netns.is_some() {
                keep.push(Capability::CAP_SYS_ADMIN);
            }
        }
    }
    if needs_override && config.user.is_none() {
        keep.push(Capability::CAP_DAC_OVERRIDE);
    }
    Ok(privileges::give_up(config.user.as_ref(), &keep)?)
}
