//! A capture as a busy server would give it: many keep-alive connections at once, and the truth of every exchange.
//!
//! A small simulation. Every connection has two ends that react to what arrives, each packet is an event at its own
//! time, and one queue holds the events of all connections, so the file is in the order of time by construction:
//!
//! ```text
//!   think ─► request ─► segments ──tap──► arrival at the server ─► service time ─► response ─► segments ──tap──► arrival
//!                          ▲                     │ every second: ACK ──tap──► arrival: window opens ▲               │
//!                          └─────────────────────┴──────────────────────────────────────────────────┴── think ◄─────┘
//! ```
//! The tap is at the server: what the server does in answer to a packet is seen some microseconds later, what the
//! client does a round trip later. Senders start with ten segments and open up as acknowledgements come; an odd segment
//! is acknowledged after 40 ms or with the next data. Nothing is lost, reordered or sent twice: damage is the
//! business of [`crate::conversation`].
//!
//! The same [`Plan`] gives the same bytes.

mod traffic;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};

use gannet_packet::{LinkType, Timestamp};
use gannet_pcap::classic::{self, Precision};
use serde::Serialize;

use crate::conversation::{Layout, Peer, Response, Route, SNAPLEN, Segment, Span, WINDOW, Wire, flags};
use crate::random::Random;
use crate::truth::{Facts, Handshake, ResponseFacts, TcpTruth, Times, Truth};
use traffic::{Traffic, Visitor, log_normal};

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Decides everything that is drawn.
    pub seed: u64,
    /// Bytes of the capture file: no exchange begins that would go beyond. The connections that exist by then still end
    /// in order, so a size below some 600 bytes per connection opens fewer of them.
    pub size_bytes: u64,
    /// Connections at a time.
    pub connections: u32,
}

/// What was generated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Packets in the file.
    pub packets: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Exchanges, all complete.
    pub exchanges: u64,
    /// Of those: requests that began before the previous response had ended.
    pub pipelined: u64,
    /// Connections, all opened and closed in the capture.
    pub connections: u64,
    /// From the first to the last packet, in ns.
    pub duration_ns: u64,
}

/// Writes the capture (classic pcap, nanoseconds) and its truth (JSON lines, in the order of completion).
///
/// # Errors
/// Those of the two writers. They get large pieces; nothing is gained by buffering the capture once more.
pub fn generate(plan: &Plan, capture: impl Write, truth: impl Write) -> io::Result<Report> {
    let mut random = Random::new(plan.seed);
    let traffic = Traffic::new(&mut random);
    let mut generator = Generator {
        traffic: &traffic,
        random,
        plan: *plan,
        queue: BinaryHeap::new(),
        order: 0,
        slots: (0..plan.connections).map(|_| Slot { generation: 0, connection: None }).collect(),
        clients: Vec::new(),
        output: Output::new(capture),
        truth,
        ahead: 0,
        report: Report::default(),
    };
    generator.clients = (0..CLIENTS).map(|_| generator.random.between(32_768, 60_999) as u16).collect();
    for slot in 0..plan.connections {
        let ns = START_NS + u64::from(slot) * RAMP_NS + generator.random.below(RAMP_NS);
        generator.at(ns, slot, 0, Kind::Open);
    }
    generator.run()
}

struct Generator<'t, C, T> {
    traffic: &'t Traffic,
    random: Random,
    plan: Plan,
    queue: BinaryHeap<Reverse<Event>>,
    /// Events so far: those of equal time happen in the order in which they were asked for.
    order: u64,
    slots: Vec<Slot<'t>>,
    /// The next port of each client address.
    clients: Vec<u16>,
    output: Output<C>,
    truth: T,
    /// Bytes that what has begun is expected to add to the file.
    ahead: i64,
    report: Report,
}

/// A place for a connection; when one closes another opens in it.
struct Slot<'t> {
    /// Events of an earlier connection in this slot are void.
    generation: u32,
    connection: Option<Box<Connection<'t>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    time_ns: u64,
    order: u64,
    slot: u32,
    generation: u32,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A client connects.
    Open,
    /// The oldest packet on its way to this end arrives.
    Arrive(Peer),
    /// This end may send a segment.
    Pump(Peer),
    /// This end has waited long enough for company for its acknowledgement.
    DelayedAck(Peer, u32),
    /// The client has thought: the next request, or the end.
    Think,
    /// The client sends a further request without waiting for the answer.
    Pipeline,
    /// The server has its answer.
    Serve,
}

