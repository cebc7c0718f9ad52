//! Conversations by chance through all that lies between frames and ordered bytes: decoding with every tunnel,
//! defragmentation, the flow table.
//!
//! Of each direction of each flow exactly those bytes must come that the capture has, and gaps exactly where it has
//! none: what that is `gannet-testkit` knows from how the capture was made. Where nothing is lost it is what the ends
//! have said.
//!
//! `GANNET_CASES` is the number of cases, `GANNET_SEED` the seed of the first: a failure prints the seed that repeats
//! it alone, and which of the drawn features it takes. The capture is written to the file that `GANNET_PCAP` names.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic of a test is its report, in helpers as well")]

mod common;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use common::analyse;
use gannet_flow::{
    CloseReason, Data, Flow, FlowTable, FragmentLimits, Fragments, Gap, GapReason, Handler, Limits, Moment,
    Peer, StreamEnd,
};
use gannet_packet::{Frame, LinkType, PacketType, Timestamp};
use gannet_testkit::conversation::{self, Case, Feature, Features, Missing, PATIENCE};

/// Unless `GANNET_CASES` says otherwise.
const CASES: u64 = 10_000;

#[test]
fn streams_are_what_was_captured() {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let first = number("GANNET_SEED").unwrap_or(1);
    let cases = number("GANNET_CASES").unwrap_or(CASES);
    eprintln!("{cases} cases, seeds from {first}");
    let next = AtomicU64::new(first);
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get().min(4));
    let sums: Vec<Tally> = std::thread::scope(|scope| {
        let work = || {
            let mut tally = Tally::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + cases {
                    return tally;
                }
                if let Err(told) = check(seed, Features::ALL, &mut tally) {
                    next.store(first + cases, Ordering::Relaxed);
                    panic!("{}", smallest(seed, told));
                }
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|report| std::panic::resume_unwind(report)))
            .collect()
    });
    let sum = sums.into_iter().fold(Tally::default(), Tally::plus);
    eprintln!("{sum:?}");
    if cases >= 1_000 {
        // A property that nothing tests holds easily.
        assert!(
            sum.whole * 4 > sum.flows
                && sum.gaps > cases / 2
                && sum.datagrams > cases
                && sum.tunnels > cases / 2,
            "{sum:?}"
        );
    }
}

/// How much a run has tested.
#[derive(Debug, Default)]
struct Tally {
    cases: u64,
    flows: u64,
    whole: u64,
    frames: u64,
    bytes: u64,
    gaps: u64,
    datagrams: u64,
    tunnels: u64,
    duplicates: u64,
    out_of_order: u64,
    retransmitted_bytes: u64,
    conflicting_bytes: u64,
}

impl Tally {
    fn plus(self, other: Self) -> Self {
        Self {
            cases: self.cases + other.cases,
            flows: self.flows + other.flows,
            whole: self.whole + other.whole,
            frames: self.frames + other.frames,
            bytes: self.bytes + other.bytes,
            gaps: self.gaps + other.gaps,
            datagrams: self.datagrams + other.datagrams,
            tunnels: self.tunnels + other.tunnels,
            duplicates: self.duplicates + other.duplicates,
            out_of_order: self.out_of_order + other.out_of_order,
            retransmitted_bytes: self.retransmitted_bytes + other.retransmitted_bytes,
            conflicting_bytes: self.conflicting_bytes + other.conflicting_bytes,
        }
    }
}

/// What the table has told of a flow.
#[derive(Clone, Debug, Default)]
struct Told {
    id: u64,
    streams: [Stream; 2],
    reason: Option<CloseReason>,
    ends: [Option<SocketAddr>; 2],
}

#[derive(Clone, Debug, Default)]
struct Stream {
    bytes: Vec<Option<u8>>,
    gaps: Vec<Missing>,
    ended: bool,
}

#[derive(Default)]
struct Listener(Vec<Told>);

impl Handler for Listener {
    type State = Box<Told>;

