//! Heads that do not lie within one segment, or are not plain; and what is no head.

use super::beyond::{Beyond, Newline};
use super::{Arrival, Event, Half, KEPT_BUFFER, Phase, Place, Progress, Stream};
use crate::body::{Chunk, Otherwise};
use crate::detect::{self, Line};
use crate::keep::Budget;
use crate::oddity::Oddities;
use crate::parse::{self, Parsed, Role};
use crate::{HeadExtent, HttpConfig};

impl Stream {
    /// Behind a head after which there is a body or the next head: a body does not begin like a status line, and hardly
    /// like a request line. That may take bytes of several segments to tell; `start` is the offset of `rest`.
    #[cold]
    pub(super) fn perhaps(
        &mut self,
        rest: &mut &[u8],
        start: u64,
        at: &Arrival<'_>,
        budget: &mut Budget,
    ) -> Option<Event> {
        let otherwise = self.otherwise;
        if self.begun.is_none() {
            self.buffer.clear();
        }
        let had = self.buffer.len();
        let (most, looks_like): (_, fn(&[u8]) -> Line) = match self.role {
            Role::Requests => (detect::REQUEST_MIN, detect::request_start),
            Role::Responses => (detect::STATUS_MIN, detect::status_start),
        };
        let more = rest.len().min(most.saturating_sub(had));
        self.buffer.extend_from_slice(&rest[..more]);
        let line = if otherwise == Otherwise::Chunks {
            // What is no digit begins no chunk, in whatever way it goes on.
            let first = rest.first().filter(|first| !first.is_ascii_hexdigit());
            let head = first.is_some_and(|first| looks_like(&[*first]) != Line::No);
            if head { Line::Yes } else { Line::No }
        } else {
            looks_like(&self.buffer)
        };
        if line == Line::Unsure {
            let begun = self.begun.get_or_insert_with(|| Box::new(Progress::new(start, at)));
            (begun.end, begun.last) = (start + more as u64, at.seen.time);
            (begun.last_again, begun.arrival.split) = (at.late, begun.first_position != at.seen.position);
            *rest = &rest[more..];
            return None;
        }
        self.buffer.truncate(had);
        if line == Line::Yes {
            self.phase = if self.begun.is_some() { Phase::Begun } else { Phase::Idle };
            self.keep.oddities.add_if(self.role == Role::Requests, Oddities::BODY_NOT_SENT);
            return Some(Event::End);
        }
        self.phase = match otherwise {
            Otherwise::Chunks => Phase::Chunked(Chunk::START),
            Otherwise::Close => Phase::Close,
            Otherwise::Length(left) => Phase::Counted { left },
        };
        let begun = self.begun.take()?;
        self.begun_is_body(begun, budget)
    }

    /// What is in the buffer, and seemed to begin a message, is body, or as much of it as a stated length leaves.
    fn begun_is_body(&mut self, mut begun: Box<Progress>, budget: &mut Budget) -> Option<Event> {
        let had = self.buffer.len();
        let taken = match &mut self.phase {
            Phase::Counted { left } => {
                let taken = (*left).min(had as u64);
                *left -= taken;
                if *left == 0 {
                    self.phase = Phase::Verify;
                }
                taken as usize
            }
            _ => had,
        };
        self.keep.body(&self.buffer[..taken], budget);
        self.message.body_bytes += taken as u64;
        self.message.end = begun.start + taken as u64;
        (self.message.last, self.message.last_again) = (begun.last, begun.last_again);
        if taken < had {
            self.buffer.drain(..taken);
            let event = self.verified_by_buffer();
            begun.start += taken as u64;
            (self.phase, self.begun) = (Phase::Begun, Some(begun));
            return Some(event);
        }
        None
    }

    /// The body under way may never come, although the head states its length: the client asked whether to send it, and
    /// has been answered instead. Nothing happens if some of it has come.
    #[cold]
    pub(crate) fn body_may_not_come(&mut self) {
        self.otherwise = match self.phase {
            Phase::Counted { left } if self.message.end == self.message.body => Otherwise::Length(left),
            Phase::Chunked(Chunk::START) => Otherwise::Chunks,
            _ => return,
        };
        self.phase = Phase::Perhaps;
    }

    /// The body that might not come has not come at all: the message is over. False if it is no such message.
    #[cold]
    pub(crate) fn body_has_not_come(&mut self) -> bool {
        let not_come =
            self.role == Role::Requests && matches!(self.phase, Phase::Perhaps) && self.begun.is_none();
        if not_come {
            self.keep.oddities.add(Oddities::BODY_NOT_SENT);
            self.phase = Phase::Idle;
        }
        not_come
    }

