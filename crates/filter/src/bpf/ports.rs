//! The short way for plain segments: what a program makes of their ports.
//!
//! Filters for HTTP and most others ask for ports, and nearly all frames are plain: Ethernet, IPv4 without options,
//! TCP, no fragment but the first. What a program answers for those is found beforehand, by going through it with
//! what is known of such a frame; what is left are comparisons with the two ports:
//!
//! ```text
//!   ldh [12] ► 0x800       jeq #0x86dd ► no     jeq #0x800 ► yes
//!   ldb [23] ► 6           jeq #0x6 ► yes
//!   ldh [20] ► no offset   jset #0x1fff ► no
//!   ldxb 4*([14]&0xf) ► 20
//!   ldh [x + 14]           jeq #0x50 ─────────► source port == 80 ? keep : ...
//! ```
//!
//! A program that asks for anything else on that way has no short way.

use super::insn::*;
use super::program::*;

/// Comparisons of ports, and what they lead to.
#[derive(Clone, Debug)]
pub(super) struct Ports {
    questions: Box<[Question]>,
    first: Next,
}

#[derive(Clone, Copy, Debug)]
struct Question {
    /// Where the port is in the frame.
    port: Port,
    operand: u32,
    then: Next,
    other: Next,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    Source,
    Destination,
}

#[derive(Clone, Copy, Debug)]
enum Next {
    Verdict(u32),
    Question(u8),
}

/// What is known of a register.
#[derive(Clone, Copy, Debug)]
enum Value {
    Known(u32),
    /// Flags, and a fragment offset of 0.
    Fragment,
    Port(Port),
}

impl Ports {
    /// The short way through a program, if it has one.
    pub(super) fn of(program: &Program) -> Option<Self> {
        let mut questions = Vec::new();
        let first = walk(program.instructions(), 0, None, None, &mut questions)?;
        Some(Self { questions: questions.into(), first })
    }

    /// What the program answers, if the frame is a plain segment.
    #[inline]
    pub(super) fn verdict(&self, frame: &[u8]) -> Option<u32> {
        let frame = frame.first_chunk::<38>()?;
        let half = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let is_plain = (half(12) == IPV4) & (frame[14] == VERSION_AND_LENGTH) & (frame[23] == TCP);
        if !is_plain || half(20) & OFFSET_BITS != 0 {
            return None;
        }
        let (source, destination) = (u32::from(half(34)), u32::from(half(36)));
        let mut next = self.first;
        loop {
            match next {
                Next::Verdict(verdict) => return Some(verdict),
                Next::Question(at) => {
                    // Questions lead to later ones only.
                    let question = self.questions.get(usize::from(at))?;
                    let port = if question.port == Port::Source { source } else { destination };
                    next = if port == question.operand { question.then } else { question.other };
                }
            }
        }
    }
}

/// Goes through a program from `at` on with what is known of the registers, down to its ends.
fn walk(
    program: &[Instruction],
    mut at: usize,
    mut a: Option<Value>,
    mut x: Option<u32>,
    questions: &mut Vec<Question>,
) -> Option<Next> {
    loop {
        let insn = program.get(at)?;
        at += 1;
        match insn.code {
            LD_ABS_H => a = Some(half_at(insn.k)?),
            LD_IND_H => a = Some(half_at(x?.checked_add(insn.k)?)?),
            LD_ABS_B => a = Some(Value::Known(byte_at(insn.k)?)),
            LDX_MSH => x = Some((byte_at(insn.k)? & 0xf) << 2),
            JUMP_ALWAYS => at += insn.k as usize,
            RET_K => return Some(Next::Verdict(insn.k)),
            code if insn.is_conditional_jump() && code & X == 0 => {
                let (then, other) = (at + usize::from(insn.jt), at + usize::from(insn.jf));
                let holds = match (a?, code & 0xf0) {
                    (Value::Known(value), JEQ) => value == insn.k,
                    (Value::Known(value), JSET) => value & insn.k != 0,
                    (Value::Fragment, JSET) if insn.k & !u32::from(OFFSET_BITS) == 0 => false,
                    (Value::Port(port), JEQ) => {
                        let place = questions.len();
                        if place >= QUESTIONS_MAX {
                            return None;
                        }
                        let nothing = Next::Verdict(0);
                        questions.push(Question { port, operand: insn.k, then: nothing, other: nothing });
                        let then = walk(program, then, a, x, questions)?;
                        let other = walk(program, other, a, x, questions)?;
                        let question = questions.get_mut(place)?;
                        (question.then, question.other) = (then, other);
                        return Some(Next::Question(place as u8));
                    }
                    _ => return None,
                };
                at = if holds { then } else { other };
            }
            _ => return None,
        }
    }
}

