//! A turn that is over: which of its responses answer which of its requests, some of both being missing.
//!
//! ```text
//!   requests    q2   q3   q4   q5        hidden in holes: as many as requests are more than responses
//!   responses      ~ r3   r4 ~
//!                  └ places ─┘           from the front up to the first place, from the back down to the last
//! ```

use std::ops::RangeInclusive;

use super::Http1;
use super::part::{Answer, Decision, Fate, Opens, Part};
use super::witness::FINAL_MIN;
use crate::Confidence;

/// What is known of a turn.
struct Turn {
    /// The indices of its requests.
    requests: Vec<u32>,
    /// Whether there may be requests in a hole before each one, and behind the last.
    hidden: Vec<bool>,
    /// How many responses there are.
    answers: usize,
    /// Whether there may be responses in a hole before each one, and behind the last.
    places: Vec<bool>,
    /// Whether there is one at least in each such hole.
    some_missing: Vec<bool>,
    /// All responses have been sent.
    over: bool,
    /// So many responses are in holes at the least, whether or not its client takes turns.
    missing_min: usize,
    /// So many requests are in holes at the least.
    hidden_min: usize,
    /// No request but these can have any of the responses.
    alone: bool,
    /// It begins behind what has been answered, and it is known where the next one begins.
    bounded: bool,
}

impl Http1 {
    /// Decides which of the responses that wait answer the requests pending from `first` up to `next`: all of a turn
    /// that is over, but for those that have been paired already.
    pub(super) fn look_back(&mut self, first: usize, next: usize) {
        let Some(turn) = self.turn(first, next) else { return };
        if !turn.may_come_out_even() {
            self.witness.strayed();
            return;
        }
        let mut decided = turn.decide();
        if !decided.iter().all(Option::is_some) {
            self.sent_at_once(&turn, first, next, &mut decided);
        }
        let certain = turn.is_certain();
        for (answer, index) in self.waiting.iter_mut().zip(decided) {
            let request = index.map(|index| Decision::Request { index, certain });
            answer.decided = Some(request.unwrap_or(Decision::Alone));
        }
    }

    fn turn(&self, first: usize, next: usize) -> Option<Turn> {
        // The first byte of the server that belongs to the next turn.
        let end = self.pending.get(next).and_then(|request| request.at.acknowledged);
        let within = |answer: &&Answer| end.is_none_or(|end| answer.part.at.start < end);
        let count = self.waiting.iter().take_while(within).count().max(1);
        let answers: Vec<&Answer> = self.waiting.iter().take(count).collect();
        let last = *answers.last()?;
        let opener = self.pending.get(first)?;
        let start = (opener.opens != Opens::No).then_some(opener.at.acknowledged).flatten();
        let step = self.witness.step;

        let requests: Vec<&Part> = self.pending.range(first..next).collect();
        let before_first = match opener.opens {
            Opens::Yes => false,
            Opens::Behind | Opens::Perhaps => true,
            Opens::No => step.is_none_or(|step| step.client != opener.losses.client),
        };
        let losses_behind = self.pending.get(next).map_or(self.losses.client, |next| next.losses.client);
        let last_losses = requests.last().map_or(0, |request| request.losses.client);
        let hidden = std::iter::once(before_first)
            .chain(requests.windows(2).map(|pair| pair[0].losses.client != pair[1].losses.client))
            .chain([losses_behind != last_losses || self.requests_go_on(next)]);

        let place_before_first = answers.first().is_some_and(|answer| match start {
            Some(start) => {
                answer.before.hole.unknown_since(start) > 0
                    || answer.before.start.is_some_and(|previous| previous >= start)
            }
            None => step.is_none_or(|step| step.server != answer.part.losses.server),
        });
        let (over, place_behind) = self.is_over(last, end);
        let places = std::iter::once(place_before_first)
            .chain(answers.windows(2).map(|pair| pair[0].part.losses.server != pair[1].part.losses.server))
            .chain([place_behind]);

        let room = |answer: &Answer| answer.before.hole.unknown_since(start.unwrap_or(0)) >= FINAL_MIN;
        let before = answers.iter().enumerate().map(|(place, answer)| {
            let whole = answer.before.whole || place == 0 && start.is_some();
            whole && room(answer)
        });
        let behind = last.part.fate == Fate::Whole
            && end.is_some_and(|end| end.saturating_sub(end_of(last, Some(end))) >= FINAL_MIN);
        let places: Vec<bool> = places.collect();
        // That the turn begins between two responses is its client's word.
        let missing = |&(answer, &place): &(&&Answer, &bool)| place && answer.before.whole && room(answer);
        let missing_min =
            answers.iter().zip(&places).filter(missing).count() + usize::from(place_behind && behind);
        // All before has been answered: what was asked in a hole since then belongs to this turn.
        let in_step = first == 0
            && step.is_some_and(|step| step.confidence > Confidence::Low)
            && answers.first().is_some_and(|answer| {
                answer.before.start.is_none_or(|previous| previous < self.witness.answered_to)
            });
        let hides_before = match opener.opens {
            Opens::Yes | Opens::Perhaps => false,
            Opens::Behind => true,
            Opens::No => {
                in_step && opener.hides && step.is_some_and(|step| step.client + 1 == opener.losses.client)
            }
        };
        let hidden_min = usize::from(hides_before) + requests.iter().skip(1).filter(|one| one.hides).count();
        let begins =
            matches!(opener.opens, Opens::Yes | Opens::Behind) || opener.opens == Opens::No && in_step;
        Some(Turn {
            hidden: hidden.collect(),
            places,
            missing_min,
            hidden_min,
            some_missing: before.chain([behind]).collect(),
            requests: requests.iter().map(|request| request.index).collect(),
            answers: count,
            over,
            alone: first == 0 && end.is_some() && self.witness.unseen.is_none(),
            bounded: begins && self.pending.get(next).is_some_and(|next| next.opens == Opens::Yes),
        })
    }

