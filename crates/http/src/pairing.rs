//! One HTTP/1 connection: which response answers which request.
//!
//! ```text
//!   requests ──► pending ─────────┐ the oldest, or the one the witness names
//!                                 ├──► current (response under way) ──► Exchange
//!   responses ─► (waiting) ───────┘         └──► early (request still under way) ──► Exchange
//! ```
//!
//! Without loss the n-th final response answers the n-th request. After bytes of unknown content are missing that
//! count is worth nothing, and TCP is the witness: the first byte of a response acknowledges `n` bytes of the client's
//! stream, so no request that begins at `n` or behind it can be the one answered. On a connection that never pipelined
//! the youngest request before `n` is the right one, since its client had every earlier answer when it sent it.
//!
//! The two directions are not delivered in step. A capture may see a response before its request, and a hole in the
//! client's stream is given up only after a while. A response whose witness says that bytes of the client are still to
//! come waits for them.

mod report;

use std::collections::VecDeque;

use gannet_flow::{CloseReason, Data, Flow, Gap, Moment, Peer, Retransmission, StreamEnd};
use gannet_packet::Timestamp;

use crate::body::{self, Asked, Ending, Method};
use crate::framing::{AfterGap, Arrival, Cut, Event, Progress, Stream};
use crate::head::StartLine;
use crate::keep::{Budget, Kept};
use crate::oddity::Oddities;
use crate::parse::{Parsed, Role};
use crate::pending::Unanswered;
use crate::tunnel::{TunnelProtocol, TunnelState};
use crate::{
    Confidence, Connection, Counters, Exchange, Head, HeadKind, HttpConfig, Interim, PendingRequest, Reason,
    Sink, State,
};

/// What a connection works with and does not own.
pub(crate) struct Context<'a, S> {
    pub(crate) config: &'a HttpConfig,
    pub(crate) counters: &'a mut Counters,
    pub(crate) budget: &'a mut Budget,
    pub(crate) unanswered: &'a mut Option<Unanswered>,
    pub(crate) sink: &'a mut S,
    pub(crate) flow: &'a Flow,
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Http1,
    /// Another protocol from here on.
    Tunnel,
}

/// The state of one connection.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Http1 {
    /// Both directions, indexed by `Peer as usize` of the sender. In front, and each at the beginning of a line of the
    /// cache: of what is in a body nothing else is asked for.
    streams: [Stream; 2],
    client: Peer,
    connection: Connection,
    /// Requests without a response, in order. Only the last may be under way.
    pending: VecDeque<Part>,
    /// Responses that came before the bytes of their requests, in order. Only the last may be under way.
    waiting: VecDeque<Answer>,
    /// Bytes of the heads in both queues.
    queued_bytes: usize,
    /// The response under way, paired or known to be an orphan.
    current: Option<Open>,
    /// Its response is over and its request is not.
    early: Option<Open>,
    /// Interim responses since the last final one.
    interim: Vec<Interim>,
    /// Exchanges that have begun so far.
    next_index: u32,
    /// Final responses so far.
    answers: u32,
    /// The end of the last response.
    previous_end: Option<Timestamp>,
    /// A request was sent while the one before it had no response.
    pipelined: bool,
    /// Began before the capture, and no pair has shown yet that the directions are in step.
    out_of_step: bool,
    /// How often bytes of unknown content were missing.
    losses: u32,
    /// The same, of the server's stream.
    server_losses: u32,
    ended: [bool; 2],
    /// Bytes of the server that were taken for a body and belong to the protocol that followed.
    behind: u64,
    next: Next,
    /// The protocol that follows, and the exchange that switched to it.
    tunnel: Option<Box<TunnelState>>,
    switched: Option<Box<Exchange>>,
    /// Why the connection is over, once it is.
    closing: Option<CloseReason>,
}

/// One message.
#[derive(Debug)]
struct Part {
    head: Head,
    at: Progress,
    fate: Fate,
    oddities: Oddities,
    method: Method,
    /// It offers or accepts another protocol, h2c or websocket.
    upgrade: bool,
    h2c: bool,
    websocket: bool,
    /// Its end was the end of the connection, in order.
    closed: bool,
    /// Of the exchange: that of a request, and of a response that has none.
    index: u32,
    /// Of a request: the end of the last response before it.
    previous_end: Option<Timestamp>,
    kept: Option<Box<Kept>>,
    /// The connection's counts of losses when the message began.
    losses: u32,
    server_losses: u32,
}

