//! Which request a response answers: by their count, and where the count is lost by what TCP acknowledges.
//!
//! Responses come in the order of their requests (RFC 9112, section 9.3.2), so the n-th final response answers the
//! n-th request. A hole of unknown content in either stream ends that. What is left are the acknowledgements, two for
//! each exchange:
//!
//! ```text
//!   client   s ── request ── e                 s' ─ next request
//!            │ has had the server's bytes      │ has had the bytes
//!            │ before B                        │ before B'
//!   server   ┊    o ── response ───────────────┊──►
//!            ┊    │ has had the client's bytes ┊
//!            ┊    │ before A                   ┊
//! ```
//!
//! `A` is the acknowledgement number of the segment with the response's first byte, `B` that of the request's. Both
//! bound from above what the sender knew: a response was sent when its server had the first byte of its request,
//! hence **`s < A`**; and a client that had had a byte of a response before it sent a request was not answered by
//! that response, hence **`B <= o`**. No assumption is in these two. Where the capture has only a later sending of
//! the request, its `B` may be too large; a response with `s < A` was sent after the first one, so its `o` bounds
//! `B`.
//!
//! They leave a choice among requests that were under way together. One more fact narrows it, and it is about the
//! client: it takes **turns**. A turn is what it sends without having received anything in between: one request, or
//! several if it pipelines. A client that takes turns has had all answers to a turn when it opens the next one, and
//! so the `B` of the requests that open turns cut both streams into pieces that belong together:
//!
//! ```text
//!   client   │ q1      │ q2 q3 q4 │ q5 ...
//!            B1        B2         B5
//!   server   │ r1      │ r2 r3 r4 │ r5 ...
//! ```
//!
//! Whatever is missing in one piece, the count holds in the next: the first response at `B` or behind it answers the
//! request that opens the turn, unless a hole in between has room for another. Within a piece the count holds from
//! the front up to the first hole, and from the back down to the last one, once the turn is over; between holes it
//! does if as many answers are missing as there are holes, since a hole between two messages has at least one in it.
//! A client that has never sent two requests at once has the answer to a request whose end the server has
//! acknowledged and nothing behind it. What is not decided by all this is not paired: the response is reported alone,
//! and so is the request.
//!
//! Whether a client takes turns is seen while the count holds, in [`Witness::learn`]: a request that opens a turn has
//! the answer before it, whole, or it does not. One that once did not is not believed any more; after a loss its
//! requests get an answer only where a single one can have it, or where the number that it keeps under way leaves one
//! way ([`super::window`]). That it did not shows in three more ways: a request comes with a `B` that ends nothing it
//! waits for, while the count holds ([`Http1::opens_turn`]); its `B` lies in the middle of a response; a server that
//! had nothing of it goes on answering ([`Http1::heed`]); and a turn behind a loss has more responses than requests,
//! or fewer, and none of them in a hole: so of a client that sends several requests at once a turn is paired when it
//! is over. Where the turns of such a client do add up, that is no proof: the confidence is the second one. A client
//! that always has as many requests under way looks like one that takes turns once its first ones are lost, with
//! every answer one turn off. So what is paired on the word of a client that was not seen to take turns, of one
//! request or of several as it does, has the lowest [`Confidence`] and is marked. Of a connection that was joined
//! that is the first pair alone, as long as it goes on one request, one response: see [`Http1::goes_by_turns`]. Two
//! things need nobody's word: where everything under way is known, which [`super::unseen`] sees to, one response is
//! left for each request; and so it is in a turn whose responses and requests, seen and missing, are as many
//! ([`super::turn`]).
//!
//! What has been seen of a client, and what becomes of a response behind a loss that the bounds leave several requests
//! for:
//!
//! | `pipelined` | `strays` | `turns` of its kind | its client | the response goes to | confidence |
//! | --- | --- | --- | --- | --- | --- |
//! | no | no | none | was not seen to wait | the request that opens its turn | low |
//! | no | no | some, by a guess | goes on as it seems to | the same, and among holes the one whose end alone its server had | low |
//! | no | no | one | sends one request and waits | the same | high; medium if it was joined |
//! | yes | no | one at most | sends several, was not seen to wait | its place in the turn, once that is over and adds up | low |
//! | yes | no | two | sends several and waits for all answers | the same | medium |
//! | yes | yes | | goes on before it has its answers | what its window leaves, or nobody | medium |
//!
//! As long as no byte of the client has been missed since the last certain pair, all requests without an answer are
//! pending, whatever is missing of the server. So a response that only one of them can have is that one's, and if
//! there are two, and the hole before it, between messages, had a response in it, it is the second one's
//! ([`Http1::all_requests_known`]).
//!
//! A request behind a hole of its own stream may be the last of a turn that begins in the hole, and waits for the end
//! of the turn. It need not if a response with `A` at or behind its first byte begins before its `B`: the server had
//! all that is in the hole when it sent that response, so it had been sent before the client received it, and the
//! request after that. The request opens a turn. Unless that response answers a request before the hole, and is the
//! last that the client had: then what is in the hole had no answer yet, and a client that goes on all the same is
//! not believed to wait ([`Http1::opens_turn`]). Bytes of a body whose head is missing show the same, and so does an
//! acknowledgement alone: whatever the client has of what its server sent behind it had been sent by one that had all
//! that is in the hole ([`Http1::unread`]).
//!
//! If the SYN+ACK is missing, the server's stream is taken to begin where its client's first acknowledgement number
//! says, and how much there was before is not known. So a first request behind a hole of its own stream may have come
//! behind any number of answers, though its `B` is 0, and waits for the end of its turn like the others.
//!
//! Where no pair is certain, all of them may have the answers of others. A client that has seemed to send one request
//! and wait [for a while](ALIKE_TURNS_MIN) is then taken for one that does among holes as well, on the same word: either
//! all of these pairs are right or none is.

