//! Frames to try filters on: every header that pcap-filter(7) has a word for, in every order that makes sense and in
//! some that do not.
//!
//! ```text
//!   link ─► { tag, label, session } ─► network ─► { extension } ─► transport ─► payload │ Geneve ─► another frame
//! ```
//!
//! Fields hold values of the [vocabulary](super::vocabulary), so that filters find something. Lengths and checksums
//! are right where that is easy: filters do not look at checksums. A share is cut at any length, has bytes changed,
//! or is nothing but chance.

use gannet_filter::{Link, Skb};

use super::vocabulary::{
    DECNET, ETHERTYPES, IP_PROTOCOLS, IPV4, IPV6, ISIS_TYPES, LABELS, MAC, PORTS, SAPS, SESSIONS, VLANS,
    VNIS, pick, pick_early,
};
use crate::random::Random;

/// A frame as a capture has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What was captured.
    pub bytes: Vec<u8>,
    /// How long the frame was; never less than what was captured.
    pub len: u32,
}

impl Frame {
    /// A frame that was captured whole.
    pub fn whole(bytes: Vec<u8>) -> Self {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Self { bytes, len }
    }

    /// As a filter sees it.
    pub fn skb(&self) -> Skb<'_> {
        Skb { len: self.len, ..Skb::of(&self.bytes) }
    }
}

/// An endless source of frames of one link type.
#[derive(Clone, Debug)]
pub struct Frames {
    random: Random,
    link: Link,
    bytes: Vec<u8>,
}

impl Frames {
    /// The same seed gives the same frames. [`Link::Kernel`] gives Ethernet frames.
    pub fn new(seed: u64, link: Link) -> Self {
        Self { random: Random::new(seed), link, bytes: Vec::new() }
    }

