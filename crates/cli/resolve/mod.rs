//! From what was typed to what it means: the second half of the command line.
//!
//! Flags arrive as plain values ([`crate::args`]); here they are seen together, with the environment and the
//! machine, and become a [`RunConfig`] and what this program does around the run. Whatever cannot work is
//! refused here, before anything is opened.

mod filter;
mod fitting;
mod flow;
mod http;
mod httpry;
mod selection;
mod stats;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, IsTerminal};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::parser::ValueSource;
use gannet_packet::PacketType;
use gannet_pipeline::config::{
    CaptureConfig, Direction, FileInput, Filter, Format, Input, InterfaceName, InterfaceSpec, Output,
    RecordConfig, RunConfig, TimeSource, Workers, WriterMode, page_bytes,
};
use gannet_pipeline::filter::check_live;
use gannet_pipeline::privileges::User;
use gannet_ring::netns::NetnsSpec;
use gannet_ring::receive::MAX_BLOCK_BYTES;
use gannet_sink::{SinkSpec, Target};

pub(crate) use self::http::{chosen, http};
pub(crate) use self::stats::stats;
use crate::args::{
    CaptureArgs, DirectionArg, FormatArg, PacketTypeArg, RecordArgs, TimeSourceArg, WriterArg,
};
use crate::exit::{Error, Exit};
use crate::units::{SnaplenArg, is_dash};

/// A run and what the program does around it.
#[derive(Debug)]
pub(crate) struct Run {
    /// The run.
    pub(crate) config: RunConfig,
    /// Print warnings and errors only.
    pub(crate) quiet: bool,
    /// Loss is an error.
    pub(crate) strict: bool,
    /// Where the ledger goes as JSON.
    pub(crate) stats_json: Option<PathBuf>,
    /// Where the tables at the end go: of latencies, or of flows.
    pub(crate) summary: Option<Summary>,
    /// Where the histograms go as an HdrHistogram log.
    pub(crate) histograms: Option<PathBuf>,
    /// The lines that httpry has at its end stand for the report.
    pub(crate) statistics_of_httpry: bool,
    /// What of the wishes has another effect than somebody may expect.
    pub(crate) warnings: Vec<String>,
}

impl Run {
    /// The run, unless what is written at its end would come among packets or records on standard output.
    fn with_stdout_for_one(self) -> Result<Self, Error> {
        let RunConfig { record, http, stats, .. } = &self.config;
        let sinks =
            http.iter().flat_map(|http| &http.sinks).chain(stats.iter().flat_map(|stats| &stats.sinks));
        let records = sinks.filter(|sink| sink.target == Target::Stdout).map(|_| "records");
        let packets = record.iter().filter(|record| record.output == Output::Stdout).map(|_| "packets");
        let ends = [(&self.stats_json, "--stats-json"), (&self.histograms, "--histograms")];
        let ends = ends.into_iter().filter(|(path, _)| path.as_deref().is_some_and(is_dash));
        let users: Vec<_> = records.chain(packets).chain(ends.map(|(_, flag)| flag)).collect();
        let [other, .., flag] = users.as_slice() else { return Ok(self) };
        let text = format!("{flag} -: standard output is for {other} already; give one of them a file");
        Err(Error::usage(text))
    }
}

/// Where the tables at the end go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Summary {
    /// With the report.
    Stderr,
    /// To a file of its own.
    File(PathBuf),
}

impl Summary {
    /// As `--summary` says; without it, for a person who looks.
    fn of(asked: Option<&Path>, terminal: bool) -> Option<Self> {
        match asked {
            Some(path) if is_dash(path) => Some(Self::Stderr),
            Some(path) => Some(Self::File(path.to_owned())),
            None => terminal.then_some(Self::Stderr),
        }
    }

    /// Its file, if it has one.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Stderr => None,
        }
    }
}

/// Adds an output of records; two on standard output would be mixed.
fn add_sink(sinks: &mut Vec<SinkSpec>, sink: SinkSpec) -> Result<(), Error> {
    if sink.target == Target::Stdout && sinks.iter().any(|other| other.target == sink.target) {
        let text = "-o: two outputs go to standard output; give all but one a file, as in -o jsonl:FILE";
        return Err(Error::usage(text));
    }
    sinks.push(sink);
    Ok(())
}

