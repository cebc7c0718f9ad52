//! httpry's view of HTTP: which packets it takes for heads, and the line that it prints for each.
//!
//! httpry looks at packets one by one. What begins like a request or a response is one to it, and its line says what
//! that packet holds:
//!
//! ```text
//!   payload ── Methods: begins like a head? ──┬─ its values, up to the empty line ──► all of it is here ──► RawHead
//!                                             └─ the stream has all of it ────────► its values ───────────► RawHead
//! ```
//!
//! **Whole in one segment**: the same line as release 0.1.8 of httpry, with all that comes of its view: copies of a
//! segment give a line each, of several heads in one segment the first alone does, a status line without a second
//! blank gives none, of a head beyond 8 KiB the first 8 KiB count, and so does a packet within a body that begins
//! like a head and holds an empty line. **Split over segments**: the line that the same head would give in one
//! segment, where httpry prints what the first packet holds of it.
//!
//! Where httpry's answer depends on what its buffer held before, or on the collisions of its hash table, it is not
//! followed: a header `Host2` is never taken for `Host` here.

mod fields;
mod heads;
mod lines;
mod rates;

use crate::words;

use fields::Values;
pub(crate) use fields::name_in_records;
pub use fields::{Fields, NoFields, name_in_httpry};
pub use heads::{HeadTexts, RawHead, Sent};
pub use lines::{LocalTime, write_comments};
pub use rates::Rates;

/// What the first bytes of a request may be, in any case of letters: httpry's `-m`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Methods {
    /// In lower case and in order, so that those of one first byte are together; none is empty.
    prefixes: Vec<Box<[u8]>>,
    /// Where the prefixes of a first byte begin and end, in any case of letters.
    by_first: Box<[(u32, u32); 256]>,
    /// Which first bytes a head can have at all.
    first: Box<[bool; 256]>,
}

/// Which of the two a head is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RawKind {
    Request,
    Response,
}

impl Methods {
    /// From what was asked for: blanks around the names and empty names do not matter. `None` if nothing is left.
    pub fn new<S: AsRef<str>>(names: &[S]) -> Option<Self> {
        Some(Self::of(names)).filter(|methods| !methods.prefixes.is_empty())
    }

    fn of<S: AsRef<str>>(names: &[S]) -> Self {
        let mut prefixes: Vec<Box<[u8]>> = Vec::new();
        for name in names {
            let name = name.as_ref().trim().to_ascii_lowercase();
            if !name.is_empty() && !prefixes.iter().any(|known| **known == *name.as_bytes()) {
                prefixes.push(name.into_bytes().into());
            }
        }
        prefixes.sort_unstable();
        let mut by_first = Box::new([(0, 0); 256]);
        for (place, prefix) in (0..).zip(&prefixes) {
            for byte in [prefix[0], prefix[0].to_ascii_uppercase()] {
                let (start, end) = &mut by_first[usize::from(byte)];
                if *start == *end {
                    *start = place;
                }
                *end = place + 1;
            }
        }
        let mut first = Box::new([false; 256]);
        for byte in prefixes.iter().map(|prefix| prefix[0]).chain([VERSION[0]]) {
            first[usize::from(byte.to_ascii_lowercase())] = true;
            first[usize::from(byte.to_ascii_uppercase())] = true;
        }
        Self { prefixes, by_first, first }
    }

    /// Whether a payload may begin like a head: if not, there is nothing to judge.
    #[inline]
    pub fn may_begin(&self, payload: &[u8]) -> bool {
        payload.first().is_some_and(|byte| self.first[usize::from(*byte)])
    }

    /// What a segment's payload is, if all of a head is there that will be: then it gives a line, of these values.
    /// `cut` says that the segment was longer than what was captured of it.
    fn judge(&self, payload: &[u8], cut: bool, fields: &Fields, values: &mut Values) -> Option<RawKind> {
        let kind = self.kind(payload)?;
        let seen = payload.get(..SEEN_BYTES).unwrap_or(payload);
        let found = fields.find(kind, seen, values);
        let is_whole = || found.has_end || cut || ends_beyond(kind, payload);
        (found.is_head && is_whole()).then_some(kind)
    }

    /// The same of a head whose bytes were in several segments.
    fn judge_joined(&self, head: &[u8], fields: &Fields, values: &mut Values) -> Option<RawKind> {
        let kind = self.kind(head)?;
        fields.find(kind, head, values).is_head.then_some(kind)
    }

    /// What a payload begins like.
    fn kind(&self, payload: &[u8]) -> Option<RawKind> {
        let (start, end) = self.by_first[usize::from(*payload.first()?)];
        let mut prefixes = self.prefixes.get(start as usize..end as usize).unwrap_or_default().iter();
        let begins = |prefix: &[u8]| {
            payload.get(..prefix.len()).is_some_and(|start| words::same_but_for_case(start, prefix))
        };
        // In this order: somebody may ask for a method whose name begins like a version.
        if prefixes.any(|prefix| begins(prefix)) {
            return Some(RawKind::Request);
        }
        payload.starts_with(VERSION).then_some(RawKind::Response)
    }
}

