//! The command line as clap sees it: one definition per flag, from which help, completions and manual pages come.
//!
//! Flags are parsed to plain values here; what they mean together and on this machine is found out by
//! [`crate::resolve`]. Letters keep the meaning they have in tcpdump. Every flag that takes part in a run has an
//! environment variable, `GANNET_` and its long name; the command line wins over it.

mod filter;
mod flow;
mod http;
mod httpry;
mod selection;
mod stats;

use std::ffi::OsString;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{BoolishValueParser, Resettable};
use clap::{Arg, ArgGroup, Args, CommandFactory, Parser, Subcommand, ValueEnum};
use gannet_pipeline::config::{Rotate, Workers};
use gannet_ring::fanout::FanoutMode;

pub(crate) use self::filter::{FilterArgs, LinkArg};
pub(crate) use self::flow::FlowArgs;
pub(crate) use self::http::HttpArgs;
pub(crate) use self::httpry::HttpryArgs;
pub(crate) use self::selection::SelectionArgs;
pub(crate) use self::stats::StatsArgs;
use crate::units::{self, CpuList, SnaplenArg};

/// The command line as it is understood in this environment, of which `environment` looks a variable up.
///
/// A variable that is set to nothing is not set. `http` and `stats` share a variable for their outputs but not the
/// formats: one that only the other knows is meant for that.
pub(crate) fn command(environment: impl Fn(&str) -> Option<OsString>) -> clap::Command {
    let command = without_empty(Cli::command(), &environment);
    let Some(output) = environment("GANNET_OUTPUT").and_then(|value| value.into_string().ok()) else {
        return command;
    };
    let not_for = match (units::output(&output).is_ok(), units::flow_output(&output).is_ok()) {
        (true, false) => "stats",
        (false, true) => "http",
        _ => return command,
    };
    command.mut_subcommand(not_for, |sub| sub.mut_arg("output", without_variable))
}

/// The command line of `gannet http` for a command that has flags of its own: of the environment only what is about the
/// machine, which changes nothing that is written.
pub(crate) fn command_of_httpry(environment: impl Fn(&str) -> Option<OsString>) -> clap::Command {
    without_empty(Cli::command(), &environment).mut_subcommand("http", |http| {
        http.mut_args(|arg| {
            let is_of_machine = arg.get_help_heading() == Some(ENGINE) && arg.get_id() != "time_source";
            if is_of_machine || KEPT_BY_HTTPRY.contains(&arg.get_id().as_str()) {
                arg
            } else {
                without_variable(arg)
            }
        })
    })
}

fn without_empty(command: clap::Command, environment: &impl Fn(&str) -> Option<OsString>) -> clap::Command {
    let is_empty = |arg: &Arg| {
        let variable = arg.get_env().and_then(|variable| variable.to_str());
        variable.and_then(environment).is_some_and(|value| value.is_empty())
    };
    command
        .mut_subcommands(|sub| sub.mut_args(|arg| if is_empty(&arg) { without_variable(arg) } else { arg }))
}

pub(crate) fn without_variable(arg: Arg) -> Arg {
    arg.env(Resettable::Reset)
}

/// Where packets come from, and what happens around a run.
const KEPT_BY_HTTPRY: &[&str] = &["interface", "netns", "read", "stats", "stats_json", "strict", "user"];

