//! Any two-way TCP conversation from a few words.
//!
//! ```text
//!   Dialogue ── open, say, say together, pause, probe, close, abort ──► Conversation ── damage ──► what was captured
//!      │                                                                  (packets,
//!      └── how: lengths of segments, latency, losses on the wire,          streams)
//!          what is sent again and how it is cut, who acknowledges when
//! ```
//! Where [`Builder`](super::Builder) sends what it is told, packet by packet, here two ends talk: segments are sent
//! and get lost, receivers acknowledge what they have without a hole, senders repeat what was lost, cut anew. The
//! capture point lies between them. So every acknowledgement in the result is one that a receiver would give, which
//! is what a reader of the capture relies on when it decides whether bytes are missing in the capture or were missing
//! on the wire.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Conversation, Packet, Peer, Segment, Setup, Wire, flags};
use crate::random::Random;

/// How the two ends and the way between them behave.
#[derive(Clone, Debug)]
pub struct Manner {
    /// Payload bytes of a segment, between these two.
    pub segment_bytes: [usize; 2],
    /// From the capture point to the receiver, in ns; up to as much is added at random.
    pub latency_ns: u64,
    /// How many of a million segments are lost on the wire, by halves in front of the capture point and behind it.
    pub lost: u64,
    /// What is lost is sent again, until it arrives. Otherwise it never is, and what was behind it is acknowledged
    /// never.
    pub repeats: bool,
    /// Of what the other end has nothing is sent again together with what is lost.
    pub frugal: bool,
    /// How many of a million segments are sent again without need, with the same bytes.
    pub needless: u64,
    /// How many of a million are sent again with other bytes, to nobody's good.
    pub forged: u64,
    /// How many of a million segments have the urgent flag.
    pub urgent: u64,
}

impl Default for Manner {
    /// Segments of up to 1448 bytes, 1 ms away, nothing lost.
    fn default() -> Self {
        Self {
            segment_bytes: [1, 1_448],
            latency_ns: 1_000_000,
            lost: 0,
            repeats: true,
            frugal: false,
            needless: 0,
            forged: 0,
            urgent: 0,
        }
    }
}

/// Two ends that talk.
#[derive(Clone, Debug)]
pub struct Dialogue {
    wire: Wire,
    random: Random,
    manner: Manner,
    now_ns: u64,
    gap_ns: u64,
    ends: [End; 2],
    queue: BTreeMap<(u64, u64), Event>,
    events: u64,
    packets: Vec<Packet>,
}

/// One end: what it sends, and what it has of the other's stream.
#[derive(Clone, Debug, Default)]
struct End {
    stream: Vec<u8>,
    /// What has been sent at least once.
    sent: u64,
    fin_sent: bool,
    /// Of the other's stream, byte by byte.
    received: Vec<bool>,
    /// How much of it has come without a hole.
    whole: u64,
    fin_received: bool,
    /// Segments that have not been acknowledged.
    owed: u32,
    syn_received: bool,
    window: u16,
}

impl End {
    /// Position of what it wants next.
    fn wants(&self, other: &Self) -> u64 {
        let fin = self.fin_received && self.whole == other.stream.len() as u64;
        u64::from(self.syn_received) + self.whole + u64::from(fin)
    }
}

/// What happens at a time.
#[derive(Clone, Debug)]
enum Event {
    /// An end sends bytes of its stream, and its FIN; how often it has sent them before.
    Send { from: Peer, range: Range<u64>, fin: bool, times: u32 },
    /// They arrive at an end.
    Receive { at: Peer, range: Range<u64>, fin: bool },
    /// An end acknowledges, if it owes it.
    Acknowledge { from: Peer },
}

impl Dialogue {
    /// Two ends that have not said anything.
    pub fn new(setup: Setup, manner: Manner) -> Self {
        let mut random = Random::new(setup.seed);
        let wire = Wire::new(setup.route.clone(), setup.isn, &mut random);
        let end = || End { window: WINDOW, ..End::default() };
        Self {
            wire,
            random,
            manner,
            now_ns: setup.start_ns,
            gap_ns: setup.gap_ns.max(1),
            ends: [end(), end()],
            queue: BTreeMap::new(),
            events: 0,
            packets: Vec::new(),
        }
    }

