//! The kernel program that every capture starts with.
//!
//! It runs once per packet before the ring: keeps out what `-Q` and `--type` exclude, shows each loopback packet
//! once, and returns the snaplen. A packet it rejects costs no ring space and is not counted as received.

use gannet_filter::Program;
use gannet_filter::bpf::asm::NEXT;
use gannet_filter::bpf::{Ancillary, Assembler, Label, Width, net_offset};
use gannet_packet::{EtherType, IpProtocol, PacketType};

/// Which packets pass, and how much of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prelude {
    /// Received packets pass.
    pub incoming: bool,
    /// Sent packets pass.
    pub outgoing: bool,
    /// Only packets of this type pass.
    pub packet_type: Option<PacketType>,
    /// Only what can carry TCP passes: TCP itself, IP fragments, the tunnels VXLAN, GRE and IP in IP, and frames whose
    /// contents cannot be told without looking further in (VLAN tags, MPLS, PPPoE, IPv6 extension headers).
    pub only_tcp: bool,
    /// Bytes of each frame that go into the ring, as the kernel sees the frame: without a VLAN tag.
    pub snaplen: u32,
}

impl Prelude {
    /// The program. Sent packets are recognised by `sll_pkttype`, because `PACKET_IGNORE_OUTGOING` has no effect
    /// on the members of a fanout group.
    pub fn program(&self) -> Program {
        let mut asm = Assembler::new();
        let reject = asm.label();
        let received = asm.label();
        let accept = asm.label();
        asm.ld_ancillary(Ancillary::PacketType);
        if let Some(packet_type) = self.packet_type {
            asm.jeq(packet_type as u32, NEXT, reject);
        }
        asm.jeq(PacketType::Outgoing as u32, NEXT, received);
        if self.outgoing {
            // Each loopback packet comes twice, sent and received; the received one is shown.
            asm.ld_ancillary(Ancillary::HardwareType);
            asm.jeq(u32::from(libc::ARPHRD_LOOPBACK), reject, accept);
        } else {
            asm.ja(reject);
        }
        asm.bind(received);
        if !self.incoming {
            asm.ja(reject);
        }
        asm.bind(accept);
        if self.only_tcp {
            only_tcp(&mut asm, reject);
        }
        asm.ret(self.snaplen);
        asm.bind(reject);
        asm.ret(0);
        // Some 50 instructions at most and every label bound above: there is nothing that could be refused.
        asm.assemble().unwrap_or_else(|_| reject_all())
    }
}

/// Goes on behind itself with what may carry TCP, to `reject` with everything else.
///
/// It loads through `SKF_NET_OFF`, where the network header is for sent and received frames alike. A load beyond the packet
/// ends a program with 0, which is right for a packet too short for the header that was asked for.
fn only_tcp(asm: &mut Assembler, reject: Label) {
    let pass = asm.label();
    let ipv6 = asm.label();
    let other = asm.label();
    let udp = asm.label();
    asm.ld_ancillary(Ancillary::Protocol);
    asm.jeq(u32::from(EtherType::IPV4.0), NEXT, ipv6);
    // IPv4: more fragments, or an offset; then by protocol.
    asm.ld_abs(Width::Half, net_offset(6));
    asm.jset(0x3fff, pass, NEXT);
    asm.ld_abs(Width::Byte, net_offset(9));
    asm.jeq(u32::from(IpProtocol::UDP.0), NEXT, other);
    asm.ldx_msh(net_offset(0));
    asm.ja(udp);
    asm.bind(ipv6);
    // What is neither IPv4 nor IPv6 passes if it may hold one of them.
    let ether_type_inside = [
        EtherType::VLAN.0,
        EtherType::SERVICE_VLAN.0,
        EtherType::OLD_QINQ.0,
        EtherType::MPLS.0,
        EtherType::MPLS_UPSTREAM.0,
        libc::ETH_P_PPP_SES as u16,
    ];
    for ether_type in ether_type_inside {
        asm.jeq(u32::from(ether_type), pass, NEXT);
    }
    asm.jeq(u32::from(EtherType::IPV6.0), NEXT, reject);
    asm.ld_abs(Width::Byte, net_offset(6));
    for extension in [
        IpProtocol::HOP_BY_HOP,
        IpProtocol::ROUTING,
        IpProtocol::FRAGMENT,
        IpProtocol::AUTHENTICATION,
        IpProtocol::DESTINATION_OPTIONS,
    ] {
        asm.jeq(u32::from(extension.0), pass, NEXT);
    }
    asm.ldx_imm(40);
    asm.jeq(u32::from(IpProtocol::UDP.0), udp, other);
    asm.bind(other);
    for protocol in [IpProtocol::TCP, IpProtocol::GRE, IpProtocol::IPV4, IpProtocol::IPV6] {
        asm.jeq(u32::from(protocol.0), pass, NEXT);
    }
    asm.ja(reject);
    asm.bind(udp);
    // The destination port, X being the length of the IP header.
    asm.ld_ind(Width::Half, net_offset(2));
    asm.jeq(4789, pass, NEXT);
    asm.jeq(8472, pass, reject);
    asm.bind(pass);
}