/// How a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    UnderWay,
    Whole,
    /// Bytes that framing needs are missing.
    Broken,
    /// There should have been more.
    Cut,
}

/// A final response, and what came before it.
#[derive(Debug)]
struct Answer {
    part: Part,
    interim: Vec<Interim>,
    previous_end: Option<Timestamp>,
    /// No final response came before it.
    is_first: bool,
}

/// An exchange that has its response.
#[derive(Debug)]
struct Open {
    request: Option<Part>,
    answer: Answer,
    confidence: Confidence,
    /// In doubt whether the two belong together.
    doubtful: bool,
    out_of_step: bool,
    /// The request was sent before the capture began.
    before_capture: bool,
}

/// Which request a response answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolution {
    Pair(usize),
    Orphan,
    Wait,
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
            current: None,
            early: None,
            interim: Vec::new(),
            next_index: 0,
            answers: 0,
            previous_end: None,
            pipelined: false,
            out_of_step: flow.midstream,
            losses: u32::from(lost),
            server_losses: 0,
            ended: [false; 2],
            behind: 0,
            next: Next::Http1,
            tunnel: None,
            switched: None,
            closing: None,
        }
    }

    /// Sets where a direction continues, and whether it has ended, when bytes before were looked at elsewhere.
    pub(crate) fn start_at(&mut self, from: Peer, offset: u64, ended: bool) {
        self.stream(from).position = offset;
        self.ended[from as usize] = ended;
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

    /// Takes the next bytes of one direction.
    pub(crate) fn data<S: Sink>(&mut self, context: &mut Context<'_, S>, data: &Data<'_>) -> Next {
        let mut rest = data.bytes;
        loop {
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
            match event {
                Event::Head(parsed) if data.from == self.client => {
                    self.request_head(context, parsed, data.now)
                }
                Event::Head(parsed) => self.response_head(context, parsed, data.now),
                Event::End => self.over(context, data.from, Fate::Whole, data.now),
                Event::Broken => self.over(context, data.from, Fate::Cut, data.now),
                Event::Skipped(bytes) => context.counters.skipped_bytes += bytes,
                Event::Switched(bytes) => {
                    context.counters.tunnel_bytes += bytes;
                    context.counters.tunnel_bytes_delivered += bytes;
                    let bytes = &data.bytes[data.bytes.len().saturating_sub(bytes as usize)..];
                    if let Some(tunnel) = &mut self.tunnel {
                        tunnel.data(data.from, bytes);
                    }
                }
            }
        }
        if data.from == self.client && !self.waiting.is_empty() {
            self.settle(context, data.now, false);
        }
        self.next
    }

    /// Takes a hole in one direction.
    pub(crate) fn gap<S: Sink>(&mut self, context: &mut Context<'_, S>, gap: &Gap) -> Next {
        let config = context.config;
        let after = self.stream(gap.from).gap(gap.len, config);
        match after {
            AfterGap::Inside | AfterGap::Switched => {}
            AfterGap::End => self.over(context, gap.from, Fate::Whole, gap.now),
            AfterGap::EndAndMore => {
                self.over(context, gap.from, Fate::Whole, gap.now);
                self.lost(gap.from);
            }
            AfterGap::Broken => {
                self.lost(gap.from);
                self.over(context, gap.from, Fate::Broken, gap.now);
            }
            AfterGap::Head(half) => {
                self.lost(gap.from);
                self.half_head(context, gap.from, half, Fate::Broken, gap.now);
            }
            AfterGap::Unknown => self.lost(gap.from),
        }
        if gap.from == self.client {
            self.settle(context, gap.now, false);
        }
        self.next
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
            self.pending.iter_mut().rev().take_while(reached).for_each(mark);
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
        self.cut(context, end.from, true, end.now);
        if end.from == self.client {
            self.settle(context, end.now, false);
        }
        self.next
    }

    /// Nothing more comes: all that is left is reported, but for an exchange that has switched to another protocol, which is
    /// given back.
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
        self.settle(context, now, true);
        let in_order = matches!(reason, CloseReason::Finished);
        for from in [self.client, self.client.opposite()] {
            self.cut(context, from, in_order, now);
        }
        // The last response may have been half a head.
        self.settle(context, now, true);
        let mut interim = std::mem::take(&mut self.interim);
        // A server that had ended in order owed no answer to the end of the capture, and of one that the capture has no
        // packet of none could be seen.
        let server = self.client.opposite();
        let unseen = context.flow.stream(server).packets == 0;
        let no_answer = self.ended[server as usize] || unseen;
        while let Some(part) = self.next_pending() {
            let (state, why) = match (part.fate, reason) {
                _ if part.server_losses != self.server_losses => (State::Gap, Reason::Gap),
                (Fate::Broken, _) => (State::Gap, Reason::Gap),
                (_, CloseReason::Reset { .. }) => (State::Aborted, why),
                (Fate::Whole, _) if unseen => (State::OrphanRequest, Reason::OneSided),
                (Fate::Whole, CloseReason::Finished) => (State::OrphanRequest, why),
                (Fate::Whole, _) if no_answer => (State::OrphanRequest, Reason::Fin),
                (Fate::Cut, _) => (State::Truncated, report::cut_reason(&part, why)),
                _ => (State::Truncated, why),
            };
            self.emit_request(context, part, std::mem::take(&mut interim), (state, why), now);
        }
        // Of a message whose exchange was reported before its end.
        self.streams.iter_mut().for_each(|stream| stream.forget_kept(context.budget));
        self.switched.take().map(|exchange| *exchange)
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

    fn lost(&mut self, from: Peer) {
        self.losses = self.losses.saturating_add(1);
        if from != self.client {
            self.server_losses = self.server_losses.saturating_add(1);
        }
    }

    fn part(&self, parsed: Parsed, at: Progress) -> Part {
        Part {
            method: Method::of(parsed.head.method()),
            oddities: parsed.framing.oddities,
            upgrade: parsed.framing.upgrade,
            h2c: parsed.framing.h2c,
            websocket: parsed.framing.websocket,
            closed: false,
            index: 0,
            previous_end: self.previous_end,
            kept: None,
            head: parsed.head,
            at,
            fate: Fate::UnderWay,
            losses: self.losses,
            server_losses: self.server_losses,
        }
    }

    fn request_head<S: Sink>(&mut self, context: &mut Context<'_, S>, parsed: Parsed, now: Moment) {
        let ending = body::request_ending(&parsed.framing);
        self.request(context, parsed, now);
        if self.stream(self.client).body(ending) {
            self.over(context, self.client, Fate::Whole, now);
        }
    }

    fn request<S: Sink>(&mut self, context: &mut Context<'_, S>, parsed: Parsed, now: Moment) {
        let at = self.requests().message;
        let index = self.take_index();
        self.announce(context, HeadKind::Request, Some(index), &parsed.head, &at, now);
        context.counters.requests += 1;
        if matches!(parsed.head.start(), StartLine::SimpleRequest { .. }) {
            self.stream(self.client.opposite()).expect_simple();
        }
        if let Some(unanswered) = context.unanswered {
            let (connection, head) = (self.connection, parsed.head.clone());
            let request = PendingRequest { connection, index, head, first: at.first, now };
            context.counters.pending_unwatched += u64::from(!unanswered.put(request));
        }
        if let Some(before) = self.pending.back() {
            // The client had no byte of an answer to the one before: either it had received nothing in between, or
            // all that it had received has been seen, and no answer was in it.
            let received_nothing = at.acknowledged == before.at.acknowledged;
            let all_seen = self.server_losses == 0
                && at.acknowledged.is_some_and(|acknowledged| acknowledged <= self.responses().position);
            self.pipelined |= received_nothing || all_seen;
        }
        let part = Part { index, ..self.part(parsed, at) };
        self.queued_bytes += part.head.raw().len();
        self.pending.push_back(part);
        while self.pending.len() > 1 {
            let reason = if self.pending.len() > context.config.max_pending || self.queued_bytes > QUEUED_MAX
            {
                context.counters.pending_full += 1;
                Reason::TooManyPending
            } else if self.answers_unseen(context, now) {
                Reason::OneSided
            } else {
                break;
            };
            // The count of requests is no longer that of answers to come.
            self.lost(self.client);
            let Some(part) = self.next_pending() else { break };
            self.emit_request(context, part, Vec::new(), (State::OrphanRequest, reason), now);
        }
    }

    /// Whether the oldest request has been waiting for long on a connection of which the server's side is not captured.
    fn answers_unseen<S: Sink>(&self, context: &Context<'_, S>, now: Moment) -> bool {
        let Some(oldest) = self.pending.front().filter(|oldest| oldest.fate != Fate::UnderWay) else {
            return false;
        };
        now.time.0.saturating_sub(oldest.at.first.0) > ONE_SIDED_NS
            && context.flow.stream(self.client.opposite()).packets == 0
    }

    fn take_index(&mut self) -> u32 {
        let index = self.next_index;
        self.next_index = index.saturating_add(1);
        index
    }

    fn response_head<S: Sink>(&mut self, context: &mut Context<'_, S>, parsed: Parsed, now: Moment) {
        let status = parsed.head.status().unwrap_or_default();
        if (100..=199).contains(&status) && status != 101 {
            let at = self.responses().message;
            let asked = self.pending.front().filter(|_| self.waiting.is_empty() && self.losses == 0);
            let index = asked.map(|asked| asked.index);
            self.announce(context, HeadKind::Interim, index, &parsed.head, &at, now);
            context.counters.interim_responses += 1;
            context.counters.message_bytes += at.wire_bytes();
            if self.interim.len() < INTERIM_MAX {
                self.interim.push(Interim { status, first: at.first });
            } else {
                context.counters.interim_dropped += 1;
            }
            // It ends with its head; there is nothing to tell that to.
            let _ = self.stream(self.client.opposite()).body(Ending::Head);
            return;
        }
        let framing = parsed.framing;
        let simple = *parsed.head.start() == StartLine::SimpleResponse;
        let asked = self.response(context, parsed, now);
        let ending = if simple { Ending::Close } else { body::response_ending(status, asked, &framing) };
        let over = self.stream(self.client.opposite()).body(ending);
        if over {
            self.over(context, self.client.opposite(), Fate::Whole, now);
        }
    }

    /// Finds the request of a response whose head has been read. What the request means for it, if there is one.
    fn response<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        parsed: Parsed,
        now: Moment,
    ) -> Option<Asked> {
        let at = self.responses().message;
        context.counters.responses += 1;
        let answer = Answer {
            part: self.part(parsed, at),
            interim: std::mem::take(&mut self.interim),
            previous_end: self.previous_end,
            is_first: self.answers == 0,
        };
        self.answers = self.answers.saturating_add(1);
        let resolution =
            if self.waiting.is_empty() { self.resolve(&answer.part.at, false) } else { Resolution::Wait };
        let index = match resolution {
            Resolution::Pair(place) => self.pending.get(place).map(|request| request.index),
            Resolution::Orphan => Some(self.next_index),
            Resolution::Wait => None,
        };
        self.announce(context, HeadKind::Response, index, &answer.part.head, &at, now);
        if resolution == Resolution::Wait {
            self.queued_bytes += answer.part.head.raw().len();
            self.waiting.push_back(answer);
            while self.waiting.len() > 1
                && (self.waiting.len() > context.config.max_pending || self.queued_bytes > QUEUED_MAX)
            {
                context.counters.pending_full += 1;
                self.settle_first(context, now, true);
            }
            return None;
        }
        let open = self.open(context, answer, resolution, now);
        let asked = open.request.as_ref().map(Part::asked);
        self.current = Some(open);
        asked
    }

    fn next_pending(&mut self) -> Option<Part> {
        let part = self.pending.pop_front()?;
        self.queued_bytes = self.queued_bytes.saturating_sub(part.head.raw().len());
        Some(part)
    }

    /// Which request the response at `at` answers. With `force`, nothing more of the client will come.
    fn resolve(&self, at: &Progress, force: bool) -> Resolution {
        let before = |start: u64| at.acknowledged.is_none_or(|acknowledged| start < acknowledged);
        let client_known = force
            || self.ended[self.client as usize]
            || at.acknowledged.is_none_or(|acknowledged| acknowledged <= self.requests().position);
        let head_under_way = !force && self.requests().in_head() && before(self.requests().message.start);
        // Requests are in the order of their offsets.
        let covered = self.pending.partition_point(|request| before(request.at.start));
        let count_holds = self.losses == 0 && !self.connection.midstream;
        if count_holds && covered > 0 {
            return Resolution::Pair(0);
        }
        if !client_known || head_under_way {
            return Resolution::Wait;
        }
        match covered {
            0 => Resolution::Orphan,
            _ if self.pipelined => Resolution::Pair(0),
            _ if self.is_for_a_lost_one(&self.pending[covered - 1], at) => Resolution::Orphan,
            _ => Resolution::Pair(covered - 1),
        }
    }

    /// Whether the response at `at` answers a request in a hole behind `youngest`, the last request known that its sender
    /// had. The client does not pipeline: it sent what is behind that request once it had the answer to it.
    fn is_for_a_lost_one(&self, youngest: &Part, at: &Progress) -> bool {
        let Some(acknowledged) = at.acknowledged else { return false };
        match youngest.fate {
            Fate::Whole => acknowledged.saturating_sub(youngest.at.end) >= REQUEST_MIN,
            // Where it ends is in the hole. Its answer may be missing, too, and then this one is to another.
            Fate::Broken => youngest.server_losses != self.server_losses,
            Fate::UnderWay | Fate::Cut => false,
        }
    }

    fn open<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        mut answer: Answer,
        resolution: Resolution,
        now: Moment,
    ) -> Open {
        let Resolution::Pair(index) = resolution else {
            // Of a request before the capture nothing was seen; one after it would have been, unless its direction
            // is not captured at all.
            let acknowledged = answer.part.at.acknowledged;
            let before_capture = self.out_of_step && (acknowledged == Some(0) || answer.is_first);
            answer.part.index = self.take_index();
            return Open {
                request: None,
                answer,
                confidence: self.confidence(None),
                doubtful: false,
                out_of_step: self.out_of_step,
                before_capture,
            };
        };
        for _ in 0..index {
            let Some(part) = self.next_pending() else { break };
            let state = match part.fate {
                Fate::Whole if part.server_losses == self.server_losses => {
                    (State::OrphanRequest, Reason::Overtaken)
                }
                _ => (State::Gap, Reason::Gap),
            };
            self.emit_request(context, part, Vec::new(), state, now);
        }
        let request = self.next_pending();
        if let Some(request) = &request {
            self.waits_no_more(context, request, now);
        }
        if self.out_of_step && answer.part.at.acknowledged.is_some() && !self.pipelined {
            // The response acknowledges the request: sent after it, and everything before was answered before.
            self.out_of_step = false;
        }
        let confidence = self.confidence(request.as_ref());
        Open {
            request,
            answer,
            confidence,
            doubtful: confidence == Confidence::Low,
            out_of_step: self.out_of_step,
            before_capture: false,
        }
    }

    fn confidence(&self, request: Option<&Part>) -> Confidence {
        if self.losses == 0 && !self.connection.midstream {
            Confidence::High
        } else if self.pipelined || request.is_none_or(|request| request.losses != self.losses) {
            Confidence::Low
        } else {
            Confidence::Medium
        }
    }

    /// Pairs responses that wait, as far as the client's bytes allow.
    fn settle<S: Sink>(&mut self, context: &mut Context<'_, S>, now: Moment, force: bool) {
        while self.settle_first(context, now, force) {}
    }

    fn settle_first<S: Sink>(&mut self, context: &mut Context<'_, S>, now: Moment, force: bool) -> bool {
        let Some(answer) = self.waiting.front() else { return false };
        let resolution = self.resolve(&answer.part.at, force);
        if resolution == Resolution::Wait {
            return false;
        }
        let Some(answer) = self.waiting.pop_front() else { return false };
        self.queued_bytes = self.queued_bytes.saturating_sub(answer.part.head.raw().len());
        let under_way = answer.part.fate == Fate::UnderWay;
        let status = answer.part.head.status().unwrap_or_default();
        let open = self.open(context, answer, resolution, now);
        let method = open.request.as_ref().map(|request| request.method);
        if !under_way {
            self.answered(context, open, now);
            return true;
        }
        self.current = Some(open);
        match method {
            Some(Method::Connect) if (200..=299).contains(&status) => {
                let stream = &mut self.streams[self.client.opposite() as usize];
                let behind = stream.switch();
                stream.forget_kept(context.budget);
                context.counters.tunnel_bytes += behind;
                context.counters.tunnel_bytes_delivered += behind;
                self.behind = behind;
                self.over(context, self.client.opposite(), Fate::Whole, now);
            }
            Some(Method::Head) if self.stream(self.client.opposite()).without_body() => {
                self.over(context, self.client.opposite(), Fate::Whole, now);
            }
            _ => {}
        }
        true
    }

    /// The message under way in a direction is over.
    fn over<S: Sink>(&mut self, context: &mut Context<'_, S>, from: Peer, fate: Fate, now: Moment) {
        let client = self.client;
        let at = self.stream(from).message;
        context.counters.message_bytes += at.wire_bytes() - at.gap_bytes.min(at.wire_bytes());
        let mut kept = self.stream(from).take_kept(context.config.max_fields);
        let connection = self.connection;
        let mut finish = |part: &mut Part, index: Option<u32>, sink: &mut S| {
            part.at = at;
            part.fate = fate;
            part.kept = kept.take();
            part.oddities.add(part.kept.as_ref().map(|kept| kept.oddities).unwrap_or_default());
            sink.message(report::message(&connection, from == client, index, part, now));
        };
        if from != client {
            self.previous_end = Some(at.last);
            if let Some(mut open) = self.current.take() {
                let index = open.index();
                finish(&mut open.answer.part, Some(index), context.sink);
                self.answered(context, open, now);
            } else if let Some(answer) = self.waiting.back_mut() {
                finish(&mut answer.part, None, context.sink);
            }
        } else if let Some(mut open) = self.early.take() {
            if let Some(request) = &mut open.request {
                finish(request, Some(request.index), context.sink);
            }
            self.emit_answered(context, open, now);
        } else {
            let under_way = |part: &&mut Part| part.fate == Fate::UnderWay;
            let answered = self.current.as_mut().and_then(|open| open.request.as_mut());
            let part = answered.filter(under_way).or_else(|| self.pending.back_mut().filter(under_way));
            if let Some(part) = part {
                finish(part, Some(part.index), context.sink);
            }
        }
        // Of a message whose exchange was reported before its end.
        context.budget.free += kept.map_or(0, |kept| kept.body.len());
    }

    /// An exchange has its whole response.
    fn answered<S: Sink>(&mut self, context: &mut Context<'_, S>, open: Open, now: Moment) {
        let part = &open.answer.part;
        let status = part.head.status().unwrap_or_default();
        let asked = open.request.as_ref().map(Part::asked);
        let switches = body::response_ending(status, asked, &Default::default()) == Ending::Switch;
        if switches && self.next == Next::Http1 {
            let offers = |wanted: fn(&Part) -> bool| {
                status == 101 && (wanted(part) || open.request.as_ref().is_some_and(wanted))
            };
            let protocol = if offers(|part| part.h2c) {
                TunnelProtocol::Http2
            } else if offers(|part| part.websocket) {
                TunnelProtocol::WebSocket
            } else {
                TunnelProtocol::Unknown
            };
            self.tunnel = Some(Box::new(self.begin_tunnel(protocol, part.at.last)));
            self.next = Next::Tunnel;
            let exchange = self.answered_exchange(context, open, now);
            self.switched = Some(Box::new(exchange));
            return;
        }
        let request_under_way = open.request.as_ref().is_some_and(|request| request.fate == Fate::UnderWay);
        if request_under_way {
            self.early = Some(open);
        } else {
            self.emit_answered(context, open, now);
        }
    }

    /// A head of which only a part was seen.
    fn half_head<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        from: Peer,
        half: Result<Parsed, u64>,
        fate: Fate,
        now: Moment,
    ) {
        let parsed = match half {
            Ok(parsed) => parsed,
            Err(bytes) => {
                context.counters.skipped_bytes += bytes;
                return;
            }
        };
        if from == self.client {
            self.request(context, parsed, now);
        } else {
            self.response(context, parsed, now);
        }
        self.over(context, from, fate, now);
    }

    /// A direction has ended, in order or not: what is under way gets no further.
    fn cut<S: Sink>(&mut self, context: &mut Context<'_, S>, from: Peer, in_order: bool, now: Moment) {
        let config = context.config;
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
            Cut::Body | Cut::Closed => self.over(context, from, Fate::Cut, now),
        }
    }
}

impl Part {
    /// What it means for its response.
    fn asked(&self) -> Asked {
        Asked { method: self.method, upgrade: self.upgrade }
    }
}

impl Open {
    /// Of its exchange.
    fn index(&self) -> u32 {
        self.request.as_ref().unwrap_or(&self.answer.part).index
    }
}

/// Interim responses kept of one exchange. More than a few are progress messages (102, 103), of which the first matter.
const INTERIM_MAX: usize = 16;
/// Most bytes of heads that wait on one connection: some thousand usual ones. A peer that sends large heads and gets no
/// answer cannot hold more.
const QUEUED_MAX: usize = 1 << 20;
/// On a connection of which only the client's side is captured, a request is reported when the next one comes after so many
/// nanoseconds: 30 s, which is what servers and proxies take for the end of their patience.
const ONE_SIDED_NS: u64 = 30_000_000_000;
/// Length of `GET / HTTP/1.1` and two line ends: fewer bytes are no request, but empty lines behind a body, for instance.
const REQUEST_MIN: u64 = 16;
