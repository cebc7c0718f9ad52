//! One HTTP/1 connection: which response answers which request.
//!
//! ```text
//!   requests ──► pending ─────────┐ the oldest, or the one the witness names
//!                                 ├──► current (response under way) ──► Exchange
//!   responses ─► (waiting) ───────┘         └──► early (request still under way) ──► Exchange
//! ```
//!
//! Without loss the n-th final response answers the n-th request. After bytes of unknown content are missing that
//! count is worth nothing, and TCP is the witness: [`witness`] has the rule and why it holds.
//!
//! The two directions are not delivered in step. A capture may see a response before its request, and a hole in the
//! client's stream is given up only after a while. A response whose witness says that bytes of the client are still to
//! come waits for them.

mod ahead;
mod later;
mod messages;
mod part;
mod report;
mod turn;
mod unseen;
mod window;
mod witness;

use std::collections::VecDeque;

use gannet_flow::{CloseReason, Data, Flow, Gap, GapReason, Had, Moment, Peer, Retransmission, StreamEnd};
use gannet_packet::Timestamp;

use crate::framing::{AfterGap, Arrival, Cut, Event, Stream};
use crate::keep::Budget;
use crate::parse::Role;
use crate::pending::Unanswered;
use crate::tunnel::{TunnelProtocol, TunnelState};
use crate::{Connection, Counters, Exchange, HeadExtent, HttpConfig, Reason, Sink, State};
pub(crate) use ahead::Ahead;
use later::{Later, Step};
use part::{Announced, Answer, Fate, Hole, Losses, Open, Part, announced_before};
use witness::Witness;

/// What a connection works with and does not own.
pub(crate) struct Context<'a, S> {
    pub(crate) config: &'a HttpConfig,
    pub(crate) counters: &'a mut Counters,
    pub(crate) budget: &'a mut Budget,
    pub(crate) unanswered: &'a mut Option<Unanswered>,
    pub(crate) spare: &'a mut Spare,
    pub(crate) sink: &'a mut S,
    pub(crate) flow: &'a Flow,
}

/// Empty queues of connections that wait for their next request, for those that have one: a connection that is idle is
/// small, and one that is busy need not allocate for each exchange.
#[derive(Debug, Default)]
pub(crate) struct Spare(Vec<VecDeque<Part>>);

impl Spare {
    fn take(&mut self) -> VecDeque<Part> {
        self.0.pop().unwrap_or_default()
    }

    fn put(&mut self, queue: VecDeque<Part>) {
        if self.0.len() < SPARE_MAX && queue.capacity() <= SPARE_PARTS_MAX {
            self.0.push(queue);
        }
    }
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Http1,
    /// Another protocol from here on.
    Tunnel,
}

/// The state of one connection, in the order in which messages ask for it: what begins and ends with each of them is in
/// three lines of the cache behind the streams, and what is asked for at the end of a connection is last.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Http1 {
    /// Both directions, indexed by `Peer as usize` of the sender. In front, and each at the beginning of a line of the
    /// cache: of what is in a body nothing else is asked for.
    streams: [Stream; 2],
    client: Peer,
    ended: [bool; 2],
    next: Next,
    /// Tunnels around it.
    depth: u8,
    /// Began before the capture, and no pair has shown yet that the directions are in step.
    out_of_step: bool,
    /// The client has sent what is no request.
    pub(crate) bad_request: bool,
    /// The server has sent what is no response, a request being without one, and nothing of it is missing.
    bad_response: bool,
    /// Bytes of the client are missing, and perhaps requests with them.
    request_missing: bool,
    /// No tunnel will come of a CONNECT that has no answer yet.
    no_tunnel: bool,
    /// Exchanges that have begun so far.
    next_index: u32,
    /// Final responses so far.
    answers: u32,
    /// Responses that came before the bytes of their requests, in order. Only the last may be under way.
    waiting: VecDeque<Answer>,
    /// The response under way, paired or known to be an orphan.
    current: Option<Box<Open>>,
    /// Its response is over and its request is not.
    early: Option<Box<Open>>,
    /// What the client has sent behind a CONNECT that is not answered.
    ahead: Option<Box<Ahead>>,
    /// What the client has sent having had bytes of the server that are still to come.
    later: Option<Box<Later>>,
    /// Requests without a response, in order. Only the last may be under way.
    pending: VecDeque<Part>,
    /// Bytes allocated for the messages in both queues.
    queued_bytes: usize,
    /// Bytes that it takes, and of these the streams beside themselves, as of the last event. Before the next one most
    /// of what is asked for them is far from the processor.
    memory: usize,
    stream_memory: [usize; 2],
    /// The end of the last response.
    previous_end: Option<Timestamp>,
    losses: Losses,
    /// Interim responses since the last final one.
    interim: Vec<Announced>,
    /// The last hole of unknown content in the server's stream.
    hole: Hole,
    witness: Witness,
    connection: Connection,
    /// Bytes of the server that were taken for a body and belong to the protocol that followed.
    behind: u64,
    /// The protocol that follows, and the exchange that switched to it.
    tunnel: Option<Box<TunnelState>>,
    switched: Option<Box<Exchange>>,
    /// Why the connection is over, once it is.
    closing: Option<CloseReason>,
}

