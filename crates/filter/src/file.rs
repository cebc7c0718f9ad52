//! A filter for capture files, whose frames may be of several link types.
//!
//! An expression means other bytes for every [`Link`], and a pcapng file tells the link types of its interfaces as it
//! goes. So the expression is compiled for a link type when the first of its frames arrives, once, and kept:
//!
//! ```text
//!   frame, link type, byte order ──► Link ──► [ compiled | refused | not met yet ──compile──► ... ] ──► bytes to keep
//! ```
//!
//! Frames of files may have been cut by whoever captured them. That takes nothing away from a verdict but what lies
//! behind the cut, and with [`Snaplen::Headers`] such a frame is kept up to the cut at least
//! ([`Machine::of_cut_frames`]).
//!
//! A [`FileFilter`] is shared by threads as it is: after the first frame of a link type nothing is written any more.

use std::sync::{Arc, OnceLock};

use gannet_packet::LinkType;

use crate::bpf::{Machine, Program};
use crate::compile::{Link, Options, Snaplen, compile};
use crate::error::{Error, ErrorKind};
use crate::names::Names;
use crate::opcodes::{self, OpcodeError};

/// What frames of files are filtered by.
#[derive(Debug)]
pub struct FileFilter {
    source: Source,
    options: FileOptions,
    /// By [`slot`]. Each is filled once.
    compiled: [OnceLock<Result<Arc<Machine>, Error>>; SLOTS],
}

/// How a [`FileFilter`] compiles its expression; an opcode list is taken as it is.
#[derive(Clone, Debug)]
pub struct FileOptions {
    /// What the program returns for a frame that passes.
    pub snaplen: Snaplen,
    /// Whether to make programs shorter.
    pub optimise: bool,
    /// Where names of hosts, networks, ports and protocols come from.
    pub names: Arc<Names>,
    /// Frames of link types that filters are not made for pass, instead of being an error. For [`Snaplen::Fixed`]
    /// alone.
    pub pass_other_links: bool,
}

impl Default for FileOptions {
    /// All of a frame that passes, optimised, names from this machine's files.
    fn default() -> Self {
        let (snaplen, names) = (Snaplen::Fixed(WHOLE_FRAME), Arc::default());
        Self { snaplen, optimise: true, names, pass_other_links: false }
    }
}

#[derive(Debug)]
enum Source {
    Expression(String),
    Opcodes(Arc<Machine>),
}

impl FileFilter {
    /// A filter by an expression, which is not looked at before [`check`](Self::check) or the first frame. The empty
    /// one passes every frame of every link type.
    pub fn new(expression: impl Into<String>, options: FileOptions) -> Self {
        Self::of(Source::Expression(expression.into()), options)
    }

    /// A filter by a program, the same for every link type.
    pub fn of_program(program: &Program) -> Self {
        Self::of(Source::Opcodes(Arc::new(Machine::new(program))), FileOptions::default())
    }

    /// A filter by the contents of a file: a list of opcodes, or an expression with comments from `#` to the end of a
    /// line.
    ///
    /// # Errors
    /// A list of opcodes that is none; expressions are not looked at yet.
    pub fn of_text(text: &str, options: FileOptions) -> Result<Self, OpcodeError> {
        if opcodes::is_list(text) {
            return Ok(Self::of_program(&opcodes::parse(text)?));
        }
        Ok(Self::new(without_comments(text), options))
    }

    fn of(source: Source, options: FileOptions) -> Self {
        Self { source, options, compiled: [const { OnceLock::new() }; SLOTS] }
    }

    /// The expression, to [render](Error) a refusal with; `None` for a list of opcodes.
    pub fn expression(&self) -> Option<&str> {
        match &self.source {
            Source::Expression(text) => Some(text),
            Source::Opcodes(_) => None,
        }
    }

    /// Compiles for one link type, to refuse a bad expression before the first frame. An expression may be good for
    /// this link type and refused for another.
    ///
    /// # Errors
    /// Why the expression was refused.
    pub fn check(&self, link: Link) -> Result<(), &Error> {
        self.compiled(Some(link)).map(|_| ())
    }

