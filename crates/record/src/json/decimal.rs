//! Numbers in decimal, eight digits at a time.
//!
//! Half of a record's numbers are times of nineteen digits. A word holds eight, and a multiplication divides several parts of
//! it at once:
//!
//! ```text
//!   12345678  ►  1234 | 5678  ►  12 | 34 | 56 | 78  ►  1 | 2 | 3 | 4 | 5 | 6 | 7 | 8
//! ```

/// Appends `value` in decimal.
#[inline]
pub(super) fn write(value: u64, out: &mut Vec<u8>) {
    if value < 10 {
        out.push(b'0' + value as u8);
    } else if value < EIGHT_DIGITS {
        write_first(value, out);
    } else {
        write_long(value, out);
    }
}

#[inline(never)]
fn write_long(value: u64, out: &mut Vec<u8>) {
    let (above, last) = (value / EIGHT_DIGITS, value % EIGHT_DIGITS);
    if above < EIGHT_DIGITS {
        write_first(above, out);
    } else {
        write_first(above / EIGHT_DIGITS, out);
        write_all(above % EIGHT_DIGITS, out);
    }
    write_all(last, out);
}

/// All eight digits of a number below [`EIGHT_DIGITS`].
#[inline]
fn write_all(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&(digits(value) | ZEROS).to_le_bytes());
}

/// The digits of a number below [`EIGHT_DIGITS`] without zeros in front; none of 0, which nobody asks for.
#[inline]
fn write_first(value: u64, out: &mut Vec<u8>) {
    let digits = digits(value);
    // The first digit is the lowest byte.
    let zeros = digits.trailing_zeros() / 8;
    let end = out.len() + 8 - zeros as usize;
    // As a piece of a length that is known when compiling: a call less.
    let text = (digits | ZEROS).unbounded_shr(zeros * 8);
    out.extend_from_slice(&text.to_le_bytes());
    out.truncate(end);
}

/// The eight digits of a number below [`EIGHT_DIGITS`], a byte each, the first in the lowest.
#[inline]
fn digits(value: u64) -> u64 {
    // Each step leaves the quotient in the lower half of a part and puts the remainder into the upper. That a product shifted
    // is the quotient is true of all that a part can be: 10,486 / 2^20 for numbers below 10,000, 103 / 2^10 below 100.
    let fours = (value / 10_000) | ((value % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x7f_0000_007f;
    let twos = hundreds | ((fours - hundreds * 100) << 16);
    let tens = ((twos * 103) >> 10) & 0xf_000f_000f_000f;
    tens | ((twos - tens * 10) << 8)
}

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
