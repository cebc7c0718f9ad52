//! What the first bytes of a direction are.
//!
//! Only prefixes are looked at. A verdict is given as soon as the bytes allow it; [`Verdict::Unsure`] means that every
//! byte so far agrees with something of interest and the next ones will tell.

use crate::parse::{self, Role};

/// What a prefix of a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// An HTTP/1 request line.
    Request,
    /// An HTTP/1 status line.
    Response,
    /// The preface of an HTTP/2 client, or the first frame of its server.
    Http2,
    /// A TLS record.
    Tls,
    /// None of them.
    Other,
    /// Too short to tell.
    Unsure,
}

/// A protocol that is known by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.
    Http1,
    /// HTTP/2 without TLS.
    Http2,
    /// TLS.
    Tls,
}

/// What protocol the bytes from the beginning of a direction are of, for those who only want to know; `None` for any
/// other, and for too few bytes. `midstream` says that the direction may have begun before.
pub fn recognise(bytes: &[u8], midstream: bool) -> Option<Protocol> {
    match classify(bytes, midstream) {
        Verdict::Request | Verdict::Response => Some(Protocol::Http1),
        Verdict::Http2 => Some(Protocol::Http2),
        Verdict::Tls => Some(Protocol::Tls),
        Verdict::Other | Verdict::Unsure => None,
    }
}

/// Whether a prefix is the beginning of a start line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Yes,
    No,
    Unsure,
}

/// What the bytes from the beginning of a direction are. `midstream` says that the stream may have been cut anywhere
/// before them, between two of its segments.
pub(crate) fn classify(bytes: &[u8], midstream: bool) -> Verdict {
    let bytes = after_blank_lines(bytes);
    match bytes {
        [] => return Verdict::Unsure,
        [0x16, 0x03, ..] => return Verdict::Tls,
        [0x14 | 0x15 | 0x17, 0x03, 0x01..=0x04, ..] if midstream => return Verdict::Tls,
        [0x16] => return Verdict::Unsure,
        // SETTINGS on stream 0, a whole number of settings: a server need not wait for the client's preface.
        [0, 0..=0x40, low, 4, 0, 0, 0, 0, 0, ..] if low % 6 == bytes_mod_6(bytes[1]) => {
            return Verdict::Http2;
        }
        _ => {}
    }
    if bytes.len() >= PREFACE_LINE.len() && bytes.starts_with(PREFACE_LINE) {
        return Verdict::Http2;
    }
    // A request line may be cut before its `HTTP/1.1`.
    let status = if midstream { status_start(bytes) } else { status_line(bytes) };
    match (status, request_line(bytes)) {
        (Line::Yes, _) => Verdict::Response,
        (_, Line::Yes) => Verdict::Request,
        _ if !midstream && simple_line(bytes) => Verdict::Request,
        verdicts => match if midstream { Line::No } else { odd_first_line(bytes) } {
            Line::Yes if bytes.starts_with(b"HTTP/") => Verdict::Response,
            Line::Yes => Verdict::Request,
            Line::No if verdicts == (Line::No, Line::No) && !PREFACE_LINE.starts_with(bytes) => {
                Verdict::Other
            }
            _ => Verdict::Unsure,
        },
    }
}

