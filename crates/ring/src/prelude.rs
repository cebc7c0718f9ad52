//! The kernel program that every capture starts with.
//!
//! ```text
//!   packet ─► type and direction ─► only TCP? ─┬─► A, X = 0 ─► the user's filter ─► what it returns, at most the snaplen
//!                 │                   │        └─► without a filter: the snaplen
//!                 └───────────────────┴─► 0: not received
//! ```
//!
//! It runs once per packet before the ring: keeps out what `-Q` and `--type` exclude, shows each loopback packet
//! once, and returns the snaplen or asks the user's filter. A packet it rejects costs no ring space and is not
//! counted as received.

use gannet_filter::Program;
use gannet_filter::bpf::asm::NEXT;
use gannet_filter::bpf::insn::{A, JA, JGT, JMP, K, RET};
use gannet_filter::bpf::{Ancillary, AssembleError, Assembler, Label, Target, Width, net_offset};
use gannet_packet::{Decap, EtherType, IpProtocol, PacketType, TunnelKind};

/// Which packets pass, and how much of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prelude {
    /// Received packets pass.
    pub incoming: bool,
    /// Sent packets pass.
    pub outgoing: bool,
    /// Only packets of this type pass.
    pub packet_type: Option<PacketType>,
    /// Only what can carry TCP passes: TCP itself, IP fragments, the tunnels that these open, and frames whose
    /// contents cannot be told without looking further in (VLAN tags, IPv6 extension headers). `None`: everything
    /// passes.
    pub only_tcp: Option<Decap>,
    /// Bytes of each frame that go into the ring, as the kernel sees the frame: without a VLAN tag.
    pub snaplen: u32,
}

impl Prelude {
    /// The program that lets through what passes here.
    pub fn program(&self) -> Program {
        let mut asm = Assembler::new();
        let reject = asm.label();
        self.gate(&mut asm, reject);
        asm.ret(self.snaplen);
        asm.bind(reject);
        asm.ret(0);
        // Some 60 instructions, with one for each port that is asked for, and every label bound above. More ports
        // than the kernel takes instructions cannot be listed on a command line.
        asm.assemble().unwrap_or_else(|_| reject_all())
    }

    /// The program that asks `filter` about what passes here. What `filter` returns are the bytes that are kept, but
    /// never more than the snaplen, so that one filter serves all snapshot lengths of a run.
    ///
    /// The filter may come from anywhere: it begins with A and X at 0 and nothing in scratch memory, as if it stood
    /// alone.
    ///
    /// # Errors
    /// Both together are longer than the kernel takes.
    pub fn with_filter(&self, filter: &Program) -> Result<Program, AssembleError> {
        let mut asm = Assembler::new();
        let reject = asm.label();
        let pass = asm.label();
        self.gate(&mut asm, reject);
        asm.ja(pass);
        // In front of the filter, where the jumps above reach it however long the filter is.
        asm.bind(reject);
        asm.ret(0);
        asm.bind(pass);
        asm.ldx_imm(0);
        asm.ld_imm(0);
        append(&mut asm, filter, self.snaplen);
        asm.assemble()
    }

    /// Goes on behind itself with what passes, to `reject` with everything else; leaves scratch memory alone.
    ///
    /// Sent packets are recognised by `sll_pkttype`, because `PACKET_IGNORE_OUTGOING` has no effect on the members of a
    /// fanout group.
    fn gate(&self, asm: &mut Assembler, reject: Label) {
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
        if let Some(decap) = &self.only_tcp {
            only_tcp(asm, decap, reject);
        }
    }
}

