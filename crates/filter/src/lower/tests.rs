//! Against libpcap's own unoptimised programs, instruction by instruction.

use std::path::{Path, PathBuf};

use crate::compile::{Link, Options, Snaplen, compile};
use crate::error::Error;
use crate::names::Names;
use crate::{Instruction, Program};

fn unoptimised(expression: &str, link: Link) -> Result<Program, Error> {
    let names = Names::default();
    let snaplen = Snaplen::Fixed(262_144);
    compile(expression, &Options { link, snaplen, optimise: false, netmask: 0, names: &names })
}

/// The data shared beside the repository, or a loud word that it is not there.
fn corpus() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let path = std::env::var_os("GANNET_CORPUS").map_or_else(beside, PathBuf::from);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!(
        "SKIPPED: no data at $GANNET_CORPUS or ../shared/data; programs were not compared with libpcap's"
    );
    None
}

/// One line of the list: an expression, a link type, the program if libpcap makes one.
struct Golden {
    expression: String,
    link: Link,
    program: Option<Vec<Instruction>>,
}

/// Reads what this list has of JSON: objects of strings, `null` and lists of numbers, the keys in a fixed order.
fn golden(line: &str) -> Option<Golden> {
    let string = |key: &str| {
        let start = line.find(&format!("\"{key}\": \""))? + key.len() + 5;
        let mut text = String::new();
        let mut characters = line[start..].chars();
        loop {
            match characters.next()? {
                '"' => return Some(text),
                '\\' => match characters.next()? {
                    'u' => {
                        let digits: String = characters.by_ref().take(4).collect();
                        text.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
                    }
                    other => text.push(other),
                },
                other => text.push(other),
            }
        }
    };
    let link = match string("dlt")?.as_str() {
        "ethernet" => Link::Ethernet,
        "sll" => Link::Sll,
        "sll2" => Link::Sll2,
        "raw" => Link::Raw,
        "null" => Link::Null,
        _ => return None,
    };
    let start = line.find("\"unopt\": ")? + 9;
    let list = &line[start..line.find(", \"err\"")?];
    let program = (list != "null").then(|| {
        let numbers: Vec<u32> = list
            .split(|c: char| !c.is_ascii_digit())
            .filter(|word| !word.is_empty())
            .map(|word| word.parse().unwrap())
            .collect();
        numbers.chunks(4).map(|i| Instruction::jump(i[0] as u16, i[3], i[1] as u8, i[2] as u8)).collect()
    });
    Some(Golden { expression: string("expr")?, link, program })
}

#[test]
fn unoptimised_programs_are_those_of_libpcap() {
    let Some(corpus) = corpus() else { return };
    let list = std::fs::read_to_string(corpus.join("expected/filters/filters-1.10.3.jsonl")).unwrap();
    let (mut equal, mut refused, mut faults) = (0, 0, Vec::new());
    for golden in list.lines().filter_map(golden) {
        let Golden { expression, link, program } = golden;
        match (unoptimised(&expression, link), program) {
            // libpcap's loop.
            (Ok(_), Some(_)) if expression.contains("protochain") => {}
            (Ok(ours), Some(theirs)) if ours.instructions() == theirs => equal += 1,
            (Ok(ours), Some(theirs)) => {
                faults.push(format!(
                    "{expression} on {link:?}:\nours\n{ours}\ntheirs\n{}",
                    Program::new(theirs).unwrap()
                ));
            }
            (Err(_), None) => refused += 1,
            (Ok(_), None) => faults.push(format!("{expression} on {link:?}: accepted")),
            (Err(error), Some(_)) => faults.push(format!("{expression} on {link:?}: {error}")),
        }
    }
    assert!(faults.is_empty(), "{} differ:\n{}", faults.len(), faults.join("\n"));
    assert!(
        equal > 400 && refused > 150,
        "{equal} programs were equal, {refused} expressions refused by both"
    );
}

