//! Requests that may be under way though the capture has not seen them.
//!
//! A hole in the client's stream, or its beginning before the capture, may hide requests whose answers are still to
//! come. As long as there may be one, the next response may be for it and not for the request that looks like the
//! right one: a client that always has two under way, and whose first two are missing, looks like one that waits for
//! each answer. Two things end that doubt, besides what [`super::witness`] has seen before:
//!
//! - **The room in the hole.** So many requests fit into it as it has bytes for start lines and for the fields that a
//!   client sends with each request. When as many responses have come that no known request can have, all of them are
//!   answered, and the count of messages holds again as if nothing had been missing. Most clients send one request like the
//!   other: if the bytes in the hole are those of two or more requests as long as the one behind it, without a body,
//!   and as many answers have come, that is taken for all of them. Had there been more, they would have been shorter
//!   and as long together, so that is believed with the second confidence, of a client that was not seen to wait.
//! - **The pauses of the client.** Let it send a request some time, `pause`, after a response, and let the next
//!   response come `time` after the one before. If the server owes an answer all the while, it takes `time` for that,
//!   whatever the client does, and must take longer than each `pause`, for else the answer would come before the
//!   request. If nothing is owed, that is so by itself. Each exchange in which the server took longer than the pause,
//!   and in most others it did not take as long as this pause, speaks against the debt:
//!
//! ```text
//!   client      q2          q3                             q4
//!               │ ◄─ time ─►│                              │
//!   server        r2 ─ pause  r3 ───────── pause ──────────  r4
//!                                owing an answer for so long, by chance until just after q4?
//! ```
//!
//! The product of how unlikely that is, [`Pauses`], is a test that may be looked at after each exchange: it reaches n
//! with a probability of 1/n at most if an answer is owed and the server does not wait for what the client does.

use gannet_packet::Timestamp;

use super::Http1;
use super::part::{Answer, Before, Opens, Part};
use super::witness::{FINAL_MIN, Step};
use crate::{Confidence, Head};

/// Requests of a connection that may be without an answer and are not among those pending.
#[derive(Debug)]
pub(super) struct Unseen {
    /// So many at most, but for those in holes that no request has come after yet; `None` if no bound is known.
    most: Option<u32>,
    /// The same, if those in the holes are as long as the request behind each: see [`Http1::count_again`].
    alike: Option<u32>,
    /// Bytes of those holes.
    room: u64,
    /// How many of those holes end in a request that goes on behind them.
    open_ended: u32,
    /// Nothing has come behind the last hole.
    at_hole: bool,
    /// Responses since then that none of the requests pending can have.
    answered: u32,
    pauses: Option<Box<Pauses>>,
}

impl Unseen {
    /// As many as there may be.
    pub(super) fn any() -> Self {
        Self { most: None, alike: None, ..Self::none() }
    }

    fn none() -> Self {
        Self {
            most: Some(0),
            alike: Some(0),
            room: 0,
            open_ended: 0,
            at_hole: false,
            answered: 0,
            pauses: None,
        }
    }

    /// Bytes allocated for it.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + self.pauses.as_ref().map_or(0, |_| size_of::<Pauses>())
    }

    /// Takes note of the first request behind holes: none of those in them is smaller than it could be.
    fn measure(&mut self, request: &Part) {
        let head = &request.head;
        let bytes = request.at.body.saturating_sub(request.at.start);
        let as_long = self.room.checked_div(bytes).filter(|as_long| as_long * bytes == self.room);
        let alike = as_long.and_then(|as_long| match as_long {
            0 => Some(0),
            1 => None,
            _ if self.open_ended > 0 || !has_no_body(head) => None,
            _ => u32::try_from(as_long).ok(),
        });
        self.alike = self
            .alike
            .and_then(|before| before.checked_add(alike?))
            .and_then(|alike| alike.checked_sub(self.answered));
        let within = u32::try_from(self.room / least_bytes(head)).unwrap_or(u32::MAX);
        self.most = self
            .most
            .and_then(|most| most.checked_add(within)?.checked_add(self.open_ended))
            // More answers than requests: something else is behind them.
            .and_then(|most| most.checked_sub(self.answered));
        (self.room, self.open_ended, self.answered, self.at_hole) = (0, 0, 0, false);
    }

    /// So many of them have been answered.
    fn less(&mut self, answered: u32) {
        for count in [&mut self.most, &mut self.alike] {
            *count = count.and_then(|count| count.checked_sub(answered));
        }
    }
}

