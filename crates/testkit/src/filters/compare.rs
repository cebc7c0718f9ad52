//! Two compilers, one expression, many frames: do they agree?
//!
//! ```text
//!   expression ─┬─► ours ────► accepted │ rejects all │ refused ──┐
//!               └─► libpcap ─► accepted │ rejects all │ refused ──┴─► same? ─► both run over the frames ─► same verdicts?
//!                                                                                                     │ no
//!                                        libpcap unoptimised ◄────────────────────────────────────────┘
//! ```
//!
//! Some differences are meant, and are counted apart:
//! - libpcap's optimised and unoptimised programs disagree on a frame, and we are with one of them. A load beyond the
//!   end of a packet rejects it; whether a load stands in the way is up to the optimiser ([`Difference::Itself`]). Or
//!   they disagree on the frame made so long that no load is beyond its end, and we are with the unoptimised one
//!   there.
//! - libpcap optimises nothing that has `geneve` or `protochain` in it, we do, and elsewhere keeps a load now and
//!   then whose value is not needed (`udp[63] & 0 = 103`): the same in one more place ([`Difference::DeadLoad`]).
//! - libpcap's program may load a scratch word before it is stored; and its optimiser, when it takes out a load whose
//!   value is not needed, also takes out the length of the header that a later load goes by ([`Difference::Unset`]).
//! - libpcap's `byte 7 & 1` and `byte 7 | 1` look at no byte ([`Difference::LostLoad`]).
//! - libpcap's optimiser takes the opposite of `x & 1 = 0` for known behind that test, and any number to have one of all
//!   32 bits, and may find by that that no packet can pass: its unoptimised program passes some, as ours do
//!   ([`Difference::WrongRefusal`]).
//! - libpcap's `protochain` is a loop, which Linux does not run. Ours is a number of steps written out, and gives up
//!   behind them ([`Difference::LongChain`]).

use std::fmt;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use gannet_filter::{Link, Program};

use super::expression::Expressions;
use super::foreign::Foreign;
use super::frame::{Frame, Frames};
use super::oracle::{Answer, Optimiser, Oracle};
use super::shrink::{shrink, split};
use crate::random::{Random, mix};

/// The compiler under test: `optimise` or not.
pub type Compile<'a> = dyn Fn(&str, Link, bool) -> Result<Program, Refusal> + Sync + 'a;

/// Why our compiler did not take an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Because no packet could pass.
    pub rejects_all: bool,
    /// In its words.
    pub message: String,
}

/// How the two differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Difference {
    /// libpcap refuses, we accept.
    Accepted,
    /// libpcap accepts, we refuse.
    Refused,
    /// libpcap says that no packet could pass, we accept or refuse it otherwise.
    RejectsAllMissed,
    /// We say that no packet could pass, libpcap accepts or refuses it otherwise.
    RejectsAllInvented,
    /// The verdicts on a frame.
    Verdict,
    /// Our optimised and our unoptimised program disagree, and libpcap's do not.
    OwnOptimiser,
    /// As meant: libpcap disagrees with itself, and we agree with one of its programs on each frame.
    Itself,
    /// As meant: libpcap loses the load of `byte 7 & 1` and tests whatever register A holds.
    LostLoad,
    /// As meant: a load of libpcap's lies beyond the end of the packet, in a place where ours has none since nothing
    /// depends on it. Our unoptimised program agrees with libpcap's, but for `protochain`, which never reads the
    /// length of a header that ends the chain.
    DeadLoad,
    /// As meant: libpcap's program asks a scratch word that it has not set, for the place of headers behind a
    /// `geneve` that was not reached (`arp or geneve and tcp`), or register X, for the length of a header
    /// (`udp[17] & 0 = 103 or port 80`).
    Unset,
    /// As meant: we find that no packet can pass where libpcap does not, and its program passes none of the frames.
    Sharper,
    /// As meant: libpcap says that no packet could pass, and its unoptimised program passes some of the frames.
    WrongRefusal,
    /// As meant: a chain of headers is longer than what we follow, or goes on behind an authentication header.
    LongChain,
}

impl Difference {
    /// Whether it is one of those that are meant.
    pub fn is_meant(self) -> bool {
        use Difference::{DeadLoad, Itself, LongChain, LostLoad, Sharper, Unset, WrongRefusal};
        matches!(self, Itself | LostLoad | DeadLoad | Unset | LongChain | Sharper | WrongRefusal)
    }
}

