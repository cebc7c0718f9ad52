//! Programs for a live packet socket on any interface: what the kernel knows beside the bytes.
//!
//! ```text
//!                      received                               sent
//!   SKF_LL_OFF    ──►  | MACs | type |                        | MACs | (tag) | type |
//!   SKF_NET_OFF   ──►                | IP ...                                       | IP ...
//!   outermost tag      in the kernel's record, always         in the record if the device inserts tags, else in the
//!                                                             frame; then SKF_AD_PROTOCOL says VLAN
//! ```
//!
//! On Ethernet-like devices `SKF_LL_OFF` therefore sees a frame as libpcap's live filter does: without the tag that is in the
//! record, with one that is not. Behind `vlan` everything is looked for through it. `SKF_NET_OFF` will not do there: of a frame
//! sent with its tag inside it points at IP or at the tag, depending on who sent it.

use super::encapsulation::{VLAN_ID, VLAN_TAG_LEN};
use super::headers::{At, Framing, Place, statement};
use super::link::ETHERNET_MTU;
use super::predicate::{Predicate, constant};
use super::{Lowering, ethertype};
use crate::bpf::Instruction;
use crate::bpf::Width::Half;
use crate::bpf::insn::*;
use crate::compile::Link;
use crate::error::{Error, ErrorKind};
use crate::ir::Comparison;
use crate::tree::Direction;
use gannet_packet::PacketType;

impl Lowering<'_> {
    pub(super) fn is_kernel(&self) -> bool {
        self.options.link == Link::Kernel
    }

    /// Whether the link-level header looked at is that of the interface, which may be of any kind.
    pub(super) fn at_interface_link(&self) -> bool {
        self.is_kernel() && self.headers.link == Place::fixed(SKF_LL_OFF)
    }

    /// Compares what the kernel knows of the packet.
    pub(super) fn ancillary(&mut self, what: Ancillary, test: Comparison, value: u32) -> Predicate {
        self.graph.ask(vec![load(what)], constant(test, value))
    }

    /// Does the interface have Ethernet headers?
    pub(super) fn is_ethernet_device(&mut self) -> Predicate {
        let ethernet = self.ancillary(Ancillary::HardwareType, Comparison::Equal, HARDWARE_ETHERNET);
        let loopback = self.ancillary(Ancillary::HardwareType, Comparison::Equal, HARDWARE_LOOPBACK);
        self.graph.or(ethernet, loopback)
    }

    /// Is it an 802.3 frame? The kernel's record then has its own numbers for 802.2 and 802.3, or the length.
    pub(super) fn kernel_is_length(&mut self) -> Predicate {
        let ethernet = self.is_ethernet_device();
        let length = self.compare(At::Type(0), Half, Comparison::Greater, ETHERNET_MTU).not();
        self.graph.and(ethernet, length)
    }

    /// `ether broadcast`: by the address on Ethernet, elsewhere as the driver has classed it.
    pub(super) fn kernel_broadcast(&mut self) -> Predicate {
        let ethernet = self.is_ethernet_device();
        let address = self.mac(Direction::Destination, [0xff; 6]);
        let class = self.ancillary(Ancillary::PacketType, Comparison::Equal, PacketType::Broadcast as u32);
        self.graph.choose(ethernet, address, class)
    }

    /// `ether multicast`, which broadcasts are as well.
    pub(super) fn kernel_multicast(&mut self) -> Predicate {
        let ethernet = self.is_ethernet_device();
        let address = self.group_address();
        let multicast =
            self.ancillary(Ancillary::PacketType, Comparison::Equal, PacketType::Multicast as u32);
        let broadcast =
            self.ancillary(Ancillary::PacketType, Comparison::Equal, PacketType::Broadcast as u32);
        let class = self.graph.or(multicast, broadcast);
        self.graph.choose(ethernet, address, class)
    }

    /// `vlan [ID]`: the tag in the kernel's record, else one in the frame.
    ///
    /// A scratch word says by how much a tag in the frame moves what follows: as in libpcap by 4 whenever there is none in the
    /// record, also if there is none at all.
    pub(super) fn kernel_vlan(&mut self, id: Option<u16>) -> Result<Predicate, Error> {
        let word = self.scratch_word()?;
        let statements = vec![
            load(Ancillary::VlanTagPresent),
            statement(ALU | XOR | K, 1),
            statement(ALU | LSH | K, VLAN_TAG_LEN.trailing_zeros()),
            statement(ST, word),
        ];
        self.moving.push(word);
        let recorded = self.graph.ask(statements, constant(Comparison::Equal, 0));
        let mut in_frame = None;
        for tpid in [ethertype::VLAN, ethertype::SERVICE_VLAN, ethertype::OLD_QINQ] {
            let next = self.ancillary(Ancillary::Protocol, Comparison::Equal, tpid);
            in_frame = Some(self.either(in_frame, next));
        }
        let in_frame = in_frame.unwrap_or_else(|| self.never());
        let link = Place::fixed(SKF_LL_OFF);
        self.headers.framing = Framing::Ethernet;
        self.headers.link = link;
        let tagged = match id {
            None => self.graph.or(recorded, in_frame),
            Some(id) => {
                let statements = vec![load(Ancillary::VlanTag), statement(ALU | AND | K, VLAN_ID)];
                let record = self.graph.ask(statements, constant(Comparison::Equal, u32::from(id)));
                let tag = self.masked(At::Link(ETHERNET_LEN), Half, VLAN_ID, u32::from(id));
                let in_frame = self.graph.and(in_frame, tag);
                self.graph.choose(recorded, record, in_frame)
            }
        };
        let moved = Place { variable: Some(word), ..link };
        self.headers.type_field = moved.plus(ETHERNET_TYPE);
        self.headers.payload = moved.plus(ETHERNET_LEN);
        self.headers.network = 0;
        self.headers.network_llc = ETHERNET_LLC_LEN;
        Ok(tagged)
    }

    /// Refuses bytes of the interface's link-level header, which are something else on every kind of interface.
    pub(super) fn check_link_bytes(&self) -> Result<(), Error> {
        if !self.at_interface_link() {
            return Ok(());
        }
        let message = "bytes of the link-level header cannot be asked for on any kind of interface at once";
        Err(Error::new(ErrorKind::LinkType, message, self.span.clone()).with_help(
            "`ether host`, `ether proto` and `vlan` work, as does `ip[...]` for what comes behind",
        ))
    }
}

fn load(what: Ancillary) -> Instruction {
    statement(LD | ABS | W, what.offset())
}

/// `ARPHRD_ETHER`.
const HARDWARE_ETHERNET: u32 = 1;
/// `ARPHRD_LOOPBACK`, which has Ethernet headers, too.
const HARDWARE_LOOPBACK: u32 = 772;
const ETHERNET_TYPE: u32 = 12;
const ETHERNET_LEN: u32 = 14;
const ETHERNET_LLC_LEN: u32 = 3;