/// Records network packets and turns them into HTTP records, on many cores; loses none silently.
#[derive(Debug, Parser)]
#[command(
    name = "gannet",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 110,
    after_long_help = OVERVIEW,
    after_help = "Exit status: 0 done, 2 usage, bad filter or bad file, 3 capture not opened, 4 loss with --strict, 5 output.\n\
                  `gannet --help` has examples, `gannet record --help` every flag."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Packets to disk at line rate
    ///
    /// Writes the packets of live interfaces, or of capture files, to pcapng or pcap files.
    ///
    /// Live packets go from the kernel's ring to the disk without being copied. The packet sockets are opened first
    /// (as root, or with the file capability cap_net_raw); then every privilege that is not needed any more is dropped.
    /// Ctrl-C ends the capture: what the ring holds is still written, and the report says where every packet went.
    /// SIGUSR1 prints the report, SIGHUP begins the next file.
    Record(Box<RecordArgs>),
    /// HTTP exchanges with their latencies, from live packets or capture files
    ///
    /// Finds HTTP/1 on any port by content, puts requests and responses together, and writes a record for each
    /// exchange: who asked whom for what, the status, sizes, and how long each part took, measured at the packets. At
    /// the end comes a table of latencies by route. TLS is not looked into.
    ///
    /// Ctrl-C ends the capture: what is under way is still reported, and the report says where every packet and record
    /// went. SIGUSR1 prints the report, SIGHUP opens the output files again.
    Http(Box<HttpArgs>),
    /// What `gannet http -o httpry` does, by httpry's own letters
    ///
    /// A line for each HTTP request and each response, as httpry 0.1.8 prints them; at the end its statistics on
    /// stderr. Nothing is masked in the lines; only on a terminal control characters are shown as \x1b.
    /// `gannet http --help` tells about fields, methods and rates, and has more to offer.
    Httpry(HttpryArgs),
    /// Conversations, endpoints and protocols, from live packets or capture files
    ///
    /// Writes a record for each flow when it is over: who talked to whom, how much each way, for how long, what was
    /// lost, how it ended, and for TCP the times of the handshake, Zeek's state and history, and what a TLS greeting
    /// said. Flows are TCP connections, and conversations of UDP, ICMP and other protocols. At the end come tables of
    /// who talks most.
    ///
    /// Ctrl-C ends the capture: flows that go on are reported as they are, and the report says where every packet and
    /// record went. SIGUSR1 prints the report, SIGHUP opens the output files again.
    Stats(Box<StatsArgs>),
    /// What a filter becomes, and what it takes
    ///
    /// Compiles an expression of the pcap-filter language, as tcpdump takes it, to a program for the kernel's classic
    /// BPF machine, and prints that, explains it, or counts the packets of capture files that match.
    Filter(FilterArgs),
    /// What can be captured on this machine
    ///
    /// Lists the interfaces with their state, link type, traffic and addresses, and what their drivers lost.
    Interfaces(InterfacesArgs),
    /// Check or mend capture files
    ///
    /// For files that a crash, a power failure or a full disk left behind.
    Extract(ExtractArgs),
    /// Print a completion script
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell it is for
        shell: clap_complete::Shell,
    },
    /// Print a manual page
    #[command(after_help = MAN_EXAMPLES)]
    Man {
        /// The command it is about; without one, the page of gannet itself
        command: Option<String>,
    },
}

/// The flags of `gannet record`.
#[derive(Debug, Args)]
#[command(after_long_help = RECORD_EXAMPLES, after_help = "`gannet record --help` has examples.")]
pub(crate) struct RecordArgs {
    #[command(flatten)]
    pub(crate) capture: CaptureArgs,

    /// File, directory, or - for standard output [default: a new file here]
    ///
    /// A file grows under its own name. A directory (it exists, or PATH ends in /) gets files that appear
    /// under their final names when they are complete. What exists and is neither (a device, a FIFO) is written to
    /// as it is. Files are created with mode 0600.
    #[arg(short = 'w', long, value_name = "PATH", env = "GANNET_WRITE", help_heading = OUTPUT)]
    pub(crate) write: Option<PathBuf>,

    /// When the next file of a directory begins: `SIZE[,TIME][,align]`
    ///
    /// At whichever bound comes first. `align` begins files on multiples of TIME of the clock (UTC).
    #[arg(long, value_name = "SPEC", value_parser = units::rotate, env = "GANNET_ROTATE", help_heading = OUTPUT)]
    pub(crate) rotate: Option<Rotate>,

    /// File format; pcap has microseconds, pcap-ns nanoseconds
    ///
    /// pcapng keeps interfaces, directions and drop counts as well, and is the one that needs no copy.
    #[arg(long, value_enum, default_value_t, env = "GANNET_FORMAT", help_heading = OUTPUT)]
    pub(crate) format: FormatArg,

