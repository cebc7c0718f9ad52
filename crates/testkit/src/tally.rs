//! What became of the frames that a generator sent: a slow, obvious count of what a capture holds.

use std::collections::HashMap;

use gannet_packet::LinkType;
use serde::Serialize;

use crate::shape::{Lane, Sighting, examine};

/// Takes captured frames one by one, in the order of the capture, and keeps the books.
#[derive(Debug, Default)]
pub struct Tally {
    seen: NumberSet,
    last: HashMap<Lane, u64>,
    expected: Option<(u64, u64)>,
    report: Report,
}

/// What a [`Tally`] found. Every frame is in exactly one of `intact`, `doubled`, `headless`, `corrupt`, `foreign`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Frames looked at.
    pub frames: u64,
    /// Their captured bytes.
    pub bytes: u64,
    /// Different numbers on intact frames.
    pub intact: u64,
    /// Numbers of the expected range that no intact frame had. Corrupt frames' numbers are missing, too.
    pub missing: u64,
    /// Intact frames whose number had been seen before.
    pub doubled: u64,
    /// Test frames that are not, byte for byte, what was sent.
    pub corrupt: u64,
    /// Frames later than one of the same direction of the same flow with a higher number.
    pub out_of_order: u64,
    /// Intact numbers outside the expected range.
    pub unexpected: u64,
    /// Test frames that the snaplen cut, number readable or not.
    pub cut: u64,
    /// Of those, the ones whose number was cut off, which cannot be missed or doubled.
    pub headless: u64,
    /// Frames that no generator made.
    pub foreign: u64,
    /// Flows seen, both directions counted as one.
    pub flows: u64,
    /// The lowest and the highest number seen.
    pub range: Option<(u64, u64)>,
}

impl Report {
    /// True if the capture holds every expected frame once, intact, in order, and nothing else.
    pub fn is_perfect(&self) -> bool {
        self.frames > 0
            && self.intact == self.frames
            && self.missing + self.out_of_order + self.unexpected == 0
    }
}

impl Tally {
    /// Expects the numbers from the lowest seen to the highest.
    pub fn new() -> Self {
        Self::default()
    }

    /// Expects the numbers `first .. first + count`, so that lost first and last frames are missed, too.
    pub fn expecting(first: u64, count: u64) -> Self {
        Self { expected: Some((first, count)), ..Self::default() }
    }

    /// Takes the next frame: its captured bytes, and its length on the wire.
    ///
    /// Understands Ethernet, raw IP, Linux cooked captures of both versions, and null/loopback; anything else
    /// counts as foreign.
    pub fn add(&mut self, link_type: LinkType, data: &[u8], orig_len: u32) {
        self.report.frames += 1;
        self.report.bytes += data.len() as u64;
        let missing = (orig_len as usize).saturating_sub(data.len());
        let Some(network_at) = network_offset(link_type, data) else {
            self.report.foreign += 1;
            return;
        };
        let (link, body) = data.split_at(network_at);
        let sighting = examine((link_type == LinkType::ETHERNET).then_some(link), body, missing);
        if missing > 0 && sighting != Sighting::Foreign {
            self.report.cut += 1;
        }
        match sighting {
            Sighting::Foreign => self.report.foreign += 1,
            Sighting::Headless => self.report.headless += 1,
            Sighting::Frame(found) if !found.intact => self.report.corrupt += 1,
            Sighting::Frame(found) => self.add_intact(found.lane, found.sequence),
        }
    }

    fn add_intact(&mut self, lane: Lane, sequence: u64) {
        let report = &mut self.report;
        if !self.seen.insert(sequence) {
            report.doubled += 1;
            return;
        }
        report.intact += 1;
        let (low, high) = report.range.unwrap_or((sequence, sequence));
        report.range = Some((low.min(sequence), high.max(sequence)));
        let last = self.last.entry(lane).or_insert(sequence);
        if sequence < *last {
            report.out_of_order += 1;
        }
        *last = sequence.max(*last);
    }

    /// The books, closed.
    pub fn report(&self) -> Report {
        let mut report = self.report.clone();
        let (first, count) = match (self.expected, report.range) {
            (Some(expected), _) => expected,
            (None, Some((low, high))) => (low, (high - low).saturating_add(1)),
            (None, None) => (0, 0),
        };
        let within = self.seen.count_between(first, first.saturating_add(count));
        report.missing = count - within;
        report.unexpected = report.intact - within;
        let mut flows: Vec<u32> = self.last.keys().map(|lane| lane.flow()).collect();
        flows.sort_unstable();
        flows.dedup();
        report.flows = flows.len() as u64;
        report
    }
}

/// Where the network header starts; `None` if the link type is not known or the link header is cut off.
fn network_offset(link_type: LinkType, data: &[u8]) -> Option<usize> {
    let offset = match link_type {
        LinkType::ETHERNET => {
            let mut at = 12;
            while matches!(data.get(at..at + 2)?, [0x81, 0x00] | [0x88, 0xa8]) {
                at += 4;
            }
            at + 2
        }
        LinkType::RAW | LinkType::IPV4 | LinkType::IPV6 => 0,
        LinkType::NULL | LinkType::LOOP => 4,
        LinkType::SLL => 16,
        LinkType::SLL2 => 20,
        _ => return None,
    };
    (offset <= data.len()).then_some(offset)
}

