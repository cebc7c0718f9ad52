//! Each rule of the table by an example.

use super::*;
use crate::testing::{Built, Event, Run, client, server, text};
use crate::{Gap, GapReason, Had, Handshake, StreamEnd};
use Outcome::{Accepted, Duplicate, OutOfWindow, WithoutFlow};
use Peer::{Originator, Responder};

fn run() -> Run {
    Run::new(Limits::default())
}

/// A flow after its handshake: client data starts at 1001, server data at 5001.
fn connected() -> Run {
    let mut run = run();
    run.handshake(1_000, 5_000);
    run
}

fn closes(events: &[Event]) -> Vec<(u64, CloseReason)> {
    let close = |event: &Event| match event {
        Event::Close(flow, reason, _) => Some((*flow, *reason)),
        _ => None,
    };
    events.iter().filter_map(close).collect()
}

fn gaps(events: &[Event]) -> Vec<(u64, u64, GapReason)> {
    let gap = |event: &Event| match event {
        Event::Gap(_, Gap { offset, len, reason, .. }) => Some((*offset, *len, *reason)),
        _ => None,
    };
    events.iter().filter_map(gap).collect()
}

#[test]
fn a_conversation() {
    let mut run = run();
    assert_eq!(run.give(client(1_000).syn().at(1)), Accepted);
    assert_eq!(run.give(server(5_000).syn().ack(1_001).at(2)), Accepted);
    assert_eq!(run.give(client(1_001).ack(5_001).at(3)), Accepted);
    assert_eq!(run.give(client(1_001).ack(5_001).data("GET").at(4)), Accepted);
    assert_eq!(run.give(server(5_001).ack(1_004).data("200").fin().at(5)), Accepted);
    assert_eq!(run.give(client(1_004).ack(5_005).fin().at(6)), Accepted);
    assert_eq!(run.table.open_flows(), 0);
    assert_eq!(run.give(server(5_005).ack(1_005).at(7)), Accepted, "the last ACK is not a new flow's");
    let data = |from, bytes: &str, position, acknowledged| Event::Data {
        flow: 1,
        from,
        offset: 0,
        bytes: bytes.into(),
        seen: position,
        now: position,
        acknowledged: Some(acknowledged),
        late: false,
    };
    let moment = |ms: u64| Moment { time: Timestamp(ms * 1_000_000), position: ms };
    let end = |from, at| {
        let (seen, now) = (moment(at), moment(at));
        Event::End(1, StreamEnd { from, offset: 3, seen, now })
    };
    assert_eq!(
        run.events(),
        [
            Event::Open(1),
            data(Originator, "GET", 4, 0),
            data(Responder, "200", 5, 3),
            end(Responder, 5),
            end(Originator, 6),
            Event::Close(1, CloseReason::Finished, moment(6)),
        ]
    );
    let flow = &run.table.handler().flows[0];
    let ms = |ms: u64| Some(Timestamp(ms * 1_000_000));
    let handshake = Handshake::new(ms(1), ms(2), ms(3));
    assert_eq!(flow.handshake(), handshake);
    assert!(!flow.midstream);
    assert_eq!((flow.stream(Originator).packets, flow.stream(Originator).bytes), (4, 3));
    assert_eq!((flow.stream(Responder).packets, flow.stream(Responder).bytes), (2, 3));
    assert_eq!(flow.last_seen, Timestamp(6_000_000));
}

