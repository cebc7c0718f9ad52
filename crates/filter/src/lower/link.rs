//! What the link-level header says: the protocol behind it, addresses, directions, LLC.

use super::headers::{At, Framing};
use super::predicate::{Predicate, constant, with_x};
use super::{Lowering, ethertype, llc};
use crate::bpf::Ancillary;
use crate::bpf::Width::{Byte, Half, Word};
use crate::bpf::insn::{LD, LDX, MEM};
use crate::error::Error;
use crate::ir::Comparison;
use crate::lower::headers::statement;
use crate::tree::{Direction, Llc};
use gannet_packet::PacketType;

impl Lowering<'_> {
    /// Is what follows the link-level header of this protocol? Values up to 1500 are LLC service access points.
    pub(super) fn link_protocol(&mut self, number: u32) -> Result<Predicate, Error> {
        if self.headers.labels > 0 {
            return self.behind_labels(number);
        }
        Ok(match self.headers.framing {
            Framing::Ethernet | Framing::Kernel => self.ethernet_protocol(number),
            Framing::Sll => self.cooked_protocol(number),
            Framing::Sll2 => self.compare(At::Type(0), Half, Comparison::Equal, number),
            Framing::Raw => match number {
                ethertype::IPV4 => self.masked(At::Link(0), Byte, 0xf0, 0x40),
                ethertype::IPV6 => self.masked(At::Link(0), Byte, 0xf0, 0x60),
                _ => self.never(),
            },
            Framing::Family { little_endian } => match number {
                ethertype::IPV4 => self.family(little_endian, FAMILY_IPV4),
                ethertype::IPV6 => {
                    let mut any = self.family(little_endian, FAMILIES_IPV6[0]);
                    for &family in &FAMILIES_IPV6[1..] {
                        let other = self.family(little_endian, family);
                        any = self.graph.or(any, other);
                    }
                    any
                }
                _ => self.never(),
            },
            Framing::Ppp => self.compare(At::Type(0), Half, Comparison::Equal, ppp_protocol(number)),
        })
    }

    /// Behind MPLS labels: the last label has the bottom bit, and IP is recognised by its version.
    fn behind_labels(&mut self, number: u32) -> Result<Predicate, Error> {
        let version = match number {
            ethertype::IPV4 => 0x40,
            ethertype::IPV6 => 0x60,
            _ => return Err(self.link_error("behind MPLS labels only IPv4 and IPv6 can be told apart")),
        };
        let bottom = self.masked(At::Network(MPLS_BOTTOM), Byte, 1, 1);
        let version = self.masked(At::Network(0), Byte, 0xf0, version);
        Ok(self.graph.and(bottom, version))
    }

    fn ethernet_protocol(&mut self, number: u32) -> Predicate {
        match number {
            llc::ISO | llc::IP | llc::NETBEUI => {
                let length = self.is_length();
                let saps = self.compare(At::Payload(0), Half, Comparison::Equal, number << 8 | number);
                self.graph.and(length, saps)
            }
            llc::IPX => {
                let ethertype = self.compare(At::Type(0), Half, Comparison::Equal, ethertype::IPX);
                let length = self.is_length();
                let sap = self.compare(At::Payload(0), Byte, Comparison::Equal, llc::IPX);
                let raw = self.compare(At::Payload(0), Half, Comparison::Equal, 0xffff);
                let snap = self.snap(0, ethertype::IPX);
                // SNAP, then the access point, then Novell's 802.3 without LLC.
                let either = self.graph.or(sap, raw);
                let any = self.graph.or(snap, either);
                let any = self.graph.and(length, any);
                self.graph.or(ethertype, any)
            }
            ethertype::ATALK | ethertype::AARP => {
                let ethertype = self.compare(At::Type(0), Half, Comparison::Equal, number);
                let length = self.is_length();
                let snap = self.snap(apple_organisation(number), number);
                let snap = self.graph.and(length, snap);
                self.graph.or(ethertype, snap)
            }
            _ if number <= ETHERNET_MTU => {
                let length = self.is_length();
                // Behind Geneve without a link-level header that is not the payload.
                let at = if self.headers.framing == Framing::Kernel { At::Payload(0) } else { At::Type(2) };
                let sap = self.compare(at, Byte, Comparison::Equal, number);
                self.graph.and(length, sap)
            }
            _ => self.compare(At::Type(0), Half, Comparison::Equal, number),
        }
    }

    fn cooked_protocol(&mut self, number: u32) -> Predicate {
        match number {
            llc::ISO | llc::IP | llc::NETBEUI => {
                let is_llc = self.compare(At::Type(0), Half, Comparison::Equal, COOKED_802_2);
                let saps = self.compare(At::Payload(0), Half, Comparison::Equal, number << 8 | number);
                self.graph.and(is_llc, saps)
            }
            llc::IPX => {
                let ethertype = self.compare(At::Type(0), Half, Comparison::Equal, ethertype::IPX);
                let raw = self.compare(At::Type(0), Half, Comparison::Equal, COOKED_802_3);
                let is_llc = self.compare(At::Type(0), Half, Comparison::Equal, COOKED_802_2);
                let sap = self.compare(At::Payload(0), Byte, Comparison::Equal, llc::IPX);
                let snap = self.snap(0, ethertype::IPX);
                let either = self.graph.or(sap, snap);
                let either = self.graph.and(is_llc, either);
                let any = self.graph.or(raw, either);
                self.graph.or(ethertype, any)
            }
            ethertype::ATALK | ethertype::AARP => {
                let ethertype = self.compare(At::Type(0), Half, Comparison::Equal, number);
                let is_llc = self.compare(At::Type(0), Half, Comparison::Equal, COOKED_802_2);
                let snap = self.snap(apple_organisation(number), number);
                let snap = self.graph.and(is_llc, snap);
                self.graph.or(ethertype, snap)
            }
            _ if number <= ETHERNET_MTU => {
                let is_llc = self.compare(At::Type(0), Half, Comparison::Equal, COOKED_802_2);
                let sap = self.compare(At::Payload(0), Byte, Comparison::Equal, number);
                self.graph.and(is_llc, sap)
            }
            _ => self.compare(At::Type(0), Half, Comparison::Equal, number),
        }
    }

    /// Is the type field an 802.3 length?
    fn is_length(&mut self) -> Predicate {
        if self.headers.framing == Framing::Kernel {
            return self.kernel_is_length();
        }
        self.compare(At::Type(0), Half, Comparison::Greater, ETHERNET_MTU).not()
    }

    /// Does an 802.2 header with a SNAP header for this organisation and protocol follow?
    fn snap(&mut self, organisation: u32, protocol: u32) -> Predicate {
        let [_, o0, o1, o2] = organisation.to_be_bytes();
        let [_, _, p0, p1] = protocol.to_be_bytes();
        self.bytes(At::Payload, 0, &[llc::SNAP, llc::SNAP, llc::UI, o0, o1, o2, p0, p1])
    }

    fn family(&mut self, little_endian: bool, family: u32) -> Predicate {
        let value = if little_endian { family.swap_bytes() } else { family };
        self.compare(At::Link(0), Word, Comparison::Equal, value)
    }

    /// `ether host`.
    pub(super) fn link_address(
        &mut self,
        direction: Direction,
        address: [u8; 6],
    ) -> Result<Predicate, Error> {
        if !self.has_link_addresses() {
            return Err(self.link_error("link-level addresses are there on Ethernet only"));
        }
        let present =
            if self.at_interface_link() { Some(self.is_ethernet_device()) } else { self.link_present() };
        let address = self.mac(direction, address);
        Ok(self.both(present, address))
    }

    fn has_link_addresses(&self) -> bool {
        matches!(self.headers.framing, Framing::Ethernet | Framing::Kernel)
    }

    pub(super) fn mac(&mut self, direction: Direction, address: [u8; 6]) -> Predicate {
        match direction {
            Direction::Source => self.bytes(At::Link, 6, &address),
            Direction::Destination => self.bytes(At::Link, 0, &address),
            Direction::Either | Direction::Both => {
                let source = self.bytes(At::Link, 6, &address);
                let destination = self.bytes(At::Link, 0, &address);
                if direction == Direction::Both {
                    self.graph.and(source, destination)
                } else {
                    self.graph.or(source, destination)
                }
            }
        }
    }

    /// Behind Geneve, whether there is a link-level header at all; otherwise there is nothing to ask.
    fn link_present(&mut self) -> Option<Predicate> {
        if !self.headers.link_may_miss {
            return None;
        }
        let (link, payload) = (self.headers.link.variable?, self.headers.payload.variable?);
        let statements = vec![statement(LD | MEM, link), statement(LDX | MEM, payload)];
        Some(self.graph.ask(statements, with_x(Comparison::Equal)).not())
    }

    /// `ether broadcast`.
    pub(super) fn link_broadcast(&mut self) -> Result<Predicate, Error> {
        if !self.has_link_addresses() {
            return Err(self.link_error("there are no link-level broadcasts"));
        }
        if self.at_interface_link() {
            return Ok(self.kernel_broadcast());
        }
        let present = self.link_present();
        let address = self.mac(Direction::Destination, [0xff; 6]);
        Ok(self.both(present, address))
    }

    /// `ether multicast`.
    pub(super) fn link_multicast(&mut self) -> Result<Predicate, Error> {
        if !self.has_link_addresses() {
            return Err(self.link_error("there are no link-level multicasts"));
        }
        if self.at_interface_link() {
            return Ok(self.kernel_multicast());
        }
        let present = self.link_present();
        let group = self.group_address();
        Ok(self.both(present, group))
    }

    /// The lowest bit of the destination's first byte.
    pub(super) fn group_address(&mut self) -> Predicate {
        let statements = self.headers.load(At::Link(0), Byte);
        self.graph.ask(statements, constant(Comparison::AnyBit, 1))
    }

    /// `llc` and its kinds.
    pub(super) fn llc(&mut self, kind: Option<Llc>) -> Result<Predicate, Error> {
        if !self.has_link_addresses() {
            return Err(self.link_error("`llc` is for Ethernet"));
        }
        let length = self.is_length();
        let raw = self.compare(At::Payload(0), Half, Comparison::Equal, 0xffff).not();
        let frame = self.graph.and(length, raw);
        let control = match kind {
            None => return Ok(frame),
            Some(Llc::Information) => {
                let statements = self.headers.load(At::Payload(2), Byte);
                self.graph.ask(statements, constant(Comparison::AnyBit, 1)).not()
            }
            Some(Llc::Supervisory) => self.masked(At::Payload(2), Byte, 3, 1),
            Some(Llc::Unnumbered) => self.masked(At::Payload(2), Byte, 3, 3),
            Some(Llc::SupervisoryKind(control)) => {
                self.masked(At::Payload(2), Byte, SUPERVISORY_MASK, u32::from(control))
            }
            Some(Llc::UnnumberedKind(control)) => {
                self.masked(At::Payload(2), Byte, UNNUMBERED_MASK, u32::from(control))
            }
        };
        Ok(self.graph.and(frame, control))
    }

    /// `outbound`; `inbound` is the opposite.
    pub(super) fn outbound(&mut self) -> Result<Predicate, Error> {
        let outgoing = PacketType::Outgoing as u32;
        Ok(match self.headers.framing {
            Framing::Sll => self.compare(At::Link(0), Half, Comparison::Equal, outgoing),
            Framing::Sll2 => self.compare(At::Link(10), Byte, Comparison::Equal, outgoing),
            _ if self.is_kernel() => self.ancillary(Ancillary::PacketType, Comparison::Equal, outgoing),
            _ => return Err(self.link_error("nothing in the frame says whether it was sent or received")),
        })
    }

    /// `ifindex`.
    pub(super) fn interface_index(&mut self, index: u32) -> Result<Predicate, Error> {
        Ok(match self.headers.framing {
            Framing::Sll2 => self.compare(At::Link(4), Word, Comparison::Equal, index),
            _ if self.is_kernel() => self.ancillary(Ancillary::InterfaceIndex, Comparison::Equal, index),
            _ => return Err(self.link_error("nothing in the frame says which interface it was captured on")),
        })
    }
}

