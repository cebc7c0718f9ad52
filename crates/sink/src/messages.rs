//! Whole messages: heads as they were on the wire, bodies without chunks and codings.
//!
//! ```text
//! --- 10:11:12.123456 10.0.0.1:51234 > 10.0.0.2:80 request CCQBX...-0
//! GET /greeting HTTP/1.1
//! Host: shop.example
//!
//! --- 10:11:12.127001 10.0.0.2:80 > 10.0.0.1:51234 response CCQBX...-0 body 6 (gzip, 26 bytes on the wire)
//! HTTP/1.1 200 OK
//! Content-Encoding: gzip
//!
//! hello
//!
//! ```
//!
//! Each message follows its line as soon as it is over: time of its first byte, sender and receiver, what it is, the
//! id of its exchange, how many bytes of the body are shown, and what is to be known of them. Then its head to the
//! empty line, and, if there is one, the body with an empty line behind it. Trailers follow under a line of their
//! own.
//!
//! Exchanges instead of messages are shown when they are over: their messages one behind the other, in the same form.
//! Of an interim response an exchange has the status and the time alone, and its line says that. Behind an exchange
//! that is not complete comes a line that says how it ended, in the place of what is missing.
//!
//! ```text
//! --- 10:11:42.130000 10.0.0.1:51234 > 10.0.0.2:80 exchange CCQBX...-1 (orphan-request: fin)
//!
//! ```
//!
//! In a file or pipe bytes are as they were, so that the number in the line says where a body ends whatever is in it,
//! and the line's time is RFC 3339's. On a terminal the time is that of the day, control characters are shown as
//! `\x1b`, and a body that is no text is described. Credentials in heads are masked unless records show them, too.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;

use anstyle::{AnsiColor, Style};
use gannet_http::{
    Connection, DecodeEnd, Decoded, Exchange, Head, HeadKind, HeadReport, Interim, Message, MessageReport,
    PendingRequest, State,
};
use gannet_packet::{Endpoint, Timestamp};
use gannet_record::{RecordOptions, ShortDuration, masked_head, masked_trailers, printable, wire_text};
use jiff::tz::TimeZone;

/// Writes messages.
pub(crate) struct Messages {
    colour: bool,
    zone: TimeZone,
    /// For a person's eyes only.
    terminal: bool,
    /// Reused from line to line.
    line: String,
}

impl Messages {
    pub(crate) fn new(colour: bool, zone: TimeZone) -> Self {
        Self { colour, zone, terminal: false, line: String::new() }
    }

    /// Whether what is written goes to a terminal.
    pub(crate) fn set_terminal(&mut self, terminal: bool) {
        self.terminal = terminal;
    }

    /// Appends a message that is over.
    pub(crate) fn message(&mut self, report: &MessageReport, options: &RecordOptions, out: &mut Vec<u8>) {
        self.begin(report.message.first, &report.connection, report.kind, report.index);
        self.whole(&report.message, options, out);
    }

    /// Appends what there is of an exchange that is over.
    pub(crate) fn exchange(&mut self, exchange: &Exchange, options: &RecordOptions, out: &mut Vec<u8>) {
        let Exchange { connection, index, request, interim, response, state, reason, .. } = exchange;
        let index = Some(*index);
        if let Some(request) = request {
            self.begin(request.first, connection, HeadKind::Request, index);
            self.whole(request, options, out);
        }
        for Interim { status, first } in interim {
            self.begin(*first, connection, HeadKind::Interim, index);
            let _ = write!(self.line, " (status {status}, head not kept)");
            self.end_line(out);
            out.push(b'\n');
        }
        if let Some(response) = response {
            self.begin(response.first, connection, HeadKind::Response, index);
            self.whole(response, options, out);
        }
        if *state != State::Complete {
            self.begin_line(exchange.completed.time, connection, "exchange", true, index);
            let _ = write!(self.line, " ({}: {})", state.name(), reason.name());
            self.end_line(out);
            out.push(b'\n');
        }
    }

