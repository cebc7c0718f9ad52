//! The copying writer's buffer: packets encoded one behind the other, as small as the format allows.
//!
//! Used for classic pcap, pipes, `--writer copy`, link types that go to a file of their own, and ring blocks that
//! are nearly empty: a quiet link must not fill the disk with padding.

use gannet_packet::Timestamp;
use gannet_pcap::classic::{self, Precision};
use gannet_pcap::ng;
use gannet_ring::buffer::AlignedBuffer;

use crate::packet::{Facts, Outgoing};

/// How packets are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// pcapng Enhanced Packet Blocks with nanoseconds and flags.
    Pcapng,
    /// Classic pcap records.
    Pcap(Precision),
}

/// A buffer being filled with packets.
#[derive(Debug)]
pub struct CompactBuffer {
    bytes: AlignedBuffer,
    encoding: Encoding,
    /// Bytes that are final.
    used: usize,
    /// In pcapng files: the buffer starts with a marker (see [`ng::marker`]), written by [`CompactBuffer::seal`].
    marked: bool,
    worker: u32,
    /// Bytes at the start that are not packets of this buffer.
    raw: usize,
    packets: u64,
    packet_bytes: u64,
    first: Timestamp,
    last: Timestamp,
}

impl CompactBuffer {
    /// An empty buffer. `marked` leaves room for the marker of an extent in a pcapng file.
    pub fn new(bytes: AlignedBuffer, encoding: Encoding, marked: bool, worker: u32) -> Self {
        let used = if marked { ng::marker::MIN_LEN } else { 0 };
        Self {
            bytes,
            encoding,
            used,
            marked,
            worker,
            raw: 0,
            packets: 0,
            packet_bytes: 0,
            first: Timestamp(0),
            last: Timestamp(0),
        }
    }

    /// Copies a packet in. False if there is no room: the buffer is unchanged then.
    pub fn push(&mut self, packet: &Outgoing<'_>) -> bool {
        let mut filling = self.fill();
        let pushed = filling.push(packet);
        let filled = filling.end();
        self.book(&filled);
        pushed
    }

    /// Begins to copy packets in one after the other; what is filled is then to be told to [`CompactBuffer::book`].
    #[inline]
    pub fn fill(&mut self) -> Filling<'_> {
        // The end of the buffer is kept free for the filler that `seal` may have to write.
        let end = self.bytes.len() - ng::MIN_BLOCK;
        let room = self.bytes.get_mut(self.used..end).unwrap_or_default();
        Filling { room, encoding: self.encoding, filled: Filled::default() }
    }

    /// Counts the packets that [`CompactBuffer::fill`] has copied in.
    pub fn book(&mut self, filled: &Filled) {
        if filled.packets == 0 {
            return;
        }
        if self.packets == 0 {
            self.first = filled.first;
        }
        self.last = filled.last;
        self.used += filled.len;
        self.packets += filled.packets;
        self.packet_bytes += filled.packet_bytes;
    }

    /// Puts bytes at the start that are no packets of this buffer: a file header, the end of an earlier record.
    /// False without room.
    pub fn push_raw(&mut self, raw: &[u8]) -> bool {
        let Some(dst) = self.bytes.get_mut(self.used..self.used + raw.len()) else { return false };
        dst.copy_from_slice(raw);
        self.used += raw.len();
        self.raw = self.used;
        true
    }

    /// What [`CompactBuffer::push_raw`] has put there.
    pub fn raw(&self) -> &[u8] {
        &self.bytes[..self.raw]
    }

    /// Bytes in the buffer.
    pub fn len(&self) -> usize {
        self.used
    }

    /// True if no packet is in it.
    pub fn is_empty(&self) -> bool {
        self.packets == 0
    }

    /// Packets in it.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Their captured bytes.
    pub fn packet_bytes(&self) -> u64 {
        self.packet_bytes
    }

    /// The bytes that are final, with the marker (if there is to be one) naming exactly these bytes as its extent.
    pub fn exact(&mut self) -> &[u8] {
        self.write_marker(self.used);
        &self.bytes[..self.used]
    }

    /// Pads with a filler block to a multiple of `alignment` and returns the memory and the length to write.
    ///
    /// For pcapng only: classic pcap has nothing that a reader skips.
    pub fn seal(mut self, alignment: usize) -> (AlignedBuffer, usize) {
        let mut end = self.used.next_multiple_of(alignment);
        if end != self.used && end - self.used < ng::MIN_BLOCK {
            end += alignment;
        }
        let end = end.min(self.bytes.len());
        ng::write_filler(&mut self.bytes[self.used..end]);
        self.write_marker(end);
        (self.bytes, end)
    }

    /// The memory and the length of whatever is in it.
    pub fn into_parts(self) -> (AlignedBuffer, usize) {
        (self.bytes, self.used)
    }

    /// The end of the buffer that does not fill a multiple of `alignment`: it belongs at the start of the next
    /// buffer, in formats without padding.
    pub fn beyond(&self, alignment: usize) -> &[u8] {
        &self.bytes[self.used - self.used % alignment..self.used]
    }

    fn write_marker(&mut self, extent_len: usize) {
        if !self.marked {
            return;
        }
        let marker = ng::marker::Marker {
            total_len: ng::marker::MIN_LEN as u32,
            block_status: 1,
            num_pkts: self.packets as u32,
            offset_to_first_pkt: ng::marker::MIN_LEN as u32,
            blk_len: self.used as u32,
            seq_num: 0,
            ts_first: self.first,
            ts_last: self.last,
            extent_len: extent_len as u32,
            packets: self.packets as u32,
            worker: self.worker,
        };
        marker.write(&mut self.bytes);
    }
}

