//! The marker: the block that starts every extent of a file that Gannet recorded.
//!
//! An extent is what one write carries, a block of the capture ring in the end. It starts on a 4096-byte boundary
//! of the file with a marker, so that a reader who has lost the chain of blocks finds it again at the next such
//! boundary: a hole that a crash left costs the packets of its own extent and no others.
//!
//! ```text
//!   0  block type 0x80474e54     4  total length T, a multiple of 4, 68..=4096
//!   8  block_status, not zero   12  num_pkts   16  offset_to_first_pkt   20  blk_len
//!  24  seq_num (64 bits)        32  ts_first: sec, nsec                  40  ts_last: sec, nsec
//!  48  "GNT1"                   52  extent_len 56  packets               60  worker
//!  64  zeros ...               T-4  T again
//! ```
//!
//! All little endian. From 8 to 48 it is the kernel's own descriptor of the ring block as the kernel wrote it
//! (`struct tpacket_block_desc` from `hdr.bh1` on, `include/uapi/linux/if_packet.h`), because the block goes to
//! disk from ring memory where the descriptor must stay; a copying writer fills in what it knows. A block of the
//! same type that is no marker is filler.

use gannet_packet::Timestamp;

use super::LOCAL;

/// Every marker lies on a multiple of this many bytes in its file.
pub const ALIGNMENT: u64 = 4096;
/// The shortest marker, in bytes.
pub const MIN_LEN: usize = 68;
/// The longest marker, in bytes.
pub const MAX_LEN: usize = 4096;
/// The word at offset 48, "GNT1" in the file.
pub const MAGIC: u32 = 0x3154_4e47;
/// Offset of the kernel's descriptor in the block.
pub const DESCRIPTOR: usize = 8;
/// Offset of our own words.
pub const OWN: usize = 48;

/// What a marker says. Numbers are as in the file; nothing here is trusted by [`Marker::parse`] beyond the checks
/// it names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marker {
    /// Length of the marker block itself, in bytes: a multiple of 4, [`MIN_LEN`] to [`MAX_LEN`].
    pub total_len: u32,
    /// `TP_STATUS_*` bits of the ring block; not zero in a marker.
    pub block_status: u32,
    /// Frames that the kernel put in the ring block.
    pub num_pkts: u32,
    /// Kernel's offset of the first frame, from the start of the ring block.
    pub offset_to_first_pkt: u32,
    /// Bytes of the ring block that the kernel filled.
    pub blk_len: u32,
    /// Kernel's number of the ring block since the ring was made.
    pub seq_num: u64,
    /// Time of the ring block's first frame.
    pub ts_first: Timestamp,
    /// Time of the ring block's last frame.
    pub ts_last: Timestamp,
    /// Bytes from the start of the marker to the end of the extent: a multiple of 4, of 4096 unless the extent
    /// is the last in the file.
    pub extent_len: u32,
    /// Packet blocks in the extent.
    pub packets: u32,
    /// The worker that wrote it.
    pub worker: u32,
}

impl Marker {
    /// Writes the marker to the start of `dst`, all of its `total_len` bytes, and returns that length.
    ///
    /// Returns 0 and writes nothing where [`Marker::parse`] would not read it back: `dst` too short, a length out
    /// of bounds, a zero `block_status`. Times past the year 2106 are written as the last second before.
    pub fn write(&self, dst: &mut [u8]) -> usize {
        let total = self.total_len as usize;
        if !self.is_valid() {
            return 0;
        }
        let Some(block) = dst.get_mut(..total) else { return 0 };
        block.fill(0);
        let (first_sec, first_nsec) = time_words(self.ts_first);
        let (last_sec, last_nsec) = time_words(self.ts_last);
        let words = [
            LOCAL,
            self.total_len,
            self.block_status,
            self.num_pkts,
            self.offset_to_first_pkt,
            self.blk_len,
            self.seq_num as u32,
            (self.seq_num >> 32) as u32,
            first_sec,
            first_nsec,
            last_sec,
            last_nsec,
            MAGIC,
            self.extent_len,
            self.packets,
            self.worker,
        ];
        for (place, word) in block.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        block[total - 4..].copy_from_slice(&self.total_len.to_le_bytes());
        total
    }

