//! HTTP conversations with known truth, packet by packet.
//!
//! ```text
//!   Builder ── handshake, requests, responses ──► Conversation ── damage ──► packets, pcap
//!      │          (cut at the MSS, acknowledged)       │                        │ what was captured of each stream
//!      └── Span: where each message lies in its stream ┴──► Truth: facts, edges ┘
//! ```
//! [`Builder`] is for tests: every packet is asked for, one after another, at a clock that the test moves. The capture
//! generator ([`crate::capture`]) has many connections at once that react to one another; both write their frames
//! with the same `Wire` and take the time of an edge from the same `Span`.
//!
//! A [`Conversation`] can be damaged as a capture is damaged: packets dropped, moved, doubled, sent again with the
//! same or with other content, a beginning or an end that is missing, a snaplen. Its truth is then what an
//! all-knowing reader of the *damaged* capture can say; it is found by looking at every packet for every byte, slowly
//! and obviously.
//!
//! Nothing here decodes anything, nor uses a crate that does.

mod carriage;
mod chance;
mod damage;
mod dialogue;
mod disorder;
mod known;
mod message;
mod variants;
mod wire;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

use crate::random::Random;
use crate::truth::{Edges, Facts, Handshake, ResponseFacts};

pub use carriage::{Carriage, Identifications, Wrap};
pub use chance::{Captured, Case, Feature, Features, Frame, PATIENCE};
pub(crate) use damage::SNAPLEN;
pub use damage::{Content, Conversation, Packet, pcap, pcap_of};
pub use dialogue::{Dialogue, Manner};
pub use known::{Known, Missing, Strain};
pub use message::{Body, Layout, Request, Response};
pub use variants::{Variant, variants};
pub use wire::{Peer, Route, flags};
pub(crate) use wire::{Segment, Wire, header_bytes_under};

/// How a conversation's packets look and when they come.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Addresses, tag, options.
    pub route: Route,
    /// Payload bytes per segment at most.
    pub mss: usize,
    /// Time of the first packet, in ns since 1970.
    pub start_ns: u64,
    /// From one packet to the next, in ns; up to half as much is added at random.
    pub gap_ns: u64,
    /// Initial sequence numbers of client and server; drawn by default.
    pub isn: Option<[u32; 2]>,
    /// Decides what is drawn.
    pub seed: u64,
}

impl Default for Setup {
    /// IPv4 to port 80, time stamps, MSS 1448, 50 to 75 µs between packets.
    fn default() -> Self {
        Self {
            route: Route {
                client: (Ipv4Addr::new(198, 18, 0, 7), 40_007).into(),
                server: (Ipv4Addr::new(198, 51, 100, 10), 80).into(),
                hardware: [[0x02, 0x67, 0x6e, 0x74, 0, 1], [0x02, 0x67, 0x6e, 0x74, 0, 2]],
                vlan: None,
                ttl: [57, 64],
                timestamps: true,
            },
            mss: 1_448,
            start_ns: 1_768_471_200_000_000_000,
            gap_ns: 50_000,
            isn: None,
            seed: 0,
        }
    }
}

impl Setup {
    /// The same over IPv6, addresses of the range for documentation.
    #[must_use]
    pub fn ipv6(mut self) -> Self {
        let address = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
        self.route.client = (address(7), self.route.client.port()).into();
        self.route.server = (address(0x10), self.route.server.port()).into();
        self
    }

    /// The same from another port of the client: conversations in one capture need different ones.
    #[must_use]
    pub fn client_port(mut self, port: u16) -> Self {
        self.route.client = SocketAddr::new(self.route.client.ip(), port);
        self
    }

