//! `gannet http -r`: capture files to records.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gannet_testkit::capture::{Plan, generate};
use gannet_testkit::conversation::{Body, Builder, Packet, Peer, Request, Response, Setup, pcap, variants};
use gannet_testkit::truth::check;
use serde_json::Value;

use crate::util::Dir;

/// The captures that were made elsewhere; `None`, said on stderr, where they are not.
pub(super) fn corpus() -> Option<PathBuf> {
    let path = std::env::var_os("GANNET_CORPUS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    if path.join("INDEX.tsv").is_file() {
        return Some(path);
    }
    eprintln!("SKIPPED, needs the corpus of captures: {} (GANNET_CORPUS)", path.display());
    None
}

fn records(dir: &Dir, file: &Path, words: &str) -> Vec<Value> {
    let outcome = dir.gannet(&format!("http -q {words} -r {}", file.display())).run().exits(0);
    outcome.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Every capture below `path`.
pub(super) fn captures(path: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for entry in entries {
        if entry.is_dir() { captures(&entry, found) } else { found.push(entry) }
    }
}

/// The output does not depend on the number of workers, nor on the run.
#[test]
fn workers_make_no_difference() {
    let Some(corpus) = corpus() else { return };
    let dir = Dir::new();
    let mut files = Vec::new();
    captures(&corpus.join("pcaps"), &mut files);
    assert!(files.len() > 50);
    let mut exchanges = 0;
    for file in files {
        let output = |workers: Option<usize>| {
            let words = |workers| format!("http -q --workers {workers} -r {}", file.display());
            let command = match workers {
                Some(workers) => dir.gannet(&words(workers)),
                // What goes to a file the worker writes itself, beside the thread for this pipe.
                None => dir.gannet_on_one_cpu(&format!("{} -o jsonl -o jsonl:own", words(1))),
            };
            let outcome = command.run();
            if workers.is_none() {
                assert!(dir.read("own") == outcome.stdout, "{}", file.display());
                std::fs::remove_file(dir.join("own")).unwrap();
            }
            assert!(
                [Some(0), Some(2)].contains(&outcome.status.code()),
                "{}: {}",
                file.display(),
                outcome.stderr
            );
            assert!(!outcome.stderr.contains("defect"), "{}: {}", file.display(), outcome.stderr);
            outcome.text()
        };
        let one = output(Some(1));
        exchanges += one.lines().count();
        // On one processor the one worker has no thread of its own.
        for workers in [Some(1), Some(2), Some(4), None] {
            assert!(one == output(workers), "{} with {workers:?} workers", file.display());
        }
    }
    assert!(exchanges > 50, "{exchanges}");
}

/// A request and the status of its answer, as tshark and we have it.
type Row = (String, String, String, Option<u64>);

/// tshark's rows, as the requests of each client in order, each with the final status in its place: tshark shows every
/// answer, though it does not link all of them to a request.
fn expected(table: &str) -> BTreeMap<(String, String), Vec<Row>> {
    let mut lines = table.lines();
    let columns: Vec<_> = lines.next().unwrap().split('\t').collect();
    let column = |name: &str| columns.iter().position(|column| *column == name).unwrap();
    let source = ["ip.src", "ipv6.src", "tcp.srcport"].map(column);
    let destination = ["ip.dst", "ipv6.dst", "tcp.dstport"].map(column);
    let [method, host, uri, status] =
        ["http.request.method", "http.host", "http.request.uri", "http.response.code"].map(column);
    let last = |value: &str| value.rsplit('|').next().unwrap().to_owned();
    let mut rows: BTreeMap<(String, String), Vec<Row>> = BTreeMap::new();
    for line in lines {
        let cells: Vec<_> = line.split('\t').collect();
        let end = |[v4, v6, port]: [usize; 3]| {
            let address = if cells[v4].is_empty() { cells[v6] } else { cells[v4] };
            (last(address), last(cells[port]))
        };
        // Several messages in one frame stand beside one another.
        for (index, name) in cells[method].split('|').enumerate().filter(|(_, name)| !name.is_empty()) {
            let part = |cell: &str| cell.split('|').nth(index).unwrap_or_default().to_owned();
            let row = (name.to_owned(), part(cells[host]), part(cells[uri]), None);
            rows.entry(end(source)).or_default().push(row);
        }
        for code in cells[status].split('|').filter_map(|code| code.parse::<u64>().ok()) {
            if code >= 200 || code == 101 {
                let requests = rows.get_mut(&end(destination)).into_iter().flatten();
                if let Some(request) = requests.into_iter().find(|request| request.3.is_none()) {
                    request.3 = Some(code);
                }
            }
        }
    }
    rows
}

/// Our records in the same form.
fn found(records: &[Value]) -> BTreeMap<(String, String), Vec<Row>> {
    let mut rows: BTreeMap<(String, String), Vec<(String, Row)>> = BTreeMap::new();
    for record in records.iter().filter(|record| record["http"]["request"].is_object()) {
        let text = |pointer: &str| {
            let value = record.pointer(pointer);
            value
                .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
                .unwrap_or_default()
        };
        let query = record["url"]["query"].as_str().map(|query| format!("?{query}")).unwrap_or_default();
        let method = record
            .pointer("/http/request/method_original")
            .map_or_else(|| text("/http/request/method"), |original| original.as_str().unwrap().to_owned());
        let row = (
            method,
            text("/http/request/header/host/0"),
            format!("{}{query}", text("/url/path")),
            record.pointer("/http/response/status_code").and_then(Value::as_u64),
        );
        rows.entry((text("/client/address"), text("/client/port")))
            .or_default()
            .push((text("/timestamp"), row));
    }
    let mut sorted = BTreeMap::new();
    for (key, mut list) in rows {
        list.sort_by(|left, right| left.0.cmp(&right.0));
        sorted.insert(key, list.into_iter().map(|(_, row)| row).collect());
    }
    sorted
}

/// Where we differ from tshark, and why that is right.
const DIFFERENCES: &[(&str, &str)] = &[
    (
        "suricata-verify/tests/http-connect/http-connect-simple/input.pcap",
        "what is inside a CONNECT tunnel is counted, not read; the target of CONNECT is no path",
    ),
    (
        "zeek/http/bro.org.pcap",
        "on one connection segments are missing; tshark shows no answer behind the first hole",
    ),
    ("zeek/http/content-range-gap.pcap", "the body has a hole; tshark shows no answer then"),
];

#[test]
fn requests_and_answers_equal_tsharks() {
    let Some(corpus) = corpus() else { return };
    let dir = Dir::new();
    let mut tables = Vec::new();
    captures(&corpus.join("expected/tshark"), &mut tables);
    let tables: Vec<_> =
        tables.into_iter().filter(|path| path.to_string_lossy().ends_with(".http.tsv")).collect();
    assert!(tables.len() >= 10);
    let mut wrong = Vec::new();
    for table in tables {
        let name = table.strip_prefix(corpus.join("expected/tshark")).unwrap().to_string_lossy().into_owned();
        let name = name.trim_end_matches(".http.tsv");
        let theirs = expected(&std::fs::read_to_string(&table).unwrap());
        let ours = found(&records(&dir, &corpus.join("pcaps").join(name), ""));
        let differs = theirs != ours;
        if differs != DIFFERENCES.iter().any(|(file, _)| *file == name) {
            wrong.push(name.to_owned());
            for client in
                theirs.keys().chain(ours.keys()).filter(|client| theirs.get(client) != ours.get(client))
            {
                let (theirs, ours) = (theirs.get(client), ours.get(client));
                wrong.push(format!("  {client:?}\n    tshark: {theirs:?}\n    ours:   {ours:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A generated capture of many connections: every field of every record, times to the nanosecond, for any number of
/// workers; also compressed, and as pcapng.
#[test]
fn a_generated_capture_equals_its_truth() {
    let dir = Dir::new();
    let plan = Plan { seed: 7, size_bytes: 12_000_000, connections: 50 };
    let (mut pcap, mut truth) = (Vec::new(), Vec::new());
    let report = generate(&plan, &mut pcap, &mut truth).unwrap();
    assert!(report.exchanges > 200 && report.pipelined > 0, "{report:?}");
    dir.write("a.pcap", &pcap);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gz, &pcap).unwrap();
    dir.write("a.pcap.gz", &gz.finish().unwrap());
    dir.gannet("record -q -r a.pcap -w a.pcapng").run().exits(0);
    for (words, stdin) in [
        ("-r a.pcap --workers 1", None),
        ("-r a.pcap --workers 2", None),
        ("-r a.pcap --workers 4", None),
        ("-r a.pcap.gz", None),
        ("-r a.pcapng", None),
        ("-r -", Some(&pcap)),
    ] {
        let mut gannet = dir.gannet(&format!("http -q {words}"));
        if let Some(bytes) = stdin {
            gannet = gannet.stdin(bytes);
        }
        let outcome = gannet.run().exits(0);
        let checked = check(&truth[..], &outcome.stdout[..]).unwrap();
        assert!(checked.differences.is_empty(), "{words}: {}", all(&checked.differences));
    }
}

/// A capture without a packet is not an input without HTTP.
#[test]
fn a_capture_without_packets_says_so() {
    let dir = Dir::new();
    let mut builder = Builder::new(Setup::default());
    dir.write("a.pcap", &builder.finish().pcap());
    dir.gannet("http -r a.pcap").run().exits(0).says("as there are no packets in what was read");
    builder.handshake();
    dir.write("a.pcap", &builder.finish().pcap());
    dir.gannet("http -r a.pcap").run().exits(0).says("no exchange was found in 1 connection without data");
    // What is of a link type that nobody knows is no other protocol in the first place.
    let mut other = builder.finish().pcap();
    other[20..24].copy_from_slice(&147_u32.to_le_bytes());
    dir.write("other.pcap", &other);
    dir.gannet("http -r other.pcap")
        .run()
        .exits(0)
        .says("gannet: other.pcap: its packets of link type LINKTYPE_147 are not looked into");
}

/// What `tcpreplay --loop` sends: the same packets in every round. Each is another connection, unless
/// they follow one another as fast as copies do: the report says then what they were taken for.
#[test]
fn a_replay_in_a_loop_is_a_conversation_in_every_round() {
    let dir = Dir::new();
    let mut builder = Builder::new(Setup::default());
    builder.handshake();
    builder
        .request(&Request::new("GET", "/a", "h"))
        .response(&Response::new(200, Body::length(&b"hello"[..])));
    builder.close(Peer::Client);
    let conversation = builder.finish();
    let round = |number: u64, every_ns: u64| {
        let later =
            move |packet: &Packet| Packet { time_ns: packet.time_ns + number * every_ns, ..packet.clone() };
        conversation.packets().iter().map(later).collect::<Vec<_>>()
    };
    for (every_ns, words, found) in [(150_000_000, "", 5), (20_000_000, "", 1), (20_000_000, "--no-dedup", 5)]
    {
        let packets: Vec<_> = (0..5).flat_map(|number| round(number, every_ns)).collect();
        dir.write("loop.pcap", &pcap(&packets));
        let outcome = dir.gannet(&format!("http {words} -r loop.pcap -o jsonl")).run().exits(0);
        let states: Vec<_> =
            outcome.text().lines().map(|line| line.contains(r#""state":"complete""#)).collect();
        assert_eq!(states, vec![true; found], "{every_ns} {words}: {}", outcome.stderr);
        if found == 1 {
            outcome.says("4 connections came again within 100 ms and were taken for copies");
        }
    }
}

/// What a server says in front of its first response is in no record; it is in the report.
#[test]
fn bytes_that_belong_to_no_message_are_told() {
    let dir = Dir::new();
    let mut builder = Builder::new(Setup::default());
    builder.handshake();
    builder.request(&Request::new("GET", "/", "h")).write(Peer::Server, b"garbage\r\n").flush(Peer::Server);
    builder.response(&Response::new(200, Body::length(&b"hello"[..])));
    dir.write("a.pcap", &builder.finish().pcap());
    let outcome = dir.gannet("http -q -r a.pcap -o none --stats-json -").run().exits(0);
    let ledger: Value = serde_json::from_slice(&outcome.stdout).unwrap();
    assert_eq!(ledger["analysis"]["http"]["skipped_bytes"], 9);
    let outcome = dir.gannet("http -r a.pcap -o none").run().exits(0);
    outcome.says("\n9 bytes on HTTP connections belong to no message\n");
}

/// Between the packets of connections lie others of all lengths, so that every part of a record is met where one
/// piece of the file ends and the next one begins, also of records longer than what a piece has room for in front.
/// However it is read the records are the same, to the end of the file, which is cut.
#[test]
fn pieces_of_a_file_end_anywhere() {
    let dir = Dir::new();
    let plan = Plan { seed: 3, size_bytes: 6_000_000, connections: 40 };
    let (mut pcap, mut truth) = (Vec::new(), Vec::new());
    generate(&plan, &mut pcap, &mut truth).unwrap();
    let (header, mut rest) = pcap.split_at(24);
    let mut file = header.to_vec();
    let mut number = 0_usize;
    while let Some(length) = rest.get(8..12) {
        let len = 16 + u32::from_le_bytes(length.try_into().unwrap()) as usize;
        let (record, more) = rest.split_at(len);
        rest = more;
        number += 1;
        let extra = match number % 1_000 {
            500 => 200_000,
            700 => 600_000,
            _ if number.is_multiple_of(13) => number % 97,
            _ => 0,
        };
        if extra != 0 {
            file.extend_from_slice(&record[..8]);
            file.extend_from_slice(&[(extra as u32).to_le_bytes(); 2].concat());
            file.resize(file.len() + extra, 0xee);
        }
        file.extend_from_slice(record);
    }
    assert!(number > 3_000 && file.len() > 8_000_000, "{number} packets, {} bytes", file.len());
    dir.write("a.pcap", &file);
    file.truncate(file.len() - 5);
    dir.write("cut.pcap", &file);
    let output = |gannet: crate::util::Gannet| {
        let outcome = gannet.run().exits(0);
        let told: Vec<_> =
            outcome.stderr.lines().filter(|line| line.contains("packets")).map(str::to_owned).collect();
        assert!(told.len() > 2, "{}", outcome.stderr);
        (outcome.stdout, told)
    };
    for name in ["a.pcap", "cut.pcap"] {
        let one = output(dir.gannet_on_one_cpu(&format!("http --workers 1 -r {name}")));
        for workers in [1, 2, 3, 8] {
            let several = output(dir.gannet(&format!("http --workers {workers} -r {name}")));
            assert!(several == one, "{name}, {workers} workers: {:?} {:?}", several.1, one.1);
        }
        let records = std::fs::read(dir.path().join(name)).unwrap();
        let piped = output(dir.gannet("http --workers 2 -r -").stdin(&records));
        assert!(piped == one, "{name}, from a pipe");
        if name == "a.pcap" {
            let checked = check(&truth[..], &one.0[..]).unwrap();
            assert!(checked.differences.is_empty(), "{}", all(&checked.differences));
        }
    }
}

fn all(differences: &[gannet_testkit::truth::Difference]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Conversations with every kind of damage, to the connection or to the capture. Where every byte was captured the
/// records are the truth, but for what TCP went through, which exchanges that overlap share. All of them are compared
/// with what has been read and found right before: `GANNET_BLESS=1` writes it anew.
#[test]
fn damaged_conversations() {
    let dir = Dir::new();
    let mut table = String::new();
    for variant in variants(3) {
        dir.write("v.pcap", &variant.conversation.pcap());
        let outcome = dir.gannet("http -q -r v.pcap").run().exits(0);
        assert!(!outcome.stderr.contains("defect"), "{}: {}", variant.name, outcome.stderr);
        let truth = variant.conversation.truth();
        let mut expected = Vec::new();
        for exchange in &truth {
            exchange.write(&mut expected).unwrap();
        }
        if truth.iter().all(|exchange| exchange.whole) && variant.name != "answer-without-request" {
            let differences = check(&expected[..], &outcome.stdout[..]).unwrap().differences;
            let real = all(&differences);
            let mut lines =
                real.lines().filter(|line| line.starts_with(' ') && !line.trim().starts_with("tcp."));
            assert_eq!(lines.next(), None, "{}: {real}", variant.name);
        }
        table.push_str(&format!("{}\n", variant.name));
        for line in outcome.text().lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            let shown = |pointer: &str| {
                record.pointer(pointer).map_or("-".to_owned(), Value::to_string).replace('"', "")
            };
            let fields = [
                "/gannet/state",
                "/gannet/pair_confidence",
                "/http/request/method",
                "/url/path",
                "/http/request/body/size",
                "/http/response/status_code",
                "/http/response/body/size",
                "/timing/total_ns",
                "/tcp",
                "/gannet/untrusted",
            ];
            table.push_str(&format!("    {}\n", fields.map(shown).join(" ")));
        }
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/damaged-conversations.txt");
    if std::env::var_os("GANNET_BLESS").is_some() {
        std::fs::write(&golden, &table).unwrap();
    }
    let known = std::fs::read_to_string(&golden).unwrap();
    for (ours, known) in table.lines().zip(known.lines()) {
        assert_eq!(ours, known, "in\n{table}");
    }
    assert_eq!(table.lines().count(), known.lines().count());
}

/// Patterns in another program's language were taken and fitted nothing, without a word.
#[test]
fn routes_that_fit_nothing_are_told() {
    let dir = Dir::new();
    dir.write("v.pcap", &variants(3)[0].conversation.pcap());
    let run = "http -r v.pcap -o none --summary=table --stats-json ledger.json";
    let ledger = || serde_json::from_slice::<Value>(&dir.read("ledger.json")).unwrap();
    let outcome = dir.gannet(&format!("{run} --route /* --route /no/{{id}} --route /nothing")).run().exits(0);
    outcome.says("no path fitted --route /no/{id}, /nothing");
    assert_eq!(ledger()["unused_routes"], serde_json::json!(["/no/{id}", "/nothing"]));
    let outcome = dir.gannet(&format!("{run} --route /*")).run().exits(0);
    assert!(!outcome.stderr.contains("no path fitted"));
    assert_eq!(ledger()["unused_routes"], serde_json::json!([]));
    for (pattern, write) in [
        ("/wikipedia/{rest...}", "write `*` for the rest of a path"),
        ("/users/{id:[0-9]+}", "`{id}` is any one segment"),
        ("/users/:id", "write `{id}`"),
        ("/users/<int:id>", "write `{id}`"),
        ("*", "`/*` is every path"),
    ] {
        dir.gannet(&format!("{run} --route {pattern}")).run().exits(2).says(write);
    }
}

/// Three fragments of one datagram were "3 of 1 datagrams".
#[test]
fn fragments_are_counted_in_words_that_hold() {
    let Some(corpus) = corpus() else { return };
    let dir = Dir::new();
    let file = corpus.join("pcaps/zeek/ipv6-fragmented-dns.pcap");
    let outcome = dir.gannet(&format!("http -o none -r {}", file.display())).run().exits(0);
    outcome.says("packets that are IP fragments (3 put together to 1 datagram");
}
