//! Latency histograms by route.
//!
//! ```text
//!   Exchange ──► method, route ──► Cell ─┬─ counts: all, errors, 4xx, left out
//!                (at most 1,000)         └─ times: a short list, from 32 samples on an HDR histogram
//! ```
//!
//! What is measured is `timing.total`: request's first byte to response's last. Only complete exchanges whose times are to
//! be trusted enter the histograms; the others are counted with the reason. Tunnels (101, CONNECT) live as long as their
//! users like, which says nothing of the server: counted, too, but not measured.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use gannet_http::{Exchange, State};
use hdrhistogram::Histogram;
use rustc_hash::FxSeededState;

use crate::record::{OTHER_METHOD, known_method, started};
use crate::summary::{LeftOut, Scale, Summary, SummaryRow};
use crate::url::Url;
use crate::{Routes, wire_text};

/// One worker's histograms: one for each method and route. Merged at the end.
///
/// The result does not depend on how exchanges are spread over workers nor on their order, as long as no worker meets more
/// than [`MAX_KEYS`] routes: then it depends on which of them a worker met first.
pub struct Latencies {
    routes: Routes,
    /// Where the cell of a method and route is. The key is both with a blank between: looked up without making one.
    places: HashMap<Box<str>, usize, FxSeededState>,
    cells: Vec<Cell>,
    /// Where keys are written before they are looked up.
    key: String,
    left_out: [u64; Reason::ALL.len()],
    /// Nanoseconds since the epoch: the first byte of all, and the last.
    span: Option<(u64, u64)>,
}

/// How many pairs of method and route have a histogram of their own; those that come later share one for each method. A
/// busy histogram has 28 KB, so that a worker needs 28 MB at most. More routes than these nobody reads.
pub const MAX_KEYS: usize = 1_000;

impl Latencies {
    /// Empty; `routes` says which route an exchange belongs to.
    pub fn new(routes: Routes) -> Self {
        Self {
            routes,
            // Paths are a stranger's: what they hash to shall be hard to guess. The bound on keys does the rest.
            places: HashMap::with_hasher(FxSeededState::with_seed(RandomState::new().hash_one(0) as usize)),
            cells: Vec::new(),
            key: String::new(),
            left_out: Default::default(),
            span: None,
        }
    }

    /// Adds an exchange.
    pub fn add(&mut self, exchange: &Exchange) {
        let last = exchange.response.as_ref().or(exchange.request.as_ref()).map(|message| message.last);
        let first = started(exchange);
        self.extend_span((first.0, last.unwrap_or(first).max(first).0));
        let method_len = self.write_key(exchange);
        let total = match Reason::of(exchange) {
            Ok(total) => Some(total),
            Err(reason) => {
                self.left_out[reason as usize] += 1;
                None
            }
        };
        self.cell(method_len).add(exchange, total);
    }

    /// Adds another worker's.
    pub fn merge(&mut self, other: &Self) {
        for (key, theirs) in &other.places {
            let place = self.place(key);
            self.cells[place].merge(&other.cells[*theirs]);
        }
        for (ours, theirs) in self.left_out.iter_mut().zip(other.left_out) {
            *ours += theirs;
        }
        if let Some(span) = other.span {
            self.extend_span(span);
        }
    }

    /// The table, busiest routes first.
    pub fn summary(&self) -> Summary {
        let mut total = Cell::default();
        for cell in &self.cells {
            total.merge(cell);
        }
        let span_ns = self.span.map_or(0, |(first, last)| last - first);
        // A single exchange spans its own duration, which says nothing of a rate; nor do a few at once.
        let rate_span = Some(span_ns).filter(|span| *span >= MIN_RATE_SPAN_NANOS && total.count > 1);
        let scale = total.times.range().map(|(min, max)| Scale::new(min, max));
        let mut rows: Vec<_> = self
            .places
            .iter()
            .map(|(key, place)| {
                let (method, route) = key.split_once(' ').unwrap_or((key, ""));
                self.cells[*place].row(method, route, rate_span, scale)
            })
            .collect();
        rows.sort_by(|a, b| {
            (b.count.cmp(&a.count)).then_with(|| (&a.route, &a.method).cmp(&(&b.route, &b.method)))
        });
        let left_out = Reason::ALL
            .into_iter()
            .map(|reason| LeftOut { reason: reason.name(), count: self.left_out[reason as usize] })
            .filter(|left_out| left_out.count > 0)
            .collect();
        Summary { rows, total: total.row("", "", rate_span, scale), span_ns, left_out, scale }
    }

