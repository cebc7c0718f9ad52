//! The latency table at the end of a run.
//!
//! The last column is a picture of the distribution: one character for each step of a logarithmic scale from the
//! shortest to the longest duration of all routes, so that rows compare; the scale's ends are its heading.
//!
//! A name that is too long for the table has `…` for what lies between its beginning and its end. Names that differ
//! nowhere else are whole, on lines above their numbers.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

use crate::text::{plural, wrapped};
use crate::{ShortDuration, columns, printable, shortened};

/// The latency table: `Display` is what the terminal shows, `Serialize` all of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// One row per method and route, busiest first.
    pub rows: Vec<SummaryRow>,
    /// One row per host that was asked for, busiest first; the server's address where none was named.
    pub hosts: Vec<GroupRow>,
    /// One row per class of status (`2xx`), busiest first; `-` is for exchanges without a response.
    pub classes: Vec<GroupRow>,
    /// All together; its method and route are empty.
    pub total: SummaryRow,
    /// From the first byte of the first exchange to the last byte of the last, in nanoseconds of frame time.
    pub span_ns: u64,
    /// Exchanges that are counted but not in the percentiles, by reason; only reasons that occurred.
    pub left_out: Vec<LeftOut>,
    /// How much is under `(other)`.
    pub other: OtherKeys,
    /// What the distributions are drawn on; `None` if nothing was measured.
    pub scale: Option<Scale>,
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SummaryRow {
    /// The method as OpenTelemetry has it; `-` for responses without a request.
    pub method: String,
    /// The route.
    pub route: String,
    /// The numbers.
    #[serde(flatten)]
    pub figures: Figures,
}

impl SummaryRow {
    /// The row of a method and route.
    pub fn new(method: &str, route: &str, figures: Figures) -> Self {
        Self { method: method.to_owned(), route: route.to_owned(), figures }
    }
}

/// One row of what is counted by one property.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupRow {
    /// What they have in common.
    pub name: String,
    /// The numbers.
    #[serde(flatten)]
    pub figures: Figures,
}

/// The numbers of a row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Exchanges, those left out of the percentiles included.
    pub count: u64,
    /// Exchanges per second over the run's span; `None` if that is shorter than a second or the run had a single one.
    pub rate_per_s: Option<f64>,
    /// Those with status 5xx, those that were aborted, and those whose connection ended in order without an answer.
    pub errors: u64,
    /// Those with status 4xx that are no errors already.
    pub client_errors: u64,
    /// Exchanges in the percentiles.
    pub measured: u64,
    /// Half of the durations are at most this long, in nanoseconds; `None` if none was measured.
    pub p50_ns: Option<u64>,
    /// 90 %.
    pub p90_ns: Option<u64>,
    /// 99 %.
    pub p99_ns: Option<u64>,
    /// 99.9 %.
    pub p999_ns: Option<u64>,
    /// The longest.
    pub max_ns: Option<u64>,
    /// Durations in each step of [`Summary::scale`]; empty if none was measured at all.
    pub distribution: Vec<u64>,
}

/// How many exchanges are in rows that stand for several hosts or routes, because there were more than
/// [`MAX_KEYS`](crate::MAX_KEYS).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OtherKeys {
    /// Those whose host was not kept apart.
    pub hosts: u64,
    /// Those whose route was not kept apart either.
    pub routes: u64,
}

/// How many exchanges were left out of the percentiles for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Why.
    pub reason: &'static str,
    /// How many.
    pub count: u64,
}

/// A logarithmic scale of durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Scale {
    /// The shortest duration, in nanoseconds.
    pub min_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

impl Scale {
    /// Steps of a scale.
    pub const BUCKETS: usize = 12;

    /// From the shortest to the longest duration.
    pub fn new(min_ns: u64, max_ns: u64) -> Self {
        Self { min_ns, max_ns }
    }

