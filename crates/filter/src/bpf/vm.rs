//! The machine itself: what Linux answers for a program and a packet, computed in user space.
//!
//! Linux translates classic programs to its newer instruction set (`bpf_convert_filter` in `net/core/filter.c`);
//! this follows the meaning of the translation, Linux 6.18. Three things differ from the BSD machine: shifts by
//! X use the low five bits of X only, offsets with the top bit set reach the headers or lie beside the packet,
//! and loads through [`net_offset`](super::net_offset) and [`ll_offset`](super::ll_offset) see all of the
//! packet (before Linux 6.16 only the part of it in one piece of memory).
//!
//! Nothing here panics: [`Program`] guarantees jumps and scratch indexes, packet offsets are checked.

use gannet_packet::PacketType;

use super::insn::*;
use super::program::*;

/// A packet as a program sees it, after the kernel's `struct sk_buff`.
///
/// ```text
///   bytes: | MAC header | (VLAN tags) | network header | ...                  |
///          ^ll_offset(0)               ^net_offset(0) = network
///          ^data of a socket filter and of an outgoing packet in a fanout program
///                        ^data of a received packet in a fanout program: behind the link header
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Skb<'a> {
    /// The captured bytes from the MAC header on, without a VLAN tag that is in `vlan`.
    pub bytes: &'a [u8],
    /// Where offset 0 of an ordinary load lies in `bytes`.
    pub data: usize,
    /// Where the network header lies in `bytes`.
    pub network: usize,
    /// What `ld #pktlen` gives: the length of the whole packet from `data` on, in bytes.
    pub len: u32,
    /// Ethertype, in host order.
    pub protocol: u16,
    /// Whom the packet is for.
    pub packet_type: PacketType,
    /// The kernel's interface index.
    pub interface_index: u32,
    /// `ARPHRD_` type of the interface.
    pub hardware_type: u16,
    /// The VLAN tag that was taken off.
    pub vlan: Option<VlanTag>,
    /// The receive hash.
    pub rx_hash: u32,
    /// The packet's mark.
    pub mark: u32,
    /// The interface's receive queue.
    pub queue: u16,
    /// The processor.
    pub cpu: u32,
    /// What [`Ancillary::Random`] gives.
    pub random: u32,
    /// What [`Ancillary::PayloadOffset`] gives; finding it is the work of a dissector.
    pub payload_offset: u32,
}

/// A VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanTag {
    /// Its ethertype, 0x8100 or 0x88a8.
    pub tpid: u16,
    /// Priority, drop eligibility and VLAN id.
    pub tci: u16,
}

