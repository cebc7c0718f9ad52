//! Where one direction of a flow stands.

use gannet_packet::Timestamp;

use crate::hold::HoldId;
use crate::rtt::RoundTrip;
use crate::sequence::Recent;

/// One direction of a flow: the state between two segments, apart from held bytes and what is rare.
///
/// Sequence numbers are 32 bits and wrap; offsets are 64 bits, count from the first byte behind the SYN (or the first
/// byte seen) and do not. They are tied by `base + next`: every sequence number is taken as the offset within 2 GiB
/// of the next byte.
///
/// ```text
///   offset 0            next            acked (by the peer; may be behind or ahead of next)
///   ┌───────────────────┬───────────────┬────────────┬ ─ ─ ─
///   │ delivered or gap  │ hole          │ held piece │ hole
///   └───────────────────┴───────────────┴────────────┴ ─ ─ ─
/// ```
///
/// As long as a line of the cache, in which its entry lets it lie. A million of these stand in a table, so what
/// rarely grows large is kept small here and goes on elsewhere: see the carries.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub(crate) struct Stream {
    /// Offset of the next byte for the handler. Set by [`advance`](Self::advance).
    pub(crate) next: u64,
    /// Sequence number of offset 0.
    pub(crate) base: u32,
    /// Sequence number up to which the peer has acknowledged; counts a FIN like a byte. Never more than 1 GiB behind
    /// `next`, so that it is not taken for one ahead.
    acked: u32,
    /// What waits, and what is known beyond `next`.
    pub(crate) hold: Option<HoldId>,
    /// The time of its newest segment.
    pub(crate) newest: Newest,
    /// Its last segments, to know copies by.
    pub(crate) recent: Recent,
    /// Segments, modulo 2^32; the carry is with what is rare.
    pub(crate) packets: u32,
    /// Payload bytes on the wire, likewise.
    pub(crate) bytes: u32,
    /// From its data to the acknowledgement.
    pub(crate) round_trip: RoundTrip,
    /// The largest window that the peer has announced for this stream, in units of 16 KiB.
    window: u16,
    /// How sure `base` is.
    pub(crate) start: Start,
    /// [`bits`].
    bits: u8,
}

/// How sure the start of a stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Start {
    /// Nothing is known.
    #[default]
    Unknown,
    /// What the peer acknowledged when it was first seen: bytes a little before may still come, captured late.
    Provisional,
    /// A SYN, or bytes that were delivered.
    Known,
}

/// What [`Stream::bits`] consists of.
mod bits {
    /// The sender's SYN was seen.
    pub(super) const SYN: u8 = 1 << 0;
    /// The FIN has been reached; `next` is the length of the stream.
    pub(super) const ENDED: u8 = 1 << 1;
    /// Shift of the windows that the sender announces, plus one; 0 if it is not known.
    pub(super) const SCALE_SHIFT: u8 = 4;
}

impl Stream {
    /// The offset of a sequence number; negative before the start.
    #[inline]
    pub(crate) fn offset(&self, sequence: u32) -> i64 {
        let distance = sequence.wrapping_sub(self.next_sequence()) as i32;
        // `next` grows by bytes that were on a wire: 2^63 of them take 200 years at 10 Tbit/s.
        self.next as i64 + i64::from(distance)
    }

    /// The sequence number of the next byte.
    #[inline]
    pub(crate) fn next_sequence(&self) -> u32 {
        self.base.wrapping_add(self.next as u32)
    }

    /// Offset up to which the peer has acknowledged; 0 if it has not.
    #[inline]
    pub(crate) fn acked(&self) -> u64 {
        self.offset(self.acked).max(0) as u64
    }

    /// Everything before `next` is settled, and with it the start of the stream.
    #[inline]
    pub(crate) fn advance(&mut self, next: u64) {
        let acked = self.offset(self.acked);
        self.next = next;
        self.start = Start::Known;
        if next as i64 - acked > REACH_UNKNOWN {
            self.acked = self.next_sequence().wrapping_sub(REACH_UNKNOWN as u32);
        }
    }

    /// Whether the sender's SYN was seen.
    #[inline]
    pub(crate) fn syn(&self) -> bool {
        self.bits & bits::SYN != 0
    }

