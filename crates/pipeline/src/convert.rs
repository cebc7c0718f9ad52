//! Capture files in, a recording out: `-r`. Formats are converted, frames cut, several files merged by time.

use std::os::fd::AsFd;
use std::time::Instant;

use caps::Capability;
use gannet_packet::LinkType;
use gannet_pcap::{Merge, PacketSource};
use gannet_recorder::{InterfaceDescription, InterfaceKey, Output, SourceView, Tally, Writer};

use crate::config::{CaptureConfig, FileInput, RecordConfig};
use crate::control::{Command, Control, Event, LOOK_AROUND};
use crate::error::Error;
use crate::files::{Opened, Step, advance, open_early, path_of};
use crate::filter::{Selection, Taken};
use crate::ledger::{Account, Counters, CpuTime, Ledger, Report};
use crate::plan::{book, destination, event_of, finish_output, needs_override, output_plan, writer_plan};
use crate::privileges;
use crate::readers::await_readers;

pub(crate) fn run(
    capture: &CaptureConfig,
    config: &RecordConfig,
    files: &[FileInput],
    control: &Control,
    events: &dyn Fn(Event),
) -> Result<Report, Error> {
    if config.cooked {
        let text = "--cooked is for live captures: the frames of a file keep the link header they have";
        return Err(Error::Usage(text.to_owned()));
    }
    let begun = Instant::now();
    // Until there is a packet.
    let report = || Report::before_packets(capture, true, begun);
    let (mut readers, mut arrivals) = (Vec::new(), Vec::new());
    for input in files {
        let opened = open_early(input, control, events, &report)?;
        let Some(Opened { reader, arrivals: paused, .. }) = opened else { return Ok(report()) };
        readers.push(reader);
        arrivals.push(paused);
    }
    let destination = destination(config, "file")?;
    refuse_overwriting(files, &destination)?;
    let mut merge = Merge::new(readers);
    let wait = |source: usize| {
        let input = arrivals.get(source).and_then(Option::as_ref).map(AsFd::as_fd);
        control.wait_beside(input, LOOK_AROUND)
    };
    let mut step = advance(&mut merge, files)?;
    while let Step::Pause(source) = step {
        if let Some(Command::Report) = wait(source) {
            events(Event::Report(Box::new(report())));
        }
        if control.stopping() {
            return Ok(report());
        }
        step = advance(&mut merge, files)?;
    }
    let selection = Selection::new(capture, files);
    let link_type = main_link_type(&merge, &selection)?;
    let needs_override = needs_override(&destination, true);
    let Some(held) = await_readers(None, Some(&destination), control, events, &report) else {
        return Ok(report());
    };
    let mut output =
        Output::open(output_plan(config, capture, destination, link_type, "file")?, Box::new(|_| None))?;
    drop(held);
    // Everything is open: foreign bytes are read without privileges.
    if let Some(user) = &capture.user {
        privileges::become_user(user)?;
    }
    let keep: &[_] =
        if needs_override && capture.user.is_none() { &[Capability::CAP_DAC_OVERRIDE] } else { &[] };
    privileges::restrict_thread(keep)?;
    output.start()?;
    for input in files {
        let (path, filter) = (path_of(input).to_owned(), capture.filter_text());
        events(Event::Reading { path, output: output.name(), filter });
    }
    let mut conversion = Conversion {
        selection,
        counters: Counters::new(),
        booked: Tally::default(),
        writer: Writer::new(&output, writer_plan(config, capture, 0, 1, false))?,
    };
    let mut turn = 0_u32;
    while !conversion.selection.is_full() {
        let paused = match step {
            Step::Packet => {
                conversion.take(&merge)?;
                turn = turn.wrapping_add(1);
                None
            }
            Step::Pause(source) => Some(source),
            Step::End => break,
        };
        if paused.is_some() || turn.is_multiple_of(PACKETS_PER_TURN) {
            conversion.writer.complete(None);
            conversion.writer.housekeeping();
            conversion.book();
            for notice in output.notices().try_iter() {
                events(event_of(notice));
            }
            match paused.map_or_else(|| control.take(), wait) {
                Some(Command::Report) => events(Event::Report(Box::new(conversion.report(begun)))),
                Some(Command::Rotate) => output.rotate(),
                Some(Command::Snaplen(_) | Command::Direction(_)) | None => {}
            }
            if control.stopping() || output.is_closed() {
                break;
            }
        }
        step = advance(&mut merge, files)?;
    }
    for (source, warning) in merge.warnings() {
        events(Event::Warning(format!("{}: {warning}", path_of(&files[source]).display())));
    }
    let mut report = conversion.finish(begun);
    // Whether the reader of a pipe has gone is known for certain only when everything has been sent.
    output.drain();
    let reader_left = output.is_closed();
    report.files = finish_output(output, &mut report.ledger, events);
    report.cpu = CpuTime::of_process();
    let shed = report.ledger.total.accounts[Account::DiskShed].packets;
    if shed > 0 && !reader_left && report.ledger.failure.is_none() {
        // A live capture goes on and counts; a conversion that is not whole has failed.
        report.ledger.failure = Some(format!("the output did not take {shed} packets: is the disk full?"));
    }
    Ok(report)
}

