//! Captures by chance: a seed decides everything, and what the capture's flows hold is known.
//!
//! ```text
//!   seed ─► flows ─► each: Dialogue ─► damage ─► Carriage ─► frames ─┐
//!                                                                    ├─► in the order of capture
//!           features that may be drawn ─────────────────────────────►┘
//! ```
//! A case that fails is made smaller by forbidding one [`Feature`] after the other: what else is drawn stays the same.
//!
//! No reader waits forever for bytes that come late. A case never asks for more patience than [`PATIENCE`]: where the
//! draw would, delays are halved, and given up in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use super::{
    Carriage, Conversation, Dialogue, Identifications, Known, Manner, Peer, Setup, Strain, Wrap, flags,
};
use crate::random::Random;

/// What may be in a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names say it; see the draw")]
pub enum Feature {
    Ipv6,
    WireLoss,
    NeverRepeated,
    Needless,
    Forged,
    Urgent,
    Probes,
    SynData,
    BlindReset,
    Abort,
    Together,
    NearWrap,
    ShuffledHandshake,
    Midstream,
    OneSided,
    StopsEarly,
    CaptureLoss,
    Jitter,
    Delay,
    ReadLater,
    Doubled,
    DoubledBare,
    Fragments,
    FragmentDisorder,
    Tunnels,
    Reuse,
    Large,
}

impl Feature {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::Ipv6,
        Self::WireLoss,
        Self::NeverRepeated,
        Self::Needless,
        Self::Forged,
        Self::Urgent,
        Self::Probes,
        Self::SynData,
        Self::BlindReset,
        Self::Abort,
        Self::Together,
        Self::NearWrap,
        Self::ShuffledHandshake,
        Self::Midstream,
        Self::OneSided,
        Self::StopsEarly,
        Self::CaptureLoss,
        Self::Jitter,
        Self::Delay,
        Self::ReadLater,
        Self::Doubled,
        Self::DoubledBare,
        Self::Fragments,
        Self::FragmentDisorder,
        Self::Tunnels,
        Self::Reuse,
        Self::Large,
    ];

    /// Those that take something away from what both ends have said.
    pub const LOSSES: [Self; 6] = [
        Self::NeverRepeated,
        Self::Forged,
        Self::Midstream,
        Self::OneSided,
        Self::StopsEarly,
        Self::CaptureLoss,
    ];
}

/// A set of features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features(u32);

impl Features {
    /// Every one.
    pub const ALL: Self = Self((1 << Feature::ALL.len()) - 1);

    /// The set without one.
    #[must_use]
    pub fn without(self, feature: Feature) -> Self {
        Self(self.0 & !(1 << feature as u8))
    }

    /// Whether one is in it.
    pub fn has(self, feature: Feature) -> bool {
        self.0 >> feature as u8 & 1 != 0
    }

    /// Those in it.
    pub fn iter(self) -> impl Iterator<Item = Feature> {
        Feature::ALL.into_iter().filter(move |&feature| self.has(feature))
    }
}

/// A captured frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its time stamp. Frames of a case are in the order of capture, which is not always that of time.
    pub time_ns: u64,
    /// Ethernet.
    pub bytes: Vec<u8>,
    /// Where it was captured.
    pub interface: u32,
    /// Index of its flow in the case.
    pub flow: usize,
}

/// One connection of a case and what the capture has of it.
#[derive(Clone, Debug)]
pub struct Captured {
    /// Who opened it, and the other end.
    pub ends: [SocketAddr; 2],
    /// What each end said.
    pub sent: [Vec<u8>; 2],
    /// What the capture has of that.
    pub known: [Known; 2],
    /// Nothing is missing: what is known is what was sent.
    pub whole: bool,
    /// What a reader has to wait for the bytes that come last: at most [`PATIENCE`].
    pub strain: Strain,
    /// How its packets travelled.
    pub carriage: Carriage,
    /// What was drawn for it.
    pub features: Features,
}

/// A capture of a few flows at once.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its connections. Of two between the same ends the earlier one stands first.
    pub flows: Vec<Captured>,
    /// Its frames.
    pub frames: Vec<Frame>,
}

