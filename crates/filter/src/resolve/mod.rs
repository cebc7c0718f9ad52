//! From syntax to meaning: names become numbers, qualifiers and identifiers are put together, and what makes no sense
//! on any link type is refused.
//!
//! What is refused here is what libpcap refuses for every link type; what depends on the frames (`vlan` on raw IP) is
//! left to [`lower`](crate::lower). Accepted beyond libpcap 1.10.3: `vxlan [VNI]`, as in later versions;
//! `gateway NAME`, which the manual page has and libpcap refuses when built with IPv6; and service and protocol names
//! on machines whose `/etc` lacks them ([`names`](mod@crate::names)).

mod addresses;
mod ports;
#[cfg(test)]
mod tests;

use self::addresses::gateway_number;
use self::ports::{port_number, transport};
use crate::error::{Error, ErrorKind, quoted};
use crate::lex::Place;
use crate::names::{self, Names};
use crate::parse;
use crate::syntax::{Identifier, IdentifierKind, ItemKind, Primitive, Qualifiers, Sort, Tag};
use crate::tree::{Arith, Arithmetic, Direction, Llc, Op, Ports, Protocol, Step, Test, Tree, Value};
use crate::words;

/// Reads an expression and finds out what it means.
///
/// # Errors
/// What does not parse, names that nobody knows, words that cannot go together.
pub fn resolve(text: &str, names: &Names) -> Result<Tree, Error> {
    let items = parse::parse(text)?;
    let resolver = Resolver { text, names };
    let mut steps = Vec::with_capacity(items.len());
    for item in items {
        let op = match item.kind {
            ItemKind::Not => Op::Not,
            ItemKind::And => Op::And,
            ItemKind::Or => Op::Or,
            ItemKind::Primitive(primitive) => Op::Test(resolver.primitive(primitive, item.place)?),
        };
        steps.push(Step { op, span: item.place.span() });
    }
    Ok(Tree { steps })
}

struct Resolver<'a> {
    text: &'a str,
    names: &'a Names,
}

