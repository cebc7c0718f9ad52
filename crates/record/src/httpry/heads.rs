//! What is said of heads, made where their packets are: of each its text stays, not its bytes.

use gannet_flow::Moment;
use gannet_packet::{Endpoint, Timestamp};
use jiff::tz::TimeZone;

use super::fields::Values;
use super::lines::Line;
use super::{Fields, LocalTime, Methods, RawKind};

/// A head that an output in httpry's format tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawHead {
    /// The packet that let it be known: its place in the order of a run.
    pub now: Moment,
    /// The flow, where several are told of at one place; 0 for what a packet says by itself.
    pub flow: u64,
    /// The time of the packet with its first byte.
    pub time: Timestamp,
    /// Its line with the line end; where rates are wanted its host, or nothing.
    pub text: Box<[u8]>,
}

/// When a head was sent, and by whom to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Sent {
    pub time: Timestamp,
    pub source: Endpoint,
    pub destination: Endpoint,
}

/// Makes the texts of heads.
#[derive(Debug)]
pub struct HeadTexts {
    methods: Methods,
    fields: Fields,
    /// `None` for the host alone.
    times: Option<LocalTime>,
    values: Values,
    /// The text at hand.
    sheet: Vec<u8>,
}

impl HeadTexts {
    /// Lines of heads that begin like one of these methods, or like a response.
    pub fn of_lines(methods: Methods, fields: Fields, zone: TimeZone) -> Self {
        Self::new(methods, fields, Some(LocalTime::new(zone)))
    }

    /// The hosts of such heads.
    pub fn of_hosts(methods: Methods) -> Self {
        Self::new(methods, Fields::host(), None)
    }

    fn new(methods: Methods, fields: Fields, times: Option<LocalTime>) -> Self {
        Self { methods, fields, times, values: Values::default(), sheet: Vec::new() }
    }

    /// Whether a payload may begin like a head: if not, there is no text of it.
    #[inline]
    pub fn may_begin(&self, payload: &[u8]) -> bool {
        self.methods.may_begin(payload)
    }

    /// The text of a segment's payload, if that holds all of a head that there will be. `cut` says that the segment
    /// was longer than what was captured of it.
    pub fn of_segment(&mut self, payload: &[u8], cut: bool, sent: &Sent) -> Option<Box<[u8]>> {
        let kind = self.methods.judge(payload, cut, &self.fields, &mut self.values)?;
        Some(self.text(kind, payload, sent))
    }

    /// The text of a head whose bytes were in several segments; `None` if it gives no line.
    pub fn of_joined(&mut self, head: &[u8], sent: &Sent) -> Option<Box<[u8]>> {
        let kind = self.methods.judge_joined(head, &self.fields, &mut self.values)?;
        Some(self.text(kind, head, sent))
    }

    /// Out of the values that have been found.
    fn text(&mut self, kind: RawKind, head: &[u8], sent: &Sent) -> Box<[u8]> {
        let Self { fields, times, values, sheet, .. } = self;
        let Some(times) = times else { return values.of(0, head).into() };
        sheet.clear();
        Line { kind, fields, values, head, sent, time: times.text(sent.time) }.write(sheet);
        sheet.as_slice().into()
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::Offset;

    use super::*;

    fn sent() -> Sent {
        let end = |address: &str, port| Endpoint { address: address.parse().unwrap(), port };
        let (source, destination) = (end("192.0.2.1", 1_025), end("2001:db8::1", 80));
        Sent { time: Timestamp(1_700_000_000_999_999_999), source, destination }
    }

    #[test]
    fn a_line_of_every_field() {
        let names = [
            "timestamp",
            "source-ip",
            "source-port",
            "dest-ip",
            "dest-port",
            "direction",
            "method",
            "request-uri",
            "http-version",
            "status-code",
            "reason-phrase",
            "x",
        ];
        let zone = Offset::constant(-1).to_time_zone();
        let mut texts = HeadTexts::of_lines(Methods::default(), Fields::new(&names).unwrap(), zone);
        for (head, line) in [
            (
                "GET / HTTP/1.1\r\nX: \u{fc}\ty\r\nTimestamp: 1\r\nSource-Port: 2\r\n\r\n",
                "2023-11-14 21:13:20\t192.0.2.1\t1025\t2001:db8::1\t80\t>\tGET\t/\tHTTP/1.1\t-\t-\t\u{fc}\ty\n",
            ),
            (
                "HTTP/1.1 200 OK\r\nDirection: ^\r\n\r\n",
                "2023-11-14 21:13:20\t192.0.2.1\t1025\t2001:db8::1\t80\t^\t-\t-\tHTTP/1.1\t200\tOK\t-\n",
            ),
        ] {
            let text = texts.of_segment(head.as_bytes(), false, &sent());
            assert_eq!(text.as_deref(), Some(line.as_bytes()));
            assert_eq!(texts.of_joined(head.as_bytes(), &sent()), text);
        }
        assert_eq!(texts.of_segment(b"HTTP/1.1 200\r\n\r\n", false, &sent()), None);
    }

    #[test]
    fn hosts_and_what_has_none() {
        let mut texts = HeadTexts::of_hosts(Methods::default());
        let mut host = |head: &str| texts.of_segment(head.as_bytes(), false, &sent());
        assert_eq!(host("GET / HTTP/1.1\r\nHost: a\r\n\r\n").as_deref(), Some(b"a".as_slice()));
        assert_eq!(host("GET / HTTP/1.1\r\n\r\n").as_deref(), Some(b"".as_slice()));
        assert_eq!(host("PUSH / HTTP/1.1\r\n\r\n"), None);
    }
}