    fn extend_span(&mut self, (first, last): (u64, u64)) {
        let (a, b) = self.span.unwrap_or((first, last));
        self.span = Some((a.min(first), b.max(last)));
    }

    /// Writes the key of `exchange`; returns the length of the method in it.
    fn write_key(&mut self, exchange: &Exchange) -> usize {
        self.key.clear();
        let Some(request) = &exchange.request else {
            self.key.push_str("- (no request)");
            return 1;
        };
        // A method is one of a few here and holds no blank: it must not make keys without end.
        let method = known_method(request.head.method()).unwrap_or(OTHER_METHOD);
        self.key.push_str(method);
        self.key.push(' ');
        match Url::of_target(&request.head).path {
            Some(path) => self.routes.write(&wire_text(path), &mut self.key),
            None => self.key.push_str("(authority)"),
        }
        method.len()
    }

    /// The cell of the key just written, whose first `method_len` bytes are the method.
    fn cell(&mut self, method_len: usize) -> &mut Cell {
        let place = match self.places.get(self.key.as_str()) {
            Some(place) => *place,
            None => {
                if self.cells.len() >= MAX_KEYS {
                    self.key.truncate(method_len);
                    self.key.push_str(OTHER_ROUTE);
                }
                let key = std::mem::take(&mut self.key);
                let place = self.place(&key);
                self.key = key;
                place
            }
        };
        &mut self.cells[place]
    }

    /// Where the cell of `key` is: an index of `cells`. Made if there is none.
    fn place(&mut self, key: &str) -> usize {
        if let Some(place) = self.places.get(key) {
            return *place;
        }
        self.cells.push(Cell::default());
        self.places.insert(key.into(), self.cells.len() - 1);
        self.cells.len() - 1
    }
}

/// What is known of a method and route.
#[derive(Clone, Default)]
struct Cell {
    count: u64,
    /// Those that [`is_error`] says are.
    errors: u64,
    /// Status 4xx of the others.
    client_errors: u64,
    times: Times,
}

