//! Which packets are taken by what is in them, and how much of each.
//!
//! ```text
//!   Filter ──┬─ live ──► one program for all interfaces ──► behind the kernel's prelude
//!   (text)   └─ files ─► a program for each link type, when its first packet comes ──► virtual machine
//! ```
//!
//! The program's return value is how many bytes of a packet are kept, 0 rejects it; so a snapshot length that is
//! computed (`-s headers`) is a program as well, with or without a filter.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use gannet_filter::bpf::{AssembleError, ProgramError};
use gannet_filter::{FileFilter, FileOptions, Link, Machine, Names, Options, Program, Snaplen};
use gannet_packet::{Decap, Frame, LinkType, TunnelKind, TunnelKinds};
use gannet_pcap::{Interface, Merge, Packet, PacketSource};
use gannet_ring::interfaces::Interfaces;
use gannet_ring::prelude::Prelude;

use crate::config::{CaptureConfig, Direction, FileInput, InterfaceName, InterfaceSpec};
use crate::control::link_type_name;
use crate::error::Error;
use crate::files::{path_of, wanted, way};

/// A packet filter: an expression, or a program that was made elsewhere.
#[derive(Clone, Debug)]
pub struct Filter {
    text: String,
    form: Form,
    is_default: bool,
}

#[derive(Clone, Debug)]
enum Form {
    Expression(Arc<Names>),
    Opcodes(Arc<Program>),
}

impl Filter {
    /// An expression of the filter language. Whether it means something is found out here; whether it does so for a
    /// link type, when a run begins or meets it.
    ///
    /// # Errors
    /// What is wrong with it whatever the link type.
    pub fn expression(text: impl Into<String>, names: Names) -> Result<Self, gannet_filter::Error> {
        let text = text.into();
        gannet_filter::resolve::resolve(&text, &names)?;
        Ok(Self { text, form: Form::Expression(Arc::new(names)), is_default: false })
    }

    /// The same, but that nobody asked for it: frames in files whose link type filters are not made for pass.
    #[must_use]
    pub fn by_default(self) -> Self {
        Self { is_default: true, ..self }
    }

    /// True for a filter that nobody asked for.
    pub fn is_default(&self) -> bool {
        self.is_default
    }

    /// A program for frames of whatever link type it was made for: it is run as it is. `text` is what messages call it.
    pub fn opcodes(text: impl Into<String>, program: Program) -> Self {
        Self { text: text.into(), form: Form::Opcodes(Arc::new(program)), is_default: false }
    }

    /// True for a program that was made elsewhere: what it keeps of a packet is its own business.
    pub fn is_opcodes(&self) -> bool {
        matches!(self.form, Form::Opcodes(_))
    }
}

impl fmt::Display for Filter {
    /// The expression as it was given.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl CaptureConfig {
    /// The filter in the user's words.
    pub(crate) fn filter_text(&self) -> Option<String> {
        self.filter.as_ref().map(ToString::to_string)
    }

    /// What programs return for packets that pass.
    fn keep(&self) -> Snaplen {
        match self.headers {
            Some(extra) => Snaplen::Headers { extra },
            None => Snaplen::Fixed(self.snaplen.get()),
        }
    }
}

/// Whether the filter can be used live, before anything is opened for it.
///
/// # Errors
/// What live interfaces do not have, or a filter that is too long.
pub fn check_live(capture: &CaptureConfig) -> Result<(), Error> {
    compile_live(capture, 0).map(|_| ())
}

/// The filter's program for live interfaces, all of them together. That it fits behind `prelude` is made sure of.
pub(crate) fn kernel_filter(
    capture: &CaptureConfig,
    specs: &[InterfaceSpec],
    prelude: &Prelude,
) -> Result<Option<Arc<Program>>, Error> {
    let netmask = if capture.filter.is_some() { netmask(specs) } else { 0 };
    let filter = compile_live(capture, netmask)?;
    if let Some(filter) = &filter {
        prelude.with_filter(filter).map_err(too_long)?;
    }
    Ok(filter)
}

