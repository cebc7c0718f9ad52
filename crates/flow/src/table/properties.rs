//! Reassembly against a map of bytes, for random traffic.

use std::collections::BTreeMap;
use std::time::Duration;

use gannet_packet::Side;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::testing::{Built, Event, Run, client, server};

/// How one direction is cut up and what happens to it on the way.
#[derive(Clone, Debug)]
struct Plan {
    /// Lengths of the segments; their sum is the length of the stream.
    lengths: Vec<usize>,
    /// Segments sent once more, perhaps over several borders, perhaps with other bytes.
    again: Vec<(Index, usize, usize, bool)>,
    /// Segments that the capture misses.
    lost: Vec<Index>,
    /// Segments captured later than they were sent, and by how many places.
    delayed: Vec<(Index, usize)>,
    isn: u32,
}

fn plan() -> impl Strategy<Value = Plan> {
    let isn = prop_oneof![any::<u32>(), (0..3_000_u32).prop_map(|below| u32::MAX - below)];
    (
        vec(1..400_usize, 1..24),
        vec((any::<Index>(), 0..60_usize, 1..700_usize, any::<bool>()), 0..6),
        vec(any::<Index>(), 0..3),
        vec((any::<Index>(), 1..9_usize), 0..8),
        isn,
    )
        .prop_map(|(lengths, again, lost, delayed, isn)| Plan { lengths, again, lost, delayed, isn })
}

/// The byte at an offset, for each side its own.
fn byte(side: Side, offset: usize) -> u8 {
    (offset as u32).wrapping_mul(0x9e37_79b9).to_be_bytes()[0] ^ (side == Side::High) as u8
}

impl Plan {
    fn len(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// The data segments in the order of the capture; the last one has the FIN if `fin`.
    fn segments(&self, side: Side, peer_next: u32, fin: bool) -> Vec<Built> {
        let build = |offset: usize, len: usize, other: bool| {
            let bytes: Vec<u8> = (offset..offset + len).map(|at| byte(side, at) ^ u8::from(other)).collect();
            let sequence = self.isn.wrapping_add(1).wrapping_add(offset as u32);
            Built { side, ..client(sequence) }.ack(peer_next).data(bytes)
        };
        let mut sent = Vec::new();
        let mut offset = 0;
        for &len in &self.lengths {
            sent.push(Some(build(offset, len, false)));
            offset += len;
        }
        if fin && let Some(Some(last)) = sent.last_mut() {
            *last = last.clone().fin();
        }
        for lost in &self.lost {
            *lost.get_mut(&mut sent) = None;
        }
        let mut order: Vec<Built> = sent.into_iter().flatten().collect();
        for (index, places) in &self.delayed {
            if !order.is_empty() {
                let from = index.index(order.len());
                let late = order.remove(from);
                order.insert((from + places).min(order.len()), late);
            }
        }
        for &(index, start, len, other) in &self.again {
            let start = (index.index(self.len()) + start).min(self.len() - 1);
            let len = len.min(self.len() - start);
            let at = index.index(order.len() + 1);
            order.insert(at, build(start, len, other));
        }
        order
    }
}

/// The first copy of each byte of a stream.
#[derive(Default)]
struct Oracle {
    bytes: BTreeMap<u64, u8>,
    fin: Option<u64>,
    given: u64,
}

impl Oracle {
    fn see(&mut self, built: &Built, isn: u32) {
        let offset = u64::from(built.sequence.wrapping_sub(isn.wrapping_add(1)));
        for (at, &byte) in built.payload.iter().enumerate() {
            self.bytes.entry(offset + at as u64).or_insert(byte);
        }
        self.given += built.payload.len() as u64;
        if built.flags & TcpFlags::FIN.0 != 0 {
            self.fin = Some(offset + built.payload.len() as u64);
        }
    }

