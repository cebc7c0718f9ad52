//! The bytes of a head taken apart.
//!
//! `httparse` does the work wherever it agrees to. What it refuses (folded lines, odd bytes, blanks in a target, more
//! fields than its array holds) is taken apart line by line, so that no message is lost for its looks. Where
//! `httparse` succeeds, the line parser would have found the same.

mod start;

use std::mem::MaybeUninit;
use std::ops::Range;

use self::start::{STATUS_LEN, Start};
use crate::detect::{is_common, is_method};
use crate::{Field, Head, Oddities, StartLine};

/// Which messages a direction carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Requests,
    Responses,
}

/// A head and what it says about the length of what follows.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) head: Head,
    pub(crate) framing: Framing,
}

/// The fields that decide where a message ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Framing {
    /// The first Content-Length.
    pub(crate) length: Option<u64>,
    /// There is a Transfer-Encoding.
    pub(crate) transfer_encoding: bool,
    /// Its last coding is `chunked`.
    pub(crate) chunked: bool,
    /// There is an Upgrade.
    pub(crate) upgrade: bool,
    /// `Upgrade: h2c`.
    pub(crate) h2c: bool,
    /// `Upgrade: websocket`.
    pub(crate) websocket: bool,
    /// What is odd about the head.
    pub(crate) oddities: Oddities,
}

impl Framing {
    /// Takes one field into account.
    #[inline]
    pub(crate) fn field(&mut self, name: &[u8], value: &[u8]) {
        // Few fields are as long as one of the names: a call is not made for each.
        if matches!(name.len(), 7 | 14 | 17) {
            self.framing_field(name, value);
        }
    }

    #[inline(never)]
    fn framing_field(&mut self, name: &[u8], value: &[u8]) {
        match name.len() {
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrade = true;
                self.h2c |= tokens(value).any(|token| token.eq_ignore_ascii_case(b"h2c"));
                self.websocket |= tokens(value).any(|token| token.eq_ignore_ascii_case(b"websocket"));
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                for coding in tokens(value).filter(|token| !token.is_empty()) {
                    // RFC 2616 had `identity` for no coding at all.
                    let identity = coding.eq_ignore_ascii_case(b"identity");
                    // "A sender MUST NOT apply the chunked transfer coding more than once" (RFC 9112, section 6.1), and
                    // what is applied after it hides its end.
                    self.oddities.add_if(identity || self.chunked, Oddities::ODD_CODING);
                    self.transfer_encoding |= !identity;
                    self.chunked =
                        if identity { self.chunked } else { coding.eq_ignore_ascii_case(b"chunked") };
                }
            }
            _ => {}
        }
    }

    /// What the fields say together, once all have been taken.
    #[inline]
    pub(crate) fn finish(&mut self, start: &StartLine) {
        if let StartLine::Response { status: Some(100..=199 | 204), .. } = start {
            // "A server MUST NOT send a Content-Length header field" in them (RFC 9110, section 8.6), nor a
            // Transfer-Encoding (RFC 9112, section 6.1). Many send a length of 0 with 204, which says nothing wrong.
            let length = self.transfer_encoding || self.length.is_some_and(|length| length > 0);
            self.oddities.add_if(length, Oddities::LENGTH_WITHOUT_BODY);
        }
        if !self.transfer_encoding {
            return;
        }
        let minor = match *start {
            StartLine::Request { minor, .. } | StartLine::Response { minor, .. } => minor,
            _ => 0,
        };
        self.oddities.add_if(self.length.is_some(), Oddities::LENGTH_AND_CODING);
        self.oddities.add_if(!self.chunked, Oddities::ODD_CODING);
        // "... MUST treat the message as if the framing is faulty" (RFC 9112, section 6.1).
        self.oddities.add_if(minor == 0, Oddities::CODING_IN_1_0);
    }

    /// Takes a whole line into account, of which the end may be missing.
    pub(crate) fn line(&mut self, line: &[u8]) {
        if let Some(colon) = memchr::memchr(b':', line) {
            self.field(line[..colon].trim_ascii_end(), line[colon + 1..].trim_ascii());
        }
    }

    fn content_length(&mut self, value: &[u8]) {
        // A list of equal numbers is what an intermediary makes of two fields (RFC 9110, section 8.6).
        for number in tokens(value) {
            let parsed = decimal(number);
            match (self.length, parsed) {
                (Some(first), Some(number)) if first == number => {
                    self.oddities.add(Oddities::DUPLICATE_LENGTH)
                }
                (Some(_), _) | (_, None) => self.oddities.add(Oddities::CONFLICTING_LENGTH),
                (None, Some(_)) => {}
            }
            self.length = self.length.or(parsed);
        }
    }
}

