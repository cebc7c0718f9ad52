//! `gannet http -o httpry` against httpry itself, and against what it printed of the corpus.
//!
//! On every capture of the corpus that httpry prints anything of, the output is the same, byte for byte. So it is on
//! 3 GB of generated traffic (`tools/compare http --parts lines`) but for 10 of 343,996 lines: heads that begin
//! within a segment and end in the next, which httpry does not see. What differs, and why:
//!
//! | what | httpry 0.1.8 | here | who is right |
//! | --- | --- | --- | --- |
//! | a head in several segments | what the first one holds; nothing if that begins with another message's bytes | the line of the whole head, when it is whole | here |
//! | such a head of which the end never comes | what the first segment holds | what there is of it, when that is clear; nothing if its first line has no end | here |
//! | a packet within a body that begins like a head and has no empty line | a line | none | here |
//! | an IP datagram in fragments | the first fragment, if the head is whole in it | the datagram, when it is whole | here |
//! | VLAN tags, tunnels, MPLS, PPPoE | with a filter of one's own: one tag, nothing else | with a filter of one's own: all | here |
//! | link types other than Ethernet, SLL, loopback, raw IP, PPP, 802.11 | refused | known ones are read | here |
//! | a packet that ends in a bare LF and not with its head | goes on in what the buffer held before | ends there | here |
//! | a header field whose name begins with that of a field asked for, in one of 64 cases | taken for it | not taken | here |
//! | `-f` with blanks on both sides of a name | the blank behind stays, and nothing has that name | both go | here |
//! | rates of hosts with capitals or bytes beyond ASCII at first sight | an entry for each message | one entry | here |
//! | rates of more than 131,072 hosts at a time | kept | counted in the total alone | httpry, while it has memory |
//!
//! What is the same, though one might wish otherwise: copies of a segment give a line each; of several heads in one
//! segment the first alone does; a status line without a second blank gives none; `Method: x` in a head is the method
//! of its line; of a head beyond 8 KiB in one segment the first 8 KiB count; a packet within a body that begins like
//! a head and holds an empty line has a line; HTTP on other ports than 80 and 8080 has none unless a filter or
//! `--ports` is given.

use std::path::{Path, PathBuf};
use std::process::Command;

use gannet_testkit::conversation::{Body, Builder, Request, Response, Setup};
use gannet_testkit::random::Random;

use super::http::corpus;
use crate::util::{Dir, Pcap, Record};

/// httpry, release 0.1.8; `None`, said on stderr, where it is not installed.
fn httpry() -> Option<PathBuf> {
    let places = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<_> = std::env::split_paths(&places).collect();
    places.push("/usr/sbin".into());
    let found = places.into_iter().map(|place| place.join("httpry")).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("SKIPPED, needs httpry");
    }
    found
}

/// Frames of link types that filters are not made for: the lines are those of the same packets on Ethernet, and the
/// ports are those of httpry all the same.
#[test]
fn link_types_without_filters() {
    let dir = Dir::new();
    let capture = |port: u16| {
        let mut setup = Setup::default();
        setup.route.server.set_port(port);
        let mut builder = Builder::new(setup);
        for n in 0..3 {
            builder.request(&Request::new("GET", format!("/{port}/{n}"), "h"));
            builder.response(&Response::new(200, Body::length(&b"x"[..])));
        }
        Pcap::parse(&builder.finish().pcap())
    };
    let (mut pcap, other) = (capture(80), capture(81));
    pcap.records.extend(other.records);
    dir.write("ethernet.pcap", &pcap.to_bytes());
    let expected = ours(&dir, "httpry -q -r ethernet.pcap");
    assert_eq!(expected.lines().filter(|line| !line.starts_with('#')).count(), 6, "{expected}");
    for link_type in [LINKTYPE_C_HDLC, LINKTYPE_PPP_HDLC, LINKTYPE_NFLOG] {
        let header = |len: usize| match (link_type, u16::try_from(4 + len).unwrap().to_le_bytes()) {
            (LINKTYPE_C_HDLC, _) => vec![0x0f, 0, 8, 0],
            (LINKTYPE_PPP_HDLC, _) => vec![0xff, 3, 0, 0x21],
            (_, [low, high]) => vec![2, 0, 0, 0, low, high, 9, 0],
        };
        let records = pcap.records.iter().map(|record| {
            let packet = &record.data[ETHERNET_LEN..];
            let data = [&header(packet.len()), packet].concat();
            Record { orig_len: data.len() as u32, data, ..*record }
        });
        let pcap = Pcap { link_type, records: records.collect(), ..pcap };
        dir.write("other.pcap", &pcap.to_bytes());
        for words in ["httpry -q", "http -q -o httpry"] {
            same(
                &format!("{words}, link type {link_type}"),
                &ours(&dir, &format!("{words} -r other.pcap")),
                &expected,
            );
        }
        // A filter that somebody asks for is not left out.
        dir.gannet("http -o httpry -r other.pcap tcp port 80").run().exits(2).says("link type");
    }
}