use std::ops::Range;

use gannet_flow::{Flow, Moment};

use super::part::{
    Answer, Before, Decision, Fate, Hole, Losses, Open, Opens, Part, Resolution, announced_before,
    announced_to_oldest,
};
use super::unseen::Unseen;
use super::window::Window;
use super::{Context, Http1};
use crate::body::Method;
use crate::framing::Progress;
use crate::{Confidence, Reason, Sink, State};

/// What is known of a connection beyond the messages under way.
#[derive(Debug)]
pub(super) struct Witness {
    /// The last pair that is certain: how many losses there had been in each stream.
    pub(super) step: Option<Step>,
    /// A request was sent while the one before it had no answer.
    pub(super) pipelined: bool,
    /// How often it was seen that the client opened a turn when everything was answered: after a turn of one request,
    /// after one of several. See [`EVEN_TURNS_MIN`].
    turns: [u8; 2],
    /// How often it looked so in a row after a turn of one request, though that may have had another one's answer. See
    /// [`ALIKE_TURNS_MIN`].
    alike_turns: u8,
    /// Requests of the turn so far.
    pub(super) in_turn: u32,
    /// It has sent a request having received something since the one before, but not every answer.
    strays: bool,
    pub(super) window: Window,
    /// Of the last request: what its client had received, and the losses before it.
    last_request: Option<(Option<u64>, u32)>,
    /// Where the last request that is over ended, if all of it was seen.
    pub(super) request_end: Option<u64>,
    /// Where the last final response began.
    pub(super) answer_start: Option<u64>,
    /// The last final response that has been reported or paired.
    heard: Option<Heard>,
    /// Acknowledgements of the server that came with no response that is known: with bytes of a body whose head is
    /// missing, or with none. Each says more than the one before; those that say nothing of requests to come are gone.
    unread: Vec<Unread>,
    /// Where the last final response that is over and has its request ended.
    pub(super) answered_to: u64,
    /// Up to here an answer in each hole of the server has been counted as one to a request that was not seen.
    pub(super) counted_to: u64,
    /// The last final response was seen to its end.
    pub(super) answer_whole: bool,
    /// When the FIN of each direction passed.
    pub(super) fins: [Option<Moment>; 2],
    /// Requests that may be under way besides those pending; `None` if there are none.
    pub(super) unseen: Option<Box<Unseen>>,
    /// How sure the count is when nothing is missing.
    pub(super) grounds: Confidence,
}

/// What is kept of a response.
#[derive(Clone, Copy, Debug)]
struct Heard {
    /// How much of the client its server had had.
    acknowledged: u64,
    /// Where it began.
    start: u64,
    /// Its server had another request besides that which it answers.
    owes: bool,
}

