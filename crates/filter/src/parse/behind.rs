//! What may come behind an operand: operators, comparisons, `and` and `or`, and parentheses that close.

use super::{Behind, Expect, Holds, Operand, Parser, Pending};
use crate::advice::Wanted;
use crate::error::{Error, ErrorKind};
use crate::lex::{Kind, Place, Sign};
use crate::syntax::{Identifier, IdentifierKind, ItemKind, Primitive};
use crate::tree::{Arith, Arithmetic, Relation, Value};

impl Parser<'_> {
    pub(super) fn behind(&mut self, operand: Operand, expect: Expect) -> Result<Behind, Error> {
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

    /// Applies the operators on top of the stack that bind as tightly as one of that precedence, or tighter, and says
    /// where the result begins. `None` is the precedence of an operator that has none: nothing is applied before it
    /// is read.
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