    pub(crate) fn set_syn(&mut self) {
        self.bits |= bits::SYN;
    }

    /// Whether the FIN has been reached; `next` is then the length of the stream.
    #[inline]
    pub(crate) fn ended(&self) -> bool {
        self.bits & bits::ENDED != 0
    }

    pub(crate) fn set_ended(&mut self) {
        self.bits |= bits::ENDED;
    }

    /// Shift of the windows that the sender of this stream announces.
    #[inline]
    pub(crate) fn scale(&self) -> Option<u8> {
        (self.bits >> bits::SCALE_SHIFT).checked_sub(1)
    }

    /// Sets the shift, which is at most 14.
    pub(crate) fn set_scale(&mut self, shift: Option<u8>) {
        let kept = self.bits & ((1 << bits::SCALE_SHIFT) - 1);
        self.bits = kept | shift.map_or(0, |shift| shift.min(14) + 1) << bits::SCALE_SHIFT;
    }

    /// The largest window that the peer has announced, in bytes; rounded up.
    #[inline]
    pub(crate) fn window(&self) -> u32 {
        u32::from(self.window) << WINDOW_SHIFT
    }

    /// Takes note of a window that the peer announces.
    #[inline]
    pub(crate) fn raise_window(&mut self, bytes: u32) {
        let units = bytes.div_ceil(1 << WINDOW_SHIFT);
        self.window = self.window.max(units.min(u32::from(u16::MAX)) as u16);
    }

    /// In the midst of its bytes, without a hole: its start is known, its end is not.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.start == Start::Known && self.bits & bits::ENDED == 0 && self.hold.is_none()
    }

    /// Takes note that the peer has received what is before `sequence`; `highest` is what is known of the stream.
    /// Returns the offset, 0 before the start.
    #[inline]
    pub(crate) fn acknowledge(&mut self, sequence: u32, highest: u64) -> u64 {
        let offset = self.offset(sequence);
        if offset > self.offset(self.acked) && offset <= highest as i64 + REACH_UNKNOWN {
            self.acked = sequence;
        }
        offset.max(0) as u64
    }

    /// How many bytes before the next one are not acknowledged; negative if the peer has acknowledged more.
    #[inline]
    pub(crate) fn unacknowledged(&self) -> i32 {
        self.next_sequence().wrapping_sub(self.acked) as i32
    }

    /// [`acknowledge`](Self::acknowledge) of a stream without holes, for numbers at most `reach` ahead, which is 1 GiB
    /// or less. `None` for others; nothing has been done then.
    #[inline(always)]
    pub(crate) fn acknowledge_near(&mut self, sequence: u32, reach: i32) -> Option<u64> {
        let distance = sequence.wrapping_sub(self.next_sequence()) as i32;
        if distance > reach {
            return None;
        }
        if sequence.wrapping_sub(self.acked) as i32 > 0 && distance > -(REACH_UNKNOWN as i32) {
            self.acked = sequence;
        }
        Some((self.next as i64 + i64::from(distance)).max(0) as u64)
    }

    /// [`advance`](Self::advance) of a stream whose start is known, by the bytes of a segment.
    #[inline]
    pub(crate) fn advance_by(&mut self, len: u32) {
        let behind = i64::from(self.unacknowledged()) + i64::from(len);
        self.next += u64::from(len);
        if behind > REACH_UNKNOWN {
            self.acked = self.next_sequence().wrapping_sub(REACH_UNKNOWN as u32);
        }
    }

    /// Lets the stream begin at `sequence`.
    pub(crate) fn begin(&mut self, sequence: u32, start: Start) {
        self.base = sequence;
        self.acked = sequence;
        self.start = start;
    }
}

/// A time in half the space of one: units of 256 ns, the last bit set to tell it from none. Half of its range is 9
/// minutes, which is why the exact time of the flow is asked first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Newest(u32);

impl Newest {
    /// Whether `time` lies before it; `last_seen` is the newest time of both directions.
    #[inline]
    pub(crate) fn is_after(self, time: Timestamp, last_seen: Timestamp) -> bool {
        time < last_seen && self.0 != 0 && Self::since(self, time) < 0
    }