    /// Appends a message whose line has begun.
    fn whole(&mut self, message: &Message, options: &RecordOptions, out: &mut Vec<u8>) {
        let decoded = options.decoded(message);
        let has_body = message.body_bytes > 0;
        if has_body {
            // Writing to a String cannot fail.
            let _ = write!(self.line, " body {}", decoded.bytes.len());
        }
        self.notes(message, &decoded);
        self.end_line(out);
        self.head(&message.head, options, out);
        if has_body {
            self.body(message, &decoded, out);
        }
        if let Some(trailers) = &message.trailers {
            out.extend_from_slice(b"--- trailers\n");
            let raw = trailers.raw();
            self.put(&if options.redact { masked_trailers(raw) } else { raw.into() }, out);
            end_with_newline(out);
            out.push(b'\n');
        }
    }

    /// Appends an interim response.
    pub(crate) fn interim(&mut self, report: &HeadReport, options: &RecordOptions, out: &mut Vec<u8>) {
        self.begin(report.first, &report.connection, report.kind, report.index);
        self.end_line(out);
        self.head(&report.head, options, out);
    }

    /// Appends a line about a request that waits for its answer. The request has been shown before, if it is over
    /// and requests are shown.
    pub(crate) fn pending(&mut self, request: &PendingRequest, out: &mut Vec<u8>) {
        self.begin_line(request.now.time, &request.connection, "pending", true, Some(request.index));
        let nanos = request.now.time.0.saturating_sub(request.first.0);
        let _ = write!(self.line, " (no answer for {})", ShortDuration { nanos });
        self.end_line(out);
        out.push(b'\n');
    }

    /// The line of a message.
    fn begin(&mut self, time: Timestamp, connection: &Connection, kind: HeadKind, index: Option<u32>) {
        self.begin_line(time, connection, name(kind), kind == HeadKind::Request, index);
    }

    /// `index` is that of the exchange, where it is known yet which one it is.
    fn begin_line(
        &mut self,
        time: Timestamp,
        connection: &Connection,
        what: &str,
        of_client: bool,
        index: Option<u32>,
    ) {
        let end = |end: Endpoint| SocketAddr::new(end.address, end.port);
        let (client, server) = (end(connection.client), end(connection.server));
        let (from, to) = if of_client { (client, server) } else { (server, client) };
        self.line.clear();
        self.line.push_str("--- ");
        self.time(time);
        let _ = write!(self.line, " {from} > {to} {what} ");
        let _ = match index {
            Some(index) => write!(self.line, "{}-{index}", connection.id),
            None => write!(self.line, "{}-?", connection.id),
        };
    }

    fn time(&mut self, time: Timestamp) {
        // 2554 is the last year of a `Timestamp`, 9999 jiff's.
        let time = jiff::Timestamp::from_nanosecond(time.0.into()).unwrap_or(jiff::Timestamp::MAX);
        let _ = if self.terminal {
            write!(self.line, "{:.6}", self.zone.to_datetime(time).time())
        } else {
            write!(self.line, "{time:.6}")
        };
    }

    /// What is to be known of the bytes that follow.
    fn notes(&mut self, message: &Message, decoded: &Decoded) {
        let mut notes: Vec<Cow<'static, str>> = Vec::new();
        if message.head.cut {
            notes.push("head cut".into());
        }
        if message.body_bytes > 0 {
            let codings = codings(&message.head);
            let (kept, all) = (message.body.len() as u64, message.body_bytes);
            if decoded.layers > 0 {
                notes.push(format!("{codings}, {all} bytes on the wire").into());
            }
            if message.gap_bytes > 0 {
                notes.push(format!("{} bytes not captured", message.gap_bytes).into());
            }
            if kept + message.gap_bytes < all {
                notes.push(format!("from the first {kept} of {all}").into());
            }
            match decoded.end {
                DecodeEnd::Truncated if message.body_is_whole() => {
                    notes.push(format!("ends too early for {codings}").into());
                }
                DecodeEnd::Whole | DecodeEnd::Truncated => {}
                DecodeEnd::TooLong => notes.push("and more".into()),
                DecodeEnd::Bomb => notes.push("decompression bomb, given up".into()),
                DecodeEnd::TooManyLayers => {
                    notes.push(format!("not decoded, too many codings: {codings}").into())
                }
                DecodeEnd::UnknownCoding => {
                    notes.push(format!("not decoded, unknown coding: {codings}").into())
                }
                DecodeEnd::Corrupt => notes.push(format!("does not decode as {codings}").into()),
            }
        }
        if !message.complete {
            notes.push("cut off".into());
        }
        if message.trailers.as_ref().is_some_and(|trailers| trailers.cut) {
            notes.push("trailers cut".into());
        }
        if !notes.is_empty() {
            let _ = write!(self.line, " ({})", notes.join(", "));
        }
    }

