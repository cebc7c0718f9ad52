//! The bodies of the fuzz targets: any bytes in, invariants asserted.

use std::time::{Duration, Instant};

use gannet_packet::PacketType;

use crate::bpf::insn::*;
use crate::bpf::{Instruction, Machine, Program, ProgramError, Skb, VlanTag, ll_offset, net_offset};
use crate::{
    ErrorKind, FileFilter, FileOptions, Link, Names, Options, Snaplen, compile, explain, opcodes, resolve,
};

/// Takes `bytes` as a program, a packet and what the kernel knows of it.
///
/// # Panics
/// If the fast machine gives another answer than the plain one, or a program does not survive being written and read.
pub fn machine(bytes: &[u8]) {
    let Some((&[instructions, data, network, len, facts, raw], rest)) = bytes.split_first_chunk() else {
        return;
    };
    let wanted = usize::from(instructions) * INSTRUCTION_BYTES;
    let (code, packet) = rest.split_at(wanted.min(rest.len()));
    let program = if raw == 0 { read(code) } else { draw(code) };
    let Ok(program) = program else { return };
    let fast = Machine::new(&program);
    for link in Link::ALL {
        assert_eq!(explain::annotate(&program, link).len(), program.instructions().len());
    }

    let len = u32::from(len) * 7;
    let plain = Skb { len, ..Skb::of(packet) };
    assert_eq!(fast.run(packet, len), program.run(&plain), "a frame\n{program}");
    let skb = Skb {
        data: data.into(),
        network: network.into(),
        protocol: u16::from(facts) << 8,
        packet_type: if facts & 1 == 0 { PacketType::Host } else { PacketType::Outgoing },
        interface_index: facts.into(),
        hardware_type: (facts >> 1).into(),
        vlan: (facts & 2 != 0).then_some(VlanTag { tpid: 0x8100, tci: facts.into() }),
        rx_hash: u32::from(facts) << 24,
        mark: facts.rotate_left(3).into(),
        queue: (facts & 7).into(),
        cpu: (facts >> 5).into(),
        random: u32::from(facts) * 0x0101_0101,
        payload_offset: network.into(),
        ..plain
    };
    assert_eq!(fast.run_skb(&skb), program.run(&skb), "{skb:?}\n{program}");

    assert_eq!(opcodes::parse(&opcodes::Decimal(&program).to_string()).as_ref(), Ok(&program));
    assert_eq!(opcodes::parse(&opcodes::CSource(&program).to_string()).as_ref(), Ok(&program));
}

/// Takes `bytes` as the text of an expression (or of a list of opcodes), and compiles it for every link type.
///
/// # Panics
/// If a refusal points outside the text, a program depends on anything but text and options, an empty program or a slow
/// compilation comes of it, or a program answers another way in the fast machine.
pub fn compiler(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // Neither may panic on any text.
    let _ = opcodes::parse(text);
    let _ = FileFilter::of_text(text, FileOptions::default());
    let names = Names::default();
    if let Ok(tree) = resolve::resolve(text, &names) {
        assert!(explain::tree(&tree).ends_with('\n'));
    }
    let started = Instant::now();
    for link in Link::ALL {
        for optimise in [false, true] {
            let snaplen = if bytes.len().is_multiple_of(5) {
                Snaplen::Headers { extra: 8 }
            } else {
                Snaplen::Fixed(262_144)
            };
            let options = Options { link, snaplen, optimise, netmask: 0, names: &names };
            match compile(text, &options) {
                // That the kernel takes it is what a `Program` is the proof of.
                Ok(program) => {
                    let explained = explain::listing(&program, link);
                    assert_eq!(explained.lines().count(), program.instructions().len());
                    let packet = bytes.repeat(4);
                    let (fast, plain) = (Machine::new(&program), Skb::of(&packet));
                    assert_eq!(fast.run(&packet, plain.len), program.run(&plain), "{text}\n{program}");
                }
                Err(error) => {
                    let span = error.span.clone();
                    assert!(span.start <= span.end && span.end <= text.len(), "{span:?} of {text}");
                    assert!(text.get(span.clone()).is_some(), "{span:?} cuts a character of {text}");
                    assert!(!error.message.is_empty() && !error.message.ends_with('.'), "{error:?}");
                    let rendered = error.render(text);
                    assert!(rendered.starts_with(&error.message), "{rendered}");
                    assert!(optimise || error.kind != ErrorKind::RejectsAll, "{error:?}");
                }
            }
        }
    }
    assert!(started.elapsed() < SLOW, "{:?} for {} bytes", started.elapsed(), text.len());
}