/// What is kept of an acknowledgement of the server.
#[derive(Clone, Copy, Debug)]
struct Unread {
    /// How much of the client it had had.
    acknowledged: u64,
    /// Where its next byte lies: that one, and all behind it, was sent then at the earliest.
    start: u64,
}

/// A pair, and how many losses there had been in each stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) client: u32,
    pub(super) server: u32,
    pub(super) confidence: Confidence,
}

impl Witness {
    /// `from_start`: every byte from the connection's first on is known.
    pub(super) fn new(from_start: bool) -> Self {
        let step = Step { client: 0, server: 0, confidence: Confidence::High };
        Self {
            step: from_start.then_some(step),
            pipelined: false,
            turns: [0; 2],
            alike_turns: 0,
            in_turn: 0,
            strays: false,
            window: Window::default(),
            last_request: None,
            request_end: None,
            answer_start: None,
            heard: None,
            unread: Vec::new(),
            answered_to: 0,
            counted_to: 0,
            answer_whole: true,
            fins: [None; 2],
            unseen: (!from_start).then(|| Box::new(Unseen::any())),
            grounds: Confidence::High,
        }
    }

    /// All requests are known, after so many losses of the client; there may have been responses in a hole.
    pub(super) fn begin_behind_hole(&mut self, client: u32) {
        self.unseen = None;
        self.step = Some(Step { client, server: 0, confidence: Confidence::High });
    }

    /// Requests and responses are not one for one any longer.
    pub(super) fn out_of_step(&mut self) {
        self.step = None;
    }

    /// It has been seen to take turns as it does.
    pub(super) fn takes_turns(&self) -> bool {
        let needed = if self.pipelined { EVEN_TURNS_MIN } else { 1 };
        !self.strays && self.turns[usize::from(self.pipelined)] >= needed
    }

    /// It looks like one that sends one request and waits.
    pub(super) fn seems_to_wait(&self) -> bool {
        !self.pipelined && !self.strays && self.alike_turns >= ALIKE_TURNS_MIN
    }

    /// Takes note of how `request` was sent, if it is the next one by the count.
    fn learn(&mut self, request: &Part) {
        let (Some(step), Some(had)) = (self.step, request.at.acknowledged) else { return };
        let within_turn = matches!(request.opens, Opens::No | Opens::Behind);
        if (within_turn || had < self.answered_to) && step.confidence > Confidence::Low {
            self.window.paired(request.at.start, had, self.answered_to);
        }
        if within_turn {
            self.in_turn = self.in_turn.saturating_add(1);
            return;
        }
        if had < self.answered_to {
            self.strayed();
        } else {
            self.came_out_even();
        }
        self.in_turn = 1;
    }

    /// A turn is over by the count, and every request in it has been answered. Where the count is a guess that shows
    /// nothing: a client that always has as many under way has as many answers as requests as well, those of others.
    fn came_out_even(&mut self) {
        // That is seen when the next turn opens, or else when the request that opens it is paired: it is counted once.
        let requests = std::mem::take(&mut self.in_turn);
        if requests == 0 {
            return;
        }
        if self.step.is_some_and(|step| step.confidence > Confidence::Low) {
            let turns = &mut self.turns[usize::from(requests > 1)];
            *turns = turns.saturating_add(1);
        } else {
            self.alike_turns = if requests == 1 { self.alike_turns.saturating_add(1) } else { 0 };
        }
    }

    /// Takes note of a client that has sent a request before it had the answers to those before.
    pub(super) fn strayed(&mut self) {
        self.pipelined = true;
        // What was said for lack of such a client's signs holds no longer.
        if let (false, Some(_), Some(step)) =
            (std::mem::replace(&mut self.strays, true), &self.unseen, &mut self.step)
        {
            step.confidence = Confidence::Low;
        }
    }

    /// Whether an acknowledgement that came with no response shows that the client of `request` had waited.
    #[cold]
    fn unread_shows(&self, request: &Progress) -> bool {
        self.unread.iter().any(|unread| received_since_the_hole(request, unread.acknowledged, unread.start))
    }

    /// Bytes allocated.
    pub(super) fn memory(&self) -> usize {
        self.unseen.as_ref().map_or(0, |unseen| unseen.memory())
            + self.unread.capacity() * size_of::<Unread>()
    }