impl<'a> Skb<'a> {
    /// Bytes alone, as a socket filter sees a frame that was not cut: everything else is 0.
    pub fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, len: u32::try_from(bytes.len()).unwrap_or(u32::MAX), ..Self::default() }
    }

    /// A load of `width` at `k`; `None` when it leaves the packet.
    #[inline]
    pub(super) fn load(&self, width: Width, k: u32) -> Option<u32> {
        // `bpf_skb_load_helper_convert_offset`: offsets are signed, the negative ones start at a header.
        let base = match k {
            SKF_NET_OFF.. => (self.network as u64).checked_add(u64::from(k - SKF_NET_OFF))?,
            SKF_LL_OFF.. => u64::from(k - SKF_LL_OFF),
            _ if (k as i32) < 0 => return None,
            _ => (self.data as u64).checked_add(u64::from(k))?,
        };
        let at = usize::try_from(base).ok()?;
        let bytes = self.bytes.get(at..at.checked_add(width.bytes() as usize)?)?;
        Some(match *bytes {
            [a, b, c, d] => u32::from_be_bytes([a, b, c, d]),
            [a, b] => u32::from(u16::from_be_bytes([a, b])),
            [a] => u32::from(a),
            _ => return None,
        })
    }

    pub(super) fn ancillary(&self, what: Ancillary, a: u32, x: u32) -> u32 {
        match what {
            Ancillary::Protocol => u32::from(self.protocol),
            Ancillary::PacketType => self.packet_type as u32,
            Ancillary::InterfaceIndex => self.interface_index,
            Ancillary::NetlinkAttribute => self.netlink_attribute(a, x),
            Ancillary::NestedNetlinkAttribute => self.nested_netlink_attribute(a, x),
            Ancillary::Mark => self.mark,
            Ancillary::Queue => u32::from(self.queue),
            Ancillary::HardwareType => u32::from(self.hardware_type),
            Ancillary::RxHash => self.rx_hash,
            Ancillary::Cpu => self.cpu,
            Ancillary::XorX => a ^ x,
            Ancillary::VlanTag => self.vlan.map_or(0, |tag| u32::from(tag.tci)),
            Ancillary::VlanTagPresent => u32::from(self.vlan.is_some()),
            Ancillary::PayloadOffset => self.payload_offset,
            Ancillary::Random => self.random,
            Ancillary::VlanTpid => self.vlan.map_or(0, |tag| u32::from(tag.tpid)),
        }
    }

    /// `bpf_skb_get_nlattr`: the offset of the attribute of type `x` in those from offset `a` on, else 0.
    fn netlink_attribute(&self, a: u32, x: u32) -> u32 {
        let data = self.bytes.get(self.data..).unwrap_or_default();
        find_attribute(data, a as usize, data.len(), x)
    }

    /// `bpf_skb_get_nlattr_nest`: the same among the attributes inside the one at offset `a`.
    fn nested_netlink_attribute(&self, a: u32, x: u32) -> u32 {
        let data = self.bytes.get(self.data..).unwrap_or_default();
        let at = a as usize;
        match attribute_at(data, at) {
            Some((len, _)) if len <= data.len() - at => {
                find_attribute(data, at + ATTRIBUTE_HEADER, at + len, x)
            }
            _ => 0,
        }
    }
}

impl Program {
    /// Runs the program on a packet and gives what it returns; 0 when a load leaves the packet or a division
    /// by X = 0 ends it.
    #[inline]
    pub fn run(&self, skb: &Skb<'_>) -> u32 {
        self.execute(skb).unwrap_or(0)
    }

    /// `None` stands for the early ends that count as 0.
    fn execute(&self, skb: &Skb<'_>) -> Option<u32> {
        let (mut a, mut x) = (0_u32, 0_u32);
        let mut scratch = [0_u32; SCRATCH_WORDS];
        let mut at = 0;
        loop {
            // Never `None`: every way through a checked program ends in a `ret`.
            let insn = *self.instructions().get(at)?;
            let k = insn.k;
            at += 1;
            match insn.code {
                LD_ABS_W | LD_ABS_H | LD_ABS_B => {
                    a = match Ancillary::from_offset(k) {
                        Some(what) => skb.ancillary(what, a, x),
                        None => skb.load(Width::of(insn.code)?, k)?,
                    }
                }
                LD_IND_W | LD_IND_H | LD_IND_B => a = skb.load(Width::of(insn.code)?, x.wrapping_add(k))?,
                LD_IMM => a = k,
                LD_MEM => a = scratch[k as usize & SCRATCH_MASK],
                LD_LEN => a = skb.len,
                LDX_IMM => x = k,
                LDX_MEM => x = scratch[k as usize & SCRATCH_MASK],
                LDX_LEN => x = skb.len,
                LDX_MSH => x = (skb.load(Width::Byte, k)? & 0xf) << 2,
                ST => scratch[k as usize & SCRATCH_MASK] = a,
                STX => scratch[k as usize & SCRATCH_MASK] = x,
                MISC_TAX => x = a,
                MISC_TXA => a = x,
                JUMP_ALWAYS => at += k as usize,
                RET_K => return Some(k),
                RET_A => return Some(a),
                ALU_NEG => a = a.wrapping_neg(),
                code => {
                    let operand = if code & X != 0 { x } else { k };
                    if insn.class() == ALU {
                        a = calculate(code & 0xf0, a, operand)?;
                    } else {
                        let holds = compare(code & 0xf0, a, operand);
                        at += usize::from(if holds { insn.jt } else { insn.jf });
                    }
                }
            }
        }
    }
}

