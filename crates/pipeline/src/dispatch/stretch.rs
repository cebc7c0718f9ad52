//! Packets on their way from the thread that read them to the workers.
//!
//! ```text
//!   Stretch ──┬─ part of worker 0: segments, others, ends of batches
//!             ├─ part of worker 1: the same
//!             └─ buffers: where the payloads are
//! ```
//!
//! Of a segment everything but its payload is written down, so that a worker on another processor need not fetch the headers,
//! which lie far apart in memory, to find the same in them once more. What is written down it meets one behind the
//! other, and most of it in one line of the cache: each line costs whoever writes it and whoever reads it. So does each of a
//! payload: none is fetched ahead, because of most payloads nothing is read.

use std::sync::Arc;

use gannet_flow::{Moment, Segment};
use gannet_packet::{
    FlowKey, Frame, IpProtocol, LinkType, Packet, PacketType, Side, Surroundings, TcpFlags, TcpHeader,
    Timestamp, V4Ends,
};
use gannet_ring::prefetch::prefetch_to_write;

use super::reading::{Place, Taker};
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
    /// The TCP options of its segments, one behind the other.
    options: Vec<u8>,
    /// What segments have in common with those in front of them.
    common: Vec<Common>,
    /// Of segments that have it.
    unusual: Vec<Unusual>,
    others: Vec<Unsegmented>,
    /// Where records are handed on, with how many items in front of it: at ends of batches, where time passes, and at pauses.
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

/// A packet on its way to a worker.
enum Item {
    Segment(Noted),
    /// Its number among the others of the part.
    Other(u32),
}

const _: () = assert!(size_of::<Item>() == 64, "one line of the cache");

/// A [`Segment`] without what is in memory elsewhere.
struct Noted {
    ends: V4Ends,
    time: Timestamp,
    /// Its position, counted from the stretch's first.
    after: u32,
    sequence: u32,
    acknowledgement: u32,
    /// Offset in the buffer, and length.
    payload: u32,
    payload_len: u32,
    wire_len: u32,
    /// Of its frame.
    caplen: u32,
    /// Of the headers from the innermost IP header on.
    headers_len: u16,
    tcp_offset: u16,
    window: u16,
    ip_id: u16,
    tcp_len: u8,
    flags: TcpFlags,
    side: Side,
    /// A number in the part's table.
    common: u32,
}

/// What most segments have in common with the one before.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Common {
    buffer: u32,
    interface: u32,
    /// A number in the part's table, counted from 1; 0: nothing.
    unusual: u32,
}

/// What segments have that are not plain.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Unusual {
    around: Surroundings,
    /// Of IPv6.
    key: Option<FlowKey>,
}

/// A packet that is no segment, or a segment in a datagram: a frame without its bytes.
#[derive(Clone, Copy)]
pub(super) struct Unsegmented {
    spot: Spot,
    caplen: u32,
    orig_len: u32,
    timestamp: Timestamp,
    link_type: LinkType,
    packet_type: PacketType,
    interface: u32,
    position: u64,
    /// It is a datagram that was put together: its number in the stretch.
    pub(super) datagram: Option<u32>,
    pub(super) part: Share,
}