impl Case {
    /// The case of a seed, with these features at most.
    pub fn draw(seed: u64, allowed: Features) -> Self {
        let mut random = Random::new(seed ^ 0x6761_6e6e_6574);
        let mut ids = Identifications::default();
        let (mut flows, mut keyed) = (Vec::new(), Vec::new());
        let count = 1 + random.below(4);
        let reuse = random.below(4) == 0 && allowed.has(Feature::Reuse);
        let mut start_ns = 1_768_471_200_000_000_000;
        for number in 0..count {
            // Each flow has numbers of its own, so that what one does not draw changes nothing for the others.
            let mut own = Random::new(random.next_u64());
            let plan = Plan::draw(&mut own, allowed, number, start_ns);
            let (captured, frames) = plan.capture(flows.len(), &mut own, &mut ids);
            let last = frames.iter().map(|(key, _)| *key).max().unwrap_or(start_ns);
            let ports_again = number == 0 && reuse && !plan.features.has(Feature::Fragments);
            flows.push(captured);
            keyed.extend(frames);
            if ports_again {
                let quiet = Feature::LOSSES.into_iter().filter(|&loss| loss != Feature::Forged);
                let quiet = quiet.chain([
                    Feature::NearWrap,
                    Feature::ShuffledHandshake,
                    Feature::Delay,
                    Feature::ReadLater,
                    Feature::Fragments,
                ]);
                let allowed = quiet.fold(allowed, Features::without);
                let mut next = Plan::draw(&mut own, allowed, number, last + 2_500_000_000);
                next.features = plan.features.same(Feature::Ipv6, next.features);
                next.carriage = plan.carriage.clone();
                let (captured, frames) = next.capture(flows.len(), &mut own, &mut ids);
                flows.push(captured);
                keyed.extend(frames);
            }
            start_ns += own.below(3_000_000);
        }
        // Stable: frames of one time stay in the order in which they were made.
        keyed.sort_by_key(|(key, _)| *key);
        Self { flows, frames: keyed.into_iter().map(|(_, frame)| frame).collect() }
    }

    /// The capture as a classic pcap file. It has no interfaces.
    pub fn pcap(&self) -> Vec<u8> {
        super::damage::pcap_of(
            self.frames.iter().map(|frame| (frame.time_ns, frame.bytes.len() as u32, &frame.bytes[..])),
        )
    }
}

impl Features {
    /// The second set, with `feature` as in this one.
    fn same(self, feature: Feature, other: Self) -> Self {
        if self.has(feature) { Self(other.0 | 1 << feature as u8) } else { other.without(feature) }
    }
}

/// What was drawn for one flow.
#[derive(Clone, Debug)]
struct Plan {
    setup: Setup,
    manner: Manner,
    features: Features,
    carriage: Carriage,
    /// Messages: who, and how long; both at once if there is a second length.
    messages: Vec<(Peer, usize, usize)>,
}

