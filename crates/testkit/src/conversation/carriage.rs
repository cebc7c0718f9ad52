//! How packets travel: in tunnels, tagged, in fragments.
//!
//! ```text
//!   frame of a conversation ─► its IP packet ─► [fragments] ─► wrap ─► [fragments] ─► wrap ─► Ethernet header ─► frames
//!                                               innermost                             outermost
//! ```
//! Each [`Wrap`] takes what an Ethernet header could announce (an ethertype and the bytes behind it) and gives the
//! same, so that they can be put into one another in any order that makes sense: [`Wrap::takes`] tells. Lengths,
//! checksums of IPv4 headers and identifications are right; the checksum of a tunnel's UDP header is 0, as tunnels
//! send it.

use super::{Packet, Peer};

/// Something to put packets into. `ipv6` says what the header around the tunnel is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the headers")]
pub enum Wrap {
    /// A tag: 0x8100 is 802.1Q, 0x88a8 the outer one of 802.1ad.
    Vlan { tpid: u16, id: u16 },
    /// A label stack around IP, the bottom label last.
    Mpls { labels: Vec<u32> },
    /// An Ethernet frame below one label.
    Pseudowire { label: u32, control_word: bool },
    /// A session's packet.
    Pppoe { session: u16 },
    /// GRE around IP or MPLS.
    Gre { ipv6: bool, key: Option<u32>, sequence: Option<u32>, checksum: bool },
    /// GRE around Ethernet.
    GreTap { ipv6: bool, key: Option<u32>, sequence: Option<u32> },
    /// GRE version 1 around PPP; with the address field of HDLC or without.
    Pptp { call: u16, hdlc: bool },
    /// ERSPAN: type I has no header of its own.
    Erspan1 { ipv6: bool },
    /// Type II.
    Erspan2 { ipv6: bool, session: u16 },
    /// Type III, with the platform's part or without.
    Erspan3 { ipv6: bool, session: u16, platform: bool },
    /// IP in IP: of either version in either.
    IpInIp { ipv6: bool },
    /// Ethernet in IP.
    EtherIp { ipv6: bool },
    /// VXLAN to any port.
    Vxlan { ipv6: bool, vni: u32, port: u16 },
    /// Geneve with so many words of options, around Ethernet or IP.
    Geneve { ipv6: bool, vni: u32, option_words: u8, ethernet: bool },
    /// GTP user data; with a sequence number, with an extension header.
    Gtpu { ipv6: bool, teid: u32, sequence: bool, extension: bool },
}

/// The way of one conversation's packets: wraps, innermost first, and where they are cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carriage {
    /// What goes around the packets, the first of them innermost.
    pub wraps: Vec<Wrap>,
    /// Where IP packets are cut into fragments: in front of which wrap (`wraps.len()` for behind all), and how many
    /// bytes of contents the fragments have. Where there is no IP packet, or a short one, nothing is cut.
    pub cuts: Vec<(usize, usize)>,
}

/// Identifications of the headers that are put around packets: unique within a capture.
#[derive(Clone, Debug, Default)]
pub struct Identifications(u32);

impl Identifications {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(1);
        self.0
    }
}

/// What an Ethernet header announces.
#[derive(Clone, Debug)]
struct Typed {
    ether_type: u16,
    bytes: Vec<u8>,
}

impl Wrap {
    /// Whether it can be put around something of this ethertype.
    pub fn takes(&self, ether_type: u16) -> bool {
        let ip = matches!(ether_type, IPV4 | IPV6);
        match self {
            Self::Mpls { .. }
            | Self::Pppoe { .. }
            | Self::Pptp { .. }
            | Self::IpInIp { .. }
            | Self::Gtpu { .. } => ip,
            Self::Geneve { ethernet, .. } => ip || *ethernet,
            Self::Gre { .. } => ip || ether_type == MPLS,
            _ => true,
        }
    }

