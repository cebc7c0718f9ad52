//! Any sequence of fragments against a byte map: slow, obvious, of nothing but what the rules say.

use std::collections::BTreeMap;

use gannet_packet::{Packet, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;

use super::tests::{frame, udp, v4, v6};
use super::*;

/// A fragment as a test sends it.
#[derive(Clone, Debug)]
struct Sent {
    id: u8,
    start: usize,
    end: usize,
    more: bool,
    /// Changed by this, to conflict.
    change: u8,
}

/// What is to come of a fragment.
#[derive(Clone, Debug, PartialEq)]
enum Expected {
    Held,
    Completed(Vec<u8>),
    Duplicate,
    Overlapping,
}

/// All bytes of a datagram, each with the number of the fragment that brought it.
#[derive(Clone, Debug, Default)]
struct ByteMap {
    bytes: BTreeMap<usize, (u8, usize)>,
    /// Ranges and contents of all fragments, and whether more were to follow.
    seen: Vec<(usize, Vec<u8>, bool)>,
    end: Option<usize>,
    is_void: bool,
    is_complete: bool,
}

impl ByteMap {
    fn take(&mut self, start: usize, contents: &[u8], more: bool) -> Expected {
        let same = self.seen.iter().any(|(at, bytes, m)| (*at, &bytes[..], *m) == (start, contents, more));
        if self.is_complete {
            // Copies are known by place and contents alone.
            if self.seen.iter().any(|(at, bytes, _)| (*at, &bytes[..]) == (start, contents)) {
                return Expected::Duplicate;
            }
            *self = Self::default();
        }
        if self.is_void {
            return Expected::Overlapping;
        }
        if same {
            return Expected::Duplicate;
        }
        let end = start + contents.len();
        let overlaps = (start..end).any(|at| self.bytes.contains_key(&at));
        let behind_end = self.end.is_some_and(|last| end > last || (more && end == last));
        let other_end =
            !more && (self.end.is_some_and(|last| last != end) || self.bytes.keys().any(|&at| at >= end));
        if overlaps || behind_end || other_end {
            self.is_void = true;
            return Expected::Overlapping;
        }
        for (at, byte) in (start..end).zip(contents) {
            self.bytes.insert(at, (*byte, self.seen.len()));
        }
        self.seen.push((start, contents.to_vec(), more));
        if !more {
            self.end = Some(end);
        }
        if self.end == Some(self.bytes.len()) {
            self.is_complete = true;
            return Expected::Completed(self.bytes.values().map(|(byte, _)| *byte).collect());
        }
        Expected::Held
    }
}

/// Cuts of a datagram of `len` bytes into its fragments.
fn cuts(len: usize) -> impl Strategy<Value = Vec<(usize, usize)>> {
    vec(1..(len / 8).max(2), 1..8).prop_map(move |cuts| {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut * 8).filter(|&cut| cut < len).collect();
        cuts.extend([0, len]);
        cuts.sort_unstable();
        cuts.dedup();
        cuts.windows(2).map(|pair| (pair[0], pair[1])).collect()
    })
}

/// Fragments of two datagrams in a random order, some of them again, some that overlap.
fn conversation() -> impl Strategy<Value = (usize, Vec<Sent>)> {
    (24..600_usize).prop_flat_map(|len| {
        let extra = (0..2_u8, 0..len / 8, 1..6_usize, any::<bool>(), 0..8_u8);
        let noise = prop_oneof![3 => Just(Vec::new()), 1 => vec(extra, 0..4)];
        (cuts(len), cuts(len), noise, vec(any::<prop::sample::Index>(), 0..6)).prop_flat_map(
            move |(one, other, noise, again)| {
                let mut sent = Vec::new();
                for (id, cuts) in [(0, one), (1, other)] {
                    sent.extend(cuts.into_iter().map(|(start, end)| Sent {
                        id,
                        start,
                        end,
                        more: end < len,
                        change: 0,
                    }));
                }
                for index in again {
                    let copy = index.get(&sent).clone();
                    sent.push(copy);
                }
                for (id, start, units, more, change) in noise {
                    let (start, end) = (start * 8, (start + units) * 8);
                    sent.push(Sent { id, start, end, more, change: if change == 7 { 1 } else { 0 } });
                }
                (Just(len), Just(sent).prop_shuffle())
            },
        )
    })
}