    /// The same with other random numbers.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

/// Builds a conversation packet by packet.
#[derive(Clone, Debug)]
pub struct Builder {
    setup: Setup,
    wire: Wire,
    random: Random,
    now_ns: u64,
    ends: [End; 2],
    packets: Vec<Packet>,
    handshake: Option<[usize; 3]>,
    exchanges: Vec<Scripted>,
}

/// One end, as far as the script has come.
#[derive(Clone, Debug, Default)]
struct End {
    /// Every byte ever written.
    stream: Vec<u8>,
    /// How many of them have been sent.
    sent: u64,
    /// 1 once the FIN has been sent.
    fin: u64,
    /// Segments received and not acknowledged.
    unacknowledged: u32,
}

impl End {
    /// Of the next thing that it will send.
    fn position(&self) -> u64 {
        1 + self.sent + self.fin
    }
}

/// An exchange of the script.
#[derive(Clone, Debug)]
pub(crate) struct Scripted {
    pub(crate) facts: Facts,
    pub(crate) request: Span,
    pub(crate) response: Option<Span>,
}

impl Builder {
    /// A connection of which nothing has been sent.
    pub fn new(setup: Setup) -> Self {
        let mut random = Random::new(setup.seed);
        let wire = Wire::new(setup.route.clone(), setup.isn, &mut random);
        Self {
            now_ns: setup.start_ns,
            setup,
            wire,
            random,
            ends: Default::default(),
            packets: Vec::new(),
            handshake: None,
            exchanges: Vec::new(),
        }
    }

    /// SYN, SYN ACK, ACK.
    pub fn handshake(&mut self) -> &mut Self {
        let at = self.packets.len();
        self.push(Peer::Client, flags::SYN, 0, 0, WINDOW, 0..0, &[]);
        self.push(Peer::Server, flags::SYN | flags::ACK, 0, 1, WINDOW, 0..0, &[]);
        self.acknowledge(Peer::Client, WINDOW);
        self.handshake = Some([at, at + 1, at + 2]);
        self
    }

    /// Lets time pass.
    pub fn wait(&mut self, ns: u64) -> &mut Self {
        self.now_ns += ns;
        self
    }

    /// Cuts what is sent from now on at another length (at least 1).
    pub fn mss(&mut self, bytes: usize) -> &mut Self {
        self.setup.mss = bytes;
        self
    }

    /// Sends a request, all of it, and has it acknowledged.
    pub fn request(&mut self, request: &Request<'_>) -> &mut Self {
        self.write_request(request).flush(Peer::Client)
    }

    /// Answers the oldest request that has no answer, and has that acknowledged.
    pub fn response(&mut self, response: &Response<'_>) -> &mut Self {
        self.write_response(response).flush(Peer::Server)
    }

    /// Puts a request into the client's stream without sending anything.
    pub fn write_request(&mut self, request: &Request<'_>) -> &mut Self {
        let stream = &mut self.ends[Peer::Client as usize].stream;
        let start = stream.len() as u64;
        let layout = request.encode(stream);
        self.exchanges.push(Scripted {
            facts: Facts {
                method: request.method.to_string(),
                target: request.target.to_string(),
                minor: request.minor,
                request_headers: request.all_headers(),
                request_body_bytes: layout.body_bytes,
                response: None,
            },
            request: Span::new(start, &layout),
            response: None,
        });
        self
    }

    /// Puts the answer to the oldest request that has none into the server's stream. One without a request is in the
    /// stream, and in nobody's truth; so is an interim response (1xx without 101), after which the request still waits.
    pub fn write_response(&mut self, response: &Response<'_>) -> &mut Self {
        let stream = &mut self.ends[Peer::Server as usize].stream;
        let start = stream.len() as u64;
        let layout = response.encode(stream);
        let interim = (100..200).contains(&response.status) && response.status != 101;
        let waiting = self.exchanges.iter_mut().find(|exchange| exchange.response.is_none());
        if let (Some(exchange), false) = (waiting, interim) {
            exchange.response = Some(Span::new(start, &layout));
            exchange.facts.response = Some(ResponseFacts {
                status: response.status,
                headers: response.all_headers(),
                body_bytes: layout.body_bytes,
            });
        }
        self
    }

    /// Puts bytes that are no message of an exchange into a stream.
    pub fn write(&mut self, from: Peer, bytes: &[u8]) -> &mut Self {
        self.ends[from as usize].stream.extend_from_slice(bytes);
        self
    }

    /// Sends what is written, with an acknowledgement after every second segment and after the last.
    pub fn flush(&mut self, from: Peer) -> &mut Self {
        while self.unsent(from) > 0 {
            self.segment(from);
            if self.ends[from.other() as usize].unacknowledged >= 2 || self.unsent(from) == 0 {
                self.ack(from.other());
            }
        }
        self
    }

    /// Sends what is written and waits for no acknowledgement.
    pub fn segments(&mut self, from: Peer) -> &mut Self {
        while self.unsent(from) > 0 {
            self.segment(from);
        }
        self
    }