/// How much to compare.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Makes the run what it is.
    pub seed: u64,
    /// Over all link types.
    pub expressions: u64,
    /// Per expression.
    pub frames: usize,
    /// Threads.
    pub workers: usize,
}

/// What a run found.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Expressions tried.
    pub expressions: u64,
    /// Of those, accepted by libpcap.
    pub accepted: u64,
    /// Refused by libpcap because no packet could pass.
    pub rejects_all: u64,
    /// Of the accepted, those that let some frames pass and others not.
    pub splitting: u64,
    /// Verdicts compared.
    pub verdicts: u64,
    /// Verdicts of frames on which libpcap's program did not end.
    pub endless: u64,
    /// Instructions of our programs, where both accept.
    pub our_instructions: u64,
    /// Instructions of libpcap's.
    pub their_instructions: u64,
    /// Differences by kind.
    pub differences: std::collections::BTreeMap<Difference, u64>,
    /// The first ones of each kind, made small.
    pub examples: Vec<Example>,
}

/// A difference, made small.
#[derive(Clone, Debug)]
pub struct Example {
    /// What differs.
    pub kind: Difference,
    /// The link type.
    pub link: Link,
    /// As it was generated.
    pub original: String,
    /// As short as it still shows.
    pub expression: String,
    /// Verdicts, listings, refusals.
    pub detail: String,
}

/// Frames that expressions are tried on, by link type.
#[derive(Debug)]
pub struct Pool {
    frames: Vec<(Link, Vec<Frame>)>,
}

impl Pool {
    /// Generated frames, and among them the real ones of that link type, in an order of chance.
    pub fn new(seed: u64, real: &[(Link, Frame)]) -> Self {
        let mut random = Random::new(mix(seed));
        let frames = LINK_SHARES.map(|(link, _)| {
            let mut source = Frames::new(random.next_u64(), link);
            let mut frames: Vec<Frame> = (0..GENERATED).map(|_| source.next_frame()).collect();
            frames.extend(real.iter().filter(|(of, _)| *of == link).map(|(_, frame)| frame.clone()));
            for at in (1..frames.len()).rev() {
                frames.swap(at, random.below(at as u64 + 1) as usize);
            }
            (link, frames)
        });
        Self { frames: frames.into() }
    }

    /// So many frames of a link type, beginning anywhere.
    pub fn take(&self, link: Link, count: usize, random: &mut Random) -> &[Frame] {
        let Some((_, frames)) = self.frames.iter().find(|(of, _)| *of == link) else { return &[] };
        let start = random.below(frames.len().saturating_sub(count) as u64 + 1) as usize;
        &frames[start..(start + count).min(frames.len())]
    }
}

/// Compares the compilers as planned.
///
/// # Errors
/// tcpdump could not be run.
pub fn compare(plan: Plan, oracle: &Oracle, pool: &Pool, compile: &Compile<'_>) -> io::Result<Outcome> {
    let outcome = Mutex::new(Outcome::default());
    let next = AtomicU64::new(0);
    let failure = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..plan.workers {
            scope.spawn(|| {
                loop {
                    let batch = next.fetch_add(1, Ordering::Relaxed);
                    let count = plan.expressions.saturating_sub(batch * BATCH).min(BATCH);
                    let failed = failure.lock().is_ok_and(|failure| failure.is_some());
                    if count == 0 || failed {
                        return;
                    }
                    let case = Case { plan, oracle, pool, compile };
                    let result = case.run_batch(batch, count, &outcome);
                    if let (Err(error), Ok(mut failure)) = (result, failure.lock()) {
                        *failure = Some(error);
                    }
                }
            });
        }
    });
    match failure.into_inner() {
        Ok(Some(error)) => Err(error),
        _ => outcome.into_inner().map_err(|_| io::Error::other("a thread that compares ended in a panic")),
    }
}

/// What is the same for all expressions.
struct Case<'a> {
    plan: Plan,
    oracle: &'a Oracle,
    pool: &'a Pool,
    compile: &'a Compile<'a>,
}

/// What one expression gave.
struct Finding {
    difference: Option<Difference>,
    detail: String,
}