/// Whether the first bytes of a connection are an odd start line that is certain all the same: a request line with a
/// method in common use, or one in capitals, and a target in origin form or of `http://`, or `HTTP/`, two numbers with
/// a full stop, and a status.
fn odd_first_line(bytes: &[u8]) -> Line {
    if let Some(version) = bytes.strip_prefix(b"HTTP/") {
        let end = version.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.');
        let (version, rest) = version.split_at(end.unwrap_or(version.len()));
        let numbers = version.split(|&byte| byte == b'.');
        let agrees = version.len() <= ODD_VERSION_MAX && numbers.count() <= 2;
        let whole = version.contains(&b'.') && !version.starts_with(b".") && !version.ends_with(b".");
        return match rest {
            [] if agrees => Line::Unsure,
            [b' ', rest @ ..] if agrees && whole => {
                let digits = rest.iter().take(3).all(u8::is_ascii_digit);
                match rest.get(3) {
                    None if digits => Line::Unsure,
                    Some(b' ' | b'\r' | b'\n') if digits => Line::Yes,
                    _ => Line::No,
                }
            }
            _ => Line::No,
        };
    }
    let Some(end) = bytes.iter().position(|byte| matches!(byte, b' ' | b'\t')) else { return Line::No };
    let method = &bytes[..end];
    let in_capitals = || is_method(method) && !method.iter().any(u8::is_ascii_lowercase);
    if !is_common(method) && !in_capitals() {
        return Line::No;
    }
    let blanks = bytes[end..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let target = &bytes[end + blanks..];
    let of_http = target.iter().zip(b"http://").all(|(byte, expected)| byte == expected);
    if !target.starts_with(b"/") && !of_http {
        return Line::No;
    }
    match memchr::memchr(b'\n', bytes) {
        Some(at) if parse::is_start_line(Role::Requests, &bytes[..at]) => Line::Yes,
        Some(_) => Line::No,
        None => Line::Unsure,
    }
}

/// Whether `bytes` begin with a start line where one is due, on a connection that speaks HTTP/1: also one that is odd.
/// That shows with the line's end.
pub(crate) fn due_line(role: Role, bytes: &[u8]) -> Line {
    let strict = match role {
        Role::Requests => request_line(bytes),
        Role::Responses => status_line(bytes),
    };
    if strict == Line::Yes || bytes.starts_with(PREFACE_LINE) {
        return strict;
    }
    match memchr::memchr(b'\n', bytes) {
        Some(at) if parse::is_start_line(role, &bytes[..at]) => Line::Yes,
        Some(_) => Line::No,
        None if could_be_due(role, bytes) => Line::Unsure,
        None => Line::No,
    }
}

/// Whether `bytes`, which have no line end, could be the beginning of a start line. The first of them tell: of a longer
/// piece the answer is the same.
fn could_be_due(role: Role, bytes: &[u8]) -> bool {
    match role {
        Role::Responses => {
            bytes.iter().zip(b"HTTP/").all(|(byte, expected)| byte.eq_ignore_ascii_case(expected))
        }
        Role::Requests => {
            let method = bytes.iter().take(METHOD_MAX + 1).take_while(|&&byte| is_method_byte(byte)).count();
            let blank =
                bytes.get(method).is_none_or(|byte| matches!(byte, b' ' | b'\t' | 0x0b | 0x0c | b'\r'));
            (method == 0 && bytes.is_empty() || is_method(&bytes[..method])) && blank
        }
    }
}

/// Whether `bytes` begin like `HTTP/1.x` of a status line.
#[inline]
pub(crate) fn status_line(bytes: &[u8]) -> Line {
    if bytes.len() >= STATUS_START.len() {
        if bytes.starts_with(STATUS_START) { Line::Yes } else { Line::No }
    } else if STATUS_START.starts_with(bytes) {
        Line::Unsure
    } else {
        Line::No
    }
}

/// Whether `bytes` begin with `HTTP/1.x`, a blank and three digits: what no body begins with by chance.
pub(crate) fn status_start(bytes: &[u8]) -> Line {
    match is_status(bytes) {
        true if bytes.len() >= STATUS_MIN => Line::Yes,
        true => Line::Unsure,
        false => Line::No,
    }
}

/// Whether `bytes` begin with a method in common use and what a path or a URL begins with: what a body hardly begins
/// with. They tell within [`REQUEST_MIN`] bytes.
pub(crate) fn request_start(bytes: &[u8]) -> Line {
    let mut line = Line::No;
    for method in COMMON {
        let (name, rest) = bytes.split_at(method.len().min(bytes.len()));
        if name != &method[..name.len()] {
            continue;
        }
        for target in [&b" /"[..], b" http://"] {
            match rest.len() >= target.len() {
                true if rest.starts_with(target) => return Line::Yes,
                false if target.starts_with(rest) => line = Line::Unsure,
                _ => {}
            }
        }
    }
    line
}

/// Whether `bytes` begin with `method SP target SP HTTP/1.x`.
///
/// A method in common use followed by a target in origin form is enough; of anything else the line must end as a
/// request line does, which is what tells HTTP from RTSP and SIP.
pub(crate) fn request_line(bytes: &[u8]) -> Line {
    if bytes.first().is_some_and(|byte| !byte.is_ascii_alphabetic()) {
        return Line::No;
    }
    let end = bytes.iter().take(METHOD_MAX + 1).position(|&byte| !is_method_byte(byte));
    let Some(end) = end else {
        return if bytes.len() <= METHOD_MAX { Line::Unsure } else { Line::No };
    };
    if end == 0 || bytes[end] != b' ' {
        return Line::No;
    }
    if bytes.get(end + 1) == Some(&b'/') && is_common(&bytes[..end]) {
        // Nothing else begins like this; HTTP/0.9 does, and shows itself at the line's end.
        match memchr::memchr(b'\n', bytes) {
            None => return Line::Yes,
            Some(at) => return ends_in_version(&bytes[..at]),
        }
    }
    // Without a target it is the end of a longer line that was cut, in front of which the capture begins.
    let target = if is_common(&bytes[..end]) { 0 } else { end + 1 };
    match memchr::memchr(b'\n', bytes) {
        Some(at) => ends_in_version(&bytes[target.min(at)..at]),
        None => Line::Unsure,
    }
}

/// Where in `bytes` a message may begin, of which the stream has been lost: the first place from which on they agree
/// with a start line, as far as they go. They may begin at the beginning of a line, and at that of a segment.
///
/// A status line is looked for anywhere, a request line at the beginning of a line; one with a method in common use and
/// a path also behind anything else: the end of a body without a line end, for instance.
pub(crate) fn find_start(role: Role, bytes: &[u8], of_line: bool, of_segment: bool) -> Option<usize> {
    match role {
        Role::Responses => {
            let whole = memchr::memmem::find_iter(bytes, STATUS_START).find(|&at| is_status(&bytes[at..]));
            whole.or_else(|| (tail(bytes)..bytes.len()).find(|&at| is_status(&bytes[at..])))
        }
        Role::Requests => {
            if of_segment && (is_request(bytes, false) || is_strange_request(bytes)) {
                return Some(0);
            }
            let first = of_line.then_some(0).into_iter();
            let mut lines = first.chain(memchr::memchr_iter(b'\n', bytes).map(|at| at + 1));
            let line = lines.find(|&at| is_request(&bytes[at..], true) && !ends_a_body(&bytes[at..]));
            // A path begins behind a blank, and a common method before it. No such method is the end of another.
            let before = &bytes[..line.unwrap_or(bytes.len())];
            let mut paths = memchr::memmem::find_iter(before, b" /").filter_map(|blank| {
                let method = COMMON.iter().find(|method| before[..blank].ends_with(method))?;
                let start = blank - method.len();
                is_request(&bytes[start..], false).then_some(start)
            });
            // Or it is cut by the end.
            let cut = || {
                let tail = bytes.len().saturating_sub(COMMON_MAX + 1);
                (tail..bytes.len()).find(|&start| is_request(&bytes[start..], false))
            };
            paths.next().or(line).or_else(cut)
        }
    }
}

/// Whether `bytes` are a request line of a method in common use and a path, as far as they go.
pub(crate) fn is_common_request(bytes: &[u8]) -> bool {
    is_request(bytes, false)
}

/// Whether the first line of a segment is a whole request line of any method in capitals. A segment
/// hardly begins with the end of a method, but what is the end of one that is known is none; and what ends in one
/// begins with the end of a body.
pub(crate) fn is_strange_request(segment: &[u8]) -> bool {
    let Some(end) = memchr::memchr(b'\n', segment) else { return false };
    let mut words = segment[..end].split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(_), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return false;
    };
    let mut known = COMMON.iter().chain(REGISTERED).filter(|known| **known != method);
    let is_known = is_common(method) || REGISTERED.contains(&method);
    method.len() >= STRANGE_MIN
        && !method.iter().any(u8::is_ascii_lowercase)
        && (matches!(target, [b'/', ..] | b"*") || target.contains(&b':'))
        && is_request(segment, true)
        && !known.any(|known| known.ends_with(method) || !is_known && method.ends_with(known))
}

