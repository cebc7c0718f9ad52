//! What an operand begins with: primitives, identifiers and values.

use super::{Expect, Holds, MAX_OPEN, Operand, Parser, Pending, Step, wanted};
use crate::advice::{self, Wanted};
use crate::error::{Error, ErrorKind};
use crate::lex::{Kind, Place, Sign, Token};
use crate::syntax::{Identifier, IdentifierKind, Primitive, Qualifiers, Sort, Tag};
use crate::tree::{ByteOperation, Direction, Protocol, Value};
use crate::words::{Family, Word};

impl Parser<'_> {
    pub(super) fn operand(&mut self, expect: Expect) -> Result<Step, Error> {
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
            _ => Ok(self.term(Primitive::Protocol(protocol), place)),
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

    pub(super) fn plain_number(&mut self, what: &'static str) -> Result<(u32, Place), Error> {
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
    pub(super) fn qualified(&mut self, identifier: Identifier) -> Result<(), Error> {
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
