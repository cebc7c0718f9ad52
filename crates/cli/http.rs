//! `gannet http`: packets to HTTP records and latencies.

use std::io::{self, Write};

use clap::ArgMatches;

use crate::args::HttpArgs;
use crate::exit::{Error, Exit};
use crate::{capture, interfaces, resolve};

/// Runs the command. `matches` are those of the subcommand.
pub(crate) fn run(args: &HttpArgs, matches: &ArgMatches) -> Result<Exit, Error> {
    if args.capture.list_interfaces {
        return interfaces::run(args.capture.netns.last().map(String::as_str));
    }
    if args.schema {
        let choice = if args.fields.is_empty() { None } else { Some(resolve::chosen(args)?) };
        let schema = gannet_record::fields::schema(choice.as_ref());
        io::stdout().lock().write_all(schema.as_bytes()).map_err(Error::stdout)?;
        return Ok(Exit::Done);
    }
    capture::run(&resolve::http(args, matches, |variable| std::env::var_os(variable))?)
}
