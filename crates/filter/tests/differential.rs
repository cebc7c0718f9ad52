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
use gannet_testkit::filters::expression::Expressions;
use gannet_testkit::filters::foreign::Foreign;
use gannet_testkit::filters::frame::Frame;
use gannet_testkit::filters::oracle::{Answer, Optimiser, Oracle};
use gannet_testkit::random::Random;

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

/// Our optimised programs against our unoptimised ones, on frames so long that hardly any load fails.
///
/// Where one does fail in the unoptimised program, or something is divided by 0, the optimised one may pass the frame:
/// it takes out loads that nobody needs. A shift by more than 31 bits is 0 where it is computed beforehand, and what
/// the machine makes of it elsewhere.
#[test]
fn optimising_changes_no_verdict() {
    let seed = number("GANNET_SEED").unwrap_or(SEED);
    let expressions = number("GANNET_EXPRESSIONS").unwrap_or(20_000);
    // As many on every machine, so that the expressions are the same.
    let workers = 4;
    let (names, pool) = (Names::default(), Pool::new(seed, &[]));
    let found = std::thread::scope(|scope| {
        let run = |worker: u64| {
            let (names, pool) = (&names, &pool);
            scope.spawn(move || {
                let share = expressions / workers;
                compare_with_ourselves(seed.wrapping_mul(31).wrapping_add(worker), share, pool, names)
            })
        };
        let threads: Vec<_> = (0..workers).map(run).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(found.is_empty(), "GANNET_SEED={seed}: {}\n{}", found.len(), found.join("\n"));
}

fn compare_with_ourselves(seed: u64, expressions: u64, pool: &Pool, names: &Names) -> Vec<String> {
    const LINKS: [Link; 4] = [Link::Ethernet, Link::Raw, Link::Sll2, Link::Null];
    let (compile, mut random) = (ours(names), Random::new(seed));
    let mut sources = LINKS.map(|link| (link, Expressions::new(random.next_u64(), link)));
    let (mut found, mut compared) = (Vec::new(), 0);
    for at in 0..expressions {
        let (link, source) = &mut sources[at as usize % LINKS.len()];
        let drawn = source.next_expression();
        // Said twice, with something between: what is known from the first time decides the second.
        let text = match random.below(4) {
            0 => format!("({drawn}) and {} and ({drawn})", source.next_expression()),
            1 => format!("({drawn}) and ({} or ({drawn}))", source.next_expression()),
            2 => format!("({drawn}) or {} and not ({drawn})", source.next_expression()),
            _ => drawn,
        };
        let Ok(plain) = compile(&text, *link, false) else { continue };
        let optimised = match compile(&text, *link, true) {
            Ok(program) => program,
            Err(refusal) if refusal.rejects_all => Program::constant(0),
            // Constant arithmetic is refused where it is computed.
            Err(_) => continue,
        };
        compared += 1;
        let trace = Foreign::new(plain.instructions().to_vec());
        for frame in pool.take(*link, 60, &mut random) {
            let mut bytes = frame.bytes.clone();
            bytes.resize(bytes.len() + 300, 0);
            let frame = Frame::whole(bytes);
            let (verdict, wanted) = (optimised.run(&frame.skb()), plain.run(&frame.skb()));
            if verdict == wanted {
                continue;
            }
            let trace = trace.trace(&frame.skb());
            if !trace.cut_short && !trace.long_shift {
                found
                    .push(format!("{link:?} {text}: {wanted} before, {verdict} after on {:x?}", frame.bytes));
                break;
            }
        }
    }
    assert!(compared * 2 > expressions, "{compared} of {expressions} were compared");
    found
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
