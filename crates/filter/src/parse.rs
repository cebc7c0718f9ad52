//! From tokens to syntax: libpcap's grammar, with everything that its parser generator made of the ambiguities in it.
//!
//! One loop and a stack of what is still open; no recursion, so that nesting costs heap and is bounded by [`MAX_OPEN`], as libpcap's is.
//!
//! ```text
//!    host a and not (tcp or 10 > len - ip[0])
//!    └────┬────┘ ▲   ▲           ▲
//!       written  │   │           stack:  And  Not  Open(Or..)  Relation  Minus  Index(ip)
//! ```
//!
//! What makes the language hard is that a parenthesis may open an expression, a list of identifiers, or arithmetic, and that a bare number
//! may be an identifier (`port 80 or 443`) or the beginning of a comparison (`80 < len`). What is allowed at a place is a [`Place`]-less
//! value, [`Expect`]; what an operand has turned out to be is an [`Operand`].
//!
//! # What may stand where
//! - `and` and `or` bind alike, from the left; `not` binds tighter. Only *behind* an `and` or `or` may an identifier stand without qualifiers;
//!   it takes over those of the primitive before it, and there are none behind a primitive that has none (`tcp or 80`).
//! - A parenthesis behind qualifiers holds identifiers alone: `port (80 or 443)`. One behind `and` or `or` holds whatever its first operand
//!   decides: `host a and (b or c)`, `host a and (port 80 or 443)`, but not `host a and (b or port 80)`.
//! - Arithmetic has C's precedence, except that `%` and `^` have none: whatever follows them binds tighter, as it does in front of them.

use crate::advice::{self, Wanted};
use crate::error::{Error, ErrorKind};
use crate::lex::{self, Kind, Place, Sign, Token};
use crate::syntax::{Identifier, IdentifierKind, Item, ItemKind, Primitive, Qualifiers, Sort, Tag};
use crate::tree::{Arith, Arithmetic, ByteOperation, Direction, Protocol, Relation, Value};
use crate::words::{Family, Word};

/// How many operators and parentheses may be open at once, counted as libpcap's parser does (`YYMAXDEPTH`): an `and` waiting for its
/// right side counts two, a parenthesis or `not` one.
const MAX_OPEN: usize = 9_995;

/// Longest expression. A program has 4096 instructions at most, and no primitive that makes one needs so many letters; this bounds the
/// compiler's memory to some hundred MB whatever it is given.
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

