//! The blocks written once per packet or per ring block: no allocation, plain stores into the caller's slice.

use gannet_packet::{PacketType, Timestamp};

use super::{ENHANCED_PACKET, LOCAL, option};

/// Bytes of an Enhanced Packet Block before the packet data.
pub const ENHANCED_PACKET_HEADER: usize = 28;

/// The shortest block: type and the two lengths.
pub const MIN_BLOCK: usize = 12;

/// The longest filler block, in bytes. tcpdump refuses a file with a block above 16 MiB, so a longer stretch is
/// filled with several; one page less keeps the pieces clear of that bound and page-aligned.
pub const MAX_FILLER: usize = (16 << 20) - 4096;

/// Bytes that [`write_enhanced_packet`] writes for `caplen` bytes of packet: header, data padded to 4, with
/// `flags` the option `epb_flags` and the end of options, and the trailing length.
#[inline]
#[must_use]
pub fn enhanced_packet_len(caplen: usize, flags: bool) -> usize {
    ENHANCED_PACKET_HEADER + caplen.next_multiple_of(4) + if flags { FLAGS_OPTIONS } else { 0 } + 4
}

/// Writes an Enhanced Packet Block (draft section 4.3) to the start of `dst`, little endian, for an interface
/// with `if_tsresol` 9, and returns its length.
///
/// `interface` is the number of the Interface Description Block in the section, `data` the captured bytes,
/// `orig_len` the length on the wire. `flags` is an `epb_flags` word as [`epb_flags`] makes it.
///
/// Returns 0 and writes nothing if `dst` is shorter than [`enhanced_packet_len`] or the block would not fit its
/// 32-bit length. Padding is zeroed: every byte of the block is written.
#[inline]
pub fn write_enhanced_packet(
    dst: &mut [u8],
    interface: u32,
    timestamp: Timestamp,
    orig_len: u32,
    flags: Option<u32>,
    data: &[u8],
) -> usize {
    let body = ENHANCED_PACKET_HEADER..ENHANCED_PACKET_HEADER + data.len();
    if dst.len() < enhanced_packet_len(data.len(), flags.is_some()) {
        return 0;
    }
    dst[body].copy_from_slice(data);
    write_around_packet(dst, interface, timestamp, orig_len, flags, data.len())
}

/// Like [`write_enhanced_packet`], for a caller that has put the `caplen` bytes of the packet into place itself, at
/// [`ENHANCED_PACKET_HEADER`]: writes everything around them.
#[inline]
pub fn write_around_packet(
    dst: &mut [u8],
    interface: u32,
    timestamp: Timestamp,
    orig_len: u32,
    flags: Option<u32>,
    caplen: usize,
) -> usize {
    let total = enhanced_packet_len(caplen, flags.is_some());
    let Ok(total_u32) = u32::try_from(total) else { return 0 };
    let Some(block) = dst.get_mut(..total) else { return 0 };
    // Pieces of fixed size: their lengths are compared once, and none of the stores is checked.
    let Some((header, rest)) = block.split_first_chunk_mut::<ENHANCED_PACKET_HEADER>() else { return 0 };
    put(header, 0, ENHANCED_PACKET);
    put(header, 4, total_u32);
    put(header, 8, interface);
    put(header, 12, (timestamp.0 >> 32) as u32);
    put(header, 16, timestamp.0 as u32);
    // `caplen` is smaller than the block's length, which fits 32 bits.
    put(header, 20, caplen as u32);
    put(header, 24, orig_len);
    // At most 3 bytes of padding, zeroed with one store that reaches into what is written next. (Masking the word in
    // place would have to wait for the packet's bytes to arrive in the cache.)
    put(rest, caplen, 0);
    match flags {
        Some(flags) => {
            let Some(tail) = rest.last_chunk_mut::<{ FLAGS_OPTIONS + 4 }>() else { return 0 };
            put(tail, 0, u32::from(option::EPB_FLAGS) | 4 << 16);
            put(tail, 4, flags);
            put(tail, 8, u32::from(option::END));
            put(tail, FLAGS_OPTIONS, total_u32);
        }
        None => {
            let Some(tail) = rest.last_chunk_mut::<4>() else { return 0 };
            put(tail, 0, total_u32);
        }
    }
    total
}

/// The `epb_flags` word (draft section 4.3.1): direction and reception type from `packet_type`, then bit 9
/// "checksum not ready" (`TP_STATUS_CSUMNOTREADY`), bit 10 "checksum valid" (`TP_STATUS_CSUM_VALID`) and bit 11
/// "TCP segmentation offloaded" (`TP_STATUS_GSO_TCP`).
#[inline]
#[must_use]
pub fn epb_flags(packet_type: PacketType, checksum_not_ready: bool, checksum_valid: bool, gso: bool) -> u32 {
    let direction_and_reception = match packet_type {
        PacketType::Host => INBOUND | UNICAST << 2,
        PacketType::Multicast => INBOUND | MULTICAST << 2,
        PacketType::Broadcast => INBOUND | BROADCAST << 2,
        PacketType::OtherHost => INBOUND | PROMISCUOUS << 2,
        PacketType::Outgoing => OUTBOUND,
    };
    direction_and_reception
        | u32::from(checksum_not_ready) << 9
        | u32::from(checksum_valid) << 10
        | u32::from(gso) << 11
}