    fn open(&mut self, flow: &Flow) -> Self::State {
        let ends = Peer::BOTH.map(|peer| flow.endpoint(peer)).map(|end| Some((end.address, end.port).into()));
        Box::new(Told { id: flow.id, ends, ..Told::default() })
    }

    fn data(&mut self, told: &mut Self::State, _: &Flow, data: Data<'_>) {
        let stream = &mut told.streams[data.from as usize];
        assert_eq!(data.offset, stream.bytes.len() as u64, "offsets follow one another");
        stream.bytes.extend(data.bytes.iter().copied().map(Some));
    }

    fn gap(&mut self, told: &mut Self::State, _: &Flow, gap: Gap) {
        let Stream { bytes, gaps, .. } = &mut told.streams[gap.from as usize];
        assert_eq!(gap.offset, bytes.len() as u64, "offsets follow one another");
        bytes.resize(bytes.len() + gap.len as usize, None);
        let acknowledged = gap.reason == GapReason::NotCaptured;
        match gaps.last_mut() {
            Some(last) if last.offset + last.len == gap.offset && last.acknowledged == acknowledged => {
                last.len += gap.len;
            }
            _ => gaps.push(Missing { offset: gap.offset, len: gap.len, acknowledged }),
        }
    }

    fn end(&mut self, told: &mut Self::State, _: &Flow, end: StreamEnd) {
        let stream = &mut told.streams[end.from as usize];
        assert_eq!(end.offset, stream.bytes.len() as u64, "the end is where the bytes end");
        assert!(!std::mem::replace(&mut stream.ended, true), "once");
    }

    fn close(&mut self, mut told: Self::State, _: &Flow, reason: CloseReason, _: Moment) {
        told.reason = Some(reason);
        self.0.push(*told);
    }
}

/// Runs a case; the difference, if there is one.
fn check(seed: u64, allowed: Features, tally: &mut Tally) -> Result<(), String> {
    match catch_unwind(AssertUnwindSafe(|| run(seed, allowed, tally))) {
        Ok(result) => result,
        Err(report) => Err(match report.downcast::<String>() {
            Ok(text) => *text,
            Err(_) => "a panic".to_owned(),
        }),
    }
}

fn run(seed: u64, allowed: Features, tally: &mut Tally) -> Result<(), String> {
    let case = Case::draw(seed, allowed);
    let mut table = FlowTable::new(Limits::default(), seed, Listener::default());
    // Cut into pieces of 24 bytes a segment has more fragments than are usual. The bound has tests of its own.
    let limits = FragmentLimits { fragments: 1 << 12, ..FragmentLimits::default() };
    let mut fragments = Fragments::new(limits, seed);
    for (position, frame) in case.frames.iter().enumerate() {
        let position = position as u64;
        let frame = frame_of(frame);
        analyse(&frame, position, &mut fragments, &mut |segment| {
            table.segment(segment);
        });
        if position % 16 == 15 {
            table.tick(Moment { time: table.clock(), position });
            fragments.tick(table.clock());
        }
    }
    table.finish(Moment { time: table.clock(), position: case.frames.len() as u64 });
    fragments.finish();
    let violations = (table.check(), fragments.check());
    if violations != (vec![], vec![]) {
        return Err(format!("{violations:?}"));
    }
    tally.cases += 1;
    tally.frames += case.frames.len() as u64;
    let counters = table.counters();
    tally.bytes += counters.delivered_bytes;
    tally.gaps += counters.gaps;
    tally.duplicates += counters.duplicates;
    tally.out_of_order += counters.out_of_order;
    tally.retransmitted_bytes += counters.retransmitted_bytes;
    tally.conflicting_bytes += counters.conflicting_bytes;
    tally.datagrams += fragments.counters().datagrams_completed;
    let told = std::mem::take(&mut table.handler().0);
    compare(&case, told, tally)
}

