//! httpry's lines of a capture, and ours: all of its lines in its order, and besides only those of heads that no
//! segment holds whole.
//!
//! ```text
//!   segments   │ HTTP/1.1 200 OK ... blank line │ bod│ y HTTP/1.1 304 ... │ ... blank line │
//!              └── a line of both ──────────────┘    └── a line of ours alone ─────────────┘
//! ```
//! That a head is whole in no segment is not taken from gannet: the capture's packets are searched for one that begins
//! like it, from the same endpoint to the same, and holds its end. httpry prints one line for each of these.

use std::collections::HashMap;
use std::fs::{self, File};
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use gannet_pcap::StreamReader;

use super::{Setup, Verdict};
use crate::process::Process;
use crate::report::{Removed, progress};

/// Prints both tools' lines of the whole capture with several words, and compares.
pub(super) fn compare(setup: &Setup<'_>, capture: &Path, verdict: &mut Verdict) -> anyhow::Result<()> {
    verdict.print("\nlines: httpry -q WORDS and gannet httpry -q WORDS of the whole capture\n\n")?;
    let mut beyond_segments = 0;
    for words in WORDS {
        progress(&format!("lines: {}", words.join(" ")));
        let theirs = lines(setup, Path::new("httpry"), words, capture)?;
        let ours = lines(setup, setup.gannet, &[&["httpry"], words].concat(), capture)?;
        let found = Found::of(&theirs, &ours);
        if *words == KEYED {
            beyond_segments = check_extra(&theirs, &found, capture, verdict)?;
        }
        let shown = if words.is_empty() { "no words" } else { &words.join(" ") };
        let mut detail = format!("{} of httpry, {} more here", theirs.lines().count(), found.extra.len());
        for line in found.missing.iter().take(EXAMPLES) {
            detail.push_str(&format!("\n         missing here: {line}"));
        }
        let holds = !theirs.is_empty() && found.missing.is_empty() && found.extra.len() <= beyond_segments;
        verdict.check(&format!("{shown}: the same lines in the same order"), holds, &detail)?;
    }
    Ok(())
}

/// How many of our lines beyond httpry's are of heads that no segment holds whole: it should be all.
fn check_extra(
    theirs: &str,
    found: &Found<'_>,
    capture: &Path,
    verdict: &mut Verdict,
) -> anyhow::Result<usize> {
    let mut heads: HashMap<Head, (u64, u64)> = HashMap::new();
    for line in &found.extra {
        heads.insert(Head::in_line(line).with_context(|| format!("our line {line:?}"))?, (0, 0));
    }
    for line in theirs.lines() {
        if let Some((printed, _)) = Head::in_line(line).and_then(|head| heads.get_mut(&head)) {
            *printed += 1;
        }
    }
    let mut reader = StreamReader::new(File::open(capture)?)?;
    while let Some(packet) = reader.next_packet()? {
        if let Some((_, whole)) = Head::in_frame(packet.frame.data).and_then(|head| heads.get_mut(&head)) {
            *whole += 1;
        }
    }
    let more = found.extra.iter().filter(|line| {
        Head::in_line(line).and_then(|head| heads.get(&head)).is_some_and(|(printed, whole)| printed == whole)
    });
    let more = more.count();
    verdict.check(
        "our lines beyond httpry's are of heads that no segment holds whole",
        more == found.extra.len(),
        &format!("{more} of {}", found.extra.len()),
    )?;
    Ok(more)
}

/// What a program prints with these words and `-q -r CAPTURE`.
fn lines(setup: &Setup<'_>, program: &Path, words: &[&str], capture: &Path) -> anyhow::Result<String> {
    let printed = Removed(setup.scratch.join("lines.txt"));
    let mut command = Command::new("sh");
    command.args(["-c", "out=$1; shift; exec \"$@\" >\"$out\"", "sh"]).arg(&printed.0);
    command.arg(program).args(words).args(["-q", "-r"]).arg(capture).env("TZ", "UTC");
    Process::spawn(&program.display().to_string(), command)?.finish(setup.stop)?;
    let bytes = fs::read(&printed.0)?;
    // The generated traffic is ASCII.
    String::from_utf8(bytes).with_context(|| format!("what {} printed", program.display()))
}

/// Where two lists of lines differ, of which the second should have the first within it.
struct Found<'a> {
    /// Of the second alone.
    extra: Vec<&'a str>,
    /// Of the first alone, or elsewhere in the second.
    missing: Vec<&'a str>,
}

impl<'a> Found<'a> {
    fn of(theirs: &'a str, ours: &'a str) -> Self {
        let mut wanted = theirs.lines().peekable();
        let mut extra = Vec::new();
        for line in ours.lines() {
            if wanted.next_if_eq(&line).is_none() {
                extra.push(line);
            }
        }
        Self { extra, missing: wanted.collect() }
    }
}

/// A head by where it goes and how it begins.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Head {
    source: (IpAddr, u16),
    destination: (IpAddr, u16),
    /// The method and the target, or version, code and reason.
    start: String,
}

