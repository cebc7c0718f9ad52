use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;
const LIMITS: ConversationLimits = ConversationLimits { conversations: 1_000, idle: Duration::from_secs(60) };

fn end(host: u8, port: u16) -> Endpoint {
    Endpoint { address: Ipv4Addr::new(10, 0, 0, host).into(), port }
}

/// A datagram of 100 bytes, 72 of them payload.
fn udp(from: Endpoint, to: Endpoint, nanos: u64, position: u64) -> Heard {
    let (key, side) = FlowKey::new(from, to, IpProtocol::UDP);
    Heard {
        name: Name { key, only_from: None },
        side,
        icmp: None,
        payload_bytes: 72,
        ip_bytes: 100,
        interface: 3,
        moment: at(nanos, position),
        around: Surroundings::NONE,
        note: 0,
    }
}

fn icmp(from: Endpoint, to: Endpoint, kind: u8, code: u8, nanos: u64, position: u64) -> Heard {
    let (key, side) = FlowKey::new(from, to, IpProtocol::ICMP);
    let (name, side) = icmp_name(&key, side, kind, code);
    Heard { name, side, icmp: Some((kind, code)), ..udp(from, to, nanos, position) }
}

fn at(nanos: u64, position: u64) -> Moment {
    Moment { time: Timestamp(nanos), position }
}

fn run(limits: ConversationLimits, heard: &[Heard]) -> (Conversations, Vec<FlowRecord>) {
    let mut table = Conversations::new(limits, 1);
    let mut records = Vec::new();
    for packet in heard {
        table.take(packet, &mut |record, _| records.push(record));
    }
    (table, records)
}

fn all(limits: ConversationLimits, heard: &[Heard]) -> Vec<FlowRecord> {
    let (mut table, mut records) = run(limits, heard);
    table.finish(at(0, 99), &mut |record, now| {
        assert_eq!(now.position, 99);
        records.push(record);
    });
    assert_eq!(table.counters().check(0), []);
    records.sort_by_key(|record| record.id);
    records
}

#[test]
fn both_directions_are_one_conversation() {
    let (asks, answers) = (end(1, 40_000), end(2, 53));
    let records =
        all(LIMITS, &[udp(asks, answers, 5, 7), udp(answers, asks, 9, 8), udp(asks, answers, 11, 9)]);
    let [record] = &records[..] else { panic!("{records:?}") };
    assert_eq!((record.originator, record.responder), (asks, answers));
    assert_eq!(record.streams.map(|stream| stream.packets), [2, 1]);
    assert_eq!((record.stream_lens, record.ip_bytes), ([144, 72], [200, 100]));
    assert_eq!((record.id, record.opened.0, record.duration_ns), (7, 5, 6));
    assert_eq!((record.state.name(), record.history.as_str()), ("SF", "Dd"));
    assert_eq!((record.interface, record.reason), (3, CloseReason::EndOfInput));
    assert_eq!(record.community_id, community_id(&FlowKey::new(asks, answers, IpProtocol::UDP).0, 0));
    let [alone] = &all(LIMITS, &[udp(asks, answers, 5, 7)])[..] else { panic!() };
    assert_eq!((alone.state.name(), alone.history.as_str()), ("S0", "D"));
}

/// Other workers' mail and datagrams in fragments come behind their turn.
#[test]
fn who_spoke_first_is_told_by_the_time() {
    let (asks, answers) = (end(1, 40_000), end(2, 53));
    let in_turn = [udp(asks, answers, 5, 7), udp(answers, asks, 9, 8), udp(asks, answers, 11, 9)];
    let expected = all(LIMITS, &in_turn);
    for order in [[1, 0, 2], [2, 1, 0], [1, 2, 0]] {
        let mut found = all(LIMITS, &order.map(|at| in_turn[at]));
        // The number is that of the first that was taken.
        found[0].id = 7;
        assert_eq!(found, expected, "{order:?}");
    }
    let pings = [icmp(asks, answers, 8, 0, 5, 1), icmp(answers, asks, 0, 0, 6, 2)];
    let mut found = all(LIMITS, &[pings[1], pings[0]]);
    found[0].id = 1;
    assert_eq!(found, all(LIMITS, &pings));
}

#[test]
fn silence_ends_a_conversation() {
    let (a, b) = (end(1, 40_000), end(2, 53));
    // By the next packet, also without a tick between.
    let heard = [udp(a, b, 0, 0), udp(b, a, 60 * SECOND - 1, 1), udp(b, a, 120 * SECOND - 1, 2)];
    let records = all(LIMITS, &heard);
    assert_eq!(records.len(), 2);
    assert_eq!((records[0].reason, records[0].duration_ns), (CloseReason::Idle, 60 * SECOND - 1));
    assert_eq!(records[1].originator, b, "whoever speaks first again");
    // By ticks, never before its time.
    let (mut table, _) = run(LIMITS, &heard[..2]);
    let mut records = Vec::new();
    for second in (0..300).step_by(7) {
        table.tick(at(second * SECOND, second), &mut |record, now| records.push((record, now)));
        assert_eq!(records.is_empty(), second < 120, "{second}");
    }
    assert_eq!(records.len(), 1);
    assert!(records[0].1.position < 190, "at the latest a time-out later: {}", records[0].1.position);
}

