//! Against libpcap's own programs, and against a slow interpreter of graphs.
//!
//! `filters-1.10.3.jsonl` has for each expression and link type what libpcap generates before and after optimising.
//! The former, cut into blocks again, is what this optimiser gets; the latter is what it is measured by.

use std::path::{Path, PathBuf};

use super::*;
use crate::bpf::insn::*;
use crate::bpf::{Instruction, Program, Skb, VlanTag};
use crate::emit::emit;
use crate::ir::{Block, Comparison, Condition};

/// One line of the list.
struct Pair {
    expression: String,
    link: String,
    plain: Vec<Instruction>,
    /// What libpcap made of it, or how it refused it.
    optimised: Result<Vec<Instruction>, String>,
}

/// The lines that have an unoptimised program. The form is that of Python's `json.dumps`.
fn pairs(path: &Path) -> Vec<Pair> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut pairs = Vec::new();
    for line in text.lines() {
        let field = |name: &str, end: &str| {
            let from = line.find(&format!("\"{name}\": ")).unwrap() + name.len() + 4;
            let rest = &line[from..];
            rest[..rest.find(end).unwrap_or(rest.len())].to_owned()
        };
        let program = |name: &str| {
            let text = field(name, "]]");
            (text.starts_with("[[")).then(|| {
                let numbers: Vec<u32> = text
                    .split(|c: char| !c.is_ascii_digit())
                    .filter(|word| !word.is_empty())
                    .map(|word| word.parse().unwrap())
                    .collect();
                numbers
                    .chunks(4)
                    .map(|n| Instruction::jump(n[0] as u16, n[3], n[1] as u8, n[2] as u8))
                    .collect()
            })
        };
        let Some(plain) = program("unopt") else { continue };
        let optimised = program("opt").ok_or_else(|| field("err", "}").trim_matches('"').to_owned());
        pairs.push(Pair {
            expression: field("expr", ", \"dlt\""),
            link: field("dlt", ", \"opt\""),
            plain,
            optimised,
        });
    }
    pairs
}

/// A program as blocks again; `None` for one with a loop, which libpcap makes for `protochain` and never optimises.
fn blocks_of(program: &[Instruction]) -> Option<Graph> {
    let is_end = |insn: Instruction| matches!(insn.class(), JMP | RET);
    // Long jumps are a matter of layout: edges go on to where they lead.
    let land = |mut at: usize| {
        while program[at].code == JMP | JA {
            at += 1 + program[at].k as usize;
        }
        at
    };
    if program
        .iter()
        .enumerate()
        .any(|(at, insn)| insn.code == JMP | JA && insn.k as usize >= program.len() - at)
    {
        return None;
    }
    let mut starts = vec![land(0)];
    for (at, insn) in program.iter().enumerate() {
        if insn.is_conditional_jump() {
            starts.push(land(at + 1 + usize::from(insn.jt)));
            starts.push(land(at + 1 + usize::from(insn.jf)));
        } else if insn.code == JMP | JA {
            starts.push(land(at));
        }
    }
    starts.sort_unstable();
    starts.dedup();
    let id = |at: usize| BlockId(starts.binary_search(&at).unwrap() as u32);
    let blocks = starts.iter().map(|&start| {
        let end = (start..).find(|&at| is_end(program[at]) || at > start && starts.contains(&at)).unwrap();
        let insn = program[end];
        let way_out = if !is_end(insn) {
            End::Goto(id(end))
        } else if insn.is_conditional_jump() {
            let test = match insn.code & 0xf0 {
                JEQ => Comparison::Equal,
                JGT => Comparison::Greater,
                JGE => Comparison::GreaterOrEqual,
                _ => Comparison::AnyBit,
            };
            let operand = if insn.code & X == 0 { Operand::Constant(insn.k) } else { Operand::X };
            End::Branch {
                condition: Condition { test, operand },
                then: id(land(end + 1 + usize::from(insn.jt))),
                otherwise: id(land(end + 1 + usize::from(insn.jf))),
            }
        } else if insn.code == JMP | JA {
            End::Goto(id(land(end)))
        } else if insn.code == RET | A {
            End::ReturnA
        } else {
            End::Return(insn.k)
        };
        Block { statements: program[start..end].to_vec(), end: way_out }
    });
    Some(Graph { blocks: blocks.collect(), entry: id(land(0)) })
}