/// Whether the first word of a line is an unknown method that ends in one in common use: the last line of a body, which
/// has no line end, and the request behind it (`helloGET /a HTTP/1.1`).
pub(crate) fn ends_a_body(line: &[u8]) -> bool {
    let end = line.iter().position(|&byte| !is_method_byte(byte)).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    let is_known = is_common(word) || REGISTERED.contains(&word);
    rest.starts_with(b" ") && !is_known && COMMON.iter().any(|common| word.ends_with(common))
}

/// Whether `bytes` are a request line without any liberty, as far as they go. Unless `any_method`, only one of a method
/// in common use.
fn is_request(bytes: &[u8], any_method: bool) -> bool {
    let end =
        bytes.iter().take(METHOD_MAX + 1).position(|&byte| !is_method_byte(byte)).unwrap_or(bytes.len());
    let (method, rest) = bytes.split_at(end);
    let Some(target) = rest.strip_prefix(b" ") else {
        let agrees =
            is_method(method) && (any_method || COMMON.iter().any(|common| common.starts_with(method)));
        return rest.is_empty() && agrees;
    };
    let begins = any_method || is_common(method) && begins_like_target(method, target);
    if !begins || !is_method(method) {
        return false;
    }
    let end =
        target.iter().position(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).unwrap_or(target.len());
    let Some(version) = target[end..].strip_prefix(b" ") else { return end == target.len() };
    version.iter().take(REQUEST_REST.len()).zip(REQUEST_REST).all(|(byte, expected)| match expected {
        b'x' => byte.is_ascii_digit(),
        b'\r' => matches!(byte, b'\r' | b'\n'),
        _ => byte == expected,
    })
}