    /// The step in which `nanos` is; durations beyond either end are in the first or last.
    pub fn bucket(&self, nanos: u64) -> usize {
        let (low, high) = ((self.min_ns.max(1) as f64).ln(), (self.max_ns.max(1) as f64).ln());
        let at = (nanos.max(1) as f64).ln() - low;
        if high <= low {
            return 0;
        }
        // A negative number becomes 0 here.
        ((at / (high - low) * Self::BUCKETS as f64) as usize).min(Self::BUCKETS - 1)
    }
}

/// A table for people, as wide as the formatter's width, or 110 columns.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.total.figures.count == 0 {
            return writeln!(f, "no exchanges");
        }
        let scale = match self.scale {
            Some(scale) => {
                let (low, high) =
                    (ShortDuration { nanos: scale.min_ns }, ShortDuration { nanos: scale.max_ns });
                format!("{low} … {high}")
            }
            None => String::new(),
        };
        let rows =
            self.rows.iter().map(|row| (format!("{} {}", row.method, printable(&row.route)), &row.figures));
        let mut blocks = vec![Block::new("ROUTE", MAX_ROWS, rows)];
        // A single host or class would be the total once more.
        for (name, groups) in [("HOST", &self.hosts), ("STATUS", &self.classes)] {
            if groups.len() > 1 {
                let rows = groups.iter().map(|row| (printable(&row.name).into_owned(), &row.figures));
                blocks.push(Block::new(name, MAX_GROUPS, rows));
            }
        }
        let total = Line::new("total".into(), &self.total.figures);
        let titles = ["COUNT", "RATE/S", "ERR", "4XX", "P50", "P90", "P99", "P99.9", "MAX"];
        if let Some(heading) = blocks.first_mut().map(|block| &mut block.heading) {
            (heading.numbers, heading.picture) = (titles.map(str::to_owned), scale);
        }
        let lines = blocks.iter().flat_map(|block| std::iter::once(&block.heading).chain(&block.lines));
        let widths = Widths::of(lines.chain([&total]), f.width().unwrap_or(DEFAULT_WIDTH));
        for (at, block) in blocks.iter().enumerate() {
            block.write(f, &widths)?;
            if at == 0 {
                total.write(f, &widths)?;
            }
        }
        self.write_left_out(f)?;
        self.write_other(f)
    }
}

impl Summary {
    fn write_left_out(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count: u64 = self.left_out.iter().map(|left_out| left_out.count).sum();
        if count == 0 {
            return Ok(());
        }
        let (exchanges, verb) = (counted(count, "exchange"), if count == 1 { "is" } else { "are" });
        write!(f, "{exchanges} {verb} not in the percentiles:")?;
        for (at, LeftOut { reason, count }) in self.left_out.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma} {} {reason}", grouped(*count))?;
        }
        writeln!(f)
    }

    fn write_other(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OtherKeys { hosts, routes } = self.other;
        match (hosts, routes) {
            (0, 0) => return Ok(()),
            (0, _) => write!(f, "routes are not told apart in {}", counted(routes, "exchange"))?,
            (_, 0) => write!(f, "hosts are not told apart in {}", counted(hosts, "exchange"))?,
            _ => {
                let hosts = counted(hosts, "exchange");
                write!(f, "hosts are not told apart in {hosts}, routes not in {}", grouped(routes))?;
            }
        }
        writeln!(f, ": there are too many")
    }
}

/// Rows of one kind.
struct Block {
    heading: Line,
    lines: Vec<Line>,
    /// What was not shown: rows, and exchanges in them.
    hidden: (u64, u64),
}

