//! What few flows have: tunnels; losses, stalls, errors, greetings. Boxed, and only where there is something to keep.

use gannet_packet::{Surroundings, Timestamp};

use crate::Peer;
use crate::history::{RareLetter, is_threshold};
use crate::tls::{Collecting, TlsHello};

/// What plain flows do not have. Where traffic is mirrored in tunnels every flow has it, so it is small.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beside {
    /// What its first segment came in.
    pub(crate) around: Surroundings,
    pub(crate) rare: Option<Box<Rare>>,
}

impl Beside {
    /// Memory that it takes with what an allocator adds.
    pub(crate) const COST: usize = size_of::<Self>() + 16;
}

/// What few flows have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rare {
    pub(crate) streams: [RareStream; 2],
    /// Times of the handshake that lie too far from the first segment to be kept as distances: SYN, SYN+ACK, ACK.
    pub(crate) handshake: [Option<Timestamp>; 3],
    letters: Vec<RareLetter>,
    /// ICMP errors about segments of this flow.
    pub(crate) icmp_errors: u32,
    /// The first of them.
    pub(crate) icmp: Option<crate::IcmpError>,
    /// The last segments that were in no window, by sender: where the flow may have gone on.
    pub(crate) elsewhere: [Option<Elsewhere>; 2],
    /// A TLS hello that is not complete yet.
    pub(crate) collecting: Option<Box<Collecting>>,
    pub(crate) tls: Option<Box<TlsHello>>,
}

/// What few directions have.
#[derive(Clone, Debug, Default)]
pub(crate) struct RareStream {
    /// What [`crate::stream::Stream`] counts modulo 2^32: the carries.
    pub(crate) packets_high: u32,
    pub(crate) bytes_high: u32,
    pub(crate) retransmitted_bytes: u64,
    pub(crate) gap_bytes: u64,
    pub(crate) conflicting_bytes: u64,
    pub(crate) out_of_order: u32,
    pub(crate) duplicates: u32,
    pub(crate) zero_windows: u32,
    /// How often the letters T and G would have been written.
    pub(crate) retransmissions: u32,
    pub(crate) gaps: u32,
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
    pub(crate) fn letters(&self) -> &[RareLetter] {
        &self.letters
    }

    /// Something happened for the `count`th time behind `after` other letters. `letter` is the originator's.
    pub(crate) fn letter(&mut self, from: Peer, letter: u8, count: u32, after: u64) {
        if is_threshold(u64::from(count)) && self.letters.len() < LETTERS {
            let letter = if from == Peer::Originator { letter } else { letter.to_ascii_lowercase() };
            self.letters.push(RareLetter { after: after as u8, letter });
        }
    }

    /// Memory that it takes at most, but for a hello.
    pub(crate) const COST: usize = Beside::COST + size_of::<Self>() + LETTERS * size_of::<RareLetter>();
}

impl RareStream {
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

/// Letters that are kept: three kinds in two directions, ten powers of ten each, are never reached.
const LETTERS: usize = 32;