    /// Sends one segment of what is written, as long as the MSS allows.
    pub fn segment(&mut self, from: Peer) -> &mut Self {
        self.send(from, self.setup.mss)
    }

    /// Sends one segment of at most `bytes` of what is written.
    pub fn send(&mut self, from: Peer, bytes: usize) -> &mut Self {
        let length = self.unsent(from).min(bytes.max(1) as u64);
        let end = &self.ends[from as usize];
        let range = end.sent..end.sent + length;
        let payload = end.stream[range.start as usize..range.end as usize].to_vec();
        let last = if range.end == end.stream.len() as u64 { flags::PSH } else { 0 };
        let (position, ack) = (end.position(), self.ends[from.other() as usize].position());
        self.ends[from as usize].sent = range.end;
        self.ends[from as usize].unacknowledged = 0;
        self.ends[from.other() as usize].unacknowledged += 1;
        self.push(from, flags::ACK | last, position, ack, WINDOW, range, &payload);
        self
    }

    /// Acknowledges all that the other end has sent.
    pub fn ack(&mut self, from: Peer) -> &mut Self {
        self.acknowledge(from, WINDOW)
    }

    /// The same with a window of zero.
    pub fn zero_window(&mut self, from: Peer) -> &mut Self {
        self.acknowledge(from, 0)
    }

    /// A keep-alive probe: no payload, one before the next sequence number. The other end answers.
    pub fn keep_alive(&mut self, from: Peer) -> &mut Self {
        let position = self.ends[from as usize].position().saturating_sub(1);
        let ack = self.ends[from.other() as usize].position();
        self.push(from, flags::ACK, position, ack, WINDOW, 0..0, &[]);
        self.ack(from.other())
    }

    /// Sends a packet of any kind: with these flags, so many positions away from the next, with a payload that is not
    /// of the stream. No truth knows of it.
    pub fn odd(&mut self, from: Peer, flags: u8, distance: i64, payload: &[u8]) -> &mut Self {
        let position = self.ends[from as usize].position().saturating_add_signed(distance);
        let ack = self.ends[from.other() as usize].position();
        self.push(from, flags, position, ack, WINDOW, 0..0, payload);
        self
    }

    /// Ends a stream.
    pub fn fin(&mut self, from: Peer) -> &mut Self {
        let (position, ack) =
            (self.ends[from as usize].position(), self.ends[from.other() as usize].position());
        self.push(from, flags::FIN | flags::ACK, position, ack, WINDOW, 0..0, &[]);
        self.ends[from as usize].fin = 1;
        self
    }

    /// Ends both streams in order, the first being that of `from`.
    pub fn close(&mut self, from: Peer) -> &mut Self {
        self.fin(from).fin(from.other()).ack(from)
    }

    /// Ends the connection at once.
    pub fn reset(&mut self, from: Peer) -> &mut Self {
        let (position, ack) =
            (self.ends[from as usize].position(), self.ends[from.other() as usize].position());
        self.push(from, flags::RST | flags::ACK, position, ack, 0, 0..0, &[]);
        self
    }

    /// How many packets there are so far: the number of the next one.
    pub fn packets(&self) -> usize {
        self.packets.len()
    }

    /// The conversation as it is, undamaged.
    pub fn finish(&self) -> Conversation {
        Conversation {
            wire: self.wire.clone(),
            streams: [self.ends[0].stream.clone(), self.ends[1].stream.clone()],
            packets: self.packets.clone(),
            exchanges: self.exchanges.clone(),
            handshake: self.handshake.map(|packets| packets.map(Some)),
            snaplen: None,
        }
    }

    fn unsent(&self, from: Peer) -> u64 {
        let end = &self.ends[from as usize];
        end.stream.len() as u64 - end.sent
    }

    fn acknowledge(&mut self, from: Peer, window: u16) -> &mut Self {
        let (position, ack) =
            (self.ends[from as usize].position(), self.ends[from.other() as usize].position());
        self.ends[from as usize].unacknowledged = 0;
        self.push(from, flags::ACK, position, ack, window, 0..0, &[]);
        self
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a segment, in one place")]
    fn push(
        &mut self,
        from: Peer,
        flags: u8,
        position: u64,
        ack: u64,
        window: u16,
        range: Range<u64>,
        payload: &[u8],
    ) {
        let mut frame = Vec::new();
        let segment = Segment { flags, position, ack, window, payload };
        self.wire.write(&mut frame, self.now_ns, from, &segment);
        let clock = self.wire.clock(from, self.now_ns);
        self.wire.hear(from.other(), clock);
        let number = self.packets.len() as u64;
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
            sending: number,
            copy: false,
        });
        self.now_ns += self.setup.gap_ns + self.random.below(self.setup.gap_ns / 2 + 1);
    }
}

