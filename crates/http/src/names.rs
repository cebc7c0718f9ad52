//! Whom TLS connections were for: what a run says of the traffic that it cannot read.

use std::collections::BTreeMap;

/// Names of servers (SNI) and how many connections asked for them. Bounded: beyond it further names are only counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerNames {
    counts: BTreeMap<Box<str>, u64>,
    /// Connections without a name: the client sent none, or its hello was not captured whole.
    pub unnamed: u64,
    /// Connections for names that found no room.
    pub others: u64,
}

impl ServerNames {
    /// Counts a connection.
    pub(crate) fn add(&mut self, name: Option<&str>) {
        match name {
            None => self.unnamed += 1,
            Some(name) => self.add_many(name, 1),
        }
    }

    /// Adds what another worker has counted.
    pub fn merge(&mut self, other: &Self) {
        for (name, count) in &other.counts {
            self.add_many(name, *count);
        }
        self.unnamed += other.unnamed;
        self.others += other.others;
    }

    fn add_many(&mut self, name: &str, count: u64) {
        // Hosts' names are the same in any case.
        let name = name.to_ascii_lowercase();
        let is_full = self.counts.len() >= NAMES_MAX;
        match self.counts.get_mut(name.as_str()) {
            Some(sum) => *sum += count,
            None if is_full => self.others += count,
            None => {
                self.counts.insert(name.into(), count);
            }
        }
    }

    /// Names with their counts, the most frequent first.
    pub fn by_count(&self) -> Vec<(&str, u64)> {
        let mut names: Vec<_> = self.counts.iter().map(|(name, count)| (&**name, *count)).collect();
        // Those of one count stay in the order of the alphabet.
        names.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        names
    }
}

/// Most names counted apart by one worker: at most 255 bytes each.
const NAMES_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_and_bounded() {
        let mut names = ServerNames::default();
        for name in ["b.example", "a.example", "B.example", "c.example"] {
            names.add(Some(name));
        }
        names.add(None);
        assert_eq!(names.by_count(), [("b.example", 2), ("a.example", 1), ("c.example", 1)]);
        for number in 0..NAMES_MAX {
            names.add(Some(&format!("{number:04}.example")));
        }
        assert_eq!((names.by_count().len(), names.others, names.unnamed), (NAMES_MAX, 3, 1));
        let mut sum = names.clone();
        sum.merge(&names);
        assert_eq!((sum.by_count()[0], sum.others, sum.unnamed), (("b.example", 4), 6, 2));
    }
}
