//! `README.md`: every case, what Gannet reports and what tshark shows, and who is right.
//!
//! Where tshark is another version than the one in the file, or missing, its column is taken from the file as it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::case::{Case, Frame, Verdict};
use super::statements::STATEMENTS;
use super::tshark::{self, Said};
use super::{capture, groups, records, stage};
use crate::util::Dir;

/// Every statement has a case, and every case is about statements that there are; names are used once.
#[test]
fn every_statement_has_a_case() {
    let groups = groups();
    let cases: Vec<&Case> = groups.iter().flat_map(|(_, cases)| cases).collect();
    let mut names: Vec<&str> = cases.iter().map(|case| case.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), cases.len());
    for case in &cases {
        assert!(!case.statements.is_empty(), "{}", case.name);
        for statement in case.statements {
            assert!(STATEMENTS.iter().any(|known| known.name == *statement), "{}: {statement}", case.name);
        }
    }
    for statement in STATEMENTS {
        let has_case = cases.iter().any(|case| case.statements.contains(&statement.name));
        assert!(has_case != statement.elsewhere.is_some(), "{}", statement.name);
    }
}

/// `GANNET_BLESS=1` writes the file, `GANNET_CONFORMANCE_CAPTURES` the captures, each under the name of its case,
/// into a directory.
#[test]
fn the_table_is_true() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/README.md");
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    let bless = std::env::var_os("GANNET_BLESS").is_some();
    if let Some(dir) = std::env::var_os("GANNET_CONFORMANCE_CAPTURES") {
        write_captures(&PathBuf::from(dir));
    }
    let version = tshark::version().filter(|version| bless || known.contains(&is_of(version)));
    let cells = match &version {
        Some(_) => compared(),
        None => {
            eprintln!("SKIPPED, needs the tshark of the table: its column is taken as it is");
            cells_of(&known)
        }
    };
    let version = version.or_else(|| Some(known.split("tshark ").nth(1)?.split(' ').next()?.to_owned()));
    let table = document(&version.unwrap_or_default(), &cells);
    if bless {
        std::fs::write(&path, &table).unwrap();
        return;
    }
    for (ours, known) in table.lines().zip(known.lines()) {
        assert_eq!(ours, known, "tools/conformance writes it anew");
    }
    assert_eq!(table.lines().count(), known.lines().count(), "tools/conformance writes it anew");
}

fn write_captures(dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    let groups = groups();
    for (number, case) in groups.iter().flat_map(|(_, cases)| cases).enumerate() {
        let frames = case.film(&stage(number, case.name));
        std::fs::write(dir.join(case.name).with_extension("pcap"), capture(&frames)).unwrap();
    }
}

/// tshark's cells, by case. It must differ from Gannet in the cases that say so, and in no other.
fn compared() -> BTreeMap<String, String> {
    let dir = Dir::new();
    let groups = groups();
    let cases: Vec<&Case> = groups.iter().flat_map(|(_, cases)| cases).collect();
    let mut all: Vec<Frame> = Vec::new();
    let mut starts = Vec::new();
    let mut ours = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let frames = case.film(&stage(number, case.name));
        ours.push(records(&dir, &frames, case.words).iter().map(exchange).collect::<Vec<_>>());
        starts.push(all.len() + 1);
        all.extend(frames);
    }
    let path = dir.write("all.pcap", &capture(&all));
    let mut wrong = Vec::new();
    let mut cells = BTreeMap::new();
    for ((case, mut ours), said) in cases.iter().zip(ours).zip(tshark::read(&path, &starts)) {
        let mut theirs = said.exchanges.clone();
        theirs.sort();
        ours.sort();
        if (ours == theirs) != matches!(case.verdict, Verdict::Same) {
            wrong.push(format!(
                "{}\n    ours   {ours:?}\n    tshark {theirs:?} {:?}",
                case.name, said.interim
            ));
        }
        cells.insert(case.name.to_owned(), cell(&said));
    }
    assert!(wrong.is_empty(), "other than the verdict says:\n{}", wrong.join("\n"));
    cells
}

/// A record in tshark's terms.
fn exchange(record: &Value) -> String {
    let number = |pointer: &str| record.pointer(pointer).map_or("-".to_owned(), Value::to_string);
    let answer = match record.pointer("/http/response") {
        Some(_) => format!("{} {}", number("/http/response/status_code"), number("/http/response/body/size")),
        None => "-".into(),
    };
    let Some(request) = record.pointer("/http/request") else { return format!("- > {answer}") };
    let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let method = request.get("method_original").unwrap_or(&request["method"]).as_str().unwrap();
    let query = record.pointer("/url/query").map_or(String::new(), |_| format!("?{}", text("/url/query")));
    format!("{method} {}{query} {} > {answer}", text("/url/path"), number("/http/request/body/size"))
}

