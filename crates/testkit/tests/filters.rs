//! The generators are worth their time: most expressions mean something, and frames fall on both sides of them.
//!
//! libpcap stands in for the compiler under test, so every difference would be one of the comparison itself.

use gannet_filter::{Link, Program};
use gannet_testkit::filters::compare::{Difference, Plan, Pool, Refusal, compare};
use gannet_testkit::filters::oracle::{Answer, Optimiser, Oracle};

fn refusal(rejects_all: bool, message: &str) -> Refusal {
    Refusal { rejects_all, message: message.to_owned() }
}

#[test]
fn expressions_are_accepted_and_split_the_frames() {
    let directory = tempfile::tempdir().unwrap();
    let Some(oracle) = Oracle::or_skip(directory.path()) else { return };
    let libpcap = |text: &str, link: Link, optimise: bool| -> Result<Program, Refusal> {
        let optimiser = if optimise { Optimiser::On } else { Optimiser::Off };
        match oracle.compile(text, link, optimiser).unwrap() {
            Answer::Program(program) => program.program().cloned().ok_or_else(|| refusal(false, "a loop")),
            Answer::RejectsAll => Err(refusal(true, "")),
            Answer::Refused(reason) => Err(refusal(false, &reason)),
        }
    };
    let pool = Pool::new(1, &[]);
    let expressions =
        std::env::var("GANNET_EXPRESSIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(1_000);
    let plan = Plan { seed: 1, expressions, frames: 200, workers: 2 };
    let began = std::time::Instant::now();
    let outcome = compare(plan, &oracle, &pool, &libpcap).unwrap();
    eprintln!("{outcome}\n{:.0} expressions/s", expressions as f64 / began.elapsed().as_secs_f64());
    assert!(outcome.accepted * 10 > expressions * 6, "{outcome}");
    assert!(outcome.splitting * 10 > outcome.accepted * 4, "{outcome}");
    // libpcap's loops are refused by our machine, and its two programs differ where a load was left out.
    let strange: Vec<_> = outcome
        .differences
        .keys()
        .filter(|kind| !matches!(kind, Difference::Refused | Difference::Itself | Difference::OwnOptimiser))
        .collect();
    assert!(strange.is_empty(), "{outcome}");
}
