//! A line for people.
//!
//! ```text
//! --- 2026-01-31
//! 10:11:12.123  10.0.0.7     200   1.3 ms  4.2 kB  GET  shop.example/users/42/orders?full=1
//! 10:11:12.371  10.0.0.9     503   ~2.1 s   120 B  POST shop.example/checkout
//! 10:11:12.502  10.0.0.7     ---        -       -  GET  shop.example/slow [aborted]
//! 10:11:13.001  10.0.0.7     >>>   0.2 ms    12 B  POST shop.example/cart [request]
//! 10:11:13.001  10.0.0.7     ...    5.0 s       -  POST shop.example/cart [pending]
//! ```
//!
//! What varies in length comes last, so that columns stay where they are; there is no heading, as with tcpdump. The
//! time of day is local; a line of its own says the date, in front of the first record of an output and of each that
//! begins on another day than the one before. Whoever watches live knows what day it is. The duration is that of the
//! whole exchange, with a `~` if it is not to be trusted. On a terminal the URL is cut in its middle to fit the line;
//! elsewhere nothing is cut. Nothing on the wire can send an escape sequence to a terminal: see
//! [`gannet_record::printable`].

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use gannet_http::{Exchange, State};
use gannet_packet::{Endpoint, Timestamp};
use gannet_record::{
    EventRecord, LocalTime, Record, ShortDuration, columns, printable, shortened, write_address,
    write_rounded,
};
use jiff::tz::TimeZone;

/// Makes lines.
pub(crate) struct TextLines {
    colour: bool,
    times: LocalTime,
    live: bool,
    /// The date that was said last.
    date: Option<[u8; DATE_WIDTH]>,
    /// Columns of the terminal.
    width: Option<usize>,
    /// The widest client so far: a long address makes the column wider once, not line by line.
    client_width: usize,
    cells: Cells,
}

/// What is in a line besides time and method; reused from line to line.
#[derive(Default)]
struct Cells {
    client: String,
    status: String,
    duration: String,
    size: String,
    url: String,
    /// How many bytes of it are the host and port.
    host_len: usize,
    tag: String,
}

impl TextLines {
    pub(crate) fn new(colour: bool, zone: TimeZone, live: bool) -> Self {
        Self {
            colour,
            times: LocalTime::new(zone),
            live,
            date: None,
            width: None,
            client_width: CLIENT_WIDTH,
            cells: Cells::default(),
        }
    }

    /// A file begins.
    pub(crate) fn begin(&mut self) {
        self.date = None;
    }

    /// `None`: lines are not cut.
    pub(crate) fn set_width(&mut self, width: Option<usize>) {
        self.width = width;
    }

    /// Appends the line of `record`.
    pub(crate) fn write(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        let exchange = record.exchange();
        let mut cells = Cells::cleared(&mut self.cells, exchange.connection.client);
        let styles = Styles {
            status: write_status(record.status(), &mut cells.status),
            duration: write_duration(exchange, &mut cells.duration),
            tag: Style::new().fg_color(Some(AnsiColor::Red.into())),
        };
        match &exchange.response {
            Some(response) => write_size(response.body_bytes, &mut cells.size),
            None => cells.size.push('-'),
        }
        if exchange.state != State::Complete {
            cells.tag.extend([" [", exchange.state.name()]);
            // Of a request it is the next thing that is looked at, of an answer alone nothing else tells.
            if exchange.state == State::OrphanResponse {
                cells.tag.extend([", ", exchange.reason.name()]);
            }
            cells.tag.push(']');
        }
        let server = exchange.connection.server;
        cells.write_url(record.authority(), record.path(), record.query(), server);
        self.line(record.timestamp(), record.method(), styles, cells, out);
    }

    /// Appends the line of an event: what is known is in its column, and the tag says what it is.
    pub(crate) fn write_event(&mut self, record: &EventRecord<'_>, out: &mut Vec<u8>) {
        let connection = record.connection();
        let mut cells = Cells::cleared(&mut self.cells, connection.client);
        let status = match (record.status(), record.event()) {
            (None, "pending") => {
                cells.status.push_str("...");
                Style::new().fg_color(Some(AnsiColor::Yellow.into()))
            }
            (None, "request") => {
                cells.status.push_str(">>>");
                Style::new().dimmed()
            }
            (known, _) => write_status(known, &mut cells.status),
        };
        // A message in one packet took no time that could be measured.
        match record.duration_ns().filter(|nanos| *nanos != 0) {
            Some(nanos) => ShortDuration { nanos }.write(&mut cells.duration),
            None => cells.duration.push('-'),
        }
        match record.body_bytes() {
            Some(bytes) => write_size(bytes, &mut cells.size),
            None => cells.size.push('-'),
        }
        let cut = if record.complete() == Some(false) { ", cut off" } else { "" };
        cells.tag.extend([" [", record.event(), cut, "]"]);
        cells.write_url(record.authority(), record.path(), record.query(), connection.server);
        let styles = Styles { status, duration: Style::new(), tag: Style::new().dimmed() };
        self.line(record.timestamp(), record.method(), styles, cells, out);
    }