/// A set of numbers that mostly follow each other: a bit each, in chunks.
#[derive(Debug, Default)]
struct NumberSet {
    chunks: HashMap<u64, Vec<u64>>,
}

impl NumberSet {
    /// False if it was in already.
    fn insert(&mut self, number: u64) -> bool {
        let chunk = self.chunks.entry(number / CHUNK).or_insert_with(|| vec![0; (CHUNK / 64) as usize]);
        let word = &mut chunk[(number % CHUNK / 64) as usize];
        let bit = 1 << (number % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// How many are at least `start` and below `end`.
    fn count_between(&self, start: u64, end: u64) -> u64 {
        let mut count = 0;
        for (&chunk, words) in &self.chunks {
            for (index, &word) in words.iter().enumerate() {
                let base = chunk * CHUNK + index as u64 * 64;
                if base >= start && base.saturating_add(63) < end {
                    count += u64::from(word.count_ones());
                } else {
                    let inside = |bit: &u64| word >> bit & 1 == 1 && (start..end).contains(&(base + bit));
                    count += (0..64).filter(inside).count() as u64;
                }
            }
        }
        count
    }
}

/// Numbers per chunk of the set: 8 KiB of bits, so a run of millions takes few chunks and a stray number little.
const CHUNK: u64 = 65_536;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use crate::shape::{Shape, Tag};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn frame(shape: &Shape, flow: u32, sequence: u64) -> Vec<u8> {
        let mut template = shape.template(Lane::new(flow, false), 100, &mut Random::new(1));
        template.number(sequence);
        template.bytes().to_vec()
    }

    fn add(tally: &mut Tally, frame: &[u8]) {
        tally.add(LinkType::ETHERNET, frame, frame.len() as u32);
    }

    #[test]
    fn each_fault_is_counted_as_itself() {
        let shape = Shape::default();
        let mut tally = Tally::expecting(10, 8);
        let mut bad = frame(&shape, 0, 13);
        bad[70] ^= 1;
        // 10 and 17 never come, 13 is corrupt, 12 comes twice, 14 of flow 1 after 15 of flow 1.
        for (flow, sequence) in [(0, 11), (0, 12), (0, 12), (1, 15), (1, 14), (0, 16), (0, 30)] {
            add(&mut tally, &frame(&shape, flow, sequence));
        }
        add(&mut tally, &bad);
        add(&mut tally, &[0xff; 60]);
        let report = tally.report();
        let expected = Report {
            frames: 9,
            bytes: 860,
            intact: 6,
            missing: 3,
            doubled: 1,
            corrupt: 1,
            out_of_order: 1,
            unexpected: 1,
            foreign: 1,
            flows: 2,
            range: Some((11, 30)),
            ..Report::default()
        };
        assert_eq!(report, expected);
        assert!(!report.is_perfect());
    }

    #[test]
    fn a_perfect_capture_is_called_so_and_an_empty_one_is_not() {
        let mut tally = Tally::new();
        assert!(!tally.report().is_perfect());
        for sequence in 5..50 {
            add(&mut tally, &frame(&Shape::default(), sequence as u32 % 3, sequence));
        }
        assert!(tally.report().is_perfect(), "{:?}", tally.report());
    }

    #[test]
    fn a_lost_priority_shows_although_the_rest_is_intact() {
        let tag = Tag { tpid: 0x8100, pcp: 6, dei: true, vid: 100 };
        let shape = Shape { tags: vec![tag], ..Shape::default() };
        let mut sent = frame(&shape, 0, 1);
        let mut tally = Tally::new();
        add(&mut tally, &sent);
        assert_eq!(tally.report().intact, 1);
        sent[14] &= 0x0f;
        add(&mut tally, &sent);
        assert_eq!(tally.report().corrupt, 1);
    }

    #[test]
    fn other_link_types_and_cut_frames() {
        let sent = frame(&Shape::default(), 0, 1);
        let mut tally = Tally::new();
        tally.add(LinkType::RAW, &sent[14..], 86);
        let cooked = [&[0; 20], &frame(&Shape::default(), 0, 2)[14..]].concat();
        tally.add(LinkType::SLL2, &cooked, cooked.len() as u32);
        tally.add(LinkType::ETHERNET, &frame(&Shape::default(), 0, 3)[..64], 100);
        tally.add(LinkType::ETHERNET, &sent[..50], 100);
        tally.add(LinkType::ETHERNET, &sent[..6], 100);
        let report = tally.report();
        assert_eq!((report.intact, report.cut, report.headless, report.foreign), (3, 2, 1, 1));
        assert_eq!(report.corrupt, 0);
    }

    proptest! {
        #[test]
        fn the_number_set_is_a_set(
            numbers in prop::collection::vec(prop_oneof![0u64..300, 65_400u64..65_700, any::<u64>()], 0..200),
            start in 0u64..66_000, length in 0u64..1_000,
        ) {
            let mut set = NumberSet::default();
            let mut oracle = BTreeSet::new();
            for number in numbers {
                prop_assert_eq!(set.insert(number), oracle.insert(number));
            }
            let end = start + length;
            prop_assert_eq!(set.count_between(start, end), oracle.range(start..end).count() as u64);
        }
    }
}
