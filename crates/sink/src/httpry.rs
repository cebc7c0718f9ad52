//! Outputs in httpry's format: a line for each head, or how many messages a second each host gets.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::{Duration, Instant, SystemTime};

use gannet_packet::Timestamp;
use gannet_record::{
    Fields, HeadTexts, Methods, Rates, RawHead, printable, wire_text, write_httpry_comments,
};
use jiff::tz::TimeZone;

use crate::Target;

/// What these outputs show, all of a run alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpryOptions {
    /// The fields of a line.
    pub fields: Fields,
    /// Rates instead of lines.
    pub rates: Option<RateOptions>,
    /// The output ends after so many lines.
    pub limit: Option<NonZeroU64>,
}

/// When rates are written, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateOptions {
    /// Live, how often; of files they are written once, at the end.
    pub every: Duration,
    /// Hosts with fewer messages a second are left out.
    pub threshold: NonZeroU32,
}

impl HttpryOptions {
    /// What makes of heads what these outputs take.
    pub fn texts(&self, methods: &Methods) -> HeadTexts {
        match self.rates {
            None => HeadTexts::of_lines(methods.clone(), self.fields.clone(), TimeZone::system()),
            Some(_) => HeadTexts::of_hosts(methods.clone()),
        }
    }
}

/// The text of one output.
pub(crate) struct HttpryText {
    what: What,
    comments: bool,
    /// For a person's eyes only: nothing from the wire may reach the terminal as it is.
    terminal: bool,
    left: Option<u64>,
}

enum What {
    Lines(Fields),
    Rates {
        rates: Box<Rates>,
        /// The next time, and how long from one to the next; `None` for files.
        timer: Option<(Instant, Duration)>,
    },
}

impl HttpryText {
    pub(crate) fn new(options: &HttpryOptions, target: &Target, live: bool, zone: TimeZone) -> Self {
        let what = match options.rates {
            None => What::Lines(options.fields.clone()),
            Some(RateOptions { every, threshold }) => {
                let timer = live.then(|| (Instant::now() + every, every));
                What::Rates { rates: Box::new(Rates::new(threshold.get(), zone)), timer }
            }
        };
        let comments = matches!(target, Target::File(_));
        Self { what, comments, terminal: false, left: options.limit.map(NonZeroU64::get) }
    }

    /// Whether what is written goes to a terminal.
    pub(crate) fn set_terminal(&mut self, terminal: bool) {
        self.terminal = terminal;
    }

    /// Appends what a file gets each time it is opened, behind what it has already; standard output gets nothing.
    pub(crate) fn begin(&self, out: &mut Vec<u8>) {
        if !self.comments {
            return;
        }
        let fields = match &self.what {
            What::Lines(fields) => fields,
            What::Rates { rates, .. } => rates.fields(),
        };
        write_httpry_comments(fields, out);
    }

    /// Appends what there is to say of a head.
    pub(crate) fn write(&mut self, head: &RawHead, out: &mut Vec<u8>) {
        let start = out.len();
        match &mut self.what {
            What::Lines(_) => out.extend_from_slice(&head.text),
            What::Rates { rates, .. } => rates.add(head.time, &head.text),
        }
        self.make_harmless(start, out);
        self.left = self.left.map(|left| left.saturating_sub(1));
    }

    /// As many heads as asked for have been taken.
    pub(crate) fn is_enough(&self) -> bool {
        self.left == Some(0)
    }

    /// Messages of hosts that there was no room for.
    pub(crate) fn hosts_beyond(&self) -> u64 {
        match &self.what {
            What::Lines(_) => 0,
            What::Rates { rates, .. } => rates.beyond(),
        }
    }