/// What `httparse` says of bytes that begin with a head.
pub(crate) enum Fast {
    /// The head, and its length.
    Head(Parsed, usize),
    /// The end is not among them.
    Partial,
    /// The line parser has to do it.
    Refused,
}

/// Reads a head that may be followed by other bytes, if it is plain and within the limits.
#[inline]
pub(crate) fn fast(role: Role, bytes: &[u8], max_bytes: usize, max_fields: usize) -> Fast {
    let mut fields = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; FAST_FIELDS];
    let (len, start, fields) = match role {
        Role::Requests => {
            let mut request = httparse::Request::new(&mut []);
            let len = match request.parse_with_uninit_headers(bytes, &mut fields) {
                Ok(httparse::Status::Complete(len)) => len,
                Ok(httparse::Status::Partial) => return Fast::Partial,
                Err(_) => return Fast::Refused,
            };
            let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
            else {
                return Fast::Refused;
            };
            if !is_method(method.as_bytes()) {
                return Fast::Refused;
            }
            let start = StartLine::Request {
                method: range(bytes, method.as_bytes()),
                target: range(bytes, target.as_bytes()),
                minor,
            };
            (len, start, &*request.headers)
        }
        Role::Responses => {
            let mut response = httparse::Response::new(&mut []);
            let config = httparse::ParserConfig::default();
            let len = match config.parse_response_with_uninit_headers(&mut response, bytes, &mut fields) {
                Ok(httparse::Status::Complete(len)) => len,
                Ok(httparse::Status::Partial) => return Fast::Partial,
                Err(_) => return Fast::Refused,
            };
            let (Some(status), Some(minor)) = (response.code, response.version) else { return Fast::Refused };
            // httparse gives no phrase for one with bytes above 127. It has seen `HTTP/1.x NNN`, which is 12 bytes.
            let line_end = memchr::memchr(b'\n', bytes).unwrap_or(len).max(STATUS_LEN);
            let reason = to_u32(trim_end(bytes, trim_start(bytes, STATUS_LEN..line_end)));
            (len, StartLine::Response { status: Some(status), reason, minor }, &*response.headers)
        }
    };
    if len > max_bytes || fields.len() > max_fields {
        return Fast::Refused;
    }
    let mut framing = Framing::default();
    let raw = &bytes[..len];
    // What is behind each value, if it is there to be seen, is the end of its line.
    let mut all_crlf = raw.ends_with(b"\r\n\r\n");
    let count = fields.len();
    let fields = fields.iter().map(|field| {
        framing.field(field.name.as_bytes(), field.value);
        let value = range(bytes, field.value);
        all_crlf &= raw.get(value.end as usize) == Some(&b'\r') && !field.value.is_empty();
        Field { name: range(bytes, field.name.as_bytes()), value }
    });
    let first_line_end = match &start {
        StartLine::Request { target, .. } => target.end as usize + VERSION_LEN,
        StartLine::Response { reason, .. } => reason.end as usize,
        _ => 0,
    };
    let head = Head::packed(raw, &[], start, count, fields);
    all_crlf &= raw.get(first_line_end) == Some(&b'\r');
    framing.oddities.add_if(!all_crlf && has_bare_lf(raw), Oddities::BARE_LF);
    framing.finish(head.start());
    let is_odd = head.status().is_some_and(|status| !(100..=599).contains(&status));
    framing.oddities.add_if(is_odd, Oddities::ODD_STATUS);
    Fast::Head(Parsed { head, framing }, len)
}

/// A head that is whole, without bytes behind it; `None` if its first line is no start line. Where a message is `due`,
/// one that is odd is one.
pub(crate) fn whole(
    role: Role,
    raw: &[u8],
    max_bytes: usize,
    max_fields: usize,
    due: bool,
) -> Option<Parsed> {
    match fast(role, raw, max_bytes, max_fields) {
        Fast::Head(parsed, _) => Some(parsed),
        Fast::Partial | Fast::Refused => by_lines(role, raw, max_fields, false, due),
    }
}

/// As much of a head as there is: its last line may be cut anywhere, and is then left out unless it is the first.
pub(crate) fn partial(role: Role, raw: &[u8], max_fields: usize, due: bool) -> Option<Parsed> {
    by_lines(role, raw, max_fields, true, due)
}

/// The same of bytes that end within the first line, if that says all that matters: method and target, or the status.
pub(crate) fn half_line(role: Role, raw: &[u8], max_fields: usize) -> Option<Parsed> {
    start::says_enough(role, raw).then(|| partial(role, raw, max_fields, false)).flatten()
}

