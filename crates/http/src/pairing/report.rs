//! What a connection tells its sink: heads, messages, exchanges.

use gannet_flow::{CloseReason, Moment};
use gannet_packet::Timestamp;

use super::part::{Announced, Answer, Fate, Open, Part};
use super::{Context, Http1};
use crate::framing::Progress;
use crate::oddity::Oddities;
use crate::timing::{self, Edges};
use crate::{
    Confidence, Connection, Exchange, Head, HeadEvent, HeadKind, Message, MessageEvent, Reason, Sink, State,
    Untrusted,
};

/// All that an exchange is made of and that is not the connection's. What is kept of the messages is taken out of them.
struct Outcome<'p> {
    request: Option<&'p mut Part>,
    response: Option<&'p mut Part>,
    interim: Vec<Announced>,
    /// The end of the response before this one.
    previous: Option<Timestamp>,
    state: State,
    reason: Reason,
    confidence: Confidence,
    untrusted: Untrusted,
}

impl Http1 {
    /// Tells of a head, and of the request that it answers, if it does and that is known.
    pub(super) fn announce<S: Sink>(
        &self,
        context: &mut Context<'_, S>,
        (kind, head, at): (HeadKind, &Head, &Progress),
        index: Option<u32>,
        request: Option<&Part>,
        now: Moment,
    ) {
        context.counters.heads_cut += u64::from(head.cut);
        let (connection, request) = (&self.connection, request.map(|request| &request.head));
        let (first, arrival) = (at.first, at.arrival);
        context.sink.head(HeadEvent { connection, kind, index, head, request, first, arrival, now });
    }

    /// Reports an exchange with a response.
    pub(super) fn emit_answered<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        mut open: Box<Open>,
        now: Moment,
    ) {
        let exchange = self.answered_exchange(context, &mut open, now);
        context.sink.exchange(exchange);
    }

    /// An exchange with a response.
    pub(super) fn answered_exchange<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        open: &mut Open,
        now: Moment,
    ) -> Exchange {
        let fates = [Some(open.answer.part.fate), open.request.as_ref().map(|request| request.fate)];
        let any = |fate| fates.contains(&Some(fate));
        let (state, reason) = if open.request.is_none() {
            let state = if open.before_capture { State::Midstream } else { State::OrphanResponse };
            (state, self.why_orphan(context, open))
        } else if any(Fate::Broken) {
            (State::Gap, Reason::Gap)
        } else if any(Fate::Cut) || any(Fate::UnderWay) {
            let reason = self.closing.map_or(Reason::Fin, |closing| Reason::of_close(closing, self.client));
            let parts = [Some(&open.answer.part), open.request.as_ref()];
            let cut = parts.into_iter().flatten().find(|part| part.fate == Fate::Cut);
            let reason = cut.map_or(reason, |part| cut_reason(part, reason));
            match self.closing {
                Some(CloseReason::Reset { .. }) if reason != Reason::BadFraming => (State::Aborted, reason),
                _ => (State::Truncated, reason),
            }
        } else {
            let closed = open.answer.part.closed;
            (State::Complete, if closed { Reason::Fin } else { Reason::Framing })
        };
        let untrusted = Untrusted {
            pairing: open.request.is_some() && open.confidence == Confidence::Low,
            midstream: open.out_of_step,
            ..Untrusted::default()
        };
        let confidence = open.confidence;
        let Answer { part, interim, previous_end, .. } = &mut open.answer;
        let continues = interim.iter().filter(|one| one.interim.status == 100).count();
        part.oddities.add_if(continues > 1, Oddities::REPEATED_CONTINUE);
        if part.head.status() == Some(101) {
            let asked = open.request.as_ref().is_none_or(|request| request.upgrade);
            part.oddities.add_if(!asked, Oddities::UNASKED_SWITCH);
        }
        let outcome = Outcome {
            request: open.request.as_mut(),
            response: Some(part),
            interim: std::mem::take(interim),
            previous: *previous_end,
            state,
            reason,
            confidence,
            untrusted,
        };
        self.exchange(context, outcome, now)
    }

    pub(super) fn emit_request<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        mut part: Part,
        interim: Vec<Announced>,
        (state, reason): (State, Reason),
        now: Moment,
    ) {
        self.waits_no_more(context, &part, now);
        let outcome = Outcome {
            confidence: self.confidence_alone(Some(&part)),
            untrusted: Untrusted { midstream: self.out_of_step, ..Untrusted::default() },
            request: Some(&mut part),
            response: None,
            interim,
            previous: None,
            state,
            reason,
        };
        let exchange = self.exchange(context, outcome, now);
        context.sink.exchange(exchange);
    }

    /// A request has been answered, or will not be: if it has waited for too long and nobody has said so yet, that is
    /// said.
    pub(super) fn waits_no_more<S: Sink>(&self, context: &mut Context<'_, S>, request: &Part, now: Moment) {
        let Some(unanswered) = context.unanswered else { return };
        if let Some(overdue) = unanswered.take(request.at.first, self.connection.flow, request.index, now) {
            context.counters.pending_reported += 1;
            context.sink.pending(overdue);
        }
    }

    /// Why a response has no request.
    fn why_orphan<S: Sink>(&self, context: &Context<'_, S>, open: &Open) -> Reason {
        // What its server had of the client by then had been sent before the first packet of the connection that was
        // captured.
        let asked_before = open.before_capture && open.answer.part.at.acknowledged == Some(0);
        if context.flow.stream(self.client).packets == 0 && !asked_before {
            Reason::OneSided
        } else if open.before_capture {
            Reason::BeforeCapture
        } else if self.request_missing {
            Reason::RequestMissing
        } else if self.bad_request || self.requests().in_head() {
            match context.flow.tls() {
                Some(hello) if hello.client == Some(self.client) => Reason::TlsRequest,
                // Also one of which the server has seen enough, or waited for the rest for too long.
                _ => Reason::BadRequest,
            }
        } else if self.losses.server > 0 && !self.pending.is_empty() {
            // It answers one of them.
            Reason::Gap
        } else {
            Reason::Unsolicited
        }
    }

    fn exchange<S: Sink>(&self, context: &mut Context<'_, S>, outcome: Outcome<'_>, now: Moment) -> Exchange {
        let Outcome { request, response, interim, previous, state, reason, confidence, mut untrusted } =
            outcome;
        let counters = &mut *context.counters;
        for part in [&request, &response].into_iter().flatten() {
            untrusted.retransmitted |= part.at.first_again || part.at.last_again;
            untrusted.gap |= part.fate == Fate::Broken || part.at.last_missing;
            counters.ambiguous_lengths += u64::from(part.oddities.has(Oddities::OF_LENGTH));
            let kept = part.kept.as_ref().map_or(0, |kept| kept.body.len());
            context.budget.free += kept;
            let partial = context.config.body > 0 && (kept as u64) < part.at.body_bytes;
            counters.bodies_partial += u64::from(partial);
        }
        counters.bodies_cut = context.budget.refused;
        let (asked, answered) = (request.as_deref().map(Part::edges), response.as_deref().map(Part::edges));
        let edges = Edges {
            request: asked,
            response: answered,
            previous,
            before: request.as_ref().and_then(|request| request.previous_end),
        };
        let index = request.as_ref().or(response.as_ref()).map_or(0, |part| part.index);
        let mut timing = edges.timing(&mut untrusted);
        timing.server_round_trip = timing::round_trip(context.flow, self.client);
        timing.client_round_trip = timing::round_trip(context.flow, self.client.opposite());
        if index == 0 {
            timing.handshake = context.flow.handshake();
            timing.connect = timing::connect(&timing.handshake);
        }
        let then = asked.or(answered).map(|(at, _)| at.facts).unwrap_or_default();
        let mut tcp = timing::difference(&timing::sums(context.flow, self.client), &then);
        if state == State::Complete {
            // All that is missing of it is in its bodies. A hole of another one may have been given up meanwhile.
            tcp.gap_bytes = asked.iter().chain(&answered).map(|(at, _)| at.gap_bytes).sum();
        }
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
        Exchange {
            connection: self.connection,
            index,
            completed: now,
            state,
            reason,
            confidence,
            request: request.map(Part::take_message),
            interim: interim.into_iter().map(|one| one.interim).collect(),
            response: response.map(Part::take_message),
            timing,
            untrusted,
            tcp,
            tunnel: None,
        }
    }
}