    /// How packets get from the ring to the file
    ///
    /// `zero-copy` writes ring memory as it is: least CPU, somewhat larger files. `copy` packs packets
    /// densely. `auto` copies while there is time to spare and stops copying when blocks queue.
    #[arg(long, value_enum, default_value_t, env = "GANNET_WRITER", help_heading = OUTPUT)]
    pub(crate) writer: WriterArg,

    /// Write every frame with a Linux cooked header (SLL2)
    ///
    /// One file then holds frames of all link types, where otherwise frames of a further link type go to a file of
    /// their own. Copies.
    #[arg(long, value_parser = BoolishValueParser::new(), env = "GANNET_COOKED", help_heading = OUTPUT)]
    pub(crate) cooked: bool,
}

/// The flags of every command that takes packets.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = PACKETS)]
pub(crate) struct CaptureArgs {
    /// Capture live on this interface; may repeat [default: any]
    ///
    /// `any` is every interface that is up. NET_DEVICE and VPC_MIRROR_DEVICE are taken as well if neither this nor
    /// -r is given.
    #[arg(short, long, value_name = "IF", env = "GANNET_INTERFACE")]
    pub(crate) interface: Vec<String>,

    /// The interfaces that follow are in this network namespace
    ///
    /// A name of `ip netns`, a process id, or the path of a namespace file.
    #[arg(long, value_name = "NAME|PID|PATH", env = "GANNET_NETNS")]
    pub(crate) netns: Vec<String>,

    /// List the interfaces and exit (as `gannet interfaces`)
    #[arg(short = 'D', long)]
    pub(crate) list_interfaces: bool,

    /// Read a capture file instead; may repeat; - is standard input
    ///
    /// pcap and pcapng of any kind, also compressed with gzip or zstd. Several are merged by time, those of one
    /// recording (`-w dir/`) read in the order of their names.
    #[arg(short, long, value_name = "FILE", env = "GANNET_READ")]
    pub(crate) read: Vec<PathBuf>,

    /// Which packets: a filter as tcpdump takes it, in one word or several
    ///
    /// Live it runs in the kernel, on interfaces of every kind at once. Quote what the shell would take for itself,
    /// as in `'tcp[tcpflags] & tcp-syn != 0'`. Flags may stand before and behind; what follows -- is filter to the
    /// end.
    #[arg(value_name = "FILTER", env = "GANNET_FILTER", allow_negative_numbers = true, value_delimiter = None)]
    pub(crate) filter: Vec<String>,

    /// Read the filter from a file: an expression, or a list of opcodes
    ///
    /// Lists are those of `tcpdump -ddd`, `tcpdump -dd` and bpfc; they are run as they are, on frames from the link
    /// header on. In an expression a comment goes from # to the end of the line. Excludes FILTER.
    #[arg(short = 'F', long, value_name = "FILE", env = "GANNET_FILTER_FILE")]
    pub(crate) filter_file: Option<PathBuf>,

    /// Ask DNS for host names in the filter that /etc/hosts does not have
    ///
    /// Once, before the capture is opened. Without it such a name is a mistake.
    #[arg(long, value_parser = BoolishValueParser::new(), env = "GANNET_RESOLVE")]
    pub(crate) resolve: bool,

    /// Keep packets of this direction
    ///
    /// On loopback each packet is seen once whatever the direction.
    #[arg(short = 'Q', long, value_enum, default_value_t, value_name = "DIR", env = "GANNET_DIRECTION")]
    pub(crate) direction: DirectionArg,

    /// Keep packets of this kind only
    #[arg(long = "type", value_enum, value_name = "KIND", env = "GANNET_TYPE")]
    pub(crate) packet_type: Option<PacketTypeArg>,

