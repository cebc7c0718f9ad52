//! The flags of `gannet httpry`: httpry's own letters.

use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;

use clap::Args;

use crate::units;

/// The flags of `gannet httpry`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct HttpryArgs {
    /// Fields of a line, separated by commas (as --fields of gannet http)
    #[arg(short = 'f', value_name = "FORMAT", allow_hyphen_values = true)]
    pub(crate) format: Option<String>,

    /// Write every line out at once
    #[arg(short = 'F')]
    pub(crate) flush: bool,

    /// Capture on this interface [default: any]
    #[arg(short = 'i', value_name = "DEVICE")]
    pub(crate) device: Option<String>,

    /// With -s: hosts with fewer requests per second are not shown [default: 2]
    #[arg(short = 'l', value_name = "THRESHOLD", value_parser = units::above_zero::<NonZeroU32>)]
    pub(crate) threshold: Option<NonZeroU32>,

    /// What requests begin with that are shown, separated by commas (as --method of gannet http)
    #[arg(short = 'm', value_name = "METHODS", allow_hyphen_values = true)]
    pub(crate) methods: Option<String>,

    /// Stop after so many requests and responses; 0 is for ever
    #[arg(short = 'n', value_name = "COUNT")]
    pub(crate) count: Option<u64>,

    /// Append to FILE, behind two lines of comment
    #[arg(short = 'o', value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Do not make the interface promiscuous
    #[arg(short = 'p')]
    pub(crate) no_promiscuous: bool,

    /// Say nothing but lines and errors
    #[arg(short = 'q')]
    pub(crate) quiet: bool,

    /// Read a capture file instead
    #[arg(short = 'r', value_name = "FILE")]
    pub(crate) read: Option<PathBuf>,

    /// Show the requests per second of each host instead of lines
    #[arg(short = 's')]
    pub(crate) rates: bool,

    /// With -s: how often, in seconds [default: 5]
    #[arg(short = 't', value_name = "SECONDS", value_parser = units::above_zero::<NonZeroU32>)]
    pub(crate) interval: Option<NonZeroU32>,

    /// Become this user, who gets the output file, once everything is open
    #[arg(short = 'u', value_name = "USER")]
    pub(crate) user: Option<String>,

    /// Not offered: record the packets with gannet record
    #[arg(short = 'b', value_name = "FILE", hide = true)]
    pub(crate) dump: Option<PathBuf>,

    /// Not offered: leave it to the system's service manager
    #[arg(short = 'd', hide = true)]
    pub(crate) daemon: bool,

    /// Not offered, as there is no daemon
    #[arg(short = 'P', value_name = "FILE", hide = true)]
    pub(crate) pid_file: Option<PathBuf>,

    /// Not offered: link headers of every kind are known
    #[arg(short = 'S', value_name = "BYTES", hide = true)]
    pub(crate) skip: Option<u64>,

    /// Which packets [default: tcp port 80 or 8080]
    #[arg(value_name = "EXPRESSION", value_delimiter = None, allow_negative_numbers = true)]
    pub(crate) filter: Vec<String>,
}

impl HttpryArgs {
    /// After how many heads to stop.
    pub(crate) fn limit(&self) -> Option<NonZeroU64> {
        self.count.and_then(NonZeroU64::new)
    }
}

const EXAMPLES: &str = "\
Examples:
  gannet httpry -i eth0
  gannet httpry -r capture.pcap -f timestamp,source-ip,host,request-uri,user-agent
  gannet httpry -i eth0 -s -t 10 -l 5 'tcp port 8000'";