impl Block {
    /// At most `most` of `rows`.
    fn new<'a>(name: &str, most: usize, rows: impl Iterator<Item = (String, &'a Figures)>) -> Self {
        let heading = Line { name: name.into(), numbers: Default::default(), picture: String::new() };
        let mut block = Self { heading, lines: Vec::new(), hidden: (0, 0) };
        for (at, (name, figures)) in rows.enumerate() {
            if at < most {
                block.lines.push(Line::new(name, figures));
            } else {
                block.hidden = (block.hidden.0 + 1, block.hidden.1 + figures.count);
            }
        }
        block
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, widths: &Widths) -> fmt::Result {
        self.heading.write(f, widths)?;
        let names: Vec<_> = self.lines.iter().map(|line| widths.shortened(&line.name)).collect();
        for (line, name) in self.lines.iter().zip(&names) {
            if names.iter().filter(|other| *other == name).count() > 1 {
                line.write_below_name(f, widths)?;
            } else {
                line.write(f, widths)?;
            }
        }
        let (rows, exchanges) = self.hidden;
        if rows != 0 {
            let what = format!("more {}", self.heading.name.to_lowercase());
            writeln!(f, "... and {} with {}", counted(rows, &what), counted(exchanges, "exchange"))?;
        }
        Ok(())
    }
}

/// A line of the table as text.
struct Line {
    /// A route with the method before it, a host, a class.
    name: String,
    numbers: [String; 9],
    picture: String,
}

/// Widths of the columns, in characters.
struct Widths {
    table: usize,
    name: usize,
    /// 0 where there is no room.
    numbers: [usize; 9],
    /// With the gutter; 0 if there is no room.
    picture: usize,
}

/// What a table may do without.
enum Column {
    Number(usize),
    Picture,
}

impl Widths {
    fn of<'a>(lines: impl Iterator<Item = &'a Line> + Clone, width: usize) -> Self {
        let widest = |text: fn(&Line, usize) -> &str, at| {
            lines.clone().map(|line| columns(text(line, at).chars())).max().unwrap_or(0)
        };
        let numbers = std::array::from_fn(|at| widest(|line, at| &line.numbers[at], at));
        let picture = widest(|line, _| &line.picture, 0);
        let name = widest(|line, _| &line.name, 0);
        let mut widths = Self { table: width, name, numbers, picture: GUTTER + picture };
        // What is missed least goes first, until there is room for the names.
        let wanted = widths.name.min(GOOD_NAME_WIDTH);
        let mut left_out = LEFT_OUT_FIRST.iter();
        while wanted + widths.others() > width {
            match left_out.next() {
                Some(Column::Picture) => widths.picture = 0,
                Some(Column::Number(at)) => widths.numbers[*at] = 0,
                None => break,
            }
        }
        let room = width.saturating_sub(widths.others()).max(MIN_ROUTE_WIDTH);
        Self { name: widths.name.min(room), ..widths }
    }

    /// What there is room for of a name: its beginning and its end.
    fn shortened<'n>(&self, name: &'n str) -> Cow<'n, str> {
        shortened(name, self.name, self.name.saturating_sub(1) / 2)
    }

    /// Columns besides the name; one without a width is not there.
    fn others(&self) -> usize {
        self.numbers.iter().filter(|width| **width != 0).map(|width| width + GUTTER).sum::<usize>()
            + self.picture
    }
}

