//! What moves the headers for everything written after it: VLAN tags, MPLS labels, PPPoE, Geneve, VXLAN.

use super::headers::{At, Framing, LLC_LEN, Place, statement};
use super::predicate::{Open, Predicate, Way, constant, with_x};
use super::transport::IpVersion;
use super::{Lowering, ethertype};
use crate::bpf::Instruction;
use crate::bpf::Width::{Byte, Half, Word};
use crate::bpf::insn::*;
use crate::error::Error;
use crate::ir::Comparison;
use crate::tree::{Direction, Ports, Transport};

impl Lowering<'_> {
    /// `vlan [ID]`.
    pub(super) fn vlan(&mut self, id: Option<u16>) -> Result<Predicate, Error> {
        if self.headers.labels > 0 {
            return Err(self.link_error("behind MPLS labels no VLAN tag can be told"));
        }
        match self.headers.framing {
            Framing::Ethernet => {}
            Framing::Kernel => return self.kernel_vlan(id),
            _ => return Err(self.link_error("VLAN tags are there on Ethernet only")),
        }
        let mut tagged = None;
        for tpid in [ethertype::VLAN, ethertype::SERVICE_VLAN, ethertype::OLD_QINQ] {
            let next = self.link_protocol(tpid)?;
            tagged = Some(self.either(tagged, next));
        }
        let mut tagged = tagged.unwrap_or_else(|| self.never());
        if let Some(id) = id {
            let matches = self.masked(At::Network(0), Half, VLAN_ID, u32::from(id));
            tagged = self.graph.and(tagged, matches);
        }
        self.headers.type_field = self.headers.type_field.plus(VLAN_TAG_LEN);
        self.headers.payload = self.headers.payload.plus(VLAN_TAG_LEN);
        Ok(tagged)
    }

    /// `mpls [LABEL]`.
    pub(super) fn mpls(&mut self, label: Option<u32>) -> Result<Predicate, Error> {
        let mut labelled = if self.headers.labels > 0 {
            // The label before this one is not the last.
            self.masked(At::Network(MPLS_BOTTOM), Byte, 1, 0)
        } else {
            match self.headers.framing {
                Framing::Ethernet | Framing::Kernel => self.link_protocol(ethertype::MPLS)?,
                Framing::Ppp => self.link_protocol(PPP_MPLS)?,
                _ => return Err(self.link_error("MPLS labels are recognised on Ethernet only")),
            }
        };
        if let Some(label) = label {
            let matches = self.masked(At::Network(0), Word, MPLS_LABEL, label << MPLS_LABEL_SHIFT);
            labelled = self.graph.and(labelled, matches);
        }
        self.headers.network += MPLS_LABEL_LEN;
        self.headers.network_llc += MPLS_LABEL_LEN;
        self.headers.labels += 1;
        Ok(labelled)
    }

    /// `pppoed`.
    pub(super) fn pppoe_discovery(&mut self) -> Result<Predicate, Error> {
        self.link_protocol(ethertype::PPPOE_DISCOVERY)
    }

    /// `pppoes [SESSION]`.
    pub(super) fn pppoe_session(&mut self, session: Option<u16>) -> Result<Predicate, Error> {
        let mut holds = self.link_protocol(ethertype::PPPOE_SESSION)?;
        if let Some(session) = session {
            // Version, type and code stand before it in the word.
            let matches = self.masked(At::Network(0), Word, 0xffff, u32::from(session));
            holds = self.graph.and(holds, matches);
        }
        let ppp = self.headers.place(At::Network(PPPOE_LEN));
        self.headers.framing = Framing::Ppp;
        self.headers.link = ppp;
        self.headers.type_field = ppp;
        self.headers.payload = ppp.plus(PPP_LEN);
        self.headers.network = 0;
        self.headers.network_llc = 0;
        self.headers.link_may_miss = false;
        Ok(holds)
    }

    /// `geneve [VNI]`: what follows its options is an Ethernet frame, or of the protocol that its header names.
    pub(super) fn geneve(&mut self, vni: Option<u32>) -> Result<Predicate, Error> {
        let found = self
            .over_udp(GENEVE_PORT, vni, |lowering, flags| lowering.masked(flags, Byte, GENEVE_VERSION, 0))?;
        // A and X hold the length of the IP header, with whatever varies before it.
        let udp_payload = self.headers.place(At::Network(UDP_LEN)).constant;
        let type_word = self.scratch_word()?;
        let link_word = self.scratch_word()?;
        let payload_word = self.scratch_word()?;
        let measure = vec![
            statement(ALU | ADD | K, udp_payload),
            statement(MISC | TAX, 0),
            statement(ALU | ADD | K, GENEVE_PROTOCOL),
            statement(ST, type_word),
            statement(LD | IND | B, 0),
            statement(ALU | AND | K, GENEVE_OPTIONS),
            statement(ALU | MUL | K, 4),
            statement(ALU | ADD | K, GENEVE_LEN),
            statement(ALU | ADD | X, 0),
            statement(ST, link_word),
            statement(LD | IND | H, GENEVE_PROTOCOL),
            statement(LDX | MEM, link_word),
        ];
        let behind_ethernet = vec![
            statement(MISC | TXA, 0),
            statement(ALU | ADD | K, ETHERNET_TYPE),
            statement(ST, type_word),
            statement(ALU | ADD | K, ETHERNET_LEN - ETHERNET_TYPE),
            statement(MISC | TAX, 0),
        ];
        let mut open = Open::default();
        let holds = constant(Comparison::Equal, 0);
        let store = vec![statement(STX, payload_word), statement(LD | IMM, 0)];
        let store = self.graph.branch(store, holds, Way::Holds, Way::Fails, &mut open);
        let detour = self.graph.goto(behind_ethernet, store);
        let is_ethernet = constant(Comparison::Equal, ethertype::BRIDGED_ETHERNET);
        let measure = self.graph.branch(measure, is_ethernet, Way::To(detour), Way::To(store), &mut open);
        self.headers.framing = Framing::Ethernet;
        self.headers.type_field = Place { variable: Some(type_word), constant: 0 };
        self.headers.link = Place { variable: Some(link_word), constant: 0 };
        self.headers.payload = Place { variable: Some(payload_word), constant: 0 };
        self.headers.network = 0;
        self.headers.link_may_miss = true;
        self.moving.extend([type_word, link_word, payload_word]);
        Ok(self.graph.enter(found, measure, open))
    }

    /// `vxlan [VNI]`: an Ethernet frame follows.
    pub(super) fn vxlan(&mut self, vni: Option<u32>) -> Result<Predicate, Error> {
        let found = self.over_udp(VXLAN_PORT, vni, |lowering, flags| {
            let load = lowering.headers.load(flags, Byte);
            lowering.graph.ask(load, constant(Comparison::AnyBit, VXLAN_HAS_VNI))
        })?;
        let word = self.scratch_word()?;
        let moved = self.always_after(vec![statement(ST, word)]);
        let frame = self.headers.place(At::Network(UDP_LEN + VXLAN_LEN)).constant;
        let frame = Place { variable: Some(word), constant: frame };
        self.headers.framing = Framing::Ethernet;
        self.headers.link = frame;
        self.headers.type_field = frame.plus(ETHERNET_TYPE);
        self.headers.payload = frame.plus(ETHERNET_LEN);
        self.headers.network = 0;
        self.headers.network_llc = LLC_LEN;
        self.headers.link_may_miss = false;
        self.moving.push(word);
        Ok(self.graph.and(found, moved))
    }

    /// A tunnel header behind UDP: the destination port, its flags, its network identifier; afterwards A and X hold
    /// the length of the IP header with whatever varies before it.
    fn over_udp(
        &mut self,
        port: u16,
        vni: Option<u32>,
        mut flags: impl FnMut(&mut Self, At) -> Predicate,
    ) -> Result<Predicate, Error> {
        let mut any = None;
        for version in [IpVersion::V4, IpVersion::V6] {
            let udp = Some(Transport::Udp);
            let mut found = self.port_in(version, udp, Direction::Destination, Ports::One(port))?;
            let flags = flags(self, version.transport(UDP_LEN));
            found = self.graph.and(found, flags);
            if let Some(vni) = vni {
                let at = version.transport(UDP_LEN + TUNNEL_VNI);
                let matches = self.masked(at, Word, TUNNEL_VNI_MASK, vni << 8);
                found = self.graph.and(found, matches);
            }
            let measure = self.ip_header_len(version);
            let measured = self.graph.ask(measure, with_x(Comparison::Equal));
            found = self.graph.and(found, measured);
            any = Some(self.either(any, found));
        }
        Ok(any.unwrap_or_else(|| self.never()))
    }

    /// The length of the IP header, with whatever varies before it, in both A and X.
    fn ip_header_len(&self, version: IpVersion) -> Vec<Instruction> {
        match version {
            IpVersion::V4 => {
                let mut statements = self.headers.ipv4_len();
                statements.push(statement(MISC | TXA, 0));
                statements
            }
            IpVersion::V6 => {
                let mut statements = Vec::new();
                if let Some(word) = self.headers.payload.variable {
                    statements.push(statement(LDX | MEM, word));
                }
                statements.push(statement(LD | IMM, super::headers::IPV6_LEN));
                if self.headers.payload.variable.is_some() {
                    statements.push(statement(ALU | ADD | X, 0));
                }
                statements.push(statement(MISC | TAX, 0));
                statements
            }
        }
    }
}

