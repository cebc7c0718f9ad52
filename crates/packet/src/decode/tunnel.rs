//! Tunnels: what IP, UDP, labels and sessions carry.
//!
//! Each function stands at the tunnel's header, asks whether it is to be opened, and leads to what is inside. Whatever
//! cannot be followed ends decoding there, with the outer packet as the result.

use super::{Decoder, Next, Step};
use crate::packet::{End, LayerKind, Malformed};
use crate::{EtherType, IpProtocol, Tunnel, TunnelKind, bounds};

/// What may be entered, and by what counts as a tunnel of its own.
impl Decoder<'_> {
    /// Stops in front of a tunnel that is not to be opened, with `end`.
    fn open(&mut self, kind: TunnelKind, id: Option<u32>, end: End) -> Result<(), End> {
        if self.decap.opens(kind, id) {
            return Ok(());
        }
        self.packet.unopened = Some(kind);
        Err(end)
    }

    /// Enters a tunnel. What was read so far stays the result until an inner IP header replaces it.
    fn enter(&mut self, kind: TunnelKind, id: Option<u32>) -> Result<(), End> {
        if usize::from(self.packet.tunnels) == bounds::TUNNELS {
            return Err(End::Malformed(Malformed::TunnelDepth));
        }
        self.packet.tunnels += 1;
        self.vlan_tags = 0;
        self.mirrored =
            matches!(kind, TunnelKind::Vxlan | TunnelKind::Geneve | TunnelKind::GreTap | TunnelKind::Erspan);
        self.carry(kind, id);
        Ok(())
    }

    /// Notes the tunnel for the IP packet in it.
    fn carry(&mut self, kind: TunnelKind, id: Option<u32>) {
        self.entered = Some(Tunnel { kind, id, outer_ip: self.packet.ip.map(|ip| ip.offset) });
    }
}