    /// The bytes to keep of a frame, 0 if it does not pass. More than the frame has means all of it.
    ///
    /// `bytes` are the captured bytes from the link header on and `origlen` the length of the frame before it was cut;
    /// `big_endian` is the byte order of the file, in which `DLT_NULL` frames begin.
    ///
    /// # Errors
    /// Why the expression was refused for this link type: at its first frame and at every other.
    #[inline]
    pub fn matches(
        &self,
        link_type: LinkType,
        big_endian: bool,
        bytes: &[u8],
        origlen: u32,
    ) -> Result<u32, &Error> {
        Ok(self.machine(link_type, big_endian)?.run(bytes, origlen))
    }

    /// What [`matches`](Self::matches) runs for frames of a link type.
    ///
    /// # Errors
    /// As for [`matches`](Self::matches).
    #[inline]
    pub fn machine(&self, link_type: LinkType, big_endian: bool) -> Result<&Arc<Machine>, &Error> {
        match &self.source {
            Source::Opcodes(machine) => Ok(machine),
            Source::Expression(_) => self.compiled(Link::of(link_type, big_endian)),
        }
    }

    #[inline]
    fn compiled(&self, link: Option<Link>) -> Result<&Arc<Machine>, &Error> {
        match &self.source {
            Source::Opcodes(machine) => Ok(machine),
            Source::Expression(text) => {
                self.compiled[slot(link)].get_or_init(|| self.compile(text, link).map(Arc::new)).as_ref()
            }
        }
    }

    #[cold]
    fn compile(&self, text: &str, link: Option<Link>) -> Result<Machine, Error> {
        let FileOptions { snaplen, optimise, names, .. } = &self.options;
        match (link, *snaplen) {
            (Some(link), snaplen) => {
                let made = |text, snaplen| {
                    compile(text, &Options { link, snaplen, optimise: *optimise, netmask: 0, names })
                };
                Ok(match snaplen {
                    Snaplen::Fixed(_) => Machine::new(&made(text, snaplen)?),
                    Snaplen::Headers { .. } => {
                        let verdict = made(text, Snaplen::Fixed(WHOLE_FRAME))?;
                        Machine::of_cut_frames(&verdict, &made("", snaplen)?)
                    }
                })
            }
            (None, Snaplen::Fixed(keep)) if text.trim().is_empty() || self.options.pass_other_links => {
                Ok(Machine::new(&Program::constant(keep)))
            }
            (None, _) => {
                let message = "filters are not made for frames of this link type";
                let error = Error::new(ErrorKind::LinkType, message, 0..text.len());
                Err(error.with_help("a list of opcodes can be used for any link type"))
            }
        }
    }
}

/// Where the program for a link type is kept; all link types without a [`Link`] share one.
fn slot(link: Option<Link>) -> usize {
    match link {
        None => 0,
        Some(Link::Ethernet) => 1,
        Some(Link::Raw) => 2,
        Some(Link::Sll) => 3,
        Some(Link::Sll2) => 4,
        Some(Link::Null) => 5,
        Some(Link::NullBigEndian) => 6,
        Some(Link::Loop) => 7,
        Some(Link::Kernel) => 8,
    }
}

/// An expression from a file, with comments made blank as tcpdump does, so that places keep their numbers.
pub fn without_comments(text: &str) -> String {
    let mut comment = false;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        comment = c == '#' || comment && c != '\n';
        if comment {
            // A blank for each byte.
            out.extend(std::iter::repeat_n(' ', c.len_utf8()));
        } else {
            out.push(c);
        }
    }
    out
}

/// One more than the largest [`slot`].
const SLOTS: usize = 9;

