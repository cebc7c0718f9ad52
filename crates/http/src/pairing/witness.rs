//! Which request a response answers.

use gannet_flow::Moment;

use super::part::{Answer, Fate, Open, Part, Resolution};
use super::{Context, Http1};
use crate::body::Method;
use crate::framing::Progress;
use crate::{Confidence, Reason, Sink, State};

impl Http1 {
    /// Which request the response at `at` answers. With `force`, nothing more of the client will come.
    pub(super) fn resolve(&self, at: &Progress, force: bool) -> Resolution {
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

    pub(super) fn open<S: Sink>(
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

    pub(super) fn confidence(&self, request: Option<&Part>) -> Confidence {
        if self.losses == 0 && !self.connection.midstream {
            Confidence::High
        } else if self.pipelined || request.is_none_or(|request| request.losses != self.losses) {
            Confidence::Low
        } else {
            Confidence::Medium
        }
    }

    /// Pairs responses that wait, as far as the client's bytes allow.
    pub(super) fn settle<S: Sink>(&mut self, context: &mut Context<'_, S>, now: Moment, force: bool) {
        while self.settle_first(context, now, force) {}
    }

    pub(super) fn settle_first<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        now: Moment,
        force: bool,
    ) -> bool {
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
}

/// Length of `GET / HTTP/1.1` and two line ends: fewer bytes are no request, but empty lines behind a body, for instance.
const REQUEST_MIN: u64 = 16;
