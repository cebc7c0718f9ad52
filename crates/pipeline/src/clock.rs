//! What time it is by the clock that packets are stamped with, while none come.
//!
//! ```text
//!   stamps   ──●────────●──────●───────────────────────────►   may be a network card's clock, years from ours
//!              │        │      │ lag: in the ring, and until it was its turn
//!   ours     ──┼──┬─────┼───┬──┼───┬───────────────────────►   monotonic
//!                 taken     taken  taken
//! ```
//! No packet is taken before it was stamped: so the least that our clock was ahead of a stamp when its packet was
//! taken is at least the difference of the clocks, and what our clock says less that is never later than it is.
//! Packets at the end of a block that has filled are taken at once, so under load it is right to a millisecond; a few
//! packets a second make it right to within the shortest wait of the last of them. Where the kernel stamps, its time
//! can be asked for.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gannet_packet::Timestamp;

/// The two clocks, compared whenever packets are taken. What was compared long ago is forgotten: clocks drift, and
/// are set.
#[derive(Debug)]
pub(crate) struct StampClock {
    begun: Instant,
    /// The least lead of our clock, in ns, since `since`, and in the span before; `None` where there was no packet.
    least: [Option<i128>; 2],
    since: Instant,
}

impl StampClock {
    /// Nothing is known yet.
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self { begun: now, least: [None; 2], since: now }
    }

    /// Packets were taken at `now`, the newest of which was stamped `stamp`.
    pub(crate) fn compare(&mut self, stamp: Timestamp, now: Instant) {
        if now.duration_since(self.since) >= SPAN {
            self.least = [None, self.least[0]];
            self.since = now;
        }
        let lead = self.ours(now) - i128::from(stamp.0);
        self.least[0] = Some(self.least[0].map_or(lead, |least| least.min(lead)));
    }

    /// Packets are stamped by this machine: its time is compared as if a packet had been stamped and taken now.
    pub(crate) fn compare_to_machine(&mut self) {
        // In this order, so that the lead is never less than it is.
        let stamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.compare(Timestamp(u64::try_from(stamp.as_nanos()).unwrap_or(0)), Instant::now());
    }

    /// The time at `now`, or a little before; `None` as long as no packet has been seen.
    pub(crate) fn at(&self, now: Instant) -> Option<Timestamp> {
        let lead = self.least.into_iter().flatten().min()?;
        Some(Timestamp(u64::try_from(self.ours(now) - lead).unwrap_or(0)))
    }

    fn ours(&self, now: Instant) -> i128 {
        now.duration_since(self.begun).as_nanos() as i128
    }
}

/// A comparison counts for one to two of these. Longer, and a clock that is set back runs ahead for longer; shorter,
/// and few packets make for few comparisons. Clocks that drift by 100 millionths are 2 ms apart after both.
const SPAN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const MS: u64 = 1_000_000;

    #[test]
    fn the_least_lag_counts() {
        let mut clock = StampClock::new();
        let begun = clock.begun;
        let at = |ms| begun + Duration::from_millis(ms);
        assert_eq!(clock.at(at(5)), None);
        // Stamps are of another clock; the packets took 80, 3 and 50 ms.
        let stamp = |ms: u64| Timestamp(1_000 * SECOND + ms * MS);
        clock.compare(stamp(20), at(100));
        assert_eq!(clock.at(at(100)), Some(stamp(20)));
        clock.compare(stamp(197), at(200));
        clock.compare(stamp(250), at(300));
        assert_eq!(clock.at(at(400)), Some(stamp(397)));
        // It goes on while nothing comes.
        assert_eq!(clock.at(at(60_000)), Some(stamp(59_997)));
    }

    #[test]
    fn a_machine_that_stamps_knows_the_time() {
        let mut clock = StampClock::new();
        // A packet that waited for long.
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        clock.compare(Timestamp(now() - SECOND), Instant::now());
        let before = now();
        clock.compare_to_machine();
        let time = clock.at(Instant::now()).unwrap().0;
        assert!(time >= before && time <= now(), "{time} from {before}");
    }

    #[test]
    fn a_clock_that_is_set_is_followed() {
        let mut clock = StampClock::new();
        let begun = clock.begun;
        let at = |ms| begun + Duration::from_millis(ms);
        let stamp = |ms: u64| Timestamp(1_000 * SECOND + ms * MS);
        clock.compare(stamp(0), at(0));
        // Set on by a minute: at once.
        clock.compare(stamp(61_000), at(1_000));
        assert_eq!(clock.at(at(2_000)), Some(stamp(62_000)));
        // Set back: once what was compared before has been forgotten.
        clock.compare(stamp(10_000), at(10_000));
        clock.compare(stamp(19_000), at(19_000));
        assert_eq!(clock.at(at(20_000)), Some(stamp(80_000)));
        clock.compare(stamp(20_000), at(20_000));
        assert_eq!(clock.at(at(20_000)), Some(stamp(20_000)));
        // Stamps from before the clock began are no reason to stop.
        let mut clock = StampClock::new();
        clock.compare(Timestamp(0), clock.begun + Duration::from_secs(5));
        assert_eq!(clock.at(clock.begun), Some(Timestamp(0)));
    }
}
