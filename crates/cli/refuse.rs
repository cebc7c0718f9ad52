//! What a later version will understand, and what flags of other tools are here: refused by name, so that nobody takes
//! their absence for a typing error.
//!
//! Nothing here shows in help, completions or manual pages. clap reports an argument that it does not know; this
//! module looks whether we do.

use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};

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
            usage.to_string().contains("gannet <COMMAND>").then(|| format!("{flag}: {COMMAND_FIRST}"))
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
    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

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
