//! The records that gannet wrote, as far as they are compared here, and their comparison with a server's log.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::IpAddr;
use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;

/// What a server's log and our records have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    pub(super) method: String,
    /// With the query.
    pub(super) path: String,
    /// 0 while there is no response.
    pub(super) status: u64,
    /// Of the response's body.
    pub(super) bytes: u64,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) line: Line,
    pub(super) client: (IpAddr, u16),
    /// The request's first byte, ns since 1970.
    pub(super) first: i128,
    pub(super) send_ns: Option<u64>,
    pub(super) ttfb_ns: Option<u64>,
    pub(super) server_ns: Option<u64>,
    pub(super) total_ns: Option<u64>,
    pub(super) complete: bool,
}

/// All records of a file, in its order.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Record>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let mut records = Vec::new();
    for (number, line) in BufReader::with_capacity(1 << 20, file).lines().enumerate() {
        let record = parse(&line?);
        records.push(record.with_context(|| format!("{}, line {}", path.display(), number + 1))?);
    }
    Ok(records)
}

fn parse(line: &str) -> anyhow::Result<Record> {
    let raw: Raw = serde_json::from_str(line)?;
    let mut path = raw.url.path.unwrap_or_default();
    if let Some(query) = raw.url.query {
        path.push('?');
        path.push_str(&query);
    }
    let response = raw.http.response.unwrap_or_default();
    let timestamp = raw.timestamp.map(|text| text.parse::<jiff::Timestamp>()).transpose()?;
    Ok(Record {
        line: Line {
            method: raw.http.request.and_then(|request| request.method).unwrap_or_default(),
            path,
            status: response.status_code.unwrap_or(0),
            bytes: response.body.and_then(|body| body.size).unwrap_or(0),
        },
        client: (raw.client.address, raw.client.port),
        first: timestamp.map_or(0, jiff::Timestamp::as_nanosecond),
        send_ns: raw.timing.send_ns,
        ttfb_ns: raw.timing.ttfb_ns,
        server_ns: raw.timing.server_ns,
        total_ns: raw.timing.total_ns,
        complete: raw.gannet.state == "complete",
    })
}

/// Lines that are on one side only, with how many more times: positive in the log, negative in the records.
pub(super) fn differences<'a>(
    log: impl IntoIterator<Item = &'a Line>,
    records: impl IntoIterator<Item = &'a Line>,
) -> BTreeMap<&'a Line, i64> {
    let mut counts = BTreeMap::new();
    for line in log {
        *counts.entry(line).or_default() += 1;
    }
    for line in records {
        *counts.entry(line).or_default() -= 1;
    }
    counts.retain(|_, count| *count != 0);
    counts
}

/// What [`by_connection`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ByConnection {
    pub(super) connections: usize,
    /// Connections on which the last record differs from the log and is not `complete`: their client left.
    pub(super) left: usize,
    /// Connections that break the rule, and how.
    pub(super) wrong: Vec<String>,
}

/// Holds the records of each connection against the log's lines of it (by the client's port).
///
/// The rule: every line has a record; at most one record of a connection differs from its line or has none (a server
/// writes no line for what it had no time to read, and another number of bytes than arrived if the client left), it is
/// the last of its connection and not `complete`.
pub(super) fn by_connection(log: &BTreeMap<u16, Vec<Line>>, records: &[Record]) -> ByConnection {
    let mut ours: BTreeMap<u16, Vec<&Record>> = BTreeMap::new();
    for record in records {
        ours.entry(record.client.1).or_default().push(record);
    }
    ours.values_mut().for_each(|records| records.sort_by_key(|record| record.first));
    let ports: std::collections::BTreeSet<u16> = log.keys().chain(ours.keys()).copied().collect();
    let mut result = ByConnection { connections: ports.len(), ..ByConnection::default() };
    for port in ports {
        let lines = log.get(&port).map_or(&[][..], Vec::as_slice);
        let records = ours.get(&port).map_or(&[][..], Vec::as_slice);
        let differing = differences(lines, records.iter().map(|record| &record.line));
        let missing: i64 = differing.values().filter(|count| **count > 0).sum();
        let surplus: i64 = -differing.values().filter(|count| **count < 0).sum::<i64>();
        let last_is_it = records
            .last()
            .is_some_and(|last| !last.complete && differing.get(&last.line).is_some_and(|&count| count < 0));
        match (missing, surplus) {
            (0, 0) => {}
            (0 | 1, 1) if last_is_it => result.left += 1,
            _ => result.wrong.push(format!(
                "port {port}: {} lines, {} records; {missing} lines without a record, {surplus} records without a line: {}",
                lines.len(),
                records.len(),
                describe(&differing, 3),
            )),
        }
    }
    result
}

/// The first few differences in words.
pub(super) fn describe(differing: &BTreeMap<&Line, i64>, most: usize) -> String {
    let words: Vec<String> = differing
        .iter()
        .take(most)
        .map(|(line, count)| {
            let Line { method, path, status, bytes } = line;
            let side = if *count > 0 { "log" } else { "records" };
            format!("{}x {method} {path} {status} {bytes} in the {side} only", count.abs())
        })
        .collect();
    words.join("; ")
}

