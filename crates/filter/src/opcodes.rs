//! Programs as lists of numbers: what other tools print and take, read and written.
//!
//! | form | written by | looks like |
//! | --- | --- | --- |
//! | decimal | `tcpdump -ddd`, `bpfc -f tcpdump` | the count on a line, then `40 0 0 12` for each instruction |
//! | C | `tcpdump -dd`, `bpfc`, `bpf_asm -c` | `{ 0x28, 0, 0, 0x0000000c },`, also inside `struct sock_filter code[] = { ... };` |
//! | one line | `bpf_asm`, `nfbpf_compile`, for xt_bpf and tc | `4,48 0 0 9,21 0 1 6,6 0 0 1,6 0 0 0` |
//!
//! The four numbers are those of [`Instruction`]: code, jt, jf, k; decimal, or hexadecimal after `0x`. Blank lines and
//! comments (`#`, `;`, `//` to the end of the line, `/* */`) are stepped over. What was read is a checked
//! [`Program`], so a list that the kernel would refuse is refused here, with the line of the instruction.

use std::fmt;

use thiserror::Error;

use crate::bpf::insn::MAX_INSTRUCTIONS;
use crate::bpf::{Instruction, Program, ProgramError};

/// Reads a program in any of the forms.
///
/// # Errors
/// What was expected at which line.
pub fn parse(text: &str) -> Result<Program, OpcodeError> {
    let text = without_comments(text);
    let mut list = List::default();
    match form(&text) {
        Some(Form::Counted) => list.read_counted(&text)?,
        Some(Form::C) => list.read_c(&text)?,
        None => {
            let found = text.split_whitespace().next();
            let line = line_of(&text, text.len() - text.trim_start().len());
            return Err(OpcodeError { line, problem: Problem::NoList { found: found.map(shortened) } });
        }
    }
    list.check()
}

/// Whether a text is meant as a list of opcodes, well-formed or not; else it is a filter expression.
///
/// No expression begins with a brace, with a number and a comma, or with a line of its own for a number and another
/// number behind it, so this cannot take one for a list.
pub fn is_list(text: &str) -> bool {
    form(&without_comments(text)).is_some()
}

/// As `tcpdump -ddd` prints a program: the count, then an instruction on each line. The last line ends in a line feed.
#[derive(Clone, Copy, Debug)]
pub struct Decimal<'a>(pub &'a Program);

impl fmt::Display for Decimal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instructions = self.0.instructions();
        writeln!(f, "{}", instructions.len())?;
        instructions
            .iter()
            .try_for_each(|insn| writeln!(f, "{} {} {} {}", insn.code, insn.jt, insn.jf, insn.k))
    }
}

/// As `tcpdump -dd` prints a program: the initialisers of an array in C. The last line ends in a line feed.
#[derive(Clone, Copy, Debug)]
pub struct CSource<'a>(pub &'a Program);

impl fmt::Display for CSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.instructions().iter().try_for_each(|insn| {
            writeln!(f, "{{ {:#x}, {}, {}, {:#010x} }},", insn.code, insn.jt, insn.jf, insn.k)
        })
    }
}