#[inline]
pub(super) fn calculate(operation: u16, a: u32, operand: u32) -> Option<u32> {
    Some(match operation {
        ADD => a.wrapping_add(operand),
        SUB => a.wrapping_sub(operand),
        MUL => a.wrapping_mul(operand),
        DIV => a.checked_div(operand)?,
        MOD => a.checked_rem(operand)?,
        OR => a | operand,
        AND => a & operand,
        XOR => a ^ operand,
        LSH => a.wrapping_shl(operand),
        _ => a.wrapping_shr(operand),
    })
}

#[inline]
fn compare(condition: u16, a: u32, operand: u32) -> bool {
    match condition {
        JEQ => a == operand,
        JGT => a > operand,
        JGE => a >= operand,
        _ => a & operand != 0,
    }
}

/// Length and type of the netlink attribute at `at` (`struct nlattr`, in host order), if its header fits.
fn attribute_at(data: &[u8], at: usize) -> Option<(usize, u32)> {
    match *data.get(at..at.checked_add(ATTRIBUTE_HEADER)?)? {
        [l0, l1, t0, t1] => {
            let kind = u16::from_ne_bytes([t0, t1]) & ATTRIBUTE_TYPE;
            Some((usize::from(u16::from_ne_bytes([l0, l1])), u32::from(kind)))
        }
        _ => None,
    }
}

/// `nla_find` between the offsets `at` and `end`.
fn find_attribute(data: &[u8], mut at: usize, end: usize, wanted: u32) -> u32 {
    let data = data.get(..end).unwrap_or(data);
    while let Some((len, kind)) = attribute_at(data, at) {
        if len < ATTRIBUTE_HEADER || len > data.len() - at {
            break;
        }
        if kind == wanted {
            return at as u32;
        }
        at += len.next_multiple_of(ATTRIBUTE_ALIGN);
    }
    0
}

