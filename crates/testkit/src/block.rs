//! TPACKET_V3 blocks in plain memory, laid out as `net/packet/af_packet.c` (Linux 6.18) fills them.
//!
//! ```text
//!   0        tpacket_block_desc, 48 bytes: version, offset_to_priv, then status, num_pkts, offset_to_first_pkt,
//!            blk_len, seq_num, time of opening, time of the last packet
//!   48       ┌ tpacket3_hdr, 48 bytes: next offset, sec, nsec, snaplen, len, status, mac, net, rxhash, VLAN
//!            │ sockaddr_ll, 20 bytes
//!            │ room: alignment and PACKET_RESERVE
//!   + tp_mac │ link header and data, tp_snaplen bytes; the network header is at tp_net
//!            └ up to a multiple of 8 ── the next frame begins; the last frame's next offset is 0
//! ```
//! The walker of a ring, its tests, benches and fuzzing run on these. The arithmetic is `tpacket_rcv`'s and
//! `prb_*`'s, written down a second time on purpose.

/// One frame, as the kernel would have received it.
#[derive(Clone, Debug)]
pub struct BlockFrame<'a> {
    /// The frame without the tag that the kernel took out of it.
    pub data: &'a [u8],
    /// Length of the link header: 14 for Ethernet, 0 for a raw IP device.
    pub mac_len: usize,
    /// What the kernel filter returned: the data is cut to it.
    pub snaplen: u32,
    /// The VLAN tag that the kernel took out, as (TPID, TCI).
    pub vlan: Option<(u16, u16)>,
    /// Seconds and nanoseconds.
    pub time: (u32, u32),
    /// Further bits of `tp_status`, such as TP_STATUS_CSUMNOTREADY; USER and the VLAN bits are added.
    pub status: u32,
    /// `tp_rxhash`, 0 unless the ring asks for it.
    pub rxhash: u32,
    /// `sll_protocol` in host byte order.
    pub protocol: u16,
    /// `sll_ifindex`.
    pub ifindex: i32,
    /// `sll_hatype`, an ARPHRD_ number.
    pub hardware_type: u16,
    /// `sll_pkttype`.
    pub packet_type: u8,
}

impl<'a> BlockFrame<'a> {
    /// An Ethernet frame to this host on interface 1, not cut, with the protocol its own type field names.
    pub fn ethernet(data: &'a [u8], time: (u32, u32)) -> Self {
        let protocol = data.get(12..14).map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]));
        Self {
            data,
            mac_len: 14,
            snaplen: 262_144,
            vlan: None,
            time,
            status: 0,
            rxhash: 0,
            protocol,
            ifindex: 1,
            hardware_type: ARPHRD_ETHER,
            packet_type: 0,
        }
    }
}

/// Fills a block frame by frame, as the kernel does between opening and closing one.
#[derive(Debug)]
pub struct BlockBuilder {
    bytes: Vec<u8>,
    reserve: usize,
    /// Where the next frame goes (`nxt_offset`), from the start of the block.
    next: usize,
    /// Where the last one went.
    last: Option<usize>,
    frames: u32,
    sequence: u64,
    opened: (u32, u32),
}

impl BlockBuilder {
    /// Opens a block of so many bytes on a socket with that PACKET_RESERVE.
    ///
    /// A size below 128 is raised to it, so that the descriptor and a frame header fit; real ones are multiples of
    /// the page size.
    pub fn new(block_bytes: usize, reserve: usize) -> Self {
        Self {
            bytes: vec![0; block_bytes.max(128)],
            reserve,
            next: DESCRIPTOR,
            last: None,
            frames: 0,
            sequence: 1,
            opened: (0, 0),
        }
    }

    /// Sets `seq_num` (1 for the first block of a ring) and `ts_first_pkt`, which is when the block was opened.
    pub fn opened(mut self, sequence: u64, time: (u32, u32)) -> Self {
        self.sequence = sequence;
        self.opened = time;
        self
    }

    /// Fills the block's memory with a byte first: what an earlier turn of the ring left behind.
    pub fn stale(mut self, byte: u8) -> Self {
        self.bytes.fill(byte);
        self
    }

