//! The fanout program: the direction-free hash of a packet's flow, in classic BPF.
//!
//! What it hashes, the first that applies:
//! 1. an IP fragment, the first one included: addresses and protocol, as only the first knows the ports;
//! 2. a tunnel (VXLAN to its usual ports, GRE around IP or Ethernet, IP in IP): the packet inside, by these same
//!    rules. A tunnel more than [`TUNNELS`] deep goes by addresses and protocol, so that whatever it carries stays
//!    together;
//! 3. TCP, UDP, SCTP, DCCP, UDP-Lite: addresses, ports, protocol;
//! 4. any other IP packet: addresses and protocol;
//! 5. anything else: the ethertype.
//!
//! Where a bound is met (tags, labels, extension headers) the rule for what was read so far applies. Coarser is
//! never wrong, as long as all packets of a flow are treated alike.
//!
//! The decoder of `gannet-packet` opens more than this. What goes by its outer packet:
//!
//! ```text
//!   GRE around MPLS, PPP, ERSPAN; EtherIP         addresses and protocol: together, all of a pair of hosts
//!   PPPoE, Ethernet pseudowires of MPLS           the ethertype: together, all of the link
//!   Geneve, GTP-U, VXLAN to other ports or with   addresses and ports: where each direction has a source port of its
//!   its generic protocol extension                own, the directions of an inner flow reach different workers
//!   tunnels deeper than two, tunnels in fragments as the rules above say
//! ```
//!
//! In the last two rows, packets have to be handed to the worker of their inner flow.
//!
//! The program runs in `fanout_demux_bpf` (`net/packet/af_packet.c`) and does not see what a filter sees. Offset
//! 0 is the network header of a received packet but the MAC header of an outgoing one, therefore every load goes
//! through [`net_offset`], which is right for both and for devices without a link header. Tags differ:
//!
//! ```text
//!   received   the kernel took the outermost tag off; a tag below it (QinQ) is the protocol, and
//!              the network header is its TCI:          | TCI | ethertype | IP ...
//!   outgoing   with a tag in the frame the protocol says VLAN, yet the network header is where the
//!              sender put it: usually at IP, but at the tag when the packet was bridged
//! ```
//!
//! A load outside the packet ends the program with 0, the first member. Checked on Linux 6.18 with frames of every
//! encapsulation below and with its own VXLAN devices. One layout is **not** recognised: outgoing frames with MPLS
//! below a tag in the frame. The kernel then points behind the tags and nothing says that labels are there; such
//! packets go by their ethertype, apart from the flow's received ones.
//!
//! `twin.rs` computes the same number; a property test holds the two together. Change both or neither.
//!
//! The machine has no calls and no loops, so every level of tunnels is a copy of the same code. Its scratch
//! words: where the header at hand starts (counted from the network header), a hash of each endpoint, the
//! protocol, the ports.

use gannet_filter::Program;
use gannet_filter::bpf::insn::{ADD, AND, LSH, MUL, RSH, XOR};
use gannet_filter::bpf::{Ancillary, Assembler, Label, NEXT, Width, net_offset};
use gannet_packet::{EtherType, IpProtocol, PacketType, bounds};

/// The seed of the programs of [`FanoutMode::program`](super::FanoutMode::program) and of their twin: fixed, so
/// that a capture file is dispatched as its packets were live.
pub const FLOW_SEED: u32 = 0x6761_6e6e;

/// The program for `PACKET_FANOUT_CBPF`. Different seeds spread the same flows differently.
pub fn flow_program(seed: u32) -> Program {
    let mut writer = Writer::new(seed);
    writer.start();
    for level in 0..LEVELS {
        writer.level(level);
    }
    writer.finish();
    #[allow(
        clippy::expect_used,
        reason = "takes no input but the seed, which only appears as an operand; every test assembles it"
    )]
    writer.asm.assemble().expect("the fanout program obeys the rules of the machine")
}

/// IP headers inside one another that are read: the outer one and one for each tunnel.
const LEVELS: usize = TUNNELS + 1;
/// Tunnels inside one another that are followed, less than the decoder's [`bounds::TUNNELS`]: each costs a copy of all
/// the code. Two are a mirror's and an overlay's.
pub(super) const TUNNELS: usize = 2;

