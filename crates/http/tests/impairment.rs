//! Thousands of exchanges in captures that lost, reordered and doubled packets of wires that lost others: what was
//! captured whole is reported exactly, the rest with the right state, and nothing is paired with what it does not
//! belong to.
//!
//! `GANNET_SEED` sets the first seed, `GANNET_SEEDS` how many from there on: each draws ten thousand exchanges and
//! the share of packets that the capture loses.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic of a test is its report, in helpers as well")]

use std::collections::BTreeMap;

use gannet_flow::{FlowTable, Limits, Moment, Segment};
use gannet_http::{Confidence, Counters, Exchange, Http, HttpConfig, Message, Sink, State};
use gannet_packet::Packet;
use gannet_pcap::SliceReader;
use gannet_testkit::impaired::{Pace, Plan, Sent, Traffic, content};
use gannet_testkit::random::Random;

/// On each connection.
const EXCHANGES: usize = 20;

#[derive(Default)]
struct Kept(Vec<Exchange>);

impl Sink for Kept {
    fn exchange(&mut self, exchange: Exchange) {
        self.0.push(exchange);
    }
}

fn analyse(capture: &[u8]) -> (Vec<Exchange>, Counters) {
    let mut reader = SliceReader::new(capture).unwrap();
    let config = HttpConfig { body: 1 << 20, ..HttpConfig::default() };
    let mut table = FlowTable::new(Limits::default(), 1, Http::new(config, Kept::default()));
    let mut position = 0;
    while let Some(packet) = reader.next_packet() {
        let decoded = Packet::decode(&packet.frame);
        if let Some(segment) = Segment::new(&packet.frame, &decoded, position) {
            table.segment(&segment);
        }
        position += 1;
        if position % 64 == 0 {
            table.tick(Moment { time: table.clock(), position });
        }
    }
    table.finish(Moment { time: table.clock(), position });
    assert_eq!(table.check(), []);
    let http = table.handler();
    assert_eq!(http.counters().check(), []);
    assert_eq!(http.kept_bytes(), 0);
    let counters = *http.counters();
    (std::mem::take(&mut http.sink().0), counters)
}

/// What is said of the exchanges that lost no packet.
#[derive(Clone, Copy, Debug, Default)]
struct Doubts {
    exchanges: usize,
    untouched: usize,
    /// With a pair that may not be one, by [`gannet_http::Untrusted::pairing`].
    doubted: usize,
    /// With less than the highest confidence.
    less_sure: usize,
    /// In two halves.
    apart: usize,
    /// With the wrong half.
    mispaired: usize,
}

/// The number of the exchange that a message is of.
fn number(message: &Message) -> Option<usize> {
    let text = match message.head.status() {
        Some(_) => message.head.field("x-number")?,
        None => message.head.target().rsplit(|byte| *byte == b'/').next()?,
    };
    str::from_utf8(text).ok()?.parse().ok()
}