    /// What could have been the next head will not be told from a body any more: it is the body.
    pub(super) fn decide_for_body(&mut self) {
        if let (Phase::Perhaps, Some(begun)) = (&self.phase, &self.begun) {
            self.message.body_bytes += self.buffer.len() as u64;
            self.message.end = self.position;
            (self.message.last, self.message.last_again) = (begun.last, begun.last_again);
            self.keep.hole();
            self.buffer.clear();
            self.begun = None;
        }
    }

    /// In a head that does not lie within one segment, or that is not plain.
    pub(super) fn read(
        &mut self,
        rest: &mut &[u8],
        at: &Arrival<'_>,
        limits: &HttpConfig,
        budget: &mut Budget,
    ) -> Option<Event> {
        let Phase::Reading { mut newline, mut start_line } = self.phase else { return None };
        let had = self.buffer.len();
        let room = limits.max_head_bytes.saturating_sub(had);
        let piece = &rest[..rest.len().min(room)];
        let end = newline.find_end(piece);
        let (piece, behind) = rest.split_at(end.unwrap_or(piece.len()));
        self.buffer.extend_from_slice(piece);
        // What begins with a status line is no response of HTTP/0.9, however odd it goes on.
        if self.simple && detect::status_line(&self.buffer) == Line::Yes {
            self.simple = false;
        }
        if !start_line {
            // Looked at while it is short, and when it is whole: never the same bytes again and again.
            let whole = memchr::memchr(b'\n', piece).is_some();
            if whole || had <= detect::METHOD_MAX {
                if self.start_line() == Line::No {
                    return Some(match self.simple_head(piece.len(), budget) {
                        Some((parsed, taken)) => {
                            *rest = &rest[taken..];
                            Event::Head(parsed)
                        }
                        None => {
                            *rest = behind;
                            self.garbage(had, at, limits)
                        }
                    });
                }
                start_line = whole;
            }
        }
        *rest = behind;
        self.phase = Phase::Reading { newline, start_line };
        if end.is_some() {
            return Some(self.head_in_buffer(had, at, limits));
        }
        if self.buffer.len() < limits.max_head_bytes {
            return None;
        }
        self.go_beyond(newline, had, at, limits)
    }

    /// Whether what is in the buffer begins with a start line.
    fn start_line(&self) -> Line {
        match self.role {
            role if self.is_due() => detect::due_line(role, &self.buffer),
            Role::Requests if self.searched && detect::ends_a_body(&self.buffer) => Line::No,
            Role::Requests
                if self.searched
                    && self.found_at != Place::Line
                    && !detect::is_common_request(&self.buffer)
                    && !(self.found_at == Place::Segment && detect::is_strange_request(&self.buffer)) =>
            {
                Line::No
            }
            Role::Requests => detect::request_line(&self.buffer),
            Role::Responses => detect::status_line(&self.buffer),
        }
    }

    /// The head in the buffer is whole, if it is one; `had` bytes of it came with earlier segments.
    fn head_in_buffer(&mut self, had: usize, at: &Arrival<'_>, limits: &HttpConfig) -> Event {
        let HttpConfig { max_head_bytes, max_fields, .. } = *limits;
        let parsed = parse::whole(self.role, &self.buffer, max_head_bytes, max_fields, self.is_due());
        // What only looks like a head: text that quotes one, for instance.
        let doubtful = Oddities::NO_COLON.and(Oddities::BLANKS_IN_TARGET);
        let doubtful = match self.found_at {
            Place::Segment => doubtful,
            Place::Line | Place::Within => doubtful.and(Oddities::SPACE_BEFORE_COLON),
        };
        let searched = self.searched;
        match parsed.filter(|parsed| !(searched && parsed.framing.oddities.has(doubtful))) {
            Some(parsed) => {
                self.empty_buffer();
                self.phase = Phase::Decide;
                Event::Head(parsed)
            }
            None => self.garbage(had, at, limits),
        }
    }

    /// The buffer is full and the head goes on: what follows is looked at and not kept.
    fn go_beyond(
        &mut self,
        newline: Newline,
        had: usize,
        at: &Arrival<'_>,
        limits: &HttpConfig,
    ) -> Option<Event> {
        let Some(head) = parse::partial(self.role, &self.buffer, limits.max_fields, self.is_due()) else {
            return Some(self.garbage(had, at, limits));
        };
        let line = memchr::memrchr(b'\n', &self.buffer).map_or(0, |at| at + 1);
        let mut beyond = Beyond { newline, head, line: Vec::new(), in_start_line: line == 0 };
        beyond.keep(&self.buffer[line..]);
        self.empty_buffer();
        self.phase = Phase::Beyond(Box::new(beyond));
        None
    }