    /// Appends a line, and takes its cells back.
    fn line(
        &mut self,
        time: Timestamp,
        method: Option<Cow<'_, str>>,
        styles: Styles,
        cells: Cells,
        out: &mut Vec<u8>,
    ) {
        let method = method.unwrap_or("-".into());
        let method = printable(&method);
        self.client_width = self.client_width.max(cells.client.len());
        self.say_date(time, out);
        let clock = self.clock(time);
        self.put(out, Style::new().dimmed(), |out| out.extend_from_slice(&clock));
        out.extend_from_slice(b"  ");
        pad(&cells.client, self.client_width, Side::Behind, out);
        out.extend_from_slice(b"  ");
        self.put(out, styles.status, |out| out.extend_from_slice(cells.status.as_bytes()));
        self.put(out, styles.duration, |out| {
            out.extend_from_slice(b"  ");
            pad(&cells.duration, DURATION_WIDTH, Side::Before, out);
        });
        out.extend_from_slice(b"  ");
        pad(&cells.size, SIZE_WIDTH, Side::Before, out);
        out.extend_from_slice(b"  ");
        let method_width = pad(&method, METHOD_WIDTH, Side::Behind, out);
        out.push(b' ');
        let url = match self.width {
            None => Cow::Borrowed(cells.url.as_str()),
            Some(width) => {
                let used =
                    CLOCK_WIDTH + 2 + self.client_width + 2 + 3 + 2 + DURATION_WIDTH + 2 + SIZE_WIDTH + 2;
                let used = used + method_width + 1 + cells.tag.len();
                cells.url_in(width.saturating_sub(used).max(MIN_URL_WIDTH))
            }
        };
        out.extend_from_slice(url.as_bytes());
        if !cells.tag.is_empty() {
            self.put(out, styles.tag, |out| out.extend_from_slice(cells.tag.as_bytes()));
        }
        out.push(b'\n');
        drop(url);
        self.cells = cells;
    }

    /// Appends the line of the date, if it is another than the last.
    fn say_date(&mut self, stamp: Timestamp, out: &mut Vec<u8>) {
        let Some(&date) = self.times.text(stamp).first_chunk() else { return };
        let known = self.date.replace(date);
        let is_today = known.is_none() && self.live && self.width.is_some();
        if known != Some(date) && !is_today {
            self.put(out, Style::new().dimmed(), |out| {
                out.extend_from_slice(b"--- ");
                out.extend_from_slice(&date);
            });
            out.push(b'\n');
        }
    }

    /// The time of day to the millisecond.
    fn clock(&mut self, stamp: Timestamp) -> [u8; CLOCK_WIDTH] {
        let mut clock = *b"00:00:00.000";
        // Behind the date.
        if let (Some(seconds), Some(time)) =
            (clock.first_chunk_mut::<8>(), self.times.text(stamp).last_chunk())
        {
            *seconds = *time;
        }
        let mut millis = stamp.subsec_nanos() / 1_000_000;
        for digit in clock.iter_mut().rev().take(3) {
            *digit = b'0' + (millis % 10) as u8;
            millis /= 10;
        }
        clock
    }

    /// Appends what `text` appends, in a style.
    fn put(&self, out: &mut Vec<u8>, style: Style, text: impl FnOnce(&mut Vec<u8>)) {
        if !self.colour || style == Style::new() {
            return text(out);
        }
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{style}");
        text(out);
        let _ = write!(out, "{style:#}");
    }
}

impl Cells {
    /// Those of the line before, empty but for the client.
    fn cleared(last: &mut Self, client: Endpoint) -> Self {
        let mut cells = std::mem::take(last);
        let Self { client: address, status, duration, size, url, host_len: _, tag } = &mut cells;
        [&mut *address, status, duration, size, url, tag].into_iter().for_each(String::clear);
        write_address(client.address, address);
        cells
    }

    /// The URL in so many columns: of a long one the host is cut first, which many lines share, and of the path the
    /// beginning.
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

    /// Host, port if it was asked for, path and query; the server if there is no request.
    fn write_url(
        &mut self,
        authority: Option<Cow<'_, str>>,
        path: Option<Cow<'_, str>>,
        query: Option<Cow<'_, str>>,
        server: Endpoint,
    ) {
        let url = &mut self.url;
        match authority {
            Some(authority) => url.push_str(&printable(&authority)),
            None => {
                // Writing to a String cannot fail.
                let _ = write!(url, "{}", std::net::SocketAddr::new(server.address, server.port));
            }
        }
        self.host_len = url.len();
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
    }
}

/// The styles of the cells that have one.
#[derive(Clone, Copy)]
struct Styles {
    status: Style,
    duration: Style,
    tag: Style,
}

/// Where a cell is filled up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    Behind,
}

