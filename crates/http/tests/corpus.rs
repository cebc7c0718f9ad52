//! Real captures through the flow table: methods, targets and statuses against tshark's rows.
//!
//! The captures are not part of this repository: see `gannet_testkit::corpus`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic of a test is its report, in helpers as well")]

use std::path::Path;

use gannet_flow::{FlowTable, FragmentLimits, Fragments, Limits, Moment, Segment, Taken};
use gannet_http::{Counters, Exchange, Http, HttpConfig, Sink};
use gannet_packet::{Decap, Packet};
use gannet_pcap::SliceReader;
use gannet_testkit::corpus;

#[derive(Default)]
struct Kept(Vec<Exchange>);

impl Sink for Kept {
    fn exchange(&mut self, exchange: Exchange) {
        self.0.push(exchange);
    }
}

fn analyse(path: &Path) -> (Vec<Exchange>, Counters) {
    let contents = std::fs::read(path).unwrap();
    let mut reader = SliceReader::new(&contents).unwrap();
    let mut table = FlowTable::new(Limits::default(), 1, Http::new(HttpConfig::default(), Kept::default()));
    let mut fragments = Fragments::new(FragmentLimits::default(), 1);
    let mut position = 0;
    while let Some(packet) = reader.next_packet() {
        let mut frame = packet.frame;
        let mut decoded = Packet::decode(&frame);
        let mut whole = None;
        if let Taken::Completed(datagram) = fragments.take(&frame, &decoded, position) {
            decoded = datagram.decode(&Decap::ALL);
            frame = whole.insert(datagram).frame();
        }
        if let Some(segment) = Segment::new(&frame, &decoded, position) {
            table.segment(&segment);
        }
        position += 1;
        if position % 16 == 0 {
            table.tick(Moment { time: table.clock(), position });
        }
    }
    table.finish(Moment { time: table.clock(), position });
    let http = table.handler();
    assert_eq!(http.counters().check(), [], "{}", path.display());
    let counters = *http.counters();
    (std::mem::take(&mut http.sink().0), counters)
}

#[test]
fn exchanges_are_those_of_tshark() {
    let Some(root) = corpus::root() else { return };
    let (mut files, mut rows, mut pairs, mut more) = (0, 0, 0, 0);
    for (capture, table) in corpus::tables(&root.join("expected/tshark"), ".http.tsv") {
        let (exchanges, counters) = analyse(&root.join("pcaps").join(&capture));
        let theirs = rows_of(&table);
        let mut requests: Vec<_> =
            theirs.iter().filter(|row| !row.method.is_empty()).map(Row::request).collect();
        let mut statuses: Vec<_> = theirs.iter().filter_map(|row| row.status).collect();
        let mut ours: Vec<_> = exchanges.iter().filter_map(request).collect();
        let interim = exchanges.iter().flat_map(|exchange| exchange.interim.iter().map(|one| one.status));
        let last = exchanges.iter().filter_map(|exchange| exchange.response.as_ref()?.head.status());
        let mut our_statuses: Vec<_> = interim.chain(last).collect();
        rows += theirs.len();
        files += 1;
        for list in [&mut requests, &mut ours] {
            list.sort();
        }
        for list in [&mut statuses, &mut our_statuses] {
            list.sort_unstable();
        }
        assert_eq!(ours, requests, "{capture}");
        if our_statuses != statuses && capture != IN_A_TUNNEL {
            // tshark shows no row for a response with a hole in its body, nor for those behind it.
            let hole = |exchange: &&Exchange| exchange.response.as_ref().is_some_and(|one| one.gap_bytes > 0);
            let from_hole_on = |exchange: &&Exchange| {
                let (flow, index) = (exchange.connection.flow, exchange.index);
                exchanges.iter().filter(hole).any(|one| one.connection.flow == flow && one.index <= index)
            };
            let found = exchanges.iter().filter(from_hole_on).count();
            assert_eq!(our_statuses.len() - found, statuses.len(), "{capture}");
            more += our_statuses.len() - statuses.len();
        }
        // Which answers which, where tshark says so and every name is there once.
        for row in &theirs {
            let Some(asked) = theirs.iter().find(|other| row.answers == Some(other.frame)) else { continue };
            let target = asked.request();
            let same: Vec<_> =
                exchanges.iter().filter(|exchange| request(exchange).as_ref() == Some(&target)).collect();
            let &[exchange] = &same[..] else { continue };
            let found = exchange.response.as_ref().and_then(|response| response.head.status());
            let interim = exchange.interim.iter().any(|one| Some(one.status) == row.status);
            assert!(found == row.status || interim, "{capture}: {target:?}");
            pairs += 1;
        }
        assert_eq!(counters.http2 + counters.tls + counters.other, 0, "{capture}");
    }
    assert_eq!(more, MORE_THAN_TSHARK);
    assert!(files >= 17 && rows >= 120 && pairs >= 40, "{files} files, {rows} rows, {pairs} pairs");
}

/// tshark has the request in the tunnel of CONNECT and not its response; Suricata has both.
const IN_A_TUNNEL: &str = "suricata-verify/tests/http-connect/http-connect-simple/input.pcap";

/// Responses found where tshark shows none: in `zeek/http/bro.org.pcap` one with a hole in its body and the five that
/// follow on its connection, in `zeek/http/content-range-gap.pcap` the only one.
const MORE_THAN_TSHARK: usize = 7;

/// A row of tshark's.
struct Row {
    frame: u64,
    method: String,
    target: String,
    status: Option<u16>,
    answers: Option<u64>,
}

impl Row {
    fn request(&self) -> [String; 2] {
        [self.method.clone(), self.target.clone()]
    }
}

fn rows_of(table: &str) -> Vec<Row> {
    let mut lines = table.lines();
    let names: Vec<_> = lines.next().unwrap_or_default().split('\t').collect();
    let column = |name| names.iter().position(|theirs| *theirs == name).unwrap();
    let [frame, method, target, status, answers] =
        ["frame.number", "http.request.method", "http.request.uri", "http.response.code", "http.request_in"]
            .map(column);
    let row = |line: &str| {
        let values: Vec<_> = line.split('\t').collect();
        Row {
            frame: values[frame].parse().unwrap(),
            method: values[method].to_owned(),
            target: values[target].to_owned(),
            status: values[status].parse().ok(),
            answers: values[answers].parse().ok(),
        }
    };
    lines.map(row).collect()
}

fn request(exchange: &Exchange) -> Option<[String; 2]> {
    let head = &exchange.request.as_ref()?.head;
    Some([head.method(), head.target()].map(|part| String::from_utf8_lossy(part).into_owned()))
}