#[test]
fn early_segments_wait_and_keep_their_time() {
    let mut run = connected();
    run.give(client(1_004).ack(5_001).data("def"));
    run.give(client(1_010).ack(5_001).data("jk"));
    assert_eq!(run.events(), []);
    assert_eq!(run.table.counters().held_bytes, 5);
    run.give(client(1_007).ack(5_001).data("ghi"));
    run.give(client(1_001).ack(5_001).data("abc"));
    let events = run.events();
    assert_eq!(text(&events, Originator), "abcdefghijk");
    let facts: Vec<_> = events
        .iter()
        .map(|event| match event {
            Event::Data { offset, seen, now, late, .. } => (*offset, *seen, *now, *late),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(facts, [(0, 7, 7, true), (3, 4, 7, false), (6, 6, 7, true), (9, 5, 7, false)]);
    assert_eq!((run.table.counters().out_of_order, run.table.counters().held_bytes), (2, 0));
    assert!(run.table.slab.get(0).flow.streams.iter().all(|stream| stream.hold.is_none()));
}

#[test]
fn a_reset_ends_the_flow() {
    let mut run = connected();
    run.give(client(1_001).ack(5_001).data("abc"));
    assert_eq!(run.give(server(5_001).rst()), Accepted);
    assert_eq!(closes(&run.events()), [(1, CloseReason::Reset { by: Responder })]);
    assert_eq!(run.give(client(1_004).ack(5_001).data("late")), OutOfWindow);
    assert_eq!(run.give(client(1_001).ack(5_001).data("abc")), Accepted);
    assert_eq!(run.table.counters().retransmitted_bytes, 3);
}

#[test]
fn blind_resets_are_ignored() {
    let mut run = connected();
    assert_eq!(run.give(server(5_001 + 10_000_000).rst()), OutOfWindow);
    assert_eq!(run.give(server(0x8000_0000).rst()), OutOfWindow);
    assert_eq!(run.table.open_flows(), 1);
}

#[test]
fn flows_expire_by_frame_time() {
    let mut run = connected();
    run.give(client(9).flow(1).syn().at(1_000));
    run.tick(59_000);
    assert_eq!(run.events(), [Event::Open(4)]);
    run.tick(61_500);
    assert_eq!(closes(&run.events()), [(4, CloseReason::Idle)]);
    run.tick(599_000);
    assert_eq!(run.table.open_flows(), 1);
    run.tick(601_000);
    assert_eq!(closes(&run.events()), [(1, CloseReason::Idle)]);
    assert_eq!((run.table.open_flows(), run.table.index.len()), (0, 0));
}

#[test]
fn nothing_opens_a_flow_but_a_syn_and_payload() {
    let mut run = run();
    for built in [client(1).ack(1), client(1).ack(1).fin(), client(1).rst(), client(1).rst().data("why")] {
        assert_eq!(run.give(built), WithoutFlow);
    }
    assert_eq!(run.finish(), []);
    assert_eq!(run.table.counters().discarded_bytes, 3);
    for (flow, built) in [(1, client(1).syn()), (2, server(1).syn().ack(9)), (3, client(1).ack(1).data("x"))]
    {
        assert_eq!(run.give(built.flow(flow)), Accepted);
    }
    assert_eq!(run.table.open_flows(), 3);
    assert_eq!(run.table.counters().flows_midstream, 1);
}

#[test]
fn the_same_packet_twice_is_a_duplicate() {
    let mut run = connected();
    assert_eq!(run.give(client(1_001).ack(5_001).data("abc").id(7)), Accepted);
    assert_eq!(run.give(client(1_001).ack(5_001).data("abc").id(7).at(1)), Duplicate);
    assert_eq!(run.give(client(1_001).ack(5_001).data("abc").id(8).at(1)), Accepted);
    assert_eq!(run.table.counters().duplicate_bytes, 3);
    assert_eq!(run.table.counters().retransmitted_bytes, 3);
}

#[test]
fn an_acknowledged_hole_waits_for_its_patience() {
    let mut run = connected();
    run.give(client(1_011).ack(5_001).data("behind").at(10));
    run.give(server(5_001).ack(1_017).at(20));
    run.tick(119);
    assert_eq!(run.events(), []);
    run.tick(120);
    let events = run.events();
    assert_eq!(gaps(&events), [(0, 10, GapReason::NotCaptured)]);
    assert_eq!(text(&events, Originator), "..........behind");
    // The bytes come after all: too late.
    run.give(client(1_001).ack(5_001).data("0123456789").at(130));
    assert!(matches!(&run.events()[..], [Event::Again(1, again)] if (again.offset, again.len) == (0, 10)));
}

#[test]
fn what_is_acknowledged_unseen_is_told() {
    let mut run = connected();
    run.give(client(1_001).ack(5_001).data("0123456789"));
    run.give(server(5_001).ack(1_011));
    assert_eq!(run.table.handler().unseen, [], "all of it was seen");
    run.give(server(5_004).ack(1_021));
    let had = |received, sent| (Responder, Had { received, sent });
    assert_eq!(run.table.handler().unseen, [had(20, 3)]);
    // The same again, less, to keep the connection alive, and with bytes of its own.
    for segment in [server(5_004).ack(1_021), server(5_004).ack(1_015), server(5_000).ack(1_031)] {
        run.give(segment);
    }
    run.give(server(5_004).ack(1_041).data("abc"));
    assert_eq!(run.table.handler().unseen, [had(20, 3)]);
    run.give(client(1_001).ack(5_007));
    assert_eq!(run.table.handler().unseen.len(), 1, "an old number of a client that has sent more");
    run.give(client(1_051).ack(5_010));
    assert_eq!(run.table.handler().unseen[1..], [(Originator, Had { received: 9, sent: 50 })]);
}

#[test]
fn much_data_behind_an_acknowledged_hole_ends_the_waiting() {
    for (pieces, len) in [(32, 1), (8, 8 << 10)] {
        let mut run = connected();
        run.give(server(5_001).ack(1_002));
        let piece = vec![b'x'; len];
        for number in 0..=pieces {
            assert_eq!(run.events(), [], "piece {number}");
            run.give(client(1_002 + (number * len) as u32).ack(5_001).data(&piece));
        }
        let events = run.events();
        assert_eq!(gaps(&events), [(0, 1, GapReason::NotCaptured)]);
        assert_eq!(text(&events, Originator).len(), 1 + (pieces + 1) * len);
    }
}

#[test]
fn an_ack_before_its_data_is_no_gap() {
    let mut run = connected();
    run.give(server(5_001).ack(1_004).data("answer").at(1));
    run.give(client(1_001).ack(5_001).data("ask").at(2));
    run.tick(1_000);
    let events = run.events();
    assert_eq!((text(&events, Originator), text(&events, Responder)), ("ask".into(), "answer".into()));
    assert!(matches!(&events[1], Event::Data { late: false, acknowledged: Some(0), .. }));
    assert!(matches!(&events[0], Event::Data { acknowledged: Some(3), .. }));
}

#[test]
fn holes_that_nobody_acknowledged_wait_for_their_retransmission() {
    let mut run = connected();
    run.give(client(1_002).ack(5_001).data("bc").at(1));
    run.give(server(5_001).ack(1_001).at(2));
    run.tick(50_000);
    assert_eq!(run.events(), []);
    run.give(client(1_001).ack(5_001).data("abc").at(50_001));
    assert_eq!(text(&run.events(), Originator), "abc");
    assert_eq!(run.table.counters().retransmitted_bytes, 2);
    run.give(client(1_005).ack(5_001).data("e"));
    let events = run.finish();
    assert_eq!(gaps(&events), [(3, 1, GapReason::Lost)]);
    assert_eq!(text(&events, Originator), ".e");
}

#[test]
fn a_hole_half_acknowledged_is_two_gaps_at_the_end() {
    let mut run = connected();
    run.give(client(1_011).ack(5_001).data("z"));
    run.give(server(5_001).ack(1_005));
    let gaps = gaps(&run.finish());
    assert_eq!(gaps, [(0, 4, GapReason::NotCaptured), (4, 6, GapReason::Lost)]);
}

#[test]
fn what_was_acknowledged_and_never_seen_is_a_gap_at_the_end() {
    let mut run = connected();
    run.give(client(1_001).ack(5_001).data("ab"));
    run.give(server(5_001).ack(1_011));
    assert_eq!(gaps(&run.finish()), [(2, 8, GapReason::NotCaptured)]);
    // One more than was seen: its FIN, probably.
    let mut run = connected();
    run.give(client(1_001).ack(5_001).data("ab"));
    run.give(server(5_001).ack(1_004));
    assert_eq!(gaps(&run.finish()), []);
}

#[test]
fn the_first_copy_wins() {
    let mut run = connected();
    run.give(client(1_004).ack(5_001).data("DEF"));
    run.give(client(1_001).ack(5_001).data("abcdefghi"));
    let events = run.events();
    assert_eq!(text(&events, Originator), "abcDEFghi");
    assert_eq!(run.table.counters().conflicting_bytes, 3);
    assert_eq!(run.table.counters().retransmitted_bytes, 3);
    // Trimmed at the front; the part that was delivered is told.
    run.give(client(1_008).ack(5_001).data("HIjk"));
    let events = run.events();
    assert!(matches!(&events[0], Event::Again(1, again) if (again.offset, again.len) == (7, 2)));
    assert!(matches!(&events[1], Event::Data { offset: 9, bytes, .. } if bytes == b"jk"));
}

#[test]
fn cut_segments_leave_gaps_of_their_own() {
    let mut run = connected();
    run.give(client(1_001).ack(5_001).data("ab").cut_from(10));
    run.give(client(1_021).ack(5_001).data("uv").cut_from(5));
    run.give(client(1_011).ack(5_001).data("klmnopqrst"));
    run.give(client(1_026).ack(5_001).cut_from(4));
    let events = run.events();
    assert_eq!(text(&events, Originator), "ab........klmnopqrstuv.......");
    assert_eq!(gaps(&events), [(2, 8, GapReason::Cut), (22, 3, GapReason::Cut), (25, 4, GapReason::Cut)]);
    assert_eq!((run.table.counters().cut_bytes, run.table.counters().gap_bytes), (15, 0));
    assert_eq!(run.finish().len(), 1, "only the end of the flow");
}

#[test]
fn too_much_behind_a_hole_makes_it_a_gap() {
    let limits = Limits { held_bytes_per_stream: 2_000, ..Limits::default() };
    let mut run = Run::new(limits);
    run.handshake(1_000, 5_000);
    run.give(client(1_002).ack(5_001).data([b'x'; 1_000]));
    run.give(client(2_003).ack(5_001).data([b'y'; 1_000]));
    let events = run.events();
    assert_eq!(gaps(&events), [(0, 1, GapReason::Lost)]);
    assert_eq!(run.table.counters().held_bytes, 1_000);
    // One that is larger than all that may be held goes through.
    run.give(client(3_100).ack(5_001).data([b'z'; 3_000]));
    let events = run.events();
    assert_eq!(gaps(&events), [(1_001, 1, GapReason::Lost), (2_002, 97, GapReason::Lost)]);
    assert_eq!(run.table.counters().held_bytes, 0);
}

#[test]
fn a_full_pool_refuses_and_the_refused_bytes_may_come_again() {
    let limits = Limits { held_bytes: 550, held_bytes_per_stream: 4_000, ..Limits::default() };
    let mut run = Run::new(limits);
    run.handshake(1_000, 5_000);
    run.give(client(1_002).ack(5_001).data([b'b'; 300]));
    assert_eq!(run.table.counters().held_bytes, 0, "a buffer of 512 bytes and its place cost more");
    assert_eq!(run.table.counters().refused_bytes, 300);
    run.give(client(1_001).ack(5_001).data("a"));
    run.give(client(1_002).ack(5_001).data([b'b'; 300]));
    let events = run.events();
    assert_eq!(text(&events, Originator).len(), 301);
    assert!(events.iter().all(|event| matches!(event, Event::Data { late: true, .. })));
    // What is acknowledged does not wait for room.
    run.give(server(5_001).ack(1_402));
    run.give(client(1_402).ack(5_001).data([b'c'; 300]));
    assert_eq!(gaps(&run.events()), [(301, 100, GapReason::NotCaptured)]);
}

/// Of blocks of rings, fragments and other workers' mail: what arrives behind its turn is told by its time from what
/// was sent behind its turn.
#[test]
fn what_arrives_behind_its_turn_is_late_only_if_it_was_sent_so() {
    // Milliseconds at which three segments passed, in the order in which they arrive: the last, the middle, the first.
    for (times, late) in [
        ([30, 20, 10], [false, false, false]),
        // The first was lost, and sent again after the middle one, which came in its turn.
        ([30, 20, 40], [true, false, false]),
        // Both were: the middle one's time is behind the last one's, and so is the first one's.
        ([30, 50, 40], [true, true, false]),
        // Nobody knows.
        ([30, 30, 10], [true, true, false]),
    ] {
        let mut run = connected();
        for (at, ms) in [2, 1, 0].into_iter().zip(times) {
            run.give(client(1_001 + 3 * at).ack(5_001).data("abc").at(100 + ms));
        }
        let found: Vec<_> = run
            .events()
            .iter()
            .map(|event| {
                let Event::Data { late, .. } = event else { panic!("{event:?}") };
                *late
            })
            .collect();
        assert_eq!(found, late, "{times:?}");
        let expected = late.iter().filter(|late| **late).count() as u64;
        assert_eq!(run.table.counters().out_of_order, expected);
    }
    // In front of a FIN, too.
    for (ms, late) in [(10, false), (90, true)] {
        let mut run = connected();
        run.give(client(1_004).ack(5_001).fin().at(150));
        run.give(client(1_001).ack(5_001).data("abc").at(100 + ms));
        let events = run.events();
        assert!(matches!(events[0], Event::Data { late: found, .. } if found == late), "{events:?}");
    }
}

#[test]
fn a_fin_waits_for_missing_data() {
    let mut run = connected();
    run.give(client(1_004).ack(5_001).data("def").fin());
    run.give(client(1_007).ack(5_001).data("behind the end"));
    assert_eq!(run.table.counters().out_of_window_bytes, 14);
    assert_eq!(run.events(), []);
    run.give(client(1_001).ack(5_001).data("abc"));
    let events = run.events();
    assert_eq!(text(&events, Originator), "abcdef");
    let Some(Event::End(1, end)) = events.last() else { panic!("{events:?}") };
    assert_eq!((end.offset, end.seen.position, end.now.position), (6, 4, 6));
}

/// What lay within the segment that reached the end was once counted twice.
#[test]
fn a_segment_over_held_pieces_reaches_the_end() {
    let mut run = connected();
    run.give(client(1_004).ack(5_001).data("def").fin());
    run.give(client(1_001).ack(5_001).data("abcdef"));
    assert_eq!(text(&run.events(), Originator), "abcdef");
    assert_eq!((run.table.counters().retransmitted_bytes, run.table.counters().discarded_bytes), (3, 0));
}

#[test]
fn a_fin_behind_an_acknowledged_hole_resolves_it() {
    let mut run = connected();
    run.give(client(1_011).ack(5_001).fin().at(1));
    run.give(server(5_001).ack(1_012).data("bye").fin().at(2));
    run.tick(101);
    assert_eq!(run.table.open_flows(), 1);
    run.tick(103);
    let events = run.events();
    assert_eq!(gaps(&events), [(0, 10, GapReason::NotCaptured)]);
    assert_eq!(closes(&events), [(1, CloseReason::Finished)]);
    assert!(matches!(&events[0], Event::Data { acknowledged: Some(10), .. }), "a FIN is no byte");
}

#[test]
fn midstream_flows_start_with_what_is_seen() {
    let mut run = run();
    run.give(server(700).ack(300).data("more"));
    // Captured late: before what the server had acknowledged.
    run.give(client(290).ack(704).data("0123456789"));
    run.give(client(300).ack(704).data("next"));
    let events = run.finish();
    assert_eq!(
        (text(&events, Responder), text(&events, Originator)),
        ("0123456789next".into(), "more".into())
    );
    assert_eq!(gaps(&events), []);
    let flow = &run.table.handler().flows[0];
    assert!(flow.midstream && flow.peer(gannet_packet::Side::High) == Originator);
}

#[test]
fn a_provisional_start_moves_what_is_held() {
    let mut run = run();
    run.give(server(700).ack(300).data("x"));
    run.give(client(304).ack(701).data("ef"));
    run.give(server(702).ack(301).data("z"));
    run.give(client(298).ack(701).data("abcdef"));
    run.give(server(701).ack(304).data("y"));
    let events = run.events();
    assert_eq!(text(&events, Responder), "abcdefef");
    let acknowledged: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Data { from: Originator, acknowledged, .. } => Some(acknowledged.unwrap()),
            _ => None,
        })
        .collect();
    assert_eq!(acknowledged, [0, 6, 3]);
}