fn compile_live(capture: &CaptureConfig, netmask: u32) -> Result<Option<Arc<Program>>, Error> {
    let nobody = Names::default();
    let (text, names) = match (&capture.filter, capture.headers) {
        (Some(Filter { form: Form::Opcodes(program), .. }), _) => return Ok(Some(Arc::clone(program))),
        (Some(Filter { form: Form::Expression(names), text, .. }), _) => (text.as_str(), names.as_ref()),
        (None, Some(_)) => ("", &nobody),
        (None, None) => return Ok(None),
    };
    let options = Options { link: Link::Kernel, snaplen: capture.keep(), optimise: true, netmask, names };
    let refused = |source| Error::Filter { place: None, text: text.to_owned(), source };
    gannet_filter::compile(text, &options).map(|program| Some(Arc::new(program))).map_err(refused)
}

/// A filter that the kernel does not take together with the prelude.
pub(crate) fn too_long(error: AssembleError) -> Error {
    Error::Usage(match error {
        AssembleError::Program(ProgramError::Length(instructions)) => format!(
            "the filter is too long: {instructions} instructions with those that a capture needs, and the kernel takes {}",
            gannet_filter::bpf::insn::MAX_INSTRUCTIONS
        ),
        error => format!("the filter cannot be attached: {error}"),
    })
}

/// What is let through, in the user's words: by a filter, and by what is [`implied`].
pub(crate) fn in_words(filter: Option<&str>, implied: Option<&str>) -> Option<String> {
    match (filter, implied) {
        (None, None) => None,
        (Some(filter), None) => Some(filter.to_owned()),
        (None, Some(implied)) => Some(implied.to_owned()),
        (Some(filter), Some(implied)) => Some(format!("{implied}; of these {filter}")),
    }
}

/// What the prelude of an HTTP analysis that opens these tunnels lets through ([`Prelude::only_tcp`]).
pub(crate) fn implied(decap: &Decap) -> String {
    if decap.kinds == TunnelKinds::NONE {
        return "TCP, fragments".to_owned();
    }
    // The list says `all` where there is no need of names; here they are told.
    let kinds = decap.to_string();
    let kinds = if kinds == "all" {
        TunnelKinds::ALL.iter().map(TunnelKind::name).collect::<Vec<_>>().join(" ")
    } else {
        kinds.replace(',', " ")
    };
    format!("TCP, tunnels ({kinds}), fragments")
}

/// The mask of the network that a single interface is in, by its first address; 0 for several interfaces, which are
/// in as many networks.
fn netmask(specs: &[InterfaceSpec]) -> u32 {
    let [InterfaceSpec { name: InterfaceName::Named(name), netns }] = specs else { return 0 };
    let facts = gannet_ring::netns::enter(netns.as_ref(), || {
        Interfaces::open().and_then(|interfaces| interfaces.by_name(name))
    });
    let Ok(Ok(facts)) = facts else { return 0 };
    let first = facts.addresses.iter().find_map(|(address, prefix)| match address {
        IpAddr::V4(_) => Some(*prefix),
        IpAddr::V6(_) => None,
    });
    first.map_or(0, |prefix| u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0))
}

/// Takes packets of files, or leaves them.
pub(crate) struct Selection<'a> {
    capture: &'a CaptureConfig,
    files: &'a [FileInput],
    /// What is run on packets; `None` if all are taken and cut at a constant.
    filter: Option<FileFilter>,
    /// What it runs on packets of a link type, kept as long as packets are of that one.
    at_hand: Option<(LinkType, Arc<Machine>)>,
    /// Packets seen.
    pub(crate) read: u64,
    /// Those of them that were left.
    pub(crate) filtered: u64,
}

impl<'a> Selection<'a> {
    pub(crate) fn new(capture: &'a CaptureConfig, files: &'a [FileInput]) -> Self {
        let pass_other_links = capture.filter.as_ref().is_some_and(Filter::is_default);
        let options = |names| FileOptions {
            snaplen: capture.keep(),
            names,
            pass_other_links,
            ..FileOptions::default()
        };
        let filter = match &capture.filter {
            Some(Filter { form: Form::Opcodes(program), .. }) => Some(FileFilter::of_program(program)),
            Some(Filter { form: Form::Expression(names), text, .. }) => {
                Some(FileFilter::new(text.clone(), options(Arc::clone(names))))
            }
            None => capture.headers.map(|_| FileFilter::new("", options(Arc::default()))),
        };
        Self { capture, files, filter, at_hand: None, read: 0, filtered: 0 }
    }

