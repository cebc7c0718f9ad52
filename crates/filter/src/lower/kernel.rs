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
//! On Ethernet-like devices `SKF_LL_OFF` therefore sees a frame as libpcap's live filter does: without the tag that
//! is in the record, with one that is not. Behind `vlan` everything is looked for through it. `SKF_NET_OFF` will not
//! do there: of a frame sent with its tag inside it points at IP or at the tag, depending on who sent it.

use super::encapsulation::{VLAN_ID, VLAN_TAG_LEN};
use super::headers::{At, Framing, LLC_LEN, Place, statement};
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
    /// A scratch word says by how much a tag in the frame moves what follows: as in libpcap by 4 whenever there is
    /// none in the record, also if there is none at all.
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
        self.headers.network_llc = LLC_LEN;
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

#[cfg(test)]
mod tests {
    use gannet_packet::PacketType;
    use gannet_testkit::filters::expression::Expressions;
    use gannet_testkit::filters::frame::Frames;
    use gannet_testkit::filters::oracle::LINKS;

    use crate::bpf::{Program, Skb, VlanTag};
    use crate::compile::{Link, Options, Snaplen, compile};
    use crate::error::{Error, ErrorKind};
    use crate::names::Names;

    fn program(expression: &str, link: Link) -> Result<Program, Error> {
        let names = Names::default();
        let snaplen = Snaplen::Fixed(262_144);
        compile(expression, &Options { link, snaplen, optimise: false, netmask: 0, names: &names })
    }

    fn passes(expression: &str, skb: &Skb<'_>) -> bool {
        program(expression, Link::Kernel).unwrap().run(skb) > 0
    }

    /// An Ethernet frame as a packet socket has it after it was received: the kernel takes the outermost tag into its
    /// record.
    fn received(frame: &[u8]) -> (Vec<u8>, Option<VlanTag>, u16) {
        let word = |bytes: &[u8], at| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let mut bytes = frame.to_vec();
        let mut vlan = None;
        if let tpid @ (0x8100 | 0x88a8) = word(&bytes, 12)
            && bytes.len() >= 18
        {
            vlan = Some(VlanTag { tpid, tci: word(&bytes, 14) });
            bytes.drain(12..16);
        }
        // `eth_type_trans`: numbers of its own for 802.2 and 802.3.
        let protocol = match word(&bytes, 12) {
            1536.. => word(&bytes, 12),
            _ if bytes.get(14..16) == Some(&[0xff, 0xff]) => 1,
            _ => 4,
        };
        (bytes, vlan, protocol)
    }