#[test]
fn a_syn_ack_first_tells_both_starts() {
    let mut run = run();
    run.give(server(5_000).syn().ack(1_001).at(2));
    run.give(client(1_000).syn().at(1));
    run.give(client(1_001).ack(5_001).data("a").at(3));
    let events = run.finish();
    let flow = &run.table.handler().flows[0];
    assert!(!flow.midstream);
    assert_eq!(flow.endpoint(Originator).port, 40_000);
    assert_eq!(flow.handshake().syn(), Some(Timestamp(1_000_000)));
    assert_eq!(text(&events, Originator), "a");
    assert!(!flow.handshake().retransmitted);
}

#[test]
fn a_syn_may_carry_data() {
    let mut run = run();
    run.give(client(1_000).syn().data("fast"));
    run.give(server(5_000).syn().ack(1_005));
    run.give(client(1_005).ack(5_001).data("er"));
    assert_eq!(text(&run.events(), Originator), "faster");
}

#[test]
fn repeated_and_crossing_syns_are_one_flow() {
    let mut run = run();
    run.give(client(1_000).syn());
    run.give(client(1_000).syn());
    run.give(server(5_000).syn());
    run.give(client(1_000).syn().ack(5_001));
    run.give(server(5_000).syn().ack(1_001));
    run.give(client(1_001).ack(5_001).data("a"));
    let events = run.finish();
    assert_eq!((text(&events, Originator).as_str(), closes(&events).len()), ("a", 1));
    assert!(run.table.handler().flows[0].handshake().retransmitted);
}

