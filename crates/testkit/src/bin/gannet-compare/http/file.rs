//! Capture A from the page cache on one core: how long, how much memory; and whether the records are the truth.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use gannet_testkit::truth;

use super::{Setup, Verdict};
use crate::process::{Ended, MEMORY_LOOK_MS, Process};
use crate::report::{Removed, progress};
use crate::table::{Grid, median};

/// Who reads the capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    Httpry,
    Gannet,
    GannetSummary,
    /// The lines that httpry prints, too.
    GannetHttpry,
    GannetSilent,
    /// With two workers, on two cores.
    GannetSilentTwice,
    GannetTwice,
    /// Reads, and does nothing else.
    Cat,
    /// Reads through the library that httpry reads through, and looks at nothing.
    Tcpdump,
}

impl Reader {
    const ALL: [Self; 9] = [
        Self::Httpry,
        Self::Gannet,
        Self::GannetSummary,
        Self::GannetHttpry,
        Self::GannetSilent,
        Self::GannetSilentTwice,
        Self::GannetTwice,
        Self::Cat,
        Self::Tcpdump,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Httpry => "httpry -o /dev/null",
            Self::Gannet => "gannet -o jsonl:/dev/null",
            Self::GannetSummary => "gannet -o jsonl:/dev/null --summary",
            Self::GannetSilent => "gannet -o none",
            Self::GannetHttpry => "gannet -o httpry:/dev/null",
            Self::GannetSilentTwice => "gannet -o none --workers 2, two cores",
            Self::GannetTwice => "gannet -o jsonl:/dev/null --workers 2, two cores",
            Self::Cat => "plain reading (cat)",
            Self::Tcpdump => "reading alone (tcpdump -w /dev/null)",
        }
    }

    /// The command, on its cores.
    fn command(self, setup: &Setup<'_>, capture: &Path, cpu: usize) -> Command {
        let (program, words): (&Path, &[&str]) = match self {
            Self::Httpry => (Path::new("httpry"), &["-q", "-o", "/dev/null", "-r"]),
            Self::Gannet => (setup.gannet, &["http", "-q", "-o", "jsonl:/dev/null", "-r"]),
            Self::GannetSummary => {
                (setup.gannet, &["http", "-q", "-o", "jsonl:/dev/null", "--summary=/dev/null", "-r"])
            }
            Self::GannetSilent => (setup.gannet, &["http", "-q", "-o", "none", "-r"]),
            Self::GannetHttpry => (setup.gannet, &["http", "-q", "-o", "httpry:/dev/null", "-r"]),
            Self::GannetSilentTwice => (setup.gannet, &["http", "-q", "-o", "none", "--workers", "2", "-r"]),
            Self::GannetTwice => {
                (setup.gannet, &["http", "-q", "-o", "jsonl:/dev/null", "--workers", "2", "-r"])
            }
            Self::Cat => (Path::new("sh"), &["-c", "exec cat \"$0\" >/dev/null"]),
            Self::Tcpdump => (Path::new("tcpdump"), &["-Z", "root", "-w", "/dev/null", "-r"]),
        };
        let cpus = match self {
            // The next one, or the one before the last.
            Self::GannetTwice | Self::GannetSilentTwice => {
                format!("{cpu},{}", if cpu + 1 < cpus() { cpu + 1 } else { cpu.saturating_sub(1) })
            }
            _ => cpu.to_string(),
        };
        let mut command = Command::new("taskset");
        command.arg("-c").arg(cpus).arg(program).args(words).arg(capture);
        command
    }

    fn is_ours(self) -> bool {
        !matches!(self, Self::Httpry | Self::Cat | Self::Tcpdump)
    }

    /// The wall time that is wanted on one core, as a part of httpry's.
    fn limit(self) -> Option<f64> {
        match self {
            Self::Gannet | Self::GannetSummary => Some(RECORDS_LIMIT),
            Self::GannetHttpry | Self::GannetSilent => Some(ANALYSIS_LIMIT),
            Self::Httpry | Self::GannetTwice | Self::GannetSilentTwice | Self::Cat | Self::Tcpdump => None,
        }
    }
}

