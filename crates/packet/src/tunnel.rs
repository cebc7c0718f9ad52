//! What packets are carried in, and which of that is opened.
//!
//! ```text
//!   ┌─ link ─┬─ tags ─┬─ outer IP ─┬─ UDP ─┬─ VXLAN ─┬─ Ethernet ─┬─ IP ─┬─ TCP ─┬─
//!                     ▲                    ▲                      ▲
//!                     Tunnel::outer_ip     Tunnel::kind, id       Packet::ip: what is analysed
//! ```
//!
//! A tunnel that is not opened leaves its packet as its network sees it: a UDP datagram, a GRE packet.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The kinds of encapsulation. VLAN tags are none of them: they are always passed, and kept as [`Vlans`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum TunnelKind {
    /// MPLS labels (RFC 3032), with an IP packet or an Ethernet pseudowire (RFC 4448) below. Id: the lowest label
    /// that is not a reserved one.
    Mpls,
    /// A PPPoE session (RFC 2516). Id: the session's.
    Pppoe,
    /// GRE (RFC 2784, RFC 2890) around IP or MPLS. Id: the key, if there is one.
    Gre,
    /// GRE around Ethernet: "gretap", and NVGRE (RFC 7637). Id: the key, if there is one; NVGRE's is the VSID and a
    /// flow's 8 bits below it.
    GreTap,
    /// PPP in GRE version 1 (RFC 2637). Id: the call's.
    Pptp,
    /// ERSPAN type I, II or III: GRE around mirrored Ethernet frames. Id: the session, of types II and III.
    Erspan,
    /// An IP packet in one of the same version (RFC 2003, RFC 2473). No id.
    IpInIp,
    /// IPv6 in IPv4 (RFC 4213). No id.
    SixInFour,
    /// IPv4 in IPv6 (RFC 2473). No id.
    FourInSix,
    /// Ethernet in IP (RFC 3378). No id.
    EtherIp,
    /// VXLAN (RFC 7348) with its generic protocol extension. Id: the VNI.
    Vxlan,
    /// Geneve (RFC 8926). Id: the VNI.
    Geneve,
    /// User data of GTP (3GPP TS 29.281). Id: the TEID.
    Gtpu,
}

impl TunnelKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::Mpls,
        Self::Pppoe,
        Self::Gre,
        Self::GreTap,
        Self::Pptp,
        Self::Erspan,
        Self::IpInIp,
        Self::SixInFour,
        Self::FourInSix,
        Self::EtherIp,
        Self::Vxlan,
        Self::Geneve,
        Self::Gtpu,
    ];

    /// Its name in options and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mpls => "mpls",
            Self::Pppoe => "pppoe",
            Self::Gre => "gre",
            Self::GreTap => "gretap",
            Self::Pptp => "pptp",
            Self::Erspan => "erspan",
            Self::IpInIp => "ipip",
            Self::SixInFour => "6in4",
            Self::FourInSix => "4in6",
            Self::EtherIp => "etherip",
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::Gtpu => "gtpu",
        }
    }

    /// Whether its id is a virtual network's, by which [`Decap::vnis`] chooses.
    pub const fn has_vni(self) -> bool {
        matches!(self, Self::Vxlan | Self::Geneve)
    }
}

impl fmt::Display for TunnelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The tunnel that a packet came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tunnel {
    /// Which kind.
    pub kind: TunnelKind,
    /// Its number; what that is depends on the kind, see [`TunnelKind`]. `None` where kind or packet have none.
    pub id: Option<u32>,
    /// Where the IP header around it starts in the frame; `None` when the tunnel lies on the link (MPLS, PPPoE).
    pub outer_ip: Option<u16>,
}

impl Tunnel {
    /// Source and destination of the IP header around the tunnel, read from the frame's bytes.
    pub fn outer_addresses(&self, data: &[u8]) -> Option<(IpAddr, IpAddr)> {
        let header = data.get(usize::from(self.outer_ip?)..)?;
        let v4 =
            |at: usize| header.get(at..)?.first_chunk().map(|&octets| Ipv4Addr::from_octets(octets).into());
        let v6 =
            |at: usize| header.get(at..)?.first_chunk().map(|&octets| Ipv6Addr::from_octets(octets).into());
        match header.first()? >> 4 {
            4 => Some((v4(12)?, v4(16)?)),
            6 => Some((v6(8)?, v6(24)?)),
            _ => None,
        }
    }
}

/// The VLANs of a frame, those of frames inside its tunnels included. Tags with the id 0, which only carry a priority
/// (IEEE 802.1Q: "the null VLAN ID"), are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Vlans {
    /// 0 for none.
    outermost: u16,
    innermost: u16,
}

impl Vlans {
    /// Of no tag.
    pub const NONE: Self = Self { outermost: 0, innermost: 0 };