/// Appends `text`, filled up with blanks to so many characters. How many there are.
fn pad(text: &str, width: usize, side: Side, out: &mut Vec<u8>) -> usize {
    let chars = text.chars().count();
    let blanks = std::iter::repeat_n(b' ', width.saturating_sub(chars));
    if side == Side::Before {
        out.extend(blanks.clone());
    }
    out.extend_from_slice(text.as_bytes());
    if side == Side::Behind {
        out.extend(blanks);
    }
    chars.max(width)
}

fn write_status(status: Option<u16>, out: &mut String) -> Style {
    let Some(status) = status else {
        out.push_str("---");
        return Style::new().dimmed();
    };
    let digit = |value: u16| char::from(b'0' + (value % 10) as u8);
    // They have three digits: HTTP's parser takes nothing else for one.
    out.extend([digit(status / 100), digit(status / 10), digit(status)]);
    let colour = match status {
        ..200 => AnsiColor::Blue,
        200..300 => AnsiColor::Green,
        300..400 => AnsiColor::Cyan,
        400..500 => AnsiColor::Yellow,
        500.. => AnsiColor::Red,
    };
    let style = Style::new().fg_color(Some(colour.into()));
    if status >= 500 { style.bold() } else { style }
}

fn write_duration(exchange: &Exchange, out: &mut String) -> Style {
    let Some(nanos) = exchange.timing.total else {
        out.push('-');
        return Style::new();
    };
    if exchange.untrusted.any() {
        out.push('~');
    }
    ShortDuration { nanos }.write(out);
    let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
    match nanos {
        VERY_SLOW_NANOS.. => colour(AnsiColor::Red),
        SLOW_NANOS.. => colour(AnsiColor::Yellow),
        _ => Style::new(),
    }
}

/// Bytes for people: `0 B`, `1.5 kB`, `20 MB`; units are powers of 1000.
fn write_size(bytes: u64, out: &mut String) {
    let mut value = 1_u64;
    let mut units = ["B", "kB", "MB", "GB", "TB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        // From here on it would be rounded to 1000.
        if u128::from(bytes) * 10 < u128::from(value) * 9_995 {
            break;
        }
        (value, unit) = (value * 1000, next);
    }
    write_rounded(bytes, value, out);
    out.push(' ');
    out.push_str(unit);
}

/// `2026-01-31`
const DATE_WIDTH: usize = 10;
/// `10:11:12.123`
const CLOCK_WIDTH: usize = 12;
/// Of most private addresses; longer ones widen the column.
const CLIENT_WIDTH: usize = 11;
/// `999 min`, with a doubt or not.
const DURATION_WIDTH: usize = 7;
/// `999 kB`
const SIZE_WIDTH: usize = 6;
/// Of the usual methods.
const METHOD_WIDTH: usize = 4;
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
        let mut lines = TextLines::new(false, TimeZone::UTC, false);
        lines.set_width(width);
        // The sample's, which tests of lines need not say.
        lines.date = Some(*b"2026-11-21");
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
10:11:12.124  10.0.0.1     408        -  4.2 kB  -    10.0.0.2:8080 [orphan-response, framing]
10:11:12.123  2001:db8::dead:beef  200   1.3 ms  4.2 kB  GET  h/
";
        assert_eq!(text, expected);
    }

    /// Times without a date said nothing about captures of other days.
    #[test]
    fn the_date_is_said_when_it_is_another() {
        let day = 24 * 3600 * 1_000_000_000;
        let at = |days: u64| {
            let mut exchange = exchange(b"h", b"/", 200);
            if let Some(request) = &mut exchange.request {
                request.first.0 += days * day;
            }
            exchange
        };
        for (live, width, first) in [
            (false, None, true),
            (false, Some(120), true),
            (true, None, true),
            // Somebody watches it.
            (true, Some(120), false),
        ] {
            let mut lines = TextLines::new(false, TimeZone::UTC, live);
            lines.set_width(width);
            let mut next = |days| line(&mut lines, &at(days)).lines().next().unwrap().to_owned();
            assert_eq!(next(0) == "--- 2026-11-21", first, "{live} {width:?}");
            assert!(next(0).starts_with("10:11:12.123 "));
            assert_eq!(next(1), "--- 2026-11-22");
            assert!(next(1).starts_with("10:11:12.123 "));
            // A long exchange that began before midnight.
            assert_eq!(next(0), "--- 2026-11-21");
            lines.begin();
            assert_eq!(line(&mut lines, &at(0)).starts_with("--- 2026-11-21\n"), first);
        }
    }

    #[test]
    fn colours_are_of_status_and_time() {
        let mut out = Vec::new();
        let mut slow = exchange(b"h", b"/", 503);
        slow.timing.total = Some(300_000_000);
        TextLines::new(true, TimeZone::UTC, true).write(&Record::new(&slow, &options()), &mut out);
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
            let mut out = String::new();
            write_size(bytes, &mut out);
            assert_eq!(out, text);
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