    /// Reads the marker at the start of `bytes`, which may be longer.
    ///
    /// `None` unless all of it holds: the block is whole, its type is [`LOCAL`], its two lengths agree and are a
    /// multiple of 4 within [`MIN_LEN`]..=[`MAX_LEN`], `block_status` is not zero, the magic is there, the rest
    /// up to the trailing length is zero, and `extent_len` is a multiple of 4 that at least holds the marker.
    /// Whether the extent fits the file is for the caller to check.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        if word(0)? != LOCAL || word(OWN)? != MAGIC {
            return None;
        }
        let marker = Self {
            total_len: word(4)?,
            block_status: word(8)?,
            num_pkts: word(12)?,
            offset_to_first_pkt: word(16)?,
            blk_len: word(20)?,
            seq_num: u64::from(word(24)?) | u64::from(word(28)?) << 32,
            ts_first: Timestamp::from_sec_nsec(word(32)?, word(36)?),
            ts_last: Timestamp::from_sec_nsec(word(40)?, word(44)?),
            extent_len: word(52)?,
            packets: word(56)?,
            worker: word(60)?,
        };
        if !marker.is_valid() {
            return None;
        }
        let total = marker.total_len as usize;
        let zeros = bytes.get(64..total - 4)?;
        (zeros.iter().all(|&byte| byte == 0) && word(total - 4)? == marker.total_len).then_some(marker)
    }

    /// The bounds that both directions share.
    fn is_valid(&self) -> bool {
        (MIN_LEN as u32..=MAX_LEN as u32).contains(&self.total_len)
            && self.total_len.is_multiple_of(4)
            && self.block_status != 0
            && self.extent_len.is_multiple_of(4)
            && self.extent_len >= self.total_len
    }
}

fn time_words(timestamp: Timestamp) -> (u32, u32) {
    match u32::try_from(timestamp.secs()) {
        Ok(secs) => (secs, timestamp.subsec_nanos()),
        Err(_) => (u32::MAX, 999_999_999),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Marker {
        Marker {
            total_len: 132,
            block_status: 0x21,
            num_pkts: 5,
            offset_to_first_pkt: 48,
            blk_len: 4000,
            seq_num: 0x1_0000_0007,
            ts_first: Timestamp::from_sec_nsec(10, 20),
            ts_last: Timestamp::from_sec_nsec(30, 40),
            extent_len: 8192,
            packets: 4,
            worker: 1,
        }
    }

    #[test]
    fn layout() {
        let mut dst = [0xff; 200];
        assert_eq!(example().write(&mut dst), 132);
        let word = |at: usize| u32::from_le_bytes(dst[at..at + 4].try_into().unwrap());
        let words: Vec<u32> = (0..16).map(|i| word(4 * i)).collect();
        assert_eq!(words, [LOCAL, 132, 0x21, 5, 48, 4000, 7, 1, 10, 20, 30, 40, 0x3154_4e47, 8192, 4, 1]);
        assert_eq!(dst[48..52], *b"GNT1");
        assert!(dst[64..128].iter().all(|&b| b == 0));
        assert_eq!(word(128), 132);
        assert_eq!(dst[132], 0xff);
        assert_eq!(Marker::parse(&dst), Some(example()));
        assert_eq!(Marker::parse(&dst[..132]), Some(example()));
    }

    #[test]
    fn truncated_at_every_length() {
        let mut dst = [0; 132];
        example().write(&mut dst);
        for len in 0..132 {
            assert_eq!(Marker::parse(&dst[..len]), None, "{len}");
        }
    }

    #[test]
    fn every_check_refuses() {
        let mut dst = [0; 132];
        example().write(&mut dst);
        // (offset, value of the word there): each alone makes the block no marker.
        for (at, value) in [
            (0, LOCAL + 1),
            (4, 128),
            (4, 133),
            (4, 0),
            (4, u32::MAX),
            (8, 0),
            (48, MAGIC + 1),
            (52, 8190),
            (52, 64),
            (64, 1),
            (124, 0x0100_0000),
            (128, 128),
        ] {
            let mut damaged = dst;
            damaged[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
            assert_eq!(Marker::parse(&damaged), None, "word {value:#x} at {at}");
        }
    }

    #[test]
    fn write_refuses_what_parse_would() {
        let mut dst = [0xaa; 4200];
        for marker in [
            Marker { total_len: 64, ..example() },
            Marker { total_len: 70, ..example() },
            Marker { total_len: 4100, ..example() },
            Marker { block_status: 0, ..example() },
            Marker { extent_len: 128, ..example() },
            Marker { extent_len: 8191, ..example() },
        ] {
            assert_eq!(marker.write(&mut dst), 0, "{marker:?}");
        }
        assert_eq!(example().write(&mut [0; 131]), 0);
        assert_eq!(dst, [0xaa; 4200]);
        for total_len in [68, 4096] {
            let marker = Marker { total_len, ..example() };
            assert_eq!(marker.write(&mut dst), total_len as usize);
            assert_eq!(Marker::parse(&dst), Some(marker));
        }
    }
}
