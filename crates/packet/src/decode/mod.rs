//! From a frame to its headers: a loop in which every header names the next.
//!
//! ```text
//!   link type ─► Ethernet ─► ethertype ─► VLAN, MPLS, PPPoE ─┐
//!                   ▲            ▲  └────────────────────────┘
//!                   │            └── LLC/SNAP, cooked, null, raw
//!                   │                 ▼
//!                   │          IPv4, IPv6 ─► protocol ─► extension headers ─┐
//!                   │              ▲            ▲  └────────────────────────┘
//!                   │              │            ├──► TCP, ICMP, ...: the end
//!                   └── tunnels ───┴────────────┴──► UDP
//! ```
//!
//! Tunnels are opened as [`Decap`] says, [`bounds::TUNNELS`] of them inside one another. Where a tunnel shows by its
//! UDP port only, what is in the datagram has to look like it as well; else it is a datagram like any other.
//!
//! Two ends are kept apart. `captured` is where the bytes end that we have, `wire` where the packet ended by the
//! lengths in its headers. A header that ends beyond `captured` but not beyond `wire` was cut by the snaplen;
//! one that ends beyond `wire` makes the packet malformed. Lengths of 0, which offloading leaves in super-frames
//! (IPv4 total length, IPv6 payload length), mean that the frame's length is to be trusted.
//!
//! Mirrors (of a cloud's network, of a switch) send copies of frames in tunnels that carry Ethernet, cut to what the
//! way to the collector takes, and nothing says so but the lengths: an IP packet that is longer than such a tunnel
//! holds was cut, like one that is longer than its frame.
//!
//! Most frames are a TCP segment with nothing unusual about its headers and go a shorter way, which is no other: see
//! `plain`.
//!
//! Headers are read by etherparse's slices of single layers. Its whole-packet types cost three to five times as
//! much, want the packet whole, and know no tunnels; where even a single slice is too strict (cooked headers of
//! unknown hardware, ICMP) or missing (SLL2, MPLS, GRE, VXLAN, LLC) the few fields are read here.
//!
//! No bytes make any of this panic: every access is a checked slice.

mod link;
mod network;
mod plain;
mod transport;
mod tunnel;

use crate::packet::*;
use crate::tunnel::DEFAULT;
use crate::{Decap, EtherType, Frame, IpProtocol, LinkType, Tunnel, TunnelKind, TunnelKinds, Vlans, bounds};

impl Packet {
    /// Finds the headers of a frame, in all tunnels that are known. Never fails: [`Packet::end`] says how far it came
    /// and why it stopped.
    #[inline(always)]
    pub fn decode(frame: &Frame<'_>) -> Self {
        Self::decode_with(frame, &DEFAULT)
    }

    /// Likewise, in those tunnels that `decap` wants opened.
    #[inline(always)]
    pub fn decode_with(frame: &Frame<'_>, decap: &Decap) -> Self {
        match plain::usual(frame) {
            Some(packet) => packet,
            None => Self::decode_unusual(frame, decap),
        }
    }

    /// Likewise, if the frame is a plain TCP segment in IPv4 in Ethernet, as most are; `None` for any other.
    ///
    /// For loops that take such segments by themselves: of the packet only what is asked for is written to memory then.
    #[inline(always)]
    pub fn decode_plain(frame: &Frame<'_>) -> Option<Self> {
        plain::plain(frame)
    }

    /// Likewise, if the frame is one that there is a short way for; `None` for any other. Plain segments are among
    /// them, and those in IPv6 without extension headers, in up to two VLAN tags, behind a cooked header or an address
    /// family, or behind no link header.
    #[inline(always)]
    pub fn decode_usual(frame: &Frame<'_>) -> Option<Self> {
        plain::usual(frame)
    }

    /// Whether packets of a link type are looked into at all.
    pub fn knows(link_type: LinkType) -> bool {
        Next::of_link(link_type).is_some()
    }

    /// As [`decode_with`](Self::decode_with), for whoever has tried the short way.
    #[inline]
    pub fn decode_unusual(frame: &Frame<'_>, decap: &Decap) -> Self {
        Self::decode_inside(frame, decap, &Surroundings::NONE)
    }