    /// When there is something to write whatever comes.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.what {
            What::Rates { timer: Some((next, _)), .. } => Some(next),
            _ => None,
        }
    }

    /// Appends what is due.
    pub(crate) fn tick(&mut self, out: &mut Vec<u8>) {
        let What::Rates { rates, timer: Some((next, every)) } = &mut self.what else { return };
        let now = Instant::now();
        if *next > now {
            return;
        }
        // A thread that was held up does not make up for what it missed.
        *next = (*next + *every).max(now);
        let start = out.len();
        rates.write(system_time(), out);
        self.make_harmless(start, out);
    }

    /// Appends what is left to say before the file is closed.
    pub(crate) fn end(&mut self, out: &mut Vec<u8>) {
        if let What::Rates { rates, timer } = &mut self.what {
            let now = if timer.is_some() { system_time() } else { rates.newest() };
            let start = out.len();
            rates.write(now, out);
            rates.clear();
            self.make_harmless(start, out);
        }
    }

    /// On a terminal, shows control characters as `\x1b` in the lines from `start` on, but for line ends and the TABs
    /// between values.
    fn make_harmless(&self, start: usize, out: &mut Vec<u8>) {
        if !self.terminal {
            return;
        }
        let lines = out.split_off(start);
        for piece in lines.split_inclusive(|&byte| byte == b'\n' || byte == b'\t') {
            let (text, end) = match piece.split_last() {
                Some((end @ (b'\n' | b'\t'), text)) => (text, Some(*end)),
                _ => (piece, None),
            };
            out.extend_from_slice(printable(&wire_text(text)).as_bytes());
            out.extend(end);
        }
    }
}

fn system_time() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use gannet_flow::Moment;

    use super::*;

    fn head(text: &[u8]) -> RawHead {
        let time = Timestamp(1_000_000_000);
        RawHead { now: Moment { time, position: 0 }, flow: 0, time, text: text.into() }
    }

    fn rates(every: Duration) -> HttpryOptions {
        let threshold = NonZeroU32::MIN;
        HttpryOptions { rates: Some(RateOptions { every, threshold }), ..HttpryOptions::default() }
    }

    #[test]
    fn hosts_without_room_are_counted() {
        let mut text = HttpryText::new(&rates(Duration::from_secs(1)), &Target::Stdout, false, TimeZone::UTC);
        let mut out = Vec::new();
        for number in 0..131_080 {
            text.write(&head(number.to_string().as_bytes()), &mut out);
        }
        assert!(out.is_empty() && text.deadline().is_none());
        assert_eq!(text.hosts_beyond(), 8);
    }

    #[test]
    fn a_terminal_gets_no_control_characters() {
        let options = HttpryOptions::default();
        let shown = b"a\\x1b[31m\\x07\\xFF\tGET\n".as_slice();
        let sent = b"a\x1b[31m\x07\xff\tGET\n".as_slice();
        for (terminal, expected) in [(true, shown), (false, sent)] {
            let mut text = HttpryText::new(&options, &Target::Stdout, false, TimeZone::UTC);
            text.set_terminal(terminal);
            let mut out = Vec::new();
            text.write(&head(sent), &mut out);
            assert_eq!(out, expected, "{}", out.escape_ascii());
        }
    }

    #[test]
    fn live_rates_have_a_deadline() {
        let every = Duration::from_secs(3_600);
        let mut text = HttpryText::new(&rates(every), &Target::File("f".into()), true, TimeZone::UTC);
        let first = text.deadline().unwrap();
        let mut out = Vec::new();
        text.tick(&mut out);
        assert!(out.is_empty() && text.deadline() == Some(first), "it is not due");
        text.end(&mut out);
        assert!(out.ends_with(b"\ttotals\t0.00 rps\n"), "{}", out.escape_ascii());
        out.clear();
        let mut due = HttpryText::new(&rates(Duration::ZERO), &Target::Stdout, true, TimeZone::UTC);
        due.tick(&mut out);
        assert!(!out.is_empty());
    }

    #[test]
    fn enough_is_enough() {
        let options = HttpryOptions { limit: NonZeroU64::new(2), ..HttpryOptions::default() };
        let mut text = HttpryText::new(&options, &Target::Stdout, false, TimeZone::UTC);
        let mut out = Vec::new();
        text.begin(&mut out);
        text.write(&head(b"a\n"), &mut out);
        assert!(!text.is_enough());
        text.write(&head(b"b\n"), &mut out);
        assert!(text.is_enough());
        text.end(&mut out);
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 2);
        HttpryText::new(&options, &Target::File("f".into()), false, TimeZone::UTC).begin(&mut out);
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 4);
    }
}