    /// Keep at most N bytes of each packet, or its headers; 0 is the default [default: 262144]
    ///
    /// `headers` keeps up to the end of the TCP, UDP or other layer-4 header, `headers+N` so many bytes more; live
    /// the kernel finds the place. The default is the most that other tools can read, and above any frame a network
    /// card delivers.
    #[arg(short, long, value_name = "N|headers[+N]", value_parser = units::snaplen, env = "GANNET_SNAPLEN")]
    pub(crate) snaplen: Option<SnaplenArg>,

    /// Do not make the interface promiscuous
    ///
    /// A named interface is made promiscuous by default, `any` never is.
    #[arg(short = 'p', long, value_parser = BoolishValueParser::new(), env = "GANNET_NO_PROMISCUOUS")]
    pub(crate) no_promiscuous: bool,

    /// Stop after exactly N packets, over all workers
    #[arg(short, long, value_name = "N", value_parser = units::above_zero::<NonZeroU64>, env = "GANNET_COUNT")]
    pub(crate) count: Option<NonZeroU64>,

    /// Stop after this time
    #[arg(long, value_name = "TIME", value_parser = units::time, env = "GANNET_DURATION")]
    pub(crate) duration: Option<Duration>,

    /// Capture threads, or auto: half the CPUs, at most 4 [default: 1 for a single file, else auto]
    ///
    /// Several workers that write one file keep the order of packets for each worker only.
    #[arg(long, value_name = "N|auto", value_parser = units::workers, env = "GANNET_WORKERS", help_heading = ENGINE)]
    pub(crate) workers: Option<Workers>,

    /// CPUs to pin the workers to, like 0,2,4-7; with -r those of the whole run [default: those the process may use]
    #[arg(long, value_name = "LIST", value_parser = units::cpus, env = "GANNET_CPUS", help_heading = ENGINE)]
    pub(crate) cpus: Option<CpuList>,

    /// How the kernel spreads packets over workers
    ///
    /// `flow` keeps both directions of a flow on one worker, also through VLANs, fragments and VXLAN. The others are
    /// the kernel's own: by its hash, by CPU, by receive queue, in turn, at random, to the next when one is full.
    #[arg(long, value_parser = units::fanout(), default_value_t, value_name = "MODE", env = "GANNET_FANOUT",
          help_heading = ENGINE)]
    pub(crate) fanout: FanoutMode,

    /// Ring memory per worker [default: 256MiB, of http and stats 64MiB, all together at most 1/16 of the memory]
    ///
    /// The burst that the worker or the disk may lag behind. It cannot be swapped. The size obtained is printed.
    #[arg(long, value_name = "SIZE", value_parser = units::size, env = "GANNET_RING_SIZE", help_heading = ENGINE)]
    pub(crate) ring_size: Option<NonZeroU64>,

    /// As --ring-size, in KiB
    #[arg(short = 'B', long, value_name = "KIB", value_parser = units::kib,
          env = "GANNET_BUFFER_SIZE", help_heading = ENGINE)]
    pub(crate) buffer_size: Option<NonZeroU64>,

    /// Size of a ring block, which is one write to the disk [default: 1MiB]
    ///
    /// Larger blocks cost more ring when the kernel hands one over half empty, smaller ones cost writes.
    #[arg(long, value_name = "SIZE", value_parser = units::size32, env = "GANNET_BLOCK_SIZE", help_heading = ENGINE)]
    pub(crate) block_size: Option<NonZeroU32>,

    /// The kernel hands over a block that is not full after this time [default: 100ms]
    ///
    /// Bounds how late a packet reaches the file on a quiet link.
    #[arg(long, value_name = "TIME", value_parser = units::time, env = "GANNET_BLOCK_TIMEOUT", help_heading = ENGINE)]
    pub(crate) block_timeout: Option<Duration>,

    /// Clock of the time stamps: the card's (hw), the kernel's (sw), or the card's where it has one
    #[arg(long, value_enum, default_value_t, value_name = "CLOCK", env = "GANNET_TIME_SOURCE", help_heading = ENGINE)]
    pub(crate) time_source: TimeSourceArg,

    /// Print a line of counters to stderr this often
    #[arg(long, value_name = "TIME", value_parser = units::time, env = "GANNET_STATS", help_heading = REPORTS)]
    pub(crate) stats: Option<Duration>,

    /// Write the loss ledger to this file as JSON at the end; - is standard output
    #[arg(long, value_name = "FILE", env = "GANNET_STATS_JSON", help_heading = REPORTS)]
    pub(crate) stats_json: Option<PathBuf>,

    /// Exit with status 4 if packets were lost
    #[arg(long, value_parser = BoolishValueParser::new(), env = "GANNET_STRICT", help_heading = REPORTS)]
    pub(crate) strict: bool,

    /// Become this user once everything is open
    ///
    /// Files that begin later, in a directory or by SIGHUP, belong to that user, who must be allowed to create them.
    /// Without -Z root, too, may create them only where its name allows it, and not in somebody else's directory.
    #[arg(short = 'Z', long, value_name = "USER", env = "GANNET_USER", help_heading = REPORTS)]
    pub(crate) user: Option<String>,

    /// Print warnings and errors only
    #[arg(short, long, value_parser = BoolishValueParser::new(), env = "GANNET_QUIET", help_heading = REPORTS)]
    pub(crate) quiet: bool,

    /// Ask nobody for names, which is the default: --resolve turned off
    // tcpdump's users write -nn.
    #[arg(short = 'n', long, value_parser = BoolishValueParser::new(), env = "GANNET_NUMERIC", overrides_with = "numeric",
          help_heading = REPORTS)]
    pub(crate) numeric: bool,

    /// Hand packets to the output as soon as they are there
    ///
    /// For somebody who reads the other end of a pipe. Costs a write for each of the ring's blocks.
    #[arg(short = 'U', long, value_parser = BoolishValueParser::new(), env = "GANNET_PACKET_BUFFERED",
          help_heading = REPORTS)]
    pub(crate) packet_buffered: bool,
}

