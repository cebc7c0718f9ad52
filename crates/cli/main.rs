//! The `gannet` command: flags become a configuration, a configuration becomes a run of the pipeline.
//!
//! ```text
//!   args ── one definition per flag     resolve ── flags, environment, ──► record, http, stats, ──► capture
//!   units ─ text to numbers         ──►            machine                 filter, interfaces,
//!                                       refuse ─── what is not there       extract                  exit
//! ```
//!
//! One file per command; each returns how the process is to end, and [`main`] is the only place that ends it.
#![forbid(unsafe_code)]

mod args;
mod capture;
mod end_files;
mod exit;
mod extract;
mod filter;
mod filter_file;
mod http;
mod httpry;
mod interfaces;
mod manual;
mod record;
mod refuse;
mod resolve;
mod signals;
mod statistics;
mod stats;
mod units;
mod variables;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{ArgMatches, FromArgMatches};

use crate::args::{Cli, Command};
use crate::exit::{Error, Exit};

fn main() -> ExitCode {
    let command = args::command(|variable| std::env::var_os(variable));
    let matches = match command.clone().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return refuse_usage(&refuse::without_dashes(error), &command),
    };
    match run(&matches).map_err(|error| named(error, &command, &matches)) {
        Ok(exit) => exit.into(),
        Err(error) if error.is_closed_pipe() => Exit::Done.into(),
        Err(error) => {
            // Fails when nobody reads; there is nobody to tell then.
            let _ = writeln!(io::stderr().lock(), "gannet: {}", error.sentence());
            error.exit.into()
        }
    }
}

fn run(matches: &ArgMatches) -> Result<Exit, Error> {
    let cli = Cli::from_arg_matches(matches).map_err(Error::usage)?;
    match &cli.command {
        // There is a subcommand, or clap would not have returned.
        Command::Record(args) => match matches.subcommand() {
            Some((_, matches)) => record::run(args, matches),
            None => Err(Error::usage("no command")),
        },
        Command::Http(args) => match matches.subcommand() {
            Some((_, matches)) => http::run(args, matches),
            None => Err(Error::usage("no command")),
        },
        Command::Httpry(args) => httpry::run(args),
        Command::Stats(args) => match matches.subcommand() {
            Some((_, matches)) => stats::run(args, matches),
            None => Err(Error::usage("no command")),
        },
        Command::Filter(args) => filter::run(args),
        Command::Interfaces(args) => interfaces::run(args.netns.as_deref()),
        Command::Extract(args) => extract::run(args),
        Command::Completions { shell } => manual::completions(*shell),
        Command::Man { command } => manual::man(command.as_deref()),
    }
}

/// The error with the variable that it came from, if it came from one.
fn named(error: Error, command: &clap::Command, matches: &ArgMatches) -> Error {
    match matches.subcommand().map(|(name, matches)| (command.find_subcommand(name), matches)) {
        Some((Some(command), matches)) => variables::named(error, command, matches),
        _ => error,
    }
}

/// Help and version on stdout, mistakes on stderr with status 2.
fn refuse_usage(error: &clap::Error, command: &clap::Command) -> ExitCode {
    if let Some(sentence) = refuse::in_words(error) {
        let _ = writeln!(io::stderr().lock(), "gannet: {sentence}");
        return Exit::Usage.into();
    }
    match exit::words_of(error) {
        Some(words) => {
            let variable = variables::refused(error, command, std::env::args_os());
            let source = variable.map(|name| format!("{}: ", variables::in_words(&name))).unwrap_or_default();
            let _ = writeln!(io::stderr().lock(), "gannet: {source}{words}");
        }
        None => {
            let _ = error.print();
        }
    }
    if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() }
}