/// Why a message was cut off, if the connection ended or ends for `otherwise`.
pub(super) fn cut_reason(part: &Part, otherwise: Reason) -> Reason {
    if part.oddities.has(Oddities::BAD_CHUNK) { Reason::BadFraming } else { otherwise }
}

/// A message that is over, and the request that it answers.
pub(super) fn message<'a>(
    connection: &'a Connection,
    of_client: bool,
    index: Option<u32>,
    part: &'a Part,
    request: Option<&'a Part>,
    now: Moment,
) -> MessageEvent<'a> {
    let kept = part.kept.as_deref();
    MessageEvent {
        connection,
        kind: if of_client { HeadKind::Request } else { HeadKind::Response },
        index,
        request: request.map(|request| &request.head),
        head: &part.head,
        body: kept.map_or(&[], |kept| &kept.body),
        trailers: kept.and_then(|kept| kept.trailers.as_deref()),
        body_bytes: part.at.body_bytes,
        wire_bytes: part.at.wire_bytes(),
        gap_bytes: part.at.gap_bytes,
        complete: part.fate == Fate::Whole,
        oddities: part.oddities,
        first: part.at.first,
        head_end: part.at.head_end,
        last: part.at.last,
        last_seen: part.fate == Fate::Whole && !part.at.last_missing,
        now,
    }
}

impl Part {
    /// Where and when it began and ended, and whether that was its end.
    fn edges(&self) -> (&Progress, bool) {
        (&self.at, self.fate == Fate::Whole)
    }

    /// The message, with its head and what was kept of it.
    fn take_message(&mut self) -> Message {
        let (body, trailers) =
            self.kept.take().map_or_else(Default::default, |kept| (kept.body, kept.trailers));
        Message {
            first: self.at.first,
            head_end: self.at.head_end,
            last: self.at.last,
            last_seen: self.fate == Fate::Whole && !self.at.last_missing,
            body_bytes: self.at.body_bytes,
            wire_bytes: self.at.wire_bytes(),
            complete: self.fate == Fate::Whole,
            gap_bytes: self.at.gap_bytes,
            ambiguous_length: self.oddities.has(Oddities::OF_LENGTH),
            head: self.head.take(),
            body: body.into(),
            trailers,
            oddities: self.oddities,
        }
    }
}