#[test]
fn ports_are_reused() {
    let mut run = connected();
    run.give(client(1_001).ack(5_001).data("old"));
    assert_eq!(run.give(client(900_000_000).syn()), Accepted);
    assert_eq!(closes(&run.events()), [(1, CloseReason::Reused)]);
    run.give(server(800_000_000).syn().ack(900_000_001));
    assert_eq!(run.give(client(1_004).ack(5_001).data("late")), OutOfWindow);
    assert_eq!(run.give(server(5_001).ack(1_004).data("late")), OutOfWindow);
    run.give(client(900_000_001).ack(800_000_001).data("new"));
    assert_eq!(run.give(client(900_000_004).rst()), Accepted);
    assert_eq!(text(&run.events(), Originator), "new");
    // After a RST a SYN of the same number is sent again or a copy: Windows tries once more.
    run.give(client(900_000_000).syn());
    assert_eq!((run.events(), run.table.open_flows()), (vec![], 0));
    // Any other is a new flow, and the old one has been closed already.
    run.give(client(900_100_000).syn());
    assert_eq!(closes(&run.events()), []);
    assert_eq!((run.table.open_flows(), run.table.counters().flows_opened), (1, 3));
    assert_eq!(run.table.index.len(), 1);
}

/// Tools that replay a capture send the same packets in every round; so does whoever appends a capture to itself.
#[test]
fn a_conversation_that_is_played_again_is_another() {
    let play = |run: &mut Run, at: u64, ends: bool| {
        run.give(client(1_000).syn().at(at));
        run.give(server(5_000).syn().ack(1_001).at(at));
        run.give(client(1_001).ack(5_001).data("request").at(at + 1));
        run.give(server(5_001).ack(1_008).data("response").at(at + 2));
        run.give(client(1_008).ack(5_009).at(at + 2));
        if ends {
            run.give(client(1_008).ack(5_009).fin().at(at + 3));
            run.give(server(5_009).ack(1_009).fin().at(at + 3));
        }
    };
    // Copies of the whole within 100 ms, replays behind that; a flow that has no end is waited for.
    for (ends, rounds, opened, copied) in [
        (true, [50, 99], 1, 2),
        (true, [101, 202], 3, 0),
        (false, [900, 1_000], 1, 0),
        (false, [1_003, 2_006], 3, 0),
    ] {
        let mut run = run();
        for at in [0].into_iter().chain(rounds) {
            play(&mut run, at, ends);
        }
        let texts = run.finish();
        let Counters { flows_opened, copied_flows, .. } = *run.table.counters();
        assert_eq!((flows_opened, copied_flows), (opened, copied), "{ends} {rounds:?}");
        assert_eq!(text(&texts, Originator), "request".repeat(opened as usize), "{ends} {rounds:?}");
    }
    // A copy is as old as its SYN, whatever the time that the answer took.
    let mut run = run();
    let slow = [client(1_000).syn().at(0), server(5_000).syn().ack(1_001).at(60)];
    let rest =
        [client(1_001).ack(5_001).data("a").fin().at(61), server(5_001).ack(1_003).data("b").fin().at(62)];
    for skew in [0, 80] {
        for built in slow.iter().chain(&rest) {
            run.give(Built { time: built.time + skew * 1_000_000, ..built.clone() });
        }
    }
    assert_eq!(run.table.counters().flows_opened, 1);
    // Without the search for copies nothing is one.
    let mut run = Run::new(Limits { deduplicate: false, ..Limits::default() });
    (0..3).for_each(|round| play(&mut run, round * 4, true));
    assert_eq!(run.table.counters().flows_opened, 3);
    // A refused SYN that is sent again, as Windows does, is no new flow, nor one that has had no answer, with the data
    // of a fast open or without.
    let [refusal, answer] = [server(0).ack(1_001).rst(), server(5_000).syn().ack(1_006)];
    for (answer, data) in
        [(Some(&refusal), ""), (Some(&refusal), "early"), (Some(&answer), "early"), (None, "early")]
    {
        let mut run = self::run();
        for (at, data) in [(0, data), (500, data), (1_000, ""), (3_000, "")] {
            run.give(client(1_000).syn().data(data).at(at));
            if let Some(answer) = answer {
                run.give(answer.clone().at(at));
            }
        }
        assert_eq!(run.table.counters().flows_opened, 1, "{answer:?} {data}");
    }
}