    /// The stream up to its end, `None` for what was never seen.
    fn stream(&self) -> Vec<Option<u8>> {
        let highest = self.bytes.last_key_value().map_or(0, |(&last, _)| last + 1);
        (0..highest.max(self.fin.unwrap_or(0))).map(|at| self.bytes.get(&at).copied()).collect()
    }
}

/// The stream that the handler saw.
fn delivered(events: &[Event], sender: Peer) -> Vec<Option<u8>> {
    let mut stream = Vec::new();
    for event in events {
        match event {
            Event::Data { from, bytes, .. } if *from == sender => {
                stream.extend(bytes.iter().copied().map(Some));
            }
            Event::Gap(_, gap) if gap.from == sender => stream.extend((0..gap.len).map(|_| None)),
            _ => {}
        }
    }
    stream
}

/// Merges both directions by a sequence of choices.
fn interleave(mut a: Vec<Built>, mut b: Vec<Built>, choices: &[bool]) -> Vec<Built> {
    a.reverse();
    b.reverse();
    let mut merged = Vec::new();
    let mut choices = choices.iter().cycle();
    while !a.is_empty() || !b.is_empty() {
        let from =
            if *choices.next().unwrap_or(&true) && !a.is_empty() || b.is_empty() { &mut a } else { &mut b };
        merged.extend(from.pop());
    }
    merged
}

/// Everything that was to happen to one flow.
fn conversation((to_server, to_client): (&Plan, &Plan), choices: &[bool], fins: (bool, bool)) -> Vec<Built> {
    let forth = to_server.segments(Side::Low, to_client.isn.wrapping_add(1), fins.0);
    let back = to_client.segments(Side::High, to_server.isn.wrapping_add(1), fins.1);
    interleave(forth, back, choices)
}

/// `PROPTEST_CASES`, or the usual number.
fn cases(default: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(default)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(10_000)))]

    /// While nothing is acknowledged every byte that ever comes is delivered, the first copy of it, and the gaps are
    /// just the bytes that never came.
    #[test]
    fn without_acknowledgements_gaps_are_what_never_came(
        to_server in plan(), to_client in plan(), choices in vec(any::<bool>(), 1..40), fins: (bool, bool),
    ) {
        let mut run = Run::new(Limits::default());
        run.handshake(to_server.isn, to_client.isn);
        let mut oracles = [Oracle::default(), Oracle::default()];
        for (number, built) in conversation((&to_server, &to_client), &choices, fins).into_iter().enumerate() {
            let (oracle, isn) = match built.side {
                Side::Low => (&mut oracles[0], to_server.isn),
                Side::High => (&mut oracles[1], to_client.isn),
            };
            // A flow that has ended takes nothing new: stop where the sender would have.
            oracle.see(&built, isn);
            // What comes twice within a millisecond was captured twice.
            run.give(built.at(2 * number as u64));
            if run.table.open_flows() == 0 {
                break;
            }
        }
        let events = run.finish();
        for (oracle, from) in oracles.iter().zip([Peer::Originator, Peer::Responder]) {
            prop_assert_eq!(delivered(&events, from), oracle.stream());
        }
        let counters = *run.table.counters();
        let distinct = oracles.iter().map(|oracle| oracle.bytes.len() as u64).sum::<u64>();
        let given = oracles.iter().map(|oracle| oracle.given).sum::<u64>();
        prop_assert_eq!(counters.delivered_bytes, distinct);
        prop_assert_eq!(counters.retransmitted_bytes, given - distinct);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(1_000)))]

    /// With acknowledgements, little patience and little room: what is delivered is the first copy, nothing is
    /// delivered twice (offsets follow one another, which the handler checks), and a byte is only missing if it had not
    /// come when its gap was told.
    #[test]
    fn with_acknowledgements_gaps_are_what_had_not_come(
        to_server in plan(), to_client in plan(), choices in vec(any::<bool>(), 1..40), fins: (bool, bool),
        acks in vec((any::<Index>(), any::<Index>()), 0..12), room in 500..20_000_usize, pool in 500..40_000_usize,
        step in 0..60_u64, scarce: bool,
    ) {
        let limits = Limits { held_bytes_per_stream: room, held_bytes: if scarce { pool } else { 1 << 20 }, ..Limits::default() };
        let mut run = Run::new(limits);
        run.handshake(to_server.isn, to_client.isn);
        let mut segments = conversation((&to_server, &to_client), &choices, fins);
        for (at, upto) in acks {
            let upto = to_server.isn.wrapping_add(1 + upto.index(to_server.len() + 1) as u32);
            segments.insert(at.index(segments.len() + 1), server(to_client.isn.wrapping_add(1)).ack(upto));
        }
        let mut oracles = [Oracle::default(), Oracle::default()];
        let mut streams = [Vec::new(), Vec::new()];
        for (number, built) in segments.into_iter().enumerate() {
            let (oracle, isn) = match built.side {
                Side::Low => (&mut oracles[0], to_server.isn),
                Side::High => (&mut oracles[1], to_client.isn),
            };
            oracle.see(&built, isn);
            let time = step * number as u64;
            run.give(built.at(time));
            if number % 5 == 4 {
                run.tick(time);
            }
            let refused = run.table.counters().refused_bytes;
            let events = run.events();
            for ((stream, oracle), from) in streams.iter_mut().zip(&oracles).zip([Peer::Originator, Peer::Responder]) {
                let known = oracle.stream();
                for seen in delivered(&events, from) {
                    let truth = known.get(stream.len()).copied().flatten();
                    // What the pool refused is as good as never seen.
                    prop_assert!(seen == truth || refused != 0, "{:?} {:?} at {}", seen, truth, stream.len());
                    stream.push(seen);
                }
            }
            if run.table.open_flows() == 0 {
                break;
            }
        }
        run.finish();
    }

    /// Several flows in one table, or each in one of two or four: the same events, if ticks come at the same places.
    #[test]
    fn tables_of_any_number_decide_alike(
        plans in vec((plan(), plan(), vec(any::<bool>(), 1..20), any::<(bool, bool)>()), 1..6),
        order in vec(any::<Index>(), 60), times in vec(0..3_000_u64, 1..40),
        every in 1..30_u64, acks: bool, disorder in 0..2_000_u64,
    ) {
        let mut flows: Vec<Vec<Built>> = Vec::new();
        for (flow, (to_server, to_client, choices, fins)) in plans.iter().enumerate() {
            let mut segments = conversation((to_server, to_client), choices, *fins);
            if acks {
                for built in &mut segments {
                    let peer = if built.side == Side::Low { to_client } else { to_server };
                    built.ack = built.ack.map(|ack| ack.wrapping_add(peer.len() as u32 / 2));
                }
            }
            if flow % 2 == 0 {
                segments.insert(0, client(to_server.isn).syn());
            }
            segments.iter_mut().for_each(|built| built.flow = flow as u16);
            segments.reverse();
            flows.push(segments);
        }
        let mut merged: Vec<Built> = Vec::new();
        let mut clock = 10_000;
        for (index, time) in order.iter().cycle().zip(times.iter().cycle()) {
            flows.retain(|flow| !flow.is_empty());
            if flows.is_empty() {
                break;
            }
            let flow = index.index(flows.len());
            clock += time;
            // Time stamps of a capture are not always in order.
            let shown = clock - if merged.len() % 7 == 3 { disorder } else { 0 };
            let mut built = flows[flow].pop().unwrap();
            built.position = merged.len() as u64;
            merged.push(built.at(shown));
        }
        let limits = Limits { idle: Duration::from_secs(12), half_open: Duration::from_secs(4), ..Limits::default() };
        let run = |tables: u16| {
            let mut events = Vec::new();
            let mut sum = Counters::default();
            for table in 0..tables {
                let mut run = Run::new(limits);
                for built in &merged {
                    if built.flow % tables == table {
                        run.table.segment(&built.segment());
                        assert_eq!(run.table.check(), []);
                    }
                    if built.position % every == 0 {
                        run.position = built.position;
                        run.tick(built.time / 1_000_000);
                    }
                }
                run.table.finish(Moment { time: Timestamp(clock * 1_000_000), position: merged.len() as u64 });
                events.extend(run.events());
                sum += *run.table.counters();
            }
            events.sort_by_key(|event| match event {
                Event::Open(flow) | Event::Data { flow, .. } | Event::Gap(flow, _) | Event::Again(flow, _)
                | Event::End(flow, _) | Event::Close(flow, ..) => *flow,
            });
            (events, sum)
        };
        let one = run(1);
        prop_assert_eq!(&run(2), &one);
        prop_assert_eq!(&run(4), &one);
    }
}