/// The flags of `gannet interfaces`.
#[derive(Debug, Args)]
#[command(after_help = INTERFACES_EXAMPLES)]
pub(crate) struct InterfacesArgs {
    /// List those of this network namespace
    ///
    /// A name of `ip netns`, a process id, or the path of a namespace file.
    #[arg(long, value_name = "NAME|PID|PATH", env = "GANNET_NETNS")]
    pub(crate) netns: Option<String>,
}

/// The flags of `gannet extract`.
#[derive(Debug, Args)]
#[command(after_help = EXTRACT_EXAMPLES, group = ArgGroup::new("action").args(["verify", "repair"]).required(true))]
pub(crate) struct ExtractArgs {
    /// Capture files, or directories of them
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,

    /// Read every file to its end and say what is in it; nothing is changed
    #[arg(long)]
    pub(crate) verify: bool,

    /// Make files readable to their end again
    ///
    /// What was never completely written is covered by a block that every reader skips, and the rest is cut off.
    #[arg(long)]
    pub(crate) repair: bool,
}

/// `--format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatArg {
    #[default]
    Pcapng,
    Pcap,
    PcapNs,
}

/// `--writer`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum WriterArg {
    #[default]
    Auto,
    ZeroCopy,
    Copy,
}

/// `-Q`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DirectionArg {
    In,
    Out,
    #[default]
    Inout,
}

/// `--type`, with netsniff-ng's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PacketTypeArg {
    Host,
    Broadcast,
    Multicast,
    Others,
    Outgoing,
}

/// `--time-source`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TimeSourceArg {
    #[default]
    Auto,
    Hw,
    Sw,
}

pub(crate) const PACKETS: &str = "Packets";
pub(crate) const OUTPUT: &str = "Output";
pub(crate) const ENGINE: &str = "Engine";
const REPORTS: &str = "Reports and safety";

const OVERVIEW: &str = "\
Sizes take KiB MiB GiB TiB (and kB MB GB TB, or k M G T, as powers of 1000), times ms s m h d. Every flag has an
environment variable, such as GANNET_RING_SIZE for --ring-size; the command line wins.