// Scratch words.
/// Offset of the header at hand from the network header.
const AT: u32 = 0;
/// Hash of the source endpoint.
const SOURCE: u32 = 1;
/// Hash of the destination endpoint.
const DESTINATION: u32 = 2;
/// IP protocol, or the ethertype while there is no IP header.
const PROTOCOL: u32 = 3;
/// Both ports as they stand in the header, 0 without.
const PORTS: u32 = 4;
/// For use within a few lines.
const TEMPORARY: u32 = 5;
/// Likewise.
const TEMPORARY2: u32 = 6;

struct Writer {
    asm: Assembler,
    seed: u32,
    /// Entry points of each level; one more entry than levels, see [`Writer::new`].
    levels: Vec<Level>,
    /// Combines what the scratch words hold and returns.
    finish: Label,
}

/// Where a level can be entered, always with [`AT`] at the header in question.
#[derive(Clone, Copy)]
struct Level {
    ethernet: Label,
    ipv4: Label,
    ipv6: Label,
}

impl Writer {
    fn new(seed: u32) -> Self {
        let mut asm = Assembler::new();
        let finish = asm.label();
        let mut levels: Vec<Level> = (0..LEVELS)
            .map(|_| Level { ethernet: asm.label(), ipv4: asm.label(), ipv6: asm.label() })
            .collect();
        // Entering a tunnel from the last level ends it, with addresses and protocol.
        levels.push(Level { ethernet: finish, ipv4: finish, ipv6: finish });
        Self { asm, seed, levels, finish }
    }

    /// Sets the scratch words and finds out whether the network header is a VLAN tag.
    fn start(&mut self) {
        let asm = &mut self.asm;
        let Level { ipv4, ipv6, .. } = self.levels[0];
        let (tagged, plain) = (asm.label(), asm.label());
        asm.ld_imm(0);
        for word in [AT, SOURCE, DESTINATION, PORTS] {
            asm.st(word);
        }
        asm.ld_ancillary(Ancillary::Protocol);
        asm.st(PROTOCOL);
        asm.jeq(IPV4, ipv4, NEXT);
        asm.jeq(IPV6, ipv6, NEXT);
        for tpid in VLAN {
            asm.jeq(tpid, tagged, NEXT);
        }
        asm.ja(plain);

        asm.bind(tagged);
        asm.ld_ancillary(Ancillary::PacketType);
        asm.jeq(PacketType::Outgoing as u32, NEXT, plain);
        self.outgoing_tag(plain);

        self.asm.bind(plain);
        self.asm.ld_mem(PROTOCOL);
        self.ether_type(0);
    }

    /// An outgoing packet with a tag in the frame: is the network header at the tag or at IP?
    ///
    /// It is at the tag if that makes sense of what follows it: an ethertype and the version of that, or two
    /// ethertypes in a row. To be taken for that, an IPv4 packet would have to be 2048 bytes long with a fitting
    /// identification. Otherwise it is at IP if there is an IP version.
    fn outgoing_tag(&mut self, at_tag: Label) {
        let asm = &mut self.asm;
        let Level { ipv4, ipv6, .. } = self.levels[0];
        let (over_ipv4, over_ipv6, over_tag, at_ip) = (asm.label(), asm.label(), asm.label(), asm.label());
        asm.ld_abs(Width::Half, net_offset(TAG_TYPE));
        asm.jeq(IPV4, over_ipv4, NEXT);
        asm.jeq(IPV6, over_ipv6, NEXT);
        for tpid in VLAN {
            asm.jeq(tpid, over_tag, NEXT);
        }
        asm.ja(at_ip);
        for (label, version) in [(over_ipv4, VERSION_4), (over_ipv6, VERSION_6)] {
            asm.bind(label);
            asm.ld_abs(Width::Byte, net_offset(TAG_LEN));
            asm.alu(AND, VERSION_MASK);
            asm.jeq(version, at_tag, at_ip);
        }
        asm.bind(over_tag);
        asm.ld_abs(Width::Half, net_offset(TAG_LEN + TAG_TYPE));
        for ether_type in [IPV4, IPV6].into_iter().chain(VLAN) {
            asm.jeq(ether_type, at_tag, NEXT);
        }
        asm.bind(at_ip);
        asm.ld_abs(Width::Byte, net_offset(0));
        asm.alu(AND, VERSION_MASK);
        asm.jeq(VERSION_4, ipv4, NEXT);
        asm.jeq(VERSION_6, ipv6, at_tag);
    }

