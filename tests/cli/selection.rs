//! `gannet http` with conditions, against what jq selects of all records.

use std::process::Command;

use gannet_testkit::capture::{Plan, generate};
use gannet_testkit::conversation::variants;
use serde_json::Value;

use super::http::corpus;
use crate::util::{Dir, Gannet};

/// Flags, and what they are in jq's language. In jq null is less than any number.
const CONDITIONS: [(&[&str], &str); 16] = [
    (&["-m", "get"], ".http.request.method == \"GET\""),
    (&["--method", "POST,head"], ".http.request.method | . == \"POST\" or . == \"HEAD\""),
    (&["--host", "*.example"], ".server.address | ascii_downcase | endswith(\".example\")"),
    (
        &["--host", "10.*", "--host", "bro.org"],
        ".server.address | ascii_downcase | startswith(\"10.\") or . == \"bro.org\"",
    ),
    (&["--path", "/*s/*"], ".url.path // \"\" | test(\"^/.*s/\")"),
    (&["--path", "/", "--path", "/?*.{js,css}"], ".url.path // \"\" | test(\"^/$|^/.+[.](js|css)$\")"),
    (
        &["--status", "404,5xx"],
        ".http.response.status_code | . == 404 or (. != null and . >= 500 and . <= 599)",
    ),
    (&["--status", "none"], ".http.response.status_code == null"),
    (&["--status", "200-399"], ".http.response.status_code | . != null and . >= 200 and . <= 399"),
    (
        &["-m", "get", "--status", "200", "--path", "/*"],
        ".http.request.method == \"GET\" and .http.response.status_code == 200 and (.url.path | startswith(\"/\"))",
    ),
    (&["--where", "http.response.status_code != 200"], ".http.response.status_code != 200"),
    (
        &["--where", "http.response.body.size > 1000 || http.request.body.size > 1000"],
        "(.http.response.body.size // 0) > 1000 or (.http.request.body.size // 0) > 1000",
    ),
    (&["--where", "!(timing.total_ns >= 1000000)"], "(.timing.total_ns // 0) >= 1000000 | not"),
    (
        &[
            "--where",
            "gannet.untrusted.exists(why, why == 'retransmitted') && gannet.state in ['complete', 'aborted']",
        ],
        "(.gannet.untrusted | index(\"retransmitted\") != null) and (.gannet.state | . == \"complete\" or . == \"aborted\")",
    ),
    (
        &["--where", "http.request.header.host[0].matches('e') && client.port % 2 == 1"],
        "(.http.request.header.host[0] // \"\" | test(\"e\")) and .client.port % 2 == 1",
    ),
    (
        &["--status", "2xx", "--where", "has(http.route) && size(http.route) > 10"],
        "(.http.response.status_code | . != null and . >= 200 and . <= 299) and (.http.route // \"\" | length > 10)",
    ),
];

fn gannet(dir: &Dir, file: &str, more: &[&str]) -> Vec<Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gannet"));
    command.args(["http", "-q", "--header", "all", "--stats-json", "s.json", "-r", file]).args(more);
    let outcome = Gannet::new(command, dir).run().exits(0);
    assert!(!outcome.stderr.contains("defect"), "{}", outcome.stderr);
    outcome.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn jq(dir: &Dir, records: &str, condition: &str) -> Vec<Value> {
    let mut command = Command::new("jq");
    command.args(["-c", &format!("select({condition})"), records]);
    let outcome = Gannet::new(command, dir).run().exits(0);
    outcome.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Of these records. jq rounds large numbers, so that what it writes is not what it read.
fn names(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["gannet"]["locator"].as_str().unwrap()).collect()
}

/// `--header` may be repeated, and `all` is more than any name.
#[test]
fn header_fields_add_up() {
    let dir = Dir::new();
    let mut pcap = Vec::new();
    generate(&Plan { seed: 3, size_bytes: 100_000, connections: 4 }, &mut pcap, &mut Vec::new()).unwrap();
    dir.write("made.pcap", &pcap);
    let fields = |words: &str| {
        let outcome = dir.gannet(&format!("http -q -r made.pcap {words}")).run().exits(0);
        let records = outcome.text();
        let records = records.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let fields = records.flat_map(|record| {
            let messages = ["request", "response"].map(|side| record["http"][side]["header"].clone());
            messages
                .into_iter()
                .filter_map(|header| header.as_object().cloned())
                .flatten()
                .collect::<Vec<_>>()
        });
        fields.map(|(name, _)| name).collect::<std::collections::BTreeSet<_>>()
    };
    let both = fields("--header host,server --header Content-Length");
    assert_eq!(both.iter().collect::<Vec<_>>(), ["content-length", "host", "server"]);
    assert!(fields("--header host --header all").len() > 3);
}

