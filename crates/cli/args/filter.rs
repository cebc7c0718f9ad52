//! The flags of `gannet filter`.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum};

use crate::units::{self, SnaplenArg};

/// The flags of `gannet filter`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES, after_help = "`gannet filter --help` has examples.")]
pub(crate) struct FilterArgs {
    /// The expression, in one word or several; none accepts every packet
    ///
    /// Quote what the shell would take for itself, as in `'tcp[tcpflags] & tcp-syn != 0'`. Flags may stand before and
    /// behind; what follows -- is expression to the end.
    #[arg(value_name = "EXPR", allow_negative_numbers = true, value_delimiter = None)]
    pub(crate) expression: Vec<String>,

    /// Read the expression, or a list of opcodes, from a file; - is standard input
    ///
    /// Lists are those of `tcpdump -ddd`, `tcpdump -dd`, bpfc and bpf_asm. In an expression a comment goes from # to
    /// the end of the line. Excludes EXPR.
    #[arg(short = 'F', long, value_name = "FILE")]
    pub(crate) filter_file: Option<PathBuf>,

    /// How the program is printed: -d to read, -dd for C, -ddd as numbers [default: -d]
    ///
    /// Byte for byte as tcpdump prints its own.
    #[arg(short = 'd', action = ArgAction::Count)]
    pub(crate) dump: u8,

    /// Print beside each instruction what it means, and above them what the expression was taken for
    #[arg(long, conflicts_with_all = ["dump", "run"])]
    pub(crate) explain: bool,

    /// What frames begin with
    ///
    /// `kernel` is for live capture on any interface: the program finds headers, VLAN tags and interfaces by what the
    /// kernel knows of the packet. tcpdump's names (EN10MB, LINUX_SLL ...) are understood as well.
    #[arg(
        short = 'y',
        long,
        value_enum,
        ignore_case = true,
        default_value_t,
        value_name = "KIND",
        env = "GANNET_LINK",
        conflicts_with = "run"
    )]
    pub(crate) link: LinkArg,

    /// Leave the program as it was written down first
    ///
    /// An expression that no packet can pass is not refused then.
    #[arg(short = 'O', long, value_parser = BoolishValueParser::new(), env = "GANNET_NO_OPTIMIZE")]
    pub(crate) no_optimize: bool,

    /// What the program returns for a packet that passes: N bytes, or its headers [default: 262144]
    ///
    /// `headers` is computed: up to the end of the TCP, UDP or other layer-4 header, and with `headers+N` so many
    /// bytes more.
    #[arg(short, long, value_name = "N|headers[+N]", value_parser = units::snaplen, env = "GANNET_SNAPLEN")]
    pub(crate) snaplen: Option<SnaplenArg>,

    /// Ask DNS for host names that /etc/hosts does not have
    ///
    /// Without it such a name is a mistake.
    #[arg(long, value_parser = BoolishValueParser::new(), env = "GANNET_RESOLVE")]
    pub(crate) resolve: bool,

    /// Print how many packets of a capture file match instead; may repeat; - is standard input
    ///
    /// pcap and pcapng of any kind, also compressed with gzip or zstd. The expression is compiled for each link type
    /// in the file. With several files, each on a line: NAME:COUNT.
    #[arg(short = 'r', long, value_name = "FILE", conflicts_with = "dump")]
    pub(crate) run: Vec<PathBuf>,
}

/// `--link`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LinkArg {
    /// Ethernet, VLAN tags in the frame
    #[default]
    #[value(alias = "en10mb")]
    Ethernet,
    /// An IPv4 or IPv6 packet, nothing in front of it
    Raw,
    /// Linux cooked header, 16 bytes
    #[value(alias = "linux_sll")]
    Sll,
    /// Linux cooked header version 2, 20 bytes
    #[value(alias = "linux_sll2")]
    Sll2,
    /// BSD loopback: the address family in 4 bytes, little-endian
    Null,
    /// OpenBSD loopback: the address family in network byte order
    Loop,
    /// Packets on any interface, live
    Kernel,
}

const EXAMPLES: &str = "\
Examples:
  The program that a filter becomes:
      gannet filter 'tcp port 80'
  What it does, instruction by instruction:
      gannet filter --explain 'vlan 7 and tcp[tcpflags] & tcp-syn != 0'
  As `gannet record` runs it in the kernel, on interfaces of every kind:
      gannet filter --link kernel 'tcp port 80'
  How many packets of a capture it takes:
      gannet filter 'host 10.0.0.1 and not port 22' --run capture.pcapng
  For a program of your own in C, and for iptables -m bpf:
      gannet filter -dd 'udp port 53'
      gannet filter -ddd --link raw 'udp port 53' | tr '\\n' ','
  What an opcode list means:
      tcpdump -y EN10MB -ddd 'icmp or icmp6' > icmp.txt; gannet filter --explain -F icmp.txt";
