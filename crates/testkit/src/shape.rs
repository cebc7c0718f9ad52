//! How a test frame is laid out, from the Ethernet header to the checks in its payload.
//!
//! ```text
//!   Ethernet | tags 0..n | [IPv4 | UDP 4789 | VXLAN | Ethernet] | IPv4 or IPv6 | UDP or TCP | payload
//!
//!   payload:  link check 2 | lane 4 | sequence 8 | body check 4 | noise, to the end of the frame
//! ```
//! All big-endian. The *lane* is the flow's number, its top bit set in the flow's reverse direction. The *body
//! check* covers every byte from the outer network header to the end of the frame but itself and the innermost
//! transport checksum; the *link check*, which it covers too, stands for the Ethernet header and the tags before
//! that, so that a tag put back wrongly shows, and a capture without link header can be checked all the same.
//! Both are linear sums, so a template is hashed once and patched for each number: see [`Template::number`].
//!
//! Addresses are of the ranges set aside for benchmarks and documentation (RFC 2544: 198.18.0.0/15; RFC 3849:
//! 2001:db8::/32), so no host answers, and a frame in a capture can be told from anything else.

use std::sync::LazyLock;

use crate::random::{Random, mix};

/// The headers of a frame, without what differs from flow to flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Destination hardware address of the outermost Ethernet header. The default is nobody's, so that the
    /// receiving host's stack drops the frame early (`PACKET_OTHERHOST`).
    pub destination: [u8; 6],
    /// Its source address; the two swap in the reverse direction.
    pub source: [u8; 6],
    /// VLAN tags, outermost first.
    pub tags: Vec<Tag>,
    /// Wraps the rest in VXLAN of this network identifier (24 bits) over IPv4 (RFC 7348).
    pub vxlan: Option<u32>,
    /// The (inner) network layer.
    pub network: Network,
    /// The (inner) transport.
    pub transport: Transport,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            destination: [0x02, 0x67, 0x6e, 0x74, 0xff, 0x02],
            source: [0x02, 0x67, 0x6e, 0x74, 0xff, 0x01],
            tags: Vec::new(),
            vxlan: None,
            network: Network::V4,
            transport: Transport::Udp,
        }
    }
}

/// The network layer of a [`Shape`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// IPv4 without options.
    V4,
    /// IPv6 without extension headers, with a flow label of each direction's own.
    V6,
}

/// The transport of a [`Shape`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP segments of a running connection: ACK and PSH, no options, sequence numbers that stand still.
    Tcp,
}

/// An IEEE 802.1Q tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Tag protocol identifier: 0x8100, or 0x88a8 for the outer of two.
    pub tpid: u16,
    /// Priority code point, 0 to 7.
    pub pcp: u8,
    /// Drop eligible indicator.
    pub dei: bool,
    /// VLAN identifier, 0 to 4095.
    pub vid: u16,
}

impl Tag {
    /// The 16 bits that follow the TPID.
    pub fn control(self) -> u16 {
        u16::from(self.pcp & 7) << 13 | u16::from(self.dei) << 12 | self.vid & 0xfff
    }
}

impl Shape {
    /// The shortest frame of this shape that holds the checks, in bytes without FCS: 60 for IPv4 and UDP.
    pub fn min_length(&self) -> usize {
        self.payload_at() + PAYLOAD_MIN
    }