/// The free part of a buffer while packets are copied in. It is apart from the buffer so that what counts them stays
/// in registers.
#[derive(Debug)]
pub struct Filling<'a> {
    room: &'a mut [u8],
    encoding: Encoding,
    filled: Filled,
}

/// What has been copied in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filled {
    /// Bytes of the buffer.
    pub len: usize,
    /// Packets.
    pub packets: u64,
    /// Their captured bytes.
    pub packet_bytes: u64,
    first: Timestamp,
    last: Timestamp,
}

impl Filling<'_> {
    /// Copies a packet in. False if there is no room: nothing has changed then.
    pub fn push(&mut self, packet: &Outgoing<'_>) -> bool {
        self.push_with(&packet.facts(), packet.caplen, |dst| {
            let mut rest = dst;
            for piece in packet.pieces() {
                let (place, behind) = rest.split_at_mut(piece.len().min(rest.len()));
                place.copy_from_slice(&piece[..place.len()]);
                rest = behind;
            }
        })
    }

    /// The same for a packet whose bytes are in one piece.
    #[inline]
    pub fn push_whole(&mut self, facts: &Facts, data: &[u8]) -> bool {
        self.push_with(facts, data.len(), |dst| dst.copy_from_slice(data))
    }

    /// What has been copied in so far.
    #[inline]
    pub fn filled(&self) -> &Filled {
        &self.filled
    }

    /// Lets go of the buffer.
    #[inline]
    pub fn end(self) -> Filled {
        self.filled
    }

    /// Takes the place of a packet of `caplen` bytes, has them put there by `copy`, and writes what goes around them.
    #[inline(always)]
    fn push_with(&mut self, facts: &Facts, caplen: usize, copy: impl FnOnce(&mut [u8])) -> bool {
        let Facts { interface, timestamp, orig_len, flags } = *facts;
        let rest = &mut self.room[self.filled.len..];
        let total = match self.encoding {
            Encoding::Pcapng => {
                let total = ng::enhanced_packet_len(caplen, true);
                let Some(dst) = rest.get_mut(..total) else { return false };
                copy(&mut dst[ng::ENHANCED_PACKET_HEADER..][..caplen]);
                ng::write_around_packet(dst, interface, timestamp, orig_len, Some(flags), caplen)
            }
            Encoding::Pcap(precision) => {
                let total = classic::RECORD_HEADER + caplen;
                let Some(dst) = rest.get_mut(..total) else { return false };
                copy(&mut dst[classic::RECORD_HEADER..]);
                classic::write_record_header(dst, precision, timestamp, orig_len, caplen)
            }
        };
        let filled = &mut self.filled;
        if filled.packets == 0 {
            filled.first = timestamp;
        }
        filled.last = timestamp;
        filled.len += total;
        filled.packets += 1;
        filled.packet_bytes += caplen as u64;
        true
    }
}

