//! The same verdicts from fewer instructions.
//!
//! ```text
//!    ┌── rounds of branches ────────────────┐   ┌── rounds of statements ──┐   ┌── once ───────────────┐
//!    │ value numbers → settled comparisons, │   │ value numbers → folded   │   │ equal blocks merged,  │
//!    │ neighbours, dead code  (`peephole`)  │   │ constants, idle and dead │   │ entry (`merge`);      │
//!    │ facts on edges → jumps threaded      │──►│ statements, neighbours   │──►│ refused if `ret 0`;   │
//!    │ branches pulled up chains (`pull`)   │   │ (`values`, `peephole`)   │   │ `tidy`                │
//!    └────────── until none changes ────────┘   └──── until none changes ──┘   └───────────────────────┘
//! ```
//!
//! # What it may do
//! Everything up to the refusal knows and does what libpcap 1.10's optimiser knows and does: an expression is refused
//! because the optimiser *finds* that it rejects all packets, so that what it can find is part of the language. A
//! second trait is shared with it: loads that nobody needs are taken out although they would have rejected a packet
//! cut before them, and pulling a branch up lets a cut packet answer it before the load that it lacks. What comes
//! after the refusal ([`tidy`]) keeps the verdict on every packet, however short.
//!
//! Two mistakes are not shared (1.10.3), since they give wrong verdicts:
//! - Where libpcap makes `x & 1 = 0` a test for the bit, with the ways exchanged, it takes the opposite of the answer
//!   for known behind it: `ip src net 0.0.0.0/8 and ip src net 0.0.0.0/8` rejects all packets there.
//! - It takes a test for any of all 32 bits to hold: `ip[16:4] & 0xffffffff != 0` passes an address of 0.
//!
//! # What it costs
//! A round is nearly linear in the size of the graph, but a long chain takes as many rounds as tests have to be
//! pulled up. The rounds share a budget; a graph that is not done by then is left as it is, correct and somewhat
//! longer. One that large does not fit the 4096 instructions of the kernel as a rule, which [`emit`](crate::emit)
//! then says.

mod atoms;
mod facts;
mod merge;
mod order;
mod peephole;
mod pull;
mod thread;
mod tidy;
mod values;

#[cfg(test)]
mod tests;

pub use tidy::tidy;

use atoms::{ATOM_A, ATOM_X, Atoms, Traffic};
use facts::{Facts, Question};
use order::{Inward, Levels};
use values::{Outcome, State, Values};

use crate::error::{Error, ErrorKind};
use crate::ir::{BlockId, End, Graph, Operand, Way};

/// Makes a graph smaller.
///
/// # Errors
/// [`RejectsAll`](ErrorKind::RejectsAll) if no packet can pass, [`Meaning`](ErrorKind::Meaning) if constant arithmetic
/// divides by zero or shifts by more than 31 bits.
pub fn optimise(graph: &mut Graph) -> Result<(), Error> {
    like_libpcap(graph)?;
    if graph.block(graph.entry).end == End::Return(0) {
        return Err(Error::new(ErrorKind::RejectsAll, "expression rejects all packets", 0..0)
            .with_help("some of its parts exclude each other on this link type, such as `ip and ip6`"));
    }
    tidy(graph);
    Ok(())
}

/// What libpcap's optimiser does, no less and no more, but for two [mistakes](self).
fn like_libpcap(graph: &mut Graph) -> Result<(), Error> {
    let mut budget = BUDGET;
    rounds(graph, Scope::Branches, &mut budget)?;
    budget = budget.max(BUDGET / 4);
    rounds(graph, Scope::Statements, &mut budget)?;
    merge::merge_equal(graph);
    merge::enter_late(graph);
    Ok(())
}

/// What a round changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// Where edges lead, and patterns of neighbouring statements.
    Branches,
    /// Statements alone.
    Statements,
}

