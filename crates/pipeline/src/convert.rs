//! Capture files in, a recording out: `-r`. Formats are converted, frames cut, several files merged by time.

use std::os::fd::AsFd;
use std::time::Instant;

use caps::Capability;
use gannet_packet::LinkType;
use gannet_pcap::{Merge, PacketSource, StreamReader};
use gannet_recorder::{InterfaceDescription, InterfaceKey, Output, SourceView, Tally, Writer};
use gannet_sink::has_lost_reader;

use crate::arrivals::Arrivals;
use crate::config::{CaptureConfig, FileInput, RecordConfig};
use crate::control::{Command, Control, Event, LOOK_AROUND};
use crate::error::Error;
use crate::files::{Bytes, Step, advance, in_order, open_early, path_of};
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
    let Some(mut inputs) = Inputs::open(files, control, events, &report)? else { return Ok(report()) };
    let destination = destination(config, "file")?;
    refuse_overwriting(files, &destination)?;
    let Some(first) = inputs.first_step(events, &report)? else { return Ok(report()) };
    let selection = Selection::new(capture, files);
    let link_type = main_link_type(&inputs.merge, &selection)?;
    let needs_override = needs_override(&destination, true);
    let Some(held) = await_readers(None, Some(&destination), control, events, &report) else {
        return Ok(report());
    };
    let mut output =
        Output::open(output_plan(config, capture, destination, link_type, "file")?, Box::new(|_| None))?;
    drop(held);
    let keep: &[_] =
        if needs_override && capture.user.is_none() { &[Capability::CAP_DAC_OVERRIDE] } else { &[] };
    privileges::give_up(capture.user.as_ref(), keep)?;
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
        begun,
    };
    conversion.go_through(&mut inputs, first, &output, events)?;
    for (source, warning) in inputs.merge.warnings() {
        events(Event::Warning(format!("{}: {warning}", path_of(&files[source]).display())));
    }
    Ok(conversion.finish(output, events))
}

/// The files, in the order of their packets.
struct Inputs<'a> {
    files: &'a [FileInput],
    merge: Merge<StreamReader<Bytes>>,
    /// Of each file, where to wait for more, if it has pauses.
    arrivals: Vec<Option<Arrivals>>,
    control: &'a Control,
}

impl<'a> Inputs<'a> {
    /// Opens them; `None` if the run is to end before all have told what they are.
    fn open(
        files: &'a [FileInput],
        control: &'a Control,
        events: &dyn Fn(Event),
        report: &dyn Fn() -> Report,
    ) -> Result<Option<Self>, Error> {
        let (mut readers, mut arrivals) = (Vec::new(), Vec::new());
        for input in files {
            let Some(opened) = open_early(input, control, events, report)? else { return Ok(None) };
            readers.push(opened.reader);
            arrivals.push(opened.arrivals);
        }
        Ok(Some(Self { files, merge: in_order(readers, files), arrivals, control }))
    }

    /// To the first packet, or the end; `None` if the run is to end before that.
    fn first_step(
        &mut self,
        events: &dyn Fn(Event),
        report: &dyn Fn() -> Report,
    ) -> Result<Option<Step>, Error> {
        loop {
            let step = self.advance()?;
            let Step::Pause(source) = step else { return Ok(Some(step)) };
            if let Some(Command::Report) = self.wait(source) {
                events(Event::Report(Box::new(report())));
            }
            if self.control.stopping() {
                return Ok(None);
            }
        }
    }

    /// Once per packet: a call costs a twentieth of a conversion's instructions.
    #[inline(always)]
    fn advance(&mut self) -> Result<Step, Error> {
        advance(&mut self.merge, self.files)
    }

    /// Sleeps until there may be more of a source, or there is a command.
    fn wait(&self, source: usize) -> Option<Command> {
        let input = self.arrivals.get(source).and_then(Option::as_ref).map(AsFd::as_fd);
        self.control.wait_beside(input, LOOK_AROUND)
    }
}

/// What a conversion carries from packet to packet.
struct Conversion<'a> {
    selection: Selection<'a>,
    counters: Counters,
    booked: Tally,
    writer: Writer,
    begun: Instant,
}

impl Conversion<'_> {
    /// Records packets from `step` on until there are no more, or the run is to end.
    fn go_through(
        &mut self,
        inputs: &mut Inputs<'_>,
        mut step: Step,
        output: &Output,
        events: &dyn Fn(Event),
    ) -> Result<(), Error> {
        let mut turn = 0_u32;
        while !self.selection.is_full() {
            let paused = match step {
                Step::Packet => {
                    self.take(&inputs.merge)?;
                    turn = turn.wrapping_add(1);
                    None
                }
                Step::Pause(source) => Some(source),
                Step::End => break,
            };
            if paused.is_some() || turn.is_multiple_of(PACKETS_PER_TURN) {
                self.look_around(output, events);
                if paused.is_some() {
                    output.look_for_reader(has_lost_reader);
                }
                match paused.map_or_else(|| inputs.control.take(), |source| inputs.wait(source)) {
                    Some(Command::Report) => events(Event::Report(Box::new(self.report()))),
                    Some(Command::Rotate) => output.rotate(),
                    Some(Command::Snaplen(_) | Command::Direction(_)) | None => {}
                }
                if inputs.control.stopping() || output.is_closed() {
                    break;
                }
            }
            step = inputs.advance()?;
        }
        Ok(())
    }

    /// Brings the disk, the accounts and the user up to date.
    fn look_around(&mut self, output: &Output, events: &dyn Fn(Event)) {
        self.writer.complete(None);
        self.writer.housekeeping();
        book(&self.counters, &mut self.booked, self.writer.tally());
        for notice in output.notices().try_iter() {
            events(event_of(notice));
        }
    }

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

    /// The report so far.
    fn report(&self) -> Report {
        Report {
            ledger: Ledger::files(self.selection.read, self.selection.filtered, [&self.counters]),
            filter: self.selection.filter_text(),
            cpu: CpuTime::of_process(),
            duration: self.begun.elapsed(),
            ..Report::default()
        }
    }

    /// Closes the output, and reports.
    fn finish(self, output: Output, events: &dyn Fn(Event)) -> Report {
        let Self { selection, counters, mut booked, writer, begun } = self;
        book(&counters, &mut booked, writer.finish());
        let duration = begun.elapsed();
        let mut ledger = Ledger::files(selection.read, selection.filtered, [&counters]);
        // Whether the reader of a pipe has gone is known for certain only when everything has been sent.
        output.drain();
        let reader_left = output.is_closed();
        let files = finish_output(output, &mut ledger, events);
        let shed = ledger.total.accounts[Account::DiskShed].packets;
        if shed > 0 && !reader_left && ledger.failure.is_none() {
            // A live capture goes on and counts; a conversion that is not whole has failed.
            ledger.failure = Some(format!("the output did not take {shed} packets: is the disk full?"));
        }
        let (filter, cpu) = (selection.filter_text(), CpuTime::of_process());
        Report { ledger, files, filter, cpu, duration, ..Report::default() }
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