struct Connection<'t> {
    wire: Wire,
    ends: [End; 2],
    /// From a packet at the tap to what this end does about it at the tap, in ns.
    reaction_ns: [u64; 2],
    visitor: Visitor,
    /// Exchanges that have begun and are not complete, oldest first.
    open: VecDeque<Open<'t>>,
    /// How many of `open` have been answered, as far as the server's socket.
    answered: usize,
    /// The server works on the oldest that is not answered.
    busy: bool,
    /// Where responses end that the client has not had yet.
    awaited: VecDeque<u64>,
    /// Requests whose responses the client has not had.
    outstanding: u32,
    requests_left: u64,
    /// No further request will come.
    closing: bool,
    syn_ns: u64,
    syn_ack_ns: u64,
    handshake: Option<Handshake>,
    previous_response_last: Option<u64>,
    /// Its share of what is expected of the file's growth.
    ahead: i64,
}

#[derive(Default)]
struct End {
    /// What has been written and not all sent: the stream's bytes from `base` on.
    buffer: Vec<u8>,
    base: u64,
    /// Stream bytes sent.
    sent: u64,
    syn_sent: bool,
    fin_wanted: bool,
    fin_sent: bool,
    /// Position that the other end has acknowledged, as far as this one knows.
    acked: u64,
    /// Segments that may be under way.
    window: u64,
    /// A Pump event is on its way.
    pumping: bool,
    /// Position up to which the other's data has arrived.
    received: u64,
    unacknowledged: u32,
    /// The DelayedAck event that counts.
    ack_timer: u32,
    arrivals: VecDeque<Arrival>,
    last_arrival_ns: u64,
}

/// A packet on its way to an end.
struct Arrival {
    flags: u8,
    ack: u64,
    /// Behind its last byte.
    position: u64,
    data: bool,
    clock: u32,
}

struct Open<'t> {
    facts: Facts,
    request: Span,
    response: Option<Span>,
    planned: Response<'t>,
    service_ns: u64,
    /// The server closes the connection behind it.
    closes: bool,
    times: Times,
}

impl End {
    fn position(&self) -> u64 {
        u64::from(self.syn_sent) + self.sent + u64::from(self.fin_sent)
    }

    fn unsent(&self) -> usize {
        self.buffer.len() - (self.sent - self.base) as usize
    }
}

impl<'t, C: Write, T: Write> Generator<'t, C, T> {
    fn run(mut self) -> io::Result<Report> {
        while let Some(Reverse(event)) = self.queue.pop() {
            let slot = &mut self.slots[event.slot as usize];
            if event.kind == Kind::Open {
                self.open(event)?;
                continue;
            }
            if slot.generation != event.generation {
                continue;
            }
            let Some(mut connection) = slot.connection.take() else { continue };
            if self.step(&mut connection, event)? {
                self.closed(&connection, event);
            } else {
                self.slots[event.slot as usize].connection = Some(connection);
            }
        }
        self.truth.flush()?;
        self.report.bytes = self.output.finish()?;
        self.report.packets = self.output.packets;
        self.report.duration_ns = self.output.last_ns.saturating_sub(self.output.first_ns);
        Ok(self.report)
    }

    /// Returns whether the connection is over.
    fn step(&mut self, connection: &mut Connection<'t>, event: Event) -> io::Result<bool> {
        match event.kind {
            Kind::Open => {}
            Kind::Arrive(peer) => return self.arrive(connection, peer, event),
            Kind::Pump(peer) => {
                connection.ends[peer as usize].pumping = false;
                self.pump(connection, peer, event)?;
            }
            Kind::DelayedAck(peer, timer) => {
                let end = &connection.ends[peer as usize];
                if end.unacknowledged > 0 && end.ack_timer == timer {
                    self.emit(connection, peer, flags::ACK, 0, event)?;
                }
            }
            Kind::Think => self.think(connection, event)?,
            Kind::Pipeline => {
                self.begin(connection, true, 0, false, event);
                self.pump(connection, Peer::Client, event)?;
            }
            Kind::Serve => self.serve(connection, event)?,
        }
        Ok(false)
    }

