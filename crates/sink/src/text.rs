//! A line for people.
//!
//! ```text
//! 10:11:12.123  10.0.0.7     200   1.3 ms  4.2 kB  GET  shop.example/users/42/orders?full=1
//! 10:11:12.371  10.0.0.9     503   ~2.1 s   120 B  POST shop.example/checkout
//! 10:11:12.502  10.0.0.7     ---        -       -  GET  shop.example/slow [aborted]
//! 10:11:13.001  10.0.0.7     >>>   0.2 ms    12 B  POST shop.example/cart [request]
//! 10:11:13.001  10.0.0.7     ...    5.0 s       -  POST shop.example/cart [pending]
//! ```
//!
//! What varies in length comes last, so that columns stay where they are; there is no heading, as with tcpdump. The time of
//! day is local. The duration is that of the whole exchange, with a `~` if it is not to be trusted. On a terminal the URL is
//! cut in its middle to fit the line; elsewhere nothing is cut. Nothing on the wire can send an escape sequence to a
//! terminal: see [`gannet_record::printable`].

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use gannet_http::{Exchange, State};
use gannet_packet::{Endpoint, Timestamp};
use gannet_record::{EventRecord, Record, ShortDuration, columns, printable, shortened};
use jiff::tz::TimeZone;

/// Makes lines.
pub(crate) struct TextLines {
    colour: bool,
    zone: TimeZone,
    /// Columns of the terminal.
    width: Option<usize>,
    /// The widest client so far: a long address makes the column wider once, not line by line.
    client_width: usize,
    /// Reused from line to line.
    url: String,
    /// How many bytes of it are the host and port.
    host_len: usize,
}

impl TextLines {
    pub(crate) fn new(colour: bool, zone: TimeZone) -> Self {
        Self { colour, zone, width: None, client_width: CLIENT_WIDTH, url: String::new(), host_len: 0 }
    }

    /// `None`: lines are not cut.
    pub(crate) fn set_width(&mut self, width: Option<usize>) {
        self.width = width;
    }

    /// Appends the line of `record`.
    pub(crate) fn write(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        let exchange = record.exchange();
        let client = exchange.connection.client.address.to_string();
        self.client_width = self.client_width.max(client.len());
        let (status, status_style) = status(record.status());
        let (duration, duration_style) = duration(exchange);
        let size = exchange.response.as_ref().map_or("-".to_owned(), |response| size(response.body_bytes));
        let method = record.method().unwrap_or("-".into());
        let method = printable(&method);
        let tag = match exchange.state {
            State::Complete => String::new(),
            state => format!(" [{}]", state.name()),
        };
        self.url.clear();
        self.host_len = write_url(
            &mut self.url,
            record.authority(),
            record.path(),
            record.query(),
            exchange.connection.server,
        );

        let red = Style::new().fg_color(Some(AnsiColor::Red.into()));
        let line = Line {
            time: record.timestamp(),
            client: &client,
            status: (&status, status_style),
            duration: (&duration, duration_style),
            size: &size,
            method: &method,
            tag: (&tag, red),
        };
        self.line(&line, out);
    }

    /// Appends the line of an event: what is known is in its column, and the tag says what it is.
    pub(crate) fn write_event(&mut self, record: &EventRecord<'_>, out: &mut Vec<u8>) {
        let connection = record.connection();
        let client = connection.client.address.to_string();
        self.client_width = self.client_width.max(client.len());
        let (status, status_style) = match (record.status(), record.event()) {
            (None, "pending") => ("...".to_owned(), Style::new().fg_color(Some(AnsiColor::Yellow.into()))),
            (None, "request") => (">>>".to_owned(), Style::new().dimmed()),
            (known, _) => status(known),
        };
        // A message in one packet took no time that could be measured.
        let duration = record.duration_ns().filter(|nanos| *nanos != 0);
        let duration = duration.map_or("-".to_owned(), |nanos| ShortDuration { nanos }.to_string());
        let size = record.body_bytes().map_or("-".to_owned(), size);
        let method = record.method().unwrap_or("-".into());
        let cut = if record.complete() == Some(false) { ", cut off" } else { "" };
        self.url.clear();
        self.host_len =
            write_url(&mut self.url, record.authority(), record.path(), record.query(), connection.server);
        let line = Line {
            time: record.timestamp(),
            client: &client,
            status: (&status, status_style),
            duration: (&duration, Style::new()),
            size: &size,
            method: &printable(&method),
            tag: (&format!(" [{}{cut}]", record.event()), Style::new().dimmed()),
        };
        self.line(&line, out);
    }

