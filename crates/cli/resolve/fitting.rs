//! What the environment says, as far as it fits what was typed.
//!
//! A variable is set for many runs, also for those whose outputs it has no meaning for. On the command line such a
//! flag is a mistake and refused; from the environment it is for other runs, and left out of this one.

use clap::ArgMatches;
use clap::parser::ValueSource;
use gannet_record::Fields;
use gannet_record::fields::Choice;
use gannet_sink::EventKinds;

use super::{names_a_directory, selection};
use crate::args::HttpArgs;
use crate::units::FormatName;

/// The flags without what came from the environment and does not fit these outputs.
pub(super) fn fitting(args: &HttpArgs, matches: &ArgMatches, formats: &[FormatName]) -> HttpArgs {
    let mut args = args.clone();
    let inherited = |id| matches.value_source(id) == Some(ValueSource::EnvVariable);
    let has = |format| formats.contains(&format);
    let (messages, jsonl, httpry) =
        (has(FormatName::Messages), has(FormatName::Jsonl), has(FormatName::Httpry));
    if httpry {
        forget_conditions(&mut args, inherited);
    }
    if inherited("events") {
        let shown = messages || jsonl || has(FormatName::Text);
        // Conditions on whole exchanges hold for no message before its exchange is over.
        let late = selection::needs_exchanges(&args.selection);
        args.events = args.events.filter(|events| shown && (!late || *events == EventKinds::EXCHANGES));
    }
    if inherited("body") && !messages && !jsonl && !selection::needs_bodies(&args.selection) {
        args.body = None;
    }
    if inherited("rates") && (!httpry || !args.fields.is_empty() && !inherited("fields")) {
        args.rates = None;
    }
    if inherited("rate_threshold") && args.rates.is_none() {
        args.rate_threshold = None;
    }
    if inherited("fields") && !args.schema {
        let fit = match (jsonl, httpry) {
            (true, false) => {
                Choice::new(args.fields.iter().map(String::as_str)).is_ok() || has_dots(&args.fields)
            }
            (false, true) => {
                args.rates.is_none() && Fields::new(&args.fields).is_ok() && !has_dots(&args.fields)
            }
            (true, true) | (false, false) => false,
        };
        if !fit {
            args.fields.clear();
        }
    }
    let is_live = args.capture.read.is_empty();
    if inherited("record") && !is_live {
        args.record = None;
    }
    if inherited("rotate") && !args.record.as_deref().is_some_and(names_a_directory) {
        args.rotate = None;
    }
    args
}

/// httpry's lines are of packets, and other conditions than methods are of exchanges.
fn forget_conditions(args: &mut HttpArgs, inherited: impl Fn(&'static str) -> bool) {
    let selection = &mut args.selection;
    if inherited("host") {
        selection.host.clear();
    }
    if inherited("path") {
        selection.path.clear();
    }
    if inherited("status") {
        selection.status = None;
    }
    if inherited("slower") {
        selection.slower = None;
    }
    if inherited("where") {
        selection.r#where = None;
    }
}

/// Names of records have dots, those of httpry none: whose a mistaken name is meant to be.
fn has_dots(names: &[String]) -> bool {
    names.iter().any(|name| name.contains('.'))
}