/// What a conversion carries from packet to packet.
struct Conversion<'a> {
    selection: Selection<'a>,
    counters: Counters,
    booked: Tally,
    writer: Writer,
}

impl Conversion<'_> {
    /// Records the packet that the merge stands at, unless it is filtered.
    fn take(&mut self, merge: &Merge<impl PacketSource>) -> Result<(), Error> {
        let Some(Taken { source, frame, .. }) = self.selection.take(merge)? else { return Ok(()) };
        let number = frame.interface;
        let key = InterfaceKey { source: source as u32, ifindex: number as i32 };
        let describe = |_| merge.interface(number).map_or_else(InterfaceDescription::default, description);
        let view = SourceView { source: source as u32, describe: &describe, lagging: false };
        self.counters.processed(1, frame.data.len() as u64);
        self.writer.record_frame(&frame, key, view);
        Ok(())
    }

    fn book(&mut self) {
        book(&self.counters, &mut self.booked, self.writer.tally());
    }

    fn report(&self, begun: Instant) -> Report {
        Report {
            ledger: Ledger::files(self.selection.read, self.selection.filtered, [&self.counters]),
            filter: self.selection.filter_text(),
            cpu: CpuTime::of_process(),
            duration: begun.elapsed(),
            ..Report::default()
        }
    }

    fn finish(mut self, begun: Instant) -> Report {
        let tally = self.writer.finish();
        book(&self.counters, &mut self.booked, tally);
        Report {
            ledger: Ledger::files(self.selection.read, self.selection.filtered, [&self.counters]),
            filter: self.selection.filter_text(),
            duration: begun.elapsed(),
            ..Report::default()
        }
    }
}

/// The link type of the main file: the first packet's; a file without packets may still name one. The filter must go
/// with it.
fn main_link_type(merge: &Merge<impl PacketSource>, selection: &Selection<'_>) -> Result<LinkType, Error> {
    let of_packet = merge.packet().and_then(|(_, packet)| merge.interface(packet.frame.interface));
    let first = |source: usize| Some((source, merge.sources().get(source)?.interfaces().first()?));
    let Some((source, interface)) = of_packet.or_else(|| (0..merge.sources().len()).find_map(first)) else {
        return Ok(LinkType::ETHERNET);
    };
    selection.expect(source, interface)?;
    Ok(interface.link_type)
}

fn description((_, interface): (usize, &gannet_pcap::Interface)) -> InterfaceDescription {
    InterfaceDescription {
        name: interface.name.clone(),
        description: interface.description.clone(),
        ..InterfaceDescription::default()
    }
}

/// An output that is one of the inputs would be emptied before it is read.
fn refuse_overwriting(files: &[FileInput], destination: &gannet_recorder::Destination) -> Result<(), Error> {
    let gannet_recorder::Destination::File(output) = destination else { return Ok(()) };
    let Ok(output) = output.canonicalize() else { return Ok(()) };
    for input in files {
        if path_of(input).canonicalize().is_ok_and(|input| input == output) {
            let text = format!("{} is both read and written: name another output", output.display());
            return Err(Error::Usage(text));
        }
    }
    Ok(())
}

/// Packets between two looks at the disk, the accounts and the commands.
const PACKETS_PER_TURN: u32 = 1024;

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn an_output_among_the_inputs_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.pcap");
        std::fs::write(&path, b"").unwrap();
        let files = [FileInput::Path(directory.path().join("./a.pcap"))];
        let same = gannet_recorder::Destination::File(path);
        assert!(matches!(refuse_overwriting(&files, &same), Err(Error::Usage(_))));
        let other = gannet_recorder::Destination::File(PathBuf::from("b.pcap"));
        assert!(refuse_overwriting(&files, &other).is_ok());
    }
}
