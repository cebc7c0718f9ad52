//! HTTP traffic as a load generator makes it, on wires that lose packets, in captures that lose others.
//!
//! ```text
//!   seed, Plan ─► connections ─► Dialogue (loss on the wire: sent again) ─► damage (loss of the capture, disorder, copies)
//!                                    │                                          │
//!                                    └── where each exchange's bytes lie ───────┴──► Sent: what was sent, what was captured of it
//! ```
//! Every exchange has a number. Its target, a field of its response and both bodies carry it, so that whoever pairs
//! wrongly or slips in framing is found out by the records alone.

use std::ops::Range;

use crate::conversation::{
    Body, Conversation, Dialogue, Manner, PATIENCE, Packet, Peer, Request, Response, Setup, flags, merge,
    pcap,
};
use crate::random::Random;

/// What is to be drawn.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Connections, each with `exchanges` of them.
    pub connections: usize,
    /// Exchanges on each connection.
    pub exchanges: usize,
    /// How many of a million packets the capture misses.
    pub capture_loss: u64,
    /// How many of a million segments are lost on the wire.
    pub wire_loss: u64,
    /// How many of a million packets are captured late, by up to 300 µs.
    pub disorder: u64,
    /// How many of a million packets are captured twice.
    pub copies: u64,
}

/// How a client sends its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Each when the one before is answered.
    Single,
    /// So many at once, and the next ones when all of them are answered.
    Batches(usize),
    /// Batches of one to four.
    Mixed,
    /// So many are always under way: with every answer the next one is sent. After a loss nobody can tell which
    /// answer is whose.
    Window(usize),
}

/// Traffic and what was captured of it.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// The capture, as a classic pcap file.
    pub pcap: Vec<u8>,
    /// Every exchange, by number.
    pub sent: Vec<Sent>,
}

/// One exchange.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Sent {
    pub number: usize,
    pub connection: usize,
    pub pace: Pace,
    /// The number of the first one that was asked for in the same go.
    pub turn: usize,
    pub method: &'static str,
    pub target: String,
    pub status: u16,
    pub interim: Option<u16>,
    /// Bytes of the bodies, without the framing of chunks.
    pub request_body: usize,
    pub response_body: usize,
    /// The client's FIN, behind the connection's last exchange, was captured.
    pub closed: bool,
    /// Every byte of both messages and of the interim response was captured.
    pub whole: bool,
    /// Some of it was captured so late that a reader may have given it up, or not.
    pub too_late: bool,
    /// Some of it was captured late, out of order, or more than once; or the answer before the request.
    pub disturbed: bool,
}

impl Traffic {
    /// The traffic of a seed.
    pub fn draw(seed: u64, plan: &Plan) -> Self {
        let mut random = Random::new(seed);
        let (mut conversations, mut sent) = (Vec::new(), Vec::new());
        for connection in 0..plan.connections {
            // Numbers of its own, so that one connection can be looked at without the others.
            let mut own = Random::new(random.next_u64());
            let (conversation, of_this) = one(connection, plan, &mut own);
            conversations.push(conversation);
            sent.extend(of_this);
        }
        Self { pcap: pcap(merge(&conversations)), sent }
    }
}

/// The body of the messages of an exchange: its number, over and over. It may end in the beginning of a method.
pub fn content(number: usize, bytes: usize) -> Vec<u8> {
    format!("[{number}]POGE").into_bytes().into_iter().cycle().take(bytes).collect()
}

/// An exchange that is to be sent.
struct Script {
    sent: Sent,
    request: Vec<u8>,
    response: Vec<u8>,
    /// Where it lies in both streams.
    spans: [Range<u64>; 2],
}