/// Times, then correctness.
pub(super) fn compare(
    setup: &Setup<'_>,
    capture: &Path,
    cpu: usize,
    verdict: &mut Verdict,
) -> anyhow::Result<()> {
    io::copy(&mut File::open(capture)?, &mut io::sink()).context("reading the capture into the cache")?;
    let mut runs: Vec<(Reader, Vec<Ended>)> = Reader::ALL.map(|reader| (reader, Vec::new())).into();
    for turn in 1..=setup.runs {
        for (reader, runs) in &mut runs {
            let command = reader.command(setup, capture, cpu);
            let (ended, _) = Process::spawn(reader.name(), command)?.finish(setup.stop)?;
            progress(&format!("file {turn}: {}: {:.3} s", reader.name(), ended.wall_seconds));
            runs.push(ended);
        }
    }
    print_times(&runs, cpu, verdict)?;
    check_records(setup, capture, verdict)
}

fn print_times(runs: &[(Reader, Vec<Ended>)], cpu: usize, verdict: &mut Verdict) -> anyhow::Result<()> {
    let middle =
        |runs: &[Ended], value: fn(&Ended) -> f64| median(runs.iter().map(value).collect::<Vec<_>>());
    let wall_of = |wanted: Reader| {
        let found = runs.iter().find(|(reader, _)| *reader == wanted);
        found.map_or(0.0, |(_, runs)| middle(runs, |run| run.wall_seconds))
    };
    let httpry_wall = wall_of(Reader::Httpry);
    let mut grid = Grid::new(&["tool", "runs", "wall s", "CPU s", "/httpry wall", "memory MiB", ""]);
    for (reader, runs) in runs {
        let wall = middle(runs, |run| run.wall_seconds);
        grid.row(vec![
            reader.name().to_owned(),
            runs.len().to_string(),
            format!("{wall:.3}"),
            format!("{:.3}", middle(runs, |run| run.cpu_seconds)),
            format!("{:.3}", wall / httpry_wall),
            format!("{:.1}", most_memory_mib(runs)),
            String::new(),
        ]);
    }
    verdict.print(&format!(
        "\nfile: from the page cache, on core {cpu} where two are not said; medians. Memory: the most of RssAnon + RssShmem in \
         /proc/PID/status of all runs, looked at every {MEMORY_LOOK_MS} ms; mapped files are not in it\n{}\n",
        grid.render()
    ))?;
    for (reader, _) in runs {
        if let Some(limit) = reader.limit() {
            let ratio = wall_of(*reader) / httpry_wall;
            verdict.at_most(&format!("{}, wall time / httpry's", reader.name()), ratio, limit)?;
        }
    }
    let alone = wall_of(Reader::GannetSilent);
    for (twice, once) in
        [(Reader::GannetSilentTwice, Reader::GannetSilent), (Reader::GannetTwice, Reader::Gannet)]
    {
        let ratio = wall_of(twice) / wall_of(once);
        verdict.at_most(&format!("{}, wall time / one core's", twice.name()), ratio, TWO_CORES_LIMIT)?;
    }
    let reading = wall_of(Reader::Cat);
    verdict.print(&format!(
        "       gannet -o none, wall time / that of plain reading: {:.3}; {PLAIN_READING_AIM} is the aim\n",
        alone / reading
    ))?;
    let ours = runs.iter().filter(|(reader, _)| reader.is_ours());
    let memory = ours.map(|(_, runs)| most_memory_mib(runs)).fold(0.0, f64::max);
    verdict.at_most("gannet, MiB of memory without the mapped file", memory, MEMORY_LIMIT_MIB)
}

fn most_memory_mib(runs: &[Ended]) -> f64 {
    runs.iter().map(|run| run.memory_bytes).max().unwrap_or(0) as f64 / f64::from(1 << 20)
}

