//! Sizes, times, lists: the values that flags take, from text to plain numbers.
//!
//! Every parser refuses what it does not understand completely; the message is the second half of a sentence whose
//! first half clap writes (`invalid value 'x' for '--ring-size <SIZE>': ...`).

use std::collections::BTreeSet;
use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use gannet_http::PortSet;
use gannet_packet::Decap;
use gannet_pipeline::config::{DEFAULT_SNAPLEN, Rotate, Workers};
use gannet_ring::fanout::FanoutMode;
use gannet_sink::{EventKind, EventKinds};

/// Bytes: `65536`, `64KiB`, `2GiB`, or with powers of 1000 `64k`, `2G`, also as we print them: `64kB`, `2GB`. At
/// least 1.
pub(crate) fn size(text: &str) -> Result<NonZeroU64, String> {
    const HINT: &str =
        "a size is a number with KiB, MiB, GiB or TiB, or with kB, MB, GB or TB for powers of 1000";
    let (number, unit) = split(text).ok_or(HINT)?;
    let factor: u64 = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "k" | "kB" | "KB" => 1_000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "T" | "TB" => 1_000_000_000_000,
        _ => return Err(HINT.to_owned()),
    };
    let bytes = number.checked_mul(factor).ok_or("too large")?;
    NonZeroU64::new(bytes).ok_or_else(|| "must not be 0".to_owned())
}

/// A whole number that is not 0.
pub(crate) fn above_zero<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "a whole number from 1 on".to_owned())
}

/// Bytes that fit 32 bits, as [`size`].
pub(crate) fn size32(text: &str) -> Result<NonZeroU32, String> {
    NonZeroU32::try_from(size(text)?).map_err(|_| "must be below 4GiB".to_owned())
}

/// tcpdump's `-B`: a number of KiB without a unit.
pub(crate) fn kib(text: &str) -> Result<NonZeroU64, String> {
    const HINT: &str = "a number of KiB without a unit; --ring-size takes units";
    let number: NonZeroU64 = text.parse().map_err(|_| HINT)?;
    number.checked_mul(NonZeroU64::MIN.saturating_add(1023)).ok_or_else(|| "too large".to_owned())
}

/// A time: `100ms`, `30s`, `5m`, `12h`, `7d`. Longer than zero.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text).ok_or(TIME_HINT)?;
    let ms_per_unit: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        // Zero is zero in every unit.
        "" if number == 0 => return Err(TIME_ZERO.to_owned()),
        "" => return Err(without_unit(text)),
        _ => return Err(TIME_HINT.to_owned()),
    };
    match number.checked_mul(ms_per_unit) {
        Some(0) => Err(TIME_ZERO.to_owned()),
        Some(ms) => Ok(Duration::from_millis(ms)),
        None => Err("too large".to_owned()),
    }
}

/// A time as [`time`], also in parts of a millisecond: `250us`, `1.5ms`, `0.2s`. What is shown in microseconds can be
/// asked for in them.
pub(crate) fn fine_time(text: &str) -> Result<Duration, String> {
    const HINT: &str = "a time is a number with us, ms, s, m, h or d";
    let end = text.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let ns_per_unit: u64 = match unit {
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        // Zero is zero in every unit.
        "" if number == "0" => return Err(TIME_ZERO.to_owned()),
        "" if !number.is_empty() => return Err(without_unit(text)),
        _ => return Err(HINT.to_owned()),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    // Digits beyond the ninth are less than a nanosecond of a second, and of no interest.
    let scale = |digits: &str| digits.parse::<u64>().ok().map(|part| (part, 10_u64.pow(digits.len() as u32)));
    let parts = (whole.parse::<u64>().ok(), scale(part.get(..9).unwrap_or(part)));
    let (Some(whole), Some((part, scale))) = parts else { return Err(HINT.to_owned()) };
    let part = u128::from(part) * u128::from(ns_per_unit) / u128::from(scale);
    let ns = u128::from(whole) * u128::from(ns_per_unit) + part;
    match u64::try_from(ns) {
        Ok(0) => Err(TIME_ZERO.to_owned()),
        Ok(ns) => Ok(Duration::from_nanos(ns)),
        Err(_) => Err("too large".to_owned()),
    }
}

/// tcpdump's `-s`: a number of bytes, 0 for the default, or `headers`, `headers+N`. More than the default is refused,
/// because libpcap's readers refuse such a file.
pub(crate) fn snaplen(text: &str) -> Result<SnaplenArg, String> {
    const HINT: &str = "a number of bytes, headers, or headers+N";
    let number = |text: &str| match text.parse::<u32>() {
        Ok(bytes) if bytes <= DEFAULT_SNAPLEN.get() => Ok(bytes),
        Ok(_) => Err(format!("at most {DEFAULT_SNAPLEN}, which is what other tools can read")),
        Err(_) => Err(HINT.to_owned()),
    };
    Ok(match text.strip_prefix("headers") {
        Some("") => SnaplenArg::Headers(0),
        Some(extra) => SnaplenArg::Headers(number(extra.strip_prefix('+').ok_or(HINT)?)?),
        None => SnaplenArg::Bytes(NonZeroU32::new(number(text)?).unwrap_or(DEFAULT_SNAPLEN)),
    })
}

/// How much of a packet is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SnaplenArg {
    /// At most so many bytes.
    Bytes(NonZeroU32),
    /// Up to the end of the layer-4 header, and so many bytes more.
    Headers(u32),
}