impl Case<'_> {
    fn run_batch(&self, batch: u64, count: u64, outcome: &Mutex<Outcome>) -> io::Result<()> {
        let mut random = Random::new(mix(self.plan.seed) ^ mix(batch));
        let link = link_of(batch);
        let mut source = Expressions::new(random.next_u64(), link);
        let mut sum = Outcome::default();
        for _ in 0..count {
            let expression = source.next_expression();
            let frames = self.pool.take(link, self.plan.frames, &mut random);
            let finding = self.try_one(&expression, link, frames, Some(&mut sum))?;
            let Some(kind) = finding.difference else { continue };
            *sum.differences.entry(kind).or_default() += 1;
            let known = outcome
                .lock()
                .map_or(0, |outcome| outcome.examples.iter().filter(|example| example.kind == kind).count());
            if known < if kind.is_meant() { 1 } else { EXAMPLES } {
                let example = self.make_small(kind, link, &expression, frames)?;
                if let Ok(mut outcome) = outcome.lock()
                    && !outcome.examples.iter().any(|other| other.expression == example.expression)
                {
                    outcome.examples.push(example);
                }
            }
        }
        if let Ok(mut outcome) = outcome.lock() {
            outcome.add(&sum);
        }
        Ok(())
    }

    fn try_one(
        &self,
        expression: &str,
        link: Link,
        frames: &[Frame],
        sum: Option<&mut Outcome>,
    ) -> io::Result<Finding> {
        let theirs = self.oracle.compile(expression, link, Optimiser::On)?;
        let ours = (self.compile)(expression, link, true);
        let mut ignored = Outcome::default();
        let sum = sum.unwrap_or(&mut ignored);
        sum.expressions += 1;
        let different = |kind, detail| Ok(Finding { difference: Some(kind), detail });
        match (theirs, ours) {
            (Answer::Program(theirs), Ok(ours)) => {
                sum.accepted += 1;
                sum.our_instructions += ours.instructions().len() as u64;
                sum.their_instructions += theirs.instructions().len() as u64;
                self.try_frames(expression, link, frames, &ours, &theirs, sum)
            }
            (Answer::RejectsAll, Err(refusal)) if refusal.rejects_all => {
                sum.rejects_all += 1;
                Ok(Finding { difference: None, detail: String::new() })
            }
            (Answer::Refused(_), Err(refusal)) if !refusal.rejects_all => {
                Ok(Finding { difference: None, detail: String::new() })
            }
            (Answer::Refused(reason), Ok(_)) => different(Difference::Accepted, format!("libpcap: {reason}")),
            (Answer::Refused(reason), Err(refusal)) => different(
                Difference::RejectsAllInvented,
                format!("libpcap: {reason}\nwe: {}", refusal.message),
            ),
            (Answer::RejectsAll, ours) => {
                let kind = match &ours {
                    _ if loses_load(expression) => Difference::LostLoad,
                    Ok(program) if self.is_wrongly_refused(expression, link, frames, program)? => {
                        Difference::WrongRefusal
                    }
                    _ => Difference::RejectsAllMissed,
                };
                let said = ours.map_or_else(|refusal| refusal.message, |program| program.to_string());
                different(kind, format!("libpcap: rejects all packets\nwe: {said}"))
            }
            (Answer::Program(theirs), Err(refusal)) => {
                sum.accepted += 1;
                let passes_none = || frames.iter().all(|frame| theirs.run(&frame.skb()) == Some(0));
                let kind = match refusal.rejects_all {
                    false => Difference::Refused,
                    true if loses_load(expression) => Difference::LostLoad,
                    true if passes_none() => Difference::Sharper,
                    true => Difference::RejectsAllInvented,
                };
                different(kind, format!("we: {}\nlibpcap:\n{}", refusal.message, Listing(&theirs)))
            }
        }
    }

    /// Whether libpcap's unoptimised program passes what our optimised one passes, and that is something.
    fn is_wrongly_refused(
        &self,
        expression: &str,
        link: Link,
        frames: &[Frame],
        ours: &Program,
    ) -> io::Result<bool> {
        let Answer::Program(unoptimised) = self.oracle.compile(expression, link, Optimiser::Off)? else {
            return Ok(false);
        };
        let mut passed = false;
        for frame in frames.iter().map(longer) {
            let verdict = ours.run(&frame.skb());
            if unoptimised.run(&frame.skb()) != Some(verdict) {
                return Ok(false);
            }
            passed |= verdict != 0;
        }
        Ok(passed)
    }

    fn try_frames(
        &self,
        expression: &str,
        link: Link,
        frames: &[Frame],
        ours: &Program,
        theirs: &Foreign,
        sum: &mut Outcome,
    ) -> io::Result<Finding> {
        let plain = match (self.compile)(expression, link, false) {
            Ok(plain) => plain,
            Err(refusal) => {
                let detail = format!("accepted optimised, unoptimised: {}", refusal.message);
                return Ok(Finding { difference: Some(Difference::OwnOptimiser), detail });
            }
        };
        let mut passed = 0;
        let mut unsure = None;
        for (at, frame) in frames.iter().enumerate() {
            let skb = frame.skb();
            let Some(verdict) = theirs.run(&skb) else {
                sum.endless += 1;
                continue;
            };
            sum.verdicts += 1;
            passed += usize::from(verdict != 0);
            if ours.run(&skb) != verdict || plain.run(&skb) != verdict {
                unsure.get_or_insert(at);
            }
        }
        sum.splitting += u64::from(passed > 0 && passed < frames.len());
        let Some(at) = unsure else { return Ok(Finding { difference: None, detail: String::new() }) };
        let Answer::Program(unoptimised) = self.oracle.compile(expression, link, Optimiser::Off)? else {
            return Err(io::Error::other(format!("tcpdump -O refuses {expression:?}, and tcpdump does not")));
        };
        // Frame by frame, each of our programs must be with one of theirs. That our unoptimised program is with
        // libpcap's unoptimised one is no difference at all.
        let mut difference: Option<(Difference, usize)> = None;
        for (at, frame) in frames.iter().enumerate().skip(at) {
            let skb = frame.skb();
            let (Some(first), Some(second)) = (theirs.run(&skb), unoptimised.run(&skb)) else { continue };
            let (verdict, plain) = (ours.run(&skb), plain.run(&skb));
            let is_meant = || {
                let trace = theirs.trace(&skb);
                let long = trace.turns > CHAIN_STEPS || trace.turns > 1 && trace.long_turns > 0;
                let longer = longer(frame);
                let whole = unoptimised.run(&longer.skb());
                let wrong = whole != theirs.run(&longer.skb()) && whole == Some(ours.run(&longer.skb()));
                let dead =
                    trace.cut_short && (plain == second || theirs.has_loop() && theirs == &unoptimised);
                if loses_load(expression) {
                    Some(Difference::LostLoad)
                } else if trace.unset {
                    Some(Difference::Unset)
                } else if theirs.has_loop() && long {
                    Some(Difference::LongChain)
                } else if wrong && plain == second {
                    Some(Difference::Itself)
                } else {
                    dead.then_some(Difference::DeadLoad)
                }
            };
            let kind = if verdict != first && verdict != second {
                is_meant().unwrap_or(Difference::Verdict)
            } else if plain != first && plain != second {
                is_meant().unwrap_or(Difference::OwnOptimiser)
            } else if verdict != first {
                Difference::Itself
            } else {
                continue;
            };
            if difference.is_none_or(|(worst, _)| kind < worst) {
                difference = Some((kind, at));
            }
        }
        let Some((kind, shown)) = difference else {
            return Ok(Finding { difference: None, detail: String::new() });
        };
        let frame = &frames[shown];
        let detail = format!(
            "frame of {} bytes: {}\nours {} ({} unoptimised), libpcap's {:?} ({:?} unoptimised)\nours:\n{ours}\nlibpcap's:\n{}",
            frame.len,
            Hex(&frame.bytes),
            ours.run(&frame.skb()),
            plain.run(&frame.skb()),
            theirs.run(&frame.skb()),
            unoptimised.run(&frame.skb()),
            Listing(theirs),
        );
        Ok(Finding { difference: Some(kind), detail })
    }

    fn make_small(
        &self,
        kind: Difference,
        link: Link,
        expression: &str,
        frames: &[Frame],
    ) -> io::Result<Example> {
        let expression_of = |text: &str| self.try_one(text, link, frames, None);
        let small = shrink(expression, SHRINK_BUDGET, |text| {
            expression_of(text).is_ok_and(|finding| finding.difference == Some(kind))
        });
        // Blanks between the words may have hidden what was wrong.
        let same = expression_of(&small)?.difference == Some(kind);
        let small = if same { small } else { expression.to_owned() };
        let detail = expression_of(&small)?.detail;
        Ok(Example { kind, link, original: expression.to_owned(), expression: small, detail })
    }
}