/// Lets nothing in.
pub fn reject_all() -> Program {
    Program::constant(0)
}

#[cfg(test)]
mod tests {
    use gannet_filter::Skb;

    use super::*;

    fn verdict(prelude: Prelude, packet_type: PacketType, hardware_type: u16) -> u32 {
        prelude.program().run(&Skb { packet_type, hardware_type, ..Skb::of(&[0; 60]) })
    }

    const ALL: Prelude =
        Prelude { incoming: true, outgoing: true, packet_type: None, only_tcp: false, snaplen: 96 };

    #[test]
    fn directions() {
        use PacketType::{Broadcast, Host, Multicast, OtherHost, Outgoing};
        for packet_type in [Host, Broadcast, Multicast, OtherHost, Outgoing] {
            let sent = packet_type == Outgoing;
            assert_eq!(verdict(ALL, packet_type, 1), 96);
            assert_eq!(
                verdict(Prelude { outgoing: false, ..ALL }, packet_type, 1),
                if sent { 0 } else { 96 }
            );
            assert_eq!(
                verdict(Prelude { incoming: false, ..ALL }, packet_type, 1),
                if sent { 96 } else { 0 }
            );
            let only = Prelude { packet_type: Some(Multicast), ..ALL };
            assert_eq!(verdict(only, packet_type, 1), if packet_type == Multicast { 96 } else { 0 });
        }
        assert_eq!(verdict(Prelude { packet_type: Some(Outgoing), ..ALL }, Outgoing, 1), 96);
    }

    #[test]
    fn loopback_once() {
        assert_eq!(verdict(ALL, PacketType::Outgoing, libc::ARPHRD_LOOPBACK), 0);
        assert_eq!(verdict(ALL, PacketType::Host, libc::ARPHRD_LOOPBACK), 96);
    }
    /// Whether a packet passes that starts with `network`, as a frame of ethertype `protocol`.
    fn carries_tcp(protocol: EtherType, network: &[u8]) -> bool {
        let prelude = Prelude { only_tcp: true, ..ALL };
        let verdicts = [PacketType::Host, PacketType::Outgoing].map(|packet_type| {
            prelude.program().run(&Skb {
                packet_type,
                hardware_type: 1,
                protocol: protocol.0,
                ..Skb::of(network)
            })
        });
        assert_eq!(verdicts[0], verdicts[1]);
        verdicts[0] == 96
    }

    /// An IPv4 header of `words` words, then `behind`.
    fn ipv4(protocol: u8, fragment: u16, words: u8, behind: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; usize::from(words) * 4];
        bytes[0] = 0x40 | words;
        bytes[6..8].copy_from_slice(&fragment.to_be_bytes());
        bytes[9] = protocol;
        [&bytes[..], behind].concat()
    }

    fn ipv6(next: u8, behind: &[u8]) -> Vec<u8> {
        let mut bytes = [0; 40];
        bytes[0] = 0x60;
        bytes[6] = next;
        [&bytes[..], behind].concat()
    }

    #[test]
    fn what_can_carry_tcp_passes() {
        let udp_to = |port: u16| [&[0x30, 0x39][..], &port.to_be_bytes(), &[0, 8, 0, 0]].concat();
        for words in [5, 15] {
            let passes = |protocol, fragment, behind: &[u8]| {
                carries_tcp(EtherType::IPV4, &ipv4(protocol, fragment, words, behind))
            };
            assert!([6, 47, 4, 41].iter().all(|&protocol| passes(protocol, 0x4000, &[0; 20])));
            assert!([1, 2, 50, 132].iter().all(|&protocol| !passes(protocol, 0x4000, &[0; 20])));
            assert!(
                passes(17, 0x2000, &[0; 8]) && passes(1, 0x0001, &[]),
                "fragments pass whatever they hold"
            );
            assert!(passes(17, 0, &udp_to(4789)) && passes(17, 0, &udp_to(8472)));
            assert!(!passes(17, 0, &udp_to(53)) && !passes(17, 0, &[]));
        }
        let passes = |next, behind: &[u8]| carries_tcp(EtherType::IPV6, &ipv6(next, behind));
        assert!([6, 0, 43, 44, 51, 60, 47, 4, 41].iter().all(|&next| passes(next, &[0; 20])));
        assert!([58, 59, 50].iter().all(|&next| !passes(next, &[0; 20])));
        assert!(passes(17, &udp_to(4789)) && !passes(17, &udp_to(443)));
        for inside in [EtherType::VLAN, EtherType::SERVICE_VLAN, EtherType::MPLS, EtherType(0x8864)] {
            assert!(carries_tcp(inside, &[0; 40]), "{inside:?}");
        }
        for other in [EtherType::ARP, EtherType::LLC, EtherType(0x88cc)] {
            assert!(!carries_tcp(other, &[0; 40]), "{other:?}");
        }
    }
}