/// Goes through the graph until nothing changes.
fn rounds(graph: &mut Graph, scope: Scope, budget: &mut usize) -> Result<(), Error> {
    let mut rounds_of_moves = 0;
    while rounds_of_moves < ROUNDS_OF_MOVES {
        let levels = Levels::of(graph);
        let cost: usize =
            levels.downward().map(|id| BLOCK_COST + STATEMENT_COST * graph.block(id).statements.len()).sum();
        let Some(rest) = budget.checked_sub(cost) else { break };
        *budget = rest;
        let done = round(graph, &levels, scope, budget)?;
        match done {
            Progress { simplified: true, .. } => rounds_of_moves = 0,
            Progress { moved: true, .. } => rounds_of_moves += 1,
            _ => break,
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// There is less than before.
    simplified: bool,
    /// Edges lead elsewhere, which could go round in circles.
    moved: bool,
}

/// What a round knows of each block, by its id.
#[derive(Debug)]
struct Blocks {
    /// What the atoms hold at its end.
    ends: Vec<State>,
    /// What it reads and writes.
    traffic: Vec<Traffic>,
    /// What the blocks behind it wanted when the round began.
    live_after: Vec<Atoms>,
    /// What is wanted at its beginning, as edges move.
    wanted: Vec<Atoms>,
}

fn round(graph: &mut Graph, levels: &Levels, scope: Scope, budget: &mut usize) -> Result<Progress, Error> {
    let mut values = Values::default();
    let mut blocks = analyse(graph, levels);
    let mut inward = Inward::of(graph, levels);
    let mut progress = Progress::default();
    for id in levels.downward() {
        progress.simplified |= simplify(graph, id, scope, &mut inward, &mut blocks, &mut values, false)?;
    }
    if scope == Scope::Branches {
        let facts = Facts::of(graph, levels, &inward, |id| question(graph, &blocks, &mut values, id));
        let threaded = thread::thread(graph, levels, &mut blocks, &facts, &mut values, budget);
        inward = Inward::of(graph, levels);
        let pulled = pull::pull_up(graph, levels, &mut inward, &blocks, budget);
        progress.simplified |= threaded.skipped;
        progress.moved = threaded.moved || pulled;
    }
    Ok(progress)
}

/// What is known before a round begins: what each block reads and writes and what is wanted where.
fn analyse(graph: &Graph, levels: &Levels) -> Blocks {
    let count = graph.blocks.len();
    let mut blocks = Blocks {
        ends: vec![State::default(); count],
        traffic: graph.blocks.iter().map(Traffic::of).collect(),
        live_after: vec![0; count],
        wanted: vec![0; count],
    };
    for id in levels.upward() {
        let at = id.0 as usize;
        let after = graph.block(id).successors().fold(0, |live, next| live | blocks.wanted[next.0 as usize]);
        blocks.live_after[at] = after;
        blocks.wanted[at] = blocks.traffic[at].live_before(after);
    }
    blocks
}

/// Works on one block, after all that lead to it; whether it got simpler. Where the verdict must be `exact`, what can
/// end the program stays.
fn simplify(
    graph: &mut Graph,
    id: BlockId,
    scope: Scope,
    inward: &mut Inward,
    blocks: &mut Blocks,
    values: &mut Values,
    exact: bool,
) -> Result<bool, Error> {
    let at = id.0 as usize;
    let start = values.meet(id, inward.edges(id).iter().map(|&(from, _)| &blocks.ends[from.0 as usize]));
    let block = &mut graph.blocks[at];
    let live_after = blocks.live_after[at];
    let mut state = start;
    let mut changed = false;
    if scope == Scope::Statements {
        let mut failure = None;
        block.statements.retain_mut(|insn| {
            let outcome = values.rewrite(insn, &mut state, exact).unwrap_or_else(|error| {
                failure.get_or_insert(error);
                Outcome::Kept
            });
            changed |= outcome != Outcome::Kept;
            outcome != Outcome::Idle
        });
        if let Some(error) = failure {
            return Err(error);
        }
    } else {
        values.run(&block.statements, &mut state);
    }
    let leaves_no_trace = live_after == 0 && state[ATOM_A] == start[ATOM_A] && state[ATOM_X] == start[ATOM_X];
    let ends = matches!(block.end, End::Return(_));
    if scope == Scope::Statements && !exact && (leaves_no_trace || ends) {
        changed |= !block.statements.is_empty();
        block.statements.clear();
    } else {
        let mut patterns = peephole::neighbours(block, live_after);
        let then = block.end.by(Way::Then);
        patterns |= peephole::comparison(block, values, &state, live_after);
        if block.end.by(Way::Then) != then {
            // The facts of this round are told by the ways.
            inward.exchange_ways(id, block);
        }
        if patterns {
            state = start;
            values.run(&block.statements, &mut state);
        }
        changed |= patterns;
        changed |= peephole::settle(block, values, &state);
        changed |= peephole::remove_dead(block, live_after, exact);
    }
    if changed {
        // What is recorded must hold for the statements as they are now: others rely on it in this round.
        state = start;
        values.run(&block.statements, &mut state);
        blocks.traffic[at] = Traffic::of(block);
    }
    blocks.ends[at] = state;
    Ok(changed)
}

/// What a block's branch asks; `None` if it does not end in one.
fn question(graph: &Graph, blocks: &Blocks, values: &mut Values, id: BlockId) -> Option<Question> {
    let End::Branch { condition, .. } = graph.block(id).end else { return None };
    let end = &blocks.ends[id.0 as usize];
    let operand = match condition.operand {
        Operand::Constant(constant) => values.constant(constant),
        Operand::X => end[ATOM_X],
    };
    Some(Question { code: condition.encoded().0, a: end[ATOM_A], operand })
}

/// Work in all rounds together, in units of about 10 ns: half a second. Filters that fit the kernel take far less:
/// 400 hosts 50 ms, 20 words a few microseconds. Less would leave long lists longer than libpcap leaves them, more
/// would let 100 kB of expression take longer than a second.
const BUDGET: usize = 40_000_000;
/// What going through a block costs in a round.
const BLOCK_COST: usize = 80;
/// What each of its statements costs.
const STATEMENT_COST: usize = 20;
/// Rounds that only moved edges before the search ends: two moves can undo each other for ever. libpcap's number.
const ROUNDS_OF_MOVES: usize = 100;