    fn open(&mut self, event: Event) -> io::Result<()> {
        if self.is_enough() {
            return Ok(());
        }
        let random = &mut self.random;
        let client = random.below(CLIENTS) as usize;
        let port = self.clients[client];
        self.clients[client] = if port >= 60_999 { 32_768 } else { port + 1 };
        let address = Ipv4Addr::new(198, 18, (client / 250) as u8, (client % 250) as u8 + 1);
        let route = Route {
            client: SocketAddr::from((address, port)),
            server: SocketAddr::from((Ipv4Addr::new(198, 51, 100, 10), 80)),
            hardware: [[0x02, 0x67, 0x6e, 0x74, 0, 0x01], [0x02, 0x67, 0x6e, 0x74, 0, 0x0a]],
            vlan: None,
            ttl: [random.between(44, 62) as u8, 64],
            timestamps: true,
        };
        let round_trip_ns = log_normal(8e6, 1.2, random).clamp(300_000, 150_000_000);
        let mut connection = Box::new(Connection {
            wire: Wire::new(route, None, random),
            ends: [
                End { window: INITIAL_WINDOW, ..End::default() },
                End { window: INITIAL_WINDOW, ..End::default() },
            ],
            reaction_ns: [round_trip_ns, random.between(8_000, 40_000)],
            visitor: self.traffic.visitor(random),
            open: VecDeque::new(),
            answered: 0,
            busy: false,
            awaited: VecDeque::new(),
            outstanding: 0,
            requests_left: random.between(1, 300),
            closing: false,
            syn_ns: 0,
            syn_ack_ns: 0,
            handshake: None,
            previous_response_last: None,
            ahead: 0,
        });
        self.expect(&mut connection, CONNECTION_BYTES);
        self.report.connections += 1;
        self.emit(&mut connection, Peer::Client, flags::SYN, 0, event)?;
        self.slots[event.slot as usize].connection = Some(connection);
        Ok(())
    }

    fn closed(&mut self, connection: &Connection<'t>, event: Event) {
        self.ahead -= connection.ahead;
        let slot = &mut self.slots[event.slot as usize];
        slot.generation += 1;
        let generation = slot.generation;
        let ns = event.time_ns + self.random.between(1_000_000, 50_000_000);
        self.at(ns, event.slot, generation, Kind::Open);
    }

    fn arrive(&mut self, connection: &mut Connection<'t>, peer: Peer, event: Event) -> io::Result<bool> {
        let end = &mut connection.ends[peer as usize];
        let Some(arrival) = end.arrivals.pop_front() else { return Ok(false) };
        connection.wire.hear(peer, arrival.clock);
        if arrival.flags & flags::ACK != 0 && arrival.ack > end.acked {
            end.window = MAX_WINDOW.min(end.window + (arrival.ack - end.acked).div_ceil(MSS as u64));
            end.acked = arrival.ack;
        }
        end.received = end.received.max(arrival.position);
        if arrival.flags & flags::SYN != 0 {
            match peer {
                Peer::Server => self.emit(connection, peer, flags::SYN | flags::ACK, 0, event)?,
                Peer::Client => {
                    self.emit(connection, peer, flags::ACK, 0, event)?;
                    let ns = self.random.between(20_000, 300_000);
                    self.later(ns, event, Kind::Think);
                }
            }
            return Ok(false);
        }
        if arrival.flags & flags::FIN != 0 {
            // All there was to send has been sent: nobody closes while an answer is due.
            let last = end.fin_sent;
            let own = if last { 0 } else { flags::FIN };
            self.emit(connection, peer, own | flags::ACK, 0, event)?;
            return Ok(last);
        }
        if arrival.data {
            end.unacknowledged += 1;
            if end.unacknowledged >= 2 {
                self.emit(connection, peer, flags::ACK, 0, event)?;
            } else {
                end.ack_timer += 1;
                let timer = end.ack_timer;
                self.later(DELAYED_ACK_NS, event, Kind::DelayedAck(peer, timer));
            }
            match peer {
                Peer::Server => self.accept(connection, event),
                Peer::Client => self.receive(connection, event),
            }
        }
        self.pump(connection, peer, event)?;
        Ok(false)
    }

    /// The server takes up the next request if it has all of it.
    fn accept(&mut self, connection: &mut Connection<'t>, event: Event) {
        let Some(next) = connection.open.get(connection.answered) else { return };
        if !connection.busy && connection.ends[Peer::Server as usize].received > next.request.end {
            connection.busy = true;
            self.later(next.service_ns, event, Kind::Serve);
        }
    }

