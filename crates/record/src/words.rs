//! Questions about the bytes of a text, eight or sixteen at a time: most texts of a record are too short for anything
//! wider.

/// Whether the answer is no for each of `bytes`. For questions that are a few comparisons: they are asked of sixteen
/// at a time, of some of them twice, and of full stops, for which the answer must be no.
#[inline]
pub(crate) fn none(bytes: &[u8], question: impl Fn(u8) -> bool) -> bool {
    let filled;
    let (chunks, last) = match bytes.last_chunk::<16>() {
        Some(last) => (bytes.as_chunks::<16>().0, last),
        None => {
            filled = sixteen(bytes);
            (&[][..], &filled)
        }
    };
    let mut answers = [false; 16];
    for chunk in chunks.iter().chain([last]) {
        for (answer, byte) in answers.iter_mut().zip(chunk) {
            *answer |= question(*byte);
        }
    }
    answers == [false; 16]
}

/// The place of the first byte for which the answer is yes. For bytes that are some ten places away: what is made for
/// far ones takes longer to begin.
#[inline]
pub(crate) fn position(bytes: &[u8], question: impl Fn(u8) -> bool) -> Option<usize> {
    let (chunks, rest) = bytes.as_chunks::<16>();
    for (number, chunk) in chunks.iter().enumerate() {
        let mut answers = [0_u8; 16];
        for (answer, byte) in answers.iter_mut().zip(chunk) {
            *answer = if question(*byte) { 0xff } else { 0 };
        }
        let answers = u128::from_le_bytes(answers);
        if answers != 0 {
            return Some(number * 16 + answers.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|byte| question(*byte)).map(|place| chunks.len() * 16 + place)
}

/// A name in small letters, prepared for being compared with many in any case of letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AnyCase {
    text: String,
    /// [`sixteen`] of it if it is no longer than that.
    bytes: u128,
    /// The bits by which capitals differ from its letters.
    case: u128,
}

impl AnyCase {
    pub(crate) fn new(mut text: String) -> Self {
        text.make_ascii_lowercase();
        let bytes = u128::from_le_bytes(sixteen(text.as_bytes()));
        let case = bytes.to_le_bytes().map(|byte| if byte.is_ascii_lowercase() { 0x20 } else { 0 });
        Self { text, bytes, case: u128::from_le_bytes(case) }
    }

    /// The name in small letters.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    #[inline]
    pub(crate) fn is(&self, other: &[u8]) -> bool {
        if other.len() != self.text.len() {
            return false;
        }
        if other.len() > 16 {
            return same_but_for_case(other, self.text.as_bytes());
        }
        (u128::from_le_bytes(sixteen(other)) ^ self.bytes) & !self.case == 0
    }
}

/// Up to sixteen bytes, some of them twice or filled up with full stops; the same for the same bytes alone, among
/// those of one length.
#[inline]
fn sixteen(bytes: &[u8]) -> [u8; 16] {
    let word =
        |chunk: Option<&[u8; 8]>| chunk.map_or_else(|| short(bytes), |chunk| u64::from_le_bytes(*chunk));
    let (first, last) = (word(bytes.first_chunk()), word(bytes.last_chunk()));
    (u128::from(first) | u128::from(last) << 64).to_le_bytes()
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

/// Up to seven bytes as a word, some of them twice or filled up with full stops; the same for the same bytes alone,
/// among those of one length.
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

/// ASCII capitals become small letters: their highest bit is what tells them from small ones once they have been
/// shifted to begin, and to end, at 0x80; bytes beyond ASCII stay.
#[inline]
fn lower(word: u64) -> u64 {
    let seven_bits = word & each(0x7f);
    let from_a = seven_bits + each(0x80 - b'A');
    let beyond_z = seven_bits + each(0x7f - b'Z');
    let capitals = from_a & !beyond_z & !word & each(0x80);
    word | capitals >> 2
}

const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At every place of every length up to three times sixteen.
    #[test]
    fn each_byte_is_seen_wherever_it_is() {
        for len in 0..49 {
            for others in [b'"' - 1, b'"' + 1, b'~', 0x7f, 0x80, 0xff] {
                let mut bytes = vec![others; len];
                assert!(none(&bytes, |byte| byte == b'"'));
                for at in 0..len {
                    bytes[at] = b'"';
                    assert!(!none(&bytes, |byte| byte == b'"'), "{bytes:?}");
                    bytes[at] = others;
                }
            }
        }
    }

    #[test]
    fn the_first_place_is_found() {
        for len in 0..49 {
            let mut bytes = vec![b'a'; len];
            assert_eq!(position(&bytes, |byte| byte == b'b'), None);
            for at in (0..len).rev() {
                bytes[at] = b'b';
                assert_eq!(position(&bytes, |byte| byte == b'b'), Some(at), "{bytes:?}");
            }
        }
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

    /// Against the same of the standard library: each byte in each place, of names of one length.
    #[test]
    fn names_are_the_same_in_any_case() {
        for len in 0..20 {
            let name = "aB-Cd_eFgHiJ?KlMxn0O".get(..len).unwrap();
            let prepared = AnyCase::new(name.to_owned());
            assert_eq!(prepared.as_str(), name.to_ascii_lowercase());
            assert!(prepared.is(name.as_bytes()) && prepared.is(name.to_ascii_uppercase().as_bytes()));
            assert!(!prepared.is(b"aB-Cd_eFgHiJ?KlMxn0Op") && !prepared.is(b"zz"));
            for (at, byte) in (0..len).flat_map(|at| (0..=255).map(move |byte| (at, byte))) {
                let mut other = name.as_bytes().to_vec();
                other[at] = byte;
                assert_eq!(prepared.is(&other), name.as_bytes().eq_ignore_ascii_case(&other), "{other:?}");
            }
        }
    }
}