/// What tcpdump keeps of a packet by default, and more than any frame has.
const WHOLE_FRAME: u32 = 262_144;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_has_a_slot_of_its_own() {
        let mut slots: Vec<_> = Link::ALL.iter().map(|&link| slot(Some(link))).chain([slot(None)]).collect();
        slots.sort_unstable();
        assert!(slots.iter().copied().eq(0..SLOTS));
    }

    #[test]
    fn the_empty_expression_passes_everything() {
        let filter = FileFilter::new(" \n", FileOptions::default());
        for link_type in [LinkType::ETHERNET, LinkType::RAW, LinkType(9999)] {
            assert_eq!(filter.matches(link_type, false, &[1, 2, 3], 3), Ok(262_144));
        }
    }

    #[test]
    fn other_link_types_are_refused() {
        let filter = FileFilter::new("tcp", FileOptions::default());
        let error = filter.matches(LinkType(9999), false, &[], 0).unwrap_err();
        assert_eq!(error.kind, ErrorKind::LinkType);
        // Headers cannot be found either where nobody knows them.
        let headers = FileOptions { snaplen: Snaplen::Headers { extra: 0 }, ..FileOptions::default() };
        assert!(FileFilter::new("", headers).matches(LinkType(9999), false, &[], 0).is_err());
    }

    /// TCP with 12 bytes of options in a frame of 100 bytes.
    fn tcp_frame() -> Vec<u8> {
        let mut frame = vec![0; 100];
        frame[12..14].copy_from_slice(&[8, 0]);
        (frame[14], frame[23], frame[14 + 20 + 12]) = (0x45, 6, 0x80);
        frame
    }

    /// What a frame's headers are is asked for after the verdict, and may lie behind the cut: then all that is there
    /// is kept.
    #[test]
    fn frames_cut_within_their_headers_pass_all_the_same() {
        let headers = FileOptions { snaplen: Snaplen::Headers { extra: 4 }, ..FileOptions::default() };
        let frame = tcp_frame();
        for expression in ["", "tcp", "ip or arp"] {
            let filter = FileFilter::new(expression, headers.clone());
            let plain = FileFilter::new(expression, FileOptions::default());
            for cut in 0..=frame.len() {
                let kept = filter.matches(LinkType::ETHERNET, false, &frame[..cut], 100).unwrap() as usize;
                let passes = plain.matches(LinkType::ETHERNET, false, &frame[..cut], 100).unwrap() != 0;
                assert_eq!(kept != 0, passes, "{expression}, cut to {cut}");
                if passes {
                    assert_eq!(kept.min(cut), cut.min(14 + 20 + 32 + 4), "{expression}, cut to {cut}");
                }
            }
        }
    }

    #[test]
    fn a_verdict_goes_by_the_length_before_the_cut() {
        let headers = FileOptions { snaplen: Snaplen::Headers { extra: 0 }, ..FileOptions::default() };
        let filter = FileFilter::new("len = 100", headers);
        let frame = tcp_frame();
        assert_eq!(filter.matches(LinkType::ETHERNET, false, &frame[..60], 100).unwrap().min(60), 60);
        assert_eq!(filter.matches(LinkType::ETHERNET, false, &frame[..60], 60), Ok(0));
    }

    #[test]
    fn opcodes_are_for_every_link_type() {
        let filter =
            FileFilter::of_text("4,48 0 0 1,21 0 1 6,6 0 0 96,6 0 0 0", FileOptions::default()).unwrap();
        assert_eq!(filter.expression(), None);
        for link_type in [LinkType::ETHERNET, LinkType(9999)] {
            assert_eq!(filter.matches(link_type, true, &[0, 6], 2), Ok(96));
            assert_eq!(filter.matches(link_type, true, &[0, 7], 2), Ok(0));
            assert_eq!(filter.matches(link_type, true, &[0], 2), Ok(0));
        }
        assert!(FileFilter::of_text("1\n6 0 0", FileOptions::default()).is_err());
    }

    #[test]
    fn comments_of_expressions_are_blank() {
        let text = "# wéb\nport 80 # or\nor port 443";
        let filter = FileFilter::of_text(text, FileOptions::default()).unwrap();
        assert_eq!(filter.expression(), Some("      \nport 80     \nor port 443"));
        assert_eq!(filter.expression().map(str::len), Some(text.len()));
    }
}