/// Directly in IP.
impl Decoder<'_> {
    pub(super) fn ip_in_ip(&mut self, protocol: IpProtocol) -> Step {
        let (kind, next) = match (self.is_ipv6(), protocol) {
            (false, IpProtocol::IPV6) => (TunnelKind::SixInFour, Next::Ipv6),
            (true, IpProtocol::IPV4) => (TunnelKind::FourInSix, Next::Ipv4),
            (false, _) => (TunnelKind::IpInIp, Next::Ipv4),
            (true, _) => (TunnelKind::IpInIp, Next::Ipv6),
        };
        self.set_flow(0, 0);
        self.open(kind, None, End::Unknown)?;
        self.enter(kind, None)?;
        Ok(next)
    }

    /// EtherIP (RFC 3378): version 3, reserved bits, an Ethernet frame.
    pub(super) fn ether_ip(&mut self) -> Step {
        self.set_flow(0, 0);
        self.open(TunnelKind::EtherIp, None, End::Unknown)?;
        let header: &[u8; 2] = self.peek(Malformed::EtherIp)?;
        if header[0] >> 4 != ETHERIP_VERSION {
            return Err(End::Unknown);
        }
        self.pass(LayerKind::EtherIp, header.len())?;
        self.enter(TunnelKind::EtherIp, None)?;
        Ok(Next::Ethernet)
    }

    /// GRE (RFC 2784, RFC 2890), with the source routes of RFC 1701, which newer routers no longer send.
    pub(super) fn gre(&mut self) -> Step {
        self.set_flow(0, 0);
        let &[f1, f2, p1, p2] = self.peek(Malformed::Gre)?;
        let flags = u16::from_be_bytes([f1, f2]);
        let protocol = EtherType(u16::from_be_bytes([p1, p2]));
        match flags & GRE_VERSION {
            0 => {}
            1 if protocol == EtherType::PPP && flags & GRE_KEY != 0 => return self.pptp(flags),
            _ => return Err(End::Unknown),
        }
        let has = |bits| usize::from(flags & bits != 0) * GRE_FIELD;
        // Routing brings checksum and offset with it, whether or not the checksum is valid.
        let key_at = GRE_MIN + has(GRE_CHECKSUM | GRE_ROUTING);
        let mut len = key_at + has(GRE_KEY) + has(GRE_SEQUENCE);
        let needed = |decoder: &Self, len: usize| {
            if decoder.rest().len() < len { Err(decoder.short(len, Malformed::Gre)) } else { Ok(()) }
        };
        needed(self, len)?;
        let key = if flags & GRE_KEY == 0 { None } else { word(self.rest(), key_at) };
        if flags & GRE_ROUTING != 0 {
            len = self.gre_routes(len)?;
        }
        let kind = match protocol {
            EtherType::ETHERNET => TunnelKind::GreTap,
            EtherType::ERSPAN | EtherType::ERSPAN3 => TunnelKind::Erspan,
            // Not ethertypes.
            small if small.0 < MIN_ETHER_TYPE => return Err(End::Unknown),
            _ => TunnelKind::Gre,
        };
        self.open(kind, key, End::Unknown)?;
        self.pass(LayerKind::Gre, len)?;
        match protocol {
            // Type I is an Ethernet frame right behind GRE, and has no sequence number where type II has one.
            EtherType::ERSPAN if flags & GRE_SEQUENCE == 0 => {
                self.enter(kind, None)?;
                Ok(Next::Ethernet)
            }
            EtherType::ERSPAN => self.erspan2(),
            EtherType::ERSPAN3 => self.erspan3(),
            _ => {
                self.enter(kind, key)?;
                Ok(Next::EtherType(protocol))
            }
        }
    }

    /// Where the source route ends that starts `at` bytes from here: entries of family, offset, length and as many
    /// bytes; the last one has family and length 0.
    fn gre_routes(&self, at: usize) -> Result<usize, End> {
        let mut at = at;
        for _ in 0..bounds::GRE_ROUTES {
            let Some(&[f1, f2, _, len]) = self.rest().get(at..).and_then(<[u8]>::first_chunk) else {
                return Err(self.short(at + GRE_FIELD, Malformed::Gre));
            };
            at += GRE_FIELD + usize::from(len);
            if [f1, f2, len] == [0, 0, 0] {
                return Ok(at);
            }
        }
        Err(End::Malformed(Malformed::Gre))
    }

    /// Enhanced GRE (RFC 2637, section 4.1): the key is a payload length and a call. Without payload it acknowledges.
    fn pptp(&mut self, flags: u16) -> Step {
        let &[_, _, _, _, l1, l2, c1, c2] = self.peek(Malformed::Gre)?;
        let (payload_len, call) = (u16::from_be_bytes([l1, l2]), u16::from_be_bytes([c1, c2]));
        if flags & GRE_SEQUENCE == 0 || payload_len == 0 {
            return Err(End::Unknown);
        }
        let len =
            GRE_MIN + GRE_FIELD + GRE_FIELD + if flags & GRE_ACKNOWLEDGEMENT == 0 { 0 } else { GRE_FIELD };
        if self.rest().len() < len {
            return Err(self.short(len, Malformed::Gre));
        }
        let call = Some(u32::from(call));
        self.open(TunnelKind::Pptp, call, End::Unknown)?;
        self.pass(LayerKind::Gre, len)?;
        self.limit(usize::from(payload_len).min(self.wire_len()), Malformed::Gre)?;
        self.enter(TunnelKind::Pptp, call)?;
        self.skip_hdlc()?;
        self.ppp()
    }

    /// Passes the address and control field of HDLC, unless they were negotiated away.
    pub(super) fn skip_hdlc(&mut self) -> Result<(), End> {
        if self.rest().first() == Some(&HDLC[0]) {
            if *self.peek::<2>(Malformed::Pppoe)? != HDLC {
                return Err(End::Unknown);
            }
            self.at += HDLC.len();
        }
        Ok(())
    }

    /// ERSPAN type II (draft-foschiano-erspan-03, section 4.2).
    fn erspan2(&mut self) -> Step {
        let header: &[u8; 8] = self.peek(Malformed::Erspan)?;
        if header[0] >> 4 != ERSPAN_II {
            return Err(End::Unknown);
        }
        let session = erspan_session(header[2], header[3]);
        self.pass(LayerKind::Erspan, header.len())?;
        self.enter(TunnelKind::Erspan, session)?;
        Ok(Next::Ethernet)
    }

    /// ERSPAN type III (section 4.3): a longer header, a part that depends on the platform if the O bit is set, and not
    /// only Ethernet.
    fn erspan3(&mut self) -> Step {
        let header: &[u8; 12] = self.peek(Malformed::Erspan)?;
        if header[0] >> 4 != ERSPAN_III {
            return Err(End::Unknown);
        }
        let session = erspan_session(header[2], header[3]);
        let next = match header[10] >> 2 & 0x1f {
            ERSPAN_ETHERNET => Next::Ethernet,
            ERSPAN_IP => Next::Ip,
            _ => return Err(End::Unknown),
        };
        let len = header.len() + if header[11] & ERSPAN_O == 0 { 0 } else { ERSPAN_PLATFORM };
        if self.rest().len() < len {
            return Err(self.short(len, Malformed::Erspan));
        }
        self.pass(LayerKind::Erspan, len)?;
        self.enter(TunnelKind::Erspan, session)?;
        Ok(next)
    }
}

