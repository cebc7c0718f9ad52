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
        cooked_protocol(hardware, protocol)
    }

    /// LINKTYPE_LINUX_SLL2: protocol, reserved, interface index, ARPHRD_, packet type, address length, address.
    pub(super) fn linux_cooked2(&mut self) -> Step {
        let header: &[u8; 20] = self.peek(Malformed::LinkHeader)?;
        let protocol = u16::from_be_bytes([header[0], header[1]]);
        let hardware = u16::from_be_bytes([header[8], header[9]]);
        self.pass(LayerKind::LinuxCooked2, header.len())?;
        cooked_protocol(hardware, protocol)
    }

    /// LINKTYPE_NULL and LINKTYPE_LOOP: an address family in the byte order of a host that we do not know, or in
    /// network order. The numbers are small, so both readings cannot be valid.
    pub(super) fn null(&mut self) -> Step {
        let &bytes = self.peek::<4>(Malformed::LinkHeader)?;
        let family = u32::from_le_bytes(bytes).min(u32::from_be_bytes(bytes));
        self.pass(LayerKind::Null, bytes.len())?;
        match family {
            AF_INET => Ok(Next::Ipv4),
            family if AF_INET6.contains(&family) => Ok(Next::Ipv6),
            _ => Err(End::Unknown),
        }
    }
}

fn cooked_protocol(hardware: u16, protocol: u16) -> Step {
    match hardware {
        // The protocol field then is a netlink family.
        ARPHRD_NETLINK => Err(End::Unknown),
        _ => Ok(Next::EtherType(EtherType(protocol))),
    }
}

const ETHERNET_LEN: usize = 14;
const VLAN_LEN: usize = 4;
/// Ethertypes start at 1536; up to here the field is a length. What lies between is neither, and is left to
/// the ethertypes, where nobody knows it.
const MAX_802_3_LEN: u16 = 1500;
/// Both SAPs 0xaa, control 3 (unnumbered information).
const SNAP_SAP: [u8; 3] = [0xaa, 0xaa, 0x03];
const AF_INET: u32 = 2;
/// Linux, NetBSD and OpenBSD, FreeBSD, macOS.
const AF_INET6: [u32; 4] = [10, 24, 28, 30];
/// `include/uapi/linux/if_arp.h`.
const ARPHRD_NETLINK: u16 = 824;
