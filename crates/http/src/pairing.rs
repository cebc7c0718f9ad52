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

use std::collections::VecDeque;

use gannet_flow::{CloseReason, Data, Flow, Gap, Moment, Peer, Retransmission, StreamEnd};
use gannet_packet::Timestamp;

use crate::body::{self, Ending, Method};
use crate::framing::{AfterGap, Arrival, Cut, Event, Progress, Stream};
use crate::parse::{Parsed, Role};
use crate::timing::{self, Edges};
use crate::{
    Confidence, Connection, Counters, Exchange, Head, HeadEvent, HeadKind, HttpConfig, Interim, Message,
    Sink, State, Untrusted,
};

/// What a connection works with and does not own.
pub(crate) struct Context<'a, S> {
    pub(crate) config: &'a HttpConfig,
    pub(crate) counters: &'a mut Counters,
    pub(crate) sink: &'a mut S,
    pub(crate) flow: &'a Flow,
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Http1,
    /// Another protocol from here on.
    Tunnel {
        h2c: bool,
    },
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
    /// Exchanges so far.
    index: u32,
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
    /// Bytes of the protocol that followed.
    tunnelled: u64,
    next: Next,
    /// Why the connection is over, once it is.
    closing: Option<CloseReason>,
}

/// One message.
#[derive(Debug)]
struct Part {
    head: Head,
    at: Progress,
    fate: Fate,
    ambiguous: bool,
    method: Method,
    h2c: bool,
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
            index: 0,
            answers: 0,
            previous_end: None,
            pipelined: false,
            out_of_step: flow.midstream,
            losses: u32::from(lost),
            server_losses: 0,
            ended: [false; 2],
            tunnelled: 0,
            next: Next::Http1,
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

