//! Reading what was recorded, packet by packet and extent by extent.

use std::fs::File;
use std::path::Path;

use gannet_packet::LinkType;
use gannet_pcap::StreamReader;
use gannet_pcap::ng::marker::{self, Marker};
use gannet_testkit::tally::{Report, Tally};

/// A packet of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) data: Vec<u8>,
    pub(super) orig_len: u32,
    pub(super) link_type: LinkType,
    /// Nanoseconds since 1970.
    pub(super) time: u64,
}

/// Every packet of a file, which must be readable to its end.
#[track_caller]
pub(super) fn packets(path: impl AsRef<Path>) -> Vec<Packet> {
    let mut packets = Vec::new();
    each(path.as_ref(), |packet| {
        packets.push(Packet {
            data: packet.data.to_vec(),
            orig_len: packet.orig_len,
            link_type: packet.link_type,
            time: packet.timestamp.0,
        });
    });
    packets
}

/// The account of the numbered frames in some files, of which `count` numbers from `first` on are expected.
#[track_caller]
pub(super) fn tally<P: AsRef<Path>>(files: impl IntoIterator<Item = P>, first: u64, count: u64) -> Report {
    let mut tally = Tally::expecting(first, count);
    for file in files {
        each(file.as_ref(), |frame| tally.add(frame.link_type, frame.data, frame.orig_len));
    }
    tally.report()
}

/// The files hold the frames `0..count`, each once, intact, in order, and nothing else.
#[track_caller]
pub(super) fn assert_perfect<P: AsRef<Path>>(files: impl IntoIterator<Item = P>, count: u64) {
    let report = tally(files, 0, count);
    assert!(report.is_perfect(), "{report:?}");
}

#[track_caller]
fn each(path: &Path, mut take: impl FnMut(gannet_packet::Frame<'_>)) {
    let name = path.display();
    let file = File::open(path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut reader = StreamReader::new(file).unwrap_or_else(|error| panic!("{name}: {error}"));
    while let Some(packet) = reader.next_packet().unwrap() {
        take(packet.frame);
    }
    assert!(reader.warning().is_none(), "{name}: {:?}", reader.warning());
}

/// The packets of a pcapng recording with the worker that wrote each, as the marker of its extent tells.
///
/// Walks the blocks by itself: every packet must be inside an extent, and every extent must be as long and hold as
/// many packets as its marker says.
#[track_caller]
pub(super) fn packets_by_worker(path: &Path) -> Vec<(u32, Vec<u8>)> {
    let file = std::fs::read(path).unwrap();
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    let mut packets = Vec::new();
    let mut at = 0;
    let mut extent: Option<(Marker, usize, u32)> = None;
    while at < file.len() {
        let len = word(at + 4) as usize;
        assert!(
            len >= 12 && len.is_multiple_of(4) && word(at + len - 4) as usize == len,
            "block of {len} bytes at {at}"
        );
        if let Some((marker, end, seen)) = extent
            && at >= end
        {
            assert_eq!((at, seen), (end, marker.packets), "where an extent ends, and the packets in it");
            extent = None;
        }
        if let Some(marker) = Marker::parse(&file[at..]) {
            assert!(extent.is_none() && (at as u64).is_multiple_of(marker::ALIGNMENT), "marker at {at}");
            extent = Some((marker, at + marker.extent_len as usize, 0));
        } else if word(at) == ENHANCED_PACKET {
            let (marker, _, seen) =
                extent.as_mut().unwrap_or_else(|| panic!("packet outside of extents at {at}"));
            *seen += 1;
            let caplen = word(at + 20) as usize;
            packets.push((marker.worker, file[at + 28..at + 28 + caplen].to_vec()));
        }
        at += len;
    }
    packets
}

/// Block type of an Enhanced Packet Block.
const ENHANCED_PACKET: u32 = 6;