/// Whether a head without an end in what is [seen](SEEN_BYTES) of it is whole all the same: its end comes later, or it
/// is the line of a request of HTTP/0.9, which is the whole of it. What has more lines and no end is not one.
fn ends_beyond(kind: RawKind, payload: &[u8]) -> bool {
    let mut walk = Walk::new(payload);
    let first = walk.next_line();
    let is_alone = walk.at == payload.len();
    let is_simple = |line| start(kind, line).is_some_and(|start| start.version.is_empty());
    walk.end().is_some() || is_alone && kind == RawKind::Request && first.is_some_and(is_simple)
}

impl Default for Methods {
    fn default() -> Self {
        Self::of(DEFAULT_METHODS)
    }
}

/// The parts of a start line; empty where there is none.
struct Start<'a> {
    method: &'a [u8],
    target: &'a [u8],
    version: &'a [u8],
    status: &'a [u8],
    reason: &'a [u8],
}

/// Takes a start line apart. `None` if it is none: a request without a blank, or with a third part that is no
/// version; a response with fewer than two blanks.
fn start(kind: RawKind, line: &[u8]) -> Option<Start<'_>> {
    let nothing = Start { method: &[], target: &[], version: &[], status: &[], reason: &[] };
    let (first, rest) = at_blank(line)?;
    match (kind, at_blank(rest)) {
        (RawKind::Request, None) => Some(Start { method: first, target: rest, ..nothing }),
        (RawKind::Request, Some((target, version))) if version.starts_with(VERSION) => {
            Some(Start { method: first, target, version, ..nothing })
        }
        (RawKind::Request, Some(_)) | (RawKind::Response, None) => None,
        (RawKind::Response, Some((status, reason))) => {
            Some(Start { version: first, status, reason, ..nothing })
        }
    }
}

/// Cuts at the first blank; white space behind it goes, too.
fn at_blank(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = words::position(line, |byte| byte == b' ')?;
    Some((&line[..at], without_leading_space(&line[at + 1..])))
}

/// C's `isspace`, which knows two more than Rust.
fn without_leading_space(text: &[u8]) -> &[u8] {
    let space = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
    &text[space..]
}

/// The lines of a head as httpry finds them: ended by LF, one CR before it left out. An empty line ends the head, and
/// so does a byte 0, which ends a string of C.
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the head ends, once that is known: behind its empty line, or at a byte 0.
    end: Option<usize>,
}

impl<'a> Walk<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, end: None }
    }

    /// The first line; all that is there if it has no end.
    fn first_line(&mut self) -> &'a [u8] {
        self.next_line().unwrap_or_else(|| {
            let end = self.end.unwrap_or(self.bytes.len());
            self.bytes.get(..end).unwrap_or_default()
        })
    }

    /// The next line that has an end and is not empty.
    fn next_line(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.at..).filter(|_| self.end.is_none())?;
        let len = words::position(rest, |byte| byte == b'\n' || byte == 0)?;
        if rest[len] == 0 {
            self.end = Some(self.at + len);
            return None;
        }
        let has_cr = rest[..len].last() == Some(&b'\r');
        let line = &rest[..len - usize::from(has_cr)];
        self.at += len + 1;
        if line.is_empty() {
            self.end = Some(self.at);
            return None;
        }
        // One byte 0 behind a bare LF passes for its own.
        self.at += usize::from(!has_cr && self.bytes.get(self.at) == Some(&0));
        Some(line)
    }

    /// Where the head ends; `None` if it goes on behind these bytes.
    fn end(&mut self) -> Option<usize> {
        while self.next_line().is_some() {}
        self.end
    }
}

/// What a response begins with, as every version does.
const VERSION: &[u8] = b"HTTP/";

/// What `-m` is without being given.
pub const DEFAULT_METHODS: &[&str] =
    &["get", "post", "put", "head", "options", "delete", "trace", "connect", "patch"];