/// The first packet behind a pause comes before the tick that lets the flow of before go.
#[test]
fn a_flow_is_forgotten_in_time_without_a_tick() {
    for (at, opened) in [(9_000, 1), (11_000, 2)] {
        let mut run = connected();
        run.give(client(1_001).ack(5_001).data("old").fin());
        run.give(server(5_001).ack(1_005).fin());
        run.give(client(7_000_000).ack(9_000_000).data("new").at(at));
        assert_eq!(run.table.counters().flows_opened, opened, "{at}");
    }
}

#[test]
fn probes_are_no_retransmissions() {
    let mut run = connected();
    run.give(client(1_001).ack(5_001).data("abc"));
    run.events();
    run.give(client(1_003).ack(5_001));
    run.give(client(1_003).ack(5_001).data("c"));
    run.give(server(5_000).ack(1_004).window(0));
    assert_eq!(run.events(), []);
    assert_eq!(run.table.counters().retransmitted_bytes, 1);
    run.finish();
    assert_eq!(run.table.handler().flows[0].stream(Responder).zero_windows, 1);
}

#[test]
fn acknowledgements_confirm_a_jump() {
    let mut run = connected();
    let far = 50_000_000;
    assert_eq!(run.give(client(1_001 + far).ack(4_001_000).data("x")), OutOfWindow);
    // Its sender has received all that was sent: it is no stray.
    assert_eq!(run.give(client(1_001 + far).ack(5_001).data("x")), Accepted);
    run.give(server(5_001).ack(1_002 + far));
    run.give(client(1_002 + far).ack(5_001).data("y").at(200));
    run.tick(400);
    assert_eq!(gaps(&run.events()), [(0, u64::from(far), GapReason::NotCaptured)]);
}