    /// Likewise for what lies in something that is not in its frame: a datagram that was put together from fragments in
    /// the tunnels and VLANs of the fragment that completed it, whose [`surroundings`](Packet::surroundings) these are;
    /// a frame in the VLAN of a tag that was taken off.
    pub fn decode_inside(frame: &Frame<'_>, decap: &Decap, around: &Surroundings) -> Self {
        let (end, packet) = Self::decode_any(frame, decap, around);
        Self { end, ..packet }
    }

    /// The loop: where it ended, and what it found up to there.
    ///
    /// Not a packet as the caller's, for which the two ways would have to share one place in memory: a plain packet is
    /// taken apart in registers.
    #[inline(never)]
    fn decode_any(frame: &Frame<'_>, decap: &Decap, around: &Surroundings) -> (End, Self) {
        let mut decoder = Decoder::new(frame, decap, around);
        let Some(mut next) = Next::of_link(frame.link_type) else { return decoder.finish(End::Unknown) };
        loop {
            let step = match next {
                Next::Ethernet => decoder.ethernet(),
                Next::LinuxCooked => decoder.linux_cooked(),
                Next::LinuxCooked2 => decoder.linux_cooked2(),
                Next::Null => decoder.null(),
                Next::Ppp => decoder.link_ppp(),
                Next::CiscoHdlc => decoder.cisco_hdlc(),
                Next::Nflog => decoder.nflog(),
                Next::Radiotap => decoder.radiotap(),
                Next::Ieee80211 { padded } => decoder.ieee80211(padded),
                Next::EtherType(ether_type) => decoder.ether_type(ether_type),
                Next::Ip => decoder.ip(),
                Next::Ipv4 => decoder.ipv4(),
                Next::Ipv6 => decoder.ipv6(),
                Next::Protocol(protocol) => decoder.protocol(protocol),
            };
            match step {
                Ok(following) => next = following,
                Err(end) => return decoder.finish(end),
            }
        }
    }
}

/// What lies around a datagram that is decoded on its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Surroundings {
    tunnels: u8,
    tunnel: Option<Tunnel>,
    vlans: Vlans,
}

impl Surroundings {
    /// Nothing.
    pub const NONE: Self = Self { tunnels: 0, tunnel: None, vlans: Vlans::NONE };

    /// For tests: a tunnel and VLANs, outermost first.
    #[doc(hidden)]
    pub fn sample(tunnel: Option<(TunnelKind, Option<u32>)>, vlans: &[u16]) -> Self {
        let mut around = Self { tunnels: u8::from(tunnel.is_some()), ..Self::NONE };
        around.tunnel = tunnel.map(|(kind, id)| Tunnel { kind, id, outer_ip: None });
        vlans.iter().for_each(|&id| around.vlans.push(id));
        around
    }

    /// The VLAN of a tag that is not in the frame any more: its control information.
    #[inline]
    pub fn of_tag(tci: u16) -> Self {
        let mut around = Self::NONE;
        around.vlans.push(tci);
        around
    }

    /// The innermost tunnel.
    #[inline]
    pub fn tunnel(&self) -> Option<Tunnel> {
        self.tunnel
    }

    /// The VLANs.
    #[inline]
    pub fn vlans(&self) -> Vlans {
        self.vlans
    }

    /// Kind and id of the tunnel and the VLANs as one number, for hashing.
    pub fn number(&self) -> u64 {
        let tunnel = self
            .tunnel
            .map_or(0, |tunnel| (tunnel.kind as u64 + 1) << 32 | u64::from(tunnel.id.unwrap_or_default()));
        let vlan = |id: Option<u16>| u64::from(id.unwrap_or_default());
        tunnel << 24 | vlan(self.vlans.outermost()) << 12 | vlan(self.vlans.innermost())
    }
}

impl Packet {
    /// The same packet within a VLAN, whose tag was in front of all that is in the frame; see [`Surroundings::of_tag`].
    #[inline(always)]
    #[must_use]
    pub fn behind_tag(mut self, tci: u16) -> Self {
        let mut vlans = Vlans::NONE;
        [tci]
            .into_iter()
            .chain(self.vlans.outermost())
            .chain(self.vlans.innermost())
            .for_each(|tag| vlans.push(tag));
        self.vlans = vlans;
        self
    }

