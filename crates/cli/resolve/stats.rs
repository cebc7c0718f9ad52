//! From the flags of `gannet stats` to its run.

use std::ffi::OsString;
use std::io::IsTerminal;

use clap::ArgMatches;
use gannet_pipeline::config::{RunConfig, StatsConfig};
use gannet_record::FlowFormat;
use gannet_sink::{EventKinds, Format, SinkSpec, Target};

use super::{Named, Run, Summary, add_sink, around, capture, files_of_capture, flow, refuse_files};
use crate::args::StatsArgs;
use crate::exit::Error;
use crate::units::{FlowFormatName, FlowOutputSpec};

/// What `gannet stats` is to do; see [`super::recording`].
pub(crate) fn stats(
    args: &StatsArgs,
    matches: &ArgMatches,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Run, Error> {
    let terminal = std::io::stdout().is_terminal();
    let sinks = sinks(&args.output, terminal)?;
    let stats = StatsConfig {
        intake: flow::intake(&args.flow)?,
        flows: flow::limits(&args.flow),
        sinks,
        flush_each: args.line_buffered,
    };
    let capture = capture(&args.capture, matches, environment, None)?;
    let summary = Summary::of(args.summary.as_deref(), terminal);
    let mut named = files_of_capture(&args.capture);
    named
        .extend(args.output.iter().filter_map(|output| Some(Named::output(output, output.file.as_deref()?))));
    named.extend(summary.as_ref().and_then(Summary::file).map(Named::summary));
    refuse_files(&named)?;
    let config = RunConfig { capture, record: None, http: None, stats: Some(stats) };
    Run { summary, ..around(config, &args.capture) }.with_stdout_for_one()
}

fn sinks(outputs: &[FlowOutputSpec], terminal: bool) -> Result<Vec<SinkSpec>, Error> {
    let format = if terminal { FlowFormatName::None } else { FlowFormatName::Jsonl };
    let default = FlowOutputSpec { format, file: None };
    let outputs = if outputs.is_empty() { std::slice::from_ref(&default) } else { outputs };
    let mut sinks: Vec<SinkSpec> = Vec::new();
    for output in outputs {
        let target = output.file.clone().map_or(Target::Stdout, Target::File);
        let format = match output.format {
            FlowFormatName::Jsonl => Format::Jsonl,
            FlowFormatName::Csv => Format::Flows(FlowFormat::Csv),
            FlowFormatName::Zeek => Format::Flows(FlowFormat::Zeek),
            FlowFormatName::None => continue,
        };
        add_sink(&mut sinks, SinkSpec { format, target, events: EventKinds::FLOWS })?;
    }
    Ok(sinks)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;
    use crate::args::{Cli, Command};

    fn resolve(line: &str) -> Result<Run, Error> {
        let words = ["gannet", "stats"].into_iter().chain(line.split_whitespace());
        let matches = Cli::command().try_get_matches_from(words).unwrap();
        let Command::Stats(args) = Cli::from_arg_matches(&matches).unwrap().command else { unreachable!() };
        stats(&args, matches.subcommand_matches("stats").unwrap(), |_| None)
    }

    fn sink(format: Format, target: Target) -> SinkSpec {
        SinkSpec { format, target, events: EventKinds::FLOWS }
    }

    fn refusal(line: &str) -> String {
        let error = resolve(line).unwrap_err();
        assert_eq!(error.exit, crate::exit::Exit::Usage, "{line}");
        error.cause.to_string()
    }

    #[test]
    fn tunnels_and_bounds_are_those_of_http() {
        let stats =
            resolve("--decap vxlan:5000 --vni 7 --no-dedup --max-flows 9").unwrap().config.stats.unwrap();
        assert_eq!(stats.intake.decap.to_string(), "vxlan:5000");
        assert_eq!(stats.intake.decap.vnis, Some([7].into()));
        assert!(!stats.flows.deduplicate && stats.flows.flows == 9);
    }

    #[test]
    fn values_arrive_in_the_configuration() {
        let run =
            resolve("-i lo -o zeek -o csv:a.csv -l --max-flows 9 --flow-memory 1MiB --summary tcp").unwrap();
        assert_eq!(run.summary, Some(Summary::Stderr));
        assert!(run.config.record.is_none() && run.config.http.is_none());
        let stats = run.config.stats.unwrap();
        assert_eq!(
            stats.sinks,
            [
                sink(Format::Flows(FlowFormat::Zeek), Target::Stdout),
                sink(Format::Flows(FlowFormat::Csv), Target::File("a.csv".into())),
            ]
        );
        assert!(stats.flush_each);
        assert_eq!((stats.flows.flows, stats.flows.memory), (9, 1 << 20));
    }

    #[test]
    fn outputs() {
        // Tests have no terminal.
        let sinks = |line| resolve(line).unwrap().config.stats.unwrap().sinks;
        assert_eq!(sinks(""), [sink(Format::Jsonl, Target::Stdout)]);
        assert!(sinks("-o none").is_empty());
        assert!(refusal("-o zeek -o jsonl").contains("two outputs go to standard output"));
        assert!(refusal("-o zeek:a -o jsonl:./a").contains("-o zeek:a and -o jsonl:./a name the same file"));
        assert!(refusal("-o csv:a --summary=a").contains("-o csv:a and --summary=a name the same file"));
    }
}