/// Whether `bytes` begin like a path or, as those to a proxy do, like a URL; behind CONNECT like a host.
fn begins_like_target(method: &[u8], bytes: &[u8]) -> bool {
    let of_http = || bytes.iter().zip(b"http://").all(|(byte, expected)| byte == expected);
    match bytes.first() {
        None | Some(b'/') => true,
        Some(byte) if method == b"CONNECT" => byte.is_ascii_alphanumeric() || *byte == b'[',
        Some(_) => of_http(),
    }
}

/// Whether `bytes` are `HTTP/1.x`, a blank, three digits and the end of a word, as far as they go.
fn is_status(bytes: &[u8]) -> bool {
    let rest = match bytes.split_at_checked(STATUS_START.len()) {
        Some((start, rest)) => (start == STATUS_START).then_some(rest),
        None => return !bytes.is_empty() && STATUS_START.starts_with(bytes),
    };
    rest.is_some_and(|rest| {
        rest.iter().take(STATUS_REST).enumerate().all(|(at, byte)| match at {
            0 | 3 | 4 => byte.is_ascii_digit(),
            1 => *byte == b' ',
            2 => matches!(byte, b'1'..=b'9'),
            _ => matches!(byte, b' ' | b'\r' | b'\n'),
        })
    })
}

/// Where the last bytes begin that could be the beginning of `HTTP/1.`.
fn tail(bytes: &[u8]) -> usize {
    bytes.len().saturating_sub(STATUS_START.len() - 1)
}

/// Whether a method of this name is in everyday use.
pub(crate) fn is_common(method: &[u8]) -> bool {
    COMMON.contains(&method)
}

/// Whether `method` could be the name of a method. Registered ones are upper-case words, some with a hyphen; any token
/// is allowed, of which this takes those that begin with a letter and look like a name.
#[inline]
pub(crate) fn is_method(method: &[u8]) -> bool {
    (1..=METHOD_MAX).contains(&method.len())
        && method[0].is_ascii_alphabetic()
        && method.iter().all(|&byte| is_method_byte(byte))
}

fn is_method_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// Whether `bytes` begin with a request of HTTP/0.9: `GET SP /...` and the end of the line, or another common method.
fn simple_line(bytes: &[u8]) -> bool {
    request_start(bytes) == Line::Yes
        && memchr::memchr(b'\n', bytes).is_some_and(|at| parse::simple_request(&bytes[..=at]).is_some())
}