const ETHERNET_LEN: usize = 14;
const LINKTYPE_PPP_HDLC: u32 = 50;
const LINKTYPE_C_HDLC: u32 = 104;
const LINKTYPE_NFLOG: u32 = 239;

/// What httpry prints with these words.
fn theirs(httpry: &Path, dir: &Dir, words: &[&str]) -> String {
    let output = Command::new(httpry).args(words).current_dir(dir.path()).env("TZ", ZONE).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn ours(dir: &Dir, words: &str) -> String {
    dir.gannet(words).env("TZ", ZONE).run().exits(0).text()
}

#[track_caller]
fn same(name: &str, ours: &str, theirs: &str) {
    for (number, (ours, theirs)) in ours.lines().zip(theirs.lines()).enumerate() {
        assert_eq!(ours, theirs, "{name}, line {}", number + 1);
    }
    assert_eq!(ours.lines().count(), theirs.lines().count(), "{name}");
}

#[test]
fn the_corpus_gives_the_same_lines() {
    let Some(corpus) = corpus() else { return };
    let dir = Dir::new();
    let (mut files, mut lines) = (Vec::new(), 0);
    found_below(&corpus.join("expected/httpry"), &mut files);
    assert!(files.len() >= 10);
    for file in files {
        let name = file.strip_prefix(corpus.join("expected/httpry")).unwrap().to_string_lossy().into_owned();
        let capture = corpus.join("pcaps").join(name.trim_end_matches(".txt"));
        let theirs = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
        lines += theirs.lines().count();
        for words in ["http -q -o httpry", "http -q --workers 3 -o httpry", "httpry -q"] {
            let ours =
                dir.gannet(&format!("{words} -r {}", capture.display())).env("TZ", "UTC").run().exits(0);
            same(&format!("{name}, {words}"), &ours.text(), &theirs);
        }
    }
    assert!(lines > 100, "{lines}");
}

fn found_below(path: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(path).unwrap() {
        let entry = entry.unwrap().path();
        if entry.is_dir() { found_below(&entry, found) } else { found.push(entry) }
    }
}

/// Heads of every shape, whole in their segments: sent again, swapped, without a handshake, within bodies, in IPv6.
#[test]
fn whole_heads_give_the_same_lines() {
    let Some(httpry) = httpry() else { return };
    let dir = Dir::new();
    let mut lines = 0;
    for seed in 0..40 {
        let traffic =
            Traffic::new(seed, Shape { wild: true, again: 15, swapped: seed % 2 * 10, ..Shape::default() });
        dir.write("t.pcap", &traffic.pcap().to_bytes());
        for (ours_words, theirs_words) in [
            (String::new(), vec![]),
            (" tcp".to_owned(), vec!["tcp"]),
            (format!(" -f {FIELDS}"), vec!["-f", FIELDS]),
            (" -m pro,ge".to_owned(), vec!["-m", "pro,ge"]),
            (" --rates 5s --rate-threshold 1".to_owned(), vec!["-s", "-l", "1"]),
            (" --rates 5s".to_owned(), vec!["-s"]),
        ] {
            let theirs = theirs(&httpry, &dir, &[&["-q", "-r", "t.pcap"], &*theirs_words].concat());
            let ours = ours(&dir, &format!("http -q -o httpry -r t.pcap{ours_words}"));
            let [ours, theirs] =
                [ours, theirs].map(|text| if theirs_words.contains(&"-s") { rates(&text) } else { text });
            same(&format!("seed {seed}{ours_words}"), &ours, &theirs);
            lines += theirs.lines().count();
        }
    }
    assert!(lines > 5_000, "{lines}");
}

/// So many connections at once that their segments are looked up together.
#[test]
fn many_connections_give_the_lines_of_few() {
    const CONNECTIONS: u16 = 6_000;
    let dir = Dir::new();
    let mut traffic = Traffic::empty();
    let mut open: Vec<_> = (0..CONNECTIONS).map(|_| traffic.connection(80, false)).collect();
    open.iter_mut().for_each(|connection| traffic.open(connection));
    for connection in &mut open {
        traffic.send(
            connection,
            true,
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", connection.number).as_bytes(),
        );
        traffic.send(connection, false, b"HTTP/1.1 204 None\r\n\r\n");
    }
    dir.write("t.pcap", &traffic.pcap().to_bytes());
    let once = ours(&dir, "http -q -o httpry -r t.pcap --workers 1");
    assert_eq!(once.lines().count(), 2 * usize::from(CONNECTIONS));
    for (number, line) in once.lines().step_by(2).enumerate() {
        assert!(line.contains(&format!("\tGET\ta\t/{}\t", number + 1)), "{line}");
    }
    same("3 workers", &ours(&dir, "http -q -o httpry -r t.pcap --workers 3"), &once);
    if let Some(httpry) = httpry() {
        same("httpry", &once, &theirs(&httpry, &dir, &["-q", "-r", "t.pcap"]));
    }
}

/// Without hosts in capitals or beyond ASCII, of which httpry makes a new entry with each message.
fn rates(text: &str) -> String {
    let is_plain = |line: &&str| line.chars().all(|c| c.is_ascii() && !c.is_ascii_uppercase());
    text.lines().filter(is_plain).map(|line| format!("{line}\n")).collect()
}

/// Packets that the snapshot length cut in their heads: what is there.
#[test]
fn cut_heads_give_the_same_lines() {
    let Some(httpry) = httpry() else { return };
    let dir = Dir::new();
    for seed in 0..20 {
        // Behind a bare LF at the end of a packet httpry reads on in what its buffer held before.
        let traffic = Traffic::new(seed, Shape { bare_lf: false, again: 10, ..Shape::default() });
        let mut pcap = traffic.pcap();
        let mut random = Random::new(seed);
        for record in &mut pcap.records {
            record.data.truncate(random.between(60, 300) as usize);
        }
        dir.write("t.pcap", &pcap.to_bytes());
        let theirs = theirs(&httpry, &dir, &["-q", "-r", "t.pcap"]);
        assert!(theirs.lines().count() > 10);
        same(&format!("seed {seed}"), &ours(&dir, "http -q -o httpry -r t.pcap"), &theirs);
    }
}

/// The line of a head in several segments is that of the same head in one, where httpry has another.
#[test]
fn split_heads_give_the_lines_of_whole_ones() {
    let dir = Dir::new();
    for seed in 0..30 {
        let lines = |split| {
            let traffic = Traffic::new(seed, Shape { split, ..Shape::default() });
            dir.write("t.pcap", &traffic.pcap().to_bytes());
            ours(&dir, &format!("http -q -o httpry -r t.pcap -f {FIELDS}"))
        };
        let whole = lines(1);
        assert!(whole.lines().count() > 10);
        same(&format!("seed {seed}"), &lines(4), &whole);
        if let Some(httpry) = httpry() {
            assert_ne!(theirs(&httpry, &dir, &["-q", "-r", "t.pcap", "-f", FIELDS]), whole);
        }
    }
}

/// A head of which the rest never came gives what there is of it, once.
#[test]
fn a_head_without_its_end() {
    let dir = Dir::new();
    let mut traffic = Traffic::empty();
    let mut connection = traffic.connection(80, false);
    traffic.open(&mut connection);
    traffic.send(&mut connection, true, b"GET /a HTTP/1.1\r\nHost: a.example\r\nUser-Ag");
    dir.write("t.pcap", &traffic.pcap().to_bytes());
    let line = format!("{TIME}\t10.0.0.1\t10.0.1.1\t>\tGET\ta.example\t/a\tHTTP/1.1\t-\t-\n");
    assert_eq!(ours(&dir, "http -q -o httpry -r t.pcap"), line);
    // Ports that nobody asked for, and those that somebody did.
    assert_eq!(ours(&dir, "http -q -o httpry -r t.pcap --ports 81"), "");
    assert_eq!(ours(&dir, "http -q -o httpry -r t.pcap --ports 80"), line);
    assert_eq!(ours(&dir, "http -q -o httpry -r t.pcap -m post"), "");
    // A line of blanks is the empty one for httpry, and none for the stream: once is enough.
    traffic.send(&mut connection, false, b"HTTP/1.1 200 OK\r\nA: b\n \nbody");
    dir.write("t.pcap", &traffic.pcap().to_bytes());
    let answer = format!("{TIME}\t10.0.1.1\t10.0.0.1\t<\t-\t-\t-\tHTTP/1.1\t200\tOK\n");
    assert_eq!(ours(&dir, "http -q -o httpry -r t.pcap"), [line, answer].concat());
}

/// An IP datagram in two fragments, of which the first has all of the head, or not.
#[test]
fn datagrams_in_fragments() {
    let dir = Dir::new();
    let mut traffic = Traffic::empty();
    let mut connection = traffic.connection(80, false);
    let head = b"GET /a HTTP/1.1\r\nHost: a.example\r\nX: 0123456789\r\n\r\n";
    traffic.send(&mut connection, true, head);
    let whole = traffic.pcap();
    let line = format!("{TIME}\t10.0.0.1\t10.0.1.1\t>\tGET\ta.example\t/a\tHTTP/1.1\t-\t-\n");
    for payload_bytes in [40, 20 + head.len() / 8 * 8] {
        let mut pcap = whole.clone();
        let record = pcap.records.remove(0);
        // Behind the headers of Ethernet and IP.
        let (first, second) = record.data[34..].split_at(payload_bytes / 8 * 8);
        for (part, place) in [(first, 0x2000), (second, payload_bytes as u16 / 8)] {
            let mut data = record.data[..34].to_vec();
            data[16..18].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
            data[20..22].copy_from_slice(&place.to_be_bytes());
            data.extend(part);
            pcap.records.push(Record { orig_len: data.len() as u32, data, ..record.clone() });
        }
        dir.write("t.pcap", &pcap.to_bytes());
        assert_eq!(ours(&dir, "http -q -o httpry -r t.pcap"), line);
    }
}

/// Two lines of comment each time that a file is opened, also behind what it has; none on standard output.
#[test]
fn files_have_comments() {
    let dir = Dir::new();
    let traffic = Traffic::new(1, Shape::default());
    dir.write("t.pcap", &traffic.pcap().to_bytes());
    for _ in 0..2 {
        assert_eq!(ours(&dir, "http -q -o httpry:ours.log -r t.pcap -f host,Method"), "");
    }
    let text = String::from_utf8_lossy(&dir.read("ours.log")).into_owned();
    let comment = "# httpry version 0.1.8\n# Fields: host,method\n";
    assert!(text.starts_with(comment) && text.matches(comment).count() == 2, "{text}");
    ours(&dir, "http -q -o httpry:rates.log -r t.pcap --rates 5s");
    assert!(dir.read("rates.log").starts_with(b"# httpry version 0.1.8\n# Fields: host\n"));
    let Some(httpry) = httpry() else { return };
    for _ in 0..2 {
        theirs(&httpry, &dir, &["-q", "-r", "t.pcap", "-f", "host,Method", "-o", "theirs.log"]);
    }
    assert_eq!(dir.read("ours.log"), dir.read("theirs.log"));
}

/// By httpry's own letters, with its statistics.
#[test]
fn the_command_takes_httprys_letters() {
    let dir = Dir::new();
    let traffic = Traffic::new(2, Shape::default());
    dir.write("t.pcap", &traffic.pcap().to_bytes());
    let all = ours(&dir, "httpry -qr t.pcap");
    assert_eq!(all, ours(&dir, "http -q -o httpry -r t.pcap"));
    let count = all.lines().count();
    let said = format!("{count} http packets parsed");
    dir.gannet("httpry -r t.pcap").env("TZ", ZONE).run().exits(0).says(&said);
    let some =
        dir.gannet("httpry -r t.pcap -n 7").env("TZ", ZONE).run().exits(0).says("7 http packets parsed");
    assert_eq!(some.text().lines().collect::<Vec<_>>(), all.lines().take(7).collect::<Vec<_>>());
    assert!(!some.stderr.contains("defect"), "{}", some.stderr);
    assert_eq!(ours(&dir, "httpry -q -r t.pcap -f host -m get tcp port 1"), "");
    assert_eq!(
        ours(&dir, "httpry -q -s -l 1 -r t.pcap"),
        ours(&dir, "http -q -o httpry --rates 1s --rate-threshold 1 -r t.pcap")
    );
    dir.gannet("httpry -d -o x").run().exits(2).says("nohup");
    dir.gannet("http -r t.pcap -o jsonl --rates 5s").run().exits(2).says("is for -o httpry");
}

/// What traffic is like.
#[derive(Clone, Copy)]
struct Shape {
    /// Heads that no server would take, bodies that nobody announced.
    wild: bool,
    /// Heads with bare LF.
    bare_lf: bool,
    /// Percent of the segments that are sent again, and that change places with the next.
    again: u64,
    swapped: u64,
    /// In how many segments a head is at most.
    split: u64,
}

impl Default for Shape {
    fn default() -> Self {
        Self { wild: false, bare_lf: true, again: 0, swapped: 0, split: 1 }
    }
}

/// Conversations as packets.
struct Traffic {
    random: Random,
    shape: Shape,
    packets: Vec<(u64, Vec<u8>)>,
    micros: u64,
    connections: u16,
}

struct Connection {
    number: u16,
    v6: bool,
    port: u16,
    /// What each side sends next, the client first.
    next: [u32; 2],
}

impl Traffic {
    fn empty() -> Self {
        let (random, shape) = (Random::new(0), Shape::default());
        Self { random, shape, packets: Vec::new(), micros: SECONDS * 1_000_000, connections: 0 }
    }

    fn new(seed: u64, shape: Shape) -> Self {
        let mut traffic = Self { random: Random::new(seed), shape, ..Self::empty() };
        // What is drawn for the heads must not depend on what becomes of them.
        let mut heads = Random::new(seed ^ 0xfeed);
        for _ in 0..12 {
            let port = [80, 8_080, 80, 8_000][heads.below(if shape.wild { 4 } else { 3 }) as usize];
            let mut connection = traffic.connection(port, heads.below(5) == 0);
            if heads.below(3) > 0 || !shape.wild {
                traffic.open(&mut connection);
            }
            for _ in 0..heads.between(1, 5) {
                for request in [true, false] {
                    let (head, body) = message(&mut heads, request, shape);
                    let pieces = traffic.random.between(1, shape.split);
                    let mut cuts: Vec<_> = (1..pieces)
                        .map(|_| traffic.random.between(1, head.len() as u64 - 1) as usize)
                        .collect();
                    cuts.extend([0, head.len()]);
                    cuts.sort_unstable();
                    cuts.dedup();
                    let mut parts: Vec<Vec<u8>> =
                        cuts.windows(2).map(|cut| head[cut[0]..cut[1]].to_vec()).collect();
                    if heads.below(2) == 0 {
                        parts.last_mut().unwrap().extend(body);
                    } else if !body.is_empty() {
                        parts.push(body);
                    }
                    for part in parts {
                        traffic.send(&mut connection, request, &part);
                    }
                }
            }
        }
        for at in 1..traffic.packets.len() {
            if traffic.random.below(100) < shape.swapped {
                let time = traffic.packets[at].0;
                traffic.packets[at].0 = traffic.packets[at - 1].0;
                traffic.packets[at - 1].0 = time;
                traffic.packets.swap(at - 1, at);
            }
        }
        traffic
    }

    fn connection(&mut self, port: u16, v6: bool) -> Connection {
        self.connections += 1;
        Connection { number: self.connections, v6, port, next: [u32::MAX - 100, 7] }
    }

    fn open(&mut self, connection: &mut Connection) {
        let next = connection.next;
        self.packet(connection, true, 0x02, [next[0].wrapping_sub(1), 0], b"");
        self.packet(connection, false, 0x12, [next[1].wrapping_sub(1), next[0]], b"");
        self.packet(connection, true, 0x10, next, b"");
    }

    fn send(&mut self, connection: &mut Connection, client: bool, bytes: &[u8]) {
        let [mine, other] = if client { [0, 1] } else { [1, 0] };
        let numbers = [connection.next[mine], connection.next[other]];
        let again = self.random.below(100) < self.shape.again;
        for _ in 0..=u8::from(again) {
            self.packet(connection, client, 0x18, numbers, bytes);
        }
        connection.next[mine] = connection.next[mine].wrapping_add(bytes.len() as u32);
    }

    fn packet(&mut self, connection: &Connection, client: bool, flags: u8, numbers: [u32; 2], bytes: &[u8]) {
        if self.shape.wild {
            self.micros += [0, 10, 1_000, 600_000][self.random.below(4) as usize];
        }
        let ends = [(0, connection.number, 40_000 + connection.number), (1, 1, connection.port)];
        let [from, to] = if client { ends } else { [ends[1], ends[0]] };
        let mut frame = vec![0; 12];
        let len = 20 + bytes.len() as u16;
        if connection.v6 {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(len.to_be_bytes());
            frame.extend([6, 64]);
            for (net, host, _) in [from, to] {
                let [high, low] = u16::to_be_bytes(host);
                frame.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 10, high, net, low]);
            }
        } else {
            frame.extend([0x08, 0, 0x45, 0]);
            frame.extend((20 + len).to_be_bytes());
            frame.extend([(self.packets.len() >> 8) as u8, self.packets.len() as u8, 0, 0, 64, 6, 0, 0]);
            for (net, host, _) in [from, to] {
                let [high, low] = u16::to_be_bytes(host);
                frame.extend([10, high, net, low]);
            }
        }
        frame.extend(from.2.to_be_bytes());
        frame.extend(to.2.to_be_bytes());
        numbers.iter().for_each(|number| frame.extend(number.to_be_bytes()));
        frame.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        frame.extend(bytes);
        frame.resize(frame.len().max(60), 0);
        self.packets.push((self.micros, frame));
    }

    fn pcap(&self) -> Pcap {
        let record = |(micros, data): &(u64, Vec<u8>)| Record {
            sec: (micros / 1_000_000) as u32,
            fraction: (micros % 1_000_000) as u32,
            orig_len: data.len() as u32,
            data: data.clone(),
        };
        Pcap { records: self.packets.iter().map(record).collect(), ..Pcap::sample(0) }
    }
}

