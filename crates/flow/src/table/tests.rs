//! Each rule of the table by an example.

use super::*;
use crate::testing::{Event, Run, client, server, text};
use crate::{Gap, GapReason, StreamEnd};
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
    let handshake = Handshake { syn: ms(1), syn_ack: ms(2), ack: ms(3), retransmitted: false };
    assert_eq!(flow.handshake, handshake);
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
    assert!(run.table.slab.get(0).streams.iter().all(|stream| stream.hold.is_none()));
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
