//! Programs decoded for speed: what files are filtered with.
//!
//! [`Program::run`] reads opcodes as the kernel stores them, again for every packet. Here they are taken apart once:
//!
//! ```text
//!   instructions          operations
//!   0  ldh [12]           0  half at 12, then == 0x86dd ? 8 : 2     0 and 1 in one
//!   1  jeq #0x86dd  6 0   1  == 0x86dd ? 8 : 2                      for jumps that land here
//!   2  jeq #0x800   0 9   2  == 0x800 ? 3 : 12                      targets instead of distances
//!   ...
//! ```
//!
//! Plain segments take a [short way](super::ports) where a program has one.
//!
//! There is one operation for each instruction, so jump targets are the program's own. An operation may do the work
//! of the instructions behind it as well and step over them; those keep theirs, since a jump may land on them.
//!
//! The answers are those of [`Program::run`] for every program and packet; [`Machine::of_cut_frames`] joins two of
//! them. Nothing panics: operations are looked up with `get`, packet bytes too, and jumps only go forward.

use super::insn::*;
use super::ports::Ports;
use super::program::*;
use super::vm::{SCRATCH_MASK, Skb, calculate};

/// A program in the form that runs fastest.
#[derive(Clone, Debug)]
pub struct Machine {
    operations: Box<[Operation]>,
    /// The constant of every instruction, for operations that compare with several.
    constants: Box<[u32]>,
    /// The short way for most frames, if the program has one.
    ports: Option<Box<Ports>>,
    /// What says how much is kept of a frame that passes, if not the program itself.
    length: Option<Box<Machine>>,
}

impl Machine {
    /// Decodes a program.
    pub fn new(program: &Program) -> Self {
        let instructions = program.instructions();
        let mut operations: Vec<_> =
            instructions.iter().enumerate().map(|(at, &insn)| decode(at, insn)).collect();
        // From the end, so that what lies behind an instruction has been joined already.
        for at in (0..operations.len()).rev() {
            join(&mut operations, at);
        }
        Self {
            operations: operations.into_boxed_slice(),
            constants: instructions.iter().map(|insn| insn.k).collect(),
            ports: Ports::of(program).map(Box::new),
            length: None,
        }
    }

    /// A machine for frames that may have been cut: `verdict` says which of them pass, `length` how much of those is
    /// kept.
    ///
    /// A load behind the cut ends a program with 0. To the verdict that is what it is to libpcap; in the code that
    /// looks for the end of the headers it would lose a packet that has passed. So that code is a program of its own,
    /// one that passes every frame, and is told that the frame was never longer than what is there of it.
    pub fn of_cut_frames(verdict: &Program, length: &Program) -> Self {
        Self { length: Some(Box::new(Self::new(length))), ..Self::new(verdict) }
    }

    /// Runs on a frame of which nothing is known but its bytes, offset 0 at their start, and its length before it was
    /// cut: what [`Program::run`] gives for [`Skb::of`] with that `len`.
    #[inline]
    pub fn run(&self, bytes: &[u8], len: u32) -> u32 {
        let verdict = match self.ports.as_ref().and_then(|ports| ports.verdict(bytes)) {
            Some(verdict) => verdict,
            None => self.run_all(bytes, len),
        };
        match &self.length {
            Some(length) if verdict != 0 => length.run_whole(bytes),
            _ => verdict,
        }
    }

    #[inline(never)]
    fn run_all(&self, bytes: &[u8], len: u32) -> u32 {
        self.execute(bytes, len, || Skb { len, ..Skb::of(bytes) }).unwrap_or(0)
    }

    /// Runs on a frame as if it ended with its last byte.
    fn run_whole(&self, bytes: &[u8]) -> u32 {
        let skb = Skb::of(bytes);
        self.execute(bytes, skb.len, || skb).unwrap_or(0)
    }

    /// Runs on a packet with all that the kernel knows of it: what [`Program::run`] gives.
    #[inline]
    pub fn run_skb(&self, skb: &Skb<'_>) -> u32 {
        self.execute(skb.bytes.get(skb.data..).unwrap_or_default(), skb.len, || *skb).unwrap_or(0)
    }