fn contents(sent: &Sent) -> Vec<u8> {
    udp(700)[sent.start..sent.end].iter().map(|byte| byte ^ sent.change).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn as_the_byte_map_says((len, sent) in conversation(), is_v6: bool) {
        let mut fragments = Fragments::new(FragmentLimits::default(), 0x5eed);
        let mut maps = [ByteMap::default(), ByteMap::default()];
        let (mut given, mut time) = (0, 1 << 40);
        for sent in &sent {
            time += 1_000;
            let bytes = contents(sent);
            let data = match is_v6 {
                true => v6(u32::from(sent.id), 17, &[], sent.start, sent.more, &bytes),
                false => v4(u16::from(sent.id), 17, sent.start, sent.more, &bytes),
            };
            let framed = frame(&data, time);
            let packet = Packet::decode(&framed);
            if !sent.more && sent.start == 0 {
                // Not a fragment.
                continue;
            }
            given += 1;
            let expected = maps[usize::from(sent.id)].take(sent.start, &bytes, sent.more);
            let made = match fragments.take(&framed, &packet, 1) {
                Taken::Held => Expected::Held,
                Taken::Duplicate => Expected::Duplicate,
                Taken::Refused(Refusal::Overlapping) => Expected::Overlapping,
                Taken::Completed(datagram) => {
                    let header = if is_v6 { 40 } else { 20 };
                    let contents = datagram.frame().data[header..].to_vec();
                    fragments.recycle(datagram);
                    Expected::Completed(contents)
                }
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(made, expected, "{:?} of {} bytes", sent, len);
            prop_assert_eq!(fragments.check(), vec![]);
        }
        prop_assert_eq!(fragments.counters().fragments, given);
        fragments.tick(Timestamp(time + (31 << 30)));
        prop_assert_eq!((fragments.datagrams(), fragments.memory()), (0, 0));
        prop_assert_eq!(fragments.check(), vec![]);
    }

    /// Without noise: both datagrams are what was sent, whatever the order and whatever was doubled.
    #[test]
    fn what_was_sent_is_made(
        contents in vec(any::<u8>(), 480..3_000),
        (order, again) in (any::<u64>(), vec(any::<prop::sample::Index>(), 0..4)),
        sizes in vec(3..60_usize, 1..20),
    ) {
        let mut parts = Vec::new();
        let (mut at, mut size) = (0, sizes.iter().cycle());
        while at < contents.len() {
            let len = size.next().unwrap() * 8;
            parts.push((at, (at + len).min(contents.len())));
            at += len;
        }
        // By the sizes: at least one cut, and no more pieces than are allowed.
        prop_assert!((2..=128).contains(&parts.len()));
        let mut sent = parts.clone();
        sent.extend(again.iter().map(|index| *index.get(&parts)));
        // A shuffle that shrinks to the order itself.
        sent.sort_by_key(|(start, _)| (*start as u64).wrapping_mul(order).rotate_left(17));
        let mut fragments = Fragments::new(FragmentLimits::default(), 0x5eed);
        let mut made = Vec::new();
        for (start, end) in &sent {
            let data = v4(1, 200, *start, *end < contents.len(), &contents[*start..*end]);
            let framed = frame(&data, 1 << 40);
            if let Taken::Completed(datagram) = fragments.take(&framed, &Packet::decode(&framed), 1) {
                made.push(datagram.frame().data[20..].to_vec());
            }
        }
        prop_assert_eq!(made, vec![contents]);
        let count = fragments.counters();
        prop_assert_eq!((count.completed, count.duplicates), (parts.len() as u64, again.len() as u64));
    }
}