fn one<'a>(random: &mut Random, of: &[&'a str]) -> &'a str {
    of[random.below(of.len() as u64) as usize]
}

/// A head and a body.
fn message(random: &mut Random, request: bool, shape: Shape) -> (Vec<u8>, Vec<u8>) {
    let end = if shape.bare_lf { one(random, &["\r\n", "\r\n", "\n"]) } else { "\r\n" };
    let mut head = if !shape.wild && request {
        let method = one(random, &["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]);
        format!("{method} {} {}", one(random, TARGETS), one(random, &["HTTP/1.1", "HTTP/1.0"]))
    } else if !shape.wild {
        let line = one(random, &["200 OK", "404 Not Found", "500 Internal Server Error", "201 r\u{e9}ason"]);
        format!("{} {line}", one(random, &["HTTP/1.1", "HTTP/1.0"]))
    } else if request {
        let target = if random.below(4) == 0 { one(random, WILD_TARGETS) } else { one(random, TARGETS) };
        format!(
            "{}{}{target}{}",
            one(random, WILD_METHODS),
            one(random, &[" ", " ", "  ", "\t"]),
            one(random, WILD_ENDS)
        )
    } else {
        let version = one(random, &["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "http/1.1"]);
        format!(
            "{version} {}{}",
            one(random, &["200", "404", "304", "100", "204", "999", "20"]),
            one(random, WILD_REASONS)
        )
    };
    head += end;
    for _ in 0..random.below(8) {
        let (names, values) = if shape.wild { (WILD_NAMES, WILD_VALUES) } else { (NAMES, VALUES) };
        head += &format!(
            "{}{}{}{end}",
            one(random, names),
            one(random, &[": ", ":", ":\t"]),
            one(random, values)
        );
    }
    let mut body: Vec<u8> =
        (0..[0, 0, 5, 100][random.below(4) as usize]).map(|_| random.below(256) as u8).collect();
    if shape.wild && random.below(5) == 0 {
        // Looks like a head.
        body = message(random, !request, Shape { bare_lf: false, ..shape }).0;
    }
    if !shape.wild {
        head += &format!("Content-Length: {}{end}", body.len());
    }
    head += end;
    (head.into_bytes(), body)
}

const TARGETS: &[&str] =
    &["/", "/a/b?c=d", "http://x.example/y", "/\u{e9}", "/long/long/long/long/long/long/long/long"];
const NAMES: &[&str] = &["Host", "host", "User-Agent", "Accept", "Cookie", "X", "Referer", "Server", "Date"];
const VALUES: &[&str] = &["a.example", "b.example:8080", "mozilla/5.0 (x)", "x\ty", "", "caf\u{e9}", "a: b"];
const WILD_METHODS: &[&str] = &[
    "GET", "POST", "PUT", "get", "Head", "OPTIONS", "PROPFIND", "GETX", "CONNECT", "TRACE", "DELETE", "PATCH",
];
const WILD_TARGETS: &[&str] = &["*", "/sp ace", "/t\tab", "x.example:443", ""];
const WILD_ENDS: &[&str] = &[
    " HTTP/1.1",
    " HTTP/1.1",
    " HTTP/1.1",
    " HTTP/1.0",
    "",
    " ",
    " HTTP/2.0",
    " FTP/1",
    " http/1.1",
    "  HTTP/1.1",
    " HTTP/1.1 ",
];
const WILD_REASONS: &[&str] = &[" OK", " Not Found", " ", "", "  Two  Blanks ", " r\u{e9}ason"];
const WILD_NAMES: &[&str] = &[
    "Host",
    "host",
    "User-Agent",
    "Cookie",
    "X",
    "Method",
    "Status-Code",
    "Direction",
    "Timestamp",
    "Source-IP",
    " folded",
    "Host ",
    "",
    "no colon\r\nX",
];
const WILD_VALUES: &[&str] = &[
    "a.example",
    "b.example:8080",
    "x\ty",
    "",
    " lead",
    "trail ",
    "caf\u{e9}",
    "\r",
    "a: b",
    "http/1.1 200 ok",
    "1\u{b}2",
];

const FIELDS: &str =
    "timestamp,Host,x,cookie,user-agent,dest-port,method,status-code,direction,source-port,reason-phrase";
/// Neither that of the machine nor one that a fixed offset would do for.
const ZONE: &str = "America/New_York";
const SECONDS: u64 = 1_700_000_000;
const TIME: &str = "2023-11-14 17:13:20";
