//! What a later version will understand, and what flags of other tools are here: refused by name, so that nobody takes
//! their absence for a typing error.
//!
//! Nothing here shows in help, completions or manual pages. clap reports an argument that it does not know; this
//! module looks whether we do.

use std::path::Path;

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::args::Cli;

/// The sentence for an argument or command that is planned but not built, or that other tools have; `None` for anything
/// else that clap refused.
pub(crate) fn in_words(error: &clap::Error) -> Option<String> {
    let named = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let argument = named(ContextKind::InvalidArg)?;
            let flag = argument.split_once('=').map_or(argument, |(flag, _)| flag);
            if PRINTING.contains(&flag) {
                return Some(format!(
                    "{flag}: packets are not printed; tcpdump reads what gannet record writes, and gannet http -o messages \
                     shows whole messages"
                ));
            }
            if let Some((_, there_is)) = ELSEWHERE.iter().find(|(other, _)| *other == flag) {
                return Some(format!("{flag}: {there_is}"));
            }
            if FLAGS.contains(&flag) {
                return Some(format!("{flag} is not built yet"));
            }
            let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) else { return None };
            let usage = usage.to_string();
            if usage.contains("gannet <COMMAND>") {
                return Some(format!("{flag}: {COMMAND_FIRST}"));
            }
            // What is spelled alike is more likely meant, and clap names that.
            let others =
                if error.get(ContextKind::SuggestedArg).is_none() { having(flag) } else { Vec::new() };
            let (last, front) = others.split_last()?;
            let front = if front.is_empty() { String::new() } else { format!("{} and ", front.join(", ")) };
            Some(format!("{flag} is a flag of {front}{last}, and not of this command"))
        }
        ErrorKind::InvalidSubcommand => {
            let command = named(ContextKind::InvalidSubcommand)?;
            if Path::new(command).is_file() {
                return Some(format!("{command} is a file: {COMMAND_FIRST}"));
            }
            COMMANDS.contains(&command).then(|| format!("gannet {command} is not built yet"))
        }
        _ => None,
    }
}

/// The error without clap's tip to put `--` before a flag that it does not know: what stands there is a filter, or a
/// file, and nobody means a flag by it.
pub(crate) fn without_dashes(mut error: clap::Error) -> clap::Error {
    if error.kind() == ErrorKind::UnknownArgument {
        let is_of_dashes = |tip: &str| tip.starts_with("to pass ");
        match error.remove(ContextKind::Suggested) {
            Some(ContextValue::StyledStrs(mut tips)) => {
                tips.retain(|tip| !is_of_dashes(&tip.to_string()));
                if !tips.is_empty() {
                    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
                }
            }
            Some(other) => {
                error.insert(ContextKind::Suggested, other);
            }
            None => {}
        }
    }
    error
}

/// The commands that have a flag of this long name.
fn having(flag: &str) -> Vec<String> {
    let Some(name) = flag.strip_prefix("--") else { return Vec::new() };
    let command = Cli::command();
    let has = |command: &clap::Command| command.get_arguments().any(|arg| arg.get_long() == Some(name));
    let those = command.get_subcommands().filter(|command| has(command));
    those.map(|command| format!("gannet {}", command.get_name())).collect()
}

/// Flags of the contract that this version lacks.
const FLAGS: &[&str] = &[
    "-C",
    "-G",
    "-W",
    "-z",
    "--compress",
    "--exchange",
    "--flow",
    "--flow-bytes",
    "--keep",
    "--limit",
    "--matched",
    "--no-index",
    "--on-close",
    "--reindex",
    "--since",
    "--top",
    "--until",
];

/// What tcpdump prints of packets.
const PRINTING: &[&str] = &["-#", "-A", "-N", "-S", "-T", "-X", "-b", "-e", "-t", "-u", "-v", "-x"];

/// Flags that other tools have, or that people try, and what there is in their place.
const ELSEWHERE: &[(&str, &str)] = &[
    ("--format", "formats are chosen with -o, such as -o jsonl"),
    ("--json", "-o jsonl writes a JSON object for each record"),
    ("-I", "monitor mode is set before the capture, with iw"),
    ("-L", "gannet interfaces lists what each interface delivers"),
    ("-d", "gannet filter prints what a filter becomes"),
    ("-j", "the source of the time stamps is chosen with --time-source"),
    ("-w", "it is for gannet record; beside records packets are written by --record PATH"),
    ("-y", "each interface is captured with the link type that it has"),
];

