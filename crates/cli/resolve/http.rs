//! From the flags of `gannet http` to its run.

use std::ffi::OsString;
use std::io::IsTerminal;

use clap::ArgMatches;
use gannet_http::{DecodeLimits, PortSet};
use gannet_pipeline::config::{Filter, HttpConfig, Input, Output, RecordConfig, RunConfig};
use gannet_record::fields::Choice;
use gannet_record::{HeaderSelection, Routes};
use gannet_sink::{EventKind, EventKinds, Format, SinkSpec, Target};

use super::fitting::fitting;
use super::{
    Named, Run, Summary, add_sink, around, capture, files_of_capture, flow, httpry, refuse_files,
    refuse_rotation_of_a_file, selection,
};
use crate::args::HttpArgs;
use crate::exit::Error;
use crate::units::{self, FormatName, HeaderList, OutputSpec, is_dash};

/// What `gannet http` is to do; see [`super::recording`].
pub(crate) fn http(
    args: &HttpArgs,
    matches: &ArgMatches,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Run, Error> {
    let terminal = std::io::stdout().is_terminal();
    let colour = terminal && environment("NO_COLOR").is_none_or(|value| value.is_empty());
    let outputs = outputs(args, terminal);
    let formats: Vec<_> = outputs.iter().map(|output| output.format).collect();
    let args = &fitting(args, matches, &formats);
    let sinks = sinks(args, &outputs, colour)?;
    let whole = sinks.iter().any(|sink| matches!(sink.format, Format::Messages { .. }));
    let body = args.body.unwrap_or(if whole { MESSAGES_BODY } else { 0 });
    let ports = ports(args, &environment)?;
    let routes =
        Routes::new(args.route.clone()).map_err(|error| Error::usage(format!("--route: {error}")))?;
    let selection = selection::selection(&args.selection)?;
    let bodies = args.body.is_some_and(|size| size > 0);
    if !bodies {
        selection::refuse_bodies_not_kept(&selection)?;
    }
    let (httpry, methods) = httpry::options(args, &sinks)?;
    let fields = fields(args, &sinks)?;
    let default_filter = httpry::default_filter(&sinks, ports.is_some());
    selection::refuse_early_events(&selection, &sinks)?;
    let warnings = messages_without_their_answers(args, &sinks)
        .into_iter()
        .chain(fields.as_ref().filter(|_| !bodies).and_then(fields_of_bodies_not_kept))
        .collect();
    let summary = Summary::of(args.summary.as_deref(), terminal);
    let mut http = HttpConfig {
        httpry,
        methods,
        analysis: gannet_http::HttpConfig {
            ports,
            body,
            pending_after_ns: args.pending.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
            ..gannet_http::HttpConfig::default()
        },
        intake: flow::intake(&args.flow)?,
        flows: flow::limits(&args.flow),
        sinks,
        flush_each: args.line_buffered,
        headers: headers(args, fields.as_ref()),
        fields,
        redact: !args.no_redact,
        routes,
        selection,
        latencies: summary.is_some() || args.histograms.is_some() || args.capture.stats_json.is_some(),
        histogram_log: args.histograms.is_some(),
        bodies,
        decode: DecodeLimits { max_bytes: body, ..DecodeLimits::default() },
    };
    let record = record(args)?;
    let capture = capture(&args.capture, matches, environment, default_filter)?;
    if capture.filter.as_ref().is_some_and(Filter::is_default) {
        http.analysis.ports = Some(httpry::default_ports());
    }
    if record.is_some() && matches!(capture.input, Input::Files(_)) {
        let text =
            "--record is for live captures: the packets of -r are in a file already (see gannet record -r)";
        return Err(Error::usage(text));
    }
    refuse_files(&files(args, summary.as_ref()))?;
    let run = around(RunConfig { capture, record, http: Some(http), stats: None }, &args.capture);
    Run { summary, histograms: args.histograms.clone(), warnings, ..run }.with_stdout_for_one()
}

/// The files that the flags name.
fn files<'a>(args: &'a HttpArgs, summary: Option<&'a Summary>) -> Vec<Named<'a>> {
    let mut named = files_of_capture(&args.capture);
    named.extend(args.record.as_deref().map(|path| Named::new("--record", path)));
    named
        .extend(args.output.iter().filter_map(|output| Some(Named::output(output, output.file.as_deref()?))));
    named.extend(summary.and_then(Summary::file).map(Named::summary));
    named.extend(args.histograms.as_deref().map(|path| Named::new("--histograms", path)));
    named
}

/// The ports that are looked at, if that is limited.
fn ports(args: &HttpArgs, environment: impl Fn(&str) -> Option<OsString>) -> Result<Option<PortSet>, Error> {
    if args.ports.is_some() {
        return Ok(args.ports.clone());
    }
    let Some(value) = environment(PORTS_VARIABLE).filter(|value| !value.is_empty()) else { return Ok(None) };
    let text = value.to_string_lossy();
    units::ports(&text).map(Some).map_err(|error| Error::usage(format!("{PORTS_VARIABLE}={text}: {error}")))
}

/// The header fields of records: those of --header, or those among the fields that are asked for.
fn headers(args: &HttpArgs, fields: Option<&Choice>) -> HeaderSelection {
    if args.header.is_empty() {
        let named = fields.map(Choice::headers).filter(|names| !names.is_empty());
        return named.map_or_else(HeaderSelection::default, HeaderSelection::named);
    }
    let names = |list: &HeaderList| match list {
        HeaderList::All => None,
        HeaderList::Named(names) => Some(names.clone()),
    };
    let lists: Option<Vec<_>> = args.header.iter().map(names).collect();
    lists.map_or_else(HeaderSelection::all, |lists| HeaderSelection::named(lists.into_iter().flatten()))
}

/// The fields of lines of JSON; those of httpry have names of their own.
fn fields(args: &HttpArgs, sinks: &[SinkSpec]) -> Result<Option<Choice>, Error> {
    let has = |format| sinks.iter().any(|sink| sink.format == format);
    match (has(Format::Jsonl), has(Format::Httpry)) {
        _ if args.fields.is_empty() => Ok(None),
        (true, true) => Err(Error::usage(
            "--fields: jsonl and httpry have other names for their fields; give it with one of them",
        )),
        (false, false) => {
            Err(Error::usage("--fields is for -o jsonl and -o httpry, and no output has such a format"))
        }
        (false, true) => Ok(None),
        (true, false) => chosen(args).map(Some),
    }
}

/// What to say where fields of bodies are chosen, and no bodies are kept: no record has them.
fn fields_of_bodies_not_kept(choice: &Choice) -> Option<String> {
    let field = choice.field_of_body()?;
    Some(format!("--fields: no record has {field} without --body SIZE, such as --body 64KiB"))
}

/// The fields of records that `--fields` names.
pub(crate) fn chosen(args: &HttpArgs) -> Result<Choice, Error> {
    let names = args.fields.iter().map(String::as_str);
    Choice::new(names).map_err(|error| Error::usage(format!("--fields: {error}")))
}

fn record(args: &HttpArgs) -> Result<Option<RecordConfig>, Error> {
    let Some(path) = &args.record else {
        return match args.rotate {
            None => Ok(None),
            Some(_) => Err(Error::usage("--rotate is for --record, which is not given")),
        };
    };
    if is_dash(path) {
        return Err(Error::usage("--record -: standard output is for records; name a file or a directory"));
    }
    let record = RecordConfig {
        output: Output::Path(path.clone()),
        rotate: args.rotate,
        flush_per_packet: args.capture.packet_buffered,
        ..RecordConfig::default()
    };
    refuse_rotation_of_a_file(&record, "--record")?;
    Ok(Some(record))
}

/// Those that were asked for, or what there is without being asked.
fn outputs(args: &HttpArgs, terminal: bool) -> Vec<OutputSpec> {
    if args.output.is_empty() {
        let format = if terminal { FormatName::Text } else { FormatName::Jsonl };
        return vec![OutputSpec { format, file: None }];
    }
    args.output.clone()
}

fn sinks(args: &HttpArgs, outputs: &[OutputSpec], colour: bool) -> Result<Vec<SinkSpec>, Error> {
    let mut sinks: Vec<SinkSpec> = Vec::new();
    for output in outputs {
        let target = output.file.clone().map_or(Target::Stdout, Target::File);
        let colour = colour && target == Target::Stdout;
        let format = match output.format {
            FormatName::Text => Format::Text { colour },
            FormatName::Jsonl => Format::Jsonl,
            FormatName::Httpry => Format::Httpry,
            FormatName::Messages => Format::Messages { colour },
            FormatName::None => continue,
        };
        add_sink(&mut sinks, SinkSpec { format, target, events: events(format, args) })?;
    }
    refuse_what_no_output_shows(args, &sinks)?;
    Ok(sinks)
}

/// Flags that would be without effect: whoever gives one expects something else.
fn refuse_what_no_output_shows(args: &HttpArgs, sinks: &[SinkSpec]) -> Result<(), Error> {
    let shown = |of: fn(&Format) -> bool| sinks.iter().any(|sink| of(&sink.format));
    let events =
        |format: &Format| matches!(format, Format::Text { .. } | Format::Jsonl | Format::Messages { .. });
    let bodies = |format: &Format| matches!(format, Format::Jsonl | Format::Messages { .. });
    if args.events.is_some() && !shown(events) {
        return Err(Error::usage(
            "--events is for -o jsonl, text and messages, and no output has such a format",
        ));
    }
    let kept = args.body.is_some_and(|size| size > 0);
    if kept && !shown(bodies) && !selection::needs_bodies(&args.selection) {
        return Err(Error::usage("--body is for -o jsonl and messages, and no output has such a format"));
    }
    Ok(())
}

/// What to say where `--events` names exchanges for another output, and requests or responses, but not both: whole
/// messages are then shown of one side only.
fn messages_without_their_answers(args: &HttpArgs, sinks: &[SinkSpec]) -> Option<String> {
    let whole = sinks.iter().find(|sink| matches!(sink.format, Format::Messages { .. }))?;
    let sides = [(EventKind::Request, "requests"), (EventKind::Response, "responses")];
    let missing: Vec<_> =
        sides.iter().filter(|(kind, _)| !whole.events.contains(*kind)).map(|(_, name)| *name).collect();
    let names_exchanges = args.events.is_some_and(|events| events.contains(EventKind::Exchange));
    if !names_exchanges || whole.events.contains(EventKind::Exchange) || missing.is_empty() {
        return None;
    }
    Some(format!(
        "-o messages shows no {}: beside others, exchange in --events is not for it; name request,response as well",
        missing.join(" and no ")
    ))
}

/// What becomes a record of this format.
fn events(format: Format, args: &HttpArgs) -> EventKinds {
    let pending = args.pending.map(|_| EventKind::Pending);
    let events = match format {
        Format::Messages { .. } => {
            // Whether a message is selected is then known with its exchange only.
            let late = selection::needs_exchanges(&args.selection);
            let unasked = if late { EventKinds::EXCHANGES } else { EventKinds::MESSAGES };
            let asked = args.events.unwrap_or(unasked);
            // Those of an exchange are not shown twice.
            let early = asked.intersection(EventKinds::MESSAGES);
            if early.is_empty() { asked } else { early }
        }
        // Which lines there are is httpry's business.
        Format::Httpry => return EventKinds::RAW_HEADS,
        _ => args.events.unwrap_or(EventKinds::EXCHANGES),
    };
    events.union(pending.into_iter().collect())
}

/// How much of each body `-o messages` keeps if nobody says: pages, scripts and most of what interfaces answer, so
/// that a person sees all of it; pictures and downloads are cut.
const MESSAGES_BODY: usize = 1 << 20;

/// What else limits the ports if `--ports` is not there.
const PORTS_VARIABLE: &str = "APP_PORTS";

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use gannet_packet::Decap;

    use super::*;
    use crate::args::{Cli, Command};

    fn resolve_in(line: &str, environment: &[(&str, &str)]) -> Result<Run, Error> {
        let words = ["gannet", "http"].into_iter().chain(line.split_whitespace());
        let matches = Cli::command().try_get_matches_from(words).unwrap();
        let Command::Http(args) = Cli::from_arg_matches(&matches).unwrap().command else { unreachable!() };
        http(&args, matches.subcommand_matches("http").unwrap(), |name| {
            environment.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
        })
    }

    fn config(line: &str) -> HttpConfig {
        resolve_in(line, &[]).unwrap().config.http.unwrap()
    }

    fn sink(format: Format, target: Target) -> SinkSpec {
        SinkSpec { format, target, events: EventKinds::EXCHANGES }
    }

    fn refusal(line: &str) -> String {
        let error = resolve_in(line, &[]).unwrap_err();
        assert_eq!(error.exit, crate::exit::Exit::Usage, "{line}");
        error.cause.to_string()
    }

    #[test]
    fn values_arrive_in_the_configuration() {
        let run = resolve_in(
            "-i lo -o jsonl -o text:a.txt --header Host,X-A --no-redact --route /a/{id} -l --record d/ --rotate 1MiB \
             --ports 80,8000-8080 --max-flows 9 --flow-memory 1MiB --summary --decap vxlan:5000,gre --vni 7,9 --no-dedup",
            &[],
        )
        .unwrap();
        assert_eq!(run.summary, Some(Summary::Stderr));
        let record = run.config.record.unwrap();
        assert_eq!(
            (record.output, record.rotate.unwrap().bytes.unwrap().get()),
            (Output::Path("d/".into()), 1 << 20)
        );
        let http = run.config.http.unwrap();
        assert_eq!(
            http.sinks,
            [
                sink(Format::Jsonl, Target::Stdout),
                sink(Format::Text { colour: false }, Target::File("a.txt".into())),
            ]
        );
        assert_eq!(http.headers, HeaderSelection::named(["host", "x-a"]));
        assert!(!http.redact && http.flush_each);
        assert_eq!((http.flows.flows, http.flows.memory), (9, 1 << 20));
        assert!(!http.flows.deduplicate);
        assert_eq!(http.intake.decap.to_string(), "gre,vxlan:5000");
        assert_eq!(http.intake.decap.vnis, Some([7, 9].into()));
        let ports = http.analysis.ports.unwrap();
        assert!(ports.contains(80) && ports.contains(8042) && !ports.contains(81));
    }

    #[test]
    fn latencies_are_measured_for_whoever_asks() {
        assert!(!config("-o none").latencies && !config("-o jsonl").latencies);
        for asked in ["--summary", "--summary=a.txt", "--histograms a.hlog", "--stats-json a.json"] {
            assert!(config(&format!("-o none {asked}")).latencies, "{asked}");
        }
    }

    #[test]
    fn outputs() {
        assert!(config("-o none").sinks.is_empty());
        // Tests have no terminal.
        assert_eq!(config("").sinks, [sink(Format::Jsonl, Target::Stdout)]);
        assert!(refusal("-o text -o jsonl").contains("two outputs go to standard output"));
        assert!(refusal("-o text:a -o jsonl:./a").contains("-o text:a and -o jsonl:./a name the same file"));
        assert!(refusal("-o text:a --summary=a").contains("-o text:a and --summary=a name the same file"));
        assert!(
            refusal("--histograms a --summary=a")
                .contains("--summary=a and --histograms a name the same file")
        );
        assert!(refusal("-o text:a --record a").contains("--record a and -o text:a name the same file"));
        assert!(
            refusal("-r Cargo.toml -o text:./Cargo.toml")
                .contains("-r Cargo.toml and -o text:./Cargo.toml name the same file")
        );
    }

    #[test]
    fn events_and_bodies() {
        let all = EventKinds::MESSAGES.with(EventKind::Exchange);
        let http = config("-o messages -o jsonl:a --events exchange,request,response,interim --pending 2s");
        assert_eq!(http.analysis.pending_after_ns, Some(2_000_000_000));
        assert_eq!(http.sinks[0].events, EventKinds::MESSAGES.with(EventKind::Pending));
        assert_eq!(http.sinks[1].events, all.with(EventKind::Pending));
        // Only whole messages show bodies unless somebody asks.
        assert_eq!((http.analysis.body, http.decode.max_bytes, http.bodies), (1 << 20, 1 << 20, false));
        let http = config("-o messages --events request --body 10k");
        assert_eq!(http.sinks[0].events, EventKinds::NONE.with(EventKind::Request));
        assert_eq!((http.analysis.body, http.decode.max_bytes, http.bodies), (10_000, 10_000, true));
        let http = config("-o messages --body 0");
        assert_eq!((http.analysis.body, http.bodies), (0, false));
        let http = config("-o text --body 0");
        assert_eq!((http.analysis.body, http.bodies, http.analysis.pending_after_ns), (0, false, None));
        // What only a whole exchange tells makes messages wait for theirs.
        for words in
            ["--events exchange", "--status 5xx", "--slower 1s", "--where http.response.status_code>=500"]
        {
            let http = config(&format!("-o messages {words} -o text:a"));
            assert!(http.sinks.iter().all(|sink| sink.events == EventKinds::EXCHANGES), "{words}");
            assert_eq!((http.analysis.body, http.bodies), (1 << 20, false));
        }
        assert_eq!(config("-o messages --host h").sinks[0].events, EventKinds::MESSAGES);
        assert!(
            refusal("-o messages --status 5xx --events request,response")
                .contains("--status is about whole exchanges, and an output wants requests or responses")
        );
        assert!(
            refusal("-o httpry --events request").contains("--events is for -o jsonl, text and messages")
        );
        assert!(refusal("-o none --events request").contains("no output has such a format"));
        assert!(refusal("-o text --body 1k").contains("--body is for -o jsonl and messages"));
        // A condition looks into bodies that no output shows.
        let condition = "--where http.response.body.content!=null";
        assert!(config(&format!("-o text --body 1k {condition}")).bodies);
        for words in ["-o text", "-o jsonl --body 0", "-o messages"] {
            let said = refusal(&format!("{words} {condition}"));
            assert!(said.starts_with("--where: http.response.body.content is of bodies"), "{said}");
            assert!(said.contains("add --body SIZE"), "{said}");
        }
    }

    #[test]
    fn one_side_alone_is_warned_of() {
        let warnings = |line: &str| resolve_in(line, &[]).unwrap().warnings.join("\n");
        let both = "-o messages -o jsonl:a --events";
        for (events, missing) in
            [("request,exchange", "no responses"), ("exchange,interim", "no requests and no responses")]
        {
            let said = warnings(&format!("{both} {events}"));
            assert!(said.starts_with(&format!("-o messages shows {missing}: ")), "{said}");
            assert_eq!(said.lines().count(), 1);
        }
        for events in ["exchange", "request", "response,interim", "exchange,request,response"] {
            assert!(warnings(&format!("{both} {events}")).is_empty(), "{events}");
        }
        assert!(warnings("-o text -o jsonl:a --events request,exchange").is_empty());
    }

    #[test]
    fn fields_of_bodies_want_bodies() {
        let said = |line: &str| resolve_in(line, &[]).unwrap().warnings.join("\n");
        let fields = "-o jsonl -f url.path,http.response.body.content";
        assert_eq!(
            said(fields),
            "--fields: no record has http.response.body.content without --body SIZE, such as --body 64KiB"
        );
        assert_eq!(said(&format!("{fields} --body 1k")), "");
        // All of an object, and what is there without.
        assert_eq!(said("-o jsonl -f http.response,http.request.body.size"), "");
    }

    #[test]
    fn conditions() {
        let selection = |line| config(line).selection;
        assert!(selection("").conditions().is_empty());
        let all = selection(
            "-m get,post --method PUT --host *.example --host {a,b} --path /a/* --status 5xx,none --slower 1500ms \
             --where http.response.status_code>=500",
        );
        assert_eq!(all.methods, ["get", "post", "PUT"]);
        assert_eq!((all.hosts.len(), all.paths.len()), (2, 1));
        assert!(all.statuses.as_ref().is_some_and(|set| set.contains(None) && !set.contains(Some(404))));
        assert_eq!(all.slower_ns, Some(1_500_000_000));
        assert_eq!(all.conditions().len(), 6);
        let error = refusal("--where http.response.status>=500");
        let expected = "--where: there is no field http.response.status: did you mean http.response.status_code?\n    \
                        http.response.status>=500\n    ^";
        assert_eq!(error, expected);
    }

    #[test]
    fn ports_of_the_environment() {
        let ports =
            |line| resolve_in(line, &[("APP_PORTS", "9000")]).unwrap().config.http.unwrap().analysis.ports;
        assert!(ports("").unwrap().contains(9000));
        assert!(!ports("--ports 80").unwrap().contains(9000));
        assert!(
            resolve_in("", &[("APP_PORTS", "http")])
                .unwrap_err()
                .cause
                .to_string()
                .starts_with("APP_PORTS=http: ")
        );
    }

    #[test]
    fn every_tunnel_is_opened_unless_somebody_says_otherwise() {
        let http = config("");
        assert_eq!(http.intake.decap, Decap::ALL);
        assert!(http.flows.deduplicate);
        assert_eq!(config("--decap none").intake.decap, Decap::NONE);
        assert_eq!(config("--vni 0x10").intake.decap.vnis, Some([16].into()));
        assert!(refusal("--decap gre,gtpu --vni 5").contains("--decap opens neither"));
    }

    #[test]
    fn what_cannot_work_is_refused() {
        assert!(refusal("-r a --record b/").contains("--record is for live captures"));
        assert!(refusal("--record -").contains("standard output is for records"));
        assert!(refusal("--record a.pcapng --rotate 1MiB").contains("--record must name a directory"));
        assert!(refusal("--route users").starts_with("--route: "));
    }
}