    /// Puts a frame in; `false` if it does not fit any more and the kernel would go on in the next block.
    pub fn push(&mut self, frame: &BlockFrame<'_>) -> bool {
        let net = (HEADER + ADDRESS + frame.mac_len.max(16)).next_multiple_of(16) + self.reserve;
        let mut mac = net - frame.mac_len;
        let mut snaplen = frame.data.len().min(frame.snaplen as usize);
        // tpacket_rcv clamps what no block can hold (`max_frame_len`).
        let max_frame = self.bytes.len() - DESCRIPTOR;
        if mac + snaplen > max_frame {
            snaplen = max_frame.saturating_sub(mac);
            mac = mac.min(max_frame);
        }
        let length = (mac + snaplen).next_multiple_of(8);
        // The comparison is strict in __packet_lookup_frame_in_block; a fresh block takes its first frame anyway.
        if self.frames > 0 && self.next + length >= self.bytes.len() {
            return false;
        }
        let at = self.next;
        let (tci, tpid, vlan_status) = match frame.vlan {
            Some((tpid, tci)) => (tci, tpid, VLAN_VALID | VLAN_TPID_VALID),
            None => (0, 0, 0),
        };
        let mut header = Writer { bytes: &mut self.bytes, at };
        header.u32(length as u32);
        header.u32(frame.time.0);
        header.u32(frame.time.1);
        header.u32(snaplen as u32);
        header.u32(frame.data.len() as u32);
        header.u32(STATUS_USER | vlan_status | frame.status);
        header.u16(mac as u16);
        header.u16(net as u16);
        header.u32(frame.rxhash);
        header.u32(u32::from(tci));
        header.u16(tpid);
        header.put(&[0; 10]);
        header.u16(AF_PACKET);
        header.put(&frame.protocol.to_be_bytes());
        header.u32(frame.ifindex.cast_unsigned());
        header.u16(frame.hardware_type);
        header.put(&[frame.packet_type, 6]);
        // The source address, from the link header where there is one.
        let mut address = [0; 8];
        if frame.mac_len >= 12 && frame.data.len() >= 12 {
            address[..6].copy_from_slice(&frame.data[6..12]);
        }
        header.put(&address);
        self.bytes[at + mac..][..snaplen].copy_from_slice(&frame.data[..snaplen]);
        self.last = Some(at);
        self.next = at + length;
        self.frames += 1;
        true
    }

    /// Frames put in so far.
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// Closes the block: full, or because its time was up (`TP_STATUS_BLK_TMO`). The bytes belong to user space.
    pub fn finish(mut self, timed_out: bool) -> Vec<u8> {
        let mut closed = self.opened;
        if let Some(last) = self.last {
            self.bytes[last..last + 4].fill(0);
            closed = (self.u32_at(last + 4), self.u32_at(last + 8));
        }
        let mut descriptor = Writer { bytes: &mut self.bytes, at: 0 };
        descriptor.u32(TPACKET_V3);
        descriptor.u32(DESCRIPTOR as u32);
        descriptor.u32(STATUS_USER | if timed_out { STATUS_BLK_TMO } else { 0 });
        descriptor.u32(self.frames);
        descriptor.u32(DESCRIPTOR as u32);
        descriptor.u32(self.next as u32);
        descriptor.put(&self.sequence.to_ne_bytes());
        for word in [self.opened.0, self.opened.1, closed.0, closed.1] {
            descriptor.u32(word);
        }
        self.bytes
    }

    fn u32_at(&self, at: usize) -> u32 {
        let mut word = [0; 4];
        word.copy_from_slice(&self.bytes[at..at + 4]);
        u32::from_ne_bytes(word)
    }
}

