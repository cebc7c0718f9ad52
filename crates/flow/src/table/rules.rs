//! The rules of reassembly that bounds, clocks and odd captures put to the test.

use super::*;
use crate::testing::{Event, Run, client, server, text};
use crate::{Gap, GapReason};
use Outcome::{Accepted, OutOfWindow};
use Peer::{Originator, Responder};

fn connected() -> Run {
    let mut run = Run::new(Limits::default());
    run.handshake(1_000, 5_000);
    run
}

fn gaps(events: &[Event], sender: Peer) -> Vec<(u64, u64, GapReason)> {
    let gap = |event: &Event| match event {
        Event::Gap(_, Gap { from, offset, len, reason, .. }) if *from == sender => {
            Some((*offset, *len, *reason))
        }
        _ => None,
    };
    events.iter().filter_map(gap).collect()
}

#[test]
fn keep_alives_with_and_without_a_byte_stay_out_of_the_stream() {
    let mut run = connected();
    run.give(client(1_001).ack(5_001).data("abc"));
    run.give(server(5_001).ack(1_004));
    run.events();
    for ms in 1..5 {
        assert_eq!(run.give(client(1_003).ack(5_001).at(ms * 10_000)), Accepted);
        assert_eq!(run.give(client(1_003).ack(5_001).data([0]).at(ms * 10_000 + 1)), Accepted);
        assert_eq!(run.give(server(5_001).ack(1_004).at(ms * 10_000 + 2)), Accepted);
    }
    run.give(client(1_004).ack(5_001).data("d").at(60_000));
    let events = run.finish();
    assert_eq!(text(&events, Originator), "d");
    assert!(!events.iter().any(|event| matches!(event, Event::Again(..))));
    assert_eq!(run.table.handler().flows[0].history(), "ShADa", "no letter T");
}

#[test]
fn a_zero_window_probe_with_the_next_byte_is_data_once() {
    let mut run = connected();
    run.give(server(5_001).ack(1_001).data("abc"));
    run.give(client(1_001).ack(5_004).window(0));
    // Refused, sent again, taken at last: the first copy is the stream's.
    run.give(server(5_004).ack(1_001).data("d"));
    run.give(client(1_001).ack(5_004).window(0));
    run.give(server(5_004).ack(1_001).data("d"));
    run.give(client(1_001).ack(5_004).window(900));
    run.give(server(5_004).ack(1_001).data("def"));
    assert_eq!(text(&run.events(), Responder), "abcdef");
}

#[test]
fn a_refused_fast_open_sends_its_data_again() {
    let mut run = Run::new(Limits::default());
    run.give(client(1_000).syn().data("fast"));
    run.give(server(5_000).syn().ack(1_001));
    run.give(client(1_001).ack(5_001).data("faster"));
    let events = run.finish();
    assert_eq!((text(&events, Originator).as_str(), gaps(&events, Originator)), ("faster", vec![]));
}

#[test]
fn urgent_bytes_are_bytes_of_the_stream() {
    let mut run = connected();
    run.give(client(1_001).ack(5_001).data("ab!").flag(TcpFlags::URG));
    run.give(client(1_004).ack(5_001).data("c"));
    assert_eq!(text(&run.events(), Originator), "ab!c");
}

#[test]
fn a_reset_on_missing_data_delivers_what_is_held() {
    let mut run = connected();
    run.give(client(1_004).ack(5_001).data("def"));
    assert_eq!(run.give(client(1_007).ack(5_001).rst()), Accepted);
    let events = run.events();
    assert_eq!(text(&events, Originator), "...def");
    assert_eq!(gaps(&events, Originator), [(0, 3, GapReason::Lost)]);
    assert!(matches!(events.last(), Some(Event::Close(1, CloseReason::Reset { by: Originator }, _))));
}

/// A RST of somebody else's, which the other end never saw or did not take: the next byte of the end in whose name it
/// came begins a flow again. Of one that had carried something before, the beginning is not known then.
#[test]
fn a_reset_whose_sender_goes_on_was_none() {
    let mut run = connected();
    run.give(client(1_001).ack(5_001).rst());
    assert_eq!(run.give(client(1_001).ack(5_001).data("ask")), Accepted);
    assert_eq!(run.give(server(5_001).ack(1_004).data("answer")), Accepted);
    let closes = |events: &[Event]| {
        let close = |event: &Event| match event {
            Event::Close(id, reason, _) => Some((*id, *reason)),
            _ => None,
        };
        events.iter().filter_map(close).collect::<Vec<_>>()
    };
    let events = run.finish();
    assert_eq!((text(&events, Originator).as_str(), text(&events, Responder).as_str()), ("ask", "answer"));
    assert_eq!(gaps(&events, Originator), []);
    let reset = CloseReason::Reset { by: Originator };
    assert_eq!(
        closes(&events).iter().map(|close| close.1).collect::<Vec<_>>(),
        [reset, CloseReason::EndOfInput]
    );
    assert_eq!(run.table.check(), []);
}