/// The records of any number of workers, and of two runs, are the same lines; and they are the truth.
fn check_records(setup: &Setup<'_>, capture: &Path, verdict: &mut Verdict) -> anyhow::Result<()> {
    let truth_path = capture.with_extension("truth.jsonl");
    let mut first: Option<Vec<u8>> = None;
    for (run, workers) in [1, 1, 2, 4].into_iter().enumerate() {
        progress(&format!("records of --workers {workers}"));
        let records = Removed(setup.scratch.join(format!("records-{run}.jsonl")));
        let mut command = Command::new(setup.gannet);
        command.args(["http", "-q", "--workers", &workers.to_string(), "-r"]).arg(capture);
        command.arg("-o").arg(format!("jsonl:{}", records.0.display()));
        Process::spawn("gannet", command)?.finish(setup.stop)?;
        let sorted = sorted_lines(fs::read(&records.0)?);
        match &first {
            None => {
                first = Some(sorted);
                check_truth(&truth_path, &records.0, verdict)?;
            }
            Some(first) => {
                let what = if workers == 1 { "a second run" } else { &format!("--workers {workers}") };
                let detail = first_difference(first, &sorted);
                verdict.check(
                    &format!("{what}: sorted records equal those of --workers 1 byte by byte"),
                    detail.is_none(),
                    &detail.unwrap_or_default(),
                )?;
            }
        }
    }
    Ok(())
}

fn check_truth(truth_path: &Path, records: &Path, verdict: &mut Verdict) -> anyhow::Result<()> {
    let open = |path: &Path| -> anyhow::Result<_> {
        let file = File::open(path).with_context(|| path.display().to_string())?;
        Ok(BufReader::with_capacity(1 << 20, file))
    };
    let outcome = truth::check(open(truth_path)?, open(records)?)?;
    ensure!(outcome.truth > 0, "{} is empty", truth_path.display());
    let mut detail = format!(
        "{} exchanges in the truth, {} records, {} equal",
        outcome.truth, outcome.records, outcome.equal
    );
    for (field, count) in outcome.by_field() {
        detail.push_str(&format!("\n         {count} differ in {field}"));
    }
    for difference in outcome.differences.iter().take(5) {
        detail.push_str(&format!("\n         {difference}"));
    }
    verdict.check("records equal the truth, all fields", outcome.differences.is_empty(), &detail)
}

/// The lines in the order of their bytes, as `LC_ALL=C sort` has them.
fn sorted_lines(bytes: Vec<u8>) -> Vec<u8> {
    let mut lines: Vec<&[u8]> = bytes.split_inclusive(|&byte| byte == b'\n').collect();
    lines.sort_unstable();
    lines.concat()
}

/// Processors of this machine.
fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// What `cmp` would say.
fn first_difference(one: &[u8], other: &[u8]) -> Option<String> {
    if one == other {
        return None;
    }
    let offset = one.iter().zip(other).position(|(a, b)| a != b).unwrap_or(one.len().min(other.len()));
    let line = one[..offset].iter().filter(|&&byte| byte == b'\n').count() + 1;
    Some(format!(
        "differ at byte {}, line {line} of the sorted; {} and {} bytes",
        offset + 1,
        one.len(),
        other.len()
    ))
}

/// Wall time with records, of httpry's. It reassembles nothing and pairs nothing.
const RECORDS_LIMIT: f64 = 0.5;

/// Wall time of the analysis alone, or with httpry's own lines, of httpry's.
const ANALYSIS_LIMIT: f64 = 0.333;

/// Wall time of two workers on two cores, of one core's; 0.55 is the aim.
const TWO_CORES_LIMIT: f64 = 0.7;

/// Wall time of the analysis alone, of what reading takes.
const PLAIN_READING_AIM: f64 = 1.5;

/// Resident memory without the mapped file.
const MEMORY_LIMIT_MIB: f64 = 200.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_plays_no_part_and_bytes_do() {
        let sorted = |text: &str| sorted_lines(text.as_bytes().to_vec());
        assert_eq!(sorted("b\na\n"), b"a\nb\n");
        assert_eq!(first_difference(&sorted("b\na\n"), &sorted("a\nb\n")), None);
        let told = first_difference(&sorted("a\nb\n"), &sorted("a\nc\n")).unwrap();
        assert_eq!(told, "differ at byte 3, line 2 of the sorted; 4 and 4 bytes");
        let told = first_difference(b"a\n", b"a\na\n").unwrap();
        assert!(told.starts_with("differ at byte 3, line 2"), "{told}");
    }
}
