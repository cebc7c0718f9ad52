//! The recorders that are compared: their command lines, and how each says that it is ready.

use std::path::Path;
use std::process::Command;

use clap::ValueEnum;
use gannet_testkit::lab::{Lab, Side};

use crate::process::Ready;

/// A recorder with a set of options; each is a row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum Tool {
    /// gannet record
    Gannet,
    /// gannet record --format pcap
    GannetPcap,
    /// tcpdump with its default buffer of 2 MiB
    Tcpdump,
    /// tcpdump with a buffer of 256 MiB, what gannet has
    TcpdumpBig,
    /// dumpcap with its default buffer of 2 MiB
    Dumpcap,
    /// dumpcap with a buffer of 256 MiB
    DumpcapBig,
    /// netsniff-ng with its default ring
    NetsniffNg,
    /// netsniff-ng with a ring of 256 MiB
    NetsniffNgBig,
    /// stenotype with 256 blocks of 1 MiB, without its index
    Stenotype,
}

impl Tool {
    /// As in the table and on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Records the lab's receiving interface into the directory until SIGINT.
    ///
    /// Each peer gets what its manual recommends for recording and nothing that costs it time: full frames, no
    /// counts on the terminal, no change of user (the directory is root's), no index, no watchdog.
    pub(crate) fn command(self, lab: &Lab, gannet: &Path, directory: &Path) -> Command {
        let interface = Side::Receiver.interface();
        let file = directory.join("capture");
        let start = |program: &Path, words: &str| {
            let mut command = lab.command(Side::Receiver, program);
            command.args(words.split_whitespace());
            command
        };
        let to_file = |program: &str, words: &str, option: &str| {
            let mut command = start(Path::new(program), &format!("{words} {interface} {option}"));
            command.arg(&file);
            command
        };
        match self {
            Self::Gannet | Self::GannetPcap => {
                let format = if self == Self::GannetPcap { "--format pcap" } else { "" };
                let mut command = start(gannet, &format!("record {format} -i {interface} -w"));
                command.arg(&file);
                command
            }
            Self::Tcpdump => to_file("tcpdump", "-Z root -s 0 -i", "-w"),
            Self::TcpdumpBig => to_file("tcpdump", "-Z root -s 0 -B 262144 -i", "-w"),
            Self::Dumpcap => to_file("dumpcap", "-q -i", "-w"),
            Self::DumpcapBig => to_file("dumpcap", "-q -B 256 -i", "-w"),
            Self::NetsniffNg => to_file("netsniff-ng", "--silent --in", "--out"),
            Self::NetsniffNgBig => to_file("netsniff-ng", "--silent --ring-size 256MiB --in", "--out"),
            Self::Stenotype => {
                let mut command = start(
                    Path::new("stenotype"),
                    &format!(
                        "--iface={interface} --threads=1 --blocks=256 --blockage_sec=1 --no_index --no_watchdogs \
                         --uid=root --gid=root --seccomp=none"
                    ),
                );
                command.arg(format!("--dir={}", directory.display()));
                command
            }
        }
    }

    /// Directories that must be there before it starts.
    pub(crate) fn directories(self) -> &'static [&'static str] {
        if self == Self::Stenotype { &["PKT0", "IDX0"] } else { &[] }
    }

    /// See [`Ready`].
    pub(crate) fn ready(self) -> Ready {
        match self {
            Self::Gannet | Self::GannetPcap => Ready::Line("capturing on"),
            Self::Tcpdump | Self::TcpdumpBig => Ready::Line("listening on"),
            Self::Dumpcap | Self::DumpcapBig => Ready::Line("File:"),
            Self::NetsniffNg | Self::NetsniffNgBig | Self::Stenotype => Ready::Socket,
        }
    }

    /// True if it writes the kernel's blocks instead of a capture file.
    pub(crate) fn writes_blocks(self) -> bool {
        self == Self::Stenotype
    }

    /// True if it has to be killed after SIGINT: stenotype 1.0.1 waits for a write although none is under way.
    /// What it captured has been written by then.
    pub(crate) fn hangs_at_its_end(self) -> bool {
        self == Self::Stenotype
    }

    /// Seconds from the last frame until the recorder has surely taken it: twice its block time-out and more.
    pub(crate) fn settle_seconds(self) -> f64 {
        if self == Self::Stenotype { 4.0 } else { 1.5 }
    }

    /// The command that prints its version, for the header of the report.
    pub(crate) fn version(self, gannet: &Path) -> Option<Command> {
        let (program, words): (&Path, &[&str]) = match self {
            Self::Gannet => (gannet, &["--version"]),
            Self::Tcpdump => (Path::new("tcpdump"), &["--version"]),
            Self::Dumpcap => (Path::new("dumpcap"), &["--version"]),
            Self::NetsniffNg => (Path::new("netsniff-ng"), &["--version"]),
            Self::Stenotype => (Path::new("dpkg-query"), &["-W", "stenographer"]),
            _ => return None,
        };
        let mut command = Command::new(program);
        command.args(words);
        Some(command)
    }
}
