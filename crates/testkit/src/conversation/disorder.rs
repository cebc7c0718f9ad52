//! Damage to order: what a capture sees late, in two places, or of the wrong time.

use super::{Conversation, Packet, Peer, flags};
use crate::random::Random;

/// Damage by chance; what is drawn is decided by `random` alone.
impl Conversation {
    /// One direction is captured so much later than the other: the acknowledgement comes before what it acknowledges.
    pub fn delay(&mut self, from: Peer, ns: u64) -> &mut Self {
        self.shift(|packet| if packet.from == from { ns } else { 0 })
    }

    /// So many of a million packets are captured up to `ns` late. Those of the handshake keep their places.
    pub fn jitter(&mut self, random: &mut Random, share: u64, ns: u64) -> &mut Self {
        let late = |packet: &Packet, random: &mut Random| {
            let chosen = packet.flags & flags::SYN == 0 && random.chance_in_million(share);
            if chosen { random.below(ns + 1) } else { 0 }
        };
        let shifts: Vec<u64> = self.packets.iter().map(|packet| late(packet, random)).collect();
        let mut shifts = shifts.into_iter();
        self.shift(|_| shifts.next().unwrap_or(0))
    }

    /// So many of a million packets are captured twice, the second time up to `ns` later.
    pub fn doubled(&mut self, random: &mut Random, share: u64, ns: u64) -> &mut Self {
        for number in (0..self.packets.len()).rev() {
            if random.chance_in_million(share) {
                // A SYN's copy follows at once: one whose original is not captured is to come before the data all the
                // same.
                let syn = self.packets[number].flags & flags::SYN != 0;
                self.duplicate(number, if syn { 0 } else { random.below(ns + 1) });
            }
        }
        self
    }

    /// So many of a million packets are not captured.
    pub fn lose(&mut self, random: &mut Random, share: u64) -> &mut Self {
        for number in (0..self.packets.len()).rev() {
            if random.chance_in_million(share) {
                self.drop_packet(number);
            }
        }
        self
    }

    /// Each packet is captured so much later, and in the order of the new times. Nothing knows places of a handshake
    /// afterwards.
    fn shift(&mut self, mut by: impl FnMut(&Packet) -> u64) -> &mut Self {
        for packet in &mut self.packets {
            packet.time_ns += by(packet);
        }
        self.packets.sort_by_key(|packet| packet.time_ns);
        self.handshake = None;
        self
    }
}
