//! Real captures: the datagrams made of fragments against what tshark makes of them.
//!
//! The captures are not part of this repository: see `gannet_testkit::corpus`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic of a test is its report, in helpers as well")]

use gannet_flow::{FragmentLimits, Fragments, Refusal, Taken};
use gannet_packet::{Decap, End, Packet, Transport};
use gannet_pcap::SliceReader;
use gannet_testkit::corpus;

/// Captures with fragments, and how many datagrams are complete in them.
const CAPTURES: [(&str, usize); 2] =
    [("zeek/ipv6-fragmented-dns.pcap", 1), ("zeek/tunnels/gtp/gtp2_different_udp_port.pcap", 42)];

/// The attack, of which tshark shows a datagram and marks it as conflicting: a first fragment of 18 bytes with more
/// to come; a last one that ends at 164; one from 0 to 304 over both, with more to come.
#[test]
fn an_attack_with_overlaps_is_refused() {
    let Some(corpus) = corpus::root() else { return };
    let contents = std::fs::read(corpus.join("pcaps").join("zeek/ipv4/fragmented-1.pcap")).unwrap();
    let mut reader = SliceReader::new(&contents).unwrap();
    let mut fragments = Fragments::new(FragmentLimits::default(), 1);
    for expected in [Some(Refusal::Impossible), None, Some(Refusal::Overlapping)] {
        let frame = reader.next_packet().unwrap().frame;
        match fragments.take(&frame, &Packet::decode(&frame), 0) {
            Taken::Held => assert_eq!(expected, None),
            Taken::Refused(refusal) => assert_eq!(expected, Some(refusal)),
            taken => panic!("{taken:?}"),
        }
    }
    assert!(reader.next_packet().is_none());
}

#[test]
fn datagrams_are_complete_where_tshark_completes_them() {
    let Some(corpus) = corpus::root() else { return };
    for (name, expected) in CAPTURES {
        let contents = std::fs::read(corpus.join("pcaps").join(name)).unwrap();
        let table =
            std::fs::read_to_string(corpus.join("expected/decode").join(format!("{name}.tsv"))).unwrap();
        let mut rows = table.lines();
        let columns: Vec<&str> = rows.next().unwrap().split('\t').collect();
        let mut fragments = Fragments::new(FragmentLimits::default(), 1);
        let mut reader = SliceReader::new(&contents).unwrap();
        let (mut position, mut completed) = (0, 0);
        while let Some(packet) = reader.next_packet() {
            let row: Vec<&str> = rows.next().unwrap().split('\t').collect();
            let value = |column: &str| {
                let index = columns.iter().position(|name| *name == column).unwrap();
                row.get(index).copied().unwrap_or_default()
            };
            position += 1;
            let decoded = Packet::decode(&packet.frame);
            if decoded.end != End::Fragment {
                continue;
            }
            let taken = fragments.take(&packet.frame, &decoded, position);
            // tshark shows the transport of a datagram behind the fragment that completes it.
            let (from, to) = (value("udp.srcport"), value("udp.dstport"));
            assert_eq!(
                matches!(taken, Taken::Completed(_)),
                !from.is_empty(),
                "{name} {position}: {taken:?}"
            );
            let Taken::Completed(datagram) = taken else { continue };
            completed += 1;
            let inner = datagram.decode(&Decap::ALL);
            let inner_tcp = value("tcp.srcport");
            let (key, side) = inner.flow.unwrap();
            let ports =
                [key.endpoint(side).port, key.endpoint(side.opposite()).port].map(|port| port.to_string());
            match inner.transport {
                Transport::Tcp(tcp) => {
                    assert_eq!(ports, [inner_tcp, value("tcp.dstport")], "{name} {position}");
                    assert_eq!(tcp.sequence.to_string(), value("tcp.seq_raw"), "{name} {position}");
                    assert_eq!(inner.payload.wire_len.to_string(), value("tcp.len"), "{name} {position}");
                }
                _ => assert_eq!(ports, [from, to], "{name} {position}"),
            }
            fragments.recycle(datagram);
        }
        assert_eq!(completed, expected, "{name}");
        assert_eq!(fragments.check(), [], "{name}");
        assert_eq!((fragments.counters().duplicates, fragments.counters().overlapping), (0, 0), "{name}");
    }
}