impl Http1 {
    /// `bytes` of the client are missing or could not be read: requests may be in them.
    pub(super) fn requests_unseen(&mut self, bytes: u64) {
        let unseen = self.witness.unseen.get_or_insert_with(|| Box::new(Unseen::none()));
        unseen.room = unseen.room.saturating_add(bytes);
        unseen.at_hole = true;
        unseen.pauses = None;
    }

    /// Any number of requests may have no answer and not be known.
    pub(super) fn requests_uncounted(&mut self) {
        self.witness.unseen = Some(Box::new(Unseen::any()));
    }

    /// Bytes of the client belong to no message that is known: behind a hole, to one that began in it.
    pub(super) fn client_skipped(&mut self) {
        if let Some(unseen) = &mut self.witness.unseen
            && std::mem::take(&mut unseen.at_hole)
        {
            unseen.open_ended += 1;
        }
    }

    /// A request has come, the last one of those pending.
    #[inline]
    pub(super) fn request_seen(&mut self) {
        if let (Some(unseen), Some(request)) = (&mut self.witness.unseen, self.pending.back()) {
            unseen.measure(request);
            self.count_again();
        }
    }

    /// A final response has come that is reported without a request. An answer to none of those pending is to one
    /// that was not seen. The answer that a server gives without having been asked has the status 408 (Request
    /// Timeout).
    pub(super) fn orphan_seen(&mut self, answer: &Answer) {
        if self.witness.unseen.is_none() || answer.part.head.status() == Some(408) || self.covered(answer) > 0
        {
            return;
        }
        if let Some(unseen) = &mut self.witness.unseen {
            unseen.answered = unseen.answered.saturating_add(1);
            if unseen.room == 0 {
                let answered = std::mem::take(&mut unseen.answered);
                unseen.less(answered);
            }
        }
        self.count_again();
    }

    /// A response has come. If bytes before it are missing that a client had when it sent the first of the requests
    /// pending, they were no answer to that: one to a request that was not seen is among them, if there is room for
    /// one.
    #[inline]
    pub(super) fn answered_in_hole(&mut self, before: Before) {
        let Some(unseen) = &mut self.witness.unseen else { return };
        let Some(first) = self.pending.front() else { return };
        let Some(had) = first.at.acknowledged.filter(|_| before.whole) else { return };
        let from = before.start.unwrap_or(0).max(self.witness.counted_to);
        if before.hole.unknown_within(from..had) >= FINAL_MIN && unseen.room == 0 {
            self.witness.counted_to = before.hole.end;
            unseen.less(1);
            self.count_again();
        }
    }

    /// A response has been given to the request behind `passed` others, on a word that may be wrong.
    pub(super) fn passed_over(&mut self, passed: usize) {
        if passed > 0 {
            let unseen = self.witness.unseen.get_or_insert_with(|| Box::new(Unseen::none()));
            let passed = u32::try_from(passed).unwrap_or(u32::MAX);
            for count in [&mut unseen.most, &mut unseen.alike] {
                *count = count.and_then(|count| count.checked_add(passed));
            }
        }
    }

    /// Goes back to the count of messages once all requests without an answer are known, or are if those in holes were
    /// as long as the ones behind.
    fn count_again(&mut self) {
        let Some(unseen) = self.witness.unseen.as_deref().filter(|unseen| unseen.room == 0) else { return };
        if unseen.most != Some(0) {
            if unseen.alike != Some(0) || self.witness.takes_turns() {
                return;
            }
            self.witness.grounds = Confidence::Medium;
        }
        self.witness.unseen = None;
        let client = self.losses.client;
        for request in &mut self.pending {
            request.losses.client = client;
        }
        self.witness.in_turn = 0;
        // The answer to the first one may be in a hole that came behind it.
        let behind_holes = |first: &Part| first.at.acknowledged.is_some_and(|had| self.hole.end <= had);
        if self.pending.front().is_none_or(behind_holes) {
            let (server, confidence) = (self.losses.server, self.witness.grounds);
            self.witness.step = Some(Step { client, server, confidence });
        } else if let Some(step) = &mut self.witness.step {
            step.client = client;
        } else {
            // After no number of losses is it known to be the next one.
            let confidence = self.witness.grounds;
            self.witness.step = Some(Step { client, server: u32::MAX, confidence });
        }
    }