/// What `gannet record` is to do. `matches` are those of the subcommand: the order of `-i` and `--netns` and
/// whether a value was typed are in there only. `environment` looks a variable up.
pub(crate) fn recording(
    args: &RecordArgs,
    matches: &ArgMatches,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Run, Error> {
    let capture = capture(&args.capture, matches, environment, None)?;
    let record = RecordConfig {
        output: output(args)?,
        format: match args.format {
            FormatArg::Pcapng => Format::Pcapng,
            FormatArg::Pcap => Format::PcapMicros,
            FormatArg::PcapNs => Format::PcapNanos,
        },
        writer: match args.writer {
            WriterArg::Auto => WriterMode::Auto,
            WriterArg::ZeroCopy => WriterMode::ZeroCopy,
            WriterArg::Copy => WriterMode::Copy,
        },
        cooked: args.cooked,
        rotate: args.rotate,
        flush_per_packet: args.capture.packet_buffered,
    };
    refuse_contradictions(&capture, &record)?;
    let mut named = files_of_capture(&args.capture);
    named.extend(args.write.as_deref().map(|path| Named::new("-w", path)));
    refuse_files(&named)?;
    let config = RunConfig { capture, record: Some(record), http: None, stats: None };
    around(config, &args.capture).with_stdout_for_one()
}

/// A run with what every command does around it.
fn around(config: RunConfig, capture: &CaptureArgs) -> Run {
    Run {
        config,
        quiet: capture.quiet,
        strict: capture.strict,
        stats_json: capture.stats_json.clone(),
        summary: None,
        histograms: None,
        statistics_of_httpry: false,
        warnings: Vec::new(),
    }
}

/// Where packets come from. `default_filter` is what is filtered by unless somebody says otherwise.
fn capture(
    capture: &CaptureArgs,
    matches: &ArgMatches,
    environment: impl Fn(&str) -> Option<OsString>,
    default_filter: Option<&str>,
) -> Result<CaptureConfig, Error> {
    let mut config = CaptureConfig::new(input(capture, matches, environment)?);
    let reads_stdin = |file: &FileInput| *file == FileInput::Stdin;
    if matches!(&config.input, Input::Files(files) if files.iter().any(reads_stdin))
        && capture.filter_file.as_deref().is_some_and(is_dash)
    {
        return Err(Error::usage("-r - and -F - are both standard input: put the filter into a file"));
    }
    engine(&mut config, capture, matches)?;
    selection(&mut config, capture);
    config.filter = filter::filter(capture, matches, default_filter)?;
    if config.headers.is_some() && config.filter.as_ref().is_some_and(Filter::is_opcodes) {
        let text = "-s headers is computed by the filter's program, and a list of opcodes says itself how much it keeps";
        return Err(Error::usage(text));
    }
    if let Input::Live { .. } = config.input {
        check_live(&config).map_err(|error| Error { exit: error.failure().into(), cause: error.into() })?;
    }
    config.stats_interval = capture.stats;
    config.user = capture
        .user
        .as_deref()
        .map(User::find)
        .transpose()
        .map_err(|error| Error::usage(format!("-Z: {error}")))?;
    Ok(config)
}

/// Which packets are kept.
fn selection(config: &mut CaptureConfig, capture: &CaptureArgs) {
    config.direction = match capture.direction {
        DirectionArg::In => Direction::In,
        DirectionArg::Out => Direction::Out,
        DirectionArg::Inout => Direction::InOut,
    };
    config.packet_type = capture.packet_type.map(|packet_type| match packet_type {
        PacketTypeArg::Host => PacketType::Host,
        PacketTypeArg::Broadcast => PacketType::Broadcast,
        PacketTypeArg::Multicast => PacketType::Multicast,
        PacketTypeArg::Others => PacketType::OtherHost,
        PacketTypeArg::Outgoing => PacketType::Outgoing,
    });
    match capture.snaplen {
        Some(SnaplenArg::Bytes(bytes)) => config.snaplen = bytes,
        Some(SnaplenArg::Headers(extra)) => config.headers = Some(extra),
        None => {}
    }
    config.count = capture.count;
    config.duration = capture.duration;
}

/// Workers, rings, clocks.
fn engine(config: &mut CaptureConfig, capture: &CaptureArgs, matches: &ArgMatches) -> Result<(), Error> {
    config.workers = capture.workers.unwrap_or(Workers::ByOutput);
    config.cpus = capture.cpus.as_ref().map(|list| list.0.clone()).unwrap_or_default();
    config.fanout = capture.fanout;
    config.ring_bytes = ring_bytes(capture, matches)?;
    config.block_bytes = capture.block_size.unwrap_or(config.block_bytes);
    config.block_timeout = capture.block_timeout.unwrap_or(config.block_timeout);
    config.promiscuous = capture.no_promiscuous.then_some(false);
    config.time_source = match capture.time_source {
        TimeSourceArg::Auto => TimeSource::Auto,
        TimeSourceArg::Hw => TimeSource::Hardware,
        TimeSourceArg::Sw => TimeSource::Software,
    };
    let block = u64::from(config.block_bytes.get());
    let page = page_bytes().unwrap_or(4096);
    if !block.is_multiple_of(page) || block > MAX_BLOCK_BYTES as u64 {
        return Err(Error::usage(format!(
            "--block-size must be a multiple of the page size, {page} bytes, and at most {} MiB",
            MAX_BLOCK_BYTES >> 20
        )));
    }
    Ok(())
}

/// `--ring-size` and `-B` are two ways to say it: of equals only one may be there.
fn ring_bytes(capture: &CaptureArgs, matches: &ArgMatches) -> Result<Option<NonZeroU64>, Error> {
    let typed = |id| is_typed(matches, id);
    match (capture.ring_size, capture.buffer_size) {
        (Some(_), Some(_)) if typed("ring_size") == typed("buffer_size") => {
            Err(Error::usage("--ring-size and --buffer-size (-B) exclude each other"))
        }
        (Some(_), Some(kib)) if typed("buffer_size") => Ok(Some(kib)),
        (size, kib) => Ok(size.or(kib)),
    }
}

/// Whether a flag is on the command line, and not from the environment.
fn is_typed(matches: &ArgMatches, id: &str) -> bool {
    matches.value_source(id) == Some(ValueSource::CommandLine)
}

/// Live interfaces or files. What was typed wins over the environment; of equals only one may be there.
fn input(
    capture: &CaptureArgs,
    matches: &ArgMatches,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Input, Error> {
    let typed = |id| is_typed(matches, id);
    let live = !capture.interface.is_empty();
    let files = !capture.read.is_empty();
    if live && files && typed("interface") == typed("read") {
        return Err(Error::usage("-i and -r exclude each other: packets are either live or read from files"));
    }
    if files && !typed("interface") {
        if let Some((name, instead)) = LIVE_ONLY.into_iter().find(|(name, _)| typed(name)) {
            return Err(Error::usage(format!(
                "--{name} is for live captures, and -r reads files: {instead}"
            )));
        }
        refuse_pipes_read_twice(&capture.read)?;
        return Ok(Input::Files(capture.read.iter().map(|path| file_input(path)).collect()));
    }
    let mut interfaces = interfaces(capture, matches)?;
    if interfaces.is_empty() {
        let name = INTERFACE_VARIABLES
            .iter()
            .find_map(|variable| environment(variable).filter(|value| !value.is_empty()))
            .map_or(Ok(InterfaceName::Any), |name| {
                let name = name.to_str().ok_or_else(|| Error::usage("the interface's name is no UTF-8"))?;
                Ok(InterfaceName::from(name))
            })?;
        interfaces.push(InterfaceSpec { name, netns: capture.netns.last().map(|text| netns(text)) });
    }
    Ok(Input::Live { interfaces })
}

/// Each `-i` with the last `--netns` before it. A namespace from the environment is before all of them.
fn interfaces(capture: &CaptureArgs, matches: &ArgMatches) -> Result<Vec<InterfaceSpec>, Error> {
    let positions = |id: &str| matches.indices_of(id).into_iter().flatten();
    let netns_typed = matches.value_source("netns") == Some(ValueSource::CommandLine);
    let namespaces: Vec<_> = positions("netns").zip(&capture.netns).collect();
    if let (true, Some((last, _)), Some(last_interface)) =
        (netns_typed, namespaces.last(), positions("interface").max())
        && *last > last_interface
    {
        return Err(Error::usage("--netns is for the interfaces that follow it: put it before -i"));
    }
    let mut specs = Vec::new();
    for (position, name) in positions("interface").zip(&capture.interface) {
        if name.is_empty() {
            return Err(Error::usage("-i: the name of the interface is empty"));
        }
        let namespace = namespaces.iter().rev().find(|(at, _)| !netns_typed || *at < position);
        let spec = InterfaceSpec {
            name: InterfaceName::from(name.as_str()),
            netns: namespace.map(|(_, text)| netns(text)),
        };
        if specs.contains(&spec) {
            return Err(Error::usage(format!("-i {name} is given twice")));
        }
        specs.push(spec);
    }
    Ok(specs)
}

/// A namespace as it was typed.
pub(crate) fn netns(text: &str) -> NetnsSpec {
    let Ok(spec) = text.parse();
    spec
}

/// A file may be read twice, and its packets then come twice; what comes through a pipe comes once.
fn refuse_pipes_read_twice(paths: &[PathBuf]) -> Result<(), Error> {
    use std::os::unix::fs::MetadataExt;
    let pipe = |path: &Path| {
        let path = if is_dash(path) { Path::new("/dev/stdin") } else { path };
        let facts = std::fs::metadata(path).ok().filter(|facts| !facts.is_file())?;
        Some((facts.dev(), facts.ino()))
    };
    for (index, path) in paths.iter().enumerate() {
        let mut earlier = paths[..index].iter();
        if is_dash(path) && earlier.clone().any(|other| other == path) {
            return Err(Error::usage("-r - is given twice, and there is only one standard input"));
        }
        if let Some(this) = pipe(path)
            && let Some(other) = earlier.find(|other| pipe(other) == Some(this))
        {
            let (one, two) = (other.display(), path.display());
            let text = format!("-r {one} and -r {two} are one pipe, and what comes through it comes once");
            return Err(Error::usage(text));
        }
    }
    Ok(())
}

fn file_input(path: &Path) -> FileInput {
    if is_dash(path) { FileInput::Stdin } else { FileInput::Path(path.to_owned()) }
}

fn output(args: &RecordArgs) -> Result<Output, Error> {
    match &args.write {
        None => Ok(Output::Automatic),
        Some(path) if is_dash(path) => {
            if io::stdout().is_terminal() {
                return Err(Error::usage(
                    "-w -: standard output is a terminal; redirect it to a file or a program",
                ));
            }
            Ok(Output::Stdout)
        }
        Some(path) if path.as_os_str().is_empty() => Err(Error::usage("-w: the path is empty")),
        Some(path) => Ok(Output::Path(path.clone())),
    }
}

fn refuse_contradictions(capture: &CaptureConfig, config: &RecordConfig) -> Result<(), Error> {
    if config.writer == WriterMode::ZeroCopy {
        let contradiction = match (config.format, &config.output, &capture.input) {
            _ if config.cooked => Some("--cooked, which builds new headers"),
            (Format::PcapMicros | Format::PcapNanos, ..) => Some("--format pcap, which has other headers"),
            (_, Output::Stdout, _) => Some("-w -, because a pipe takes copies only"),
            (.., Input::Files(_)) => Some("-r, because there is no ring"),
            _ => None,
        };
        if let Some(with) = contradiction {
            return Err(Error::usage(format!("--writer zero-copy does not go with {with}")));
        }
    }
    refuse_rotation_of_a_file(config, "-w")
}

fn names_a_directory(path: &Path) -> bool {
    path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/")
}

/// Only a directory can be rotated; `flag` names it.
fn refuse_rotation_of_a_file(config: &RecordConfig, flag: &str) -> Result<(), Error> {
    let directory = match &config.output {
        Output::Path(path) => names_a_directory(path),
        Output::Automatic | Output::Stdout => false,
    };
    if config.rotate.is_some() && !directory {
        let text =
            format!("--rotate makes several files, so {flag} must name a directory, such as captures/");
        return Err(Error::usage(text));
    }
    Ok(())
}

/// A file that the command line names.
struct Named<'a> {
    path: &'a Path,
    /// The flag with it, as it is typed.
    words: String,
    is_read: bool,
}

impl<'a> Named<'a> {
    /// By a flag that has it as its value.
    fn new(flag: &str, path: &'a Path) -> Self {
        Self { path, words: format!("{flag} {}", path.display()), is_read: flag == "-r" }
    }

    /// As an output in a format.
    fn output(words: impl fmt::Display, path: &'a Path) -> Self {
        Self { path, words: format!("-o {words}"), is_read: false }
    }

    /// By `--summary`, whose value stands behind an equals sign.
    fn summary(path: &'a Path) -> Self {
        Self { path, words: format!("--summary={}", path.display()), is_read: false }
    }
}

/// Two flags must not name one file: whoever writes last would overwrite the other, or what is still to be read. And
/// files are made, but for directories the user is asked.
fn refuse_files(named: &[Named<'_>]) -> Result<(), Error> {
    let named: Vec<_> = named.iter().filter(|one| !is_dash(one.path)).collect();
    for (index, one) in named.iter().enumerate() {
        // Files may be read twice.
        let mut others = named[..index].iter().filter(|other| !(other.is_read && one.is_read));
        if let Some(other) = others.find(|other| same_file(one.path, other.path)) {
            let text = format!("{} and {} name the same file: each needs its own", other.words, one.words);
            return Err(Error::usage(text));
        }
    }
    for Named { path, words, .. } in named.iter().filter(|one| !one.is_read) {
        let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) else {
            continue;
        };
        if std::fs::metadata(directory).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            let text = format!("{words}: there is no directory {}; make it first", directory.display());
            return Err(Error::new(Exit::Output, text));
        }
    }
    Ok(())
}

