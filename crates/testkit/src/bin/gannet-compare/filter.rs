//! `gannet-compare filter`: gannet and tcpdump, the same expressions over capture A on one core.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;

use crate::capture_a::capture_a;
use crate::process::{Ended, Process};
use crate::report::{Report, progress};
use crate::table::{self, Grid, median};
use crate::verdict::Verdict;

#[derive(clap::Args)]
pub(crate) struct FilterArguments {
    /// Runs of each tool and expression; the tools take turns
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Capture A; made by `tools/make-capture --seed 1 --size 3GB` if it is not there
    #[arg(long, default_value = "target/capture-a.pcap")]
    capture: PathBuf,
    /// The core on which it is read
    #[arg(long, default_value_t = 0)]
    cpu: usize,
    /// An expression to measure instead of the built-in ones; may repeat
    #[arg(long)]
    expression: Vec<String>,
    /// One run, 100 MB of capture unless there is one already
    #[arg(long)]
    quick: bool,
    /// The gannet to measure
    #[arg(long, default_value = "target/release/gannet")]
    gannet: PathBuf,
    /// Append the report to this file, too
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Who filters the capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    Tcpdump,
    Filter,
    Record,
}

impl Tool {
    const ALL: [Self; 3] = [Self::Tcpdump, Self::Filter, Self::Record];

    fn name(self) -> &'static str {
        match self {
            Self::Tcpdump => "tcpdump -r FILE EXPR -w /dev/null",
            Self::Filter => "gannet filter EXPR --run FILE",
            Self::Record => "gannet record -r FILE EXPR -w /dev/null",
        }
    }

    /// The command, on one core.
    fn command(self, gannet: &Path, expression: &str, capture: &Path, cpu: usize) -> Command {
        let mut command = Command::new("taskset");
        command.arg("-c").arg(cpu.to_string());
        match self {
            Self::Tcpdump => command.args(["tcpdump", "-Z", "root", "-w", "/dev/null", "-r"]),
            Self::Filter => command.arg(gannet).args(["filter", "--run"]),
            Self::Record => command.arg(gannet).args(["record", "-q", "-w", "/dev/null", "-r"]),
        };
        command.arg(capture).arg(expression);
        command
    }
}

/// Measures; true if the same packets passed everywhere.
pub(crate) fn filter(arguments: &FilterArguments, stop: &AtomicBool) -> anyhow::Result<bool> {
    let gannet = fs::canonicalize(&arguments.gannet).unwrap_or_else(|_| arguments.gannet.clone());
    let mut verdict = Verdict::new(Report::new(arguments.out.clone()));
    verdict.print(&table::header(Path::new("."), versions(&gannet)))?;
    let capture = capture_a(&arguments.capture, arguments.quick, &mut verdict)?;
    io::copy(&mut File::open(&capture)?, &mut io::sink()).context("reading the capture into the cache")?;
    let built_in = EXPRESSIONS.map(str::to_owned);
    let expressions = if arguments.expression.is_empty() { &built_in[..] } else { &arguments.expression };
    let turns = if arguments.quick { 1 } else { arguments.runs.max(1) };
    for expression in expressions {
        let mut runs: Vec<(Tool, Vec<Ended>)> = Tool::ALL.map(|tool| (tool, Vec::new())).into();
        let mut counted = String::new();
        for turn in 1..=turns {
            for (tool, runs) in &mut runs {
                let command = tool.command(&gannet, expression, &capture, arguments.cpu);
                let (ended, said) = Process::spawn(tool.name(), command)?.finish(stop)?;
                progress(&format!("{expression}: {turn}: {}: {:.3} s", tool.name(), ended.wall_seconds));
                if *tool == Tool::Filter {
                    counted = said;
                }
                runs.push(ended);
            }
        }
        print_times(expression, &runs, arguments.cpu, &mut verdict)?;
        let expected = count_by_tcpdump(expression, &capture, stop)?;
        let told = format!("{counted} by gannet, {expected} by tcpdump --count");
        verdict.check("as many packets pass", counted == expected, &told)?;
    }
    verdict.close()
}

fn print_times(
    expression: &str,
    runs: &[(Tool, Vec<Ended>)],
    cpu: usize,
    verdict: &mut Verdict,
) -> anyhow::Result<()> {
    let middle =
        |runs: &[Ended], value: fn(&Ended) -> f64| median(runs.iter().map(value).collect::<Vec<_>>());
    let tcpdump = runs.iter().find(|(tool, _)| *tool == Tool::Tcpdump);
    let tcpdump_wall = tcpdump.map_or(0.0, |(_, runs)| middle(runs, |run| run.wall_seconds));
    let mut grid = Grid::new(&["tool", "runs", "wall s", "CPU s", "/tcpdump wall", ""]);
    for (tool, runs) in runs {
        let wall = middle(runs, |run| run.wall_seconds);
        grid.row(vec![
            tool.name().to_owned(),
            runs.len().to_string(),
            format!("{wall:.3}"),
            format!("{:.3}", middle(runs, |run| run.cpu_seconds)),
            format!("{:.3}", wall / tcpdump_wall),
            String::new(),
        ]);
    }
    let heading = format!("\n{expression}: from the page cache, all on core {cpu}; medians\n");
    verdict.print(&format!("{heading}{}\n", grid.render()))?;
    for (tool, runs) in runs.iter().filter(|(tool, _)| *tool != Tool::Tcpdump) {
        let ratio = middle(runs, |run| run.wall_seconds) / tcpdump_wall;
        verdict.at_most(&format!("{}, wall time / tcpdump's", tool.name()), ratio, 1.0)?;
    }
    Ok(())
}

/// What `tcpdump --count` says: "N packets".
fn count_by_tcpdump(expression: &str, capture: &Path, stop: &AtomicBool) -> anyhow::Result<String> {
    let mut command = Command::new("tcpdump");
    command.args(["-Z", "root", "--count", "-r"]).arg(capture).arg(expression);
    let (_, said) = Process::spawn("tcpdump --count", command)?.finish(stop)?;
    let line = said.lines().find(|line| line.ends_with(" packets") || line.ends_with(" packet"));
    let number = line.and_then(|line| line.split(' ').next());
    Ok(number.with_context(|| format!("tcpdump --count said: {said}"))?.to_owned())
}

fn versions(gannet: &Path) -> impl Iterator<Item = (String, Command)> {
    let mut ours = Command::new(gannet);
    ours.arg("--version");
    let mut peer = Command::new("tcpdump");
    peer.arg("--version");
    [("gannet".to_owned(), ours), ("tcpdump".to_owned(), peer)].into_iter()
}

/// Cheap, of which nothing passes; cheap, of which all of capture A passes; expensive, of which a part passes.
const EXPRESSIONS: [&str; 3] = [
    "udp",
    "tcp port 80",
    "tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420 or (ip6 and tcp[tcpflags] & (tcp-syn|tcp-fin) != 0) \
     or udp portrange 1-1023 or net 192.168.0.0/16 and not port 443",
];