    /// What lies around the innermost IP packet. The header around the tunnel is not among it: it stays in its frame.
    pub fn surroundings(&self) -> Surroundings {
        let tunnel = self.tunnel.map(|tunnel| Tunnel { outer_ip: None, ..tunnel });
        Surroundings { tunnels: self.tunnels, tunnel, vlans: self.vlans }
    }
}

/// Which header comes next.
#[derive(Clone, Copy)]
enum Next {
    Ethernet,
    LinuxCooked,
    LinuxCooked2,
    Null,
    Ppp,
    CiscoHdlc,
    Nflog,
    Radiotap,
    /// With what the radio has put behind the header, if it has padded that.
    Ieee80211 {
        padded: bool,
    },
    EtherType(EtherType),
    /// IPv4 or IPv6, by the version in the first four bits.
    Ip,
    Ipv4,
    Ipv6,
    Protocol(IpProtocol),
}

impl Next {
    /// What packets of a link type begin with, if it is one of those that are looked into.
    fn of_link(link_type: LinkType) -> Option<Self> {
        Some(match link_type {
            LinkType::ETHERNET => Self::Ethernet,
            LinkType::SLL => Self::LinuxCooked,
            LinkType::SLL2 => Self::LinuxCooked2,
            LinkType::NULL | LinkType::LOOP => Self::Null,
            LinkType::RAW => Self::Ip,
            LinkType::IPV4 => Self::Ipv4,
            LinkType::IPV6 => Self::Ipv6,
            LinkType::PPP | LinkType::PPP_HDLC => Self::Ppp,
            LinkType::C_HDLC => Self::CiscoHdlc,
            LinkType::NFLOG => Self::Nflog,
            LinkType::IEEE802_11 => Self::Ieee80211 { padded: false },
            LinkType::IEEE802_11_RADIOTAP => Self::Radiotap,
            _ => return None,
        })
    }
}

/// A header read leads to the next one or to the end.
type Step = Result<Next, End>;

/// The state of the loop. Invariants: `at <= captured <= data.len()` and `captured <= wire`.
struct Decoder<'a> {
    data: &'a [u8],
    decap: &'a Decap,
    /// Where the next header starts.
    at: usize,
    /// Where the captured part of the current packet ends.
    captured: usize,
    /// Where the packet ended on the wire.
    wire: usize,
    vlan_tags: usize,
    extensions: usize,
    /// The innermost IP packet's source and destination, for the flow key.
    addresses: Option<(std::net::IpAddr, std::net::IpAddr)>,
    /// The innermost IP length was 0: lengths below it may be 0 as well.
    length_unknown: bool,
    /// The tunnel that was entered last, whether or not there is an IP header in it.
    entered: Option<Tunnel>,
    /// It may be a mirror's: the IP packet in it is cut rather than malformed if there is less of it than it says.
    mirrored: bool,
    packet: Packet,
}

impl<'a> Decoder<'a> {
    fn new(frame: &Frame<'a>, decap: &'a Decap, around: &Surroundings) -> Self {
        Self {
            data: frame.data,
            decap,
            at: 0,
            captured: frame.data.len(),
            // In damaged files the original length may be below the captured one.
            wire: frame.data.len().max(frame.orig_len as usize),
            vlan_tags: 0,
            extensions: 0,
            addresses: None,
            length_unknown: false,
            entered: around.tunnel,
            mirrored: false,
            packet: Packet {
                layers: [Layer::default(); bounds::LAYERS],
                layer_count: 0,
                end: End::Unknown,
                ip: None,
                transport: Transport::None,
                payload: Payload::default(),
                flow: None,
                tunnels: around.tunnels,
                tunnel: None,
                vlans: around.vlans,
                unopened: None,
            },
        }
    }