/// The files that a run reads and those that the flags of every capture make it write.
fn files_of_capture(capture: &CaptureArgs) -> Vec<Named<'_>> {
    let read = capture.read.iter().map(|path| Named::new("-r", path));
    read.chain(capture.stats_json.as_deref().map(|path| Named::new("--stats-json", path))).collect()
}

/// Whether both paths lead to one file, by whatever names, also to one that is not there yet.
fn same_file(left: &Path, right: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let facts = |path: &Path| std::fs::metadata(path).ok();
    match (facts(left), facts(right)) {
        (Some(left), Some(right)) => left.is_file() && (left.dev(), left.ino()) == (right.dev(), right.ino()),
        (None, None) => place(left).is_some_and(|left| place(right) == Some(left)),
        _ => false,
    }
}

/// Where a file that is not there yet would be. A symbolic link may be there already, and lead to it.
fn place(path: &Path) -> Option<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = parent.canonicalize().ok()?;
        let place = directory.join(path.file_name()?);
        match std::fs::read_link(&place) {
            Ok(target) => path = directory.join(target),
            Err(_) => return Some(place),
        }
    }
    None
}

/// The kernel follows as many in a path (MAXSYMLINKS, include/linux/namei.h).
const LINKS_MAX: usize = 40;

/// Flags that mean nothing for files, and what to do instead. From the environment they are for other runs.
const LIVE_ONLY: [(&str, &str); 2] =
    [("fanout", "packets of files go to workers by their flows; leave it out"), ("netns", "leave it out")];