impl Head {
    /// Of a line with the fields [`KEYED`].
    fn in_line(line: &str) -> Option<Self> {
        let fields: [&str; 12] = line.split('\t').collect::<Vec<_>>().try_into().ok()?;
        let [_, source, source_port, destination, port, direction, method, target, version, code, reason, _] =
            fields;
        let start = match direction {
            ">" => format!("{method} {target}"),
            _ => format!("{version} {code} {reason}"),
        };
        Some(Self {
            source: (source.parse().ok()?, source_port.parse().ok()?),
            destination: (destination.parse().ok()?, port.parse().ok()?),
            start,
        })
    }

    /// Of an Ethernet frame whose payload begins like a head and holds its end.
    fn in_frame(frame: &[u8]) -> Option<Self> {
        let packet = SlicedPacket::from_ethernet(frame).ok()?;
        let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { return None };
        let (source, destination) = addresses(&packet)?;
        let bytes = tcp.payload();
        let has_end = |end: &[u8]| bytes.windows(end.len()).any(|window| window == end);
        let first = bytes.get(..bytes.iter().position(|&byte| byte == b'\n')?)?;
        let first = std::str::from_utf8(first).ok()?.trim_end();
        if !has_end(b"\r\n\r\n") && !has_end(b"\n\n") {
            return None;
        }
        let start = if first.starts_with("HTTP/") { first } else { first.rsplit_once(" HTTP/")?.0 };
        Some(Self {
            source: (source, tcp.source_port()),
            destination: (destination, tcp.destination_port()),
            start: start.to_owned(),
        })
    }
}

fn addresses(packet: &SlicedPacket<'_>) -> Option<(IpAddr, IpAddr)> {
    match packet.net.as_ref()? {
        NetSlice::Ipv4(ip) => Some((ip.header().source_addr().into(), ip.header().destination_addr().into())),
        NetSlice::Ipv6(ip) => Some((ip.header().source_addr().into(), ip.header().destination_addr().into())),
        NetSlice::Arp(_) => None,
    }
}

/// Fields by which a line's head can be found in the capture.
const KEYED: [&str; 2] = [
    "-f",
    "timestamp,source-ip,source-port,dest-ip,dest-port,direction,method,request-uri,http-version,status-code,\
     reason-phrase,user-agent",
];

/// What both get, besides `-q -r CAPTURE`; first what tells how many lines there may be beyond httpry's.
const WORDS: [&[&str]; 6] = [
    &KEYED,
    &[],
    &["-f", "timestamp,host,content-type,content-length,x-forwarded-for,server,referer"],
    &["-m", "get,head"],
    &["-s", "-l", "1"],
    &["-s", "-t", "5"],
];

/// How many differences are shown.
const EXAMPLES: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_within_lines() {
        let found = Found::of("a\nb\nc\n", "a\nx\nb\nb\nc\n");
        assert_eq!((found.extra, found.missing), (vec!["x", "b"], vec![]));
        // Another order is no line within lines.
        let found = Found::of("a\nb\nc\n", "b\na\nc\n");
        assert_eq!((found.extra, found.missing), (vec!["b", "c"], vec!["b", "c"]));
    }

    #[test]
    fn heads_of_lines() {
        let ends = "198.51.100.10\t80\t198.18.1.220\t40725";
        let response = format!("2026-01-15 10:00:02\t{ends}\t<\t-\t-\tHTTP/1.1\t304\tNot Modified\t-");
        let head = Head::in_line(&response).unwrap();
        assert_eq!((head.source.1, head.destination.1), (80, 40725));
        assert_eq!(head.start, "HTTP/1.1 304 Not Modified");
        let request = format!("2026-01-15 10:00:02\t{ends}\t>\tGET\t/a?b\tHTTP/1.1\t-\t-\tcurl/8");
        assert_eq!(Head::in_line(&request).unwrap().start, "GET /a?b");
        assert_eq!(Head::in_line("2026-01-15 10:00:02\ta"), None);
    }

    #[test]
    fn heads_of_packets_are_whole() {
        let frame = |payload: &[u8]| {
            let mut frame = vec![0; 12];
            frame.extend([8, 0, 0x45, 0]);
            frame.extend((40 + payload.len() as u16).to_be_bytes());
            frame.extend([0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
            frame.extend([0, 80, 0xc0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 1, 0, 0, 0, 0, 0]);
            frame.extend(payload);
            frame
        };
        let head = |payload: &[u8]| Head::in_frame(&frame(payload));
        let whole = head(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\nbody").unwrap();
        assert_eq!((whole.source.1, whole.start.as_str()), (80, "HTTP/1.1 200 OK"));
        assert_eq!(head(b"GET /a HTTP/1.1\n\n").unwrap().start, "GET /a");
        assert_eq!(head(b"HTTP/1.1 200 OK\r\nServer: x\r\n"), None);
        assert_eq!(head(b""), None);
    }
}