impl Plan {
    fn draw(random: &mut Random, allowed: Features, number: u64, start_ns: u64) -> Self {
        // Half of the flows lose nothing.
        let gentle = random.below(2) == 0;
        let mut features = Features(0);
        for feature in Feature::ALL {
            let drawn = random.below(rarity(feature)) == 0;
            let fits = !gentle || !Feature::LOSSES.contains(&feature);
            features.0 |= u32::from(drawn && fits && allowed.has(feature)) << feature as u8;
        }
        let has = |feature| features.has(feature);
        let unsure = has(Feature::CaptureLoss) || has(Feature::Midstream);
        let early = has(Feature::SynData) || has(Feature::ShuffledHandshake);
        if has(Feature::Abort) && (unsure || early) || has(Feature::Large) && unsure {
            // A SYN that comes when the connection is over, or far from where the stream was thought to begin, begins
            // another one: nobody could tell.
            features = features.without(Feature::Delay).without(Feature::ReadLater);
        }
        let has = |feature| features.has(feature);
        let setup = Setup {
            seed: random.next_u64(),
            start_ns,
            gap_ns: 1 + random.below(100_000),
            ..Setup::default()
        };
        let mut setup = setup.client_port(30_000 + number as u16);
        setup.route.client.set_ip(Ipv4Addr::new(198, 18, 1, number as u8).into());
        setup.route.timestamps = random.below(2) == 0;
        let near = random.next_u64() as u32 % 20_000;
        let far = random.next_u64();
        setup.isn = Some(match has(Feature::NearWrap) {
            true => [u32::MAX - near, u32::MAX - near / 2],
            false => [far as u32, (far >> 32) as u32],
        });
        let share = |random: &mut Random, feature, most: u64| {
            let drawn = random.below(most) + 1;
            if has(feature) { drawn } else { 0 }
        };
        let longest = [20, 300, 1_448, 1_448, 9_000][random.below(5) as usize];
        let manner = Manner {
            segment_bytes: [1 + random.below(longest) as usize / 2, longest as usize],
            latency_ns: 1 + random.below(5_000_000),
            lost: share(random, Feature::WireLoss, 300_000),
            repeats: !has(Feature::NeverRepeated),
            frugal: false,
            needless: share(random, Feature::Needless, 300_000),
            forged: share(random, Feature::Forged, 200_000),
            urgent: share(random, Feature::Urgent, 300_000),
        };
        // No case is to have thousands of segments.
        let most = (longest * 25).min(if has(Feature::Large) { 150_000 } else { 12_000 });
        let message = |random: &mut Random| {
            let from = if random.below(2) == 0 { Peer::Client } else { Peer::Server };
            let [one, other] = [(); 2].map(|()| random.between(1, most) as usize);
            (from, one, if random.below(3) == 0 && has(Feature::Together) { other } else { 0 })
        };
        let messages = (0..random.below(5)).map(|_| message(random)).collect();
        let carriage = carriage(random, features, longest as usize);
        Self { setup, manner, features, carriage, messages }
    }