Exit status:
  0  done; Ctrl-C, SIGTERM and a reader that closes the pipe are normal ends
  2  wrong usage, a filter that means nothing, or a file that is not what it should be
  3  the capture could not be opened: permission, no such interface
  4  packets were lost and --strict was given
  5  the output could not be opened or written

Examples:
  gannet http                               what HTTP goes through this machine, and how fast
  gannet stats -r capture.pcapng            who talked to whom
  gannet interfaces                         what can be captured
  gannet record -i eth0 -w eth0.pcapng      until Ctrl-C
  gannet filter --explain 'tcp port 80'     what a filter does
  gannet extract --verify eth0.pcapng       is the file whole?";

const RECORD_EXAMPLES: &str = "\
Examples:
  Everything on eth0 until Ctrl-C, into a file named after interface and time:
      gannet record -i eth0
  Every interface, for ten seconds:
      gannet record --duration 10s -w first.pcapng
  A directory with a new file every 1 GiB or every hour, as an ordinary user once everything is open:
      gannet record -i eth0 -w /var/captures/ --rotate 1GiB,1h,align -Z nobody
  Four workers on chosen CPUs, with more ring for a disk that pauses, and an error if anything is lost:
      gannet record -i eth0 -w caps/ --workers 4 --cpus 2,4,6,8 --ring-size 1GiB --strict
  The first 1000 packets that came in, 96 bytes of each, to another program:
      gannet record -i eth0 -Q in -s 96 -c 1000 -w - | tcpdump -nr -
  The web traffic of two hosts, on whatever interface it comes:
      gannet record -w web.pcapng 'port (80 or 443) and host (10.0.0.1 or 10.0.0.2)'
  The headers of everything but ssh, and 64 bytes more of each packet:
      gannet record -i eth0 -s headers+64 -w headers.pcapng not port 22
  An interface of a container:
      gannet record --netns 4711 -i eth0 -w container.pcapng
  What tcpdump would select of a file:
      gannet record -r in.pcapng -w syn.pcapng 'tcp[tcpflags] & tcp-syn != 0'
  A pcapng file with several link types or sections, as classic pcap:
      gannet record -r in.pcapng --format pcap -w out.pcap";

const INTERFACES_EXAMPLES: &str = "\
Examples:
  gannet interfaces
  gannet interfaces --netns lab";

const EXTRACT_EXAMPLES: &str = "\
Examples:
  Is every file of the directory whole? (exit status 2 if not)
      gannet extract --verify /var/captures/
  After a power failure:
      gannet extract --repair /var/captures/";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  gannet completions bash > /etc/bash_completion.d/gannet";

const MAN_EXAMPLES: &str = "\
Examples:
  gannet man http | man -l -";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    /// The contract: every flag of a run has an environment variable, named after its long name.
    #[test]
    fn every_flag_has_its_variable() {
        let command = Cli::command();
        for name in ["record", "http", "stats"] {
            for arg in command.find_subcommand(name).unwrap().get_arguments() {
                // The words of the filter are no flag, and named after what they are.
                let long = arg.get_long().unwrap_or(arg.get_id().as_str());
                if ["list-interfaces", "help"].contains(&long) {
                    continue;
                }
                let expected = format!("GANNET_{}", long.to_uppercase().replace('-', "_"));
                assert_eq!(arg.get_env().and_then(|name| name.to_str()), Some(expected.as_str()), "--{long}");
            }
        }
    }

    #[test]
    fn every_flag_is_described_and_every_command_ends_in_examples() {
        let mut command = Cli::command();
        command.build();
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
            for arg in sub.get_arguments() {
                assert!(arg.get_help().is_some(), "{} {}", sub.get_name(), arg.get_id());
            }
            let help = sub.clone().render_long_help().to_string();
            let last = help.rsplit("\n\n").next().unwrap();
            assert!(last.starts_with("Examples:"), "{} ends in {last}", sub.get_name());
        }
    }
}
