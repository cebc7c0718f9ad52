//! For tests: segments in a line each, and a handler that writes down what it is told.

use std::net::Ipv4Addr;

use gannet_packet::{Endpoint, FlowKey, IpProtocol, Side, Surroundings, TcpFlags, TcpHeader, Timestamp};

use crate::{
    CloseReason, Data, Flow, FlowTable, Gap, Had, Handler, Limits, Moment, Outcome, Peer, Retransmission,
    Segment, StreamEnd,
};

/// A segment that owns its bytes. The client is the lower end of the flow's key.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    pub(crate) flow: u16,
    pub(crate) side: Side,
    pub(crate) sequence: u32,
    pub(crate) ack: Option<u32>,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) wire_len: Option<u32>,
    pub(crate) time: u64,
    pub(crate) position: u64,
    pub(crate) ip_id: u16,
    pub(crate) around: Surroundings,
}

/// A segment from the client.
pub(crate) fn client(sequence: u32) -> Built {
    Built {
        flow: 0,
        side: Side::Low,
        sequence,
        ack: None,
        flags: 0,
        window: 1_000,
        options: Vec::new(),
        payload: Vec::new(),
        wire_len: None,
        time: 0,
        position: 0,
        ip_id: 0,
        around: Surroundings::NONE,
    }
}

/// A segment from the server.
pub(crate) fn server(sequence: u32) -> Built {
    Built { side: Side::High, ..client(sequence) }
}

impl Built {
    pub(crate) fn syn(self) -> Self {
        self.flag(TcpFlags::SYN)
    }

    pub(crate) fn fin(self) -> Self {
        self.flag(TcpFlags::FIN)
    }

    pub(crate) fn rst(self) -> Self {
        self.flag(TcpFlags::RST)
    }

    pub(crate) fn flag(mut self, flag: TcpFlags) -> Self {
        self.flags |= flag.0;
        self
    }

    pub(crate) fn ack(mut self, number: u32) -> Self {
        self.ack = Some(number);
        self
    }

    pub(crate) fn data(mut self, payload: impl AsRef<[u8]>) -> Self {
        self.payload = payload.as_ref().to_vec();
        self
    }

    pub(crate) fn cut_from(mut self, wire_len: u32) -> Self {
        self.wire_len = Some(wire_len);
        self
    }

    pub(crate) fn window(mut self, window: u16) -> Self {
        self.window = window;
        self
    }

    pub(crate) fn scale(mut self, shift: u8) -> Self {
        self.options = vec![1, 3, 3, shift];
        self
    }

    pub(crate) fn id(mut self, ip_id: u16) -> Self {
        self.ip_id = ip_id;
        self
    }

    pub(crate) fn flow(mut self, flow: u16) -> Self {
        self.flow = flow;
        self
    }

    /// In milliseconds.
    pub(crate) fn at(mut self, ms: u64) -> Self {
        self.time = ms * 1_000_000;
        self
    }

    pub(crate) fn key(&self) -> FlowKey {
        let end = |host, port| Endpoint { address: Ipv4Addr::new(10, 0, 0, host).into(), port };
        FlowKey::new(end(1, 40_000 + self.flow), end(2, 80), IpProtocol::TCP).0
    }

    pub(crate) fn segment(&self) -> Segment<'_> {
        let flags = self.flags | self.ack.map_or(0, |_| TcpFlags::ACK.0);
        Segment {
            key: self.key(),
            side: self.side,
            tcp: TcpHeader {
                offset: 34,
                len: 20 + self.options.len() as u8,
                flags: TcpFlags(flags),
                sequence: self.sequence,
                acknowledgement: self.ack.unwrap_or(0),
                window: self.window,
            },
            options: &self.options,
            payload: &self.payload,
            wire_len: self.wire_len.unwrap_or(self.payload.len() as u32),
            moment: Moment { time: Timestamp(self.time), position: self.position },
            interface: 0,
            ip_id: self.ip_id,
            around: self.around,
        }
    }
}

/// What a [`Notes`] handler was told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    Open(u64),
    Data {
        flow: u64,
        from: Peer,
        offset: u64,
        bytes: Vec<u8>,
        seen: u64,
        now: u64,
        acknowledged: Option<u64>,
        late: bool,
    },
    Gap(u64, Gap),
    Again(u64, Retransmission),
    End(u64, StreamEnd),
    Close(u64, CloseReason, Moment),
}

/// Writes everything down, and holds the table to its word.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) events: Vec<Event>,
    pub(crate) flows: Vec<Flow>,
    /// What was acknowledged unseen.
    pub(crate) unseen: Vec<(Peer, Had)>,
    /// How many bytes of a flow are wanted.
    pub(crate) wanted: Option<u64>,
}

