//! The usual frames, read in one go: TCP in IPv4 without options or in IPv6 without extension headers.
//!
//! ```text
//!   0             IP               TCP                      payload
//!   ├─ in front ──┼─ IPv4 or IPv6 ─┼─ TCP with options ─────┼──────────────┤ wire: by IP's length
//!      Ethernet, cooked, loopback, nothing; up to two VLAN tags
//! ```
//!
//! Nearly every frame that a stream is made of looks like this. What does not, and everything that is wrong or cut
//! within its headers, is left to the loop, which alone says why. Where this finds something, the loop finds the same:
//! a test holds them against each other.

use super::link::{cooked_type, null_type};
use crate::packet::*;
use crate::{EtherType, FlowKey, Frame, IpProtocol, LinkType, Side, Vlans, bounds};

/// The headers of the plainest and most frequent of them, with IPv4 in Ethernet, where all that is in front of the TCP
/// options is where it always is; `None` of any other.
///
/// Inlined, so that of the packet only what the caller asks for is written to memory.
#[inline(always)]
pub(super) fn plain(frame: &Frame<'_>) -> Option<Packet> {
    let header: &[u8; ETHERNET + V4 + TCP] = frame.data.first_chunk()?;
    if frame.link_type != LinkType::ETHERNET || half(header, ETHERNET - 2) != EtherType::IPV4.0 {
        return None;
    }
    ipv4(frame, Front::new(LayerKind::Ethernet, ETHERNET))
}

/// The headers of any of them; `None` of any other frame. Inlined for the same reason.
#[inline(always)]
pub(super) fn usual(frame: &Frame<'_>) -> Option<Packet> {
    let (front, ether_type) = in_front(frame)?;
    match ether_type {
        EtherType::IPV4 => ipv4(frame, front),
        EtherType::IPV6 => ipv6(frame, front),
        _ => None,
    }
}

/// What is in front of an IP header.
struct Front {
    layers: [Layer; bounds::LAYERS],
    layer_count: usize,
    vlans: Vlans,
    /// How long it is: where IP starts.
    len: usize,
}

impl Front {
    /// A link header of so many bytes.
    #[inline(always)]
    fn new(kind: LayerKind, len: usize) -> Self {
        let mut front = Self::NONE;
        front.note(kind, 0);
        front.len = len;
        front
    }

    const NONE: Self = Self {
        layers: [Layer { kind: LayerKind::Ethernet, offset: 0 }; bounds::LAYERS],
        layer_count: 0,
        vlans: Vlans::NONE,
        len: 0,
    };

    /// There are few enough headers here for each to have a place, and to start within 16 bits.
    #[inline(always)]
    fn note(&mut self, kind: LayerKind, offset: usize) {
        if let Some(layer) = self.layers.get_mut(self.layer_count) {
            *layer = Layer { kind, offset: offset as u16 };
            self.layer_count += 1;
        }
    }
}

/// What is in front of IP, and the type of what is behind that.
#[inline(always)]
fn in_front(frame: &Frame<'_>) -> Option<(Front, EtherType)> {
    let data = frame.data;
    let (mut front, mut ether_type) = match frame.link_type {
        LinkType::ETHERNET => {
            let header: &[u8; ETHERNET] = data.first_chunk()?;
            (Front::new(LayerKind::Ethernet, ETHERNET), EtherType(half(header, ETHERNET - 2)))
        }
        LinkType::SLL => {
            let header: &[u8; SLL] = data.first_chunk()?;
            (Front::new(LayerKind::LinuxCooked, SLL), cooked_type(half(header, 2), half(header, 14))?)
        }
        LinkType::SLL2 => {
            let header: &[u8; SLL2] = data.first_chunk()?;
            (Front::new(LayerKind::LinuxCooked2, SLL2), cooked_type(half(header, 8), half(header, 0))?)
        }
        LinkType::NULL | LinkType::LOOP => {
            let family: &[u8; 4] = data.first_chunk()?;
            (Front::new(LayerKind::Null, family.len()), null_type(*family)?)
        }
        LinkType::RAW if data.first()? >> 4 == 4 => (Front::NONE, EtherType::IPV4),
        LinkType::IPV4 => (Front::NONE, EtherType::IPV4),
        LinkType::RAW | LinkType::IPV6 => (Front::NONE, EtherType::IPV6),
        _ => return None,
    };
    for _ in 0..TAGS {
        if !ether_type.is_vlan() {
            break;
        }
        let tag: &[u8; TAG] = data.get(front.len..)?.first_chunk()?;
        front.vlans.push(half(tag, 0));
        front.note(LayerKind::Vlan, front.len);
        front.len += TAG;
        ether_type = EtherType(half(tag, 2));
    }
    Some((front, ether_type))
}