    /// Everything from an inner Ethernet header (there is none at level 0) to the transport.
    fn level(&mut self, level: usize) {
        if level > 0 {
            self.asm.bind(self.levels[level].ethernet);
            self.load(Width::Half, ETHERNET_TYPE);
            self.skip(ETHERNET_LEN);
            self.ether_type(level);
        }
        let (extension, transport) = (self.asm.label(), self.asm.label());
        self.ipv4(level, transport);
        self.ipv6(level, extension);
        self.extensions(extension, transport);
        self.transport(level, transport);
    }

    /// With an ethertype in A and [`AT`] behind it: tags, labels, then IP; the end for anything else.
    fn ether_type(&mut self, level: usize) {
        let Level { ipv4, ipv6, .. } = self.levels[level];
        let mpls = self.asm.label();
        for _ in 0..bounds::VLAN_TAGS {
            let tag = self.asm.label();
            self.asm.jeq(IPV4, ipv4, NEXT);
            self.asm.jeq(IPV6, ipv6, NEXT);
            for tpid in VLAN {
                self.asm.jeq(tpid, tag, NEXT);
            }
            for ether_type in MPLS {
                self.asm.jeq(ether_type, mpls, NEXT);
            }
            self.asm.ja(self.finish);
            self.asm.bind(tag);
            self.load(Width::Half, TAG_TYPE);
            self.skip(TAG_LEN);
        }
        self.asm.jeq(IPV4, ipv4, NEXT);
        self.asm.jeq(IPV6, ipv6, NEXT);
        self.asm.jeq(MPLS[0], mpls, NEXT);
        self.asm.jeq(MPLS[1], mpls, self.finish);

        let bottom = self.asm.label();
        self.asm.bind(mpls);
        for _ in 0..bounds::MPLS_LABELS {
            self.load(Width::Word, 0);
            self.skip(MPLS_LEN);
            self.asm.jset(MPLS_BOTTOM, bottom, NEXT);
        }
        self.asm.ja(self.finish);
        self.asm.bind(bottom);
        self.load(Width::Byte, 0);
        self.asm.alu(AND, VERSION_MASK);
        self.asm.jeq(VERSION_4, ipv4, NEXT);
        self.asm.jeq(VERSION_6, ipv6, self.finish);
    }

    /// To `transport` with [`AT`] behind the header, or to the end.
    fn ipv4(&mut self, level: usize, transport: Label) {
        self.asm.bind(self.levels[level].ipv4);
        self.load(Width::Byte, 0);
        // Version and header length at once: 0x45 to 0x4f.
        self.asm.jge(0x45, NEXT, self.finish);
        self.asm.jgt(0x4f, self.finish, NEXT);
        self.asm.alu(AND, 0x0f);
        self.asm.alu(LSH, 2);
        self.asm.alu_x(ADD);
        self.asm.st(TEMPORARY);
        self.asm.ld_ind(Width::Byte, net_offset(9));
        self.asm.st(PROTOCOL);
        for (offset, endpoint) in [(12, SOURCE), (16, DESTINATION)] {
            self.load(Width::Word, offset);
            self.asm.alu(XOR, self.seed);
            self.absorb_rest();
            self.asm.st(endpoint);
        }
        self.load(Width::Half, 6);
        self.asm.jset(0x3fff, self.finish, NEXT);
        self.asm.ld_mem(TEMPORARY);
        self.asm.st(AT);
        self.asm.ja(transport);
    }