/// The same before the handshake is over, as those do who have to guess when to send it.
#[test]
fn a_refusal_of_somebody_elses_before_the_answer() {
    let mut run = Run::new(Limits::default());
    run.give(client(1_000).syn());
    assert_eq!(run.give(server(0).ack(1_001).rst()), Accepted);
    run.give(server(0).ack(1_001).fin());
    assert_eq!(run.give(client(1_001).rst()), Accepted);
    assert_eq!(run.give(server(5_000).syn().ack(1_001)), Accepted);
    run.give(client(1_001).ack(5_001));
    run.give(client(1_001).ack(5_001).data("ask"));
    run.give(server(5_001).ack(1_004).data("answer"));
    let events = run.finish();
    assert_eq!((text(&events, Originator).as_str(), text(&events, Responder).as_str()), ("ask", "answer"));
}

/// A server that still has the last connection of these ports acknowledges that one's bytes; the client resets it,
/// and asks again.
#[test]
fn an_answer_for_the_connection_before_begins_no_stream() {
    for far in [-2_000_000_000_i64, -5_000_000, -70_000, 70_000, 5_000_000, 2_000_000_000] {
        let mut run = Run::new(Limits::default());
        run.give(client(1_000).syn());
        let old = 1_001_u32.wrapping_add_signed(far as i32);
        assert_eq!(run.give(server(90_000_000).ack(old)), OutOfWindow, "{far}");
        assert_eq!(run.give(client(old).rst()), OutOfWindow, "{far}");
        run.give(client(1_000).syn().at(3_000_000));
        run.give(server(5_000).syn().ack(1_001).at(3_000_001));
        run.give(client(1_001).ack(5_001).data("ask").at(3_000_002));
        run.give(server(5_001).ack(1_004).data("answer").at(3_000_003));
        let events = run.finish();
        assert_eq!(
            (text(&events, Originator).as_str(), text(&events, Responder).as_str()),
            ("ask", "answer"),
            "{far}"
        );
        assert_eq!(gaps(&events, Responder), [], "{far}");
    }
}

/// What was under way when the RST was sent, what is sent again, and what acknowledges nothing of the flow begins none.
#[test]
fn what_comes_behind_a_reset_is_late() {
    for late in [
        server(5_001).ack(1_004).data("in flight"),
        client(1_001).ack(5_001).data("ask"),
        client(1_003).ack(5_001).data("k!"),
        client(1_004).ack(5_001),
        client(1_004).ack(5_001).rst(),
        client(1_004).ack(9_001).data("more"),
        client(1_004).data("more"),
        client(1_005).ack(5_001).data("more"),
        server(5_000).syn().ack(1_001),
    ] {
        let mut run = connected();
        run.give(client(1_001).ack(5_001).data("ask"));
        run.give(client(1_004).ack(5_001).rst());
        run.give(late.clone());
        assert_eq!((run.table.counters().flows_opened, run.table.open_flows()), (1, 0), "{late:?}");
        assert_eq!(run.table.check(), []);
    }
    // Over before the RST.
    let mut run = connected();
    run.give(client(1_001).ack(5_001).fin());
    run.give(server(5_001).ack(1_002).fin());
    run.give(client(1_002).ack(5_002).rst());
    run.give(client(1_001).ack(5_002).data("x"));
    assert_eq!(run.table.counters().flows_opened, 1);
}

#[test]
fn a_stream_wraps_with_holes_on_both_sides_of_the_wrap() {
    let mut run = Run::new(Limits::default());
    run.handshake(u32::MAX - 3, u32::MAX - 3);
    let first = u32::MAX - 2;
    run.give(client(first.wrapping_add(6)).ack(first).data("gh"));
    run.give(client(first.wrapping_add(2)).ack(first).data("cd"));
    run.give(client(first.wrapping_add(4)).ack(first).data("ef"));
    run.give(client(first).ack(first).data("ab"));
    assert_eq!(text(&run.events(), Originator), "abcdefgh");
}

