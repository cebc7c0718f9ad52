//! Which variable of the environment a mistake came from: whoever reads of `--count` has not typed it.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use crate::args::without_variable;
use crate::exit::Error;

/// The variable whose value clap has refused; `None` if the value was typed. `command` has refused these `words`.
pub(crate) fn refused(
    error: &clap::Error,
    command: &Command,
    words: impl IntoIterator<Item = OsString>,
) -> Option<String> {
    let long = flag_of(error)?;
    let is_it = |arg: &Arg| arg.get_long() == Some(long.as_str());
    let mut subcommands = command.get_subcommands().flat_map(Command::get_arguments);
    let variable = subcommands.find(|arg| is_it(arg)).and_then(Arg::get_env)?.to_str()?.to_owned();
    // Where it was typed, it is refused without the variable as well.
    let without = command.clone().mut_subcommands(|subcommand| {
        subcommand.mut_args(|arg| if is_it(&arg) { without_variable(arg) } else { arg })
    });
    let typed = without.try_get_matches_from(words).is_err_and(|other| flag_of(&other) == flag_of(error));
    (!typed).then_some(variable)
}

/// The long name of the flag whose value was refused.
fn flag_of(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(named)) = error.get(ContextKind::InvalidArg) else { return None };
    error.get(ContextKind::InvalidValue)?;
    Some(named.strip_prefix("--")?.split([' ', '=', '[']).next()?.to_owned())
}

/// The error with the name of the variable that it is about. `matches` are those of `command`.
pub(crate) fn named(error: Error, command: &Command, matches: &ArgMatches) -> Error {
    let sentence = error.sentence();
    let inherited = |arg: &&Arg| {
        let id = arg.get_id().as_str();
        matches.try_contains_id(id).is_ok() && matches.value_source(id) == Some(ValueSource::EnvVariable)
    };
    let about = command.get_arguments().filter(inherited).find(|arg| is_about(&sentence, arg, matches));
    match about.and_then(Arg::get_env).and_then(|variable| variable.to_str()) {
        Some(variable) => Error { cause: error.cause.context(in_words(variable)), ..error },
        None => error,
    }
}

/// What stands in front of a refusal.
pub(crate) fn in_words(variable: &str) -> String {
    format!("{variable} in the environment")
}

/// Whether a sentence begins with a flag, or says what could not be opened.
fn is_about(sentence: &str, arg: &Arg, matches: &ArgMatches) -> bool {
    let begins = |flag: &str| {
        let rest = sentence.strip_prefix(flag);
        rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '-'))
    };
    let is_named = match (arg.get_long(), arg.get_short()) {
        // The words of a filter.
        (None, None) => begins(arg.get_id().as_str()),
        (long, short) => {
            long.is_some_and(|long| begins(&format!("--{long}")))
                || short.is_some_and(|short| begins(&format!("-{short}")))
        }
    };
    let id = arg.get_id().as_str();
    let values = || matches.get_raw(id).into_iter().flatten().filter_map(|value| value.to_str());
    // What begins with another flag is about that one.
    let of_no_flag = || OPENED.contains(&id) && !sentence.starts_with('-');
    is_named || of_no_flag() && values().any(|value| has_word(sentence, value))
}

/// Whether `word` stands in a sentence by itself, as names of interfaces and files do: not as a part of another.
fn has_word(sentence: &str, word: &str) -> bool {
    let goes_on = |next: char| next.is_ascii_alphanumeric() || matches!(next, '-' | '_' | '.' | '/' | '@');
    !word.is_empty()
        && sentence.match_indices(word).any(|(at, _)| {
            let (before, behind) = (&sentence[..at], &sentence[at + word.len()..]);
            !before.ends_with(goes_on) && !behind.starts_with(goes_on)
        })
}

/// Flags whose values stand in errors without the flag.
const OPENED: [&str; 3] = ["interface", "netns", "read"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_by_themselves() {
        for (sentence, word, found) in [
            ("lo: no such interface", "lo", true),
            ("no interface lo", "lo", true),
            ("cannot open a/b.pcap: it is gone", "a/b.pcap", true),
            ("the block size of flows", "lo", false),
            ("lo0: no such interface", "lo", false),
            ("x/b.pcap: gone", "b.pcap", false),
            ("b.pcapng: gone", "b.pcap", false),
            ("nothing", "", false),
        ] {
            assert_eq!(has_word(sentence, word), found, "{sentence}");
        }
    }
}
