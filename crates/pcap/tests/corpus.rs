//! Real captures: counts against their index, contents against pcap-parser and, where installed, tshark.
//!
//! The captures are not part of this repository. They are looked for in `$GANNET_CORPUS`, else beside the
//! repository; without them the tests say so and pass.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic of a test is its report, in helpers as well")]

mod common;

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use gannet_pcap::{Format, Resolution, SliceReader, classic};
use pcap_parser::traits::{PcapNGPacketBlock, PcapReaderIterator};
use pcap_parser::{Block, PcapBlockOwned, PcapError};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use common::{Seen, corpus, drain, read, read_stream};

/// A line of the index.
struct Capture {
    path: PathBuf,
    link_types: String,
    packets: usize,
    bytes: usize,
    contents: Vec<u8>,
}

fn captures() -> Vec<Capture> {
    let Some(corpus) = corpus() else {
        eprintln!("SKIPPED: no captures at $GANNET_CORPUS or ../shared/data; nothing was compared");
        return Vec::new();
    };
    let index = std::fs::read_to_string(corpus.join("INDEX.tsv")).unwrap();
    let captures: Vec<_> = index
        .lines()
        .skip(1)
        .map(|line| {
            let columns: Vec<_> = line.split('\t').collect();
            let path = corpus.join("pcaps").join(columns[1]);
            let contents = std::fs::read(&path).unwrap();
            let (packets, bytes) = (columns[3].parse().unwrap(), columns[4].parse().unwrap());
            Capture { path, link_types: columns[2].to_owned(), packets, bytes, contents }
        })
        .collect();
    assert!(captures.len() > 50, "only {} captures", captures.len());
    captures
}

#[test]
fn counts_and_link_types() {
    for Capture { path, link_types, packets, bytes, contents } in captures() {
        assert_eq!(contents.len(), bytes, "{}", path.display());
        let (seen, warning) = read(&contents);
        assert_eq!((seen.len(), warning), (packets, None), "{}", path.display());
        let names: BTreeSet<_> = seen
            .iter()
            .map(|packet| match packet.link_type {
                0 => "NULL",
                1 => "EN10MB",
                101 => "RAW",
                113 => "LINUX_SLL",
                228 => "IPV4",
                229 => "IPV6",
                276 => "LINUX_SLL2",
                other => panic!("link type {other} in {}", path.display()),
            })
            .collect();
        let wanted: BTreeSet<_> = link_types.split('/').filter(|name| !name.is_empty()).collect();
        assert_eq!(names, wanted, "{}", path.display());
        gannet_pcap::fuzz::read(&contents);
    }
}

#[test]
fn compressed_in_several_pieces() {
    for Capture { path, contents, .. } in captures() {
        let plain = read(&contents);
        assert_eq!(read_stream(&contents), plain);
        let (first, second) = contents.split_at(contents.len() / 2);
        let gzip = |bytes: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        let zstd = |bytes: &[u8]| compress_to_vec(bytes, CompressionLevel::Fastest);
        let (gz, zst) = ([gzip(first), gzip(second)].concat(), [zstd(first), zstd(second)].concat());
        assert_eq!(Format::detect(&gz), Some(Format::Gzip));
        assert_eq!(read_stream(&gz), plain, "gzip {}", path.display());
        assert_eq!(read_stream(&zst), plain, "zstd {}", path.display());
    }
}

/// pcap-parser knows neither offsets of time nor base 2, which no capture here has.
#[test]
fn contents_as_pcap_parser_reads_them() {
    for Capture { path, contents, .. } in captures() {
        let (seen, _) = read(&contents);
        let oracle = pcap_parser_packets(&contents);
        assert_eq!(seen.len(), oracle.len(), "{}", path.display());
        let mut reader = SliceReader::new(&contents).unwrap();
        reader.by_ref().for_each(drop);
        for (number, (seen, (ticks, orig_len, data))) in seen.iter().zip(&oracle).enumerate() {
            let interface = &reader.interfaces()[seen.interface as usize];
            let time = match interface.resolution {
                Resolution::Decimal(9) => *ticks,
                Resolution::Decimal(6) => ticks * 1000,
                other => panic!("{other:?} in {}", path.display()),
            };
            assert_eq!(seen.time, time, "{} packet {number}", path.display());
            assert_eq!(seen.orig_len, *orig_len, "{} packet {number}", path.display());
            assert_eq!(&seen.data, data, "{} packet {number}", path.display());
        }
    }
}

