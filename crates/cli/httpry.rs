//! `gannet httpry`: `gannet http -o httpry` by httpry's own letters.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::Path;

use clap::FromArgMatches;
use gannet_pipeline::privileges::User;

use crate::args::{Cli, Command, HttpryArgs, command_of_httpry};
use crate::exit::{Error, Exit, words_of};
use crate::resolve::Run;
use crate::units::is_dash;
use crate::{capture, resolve, variables};

/// Runs the command.
pub(crate) fn run(args: &HttpryArgs) -> Result<Exit, Error> {
    let run = translate(args, |variable| std::env::var_os(variable))?;
    if let (Some(name), Some(path)) = (&args.user, &args.output) {
        give(path, name)?;
    }
    capture::run(&run)
}

/// What is to be done, by way of the words that `gannet http` takes.
fn translate(args: &HttpryArgs, environment: impl Fn(&str) -> Option<OsString>) -> Result<Run, Error> {
    refuse(args)?;
    let several = environment("GANNET_WORKERS").is_some_and(|value| !value.is_empty());
    let words = words(args, several);
    let command = command_of_httpry(&environment);
    let matches = command.clone().try_get_matches_from(&words).map_err(|error| {
        let refusal = Error::usage(words_of(&error).unwrap_or_else(|| error.to_string()));
        match variables::refused(&error, &command, words) {
            Some(variable) => {
                Error { cause: refusal.cause.context(variables::in_words(&variable)), ..refusal }
            }
            None => refusal,
        }
    })?;
    let cli = Cli::from_arg_matches(&matches).map_err(Error::usage)?;
    let (Command::Http(http), Some((_, matches))) = (cli.command, matches.subcommand()) else {
        return Err(Error::usage("no command"));
    };
    let of_variable = |error| match command.find_subcommand("http") {
        Some(command) => variables::named(error, command, matches),
        None => error,
    };
    let mut run = resolve::http(&http, matches, environment).map_err(of_variable)?;
    run.summary = None;
    run.statistics_of_httpry = true;
    if let Some(http) = &mut run.config.http {
        http.httpry.limit = args.limit();
        http.latencies = run.stats_json.is_some();
    }
    Ok(run)
}

fn refuse(args: &HttpryArgs) -> Result<(), Error> {
    let sentence = if args.dump.is_some() {
        "-b: gannet httpry writes no packets; gannet record takes the same interface, -r and filter, and -w FILE"
    } else if args.daemon || args.pid_file.is_some() {
        "-d, -P: gannet does not turn itself into a daemon; start it from a service manager (systemd-run gannet httpry ...), or with nohup and &"
    } else if args.skip.is_some_and(|bytes| bytes != 0) {
        "-S: link headers of every kind, VLAN tags and tunnels are found without being told how long they are"
    } else {
        return Ok(());
    };
    Err(Error::usage(sentence))
}

/// The command line of `gannet http`. Live, the lines of `several` workers come as each has them; of one they are in
/// the order of their packets, as httpry's are.
fn words(args: &HttpryArgs, several: bool) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["gannet".into(), "http".into(), "-o".into()];
    let mut output = OsString::from("httpry");
    if let Some(path) = &args.output {
        output.push(":");
        output.push(path);
    }
    words.push(output);
    let mut add = |flag: &str, value: Option<OsString>| {
        if let Some(value) = value {
            // In one word: a value may begin with a hyphen.
            let mut word = OsString::from(flag);
            word.push("=");
            word.push(value);
            words.push(word);
        }
    };
    if args.rates {
        let seconds = args.interval.map_or(INTERVAL_SECONDS, std::num::NonZeroU32::get);
        add("--rates", Some(format!("{seconds}s").into()));
        add("--rate-threshold", args.threshold.map(|threshold| threshold.to_string().into()));
    } else {
        add("--fields", args.format.as_ref().map(Into::into));
    }
    add("--method", args.methods.as_ref().map(Into::into));
    add("--interface", args.device.as_ref().map(Into::into));
    add("--read", args.read.as_ref().map(Into::into));
    add("--user", args.user.as_ref().map(Into::into));
    add("--workers", (args.read.is_none() && !several).then(|| "1".into()));
    let flags = [
        ("--line-buffered", args.flush),
        ("--no-promiscuous", args.no_promiscuous),
        ("--quiet", args.quiet),
        // libpcap asks DNS for the names in a filter.
        ("--resolve", true),
    ];
    words.extend(flags.into_iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag.into()));
    words.push("--".into());
    words.extend(args.filter.iter().map(Into::into));
    words
}

