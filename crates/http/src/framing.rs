//! One direction of a connection as a sequence of messages: a state machine over the bytes of its stream.
//!
//! ```text
//!             first byte            empty line           Stream::body
//!   ┌─► Idle ───────────► Reading ─────────────► Decide ───────────────► Counted, Chunked, Close ──┐
//!   │    │                   │ no start line                               │ bad chunk, gap         │ the end
//!   │    └──────────────► Search ◄────────────────────────────────────────┘                        │
//!   │                        │ what looks like a start line                                         │
//!   └────────────────────────┴──────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The machine sees each byte of a head once and no byte of a body. A head that lies within one segment is parsed
//! where it is; of one that does not, the pieces are joined in a buffer that is bounded and reused. Where messages
//! begin and end depends on the bytes alone and not on how they were cut into segments. Where a message is
//! [searched](Phase::Search) for, what looks like a start line and turns out to be none is searched through in its
//! turn. One exception remains: requests are looked for at the beginnings of lines, and behind bytes that are missing
//! the beginning of a segment is taken for one.

mod beyond;
mod heads;
mod memory;
mod missing;

use gannet_flow::{Flow, Moment, Peer};
use gannet_packet::Timestamp;

use crate::HttpConfig;
use crate::body::{Chunk, Ending, Otherwise, Step};
use crate::detect::{self, Line};
use crate::head::StartLine;
use crate::keep::{Budget, Keep, Kept};
use crate::oddity::Oddities;
use crate::parse::{self, Fast, Parsed, Role};
use crate::timing;
use crate::{HeadArrival, TcpFacts};
use beyond::{Beyond, Newline};
pub(crate) use missing::{AfterGap, Cut, Half};

/// The state of one direction. What a segment within a body changes comes first and fits in one line of the cache.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Stream {
    phase: Phase,
    role: Role,
    /// Bytes of the body under way are still wanted.
    keeping: bool,
    /// What comes first may be a response of HTTP/0.9.
    simple: bool,
    /// Empty lines came before what is under way.
    blank: bool,
    /// What is under way was searched for: it has yet to show that it is a message.
    searched: bool,
    /// While searching: what was passed over last ends in a line feed.
    line_start: bool,
    /// Where what was searched for and found begins.
    found_at: Place,
    /// The length of what is under way is stated with different values.
    doubtful: bool,
    /// Offset in the stream of the next byte to come.
    pub(crate) position: u64,
    /// The message under way; what is in it without one is of no meaning.
    pub(crate) message: Progress,
    /// The head under way, as far as it did not lie within one segment.
    buffer: Vec<u8>,
    keep: Keep,
    /// What was searched for and found does not begin with its segment.
    found_within: bool,
    /// How the message under way ends if it has a body, in [`Phase::Perhaps`].
    otherwise: Otherwise,
    /// The message that what is in the buffer may be the beginning of.
    begun: Option<Box<Progress>>,
}

/// Times, places and sizes of a message.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Progress {
    /// Offset behind its last byte so far.
    pub(crate) end: u64,
    pub(crate) body_bytes: u64,
    pub(crate) last: Timestamp,
    /// The first byte was sent more than once or came late.
    pub(crate) first_again: bool,
    /// The same of the last byte so far.
    pub(crate) last_again: bool,
    /// The last byte so far is missing.
    pub(crate) last_missing: bool,
    /// Offset of its first byte.
    pub(crate) start: u64,
    /// Offset behind its head.
    pub(crate) body: u64,
    pub(crate) first: Timestamp,
    pub(crate) head_end: Timestamp,
    /// What the sender had of the opposite stream when it sent the first byte.
    pub(crate) acknowledged: Option<u64>,
    pub(crate) gap_bytes: u64,
    /// Place in the run of the packet with its first byte.
    pub(crate) first_position: u64,
    /// How the bytes of its head came.
    pub(crate) arrival: HeadArrival,
    /// It was searched for, and found behind other bytes of its segment: what a body quotes looks like that.
    pub(crate) found_within: bool,
    /// What TCP had gone through when the message began.
    pub(crate) facts: TcpFacts,
}

/// The facts that come with the bytes of one `Data`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<'a> {
    pub(crate) seen: Moment,
    pub(crate) late: bool,
    pub(crate) acknowledged: Option<u64>,
    pub(crate) flow: &'a Flow,
    pub(crate) client: Peer,
    /// Nothing of the segment has been taken yet.
    pub(crate) boundary: bool,
}

