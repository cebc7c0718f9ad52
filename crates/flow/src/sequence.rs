//! What a TCP header says beyond its fields: options, and which segments are copies of one packet.

use gannet_packet::{TcpFlags, Timestamp};

use crate::Segment;

/// The shift of the window scale option (RFC 7323, section 2.2), if there is one.
///
/// "If a Window Scale option is received with a shift.cnt value larger than 14, the TCP SHOULD log the error but MUST
/// use 14 instead of the specified value."
pub(crate) fn window_scale(options: &[u8]) -> Option<u8> {
    find(options, kind::WINDOW_SCALE).and_then(|value| value.first()).map(|&shift| shift.min(14))
}

/// The value of the first option of `wanted` kind. What is broken ends the search.
fn find(options: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = options;
    loop {
        match *rest {
            [] | [kind::END, ..] => return None,
            [kind::NOTHING, ..] => rest = &rest[1..],
            [kind, len, ..] => {
                let option = rest.get(2..usize::from(len))?;
                if kind == wanted {
                    return Some(option);
                }
                rest = rest.get(usize::from(len)..)?;
            }
            [_] => return None,
        }
    }
}

/// Option kinds (RFC 9293, section 3.2; RFC 7323).
mod kind {
    pub(super) const END: u8 = 0;
    pub(super) const NOTHING: u8 = 1;
    pub(super) const WINDOW_SCALE: u8 = 3;
    pub(super) const TIMESTAMPS: u8 = 8;
}

/// What tells a packet from all others of its stream: the upper 24 bits of a word, never 0, made of
/// its header, its options and its length.
///
/// `None` where nothing would tell a copy from a second transmission: that needs an identification in the IPv4
/// header, or a time in the options.
#[inline(always)]
pub(crate) fn mark(segment: &Segment<'_>) -> Option<u32> {
    if segment.ip_id == 0 && find(segment.options, kind::TIMESTAMPS).is_none() {
        return None;
    }
    let tcp = &segment.tcp;
    let numbers = u64::from(tcp.sequence) << 32 | u64::from(tcp.acknowledgement);
    let rest = u64::from(segment.ip_id) << 48
        | u64::from(tcp.window) << 32
        | u64::from(tcp.flags.0) << 24
        | u64::from(segment.wire_len & 0xff_ffff);
    let mut sum = fold(numbers ^ K0, rest ^ K1);
    let (words, tail) = segment.options.as_chunks::<8>();
    for word in words {
        sum = fold(sum ^ u64::from_ne_bytes(*word), K1);
    }
    // A header is a number of 4-byte words.
    if let Some(half) = tail.first_chunk() {
        sum = fold(sum ^ u64::from(u32::from_ne_bytes(*half)), K1);
    }
    Some(sum as u32 | 1 << CLOCK_BITS)
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

// Digits of the fraction of pi, as in the flow key's hash; nobody gains from a collision here but a miscounted copy.
const K0: u64 = 0x243f_6a88_85a3_08d3;
const K1: u64 = 0x1319_8a2e_0370_7345;

/// The marks of the last segments of a stream, with their times, the newest first.
///
/// Four, because the copies that bridges, `any` and mirror ports make are a handful of packets apart; more would
/// be more to keep in every idle flow. Each is 24 bits of the mark and 8 of the time: what is taken for a copy wrongly
/// has been seen before all the same (the table asks), so that nothing is lost but a count.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Recent([u32; LEN]);

const LEN: usize = 4;

impl Recent {
    /// Whether a segment with this mark was seen within the last 100 ms.
    #[inline]
    pub(crate) fn contains(&self, mark: u32, time: Timestamp) -> bool {
        let now = clock(time);
        self.0.iter().any(|&seen| {
            (seen ^ mark) >> CLOCK_BITS == 0
                && (now.wrapping_sub(seen as u8) as i8).unsigned_abs() <= COPIES_WITHIN
        })
    }

    /// Remembers a segment in place of the oldest.
    #[inline]
    pub(crate) fn push(&mut self, mark: u32, time: Timestamp) {
        let [first, second, third, _] = self.0;
        let newest = mark & !((1 << CLOCK_BITS) - 1) | u32::from(clock(time));
        self.0 = [newest, first, second, third];
    }
}

/// Time in units of 2^23 ns, about 8 ms. Wraps after 2 s: a mark that old would have to be equal, too.
#[inline]
fn clock(time: Timestamp) -> u8 {
    (time.0 >> 23) as u8
}

const CLOCK_BITS: u32 = 8;

/// 100 ms in the units of [`clock`]. A retransmission timer is at least 200 ms on Linux, and its segment has another
/// IP identification or time anyhow.
const COPIES_WITHIN: u8 = 12;

/// Whether all of `flags` are set.
#[inline]
pub(crate) fn has(segment: &Segment<'_>, flags: TcpFlags) -> bool {
    segment.tcp.flags.contains(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_searched_as_far_as_they_are_sound() {
        assert_eq!(window_scale(&[1, 3, 3, 7]), Some(7));
        assert_eq!(window_scale(&[2, 4, 5, 0xb4, 1, 1, 3, 3, 15]), Some(14));
        assert_eq!(window_scale(&[0, 3, 3, 7]), None, "behind the end");
        assert_eq!(window_scale(&[2, 0, 3, 3, 7]), None, "a length of 0 leads nowhere");
        assert_eq!(window_scale(&[2, 1, 3, 3, 7]), None);
        assert_eq!(window_scale(&[2, 40, 3, 3, 7]), None);
        for len in 0..3 {
            assert_eq!(window_scale(&[3, 3, 7][..len]), None);
        }
    }

    #[test]
    fn a_mark_lasts_for_four_segments_and_a_tenth_of_a_second() {
        let mut recent = Recent::default();
        let ms = |ms: u64| Timestamp(1_700_000_000_000_000_000 + ms * 1_000_000);
        let mark = |number: u32| number << CLOCK_BITS;
        recent.push(mark(77), ms(0));
        assert!(recent.contains(mark(77), ms(0)) && recent.contains(mark(77), ms(99)));
        assert!(!recent.contains(mark(77), ms(112)) && !recent.contains(mark(78), ms(0)));
        for other in 0..3 {
            recent.push(mark(100 + other), ms(1));
            assert!(recent.contains(mark(77), ms(1)));
        }
        recent.push(mark(200), ms(1));
        assert!(!recent.contains(mark(77), ms(1)) && recent.contains(mark(100), ms(1)));
    }
}