/// Of clients that take turns, and of those that do not.
fn check(seed: u64, loss: u64, traffic: &Traffic) -> [Doubts; 2] {
    let (exchanges, counters) = analyse(&traffic.pcap);
    let context = |number: usize, sent: &Sent| {
        let pace = sent.pace;
        format!("GANNET_SEED={seed}, loss {loss}: {number} of connection {}, {pace:?}", sent.connection)
    };
    let mut doubts = [Doubts::default(); 2];
    let mut found: BTreeMap<usize, Vec<&Exchange>> = BTreeMap::new();
    for exchange in &exchanges {
        let messages = [&exchange.request, &exchange.response];
        let numbers = messages.map(|one| one.as_ref().and_then(number));
        if let [Some(asked), Some(answered)] = numbers {
            let sent = &traffic.sent[asked];
            // Of a client that does not take turns and whose first requests are missing all others look as if it did:
            // that it was not seen to is said.
            let marked = exchange.confidence == Confidence::Low && exchange.untrusted.pairing;
            let unproven = matches!(sent.pace, Pace::Window(_)) && marked;
            let context = context(asked, sent);
            assert!(asked == answered || unproven, "{context}: {answered}, {:?}", exchange.confidence);
            doubts[1].mispaired += usize::from(asked != answered);
        }
        for message in messages.into_iter().flatten() {
            // Bodies carry the number, too: framing never slipped.
            let Some(number) = number(message) else { continue };
            let whole = content(number, 30_000);
            let context = context(number, &traffic.sent[number]);
            assert!(whole.starts_with(&message.body), "{context}: {exchange:?}");
        }
        if let Some(number) = numbers[0].or(numbers[1]) {
            found.entry(number).or_default().push(exchange);
        }
    }
    let turn_len = |turn: usize| traffic.sent[turn..].iter().take_while(|sent| sent.turn == turn).count();
    for (number, sent) in traffic.sent.iter().enumerate() {
        let context = context(number, sent);
        let doubts = &mut doubts[usize::from(matches!(sent.pace, Pace::Window(_)))];
        doubts.exchanges += 1;
        let of_this = found.get(&number).map_or(&[][..], Vec::as_slice);
        if sent.too_late {
            continue;
        }
        if !sent.whole {
            // What was touched is there as well, unless nothing that names it is; and it never says that it is whole.
            let turns = !matches!(sent.pace, Pace::Window(_));
            for exchange in of_this.iter().filter(|one| turns || one.confidence != Confidence::Low) {
                let messages = [&exchange.request, &exchange.response];
                let whole = messages.iter().all(|one| one.as_ref().is_some_and(Message::body_is_whole));
                let interim = sent.interim.is_some() && exchange.interim.is_empty();
                assert!(exchange.state != State::Complete || !whole || interim, "{context}: {exchange:?}");
            }
            continue;
        }
        doubts.untouched += 1;
        // Where requests and responses of a pipeline are missing side by side, nobody can tell how many of each.
        let next_turn = sent.turn + turn_len(sent.turn);
        let beside = |other: &&Sent| {
            other.connection == sent.connection
                && (sent.turn == other.turn || other.number + 1 == sent.turn || other.number == next_turn)
        };
        let near = number.saturating_sub(8)..(number + 8).min(traffic.sent.len());
        let missing =
            traffic.sent[near].iter().filter(beside).filter(|other| !other.whole || other.too_late).count();
        let is_last = traffic.sent.get(next_turn).is_none_or(|next| next.connection != sent.connection);
        let missing = missing + usize::from(is_last && !sent.closed);
        let untellable = match sent.pace {
            Pace::Single => false,
            Pace::Batches(_) | Pace::Mixed => missing > 1,
            Pace::Window(_) => loss > 0,
        };
        let [exchange] = of_this else {
            let halves: Vec<_> = of_this.iter().map(|one| (one.state, one.reason, one.index)).collect();
            assert!(untellable && of_this.len() == 2, "{context}: {halves:?}");
            doubts.apart += 1;
            continue;
        };
        let (Some(request), Some(response)) = (&exchange.request, &exchange.response) else {
            assert!(untellable, "{context}: one half is missing, {:?} {:?}", exchange.state, exchange.reason);
            doubts.apart += 1;
            continue;
        };
        if untellable && response.head.field("x-number") != Some(number.to_string().as_bytes()) {
            continue;
        }
        assert_eq!(exchange.state, State::Complete, "{context}");
        assert_eq!(request.head.method(), sent.method.as_bytes(), "{context}");
        assert_eq!(request.head.target(), sent.target.as_bytes(), "{context}");
        assert_eq!(request.head.field("host"), Some(&b"impaired.example"[..]), "{context}");
        assert_eq!(response.head.status(), Some(sent.status), "{context}");
        let bodies = [request, response].map(|message| message.body_bytes as usize);
        assert_eq!(bodies, [sent.request_body, sent.response_body], "{context}");
        assert!(request.body_is_whole() && response.body_is_whole(), "{context}");
        let untrusted = exchange.untrusted;
        assert!(!untrusted.gap && !untrusted.midstream, "{context}: {untrusted:?}");
        let edges = untrusted.retransmitted || untrusted.early_answer;
        assert!(!edges || sent.disturbed, "{context}: {untrusted:?}");
        // What comes before the first loss shows what a client does: a turn, and the request that opens the next one.
        // Of one that pipelines it takes a few: one that never waits for all answers has them now and then.
        let first = number - number % EXCHANGES;
        let shown = match sent.pace {
            Pace::Single => 2,
            Pace::Batches(1) => 2,
            Pace::Batches(count) => 3 * count + 1,
            Pace::Mixed | Pace::Window(_) => EXCHANGES,
        };
        let shown = traffic.sent[first..first + shown].iter().all(|one| one.whole && !one.too_late);
        assert!(!untrusted.pairing || !shown, "{context}: {exchange:?}");
        doubts.doubted += usize::from(untrusted.pairing);
        doubts.less_sure += usize::from(exchange.confidence != Confidence::High);
    }
    assert_eq!(counters.exchanges, exchanges.len() as u64);
    if loss == 0 {
        assert_eq!(exchanges.len(), traffic.sent.len());
    }
    doubts
}

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn what_was_captured_whole_is_reported_exactly() {
    let first = from_environment("GANNET_SEED", 20_261_121);
    let (mut touched, mut untouched, mut doubted) = (0, 0, 0);
    let drawn = (first..first + from_environment("GANNET_SEEDS", 3))
        .map(|seed| (seed, Random::new(seed).below(LOSS_MAX + 1)));
    for (seed, loss) in [(first, 0), (first, LOSS_MAX)].into_iter().chain(drawn) {
        let traffic = Traffic::draw(seed, &Plan { capture_loss: loss, ..PLAN });
        let doubts = check(seed, loss, &traffic);
        eprintln!("GANNET_SEED={seed}, {loss} of a million packets lost");
        eprintln!("  clients that take turns: {:?}\n  others:                  {:?}", doubts[0], doubts[1]);
        touched += doubts.iter().map(|doubts| doubts.exchanges - doubts.untouched).sum::<usize>();
        untouched += doubts[0].untouched;
        doubted += doubts[0].doubted;
    }
    assert!(touched > 500, "{touched}");
    // What takes turns is believed but for a few that were never seen to.
    assert!(doubted * 10 < untouched, "{doubted} of {untouched}");
}

/// Ten thousand exchanges; every rate in a million.
const PLAN: Plan = Plan {
    connections: 500,
    exchanges: EXCHANGES,
    capture_loss: 0,
    wire_loss: 5_000,
    disorder: 10_000,
    copies: 10_000,
};
/// 5 %.
const LOSS_MAX: u64 = 50_000;
