//! Why an expression was refused, and where.

use std::fmt::{self, Write as _};
use std::ops::Range;

/// Bytes of the expression, from the first to behind the last.
pub type Span = Range<usize>;

/// A refusal: one sentence, the place, and often what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What sort of refusal it is.
    pub kind: ErrorKind,
    /// What is wrong, without a full stop; begins in lower case.
    pub message: String,
    /// Where; empty at the end of the expression when something is missing there.
    pub span: Span,
    /// What to do about it: the near miss, the option that would allow it.
    pub help: Option<String>,
}

/// Sorts of refusals, in the order of the passes that find them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The words do not form an expression.
    Syntax,
    /// A host, port, protocol or network that nobody knows.
    UnknownName,
    /// Words that cannot go together, or a number out of range.
    Meaning,
    /// Something that this link type does not have.
    LinkType,
    /// No packet could pass: libpcap's "expression rejects all packets".
    RejectsAll,
    /// More than a classic BPF program, or this compiler, takes.
    TooLarge,
    /// A pass broke a promise to the next one: a fault of this compiler, never of the expression.
    Internal,
}

impl Error {
    /// A refusal of the bytes `span`.
    pub fn new(kind: ErrorKind, message: impl Into<String>, span: Span) -> Self {
        Self { kind, message: message.into(), span, help: None }
    }

    /// The same with advice.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The refusal for people: what is wrong, the expression with carets under the place, and the advice.
    ///
    /// ```text
    /// expected a primitive such as `port 80`, but there is `prot` here
    ///   tcp and prot 80
    ///           ^^^^
    /// help: did you mean `port 80`?
    /// ```
    ///
    /// Lines are ASCII and do not end in a line break. Of a long expression the part around the place is shown; line
    /// breaks and tabs are spaces there, other control characters and letters beyond ASCII are escaped.
    pub fn render(&self, text: &str) -> String {
        let start = floor_boundary(text, self.span.start);
        let end = floor_boundary(text, self.span.end).max(start);
        let (marked, marked_cut) = window_after(&text[start..end], MARKED_COLUMNS);
        let (before, before_cut) = window_before(&text[..start], CONTEXT_COLUMNS);
        let (after, after_cut) =
            if marked_cut { (String::new(), true) } else { window_after(&text[end..], CONTEXT_COLUMNS) };
        let (left, right) = (if before_cut { "..." } else { "" }, if after_cut { "..." } else { "" });
        let mut shown = self.message.clone();
        if !text.is_empty() {
            let line = format!("  {left}{before}{marked}{after}{right}");
            let indent = 2 + left.len() + before.len();
            let _ = write!(shown, "\n{}\n{:indent$}{}", line.trim_end(), "", "^".repeat(marked.len().max(1)));
        }
        if let Some(help) = &self.help {
            let _ = write!(shown, "\nhelp: {help}");
        }
        shown
    }
}

impl fmt::Display for Error {
    /// The message alone; [`Error::render`] shows the place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// How much of the expression is shown on either side of the place.
const CONTEXT_COLUMNS: usize = 40;

/// How much of the place itself is shown and underlined.
const MARKED_COLUMNS: usize = 60;

/// How much of a word is shown in a message.
const QUOTED_COLUMNS: usize = 48;

/// A piece of the expression for use in a message: ASCII, and not long.
pub(crate) fn quoted(piece: &str) -> String {
    let (shown, cut) = window_after(piece, QUOTED_COLUMNS);
    if cut { shown + "..." } else { shown }
}

/// The first columns of a text, and whether there are more.
fn window_after(text: &str, columns: usize) -> (String, bool) {
    let mut window = String::new();
    for letter in text.chars() {
        let before = window.len();
        push_ascii(&mut window, letter);
        if window.len() > columns {
            window.truncate(before);
            return (window, true);
        }
    }
    (window, false)
}

/// The last columns of a text, and whether there are more.
fn window_before(text: &str, columns: usize) -> (String, bool) {
    let mut letters = Vec::new();
    let mut width = 0;
    for letter in text.chars().rev() {
        let mut ascii = String::new();
        push_ascii(&mut ascii, letter);
        width += ascii.len();
        if width > columns {
            return (letters.into_iter().rev().collect(), true);
        }
        letters.push(ascii);
    }
    (letters.into_iter().rev().collect(), false)
}

fn push_ascii(to: &mut String, letter: char) {
    match letter {
        '\n' | '\r' | '\t' => to.push(' '),
        ' '..='~' => to.push(letter),
        other => to.extend(other.escape_default()),
    }
}

/// The nearest character boundary at or in front of a byte.
fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str, span: Span) -> String {
        Error::new(ErrorKind::Syntax, "wrong", span).with_help("right").render(text)
    }

    #[test]
    fn the_caret_is_under_the_place() {
        assert_eq!(
            rendered("tcp and prot 80", 8..12),
            "wrong\n  tcp and prot 80\n          ^^^^\nhelp: right"
        );
        assert_eq!(rendered("tcp and", 7..7), "wrong\n  tcp and\n         ^\nhelp: right");
        assert_eq!(rendered("", 0..0), "wrong\nhelp: right");
    }

    #[test]
    fn what_is_no_plain_letter_does_not_move_the_caret() {
        assert_eq!(
            rendered("\u{e9}\tx\n\u{1b}", 3..4),
            "wrong\n  \\u{e9} x \\u{1b}\n         ^\nhelp: right"
        );
    }

    #[test]
    fn a_long_expression_is_cut_around_the_place() {
        let text = format!("{}HERE{}", "a".repeat(500), "b".repeat(500));
        let shown = rendered(&text, 500..504);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[1], format!("  ...{}HERE{}...", "a".repeat(40), "b".repeat(40)));
        assert_eq!(lines[2], format!("{}^^^^", " ".repeat(45)));
        assert!(rendered(&text, 0..1004).lines().all(|line| line.len() < 80));
    }
}
