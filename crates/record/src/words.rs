//! Questions about the bytes of a text, eight at a time: most texts of a record are too short for anything wider.

/// Whether the answer is yes anywhere in `bytes`. `question` is asked about words made of eight of them, some of them twice
/// or filled up with full stops; 0 is no.
#[inline]
pub(crate) fn any(bytes: &[u8], question: impl Fn(u64) -> u64) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    let answer = words.iter().fold(0, |answer, word| answer | question(u64::from_le_bytes(*word)));
    // Once more some of those before the rest, instead of each of the rest.
    let last = bytes.last_chunk::<8>().map_or_else(|| short(rest), |last| u64::from_le_bytes(*last));
    answer | question(last) != 0
}

/// Whether the answer is no for each of `bytes`. For questions that are a few comparisons: if there are sixteen bytes, they
/// are asked of as many at a time, of some of them twice.
#[inline]
pub(crate) fn none(bytes: &[u8], question: impl Fn(u8) -> bool) -> bool {
    let Some(last) = bytes.last_chunk::<16>() else {
        return !bytes.iter().fold(false, |answer, byte| answer | question(*byte));
    };
    let mut answers = [false; 16];
    for chunk in bytes.as_chunks::<16>().0.iter().chain([last]) {
        for (answer, byte) in answers.iter_mut().zip(chunk) {
            *answer |= question(*byte);
        }
    }
    answers == [false; 16]
}

/// Whether two texts are the same but for the case of ASCII letters.
#[inline]
pub(crate) fn same_but_for_case(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let ((a_words, a_rest), (b_words, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let differ = |a: u64, b: u64| lower(a) ^ lower(b);
    let words = a_words.iter().zip(b_words);
    let different =
        words.fold(0, |different, (a, b)| different | differ(u64::from_le_bytes(*a), u64::from_le_bytes(*b)));
    let last = match (a.last_chunk::<8>(), b.last_chunk::<8>()) {
        (Some(a), Some(b)) => differ(u64::from_le_bytes(*a), u64::from_le_bytes(*b)),
        _ => differ(short(a_rest), short(b_rest)),
    };
    different | last == 0
}

/// Whether there is no ASCII capital in `bytes`.
#[inline]
pub(crate) fn is_lower(bytes: &[u8]) -> bool {
    !any(bytes, |word| lower(word) ^ word)
}

/// Up to seven bytes as a word, some of them twice or filled up with full stops; the same for the same bytes alone, among
/// those of one length.
#[inline]
fn short(bytes: &[u8]) -> u64 {
    match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>(), bytes) {
        (Some(first), Some(last), _) => {
            u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32
        }
        (_, _, [a, b, c, ..]) => u64::from_le_bytes([*a, *b, *c, b'.', b'.', b'.', b'.', b'.']),
        (_, _, [a, b]) => u64::from_le_bytes([*a, *b, b'.', b'.', b'.', b'.', b'.', b'.']),
        (_, _, [a]) => u64::from_le_bytes([*a, b'.', b'.', b'.', b'.', b'.', b'.', b'.']),
        (_, _, []) => each(b'.'),
    }
}

/// ASCII capitals become small letters: their highest bit is what tells them from small ones once they have been shifted
/// to begin, and to end, at 0x80; bytes beyond ASCII stay.
#[inline]
fn lower(word: u64) -> u64 {
    let seven_bits = word & each(0x7f);
    let from_a = seven_bits + each(0x80 - b'A');
    let beyond_z = seven_bits + each(0x7f - b'Z');
    let capitals = from_a & !beyond_z & !word & each(0x80);
    word | capitals >> 2
}

/// Not 0 if there is a byte below `bound` in `word`; `bound` is 128 at most.
///
/// Such a byte borrows from its own highest bit when the bound is taken from it; so does none else that had the bit clear,
/// but for those above such a byte, when the answer is yes already.
#[inline]
pub(crate) fn below(word: u64, bound: u8) -> u64 {
    word.wrapping_sub(each(bound)) & !word & each(0x80)
}

/// Not 0 if there is a byte in `word` that is not ASCII.
#[inline]
pub(crate) fn above(word: u64) -> u64 {
    word & each(0x80)
}

/// Not 0 if `byte` is in `word`.
#[inline]
pub(crate) fn has(word: u64, byte: u8) -> u64 {
    below(word ^ each(byte), 1)
}

const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At every place of every length up to three words, by itself among others that are near or far.
    #[test]
    fn each_byte_is_seen_wherever_it_is() {
        for len in 1..25 {
            for at in 0..len {
                for byte in 0..=255 {
                    for others in [b'"' - 1, b'"' + 1, b'~', 0x7f, 0x80, 0xff] {
                        let mut bytes = vec![others; len];
                        bytes[at] = byte;
                        assert_eq!(any(&bytes, |word| has(word, b'"')), bytes.contains(&b'"'), "{bytes:?}");
                        assert_eq!(any(&bytes, above), !bytes.is_ascii(), "{bytes:?}");
                        for bound in [1, b'!', b'#', 128] {
                            let expected = bytes.iter().any(|byte| *byte < bound) || len < 4 && b'.' < bound;
                            assert_eq!(any(&bytes, |word| below(word, bound)), expected, "{bytes:?} {bound}");
                        }
                    }
                }
            }
        }
        assert!(!any(&[], |word| has(word, 0)));
    }

    #[test]
    fn bytes_are_the_same_or_not() {
        for len in 0..20 {
            for at in 0..len {
                for (a, b) in (0..=255).flat_map(|a| (0..=255).map(move |b| (a, b))) {
                    let (mut left, mut right) = (
                        b"aB-Cd_eFgHiJ?KlM\xffn0O"[..len].to_vec(),
                        b"Ab-Cd_EfGhIj?kLm\xffN0o"[..len].to_vec(),
                    );
                    (left[at], right[at]) = (a, b);
                    assert_eq!(
                        same_but_for_case(&left, &right),
                        a.eq_ignore_ascii_case(&b),
                        "{left:?} {right:?}"
                    );
                }
            }
        }
        assert!(same_but_for_case(b"", b"") && !same_but_for_case(b"a", b"aa"));
    }
}