    fn finish(mut self, end: End) -> (End, Packet) {
        if matches!(end, End::Malformed(_)) {
            self.packet.flow = None;
        }
        self.packet.payload = Payload {
            offset: self.at as u32,
            captured_len: (self.captured - self.at) as u32,
            wire_len: (self.wire - self.at).try_into().unwrap_or(u32::MAX),
        };
        (end, self.packet)
    }

    /// The captured bytes from the next header on, to the end of the current packet.
    #[inline]
    fn rest(&self) -> &'a [u8] {
        self.data.get(self.at..self.captured).unwrap_or_default()
    }

    /// How much of the packet there was from the next header on.
    #[inline]
    fn wire_len(&self) -> usize {
        self.wire - self.at
    }

    /// The next `N` bytes, without moving on.
    ///
    /// # Errors
    /// `Cut` when they were on the wire but not captured, `reason` when the packet ends before them.
    #[inline]
    fn peek<const N: usize>(&self, reason: Malformed) -> Result<&'a [u8; N], End> {
        self.rest().first_chunk().ok_or_else(|| self.short(N, reason))
    }

    /// Why a header of `needed` bytes is not all there.
    #[cold]
    fn short(&self, needed: usize, reason: Malformed) -> End {
        if needed <= self.wire_len() { End::Cut } else { End::Malformed(reason) }
    }

    /// Notes a header of `len` bytes, which the caller has seen to be captured, and moves behind it.
    #[inline]
    fn pass(&mut self, kind: LayerKind, len: usize) -> Result<(), End> {
        self.note(kind)?;
        self.at = (self.at + len).min(self.captured);
        Ok(())
    }

    /// Notes that a header starts here.
    #[inline]
    fn note(&mut self, kind: LayerKind) -> Result<(), End> {
        let offset = u16::try_from(self.at).map_err(|_| End::Malformed(Malformed::LayerDepth))?;
        match self.packet.layers.get_mut(usize::from(self.packet.layer_count)) {
            Some(layer) => *layer = Layer { kind, offset },
            None => return Err(End::Malformed(Malformed::LayerDepth)),
        }
        self.packet.layer_count += 1;
        Ok(())
    }

    /// Ends the current packet `len` bytes from here, as the length field of an IP header says; padding behind
    /// it falls away.
    ///
    /// A frame that holds less than its outermost IP header says was cut by a tool that did not keep the original
    /// length; such captures exist, so the header is believed and the rest counts as not captured. Likewise in what
    /// may be a mirror's tunnel.
    ///
    /// # Errors
    /// `reason` when a packet inside a tunnel of any other kind is longer than what the tunnel carries.
    #[inline]
    fn limit_ip(&mut self, len: usize, reason: Malformed) -> Result<(), End> {
        if self.packet.ip.is_none() || self.mirrored {
            self.wire = self.wire.max(self.at + len);
        }
        self.limit(len, reason)
    }

    /// Ends the current packet `len` bytes from here.
    ///
    /// # Errors
    /// `reason` when the packet around it holds less: its receiver would drop it, so must the analysis.
    #[inline]
    fn limit(&mut self, len: usize, reason: Malformed) -> Result<(), End> {
        if len > self.wire_len() {
            return Err(End::Malformed(reason));
        }
        self.wire = self.at + len;
        self.captured = self.captured.min(self.wire);
        Ok(())
    }
}

/// Those of which segments have a short way ([`Packet::decode_usual`]).
const USUAL_LINK_TYPES: [LinkType; 8] = [
    LinkType::ETHERNET,
    LinkType::SLL,
    LinkType::SLL2,
    LinkType::NULL,
    LinkType::LOOP,
    LinkType::RAW,
    LinkType::IPV4,
    LinkType::IPV6,
];

