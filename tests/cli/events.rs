//! `gannet http --events` and `--pending`: what is known before an exchange is complete.

use std::collections::BTreeMap;

use gannet_testkit::capture::{Plan, generate};
use gannet_testkit::conversation::{
    Body, Builder, Conversation, Peer, Request, Response, Setup, merge, pcap,
};
use serde_json::{Value, json};

use crate::util::Dir;

const SECOND: u64 = 1_000_000_000;

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

/// `event id`, where the id is that of the exchange without its connection.
fn told(record: &Value) -> String {
    let event = record["gannet"]["event"].as_str().unwrap_or("exchange");
    let index = record["gannet"]["id"].as_str().map(|id| id.split_once('-').unwrap().1);
    format!("{event} {}", index.unwrap_or("?"))
}

/// An exchange with an interim response, one that is answered after five seconds, and one that never is.
fn conversation() -> Conversation {
    let mut builder = Builder::new(Setup::default());
    builder.handshake();
    let upload =
        Request::new("POST", "/a", "h").header("User-Agent", "curl").body(Body::length(&b"12345"[..]));
    builder.request(&upload);
    builder.write(Peer::Server, b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n").flush(Peer::Server);
    builder.response(&Response::new(200, Body::length(&b"hello"[..])));
    builder.request(&Request::new("GET", "/slow", "h")).wait(5 * SECOND);
    builder.response(&Response::new(200, Body::None).header("Content-Length", "0"));
    builder.request(&Request::new("GET", "/never", "h")).wait(9 * SECOND);
    builder.keep_alive(Peer::Client);
    builder.finish()
}

#[test]
fn each_event_as_it_happens() {
    let dir = Dir::new();
    dir.write("a.pcap", &conversation().pcap());
    let run = |words: &str| {
        let outcome = dir.gannet(&format!("http -r a.pcap --stats-json ledger.json {words}")).run().exits(0);
        assert!(!outcome.stderr.contains("defect"), "{}", outcome.stderr);
        let ledger: Value = serde_json::from_slice(&dir.read("ledger.json")).unwrap();
        assert_eq!(ledger["sinks"][0]["made"], ledger["sinks"][0]["written"]);
        (outcome, ledger)
    };
    let (outcome, ledger) = run("-o jsonl --events request,response,exchange,interim --pending 3s");
    let records = lines(&outcome.text());
    let expected = [
        "request 0",
        "interim 0",
        "response 0",
        "exchange 0",
        "request 1",
        "pending 1",
        "response 1",
        "exchange 1",
        "request 2",
        "pending 2",
        "exchange 2",
    ];
    assert_eq!(records.iter().map(told).collect::<Vec<_>>(), expected);
    assert_eq!(ledger["sinks"][0]["made"], 11);
    assert_eq!(ledger["analysis"]["http"]["pending_reported"], 2);
    outcome.says("\n2 requests had to wait longer than 3.0 s for an answer");
    let request = &records[0];
    assert_eq!(request["http"]["request"]["body"]["size"], 5);
    assert_eq!((request.get("tcp"), request["http"].get("response")), (None, None));
    assert_eq!(request["user_agent"]["original"], "curl");
    let response = &records[2];
    assert_eq!(
        (&response["http"]["response"]["status_code"], &response["url"]["path"]),
        (&json!(200), &json!("/a"))
    );
    assert_eq!(records[1]["http"]["response"]["status_code"], 103);
    // It is found out with the answer; the file has no packet in between.
    let waited = records[5]["gannet"]["waited_ns"].as_u64().unwrap();
    assert!((5 * SECOND..6 * SECOND).contains(&waited), "{waited}");
    assert_eq!(
        (&records[9]["url"]["path"], &records[10]["gannet"]["state"]),
        (&json!("/never"), &json!("truncated"))
    );

    // What is not asked for is not there.
    let (outcome, ledger) = run("-o jsonl");
    assert_eq!(
        lines(&outcome.text()).iter().map(told).collect::<Vec<_>>(),
        ["exchange 0", "exchange 1", "exchange 2"]
    );
    assert!(!outcome.stderr.contains("had to wait longer") && !outcome.text().contains("\"event\""));
    assert_eq!(ledger["analysis"]["http"]["pending_reported"], 0);
    let (outcome, _) = run("-o jsonl --events response");
    assert_eq!(lines(&outcome.text()).iter().map(told).collect::<Vec<_>>(), ["response 0", "response 1"]);
    let (outcome, _) = run("-o none --pending 10s");
    outcome.says("\n0 requests had to wait longer than 10 s for an answer");
    let (outcome, _) = run("-o none --pending 1s");
    outcome.says("\n2 requests had to wait longer than 1.0 s for an answer");
}

#[test]
fn lines_for_people() {
    let dir = Dir::new();
    dir.write("a.pcap", &conversation().pcap());
    let words = "http -q -r a.pcap -o text --events request,response,exchange,interim --pending 3s";
    let text = dir.gannet(words).run().exits(0).text();
    let rows: Vec<_> =
        text.lines().map(|line| line.split_whitespace().skip(2).collect::<Vec<_>>().join(" ")).collect();
    assert!(text.starts_with("--- 20"), "{text}");
    let rows = &rows[1..];
    // Times of the first exchange are drawn.
    let ends = ["h/a [request]", "h/a [interim]", "h/a [response]", "h/a", "h/slow [request]"];
    for (row, end) in rows.iter().zip(ends) {
        assert!(row.ends_with(end) || end == "h/a [interim]" && row.ends_with("[interim]"), "{row}");
    }
    assert!(rows[0].starts_with(">>> ") && rows[1].starts_with("103 - - "), "{rows:?}");
    assert_eq!(rows[5], "... 5.0 s - GET h/slow [pending]");
    assert_eq!(rows[8], ">>> - 0 B GET h/never [request]");
    assert_eq!(rows[9], "... 9.0 s - GET h/never [pending]");
    assert!(rows[10].ends_with("GET h/never [truncated]"));
}

/// Of many connections the order of events is the same for any number of workers, each request before its response
/// before their exchange, and every sum holds.
#[test]
fn order_and_sums() {
    let dir = Dir::new();
    let plan = Plan { seed: 11, size_bytes: 6_000_000, connections: 50 };
    let (mut capture, mut truth) = (Vec::new(), Vec::new());
    let report = generate(&plan, &mut capture, &mut truth).unwrap();
    dir.write("a.pcap", &capture);
    let run = |words: &str| {
        let words = format!("http -r a.pcap --stats-json ledger.json -o jsonl {words}");
        let outcome = dir.gannet(&words).run().exits(0);
        assert!(!outcome.stderr.contains("defect"), "{}", outcome.stderr);
        outcome.text()
    };
    let words = "--events exchange,request,response,interim --pending 1ms";
    let one = run(&format!("{words} --workers 1"));
    for workers in [2, 4] {
        assert!(one == run(&format!("{words} --workers {workers}")), "{workers} workers");
    }
    let records = lines(&one);
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in &records {
        let id = record["gannet"]["id"].as_str().map(str::to_owned);
        let event = told(record).split_once(' ').unwrap().0.to_owned();
        if let Some(id) = id {
            seen.entry(id).or_default().push(event);
        }
    }
    assert_eq!(seen.len() as u64, report.exchanges);
    for (id, events) in &seen {
        let place = |wanted: &str| events.iter().position(|event| event == wanted);
        assert_eq!(place("exchange"), Some(events.len() - 1), "{id}: {events:?}");
        assert!(place("request") < place("exchange"), "{id}: {events:?}");
        assert!(place("response").is_none_or(|at| Some(at) > place("request")), "{id}: {events:?}");
        assert!(events.iter().filter(|event| *event == "request").count() <= 1, "{id}: {events:?}");
    }
    let ledger: Value = serde_json::from_slice(&dir.read("ledger.json")).unwrap();
    let http = &ledger["analysis"]["http"];
    let count = |name: &str| http[name].as_u64().unwrap();
    let events = ["exchanges", "requests", "responses", "interim_responses", "pending_reported"].map(count);
    assert_eq!(ledger["sinks"][0]["made"].as_u64(), Some(events.iter().sum()), "{ledger}");
    assert_eq!(records.len() as u64, events.iter().sum::<u64>());
    assert!(count("pending_reported") > 0);
    // Exchanges alone are the same lines.
    let exchanges: String =
        one.lines().filter(|line| !line.contains("\"event\":")).map(|line| format!("{line}\n")).collect();
    assert!(exchanges == run(""));
}

/// Bodies are in records if they are asked for, decoded; whole messages beside them do not put them there.
#[test]
fn bodies() {
    let dir = Dir::new();
    dir.write("a.pcap", &conversation().pcap());
    let run = |words: &str| {
        let outcome =
            dir.gannet(&format!("http -q -r a.pcap --stats-json ledger.json {words}")).run().exits(0);
        let ledger: Value = serde_json::from_slice(&dir.read("ledger.json")).unwrap();
        (lines(&outcome.text()), ledger["analysis"]["http"]["bodies_partial"].as_u64().unwrap())
    };
    let (records, partial) = run("-o jsonl --body 3");
    let body = &records[0]["http"]["response"]["body"];
    assert_eq!(
        (&body["size"], &body["content"], &body["truncated"]),
        (&json!(5), &json!("hel"), &json!(true))
    );
    assert_eq!(partial, 2);
    let (records, partial) = run("-o jsonl --body 1MiB --events request");
    assert_eq!((&records[0]["http"]["request"]["body"]["content"], partial), (&json!("12345"), 0));
    let (records, _) = run("-o jsonl -o messages:all.txt");
    assert_eq!(records[0]["http"]["response"]["body"], json!({"size": 5}));
    assert!(String::from_utf8(dir.read("all.txt")).unwrap().contains("\r\n\r\nhello\n\n"));
}

/// A TLS ClientHello for `name` (RFC 8446, section 4.1.2; RFC 6066, section 3), and nothing else.
fn hello(name: &str) -> Vec<u8> {
    let block = |size: usize, bytes: &[u8]| {
        let len = (bytes.len() as u32).to_be_bytes();
        [&len[4 - size..], bytes].concat()
    };
    let names = block(2, &[&[0][..], &block(2, name.as_bytes())].concat());
    let extension = [&[0, 0][..], &block(2, &names)].concat();
    let parts = [
        &[3, 3][..],
        &[7; 32],
        &block(1, &[]),
        &block(2, &[0x13, 1]),
        &block(1, &[0]),
        &block(2, &extension),
    ];
    let message = [&[1][..], &block(3, &parts.concat())].concat();
    [&[22, 3, 1][..], &block(2, &message)].concat()
}

/// A run that found nothing says what there was.
#[test]
fn a_file_without_exchanges_says_why() {
    let dir = Dir::new();
    let connection = |port: u16, bytes: &[u8]| {
        let mut builder = Builder::new(Setup::default().client_port(port).seed(port.into()));
        builder.handshake().write(Peer::Client, bytes).flush(Peer::Client).close(Peer::Client);
        builder.finish()
    };
    let says = |conversations: &[Conversation], words: &str, said: &[&str]| {
        dir.write("a.pcap", &pcap(merge(conversations)));
        let words = format!("http -o jsonl -r a.pcap --stats-json ledger.json {words}");
        let outcome = dir.gannet(&words).run().exits(0).says("0 HTTP exchanges on ");
        assert_eq!(outcome.text(), "");
        said.iter().fold(outcome, |outcome, said| outcome.says(said));
        serde_json::from_slice::<Value>(&dir.read("ledger.json")).unwrap()
    };
    let tls = ["b.example", "a.example", "B.example", ""].into_iter().zip(1_000..);
    let mut tls: Vec<_> = tls.map(|(name, port)| connection(port, &hello(name))).collect();
    let said =
        "4 connections are TLS, for which there are no keys: b.example (2), a.example (1), 1 without a name";
    let ledger = says(&tls, "", &[said]);
    assert_eq!(ledger["tls_server_names"], json!({"b.example": 2, "a.example": 1}));
    tls.extend((2_000..2_007).map(|port| connection(port, &hello(&format!("{port}.example")))));
    says(&tls, "--workers 2", &["b.example (2), 2000.example (1), ", ", 4 for others, 1 without a name"]);

    let preface = connection(3_000, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    says(&[preface], "", &["1 connection speaks HTTP/2, which is counted but not read"]);
    let other = connection(3_001, b"SSH-2.0-OpenSSH_9.6\r\nmore of it, and more of it\r\n");
    let other = [other];
    says(&other, "", &["no exchange was found in 1 connection of other protocols"]);
    says(
        &other,
        "--ports 8080",
        &["no exchange was found in 1 connection on other ports than those asked for"],
    );
    says(&[connection(3_002, b"")], "", &["1 connection without data"]);
    // What is cut off whole is not known to be another protocol.
    let cut = [connection(3_004, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")];
    let said = "no exchange was found in 1 connection of which the snapshot length left too little to tell";
    let ledger = says(&cut, "-s headers", &[said]);
    assert_eq!(ledger["analysis"]["http"]["cut"], 1);
    let half = ["on 1 connection", "no exchange was found in 1 start line cut off too early to say"];
    let ledger = says(&[connection(3_003, b"GET /")], "", &half);
    assert_eq!(ledger["analysis"]["http"]["start_lines_cut"], 1);

    let http = |damage: &dyn Fn(&mut Conversation)| {
        let mut builder = Builder::new(Setup::default());
        builder.handshake().request(&Request::new("GET", "/", "h"));
        builder.response(&Response::new(200, Body::length(vec![b'x'; 20_000])));
        let mut conversation = builder.finish();
        damage(&mut conversation);
        conversation
    };
    says(
        &[http(&|whole| {
            whole.snaplen(66);
        })],
        "",
        &["bytes of streams were cut off by the snapshot length (-s)"],
    );
    says(
        &[http(&|whole| {
            whole.snaplen(40);
        })],
        "",
        &[" cut by the snapshot length"],
    );
    says(
        &[http(&|whole| {
            whole.midstream(8);
        })],
        "",
        &["1 connection that began before the capture"],
    );
    says(&[http(&|_| {})], "udp", &[" kept out by the filter"]);
}
