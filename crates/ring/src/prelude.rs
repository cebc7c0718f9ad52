//! The kernel program that every capture starts with.
//!
//! It runs once per packet before the ring: keeps out what `-Q` and `--type` exclude, shows each loopback packet
//! once, and returns the snaplen. A packet it rejects costs no ring space and is not counted as received.

use gannet_filter::Program;
use gannet_filter::bpf::asm::NEXT;
use gannet_filter::bpf::{Ancillary, Assembler};
use gannet_packet::PacketType;

/// Which packets pass, and how much of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prelude {
    /// Received packets pass.
    pub incoming: bool,
    /// Sent packets pass.
    pub outgoing: bool,
    /// Only packets of this type pass.
    pub packet_type: Option<PacketType>,
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
        asm.ret(self.snaplen);
        asm.bind(reject);
        asm.ret(0);
        // Twelve instructions at most and every label bound above: there is nothing that could be refused.
        asm.assemble().unwrap_or_else(|_| reject_all())
    }
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

    const ALL: Prelude = Prelude { incoming: true, outgoing: true, packet_type: None, snaplen: 96 };

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
}
