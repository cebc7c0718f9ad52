//! Packets on their way from the thread that read them to the workers.
//!
//! ```text
//!   Stretch ──┬─ part of worker 0: frames, decoded segments, others, ends of batches
//!             ├─ part of worker 1: the same
//!             └─ buffers: where the packets are
//! ```
//!
//! Of a segment that there is a short way to decode, as nearly all are, only its place is written down. Where its
//! headers are is known without looking, so the worker asks for them some segments ahead; to decode them costs less
//! than to write them down and to read that. What takes longer to decode (tunnels, extension headers) is written down
//! decoded. Of a payload no more is fetched ahead than lies in one line with the headers, because of most payloads
//! nothing is read. For a single worker there is nothing to find out, so that it gets the places of whatever is read.

use std::slice::{self, from_ref};
use std::sync::Arc;

use gannet_flow::{Moment, Segment};
use gannet_packet::{FlowKey, Frame, LinkType, Packet, PacketType, Side, Surroundings, TcpHeader, Timestamp};
use gannet_ring::prefetch::{prefetch, prefetch_to_write};

use super::reading::{Place, Taker as _};
use super::worker::FileWorker;
use crate::analysis::Run;
use crate::intake::{Part as Share, ip_bytes};

/// What is read in one turn, or some of it.
#[derive(Default)]
pub(super) struct Stretch {
    /// Who filled it: its memory goes back there.
    pub(super) runner: usize,
    /// What it holds for all workers together.
    pub(super) packets: usize,
    /// The position of the first packet, or one in front of it.
    first: u64,
    /// One for each worker.
    parts: Vec<Part>,
    buffers: Vec<Arc<Vec<u8>>>,
    datagrams: Datagrams,
}

/// What one worker gets.
#[derive(Default)]
struct Part {
    items: Vec<Item>,
    segments: Vec<Decoded>,
    others: Vec<Unsegmented>,
    /// Where records are handed on, with how many items in front of it: at ends of batches, where time passes, and at
    /// pauses.
    ends: Vec<(usize, Option<Moment>)>,
}

/// Datagrams that were put together from fragments.
#[derive(Default)]
struct Datagrams {
    /// One behind the other.
    bytes: Vec<u8>,
    /// What each was in.
    around: Vec<Surroundings>,
}

/// A packet on its way to a worker: a frame without its bytes.
#[derive(Clone, Copy)]
struct Item {
    time: Timestamp,
    spot: Spot,
    caplen: u32,
    /// Its position, counted from the stretch's first.
    after: u32,
    interface: u32,
    kind: Kind,
}

const _: () = assert!(size_of::<Item>() == 32, "two in a line of the cache");

/// What a packet is, and where there is more about it.
#[derive(Clone, Copy)]
enum Kind {
    /// A frame with this link type that says how long it was on the wire: one that was captured whole, or that
    /// [`Packet::decode_usual`] makes a segment of. There is no more.
    Frame(LinkType),
    /// The next of the part's segments.
    Segment,
    /// The next of the part's others.
    Other,
}

/// What a [`Segment`] has besides what is in its item.
struct Decoded {
    key: FlowKey,
    side: Side,
    tcp: TcpHeader,
    /// Offset in the frame, and length.
    payload: (u32, u32),
    wire_len: u32,
    ip_bytes: u32,
    ip_id: u16,
    around: Surroundings,
}

/// What a packet has that is no segment, or a segment in a datagram, besides what is in its item.
#[derive(Clone, Copy)]
struct Unsegmented {
    orig_len: u32,
    link_type: LinkType,
    packet_type: PacketType,
    /// It is a datagram that was put together: its number in the stretch.
    datagram: Option<u32>,
    part: Share,
}

/// Where bytes are: a buffer of the stretch, and the offset in there. Buffers are smaller than 4 GiB by far, because no
/// record is longer than 16 MiB.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    buffer: u32,
    offset: u32,
}

impl Stretch {
    /// An empty one.
    pub(super) fn new(workers: usize, runner: usize) -> Self {
        let parts = (0..workers).map(|_| Part::default()).collect();
        Self { runner, parts, ..Self::default() }
    }