pub(super) const VLAN_TAG_LEN: u32 = 4;
pub(super) const VLAN_ID: u32 = 0x0fff;
const MPLS_LABEL_LEN: u32 = 4;
const MPLS_LABEL: u32 = 0xffff_f000;
const MPLS_LABEL_SHIFT: u32 = 12;
/// The byte with the bottom-of-stack bit of the label before, from what follows it.
const MPLS_BOTTOM: u32 = -2_i32 as u32;
/// PPP's number for MPLS unicast.
const PPP_MPLS: u32 = 0x0281;
const PPPOE_LEN: u32 = 6;
/// PPP has its protocol number only: PPPoE leaves out the framing.
const PPP_LEN: u32 = 2;
const UDP_LEN: u32 = 8;
const ETHERNET_TYPE: u32 = 12;
const ETHERNET_LEN: u32 = 14;
/// The identifier and a reserved byte, in both tunnel headers.
const TUNNEL_VNI: u32 = 4;
const TUNNEL_VNI_MASK: u32 = 0xffff_ff00;
const GENEVE_PORT: u16 = 6081;
const GENEVE_LEN: u32 = 8;
const GENEVE_VERSION: u32 = 0xc0;
/// Words of options, in the first byte.
const GENEVE_OPTIONS: u32 = 0x3f;
/// The ethertype of what follows.
const GENEVE_PROTOCOL: u32 = 2;
const VXLAN_PORT: u16 = 4789;
const VXLAN_LEN: u32 = 8;
/// "The I flag MUST be set to 1 for a valid VXLAN Network ID" (RFC 7348).
const VXLAN_HAS_VNI: u32 = 8;
