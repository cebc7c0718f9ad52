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

use gannet_http::{Exchange, State};
use hdrhistogram::Histogram;

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
    places: HashMap<Box<str>, usize>,
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
            places: HashMap::new(),
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
        let span_ns = self.span.map_or(0, |(first, last)| last - first);
        let mut total = Cell::default();
        for cell in &self.cells {
            total.merge(cell);
        }
        let scale = total.times.range().map(|(min, max)| Scale::new(min, max));
        let mut rows: Vec<_> = self
            .places
            .iter()
            .map(|(key, place)| {
                let (method, route) = key.split_once(' ').unwrap_or((key, ""));
                self.cells[*place].row(method, route, span_ns, scale)
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
        Summary { rows, total: total.row("", "", span_ns, scale), span_ns, left_out, scale }
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
        match Url::of(&request.head).path {
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
    /// Status 5xx, or no answer.
    errors: u64,
    /// Status 4xx.
    client_errors: u64,
    times: Times,
}

impl Cell {
    /// `total`: the duration to be measured, if it is.
    fn add(&mut self, exchange: &Exchange, total: Option<u64>) {
        self.count += 1;
        match exchange.response.as_ref().and_then(|response| response.head.status()) {
            None | Some(500..) => self.errors += 1,
            Some(400..=499) => self.client_errors += 1,
            Some(_) => {}
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

    fn row(&self, method: &str, route: &str, span_ns: u64, scale: Option<Scale>) -> SummaryRow {
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
            // One exchange has no rate.
            rate_per_s: (self.count > 1 && span_ns > 0).then(|| self.count as f64 / (span_ns as f64 / 1e9)),
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

/// Below a microsecond a capture's clock says little; an hour is longer than any client waits. Both ends saturate.
const MIN_NANOS: u64 = 1_000;
const MAX_NANOS: u64 = 3_600_000_000_000;
/// An error of at most 1 %. Three digits would take eight times the memory.
const SIGNIFICANT_DIGITS: u8 = 2;