/// Makes the output file the user's, so that it can be opened again after privileges are gone. What exists and is no
/// file (a FIFO, a device) belongs to others.
fn give(path: &Path, name: &str) -> Result<(), Error> {
    if is_dash(path) || std::fs::metadata(path).is_ok_and(|facts| !facts.is_file()) {
        return Ok(());
    }
    let user = User::find(name).map_err(|error| Error::usage(format!("-u: {error}")))?;
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    file.and_then(|file| fchown(file, Some(user.uid.as_raw()), Some(user.gid.as_raw())))
        .map_err(|error| Error::new(Exit::Output, format!("-o {}: {error}", path.display())))
}

/// What `-t` is without being given.
const INTERVAL_SECONDS: u32 = 5;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::CommandFactory;
    use gannet_sink::{Format, Target};

    use super::*;

    fn translated(line: &str) -> Result<Run, Error> {
        let words = ["gannet", "httpry"].into_iter().chain(line.split_whitespace());
        let cli = Cli::from_arg_matches(&Cli::command().try_get_matches_from(words).unwrap()).unwrap();
        let Command::Httpry(args) = cli.command else { unreachable!() };
        translate(&args, |_| None)
    }

    #[test]
    fn letters_become_a_run() {
        let run = translated("-i lo -o out.log -f host,-x -m put -n 5 -F -p -q -l 3 tcp port 81").unwrap();
        assert!(run.quiet && run.statistics_of_httpry && run.summary.is_none());
        assert!(!run.config.http.as_ref().unwrap().latencies);
        let (capture, http) = (run.config.capture, run.config.http.unwrap());
        assert_eq!(capture.promiscuous, Some(false));
        assert_eq!(capture.filter.unwrap().to_string(), "tcp port 81");
        assert_eq!(http.sinks.len(), 1);
        assert_eq!(
            (http.sinks[0].format, &http.sinks[0].target),
            (Format::Httpry, &Target::File("out.log".into()))
        );
        assert_eq!(http.httpry.fields.names().collect::<Vec<_>>(), ["host", "-x"]);
        assert_eq!(http.httpry.limit.unwrap().get(), 5);
        assert!(http.flush_each && http.httpry.rates.is_none());
        assert!(http.methods.may_begin(b"PUT /") && !http.methods.may_begin(b"GET /"));
    }

    #[test]
    fn rates_and_defaults() {
        let http = translated("-s -t 7 -l 3 -f host -n 0").unwrap().config.http.unwrap();
        let rates = http.httpry.rates.unwrap();
        assert_eq!((rates.every, rates.threshold.get()), (Duration::from_secs(7), 3));
        assert_eq!(http.httpry.limit, None);
        let run = translated("-s").unwrap();
        assert!(run.config.capture.filter.unwrap().to_string().starts_with("tcp port 80 or 8080 or "));
        let rates = run.config.http.unwrap().httpry.rates.unwrap();
        assert_eq!((rates.every, rates.threshold.get()), (Duration::from_secs(5), 2));
    }

    #[test]
    fn what_is_not_offered_says_what_to_do() {
        for (line, words) in
            [("-b f", "gannet record"), ("-d", "systemd-run"), ("-P f", "systemd-run"), ("-S 4", "-S: ")]
        {
            let error = translated(line).unwrap_err();
            assert_eq!(error.exit, Exit::Usage);
            assert!(error.cause.to_string().contains(words), "{line}");
        }
        assert!(translated("-S 0").is_ok());
    }
}