    fn end_line(&self, out: &mut Vec<u8>) {
        let style = Style::new().fg_color(Some(AnsiColor::Cyan.into()));
        let line = &self.line;
        // Writing to a Vec cannot fail.
        let _ = if self.colour { writeln!(out, "{style}{line}{style:#}") } else { writeln!(out, "{line}") };
    }

    fn head(&self, head: &Head, options: &RecordOptions, out: &mut Vec<u8>) {
        let raw = head.raw();
        let start = out.len();
        self.put(&if options.redact { masked_head(raw) } else { raw.into() }, out);
        let written = out.get(start..).unwrap_or_default();
        if !written.is_empty() && !written.ends_with(b"\n\n") && !written.ends_with(b"\n\r\n") {
            // It is cut.
            end_with_newline(out);
            out.push(b'\n');
        }
    }

    fn body(&self, message: &Message, decoded: &Decoded, out: &mut Vec<u8>) {
        let bytes = &decoded.bytes;
        if !self.terminal {
            out.extend_from_slice(bytes);
            out.extend_from_slice(if bytes.is_empty() { b"\n" } else { b"\n\n" });
            return;
        }
        if let Some(text) = text(bytes, &message.head) {
            self.put(text.as_bytes(), out);
            end_with_newline(out);
        } else {
            let kind = message.head.field("content-type").map(wire_text);
            let kind = kind.as_deref().map_or("bytes that are no text".into(), printable);
            let _ = writeln!(out, "[{} bytes: {kind}]", bytes.len());
        }
        out.push(b'\n');
    }

    /// Appends bytes: as they are, or fit for a terminal.
    fn put(&self, bytes: &[u8], out: &mut Vec<u8>) {
        if !self.terminal {
            out.extend_from_slice(bytes);
            return;
        }
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            let content = line.strip_suffix(b"\n").unwrap_or(line);
            let content = content.strip_suffix(b"\r").unwrap_or(content);
            for (at, piece) in content.split(|&byte| byte == b'\t').enumerate() {
                if at > 0 {
                    out.push(b'\t');
                }
                out.extend_from_slice(printable(&wire_text(piece)).as_bytes());
            }
            if line.ends_with(b"\n") {
                out.push(b'\n');
            }
        }
    }
}

fn name(kind: HeadKind) -> &'static str {
    match kind {
        HeadKind::Request => "request",
        HeadKind::Interim => "interim",
        HeadKind::Response => "response",
    }
}

/// The values of the fields that name codings, but for `chunked`.
fn codings(head: &Head) -> String {
    let names = ["content-encoding", "transfer-encoding"];
    let values = names.iter().flat_map(|wanted| {
        let fields = head.fields().filter(move |(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes()));
        fields.flat_map(|(_, value)| value.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii)
    });
    let values = values.filter(|value| !value.is_empty() && !value.eq_ignore_ascii_case(b"chunked"));
    values.map(|value| printable(&wire_text(value)).into_owned()).collect::<Vec<_>>().join(", ")
}

/// A body as text, if it is some: UTF-8, or Latin-1 where the head says so, without characters that no text has.
fn text<'b>(bytes: &'b [u8], head: &Head) -> Option<Cow<'b, str>> {
    // A body that was cut may end within a character.
    let text = match str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(error) if error.error_len().is_none() => {
            Cow::Borrowed(str::from_utf8(bytes.get(..error.valid_up_to())?).ok()?)
        }
        Err(_) if is_latin(head) => bytes.iter().map(|&byte| char::from(byte)).collect::<String>().into(),
        Err(_) => return None,
    };
    let is_odd =
        |char: char| char.is_ascii_control() && !matches!(char, '\t' | '\n' | '\r' | '\x0c' | '\x1b');
    (!text.chars().any(is_odd)).then_some(text)
}