/// Puts `filter` behind what is there, with its returns bounded by `snaplen`. Distances change, so every instruction
/// gets a label and every jump is made anew.
fn append(asm: &mut Assembler, filter: &Program, snaplen: u32) {
    let instructions = filter.instructions();
    let labels: Vec<_> = instructions.iter().map(|_| asm.label()).collect();
    for (at, instruction) in instructions.iter().enumerate() {
        asm.bind(labels[at]);
        // A checked program jumps to places of its own only.
        let to = |distance: usize| labels.get(at + 1 + distance).copied().map_or(NEXT, Target::To);
        match instruction.code {
            code if instruction.is_conditional_jump() => {
                asm.jump(code, instruction.k, to(instruction.jt.into()), to(instruction.jf.into()));
            }
            JUMP_ALWAYS => {
                if let Target::To(label) = to(instruction.k as usize) {
                    asm.ja(label);
                }
            }
            RETURN_CONSTANT => asm.ret(instruction.k.min(snaplen)),
            RETURN_A => {
                let whole = asm.label();
                asm.jump(JMP | JGT | K, snaplen, NEXT, whole.into());
                asm.ret(snaplen);
                asm.bind(whole);
                asm.ret_a();
            }
            code => asm.push(code, instruction.k),
        }
    }
}

const JUMP_ALWAYS: u16 = JMP | JA;
const RETURN_CONSTANT: u16 = RET | K;
const RETURN_A: u16 = RET | A;

