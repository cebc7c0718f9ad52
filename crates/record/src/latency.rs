//! Latency histograms by method, status class, host and route.
//!
//! ```text
//!   Exchange ──► method, status class, host, route ──► Cell ─┬─ counts: all, errors, 4xx
//!                (1,500 at most)                             └─ times: a short list, then an HDR histogram
//! ```
//!
//! What is measured is `timing.total`: request's first byte to response's last. Only complete exchanges whose times
//! are to be trusted enter the histograms; the others are counted with the reason. Tunnels (101, CONNECT) live as
//! long as their users like, which says nothing of the server: counted, too, but not measured.

mod key;
mod reason;
mod times;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};

use gannet_http::{Exchange, State};
use rustc_hash::FxSeededState;

use self::key::Detail;
pub(crate) use self::key::Key;
use self::reason::Reason;
pub(crate) use self::times::Times;
use crate::Routes;
use crate::record::started;
use crate::summary::{Figures, GroupRow, LeftOut, OtherKeys, Scale, Summary, SummaryRow};

/// One worker's histograms: one for each method, status class, host and route. Merged at the end.
///
/// The result does not depend on how exchanges are spread over workers nor on their order, as long as no worker meets
/// more than [`MAX_KEYS`] of those, nor a quarter as many that are 4xx: then it depends on which of them a worker met
/// first.
pub struct Latencies {
    routes: Routes,
    /// Where the cell of a [`Key`]'s text is.
    places: HashMap<Box<str>, usize, FxSeededState>,
    cells: Vec<Cell>,
    /// How many of them were made for answers that refuse a request.
    refused: usize,
    /// Whether there were few hosts when there was first no room; `None` before.
    few_hosts: Option<bool>,
    /// Where keys are written before they are looked up.
    key: String,
    left_out: [u64; Reason::ALL.len()],
    /// Nanoseconds since the epoch: the first byte of all, and the last.
    span: Option<(u64, u64)>,
}

/// How many combinations of method, status class, host and route have a histogram of their own. Of those that come
/// later the hosts are counted as one; at half as many again, the routes are, too. Where it is not hosts that are many,
/// half as many again have histograms, and then the routes are counted as one, and hosts as long as there are less than
/// twice as many. Hosts and paths are a stranger's: made-up ones take memory (37 KB each, once they have been asked for
/// often) only up to here, and made-up hosts do not hide routes.
pub const MAX_KEYS: usize = 1_000;

/// So many hosts of [`MAX_KEYS`] are few.
const FEW_HOSTS: usize = MAX_KEYS / 10;

/// How many of those may be of answers 4xx: whoever tries paths to see what is there leaves room for those that are.
const MAX_REFUSED_KEYS: usize = MAX_KEYS / 4;