#[inline(always)]
fn ipv4(frame: &Frame<'_>, front: Front) -> Option<Packet> {
    let header: &[u8; V4 + TCP] = frame.data.get(front.len..)?.first_chunk()?;
    let is_plain = header[0] == V4_WITHOUT_OPTIONS
        && half(header, 6) & FRAGMENTED == 0
        && header[9] == IpProtocol::TCP.0;
    if !is_plain {
        return None;
    }
    let source = (word(header, 12), half(header, V4));
    let destination = (word(header, 16), half(header, V4 + 2));
    let flow = FlowKey::v4(source, destination, IpProtocol::TCP);
    // A total length of 0, which offloading leaves, is less than the headers.
    segment(frame, front, (LayerKind::Ipv4, V4), usize::from(half(header, 2)), flow)
}

#[inline(always)]
fn ipv6(frame: &Frame<'_>, front: Front) -> Option<Packet> {
    let header: &[u8; V6 + TCP] = frame.data.get(front.len..)?.first_chunk()?;
    if header[0] >> 4 != 6 || header[6] != IpProtocol::TCP.0 {
        return None;
    }
    let source = (address(header, 8), half(header, V6));
    let destination = (address(header, 24), half(header, V6 + 2));
    let flow = FlowKey::v6(source, destination, IpProtocol::TCP);
    segment(frame, front, (LayerKind::Ipv6, V6), V6 + usize::from(half(header, 4)), flow)
}

/// The segment behind an IP header of `ip_len` bytes, whose packet has `packet_len` bytes.
#[inline(always)]
fn segment(
    frame: &Frame<'_>,
    mut front: Front,
    (ip_kind, ip_len): (LayerKind, usize),
    packet_len: usize,
    flow: (FlowKey, Side),
) -> Option<Packet> {
    let ip = front.len;
    let tcp = ip + ip_len;
    let header: &[u8; TCP] = frame.data.get(tcp..)?.first_chunk()?;
    // The length on the wire may be behind what was captured, and what was captured may have padding.
    let wire = ip + packet_len;
    let captured = frame.data.len().min(wire);
    // The data offset counts words of four bytes.
    let len = usize::from(header[12] >> 4) * 4;
    let payload = tcp + len;
    if len < TCP || payload > captured {
        return None;
    }
    front.note(ip_kind, ip);
    front.note(LayerKind::Tcp, tcp);
    Some(Packet {
        layers: front.layers,
        layer_count: front.layer_count as u8,
        end: End::Transport,
        ip: Some(Ip {
            offset: ip as u16,
            payload_offset: tcp as u16,
            protocol: IpProtocol::TCP,
            fragment: None,
        }),
        transport: Transport::Tcp(TcpHeader {
            offset: tcp as u16,
            len: len as u8,
            flags: TcpFlags(header[13]),
            sequence: word(header, 4),
            acknowledgement: word(header, 8),
            window: half(header, 14),
        }),
        payload: Payload {
            offset: payload as u32,
            captured_len: (captured - payload) as u32,
            wire_len: (wire - payload) as u32,
        },
        flow: Some(flow),
        tunnels: 0,
        tunnel: None,
        vlans: front.vlans,
        unopened: None,
    })
}

// Of these `at` is a constant within the length wherever they are called.

#[inline(always)]
fn half<const LEN: usize>(bytes: &[u8; LEN], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

#[inline(always)]
fn word<const LEN: usize>(bytes: &[u8; LEN], at: usize) -> u32 {
    u32::from(half(bytes, at)) << 16 | u32::from(half(bytes, at + 2))
}

/// An IPv6 address.
#[inline(always)]
fn address<const LEN: usize>(bytes: &[u8; LEN], at: usize) -> u128 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |address| u128::from_be_bytes(*address))
}

// The lengths of headers: Ethernet, both kinds of cooked ones, a VLAN tag, IP and TCP without options.
const ETHERNET: usize = 14;
const SLL: usize = 16;
const SLL2: usize = 20;
const TAG: usize = 4;
const V4: usize = 20;
const V6: usize = 40;
const TCP: usize = 20;
/// Tags in front of IP: one, or those of QinQ.
const TAGS: usize = 2;
/// Version 4, and five words of header.
const V4_WITHOUT_OPTIONS: u8 = 0x45;
/// The bits of flags and fragment offset of which a fragment has one set.
const FRAGMENTED: u16 = 0x3fff;
