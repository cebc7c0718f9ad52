//! The records of captures made elsewhere, against what Zeek, Suricata and tshark say of them.
//!
//! | who | what is compared | where |
//! | --- | --- | --- |
//! | Zeek | addresses, ports, depth, method, host, URI, status, interim status, body lengths | `http.log` |
//! | Suricata | method, status, protocol of each `http` event that a test counts | `test.yaml` |
//! | tshark | method, host, URI, status, `Content-Length`, which request a response answers | rows of `-Y http` |
//!
//! Every difference is in [`DIFFERENCES`], with the reason; a line of that table that does not apply any more fails
//! as well.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use gannet_testkit::corpus;
use serde_json::Value;

use crate::util::Dir;

/// What we say and they do not, or the other way round: who, capture, what differs, who is right and why.
const DIFFERENCES: [(&str, &str, &str, &str); 8] = [
    (
        "tshark",
        "suricata-verify/tests/http-connect/http-connect-simple/input.pcap",
        "only Gannet: (200, None)",
        "Gannet: the response in the tunnel of CONNECT, whose request tshark has as well; Suricata has both",
    ),
    ("tshark", BRO_ORG, "only Gannet: (200, Some(31052))", HOLE),
    ("tshark", BRO_ORG, "only Gannet: (200, Some(10673))", BEHIND_HOLE),
    ("tshark", BRO_ORG, "only Gannet: (200, Some(5104))", BEHIND_HOLE),
    ("tshark", BRO_ORG, "only Gannet: (200, Some(517))", BEHIND_HOLE),
    ("tshark", BRO_ORG, "only Gannet: (200, Some(5735))", BEHIND_HOLE),
    ("tshark", BRO_ORG, "only Gannet: (200, Some(716))", BEHIND_HOLE),
    ("tshark", "zeek/http/content-range-gap.pcap", "only Gannet: (206, Some(10353))", HOLE),
];
const BRO_ORG: &str = "zeek/http/bro.org.pcap";
const HOLE: &str = "Gannet: a segment of the body was not captured; its length is known, so the response is, and says what is missing";
const BEHIND_HOLE: &str =
    "Gannet: on the connection whose earlier response has a hole; tshark gives up there";

/// One exchange in what all can tell of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    method: String,
    host: String,
    uri: String,
    status: Option<u64>,
    request_body: Option<u64>,
    response_body: Option<u64>,
}

/// An exchange of ours: its connection's ends, and the record.
struct Ours {
    ends: [(String, u64); 2],
    record: Value,
}