impl Http1 {
    /// A connection whose client is `client`. `search` names the directions, indexed by `Peer as usize`, that may begin
    /// in the middle of a message; `lost` says that bytes before are missing.
    pub(crate) fn new(flow: &Flow, client: Peer, search: [bool; 2], lost: bool) -> Self {
        let stream = |from: Peer| {
            let role = if from == client { Role::Requests } else { Role::Responses };
            Stream::new(role, search[from as usize])
        };
        Self {
            streams: [Peer::Originator, Peer::Responder].map(stream),
            connection: Connection {
                flow: flow.id,
                id: flow.connection_id(),
                client: flow.endpoint(client),
                server: flow.endpoint(client.opposite()),
                interface: flow.interface,
                around: flow.around(),
                midstream: flow.midstream,
            },
            client,
            pending: VecDeque::new(),
            waiting: VecDeque::new(),
            queued_bytes: 0,
            memory: size_of::<Self>(),
            stream_memory: [0; 2],
            current: None,
            early: None,
            ahead: None,
            later: None,
            no_tunnel: false,
            interim: Vec::new(),
            next_index: 0,
            depth: 0,
            answers: 0,
            previous_end: None,
            out_of_step: flow.midstream,
            bad_request: false,
            bad_response: false,
            request_missing: lost,
            witness: Witness::new(!flow.midstream && !lost),
            losses: Losses { client: u32::from(lost), server: u32::from(lost) },
            hole: Hole::default(),
            ended: [false; 2],
            behind: 0,
            next: Next::Http1,
            tunnel: None,
            switched: None,
            closing: None,
        }
    }

    /// Makes it a connection in a tunnel: its exchanges are numbered from `next_index` on, `depth` tunnels are around
    /// it.
    pub(crate) fn go_inside(&mut self, next_index: u32, depth: u8) {
        (self.next_index, self.depth) = (next_index, depth);
    }

    /// Bytes that it takes, without those of bodies, which count against their own budget.
    #[inline]
    pub(crate) fn memory(&self) -> usize {
        debug_assert_eq!(self.stream_memory, self.streams.each_ref().map(Stream::memory));
        debug_assert_eq!(self.memory, self.allocated());
        self.memory
    }

    fn allocated(&self) -> usize {
        let open = |open: &Option<Box<Open>>| open.as_ref().map_or(0, |open| open.memory());
        size_of::<Self>()
            + self.queued_bytes
            + self.pending.capacity() * size_of::<Part>()
            + self.waiting.capacity() * size_of::<Answer>()
            + self.interim.capacity() * size_of::<Announced>()
            + open(&self.current)
            + open(&self.early)
            + self.ahead.as_ref().map_or(0, |ahead| ahead.memory())
            + self.later.as_ref().map_or(0, |later| later.memory())
            + self.witness.memory()
            + self.stream_memory.iter().sum::<usize>()
    }