/// In UDP: the port has said which.
impl Decoder<'_> {
    pub(super) fn udp_tunnel(&mut self, kind: TunnelKind) -> Step {
        match kind {
            TunnelKind::Vxlan => self.vxlan(),
            TunnelKind::Geneve => self.geneve(),
            _ => self.gtpu(),
        }
    }

    /// VXLAN (RFC 7348, section 5: "The I flag MUST be set to 1 for a valid VXLAN Network ID"). Without it the
    /// port is just a port. All other bits "MUST be set to zero on transmission and ignored on receipt". With the P
    /// flag (draft-ietf-nvo3-vxlan-gpe) the fourth byte says what is inside, where what is reserved and the version
    /// are 0 as they must be then, else it is Ethernet.
    fn vxlan(&mut self) -> Step {
        let flags = self.peek_tunnel::<1>(TunnelKind::Vxlan, Malformed::Vxlan)?[0];
        if flags & VXLAN_I == 0 {
            return Err(End::Transport);
        }
        let &[_, reserved1, reserved2, protocol, v1, v2, v3, _] =
            self.peek_tunnel(TunnelKind::Vxlan, Malformed::Vxlan)?;
        let vni = Some(u32::from_be_bytes([0, v1, v2, v3]));
        let says = flags & VXLAN_P != 0 && [flags & GPE_ZERO, reserved1, reserved2] == [0; 3];
        let next = match protocol {
            _ if !says => Next::Ethernet,
            GPE_IPV4 => Next::Ipv4,
            GPE_IPV6 => Next::Ipv6,
            GPE_ETHERNET => Next::Ethernet,
            GPE_MPLS => Next::EtherType(EtherType::MPLS),
            _ => return Err(End::Transport),
        };
        self.open(TunnelKind::Vxlan, vni, End::Transport)?;
        self.pass(LayerKind::Vxlan, 8)?;
        self.enter(TunnelKind::Vxlan, vni)?;
        Ok(next)
    }

    /// Geneve (RFC 8926, section 3.4): version 0, length of the options in words, flags, what is inside, VNI.
    fn geneve(&mut self) -> Step {
        if self.wire_len() < GENEVE_LEN {
            return Err(End::Transport);
        }
        let &[first, flags, p1, p2, v1, v2, v3, _] =
            self.peek_tunnel(TunnelKind::Geneve, Malformed::Geneve)?;
        let next = match EtherType(u16::from_be_bytes([p1, p2])) {
            EtherType::ETHERNET => Next::Ethernet,
            EtherType::IPV4 => Next::Ipv4,
            EtherType::IPV6 => Next::Ipv6,
            _ => return Err(End::Transport),
        };
        // What has the O bit is for the tunnel's ends, "MUST NOT" be forwarded; reserved bits are 0.
        if first >> 6 != 0 || flags & (GENEVE_O | GENEVE_RESERVED) != 0 {
            return Err(End::Transport);
        }
        let vni = Some(u32::from_be_bytes([0, v1, v2, v3]));
        self.open(TunnelKind::Geneve, vni, End::Transport)?;
        let len = GENEVE_LEN + usize::from(first & 0x3f) * 4;
        if self.rest().len() < len {
            return Err(self.short(len, Malformed::Geneve));
        }
        self.pass(LayerKind::Geneve, len)?;
        self.enter(TunnelKind::Geneve, vni)?;
        Ok(next)
    }

    /// GTP-U (3GPP TS 29.281, section 5): version 1, the message that carries user data, its length, TEID; with any
    /// of the flags E, S, PN four bytes more, and with E extension headers.
    fn gtpu(&mut self) -> Step {
        if self.wire_len() < GTPU_LEN {
            return Err(End::Transport);
        }
        let &[flags, message, l1, l2, t1, t2, t3, t4] =
            self.peek_tunnel(TunnelKind::Gtpu, Malformed::Gtpu)?;
        let end = GTPU_LEN + usize::from(u16::from_be_bytes([l1, l2]));
        if flags & GTPU_KIND != GTPU_VERSION_1 || message != GTPU_USER_DATA || end > self.wire_len() {
            return Err(End::Transport);
        }
        let teid = Some(u32::from_be_bytes([t1, t2, t3, t4]));
        self.open(TunnelKind::Gtpu, teid, End::Transport)?;
        self.limit(end, Malformed::Gtpu)?;
        let mut len = GTPU_LEN;
        if flags & GTPU_OPTIONAL != 0 {
            len += GTPU_OPTIONAL_LEN;
            if self.rest().len() < len {
                return Err(self.short(len, Malformed::Gtpu));
            }
            if flags & GTPU_E != 0 {
                len = self.gtpu_extensions(len)?;
            }
        }
        let version = match self.rest().get(len) {
            Some(first) => first >> 4,
            None if self.wire_len() == len => 0,
            None => return Err(self.short(len + 1, Malformed::Gtpu)),
        };
        self.pass(LayerKind::Gtpu, len)?;
        // 5G has sessions of other kinds as well (Ethernet, unstructured), which nothing in the header tells.
        let next = match version {
            4 => Next::Ipv4,
            6 => Next::Ipv6,
            _ => return Err(End::Unknown),
        };
        self.enter(TunnelKind::Gtpu, teid)?;
        Ok(next)
    }

    /// Where the extension headers end whose first type is in the byte before `at`. Each begins with its length in
    /// words and ends with the type of the next one.
    fn gtpu_extensions(&self, at: usize) -> Result<usize, End> {
        let mut at = at;
        for _ in 0..=bounds::GTPU_EXTENSIONS {
            match self.rest().get(at - 1) {
                Some(0) => return Ok(at),
                Some(_) => {}
                None => return Err(self.short(at, Malformed::Gtpu)),
            }
            match self.rest().get(at) {
                Some(0) => return Err(End::Malformed(Malformed::Gtpu)),
                Some(words) => at += usize::from(*words) * 4,
                None => return Err(self.short(at + 1, Malformed::Gtpu)),
            }
        }
        Err(End::Malformed(Malformed::Gtpu))
    }

    /// The first bytes of what may be this tunnel's header. Where it is not opened, a datagram that is too short for
    /// it or was cut is no fault.
    fn peek_tunnel<const N: usize>(&mut self, kind: TunnelKind, reason: Malformed) -> Result<&[u8; N], End> {
        let bytes = self.data.get(self.at..self.captured).and_then(<[u8]>::first_chunk);
        match bytes {
            Some(bytes) => Ok(bytes),
            None => {
                self.open(kind, None, End::Transport)?;
                Err(self.short(N, reason))
            }
        }
    }
}