#[test]
fn what_is_selected_is_what_jq_selects() {
    if Command::new("jq").arg("--version").output().is_err() {
        eprintln!("SKIPPED, needs jq");
        return;
    }
    let dir = Dir::new();
    let mut files = Vec::new();
    let mut pcap = Vec::new();
    generate(&Plan { seed: 5, size_bytes: 3_000_000, connections: 40 }, &mut pcap, &mut Vec::new()).unwrap();
    dir.write("made.pcap", &pcap);
    files.push("made.pcap".to_owned());
    for (number, variant) in variants(9).into_iter().enumerate() {
        let name = format!("damaged-{number}.pcap");
        dir.write(&name, &variant.conversation.pcap());
        files.push(name);
    }
    files.extend(corpus().map(|corpus| corpus.join("pcaps/zeek/http/bro.org.pcap").display().to_string()));
    let mut selected_by = vec![(0, 0); CONDITIONS.len()];
    for file in files {
        let all = gannet(&dir, &file, &[]);
        let lines: String = all.iter().map(|record| format!("{record}\n")).collect();
        dir.write("all.jsonl", lines.as_bytes());
        for ((flags, condition), counts) in CONDITIONS.iter().zip(&mut selected_by) {
            let ours = gannet(&dir, &file, flags);
            assert_eq!(names(&ours), names(&jq(&dir, "all.jsonl", condition)), "{file} {flags:?}");
            assert!(ours.iter().all(|record| all.contains(record)), "{file} {flags:?}");
            let report: Value = serde_json::from_slice(&dir.read("s.json")).unwrap();
            let selection = &report["analysis"]["selection"];
            assert_eq!(selection["selected"], ours.len(), "{file} {flags:?}");
            assert_eq!(selection["not_selected"], all.len() - ours.len(), "{file} {flags:?}");
            assert_eq!(report["analysis"]["http"]["exchanges"], all.len());
            assert_eq!(
                report["latency"]["total"]["count"],
                ours.len(),
                "the latencies are of what is selected"
            );
            *counts = (counts.0 + ours.len(), counts.1 + all.len() - ours.len());
        }
    }
    // Else the comparison says nothing.
    for ((flags, _), (selected, others)) in CONDITIONS.iter().zip(selected_by) {
        assert!(selected > 0 && others > 0, "{flags:?} selects {selected} and not {others}");
    }
}

#[test]
fn workers_make_no_difference_to_what_is_selected() {
    let dir = Dir::new();
    let mut pcap = Vec::new();
    generate(&Plan { seed: 6, size_bytes: 3_000_000, connections: 40 }, &mut pcap, &mut Vec::new()).unwrap();
    dir.write("a.pcap", &pcap);
    let output = |workers: &str| {
        gannet(
            &dir,
            "a.pcap",
            &["--workers", workers, "--where", "http.response.status_code == 200 && client.port > 0"],
        )
    };
    let one = output("1");
    assert!(!one.is_empty() && one == output("2") && one == output("4"));
}

#[test]
fn the_report_says_what_was_selected() {
    let dir = Dir::new();
    let variant = variants(1).into_iter().next().unwrap();
    dir.write("a.pcap", &variant.conversation.pcap());
    let count = gannet(&dir, "a.pcap", &[]).len();
    for (flags, expected) in [
        ("--path /no/such/path --slower 1ms", "\nnone of them was selected by --path, --slower\n".to_owned()),
        ("--path *", format!("\n{count} selected by --path, 0 not\n")),
    ] {
        let outcome = dir.gannet(&format!("http -r a.pcap -o none {flags}")).run().exits(0);
        assert!(outcome.stderr.contains(&expected), "{}", outcome.stderr);
    }
    assert!(!dir.gannet("http -r a.pcap -o none").run().exits(0).stderr.contains("selected"));
}

/// The message says what and where, before any packet is looked at.
#[test]
fn mistakes_end_with_status_2() {
    let dir = Dir::new();
    for (name, value, expected) in [
        (
            "--where",
            "url.pth == '/'",
            "there is no field url.pth: did you mean url.path?\n    url.pth == '/'\n    ^\n",
        ),
        (
            "--where",
            "url.path == ",
            "the expression ends where more is wanted\n    url.path == \n                ^\n",
        ),
        (
            "--status",
            "5x",
            "\"5x\" is no status: give a code from 100 to 999 (404), a range (400-499), a class (1xx to 5xx) or none",
        ),
        (
            "--status",
            "200,6xx",
            "there are 1xx, 2xx, 3xx, 4xx and 5xx (codes beyond them can be given as a range: 600-699)",
        ),
        ("--status", "0xx", "\"0xx\" is no class of statuses"),
        ("--status", "1000", "\"1000\" is no status"),
        ("--path", "/[", "unclosed character class"),
        ("--path", "api/*", "paths begin with a slash: /api/*, or */api/* for one that ends so"),
        ("--host", "shop.example:80", "hosts are without their port here: shop.example"),
        ("--method", "get,p ut", "\"p ut\" is no method"),
        ("--slower", "soon", "--slower"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gannet"));
        command.args(["http", "-r", "no-such-file.pcap", name, value]);
        let outcome = Gannet::new(command, &dir).run().exits(2);
        assert!(outcome.stderr.contains(expected), "{}", outcome.stderr);
    }
}
