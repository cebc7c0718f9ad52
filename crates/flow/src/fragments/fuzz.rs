//! The body of the fuzz target: any bytes in, invariants asserted.

use std::time::Duration;

use gannet_packet::{Decap, End, Frame, LinkType, Packet, PacketType, Timestamp};

use super::{FragmentLimits, Fragments, Taken};

/// Takes `bytes` as fragments of a few datagrams, their contents out of the same bytes: six bytes for each fragment.
///
/// # Panics
/// If an identity of the counters does not hold, a bound is exceeded, or a datagram is handed out that is not made of
/// the bytes given for it.
pub fn fragments(bytes: &[u8]) {
    let Some((&[bounds, wide], script)) = bytes.split_first_chunk() else { return };
    let limits = FragmentLimits {
        bytes: 1_000 << (bounds & 7),
        datagrams: 1 + usize::from(bounds >> 3 & 7),
        fragments: 4 << (bounds >> 6),
        patience: Duration::from_millis(100),
    };
    let mut fragments = Fragments::new(limits, 0x5eed);
    let mut time = 1_u64 << 40;
    let mut frame = Vec::new();
    for (position, step) in script.as_chunks::<6>().0.iter().enumerate() {
        let &[kind, id, offset, len, from, pace] = step;
        time += u64::from(pace & 0x3f) << 20;
        if kind & 0x0f == 0x0f {
            fragments.tick(Timestamp(time));
            continue;
        }
        let unit = if wide & 1 == 0 { 1 } else { 40 };
        let offset = u16::from(offset & 0x1f) * unit;
        let more = kind & 0x10 != 0;
        let contents = script.get(usize::from(from)..).unwrap_or_default();
        let wanted = usize::from(len) * if wide & 2 == 0 { 1 } else { 37 };
        let contents = contents.get(..wanted).unwrap_or(contents);
        frame.clear();
        write(&mut frame, kind, id & 3, offset, more, contents);
        // Now and then the snapshot length has cut it, which the end of the data shows as well.
        let orig_len = frame.len() as u32;
        let captured = if pace & 0xc0 == 0xc0 {
            frame.len() - frame.len().min(usize::from(id >> 2))
        } else {
            frame.len()
        };
        let data = frame.get(..captured).unwrap_or_default();
        let timestamp = Timestamp(time - (u64::from(kind & 0x20) << 24));
        step_in(&mut fragments, &limits, data, orig_len, timestamp, position as u64);
    }
    fragments.finish();
    assert_eq!(fragments.check(), []);
    assert_eq!((fragments.datagrams(), fragments.memory(), fragments.counters().held), (0, 0, 0));
}

/// One frame, and the fragments in what it completes.
fn step_in(
    fragments: &mut Fragments,
    limits: &FragmentLimits,
    data: &[u8],
    orig_len: u32,
    timestamp: Timestamp,
    position: u64,
) {
    let frame = Frame {
        data,
        timestamp,
        orig_len,
        link_type: LinkType::RAW,
        interface: 3,
        packet_type: PacketType::Host,
    };
    let mut packet = Packet::decode(&frame);
    let mut whole = None;
    for depth in 0.. {
        assert!(depth <= 5, "tunnels in fragments in tunnels without end");
        let outer: Option<super::Datagram> = whole.take();
        let of = outer.as_ref().map_or(frame, super::Datagram::frame);
        let taken = fragments.take(&of, &packet, position);
        outer.into_iter().for_each(|datagram| fragments.recycle(datagram));
        assert_eq!(fragments.check(), []);
        assert!(fragments.memory() <= limits.bytes && fragments.datagrams() <= limits.datagrams);
        assert_eq!(matches!(taken, Taken::NotAFragment), packet.end != End::Fragment);
        let Taken::Completed(datagram) = taken else { return };
        packet = datagram.decode(&Decap::ALL);
        let made = datagram.frame();
        assert_eq!((made.timestamp, made.interface), (timestamp, 3));
        // It is a datagram: its header has the length of the whole, and it is no fragment itself.
        assert!(packet.ip.is_some_and(|ip| packet.tunnels != 0 || ip.fragment.is_none()));
        let length = |at: usize| {
            made.data.get(at..).and_then(<[u8]>::first_chunk).map(|&field| u16::from_be_bytes(field))
        };
        match made.link_type {
            LinkType::IPV4 => assert_eq!(length(2).map(usize::from), Some(made.data.len())),
            _ => assert_eq!(length(4).map(|len| usize::from(len) + 40), Some(made.data.len())),
        }
        whole = Some(datagram);
    }
}

/// A fragment of IPv4 or IPv6, with or without options, bare or in IP.
fn write(frame: &mut Vec<u8>, kind: u8, id: u8, offset: u16, more: bool, contents: &[u8]) {
    let word = offset << 3 | u16::from(more);
    let protocol = [17, 4, 6, 253][usize::from(kind >> 6)];
    if kind & 1 == 0 {
        let options = usize::from(kind >> 1 & 3) * 4;
        let start = frame.len();
        frame.extend([0x45 + (options / 4) as u8, 0]);
        frame.extend(((20 + options + contents.len()) as u16).to_be_bytes());
        frame.extend([0, id]);
        frame.extend((offset | u16::from(more) << 13).to_be_bytes());
        frame.extend([64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.resize(start + 20 + options, 1);
    } else {
        let options = usize::from(kind >> 1 & 1) * 8;
        frame.extend([0x60, 0, 0, 0]);
        frame.extend(((options + 8 + contents.len()) as u16).to_be_bytes());
        frame.extend([if options == 0 { 44 } else { 60 }, 64]);
        frame.extend([0xfd; 16]);
        frame.extend([0xfe; 16]);
        if options != 0 {
            frame.extend([44, 0, 1, 4, 0, 0, 0, 0]);
        }
        frame.extend([protocol, 0]);
        frame.extend(word.to_be_bytes());
        frame.extend([0, 0, 0, id]);
    }
    frame.extend(contents);
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3_000))]

        #[test]
        fn any_bytes(bytes in vec(any::<u8>(), 0..600)) {
            super::fragments(&bytes);
        }

        /// Few datagrams, fragments that fit.
        #[test]
        fn likely_fragments(
            head in any::<[u8; 2]>(),
            steps in vec((prop_oneof![Just(0x10_u8), Just(0x00), Just(0x11), Just(0x01), Just(0x51), Just(0x50), Just(0x40)],
                0..2_u8, 0..6_u8, prop_oneof![Just(8_u8), Just(16), Just(24), Just(5)], 0..3_u8, 0..8_u8), 0..60),
        ) {
            let mut bytes = head.to_vec();
            for (a, b, c, d, e, f) in steps {
                bytes.extend_from_slice(&[a, b, c, d, e, f]);
            }
            super::fragments(&bytes);
        }
    }
}