    /// Bytes of the protocol that followed, and bytes of both directions before it.
    pub(crate) fn tunnelled_and_before(&self) -> (u64, u64) {
        let both = self.requests().position.saturating_add(self.responses().position);
        (self.tunnelled, both.saturating_sub(self.tunnelled))
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
                boundary: rest.len() == data.bytes.len(),
            };
            let config = context.config;
            let Some(event) = self.stream(data.from).step(&mut rest, &arrival, config) else { break };
            match event {
                Event::Head(parsed) if data.from == self.client => {
                    self.request_head(context, parsed, data.now)
                }
                Event::Head(parsed) => self.response_head(context, parsed, data.now),
                Event::End => self.over(context, data.from, Fate::Whole, data.now),
                Event::Broken => self.over(context, data.from, Fate::Cut, data.now),
                Event::Skipped(bytes) => context.counters.skipped_bytes += bytes,
                Event::Switched(bytes) => self.tunnelled(context, bytes),
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

    /// Nothing more comes: all that is left is reported.
    pub(crate) fn close<S: Sink>(&mut self, context: &mut Context<'_, S>, reason: CloseReason, now: Moment) {
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
        let no_answer = self.ended[server as usize] || context.flow.stream(server).packets == 0;
        while let Some(part) = self.next_pending() {
            let state = match (part.fate, reason) {
                _ if part.server_losses != self.server_losses => State::Gap,
                (Fate::Broken, _) => State::Gap,
                (_, CloseReason::Reset { .. }) => State::Aborted,
                (Fate::Whole, CloseReason::Finished) => State::OrphanRequest,
                (Fate::Whole, _) if no_answer => State::OrphanRequest,
                _ => State::Truncated,
            };
            self.emit_request(context, part, std::mem::take(&mut interim), state, now);
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

    fn lost(&mut self, from: Peer) {
        self.losses = self.losses.saturating_add(1);
        if from != self.client {
            self.server_losses = self.server_losses.saturating_add(1);
        }
    }

    fn tunnelled<S>(&mut self, context: &mut Context<'_, S>, bytes: u64) {
        self.tunnelled += bytes;
        context.counters.tunnel_bytes += bytes;
        context.counters.tunnel_bytes_delivered += bytes;
    }

    fn part(&self, parsed: Parsed, at: Progress) -> Part {
        Part {
            method: Method::of(parsed.head.method()),
            ambiguous: parsed.framing.ambiguous,
            h2c: parsed.framing.h2c,
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
        self.announce(context, HeadKind::Request, &parsed.head, &at, now);
        context.counters.requests += 1;
        if let Some(before) = self.pending.back() {
            // The client had no byte of an answer to the one before: either it had received nothing in between, or
            // all that it had received has been seen, and no answer was in it.
            let received_nothing = at.acknowledged == before.at.acknowledged;
            let all_seen = self.server_losses == 0
                && at.acknowledged.is_some_and(|acknowledged| acknowledged <= self.responses().position);
            self.pipelined |= received_nothing || all_seen;
        }
        let part = self.part(parsed, at);
        self.queued_bytes += part.head.raw().len();
        self.pending.push_back(part);
        while self.pending.len() > 1
            && (self.pending.len() > context.config.max_pending || self.queued_bytes > QUEUED_MAX)
        {
            // The count of requests is no longer that of answers to come.
            self.lost(self.client);
            context.counters.pending_full += 1;
            let Some(part) = self.next_pending() else { break };
            self.emit_request(context, part, Vec::new(), State::OrphanRequest, now);
        }
    }

    fn response_head<S: Sink>(&mut self, context: &mut Context<'_, S>, parsed: Parsed, now: Moment) {
        let status = parsed.head.status().unwrap_or_default();
        if (100..=199).contains(&status) && status != 101 {
            let at = self.responses().message;
            self.announce(context, HeadKind::Interim, &parsed.head, &at, now);
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
        let method = self.response(context, parsed, now);
        let ending = body::response_ending(status, method, &framing);
        let over = self.stream(self.client.opposite()).body(ending);
        if over {
            self.over(context, self.client.opposite(), Fate::Whole, now);
        }
    }

    /// Finds the request of a response whose head has been read. The request's method, if there is one.
    fn response<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        parsed: Parsed,
        now: Moment,
    ) -> Option<Method> {
        let at = self.responses().message;
        self.announce(context, HeadKind::Response, &parsed.head, &at, now);
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
        let method = open.request.as_ref().map(|request| request.method);
        self.current = Some(open);
        method
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
            _ => Resolution::Pair(covered - 1),
        }
    }

    fn open<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        answer: Answer,
        resolution: Resolution,
        now: Moment,
    ) -> Open {
        let Resolution::Pair(index) = resolution else {
            // Of a request before the capture nothing was seen; one after it would have been, unless its direction
            // is not captured at all.
            let acknowledged = answer.part.at.acknowledged;
            let before_capture = self.out_of_step && (acknowledged == Some(0) || answer.is_first);
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
                Fate::Whole if part.server_losses == self.server_losses => State::OrphanRequest,
                _ => State::Gap,
            };
            self.emit_request(context, part, Vec::new(), state, now);
        }
        let request = self.next_pending();
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
                let behind = self.stream(self.client.opposite()).switch();
                self.tunnelled(context, behind);
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
        let at = self.stream(from).message;
        context.counters.message_bytes += at.wire_bytes() - at.gap_bytes.min(at.wire_bytes());
        let finish = |part: &mut Part| {
            part.at = at;
            part.fate = fate;
        };
        if from != self.client {
            self.previous_end = Some(at.last);
            if let Some(mut open) = self.current.take() {
                finish(&mut open.answer.part);
                self.answered(context, open, now);
            } else if let Some(answer) = self.waiting.back_mut() {
                finish(&mut answer.part);
            }
            return;
        }
        let under_way = |part: &&mut Part| part.fate == Fate::UnderWay;
        if let Some(mut open) = self.early.take() {
            open.request.as_mut().into_iter().for_each(finish);
            self.emit_answered(context, open, now);
        } else if let Some(part) =
            self.current.as_mut().and_then(|open| open.request.as_mut()).filter(under_way)
        {
            finish(part);
        } else if let Some(part) = self.pending.back_mut().filter(under_way) {
            finish(part);
        }
    }

    /// An exchange has its whole response.
    fn answered<S: Sink>(&mut self, context: &mut Context<'_, S>, open: Open, now: Moment) {
        let part = &open.answer.part;
        let status = part.head.status().unwrap_or_default();
        let method = open.request.as_ref().map(|request| request.method);
        let switches = body::response_ending(status, method, &Default::default()) == Ending::Switch;
        let h2c = status == 101 && (part.h2c || open.request.as_ref().is_some_and(|request| request.h2c));
        if switches {
            self.next = Next::Tunnel { h2c };
        }
        let request_under_way = open.request.as_ref().is_some_and(|request| request.fate == Fate::UnderWay);
        if request_under_way && !switches {
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
            Cut::Closed if in_order => self.over(context, from, Fate::Whole, now),
            Cut::Body | Cut::Closed => self.over(context, from, Fate::Cut, now),
        }
    }

    fn announce<S: Sink>(
        &self,
        context: &mut Context<'_, S>,
        kind: HeadKind,
        head: &Head,
        at: &Progress,
        now: Moment,
    ) {
        context.counters.heads_cut += u64::from(head.cut);
        context.sink.head(HeadEvent { connection: &self.connection, kind, head, first: at.first, now });
    }

    /// Reports an exchange with a response.
    fn emit_answered<S: Sink>(&mut self, context: &mut Context<'_, S>, open: Open, now: Moment) {
        let fates = [Some(open.answer.part.fate), open.request.as_ref().map(|request| request.fate)];
        let any = |fate| fates.contains(&Some(fate));
        let state = if open.request.is_none() {
            if open.before_capture { State::Midstream } else { State::OrphanResponse }
        } else if any(Fate::Broken) {
            State::Gap
        } else if any(Fate::Cut) || any(Fate::UnderWay) {
            match self.closing {
                Some(CloseReason::Reset { .. }) => State::Aborted,
                _ => State::Truncated,
            }
        } else {
            State::Complete
        };
        let untrusted =
            Untrusted { pairing: open.doubtful, midstream: open.out_of_step, ..Untrusted::default() };
        let Answer { part, interim, previous_end, .. } = open.answer;
        let parts = (open.request, Some(part));
        self.emit(context, parts, interim, previous_end, state, (open.confidence, untrusted), now);
    }

    fn emit_request<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        part: Part,
        interim: Vec<Interim>,
        state: State,
        now: Moment,
    ) {
        let confidence = self.confidence(Some(&part));
        let untrusted = Untrusted { midstream: self.out_of_step, ..Untrusted::default() };
        self.emit(context, (Some(part), None), interim, None, state, (confidence, untrusted), now);
    }

