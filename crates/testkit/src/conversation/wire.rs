//! One TCP connection as frames: addresses, sequence numbers, identifications, options, checksums.
//!
//! Knows nothing of HTTP and nothing of time beyond what the time stamp option needs. What a segment carries, when
//! it goes out and whether it makes sense is the caller's business.

use std::net::{IpAddr, SocketAddr};

use crate::random::Random;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peer {
    /// Who opens the connection and sends requests.
    Client = 0,
    /// Who answers.
    Server = 1,
}

impl Peer {
    /// The end at the other end.
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// The bits of the TCP header's flags octet.
pub mod flags {
    #![expect(missing_docs, reason = "the names say it")]
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
    pub const URG: u8 = 0x20;
}

/// What a connection has in all its frames.
#[derive(Clone, Debug)]
pub struct Route {
    /// The client's address and port; of the same family as the server's.
    pub client: SocketAddr,
    /// The server's.
    pub server: SocketAddr,
    /// Hardware addresses, the client's side first (as seen at the server: the router's).
    pub hardware: [[u8; 6]; 2],
    /// An 802.1Q tag of this VLAN.
    pub vlan: Option<u16>,
    /// Time to live of what each end sends, as seen at the capture point.
    pub ttl: [u8; 2],
    /// Whether segments carry the time stamp option (RFC 7323): 12 bytes in each.
    pub timestamps: bool,
}

/// One segment to be written.
///
/// Positions count from the end's SYN: the SYN is at 0, byte `n` of its stream at `n + 1`, the FIN behind the last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment<'a> {
    pub(crate) flags: u8,
    pub(crate) position: u64,
    /// Of the next byte that is wanted from the other end; written only under the ACK flag.
    pub(crate) ack: u64,
    pub(crate) window: u16,
    pub(crate) payload: &'a [u8],
}

/// A connection's two ends, as far as their frames need them.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    route: Route,
    ends: [End; 2],
}

#[derive(Clone, Copy, Debug)]
struct End {
    isn: u32,
    /// The next IPv4 identification: counts up by one per packet, as Linux does per connection.
    ip_id: u16,
    flow_label: u32,
    /// Added to the clock's milliseconds for the time stamp option.
    clock_offset: u32,
    /// The newest time stamp that this end has had from the other.
    heard: u32,
}

impl Wire {
    /// Draws initial sequence numbers, identifications and clock offsets; `isn` fixes the former.
    pub(crate) fn new(route: Route, isn: Option<[u32; 2]>, random: &mut Random) -> Self {
        let mut end = |peer: Peer| End {
            isn: isn.map_or(random.next_u64() as u32, |isn| isn[peer as usize]),
            ip_id: random.next_u64() as u16,
            flow_label: random.below(1 << 20) as u32,
            clock_offset: random.next_u64() as u32,
            heard: 0,
        };
        Self { route, ends: [end(Peer::Client), end(Peer::Server)] }
    }

    pub(crate) fn route(&self) -> &Route {
        &self.route
    }

    /// What the clock of `peer` shows in the time stamp option.
    pub(crate) fn clock(&self, peer: Peer, time_ns: u64) -> u32 {
        self.ends[peer as usize].clock_offset.wrapping_add((time_ns / 1_000_000) as u32)
    }

    /// `peer` has had a segment with this time stamp.
    pub(crate) fn hear(&mut self, peer: Peer, clock: u32) {
        self.ends[peer as usize].heard = clock;
    }