    fn serve(&mut self, connection: &mut Connection<'t>, event: Event) -> io::Result<()> {
        connection.busy = false;
        if let Some(next) = connection.open.get_mut(connection.answered) {
            let end = &mut connection.ends[Peer::Server as usize];
            let start = end.base + end.buffer.len() as u64;
            let layout = next.planned.encode(&mut end.buffer);
            let span = Span::new(start, &layout);
            next.response = Some(span);
            next.facts.response = Some(ResponseFacts {
                status: next.planned.status,
                headers: next.planned.all_headers(),
                body_bytes: layout.body_bytes,
            });
            end.fin_wanted = next.closes;
            connection.awaited.push_back(span.end);
            connection.answered += 1;
        }
        self.pump(connection, Peer::Server, event)?;
        self.accept(connection, event);
        Ok(())
    }

    /// The client looks which responses it has.
    fn receive(&mut self, connection: &mut Connection<'t>, event: Event) {
        let received = connection.ends[Peer::Client as usize].received;
        while connection.awaited.front().is_some_and(|&end| end < received) {
            connection.awaited.pop_front();
            connection.outstanding -= 1;
            if connection.outstanding == 0 && !connection.closing {
                let ns = log_normal(50e6, 1.5, &mut self.random);
                self.later(ns, event, Kind::Think);
            }
        }
    }

    fn think(&mut self, connection: &mut Connection<'t>, event: Event) -> io::Result<()> {
        // All is quiet: what is still to come of this connection is its end.
        let correction = CLOSING_BYTES - connection.ahead;
        self.expect(connection, correction);
        if self.is_enough() || (connection.requests_left == 0 && self.random.below(2) == 0) {
            connection.closing = true;
            connection.ends[Peer::Client as usize].fin_wanted = true;
            return self.pump(connection, Peer::Client, event);
        }
        let mut further = 0;
        while self.random.chance_in_million(PIPELINED_PER_MILLION) {
            further += 1;
        }
        let closes = connection.requests_left == 0 && further == 0;
        connection.requests_left = connection.requests_left.saturating_sub(1 + further);
        connection.closing = closes;
        // In one go, so that they share segments, or one after the other, each while the first is being worked on.
        let at_once = self.random.below(2) == 0;
        let least_ns = if further == 0 { 0 } else { 1_000_000 + further * PIPELINE_GAP_NS };
        self.begin(connection, further > 0, least_ns, closes, event);
        let mut ns = 0;
        for _ in 0..further {
            if at_once {
                self.begin(connection, true, 0, false, event);
            } else {
                // Counted now, lest the client think that it has all its answers.
                connection.outstanding += 1;
                ns += self.random.between(PIPELINE_GAP_NS / 10, PIPELINE_GAP_NS);
                self.later(ns, event, Kind::Pipeline);
            }
        }
        self.pump(connection, Peer::Client, event)
    }

    /// Writes a request. `simple`: one of a pipeline; `least_ns` bounds its service time from below.
    fn begin(
        &mut self,
        connection: &mut Connection<'t>,
        simple: bool,
        least_ns: u64,
        closes: bool,
        event: Event,
    ) {
        let random = &mut self.random;
        let mut planned = self.traffic.exchange(&connection.visitor, simple, event.time_ns, random);
        if closes {
            planned.response = planned.response.header("Connection", "close");
        }
        let end = &mut connection.ends[Peer::Client as usize];
        let start = end.base + end.buffer.len() as u64;
        let request = planned.request;
        let layout = request.encode(&mut end.buffer);
        let facts = Facts {
            method: request.method.to_string(),
            target: request.target.to_string(),
            minor: request.minor,
            request_headers: request.all_headers(),
            request_body_bytes: layout.body_bytes,
            response: None,
        };
        let bytes = file_bytes(&layout) + response_bytes(&planned.response);
        if event.kind != Kind::Pipeline {
            connection.outstanding += 1;
        }
        connection.open.push_back(Open {
            facts,
            request: Span::new(start, &layout),
            response: None,
            planned: planned.response,
            service_ns: planned.service_ns.max(least_ns),
            closes,
            times: Times { handshake: connection.handshake.take(), ..Times::default() },
        });
        self.expect(connection, bytes);
    }

