//! What few flows have: tunnels; losses, stalls, errors, greetings. Boxed, and only where there is something to keep.
//!
//! ```text
//!   Flow ──► Beside: surroundings, copies ──► Rare: disorder, first letters ──► More ─┬─► Unusual
//!                                                                                   └─► hello, or its beginning
//! ```
//! A mirror port doubles packets of every flow, a snapshot length cuts every large segment, a bad link loses a
//! segment of each flow: what those count is small, so that a million such flows fit where a million plain ones do.
//! The table charges what there is of it to its memory, see [`Beside::cost`].

use gannet_packet::{Surroundings, Timestamp};

use crate::Peer;
use crate::history::{RareLetter, is_threshold};
use crate::tls::{Collecting, TlsHello};

/// What plain flows do not have. Where traffic is mirrored in tunnels every flow has it, so it is small.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beside {
    /// What its first segment came in.
    pub(crate) around: Surroundings,
    /// Copies of packets, by sender: mirror ports make them of every one.
    pub(crate) duplicates: [u32; 2],
    pub(crate) rare: Option<Box<Rare>>,
}

impl Beside {
    /// The memory that it takes, with what an allocator adds.
    pub(crate) fn cost(&self) -> usize {
        boxed(size_of::<Self>()) + self.rare.as_ref().map_or(0, |rare| rare.cost())
    }
}

/// What few flows have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rare {
    /// By sender.
    pub(crate) bytes: [DisorderedBytes; 2],
    /// By sender.
    pub(crate) counts: [Disorders; 2],
    /// The first letters.
    letters: [Option<RareLetter>; LETTERS_HERE],
    more: Option<Box<More>>,
}

/// Bytes in disorder. Apart from the [counts](Disorders), so that nothing is lost to alignment.
#[derive(Clone, Debug, Default)]
pub(crate) struct DisorderedBytes {
    pub(crate) retransmitted: u64,
    pub(crate) gaps: u64,
}

/// How often there was disorder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disorders {
    pub(crate) out_of_order: u32,
    /// How often the letters T and G would have been written.
    pub(crate) retransmissions: u32,
    pub(crate) gaps: u32,
}

/// What is larger.
#[derive(Clone, Debug, Default)]
pub(crate) struct More {
    unusual: Option<Box<Unusual>>,
    /// A TLS hello that is not complete yet.
    pub(crate) collecting: Option<Box<Collecting>>,
    pub(crate) tls: Option<Box<TlsHello>>,
}

/// What hardly any flow has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unusual {
    pub(crate) streams: [UnusualStream; 2],
    /// Times of the handshake that lie too far from the first segment to be kept as distances: SYN, SYN+ACK, ACK.
    pub(crate) handshake: [Option<Timestamp>; 3],
    /// Those that do not find room among the first.
    letters: Vec<RareLetter>,
    /// ICMP errors about segments of this flow.
    pub(crate) icmp_errors: u32,
    /// The first of them.
    pub(crate) icmp: Option<crate::IcmpError>,
    /// The last segments that were in no window, by sender: where the flow may have gone on.
    pub(crate) elsewhere: [Option<Elsewhere>; 2],
}

/// What hardly any direction has.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnusualStream {
    /// What [`crate::stream::Stream`] counts modulo 2^32: the carries.
    pub(crate) packets_high: u32,
    pub(crate) bytes_high: u32,
    pub(crate) conflicting_bytes: u64,
    pub(crate) zero_windows: u32,
    pub(crate) probe_bytes: u32,
    /// How long the windows that this end announced were 0, without the present one.
    pub(crate) stalled_ns: u64,
    /// Since when its window is 0.
    pub(crate) stalled_since: Option<Timestamp>,
}

/// Where a segment was that is in no window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elsewhere {
    /// The sequence numbers of its payload, and behind it with a FIN.
    pub(crate) sequence: u32,
    pub(crate) end: u32,
    pub(crate) acknowledgement: u32,
    /// How many segments of the flow had been taken then.
    pub(crate) taken: u32,
}