/// `auto` or a number.
pub(crate) fn workers(text: &str) -> Result<Workers, String> {
    match text {
        "auto" => Ok(Workers::Auto),
        number => number
            .parse()
            .ok()
            .filter(|count: &std::num::NonZeroUsize| count.get() <= MAX_WORKERS)
            .map(Workers::Count)
            .ok_or_else(|| format!("auto, or a number from 1 to {MAX_WORKERS}")),
    }
}

/// A list of CPUs: `0,2,4-7`, in the order given.
pub(crate) fn cpus(text: &str) -> Result<CpuList, String> {
    const HINT: &str = "a list of CPUs is like 0,2,4-7";
    let number =
        |text: &str| text.parse::<usize>().ok().filter(|cpu| *cpu < MAX_CPUS).ok_or_else(|| HINT.to_owned());
    let mut list = Vec::new();
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if first > last {
            return Err(HINT.to_owned());
        }
        list.extend(first..=last);
    }
    Ok(CpuList(list))
}

/// CPUs in the order in which workers are put on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CpuList(pub(crate) Vec<usize>);

/// `SIZE[,TIME][,align]`, each part at most once and in any order, at least one bound.
pub(crate) fn rotate(text: &str) -> Result<Rotate, String> {
    let mut rotate = Rotate::default();
    for part in text.split(',') {
        let repeated = if part == "align" {
            std::mem::replace(&mut rotate.align, true)
        } else if part.ends_with("packets") {
            return Err(format!("'{part}': rotation by packets is not built yet"));
        } else if let (true, Ok(bytes)) = (part.ends_with(|last: char| !last.is_ascii_digit()), size(part)) {
            rotate.bytes.replace(bytes).is_some()
        } else if matches!(split(part), Some((0, _))) {
            return Err(format!("'{part}': a size or a time above zero is wanted, such as 64MiB or 5m"));
        } else if let Ok(period) = time(part) {
            rotate.period.replace(period).is_some()
        } else {
            return Err(format!("'{part}' is none of a size (64MiB), a time (5m), align"));
        };
        if repeated {
            return Err(format!("'{part}' is a second bound of its kind"));
        }
    }
    if rotate.align && rotate.period.is_none() {
        return Err("align needs a time to align to, such as 1h,align".to_owned());
    }
    Ok(rotate)
}

/// One of the names of the fanout modes, which help and completions list.
pub(crate) fn fanout() -> impl TypedValueParser<Value = FanoutMode> {
    PossibleValuesParser::new(FanoutMode::ALL.map(FanoutMode::name))
        .try_map(|name| name.parse::<FanoutMode>())
}

/// A decimal number and what follows it.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit))
}

/// Of a time that is a number alone.
fn without_unit(number: &str) -> String {
    format!("a time has a unit, as in {number}s: ms, s, m, h or d")
}

const TIME_HINT: &str = "a time is a whole number with ms, s, m, h or d";
const TIME_ZERO: &str = "a time above zero is wanted, such as 500ms or 2s";