/// The PPP protocol number of an ethertype or LLC service access point; others stay as they are.
fn ppp_protocol(number: u32) -> u32 {
    match number {
        ethertype::IPV4 => 0x21,
        ethertype::IPV6 => 0x57,
        ethertype::DECNET => 0x27,
        ethertype::ATALK => 0x29,
        ethertype::XEROX_NS => 0x25,
        llc::ISO => 0x23,
        llc::SPANNING_TREE => 0x31,
        llc::IPX => 0x2b,
        other => other,
    }
}

/// AppleTalk has SNAP frames under Apple's number, its ARP under that for ethertypes.
fn apple_organisation(number: u32) -> u32 {
    if number == ethertype::ATALK { 0x08_0007 } else { 0 }
}

/// The most that an 802.3 length field says; larger values are ethertypes.
pub(super) const ETHERNET_MTU: u32 = 1500;
/// `LINUX_SLL_P_802_3`: Novell's 802.3 frames without LLC.
const COOKED_802_3: u32 = 1;
/// `LINUX_SLL_P_802_2`: 802.3 frames with LLC.
const COOKED_802_2: u32 = 4;
/// `AF_INET`, the same everywhere.
const FAMILY_IPV4: u32 = 2;
/// `AF_INET6` of macOS, of NetBSD and OpenBSD, of FreeBSD, in libpcap's order.
const FAMILIES_IPV6: [u32; 3] = [30, 24, 28];
/// The byte with the bottom-of-stack bit of the last label, from what follows the labels.
const MPLS_BOTTOM: u32 = -2_i32 as u32;
const SUPERVISORY_MASK: u32 = 0x0f;
/// Without the poll/final bit.
const UNNUMBERED_MASK: u32 = 0xef;