/// Whether a line, without its end, is a start line where a message is due.
pub(crate) fn is_start_line(role: Role, line: &[u8]) -> bool {
    start_line(role, line, 0..trim_end(line, 0..line.len()).end, true, true).is_some()
}

fn start_line(role: Role, raw: &[u8], line: Range<usize>, ended: bool, due: bool) -> Option<Start> {
    match role {
        Role::Requests => start::request_line(raw, line, ended, due),
        Role::Responses => start::status_line(raw, line, due),
    }
}

fn by_lines(role: Role, raw: &[u8], max_fields: usize, cut: bool, due: bool) -> Option<Parsed> {
    let mut lines = Lines { raw, at: 0 };
    let (first, ended) = lines.next()?;
    let Start { line: start, version, mut oddities } = start_line(role, raw, first.clone(), ended, due)?;
    let mut fields = Fields { raw, max: max_fields, ..Fields::default() };
    oddities.add_if(ended && raw.get(first.end) == Some(&b'\n'), Oddities::BARE_LF);
    if let StartLine::Request { target, .. } = &start {
        let blank = raw[usize_range(target)].iter().any(|byte| matches!(byte, b' ' | b'\t'));
        oddities.add_if(blank, Oddities::BLANKS_IN_TARGET);
    }
    for (line, ended) in lines {
        if cut && !ended {
            break;
        }
        let bytes = &raw[line.clone()];
        oddities.add_if(ended && raw.get(line.end) == Some(&b'\n'), Oddities::BARE_LF);
        match bytes {
            [] => break,
            [b' ' | b'\t', ..] if fields.open.is_some() => {
                oddities.add(Oddities::FOLDED);
                fields.fold(bytes);
            }
            _ => {
                fields.close();
                // A line without a colon is no field. It stays in the raw bytes.
                let Some(colon) = memchr::memchr(b':', bytes) else {
                    oddities.add(Oddities::NO_COLON);
                    continue;
                };
                let name = trim_end(raw, line.start..line.start + colon);
                oddities.add_if(name.end != line.start + colon, Oddities::SPACE_BEFORE_COLON);
                let value = trim_end(raw, trim_start(raw, line.start + colon + 1..line.end));
                fields.open = Some(Field { name: to_u32(name), value: to_u32(value) });
            }
        }
    }
    fields.close();
    let Fields { mut framing, whole, dropped, unfolded, .. } = fields;
    framing.oddities.add(oddities);
    framing.finish(&start);
    let mut head = if oddities.has(Oddities::FOLDED) {
        Head::unfolded(raw, &unfolded, start, &whole)
    } else {
        Head::new(raw, start, &whole)
    };
    head.cut = cut || dropped;
    head.set_version(version);
    Some(Parsed { head, framing })
}

/// The fields of a head that is read line by line.
#[derive(Default)]
struct Fields<'a> {
    raw: &'a [u8],
    /// Most that are kept.
    max: usize,
    whole: Vec<Field>,
    /// There were more.
    dropped: bool,
    framing: Framing,
    /// The one that may go on in the next line, and its value if it is on several lines already.
    open: Option<Field>,
    joined: Vec<u8>,
    /// The values that were on several lines, which stand behind the bytes of the head.
    unfolded: Vec<u8>,
}

impl Fields<'_> {
    /// Goes on with the open field in a further line.
    fn fold(&mut self, line: &[u8]) {
        let before = self.open.as_ref().map_or(0..0, |field| usize_range(&field.value));
        if self.joined.is_empty() {
            self.joined.extend_from_slice(&self.raw[before]);
        }
        // "... replace each received obs-fold with one or more SP octets" (RFC 9112, section 5.2).
        let more = line.trim_ascii();
        if !self.joined.is_empty() && !more.is_empty() {
            self.joined.push(b' ');
        }
        self.joined.extend_from_slice(more);
    }

    /// The open field is whole.
    fn close(&mut self) {
        let Some(mut field) = self.open.take() else { return };
        let name = &self.raw[usize_range(&field.name)];
        if self.joined.is_empty() {
            self.framing.field(name, &self.raw[usize_range(&field.value)]);
        } else {
            self.framing.field(name, &self.joined);
            let start = self.raw.len() + self.unfolded.len();
            field.value = to_u32(start..start + self.joined.len());
            self.unfolded.append(&mut self.joined);
        }
        if self.whole.len() < self.max { self.whole.push(field) } else { self.dropped = true }
    }
}