/// The kernel's limit for a fanout group (`PACKET_FANOUT_MAX` would allow more; nobody has the CPUs).
const MAX_WORKERS: usize = 256;

/// The largest number of CPUs that a Linux kernel is built for on the usual architectures (`NR_CPUS`).
const MAX_CPUS: usize = 8192;

/// An output of records: `FORMAT[:FILE]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutputSpec {
    pub(crate) format: FormatName,
    pub(crate) file: Option<PathBuf>,
}

impl fmt::Display for OutputSpec {
    /// As it is typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_format_and_file(f, self.format.name(), self.file.as_deref())
    }
}

/// The formats of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FormatName {
    Text,
    Jsonl,
    Httpry,
    Messages,
    None,
}

impl FormatName {
    fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Jsonl => "jsonl",
            Self::Httpry => "httpry",
            Self::Messages => "messages",
            Self::None => "none",
        }
    }
}

/// `FORMAT[:FILE]`.
pub(crate) fn output(text: &str) -> Result<OutputSpec, String> {
    let (name, file) = format_and_file(text)?;
    let format = match name {
        "text" => FormatName::Text,
        "jsonl" => FormatName::Jsonl,
        "messages" => FormatName::Messages,
        "httpry" => FormatName::Httpry,
        "none" if file.is_some() => return Err("none takes no file".to_owned()),
        "none" => FormatName::None,
        "combined" | "csv" | "tsv" | "zeek" | "har" | "tracee" | "gor" => {
            return Err(format!("the format {name} is not built yet"));
        }
        _ => {
            const NAMES: [&str; 5] = ["text", "jsonl", "messages", "httpry", "none"];
            return Err(no_format("text, jsonl, messages, httpry and none", &NAMES, text));
        }
    };
    Ok(OutputSpec { format, file })
}

/// An output of records of flows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FlowOutputSpec {
    pub(crate) format: FlowFormatName,
    pub(crate) file: Option<PathBuf>,
}

impl fmt::Display for FlowOutputSpec {
    /// As it is typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_format_and_file(f, self.format.name(), self.file.as_deref())
    }
}

/// The formats of records of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlowFormatName {
    Jsonl,
    Csv,
    Zeek,
    None,
}

impl FlowFormatName {
    fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Zeek => "zeek",
            Self::None => "none",
        }
    }
}

/// `FORMAT[:FILE]` of flows.
pub(crate) fn flow_output(text: &str) -> Result<FlowOutputSpec, String> {
    let (name, file) = format_and_file(text)?;
    let format = match name {
        "jsonl" => FlowFormatName::Jsonl,
        "csv" => FlowFormatName::Csv,
        "zeek" => FlowFormatName::Zeek,
        "none" if file.is_some() => return Err("none takes no file".to_owned()),
        "none" => FlowFormatName::None,
        _ => return Err(no_format("jsonl, csv, zeek and none", &["jsonl", "csv", "zeek", "none"], text)),
    };
    Ok(FlowOutputSpec { format, file })
}

/// Whether a path stands for standard input, or standard output.
pub(crate) fn is_dash(path: impl AsRef<Path>) -> bool {
    path.as_ref() == Path::new("-")
}

fn format_and_file(text: &str) -> Result<(&str, Option<PathBuf>), String> {
    match text.split_once(':') {
        Some((_, "")) => Err("the file's name is missing behind the colon".to_owned()),
        Some((name, file)) => Ok((name, Some(PathBuf::from(file)).filter(|file| !is_dash(file)))),
        None => Ok((text, None)),
    }
}

/// Of an output in none of the formats `there_are`: which, and how it is written if what is meant shows.
fn no_format(there_are: &str, names: &[&str], text: &str) -> String {
    let known = |name: &str| names.contains(&name);
    let written = if text.split(',').all(known) {
        Some(text.split(',').map(|name| format!("-o {name}")).collect::<Vec<_>>().join(" "))
    } else if text == "json" || text.starts_with("json:") {
        Some(text.replacen("json", "-o jsonl", 1))
    } else {
        // The name of a file in place of a format.
        let extension = Path::new(text).extension().and_then(|extension| extension.to_str());
        let format = extension.map(|extension| if extension == "json" { "jsonl" } else { extension });
        format
            .filter(|format| !text.contains(':') && known(format))
            .map(|format| format!("-o {format}:{text}"))
    };
    let hint = written.map(|written| format!("; write {written}")).unwrap_or_default();
    format!("the formats are {there_are}{hint}")
}