    /// Makes it empty; it keeps its memory.
    pub(super) fn clear(&mut self) {
        self.packets = 0;
        self.buffers.clear();
        self.datagrams.bytes.clear();
        self.datagrams.around.clear();
        self.parts.iter_mut().for_each(Part::clear);
    }

    /// What is added from here on comes at this position or behind it.
    pub(super) fn begin_at(&mut self, position: u64) {
        self.first = position;
    }

    /// True if it has nothing for anybody.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.iter().all(|part| part.items.is_empty() && part.ends.is_empty())
    }

    /// Adds a frame that says how long it was: see [`Kind::Frame`].
    #[inline(always)]
    pub(super) fn add_frame(&mut self, worker: usize, frame: &Frame<'_>, place: Place<'_>, position: u64) {
        let spot = self.place(place);
        self.add(worker, frame, spot, position, Kind::Frame(frame.link_type));
    }

    /// Adds any segment, of which `packet` and `frame` are the packet and the frame.
    pub(super) fn add_segment(
        &mut self,
        worker: usize,
        segment: &Segment<'_>,
        packet: &Packet,
        frame: &Frame<'_>,
        place: Place<'_>,
    ) {
        let spot = self.place(place);
        let Some(part) = self.add(worker, frame, spot, segment.moment.position, Kind::Segment) else {
            return;
        };
        let decoded = Decoded {
            key: segment.key,
            side: segment.side,
            tcp: segment.tcp,
            payload: (packet.payload.offset, segment.payload.len() as u32),
            wire_len: segment.wire_len,
            ip_bytes: ip_bytes(packet),
            ip_id: segment.ip_id,
            around: segment.around,
        };
        push(&mut part.segments, decoded);
    }

    /// Adds this of a packet of any kind. If it is a datagram, `datagram` is its number.
    pub(super) fn add_other(
        &mut self,
        worker: usize,
        frame: &Frame<'_>,
        (spot, datagram): (Spot, Option<u32>),
        position: u64,
        part: Share,
    ) {
        let Frame { orig_len, link_type, packet_type, .. } = *frame;
        let other = Unsegmented { orig_len, link_type, packet_type, datagram, part };
        if let Some(part) = self.add(worker, frame, spot, position, Kind::Other) {
            part.others.push(other);
        }
    }

    /// Adds a packet to a part, which is returned.
    #[inline(always)]
    fn add(
        &mut self,
        worker: usize,
        frame: &Frame<'_>,
        spot: Spot,
        position: u64,
        kind: Kind,
    ) -> Option<&mut Part> {
        self.packets += 1;
        let part = self.parts.get_mut(worker)?;
        let after = position.wrapping_sub(self.first) as u32;
        let (time, caplen, interface) = (frame.timestamp, frame.data.len() as u32, frame.interface);
        push(&mut part.items, Item { time, spot, caplen, after, interface, kind });
        Some(part)
    }

    /// Keeps a datagram. Returns its number, and where it is.
    pub(super) fn add_datagram(&mut self, bytes: &[u8], around: Surroundings) -> (u32, Spot) {
        let Datagrams { bytes: all, around: arounds } = &mut self.datagrams;
        let (number, offset) = (arounds.len() as u32, all.len() as u32);
        all.extend_from_slice(bytes);
        arounds.push(around);
        (number, Spot { buffer: 0, offset })
    }

    /// A batch ends here, for all workers.
    pub(super) fn end_batch(&mut self, end: Moment) {
        for part in &mut self.parts {
            part.ends.push((part.items.len(), Some(end)));
        }
    }

    /// There is a pause here: all workers hand on what they have.
    pub(super) fn pause(&mut self) {
        for part in &mut self.parts {
            part.ends.push((part.items.len(), None));
        }
    }

    /// The spot of a place, whose buffer is kept.
    #[inline(always)]
    pub(super) fn place(&mut self, Place { buffer, offset }: Place<'_>) -> Spot {
        let last = self.buffers.last().filter(|last| Arc::ptr_eq(last, buffer));
        let number = if last.is_some() { self.buffers.len() - 1 } else { self.keep(buffer) };
        Spot { buffer: number as u32, offset: offset as u32 }
    }

    /// Keeps a buffer. Returns its number.
    #[cold]
    fn keep(&mut self, buffer: &Arc<Vec<u8>>) -> usize {
        let known = self.buffers.iter().rposition(|known| Arc::ptr_eq(known, buffer));
        known.unwrap_or_else(|| {
            self.buffers.push(Arc::clone(buffer));
            self.buffers.len() - 1
        })
    }

    /// Gives a worker its part.
    pub(super) fn give(&self, number: usize, worker: &mut FileWorker<'_>) {
        let Some(part) = self.parts.get(number) else { return };
        let mut rest =
            Rest { items: &part.items, segments: part.segments.iter(), others: part.others.iter() };
        let mut from = 0;
        for &(until, end) in &part.ends {
            self.give_items(until - from, &mut rest, worker);
            match end {
                Some(end) => worker.end_batch(end),
                None => worker.hand_on(),
            }
            from = until;
        }
        self.give_items(rest.items.len(), &mut rest, worker);
    }

    /// Gives the next `count` items.
    fn give_items(&self, count: usize, rest: &mut Rest<'_>, worker: &mut FileWorker<'_>) {
        let mut run = Run::default();
        let mut ahead = rest.items.get(READ_AHEAD..).unwrap_or_default().iter();
        let (items, behind) = rest.items.split_at_checked(count).unwrap_or_default();
        rest.items = behind;
        for item in items {
            if let Some(item) = ahead.next() {
                self.ask_for_headers(item);
            }
            match item.kind {
                Kind::Frame(link_type) => {
                    worker.take_frame(&mut run, &self.frame(item, link_type), self.position(item));
                }
                Kind::Segment => {
                    if let Some(decoded) = rest.segments.next() {
                        let segment = self.segment(item, decoded);
                        worker.take_segment(&mut run, segment, decoded.ip_bytes, item.caplen);
                    }
                }
                Kind::Other => {
                    worker.end_run(&mut run);
                    if let Some(other) = rest.others.next() {
                        self.give_unsegmented(item, other, worker);
                    }
                }
            }
        }
        worker.end_run(&mut run);
    }

    /// Asks for the headers of a frame, which lie in two lines of the cache.
    #[inline(always)]
    fn ask_for_headers(&self, item: &Item) {
        if let (Kind::Frame(_), [first, .., last]) = (item.kind, self.bytes(item.spot, HEADERS)) {
            prefetch(from_ref(first));
            prefetch(from_ref(last));
        }
    }

    #[inline(always)]
    fn position(&self, item: &Item) -> u64 {
        self.first + u64::from(item.after)
    }

    /// A frame. What it was long on the wire is of no use beside its headers, or as much as there is.
    #[inline(always)]
    fn frame(&self, item: &Item, link_type: LinkType) -> Frame<'_> {
        Frame {
            data: self.bytes(item.spot, item.caplen as usize),
            timestamp: item.time,
            orig_len: item.caplen,
            link_type,
            interface: item.interface,
            packet_type: PacketType::Host,
        }
    }

    fn segment(&self, item: &Item, decoded: &Decoded) -> Segment<'_> {
        let frame = self.bytes(item.spot, item.caplen as usize);
        let (payload, len) = (decoded.payload.0 as usize, decoded.payload.1 as usize);
        Segment {
            key: decoded.key,
            side: decoded.side,
            tcp: decoded.tcp,
            options: frame.get(decoded.tcp.options()).unwrap_or_default(),
            payload: frame.get(payload..payload + len).unwrap_or_default(),
            wire_len: decoded.wire_len,
            moment: Moment { time: item.time, position: self.position(item) },
            interface: item.interface,
            ip_id: decoded.ip_id,
            around: decoded.around,
        }
    }

    #[inline(never)]
    fn give_unsegmented(&self, item: &Item, other: &Unsegmented, worker: &mut FileWorker<'_>) {
        let (frame, position) = (self.unsegmented(item, other), self.position(item));
        match other.datagram {
            None => worker.take_part(&frame, position, other.part),
            Some(number) => {
                let around = self.datagrams.around.get(number as usize).copied().unwrap_or_default();
                worker.take_datagram(&frame, &around, position, other.part);
            }
        }
    }

    fn unsegmented(&self, item: &Item, other: &Unsegmented) -> Frame<'_> {
        let (start, len) = (item.spot.offset as usize, item.caplen as usize);
        let data = match other.datagram {
            None => self.bytes(item.spot, len),
            Some(_) => self.datagrams.bytes.get(start..start + len).unwrap_or_default(),
        };
        Frame {
            data,
            timestamp: item.time,
            orig_len: other.orig_len,
            link_type: other.link_type,
            interface: item.interface,
            packet_type: other.packet_type,
        }
    }

    /// Bytes in a buffer. Whoever read them has seen them where the spot says they are.
    #[inline]
    fn bytes(&self, spot: Spot, len: usize) -> &[u8] {
        let start = spot.offset as usize;
        let buffer = self.buffers.get(spot.buffer as usize);
        buffer.and_then(|buffer| buffer.get(start..start + len)).unwrap_or_default()
    }
}