/// What is known of two bytes of a plain segment.
fn half_at(offset: u32) -> Option<Value> {
    match offset {
        12 => Some(Value::Known(IPV4.into())),
        20 => Some(Value::Fragment),
        34 => Some(Value::Port(Port::Source)),
        36 => Some(Value::Port(Port::Destination)),
        _ => None,
    }
}

/// What is known of one.
fn byte_at(offset: u32) -> Option<u32> {
    match offset {
        14 => Some(VERSION_AND_LENGTH.into()),
        23 => Some(TCP.into()),
        _ => None,
    }
}

const IPV4: u16 = 0x800;
/// Version 4, five words of four bytes.
const VERSION_AND_LENGTH: u8 = 0x45;
const TCP: u8 = 6;
const OFFSET_BITS: u16 = 0x1fff;
/// Longer lists of ports go the long way, where several are compared at once. No less than the numbers of them need.
const QUESTIONS_MAX: usize = 24;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bpf::{Machine, Skb};
    use crate::{Link, Names, Options, Snaplen, compile};

    const EXPRESSIONS: &[&str] = &[
        "tcp port 80 or 8080",
        "tcp port 80 or 8080 or (tcp and ip[6:2] & 0x1fff != 0)",
        "port 80",
        "tcp",
        "udp port 53",
        "tcp dst port 80 and src port 1024",
        "not tcp port 80",
        "tcp and not (port 80 or port 22)",
        "vlan and tcp port 80",
        "ip[0] & 0xf != 5",
        "",
    ];

    fn program(expression: &str) -> Program {
        let names = Names::default();
        let options = Options {
            link: Link::Ethernet,
            snaplen: Snaplen::Fixed(96),
            optimise: true,
            netmask: 0,
            names: &names,
        };
        compile(expression, &options).unwrap()
    }

    #[test]
    fn who_has_a_short_way() {
        for (expression, has) in [
            ("tcp port 80", true),
            ("tcp port 80 or 8080 or (tcp and ip[6:2] & 0x1fff != 0)", true),
            ("udp", true),
            ("tcp portrange 1-5", false),
            ("host 10.0.0.1", false),
            ("tcp[tcpflags] & tcp-syn != 0", false),
        ] {
            assert_eq!(Ports::of(&program(expression)).is_some(), has, "{expression}");
        }
    }

    proptest! {
        /// Against the program itself: plain segments, and what differs from them in a byte or in length.
        #[test]
        fn the_answers_are_the_programs(
            expression in proptest::sample::select(EXPRESSIONS), ports in proptest::array::uniform2(
                prop_oneof![Just(80_u16), Just(8_080), Just(53), Just(22), Just(1_024), any::<u16>()]),
            flags in prop_oneof![Just(0_u8), Just(0x40), any::<u8>()], fragment in prop_oneof![3 => Just(0_u8), 1 => any::<u8>()],
            odd in proptest::option::of((12..38_usize, any::<u8>())), len in prop_oneof![4 => Just(60_usize), 1 => 0..60_usize],
        ) {
            let mut frame = [0; 60];
            frame[12] = 8;
            (frame[14], frame[20], frame[21], frame[23]) = (0x45, flags, fragment, 6);
            frame[34..36].copy_from_slice(&ports[0].to_be_bytes());
            frame[36..38].copy_from_slice(&ports[1].to_be_bytes());
            if let Some((at, byte)) = odd {
                frame[at] = byte;
            }
            let frame = &frame[..len];
            let program = program(expression);
            let expected = program.run(&Skb { len: 60, ..Skb::of(frame) });
            prop_assert_eq!(Machine::new(&program).run(frame, 60), expected, "{}", expression);
            if let Some(verdict) = Ports::of(&program).and_then(|ports| ports.verdict(frame)) {
                prop_assert_eq!(verdict, expected);
            }
        }
    }
}