    /// One direction of one flow, `length` bytes long, all but the number filled in.
    ///
    /// A length below [`min_length`](Self::min_length) is raised to it; what exceeds 65,535 bytes of IP is cut.
    pub fn template(&self, lane: Lane, length: usize, random: &mut Random) -> Template {
        let network_at = self.network_at();
        let length = length.clamp(self.min_length(), network_at + usize::from(u16::MAX));
        let mut bytes = Vec::with_capacity(length);
        let ethernet_type = if self.vxlan.is_some() { IPV4 } else { self.network.ether_type() };
        let (source, destination) = lane.order(self.source, self.destination);
        bytes.extend(destination);
        bytes.extend(source);
        for tag in &self.tags {
            bytes.extend(tag.tpid.to_be_bytes());
            bytes.extend(tag.control().to_be_bytes());
        }
        bytes.extend(ethernet_type.to_be_bytes());
        let link_check = link_check(&bytes);
        if let Some(identifier) = self.vxlan {
            let (source, destination) = lane.order(VTEP_A, VTEP_B);
            push_ipv4(&mut bytes, source, destination, UDP, length);
            // The port carries the inner flow's entropy; a checksum of zero is what RFC 7348 asks for.
            push_udp(&mut bytes, lane.client_port(), VXLAN_PORT, length);
            bytes.extend((VXLAN_VALID | u64::from(identifier & 0xff_ffff) << 8).to_be_bytes());
            bytes.extend(self.destination);
            bytes.extend(self.source);
            bytes.extend(self.network.ether_type().to_be_bytes());
        }
        let protocol = match self.transport {
            Transport::Udp => UDP,
            Transport::Tcp => TCP,
        };
        let pseudo = match self.network {
            Network::V4 => {
                let (source, destination) = lane.order(lane.client_v4(), SERVER_V4);
                push_ipv4(&mut bytes, source, destination, protocol, length);
                sum_words(&[source, destination].concat())
            }
            Network::V6 => {
                let (source, destination) = lane.order(lane.client_v6(), SERVER_V6);
                push_ipv6(&mut bytes, lane, source, destination, protocol, length);
                sum_words(&[source, destination].concat())
            }
        };
        let transport_at = bytes.len();
        let (source, destination) = lane.order(lane.client_port(), SERVER_PORT);
        let checksum_at = match self.transport {
            Transport::Udp => push_udp(&mut bytes, source, destination, length),
            Transport::Tcp => push_tcp(&mut bytes, source, destination, lane),
        };
        let payload_at = bytes.len();
        bytes.extend(link_check.to_be_bytes());
        bytes.extend(lane.0.to_be_bytes());
        bytes.resize(payload_at + PAYLOAD_MIN, 0);
        while bytes.len() < length {
            let room = length - bytes.len();
            bytes.extend(random.next_u64().to_le_bytes().iter().take(room));
        }
        let sum =
            pseudo + u64::from(protocol) + (length - transport_at) as u64 + sum_words(&bytes[transport_at..]);
        let sequence_at = payload_at + SEQUENCE;
        let word = (sequence_at - network_at) / 8;
        Template {
            hash: body_hash(&bytes[network_at..]),
            sum,
            udp: self.transport == Transport::Udp,
            sequence_at,
            shift: ((sequence_at - network_at) % 8 * 8) as u32,
            keys: [KEYS[word], KEYS[word + 1]],
            checksum_at,
            bytes,
        }
    }

    fn network_at(&self) -> usize {
        ETHERNET + self.tags.len() * TAG
    }

    fn payload_at(&self) -> usize {
        let tunnel = if self.vxlan.is_some() { IPV4_HEADER + UDP_HEADER + VXLAN + ETHERNET } else { 0 };
        let network = match self.network {
            Network::V4 => IPV4_HEADER,
            Network::V6 => IPV6_HEADER,
        };
        let transport = match self.transport {
            Transport::Udp => UDP_HEADER,
            Transport::Tcp => TCP_HEADER,
        };
        self.network_at() + tunnel + network + transport
    }
}

impl Network {
    fn ether_type(self) -> u16 {
        match self {
            Self::V4 => IPV4,
            Self::V6 => IPV6,
        }
    }
}

/// One direction of a flow: the flow's number, and in the top bit the direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane(pub(crate) u32);

impl Lane {
    /// Of a flow below 2^30; above, the flows' addresses and ports would repeat.
    pub fn new(flow: u32, reverse: bool) -> Self {
        Self(flow & (REVERSE - 1) | if reverse { REVERSE } else { 0 })
    }

    /// The flow's number.
    pub fn flow(self) -> u32 {
        self.0 & (REVERSE - 1)
    }

    /// True for what the server sends.
    pub fn reverse(self) -> bool {
        self.0 & REVERSE != 0
    }