fn one(connection: usize, plan: &Plan, random: &mut Random) -> (Conversation, Vec<Sent>) {
    let pace = match random.below(10) {
        0..5 => Pace::Single,
        5..8 => Pace::Batches(random.between(2, 6) as usize),
        8 => Pace::Mixed,
        _ => Pace::Window(random.between(2, 4) as usize),
    };
    let port = 10_000 + (connection % 50_000) as u16;
    let start_ns = Setup::default().start_ns + random.below(50_000_000);
    let setup = Setup { start_ns, ..Setup::default().client_port(port).seed(random.next_u64()) };
    let longest = [200, 536, 1_448, 1_448][random.below(4) as usize];
    let manner =
        Manner { segment_bytes: [longest, longest], lost: plan.wire_loss, frugal: true, ..Manner::default() };
    let manner = Manner { latency_ns: 1 + random.below(500_000), ..manner };
    let first = connection * plan.exchanges;
    let mut scripts: Vec<Script> =
        (first..first + plan.exchanges).map(|number| script(connection, number, pace, random)).collect();
    let mut written = [0, 0];
    for script in &mut scripts {
        for (from, bytes) in [(0, &script.request), (1, &script.response)] {
            script.spans[from] = written[from]..written[from] + bytes.len() as u64;
            written[from] = script.spans[from].end;
        }
    }
    let mut dialogue = Dialogue::new(setup, manner);
    dialogue.open();
    talk(&mut dialogue, &mut scripts, pace, random);
    dialogue.close(Peer::Client);
    let mut conversation = dialogue.finish();
    // The packets that open a connection name its client; without them it is one that began before the capture.
    let opening: Vec<_> = conversation.packets().iter().take(3).cloned().collect();
    conversation.lose(random, plan.capture_loss);
    for packet in opening {
        if !conversation.packets().contains(&packet) {
            conversation.capture_again(packet);
        }
    }
    conversation.doubled(random, plan.copies, 3_000);
    conversation.jitter(random, plan.disorder, 300_000);
    let sent = scripts.iter().map(|script| captured(script, &conversation)).collect();
    (conversation, sent)
}

/// Everything that is said between the handshake and the end.
fn talk(dialogue: &mut Dialogue, scripts: &mut [Script], pace: Pace, random: &mut Random) {
    let (mut asked, mut answered) = (0, 0);
    while answered < scripts.len() {
        let more = match pace {
            _ if asked > answered && !matches!(pace, Pace::Window(_)) => 0,
            Pace::Single => 1,
            Pace::Batches(count) => count,
            Pace::Mixed => random.between(1, 4) as usize,
            Pace::Window(count) => answered + count - asked,
        };
        let until = (asked + more).min(scripts.len());
        let requests: Vec<u8> = scripts[asked..until].iter().flat_map(|one| one.request.clone()).collect();
        if !requests.is_empty() {
            dialogue.tell(Peer::Client, &requests).pause(random.below(1_000_000));
        }
        if let Some(turn) = scripts.get(asked).map(|first| first.sent.turn) {
            scripts[asked..until].iter_mut().for_each(|one| one.sent.turn = turn);
        }
        asked = until;
        // Answers of a batch share segments now and then.
        let together =
            if matches!(pace, Pace::Window(_)) { 1 } else { random.between(1, (asked - answered) as u64) };
        let until = answered + together as usize;
        let responses: Vec<u8> =
            scripts[answered..until].iter().flat_map(|one| one.response.clone()).collect();
        dialogue.tell(Peer::Server, &responses).pause(random.below(500_000));
        answered = until;
    }
}