// Operands.
impl Parser<'_> {
    fn operand(&mut self, expect: Expect) -> Result<Step, Error> {
        let token = self.peek();
        let term = matches!(expect, Expect::Term | Expect::TermOrIdentifier | Expect::First);
        let identifier = matches!(
            expect,
            Expect::TermOrIdentifier | Expect::First | Expect::Identifier | Expect::FirstIdentifier
        );
        match token.kind {
            Kind::Sign(Sign::Open) => {
                self.next();
                let (holds, next) = match expect {
                    Expect::Term | Expect::First => (Holds::Undecided, Expect::Term),
                    Expect::TermOrIdentifier => (Holds::Undecided, Expect::First),
                    Expect::Identifier => (Holds::Identifiers, Expect::FirstIdentifier),
                    Expect::FirstIdentifier | Expect::Number => (Holds::Number, Expect::Number),
                    Expect::Arithmetic => (Holds::Arithmetic, Expect::Arithmetic),
                };
                let qualifiers = self.qualifiers;
                self.push(Pending::Open { place: token.place, holds, expect, qualifiers }, token.place)?;
                Ok(Step::Expect(next))
            }
            Kind::Sign(Sign::Not) if term || identifier => {
                self.next();
                self.push(Pending::Not(token.place), token.place)?;
                Ok(Step::Expect(match expect {
                    Expect::First => Expect::TermOrIdentifier,
                    Expect::FirstIdentifier => Expect::Identifier,
                    other => other,
                }))
            }
            Kind::Number(number) => {
                self.next();
                if expect == Expect::Arithmetic {
                    self.values.push(Value::Number(number));
                    return Ok(Step::Operand(Operand::Arithmetic(token.place)));
                }
                Ok(Step::Operand(Operand::Number(number, token.place)))
            }
            Kind::Sign(Sign::Minus) if term || expect == Expect::Arithmetic => {
                self.next();
                self.push(Pending::Negate(token.place), token.place)?;
                Ok(Step::Expect(Expect::Arithmetic))
            }
            Kind::Word(Word::Length) if term || expect == Expect::Arithmetic => {
                self.next();
                self.values.push(Value::Length);
                Ok(Step::Operand(Operand::Arithmetic(token.place)))
            }
            Kind::Word(Word::Protocol(protocol)) if term || expect == Expect::Arithmetic => {
                self.next();
                if self.take(Sign::OpenBracket) {
                    self.push(Pending::Index(protocol, token.place), token.place)?;
                    return Ok(Step::Expect(Expect::Arithmetic));
                }
                if !term {
                    return Err(self.unexpected(Wanted::Other("`[` and the offset of the bytes to look at")));
                }
                self.protocol(protocol, token.place)
            }
            Kind::Word(word) if term => self.keyword(word, token.place),
            Kind::Name { escaped: false } if term && token.place.of(self.text) == "vxlan" => {
                self.next();
                self.tagged(Tag::Vxlan, token.place)
            }
            Kind::Name { .. } | Kind::Dotted | Kind::Ip6(_) | Kind::Mac(_) if identifier => {
                let Some(identifier) = self.identifier()? else {
                    return Err(self.unexpected(wanted(expect)));
                };
                self.qualified(identifier)?;
                Ok(Step::Operand(Operand::Identifiers))
            }
            _ => Err(self.unexpected(wanted(expect))),
        }
    }

    /// Behind a protocol's keyword that no bracket follows.
    fn protocol(&mut self, protocol: Protocol, place: Place) -> Result<Step, Error> {
        match self.peek().kind {
            Kind::Word(Word::Broadcast | Word::Multicast) => self.cast(Some(protocol), place),
            Kind::Word(
                Word::Source
                | Word::Destination
                | Word::Host
                | Word::Net
                | Word::Port
                | Word::Portrange
                | Word::Proto
                | Word::Protochain
                | Word::Gateway,
            ) => self.head(Some(protocol), place),
            Kind::Word(Word::Foreign(family)) => Err(self.foreign(family, self.peek().place)),
            // An identifier right behind a protocol, as in `ether 00:...`, is no head: it needs a direction or a sort.
            _ => {
                self.primitive(Primitive::Protocol(protocol), place);
                self.qualifiers = None;
                Ok(Step::Operand(Operand::Term))
            }
        }
    }

    fn cast(&mut self, protocol: Option<Protocol>, from: Place) -> Result<Step, Error> {
        let token = self.next();
        let primitive = match token.kind {
            Kind::Word(Word::Broadcast) => Primitive::Broadcast(protocol),
            _ => Primitive::Multicast(protocol),
        };
        Ok(self.term(primitive, from.to(token.place)))
    }

    fn term(&mut self, primitive: Primitive, place: Place) -> Step {
        self.primitive(primitive, place);
        self.qualifiers = None;
        Step::Operand(Operand::Term)
    }

    /// A keyword at the beginning of a primitive.
    fn keyword(&mut self, word: Word, place: Place) -> Result<Step, Error> {
        match word {
            Word::Source
            | Word::Destination
            | Word::Host
            | Word::Net
            | Word::Port
            | Word::Portrange
            | Word::Proto
            | Word::Protochain
            | Word::Gateway => return self.head(None, place),
            Word::Broadcast | Word::Multicast => return self.cast(None, place),
            Word::Foreign(family) => return Err(self.foreign(family, place)),
            Word::Mask => return Err(self.unexpected(wanted(Expect::Term))),
            _ => {}
        }
        self.next();
        Ok(match word {
            Word::Inbound => self.term(Primitive::Inbound, place),
            Word::Outbound => self.term(Primitive::Outbound, place),
            Word::Pppoed => self.term(Primitive::Pppoed, place),
            Word::Less => {
                let (number, last) = self.plain_number("the length in bytes")?;
                self.term(Primitive::Less(number), place.to(last))
            }
            Word::Greater => {
                let (number, last) = self.plain_number("the length in bytes")?;
                self.term(Primitive::Greater(number), place.to(last))
            }
            Word::Ifindex => {
                let (number, last) = self.plain_number("the index of an interface")?;
                self.term(Primitive::Ifindex(number), place.to(last))
            }
            Word::Byte => {
                let (offset, _) = self.plain_number("the offset of a byte")?;
                let operation = match self.peek().kind {
                    Kind::Sign(Sign::Equal) => ByteOperation::Equal,
                    Kind::Sign(Sign::Less) => ByteOperation::Less,
                    Kind::Sign(Sign::Greater) => ByteOperation::Greater,
                    Kind::Sign(Sign::Ampersand) => ByteOperation::And,
                    Kind::Sign(Sign::Bar) => ByteOperation::Or,
                    _ => return Err(self.unexpected(Wanted::Other("one of `=` `<` `>` `&` `|`"))),
                };
                self.next();
                let (value, last) = self.plain_number("the value to compare with")?;
                self.term(Primitive::Byte(offset, operation, value), place.to(last))
            }
            Word::Llc => {
                let kind = self.peek();
                let named = match kind.kind {
                    Kind::Name { .. } => true,
                    Kind::Word(Word::Foreign(Family::Pf)) => {
                        matches!(kind.place.of(self.text), "rnr" | "rulenum")
                    }
                    _ => false,
                };
                if !named {
                    return Ok(self.term(Primitive::Llc(None), place));
                }
                self.next();
                self.term(Primitive::Llc(Some(self.name(kind))), place.to(kind.place))
            }
            Word::Vlan => return self.tagged(Tag::Vlan, place),
            Word::Mpls => return self.tagged(Tag::Mpls, place),
            Word::Pppoes => return self.tagged(Tag::Pppoes, place),
            Word::Geneve => return self.tagged(Tag::Geneve, place),
            _ => return Err(self.unexpected(wanted(Expect::Term))),
        })
    }

    /// Behind `vlan` and the like: perhaps a number, perhaps in parentheses.
    fn tagged(&mut self, tag: Tag, place: Place) -> Result<Step, Error> {
        let first = self.peek();
        let mut open = 0;
        while self.take(Sign::Open) {
            open += 1;
        }
        let number = match self.peek().kind {
            Kind::Number(number) => Some(number),
            _ if open == 0 => None,
            _ => return Err(self.unexpected(Wanted::Other("a number"))),
        };
        let Some(number) = number else { return Ok(self.term(Primitive::Tagged(tag, None), place)) };
        if self.open + open > MAX_OPEN {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "too many parentheses are open here",
                first.place.span(),
            ));
        }
        let mut last = self.next().place;
        for _ in 0..open {
            last = self.peek().place;
            if !self.take(Sign::Close) {
                return Err(self.unexpected(Wanted::Other("`)`")));
            }
        }
        Ok(self.term(Primitive::Tagged(tag, Some((number, first.place.to(last)))), place.to(last)))
    }

    fn plain_number(&mut self, what: &'static str) -> Result<(u32, Place), Error> {
        let token = self.peek();
        let Kind::Number(number) = token.kind else { return Err(self.unexpected(Wanted::Other(what))) };
        self.next();
        Ok((number, token.place))
    }

    /// Qualifiers, from the first that is not a protocol.
    fn head(&mut self, protocol: Option<Protocol>, from: Place) -> Result<Step, Error> {
        let mut last = from;
        let mut direction = Direction::Either;
        let mut directed = false;
        if let Kind::Word(word @ (Word::Source | Word::Destination)) = self.peek().kind {
            directed = true;
            last = self.next().place;
            direction = if word == Word::Source { Direction::Source } else { Direction::Destination };
            let joined = match self.peek().kind {
                Kind::Sign(Sign::AndAlso) => Some(Direction::Both),
                Kind::Sign(Sign::OrElse) => Some(Direction::Either),
                _ => None,
            };
            if let Some(joined) = joined {
                self.next();
                let (other, wanted) = match word {
                    Word::Source => (Word::Destination, "`dst`"),
                    _ => (Word::Source, "`src`"),
                };
                if self.peek().kind != Kind::Word(other) {
                    return Err(self.unexpected(Wanted::Other(wanted)));
                }
                last = self.next().place;
                direction = joined;
            }
        }
        let token = self.peek();
        let sort = match token.kind {
            Kind::Word(Word::Host) => Sort::Host,
            Kind::Word(Word::Net) => Sort::Net,
            Kind::Word(Word::Port) => Sort::Port,
            Kind::Word(Word::Portrange) => Sort::Portrange,
            Kind::Word(Word::Proto) if !directed => Sort::Proto,
            Kind::Word(Word::Protochain) if !directed => Sort::Protochain,
            Kind::Word(Word::Gateway) if !directed => Sort::Gateway,
            Kind::Word(Word::Foreign(family)) => return Err(self.foreign(family, token.place)),
            _ => Sort::Unsaid,
        };
        if sort != Sort::Unsaid {
            last = self.next().place;
        }
        let place = from.to(last);
        self.qualifiers = Some(Qualifiers { protocol, direction, sort, place });
        self.push(Pending::Head, place)?;
        Ok(Step::Expect(Expect::Identifier))
    }

    /// An identifier that is not just a number.
    fn identifier(&mut self) -> Result<Option<Identifier>, Error> {
        let token = self.next();
        let (kind, last) = match token.kind {
            Kind::Name { .. } => (IdentifierKind::Name(self.name(token)), token.place),
            Kind::Mac(address) => (IdentifierKind::Mac(address), token.place),
            Kind::Ip6(address) => match self.prefix()? {
                Some((length, last)) => (IdentifierKind::Ip6(address, Some(length)), last),
                None => (IdentifierKind::Ip6(address, None), token.place),
            },
            Kind::Dotted => {
                if let Some((length, last)) = self.prefix()? {
                    (IdentifierKind::DottedPrefix(token.place, length), last)
                } else if self.peek().kind == Kind::Word(Word::Mask) {
                    self.next();
                    let mask = self.peek();
                    if mask.kind != Kind::Dotted {
                        return Err(self.unexpected(Wanted::Other("a mask such as 255.255.0.0")));
                    }
                    self.next();
                    (IdentifierKind::DottedMask(token.place, mask.place), mask.place)
                } else {
                    (IdentifierKind::Dotted, token.place)
                }
            }
            _ => return Ok(None),
        };
        Ok(Some(Identifier { kind, place: token.place.to(last) }))
    }

    /// `/LENGTH`, if there is one.
    fn prefix(&mut self) -> Result<Option<(u32, Place)>, Error> {
        if !self.take(Sign::Slash) {
            return Ok(None);
        }
        self.plain_number("the length of a prefix in bits").map(Some)
    }

    /// A name's text without its backslash.
    fn name(&self, token: Token) -> Place {
        match token.kind {
            Kind::Name { escaped: true } => Place { start: token.place.start + 1, ..token.place },
            _ => token.place,
        }
    }

    /// Writes an identifier down with the qualifiers that hold for it.
    fn qualified(&mut self, identifier: Identifier) -> Result<(), Error> {
        let Some(qualifiers) = self.qualifiers else {
            return Err(advice::unqualified(self.text, self.tokens, self.at, identifier));
        };
        let place = match self.stack.last() {
            Some(Pending::Head) => qualifiers.place.to(identifier.place),
            _ => identifier.place,
        };
        self.primitive(Primitive::Qualified(qualifiers, identifier), place);
        Ok(())
    }
}