#[test]
fn room_is_made_where_it_is_most_silent() {
    let limits = ConversationLimits { conversations: 2, ..LIMITS };
    let heard = [
        udp(end(1, 1), end(9, 9), 1, 0),
        udp(end(2, 1), end(9, 9), 2, 1),
        udp(end(9, 9), end(1, 1), 3, 2),
        udp(end(3, 1), end(9, 9), 4, 3),
    ];
    let (table, records) = run(limits, &heard);
    assert_eq!(records.iter().map(|record| record.originator).collect::<Vec<_>>(), [end(2, 1)]);
    assert_eq!((table.open(), table.slab.len(), table.counters().evicted), (2, 2, 1));
    assert_eq!(table.counters().check(2), []);
}

#[test]
fn a_flood_takes_no_more_than_the_bound() {
    let limits = ConversationLimits { conversations: 100, ..LIMITS };
    let flood: Vec<_> =
        (0..10_000_u16).map(|n| udp(end((n >> 8) as u8, n), end(200, 53), n.into(), n.into())).collect();
    let (table, records) = run(limits, &flood);
    assert_eq!((table.open(), table.slab.len(), records.len()), (100, 100, 9_900));
    assert_eq!(table.index.len(), 100);
}

#[test]
fn messages_of_icmp_go_with_their_answers() {
    let (a, b) = (end(1, 0), end(2, 0));
    let records = all(
        LIMITS,
        &[
            icmp(a, b, 8, 0, 1, 0),
            icmp(b, a, 0, 0, 2, 1),
            // Port unreachable has no answer: one conversation for each direction, although type and code are alike.
            icmp(b, a, 3, 3, 3, 2),
            icmp(a, b, 3, 3, 4, 3),
            icmp(b, a, 3, 3, 5, 4),
        ],
    );
    let seen: Vec<_> = records
        .iter()
        .map(|record| {
            let ports = (record.originator.port, record.responder.port);
            (record.originator.address, ports, record.streams.map(|stream| stream.packets))
        })
        .collect();
    assert_eq!(seen, [(a.address, (8, 0), [1, 1]), (b.address, (3, 3), [2, 0]), (a.address, (3, 3), [1, 0])]);
    assert!(records.iter().all(|record| record.state.name() == "OTH" && record.history.is_empty()));
    let echo = community_id_icmp(a.address, b.address, IpProtocol::ICMP, 8, 0, 0);
    assert_eq!(records[0].community_id, echo);
}

/// What the table shall find, the slow way: packets of a conversation, cut where there was silence.
fn oracle(heard: &[Heard]) -> Vec<(u64, [u64; 2], u64)> {
    let mut by_key: BTreeMap<_, Vec<&Heard>> = BTreeMap::new();
    for packet in heard {
        by_key.entry(packet.name.key).or_default().push(packet);
    }
    let mut found = Vec::new();
    for packets in by_key.values() {
        let mut newest = 0;
        let mut parts: Vec<Vec<&Heard>> = Vec::new();
        for packet in packets {
            let time = packet.moment.time.0;
            match parts.last_mut() {
                Some(part) if time.saturating_sub(newest) < 60 * SECOND => part.push(packet),
                _ => {
                    newest = 0;
                    parts.push(vec![packet]);
                }
            }
            newest = newest.max(time);
        }
        for part in parts {
            let first = part.iter().min_by_key(|packet| packet.moment.time).unwrap();
            let forth = part.iter().filter(|packet| packet.side == first.side).count() as u64;
            let last = part.iter().map(|packet| packet.moment.time.0).max().unwrap();
            found.push((
                part[0].moment.position,
                [forth, part.len() as u64 - forth],
                last - first.moment.time.0,
            ));
        }
    }
    found.sort_unstable();
    found
}

proptest! {
    /// Any packets, ticks anywhere between them, and shared out over any number of tables: the same conversations,
    /// over at the same moments.
    #[test]
    fn tables_agree_with_the_oracle_and_with_one_another(
        packets in proptest::collection::vec((0..3_u8, 0..3_u8, 0..40_u64, 0..3_u64, any::<bool>()), 1..120),
        tables in 1..4_u64,
    ) {
        let mut clock = 1_000 * SECOND;
        let mut heard = Vec::new();
        let mut ticks = Vec::new();
        for (position, (from, to, ahead, behind, tick)) in packets.into_iter().enumerate() {
            clock += ahead * SECOND;
            // Packets are not always in the order of their times.
            let time = clock - behind * SECOND;
            heard.push(udp(end(from, 1), end(to, 2), time, position as u64));
            ticks.push(tick.then_some(at(clock, position as u64)));
        }
        let over = |tables: u64| {
            let mut all: Vec<_> = (0..tables).map(|seed| Conversations::new(LIMITS, seed)).collect();
            let mut records = Vec::new();
            let mut keep = |record: FlowRecord, now: Moment| records.push((now.position, record.id, record));
            for (packet, tick) in heard.iter().zip(&ticks) {
                let table = (packet.name.key.hash(5) % tables) as usize;
                all[table].take(packet, &mut keep);
                if let Some(now) = tick {
                    all.iter_mut().for_each(|table| table.tick(*now, &mut keep));
                }
            }
            for table in &mut all {
                table.finish(at(clock, heard.len() as u64), &mut keep);
                assert_eq!(table.counters().check(0), []);
            }
            records.sort_by_key(|(position, id, _)| (*position, *id));
            records
        };
        let one = over(1);
        let mut found: Vec<_> = one
            .iter()
            .map(|(_, id, record)| (*id, record.streams.map(|stream| stream.packets), record.duration_ns))
            .collect();
        found.sort_unstable();
        prop_assert_eq!(found, oracle(&heard));
        prop_assert_eq!(one, over(tables));
    }
}