    /// What is said.
    fn talk(&self, random: &mut Random) -> Conversation {
        let has = |feature| self.features.has(feature);
        let setup = if has(Feature::Ipv6) {
            let port = self.setup.route.client.port();
            // Ports tell the flows apart; fragments need addresses to do so.
            let mut setup = self.setup.clone().ipv6();
            setup.route.client.set_ip(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, port).into());
            setup
        } else {
            self.setup.clone()
        };
        let mut dialogue = Dialogue::new(setup, self.manner.clone());
        let first = random.between(1, 1_000) as usize;
        dialogue.open_with(if has(Feature::SynData) { first } else { 0 });
        for &(from, one, other) in &self.messages {
            match (from, other) {
                (_, 0) => dialogue.say(from, one),
                (Peer::Client, other) => dialogue.say_together([one, other]),
                (Peer::Server, other) => dialogue.say_together([other, one]),
            };
            let (what, who, ns) = (random.below(8), random.below(2), random.below(2_000_000_000));
            let who = [Peer::Client, Peer::Server][who as usize];
            match what {
                0 | 1 if has(Feature::Probes) => dialogue.keep_alive(who, what == 1),
                2 if has(Feature::Probes) => dialogue.stall(who, ns / 8),
                3 if has(Feature::BlindReset) => dialogue.blind_reset(who),
                4 => dialogue.pause(ns),
                _ => &mut dialogue,
            };
        }
        let (how, who) = (random.below(8), [Peer::Client, Peer::Server][random.below(2) as usize]);
        match how {
            0 => &mut dialogue,
            1 => dialogue.end(who),
            _ if has(Feature::Abort) => dialogue.abort(who),
            _ => dialogue.close(who),
        };
        dialogue.finish()
    }

    /// The flow as captured: frames with the times at which they come.
    fn capture(
        &self,
        flow: usize,
        random: &mut Random,
        ids: &mut Identifications,
    ) -> (Captured, Vec<(u64, Frame)>) {
        let said = self.talk(random);
        let seed = random.next_u64();
        let mut attempt = 0;
        loop {
            // The same numbers for every attempt: what changes are the delays.
            let mut random = Random::new(seed);
            let (damaged, read_later) = self.damage(said.clone(), &mut random, attempt);
            let frames = self.carry(flow, &damaged, &mut random, &mut ids.clone(), read_later, attempt);
            let (known, strain) = damaged.known_of(arrivals(&frames));
            if strain.within(PATIENCE) || attempt > HOPELESS {
                *ids = frames.ids;
                let sent = [Peer::Client, Peer::Server].map(|from| said.stream(from).to_vec());
                let route = said.wire.route();
                let lossless = !Feature::LOSSES.into_iter().any(|loss| self.features.has(loss));
                // A RST ends everything, also what is captured behind it.
                let aborted = self.features.has(Feature::Abort);
                let whole = lossless && !aborted;
                let features = self.features;
                let carriage = self.carriage.clone();
                let captured = Captured {
                    ends: [route.client, route.server],
                    sent,
                    known,
                    whole,
                    strain,
                    carriage,
                    features,
                };
                return (captured, frames.frames.into_iter().map(|one| (one.key, one.frame)).collect());
            }
            attempt += 1;
        }
    }

    /// What the capture does to the packets, the delays shortened by so many halvings; and how much later which
    /// direction is read.
    fn damage(&self, mut said: Conversation, random: &mut Random, attempt: u32) -> (Conversation, [u64; 2]) {
        let has = |feature| self.features.has(feature);
        let shorter = |ns: u64| if attempt >= STILL { 0 } else { ns >> (2 * attempt) };
        let [a, b] = [random.below(3) as usize, random.below(3) as usize];
        if has(Feature::ShuffledHandshake) && said.packets().len() > 3 && !has(Feature::Needless) {
            said.reorder(a, b);
        }
        let (cut, end) = (random.below(12) as usize, random.below(10) as usize);
        if has(Feature::Midstream) && attempt < STILL {
            said.midstream(cut);
        }
        if has(Feature::StopsEarly) {
            said.stop_after(said.packets().len().saturating_sub(end));
        }
        let kept = [Peer::Client, Peer::Server][random.below(2) as usize];
        if has(Feature::OneSided) {
            said.one_sided(kept);
        }
        let (share, ns) = (random.below(400_000), random.below(30_000_000));
        let mut own = Random::new(random.next_u64());
        if has(Feature::Doubled) {
            said.doubled(&mut own, share, ns);
        }
        let (share, mut own) = (random.below(200_000), Random::new(random.next_u64()));
        if has(Feature::CaptureLoss) && attempt < STILL {
            said.lose(&mut own, share);
        }
        let (share, ns) = (random.below(500_000), 1 << random.below(26));
        let mut own = Random::new(random.next_u64());
        if has(Feature::Jitter) {
            said.jitter(&mut own, share, shorter(ns));
        }
        let (who, ns) = (random.below(2) as usize, 1 << random.below(32));
        // A RST that overtakes what was sent before it is the end all the same.
        if has(Feature::Delay) {
            said.delay([Peer::Client, Peer::Server][who], shorter(ns));
        }
        let (who, ns) = (random.below(2) as usize, shorter(random.below(40_000_000)));
        let mut read_later = [0; 2];
        if has(Feature::ReadLater) {
            read_later[who] = ns;
        }
        (said, read_later)
    }

    /// The packets as frames.
    fn carry(
        &self,
        flow: usize,
        damaged: &Conversation,
        random: &mut Random,
        ids: &mut Identifications,
        read_later: [u64; 2],
        attempt: u32,
    ) -> Carried {
        let has = |feature| self.features.has(feature);
        let bare = Carriage { wraps: Vec::new(), cuts: self.carriage.cuts.clone() };
        let mut sent: BTreeMap<(u64, bool), Vec<Vec<u8>>> = BTreeMap::new();
        let mut frames = Vec::new();
        for (number, packet) in damaged.packets().iter().enumerate() {
            let mut own = Random::new(random.next_u64());
            // Fragments of both would be those of one datagram if both travelled alike.
            let otherwise = packet.copy && has(Feature::DoubledBare) && bare != self.carriage;
            let carriage = if otherwise { &bare } else { &self.carriage };
            let parts = sent
                .entry((packet.sending, otherwise))
                .or_insert_with(|| carriage.frames(packet, ids))
                .clone();
            let count = parts.len();
            // Who sees bytes before the SYN cannot know that they are not the first: a SYN comes in one go.
            let fragment = count > 1 && packet.flags & flags::SYN == 0;
            for (part, bytes) in parts.into_iter().enumerate() {
                let [late, again, lost] = [(); 3].map(|()| own.below(100));
                let moved = if fragment && has(Feature::FragmentDisorder) && late < 60 {
                    own.below(60_000)
                } else {
                    0
                };
                if fragment && has(Feature::CaptureLoss) && attempt < STILL && lost < 4 {
                    continue;
                }
                let apart = if fragment { 300 * part as u64 } else { 0 };
                let time_ns = packet.time_ns + apart + moved;
                let frame = Frame { time_ns, bytes, interface: u32::from(packet.copy), flow };
                let key = time_ns + read_later[packet.from as usize];
                let one = Part { key, frame, number, datagram: (packet.sending, otherwise), part, count };
                if fragment && has(Feature::FragmentDisorder) && again < 10 {
                    let mut copy = one.clone();
                    copy.key += 40_000;
                    copy.frame.time_ns += 40_000;
                    frames.push(copy);
                }
                frames.push(one);
            }
        }
        frames.sort_by_key(|one| one.key);
        Carried { frames, ids: ids.clone() }
    }
}