    /// `bytes` are those from offset 0 on; `skb` gives the packet for the rare loads that need more. `None` stands
    /// for the early ends that count as 0.
    #[inline]
    fn execute<'a>(&self, bytes: &'a [u8], len: u32, skb: impl Fn() -> Skb<'a>) -> Option<u32> {
        let (mut a, mut x) = (0_u32, 0_u32);
        let mut scratch = [0_u32; SCRATCH_WORDS];
        let mut at = 0_usize;
        // Where to go on after a comparison.
        let way =
            |holds: bool, targets: Targets| usize::from(if holds { targets.then } else { targets.other });
        // An indexed offset may turn out to be one that counts from a header.
        let indexed = |width: Width, k: u32| match width {
            _ if k > LARGEST_PLAIN => skb().load(width, k),
            Width::Word => word(bytes, k),
            Width::Half => half(bytes, k),
            Width::Byte => byte(bytes, k),
        };
        loop {
            // Never `None`: every way through a checked program ends in a return.
            let operation = self.operations.get(at)?;
            at += 1;
            // Of its parts each arm loads what it needs.
            match *operation {
                Operation::Word { k } => a = word(bytes, k)?,
                Operation::Half { k } => a = half(bytes, k)?,
                Operation::Byte { k } => a = byte(bytes, k)?,
                Operation::WordEqual { k, operand, targets } => {
                    a = word(bytes, k)?;
                    at = way(a == operand, targets);
                }
                Operation::HalfEqual { k, operand, targets } => {
                    a = half(bytes, k)?;
                    at = way(a == operand, targets);
                }
                Operation::ByteEqual { k, operand, targets } => {
                    a = byte(bytes, k)?;
                    at = way(a == operand, targets);
                }
                Operation::HalfAnyBit { k, operand, targets } => {
                    a = half(bytes, k)?;
                    at = way(a & operand != 0, targets);
                }
                Operation::ByteAnyBit { k, operand, targets } => {
                    a = byte(bytes, k)?;
                    at = way(a & operand != 0, targets);
                }
                Operation::WordIndexed { k } => a = indexed(Width::Word, x.wrapping_add(k))?,
                Operation::HalfIndexed { k } => a = indexed(Width::Half, x.wrapping_add(k))?,
                Operation::ByteIndexed { k } => a = indexed(Width::Byte, x.wrapping_add(k))?,
                Operation::HalfIndexedEqual { k, operand, targets } => {
                    a = indexed(Width::Half, x.wrapping_add(k))?;
                    at = way(a == operand, targets);
                }
                Operation::Equal { operand, targets } => at = way(a == operand, targets),
                Operation::EqualAnyOf { count, targets } => {
                    let operands = self.constants.get(at - 1..at - 1 + usize::from(count))?;
                    at = way(is_any_of(a, operands), targets);
                }
                Operation::HalfIndexedAnyOf { k, count, targets } => {
                    a = indexed(Width::Half, x.wrapping_add(k))?;
                    let operands = self.constants.get(at..at + usize::from(count))?;
                    at = way(is_any_of(a, operands), targets);
                }
                Operation::Greater { operand, targets } => at = way(a > operand, targets),
                Operation::GreaterOrEqual { operand, targets } => at = way(a >= operand, targets),
                Operation::AnyBit { operand, targets } => at = way(a & operand != 0, targets),
                Operation::MaskedEqual { mask, operand, targets } => {
                    a &= mask;
                    at = way(a == operand, targets);
                }
                Operation::EqualX { targets } => at = way(a == x, targets),
                Operation::GreaterX { targets } => at = way(a > x, targets),
                Operation::GreaterOrEqualX { targets } => at = way(a >= x, targets),
                Operation::AnyBitX { targets } => at = way(a & x != 0, targets),
                Operation::Jump { target } => at = usize::from(target),
                Operation::FromHeader { width, k } => a = skb().load(width, k)?,
                Operation::Ancillary { what } => a = skb().ancillary(what, a, x),
                Operation::Constant { k } => a = k,
                Operation::Scratch { index } => a = scratch[usize::from(index) & SCRATCH_MASK],
                Operation::Length => a = len,
                Operation::ConstantX { k } => x = k,
                Operation::ScratchX { index } => x = scratch[usize::from(index) & SCRATCH_MASK],
                Operation::LengthX => x = len,
                Operation::HeaderLengthX { k } => x = (indexed(Width::Byte, k)? & 0xf) << 2,
                Operation::Store { index } => scratch[usize::from(index) & SCRATCH_MASK] = a,
                Operation::StoreX { index } => scratch[usize::from(index) & SCRATCH_MASK] = x,
                Operation::ToX => x = a,
                Operation::ToA => a = x,
                Operation::Add { k } => a = a.wrapping_add(k),
                Operation::And { k } => a &= k,
                Operation::ShiftLeft { k } => a = a.wrapping_shl(k.into()),
                Operation::ShiftRight { k } => a = a.wrapping_shr(k.into()),
                Operation::Negate => a = a.wrapping_neg(),
                Operation::AddX => a = a.wrapping_add(x),
                Operation::Calculate { operation, k } => a = calculate(operation.into(), a, k)?,
                Operation::CalculateX { operation } => a = calculate(operation.into(), a, x)?,
                Operation::Return { k } => return Some(k),
                Operation::ReturnA => return Some(a),
            }
        }
    }
}

