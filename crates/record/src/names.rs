//! Sets of names that are looked for in heads: "Each field line consists of a case-insensitive field name" (RFC 9112,
//! section 5).

use crate::words::AnyCase;

/// Names in any case of letters, each once, counted from 0 in the order in which they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    names: Vec<Name>,
    /// For each hash, the last of the names that has it, or [`NONE`].
    last: Box<[u32; HASHES]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    text: AnyCase,
    /// The one before of the same hash, or [`NONE`].
    before: u32,
}

impl Names {
    /// None.
    pub(crate) fn new() -> Self {
        Self { names: Vec::new(), last: Box::new([NONE; HASHES]) }
    }

    /// Adds a name unless it is there. Its number.
    pub(crate) fn add(&mut self, name: &str) -> usize {
        self.find(name.as_bytes()).unwrap_or_else(|| {
            let number = self.names.len();
            let before = std::mem::replace(&mut self.last[hash(name.as_bytes())], number as u32);
            self.names.push(Name { text: AnyCase::new(name.to_owned()), before });
            number
        })
    }

    /// The number of a name, if it is there.
    #[inline]
    pub(crate) fn find(&self, name: &[u8]) -> Option<usize> {
        match self.last[hash(name)] {
            // As for most: few names are looked for.
            NONE => None,
            last => self.find_from(last, name),
        }
    }

    /// The same, from one of the names with its hash on.
    fn find_from(&self, mut number: u32, name: &[u8]) -> Option<usize> {
        loop {
            // There is none of the number `NONE`.
            let known = self.names.get(number as usize)?;
            if known.text.is(name) {
                return Some(number as usize);
            }
            number = known.before;
        }
    }

    /// All of them in small letters, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| name.text.as_str())
    }
}

/// Out of length, first and last letter, in any case: few other names have the same as one that is looked for.
#[inline]
fn hash(name: &[u8]) -> usize {
    let [first, .., last] = name else { return 0 };
    (name.len() + (*first | 0x20) as usize * 7 + (*last | 0x20) as usize * 13) % HASHES
}

const HASHES: usize = 256;
const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a list that is gone through, with names that are often of one hash.
        #[test]
        fn names_are_found(
            added in proptest::collection::vec("[a-cA-C-]{0,3}|x-[a-z]{9,20}", 0..40),
            asked in proptest::collection::vec("[a-cA-C@-]{0,3}", 0..40),
        ) {
            let mut names = Names::new();
            let mut list: Vec<String> = Vec::new();
            for name in &added {
                let lower = name.to_ascii_lowercase();
                let place = list.iter().position(|known| *known == lower).unwrap_or_else(|| {
                    list.push(lower);
                    list.len() - 1
                });
                prop_assert_eq!(names.add(name), place);
            }
            prop_assert!(names.iter().eq(&list));
            for name in added.iter().chain(&asked) {
                let expected = list.iter().position(|known| known.eq_ignore_ascii_case(name));
                prop_assert_eq!(names.find(name.as_bytes()), expected);
            }
        }
    }
}
