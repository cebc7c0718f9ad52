//! What an exchange costs once it is found: its line of JSON, its line for a terminal, its place in the latencies.
//!
//! `cargo bench --bench records`; with `-- --test` each runs once, to see that it still works.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails shall say so")]

use std::hint::black_box;
use std::net::Ipv4Addr;

use divan::counter::ItemsCount;
use divan::{Bencher, bench};
use gannet_http::{
    Confidence, Connection, Exchange, Field, Head, Message, Oddities, Reason, StartLine, State, TcpFacts,
    Timing, Untrusted,
};
use gannet_packet::{Endpoint, Surroundings, Timestamp};
use gannet_record::{
    Expression, Glob, Interfaces, Latencies, Record, RecordOptions, Routes, Selection, Selector, StatusSet,
};
use gannet_sink::{
    Batch, Event, EventKinds, Format, HttpryOptions, Hub, HubConfig, Order, SinkSpec, Target, WhenFull,
    Writing,
};

fn main() {
    divan::main();
}

/// Whose paths an exchange has.
#[derive(Clone, Copy, Debug)]
enum Paths {
    /// A few that come again and again.
    Few,
    /// An API's: a number of its own in each.
    Numbered,
}

const EXCHANGES: usize = 1_024;
/// Rounds of a measurement: one by itself would measure the clock and cold caches.
const BURST: u32 = 4_096;

#[bench(args = [Paths::Few, Paths::Numbered], sample_size = BURST)]
fn json_line(bencher: Bencher, paths: Paths) {
    let (exchanges, options) = (exchanges(paths), options());
    let mut out = Vec::new();
    let mut next = exchanges.iter().cycle();
    bencher.bench_local(|| {
        out.clear();
        let exchange = next.next().unwrap();
        Record::new(black_box(exchange), &options).write_json(&mut out).unwrap();
        assert!(out.len() > 900, "{}", out.len());
    });
}

/// The same bytes by way of `serde_json`, to compare with.
#[bench(args = [Paths::Numbered], sample_size = BURST)]
fn json_line_of_serde_json(bencher: Bencher, paths: Paths) {
    let (exchanges, options) = (exchanges(paths), options());
    let mut out = Vec::new();
    let mut next = exchanges.iter().cycle();
    bencher.bench_local(|| {
        out.clear();
        let exchange = next.next().unwrap();
        serde_json::to_writer(&mut out, &Record::new(black_box(exchange), &options)).unwrap();
        assert!(out.len() > 900, "{}", out.len());
    });
}

#[bench(args = [Paths::Few, Paths::Numbered], sample_size = BURST)]
fn latencies_add(bencher: Bencher, paths: Paths) {
    let exchanges = exchanges(paths);
    let mut latencies = Latencies::new(Routes::default());
    let mut next = exchanges.iter().cycle();
    let mut added = 0;
    bencher.bench_local(|| {
        latencies.add(black_box(next.next().unwrap()));
        added += 1;
    });
    assert_eq!(latencies.summary().total.figures.measured, added);
}

/// What is asked of an exchange.
#[derive(Clone, Copy, Debug)]
enum Asked {
    /// Method, host, path, status and duration by their short forms.
    ShortForms,
    Where(&'static str),
}

#[bench(sample_size = BURST, args = [
    Asked::ShortForms,
    Asked::Where("http.response.status_code >= 200"),
    Asked::Where("http.response.status_code == 200 && timing.total_ns > 0 && url.path.startsWith('/api/')"),
    Asked::Where("http.request.header['user-agent'][0].contains('Chrome') && !('gap' in gannet.untrusted)"),
])]
fn selects(bencher: Bencher, asked: Asked) {
    let exchanges = exchanges(Paths::Numbered);
    let selection = match asked {
        Asked::ShortForms => Selection {
            methods: vec!["get".to_owned()],
            hosts: vec![Glob::of_host("*.example").unwrap()],
            paths: vec![Glob::of_path("/api/*").unwrap()],
            statuses: Some(StatusSet::new("2xx").unwrap()),
            slower_ns: Some(1),
            expression: None,
        },
        Asked::Where(text) => {
            Selection { expression: Some(Expression::new(text).unwrap()), ..Selection::default() }
        }
    };
    let mut selector = Selector::new(selection, options()).unwrap();
    let mut next = exchanges.iter().cycle();
    bencher.bench_local(|| assert!(selector.selects(black_box(next.next().unwrap()))));
}