impl Cell {
    /// `total`: the duration to be measured, if it is.
    fn add(&mut self, exchange: &Exchange, total: Option<u64>) {
        self.count += 1;
        let status = exchange.response.as_ref().and_then(|response| response.head.status());
        if is_error(exchange.state, status) {
            self.errors += 1;
        } else if matches!(status, Some(400..=499)) {
            self.client_errors += 1;
        }
        if let Some(total) = total {
            self.times.add(total);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.errors += other.errors;
        self.client_errors += other.client_errors;
        self.times.merge(&other.times);
    }

    fn row(&self, method: &str, route: &str, rate_span: Option<u64>, scale: Option<Scale>) -> SummaryRow {
        let histogram = self.times.histogram();
        let range = self.times.range();
        // The histogram answers with the upper end of a step, which may lie above the longest duration.
        let quantile = |quantile| {
            let (histogram, (_, max)) = (histogram.as_ref()?, range?);
            Some(histogram.value_at_quantile(quantile).min(max))
        };
        let mut distribution = Vec::new();
        if let (Some(histogram), Some(scale)) = (&histogram, scale) {
            distribution.resize(Scale::BUCKETS, 0);
            for step in histogram.iter_recorded() {
                let bucket = scale.bucket(histogram.median_equivalent(step.value_iterated_to()));
                distribution[bucket] += step.count_at_value();
            }
        }
        SummaryRow {
            method: method.to_owned(),
            route: route.to_owned(),
            count: self.count,
            rate_per_s: rate_span.map(|nanos| self.count as f64 / (nanos as f64 / 1e9)),
            errors: self.errors,
            client_errors: self.client_errors,
            measured: histogram.as_ref().map_or(0, |histogram| histogram.len()),
            p50_ns: quantile(0.5),
            p90_ns: quantile(0.9),
            p99_ns: quantile(0.99),
            p999_ns: quantile(0.999),
            max_ns: range.map(|(_, max)| max),
            distribution,
        }
    }
}

/// Whether something went wrong at the server's end: it said so, reset the connection, or ended it without an answer. That
/// an answer was not captured says nothing of the server.
fn is_error(state: State, status: Option<u16>) -> bool {
    matches!(status, Some(500..)) || matches!(state, State::Aborted | State::OrphanRequest)
}

/// Durations in nanoseconds: a list while there are few, as with the routes that a scanner makes up.
#[derive(Clone)]
enum Times {
    Few(Vec<u64>),
    Many { histogram: Box<Histogram<u64>>, min: u64, max: u64 },
}

impl Default for Times {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Times {
    fn add(&mut self, nanos: u64) {
        match self {
            Self::Many { histogram, min, max } => {
                histogram.saturating_record(nanos);
                (*min, *max) = (nanos.min(*min), nanos.max(*max));
            }
            Self::Few(list) => {
                list.push(nanos);
                if list.len() >= FEW
                    && let Some(many) = Self::many(list)
                {
                    *self = many;
                }
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        match other {
            Self::Few(list) => list.iter().for_each(|nanos| self.add(*nanos)),
            Self::Many { histogram: theirs, min: their_min, max: their_max } => match self {
                Self::Many { histogram, min, max } => {
                    // Both have the same bounds, so that there is nothing that could not be added.
                    let _ = histogram.add(theirs.as_ref());
                    (*min, *max) = ((*min).min(*their_min), (*max).max(*their_max));
                }
                Self::Few(list) => {
                    let list = std::mem::take(list);
                    *self = other.clone();
                    list.into_iter().for_each(|nanos| self.add(nanos));
                }
            },
        }
    }

    /// `None` if there are no times.
    fn histogram(&self) -> Option<std::borrow::Cow<'_, Histogram<u64>>> {
        use std::borrow::Cow;
        match self {
            Self::Few(list) if list.is_empty() => None,
            Self::Few(list) => match Self::many(list) {
                Some(Self::Many { histogram, .. }) => Some(Cow::Owned(*histogram)),
                _ => None,
            },
            Self::Many { histogram, .. } => Some(Cow::Borrowed(histogram)),
        }
    }

    /// The shortest and the longest, exactly.
    fn range(&self) -> Option<(u64, u64)> {
        match self {
            Self::Few(list) => list.iter().copied().min().zip(list.iter().copied().max()),
            Self::Many { min, max, .. } => Some((*min, *max)),
        }
    }

    fn many(list: &[u64]) -> Option<Self> {
        // The bounds are constants that the constructor takes; if it did not, times would stay in the list.
        let mut histogram =
            Box::new(Histogram::new_with_bounds(MIN_NANOS, MAX_NANOS, SIGNIFICANT_DIGITS).ok()?);
        list.iter().for_each(|nanos| histogram.saturating_record(*nanos));
        let range = list.iter().copied().min().zip(list.iter().copied().max());
        let (min, max) = range?;
        Some(Self::Many { histogram, min, max })
    }
}

/// Why an exchange is not in the percentiles. If several apply, the first of [`Reason::ALL`].
#[derive(Clone, Copy)]
enum Reason {
    Tunnel,
    Aborted,
    Unanswered,
    OrphanResponse,
    Truncated,
    Gap,
    Midstream,
    Retransmitted,
    EarlyAnswer,
    Pairing,
}

impl Reason {
    const ALL: [Self; 10] = [
        Self::Tunnel,
        Self::Aborted,
        Self::Unanswered,
        Self::OrphanResponse,
        Self::Truncated,
        Self::Gap,
        Self::Midstream,
        Self::Retransmitted,
        Self::EarlyAnswer,
        Self::Pairing,
    ];

