//! `--where`: an expression over the fields of a record.
//!
//! The language is CEL, the Common Expression Language, whose names are nested at the dots as the record's are; the
//! crate `cel` parses it. What is parsed is compiled here and not interpreted there: a name that no record has, and a
//! number that is compared with a text, are errors before the capture begins instead of an expression that selects
//! nothing; a field that a record lacks is null, for which CEL has no order; and a record is not made into a map of
//! maps first, which would cost more than all the rest.
//!
//! ```text
//!   text ── cel ──► tree ── compile ──► Node, names of fields
//!                                         │          └─ extract ◄── Record
//!                                         └─ evaluate ◄──┘
//! ```

use std::fmt;
use std::sync::Arc;

use cel::parser::Parser;
use serde::Serialize;

use super::compile::{Compiled, Wrong, compile};
use super::evaluate::Scope;
use super::extract::Slots;

/// An expression that was understood. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Expression {
    compiled: Arc<Compiled>,
}

/// What evaluating an expression needs over and over.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    slots: Slots,
}

/// An expression that means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpressionError {
    what: String,
    text: String,
    /// In characters from the beginning of the text.
    at: usize,
}

impl Expression {
    /// Understands `text`.
    pub fn new(text: &str) -> Result<Self, ExpressionError> {
        let wrong = |what: String, at| ExpressionError { what, text: text.to_owned(), at };
        if text.len() > MAX_BYTES {
            return Err(wrong(format!("longer than {MAX_BYTES} bytes"), 0));
        }
        let parsed = Parser::new().parse_with_source_info(text).map_err(|errors| {
            // One mistake often makes several errors, of which the first is where it is.
            let first = errors.errors.into_iter().next();
            let (what, pos) = first.map_or((String::new(), (1, 1)), |error| (error.msg, error.pos));
            if text.trim().is_empty() {
                return wrong("the expression is empty".to_owned(), 0);
            }
            wrong(in_words(&what), place_of(text, pos))
        })?;
        let (tree, source) = parsed;
        let compiled = compile(&tree, &source).map_err(|Wrong { what, at }| {
            wrong(what, text.get(..at).map_or(0, |before| before.chars().count()))
        })?;
        Ok(Self { compiled: Arc::new(compiled) })
    }

    /// A field that it asks for and that records have of bodies that are kept only.
    #[must_use]
    pub fn field_of_body(&self) -> Option<&str> {
        self.compiled.of_body.as_deref()
    }

    /// The header fields that it asks for, in small letters.
    pub(super) fn headers(&self) -> &[String] {
        &self.compiled.headers
    }

    /// Whether it holds for `record`.
    pub(super) fn holds(&self, record: &impl Serialize, scratch: &mut Scratch) -> bool {
        let Compiled { root, wanted, slots, .. } = &*self.compiled;
        scratch.slots.fill(wanted, *slots, record);
        root.holds(&mut Scope { slots: &scratch.slots, variables: Vec::new() })
    }
}

impl fmt::Display for ExpressionError {
    /// What is wrong, the line where it is, and a mark below the place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before: String = self.text.chars().take(self.at).collect();
        let line_begin = before.rfind('\n').map_or(0, |at| at + 1);
        let line = self.text.get(line_begin..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let column = before.get(line_begin..).map_or(0, |before| before.chars().count());
        write!(f, "{}\n    {line}\n    {:column$}^", self.what, "")
    }
}

impl std::error::Error for ExpressionError {}

/// The parser's message as a sentence, without the list of all that it would have taken.
fn in_words(message: &str) -> String {
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let message = match message.find(" expecting ") {
        Some(at) => message.get(..at).unwrap_or(message),
        None => message,
    };
    let ends = || "the expression ends where more is wanted".to_owned();
    if let Some(input) =
        ["mismatched input ", "extraneous input "].iter().find_map(|way| message.strip_prefix(way))
    {
        let written = match input {
            _ if input.contains("<EOF>") => return ends(),
            "'and'" | "'AND'" => ": it is written &&",
            "'or'" | "'OR'" => ": it is written ||",
            "'not'" | "'NOT'" => ": it is written !",
            "'contains'" => ": it is written TEXT.contains(\"...\")",
            "'matches'" => ": it is written TEXT.matches(\"...\")",
            "'startsWith'" => ": it is written TEXT.startsWith(\"...\")",
            "'endsWith'" => ": it is written TEXT.endsWith(\"...\")",
            "'us'" | "'ms'" | "'s'" | "'m'" | "'h'" => ": times are as in duration(\"5ms\")",
            "'xx'" | "'XX'" => ": a class of statuses is >= 500 && < 600, or --status 5xx",
            "'/'" => ": a text has quotes around it",
            _ => "",
        };
        return format!("{input} is not expected here{written}");
    }
    if let Some((missing, _)) = message.strip_prefix("missing ").and_then(|rest| rest.split_once(" at ")) {
        return format!("{missing} is missing here");
    }
    if let Some(input) = message.strip_prefix("token recognition error at: '") {
        let input = input.strip_suffix('\'').unwrap_or(input).trim_end();
        return if input.starts_with(['\'', '"']) {
            "the text that begins here has no closing quote".to_owned()
        } else {
            let written = match input.chars().next() {
                Some('=') => ": equality is ==",
                Some('~') => ": regular expressions are TEXT.matches(\"...\")",
                Some('&') => ": both is &&",
                Some('|') => ": either is ||",
                _ => "",
            };
            format!("{input} means nothing here{written}")
        };
    }
    if message.starts_with("no viable alternative at input") {
        return if message.contains("<EOF>") { ends() } else { "this is not understood".to_owned() };
    }
    message.replace("<EOF>", "the end")
}

/// Line and column, both from 1, as characters from the beginning.
fn place_of(text: &str, (line, column): (isize, isize)) -> usize {
    let lines = text.split_inclusive('\n').take(usize::try_from(line - 1).unwrap_or(0));
    let before: usize = lines.map(|line| line.chars().count()).sum();
    before + usize::try_from(column - 1).unwrap_or(0)
}

/// Longer than anybody writes; the parser takes time and stack.
const MAX_BYTES: usize = 16 << 10;
