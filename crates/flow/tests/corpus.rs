//! Real captures: the bytes of each direction of each stream against those that tshark and tcpflow found.
//!
//! The captures are not part of this repository: see `gannet_testkit::corpus`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic of a test is its report, in helpers as well")]

mod common;

use std::collections::BTreeMap;

use gannet_flow::{CloseReason, Counters, Data, Flow, Gap, Handler, Moment, Peer, StreamEnd};
use gannet_packet::Endpoint;
use gannet_testkit::corpus;
use sha2::{Digest, Sha256};

/// The bytes of a direction and where some are missing.
#[derive(Clone, Debug, Default)]
struct Stream {
    bytes: Vec<u8>,
    /// Position in `bytes` and length; those that touch are one.
    gaps: Vec<(usize, u64)>,
}

impl Stream {
    /// The bytes with the marks that tshark puts in the place of gaps.
    fn marked(&self) -> Vec<u8> {
        let mut marked = Vec::new();
        let mut from = 0;
        for &(at, len) in &self.gaps {
            marked.extend_from_slice(&self.bytes[from..at]);
            marked.extend_from_slice(format!("[{len} bytes missing in capture file]\0").as_bytes());
            from = at;
        }
        marked.extend_from_slice(&self.bytes[from..]);
        marked
    }
}

/// All streams by source and destination, one for each flow between them.
#[derive(Debug, Default)]
struct Streams(BTreeMap<[String; 2], Vec<Stream>>);

impl Handler for Streams {
    type State = [Stream; 2];

    fn open(&mut self, _: &Flow) -> Self::State {
        Default::default()
    }

    fn data(&mut self, state: &mut Self::State, _: &Flow, data: Data<'_>) {
        state[data.from as usize].bytes.extend_from_slice(data.bytes);
    }

    fn gap(&mut self, state: &mut Self::State, _: &Flow, gap: Gap) {
        let Stream { bytes, gaps } = &mut state[gap.from as usize];
        match gaps.last_mut() {
            Some((at, len)) if *at == bytes.len() => *len += gap.len,
            _ => gaps.push((bytes.len(), gap.len)),
        }
    }

    fn end(&mut self, _: &mut Self::State, _: &Flow, _: StreamEnd) {}

    fn close(&mut self, state: Self::State, flow: &Flow, _: CloseReason, _: Moment) {
        for (stream, from) in state.into_iter().zip([Peer::Originator, Peer::Responder]) {
            let ends = [from, from.opposite()].map(|peer| name(flow.endpoint(peer)));
            self.0.entry(ends).or_default().push(stream);
        }
    }
}

/// Address and port, without brackets around IPv6.
fn name(end: Endpoint) -> String {
    format!("{}:{}", end.address, end.port)
}

#[test]
fn streams_are_those_of_tshark_and_tcpflow() {
    let Some(corpus) = corpus::root() else { return };
    let mut equal = 0;
    let mut differing = Vec::new();
    let (mut files, mut sum) = (0, Counters::default());
    let mut tables = corpus::tables(&corpus.join("expected/streams"), ".tsv");
    for row in MORE.lines().skip(1) {
        let (capture, row) = row.split_once('\t').unwrap();
        let table = tables.entry(capture.to_owned()).or_insert_with(|| "stream ...\n".to_owned());
        *table += &format!("{row}\t-\n");
    }
    for (capture, table) in tables {
        files += 1;
        let mut table_of_flows = common::run(&corpus.join("pcaps").join(&capture), Streams::default());
        sum += *table_of_flows.counters();
        let mut seen = std::mem::take(&mut table_of_flows.handler().0);
        for line in table.lines().skip(1) {
            let columns: Vec<_> = line.split('\t').collect();
            let &[number, direction, source, destination, len, sha256, gaps, _] = &columns[..] else {
                panic!("{line}")
            };
            let ends = [source, destination].map(|end| end.replace(['[', ']'], ""));
            let streams = seen.get_mut(&ends).filter(|streams| !streams.is_empty());
            let stream = streams.map(|streams| streams.remove(0)).unwrap_or_default();
            let bytes = if gaps == "0" { stream.bytes } else { stream.marked() };
            if sha(&bytes) == sha256 {
                equal += 1;
            } else {
                differing.push(format!("{capture} {number}{direction}: {} for {len} bytes", bytes.len()));
            }
        }
        for (ends, streams) in seen {
            let left: Vec<_> = streams.iter().filter(|left| !left.bytes.is_empty()).collect();
            assert!(left.is_empty(), "{capture} {ends:?}: {} streams that nobody else has", left.len());
        }
    }
    assert!(files >= 25 && equal >= 100, "{equal} equal streams in {files} files: {differing:#?}");
    let known: Vec<String> = DIFFERENCES.iter().map(|(stream, _)| stream.to_string()).collect();
    assert_eq!(differing, known);
    assert_eq!(sum.check(0), []);
}

/// The streams of the captures that `expected/streams` has no table for, in the same columns: what tshark 4 writes with
/// `-z follow,tcp,raw,N`.
const MORE: &str = include_str!("tshark.tsv");

/// Streams whose bytes are not tshark's, and why.
const DIFFERENCES: [(&str, &str); 1] = [(
    "zeek/tcp/reassembly.pcap 0A: 29151 for 29151 bytes",
    "sent again with other contents: where a segment that fills a hole reaches over what was held behind it, \
         tshark takes the later copy; here the first one wins",
)];

fn sha(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