const COMMAND_FIRST: &str = "a command comes first, as in `gannet http -i eth0` and `gannet http -r FILE`";

/// Commands of the contract that this version lacks.
const COMMANDS: &[&str] = &["bench", "grep", "replay", "show"];

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(args: &[&str]) -> Option<String> {
        in_words(&Cli::command().try_get_matches_from(args).unwrap_err())
    }

    #[test]
    fn planned_flags_are_named() {
        for flag in FLAGS {
            let args = ["gannet", "record", flag, "1"];
            assert_eq!(sentence(&args).unwrap(), format!("{flag} is not built yet"));
        }
        assert_eq!(sentence(&["gannet", "record", "--keep=1GiB"]).unwrap(), "--keep is not built yet");
        assert_eq!(sentence(&["gannet", "record", "-W5"]).unwrap(), "-W is not built yet");
        assert_eq!(sentence(&["gannet", "grep"]).unwrap(), "gannet grep is not built yet");
    }

    #[test]
    fn letters_of_tcpdump_say_what_there_is() {
        for flag in PRINTING {
            assert!(
                sentence(&["gannet", "http", flag]).unwrap().contains("packets are not printed"),
                "{flag}"
            );
        }
        assert!(sentence(&["gannet", "http", "-w", "a"]).unwrap().contains("--record PATH"));
        for (flag, there_is) in ELSEWHERE {
            assert_eq!(sentence(&["gannet", "http", flag]).unwrap(), format!("{flag}: {there_is}"));
        }
        assert!(Cli::command().try_get_matches_from(["gannet", "record", "-w", "a", "-nn"]).is_ok());
    }

    #[test]
    fn a_missing_command_is_named() {
        assert_eq!(sentence(&["gannet", "-i", "lo"]).unwrap(), format!("-i: {COMMAND_FIRST}"));
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert!(sentence(&["gannet", file]).unwrap().ends_with(COMMAND_FIRST));
    }

    #[test]
    fn other_mistakes_are_left_to_clap() {
        assert_eq!(sentence(&["gannet", "record", "--no-such-flag"]), None);
        assert_eq!(sentence(&["gannet", "recrod"]), None);
        assert_eq!(sentence(&["gannet", "record", "-c", "many"]), None);
        assert_eq!(sentence(&["gannet", "http", "--hosts", "a"]), None);
    }

    #[test]
    fn flags_of_other_commands_are_known() {
        let said = sentence(&["gannet", "stats", "--where", "x"]).unwrap();
        assert_eq!(said, "--where is a flag of gannet http, and not of this command");
        let said = sentence(&["gannet", "extract", "--duration", "x"]).unwrap();
        assert_eq!(
            said,
            "--duration is a flag of gannet record, gannet http and gannet stats, and not of this command"
        );
    }

    #[test]
    fn nobody_is_told_to_make_a_filter_of_a_flag() {
        let said = |args: &[&str]| {
            let error = Cli::command().try_get_matches_from(args).unwrap_err();
            without_dashes(error).render().to_string()
        };
        for flag in ["--no-such-flag", "-k"] {
            let text = said(&["gannet", "http", flag]);
            assert!(
                text.contains(&format!("unexpected argument '{flag}'")) && !text.contains("tip"),
                "{text}"
            );
        }
        assert!(said(&["gannet", "http", "--stauts=5xx"]).contains("'--status'"));
    }

    /// A flag that gets built must leave the list, or it could never be used.
    #[test]
    fn nothing_that_is_built_is_refused() {
        let command = Cli::command();
        for sub in command.get_subcommands() {
            assert!(!COMMANDS.contains(&sub.get_name()));
            for arg in sub.get_arguments() {
                let long = arg.get_long().map(|long| format!("--{long}"));
                let short = arg.get_short().map(|short| format!("-{short}"));
                for flag in long.iter().chain(&short) {
                    assert!(!FLAGS.contains(&flag.as_str()), "{flag}");
                }
            }
        }
    }
}