    fn order<T>(self, client: T, server: T) -> (T, T) {
        if self.reverse() { (server, client) } else { (client, server) }
    }

    fn client_v4(self) -> [u8; 4] {
        let [_, _, high, low] = self.flow().to_be_bytes();
        [198, 18, high, low]
    }

    fn client_v6(self) -> [u8; 16] {
        let mut address = SERVER_V6;
        address[7] = 1;
        address[14..].copy_from_slice(&self.client_v4()[2..]);
        address
    }

    /// Differs between flows that share an address: one to one in the flow's upper bits for given lower ones.
    fn client_port(self) -> u16 {
        let flow = self.flow();
        49_152 + (((flow >> 16) + (flow & 0xffff) * 31) % 16_384) as u16
    }

    fn flow_label(self) -> u32 {
        (mix(u64::from(self.0)) & 0xf_ffff) as u32
    }
}

/// A frame of which only the number is missing.
#[derive(Clone, Debug)]
pub struct Template {
    bytes: Vec<u8>,
    /// Of the body with the number and both checks zero.
    hash: u64,
    /// Of the pseudo header and the transport segment, likewise, before folding.
    sum: u64,
    udp: bool,
    sequence_at: usize,
    /// Where the number lies in the hash's words: bits into the first, and the keys of the two.
    shift: u32,
    keys: [u64; 2],
    checksum_at: usize,
}

impl Template {
    /// Makes it the frame of that number: writes the number, the body check and the transport checksum.
    #[inline]
    pub fn number(&mut self, sequence: u64) {
        let number = sequence.to_be_bytes();
        let value = u64::from_le_bytes(number);
        let spill = value.checked_shr(u64::BITS - self.shift).unwrap_or(0);
        let hash = self
            .hash
            .wrapping_add((value << self.shift).wrapping_mul(self.keys[0]))
            .wrapping_add(spill.wrapping_mul(self.keys[1]));
        let check = finish(hash).to_be_bytes();
        self.bytes[self.sequence_at..][..8].copy_from_slice(&number);
        self.bytes[self.sequence_at + 8..][..4].copy_from_slice(&check);
        let sum = self.sum + sum_words(&number) + sum_words(&check);
        let checksum = !fold(sum);
        // RFC 768: "If the computed checksum is zero, it is transmitted as all ones".
        let checksum = if self.udp && checksum == 0 { 0xffff } else { checksum };
        self.bytes[self.checksum_at..][..2].copy_from_slice(&checksum.to_be_bytes());
    }

    /// The frame as it goes on the wire, without FCS.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A test frame found in captured bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Whose frame it is.
    pub(crate) lane: Lane,
    /// Its number.
    pub(crate) sequence: u64,
    /// What the checks say.
    pub(crate) intact: bool,
}

/// What captured bytes are, seen from the network header on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sighting {
    /// A test frame, intact or not.
    Frame(Found),
    /// A test frame cut by the snaplen before its number.
    Headless,
    /// Not of our making.
    Foreign,
}

/// Looks at captured bytes: `link` is what came before the network header, if it was Ethernet; `missing` is how
/// many bytes the snaplen cut off. A frame that was cut is intact if what is left of it can be right.
pub(crate) fn examine(link: Option<&[u8]>, body: &[u8], missing: usize) -> Sighting {
    let Some(place) = locate(body, 0) else { return Sighting::Foreign };
    let Some(payload) = body.get(place.payload_at..).filter(|payload| payload.len() >= PAYLOAD_MIN) else {
        return if missing > 0 { Sighting::Headless } else { Sighting::Foreign };
    };
    let number = |at: usize, len: usize| {
        payload[at..at + len].iter().fold(0u64, |value, &byte| value << 8 | u64::from(byte))
    };
    let lane = Lane(number(LANE, 4) as u32);
    let link_intact = link.is_none_or(|link| u64::from(link_check(link)) == number(0, 2));
    let whole = missing > 0 || {
        let mut covered = body.to_vec();
        covered[place.checksum_at..][..2].fill(0);
        covered[place.payload_at + CHECK..][..4].fill(0);
        u64::from(finish(body_hash(&covered))) == number(CHECK, 4)
    };
    let intact = link_intact && whole && place.length == body.len() + missing;
    Sighting::Frame(Found { lane, sequence: number(SEQUENCE, 8), intact })
}