    /// SYN, SYN ACK, ACK; each perhaps sent again.
    pub fn open(&mut self) -> &mut Self {
        self.open_with(0)
    }

    /// The same with so many bytes in the SYN (TCP fast open), which the server takes.
    pub fn open_with(&mut self, syn_bytes: usize) -> &mut Self {
        let written = self.write(Peer::Client, syn_bytes);
        let again = |random: &mut Random, share| 1 + u32::from(random.chance_in_million(share));
        for _ in 0..again(&mut self.random, self.manner.needless) {
            self.push(Peer::Client, flags::SYN, 0, written.clone(), None);
            self.pass();
        }
        self.ends[0].sent = written.end;
        self.receive(Peer::Server, &written, false);
        self.ends[1].syn_received = true;
        for _ in 0..again(&mut self.random, self.manner.needless) {
            self.push(Peer::Server, flags::SYN | flags::ACK, 0, 0..0, None);
            self.pass();
        }
        self.ends[0].syn_received = true;
        self.acknowledge(Peer::Client);
        self.ends[1].owed = 0;
        self
    }

    /// An end says so many bytes, drawn at random, and the other has them, as far as that can be.
    pub fn say(&mut self, from: Peer, bytes: usize) -> &mut Self {
        self.begin(from, bytes, self.now_ns);
        self.run()
    }

    /// An end says these bytes.
    pub fn tell(&mut self, from: Peer, bytes: &[u8]) -> &mut Self {
        let stream = &mut self.ends[from as usize].stream;
        let start = stream.len() as u64;
        stream.extend_from_slice(bytes);
        let end = stream.len();
        self.ends[from.other() as usize].received.resize(end, false);
        self.plan_segments(from, start..end as u64, self.now_ns);
        self.run()
    }

    /// Both talk at once.
    pub fn say_together(&mut self, bytes: [usize; 2]) -> &mut Self {
        for from in [Peer::Client, Peer::Server] {
            let start = self.now_ns + self.random.below(self.gap_ns);
            self.begin(from, bytes[from as usize], start);
        }
        self.run()
    }

    /// Lets time pass.
    pub fn pause(&mut self, ns: u64) -> &mut Self {
        self.now_ns += ns;
        self
    }

    /// A keep-alive probe: one position before the next, without payload or with a byte that is there to be refused.
    /// The other end answers.
    pub fn keep_alive(&mut self, from: Peer, byte: bool) -> &mut Self {
        let end = &self.ends[from as usize];
        let at = end.sent;
        if at == 0 || end.fin_sent {
            return self;
        }
        let range = if byte { at - 1..at } else { 0..0 };
        self.push(from, flags::ACK, at, range, None);
        self.pass();
        self.acknowledge(from.other())
    }

    /// `from` can take nothing for a while: it says so, is asked with a byte or without, and can again.
    pub fn stall(&mut self, from: Peer, ns: u64) -> &mut Self {
        self.ends[from as usize].window = 0;
        self.acknowledge(from).pause(ns);
        self.keep_alive(from.other(), false);
        self.ends[from as usize].window = WINDOW;
        self.acknowledge(from)
    }

    /// A RST whose sequence number is nobody's: it ends nothing.
    pub fn blind_reset(&mut self, from: Peer) -> &mut Self {
        let position = 1 + self.ends[from as usize].sent + BLIND_DISTANCE;
        self.push(from, flags::RST, position, 0..0, None);
        self.pass()
    }

    /// `from` ends its stream, then the other.
    pub fn close(&mut self, from: Peer) -> &mut Self {
        self.end(from).end(from.other())
    }

    /// `from` ends its stream.
    pub fn end(&mut self, from: Peer) -> &mut Self {
        if !self.ends[from as usize].fin_sent {
            let at = self.ends[from as usize].stream.len() as u64;
            self.ends[from as usize].fin_sent = true;
            self.plan(self.now_ns, Event::Send { from, range: at..at, fin: true, times: 0 });
        }
        self.run()
    }

