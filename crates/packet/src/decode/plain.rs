//! The usual frame, read in one go: Ethernet, IPv4 without options, TCP.
//!
//! ```text
//!   0            14              34                       payload
//!   ├─ Ethernet ─┼─ IPv4 ────────┼─ TCP with options ─────┼──────────────┤ wire: by the total length
//! ```
//!
//! Nearly every frame that a stream is made of looks like this, and its headers are where they always are. What is not
//! like this, and everything that is wrong or cut within its headers, is left to the loop, which alone says why.
//! Where this finds something, the loop finds the same: a test holds them against each other.

use crate::packet::*;
use crate::{EtherType, FlowKey, Frame, IpProtocol, LinkType, Vlans, bounds};

/// The headers of a frame that is as plain as that; `None` of any other.
///
/// Inlined, so that of the packet only what the caller asks for is written to memory.
#[inline(always)]
pub(super) fn plain(frame: &Frame<'_>) -> Option<Packet> {
    // All indices below are constants within this length.
    let header: &[u8; TCP + TCP_MIN] = frame.data.first_chunk()?;
    let is_plain = frame.link_type == LinkType::ETHERNET
        && half(header, IP - 2) == EtherType::IPV4.0
        && header[IP] == V4_WITHOUT_OPTIONS
        && half(header, IP + 6) & FRAGMENTED == 0
        && header[IP + 9] == IpProtocol::TCP.0;
    // The length on the wire may be behind what was captured, and what was captured may have padding.
    let wire = IP + usize::from(half(header, IP + 2));
    let captured = frame.data.len().min(wire);
    // The data offset counts words of four bytes.
    let len = usize::from(header[TCP + 12] >> 4) * 4;
    let payload = TCP + len;
    // A total length of 0, which offloading leaves, is below any of these.
    if !is_plain || len < TCP_MIN || payload > captured {
        return None;
    }
    let source = (word(header, IP + 12), half(header, TCP));
    let destination = (word(header, IP + 16), half(header, TCP + 2));
    let mut layers = [Layer::default(); bounds::LAYERS];
    layers[0] = Layer { kind: LayerKind::Ethernet, offset: 0 };
    layers[1] = Layer { kind: LayerKind::Ipv4, offset: IP as u16 };
    layers[2] = Layer { kind: LayerKind::Tcp, offset: TCP as u16 };
    Some(Packet {
        layers,
        layer_count: 3,
        end: End::Transport,
        ip: Some(Ip {
            offset: IP as u16,
            payload_offset: TCP as u16,
            protocol: IpProtocol::TCP,
            fragment: None,
        }),
        transport: Transport::Tcp(TcpHeader {
            offset: TCP as u16,
            len: len as u8,
            flags: TcpFlags(header[TCP + 13]),
            sequence: word(header, TCP + 4),
            acknowledgement: word(header, TCP + 8),
            window: half(header, TCP + 14),
        }),
        payload: Payload {
            offset: payload as u32,
            captured_len: (captured - payload) as u32,
            wire_len: (wire - payload) as u32,
        },
        flow: Some(FlowKey::v4(source, destination, IpProtocol::TCP)),
        tunnels: 0,
        tunnel: None,
        vlans: Vlans::NONE,
        unopened: None,
    })
}

#[inline]
fn half(bytes: &[u8; TCP + TCP_MIN], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

#[inline]
fn word(bytes: &[u8; TCP + TCP_MIN], at: usize) -> u32 {
    u32::from(half(bytes, at)) << 16 | u32::from(half(bytes, at + 2))
}

/// Where IPv4 starts behind an Ethernet header.
const IP: usize = 14;
/// Where TCP starts behind IPv4 without options.
const TCP: usize = IP + 20;
/// TCP without options.
const TCP_MIN: usize = 20;
/// Version 4, and five words of header.
const V4_WITHOUT_OPTIONS: u8 = 0x45;
/// The bits of flags and fragment offset of which a fragment has one set.
const FRAGMENTED: u16 = 0x3fff;