/// Where bytes are: a buffer of the stretch, and the offset in there. Buffers are smaller than 4 GiB by far, because no record is
/// longer than 16 MiB.
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

    /// Adds a plain segment, of which `packet` and `frame` are the packet and the frame. False if it is not plain after all.
    ///
    /// Nothing in here takes the segment's address, so that what was decoded goes from registers to where it is written down
    /// (measured: through memory a packet takes 20 ns more).
    #[inline(always)]
    pub(super) fn add_plain(
        &mut self,
        worker: usize,
        segment: &Segment<'_>,
        packet: &Packet,
        frame: &Frame<'_>,
        place: Place<'_>,
    ) -> bool {
        let Some(ends) = segment.key.to_v4() else { return false };
        if segment.around != Surroundings::NONE {
            return false;
        }
        self.note(worker, segment, packet, frame, place, (ends, 0));
        true
    }

    /// Adds any segment.
    pub(super) fn add_segment(
        &mut self,
        worker: usize,
        segment: &Segment<'_>,
        packet: &Packet,
        frame: &Frame<'_>,
        place: Place<'_>,
    ) {
        let Some(part) = self.parts.get_mut(worker) else { return };
        let ends = match segment.key.to_v4() {
            Some(ends) if segment.around == Surroundings::NONE => (ends, 0),
            ends => part.unusual(ends, segment),
        };
        self.note(worker, segment, packet, frame, place, ends);
    }

    /// Writes down a segment with these ends, of which this is unusual.
    #[inline(always)]
    fn note(
        &mut self,
        worker: usize,
        segment: &Segment<'_>,
        packet: &Packet,
        frame: &Frame<'_>,
        place: Place<'_>,
        (ends, unusual): (V4Ends, u32),
    ) {
        let offset = place.offset + packet.payload.offset as usize;
        let payload = self.place(Place { offset, ..place });
        // What lies between is no longer than what the lengths in IP headers can say.
        let headers_len = ip_bytes(packet).wrapping_sub(segment.wire_len) as u16;
        let after = segment.moment.position.wrapping_sub(self.first) as u32;
        self.packets += 1;
        let Some(part) = self.parts.get_mut(worker) else { return };
        let common = part.common(Common { buffer: payload.buffer, interface: segment.interface, unusual });
        // The worker that had this memory last has it in its caches.
        prefetch_to_write(part.items.spare_capacity_mut().get(WRITE_AHEAD..).unwrap_or_default());
        let options_ahead = WRITE_AHEAD * USUAL_OPTIONS;
        prefetch_to_write(part.options.spare_capacity_mut().get(options_ahead..).unwrap_or_default());
        // Mostly none, or times: of known length they are copied without a call.
        match <&[u8; USUAL_OPTIONS]>::try_from(segment.options) {
            Ok(usual) => part.options.extend_from_slice(usual),
            Err(_) => part.options.extend_from_slice(segment.options),
        }
        part.items.push(Item::Segment(Noted {
            ends,
            time: segment.moment.time,
            after,
            sequence: segment.tcp.sequence,
            acknowledgement: segment.tcp.acknowledgement,
            payload: payload.offset,
            payload_len: segment.payload.len() as u32,
            wire_len: segment.wire_len,
            caplen: frame.data.len() as u32,
            headers_len,
            tcp_offset: segment.tcp.offset,
            window: segment.tcp.window,
            ip_id: segment.ip_id,
            tcp_len: segment.tcp.len,
            flags: segment.tcp.flags,
            side: segment.side,
            common,
        }));
    }

    /// Adds a packet of any kind.
    pub(super) fn add(&mut self, worker: usize, packet: Unsegmented) {
        self.packets += 1;
        if let Some(part) = self.parts.get_mut(worker) {
            part.items.push(Item::Other(part.others.len() as u32));
            part.others.push(packet);
        }
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
    #[inline]
    pub(super) fn place(&mut self, Place { buffer, offset }: Place<'_>) -> Spot {
        let known = self.buffers.iter().rposition(|known| Arc::ptr_eq(known, buffer));
        let buffer = known.unwrap_or_else(|| {
            self.buffers.push(Arc::clone(buffer));
            self.buffers.len() - 1
        });
        Spot { buffer: buffer as u32, offset: offset as u32 }
    }

    /// Gives a worker its part.
    pub(super) fn give(&self, number: usize, worker: &mut FileWorker<'_>) {
        let Some(part) = self.parts.get(number) else { return };
        let (mut from, mut options) = (0, part.options.as_slice());
        for &(until, end) in &part.ends {
            self.give_items(part, part.items.get(from..until).unwrap_or_default(), &mut options, worker);
            match end {
                Some(end) => worker.end_batch(end),
                None => worker.hand_on(),
            }
            from = until;
        }
        self.give_items(part, part.items.get(from..).unwrap_or_default(), &mut options, worker);
    }

    fn give_items<'a>(
        &'a self,
        part: &Part,
        items: &[Item],
        options: &mut &'a [u8],
        worker: &mut FileWorker<'_>,
    ) {
        let mut run = Run::default();
        for item in items {
            match item {
                Item::Segment(noted) => {
                    let len = usize::from(noted.tcp_len).saturating_sub(TCP_HEADER);
                    let (own, rest) = options.split_at_checked(len).unwrap_or_default();
                    *options = rest;
                    let segment = self.segment(part, noted, own);
                    let ip_bytes = noted.wire_len.wrapping_add(noted.headers_len.into());
                    worker.take_segment(&mut run, segment, ip_bytes, noted.caplen);
                }
                Item::Other(number) => {
                    worker.end_run(&mut run);
                    if let Some(packet) = part.others.get(*number as usize) {
                        self.give_unsegmented(packet, worker);
                    }
                }
            }
        }
        worker.end_run(&mut run);
    }

    #[inline(always)]
    fn segment<'a>(&'a self, part: &Part, noted: &Noted, options: &'a [u8]) -> Segment<'a> {
        let common = part.common.get(noted.common as usize);
        let unusual = match common.map_or(0, |common| common.unusual) {
            0 => None,
            number => part.unusual.get(number as usize - 1),
        };
        let key = unusual.and_then(|unusual| unusual.key);
        Segment {
            key: key.unwrap_or_else(|| FlowKey::of_v4(noted.ends, IpProtocol::TCP)),
            side: noted.side,
            tcp: TcpHeader {
                offset: noted.tcp_offset,
                len: noted.tcp_len,
                flags: noted.flags,
                sequence: noted.sequence,
                acknowledgement: noted.acknowledgement,
                window: noted.window,
            },
            options,
            payload: self.payload(part, noted),
            wire_len: noted.wire_len,
            moment: Moment { time: noted.time, position: self.first + u64::from(noted.after) },
            interface: common.map_or(0, |common| common.interface),
            ip_id: noted.ip_id,
            around: unusual.map_or(Surroundings::NONE, |unusual| unusual.around),
        }
    }

    #[inline(never)]
    fn give_unsegmented(&self, packet: &Unsegmented, worker: &mut FileWorker<'_>) {
        let frame = |data| Frame {
            data,
            timestamp: packet.timestamp,
            orig_len: packet.orig_len,
            link_type: packet.link_type,
            interface: packet.interface,
            packet_type: packet.packet_type,
        };
        let len = packet.caplen as usize;
        match packet.datagram {
            None => worker.take_part(&frame(self.bytes(packet.spot, len)), packet.position, packet.part),
            Some(number) => {
                let Datagrams { bytes, around } = &self.datagrams;
                let start = packet.spot.offset as usize;
                let frame = frame(bytes.get(start..start + len).unwrap_or_default());
                let around = around.get(number as usize).copied().unwrap_or_default();
                worker.take_datagram(&frame, &around, packet.position, packet.part);
            }
        }
    }

    #[inline]
    fn payload(&self, part: &Part, noted: &Noted) -> &[u8] {
        let buffer = part.common.get(noted.common as usize).map_or(0, |common| common.buffer);
        self.bytes(Spot { buffer, offset: noted.payload }, noted.payload_len as usize)
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
        let Self { items, options, common, unusual, others, ends } = self;
        items.clear();
        options.clear();
        common.clear();
        unusual.clear();
        others.clear();
        ends.clear();
    }

    /// The number of what a segment has in common with others.
    #[inline]
    fn common(&mut self, common: Common) -> u32 {
        if self.common.last() != Some(&common) {
            self.common.push(common);
        }
        self.common.len() as u32 - 1
    }

    /// The number of what is unusual about a segment, and its ends, which mean something for IPv4 only.
    #[cold]
    fn unusual(&mut self, ends: Option<V4Ends>, segment: &Segment<'_>) -> (V4Ends, u32) {
        let key = ends.is_none().then_some(segment.key);
        let unusual = Unusual { around: segment.around, key };
        if self.unusual.last() != Some(&unusual) {
            self.unusual.push(unusual);
        }
        (ends.unwrap_or_default(), self.unusual.len() as u32)
    }
}