    /// Gives memory back that nothing under way needs, and counts what is left, behind an event of `from`'s stream.
    #[inline(always)]
    fn rest<S: Sink>(&mut self, context: &mut Context<'_, S>, from: Peer) {
        if self.pending.is_empty() && self.pending.capacity() != 0 {
            context.spare.put(std::mem::take(&mut self.pending));
        }
        if self.waiting.is_empty() && self.waiting.capacity() != 0 {
            self.waiting = VecDeque::new();
        }
        self.stream(from).rest();
        self.count_stream(from);
        self.memory = self.allocated();
    }

    /// To be called after whatever may change what a stream takes.
    fn count_stream(&mut self, from: Peer) {
        self.stream_memory[from as usize] = self.streams[from as usize].memory();
    }

    /// How many tunnels are around it.
    pub(crate) fn depth(&self) -> u8 {
        self.depth
    }

    /// The number of the next exchange.
    pub(crate) fn next_index(&self) -> u32 {
        self.next_index
    }

    /// Sets where a direction continues, and whether it has ended, when bytes before were looked at elsewhere.
    pub(crate) fn start_at(&mut self, from: Peer, offset: u64, ended: bool) {
        self.stream(from).position = offset;
        self.ended[from as usize] = ended;
    }

    /// To be called once both directions have been [set](Self::start_at), of a connection whose first packets are known
    /// and some of the next ones are not: messages are missing before where the directions begin, and nowhere else.
    pub(crate) fn begin_behind_holes(&mut self) {
        let [client, server] =
            [self.client, self.client.opposite()].map(|from| self.streams[from as usize].position);
        self.hole = Hole { start: 0, end: server };
        self.witness.begin_behind_hole(self.losses.client);
        if client > 0 {
            self.requests_unseen(client);
            self.witness.out_of_step();
        }
    }

    /// Takes bytes that lie within a body; false if they do not.
    #[inline]
    pub(crate) fn skip(&mut self, data: &Data<'_>) -> bool {
        let stream = &mut self.streams[data.from as usize];
        // Responses that wait look at every byte of the client.
        let looked_at = stream.role() == Role::Requests && !self.waiting.is_empty();
        !looked_at && stream.skip(data.bytes.len() as u64, data.seen.time, data.late)
    }

    /// The protocol that has begun. To be asked once [`Next::Tunnel`] has been told.
    pub(crate) fn tunnel(&mut self, now: Moment) -> TunnelState {
        match self.tunnel.take() {
            Some(tunnel) => *tunnel,
            None => self.begin_tunnel(TunnelProtocol::Unknown, now.time),
        }
    }

    fn begin_tunnel(&self, protocol: TunnelProtocol, first: Timestamp) -> TunnelState {
        let mut before = Peer::BOTH.map(|from| self.streams[from as usize].position);
        let server = self.client.opposite() as usize;
        before[server] = before[server].saturating_sub(self.behind);
        let mut tunnel = TunnelState::new(self.client, protocol, first, before);
        tunnel.pass(self.client.opposite(), self.behind);
        tunnel
    }

