//! `gannet filter`: listings as tcpdump prints them, opcode lists in, packets counted, mistakes shown.

use std::path::PathBuf;

use crate::util::{Dir, Gannet, Pcap, Record};

/// `gannet filter` with words that may have blanks in them.
fn filter(dir: &Dir, words: &[&str]) -> Gannet {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gannet"));
    command.arg("filter").args(words);
    Gannet::new(command, dir)
}

/// tcpdump 4.99.3 with libpcap 1.10.3: `tcpdump -y EN10MB -d 'tcp port 80'`.
const TCP_PORT_80: &str = "\
(000) ldh      [12]
(001) jeq      #0x86dd          jt 2\tjf 8
(002) ldb      [20]
(003) jeq      #0x6             jt 4\tjf 19
(004) ldh      [54]
(005) jeq      #0x50            jt 18\tjf 6
(006) ldh      [56]
(007) jeq      #0x50            jt 18\tjf 19
(008) jeq      #0x800           jt 9\tjf 19
(009) ldb      [23]
(010) jeq      #0x6             jt 11\tjf 19
(011) ldh      [20]
(012) jset     #0x1fff          jt 19\tjf 13
(013) ldxb     4*([14]&0xf)
(014) ldh      [x + 14]
(015) jeq      #0x50            jt 18\tjf 16
(016) ldh      [x + 16]
(017) jeq      #0x50            jt 18\tjf 19
(018) ret      #262144
(019) ret      #0
";

#[test]
fn listings_are_tcpdumps() {
    let dir = Dir::new();
    for words in
        [&["tcp port 80"][..], &["tcp", "port", "80"], &["-d", "tcp", "--link", "EN10MB", "port", "80"]]
    {
        assert_eq!(filter(&dir, words).run().exits(0).text(), TCP_PORT_80, "{words:?}");
    }
    let program = "{ 0x30, 0, 0, 0x00000009 },\n{ 0x15, 0, 1, 0x00000001 },\n{ 0x6, 0, 0, 0x00000060 },\n{ 0x6, 0, 0, 0x00000000 },\n";
    let icmp = ["ip[9] = 1", "-s", "96", "-y", "raw"];
    let decimal = "7\n48 0 0 0\n84 0 0 240\n21 0 3 64\n48 0 0 9\n21 0 1 1\n6 0 0 96\n6 0 0 0\n";
    assert_eq!(filter(&dir, &[&icmp[..], &["-ddd"]].concat()).run().exits(0).text(), decimal);
    let source = filter(&dir, &[&icmp[..], &["-d", "-d"]].concat()).run().exits(0).text();
    assert!(source.ends_with(program) && source.lines().count() == 7, "{source}");
    assert_eq!(filter(&dir, &[]).run().exits(0).text(), "(000) ret      #262144\n");
}

#[test]
fn opcode_lists_of_every_form() {
    let dir = Dir::new();
    let decimal = dir.gannet("filter -ddd tcp port 80").run().exits(0).text();
    let source = dir.gannet("filter -dd tcp port 80").run().exits(0).text();
    dir.write("decimal", decimal.as_bytes());
    dir.write("source", source.as_bytes());
    dir.write("line", decimal.trim().replace('\n', ",").as_bytes());
    dir.write("expression", b"# web\ntcp # and\nport 80\n");
    for name in ["decimal", "source", "line", "expression"] {
        assert_eq!(dir.gannet(&format!("filter -F {name}")).run().exits(0).text(), TCP_PORT_80, "{name}");
    }
    assert_eq!(dir.gannet("filter -F -").stdin(source.as_bytes()).run().exits(0).text(), TCP_PORT_80);
    dir.write("broken", b"2\n40 0 0 12\n6 0 0\n");
    dir.gannet("filter -F broken")
        .run()
        .exits(2)
        .says("broken: line 3: expected the four numbers code, jt, jf and k of an instruction, found 3");
    dir.gannet("filter -F decimal tcp").run().exits(2).says("exclude each other");
    dir.gannet("filter -F decimal -s 96").run().exits(2).says("-s is for expressions");
    dir.gannet("filter -F missing").run().exits(2).says("-F missing: No such file");
}