    /// The next frame, cut or damaged now and then.
    pub fn next_frame(&mut self) -> Frame {
        let mut bytes = self.next_whole();
        match self.random.below(40) {
            0..=4 => {
                let len = self.random.between(0, bytes.len() as u64) as usize;
                let whole = bytes.len() as u32;
                bytes.truncate(len);
                // Cut by the snaplen, or short on the wire.
                let len = if self.one_in(2) { whole } else { len as u32 };
                return Frame { bytes, len };
            }
            5..=6 => {
                for _ in 0..self.random.between(1, 4) {
                    let at = self.random.below(bytes.len() as u64) as usize;
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = self.random.next_u64() as u8;
                    }
                }
            }
            7 => {
                for byte in bytes.iter_mut().skip(14) {
                    *byte = self.random.next_u64() as u8;
                }
            }
            _ => {}
        }
        Frame::whole(bytes)
    }

    /// The next frame, whole and as its headers say.
    pub fn next_whole(&mut self) -> Vec<u8> {
        self.bytes.clear();
        match self.link {
            Link::Ethernet | Link::Kernel => self.ethernet(0),
            Link::Raw => self.internet(0),
            Link::Sll => self.cooked(),
            Link::Sll2 => self.cooked2(),
            Link::Null | Link::NullBigEndian | Link::Loop => self.family(),
        }
        if self.one_in(4) {
            let pad = self.random.below(40) as usize;
            self.zeros(pad);
        }
        std::mem::take(&mut self.bytes)
    }

    fn ethernet(&mut self, depth: u32) {
        let (to, from) = (self.mac(), self.mac());
        self.put(&to);
        self.put(&from);
        if self.one_in(8) {
            self.length_and_llc();
        } else {
            self.ethertype_and_on(depth);
        }
    }

    fn cooked(&mut self) {
        let kind = self.random.below(5) as u16;
        let hardware = pick(&mut self.random, &[1, 1, 772, 65534, 824, 778]);
        let mac = self.mac();
        self.put16(kind);
        self.put16(hardware);
        self.put16(6);
        self.put(&mac);
        self.put16(0);
        self.cooked_protocol_and_on(None);
    }

    fn cooked2(&mut self) {
        let at = self.bytes.len();
        let interface = self.random.below(4) as u32;
        let hardware = pick(&mut self.random, &[1, 1, 772, 65534]);
        let kind = self.random.below(5) as u8;
        let mac = self.mac();
        self.put16(0);
        self.put16(0);
        self.put32(interface);
        self.put16(hardware);
        self.put(&[kind, 6]);
        self.put(&mac);
        self.put16(0);
        self.cooked_protocol_and_on(Some(at));
    }

    /// The protocol of a cooked header, at its end or, for version 2, at `place`; then what it announces.
    fn cooked_protocol_and_on(&mut self, place: Option<usize>) {
        let at = self.bytes.len();
        if self.one_in(10) {
            // Linux has numbers of its own for what came with a length in place of an ethertype.
            self.put16(4);
            self.llc();
        } else {
            self.ethertype_and_on(0);
        }
        if let Some(place) = place {
            let protocol: Vec<u8> = self.bytes.drain(at..(at + 2).min(self.bytes.len())).collect();
            self.bytes[place..place + protocol.len()].copy_from_slice(&protocol);
        }
    }

    fn family(&mut self) {
        let v6 = self.one_in(3);
        let family: u32 = if self.one_in(10) { self.random.below(40) as u32 } else { 2 };
        let family = if v6 { pick(&mut self.random, &[10, 24, 28, 30]) } else { family };
        let bytes = if self.link == Link::Null { family.to_le_bytes() } else { family.to_be_bytes() };
        self.put(&bytes);
        if v6 { self.ipv6(0) } else { self.ipv4(0) }
    }

    /// IP of either version.
    fn internet(&mut self, depth: u32) {
        if self.one_in(3) { self.ipv6(depth) } else { self.ipv4(depth) }
    }

    /// Two bytes of ethertype and what it announces.
    fn ethertype_and_on(&mut self, depth: u32) {
        match self.random.below(32) {
            0..=10 => {
                self.put16(0x0800);
                self.ipv4(depth);
            }
            11..=15 => {
                self.put16(0x86dd);
                self.ipv6(depth);
            }
            16..=17 => {
                let ethertype = pick(&mut self.random, &[0x0806, 0x0806, 0x0806, 0x8035]);
                self.put16(ethertype);
                self.arp();
            }
            18..=22 if depth < 4 => {
                let tpid = pick(&mut self.random, &[0x8100, 0x8100, 0x8100, 0x88a8, 0x9100]);
                let id = pick_early(&mut self.random, &VLANS);
                let priority = (self.random.below(16) as u16) << 12;
                self.put16(tpid);
                self.put16(id | priority);
                if self.one_in(12) { self.length_and_llc() } else { self.ethertype_and_on(depth + 1) }
            }
            23..=25 => {
                let ethertype = pick(&mut self.random, &[0x8847, 0x8847, 0x8848]);
                self.put16(ethertype);
                self.mpls(depth);
            }
            26..=27 => self.pppoe(depth),
            28 => {
                self.put16(0x6003);
                self.decnet();
            }
            _ => {
                let ethertype = pick(&mut self.random, &ETHERTYPES);
                self.put16(ethertype);
                self.chance(40);
            }
        }
    }

    fn length_and_llc(&mut self) {
        let at = self.bytes.len();
        self.put16(0);
        self.llc();
        let len = (self.bytes.len() - at - 2).min(1500) as u16;
        self.bytes[at..at + 2].copy_from_slice(&len.to_be_bytes());
    }

    fn llc(&mut self) {
        match self.random.below(10) {
            0..=2 => {
                let sap = pick(&mut self.random, &SAPS);
                let other = if self.one_in(4) { pick(&mut self.random, &SAPS) } else { sap };
                let control = pick(&mut self.random, &LLC_CONTROLS);
                self.put(&[sap, other, control]);
                self.chance(30);
            }
            3..=5 => {
                self.put(&[0xfe, 0xfe, 0x03]);
                self.osi();
            }
            6 => {
                self.put(&[0x42, 0x42, 0x03]);
                self.chance(35);
            }
            _ => {
                // SNAP: AppleTalk's number, Ethernet's, or another.
                self.put(&[0xaa, 0xaa, 0x03]);
                let organisation = pick(&mut self.random, &[[0, 0, 0], [8, 0, 7], [0, 0, 0], [0, 0, 0x0c]]);
                self.put(&organisation);
                if organisation == [8, 0, 7] {
                    self.put16(0x809b);
                    self.chance(30);
                } else {
                    self.ethertype_and_on(4);
                }
            }
        }
    }

    /// CLNP, ES-IS, IS-IS.
    fn osi(&mut self) {
        let protocol = pick(&mut self.random, &[0x81, 0x82, 0x83, 0x83, 0x83]);
        let kind = pick(&mut self.random, &ISIS_TYPES);
        self.put(&[protocol, 27, 1, 0, kind, 1, 0, 0]);
        self.chance(30);
    }

    fn arp(&mut self) {
        let operation = self.random.between(1, 4) as u16;
        self.put(&[0, 1, 8, 0, 6, 4]);
        self.put16(operation);
        for _ in 0..2 {
            let (mac, address) = (self.mac(), self.address());
            self.put(&mac);
            self.put(&address);
        }
    }

    fn mpls(&mut self, depth: u32) {
        let labels = self.random.between(1, 3);
        for left in (0..labels).rev() {
            let label = pick_early(&mut self.random, &LABELS);
            let bottom = u32::from(left == 0) << 8;
            let traffic_class = (self.random.below(8) as u32) << 9;
            self.put32(label << 12 | traffic_class | bottom | 64);
        }
        match self.random.below(6) {
            0..=2 => self.ipv4(depth),
            3..=4 => self.ipv6(depth),
            _ => self.chance(30),
        }
    }

    fn pppoe(&mut self, depth: u32) {
        let session = pick_early(&mut self.random, &SESSIONS);
        if self.one_in(4) {
            self.put16(0x8863);
            self.put(&[0x11, 0x09]);
            self.put16(session);
            self.put16(20);
            return self.chance(20);
        }
        self.put16(0x8864);
        self.put(&[0x11, 0]);
        self.put16(session);
        self.put16(60);
        match self.random.below(8) {
            0..=3 => {
                self.put16(0x0021);
                self.ipv4(depth);
            }
            4..=5 => {
                self.put16(0x0057);
                self.ipv6(depth);
            }
            6 => {
                let protocol = pick(&mut self.random, &[0x0023, 0x0281, 0xc021, 0x8021, 0x0029, 0x002b]);
                self.put16(protocol);
                self.chance(20);
            }
            _ => self.chance(20),
        }
    }

    fn decnet(&mut self) {
        let ((area, node), (area2, node2)) =
            (pick(&mut self.random, &DECNET), pick(&mut self.random, &DECNET));
        let (to, from) =
            ((u16::from(area) << 10 | node).to_le_bytes(), (u16::from(area2) << 10 | node2).to_le_bytes());
        let pad = self.one_in(3);
        let long = self.one_in(2);
        self.put(&[30, 0]);
        if pad {
            self.put(&[0x81]);
        }
        if long {
            // Flags, then destination and source behind the fixed bytes of a DECnet MAC address.
            self.put(&[0x06, 0, 0, 0xaa, 0, 4, 0]);
            self.put(&to);
            self.put(&[0, 0, 0xaa, 0, 4, 0]);
            self.put(&from);
        } else {
            self.put(&[0x02]);
            self.put(&to);
            self.put(&from);
        }
        self.chance(20);
    }

    fn ipv4(&mut self, depth: u32) {
        let options = if self.one_in(5) { self.random.between(1, 10) as u8 } else { 0 };
        let protocol = self.protocol(&[6, 17, 6, 17, 1]);
        let fragment: u16 = match self.random.below(12) {
            0 => 0x2000,
            1 => self.random.between(1, 0x1fff) as u16 | 0x2000,
            2 => self.random.between(1, 0x1fff) as u16,
            3..=7 => 0x4000,
            _ => 0,
        };
        let (from, to) = (self.address(), self.address());
        let at = self.bytes.len();
        let (service, life) = (self.service(), self.life());
        self.put(&[0x45 + options, service, 0, 0, 0, 1]);
        self.put16(fragment);
        self.put(&[life, protocol, 0, 0]);
        self.put(&from);
        self.put(&to);
        for _ in 0..options {
            self.put(&[1, 1, 1, 0]);
        }
        self.behind_ip(protocol, depth);
        let len = (self.bytes.len() - at).min(65535) as u16;
        self.bytes[at + 2..at + 4].copy_from_slice(&len.to_be_bytes());
    }

    fn ipv6(&mut self, depth: u32) {
        let (from, to) = (self.address6(), self.address6());
        let mut chain = Vec::new();
        if self.one_in(3) {
            for _ in 0..self.random.between(1, 3) {
                chain.push(pick(&mut self.random, &[0_u8, 43, 44, 44, 51, 60]));
            }
            if self.one_in(20) {
                chain.extend([60; 12]);
            }
        }
        let last = self.protocol(&[6, 17, 6, 58, 58]);
        chain.push(last);
        let at = self.bytes.len();
        let (service, life) = (self.service(), self.life());
        self.put(&[0x60 | service >> 4, service << 4, 0, 0, 0, 0, chain[0], life]);
        self.put(&from);
        self.put(&to);
        for pair in chain.windows(2) {
            let [this, next] = pair else { continue };
            match this {
                44 => {
                    let offset = if self.one_in(2) { 0 } else { self.random.next_u64() as u16 };
                    self.put(&[*next, 0]);
                    self.put16(offset);
                    self.put32(1);
                }
                51 => {
                    self.put(&[*next, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
                }
                _ => {
                    let units = self.random.below(3) as u8;
                    self.put(&[*next, units, 1, 4, 0, 0, 0, 0]);
                    self.zeros(usize::from(units) * 8);
                }
            }
        }
        self.behind_ip(last, depth);
        let len = (self.bytes.len() - at - 40).min(65535) as u16;
        self.bytes[at + 4..at + 6].copy_from_slice(&len.to_be_bytes());
    }

    fn behind_ip(&mut self, protocol: u8, depth: u32) {
        match protocol {
            6 => self.tcp(),
            17 => self.udp(depth),
            132 => {
                self.ports();
                self.put32(7);
                self.put32(0);
                self.put(&[0, 3, 0, 20]);
                self.chance(16);
            }
            1 => {
                let kind = self.random.below(20) as u8;
                let code = self.random.below(6) as u8;
                self.put(&[kind, code, 0, 0]);
                self.chance(24);
            }
            58 => {
                let kind =
                    if self.one_in(5) { self.random.between(1, 4) } else { self.random.between(128, 154) }
                        as u8;
                let code = self.random.below(4) as u8;
                self.put(&[kind, code, 0, 0]);
                self.chance(24);
            }
            4 if depth < 3 => self.ipv4(depth + 1),
            41 if depth < 3 => self.ipv6(depth + 1),
            47 if depth < 3 => {
                self.put16(0);
                self.ethertype_and_on(depth + 2);
            }
            51 => {
                // Authentication: next header, length, then what it vouches for.
                self.put(&[6, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
                self.tcp();
            }
            _ => self.chance(30),
        }
    }

    fn tcp(&mut self) {
        self.ports();
        self.put32(1000);
        self.put32(2000);
        let options = if self.one_in(3) { self.random.between(1, 10) as u8 } else { 0 };
        let flags = pick(
            &mut self.random,
            &[0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0x14, 0x01, 0xc2, 0x20, 0, 0x52, 0xff],
        );
        self.put(&[(5 + options) << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        for _ in 0..options {
            self.put(&[2, 4, 5, 0xb4]);
        }
        match self.random.below(5) {
            0 => self.put(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            1 => self.put(b"SSH-2.0-OpenSSH_9.2\r\n"),
            2 => self.put(b"POST /x HTTP/1.1\r\n\r\n"),
            3 => self.chance(50),
            _ => {}
        }
    }

    fn udp(&mut self, depth: u32) {
        let at = self.bytes.len();
        self.ports();
        self.put16(0);
        self.put16(0);
        // Tunnels go by the destination port.
        if depth < 2 && self.one_in(4) {
            self.bytes[at + 2..at + 4].copy_from_slice(&6081_u16.to_be_bytes());
            self.geneve(depth);
        } else if depth < 2 && self.one_in(8) {
            self.bytes[at + 2..at + 4].copy_from_slice(&4789_u16.to_be_bytes());
            let vni = pick_early(&mut self.random, &VNIS);
            self.put(&[8, 0, 0, 0]);
            self.put32(vni << 8);
            self.ethernet(depth + 2);
        } else {
            self.chance(30);
        }
        let len = (self.bytes.len() - at).min(65535) as u16;
        self.bytes[at + 4..at + 6].copy_from_slice(&len.to_be_bytes());
    }

    fn geneve(&mut self, depth: u32) {
        let options = if self.one_in(3) { self.random.between(1, 4) as u8 } else { 0 };
        let version = if self.one_in(12) { 0x40 } else { 0 };
        let vni = pick_early(&mut self.random, &VNIS);
        let inner = pick(&mut self.random, &[0x6558, 0x6558, 0x6558, 0x0800, 0x86dd, 0x8847]);
        let flags = pick(&mut self.random, &[0, 0x40, 0x80]);
        self.put(&[version | options, flags]);
        self.put16(inner);
        self.put32(vni << 8);
        for _ in 0..options {
            self.put(&[1, 2, 3, 4]);
        }
        match inner {
            0x0800 => self.ipv4(depth + 1),
            0x86dd => self.ipv6(depth + 1),
            0x6558 => self.ethernet(depth + 1),
            _ => self.mpls(depth + 1),
        }
    }

    fn ports(&mut self) {
        for _ in 0..2 {
            let port = if self.one_in(3) {
                self.random.next_u64() as u16
            } else {
                pick_early(&mut self.random, &PORTS)
            };
            self.put16(port);
        }
    }

    fn protocol(&mut self, common: &[u8; 5]) -> u8 {
        if self.one_in(3) { pick(&mut self.random, &IP_PROTOCOLS) } else { pick(&mut self.random, common) }
    }

    fn service(&mut self) -> u8 {
        pick(&mut self.random, &[0, 0, 0, 0xb8, 0x10])
    }

    fn life(&mut self) -> u8 {
        pick(&mut self.random, &[64, 64, 128, 255, 1])
    }

    fn mac(&mut self) -> [u8; 6] {
        pick_early(&mut self.random, &MAC)
    }

    fn address(&mut self) -> [u8; 4] {
        pick_early(&mut self.random, &IPV4)
    }

    fn address6(&mut self) -> [u8; 16] {
        std::net::Ipv6Addr::from(pick_early(&mut self.random, &IPV6)).octets()
    }

    /// Up to so many bytes of chance.
    fn chance(&mut self, most: u64) {
        for _ in 0..self.random.between(0, most) {
            let byte = self.random.next_u64() as u8;
            self.bytes.push(byte);
        }
    }

    fn zeros(&mut self, count: usize) {
        self.bytes.resize(self.bytes.len() + count, 0);
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn put16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    fn put32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.random.below(count) == 0
    }
}

/// Control bytes of LLC: information, supervisory and unnumbered frames of every kind.
const LLC_CONTROLS: [u8; 14] =
    [0x00, 0x02, 0x01, 0x05, 0x09, 0x03, 0x63, 0x43, 0xe3, 0x6f, 0xaf, 0x87, 0x13, 0x53];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filters::oracle::LINKS;

    #[test]
    fn a_seed_is_a_sequence() {
        for link in LINKS {
            let frames = |seed| {
                let mut source = Frames::new(seed, link);
                (0..100).map(|_| source.next_frame()).collect::<Vec<_>>()
            };
            assert_eq!(frames(1), frames(1));
            assert_ne!(frames(1), frames(2));
            assert!(frames(3).iter().all(|frame| frame.len as usize >= frame.bytes.len()));
        }
    }

    /// What another decoder finds in whole frames.
    #[test]
    fn headers_are_where_they_belong() {
        let mut source = Frames::new(5, Link::Ethernet);
        let (mut tcp, mut udp, mut v6, mut tagged) = (0, 0, 0, 0);
        for _ in 0..4000 {
            let bytes = source.next_whole();
            let Ok(sliced) = etherparse::SlicedPacket::from_ethernet(&bytes) else { continue };
            tagged += u32::from(!sliced.link_exts.is_empty());
            v6 += u32::from(matches!(sliced.net, Some(etherparse::NetSlice::Ipv6(_))));
            match sliced.transport {
                Some(etherparse::TransportSlice::Tcp(_)) => tcp += 1,
                Some(etherparse::TransportSlice::Udp(_)) => udp += 1,
                _ => {}
            }
        }
        assert!(tcp > 400 && udp > 200 && v6 > 300 && tagged > 300, "{tcp} {udp} {v6} {tagged}");
    }
}
