//! Numbers in decimal, eight digits at a time.
//!
//! Half of a record's numbers are times of nineteen digits. A word holds eight, and a multiplication divides several
//! parts of it at once:
//!
//! ```text
//!   12345678  ►  1234 | 5678  ►  12 | 34 | 56 | 78  ►  1 | 2 | 3 | 4 | 5 | 6 | 7 | 8
//! ```

use std::cell::Cell;

/// Where text is put.
pub(crate) trait Room {
    /// Appends the first `len` of `bytes`. What is behind them may be written and is then taken back: copying a
    /// number of bytes that is known when compiling is an instruction or two instead of a call.
    fn put<const N: usize>(&mut self, bytes: [u8; N], len: usize);
}

impl Room for Vec<u8> {
    #[inline]
    fn put<const N: usize>(&mut self, bytes: [u8; N], len: usize) {
        let end = self.len() + len;
        self.extend_from_slice(&bytes);
        self.truncate(end);
    }
}

impl Room for String {
    #[inline]
    fn put<const N: usize>(&mut self, bytes: [u8; N], len: usize) {
        // Digits are.
        self.push_str(bytes.get(..len).and_then(|bytes| str::from_utf8(bytes).ok()).unwrap_or_default());
    }
}

/// Appends `value` in decimal.
#[inline]
pub(crate) fn write(value: u64, out: &mut impl Room) {
    if value < 10 {
        out.put([b'0' + value as u8], 1);
    } else if value < EIGHT_DIGITS {
        let (digits, len) = first(value);
        out.put(digits, len);
    } else {
        write_long(value, out);
    }
}

#[inline(never)]
fn write_long(value: u64, out: &mut impl Room) {
    let mut digits = [0; DIGITS_ROOM];
    let len = put(value, &mut digits);
    out.put(digits, len);
}

/// Puts `value` in decimal at the start of `room`. Returns how many digits these are; what is behind them may be
/// written, too.
#[inline]
pub(crate) fn put(value: u64, room: &mut [u8; DIGITS_ROOM]) -> usize {
    if value < EIGHT_DIGITS {
        let (digits, len) = first(value);
        room[..8].copy_from_slice(&digits);
        return len;
    }
    put_long(value, room)
}

/// More than eight digits. All the times of a record are likely to have the same ones before the last eight, which
/// are a tenth of a second: these are kept.
#[inline(never)]
fn put_long(value: u64, room: &mut [u8; DIGITS_ROOM]) -> usize {
    let (above, last) = (value / EIGHT_DIGITS, value % EIGHT_DIGITS);
    let (known, digits, len) = LAST.get();
    if known != above {
        return put_other(value, room);
    }
    room[..16].copy_from_slice(&digits);
    put_last(last, len, room)
}

/// The same of a number whose first digits are not those of the last one.
#[inline(never)]
fn put_other(value: u64, room: &mut [u8; DIGITS_ROOM]) -> usize {
    let (above, last) = (value / EIGHT_DIGITS, value % EIGHT_DIGITS);
    if above < EIGHT_DIGITS {
        let (digits, len) = first(above);
        room[..8].copy_from_slice(&digits);
        return put_last(last, len, room);
    }
    let (start, len) = first(above / EIGHT_DIGITS);
    let mut digits = [0; 16];
    digits[..8].copy_from_slice(&start);
    digits[len..len + 8].copy_from_slice(&all(above % EIGHT_DIGITS));
    LAST.set((above, digits, len + 8));
    room[..16].copy_from_slice(&digits);
    put_last(last, len + 8, room)
}

/// Puts eight digits behind `len` others, of which there are sixteen at most.
#[inline(always)]
fn put_last(last: u64, len: usize, room: &mut [u8; DIGITS_ROOM]) -> usize {
    // So the compiler sees that there is room.
    let len = len.min(16);
    room[len..len + 8].copy_from_slice(&all(last));
    len + 8
}

thread_local! {
    /// A number of nine to sixteen digits, these, and how many they are.
    static LAST: Cell<(u64, [u8; 16], usize)> = const { Cell::new((0, [0; 16], 0)) };
}

/// All eight digits of a number below 10 to the power of eight.
#[inline]
pub(crate) fn all(value: u64) -> [u8; 8] {
    (digits(value) | ZEROS).to_le_bytes()
}

/// The digits of a number below [`EIGHT_DIGITS`] without zeros in front, and how many these are, from 1 to 8.
#[inline]
fn first(value: u64) -> ([u8; 8], usize) {
    let digits = digits(value);
    // The first digit is the lowest byte. Of 0 the last is left, which is the highest.
    let zeros = (digits | 1 << 56).trailing_zeros() / 8;
    (((digits | ZEROS) >> (zeros * 8)).to_le_bytes(), 8 - zeros as usize)
}

/// The eight digits of a number below [`EIGHT_DIGITS`], a byte each, the first in the lowest.
#[inline]
fn digits(value: u64) -> u64 {
    // Each step leaves the quotient in the lower half of a part and puts the remainder into the upper. That a product
    // shifted is the quotient is true of all that a part can be: 10,486 / 2^20 for numbers below 10,000, 103 / 2^10
    // below 100.
    let fours = (value / 10_000) | ((value % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x7f_0000_007f;
    let twos = hundreds | ((fours - hundreds * 100) << 16);
    let tens = ((twos * 103) >> 10) & 0xf_000f_000f_000f;
    tens | ((twos - tens * 10) << 8)
}

/// Bytes that [`put`] needs: more than the twenty digits of the largest number.
pub(crate) const DIGITS_ROOM: usize = 24;
/// 10 to the power of eight.
const EIGHT_DIGITS: u64 = 100_000_000;
/// The digit `0` eight times.
const ZEROS: u64 = 0x3030_3030_3030_3030;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(value: u64) -> String {
        let mut out = b"x".to_vec();
        write(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn four_digits_at_a_time() {
        for value in 0..10_000 {
            assert_eq!(written(value), format!("x{value}"));
            assert_eq!(
                written(value * 10_000 + 9_999 - value),
                format!("x{}", value * 10_000 + 9_999 - value)
            );
        }
    }

    #[test]
    fn where_digits_become_more() {
        for digits in 0..20 {
            let first = 10_u64.pow(digits);
            for value in [first - 1, first, first + 1, first / 8 * 9, u64::MAX / first, u64::MAX - first] {
                assert_eq!(written(value), format!("x{value}"));
            }
        }
    }

    proptest! {
        #[test]
        fn any_number(value: u64, shift in 0..64) {
            prop_assert_eq!(written(value >> shift), format!("x{}", value >> shift));
        }
    }
}
