//! Masking of credentials: header fields that carry them, signatures in queries, user names and passwords in URLs.
//!
//! As OpenTelemetry has it for `url.full` and `url.query`: the key stays, the value becomes `REDACTED`. The keys, in
//! upper and lower case alike: `AWSAccessKeyId`, `Signature`, `sig`, `X-Goog-Signature`, `X-Amz-Signature`,
//! `X-Amz-Credential`, `X-Amz-Security-Token`. Other parameters are the application's own and stay as they are.
//!
//! The header fields `authorization`, `proxy-authorization`, `cookie` and `set-cookie` are masked as a whole, the
//! scheme of `authorization` included: some clients put the secret first.

use std::borrow::Cow;

use crate::{wire_text, words};

/// What a masked header value becomes.
pub const MASKED_FIELD: &str = "[REDACTED]";

/// Whether the value of the header field `name` (in any case) is a credential.
pub fn is_credential_field(name: &[u8]) -> bool {
    let name = name.trim_ascii();
    CREDENTIAL_FIELDS.iter().any(|credential| name.eq_ignore_ascii_case(credential.as_bytes()))
}

/// A query (without `?`) with the values of secret keys masked.
pub fn mask_query(query: Cow<'_, str>) -> Cow<'_, str> {
    match mask_pairs(&query, true) {
        Some(masked) => Cow::Owned(masked),
        None => query,
    }
}

/// Wire bytes that are a URL or have some in them, such as a `location` or a path, as text: user information and secret
/// values of queries masked.
pub fn masked_text(bytes: &[u8]) -> Cow<'_, str> {
    // Most have nothing that would have to be masked or escaped: one look instead of two.
    let is_harmless = words::none(bytes, |byte| !byte.is_ascii() | may_begin_secret(byte));
    match str::from_utf8(bytes) {
        Ok(text) if is_harmless => Cow::Borrowed(text),
        _ => mask_urls(wire_text(bytes)),
    }
}

/// Whether [`masked_text`] may have something to mask in a text that has this in it: without a query and without a user
/// there are no secrets.
#[inline]
pub(crate) fn may_begin_secret(byte: u8) -> bool {
    (byte == b'?') | (byte == b'@')
}

/// The same of text.
pub fn mask_urls(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains(['?', '@']) {
        return text;
    }
    let text = match mask_user(&text) {
        Some(masked) => Cow::Owned(masked),
        None => text,
    };
    match mask_pairs(&text, false) {
        Some(masked) => Cow::Owned(masked),
        None => text,
    }
}

/// An authority (`[user@]host[:port]`) with its user masked. A host has no `@` in it.
pub(crate) fn mask_authority(authority: Cow<'_, str>) -> Cow<'_, str> {
    match authority.rfind('@') {
        Some(at) => Cow::Owned(format!("{}{}", masked_user(&authority[..at]), &authority[at..])),
        None => mask_urls(authority),
    }
}

/// `None` if there is nothing to mask. `in_query`: the text begins with a key; otherwise a `?` comes first, and what is
/// around the URL ends it.
fn mask_pairs(text: &str, in_query: bool) -> Option<String> {
    let mut out: Option<String> = None;
    let mut copied = 0;
    let mut key = if in_query { 0 } else { text.find('?')? + 1 };
    loop {
        let rest = &text[key..];
        let key_len = rest.find(['=', '&', ';', '?']).unwrap_or(rest.len());
        let mut next = key + key_len;
        if rest[key_len..].starts_with('=') {
            let value = next + 1;
            let ends: &[char] = if in_query { &['&'] } else { &['&', '#', '>', '"', ' ', '\t'] };
            let end = text[value..].find(ends).map_or(text.len(), |len| value + len);
            if is_secret_key(&rest[..key_len]) && value < end {
                let out = out.get_or_insert_default();
                out.push_str(&text[copied..value]);
                out.push_str("REDACTED");
                (copied, next) = (end, end);
            } else {
                next = value;
            }
        }
        // The next key begins after the next separator. A value that is kept may have one in it: `a=b;sig=c`.
        match text[next..].find(['&', ';', '?']) {
            Some(len) => key = next + len + 1,
            None => break,
        }
    }
    out.map(|mut out| {
        out.push_str(&text[copied..]);
        out
    })
}

fn mask_user(text: &str) -> Option<String> {
    let mut out: Option<String> = None;
    let mut copied = 0;
    for (scheme_end, slashes) in text.match_indices("://") {
        let start = scheme_end + slashes.len();
        let authority_len = text[start..].find(['/', '?', '#', ' ', '>', '"']).unwrap_or(text.len() - start);
        let authority = &text[start..start + authority_len];
        // The last one: a password that was not encoded may have one in it.
        let Some(at) = authority.rfind('@') else { continue };
        let out = out.get_or_insert_default();
        out.push_str(&text[copied..start]);
        out.push_str(masked_user(&authority[..at]));
        copied = start + at;
    }
    out.map(|mut out| {
        out.push_str(&text[copied..]);
        out
    })
}

/// What stands for a user, and a password if there is one.
fn masked_user(user: &str) -> &'static str {
    if user.contains(':') { "REDACTED:REDACTED" } else { "REDACTED" }
}

