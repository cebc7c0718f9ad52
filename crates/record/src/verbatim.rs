//! Heads as they were on the wire, but for credentials.
//!
//! Works on lines and not on what a parser has found in them: also a head that is cut, or has more fields than are
//! kept, has its credentials masked. What is a credential is said in one place for all records ([`crate::redact`]).

use std::borrow::Cow;

use crate::redact::{MASKED_FIELD, is_credential_field, mask_query, mask_urls};
use crate::{text, wire_text};

/// The bytes of a head, its start line first, with credentials masked: fields that are credentials, signatures in
/// queries, users in URLs. All other bytes are as they were sent.
pub fn masked_head(raw: &[u8]) -> Cow<'_, [u8]> {
    masked(raw, true)
}

/// The same of a trailer section, which has no start line.
pub fn masked_trailers(raw: &[u8]) -> Cow<'_, [u8]> {
    masked(raw, false)
}

fn masked(raw: &[u8], start_line: bool) -> Cow<'_, [u8]> {
    let mut out: Option<Vec<u8>> = None;
    let mut at = 0;
    let mut is_first = start_line;
    // Whether the field that a folded line goes on with is a credential.
    let mut secret = false;
    for line in raw.split_inclusive(|&byte| byte == b'\n') {
        let content = line.strip_suffix(b"\n").unwrap_or(line);
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        let masked = if is_first && !content.is_empty() {
            is_first = false;
            masked_start(content)
        } else {
            masked_field(content, &mut secret)
        };
        if let Cow::Owned(masked) = masked {
            let out = out.get_or_insert_with(|| raw.get(..at).unwrap_or_default().to_vec());
            out.extend_from_slice(&masked);
            out.extend_from_slice(line.get(content.len()..).unwrap_or_default());
        } else if let Some(out) = &mut out {
            out.extend_from_slice(line);
        }
        at += line.len();
    }
    out.map_or(Cow::Borrowed(raw), Cow::Owned)
}

/// `method SP request-target SP HTTP-version`, or a status line, in which there is nothing to mask.
fn masked_start(line: &[u8]) -> Cow<'_, [u8]> {
    let blank = |byte: &u8| *byte == b' ';
    let (Some(first), Some(last)) = (line.iter().position(blank), line.iter().rposition(blank)) else {
        return Cow::Borrowed(line);
    };
    // Of HTTP/0.9, or cut: everything behind the method.
    let end = if last > first { last } else { line.len() };
    let (method, target, rest) = (&line[..=first], &line[first + 1..end], &line[end..]);
    if line.starts_with(b"HTTP/") {
        return Cow::Borrowed(line);
    }
    let question = target.iter().position(|&byte| byte == b'?').unwrap_or(target.len());
    let (path, query) = target.split_at(question);
    let path = changed(path, mask_urls);
    let query = query.split_first().map(|(_, query)| changed(query, mask_query));
    match (&path, &query) {
        (Cow::Borrowed(_), None | Some(Cow::Borrowed(_))) => Cow::Borrowed(line),
        _ => {
            let query = query.map(|query| [b"?", &*query].concat()).unwrap_or_default();
            Cow::Owned([method, &path, &query, rest].concat())
        }
    }
}

fn masked_field<'a>(line: &'a [u8], secret: &mut bool) -> Cow<'a, [u8]> {
    let folded = line.starts_with(b" ") || line.starts_with(b"\t");
    if folded {
        return if *secret {
            Cow::Owned(format!(" {MASKED_FIELD}").into())
        } else {
            changed(line, mask_urls)
        };
    }
    let colon = line.iter().position(|&byte| byte == b':');
    let (name, value) = line.split_at(colon.map_or(line.len(), |colon| colon + 1));
    *secret = is_credential_field(name.strip_suffix(b":").unwrap_or(name));
    if *secret && !value.is_empty() {
        return Cow::Owned([name, b" ", MASKED_FIELD.as_bytes()].concat());
    }
    match changed(value, mask_urls) {
        Cow::Borrowed(_) => Cow::Borrowed(line),
        Cow::Owned(value) => Cow::Owned([name, &value].concat()),
    }
}

/// `bytes` after `mask` has looked at them as text; borrowed if it found nothing.
fn changed<'a>(bytes: &'a [u8], mask: fn(Cow<'_, str>) -> Cow<'_, str>) -> Cow<'a, [u8]> {
    let text = wire_text(bytes);
    let masked = mask(Cow::Borrowed(&text));
    if *masked == *text { Cow::Borrowed(bytes) } else { Cow::Owned(text::wire_bytes(&masked)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(raw: &str) -> String {
        String::from_utf8(masked_head(raw.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn credentials_are_masked_and_nothing_else() {
        let raw = "GET http://joe:pw@h/a?b=1&sig=x HTTP/1.1\r\nHost:  h \r\nAUTHORIZATION: Basic eA==\r\n\
                   Referer: http://h/?X-Amz-Signature=y&z\r\ncookie:a=1;\r\n b=2\r\n\tc=3\nAccept: */*\r\n\r\n";
        let expected = "GET http://REDACTED:REDACTED@h/a?b=1&sig=REDACTED HTTP/1.1\r\nHost:  h \r\n\
                        AUTHORIZATION: [REDACTED]\r\nReferer: http://h/?X-Amz-Signature=REDACTED&z\r\n\
                        cookie: [REDACTED]\r\n [REDACTED]\r\n [REDACTED]\nAccept: */*\r\n\r\n";
        assert_eq!(head(raw), expected);
        let plain = b"GET /a?b=\xff HTTP/1.1\r\nX:\t\xe9\r\n folded\r\n\r\n";
        assert!(matches!(masked_head(plain), Cow::Borrowed(same) if same == plain));
        let odd = b"GET /\xff?sig=\xfe&q=\xfd HTTP/1.1\r\n\r\n";
        assert_eq!(&*masked_head(odd), b"GET /\xff?sig=REDACTED&q=\xfd HTTP/1.1\r\n\r\n");
    }

    /// A head may end anywhere: what is left of a credential is masked all the same.
    #[test]
    fn cut_anywhere_nothing_is_told() {
        let raw = "\r\nGET /?sig=QQQ HTTP/1.1\r\nCookie: QQQ\r\n QQQ\r\nAuthorization : QQQ\r\nX: y\r\n\r\n";
        for len in 0..=raw.len() {
            let masked = head(&raw[..len]);
            assert!(!masked.contains('Q'), "{masked:?}");
        }
        assert_eq!(
            head("HTTP/1.1 200 OK ?sig=1\r\nSet-Cookie: a\r\n"),
            "HTTP/1.1 200 OK ?sig=1\r\nSet-Cookie: [REDACTED]\r\n"
        );
        assert_eq!(
            &*masked_trailers(b"Set-Cookie: a\r\nX: sig=1\r\n"),
            b"Set-Cookie: [REDACTED]\r\nX: sig=1\r\n"
        );
    }

    proptest! {
        #[test]
        fn harmless_bytes_stay(bytes in proptest::collection::vec(
            prop_oneof![any::<u8>(), Just(b'\n'), Just(b'\r'), Just(b' '), Just(b':')], 0..60)) {
            let harmless = !bytes.contains(&b'?') && !bytes.contains(&b'@');
            prop_assume!(harmless && !bytes.windows(6).any(|six| six.eq_ignore_ascii_case(b"cookie")));
            prop_assert_eq!(&*masked_head(&bytes), &bytes[..]);
            prop_assert_eq!(&*masked_trailers(&bytes), &bytes[..]);
        }
    }
}
