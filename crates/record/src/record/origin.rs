//! What a request's fields say of where it comes from: the client behind proxies, the trace, its id.
//!
//! All of it is hearsay: proxies and libraries write these fields, and so can anybody who sends a request.

use std::borrow::Cow;

use gannet_http::Head;

use super::RecordOptions;
use super::headers::{Scan, Shown};
use crate::wire_text;

/// What is said.
pub(super) struct Said<'a> {
    pub(super) agent: Option<Shown<'a>>,
    pub(super) forwarded_for: Option<Cow<'a, str>>,
    pub(super) trace_id: Option<&'a str>,
    pub(super) span_id: Option<&'a str>,
    /// What identifies the request. Some servers give the id, and say it in the response only.
    pub(super) request_id: Option<&'a [u8]>,
    /// What a SOAP request asks for.
    pub(super) operation: Option<Cow<'a, str>>,
}

impl<'a> Said<'a> {
    pub(super) fn new(
        request: Option<(&'a Head, &Scan<'a>)>,
        response: Option<&Scan<'a>>,
        options: &RecordOptions,
    ) -> Self {
        let (head, scan) = request.unzip();
        let known = |name| scan.and_then(|scan| scan.known(name));
        let trace = scan.and_then(Scan::trace);
        // Most requests have neither of the fields that it would be in.
        let says = known(Known::SoapAction).or(known(Known::ContentType)).is_some();
        let operation = head.filter(|_| says).and_then(Head::operation);
        Self {
            agent: scan.and_then(|scan| scan.known_as_shown(Known::UserAgent, options)),
            forwarded_for: forwarded_for(known(Known::Forwarded), known(Known::ForwardedFor)),
            trace_id: trace.map(|(trace, _)| trace),
            span_id: trace.map(|(_, span)| span),
            request_id: scan.into_iter().chain(response).find_map(Scan::request_id),
            operation: operation.map(|operation| options.value(operation)),
        }
    }
}

/// The fields that records make something of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Host,
    UserAgent,
    ContentType,
    SoapAction,
    Traceparent,
    Forwarded,
    ForwardedFor,
    /// The ids of requests, by precedence: the usual one, then what correlates several requests, then those of clouds
    /// and frameworks.
    RequestId,
    CorrelationId,
    AmazonTraceId,
    PlainRequestId,
    AmazonRequestId,
    AzureRequestId,
    CloudTraceContext,
}

