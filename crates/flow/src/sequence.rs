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

/// Whether there is a timestamps option: mostly where RFC 7323, appendix A, recommends it to be, behind two bytes that
/// are nothing.
#[inline]
fn has_times(options: &[u8]) -> bool {
    let usual = [kind::NOTHING, kind::NOTHING, kind::TIMESTAMPS, TIMESTAMPS_LEN];
    options.len() >= 12 && options.starts_with(&usual) || find(options, kind::TIMESTAMPS).is_some()
}

const TIMESTAMPS_LEN: u8 = 10;

/// Option kinds (RFC 9293, section 3.2; RFC 7323).
mod kind {
    pub(super) const END: u8 = 0;
    pub(super) const NOTHING: u8 = 1;
    pub(super) const WINDOW_SCALE: u8 = 3;
    pub(super) const TIMESTAMPS: u8 = 8;
}

/// What tells a packet from all others of its stream: a word, never 0, made of its header, its options and its length.
/// Of its bits the uppermost says whether it is good for a moment only ([`MOMENTARY`]), and the lowest make room for
/// the time ([`stamped`]): 8, or 15 of a momentary one. Those between tell packets apart: 22 of a mark that lasts, of
/// whose 23 the lowest is always set, so that none is taken for an empty place, and 16 of a momentary one.
///
/// It takes an identification in the IPv4 header, or a time in the options, to tell a copy from a second transmission.
/// Where there is neither, as over IPv6 between hosts of which one does without the option (Windows), and in a SYN+ACK
/// of Linux to such a host, the time between the two has to. `None` for what has nothing to send twice: equal
/// acknowledgements follow one another by right.
#[inline(always)]
pub(crate) fn mark(segment: &Segment<'_>) -> Option<u32> {
    if segment.ip_id == 0 && !has_times(segment.options) {
        return momentary_mark(segment);
    }
    Some(digest(segment))
}

#[cold]
fn momentary_mark(segment: &Segment<'_>) -> Option<u32> {
    let sends = segment.wire_len != 0 || segment.tcp.flags.0 & (TcpFlags::SYN.0 | TcpFlags::FIN.0) != 0;
    sends.then(|| digest(segment) | MOMENTARY)
}

/// All that is in a segment but its payload, in the bits of a mark that lasts.
#[inline(always)]
fn digest(segment: &Segment<'_>) -> u32 {
    let tcp = &segment.tcp;
    let numbers = u64::from(tcp.sequence) << 32 | u64::from(tcp.acknowledgement);
    let rest = u64::from(segment.ip_id) << 48
        | u64::from(tcp.window) << 32
        | u64::from(tcp.flags.0) << 24
        | u64::from(segment.wire_len & 0xff_ffff);
    let sum = add_options(fold(numbers ^ K0, rest ^ K1), segment.options);
    sum as u32 & !MOMENTARY | 1 << CLOCK_BITS
}

/// Mostly there are twelve bytes, which two words cover.
#[inline(always)]
fn add_options(sum: u64, options: &[u8]) -> u64 {
    match (options.first_chunk(), options.last_chunk()) {
        (Some(first), Some(last)) if options.len() <= 16 => {
            fold(sum ^ u64::from_ne_bytes(*first), K1 ^ u64::from_ne_bytes(*last))
        }
        _ => add_words(sum, options),
    }
}

