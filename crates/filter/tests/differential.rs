//! The compiler against libpcap's: generated expressions, generated and real frames, the same verdicts.
//!
//! `GANNET_SEED` (decimal) repeats a run, `GANNET_EXPRESSIONS` makes it longer; `tools/filters` does both for a run
//! of a million. Without tcpdump the test says SKIPPED. What `gannet_testkit::filters::compare` calls meant is
//! allowed, as long as it stays rare.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic of a test is its report, in helpers as well")]

use std::time::Instant;

use gannet_filter::{ErrorKind, Link, Names, Options, Program, Snaplen, compile};
use gannet_testkit::filters::compare::{Plan, Pool, Refusal, compare};
use gannet_testkit::filters::corpus;
use gannet_testkit::filters::oracle::{Answer, Optimiser, Oracle};

/// The same expressions at every check, so that it fails for what was changed; `tools/filters` takes others every time.
const SEED: u64 = 20;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// What tcpdump compiles for: the whole packet, no network mask, as for files.
fn ours(names: &Names) -> impl Fn(&str, Link, bool) -> Result<Program, Refusal> + Sync + '_ {
    |text, link, optimise| {
        let options = Options { link, snaplen: Snaplen::Fixed(262_144), optimise, netmask: 0, names };
        compile(text, &options).map_err(|error| Refusal {
            rejects_all: error.kind == ErrorKind::RejectsAll,
            message: format!("{:?}: {error}", error.kind),
        })
    }
}

#[test]
fn verdicts_are_those_of_libpcap() {
    let directory = tempfile::tempdir().unwrap();
    let Some(oracle) = Oracle::or_skip(directory.path()) else { return };
    let seed = number("GANNET_SEED").unwrap_or(SEED);
    let real = match corpus::captures(env!("CARGO_MANIFEST_DIR")) {
        Some(folder) => corpus::frames(&folder, 30),
        None => {
            eprintln!("no captures at $GANNET_CORPUS or ../shared/data: generated frames only");
            Vec::new()
        }
    };
    let plan = Plan {
        seed,
        expressions: number("GANNET_EXPRESSIONS").unwrap_or(20_000),
        frames: 200,
        workers: std::thread::available_parallelism().map_or(2, usize::from),
    };
    eprintln!("GANNET_SEED={seed} GANNET_EXPRESSIONS={}, {} real frames", plan.expressions, real.len());
    let pool = Pool::new(seed, &real);
    let names = Names::default();
    let began = Instant::now();
    let outcome = compare(plan, &oracle, &pool, &ours(&names)).unwrap();
    let seconds = began.elapsed().as_secs_f64();
    eprintln!("{outcome}\n{seconds:.1} s, {:.0} expressions/s", plan.expressions as f64 / seconds);
    assert_eq!(outcome.faults(), 0, "GANNET_SEED={seed}: differences that are not meant, see above");
    let meant: u64 = outcome.differences.values().sum();
    assert!(meant * 50 < outcome.accepted, "{meant} differences that are meant are not rare");
}

/// The expressions of the shared list.
fn shared_list() -> Option<Vec<String>> {
    let path = corpus::captures(env!("CARGO_MANIFEST_DIR"))?.parent()?.join("filters.txt");
    let text = std::fs::read_to_string(path).ok()?;
    let expressions = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    Some(expressions.map(|line| line.split("  #").next().unwrap_or(line).trim().to_owned()).collect())
}

/// Programs are no longer than libpcap's on average, and never much longer where the expression is short.
#[test]
fn programs_are_no_longer_than_those_of_libpcap() {
    let directory = tempfile::tempdir().unwrap();
    let Some(oracle) = Oracle::or_skip(directory.path()) else { return };
    let Some(list) = shared_list() else {
        eprintln!("SKIPPED: no filters.txt at $GANNET_CORPUS or ../shared/data; lengths were not compared");
        return;
    };
    let names = Names::default();
    let ours = ours(&names);
    let (mut rows, mut ratios, mut long, mut wrong) = (String::new(), Vec::new(), Vec::new(), Vec::new());
    for link in [Link::Ethernet, Link::Sll, Link::Sll2, Link::Raw, Link::Null] {
        for text in &list {
            let (mine, theirs) =
                match (ours(text, link, true), oracle.compile(text, link, Optimiser::On).unwrap()) {
                    (Ok(mine), Answer::Program(theirs)) => {
                        (mine.instructions().len(), theirs.instructions().len())
                    }
                    (Err(refusal), Answer::RejectsAll) if refusal.rejects_all => continue,
                    (Err(refusal), Answer::Refused(_)) if !refusal.rejects_all => continue,
                    (mine, theirs) => {
                        wrong.push(format!("{link:?} {text}: libpcap {theirs:?}, we {mine:?}"));
                        continue;
                    }
                };
            let ratio = mine as f64 / theirs as f64;
            ratios.push(ratio);
            rows.push_str(&format!("{mine:6} {theirs:8} {ratio:6.2}  {link:?}  {text}\n"));
            let words = text.split_whitespace().count();
            // libpcap's loop is shorter than any number of steps written out.
            if words <= 10 && ratio > 1.5 && !text.contains("protochain") {
                long.push(format!("{mine} for {theirs}: {link:?} {text}"));
            }
        }
    }
    let mean = ratios.iter().sum::<f64>() / ratios.len().max(1) as f64;
    eprintln!("  ours  libpcap  ratio\n{rows}mean ratio of {} programs: {mean:.3}", ratios.len());
    assert!(wrong.is_empty(), "accepted by one alone:\n{}", wrong.join("\n"));
    assert!(long.is_empty(), "longer than one and a half times libpcap's:\n{}", long.join("\n"));
    assert!(mean <= 1.0, "{mean}");
}