    /// Sends the next segment of what is written if the window lets it, and sees to it that the rest follows.
    fn pump(&mut self, connection: &mut Connection<'t>, peer: Peer, event: Event) -> io::Result<()> {
        let end = &mut connection.ends[peer as usize];
        if end.pumping {
            return Ok(());
        }
        let unsent = end.unsent();
        if unsent == 0 {
            if end.fin_wanted && !end.fin_sent {
                end.fin_wanted = false;
                self.emit(connection, peer, flags::FIN | flags::ACK, 0, event)?;
            }
            return Ok(());
        }
        if end.position().saturating_sub(end.acked) >= end.window * MSS as u64 {
            return Ok(());
        }
        let length = unsent.min(MSS);
        if length < unsent || end.fin_wanted {
            end.pumping = true;
            let ns = self.random.between(1_240, 1_600);
            self.later(ns, event, Kind::Pump(peer));
        }
        let push = if length == unsent { flags::PSH } else { 0 };
        self.emit(connection, peer, flags::ACK | push, length, event)
    }

    /// A packet passes the tap.
    fn emit(
        &mut self,
        connection: &mut Connection<'t>,
        from: Peer,
        flags: u8,
        length: usize,
        event: Event,
    ) -> io::Result<()> {
        let time = event.time_ns;
        let end = &mut connection.ends[from as usize];
        let at = (end.sent - end.base) as usize;
        let segment = Segment {
            flags,
            position: end.position(),
            ack: end.received,
            // A SYN's window is not scaled.
            window: if flags & flags::SYN == 0 { WINDOW } else { u16::MAX },
            payload: &end.buffer[at..at + length],
        };
        let ack = segment.ack;
        let wire = &mut connection.wire;
        let bytes = self.output.packet(time, |out| wire.write(out, time, from, &segment))?;
        connection.ahead -= bytes;
        self.ahead -= bytes;

        let range = end.sent..end.sent + length as u64;
        end.sent = range.end;
        end.syn_sent |= flags & flags::SYN != 0;
        end.fin_sent |= flags & flags::FIN != 0;
        end.unacknowledged = 0;
        if end.unsent() == 0 {
            end.buffer.clear();
            end.base = end.sent;
        }
        let arrival = Arrival {
            flags,
            ack,
            position: end.position(),
            data: length > 0,
            clock: connection.wire.clock(from, time),
        };
        let other = &mut connection.ends[from.other() as usize];
        let reaction_ns = connection.reaction_ns[from.other() as usize];
        let ns = (time + reaction_ns + self.random.below(reaction_ns / 16)).max(other.last_arrival_ns + 1);
        other.last_arrival_ns = ns;
        other.arrivals.push_back(arrival);
        self.at(ns, event.slot, self.slots[event.slot as usize].generation, Kind::Arrive(from.other()));

        match (from, flags & flags::SYN != 0) {
            (Peer::Client, true) => connection.syn_ns = time,
            (Peer::Server, true) => connection.syn_ack_ns = time,
            // The first packet of the client behind its SYN ends the handshake.
            (Peer::Client, false) if connection.syn_ns > 0 => {
                let (syn, syn_ack) = (connection.syn_ns, connection.syn_ack_ns);
                connection.handshake = Some(Handshake { syn, syn_ack, ack: time });
                connection.syn_ns = 0;
            }
            _ => {}
        }
        if length == 0 {
            return Ok(());
        }
        for open in &mut connection.open {
            match (from, open.response) {
                (Peer::Client, _) => open.request.see(&mut open.times.request, &range, time),
                (Peer::Server, Some(span)) => span.see(&mut open.times.response, &range, time),
                (Peer::Server, None) => {}
            }
        }
        while connection.open.front().is_some_and(|open| open.times.response.last.is_some()) {
            self.complete(connection)?;
        }
        Ok(())
    }

    /// The oldest exchange is complete.
    fn complete(&mut self, connection: &mut Connection<'t>) -> io::Result<()> {
        let Some(mut open) = connection.open.pop_front() else { return Ok(()) };
        connection.answered -= 1;
        open.times.previous_response_last = connection.previous_response_last;
        connection.previous_response_last = open.times.response.last;
        self.report.exchanges += 1;
        self.report.pipelined += u64::from(open.times.pipelined());
        let route = connection.wire.route();
        let truth = Truth {
            client: route.client,
            server: route.server,
            facts: open.facts,
            times: open.times,
            tcp: TcpTruth::default(),
            whole: true,
        };
        truth.write(&mut self.truth)
    }

