//! Hosts, networks and gateways: addresses in digits and by name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Resolver, direction_words, meaning, sort_wants, sort_word, unknown, wrapping_decimal};
use crate::advice;
use crate::error::{Error, quoted};
use crate::lex::Place;
use crate::names;
use crate::syntax::{Qualifiers, Sort};
use crate::tree::{Network, Protocol, Test};
use crate::words;

impl Resolver<'_> {
    /// An IPv4 address of one to four numbers, its bytes at the left, and how many bits they are.
    pub(super) fn octets(&self, place: Place) -> Result<(u32, u32), Error> {
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
    pub(super) fn dotted(&self, qualifiers: Qualifiers, place: Place) -> Result<Test, Error> {
        let text = place.of(self.text);
        let shown = quoted(text);
        match qualifiers.sort {
            Sort::Unsaid | Sort::Host | Sort::Net => {}
            Sort::Gateway => return Err(gateway_number(place)),
            other => return Err(no_address(other, &shown, place)),
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
    pub(super) fn masked(
        &self,
        qualifiers: Qualifiers,
        address: u32,
        mask: u32,
        place: Place,
    ) -> Result<Test, Error> {
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
    pub(super) fn address(
        &self,
        qualifiers: Qualifiers,
        address: u32,
        mask: u32,
        place: Place,
    ) -> Result<Test, Error> {
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

    pub(super) fn ip6(
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
            other => return Err(no_address(other, &shown, place)),
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

    pub(super) fn host(&self, qualifiers: Qualifiers, name: &str, place: Place) -> Result<Test, Error> {
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

    pub(super) fn gateway(&self, qualifiers: Qualifiers, name: &str, place: Place) -> Result<Test, Error> {
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
}

fn v4(address: u32, mask: u32) -> Network {
    Network::V4 { address: Ipv4Addr::from(address & mask), mask: Ipv4Addr::from(mask) }
}

fn no_link_address(text: &str, place: Place) -> Error {
    meaning(format!("{} is no Ethernet address", quoted(text)), place)
        .with_help("those are written `ether host 00:00:5e:00:53:01`")
}

/// An address behind a sort that takes something else, such as `port`.
fn no_address(sort: Sort, shown: &str, place: Place) -> Error {
    let message = format!("`{}` is followed by {}, not by an address", sort_word(sort), sort_wants(sort));
    meaning(message, place).with_help(format!("`host {shown}` is the address"))
}

pub(super) fn gateway_number(place: Place) -> Error {
    meaning("`gateway` is followed by a name: both the hosts file and the ethers file must know it", place)
}
