//! From tokens to syntax: libpcap's grammar, with everything that its parser generator made of the ambiguities in it.
//!
//! One loop and a stack of what is still open; no recursion, so that nesting costs heap and is bounded by
//! [`MAX_OPEN`], as libpcap's is.
//!
//! ```text
//!    host a and not (tcp or 10 > len - ip[0])
//!    └────┬────┘ ▲   ▲           ▲
//!       written  │   │           stack:  And  Not  Open(Or..)  Relation  Minus  Index(ip)
//! ```
//!
//! What makes the language hard is that a parenthesis may open an expression, a list of identifiers, or arithmetic,
//! and that a bare number may be an identifier (`port 80 or 443`) or the beginning of a comparison (`80 < len`). What
//! is allowed at a place is a [`Place`]-less value, [`Expect`]; what an operand has turned out to be is an
//! [`Operand`]. The loop is here; [`operand`] and [`behind`] are its two halves.
//!
//! # What may stand where
//! - `and` and `or` bind alike, from the left; `not` binds tighter. Only *behind* an `and` or `or` may an identifier
//!   stand without qualifiers; it takes over those of the primitive before it, and there are none behind a primitive
//!   that has none (`tcp or 80`).
//! - A parenthesis behind qualifiers holds identifiers alone: `port (80 or 443)`. One behind `and` or `or` holds
//!   whatever its first operand decides: `host a and (b or c)`, `host a and (port 80 or 443)`, but not
//!   `host a and (b or port 80)`.
//! - Arithmetic has C's precedence, except that `%` and `^` have none: whatever follows them binds tighter, as it
//!   does in front of them.

mod behind;
mod operand;
#[cfg(test)]
mod tests;

use crate::advice::{self, Wanted};
use crate::error::{Error, ErrorKind};
use crate::lex::{self, Kind, Place, Sign, Token};
use crate::syntax::{Item, ItemKind, Primitive, Qualifiers};
use crate::tree::{Arith, Protocol, Relation, Value};
use crate::words::Family;

/// How many operators and parentheses may be open at once, counted as libpcap's parser does (`YYMAXDEPTH`): an `and`
/// waiting for its right side counts two, a parenthesis or `not` one.
const MAX_OPEN: usize = 9_995;

/// Longest expression. A program has 4096 instructions at most, and no primitive that makes one needs so many
/// letters; this bounds the compiler's memory to some hundred MB whatever it is given.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// Reads an expression; nothing at all is one as well.
///
/// # Errors
/// What is not in the language, at the first place where that shows.
pub(crate) fn parse(text: &str) -> Result<Vec<Item>, Error> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("the expression is {} bytes long; at most {MAX_TEXT_BYTES} are read", text.len()),
            0..0,
        ));
    }
    let tokens = lex::tokens(text);
    let mut parser = Parser {
        text,
        tokens: &tokens,
        at: 0,
        items: Vec::new(),
        values: Vec::new(),
        stack: Vec::new(),
        open: 0,
        qualifiers: None,
    };
    if parser.peek().kind != Kind::End {
        parser.expression()?;
    }
    Ok(parser.items)
}

/// The state of reading.
struct Parser<'t> {
    text: &'t str,
    tokens: &'t [Token],
    at: usize,
    /// What has been read, postfix.
    items: Vec<Item>,
    /// The arithmetic that is being read, postfix.
    values: Vec<Value>,
    /// What is open.
    stack: Vec<Pending>,
    /// The stack's depth as libpcap counts it.
    open: usize,
    /// The qualifiers that an identifier without any takes over at this place.
    qualifiers: Option<Qualifiers>,
}

/// Something that waits for an operand.
#[derive(Clone, Debug)]
enum Pending {
    /// A parenthesis; what was expected where it stands, and the qualifiers there.
    Open {
        place: Place,
        holds: Holds,
        expect: Expect,
        qualifiers: Option<Qualifiers>,
    },
    Not(Place),
    Join(ItemKind, Place),
    /// Qualifiers; their identifiers follow.
    Head,
    /// An operator, and where its left side begins.
    Binary(Arith, Place),
    Negate(Place),
    Index(Protocol, Place),
    /// A comparison, and where its right side begins in `values`; `from` is where the left side begins in the text.
    Relation {
        relation: Relation,
        split: usize,
        from: Place,
    },
}