// Behind operands.
impl Parser<'_> {
    fn behind(&mut self, operand: Operand, expect: Expect) -> Result<Behind, Error> {
        match operand {
            Operand::Number(number, place) => self.behind_number(number, place, expect),
            Operand::Arithmetic(from) => self.behind_arithmetic(from, expect),
            Operand::Term => self.behind_condition(false),
            Operand::Identifiers => self.behind_condition(true),
        }
    }

    /// A number where arithmetic was not the only possibility.
    fn behind_number(&mut self, number: u32, place: Place, expect: Expect) -> Result<Behind, Error> {
        let token = self.peek();
        let term = matches!(expect, Expect::Term | Expect::TermOrIdentifier | Expect::First);
        if term && (binary(token.kind).is_some() || relation(token.kind).is_some()) {
            self.values.push(Value::Number(number));
            return Ok(Behind::Operand(Operand::Arithmetic(place), expect));
        }
        // `(80)` is a number still, if the number is all that the parenthesis holds.
        if token.kind == Kind::Sign(Sign::Close)
            && let Some(&Pending::Open { place: open, expect, qualifiers, .. }) = self.stack.last()
        {
            self.next();
            self.pop();
            self.qualifiers = qualifiers;
            return Ok(Behind::Operand(Operand::Number(number, open.to(token.place)), expect));
        }
        match expect {
            Expect::Term => Err(self.unexpected(Wanted::Comparison)),
            Expect::Number => Err(self.unexpected(Wanted::Other("`)`"))),
            _ => {
                self.qualified(Identifier { kind: IdentifierKind::Number(number), place })?;
                Ok(Behind::Operand(Operand::Identifiers, expect))
            }
        }
    }

    fn behind_arithmetic(&mut self, from: Place, expect: Expect) -> Result<Behind, Error> {
        let token = self.peek();
        if let Some(operator) = binary(token.kind) {
            let from = self.reduce(precedence(operator), from);
            self.next();
            self.push(Pending::Binary(operator, from), token.place)?;
            return Ok(Behind::Expect(Expect::Arithmetic));
        }
        let from = self.reduce(Some(0), from);
        match self.stack.last() {
            Some(&Pending::Index(protocol, start)) => {
                let size = if self.take(Sign::Colon) {
                    let (size, place) = self.plain_number("how many bytes: 1, 2 or 4")?;
                    match size {
                        1 | 2 | 4 => size as u8,
                        _ => {
                            return Err(Error::new(
                                ErrorKind::Meaning,
                                format!("{size} bytes cannot be taken at once"),
                                place.span(),
                            )
                            .with_help("the size is 1, 2 or 4"));
                        }
                    }
                } else {
                    1
                };
                let close = self.peek().place;
                if !self.take(Sign::CloseBracket) {
                    return Err(self.unexpected(Wanted::Other("`]`")));
                }
                self.pop();
                let place = start.to(close);
                self.values.push(Value::Load { protocol, size, span: place.span() });
                Ok(Behind::Operand(Operand::Arithmetic(start), expect))
            }
            Some(&Pending::Relation { relation, split, from }) => {
                self.pop();
                let right = self.values.split_off(split);
                let left = std::mem::take(&mut self.values);
                let last = self.tokens[self.at.saturating_sub(1)].place;
                let (left, right) = (Arithmetic { steps: left }, Arithmetic { steps: right });
                self.primitive(Primitive::Relation(relation, left, right), from.to(last));
                self.qualifiers = None;
                Ok(Behind::Operand(Operand::Term, expect))
            }
            Some(&Pending::Open {
                place,
                holds: Holds::Undecided | Holds::Arithmetic,
                expect,
                qualifiers,
            }) if token.kind == Kind::Sign(Sign::Close) => {
                self.next();
                self.pop();
                self.qualifiers = qualifiers;
                Ok(Behind::Operand(Operand::Arithmetic(place), expect))
            }
            Some(Pending::Open { holds: Holds::Arithmetic, .. }) => {
                Err(self.unexpected(Wanted::Other("`)` or an operator")))
            }
            _ => {
                let Some(relation) = relation(token.kind) else {
                    return Err(self.unexpected(Wanted::Comparison));
                };
                self.next();
                let split = self.values.len();
                self.push(Pending::Relation { relation, split, from }, token.place)?;
                Ok(Behind::Expect(Expect::Arithmetic))
            }
        }
    }

    /// Applies the operators on top of the stack that bind as tightly as one of that precedence, or tighter, and says where the result begins.
    /// `None` is the precedence of an operator that has none: nothing is applied before it is read.
    fn reduce(&mut self, behind: Option<u8>, mut from: Place) -> Place {
        while let (Some(pending), Some(behind)) = (self.stack.last(), behind) {
            let value = match *pending {
                Pending::Binary(operator, left)
                    if behind == 0 || precedence(operator).is_some_and(|own| own >= behind) =>
                {
                    from = left;
                    Value::Binary(operator)
                }
                Pending::Negate(sign) => {
                    from = sign;
                    Value::Negate
                }
                _ => break,
            };
            self.values.push(value);
            self.pop();
        }
        from
    }

    /// Behind a primitive, an identifier, or something in parentheses made of them.
    fn behind_condition(&mut self, mut identifiers: bool) -> Result<Behind, Error> {
        while let Some(pending) = self.stack.last().cloned() {
            match pending {
                Pending::Not(place) => self.emit(ItemKind::Not, place),
                Pending::Head => identifiers = false,
                Pending::Join(kind, place) => self.emit(kind, place),
                _ => break,
            }
            self.pop();
        }
        if let Some(Pending::Open { holds, .. }) = self.stack.last_mut()
            && *holds == Holds::Undecided
        {
            *holds = if identifiers { Holds::Identifiers } else { Holds::Expression };
        }
        let (list, open) = match self.stack.last() {
            Some(&Pending::Open { holds, place, .. }) => (holds == Holds::Identifiers, Some(place)),
            _ => (false, None),
        };
        let token = self.peek();
        let join = match token.kind {
            Kind::Sign(Sign::AndAlso) => Some(ItemKind::And),
            Kind::Sign(Sign::OrElse) => Some(ItemKind::Or),
            _ => None,
        };
        if let Some(join) = join {
            self.next();
            self.push(Pending::Join(join, token.place), token.place)?;
            return Ok(Behind::Expect(if list { Expect::Identifier } else { Expect::TermOrIdentifier }));
        }
        match (token.kind, open) {
            (Kind::Sign(Sign::Close), Some(_)) => {
                self.next();
                let Some(Pending::Open { expect, qualifiers, .. }) = self.pop() else {
                    return Ok(Behind::Done);
                };
                self.qualifiers = qualifiers;
                let operand = if list { Operand::Identifiers } else { Operand::Term };
                Ok(Behind::Operand(operand, expect))
            }
            (Kind::End, None) => Ok(Behind::Done),
            _ => Err(self.unexpected(open.map_or(Wanted::Join, Wanted::JoinOrClose))),
        }
    }
}