impl Latencies {
    /// Empty; `routes` says which route an exchange belongs to.
    pub fn new(routes: Routes) -> Self {
        Self {
            routes,
            // What a stranger's keys hash to shall be hard to guess. The bound on their number does the rest.
            places: HashMap::with_hasher(FxSeededState::with_seed(RandomState::new().hash_one(0) as usize)),
            cells: Vec::new(),
            refused: 0,
            few_hosts: None,
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
        let total = match Reason::of(exchange) {
            Ok(total) => Some(total),
            Err(reason) => {
                self.left_out[reason as usize] += 1;
                None
            }
        };
        let place = self.place_of(exchange);
        if let Some(cell) = self.cells.get_mut(place) {
            cell.add(exchange, total);
        }
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

    /// The table: by method and route, by host, by status class, each busiest first.
    pub fn summary(&self) -> Summary {
        let mut total = Cell::default();
        for cell in &self.cells {
            total.merge(cell);
        }
        let span_ns = self.span.map_or(0, |(first, last)| last - first);
        // A single exchange spans its own duration, which says nothing of a rate; nor do a few at once.
        let rate_span = Some(span_ns).filter(|span| *span >= MIN_RATE_SPAN_NANOS && total.count > 1);
        let scale = total.times.range().map(|(min, max)| Scale::new(min, max));
        let figures = |cell: &Cell| cell.figures(rate_span, scale);
        let rows = self.grouped(|key| (key.route, key.method));
        let groups = |by: fn(Key<'_>) -> &str| -> Vec<_> {
            let groups = self.grouped(by).into_iter();
            groups.map(|(name, cell)| GroupRow { name: name.to_owned(), figures: figures(&cell) }).collect()
        };
        Summary {
            rows: rows
                .into_iter()
                .map(|((route, method), cell)| SummaryRow::new(method, route, figures(&cell)))
                .collect(),
            hosts: groups(|key| key.host),
            classes: groups(|key| key.class),
            total: SummaryRow::new("", "", figures(&total)),
            span_ns,
            left_out: self.left_out(),
            other: self.other_keys(),
            scale,
        }
    }

    /// Histograms with their keys, in the order of the keys. Without those of which nothing was measured.
    pub(crate) fn measured(&self) -> Vec<(Key<'_>, &Times)> {
        let cells =
            self.places.iter().filter_map(|(key, place)| Some((Key::of(key), self.cells.get(*place)?)));
        let mut measured: Vec<_> =
            cells.map(|(key, cell)| (key, &cell.times)).filter(|(_, times)| times.len() != 0).collect();
        measured.sort_by_key(|(key, _)| *key);
        measured
    }

    /// What was counted only, by reason.
    pub(crate) fn left_out(&self) -> Vec<LeftOut> {
        let all = Reason::ALL.into_iter();
        all.map(|reason| LeftOut { reason: reason.name(), count: self.left_out[reason as usize] })
            .filter(|left_out| left_out.count > 0)
            .collect()
    }

    /// How many exchanges are under a host or a route that stands for several.
    pub(crate) fn other_keys(&self) -> OtherKeys {
        let mut other = OtherKeys::default();
        for (key, place) in &self.places {
            let (key, count) = (Key::of(key), self.cells[*place].count);
            other.hosts += if key.is_of_other_hosts() { count } else { 0 };
            other.routes += if key.is_of_other_routes() { count } else { 0 };
        }
        other
    }

    /// Nanoseconds since the epoch: the first byte of all exchanges, and the last. `None` if there were none.
    pub(crate) fn span(&self) -> Option<(u64, u64)> {
        self.span
    }

    /// What cells are together whose keys are the same in one respect, the busiest first.
    fn grouped<'a, G: Ord>(&'a self, by: impl Fn(Key<'a>) -> G) -> Vec<(G, Cell)> {
        let mut groups = BTreeMap::<G, Cell>::new();
        for (key, place) in &self.places {
            groups.entry(by(Key::of(key))).or_default().merge(&self.cells[*place]);
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        // Stable: by name among those that are as busy.
        groups.sort_by_key(|(_, cell)| std::cmp::Reverse(cell.count));
        groups
    }

    fn extend_span(&mut self, (first, last): (u64, u64)) {
        let (a, b) = self.span.unwrap_or((first, last));
        self.span = Some((a.min(first), b.max(last)));
    }

    /// Where the cell of `exchange` is: an index of `cells`.
    fn place_of(&mut self, exchange: &Exchange) -> usize {
        let is_refused = is_refused(exchange);
        let steps = match self.has_few_hosts() {
            true => [(Detail::All, MAX_KEYS + MAX_KEYS / 2), (Detail::Host, 2 * MAX_KEYS)],
            false => [(Detail::All, MAX_KEYS), (Detail::Route, MAX_KEYS + MAX_KEYS / 2)],
        };
        for (detail, bound) in steps {
            key::write(exchange, detail, &self.routes, &mut self.key);
            match self.places.get(self.key.as_str()) {
                Some(place) => return *place,
                None if detail != Detail::Host && is_refused && self.refused >= MAX_REFUSED_KEYS => {}
                None if self.cells.len() < bound => {
                    self.refused += usize::from(is_refused && detail != Detail::Host);
                    return self.place_of_written();
                }
                None => {}
            }
        }
        key::write(exchange, Detail::Method, &self.routes, &mut self.key);
        self.place_of_written()
    }

    /// Whether it is routes that are too many, if anything is.
    fn has_few_hosts(&mut self) -> bool {
        if self.cells.len() < MAX_KEYS && self.refused < MAX_REFUSED_KEYS {
            return true;
        }
        let hosts = || self.places.keys().map(|key| Key::of(key).host).collect::<BTreeSet<_>>().len();
        *self.few_hosts.get_or_insert_with(|| hosts() <= FEW_HOSTS)
    }

    fn place_of_written(&mut self) -> usize {
        let key = std::mem::take(&mut self.key);
        let place = self.place(&key);
        self.key = key;
        place
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

/// What is known of a key.
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
        } else if is_refused(exchange) {
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

    fn figures(&self, rate_span: Option<u64>, scale: Option<Scale>) -> Figures {
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
        Figures {
            count: self.count,
            rate_per_s: rate_span.map(|nanos| self.count as f64 / (nanos as f64 / 1e9)),
            errors: self.errors,
            client_errors: self.client_errors,
            measured: self.times.len(),
            p50_ns: quantile(0.5),
            p90_ns: quantile(0.9),
            p99_ns: quantile(0.99),
            p999_ns: quantile(0.999),
            max_ns: range.map(|(_, max)| max),
            distribution,
        }
    }
}

/// Whether the server says that the mistake is the client's.
fn is_refused(exchange: &Exchange) -> bool {
    matches!(exchange.response.as_ref().and_then(|response| response.head.status()), Some(400..=499))
}

/// Whether something went wrong at the server's end: it said so, reset the connection, or ended it without an answer.
/// That an answer was not captured says nothing of the server.
fn is_error(state: State, status: Option<u16>) -> bool {
    matches!(status, Some(500..)) || matches!(state, State::Aborted | State::OrphanRequest)
}

/// No rate per second without a second.
const MIN_RATE_SPAN_NANOS: u64 = 1_000_000_000;

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
                    row.figures.count,
                    row.figures.errors,
                    row.figures.client_errors,
                    row.figures.measured,
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
        assert_eq!(summary.rows[0].figures.max_ns, Some(9_000_000));
        assert_eq!(summary.total.figures.count, 6);
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
            assert_eq!((summary.total.figures.count, summary.total.figures.measured), (2, 1), "{reason}");
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
            let total = latencies(std::slice::from_ref(&exchange)).summary().total.figures;
            assert_eq!((total.errors, total.client_errors), expected, "{exchange:?}");
        }
    }

    /// As many different names as wanted, none of which is taken for a variable.
    fn name(n: usize) -> String {
        [n / 676 % 26, n / 26 % 26, n % 26].map(|n| char::from(b'a' + n as u8)).iter().collect()
    }

    fn at(host: &str, path: &str) -> Exchange {
        let response = head(b"HTTP/1.1 200 X", &[]);
        exchange(request(&format!("GET {path} HTTP/1.1"), &[("Host", host)]), response)
    }

    #[test]
    fn hosts_and_classes_are_counted_apart() {
        let mut without = at("ignored", "/");
        without.request = None;
        without.state = State::OrphanResponse;
        let summary = latencies(&[
            at("Shop.example:8080", "/a"),
            at("shop.EXAMPLE", "/b"),
            at("other.example", "/a"),
            timed("GET", "/a", 404, 1_000),
            without,
            exchange_of(Some(message(request("GET /a HTTP/1.1", &[("Host", "")]), 0, 0, 1)), None),
        ])
        .summary();
        let names = |rows: &[GroupRow]| -> Vec<_> {
            rows.iter().map(|row| (row.name.clone(), row.figures.count)).collect()
        };
        assert_eq!(
            names(&summary.hosts),
            [("10.0.0.2".into(), 3), ("shop.example".into(), 2), ("other.example".into(), 1)]
        );
        assert_eq!(names(&summary.classes), [("2xx".into(), 4), ("-".into(), 1), ("4xx".into(), 1)]);
        assert_eq!(summary.other, OtherKeys::default());
        let text = summary.to_string();
        assert!(text.contains("\nHOST\n10.0.0.2 ") && text.contains("\nSTATUS\n2xx "), "{text}");
    }

    #[test]
    fn routes_beyond_the_bound_share_one() {
        const BOUND: usize = MAX_KEYS + MAX_KEYS / 2;
        let mut latencies = Latencies::new(Routes::default());
        for n in 0..BOUND + 500 {
            latencies.add(&at("h", &format!("/{}", name(n))));
        }
        latencies.add(&at("h", "/aaa"));
        let summary = latencies.summary();
        assert_eq!(summary.rows.len(), BOUND + 1);
        assert_eq!((summary.rows[0].route.as_str(), summary.rows[0].figures.count), ("(other)", 500));
        assert_eq!((summary.rows[1].route.as_str(), summary.rows[1].figures.count), ("/aaa", 2));
        assert_eq!(summary.total.figures.count, BOUND as u64 + 501);
        assert_eq!(summary.other, OtherKeys { hosts: 0, routes: 500 });
        let hosts: Vec<_> = summary.hosts.iter().map(|row| (row.name.as_str(), row.figures.count)).collect();
        assert_eq!(hosts, [("h", BOUND as u64 + 501)]);
        let text = summary.to_string();
        assert!(
            text.ends_with("\nroutes are not told apart in 500 exchanges: there are too many\n"),
            "{text}"
        );
    }

    /// Somebody who looks for paths that are not there does not take the places of those that are.
    #[test]
    fn refused_paths_leave_room() {
        let mut latencies = Latencies::new(Routes::default());
        for n in 0..4 * MAX_KEYS {
            latencies.add(&timed("GET", &format!("/{}", name(n)), 404, 1_000));
        }
        latencies.add(&timed("GET", "/real", 200, 1_000));
        latencies.add(&timed("GET", "/aaa", 404, 1_000));
        let summary = latencies.summary();
        let of =
            |route: &str| summary.rows.iter().find(|row| row.route == route).map(|row| row.figures.count);
        assert_eq!((of("/real"), of("/aaa")), (Some(1), Some(2)));
        assert_eq!(of("(other)"), Some((4 * MAX_KEYS - MAX_REFUSED_KEYS) as u64));
        assert_eq!(summary.rows.len(), MAX_REFUSED_KEYS + 2);
    }

    /// Requests of SOAP have one path for all.
    #[test]
    fn operations_are_routes_of_their_own() {
        let buy = |operation| {
            let head = request("POST /ws HTTP/1.1", &[("SOAPAction", operation)]);
            exchange_of(Some(message(head, 0, 0, 1)), None)
        };
        let summary = latencies(&[buy("\"urn:Buy\""), buy("urn:Sell"), buy("urn:Sell")]).summary();
        let rows: Vec<_> = summary.rows.iter().map(|row| (row.route.as_str(), row.figures.count)).collect();
        assert_eq!(rows, [("/ws urn:Sell", 2), ("/ws urn:Buy", 1)]);
    }

    /// Somebody who makes up hosts does not make the routes go away.
    #[test]
    fn hosts_beyond_the_bound_share_one() {
        let mut latencies = Latencies::new(Routes::default());
        for n in 0..4 * MAX_KEYS {
            latencies.add(&at(&name(n), "/"));
        }
        latencies.add(&at(&"x".repeat(300), "/long"));
        latencies.add(&at("h", "/later"));
        let summary = latencies.summary();
        let rows: Vec<_> = summary.rows.iter().map(|row| (row.route.as_str(), row.figures.count)).collect();
        assert_eq!(rows, [("/", 4 * MAX_KEYS as u64), ("/later", 1), ("/long", 1)]);
        assert_eq!(summary.hosts.len(), MAX_KEYS + 1);
        assert_eq!(summary.other, OtherKeys { hosts: 3 * MAX_KEYS as u64 + 2, routes: 0 });
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
            assert_eq!(summary.rows[0].figures.rate_per_s, summary.total.figures.rate_per_s);
            summary.total.figures.rate_per_s
        };
        assert_eq!(rate(&[long]), None);
        assert_eq!(rate(&[shifted(0), shifted(20_000_000), shifted(25_000_000)]), None);
        assert_eq!(rate(&[shifted(0), shifted(999_999_999 - LENGTH)]), None);
        assert_eq!(rate(&[shifted(0), shifted(1_000_000_000 - LENGTH)]), Some(2.0));
        let short = latencies(&[shifted(0), shifted(25_000_000)]).summary();
        assert!(serde_json::to_value(&short).unwrap()["total"]["rate_per_s"].is_null());
        let text = short.to_string();
        let total = text.lines().find(|line| line.starts_with("total")).unwrap();
        assert_eq!(total.split_whitespace().nth(2), Some("-"));
    }