/// On the link.
impl Decoder<'_> {
    /// A PPPoE session's packet (RFC 2516, section 4): version and type 1, code 0, session, length.
    pub(super) fn pppoe(&mut self) -> Step {
        self.open(TunnelKind::Pppoe, None, End::Unknown)?;
        let &[version, code, s1, s2, l1, l2] = self.peek(Malformed::Pppoe)?;
        if version != PPPOE_VERSION || code != PPPOE_SESSION_DATA {
            return Err(End::Unknown);
        }
        self.limit_ip(PPPOE_LEN + usize::from(u16::from_be_bytes([l1, l2])), Malformed::Pppoe)?;
        self.pass(LayerKind::Pppoe, PPPOE_LEN)?;
        self.carry(TunnelKind::Pppoe, Some(u32::from(u16::from_be_bytes([s1, s2]))));
        self.ppp()
    }

    /// PPP (RFC 1661, section 2): a protocol number of two bytes, or of one when that was negotiated: the last byte of
    /// every number is odd, the first even.
    pub(super) fn ppp(&mut self) -> Step {
        let &[first] = self.peek(Malformed::Pppoe)?;
        let (protocol, len) = match first & 1 {
            0 => (u16::from_be_bytes(*self.peek(Malformed::Pppoe)?), 2),
            _ => (u16::from(first), 1),
        };
        self.pass(LayerKind::Ppp, len)?;
        match protocol {
            PPP_IPV4 => Ok(Next::Ipv4),
            PPP_IPV6 => Ok(Next::Ipv6),
            PPP_MPLS | PPP_MPLS_MULTICAST => Ok(Next::EtherType(EtherType::MPLS)),
            _ => Err(End::Unknown),
        }
    }

    /// A label stack (RFC 3032).
    pub(super) fn mpls(&mut self) -> Step {
        self.open(TunnelKind::Mpls, None, End::Unknown)?;
        let mut id = None;
        for _ in 0..bounds::MPLS_LABELS {
            let entry = u32::from_be_bytes(*self.peek(Malformed::Mpls)?);
            self.pass(LayerKind::Mpls, 4)?;
            // Labels below 16 are reserved: explicit null, router alert, and others that name no path.
            if entry >> 12 >= MPLS_MIN_LABEL {
                id = Some(entry >> 12);
            }
            if entry & MPLS_BOTTOM != 0 {
                return self.below_labels(id);
            }
        }
        Err(End::Malformed(Malformed::MplsDepth))
    }

    /// What is below the labels. They do not name it; routers look at the first four bits (RFC 4928): 4 and 6 are IP,
    /// 0 is the control word of a pseudowire, 1 its associated channel. A pseudowire without control word begins with
    /// any address; it is told by a frame that makes sense where an IP packet does not.
    fn below_labels(&mut self, id: Option<u32>) -> Step {
        let rest = self.rest();
        let Some(first) = rest.first() else { return Err(self.short(1, Malformed::Mpls)) };
        let (ip, has_control_word) = match first >> 4 {
            4 if self.is_ipv4_below() || !is_ethernet(rest) => (Some(Next::Ipv4), false),
            6 if self.is_ipv6_below() || !is_ethernet(rest) => (Some(Next::Ipv6), false),
            0 if has_control_word(rest) => (None, true),
            1 => return Err(End::Unknown),
            _ if is_ethernet(rest) => (None, false),
            _ => return Err(End::Unknown),
        };
        if let Some(next) = ip {
            self.carry(TunnelKind::Mpls, id);
            return Ok(next);
        }
        if has_control_word {
            self.pass(LayerKind::ControlWord, CONTROL_WORD)?;
        }
        self.enter(TunnelKind::Mpls, id)?;
        Ok(Next::Ethernet)
    }

    /// Whether there can be an IPv4 packet here by its header's lengths.
    fn is_ipv4_below(&self) -> bool {
        match self.rest() {
            [first, _, l1, l2, ..] if first & 0x0f >= 5 => {
                let len = usize::from(u16::from_be_bytes([*l1, *l2]));
                len == 0 || (20..=self.wire_len()).contains(&len)
            }
            _ => false,
        }
    }

    fn is_ipv6_below(&self) -> bool {
        match self.rest() {
            [_, _, _, _, l1, l2, ..] => 40 + usize::from(u16::from_be_bytes([*l1, *l2])) <= self.wire_len(),
            _ => false,
        }
    }
}