    /// The ethertype of the result.
    pub fn ether_type(&self) -> u16 {
        match *self {
            Self::Vlan { tpid, .. } => tpid,
            Self::Mpls { .. } | Self::Pseudowire { .. } => MPLS,
            Self::Pppoe { .. } => PPPOE,
            Self::Pptp { .. } => IPV4,
            Self::Gre { ipv6, .. }
            | Self::GreTap { ipv6, .. }
            | Self::Erspan1 { ipv6 }
            | Self::Erspan2 { ipv6, .. }
            | Self::Erspan3 { ipv6, .. }
            | Self::IpInIp { ipv6 }
            | Self::EtherIp { ipv6 }
            | Self::Vxlan { ipv6, .. }
            | Self::Geneve { ipv6, .. }
            | Self::Gtpu { ipv6, .. } => [IPV4, IPV6][usize::from(ipv6)],
        }
    }

    fn around(&self, inner: Typed, from: Peer, ids: &mut Identifications) -> Typed {
        let Typed { ether_type, bytes } = inner;
        let ether_type_bytes = ether_type.to_be_bytes();
        let [_, v1, v2, v3] = match *self {
            Self::Vxlan { vni, .. } | Self::Geneve { vni, .. } => vni.to_be_bytes(),
            _ => [0; 4],
        };
        let (protocol, contents) = match *self {
            Self::Vlan { tpid, id } => {
                let tag = [(id & 0xfff).to_be_bytes(), ether_type_bytes].concat();
                return Typed { ether_type: tpid, bytes: [tag, bytes].concat() };
            }
            Self::Mpls { ref labels } => {
                return Typed { ether_type: MPLS, bytes: [stack(labels), bytes].concat() };
            }
            Self::Pseudowire { label, control_word } => {
                let word: &[u8] = if control_word { &[0; 4] } else { &[] };
                let frame = ethernet(ether_type, &bytes);
                return Typed { ether_type: MPLS, bytes: [&stack(&[label]), word, &frame].concat() };
            }
            Self::Pppoe { session } => {
                let len = bytes.len() as u16 + 2;
                let [s1, s2] = session.to_be_bytes();
                let [l1, l2] = len.to_be_bytes();
                let header = [&[0x11, 0, s1, s2, l1, l2][..], &ppp(ether_type)].concat();
                return Typed { ether_type: PPPOE, bytes: [header, bytes].concat() };
            }
            Self::Gre { key, sequence, checksum, .. } => {
                (GRE, gre(ether_type, key, sequence, checksum, &bytes))
            }
            Self::GreTap { key, sequence, .. } => {
                (GRE, gre(TRANSPARENT, key, sequence, false, &ethernet(ether_type, &bytes)))
            }
            Self::Pptp { call, hdlc } => {
                let address: &[u8] = if hdlc { &[0xff, 0x03] } else { &[] };
                let frame = [address, &ppp(ether_type), &bytes].concat();
                let [l1, l2] = (frame.len() as u16).to_be_bytes();
                let [c1, c2] = call.to_be_bytes();
                // Key and sequence number, version 1.
                let header = [&[0x30, 0x01, 0x88, 0x0b, l1, l2, c1, c2][..], &ids.next().to_be_bytes()];
                (GRE, [header.concat(), frame].concat())
            }
            Self::Erspan1 { .. } => (GRE, gre(ERSPAN, None, None, false, &ethernet(ether_type, &bytes))),
            Self::Erspan2 { session, .. } => {
                let [s1, s2] = (session & 0x3ff).to_be_bytes();
                let header = [0x10, 1, s1, s2, 0, 0, 0, 7];
                let frame = [&header[..], &ethernet(ether_type, &bytes)].concat();
                (GRE, gre(ERSPAN, None, Some(ids.next()), false, &frame))
            }
            Self::Erspan3 { session, platform, .. } => {
                let [s1, s2] = (session & 0x3ff).to_be_bytes();
                let header = [0x20, 1, s1, s2, 0, 0, 0, 9, 0, 0, 0, u8::from(platform)];
                let part: &[u8] = if platform { &[0x0c; 8] } else { &[] };
                let frame = [&header, part, &ethernet(ether_type, &bytes)].concat();
                (GRE, gre(ERSPAN3, None, Some(ids.next()), false, &frame))
            }
            Self::IpInIp { .. } => (if ether_type == IPV6 { IPV6_IN_IP } else { IPV4_IN_IP }, bytes),
            Self::EtherIp { .. } => (ETHER_IP, [&[0x30, 0][..], &ethernet(ether_type, &bytes)].concat()),
            Self::Vxlan { port, .. } => {
                let header = [8, 0, 0, 0, v1, v2, v3, 0];
                let frame = ethernet(ether_type, &bytes);
                (UDP, udp(port, &[&header[..], &frame].concat()))
            }
            Self::Geneve { option_words, ethernet: bridged, .. } => {
                let (inner, bytes) = match bridged {
                    true => (TRANSPARENT, ethernet(ether_type, &bytes)),
                    false => (ether_type, bytes),
                };
                let [p1, p2] = inner.to_be_bytes();
                let header = [option_words & 0x3f, 0, p1, p2, v1, v2, v3, 0];
                let options = vec![0x21; usize::from(option_words & 0x3f) * 4];
                (UDP, udp(6_081, &[&header[..], &options, &bytes].concat()))
            }
            Self::Gtpu { teid, sequence, extension, .. } => {
                let optional = sequence || extension;
                let mut rest: Vec<u8> = Vec::new();
                if optional {
                    // Sequence number, N-PDU number, type of the first extension: a PDU session container of one word.
                    rest.extend([0, 5, 0, if extension { 0x85 } else { 0 }]);
                }
                if extension {
                    rest.extend([1, 0x10, 1, 0]);
                }
                rest.extend(bytes);
                let flags = 0x30 | u8::from(sequence) << 1 | u8::from(extension) << 2;
                let [l1, l2] = (rest.len() as u16).to_be_bytes();
                let header = [&[flags, 0xff, l1, l2][..], &teid.to_be_bytes()].concat();
                (UDP, udp(2_152, &[header, rest].concat()))
            }
        };
        let ether_type = self.ether_type();
        Typed { ether_type, bytes: ip(ether_type == IPV6, protocol, &contents, from, ids.next()) }
    }
}