/// What the bytes given have led to.
#[derive(Debug)]
pub(crate) enum Event {
    /// A head is whole. [`Stream::body`] must be called next.
    Head(Parsed),
    /// The message is over.
    End,
    /// The message is over because its framing is not what it should be.
    Broken,
    /// So many bytes belong to no message.
    Skipped(u64),
    /// The same of empty lines where a message is due, which may stand there.
    Blank(u64),
    /// So many bytes belong to another protocol.
    Switched(u64),
}

/// Where something begins that was searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Line,
    /// With its segment, as hardly anything does that quotes a message; but so does the last letter of a body.
    Segment,
    /// Within a line: only a method in common use makes a request of it.
    Within,
}

#[derive(Debug)]
enum Phase {
    /// Between messages.
    Idle,
    /// In a head; what there is of it is in the buffer.
    Reading {
        newline: Newline,
        start_line: bool,
    },
    /// In a head that does not fit: what is beyond the limit is only looked at.
    Beyond(Box<Beyond>),
    /// Behind a head, for [`Stream::body`] to say what follows.
    Decide,
    /// In a body, before its first byte, if there is a body. What agrees with a status line and is too short to tell
    /// is in the buffer, and `begun` is the message that it would be of.
    Perhaps,
    /// Between messages, but that the first bytes of the next one, `begun`, are in the buffer.
    Begun,
    Counted {
        left: u64,
    },
    /// Behind a body whose length is doubtful: what follows will tell whether it was right.
    Verify,
    Chunked(Chunk),
    Close,
    /// Looking for a start line.
    Search,
    /// The same in the buffer, whose bytes have been taken: what they seemed to begin was no message.
    Again,
    /// Another protocol.
    Switched,
}

