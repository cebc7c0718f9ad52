//! Real captures: the bytes of each direction of each stream against those that tshark and tcpflow found.
//!
//! The captures are not part of this repository. They are looked for in `$GANNET_CORPUS`, else beside the repository;
//! without them the test says so and passes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic of a test is its report, in helpers as well")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gannet_flow::{
    CloseReason, Counters, Data, Flow, FlowTable, FragmentLimits, Fragments, Gap, Handler, Limits, Moment,
    Peer, Segment, StreamEnd, Taken,
};
use gannet_packet::{Decap, Endpoint, Packet};
use gannet_pcap::SliceReader;
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
    let Some(corpus) = corpus() else {
        eprintln!("SKIPPED: no captures at $GANNET_CORPUS or ../shared/data; streams were not compared");
        return;
    };
    let mut equal = 0;
    let mut differing = Vec::new();
    let (mut files, mut sum) = (0, Counters::default());
    for (capture, table) in tables(&corpus.join("expected/streams")) {
        files += 1;
        let (streams, counters) = reassemble(&corpus.join("pcaps").join(&capture));
        sum += counters;
        let mut seen = streams.0;
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
    }
    assert!(files >= 20 && equal >= 70, "{equal} equal streams in {files} files: {differing:#?}");
    let known: Vec<String> = DIFFERENCES.iter().map(|(stream, _)| stream.to_string()).collect();
    assert_eq!(differing, known);
    assert_eq!(sum.check(0), []);
}

/// Streams whose bytes are not tshark's, and why.
const DIFFERENCES: [(&str, &str); 1] = [(
    "zeek/tcp/reassembly.pcap 0A: 29151 for 29151 bytes",
    "sent again with other contents: where a segment that fills a hole reaches over what was held behind it, \
         tshark takes the later copy; here the first one wins",
)];

/// Reassembles a capture, fragments included.
fn reassemble(path: &Path) -> (Streams, Counters) {
    let contents = std::fs::read(path).unwrap();
    let mut reader = SliceReader::new(&contents).unwrap();
    let mut table = FlowTable::new(Limits::default(), 1, Streams::default());
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
            assert_eq!(table.check(), [], "{} {position}", path.display());
        }
        whole.into_iter().for_each(|datagram| fragments.recycle(datagram));
        position += 1;
        if position % 16 == 0 {
            table.tick(Moment { time: table.clock(), position });
            fragments.tick(table.clock());
        }
    }
    table.finish(Moment { time: table.clock(), position });
    fragments.finish();
    assert_eq!((table.check(), fragments.check()), (vec![], vec![]));
    (std::mem::take(table.handler()), *table.counters())
}

fn sha(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The tables below a folder: name of the capture, contents.
fn tables(root: &Path) -> BTreeMap<String, String> {
    let mut tables = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Some(capture) =
                path.strip_prefix(root).unwrap().to_str().unwrap().strip_suffix(".tsv")
            {
                tables.insert(capture.to_owned(), std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    tables
}

fn corpus() -> Option<PathBuf> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data"));
    let path = std::env::var_os("GANNET_CORPUS").map_or_else(beside, PathBuf::from);
    path.join("INDEX.tsv").is_file().then_some(path)
}
