//! Several captures as one, in the order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use gannet_packet::Timestamp;

use crate::{Error, Interface, Packet, PacketSource, Warning};

/// Steps through several sources by time.
///
/// Always the source whose next packet is the oldest gives the next one. Equal times go in the order of the
/// sources, and the packets of one source keep their order even where its times run backwards, so the merge is
/// stable. Interfaces are numbered anew, in the order in which they first deliver a packet.
///
/// Sources may follow others: a recording in several files is one source in parts, and a packet of the next file is
/// behind those of the one before, whatever its time.
#[derive(Debug)]
pub struct Merge<S> {
    sources: Vec<S>,
    /// For each source, the one that begins where it ends.
    next: Vec<Option<usize>>,
    /// Sources with a packet in hand, by its time.
    heads: BinaryHeap<Reverse<(Timestamp, usize)>>,
    /// Sources whose packet in hand has been delivered (or that have none yet).
    stale: Vec<usize>,
    current: Option<usize>,
    /// For each source, its interface numbers to ours.
    numbers: Vec<Vec<Option<u32>>>,
    /// For each of our interface numbers, the source and its number there.
    interfaces: Vec<(usize, u32)>,
}

impl<S: PacketSource> Merge<S> {
    /// Merges `sources`; nothing is read before the first [`advance`](Self::advance).
    #[must_use]
    pub fn new(sources: Vec<S>) -> Self {
        Self::of_series(sources, &[])
    }

    /// The same, where some of the sources each go on where another one ends: `follows` has for each of them the
    /// number of that one. Every source must be at the end of such a row, or of its own, that begins with one that
    /// follows none, and no two may follow the same.
    #[must_use]
    pub fn of_series(sources: Vec<S>, follows: &[Option<usize>]) -> Self {
        let mut next = vec![None; sources.len()];
        for (source, before) in follows.iter().enumerate().take(sources.len()) {
            if let Some(place) = before.and_then(|before| next.get_mut(before)) {
                *place = Some(source);
            }
        }
        let is_first = |source: &usize| !next.contains(&Some(*source));
        Self {
            heads: BinaryHeap::with_capacity(sources.len()),
            stale: (0..sources.len()).rev().filter(is_first).collect(),
            next,
            current: None,
            numbers: vec![Vec::new(); sources.len()],
            interfaces: Vec::new(),
            sources,
        }
    }

    /// Goes on to the next packet; `false` when all sources have ended.
    ///
    /// # Errors
    /// A source failed, with its number. It counts as ended; the next call goes on with the others. One that merely
    /// [pauses](Error::is_pause) is asked again, because its next packet may be the oldest.
    #[inline(always)]
    pub fn advance(&mut self) -> Result<bool, (usize, Error)> {
        if let [reader] = self.sources.as_mut_slice() {
            // Nothing to compare.
            self.current = None;
            if reader.advance().map_err(|error| (0, error))?
                && let Some((_, interface)) = reader.stamp()
            {
                self.current = Some(0);
                self.number_interface(0, interface);
            }
            return Ok(self.current.is_some());
        }
        self.advance_oldest()
    }

    /// The source, if there is but one, and the numbers of its interfaces that are known here: packets may then be
    /// taken from it itself. `None` for those that it has not delivered a packet of yet; they get theirs by
    /// [`advance`](Self::advance).
    #[inline]
    pub fn only(&mut self) -> Option<(&mut S, &[Option<u32>])> {
        let ([source], [numbers]) = (self.sources.as_mut_slice(), self.numbers.as_slice()) else {
            return None;
        };
        Some((source, numbers))
    }

    fn advance_oldest(&mut self) -> Result<bool, (usize, Error)> {
        self.stale.extend(self.current.take());
        while let Some(source) = self.stale.pop() {
            let Some(reader) = self.sources.get_mut(source) else { continue };
            match reader.advance() {
                Ok(true) => {}
                Ok(false) => {
                    self.stale.extend(self.next[source].take());
                    continue;
                }
                Err(error) => {
                    let again = if error.is_pause() { Some(source) } else { self.next[source].take() };
                    self.stale.extend(again);
                    return Err((source, error));
                }
            }
            if let Some((time, interface)) = reader.stamp() {
                self.heads.push(Reverse((time, source)));
                self.number_interface(source, interface);
            }
        }
        self.current = self.heads.pop().map(|Reverse((_, source))| source);
        Ok(self.current.is_some())
    }