    /// To `extension` with [`AT`] behind the header, or to the end.
    fn ipv6(&mut self, level: usize, extension: Label) {
        self.asm.bind(self.levels[level].ipv6);
        self.load(Width::Byte, 0);
        self.asm.alu(AND, VERSION_MASK);
        self.asm.jeq(VERSION_6, NEXT, self.finish);
        self.asm.ld_ind(Width::Byte, net_offset(6));
        self.asm.st(PROTOCOL);
        for (address, endpoint) in [(8, SOURCE), (24, DESTINATION)] {
            self.load(Width::Word, address);
            self.asm.alu(XOR, self.seed);
            self.absorb_rest();
            self.asm.st(endpoint);
            for word in 1..4 {
                self.load(Width::Word, address + 4 * word);
                self.absorb_into(endpoint);
            }
        }
        self.asm.ld_imm(IPV6_LEN);
        self.asm.ldx_mem(AT);
        self.asm.alu_x(ADD);
        self.asm.st(AT);
        self.asm.ja(extension);
    }

    /// Walks over extension headers to `transport`, with [`PROTOCOL`] the header's that [`AT`] is at.
    fn extensions(&mut self, entry: Label, transport: Label) {
        self.asm.bind(entry);
        for _ in 0..bounds::IPV6_EXTENSIONS {
            let asm = &mut self.asm;
            let (options, fragment, authentication, next) =
                (asm.label(), asm.label(), asm.label(), asm.label());
            asm.ld_mem(PROTOCOL);
            asm.jeq(TCP, transport, NEXT);
            asm.jeq(UDP, transport, NEXT);
            for header in OPTIONS {
                asm.jeq(header, options, NEXT);
            }
            asm.jeq(FRAGMENT, fragment, NEXT);
            asm.jeq(AUTHENTICATION, authentication, transport);

            // Length in units of 8 bytes, the first 8 not counted (RFC 8200, section 4.3).
            asm.bind(options);
            asm.ldx_mem(AT);
            asm.ld_ind(Width::Byte, net_offset(0));
            asm.st(PROTOCOL);
            asm.ld_ind(Width::Byte, net_offset(1));
            asm.alu(ADD, 1);
            asm.alu(LSH, 3);
            asm.alu_x(ADD);
            asm.st(AT);
            asm.ja(next);

            // Length in units of 4 bytes, less 2 (RFC 4302, section 2.2).
            asm.bind(authentication);
            asm.ldx_mem(AT);
            asm.ld_ind(Width::Byte, net_offset(0));
            asm.st(PROTOCOL);
            asm.ld_ind(Width::Byte, net_offset(1));
            asm.alu(ADD, 2);
            asm.alu(LSH, 2);
            asm.alu_x(ADD);
            asm.st(AT);
            asm.ja(next);

            // The whole packet (RFC 6946) when offset and M are 0, else a fragment.
            asm.bind(fragment);
            asm.ldx_mem(AT);
            asm.ld_ind(Width::Byte, net_offset(0));
            asm.st(PROTOCOL);
            asm.ld_ind(Width::Half, net_offset(2));
            asm.jset(0xfff9, self.finish, NEXT);
            asm.txa();
            asm.alu(ADD, FRAGMENT_LEN);
            asm.st(AT);
            asm.bind(next);
        }
    }

