//! Start lines taken apart: those that are certain, and those that are odd and stand where a message is due.
//!
//! ```text
//!   GET  /a  HTTP/1.       method, target, a version as sent, odd
//!   HTTP/2.0 200 ok        a version as sent, odd; status 200
//!   HTTP/1.1 2xx ok        no status, odd
//! ```
//! A line that was searched for has to be what the grammar says, but for blanks that are too many: much that is no
//! message looks a little like one. Where a message is due there is nothing else that it could be.
//!
//! A status code is "a three-digit integer" (RFC 9110, section 15). What is none is not guessed at: Go and llhttp
//! refuse such an answer, older browsers take its first digits or 200, and either way the client does not see what
//! the server meant. Without a code its body is framed as that of any other answer.

use std::ops::Range;

use super::{Role, decimal, to_u32};
use crate::detect::is_method;
use crate::{Oddities, StartLine};

/// A start line and what is odd about it.
pub(super) struct Start {
    pub(super) line: StartLine,
    /// The version if it is no `1.0` and no `1.1`; empty if the line was cut before it.
    pub(super) version: Option<Range<u32>>,
    pub(super) oddities: Oddities,
}

/// `method SP target SP HTTP/1.x`, the target with whatever blanks are in it; if `due` with any version. A line that
/// has not `ended` may lack the version.
pub(super) fn request_line(raw: &[u8], line: Range<usize>, ended: bool, due: bool) -> Option<Start> {
    let bytes = &raw[line.clone()];
    let blank = bytes.iter().position(|&byte| is_blank(byte))?;
    if !is_method(&bytes[..blank]) || !due && bytes[blank] != b' ' {
        return None;
    }
    let method = line.start..line.start + blank;
    let rest = trim(raw, method.end..line.end);
    let text = &raw[rest.clone()];
    let mut oddities = Oddities::default();
    let (before, minor, version) = match text {
        [before @ .., b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'0'..=b'9']
            if ended && before.last().is_none_or(|&byte| is_blank(byte)) =>
        {
            let (minor, end) = (minor - b'0', rest.end);
            oddities.add_if(minor > 1, Oddities::ODD_VERSION);
            (before.len(), minor, (minor > 1).then(|| end - 3..end))
        }
        _ if ended => {
            let word = text.iter().rposition(|&byte| is_blank(byte))? + 1;
            let version = odd_version(&text[word..]).filter(|_| due)?;
            oddities.add(Oddities::ODD_VERSION);
            (word, 1, Some(rest.end - version.len()..rest.end))
        }
        _ => (beginning_of_version(text).unwrap_or(text.len()), 1, Some(0..0)),
    };
    let target = trim(raw, rest.start..rest.start + before);
    // Two blanks, and nothing behind the version.
    let version_len = rest.end - (rest.start + before);
    let plain = bytes[blank] == b' '
        && raw[target.end..].first() == Some(&b' ')
        && method.len() + target.len() + version_len + 2 == line.len();
    oddities.add_if(ended && !plain, Oddities::ODD_BLANKS);
    let line = StartLine::Request { method: to_u32(method), target: to_u32(target), minor };
    Some(Start { line, version: version.map(to_u32), oddities })
}

/// `HTTP/1.x SP status [SP reason]`; if `due` with any version, and with anything for a status.
pub(super) fn status_line(raw: &[u8], line: Range<usize>, due: bool) -> Option<Start> {
    let bytes = &raw[line.clone()];
    let end = bytes.iter().position(|&byte| is_blank(byte))?;
    let mut oddities = Oddities::default();
    let (minor, version) = match &bytes[..end] {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'0'..=b'1'] => (minor - b'0', None),
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'2'..=b'9'] => {
            (minor - b'0', Some(line.start + end - 3..line.start + end))
        }
        word => {
            let version = odd_version(word).filter(|_| due)?;
            (1, Some(line.start + end - version.len()..line.start + end))
        }
    };
    oddities.add_if(version.is_some(), Oddities::ODD_VERSION);
    let rest = trim(raw, line.start + end..line.end);
    let code = raw[rest.clone()].iter().position(|&byte| is_blank(byte)).unwrap_or(rest.len());
    let code = rest.start..rest.start + code;
    let status = match code.len() {
        3 => decimal(&raw[code.clone()]).and_then(|status| u16::try_from(status).ok()),
        _ => None,
    };
    if code.is_empty() || status.is_none() && !due {
        return None;
    }
    oddities.add_if(!status.is_some_and(|status| (100..=599).contains(&status)), Oddities::ODD_STATUS);
    let plain = bytes[end] == b' ' && code.start == line.start + end + 1;
    oddities.add_if(!plain, Oddities::ODD_BLANKS);
    let reason = trim(raw, code.end..line.end);
    let line = StartLine::Response { status, reason: to_u32(reason), minor };
    Some(Start { line, version: version.map(to_u32), oddities })
}