impl Rare {
    /// In the order in which they came.
    pub(crate) fn letters(&self) -> impl Iterator<Item = RareLetter> + Clone {
        let more = self.unusual().map_or(&[][..], |unusual| &unusual.letters);
        self.letters.iter().flatten().chain(more).copied()
    }

    /// Something happened for the `count`th time behind `after` other letters. `letter` is the originator's.
    pub(crate) fn letter(&mut self, from: Peer, letter: u8, count: u32, after: u64) {
        if !is_threshold(u64::from(count)) {
            return;
        }
        let letter = if from == Peer::Originator { letter } else { letter.to_ascii_lowercase() };
        // Never 0.
        let Some(letter) = RareLetter::new(after as u8, letter) else { return };
        match self.letters.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(letter),
            None => {
                let letters = &mut self.unusual_mut().letters;
                if letters.len() < LETTERS {
                    letters.push(letter);
                }
            }
        }
    }

    #[inline]
    pub(crate) fn unusual(&self) -> Option<&Unusual> {
        self.more()?.unusual.as_deref()
    }

    /// Made if there is nothing yet.
    #[cold]
    pub(crate) fn unusual_mut(&mut self) -> &mut Unusual {
        self.more_mut().unusual.get_or_insert_default()
    }

    #[inline]
    pub(crate) fn more(&self) -> Option<&More> {
        self.more.as_deref()
    }

    /// Made if there is nothing yet.
    pub(crate) fn more_mut(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    fn cost(&self) -> usize {
        boxed(size_of::<Self>()) + self.more.as_ref().map_or(0, |more| more.cost())
    }
}

impl More {
    fn cost(&self) -> usize {
        boxed(size_of::<Self>())
            + self.unusual.as_ref().map_or(0, |unusual| {
                boxed(size_of::<Unusual>()) + unusual.letters.capacity() * size_of::<RareLetter>()
            })
            + self.collecting.as_ref().map_or(0, |collecting| {
                boxed(size_of::<Collecting>())
                    + collecting.bytes.iter().flatten().map(|bytes| boxed(bytes.capacity())).sum::<usize>()
            })
            + self.tls.as_ref().map_or(0, |hello| boxed(size_of::<TlsHello>()) + hello.heap_bytes())
    }
}

impl UnusualStream {
    /// An end has announced a window.
    pub(crate) fn window(&mut self, zero: bool, now: Timestamp) {
        match (self.stalled_since, zero) {
            (None, true) => self.stalled_since = Some(now),
            (Some(since), false) => {
                self.stalled_ns += now.0.saturating_sub(since.0);
                self.stalled_since = None;
            }
            _ => {}
        }
    }
}

/// Memory that an allocation of so many bytes takes: allocators keep a word or two, and round up.
pub(crate) const fn boxed(bytes: usize) -> usize {
    (bytes + 8).next_multiple_of(16)
}

/// Letters beside the first: three kinds in two directions, ten powers of ten each, are never reached.
const LETTERS: usize = 32;

/// A first T, G or W of either direction, one more of the kind that comes often: most flows with any have no more.
const LETTERS_HERE: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// What a copied packet, a loss or a cut segment in each flow costs, tunnels included: beside an entry of 256
    /// bytes and its place in the index, so that a million flows find room in 400 MiB.
    #[test]
    fn what_may_befall_every_flow_is_small() {
        let beside = Beside { rare: Some(Box::default()), ..Beside::default() };
        assert!(beside.cost() <= 128, "{}", beside.cost());
        assert!(Beside::default().cost() <= 48, "{}", Beside::default().cost());
    }

    #[test]
    fn letters_keep_their_order_wherever_they_are_kept() {
        let mut rare = Rare::default();
        for count in 0..100_000 {
            rare.letter(Peer::Originator, b'T', count, 3);
        }
        rare.letter(Peer::Responder, b'W', 1, 4);
        rare.letter(Peer::Responder, b'W', 2, 4);
        let letters: Vec<u8> = rare.letters().map(|letter| letter.letter()).collect();
        assert_eq!(letters, b"TTTTTw");
        for _ in 0..100 {
            rare.letter(Peer::Originator, b'G', 1, 9);
        }
        assert_eq!(rare.letters().count(), LETTERS_HERE + LETTERS);
    }
}