impl Known {
    /// All with their names, in the order of their numbers.
    pub(super) const NAMES: [(Self, &'static str); 14] = [
        (Self::Host, "host"),
        (Self::UserAgent, "user-agent"),
        (Self::ContentType, "content-type"),
        (Self::SoapAction, "soapaction"),
        (Self::Traceparent, "traceparent"),
        (Self::Forwarded, "forwarded"),
        (Self::ForwardedFor, "x-forwarded-for"),
        (Self::RequestId, "x-request-id"),
        (Self::CorrelationId, "x-correlation-id"),
        (Self::AmazonTraceId, "x-amzn-trace-id"),
        (Self::PlainRequestId, "request-id"),
        (Self::AmazonRequestId, "x-amz-request-id"),
        (Self::AzureRequestId, "x-ms-request-id"),
        (Self::CloudTraceContext, "x-cloud-trace-context"),
    ];
    /// One of a word's bits.
    #[inline]
    pub(super) const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// The bits of those that identify a request: from the first of them on.
    pub(super) const IDS_BITS: u32 = !(Self::RequestId.bit() - 1);
    /// Those that identify a request, by precedence.
    pub(super) const IDS: [Self; 7] = [
        Self::RequestId,
        Self::CorrelationId,
        Self::AmazonTraceId,
        Self::PlainRequestId,
        Self::AmazonRequestId,
        Self::AzureRequestId,
        Self::CloudTraceContext,
    ];
}

/// The client that the first proxy says it forwarded for, out of the first `Forwarded` field, else of the first
/// `X-Forwarded-For`: a name of a node without its port, as it was written. "Each forwarded-element ... the first
/// element in this list holds information added by the first proxy" (RFC 7239, section 4).
fn forwarded_for<'a>(forwarded: Option<&'a [u8]>, x_forwarded_for: Option<&'a [u8]>) -> Option<Cow<'a, str>> {
    let node = forwarded.and_then(first_for).or_else(|| {
        let first = x_forwarded_for?.split(|&byte| byte == b',').next()?.trim_ascii();
        Some(Cow::Borrowed(first))
    })?;
    let name = match node {
        Cow::Borrowed(node) => wire_text(node_name(node)),
        Cow::Owned(node) => Cow::Owned(wire_text(node_name(&node)).into_owned()),
    };
    (!name.is_empty()).then_some(name)
}

/// The value of `for` in the first element: `for=192.0.2.60;proto=http, for=...`.
fn first_for(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut rest = value;
    loop {
        let equals = rest.iter().position(|byte| matches!(byte, b'=' | b',' | b';'))?;
        let (name, behind) = rest.split_at(equals);
        match behind.first() {
            Some(b'=') => {}
            Some(b';') => {
                rest = &behind[1..];
                continue;
            }
            _ => return None,
        }
        let (value, behind) = value_of(&behind[1..]);
        if name.trim_ascii().eq_ignore_ascii_case(b"for") {
            return Some(value);
        }
        let behind = behind.trim_ascii_start();
        rest = behind.strip_prefix(b";")?;
    }
}

/// "value = token / quoted-string", and what comes behind it.
fn value_of(text: &[u8]) -> (Cow<'_, [u8]>, &[u8]) {
    let text = text.trim_ascii_start();
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|byte| matches!(byte, b';' | b',')).unwrap_or(text.len());
        let (value, behind) = text.split_at(end);
        return (Cow::Borrowed(value.trim_ascii()), behind);
    };
    let Some(end) = quoted.iter().position(|byte| matches!(byte, b'"' | b'\\')) else {
        return (Cow::Borrowed(quoted), &[]);
    };
    if quoted[end] == b'"' {
        return (Cow::Borrowed(&quoted[..end]), &quoted[end + 1..]);
    }
    // "quoted-pair = "\" ( HTAB / SP / VCHAR / obs-text )"
    let (mut value, mut at) = (quoted[..end].to_vec(), end);
    loop {
        match quoted.get(at..) {
            Some([b'\\', escaped, ..]) => {
                value.push(*escaped);
                at += 2;
            }
            Some([b'"', behind @ ..]) => return (Cow::Owned(value), behind),
            Some([byte, ..]) => {
                value.push(*byte);
                at += 1;
            }
            _ => return (Cow::Owned(value), &[]),
        }
    }
}

/// Without port and brackets: "node = nodename [ ":" node-port ]", where an IPv6 address is in brackets. One without,
/// which `X-Forwarded-For` has as a rule, has more colons than one.
fn node_name(node: &[u8]) -> &[u8] {
    if let Some(rest) = node.strip_prefix(b"[") {
        return rest.split(|&byte| byte == b']').next().unwrap_or(rest);
    }
    match node.iter().position(|&byte| byte == b':') {
        Some(colon) if !node[colon + 1..].contains(&b':') => &node[..colon],
        _ => node,
    }
}