/// Time stamp in units of the file, original length, data.
type OraclePacket = (u64, u32, Vec<u8>);

fn pcap_parser_packets(contents: &[u8]) -> Vec<OraclePacket> {
    let mut reader: Box<dyn PcapReaderIterator> = if Format::detect(contents) == Some(Format::PcapNg) {
        Box::new(pcap_parser::PcapNGReader::new(1 << 20, contents).unwrap())
    } else {
        Box::new(pcap_parser::LegacyPcapReader::new(1 << 20, contents).unwrap())
    };
    let mut packets = Vec::new();
    let mut nanos = false;
    let mut snaplen = 0;
    loop {
        let consumed = match reader.next() {
            Ok((consumed, block)) => {
                match block {
                    PcapBlockOwned::LegacyHeader(header) => nanos = header.is_nanosecond_precision(),
                    PcapBlockOwned::Legacy(packet) => {
                        let unit = if nanos { 1_000_000_000 } else { 1_000_000 };
                        let ticks = u64::from(packet.ts_sec) * unit + u64::from(packet.ts_usec);
                        packets.push((ticks, packet.origlen, packet.data[..packet.caplen as usize].to_vec()));
                    }
                    PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => snaplen = interface.snaplen,
                    PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                        let ticks = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                        packets.push((ticks, packet.origlen, packet.packet_data().to_vec()));
                    }
                    PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                        let caplen = packet.origlen.min(snaplen.wrapping_sub(1).saturating_add(1)) as usize;
                        packets.push((0, packet.origlen, packet.data[..caplen].to_vec()));
                    }
                    // The obsolete packet block comes as an unknown one.
                    PcapBlockOwned::NG(Block::Unknown(block)) if block.block_type == 2 => {
                        let word = |at: usize| u32::from_le_bytes(block.data[at..at + 4].try_into().unwrap());
                        let ticks = u64::from(word(4)) << 32 | u64::from(word(8));
                        packets.push((ticks, word(16), block.data[20..20 + word(12) as usize].to_vec()));
                    }
                    PcapBlockOwned::NG(_) => {}
                }
                consumed
            }
            Err(PcapError::Incomplete(_)) => {
                reader.refill().unwrap();
                continue;
            }
            Err(PcapError::Eof) => return packets,
            Err(error) => panic!("pcap-parser: {error:?}"),
        };
        reader.consume(consumed);
    }
}

#[test]
fn frames_as_tshark_lists_them() {
    for Capture { path, contents, .. } in captures() {
        // Plain little-endian pcap has been compared above, and every start of tshark takes a quarter second.
        if contents.starts_with(&classic::MAGIC_MICRO.to_le_bytes()) {
            continue;
        }
        let fields = ["frame.time_epoch", "frame.cap_len", "frame.len", "frame.interface_id"];
        let mut command = Command::new("tshark");
        command.args(["-n", "-T", "fields", "-r"]).arg(&path);
        let output = match command.args(fields.iter().flat_map(|field| ["-e", field])).output() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                eprintln!("SKIPPED: tshark is not installed; nothing was compared with it");
                return;
            }
            output => output.unwrap(),
        };
        let ng = Format::detect(&contents) == Some(Format::PcapNg);
        let rows: Vec<String> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            // tshark also lists blocks that it does not know, without an interface.
            .filter(|row| !ng || !row.ends_with('\t'))
            .collect();
        let (seen, _) = drain(SliceReader::new(&contents).unwrap());
        assert_eq!(rows.len(), seen.len(), "{}", path.display());
        for (row, packet) in rows.iter().zip(&seen) {
            assert!(same(row, packet, ng), "{}: tshark says {row:?}, we {packet:x?}", path.display());
        }
    }
}

fn same(row: &str, packet: &Seen, ng: bool) -> bool {
    let columns: Vec<_> = row.split('\t').collect();
    let time = format!("{}.{:09}", packet.time / 1_000_000_000, packet.time % 1_000_000_000);
    // A simple packet has no time.
    (columns[0] == time || (columns[0].is_empty() && packet.time == 0))
        && columns[1] == packet.data.len().to_string()
        && columns[2] == packet.orig_len.to_string()
        && (!ng || columns[3] == packet.interface.to_string())
}