/// Whether these bytes make sense as an Ethernet frame: a known ethertype, and behind it what it promises.
fn is_ethernet(bytes: &[u8]) -> bool {
    let Some((_, from_type)) = bytes.split_at_checked(12) else { return false };
    let [t1, t2, inner @ ..] = from_type else { return false };
    let ether_type = EtherType(u16::from_be_bytes([*t1, *t2]));
    match (ether_type, inner) {
        (EtherType::IPV4, [first, ..]) => (0x45..=0x4f).contains(first),
        (EtherType::IPV6, [first, ..]) => first >> 4 == 6,
        // Hardware type 1: Ethernet.
        (EtherType::ARP, [0, 1, ..]) => true,
        (EtherType::PPPOE_SESSION, [version, ..]) => *version == PPPOE_VERSION,
        (vlan, [_, _, t1, t2, ..]) if vlan.is_vlan() => match EtherType(u16::from_be_bytes([*t1, *t2])) {
            EtherType::IPV4 | EtherType::IPV6 | EtherType::ARP | EtherType::PPPOE_SESSION => true,
            next => next.is_vlan() || next.is_mpls(),
        },
        (mpls, _) => mpls.is_mpls(),
    }
}

/// Whether a control word (RFC 4385) is in front of a frame. The one of Ethernet has nothing but zeros and a sequence
/// number, which tells it from a tagged frame, whose tag is as long.
fn has_control_word(bytes: &[u8]) -> bool {
    bytes.get(CONTROL_WORD..).is_some_and(is_ethernet) && (bytes.starts_with(&[0, 0]) || !is_ethernet(bytes))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_be_bytes)
}