    /// Takes the ports, or enters a tunnel.
    fn transport(&mut self, level: usize, entry: Label) {
        let (ports, udp, vxlan, gre, store) =
            (self.asm.label(), self.asm.label(), self.asm.label(), self.asm.label(), self.asm.label());
        let inner = self.levels[level + 1];
        let asm = &mut self.asm;
        asm.bind(entry);
        asm.ld_mem(PROTOCOL);
        asm.jeq(TCP, ports, NEXT);
        asm.jeq(UDP, udp, NEXT);
        asm.jeq(GRE, gre, NEXT);
        asm.jeq(IP_IN_IP, inner.ipv4, NEXT);
        asm.jeq(IPV6_IN_IP, inner.ipv6, NEXT);
        for protocol in OTHERS_WITH_PORTS {
            asm.jeq(protocol, ports, NEXT);
        }
        asm.ja(self.finish);

        asm.bind(ports);
        asm.ldx_mem(AT);
        asm.ld_ind(Width::Word, net_offset(0));
        asm.st(PORTS);
        asm.ja(self.finish);

        asm.bind(udp);
        asm.ldx_mem(AT);
        asm.ld_ind(Width::Word, net_offset(0));
        asm.st(TEMPORARY);
        asm.alu(AND, 0xffff);
        asm.jeq(VXLAN_PORTS[0], vxlan, NEXT);
        asm.jeq(VXLAN_PORTS[1], vxlan, store);
        // X is still where the UDP header starts.
        asm.bind(vxlan);
        asm.ld_ind(Width::Byte, net_offset(UDP_LEN));
        asm.alu(AND, VXLAN_I | VXLAN_P);
        asm.jeq(VXLAN_I, NEXT, store);
        asm.txa();
        asm.alu(ADD, UDP_LEN + VXLAN_LEN);
        asm.st(AT);
        asm.ja(inner.ethernet);
        asm.bind(store);
        asm.ld_mem(TEMPORARY);
        asm.st(PORTS);
        asm.ja(self.finish);

        asm.bind(gre);
        asm.ldx_mem(AT);
        asm.ld_ind(Width::Half, net_offset(0));
        asm.jset(GRE_ROUTING | GRE_VERSION, self.finish, NEXT);
        asm.st(TEMPORARY);
        asm.ld_ind(Width::Half, net_offset(2));
        asm.st(TEMPORARY2);
        // Four bytes more for each of checksum, key and sequence number: their bits, moved to the value 4.
        for shift in [13, 11, 10] {
            asm.ld_mem(TEMPORARY);
            asm.alu(RSH, shift);
            asm.alu(AND, 4);
            asm.alu_x(ADD);
            asm.tax();
        }
        asm.alu(ADD, GRE_LEN);
        asm.st(AT);
        asm.ld_mem(TEMPORARY2);
        asm.jeq(IPV4, inner.ipv4, NEXT);
        asm.jeq(IPV6, inner.ipv6, NEXT);
        asm.jeq(BRIDGED_ETHERNET, inner.ethernet, self.finish);
    }

    /// The value: endpoints with their ports, combined so that their order does not matter, and mixed well, as
    /// the kernel takes the remainder by a small number.
    fn finish(&mut self) {
        let seed = self.seed;
        self.asm.bind(self.finish);
        self.asm.ld_mem(PORTS);
        self.asm.alu(RSH, 16);
        self.absorb_into(SOURCE);
        self.asm.ld_mem(PORTS);
        self.asm.alu(AND, 0xffff);
        self.absorb_into(DESTINATION);
        let asm = &mut self.asm;
        asm.ldx_mem(SOURCE);
        asm.alu_x(XOR);
        asm.st(TEMPORARY);
        asm.ld_mem(DESTINATION);
        asm.alu_x(ADD);
        asm.st(TEMPORARY2);
        asm.ld_mem(PROTOCOL);
        asm.alu(XOR, seed);
        asm.ldx_mem(TEMPORARY2);
        asm.alu_x(XOR);
        self.absorb_rest();
        self.asm.ldx_mem(TEMPORARY);
        self.asm.alu_x(XOR);
        self.absorb_rest();
        // The finaliser of MurmurHash3.
        let asm = &mut self.asm;
        for (shift, factor) in FINALISER {
            asm.tax();
            asm.alu(RSH, shift);
            asm.alu_x(XOR);
            asm.alu(MUL, factor);
        }
        asm.tax();
        asm.alu(RSH, FINAL_SHIFT);
        asm.alu_x(XOR);
        asm.ret_a();
    }

    /// A = the packet at [`AT`] plus `offset`; X = [`AT`].
    fn load(&mut self, width: Width, offset: u32) {
        self.asm.ldx_mem(AT);
        self.asm.ld_ind(width, net_offset(offset));
    }

    /// Moves [`AT`] on by `len`, from X, which [`load`](Self::load) has set; A stays.
    fn skip(&mut self, len: u32) {
        self.asm.st(TEMPORARY);
        self.asm.txa();
        self.asm.alu(ADD, len);
        self.asm.st(AT);
        self.asm.ld_mem(TEMPORARY);
    }

    /// The scratch word `hash` absorbs A.
    fn absorb_into(&mut self, hash: u32) {
        self.asm.ldx_mem(hash);
        self.asm.alu_x(XOR);
        self.absorb_rest();
        self.asm.st(hash);
    }

    /// The second half of absorbing, after hash and word were xored in A: a bijection of it.
    fn absorb_rest(&mut self) {
        self.asm.alu(MUL, FACTOR);
        self.asm.tax();
        self.asm.alu(RSH, ABSORB_SHIFT);
        self.asm.alu_x(XOR);
    }
}

