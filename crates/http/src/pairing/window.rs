//! The window of a client: how many requests it keeps under way.
//!
//! A client that has once sent a request before it had the answers to those before is not believed to take turns.
//! Most of these keep a fixed number of requests under way, and send the next one for each answer. How many is seen
//! while the count holds, as the most that it ever had under way when it sent one: at once, or, where its requests came
//! out from behind a hole after their answers, when they are paired. After a loss, of which nobody knows how many
//! messages were in it, both ends bound by how much the requests and responses behind it are shifted against one
//! another:
//!
//! ```text
//!   requests     q0  q1  q2  q3          response j answers request j + shift:
//!   responses        r0  r1  r2            not later than the last one that its server had,
//!                                          not so early that more than the window is under way
//! ```
//!
//! The first bound needs nobody's word, and is reached when the server has answered all that it has; the second is
//! reached when the client has filled its window. Where they meet there is one shift left, and the count holds from
//! there on. Until then responses wait, some of them at most. What is paired so rests on a habit, and has the second
//! confidence, as all that follows it.

use std::ops::Range;

use super::Http1;
use super::part::{Answer, Decision, Resolution};
use crate::Confidence;

/// What is known of a client's window.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Most requests that were under way when it sent one, that one among them.
    most: u32,
    /// How often there were so many.
    reached: u32,
    /// Where the last request began of which that is known.
    known_to: u64,
    /// Where the last answers ended, the oldest one being the next to be replaced.
    ends: [u64; ENDS],
    answers: usize,
}

/// Requests with no hole between them, by their places among those pending, and how many of the responses that wait
/// were sent by a server that had nothing behind them.
struct Run {
    requests: Range<usize>,
    answers: usize,
}

impl Window {
    fn learn(&mut self, under_way: u32) {
        if under_way > self.most {
            (self.most, self.reached) = (under_way, 0);
        }
        self.reached = self.reached.saturating_add(u32::from(under_way == self.most));
    }

    /// Takes note of a pair while the count holds. The client of the request that began at `start` had so much of the
    /// server, of which the answer before ended at `end`. How many were under way by then is known now, if it was not
    /// when the request was seen, as behind a hole that was given up after the answers had come.
    #[cold]
    pub(super) fn paired(&mut self, start: u64, had: u64, end: u64) {
        self.ends[self.answers % ENDS] = end;
        self.answers = self.answers.wrapping_add(1);
        let others = self.ends.iter().filter(|end| **end > had).count();
        if start > self.known_to && others < ENDS {
            self.learn(others as u32 + 1);
        }
    }
}

impl Http1 {
    /// Takes note of a request that is about to be among those pending, others being under way, while the count
    /// holds. It begins at `start`, and its client `had` so much of the server.
    pub(super) fn learn_window(&mut self, start: u64, had: u64) {
        // Of what it had not received by then some has been paired already.
        if had >= self.witness.answered_to {
            self.witness.window.known_to = start;
            let under_way = self.pending.len() + usize::from(self.current.is_some()) + 1;
            self.witness.window.learn(u32::try_from(under_way).unwrap_or(u32::MAX));
        }
    }

    /// What becomes of a response of which its client's window does not say yet which request it answers. It is the
    /// first of those that wait, or none does.
    pub(super) fn by_window(&self, answer: &Answer, force: bool) -> Resolution {
        let waits = !force && self.waiting.len() < WAITING_MAX && self.has_window(answer);
        if waits { Resolution::Wait } else { Resolution::Orphan }
    }

    /// Whether the window of its client may say which request a response answers.
    fn has_window(&self, answer: &Answer) -> bool {
        self.witness.window.reached >= REACHED_MIN
            && answer.part.at.acknowledged.is_some()
            && answer.part.losses.server == self.losses.server
    }

    /// Decides which of the responses that wait answer which of the requests pending, if a client's window leaves one
    /// way.
    pub(super) fn fit_window(&mut self) {
        let Some(front) = self.waiting.front() else { return };
        if front.decided.is_some() || !self.has_window(front) {
            return;
        }
        let Some(run) = self.run(front) else { return };
        let Some(shift) = self.shift(&run) else { return };
        let Self { waiting, pending, .. } = self;
        for (place, answer) in waiting.iter_mut().take(run.answers).enumerate() {
            let place = usize::try_from(place as i64 + shift).ok().map(|place| run.requests.start + place);
            let request = place.and_then(|place| pending.get(place));
            answer.decided = Some(request.map_or(Decision::Alone, |request| Decision::Window(request.index)));
        }
    }

    /// The requests between two holes that `front` may answer, and the responses to none behind them.
    fn run(&self, front: &Answer) -> Option<Run> {
        let client = self.pending.get(self.covered(front).checked_sub(1)?)?.losses.client;
        let start = self.pending.partition_point(|request| request.losses.client < client);
        let end = self.pending.partition_point(|request| request.losses.client <= client);
        // Behind the last one there may be a hole that no request has come behind yet.
        let known_to = if client == self.losses.client {
            self.looked_at()
        } else {
            self.pending.get(end.checked_sub(1)?)?.at.end
        };
        let to_these = |answer: &&Answer| answer.part.at.acknowledged.is_some_and(|had| had <= known_to);
        let answers = self.waiting.iter().take_while(to_these).count();
        Some(Run { requests: start..end, answers })
    }

    /// The shift of the responses against the requests, if it is known.
    fn shift(&mut self, run: &Run) -> Option<i64> {
        let first = run.requests.start;
        let last_covered = |(place, answer): (usize, &Answer)| {
            self.covered(answer).saturating_sub(first) as i64 - place as i64 - 1
        };
        let highest = self.waiting.iter().take(run.answers).enumerate().map(last_covered).min()?;
        let most = i64::from(self.witness.window.most);
        let position = self.responses().position;
        let mut received = 0;
        let mut lowest = i64::MIN;
        for (place, request) in self.pending.range(run.requests.clone()).enumerate() {
            let Some(had) = request.at.acknowledged.filter(|had| *had <= position) else { break };
            // Where one ends is not always known before the next one begins.
            while self.waiting.get(received).is_some_and(|answer| answer.part.at.start < had) {
                received += 1;
            }
            lowest = lowest.max(place as i64 + 1 - received as i64 - most);
        }
        if lowest > highest {
            // It has another window, or none.
            self.witness.window = Window::default();
        }
        (lowest == highest).then_some(highest)
    }

    /// What has been paired by a window is no ground for anything that is certain.
    pub(super) fn paired_by_window(&mut self) -> Confidence {
        self.witness.grounds = Confidence::Medium;
        Confidence::Medium
    }
}

/// So often the most requests have to have been under way before they are taken for the window: what a client sends
/// at first, and twice that it has gone on with as many. Lower, one that is too small leaves a way that is wrong now
/// and then; higher, a loss soon after the beginning leaves no way at all. With 6, of clients with 2 to 4 requests
/// under way and 20 in all, of which up to 5 % of the packets are missing, 32 % of the untouched exchanges came in two
/// halves instead of 25 %.
const REACHED_MIN: u32 = 3;
/// Ends of answers that are kept: of a client that keeps more than so many requests under way that is only seen while
/// both directions are delivered in step.
const ENDS: usize = 12;
/// Responses that wait for the shift to be known. A window of some requests shows it within a few of them; beyond
/// that a server may have a queue that it never comes to the end of, and it does not show at all.
const WAITING_MAX: usize = 32;