    /// The packet that the last [`advance`](Self::advance) found, and the number of its source.
    /// `frame.interface` is a number for [`interface`](Self::interface).
    #[inline(always)]
    #[must_use]
    pub fn packet(&self) -> Option<(usize, Packet<'_>)> {
        let source = self.current?;
        let mut packet = self.sources.get(source)?.packet()?;
        let number = self.numbers.get(source)?.get(packet.frame.interface as usize)?;
        packet.frame.interface = (*number)?;
        Some((source, packet))
    }

    /// An interface by its number in the merge, and the number of its source. Numbers run without gaps.
    #[must_use]
    pub fn interface(&self, number: u32) -> Option<(usize, &Interface)> {
        let &(source, theirs) = self.interfaces.get(number as usize)?;
        Some((source, self.sources.get(source)?.interfaces().get(theirs as usize)?))
    }

    /// The sources, in the order given.
    #[inline]
    #[must_use]
    pub fn sources(&self) -> &[S] {
        &self.sources
    }

    /// Of the sources that ended early: number and reason.
    pub fn warnings(&self) -> impl Iterator<Item = (usize, &Warning)> {
        self.sources
            .iter()
            .enumerate()
            .filter_map(|(source, reader)| reader.warning().map(|warning| (source, warning)))
    }

    #[inline]
    fn number_interface(&mut self, source: usize, theirs: u32) {
        let known = self.numbers.get(source).and_then(|numbers| numbers.get(theirs as usize));
        if !matches!(known, Some(Some(_))) {
            self.number_new_interface(source, theirs);
        }
    }

    #[cold]
    fn number_new_interface(&mut self, source: usize, theirs: u32) {
        let Some(numbers) = self.numbers.get_mut(source) else { return };
        let index = theirs as usize;
        if numbers.len() <= index {
            // An index into the source's table: at most MAX_INTERFACES.
            numbers.resize(index + 1, None);
        }
        if numbers[index].is_none() {
            numbers[index] = Some(self.interfaces.len() as u32);
            self.interfaces.push((source, theirs));
        }
    }
}

#[cfg(test)]
mod tests {
    use gannet_packet::LinkType;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::Halting;
    use crate::{SliceReader, ng};

    /// A capture with an interface per entry and the packets (interface, time, value).
    fn capture(interfaces: &[&str], packets: &[(u32, u64, u8)]) -> Vec<u8> {
        let mut file = Vec::new();
        ng::section_header(&mut file, &ng::Section::default());
        for name in interfaces {
            let interface = ng::Interface { name, ..ng::Interface::new(LinkType::ETHERNET, 0) };
            ng::interface_description(&mut file, &interface);
        }
        for &(interface, time, value) in packets {
            let start = file.len();
            file.resize(start + ng::enhanced_packet_len(1, false), 0);
            ng::write_enhanced_packet(&mut file[start..], interface, Timestamp(time), 1, None, &[value]);
        }
        file
    }

    fn merged<S: PacketSource>(sources: Vec<S>) -> Vec<(u64, u8, String)> {
        let mut merge = Merge::new(sources);
        let mut out = Vec::new();
        while merge.advance().unwrap() {
            let (source, packet) = merge.packet().unwrap();
            let (of, interface) = merge.interface(packet.frame.interface).unwrap();
            assert_eq!(source, of);
            out.push((packet.frame.timestamp.0, packet.frame.data[0], interface.name.clone()));
        }
        assert!(merge.packet().is_none());
        out
    }

