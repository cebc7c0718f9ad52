//! The generated capture and its truth against readers that share nothing with the generator: one in this file, slow
//! and obvious, on etherparse; tshark.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic of a test is its report, in helpers as well")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write as _;
use std::process::Command;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use gannet_testkit::capture::{Plan, Report, generate};
use gannet_testkit::conversation::{Body, Builder, Peer, Request, Response, Setup, flags};
use serde_json::{Value, json};

fn capture(seed: u64, size_bytes: u64, connections: u32) -> (Vec<u8>, Vec<u8>, Report) {
    let (mut file, mut truth) = (Vec::new(), Vec::new());
    let report = generate(&Plan { seed, size_bytes, connections }, &mut file, &mut truth).unwrap();
    assert_eq!(file.len() as u64, report.bytes);
    (file, truth, report)
}

fn lines(truth: &[u8]) -> Vec<Value> {
    truth
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// Time and bytes of each packet of a little-endian pcap with nanoseconds.
fn packets(file: &[u8]) -> Vec<(u64, &[u8])> {
    assert_eq!(file[..4], 0xa1b2_3c4d_u32.to_le_bytes());
    let word = |at: usize| u64::from(u32::from_le_bytes(file[at..at + 4].try_into().unwrap()));
    let (mut packets, mut at) = (Vec::new(), 24);
    while at < file.len() {
        let length = word(at + 8);
        assert_eq!(length, word(at + 12));
        packets.push((word(at) * 1_000_000_000 + word(at + 4), &file[at + 16..at + 16 + length as usize]));
        at += 16 + length as usize;
    }
    packets
}

/// One direction of a connection: its bytes, and for each the time and number of its packet.
#[derive(Default)]
struct Stream {
    bytes: Vec<u8>,
    seen: Vec<(u64, usize)>,
    next: u32,
    finished: bool,
}

#[derive(Default)]
struct Connection {
    streams: [Stream; 2],
    handshake: Vec<u64>,
}

/// Sorts packets into streams. Everything has to be in order, acknowledged sensibly and with right checksums.
fn connections(packets: &[(u64, &[u8])]) -> BTreeMap<(String, u16), Connection> {
    let mut all: BTreeMap<(String, u16), Connection> = BTreeMap::new();
    let mut last = 0;
    for (number, &(time, frame)) in packets.iter().enumerate() {
        assert!(time >= last && frame.len() <= 1_514);
        last = time;
        let packet = SlicedPacket::from_ethernet(frame).unwrap();
        let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) = (&packet.net, &packet.transport)
        else {
            panic!("{packet:?}")
        };
        let header = ip.header();
        assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
        assert_eq!(tcp.checksum(), tcp.calc_checksum_ipv4(header.source(), header.destination()).unwrap());
        let from_client = tcp.destination_port() == 80;
        let client = if from_client {
            (header.source_addr().to_string(), tcp.source_port())
        } else {
            (header.destination_addr().to_string(), tcp.destination_port())
        };
        let connection = all.entry(client).or_default();
        let [one, two] = &mut connection.streams;
        let (stream, other) = if from_client { (one, two) } else { (two, one) };
        if tcp.syn() {
            assert!(stream.bytes.is_empty() && !stream.finished, "a port is used once");
            stream.next = tcp.sequence_number().wrapping_add(1);
        } else {
            assert_eq!(tcp.sequence_number(), stream.next);
            stream.next = stream.next.wrapping_add(tcp.payload().len() as u32 + u32::from(tcp.fin()));
            stream.finished |= tcp.fin();
        }
        if tcp.ack() {
            let ahead = other.next.wrapping_sub(tcp.acknowledgment_number());
            assert!(
                ahead < 65_536,
                "nothing unsent is acknowledged, and no more is under way than the window"
            );
        }
        if connection.handshake.len() < 3 {
            connection.handshake.push(time);
        }
        stream.seen.extend(tcp.payload().iter().map(|_| (time, number)));
        stream.bytes.extend(tcp.payload());
    }
    all
}

/// A message read from the start of `bytes`.
struct Message {
    start: Vec<String>,
    headers: Vec<(String, String)>,
    head: usize,
    body: u64,
    length: usize,
}

impl Message {
    fn values(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(theirs, _)| theirs == name).map(|(_, value)| value.as_str()).collect()
    }
}

