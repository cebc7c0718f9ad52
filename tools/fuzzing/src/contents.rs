//! Any bytes as a block of the receive ring, rewritten in place: do the packets keep their contents?

use gannet_packet::LinkType;
use gannet_pcap::{SliceReader, ng};
use gannet_recorder::inplace::{Layout, Verdict, WORST_CASE_TAIL, to_pcapng};
use gannet_ring::walk::{BlockDescriptor, DESCRIPTOR_LEN, FrameHeader, bend_links};

/// Converts the block and compares the packets that the reader of `gannet-pcap` finds with the frames that were
/// there. What the conversion promises of the blocks themselves is checked by `gannet_recorder::inplace::fuzz`.
///
/// # Panics
/// If a packet kept is not the frame it was, the tag put back and the snaplen applied, or if one is missing.
pub fn contents(data: &[u8]) {
    let mut bytes = data.to_vec();
    bytes.truncate(bytes.len() / 4 * 4);
    bend_links(&mut bytes);
    let Some((head, area)) = bytes.split_first_chunk_mut::<DESCRIPTOR_LEN>() else { return };
    let (skip, snaplen) = (head[2], if head[0] & 1 == 0 { 262_144 } else { 40 });
    let descriptor = BlockDescriptor::parse(head);
    let len = DESCRIPTOR_LEN + area.len();
    if descriptor.len as usize + WORST_CASE_TAIL > len || len < BLOCK_MIN {
        return;
    }
    let mut turn = 0_u32;
    let mut expected = Vec::new();
    let converted = to_pcapng(&descriptor, area, Layout { snaplen, len, worker: 0 }, |header, frame| {
        turn += 1;
        if skip >> (turn % 8) & 1 == 1 {
            return Verdict::Skip;
        }
        let mut packet = with_tag(header, frame);
        packet.truncate(snaplen);
        expected.push(packet);
        Verdict::Keep { interface: 0 }
    });

    let mut file = Vec::new();
    ng::section_header(&mut file, &ng::Section::default());
    ng::interface_description(&mut file, &ng::Interface::new(LinkType::ETHERNET, 0));
    file.extend(converted.head);
    file.extend(&bytes[converted.head.len()..]);
    let mut reader = SliceReader::new(&file).expect("the header that was just written");
    let mut seen = 0;
    while let Some(packet) = reader.next_packet() {
        assert_eq!(packet.frame.data, expected[seen], "packet {seen}");
        seen += 1;
    }
    assert_eq!(reader.warning(), None);
    assert_eq!(seen, expected.len());
}

/// The frame as it was on the wire: an Ethernet tag goes back behind the addresses.
fn with_tag(header: &FrameHeader, frame: &[u8]) -> Vec<u8> {
    let ethernet =
        gannet_ring::interfaces::link_type_of_arphrd(header.hardware_type) == Some(LinkType::ETHERNET);
    match (header.vlan, frame.split_at_checked(12)) {
        (Some(tag), Some((addresses, rest))) if ethernet => {
            [addresses, &tag.tpid.to_be_bytes(), &tag.tci.to_be_bytes(), rest].concat()
        }
        _ => frame.to_vec(),
    }
}

/// The smallest block that is converted at all: descriptor, one frame header, the marker.
const BLOCK_MIN: usize = 256;