/// `Program` guarantees smaller indexes; the mask spares the bounds check.
pub(super) const SCRATCH_MASK: usize = SCRATCH_WORDS - 1;
/// `NLA_HDRLEN`.
const ATTRIBUTE_HEADER: usize = 4;
/// `NLA_ALIGNTO`.
const ATTRIBUTE_ALIGN: usize = 4;
/// `NLA_TYPE_MASK`: the two bits above it are flags.
const ATTRIBUTE_TYPE: u16 = 0x3fff;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bpf::Assembler;

    fn run(build: impl FnOnce(&mut Assembler), skb: &Skb<'_>) -> u32 {
        let mut asm = Assembler::new();
        build(&mut asm);
        asm.ret_a();
        asm.assemble().unwrap().run(skb)
    }

    const BYTES: [u8; 8] = [0x45, 1, 2, 3, 0x64, 5, 6, 7];

    #[test]
    fn loads_are_big_endian_and_end_the_program_outside_the_packet() {
        let skb = Skb::of(&BYTES);
        assert_eq!(run(|a| a.ld_abs(Width::Word, 0), &skb), 0x4501_0203);
        assert_eq!(run(|a| a.ld_abs(Width::Half, 6), &skb), 0x0607);
        assert_eq!(run(|a| a.ld_abs(Width::Byte, 7), &skb), 7);
        // A load that fails returns 0 at once, whatever comes after it.
        let after = |width, k| {
            move |a: &mut Assembler| {
                a.ld_abs(width, k);
                a.ld_imm(9);
            }
        };
        assert_eq!(run(after(Width::Word, 4), &skb), 9);
        for (width, k) in [(Width::Word, 5), (Width::Half, 7), (Width::Byte, 8), (Width::Word, 0x7fff_ffff)] {
            assert_eq!(run(after(width, k), &skb), 0, "{width:?} at {k}");
        }
    }

    #[test]
    fn headers_are_reached_from_anywhere() {
        let skb = Skb { data: 4, network: 4, ..Skb::of(&BYTES) };
        assert_eq!(run(|a| a.ld_abs(Width::Byte, 1), &skb), 5);
        assert_eq!(run(|a| a.ld_abs(Width::Byte, net_offset(1)), &skb), 5);
        assert_eq!(run(|a| a.ld_abs(Width::Byte, ll_offset(1)), &skb), 1);
        let indexed = |a: &mut Assembler| {
            a.ldx_msh(net_offset(0));
            a.ld_ind(Width::Byte, net_offset(0).wrapping_sub(14));
        };
        // 4 * (0x64 & 0xf) = 16, and 16 - 14 = 2.
        assert_eq!(run(indexed, &skb), 6);
        let outgoing = Skb { data: 0, ..skb };
        assert_eq!(run(|a| a.ld_abs(Width::Byte, net_offset(1)), &outgoing), 5);
        // Below the link layer's range there is nothing.
        assert_eq!(run(|a| a.ld_abs(Width::Byte, SKF_LL_OFF - 1), &skb), 0);
        // Unlike an absolute one, an indexed load in the ancillary range is a load outside the packet.
        assert_eq!(run(|a| a.ld_ind(Width::Word, Ancillary::Cpu.offset()), &Skb { cpu: 3, ..skb }), 0);
    }

    #[test]
    fn what_lies_beside_the_packet() {
        let skb = Skb {
            protocol: 0x86dd,
            packet_type: PacketType::Outgoing,
            interface_index: 7,
            hardware_type: 772,
            vlan: Some(VlanTag { tpid: 0x88a8, tci: 0x6005 }),
            rx_hash: 11,
            mark: 12,
            queue: 13,
            cpu: 14,
            random: 15,
            payload_offset: 16,
            ..Skb::of(&BYTES)
        };
        for (what, value) in [
            (Ancillary::Protocol, 0x86dd),
            (Ancillary::PacketType, 4),
            (Ancillary::InterfaceIndex, 7),
            (Ancillary::HardwareType, 772),
            (Ancillary::VlanTag, 0x6005),
            (Ancillary::VlanTagPresent, 1),
            (Ancillary::VlanTpid, 0x88a8),
            (Ancillary::RxHash, 11),
            (Ancillary::Mark, 12),
            (Ancillary::Queue, 13),
            (Ancillary::Cpu, 14),
            (Ancillary::Random, 15),
            (Ancillary::PayloadOffset, 16),
        ] {
            assert_eq!(run(|a| a.ld_ancillary(what), &skb), value, "{what:?}");
        }
        assert_eq!(run(|a| a.ld_ancillary(Ancillary::VlanTagPresent), &Skb::of(&BYTES)), 0);
        let xor = |a: &mut Assembler| {
            a.ld_imm(6);
            a.ldx_imm(5);
            a.ld_ancillary(Ancillary::XorX);
        };
        assert_eq!(run(xor, &skb), 3);
        assert_eq!(run(|a| a.ld_len(), &Skb { len: 1500, ..skb }), 1500);
    }

    #[test]
    fn netlink_attributes() {
        let attribute = |kind: u16, body: &[u8]| {
            let mut bytes = (body.len() as u16 + 4).to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(body);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let inner = [attribute(1, &[1]), attribute(2, &[2, 2])].concat();
        let bytes = [attribute(5, &[9; 6]), attribute(6 | 0x8000, &inner)].concat();
        let find = |what, from, kind| {
            let program = |a: &mut Assembler| {
                a.ld_imm(from);
                a.ldx_imm(kind);
                a.ld_ancillary(what);
            };
            run(program, &Skb::of(&bytes))
        };
        assert_eq!(find(Ancillary::NetlinkAttribute, 0, 6), 12);
        assert_eq!(find(Ancillary::NetlinkAttribute, 0, 7), 0);
        assert_eq!(find(Ancillary::NetlinkAttribute, u32::MAX, 6), 0);
        assert_eq!(find(Ancillary::NestedNetlinkAttribute, 12, 2), 24);
        assert_eq!(find(Ancillary::NestedNetlinkAttribute, 12, 5), 0);
    }

    #[test]
    fn division_by_x_of_zero_ends_with_zero() {
        for operation in [DIV, MOD] {
            let divide = |a: &mut Assembler| {
                a.ld_imm(7);
                a.ldx_imm(0);
                a.alu_x(operation);
                a.ld_imm(1);
            };
            assert_eq!(run(divide, &Skb::of(&[])), 0);
        }
    }

    #[test]
    fn shifts_by_x_use_five_bits() {
        let shift = |a: &mut Assembler| {
            a.ld_imm(3);
            a.ldx_imm(33);
            a.alu_x(LSH);
        };
        assert_eq!(run(shift, &Skb::of(&[])), 6);
    }

    /// An operation as a program, and what it means.
    type Operation = (u16, fn(u32, u32) -> u32);

    proptest! {
        #[test]
        fn arithmetic_wraps(a: u32, b: u32) {
            let operations: [Operation; 6] = [
                (ADD, u32::wrapping_add),
                (SUB, u32::wrapping_sub),
                (MUL, u32::wrapping_mul),
                (OR, |a, b| a | b),
                (AND, |a, b| a & b),
                (XOR, |a, b| a ^ b),
            ];
            for (operation, meaning) in operations {
                let constant = run(|asm| { asm.ld_imm(a); asm.alu(operation, b); }, &Skb::of(&[]));
                prop_assert_eq!(constant, meaning(a, b));
                let register = run(
                    |asm| { asm.ld_imm(a); asm.ldx_imm(b); asm.alu_x(operation); asm.stx(2); },
                    &Skb::of(&[]),
                );
                prop_assert_eq!(register, meaning(a, b));
            }
            prop_assert_eq!(run(|asm| { asm.ld_imm(a); asm.neg(); }, &Skb::of(&[])), 0_u32.wrapping_sub(a));
        }

        #[test]
        fn comparisons_are_unsigned(a: u32, b: u32) {
            let holds = |condition: u16| {
                let mut asm = Assembler::new();
                let yes = asm.label();
                asm.ld_imm(a);
                asm.ldx_imm(b);
                asm.jump(JMP | condition | X, 0, yes.into(), crate::bpf::asm::NEXT);
                asm.ret(0);
                asm.bind(yes);
                asm.ret(1);
                asm.assemble().unwrap().run(&Skb::of(&[])) == 1
            };
            prop_assert_eq!(holds(JEQ), a == b);
            prop_assert_eq!(holds(JGT), a > b);
            prop_assert_eq!(holds(JGE), a >= b);
            prop_assert_eq!(holds(JSET), a & b != 0);
        }

        /// Whatever passes the checks runs on whatever bytes and ends.
        #[test]
        fn any_accepted_program_ends(
            code in proptest::collection::vec((any::<u16>(), 0_u8..4, 0_u8..4, any::<u32>()), 1..40),
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            // Opcodes drawn at random are rarely known: take the known ones of a small range.
            let known: Vec<u16> = (0..0x100_u16)
                .filter(|&code| {
                    let insn = Instruction::statement(code, 1);
                    let end = Instruction::statement(RET_K, 1);
                    !matches!(Program::new(vec![insn, end, end]), Err(ProgramError::Opcode { .. }))
                })
                .collect();
            let mut instructions: Vec<Instruction> = (0..4).map(|k| Instruction::statement(ST, k)).collect();
            instructions.extend(code.iter().map(|&(code, jt, jf, k)| {
                let code = known[usize::from(code) % known.len()];
                let k = if matches!(code, JUMP_ALWAYS | ST | STX | LD_MEM | LDX_MEM) { k % 4 } else { 1 + k % 31 };
                Instruction::jump(code, k, jt, jf)
            }));
            instructions.extend([Instruction::statement(RET_A, 0); 5]);
            let program = Program::new(instructions).unwrap();
            let value = program.run(&Skb::of(&bytes));
            prop_assert_eq!(program.run(&Skb::of(&bytes)), value);
        }
    }
}
