//! What is told of a flow: letters, states, times, greetings, errors.

use gannet_packet::TunnelKind;

use super::*;
use crate::testing::{Built, Run, client, server};
use crate::tls::tests as hellos;
use crate::{ConnectionId, ConnectionState, FlowRecord, StreamFacts};
use Peer::{Originator, Responder};

/// Gives all of these, a millisecond apart, and returns what is known of the only flow at its end.
fn flow_of(capture: impl IntoIterator<Item = Built>) -> (Run, Flow) {
    let mut run = Run::new(Limits::default());
    for (ms, built) in capture.into_iter().enumerate() {
        run.give(built.at(ms as u64));
    }
    run.finish();
    assert_eq!(run.table.handler().flows.len(), 1);
    let flow = run.table.handler().flows[0].clone();
    (run, flow)
}

fn handshake() -> [Built; 3] {
    [client(1_000).syn(), server(5_000).syn().ack(1_001), client(1_001).ack(5_001)]
}

fn told(capture: impl IntoIterator<Item = Built>) -> (String, ConnectionState) {
    let (_, flow) = flow_of(capture);
    (flow.history(), flow.state())
}

#[test]
fn a_flow_is_told_in_letters() {
    let whole = [
        client(1_001).ack(5_001).data("GET"),
        server(5_001).ack(1_004),
        server(5_001).ack(1_004).data("200"),
        client(1_004).ack(5_004).fin(),
        server(5_004).ack(1_005).fin(),
    ];
    assert_eq!(told(handshake().into_iter().chain(whole)), ("ShADadFf".into(), ConnectionState::Sf));
    assert_eq!(told([client(1_000).syn()]), ("S".into(), ConnectionState::S0));
    assert_eq!(told([client(1_000).syn(), server(0).rst().ack(1_001)]), ("Sr".into(), ConnectionState::Rej));
    assert_eq!(told([server(5_000).syn().ack(1_001)]), ("^h".into(), ConnectionState::Oth));
    assert_eq!(told(handshake()), ("ShA".into(), ConnectionState::S1));
    assert_eq!(told([client(7).ack(9).data("x")]), ("D".into(), ConnectionState::Oth));
    let aborted = handshake().into_iter().chain([server(5_001).rst()]);
    assert_eq!(told(aborted), ("ShAr".into(), ConnectionState::Rstr));
}

#[test]
fn disorder_has_letters_of_its_own() {
    let capture = handshake().into_iter().chain([
        client(1_001).ack(5_001).data("abc"),
        client(1_001).ack(5_001).data("abc"),
        server(5_001).ack(1_004).window(0),
        server(5_001).ack(1_004),
        server(5_001).ack(1_020).data("x"),
        client(1_020).ack(5_002).data("y"),
    ]);
    let (run, flow) = flow_of(capture);
    assert_eq!(flow.history(), "ShADTawdG");
    assert_eq!(flow.stream(Originator).gap_bytes, 16);
    assert_eq!(run.table.beside, 0, "given back with the flow");
}

#[test]
fn the_handshake_says_how_far_either_end_is() {
    let mut run = Run::new(Limits::default());
    run.give(client(1_000).syn().at(10));
    run.give(server(5_000).syn().ack(1_001).at(40));
    run.give(client(1_001).ack(5_001).at(45));
    run.finish();
    let handshake = run.table.handler().flows[0].handshake();
    assert_eq!((handshake.responder_ns(), handshake.originator_ns()), (Some(30_000_000), Some(5_000_000)));
    // Of a SYN sent twice nobody knows which was answered, and times far apart are kept as well.
    let mut run = Run::new(Limits::default());
    run.give(client(1_000).syn().at(10));
    run.give(client(1_000).syn().at(3_010));
    run.give(server(5_000).syn().ack(1_001).at(3_040));
    run.give(client(1_001).ack(5_001).at(9_000));
    run.finish();
    let handshake = run.table.handler().flows[0].handshake();
    let ms = |ms: u64| Some(Timestamp(ms * 1_000_000));
    assert_eq!((handshake.syn(), handshake.syn_ack(), handshake.ack()), (ms(10), ms(3_040), ms(9_000)));
    assert!(handshake.retransmitted && handshake.responder_ns().is_none());
}

/// Server data, each acknowledged 8 ms later.
fn exchange(run: &mut Run, from_ms: u64, sequence: u32) {
    run.give(server(sequence).ack(1_001).data([b'x'; 100]).at(from_ms));
    run.give(client(1_001).ack(sequence + 100).at(from_ms + 8));
}

#[test]
fn data_and_its_acknowledgement_are_a_round_trip() {
    let mut run = Run::new(Limits::default());
    run.handshake(1_000, 5_000);
    for turn in 0..20 {
        exchange(&mut run, 100 + 20 * u64::from(turn), 5_001 + 100 * turn);
    }
    // Sent again before it is acknowledged: which of the two was is not known (Karn).
    run.give(server(7_001).ack(1_001).data([b'y'; 100]).at(1_000));
    run.give(server(7_001).ack(1_001).data([b'y'; 100]).at(1_900));
    run.give(client(1_001).ack(7_101).at(1_908));
    run.finish();
    let flow = run.table.handler().flows[0].clone();
    let round_trip = flow.stream(Responder).round_trip_ns.unwrap();
    assert!(round_trip.abs_diff(8_000_000) < 10_000, "{round_trip}");
    assert_eq!(flow.stream(Originator).round_trip_ns, None, "it sent nothing");
}

