//! What tshark says of the same packets.
//!
//! Taken from its PDML, where each HTTP message is an element of its own: in columns, messages that share a frame get
//! mixed up. With its settings as they come.

use std::path::Path;
use std::process::{Command, Stdio};

/// One message of HTTP as tshark shows it.
#[derive(Clone, Debug, Default)]
struct Message {
    frame: usize,
    method: Option<String>,
    uri: String,
    status: Option<String>,
    body: Option<String>,
    time: Option<String>,
    request_in: Option<usize>,
    response_for: Option<String>,
}

/// What tshark says of one case.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    /// `METHOD target BODY > STATUS BODY` for each exchange, in the order of the requests.
    pub(super) exchanges: Vec<String>,
    /// `http.time` of each, in seconds; empty where there is none.
    pub(super) times: Vec<String>,
    /// Statuses of interim answers.
    pub(super) interim: Vec<String>,
}

/// Its version; `None` if it is not installed.
pub(super) fn version() -> Option<String> {
    let output = Command::new("tshark").arg("--version").stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned)
}

/// What it says of each case in `capture`; `starts` are the numbers of their first frames, from 1.
pub(super) fn read(capture: &Path, starts: &[usize]) -> Vec<Said> {
    let output = Command::new("tshark")
        .args(["-n", "-r"])
        .arg(capture)
        .args(["-Y", "http", "-T", "pdml", "-J", "http"])
        .stderr(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success());
    let messages = messages(&String::from_utf8_lossy(&output.stdout));
    let of_case = |number: usize| {
        let range = starts[number]..starts.get(number + 1).copied().unwrap_or(usize::MAX);
        let own: Vec<&Message> = messages.iter().filter(|message| range.contains(&message.frame)).collect();
        said(&own)
    };
    (0..starts.len()).map(of_case).collect()
}

fn said(messages: &[&Message]) -> Said {
    let mut said = Said::default();
    let mut rows: Vec<(&Message, Option<&Message>)> =
        messages.iter().filter(|message| message.method.is_some()).map(|message| (*message, None)).collect();
    let mut orphans = Vec::new();
    for answer in messages.iter().filter(|message| message.method.is_none()) {
        let Some(status) = &answer.status else { continue };
        if status.starts_with('1') && status != "101" {
            said.interim.push(status.clone());
            continue;
        }
        // Several requests may be in the frame that it names.
        let row = rows.iter_mut().find(|(request, other)| {
            other.is_none()
                && Some(request.frame) == answer.request_in
                && answer.response_for.as_ref().is_none_or(|uri| uri.ends_with(&request.uri))
        });
        match row {
            Some(row) => row.1 = Some(answer),
            None => orphans.push(*answer),
        }
    }
    let body = |message: &Message| message.body.clone().unwrap_or_else(|| "0".into());
    let answered =
        |answer: &Message| format!("{} {}", answer.status.clone().unwrap_or_default(), body(answer));
    for (request, answer) in rows {
        let method = request.method.clone().unwrap_or_default();
        let target = if method == "CONNECT" { "" } else { &request.uri };
        let answer_text = answer.map_or("-".into(), answered);
        said.exchanges.push(format!("{method} {target} {} > {answer_text}", body(request)));
        said.times.push(answer.and_then(|answer| answer.time.clone()).unwrap_or_default());
    }
    for orphan in orphans {
        said.exchanges.push(format!("- > {}", answered(orphan)));
        said.times.push(orphan.time.clone().unwrap_or_default());
    }
    said
}

/// The elements of HTTP in a PDML document.
fn messages(document: &str) -> Vec<Message> {
    let mut found: Vec<Message> = Vec::new();
    let mut frame = 0;
    let mut inside = false;
    for element in document.split('<').skip(1) {
        let name = attribute(element, "name").unwrap_or_default();
        if element.starts_with("proto ") {
            // What it has to remark lies within what it is about.
            if name.starts_with("_ws.") {
                continue;
            }
            inside = name == "http";
            if inside {
                found.push(Message { frame, ..Message::default() });
            }
        } else if element.starts_with("/packet") {
            inside = false;
        } else if element.starts_with("field ") && name == "num" {
            frame = attribute(element, "show").and_then(|show| show.parse().ok()).unwrap_or_default();
        } else if element.starts_with("field ") && inside {
            let (Some(message), Some(show)) = (found.last_mut(), attribute(element, "show")) else {
                continue;
            };
            match name.as_str() {
                "http.request.method" => message.method = Some(show),
                "http.request.uri" => message.uri = show,
                "http.response.code" => message.status = Some(show),
                "http.file_data" => message.body = attribute(element, "size"),
                "http.time" => message.time = Some(show),
                "http.request_in" => message.request_in = show.parse().ok(),
                "http.response_for.uri" => message.response_for = Some(show),
                _ => {}
            }
        }
    }
    found
}

fn attribute(element: &str, name: &str) -> Option<String> {
    let at = element.find(&format!(" {name}=\""))? + name.len() + 3;
    let value = &element[at..];
    let value = &value[..value.find('"')?];
    let pairs = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    Some(pairs.iter().fold(value.to_owned(), |text, (from, to)| text.replace(from, to)))
}