impl Resolver<'_> {
    fn primitive(&self, primitive: Primitive, place: Place) -> Result<Test, Error> {
        Ok(match primitive {
            Primitive::Protocol(Protocol::Link) => {
                let word = place.of(self.text);
                return Err(meaning(format!("`{word}` alone says nothing about a packet"), place)
                    .with_help(format!("it is followed by `host`, `src`, `dst`, `proto`, `broadcast`, `multicast` or `[`: `{word} proto 0x800`")));
            }
            Primitive::Protocol(Protocol::Radio) => return Err(radio(place)),
            Primitive::Protocol(protocol) => Test::Protocol(protocol),
            Primitive::Qualified(qualifiers, identifier) => self.qualified(qualifiers, identifier)?,
            Primitive::Broadcast(within) => match within {
                None | Some(Protocol::Link | Protocol::Ip) => Test::Broadcast(within),
                Some(other) => {
                    return Err(meaning(format!("there is no `{} broadcast`", words::keyword(other)), place)
                        .with_help("only `ether broadcast` and `ip broadcast` exist"));
                }
            },
            Primitive::Multicast(within) => match within {
                None | Some(Protocol::Link | Protocol::Ip | Protocol::Ip6) => Test::Multicast(within),
                Some(other) => {
                    return Err(meaning(format!("there is no `{} multicast`", words::keyword(other)), place)
                        .with_help("only `ether multicast`, `ip multicast` and `ip6 multicast` exist"));
                }
            },
            Primitive::Less(length) => Test::Less(length),
            Primitive::Greater(length) => Test::Greater(length),
            Primitive::Byte(offset, operation, value) => Test::Byte { offset, operation, value },
            Primitive::Inbound => Test::Inbound,
            Primitive::Outbound => Test::Outbound,
            Primitive::Ifindex(index) => Test::InterfaceIndex(index),
            Primitive::Pppoed => Test::PppoeDiscovery,
            Primitive::Tagged(tag, number) => tagged(tag, number)?,
            Primitive::Llc(None) => Test::Llc(None),
            Primitive::Llc(Some(kind)) => Test::Llc(Some(self.llc(kind)?)),
            Primitive::Relation(relation, left, right) => {
                arithmetic(&left, place)?;
                arithmetic(&right, place)?;
                Test::Relation { relation, left, right }
            }
        })
    }

    fn llc(&self, kind: Place) -> Result<Llc, Error> {
        let word = kind.of(self.text).to_ascii_lowercase();
        Ok(match word.as_str() {
            "i" => Llc::Information,
            "s" => Llc::Supervisory,
            "u" => Llc::Unnumbered,
            "rr" => Llc::SupervisoryKind(0x01),
            "rnr" | "rulenum" => Llc::SupervisoryKind(0x05),
            "rej" => Llc::SupervisoryKind(0x09),
            "ui" => Llc::UnnumberedKind(0x03),
            "ua" => Llc::UnnumberedKind(0x63),
            "disc" => Llc::UnnumberedKind(0x43),
            "dm" => Llc::UnnumberedKind(0x0f),
            "sabme" => Llc::UnnumberedKind(0x6f),
            "test" => Llc::UnnumberedKind(0xe3),
            "xid" => Llc::UnnumberedKind(0xaf),
            "frmr" => Llc::UnnumberedKind(0x87),
            _ => {
                return Err(meaning(format!("`{word}` is no kind of LLC frame"), kind).with_help(
                    "the kinds are i, s, u, rr, rnr, rej, ui, ua, disc, dm, sabme, test, xid and frmr",
                ));
            }
        })
    }

    fn qualified(&self, qualifiers: Qualifiers, identifier: Identifier) -> Result<Test, Error> {
        match identifier.kind {
            IdentifierKind::Name(name) => self.named(qualifiers, name.of(self.text), identifier.place),
            IdentifierKind::Number(number) => self.numbered(qualifiers, number, identifier.place),
            IdentifierKind::Dotted => self.dotted(qualifiers, identifier.place),
            IdentifierKind::DottedPrefix(address, length) => {
                let (address, _) = self.octets(address)?;
                if length > 32 {
                    return Err(meaning(
                        format!("an IPv4 prefix has 32 bits at most, not {length}"),
                        identifier.place,
                    ));
                }
                let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
                self.masked(qualifiers, address, mask, identifier.place)
            }
            IdentifierKind::DottedMask(address, mask) => {
                let (address, _) = self.octets(address)?;
                let (mask, _) = self.octets(mask)?;
                self.masked(qualifiers, address, mask, identifier.place)
            }
            IdentifierKind::Ip6(address, prefix) => self.ip6(qualifiers, address, prefix, identifier.place),
            IdentifierKind::Mac(address) => {
                if qualifiers.protocol == Some(Protocol::Link)
                    && matches!(qualifiers.sort, Sort::Unsaid | Sort::Host)
                {
                    return Ok(Test::LinkAddress { direction: qualifiers.direction, address });
                }
                let word = quoted(identifier.place.of(self.text));
                Err(meaning(
                    "an Ethernet address stands behind `ether host`, `ether src` or `ether dst` only",
                    identifier.place,
                )
                .with_help(format!("write `ether host {word}`")))
            }
        }
    }

    /// A number that stands where an identifier does.
    fn numbered(&self, qualifiers: Qualifiers, number: u32, place: Place) -> Result<Test, Error> {
        match qualifiers.sort {
            Sort::Unsaid | Sort::Host | Sort::Net => {
                if qualifiers.protocol == Some(Protocol::Decnet) {
                    return Ok(Test::DecnetAddress {
                        direction: qualifiers.direction,
                        address: number as u16,
                    });
                }
                // A short network number is that of the first bytes: `net 10` is 10.0.0.0/8.
                let (mut address, mut mask) = (number, u32::MAX);
                while qualifiers.sort == Sort::Net && address != 0 && address >> 24 == 0 {
                    (address, mask) = (address << 8, mask << 8);
                }
                self.address(qualifiers, address, mask, place)
            }
            Sort::Port | Sort::Portrange => {
                let transport = transport(qualifiers)?;
                let port = port_number(i64::from(number), place)?;
                let ports =
                    if qualifiers.sort == Sort::Port { Ports::One(port) } else { Ports::Range(port, port) };
                Ok(Test::Port { transport, direction: qualifiers.direction, ports })
            }
            Sort::Gateway => Err(gateway_number(place)),
            Sort::Proto => protocol_number(qualifiers, number),
            Sort::Protochain => protocol_chain(qualifiers, number),
        }
    }

    /// A name where an identifier stands.
    fn named(&self, qualifiers: Qualifiers, name: &str, place: Place) -> Result<Test, Error> {
        let shown = quoted(name);
        match qualifiers.sort {
            Sort::Net => {
                let number = self.names.network(name).filter(|&number| number != 0);
                let Some(mut address) = number else {
                    return Err(unknown(format!("no network is called `{shown}`"), place)
                        .with_help("names of networks are looked for in /etc/networks; a network in numbers is `net 192.168.0.0/16`"));
                };
                let mut mask = u32::MAX;
                while address >> 24 == 0 {
                    (address, mask) = (address << 8, mask << 8);
                }
                self.address(qualifiers, address, mask, place)
            }
            Sort::Unsaid | Sort::Host => self.host(qualifiers, name, place),
            Sort::Port => {
                let transport = transport(qualifiers)?;
                let (port, of) = self.service(name, place)?;
                let port = port_number(i64::from(port), place)?;
                Ok(Test::Port {
                    transport: self.agreed(name, transport, of, place)?,
                    direction: qualifiers.direction,
                    ports: Ports::One(port),
                })
            }
            Sort::Portrange => {
                let transport = transport(qualifiers)?;
                let (first, last, of) = self.service_range(name, place)?;
                let transport = self.agreed(name, transport, of, place)?;
                let ports = Ports::Range(port_number(first, place)?, port_number(last, place)?);
                Ok(Test::Port { transport, direction: qualifiers.direction, ports })
            }
            Sort::Gateway => self.gateway(qualifiers, name, place),
            Sort::Proto => protocol_number(qualifiers, self.protocol_name(qualifiers, name, place)?),
            Sort::Protochain => protocol_chain(qualifiers, self.protocol_name(qualifiers, name, place)?),
        }
    }

    fn protocol_name(&self, qualifiers: Qualifiers, name: &str, place: Place) -> Result<u32, Error> {
        let shown = quoted(name);
        let (found, layer) = match qualifiers.protocol {
            None | Some(Protocol::Ip | Protocol::Ip6) => (self.names.protocol(name), "IP"),
            Some(Protocol::Link) => (names::ethernet_protocol(name), "Ethernet"),
            Some(Protocol::Iso) => (names::iso_protocol(name), "ISO"),
            Some(other) => return Err(no_proto(other, qualifiers.place)),
        };
        found.ok_or_else(|| {
            unknown(format!("no {layer} protocol is called `{shown}`"), place)
                .with_help("a protocol in numbers is `proto 47`")
        })
    }
}

