//! One case for each trap of HTTP/1 on the wire: its packets, and the records that they are worth.
//!
//! ```text
//!   case ── script ──► conversation ──► capture ──┬─► gannet http, one worker and two ──► the records of the case
//!                                       │         └─► tshark ──► what it says (README.md)
//!                                       ├─► cut otherwise ──┐
//!                                       └─► in disorder ────┴─► gannet http ──► the same records
//! ```
//! `README.md` is the table of all cases; `tools/conformance` writes it, and a test sees to it that it is true.

mod case;
mod chunked;
mod content;
mod framing;
mod interim;
mod length;
mod loss;
mod no_body;
mod pipelining;
mod start_lines;
mod statements;
mod table;
mod tcp;
mod tshark;
mod tunnels;

use std::net::Ipv4Addr;

use gannet_testkit::conversation::{Setup, pcap_of};
use gannet_testkit::random::Random;
use serde_json::Value;

use self::case::{Case, Frame, Make, Stage};
use crate::util::Dir;

/// The cases by subject.
fn groups() -> Vec<(&'static str, Vec<Case>)> {
    vec![
        ("Heads", framing::cases()),
        ("First lines that are odd or not whole", start_lines::cases()),
        ("Lengths", length::cases()),
        ("Chunks", chunked::cases()),
        ("Answers without a body, and those that end with the connection", no_body::cases()),
        ("Pipelining, early answers, orphans", pipelining::cases()),
        ("Interim answers", interim::cases()),
        ("Tunnels", tunnels::cases()),
        ("Loss, and joining in the middle", loss::cases()),
        ("TCP", tcp::cases()),
        ("Contents", content::cases()),
    ]
}

/// Where the case of this number plays: every case has a client of its own, and hours of its own, so that all of them
/// can stand in one capture. What is drawn depends on its name alone.
fn stage(number: usize, name: &str) -> Stage {
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    let mut setup = Setup::default().seed(seed);
    let client = Ipv4Addr::new(198, 18, (number / 250) as u8, (number % 250) as u8 + 1);
    setup.route.client = (client, setup.route.client.port()).into();
    setup.start_ns += number as u64 * 7_200_000_000_000;
    Stage { setup, cut: None }
}

fn capture(frames: &[Frame]) -> Vec<u8> {
    pcap_of(frames.iter().map(|frame| (frame.time_ns, frame.orig_len, &frame.bytes[..])))
}

fn records(dir: &Dir, frames: &[Frame], words: &str) -> Vec<Value> {
    dir.write("case.pcap", &capture(frames));
    let outcome = dir.gannet(&format!("http -q -r case.pcap -o jsonl {words}")).run().exits(0);
    assert!(!outcome.stderr.contains("defect"), "{}", outcome.stderr);
    outcome.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A record in one line: method, host and path, body, status, body, state, its reason if that is not the framing,
/// confidence; then what not all have.
fn line(record: &Value) -> String {
    let text = |pointer: &str| match record.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".into(),
        Some(other) => other.to_string(),
    };
    let list = |pointer: &str| {
        let items = record.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
        items
            .iter()
            .map(|item| {
                let named = item.as_str().map(str::to_owned);
                named.unwrap_or_else(|| item.get("status_code").unwrap_or(item).to_string())
            })
            .collect::<Vec<_>>()
            .join(",")
    };
    let mut line = match record.pointer("/http/request") {
        None => "-".to_owned(),
        Some(request) => {
            let method = request.get("method_original").unwrap_or(&request["method"]).as_str().unwrap();
            let path = record.pointer("/url/path").map_or(String::new(), |_| text("/url/path"));
            let query =
                record.pointer("/url/query").map_or(String::new(), |_| format!("?{}", text("/url/query")));
            let target = format!("{path}{query}");
            let target = if target.len() > 100 { format!("/... ({} bytes)", target.len()) } else { target };
            format!("{method} {}{target} {}", text("/server/address"), text("/http/request/body/size"))
        }
    };
    match record.pointer("/http/response") {
        None => line += " > -",
        Some(_) => {
            line +=
                &format!(" > {} {}", text("/http/response/status_code"), text("/http/response/body/size"));
        }
    }
    line += &format!(" {}", text("/gannet/state"));
    let reason = text("/gannet/reason");
    if reason != "framing" {
        line += &format!(" ({reason})");
    }
    line += &format!(" {}", text("/gannet/pair_confidence"));
    if record.pointer("/gannet/switched").is_some() {
        line += &format!(" switched={}", text("/gannet/switched/protocol"));
        if record.pointer("/gannet/switched/server_name").is_some() {
            line += &format!(",{}", text("/gannet/switched/server_name"));
        }
        let [client, server] = ["client", "server"].map(|end| text(&format!("/gannet/switched/{end}_bytes")));
        line += &format!(",{client}+{server}");
    }
    for (name, value) in [
        ("interim", list("/timing/interim")),
        ("notes", list("/gannet/notes")),
        ("untrusted", list("/gannet/untrusted")),
    ] {
        if !value.is_empty() {
            line += &format!(" {name}={value}");
        }
    }
    let gap = text("/tcp/gap_bytes");
    if gap != "0" {
        line += &format!(" gap={gap}");
    }
    line
}

