//! Ports, by number and by the name of a service, and the transport protocols that have them.

use super::{Resolver, all_digits, direction_words, meaning, sort_word, unknown, wrapping_decimal};
use crate::advice;
use crate::error::{Error, quoted};
use crate::lex::Place;
use crate::syntax::Qualifiers;
use crate::tree::{Protocol, Transport};
use crate::words;

impl Resolver<'_> {
    /// The port of a service, and the one transport protocol that has it there.
    pub(super) fn service(&self, name: &str, place: Place) -> Result<(u16, Option<Transport>), Error> {
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
    pub(super) fn service_range(
        &self,
        name: &str,
        place: Place,
    ) -> Result<(i64, i64, Option<Transport>), Error> {
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
    pub(super) fn agreed(
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
}

/// The transport protocol that stands in front of `port`.
pub(super) fn transport(qualifiers: Qualifiers) -> Result<Option<Transport>, Error> {
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

pub(super) fn port_number(number: i64, place: Place) -> Result<u16, Error> {
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

fn transport_word(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
        Transport::Sctp => "sctp",
    }
}