    fn is_enough(&self) -> bool {
        self.output.written as i64 + self.ahead >= self.plan.size_bytes as i64
    }

    fn expect(&mut self, connection: &mut Connection<'t>, bytes: i64) {
        connection.ahead += bytes;
        self.ahead += bytes;
    }

    fn later(&mut self, ns: u64, event: Event, kind: Kind) {
        self.at(event.time_ns + ns, event.slot, event.generation, kind);
    }

    fn at(&mut self, time_ns: u64, slot: u32, generation: u32, kind: Kind) {
        self.order += 1;
        self.queue.push(Reverse(Event { time_ns, order: self.order, slot, generation, kind }));
    }
}

/// The capture file.
struct Output<C> {
    file: C,
    buffer: Vec<u8>,
    /// Bytes of the file so far, those in the buffer included.
    written: u64,
    packets: u64,
    first_ns: u64,
    last_ns: u64,
}

impl<C: Write> Output<C> {
    fn new(file: C) -> Self {
        let mut buffer = Vec::with_capacity(BUFFER + (128 << 10));
        buffer.extend_from_slice(&classic::file_header(Precision::Nano, LinkType::ETHERNET, SNAPLEN));
        Self { file, written: buffer.len() as u64, buffer, packets: 0, first_ns: 0, last_ns: 0 }
    }

    /// Appends a packet that `write` appends to what it is given; returns the bytes by which the file grew.
    fn packet(&mut self, time_ns: u64, write: impl FnOnce(&mut Vec<u8>) -> usize) -> io::Result<i64> {
        let at = self.buffer.len();
        self.buffer.extend_from_slice(&[0; classic::RECORD_HEADER]);
        let length = write(&mut self.buffer);
        let time = Timestamp(time_ns);
        let header = &mut self.buffer[at..];
        let bytes = classic::write_record_header(header, Precision::Nano, time, length as u32, length);
        if self.packets == 0 {
            self.first_ns = time_ns;
        }
        self.last_ns = time_ns;
        self.packets += 1;
        self.written += bytes as u64;
        if self.buffer.len() >= BUFFER {
            self.file.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(bytes as i64)
    }

    fn finish(&mut self) -> io::Result<u64> {
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        self.file.flush()?;
        Ok(self.written)
    }
}

/// What a message adds to the file, about: its segments and an acknowledgement for every second.
fn file_bytes(layout: &Layout) -> i64 {
    let segments = layout.wire_bytes.div_ceil(MSS as u64);
    (layout.wire_bytes + (segments + segments / 2) * PACKET_BYTES) as i64
}

/// The same of a response that is not encoded yet.
fn response_bytes(response: &Response<'_>) -> i64 {
    let body_bytes = response.body.content().len() as u64;
    file_bytes(&Layout { head_bytes: 0, body_bytes, wire_bytes: body_bytes + HEAD_BYTES })
}

/// Payload of a full segment: Ethernet's 1500 less 20 for IP, 20 for TCP, 12 for the time stamp option.
const MSS: usize = 1_448;
/// Segments that may be under way at first (RFC 6928), and at most: below the announced window of 64 KiB.
const INITIAL_WINDOW: u64 = 10;
const MAX_WINDOW: u64 = 40;
/// Linux's least time-out of a delayed acknowledgement.
const DELAYED_ACK_NS: u64 = 40_000_000;
/// The share of requests that are sent before the previous answer is complete.
const PIPELINED_PER_MILLION: u64 = 10_000;
/// Longest time between two requests of a pipeline.
const PIPELINE_GAP_NS: u64 = 200_000;
/// Client addresses.
const CLIENTS: u64 = 2_000;
/// The first SYN: 2026-01-15T10:00:00Z.
const START_NS: u64 = 1_768_471_200_000_000_000;
/// Between the first SYNs of two slots.
const RAMP_NS: u64 = 50_000;
/// Record and headers of a packet in the file, without payload.
const PACKET_BYTES: u64 = 82;
/// A response's head, about.
const HEAD_BYTES: u64 = 240;
/// A connection's handshake and end in the file; its end alone.
const CONNECTION_BYTES: i64 = 3 * 82 + 16 + CLOSING_BYTES;
const CLOSING_BYTES: i64 = 3 * 82;
/// Bytes per write to the file: few system calls, and still in the processor's cache.
const BUFFER: usize = 1 << 20;
