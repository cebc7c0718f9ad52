//! From syntax to meaning: names become numbers, qualifiers and identifiers are put together, and what makes no sense on any link type is refused.
//!
//! What is refused here is what libpcap refuses for every link type; what depends on the frames (`vlan` on raw IP) is left to
//! [`lower`](crate::lower). Accepted beyond libpcap 1.10.3: `vxlan [VNI]`, as in later versions; `gateway NAME`, which the manual page has and
//! libpcap refuses when built with IPv6; and service and protocol names on machines whose `/etc` lacks them ([`names`](crate::names)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::advice;
use crate::error::{Error, ErrorKind, quoted};
use crate::lex::Place;
use crate::names::{self, Names};
use crate::parse;
use crate::syntax::{Identifier, IdentifierKind, ItemKind, Primitive, Qualifiers, Sort, Tag};
use crate::tree::{
    Arith, Arithmetic, Direction, Llc, Network, Op, Ports, Protocol, Step, Test, Transport, Tree, Value,
};
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

    /// An IPv4 address of one to four numbers, its bytes at the left, and how many bits they are.
    fn octets(&self, place: Place) -> Result<(u32, u32), Error> {
        let text = place.of(self.text);
        let shown = quoted(text);
        let mut address = 0_u32;
        let mut bits = 0;
        for part in text.split('.') {
            // Leading zeros do not make it octal here.
            let digits = part.trim_start_matches('0');
            let octet = match (part.is_empty(), digits) {
                (false, "") => 0,
                (false, digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
                    digits.parse::<u8>().map_err(|_| {
                        meaning(format!("{shown} is no IPv4 address: {} is above 255", quoted(part)), place)
                    })?
                }
                _ => {
                    return Err(meaning(
                        format!("{shown} is no IPv4 address: its numbers are decimal"),
                        place,
                    ));
                }
            };
            address = address << 8 | u32::from(octet);
            bits += 8;
        }
        Ok((address.checked_shl(32 - bits).unwrap_or(0), bits))
    }

    /// `1.2.3.4` and `1.2`.
    fn dotted(&self, qualifiers: Qualifiers, place: Place) -> Result<Test, Error> {
        let text = place.of(self.text);
        let shown = quoted(text);
        match qualifiers.sort {
            Sort::Unsaid | Sort::Host | Sort::Net => {}
            Sort::Gateway => return Err(gateway_number(place)),
            other => {
                return Err(meaning(
                    format!("`{}` is followed by {}, not by an address", sort_word(other), sort_wants(other)),
                    place,
                )
                .with_help(format!("`host {shown}` is the address")));
            }
        }
        if qualifiers.protocol == Some(Protocol::Decnet) {
            let mut parts = text.split('.').map(wrapping_decimal);
            let (Some(Some(area)), Some(Some(node))) = (parts.next(), parts.next()) else {
                return Err(meaning(
                    format!("{shown} is no DECnet address: that is AREA.NODE in decimal"),
                    place,
                ));
            };
            let address = (area << 10 & 0o176_000 | node & 0o1777) as u16;
            return Ok(Test::DecnetAddress { direction: qualifiers.direction, address });
        }
        let (address, bits) = self.octets(place)?;
        if qualifiers.protocol == Some(Protocol::Link) {
            return Err(no_link_address(text, place));
        }
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        self.address(qualifiers, address, mask, place)
    }

    /// `10.0.0.0/8` and the like.
    fn masked(&self, qualifiers: Qualifiers, address: u32, mask: u32, place: Place) -> Result<Test, Error> {
        let text = place.of(self.text);
        let shown = quoted(text);
        if address & !mask != 0 {
            let ones = mask.leading_ones();
            let network = match mask.checked_shl(ones) {
                Some(0) | None => format!("`net {}/{ones}`", Ipv4Addr::from(address & mask)),
                Some(_) => Ipv4Addr::from(address & mask).to_string(),
            };
            return Err(meaning(
                format!("{shown} is no network: the address has bits set behind the mask"),
                place,
            )
            .with_help(format!(
                "the network is {network}; a single machine is `host {}`",
                Ipv4Addr::from(address)
            )));
        }
        if qualifiers.sort != Sort::Net {
            return Err(meaning("only networks have masks", place).with_help(format!("write `net {shown}`")));
        }
        self.address(qualifiers, address, mask, place)
    }

    /// IPv4 addresses by what stands in front of them.
    fn address(&self, qualifiers: Qualifiers, address: u32, mask: u32, place: Place) -> Result<Test, Error> {
        match qualifiers.protocol {
            None | Some(Protocol::Ip | Protocol::Arp | Protocol::Rarp) => Ok(Test::Address {
                within: qualifiers.protocol,
                direction: qualifiers.direction,
                networks: vec![v4(address, mask)],
            }),
            Some(Protocol::Decnet) => {
                Ok(Test::DecnetAddress { direction: qualifiers.direction, address: address as u16 })
            }
            Some(Protocol::Link) => Err(no_link_address(place.of(self.text), place)),
            Some(Protocol::Ip6) => Err(meaning(
                format!("{} is an IPv4 address, which no IPv6 packet has", quoted(place.of(self.text))),
                place,
            )),
            Some(other) => Err(self.no_addresses(other, qualifiers, place)),
        }
    }

    fn no_addresses(&self, protocol: Protocol, qualifiers: Qualifiers, place: Place) -> Error {
        let word = words::keyword(protocol);
        let sort = if qualifiers.sort == Sort::Net { "net" } else { "host" };
        let direction = direction_words(qualifiers.direction);
        meaning(format!("`{word}` cannot be said of an address"), qualifiers.place.to(place))
            .with_help(format!("write `{word} and {direction}{sort} {}`", quoted(place.of(self.text))))
    }

    fn ip6(
        &self,
        qualifiers: Qualifiers,
        address: Ipv6Addr,
        prefix: Option<u32>,
        place: Place,
    ) -> Result<Test, Error> {
        let text = place.of(self.text);
        let shown = quoted(text);
        let length = prefix.unwrap_or(128);
        let Some(length) = u8::try_from(length).ok().filter(|&length| length <= 128) else {
            return Err(meaning(format!("an IPv6 prefix has 128 bits at most, not {length}"), place));
        };
        let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
        if address.to_bits() & !mask != 0 {
            let network = Ipv6Addr::from(address.to_bits() & mask);
            return Err(meaning(
                format!("{shown} is no network: the address has bits set behind the prefix"),
                place,
            )
            .with_help(format!(
                "the network is `net {network}/{length}`, a single machine `host {address}`"
            )));
        }
        match qualifiers.sort {
            Sort::Unsaid | Sort::Host if length != 128 => {
                return Err(
                    meaning("only networks have prefixes", place).with_help(format!("write `net {shown}`"))
                );
            }
            Sort::Unsaid | Sort::Host | Sort::Net => {}
            Sort::Gateway => return Err(gateway_number(place)),
            other => {
                return Err(meaning(
                    format!("`{}` is followed by {}, not by an address", sort_word(other), sort_wants(other)),
                    place,
                )
                .with_help(format!("`host {shown}` is the address")));
            }
        }
        match qualifiers.protocol {
            None | Some(Protocol::Ip6) => Ok(Test::Address {
                within: qualifiers.protocol,
                direction: qualifiers.direction,
                networks: vec![Network::V6 { address, prefix: length }],
            }),
            Some(protocol @ (Protocol::Ip | Protocol::Arp | Protocol::Rarp)) => Err(meaning(
                format!("{shown} is an IPv6 address, which no {} packet has", words::keyword(protocol)),
                place,
            )),
            Some(Protocol::Link) => Err(no_link_address(text, place)),
            Some(other) => Err(self.no_addresses(other, qualifiers, place)),
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
            Sort::Proto => protocol_number(qualifiers, number, place),
            Sort::Protochain => protocol_chain(qualifiers, number, place),
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
            Sort::Proto => protocol_number(qualifiers, self.protocol_name(qualifiers, name, place)?, place),
            Sort::Protochain => {
                protocol_chain(qualifiers, self.protocol_name(qualifiers, name, place)?, place)
            }
        }
    }

    fn host(&self, qualifiers: Qualifiers, name: &str, place: Place) -> Result<Test, Error> {
        let shown = quoted(name);
        match qualifiers.protocol {
            Some(Protocol::Link) => {
                let address = self.ether(name, place)?;
                return Ok(Test::LinkAddress { direction: qualifiers.direction, address });
            }
            Some(Protocol::Decnet) => {
                return Err(unknown("names of DECnet hosts are not known", place)
                    .with_help("write the address: `decnet host 1.2`"));
            }
            None | Some(Protocol::Ip | Protocol::Arp | Protocol::Rarp | Protocol::Ip6) => {}
            Some(other) => return Err(self.no_addresses(other, qualifiers, place)),
        }
        let known = self.addresses(name, place)?;
        let mut networks = Vec::new();
        for address in known {
            match (address, qualifiers.protocol) {
                (IpAddr::V4(_), Some(Protocol::Ip6)) | (IpAddr::V6(_), Some(Protocol::Ip)) => {}
                (IpAddr::V6(address), Some(protocol @ (Protocol::Arp | Protocol::Rarp))) => {
                    let protocol = words::keyword(protocol);
                    return Err(meaning(
                        format!("`{shown}` has an IPv6 address, {address}, which no {protocol} packet has"),
                        place,
                    )
                    .with_help("write the IPv4 address that is meant"));
                }
                (IpAddr::V4(address), _) => networks.push(v4(address.to_bits(), u32::MAX)),
                (IpAddr::V6(address), _) => networks.push(Network::V6 { address, prefix: 128 }),
            }
        }
        if networks.is_empty() {
            let version = if qualifiers.protocol == Some(Protocol::Ip6) { "IPv6" } else { "IPv4" };
            return Err(unknown(format!("`{shown}` has no {version} address"), place));
        }
        Ok(Test::Address { within: qualifiers.protocol, direction: qualifiers.direction, networks })
    }

    /// The addresses of a host; at least one.
    fn addresses(&self, name: &str, place: Place) -> Result<Vec<IpAddr>, Error> {
        let shown = quoted(name);
        if let Some(address) = names::numeric_host(name) {
            return Ok(vec![address]);
        }
        let known = self.names.host(name);
        if known.is_empty() {
            let message = format!("no host is called `{shown}`");
            let near = advice::nearest(name, true)
                .map_or(String::new(), |keyword| format!("; or is it the keyword `{keyword}`?"));
            return Err(if self.names.ask_resolver {
                unknown(message, place)
                    .with_help(format!("neither the hosts file nor the resolver knows the name{near}"))
            } else {
                unknown(message, place).with_help(format!(
                    "only the hosts file (/etc/hosts) is read; --resolve allows DNS{near}"
                ))
            });
        }
        Ok(known)
    }

    fn ether(&self, name: &str, place: Place) -> Result<[u8; 6], Error> {
        let shown = quoted(name);
        self.names.ether(name).ok_or_else(|| {
            unknown(format!("the Ethernet address of `{shown}` is not known"), place)
                .with_help("only the ethers file (/etc/ethers) is read")
        })
    }

    fn gateway(&self, qualifiers: Qualifiers, name: &str, place: Place) -> Result<Test, Error> {
        let shown = quoted(name);
        match qualifiers.protocol {
            None | Some(Protocol::Ip | Protocol::Arp | Protocol::Rarp) => {}
            Some(other) => {
                return Err(meaning(
                    format!("`{}` cannot be said of a gateway", words::keyword(other)),
                    qualifiers.place,
                )
                .with_help("only `ip`, `arp` and `rarp` can"));
            }
        }
        let link_address = self.ether(name, place)?;
        let addresses: Vec<Ipv4Addr> = self
            .addresses(name, place)?
            .into_iter()
            .filter_map(|address| match address {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            })
            .collect();
        if addresses.is_empty() {
            return Err(unknown(format!("`{shown}` has no IPv4 address"), place));
        }
        Ok(Test::Gateway { within: qualifiers.protocol, link_address, addresses })
    }

    /// The port of a service, and the one transport protocol that has it there.
    fn service(&self, name: &str, place: Place) -> Result<(u16, Option<Transport>), Error> {
        let shown = quoted(name);
        if let Some(port) = numeric_service(name) {
            return Ok((port, None));
        }
        match self.names.service(name) {
            Some(service) => Ok((service.port, service.transport)),
            None => {
                let error = unknown(format!("no service is called `{shown}`"), place);
                if let Some(keyword) = advice::nearest(name, true) {
                    return Err(error.with_help(format!("did you mean the keyword `{keyword}`?")));
                }
                Err(match name.split_once('-') {
                    Some((first, last)) if all_digits(first) && all_digits(last) => {
                        error.with_help(format!("several ports are `portrange {shown}`"))
                    }
                    _ => error.with_help(
                        "names of services are looked for in /etc/services; a port in numbers is `port 80`",
                    ),
                })
            }
        }
    }

    /// `80-90`, `ftp-data`... the first dash separates, as in libpcap, whatever the names look like.
    fn service_range(&self, name: &str, place: Place) -> Result<(i64, i64, Option<Transport>), Error> {
        let shown = quoted(name);
        if let Some((first, last)) = scanned_range(name) {
            return Ok((i64::from(first), i64::from(last), None));
        }
        let Some((first, last)) = name.split_once('-') else {
            return Err(unknown(format!("`{shown}` is no range of ports"), place)
                .with_help("a range is written `portrange 8000-8080`"));
        };
        let (first, first_of) = self.service(first, place)?;
        let (last, last_of) = self.service(last, place)?;
        Ok((i64::from(first), i64::from(last), if first_of == last_of { last_of } else { None }))
    }

    /// The transport that both the qualifier and the service's entry allow.
    fn agreed(
        &self,
        name: &str,
        said: Option<Transport>,
        of: Option<Transport>,
        place: Place,
    ) -> Result<Option<Transport>, Error> {
        let shown = quoted(name);
        match (said, of) {
            (Some(said), Some(of)) if said != of => {
                let (said, of) = (transport_word(said), transport_word(of));
                Err(meaning(format!("the service `{shown}` is {of}, not {said}"), place)
                    .with_help(format!("write `{of} port {shown}` or the number")))
            }
            (said, of) => Ok(said.or(of)),
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

/// Refuses what no packet gives an answer to: fields of protocols that have none, division by a constant 0, shifts out of the word.
///
/// libpcap tests the constant with which the *code* of the right side begins, so that `6 / ip[0]` and `1 << (32 - 1)` are refused too.
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
fn protocol_number(qualifiers: Qualifiers, number: u32, _place: Place) -> Result<Test, Error> {
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

fn protocol_chain(qualifiers: Qualifiers, number: u32, _place: Place) -> Result<Test, Error> {
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

/// The transport protocol that stands in front of `port`.
fn transport(qualifiers: Qualifiers) -> Result<Option<Transport>, Error> {
    match qualifiers.protocol {
        None => Ok(None),
        Some(Protocol::Tcp) => Ok(Some(Transport::Tcp)),
        Some(Protocol::Udp) => Ok(Some(Transport::Udp)),
        Some(Protocol::Sctp) => Ok(Some(Transport::Sctp)),
        Some(other) => {
            let (word, sort) = (words::keyword(other), sort_word(qualifiers.sort));
            let help = match other {
                Protocol::Ip | Protocol::Ip6 => {
                    format!("write `{word} and {}{sort} ...`", direction_words(qualifiers.direction))
                }
                _ => "only `tcp`, `udp` and `sctp` have ports".to_owned(),
            };
            Err(meaning(format!("`{word}` has no ports"), qualifiers.place).with_help(help))
        }
    }
}

fn port_number(number: i64, place: Place) -> Result<u16, Error> {
    u16::try_from(number).map_err(|_| meaning(format!("a port is between 0 and 65535, not {number}"), place))
}

/// A port in digits where a name is expected (`port \80`), as the C library reads it.
fn numeric_service(name: &str) -> Option<u16> {
    let digits = name.strip_prefix('+').unwrap_or(name);
    if !all_digits(digits) {
        return None;
    }
    let number = wrapping_decimal(digits)? as i32;
    (number >= 0).then_some(number as u16)
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Two numbers at the beginning with a dash between, as C's `%d-%d` reads them: what follows does not count.
fn scanned_range(name: &str) -> Option<(i32, i32)> {
    let (first, rest) = scanned(name)?;
    let (last, _) = scanned(rest.strip_prefix('-')?)?;
    Some((first, last))
}

fn scanned(text: &str) -> Option<(i32, &str)> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let length = digits.bytes().take_while(u8::is_ascii_digit).count();
    let number = wrapping_decimal(&digits[..length])? as i32;
    Some((if negative { number.wrapping_neg() } else { number }, &digits[length..]))
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

fn v4(address: u32, mask: u32) -> Network {
    Network::V4 { address: Ipv4Addr::from(address & mask), mask: Ipv4Addr::from(mask) }
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

fn no_link_address(text: &str, place: Place) -> Error {
    meaning(format!("{} is no Ethernet address", quoted(text)), place)
        .with_help("those are written `ether host 00:00:5e:00:53:01`")
}

fn gateway_number(place: Place) -> Error {
    meaning("`gateway` is followed by a name: both the hosts file and the ethers file must know it", place)
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

fn transport_word(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
        Transport::Sctp => "sctp",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names() -> (tempfile::TempDir, Names) {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            ("hosts", "10.0.0.1 both four\n2001:db8::1 both six\n"),
            ("ethers", "00:00:5e:00:53:01 four\n00:00:5e:00:53:02 six\n"),
            ("services", "web 80/tcp\nns 53/tcp\nns 53/udp\ntime 123/udp\n"),
            ("networks", "loop 127.0.0.0\nnone 0.0.0.0\n"),
        ];
        for (file, text) in files {
            std::fs::write(folder.path().join(file), text).unwrap();
        }
        let names = Names::in_folder(folder.path());
        (folder, names)
    }

    /// The only test of an expression that is just one.
    fn only(text: &str) -> Test {
        let (_folder, names) = names();
        match resolve(text, &names) {
            Ok(Tree { steps }) => match steps.as_slice() {
                [Step { op: Op::Test(test), .. }] => test.clone(),
                other => panic!("{text}: {other:?}"),
            },
            Err(error) => panic!("{}", error.render(text)),
        }
    }

    fn refused(text: &str) -> Error {
        let (_folder, names) = names();
        resolve(text, &names).expect_err(text)
    }

    fn networks(text: &str) -> Vec<(u32, u32)> {
        match only(text) {
            Test::Address { networks, .. } => networks
                .iter()
                .map(|network| match network {
                    Network::V4 { address, mask } => (address.to_bits(), mask.to_bits()),
                    Network::V6 { .. } => panic!("{text} is IPv6"),
                })
                .collect(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn short_networks_are_those_of_the_first_bytes() {
        assert_eq!(networks("net 10"), [(0x0a00_0000, 0xff00_0000)]);
        assert_eq!(networks("net 172.16"), [(0xac10_0000, 0xffff_0000)]);
        assert_eq!(networks("host 5"), [(5, u32::MAX)]);
        assert_eq!(networks("net 0"), [(0, u32::MAX)]);
        assert_eq!(networks("net 010.0/8"), [(0x0a00_0000, 0xff00_0000)]);
        assert_eq!(networks("net 10.0.5.0 mask 255.0.255.0"), [(0x0a00_0500, 0xff00_ff00)]);
        assert_eq!(networks("net 0.0.0.0/0"), [(0, 0)]);
        assert_eq!(networks("net loop"), [(0x7f00_0000, u32::MAX)]);
        assert_eq!(networks("host \\10.1"), [(0x0a00_0001, u32::MAX)]);
    }

    #[test]
    fn names_have_the_addresses_that_the_qualifier_allows() {
        let count = |text: &str| match only(text) {
            Test::Address { networks, .. } => networks.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            (count("host both"), count("ip host both"), count("ip6 host both"), count("arp host four")),
            (2, 1, 1, 1)
        );
        for text in
            ["arp host both", "ip6 host four", "ip host six", "tcp host four", "host nosuch", "net none"]
        {
            refused(text);
        }
        assert!(
            refused("host nosuch")
                .help
                .is_some_and(|help| help.contains("hosts file") && help.contains("--resolve"))
        );
    }

    #[test]
    fn ports_have_the_transport_that_both_sides_allow() {
        let port = |text: &str| match only(text) {
            Test::Port { transport, ports, .. } => (transport, ports),
            other => panic!("{other:?}"),
        };
        assert_eq!(port("port web"), (Some(Transport::Tcp), Ports::One(80)));
        assert_eq!(port("port ns"), (None, Ports::One(53)));
        assert_eq!(port("sctp port ns"), (Some(Transport::Sctp), Ports::One(53)));
        assert_eq!(port("portrange ns-web"), (None, Ports::Range(53, 80)));
        assert_eq!(port("portrange 9-1x"), (None, Ports::Range(9, 1)));
        assert_eq!(port("port \\80"), (None, Ports::One(80)));
        for text in [
            "udp port web",
            "sctp port time",
            "port 65536",
            "portrange 1-65536",
            "portrange web",
            "ip port 80",
            "portrange 1--2",
        ] {
            refused(text);
        }
    }

    #[test]
    fn gateways_need_both_files() {
        let Test::Gateway { link_address, addresses, .. } = only("gateway four") else {
            panic!("not a gateway")
        };
        assert_eq!((link_address[5], addresses), (1, vec![Ipv4Addr::new(10, 0, 0, 1)]));
        for text in ["gateway both", "gateway six", "gateway 1.2.3.4", "ip6 gateway four", "gateway 1"] {
            refused(text);
        }
    }

    #[test]
    fn what_no_link_type_has_is_refused() {
        for text in [
            "ether",
            "radio",
            "radio[0] = 1",
            "ah[0] = 1",
            "arp port 80",
            "ip6 host 1.2.3.4",
            "ip host ::1",
            "tcp net 10",
            "net 10.0.0.1/8",
            "net 1.0.0.0/33",
            "net fe80::1/64",
            "net ::/129",
            "host ::/0",
            "host 10.0.0.0/8",
            "host 256.1.1.1",
            "host 0x1.2",
            "ether host 1.2.3.4",
            "host 00:00:5e:00:53:01",
            "vlan 4096",
            "mpls 1048576",
            "pppoes 65536",
            "geneve 16777216",
            "vxlan 16777216",
            "tcp broadcast",
            "arp multicast",
            "tcp proto 5",
            "arp protochain 6",
            "llc foo",
            "ip[0:3] = 1",
            "1 / 0 = 1",
            "1 % 0 = 1",
            "1 << 32 = 1",
            "6 / ip[0] = 1",
            "proto nosuch",
            "ether proto \\tcp",
            "iso proto \\ip",
            "port 1.2.3.4",
            "host $1",
        ] {
            refused(text);
        }
    }

    #[test]
    fn near_misses_are_suggested() {
        for (text, help) in [
            ("prot 80", "`port 80`"),
            ("tpc", "`tcp`"),
            ("hots 10.0.0.1", "`host 10.0.0.1`"),
            ("dport 80", "`dst port 80`"),
            ("tcp and prot 80", "`port 80`"),
            ("port web and prot 80", "`port 80`"),
            ("tcp & udp", "`and`"),
            ("tcp | udp", "`or`"),
            ("TCP", "`tcp`"),
            ("10.0.0.1", "`host 10.0.0.1`"),
            ("192.168.0.0/16", "`net 192.168.0.0/16`"),
            ("tcp 80", "`tcp port 80`"),
            ("tcp host 10.0.0.1", "`tcp and host 10.0.0.1`"),
            ("host 00:00:5e:00:53:01", "`ether host 00:00:5e:00:53:01`"),
            ("port 80-90", "`portrange 80-90`"),
            ("port 80,443", "`port 80 or 443`"),
            ("tcp-syn", "`tcp[tcpflags] & tcp-syn != 0`"),
            ("tcp[tcpflag] = 1", "`tcpflags`"),
            ("ip proto tcp", "`\\tcp`"),
            ("net 10/8", "`net 10.0.0.0/8`"),
            ("net 10.0.0.1/8", "`net 10.0.0.0/8`"),
            ("host both and tcpp", "`tcp`"),
            ("both", "`host both`"),
            ("in", "`inbound`"),
            ("len-20 > 5", "`len - 20`"),
            ("tcp not udp", "`and`"),
            ("tcp (port 80)", "`and`"),
            ("ip[12:4] = 10.0.0.1", "`src host 10.0.0.1`"),
            ("host [::1]", "`host ::1`"),
            ("ip proto icmp6", "alone"),
            ("ether proto ip", "`\\ip`"),
        ] {
            let error = refused(text);
            let given = error.help.clone().unwrap_or_default();
            assert!(given.contains(help), "{}", error.render(text));
        }
    }

    proptest! {
        /// Nothing panics, places lie in the text, and a tree has the shape that its type promises.
        #[test]
        fn any_text_is_answered(text in prop_oneof![
            "\\PC{0,40}",
            prop::collection::vec(prop::sample::select(SOUP), 0..24).prop_map(|words| words.join(" ")),
            prop::collection::vec(prop::sample::select(SOUP), 0..24).prop_map(|words| words.concat()),
            prop::collection::vec(any::<u8>(), 0..60).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        ]) {
            let (_folder, names) = names();
            match resolve(&text, &names) {
                Ok(tree) => {
                    let mut depth = 0_usize;
                    for step in &tree.steps {
                        prop_assert!(text.get(step.span.clone()).is_some_and(|words| !words.is_empty()));
                        match step.op {
                            Op::Test(_) => depth += 1,
                            Op::Not => prop_assert!(depth >= 1),
                            Op::And | Op::Or => {
                                prop_assert!(depth >= 2);
                                depth -= 1;
                            }
                        }
                    }
                    prop_assert_eq!(depth, usize::from(!tree.steps.is_empty()));
                }
                Err(error) => {
                    prop_assert!(text.get(error.span.clone()).is_some());
                    let rendered = error.render(&text);
                    prop_assert!(rendered.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)), "{}", rendered);
                }
            }
        }
    }

    const SOUP: &[&str] = &[
        "and",
        "or",
        "not",
        "!",
        "&&",
        "||",
        "(",
        ")",
        "(",
        ")",
        "tcp",
        "udp",
        "ip",
        "ip6",
        "ether",
        "arp",
        "host",
        "net",
        "port",
        "portrange",
        "src",
        "dst",
        "proto",
        "protochain",
        "gateway",
        "80",
        "443",
        "10.0.0.1",
        "10.0.0.0",
        "/",
        "8",
        "fe80::1",
        "::",
        "00:00:5e:00:53:01",
        "both",
        "\\tcp",
        "web",
        "ip[0]",
        "tcp[",
        "]",
        ":",
        "len",
        "+",
        "-",
        "*",
        "%",
        "^",
        "&",
        "|",
        "<<",
        "=",
        "!=",
        "<",
        "vlan",
        "mpls",
        "llc",
        "rnr",
        "less",
        "byte",
        "broadcast",
        "mask",
        "255.0.0.0",
        "1-1023",
        "isis",
        "decnet",
        "prot",
        "$1",
        "type",
        "vxlan",
        "é",
        "\t",
        "'",
    ];
}