    /// Whether `request`, the oldest without an answer, has the next one, by the count: so many losses have there
    /// been in the server's stream.
    #[inline]
    pub(super) fn counts(&self, request: &Part, server_losses: u32) -> bool {
        self.step.is_some_and(|step| step.client == request.losses.client && step.server == server_losses)
    }
}

impl Http1 {
    /// Takes note that the server had so much of the client when it sent its byte at `start`, which begins no response
    /// that is known.
    #[cold]
    pub(super) fn unread(&mut self, acknowledged: u64, start: u64) {
        let looked_at = self.looked_at();
        let unread = &mut self.witness.unread;
        unread.retain(|unread| unread.acknowledged >= looked_at);
        let is_news = unread.last().is_none_or(|last| last.acknowledged < acknowledged);
        if is_news && acknowledged >= looked_at && unread.len() < UNREAD_MAX {
            unread.push(Unread { acknowledged, start });
        }
    }

    /// The request that begins. If the capture has not its first sending, it knows of more than its client did then:
    /// a response that has acknowledged it came after it.
    pub(super) fn first_sending(&mut self) -> Progress {
        let start = self.requests().message.start;
        let after = |answer: &&Answer| answer.part.at.acknowledged.is_some_and(|had| start < had);
        if let Some(first) = self.waiting.iter().find(after).map(|answer| answer.part.at.start) {
            let message = &mut self.streams[self.client as usize].message;
            message.acknowledged = message.acknowledged.map(|had| had.min(first));
        }
        self.requests().message
    }

    /// Whether the request that begins at `at` opens a turn, and whether it hides another one in a hole before it. To
    /// be asked once of each.
    pub(super) fn opens_turn(
        &mut self,
        at: &Progress,
        end_before: Option<u64>,
        flow: &Flow,
    ) -> (Opens, bool) {
        let had = at.acknowledged;
        let losses = self.losses;
        let last = self.witness.last_request.replace((had, losses.client));
        let hole_before = at.start > 0 && losses.client != last.map_or(0, |(_, losses)| losses);
        // Of a connection that is joined in its midst, what came before is of no interest.
        let received_more = match (last, had) {
            // Nor of one whose server's beginning is missing as well, of which nobody knows how much it was.
            (None, Some(had)) => {
                !hole_before
                    || had > 0
                    || self.connection.midstream
                    || !flow.begins_with_syn(self.client.opposite())
            }
            (Some((Some(before), _)), Some(had)) => had > before,
            (_, None) | (Some((None, _)), _) => true,
        };
        let in_step =
            self.witness.step.filter(|step| (step.client, step.server) == (losses.client, losses.server));
        if let (Some(step), Some(had)) = (in_step, had) {
            if self.pending.is_empty() {
                if self.current.is_none() && had == self.witness.answered_to {
                    self.witness.came_out_even();
                }
            } else if step.confidence > Confidence::Low
                && self.waiting.is_empty()
                && had <= self.responses().position
            {
                if received_more {
                    // No answer to those pending is in all that it had.
                    self.witness.strayed();
                }
                self.learn_window(at.start, had);
            }
        }
        let received = |answer: &Answer| {
            let after = &answer.part.at;
            after
                .acknowledged
                .is_some_and(|acknowledged| received_since_the_hole(at, acknowledged, after.start))
        };
        let heard = self.witness.heard;
        let heard = heard.filter(|heard| received_since_the_hole(at, heard.acknowledged, heard.start));
        // What is in the hole had no answer in all that it had: it goes on before it has its answers, now and then at
        // least.
        let owed = hole_before
            && heard.is_some_and(|heard| heard.owes)
            && had.is_some_and(|had| had <= self.witness.answered_to);
        if owed {
            self.witness.turns = [0; 2];
        }
        let hides = hole_before && end_before.is_some_and(|end| end + REQUEST_MIN <= at.start);
        let opens = if !received_more {
            self.witness.pipelined = true;
            Opens::No
        } else if hides && last.is_some_and(|(_, losses)| self.hole_is_unanswered(had, losses)) {
            self.witness.pipelined = true;
            Opens::Behind
        } else if hole_before
            && (owed
                || heard.is_none() && !self.waiting.iter().any(received) && !self.witness.unread_shows(at))
        {
            Opens::Perhaps
        } else {
            Opens::Yes
        };
        (opens, hides)
    }