    /// Takes the next bytes of one direction. What becomes of the connection; with another protocol, how many bytes at
    /// the end belong to that and have not been taken.
    ///
    /// It has a second caller, for bytes that were kept; the first one is not to pay for that with a call.
    #[inline(always)]
    pub(crate) fn data<S: Sink>(&mut self, context: &mut Context<'_, S>, data: &Data<'_>) -> (Next, usize) {
        if data.from == self.client && self.asked_for_tunnel() {
            self.keep_ahead(context, data);
            return (self.next, 0);
        }
        let other = data.from.opposite();
        if self.stream(other).verify_no_longer() {
            // This end takes it for whole and goes on.
            self.over(context, other, Fate::Whole, data.now);
        }
        let mut rest = data.bytes;
        while self.next == Next::Http1 && !self.stream(data.from).is_done(rest) {
            let arrival = Arrival {
                seen: data.seen,
                late: data.late,
                acknowledged: data.acknowledged,
                flow: context.flow,
                client: self.client,
                boundary: rest.len() == data.bytes.len(),
            };
            let config = context.config;
            let stream = &mut self.streams[data.from as usize];
            let Some(event) = stream.step(&mut rest, &arrival, config, context.budget) else { break };
            let is_blank = matches!(event, Event::Blank(_));
            match event {
                Event::Head(parsed) if data.from == self.client => {
                    self.request_head(context, parsed, data.now);
                    if !self.waiting.is_empty() {
                        // What follows belongs to another protocol if its answer has said so already.
                        self.settle(context, data.now, false);
                    }
                }
                Event::Head(parsed) => self.response_head(context, parsed, data.now),
                Event::End => self.over(context, data.from, Fate::Whole, data.now),
                Event::Broken => self.over(context, data.from, Fate::Cut, data.now),
                Event::Skipped(bytes) | Event::Blank(bytes) => {
                    context.counters.skipped_bytes += bytes;
                    if data.from == self.client {
                        self.bad_request = true;
                        if self.later.is_some() {
                            let start = self.requests().position.saturating_sub(bytes);
                            self.put_by(context, Step::Skipped { start }, data.now);
                        } else {
                            self.client_skipped();
                        }
                    }
                    if data.from != self.client {
                        self.server_skipped(data, bytes, is_blank);
                    }
                }
                Event::Switched(bytes) => {
                    context.counters.tunnel_bytes += bytes;
                    context.counters.tunnel_bytes_delivered += bytes;
                    let bytes = &data.bytes[data.bytes.len().saturating_sub(bytes as usize)..];
                    if let Some(tunnel) = &mut self.tunnel {
                        tunnel.data(data.from, bytes);
                    }
                }
            }
            if !rest.is_empty() && data.from == self.client && self.asked_for_tunnel() {
                let offset = data.offset + (data.bytes.len() - rest.len()) as u64;
                self.keep_ahead(context, &Data { offset, bytes: rest, ..*data });
                rest = &[];
                break;
            }
        }
        self.catch_up_with_server(context, data.from, data.now);
        if !self.waiting.is_empty() {
            self.settle(context, data.now, false);
        }
        self.rest(context, data.from);
        if self.ahead.is_some() {
            self.release_ahead(context, false);
        }
        (self.next, rest.len())
    }

    /// Takes a hole in one direction.
    pub(crate) fn gap<S: Sink>(&mut self, context: &mut Context<'_, S>, gap: &Gap) -> Next {
        if gap.from == self.client {
            self.release_ahead(context, true);
        }
        let config = context.config;
        let after = self.stream(gap.from).gap(gap.len, config);
        let unknown = !matches!(after, AfterGap::Inside | AfterGap::Switched | AfterGap::End);
        self.request_missing |= unknown && gap.from == self.client;
        match after {
            AfterGap::Inside | AfterGap::Switched => {}
            AfterGap::End => self.over(context, gap.from, Fate::Whole, gap.now),
            AfterGap::EndAndMore => {
                self.over(context, gap.from, Fate::Whole, gap.now);
                let stream = self.stream(gap.from);
                let more = stream.position.saturating_sub(stream.message.end);
                self.lost(context, gap.from, more.min(gap.len), gap.now);
            }
            AfterGap::Broken => {
                self.lost(context, gap.from, gap.len, gap.now);
                self.over(context, gap.from, Fate::Broken, gap.now);
            }
            AfterGap::Head(half) => {
                if gap.reason == GapReason::Cut {
                    self.stream(gap.from).message.arrival.extent = HeadExtent::Snapped;
                }
                self.half_head(context, gap.from, half, Fate::Broken, gap.now);
                self.lost(context, gap.from, gap.len, gap.now);
            }
            AfterGap::Unknown => self.lost(context, gap.from, gap.len, gap.now),
        }
        if unknown && gap.from != self.client {
            self.perhaps_refused_tunnel(context);
        }
        self.catch_up_with_server(context, gap.from, gap.now);
        self.settle(context, gap.now, false);
        self.rest(context, gap.from);
        self.next
    }

    /// An end has received bytes that the capture has not, and had sent so much then.
    pub(crate) fn unseen_acknowledged(&mut self, from: Peer, had: Had) {
        if from != self.client && self.responses().is_between(had.sent) {
            self.unread(had.received, had.sent);
            self.memory = self.allocated();
        }
    }