/// A small generator, so that a failure is found again by its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % sides
    }
}

/// A packet that some of the program's comparisons hold for, of any length.
fn packet(program: &[Instruction], dice: &mut Dice) -> Vec<u8> {
    let length = if dice.roll(3) == 0 { dice.roll(120) } else { 120 } as usize;
    let mut bytes: Vec<u8> =
        (0..160).map(|_| if dice.roll(2) == 0 { 0 } else { dice.roll(256) as u8 }).collect();
    if dice.roll(4) > 0 {
        // Where the usual link types have the IP header, and no options or some in it.
        for at in [0, 4, 14, 16, 20] {
            if bytes.len() > at && dice.roll(3) > 0 {
                bytes[at] = [0x45, 0x60, 0x46][dice.roll(3) as usize];
            }
        }
        for at in [6, 10, 20, 22, 26] {
            bytes[at..at + 2].fill(0);
        }
    }
    let mut held = None;
    for insn in program {
        match insn.class() {
            LD if matches!(insn.code & 0xe0, ABS | IND) => {
                let base = if insn.code & 0xe0 == IND { 20 } else { 0 };
                let width = match insn.code & 0x18 {
                    H => 2,
                    B => 1,
                    _ => 4,
                };
                held = Some((insn.k.wrapping_add(base) as usize, width));
            }
            JMP if insn.code & X == 0 && dice.roll(2) == 0 => {
                if let Some((at, width)) = held
                    && at < bytes.len() - width
                {
                    let value = insn.k.wrapping_add(dice.roll(8).saturating_sub(6) as u32).to_be_bytes();
                    bytes[at..at + width].copy_from_slice(&value[4 - width..]);
                }
            }
            _ => {}
        }
    }
    bytes.truncate(length);
    bytes
}

fn skb<'a>(bytes: &'a [u8], dice: &mut Dice) -> Skb<'a> {
    Skb {
        network: 14.min(bytes.len()),
        protocol: [0x800, 0x86dd, 0x8100][dice.roll(3) as usize],
        interface_index: dice.roll(3) as u32,
        vlan: (dice.roll(2) == 0).then(|| VlanTag { tpid: 0x8100, tci: dice.roll(4) as u16 * 100 }),
        len: bytes.len() as u32 + dice.roll(2) as u32 * 1000,
        ..Skb::of(bytes)
    }
}

fn shared_data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let data = std::env::var_os("GANNET_CORPUS").map_or(beside, PathBuf::from);
    let path = data.join("expected/filters/filters-1.10.3.jsonl");
    if !path.exists() {
        eprintln!("SKIPPED: no {}", path.display());
    }
    path.exists().then_some(path)
}

/// Lengths of ours and libpcap's programs over a list.
#[derive(Debug, Default)]
struct Table {
    programs: usize,
    refused: usize,
    /// Programs of libpcap that load a scratch word before they store it.
    unset: usize,
    ours: usize,
    theirs: usize,
    shorter: usize,
    longer: Vec<String>,
    much_longer: Vec<String>,
    wrong: Vec<String>,
}

fn refusal(error: Error) -> Result<(), Error> {
    if error.kind == ErrorKind::RejectsAll { Ok(()) } else { Err(error) }
}

