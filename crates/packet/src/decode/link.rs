//! Link headers and VLAN tags: everything in front of IP but what counts as a tunnel.

use etherparse::{Ethernet2HeaderSlice, SingleVlanHeaderSlice};

use super::{Decoder, Next, Step};
use crate::packet::{End, LayerKind, Malformed};
use crate::{EtherType, bounds};

impl Decoder<'_> {
    pub(super) fn ethernet(&mut self) -> Step {
        let header = Ethernet2HeaderSlice::from_slice(self.rest())
            .map_err(|e| self.short(e.required_len, Malformed::LinkHeader))?;
        let ether_type = header.ether_type().0;
        self.pass(LayerKind::Ethernet, ETHERNET_LEN)?;
        self.type_or_length(ether_type)
    }

    /// The field behind the addresses or a VLAN tag: a type, or in IEEE 802.3 a length with LLC behind it.
    fn type_or_length(&mut self, value: u16) -> Step {
        if value > MAX_802_3_LEN {
            return Ok(Next::EtherType(EtherType(value)));
        }
        // A length beyond the frame is not worth refusing the frame for.
        let len = usize::from(value).min(self.wire_len());
        self.limit(len, Malformed::LinkHeader)?;
        Ok(Next::EtherType(EtherType::LLC))
    }

    pub(super) fn ether_type(&mut self, ether_type: EtherType) -> Step {
        match ether_type {
            EtherType::IPV4 => Ok(Next::Ipv4),
            EtherType::IPV6 => Ok(Next::Ipv6),
            EtherType::ETHERNET => Ok(Next::Ethernet),
            EtherType::LLC => self.llc(),
            EtherType::ARP | EtherType::RARP => {
                // The header is the whole of it, so it stays the payload.
                if !self.rest().is_empty() {
                    self.note(LayerKind::Arp)?;
                }
                Err(End::Unknown)
            }
            vlan if vlan.is_vlan() => self.vlan(),
            mpls if mpls.is_mpls() => self.mpls(),
            EtherType::PPPOE_SESSION => self.pppoe(),
            _ => Err(End::Unknown),
        }
    }

    fn vlan(&mut self) -> Step {
        if self.vlan_tags == bounds::VLAN_TAGS {
            return Err(End::Malformed(Malformed::VlanDepth));
        }
        self.vlan_tags += 1;
        let tag = SingleVlanHeaderSlice::from_slice(self.rest())
            .map_err(|e| self.short(e.required_len, Malformed::Vlan))?;
        let (ether_type, slice) = (tag.ether_type().0, tag.slice());
        self.packet.vlans.push(u16::from_be_bytes([slice[0], slice[1]]));
        self.pass(LayerKind::Vlan, VLAN_LEN)?;
        self.type_or_length(ether_type)
    }

    /// IEEE 802.2 LLC, followed only into SNAP with an ethertype (RFC 1042: "the organization code of zero").
    fn llc(&mut self) -> Step {
        let llc: &[u8; 3] = self.peek(Malformed::LinkHeader)?;
        if *llc != SNAP_SAP {
            return Err(End::Unknown);
        }
        self.pass(LayerKind::Llc, llc.len())?;
        let &[o1, o2, o3, t1, t2] = self.peek(Malformed::LinkHeader)?;
        if [o1, o2, o3] != [0, 0, 0] {
            return Err(End::Unknown);
        }
        self.pass(LayerKind::Snap, 5)?;
        match EtherType(u16::from_be_bytes([t1, t2])) {
            // LLC again would make a loop of headers that nobody sends.
            ether_type if ether_type.0 <= MAX_802_3_LEN => Err(End::Unknown),
            ether_type => Ok(Next::EtherType(ether_type)),
        }
    }

    /// LINKTYPE_LINUX_SLL: packet type, ARPHRD_, address length, address, protocol.
    pub(super) fn linux_cooked(&mut self) -> Step {
        let header: &[u8; 16] = self.peek(Malformed::LinkHeader)?;
        let protocol = u16::from_be_bytes([header[14], header[15]]);
        let hardware = u16::from_be_bytes([header[2], header[3]]);
        self.pass(LayerKind::LinuxCooked, header.len())?;
        cooked_type(hardware, protocol).map(Next::EtherType).ok_or(End::Unknown)
    }

    /// LINKTYPE_LINUX_SLL2: protocol, reserved, interface index, ARPHRD_, packet type, address length, address.
    pub(super) fn linux_cooked2(&mut self) -> Step {
        let header: &[u8; 20] = self.peek(Malformed::LinkHeader)?;
        let protocol = u16::from_be_bytes([header[0], header[1]]);
        let hardware = u16::from_be_bytes([header[8], header[9]]);
        self.pass(LayerKind::LinuxCooked2, header.len())?;
        cooked_type(hardware, protocol).map(Next::EtherType).ok_or(End::Unknown)
    }

    /// LINKTYPE_NULL and LINKTYPE_LOOP: an address family.
    pub(super) fn null(&mut self) -> Step {
        let &family = self.peek(Malformed::LinkHeader)?;
        self.pass(LayerKind::Null, family.len())?;
        null_type(family).map(Next::EtherType).ok_or(End::Unknown)
    }

    /// LINKTYPE_PPP and LINKTYPE_PPP_HDLC: PPP, behind the address and control field of HDLC (RFC 1662, section
    /// 3.1) unless these were negotiated away.
    pub(super) fn link_ppp(&mut self) -> Step {
        self.skip_hdlc()?;
        self.ppp()
    }

    /// LINKTYPE_C_HDLC: unicast or multicast address, 0, ethertype.
    pub(super) fn cisco_hdlc(&mut self) -> Step {
        let &[address, _, t1, t2] = self.peek(Malformed::LinkHeader)?;
        if !C_HDLC_ADDRESSES.contains(&address) {
            return Err(End::Unknown);
        }
        self.pass(LayerKind::CiscoHdlc, C_HDLC_LEN)?;
        self.type_or_length(u16::from_be_bytes([t1, t2]))
    }

    /// LINKTYPE_NFLOG: address family, version 0, resource; then attributes in the byte order of the capturing host,
    /// each of length, type, value, on boundaries of four bytes. One of them is the packet, mostly the last.
    pub(super) fn nflog(&mut self) -> Step {
        let &[family, version, _, _] = self.peek(Malformed::LinkHeader)?;
        let next = match u32::from(family) {
            AF_INET => Next::Ipv4,
            family if AF_INET6.contains(&family) => Next::Ipv6,
            _ => return Err(End::Unknown),
        };
        if version != 0 {
            return Err(End::Unknown);
        }
        let mut at = NFLOG_LEN;
        for _ in 0..bounds::NFLOG_ATTRIBUTES {
            let Some(&[l1, l2, t1, t2]) = self.rest().get(at..).and_then(<[u8]>::first_chunk) else {
                return Err(self.short(at + NFLOG_ATTRIBUTE_LEN, Malformed::LinkHeader));
            };
            // No attribute has a type above 255, so the byte order shows.
            let little = t2 == 0 || t1 != 0;
            let number = |bytes| {
                usize::from(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
            };
            let len = number([l1, l2]);
            if len < NFLOG_ATTRIBUTE_LEN {
                return Err(End::Malformed(Malformed::LinkHeader));
            }
            if number([t1, t2]) & NFLOG_TYPE == NFLOG_PAYLOAD {
                self.limit(at + len, Malformed::LinkHeader)?;
                self.pass(LayerKind::Nflog, at + NFLOG_ATTRIBUTE_LEN)?;
                return Ok(next);
            }
            at += len.next_multiple_of(NFLOG_ATTRIBUTE_LEN);
        }
        Err(End::Unknown)
    }

    /// LINKTYPE_IEEE802_11_RADIOTAP: version 0, padding, the length of all, a list of what is there, and that
    /// (<https://www.radiotap.org>). Numbers are little-endian. Only the padding behind the header of 802.11 matters
    /// here.
    pub(super) fn radiotap(&mut self) -> Step {
        let &[version, _, l1, l2, p1, p2, p3, p4] = self.peek(Malformed::LinkHeader)?;
        let len = usize::from(u16::from_le_bytes([l1, l2]));
        if version != 0 {
            return Err(End::Unknown);
        }
        if len < RADIOTAP_LEN {
            return Err(End::Malformed(Malformed::LinkHeader));
        }
        if self.rest().len() < len {
            return Err(self.short(len, Malformed::LinkHeader));
        }
        let header = self.rest().get(..len).unwrap_or_default();
        let present = u32::from_le_bytes([p1, p2, p3, p4]);
        let words = header.get(4..).unwrap_or_default().chunks_exact(4);
        let more = words.take_while(|word| word[3] & RADIOTAP_MORE != 0).count();
        let behind = RADIOTAP_LEN + 4 * more;
        // The time of the radio comes first, on a boundary of eight bytes.
        let flags_at = if present & RADIOTAP_TIME != 0 { behind.next_multiple_of(8) + 8 } else { behind };
        let flags = header.get(flags_at).filter(|_| present & RADIOTAP_FLAGS != 0);
        let padded = flags.is_some_and(|flags| flags & RADIOTAP_PADDED != 0);
        self.pass(LayerKind::Radiotap, len)?;
        Ok(Next::Ieee80211 { padded })
    }

    /// LINKTYPE_IEEE802_11: frame control, duration, three addresses, sequence control, and what frame control says
    /// beside; then LLC. What is encrypted, in fragments or put together with other frames stays unknown, and so does
    /// what is no data.
    pub(super) fn ieee80211(&mut self, padded: bool) -> Step {
        let header: &[u8; WLAN_LEN] = self.peek(Malformed::LinkHeader)?;
        let [kind, flags] = [header[0], header[1]];
        let fragment = header[22] & WLAN_FRAGMENT != 0 || flags & WLAN_MORE_FRAGMENTS != 0;
        if kind & WLAN_KIND != WLAN_DATA || flags & WLAN_PROTECTED != 0 || fragment {
            return Err(End::Unknown);
        }
        let mut len = WLAN_LEN;
        if flags & WLAN_BOTH_DS == WLAN_BOTH_DS {
            len += 6;
        }
        if kind & WLAN_QOS != 0 {
            let Some(&quality) = self.rest().get(len) else {
                return Err(self.short(len + 2, Malformed::LinkHeader));
            };
            if quality & WLAN_AMSDU != 0 {
                return Err(End::Unknown);
            }
            len += if flags & WLAN_ORDER != 0 { 6 } else { 2 };
        }
        if padded {
            len = len.next_multiple_of(4);
        }
        if self.rest().len() < len {
            return Err(self.short(len, Malformed::LinkHeader));
        }
        self.pass(LayerKind::Ieee80211, len)?;
        Ok(Next::EtherType(EtherType::LLC))
    }
}