/// What a parenthesis holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    /// Not known before the first operand is read.
    Undecided,
    /// An expression.
    Expression,
    /// Identifiers with `and` and `or` between.
    Identifiers,
    /// One number, perhaps in more parentheses.
    Number,
    /// Arithmetic.
    Arithmetic,
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// A primitive.
    Term,
    /// A primitive or an identifier; identifiers may be in parentheses.
    TermOrIdentifier,
    /// The same right behind a parenthesis: a further one cannot hold identifiers.
    First,
    /// An identifier.
    Identifier,
    /// The same right behind a parenthesis: a further one holds just a number.
    FirstIdentifier,
    /// A number or another parenthesis.
    Number,
    /// Arithmetic.
    Arithmetic,
}

/// What has just been read.
#[derive(Clone, Copy, Debug)]
enum Operand {
    /// A number, which may become an identifier or arithmetic.
    Number(u32, Place),
    /// Arithmetic, in `values`; where it begins.
    Arithmetic(Place),
    /// A primitive or expression, in `items`.
    Term,
    /// One or more identifiers, in `items`.
    Identifiers,
}

impl Parser<'_> {
    fn expression(&mut self) -> Result<(), Error> {
        let mut expect = Expect::Term;
        loop {
            let mut operand = loop {
                match self.operand(expect)? {
                    Step::Operand(operand) => break operand,
                    Step::Expect(next) => expect = next,
                }
            };
            // Behind an operand: operators go on, parentheses close, until something waits for the next operand.
            expect = loop {
                match self.behind(operand, expect)? {
                    Behind::Expect(next) => break next,
                    Behind::Operand(next, at) => (operand, expect) = (next, at),
                    Behind::Done => return Ok(()),
                }
            };
        }
    }

    fn peek(&self) -> Token {
        self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn next(&mut self) -> Token {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn take(&mut self, sign: Sign) -> bool {
        let found = self.peek().kind == Kind::Sign(sign);
        self.at += usize::from(found);
        found
    }

    fn push(&mut self, pending: Pending, place: Place) -> Result<(), Error> {
        self.open += weight(&pending);
        self.stack.push(pending);
        if self.open > MAX_OPEN {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("more than {MAX_OPEN} operators and parentheses are open here"),
                place.span(),
            ));
        }
        Ok(())
    }

    fn pop(&mut self) -> Option<Pending> {
        let pending = self.stack.pop()?;
        self.open -= weight(&pending);
        Some(pending)
    }

    fn emit(&mut self, kind: ItemKind, place: Place) {
        self.items.push(Item { kind, place });
    }

    fn primitive(&mut self, primitive: Primitive, place: Place) {
        self.emit(ItemKind::Primitive(primitive), place);
    }
}

/// What [`Parser::operand`] did.
enum Step {
    /// It read one whole.
    Operand(Operand),
    /// It read what stands in front of one.
    Expect(Expect),
}

/// What comes behind an operand.
enum Behind {
    /// Another operand, of that sort.
    Expect(Expect),
    /// Nothing yet: the operand has become part of this one, which stands where that was expected.
    Operand(Operand, Expect),
    /// The end.
    Done,
}

/// How many symbols libpcap's parser has on its stack for it.
fn weight(pending: &Pending) -> usize {
    match pending {
        Pending::Open { .. } | Pending::Not(_) | Pending::Head | Pending::Negate(_) => 1,
        Pending::Join(..) | Pending::Binary(..) | Pending::Index(..) | Pending::Relation { .. } => 2,
    }
}

fn wanted(expect: Expect) -> Wanted {
    match expect {
        Expect::Term | Expect::First | Expect::TermOrIdentifier => Wanted::Term,
        Expect::Identifier | Expect::FirstIdentifier => Wanted::Identifier,
        Expect::Number => Wanted::Other("a number"),
        Expect::Arithmetic => Wanted::Arithmetic,
    }
}

// Refusals.
impl Parser<'_> {
    fn unexpected(&self, wanted: Wanted) -> Error {
        advice::unexpected(self.text, self.tokens, self.at.min(self.tokens.len() - 1), wanted)
    }

    fn foreign(&self, family: Family, place: Place) -> Error {
        advice::foreign(family, place.of(self.text), place)
    }
}