fn cell(said: &Said) -> String {
    let exchanges = said.exchanges.iter().zip(&said.times).map(|(exchange, time)| {
        let exchange =
            if exchange.len() > 200 { format!("{}...", &exchange[..60]) } else { exchange.clone() };
        match time.parse::<f64>() {
            Ok(seconds) => format!("{exchange} in {:.3} ms", seconds * 1_000.0),
            Err(_) => exchange,
        }
    });
    let mut counted: Vec<(String, u32)> = Vec::new();
    for line in exchanges {
        match counted.last_mut() {
            Some((last, count)) if *last == line => *count += 1,
            _ => counted.push((line, 1)),
        }
    }
    let mut lines: Vec<String> = counted
        .into_iter()
        .map(|(line, count)| if count == 1 { line } else { format!("{count} × {line}") })
        .collect();
    if !said.interim.is_empty() {
        lines.push(format!("interim {}", said.interim.join(", ")));
    }
    code(&lines)
}

fn is_of(version: &str) -> String {
    format!("tshark {version} ")
}

/// Lines as one cell of a table.
fn code<S: AsRef<str>>(lines: &[S]) -> String {
    let line = |line: &S| format!("`{}`", line.as_ref().replace('|', "\\|"));
    if lines.is_empty() {
        "nothing".to_owned()
    } else {
        lines.iter().map(line).collect::<Vec<_>>().join("<br>")
    }
}

/// tshark's cells in the file as it is.
fn cells_of(known: &str) -> BTreeMap<String, String> {
    let rows = known.lines().filter(|line| line.starts_with("| `"));
    rows.filter_map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, _, _, tshark, _] = cells[..] else { return None };
        Some((name.trim_matches('`').to_owned(), tshark.to_owned()))
    })
    .collect()
}

fn document(version: &str, cells: &BTreeMap<String, String>) -> String {
    let groups = groups();
    let cases: Vec<&Case> = groups.iter().flat_map(|(_, cases)| cases).collect();
    let mut text = format!(
        "# Conformance: the traps of HTTP/1 on the wire, and what comes of them

{} cases, each a capture made packet by packet, and the records that it is worth. The tests run `gannet http` on each of
them with one worker and with two, on the same bytes in segments of 1, 3 and 17 bytes, and, where the case is about TCP, on the same
packets in disorder. `tools/conformance` writes this file; `tools/conformance --captures DIR` the captures.

A record is: method, host and target, bytes of the body; status, bytes of the body; state, and its reason if it is not the framing;
confidence of the pairing; then, where there are any, the protocol that followed with the bytes of client and server, statuses of
interim answers, notes, reasons for which times are not trusted, and bytes that are missing. Bodies count as on the wire
without the framing of chunks.

What tshark {version} shows, with its settings as they come, stands beside it in the same terms, with `http.time`. It lists messages and
their links, so of states and of doubt it says nothing; the last column tells who is right about the exchanges, and why.

## What must happen

| | | cases |
| --- | --- | --- |
",
        cases.len()
    );
    for statement in STATEMENTS {
        let about = cases.iter().filter(|case| case.statements.contains(&statement.name));
        let names: Vec<String> = about.map(|case| format!("`{}`", case.name)).collect();
        let cases = statement.elsewhere.map_or_else(|| names.join(" "), str::to_owned);
        text += &format!("| {} | {} | {cases} |\n", statement.name, statement.text);
    }
    for (title, cases) in &groups {
        text += &format!(
            "\n## {title}\n\n| case | trap | Gannet | tshark | who is right |\n| --- | --- | --- | --- | --- |\n"
        );
        for case in cases {
            let verdict = match case.verdict {
                Verdict::Same => "both".to_owned(),
                Verdict::Gannet(why) => format!("Gannet: {why}"),
                Verdict::Both(why) => format!("both: {why}"),
            };
            let tshark = cells.get(case.name).map_or("", String::as_str);
            let (name, trap, ours) = (case.name, case.trap.replace('|', "\\|"), code(case.records));
            text += &format!("| `{name}` | {trap} | {ours} | {tshark} | {verdict} |\n");
        }
    }
    text
}
