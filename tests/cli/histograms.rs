//! `gannet http --histograms`: the log against the records that went into it.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use gannet_testkit::capture::{Plan, generate};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use serde_json::Value;

use crate::util::Dir;

/// The histograms by tag; that of all together has none.
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

/// What the tag of a record must be, and how long it took; `None` if it is not to be measured.
fn expected(record: &Value) -> Option<(String, u64)> {
    let untrusted = record["gannet"]["untrusted"].as_array().unwrap();
    let status = record["http"]["response"]["status_code"].as_u64();
    if record["gannet"]["state"] != "complete" || !untrusted.is_empty() || status == Some(101) {
        return None;
    }
    let text = |pointer: &str| record.pointer(pointer).unwrap().as_str().unwrap();
    let (method, host, route) = (text("/http/request/method"), text("/server/address"), text("/http/route"));
    let tag = format!("method={method};status={}xx;host={host};route={route}", status? / 100);
    Some((tag, record["timing"]["total_ns"].as_u64()?))
}

#[test]
fn histograms_are_those_of_the_records() {
    let dir = Dir::new();
    let plan = Plan { seed: 11, size_bytes: 6_000_000, connections: 60 };
    let mut pcap = Vec::new();
    generate(&plan, &mut pcap, &mut Vec::new()).unwrap();
    dir.write("a.pcap", &pcap);
    let mut logs = Vec::new();
    for workers in [1, 3] {
        let words = format!("http -q -r a.pcap --workers {workers} --histograms a.hlog --stats-json a.json");
        let outcome = dir.gannet(&words).run().exits(0);
        let records: Vec<Value> =
            outcome.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let mut times = BTreeMap::<String, Vec<u64>>::new();
        for (tag, total) in records.iter().filter_map(expected) {
            times.entry(tag).or_default().push(total);
            times.entry(String::new()).or_default().push(total);
        }
        let log = dir.read("a.hlog");
        let histograms = read(&log);
        assert!(times.len() > 5 && times[""].len() > 100, "{}", times.len());
        assert_eq!(histograms.keys().collect::<Vec<_>>(), times.keys().collect::<Vec<_>>());
        for (tag, mut times) in times {
            times.sort_unstable();
            let histogram = &histograms[&tag];
            assert_eq!(histogram.len(), times.len() as u64, "{tag}");
            for quantile in [0.0, 0.5, 0.9, 0.99, 1.0] {
                let rank = ((quantile * times.len() as f64).ceil() as usize).clamp(1, times.len());
                let (read, exact) = (histogram.value_at_quantile(quantile) as f64, times[rank - 1] as f64);
                assert!((read - exact).abs() <= exact * 0.01, "{tag} {quantile}: {read} {exact}");
            }
        }
        let report: Value = serde_json::from_slice(&dir.read("a.json")).unwrap();
        let left_out = report["latency"]["left_out"].as_array().unwrap();
        let left_out: u64 = left_out.iter().map(|reason| reason["count"].as_u64().unwrap()).sum();
        assert_eq!(histograms[""].len() + left_out, records.len() as u64);
        assert_eq!(std::fs::metadata(dir.join("a.hlog")).unwrap().permissions().mode() & 0o777, 0o600);
        logs.push(log);
    }
    assert!(logs[0] == logs[1], "the log depends on the number of workers");
}

/// A log that cannot be written is known before the capture begins.
#[test]
fn a_log_that_cannot_be_written_ends_the_run() {
    let dir = Dir::new();
    let outcome = dir.gannet("http -r a.pcap --histograms missing/a.hlog").run().exits(5);
    assert!(outcome.stderr.contains("--histograms missing/a.hlog: "), "{}", outcome.stderr);
}
