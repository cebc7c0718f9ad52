//! Both directions looked at in the order in which their ends knew of one another.
//!
//! A stream is delivered up to its first hole until that is given up, and the other one goes on meanwhile. So a
//! capture that misses a response delivers requests that came long after it first, and what they say of their client
//! would be held against what is known of its server's past:
//!
//! ```text
//!   client   q1   q2   q3   q4          delivered
//!   server   r1   ┄┄   ┊                waits for r2, and for what is behind it
//!                 ▲    B of q3: its client has had r2
//! ```
//!
//! A request whose client had had bytes of the server that are still to come, `B` of [`super::witness`], is told of at
//! once, and looked at by the witness once they have come or are known to be missing. Holes of the client, and bytes
//! that are no message, keep their places among the requests. All of them end their wait as well when a response says
//! that its server has had them, and when nothing more comes.

use std::collections::VecDeque;

use gannet_flow::{Moment, Peer};

use super::part::Part;
use super::{Context, Http1};
use crate::Sink;
use crate::framing::Progress;

/// What the client has sent and the witness has not looked at.
#[derive(Debug, Default)]
pub(super) struct Later {
    steps: VecDeque<Step>,
    /// How many of them are requests.
    requests: usize,
}

/// What has come of the client's stream.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "most of them are requests")]
pub(super) enum Step {
    /// A request, and where the one before it ended, if all of that was seen.
    Request { part: Part, end_before: Option<u64> },
    /// So many bytes from here on are missing, perhaps messages with them.
    Lost { start: u64, bytes: u64 },
    /// So many bytes of no message that is known.
    Unread { start: u64, bytes: u64 },
    /// Bytes of no message at all.
    Skipped { start: u64 },
}

impl Later {
    /// The request that came last.
    pub(super) fn last_request(&self) -> Option<&Part> {
        self.steps.iter().rev().find_map(|step| match step {
            Step::Request { part, .. } => Some(part),
            _ => None,
        })
    }

    /// The same, and those before it.
    pub(super) fn requests_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Part> {
        self.steps.iter_mut().filter_map(|step| match step {
            Step::Request { part, .. } => Some(part),
            _ => None,
        })
    }

    /// Bytes allocated for it, but for those of messages.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + self.steps.capacity() * size_of::<Step>()
    }
}

impl Step {
    /// Offset of its first byte.
    fn start(&self) -> u64 {
        match self {
            Self::Request { part, .. } => part.at.start,
            Self::Lost { start, .. } | Self::Unread { start, .. } | Self::Skipped { start } => *start,
        }
    }

    /// What the client had of the server.
    fn acknowledged(&self) -> Option<u64> {
        match self {
            Self::Request { part, .. } => part.at.acknowledged,
            _ => None,
        }
    }
}

impl Http1 {
    /// Whether a request may be looked at: all that its client had of the server has come, or its server has had it.
    #[inline]
    pub(super) fn is_due(&self, at: &Progress) -> bool {
        self.later.is_none() && at.acknowledged.is_none_or(|had| had <= self.responses().position)
    }

    /// Takes what has come of the client's stream.
    #[cold]
    pub(super) fn put_by<S: Sink>(&mut self, context: &mut Context<'_, S>, step: Step, now: Moment) {
        let later = self.later.get_or_insert_default();
        later.requests += usize::from(matches!(step, Step::Request { .. }));
        later.steps.push_back(step);
        let full = later.requests + self.pending.len() > context.config.max_pending
            || later.steps.len() > STEPS_MAX
            || self.queued_bytes > super::messages::QUEUED_MAX
            || context.flow.stream(self.client.opposite()).packets == 0;
        if full {
            self.catch_up(context, u64::MAX, Some(u64::MAX), now);
        } else {
            let waiting = self.waiting.back().and_then(|answer| answer.part.at.acknowledged);
            self.catch_up(context, self.responses().position, waiting, now);
        }
    }

    /// Looks at what the client sent when it had had `position` bytes of the server at most, and at what its server had
    /// when it had had so many of it.
    #[cold]
    pub(super) fn catch_up<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        position: u64,
        acknowledged: Option<u64>,
        now: Moment,
    ) {
        let Some(mut later) = self.later.take() else { return };
        let had = |step: &Step| acknowledged.is_some_and(|had| step.start() < had);
        let received = |step: &Step| step.acknowledged().is_some_and(|had| had <= position);
        let due = later.steps.iter().rposition(|step| had(step) || received(step));
        for step in later.steps.drain(..due.map_or(0, |last| last + 1)) {
            match step {
                Step::Request { mut part, end_before } => {
                    later.requests -= 1;
                    if part.at.acknowledged.is_some_and(|had| had > position) {
                        // Its server had it when it had sent so much: the capture has not its first sending.
                        part.at.acknowledged = Some(position);
                        let message = &mut self.streams[self.client as usize].message;
                        if message.start == part.at.start {
                            message.acknowledged = Some(position);
                        }
                    }
                    self.ask(context, part, end_before, now);
                }
                Step::Lost { bytes, .. } => self.client_lost(bytes),
                Step::Unread { bytes, .. } => self.requests_unseen(bytes),
                Step::Skipped { .. } => self.client_skipped(),
            }
        }
        if !later.steps.is_empty() {
            self.later = Some(later);
        }
    }

    /// What has come of a server has been looked at up to its position: looks at what its client has sent since.
    #[inline]
    pub(super) fn catch_up_with_server<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        from: Peer,
        now: Moment,
    ) {
        if self.later.is_some() && from != self.client {
            self.catch_up(context, self.responses().position, None, now);
        }
    }

    /// Nothing more will come that any of it could wait for.
    pub(super) fn wait_no_longer<S: Sink>(&mut self, context: &mut Context<'_, S>, now: Moment) {
        self.catch_up(context, u64::MAX, Some(u64::MAX), now);
    }

    /// Up to here the witness has looked at what the client sent.
    pub(super) fn looked_at(&self) -> u64 {
        let first = self.later.as_ref().and_then(|later| later.steps.front());
        first.map_or(self.requests().position, Step::start)
    }
}

/// Most of what waits on one connection. In front of a hole that is given up after 32 segments there is hardly more.
const STEPS_MAX: usize = 256;
