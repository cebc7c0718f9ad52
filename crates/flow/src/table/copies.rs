//! Every packet captured twice, in the orders in which interfaces are read.

use super::*;
use crate::testing::{Built, Event, Run, client, server};

/// How a conversation ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Fins,
    Reset,
}

/// What tells its packets from one another.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Marks {
    Identification,
    None,
}

/// A conversation with long answers, a segment out of order and one sent again, 20 µs between packets.
fn conversation(ending: Ending, marks: Marks) -> Vec<Built> {
    let mut sent =
        vec![client(1_000).syn().scale(7), server(5_000).syn().ack(1_001).scale(7), client(1_001).ack(5_001)];
    let (mut asked, mut answered) = (1_001, 5_001);
    for _ in 0..4 {
        sent.push(client(asked).ack(answered).data([b'q'; 100]));
        asked += 100;
        for part in 0..30 {
            sent.push(server(answered).ack(asked).data([b'0' + part; 1_448]));
            answered += 1_448;
            if part % 2 == 1 {
                sent.push(client(asked).ack(answered).window(if part == 5 { 0 } else { 500 }));
            }
        }
    }
    // Behind the handshake and a request the answers begin at 4.
    sent.swap(28, 29);
    let again = sent[60].clone();
    sent.insert(75, again);
    match ending {
        Ending::Fins => sent.extend([
            client(asked).ack(answered).fin(),
            server(answered).ack(asked + 1).data("bye").fin(),
            client(asked + 1).ack(answered + 4),
        ]),
        Ending::Reset => sent.push(server(answered).ack(asked).rst()),
    }
    for (number, built) in sent.iter_mut().enumerate() {
        built.time = START_NS + 20_000 * number as u64;
        built.position = number as u64;
        built.ip_id = if marks == Marks::Identification { number as u16 + 1 } else { 0 };
    }
    sent
}

/// The same packets, seen by another interface `skew_ns` later or earlier.
fn copies(sent: &[Built], skew_ns: i64) -> Vec<Built> {
    let copy = |built: &Built| Built {
        time: built.time.strict_add_signed(skew_ns),
        position: built.position + 10_000,
        ..built.clone()
    };
    sent.iter().map(copy).collect()
}

/// Blocks of `len` packets of both in turn.
fn alternating(sent: &[Built], copies: &[Built], len: usize) -> Vec<Built> {
    let blocks = sent.chunks(len).zip(copies.chunks(len));
    blocks.flat_map(|(sent, copies)| [sent, copies].concat()).collect()
}

/// The events of a capture, and its sums.
fn told(capture: &[Built]) -> (Vec<Event>, Counters) {
    let mut run = Run::new(Limits::default());
    for built in capture {
        run.table.segment(&built.segment());
        assert_eq!(run.table.check(), []);
        assert!(run.table.counters().flows_opened <= 1, "{built:?}");
    }
    assert_eq!(run.table.open_flows(), 0);
    let events = run.finish();
    (events, *run.table.counters())
}

/// The sums of a capture in which each packet has a copy.
fn doubled(one: &Counters) -> Counters {
    let (segments, bytes) = (one.segments * 2, one.bytes * 2);
    Counters { segments, bytes, duplicates: one.segments, duplicate_bytes: one.bytes, ..*one }
}

#[test]
fn a_conversation_captured_twice_is_one() {
    for ending in [Ending::Fins, Ending::Reset] {
        let sent = conversation(ending, Marks::Identification);
        let (events, counters) = told(&sent);
        assert_eq!(counters.retransmitted_bytes, 1_448);
        assert_eq!((counters.out_of_order, counters.duplicates, counters.without_flow), (1, 0, 0));
        assert_eq!(events.iter().filter(|event| matches!(event, Event::Again(..))).count(), 1);
        for skew_ns in [-5_000, 0, 5_000] {
            let copies = copies(&sent, skew_ns);
            for block in [1, 10, 64, sent.len()] {
                let (events_of_both, sums) = told(&alternating(&sent, &copies, block));
                let case = format!("{ending:?}, skew {skew_ns} ns, blocks of {block}");
                assert_eq!(events_of_both, events, "{case}");
                assert_eq!(sums, doubled(&counters), "{case}");
            }
        }
    }
}

/// Neither an identification nor a time: that they come at once tells copies from what is sent again.
#[test]
fn copies_that_come_at_once_are_known_without_marks() {
    for ending in [Ending::Fins, Ending::Reset] {
        let sent = conversation(ending, Marks::None);
        let (events, counters) = told(&sent);
        assert_eq!((counters.retransmitted_bytes, counters.duplicates), (1_448, 0));
        // One by one, and, since the copy of the SYN has told that everything is there twice, up to four at a time.
        for (skew_ns, block) in [(0, 1), (5_000, 1), (15_000, 1), (5_000, 2), (500_000, 4)] {
            let (events_of_both, sums) = told(&alternating(&sent, &copies(&sent, skew_ns), block));
            let case = format!("{ending:?}, {skew_ns} ns, blocks of {block}");
            assert_eq!(events_of_both, events, "{case}");
            assert_eq!((sums.retransmitted_bytes, sums.out_of_order), (1_448, 1), "{case}");
            assert_eq!(sums.duplicate_bytes, counters.bytes, "{case}");
        }
    }
}