fn write_format_and_file(f: &mut fmt::Formatter<'_>, format: &str, file: Option<&Path>) -> fmt::Result {
    match file {
        Some(file) => write!(f, "{format}:{}", file.display()),
        None => f.write_str(format),
    }
}

/// Header fields: names in lower case, or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeaderList {
    Named(Vec<String>),
    All,
}

/// Events: `exchange`, `request`, `response`, `interim`, or several of them.
pub(crate) fn events(text: &str) -> Result<EventKinds, String> {
    let kind = |name: &str| match name.trim() {
        "exchange" => Ok(EventKind::Exchange),
        "request" => Ok(EventKind::Request),
        "response" => Ok(EventKind::Response),
        "interim" => Ok(EventKind::InterimHead),
        name => Err(format!("'{name}' is no event; there are exchange, request, response and interim")),
    };
    text.split(',').map(kind).collect()
}

/// A size that may be 0, and is one in memory.
pub(crate) fn size_or_zero(text: &str) -> Result<usize, String> {
    if text == "0" {
        return Ok(0);
    }
    usize::try_from(size(text)?.get()).map_err(|_| "too large".to_owned())
}

/// `LIST|all`.
pub(crate) fn headers(text: &str) -> Result<HeaderList, String> {
    if text == "all" {
        return Ok(HeaderList::All);
    }
    let name = |name: &str| match name.trim() {
        name if name.is_empty() || name.contains([' ', ':']) => {
            Err(format!("'{name}' is no header field's name"))
        }
        name => Ok(name.to_ascii_lowercase()),
    };
    text.split(',').map(name).collect::<Result<_, _>>().map(HeaderList::Named)
}

/// Ports: `80,8000-8999`.
pub(crate) fn ports(text: &str) -> Result<PortSet, String> {
    const HINT: &str = "ports are numbers and ranges such as 80,8000-8999";
    let port = |text: &str| text.trim().parse::<u16>().map_err(|_| HINT);
    let mut ranges = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (port(first)?, port(last)?);
        if first > last {
            return Err(format!("{part}: the first port of a range is above the last"));
        }
        ranges.push(first..=last);
    }
    Ok(PortSet::new(ranges))
}

/// Tunnels: `vxlan:5000,gre`.
pub(crate) fn decap(text: &str) -> Result<Decap, String> {
    text.parse::<Decap>().map_err(|error| error.to_string())
}

/// Virtual networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vnis(pub(crate) BTreeSet<u32>);