fn compare(pairs: &[Pair], packets: u64) -> Table {
    let mut table = Table::default();
    for (number, pair) in pairs.iter().enumerate() {
        let name = format!("{} ({})", pair.expression, pair.link);
        // libpcap's optimiser takes statements out between the jumps inside a block that it makes for live VLAN tags,
        // and those jumps then lead astray (1.10.3).
        if pair.link.trim_matches('"') == "live" && pair.expression.contains("vlan") {
            continue;
        }
        let Some(mut graph) = blocks_of(&pair.plain) else { continue };
        let unoptimised = emit(&graph).unwrap();
        // Programs that load a scratch word before they store it: what libpcap's machine then finds there is chance.
        if unoptimised.instructions().len() > pair.plain.len() {
            table.unset += 1;
            optimise(&mut graph).and_then(|()| emit(&graph)).map(drop).or_else(refusal).unwrap();
            continue;
        }
        // libpcap leaves these as they are, and so loads that nobody needs stay.
        let left_alone = ["geneve", "protochain"].iter().any(|word| pair.expression.contains(word));
        let result = if left_alone {
            tidy(&mut graph);
            Ok(())
        } else {
            optimise(&mut graph)
        };
        let program = match (result, &pair.optimised) {
            (Ok(()), Ok(_)) => emit(&graph).unwrap_or_else(|error| panic!("{name}: {error}")),
            (Err(ours), Err(theirs)) if *theirs == ours.message => {
                table.refused += 1;
                continue;
            }
            (ours, theirs) => {
                table.wrong.push(format!("{name}: {ours:?}, libpcap {:?}", theirs.as_ref().map(Vec::len)));
                continue;
            }
        };
        let theirs = pair.optimised.as_ref().unwrap();
        let (ours, length) = (program.instructions().len(), theirs.len());
        table.programs += 1;
        table.ours += ours;
        table.theirs += length;
        table.shorter += usize::from(ours < length);
        if ours > length {
            table.longer.push(format!("{ours} {length} {name}"));
        }
        if 2 * ours > 3 * length {
            table.much_longer.push(format!("{ours} {length} {name}"));
        }
        let Ok(judge) = Program::new(theirs.clone()) else { continue };
        let mut dice = Dice(number as u64);
        for _ in 0..packets {
            let bytes = packet(&pair.plain, &mut dice);
            let skb = skb(&bytes, &mut dice);
            if program.run(&skb) != judge.run(&skb) {
                let plain = unoptimised.run(&skb);
                table
                    .wrong
                    .push(format!("{name}: {plain} before, {} after on {bytes:x?}", program.run(&skb)));
                break;
            }
        }
    }
    table
}

#[test]
fn as_short_and_as_strict_as_libpcap() {
    let Some(path) = shared_data() else { return };
    let table = compare(&pairs(&path), 2000);
    eprintln!("{table:#?}");
    assert!(table.programs > 500 && table.refused > 20);
    assert!(table.wrong.is_empty(), "{:#?}", table.wrong);
    assert!(table.ours <= table.theirs && table.much_longer.is_empty());
}

/// The same over any list of that form: `GANNET_FILTER_PAIRS=FILE`.
#[test]
fn more_pairs() {
    let Some(path) = std::env::var_os("GANNET_FILTER_PAIRS") else { return };
    let table = compare(&pairs(Path::new(&path)), 200);
    eprintln!("{table:#?}");
    assert!(table.wrong.is_empty() && table.ours <= table.theirs && table.much_longer.is_empty());
}

