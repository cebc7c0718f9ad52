//! Requests that nobody answers, live: they are reported at once, again when they have waited for long, and at their
//! end.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use gannet_testkit::lab::Side;
use serde_json::Value;

use super::http::{end, records, start};
use super::support::{Bench, wait_for};

/// What is told of, in order: `exchange` where a record says nothing else.
fn told(bench: &Bench) -> Vec<String> {
    let event = |record: &Value| record["gannet"]["event"].as_str().unwrap_or("exchange").to_owned();
    records(bench, "records.jsonl").iter().map(event).collect()
}

/// The server takes a request and says nothing; no packet comes while the request waits.
#[test]
fn a_request_that_hangs() {
    let Some(bench) = Bench::new() else { return };
    let address = (Side::Receiver.address(), 80);
    let listener = bench.lab.enter(Side::Receiver, move || TcpListener::bind(address)).unwrap().unwrap();
    let capture = start(
        &bench,
        "-o jsonl:records.jsonl -o messages:messages.txt --events request,response,exchange --pending 500ms",
    );
    let mut client = bench.lab.enter(Side::Sender, move || TcpStream::connect(address)).unwrap().unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let request = b"POST /hang HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody";
    client.write_all(request).unwrap();
    wait_for("the request", || !told(&bench).is_empty());
    wait_for("the message", || bench.dir.read("messages.txt").ends_with(b"\r\n\r\nbody\n\n"));
    wait_for("the pending one", || told(&bench).len() > 1);
    assert_eq!(told(&bench), ["request", "pending"]);
    let all = records(&bench, "records.jsonl");
    let waited = all[1]["gannet"]["waited_ns"].as_u64().unwrap();
    assert!(waited >= 500_000_000, "{waited}");
    assert_eq!(all[0]["gannet"]["id"], all[1]["gannet"]["id"]);
    // The answer comes after all.
    server.read_exact(&mut vec![0; request.len()]).unwrap();
    server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    wait_for("the exchange", || told(&bench).len() > 3);
    assert_eq!(told(&bench), ["request", "pending", "response", "exchange"]);
    drop((client, server));
    end(capture).says("1 request had to wait longer than 500 ms for an answer");
    let ledger: Value = serde_json::from_slice(&bench.dir.read("ledger.json")).unwrap();
    for (sink, made) in [(0, 4), (1, 3)] {
        let sink = &ledger["sinks"][sink];
        assert_eq!((sink["made"].as_u64(), sink["written"].as_u64()), (Some(made), Some(made)), "{ledger}");
    }
}