/// Goes on behind itself with what may carry TCP, to `reject` with everything else.
///
/// It loads through `SKF_NET_OFF`, where the network header is for sent and received frames alike. A load beyond the
/// packet ends a program with 0, which is right for a packet too short for the header that was asked for.
fn only_tcp(asm: &mut Assembler, decap: &Decap, reject: Label) {
    let opens = |kinds: &[TunnelKind]| kinds.iter().any(|&kind| decap.kinds.contains(kind));
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
    let mut inside = vec![EtherType::VLAN, EtherType::SERVICE_VLAN, EtherType::OLD_QINQ];
    if opens(&[TunnelKind::Mpls]) {
        inside.extend([EtherType::MPLS, EtherType::MPLS_UPSTREAM]);
    }
    if opens(&[TunnelKind::Pppoe]) {
        inside.push(EtherType::PPPOE_SESSION);
    }
    for ether_type in inside {
        asm.jeq(u32::from(ether_type.0), pass, NEXT);
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
    // Whether the header around them is of the same version is not asked: what one kind is not to be opened for is
    // little.
    let tunnels = [
        (IpProtocol::TCP, true),
        (
            IpProtocol::GRE,
            opens(&[TunnelKind::Gre, TunnelKind::GreTap, TunnelKind::Pptp, TunnelKind::Erspan]),
        ),
        (IpProtocol::IPV4, opens(&[TunnelKind::IpInIp, TunnelKind::FourInSix])),
        (IpProtocol::IPV6, opens(&[TunnelKind::IpInIp, TunnelKind::SixInFour])),
        (IpProtocol::ETHERIP, opens(&[TunnelKind::EtherIp])),
    ];
    for (protocol, _) in tunnels.into_iter().filter(|&(_, opened)| opened) {
        asm.jeq(u32::from(protocol.0), pass, NEXT);
    }
    asm.ja(reject);
    asm.bind(udp);
    // The destination port, X being the length of the IP header.
    asm.ld_ind(Width::Half, net_offset(2));
    for port in decap.udp_ports() {
        asm.jeq(u32::from(port), pass, NEXT);
    }
    asm.ja(reject);
    asm.bind(pass);
}

/// Lets nothing in.
pub fn reject_all() -> Program {
    Program::constant(0)
}

#[cfg(test)]
mod tests {
    use gannet_filter::Skb;
    use gannet_filter::bpf::insn::{ABS, ADD, ALU, JEQ, JSET, LD, LDX, MEM, MISC, ST, STX, TAX, X};
    use gannet_filter::bpf::{Instruction, ProgramError, VlanTag};
    use proptest::prelude::*;

    use super::*;

    fn verdict(prelude: Prelude, packet_type: PacketType, hardware_type: u16) -> u32 {
        prelude.program().run(&Skb { packet_type, hardware_type, ..Skb::of(&[0; 60]) })
    }

    const ALL: Prelude =
        Prelude { incoming: true, outgoing: true, packet_type: None, only_tcp: None, snaplen: 96 };

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
        passes_for(&Decap::ALL, protocol, network)
    }

    fn passes_for(decap: &Decap, protocol: EtherType, network: &[u8]) -> bool {
        let prelude = Prelude { only_tcp: Some(decap.clone()), ..ALL };
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
            assert!([6, 47, 4, 41, 97].iter().all(|&protocol| passes(protocol, 0x4000, &[0; 20])));
            assert!([1, 2, 50, 132].iter().all(|&protocol| !passes(protocol, 0x4000, &[0; 20])));
            assert!(
                passes(17, 0x2000, &[0; 8]) && passes(1, 0x0001, &[]),
                "fragments pass whatever they hold"
            );
            assert!([4789, 8472, 6081, 2152].iter().all(|&port| passes(17, 0, &udp_to(port))));
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

    #[test]
    fn only_tunnels_that_are_opened_pass() {
        let udp_to = |port: u16| [&[0x30, 0x39][..], &port.to_be_bytes(), &[0, 8, 0, 0]].concat();
        let mut kinds = vec![(EtherType::MPLS, vec![0; 40], TunnelKind::Mpls)];
        kinds.push((EtherType(0x8864), vec![0; 40], TunnelKind::Pppoe));
        for (protocol, kind) in [
            (47, TunnelKind::Gre),
            (47, TunnelKind::GreTap),
            (47, TunnelKind::Pptp),
            (47, TunnelKind::Erspan),
            (4, TunnelKind::IpInIp),
            (41, TunnelKind::SixInFour),
            (97, TunnelKind::EtherIp),
        ] {
            kinds.push((EtherType::IPV4, ipv4(protocol, 0, 5, &[0; 20]), kind));
        }
        kinds.push((EtherType::IPV6, ipv6(4, &[0; 20]), TunnelKind::FourInSix));
        for (port, kind) in [(4789, TunnelKind::Vxlan), (6081, TunnelKind::Geneve), (2152, TunnelKind::Gtpu)]
        {
            kinds.push((EtherType::IPV4, ipv4(17, 0, 6, &udp_to(port)), kind));
            kinds.push((EtherType::IPV6, ipv6(17, &udp_to(port)), kind));
        }
        for (protocol, network, kind) in kinds {
            let only = Decap { kinds: Decap::NONE.kinds.with(kind), ..Decap::NONE };
            assert!(passes_for(&only, protocol, &network), "{kind}");
            assert!(!passes_for(&Decap::NONE, protocol, &network), "{kind}");
        }
        for (network, fragment) in [(ipv4(6, 0, 5, &[]), false), (ipv4(17, 0x2000, 5, &[]), true)] {
            assert!(passes_for(&Decap::NONE, EtherType::IPV4, &network), "a fragment: {fragment}");
        }
        let vxlan = Decap { vxlan_ports: vec![5_000, 5_001].into(), ..Decap::ALL };
        let passes = |port| passes_for(&vxlan, EtherType::IPV4, &ipv4(17, 0, 5, &udp_to(port)));
        assert!(passes(5_000) && passes(5_001) && passes(6081) && !passes(4789));
    }

    /// Any program of these instructions, all of its jumps inside and its last instruction a return. Scratch memory
    /// is set first, so that loads from it are always allowed.
    fn any_filter() -> impl Strategy<Value = Program> {
        let instruction = (0_usize..14, 0_u8..255, 0_u8..255, 0_u32..64);
        proptest::collection::vec(instruction, 1..600).prop_map(|drawn| {
            let mut program = vec![Instruction::statement(ST, 3), Instruction::statement(STX, 4)];
            let count = drawn.len();
            for (at, (kind, jt, jf, k)) in drawn.into_iter().enumerate() {
                let ahead = count - at - 1;
                let within = |distance: u8| usize::from(distance).min(ahead) as u8;
                program.push(match kind {
                    0 => Instruction::statement(LD | 0x10 | ABS, k),
                    1 => Instruction::statement(LD | 0x10 | ABS, net_offset(k)),
                    2 => Instruction::statement(LDX | MEM, 3 + k % 2),
                    3 => Instruction::statement(LD | MEM, 3 + k % 2),
                    4 => Instruction::statement(ST, 3 + k % 2),
                    5 => Instruction::statement(ALU | ADD | K, k),
                    6 => Instruction::statement(ALU | ADD | X, 0),
                    7 => Instruction::statement(MISC | TAX, 0),
                    8 => Instruction::jump(JMP | JEQ | K, k, within(jt), within(jf)),
                    9 => Instruction::jump(JMP | JSET | K, k, within(jt), within(jf)),
                    10 => Instruction::jump(JMP | JGT | X, 0, within(jt), within(jf)),
                    11 => Instruction::statement(JMP | JA, within(jt).into()),
                    12 if k % 8 == 0 => Instruction::statement(RET | A, 0),
                    13 if k % 8 == 0 => Instruction::statement(RET | K, k * 4),
                    _ => Instruction::statement(LD | 0x10 | ABS, k % 16),
                });
            }
            program.push(Instruction::statement(RET | A, 0));
            Program::new(program).unwrap()
        })
    }

    fn any_prelude() -> impl Strategy<Value = Prelude> {
        let kinds = prop_oneof![3 => Just(None), 1 => Just(Some(PacketType::Host))];
        (any::<bool>(), any::<bool>(), kinds, any::<bool>(), prop_oneof![Just(262_144), 1_u32..200]).prop_map(
            |(incoming, outgoing, packet_type, only_tcp, snaplen): (_, _, _, bool, _)| Prelude {
                incoming,
                outgoing,
                packet_type,
                only_tcp: only_tcp.then_some(Decap::ALL),
                snaplen,
            },
        )
    }

    proptest! {
        /// What passes is what passes the prelude and the filter; of it the smaller of both lengths is kept.
        #[test]
        fn prelude_and_filter_are_both_asked(
            prelude in any_prelude(),
            filter in any_filter(),
            packet_type in prop_oneof![Just(PacketType::Host), Just(PacketType::Outgoing)],
            protocol in prop_oneof![Just(0x0800_u16), Just(0x0806)],
            bytes in proptest::collection::vec(0_u8..64, 40..100),
        ) {
            let skb = Skb {
                packet_type,
                protocol,
                hardware_type: 1,
                network: 14,
                vlan: (bytes[0] % 2 == 0).then_some(VlanTag { tpid: 0x8100, tci: 5 }),
                ..Skb::of(&bytes)
            };
            let expected = match prelude.program().run(&skb) {
                0 => 0,
                snaplen => filter.run(&skb).min(snaplen),
            };
            prop_assert_eq!(prelude.with_filter(&filter).unwrap().run(&skb), expected);
        }
    }

    /// Registers are 0 where a filter begins, whatever the prelude left in them.
    #[test]
    fn a_filter_begins_with_empty_registers() {
        let return_a = Instruction::statement(RET | A, 0);
        let add_x = Instruction::statement(ALU | ADD | X, 0);
        let filter = Program::new(vec![add_x, return_a]).unwrap();
        for only_tcp in [false, true] {
            let program =
                Prelude { only_tcp: only_tcp.then_some(Decap::ALL), ..ALL }.with_filter(&filter).unwrap();
            // A UDP packet to port 4789: the prelude leaves the port in A and the header's length in X.
            let packet = ipv4(17, 0, 5, &[0x30, 0x39, 0x12, 0xb5, 0, 8, 0, 0]);
            let skb = Skb {
                protocol: 0x0800,
                packet_type: PacketType::Outgoing,
                hardware_type: 1,
                ..Skb::of(&packet)
            };
            assert_eq!(program.run(&skb), 0);
        }
    }

    #[test]
    fn scratch_memory_is_the_filters_own() {
        let load = Instruction::statement(LD | MEM, 0);
        let filter =
            Program::new(vec![Instruction::statement(ST, 0), load, Instruction::statement(RET | A, 0)]);
        assert!(ALL.with_filter(&filter.unwrap()).is_ok());
    }

    #[test]
    fn programs_that_are_too_long_together_are_refused() {
        let filter = |len: usize| Program::new(vec![Instruction::statement(RET | K, 1); len]).unwrap();
        let own = ALL.with_filter(&filter(1)).unwrap().instructions().len() - 1;
        assert_eq!(ALL.with_filter(&filter(4096 - own)).unwrap().instructions().len(), 4096);
        let refusal = ALL.with_filter(&filter(4097 - own)).unwrap_err();
        assert!(matches!(refusal, AssembleError::Program(ProgramError::Length(4097))), "{refusal:?}");
    }
}