/// How much of a packet httpry looks at: its buffer, of BUFSIZ bytes.
const SEEN_BYTES: usize = 8_192;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The values of `method`, `version` and `a` of what gives a line.
    fn judged(methods: &Methods, payload: &[u8], cut: bool) -> Option<(RawKind, Vec<u8>)> {
        let fields = Fields::new(&["method", "http-version", "a"]).unwrap();
        let mut values = Values::default();
        let kind = methods.judge(payload, cut, &fields, &mut values)?;
        let seen = &payload[..payload.len().min(SEEN_BYTES)];
        Some((kind, (0..3).map(|place| values.of(place, seen)).collect::<Vec<_>>().join(&b'|')))
    }

    fn is_whole(payload: &[u8], cut: bool) -> bool {
        judged(&Methods::default(), payload, cut).is_some()
    }

    #[test]
    fn what_gives_a_line() {
        for whole in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"GET / HTTP/1.1\n\n",
            b"get / HTTP/1.1\r\nHost: a\r\n\r\nbody",
            // A prefix is enough, and need not be a word.
            b"GETTY / HTTP/1.1\r\n\r\n",
            b"POSTED one\r\n\r\n",
            b"GET\t/x HTTP/1.1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 \r\n\r\n",
            b"HTTP/9 x y\r\n\r\n",
            // HTTP/0.9.
            b"GET /\r\n",
            b"GET /\n",
            b"GET /\r\n\r\n",
            // The end of a string.
            b"GET / HTTP/1.1\r\nA: b\0",
            b"GET /\0",
        ] {
            assert!(is_whole(whole, false), "{}", whole.escape_ascii());
        }
        for nothing in [
            &b"PROPFIND / HTTP/1.1\r\n\r\n"[..],
            b"\r\nGET / HTTP/1.1\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET / FTP/1.1\r\n\r\n",
            b"GET / \r\n\r\n",
            b"GET / a HTTP/1.1\r\n\r\n",
            b"HTTP/1.1\r\n\r\n",
            b"HTTP/1.1 200\r\n\r\n",
            b"http/1.1 200 OK\r\n\r\n",
            b"GE",
            b"",
        ] {
            assert!(!is_whole(nothing, true), "{}", nothing.escape_ascii());
        }
        for split in [
            &b"GET"[..],
            b"GET / HTTP/1.1",
            b"GET / HTTP/1.1\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\r",
            b"GET /\r\nHost: a\r\n",
            b"HTTP/1.1 200 OK\r\n",
        ] {
            assert!(!is_whole(split, false), "{}", split.escape_ascii());
            assert_eq!(is_whole(split, true), split.contains(&b' '), "{}", split.escape_ascii());
        }
    }

    #[test]
    fn eight_kilobytes_are_seen() {
        let mut payload = b"GET / HTTP/1.1\r\nA: 1\r\nB: ".to_vec();
        payload.resize(9_000, b'a');
        assert!(!is_whole(&payload, false));
        payload.extend(b"\r\nA: 2\r\n\r\n");
        let seen = Some((RawKind::Request, b"GET|HTTP/1.1|1".to_vec()));
        assert_eq!(judged(&Methods::default(), &payload, false), seen);
        let mut line = b"GET /".to_vec();
        line.resize(9_000, b'a');
        assert!(!is_whole(&line, false));
        line.extend(b"\r\n");
        assert!(is_whole(&line, false));
    }

    #[test]
    fn methods_are_prefixes() {
        let methods = Methods::new(&["", " Prop ", "PROP", "x"]).unwrap();
        assert_eq!(methods.prefixes.len(), 2);
        assert!(methods.may_begin(b"pROPFIND") && methods.may_begin(b"X") && methods.may_begin(b"HTTP/"));
        assert!(!methods.may_begin(b"GET") && !methods.may_begin(b""));
        let judged = |head| methods.judge_joined(head, &Fields::default(), &mut Values::default());
        assert_eq!(judged(b"PROPFIND / HTTP/1.1\r\n\r\n"), Some(RawKind::Request));
        assert_eq!(judged(b"GET / HTTP/1.1\r\n\r\n"), None);
        assert_eq!(judged(b"HTTP/1.1 200 OK\r\n\r\n"), Some(RawKind::Response));
        assert!(Methods::new(&["", " "]).is_none());
    }

    const PARTS: &[&[u8]] =
        &[b"GET ", b"HTTP/1.1 ", b"\r\n", b"\n", b"\0", b" ", b"a: b", b"/", b"\r", b":", b"\xff"];

    proptest! {
        /// Nothing panics, what may not begin is nothing, what is whole stays so with more behind it, and is the same
        /// head where several segments carried it.
        #[test]
        fn any_bytes(parts in proptest::collection::vec(proptest::sample::select(PARTS), 0..12)) {
            let payload = parts.concat();
            let methods = Methods::default();
            let whole = judged(&methods, &payload, false);
            if !methods.may_begin(&payload) {
                prop_assert_eq!(&whole, &None);
            }
            if let Some((kind, found)) = whole {
                let mut values = Values::default();
                let fields = Fields::new(&["method", "http-version", "a"]).unwrap();
                prop_assert_eq!(methods.judge_joined(&payload, &fields, &mut values), Some(kind));
                let joined: Vec<_> = (0..3).map(|place| values.of(place, &payload)).collect();
                prop_assert_eq!(joined.join(&b'|'), found);
                let mut longer = payload.clone();
                longer.extend(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n");
                prop_assert!(judged(&methods, &longer, false).is_some());
            }
        }
    }
}
