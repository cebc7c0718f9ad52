//! `gannet filter`: what an expression becomes, and what it takes out of capture files.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use gannet_filter::opcodes::{CSource, Decimal};
use gannet_filter::{FileFilter, FileOptions, Link, Names, Options, Snaplen, explain, resolve};
use gannet_pipeline::config::{DEFAULT_SNAPLEN, FileInput};
use gannet_pipeline::count::count;

use crate::args::{FilterArgs, LinkArg};
use crate::exit::{Error, Exit};
use crate::filter_file::{self, Source};
use crate::units::{SnaplenArg, is_dash};

/// Runs the command.
pub(crate) fn run(args: &FilterArgs) -> Result<Exit, Error> {
    let source = source(args)?;
    if matches!((&source, args.snaplen), (Source::Opcodes(_), Some(_))) {
        return Err(Error::usage("-s is for expressions: a list of opcodes says itself how much it keeps"));
    }
    if args.run.is_empty() { print(args, &source) } else { count_in_files(args, source) }
}

fn source(args: &FilterArgs) -> Result<Source, Error> {
    let Some(path) = &args.filter_file else { return Ok(Source::Expression(args.expression.join(" "))) };
    if !args.expression.is_empty() {
        return Err(Error::usage("-F and an expression exclude each other"));
    }
    filter_file::read(path)
}

fn print(args: &FilterArgs, source: &Source) -> Result<Exit, Error> {
    let names = names(args);
    let link = link(args.link);
    let compiled;
    let program = match source {
        Source::Opcodes(program) => program,
        Source::Expression(text) => {
            let snaplen = snaplen(args.snaplen);
            let options = Options { link, snaplen, optimise: !args.no_optimize, netmask: 0, names: &names };
            compiled = gannet_filter::compile(text, &options).map_err(|error| refused(text, &error))?;
            &compiled
        }
    };
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = match args.dump {
        _ if args.explain => {
            if let Source::Expression(expression) = source {
                let tree =
                    resolve::resolve(expression, &names).map_err(|error| refused(expression, &error))?;
                text.push_str(&explain::tree(&tree));
                text.push('\n');
            }
            write!(text, "{}", explain::listing(program, link))
        }
        0 | 1 => writeln!(text, "{program}"),
        2 => write!(text, "{}", CSource(program)),
        _ => write!(text, "{}", Decimal(program)),
    };
    io::stdout().lock().write_all(text.as_bytes()).map_err(Error::stdout)?;
    Ok(Exit::Done)
}

fn count_in_files(args: &FilterArgs, source: Source) -> Result<Exit, Error> {
    let filter = match source {
        Source::Opcodes(program) => FileFilter::of_program(&program),
        Source::Expression(text) => {
            let names = Arc::new(names(args));
            let (snaplen, optimise) = (snaplen(args.snaplen), !args.no_optimize);
            let options = FileOptions { snaplen, optimise, names, pass_other_links: false };
            // What is wrong with it whatever the link type is told before any file is opened.
            resolve::resolve(&text, &options.names).map_err(|error| match file_among(&args.expression) {
                Some(word) => Error::usage(format!("'{word}' is a file: write --run before each of them")),
                None => refused(&text, &error),
            })?;
            FileFilter::new(text, options)
        }
    };
    let several = args.run.len() > 1;
    for path in &args.run {
        let input = if is_dash(path) { FileInput::Stdin } else { FileInput::Path(path.clone()) };
        let count = count(&input, &filter).map_err(|error| not_counted(path, error))?;
        if let Some(warning) = &count.warning {
            // Fails when nobody reads; there is nobody to tell then.
            let _ = writeln!(io::stderr().lock(), "gannet: warning: {}: {warning}", path.display());
        }
        let name = if several { format!("{}:", path.display()) } else { String::new() };
        writeln!(io::stdout().lock(), "{name}{}", count.matching).map_err(Error::stdout)?;
    }
    Ok(Exit::Done)
}

fn names(args: &FilterArgs) -> Names {
    let mut names = Names::default();
    names.ask_resolver = args.resolve;
    names
}

fn snaplen(arg: Option<SnaplenArg>) -> Snaplen {
    match arg {
        None => Snaplen::Fixed(DEFAULT_SNAPLEN.get()),
        Some(SnaplenArg::Bytes(bytes)) => Snaplen::Fixed(bytes.get()),
        Some(SnaplenArg::Headers(extra)) => Snaplen::Headers { extra },
    }
}

fn link(arg: LinkArg) -> Link {
    match arg {
        LinkArg::Ethernet => Link::Ethernet,
        LinkArg::Raw => Link::Raw,
        LinkArg::Sll => Link::Sll,
        LinkArg::Sll2 => Link::Sll2,
        LinkArg::Null => Link::Null,
        LinkArg::Loop => Link::Loop,
        LinkArg::Kernel => Link::Kernel,
    }
}

/// A file that could not be counted; a refusal of the filter with the place in it.
fn not_counted(path: &Path, error: gannet_pipeline::Error) -> Error {
    match &error {
        gannet_pipeline::Error::Filter { place, text, source } => {
            let place = place.clone().unwrap_or_else(|| path.display().to_string());
            Error::usage(format!("{place}: {}", source.render(text)))
        }
        _ => Error { exit: error.failure().into(), cause: error.into() },
    }
}

/// A word of the expression that is a file's name: `--run *.pcap` gives the flag the first file only.
fn file_among(words: &[String]) -> Option<&str> {
    words.iter().map(String::as_str).find(|word| Path::new(word).is_file())
}

/// A refusal with the place that it is about.
fn refused(text: &str, error: &gannet_filter::Error) -> Error {
    Error::usage(error.render(text))
}
