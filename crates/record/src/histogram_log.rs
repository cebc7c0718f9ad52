//! Latencies as an HdrHistogram log, the format that HdrHistogram's own processors, plotters and analysers read.
//!
//! ```text
//!   #[Histogram log format version 1.3]
//!   #[StartTime: 1795255872.123 (seconds since epoch)]
//!   #...                                                  what the numbers are, what was left out
//!   0.000,61.250,12.583,HISTFAAAA...                     all together
//!   Tag=method=GET;status=2xx;host=shop.example;route=/users/{id},0.000,61.250,12.583,HISTFAAAA...
//!       │                                                         │     │      │     └ V2, deflated, base64: nanoseconds
//!       │                                                         │     │      └ the longest, in milliseconds
//!       └ one line for each combination that was measured         │     └ seconds that the line is about
//!                                                                 └ its beginning, in seconds from StartTime
//! ```
//!
//! Before them comes a line without a tag, which is all of them together: HdrHistogram's own HistogramLogProcessor
//! looks at such lines alone unless it is told of a tag. A tag may hold neither comma nor blank nor line feed, and a
//! value here no `;`: such characters are percent-encoded, as in URLs, so that the tag of a path is its own.

use std::fmt::Write;
use std::io;
use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::Latencies;
use crate::latency::{Key, Times};

impl Latencies {
    /// Writes the histograms as an HdrHistogram log of one interval, from the first exchange's first byte to the last
    /// one's last. Fails only as `out` does.
    pub fn write_log(&self, out: &mut impl io::Write) -> io::Result<()> {
        let (first, last) = self.span().unwrap_or_default();
        let start = SystemTime::UNIX_EPOCH + Duration::from_nanos(first);
        let length = Duration::from_nanos(last - first);
        let mut builder = IntervalLogWriterBuilder::new();
        builder
            .add_comment("[Histogram log format version 1.3]")
            .add_comment(
                "[Durations of HTTP exchanges in ns, from the request's first byte to the response's last]",
            )
            .add_comment("[Interval_Max is in ms; the line without a tag is all of the others together]")
            .with_start_time(start)
            .with_base_time(start)
            .with_max_value_divisor(NANOS_PER_MILLI);
        let measured = self.measured();
        let count: u64 = measured.iter().map(|(_, times)| times.len()).sum();
        builder.add_comment(&format!("[Measured: {count} exchanges]"));
        for left_out in self.left_out() {
            builder.add_comment(&format!("[Left out: {} {}]", left_out.count, left_out.reason));
        }
        let other = self.other_keys();
        if other.hosts != 0 || other.routes != 0 {
            let text = format!(
                "[Under (other): the hosts of {} exchanges, the routes of {}]",
                other.hosts, other.routes
            );
            builder.add_comment(&text);
        }
        let mut serializer = V2DeflateSerializer::new();
        let mut log = builder.begin_log_with(out, &mut serializer)?;
        let mut write = |times: &Times, tag: &str| match times.histogram() {
            None => Ok(()),
            Some(histogram) => {
                let tag = Tag::new(tag).filter(|tag| !tag.is_empty());
                log.write_histogram(&histogram, Duration::ZERO, length, tag).map_err(io::Error::other)
            }
        };
        let mut all = Times::default();
        measured.iter().for_each(|(_, times)| all.merge(times));
        write(&all, "")?;
        measured.iter().try_for_each(|(key, times)| write(times, &tag(*key)))
    }
}

/// The tag of a key.
fn tag(key: Key<'_>) -> String {
    let mut tag = String::new();
    for (name, value) in
        [("method=", key.method), (";status=", key.class), (";host=", key.host), (";route=", key.route)]
    {
        tag.push_str(name);
        for char in value.chars() {
            if matches!(char, ',' | ';') || char.is_control() || char.is_whitespace() {
                for byte in char.encode_utf8(&mut [0; 4]).bytes() {
                    // Writing to a String cannot fail.
                    let _ = write!(tag, "%{byte:02X}");
                }
            } else {
                tag.push(char);
            }
        }
    }
    tag
}

