//! Times and durations as text.

use std::cell::Cell;
use std::fmt;

use gannet_packet::Timestamp;
use jiff::tz::Offset;
use serde::{Serialize, Serializer};

use crate::decimal;
use crate::json::Plain;
use crate::text::write_rounded;

/// A time as RFC 3339 has it, in UTC, with nine digits.
pub(crate) struct Rfc3339(pub Timestamp);

impl Rfc3339 {
    #[inline]
    pub(crate) fn text(&self) -> [u8; 30] {
        let nanos = self.0.subsec_nanos();
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        text[0..19].copy_from_slice(&second(self.0.secs()));
        text[20] = b'0' + (nanos / 100_000_000) as u8;
        text[21..29].copy_from_slice(&decimal::all((nanos % 100_000_000).into()));
        text
    }
}

/// Date and time of a second since 1970. Records come by the thousand from the same one.
#[inline]
fn second(secs: u64) -> [u8; 19] {
    let (known, text) = LAST.get();
    if known == secs { text } else { other_second(secs) }
}

thread_local! {
    static LAST: Cell<(u64, [u8; 19])> = const { Cell::new((0, *b"1970-01-01T00:00:00")) };
}

#[cold]
#[inline(never)]
fn other_second(secs: u64) -> [u8; 19] {
    let (day, second) = (secs / DAY_SECS, (secs % DAY_SECS) as u32);
    let mut text = *b"0000-00-00T00:00:00";
    text[0..10].copy_from_slice(&date(day));
    put(&mut text[11..13], second / 3_600);
    put(&mut text[14..16], second / 60 % 60);
    put(&mut text[17..19], second % 60);
    LAST.set((secs, text));
    text
}

/// The date of a day since 1970.
fn date(day: u64) -> [u8; 10] {
    let secs = i64::try_from(day * DAY_SECS).unwrap_or(i64::MAX);
    // 2554 is the last year of a `Timestamp`, 9999 jiff's.
    let time = jiff::Timestamp::from_second(secs).unwrap_or(jiff::Timestamp::MAX);
    let civil = Offset::UTC.to_datetime(time);
    let mut text = *b"0000-00-00";
    put(&mut text[0..4], civil.year().unsigned_abs().into());
    put(&mut text[5..7], civil.month().unsigned_abs().into());
    put(&mut text[8..10], civil.day().unsigned_abs().into());
    text
}

/// Leap seconds are in no timestamp.
const DAY_SECS: u64 = 86_400;

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Plain(&self.text()).serialize(serializer)
    }
}

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(str::from_utf8(&self.text()).unwrap_or_default())
    }
}

/// A duration for people, of at most seven characters: `412 ns`, `1.3 ms`, `42 s`, `7.5 min`, `3.2 h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShortDuration {
    /// In nanoseconds.
    pub nanos: u64,
}

impl fmt::Display for ShortDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text);
        f.pad(&text)
    }
}

impl ShortDuration {
    /// Appends it to `out`: the same as `Display`, in a tenth of the time.
    pub fn write(self, out: &mut String) {
        match UNITS.iter().find(|(_, _, below)| self.nanos < *below) {
            Some((unit_nanos, unit, _)) => {
                write_rounded(self.nanos, *unit_nanos, out);
                out.push(' ');
                out.push_str(unit);
            }
            None => {
                decimal::write(self.nanos / 3_600_000_000_000, out);
                out.push_str(" h");
            }
        }
    }
}

/// Nanoseconds of a unit, its name, and below how many nanoseconds it is used: the next one begins where this one would
/// round up to it.
const UNITS: [(u64, &str, u64); 6] = [
    (1, "ns", 1_000),
    (1_000, "µs", 999_500),
    (1_000_000, "ms", 999_500_000),
    (1_000_000_000, "s", 99_500_000_000),
    (60_000_000_000, "min", 59 * 60_000_000_000 + 30_000_000_000),
    (3_600_000_000_000, "h", 100 * 3_600_000_000_000),
];

/// `value` in decimal, filled up with zeros on the left.
pub(crate) fn put(out: &mut [u8], mut value: u32) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_durations() {
        for (nanos, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.0 µs"),
            (9_949, "9.9 µs"),
            (9_950, "10 µs"),
            (412_400, "412 µs"),
            (999_499, "999 µs"),
            (999_500, "1.0 ms"),
            (1_340_000, "1.3 ms"),
            (2_100_000_000, "2.1 s"),
            (42_000_000_000, "42 s"),
            (99_500_000_000, "1.7 min"),
            (3_600_000_000_000, "1.0 h"),
            (u64::MAX, "5124095 h"),
        ] {
            assert_eq!(ShortDuration { nanos }.to_string(), text);
        }
        assert_eq!(format!("{:>8}", ShortDuration { nanos: 1 }), "    1 ns");
    }

    proptest! {
        /// Against the formatting of floating-point numbers.
        #[test]
        fn durations_are_rounded_as_numbers_are(nanos: u64, shift in 0..64_u32, step in 1..16_u32) {
            // Near what is half-way between two texts, too.
            let step: u64 = 10_u64.pow(step);
            let near: u64 = ((nanos >> shift) / step).saturating_mul(step / 2);
            for nanos in [nanos >> shift, near, near.saturating_sub(1), near.saturating_add(1)] {
                let text = match UNITS.iter().find(|(_, _, below)| nanos < *below) {
                    None => format!("{} h", nanos / 3_600_000_000_000),
                    Some((of, unit, _)) => {
                        let value = nanos as f64 / *of as f64;
                        if *of > 1 && value < 9.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
                    }
                };
                prop_assert_eq!(ShortDuration { nanos }.to_string(), text);
            }
        }

        /// Against jiff's own printer.
        #[test]
        fn times_are_rfc_3339(nanos: u64) {
            let printed = serde_json::to_string(&Rfc3339(Timestamp(nanos))).unwrap();
            let oracle = jiff::Timestamp::from_nanosecond(nanos.into()).unwrap();
            prop_assert_eq!(printed, format!("\"{oracle:.9}\""));
        }
    }
}