/// The session's ten bits, at the end of the second half-word of either header.
fn erspan_session(high: u8, low: u8) -> Option<u32> {
    Some(u32::from(u16::from_be_bytes([high, low]) & 0x03ff))
}

const ETHERIP_VERSION: u8 = 3;

const GRE_CHECKSUM: u16 = 0x8000;
const GRE_ROUTING: u16 = 0x4000;
const GRE_KEY: u16 = 0x2000;
const GRE_SEQUENCE: u16 = 0x1000;
/// Of version 1 only.
const GRE_ACKNOWLEDGEMENT: u16 = 0x0080;
const GRE_VERSION: u16 = 0x0007;
/// Bytes of the header without options, and of each option; also of the head of a source route's entry.
const GRE_MIN: usize = 4;
const GRE_FIELD: usize = 4;
/// Smaller protocol types of GRE are not ethertypes.
const MIN_ETHER_TYPE: u16 = 0x0600;

const ERSPAN_II: u8 = 1;
const ERSPAN_III: u8 = 2;
/// Frame types of type III.
const ERSPAN_ETHERNET: u8 = 0;
const ERSPAN_IP: u8 = 2;
/// The platform's part follows, of so many bytes.
const ERSPAN_O: u8 = 0x01;
const ERSPAN_PLATFORM: usize = 8;

/// Set when the VXLAN header carries a network identifier.
const VXLAN_I: u8 = 0x08;
/// Set when it names its contents.
const VXLAN_P: u8 = 0x04;
/// Reserved, and the version of the generic protocol extension.
const GPE_ZERO: u8 = 0xf0;
const GPE_IPV4: u8 = 1;
const GPE_IPV6: u8 = 2;
const GPE_ETHERNET: u8 = 3;
const GPE_MPLS: u8 = 5;

const GENEVE_LEN: usize = 8;
const GENEVE_O: u8 = 0x80;
const GENEVE_RESERVED: u8 = 0x3f;

const GTPU_LEN: usize = 8;
/// Version, protocol type and the bit between them and the flags.
const GTPU_KIND: u8 = 0xf8;
/// GTP (not GTP').
const GTPU_VERSION_1: u8 = 0x30;
const GTPU_USER_DATA: u8 = 0xff;
const GTPU_E: u8 = 0x04;
/// E, S and PN.
const GTPU_OPTIONAL: u8 = 0x07;
const GTPU_OPTIONAL_LEN: usize = 4;

/// Version 1, type 1.
const PPPOE_VERSION: u8 = 0x11;
const PPPOE_SESSION_DATA: u8 = 0;
const PPPOE_LEN: usize = 6;
/// All stations, unnumbered information.
const HDLC: [u8; 2] = [0xff, 0x03];
const PPP_IPV4: u16 = 0x0021;
const PPP_IPV6: u16 = 0x0057;
const PPP_MPLS: u16 = 0x0281;
const PPP_MPLS_MULTICAST: u16 = 0x0283;

const MPLS_MIN_LABEL: u32 = 16;
/// The bottom-of-stack bit of a label.
const MPLS_BOTTOM: u32 = 0x100;
/// Bytes of a pseudowire's control word.
const CONTROL_WORD: usize = 4;