    /// `from` ends everything at once.
    pub fn abort(&mut self, from: Peer) -> &mut Self {
        let position = 1 + self.ends[from as usize].sent + u64::from(self.ends[from as usize].fin_sent);
        self.push(from, flags::RST | flags::ACK, position, 0..0, None);
        self.pass()
    }

    /// What was said, as a capture that misses nothing has it.
    pub fn finish(&self) -> Conversation {
        Conversation {
            wire: self.wire.clone(),
            streams: self.ends.each_ref().map(|end| end.stream.clone()),
            packets: self.packets.clone(),
            exchanges: Vec::new(),
            handshake: None,
            snaplen: None,
        }
    }

    /// Appends random bytes to a stream; returns where they are.
    fn write(&mut self, from: Peer, bytes: usize) -> Range<u64> {
        let stream = &mut self.ends[from as usize].stream;
        let start = stream.len();
        while stream.len() < start + bytes {
            let word = self.random.next_u64().to_le_bytes();
            stream.extend(&word[..word.len().min(start + bytes - stream.len())]);
        }
        self.ends[from.other() as usize].received.resize(start + bytes, false);
        start as u64..(start + bytes) as u64
    }

    /// Writes a message and plans its segments.
    fn begin(&mut self, from: Peer, bytes: usize, start_ns: u64) {
        let written = self.write(from, bytes);
        self.plan_segments(from, written, start_ns);
    }

    fn plan_segments(&mut self, from: Peer, written: Range<u64>, start_ns: u64) {
        let [low, high] = self.manner.segment_bytes.map(|bytes| bytes.max(1) as u64);
        let (mut at, mut time) = (written.start, start_ns);
        while at < written.end {
            let end = written.end.min(at + self.random.between(low, high));
            self.plan(time, Event::Send { from, range: at..end, fin: false, times: 0 });
            at = end;
            time += self.gap_ns + self.random.below(self.gap_ns);
        }
    }

    fn plan(&mut self, time_ns: u64, event: Event) {
        self.events += 1;
        self.queue.insert((time_ns.max(self.now_ns), self.events), event);
    }

    /// Lets everything happen that is planned.
    fn run(&mut self) -> &mut Self {
        while let Some(((time, _), event)) = self.queue.pop_first() {
            self.now_ns = self.now_ns.max(time);
            match event {
                Event::Send { from, range, fin, times } => self.send(from, range, fin, times),
                Event::Receive { at, range, fin } => {
                    self.receive(at, &range, fin);
                    let at_once = fin || self.ends[at as usize].owed > 1 || self.random.below(3) == 0;
                    let wait = if at_once { 0 } else { 20 * self.gap_ns };
                    self.plan(self.now_ns + wait, Event::Acknowledge { from: at });
                }
                Event::Acknowledge { from } => {
                    if self.ends[from as usize].owed > 0 {
                        self.acknowledge(from);
                    }
                }
            }
        }
        self.pass()
    }

    fn send(&mut self, from: Peer, range: Range<u64>, fin: bool, times: u32) {
        let end = &mut self.ends[from as usize];
        end.sent = end.sent.max(range.end);
        let lost = self.random.chance_in_million(self.manner.lost) && times < 5;
        let seen = !lost || self.random.below(2) == 0;
        let position = 1 + range.start;
        let urgent = if self.random.chance_in_million(self.manner.urgent) { flags::URG } else { 0 };
        let bits = flags::ACK | flags::PSH | urgent | if fin { flags::FIN } else { 0 };
        if seen {
            self.push(from, bits, position, range.clone(), None);
        }
        let latency = self.manner.latency_ns + self.random.below(self.manner.latency_ns + 1);
        let at = from.other();
        if !lost {
            self.plan(self.now_ns + latency, Event::Receive { at, range: range.clone(), fin });
        } else if self.manner.repeats {
            self.repeat(from, range.clone(), fin, times + 1);
        }
        if !range.is_empty() && self.random.chance_in_million(self.manner.needless) {
            self.plan(self.now_ns + 4 * latency, Event::Send { from, range: range.clone(), fin, times: 9 });
        }
        if seen && !range.is_empty() && self.random.chance_in_million(self.manner.forged) {
            let start = self.random.between(range.start, range.end - 1);
            let forged = self.bytes(from, &(start..range.end)).iter().map(|byte| byte ^ 0x15).collect();
            self.push(from, flags::ACK, 1 + start, start..range.end, Some(forged));
        }
    }