// The numbers of the hash, shared with the twin.
/// Odd, with bits all over: 2^32 divided by the golden ratio.
pub(super) const FACTOR: u32 = 0x9e37_79b1;
/// Brings the well-mixed upper half down, where the next product spreads it again.
pub(super) const ABSORB_SHIFT: u32 = 15;
/// Shifts and factors of the MurmurHash3 finaliser (public domain), which mixes every bit into every other.
pub(super) const FINALISER: [(u32, u32); 2] = [(16, 0x85eb_ca6b), (13, 0xc2b2_ae35)];
/// Its last shift.
pub(super) const FINAL_SHIFT: u32 = 16;

const IPV4: u32 = EtherType::IPV4.0 as u32;
const IPV6: u32 = EtherType::IPV6.0 as u32;
const BRIDGED_ETHERNET: u32 = EtherType::ETHERNET.0 as u32;
const VLAN: [u32; 3] =
    [EtherType::VLAN.0 as u32, EtherType::SERVICE_VLAN.0 as u32, EtherType::OLD_QINQ.0 as u32];
const MPLS: [u32; 2] = [EtherType::MPLS.0 as u32, EtherType::MPLS_UPSTREAM.0 as u32];
const TCP: u32 = IpProtocol::TCP.0 as u32;
const UDP: u32 = IpProtocol::UDP.0 as u32;
const GRE: u32 = IpProtocol::GRE.0 as u32;
const IP_IN_IP: u32 = IpProtocol::IPV4.0 as u32;
const IPV6_IN_IP: u32 = IpProtocol::IPV6.0 as u32;
const OTHERS_WITH_PORTS: [u32; 3] =
    [IpProtocol::SCTP.0 as u32, IpProtocol::DCCP.0 as u32, IpProtocol::UDP_LITE.0 as u32];
const OPTIONS: [u32; 3] =
    [IpProtocol::HOP_BY_HOP.0 as u32, IpProtocol::ROUTING.0 as u32, IpProtocol::DESTINATION_OPTIONS.0 as u32];
const FRAGMENT: u32 = IpProtocol::FRAGMENT.0 as u32;
const AUTHENTICATION: u32 = IpProtocol::AUTHENTICATION.0 as u32;
/// The ports of [`gannet_packet::is_vxlan_port`].
const VXLAN_PORTS: [u32; 2] = [4789, 8472];

// Lengths and offsets of headers, in bytes.
const ETHERNET_TYPE: u32 = 12;
const ETHERNET_LEN: u32 = 14;
const TAG_TYPE: u32 = 2;
const TAG_LEN: u32 = 4;
const MPLS_LEN: u32 = 4;
const IPV6_LEN: u32 = 40;
const FRAGMENT_LEN: u32 = 8;
const UDP_LEN: u32 = 8;
const VXLAN_LEN: u32 = 8;
const GRE_LEN: u32 = 4;

/// The version in the first byte of an IP header.
const VERSION_MASK: u32 = 0xf0;
const VERSION_4: u32 = 0x40;
const VERSION_6: u32 = 0x60;
/// The bottom-of-stack bit of an MPLS label.
const MPLS_BOTTOM: u32 = 0x100;
/// Set when the VXLAN header carries a network identifier.
const VXLAN_I: u32 = 0x08;
/// Set when it may carry something else than Ethernet.
const VXLAN_P: u32 = 0x04;
const GRE_ROUTING: u32 = 0x4000;
const GRE_VERSION: u32 = 0x0007;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_the_kernel_with_room() {
        let program = flow_program(FLOW_SEED);
        let len = program.instructions().len();
        eprintln!("the flow program has {len} instructions");
        assert!(len < gannet_filter::bpf::insn::MAX_INSTRUCTIONS / 2, "{len} instructions");
    }

    #[test]
    fn vxlan_ports_are_those_of_the_decoder() {
        let ports: Vec<u32> =
            (0..=u16::MAX).filter(|&port| gannet_packet::is_vxlan_port(port)).map(u32::from).collect();
        assert_eq!(ports, VXLAN_PORTS);
    }
}