    /// Whether a turn with this last response is over, and whether there may be further responses in a hole behind that
    /// one. `end` is where the next turn begins, if there is one.
    fn is_over(&self, last: &Answer, end: Option<u64>) -> (bool, bool) {
        if let Some(end) = end {
            return (true, end_of(last, Some(end)) != end);
        }
        // A client that closes in order has all its answers. So it has if its server does, but for one that sends
        // several requests at once: it may lose the last ones.
        let [client, server] =
            [self.client, self.client.opposite()].map(|peer| self.witness.fins[peer as usize]);
        let closed = client.is_some_and(|client| {
            client.time >= last.part.at.last && server.is_none_or(|server| client.position < server.position)
        });
        let closed = closed || server.is_some() && !self.witness.pipelined;
        (closed, !closed || last.part.losses.server != self.losses.server)
    }

    /// Whether more requests may belong to the turn whose last one known is the one before `next`.
    fn requests_go_on(&self, next: usize) -> bool {
        self.pending
            .get(next)
            .map_or(!self.ended[self.client as usize], |request| request.opens != Opens::Yes)
    }

    /// Decides what is left of a turn of a client that has never sent two requests at once: each response whose server
    /// had one request to its end and nothing behind it, if none before it in the turn is missing.
    fn sent_at_once(&self, turn: &Turn, first: usize, next: usize, decided: &mut [Option<u32>]) {
        let [before @ .., behind] = &turn.places[..] else { return };
        let forced = next >= self.pending.len();
        let known = before.iter().take_while(|place| !**place).count();
        let some_missing = known < before.len() || !forced && *behind;
        let waits = self.witness.takes_turns() || self.witness.seems_to_wait();
        if self.witness.pipelined || some_missing && !waits {
            return;
        }
        let left: Vec<usize> = (0..known).filter(|&place| decided[place].is_none()).collect();
        for request in self.pending.range(first..next).filter(|request| request.fate == Fate::Whole) {
            let of_this = |place: &&usize| {
                let had = self.waiting.get(**place).and_then(|answer| answer.part.at.acknowledged);
                had.is_some_and(|had| request.at.start < had && had <= request.at.end)
            };
            let mut candidates = left.iter().filter(of_this);
            if let (Some(&place), None) = (candidates.next(), candidates.next())
                && !decided.contains(&Some(request.index))
            {
                decided[place] = Some(request.index);
            }
        }
    }
}

impl Turn {
    /// The index of the request of each response, as far as the count has it.
    fn decide(&self) -> Vec<Option<u32>> {
        let Self { requests, hidden, places, .. } = self;
        let mut decided = vec![None; self.answers];
        let (mut low, mut high) = ((0, 0), (requests.len(), self.answers));
        while low.0 < high.0 && low.1 < high.1 && !hidden[low.0] && !places[low.1] {
            decided[low.1] = Some(requests[low.0]);
            low = (low.0 + 1, low.1 + 1);
        }
        while low.0 < high.0 && low.1 < high.1 && !hidden[high.0] && !places[high.1] {
            high = (high.0 - 1, high.1 - 1);
            decided[high.1] = Some(requests[high.0]);
        }
        if hidden[low.0..=high.0].contains(&true) {
            return decided;
        }
        // Of those between, each comes behind all before it and those that must be in holes before, and likewise from
        // the back. Where that leaves one request, it is the one.
        let missing = |places: RangeInclusive<usize>| {
            places.filter(|&place| self.places[place] && self.some_missing[place]).count()
        };
        for (answer, decided) in decided.iter_mut().enumerate().take(high.1).skip(low.1) {
            let earliest = low.0 + answer - low.1 + missing(low.1..=answer);
            let behind = high.1 - answer + missing(answer + 1..=high.1);
            if earliest + behind == high.0 {
                *decided = Some(requests[earliest]);
            }
        }
        decided
    }

    /// Whether there may be as many responses as requests. If not, its client has not waited for all of them.
    fn may_come_out_even(&self) -> bool {
        let requests = self.requests.len() + self.hidden_min;
        let too_many = self.answers > requests && !self.hidden.contains(&true);
        let too_few = self.answers < requests && !self.places.contains(&true);
        !(self.bounded && self.over && (too_many || too_few))
    }

    /// Whether there are as many responses as requests, with those that must be in holes, and none of them can be to
    /// another request. Then that is no word of anybody's.
    fn is_certain(&self) -> bool {
        let doubtful = self.hidden.contains(&true);
        self.alone && !doubtful && self.requests.len() == self.answers + self.missing_min
    }
}

/// Where a response ends, in a turn that ends at `end`.
fn end_of(answer: &Answer, end: Option<u64>) -> u64 {
    let at = &answer.part.at;
    // All that was taken for its body may be missing because there was none.
    if at.body_bytes == at.gap_bytes && end == Some(at.body) { at.body } else { at.end }
}