    /// Plans to send again what was lost, as it was or cut anew.
    fn repeat(&mut self, from: Peer, range: Range<u64>, fin: bool, times: u32) {
        let later = self.now_ns + 4 * self.manner.latency_ns + RETRANSMIT_NS * u64::from(times);
        let middle = self.random.between(range.start, range.end);
        let sent = self.ends[from as usize].sent;
        match self.random.below(4) {
            0 if range.start < middle && middle < range.end => {
                self.plan(later, Event::Send { from, range: range.start..middle, fin: false, times });
                self.plan(later, Event::Send { from, range: middle..range.end, fin, times });
            }
            1 if !fin && range.end < sent => {
                let end = sent.min(range.end + 700);
                self.plan(later, Event::Send { from, range: range.start..end, fin, times });
            }
            2 => {
                let known = if self.manner.frugal { self.ends[from.other() as usize].whole } else { 0 };
                let start = range.start.saturating_sub(300).max(known.min(range.start));
                self.plan(later, Event::Send { from, range: start..range.end, fin, times });
            }
            _ => self.plan(later, Event::Send { from, range, fin, times }),
        }
    }

    fn receive(&mut self, at: Peer, range: &Range<u64>, fin: bool) {
        let end = &mut self.ends[at as usize];
        end.received[range.start as usize..range.end as usize].fill(true);
        let more = end.received[end.whole as usize..].iter().take_while(|received| **received).count();
        end.whole += more as u64;
        end.fin_received |= fin;
        end.owed += 1;
    }

    fn acknowledge(&mut self, from: Peer) -> &mut Self {
        let end = &self.ends[from as usize];
        let position = 1 + end.sent + u64::from(end.fin_sent && end.sent == end.stream.len() as u64);
        self.push(from, flags::ACK, position, 0..0, None);
        self.pass()
    }

    /// The time of one packet.
    fn pass(&mut self) -> &mut Self {
        self.now_ns += self.gap_ns + self.random.below(self.gap_ns);
        self
    }

    fn bytes(&self, from: Peer, range: &Range<u64>) -> Vec<u8> {
        self.ends[from as usize].stream[range.start as usize..range.end as usize].to_vec()
    }

    /// A packet passes the capture point; with the stream's bytes unless others are given.
    fn push(&mut self, from: Peer, flags: u8, position: u64, range: Range<u64>, forged: Option<Vec<u8>>) {
        let ack = self.ends[from as usize].wants(&self.ends[from.other() as usize]);
        let window = self.ends[from as usize].window;
        let payload = forged.unwrap_or_else(|| self.bytes(from, &range));
        let mut frame = Vec::new();
        let segment = Segment { flags, position, ack, window, payload: &payload };
        self.wire.write(&mut frame, self.now_ns, from, &segment);
        let clock = self.wire.clock(from, self.now_ns);
        self.wire.hear(from.other(), clock);
        self.ends[from as usize].owed = 0;
        self.packets.push(Packet {
            time_ns: self.now_ns,
            orig_len: frame.len() as u32,
            frame,
            from,
            flags,
            range,
            position,
            ack,
            window,
            sending: self.packets.len() as u64,
            copy: false,
        });
    }
}

/// 512 KiB, in units of the window scale: more than is ever in flight here.
const WINDOW: u16 = 4_096;
/// What a sender waits at least until it sends again.
const RETRANSMIT_NS: u64 = 200_000_000;
/// Farther than any window reaches, nearer than half of the sequence numbers.
const BLIND_DISTANCE: u64 = 0x6000_0000;
