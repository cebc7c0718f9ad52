//! `gannet http`: packets to HTTP records and latencies.

use clap::ArgMatches;

use crate::args::HttpArgs;
use crate::exit::{Error, Exit};
use crate::{capture, interfaces, resolve};

/// Runs the command. `matches` are those of the subcommand.
pub(crate) fn run(args: &HttpArgs, matches: &ArgMatches) -> Result<Exit, Error> {
    if args.capture.list_interfaces {
        return interfaces::run(args.capture.netns.last().map(String::as_str));
    }
    capture::run(&resolve::http(args, matches, |variable| std::env::var_os(variable))?)
}
