//! Instructions, opcodes and the special offsets of Linux.
//!
//! The opcode is a sum of a class and, by class, a width and an addressing mode or an operation and a source;
//! the names and values are those of `include/uapi/linux/bpf_common.h` and `include/uapi/linux/filter.h`.

/// One instruction, laid out as `struct sock_filter`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Instruction {
    /// Class, width, mode, operation and source, added up.
    pub code: u16,
    /// Instructions to skip when a conditional jump's condition holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// The constant: an operand, an offset, a scratch index or a jump distance.
    pub k: u32,
}

// The kernel reads an array of these through `struct sock_fprog`.
const _: () = assert!(size_of::<Instruction>() == 8);

impl Instruction {
    /// An instruction that is no conditional jump.
    pub const fn statement(code: u16, k: u32) -> Self {
        Self { code, jt: 0, jf: 0, k }
    }

    /// A conditional jump; `jt` and `jf` count from the instruction after this one.
    pub const fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Self {
        Self { code, jt, jf, k }
    }

    /// The class bits of the opcode.
    #[inline]
    pub const fn class(self) -> u16 {
        self.code & 0x07
    }

    /// Whether this is a jump with two targets (every `JMP` but `ja`).
    pub const fn is_conditional_jump(self) -> bool {
        self.class() == JMP && self.code & 0xf0 != JA
    }
}

/// How many bytes a load takes from the packet; they are read in network byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 4 bytes.
    Word,
    /// 2 bytes.
    Half,
    /// 1 byte.
    Byte,
}

impl Width {
    /// The width bits of a load's opcode.
    pub const fn bits(self) -> u16 {
        match self {
            Self::Word => W,
            Self::Half => H,
            Self::Byte => B,
        }
    }

    /// From an opcode; `None` for the width that classic BPF does not have.
    pub const fn of(code: u16) -> Option<Self> {
        match code & 0x18 {
            W => Some(Self::Word),
            H => Some(Self::Half),
            B => Some(Self::Byte),
            _ => None,
        }
    }

    /// Bytes read.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Word => 4,
            Self::Half => 2,
            Self::Byte => 1,
        }
    }
}

/// What Linux gives a program beside the packet's bytes: loads at `SKF_AD_OFF` plus these offsets.
///
/// The kernel turns only loads with an absolute offset into ancillary ones (`bpf_anc_helper` in
/// `net/core/filter.c`), of any width; an indexed load there is a load far outside the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Ancillary {
    /// Ethertype of the packet, as the stack has it (`skb->protocol`).
    Protocol = 0,
    /// `PACKET_HOST` to `PACKET_OUTGOING`.
    PacketType = 4,
    /// Index of the interface.
    InterfaceIndex = 8,
    /// Offset of the netlink attribute of type X, searched from offset A.
    NetlinkAttribute = 12,
    /// The same inside the attribute at offset A.
    NestedNetlinkAttribute = 16,
    /// `skb->mark`.
    Mark = 20,
    /// The receive queue of the interface.
    Queue = 24,
    /// `ARPHRD_` type of the interface.
    HardwareType = 28,
    /// The receive hash, usually the interface's.
    RxHash = 32,
    /// The processor that runs the program.
    Cpu = 36,
    /// No load at all: A becomes A xor X.
    XorX = 40,
    /// TCI of the VLAN tag that the kernel took off the frame.
    VlanTag = 44,
    /// 1 when the kernel took a VLAN tag off the frame, else 0.
    VlanTagPresent = 48,
    /// Offset of the transport payload as the flow dissector finds it.
    PayloadOffset = 52,
    /// A random number.
    Random = 56,
    /// TPID of the VLAN tag that the kernel took off the frame.
    VlanTpid = 60,
}

impl Ancillary {
    /// The `k` of the load.
    pub const fn offset(self) -> u32 {
        SKF_AD_OFF.wrapping_add(self as u32)
    }

    /// From the `k` of an absolute load; `None` when it is an ordinary offset or no known ancillary.
    #[inline]
    pub const fn from_offset(k: u32) -> Option<Self> {
        Some(match k.wrapping_sub(SKF_AD_OFF) {
            0 => Self::Protocol,
            4 => Self::PacketType,
            8 => Self::InterfaceIndex,
            12 => Self::NetlinkAttribute,
            16 => Self::NestedNetlinkAttribute,
            20 => Self::Mark,
            24 => Self::Queue,
            28 => Self::HardwareType,
            32 => Self::RxHash,
            36 => Self::Cpu,
            40 => Self::XorX,
            44 => Self::VlanTag,
            48 => Self::VlanTagPresent,
            52 => Self::PayloadOffset,
            56 => Self::Random,
            60 => Self::VlanTpid,
            _ => return None,
        })
    }
}