impl Line {
    fn new(name: String, row: &Figures) -> Self {
        let duration = |nanos: Option<u64>| match nanos {
            Some(nanos) => ShortDuration { nanos }.to_string(),
            None => "-".into(),
        };
        Self {
            name,
            numbers: [
                grouped(row.count),
                row.rate_per_s.map_or("-".into(), rate),
                grouped(row.errors),
                grouped(row.client_errors),
                duration(row.p50_ns),
                duration(row.p90_ns),
                duration(row.p99_ns),
                duration(row.p999_ns),
                duration(row.max_ns),
            ],
            picture: picture(&row.distribution),
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, widths: &Widths) -> fmt::Result {
        self.write_as(&widths.shortened(&self.name), f, widths)
    }

    /// With the whole name on lines of its own: that of another line is the same but for what there is no room for.
    fn write_below_name(&self, f: &mut fmt::Formatter<'_>, widths: &Widths) -> fmt::Result {
        let room = widths.table.saturating_sub(GUTTER);
        for (at, piece) in wrapped(&self.name, room).enumerate() {
            let indent = if at == 0 { 0 } else { GUTTER };
            writeln!(f, "{:indent$}{piece}", "")?;
        }
        self.write_as("", f, widths)
    }

    fn write_as(&self, name: &str, f: &mut fmt::Formatter<'_>, widths: &Widths) -> fmt::Result {
        let mut line = name.to_owned();
        line.extend(std::iter::repeat_n(' ', widths.name.saturating_sub(columns(line.chars()))));
        for (number, width) in self.numbers.iter().zip(widths.numbers).filter(|(_, width)| *width != 0) {
            line.push_str(&format!("{:GUTTER$}{number:>width$}", ""));
        }
        if widths.picture != 0 {
            line.push_str(&format!("{:GUTTER$}{}", "", self.picture));
        }
        writeln!(f, "{}", line.trim_end())
    }
}

/// A bar for each step, the highest of a row at full height. Whatever is not nothing can be seen.
fn picture(distribution: &[u64]) -> String {
    let max = distribution.iter().copied().max().unwrap_or(0).max(1);
    let top = BARS.len() as u128 - 1;
    let bar = |count: u64| match count {
        0 => ' ',
        count => BARS[(u128::from(count) * top / u128::from(max)) as usize],
    };
    distribution.iter().map(|count| bar(*count)).collect()
}

/// Digits in groups of three: `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn counted(count: u64, what: &str) -> String {
    format!("{} {}", grouped(count), plural(count, what))
}

fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate < 0.995 => format!("{rate:.2}"),
        rate if rate < 99.95 => format!("{rate:.1}"),
        rate => grouped(rate.round() as u64),
    }
}

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const GUTTER: usize = 2;
/// So that the table fits on a terminal of usual width.
const DEFAULT_WIDTH: usize = 110;
const MIN_ROUTE_WIDTH: usize = 12;
/// What a name should have before a column stands beside it that can be done without.
const GOOD_NAME_WIDTH: usize = 28;
/// The picture, P99.9, P90, the rate.
const LEFT_OUT_FIRST: [Column; 4] =
    [Column::Picture, Column::Number(7), Column::Number(5), Column::Number(1)];