/// One instruction, or a few in one.
#[derive(Clone, Copy, Debug)]
enum Operation {
    // Loads at an offset from the start.
    Word {
        k: u32,
    },
    Half {
        k: u32,
    },
    Byte {
        k: u32,
    },
    // The same, then a comparison of A.
    WordEqual {
        k: u32,
        operand: u32,
        targets: Targets,
    },
    HalfEqual {
        k: u32,
        operand: u32,
        targets: Targets,
    },
    ByteEqual {
        k: u32,
        operand: u32,
        targets: Targets,
    },
    HalfAnyBit {
        k: u32,
        operand: u32,
        targets: Targets,
    },
    ByteAnyBit {
        k: u32,
        operand: u32,
        targets: Targets,
    },
    // Loads at X + k.
    WordIndexed {
        k: u32,
    },
    HalfIndexed {
        k: u32,
    },
    ByteIndexed {
        k: u32,
    },
    HalfIndexedEqual {
        k: u32,
        operand: u32,
        targets: Targets,
    },
    /// The load, then a comparison with the constants of so many instructions behind it: a port of several.
    HalfIndexedAnyOf {
        k: u32,
        count: u16,
        targets: Targets,
    },
    // Comparisons of A.
    Equal {
        operand: u32,
        targets: Targets,
    },
    /// With the constants of so many instructions, this one's first.
    EqualAnyOf {
        count: u16,
        targets: Targets,
    },
    Greater {
        operand: u32,
        targets: Targets,
    },
    GreaterOrEqual {
        operand: u32,
        targets: Targets,
    },
    AnyBit {
        operand: u32,
        targets: Targets,
    },
    /// A becomes A & mask first.
    MaskedEqual {
        mask: u32,
        operand: u32,
        targets: Targets,
    },
    EqualX {
        targets: Targets,
    },
    GreaterX {
        targets: Targets,
    },
    GreaterOrEqualX {
        targets: Targets,
    },
    AnyBitX {
        targets: Targets,
    },
    Jump {
        target: u16,
    },
    /// A load at an offset with the top bit set.
    FromHeader {
        width: Width,
        k: u32,
    },
    Ancillary {
        what: Ancillary,
    },
    Constant {
        k: u32,
    },
    Scratch {
        index: u8,
    },
    Length,
    ConstantX {
        k: u32,
    },
    ScratchX {
        index: u8,
    },
    LengthX,
    HeaderLengthX {
        k: u32,
    },
    Store {
        index: u8,
    },
    StoreX {
        index: u8,
    },
    ToX,
    ToA,
    Add {
        k: u32,
    },
    And {
        k: u32,
    },
    ShiftLeft {
        k: u8,
    },
    ShiftRight {
        k: u8,
    },
    Negate,
    AddX,
    /// The operation's bits in the opcode.
    Calculate {
        operation: u8,
        k: u32,
    },
    CalculateX {
        operation: u8,
    },
    Return {
        k: u32,
    },
    ReturnA,
}

// Four to a cache line.
const _: () = assert!(size_of::<Operation>() == 16);

/// Where a comparison goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Targets {
    then: u16,
    other: u16,
}