    /// The id of the first tag.
    #[inline]
    pub fn outermost(self) -> Option<u16> {
        (self.outermost != 0).then_some(self.outermost)
    }

    /// The id of the last tag; that of the first if there is but one.
    #[inline]
    pub fn innermost(self) -> Option<u16> {
        (self.innermost != 0).then_some(self.innermost)
    }

    /// Takes the next tag's control information.
    pub(crate) fn push(&mut self, tci: u16) {
        let id = tci & 0x0fff;
        if id != 0 {
            self.innermost = id;
            if self.outermost == 0 {
                self.outermost = id;
            }
        }
    }
}

/// A set of kinds: `--decap`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TunnelKinds(u16);

impl TunnelKinds {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// Every kind.
    pub const ALL: Self = Self((1 << TunnelKind::ALL.len()) - 1);

    /// The set with `kind` in it.
    pub const fn with(self, kind: TunnelKind) -> Self {
        Self(self.0 | 1 << kind as u8)
    }

    /// The set without `kind`.
    pub const fn without(self, kind: TunnelKind) -> Self {
        Self(self.0 & !(1 << kind as u8))
    }

    /// Whether `kind` is in it.
    #[inline]
    pub const fn contains(self, kind: TunnelKind) -> bool {
        self.0 >> kind as u8 & 1 != 0
    }

    /// The kinds in it, in order.
    pub fn iter(self) -> impl Iterator<Item = TunnelKind> {
        TunnelKind::ALL.into_iter().filter(move |&kind| self.contains(kind))
    }
}

impl fmt::Debug for TunnelKinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// As [`FromStr`] takes it.
impl fmt::Display for TunnelKinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ALL => f.write_str("all"),
            Self::NONE => f.write_str("none"),
            set => {
                for (number, kind) in set.iter().enumerate() {
                    write!(f, "{}{kind}", if number == 0 { "" } else { "," })?;
                }
                Ok(())
            }
        }
    }
}

/// `all`, `none`, or names with commas between them. In a list `all` stands for every kind, and a name behind a minus
/// sign is taken out again: `all,-mpls`.
impl FromStr for TunnelKinds {
    type Err = UnknownTunnel;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        if list == "none" {
            return Ok(Self::NONE);
        }
        list.split(',').map(str::trim).try_fold(Self::NONE, |set, word| {
            let (name, minus) = match word.strip_prefix('-') {
                Some(name) => (name, true),
                None => (word, false),
            };
            let kind = TunnelKind::ALL.into_iter().find(|kind| kind.name() == name);
            match (kind, minus, name) {
                (Some(kind), true, _) => Ok(set.without(kind)),
                (Some(kind), false, _) => Ok(set.with(kind)),
                (None, false, "all") => Ok(Self::ALL),
                _ => Err(UnknownTunnel(word.to_owned())),
            }
        })
    }
}

/// A name that is no tunnel's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownTunnel(pub String);

impl fmt::Display for UnknownTunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown tunnel {:?}: all, none, or a list of ", self.0)?;
        let [others @ .., last] = TunnelKind::ALL;
        others.iter().try_for_each(|kind| write!(f, "{kind}, "))?;
        write!(f, "{last}")
    }
}

impl std::error::Error for UnknownTunnel {}

/// Which tunnels are opened: `--decap` and `--vni` as plain data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decap {
    /// The kinds that are opened.
    pub kinds: TunnelKinds,
    /// UDP destination ports of VXLAN. The fanout program knows those of [`is_vxlan_port`] only: flows inside tunnels
    /// to other ports reach a worker by their outer addresses and ports.
    pub vxlan_ports: Cow<'static, [u16]>,
    /// UDP destination ports of Geneve.
    pub geneve_ports: Cow<'static, [u16]>,
    /// UDP destination ports of GTP user data.
    pub gtpu_ports: Cow<'static, [u16]>,
    /// The virtual networks (VNIs of VXLAN and Geneve) that are looked into, `None` for all. A tunnel of another one
    /// is not opened: its packet stays the outer datagram, and [`Packet::unopened`](crate::Packet::unopened) tells.
    /// Where such tunnels lie in one another each has to be in the set. Tunnels of other kinds are not asked.
    pub vnis: Option<BTreeSet<u32>>,
}

impl Decap {
    /// Opens everything that is known, at the ports where it belongs.
    pub const ALL: Self = Self {
        kinds: TunnelKinds::ALL,
        vxlan_ports: Cow::Borrowed(&[VXLAN_PORTS[0], VXLAN_PORTS[1], VXLAN_GPE_PORT]),
        geneve_ports: Cow::Borrowed(&[GENEVE_PORT]),
        gtpu_ports: Cow::Borrowed(&[GTPU_PORT]),
        vnis: None,
    };

    /// Opens nothing.
    pub const NONE: Self = Self { kinds: TunnelKinds::NONE, ..Self::ALL };