/// The same for many; of equal ones that follow one another, how many there are.
fn lines(records: &[Value]) -> Vec<String> {
    let mut counted: Vec<(String, u32)> = Vec::new();
    for line in records.iter().map(line) {
        match counted.last_mut() {
            Some((last, count)) if *last == line => *count += 1,
            _ => counted.push((line, 1)),
        }
    }
    counted
        .into_iter()
        .map(|(line, count)| if count == 1 { line } else { format!("{count} × {line}") })
        .collect()
}

/// A line without what depends on times and on how the capture was cut: unless a length is in doubt, that it was
/// wrong can be seen only while its message is at hand.
fn essence(line: &str) -> String {
    let lasting = |word: &str| match word.strip_prefix("notes=") {
        Some(notes) if !notes.contains("conflicting-length") => {
            let notes: Vec<_> = notes.split(',').filter(|note| !note.ends_with("length-refuted")).collect();
            (!notes.is_empty()).then(|| format!("notes={}", notes.join(",")))
        }
        _ => (!word.starts_with("untrusted=")).then(|| word.to_owned()),
    };
    line.split(' ').filter_map(lasting).collect::<Vec<_>>().join(" ")
}

/// Runs a case; what is wrong, if anything.
fn differences(dir: &Dir, number: usize, case: &Case) -> Vec<String> {
    let mut wrong = Vec::new();
    let stage = stage(number, case.name);
    let frames = case.film(&stage);
    assert!(frames.len() > 1, "{}", case.name);
    for workers in [1, 2] {
        let records = records(dir, &frames, &format!("--workers {workers} {}", case.words));
        let lines = lines(&records);
        if lines != case.records {
            wrong.push(format!(
                "{} with {workers} workers:\n    {}\n  expected:\n    {}",
                case.name,
                lines.join("\n    "),
                case.records.join("\n    ")
            ));
        }
        for (record, pointer, expected) in &case.also {
            let found =
                records.get(*record).and_then(|record| record.pointer(pointer)).unwrap_or(&Value::Null);
            if found != expected {
                wrong.push(format!(
                    "{}: {pointer} of record {record} is {found}, expected {expected}",
                    case.name
                ));
            }
        }
    }
    let mut same = |what: String, frames: &[Frame]| {
        let sorted = |mut lines: Vec<String>| {
            lines.sort();
            lines
        };
        let found = lines(&records(dir, frames, case.words));
        let found = sorted(found.iter().map(|line| essence(line)).collect());
        let expected = sorted(case.records.iter().map(|line| essence(line)).collect());
        if found != expected {
            wrong.push(format!(
                "{} {what}:\n    {}\n  expected:\n    {}",
                case.name,
                found.join("\n    "),
                expected.join("\n    ")
            ));
        }
    };
    if case.cut_anywhere && matches!(case.make, Make::Talk(_)) {
        for bytes in [1, 3, 17] {
            let stage = Stage { cut: Some(bytes), ..stage.clone() };
            same(format!("in segments of {bytes}"), &case.film(&stage));
        }
    }
    if case.any_order {
        for seed in 0..3 {
            same(format!("in disorder {seed}"), &in_disorder(&frames, seed));
        }
    }
    wrong
}

/// The same frames in another order, as queues between two capture points make it: a frame is overtaken by at most
/// two that come within 50 ms; none overtakes a frame that opens or closes the connection.
fn in_disorder(frames: &[Frame], seed: u64) -> Vec<Frame> {
    let mut random = Random::new(seed);
    let mut frames = frames.to_vec();
    let bounds = |frame: &Frame| frame.bytes.get(47).is_none_or(|flags| flags & 0x07 != 0);
    for at in 1..frames.len().saturating_sub(1) {
        let near = frames[at + 1].time_ns - frames[at].time_ns < 50_000_000;
        if near && !bounds(&frames[at]) && !bounds(&frames[at + 1]) && random.below(2) == 0 {
            let (first, second) = (frames[at].time_ns, frames[at + 1].time_ns);
            frames.swap(at, at + 1);
            (frames[at].time_ns, frames[at + 1].time_ns) = (first, second);
        }
    }
    frames
}

/// Runs the cases of one group.
fn run(group: fn() -> Vec<Case>) {
    let dir = Dir::new();
    let all = groups();
    let numbers: Vec<&str> = all.iter().flat_map(|(_, cases)| cases.iter().map(|case| case.name)).collect();
    let mut wrong = Vec::new();
    for case in group() {
        let number = numbers.iter().position(|name| *name == case.name).unwrap();
        wrong.extend(differences(&dir, number, &case));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

macro_rules! groups_as_tests {
    ($($name:ident $group:ident;)*) => {
        $(#[test]
        fn $name() {
            run($group::cases);
        })*
    };
}

groups_as_tests! {
    cases_of_heads framing;
    cases_of_start_lines start_lines;
    cases_of_lengths length;
    cases_of_chunks chunked;
    cases_without_a_body no_body;
    cases_of_pipelining pipelining;
    cases_of_interim_answers interim;
    cases_of_tunnels tunnels;
    cases_of_loss loss;
    cases_of_tcp tcp;
    cases_of_contents content;
}
