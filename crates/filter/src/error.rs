//! Why an expression was refused, and where.

use std::fmt;
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
}

impl fmt::Display for Error {
    /// The message alone; [`Error::render`] shows the place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
