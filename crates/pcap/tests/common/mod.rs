//! What the integration tests share: packets to compare, files built from them.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test program uses a part of this module")]
#![allow(clippy::unwrap_used, reason = "a panic of a test is its report, in helpers as well")]

use std::path::PathBuf;

use gannet_packet::{LinkType, PacketType, Timestamp};
use gannet_pcap::{Packet, PacketSource, SliceReader, StreamReader, Warning, classic, ng};

/// A packet with all that a reader tells of it but its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub interface: u32,
    pub link_type: u16,
    pub time: u64,
    pub orig_len: u32,
    pub packet_type: u8,
    pub data: Vec<u8>,
}

impl From<Packet<'_>> for Seen {
    fn from(packet: Packet<'_>) -> Self {
        Self {
            interface: packet.frame.interface,
            link_type: packet.frame.link_type.0,
            time: packet.frame.timestamp.0,
            orig_len: packet.frame.orig_len,
            packet_type: packet.frame.packet_type as u8,
            data: packet.frame.data.to_vec(),
        }
    }
}

/// All packets of a source, and its warning.
pub fn drain(mut source: impl PacketSource) -> (Vec<Seen>, Option<Warning>) {
    let mut packets = Vec::new();
    while source.advance().unwrap() {
        packets.push(source.packet().unwrap().into());
    }
    let warning = source.warning().cloned();
    (packets, warning)
}

pub fn read(bytes: &[u8]) -> (Vec<Seen>, Option<Warning>) {
    drain(SliceReader::new(bytes).unwrap())
}

pub fn read_stream(bytes: &[u8]) -> (Vec<Seen>, Option<Warning>) {
    drain(StreamReader::new(bytes).unwrap())
}

/// A pcapng file with `interfaces` Ethernet interfaces and these packets, written by the functions under test. The
/// packet type is stored where it is not the default.
pub fn write_ng(interfaces: u32, packets: &[Seen]) -> Vec<u8> {
    let mut file = Vec::new();
    ng::section_header(&mut file, &ng::Section { os: "Linux", ..ng::Section::default() });
    for number in 0..interfaces {
        let name = format!("eth{number}");
        let interface = ng::Interface { name: &name, ..ng::Interface::new(LinkType::ETHERNET, 262_144) };
        ng::interface_description(&mut file, &interface);
    }
    for packet in packets {
        let kind = PacketType::from_kernel(packet.packet_type);
        let flags = (packet.packet_type != 0).then(|| ng::epb_flags(kind, true, false, false));
        let start = file.len();
        let len = ng::enhanced_packet_len(packet.data.len(), flags.is_some());
        file.resize(start + len, 0xee);
        let written = ng::write_enhanced_packet(
            &mut file[start..],
            packet.interface,
            Timestamp(packet.time),
            packet.orig_len,
            flags,
            &packet.data,
        );
        assert_eq!(written, len);
    }
    file
}

/// A classic file with these packets.
pub fn write_classic(precision: classic::Precision, link_type: LinkType, packets: &[Seen]) -> Vec<u8> {
    let mut file = classic::file_header(precision, link_type, 262_144).to_vec();
    for packet in packets {
        let start = file.len();
        file.resize(start + classic::RECORD_HEADER + packet.data.len(), 0xee);
        let time = Timestamp(packet.time);
        classic::write_record(&mut file[start..], precision, time, packet.orig_len, &packet.data);
    }
    file
}

/// The shared captures: `$GANNET_CORPUS`, or `shared/data` beside the repository.
pub fn corpus() -> Option<PathBuf> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data"));
    let path = std::env::var_os("GANNET_CORPUS").map_or_else(beside, PathBuf::from);
    path.join("INDEX.tsv").is_file().then_some(path)
}