/// Where the two streams of a flow stand.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    next: [u64; 2],
    ended: [bool; 2],
    bytes: u64,
}

impl Progress {
    fn advance(&mut self, from: Peer, offset: u64, len: u64) {
        assert!(!self.ended[from as usize], "nothing follows the end");
        assert_eq!(offset, self.next[from as usize], "offsets follow one another");
        assert_ne!(len, 0);
        self.next[from as usize] += len;
        self.bytes += len;
    }
}

impl Handler for Notes {
    type State = Progress;

    fn open(&mut self, flow: &Flow) -> Progress {
        self.events.push(Event::Open(flow.id));
        Progress::default()
    }

    fn data(&mut self, state: &mut Progress, flow: &Flow, data: Data<'_>) {
        assert!(self.wants_more(state));
        let Data { from, offset, bytes, seen, now, acknowledged, late } = data;
        state.advance(from, offset, bytes.len() as u64);
        self.events.push(Event::Data {
            flow: flow.id,
            from,
            offset,
            bytes: bytes.to_vec(),
            seen: seen.position,
            now: now.position,
            acknowledged,
            late,
        });
    }

    fn gap(&mut self, state: &mut Progress, flow: &Flow, gap: Gap) {
        state.advance(gap.from, gap.offset, gap.len);
        self.events.push(Event::Gap(flow.id, gap));
    }

    fn unseen_acknowledged(&mut self, state: &mut Progress, _: &Flow, from: Peer, had: Had) {
        assert!(had.received > state.next[from.opposite() as usize] && had.sent >= state.next[from as usize]);
        self.unseen.push((from, had));
    }

    fn retransmission(&mut self, state: &mut Progress, flow: &Flow, again: Retransmission) {
        assert!(again.len != 0 && again.offset + again.len <= state.next[again.from as usize]);
        self.events.push(Event::Again(flow.id, again));
    }

    fn end(&mut self, state: &mut Progress, flow: &Flow, end: StreamEnd) {
        let from = end.from as usize;
        assert_eq!(end.offset, state.next[from]);
        assert!(!std::mem::replace(&mut state.ended[from], true));
        self.events.push(Event::End(flow.id, end));
    }

    fn close(&mut self, _: Progress, flow: &Flow, reason: CloseReason, now: Moment) {
        self.events.push(Event::Close(flow.id, reason, now));
        self.flows.push(flow.clone());
    }

    fn wants_more(&self, state: &Progress) -> bool {
        self.wanted.is_none_or(|wanted| state.bytes < wanted)
    }
}

/// A table that numbers what it is given and checks its sums each time.
pub(crate) struct Run {
    pub(crate) table: FlowTable<Notes>,
    pub(crate) position: u64,
}

impl Run {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { table: FlowTable::new(limits, 0x5eed, Notes::default()), position: 0 }
    }

    pub(crate) fn give(&mut self, mut built: Built) -> Outcome {
        self.position += 1;
        built.position = self.position;
        let outcome = self.table.segment(&built.segment());
        assert_eq!(self.table.check(), []);
        outcome
    }

    pub(crate) fn tick(&mut self, ms: u64) {
        let now = Moment { time: Timestamp(ms * 1_000_000), position: self.position };
        self.table.tick(now);
        assert_eq!(self.table.check(), []);
    }

    pub(crate) fn finish(&mut self) -> Vec<Event> {
        let now = Moment { time: self.table.clock(), position: self.position };
        self.table.finish(now);
        assert_eq!(self.table.check(), []);
        assert_eq!((self.table.open_flows(), self.table.counters().held_bytes), (0, 0));
        self.events()
    }

    /// The events since the last call.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.table.handler().events)
    }

    /// The handshake of a flow with these initial sequence numbers, without its events.
    pub(crate) fn handshake(&mut self, client_isn: u32, server_isn: u32) {
        assert_eq!(self.give(client(client_isn).syn().scale(0)), Outcome::Accepted);
        let answer = server(server_isn).syn().ack(client_isn.wrapping_add(1)).scale(0);
        assert_eq!(self.give(answer), Outcome::Accepted);
        let last = client(client_isn.wrapping_add(1)).ack(server_isn.wrapping_add(1));
        assert_eq!(self.give(last), Outcome::Accepted);
        self.events();
    }
}

/// The bytes of the data events of one direction; gaps as `.`.
pub(crate) fn text(events: &[Event], sender: Peer) -> String {
    let mut text = String::new();
    for event in events {
        match event {
            Event::Data { from, bytes, .. } if *from == sender => text += &String::from_utf8_lossy(bytes),
            Event::Gap(_, gap) if gap.from == sender => text += &".".repeat(gap.len as usize),
            _ => {}
        }
    }
    text
}