impl Carriage {
    /// The frames that one packet of a conversation becomes, in the order in which its fragments are sent.
    pub fn frames(&self, packet: &Packet, ids: &mut Identifications) -> Vec<Vec<u8>> {
        let Some((addresses, rest)) = packet.frame.split_at_checked(ADDRESSES) else { return Vec::new() };
        let Some((&ether_type, bytes)) = rest.split_first_chunk() else { return Vec::new() };
        let mut packets = vec![Typed { ether_type: u16::from_be_bytes(ether_type), bytes: bytes.to_vec() }];
        for level in 0..=self.wraps.len() {
            for &(_, len) in self.cuts.iter().filter(|(at, _)| *at == level) {
                packets = packets.into_iter().flat_map(|packet| fragments(packet, len, ids)).collect();
            }
            if let Some(wrap) = self.wraps.get(level) {
                packets = packets.into_iter().map(|inner| wrap.around(inner, packet.from, ids)).collect();
            }
        }
        let framed =
            |Typed { ether_type, bytes }: Typed| [addresses, &ether_type.to_be_bytes(), &bytes].concat();
        packets.into_iter().map(framed).collect()
    }
}

/// The fragments of an IP packet, with so many bytes of contents each, rounded down to what is possible.
fn fragments(packet: Typed, len: usize, ids: &mut Identifications) -> Vec<Typed> {
    let len = (len / 8).max(1) * 8;
    let Typed { ether_type, bytes } = &packet;
    let header_len = match *ether_type {
        IPV4 => usize::from(bytes[0] & 0x0f) * 4,
        IPV6 => IPV6_HEADER,
        _ => return vec![packet],
    };
    let (header, contents) = bytes.split_at(header_len);
    if contents.len() <= len {
        return vec![packet];
    }
    let id = ids.next();
    let count = contents.len().div_ceil(len);
    let cut = |(number, part): (usize, &[u8])| {
        let offset = number * len;
        let more = number + 1 < count;
        let mut header = header.to_vec();
        if *ether_type == IPV4 {
            header[2..4].copy_from_slice(&((header_len + part.len()) as u16).to_be_bytes());
            header[6..8].copy_from_slice(&((offset / 8) as u16 | u16::from(more) << 13).to_be_bytes());
            set_checksum(&mut header);
        } else {
            header[4..6].copy_from_slice(&((8 + part.len()) as u16).to_be_bytes());
            let next = std::mem::replace(&mut header[6], FRAGMENT);
            header.extend([next, 0]);
            header.extend((offset as u16 | u16::from(more)).to_be_bytes());
            header.extend(id.to_be_bytes());
        }
        Typed { ether_type: *ether_type, bytes: [&header, part].concat() }
    };
    contents.chunks(len).enumerate().map(cut).collect()
}