struct Carried {
    frames: Vec<Part>,
    ids: Identifications,
}

/// A frame and what it is a part of.
#[derive(Clone)]
struct Part {
    /// When it comes.
    key: u64,
    frame: Frame,
    /// Of its packet.
    number: usize,
    /// Which packet it is, captured once or twice.
    datagram: (u64, bool),
    part: usize,
    count: usize,
}

/// When which packet has come: that of the last part that was missing of it.
fn arrivals(carried: &Carried) -> Vec<(u64, usize)> {
    let mut have: BTreeMap<(u64, bool), BTreeSet<usize>> = BTreeMap::new();
    let mut arrivals = Vec::new();
    for one in &carried.frames {
        let parts = have.entry(one.datagram).or_default();
        if (parts.insert(one.part) || one.count == 1) && parts.len() == one.count {
            arrivals.push((one.frame.time_ns, one.number));
        }
    }
    arrivals
}

/// One in how many flows has it.
fn rarity(feature: Feature) -> u64 {
    match feature {
        Feature::Abort | Feature::BlindReset | Feature::Midstream | Feature::OneSided => 6,
        Feature::Large => 40,
        Feature::NeverRepeated | Feature::StopsEarly | Feature::ReadLater => 4,
        Feature::Tunnels | Feature::FragmentDisorder | Feature::CaptureLoss => 2,
        _ => 3,
    }
}

/// Tunnels, one in another at most, and where to cut.
fn carriage(random: &mut Random, features: Features, longest: usize) -> Carriage {
    let mut wraps: Vec<Wrap> = Vec::new();
    let depth = 1 + random.below(2);
    let mut ether_type = if features.has(Feature::Ipv6) { 0x86dd } else { 0x0800 };
    for _ in 0..depth {
        let wrap = wrap(random);
        if wrap.takes(ether_type) {
            ether_type = wrap.ether_type();
            wraps.push(wrap);
        }
    }
    let sizes = [24, 104, 512, 1_280];
    let cuts =
        (0..1 + random.below(2)).map(|_| (random.below(depth + 1) as usize, sizes[random.below(4) as usize]));
    let mut cuts: Vec<_> = cuts.collect();
    if !features.has(Feature::Tunnels) {
        wraps.clear();
        cuts.iter_mut().for_each(|cut| cut.0 = 0);
    }
    // A datagram is not in more pieces than a reader takes.
    cuts.iter_mut().for_each(|cut| cut.1 = cut.1.max(longest / 90).max(if cut.0 > 0 { 512 } else { 24 }));
    cuts.retain(|_| features.has(Feature::Fragments));
    cuts.truncate(if wraps.is_empty() { 1 } else { 2 });
    if cuts.len() == 2 && cuts[0].0 == cuts[1].0 {
        cuts.truncate(1);
    }
    Carriage { wraps, cuts }
}