fn is_secret_key(key: &str) -> bool {
    SECRET_KEYS.iter().any(|secret| key.eq_ignore_ascii_case(secret))
}

const CREDENTIAL_FIELDS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "set-cookie"];

/// The parameters of queries that are masked. OpenTelemetry's four, then those of today's AWS signatures (version 4),
/// which serve the same end. OpenTelemetry would compare them case-sensitively ("SHOULD"); servers are not that strict,
/// and a secret shown is worse than a number masked.
pub const SECRET_KEYS: [&str; 7] = [
    "AWSAccessKeyId",
    "Signature",
    "sig",
    "X-Goog-Signature",
    "X-Amz-Signature",
    "X-Amz-Credential",
    "X-Amz-Security-Token",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn signatures_lose_their_values_only() {
        let mask = |query: &'static str| mask_query(query.into()).into_owned();
        assert_eq!(mask("a=1&sig=s3cr%2Fet=&b=2"), "a=1&sig=REDACTED&b=2");
        assert_eq!(mask("sig=x"), "sig=REDACTED");
        assert_eq!(mask("Signature=x&AWSAccessKeyId=y"), "Signature=REDACTED&AWSAccessKeyId=REDACTED");
        assert_eq!(mask("X-Goog-Signature=x;y&c"), "X-Goog-Signature=REDACTED&c");
        assert_eq!(mask("a=b;sig=c"), "a=b;sig=REDACTED");
        assert_eq!(mask("X-Amz-Signature=0a1b"), "X-Amz-Signature=REDACTED");
        assert_eq!(mask("sig=&design=1&sig&assig=2&sigs=3"), "sig=&design=1&sig&assig=2&sigs=3");
        assert_eq!(mask(""), "");
        assert!(matches!(mask_query("a=1&b=2".into()), Cow::Borrowed(_)));
    }

    #[test]
    fn keys_in_any_case() {
        for key in SECRET_KEYS {
            for key in [key.to_owned(), key.to_ascii_lowercase(), key.to_ascii_uppercase()] {
                assert_eq!(mask_query(format!("a=1&{key}=s&b=2").into()), format!("a=1&{key}=REDACTED&b=2"));
                assert_eq!(mask_urls(format!("/p?{key}=s#f").into()), format!("/p?{key}=REDACTED#f"));
            }
        }
        let others = "tokens=1&signatures=2&my-sig=3";
        assert_eq!(mask_query(others.into()), others);
    }

    #[test]
    fn urls_lose_their_users() {
        let mask = |text: &'static str| mask_urls(text.into()).into_owned();
        assert_eq!(mask("http://joe:pa@ss@h/p?q#f"), "http://REDACTED:REDACTED@h/p?q#f");
        assert_eq!(mask("http://joe@h"), "http://REDACTED@h");
        assert_eq!(mask("/to?u=http://a:b@h/&sig=1"), "/to?u=http://REDACTED:REDACTED@h/&sig=REDACTED");
        assert_eq!(
            mask("<https://h/?page=2&sig=1>; rel=next, <https://u@h/?sig=2>; rel=last"),
            "<https://h/?page=2&sig=REDACTED>; rel=next, <https://REDACTED@h/?sig=REDACTED>; rel=last"
        );
        assert_eq!(mask("/users/@joe?at=a@b"), "/users/@joe?at=a@b");
        assert_eq!(mask("sig=1"), "sig=1");
    }

    #[test]
    fn authorities_lose_their_users() {
        let mask = |text: &'static str| mask_authority(text.into()).into_owned();
        assert_eq!(mask("h:443"), "h:443");
        assert_eq!(mask("joe@h:443"), "REDACTED@h:443");
        assert_eq!(mask("joe:pa@ss@h:443"), "REDACTED:REDACTED@h:443");
        assert_eq!(mask("h:443/?sig=1"), "h:443/?sig=REDACTED");
    }

    #[test]
    fn fields_in_any_case() {
        for name in ["Authorization", "COOKIE", "set-cookie", "Proxy-Authorization", "cookie\t"] {
            assert!(is_credential_field(name.as_bytes()), "{name}");
        }
        assert!(!is_credential_field(b"cookies"));
    }

    proptest! {
        /// Against a plain split: every pair but those of secrets is as before.
        #[test]
        fn other_pairs_stay(pairs in proptest::collection::vec(
            ("(sig|signature|SIG|a|b|sigs|)", "[a-z=@/:é]{0,6}"), 0..6)) {
            let query = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&");
            let expected = pairs
                .iter()
                .map(|(key, value)| match key.as_str() {
                    "sig" | "signature" | "SIG" if !value.is_empty() => format!("{key}=REDACTED"),
                    _ => format!("{key}={value}"),
                })
                .collect::<Vec<_>>()
                .join("&");
            prop_assert_eq!(mask_query(query.as_str().into()), expected);
        }

        #[test]
        fn any_text_is_safe(text: String) {
            let _ = mask_query(text.as_str().into());
            let _ = mask_urls(text.as_str().into());
        }
    }
}
