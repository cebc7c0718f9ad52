//! What an all-knowing reader of a capture can say of the two streams in it: slowly, byte by byte.
//!
//! The rules are those of the trade, not of any program. A stream begins behind its SYN; without one, where its bytes
//! or the other end's acknowledgements are first seen. Each byte is that of the first captured packet that has it.
//! Missing is what lies between bytes that were seen, in front of a FIN, or what the other end has acknowledged. A
//! RST ends both streams.

use std::ops::Range;

use super::{Conversation, Packet, Peer, flags};

/// What is known of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// From its first known byte on; `None` for what was not captured.
    pub bytes: Vec<Option<u8>>,
    /// Up to here the other end has acknowledged.
    pub acknowledged: u64,
    /// Its end was captured.
    pub ended: bool,
    /// Something was captured that tells where it begins.
    pub begun: bool,
}

/// Bytes that are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Of the first of them.
    pub offset: u64,
    /// How many.
    pub len: u64,
    /// The other end had them: they were on the wire, and not in the capture.
    pub acknowledged: bool,
}

impl Known {
    /// The gaps, in order.
    pub fn missing(&self) -> Vec<Missing> {
        let mut all: Vec<Missing> = Vec::new();
        for offset in (0..self.bytes.len() as u64).filter(|&at| self.bytes[at as usize].is_none()) {
            let acknowledged = offset < self.acknowledged;
            match all.last_mut() {
                Some(last) if last.offset + last.len == offset && last.acknowledged == acknowledged => {
                    last.len += 1;
                }
                _ => all.push(Missing { offset, len: 1, acknowledged }),
            }
        }
        all
    }

    /// The bytes that are there, one after the other.
    pub fn captured(&self) -> Vec<u8> {
        self.bytes.iter().flatten().copied().collect()
    }
}

/// How long a reader has to wait for the bytes that come last. One who gives up earlier reports gaps where there are
/// none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strain {
    /// From the acknowledgement of what is missing, with more behind it, until it is captured.
    pub waited_ns: u64,
    /// Segments of the stream captured meanwhile.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Strain {
    /// The greater of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            waited_ns: self.waited_ns.max(other.waited_ns),
            segments: self.segments.max(other.segments),
            bytes: self.bytes.max(other.bytes),
        }
    }
}

impl Conversation {
    /// What is known of both streams, and what it takes to know it.
    pub fn known(&self) -> ([Known; 2], Strain) {
        self.known_of(self.packets().iter().enumerate().map(|(number, packet)| (packet.time_ns, number)))
    }

    /// The same if the packets of these numbers were captured, in this order and at these times: where packets travel
    /// in fragments, each counts when its last one comes.
    pub fn known_of(&self, arrivals: impl IntoIterator<Item = (u64, usize)>) -> ([Known; 2], Strain) {
        let mut readers = [Peer::Client, Peer::Server].map(|from| Reader::new(self.stream(from).len()));
        let (mut begun, mut strain) = (false, Strain::default());
        for (time_ns, number) in arrivals {
            let Some(packet) = self.packets().get(number) else { continue };
            let has = |bit: u8| packet.flags & bit != 0;
            let [own, other] = [packet.from as usize, packet.from.other() as usize];
            let farthest = self.stream(packet.from).len() as u64 + FIN_AND_SYN;
            // Nothing is begun by what may be the end of something.
            begun |= has(flags::SYN) || !packet.range.is_empty() && !has(flags::RST);
            if !begun || has(flags::RST) && packet.position > farthest {
                continue;
            }
            if has(flags::RST) {
                break;
            }
            readers[own].start(packet);
            if has(flags::ACK) {
                readers[other].acknowledge(packet.ack.saturating_sub(1));
            }
            readers[other].wait(time_ns);
            strain = strain.max(readers[own].take(packet, self.payload(packet), time_ns));
            if readers.iter().all(Reader::finished) {
                break;
            }
        }
        (readers.map(Reader::finish), strain)
    }
}

