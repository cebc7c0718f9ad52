//! The filter: words of the command line, or a file.

use std::path::Path;

use clap::ArgMatches;
use clap::parser::ValueSource;
use gannet_filter::Names;
use gannet_pipeline::config::Filter;
use gannet_record::StatusSet;
use gannet_ring::interfaces::Interfaces;

use crate::args::CaptureArgs;
use crate::exit::Error;
use crate::filter_file::{self, Source};
use crate::units::is_dash;

/// What is filtered by; `default` if nothing was said, or nothing but blanks.
pub(super) fn filter(
    capture: &CaptureArgs,
    matches: &ArgMatches,
    default: Option<&str>,
) -> Result<Option<Filter>, Error> {
    let typed = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
    if capture.resolve && capture.numeric && typed("resolve") == typed("numeric") {
        return Err(Error::usage("-n and --resolve exclude each other: names are either asked for or not"));
    }
    // What was typed wins over the environment.
    let asks = capture.resolve && (typed("resolve") || !capture.numeric);
    let mut names = Names::default();
    names.ask_resolver = asks;
    let words = Some(capture.filter.join(" ")).filter(|words| !words.trim().is_empty());
    match (words, capture.filter_file.as_deref()) {
        (Some(_), Some(_)) if typed("filter") == typed("filter_file") => Err(Error::usage(
            "-F and a filter on the command line exclude each other: write all of it into the file, or none",
        )),
        (Some(words), file) if file.is_none() || typed("filter") => {
            let found = expression(&words, names, None);
            found.map(Some).map_err(|error| with_no_flag(&capture.filter, matches).unwrap_or(error))
        }
        (_, Some(path)) => from_file(path, names),
        (_, None) => default.map(|words| expression(words, names, None).map(Filter::by_default)).transpose(),
    }
}

/// A refusal of words of which one names what a flag should stand before: a file, an interface, or a method.
fn with_no_flag(words: &[String], matches: &ArgMatches) -> Option<Error> {
    let takes_methods = matches.try_contains_id("method").is_ok();
    let sentence = |word: &String| {
        if Path::new(word).is_file() {
            return Some(format!(
                "'{word}' is a file and no filter: write -r before each file that is to be read"
            ));
        }
        if takes_methods && METHODS.contains(&word.as_str()) {
            return Some(format!(
                "'{word}' is a method and no filter: those wanted stand behind -m, as in -m GET,POST"
            ));
        }
        if takes_methods && StatusSet::new(word).is_ok() && word.ends_with("xx") {
            return Some(format!(
                "'{word}' is a class of statuses and no filter: several are written with commas, as in --status 5xx,404"
            ));
        }
        let is_interface = Interfaces::open().is_ok_and(|all| all.by_name(word).is_ok());
        is_interface.then(|| format!("'{word}' is an interface and no filter: write -i before it"))
    };
    // Its file stands behind an equals sign, so that a filter may follow.
    let summary = || {
        let asked = takes_methods && matches.get_raw("summary").is_some_and(|mut value| value.any(is_dash));
        let file = words.first().filter(|word| asked && word.contains(['.', '/']))?;
        Some(format!("'{file}' is no filter; if it is the file of --summary, write --summary={file}"))
    };
    words.iter().find_map(sentence).or_else(summary).map(Error::usage)
}

/// No word of a filter is like them.
const METHODS: [&str; 5] = ["GET", "HEAD", "POST", "PUT", "DELETE"];

/// The contents of `-F`.
fn from_file(path: &Path, names: Names) -> Result<Option<Filter>, Error> {
    let text = match filter_file::read(path)? {
        Source::Opcodes(program) => {
            return Ok(Some(Filter::opcodes(format!("the opcodes of {}", path.display()), program)));
        }
        Source::Expression(text) => text,
    };
    // One line, as it is shown in reports and kept in recordings. A blank for each line feed, so that places stay
    // where they are.
    let text = text.replace(['\n', '\r'], " ");
    match text.trim_end() {
        blank if blank.trim().is_empty() => Ok(None),
        text => expression(text, names, Some(path)).map(Some),
    }
}

fn expression(text: &str, names: Names, file: Option<&Path>) -> Result<Filter, Error> {
    Filter::expression(text, names).map_err(|error| {
        let place = file.map_or("filter: ".to_owned(), |path| format!("-F {}: ", path.display()));
        Error::usage(format!("{place}{}", error.render(text)))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refusal, resolve};

    fn text(line: &str) -> Option<String> {
        resolve(line).unwrap().config.capture.filter.map(|filter| filter.to_string())
    }

    #[test]
    fn words_are_joined_and_flags_may_stand_anywhere() {
        assert_eq!(text(""), None);
        for line in
            ["-i lo port 80", "port 80 -i lo", "port -i lo 80", "-i lo -- port 80", "-c 5 port -U 80 -s 96"]
        {
            assert_eq!(text(line).as_deref(), Some("port 80"), "{line}");
        }
        assert_eq!(text("! port 80 && ( tcp or udp )").as_deref(), Some("! port 80 && ( tcp or udp )"));
        assert_eq!(text("len > 0 -q and ip[0] - 1 != -1").as_deref(), Some("len > 0 and ip[0] - 1 != -1"));
    }

    #[test]
    fn a_file_has_an_expression_or_opcodes() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str, contents: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, contents).unwrap();
            path.display().to_string()
        };
        let expression = path("expression", "# the web\nport 80 # or\n  or port 443\n");
        let found = text(&format!("-F {expression}")).unwrap();
        assert_eq!(found.split_whitespace().collect::<Vec<_>>(), ["port", "80", "or", "port", "443"]);
        assert!(!found.contains('\n'));
        assert_eq!(text(&format!("-F {}", path("empty", " # nothing\n"))), None);
        let opcodes = path("opcodes", "4\n48 0 0 9\n21 0 1 6\n6 0 0 96\n6 0 0 0\n");
        let filter = resolve(&format!("-F {opcodes}")).unwrap().config.capture.filter.unwrap();
        assert!(filter.is_opcodes() && filter.to_string().contains(&opcodes), "{filter}");

        assert!(refusal(&format!("-F {expression} port 80")).contains("-F and a filter"));
        assert!(refusal(&format!("-F {opcodes} -s headers")).contains("list of opcodes"));
        assert!(refusal("-F /no/such/file").contains("/no/such/file"));
        assert!(refusal(&format!("-F {}", path("short", "4\n48 0 0\n"))).contains("line 2"));
        assert!(refusal(&format!("-F {}", path("bad", "port port"))).contains("bad: "));
    }

    #[test]
    fn names_are_asked_for_or_not() {
        assert!(refusal("-n --resolve port 80").contains("exclude each other"));
        assert_eq!(text("--resolve port 80").as_deref(), Some("port 80"));
    }
}