/// The request of HTTP/0.9 that is `line`, with its end: `GET SP target` and nothing else. `None` if it is none. One
/// with another method in common use is what its client meant for a request, though it is of no version.
pub(crate) fn simple_request(line: &[u8]) -> Option<Parsed> {
    let text = line.trim_ascii_end();
    let (method, target) = text.split_at(memchr::memchr(b' ', text)?);
    let target = target.strip_prefix(b" ").filter(|_| is_common(method))?;
    // A target in origin form; what else has no version is not known well enough.
    if target.first() != Some(&b'/') || target.iter().any(|byte| !byte.is_ascii_graphic()) {
        return None;
    }
    let (method, target) = (to_u32(0..method.len()), to_u32(method.len() + 1..text.len()));
    let start = StartLine::SimpleRequest { method, target };
    let mut framing = Framing::default();
    framing.oddities.add_if(!line.ends_with(b"\r\n"), Oddities::BARE_LF);
    Some(Parsed { head: Head::new(line, start, &[]), framing })
}

/// The head of a response of HTTP/0.9: none.
pub(crate) fn simple_response() -> Parsed {
    Parsed { head: Head::new(&[], StartLine::SimpleResponse, &[]), framing: Framing::default() }
}

/// The fields of a trailer section, the values of those that were folded, which are meant to stand behind its bytes,
/// and whether there were more fields.
pub(crate) fn trailers(raw: &[u8], max_fields: usize) -> (Box<[Field]>, Vec<u8>, bool) {
    let mut fields: Vec<Field> = Vec::new();
    let mut unfolded: Vec<u8> = Vec::new();
    // A field that is dropped takes its further lines with it.
    let (mut dropped, mut open) = (false, false);
    for (line, _) in (Lines { raw, at: 0 }) {
        let bytes = &raw[line.clone()];
        if let ([b' ' | b'\t', ..], true) = (bytes, open) {
            let (Some(field), more) = (fields.last_mut(), bytes.trim_ascii()) else { continue };
            let value = usize_range(&field.value);
            if more.is_empty() {
                continue;
            }
            if value.is_empty() {
                field.value = to_u32(trim_end(raw, trim_start(raw, line)));
                continue;
            }
            // As in a head. What was folded before is at the end already.
            let start = match value.start.checked_sub(raw.len()) {
                Some(_) => value.start,
                None => {
                    let start = raw.len() + unfolded.len();
                    unfolded.extend_from_slice(&raw[value]);
                    start
                }
            };
            unfolded.push(b' ');
            unfolded.extend_from_slice(more);
            field.value = to_u32(start..raw.len() + unfolded.len());
            continue;
        }
        open = false;
        let Some(colon) = memchr::memchr(b':', bytes) else { continue };
        if fields.len() >= max_fields {
            dropped = true;
            continue;
        }
        let name = trim_end(raw, line.start..line.start + colon);
        let value = trim_end(raw, trim_start(raw, line.start + colon + 1..line.end));
        fields.push(Field { name: to_u32(name), value: to_u32(value) });
        open = true;
    }
    (fields.into(), unfolded, dropped)
}

/// Whether a line ends in LF alone.
#[cold]
fn has_bare_lf(raw: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', raw).any(|at| at == 0 || raw[at - 1] != b'\r')
}

/// The lines of a head, without their ends, and whether they have one.
struct Lines<'a> {
    raw: &'a [u8],
    at: usize,
}

impl Iterator for Lines<'_> {
    type Item = (Range<usize>, bool);

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at;
        let rest = self.raw.get(start..).filter(|rest| !rest.is_empty())?;
        let (len, ended) = memchr::memchr(b'\n', rest).map_or((rest.len(), false), |len| (len, true));
        self.at = start + len + usize::from(ended);
        let cr = usize::from(ended && rest[..len].last() == Some(&b'\r'));
        Some((start..start + len - cr, ended))
    }
}

/// The comma-separated parts of a value, without blanks around them.
fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

/// A number of decimal digits and nothing else; `None` also if it does not fit.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// Where `part`, a slice of `whole`, lies in it. An empty one may lie anywhere.
#[inline]
fn range(whole: &[u8], part: &[u8]) -> Range<u32> {
    if part.is_empty() {
        return 0..0;
    }
    let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    start as u32..(start + part.len()) as u32
}

fn trim_start(raw: &[u8], range: Range<usize>) -> Range<usize> {
    range.end - raw[range.clone()].trim_ascii_start().len()..range.end
}

fn trim_end(raw: &[u8], range: Range<usize>) -> Range<usize> {
    range.start..range.start + raw[range.clone()].trim_ascii_end().len()
}

fn to_u32(range: Range<usize>) -> Range<u32> {
    range.start as u32..range.end as u32
}

fn usize_range(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

/// Fields on the stack for `httparse`, 32 bytes each. Heads with more are rare and go to the line parser.
const FAST_FIELDS: usize = 64;
/// Length of ` HTTP/1.1`.
const VERSION_LEN: usize = 9;