/// One stream, by offsets from the byte behind the SYN.
struct Reader {
    bytes: Vec<Option<u8>>,
    /// Where it begins, and whether something earlier may still turn up.
    base: Option<(u64, bool)>,
    /// All before it was captured.
    next: u64,
    highest: u64,
    fin: Option<u64>,
    acknowledged: u64,
    /// Since when bytes are missed that are acknowledged, and which.
    missed: Option<(u64, u64, Strain)>,
}

impl Reader {
    fn new(len: usize) -> Self {
        Self {
            bytes: vec![None; len],
            base: None,
            next: 0,
            highest: 0,
            fin: None,
            acknowledged: 0,
            missed: None,
        }
    }

    /// Where the stream begins, as far as a packet of its sender tells.
    fn start(&mut self, packet: &Packet) {
        let at = packet.position.saturating_sub(1);
        let syn = packet.flags & flags::SYN != 0;
        let base = match self.base {
            None if syn => (0, false),
            None => (at, packet.range.is_empty()),
            // A byte alone just in front is a probe.
            Some((base, true)) if at < base && base - at <= EARLIER => {
                match packet.range.end - packet.range.start {
                    _ if syn => (0, false),
                    0 => (base, true),
                    1 if base - at == 1 => (base, true),
                    _ => (at, true),
                }
            }
            Some((base, open)) => (base, open && !syn),
        };
        self.begin(base);
    }

    fn acknowledge(&mut self, offset: u64) {
        if self.base.is_none() {
            self.begin((offset, true));
        }
        self.acknowledged = self.acknowledged.max(offset);
    }

    fn begin(&mut self, base: (u64, bool)) {
        if self.base.is_none_or(|known| known.0 != base.0) {
            self.next = base.0;
        }
        self.base = Some(base);
    }

    /// Takes payload and FIN.
    fn take(&mut self, packet: &Packet, payload: &[u8], time_ns: u64) -> Strain {
        let Range { start, end } = packet.range.clone();
        let mut waited = Strain::default();
        if let Some((_, _, missed)) = &mut self.missed
            && !packet.range.is_empty()
        {
            missed.segments += 1;
            missed.bytes += end - start;
        }
        let fresh = (start..end).filter(|&at| at >= self.next && self.bytes[at as usize].is_none());
        if fresh.clone().any(|at| at < self.highest || self.fin.is_some())
            && let Some((since, _, missed)) = self.missed
        {
            waited = Strain { waited_ns: time_ns.saturating_sub(since), ..missed };
        }
        for (at, &byte) in (start..end).zip(payload) {
            self.bytes[at as usize].get_or_insert(byte);
        }
        if !packet.range.is_empty() {
            self.highest = self.highest.max(end);
        }
        if packet.flags & flags::FIN != 0 {
            let at = packet.position - 1 + (end - start);
            self.fin = self.fin.or(Some(at).filter(|&at| at >= self.next));
        }
        let before = self.next;
        while self.bytes.get(self.next as usize).is_some_and(Option::is_some) {
            self.next += 1;
        }
        // Once bytes are known, or that there are none, nothing earlier is new.
        let settled = self.next > before || self.finished();
        if let Some((_, open)) = &mut self.base {
            *open &= !settled;
        }
        self.wait(time_ns);
        waited
    }

    /// Takes note of when what is missing was acknowledged.
    fn wait(&mut self, time_ns: u64) {
        let hole_end = self.hole_end();
        self.missed = match (self.missed, hole_end) {
            (_, None) => None,
            (Some(missed), Some(end)) if missed.1 >= end => Some(missed),
            (_, Some(end)) if self.acknowledged >= end => {
                Some((time_ns, self.acknowledged, Strain::default()))
            }
            _ => None,
        };
    }

    /// Where the first hole ends that has something behind it.
    fn hole_end(&self) -> Option<u64> {
        let held = self.bytes.get(self.next as usize..).unwrap_or_default();
        let held = held.iter().position(Option::is_some).map(|at| self.next + at as u64);
        held.or(self.fin.filter(|&fin| fin > self.next))
    }

    fn finished(&self) -> bool {
        self.fin.is_some_and(|fin| self.next >= fin)
    }