    #[test]
    fn nothing_is_a_summary_too() {
        let summary = latencies(&[]).summary();
        assert_eq!((summary.rows.len(), summary.total.figures.count, summary.scale), (0, 0, None));
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
        fn percentiles_are_within_one_percent(totals in proptest::collection::vec(1..10_000_000_000_u64, 1..300)) {
            let exchanges: Vec<_> = totals.iter().map(|total| timed("GET", "/", 200, *total)).collect();
            let row = latencies(&exchanges).summary().total.figures;
            let mut sorted = totals;
            sorted.sort_unstable();
            for (quantile, value) in [(0.5, row.p50_ns), (0.9, row.p90_ns), (0.99, row.p99_ns), (0.999, row.p999_ns)] {
                let rank = ((quantile * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len());
                let exact = sorted[rank - 1] as f64;
                let off = (value.unwrap() as f64 - exact) / exact;
                prop_assert!(off.abs() <= 0.01, "{} {:?} {}", quantile, value, exact);
            }
            prop_assert_eq!(row.max_ns, sorted.last().copied());
            prop_assert_eq!(row.distribution.iter().sum::<u64>(), sorted.len() as u64);
        }

        #[test]
        fn every_exchange_is_measured_or_left_out(exchanges in proptest::collection::vec(any_exchange(), 0..100)) {
            let summary = latencies(&exchanges).summary();
            let left_out: u64 = summary.left_out.iter().map(|left_out| left_out.count).sum();
            prop_assert_eq!(summary.total.figures.measured + left_out, exchanges.len() as u64);
            prop_assert_eq!(summary.rows.iter().map(|row| row.figures.count).sum::<u64>(), exchanges.len() as u64);
            prop_assert_eq!(summary.rows.iter().map(|row| row.figures.measured).sum::<u64>(), summary.total.figures.measured);
        }
    }
}