/// Quick retransmission between near hosts takes less time than a copy may.
#[test]
fn what_is_sent_again_quickly_is_no_copy() {
    for behind in 1..6 {
        let mut sent = conversation(Ending::Fins, Marks::None);
        // A segment that is followed by others of its direction, the last of them just before.
        let later = sent.iter().enumerate().skip(41).filter(|(_, built)| built.side == sent[40].side);
        let last = later.map(|(at, _)| at).nth(behind - 1).unwrap();
        let again = Built { time: sent[last].time + 1_000, position: 5_000, ..sent[40].clone() };
        sent.insert(last + 1, again);
        let (_, counters) = told(&sent);
        assert_eq!((counters.retransmitted_bytes, counters.duplicates), (2 * 1_448, 0), "{behind}");
    }
}

#[test]
fn copies_without_marks_open_nothing() {
    for ending in [Ending::Fins, Ending::Reset] {
        let sent = conversation(ending, Marks::None);
        let (events, counters) = told(&sent);
        for skew_ns in [-5_000, 0, 5_000] {
            let both = [sent.clone(), copies(&sent, skew_ns)].concat();
            let (events_of_both, sums) = told(&both);
            assert_eq!(events_of_both, events);
            // Of each direction the newest segment may be one sent again, as far as can be told.
            assert!(sums.duplicates >= counters.segments - 3, "{} of {}", sums.duplicates, counters.segments);
            assert_eq!((sums.out_of_window, sums.without_flow), (0, 0));
        }
    }
}

#[test]
fn copies_of_a_flow_whose_ports_are_taken_already_are_not_its_successors() {
    let old = conversation(Ending::Fins, Marks::Identification);
    let new_starts_ns = 20_000 * (old.len() as u64 + 5);
    let mut new = conversation(Ending::Fins, Marks::Identification);
    for built in &mut new {
        built.sequence = built.sequence.wrapping_add(0x4000_0000);
        built.ack = built.ack.map(|ack| ack.wrapping_add(0x4000_0000));
        built.time += new_starts_ns;
        built.position += 1_000;
        built.ip_id += 1_000;
    }
    let tell = |capture: Vec<Built>| {
        let mut run = Run::new(Limits::default());
        for built in &capture {
            run.table.segment(&built.segment());
            assert_eq!(run.table.check(), []);
        }
        (run.finish(), *run.table.counters())
    };
    let sent = [old, new].concat();
    let (events, counters) = tell(sent.clone());
    assert_eq!(counters.flows_finished, 2);
    let again = copies(&sent, 3_000);
    let (events_of_both, sums) = tell([sent.clone(), again].concat());
    assert_eq!(events_of_both, events);
    assert_eq!((sums.flows_opened, sums.delivered_bytes), (2, counters.delivered_bytes));
}

#[test]
fn a_segment_sent_again_later_is_no_copy() {
    let mut sent = conversation(Ending::Fins, Marks::Identification);
    let last = sent.split_off(sent.len() - 3);
    let mut again = sent[20].clone();
    // Its time is the newest of its direction: sent again, though packets of the other direction are newer.
    let newest = |side| sent.iter().filter(|built| built.side == side).map(|built| built.time).max().unwrap();
    let other = newest(again.side.opposite());
    again.time = newest(again.side) + 1_000;
    again.position = 5_000;
    again.ip_id = 5_000;
    assert!(again.time < other);
    let capture = [sent, vec![again], last].concat();
    let (events, counters) = told(&capture);
    assert_eq!(counters.retransmitted_bytes, 2 * 1_448);
    assert_eq!(counters.duplicates, 0);
    assert!(
        events.iter().any(|event| matches!(event, Event::Again(_, again) if again.now.position == 5_000))
    );
}

/// Far from 0, so that skews do not go below.
const START_NS: u64 = 1_700_000_000_000_000_000;

/// Without the search for copies they are what they look like: sent twice.
#[test]
fn copies_count_as_retransmissions_if_asked_for() {
    let limits = Limits { deduplicate: false, ..Limits::default() };
    for (ending, skew_ns) in [(Ending::Fins, 0), (Ending::Reset, 3_000)] {
        let sent = conversation(ending, Marks::Identification);
        let mut both: Vec<_> = sent.iter().cloned().chain(copies(&sent, skew_ns)).collect();
        both.sort_by_key(|built| built.time);
        let [searched, plain] = [Limits::default(), limits].map(|limits| {
            let mut run = Run::new(limits);
            for built in &both {
                run.table.segment(&built.segment());
            }
            run.finish();
            (
                run.table.counters().duplicates,
                run.table.counters().retransmitted_bytes,
                run.table.counters().delivered_bytes,
            )
        });
        assert!(searched.0 > 100 && plain.0 == 0, "{searched:?} {plain:?}");
        assert!(plain.1 > searched.1 + 100_000 && plain.2 == searched.2, "{searched:?} {plain:?}");
    }
}