/// Virtual networks: `5,0x10`.
pub(crate) fn vnis(text: &str) -> Result<Vnis, String> {
    let vni = |word: &str| {
        let word = word.trim();
        let number = match word.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => word.parse(),
        };
        let number = number.ok().filter(|&number| number < 1 << 24);
        number.ok_or_else(|| format!("{word:?}: virtual networks are numbers below 16777216, such as 5,0x10"))
    };
    text.split(',').map(vni).collect::<Result<_, _>>().map(Vnis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> u64 {
        size(text).unwrap().get()
    }

    #[test]
    fn sizes() {
        assert_eq!(bytes("1"), 1);
        assert_eq!(bytes("64KiB"), 65_536);
        assert_eq!(bytes("3MiB"), 3 << 20);
        assert_eq!(bytes("2GiB"), 2 << 30);
        assert_eq!(bytes("1TiB"), 1 << 40);
        assert_eq!(bytes("5k"), 5_000);
        assert_eq!(bytes("5M"), 5_000_000);
        assert_eq!(bytes("5G"), 5_000_000_000);
        for (text, same) in
            [("5kB", "5k"), ("5KB", "5k"), ("5MB", "5M"), ("5GB", "5G"), ("5TB", "5T"), ("5000", "5k")]
        {
            assert_eq!(bytes(text), bytes(same));
        }
        for text in [
            "",
            "KiB",
            "-1",
            "1.5GiB",
            "1 GiB",
            "0",
            "0MB",
            "1m",
            "1mb",
            "1B",
            "1kib",
            "99999999999TiB",
            "18446744073709551616",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
        // Each flag with a size takes the same units.
        assert_eq!(size_or_zero("1MB"), Ok(1_000_000));
        assert_eq!(rotate("1MB").unwrap().bytes.unwrap().get(), 1_000_000);
        assert_eq!(size32("1MiB").unwrap().get(), 1 << 20);
        assert!(size32("4GiB").is_err());
        assert_eq!(kib("2048").unwrap().get(), 2 << 20);
        assert!(kib("1MiB").is_err() && kib("0").is_err() && kib("18446744073709551615").is_err());
    }

    #[test]
    fn times() {
        let seconds = |text| time(text).unwrap().as_secs();
        assert_eq!(time("100ms").unwrap(), Duration::from_millis(100));
        assert_eq!(seconds("30s"), 30);
        assert_eq!(seconds("5m"), 300);
        assert_eq!(seconds("12h"), 43_200);
        assert_eq!(seconds("7d"), 604_800);
        for text in ["", "5", "s", "0s", "1.5s", "5M", "5min", "999999999999999999d"] {
            assert!(time(text).is_err(), "{text}");
        }
        for zero in ["0", "0s", "00ms", "0d"] {
            assert!(time(zero).unwrap_err().starts_with("a time above zero is wanted"), "{zero}");
        }
        for (text, ns) in [
            ("250us", 250_000),
            ("250µs", 250_000),
            ("1.5ms", 1_500_000),
            ("0.061s", 61_000_000),
            ("2s", 2_000_000_000),
            ("1.5m", 90_000_000_000),
            ("1.0000000019s", 1_000_000_001),
        ] {
            assert_eq!(fine_time(text).unwrap(), Duration::from_nanos(ns), "{text}");
        }
        for text in
            ["", "5", "1.5", "s", ".s", "1.s", ".5s", "1.2.3s", "1,5s", "5ns", "-1s", "1m30s", "9999999d"]
        {
            assert!(fine_time(text).is_err(), "{text}");
        }
        for zero in ["0", "0s", "0.0ms", "0.0001us"] {
            assert!(fine_time(zero).unwrap_err().starts_with("a time above zero is wanted"), "{zero}");
        }
        for zero in ["0", "0s", "0MiB", "64MiB,0m"] {
            assert!(rotate(zero).unwrap_err().contains("a size or a time above zero is wanted"), "{zero}");
        }
    }

    #[test]
    fn snapshot_lengths() {
        for (text, bytes) in [("0", 262_144), ("64", 64), ("262144", 262_144)] {
            assert_eq!(snaplen(text), Ok(SnaplenArg::Bytes(NonZeroU32::new(bytes).unwrap())));
        }
        assert_eq!(snaplen("headers"), Ok(SnaplenArg::Headers(0)));
        assert_eq!(snaplen("headers+16"), Ok(SnaplenArg::Headers(16)));
        assert!(snaplen("262145").is_err() && snaplen("-1").is_err() && snaplen("64k").is_err());
        for wrong in ["headers16", "headers+", "headers+-1", "headers+262145", "header", ""] {
            assert!(snaplen(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_of_workers_and_lists_of_cpus() {
        assert_eq!(workers("auto").unwrap(), Workers::Auto);
        assert_eq!(workers("3").unwrap(), Workers::Count(std::num::NonZeroUsize::new(3).unwrap()));
        assert!(workers("0").is_err() && workers("257").is_err() && workers("many").is_err());
        assert_eq!(cpus("0,2,4-7").unwrap().0, [0, 2, 4, 5, 6, 7]);
        assert_eq!(cpus("3").unwrap().0, [3]);
        for text in ["", "1,", "7-4", "a", "-1", "1--2", "0-99999999"] {
            assert!(cpus(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rotations() {
        let all = rotate("64MiB,5m,align").unwrap();
        assert_eq!(all.bytes.unwrap().get(), 64 << 20);
        assert_eq!(all.period, Some(Duration::from_secs(300)));
        assert!(all.align);
        assert_eq!(
            rotate("1h").unwrap(),
            Rotate { period: Some(Duration::from_secs(3600)), ..Rotate::default() }
        );
        for text in ["", "align", "64MiB,align", "64", "1G,2G", "1x", "1G,", "1h,1h"] {
            assert!(rotate(text).is_err(), "{text}");
        }
        assert!(rotate("1G,1000packets").unwrap_err().contains("not built yet"));
    }

    #[test]
    fn outputs_of_records() {
        let spec = |format, file: Option<&str>| Ok(OutputSpec { format, file: file.map(PathBuf::from) });
        assert_eq!(output("text"), spec(FormatName::Text, None));
        assert_eq!(output("jsonl:a:b"), spec(FormatName::Jsonl, Some("a:b")));
        assert_eq!(output("jsonl:-"), spec(FormatName::Jsonl, None));
        assert_eq!(output("none"), spec(FormatName::None, None));
        assert_eq!(output("zeek:x").unwrap_err(), "the format zeek is not built yet");
        for wrong in ["", "json", "text:", "none:x", ":x"] {
            assert!(output(wrong).is_err(), "{wrong}");
        }
        for (text, written) in [
            ("json", "-o jsonl"),
            ("json:a.json", "-o jsonl:a.json"),
            ("text,jsonl", "-o text -o jsonl"),
            ("a.json", "-o jsonl:a.json"),
            ("out/a.jsonl", "-o jsonl:out/a.jsonl"),
        ] {
            let error = output(text).unwrap_err();
            assert!(error.ends_with(&format!("and none; write {written}")), "{error}");
        }
        assert!(output("poem").unwrap_err().ends_with("and none"));
        assert!(flow_output("flows.csv").unwrap_err().ends_with("; write -o csv:flows.csv"));
    }

    #[test]
    fn kinds_of_events() {
        assert_eq!(events("exchange"), Ok(EventKinds::EXCHANGES));
        let both = EventKinds::NONE.with(EventKind::Request).with(EventKind::Response);
        assert_eq!(events("request, response,request"), Ok(both));
        assert_eq!(events("interim"), Ok(EventKinds::NONE.with(EventKind::InterimHead)));
        for wrong in ["", "requests", "request,", "pending", "exchange;request"] {
            assert!(
                events(wrong).unwrap_err().ends_with("there are exchange, request, response and interim"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn sizes_of_bodies() {
        assert_eq!((size_or_zero("0"), size_or_zero("64KiB")), (Ok(0), Ok(65_536)));
        assert!(size_or_zero("00x").is_err() && size_or_zero("-1").is_err() && size_or_zero("").is_err());
    }

    #[test]
    fn outputs_of_flows() {
        let spec = |format, file: Option<&str>| Ok(FlowOutputSpec { format, file: file.map(PathBuf::from) });
        assert_eq!(flow_output("zeek:conn.log"), spec(FlowFormatName::Zeek, Some("conn.log")));
        assert_eq!(flow_output("csv"), spec(FlowFormatName::Csv, None));
        for wrong in ["", "text", "zeek:", "none:x", ":x"] {
            assert!(flow_output(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lists_of_headers_and_ports() {
        assert_eq!(headers("all"), Ok(HeaderList::All));
        assert_eq!(headers("Host, X-Id"), Ok(HeaderList::Named(vec!["host".into(), "x-id".into()])));
        assert!(headers("").is_err() && headers("a,,b").is_err() && headers("a: b").is_err());
        assert_eq!(ports("80,8000-8002"), Ok(PortSet::new(vec![80..=80, 8000..=8002])));
        for wrong in ["", "80-", "x", "70000", "9-8", "80,,81"] {
            assert!(ports(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn virtual_networks() {
        assert_eq!(vnis("5, 0x10,5"), Ok(Vnis([5, 16].into())));
        assert_eq!(vnis("16777215"), Ok(Vnis([0xff_ffff].into())));
        for wrong in ["", "x", "16777216", "5,", "-1", "0x"] {
            assert!(vnis(wrong).unwrap_err().contains("virtual networks are numbers"), "{wrong}");
        }
        assert!(decap("teredo").unwrap_err().contains("unknown tunnel"));
    }
}