/// Why a list of opcodes is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {problem}")]
pub struct OpcodeError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a list of opcodes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Problem {
    /// It begins like none of the forms.
    #[error("expected a list of opcodes: a count, or {{ code, jt, jf, k }}{}", but_found(found.as_deref()))]
    NoList {
        /// The first word, if there is one.
        found: Option<String>,
    },
    /// Not four numbers.
    #[error("expected the four numbers code, jt, jf and k of an instruction, found {found}")]
    NotFour {
        /// How many there are.
        found: usize,
    },
    /// A word that is no number.
    #[error("expected a number for {field}, found '{word}'")]
    NotANumber {
        /// Which of the four, or the count.
        field: &'static str,
        /// The word.
        word: String,
    },
    /// A number that its field does not hold.
    #[error("{field} is at most {most}, found {found}")]
    TooLarge {
        /// Which of the four.
        field: &'static str,
        /// What the field holds.
        most: u32,
        /// What is written.
        found: u64,
    },
    /// The count is not that of the instructions.
    #[error("expected {count} instructions, as the list begins with that number, found {found}")]
    Count {
        /// What the list says.
        count: u64,
        /// How many there are.
        found: usize,
    },
    /// A brace that is not closed.
    #[error("expected '}}' behind the instruction")]
    Unclosed,
    /// Something between or behind the instructions.
    #[error("expected {{ code, jt, jf, k }} or the end of the list, found '{word}'")]
    Stray {
        /// What is written.
        word: String,
    },
    /// Opcodes, but no program that the kernel takes.
    #[error(transparent)]
    Program(#[from] ProgramError),
}

fn but_found(found: Option<&str>) -> String {
    found.map_or_else(|| ", found nothing".to_owned(), |word| format!(", found '{word}'"))
}

enum Form {
    /// A count, then instructions parted by line ends or commas.
    Counted,
    /// Instructions in braces.
    C,
}

/// The form of a text without comments, by its first words.
fn form(text: &str) -> Option<Form> {
    let text = text.trim_start();
    if text.starts_with('{') {
        return Some(Form::C);
    }
    let declaration = ["struct", "static", "const"].iter().any(|word| text.starts_with(word));
    if declaration && text.contains('{') {
        return Some(Form::C);
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let behind = text.get(digits..).unwrap_or_default();
    let separator = behind.trim_start_matches([' ', '\t', '\r']);
    let next = separator.trim_start();
    match separator.as_bytes().first() {
        _ if digits == 0 => None,
        Some(b',') => Some(Form::Counted),
        None => Some(Form::Counted),
        Some(b'\n') if next.is_empty() || next.starts_with(|c: char| c.is_ascii_digit()) => {
            Some(Form::Counted)
        }
        _ => None,
    }
}

/// The instructions read so far, and where each of them stands.
#[derive(Default)]
struct List {
    instructions: Vec<Instruction>,
    lines: Vec<usize>,
}

impl List {
    fn read_counted(&mut self, text: &str) -> Result<(), OpcodeError> {
        let mut count = None;
        for (line, text) in numbered(text) {
            for words in text.split(',') {
                if words.trim().is_empty() {
                    continue;
                }
                match count {
                    None => count = Some((line, number(line, "the count", words.trim())?)),
                    Some(_) => self.push(line, words.split_whitespace())?,
                }
            }
        }
        let found = self.instructions.len();
        match count {
            Some((line, count)) if count != found as u64 => {
                Err(OpcodeError { line, problem: Problem::Count { count, found } })
            }
            _ => Ok(()),
        }
    }

    fn read_c(&mut self, text: &str) -> Result<(), OpcodeError> {
        // A declaration has a brace of its own in front of the first instruction's.
        let (first, declared) = match text.find('{') {
            Some(brace) if !text.get(..brace).unwrap_or_default().trim().is_empty() => (brace + 1, true),
            Some(brace) => (brace, false),
            None => (0, false),
        };
        let mut at = first;
        let mut ended = false;
        loop {
            let rest = text.get(at..).unwrap_or_default();
            let skipped = rest.len() - rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',').len();
            at += skipped;
            let rest = text.get(at..).unwrap_or_default();
            let line = line_of(text, at);
            match rest.as_bytes().first() {
                None => return Ok(()),
                Some(b'{') if !ended => {
                    let inside = rest.get(1..).unwrap_or_default();
                    let len = inside.find(['{', '}']).unwrap_or(inside.len());
                    if inside.as_bytes().get(len) != Some(&b'}') {
                        return Err(OpcodeError { line, problem: Problem::Unclosed });
                    }
                    let inside = inside.get(..len).unwrap_or_default();
                    self.push(line, inside.split(',').map(str::trim).filter(|word| !word.is_empty()))?;
                    at += len + 2;
                }
                Some(b'}') if declared && !ended => {
                    ended = true;
                    at += 1;
                }
                Some(b';') if ended => at += 1,
                Some(_) => {
                    let word = rest.split_whitespace().next().unwrap_or_default();
                    return Err(OpcodeError { line, problem: Problem::Stray { word: shortened(word) } });
                }
            }
        }
    }

    fn push<'a>(
        &mut self,
        line: usize,
        words: impl Iterator<Item = &'a str> + Clone,
    ) -> Result<(), OpcodeError> {
        let found = words.clone().count();
        let mut words = words;
        let [Some(code), Some(jt), Some(jf), Some(k), None] = std::array::from_fn(|_| words.next()) else {
            return Err(OpcodeError { line, problem: Problem::NotFour { found } });
        };
        self.instructions.push(Instruction {
            code: fitting(line, "code", code, u16::MAX.into())? as u16,
            jt: fitting(line, "jt", jt, u8::MAX.into())? as u8,
            jf: fitting(line, "jf", jf, u8::MAX.into())? as u8,
            k: fitting(line, "k", k, u32::MAX)?,
        });
        self.lines.push(line);
        if self.instructions.len() > MAX_INSTRUCTIONS {
            let problem = Problem::Program(ProgramError::Length(self.instructions.len()));
            return Err(OpcodeError { line, problem });
        }
        Ok(())
    }