impl Part {
    fn clear(&mut self) {
        let Self { items, segments, others, ends } = self;
        items.clear();
        segments.clear();
        others.clear();
        ends.clear();
    }
}

/// What of a part has not been given yet.
struct Rest<'p> {
    items: &'p [Item],
    segments: slice::Iter<'p, Decoded>,
    others: slice::Iter<'p, Unsegmented>,
}

/// Adds to a list that has been read, when it had another content, by another worker: memory is in that one's caches.
#[inline(always)]
fn push<T>(list: &mut Vec<T>, item: T) {
    prefetch_to_write(list.spare_capacity_mut().get(WRITE_AHEAD..).unwrap_or_default());
    list.push(item);
}

/// Bytes of the headers of a plain segment with a pair of times for options. IPv6 and tags make them longer, but rarely
/// by another line.
const HEADERS: usize = 66;

/// Items ahead whose place in a list is asked for: far enough to be there in time. A packet takes some 20 ns to be
/// walked over; from a processor with which this one shares no cache memory takes some 200 ns to come.
const WRITE_AHEAD: usize = 16;

/// Segments ahead whose headers are asked for: the analysis of one takes 50 ns and more.
const READ_AHEAD: usize = 8;

#[cfg(test)]
mod tests {
    use gannet_packet::Decap;
    use gannet_testkit::conversation::{Carriage, Dialogue, Identifications, Manner, Peer, Setup, Wrap};