/// A packet between the ends of a tunnel; those of IPv4 and IPv6 are not the same machines.
fn ip(ipv6: bool, protocol: u8, contents: &[u8], from: Peer, id: u32) -> Vec<u8> {
    let ends = [from as u8 + 1, from.other() as u8 + 1];
    if ipv6 {
        let address = |end: u8| [0x20, 0x01, 0x0d, 0xb8, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, end];
        let mut header = vec![0x60, 0, 0, 0];
        header.extend((contents.len() as u16).to_be_bytes());
        header.extend([protocol, 64]);
        ends.iter().for_each(|&end| header.extend(address(end)));
        return [&header, contents].concat();
    }
    let mut header = vec![0x45, 0];
    header.extend(((IPV4_HEADER + contents.len()) as u16).to_be_bytes());
    header.extend((id as u16).to_be_bytes());
    header.extend([0, 0, 64, protocol, 0, 0]);
    ends.iter().for_each(|&end| header.extend([203, 0, 113, end]));
    set_checksum(&mut header);
    [&header, contents].concat()
}

/// Of an IPv4 header.
fn set_checksum(header: &mut [u8]) {
    header[10..12].fill(0);
    let words = header.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum = words.sum::<u32>();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    header[10..12].copy_from_slice(&(!(folded as u16)).to_be_bytes());
}

fn udp(port: u16, contents: &[u8]) -> Vec<u8> {
    let len = 8 + contents.len() as u16;
    let header = [SOURCE_PORT.to_be_bytes(), port.to_be_bytes(), len.to_be_bytes(), [0, 0]].concat();
    [&header, contents].concat()
}

fn ethernet(ether_type: u16, contents: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 0x11, 2, 0, 0, 0, 0, 0x12][..], &ether_type.to_be_bytes(), contents].concat()
}

/// The last label has the bottom-of-stack bit.
fn stack(labels: &[u32]) -> Vec<u8> {
    let entry = |(number, label): (usize, &u32)| {
        let bottom = u32::from(number + 1 == labels.len());
        (label << 12 | bottom << 8 | 64).to_be_bytes()
    };
    labels.iter().enumerate().flat_map(entry).collect()
}

fn gre(protocol: u16, key: Option<u32>, sequence: Option<u32>, checksum: bool, contents: &[u8]) -> Vec<u8> {
    let bits =
        u16::from(checksum) << 15 | u16::from(key.is_some()) << 13 | u16::from(sequence.is_some()) << 12;
    let mut header = [bits.to_be_bytes(), protocol.to_be_bytes()].concat();
    if checksum {
        // Not computed: nobody refuses a frame for it.
        header.extend([0; 4]);
    }
    key.into_iter().chain(sequence).for_each(|word| header.extend(word.to_be_bytes()));
    [&header, contents].concat()
}