/// Writes fields one after the other, in the machine's byte order as the kernel does.
struct Writer<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.at..][..bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn u16(&mut self, value: u16) {
        self.put(&value.to_ne_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.put(&value.to_ne_bytes());
    }
}

/// `BLK_PLUS_PRIV(0)`: the block descriptor, already a multiple of 8.
const DESCRIPTOR: usize = 48;
/// `sizeof(struct tpacket3_hdr)`, already a multiple of `TPACKET_ALIGNMENT`.
const HEADER: usize = 48;
/// `sizeof(struct sockaddr_ll)`.
const ADDRESS: usize = 20;
/// `enum tpacket_versions`.
const TPACKET_V3: u32 = 2;
const AF_PACKET: u16 = 17;
const ARPHRD_ETHER: u16 = 1;
const STATUS_USER: u32 = 1;
const STATUS_BLK_TMO: u32 = 1 << 5;
const VLAN_VALID: u32 = 1 << 4;
const VLAN_TPID_VALID: u32 = 1 << 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn the_offsets_that_the_design_rests_on() {
        for (reserve, mac_len, mac, net) in
            [(0, 14, 82, 96), (6, 14, 88, 102), (4, 14, 86, 100), (0, 0, 96, 96), (6, 18, 84, 102)]
        {
            let data = [0xab; 60];
            let mut builder = BlockBuilder::new(4_096, reserve);
            assert!(builder.push(&BlockFrame { mac_len, ..BlockFrame::ethernet(&data, (3, 4)) }));
            let block = builder.finish(false);
            assert_eq!(word(&block, 48 + 24), mac | net << 16, "reserve {reserve}, link header {mac_len}");
            assert_eq!(block[48 + mac as usize..][..60], data);
        }
    }

    #[test]
    fn frames_follow_each_other_and_the_last_points_nowhere() {
        let data = [1; 61];
        let mut builder = BlockBuilder::new(4_096, 6).opened(9, (1, 2)).stale(0xee);
        for second in [10, 11] {
            assert!(builder.push(&BlockFrame {
                vlan: Some((0x88a8, 0xb123)),
                snaplen: 40,
                ..BlockFrame::ethernet(&data, (second, 5))
            }));
        }
        let block = builder.finish(true);
        // 88 + 40 = 128 bytes a frame.
        let descriptor: Vec<u32> = (0..6).map(|index| word(&block, index * 4)).collect();
        assert_eq!(descriptor, [2, 48, 1 | 1 << 5, 2, 48, 48 + 2 * 128]);
        assert_eq!((word(&block, 24), word(&block, 28)), (9, 0));
        assert_eq!((32..48).step_by(4).map(|at| word(&block, at)).collect::<Vec<_>>(), [1, 2, 11, 5]);
        assert_eq!((word(&block, 48), word(&block, 48 + 128)), (128, 0));
        assert_eq!((word(&block, 60), word(&block, 64), word(&block, 68)), (40, 61, 1 | 1 << 4 | 1 << 6));
        assert_eq!((word(&block, 48 + 32), word(&block, 48 + 36) & 0xffff), (0xb123, 0x88a8));
    }

    #[test]
    fn a_block_is_full_as_the_kernel_says() {
        let data = [0; 1_514];
        let mut builder = BlockBuilder::new(8_192, 0);
        while builder.push(&BlockFrame::ethernet(&data, (0, 0))) {}
        // 82 + 1514 = 1596, 1600 a frame: 48 + 5 * 1600 = 8048 fit.
        assert_eq!(builder.frames(), 5);

        // Exactly filling the block is too much: the comparison is strict.
        let exact = vec![0; 8_192 - 48 - 5 * 1_600 - 82];
        let fits = vec![0; exact.len() - 8];
        assert!(!builder.push(&BlockFrame::ethernet(&exact, (0, 0))));
        assert!(builder.push(&BlockFrame::ethernet(&fits, (0, 0))));
    }

    #[test]
    fn a_frame_that_no_block_can_hold_is_clamped() {
        let data = [7; 9_000];
        let mut builder = BlockBuilder::new(4_096, 0);
        assert!(builder.push(&BlockFrame::ethernet(&data, (0, 0))));
        let block = builder.finish(false);
        assert_eq!((word(&block, 60), word(&block, 64)), (4_096 - 48 - 82, 9_000));
    }
}