impl Ours {
    fn text(&self, pointer: &str) -> String {
        self.record.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    fn header(&self, side: &str, name: &str) -> Option<String> {
        let values = self.record.pointer(&format!("/http/{side}/header/{name}"))?.as_array()?;
        values.last()?.as_str().map(str::to_owned)
    }

    fn number(&self, pointer: &str) -> Option<u64> {
        self.record.pointer(pointer)?.as_u64()
    }

    fn method(&self) -> String {
        let original = self.text("/http/request/method_original");
        if original.is_empty() { self.text("/http/request/method") } else { original }
    }

    /// Path and query, without the escapes.
    fn uri(&self) -> String {
        let query = self.record.pointer("/url/query").and_then(Value::as_str);
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        unescaped(&format!("{}{query}", self.text("/url/path")))
    }
}

/// The records of a capture; of each connection in the order of its exchanges.
fn records(dir: &Dir, capture: &Path) -> Vec<Ours> {
    let words = format!("http -q -o jsonl --header all --no-redact -r {}", capture.display());
    let text = dir.gannet(&words).run().exits(0).text();
    let ours = text.lines().map(|line| {
        let record: Value = serde_json::from_str(line).unwrap();
        let end = |at: &str| {
            let end = &record.pointer(at).unwrap();
            (end["address"].as_str().unwrap().to_owned(), end["port"].as_u64().unwrap())
        };
        Ours { ends: [end("/client"), end("/network/peer")], record }
    });
    ours.collect()
}

#[test]
fn exchanges_are_those_of_zeek() {
    let Some(corpus) = corpus::root() else { return };
    let dir = Dir::new();
    let (mut compared, mut differences) = (0, Vec::new());
    for (capture, log) in logs(&corpus) {
        let rows = zeek_rows(&std::fs::read_to_string(&log).unwrap());
        let mut by_connection: BTreeMap<_, Vec<Ours>> = BTreeMap::new();
        for ours in records(&dir, &corpus.join("pcaps").join(&capture)) {
            by_connection.entry(ours.ends.clone()).or_default().push(ours);
        }
        for row in rows {
            let get = |name: &str| row.get(name).map_or("-", String::as_str);
            let end = |side: &str| {
                (
                    get(&format!("id.{side}_h")).to_owned(),
                    get(&format!("id.{side}_p")).parse::<u64>().unwrap(),
                )
            };
            let depth: usize = get("trans_depth").parse().unwrap();
            let number = |name: &str| get(name).parse::<u64>().ok();
            let theirs = Row {
                method: plain(get("method")),
                host: plain(get("host")),
                uri: unescaped(&plain(get("uri"))),
                // 0: no response was seen.
                status: number("status_code").filter(|status| *status != 0),
                request_body: number("request_body_len"),
                response_body: number("response_body_len"),
            };
            let found = by_connection.get_mut(&[end("orig"), end("resp")]);
            let Some(ours) = found.and_then(|all| all.get(depth - 1)) else {
                differences.push(("zeek", capture.clone(), format!("only Zeek: {theirs:?}")));
                continue;
            };
            // Zeek counts what it has decoded.
            let decoded = ours.header("response", "content-encoding").is_some();
            let row = Row {
                method: ours.method(),
                host: ours.header("request", "host").unwrap_or_default(),
                uri: ours.uri(),
                status: ours.number("/http/response/status_code"),
                request_body: Some(ours.number("/http/request/body/size").unwrap_or(0)),
                response_body: match decoded {
                    true => theirs.response_body,
                    false => Some(ours.number("/http/response/body/size").unwrap_or(0)),
                },
            };
            compared += 1;
            if row != theirs {
                differences.push(("zeek", capture.clone(), format!("{row:?}, Zeek: {theirs:?}")));
            }
        }
    }
    settle("zeek", differences);
    assert!(compared >= 24, "{compared}");
}

#[test]
fn exchanges_are_those_of_tshark() {
    let Some(corpus) = corpus::root() else { return };
    let dir = Dir::new();
    let (mut compared, mut differences) = (0, Vec::new());
    for (capture, table) in corpus::tables(&corpus.join("expected/tshark"), ".http.tsv") {
        let ours = records(&dir, &corpus.join("pcaps").join(&capture));
        let mut requests: Vec<_> = ours
            .iter()
            .filter(|ours| !ours.method().is_empty())
            .map(|ours| {
                let host = ours.header("request", "host").unwrap_or_default();
                let target = match ours.method().as_str() {
                    "CONNECT" => ours.text("/url/original"),
                    _ => ours.uri(),
                };
                (ours.method(), host, target)
            })
            .collect();
        let mut answers: Vec<_> = ours
            .iter()
            .filter_map(|ours| {
                let stated: Option<u64> =
                    ours.header("response", "content-length").and_then(|text| text.parse().ok());
                Some((ours.number("/http/response/status_code")?, stated))
            })
            .collect();
        for interim in ours.iter().filter_map(|ours| ours.record.pointer("/timing/interim")?.as_array()) {
            answers.extend(interim.iter().map(|interim| (interim["status_code"].as_u64().unwrap(), None)));
        }
        let (mut their_requests, mut their_answers) = (Vec::new(), Vec::new());
        for row in tshark_rows(&table) {
            compared += 1;
            let get = |name: &str| row.get(name).map_or("", String::as_str);
            if !get("http.request.method").is_empty() {
                let host = get("http.host").to_owned();
                their_requests.push((
                    get("http.request.method").to_owned(),
                    host,
                    unescaped(get("http.request.uri")),
                ));
            }
            if let Ok(status) = get("http.response.code").parse() {
                their_answers.push((status, get("http.content_length_header").parse().ok()));
            }
        }
        for list in [&mut requests, &mut their_requests] {
            list.sort();
        }
        for list in [&mut answers, &mut their_answers] {
            list.sort_unstable();
        }
        for (ours, whose) in [(true, "only Gannet"), (false, "only tshark")] {
            let (here, there) =
                if ours { (&requests, &their_requests) } else { (&their_requests, &requests) };
            for one in without(here, there) {
                differences.push(("tshark", capture.clone(), format!("{whose}: {one:?}")));
            }
            let (here, there) = if ours { (&answers, &their_answers) } else { (&their_answers, &answers) };
            for one in without(here, there) {
                differences.push(("tshark", capture.clone(), format!("{whose}: {one:?}")));
            }
        }
    }
    settle("tshark", differences);
    assert!(compared >= 120, "{compared}");
}

/// A body is as long as its head says, where it says so and nothing was cut off.
#[test]
fn bodies_are_as_long_as_their_heads_say() {
    let Some(corpus) = corpus::root() else { return };
    let dir = Dir::new();
    let mut compared = 0;
    for capture in corpus::tables(&corpus.join("expected/tshark"), ".http.tsv").keys() {
        for ours in records(&dir, &corpus.join("pcaps").join(capture)) {
            if ours.text("/gannet/state") != "complete" {
                continue;
            }
            let status = ours.number("/http/response/status_code").unwrap_or(0);
            let bodiless =
                ours.method() == "HEAD" || [204, 304].contains(&status) || ours.method() == "CONNECT";
            for side in ["request", "response"] {
                let stated = ours.header(side, "content-length").and_then(|text| text.parse::<u64>().ok());
                if ours.header(side, "transfer-encoding").is_some() || (side == "response" && bodiless) {
                    continue;
                }
                let Some(stated) = stated else { continue };
                assert_eq!(
                    ours.number(&format!("/http/{side}/body/size")),
                    Some(stated),
                    "{capture}: {}",
                    ours.record
                );
                compared += 1;
            }
        }
    }
    assert!(compared >= 40, "{compared}");
}

#[test]
fn exchanges_are_those_of_suricata() {
    let Some(corpus) = corpus::root() else { return };
    let dir = Dir::new();
    let (mut compared, mut differences) = (0, Vec::new());
    for (test, yaml) in corpus::tables(&corpus.join("expected/suricata-verify"), "/test.yaml") {
        let capture = format!("suricata-verify/tests/{test}/input.pcap");
        let ours = records(&dir, &corpus.join("pcaps").join(&capture));
        for (count, wanted) in http_filters(&yaml) {
            let found = ours
                .iter()
                .filter(|ours| {
                    wanted.iter().all(|(field, value)| match field.as_str() {
                        "http.http_method" => ours.method() == *value,
                        "http.status" => {
                            ours.number("/http/response/status_code").map(|status| status.to_string())
                                == Some(value.clone())
                        }
                        "http.protocol" => {
                            format!("HTTP/{}", ours.text("/network/protocol/version")) == *value
                        }
                        "http.hostname" => ours.text("/server/address") == *value,
                        "http.url" => ours.uri() == *value,
                        // Numbers of their own, and fields beyond what is compared.
                        _ => true,
                    })
                })
                .count() as u64;
            compared += 1;
            if found != count {
                differences.push(("suricata", capture.clone(), format!("{found} of {count}: {wanted:?}")));
            }
        }
    }
    settle("suricata", differences);
    assert!(compared >= 2, "{compared}");
}

/// Whether the differences of one tool are those of the table.
fn settle(who: &str, found: Vec<(&'static str, String, String)>) {
    let table: BTreeSet<_> = DIFFERENCES
        .iter()
        .filter(|(whose, ..)| *whose == who)
        .map(|(whose, capture, what, _)| (*whose, (*capture).to_owned(), (*what).to_owned()))
        .collect();
    let found: BTreeSet<_> = found.into_iter().collect();
    let new: Vec<_> = found.difference(&table).collect();
    let gone: Vec<_> = table.difference(&found).collect();
    assert!(new.is_empty() && gone.is_empty(), "not in the table: {new:#?}\nonly in the table: {gone:#?}");
}

/// What is in the first list and not in the second, both sorted.
fn without<T: Ord + Clone>(first: &[T], second: &[T]) -> Vec<T> {
    let mut rest = second.to_vec();
    let mut left = Vec::new();
    for one in first {
        match rest.iter().position(|other| other == one) {
            Some(at) => drop(rest.swap_remove(at)),
            None => left.push(one.clone()),
        }
    }
    left
}

/// Captures that have a `http.log`, by the index.
fn logs(corpus: &Path) -> Vec<(String, std::path::PathBuf)> {
    let index = std::fs::read_to_string(corpus.join("INDEX.tsv")).unwrap();
    let mut logs = Vec::new();
    for line in index.lines().skip(1) {
        let columns: Vec<_> = line.split('\t').collect();
        let (Some(capture), Some(expected)) = (columns.get(1), columns.last()) else { continue };
        for folder in expected.split(' ').filter(|path| path.starts_with("expected/zeek/")) {
            let log = corpus.join(folder).join("http.log");
            // Logs of runs with a filter or a script that takes packets away do not show all.
            if log.is_file() {
                logs.push(((*capture).to_owned(), log));
            }
        }
    }
    logs
}

/// Lines of a log as fields by name.
fn zeek_rows(log: &str) -> Vec<BTreeMap<String, String>> {
    let mut names: Vec<&str> = Vec::new();
    let mut rows = Vec::new();
    for line in log.lines() {
        if let Some(fields) = line.strip_prefix("#fields\t") {
            names = fields.split('\t').collect();
        } else if !line.starts_with('#') {
            let pairs = names.iter().zip(line.split('\t'));
            rows.push(pairs.map(|(name, value)| ((*name).to_owned(), value.to_owned())).collect());
        }
    }
    rows
}

/// Rows of tshark's; messages that share a frame are rows of their own.
fn tshark_rows(table: &str) -> Vec<BTreeMap<String, String>> {
    let mut lines = table.lines();
    let names: Vec<_> = lines.next().unwrap_or_default().split('\t').collect();
    let mut rows = Vec::new();
    for line in lines {
        let values: Vec<Vec<&str>> = line.split('\t').map(|value| value.split('|').collect()).collect();
        let at = |name: &str| names.iter().position(|theirs| *theirs == name).unwrap();
        let messages = ["http.request.method", "http.response.code"].map(|name| values[at(name)].len());
        for number in 0..messages.into_iter().max().unwrap_or(1) {
            let row = names.iter().zip(&values).map(|(name, values)| {
                let value = if values.len() > 1 { values.get(number) } else { values.first() };
                ((*name).to_owned(), value.copied().unwrap_or_default().to_owned())
            });
            rows.push(row.collect());
        }
    }
    rows
}

/// The filters for `http` events of a test: how often, and what has to match.
fn http_filters(yaml: &str) -> Vec<(u64, BTreeMap<String, String>)> {
    let mut filters = Vec::new();
    for block in yaml.split("- filter:").skip(1) {
        let fields: BTreeMap<String, String> = block
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
            .collect();
        if fields.get("event_type").is_some_and(|kind| kind == "http") {
            let count = fields["count"].parse().unwrap();
            filters.push((count, fields));
        }
    }
    filters
}

/// `-` and `(empty)` are Zeek's for nothing.
fn plain(value: &str) -> String {
    match value {
        "-" | "(empty)" => String::new(),
        value => value.to_owned(),
    }
}

/// Percent escapes decoded.
fn unescaped(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        let escape = bytes
            .get(at + 1..at + 3)
            .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match escape.filter(|_| byte == b'%') {
            Some(value) => {
                out.push(value);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
