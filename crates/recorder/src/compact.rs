//! The copying writer's buffer: packets encoded one behind the other, as small as the format allows.
//!
//! Used for classic pcap, pipes, `--writer copy`, link types that go to a file of their own, and ring blocks that
//! are nearly empty: a quiet link must not fill the disk with padding.

use gannet_packet::Timestamp;
use gannet_pcap::classic::{self, Precision};
use gannet_pcap::ng;
use gannet_ring::buffer::AlignedBuffer;

use crate::packet::Outgoing;

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
    #[inline]
    pub fn push(&mut self, packet: &Outgoing<'_>) -> bool {
        let header = match self.encoding {
            Encoding::Pcapng => ng::ENHANCED_PACKET_HEADER,
            Encoding::Pcap(_) => classic::RECORD_HEADER,
        };
        let total = match self.encoding {
            Encoding::Pcapng => ng::enhanced_packet_len(packet.caplen, true),
            Encoding::Pcap(_) => header + packet.caplen,
        };
        // The end of the buffer is kept free for the filler that `seal` may have to write.
        let end = self.bytes.len() - ng::MIN_BLOCK;
        if total > end - self.used {
            return false;
        }
        let dst = &mut self.bytes[self.used..self.used + total];
        let mut at = header;
        let mut left = packet.caplen;
        for piece in packet.pieces() {
            let count = piece.len().min(left);
            dst[at..at + count].copy_from_slice(&piece[..count]);
            at += count;
            left -= count;
        }
        let (stamp, orig_len) = (packet.timestamp, packet.orig_len);
        let flags = Some(packet.flags);
        self.used += match self.encoding {
            Encoding::Pcapng => {
                ng::write_around_packet(dst, packet.interface, stamp, orig_len, flags, packet.caplen)
            }
            Encoding::Pcap(precision) => {
                classic::write_record_header(dst, precision, stamp, orig_len, packet.caplen)
            }
        };
        if self.packets == 0 {
            self.first = stamp;
        }
        self.last = stamp;
        self.packets += 1;
        self.packet_bytes += packet.caplen as u64;
        true
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

/// Size of a copying writer's buffer: as large as a ring block, so that one disk write is as good as another, and
/// large enough for any single frame (a snaplen is at most 256 KiB).
pub const BUFFER_BYTES: usize = 1 << 20;