    /// The same of what is in the buffer and has been taken: what it seemed to begin was no message.
    pub(super) fn read_again(
        &mut self,
        at: &Arrival<'_>,
        limits: &HttpConfig,
        budget: &mut Budget,
    ) -> Option<Event> {
        let bytes = std::mem::take(&mut self.buffer);
        self.phase = Phase::Reading { newline: Newline::None, start_line: false };
        // An empty line is at the end of them or nowhere, so all of them are taken.
        self.read(&mut &bytes[..], at, limits, budget)
    }

    /// In what is beyond the limit of a head.
    pub(super) fn beyond(&mut self, rest: &mut &[u8]) -> Option<Event> {
        let Phase::Beyond(beyond) = &mut self.phase else { return None };
        if !beyond.take(rest) {
            return None;
        }
        let Phase::Beyond(mut beyond) = std::mem::replace(&mut self.phase, Phase::Decide) else {
            return None;
        };
        beyond.head.framing.finish(beyond.head.head.start());
        Some(Event::Head(beyond.head))
    }

    /// What was told from a body is under way.
    pub(super) fn go_on_with_begun(&mut self, limits: &HttpConfig) {
        self.keep.begin(limits.body, limits.max_head_bytes);
        if let Some(begun) = self.begun.take() {
            self.message = *begun;
        }
        self.phase = Phase::Reading { newline: Newline::None, start_line: false };
    }

    /// The head of HTTP/0.9 that what is in the buffer is, if it is one, and how many of the last `last` bytes belong
    /// to it.
    #[cold]
    pub(super) fn simple_head(&mut self, last: usize, budget: &mut Budget) -> Option<(Parsed, usize)> {
        if self.message.start != 0 {
            return None;
        }
        let had = self.buffer.len() - last;
        let (parsed, taken) = match self.role {
            Role::Requests => {
                let end = memchr::memchr(b'\n', &self.buffer)? + 1;
                (parse::simple_request(&self.buffer[..end])?, end - had)
            }
            Role::Responses if self.simple => {
                self.simple = false;
                self.message.body_bytes = self.buffer.len() as u64;
                self.keep.body(&self.buffer, budget);
                (parse::simple_response(), last)
            }
            Role::Responses => return None,
        };
        self.empty_buffer();
        self.phase = Phase::Decide;
        Some((parsed, taken))
    }

    /// The bytes in the buffer begin no message. Perhaps one begins within them; `had` of them came with earlier
    /// segments.
    pub(super) fn garbage(&mut self, had: usize, at: &Arrival<'_>, limits: &HttpConfig) -> Event {
        let behind = self.buffer.get(1..).unwrap_or_default();
        let found = detect::find_start(self.role, behind, self.buffer.starts_with(b"\n"), false);
        let skipped = found.map_or(self.buffer.len(), |found| found + 1);
        if found.is_some() {
            if skipped >= had {
                self.begin(self.message.start + skipped as u64, at, limits);
            } else {
                // In which of the earlier segments is not known any more.
                self.message.start += skipped as u64;
            }
            self.found_at = if self.buffer[skipped - 1] == b'\n' { Place::Line } else { Place::Within };
            self.found_within = true;
            self.buffer.drain(..skipped);
            self.searched = true;
            self.phase = Phase::Again;
        } else {
            self.line_start = self.buffer.ends_with(b"\n");
            self.searched = false;
            self.empty_buffer();
            self.phase = Phase::Search;
        }
        Event::Skipped(skipped as u64)
    }

    /// What there is of a head that gets no further.
    pub(super) fn half_head(&mut self, limits: &HttpConfig) -> Result<Parsed, Half> {
        self.message.arrival.extent = HeadExtent::Cut;
        let due = self.is_due();
        match std::mem::replace(&mut self.phase, Phase::Search) {
            Phase::Beyond(beyond) => Ok(beyond.head),
            _ => {
                self.begun = None;
                let bytes = std::mem::take(&mut self.buffer);
                let whole_line = memchr::memchr(b'\n', &bytes).is_some();
                let parsed = match whole_line {
                    true => parse::partial(self.role, &bytes, limits.max_fields, due),
                    false if due => parse::half_line(self.role, &bytes, limits.max_fields),
                    false => None,
                };
                parsed.ok_or(Half { bytes: bytes.len() as u64, of_start_line: !whole_line && due })
            }
        }
    }

    /// What is under way stands where a message is due: it may be odd.
    pub(super) fn is_due(&self) -> bool {
        !self.searched && !self.simple
    }

    /// Ready for the next head; a large one's memory is not kept.
    pub(super) fn empty_buffer(&mut self) {
        if self.buffer.capacity() > KEPT_BUFFER {
            self.buffer = Vec::new();
        } else {
            self.buffer.clear();
        }
    }
}