    /// Whether what is in the hole before a request had no answer yet in all that its client `had` when it sent that
    /// one. So many `losses` of the client were before that hole.
    #[cold]
    fn hole_is_unanswered(&self, had: Option<u64>, losses: u32) -> bool {
        // The last answer is to the last request before the hole.
        let in_step = |step: Step| step.client == losses && step.confidence > Confidence::Low;
        self.witness.step.is_some_and(in_step)
            && self.pending.is_empty()
            && self.current.is_none()
            && had == Some(self.witness.answered_to)
    }

    /// Takes note of what the final response at `at` says of its client, with what came before it. One that was sent
    /// behind all that a request that opens a turn had of the server, by a server that had nothing of that request,
    /// answers one before it: the client has not waited for it. And it has not waited for the end of the response
    /// before if it had only the beginning of that.
    pub(super) fn heed(&mut self, at: &Progress, before: Before) {
        let Some(acknowledged) = at.acknowledged else { return };
        // The end is that of the response before, or of one before that.
        let previous = before.start.unwrap_or(u64::MAX)..self.witness.answered_to;
        let mut waited = true;
        // The first request of a connection has nothing before it.
        for request in self.pending.iter_mut().filter(|request| request.at.start > 0) {
            let Some(had) = request.at.acknowledged else { continue };
            if request.opens == Opens::Perhaps && received_since_the_hole(&request.at, acknowledged, at.start)
            {
                request.opens = Opens::Yes;
            }
            let after = request.at.start >= acknowledged && had <= at.start;
            let within = previous.start < had && had < previous.end;
            waited &= request.opens != Opens::Yes || !(after || within);
        }
        if !waited {
            self.witness.strayed();
        }
    }

    /// How many of the requests pending, from the first on, `answer` may be to by what both ends had received.
    #[inline]
    pub(super) fn covered(&self, answer: &Answer) -> usize {
        let at = &answer.part.at;
        // Requests are in the order of their offsets.
        let mut covered = self.pending.partition_point(|request| at.had_more_than(request.at.start));
        let received = |request: &Part| request.at.acknowledged.is_some_and(|had| had > at.start);
        while covered > 0 && received(&self.pending[covered - 1]) {
            covered -= 1;
        }
        covered
    }

    /// Which request a response answers. With `force`, nothing more of the client will come, or it cannot be waited
    /// for.
    pub(super) fn resolve(&self, answer: &Answer, force: bool) -> Resolution {
        let at = &answer.part.at;
        let covered = self.covered(answer);
        if covered > 0 && self.witness.counts(&self.pending[0], answer.part.losses.server) {
            return Resolution::Pair(0);
        }
        let client_known = force
            || self.ended[self.client as usize]
            || at.acknowledged.is_none_or(|acknowledged| {
                let ahead = self.ahead.as_ref().map_or(0, |ahead| ahead.bytes());
                acknowledged <= self.requests().position + ahead
            });
        let head_under_way =
            !force && self.requests().in_head() && at.had_more_than(self.requests().message.start);
        if !client_known || head_under_way {
            return Resolution::Wait;
        }
        if covered == 0 {
            return Resolution::Orphan;
        }
        if self.all_requests_known() {
            if covered == 1 {
                return Resolution::Pair(0);
            }
            if self.one_is_left(answer, covered) {
                return Resolution::Pair(1);
            }
        }
        if self.witness.strays {
            return self.by_window(answer, force);
        }
        let opener = (0..covered).rev().find(|&place| self.pending[place].opens != Opens::No);
        let first = opener.unwrap_or(0);
        let taken_for_one = match opener.map(|place| self.pending[place].opens) {
            Some(Opens::Yes) => true,
            Some(Opens::Perhaps) => self.connection.midstream,
            Some(Opens::No | Opens::Behind) | None => false,
        };
        // Of several requests at once the first one is taken for one of a turn when that is over and adds up.
        if taken_for_one && !self.witness.pipelined {
            let received = self.pending[first].at.acknowledged;
            let behind_all = received.is_none_or(|had| {
                answer.before.start.is_none_or(|start| start < had)
                    && answer.before.hole.unknown_since(had) < FINAL_MIN
            });
            if behind_all {
                return Resolution::Pair(first);
            }
            // The answer was in the hole, and this one is to a request that was in a hole as well.
            return Resolution::Orphan;
        }
        let next = (first + 1..self.pending.len()).find(|&place| self.pending[place].opens != Opens::No);
        match next {
            Some(next) => {
                let server_known = self.ended[self.client.opposite() as usize]
                    || self.pending[next].at.acknowledged.is_none_or(|had| had <= self.responses().position);
                if server_known || force { Resolution::LookBack(first, next) } else { Resolution::Wait }
            }
            None if force => Resolution::LookBack(first, self.pending.len()),
            None => Resolution::Wait,
        }
    }

