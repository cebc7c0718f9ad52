//! What libpcap says: the programs of `tcpdump -ddd`.
//!
//! One process compiles one expression, 2 to 4 ms on a core, so the callers ask from several threads. The link type
//! comes from a savefile without packets, the way `tcpdump -r` has it; nothing is kept from one run to the next.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use gannet_filter::{Instruction, Link};

use super::foreign::Foreign;

/// Savefiles without packets, one per link type, in a directory of the caller's.
#[derive(Clone, Debug)]
pub struct Oracle {
    directory: std::path::PathBuf,
}

/// Whether libpcap's optimiser runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optimiser {
    /// As usual.
    On,
    /// `tcpdump -O`.
    Off,
}

/// An answer of libpcap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A program.
    Program(Foreign),
    /// "expression rejects all packets".
    RejectsAll,
    /// Any other refusal, in libpcap's words.
    Refused(String),
}

/// Every link type that a savefile can have.
pub const LINKS: [Link; 7] =
    [Link::Ethernet, Link::Raw, Link::Sll, Link::Sll2, Link::Null, Link::NullBigEndian, Link::Loop];

impl Oracle {
    /// Writes the savefiles.
    ///
    /// # Errors
    /// They cannot be written, or there is no tcpdump to be run.
    pub fn new(directory: &Path) -> io::Result<Self> {
        for link in LINKS {
            std::fs::File::create(directory.join(name(link)))?.write_all(&savefile(link))?;
        }
        Command::new("tcpdump").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// The same for tests: `None` after a loud line on stderr where there is no tcpdump.
    ///
    /// # Panics
    /// If there is none and the environment holds `REQUIRE_NETNS=1`: where everything must be tested, nothing may be
    /// left out silently.
    pub fn or_skip(directory: &Path) -> Option<Self> {
        match Self::new(directory) {
            Ok(oracle) => Some(oracle),
            Err(error) => {
                assert!(
                    std::env::var_os("REQUIRE_NETNS").is_none_or(|value| value != "1"),
                    "REQUIRE_NETNS=1, and tcpdump cannot be run: {error}"
                );
                // Written to the file itself: the test harness shows captured output of failures only.
                let _ = writeln!(io::stderr(), "SKIPPED, needs tcpdump: {error}");
                None
            }
        }
    }

    /// Compiles an expression for frames of a savefile.
    ///
    /// # Errors
    /// The process could not be run, or what it printed is no program.
    pub fn compile(&self, expression: &str, link: Link, optimiser: Optimiser) -> io::Result<Answer> {
        let mut command = Command::new("tcpdump");
        command.arg("-ddd").arg("-r").arg(self.directory.join(name(link)));
        if optimiser == Optimiser::Off {
            command.arg("-O");
        }
        ask(command, expression)
    }
}

/// Compiles an expression for a live interface, with what Linux gives filters beyond the frame; `command` is tcpdump
/// with `-i` and the interface, to be run in its namespace.
///
/// # Errors
/// As [`Oracle::compile`].
pub fn compile_live(mut command: Command, expression: &str) -> io::Result<Answer> {
    command.arg("-ddd");
    ask(command, expression)
}

fn ask(mut command: Command, expression: &str) -> io::Result<Answer> {
    let output = command.arg("--").arg(expression).stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        return parse(&text).map(|instructions| Answer::Program(Foreign::new(instructions))).ok_or_else(
            || io::Error::other(format!("tcpdump printed no program for {expression:?}: {text}")),
        );
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    // Before it come lines about the file and the privileges.
    let last = complaint.lines().rev().find_map(|line| line.strip_prefix("tcpdump: ")).unwrap_or(&complaint);
    if output.status.code().is_none() {
        return Err(io::Error::other(format!("tcpdump died on {expression:?}: {}", output.status)));
    }
    Ok(if last.contains("expression rejects all packets") {
        Answer::RejectsAll
    } else {
        Answer::Refused(last.trim().to_owned())
    })
}

/// The number of instructions, then one per line.
fn parse(text: &str) -> Option<Vec<Instruction>> {
    let mut lines = text.lines();
    let count: usize = lines.next()?.trim().parse().ok()?;
    let instructions: Vec<Instruction> = lines
        .map(|line| {
            let mut fields = line.split_whitespace();
            Some(Instruction {
                code: fields.next()?.parse().ok()?,
                jt: fields.next()?.parse().ok()?,
                jf: fields.next()?.parse().ok()?,
                k: fields.next()?.parse().ok()?,
            })
        })
        .collect::<Option<_>>()?;
    (instructions.len() == count).then_some(instructions)
}

fn name(link: Link) -> String {
    format!("{link:?}.pcap")
}

/// The header of a savefile of version 2.4, snaplen 262,144. The magic number's byte order says which machine wrote it.
fn savefile(link: Link) -> Vec<u8> {
    let number: u32 = match link {
        Link::Ethernet | Link::Kernel => 1,
        Link::Raw => 101,
        Link::Sll => 113,
        Link::Sll2 => 276,
        Link::Null | Link::NullBigEndian => 0,
        Link::Loop => 108,
    };
    let fields = [0xa1b2_c3d4, 2 | 4 << 16, 0, 0, 262_144, number];
    let big = [0xa1b2_c3d4, 2 << 16 | 4, 0, 0, 262_144, number];
    if link == Link::NullBigEndian {
        big.iter().flat_map(|field: &u32| field.to_be_bytes()).collect()
    } else {
        fields.iter().flat_map(|field: &u32| field.to_le_bytes()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_read() {
        let instructions = parse("2\n40 0 0 12\n6 0 0 262144\n").unwrap();
        assert_eq!(instructions[1], Instruction::statement(6, 262_144));
        assert_eq!(parse("3\n40 0 0 12\n6 0 0 262144\n"), None);
        assert_eq!(parse("1\n40 0 0\n"), None);
    }

    #[test]
    fn savefiles_are_24_bytes() {
        for link in LINKS {
            assert_eq!(savefile(link).len(), 24);
        }
        assert_eq!(savefile(Link::NullBigEndian)[..6], [0xa1, 0xb2, 0xc3, 0xd4, 0, 2]);
    }
}