    use super::*;
    use crate::config::IntakeConfig;
    use crate::dispatch::reading::Taker;
    use crate::dispatch::sorter::{Sorter, Sorting};
    use gannet_flow::FragmentLimits;

    /// Frames of connections over IPv4 and IPv6, bare, tagged and in a tunnel; and some without a link header.
    fn frames() -> Vec<(LinkType, Vec<u8>)> {
        let mut frames = Vec::new();
        for number in 0..12 {
            let mut setup = Setup::default();
            if number % 3 == 1 {
                setup.route.client.set_ip("2001:db8::7".parse().unwrap());
                setup.route.server.set_ip("2001:db8::9".parse().unwrap());
            }
            setup.route.client.set_port(40_000 + number);
            let mut dialogue = Dialogue::new(setup, Manner::default());
            dialogue
                .open()
                .say(Peer::Client, 3_000)
                .say(Peer::Server, 100 * usize::from(number))
                .end(Peer::Client);
            let tunnel = Wrap::Vxlan { ipv6: false, vni: u32::from(number), port: 4_789 };
            let wraps = match number % 4 {
                2 => vec![tunnel],
                3 => vec![Wrap::Vlan { tpid: 0x8100, id: number }],
                _ => vec![],
            };
            let carriage = Carriage { wraps, cuts: vec![] };
            for packet in dialogue.finish().packets() {
                let carried = carriage.frames(packet, &mut Identifications::default()).into_iter();
                frames.extend(carried.map(|mut frame| match number {
                    5 => (LinkType::RAW, frame.split_off(14)),
                    _ => (LinkType::ETHERNET, frame),
                }));
            }
        }
        frames
    }