    fn check(self) -> Result<Program, OpcodeError> {
        Program::new(self.instructions).map_err(|error| {
            let line = error.at().and_then(|at| self.lines.get(at)).or(self.lines.last());
            OpcodeError { line: line.copied().unwrap_or(1), problem: Problem::Program(error) }
        })
    }
}

/// A number that is at most `most`.
fn fitting(line: usize, field: &'static str, word: &str, most: u32) -> Result<u32, OpcodeError> {
    let found = number(line, field, word)?;
    match u32::try_from(found) {
        Ok(value) if value <= most => Ok(value),
        _ => Err(OpcodeError { line, problem: Problem::TooLarge { field, most, found } }),
    }
}

fn number(line: usize, field: &'static str, word: &str) -> Result<u64, OpcodeError> {
    let hexadecimal = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
    let (digits, radix) = hexadecimal.map_or((word, 10), |digits| (digits, 16));
    // `from_str_radix` takes a sign.
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(digits, radix)
        .ok()
        .filter(|_| plain)
        .ok_or_else(|| OpcodeError { line, problem: Problem::NotANumber { field, word: shortened(word) } })
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes().iter().take(at).filter(|&&byte| byte == b'\n').count()
}

/// A word of a foreign file, cut to what fits a sentence.
fn shortened(word: &str) -> String {
    word.chars().take(LONGEST_WORD).collect()
}

/// The text with its comments turned into blanks; lines keep their numbers.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let comment =
            if first == '#' || first == ';' && !is_end_of_declaration(&out) || rest.starts_with("//") {
                rest.find('\n').unwrap_or(rest.len())
            } else if rest.starts_with("/*") {
                rest.find("*/").map_or(rest.len(), |end| end + 2)
            } else {
                out.push(first);
                rest = rest.get(first.len_utf8()..).unwrap_or_default();
                continue;
            };
        let (comment, behind) = rest.split_at(comment);
        out.extend(comment.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = behind;
    }
    out
}

/// In C a semicolon behind a brace ends the declaration; everywhere else it begins one of bpfc's comments.
fn is_end_of_declaration(before: &str) -> bool {
    before.trim_end().ends_with('}')
}