    /// Bytes were sent again.
    pub(crate) fn retransmission(&mut self, again: &Retransmission) {
        let (offset, len) = (again.offset, again.len);
        self.stream(again.from).again(offset, len);
        let mark = |part: &mut Part| {
            // The edges of a message under way are with its stream.
            if part.fate != Fate::UnderWay {
                part.at.again(offset, len, part.at.end);
            }
        };
        if again.from == self.client {
            let open = self.early.iter_mut().chain(&mut self.current);
            open.filter_map(|open| open.request.as_mut()).for_each(mark);
            let reached = |part: &&mut Part| part.fate == Fate::UnderWay || part.at.end > offset;
            let later = self.later.iter_mut().flat_map(|later| later.requests_mut().rev());
            let pending = self.pending.iter_mut().rev();
            later.chain(pending).take_while(reached).for_each(mark);
        } else {
            self.early.iter_mut().for_each(|open| mark(&mut open.answer.part));
            let reached =
                |answer: &&mut Answer| answer.part.fate == Fate::UnderWay || answer.part.at.end > offset;
            self.waiting.iter_mut().rev().take_while(reached).for_each(|answer| mark(&mut answer.part));
        }
    }

    /// One direction has ended in order.
    pub(crate) fn end<S: Sink>(&mut self, context: &mut Context<'_, S>, end: &StreamEnd) -> Next {
        self.ended[end.from as usize] = true;
        self.witness.fins[end.from as usize] = Some(end.seen);
        // What is kept of it is still to come.
        if end.from != self.client || self.ahead.is_none() {
            self.cut(context, end.from, true, end.now);
        }
        if end.from != self.client {
            self.wait_no_longer(context, end.now);
        }
        self.settle(context, end.now, false);
        self.release_ahead(context, false);
        self.rest(context, end.from);
        self.next
    }