    #[test]
    fn oldest_first_and_stable() {
        let a = capture(&["a0", "a1"], &[(1, 1, 0), (0, 5, 1), (0, 3, 2), (1, 9, 3)]);
        let b = capture(&["b0"], &[(0, 1, 10), (0, 5, 11), (0, 9, 12)]);
        let got = merged(vec![SliceReader::new(&a).unwrap(), SliceReader::new(&b).unwrap()]);
        let expected = [
            (1, 0, "a1"),
            (1, 10, "b0"),
            (5, 1, "a0"),
            // Behind its own predecessor, although it is older.
            (3, 2, "a0"),
            (5, 11, "b0"),
            (9, 3, "a1"),
            (9, 12, "b0"),
        ];
        let expected: Vec<_> = expected.iter().map(|&(t, v, name)| (t, v, name.to_owned())).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn sources_of_different_kinds_and_none() {
        let a = capture(&["a"], &[(0, 2, 1)]);
        let b = capture(&["b"], &[(0, 1, 2)]);
        let sources: Vec<Box<dyn PacketSource + '_>> = vec![
            Box::new(SliceReader::new(&a).unwrap()),
            Box::new(crate::StreamReader::new(&b[..]).unwrap()),
        ];
        assert_eq!(merged(sources), [(1, 2, "b".to_owned()), (2, 1, "a".to_owned())]);
        assert_eq!(merged(Vec::<SliceReader<'_>>::new()), []);
    }

    /// The second and the third are one recording, whose packets of different workers overlap at its cut.
    #[test]
    fn what_follows_comes_behind() {
        let a = capture(&["a"], &[(0, 2, 0), (0, 7, 1), (0, 20, 2)]);
        let b = capture(&["b"], &[(0, 4, 10), (0, 9, 11), (0, 5, 12)]);
        let c = capture(&["b"], &[(0, 6, 20), (0, 3, 21), (0, 10, 22)]);
        let readers = || [&a, &c, &b].map(|file| SliceReader::new(file).unwrap()).into();
        let mut merge = Merge::of_series(readers(), &[None, Some(2), None]);
        let mut values = Vec::new();
        while merge.advance().unwrap() {
            values.push(merge.packet().unwrap().1.frame.data[0]);
        }
        assert_eq!(values, [0, 10, 1, 11, 12, 20, 21, 22, 2]);
        // Without that the cut is crossed by time.
        let values: Vec<u8> = merged(readers()).into_iter().map(|(_, value, _)| value).collect();
        assert_eq!(values, [0, 10, 20, 21, 1, 11, 12, 22, 2]);
    }

    /// Who pauses is waited for: its next packet may be the oldest.
    #[test]
    fn pauses_do_not_change_the_order() {
        let a = capture(&["a"], &[(0, 1, 0), (0, 4, 1)]);
        let b = capture(&["b"], &[(0, 2, 2), (0, 3, 3), (0, 5, 4)]);
        let halting = |file| {
            let (header, rest): (&[u8], &[u8]) = <[u8]>::split_at(file, 28);
            crate::StreamReader::new(std::io::Read::chain(header, Halting::new(rest, 1))).unwrap()
        };
        let mut merge = Merge::new(vec![halting(&a), halting(&b)]);
        let (mut found, mut pauses) = (Vec::new(), 0);
        loop {
            match merge.advance() {
                Ok(true) => found.push(merge.packet().unwrap().1.frame.data[0]),
                Ok(false) => break,
                Err((_, error)) => {
                    assert!(error.is_pause());
                    pauses += 1;
                }
            }
        }
        assert_eq!(found, [0, 2, 3, 1, 4]);
        assert!(pauses > 100);
    }

    proptest! {
        /// Against sorting it all: with sorted sources the merge is the stable sort of their concatenation.
        #[test]
        fn merge_is_a_stable_sort(
            mut times in prop::collection::vec(prop::collection::vec(0..20_u64, 0..30), 0..6)
        ) {
            let mut expected = Vec::new();
            let mut files = Vec::new();
            for (source, times) in times.iter_mut().enumerate() {
                times.sort_unstable();
                let packets: Vec<_> =
                    times.iter().enumerate().map(|(n, &time)| (0, time, n as u8)).collect();
                expected.extend(packets.iter().map(|&(_, time, n)| (time, n, source.to_string())));
                files.push(capture(&[&source.to_string()], &packets));
            }
            expected.sort_by_key(|&(time, ..)| time);
            let sources = files.iter().map(|file| SliceReader::new(file).unwrap()).collect();
            prop_assert_eq!(merged(sources), expected);
        }
    }
}