/// What other writers of such logs divide the longest value by.
const NANOS_PER_MILLI: f64 = 1e6;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
    use proptest::prelude::*;

    use super::*;
    use crate::Routes;
    use crate::sample::{FIRST, exchange, head, request};

    fn timed(host: &str, path: &str, status: u16, total: u64) -> gannet_http::Exchange {
        let fields = [("Host", host)];
        let response = head(format!("HTTP/1.1 {status} X").as_bytes(), &[]);
        let mut exchange = exchange(request(&format!("GET {path} HTTP/1.1"), &fields), response);
        exchange.timing.total = Some(total);
        exchange
    }

    fn log(latencies: &Latencies) -> Vec<u8> {
        let mut out = Vec::new();
        latencies.write_log(&mut out).unwrap();
        out
    }

    /// The histograms of a log by tag, as the crate's own reader has them.
    fn read(log: &[u8]) -> BTreeMap<String, Histogram<u64>> {
        let mut histograms = BTreeMap::new();
        for entry in IntervalLogIterator::new(log) {
            if let LogEntry::Interval(line) = entry.unwrap() {
                let bytes = data_encoding::BASE64.decode(line.encoded_histogram().as_bytes()).unwrap();
                let histogram = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
                let tag = line.tag().map(|tag| tag.to_string()).unwrap_or_default();
                assert!(histograms.insert(tag, histogram).is_none());
            }
        }
        histograms
    }

    #[test]
    fn a_log() {
        let mut latencies = Latencies::new(Routes::default());
        for (host, path, status, total) in [
            ("Shop.Example:8080", "/users/42", 200, 1_500_000),
            ("shop.example", "/users/43", 204, 2_500_000),
            ("shop.example", "/users/43", 503, 2_000_000_000),
            ("a, b;c", "/x", 101, 1),
            ("a, b;c", "/x,y", 301, 1_000),
        ] {
            latencies.add(&timed(host, path, status, total));
        }
        let log = log(&latencies);
        let text = str::from_utf8(&log).unwrap();
        let comments: Vec<_> = text.lines().take_while(|line| line.starts_with('#')).collect();
        assert_eq!(
            comments,
            [
                "#[Histogram log format version 1.3]",
                "#[Durations of HTTP exchanges in ns, from the request's first byte to the response's last]",
                "#[Interval_Max is in ms; the line without a tag is all of the others together]",
                "#[Measured: 4 exchanges]",
                "#[Left out: 1 tunnel]",
                "#[StartTime: 1795255872.123 (seconds since epoch)]",
                "#[BaseTime: 1795255872.123 (seconds since epoch)]",
                "#[MaxValueDivisor: 1000000.000]",
            ]
        );
        assert_eq!(FIRST / 1_000_000, 1_795_255_872_123);
        let lines: Vec<_> =
            text.lines().skip(comments.len()).map(|line| line.split_once(",HIST").unwrap().0).collect();
        // The longest is the upper end of its step.
        assert_eq!(
            lines,
            [
                "0.000,0.002,2004.877",
                "Tag=method=GET;status=2xx;host=shop.example;route=/users/{id},0.000,0.002,2.507",
                "Tag=method=GET;status=3xx;host=a%2C%20b%3Bc;route=/x%2Cy,0.000,0.002,0.001",
                "Tag=method=GET;status=5xx;host=shop.example;route=/users/{id},0.000,0.002,2004.877",
            ]
        );
        let histograms = read(&log);
        assert_eq!(histograms.values().map(|histogram| histogram.len()).collect::<Vec<_>>(), [4, 2, 1, 1]);
    }

    #[test]
    fn nothing_is_a_log_too() {
        let log = log(&Latencies::new(Routes::default()));
        assert!(read(&log).is_empty());
        assert!(str::from_utf8(&log).unwrap().contains("[Measured: 0 exchanges]"));
    }

    proptest! {
        /// Of any exchanges: every one is measured or left out, and every value is there within 1 %.
        #[test]
        fn what_is_written_can_be_read(
            exchanges in proptest::collection::vec(
                (any::<prop::sample::Index>(), 1..3_600_000_000_000_u64, any::<bool>()), 0..300,
            ),
        ) {
            let mut latencies = Latencies::new(Routes::default());
            let mut expected = BTreeMap::<(&str, u16), Vec<u64>>::new();
            let mut left_out = 0;
            for (host, total, trusted) in &exchanges {
                let (host, status) =
                    *host.get(&[("a", 200), ("b", 200), ("a", 404), ("b", 500)]);
                let mut exchange = timed(host, "/", status, *total);
                exchange.untrusted.gap = !trusted;
                latencies.add(&exchange);
                if *trusted {
                    expected.entry((host, status)).or_default().push(*total);
                } else {
                    left_out += 1;
                }
            }
            let log = log(&latencies);
            let histograms = read(&log);
            let all = histograms.get("").map_or(0, |histogram| histogram.len());
            prop_assert_eq!(all + left_out, exchanges.len() as u64);
            prop_assert_eq!(histograms.len(), expected.len() + usize::from(all != 0));
            for ((host, status), mut totals) in expected {
                let tag = format!("method=GET;status={}xx;host={host};route=/", status / 100);
                let histogram = &histograms[&tag];
                prop_assert_eq!(histogram.len(), totals.len() as u64);
                totals.sort_unstable();
                for quantile in [0.0, 0.25, 0.5, 0.9, 0.99, 1.0] {
                    let rank = ((quantile * totals.len() as f64).ceil() as usize).clamp(1, totals.len());
                    let (read, exact) = (histogram.value_at_quantile(quantile) as f64, totals[rank - 1] as f64);
                    prop_assert!((read - exact).abs() <= exact * 0.01, "{} {} {}", quantile, read, exact);
                }
            }
            prop_assert_eq!(histograms.values().map(|histogram| histogram.len()).sum::<u64>(), 2 * all);
        }

        /// No host and no path makes a tag that a reader stumbles over.
        #[test]
        fn tags_are_readable(host in "\\PC{0,12}", path in "[\\PC \t]{0,12}") {
            let key = Key { method: "GET", class: "2xx", host: &host, route: &path };
            let tag = tag(key);
            prop_assert!(Tag::new(&tag).is_some() && tag.matches(';').count() == 3, "{:?}", tag);
        }
    }
}