fn wrap(random: &mut Random) -> Wrap {
    let ipv6 = random.below(3) == 0;
    let [id, more] = [random.next_u64() as u32, random.next_u64() as u32];
    let [one, two] = [more & 1 != 0, more & 2 != 0];
    let small = id as u16;
    let maybe = |there: bool| there.then_some(id);
    match random.below(16) {
        0 => Wrap::Vlan { tpid: 0x8100, id: small | 1 },
        1 => Wrap::Vlan { tpid: 0x88a8, id: small | 1 },
        2 => Wrap::Mpls { labels: vec![id >> 12 | 16; 1 + (more & 3) as usize] },
        3 => Wrap::Pseudowire { label: id >> 12 | 16, control_word: one },
        4 => Wrap::Pppoe { session: small },
        5 => Wrap::Gre { ipv6, key: maybe(one), sequence: maybe(two), checksum: more & 4 != 0 },
        6 => Wrap::GreTap { ipv6, key: maybe(one), sequence: maybe(two) },
        7 => Wrap::Pptp { call: small, hdlc: one },
        8 => Wrap::Erspan1 { ipv6 },
        9 => Wrap::Erspan2 { ipv6, session: small },
        10 => Wrap::Erspan3 { ipv6, session: small, platform: one },
        11 => Wrap::IpInIp { ipv6 },
        12 => Wrap::EtherIp { ipv6 },
        13 => Wrap::Vxlan { ipv6, vni: id >> 8, port: if one { 4_789 } else { 8_472 } },
        14 => Wrap::Geneve { ipv6, vni: id >> 8, option_words: (more >> 8) as u8 & 0x0f, ethernet: one },
        _ => Wrap::Gtpu { ipv6, teid: id, sequence: one, extension: two },
    }
}

impl Strain {
    /// Whether none is greater than that of `bound`.
    pub fn within(self, bound: Self) -> bool {
        self.waited_ns <= bound.waited_ns && self.segments <= bound.segments && self.bytes <= bound.bytes
    }
}

/// What a reader is asked for at most: well below 100 ms, 32 segments and 64 KiB.
pub const PATIENCE: Strain = Strain { waited_ns: 80_000_000, segments: 24, bytes: 48_000 };

/// From this attempt on nothing is delayed, nothing lost by the capture, which begins at the beginning.
const STILL: u32 = 8;
/// No attempt helps: what the ends did is too much already.
const HOPELESS: u32 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_case_and_whole_flows_are_known() {
        let mut drawn = BTreeSet::new();
        for seed in 0..200 {
            let case = Case::draw(seed, Features::ALL);
            assert_eq!(Case::draw(seed, Features::ALL).frames, case.frames, "{seed}");
            assert!(case.frames.iter().all(|frame| frame.flow < case.flows.len()));
            for flow in &case.flows {
                drawn.extend(flow.features.iter().map(|feature| feature as u8));
                assert!(flow.strain.within(PATIENCE), "{seed}: {:?}", flow.strain);
                for (known, sent) in flow.known.iter().zip(&flow.sent) {
                    assert!(!flow.whole || known.captured() == *sent && known.missing().is_empty(), "{seed}");
                }
            }
        }
        assert_eq!(drawn.len(), Feature::ALL.len(), "{drawn:?}");
    }

    #[test]
    fn what_is_forbidden_is_not_drawn() {
        for seed in 0..100 {
            let allowed = Features::ALL.without(Feature::Fragments).without(Feature::Tunnels);
            for flow in Case::draw(seed, allowed).flows {
                assert!(!flow.features.has(Feature::Fragments) && !flow.features.has(Feature::Tunnels));
                assert_eq!(flow.carriage, Carriage::default());
            }
        }
    }

    #[test]
    fn a_case_is_a_capture_file() {
        let case = Case::draw(7, Features::ALL);
        let file = case.pcap();
        let mut reader = gannet_pcap::SliceReader::new(&file).unwrap();
        for frame in &case.frames {
            let read = reader.next_packet().unwrap().frame;
            assert_eq!((read.data, read.timestamp.0), (&frame.bytes[..], frame.time_ns));
        }
        assert!(reader.next_packet().is_none());
    }
}