    /// Takes note of a segment; `last_seen` is the newest time of both directions before it.
    #[inline]
    pub(crate) fn raise(&mut self, time: Timestamp, last_seen: Timestamp) {
        if time >= last_seen || self.0 == 0 || self.since(time) > 0 {
            self.0 = Self::clock(time);
        }
    }

    fn since(self, time: Timestamp) -> i32 {
        Self::clock(time).wrapping_sub(self.0) as i32
    }

    fn clock(time: Timestamp) -> u32 {
        (time.0 >> 8) as u32 | 1
    }
}

/// The window assumed when the handshake was not seen: the largest there is (RFC 7323: 65535 << 14).
pub(crate) const REACH_UNKNOWN: i64 = 1 << 30;
/// Windows are kept in 16 bits, rounded up: they only say how far a stream may plausibly jump.
const WINDOW_SHIFT: u32 = 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_time_is_compared_across_its_wrap() {
        let mut newest = Newest::default();
        let s = |s: u64| Timestamp(1_700_000_000_000_000_000 + s * 1_000_000_000);
        let before = |time: Timestamp| Timestamp(time.0 - 1_000);
        assert!(!newest.is_after(s(0), s(1)), "none yet");
        let mut last_seen = s(0);
        // Any pause, longer than its range, too.
        for second in [0, 1, 500, 1_100, 5_000, 6_099] {
            newest.raise(s(second), last_seen);
            last_seen = s(second);
            assert!(newest.is_after(before(last_seen), last_seen) && !newest.is_after(last_seen, last_seen));
            newest.raise(before(last_seen), last_seen);
            assert!(newest.is_after(before(last_seen), last_seen), "it does not go back");
        }
        let other_direction = s(6_200);
        assert!(!newest.is_after(s(6_150), other_direction));
        newest.raise(s(6_150), other_direction);
        assert!(newest.is_after(s(6_149), other_direction));
    }

    #[test]
    fn offsets_go_on_where_sequence_numbers_wrap() {
        let mut stream = Stream::default();
        stream.begin(u32::MAX - 9, Start::Known);
        assert_eq!(stream.offset(u32::MAX - 9), 0);
        assert_eq!(stream.offset(u32::MAX - 10), -1);
        assert_eq!(stream.offset(5), 15);
        stream.advance(15);
        assert_eq!(stream.offset(u32::MAX - 9), 0);
        stream.advance((1 << 32) + 15);
        assert_eq!(stream.next_sequence(), 5);
        assert_eq!(stream.offset(4), (1 << 32) + 14);
        assert_eq!(stream.offset(5_u32.wrapping_sub(1 << 31)), (1 << 32) + 15 - (1 << 31));
    }

    #[test]
    fn an_acknowledgement_long_past_is_never_one_ahead() {
        let mut stream = Stream::default();
        stream.begin(77, Start::Known);
        assert_eq!(stream.acknowledge(87, 10), 10);
        for step in 1..40_u64 {
            stream.advance(step << 29);
            assert!(stream.acked() <= stream.next, "{step}");
        }
        assert_eq!(stream.acked(), stream.next - (1 << 30));
        let end = stream.next_sequence();
        stream.acknowledge(end, stream.next);
        assert_eq!(stream.acked(), stream.next);
    }

    #[test]
    fn bits_do_not_touch_one_another() {
        let mut stream = Stream::default();
        assert_eq!((stream.scale(), stream.syn(), stream.ended()), (None, false, false));
        for shift in (0..=14).chain([255]) {
            stream.set_scale(Some(shift));
            assert_eq!(stream.scale(), Some(shift.min(14)));
        }
        stream.set_syn();
        stream.set_ended();
        assert_eq!((stream.scale(), stream.syn(), stream.ended()), (Some(14), true, true));
        stream.set_scale(None);
        assert_eq!((stream.scale(), stream.syn(), stream.ended()), (None, true, true));
        stream.raise_window(1);
        assert_eq!(stream.window(), 16 << 10);
        stream.raise_window(65_535 << 14);
        stream.raise_window(100_000);
        assert_eq!(stream.window(), 65_535 << 14);
    }
}