    /// Nothing more comes: all that is left is reported, but for an exchange that has switched to another protocol,
    /// which is given back.
    pub(crate) fn close<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        reason: CloseReason,
        now: Moment,
    ) -> Option<Exchange> {
        let why = match self.next {
            Next::Tunnel => Reason::Switched,
            Next::Http1 => Reason::of_close(reason, self.client),
        };
        self.closing = Some(reason);
        self.wait_no_longer(context, now);
        self.settle(context, now, true);
        self.release_ahead(context, true);
        let in_order = matches!(reason, CloseReason::Finished);
        for from in [self.client, self.client.opposite()] {
            self.cut(context, from, in_order, now);
        }
        // The last response may have been half a head.
        self.wait_no_longer(context, now);
        self.settle(context, now, true);
        let mut interim = std::mem::take(&mut self.interim);
        // A server that had ended in order owed no answer to the end of the capture, and of one that the capture has no
        // packet of none could be seen.
        let server = self.client.opposite();
        let unseen = context.flow.stream(server).packets == 0;
        let no_answer = self.ended[server as usize] || unseen;
        while let Some(part) = self.next_pending() {
            let (state, why) = match (part.fate, reason) {
                // That bytes of the server are missing is known from acknowledgements here, and nothing new.
                (Fate::Whole, _) if unseen => (State::OrphanRequest, Reason::OneSided),
                _ if part.losses.server != self.losses.server => (State::Gap, Reason::Gap),
                (Fate::Broken, _) => (State::Gap, Reason::Gap),
                (_, CloseReason::Reset { .. }) => (State::Aborted, why),
                (Fate::Whole, _) if self.bad_response => (State::OrphanRequest, Reason::BadResponse),
                (Fate::Whole, CloseReason::Finished) => (State::OrphanRequest, why),
                (Fate::Whole, _) if no_answer => (State::OrphanRequest, Reason::Fin),
                (Fate::Cut, _) => (State::Truncated, report::cut_reason(&part, why)),
                _ => (State::Truncated, why),
            };
            let its = match self.pending.front() {
                Some(next) => announced_before(&mut interim, next.at.start),
                None => std::mem::take(&mut interim),
            };
            self.emit_request(context, part, its, (state, why), now);
        }
        // Of a message whose exchange was reported before its end.
        self.streams.iter_mut().for_each(|stream| stream.forget_kept(context.budget));
        self.switched.take().map(|exchange| *exchange)
    }

    /// If the request under way was answered instead of continued, as its client had asked to be before it sends the
    /// body, that need not come: the client goes on with another request, or closes. "A client that receives a 417 ...
    /// SHOULD repeat that request without a 100-continue expectation" (RFC 9110, section 10.1.1), and may do so on the
    /// same connection.
    #[cold]
    fn perhaps_refused(&mut self) {
        let Some(open) = self.early.as_ref().or(self.current.as_ref()) else { return };
        let continued = open.answer.interim.iter().any(|one| one.interim.status == 100);
        let request = open.request.as_ref().filter(|request| request.fate == Fate::UnderWay);
        if !continued && request.is_some_and(Part::asks_to_continue) {
            self.stream(self.client).body_may_not_come();
        }
    }

    fn stream(&mut self, from: Peer) -> &mut Stream {
        &mut self.streams[from as usize]
    }

    fn requests(&self) -> &Stream {
        &self.streams[self.client as usize]
    }

    fn responses(&self) -> &Stream {
        &self.streams[self.client.opposite() as usize]
    }

    /// Up to `bytes` before where a stream stands are missing, and nobody knows what messages were in them.
    fn lost<S: Sink>(&mut self, context: &mut Context<'_, S>, from: Peer, bytes: u64, now: Moment) {
        if from == self.client {
            let start = self.requests().position.saturating_sub(bytes);
            self.put_by(context, Step::Lost { start, bytes }, now);
        } else {
            self.losses.server = self.losses.server.saturating_add(1);
            let end = self.responses().position;
            let start = end.saturating_sub(bytes);
            let start = if start <= self.hole.end { start.min(self.hole.start) } else { start };
            self.hole = Hole { start, end };
        }
    }

    /// The same of the client, once that is of interest.
    fn client_lost(&mut self, bytes: u64) {
        self.losses.client = self.losses.client.saturating_add(1);
        self.requests_unseen(bytes);
    }

    /// The last `bytes` before where the server's stream stands, of which `data` has the end, belong to no message.
    #[cold]
    fn server_skipped(&mut self, data: &Data<'_>, bytes: u64, is_blank: bool) {
        let position = self.responses().position;
        let start = position.saturating_sub(bytes);
        // No message begins in them; behind a hole they are of one that begins there.
        if self.hole.end == start {
            self.hole.end = position;
        }
        if let Some(acknowledged) = data.acknowledged.filter(|_| !data.late) {
            self.unread(acknowledged, start.max(data.offset));
        }
        self.bad_response |=
            !is_blank && !self.pending.is_empty() && self.losses == Losses::default() && !self.out_of_step;
    }

    /// A direction has ended, in order or not: what is under way gets no further.
    fn cut<S: Sink>(&mut self, context: &mut Context<'_, S>, from: Peer, in_order: bool, now: Moment) {
        let config = context.config;
        if from == self.client {
            self.perhaps_refused();
            if self.stream(from).body_has_not_come() {
                self.over(context, from, Fate::Whole, now);
            }
        }
        match self.stream(from).cut(config) {
            Cut::Nothing => {}
            Cut::Head(half) => self.half_head(context, from, half, Fate::Cut, now),
            Cut::Closed if in_order => {
                let open = self.current.as_mut().map(|open| &mut open.answer);
                if let Some(answer) = open.or(self.waiting.back_mut()) {
                    answer.part.closed = true;
                }
                self.over(context, from, Fate::Whole, now);
            }
            Cut::Over => self.over(context, from, Fate::Whole, now),
            Cut::Body | Cut::Closed => self.over(context, from, Fate::Cut, now),
        }
    }
}

/// Queues kept for use again, on each worker: more than connections that are busy between two packets of each.
const SPARE_MAX: usize = 64;
/// Requests one of them has room for: four is what the first one makes room for.
const SPARE_PARTS_MAX: usize = 16;