/// A batch by way of an output's thread, from start to end: the time of a line, the hand-over, and some of the
/// thread's own.
#[bench(args = [Format::Text { colour: false }, Format::Jsonl, Format::None])]
fn outputs(bencher: Bencher, format: Format) {
    let events = EventKinds::EXCHANGES;
    let spec = SinkSpec { format, target: Target::File("/dev/null".into()), events };
    let all = exchanges(Paths::Numbered);
    bencher
        .counter(ItemsCount::new(EXCHANGES))
        .with_inputs(|| Batch {
            worker: 0,
            number: 0,
            events: all.iter().cloned().map(Event::Exchange).collect(),
        })
        .bench_local_values(|batch| {
            let config = HubConfig {
                sinks: vec![spec.clone()],
                options: options(),
                httpry: HttpryOptions::default(),
                workers: 1,
                order: Order::Arrival,
                when_full: WhenFull::Wait,
                flush_each: false,
                writing: Writing::ByThreads,
            };
            let mut hub = Hub::open(config).unwrap();
            hub.start().unwrap();
            hub.lane().send(batch);
            assert_eq!(hub.finish()[0].written, EXCHANGES as u64);
        });
}

fn options() -> RecordOptions {
    let interfaces = Interfaces::default();
    interfaces.add("eth0".to_owned());
    RecordOptions { interfaces, ..RecordOptions::default() }
}

fn exchanges(paths: Paths) -> Vec<Exchange> {
    (0..EXCHANGES).map(|number| exchange(number, paths)).collect()
}

/// What a browser and a server say to each other, as far as it matters here.
fn exchange(number: usize, paths: Paths) -> Exchange {
    let path = match paths {
        Paths::Few => format!("/api/v1/{}?page=2", ["users", "orders", "items", "login"][number % 4]),
        Paths::Numbered => format!("/api/v1/users/{}/orders/{}?page=2", 624_000 + number, number * 7),
    };
    let request = head(
        &format!("GET {path} HTTP/1.1"),
        &[
            ("Host", "shop.example:8080"),
            (
                "User-Agent",
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0",
            ),
            ("Accept", "application/json, text/plain, */*"),
            ("Accept-Encoding", "gzip, deflate, br"),
            ("Accept-Language", "en-GB,en;q=0.5"),
            ("Referer", "http://shop.example:8080/"),
            ("Cookie", "session=0123456789abcdef0123456789abcdef"),
            ("Connection", "keep-alive"),
        ],
    );
    let response = head(
        "HTTP/1.1 200 OK",
        &[
            ("Server", "nginx/1.27.3"),
            ("Date", "Sat, 21 Nov 2026 10:11:12 GMT"),
            ("Content-Type", "application/json; charset=utf-8"),
            ("Content-Length", "1234"),
            ("Connection", "keep-alive"),
            ("Cache-Control", "no-store"),
        ],
    );
    let first = 1_795_255_872_123_456_789 + number as u64 * 50_021;
    let total = 1_500_000 + number as u64 * 997 % 1_000_000;
    let end = |host: u8, port| Endpoint { address: Ipv4Addr::new(10, 0, 0, host).into(), port };
    Exchange {
        connection: Connection {
            flow: number as u64 / 4,
            id: "AAAAAAAAAAAAAAAAAAAAAAAAAA".parse().unwrap(),
            client: end(1, 51_234),
            server: end(2, 8_080),
            interface: 0,
            around: Surroundings::NONE,
            midstream: false,
        },
        index: number as u32 % 4,
        completed: Default::default(),
        state: State::Complete,
        reason: Reason::Framing,
        confidence: Confidence::High,
        request: Some(message(request, 0, first, first + 20_000)),
        interim: Vec::new(),
        response: Some(message(response, 1_234, first + 1_000_000, first + total)),
        timing: Timing {
            connect: Some(70_000),
            send: Some(20_000),
            ttfb: Some(1_000_000),
            server: Some(980_000),
            receive: Some(total - 1_000_000),
            total: Some(total),
            ..Timing::default()
        },
        untrusted: Untrusted::default(),
        tcp: TcpFacts::default(),
        tunnel: None,
    }
}

fn message(head: Head, body_bytes: u64, first: u64, last: u64) -> Message {
    let wire_bytes = head.raw().len() as u64 + body_bytes;
    Message {
        head,
        first: Timestamp(first),
        head_end: Timestamp(first),
        last: Timestamp(last),
        last_seen: true,
        body_bytes,
        wire_bytes,
        complete: true,
        gap_bytes: 0,
        ambiguous_length: false,
        body: [].into(),
        trailers: None,
        oddities: Oddities::default(),
    }
}

fn head(line: &str, fields: &[(&str, &str)]) -> Head {
    let mut raw = format!("{line}\r\n");
    let mut ranges = Vec::new();
    for (name, value) in fields {
        let name_at = raw.len() as u32;
        let value_at = name_at + name.len() as u32 + 2;
        ranges.push(Field { name: name_at..value_at - 2, value: value_at..value_at + value.len() as u32 });
        raw.push_str(&format!("{name}: {value}\r\n"));
    }
    raw.push_str("\r\n");
    let blank = line.find(' ').unwrap() as u32;
    let start = match line.starts_with("HTTP/") {
        true => StartLine::Response { status: Some(200), reason: blank + 5..line.len() as u32, minor: 1 },
        false => StartLine::Request {
            method: 0..blank,
            target: blank + 1..line.rfind(' ').unwrap() as u32,
            minor: 1,
        },
    };
    Head::new(raw.as_bytes(), start, &ranges)
}
