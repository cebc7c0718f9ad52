//! The blocks that `gannet_testkit::block` builds are, byte for byte, those that the running kernel fills.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use gannet_packet::PacketType;
use gannet_ring::prelude::Prelude;
use gannet_ring::transmit::TransmitSocket;
use gannet_ring::walk::{DESCRIPTOR_LEN, FrameWalk};
use gannet_ring::{ReceiveRing, RingConfig, Target, TimeSource};
use gannet_testkit::block::{BlockBuilder, BlockFrame};
use gannet_testkit::lab::{self, Lab, Side};
use gannet_testkit::random::Random;
use gannet_testkit::shape::{Lane, Shape, Tag, Transport};

/// Frames are cut to this, so that lengths on the wire and in the ring differ.
const SNAPLEN: u32 = 300;

/// `PACKET_RESERVE` of the receive ring for Ethernet.
const RESERVE: usize = 6;

#[test]
fn built_blocks_are_the_kernels() {
    let Ok(()) = lab::require() else { return };
    let lab = Lab::new().unwrap();
    let config = RingConfig {
        ring_bytes: 1 << 20,
        block_bytes: 1 << 16,
        block_timeout: Duration::from_millis(20),
        promiscuous: false,
        time_source: TimeSource::Software,
    };
    let target = Target::Named(Side::Receiver.interface().to_owned());
    let mut ring = lab.enter(Side::Receiver, || ReceiveRing::open(target, &config)).unwrap().unwrap();
    let prelude =
        Prelude { incoming: true, outgoing: false, packet_type: None, only_tcp: None, snaplen: SNAPLEN };
    ring.open_filter(&prelude.program()).unwrap();

    let tag = |tpid, vid| Tag { tpid, pcp: 5, dei: true, vid };
    let frames: Vec<(Vec<Tag>, Vec<u8>)> = [
        (vec![], Transport::Udp, 60),
        (vec![], Transport::Tcp, 1_514),
        (vec![tag(0x8100, 100)], Transport::Udp, 201),
        (vec![tag(0x88a8, 7), tag(0x8100, 9)], Transport::Tcp, 202),
        (vec![], Transport::Udp, 299),
        (vec![tag(0x8100, 0)], Transport::Udp, 303),
    ]
    .into_iter()
    .map(|(tags, transport, length)| {
        let shape = Shape { tags: tags.clone(), transport, ..Shape::default() };
        let mut template = shape.template(Lane::new(1, false), length, &mut Random::new(1));
        template.number(length as u64);
        (tags, template.bytes().to_vec())
    })
    .collect();
    let mut socket =
        lab.enter(Side::Sender, || TransmitSocket::open(Side::Sender.interface())).unwrap().unwrap();
    let slices: Vec<&[u8]> = frames.iter().map(|(_, bytes)| bytes.as_slice()).collect();
    assert_eq!(socket.send(&slices).unwrap(), frames.len());

    let start = Instant::now();
    let mut compared = 0;
    while compared < frames.len() {
        assert!(start.elapsed() < Duration::from_secs(10), "{compared} of {} frames seen", frames.len());
        let Some(block) = ring.next_block() else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        let descriptor = block.descriptor();
        let time = |stamp: gannet_packet::Timestamp| (stamp.secs() as u32, stamp.subsec_nanos());
        let mut builder = BlockBuilder::new(config.block_bytes, RESERVE)
            .opened(descriptor.sequence, time(descriptor.opened));
        let mut walk = FrameWalk::new(&descriptor);
        while let Some(header) = walk.next(block.area()) {
            // Times, flags and index are the kernel's to choose; everything else follows from what was sent.
            let header = header.unwrap();
            let (tags, sent) = &frames[compared];
            let (vlan, data) = match tags.first() {
                Some(tag) => (Some((tag.tpid, tag.control())), [&sent[..12], &sent[16..]].concat()),
                None => (None, sent.clone()),
            };
            assert!(builder.push(&BlockFrame {
                snaplen: SNAPLEN,
                vlan,
                status: header.status & !(1 | 1 << 4 | 1 << 6),
                ifindex: header.ifindex,
                packet_type: PacketType::OtherHost as u8,
                ..BlockFrame::ethernet(&data, time(header.timestamp))
            }));
            compared += 1;
        }
        let built = builder.finish(descriptor.timed_out());
        let len = descriptor.len as usize;
        assert_eq!(gannet_ring::walk::BlockDescriptor::parse(built.first_chunk().unwrap()), descriptor);
        assert!(
            block.area()[..len - DESCRIPTOR_LEN] == built[DESCRIPTOR_LEN..len],
            "frames up to {compared}"
        );
    }
}
