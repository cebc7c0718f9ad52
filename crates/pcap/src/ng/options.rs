//! Walking the options at the end of a block.

use super::option;
use crate::decode::u16_at;

/// The options of a block, up to the end of options, the end of the block or the first that does not fit: broken
/// options are no reason to lose a packet.
#[derive(Clone, Debug)]
pub(crate) struct Options<'a> {
    rest: &'a [u8],
    big_endian: bool,
}

impl<'a> Options<'a> {
    /// `bytes` is what follows the fixed part of the body, up to the trailing length.
    pub(crate) fn new(bytes: &'a [u8], big_endian: bool) -> Self {
        Self { rest: bytes, big_endian }
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let code = u16_at(self.rest, 0, self.big_endian)?;
        let len = usize::from(u16_at(self.rest, 2, self.big_endian)?);
        if code == option::END {
            self.rest = &[];
            return None;
        }
        let value = self.rest.get(4..4 + len)?;
        self.rest = self.rest.get(4 + len.next_multiple_of(4)..).unwrap_or_default();
        Some((code, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_options_end_the_walk() {
        let codes = |bytes: &[u8]| Options::new(bytes, false).map(|(code, _)| code).collect::<Vec<_>>();
        let bytes = [9, 0, 1, 0, 6, 0, 0, 0, 2, 0, 4, 0, 1, 2, 3, 4, 0, 0, 0, 0, 7, 0, 0, 0];
        assert_eq!(codes(&bytes), [9, 2]);
        for len in 0..bytes.len() {
            let expected: &[u16] = if len < 5 {
                &[]
            } else if len < 16 {
                &[9]
            } else {
                &[9, 2]
            };
            assert_eq!(codes(&bytes[..len]), expected, "{len}");
        }
        assert_eq!(codes(&[2, 0, 0xff, 0xff, 1]), []);
    }

    #[test]
    fn big_endian() {
        let mut options = Options::new(&[0, 14, 0, 2, 0xab, 0xcd, 0, 0], true);
        assert_eq!(options.next(), Some((14, &[0xab, 0xcd][..])));
        assert_eq!(options.next(), None);
    }
}