/// Where the parts of a message lie in its stream: offsets from the stream's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Of the first byte.
    pub(crate) start: u64,
    /// Behind the head.
    pub(crate) head_end: u64,
    /// Behind the last byte.
    pub(crate) end: u64,
}

impl Span {
    pub(crate) fn new(start: u64, layout: &Layout) -> Self {
        Self { start, head_end: start + layout.head_bytes, end: start + layout.wire_bytes }
    }

    /// A packet that passed at `time` carried these bytes of the stream.
    pub(crate) fn see(&self, edges: &mut Edges, bytes: &Range<u64>, time: u64) {
        for (byte, edge) in [
            (self.start, &mut edges.first),
            (self.head_end - 1, &mut edges.head_end),
            (self.end - 1, &mut edges.last),
        ] {
            if edge.is_none() && bytes.contains(&byte) {
                *edge = Some(time);
            }
        }
    }
}

/// Many conversations as one capture: their packets in the order of time.
pub fn merge(conversations: &[Conversation]) -> Vec<&Packet> {
    let mut queues: Vec<VecDeque<&Packet>> =
        conversations.iter().map(|conversation| conversation.packets().iter().collect()).collect();
    let mut merged = Vec::new();
    let next = |queues: &[VecDeque<&Packet>]| {
        let times =
            queues.iter().enumerate().filter_map(|(index, queue)| Some((queue.front()?.time_ns, index)));
        times.min().map(|(_, index)| index)
    };
    while let Some(index) = next(&queues) {
        merged.extend(queues[index].pop_front());
    }
    merged
}

/// Announced by both ends, in units of the window scale: 64 KiB.
pub(crate) const WINDOW: u16 = 512;

