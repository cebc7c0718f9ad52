//! The parts of a request target, and the host it is for.

use gannet_http::Head;
use memchr::{memchr, memrchr};

/// What a request asks for, from its target and its Host field. RFC 9112, section 3.2: a target is a path with query,
/// an absolute URI, an authority (CONNECT), or `*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Url<'a> {
    /// Of an absolute URI.
    pub scheme: Option<&'a [u8]>,
    /// Name or address, without user, port and brackets.
    pub host: Option<&'a [u8]>,
    /// Host and port as they were written, without user.
    pub authority: Option<&'a [u8]>,
    /// `None` for an authority only.
    pub path: Option<&'a [u8]>,
    /// Without `?`; `None` if there is no `?`.
    pub query: Option<&'a [u8]>,
}

impl<'a> Url<'a> {
    /// Of a request's head. What the target says of the host counts before the Host field ("When an origin server
    /// receives a request with an absolute-form of request-target, the origin server MUST ignore the received Host
    /// header field", RFC 9112, section 3.2.2).
    pub fn of(request: &'a Head) -> Self {
        let url = Self::of_target(request);
        match request.field("host") {
            Some(field) if url.host.is_none() => url.at(field),
            _ => url,
        }
    }

    /// What the target alone says: whoever has no use for the host need not look for it.
    pub fn of_target(request: &'a Head) -> Self {
        let target = request.target();
        if target.starts_with(b"/") {
            let (path, query) = split_query(target);
            return Self { path: Some(path), query, ..Self::default() };
        }
        if request.method() == b"CONNECT" {
            return Self::default().at(target);
        }
        if let Some((scheme, rest)) = split_scheme(target) {
            let end = rest.iter().position(|&byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
            let (authority, rest) = rest.split_at(end);
            let (path, query) = split_query(rest);
            let path = if path.is_empty() { b"/" } else { path };
            return Self { scheme: Some(scheme), path: Some(path), query, ..Self::default() }.at(authority);
        }
        let (path, query) = split_query(target);
        Self { path: Some(path), query, ..Self::default() }
    }

    /// With the host of `[user@]host[:port]`, if it is not empty.
    pub(crate) fn at(self, authority: &'a [u8]) -> Self {
        let authority = authority.trim_ascii();
        let authority = memrchr(b'@', authority).map_or(authority, |at| &authority[at + 1..]);
        match host(authority) {
            Some(host) => Self { host: Some(host), authority: Some(authority), ..self },
            None => self,
        }
    }
}

/// The host in `host[:port]`; `None` if it is empty.
fn host(authority: &[u8]) -> Option<&[u8]> {
    let host = match authority.strip_prefix(b"[") {
        Some(rest) => rest.split(|&byte| byte == b']').next().unwrap_or(rest),
        None => match memchr(b':', authority) {
            // More than one colon outside of brackets: an IPv6 address without a port.
            Some(colon) if !authority[colon + 1..].contains(&b':') => &authority[..colon],
            _ => authority,
        },
    };
    (!host.is_empty()).then_some(host)
}

/// `scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )` (RFC 3986, section 3.1), then `://`.
fn split_scheme(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = target.iter().take(MAX_SCHEME_BYTES).position(|&byte| byte == b':')?;
    let (scheme, rest) = target.split_at(colon);
    let rest = rest.strip_prefix(b"://")?;
    let of_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    (scheme.first()?.is_ascii_alphabetic() && scheme.iter().all(of_scheme)).then_some((scheme, rest))
}

fn split_query(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr(b'?', target) {
        Some(mark) => (&target[..mark], Some(&target[mark + 1..])),
        None => (target, None),
    }
}

/// Longer ones are nobody's: a target with a colon further on is a path.
const MAX_SCHEME_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::request;

    fn parts(line: &str, host: &str) -> [String; 4] {
        let fields: &[(&str, &str)] = if host == "-" { &[] } else { &[("Host", host)] };
        let head = request(line, fields);
        let url = Url::of(&head);
        [url.scheme, url.host, url.path, url.query]
            .map(|part| part.map_or("-".into(), |bytes| String::from_utf8_lossy(bytes).into_owned()))
    }

    #[test]
    fn forms_of_targets() {
        assert_eq!(parts("GET /a/b?c=d?e HTTP/1.1", "h:8080"), ["-", "h", "/a/b", "c=d?e"]);
        assert_eq!(parts("GET /? HTTP/1.1", "-"), ["-", "-", "/", ""]);
        assert_eq!(parts("OPTIONS * HTTP/1.1", "h"), ["-", "h", "*", "-"]);
        assert_eq!(parts("CONNECT h.example:443 HTTP/1.1", "proxy"), ["-", "h.example", "-", "-"]);
        assert_eq!(parts("GET HTTP://u:p@Host:1/a?b HTTP/1.1", "x"), ["HTTP", "Host", "/a", "b"]);
        assert_eq!(parts("GET http://h?b HTTP/1.1", "-"), ["http", "h", "/", "b"]);
        assert_eq!(parts("GET http:///a HTTP/1.1", "x"), ["http", "x", "/a", "-"]);
        assert_eq!(parts("GET odd HTTP/1.1", "h"), ["-", "h", "odd", "-"]);
        assert_eq!(parts("GET /a://b HTTP/1.1", "h"), ["-", "h", "/a://b", "-"]);
    }

    #[test]
    fn hosts() {
        for (field, host) in [
            ("h:80", "h"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("[::1]", "::1"),
            ("::1", "::1"),
            ("10.0.0.1", "10.0.0.1"),
            ("u@h:1", "h"),
            ("", "-"),
            (":80", "-"),
            ("[", "-"),
        ] {
            assert_eq!(parts("GET / HTTP/1.1", field)[1], host, "{field}");
        }
    }

    #[test]
    fn authorities_are_without_their_user() {
        let authority = |line, field| {
            let head = request(line, &[("Host", field)]);
            Url::of(&head).authority.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        assert_eq!(authority("GET / HTTP/1.1", "h:8080").as_deref(), Some("h:8080"));
        assert_eq!(authority("GET http://u:p@h:1/ HTTP/1.1", "x").as_deref(), Some("h:1"));
        assert_eq!(authority("GET / HTTP/1.1", " [::1]:80 ").as_deref(), Some("[::1]:80"));
        assert_eq!(authority("GET / HTTP/1.1", ":80"), None);
    }
}