/// The `k` of a load `offset` bytes behind the network header, wherever the packet's data begin.
pub const fn net_offset(offset: u32) -> u32 {
    SKF_NET_OFF.wrapping_add(offset)
}

/// The `k` of a load `offset` bytes behind the MAC header, wherever the packet's data begin.
pub const fn ll_offset(offset: u32) -> u32 {
    SKF_LL_OFF.wrapping_add(offset)
}

/// Class: load into A.
pub const LD: u16 = 0x00;
/// Class: load into X.
pub const LDX: u16 = 0x01;
/// Class: store A into scratch memory.
pub const ST: u16 = 0x02;
/// Class: store X into scratch memory.
pub const STX: u16 = 0x03;
/// Class: arithmetic on A.
pub const ALU: u16 = 0x04;
/// Class: jumps.
pub const JMP: u16 = 0x05;
/// Class: end with a value.
pub const RET: u16 = 0x06;
/// Class: copies between A and X.
pub const MISC: u16 = 0x07;

/// Width: 4 bytes.
pub const W: u16 = 0x00;
/// Width: 2 bytes.
pub const H: u16 = 0x08;
/// Width: 1 byte.
pub const B: u16 = 0x10;

/// Mode: the constant.
pub const IMM: u16 = 0x00;
/// Mode: the packet at offset k.
pub const ABS: u16 = 0x20;
/// Mode: the packet at offset X + k.
pub const IND: u16 = 0x40;
/// Mode: scratch word k.
pub const MEM: u16 = 0x60;
/// Mode: the length of the packet.
pub const LEN: u16 = 0x80;
/// Mode: four times the low nibble of the byte at offset k, the length of an IPv4 header.
pub const MSH: u16 = 0xa0;

/// Operation: A + operand.
pub const ADD: u16 = 0x00;
/// Operation: A - operand.
pub const SUB: u16 = 0x10;
/// Operation: A * operand.
pub const MUL: u16 = 0x20;
/// Operation: A / operand; division by X = 0 ends the program with 0.
pub const DIV: u16 = 0x30;
/// Operation: A | operand.
pub const OR: u16 = 0x40;
/// Operation: A & operand.
pub const AND: u16 = 0x50;
/// Operation: A << operand.
pub const LSH: u16 = 0x60;
/// Operation: A >> operand.
pub const RSH: u16 = 0x70;
/// Operation: -A.
pub const NEG: u16 = 0x80;
/// Operation: A % operand; X = 0 ends the program with 0.
pub const MOD: u16 = 0x90;
/// Operation: A ^ operand.
pub const XOR: u16 = 0xa0;

/// Jump always, by k.
pub const JA: u16 = 0x00;
/// Jump if A == operand.
pub const JEQ: u16 = 0x10;
/// Jump if A > operand, unsigned.
pub const JGT: u16 = 0x20;
/// Jump if A >= operand, unsigned.
pub const JGE: u16 = 0x30;
/// Jump if A & operand != 0.
pub const JSET: u16 = 0x40;

/// Source: the constant.
pub const K: u16 = 0x00;
/// Source: X.
pub const X: u16 = 0x08;
/// Returned value: A (`ret` only).
pub const A: u16 = 0x10;

/// X = A.
pub const TAX: u16 = 0x00;
/// A = X.
pub const TXA: u16 = 0x80;

/// Loads at this offset and above ask for what lies beside the packet: see [`Ancillary`].
pub const SKF_AD_OFF: u32 = (-0x1000_i32) as u32;
/// Loads from here on count from the network header: see [`net_offset`].
pub const SKF_NET_OFF: u32 = (-0x10_0000_i32) as u32;
/// Loads from here on, below [`SKF_NET_OFF`], count from the MAC header: see [`ll_offset`].
pub const SKF_LL_OFF: u32 = (-0x20_0000_i32) as u32;

/// Words of scratch memory (`BPF_MEMWORDS`).
pub const SCRATCH_WORDS: usize = 16;
/// Most instructions of a program (`BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_the_negative_numbers_of_the_kernel() {
        assert_eq!(SKF_AD_OFF as i32, -4096);
        assert_eq!(net_offset(14) as i32, -0x10_0000 + 14);
        assert_eq!(ll_offset(12) as i32, -0x20_0000 + 12);
        assert_eq!(Ancillary::VlanTagPresent.offset(), 0xffff_f030);
    }

    #[test]
    fn ancillary_offsets_round_trip() {
        let mut known = 0;
        for k in SKF_AD_OFF - 8..SKF_AD_OFF + 80 {
            if let Some(ancillary) = Ancillary::from_offset(k) {
                assert_eq!(ancillary.offset(), k);
                known += 1;
            }
        }
        assert_eq!(known, 16);
    }
}