impl Stream {
    /// A stream at its beginning, or, with `search`, somewhere in it.
    pub(crate) fn new(role: Role, search: bool) -> Self {
        Self {
            role,
            phase: if search { Phase::Search } else { Phase::Idle },
            keeping: false,
            simple: false,
            blank: false,
            searched: false,
            line_start: false,
            found_at: Place::Line,
            found_within: false,
            doubtful: false,
            position: 0,
            message: Progress::default(),
            buffer: Vec::new(),
            keep: Keep::default(),
            otherwise: Otherwise::Close,
            begun: None,
        }
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// Takes `len` bytes that lie within a body, do not end it and are not to be kept; false if they are not such
    /// bytes.
    #[inline]
    pub(crate) fn skip(&mut self, len: u64, seen: Timestamp, late: bool) -> bool {
        if self.keeping {
            return false;
        }
        match &mut self.phase {
            Phase::Counted { left } | Phase::Chunked(Chunk::Data { left }) if *left > len => *left -= len,
            Phase::Close => {}
            _ => return false,
        }
        self.position += len;
        self.message.end = self.position;
        self.message.body_bytes += len;
        self.message.last = seen;
        self.message.last_again = late;
        self.message.last_missing = false;
        true
    }

    /// Whether [`step`](Self::step) has nothing to do with what is left.
    #[inline]
    pub(crate) fn is_done(&self, rest: &[u8]) -> bool {
        rest.is_empty() && !matches!(self.phase, Phase::Decide | Phase::Again)
    }

    /// Takes bytes off the front of `rest` up to the next event; `None` once all are taken.
    pub(crate) fn step(
        &mut self,
        rest: &mut &[u8],
        at: &Arrival<'_>,
        limits: &HttpConfig,
        budget: &mut Budget,
    ) -> Option<Event> {
        let before = rest.len();
        // What has been taken already counts as taken now.
        let again = matches!(self.phase, Phase::Again);
        let mut event = loop {
            if self.is_done(rest) {
                break None;
            }
            let event = self.turn(rest, before - rest.len(), at, limits, budget);
            if event.is_some() {
                break event;
            }
        };
        let taken = (before - rest.len()) as u64;
        self.position += taken;
        self.keeping = self.keep.wants_body();
        let undecided = matches!(self.phase, Phase::Perhaps) && self.begun.is_some();
        let of_message = !matches!(event, Some(Event::Skipped(_) | Event::Blank(_) | Event::Switched(_)));
        if of_message && (taken > 0 && !undecided || again) {
            self.arrived(at, matches!(event, Some(Event::Head(_))));
        }
        if let Some(Event::Head(parsed)) = &mut event {
            self.head_is_whole(parsed);
        }
        event
    }

    /// Lets the phase have what is left, of which `taken` bytes have been taken before.
    #[inline(always)]
    fn turn(
        &mut self,
        rest: &mut &[u8],
        taken: usize,
        at: &Arrival<'_>,
        limits: &HttpConfig,
        budget: &mut Budget,
    ) -> Option<Event> {
        let offset = self.position + taken as u64;
        match &mut self.phase {
            Phase::Idle => return self.idle(rest, offset, at, limits),
            Phase::Reading { .. } => return self.read(rest, at, limits, budget),
            Phase::Again => return self.read_again(at, limits, budget),
            Phase::Beyond(_) => return self.beyond(rest),
            // Nobody said what follows: nothing does.
            Phase::Decide => self.phase = Phase::Idle,
            Phase::Perhaps => return self.perhaps(rest, offset, at, budget),
            Phase::Begun => self.go_on_with_begun(limits),
            Phase::Counted { .. } => return self.counted(rest, budget),
            Phase::Verify => return Some(self.verified(rest)),
            Phase::Chunked(_) => return self.chunked(rest, budget),
            Phase::Close => {
                self.message.body_bytes += rest.len() as u64;
                self.keep.body(rest, budget);
                *rest = &[];
            }
            Phase::Search => return self.search(rest, at.boundary && taken == 0),
            Phase::Switched => return Some(Event::Switched(std::mem::take(rest).len() as u64)),
        }
        None
    }

    /// Between messages: empty lines, or the beginning of a message, whose head may be whole.
    #[inline(always)]
    fn idle(
        &mut self,
        rest: &mut &[u8],
        offset: u64,
        at: &Arrival<'_>,
        limits: &HttpConfig,
    ) -> Option<Event> {
        if self.simple {
            let line = detect::status_line(rest);
            self.simple = line == Line::Unsure;
            if line == Line::No {
                self.begin(offset, at, limits);
                self.phase = Phase::Decide;
                return Some(Event::Head(parse::simple_response()));
            }
        }
        let blank = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        if blank > 0 {
            *rest = &rest[blank..];
            self.blank = true;
            return Some(Event::Blank(blank as u64));
        }
        self.begin(offset, at, limits);
        match parse::fast(self.role, rest, limits.max_head_bytes, limits.max_fields) {
            Fast::Head(parsed, len) => {
                *rest = &rest[len..];
                self.phase = Phase::Decide;
                Some(Event::Head(parsed))
            }
            Fast::Partial | Fast::Refused => {
                self.buffer.clear();
                self.phase = Phase::Reading { newline: Newline::None, start_line: false };
                None
            }
        }
    }

    /// In a body of stated length.
    #[inline(always)]
    fn counted(&mut self, rest: &mut &[u8], budget: &mut Budget) -> Option<Event> {
        let Phase::Counted { left } = &mut self.phase else { return None };
        let (body, behind) = rest.split_at((*left).min(rest.len() as u64) as usize);
        *left -= body.len() as u64;
        self.message.body_bytes += body.len() as u64;
        self.keep.body(body, budget);
        *rest = behind;
        if *left > 0 {
            return None;
        }
        self.phase = Phase::Verify;
        (!self.doubtful || !behind.is_empty()).then(|| self.verified(behind))
    }

    /// In a body of chunks.
    #[inline(always)]
    fn chunked(&mut self, rest: &mut &[u8], budget: &mut Budget) -> Option<Event> {
        let Phase::Chunked(chunk) = &mut self.phase else { return None };
        match chunk.step(rest, &mut self.message.body_bytes, &mut self.keep, budget) {
            Step::More => None,
            Step::End => {
                self.phase = Phase::Idle;
                Some(Event::End)
            }
            Step::Bad => {
                self.keep.oddities.add(Oddities::BAD_CHUNK);
                self.phase = Phase::Search;
                Some(Event::Broken)
            }
        }
    }

    /// Looking for a start line; `boundary` says that `rest` begins a segment.
    fn search(&mut self, rest: &mut &[u8], boundary: bool) -> Option<Event> {
        let found = detect::find_start(self.role, rest, self.line_start, boundary);
        let (skipped, behind) = rest.split_at(found.unwrap_or(rest.len()));
        *rest = behind;
        if found.is_some() {
            self.phase = Phase::Idle;
            self.searched = true;
            self.found_at = match skipped {
                [] if self.line_start => Place::Line,
                [] if boundary => Place::Segment,
                [.., b'\n'] => Place::Line,
                _ => Place::Within,
            };
            self.found_within = !(boundary && skipped.is_empty());
            self.line_start = false;
        } else {
            self.line_start = skipped.ends_with(b"\n");
        }
        (!skipped.is_empty()).then_some(Event::Skipped(skipped.len() as u64))
    }

    /// Bytes of the message under way have come, up to the position.
    #[inline(always)]
    fn arrived(&mut self, at: &Arrival<'_>, end_of_head: bool) {
        let message = &mut self.message;
        message.end = self.position;
        message.last = at.seen.time;
        message.last_again = at.late;
        message.last_missing = false;
        if end_of_head {
            message.head_end = at.seen.time;
            message.body = self.position;
        }
        if end_of_head || matches!(self.phase, Phase::Reading { .. } | Phase::Beyond(_)) {
            message.arrival.split |= at.seen.position != message.first_position;
        }
    }

    /// What was under way turned out to be a message, whose head has ended.
    #[inline(always)]
    fn head_is_whole(&mut self, parsed: &mut Parsed) {
        self.message.found_within = self.searched && self.found_within;
        (self.searched, self.simple) = (false, false);
        self.doubtful = parsed.framing.oddities.has(Oddities::CONFLICTING_LENGTH);
        if *parsed.head.start() == StartLine::SimpleResponse {
            // What was taken to find that out is body.
            self.message.body = self.message.start;
        }
        parsed.framing.oddities.add_if(std::mem::take(&mut self.blank), Oddities::BLANK_LINES);
    }

    /// The message is over; `rest` is what is known of what follows it.
    #[inline]
    fn verified(&mut self, rest: &[u8]) -> Event {
        self.keep.oddities.add_if(refutes(self.role, rest), Oddities::LENGTH_REFUTED);
        self.phase = Phase::Idle;
        Event::End
    }

    /// The same; what is known of what follows is in the buffer.
    fn verified_by_buffer(&mut self) -> Event {
        let buffer = std::mem::take(&mut self.buffer);
        let event = self.verified(&buffer);
        self.buffer = buffer;
        event
    }

    /// Ends a message that waits for what follows it, because nothing will for now; true if there is one.
    #[must_use]
    pub(crate) fn verify_no_longer(&mut self) -> bool {
        let waits = matches!(self.phase, Phase::Verify);
        if waits {
            self.phase = Phase::Idle;
        }
        waits
    }

    /// A response of HTTP/0.9 may come now.
    pub(crate) fn expect_simple(&mut self) {
        self.simple = self.position == 0 && matches!(self.phase, Phase::Idle);
    }

    /// What was kept of the message that is over.
    #[inline]
    pub(crate) fn take_kept(&mut self, max_fields: usize) -> Option<Box<Kept>> {
        self.keeping = false;
        self.keep.take(max_fields)
    }

    /// What is kept of the message under way is none of it.
    pub(crate) fn forget_kept(&mut self, budget: &mut Budget) {
        self.keeping = false;
        self.keep.forget(budget);
    }

    /// Says where the message ends whose head has just been read. True if it has ended already.
    #[must_use]
    pub(crate) fn body(&mut self, ending: Ending) -> bool {
        self.phase = match ending {
            Ending::Head => Phase::Idle,
            Ending::Length(left) => Phase::Counted { left },
            Ending::Perhaps(otherwise) => {
                self.otherwise = otherwise;
                Phase::Perhaps
            }
            Ending::Chunks => Phase::Chunked(Chunk::START),
            Ending::Close => Phase::Close,
            Ending::Switch => Phase::Switched,
        };
        matches!(self.phase, Phase::Idle | Phase::Switched)
    }

    /// Whether no message that has begun goes on at `offset`, as far as that is known.
    pub(crate) fn is_between(&self, offset: u64) -> bool {
        match self.phase {
            Phase::Idle | Phase::Search => true,
            Phase::Counted { left } => self.position.saturating_add(left) <= offset,
            _ => false,
        }
    }

    /// The method of the request is known only now. True if it makes the message end with its head, and nothing has
    /// been taken for its body.
    #[must_use]
    pub(crate) fn without_body(&mut self) -> bool {
        let bodyless = match &self.phase {
            Phase::Perhaps | Phase::Close => self.message.body_bytes == 0 && self.message.gap_bytes == 0,
            Phase::Chunked(chunk) => *chunk == Chunk::START,
            _ => false,
        };
        if bodyless {
            self.phase = if self.begun.is_some() { Phase::Begun } else { Phase::Idle };
        }
        bodyless
    }

    /// What follows is another protocol. Bytes of the message under way that are behind its head are part of it, and
    /// are given back.
    pub(crate) fn switch(&mut self) -> u64 {
        self.decide_for_body();
        self.phase = Phase::Switched;
        let message = &mut self.message;
        let behind = message.end.saturating_sub(message.body).saturating_sub(message.gap_bytes);
        message.end = message.body;
        message.last = message.head_end;
        message.last_missing = false;
        message.body_bytes = 0;
        message.gap_bytes = 0;
        behind
    }

    /// A start line is looked for.
    pub(crate) fn searches(&self) -> bool {
        self.searched || matches!(self.phase, Phase::Search)
    }

    /// A head has begun and is not whole.
    pub(crate) fn in_head(&self) -> bool {
        matches!(self.phase, Phase::Reading { .. } | Phase::Beyond(_) | Phase::Begun)
    }

    /// Bytes have been sent again: marks the first byte of the message under way if it is among them.
    pub(crate) fn again(&mut self, offset: u64, len: u64) {
        match &self.phase {
            Phase::Idle | Phase::Search | Phase::Switched => {}
            _ => match &mut self.begun {
                Some(begun) => {
                    begun.again(offset, len, self.position);
                    self.message.again(offset, len, begun.start);
                }
                None => self.message.again(offset, len, self.position),
            },
        }
    }

    #[inline]
    fn begin(&mut self, start: u64, at: &Arrival<'_>, limits: &HttpConfig) {
        self.keep.begin(limits.body, limits.max_head_bytes);
        self.message = Progress::new(start, at);
    }
}

impl Progress {
    /// Of a message whose first byte, at `start`, has come.
    #[inline]
    fn new(start: u64, at: &Arrival<'_>) -> Self {
        Self {
            start,
            body: start,
            end: start,
            first: at.seen.time,
            head_end: at.seen.time,
            last: at.seen.time,
            acknowledged: at.acknowledged,
            body_bytes: 0,
            gap_bytes: 0,
            first_again: at.late,
            last_again: at.late,
            last_missing: false,
            first_position: at.seen.position,
            arrival: HeadArrival::default(),
            found_within: false,
            facts: timing::sums(at.flow, at.client),
        }
    }