/// The operation of one instruction. The program is checked, so indexes and targets fit their types: it has at most
/// [`MAX_INSTRUCTIONS`], and scratch indexes and shifts are below 32.
fn decode(at: usize, insn: Instruction) -> Operation {
    let k = insn.k;
    let next = at + 1;
    let targets =
        Targets { then: (next + usize::from(insn.jt)) as u16, other: (next + usize::from(insn.jf)) as u16 };
    let plain = k <= LARGEST_PLAIN;
    match insn.code {
        LD_ABS_W if plain => Operation::Word { k },
        LD_ABS_H if plain => Operation::Half { k },
        LD_ABS_B if plain => Operation::Byte { k },
        code @ (LD_ABS_W | LD_ABS_H | LD_ABS_B) => match (Ancillary::from_offset(k), Width::of(code)) {
            (Some(what), _) => Operation::Ancillary { what },
            (None, Some(width)) => Operation::FromHeader { width, k },
            // No load has a fourth width; 0 is what the machine answers where it cannot go on.
            (None, None) => Operation::Return { k: 0 },
        },
        LD_IND_W => Operation::WordIndexed { k },
        LD_IND_H => Operation::HalfIndexed { k },
        LD_IND_B => Operation::ByteIndexed { k },
        LD_IMM => Operation::Constant { k },
        LD_MEM => Operation::Scratch { index: k as u8 },
        LD_LEN => Operation::Length,
        LDX_IMM => Operation::ConstantX { k },
        LDX_MEM => Operation::ScratchX { index: k as u8 },
        LDX_LEN => Operation::LengthX,
        LDX_MSH => Operation::HeaderLengthX { k },
        ST => Operation::Store { index: k as u8 },
        STX => Operation::StoreX { index: k as u8 },
        MISC_TAX => Operation::ToX,
        MISC_TXA => Operation::ToA,
        JUMP_ALWAYS => Operation::Jump { target: (next + k as usize) as u16 },
        RET_K => Operation::Return { k },
        RET_A => Operation::ReturnA,
        ALU_NEG => Operation::Negate,
        code if insn.is_conditional_jump() => match (code & 0xf0, code & X != 0) {
            (JEQ, false) => Operation::Equal { operand: k, targets },
            (JGT, false) => Operation::Greater { operand: k, targets },
            (JGE, false) => Operation::GreaterOrEqual { operand: k, targets },
            (_, false) => Operation::AnyBit { operand: k, targets },
            (JEQ, true) => Operation::EqualX { targets },
            (JGT, true) => Operation::GreaterX { targets },
            (JGE, true) => Operation::GreaterOrEqualX { targets },
            (_, true) => Operation::AnyBitX { targets },
        },
        code => match (code & 0xf0, code & X != 0) {
            (ADD, false) => Operation::Add { k },
            (AND, false) => Operation::And { k },
            (LSH, false) => Operation::ShiftLeft { k: k as u8 },
            (RSH, false) => Operation::ShiftRight { k: k as u8 },
            (ADD, true) => Operation::AddX,
            (operation, false) => Operation::Calculate { operation: operation as u8, k },
            (operation, true) => Operation::CalculateX { operation: operation as u8 },
        },
    }
}

/// Lets the operation at `at` do the work of those behind it as well, where there is an operation for that.
fn join(operations: &mut [Operation], at: usize) {
    let (Some(&first), Some(&second)) = (operations.get(at), operations.get(at + 1)) else { return };
    let joined = match (first, second) {
        (Operation::Word { k }, Operation::Equal { operand, targets }) => {
            Operation::WordEqual { k, operand, targets }
        }
        (Operation::Half { k }, Operation::Equal { operand, targets }) => {
            Operation::HalfEqual { k, operand, targets }
        }
        (Operation::Byte { k }, Operation::Equal { operand, targets }) => {
            Operation::ByteEqual { k, operand, targets }
        }
        (Operation::Half { k }, Operation::AnyBit { operand, targets }) => {
            Operation::HalfAnyBit { k, operand, targets }
        }
        (Operation::Byte { k }, Operation::AnyBit { operand, targets }) => {
            Operation::ByteAnyBit { k, operand, targets }
        }
        (Operation::HalfIndexed { k }, Operation::Equal { operand, targets }) => {
            Operation::HalfIndexedEqual { k, operand, targets }
        }
        (Operation::HalfIndexed { k }, Operation::EqualAnyOf { count, targets }) => {
            Operation::HalfIndexedAnyOf { k, count, targets }
        }
        (Operation::And { k: mask }, Operation::Equal { operand, targets }) => {
            Operation::MaskedEqual { mask, operand, targets }
        }
        // `a or b or c` of the same field: equal goes to one place, else the next is tried.
        (Operation::Equal { targets, .. }, Operation::Equal { targets: next, .. })
            if targets.then == next.then && usize::from(targets.other) == at + 1 =>
        {
            Operation::EqualAnyOf { count: 2, targets: next }
        }
        (Operation::Equal { targets, .. }, Operation::EqualAnyOf { count, targets: next })
            if targets.then == next.then && usize::from(targets.other) == at + 1 =>
        {
            Operation::EqualAnyOf { count: count + 1, targets: next }
        }
        _ => return,
    };
    if let Some(operation) = operations.get_mut(at) {
        *operation = joined;
    }
}

#[inline(always)]
fn is_any_of(a: u32, operands: &[u32]) -> bool {
    match operands {
        // Most lists are of two, for which the start of a loop is longer than the comparisons.
        [first, second] => (a == *first) | (a == *second),
        // Without an early end the comparison runs over several at once.
        _ => operands.iter().fold(false, |found, &operand| found | (a == operand)),
    }
}

#[inline(always)]
fn word(bytes: &[u8], k: u32) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(k as usize..)?.first_chunk()?))
}

#[inline(always)]
fn half(bytes: &[u8], k: u32) -> Option<u32> {
    Some(u16::from_be_bytes(*bytes.get(k as usize..)?.first_chunk()?).into())
}

#[inline(always)]
fn byte(bytes: &[u8], k: u32) -> Option<u32> {
    bytes.get(k as usize).map(|&byte| byte.into())
}

/// Offsets above this one are negative: they count from a header or lie beside the packet.
const LARGEST_PLAIN: u32 = i32::MAX as u32;