#[test]
fn a_mistake_is_shown_where_it_is() {
    let dir = Dir::new();
    let outcome =
        filter(&dir, &["tcp and prot 80"]).run().exits(2).says("  tcp and prot 80\n          ^^^^\n");
    assert!(outcome.stdout.is_empty() && outcome.stderr.contains("port"), "{}", outcome.stderr);
    // Good by itself, but not for these frames; before any file is opened, and for a file's link type.
    filter(&dir, &["ether host 1:2:3:4:5:6", "--link", "raw"]).run().exits(2).says("^^^");
    filter(&dir, &["tcp and prot 80", "--run", "missing.pcap"]).run().exits(2).says("^^^^");
    let mut raw = sample();
    raw.link_type = 101;
    dir.write("raw.pcap", &raw.to_bytes());
    filter(&dir, &["ether host 1:2:3:4:5:6", "--run", "raw.pcap"])
        .run()
        .exits(2)
        .says("raw.pcap, link type RAW: ");
    dir.gannet("filter tcp --run missing.pcap").run().exits(2).says("missing.pcap");
    dir.gannet("filter tcp -d --run raw.pcap").run().exits(2).says("cannot be used with");
}

#[test]
fn matching_packets_are_counted() {
    let dir = Dir::new();
    let bytes = sample().to_bytes();
    dir.write("a.pcap", &bytes);
    let count = |words: &[&str]| filter(&dir, words).run().exits(0).text();
    assert_eq!(count(&["--run", "a.pcap"]), "10\n");
    assert_eq!(count(&["udp port 53", "--run", "a.pcap"]), "4\n");
    assert_eq!(count(&["--run", "a.pcap", "udp", "and", "not", "port", "53"]), "6\n");
    assert_eq!(count(&["tcp", "--run", "a.pcap"]), "0\n");
    assert_eq!(count(&["-O", "greater 1000", "--run", "a.pcap"]), "3\n");
    // By the length that the packet had, not by what is left of it.
    assert_eq!(count(&["less 999", "--run", "a.pcap"]), "7\n");
    let pipe = filter(&dir, &["udp", "--run", "-"]).stdin(&bytes).run().exits(0).text();
    assert_eq!(pipe, "10\n");
    dir.gannet("record -q -r a.pcap -w b.pcapng").run().exits(0);
    assert_eq!(count(&["udp port 53", "--run", "a.pcap", "--run", "b.pcapng"]), "a.pcap:4\nb.pcapng:4\n");
    dir.write("cut.pcap", &bytes[..bytes.len() - 1]);
    filter(&dir, &["--run", "cut.pcap"]).run().exits(0).says("warning: cut.pcap: ");
}

/// Ten IPv4 UDP packets, four to port 53; the first three were 1000 bytes and longer.
fn sample() -> Pcap {
    let record = |number: u32| {
        let port: u16 = if number.is_multiple_of(3) { 53 } else { 5353 };
        let mut data = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
        data.extend([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        data.extend(40_000_u16.to_be_bytes());
        data.extend(port.to_be_bytes());
        data.resize(62, 0);
        let orig_len = if number < 3 { 1000 + number } else { 62 };
        Record { sec: 1_700_000_000, fraction: number, orig_len, data }
    };
    Pcap { magic: Pcap::MICROS, snaplen: 262_144, link_type: 1, records: (0..10).map(record).collect() }
}

/// tcpdump's own counts over real captures, as far as they are on this machine.
#[test]
fn counts_of_real_captures_are_tcpdumps() {
    let corpus = std::env::var_os("GANNET_CORPUS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let selections = corpus.join("expected/filters/selection");
    let Ok(files) = std::fs::read_dir(&selections) else {
        eprintln!("SKIPPED: no {}", selections.display());
        return;
    };
    let dir = Dir::new();
    let mut compared = 0;
    for file in files {
        let path = file.unwrap().path();
        let expected = std::fs::read_to_string(&path).unwrap();
        // The first line is "# PATH packets=... linktype=...".
        let Some(name) = expected.split_whitespace().nth(1) else { continue };
        let capture = corpus.join("pcaps").join(name);
        for line in expected.lines().filter(|line| !line.starts_with('#')).step_by(7) {
            let mut fields = line.split('\t');
            let (Some(count), Some(_), Some(expression)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let Ok(count) = count.parse::<u64>() else { continue };
            let outcome = filter(&dir, &["--run", capture.to_str().unwrap(), "--", expression]).run();
            let outcome = outcome.exits(0);
            assert_eq!(outcome.text(), format!("{count}\n"), "{expression} in {}", capture.display());
            compared += 1;
        }
    }
    assert!(compared > 20, "{compared} expressions compared");
}