    /// Appends a line whose URL is in `self`.
    fn line(&self, line: &Line<'_>, out: &mut Vec<u8>) {
        let Line { time, client, status, duration, size, method, tag } = line;
        self.put(out, Style::new().dimmed(), &self.clock(*time));
        self.put(out, Style::new(), &format!("  {client:width$}  ", width = self.client_width));
        self.put(out, status.1, status.0);
        self.put(out, duration.1, &format!("  {:>7}", duration.0));
        self.put(out, Style::new(), &format!("  {size:>6}  {method:4} "));
        let used = CLOCK_WIDTH + 2 + self.client_width + 2 + 3 + 2 + 7 + 2 + 6 + 2;
        let used = used + method.chars().count().max(4) + 1 + tag.0.len();
        let room = self.width.map_or(usize::MAX, |width| width.saturating_sub(used).max(MIN_URL_WIDTH));
        self.put(out, Style::new(), &self.url_in(room));
        self.put(out, tag.1, tag.0);
        out.push(b'\n');
    }

    /// The URL in so many columns: of a long one the host is cut first, which many lines share, and of the path the beginning.
    fn url_in(&self, room: usize) -> Cow<'_, str> {
        let (host, path) = self.url.split_at_checked(self.host_len).unwrap_or((&self.url, ""));
        let (host_columns, path_columns) = (columns(host.chars()), columns(path.chars()));
        if host_columns + path_columns <= room {
            return Cow::Borrowed(&self.url);
        }
        let host_room = room.saturating_sub(path_columns).max(room / 3).min(host_columns);
        let host = shortened(host, host_room, host_room / 2);
        let path_room = room.saturating_sub(columns(host.chars()));
        let path = shortened(path, path_room, path_room * 2 / 3);
        Cow::Owned(format!("{host}{path}"))
    }

    /// The time of day to the millisecond.
    fn clock(&self, stamp: Timestamp) -> String {
        let secs = i64::try_from(stamp.secs()).unwrap_or(i64::MAX);
        // 2554 is the last year of a `Timestamp`, 9999 jiff's.
        let time = jiff::Timestamp::from_second(secs).unwrap_or(jiff::Timestamp::MAX);
        let civil = self.zone.to_datetime(time);
        let millis = stamp.subsec_nanos() / 1_000_000;
        format!("{:02}:{:02}:{:02}.{millis:03}", civil.hour(), civil.minute(), civil.second())
    }

    fn put(&self, out: &mut Vec<u8>, style: Style, text: &str) {
        // Writing to a Vec cannot fail.
        let _ = if self.colour && style != Style::new() && !text.is_empty() {
            write!(out, "{style}{text}{style:#}")
        } else {
            out.write_all(text.as_bytes())
        };
    }
}