#[test]
fn what_is_not_wanted_is_neither_held_nor_delivered() {
    let mut run = connected();
    run.table.handler().wanted = Some(3);
    run.give(client(1_008).ack(5_001).data("hij"));
    run.give(server(5_006).ack(1_001).data("fg").fin());
    run.give(client(1_001).ack(5_001).data("abcdefg"));
    let events = run.events();
    assert_eq!(text(&events, Originator), "abcdefg");
    assert_eq!(run.table.counters().discarded_bytes, 5);
    run.give(client(1_011).ack(5_001).data("klm"));
    run.give(client(1_012).ack(5_001).data("lmn"));
    assert_eq!((run.table.counters().unwanted_bytes, run.table.counters().retransmitted_bytes), (4, 2));
    run.give(client(1_015).ack(5_009).fin());
    assert_eq!(closes(&run.events()), [(1, CloseReason::Finished)]);
}

#[test]
fn a_full_table_evicts_what_matters_least() {
    let mut run = Run::new(Limits { flows: 3, ..Limits::default() });
    run.handshake(1_000, 5_000);
    run.give(client(1).flow(1).syn().at(5_000));
    run.give(client(1).flow(2).data("x").at(1_000));
    run.give(client(2).flow(2).rst().at(6_000));
    run.events();
    run.give(client(1).flow(3).syn().at(7_000));
    assert_eq!(run.events(), [Event::Open(7)], "the lingering one went");
    run.give(client(1).flow(4).syn().at(8_000));
    assert_eq!(closes(&run.events()), [(4, CloseReason::Evicted)], "the older half-open one");
    run.give(client(1).flow(5).syn().at(9_000));
    assert_eq!(closes(&run.events()), [(7, CloseReason::Evicted)]);
    assert_eq!((run.table.open_flows(), run.table.counters().flows_evicted), (3, 2));
    run.give(server(7).flow(4).syn().ack(2).at(10_000));
    run.give(client(2).flow(4).ack(8).at(10_000));
    run.give(server(7).flow(5).syn().ack(2).at(10_000));
    run.give(client(2).flow(5).ack(8).at(10_000));
    run.give(client(1).flow(6).syn().at(11_000));
    assert_eq!(closes(&run.events()), [(1, CloseReason::Evicted)], "the established one idle for longest");
}