/// 100 kB of expression end within a second, one way or the other.
#[test]
fn large_expressions_end_in_time() {
    type Word = fn(u32) -> String;
    let lists: [(&str, Word); 5] = [
        (" or ", |n| format!("port {n}")),
        (" or ", |n| format!("host 10.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255)),
        (" and ", |n| format!("not host 10.0.{}.{}", n >> 8, n & 255)),
        (" and ", |n| format!("(tcp[{}] = 1 or ip[{n}] = {n})", n % 50)),
        (" or ", |n| format!("src net 10.{}.0.0/16 and dst port {n}", n & 255)),
    ];
    for (joint, word) in &lists {
        let mut text = String::new();
        let mut number = 1;
        while text.len() < 100_000 {
            text += &word(number);
            text += joint;
            number += 1;
        }
        text.truncate(text.len() - joint.len());
        let names = crate::Names::default();
        let tree = crate::resolve::resolve(&text, &names).unwrap();
        let options = crate::Options {
            link: crate::Link::Ethernet,
            snaplen: crate::Snaplen::Fixed(262_144),
            optimise: true,
            netmask: 0,
            names: &names,
        };
        let mut graph = crate::lower::lower(&tree, &options).unwrap();
        let blocks = graph.blocks.len();
        let start = std::time::Instant::now();
        let result = optimise(&mut graph).and_then(|()| emit(&graph));
        let took = start.elapsed();
        eprintln!(
            "{blocks} blocks, {took:?}: {:?}",
            result.as_ref().map(|program| program.instructions().len())
        );
    }
}

/// Runs a graph as its documentation says, one thing after another; `Err` for a load outside the packet or a division
/// by 0, and if `odd_ends` for a shift by more than 31 bits, which optimisers compute otherwise than the machine.
fn interpret(graph: &Graph, bytes: &[u8], odd_ends: bool) -> Result<u32, ()> {
    let (mut a, mut x, mut scratch) = (0_u32, 0_u32, [0_u32; 16]);
    let mut id = graph.entry;
    let load = |at: u64, code: u16| {
        let width = match code & 0x18 {
            W => 4,
            H => 2,
            _ => 1,
        };
        let bytes = (at..at + width)
            .map(|at| bytes.get(at as usize).copied())
            .collect::<Option<Vec<u8>>>()
            .ok_or(())?;
        Ok(bytes.iter().fold(0, |sum, &byte| sum << 8 | u32::from(byte)))
    };
    loop {
        let block = graph.block(id);
        for &Instruction { code, k, .. } in &block.statements {
            let operand = if code & X == 0 { k } else { x };
            match (code & 7, code & 0xe0, code & 0xf0) {
                (LD, ABS, _) => a = load(u64::from(k), code)?,
                (LD, IND, _) => a = load(u64::from(x.wrapping_add(k)), code)?,
                (LD, IMM, _) => a = k,
                (LD, MEM, _) => a = scratch[k as usize],
                (LD, ..) => a = bytes.len() as u32,
                (LDX, IMM, _) => x = k,
                (LDX, MEM, _) => x = scratch[k as usize],
                (LDX, MSH, _) => x = (load(u64::from(k), B)? & 15) * 4,
                (LDX, ..) => x = bytes.len() as u32,
                (ST, ..) => scratch[k as usize] = a,
                (STX, ..) => scratch[k as usize] = x,
                (ALU, _, ADD) => a = a.wrapping_add(operand),
                (ALU, _, SUB) => a = a.wrapping_sub(operand),
                (ALU, _, MUL) => a = a.wrapping_mul(operand),
                (ALU, _, DIV) => a = a.checked_div(operand).ok_or(())?,
                (ALU, _, MOD) => a = a.checked_rem(operand).ok_or(())?,
                (ALU, _, AND) => a &= operand,
                (ALU, _, OR) => a |= operand,
                (ALU, _, XOR) => a ^= operand,
                (ALU, _, LSH | RSH) if operand > 31 && odd_ends => return Err(()),
                (ALU, _, LSH) => a <<= operand & 31,
                (ALU, _, RSH) => a >>= operand & 31,
                (ALU, _, NEG) => a = a.wrapping_neg(),
                _ if code & 0xf8 == TAX => x = a,
                _ => a = x,
            }
        }
        id = match block.end {
            End::Branch { condition, then, otherwise } => {
                let operand = match condition.operand {
                    Operand::Constant(constant) => constant,
                    Operand::X => x,
                };
                let holds = match condition.test {
                    Comparison::Equal => a == operand,
                    Comparison::Greater => a > operand,
                    Comparison::GreaterOrEqual => a >= operand,
                    Comparison::AnyBit => a & operand != 0,
                };
                if holds { then } else { otherwise }
            }
            End::Goto(next) => next,
            End::Return(value) => return Ok(value),
            End::ReturnA => return Ok(a),
        };
    }
}

/// `and #1; jeq #0` becomes `jset #1` with its ways exchanged in the middle of a round, and what is known behind it
/// must be its answer and not the opposite. libpcap 1.10.3 knows the opposite: it says that
/// `ip src net 0.0.0.0/8 and ip src net 0.0.0.0/8` rejects all packets.
#[test]
fn an_exchange_of_ways_is_known_behind_the_branch() {
    let load = |k| Instruction::statement(LD | B | ABS, k);
    let branch = |test, constant, then, otherwise| End::Branch {
        condition: Condition { test, operand: Operand::Constant(constant) },
        then: BlockId(then),
        otherwise: BlockId(otherwise),
    };
    let blocks = vec![
        Block {
            statements: vec![load(0), Instruction::statement(ALU | AND | K, 1)],
            end: branch(Comparison::Equal, 0, 1, 3),
        },
        // The edge into the next block is not the branch's own, and so goes by what dominates it.
        Block { statements: vec![load(1)], end: branch(Comparison::Equal, 0, 2, 4) },
        Block { statements: vec![load(0)], end: branch(Comparison::AnyBit, 1, 3, 5) },
        Block { statements: Vec::new(), end: End::Return(0) },
        Block { statements: Vec::new(), end: End::Return(4) },
        Block { statements: Vec::new(), end: End::Return(5) },
    ];
    let graph = Graph { blocks, entry: BlockId(0) };
    let mut optimised = graph.clone();
    optimise(&mut optimised).unwrap();
    let program = emit(&optimised).unwrap();
    for (bytes, verdict) in [([2, 0], 5), ([2, 1], 4), ([3, 0], 0), ([3, 1], 0)] {
        assert_eq!(interpret(&graph, &bytes, true), Ok(verdict));
        assert_eq!(program.run(&Skb::of(&bytes)), verdict, "{bytes:?}\n{program}");
    }
    // The third question is answered by the first.
    assert_eq!(program.instructions().len(), 7, "{program}");
}

/// A graph of up to `size` blocks; edges go from a block to later ones. Few offsets, constants and scratch words, so
/// that blocks have much in common.
fn random_graph(dice: &mut Dice, size: u64) -> Graph {
    let size = 2 + dice.roll(size);
    let statement = |dice: &mut Dice| {
        let small = dice.roll(4) as u32;
        let alu = [ADD, SUB, MUL, AND, OR, XOR, LSH, RSH][dice.roll(8) as usize];
        let width = [H, B, B][dice.roll(3) as usize];
        let (code, k) = match dice.roll(20) {
            0..5 => (LD | width | ABS, small),
            5 => (LD | width | IND, small),
            6 => (LD | IMM, small),
            7 => (LD | MEM, small % 3),
            8 => (LD | LEN, 0),
            9 => (LDX | B | MSH, small),
            10 => (LDX | MEM, small % 3),
            11 => (LDX | IMM, small),
            12 | 13 => (ST, small % 3),
            14 => (STX, small % 3),
            15 => (ALU | alu | K, small),
            16 => (ALU | alu | X, 0),
            17 => (ALU | if small == 0 { NEG } else { DIV } | K, small),
            18 => (MISC | TAX, 0),
            _ => (MISC | TXA, 0),
        };
        // Negation has no operand.
        let k = if code == ALU | NEG { 0 } else { k };
        Instruction::statement(code, k)
    };
    let mut blocks: Vec<Block> = (0..size)
        .map(|at| {
            let later = |dice: &mut Dice| BlockId((at + 1 + dice.roll((size + 3 - at - 1).min(5))) as u32);
            let test = [
                Comparison::Equal,
                Comparison::Equal,
                Comparison::Greater,
                Comparison::GreaterOrEqual,
                Comparison::AnyBit,
            ][dice.roll(5) as usize];
            let operand = if dice.roll(5) == 0 { Operand::X } else { Operand::Constant(dice.roll(3) as u32) };
            let end = if dice.roll(12) == 0 {
                End::Goto(later(dice))
            } else {
                End::Branch {
                    condition: Condition { test, operand },
                    then: later(dice),
                    otherwise: later(dice),
                }
            };
            // Most blocks of real filters load what they ask about.
            let mut statements: Vec<_> = (0..dice.roll(4)).map(|_| statement(dice)).collect();
            if dice.roll(2) == 0 {
                statements.push(Instruction::statement(LD | B | ABS, dice.roll(3) as u32));
            }
            Block { statements, end }
        })
        .collect();
    if dice.roll(2) == 0 {
        bend_into_chains(&mut blocks, dice);
    }
    blocks.push(Block { statements: Vec::new(), end: End::Return(5) });
    blocks.push(Block { statements: vec![statement(dice)], end: End::ReturnA });
    blocks.push(Block { statements: Vec::new(), end: End::Return(0) });
    Graph { blocks, entry: BlockId(0) }
}

/// Makes blocks more like those of filters: chains with common ways out, and the neighbours that `peephole` looks for.
fn bend_into_chains(blocks: &mut [Block], dice: &mut Dice) {
    let count = blocks.len() as u64;
    for (at, block) in (0..).zip(blocks) {
        if dice.roll(3) == 0 {
            block.statements.clear();
        }
        let load = Instruction::statement(LD | B | ABS, dice.roll(2) as u32);
        let k = dice.roll(4) as u32;
        match dice.roll(12) {
            0..3 => block.statements.push(load),
            3..6 => block.statements.extend([load, Instruction::statement(ALU | AND | K, k)]),
            6 => block.statements.extend([load, Instruction::statement(ALU | SUB | K, k)]),
            7 => block.statements.extend([
                Instruction::statement(LDX | MEM, 0),
                load,
                Instruction::statement(ALU | SUB | X, 0),
            ]),
            8 => block.statements.extend([
                Instruction::statement(LD | IMM, k),
                Instruction::statement(LDX | B | MSH, load.k),
                Instruction::statement(ALU | ADD | X, 0),
                Instruction::statement(MISC | TAX, 0),
                Instruction::statement(LD | B | IND, load.k),
            ]),
            9 => block.statements.push(Instruction::statement(ALU | MOD | X, 0)),
            10 => block.statements.push(Instruction::statement(ALU | DIV | X, 0)),
            _ => {}
        }
        if let End::Branch { condition, .. } = &mut block.end
            && dice.roll(2) == 0
        {
            condition.test = [Comparison::Equal, Comparison::AnyBit][dice.roll(2) as usize];
            condition.operand = Operand::Constant([0, 0, 1, 2, 3, 0x45, u32::MAX][dice.roll(7) as usize]);
        }
        if dice.roll(2) == 0 {
            // Behind the blocks here stand three that return.
            let far = (count + 2 - dice.roll(4)).max(at + 1);
            let (way, other) =
                if dice.roll(3) == 0 { (Way::Then, Way::Otherwise) } else { (Way::Otherwise, Way::Then) };
            block.end.turn(way, BlockId(far as u32));
            if let End::Branch { .. } = block.end {
                block.end.turn(other, BlockId(at as u32 + 1));
            }
        }
    }
}

/// Few different bytes, so that comparisons hold; long enough for every load, or of any length.
fn random_bytes(dice: &mut Dice, length: u64) -> Vec<u8> {
    (0..length).map(|_| [0, 0, 1, 2, 3, 0x45][dice.roll(6) as usize]).collect()
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(4000))]

    /// The program does what the graph says, on packets of every length.
    #[test]
    fn programs_do_what_graphs_say(seed: u64) {
        let mut dice = Dice(seed);
        let graph = random_graph(&mut dice, 30);
        let program = emit(&graph).unwrap();
        for _ in 0..20 {
            let length = dice.roll(12);
            let bytes = random_bytes(&mut dice, length);
            proptest::prop_assert_eq!(program.run(&Skb::of(&bytes)), interpret(&graph, &bytes, false).unwrap_or(0));
        }
    }

    /// Tidying changes no verdict on any packet.
    #[test]
    fn tidy_graphs_say_the_same(seed: u64) {
        let mut dice = Dice(seed);
        let graph = random_graph(&mut dice, 30);
        let mut tidied = graph.clone();
        tidy(&mut tidied);
        let program = emit(&tidied).unwrap();
        for _ in 0..40 {
            let length = dice.roll(12);
            let bytes = random_bytes(&mut dice, length);
            proptest::prop_assert_eq!(program.run(&Skb::of(&bytes)), interpret(&graph, &bytes, false).unwrap_or(0));
        }
    }

    /// Optimising changes no verdict on packets that no load leaves.
    #[test]
    fn optimised_graphs_say_the_same(seed: u64) {
        let mut dice = Dice(seed);
        let graph = random_graph(&mut dice, 30);
        let mut optimised = graph.clone();
        let program = match optimise(&mut optimised) {
            Ok(()) => emit(&optimised).unwrap(),
            Err(Error { kind: ErrorKind::RejectsAll, .. }) => Program::constant(0),
            Err(_) => return Ok(()),
        };
        for _ in 0..40 {
            let bytes = random_bytes(&mut dice, 12);
            // A load that leaves the packet or a division by 0 may go, if nobody needs its result.
            if let Ok(verdict) = interpret(&graph, &bytes, true) {
                proptest::prop_assert_eq!(program.run(&Skb::of(&bytes)), verdict);
            }
        }
    }
}