    /// The filter in the user's words.
    pub(crate) fn filter_text(&self) -> Option<String> {
        self.capture.filter_text()
    }

    /// True once as many packets as asked for have been taken.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.capture.count.is_some_and(|count| self.read - self.filtered >= count.get())
    }

    /// Makes the program for packets of an interface that are going to come, so that a filter that does not go with
    /// them is refused before outputs are opened.
    pub(crate) fn expect(&self, source: usize, interface: &Interface) -> Result<(), Error> {
        let Some(filter) = &self.filter else { return Ok(()) };
        let made = filter.machine(interface.link_type, interface.big_endian);
        made.map(|_| ()).map_err(|error| self.refused(source, interface.link_type, error))
    }

    /// The packet that the merge stands at, as much of it as is to be kept; `None` if it is left.
    #[inline]
    pub(crate) fn take<'m, S: PacketSource>(
        &mut self,
        merge: &'m Merge<S>,
    ) -> Result<Option<Taken<'m>>, Error> {
        let Some((source, packet)) = merge.packet() else { return Ok(None) };
        let big_endian =
            || merge.interface(packet.frame.interface).is_some_and(|(_, interface)| interface.big_endian);
        let frame = self.take_packet(source, &packet, big_endian)?;
        Ok(frame.map(|frame| Taken { source, frame, data_offset: packet.data_offset }))
    }

    /// True if every packet is taken, whatever there is in it, wherever it went and however many there are.
    pub(crate) fn takes_any(&self) -> bool {
        let CaptureConfig { direction, packet_type, count, .. } = self.capture;
        self.filter.is_none() && *direction == Direction::InOut && packet_type.is_none() && count.is_none()
    }

    /// As much of a packet as is to be kept, where [every one is taken](Self::takes_any).
    #[inline(always)]
    pub(crate) fn take_any<'m>(&mut self, packet: &Packet<'m>) -> Frame<'m> {
        self.read += 1;
        let frame = packet.frame;
        let keep = self.capture.snaplen.get() as usize;
        Frame { data: frame.data.get(..keep).unwrap_or(frame.data), packet_type: way(packet), ..frame }
    }

    /// The same of a packet of one source; `big_endian` is its interface's.
    #[inline(always)]
    pub(crate) fn take_packet<'m>(
        &mut self,
        source: usize,
        packet: &Packet<'m>,
        big_endian: impl Fn() -> bool,
    ) -> Result<Option<Frame<'m>>, Error> {
        self.read += 1;
        let Some(packet_type) = wanted(self.capture, packet) else {
            self.filtered += 1;
            return Ok(None);
        };
        let frame = &packet.frame;
        let mut keep = self.capture.snaplen.get();
        if let Some(filter) = &self.filter {
            let link_type = frame.link_type;
            // The byte order of the file means something for this link type only.
            let has_order = link_type == LinkType::NULL;
            let known = self.at_hand.as_ref().filter(|(known, _)| *known == link_type && !has_order);
            let machine = match known {
                Some((_, machine)) => machine,
                None => {
                    let machine = filter.machine(link_type, has_order && big_endian());
                    let machine = machine.map_err(|error| self.refused(source, link_type, error))?;
                    &self.at_hand.insert((link_type, Arc::clone(machine))).1
                }
            };
            keep = keep.min(machine.run(frame.data, frame.orig_len));
            if keep == 0 {
                self.filtered += 1;
                return Ok(None);
            }
        }
        let data = &frame.data[..frame.data.len().min(keep as usize)];
        Ok(Some(Frame { data, packet_type, ..*frame }))
    }

    #[cold]
    fn refused(&self, source: usize, link_type: LinkType, error: &gannet_filter::Error) -> Error {
        let path = self.files.get(source).map_or(Path::new("-"), path_of);
        Error::Filter {
            place: Some(format!("{}, link type {}", path.display(), link_type_name(link_type))),
            text: self.capture.filter_text().unwrap_or_default(),
            source: error.clone(),
        }
    }
}

/// A packet that is taken.
pub(crate) struct Taken<'m> {
    /// The file that it is from.
    pub(crate) source: usize,
    /// The packet, cut to what is kept of it.
    pub(crate) frame: Frame<'m>,
    /// Where its bytes are in the file.
    pub(crate) data_offset: u64,
}
