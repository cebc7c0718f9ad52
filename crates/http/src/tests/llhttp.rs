//! The inputs that llhttp is tested with, from the shared data.

use std::path::{Path, PathBuf};

use gannet_flow::CloseReason;

use crate::testing::{CLIENT, Lane, SERVER};

fn corpus() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let data = std::env::var_os("GANNET_CORPUS").map_or_else(|| root.join("../shared/data"), PathBuf::from);
    data.join("expected/llhttp")
}

/// The bytes of a block: line ends are CRLF, an escaped line end and an escaped CR or LF are what they say.
fn input(block: &str) -> Vec<u8> {
    let joined = block.replace("\\\n", "").replace('\n', "\r\n");
    joined.replace("\\r", "\r").replace("\\n", "\n").replace("\\t", "\t").into_bytes()
}

/// Each input of a file, how it is to be run, and what llhttp says of it.
fn cases(text: &str) -> Vec<(String, Vec<u8>, String)> {
    let mut cases = Vec::new();
    let mut kind = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("\n```http\n") {
        if let Some(meta) = rest[..at].rfind("meta={") {
            kind = rest[meta..at].lines().next().unwrap_or_default().to_owned();
        }
        let block = &rest[at + 9..];
        let end = block.find("\n```").unwrap_or(block.len());
        let behind = &block[end..];
        let log = behind.find("```log\n").map_or("", |log| &behind[log + 7..]);
        let log = &log[..log.find("```").unwrap_or(log.len())];
        cases.push((kind.clone(), input(&block[..end]), log.to_owned()));
        rest = behind;
    }
    cases
}

#[test]
fn inputs_of_llhttp() {
    let mut seen = 0;
    let mut whole = 0;
    let mut different = Vec::new();
    for directory in ["request", "response"] {
        let Ok(files) = std::fs::read_dir(corpus().join(directory)) else {
            eprintln!("skipped: no {}", corpus().display());
            return;
        };
        for file in files {
            let path = file.unwrap().path();
            for (kind, bytes, log) in cases(&std::fs::read_to_string(&path).unwrap()) {
                let from = if kind.contains("\"request") { CLIENT } else { SERVER };
                let mut heads = Vec::new();
                for size in [1, 2, 7, usize::MAX] {
                    let mut lane = Lane::new();
                    for piece in bytes.chunks(size.min(bytes.len().max(1))) {
                        lane.data(from, piece, None);
                    }
                    lane.close(CloseReason::EndOfInput);
                    // llhttp does not tell of a first line that the input ends in.
                    let heads_seen = lane.http.sink().heads.iter().filter(|(_, raw)| raw.ends_with(b"\n"));
                    heads.push(heads_seen.count());
                }
                let name = path.display();
                let shown = bytes.escape_ascii();
                // Without its request, an answer may be one to HEAD if a segment right behind its head begins like the
                // next answer: that is for the whole input to tell alone.
                let tells = !kind.contains("skipBody");
                assert!(!tells || heads.iter().all(|count| *count == heads[3]), "{name}: {heads:?} {shown}");
                // Where llhttp finds nothing wrong with HTTP/1.x and no other protocol follows, as many heads.
                let begun = log.matches("headers complete").count();
                let plain = log.contains("v=1/")
                    && !log.contains("v=0/")
                    && !log.contains("v=2/")
                    && log.contains("protocol]=\"HTTP");
                let strict =
                    kind.contains("{\"type\": \"request\"}") || kind.contains("{\"type\": \"response\"}");
                if strict && !log.contains("error") && !log.contains("pause") && plain && begun > 0 {
                    if heads[3] != begun {
                        different.push(format!("{name}: {} for {begun} {shown}", heads[3]));
                    }
                    whole += 1;
                }
                seen += 1;
            }
        }
    }
    assert!(different.is_empty(), "{different:#?}");
    assert!(seen > 50 && whole > 20, "{seen} inputs, {whole} compared");
}
