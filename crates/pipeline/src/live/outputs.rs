//! Where packets and records of a live run go.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use gannet_packet::LinkType;
use gannet_record::Interfaces;
use gannet_recorder::{CountsSource, Destination, InterfaceKey, KernelCounts, Output, Writer};
use gannet_ring::Target;
use gannet_ring::interfaces::link_type_of_arphrd;
use gannet_sink::{Hub, SinkReport, Writing, has_lost_reader};

use crate::analysis::{Aim, Analysis, AnalysisPlan};
use crate::config::RunConfig;
use crate::control::Event;
use crate::error::Error;
use crate::ledger::{FileReport, Ledger};
use crate::mailbox::{Post, PostOffice};
use crate::plan::{event_of, finish_output, output_plan, writer_plan};
use crate::records::{Troubles, finish_records, records_hub};
use crate::source::{Interface, Source};

/// Where packets and records of a run go.
pub(super) struct Outputs {
    packets: Option<Output>,
    records: Option<Hub>,
    /// The names of the interfaces that records come from.
    names: Interfaces,
    /// Between workers that analyse, if there are several.
    post: Option<Arc<PostOffice>>,
    troubles: RefCell<Troubles>,
}

impl Outputs {
    pub(super) fn open(
        config: &RunConfig,
        aim: Option<Aim<'_>>,
        destination: Option<Destination>,
        interfaces: &[Arc<Interface>],
        first: &Source,
        name: &str,
        workers: usize,
    ) -> Result<Self, Error> {
        let names = Interfaces::default();
        let records =
            aim.map(|aim| records_hub(aim, &names, workers, true, Writing::ByThreads)).transpose()?;
        let post = (records.is_some() && workers > 1).then(|| PostOffice::new(workers)).transpose()?;
        let (Some(record), Some(destination)) = (&config.record, destination) else {
            return Ok(Self { packets: None, records, names, post, troubles: RefCell::default() });
        };
        let link_type = main_link_type(first)?;
        let plan = output_plan(record, &config.capture, destination, link_type, name)?;
        let packets = Some(Output::open(plan, kernel_counts(interfaces))?);
        Ok(Self { packets, records, names, post, troubles: RefCell::default() })
    }

    /// Starts the threads. They have the privileges that the calling thread has now.
    pub(super) fn start(&mut self) -> Result<(), Error> {
        if let Some(records) = &mut self.records {
            records.start()?;
        }
        match &mut self.packets {
            Some(packets) => Ok(packets.start()?),
            None => Ok(()),
        }
    }

    pub(super) fn equipment(
        &self,
        config: &RunConfig,
        aim: Option<Aim<'_>>,
        worker: usize,
        workers: usize,
        seed: u64,
    ) -> Result<Equipment, Error> {
        let writer = self.packets.as_ref().zip(config.record.as_ref()).map(|(output, record)| {
            Writer::new(output, writer_plan(record, &config.capture, worker, workers, aim.is_some()))
        });
        let analysis = self.records.as_ref().zip(aim).map(|(hub, aim)| {
            // A packet waits in its block for the time-out at most, then for its turn. One that is handed over did so
            // at another worker, and waits once more until what this worker was given before it must have come.
            let patience = config.capture.block_timeout * 2;
            let skew = if self.post.is_some() { patience * 2 } else { Duration::ZERO };
            let plan = AnalysisPlan { aim, seed, workers, interfaces: self.names.clone(), skew, live: true };
            let fanout = config.capture.fanout;
            let post = self.post.as_ref().map(|office| Post::new(office, worker, fanout, patience));
            Analysis::new(&plan, worker, hub.lane()).with_post(post)
        });
        Ok(Equipment { writer: writer.transpose()?, analysis })
    }

    /// True if packets go to disk.
    pub(super) fn are_recorded(&self) -> bool {
        self.packets.is_some()
    }

    /// In the user's words.
    pub(super) fn names(&self) -> String {
        let packets = self.packets.iter().map(Output::name);
        let records = self.records.iter().flat_map(|hub| hub.reports()).map(|sink| sink.name);
        let mut names: Vec<_> = packets.chain(records).collect();
        if names.is_empty() {
            names.push("no output but the report".to_owned());
        }
        names.join(" and ")
    }

    pub(super) fn notices(&self, events: &dyn Fn(Event)) {
        for notice in self.packets.iter().flat_map(|output| output.notices().try_iter()) {
            events(event_of(notice));
        }
        if let Some(records) = &self.records {
            self.troubles.borrow_mut().tell(records, events);
        }
    }

    /// Begins the next file, opens files by name again.
    pub(super) fn rotate(&self) {
        if let Some(packets) = &self.packets {
            packets.rotate();
        }
        if let Some(records) = &self.records {
            records.reopen();
            self.troubles.borrow_mut().reopening();
        }
    }

    /// Finds out whose readers have gone, which writing would with the next packet or record only.
    pub(super) fn look_for_readers(&self) {
        if let Some(packets) = &self.packets {
            packets.look_for_reader(has_lost_reader);
        }
        if let Some(records) = &self.records {
            records.look_for_readers();
        }
    }

    /// True once nobody takes any more what this run makes.
    pub(super) fn is_closed(&self) -> bool {
        self.packets.as_ref().is_none_or(Output::is_closed)
            && self.records.as_ref().is_none_or(Hub::is_closed)
    }

    /// The run is to end: nothing waits for room any more.
    pub(super) fn hurry(&self) {
        if let Some(packets) = &self.packets {
            packets.hurry();
        }
        if let Some(records) = &self.records {
            records.hurry();
        }
    }

    pub(super) fn reports(&self) -> Vec<SinkReport> {
        self.records.as_ref().map(Hub::reports).unwrap_or_default()
    }

    /// Ends the outputs. Workers and their equipment are gone.
    pub(super) fn finish(self, ledger: &mut Ledger, events: &dyn Fn(Event)) -> Vec<FileReport> {
        ledger.recording = self.packets.is_some();
        let files = self.packets.map(|output| finish_output(output, ledger, events)).unwrap_or_default();
        if let Some(records) = self.records {
            finish_records(records, ledger);
        }
        files
    }
}

/// What a worker does with packets.
pub(super) struct Equipment {
    pub(super) writer: Option<Writer>,
    pub(super) analysis: Option<Analysis>,
}

/// The link type of the main file: the first interface's. Frames of `any` are Ethernet as a rule, others get a file
/// of their own.
pub(super) fn main_link_type(source: &Source) -> Result<LinkType, Error> {
    let hardware_type = source.ring.socket().hardware_type()?;
    Ok(link_type_of_arphrd(hardware_type).unwrap_or(LinkType::SLL2))
}

/// Tells the recorder the kernel's counters, for the statistics at the end of each file.
fn kernel_counts(interfaces: &[Arc<Interface>]) -> Box<CountsSource> {
    let interfaces = interfaces.to_vec();
    Box::new(move |key: InterfaceKey| {
        let interface = interfaces.get(key.source as usize)?;
        if interface.target == Target::Any {
            return None;
        }
        let kernel = interface.statistics();
        Some(KernelCounts { received: kernel.received, dropped: kernel.dropped })
    })
}
