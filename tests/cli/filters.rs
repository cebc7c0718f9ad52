//! Filters on capture files: which packets are taken, against tcpdump's tables; where words and flags may stand.

use std::fs::File;
use std::path::{Path, PathBuf};

use gannet_filter::{ErrorKind, FileFilter, FileOptions};
use gannet_pcap::StreamReader;

use super::http::corpus;
use crate::util::{Dir, NOBODY, Pcap, is_root};

/// A line of a table: what tcpdump selects by an expression. `None`: it refuses it.
struct Line {
    expression: String,
    selected: Option<Vec<usize>>,
}

/// The tables below a folder, each with its capture.
fn tables(corpus: &Path, folder: &str) -> Vec<(PathBuf, Vec<Line>)> {
    let mut tables = Vec::new();
    for entry in std::fs::read_dir(corpus.join("expected/filters").join(folder)).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let (head, lines) = text.split_once('\n').unwrap();
        // "# zeek/http-vlan-0.pcap packets=14 linktype=EN10MB"
        let name = head.strip_prefix("# ").and_then(|head| head.split(' ').next());
        let Some(name) = name else { continue };
        tables.push((corpus.join("pcaps").join(name), lines.lines().map(line).collect()));
    }
    assert!(tables.len() > 5, "{folder}: {} tables", tables.len());
    tables
}

/// `count TAB ranges TAB expression`.
fn line(line: &str) -> Line {
    let [count, ranges, expression] = line.splitn(3, '\t').collect::<Vec<_>>().try_into().unwrap();
    let number = |text: &str| text.parse::<usize>().unwrap();
    let selected = (count != "REJECT").then(|| {
        let ranges = ranges.split([',', ' ']).filter(|range| !range.is_empty());
        let selected: Vec<_> = ranges
            .flat_map(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                number(first)..=number(last)
            })
            .collect();
        assert_eq!(selected.len(), number(count), "{line}");
        selected
    });
    Line { expression: expression.to_owned(), selected }
}

/// The numbers of the packets that a filter takes; `None` if it is refused.
fn selection(capture: &Path, expression: &str) -> Option<Vec<usize>> {
    let filter = FileFilter::new(expression, FileOptions::default());
    let mut reader = StreamReader::new(File::open(capture).unwrap()).unwrap();
    let (mut selected, mut number) = (Vec::new(), 0);
    while let Some(packet) = reader.next_packet().unwrap() {
        number += 1;
        let frame = packet.frame;
        match filter.matches(frame.link_type, false, frame.data, frame.orig_len) {
            Ok(0) => {}
            Ok(_) => selected.push(number),
            // As one that no packet passes, which tcpdump refuses only when it optimises.
            Err(error) if error.kind == ErrorKind::RejectsAll => return Some(Vec::new()),
            Err(_) => return None,
        }
    }
    Some(selected)
}