#[test]
fn what_was_acknowledged_before_it_was_seen_is_no_round_trip() {
    let mut run = Run::new(Limits::default());
    run.handshake(1_000, 5_000);
    exchange(&mut run, 10, 5_001);
    // A mirror that shows acknowledgements first.
    run.give(client(1_001).ack(5_201).at(100));
    run.give(server(5_101).ack(1_001).data([b'x'; 100]).at(101));
    run.give(client(1_001).ack(5_201).at(60_000));
    run.finish();
    let round_trip = run.table.handler().flows[0].stream(Responder).round_trip_ns.unwrap();
    assert!(round_trip.abs_diff(8_000_000) < 10_000, "{round_trip}");
}

#[test]
fn a_window_of_zero_is_a_stall() {
    let mut run = Run::new(Limits::default());
    run.handshake(1_000, 5_000);
    run.give(client(1_001).ack(5_001).window(0).at(100));
    run.give(client(1_001).ack(5_001).window(0).at(120));
    run.give(client(1_001).ack(5_001).window(500).at(150));
    run.give(client(1_001).ack(5_001).window(0).at(200));
    run.give(server(5_001).ack(1_001).data("z").at(210));
    run.finish();
    let facts = run.table.handler().flows[0].stream(Originator);
    assert_eq!((facts.zero_windows, facts.zero_window_ns), (3, 60_000_000));
    assert_eq!(run.table.handler().flows[0].stream(Responder).zero_window_ns, 0);
}

#[test]
fn counts_go_on_behind_32_bits() {
    let mut run = Run::new(Limits::default());
    run.give(client(u32::MAX - 5).data("abc"));
    let mut sequence = u32::MAX - 2;
    for _ in 0..9 {
        run.give(client(sequence).cut_from(1 << 30));
        sequence = sequence.wrapping_add(1 << 30);
    }
    run.finish();
    let flow = &run.table.handler().flows[0];
    assert_eq!((flow.stream(Originator).bytes, flow.stream_len(Originator)), ((9 << 30) + 3, (9 << 30) + 3));
    assert_eq!(flow.stream(Originator).packets, 10);
}

#[test]
fn a_hello_over_many_segments_is_read_and_still_delivered() {
    let hello = hellos::client("www.example.com", 1_500, 512);
    let answer = hellos::server(0x0303);
    for size in [1, 7, 536, 4_000] {
        for wanted in [None, Some(1)] {
            let mut run = Run::new(Limits::default());
            run.handshake(1_000, 5_000);
            run.table.handler().wanted = wanted;
            let mut sequence = 1_001_u32;
            for part in hello.chunks(size) {
                run.give(client(sequence).ack(5_001).data(part));
                sequence += part.len() as u32;
            }
            run.give(server(5_001).ack(sequence).data(&answer));
            run.give(client(sequence).ack(5_001 + answer.len() as u32).data("secret"));
            let events = run.finish();
            let flow = &run.table.handler().flows[0];
            let tls = flow.tls().unwrap();
            assert_eq!(tls.server_name.as_deref(), Some("www.example.com"), "{size}");
            assert_eq!(
                (tls.client, tls.version, tls.chosen.as_deref()),
                (Some(Originator), Some(0x0303), Some("h2"))
            );
            let sent = crate::testing::text(&events, Originator).len();
            assert!(wanted.is_some() || sent > hello.len(), "{sent}");
        }
    }
}

#[test]
fn what_only_begins_like_a_hello_is_none_and_bounded() {
    let mut run = Run::new(Limits::default());
    run.handshake(1_000, 5_000);
    run.give(client(1_001).ack(5_001).data([22, 3, 1]));
    assert_ne!(run.table.beside, 0);
    run.give(client(1_004).ack(5_001).data([0xff; 50]));
    let rare = run.table.slab.get(0).flow.rare().unwrap().more().unwrap();
    assert!(rare.collecting.is_none() && rare.tls.is_none());
    // A gap ends it as well, and a plain flow has none of this.
    let mut run = Run::new(Limits::default());
    run.handshake(1_000, 5_000);
    run.give(client(1_001).ack(5_001).data(&hellos::client("a.b", 900, 9_000)[..100]).cut_from(200));
    run.give(client(1_201).ack(5_001).data([1; 100]));
    run.give(client(1_301).ack(5_001).data([1; 100]));
    assert!(run.table.slab.get(0).flow.rare().unwrap().more().unwrap().collecting.is_none());
    let mut run = Run::new(Limits::default());
    run.handshake(1_000, 5_000);
    run.give(client(1_001).ack(5_001).data("GET / HTTP/1.1\r\n"));
    run.give(server(5_001).ack(1_017).data("HTTP/1.1 200 OK\r\n"));
    assert!(run.table.slab.get(0).flow.rare().is_none() && run.table.slab.get(0).flow.attention.none());
}

