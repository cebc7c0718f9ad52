//! `gannet record`: packets to disk.

use clap::ArgMatches;

use crate::args::RecordArgs;
use crate::exit::{Error, Exit};
use crate::{capture, interfaces, resolve};

/// Runs the command. `matches` are those of the subcommand.
pub(crate) fn run(args: &RecordArgs, matches: &ArgMatches) -> Result<Exit, Error> {
    if args.capture.list_interfaces {
        return interfaces::run(args.capture.netns.last().map(String::as_str));
    }
    capture::run(&resolve::recording(args, matches, |variable| std::env::var_os(variable))?)
}