/// What else names the interface if neither `-i` nor `-r` is there; the first that is set and not empty.
const INTERFACE_VARIABLES: [&str; 2] = ["NET_DEVICE", "VPC_MIRROR_DEVICE"];

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use gannet_ring::fanout::FanoutMode;

    use super::*;
    use crate::args::{Cli, Command};

    /// Variables of the test's own environment that would change its outcome are not expected: none begins with
    /// `GANNET_` unless somebody exports it for all of his shells.
    pub(super) fn resolve(line: &str) -> Result<Run, Error> {
        resolve_in(line, &[])
    }

    fn resolve_in(line: &str, environment: &[(&str, &str)]) -> Result<Run, Error> {
        let words = ["gannet", "record"].into_iter().chain(line.split_whitespace());
        let matches = Cli::command().try_get_matches_from(words).unwrap();
        let Command::Record(args) = Cli::from_arg_matches(&matches).unwrap().command else { unreachable!() };
        recording(&args, matches.subcommand_matches("record").unwrap(), |name| {
            environment.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
        })
    }

    fn interface_list(run: Run) -> Vec<(String, Option<NetnsSpec>)> {
        let Input::Live { interfaces } = run.config.capture.input else { panic!("not live") };
        interfaces.into_iter().map(|spec| (spec.name.to_string(), spec.netns)).collect()
    }

    pub(super) fn refusal(line: &str) -> String {
        let error = resolve(line).unwrap_err();
        assert_eq!(error.exit, Exit::Usage, "{line}");
        error.cause.to_string()
    }

    #[test]
    fn without_flags_every_interface_into_a_new_file() {
        let recording = resolve("").unwrap();
        assert_eq!(recording.config.record.as_ref().unwrap().output, Output::Automatic);
        assert_eq!(recording.config.capture.snaplen.get(), 262_144);
        assert_eq!(recording.config.capture.workers, Workers::ByOutput);
        assert_eq!(interface_list(recording), [("any".into(), None)]);
    }

    #[test]
    fn a_namespace_is_for_the_interfaces_after_it() {
        let lab = Some(NetnsSpec::Name("lab".into()));
        let process = Some(NetnsSpec::Pid(7));
        assert_eq!(
            interface_list(resolve("-i a --netns lab -i b -i c --netns 7 -i a").unwrap()),
            [("a".into(), None), ("b".into(), lab.clone()), ("c".into(), lab.clone()), ("a".into(), process)]
        );
        assert_eq!(interface_list(resolve("--netns lab").unwrap()), [("any".into(), lab)]);
        assert!(refusal("-i a --netns lab").starts_with("--netns is for the interfaces that follow"));
        assert_eq!(refusal("-i a -i a"), "-i a is given twice");
    }

    #[test]
    fn other_tools_variables_name_the_interface() {
        let both = [("VPC_MIRROR_DEVICE", "mirror"), ("NET_DEVICE", "eth9")];
        assert_eq!(interface_list(resolve_in("", &both).unwrap())[0].0, "eth9");
        assert_eq!(interface_list(resolve_in("", &both[..1]).unwrap())[0].0, "mirror");
        assert_eq!(interface_list(resolve_in("", &[("NET_DEVICE", ""), both[0]]).unwrap())[0].0, "mirror");
        assert_eq!(interface_list(resolve_in("-i lo", &both).unwrap())[0].0, "lo");
        let read = resolve_in("-r a.pcap", &both).unwrap();
        assert_eq!(read.config.capture.input, Input::Files(vec![FileInput::Path("a.pcap".into())]));
    }

    #[test]
    fn values_arrive_in_the_configuration() {
        let config = resolve(
            "-i eth0 -w out/ --rotate 64MiB -Q in --type others -s 64 -p -c 9 --duration 5m --workers 2 --cpus 1,0 \
             --fanout qm -B 4096 --block-size 64KiB --block-timeout 20ms --time-source sw --stats 1s -U -Z root",
        )
        .unwrap()
        .config;
        let (config, record) = (config.capture, config.record.unwrap());
        assert_eq!(record.output, Output::Path("out/".into()));
        assert_eq!(record.rotate.unwrap().bytes.unwrap().get(), 64 << 20);
        assert_eq!((config.direction, config.packet_type), (Direction::In, Some(PacketType::OtherHost)));
        assert_eq!((config.snaplen.get(), config.count.unwrap().get()), (64, 9));
        assert_eq!(config.promiscuous, Some(false));
        assert_eq!(config.duration.unwrap().as_secs(), 300);
        assert_eq!(config.workers.resolve(true, 1).get(), 2);
        assert_eq!(config.cpus, [1, 0]);
        assert_eq!(config.fanout, FanoutMode::Qm);
        assert_eq!(config.ring_bytes.unwrap().get(), 4 << 20);
        assert_eq!((config.block_bytes.get(), config.block_timeout.as_millis()), (64 << 10, 20));
        assert_eq!(config.time_source, TimeSource::Software);
        assert_eq!(config.stats_interval.unwrap().as_secs(), 1);
        assert!(record.flush_per_packet);
        assert_eq!(config.user.unwrap().uid.as_raw(), 0);
    }

    #[test]
    fn what_cannot_work_is_refused() {
        assert!(refusal("-i eth0 -r a.pcap").starts_with("-i and -r exclude each other"));
        assert!(refusal("--block-size 1000").starts_with("--block-size must be a multiple of the page size"));
        assert!(refusal("--block-size 1GiB").contains("at most 8 MiB"));
        assert!(refusal("-w a.pcapng --rotate 1GiB").contains("-w must name a directory"));
        assert!(refusal("--rotate 1GiB").contains("-w must name a directory"));
        assert!(refusal("--writer zero-copy --format pcap-ns").contains("--format pcap"));
        assert!(refusal("--writer zero-copy --cooked").contains("--cooked"));
        assert!(refusal("--writer zero-copy -r a").contains("-r"));
        assert!(refusal("-r - -r -").contains("only one standard input"));
        for (flag, value) in [("--fanout", "hash"), ("--netns", "lab")] {
            let said = refusal(&format!("-r a {flag} {value}"));
            assert!(
                said.starts_with(&format!("{flag} is for live captures, and -r reads files: ")),
                "{said}"
            );
        }
        assert_eq!(refusal("-Z no-such-user"), "-Z: no user no-such-user");
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display();
        assert!(refusal(&format!("-r {path} -w {path}")).contains("the same file"));
    }
}