/// The type of what a cooked header of this hardware is in front of, if it has one.
#[inline]
pub(super) fn cooked_type(hardware: u16, protocol: u16) -> Option<EtherType> {
    // The protocol is a netlink family there.
    (hardware != ARPHRD_NETLINK).then_some(EtherType(protocol))
}

/// The type of what an address family is in front of: in the byte order of a host that we do not know, or in network
/// order. The numbers are small, so both readings cannot be valid.
#[inline]
pub(super) fn null_type(family: [u8; 4]) -> Option<EtherType> {
    match u32::from_le_bytes(family).min(u32::from_be_bytes(family)) {
        AF_INET => Some(EtherType::IPV4),
        family if AF_INET6.contains(&family) => Some(EtherType::IPV6),
        _ => None,
    }
}

const ETHERNET_LEN: usize = 14;
const VLAN_LEN: usize = 4;
/// Ethertypes start at 1536; up to here the field is a length. What lies between is neither, and is left to
/// the ethertypes, where nobody knows it.
const MAX_802_3_LEN: u16 = 1500;
/// Both SAPs 0xaa, control 3 (unnumbered information).
const SNAP_SAP: [u8; 3] = [0xaa, 0xaa, 0x03];
const C_HDLC_LEN: usize = 4;
const C_HDLC_ADDRESSES: [u8; 2] = [0x0f, 0x8f];
const NFLOG_LEN: usize = 4;
const NFLOG_ATTRIBUTE_LEN: usize = 4;
/// Without the two bits for nested attributes and byte order (`include/uapi/linux/netlink.h`).
const NFLOG_TYPE: usize = 0x3fff;
/// `NFULA_PAYLOAD` (`include/uapi/linux/netfilter/nfnetlink_log.h`).
const NFLOG_PAYLOAD: usize = 9;
const RADIOTAP_LEN: usize = 8;
/// In the last byte of a word of the list: another one follows.
const RADIOTAP_MORE: u8 = 0x80;
const RADIOTAP_TIME: u32 = 1;
const RADIOTAP_FLAGS: u32 = 2;
/// Between the header of 802.11 and what it carries there is padding to 32 bits.
const RADIOTAP_PADDED: u8 = 0x20;
const WLAN_LEN: usize = 24;
/// Version, type, and the bit of the subtype that says that there is nothing in it.
const WLAN_KIND: u8 = 0x4f;
const WLAN_DATA: u8 = 0x08;
const WLAN_QOS: u8 = 0x80;
/// To the distribution system and from it: there is a fourth address.
const WLAN_BOTH_DS: u8 = 0x03;
const WLAN_MORE_FRAGMENTS: u8 = 0x04;
const WLAN_PROTECTED: u8 = 0x40;
/// With quality of service: there is an HT control field.
const WLAN_ORDER: u8 = 0x80;
const WLAN_FRAGMENT: u8 = 0x0f;
/// Several frames in one.
const WLAN_AMSDU: u8 = 0x80;
const AF_INET: u32 = 2;
/// Linux, NetBSD and OpenBSD, FreeBSD, macOS.
const AF_INET6: [u32; 4] = [10, 24, 28, 30];
/// `include/uapi/linux/if_arp.h`.
const ARPHRD_NETLINK: u16 = 824;
