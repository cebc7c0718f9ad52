//! Sets of names that are looked for in heads: "Each field line consists of a case-insensitive field name" (RFC 9112, section
//! 5).

use crate::words::AnyCase;

/// Names in any case of letters, each once, counted from 0 in the order in which they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    names: Vec<Name>,
    /// For each hash, the first of the names that has it.
    first: Vec<Option<u32>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    text: AnyCase,
    /// The next of the same hash.
    next: Option<u32>,
}

impl Names {
    /// None.
    pub(crate) fn new() -> Self {
        Self { names: Vec::new(), first: vec![None; HASHES] }
    }

    /// Adds a name unless it is there. Its number.
    pub(crate) fn add(&mut self, name: &str) -> usize {
        self.find(name.as_bytes()).unwrap_or_else(|| {
            let number = self.names.len();
            let next = self.first[hash(name.as_bytes())].replace(number as u32);
            self.names.push(Name { text: AnyCase::new(name.to_owned()), next });
            number
        })
    }

    /// The number of a name, if it is there.
    #[inline]
    pub(crate) fn find(&self, name: &[u8]) -> Option<usize> {
        let mut next = self.first.get(hash(name)).copied().flatten();
        while let Some(number) = next {
            let known = self.names.get(number as usize)?;
            if known.text.is(name) {
                return Some(number as usize);
            }
            next = known.next;
        }
        None
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
