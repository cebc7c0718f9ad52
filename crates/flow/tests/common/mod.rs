//! From frames to the table's segments, as a worker does it.

use std::path::Path;

use gannet_flow::{Datagram, FlowTable, FragmentLimits, Fragments, Handler, Limits, Moment, Segment, Taken};
use gannet_packet::{Decap, End, Frame, Packet};
use gannet_pcap::SliceReader;

/// The segment in a frame, after decoding and defragmentation, which may be needed more than once. False if there is
/// none, or not yet.
pub fn analyse(
    frame: &Frame<'_>,
    position: u64,
    fragments: &mut Fragments,
    take: &mut impl FnMut(&Segment<'_>),
) -> bool {
    let mut packet = Packet::decode(frame);
    let mut whole: Option<Datagram> = None;
    while packet.end == End::Fragment {
        let outer = whole.take();
        let of = outer.as_ref().map_or(*frame, |datagram| datagram.frame());
        let taken = fragments.take(&of, &packet, position);
        outer.into_iter().for_each(|datagram| fragments.recycle(datagram));
        let Taken::Completed(datagram) = taken else { return false };
        packet = datagram.decode(&Decap::ALL);
        whole = Some(datagram);
    }
    let of = whole.as_ref().map_or(*frame, |datagram| datagram.frame());
    let segment = Segment::new(&of, &packet, position);
    segment.iter().for_each(take);
    let found = segment.is_some();
    whole.into_iter().for_each(|datagram| fragments.recycle(datagram));
    found
}

/// Everything in a capture through one table.
#[allow(dead_code, reason = "one of the tests has captures of its own")]
pub fn run<H: Handler>(path: &Path, handler: H) -> FlowTable<H> {
    let contents = std::fs::read(path).unwrap();
    let mut reader = SliceReader::new(&contents).unwrap();
    let mut table = FlowTable::new(Limits::default(), 1, handler);
    let mut fragments = Fragments::new(FragmentLimits::default(), 1);
    let mut position = 0;
    while let Some(packet) = reader.next_packet() {
        analyse(&packet.frame, position, &mut fragments, &mut |segment| {
            table.segment(segment);
            assert_eq!(table.check(), [], "{} {position}", path.display());
        });
        position += 1;
        if position % 16 == 0 {
            table.tick(Moment { time: table.clock(), position });
            fragments.tick(table.clock());
        }
    }
    table.finish(Moment { time: table.clock(), position });
    fragments.finish();
    assert_eq!((table.check(), fragments.check()), (vec![], vec![]));
    table
}