fn message(bytes: &[u8], bodiless: bool) -> Message {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let text = std::str::from_utf8(&bytes[..head]).unwrap();
    let mut lines = text.lines();
    let start: Vec<String> = lines.next().unwrap().splitn(3, ' ').map(str::to_owned).collect();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut message = Message { start, headers, head, body: 0, length: head };
    if bodiless || message.start[1] == "204" || message.start[1] == "304" {
        return message;
    }
    if message.values("transfer-encoding") == ["chunked"] {
        loop {
            let line = bytes[message.length..].windows(2).position(|two| two == b"\r\n").unwrap();
            let size = std::str::from_utf8(&bytes[message.length..message.length + line]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            message.length += line + 2 + size + 2;
            message.body += size as u64;
            assert_eq!(bytes[message.length - 2..message.length], *b"\r\n");
            if size == 0 {
                return message;
            }
        }
    }
    message.body = message.values("content-length").first().map_or(0, |length| length.parse().unwrap());
    message.length += message.body as usize;
    message
}

/// The records that the capture makes, in the order of completion.
fn records(all: &BTreeMap<(String, u16), Connection>) -> Vec<Value> {
    let mut records = Vec::new();
    for ((address, port), connection) in all {
        let [asked, answered] = &connection.streams;
        assert!(asked.finished && answered.finished);
        let (mut request_at, mut response_at, mut index, mut previous) = (0, 0, 0, 0);
        while request_at < asked.bytes.len() {
            let request = message(&asked.bytes[request_at..], false);
            let response = message(&answered.bytes[response_at..], request.start[0] == "HEAD");
            let time = |stream: &Stream, at: usize| stream.seen[at].0;
            let first = time(asked, request_at);
            let sent = time(asked, request_at + request.length - 1);
            let begun = time(answered, response_at);
            let last = time(answered, response_at + response.length - 1);
            let shown = |message: &Message| {
                let names = [
                    "host",
                    "user-agent",
                    "content-type",
                    "content-length",
                    "location",
                    "server",
                    "x-forwarded-for",
                    "traceparent",
                ];
                let shown = names.iter().filter(|name| !message.values(name).is_empty());
                shown
                    .map(|name| ((*name).to_owned(), json!(message.values(name))))
                    .collect::<serde_json::Map<_, _>>()
            };
            let (path, query) = match request.start[1].split_once('?') {
                Some((path, query)) => (path, Some(query)),
                None => (request.start[1].as_str(), None),
            };
            let mut record = json!({
                "timestamp": format!("{:.9}", jiff::Timestamp::from_nanosecond(first.into()).unwrap()),
                "http": {
                    "request": {"method": request.start[0], "header": shown(&request), "body": {"size": request.body}},
                    "response": {
                        "status_code": response.start[1].parse::<u16>().unwrap(),
                        "header": shown(&response),
                        "body": {"size": response.body},
                    },
                },
                "url": {"path": path, "scheme": "http"},
                "client": {"address": address, "port": port},
                "server": {"address": request.values("host")[0], "port": 80},
                "network": {"peer": {"address": "198.51.100.10", "port": 80}, "protocol": {"version": "1.1"}},
                "user_agent": {"original": request.values("user-agent")[0]},
                "timing": {
                    "connect_ns": (index == 0).then(|| connection.handshake[2] - connection.handshake[0]),
                    "send_ns": sent - first,
                    "ttfb_ns": begun - first,
                    "server_ns": begun - sent.max(previous),
                    "receive_ns": last - begun,
                    "total_ns": last - first,
                },
                "tcp": {"retransmitted": 0, "out_of_order": 0, "gap_bytes": 0, "zero_windows": 0},
                "gannet": {"state": "complete"},
            });
            if let Some(query) = query {
                record["url"]["query"] = json!(query);
            }
            let number = answered.seen[response_at + response.length - 1].1;
            assert!(response.head <= response.length);
            records.push((number, index, record));
            request_at += request.length;
            response_at += response.length;
            index += 1;
            previous = last;
        }
        assert_eq!(response_at, answered.bytes.len());
    }
    records.sort_by_key(|(number, index, _)| (*number, *index));
    records.into_iter().map(|(_, _, record)| record).collect()
}

#[test]
fn the_capture_says_what_its_truth_says() {
    let (file, truth, report) = capture(11, 24_000_000, 200);
    let packets = packets(&file);
    let all = connections(&packets);
    assert_eq!((packets.len() as u64, all.len() as u64), (report.packets, report.connections));
    let (truth, records) = (lines(&truth), records(&all));
    assert_eq!(truth.len() as u64, report.exchanges);
    assert_eq!(truth.len(), records.len());
    for (truth, record) in truth.iter().zip(&records) {
        assert_eq!(truth, record);
    }
}

#[test]
fn the_traffic_is_what_was_asked_for() {
    let (file, truth, report) = capture(5, 60_000_000, 300);
    let all = connections(&packets(&file));
    // All connections exist at one time: the last one to open at first opens before the first one closes.
    let mut times: Vec<(u64, u64)> = all
        .values()
        .map(|connection| {
            (connection.handshake[0], connection.streams[1].seen.last().map_or(0, |seen| seen.0))
        })
        .collect();
    times.sort_unstable();
    let opened = times[299].0;
    assert!(times[..300].iter().filter(|(_, end)| *end > opened).count() > 280);
    assert!(report.connections > 300, "{report:?}");

    let truth = lines(&truth);
    let share = report.pipelined as f64 / report.exchanges as f64;
    assert!((0.006..0.014).contains(&share), "{share}");
    let set = |field: &str| {
        truth.iter().map(|line| line.pointer(field).unwrap().to_string()).collect::<HashSet<_>>()
    };
    assert_eq!(set("/http/request/method").len(), 6);
    let statuses = set("/http/response/status_code");
    for status in ["200", "201", "204", "301", "304", "400", "404", "500", "503"] {
        assert!(statuses.contains(status), "{status}");
    }
    assert!(set("/http/request/header/host").len() == 8);
    let sizes: Vec<u64> =
        truth.iter().map(|line| line["http"]["response"]["body"]["size"].as_u64().unwrap()).collect();
    assert!(sizes.iter().all(|&size| size == 0 || (190..=100_000).contains(&size)));
    // Log-uniform: as many below the geometric mean of the ends as above.
    let bodies = sizes.iter().filter(|&&size| size > 0).count() as f64;
    let small = sizes.iter().filter(|&&size| size > 0 && size < 4_472).count() as f64;
    assert!((0.46..0.54).contains(&(small / bodies)), "{small} of {bodies}");
    for line in &truth {
        let ns = |name: &str| line["timing"][name].as_u64().unwrap();
        assert_eq!(ns("total_ns"), ns("ttfb_ns") + ns("receive_ns"));
        assert!(ns("ttfb_ns") >= ns("send_ns") + ns("server_ns"));
    }
    let heads = |wanted: &[u8]| file.windows(wanted.len()).filter(|bytes| *bytes == wanted).count();
    assert!(heads(b"Transfer-Encoding: chunked\r\n") > truth.len() / 20);
    assert!(heads(b"Content-Encoding: gzip\r\n") > truth.len() / 20);
}

#[test]
fn the_size_is_reached_within_a_hundredth() {
    for (size, connections) in [(8_000_000, 50), (64 << 20, 1_000), (200_000_000, 1_000)] {
        let report =
            generate(&Plan { seed: 3, size_bytes: size, connections }, std::io::sink(), std::io::sink())
                .unwrap();
        let off = report.bytes as f64 / size as f64 - 1.0;
        assert!(off.abs() < 0.01, "{size}: {off} {report:?}");
    }
}

#[test]
fn the_same_plan_gives_the_same_bytes() {
    let one = capture(1, 3_000_000, 20);
    assert!(one == capture(1, 3_000_000, 20));
    let other = capture(2, 3_000_000, 20);
    assert!(one.0 != other.0 && one.1 != other.1);
}

/// What tshark says of a capture, a row per packet.
fn tshark(file: &[u8], options: &[&str], fields: &[&str]) -> Option<Vec<Vec<String>>> {
    let mut path = tempfile::NamedTempFile::new().unwrap();
    path.write_all(file).unwrap();
    let mut command = Command::new("tshark");
    command
        .args(["-n", "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=|", "-r"])
        .arg(path.path())
        .args(options);
    command.args(fields.iter().flat_map(|field| ["-e", field]));
    let Ok(output) = command.output() else {
        let _ = writeln!(std::io::stderr(), "SKIPPED, needs tshark");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}

#[test]
fn tshark_reads_in_the_capture_what_its_truth_says() {
    let (file, truth, _) = capture(21, 8_000_000, 60);
    let fields = [
        "ip.src",
        "tcp.srcport",
        "ip.dst",
        "tcp.dstport",
        "http.request.method",
        "http.host",
        "http.request.uri",
        "http.response.code",
    ];
    let Some(rows) = tshark(&file, &["-Y", "http"], &fields) else { return };
    // Several messages that end in one packet share a row.
    let mut asked: HashMap<(String, String), Vec<[String; 3]>> = HashMap::new();
    let mut answered: HashMap<(String, String), Vec<String>> = HashMap::new();
    for row in rows {
        let split = |field: usize| row[field].split('|').filter(|value| !value.is_empty()).map(str::to_owned);
        if row[7].is_empty() {
            let requests =
                split(4).zip(split(5)).zip(split(6)).map(|((method, host), uri)| [method, host, uri]);
            asked.entry((row[0].clone(), row[1].clone())).or_default().extend(requests);
        } else {
            answered.entry((row[2].clone(), row[3].clone())).or_default().extend(split(7));
        }
    }
    let mut truth_asked: HashMap<(String, String), Vec<[String; 3]>> = HashMap::new();
    let mut truth_answered: HashMap<(String, String), Vec<String>> = HashMap::new();
    for line in lines(&truth) {
        let text = |field: &str| {
            line.pointer(field).map(|value| value.as_str().map_or(value.to_string(), str::to_owned))
        };
        let client = (text("/client/address").unwrap(), text("/client/port").unwrap());
        let query = text("/url/query").map_or_else(String::new, |query| format!("?{query}"));
        let uri = text("/url/path").unwrap() + &query;
        let request =
            [text("/http/request/method").unwrap(), text("/http/request/header/host/0").unwrap(), uri];
        truth_asked.entry(client.clone()).or_default().push(request);
        truth_answered.entry(client).or_default().push(text("/http/response/status_code").unwrap());
    }
    assert_eq!(asked, truth_asked);
    assert_eq!(answered, truth_answered);
}

#[test]
fn tshark_reads_conversations_as_they_were_built() {
    for (setup, ip) in [
        (Setup::default(), "ip.src"),
        (Setup::default().ipv6(), "ipv6.src"),
        (
            Setup {
                route: gannet_testkit::conversation::Route {
                    vlan: Some(77),
                    timestamps: false,
                    ..Setup::default().route
                },
                ..Setup::default()
            },
            "ip.src",
        ),
    ] {
        let mut builder = Builder::new(setup.clone());
        builder
            .handshake()
            .request(&Request::new("PUT", "/a", "h.example").body(Body::chunked(vec![b'x'; 5_000], 999)));
        builder.response(&Response::new(200, Body::length(vec![b'y'; 9_999]))).close(Peer::Client);
        let conversation = builder.finish();
        let fields = [
            "frame.time_epoch",
            ip,
            "tcp.seq",
            "tcp.ack",
            "tcp.len",
            "tcp.flags",
            "tcp.checksum.status",
            "http.request.method",
            "http.response.code",
            "vlan.id",
            "tcp.analysis.flags",
        ];
        let options = ["-o", "tcp.check_checksum:TRUE"];
        let Some(rows) = tshark(&conversation.pcap(), &options, &fields) else { return };
        assert_eq!(rows.len(), conversation.packets().len());
        let (mut methods, mut codes) = (String::new(), String::new());
        for (row, packet) in rows.iter().zip(conversation.packets()) {
            let time = format!("{}.{:09}", packet.time_ns / 1_000_000_000, packet.time_ns % 1_000_000_000);
            let from = if packet.from == Peer::Client { setup.route.client } else { setup.route.server };
            let ack = if packet.flags & flags::ACK == 0 { 0 } else { packet.ack };
            let length = packet.range.end - packet.range.start;
            assert_eq!(
                row[..5],
                [
                    time,
                    from.ip().to_string(),
                    packet.position.to_string(),
                    ack.to_string(),
                    length.to_string()
                ]
            );
            assert_eq!(u8::from_str_radix(row[5].trim_start_matches("0x"), 16).unwrap(), packet.flags);
            assert_eq!(row[6], "1", "the checksum is good");
            assert_eq!(row[9], setup.route.vlan.map_or_else(String::new, |vlan| vlan.to_string()));
            assert_eq!(row[10], "", "nothing strange");
            methods.push_str(&row[7]);
            codes.push_str(&row[8]);
        }
        assert_eq!((methods.as_str(), codes.as_str()), ("PUT", "200"));
    }
}