/// What fits on a screen.
const MAX_ROWS: usize = 25;
/// A glance is enough for the rest.
const MAX_GROUPS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{exchange, head, request};
    use crate::{Latencies, Routes};

    /// A morning in a shop: durations spread log-normally around what is usual for each route, from a fixed sequence.
    fn a_morning() -> Summary {
        let mut latencies = Latencies::new(Routes::default());
        let mut seed = 1_u64;
        let mut random = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 11) as f64 / (1_u64 << 53) as f64
        };
        let mut at = 0;
        for (method, path, count, micros, spread, failing) in [
            ("GET", "/static/app.3f2a9c1b.js", 48_210, 180.0, 0.4, 0.0),
            ("GET", "/api/v2/products/{}", 21_904, 2_100.0, 0.5, 0.001),
            ("GET", "/api/v2/users/{}/orders", 9_120, 12_400.0, 0.7, 0.004),
            ("POST", "/api/v2/carts/6f9619ff-8b86-d011-b42d-00c04fc964ff/items", 3_310, 8_000.0, 0.6, 0.01),
            ("POST", "/api/v2/checkout", 640, 310_000.0, 0.8, 0.03),
            ("GET", "/healthz", 360, 95.0, 0.2, 0.0),
            (
                "DELETE",
                "/api/v2/carts/6f9619ff-8b86-d011-b42d-00c04fc964ff/items/{}/with/a/very/long/way",
                12,
                9_000.0,
                0.3,
                0.0,
            ),
            ("OPTIONS", "*", 1, 70.0, 0.0, 0.0),
        ] {
            for n in 0..count {
                let path = path.replace("{}", &n.to_string());
                let failed = random() < failing;
                let status = if failed {
                    "503 Down"
                } else if random() < 0.01 {
                    "404 Not Found"
                } else {
                    "200 OK"
                };
                let response = head(format!("HTTP/1.1 {status}").as_bytes(), &[]);
                let mut exchange = exchange(request(&format!("{method} {path} HTTP/1.1"), &[]), response);
                // The sum of twelve is near enough to a normal distribution.
                let normal = (0..12).map(|_| random()).sum::<f64>() - 6.0;
                exchange.timing.total = Some((1e3 * micros * f64::exp(spread * normal)) as u64);
                exchange.untrusted.retransmitted = random() < 0.0005;
                exchange.untrusted.gap = random() < 0.0001;
                at += 700_000;
                for message in [&mut exchange.request, &mut exchange.response] {
                    let message = message.as_mut().unwrap();
                    message.first.0 += at;
                    message.last.0 += at;
                }
                latencies.add(&exchange);
            }
        }
        latencies.summary()
    }

    fn row(method: &str, route: &str, count: u64, nanos: Option<u64>, distribution: &[u64]) -> SummaryRow {
        let figures = Figures {
            count,
            rate_per_s: Some(count as f64 / 7.0),
            errors: count / 100,
            client_errors: 0,
            measured: count,
            p50_ns: nanos,
            p90_ns: nanos.map(|nanos| nanos * 2),
            p99_ns: nanos.map(|nanos| nanos * 10),
            p999_ns: nanos.map(|nanos| nanos * 100),
            max_ns: nanos.map(|nanos| nanos * 1000),
            distribution: distribution.to_vec(),
        };
        SummaryRow::new(method, route, figures)
    }

    fn group(name: &str, count: u64) -> GroupRow {
        GroupRow { name: name.into(), figures: row("", "", count, Some(1_300_000), &[1; 12]).figures }
    }

    #[test]
    fn a_table_to_the_letter() {
        let summary = Summary {
            rows: vec![
                row(
                    "GET",
                    "/a/{id}\x1b[2J",
                    1_234_567,
                    Some(95_000),
                    &[0, 0, 1_000_000, 500_000, 1, 0, 0, 0, 0, 0, 0, 3],
                ),
                row("POST", "/checkout", 7, None, &[0; 12]),
            ],
            hosts: vec![group("shop.example", 1_234_574), group("10.0.0.1", 3)],
            classes: vec![group("2xx", 1_234_574)],
            total: row("", "", 1_234_574, Some(1_300_000), &[1; 12]),
            span_ns: 7_000_000_000,
            left_out: vec![LeftOut { reason: "gap", count: 1 }, LeftOut { reason: "tunnel", count: 1_000 }],
            other: OtherKeys { hosts: 1, routes: 0 },
            scale: Some(Scale::new(1_000, 2_100_000_000)),
        };
        let expected = "\
ROUTE                   COUNT   RATE/S     ERR  4XX     P50     P90     P99   P99.9    MAX  1.0 µs … 2.1 s
GET /a/{id}\\x1b[2J  1,234,567  176,367  12,345    0   95 µs  190 µs  950 µs  9.5 ms  95 ms    █▄▁      ▁
POST /checkout              7      1.0       0    0       -       -       -       -      -
total               1,234,574  176,368  12,345    0  1.3 ms  2.6 ms   13 ms  130 ms  1.3 s  ████████████
HOST
shop.example        1,234,574  176,368  12,345    0  1.3 ms  2.6 ms   13 ms  130 ms  1.3 s  ████████████
10.0.0.1                    3     0.43       0    0  1.3 ms  2.6 ms   13 ms  130 ms  1.3 s  ████████████
1,001 exchanges are not in the percentiles: 1 gap, 1,000 tunnel
hosts are not told apart in 1 exchange: there are too many
";
        assert_eq!(summary.to_string(), expected);
    }

    #[test]
    fn a_table_fits_whatever_the_routes_are() {
        let text = a_morning().to_string();
        assert!(text.lines().all(|line| line.chars().count() <= DEFAULT_WIDTH), "{text}");
        let routes: Vec<_> =
            text.lines().filter_map(|line| line.split_once("  ")).map(|(route, _)| route).collect();
        assert!(routes[1].starts_with("GET /static/") && routes.contains(&"total"), "{text}");
    }

    #[test]
    fn names_that_would_look_the_same_are_whole() {
        let routes = [
            "/api/v2/tenants/alpha/reports/quarterly/summary/items/latest",
            "/api/v2/tenants/beta/reports/quarterly/summary/items/latest",
            "/api/v2/users/{id}/orders/of/the/last/three/months/and/their/items",
        ];
        let rows: Vec<_> = routes.iter().map(|route| row("GET", route, 2, Some(1_000), &[])).collect();
        let hosts = ["eu", "us"].map(|zone| group(&format!("{0}.{zone}.{0}", "shop".repeat(10)), 3));
        let summary = Summary {
            rows,
            hosts: hosts.into(),
            classes: Vec::new(),
            total: row("", "", 6, Some(1_000), &[]),
            span_ns: 1,
            left_out: Vec::new(),
            other: OtherKeys::default(),
            scale: None,
        };
        let expected = "\
ROUTE                           COUNT  RATE/S  ERR  4XX     P50    P99     MAX
GET /api/v2/tenants/alpha/reports/quarterly/summary/items/latest
                                    2    0.29    0    0  1.0 µs  10 µs  1.0 ms
GET /api/v2/tenants/beta/reports/quarterly/summary/items/latest
                                    2    0.29    0    0  1.0 µs  10 µs  1.0 ms
GET /api/v2/use…nd/their/items      2    0.29    0    0  1.0 µs  10 µs  1.0 ms
total                               6    0.86    0    0  1.0 µs  10 µs  1.0 ms
HOST
shopshopshopshopshopshopshopshopshopshop.eu.shopshopshopshopshopshopshopshop
  shopshop
                                    3    0.43    0    0  1.3 ms  13 ms   1.3 s
shopshopshopshopshopshopshopshopshopshop.us.shopshopshopshopshopshopshopshop
  shopshop
                                    3    0.43    0    0  1.3 ms  13 ms   1.3 s
";
        let text = format!("{summary:78}");
        assert_eq!(text, expected);
        assert!(text.lines().all(|line| line.chars().count() <= 78), "{text}");
    }

    #[test]
    fn routes_beyond_the_screen_are_summed_up() {
        let rows: Vec<_> = (0..30).map(|n| row("GET", &format!("/{n}"), 2, Some(1_000), &[])).collect();
        let total = row("", "", 60, Some(1_000), &[]);
        let hosts: Vec<_> = (0..10).map(|n| group(&format!("h{n}"), 6)).collect();
        let (left_out, other) = (Vec::new(), OtherKeys::default());
        let summary =
            Summary { rows, hosts, classes: Vec::new(), total, span_ns: 1, left_out, other, scale: None };
        let text = summary.to_string();
        assert_eq!(text.lines().count(), 1 + MAX_ROWS + 2 + 1 + MAX_GROUPS + 1);
        assert!(text.ends_with("\n... and 2 more hosts with 12 exchanges\n"), "{text}");
        assert!(text.contains("\n... and 5 more routes with 10 exchanges\n"), "{text}");
    }

    #[test]
    fn scales_are_logarithmic() {
        let scale = Scale::new(1_000, 1_000_000_000);
        let buckets = [0, 999, 1_000, 3_500, 1_000_000, 999_999_999, 1_000_000_000, u64::MAX];
        assert_eq!(buckets.map(|nanos| scale.bucket(nanos)), [0, 0, 0, 1, 6, 11, 11, 11]);
        assert_eq!(Scale::new(5, 5).bucket(5), 0);
    }
}