/// Whether the line, without its LF, ends in blank, `HTTP/1.`, digit.
fn ends_in_version(line: &[u8]) -> Line {
    match line.trim_ascii_end() {
        [.., b' ' | b'\t', b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0'..=b'9'] => Line::Yes,
        _ => Line::No,
    }
}

fn after_blank_lines(bytes: &[u8]) -> &[u8] {
    let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    &bytes[blank..]
}

/// What the low byte of a multiple of 6 leaves modulo 6 if `high` is its high byte: 256 is 4 modulo 6.
fn bytes_mod_6(high: u8) -> u8 {
    (6 - high % 6 * 4 % 6) % 6
}

/// The longest method looked for: WebDAV's and UPnP's longest have 16 letters.
pub(crate) const METHOD_MAX: usize = 24;
const STATUS_START: &[u8] = b"HTTP/1.";
/// Longest version of two numbers that a connection may begin with.
const ODD_VERSION_MAX: usize = 5;
/// What follows that in a status line as far as it is looked at: `1 200` and a blank or the line's end.
const STATUS_REST: usize = 6;
/// So many bytes tell a status line.
pub(crate) const STATUS_MIN: usize = STATUS_START.len() + STATUS_REST;
/// What ends a request line; `x` is any digit.
const REQUEST_REST: &[u8] = b"HTTP/1.x\r";
const COMMON: &[&[u8]] =
    &[b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT", b"TRACE"];
/// The others that are registered (RFC 9110, section 18.2) or well known, and of which a part would look like one.
const REGISTERED: &[&[u8]] = &[
    b"ACL",
    b"BASELINE-CONTROL",
    b"BIND",
    b"CHECKIN",
    b"CHECKOUT",
    b"COPY",
    b"LABEL",
    b"LINK",
    b"LOCK",
    b"M-SEARCH",
    b"MERGE",
    b"MKACTIVITY",
    b"MKCALENDAR",
    b"MKCOL",
    b"MKREDIRECTREF",
    b"MKWORKSPACE",
    b"MOVE",
    b"NOTIFY",
    b"ORDERPATCH",
    b"PROPFIND",
    b"PROPPATCH",
    b"PURGE",
    b"QUERY",
    b"REBIND",
    b"REPORT",
    b"RPC_IN_DATA",
    b"RPC_OUT_DATA",
    b"SEARCH",
    b"SUBSCRIBE",
    b"UNBIND",
    b"UNCHECKOUT",
    b"UNLINK",
    b"UNLOCK",
    b"UNSUBSCRIBE",
    b"UPDATE",
    b"UPDATEREDIRECTREF",
    b"VERSION-CONTROL",
];
/// Fewer letters are taken for the end of a method.
const STRANGE_MIN: usize = 3;
/// The longest of them, in bytes.
const COMMON_MAX: usize = 7;
/// What [`request_start`] needs at most: `OPTIONS http://`.
pub(crate) const REQUEST_MIN: usize = COMMON_MAX + 8;
/// The first line of the 24 bytes that open an HTTP/2 connection (RFC 9113, section 3.4).
const PREFACE_LINE: &[u8] = b"PRI * HTTP/2.0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell() {
        for (bytes, verdict) in [
            (&b"GET / HTTP/1.1\r\n"[..], Verdict::Request),
            (b"\r\n\r\nGET / HTTP/1.0\n", Verdict::Request),
            (b"GET /a/very/long", Verdict::Request),
            (b"M-SEARCH * HTTP/1.1\r\n", Verdict::Request),
            (b"NOTIFY * HTTP/1.1\r\n", Verdict::Request),
            (b"M-SEARCH *", Verdict::Unsure),
            (b"HTTP/1.1 200", Verdict::Response),
            (b"HTTP", Verdict::Unsure),
            (b"H", Verdict::Unsure),
            (b"\r\n", Verdict::Unsure),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Verdict::Http2),
            (b"PRI * HT", Verdict::Unsure),
            (b"\0\0\x12\x04\0\0\0\0\0", Verdict::Http2),
            (b"\0\0\x13\x04\0\0\0\0\0", Verdict::Other),
            (b"\x16\x03\x01", Verdict::Tls),
            (b"\x16", Verdict::Unsure),
            (b"\x17\x03\x03", Verdict::Other),
            (b"SSH-2.0-OpenSSH_9\r\n", Verdict::Other),
            (b"220 mail.example.com ESMTP\r\n", Verdict::Other),
            (b"EHLO example.com\r\n", Verdict::Other),
            (b"OPTIONS rtsp://example.com RTSP/1.0\r\n", Verdict::Other),
            (b"INVITE sip:a@example.com SIP/2.0\r\n", Verdict::Other),
            (b"GET /\r\n", Verdict::Request),
            (b"GET /old.html\n", Verdict::Request),
            (b"GET x\r\n", Verdict::Other),
            (b"GET /two words\r\n", Verdict::Other),
            (b"POST /\r\n", Verdict::Request),
            (b"FROB /\r\n", Verdict::Other),
            (b"get / HTTP/1.1\r\n", Verdict::Request),
            (b"Frob2 /x HTTP/1.1\n", Verdict::Request),
            (b"2Frob /x HTTP/1.1\n", Verdict::Other),
            (b"SIP /x RTSP/1.1\n", Verdict::Other),
            (b"ABCDEFGHIJKLMNOPQRSTUVWXYZ / HTTP/1.1\r\n", Verdict::Other),
            (b"GET  / HTTP/1.\r\n", Verdict::Request),
            (b"GET\t/", Verdict::Unsure),
            (b"GET\t/\tHTTP/1.1\r\n", Verdict::Request),
            (b"GET http://h/ HTTP/2.0\r\n", Verdict::Request),
            (b"GET foo HTTP/2.0\r\n", Verdict::Other),
            (b"FROB_X / HTTP/2.0\r\n", Verdict::Request),
            (b"FROB_X /", Verdict::Unsure),
            (b"FROB_X / RTSP/1.0\r\n", Verdict::Other),
            (b"Frob / HTTP/2.0\r\n", Verdict::Other),
            (b"HTTP/2.0 200 ok\r\n", Verdict::Response),
            (b"HTTP/1", Verdict::Unsure),
            (b"HTTP/2.0 20", Verdict::Unsure),
            (b"HTTP/2.0 2000 ok\r\n", Verdict::Other),
            (b"HTTP/2 200 ok\r\n", Verdict::Other),
            (b"HTTP/2.0.1 200 ok\r\n", Verdict::Other),
            (b"HTTP/x.0 200 ok\r\n", Verdict::Other),
        ] {
            assert_eq!(classify(bytes, false), verdict, "{}", bytes.escape_ascii());
        }
        assert_eq!(classify(b"\x17\x03\x03", true), Verdict::Tls);
        // The end of a long target, with which a capture begins, is no method.
        for (bytes, verdict) in [
            (&b"c2Vzc2lvbg HTTP/1.1\r\n"[..], Verdict::Other),
            (b"FROB /a HTTP/1.1\r\n", Verdict::Request),
            (b"GET HTTP/1.1\r\n", Verdict::Request),
        ] {
            for midstream in [false, true] {
                assert_eq!(classify(bytes, midstream), verdict, "{}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn starts_are_found_in_the_middle() {
        for (bytes, found) in [
            (&b"abcHTTP/1.1 200 OK\r\n"[..], Some(3)),
            (b"abcHTTP/1.1 200\n", Some(3)),
            (b"HTTP/1.1 2000 HTTP/1.0 99 HTTP/1.1 404", Some(26)),
            (b"\"GET / HTTP/1.1\" 200 17", None),
            (b"abc HT", Some(4)),
            (b"abc H", Some(4)),
            (b"abc HTTP/1.1 20", Some(4)),
            (b"abc HTTP/1.1 20x", None),
            (b"", None),
        ] {
            assert_eq!(find_start(Role::Responses, bytes, false, false), found, "{}", bytes.escape_ascii());
        }
        for (bytes, of_line, of_segment, found) in [
            (&b"GET /a HTTP/1.1\r\n"[..], true, false, Some(0)),
            (b"GET /a HTTP/1.1\r\n", false, true, Some(0)),
            (b"ET /a HTTP/1.1\r\n", false, true, None),
            (b"GET http://h/a HTTP/1.1\r\n", false, true, Some(0)),
            (b"GET htt", false, true, Some(0)),
            (b"GET hot HTTP/1.1\r\n", false, true, None),
            (b"CONNECT h:443 HTTP/1.1\r\n", false, true, Some(0)),
            (b"CONNECT the dots", false, true, None),
            (b"FROB /a HTTP/1.1\r\n", true, false, Some(0)),
            (b"FROB /a HTTP/1.1\r\n", false, true, Some(0)),
            (b"hello\nworldGET /a HTTP/1.1\r\n", true, false, Some(11)),
            (b"worldGET /a HTTP/1.1\r\n", true, false, Some(5)),
            (b"hello\nworld", true, false, Some(6)),
            (b"OPTIONS * HTTP/1.1\r\n", false, true, Some(0)),
            (b"RPC_IN_DATA /a HTTP/1.1\r\n", false, true, Some(0)),
            (b"frob /a HTTP/1.1\r\n", false, true, None),
            (b"FROB /a HTTP/1.1", false, true, None),
            (b"FROB /a b HTTP/1.1\r\n", false, true, None),
            (b"ROPFIND /a HTTP/1.1\r\n", false, true, None),
            (b"LOCK /a HTTP/1.1\r\n", false, true, None),
            (b"[3]GET * HTTP/1.1\r\n", false, true, None),
            (b"POGET * HTTP/1.1\r\n", false, true, None),
            (b"x\nFROB /a HTTP/1.1\r\n", false, false, Some(2)),
            (b"{}POST /a HTTP/1.1\r\n", false, false, Some(2)),
            (b"xPOST /a HTTP/1.1\r\n", false, false, Some(1)),
            (b"a budGET /a of HTTP/1.1\r\n", false, false, None),
            (b"3GET /a HTTP/1.1\r\n", false, false, Some(1)),
            (b"xPO", false, false, Some(1)),
            (b"{}POST /a b HTTP/1.1\r\n", false, false, None),
            (b"{}POST /a HTTP/2.0\r\n", false, false, None),
            (b"{}POST /a HTTP/1", false, false, Some(2)),
            (b"{}POST /a", false, false, Some(2)),
            (b"{}POST ", false, false, Some(2)),
            (b"{}PO", false, false, Some(2)),
            (b"PO", false, true, Some(0)),
            (b"rest", false, true, None),
            (b"{}rest", false, false, None),
            (b"\nrest", false, false, Some(1)),
            (b"\nrest of it", false, false, None),
            (b"", true, true, None),
        ] {
            let text = bytes.escape_ascii();
            assert_eq!(find_start(Role::Requests, bytes, of_line, of_segment), found, "{text}");
        }
    }

    #[test]
    fn the_version_of_a_request_line_that_was_cut_is_no_status_line() {
        assert_eq!(classify(b"HTTP/1.1\r\nHost: a\r\n\r\n", true), Verdict::Other);
        assert_eq!(classify(b"HTTP/1.1", true), Verdict::Unsure);
        assert_eq!(classify(b"HTTP/1.1 200\r\n", true), Verdict::Response);
    }

    #[test]
    fn requests_are_known_by_their_first_bytes() {
        for (whole, line) in [
            (&b"GET /"[..], Line::Yes),
            (b"OPTIONS http://", Line::Yes),
            (b"PATCH /x", Line::Yes),
            (b"GET  /", Line::No),
            (b"GETX /", Line::No),
            (b"PUT https://", Line::No),
            (b"x", Line::No),
        ] {
            assert_eq!(request_start(whole), line);
            for len in 0..whole.len().min(REQUEST_MIN) {
                let prefix = request_start(&whole[..len]);
                assert!(prefix == Line::Unsure || prefix == line, "{}", whole[..len].escape_ascii());
            }
        }
        assert!(COMMON.iter().all(|method| method.len() <= COMMON_MAX));
    }

    #[test]
    fn a_longer_prefix_never_contradicts() {
        for whole in [
            &b"\r\nSUBSCRIBE /x HTTP/1.1\r\n"[..],
            b"GET / HTTP/1.1\r\n",
            b"HTTP/1.0 200 OK\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"HTTP/2.0 200 OK\r\n",
            b"HTTP/2.0 2000 OK\r\n",
            b"GET\t/ HTTP/1.10\r\n",
            b"POST  http://h/ HTTP/3\r\n",
        ] {
            let last = classify(whole, false);
            for len in 0..whole.len() {
                let verdict = classify(&whole[..len], false);
                assert!(verdict == last || verdict == Verdict::Unsure, "{}", whole[..len].escape_ascii());
            }
        }
        // Where a line is due: no prefix is refused of what the whole is taken for.
        for (role, whole) in [
            (Role::Requests, &b"FROB\tx HTTP/9\n"[..]),
            (Role::Requests, b"GET  /  HTTP/1.10\r\n"),
            (Role::Responses, b"http/2 2xx\n"),
            (Role::Responses, b"HTTP/1\0.1 200\r\n"),
        ] {
            assert_eq!(due_line(role, whole), Line::Yes, "{}", whole.escape_ascii());
            for len in 0..whole.len() {
                assert_ne!(due_line(role, &whole[..len]), Line::No, "{}", whole[..len].escape_ascii());
            }
        }
        for (role, line) in [
            (Role::Requests, &b"PRI * HTTP/2.0\r\n"[..]),
            (Role::Requests, b"GET / FTP/1.0\n"),
            (Role::Responses, b"ICY 200 OK\n"),
            (Role::Responses, b"HTTP/2\n"),
        ] {
            assert_eq!(due_line(role, line), Line::No, "{}", line.escape_ascii());
        }
    }
}