    /// Appends the frame of `segment`, sent by `from`, and returns its length.
    pub(crate) fn write(
        &mut self,
        out: &mut Vec<u8>,
        time_ns: u64,
        from: Peer,
        segment: &Segment<'_>,
    ) -> usize {
        let clock = self.clock(from, time_ns);
        let other_isn = self.ends[from.other() as usize].isn;
        let end = &mut self.ends[from as usize];
        let (source, destination) = match from {
            Peer::Client => (self.route.client, self.route.server),
            Peer::Server => (self.route.server, self.route.client),
        };
        let mut tcp = Header::default();
        tcp.put(&source.port().to_be_bytes());
        tcp.put(&destination.port().to_be_bytes());
        tcp.put(&end.isn.wrapping_add(segment.position as u32).to_be_bytes());
        let ack =
            if segment.flags & flags::ACK == 0 { 0 } else { other_isn.wrapping_add(segment.ack as u32) };
        tcp.put(&ack.to_be_bytes());
        tcp.put(&[0, segment.flags]);
        tcp.put(&segment.window.to_be_bytes());
        // The checksum, and where urgent data end: everything is, or nothing.
        let urgent = if segment.flags & flags::URG == 0 { 0 } else { segment.payload.len() as u16 };
        tcp.put(&[0; 2]);
        tcp.put(&urgent.to_be_bytes());
        let stamp = [clock.to_be_bytes(), end.heard.to_be_bytes()].concat_array();
        if segment.flags & flags::SYN != 0 {
            let [high, low] = SYN_MSS.to_be_bytes();
            tcp.put(&[2, 4, high, low, 4, 2]);
            if self.route.timestamps {
                tcp.put(&[8, 10]);
                tcp.put(&stamp);
            } else {
                tcp.put(&[1, 1]);
            }
            tcp.put(&[1, 3, 3, WINDOW_SCALE]);
        } else if self.route.timestamps && segment.flags & flags::RST == 0 {
            tcp.put(&[1, 1, 8, 10]);
            tcp.put(&stamp);
        }
        tcp.bytes[12] = (tcp.len as u8 / 4) << 4;

        let length = tcp.len + segment.payload.len();
        let mut sum = u64::from(TCP.to_be()) + u64::from((length as u16).to_be()) + word_sum(segment.payload);
        let mut headers = Header::default();
        headers.put(&self.route.hardware[from.other() as usize]);
        headers.put(&self.route.hardware[from as usize]);
        if let Some(vlan) = self.route.vlan {
            headers.put(&[0x81, 0]);
            headers.put(&(vlan & 0xfff).to_be_bytes());
        }
        match (source.ip(), destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                headers.put(&[0x08, 0]);
                let at = headers.len;
                headers.put(&[0x45, 0]);
                headers.put(&((IPV4_HEADER + length) as u16).to_be_bytes());
                headers.put(&end.ip_id.to_be_bytes());
                headers.put(&[0x40, 0, self.route.ttl[from as usize], TCP as u8, 0, 0]);
                headers.put(&source.octets());
                headers.put(&destination.octets());
                let checksum = !fold(word_sum(&headers.bytes[at..at + IPV4_HEADER]));
                headers.bytes[at + 10..at + 12].copy_from_slice(&checksum.to_le_bytes());
                sum += word_sum(&headers.bytes[at + 12..at + IPV4_HEADER]);
                end.ip_id = end.ip_id.wrapping_add(1);
            }
            (source, destination) => {
                headers.put(&[0x86, 0xdd]);
                let at = headers.len;
                headers.put(&(6 << 28 | end.flow_label).to_be_bytes());
                headers.put(&(length as u16).to_be_bytes());
                headers.put(&[TCP as u8, self.route.ttl[from as usize]]);
                headers.put(&octets(source));
                headers.put(&octets(destination));
                sum += word_sum(&headers.bytes[at + 8..at + 40]);
            }
        }
        sum += word_sum(&tcp.bytes[..tcp.len]);
        tcp.bytes[16..18].copy_from_slice(&(!fold(sum)).to_le_bytes());
        out.extend_from_slice(&headers.bytes[..headers.len]);
        out.extend_from_slice(&tcp.bytes[..tcp.len]);
        out.extend_from_slice(segment.payload);
        headers.len + length
    }
}

/// Bytes of headers in front of a payload that is not a SYN's.
pub(crate) fn header_bytes(route: &Route) -> usize {
    let network = if route.client.is_ipv4() { IPV4_HEADER } else { 40 };
    14 + if route.vlan.is_some() { 4 } else { 0 } + network + 20 + if route.timestamps { 12 } else { 0 }
}

/// The same for a segment with these flags: a SYN has more options, a RST none.
pub(crate) fn header_bytes_under(route: &Route, bits: u8) -> usize {
    let plain = header_bytes(route) - if route.timestamps { 12 } else { 0 };
    match bits {
        bits if bits & flags::SYN != 0 => plain + if route.timestamps { 20 } else { 12 },
        bits if bits & flags::RST != 0 => plain,
        _ => header_bytes(route),
    }
}

/// Sum of the bytes' 16-bit words, least significant byte first, the last padded with zero, before folding.
///
/// RFC 1071: "The sum of 16-bit integers can be computed in either byte order" - so it is taken in the order that
/// is quick here, four bytes at a time, and the result is stored in that order.
fn word_sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    words.iter().map(|word| u64::from(u32::from_le_bytes(*word))).sum::<u64>()
        + u64::from(u32::from_le_bytes(last))
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
    }
}

/// Headers being put together; longer ones than these do not exist here.
struct Header {
    bytes: [u8; 64],
    len: usize,
}

impl Default for Header {
    fn default() -> Self {
        Self { bytes: [0; 64], len: 0 }
    }
}

impl Header {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}

/// Two words side by side.
trait ConcatArray {
    fn concat_array(self) -> [u8; 8];
}

impl ConcatArray for [[u8; 4]; 2] {
    fn concat_array(self) -> [u8; 8] {
        let [[a, b, c, d], [e, f, g, h]] = self;
        [a, b, c, d, e, f, g, h]
    }
}