#[inline(never)]
fn add_words(mut sum: u64, options: &[u8]) -> u64 {
    let (words, tail) = options.as_chunks::<8>();
    for word in words {
        sum = fold(sum ^ u64::from_ne_bytes(*word), K1);
    }
    // A header is a number of 4-byte words.
    if let Some(half) = tail.first_chunk() {
        sum = fold(sum ^ u64::from(u32::from_ne_bytes(*half)), K1);
    }
    sum
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
/// Four, because the copies that bridges, `any` and mirror ports make are a handful of packets apart; more would be
/// more to keep in every idle flow. Each is the upper bits of the mark and the time in the lower ones. What is taken
/// for a copy wrongly, which 22 bits make rare and the 16 of momentary marks less so, has been seen before all the same
/// (the table asks), so that nothing is lost but a count.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Recent([u32; LEN]);

const LEN: usize = 4;

impl Recent {
    /// Whether a segment with this mark was seen within the last 100 ms, or, if the mark is momentary, within the last
    /// millisecond: as the last one, or as any if the flow is known to be captured twice.
    #[inline(always)]
    pub(crate) fn contains(&self, mark: u32, time: Timestamp, is_doubled: impl FnOnce() -> bool) -> bool {
        if mark & MOMENTARY != 0 {
            return self.contains_momentary(mark, time, if is_doubled() { LEN } else { 1 });
        }
        let now = stamped(mark, time);
        self.0.iter().any(|&seen| is_within::<CLOCK_BITS>(COPIES_WITHIN, seen, now))
    }

    #[cold]
    fn contains_momentary(&self, mark: u32, time: Timestamp, among: usize) -> bool {
        let now = stamped(mark, time);
        self.0.iter().take(among).any(|&seen| is_within::<MOMENTARY_CLOCK_BITS>(MOMENT, seen, now))
    }

    /// Remembers a segment in place of the oldest.
    #[inline]
    pub(crate) fn push(&mut self, mark: u32, time: Timestamp) {
        let [first, second, third, _] = self.0;
        self.0 = [stamped(mark, time), first, second, third];
    }
}

/// A mark with the time in its lower bits.
///
/// That is in units of 2^23 ns, about 8 ms, which wraps after 2 s: a mark that old would have to be equal, too. Of
/// momentary marks, which are equal, in units of 2^17 ns, about 131 us, which wraps after 4.3 s: one retransmission in
/// 2000 would be taken for a copy if they came at any time.
#[inline(always)]
fn stamped(mark: u32, time: Timestamp) -> u32 {
    let (bits, clock) =
        if mark & MOMENTARY == 0 { (CLOCK_BITS, time.0 >> 23) } else { (MOMENTARY_CLOCK_BITS, time.0 >> 17) };
    let place = (1 << bits) - 1;
    mark & !place | clock as u32 & place
}

/// Whether two stamped marks are equal, and at most so many units of time apart.
#[inline(always)]
fn is_within<const BITS: u32>(units: u32, seen: u32, now: u32) -> bool {
    let above = u32::BITS - BITS;
    (seen ^ now) >> BITS == 0 && ((now.wrapping_sub(seen) << above) as i32).unsigned_abs() <= units << above
}

const CLOCK_BITS: u32 = 8;
const MOMENTARY_CLOCK_BITS: u32 = 15;

/// 100 ms in the units of [`stamped`]. A retransmission timer is at least 200 ms on Linux, and its segment has another
/// IP identification or time anyhow.
const COPIES_WITHIN: u32 = 12;

/// Of a mark: nothing in the packet tells a copy from what is sent again.
const MOMENTARY: u32 = 1 << 31;

/// 1 ms in the units of [`stamped`]: bridges, `any` and mirror ports are that fast. Sooner nobody sends again what was
/// sent last: a SYN waits for a second, a probe for the loss of the last segment for 2 ms and more (Linux: two ticks of
/// at least 1 ms), and quick retransmission for what comes behind the loss.
const MOMENT: u32 = 7;

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
    fn times_are_found_wherever_they_are() {
        let times = [8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
        for before in [&[][..], &[1], &[1, 1], &[2, 4, 5, 0xb4], &[1, 1, 1, 1]] {
            let options = [before, &times, &[1, 1]].concat();
            assert!(has_times(&options), "{before:?}");
            let end = before.len() + times.len();
            for len in 0..end {
                assert!(!has_times(&options[..len]), "{len} bytes of {options:?}");
            }
        }
        assert!(
            !has_times(&[1, 1, 5, 10, 1, 2, 3, 4, 5, 6, 7, 8])
                && !has_times(&[0, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 9])
        );
    }

    #[test]
    fn a_momentary_mark_lasts_for_a_millisecond() {
        let mut recent = Recent::default();
        let us = |us: u64| Timestamp(1_700_000_000_000_000_000 + us * 1_000);
        let mark = |number: u32| MOMENTARY | number << MOMENTARY_CLOCK_BITS;
        let contains = |recent: &Recent, at, doubled: bool| recent.contains(mark(77), us(at), || doubled);
        recent.push(mark(77), us(0));
        for at in [0, 100, 900] {
            assert!(contains(&recent, at, false) && contains(&recent, at, true), "{at}");
        }
        // Among them times of retransmission, and multiples of 2^22 ns, after which eight bits would begin anew.
        for at in (1_200..4_000_000).step_by(1_000) {
            assert!(!contains(&recent, at, true), "{at}");
        }
        assert!(!recent.contains(mark(77) & !MOMENTARY, us(0), || true));
        for other in 0..3 {
            recent.push(mark(100 + other), us(10));
            assert!(!contains(&recent, 20, false) && contains(&recent, 20, true));
        }
        recent.push(mark(200), us(10));
        assert!(!contains(&recent, 20, true));
    }

    #[test]
    fn a_mark_lasts_for_four_segments_and_a_tenth_of_a_second() {
        let mut recent = Recent::default();
        let ms = |ms: u64| Timestamp(1_700_000_000_000_000_000 + ms * 1_000_000);
        let mark = |number: u32| number << CLOCK_BITS;
        recent.push(mark(77), ms(0));
        let contains = |recent: &Recent, number, at| recent.contains(mark(number), ms(at), || false);
        assert!(contains(&recent, 77, 0) && contains(&recent, 77, 99));
        assert!(!contains(&recent, 77, 112) && !contains(&recent, 78, 0));
        for other in 0..3 {
            recent.push(mark(100 + other), ms(1));
            assert!(contains(&recent, 77, 1));
        }
        recent.push(mark(200), ms(1));
        assert!(!contains(&recent, 77, 1) && contains(&recent, 100, 1));
    }
}
