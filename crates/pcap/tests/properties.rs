//! Written and read again, cut at every byte, flipped at any.
#![allow(clippy::unwrap_used, reason = "a panic of a test is its report, in helpers as well")]

mod common;

use gannet_packet::LinkType;
use gannet_pcap::classic::Precision;
use gannet_pcap::{Reason, SliceReader};
use proptest::prelude::*;

use common::{Seen, read, read_stream, write_classic, write_ng};

const INTERFACES: u32 = 3;

fn packet() -> impl Strategy<Value = Seen> {
    let data = prop::collection::vec(any::<u8>(), 0..200);
    (0..INTERFACES, any::<u64>(), any::<u32>(), 0..=4_u8, data).prop_map(
        |(interface, time, orig_len, packet_type, data)| Seen {
            interface,
            link_type: 1,
            time,
            orig_len,
            packet_type,
            data,
        },
    )
}

/// What classic pcap can hold of a packet: 32 bits of seconds, one interface, no packet type.
fn as_classic(packet: &Seen, precision: Precision, link_type: LinkType) -> Seen {
    let unit = u64::from(precision.unit_ns());
    let time = (packet.time % (u64::from(u32::MAX) * 1_000_000_000)) / unit * unit;
    Seen { interface: 0, link_type: link_type.0, packet_type: 0, time, ..packet.clone() }
}

proptest! {
    #[test]
    fn pcapng_written_and_read(packets in prop::collection::vec(packet(), 0..20)) {
        let file = write_ng(INTERFACES, &packets);
        prop_assert_eq!(read(&file), (packets.clone(), None));
        prop_assert_eq!(read_stream(&file), (packets, None));
    }

    #[test]
    fn classic_written_and_read(
        packets in prop::collection::vec(packet(), 0..20),
        nano: bool,
        link_type in any::<u16>().prop_map(LinkType),
    ) {
        let precision = if nano { Precision::Nano } else { Precision::Micro };
        let packets: Vec<_> = packets.iter().map(|p| as_classic(p, precision, link_type)).collect();
        let file = write_classic(precision, link_type, &packets);
        prop_assert_eq!(read(&file), (packets.clone(), None));
        prop_assert_eq!(read_stream(&file), (packets, None));
    }

    /// Flipped bytes anywhere: no panic, and the readers agree on what is left.
    #[test]
    fn flipped_bytes(
        packets in prop::collection::vec(packet(), 0..6),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        classic: bool,
    ) {
        let mut file = if classic {
            write_classic(Precision::Micro, LinkType::ETHERNET, &packets)
        } else {
            write_ng(INTERFACES, &packets)
        };
        for (at, value) in flips {
            let at = at.index(file.len());
            file[at] = value;
        }
        gannet_pcap::fuzz::read(&file);
    }

    /// Compressed data that is damaged ends in a warning or an error, never in a panic or a packet that is not there.
    #[test]
    fn damaged_compression(
        packets in prop::collection::vec(packet(), 1..40),
        flip in any::<prop::sample::Index>(),
        value: u8,
        zstd: bool,
    ) {
        let file = write_ng(INTERFACES, &packets);
        let mut compressed = if zstd {
            ruzstd::encoding::compress_to_vec(&file[..], ruzstd::encoding::CompressionLevel::Fastest)
        } else {
            use std::io::Write;
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&file).unwrap();
            encoder.finish().unwrap()
        };
        let at = flip.index(compressed.len());
        compressed[at] = value;
        gannet_pcap::fuzz::read(&compressed);
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        gannet_pcap::fuzz::read(&bytes);
        for magic in [0xa1b2_c3d4_u32, 0xa1b2_3c4d, 0xa1b2_cd34, 0xa1e2_cb12] {
            let header = [&magic.to_le_bytes()[..], &[2, 0, 4, 0], &[0; 16], &bytes].concat();
            gannet_pcap::fuzz::read(&header);
        }
    }
}

/// Every truncation: exactly the packets whose last byte is there, and a warning unless the cut falls between two.
#[test]
fn cut_at_every_byte() {
    let packets: Vec<_> = (0..4_u8)
        .map(|number| Seen {
            interface: 0,
            link_type: 1,
            time: 1000 * u64::from(number),
            orig_len: 60,
            packet_type: 0,
            data: vec![number; 3 + usize::from(number)],
        })
        .collect();
    for file in [write_ng(1, &packets), write_classic(Precision::Micro, LinkType::ETHERNET, &packets)] {
        let ends: Vec<u64> = {
            let mut reader = SliceReader::new(&file).unwrap();
            let mut ends = Vec::new();
            while reader.next_packet().is_some() {
                ends.push(reader.position());
            }
            ends
        };
        assert_eq!((ends.len(), ends[3]), (4, file.len() as u64));
        let first = SliceReader::new(&file).unwrap().next_packet().unwrap().offset;
        for len in first as usize..=file.len() {
            let (seen, warning) = read(&file[..len]);
            let whole = ends.iter().filter(|&&end| end <= len as u64).count();
            assert_eq!(seen, packets[..whole], "cut at {len}");
            let boundary = if whole == 0 { first } else { ends[whole - 1] };
            if len as u64 == boundary {
                assert_eq!(warning, None);
            } else {
                let warning = warning.unwrap();
                assert_eq!(warning.offset, boundary);
                let present = len as u64 - boundary;
                assert!(
                    matches!(warning.reason, Reason::Truncated { present: p, needed } if p == present && needed > p),
                    "{warning}"
                );
            }
            gannet_pcap::fuzz::read(&file[..len]);
        }
    }
}