#[test]
fn icmp_errors_are_of_the_flow_whose_segment_they_quote() {
    let mut run = Run::new(Limits::default());
    run.give(client(1_000).syn());
    let error = IcmpError { v6: false, kind: 3, code: 1 };
    let quoted = |sequence| {
        let built = client(sequence);
        QuotedSegment { key: built.key(), side: built.side, sequence }
    };
    assert!(run.table.icmp_error(error, &quoted(1_000), Moment::default()));
    assert!(run.table.icmp_error(IcmpError { code: 3, ..error }, &quoted(1_000), Moment::default()));
    assert!(!run.table.icmp_error(error, &quoted(0x8000_0000), Moment::default()), "nobody who can see it");
    let other = QuotedSegment { key: client(1).flow(9).key(), ..quoted(1_000) };
    assert!(!run.table.icmp_error(error, &other, Moment::default()));
    run.finish();
    assert_eq!(run.table.handler().flows[0].icmp_errors(), Some((2, error)));
    assert_eq!((run.table.counters().icmp_errors, run.table.counters().icmp_errors_without_flow), (2, 2));
    assert!(!run.table.icmp_error(error, &quoted(1_000), Moment::default()), "it is over");
}

/// The id of what a tap sees.
fn id(capture: impl IntoIterator<Item = Built>) -> ConnectionId {
    flow_of(capture).1.connection_id()
}

#[test]
fn a_connection_is_named_alike_at_every_tap() {
    let [syn, answer, last] = handshake();
    let data = client(1_001).ack(5_001).data("x");
    let whole = id([syn.clone(), answer.clone(), last.clone(), data.clone()]);
    assert_eq!(whole.to_string().len(), 26);
    assert_eq!(whole.to_string().parse::<ConnectionId>().unwrap(), whole);
    // Fixed for ever: it stands in records.
    assert_eq!(whole.to_string(), KNOWN_ID);
    assert_eq!(id([answer.clone(), syn.clone(), last.clone()]), whole, "the answer first");
    assert_eq!(id([syn.clone(), last.clone(), data.clone()]), whole, "only what the client sends");
    assert_eq!(id([answer, server(5_001).ack(1_001).data("y")]), whole, "only what the server sends");
    let other = id([client(1_007).syn(), server(5_000).syn().ack(1_008)]);
    let midstream = id([data.clone()]);
    assert!(other != whole && midstream != whole);
    assert_eq!(midstream, id([server(9_000).ack(3_000).data("later"), client(3_000).ack(9_005).data("x")]));
}

/// Computed by other means from what the documentation of [`ConnectionId`] says.
const KNOWN_ID: &str = "CC4X6XTPOQG7RZJTEFPFJVTE7I";

#[test]
fn a_flow_remembers_what_it_first_came_in() {
    let vxlan = |vni| Surroundings::sample(Some((TunnelKind::Vxlan, Some(vni))), &[5]);
    let mut run = Run::new(Limits::default());
    let empty = run.table.memory();
    run.give(Built { around: vxlan(7), ..client(1_000).syn() });
    let carried = run.table.memory();
    run.give(Built { around: vxlan(8), ..server(5_000).syn().ack(1_001) });
    assert_eq!(run.table.memory(), carried);
    run.give(client(1_000).flow(1).syn());
    assert!(run.table.memory() - carried < carried - empty, "only what is in a tunnel pays for it");
    run.finish();
    let flows = &run.table.handler().flows;
    assert_eq!(flows[0].around(), vxlan(7));
    assert_eq!(flows[0].record(CloseReason::EndOfInput).around, vxlan(7));
    assert_eq!(flows[1].around(), Surroundings::NONE);
    assert_eq!(run.table.memory(), empty, "given back with the flow");
}

#[test]
fn a_record_says_it_all() {
    let capture = handshake().into_iter().chain([
        client(1_001).ack(5_001).data("GET"),
        server(5_001).ack(1_004).data("200"),
        server(5_004).ack(1_004).fin(),
        client(1_004).ack(5_005).fin(),
    ]);
    let (_, flow) = flow_of(capture);
    let record = flow.record(CloseReason::Finished);
    let FlowRecord { originator, responder, ref streams, ref handshake, .. } = record;
    assert_eq!((originator.port, responder.port), (40_000, 80));
    let counts = |facts: &StreamFacts| (facts.packets, facts.bytes);
    assert_eq!((counts(&streams[0]), counts(&streams[1])), ((4, 3), (3, 3)));
    assert_eq!((record.history.as_str(), record.state.name()), ("ShADdfF", "SF"));
    assert_eq!((record.duration_ns, record.stream_lens), (6_000_000, [3, 3]));
    assert_eq!((handshake.responder_ns(), handshake.originator_ns()), (Some(1_000_000), Some(1_000_000)));
    assert!(record.community_id.starts_with("1:") && record.tls.is_none() && record.icmp_errors.is_none());
    assert_eq!(record.connection_id, flow.connection_id());
}