    /// The duration to be measured, or why there is none.
    fn of(exchange: &Exchange) -> Result<u64, Self> {
        let status = exchange.response.as_ref().and_then(|response| response.head.status());
        let connect = exchange.request.as_ref().is_some_and(|request| request.head.method() == b"CONNECT");
        let untrusted = exchange.untrusted;
        Err(match (exchange.state, status) {
            (_, Some(101)) => Self::Tunnel,
            (_, Some(200..=299)) if connect => Self::Tunnel,
            (State::Aborted, _) => Self::Aborted,
            (State::OrphanRequest, _) => Self::Unanswered,
            (State::OrphanResponse, _) => Self::OrphanResponse,
            (State::Truncated, _) => Self::Truncated,
            (State::Gap, _) => Self::Gap,
            (State::Midstream, _) => Self::Midstream,
            (State::Complete, _) if untrusted.gap => Self::Gap,
            (State::Complete, _) if untrusted.midstream => Self::Midstream,
            (State::Complete, _) if untrusted.retransmitted => Self::Retransmitted,
            (State::Complete, _) if untrusted.early_answer => Self::EarlyAnswer,
            (State::Complete, _) if untrusted.pairing => Self::Pairing,
            (State::Complete, _) => return exchange.timing.total.ok_or(Self::Truncated),
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tunnel => "tunnel",
            Self::Aborted => "aborted",
            Self::Unanswered => "unanswered",
            Self::OrphanResponse => "without request",
            Self::Truncated => "truncated",
            Self::Gap => "gap",
            Self::Midstream => "midstream",
            Self::Retransmitted => "retransmitted",
            Self::EarlyAnswer => "answered early",
            Self::Pairing => "pairing uncertain",
        }
    }
}

/// The route of those beyond [`MAX_KEYS`].
const OTHER_ROUTE: &str = " (other)";

/// From 32 times on a histogram, of which there are 3,456 counters of 8 bytes, costs less than the list would grow to.
const FEW: usize = 32;

/// No rate per second without a second.
const MIN_RATE_SPAN_NANOS: u64 = 1_000_000_000;

/// Below a microsecond a capture's clock says little; an hour is longer than any client waits. Both ends saturate.
const MIN_NANOS: u64 = 1_000;
const MAX_NANOS: u64 = 3_600_000_000_000;
/// An error of at most 1 %. Three digits would take eight times the memory.
const SIGNIFICANT_DIGITS: u8 = 2;

#[cfg(test)]
mod tests {
    use gannet_http::Untrusted;
    use proptest::prelude::*;

    use super::*;
    use crate::sample::{exchange, exchange_of, head, message, request};

    /// An exchange that took `total` nanoseconds.
    fn timed(method: &str, path: &str, status: u16, total: u64) -> Exchange {
        let response = head(format!("HTTP/1.1 {status} X").as_bytes(), &[]);
        let mut exchange = exchange(request(&format!("{method} {path} HTTP/1.1"), &[]), response);
        exchange.timing.total = Some(total);
        exchange
    }

    fn latencies(exchanges: &[Exchange]) -> Latencies {
        let mut latencies = Latencies::new(Routes::default());
        exchanges.iter().for_each(|exchange| latencies.add(exchange));
        latencies
    }

    #[test]
    fn routes_are_counted_apart() {
        let mut unanswered = timed("GET", "/a/1", 200, 0);
        (unanswered.response, unanswered.state) = (None, State::OrphanRequest);
        let summary = latencies(&[
            timed("GET", "/a/1", 200, 1_000_000),
            timed("GET", "/a/2", 404, 2_000_000),
            timed("GET", "/a/3", 503, 9_000_000),
            unanswered,
            timed("POST", "/a/1", 201, 5_000_000),
            timed("BREW", "/a/1", 418, 5_000_000),
        ])
        .summary();
        let rows: Vec<_> = summary
            .rows
            .iter()
            .map(|row| {
                (
                    row.method.as_str(),
                    row.route.as_str(),
                    row.count,
                    row.errors,
                    row.client_errors,
                    row.measured,
                )
            })
            .collect();
        assert_eq!(
            rows,
            [
                ("GET", "/a/{id}", 4, 2, 1, 3),
                ("POST", "/a/{id}", 1, 0, 0, 1),
                ("_OTHER", "/a/{id}", 1, 0, 1, 1)
            ]
        );
        assert_eq!(summary.rows[0].max_ns, Some(9_000_000));
        assert_eq!(summary.total.count, 6);
        assert_eq!(summary.left_out, [LeftOut { reason: "unanswered", count: 1 }]);
    }