/// Where things are in a body, counted from the outer network header.
struct Place {
    payload_at: usize,
    checksum_at: usize,
    /// Of the body, as the outer IP header says.
    length: usize,
}

/// Finds the payload of a test frame by its addresses; `None` if it is none or too short to tell.
fn locate(body: &[u8], at: usize) -> Option<Place> {
    let header = body.get(at..)?;
    let word = |at: usize| Some(u16::from_be_bytes([*header.get(at)?, *header.get(at + 1)?]));
    let (protocol, transport, length) = match header.first()? >> 4 {
        4 if header.get(12..14)? == [198, 18] || header.get(12..14)? == [198, 19] => {
            (*header.get(9)?, IPV4_HEADER, usize::from(word(2)?))
        }
        6 if header.get(8..14)? == &SERVER_V6[..6] => {
            (*header.get(6)?, IPV6_HEADER, IPV6_HEADER + usize::from(word(4)?))
        }
        _ => return None,
    };
    let tunnel = protocol == UDP && word(transport + 2)? == VXLAN_PORT;
    if tunnel {
        let inner = locate(body, at + transport + UDP_HEADER + VXLAN + ETHERNET)?;
        return Some(Place { length: at + length, ..inner });
    }
    let (header_length, checksum) = match protocol {
        UDP => (UDP_HEADER, 6),
        TCP => (TCP_HEADER, 16),
        _ => return None,
    };
    Some(Place {
        payload_at: at + transport + header_length,
        checksum_at: at + transport + checksum,
        length: at + length,
    })
}

fn push_ipv4(bytes: &mut Vec<u8>, source: [u8; 4], destination: [u8; 4], protocol: u8, frame: usize) {
    let at = bytes.len();
    let total = (frame - at) as u16;
    bytes.extend([0x45, 0]);
    bytes.extend(total.to_be_bytes());
    // Identification 0 with "don't fragment" is what RFC 6864 allows for atomic datagrams.
    bytes.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
    bytes.extend(source);
    bytes.extend(destination);
    let checksum = !fold(sum_words(&bytes[at..]));
    bytes[at + 10..at + 12].copy_from_slice(&checksum.to_be_bytes());
}