fn is_latin(head: &Head) -> bool {
    let media = head.field("content-type").unwrap_or_default().to_ascii_lowercase();
    let charset = media.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let charset = charset.filter_map(|parameter| parameter.strip_prefix(b"charset="));
    let mut charset = charset.map(|value| value.trim_ascii());
    let named = charset.next().unwrap_or_default();
    LATIN.contains(&named.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")).unwrap_or(named))
}

/// What browsers take for the same, but for some punctuation.
const LATIN: &[&[u8]] = &[b"iso-8859-1", b"iso8859-1", b"latin1", b"windows-1252"];

fn end_with_newline(out: &mut Vec<u8>) {
    if out.last() != Some(&b'\n') {
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use gannet_flow::Moment;
    use gannet_http::{ExchangeId, Reason};
    use gannet_packet::Surroundings;
    use proptest::prelude::*;

    use super::*;
    use crate::sample::{exchange, options};

    /// The response of a sample with these bytes for a body, said to be of this type.
    fn response(fields: &str, body: &[u8]) -> MessageReport {
        let Exchange { connection, response, .. } = exchange(b"h", b"/", 200);
        let raw = format!("HTTP/1.1 200 OK\r\nContent-Type: {fields}\r\n\r\n");
        let value = 31..31 + fields.len() as u32;
        let field = gannet_http::Field { name: 17..29, value };
        let start = gannet_http::StartLine::Response { status: Some(200), reason: 13..15, minor: 1 };
        let head = Head::new(raw.as_bytes(), start, &[field]);
        let body_bytes = body.len() as u64;
        let message = Message { head, body: body.into(), body_bytes, ..response.unwrap() };
        let (kind, now) = (HeadKind::Response, Moment::default());
        MessageReport { connection, kind, index: Some(0), request: None, message, now }
    }

    fn written(report: &MessageReport, terminal: bool) -> String {
        let mut messages = Messages::new(false, TimeZone::UTC);
        messages.set_terminal(terminal);
        let mut out = Vec::new();
        messages.message(report, &options(), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn a_terminal_gets_what_it_can_show() {
        let text = written(&response("text/plain", "tab\there\r\n\x1b[31mred\x07".as_bytes()), true);
        let line =
            "--- 10:11:12.124456 10.0.0.2:8080 > 10.0.0.1:51234 response AAAAAAAAAAAAAAAAAAAAAAAAAA-0 body ";
        let head = "HTTP/1.1 200 OK\nContent-Type: text/plain\n\n";
        // A bell is in no text.
        assert_eq!(text, format!("{line}19\n{head}[19 bytes: text/plain]\n\n"));
        let text = written(&response("text/plain", "tab\there\r\n\x1b[31mred".as_bytes()), true);
        assert_eq!(text, format!("{line}18\n{head}tab\there\n\\x1b[31mred\n\n"));
        let text = written(&response("image/\x1bpng", b"\x89PNG\r\n\x1a\n\0"), true);
        assert!(text.ends_with("Content-Type: image/\\x1bpng\n\n[9 bytes: image/\\x1bpng]\n\n"), "{text:?}");
        let latin = written(&response("text/html; charset=\"ISO-8859-1\"", b"caf\xe9\n"), true);
        assert!(latin.ends_with("\n\ncafé\n\n"), "{latin:?}");
        // The end of a body that was cut may lie within a character.
        assert!(written(&response("text/plain", b"caf\xc3"), true).ends_with("\n\ncaf\n\n"));
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let mut report = response("a/b", b"");
        (report.index, report.message.complete) = (None, false);
        let text = written(&report, false);
        let line = "--- 2026-11-21T10:11:12.124456Z 10.0.0.2:8080 > 10.0.0.1:51234 response \
                    AAAAAAAAAAAAAAAAAAAAAAAAAA-? (cut off)\n";
        assert_eq!(text, format!("{line}HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n\r\n"));
        // Half a head still ends with an empty line.
        report.message.head =
            Head::new(b"HTTP/1.1 200 OK\r\nSer", gannet_http::StartLine::SimpleResponse, &[]);
        report.message.head.cut = true;
        let text = written(&report, false);
        assert!(text.ends_with(" (head cut, cut off)\nHTTP/1.1 200 OK\r\nSer\n\n"), "{text:?}");
        assert_eq!(report.connection.around, Surroundings::NONE);
    }

    /// The messages of an exchange are those that are shown as they come, and what is missing is said.
    #[test]
    fn an_exchange_is_its_messages() {
        let written = |exchange: &Exchange| {
            let mut out = Vec::new();
            Messages::new(false, TimeZone::UTC).exchange(exchange, &options(), &mut out);
            String::from_utf8(out).unwrap()
        };
        let mut whole = exchange(b"h", b"/", 503);
        let alone = |kind, message: &Option<Message>| {
            let (message, index) = (message.clone().unwrap(), Some(whole.index));
            let (connection, now) = (whole.connection, Moment::default());
            let report = MessageReport { connection, kind, index, request: None, message, now };
            let mut out = Vec::new();
            Messages::new(false, TimeZone::UTC).message(&report, &options(), &mut out);
            String::from_utf8(out).unwrap()
        };
        let request = alone(HeadKind::Request, &whole.request);
        let response = alone(HeadKind::Response, &whole.response);
        assert_eq!(written(&whole), format!("{request}{response}"));
        whole.interim = vec![Interim { status: 103, first: whole.response.as_ref().unwrap().first }];
        let interim = "--- 2026-11-21T10:11:12.124456Z 10.0.0.2:8080 > 10.0.0.1:51234 interim \
                       AAAAAAAAAAAAAAAAAAAAAAAAAA-0 (status 103, head not kept)\n\n";
        assert_eq!(written(&whole), format!("{request}{interim}{response}"));

        let end = |how: &str| {
            let id = whole.id();
            format!(
                "--- 1970-01-01T00:00:01.000000Z 10.0.0.1:51234 > 10.0.0.2:8080 exchange {id} ({how})\n\n"
            )
        };
        let mut part = Exchange { response: None, interim: Vec::new(), ..whole.clone() };
        (part.state, part.reason) = (State::OrphanRequest, Reason::Fin);
        part.completed.time = Timestamp(1_000_000_000);
        assert_eq!(written(&part), format!("{request}{}", end("orphan-request: fin")));
        (part.request, part.response) = (None, whole.response.clone());
        (part.state, part.reason) = (State::OrphanResponse, Reason::BeforeCapture);
        assert_eq!(written(&part), format!("{response}{}", end("orphan-response: before-capture")));
    }

    #[test]
    fn who_waits_has_a_line() {
        let Exchange { connection, request, .. } = exchange(b"h", b"/", 200);
        let request = request.unwrap();
        let now = Moment { time: Timestamp(request.first.0 + 5_000_000_000), position: 1 };
        let pending = PendingRequest { connection, index: 7, head: request.head, first: request.first, now };
        let mut out = Vec::new();
        Messages::new(true, TimeZone::UTC).pending(&pending, &mut out);
        let id = ExchangeId { connection: connection.id, index: 7 };
        let line = format!(
            "--- 2026-11-21T10:11:17.123456Z 10.0.0.1:51234 > 10.0.0.2:8080 pending {id} (no answer for 5.0 s)"
        );
        assert_eq!(String::from_utf8(out).unwrap(), format!("\x1b[36m{line}\x1b[0m\n\n"));
    }

    proptest! {
        /// Whatever came over the wire, a terminal gets no control character but tabs and line ends.
        #[test]
        fn a_terminal_is_safe(fields in "\\PC{0,20}|[\0-\x7f]{0,20}", body in prop::collection::vec(any::<u8>(), 0..60),
            text: String) {
            for body in [&body[..], text.as_bytes()] {
                let text = written(&response(&fields, body), true);
                let odd = text.chars().find(|char| char.is_control() && !matches!(char, '\t' | '\n'));
                prop_assert_eq!(odd, None, "{:?}", text);
            }
        }
    }
}