    /// Whether a pair that is not certain shows with those before it that its client waits for its answers: the
    /// server owed none when the request came.
    pub(super) fn shown_by_pauses(&mut self, request: &Part, answer: &Answer) -> bool {
        let in_step = request.opens != Opens::No
            && !self.witness.pipelined
            && self.pending.is_empty()
            && !request.at.first_again
            && !answer.part.at.first_again
            && request.previous_end == answer.previous_end
            && answer.part.at.acknowledged.is_some_and(|had| request.at.start < had);
        let (Some(unseen), Some(previous), true) = (&mut self.witness.unseen, answer.previous_end, in_step)
        else {
            return false;
        };
        let since = |time: Timestamp| time.0.saturating_sub(previous.0);
        let pauses = unseen.pauses.get_or_insert_default();
        if !pauses.take(since(request.at.first), since(answer.part.at.first)) {
            return false;
        }
        self.witness.grounds = Confidence::Medium;
        **unseen = Unseen::none();
        self.count_again();
        true
    }
}

/// The test of a client's pauses.
#[derive(Debug, Default)]
struct Pauses {
    /// The last times from one response to the next, in ns, and how many there have been.
    times: [u64; TIMES],
    taken: usize,
    /// By how much it is unlikely by now that an answer was owed all the while.
    odds: f64,
}

impl Pauses {
    /// Takes an exchange: the client's pause and the time from the response before to this one, in ns. Whether the
    /// client has shown that it waits.
    fn take(&mut self, pause: u64, time: u64) -> bool {
        let known = &self.times[..self.taken.min(TIMES)];
        let as_long = known.iter().filter(|&&time| time > pause).count();
        self.odds = self.odds.max(1.0) * (known.len() + 1) as f64 / (as_long + 1) as f64;
        self.times[self.taken % TIMES] = time;
        self.taken += 1;
        self.odds >= ODDS_MIN
    }
}

/// Whether what has this head ends with it.
fn has_no_body(head: &Head) -> bool {
    !head.cut && head.field("content-length").is_none() && head.field("transfer-encoding").is_none()
}

/// Bytes of the smallest request that the client of this one could send: a method of three letters, a target of one,
/// and the fields that name its host and itself, if they are as usual.
fn least_bytes(head: &Head) -> u64 {
    let of_client = |(name, _): &(&[u8], &[u8])| {
        name.eq_ignore_ascii_case(b"host") || name.eq_ignore_ascii_case(b"user-agent")
    };
    let to_origin = head.target().starts_with(b"/") && head.version() == Some(b"1.1") && !head.cut;
    let line = |(name, value): (&[u8], &[u8])| (name.len() + b":".len() + value.len() + b"\n".len()) as u64;
    let fields: u64 = head.fields().filter(|_| to_origin).filter(of_client).map(line).sum();
    b"GET / HTTP/1.1\n\n".len() as u64 + fields
}

/// Times that the next pause is compared with: more say little more about the next one, and take longer to look
/// through.
const TIMES: usize = 32;
/// One in a million clients that owe themselves an answer may look as if they waited.
const ODDS_MIN: f64 = 1e6;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether a client has shown that it waits after any of `exchanges`, pauses and times.
    fn shown(exchanges: impl IntoIterator<Item = (u64, u64)>) -> bool {
        let mut pauses = Pauses::default();
        exchanges.into_iter().any(|(pause, time)| pauses.take(pause, time))
    }

    #[test]
    fn pauses_of_all_lengths_show_it_and_equal_ones_do_not() {
        let waits = |pause: u64| (pause, pause + 5);
        assert!(shown((0..100).map(|turn| waits(1_000 + turn * 7_919 % 1_009))));
        assert!(!shown(std::iter::repeat_n(waits(1_000), 10_000)));
        // Some that are much longer than the others are enough.
        assert!(shown((0..400).map(|turn| waits(if turn % 100 == 99 { 50_000 } else { 20 }))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// A server that owes an answer takes its time whatever the client does, and a request that comes behind the
        /// answer shows that. So what is left is luck: one in a million has it.
        #[test]
        fn a_debt_is_not_taken_for_waiting(
            times in prop::collection::vec(1..1_000_000_u64, 2_000),
            pauses in prop::collection::vec(1..1_000_000_u64, 2_000),
            shorter in 0..6_u32,
        ) {
            let owed = times.into_iter().zip(pauses).map(|(time, pause)| (pause >> shorter, time));
            prop_assert!(!shown(owed.take_while(|(pause, time)| pause < time)));
        }
    }
}