/// The ids of trace and parent out of a `traceparent` that is valid by the W3C's Trace Context, section 3.2: version,
/// 32 digits, 16 digits, flags, all in lower case, neither id zero. "If a higher version is detected, the
/// implementation SHOULD try to parse it" as far as version 00 goes.
pub(super) fn trace(value: &[u8]) -> Option<(&str, &str)> {
    let text = str::from_utf8(value).ok()?;
    let (version, rest) = (text.get(..2)?, text.get(2..)?);
    let (trace, rest) = (rest.strip_prefix('-')?.get(..32)?, rest.get(33..)?);
    let (span, rest) = (rest.strip_prefix('-')?.get(..16)?, rest.get(17..)?);
    let (flags, rest) = (rest.strip_prefix('-')?.get(..2)?, rest.get(3..)?);
    let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_zero = |text: &str| text.bytes().all(|byte| byte == b'0');
    let ends = rest.is_empty() || version != "00" && rest.starts_with('-');
    let valid = [version, trace, span, flags].into_iter().all(is_hex) && version != "ff" && ends;
    (valid && !is_zero(trace) && !is_zero(span)).then_some((trace, span))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_names_are_in_the_order_of_their_numbers() {
        for (at, (known, name)) in Known::NAMES.into_iter().enumerate() {
            assert_eq!(known as usize, at, "{name}");
            assert_eq!(Known::IDS.contains(&known), known.bit() & Known::IDS_BITS != 0, "{name}");
        }
    }

    #[test]
    fn clients_behind_proxies() {
        let of = |forwarded: &'static str, x: &'static str| {
            let field = |text: &'static str| (text != "-").then_some(text.as_bytes());
            forwarded_for(field(forwarded), field(x)).map(Cow::into_owned)
        };
        for (forwarded, x, client) in [
            ("for=192.0.2.43", "-", "192.0.2.43"),
            ("For=\"[2001:db8:cafe::17]:4711\"", "-", "2001:db8:cafe::17"),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "-", "192.0.2.60"),
            ("by=203.0.113.43 ; for = \"192.0.2.60:80\" , for=198.51.100.17", "10.0.0.1", "192.0.2.60"),
            ("host=\"a;for=1\\\",for=2\";for=_hidden", "-", "_hidden"),
            ("for=\"_gaz\\onk\"", "-", "_gazonk"),
            ("for=unknown", "10.0.0.1", "unknown"),
            (";;for=192.0.2.1", "-", "192.0.2.1"),
            ("for=\"192.0.2.1", "-", "192.0.2.1"),
            ("for=\"192.0.2.\\", "-", "192.0.2.\\"),
            // Another proxy than the first.
            ("by=203.0.113.43, for=198.51.100.17", "10.0.0.1", "10.0.0.1"),
            ("proto=https", "10.0.0.1", "10.0.0.1"),
            ("", "10.0.0.1", "10.0.0.1"),
            ("-", "203.0.113.195, 2001:db8::8a2e, 198.51.100.178", "203.0.113.195"),
            ("-", " 2001:db8::8a2e ,198.51.100.178", "2001:db8::8a2e"),
            ("-", "[2001:db8::1]:443", "2001:db8::1"),
            ("-", "192.0.2.1:5000", "192.0.2.1"),
        ] {
            assert_eq!(of(forwarded, x).as_deref(), Some(client), "{forwarded} / {x}");
        }
        for (forwarded, x) in
            [("-", "-"), ("", ""), ("for=", "-"), ("for", "-"), ("-", ",10.0.0.1"), ("for=\"\"", "-")]
        {
            assert_eq!(of(forwarded, x), None, "{forwarded} / {x}");
        }
    }

    #[test]
    fn traces() {
        let (id, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        for text in [
            format!("00-{id}-{span}-01"),
            format!("00-{id}-{span}-00"),
            format!("01-{id}-{span}-01"),
            format!("fe-{id}-{span}-01-what-comes"),
        ] {
            assert_eq!(trace(text.as_bytes()), Some((id, span)), "{text}");
        }
        for text in [
            format!("00-{id}-{span}-01-what-comes"),
            format!("00-{id}-{span}-01."),
            format!("cc-{id}-{span}-01.what"),
            format!("ff-{id}-{span}-01"),
            format!("00-{}-{span}-01", id.to_uppercase()),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{id}-{}-01", "0".repeat(16)),
            format!("00-{id}-{span}-0"),
            format!("00-{id}-{span}"),
            format!("00_{id}-{span}-01"),
            format!("0-{id}-{span}-01"),
            format!("00-{id}{span}-01"),
            format!("00-{id}-{span}-0g"),
            format!("\u{e9}-{id}-{span}-01"),
            String::new(),
        ] {
            assert_eq!(trace(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        /// Against elements that are written out: whatever is around it, the first element's `for` is found.
        #[test]
        fn what_is_written_is_read(
            before in proptest::collection::vec(("(by|host|proto|x)", "[ -~]{0,9}"), 0..3), node in "[ -~&&[^:\\[]]{1,12}",
            behind in proptest::collection::vec("[ -~]{0,9}", 0..3), token: bool,
        ) {
            let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            let is_token = token && node.bytes().all(|byte| byte.is_ascii_alphanumeric());
            let mut pairs: Vec<_> = before.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
            pairs.push(format!("for={}", if is_token { node.clone() } else { quoted(&node) }));
            pairs.extend(behind.iter().map(|value| format!("x={}", quoted(value))));
            let field = format!("{}, for=elsewhere", pairs.join(";"));
            prop_assert_eq!(forwarded_for(Some(field.as_bytes()), None).unwrap(), node, "{}", field);
        }

        #[test]
        fn no_bytes_are_too_odd(a: Vec<u8>, b in "[ -~]{0,60}", c in "[-0-9a-fA-F]{50,60}") {
            let _ = (forwarded_for(Some(&a), Some(b.as_bytes())), forwarded_for(Some(b.as_bytes()), Some(&a)));
            let _ = (trace(&a), trace(c.as_bytes()));
        }
    }
}