/// The packets of the handshake, if the conversation has one and they were all captured.
pub(crate) fn handshake_times(packets: &[Packet], numbers: [Option<usize>; 3]) -> Option<Handshake> {
    let time = |number: Option<usize>| packets.get(number?).map(|packet| packet.time_ns);
    let [syn, syn_ack, ack] = numbers.map(time);
    Some(Handshake { syn: syn?, syn_ack: syn_ack?, ack: ack? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::truth::Truth;

    fn post() -> Request<'static> {
        Request::new("POST", "/form?x=1", "example.org").body(Body::length(vec![b'a'; 3_000]))
    }

    #[test]
    fn edges_are_those_of_the_packets_that_carried_them() {
        let mut builder = Builder::new(Setup::default());
        builder.handshake().wait(1_000_000).request(&post()).wait(5_000_000);
        builder.response(&Response::new(200, Body::chunked(vec![b'b'; 2_000], 700))).close(Peer::Server);
        let conversation = builder.finish();
        let packets = conversation.packets();
        let data: Vec<&Packet> = packets.iter().filter(|packet| !packet.range.is_empty()).collect();
        // 3,000 bytes and a head in three segments; 2,000 bytes, framing and a head in two.
        assert_eq!(data.len(), 5);
        let truth = &conversation.truth()[0];
        let times = &truth.times;
        let handshake =
            Handshake { syn: packets[0].time_ns, syn_ack: packets[1].time_ns, ack: packets[2].time_ns };
        assert_eq!(times.handshake, Some(handshake));
        let edges = |first: usize, head_end: usize, last: usize| {
            let [first, head_end, last] = [first, head_end, last].map(|number| Some(data[number].time_ns));
            Edges { first, head_end, last }
        };
        assert_eq!((times.request, times.response), (edges(0, 0, 2), edges(3, 3, 4)));
        assert_eq!(
            times.total().unwrap(),
            times.send().unwrap() + times.server().unwrap() + times.receive().unwrap()
        );
        assert!(times.server().unwrap() >= 5_000_000);
        assert!(truth.whole);
        let response = truth.facts.response.as_ref().unwrap();
        assert_eq!((truth.facts.request_body_bytes, response.body_bytes), (3_000, 2_000));
        assert!(packets.windows(2).all(|pair| pair[0].time_ns < pair[1].time_ns));
        assert_eq!(packets.last().unwrap().ack, 2 + conversation.stream(Peer::Client).len() as u64);
    }

    #[test]
    fn a_head_cut_anywhere() {
        let mut builder = Builder::new(Setup::default().ipv6());
        builder
            .handshake()
            .mss(1)
            .request(&Request::new("GET", "/", "h"))
            .response(&Response::new(204, Body::None));
        let conversation = builder.finish();
        let head = conversation.stream(Peer::Client).len();
        assert_eq!(conversation.stream(Peer::Client), b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let data: Vec<u64> =
            conversation.packets().iter().filter(|p| !p.range.is_empty()).map(|p| p.time_ns).collect();
        let request = conversation.truth()[0].times.request;
        assert_eq!((request.first, request.last), (Some(data[0]), Some(data[head - 1])));
        assert_eq!(request.head_end, request.last);
    }

    #[test]
    fn pipelined_requests_share_a_segment_and_interim_responses_are_nobodys() {
        let mut builder = Builder::new(Setup::default());
        let get = |target| Request::new("GET", target, "h");
        builder.handshake().write_request(&get("/1")).write_request(&get("/2")).flush(Peer::Client);
        builder.response(&Response::new(100, Body::None));
        builder.write_response(&Response::new(200, Body::length(&b"one"[..])));
        builder.write_response(&Response::new(404, Body::length(&b"two!"[..]))).flush(Peer::Server);
        let truth = builder.finish().truth();
        let told = |truth: &Truth| {
            let response = truth.facts.response.as_ref().unwrap();
            (truth.facts.target.clone(), response.status, response.body_bytes, truth.times.pipelined())
        };
        assert_eq!(
            truth.iter().map(told).collect::<Vec<_>>(),
            [("/1".to_owned(), 200, 3, false), ("/2".to_owned(), 404, 4, true),]
        );
        assert_eq!(truth[0].times.request, truth[1].times.request);
        assert_eq!(truth[1].times.server(), Some(0));
        assert_eq!((truth[0].times.connect().is_some(), truth[1].times.connect()), (true, None));
    }

    #[test]
    fn an_answer_before_the_request_has_ended_has_no_server_time() {
        let mut builder = Builder::new(Setup::default());
        builder.handshake().write_request(&post()).segment(Peer::Client);
        builder.response(&Response::new(413, Body::None)).flush(Peer::Client);
        let times = builder.finish().truth()[0].times;
        assert_eq!(times.server(), None);
        assert!(times.ttfb().unwrap() < times.send().unwrap());
    }

    #[test]
    fn sequence_numbers_wrap() {
        let setup = Setup { isn: Some([u32::MAX - 10, u32::MAX]), ..Setup::default() };
        let mut builder = Builder::new(setup);
        builder.handshake().request(&post());
        let conversation = builder.finish();
        let sequence = |packet: &Packet| u32::from_be_bytes(packet.frame[38..42].try_into().unwrap());
        let numbers: Vec<u32> =
            conversation.packets().iter().filter(|p| p.from == Peer::Client).map(sequence).collect();
        assert_eq!(numbers[..3], [u32::MAX - 10, u32::MAX - 9, u32::MAX - 9]);
        assert_eq!(numbers[3], 1_448 - 10);
    }

    #[test]
    fn conversations_merge_by_time() {
        let build = |port, seed| {
            let mut builder = Builder::new(Setup::default().client_port(port).seed(seed));
            builder
                .handshake()
                .request(&post())
                .response(&Response::new(200, Body::None))
                .close(Peer::Client);
            builder.finish()
        };
        let conversations = [build(1, 1), build(2, 2), build(3, 3)];
        let merged = merge(&conversations);
        assert_eq!(merged.len(), conversations.iter().map(|one| one.packets().len()).sum::<usize>());
        assert!(merged.windows(2).all(|pair| pair[0].time_ns <= pair[1].time_ns));
        assert_ne!(conversations[0].packets()[5].time_ns, conversations[1].packets()[5].time_ns);
        assert_eq!(
            pcap(merged).len(),
            conversations.iter().map(|one| one.pcap().len() - 24).sum::<usize>() + 24
        );
    }
}