#[test]
fn one_direction_alone_is_reassembled() {
    let mut run = Run::new(Limits::default());
    run.give(client(1_000).syn().scale(7));
    run.give(client(1_001).ack(5_001).data("GET "));
    // The other direction answered, unseen: its acknowledged bytes are missing at the end.
    run.give(client(1_007).ack(5_301).data("z"));
    run.give(client(1_005).ack(5_301).data("xy"));
    run.give(client(1_008).ack(5_301).fin());
    let events = run.finish();
    assert_eq!(text(&events, Originator), "GET xyz");
    assert_eq!(gaps(&events, Responder), [(0, 300, GapReason::NotCaptured)]);
    assert_eq!(run.table.handler().flows[0].history(), "SDFg");
}

#[test]
fn acknowledgements_before_their_data_make_no_gap() {
    let mut run = connected();
    for turn in 0..50_u32 {
        let at = 1_001 + turn * 3;
        run.give(server(5_001).ack(at + 3).at(u64::from(turn) * 90));
        run.give(client(at).ack(5_001).data("abc").at(u64::from(turn) * 90 + 1));
    }
    let events = run.finish();
    assert_eq!((text(&events, Originator).len(), gaps(&events, Originator)), (150, vec![]));
}

#[test]
fn a_flow_goes_on_where_both_directions_are_when_the_capture_has_missed_a_window() {
    let mut run = connected();
    run.give(client(1_001).ack(5_001).data("abc").at(1));
    run.give(server(5_001).ack(1_004).data("xyz").at(2));
    run.events();
    // 300 MB and 20 MB later.
    let (forth, back) = (1_004 + 300_000_000, 5_004 + 20_000_000);
    assert_eq!(run.give(client(forth).ack(back).data("one").at(5_000)), OutOfWindow);
    assert_eq!(run.give(server(back).ack(forth + 3).data("two").at(5_001)), Accepted);
    assert_eq!(run.give(client(forth + 3).ack(back + 3).data("three").at(5_002)), Accepted);
    let events = run.events();
    assert_eq!(gaps(&events, Originator), [(3, 300_000_003, GapReason::NotCaptured)]);
    assert_eq!(gaps(&events, Responder), [(3, 20_000_000, GapReason::NotCaptured)]);
    assert_eq!(run.table.counters().resynchronised, 1);
    assert_eq!(run.table.counters().out_of_window, 1);
    let texts = [Originator, Responder].map(|peer| text(&run.finish(), peer));
    assert_eq!(texts, ["", ""], "nothing is left to be told");
}

/// A ring that overflows costs both directions something. What comes first behind it was no part of any window, and was
/// dropped, an answer of some segments.
#[test]
fn what_comes_first_behind_a_loss_of_more_than_a_window_is_taken() {
    let mut run = connected();
    run.give(client(1_001).ack(5_001).data("abc").at(1));
    run.give(server(5_001).ack(1_004).data("xyz").at(2));
    let (forth, back) = (1_004 + 900, 5_004 + 900_000);
    assert_eq!(run.give(server(back).ack(forth).data("two").at(50)), Accepted);
    assert_eq!(run.give(client(forth).ack(back + 3).data("three").at(51)), Accepted);
    let events = run.finish();
    assert_eq!(gaps(&events, Originator), [(3, 900, GapReason::NotCaptured)]);
    assert_eq!(gaps(&events, Responder), [(3, 900_000, GapReason::NotCaptured)]);
    let texts = [Originator, Responder].map(|peer| text(&events, peer).replace('.', ""));
    assert_eq!(texts, ["abcthree", "xyztwo"]);
    assert_eq!((run.table.counters().resynchronised, run.table.counters().out_of_window), (0, 0));
}

