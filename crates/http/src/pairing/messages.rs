//! Messages as they begin and end: heads become parts of exchanges, and ends complete them.

use gannet_flow::{Moment, Peer};

use super::later::Step;
use super::part::{Announced, Answer, Before, Fate, Open, Opens, Part, Resolution};
use super::{Context, Http1, Next, report};
use crate::body::{self, Asked, Ending, Method};
use crate::framing::{Half, Progress};
use crate::head::StartLine;
use crate::parse::Parsed;
use crate::tunnel::TunnelProtocol;
use crate::{Confidence, HeadKind, Interim, PendingRequest, Reason, Sink, State};

impl Http1 {
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
            opens: Opens::No,
            hides: false,
        }
    }

    pub(super) fn request_head<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        parsed: Parsed,
        now: Moment,
    ) {
        let ending = body::request_ending(&parsed.framing);
        self.request(context, parsed, now);
        if self.stream(self.client).body(ending) {
            self.over(context, self.client, Fate::Whole, now);
        }
    }

    fn request<S: Sink>(&mut self, context: &mut Context<'_, S>, parsed: Parsed, now: Moment) {
        let at = self.first_sending();
        let index = self.take_index();
        self.announce(context, (HeadKind::Request, &parsed.head, &at), Some(index), None, now);
        context.counters.requests += 1;
        if matches!(parsed.head.start(), StartLine::SimpleRequest { .. }) {
            self.stream(self.client.opposite()).expect_simple();
        }
        if let Some(unanswered) = context.unanswered {
            let (connection, head) = (self.connection, parsed.head.clone());
            let request = PendingRequest { connection, index, head, first: at.first, now };
            context.counters.pending_unwatched += u64::from(!unanswered.put(request));
        }
        let part = Part { index, ..self.part(parsed, at) };
        self.queued_bytes += part.memory();
        let end_before = self.witness.request_end;
        if self.is_due(&at) {
            self.ask(context, part, end_before, now);
        } else {
            self.put_by(context, Step::Request { part, end_before }, now);
        }
    }

    /// A request is the next one without an answer. The one before it ended at `end_before`, if all of that was seen.
    #[inline]
    pub(super) fn ask<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        mut part: Part,
        end_before: Option<u64>,
        now: Moment,
    ) {
        (part.opens, part.hides) = self.opens_turn(&part.at, end_before, context.flow);
        (part.losses, part.previous_end) = (self.losses, self.previous_end);
        if self.pending.capacity() == 0 {
            self.pending = context.spare.take();
        }
        self.pending.push_back(part);
        self.request_seen();
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
            self.client_lost(0);
            self.request_missing = true;
            self.witness.out_of_step();
            self.requests_uncounted();
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

    pub(super) fn take_index(&mut self) -> u32 {
        let index = self.next_index;
        self.next_index = index.saturating_add(1);
        index
    }

    #[inline]
    pub(super) fn response_head<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        parsed: Parsed,
        now: Moment,
    ) {
        let status = parsed.head.status().unwrap_or_default();
        if is_interim(&parsed) {
            self.interim_head(context, &parsed, now);
            // It ends with its head; there is nothing to tell that to.
            let _ = self.stream(self.client.opposite()).body(Ending::Head);
            return;
        }
        let framing = parsed.framing;
        let simple = *parsed.head.start() == StartLine::SimpleResponse;
        let asked = self.response(context, parsed, now);
        let ending = if simple { Ending::Close } else { body::response_ending(status, asked, &framing) };
        let doubted = self.current.as_ref().is_some_and(|open| open.confidence == Confidence::Low);
        let ending = if doubted && !simple { ending.perhaps() } else { ending };
        let over = self.stream(self.client.opposite()).body(ending);
        if over {
            self.over(context, self.client.opposite(), Fate::Whole, now);
        }
    }

    /// Keeps what there is to know of an interim response for the final one.
    fn interim_head<S: Sink>(&mut self, context: &mut Context<'_, S>, parsed: &Parsed, now: Moment) {
        let at = self.responses().message;
        let asked = self.pending.front().filter(|_| self.waiting.is_empty());
        let asked = asked.filter(|asked| self.witness.counts(asked, self.losses.server));
        let index = asked.map(|asked| asked.index);
        self.announce(context, (HeadKind::Interim, &parsed.head, &at), index, asked, now);
        context.counters.interim_responses += 1;
        context.counters.message_bytes += at.wire_bytes();
        if self.interim.len() < INTERIM_MAX {
            let status = parsed.head.status().unwrap_or_default();
            let (interim, losses) = (Interim { status, first: at.first }, self.losses.server);
            self.interim.push(Announced { interim, acknowledged: at.acknowledged, losses });
        } else {
            context.counters.interim_dropped += 1;
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
        // What came before it was no answer to those that come after.
        self.bad_response = false;
        context.counters.responses += 1;
        let answer = Answer {
            part: self.part(parsed, at),
            interim: std::mem::take(&mut self.interim),
            previous_end: self.previous_end,
            is_first: self.answers == 0,
            before: Before {
                start: self.witness.answer_start.replace(at.start),
                whole: self.witness.answer_whole,
                hole: self.hole,
            },
            decided: None,
        };
        self.answers = self.answers.saturating_add(1);
        if self.later.is_some() {
            self.catch_up(context, at.start, at.acknowledged, now);
        }
        if !self.pending.is_empty() {
            self.heed(&at, answer.before);
            self.answered_in_hole(answer.before);
        }
        let resolution =
            if self.waiting.is_empty() { self.resolve(&answer, false) } else { Resolution::Wait };
        let (index, request) = match resolution {
            Resolution::Pair(place) => {
                let request = self.pending.get(place);
                (request.map(|request| request.index), request)
            }
            Resolution::Orphan => (Some(self.next_index), None),
            Resolution::Wait | Resolution::LookBack(..) => (None, None),
        };
        self.announce(context, (HeadKind::Response, &answer.part.head, &at), index, request, now);
        if index.is_none() {
            self.queued_bytes += answer.part.memory();
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
        self.current = Some(Box::new(open));
        asked
    }

    pub(super) fn next_pending(&mut self) -> Option<Part> {
        let part = self.pending.pop_front()?;
        self.queued_bytes = self.queued_bytes.saturating_sub(part.memory());
        Some(part)
    }

    /// The message under way in a direction is over.
    pub(super) fn over<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        from: Peer,
        fate: Fate,
        now: Moment,
    ) {
        let client = self.client;
        let at = self.stream(from).message;
        context.counters.message_bytes += at.wire_bytes() - at.gap_bytes.min(at.wire_bytes());
        let mut kept = self.stream(from).take_kept(context.config.max_fields);
        self.count_stream(from);
        let connection = self.connection;
        let mut finish = |part: &mut Part, index: Option<u32>, request: Option<&Part>, sink: &mut S| {
            part.at = at;
            part.fate = fate;
            part.kept = kept.take();
            part.oddities.add(part.kept.as_ref().map(|kept| kept.oddities).unwrap_or_default());
            sink.message(report::message(&connection, from == client, index, part, request, now));
        };
        if from != client {
            self.previous_end = Some(at.last);
            // What follows the answer to HEAD is its body if it answers something else.
            let for_head = self.current.as_ref().is_some_and(|open| open.ends_on_a_guess());
            self.witness.answer_whole = fate == Fate::Whole && !for_head;
            if let Some(mut open) = self.current.take() {
                let index = open.index();
                finish(&mut open.answer.part, Some(index), open.request.as_ref(), context.sink);
                self.answered(context, open, now);
            } else if let Some(answer) = self.waiting.back_mut() {
                let before = answer.part.memory();
                finish(&mut answer.part, None, None, context.sink);
                self.queued_bytes = (self.queued_bytes + answer.part.memory()).saturating_sub(before);
            }
        } else if let Some(mut open) = self.early.take() {
            if let Some(request) = &mut open.request {
                finish(request, Some(request.index), None, context.sink);
            }
            self.witness.request_end = (fate == Fate::Whole).then_some(at.end);
            self.emit_answered(context, open, now);
        } else {
            self.witness.request_end = (fate == Fate::Whole).then_some(at.end);
            let under_way = |part: &&mut Part| part.fate == Fate::UnderWay;
            let answered = self.current.as_mut().and_then(|open| open.request.as_mut());
            let later = self.later.as_mut().and_then(|later| later.requests_mut().next_back());
            if let Some(part) = answered.filter(under_way) {
                finish(part, Some(part.index), None, context.sink);
            } else if let Some(part) = later {
                if under_way(&&mut *part) {
                    let before = part.memory();
                    finish(part, Some(part.index), None, context.sink);
                    self.queued_bytes = (self.queued_bytes + part.memory()).saturating_sub(before);
                }
            } else if let Some(part) = self.pending.back_mut().filter(under_way) {
                let before = part.memory();
                finish(part, Some(part.index), None, context.sink);
                self.queued_bytes = (self.queued_bytes + part.memory()).saturating_sub(before);
            }
        }
        // Of a message whose exchange was reported before its end.
        context.budget.free += kept.map_or(0, |kept| kept.body.len());
    }

    /// An exchange has its whole response.
    pub(super) fn answered<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        mut open: Box<Open>,
        now: Moment,
    ) {
        let part = &open.answer.part;
        if open.request.is_some() {
            self.witness.answered_to = part.at.end;
        }
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
            if let Some(request) = open.request.as_mut().filter(|request| request.fate == Fate::UnderWay) {
                // What is left of it will not be told from what is in the tunnel.
                request.at = self.requests().message;
                request.fate = Fate::Cut;
                let index = Some(request.index);
                context.sink.message(report::message(&self.connection, true, index, request, None, now));
            }
            let exchange = self.answered_exchange(context, &mut open, now);
            self.switched = Some(Box::new(exchange));
            return;
        }
        let request_under_way = open.request.as_ref().is_some_and(|request| request.fate == Fate::UnderWay);
        if request_under_way {
            self.early = Some(open);
            self.perhaps_refused();
        } else {
            self.emit_answered(context, open, now);
        }
    }

    /// A head of which only a part was seen.
    pub(super) fn half_head<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        from: Peer,
        half: Result<Parsed, Half>,
        fate: Fate,
        now: Moment,
    ) {
        let parsed = match half {
            Ok(parsed) => parsed,
            Err(half) => {
                context.counters.skipped_bytes += half.bytes;
                context.counters.start_lines_cut += u64::from(half.of_start_line);
                self.bad_request |= from == self.client && half.of_start_line;
                if from == self.client {
                    let start = self.requests().position.saturating_sub(half.bytes);
                    self.put_by(context, Step::Unread { start, bytes: half.bytes }, now);
                }
                return;
            }
        };
        if from == self.client {
            self.request(context, parsed, now);
        } else if is_interim(&parsed) {
            // It would have ended with its head, and the final response is behind it.
            return self.interim_head(context, &parsed, now);
        } else {
            self.response(context, parsed, now);
        }
        self.over(context, from, fate, now);
    }
}

/// Whether a response is not the final one: a status of 1xx, but for 101, behind which another protocol comes.
fn is_interim(parsed: &Parsed) -> bool {
    parsed.head.status().is_some_and(|status| (100..=199).contains(&status) && status != 101)
}

/// Interim responses kept of one exchange. More than a few are progress messages (102, 103), of which the first matter.
const INTERIM_MAX: usize = 16;
/// Most bytes of heads that wait on one connection: some thousand usual ones. A peer that sends large heads and gets no
/// answer cannot hold more.
pub(super) const QUEUED_MAX: usize = 1 << 20;
/// On a connection of which only the client's side is captured, a request is reported when the next one comes after so many
/// nanoseconds: 30 s, which is what servers and proxies take for the end of their patience.
const ONE_SIDED_NS: u64 = 30_000_000_000;