fn script(connection: usize, number: usize, pace: Pace, random: &mut Random) -> Script {
    let target = format!("/exchange/{number}");
    let method = ["GET", "GET", "GET", "POST", "PUT", "HEAD"][random.below(6) as usize];
    let mut request = Request::new(method, target.clone(), "impaired.example");
    let len = [0, 9, 300, 4_000][random.below(4) as usize];
    let len = 8 + random.below(len + 1) as usize;
    let mut request_body = 0;
    if matches!(method, "POST" | "PUT") {
        request_body = len;
        let content = content(number, request_body);
        let chunked = random.below(3) == 0;
        request = request.body(if chunked { Body::chunked(content, 333) } else { Body::length(content) });
    }
    let status = [200, 200, 200, 200, 404, 201, 204, 304][random.below(8) as usize];
    let longest = [0, 40, 3_000, 20_000][random.below(4) as usize];
    let len = 8 + random.below(longest + 1) as usize;
    let bodyless = method == "HEAD" || matches!(status, 204 | 304);
    let body = match random.below(3) {
        _ if status == 204 => Body::None,
        _ if bodyless => Body::Announced(len as u64),
        0 => Body::chunked(content(number, len), 700),
        _ => Body::length(content(number, len)),
    };
    let response = Response::new(status, body).header("X-Number", number.to_string());
    let interim = match random.below(20) {
        0 => Some(100),
        1 => Some(103),
        _ => None,
    };
    let mut bytes = Vec::new();
    if let Some(status) = interim {
        Response::new(status, Body::None).encode(&mut bytes);
    }
    response.encode(&mut bytes);
    let mut request_bytes = Vec::new();
    request.encode(&mut request_bytes);
    let response_body = if bodyless { 0 } else { len };
    let sent = Sent {
        number,
        connection,
        pace,
        turn: number,
        method,
        target,
        status,
        interim,
        request_body,
        response_body,
        closed: false,
        whole: false,
        too_late: false,
        disturbed: false,
    };
    Script { sent, request: request_bytes, response: bytes, spans: [0..0, 0..0] }
}

/// What the capture has of an exchange.
fn captured(script: &Script, conversation: &Conversation) -> Sent {
    let mut sent = script.sent.clone();
    let fin = |packet: &Packet| packet.from == Peer::Client && packet.flags & flags::FIN != 0;
    sent.closed = conversation.packets().iter().any(fin);
    let mut seen = [vec![0_u8; script.request.len()], vec![0; script.response.len()]];
    let mut newest = [0, 0];
    let mut answer_began = false;
    let packets = conversation.packets();
    for (place, packet) in packets.iter().enumerate().filter(|(_, packet)| !packet.range.is_empty()) {
        let from = packet.from as usize;
        let span = &script.spans[from];
        let part = packet.range.start.max(span.start)..packet.range.end.min(span.end);
        let late = packet.range.start < newest[from];
        newest[from] = newest[from].max(packet.range.end);
        if part.is_empty() {
            continue;
        }
        if packet.copy && seen[from][(part.start - span.start) as usize] > 0 {
            // One that comes far behind looks like a packet that was sent again.
            let same_way = packets[..place].iter().rev().filter(|other| other.from == packet.from);
            sent.disturbed |= same_way.take_while(|other| other.range != packet.range).count() >= COPY_BEHIND;
            continue;
        }
        // What fills a hole may bring again what lies behind it, and is late all the same.
        let seen_before = &seen[from][(part.start - span.start) as usize..(part.end - span.start) as usize];
        let first_new = seen_before.iter().position(|times| *times == 0).map(|at| part.start + at as u64);
        let overtakes = |other: &&Packet| {
            other.from == packet.from && first_new.is_some_and(|first| other.range.start > first)
        };
        let overtaken = packets.iter().filter(|_| late).find(overtakes);
        sent.too_late |= overtaken.is_some_and(|other| packet.time_ns > other.time_ns + PATIENCE.waited_ns);
        sent.disturbed |= late || answer_began && packet.from == Peer::Client;
        answer_began |= packet.from == Peer::Server;
        for byte in part {
            let times = &mut seen[from][(byte - span.start) as usize];
            *times = times.saturating_add(1);
        }
    }
    sent.whole = !seen.iter().flatten().any(|times| *times == 0);
    sent.disturbed |= seen.iter().flatten().any(|times| *times > 1);
    sent
}

/// Behind so many packets of its direction nobody needs to know a copy for one.
const COPY_BEHIND: usize = 3;
