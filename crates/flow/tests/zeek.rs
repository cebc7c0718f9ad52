//! Flow records of real captures against Zeek's `conn.log` of them.
//!
//! The captures are not part of this repository: see `gannet_testkit::corpus`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic of a test is its report, in helpers as well")]

mod common;

use std::path::Path;

use gannet_flow::{CloseReason, Data, Flow, FlowRecord, Gap, Handler, Moment, StreamEnd};
use gannet_testkit::corpus;

/// A log and its capture. The table alone is asked here; the records of the program, with IP bytes, services and what
/// comes behind the end, are compared in `tests/cli/stats.rs`.
const LOGS: [(&str, &str); 12] = [
    ("core.tcp.reassembly-known-ports/conn.log", "zeek/http/get.pcap"),
    ("core.tcp.missing-syn/conn.log", "zeek/tcp/missing-syn.pcap"),
    ("core.history-flip/conn.log", "zeek/tcp/missing-syn.pcap"),
    ("core.tunnels.gre/conn.log", "zeek/tunnels/gre-sample.pcap"),
    ("core.skip_analyzer/conn.log", "zeek/tunnels/gre-sample.pcap"),
    ("core.tcp.miss-end-data/conn.log", "zeek/tcp/miss_end_data.pcap"),
    ("core.tcp.rxmit-history/conn-1.log", "zeek/tcp/retransmit-fast009.pcap"),
    ("core.tcp.rxmit-history/conn-2.log", "zeek/wikipedia.pcap"),
    ("core.tunnels.analyzer-confirmation/conn.log", "zeek/tunnels/vxlan-encapsulated-http.pcap"),
    ("core.tunnels.gtp.different_dl_and_ul/conn.log", "zeek/tunnels/gtp/gtp2_different_udp_port.pcap"),
    ("scripts.base.frameworks.analyzer.request-analyzer/conn.log", "zeek/wikipedia.pcap"),
    (
        "scripts.policy.protocols.conn.community-id-logging-flipped/conn.log.cut",
        "zeek/tcp/handshake-reorder.pcap",
    ),
];

/// Columns that are compared, and what we have for them.
fn columns(record: &FlowRecord) -> [(&'static str, String); 9] {
    let seconds =
        format!("{}.{:06}", record.duration_ns / 1_000_000_000, record.duration_ns / 1_000 % 1_000_000);
    let [orig, resp] = record.stream_lens;
    [
        ("duration", seconds),
        ("orig_bytes", orig.to_string()),
        ("resp_bytes", resp.to_string()),
        ("conn_state", record.state.name().into()),
        ("missed_bytes", (record.streams[0].gap_bytes + record.streams[1].gap_bytes).to_string()),
        ("history", record.history.clone()),
        ("orig_pkts", record.streams[0].packets.to_string()),
        ("resp_pkts", record.streams[1].packets.to_string()),
        ("community_id", record.community_id.clone()),
    ]
}

#[test]
fn records_are_those_of_zeek() {
    let Some(corpus) = corpus::root() else { return };
    let (mut equal, mut differing) = (0, Vec::new());
    for (log, capture) in LOGS {
        let records = records(&corpus.join("pcaps").join(capture));
        let text = std::fs::read_to_string(corpus.join("expected/zeek").join(log)).unwrap();
        let mut names: Vec<&str> = Vec::new();
        for line in text.lines() {
            if let Some(fields) = line.strip_prefix("#fields\t") {
                names = fields.split('\t').collect();
            } else if log.ends_with(".cut") && names.is_empty() {
                names = vec!["id.resp_h", "id.resp_p", "proto", "service", "community_id"];
            }
            let line = if log.ends_with(".cut") {
                line.split_once("59856\t").map_or("#", |(_, rest)| rest)
            } else {
                line
            };
            if line.starts_with('#') {
                continue;
            }
            let values: Vec<&str> = line.split('\t').collect();
            let value = |name: &str| {
                let at = names.iter().position(|known| *known == name);
                at.and_then(|at| values.get(at)).copied().filter(|value| *value != "-")
            };
            if value("proto") != Some("tcp") {
                continue;
            }
            let is_it = |record: &&FlowRecord| {
                let end = |name: &str, is: String| value(name).is_none_or(|value| value == is);
                end("id.orig_h", record.originator.address.to_string())
                    && end("id.orig_p", record.originator.port.to_string())
                    && end("id.resp_h", record.responder.address.to_string())
                    && end("id.resp_p", record.responder.port.to_string())
            };
            let Some(record) = records.iter().find(is_it) else {
                differing.push(format!("{log} {:?}: no such flow", value("id.orig_p")));
                continue;
            };
            for (name, ours) in columns(record) {
                match value(name) {
                    Some(theirs) if theirs != ours => {
                        differing
                            .push(format!("{log} {} {name}: {ours} for {theirs}", record.originator.port));
                    }
                    Some(_) => equal += 1,
                    None => {}
                }
            }
        }
    }
    let known: Vec<String> = DIFFERENCES.iter().map(|(difference, _)| difference.to_string()).collect();
    assert_eq!(differing, known);
    assert!(equal > 100, "{equal} equal values");
}

/// What differs, and why.
const DIFFERENCES: [(&str, &str); 10] = [
    ("core.tcp.reassembly-known-ports/conn.log 59856 orig_pkts: 6 for 7", AFTER_THE_END),
    ("core.tcp.missing-syn/conn.log 56730 orig_pkts: 10 for 11", AFTER_THE_END),
    ("core.history-flip/conn.log 56730 orig_pkts: 10 for 11", AFTER_THE_END),
    ("core.tunnels.gre/conn.log 40264 orig_pkts: 11 for 12", AFTER_THE_END),
    ("core.skip_analyzer/conn.log 40264 orig_pkts: 11 for 12", AFTER_THE_END),
    (
        "core.tcp.miss-end-data/conn.log 60648 duration: 10.053278 for 10.048360",
        "from the first to the last segment here; Zeek ends the flow at the FIN and leaves out the acknowledgement behind it",
    ),
    (
        "core.tcp.miss-end-data/conn.log 60648 history: ShADafFg for ShADafgF",
        "a gap is told when patience for what is missing has ended, not at the acknowledgement",
    ),
    (
        "core.tcp.rxmit-history/conn-1.log 50368 history: ShADGadggtR for ShADaGdgtR",
        "bytes that were cut off by the snapshot length are known to be missing at once, and each segment has its own",
    ),
    ("core.tunnels.analyzer-confirmation/conn.log 40354 orig_pkts: 6 for 7", AFTER_THE_END),
    (
        "core.tunnels.gtp.different_dl_and_ul/conn.log 51803 history: ShADadf for ShADadXf",
        "X tells that Zeek has stopped to analyse the connection, a limit of its own",
    ),
];

/// The record is made when both directions have ended.
const AFTER_THE_END: &str = "the acknowledgement of the last FIN comes when the flow is over";

/// Keeps the records of all flows.
#[derive(Default)]
struct Records(Vec<FlowRecord>);

impl Handler for Records {
    type State = ();

    fn open(&mut self, _: &Flow) {}

    fn data(&mut self, (): &mut (), _: &Flow, _: Data<'_>) {}

    fn gap(&mut self, (): &mut (), _: &Flow, _: Gap) {}

    fn end(&mut self, (): &mut (), _: &Flow, _: StreamEnd) {}

    fn close(&mut self, (): (), flow: &Flow, reason: CloseReason, _: Moment) {
        self.0.push(flow.record(reason));
    }
}

fn records(path: &Path) -> Vec<FlowRecord> {
    std::mem::take(&mut common::run(path, Records::default()).handler().0)
}
