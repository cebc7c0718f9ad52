//! Any bytes as a block of the receive ring: walked, and rewritten in place as pcapng.

use gannet_packet::LinkType;
use gannet_pcap::{SliceReader, ng};
use gannet_recorder::inplace::{Converted, Layout, Verdict, WORST_CASE_TAIL, to_pcapng};
use gannet_ring::walk::{BlockDescriptor, DESCRIPTOR_LEN, FrameWalk};

/// Walks the block, then converts it.
///
/// # Panics
/// If a frame lies outside the block or overlaps the one before; if the converted block is not pcapng from its
/// first to its last byte, or holds other packets than the walk found.
pub fn block(data: &[u8]) {
    // The first byte says what becomes of the frames: the mask of those skipped, and whether a snaplen cuts.
    let Some((&choice, data)) = data.split_first() else { return };
    let mut bytes = data.to_vec();
    bytes.truncate(BLOCK_MAX);
    bytes.resize(bytes.len().max(BLOCK_MIN).next_multiple_of(4096), 0);
    let Some(head) = bytes.first_chunk::<DESCRIPTOR_LEN>() else { return };
    let descriptor = BlockDescriptor::parse(head);
    let snaplen = if choice & 0x80 == 0 { 262_144 } else { 40 };
    let expected = walk(&descriptor, &bytes[DESCRIPTOR_LEN..]);

    // What the recorder promises of the extent: room behind the kernel's length, or nothing is converted.
    let len = bytes.len();
    if descriptor.len as usize + WORST_CASE_TAIL > len {
        return;
    }
    let mut turn = 0_u32;
    let mut kept = Vec::new();
    let layout = Layout { snaplen, len, worker: 0 };
    let converted = to_pcapng(&descriptor, &mut bytes[DESCRIPTOR_LEN..], layout, |header, frame| {
        assert_eq!(frame, expected[turn as usize].as_slice(), "frame {turn} as it was before the conversion");
        turn += 1;
        if choice >> (turn % 7) & 1 == 1 {
            return Verdict::Skip;
        }
        // Without the tag, which is looked for in the file as what was put in between.
        kept.push((frame.to_vec(), header.vlan.is_some()));
        Verdict::Keep { interface: 0 }
    });
    assert!(turn as usize <= expected.len());
    check_file(&bytes, &converted, &kept, snaplen);
}

/// The frames, each checked against the area and the one before.
fn walk(descriptor: &BlockDescriptor, area: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut walk = FrameWalk::new(descriptor);
    let mut end = DESCRIPTOR_LEN;
    while let Some(Ok(header)) = walk.next(area) {
        assert!(end <= header.data && header.data + header.caplen <= DESCRIPTOR_LEN + area.len());
        end = header.data + header.caplen;
        frames.push(header.bytes(area).to_vec());
    }
    assert!(frames.len() as u64 + u64::from(walk.remaining()) == u64::from(descriptor.packets));
    frames
}

/// The converted block, behind a section header and an interface, read with the reader of `gannet-pcap`.
fn check_file(bytes: &[u8], converted: &Converted, kept: &[(Vec<u8>, bool)], snaplen: usize) {
    let mut file = Vec::new();
    ng::section_header(&mut file, &ng::Section::default());
    ng::interface_description(&mut file, &ng::Interface::new(LinkType::ETHERNET, 262_144));
    let before = file.len() as u64;
    file.extend(converted.head);
    file.extend(&bytes[converted.head.len()..]);
    let mut reader = SliceReader::new(&file).expect("the header that was just written");
    let mut seen = 0;
    while let Some(packet) = reader.next_packet() {
        assert!(packet.offset >= before);
        let (frame, tagged) = &kept[seen];
        let data = packet.frame.data;
        assert!(data.len() <= snaplen);
        let untagged = &frame[..frame.len().min(snaplen)];
        let as_it_was = data == untagged;
        let with_tag = *tagged
            && frame.len() >= 12
            && data.len() == (frame.len() + 4).min(snaplen)
            && data[..12] == frame[..12]
            && data[16.min(data.len())..] == frame[12..][..data.len().saturating_sub(16)];
        assert!(as_it_was || with_tag, "packet {seen}");
        seen += 1;
    }
    assert_eq!(reader.warning(), None);
    assert_eq!((seen, seen as u64), (kept.len(), converted.packets));
}

/// Blocks of one to four pages: enough for a dozen frames, small enough to be fast.
const BLOCK_MIN: usize = 4_096;
const BLOCK_MAX: usize = 16_384;