/// The frame with so many zeros behind it that hardly any load fails.
fn longer(frame: &Frame) -> Frame {
    let mut frame = frame.clone();
    frame.bytes.resize(frame.bytes.len() + (1 << 16), 0);
    frame
}

/// Whether `byte` with a bit operator is in the expression.
fn loses_load(expression: &str) -> bool {
    let words = split(expression);
    words.windows(3).any(|words| words[0] == "byte" && matches!(words[2].as_str(), "&" | "|"))
}

fn link_of(batch: u64) -> Link {
    let sum: u64 = LINK_SHARES.iter().map(|(_, share)| share).sum();
    let mut at = batch % sum;
    for (link, share) in LINK_SHARES {
        if at < share {
            return link;
        }
        at -= share;
    }
    Link::Ethernet
}

impl Outcome {
    /// The differences that are not meant.
    pub fn faults(&self) -> u64 {
        self.differences.iter().filter(|(kind, _)| !kind.is_meant()).map(|(_, count)| count).sum()
    }

    fn add(&mut self, other: &Self) {
        self.expressions += other.expressions;
        self.accepted += other.accepted;
        self.rejects_all += other.rejects_all;
        self.splitting += other.splitting;
        self.verdicts += other.verdicts;
        self.endless += other.endless;
        self.our_instructions += other.our_instructions;
        self.their_instructions += other.their_instructions;
        for (&kind, count) in &other.differences {
            *self.differences.entry(kind).or_default() += count;
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
        writeln!(
            f,
            "{} expressions: libpcap accepts {:.1} %, {:.1} % reject all packets; {:.1} % of the accepted split the frames",
            self.expressions,
            share(self.accepted, self.expressions),
            share(self.rejects_all, self.expressions),
            share(self.splitting, self.accepted),
        )?;
        writeln!(
            f,
            "{} verdicts compared, {} without an end in libpcap's program",
            self.verdicts, self.endless
        )?;
        writeln!(
            f,
            "instructions where both accept: ours {}, libpcap's {} (ratio {:.3})",
            self.our_instructions,
            self.their_instructions,
            self.our_instructions as f64 / self.their_instructions.max(1) as f64,
        )?;
        if self.differences.is_empty() {
            return writeln!(f, "no difference");
        }
        for (kind, count) in &self.differences {
            writeln!(f, "{count} × {kind:?}{}", if kind.is_meant() { " (meant)" } else { "" })?;
        }
        for example in &self.examples {
            writeln!(f, "\n--- {:?} on {:?}: {}", example.kind, example.link, example.expression)?;
            writeln!(f, "generated as: {}\n{}", example.original, example.detail)?;
        }
        Ok(())
    }
}

/// A foreign program as its numbers, or as a listing if it is one that Linux takes.
struct Listing<'a>(&'a Foreign);

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(program) = self.0.program() {
            return write!(f, "{program}");
        }
        for insn in self.0.instructions() {
            write!(f, "{:#04x} {} {} {:#x}; ", insn.code, insn.jt, insn.jf, insn.k)?;
        }
        Ok(())
    }
}

/// Bytes as a run of digits.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Expressions of one batch: one link type, one source.
const BATCH: u64 = 50;

/// Batches of each link type; every batch number has one.
const LINK_SHARES: [(Link, u64); 7] = [
    (Link::Ethernet, 20),
    (Link::Raw, 5),
    (Link::Sll, 5),
    (Link::Sll2, 4),
    (Link::Null, 3),
    (Link::NullBigEndian, 1),
    (Link::Loop, 2),
];

/// Generated frames per link type; every expression takes some of them in a row.
const GENERATED: usize = 4000;

/// Differences of each kind that are made small.
const EXAMPLES: usize = 8;

/// Expressions tried to make one small: a second or two.
const SHRINK_BUDGET: usize = 400;

/// Extension headers that our `ip6 protochain` passes, the shorter of the two.
const CHAIN_STEPS: u64 = 4;