/// Whether what there is of a line without its end says all that matters: the method and the target, and that it is
/// HTTP; or the status.
pub(super) fn says_enough(role: Role, raw: &[u8]) -> bool {
    let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
    let Some(first) = raw.iter().position(|&byte| is_blank(byte)) else { return false };
    let second = &raw[trim(raw, first..raw.len()).start..];
    match role {
        Role::Requests => beginning_of_version(second).is_some_and(|at| at > 0),
        Role::Responses => second.iter().any(|&byte| is_blank(byte)),
    }
}

/// Where the version begins that is cut by the end of `text`: behind a blank what agrees with `HTTP/`.
fn beginning_of_version(text: &[u8]) -> Option<usize> {
    let word = text.iter().rposition(|&byte| is_blank(byte))? + 1;
    let (seen, name) = (&text[word..], NAME.as_bytes());
    let len = seen.len().min(name.len());
    (len > 0 && seen[..len] == name[..len]).then_some(word)
}

/// What follows `HTTP/` in a word, in any case, if it could be meant for a version.
fn odd_version(word: &[u8]) -> Option<&[u8]> {
    let (name, version) = word.split_at_checked(NAME.len())?;
    // With a slash it would be the next one, behind garbage.
    let is_version = (1..=VERSION_MAX).contains(&version.len()) && !version.contains(&b'/');
    (is_version && name.eq_ignore_ascii_case(NAME.as_bytes())).then_some(version)
}

/// "... recipients MAY instead parse on whitespace-delimited word boundaries" and take SP, HTAB, VT, FF or a bare CR
/// for it (RFC 9112, section 3).
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0b | 0x0c | b'\r')
}