    #[test]
    fn what_is_left_out_has_a_reason() {
        let base = || timed("GET", "/", 200, 1_000_000);
        let untrusted = |untrusted| Exchange { untrusted, ..base() };
        let ended = |state| Exchange { state, ..base() };
        let none = Untrusted::default();
        let cases = [
            ("tunnel", timed("GET", "/", 101, 1)),
            ("tunnel", timed("CONNECT", "h:443", 200, 1)),
            ("aborted", ended(State::Aborted)),
            ("unanswered", exchange_of(Some(message(request("GET / HTTP/1.1", &[]), 0, 0, 1)), None)),
            ("without request", exchange_of(None, Some(message(head(b"HTTP/1.1 408 X", &[]), 0, 0, 1)))),
            ("truncated", ended(State::Truncated)),
            ("gap", ended(State::Gap)),
            ("midstream", ended(State::Midstream)),
            ("gap", untrusted(Untrusted { gap: true, pairing: true, ..none })),
            ("midstream", untrusted(Untrusted { midstream: true, ..none })),
            ("retransmitted", untrusted(Untrusted { retransmitted: true, early_answer: true, ..none })),
            ("answered early", untrusted(Untrusted { early_answer: true, ..none })),
            ("pairing uncertain", untrusted(Untrusted { pairing: true, ..none })),
        ];
        for (reason, exchange) in cases {
            let summary = latencies(&[exchange, base()]).summary();
            assert_eq!(summary.left_out, [LeftOut { reason, count: 1 }]);
            assert_eq!((summary.total.count, summary.total.measured), (2, 1), "{reason}");
        }
        assert!(latencies(&[base(), timed("CONNECT", "h:443", 502, 1)]).summary().left_out.is_empty());
    }

    #[test]
    fn errors_are_the_servers() {
        let unanswered = |state| Exchange { response: None, state, ..timed("GET", "/", 200, 1_000_000) };
        let ended = |state, status| Exchange { state, ..timed("GET", "/", status, 1_000_000) };
        let mut orphan = ended(State::OrphanResponse, 408);
        orphan.request = None;
        let cases = [
            (timed("GET", "/", 499, 1), (0, 1)),
            (timed("GET", "/", 500, 1), (1, 0)),
            (unanswered(State::OrphanRequest), (1, 0)),
            (unanswered(State::Aborted), (1, 0)),
            (ended(State::Aborted, 200), (1, 0)),
            (ended(State::Aborted, 404), (1, 0)),
            (ended(State::Truncated, 503), (1, 0)),
            (ended(State::Truncated, 200), (0, 0)),
            (unanswered(State::Truncated), (0, 0)),
            (unanswered(State::Gap), (0, 0)),
            (unanswered(State::Midstream), (0, 0)),
            (orphan, (0, 1)),
        ];
        for (exchange, expected) in cases {
            let total = latencies(std::slice::from_ref(&exchange)).summary().total;
            assert_eq!((total.errors, total.client_errors), expected, "{exchange:?}");
        }
    }

    #[test]
    fn routes_beyond_the_bound_share_one() {
        let mut latencies = Latencies::new(Routes::default());
        let letters = |n: usize| [n / 676 % 26, n / 26 % 26, n % 26].map(|n| char::from(b'a' + n as u8));
        for n in 0..MAX_KEYS + 500 {
            let path: String = letters(n).iter().collect();
            latencies.add(&timed("GET", &format!("/{path}"), 200, 1_000_000));
        }
        latencies.add(&timed("GET", "/aaa", 200, 1_000_000));
        let summary = latencies.summary();
        assert_eq!(summary.rows.len(), MAX_KEYS + 1);
        assert_eq!((summary.rows[0].route.as_str(), summary.rows[0].count), ("(other)", 500));
        assert_eq!((summary.rows[1].route.as_str(), summary.rows[1].count), ("/aaa", 2));
        assert_eq!(summary.total.count, MAX_KEYS as u64 + 501);
    }

    #[test]
    fn a_rate_needs_more_than_one_exchange_and_a_second() {
        // From the beginning of a hand-made exchange to its end.
        const LENGTH: u64 = 1_500_000;
        let shifted = |by: u64| {
            let mut exchange = timed("GET", "/", 200, LENGTH);
            for message in [&mut exchange.request, &mut exchange.response] {
                let message = message.as_mut().unwrap();
                (message.first.0, message.last.0) = (message.first.0 + by, message.last.0 + by);
            }
            exchange
        };
        let mut long = shifted(0);
        long.response.as_mut().unwrap().last.0 += 5_000_000_000;
        let rate = |exchanges: &[Exchange]| {
            let summary = latencies(exchanges).summary();
            assert_eq!(summary.rows[0].rate_per_s, summary.total.rate_per_s);
            summary.total.rate_per_s
        };
        assert_eq!(rate(&[long]), None);
        assert_eq!(rate(&[shifted(0), shifted(20_000_000), shifted(25_000_000)]), None);
        assert_eq!(rate(&[shifted(0), shifted(999_999_999 - LENGTH)]), None);
        assert_eq!(rate(&[shifted(0), shifted(1_000_000_000 - LENGTH)]), Some(2.0));
        let short = latencies(&[shifted(0), shifted(25_000_000)]).summary();
        assert!(serde_json::to_value(&short).unwrap()["total"]["rate_per_s"].is_null());
        assert_eq!(short.to_string().lines().last().unwrap().split_whitespace().nth(2), Some("-"));
    }