/// Decodes `data` under every link type, with tunnels opened and not, and checks what [`Packet`] promises.
#[doc(hidden)]
pub fn fuzz_decode(data: &[u8]) {
    let [a, b, data @ ..] = data else { return };
    let orig_len = data.len() as u32 + (u32::from(a & 0x0f) << 6);
    let others = [
        LinkType::PPP,
        LinkType::C_HDLC,
        LinkType::NFLOG,
        LinkType::IEEE802_11,
        LinkType::IEEE802_11_RADIOTAP,
        LinkType(u16::from(*b)),
    ];
    let some = Decap {
        // Any three kinds but these.
        kinds: [a >> 4, b >> 4, b & 0x0f].into_iter().fold(TunnelKinds::ALL, |kinds, number| {
            TunnelKind::ALL.get(usize::from(number)).map_or(kinds, |&kind| kinds.without(kind))
        }),
        vnis: (b & 1 != 0).then(|| std::collections::BTreeSet::from([42])),
        ..Decap::ALL
    };
    for link_type in USUAL_LINK_TYPES.into_iter().chain(others) {
        let frame = Frame {
            data,
            timestamp: crate::Timestamp(0),
            orig_len,
            link_type,
            interface: 0,
            packet_type: crate::PacketType::Host,
        };
        let packet = Packet::decode(&frame);
        check(&frame, &packet);
        assert_eq!(packet.unopened, None);
        let (end, other) = Packet::decode_any(&frame, &DEFAULT, &Surroundings::NONE);
        let other = Packet { end, ..other };
        assert_eq!(packet, other, "the short way and the loop disagree");
        for short in [Packet::decode_plain(&frame), Packet::decode_usual(&frame)] {
            assert!(short.is_none_or(|short| short == other), "a short way and the loop disagree");
        }

        let closed = Packet::decode_with(&frame, &Decap::NONE);
        check(&frame, &closed);
        assert_eq!((closed.tunnels, closed.tunnel), (0, None));
        let partly = Packet::decode_with(&frame, &some);
        check(&frame, &partly);
        assert!(partly.tunnel.is_none_or(|tunnel| some.opens(tunnel.kind, tunnel.id)));
        for less in [closed, partly] {
            match less.unopened {
                None => assert_eq!(less, packet, "nothing was left closed, yet the packet is another"),
                Some(_) => assert!(packet.layers().starts_with(less.layers()) && less.malformed().is_none()),
            }
        }
        let inner = Packet::decode_inside(&frame, &DEFAULT, &packet.surroundings());
        check(&frame, &inner);
        assert!(inner.tunnels >= packet.tunnels);
    }
}

/// Asserts the invariants of a decoded packet.
fn check(frame: &Frame<'_>, packet: &Packet) {
    let captured = frame.data.len();
    assert!(packet.payload.range().end <= captured);
    assert!(packet.payload.captured_len <= packet.payload.wire_len);
    let mut previous = 0;
    for layer in packet.layers() {
        assert!(usize::from(layer.offset) < captured, "{layer:?} starts behind the frame");
        assert!(layer.offset >= previous, "{layer:?} is out of order");
        previous = layer.offset;
    }
    if let Some(ip) = packet.ip {
        assert!(ip.offset < ip.payload_offset && usize::from(ip.payload_offset) <= captured);
    }
    if let Transport::Tcp(tcp) = packet.transport {
        assert!(tcp.options().end <= captured && (20..=60).contains(&tcp.len));
        assert_eq!(tcp.options().end, packet.payload.range().start);
    }
    assert_eq!(
        packet.transport != Transport::None && packet.end == End::Transport,
        packet.end == End::Transport
    );
    // Nothing is called cut that could not have been: see `limit_ip` for frames that do not say so.
    let whole = captured as u64 >= u64::from(frame.orig_len);
    assert!(packet.end != End::Cut || !whole || packet.payload.captured_len < packet.payload.wire_len);
    assert!(packet.flow.is_none() || packet.ip.is_some());
    assert!(usize::from(packet.tunnels) <= bounds::TUNNELS);
    assert!(packet.tunnel.is_none() || packet.ip.is_some());
    if let (Some(tunnel), Some(ip)) = (packet.tunnel, packet.ip) {
        assert!(tunnel.outer_ip.is_none_or(|outer| outer < ip.offset));
        let addresses = tunnel.outer_addresses(frame.data);
        assert_eq!(addresses.is_some(), tunnel.outer_ip.is_some());
    }
    assert_eq!(packet.vlans.outermost().is_some(), packet.vlans.innermost().is_some());
    if let Some((key, _)) = packet.flow {
        assert!(key.low() <= key.high());
    }
}

#[cfg(test)]
mod tests;