fn trim(raw: &[u8], range: Range<usize>) -> Range<usize> {
    let bytes = &raw[range.clone()];
    let start = bytes.iter().position(|&byte| !is_blank(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|&byte| !is_blank(byte)).map_or(start, |last| last + 1);
    range.start + start..range.start + end
}

pub(super) const NAME: &str = "HTTP/";
/// Length of `HTTP/1.1 200`.
pub(super) const STATUS_LEN: usize = 12;
/// Most bytes of an odd version: `1.1` has three, and what has many more was meant for something else.
const VERSION_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str, due: bool) -> Option<(String, String, Vec<&'static str>)> {
        let start = request_line(line.as_bytes(), 0..line.len(), true, due)?;
        let StartLine::Request { target, .. } = start.line else { return None };
        let text = |range: Range<u32>| line[range.start as usize..range.end as usize].to_owned();
        Some((text(target), start.version.map_or("-".into(), text), start.oddities.names().collect()))
    }

    fn status(line: &str, due: bool) -> Option<(Option<u16>, String, Vec<&'static str>)> {
        let start = status_line(line.as_bytes(), 0..line.len(), due)?;
        let StartLine::Response { status, .. } = start.line else { return None };
        let text = |range: Range<u32>| line[range.start as usize..range.end as usize].to_owned();
        Some((status, start.version.map_or("-".into(), text), start.oddities.names().collect()))
    }

    #[test]
    fn odd_request_lines() {
        for (line, target, version, odd) in [
            ("GET / HTTP/1.1", "/", "-", &[][..]),
            ("GET /a b HTTP/1.0", "/a b", "-", &[]),
            ("GET  /  HTTP/1.1", "/", "-", &["odd-blanks"]),
            ("GET / HTTP/1.1 ", "/", "-", &["odd-blanks"]),
            ("GET\t/\tHTTP/1.1", "/", "-", &["odd-blanks"]),
            ("GET / HTTP/1.2", "/", "1.2", &["odd-version"]),
            ("GET / HTTP/1.", "/", "1.", &["odd-version"]),
            ("GET / HTTP/2.0", "/", "2.0", &["odd-version"]),
            ("GET / HTTP/1.10", "/", "1.10", &["odd-version"]),
            ("GET / http/1.1", "/", "1.1", &["odd-version"]),
            ("GET / HTTP/1\0.1", "/", "1\0.1", &["odd-version"]),
        ] {
            let odd: Vec<_> = odd.to_vec();
            assert_eq!(request(line, true), Some((target.into(), version.into(), odd)), "{line:?}");
        }
        for line in [
            "GET /",
            "GET HTTP/2.0",
            "GET / HTTP/",
            "GET / FTP/1.0",
            "2x / HTTP/2.0",
            "GET / HTTP/12345678901234567",
        ] {
            assert_eq!(request(line, true), None, "{line:?}");
        }
        for line in ["GET\t/\tHTTP/1.1", "GET / HTTP/1.", "GET / HTTP/2.0", "GET / http/1.1"] {
            assert_eq!(request(line, false), None, "{line:?}");
        }
    }

    #[test]
    fn odd_status_lines() {
        for (line, code, version, odd) in [
            ("HTTP/1.1 200 ok", Some(200), "-", &[][..]),
            ("HTTP/1.0 200", Some(200), "-", &[]),
            ("HTTP/1.1\t200 ok", Some(200), "-", &["odd-blanks"]),
            ("HTTP/1.1  200", Some(200), "-", &["odd-blanks"]),
            ("HTTP/1.1 999 x", Some(999), "-", &["odd-status"]),
            ("HTTP/1.3 200 ok", Some(200), "1.3", &["odd-version"]),
            ("HTTP/2.0 200 ok", Some(200), "2.0", &["odd-version"]),
            ("HTTP/0.9 200 ok", Some(200), "0.9", &["odd-version"]),
            ("HTTP/1.01 200 ok", Some(200), "1.01", &["odd-version"]),
            ("HTTP/1\0.1 200", Some(200), "1\0.1", &["odd-version"]),
            ("http/1.1 200", Some(200), "1.1", &["odd-version"]),
            ("HTTP/1.1 2\x000 0", None, "-", &["odd-status"]),
            ("HTTP/1.1 2xx ok", None, "-", &["odd-status"]),
            ("HTTP/1.1 20x", None, "-", &["odd-status"]),
            ("HTTP/1.1 2000 ok", None, "-", &["odd-status"]),
            ("HTTP/1.1 ok", None, "-", &["odd-status"]),
            ("HTTP/2 20", None, "2", &["odd-version", "odd-status"]),
        ] {
            let found = status(line, true);
            let mut odd: Vec<_> = odd.to_vec();
            odd.sort();
            let found = found.map(|(code, version, mut names)| {
                names.sort();
                (code, version, names)
            });
            assert_eq!(found, Some((code, version.to_owned(), odd)), "{line:?}");
        }
        for line in [
            "HTTP/1.1",
            "HTTP/1.1 ",
            "HTTP/ 200",
            "FTP/1.1 200 ok",
            "HTTP/12345678901234567 200",
            "HTTP/1.HTTP/1.1 200",
        ] {
            assert_eq!(status(line, true), None, "{line:?}");
        }
        for line in ["HTTP/2.0 200 ok", "HTTP/1.1 2xx", "HTTP/1.1 2000 ok", "HTTP/1.1 200x", "http/1.1 200"] {
            assert_eq!(status(line, false), None, "{line:?}");
        }
    }

    #[test]
    fn half_lines() {
        use Role::{Requests, Responses};
        for (role, line, enough) in [
            (Requests, "GET /", false),
            (Requests, "GET / ", false),
            (Requests, "GET / H", true),
            (Requests, "GET H", false),
            (Requests, "GET  H", false),
            (Requests, "GET / HTTP/1.1\r", true),
            (Requests, "GET / HTTP/1.1", true),
            (Requests, "GET /a b", false),
            (Responses, "HTTP/1.1 200", false),
            (Responses, "HTTP/1.1 200 ", true),
            (Responses, "HTTP/1.1 20", false),
            (Responses, "HTTP/1.1  200", false),
            (Responses, "HTTP/1.1 ", false),
        ] {
            assert_eq!(says_enough(role, line.as_bytes()), enough, "{line:?}");
        }
    }
}