/// Characters of a foreign word that an error shows.
const LONGEST_WORD: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> Vec<[u32; 4]> {
        let program = parse(text).unwrap();
        program.instructions().iter().map(|i| [i.code.into(), i.jt.into(), i.jf.into(), i.k]).collect()
    }

    fn refused(text: &str) -> String {
        assert!(is_list(text) || text.trim().is_empty() || text.starts_with('x'), "{text}");
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn every_form_gives_the_same_program() {
        let expected = vec![[48, 0, 0, 9], [21, 0, 1, 6], [6, 0, 0, 1], [6, 0, 0, 0]];
        for text in [
            "4\n48 0 0 9\n21 0 1 6\n6 0 0 1\n6 0 0 0\n",
            "4\r\n48 0 0 9\r\n21 0 1 6\r\n6 0 0 1\r\n6 0 0 0",
            "4,48 0 0 9,21 0 1 6,6 0 0 1,6 0 0 0",
            "4,48 0 0 9,21 0 1 6,6 0 0 1,6 0 0 0,\n",
            "{ 0x30, 0, 0, 0x00000009 },\n{ 0x15, 0, 1, 0x00000006 },\n{ 0x6, 0, 0, 0x00000001 },\n{ 0x6, 0, 0, 0x00000000 },\n",
            "{0x30,0,0,9},{0x15,0,1,6}, {6,0,0,1},{6,0,0,0}",
            "struct sock_filter code[] = {\n\t{ 0x30,  0,  0, 0x00000009 },\n{ 0x15, 0, 1, 6 }, { 6, 0, 0, 1 },\n\t{ 0x06, 0, 0, 0 },\n};\n",
            "# tcp in raw IP\n\n4\n48 0 0 9 ; the protocol\n\n/* is\nit */ 21 0 1 6 // six?\n  6 0 0 1\n6 0 0 0 # no",
        ] {
            assert!(is_list(text), "{text}");
            assert_eq!(words(text), expected, "{text}");
        }
    }

    #[test]
    fn expressions_are_no_lists() {
        for text in [
            "",
            "tcp",
            "port 80",
            "# ports\nport 80",
            "10.0.0.1",
            "4 < ip[8]",
            "1:2:3:4:5:6",
            "structure",
            "4 and 5",
            "net 10",
            "(tcp)",
            "8\n< ip[8]",
            "static.example.org",
            "4/8",
        ] {
            assert!(!is_list(text), "{text}");
        }
    }

    #[test]
    fn errors_name_the_line_and_what_was_expected() {
        assert_eq!(
            refused("2\n6 0 0 1\n"),
            "line 1: expected 2 instructions, as the list begins with that number, found 1"
        );
        assert_eq!(
            refused("1\n\n6 0 0\n"),
            "line 3: expected the four numbers code, jt, jf and k of an instruction, found 3"
        );
        assert_eq!(refused("1,6 0 zero 0"), "line 1: expected a number for jf, found 'zero'");
        assert_eq!(refused("1,6 0 0 +1"), "line 1: expected a number for k, found '+1'");
        assert_eq!(refused("1,6 0 0 0x"), "line 1: expected a number for k, found '0x'");
        assert_eq!(refused("1\n6 256 0 1"), "line 2: jt is at most 255, found 256");
        assert_eq!(refused("1\n6 0 0 4294967296"), "line 2: k is at most 4294967295, found 4294967296");
        assert_eq!(
            refused("{ 0x6, 0, 0, 1 }\n{ 0x6, 0, 0, 1"),
            "line 2: expected '}' behind the instruction"
        );
        assert_eq!(
            refused("{ 0x6, 0, 0 },"),
            "line 1: expected the four numbers code, jt, jf and k of an instruction, found 3"
        );
        assert_eq!(
            refused("{ 0x6, 0, 0, 1 }, and"),
            "line 1: expected { code, jt, jf, k } or the end of the list, found 'and'"
        );
        assert_eq!(refused("2\n21 5 0 1\n6 0 0 1\n"), "line 2: instruction 0: jump out of the program");
        assert_eq!(refused("1\n40 0 0 12\n"), "line 2: the last instruction is no return");
        assert_eq!(refused("0\n"), "line 1: a program has 1 to 4096 instructions, this one 0");
        assert_eq!(
            refused("x"),
            "line 1: expected a list of opcodes: a count, or { code, jt, jf, k }, found 'x'"
        );
        assert_eq!(
            refused(" "),
            "line 1: expected a list of opcodes: a count, or { code, jt, jf, k }, found nothing"
        );
        let long = format!("5000\n{}", "6 0 0 1\n".repeat(5000));
        assert_eq!(refused(&long), "line 4098: a program has 1 to 4096 instructions, this one 4097");
    }

    #[test]
    fn written_as_tcpdump_writes() {
        // `tcpdump -y EN10MB -dd` and `-ddd` of `ip[0]=0x18`, 4.99.3.
        let decimal = "6\n40 0 0 12\n21 0 3 2048\n48 0 0 14\n21 0 1 24\n6 0 0 262144\n6 0 0 0\n";
        let source = "\
{ 0x28, 0, 0, 0x0000000c },
{ 0x15, 0, 3, 0x00000800 },
{ 0x30, 0, 0, 0x0000000e },
{ 0x15, 0, 1, 0x00000018 },
{ 0x6, 0, 0, 0x00040000 },
{ 0x6, 0, 0, 0x00000000 },
";
        let program = parse(decimal).unwrap();
        assert_eq!(Decimal(&program).to_string(), decimal);
        assert_eq!(CSource(&program).to_string(), source);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(loads in proptest::collection::vec(any::<u32>(), 0..20)) {
            let mut code: Vec<Instruction> = loads.iter().map(|&k| Instruction::statement(0, k)).collect();
            code.push(Instruction::statement(6, 1));
            let program = Program::new(code).unwrap();
            prop_assert_eq!(&parse(&Decimal(&program).to_string()).unwrap(), &program);
            prop_assert_eq!(&parse(&CSource(&program).to_string()).unwrap(), &program);
            let line = Decimal(&program).to_string().trim_end().replace('\n', ",");
            prop_assert_eq!(&parse(&line).unwrap(), &program);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9a-fx{},; \n/*#é]{0,60}") {
            let read = parse(&text);
            prop_assert!(read.is_err() || is_list(&text));
        }
    }
}