fn ppp(ether_type: u16) -> [u8; 2] {
    if ether_type == IPV6 { [0, 0x57] } else { [0, 0x21] }
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const MPLS: u16 = 0x8847;
const PPPOE: u16 = 0x8864;
/// Transparent Ethernet bridging.
const TRANSPARENT: u16 = 0x6558;
const ERSPAN: u16 = 0x88be;
const ERSPAN3: u16 = 0x22eb;
const IPV4_IN_IP: u8 = 4;
const IPV6_IN_IP: u8 = 41;
const UDP: u8 = 17;
const FRAGMENT: u8 = 44;
const GRE: u8 = 47;
const ETHER_IP: u8 = 97;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
/// The hardware addresses of an Ethernet header.
const ADDRESSES: usize = 12;
/// Of tunnels over UDP: any will do.
const SOURCE_PORT: u16 = 54_321;

#[cfg(test)]
mod tests {
    use super::super::{Dialogue, Manner, Setup};
    use super::*;

    fn packet(bytes: usize) -> Packet {
        let mut dialogue =
            Dialogue::new(Setup::default(), Manner { segment_bytes: [bytes, bytes], ..Manner::default() });
        dialogue.open().say(Peer::Client, bytes);
        dialogue.finish().packets().iter().find(|packet| !packet.range.is_empty()).unwrap().clone()
    }

    fn every_wrap() -> Vec<Wrap> {
        let ipv6 = false;
        vec![
            Wrap::Vlan { tpid: 0x88a8, id: 7 },
            Wrap::Mpls { labels: vec![16, 17] },
            Wrap::Pseudowire { label: 99, control_word: true },
            Wrap::Pppoe { session: 3 },
            Wrap::Gre { ipv6, key: Some(1), sequence: Some(2), checksum: true },
            Wrap::GreTap { ipv6, key: None, sequence: Some(2) },
            Wrap::Pptp { call: 4, hdlc: true },
            Wrap::Erspan1 { ipv6 },
            Wrap::Erspan2 { ipv6, session: 5 },
            Wrap::Erspan3 { ipv6, session: 5, platform: true },
            Wrap::IpInIp { ipv6 },
            Wrap::EtherIp { ipv6 },
            Wrap::Vxlan { ipv6, vni: 6, port: 4_789 },
            Wrap::Geneve { ipv6, vni: 6, option_words: 3, ethernet: true },
            Wrap::Gtpu { ipv6, teid: 7, sequence: true, extension: true },
        ]
    }

    /// The contents stand at the end, whatever is around them, and headers of IPv4 add up.
    #[test]
    fn what_is_wrapped_is_still_there() {
        let packet = packet(300);
        for wrap in every_wrap() {
            let carriage = Carriage { wraps: vec![wrap.clone()], cuts: Vec::new() };
            let frames = carriage.frames(&packet, &mut Identifications::default());
            let [frame] = &frames[..] else { panic!("{wrap:?}") };
            assert!(frame.len() > packet.frame.len() && frame.ends_with(&packet.frame[14..]), "{wrap:?}");
            assert_eq!(frame[12..14], wrap.ether_type().to_be_bytes(), "{wrap:?}");
            if wrap.ether_type() == IPV4 {
                let header = etherparse::Ipv4HeaderSlice::from_slice(&frame[14..]).unwrap();
                assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum(), "{wrap:?}");
                assert_eq!(usize::from(header.total_len()), frame.len() - 14, "{wrap:?}");
                if header.protocol().0 == UDP {
                    let udp = etherparse::UdpHeaderSlice::from_slice(&frame[34..]).unwrap();
                    assert_eq!(usize::from(udp.length()), frame.len() - 34, "{wrap:?}");
                }
            }
        }
    }

    #[test]
    fn fragments_are_the_packet_cut() {
        let packet = packet(1_000);
        let carriage = Carriage { wraps: Vec::new(), cuts: vec![(0, 104)] };
        let frames = carriage.frames(&packet, &mut Identifications::default());
        let mut contents = Vec::new();
        for (number, frame) in frames.iter().enumerate() {
            let header = etherparse::Ipv4HeaderSlice::from_slice(&frame[14..]).unwrap();
            assert_eq!(usize::from(header.fragments_offset().value()) * 8, contents.len());
            assert_eq!((header.more_fragments(), header.dont_fragment()), (number + 1 < frames.len(), false));
            assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
            contents.extend_from_slice(&frame[34..]);
        }
        assert_eq!(frames.len(), 1_000_usize.div_ceil(104));
        assert_eq!(contents, packet.frame[34..]);
    }

    #[test]
    fn tunnels_lie_in_one_another_and_are_cut_on_either_level() {
        let packet = packet(1_000);
        let wraps = vec![
            Wrap::Gre { ipv6: true, key: None, sequence: None, checksum: false },
            Wrap::IpInIp { ipv6: false },
        ];
        assert!(wraps[0].takes(IPV4) && wraps[1].takes(wraps[0].ether_type()) && !wraps[1].takes(MPLS));
        let count = |cuts: Vec<(usize, usize)>| {
            Carriage { wraps: wraps.clone(), cuts }.frames(&packet, &mut Identifications::default()).len()
        };
        assert_eq!([vec![], vec![(0, 520)], vec![(1, 512)], vec![(2, 512)]].map(count), [1, 2, 3, 3]);
        assert_eq!(count(vec![(0, 520), (2, 304)]), 4);
    }
}
