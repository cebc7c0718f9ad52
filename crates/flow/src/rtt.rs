//! How long data takes to be acknowledged.

use gannet_packet::Timestamp;

/// From data to its acknowledgement at the capture point, the shortest so far: the way to the receiver and back.
///
/// A receiver may wait with an acknowledgement: up to 500 ms (RFC 9293, section 3.8.6.3), in practice 40, or until it
/// has something to say, which is then its answer. So what is longer than the shortest time says more of the receiver
/// than of the way, and a mean (RFC 6298) would have the time of the server in it.
///
/// One segment is timed at once, as in the classical implementations: about one measurement for each round trip.
/// "RTT samples MUST NOT be made using segments that were retransmitted" (section 3, Karn's algorithm): whoever sees
/// bytes again, or late, calls [`forget`](Self::forget).
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct RoundTrip {
    /// In units; 0 if there is none.
    shortest: u32,
    /// Sequence number behind the segment that is timed.
    end: u32,
    /// When it was seen; 0 while none is timed.
    at: u32,
}

impl RoundTrip {
    /// Data up to `end` has been sent for the first time; nobody has acknowledged it.
    #[inline]
    pub(crate) fn sent(&mut self, end: u32, time: Timestamp) {
        if self.at == 0 {
            self.at = clock(time);
            self.end = end;
        }
    }

    /// What is before `sequence` has been acknowledged.
    #[inline]
    pub(crate) fn acknowledged(&mut self, sequence: u32, time: Timestamp) {
        if self.at != 0 && sequence.wrapping_sub(self.end) as i32 >= 0 {
            self.sample(clock(time).wrapping_sub(self.at) as i32);
        }
    }

    /// The segment that is timed may have been sent twice.
    pub(crate) fn forget(&mut self) {
        self.at = 0;
    }

    /// The shortest time in nanoseconds, to some 256 of them.
    pub(crate) fn shortest_ns(self) -> Option<u64> {
        (self.shortest != 0).then(|| u64::from(self.shortest) << UNIT_SHIFT)
    }

    fn sample(&mut self, units: i32) {
        self.at = 0;
        // Times run backwards where two taps are merged: no measurement.
        let Ok(units) = u32::try_from(units) else { return };
        let sample = units.max(1);
        self.shortest = if self.shortest == 0 { sample } else { self.shortest.min(sample) };
    }
}

/// Never 0. Half of its range is 9 minutes; whoever takes longer to acknowledge is taken for faster.
#[inline]
fn clock(time: Timestamp) -> u32 {
    (time.0 >> UNIT_SHIFT) as u32 | 1
}

/// Units of 256 ns.
const UNIT_SHIFT: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const START_NS: u64 = 1_700_000_000_000_000_000;

    fn at(us: u64) -> Timestamp {
        Timestamp(START_NS + us * 1_000)
    }

    fn near(round_trip: RoundTrip, us: u64) {
        let ns = round_trip.shortest_ns().unwrap();
        assert!(ns.abs_diff(us * 1_000) < 1_000, "{ns} ns for {us} us");
    }

    #[test]
    fn the_shortest_time_counts() {
        let mut round_trip = RoundTrip::default();
        assert_eq!(round_trip.shortest_ns(), None);
        round_trip.sent(u32::MAX, at(0));
        round_trip.sent(500, at(900));
        round_trip.acknowledged(u32::MAX - 1, at(950));
        assert_eq!(round_trip.shortest_ns(), None, "not yet acknowledged");
        round_trip.acknowledged(3, at(1_000));
        near(round_trip, 1_000);
        round_trip.acknowledged(500, at(5_000));
        near(round_trip, 1_000);
        round_trip.sent(600, at(6_000));
        // Acknowledged with the answer.
        round_trip.acknowledged(600, at(15_000));
        near(round_trip, 1_000);
        round_trip.sent(700, at(16_000));
        round_trip.acknowledged(700, at(16_400));
        near(round_trip, 400);
    }

    #[test]
    fn what_was_sent_again_is_not_measured() {
        let mut round_trip = RoundTrip::default();
        round_trip.sent(10, at(0));
        round_trip.forget();
        round_trip.acknowledged(10, at(1_000));
        assert_eq!(round_trip.shortest_ns(), None);
        round_trip.sent(20, at(2_000));
        round_trip.acknowledged(20, at(1_000));
        assert_eq!(round_trip.shortest_ns(), None, "before it was sent");
    }

    #[test]
    fn long_times_stay_within_the_field() {
        let mut round_trip = RoundTrip::default();
        for turn in 0..50 {
            round_trip.sent(turn, at(0));
            round_trip.acknowledged(turn, at(400_000_000));
        }
        assert!(round_trip.shortest_ns().unwrap() > 100_000_000_000);
    }
}
