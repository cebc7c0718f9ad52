//! Arithmetic: values in scratch words, and the protocol tests that reading a header implies.
//!
//! Every value is worked out into a scratch word, as in libpcap: simple, and the optimiser makes direct operations of
//! it. All implied tests of both sides of a relation come before the first statement. An operator passes on those of
//! its left operand only.

use super::Lowering;
use super::headers::{At, statement};
use super::ip;
use super::predicate::{Predicate, constant, with_x};
use crate::bpf::insn::*;
use crate::bpf::{Instruction, Width};
use crate::error::{Error, ErrorKind, Span};
use crate::ir::Comparison;
use crate::tree::{Arith, Arithmetic, Protocol, Relation, Value};

/// A value on the stack.
struct Operand {
    /// What works it out. The first statement is the load of the first number written.
    statements: Vec<Instruction>,
    /// What must hold before that.
    implied: Option<Predicate>,
    /// Where the result lies.
    word: u32,
}

impl Lowering<'_> {
    /// `LEFT relation RIGHT`.
    pub(super) fn relation(
        &mut self,
        relation: Relation,
        left: &Arithmetic,
        right: &Arithmetic,
    ) -> Result<Predicate, Error> {
        let left = self.arithmetic(left)?;
        let right = self.arithmetic(right)?;
        let mut statements = left.statements;
        statements.extend(right.statements);
        statements.push(statement(LDX | MEM, right.word));
        statements.push(statement(LD | MEM, left.word));
        let condition = match relation {
            Relation::Equal | Relation::NotEqual => {
                statements.push(statement(ALU | SUB | X, 0));
                constant(Comparison::Equal, 0)
            }
            Relation::Greater | Relation::LessOrEqual => with_x(Comparison::Greater),
            Relation::GreaterOrEqual | Relation::Less => with_x(Comparison::GreaterOrEqual),
        };
        let mut holds = self.graph.ask(statements, condition);
        if matches!(relation, Relation::NotEqual | Relation::LessOrEqual | Relation::Less) {
            holds = holds.not();
        }
        self.scratch.give_back(left.word);
        self.scratch.give_back(right.word);
        let implied = match (left.implied, right.implied) {
            (Some(left), Some(right)) => Some(self.graph.and(left, right)),
            (left, right) => left.or(right),
        };
        Ok(self.both(implied, holds))
    }

    fn arithmetic(&mut self, arithmetic: &Arithmetic) -> Result<Operand, Error> {
        let mut stack: Vec<Operand> = Vec::new();
        for step in &arithmetic.steps {
            let operand = match step {
                Value::Number(number) => self.value(statement(LD | IMM, *number))?,
                Value::Length => self.value(statement(LD | LEN, 0))?,
                Value::Load { protocol, size, span } => {
                    let index = self.pop(&mut stack)?;
                    self.header_value(*protocol, *size, span, index)?
                }
                Value::Negate => {
                    let mut operand = self.pop(&mut stack)?;
                    operand.statements.extend([
                        statement(LD | MEM, operand.word),
                        statement(ALU | NEG, 0),
                        statement(ST, operand.word),
                    ]);
                    operand
                }
                Value::Binary(operator) => {
                    let right = self.pop(&mut stack)?;
                    let left = self.pop(&mut stack)?;
                    self.binary(*operator, left, right)?
                }
            };
            stack.push(operand);
        }
        self.pop(&mut stack)
    }

    fn value(&mut self, load: Instruction) -> Result<Operand, Error> {
        let word = self.scratch_word()?;
        Ok(Operand { statements: vec![load, statement(ST, word)], implied: None, word })
    }

    fn binary(&mut self, operator: Arith, left: Operand, right: Operand) -> Result<Operand, Error> {
        self.check_operator(operator, &right)?;
        let code = match operator {
            Arith::Add => ADD,
            Arith::Sub => SUB,
            Arith::Mul => MUL,
            Arith::Div => DIV,
            Arith::Mod => MOD,
            Arith::And => AND,
            Arith::Or => OR,
            Arith::Xor => XOR,
            Arith::ShiftLeft => LSH,
            Arith::ShiftRight => RSH,
        };
        let mut statements = left.statements;
        statements.extend(right.statements);
        statements.extend([
            statement(LDX | MEM, right.word),
            statement(LD | MEM, left.word),
            statement(ALU | code | X, 0),
        ]);
        self.scratch.give_back(left.word);
        self.scratch.give_back(right.word);
        let word = self.scratch_word()?;
        statements.push(statement(ST, word));
        // What the right operand implies is forgotten, as in libpcap: `len + ip[0] > 100` asks for no IP, and the
        // customary `ip[2:2] - ((ip[0] & 0xf) << 2) - ((tcp[12] & 0xf0) >> 2) != 0` for no TCP.
        Ok(Operand { statements, implied: left.implied, word })
    }

    /// Refuses to divide by 0 and to shift by more than 31.
    ///
    /// libpcap goes by the first number written in the right operand, also if it is only part of it: `1 << ip[40]` is
    /// refused.
    fn check_operator(&self, operator: Arith, right: &Operand) -> Result<(), Error> {
        let Some(&Instruction { code: FIRST_NUMBER, k: number, .. }) = right.statements.first() else {
            return Ok(());
        };
        let alone = right.statements.len() == 2;
        let what = match operator {
            Arith::Div | Arith::Mod if number == 0 => {
                if alone {
                    "division by zero"
                } else {
                    "a divisor must not begin with the number 0"
                }
            }
            Arith::ShiftLeft | Arith::ShiftRight if number > 31 => {
                if alone {
                    "shift by more than 31 bits"
                } else {
                    "a shift distance must not begin with a number above 31"
                }
            }
            _ => return Ok(()),
        };
        Err(self.error(ErrorKind::Meaning, what))
    }

    /// `protocol[index:size]`.
    fn header_value(
        &mut self,
        protocol: Protocol,
        size: u8,
        span: &Span,
        index: Operand,
    ) -> Result<Operand, Error> {
        let width = match size {
            1 => Width::Byte,
            2 => Width::Half,
            4 => Width::Word,
            _ => return Err(Error::new(ErrorKind::Meaning, "sizes are 1, 2 and 4", span.clone())),
        };
        let word = self.scratch_word()?;
        self.scratch.give_back(index.word);
        let outer = std::mem::replace(&mut self.span, span.clone());
        let Operand { mut statements, implied, word: offset } = index;
        let (place, implied) = match protocol {
            Protocol::Link => {
                self.check_link_bytes()?;
                (self.headers.link, implied)
            }
            Protocol::Ip
            | Protocol::Ip6
            | Protocol::Arp
            | Protocol::Rarp
            | Protocol::Atalk
            | Protocol::Decnet
            | Protocol::Sca
            | Protocol::Lat
            | Protocol::Moprc
            | Protocol::Mopdl => {
                let test = self.protocol(protocol)?;
                (self.headers.place(At::Network(0)), Some(self.both(implied, test)))
            }
            Protocol::Sctp
            | Protocol::Tcp
            | Protocol::Udp
            | Protocol::Icmp
            | Protocol::Igmp
            | Protocol::Igrp
            | Protocol::Pim
            | Protocol::Vrrp
            | Protocol::Carp => {
                let is_ip = self.protocol(Protocol::Ip)?;
                let is_protocol = self.protocol(protocol)?;
                let first = self.first_fragment();
                let test = self.graph.and(is_protocol, first);
                let test = self.both(implied, test);
                let test = self.graph.and(is_ip, test);
                statements.extend(self.headers.ipv4_len());
                statements.extend([
                    statement(LD | MEM, offset),
                    statement(ALU | ADD | X, 0),
                    statement(MISC | TAX, 0),
                    statement(LD | IND | width.bits(), self.headers.place(At::Network(0)).constant),
                    statement(ST, word),
                ]);
                self.span = outer;
                return Ok(Operand { statements, implied: Some(test), word });
            }
            Protocol::Icmp6 => {
                let is_ip6 = self.protocol(Protocol::Ip6)?;
                let is_ip6 = self.both(implied, is_ip6);
                let next = self.compare(At::Network(ip::V6_NEXT), Width::Byte, Comparison::Equal, ip::ICMPV6);
                (self.headers.place(At::Transport6(0)), Some(self.graph.and(is_ip6, next)))
            }
            Protocol::Radio => return Err(self.link_error("radio headers are there on 802.11 only")),
            _ => return Err(self.error(ErrorKind::Meaning, "the bytes of this protocol cannot be asked for")),
        };
        statements.extend(self.headers.index(place, offset));
        statements.extend([statement(LD | IND | width.bits(), place.constant), statement(ST, word)]);
        self.span = outer;
        Ok(Operand { statements, implied, word })
    }

    /// A scratch word, of which the machine has 16.
    pub(super) fn scratch_word(&mut self) -> Result<u32, Error> {
        self.scratch.take().ok_or_else(|| {
            self.error(ErrorKind::TooLarge, "too many values at once: the machine has 16 scratch words")
        })
    }
}

/// The load of a number.
const FIRST_NUMBER: u16 = LD | IMM;