#[test]
fn the_packets_that_tcpdump_selects() {
    let Some(corpus) = corpus() else { return };
    let mut checked = 0;
    let mut wrong = Vec::new();
    for (capture, lines) in tables(&corpus, "selection") {
        for Line { expression, selected } in lines {
            let Some(expected) = selected else { continue };
            let ours = selection(&capture, &expression);
            if ours.as_ref() != Some(&expected) {
                wrong.push(format!("{} '{expression}': {ours:?}, not {expected:?}", capture.display()));
            }
            checked += 1;
        }
    }
    assert!(checked > 900, "{checked}");
    assert!(wrong.is_empty(), "{} of {checked} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Some of them through the program: the same packets, in the same order, and the ledger knows how many were left.
#[test]
fn recordings_hold_what_was_selected() {
    let Some(corpus) = corpus() else { return };
    let dir = Dir::new();
    let mut checked = 0;
    for (capture, lines) in tables(&corpus, "selection") {
        for Line { expression, selected } in lines.into_iter().skip(3).step_by(31) {
            let Some(selected) = selected else { continue };
            let whole = packets(&capture);
            let words = format!(
                "record -q -r {} -w out.pcapng --stats-json ledger.json -- {expression}",
                capture.display()
            );
            dir.gannet(&words).run().exits(0);
            let expected: Vec<_> = selected.iter().map(|&number| whole[number - 1].clone()).collect();
            assert_eq!(packets(&dir.join("out.pcapng")), expected, "{} '{expression}'", capture.display());
            let ledger: serde_json::Value = serde_json::from_slice(&dir.read("ledger.json")).unwrap();
            assert_eq!(ledger["packets"]["filtered"], whole.len() - expected.len());
            assert_eq!(ledger["packets"]["received"], expected.len());
            assert_eq!(ledger["packets"]["written"], expected.len());
            assert_eq!(ledger["filter"], expression);
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked}");
}

/// Bytes, original length and time of every packet.
fn packets(path: &Path) -> Vec<(Vec<u8>, u32, u64)> {
    let mut reader = StreamReader::new(File::open(path).unwrap()).unwrap();
    let mut packets = Vec::new();
    while let Some(packet) = reader.next_packet().unwrap() {
        packets.push((packet.frame.data.to_vec(), packet.frame.orig_len, packet.frame.timestamp.0));
    }
    packets
}

/// Ten of the sample's frames begin with the destination 02:00:00:00:00:01; their numbers are in bytes 14 to 18.
#[test]
fn words_flags_and_files() {
    let dir = Dir::new();
    let sample = Pcap::sample(100);
    dir.write("in.pcap", &sample.to_bytes());
    dir.write("expression", b"# the last ten\nether[14:4] >= 90 # and no more\n");
    dir.write("decimal", b"4\n32 0 0 14\n53 0 1 90\n6 0 0 262144\n6 0 0 0\n");
    dir.write("line", b"4,32 0 0 14,53 0 1 90,6 0 0 262144,6 0 0 0,");
    let expected = &sample.records[90..];
    for words in [
        "-r in.pcap --format pcap -w - ether[14:4] >= 90",
        "ether[14:4] >= 90 -r in.pcap --format pcap -w -",
        "ether[14:4] -r in.pcap >= --format pcap 90 -w -",
        "-r in.pcap --format pcap -w - -- ether[14:4] >= 90",
        "-r in.pcap --format pcap -w - ! ether[14:4] - 90 >= 0x80000000",
        "-r in.pcap --format pcap -w - -F expression",
        "-r in.pcap --format pcap -w - -F decimal",
        "-r in.pcap --format pcap -w - --filter-file=line",
    ] {
        let outcome = dir.gannet(&format!("record {words}")).run().exits(0);
        assert_eq!(Pcap::parse(&outcome.stdout).records, expected, "{words}");
        assert!(outcome.stderr.contains("90 packets kept out by the filter"), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(", filter: "), "{}", outcome.stderr);
    }
    // What counts are the packets that pass.
    let outcome = dir.gannet("record -r in.pcap --format pcap -w - -c 3 ether[14:4] >= 90").run().exits(0);
    assert_eq!(Pcap::parse(&outcome.stdout).records, &sample.records[90..93]);
    assert!(outcome.stderr.contains("90 packets kept out"), "{}", outcome.stderr);
    // From the environment, which typed words win over.
    let ours = "record -q -r in.pcap --format pcap -w -";
    for (words, variable, value) in [
        ("", "GANNET_FILTER", "ether[14:4] >= 90"),
        ("", "GANNET_FILTER_FILE", "expression"),
        ("ether[14:4] >= 90", "GANNET_FILTER", "nonsense"),
        ("ether[14:4] >= 90", "GANNET_FILTER_FILE", "no such file"),
        ("-F decimal", "GANNET_FILTER", "nonsense"),
    ] {
        let outcome = dir.gannet(&format!("{ours} {words}")).env(variable, value).run().exits(0);
        assert_eq!(Pcap::parse(&outcome.stdout).records, expected, "{words} {variable}");
    }
}

#[test]
fn what_means_nothing_ends_before_anything_is_opened() {
    let dir = Dir::new();
    dir.write("in.pcap", &Pcap::sample(10).to_bytes());
    let mut raw = Pcap::sample(10);
    raw.link_type = 101;
    dir.write("raw.pcap", &raw.to_bytes());
    let mut wireless = Pcap::sample(10);
    wireless.link_type = 105;
    dir.write("wireless.pcap", &wireless.to_bytes());
    dir.write("broken", b"4\n32 0 0\n");
    for (words, sentence) in [
        ("-i no-such-interface prot 80", "prot"),
        ("-r in.pcap port", "the expression ends here"),
        ("-r in.pcap -F broken", "-F broken: line 2"),
        ("-r in.pcap -F no-such-file", "-F no-such-file"),
        ("-r in.pcap -F broken port 80", "-F and a filter"),
        // It depends on what is in the file.
        ("-r raw.pcap ether host 02:00:00:00:00:01", "raw.pcap, link type RAW: "),
        ("-r wireless.pcap port 80", "wireless.pcap, link type IEEE802_11: "),
    ] {
        let outcome = dir
            .gannet(&format!("record -w out.pcapng --stats-json ledger.json {words}"))
            .run()
            .exits(2)
            .says(sentence);
        assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
        assert!(!dir.join("out.pcapng").exists(), "{words}");
        dir.gannet(&format!("http -q {words}")).run().exits(2).says(sentence);
    }
    // Live, not even the sockets, which a user without privileges may not open.
    if is_root("being nobody") {
        assert_ne!(nix::unistd::geteuid().as_raw(), NOBODY);
        dir.gannet_as_nobody("record -i lo prot 80").run().exits(2).says("prot");
        dir.gannet_as_nobody("record -i lo port 80").run().exits(3);
    }
}

/// The link type of one file refuses what another's takes.
#[test]
fn a_file_of_another_link_type_among_several() {
    let dir = Dir::new();
    let sample = Pcap::sample(10);
    dir.write("ethernet.pcap", &sample.to_bytes());
    let raw = Pcap { link_type: 101, ..sample };
    dir.write("raw.pcap", &raw.to_bytes());
    let both = "-r ethernet.pcap -r raw.pcap -w /dev/null";
    dir.gannet(&format!("record {both} ether src 02:00:00:00:00:02"))
        .run()
        .exits(2)
        .says("raw.pcap, link type RAW: ");
    dir.gannet(&format!("record {both} len > 0")).run().exits(0).says("20 packets read");
}

#[test]
fn the_end_of_the_headers() {
    let dir = Dir::new();
    let mut sample = Pcap::sample(3);
    // UDP over IPv4 with options, something without layer 4, UDP cut in its header.
    let ip = |header: u8, protocol: u8| {
        let mut bytes = vec![0; 80];
        bytes[..14].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]);
        (bytes[14], bytes[23]) = (header, protocol);
        bytes
    };
    sample.records[0].data = ip(0x46, 17);
    sample.records[1].data.resize(300, 1);
    sample.records[2].data = ip(0x45, 17)[..38].to_vec();
    for record in &mut sample.records {
        record.orig_len = record.data.len() as u32;
    }
    dir.write("in.pcap", &sample.to_bytes());
    let lengths = |words: &str| {
        let outcome = dir.gannet(&format!("record -q -r in.pcap --format pcap -w - {words}")).run().exits(0);
        let pcap = Pcap::parse(&outcome.stdout);
        assert_eq!(pcap.snaplen, 262_144);
        pcap.records.iter().map(|record| (record.data.len(), record.orig_len)).collect::<Vec<_>>()
    };
    let headers = lengths("-s headers");
    assert_eq!((headers[0], headers[2]), ((14 + 24 + 8, 80), (38, 38)));
    assert_eq!(lengths("-s headers+5")[0], (14 + 24 + 8 + 5, 80));
    assert_eq!(lengths("-s headers+5 udp"), [(51, 80), (38, 38)]);
}

#[test]
fn http_says_that_a_filter_left_nothing() {
    let dir = Dir::new();
    dir.write("in.pcap", &Pcap::sample(10).to_bytes());
    dir.gannet("http -o none -r in.pcap udp port 53")
        .run()
        .exits(0)
        .says("10 packets kept out by the filter")
        .says("filter: udp port 53")
        .says("no exchange was found in 10 packets kept out by the filter");
}