#[derive(Deserialize)]
struct Raw {
    timestamp: Option<String>,
    http: RawHttp,
    /// Not there without a request.
    #[serde(default)]
    url: RawUrl,
    client: RawPlace,
    timing: RawTiming,
    gannet: RawGannet,
}

#[derive(Deserialize)]
struct RawHttp {
    request: Option<RawRequest>,
    response: Option<RawResponse>,
}

#[derive(Deserialize)]
struct RawRequest {
    method: Option<String>,
}

#[derive(Default, Deserialize)]
struct RawResponse {
    status_code: Option<u64>,
    body: Option<RawBody>,
}

#[derive(Deserialize)]
struct RawBody {
    size: Option<u64>,
}

#[derive(Default, Deserialize)]
struct RawUrl {
    path: Option<String>,
    query: Option<String>,
}

#[derive(Deserialize)]
struct RawPlace {
    address: IpAddr,
    port: u16,
}

#[derive(Deserialize)]
struct RawTiming {
    send_ns: Option<u64>,
    ttfb_ns: Option<u64>,
    server_ns: Option<u64>,
    total_ns: Option<u64>,
}

#[derive(Deserialize)]
struct RawGannet {
    state: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &str, bytes: u64) -> Line {
        Line { method: "GET".to_owned(), path: path.to_owned(), status: 200, bytes }
    }

    fn record(port: u16, first: i128, line: Line, complete: bool) -> Record {
        let client = ("10.99.0.1".parse().unwrap(), port);
        let (ttfb_ns, server_ns) = (Some(1), Some(1));
        Record { line, client, first, send_ns: Some(0), ttfb_ns, server_ns, total_ns: Some(1), complete }
    }

    #[test]
    fn a_record_is_read() {
        let text = concat!(
            r#"{"timestamp":"2026-01-15T10:00:00.000000007Z","http":{"request":{"method":"GET","body":{"size":0}},"#,
            r#""response":{"status_code":404,"body":{"size":9}}},"url":{"path":"/a","query":"b=c"},"#,
            r#""client":{"address":"10.99.0.1","port":5},"timing":{"send_ns":3,"ttfb_ns":9,"server_ns":6,"total_ns":null},"#,
            r#""gannet":{"state":"complete"}}"#
        );
        let expected = Record {
            line: Line { status: 404, ..line("/a?b=c", 9) },
            client: ("10.99.0.1".parse().unwrap(), 5),
            first: 1_768_471_200_000_000_007,
            send_ns: Some(3),
            ttfb_ns: Some(9),
            server_ns: Some(6),
            total_ns: None,
            complete: true,
        };
        assert_eq!(parse(text).unwrap(), expected);
        let orphan = text.replace(r#"{"status_code":404,"body":{"size":9}}"#, "null");
        assert_eq!(parse(&orphan).unwrap().line.status, 0);
        let orphan = concat!(
            r#"{"timestamp":null,"http":{"response":{"status_code":200,"body":{"size":9}}},"#,
            r#""client":{"address":"10.99.0.1","port":5},"timing":{"send_ns":null,"total_ns":null},"#,
            r#""gannet":{"state":"orphan-response"}}"#
        );
        assert_eq!(parse(orphan).unwrap().line, Line { method: String::new(), ..line("", 9) });
        assert!(parse("{").is_err());
    }

    #[test]
    fn multisets_differ_by_counts() {
        let (a, b) = (line("/a", 1), line("/b", 1));
        assert!(differences([&a, &b, &a], [&a, &a, &b]).is_empty());
        let differing = differences([&a, &a], [&a, &b]);
        assert_eq!(differing, BTreeMap::from([(&a, 1), (&b, -1)]));
        assert_eq!(
            describe(&differing, 9),
            "1x GET /a 200 1 in the log only; 1x GET /b 200 1 in the records only"
        );
    }

    #[test]
    fn only_the_last_of_a_connection_may_differ() {
        let log = BTreeMap::from([(5, vec![line("/a", 10), line("/a", 10)])]);
        let wrong = |records: &[Record]| by_connection(&log, records).wrong.len();
        let whole = |first| record(5, first, line("/a", 10), true);
        let cut = |first| record(5, first, line("/a", 4), false);

        assert_eq!(by_connection(&log, &[whole(1), whole(2)]).left, 0);
        assert_eq!(wrong(&[whole(1), whole(2)]), 0);
        // Cut at the end, or begun and never logged: the client left. The order is that of time, not of the file.
        assert_eq!(by_connection(&log, &[cut(2), whole(1)]).left, 1);
        assert_eq!(wrong(&[whole(1), whole(2), cut(3)]), 0);
        assert_eq!(wrong(&[cut(1), whole(2)]), 1, "not the last");
        assert_eq!(wrong(&[whole(1), Record { complete: true, ..cut(2) }]), 1, "complete, yet it differs");
        assert_eq!(wrong(&[whole(1)]), 1, "a line without a record");
        assert_eq!(wrong(&[cut(1), cut(2)]), 1, "two of them");
        assert_eq!(wrong(&[]), 1);
        assert_eq!(wrong(&[whole(1), whole(2), whole(3)]), 1, "a complete one that was never logged");
        assert_eq!(by_connection(&log, &[whole(1), whole(2), record(6, 1, line("/b", 0), false)]).left, 1);
    }
}