    #[test]
    fn nothing_is_a_summary_too() {
        let summary = latencies(&[]).summary();
        assert_eq!((summary.rows.len(), summary.total.count, summary.scale), (0, 0, None));
        assert_eq!(summary.to_string(), "no exchanges\n");
    }

    fn any_exchange() -> impl Strategy<Value = Exchange> {
        let path = prop_oneof![9 => Just("/a/1"), 1 => Just("/b"), 1 => Just("/c?d"), 1 => Just("*")];
        let method = prop_oneof![Just("GET"), Just("BREW")];
        let status = prop_oneof![5 => Just(200_u16), 1 => Just(404), 1 => Just(500), 1 => Just(101)];
        // Around the bounds of the histograms, and where most are.
        let total =
            prop_oneof![8 => 1_000_u64..100_000_000, 1 => 0..1_000_u64, 1 => 3_599_999_999_999..u64::MAX];
        (method, path, status, total, any::<(bool, bool)>(), 0..1_000_000_u64).prop_map(
            |(method, path, status, total, (retransmitted, aborted), shift)| {
                let mut exchange = timed(method, path, status, total);
                exchange.untrusted.retransmitted = retransmitted && shift % 3 == 0;
                if aborted && shift % 5 == 0 {
                    exchange.state = State::Aborted;
                }
                for message in [&mut exchange.request, &mut exchange.response] {
                    let message = message.as_mut().unwrap();
                    message.first.0 += shift;
                    message.last.0 += shift;
                }
                exchange
            },
        )
    }

    proptest! {
        /// Any spread over workers, any order of exchanges and of workers: the same table.
        #[test]
        fn merging_is_adding(
            exchanges in proptest::collection::vec((any_exchange(), 0..4_usize), 0..200)
                .prop_flat_map(|list| (Just(list.clone()), Just(list).prop_shuffle())),
        ) {
            let (exchanges, shuffled) = exchanges;
            let whole = latencies(&exchanges.into_iter().map(|(exchange, _)| exchange).collect::<Vec<_>>());
            let mut workers: [Latencies; 4] = std::array::from_fn(|_| Latencies::new(Routes::default()));
            shuffled.iter().for_each(|(exchange, worker)| workers[*worker].add(exchange));
            let mut merged = Latencies::new(Routes::default());
            workers.iter().rev().for_each(|worker| merged.merge(worker));
            prop_assert_eq!(merged.summary(), whole.summary());
        }

        /// Against a sorted list.
        #[test]
        fn percentiles_are_within_one_percent(totals in proptest::collection::vec(1_000..10_000_000_000_u64, 1..300)) {
            let exchanges: Vec<_> = totals.iter().map(|total| timed("GET", "/", 200, *total)).collect();
            let row = latencies(&exchanges).summary().total;
            let mut sorted = totals;
            sorted.sort_unstable();
            for (quantile, value) in [(0.5, row.p50_ns), (0.9, row.p90_ns), (0.99, row.p99_ns), (0.999, row.p999_ns)] {
                let rank = ((quantile * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len());
                let exact = sorted[rank - 1] as f64;
                let off = (value.unwrap() as f64 - exact) / exact;
                // Below 64 microseconds a step is 512 ns, the unit of a histogram that begins at 1,000.
                prop_assert!(off.abs() <= 0.01 || exact < 64_000.0, "{} {:?} {}", quantile, value, exact);
            }
            prop_assert_eq!(row.max_ns, sorted.last().copied());
            prop_assert_eq!(row.distribution.iter().sum::<u64>(), sorted.len() as u64);
        }

        #[test]
        fn every_exchange_is_measured_or_left_out(exchanges in proptest::collection::vec(any_exchange(), 0..100)) {
            let summary = latencies(&exchanges).summary();
            let left_out: u64 = summary.left_out.iter().map(|left_out| left_out.count).sum();
            prop_assert_eq!(summary.total.measured + left_out, exchanges.len() as u64);
            prop_assert_eq!(summary.rows.iter().map(|row| row.count).sum::<u64>(), exchanges.len() as u64);
            prop_assert_eq!(summary.rows.iter().map(|row| row.measured).sum::<u64>(), summary.total.measured);
        }
    }
}