/// The packet type that an `epb_flags` word tells, the inverse of [`epb_flags`]. A word that tells nothing (0)
/// reads as [`PacketType::Host`], the default.
#[inline]
#[must_use]
pub fn packet_type(flags: u32) -> PacketType {
    match (flags & 3, flags >> 2 & 7) {
        (OUTBOUND, _) => PacketType::Outgoing,
        (_, MULTICAST) => PacketType::Multicast,
        (_, BROADCAST) => PacketType::Broadcast,
        (_, PROMISCUOUS) => PacketType::OtherHost,
        _ => PacketType::Host,
    }
}

/// Covers all of `dst` with filler blocks of type [`LOCAL`] and zeroed body, which every reader steps over; no
/// block is longer than [`MAX_FILLER`].
///
/// The length of `dst` must be a multiple of 4 and at least [`MIN_BLOCK`]; an empty `dst` is left alone. Any
/// other length cannot be a run of blocks: `dst` is then zeroed (and a debug build asserts).
pub fn write_filler(dst: &mut [u8]) {
    dst.fill(0);
    if dst.is_empty() {
        return;
    }
    debug_assert!(dst.len() >= MIN_BLOCK && dst.len().is_multiple_of(4), "filler of {} bytes", dst.len());
    if dst.len() < MIN_BLOCK || !dst.len().is_multiple_of(4) {
        return;
    }
    let mut rest = dst;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at_mut(filler_piece(rest.len() as u64) as usize);
        write_filler_frame(piece);
        rest = after;
    }
}

/// The length of the first filler block in a stretch of `rest` bytes (a multiple of 4, at least [`MIN_BLOCK`]):
/// what follows it is empty or again long enough for a block.
#[must_use]
pub fn filler_piece(rest: u64) -> u64 {
    let piece = rest.min(MAX_FILLER as u64);
    if rest - piece != 0 && rest - piece < MIN_BLOCK as u64 { piece - MIN_BLOCK as u64 } else { piece }
}

/// Type and lengths of one filler block that is all of `piece`; the body is the caller's.
fn write_filler_frame(piece: &mut [u8]) {
    let total = piece.len();
    put(piece, 0, LOCAL);
    // At most MAX_FILLER.
    put(piece, 4, total as u32);
    put(piece, total - 4, total as u32);
}

#[inline]
fn put(dst: &mut [u8], at: usize, value: u32) {
    dst[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// `epb_flags` (4 + 4 bytes) and the end of options.
const FLAGS_OPTIONS: usize = 12;

const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;
const UNICAST: u32 = 1;
const MULTICAST: u32 = 2;
const BROADCAST: u32 = 3;
const PROMISCUOUS: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enhanced_packet_bytes() {
        let mut dst = [0xaa; 64];
        let n = write_enhanced_packet(
            &mut dst,
            3,
            Timestamp(0x0102_0304_0506_0708),
            99,
            Some(epb_flags(PacketType::Outgoing, true, false, false)),
            b"hello",
        );
        assert_eq!(n, 52);
        assert_eq!(n, enhanced_packet_len(5, true));
        #[rustfmt::skip]
        let expected = [
            6, 0, 0, 0, 52, 0, 0, 0, 3, 0, 0, 0, 4, 3, 2, 1, 8, 7, 6, 5, 5, 0, 0, 0, 99, 0, 0, 0,
            b'h', b'e', b'l', b'l', b'o', 0, 0, 0, 2, 0, 4, 0, 2, 2, 0, 0, 0, 0, 0, 0, 52, 0, 0, 0,
        ];
        assert_eq!(dst[..n], expected);
        assert!(dst[n..].iter().all(|&b| b == 0xaa));
    }

    #[test]
    fn enhanced_packet_needs_its_room() {
        let mut dst = [0xaa; 35];
        assert_eq!(enhanced_packet_len(1, false), 36);
        assert_eq!(write_enhanced_packet(&mut dst, 0, Timestamp(0), 1, None, b"x"), 0);
        assert_eq!(dst, [0xaa; 35]);
        assert_eq!(enhanced_packet_len(0, false), 32);
        assert_eq!(write_enhanced_packet(&mut dst, 0, Timestamp(0), 1, None, b""), 32);
    }

    #[test]
    fn packet_types_survive_the_flags() {
        for kernel in 0..=4 {
            let wanted = PacketType::from_kernel(kernel);
            assert_eq!(packet_type(epb_flags(wanted, true, true, true)), wanted);
        }
        assert_eq!(epb_flags(PacketType::Host, false, true, true), 0b1100_0000_0101);
        assert_eq!(packet_type(0), PacketType::Host);
    }

    #[test]
    fn fillers_cover_every_length() {
        let walk = |bytes: &[u8]| {
            let mut at = 0;
            while at < bytes.len() {
                let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
                let total = word(at + 4) as usize;
                assert!((MIN_BLOCK..=MAX_FILLER).contains(&total) && total.is_multiple_of(4));
                assert_eq!((word(at), word(at + total - 4) as usize), (LOCAL, total));
                assert!(bytes[at + 8..at + total - 4].iter().all(|&b| b == 0));
                at += total;
            }
            assert_eq!(at, bytes.len());
        };
        for len in (12..200).step_by(4).chain((MAX_FILLER - 12..MAX_FILLER + 32).step_by(4)) {
            let mut dst = vec![0xee; len];
            write_filler(&mut dst);
            walk(&dst);
        }
        write_filler(&mut []);
    }
}
