//! What a connection holds of its messages and exchanges while they are under way.

use gannet_packet::Timestamp;

use crate::body::{Asked, Method};
use crate::framing::Progress;
use crate::keep::Kept;
use crate::oddity::Oddities;
use crate::{Confidence, Head, Interim};

/// One message.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) head: Head,
    pub(super) at: Progress,
    pub(super) fate: Fate,
    pub(super) oddities: Oddities,
    pub(super) method: Method,
    /// It offers or accepts another protocol, h2c or websocket.
    pub(super) upgrade: bool,
    pub(super) h2c: bool,
    pub(super) websocket: bool,
    /// Its end was the end of the connection, in order.
    pub(super) closed: bool,
    /// Of the exchange: that of a request, and of a response that has none.
    pub(super) index: u32,
    /// Of a request: the end of the last response before it.
    pub(super) previous_end: Option<Timestamp>,
    pub(super) kept: Option<Box<Kept>>,
    /// How often bytes of unknown content had been missing in each stream when the message began.
    pub(super) losses: Losses,
    /// Of a request.
    pub(super) opens: Opens,
    /// Of a request: there is another one in the hole before it.
    pub(super) hides: bool,
}

/// How often bytes of unknown content have been missing, and so perhaps whole messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    pub(super) client: u32,
    pub(super) server: u32,
}

/// Whether a request opens a turn: see [`super::witness`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opens {
    No,
    /// One in the hole before it does.
    Behind,
    /// It does if no request in the hole before it belongs to the same turn.
    Perhaps,
    Yes,
}

/// How a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    UnderWay,
    Whole,
    /// Bytes that framing needs are missing.
    Broken,
    /// There should have been more.
    Cut,
}

/// A final response, and what came before it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) part: Part,
    pub(super) interim: Vec<Announced>,
    pub(super) previous_end: Option<Timestamp>,
    /// No final response came before it.
    pub(super) is_first: bool,
    pub(super) before: Before,
    /// What looking back from the end of its turn has shown.
    pub(super) decided: Option<Decision>,
}

/// An interim response that is not yet with its exchange.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announced {
    pub(super) interim: Interim,
    /// What its server had of the client: it is to none of the requests behind that.
    pub(super) acknowledged: Option<u64>,
    /// How often bytes of the server had been missing before it.
    pub(super) losses: u32,
}

/// Takes from the front of `interim` those whose server had nothing yet of a request that begins at `start`: they are
/// to one before it, whose final response is missing.
pub(super) fn announced_before(interim: &mut Vec<Announced>, start: u64) -> Vec<Announced> {
    take_front(interim, |one| one.acknowledged.is_some_and(|had| had <= start))
}

/// Takes the same of an `answer` that is to a later request than the oldest, and those with a hole between them and the
/// answer: they were sent when the oldest one was the next to be answered, and its final response is in the hole.
pub(super) fn announced_to_oldest(answer: &mut Answer, start: u64) -> Vec<Announced> {
    let losses = answer.part.losses.server;
    take_front(&mut answer.interim, |one| {
        one.losses != losses || one.acknowledged.is_some_and(|had| had <= start)
    })
}

fn take_front(interim: &mut Vec<Announced>, wanted: impl Fn(&Announced) -> bool) -> Vec<Announced> {
    let count = interim.iter().take_while(|one| wanted(one)).count();
    interim.drain(..count).collect()
}

/// What came in the server's stream before a final response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    /// Where the final response before it began.
    pub(super) start: Option<u64>,
    /// That one was seen to its end.
    pub(super) whole: bool,
    /// The last hole of unknown content.
    pub(super) hole: Hole,
}

/// Which request a response answers, after all of its turn has been looked at, or what its client's window leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The one of this index. It is `certain` if there is no response for each request in the turn but one.
    Request { index: u32, certain: bool },
    /// The one of this index, by its client's window.
    Window(u32),
    /// None of those that are known, or it cannot be told.
    Alone,
}

/// Where bytes of unknown content are missing: offsets of the first, and behind the last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hole {
    pub(super) start: u64,
    pub(super) end: u64,
}

/// An exchange that has its response.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) request: Option<Part>,
    pub(super) answer: Answer,
    pub(super) confidence: Confidence,
    pub(super) out_of_step: bool,
    /// The request was sent before the capture began.
    pub(super) before_capture: bool,
}

/// Which request a response answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolution {
    /// The one at this place among those pending.
    Pair(usize),
    Orphan,
    /// To be asked again when more has come.
    Wait,
    /// Its turn is over, and has pending requests from here to there: [`look_back`](super::Http1::look_back).
    LookBack(usize, usize),
}

impl Part {
    /// Whether its client waits for 100 before it sends the body.
    pub(super) fn asks_to_continue(&self) -> bool {
        let expects = self.head.field("expect").unwrap_or_default();
        expects.trim_ascii().eq_ignore_ascii_case(b"100-continue")
    }

    /// Of a request that ended with its head, before the answer came out from behind a hole: if that was no leave to
    /// go on, nothing is missing.
    #[cold]
    pub(super) fn perhaps_refused(&mut self, answer: &Answer) {
        let continued = answer.interim.iter().any(|one| one.interim.status == 100);
        if self.at.body_bytes == 0 && !continued && self.asks_to_continue() {
            self.fate = Fate::Whole;
            self.oddities.add(Oddities::BODY_NOT_SENT);
        }
    }

    /// Bytes allocated for it.
    pub(super) fn memory(&self) -> usize {
        self.head.memory() + self.kept.as_ref().map_or(0, |kept| kept.memory())
    }

    /// What it means for its response.
    pub(super) fn asked(&self) -> Asked {
        Asked { method: self.method, upgrade: self.upgrade }
    }

    /// It answers a HEAD, which nobody knew when it came. What was taken for its body is given back: it was behind a
    /// hole, and of a message whose head is in there.
    pub(super) fn end_with_head(&mut self) -> Option<Box<Kept>> {
        let whole_head = self.at.body > self.at.start;
        if self.fate != Fate::UnderWay && whole_head && self.at.end >= self.at.body {
            self.at.end = self.at.body;
            (self.at.body_bytes, self.at.gap_bytes) = (0, 0);
            (self.at.last, self.at.last_missing) = (self.at.head_end, false);
            self.fate = Fate::Whole;
            self.closed = false;
            return self.kept.take();
        }
        None
    }
}

impl Open {
    /// Bytes that it takes.
    pub(super) fn memory(&self) -> usize {
        let request = self.request.as_ref().map_or(0, Part::memory);
        let interim = self.answer.interim.capacity() * size_of::<Announced>();
        size_of::<Self>() + request + self.answer.part.memory() + interim
    }

    /// Its response ends with its head for the sake of a request that may not be its own.
    pub(super) fn ends_on_a_guess(&self) -> bool {
        let for_head = self.request.as_ref().is_some_and(|request| request.method == Method::Head);
        self.confidence == Confidence::Low && for_head
    }

    /// Of its exchange.
    pub(super) fn index(&self) -> u32 {
        self.request.as_ref().unwrap_or(&self.answer.part).index
    }
}