    fn finish(self) -> Known {
        let Some((base, _)) = self.base else { return Known::default() };
        // One number more than was seen may be the FIN's.
        let acknowledged = Some(self.acknowledged).filter(|&acked| acked > self.highest.max(base) + 1);
        let end = self.fin.or(acknowledged).unwrap_or(self.highest).max(base);
        let at = |at: u64| self.bytes.get(at as usize).copied().flatten();
        Known {
            bytes: (base..end).map(at).collect(),
            acknowledged: self.acknowledged.saturating_sub(base),
            ended: self.fin.is_some(),
            begun: true,
        }
    }
}

/// Behind the last byte a sender has these positions.
const FIN_AND_SYN: u64 = 2;
/// How far in front of what the other end acknowledged first bytes may still be captured late.
const EARLIER: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::super::{Dialogue, Manner, Setup};
    use super::*;

    /// Handshake 0-2; 1,000 bytes of the client in tens, with acknowledgements between; close.
    fn conversation() -> Conversation {
        let manner = Manner { segment_bytes: [100, 100], latency_ns: 1_000, ..Manner::default() };
        let mut dialogue = Dialogue::new(Setup::default(), manner);
        dialogue.open().say(Peer::Client, 1_000).say(Peer::Server, 10).close(Peer::Client);
        dialogue.finish()
    }

    fn number(conversation: &Conversation, start: u64) -> usize {
        let is_it = |packet: &Packet| packet.from == Peer::Client && packet.range == (start..start + 100);
        conversation.packets().iter().position(is_it).unwrap()
    }

    #[test]
    fn all_is_known_of_a_whole_capture() {
        let whole = conversation();
        let (known, strain) = whole.known();
        for (from, known) in [Peer::Client, Peer::Server].into_iter().zip(&known) {
            assert_eq!(known.captured(), whole.stream(from));
            assert!(known.missing().is_empty() && known.ended && known.begun);
        }
        assert_eq!(strain, Strain::default());
    }

    #[test]
    fn what_is_dropped_is_missing_and_acknowledged() {
        let mut damaged = conversation();
        damaged.drop_packet(number(&damaged, 300));
        let ([client, _], _) = damaged.known();
        assert_eq!(client.missing(), [Missing { offset: 300, len: 100, acknowledged: true }]);
        // Seen by nobody who tells: the other end's packets are not there.
        damaged.one_sided(Peer::Client);
        let ([client, server], _) = damaged.known();
        assert_eq!(client.missing(), [Missing { offset: 300, len: 100, acknowledged: false }]);
        // Its acknowledgement counts the FIN that was not captured.
        assert_eq!(server.missing(), [Missing { offset: 0, len: 11, acknowledged: true }]);
    }

    #[test]
    fn midstream_begins_with_the_first_byte_seen() {
        let mut damaged = conversation();
        damaged.drop_packets(0..number(&damaged, 500));
        let ([client, _], _) = damaged.known();
        assert_eq!(client.captured(), damaged.stream(Peer::Client)[500..]);
        assert!(client.missing().is_empty());
        // Its end alone begins nothing.
        damaged.drop_packets(0..damaged.packets().len() - 2);
        assert!(damaged.known().0.iter().all(|known| !known.begun));
    }

    #[test]
    fn bytes_that_come_late_ask_for_patience() {
        let mut damaged = conversation();
        let (from, to) = (number(&damaged, 200), number(&damaged, 600));
        damaged.reorder(from, to);
        let (known, strain) = damaged.known();
        assert!(known[0].missing().is_empty());
        assert!(strain.segments >= 2 && strain.bytes >= 200 && strain.waited_ns > 0, "{strain:?}");
    }

    #[test]
    fn a_reset_is_the_end_and_a_blind_one_is_nothing() {
        let said = |blind: bool| {
            let mut dialogue = Dialogue::new(Setup::default(), Manner::default());
            dialogue.open().say(Peer::Client, 50);
            if blind {
                dialogue.blind_reset(Peer::Server)
            } else {
                dialogue.abort(Peer::Server)
            };
            dialogue.say(Peer::Client, 60);
            dialogue.finish().known().0[0].captured().len()
        };
        assert_eq!((said(true), said(false)), (110, 50));
    }
}
