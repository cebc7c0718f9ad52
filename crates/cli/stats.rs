//! `gannet stats`: packets to records of flows, and tables of who talks most.

use clap::ArgMatches;

use crate::args::StatsArgs;
use crate::exit::{Error, Exit};
use crate::{capture, interfaces, resolve};

/// Runs the command. `matches` are those of the subcommand.
pub(crate) fn run(args: &StatsArgs, matches: &ArgMatches) -> Result<Exit, Error> {
    if args.capture.list_interfaces {
        return interfaces::run(args.capture.netns.last().map(String::as_str));
    }
    capture::run(&resolve::stats(args, matches, |variable| std::env::var_os(variable))?)
}