impl Unsegmented {
    pub(super) fn new(frame: &Frame<'_>, spot: Spot, position: u64) -> Self {
        Self {
            spot,
            caplen: frame.data.len() as u32,
            orig_len: frame.orig_len,
            timestamp: frame.timestamp,
            link_type: frame.link_type,
            packet_type: frame.packet_type,
            interface: frame.interface,
            position,
            datagram: None,
            part: Share::Whole,
        }
    }
}

/// Bytes of a TCP header without options.
const TCP_HEADER: usize = 20;

/// Bytes of the options that most segments have: a pair of times.
const USUAL_OPTIONS: usize = 12;

/// Segments ahead whose place in a part is asked for: far enough to be there in time. A segment takes some 20 ns to be
/// written down; from a processor with which this one shares no cache memory takes some 200 ns to come.
const WRITE_AHEAD: usize = 12;

#[cfg(test)]
mod tests {
    use gannet_packet::Decap;
    use gannet_testkit::conversation::{Carriage, Dialogue, Identifications, Manner, Peer, Setup, Wrap};

    use super::*;
    use crate::config::IntakeConfig;
    use crate::dispatch::reading::Taker;
    use crate::dispatch::sorter::{Sorter, Sorting};
    use gannet_flow::FragmentLimits;

    /// Frames of connections over IPv4 and IPv6, bare and in a tunnel.
    fn frames() -> Vec<Vec<u8>> {
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
            let wraps = if number % 4 == 2 { vec![tunnel] } else { vec![] };
            let carriage = Carriage { wraps, cuts: vec![] };
            for packet in dialogue.finish().packets() {
                frames.extend(carriage.frames(packet, &mut Identifications::default()));
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
        frames.push(b"no packet at all".to_vec());
        let buffer = Arc::new(frames.concat());
        for workers in [1, 2, 5] {
            let mut sorter = Sorter::new(crate::analysis::Aim::Flows(&config), 7, workers);
            let mut stretch = Stretch::new(workers, 0);
            assert!(stretch.is_empty());
            // Twice, to see that nothing is left of what was in it before.
            for begin in [1_000, 5_000_000_000] {
                stretch.clear();
                stretch.begin_at(begin);
                let (mut offset, mut expected) = (0, Vec::new());
                for (number, data) in (0..).zip(&frames) {
                    let position = begin + number * 3;
                    let frame = Frame {
                        data: &buffer[offset..offset + data.len()],
                        timestamp: Timestamp(number * 1_000),
                        orig_len: data.len() as u32,
                        link_type: LinkType::ETHERNET,
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
                for (worker, part) in stretch.parts.iter().enumerate() {
                    let mut options = part.options.as_slice();
                    let mut last = 0;
                    for item in &part.items {
                        let Item::Segment(noted) = item else { continue };
                        let (own, rest) = options.split_at(usize::from(noted.tcp_len) - TCP_HEADER);
                        options = rest;
                        let segment = stretch.segment(part, noted, own);
                        assert!(segment.moment.position > last);
                        last = segment.moment.position;
                        assert_eq!(*owners.entry(segment.key).or_insert(worker), worker);
                        let ip_bytes = noted.wire_len + u32::from(noted.headers_len);
                        found.push((last, format!("{segment:?} {ip_bytes} {}", noted.caplen)));
                    }
                    assert!(options.is_empty());
                }
                found.sort();
                assert!(found.into_iter().map(|(_, segment)| segment).eq(expected), "{workers} workers");
                let others: Vec<_> = stretch.parts.iter().flat_map(|part| &part.others).collect();
                let bytes: Vec<_> =
                    others.iter().map(|other| stretch.bytes(other.spot, other.caplen as usize)).collect();
                assert_eq!(bytes, [b"no packet at all"]);
            }
        }
    }
}