    #[expect(clippy::too_many_arguments, reason = "everything an exchange is made of, at one place")]
    fn emit<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        (request, response): (Option<Part>, Option<Part>),
        interim: Vec<Interim>,
        previous: Option<Timestamp>,
        state: State,
        (confidence, mut untrusted): (Confidence, Untrusted),
        now: Moment,
    ) {
        for part in [&request, &response].into_iter().flatten() {
            untrusted.retransmitted |= part.at.first_again || part.at.last_again;
            untrusted.gap |= part.fate == Fate::Broken || part.at.last_missing;
            context.counters.ambiguous_lengths += u64::from(part.ambiguous);
        }
        let edges = |part: &'_ Option<Part>| part.as_ref().map(|part| (part.at, part.fate == Fate::Whole));
        let (asked, answered) = (edges(&request), edges(&response));
        let edges = Edges {
            request: asked.as_ref().map(|(at, whole)| (at, *whole)),
            response: answered.as_ref().map(|(at, whole)| (at, *whole)),
            previous,
        };
        let mut timing = edges.timing(&mut untrusted);
        if self.index == 0 {
            timing.connect = timing::connect(&context.flow.handshake());
        }
        let then = asked.or(answered).map(|(at, _)| at.facts).unwrap_or_default();
        let counters = &mut *context.counters;
        counters.exchanges += 1;
        counters.without_request += u64::from(request.is_none());
        counters.without_response += u64::from(response.is_none());
        counters.untrusted += u64::from(untrusted.any());
        *match state {
            State::Complete => &mut counters.complete,
            State::Truncated => &mut counters.truncated,
            State::Gap => &mut counters.gap,
            State::OrphanRequest => &mut counters.orphan_requests,
            State::OrphanResponse => &mut counters.orphan_responses,
            State::Aborted => &mut counters.aborted,
            State::Midstream => &mut counters.exchanges_midstream,
        } += 1;
        let exchange = Exchange {
            connection: self.connection,
            index: self.index,
            completed: now,
            state,
            confidence,
            request: request.map(Part::into_message),
            interim,
            response: response.map(Part::into_message),
            timing,
            untrusted,
            tcp: timing::difference(&timing::sums(context.flow), &then),
        };
        self.index = self.index.saturating_add(1);
        context.sink.exchange(exchange);
    }
}

impl Part {
    fn into_message(self) -> Message {
        Message {
            first: self.at.first,
            head_end: self.at.head_end,
            last: self.at.last,
            body_bytes: self.at.body_bytes,
            wire_bytes: self.at.wire_bytes(),
            complete: self.fate == Fate::Whole,
            gap_bytes: self.at.gap_bytes,
            ambiguous_length: self.ambiguous,
            head: self.head,
        }
    }
}

/// Interim responses kept of one exchange. More than a few are progress messages (102, 103), of which the first matter.
const INTERIM_MAX: usize = 16;
/// Most bytes of heads that wait on one connection: some thousand usual ones. A peer that sends large heads and gets no
/// answer cannot hold more.
const QUEUED_MAX: usize = 1 << 20;
