//! `gannet-compare record`: packets to disk, each recorder in turn under the same load.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use clap::ValueEnum as _;
use gannet_testkit::disk;
use gannet_testkit::generator::{Generator, Sizes, Spec};
use gannet_testkit::lab::Lab;

use crate::recorders::{self, Row};
use crate::report::{Report, Scratch, progress};
use crate::table;
use crate::tools::Tool;
use crate::trial::{Bench, Load};

#[derive(clap::Args)]
pub(crate) struct RecordArguments {
    /// Frames per run
    #[arg(long, default_value_t = 4_000_000)]
    count: u64,
    /// Runs of each recorder with each size; the recorders take turns
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Sizes of frames without FCS: N, LOW-HIGH or imix
    #[arg(long, value_delimiter = ',', default_value = "1514,60,imix")]
    sizes: Vec<String>,
    /// Recorders
    #[arg(long, value_delimiter = ',', default_values_t = Tool::value_variants().iter().map(|tool| tool.name()))]
    tools: Vec<String>,
    /// Frames per second, the same for all [default: 0.8 of what the disk or, if that is less, the generator does]
    #[arg(long)]
    pps: Option<f64>,
    /// Besides the pace, offer full speed: of the generator, and of trafgen where all frames have one size
    #[arg(long)]
    full: bool,
    /// Where the captures go (and are removed again): a directory on the disk to measure
    #[arg(long, default_value = ".")]
    disk: PathBuf,
    /// The gannet to measure
    #[arg(long, default_value = "target/release/gannet")]
    gannet: PathBuf,
    /// Append the report to this file, too
    #[arg(long)]
    out: Option<PathBuf>,
    /// Write every single run to this file as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Measures all that was asked for and prints the tables.
pub(crate) fn record(arguments: &RecordArguments, stop: &AtomicBool) -> anyhow::Result<()> {
    let tools = parse_tools(&arguments.tools)?;
    let sizes: Vec<(String, Sizes)> = arguments
        .sizes
        .iter()
        .map(|text| Ok((text.clone(), text.parse().map_err(anyhow::Error::msg)?)))
        .collect::<anyhow::Result<_>>()?;
    let gannet = fs::canonicalize(&arguments.gannet).unwrap_or_else(|_| arguments.gannet.clone());
    let directory = Scratch::new(&arguments.disk)?;
    let lab = Lab::new()?;
    let bench = Bench { lab: &lab, gannet: &gannet, directory: &directory.0, count: arguments.count, stop };
    let mut report = Report::new(arguments.out.clone());
    report.print(&table::header(
        &arguments.disk,
        tools.iter().filter_map(|tool| Some((tool.name(), tool.version(&gannet)?))),
    ))?;

    let ceiling = disk::ceiling(&directory.0, &disk::Trial::default())
        .with_context(|| format!("direct writes in {}", directory.0.display()))?;
    report.print(&format!("direct writes  {:.0} MB/s\n", ceiling.bytes_per_second / 1e6))?;
    let mut rows: Vec<Row> = Vec::new();
    for (name, sizes) in &sizes {
        let pace = match arguments.pps {
            Some(pps) => pps,
            None => choose_pace(&bench, name, *sizes, ceiling.bytes_per_second, &mut report)?,
        };
        let mut loads = vec![Load::Paced(pace)];
        if arguments.full {
            loads.push(Load::Full);
            loads.extend(matches!(sizes, Sizes::Fixed(_)).then_some(Load::Trafgen));
        }
        for load in loads {
            let first = rows.len();
            rows.extend(tools.iter().map(|tool| Row {
                tool: tool.name(),
                load: load.name().to_owned(),
                size: name.clone(),
                runs: Vec::new(),
                failures: Vec::new(),
            }));
            for turn in 0..arguments.runs {
                for (row, &tool) in rows[first..].iter_mut().zip(&tools) {
                    let ours = matches!(tool, Tool::Gannet | Tool::GannetPcap);
                    let inspect = |files: &[PathBuf]| {
                        if turn == 0 && ours { second_opinion(files) } else { Vec::new() }
                    };
                    match bench.measure(tool, *sizes, load, inspect) {
                        Ok(run) => {
                            progress(&format!("{name} {} {}: {} lost", load.name(), row.tool, run.lost()));
                            row.runs.push(run);
                        }
                        Err(_) if stop.load(Ordering::Relaxed) => anyhow::bail!("interrupted"),
                        Err(error) => {
                            progress(&format!("{name} {} {}: {error:#}", load.name(), row.tool));
                            row.failures.push(format!("{error:#}"));
                        }
                    }
                }
            }
        }
    }
    report.print(&recorders::render(&rows))?;
    if let Some(path) = &arguments.json {
        let file = fs::File::create(path).with_context(|| path.display().to_string())?;
        serde_json::to_writer_pretty(file, &rows)?;
    }
    Ok(())
}

/// 0.8 of what the disk takes in frames of this size, or of what the generator can offer to a tap, if that is less.
fn choose_pace(
    bench: &Bench<'_>,
    name: &str,
    sizes: Sizes,
    bytes_per_second: f64,
    report: &mut Report,
) -> anyhow::Result<f64> {
    let mean = Generator::new(&Spec { sizes, ..Spec::default() }).mean_length();
    let disk = bytes_per_second / mean;
    // tcpdump, which reads what it can and drops the rest, is the tap that every recorder is.
    let trial = Bench { count: (bench.count / 4).clamp(10_000, 1_000_000), ..*bench };
    let run = trial.measure(Tool::Tcpdump, sizes, Load::Full, |_| Vec::new())?;
    let pace = SHARE * disk.min(run.offered_pps);
    report.print(&format!(
        "pace at {name:<6} {pace:.0} frames/s: {SHARE} of {} ({disk:.0}/s to the disk, {:.0}/s from the generator)\n",
        if disk < run.offered_pps { "the disk" } else { "the generator" },
        run.offered_pps,
    ))?;
    Ok(pace)
}

/// What Wireshark's and tcpdump's readers count in our file.
fn second_opinion(files: &[PathBuf]) -> Vec<String> {
    let mut notes = Vec::new();
    for file in files {
        for (program, words) in [("capinfos", &["-rcM"][..]), ("tcpdump", &["--count", "-nn", "-r"])] {
            let output = Command::new(program).args(words).arg(file).stdin(Stdio::null()).output();
            let said = match output {
                Ok(output) => {
                    let text = [output.stdout, output.stderr].concat();
                    let text = String::from_utf8_lossy(&text);
                    text.lines().filter(|line| line.contains("packets")).collect::<Vec<_>>().join("; ")
                }
                Err(error) => error.to_string(),
            };
            notes.push(format!("{program} reads: {}", said.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
    }
    notes
}

fn parse_tools(names: &[String]) -> anyhow::Result<Vec<Tool>> {
    names
        .iter()
        .map(|name| Tool::from_str(name, false).map_err(|error| anyhow::anyhow!("{name}: {error}")))
        .collect()
}

/// Share of the ceiling that is offered: a recorder that is as fast as the disk has a fifth to spare.
const SHARE: f64 = 0.8;