fn frame_of(frame: &conversation::Frame) -> Frame<'_> {
    Frame {
        data: &frame.bytes,
        timestamp: Timestamp(frame.time_ns),
        orig_len: frame.bytes.len() as u32,
        link_type: LinkType::ETHERNET,
        interface: frame.interface,
        packet_type: PacketType::Host,
    }
}

/// What was told against what is known.
fn compare(case: &Case, mut told: Vec<Told>, tally: &mut Tally) -> Result<(), String> {
    told.sort_by_key(|flow| flow.id);
    let mut by_client: BTreeMap<SocketAddr, Vec<Told>> = BTreeMap::new();
    for flow in told.into_iter().rev() {
        let of = |end: &SocketAddr| case.flows.iter().any(|known| known.ends[0] == *end);
        let client = flow.ends.iter().flatten().find(|end| of(end)).ok_or("a flow of nobody")?;
        by_client.entry(*client).or_default().push(flow);
    }
    for (number, flow) in case.flows.iter().enumerate() {
        let describe =
            || format!("flow {number}, {:?}, {:?}", flow.features.iter().collect::<Vec<_>>(), flow.carriage);
        if !flow.strain.within(PATIENCE) {
            return Err(format!("{}: the test is wrong: {:?}", describe(), flow.strain));
        }
        tally.flows += 1;
        tally.whole += u64::from(flow.whole);
        tally.tunnels += flow.carriage.wraps.len() as u64;
        if !flow.known.iter().any(|known| known.begun) {
            continue;
        }
        let Some(told) = by_client.get_mut(&flow.ends[0]).and_then(Vec::pop) else {
            return Err(format!("{}: not told of", describe()));
        };
        for side in [0, 1] {
            let (known, sent) = (&flow.known[side], &flow.sent[side]);
            let seen = told.ends.iter().position(|end| *end == Some(flow.ends[side])).ok_or("other ends")?;
            let stream = &told.streams[seen];
            if stream.bytes != known.bytes {
                let at = stream.bytes.iter().zip(&known.bytes).position(|(ours, theirs)| ours != theirs);
                return Err(format!(
                    "{}: side {side}: {} bytes with gaps {:?}, known are {} with gaps {:?}; first difference at {at:?}; {:?}",
                    describe(),
                    stream.bytes.len(),
                    stream.gaps,
                    known.bytes.len(),
                    known.missing(),
                    told.reason,
                ));
            }
            if stream.gaps != known.missing() {
                return Err(format!(
                    "{}: side {side}: gaps {:?}, known are {:?}",
                    describe(),
                    stream.gaps,
                    known.missing()
                ));
            }
            if flow.whole && known.captured() != *sent {
                return Err(format!(
                    "{}: side {side}: the test is wrong, not all is known: {} of {}",
                    describe(),
                    known.captured().len(),
                    sent.len()
                ));
            }
        }
    }
    match by_client.into_values().flatten().next() {
        Some(flow) => Err(format!(
            "one flow too many: {:?} {:?}, {:?} bytes",
            flow.ends,
            flow.reason,
            flow.streams.map(|stream| stream.bytes.len())
        )),
        None => Ok(()),
    }
}

/// Forbids features as long as the case still fails.
fn smallest(seed: u64, told: String) -> String {
    let (mut allowed, mut told) = (Features::ALL, told);
    loop {
        let fewer = Feature::ALL.into_iter().filter(|&feature| allowed.has(feature)).find_map(|feature| {
            let fewer = allowed.without(feature);
            check(seed, fewer, &mut Tally::default()).err().map(|told| (fewer, told))
        });
        let Some((fewer, less)) = fewer else {
            let features: Vec<_> = allowed.iter().collect();
            if let Some(path) = std::env::var_os("GANNET_PCAP") {
                std::fs::write(path, Case::draw(seed, allowed).pcap()).unwrap();
            }
            return format!("GANNET_SEED={seed} GANNET_CASES=1; it takes {features:?}:\n{told}");
        };
        (allowed, told) = (fewer, less);
    }
}