    /// Whether a tunnel of this kind and number is opened.
    pub fn opens(&self, kind: TunnelKind, id: Option<u32>) -> bool {
        self.kinds.contains(kind)
            && match (&self.vnis, id) {
                (Some(vnis), Some(id)) if kind.has_vni() => vnis.contains(&id),
                _ => true,
            }
    }

    /// The UDP destination ports of the kinds that are opened.
    pub fn udp_ports(&self) -> impl Iterator<Item = u16> {
        self.udp_kinds()
            .into_iter()
            .flat_map(move |(kind, ports)| ports.iter().copied().filter(move |_| self.kinds.contains(kind)))
    }

    fn udp_kinds(&self) -> [(TunnelKind, &[u16]); 3] {
        [
            (TunnelKind::Vxlan, &self.vxlan_ports),
            (TunnelKind::Geneve, &self.geneve_ports),
            (TunnelKind::Gtpu, &self.gtpu_ports),
        ]
    }

    /// Which tunnel datagrams to this UDP port may carry.
    #[inline]
    pub(crate) fn of_port(&self, port: u16) -> Option<TunnelKind> {
        // Asked for every datagram: a plain loop over a few numbers, where `contains` makes calls.
        let has = |ports: &[u16]| ports.iter().fold(false, |found, &other| found | (other == port));
        match () {
            () if has(&self.vxlan_ports) => Some(TunnelKind::Vxlan),
            () if has(&self.geneve_ports) => Some(TunnelKind::Geneve),
            () if has(&self.gtpu_ports) => Some(TunnelKind::Gtpu),
            () => None,
        }
    }
}

/// `none`, `all`, or the kinds with commas between them, ports other than the usual behind theirs: `vxlan:4789:5000`.
impl fmt::Display for Decap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usual = Self::ALL.udp_kinds().map(|(_, ports)| ports.to_vec());
        let own = self.udp_kinds().map(|(_, ports)| ports.to_vec());
        if self.kinds == TunnelKinds::NONE || (self.kinds == TunnelKinds::ALL && own == usual) {
            return self.kinds.fmt(f);
        }
        for (number, kind) in self.kinds.iter().enumerate() {
            write!(f, "{}{kind}", if number == 0 { "" } else { "," })?;
            let at = self.udp_kinds().iter().position(|&(of, _)| of == kind);
            if let Some(at) = at.filter(|&at| own[at] != usual[at]) {
                own[at].iter().try_for_each(|port| write!(f, ":{port}"))?;
            }
        }
        Ok(())
    }
}

/// A list as of [`TunnelKinds`], in which a name may have UDP ports of its own behind it: `vxlan:4789:5000` opens
/// VXLAN at these ports, and `all,vxlan:5000` everything with VXLAN at that one alone.
impl FromStr for Decap {
    type Err = WrongDecap;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        let mut decap = Self::ALL;
        let mut names = Vec::new();
        for word in list.split(',').map(str::trim) {
            let Some((name, ports)) = word.split_once(':') else {
                names.push(word);
                continue;
            };
            let numbers = ports.split(':').map(|port| port.parse().ok().filter(|&port: &u16| port != 0));
            let numbers: Option<Vec<u16>> = numbers.collect();
            let numbers = numbers.ok_or_else(|| WrongDecap::Port(word.to_owned()))?;
            let of_kind = match name {
                "vxlan" => &mut decap.vxlan_ports,
                "geneve" => &mut decap.geneve_ports,
                "gtpu" => &mut decap.gtpu_ports,
                _ => return Err(WrongDecap::NoPorts(name.to_owned())),
            };
            *of_kind = numbers.into();
            names.push(name);
        }
        decap.kinds = names.join(",").parse().map_err(WrongDecap::Kind)?;
        Ok(decap)
    }
}

/// What is wrong with a list of tunnels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrongDecap {
    /// A name that is no tunnel's.
    Kind(UnknownTunnel),
    /// Not a port, or not a list of them.
    Port(String),
    /// Something with ports that has none.
    NoPorts(String),
}

impl fmt::Display for WrongDecap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(unknown) => unknown.fmt(f),
            Self::Port(word) => {
                write!(f, "{word:?}: ports are numbers from 1 to 65535, as in vxlan:4789:8472")
            }
            Self::NoPorts(name) => write!(f, "{name:?} has no UDP ports: only vxlan, geneve and gtpu have"),
        }
    }
}

impl std::error::Error for WrongDecap {}

impl Default for Decap {
    fn default() -> Self {
        Self::ALL
    }
}

/// What [`Packet::decode`](crate::Packet::decode) takes.
pub(crate) static DEFAULT: Decap = Decap::ALL;