    /// What is written down of segments is all there is to them, each is with the worker of its flow, and in its place.
    #[test]
    fn segments_come_back_as_they_were() {
        let config = crate::config::StatsConfig {
            intake: IntakeConfig { decap: Decap::default(), fragments: FragmentLimits::default() },
            flows: gannet_flow::Limits::default(),
            sinks: Vec::new(),
            flush_each: false,
        };
        let mut frames = frames();
        frames.push((LinkType::ETHERNET, b"no packet at all".to_vec()));
        let buffer = Arc::new(frames.iter().flat_map(|(_, frame)| frame.clone()).collect::<Vec<_>>());
        for workers in [1, 2, 5] {
            let mut sorter = Sorter::new(crate::analysis::Aim::Flows(&config), 7, workers);
            let mut stretch = Stretch::new(workers, 0);
            assert!(stretch.is_empty());
            // Twice, to see that nothing is left of what was in it before.
            for begin in [1_000, 5_000_000_000] {
                stretch.clear();
                stretch.begin_at(begin);
                let (mut offset, mut expected) = (0, Vec::new());
                for (number, (link_type, data)) in (0..).zip(&frames) {
                    let position = begin + number * 3;
                    let frame = Frame {
                        data: &buffer[offset..offset + data.len()],
                        timestamp: Timestamp(number * 1_000),
                        // Every fifth was cut behind its headers.
                        orig_len: data.len() as u32 + u32::from(number % 5 == 0) * 9,
                        link_type: *link_type,
                        interface: u32::from(number > 20),
                        packet_type: PacketType::Host,
                    };
                    let packet = Packet::decode(&frame);
                    let segment = Segment::new(&frame, &packet, position);
                    expected.extend(
                        segment.map(|segment| format!("{segment:?} {} {}", ip_bytes(&packet), data.len())),
                    );
                    let mut sorting = Sorting { sorter: &mut sorter, stretch: &mut stretch };
                    sorting.take(&mut Run::default(), &frame, Place { buffer: &buffer, offset }, position);
                    offset += data.len();
                }
                assert_eq!((stretch.packets, expected.len()), (frames.len(), frames.len() - 1));
                let mut found = Vec::new();
                let mut owners = std::collections::HashMap::new();
                let (mut decoded, mut others) = (0, Vec::new());
                for (worker, part) in stretch.parts.iter().enumerate() {
                    let mut last = 0;
                    let (mut segments, mut unsegmented) = (part.segments.iter(), part.others.iter());
                    for item in &part.items {
                        let frame = match item.kind {
                            Kind::Frame(link_type) => stretch.frame(item, link_type),
                            Kind::Segment => stretch.frame(item, LinkType::ETHERNET),
                            Kind::Other => stretch.unsegmented(item, unsegmented.next().unwrap()),
                        };
                        let packet = Packet::decode(&frame);
                        let (segment, ip_bytes) = match item.kind {
                            Kind::Segment => {
                                let decoded = segments.next().unwrap();
                                (Some(stretch.segment(item, decoded)), decoded.ip_bytes)
                            }
                            _ => {
                                let is_usual = Packet::decode_usual(&frame).is_some();
                                let is_frame = matches!(item.kind, Kind::Frame(_));
                                assert!(workers == 1 || is_frame == is_usual);
                                (Segment::new(&frame, &packet, stretch.position(item)), ip_bytes(&packet))
                            }
                        };
                        let Some(segment) = segment else {
                            others.push(frame.data);
                            continue;
                        };
                        assert!(segment.moment.position > last);
                        last = segment.moment.position;
                        assert_eq!(*owners.entry(segment.key).or_insert(worker), worker);
                        found.push((last, format!("{segment:?} {ip_bytes} {}", item.caplen)));
                    }
                    assert!(segments.next().is_none());
                    decoded += part.segments.len();
                }
                assert!(decoded < found.len() && (decoded > 0) == (workers > 1), "all kinds are met");
                found.sort();
                assert!(found.into_iter().map(|(_, segment)| segment).eq(expected), "{workers} workers");
                assert_eq!(others, [b"no packet at all"]);
            }
        }
    }
}