/// libpcap's answer to drawn expressions, for every link type of files.
#[test]
fn drawn_expressions_have_the_unoptimised_programs_of_libpcap() {
    use gannet_testkit::filters::expression::Expressions;
    use gannet_testkit::filters::oracle::{Answer, LINKS, Optimiser, Oracle};

    let directory = tempfile::tempdir().unwrap();
    let Some(oracle) = Oracle::or_skip(directory.path()) else { return };
    let seed = std::env::var("GANNET_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let count = std::env::var("GANNET_EXPRESSIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(20);
    let (mut equal, mut faults) = (0, Vec::new());
    for link in LINKS {
        let mut expressions = Expressions::new(seed, link);
        for _ in 0..count {
            let expression = expressions.next_expression();
            if expression.contains("protochain") || expression.contains("byte") {
                continue;
            }
            let ours = unoptimised(&expression, convert(link));
            let theirs = oracle.compile(&expression, link, Optimiser::Off).unwrap();
            match (ours, theirs) {
                (Ok(ours), Answer::Program(theirs)) => {
                    let plain = |i: &Instruction| (i.code, i.jt, i.jf, i.k);
                    let ours: Vec<_> = ours.instructions().iter().map(plain).collect();
                    let theirs: Vec<_> =
                        theirs.instructions().iter().map(|i| (i.code, i.jt, i.jf, i.k)).collect();
                    // What Geneve has stored and other ways through the program load is set to 0 first.
                    let start = ours.iter().position(|i| !matches!(i.0, LD_NUMBER | STORE)).unwrap_or(0);
                    let same = (0..=start).any(|start| ours[start..] == theirs);
                    if same { equal += 1 } else { faults.push(format!("{link:?} programs: {expression}")) }
                }
                (Err(_), Answer::Refused(_)) => {}
                (Ok(_), Answer::Refused(why)) => {
                    faults.push(format!("{link:?} accepted: {expression}\n   {why}"))
                }
                (Err(why), _) => faults.push(format!("{link:?} refused: {expression}\n   {why}")),
                (Ok(_), Answer::RejectsAll) => {}
            }
        }
    }
    assert!(faults.is_empty(), "seed {seed}: {} differ, {equal} equal:\n{}", faults.len(), faults.join("\n"));
}

const LD_NUMBER: u16 = 0x00;
const STORE: u16 = 0x02;

/// The oracle's link types are of this crate as its users see it, which for the compiler is another crate than the
/// one under test.
fn convert(link: impl std::fmt::Debug) -> Link {
    match format!("{link:?}").as_str() {
        "Ethernet" => Link::Ethernet,
        "Raw" => Link::Raw,
        "Sll" => Link::Sll,
        "Sll2" => Link::Sll2,
        "Null" => Link::Null,
        "NullBigEndian" => Link::NullBigEndian,
        _ => Link::Loop,
    }
}

/// Twice the terms, about twice the time: chains of ways out are joined at their ends, not walked.
#[test]
fn long_expressions_take_linear_time() {
    use crate::tree::{Op, Protocol, Step, Test, Tree};

    let tree = |terms: usize, join: fn(usize) -> Op| {
        let mut steps = Vec::new();
        for term in 0..terms {
            steps.push(Step { op: Op::Test(Test::Protocol(Protocol::Tcp)), span: 0..3 });
            if term > 0 {
                steps.push(Step { op: join(term), span: 0..3 });
            }
            if term % 3 == 0 {
                steps.push(Step { op: Op::Not, span: 0..3 });
            }
        }
        Tree { steps }
    };
    let names = Names::default();
    let options = Options {
        link: Link::Ethernet,
        snaplen: Snaplen::Fixed(1),
        optimise: false,
        netmask: 0,
        names: &names,
    };
    let joins: [fn(usize) -> Op; 3] =
        [|_| Op::And, |_| Op::Or, |term| if term % 2 == 0 { Op::And } else { Op::Or }];
    for join in joins {
        let begun = std::time::Instant::now();
        let graph = super::lower(&tree(25_000, join), &options).unwrap();
        // Six blocks for each term, and the two ends. Walking the chains would take minutes.
        assert_eq!(graph.blocks.len(), 25_000 * 6 + 2);
        assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    }
}

#[test]
fn refusals_point_at_their_place() {
    use crate::error::ErrorKind;

    for (expression, link, kind, place) in [
        ("tcp and vlan 7", Link::Raw, ErrorKind::LinkType, "vlan 7"),
        ("tcp and ether host 1:2:3:4:5:6", Link::Sll, ErrorKind::LinkType, "ether host 1:2:3:4:5:6"),
        ("mpls and arp", Link::Ethernet, ErrorKind::LinkType, "arp"),
        ("mpls and vlan", Link::Ethernet, ErrorKind::LinkType, "vlan"),
        ("tcp or inbound", Link::Ethernet, ErrorKind::LinkType, "inbound"),
        ("pppoes and llc", Link::Ethernet, ErrorKind::LinkType, "llc"),
        ("tcp[0] = 1 or ip[1] + link[2] = 1", Link::Kernel, ErrorKind::LinkType, "link[2]"),
        ("ip[0] / 0 = 1", Link::Raw, ErrorKind::Meaning, "ip[0] / 0 = 1"),
        ("ip[0] << 32 = 1", Link::Raw, ErrorKind::Meaning, "ip[0] << 32 = 1"),
    ] {
        let error = unoptimised(expression, link).unwrap_err();
        assert_eq!((error.kind, &expression[error.span.clone()]), (kind, place), "{expression}: {error}");
    }
}

#[test]
fn the_seventeenth_value_is_refused() {
    let nested = |depth: usize| format!("{}ip[0]{} = 1", "1+(".repeat(depth), ")".repeat(depth));
    assert!(unoptimised(&nested(14), Link::Raw).is_ok());
    let error = unoptimised(&nested(15), Link::Raw).unwrap_err();
    assert_eq!(error.kind, crate::ErrorKind::TooLarge);
}