/// What is in a line besides the URL.
struct Line<'a> {
    time: Timestamp,
    client: &'a str,
    status: (&'a str, Style),
    duration: (&'a str, Style),
    size: &'a str,
    method: &'a str,
    tag: (&'a str, Style),
}

/// Host, port if it was asked for, path and query; the server if there is no request. The bytes of host and port.
fn write_url(
    url: &mut String,
    authority: Option<Cow<'_, str>>,
    path: Option<Cow<'_, str>>,
    query: Option<Cow<'_, str>>,
    server: Endpoint,
) -> usize {
    match authority {
        Some(authority) => url.push_str(&printable(&authority)),
        None => {
            // Writing to a String cannot fail.
            let _ = write!(url, "{}", std::net::SocketAddr::new(server.address, server.port));
        }
    }
    let host_len = url.len();
    if let Some(path) = path {
        // `*`, and targets that are no paths.
        if !path.starts_with('/') {
            url.push(' ');
        }
        url.push_str(&printable(&path));
    }
    if let Some(query) = query {
        url.push('?');
        url.push_str(&printable(&query));
    }
    host_len
}

fn status(status: Option<u16>) -> (String, Style) {
    let Some(status) = status else { return ("---".to_owned(), Style::new().dimmed()) };
    let colour = match status {
        ..200 => AnsiColor::Blue,
        200..300 => AnsiColor::Green,
        300..400 => AnsiColor::Cyan,
        400..500 => AnsiColor::Yellow,
        500.. => AnsiColor::Red,
    };
    let style = Style::new().fg_color(Some(colour.into()));
    (format!("{status:03}"), if status >= 500 { style.bold() } else { style })
}

fn duration(exchange: &Exchange) -> (String, Style) {
    let Some(nanos) = exchange.timing.total else { return ("-".to_owned(), Style::new()) };
    let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
    let style = match nanos {
        VERY_SLOW_NANOS.. => colour(AnsiColor::Red),
        SLOW_NANOS.. => colour(AnsiColor::Yellow),
        _ => Style::new(),
    };
    let doubt = if exchange.untrusted.any() { "~" } else { "" };
    (format!("{doubt}{}", ShortDuration { nanos }), style)
}

/// Bytes for people: `0 B`, `1.5 kB`, `20 MB`; units are powers of 1000.
fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["B", "kB", "MB", "GB", "TB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        // From here on it would be rounded to 1000.
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1000.0, next);
    }
    if unit != "B" && value < 9.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// `10:11:12.123`
const CLOCK_WIDTH: usize = 12;
/// Of most private addresses; longer ones widen the column.
const CLIENT_WIDTH: usize = 11;
/// On a terminal that is too narrow lines wrap rather than that they say nothing.
const MIN_URL_WIDTH: usize = 20;
/// People notice.
const SLOW_NANOS: u64 = 250_000_000;
/// People leave.
const VERY_SLOW_NANOS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use gannet_http::Untrusted;
    use gannet_record::RecordOptions;
    use proptest::prelude::*;

    use super::*;
    use crate::sample::{exchange, options};

    fn lines(width: Option<usize>) -> TextLines {
        let mut lines = TextLines::new(false, TimeZone::UTC);
        lines.set_width(width);
        lines
    }

    fn line(lines: &mut TextLines, exchange: &Exchange) -> String {
        let mut out = Vec::new();
        lines.write(&Record::new(exchange, &options()), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_stay_where_they_are() {
        let mut lines = lines(None);
        let whole = exchange(b"shop.example:8080", b"/users/42/orders?full=1&sig=secret", 200);
        let mut slow = exchange(b"[2001:db8::1]:80", b"/checkout", 503);
        slow.timing.total = Some(2_130_000_000);
        slow.untrusted = Untrusted { retransmitted: true, ..Untrusted::default() };
        let mut aborted = exchange(b"", b"*", 200);
        (aborted.response, aborted.timing.total, aborted.state) = (None, None, State::Aborted);
        let mut orphan = exchange(b"h", b"/", 408);
        (orphan.request, orphan.timing.total, orphan.state) = (None, None, State::OrphanResponse);
        let mut v6 = exchange(b"h", b"/", 200);
        v6.connection.client.address = "2001:db8::dead:beef".parse().unwrap();
        let text: String =
            [whole, slow, aborted, orphan, v6].iter().map(|exchange| line(&mut lines, exchange)).collect();
        let expected = "\
10:11:12.123  10.0.0.1     200   1.3 ms  4.2 kB  GET  shop.example:8080/users/42/orders?full=1&sig=REDACTED
10:11:12.123  10.0.0.1     503   ~2.1 s  4.2 kB  GET  [2001:db8::1]:80/checkout
10:11:12.123  10.0.0.1     ---        -       -  GET  10.0.0.2:8080 * [aborted]
10:11:12.124  10.0.0.1     408        -  4.2 kB  -    10.0.0.2:8080 [orphan-response]
10:11:12.123  2001:db8::dead:beef  200   1.3 ms  4.2 kB  GET  h/
";
        assert_eq!(text, expected);
    }

    #[test]
    fn colours_are_of_status_and_time() {
        let mut out = Vec::new();
        let mut slow = exchange(b"h", b"/", 503);
        slow.timing.total = Some(300_000_000);
        TextLines::new(true, TimeZone::UTC).write(&Record::new(&slow, &options()), &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("\x1b[1m\x1b[31m503\x1b[0m"), "{text:?}");
        assert!(text.contains("\x1b[33m   300 ms\x1b[0m"), "{text:?}");
    }

    #[test]
    fn sizes() {
        let cases = [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (9_949, "9.9 kB"), (9_950, "10 kB")];
        let more = [
            (999_499, "999 kB"),
            (999_500, "1.0 MB"),
            (1_500_000_000, "1.5 GB"),
            (999_499_999_999_999, "999 TB"),
        ];
        for (bytes, text) in cases.into_iter().chain(more) {
            assert_eq!(size(bytes), text);
        }
    }

    proptest! {
        /// Whatever comes over the wire: one line, no wider than the terminal, nothing but our own escapes.
        #[test]
        fn lines_are_harmless(
            host in proptest::collection::vec(any::<u8>(), 0..30), target in proptest::collection::vec(any::<u8>(), 0..120),
            text: String, width in 80..200_usize, redact: bool,
        ) {
            let options = RecordOptions { redact, ..options() };
            for target in [&target, text.as_bytes()] {
                let exchange = exchange(&host, target, 200);
                let mut out = Vec::new();
                lines(Some(width)).write(&Record::new(&exchange, &options), &mut out);
                let line = String::from_utf8(out).unwrap();
                let line = line.strip_suffix('\n').unwrap();
                prop_assert!(!line.chars().any(char::is_control), "{:?}", line);
                prop_assert!(columns(line.chars()) <= width, "{:?}", line);
            }
        }
    }
}