/// Whether datagrams to this UDP port carry VXLAN: 4789 (RFC 7348) and 8472, which Linux took before there was
/// a number and still takes by default. They count as VXLAN only with the I flag set.
#[inline]
pub const fn is_vxlan_port(port: u16) -> bool {
    port == VXLAN_PORTS[0] || port == VXLAN_PORTS[1]
}

const VXLAN_PORTS: [u16; 2] = [4789, 8472];
/// Of the generic protocol extension (draft-ietf-nvo3-vxlan-gpe, section 8.1).
const VXLAN_GPE_PORT: u16 = 4790;
/// RFC 8926, section 3.3.
const GENEVE_PORT: u16 = 6081;
/// 3GPP TS 29.281, section 4.4.2.3.
const GTPU_PORT: u16 = 2152;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_their_bits() {
        let mut names = BTreeSet::new();
        for (number, kind) in TunnelKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
            assert!(TunnelKinds::ALL.contains(kind) && !TunnelKinds::NONE.contains(kind));
            assert!(!TunnelKinds::ALL.without(kind).contains(kind));
            assert_eq!(TunnelKinds::NONE.with(kind).iter().collect::<Vec<_>>(), [kind]);
            names.insert(kind.name());
        }
        assert_eq!(names.len(), TunnelKind::ALL.len());
    }

    #[test]
    fn lists_round_trip() {
        let some = TunnelKinds::NONE.with(TunnelKind::Gre).with(TunnelKind::Vxlan);
        for (set, text) in [(TunnelKinds::ALL, "all"), (TunnelKinds::NONE, "none"), (some, "gre,vxlan")] {
            assert_eq!(set.to_string(), text);
            assert_eq!(text.parse(), Ok(set));
        }
        assert_eq!(" vxlan, gre".parse(), Ok(some));
        assert_eq!("all,-mpls".parse(), Ok(TunnelKinds::ALL.without(TunnelKind::Mpls)));
        for wrong in ["", "gre,", "none,gre", "-all", "VXLAN", "-none"] {
            assert!(wrong.parse::<TunnelKinds>().is_err(), "{wrong:?}");
        }
        let error = "teredo".parse::<TunnelKinds>().unwrap_err().to_string();
        assert!(error.starts_with("unknown tunnel \"teredo\""));
        assert!(TunnelKind::ALL.iter().all(|kind| error.contains(kind.name())), "{error}");
    }

    #[test]
    fn ports_stand_behind_their_kinds() {
        let decap: Decap = "vxlan:5000:5001,geneve".parse().unwrap();
        assert_eq!(decap.kinds, TunnelKinds::NONE.with(TunnelKind::Vxlan).with(TunnelKind::Geneve));
        assert_eq!(decap.udp_ports().collect::<Vec<_>>(), [5_000, 5_001, 6_081]);
        assert_eq!(decap.to_string(), "vxlan:5000:5001,geneve");
        assert_eq!("all".parse(), Ok(Decap::ALL));
        assert_eq!("none".parse(), Ok(Decap::NONE));
        assert_eq!((Decap::ALL.to_string(), Decap::NONE.to_string()), ("all".into(), "none".into()));
        let all: Decap = "all,gtpu:2153".parse().unwrap();
        assert_eq!(all.kinds, TunnelKinds::ALL);
        assert!(all.to_string().ends_with("vxlan,geneve,gtpu:2153"), "{all}");
        for (wrong, says) in [
            ("vxlan:", "ports are numbers"),
            ("vxlan:0", "ports are numbers"),
            ("vxlan:65536", "ports are numbers"),
            ("gre:5", "\"gre\" has no UDP ports"),
            ("vxlan:5,teredo", "unknown tunnel \"teredo\""),
        ] {
            let error = wrong.parse::<Decap>().unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn networks_choose_only_where_there_are_any() {
        let decap = Decap { vnis: Some(BTreeSet::from([7])), ..Decap::ALL };
        assert!(decap.opens(TunnelKind::Vxlan, Some(7)) && !decap.opens(TunnelKind::Geneve, Some(8)));
        assert!(decap.opens(TunnelKind::Gre, Some(8)) && decap.opens(TunnelKind::IpInIp, None));
        assert!(
            Decap::ALL.opens(TunnelKind::Vxlan, Some(8)) && !Decap::NONE.opens(TunnelKind::Vxlan, Some(7))
        );
    }

    #[test]
    fn vlans_are_the_first_and_the_last() {
        let mut vlans = Vlans::NONE;
        vlans.push(0xe000);
        assert_eq!((vlans.outermost(), vlans.innermost()), (None, None));
        vlans.push(0xe005);
        assert_eq!((vlans.outermost(), vlans.innermost()), (Some(5), Some(5)));
        vlans.push(6);
        vlans.push(0x0fff);
        assert_eq!((vlans.outermost(), vlans.innermost()), (Some(5), Some(0x0fff)));
    }
}