fn push_ipv6(
    bytes: &mut Vec<u8>,
    lane: Lane,
    source: [u8; 16],
    destination: [u8; 16],
    protocol: u8,
    frame: usize,
) {
    let length = (frame - bytes.len() - IPV6_HEADER) as u16;
    bytes.extend((6 << 28 | lane.flow_label()).to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.extend([protocol, 64]);
    bytes.extend(source);
    bytes.extend(destination);
}

/// Returns where its checksum is, left zero.
fn push_udp(bytes: &mut Vec<u8>, source: u16, destination: u16, frame: usize) -> usize {
    let at = bytes.len();
    for field in [source, destination, (frame - at) as u16, 0] {
        bytes.extend(field.to_be_bytes());
    }
    at + 6
}

/// Returns where its checksum is, left zero.
fn push_tcp(bytes: &mut Vec<u8>, source: u16, destination: u16, lane: Lane) -> usize {
    let at = bytes.len();
    let number = |reverse| (mix(u64::from(Lane::new(lane.flow(), reverse).0)) as u32).to_be_bytes();
    bytes.extend(source.to_be_bytes());
    bytes.extend(destination.to_be_bytes());
    bytes.extend(number(lane.reverse()));
    bytes.extend(number(!lane.reverse()));
    // Data offset 5 words; PSH and ACK; window 65,535.
    bytes.extend([0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
    at + 16
}

/// Sum of the 16-bit words that the Internet checksum folds (RFC 1071); an odd last byte counts as a high one.
fn sum_words(bytes: &[u8]) -> u64 {
    bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0))).sum()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

/// The body's words (little-endian, the last padded with zeros) times a key each, summed modulo 2^64.
fn body_hash(body: &[u8]) -> u64 {
    let (words, rest) = body.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    words
        .iter()
        .chain(std::iter::once(&last))
        .zip(KEYS.iter())
        .fold(0, |sum: u64, (word, key)| sum.wrapping_add(u64::from_le_bytes(*word).wrapping_mul(*key)))
}

fn finish(hash: u64) -> u32 {
    (mix(hash) >> 32) as u32
}

fn link_check(link: &[u8]) -> u16 {
    let hash = link.iter().fold(0, |hash, &byte| mix(hash ^ u64::from(byte)));
    (hash >> 48) as u16
}

/// Odd keys, one per 8 bytes of the longest IP packet, and one beyond.
static KEYS: LazyLock<Vec<u64>> = LazyLock::new(|| (1..=65_536 / 8 + 2).map(|i| mix(i) | 1).collect());

const REVERSE: u32 = 1 << 31;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ETHERNET: usize = 14;
const TAG: usize = 4;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const UDP_HEADER: usize = 8;
const TCP_HEADER: usize = 20;
const VXLAN: usize = 8;
const VXLAN_PORT: u16 = 4789;
/// The flag "the identifier is valid", in the place it has in the header's 64 bits.
const VXLAN_VALID: u64 = 0x08 << 56;
const VTEP_A: [u8; 4] = [198, 19, 254, 1];
const VTEP_B: [u8; 4] = [198, 19, 254, 2];
const SERVER_V4: [u8; 4] = [198, 19, 0, 1];
const SERVER_V6: [u8; 16] = [0x20, 0x01, 0x0d, 0xb8, 0x67, 0x61, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// The discard service (RFC 863): nobody dissects it further.
const SERVER_PORT: u16 = 9;

/// Offsets in the payload.
const LANE: usize = 2;
const SEQUENCE: usize = 6;
const CHECK: usize = 14;
const PAYLOAD_MIN: usize = 18;

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    use proptest::prelude::*;

    fn shapes() -> impl Strategy<Value = Shape> {
        let tag = (prop_oneof![Just(0x8100), Just(0x88a8)], 0u8..8, any::<bool>(), 0u16..4096)
            .prop_map(|(tpid, pcp, dei, vid)| Tag { tpid, pcp, dei, vid });
        (
            prop::collection::vec(tag, 0..3),
            prop::option::of(0u32..1 << 24),
            prop_oneof![Just(Network::V4), Just(Network::V6)],
            prop_oneof![Just(Transport::Udp), Just(Transport::Tcp)],
        )
            .prop_map(|(tags, vxlan, network, transport)| Shape {
                tags,
                vxlan,
                network,
                transport,
                ..Shape::default()
            })
    }

    fn frames() -> impl Strategy<Value = (Shape, Lane, usize, u64, u64)> {
        (shapes(), 0u32..1 << 30, any::<bool>(), 0usize..3_000, any::<u64>(), any::<u64>()).prop_map(
            |(shape, flow, reverse, length, sequence, seed)| {
                (shape, Lane::new(flow, reverse), length, sequence, seed)
            },
        )
    }

    fn build(shape: &Shape, lane: Lane, length: usize, sequence: u64, seed: u64) -> Vec<u8> {
        let mut template = shape.template(lane, length, &mut Random::new(seed));
        template.number(sequence ^ 1);
        template.number(sequence);
        template.bytes().to_vec()
    }

    fn look(shape: &Shape, frame: &[u8]) -> Sighting {
        let (link, body) = frame.split_at(shape.network_at());
        examine(Some(link), body, 0)
    }

    /// Etherparse, which nothing here is built on, reads the headers and agrees with lengths and checksums.
    fn check_headers(packet: &SlicedPacket<'_>) {
        let source_and_destination = match packet.net.as_ref().unwrap() {
            NetSlice::Ipv4(ip) => {
                assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
                (ip.header().source().to_vec(), ip.header().destination().to_vec())
            }
            NetSlice::Ipv6(ip) => (ip.header().source().to_vec(), ip.header().destination().to_vec()),
            other => panic!("{other:?}"),
        };
        let (protocol, segment, udp_checksum) = match packet.transport.as_ref().unwrap() {
            TransportSlice::Udp(udp) => (17, udp.slice(), Some(udp.checksum())),
            TransportSlice::Tcp(tcp) => (6, tcp.slice(), None),
            other => panic!("{other:?}"),
        };
        assert_ne!(udp_checksum, Some(0));
        let (source, destination) = source_and_destination;
        let mut covered = [source, destination, vec![0, protocol]].concat();
        covered.extend((segment.len() as u32).to_be_bytes());
        covered.extend(segment);
        assert_eq!(fold(sum_words(&covered)), 0xffff, "the transport checksum");
    }

    proptest! {
        #[test]
        fn frames_are_well_formed_and_found_again((shape, lane, length, sequence, seed) in frames()) {
            let frame = build(&shape, lane, length, sequence, seed);
            prop_assert_eq!(frame.len(), length.max(shape.min_length()));
            let packet = SlicedPacket::from_ethernet(&frame).unwrap();
            if shape.vxlan.is_some() {
                let Some(TransportSlice::Udp(outer)) = &packet.transport else { panic!("{packet:?}") };
                prop_assert_eq!(outer.destination_port(), 4789);
                prop_assert_eq!(outer.checksum(), 0);
                check_headers(&SlicedPacket::from_ethernet(&outer.payload()[8..]).unwrap());
            } else {
                check_headers(&packet);
            }
            let found = Found { lane, sequence, intact: true };
            prop_assert_eq!(look(&shape, &frame), Sighting::Frame(found));
        }

        #[test]
        fn any_changed_byte_shows(
            (shape, lane, length, sequence, seed) in frames(), at in any::<prop::sample::Index>(), flip in 1u8..=255,
        ) {
            let mut frame = build(&shape, lane, length, sequence, seed);
            let at = at.index(frame.len());
            // The transport checksum is the one field that the body check leaves out.
            let place = locate(&frame[shape.network_at()..], 0).unwrap();
            let checksum_at = shape.network_at() + place.checksum_at;
            prop_assume!(!(checksum_at..checksum_at + 2).contains(&at));
            frame[at] ^= flip;
            if let Sighting::Frame(found) = look(&shape, &frame) {
                prop_assert!(!found.intact, "byte {at}");
            }
        }

        #[test]
        fn cut_frames_keep_their_number((shape, lane, length, sequence, seed) in frames(), keep in 0usize..3_000) {
            let frame = build(&shape, lane, length, sequence, seed);
            let body = &frame[shape.network_at()..];
            let keep = keep.min(body.len());
            let sighting = examine(None, &body[..keep], body.len() - keep);
            if keep + shape.network_at() >= shape.min_length() {
                prop_assert_eq!(sighting, Sighting::Frame(Found { lane, sequence, intact: true }));
            } else {
                prop_assert!(matches!(sighting, Sighting::Headless | Sighting::Foreign));
            }
        }
    }

    #[test]
    fn the_shortest_frames() {
        let udp = Shape::default();
        assert_eq!(udp.min_length(), 60);
        let tcp = Shape { transport: Transport::Tcp, network: Network::V6, ..Shape::default() };
        assert_eq!(tcp.min_length(), 92);
    }

    #[test]
    fn flows_have_five_tuples_of_their_own() {
        let mut seen = std::collections::HashSet::new();
        for flow in (0..200_000).chain((1 << 30) - 1_000..1 << 30) {
            let lane = Lane::new(flow, false);
            assert!(seen.insert((lane.client_v4(), lane.client_port())), "flow {flow}");
        }
    }

    #[test]
    fn a_tag_is_laid_out_as_the_standard_says() {
        let tag = Tag { tpid: 0x88a8, pcp: 5, dei: true, vid: 0x123 };
        let shape = Shape { tags: vec![tag], ..Shape::default() };
        let frame = build(&shape, Lane::new(1, false), 100, 1, 1);
        assert_eq!(frame[12..18], [0x88, 0xa8, 0xb1, 0x23, 0x08, 0x00]);
    }
}