    fn skb<'a>(parts: &'a (Vec<u8>, Option<VlanTag>, u16)) -> Skb<'a> {
        let (bytes, vlan, protocol) = parts;
        Skb { network: 14, protocol: *protocol, vlan: *vlan, hardware_type: 1, ..Skb::of(bytes) }
    }

    const SYN: [u8; 20] = [4, 210, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0];

    /// Ethernet, these tags, IPv4, TCP to port 80.
    fn tcp(tags: &[(u16, u16)]) -> Vec<u8> {
        let mut frame = vec![2; 12];
        for (tpid, tci) in tags {
            frame.extend(tpid.to_be_bytes());
            frame.extend(tci.to_be_bytes());
        }
        frame.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend(SYN);
        frame
    }

    #[test]
    fn tags_of_received_frames() {
        let parts = [
            received(&tcp(&[])),
            received(&tcp(&[(0x8100, 0x6064)])),
            received(&tcp(&[(0x88a8, 100), (0x8100, 200)])),
        ];
        for (expression, expected) in [
            ("vlan", [false, true, true]),
            ("not vlan", [true, false, false]),
            ("vlan 100", [false, true, true]),
            ("vlan 200", [false; 3]),
            ("vlan 100 and tcp port 80", [false, true, false]),
            ("vlan and vlan 200", [false, false, true]),
            ("vlan and vlan 200 and tcp port 80", [false, false, true]),
            // Of a tag in the record nothing is seen unless asked, as in libpcap.
            ("tcp port 80", [true, true, false]),
            ("tcp port 81 or vlan 100 and tcp[13] = 2", [false, true, false]),
            ("(tcp dst port 80 or vlan) and ip", [true, true, false]),
        ] {
            let verdicts = parts.each_ref().map(|parts| passes(expression, &skb(parts)));
            assert_eq!(verdicts, expected, "{expression}");
        }
    }

    #[test]
    fn tags_of_sent_frames() {
        // In the record, and in the frame with the network header at IP or at the tag.
        let recorded = received(&tcp(&[(0x8100, 100)]));
        let inside = tcp(&[(0x8100, 100)]);
        let twice = tcp(&[(0x8100, 100), (0x8100, 200)]);
        let outgoing = PacketType::Outgoing;
        let skbs = [
            Skb { packet_type: outgoing, ..skb(&recorded) },
            Skb {
                packet_type: outgoing,
                network: 18,
                protocol: 0x8100,
                hardware_type: 1,
                ..Skb::of(&inside)
            },
            Skb {
                packet_type: outgoing,
                network: 14,
                protocol: 0x8100,
                hardware_type: 1,
                ..Skb::of(&inside)
            },
            Skb { packet_type: outgoing, network: 22, protocol: 0x8100, hardware_type: 1, ..Skb::of(&twice) },
        ];
        for (expression, expected) in [
            ("vlan", [true; 4]),
            ("vlan 100 and tcp port 80", [true, true, true, false]),
            ("vlan 101", [false; 4]),
            ("vlan and vlan 200 and tcp port 80", [false, false, false, true]),
            ("tcp port 80", [true, false, false, false]),
            ("not vlan", [false; 4]),
            ("outbound and vlan 100", [true; 4]),
            ("inbound", [false; 4]),
        ] {
            let verdicts = skbs.each_ref().map(|skb| passes(expression, skb));
            assert_eq!(verdicts, expected, "{expression}");
        }
    }

    #[test]
    fn link_level_tests_hold_on_ethernet_only() {
        let frame = tcp(&[]);
        let parts = received(&frame);
        let ethernet = skb(&parts);
        let loopback = Skb { hardware_type: 772, ..ethernet };
        // The same bytes on an interface without Ethernet headers.
        let tunnel = Skb { hardware_type: 65534, network: 0, ..Skb { bytes: &frame[14..], ..ethernet } };
        for (expression, expected) in [
            ("ether host 02:02:02:02:02:02", [true, true, false]),
            ("ether dst 02:02:02:02:02:02 and tcp port 80", [true, true, false]),
            ("ether proto \\ip", [true; 3]),
            ("tcp port 80", [true; 3]),
            ("ether broadcast", [false; 3]),
            ("not ether host 02:02:02:02:02:02", [false, false, true]),
        ] {
            let verdicts = [&ethernet, &loopback, &tunnel].map(|skb| passes(expression, skb));
            assert_eq!(verdicts, expected, "{expression}");
        }
        let heard = Skb { packet_type: PacketType::Broadcast, ..tunnel };
        assert!(passes("ether broadcast", &heard) && passes("ether multicast", &heard));
        assert!(passes("ifindex 7", &Skb { interface_index: 7, ..tunnel }));
        for refused in ["link[0] = 1", "ether[12:2] = 0x800", "byte 0 = 1"] {
            let error = program(refused, Link::Kernel).unwrap_err();
            assert!(error.kind == ErrorKind::LinkType && error.help.is_some(), "{error}");
        }
    }

    /// What asks nothing of the link level but the protocol has the same verdict on a received frame as in a file,
    /// tags left out.
    #[test]
    fn received_frames_are_judged_as_in_files() {
        // The test kit sees this crate from outside; its first link type is Ethernet.
        let mut expressions = Expressions::new(7, LINKS[0]);
        let mut frames = Frames::new(7, LINKS[0]);
        let frames: Vec<Vec<u8>> = (0..400).map(|_| frames.next_whole()).collect();
        let mut held = 0;
        for _ in 0..400 {
            let expression = expressions.next_expression();
            // `vlan` sees the record; what is inside other headers may reach beyond a frame that is one tag shorter.
            if [
                "vlan", "link", "ether", "byte", "inbound", "outbound", "ifindex", "len", "less", "greater",
                "fddi", "tr", "wlan", "ppp", "slip",
            ]
            .iter()
            .any(|word| expression.contains(word))
            {
                continue;
            }
            let (Ok(file), Ok(live)) =
                (program(&expression, Link::Ethernet), program(&expression, Link::Kernel))
            else {
                continue;
            };
            for frame in frames.iter().filter(|frame| frame.len() >= 16) {
                let parts = received(frame);
                if parts.1.is_some() || (1501..1536).contains(&u16::from_be_bytes([frame[12], frame[13]])) {
                    continue;
                }
                let (expected, verdict) = (file.run(&Skb::of(frame)), live.run(&skb(&parts)));
                assert_eq!(verdict, expected, "{expression} on {frame:02x?}");
                held += usize::from(verdict > 0);
            }
        }
        assert!(held > 1000, "{held}");
    }
}