#[test]
fn a_stream_of_many_gigabytes_goes_on_where_numbers_wrap() {
    let mut run = run();
    run.give(client(u32::MAX - 5).data("abc"));
    let mut sequence = u32::MAX - 2;
    let mut offset = 3_u64;
    // Lengths on the wire only: 6 GiB in steps of 512 MiB.
    for _ in 0..12 {
        run.give(client(sequence).cut_from(1 << 29));
        sequence = sequence.wrapping_add(1 << 29);
        offset += 1 << 29;
    }
    run.events();
    run.give(client(sequence.wrapping_add(1)).data("c"));
    run.give(client(sequence).data("b"));
    let offsets: Vec<_> = run
        .events()
        .iter()
        .map(|event| matches!(event, Event::Data { offset: at, .. } if (offset..offset + 2).contains(at)))
        .collect();
    assert_eq!(offsets, [true, true]);
}

#[test]
fn holes_and_ends_of_one_tick_come_in_the_order_of_flows() {
    let mut run = run();
    for flow in [3, 1, 2] {
        run.give(client(100).flow(flow).ack(1).data("a"));
        run.give(server(1).flow(flow).ack(110).data("b"));
        run.give(client(108).flow(flow).ack(1).data("i"));
    }
    run.events();
    run.tick(700_000);
    let flows: Vec<_> = run
        .events()
        .iter()
        .map(|event| match event {
            Event::Gap(flow, _) | Event::Data { flow, .. } | Event::Close(flow, ..) => *flow,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(flows.is_sorted() && flows.len() >= 9, "{flows:?}");
}