    pub(super) fn open<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        mut answer: Answer,
        resolution: Resolution,
        now: Moment,
    ) -> Open {
        let (acknowledged, start) = (answer.part.at.acknowledged, answer.part.at.start);
        self.witness.heard = acknowledged.map(|acknowledged| Heard { acknowledged, start, owes: false });
        let Resolution::Pair(index) = resolution else {
            // Of a request before the capture nothing was seen; one after it would have been, unless its direction
            // is not captured at all.
            let acknowledged = answer.part.at.acknowledged;
            let before_capture = self.out_of_step && (acknowledged == Some(0) || answer.is_first);
            self.orphan_seen(&answer);
            answer.part.index = self.take_index();
            return Open {
                request: None,
                answer,
                confidence: self.confidence_alone(None),
                out_of_step: self.out_of_step,
                before_capture,
            };
        };
        let one_is_left =
            index == 1 && self.all_requests_known() && self.one_is_left(&answer, self.covered(&answer));
        let answered_before = index == 0 || one_is_left || self.answered_before(&answer, index);
        let first_since = index > 0 && self.first_since(&answer, index);
        for place in 0..index {
            let Some(part) = self.next_pending() else { break };
            let state = match part.fate {
                Fate::Whole if part.losses.server == self.losses.server => {
                    (State::OrphanRequest, Reason::Overtaken)
                }
                _ => (State::Gap, Reason::Gap),
            };
            let next = self.pending.front().map_or(0, |next| next.at.start);
            let interim = match place {
                0 => announced_to_oldest(&mut answer, next),
                _ => announced_before(&mut answer.interim, next),
            };
            self.emit_request(context, part, interim, state, now);
        }
        let mut request = self.next_pending();
        if let Some(request) = &mut request {
            if !answer.interim.is_empty() {
                let to_others = announced_before(&mut answer.interim, request.at.start).len();
                context.counters.interim_dropped += to_others as u64;
            }
            if request.fate == Fate::Cut {
                request.perhaps_refused(&answer);
            }
            // It has waited until the first byte of the answer, however long the head took then.
            let begun = Moment { time: answer.part.at.first.min(now.time), ..now };
            self.waits_no_more(context, request, begun);
            if let Some(heard) = &mut self.witness.heard {
                heard.owes =
                    request.fate == Fate::Whole && request.at.end + REQUEST_MIN <= heard.acknowledged;
                self.witness.pipelined |= heard.owes;
            }
        }
        if self.out_of_step && answer.part.at.acknowledged.is_some() && !self.witness.pipelined {
            // The response acknowledges the request: sent after it, and everything before was answered before.
            self.out_of_step = false;
        }
        let alone = answered_before && (first_since || self.no_other_can_have(&answer));
        let confidence = self.paired(request.as_ref(), &answer, alone);
        if confidence == Confidence::Low {
            self.passed_over(index);
        }
        Open { request, answer, confidence, out_of_step: self.out_of_step, before_capture: false }
    }

    /// Whether no request has been missed since the last pair by the count: those pending are all that have no answer
    /// yet, though the first ones may have theirs in a hole.
    fn all_requests_known(&self) -> bool {
        self.pending.front().is_some_and(|first| first.losses.client == self.losses.client)
            && self.witness.step.is_some_and(|step| step.client == self.losses.client)
    }

    /// Whether `answer` is to the second of all requests without an answer, since its server had only two of them,
    /// and answered the first one in the hole before.
    fn one_is_left(&self, answer: &Answer, covered: usize) -> bool {
        let Before { start, whole, hole } = answer.before;
        let asked_at = self.pending.front().and_then(|first| first.at.acknowledged);
        let first_lost = self.witness.step.and_then(|step| step.server.checked_add(1));
        covered == 2
            && answer.part.at.acknowledged.is_some()
            // One hole since the last pair, and between that one's response and this one.
            && first_lost == Some(answer.part.losses.server)
            && start.is_none_or(|start| start < self.witness.answered_to)
            && whole
            && asked_at.is_some_and(|from| hole.unknown_within(from..answer.part.at.start) >= FINAL_MIN)
    }

    /// Whether all requests before the one at `index` have been answered, in the hole before `answer`, and that one
    /// has not.
    #[cold]
    fn answered_before(&self, answer: &Answer, index: usize) -> bool {
        let had = |place: usize| self.pending.get(place).and_then(|request| request.at.acknowledged);
        let room = |from: u64, place: usize| {
            had(place).is_some_and(|had| answer.before.hole.unknown_within(from..had) >= FINAL_MIN)
        };
        match index {
            // The oldest request is the next to be answered.
            1 if answer.before.whole && had(0).is_some_and(|had| room(had, 1)) => true,
            // One under way at a time, as far as that can be seen, and an answer received between each two.
            _ if self.witness.pipelined || self.witness.strays => false,
            _ => (0..index).all(|place| had(place).is_some_and(|had| room(had, place + 1))),
        }
    }

    /// Whether `answer` is the first one since the client sent the request at `index`, and none is missing.
    #[cold]
    fn first_since(&self, answer: &Answer, index: usize) -> bool {
        let had = self.pending.get(index).and_then(|request| request.at.acknowledged);
        had.is_some_and(|had| {
            answer.before.hole.end <= had && answer.before.start.is_none_or(|previous| previous < had)
        })
    }

    /// Whether `answer` was sent without the first of the requests pending, or before its client sent that.
    fn no_other_can_have(&self, answer: &Answer) -> bool {
        let at = &answer.part.at;
        self.pending.front().is_none_or(|next| {
            at.acknowledged.is_some_and(|had| had <= next.at.start)
                || next.at.acknowledged.is_some_and(|had| had > at.start)
        })
    }

    /// Takes note of a pair; how sure it is. `alone` says that no other request that is known can have the answer.
    fn paired(&mut self, request: Option<&Part>, answer: &Answer, alone: bool) -> Confidence {
        let Some(request) = request else { return Confidence::Low };
        let server = answer.part.losses.server;
        let counts = self.witness.counts(request, server);
        let certain = matches!(answer.decided, Some(Decision::Request { certain: true, .. }));
        if counts {
            self.witness.learn(request);
        } else {
            self.witness.in_turn = 0;
        }
        let by_window = matches!(answer.decided, Some(Decision::Window(_)));
        let confidence = match self.witness.step {
            _ if by_window => self.paired_by_window(),
            _ if certain => self.witness.grounds,
            Some(step) if counts && step.confidence == Confidence::Low && self.goes_by_turns() => {
                Confidence::Medium
            }
            Some(step) if counts => step.confidence,
            // All requests since are known, and this one alone is left for the answer.
            Some(step)
                if alone
                    && step.client == request.losses.client
                    && step.client == self.losses.client
                    && answer.part.at.acknowledged.is_some() =>
            {
                step.confidence
            }
            _ => {
                let numbers = [answer.part.at.acknowledged, request.at.acknowledged];
                // One that sends several at once may have waited for their answers by chance.
                let doubtful = self.witness.pipelined || self.connection.midstream;
                match self.witness.takes_turns() {
                    true if !doubtful && !numbers.contains(&None) => Confidence::High,
                    true => Confidence::Medium,
                    false => Confidence::Low,
                }
            }
        };
        // Between two responses with a hole between them there may have been another one.
        let shown = confidence == Confidence::Low && counts && self.shown_by_pauses(request, answer);
        let confidence = if shown { Confidence::Medium } else { confidence };
        self.witness.step = Some(Step { client: request.losses.client, server, confidence });
        // Whichever it is, the request is answered: the count goes on.
        if perhaps_quoted(request, answer) { Confidence::Low } else { confidence }
    }

    /// Whether a connection that was joined has gone on one request, one response since then. A client with a fixed
    /// number of requests under way may look so, too, until its server answers before it has had the request; but
    /// hardly any client has several.
    fn goes_by_turns(&self) -> bool {
        self.connection.midstream
            && !self.witness.pipelined
            && !self.witness.strays
            && self.losses == Losses::default()
    }

    /// How sure it is that a message has no counterpart.
    pub(super) fn confidence_alone(&self, request: Option<&Part>) -> Confidence {
        if self.losses == Losses::default() && !self.connection.midstream {
            Confidence::High
        } else if self.witness.pipelined || request.is_none_or(|request| request.losses != self.losses) {
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
        let (at, before) = (answer.part.at, answer.before);
        self.heed(&at, before);
        self.answered_in_hole(before);
        let Some(answer) = self.waiting.front() else { return false };
        if answer.decided.is_none()
            && let Resolution::LookBack(first, next) = self.resolve(answer, force)
        {
            self.look_back(first, next);
        }
        if self.witness.strays {
            self.fit_window();
        }
        let Some(answer) = self.waiting.front() else { return false };
        let resolution = match answer.decided {
            None => self.resolve(answer, force),
            Some(Decision::Alone) => Resolution::Orphan,
            Some(Decision::Request { index, .. } | Decision::Window(index)) => self
                .pending
                .iter()
                .position(|request| request.index == index)
                .map_or(Resolution::Orphan, Resolution::Pair),
        };
        if resolution == Resolution::Wait {
            return false;
        }
        let Some(mut answer) = self.waiting.pop_front() else { return false };
        self.queued_bytes = self.queued_bytes.saturating_sub(answer.part.memory());
        if let Resolution::Pair(place) = resolution
            && self.pending.get(place).is_some_and(|request| request.method == Method::Head)
        {
            let kept = answer.part.end_with_head();
            context.budget.free += kept.map_or(0, |kept| kept.body.len());
        }
        let under_way = answer.part.fate == Fate::UnderWay;
        let status = answer.part.head.status().unwrap_or_default();
        let open = self.open(context, answer, resolution, now);
        let method = open.request.as_ref().map(|request| request.method);
        if !under_way {
            self.answered(context, Box::new(open), now);
            return true;
        }
        self.current = Some(Box::new(open));
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

/// Whether the client of `request` had a response that began at `start` and that its server sent having had
/// `acknowledged` bytes of the client, all before that request among them. So whatever is in the hole before it had
/// been sent before that response came.
fn received_since_the_hole(request: &Progress, acknowledged: u64, start: u64) -> bool {
    request.start <= acknowledged && request.acknowledged.is_some_and(|had| start < had)
}

/// Whether `answer` may be a quotation within the answer to `request`. Its client had waited, so that the answer begins,
/// if not with an interim response, in the hole: and this one was found behind other bytes of a segment, where nothing
/// begins that nobody had asked for.
fn perhaps_quoted(request: &Part, answer: &Answer) -> bool {
    answer.part.at.found_within
        && request.opens == Opens::Yes
        && request.at.acknowledged.is_some_and(|had| answer.before.hole.unknown_since(had) >= FINAL_MIN)
}

impl Hole {
    /// How many of its bytes lie at `offset` or behind.
    pub(super) fn unknown_since(self, offset: u64) -> u64 {
        self.unknown_within(offset..u64::MAX)
    }

    /// How many of its bytes lie in `range`.
    pub(super) fn unknown_within(self, range: Range<u64>) -> u64 {
        self.end.min(range.end).saturating_sub(self.start.max(range.start))
    }
}

/// Length of `HTTP/1.1 204 No Content` and two line ends. What is shorter is an interim response: `100 Continue` has
/// 25 bytes.
pub(super) const FINAL_MIN: u64 = 27;

/// The shortest request: `GET / HTTP/1.1` and the ends of two lines.
const REQUEST_MIN: u64 = 16;

/// Most acknowledgements that are kept, on a connection whose server's bytes wait for those before: beyond that a
/// request may be taken for one that its client sent without having waited.
const UNREAD_MAX: usize = 64;

/// So often it has to be seen that a turn of several requests came out even before a client that sends several is
/// believed to wait for all answers: one that always keeps a few under way does so now and then by chance, as when
/// its first ones are answered together.
const EVEN_TURNS_MIN: u8 = 2;

/// So many turns of one request in a row a client has to seem to take, where the pairs are a guess, before it is taken
/// for one that always does. One that sends one to four at once, by chance, seems to once in 64 times.
const ALIKE_TURNS_MIN: u8 = 3;