/// `vlan` and the like, whose numbers have limits.
fn tagged(tag: Tag, number: Option<(u32, Place)>) -> Result<Test, Error> {
    let (most, what) = match tag {
        Tag::Vlan => (0xfff, "a VLAN's id"),
        Tag::Mpls => (0xf_ffff, "an MPLS label"),
        Tag::Pppoes => (0xffff, "a PPPoE session's number"),
        Tag::Geneve | Tag::Vxlan => (0xff_ffff, "a virtual network's id"),
    };
    if let Some((number, place)) = number
        && number > most
    {
        return Err(meaning(format!("{what} is {most} at most, not {number}"), place));
    }
    let number = number.map(|(number, _)| number);
    Ok(match tag {
        Tag::Vlan => Test::Vlan(number.map(|id| id as u16)),
        Tag::Mpls => Test::Mpls(number),
        Tag::Pppoes => Test::PppoeSession(number.map(|session| session as u16)),
        Tag::Geneve => Test::Geneve(number),
        Tag::Vxlan => Test::Vxlan(number),
    })
}

/// Refuses what no packet gives an answer to: fields of protocols that have none, division by a constant 0, shifts
/// out of the word.
///
/// libpcap tests the constant with which the *code* of the right side begins, so that `6 / ip[0]` and `1 << (32 - 1)`
/// are refused too.
fn arithmetic(arithmetic: &Arithmetic, place: Place) -> Result<(), Error> {
    // For each value on the stack, the constant that its steps begin with.
    let mut stack: Vec<Option<u32>> = Vec::new();
    for step in &arithmetic.steps {
        match step {
            Value::Number(number) => stack.push(Some(*number)),
            Value::Length => stack.push(None),
            Value::Negate => {}
            Value::Load { protocol, span, .. } => readable(*protocol, span)?,
            Value::Binary(operator) => {
                let divisor = stack.pop().flatten();
                match (operator, divisor) {
                    (Arith::Div, Some(0)) => {
                        return Err(meaning("division by zero", place).with_help(BEGINS_WITH));
                    }
                    (Arith::Mod, Some(0)) => {
                        return Err(meaning("remainder of a division by zero", place).with_help(BEGINS_WITH));
                    }
                    (Arith::ShiftLeft | Arith::ShiftRight, Some(bits)) if bits > 31 => {
                        return Err(meaning(format!("a shift by {bits} bits; values have 32"), place)
                            .with_help(BEGINS_WITH));
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(())
}

const BEGINS_WITH: &str = "as in libpcap, the number that the right side begins with counts, be it only an offset as in `6 / ip[0]`";

/// Whether a protocol's bytes can be looked at.
fn readable(protocol: Protocol, span: &crate::error::Span) -> Result<(), Error> {
    match protocol {
        Protocol::Link
        | Protocol::Ip
        | Protocol::Arp
        | Protocol::Rarp
        | Protocol::Atalk
        | Protocol::Decnet
        | Protocol::Sca
        | Protocol::Lat
        | Protocol::Moprc
        | Protocol::Mopdl
        | Protocol::Ip6
        | Protocol::Sctp
        | Protocol::Tcp
        | Protocol::Udp
        | Protocol::Icmp
        | Protocol::Igmp
        | Protocol::Igrp
        | Protocol::Pim
        | Protocol::Vrrp
        | Protocol::Carp
        | Protocol::Icmp6 => Ok(()),
        Protocol::Radio => Err(Error::new(ErrorKind::Meaning, RADIO, span.clone())),
        other => {
            let word = words::keyword(other);
            Err(Error::new(
                ErrorKind::Meaning,
                format!("the bytes of `{word}` cannot be looked at"),
                span.clone(),
            )
            .with_help("count from the header below: `ip[...]`, `ip6[...]` or `ether[...]`"))
        }
    }
}

/// `proto` by what stands in front of it.
fn protocol_number(qualifiers: Qualifiers, number: u32) -> Result<Test, Error> {
    match qualifiers.protocol {
        None | Some(Protocol::Link | Protocol::Ip | Protocol::Ip6 | Protocol::Iso | Protocol::Isis) => {
            Ok(Test::ProtocolNumber { within: qualifiers.protocol, number })
        }
        Some(other) => Err(no_proto(other, qualifiers.place)),
    }
}

fn no_proto(protocol: Protocol, place: Place) -> Error {
    meaning(format!("`{}` has no field that says which protocol it carries", words::keyword(protocol)), place)
        .with_help("`proto` stands alone or behind `ether`, `ip`, `ip6`, `iso` or `isis`")
}

fn protocol_chain(qualifiers: Qualifiers, number: u32) -> Result<Test, Error> {
    match qualifiers.protocol {
        None | Some(Protocol::Ip | Protocol::Ip6) => {
            Ok(Test::ProtocolChain { within: qualifiers.protocol, number })
        }
        Some(other) => {
            Err(meaning(format!("`{}` has no chain of headers", words::keyword(other)), qualifiers.place)
                .with_help("`protochain` stands alone or behind `ip` or `ip6`"))
        }
    }
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A decimal number, cut to 32 bits.
fn wrapping_decimal(digits: &str) -> Option<u32> {
    if !all_digits(digits) {
        return None;
    }
    let number = digits
        .bytes()
        .fold(0_i64, |number, digit| number.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    Some(number as u32)
}

fn meaning(message: impl Into<String>, place: Place) -> Error {
    Error::new(ErrorKind::Meaning, message, place.span())
}

fn unknown(message: impl Into<String>, place: Place) -> Error {
    Error::new(ErrorKind::UnknownName, message, place.span())
}

const RADIO: &str =
    "`radio` is about 802.11 frames with their radio headers, a link type that filters are not made for";

fn radio(place: Place) -> Error {
    meaning(RADIO, place)
}

fn sort_word(sort: Sort) -> &'static str {
    match sort {
        Sort::Unsaid | Sort::Host => "host",
        Sort::Net => "net",
        Sort::Port => "port",
        Sort::Portrange => "portrange",
        Sort::Proto => "proto",
        Sort::Protochain => "protochain",
        Sort::Gateway => "gateway",
    }
}

fn sort_wants(sort: Sort) -> &'static str {
    match sort {
        Sort::Port => "a port",
        Sort::Portrange => "a range of ports such as 8000-8080",
        Sort::Proto | Sort::Protochain => "a protocol",
        _ => "a name",
    }
}

fn direction_words(direction: Direction) -> &'static str {
    match direction {
        Direction::Source => "src ",
        Direction::Destination => "dst ",
        Direction::Either => "",
        Direction::Both => "src and dst ",
    }
}