/// Size of a copying writer's buffer: as large as a ring block, so that one disk write is as good as another, and
/// large enough for any single frame (a snaplen is at most 256 KiB).
pub const BUFFER_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use gannet_packet::{Frame, LinkType, PacketType};
    use gannet_testkit::block::BlockBuilder;
    use proptest::prelude::*;

    use super::*;
    use crate::samples::{Expected, SECRET, Sample, frames, read_back, sample, section_of, snaplen};

    /// A buffer that held something else before.
    fn used_buffer() -> AlignedBuffer {
        let mut buffer = AlignedBuffer::new(64 << 10);
        buffer.fill(SECRET);
        buffer
    }

    /// What of a packet survives in an encoding: classic pcap has one interface, no flags, and may have microseconds.
    fn in_encoding(expected: &Expected, encoding: Encoding) -> Expected {
        let Encoding::Pcap(precision) = encoding else { return expected.clone() };
        let unit = u64::from(precision.unit_ns());
        Expected {
            interface: 0,
            timestamp: Timestamp(expected.timestamp.0 / unit * unit),
            packet_type: PacketType::default(),
            flags: 0,
            ..expected.clone()
        }
    }

    fn buffer(encoding: Encoding) -> CompactBuffer {
        let mut buffer = CompactBuffer::new(used_buffer(), encoding, encoding == Encoding::Pcapng, 4);
        if let Encoding::Pcap(precision) = encoding {
            assert!(buffer.push_raw(&classic::file_header(precision, LinkType::ETHERNET, 262_144)));
        }
        buffer
    }

    /// The bytes as a file.
    fn file(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
        if encoding == Encoding::Pcapng { section_of(3, bytes) } else { bytes.to_vec() }
    }

    fn check_marker(extent: &[u8], used: usize, packets: &[Expected]) {
        let marker = ng::marker::Marker::parse(extent).unwrap();
        assert_eq!((marker.extent_len as usize, marker.blk_len as usize), (extent.len(), used));
        assert_eq!((marker.packets as usize, marker.worker), (packets.len(), 4));
        let times = packets.first().zip(packets.last());
        let times =
            times.map_or((Timestamp(0), Timestamp(0)), |(first, last)| (first.timestamp, last.timestamp));
        assert_eq!((marker.ts_first, marker.ts_last), times);
    }

    /// Copies ring frames of the samples, looking at the buffer after each packet.
    fn check(samples: &[Sample], encoding: Encoding, snaplen: usize, alignment: usize) {
        let mut buffer = buffer(encoding);
        let mut expected = Vec::new();
        for sample in samples.iter().filter(|sample| !sample.skip) {
            let mut block = BlockBuilder::new(128 << 10, 6).stale(SECRET);
            assert!(sample.push(&mut block, snaplen));
            let block = block.finish(false);
            let (header, bytes) = frames(&block)[0];
            let number = sample.ifindex as u32 - 1;
            let before = buffer.exact().to_vec();
            if buffer.push(&Outgoing::from_ring(&header, bytes, number, snaplen)) {
                expected.push(in_encoding(&sample.expected(header.caplen, number, snaplen), encoding));
            } else {
                assert_eq!(buffer.exact(), before, "without room nothing changes");
                assert!(before.len() + header.caplen + 100 > (64 << 10), "there was room");
            }
            let bytes: u64 = expected.iter().map(|packet| packet.data.len() as u64).sum();
            assert_eq!((buffer.packets(), buffer.packet_bytes()), (expected.len() as u64, bytes));
            assert_eq!(buffer.is_empty(), expected.is_empty());
        }
        let used = buffer.len();
        let exact = buffer.exact().to_vec();
        assert_eq!(exact.len(), used);
        assert_eq!(read_back(&file(encoding, &exact)), expected);
        assert_eq!(buffer.beyond(alignment), &exact[used / alignment * alignment..]);
        if encoding == Encoding::Pcapng {
            check_marker(&exact, used, &expected);
            let (memory, len) = buffer.seal(alignment);
            assert!(len.is_multiple_of(alignment) && len >= used && len < used + alignment + ng::MIN_BLOCK);
            check_marker(&memory[..len], used, &expected);
            assert_eq!(read_back(&section_of(3, &memory[..len])), expected);
            // Behind the packets comes a filler, and nothing of what the buffer held before.
            let filler = &memory[used..len];
            assert!(filler.is_empty() || filler[8..filler.len() - 4].iter().all(|&byte| byte == 0));
        } else {
            let (memory, len) = buffer.into_parts();
            assert_eq!(memory[..len], exact);
        }
    }

    const ENCODINGS: [Encoding; 3] =
        [Encoding::Pcapng, Encoding::Pcap(Precision::Micro), Encoding::Pcap(Precision::Nano)];

    #[test]
    fn an_empty_buffer_is_valid() {
        for encoding in ENCODINGS {
            for alignment in [512, 4096, 65_536] {
                check(&[], encoding, 100, alignment);
            }
        }
    }

    #[test]
    fn sealed_at_every_distance_from_the_alignment() {
        // A rest of 4 or 8 bytes is too short for a filler block.
        for len in 0..600 {
            let frame = frame(&[7; 600], len);
            let mut buffer = buffer(Encoding::Pcapng);
            assert!(buffer.push(&Outgoing::from_frame(&frame, 0, 262_144)));
            let used = buffer.len();
            let (memory, end) = buffer.seal(512);
            assert!(end.is_multiple_of(512) && end - used != 4 && end - used != 8);
            assert_eq!(read_back(&section_of(1, &memory[..end])).len(), 1, "{len}");
        }
    }

    #[test]
    fn a_full_buffer_has_room_for_its_filler() {
        // The last packet leaves from 12 to 15 bytes of the buffer.
        for slack in 0..40 {
            let room = (64 << 10) - ng::marker::MIN_LEN - ng::enhanced_packet_len(0, true);
            let data = vec![3; room - slack];
            let mut buffer = buffer(Encoding::Pcapng);
            let fits = buffer.push(&Outgoing::from_frame(&frame(&data, data.len()), 0, usize::MAX));
            assert_eq!(fits, slack >= ng::MIN_BLOCK, "{slack}");
            for alignment in [4096, 65_536] {
                let (memory, end) = {
                    let mut again = self::buffer(Encoding::Pcapng);
                    again.push(&Outgoing::from_frame(&frame(&data, data.len()), 0, usize::MAX));
                    again.seal(alignment)
                };
                assert!(end <= memory.len() && end.is_multiple_of(alignment));
                assert_eq!(read_back(&section_of(1, &memory[..end])).len(), usize::from(fits));
            }
        }
    }

    #[test]
    fn raw_bytes_stand_at_the_start_and_are_told_apart() {
        let mut buffer = CompactBuffer::new(used_buffer(), Encoding::Pcap(Precision::Nano), false, 0);
        assert!(buffer.push_raw(b"end of an earlier record"));
        assert!(buffer.push(&Outgoing::from_frame(&frame(&[1; 60], 60), 0, 262_144)));
        assert_eq!((buffer.raw(), buffer.packets()), (&b"end of an earlier record"[..], 1));
        assert_eq!(buffer.len(), 24 + 16 + 60);
        let mut full = CompactBuffer::new(used_buffer(), Encoding::Pcap(Precision::Nano), false, 0);
        assert!(!full.push_raw(&vec![0; (64 << 10) + 1]));
        assert!(full.push_raw(&vec![0; 64 << 10]));
        assert!(!full.push(&Outgoing::from_frame(&frame(&[], 0), 0, 262_144)), "no room, and no panic");
    }

    fn frame(data: &[u8], len: usize) -> Frame<'_> {
        Frame {
            link_type: LinkType::ETHERNET,
            timestamp: Timestamp(1),
            data: &data[..len],
            orig_len: len as u32,
            interface: 0,
            packet_type: PacketType::Outgoing,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn what_comes_out_is_what_came_in(
            samples in prop::collection::vec(sample(), 0..40),
            encoding in prop::sample::select(&ENCODINGS[..]),
            snaplen in snaplen(),
            alignment in prop::sample::select(&[512_usize, 4096, 65_536][..]),
        ) {
            check(&samples, encoding, snaplen, alignment);
        }
    }
}