    /// Bytes on the wire, holes included.
    pub(crate) fn wire_bytes(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether the sender may have had more than `offset` bytes of the opposite stream.
    pub(crate) fn had_more_than(&self, offset: u64) -> bool {
        self.acknowledged.is_none_or(|had| offset < had)
    }

    /// Marks the edges that `len` bytes from `offset` cover; `end` is the offset behind the last byte.
    pub(crate) fn again(&mut self, offset: u64, len: u64, end: u64) {
        let covers = |byte: u64| byte.checked_sub(offset).is_some_and(|behind| behind < len);
        self.first_again |= covers(self.start);
        self.last_again |= end > self.start && covers(end - 1);
    }
}

/// Whether what follows a message of stated length within its segment cannot be another message.
fn refutes(role: Role, rest: &[u8]) -> bool {
    let blank = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let rest = &rest[blank..];
    !rest.is_empty() && detect::due_line(role, rest) == Line::No
}

/// A buffer up to this size waits for the next head, in bytes. Connections that wait hold it: higher costs memory,
/// lower an allocation for each head that is cut by segments.
const KEPT_BUFFER: usize = 4_096;

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn a_body_is_taken_within_one_line() {
        let flags = offset_of!(Stream, message) + offset_of!(Progress, last_missing);
        assert!(flags < 64, "{flags}");
        assert_eq!(align_of::<Stream>(), 64);
    }
}
