//! Thousands of exchanges in captures that lost, reordered and doubled packets: what was captured whole is reported exactly,
//! the rest with the right state, and nothing is paired with what it does not belong to.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic of a test is its report, in helpers as well")]

use std::collections::BTreeMap;

use gannet_flow::{FlowTable, Limits, Moment, Segment};
use gannet_http::{Counters, Exchange, Http, HttpConfig, Message, Sink, State};
use gannet_packet::Packet;
use gannet_pcap::SliceReader;
use gannet_testkit::conversation::{
    Body, Builder, Conversation, Peer, Request, Response, Setup, merge, pcap,
};
use gannet_testkit::random::Random;

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

/// The body of an exchange's messages: its number, over and over.
fn content(number: usize, len: usize) -> Vec<u8> {
    format!("[{number}]").into_bytes().into_iter().cycle().take(len).collect()
}

/// One connection with `count` exchanges from `first` on.
fn conversation(first: usize, count: usize, random: &mut Random) -> Conversation {
    let setup = Setup {
        mss: if random.below(4) == 0 { 200 } else { 1_448 },
        start_ns: Setup::default().start_ns + random.below(50_000_000),
        ..Setup::default().client_port(20_000 + (first / count) as u16).seed(random.next_u64())
    };
    let mut builder = Builder::new(setup);
    builder.handshake();
    for number in first..first + count {
        let target = format!("/exchange/{number}");
        let len = random.below(3_000) as usize + 8;
        let body = match random.below(3) {
            0 => Body::chunked(content(number, len), 700),
            _ => Body::length(content(number, len)),
        };
        let post = random.below(4) == 0;
        let mut request = Request::new(if post { "POST" } else { "GET" }, target, "impaired.example");
        if post {
            request = request.body(Body::length(content(number, random.below(4_000) as usize + 8)));
        }
        builder.request(&request).wait(random.below(1_000_000));
        builder.response(&Response::new(200, body).header("X-Number", number.to_string()));
        builder.wait(random.below(1_000_000));
    }
    builder.close(Peer::Client);
    builder.finish()
}

/// Damages a conversation, and says of which exchanges no packet is missing, by number.
fn impair(conversation: &mut Conversation, first: usize, loss: u64, random: &mut Random) -> Vec<bool> {
    for at in (1..conversation.packets().len()).rev() {
        // Neighbours change places, as two queues of a card do; the handshake keeps its own.
        let syn = |at: usize| conversation.packets()[at].flags & 2 != 0;
        if at > 3 && random.chance_in_million(10_000) && !syn(at) && !syn(at - 1) {
            conversation.reorder(at, at - 1);
        }
        if random.chance_in_million(10_000) {
            conversation.duplicate(at, random.below(3_000));
        }
        if at > 2 && random.chance_in_million(loss) {
            conversation.drop_packet(at);
        }
    }
    let mut whole = Vec::new();
    for truth in conversation.truth() {
        let number: usize = truth.facts.target.rsplit('/').next().unwrap().parse().unwrap();
        whole.resize(whole.len().max(number - first), false);
        whole.push(truth.whole);
    }
    whole
}

fn number(message: &Message) -> Option<usize> {
    let text = match message.head.status() {
        Some(_) => message.head.field("x-number")?,
        None => message.head.target().rsplit(|byte| *byte == b'/').next()?,
    };
    str::from_utf8(text).ok()?.parse().ok()
}

#[test]
fn what_was_captured_whole_is_reported_exactly() {
    let (connections, each) = (500, 20);
    let seed = std::env::var("GANNET_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_121);
    eprintln!("GANNET_SEED={seed}");
    let mut all_touched = 0;
    for loss in [0, 1_000, 10_000, 50_000] {
        let mut random = Random::new(seed ^ loss);
        let mut whole = Vec::new();
        let conversations: Vec<_> = (0..connections)
            .map(|connection| {
                let first = connection * each;
                let mut conversation = conversation(first, each, &mut random);
                let mut of_this = impair(&mut conversation, first, loss, &mut random);
                of_this.resize(each, false);
                whole.extend(of_this);
                conversation
            })
            .collect();
        let (exchanges, counters) = analyse(&pcap(merge(&conversations)));
        let mut found = BTreeMap::new();
        let mut states = BTreeMap::new();
        for exchange in &exchanges {
            *states.entry(exchange.state.name()).or_insert(0) += 1;
            let numbers = [&exchange.request, &exchange.response].map(|one| one.as_ref().and_then(number));
            if let [Some(asked), Some(answered)] = numbers {
                assert_eq!(asked, answered, "mis-paired at a loss of {loss}: {:?}", exchange.confidence);
            }
            for message in [&exchange.request, &exchange.response].into_iter().flatten() {
                // Bodies carry the number, too: framing never slipped.
                let Some(number) = number(message) else { continue };
                assert!(
                    content(number, 9_000).starts_with(&message.body),
                    "{number} at a loss of {loss}: {} {exchange:?}",
                    message.body.escape_ascii()
                );
            }
            if let Some(number) = numbers[0].or(numbers[1]) {
                found.entry(number).or_insert_with(Vec::new).push(exchange);
            }
        }
        let mut doubted = 0;
        let touched = whole.iter().filter(|whole| !**whole).count();
        for (number, _) in whole.iter().enumerate().filter(|(_, whole)| **whole) {
            let [exchange] = found.get(&number).map_or(&[][..], Vec::as_slice) else {
                panic!("{number} at a loss of {loss}: {:?}", found.get(&number))
            };
            let (request, response) = (exchange.request.as_ref(), exchange.response.as_ref());
            let Some((request, response)) = request.zip(response) else {
                panic!("{number} at a loss of {loss}: one half is missing, {:?}", exchange.state)
            };
            assert_eq!(exchange.state, State::Complete, "{number} at a loss of {loss}");
            assert!(request.complete && response.complete && response.gap_bytes == 0);
            assert!(response.body_is_whole() && request.body_is_whole(), "{number}");
            assert!(!exchange.untrusted.gap, "{number} at a loss of {loss}");
            // A neighbour's loss may leave a doubt, which is said and counted; it is never in the pairing itself.
            doubted += usize::from(exchange.untrusted.pairing);
        }
        // What was touched is there as well, unless nothing that names it is; and it never says that it is whole.
        for (number, _) in whole.iter().enumerate().filter(|(_, whole)| !**whole) {
            for exchange in found.get(&number).into_iter().flatten() {
                let messages = [&exchange.request, &exchange.response];
                let all = messages.iter().all(|one| one.as_ref().is_some_and(Message::body_is_whole));
                assert!(
                    exchange.state != State::Complete || !all,
                    "{number} at a loss of {loss}: {exchange:?}"
                );
            }
        }
        eprintln!("loss {loss}: {touched} touched, {doubted} others in doubt; {states:?}");
        assert_eq!(counters.exchanges, exchanges.len() as u64);
        if loss == 0 {
            assert_eq!((touched, doubted, exchanges.len()), (0, 0, connections * each));
        }
        all_touched += touched;
    }
    assert!(all_touched > 1_000, "{all_touched}");
}