/// Operators of arithmetic.
fn binary(kind: Kind) -> Option<Arith> {
    let Kind::Sign(sign) = kind else { return None };
    Some(match sign {
        Sign::Plus => Arith::Add,
        Sign::Minus => Arith::Sub,
        Sign::Star => Arith::Mul,
        Sign::Slash => Arith::Div,
        Sign::Percent => Arith::Mod,
        Sign::Ampersand => Arith::And,
        Sign::Bar => Arith::Or,
        Sign::Caret => Arith::Xor,
        Sign::ShiftLeft => Arith::ShiftLeft,
        Sign::ShiftRight => Arith::ShiftRight,
        _ => return None,
    })
}

/// How tightly an operator binds; `None` if nobody has said.
fn precedence(operator: Arith) -> Option<u8> {
    match operator {
        Arith::Or => Some(1),
        Arith::And => Some(2),
        Arith::ShiftLeft | Arith::ShiftRight => Some(3),
        Arith::Add | Arith::Sub => Some(4),
        Arith::Mul | Arith::Div => Some(5),
        Arith::Mod | Arith::Xor => None,
    }
}

/// Signs of comparison.
fn relation(kind: Kind) -> Option<Relation> {
    let Kind::Sign(sign) = kind else { return None };
    Some(match sign {
        Sign::Greater => Relation::Greater,
        Sign::GreaterOrEqual => Relation::GreaterOrEqual,
        Sign::Equal => Relation::Equal,
        Sign::NotEqual => Relation::NotEqual,
        Sign::Less => Relation::Less,
        Sign::LessOrEqual => Relation::LessOrEqual,
        _ => return None,
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The expression in full, with parentheses around everything: what it was understood as.
    fn understood(text: &str) -> String {
        let mut stack: Vec<String> = Vec::new();
        for item in parse(text).unwrap_or_else(|error| panic!("{}", error.render(text))) {
            let shown = match item.kind {
                ItemKind::Primitive(Primitive::Qualified(qualifiers, identifier)) => {
                    format!("{} {}", qualifiers.place.of(text), identifier.place.of(text))
                }
                ItemKind::Primitive(Primitive::Relation(relation, left, right)) => {
                    format!("{relation:?} {} {}", arithmetic(&left), arithmetic(&right))
                }
                ItemKind::Primitive(_) => item.place.of(text).to_owned(),
                ItemKind::Not => format!("!({})", stack.pop().unwrap()),
                ItemKind::And | ItemKind::Or => {
                    let (right, left) = (stack.pop().unwrap(), stack.pop().unwrap());
                    format!("({left} {} {right})", if item.kind == ItemKind::And { "&" } else { "|" })
                }
            };
            stack.push(shown);
        }
        assert_eq!(stack.len(), 1, "{text}");
        stack.remove(0)
    }

    fn arithmetic(arithmetic: &Arithmetic) -> String {
        let mut stack: Vec<String> = Vec::new();
        for step in &arithmetic.steps {
            let shown = match step {
                Value::Number(number) => number.to_string(),
                Value::Length => "len".to_owned(),
                Value::Load { size, .. } => format!("[{}:{size}]", stack.pop().unwrap()),
                Value::Negate => format!("-{}", stack.pop().unwrap()),
                Value::Binary(operator) => {
                    let (right, left) = (stack.pop().unwrap(), stack.pop().unwrap());
                    format!("({operator:?} {left} {right})")
                }
            };
            stack.push(shown);
        }
        assert_eq!(stack.len(), 1);
        stack.remove(0)
    }

    fn refused(text: &str) -> Error {
        match parse(text) {
            Ok(items) => panic!("accepted {text}: {items:?}"),
            Err(error) => error,
        }
    }

    #[test]
    fn and_and_or_bind_alike_and_not_binds_tighter() {
        assert_eq!(understood("tcp or udp and ip or arp"), "(((tcp | udp) & ip) | arp)");
        assert_eq!(understood("not tcp and ! ! udp"), "(!(tcp) & !(!(udp)))");
        assert_eq!(understood("tcp && (udp || icmp)"), "(tcp & (udp | icmp))");
    }

    #[test]
    fn identifiers_take_over_the_qualifiers_before_them() {
        assert_eq!(understood("port 80 or 443"), "(port 80 | port 443)");
        assert_eq!(understood("tcp dst port (80 or not 443)"), "(tcp dst port 80 | !(tcp dst port 443))");
        assert_eq!(
            understood("src host 1.1 or not 2.2 and 3.3"),
            "((src host 1.1 | !(src host 2.2)) & src host 3.3)"
        );
        assert_eq!(understood("port 1 and (2 or (3 and 4))"), "(port 1 & (port 2 | (port 3 & port 4)))");
        assert_eq!(understood("port 1 and ((tcp) or 2)"), "(port 1 & (tcp | port 2))");
        assert_eq!(understood("port 1 and (tcp or port 2) or 3"), "((port 1 & (tcp | port 2)) | port 3)");
        assert_eq!(understood("src or dst port 5"), "src or dst port 5");
        assert_eq!(understood("dst and src host 1.1"), "dst and src host 1.1");
        refused("port 80 and tcp or 443");
        refused("(port 80) or 443");
        refused("tcp or 80");
        refused("host a and (b or port 80)");
        refused("port ((80 or 443) or 22)");
        refused("host a and ((b))");
    }

    #[test]
    fn a_number_is_what_follows_it() {
        assert_eq!(understood("port 80 and 5 > 3"), "(port 80 & Greater 5 3)");
        assert_eq!(understood("port 80 and (5)"), "(port 80 & port (5))");
        assert_eq!(understood("port 80 and ((5) + 1) > 3"), "(port 80 & Greater (Add 5 1) 3)");
        assert_eq!(understood("port (((80)) or 443)"), "(port ((80)) | port 443)");
        assert_eq!(understood("(((5))) < len"), "Less 5 len");
    }

    #[test]
    fn arithmetic_has_the_precedence_of_c_but_for_two() {
        assert_eq!(understood("1 + 2 * 3 = 7"), "Equal (Add 1 (Mul 2 3)) 7");
        assert_eq!(understood("1 - 2 - 3 = 7"), "Equal (Sub (Sub 1 2) 3) 7");
        assert_eq!(understood("1 | 2 & 3 << 4 = 7"), "Equal (Or 1 (And 2 (ShiftLeft 3 4))) 7");
        assert_eq!(understood("1 * 2 % 3 + 4 = 7"), "Equal (Mul 1 (Mod 2 (Add 3 4))) 7");
        assert_eq!(understood("1 ^ 2 | 3 = 7"), "Equal (Xor 1 (Or 2 3)) 7");
        assert_eq!(understood("-1 + 2 = 7"), "Equal (Add -1 2) 7");
        assert_eq!(understood("-1 % 2 = 7"), "Equal -(Mod 1 2) 7");
        assert_eq!(
            understood("tcp[((tcp[12:1] & 0xf0) >> 2):4] = 1"),
            "Equal [(ShiftRight (And [12:1] 240) 2):4] 1"
        );
    }

    #[test]
    fn vxlan_is_a_keyword_where_a_primitive_may_stand() {
        assert_eq!(understood("udp and vxlan 7 and tcp"), "((udp & vxlan 7) & tcp)");
        assert_eq!(understood("host vxlan"), "host vxlan");
    }

    #[test]
    fn places_are_those_of_the_words() {
        let text = "tcp and (ip[0] + 1) * 2 > 5 or port 80 or 81";
        let places: Vec<&str> = parse(text).unwrap().iter().map(|item| item.place.of(text)).collect();
        assert_eq!(places, ["tcp", "(ip[0] + 1) * 2 > 5", "and", "port 80", "or", "81", "or"]);
        assert_eq!(refused("(tcp and (udp)").span, 0..1);
        assert_eq!(refused("tcp and prot 80").span, 8..12);
    }

    #[test]
    fn depth_is_bounded_and_nothing_is_quadratic() {
        let nested = |depth: usize| format!("{}tcp{}", "(".repeat(depth), ")".repeat(depth));
        assert!(parse(&nested(MAX_OPEN)).is_ok());
        assert_eq!(refused(&nested(MAX_OPEN + 1)).kind, ErrorKind::TooLarge);
        assert_eq!(refused(&"not ".repeat(MAX_OPEN + 1)).kind, ErrorKind::TooLarge);
        assert_eq!(refused(&" ".repeat(MAX_TEXT_BYTES + 1)).kind, ErrorKind::TooLarge);
        assert_eq!(parse(&format!("tcp{}", " or udp".repeat(100_000))).unwrap().len(), 200_001);
        for piece in ["1:2:", ":", "::", "1.", "-", "a-", "tcp[", "(", "::1", "1 + ", "\\", "\u{e9}", "1 ^ "] {
            let _ = parse(&piece.repeat(MAX_TEXT_BYTES / piece.len()));
        }
    }
}