/// Instructions as they are in memory; few programs of arbitrary bytes pass the checks.
fn read(code: &[u8]) -> Result<Program, ProgramError> {
    let instructions = code.as_chunks::<8>().0.iter().map(|&[c0, c1, jt, jf, k0, k1, k2, k3]| Instruction {
        code: u16::from_le_bytes([c0, c1]),
        jt,
        jf,
        k: u32::from_le_bytes([k0, k1, k2, k3]),
    });
    Program::new(instructions.collect())
}

/// Instructions bent into shape, so that most programs pass the checks and most loads find something.
fn draw(code: &[u8]) -> Result<Program, ProgramError> {
    let known = known_opcodes();
    let steps = code.as_chunks::<INSTRUCTION_BYTES>().0;
    // Every scratch word is stored first, so that any may be loaded.
    let mut instructions: Vec<_> = (0..SCRATCH_WORDS as u32).map(|k| Instruction::statement(ST, k)).collect();
    for (index, &[code, jumps, kind, k0, k1]) in steps.iter().enumerate() {
        // A return stands behind the last one, and the one before is the last that may jump over something.
        let left = (steps.len() - 1 - index).min(usize::from(u8::MAX)) as u32;
        let code = known[usize::from(code) % known.len()];
        let short = u32::from(u16::from_be_bytes([k0, k1]));
        let k = match kind & 0x0f {
            0 => net_offset(short & 0x3f),
            1 => ll_offset(short & 0x3f),
            2 => SKF_AD_OFF.wrapping_add(u32::from(k1 & 0x0f) << 2),
            3 => short << 16 | short,
            4 => u32::MAX - short,
            5 => i32::MAX as u32 - (short & 7),
            _ => short & 0x3f,
        };
        let k = match (code & 0x07, code & 0xf0) {
            _ if code == JMP | JA => k % (left + 1),
            (ALU, LSH | RSH) => k & 31,
            (ALU, DIV | MOD) => k.max(1),
            (ST | STX, _) => k & 15,
            (LD | LDX, mode) if mode & 0xe0 == MEM => k & 15,
            (LD, mode) if mode & 0xe0 == ABS && k >= SKF_AD_OFF => k & !3 & (SKF_AD_OFF | 0x3c),
            _ => k,
        };
        let (jt, jf) = if kind & 0x80 == 0 {
            // Chains of comparisons with one target, as lists of ports and hosts give.
            (left, 0)
        } else {
            (u32::from(jumps >> 4), u32::from(jumps & 0x0f))
        };
        let jump = code & 0x07 == JMP && code != JMP | JA;
        let distance = |wanted: u32| if jump { wanted.min(left) as u8 } else { 0 };
        instructions.push(Instruction::jump(code, k, distance(jt), distance(jf)));
    }
    instructions.push(Instruction::statement(RET | A, 0));
    Program::new(instructions)
}

/// Every opcode that a program may have.
fn known_opcodes() -> Vec<u16> {
    let end = Instruction::statement(RET, 1);
    let accepted = |&code: &u16| {
        !matches!(
            Program::new(vec![Instruction::statement(code, 1), end, end]),
            Err(ProgramError::Opcode { .. })
        )
    };
    (0..0x100).filter(accepted).collect()
}

/// Of the input, for each instruction of [`draw`].
const INSTRUCTION_BYTES: usize = 5;

/// For one text and all link types. An expression of 100 kB takes less than a second for one of them; a fuzzer's
/// machine is slowed down by its counters and its neighbours.
const SLOW: Duration = Duration::from_secs(8);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn most_drawn_programs_are_programs() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut accepted = 0;
        for _ in 0..200 {
            let code: Vec<u8> = (0..100)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (seed >> 56) as u8
                })
                .collect();
            accepted += usize::from(draw(&code).is_ok());
        }
        assert!(accepted > 150, "{accepted} of 200");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn both_machines_give_one_answer(bytes in proptest::collection::vec(any::<u8>(), 6..260), count in 0_u8..40) {
            let mut bytes = bytes;
            bytes[0] = count;
            machine(&bytes);
        }

        #[test]
        fn texts_are_compiled_or_refused(text in "((tcp|udp|port|host|and|or|not|[(]|[)]|vlan|ip|80|10[.]0[.]0[.]1|[\\[]|[\\]]|[ -~é]) ?){0,12}") {
            compiler(text.as_bytes());
        }
    }
}