/// The same of a young flow, and of both directions more than a window: an upload that is echoed, for instance.
#[test]
fn what_comes_first_behind_a_loss_of_more_than_two_windows_is_taken() {
    let mut run = connected();
    run.give(client(1_001).ack(5_001).data("abc").at(1));
    run.give(server(5_001).ack(1_004).data("xyz").at(2));
    let (forth, back) = (1_004 + 200_308, 5_004 + 200_633);
    assert_eq!(run.give(client(forth).ack(back).data("three").at(20)), Accepted);
    assert_eq!(run.give(server(back).ack(forth + 5).data("two").at(21)), Accepted);
    let events = run.finish();
    assert_eq!(gaps(&events, Originator), [(3, 200_308, GapReason::NotCaptured)]);
    assert_eq!(gaps(&events, Responder), [(3, 200_633, GapReason::NotCaptured)]);
    let texts = [Originator, Responder].map(|peer| text(&events, peer).replace('.', ""));
    assert_eq!(texts, ["abcthree", "xyztwo"]);

    // What lies farther ahead than a flow goes on unseen is of another one.
    let mut run = connected();
    run.give(client(1_001).ack(5_001).data("abc").at(1));
    run.give(server(5_001).ack(1_004).data("xyz").at(2));
    let far = 1 << 25;
    assert_eq!(run.give(client(1_004 + far).ack(5_004 + 200_000).data("no").at(20)), OutOfWindow);
    assert_eq!(run.give(client(1_004 + 200_000).ack(5_004 + far).data("no").at(20)), OutOfWindow);
}

/// A capture of 5 GB of which only some segments were kept, two of them 1.9 GB apart.
#[test]
fn a_stream_of_more_than_4_gib_is_as_long_as_it_was_whatever_was_missed() {
    let mut run = connected();
    let (mut sent, mut received) = (0_u64, 0_u64);
    for (number, step) in
        [14_480, 380_000_000, 1_912_000_000, 45_000_000, 1_922_000_000, 42_000_000, 1_200_000_000]
            .into_iter()
            .enumerate()
    {
        sent += step;
        let (sequence, at) = (5_001_u32.wrapping_add(sent as u32), 1_000 * number as u64);
        // The acknowledgement comes first, or the segment.
        if number % 2 == 0 {
            run.give(client(1_001).ack(sequence).at(at));
        }
        assert_eq!(run.give(server(sequence).ack(1_001).data("abc").at(at + 1)), Accepted, "{number}");
        sent += 3;
        received += 3;
        run.give(client(1_001).ack(sequence.wrapping_add(3)).at(at + 2));
    }
    let missing: u64 = gaps(&run.finish(), Responder).iter().map(|(_, len, _)| len).sum();
    assert_eq!(missing + received, sent);
    assert!(sent > 5 << 30);
}

#[test]
fn segments_that_do_not_know_one_another_lead_nowhere() {
    let mut run = connected();
    run.give(client(1_001).ack(5_001).data("abc").at(1));
    let far = 500_000_000;
    for (sequence, ack) in [(far, far), (far + 1_000, far * 2 + 5), (far * 2, far * 3)] {
        assert_eq!(run.give(client(sequence).ack(ack).data("evil").at(3_000)), OutOfWindow);
        assert_eq!(run.give(server(sequence ^ 0x5555_5555).ack(ack).data("evil").at(3_000)), OutOfWindow);
    }
    // A matching pair, but the flow goes on meanwhile where it was.
    assert_eq!(run.give(client(far).ack(far * 2).data("evil").at(3_001)), OutOfWindow);
    assert_eq!(run.give(client(1_004).ack(5_001).data("def").at(3_002)), Accepted);
    assert_eq!(run.give(server(far * 2).ack(far + 4).data("evil").at(3_003)), OutOfWindow);
    assert_eq!(text(&run.events(), Originator), "abcdef");
    assert_eq!(run.table.counters().resynchronised, 0);
}

#[test]
fn the_mark_of_a_copy_does_not_take_what_fills_a_hole() {
    let mut run = connected();
    run.give(client(1_004).ack(5_001).data("def").id(7));
    // The same mark by accident: forced here, one in 2^24 otherwise.
    let filling = client(1_001).ack(5_001).data("abc").id(9);
    let mark = mark(&filling.segment()).unwrap();
    run.table.slab.get_mut(0).flow.streams[0].recent.push(mark, Timestamp(0));
    assert_eq!(run.give(filling), Accepted);
    assert_eq!(text(&run.events(), Originator), "abcdef");
}

#[test]
fn holes_acknowledged_and_not_are_typed_apart() {
    let mut run = connected();
    run.give(client(1_006).ack(5_001).data("f").at(1));
    run.give(client(1_011).ack(5_001).data("k").at(2));
    run.give(server(5_001).ack(1_007).at(3));
    run.tick(200);
    assert_eq!(gaps(&run.events(), Originator), [(0, 5, GapReason::NotCaptured)]);
    assert_eq!(gaps(&run.finish(), Originator), [(6, 4, GapReason::Lost)]);
}