/// Protocol number, as the pseudo header has it: a word.
const TCP: u16 = 6;
/// Bytes of an IPv4 header without options.
const IPV4_HEADER: usize = 20;
/// What both ends announce: that of Ethernet without options, so that the time stamp option makes it 1448.
const SYN_MSS: u16 = 1_460;
/// Windows are announced in units of 128 bytes, as Linux does by default.
const WINDOW_SCALE: u8 = 7;

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    use proptest::prelude::*;

    fn route(ipv6: bool, vlan: Option<u16>, timestamps: bool) -> Route {
        let (client, server) =
            if ipv6 { ("[2001:db8::7]", "[2001:db8::8]") } else { ("192.0.2.7", "192.0.2.8") };
        Route {
            client: format!("{client}:4000").parse().unwrap(),
            server: format!("{server}:80").parse().unwrap(),
            hardware: [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]],
            vlan,
            ttl: [60, 64],
            timestamps,
        }
    }

    proptest! {
        #[test]
        fn frames_are_what_another_decoder_reads(
            ipv6: bool, vlan in proptest::option::of(0u16..4_096), timestamps: bool, seed: u64, kind in 0..4,
            (position, ack, window, server) in (any::<u64>(), any::<u64>(), any::<u16>(), any::<bool>()),
            payload in proptest::collection::vec(any::<u8>(), 0..1_500),
        ) {
            let route = route(ipv6, vlan, timestamps);
            let mut wire = Wire::new(route.clone(), Some([7, u32::MAX]), &mut Random::new(seed));
            let flags = [flags::SYN, flags::SYN | flags::ACK, flags::ACK | flags::PSH, flags::RST | flags::ACK]
                [kind as usize];
            let from = if server { Peer::Server } else { Peer::Client };
            let mut frame = b"before".to_vec();
            let segment = Segment { flags, position, ack, window, payload: &payload };
            let length = wire.write(&mut frame, 5_000_000, from, &segment);
            let frame = &frame[6..];
            prop_assert_eq!(frame.len(), length);

            let packet = SlicedPacket::from_ethernet(frame).unwrap();
            let tag = packet.link_exts.iter().find_map(|tag| match tag {
                etherparse::LinkExtSlice::Vlan(tag) => Some(tag.vlan_identifier().value()),
                _ => None,
            });
            prop_assert_eq!(tag, vlan);
            let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { panic!("{packet:?}") };
            let (source, destination) =
                if server { (route.server, route.client) } else { (route.client, route.server) };
            prop_assert_eq!((tcp.source_port(), tcp.destination_port()), (source.port(), destination.port()));
            let checksum = match packet.net.as_ref().unwrap() {
                NetSlice::Ipv4(ip) => {
                    let header = ip.header();
                    prop_assert_eq!(IpAddr::from(header.source_addr()), source.ip());
                    prop_assert_eq!(IpAddr::from(header.destination_addr()), destination.ip());
                    prop_assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
                    tcp.calc_checksum_ipv4(header.source(), header.destination()).unwrap()
                }
                NetSlice::Ipv6(ip) => {
                    prop_assert_eq!(IpAddr::from(ip.header().source_addr()), source.ip());
                    prop_assert_eq!(IpAddr::from(ip.header().destination_addr()), destination.ip());
                    tcp.calc_checksum_ipv6(ip.header().source(), ip.header().destination()).unwrap()
                }
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(tcp.checksum(), checksum);
            let (isn, other_isn) = if server { (u32::MAX, 7) } else { (7, u32::MAX) };
            prop_assert_eq!(tcp.sequence_number(), isn.wrapping_add(position as u32));
            let expected_ack = if flags == flags::SYN { 0 } else { other_isn.wrapping_add(ack as u32) };
            prop_assert_eq!(tcp.acknowledgment_number(), expected_ack);
            prop_assert_eq!((tcp.syn(), tcp.rst(), tcp.psh()), (kind < 2, kind == 3, kind == 2));
            prop_assert_eq!((tcp.window_size(), tcp.payload()), (window, &payload[..]));
            let stamped = tcp.options_iterator().any(|option| {
                matches!(option, Ok(etherparse::TcpOptionElement::Timestamp(clock, 0)) if clock == wire.clock(from, 5_000_000))
            });
            prop_assert_eq!(stamped, timestamps && kind != 3);
            if kind == 2 {
                prop_assert_eq!(header_bytes(&route), frame.len() - payload.len());
            }
        }
    }

    #[test]
    fn identifications_count_up_at_each_end() {
        let mut wire = Wire::new(route(false, None, true), None, &mut Random::new(1));
        let mut id = |from| {
            let mut frame = Vec::new();
            let segment = Segment { flags: flags::ACK, position: 1, ack: 1, window: 1, payload: &[] };
            wire.write(&mut frame, 0, from, &segment);
            u16::from_be_bytes([frame[18], frame[19]])
        };
        let (client, server) = (id(Peer::Client), id(Peer::Server));
        assert_eq!(id(Peer::Client), client.wrapping_add(1));
        assert_eq!(id(Peer::Server), server.wrapping_add(1));
    }
}
