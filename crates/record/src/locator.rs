//! Where the packets of an exchange are in a recording.
//!
//! ```text
//!   K7E2QX4JZP5RGBT6MWOYFD3LVA-3@10.0.0.1.51234-10.0.0.2.8080@1795255872123456789+1500000
//!   ├──────── id ──────────────┤ ├── client ───┤ ├─ server ──┤ ├── first, ns ────┤ ├ ns to the last
//! ```
//!
//! An index of a recording knows packets by their ends and their time; neither can be computed from an id. A locator
//! has all three, so that extraction reads the few extents in which the exchange can be, takes the packets of these
//! ends, and tells by the id whether it found the right connection. An address and its port have a full stop between
//! them, as in tcpdump's lines, and nothing in the text means anything to a shell.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use gannet_flow::ConnectionId;
use gannet_http::{Exchange, ExchangeId};
use gannet_packet::{Endpoint, Timestamp};
use serde::{Serialize, Serializer};

use crate::decimal::Room;
use crate::record::started;
use crate::short::{ADDRESS_BYTES_MAX, Short};

/// What leads to the packets of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locator {
    /// Its name.
    pub exchange: ExchangeId,
    /// Who sent the request. Inside of tunnels, if there are any.
    pub client: Endpoint,
    /// Who answered.
    pub server: Endpoint,
    /// The first packet of it: the SYN, if it is the first exchange of a connection whose handshake was seen, else
    /// the one with the first byte of the request, or of a response without one.
    pub first: Timestamp,
    /// The packet with the last byte of it; of a connection that became a tunnel, the connection's last. What only
    /// acknowledges that byte comes a round trip later.
    pub last: Timestamp,
}

/// Text that is no locator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoLocator;

impl fmt::Display for NoLocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the locator of an exchange: ID@ADDRESS.PORT-ADDRESS.PORT@NANOSECONDS+NANOSECONDS")
    }
}

impl std::error::Error for NoLocator {}

impl Locator {
    /// Of an exchange.
    pub fn of(exchange: &Exchange) -> Self {
        let start = started(exchange);
        let first = exchange.timing.handshake.syn().map_or(start, |syn| syn.min(start));
        let messages = [&exchange.request, &exchange.response].into_iter().flatten();
        let ends =
            messages.map(|message| message.last).chain(exchange.tunnel.iter().map(|tunnel| tunnel.last));
        Self {
            exchange: exchange.id(),
            client: exchange.connection.client,
            server: exchange.connection.server,
            first,
            last: ends.fold(start.max(first), Timestamp::max),
        }
    }

    fn short(&self) -> Short<TEXT_BYTES_MAX> {
        self.short_behind(id_text(self.exchange))
    }

    /// Behind the text of its id.
    fn short_behind(&self, id: Short<TEXT_BYTES_MAX>) -> Short<TEXT_BYTES_MAX> {
        let mut text = id;
        for (before, end) in [(*b"@", self.client), (*b"-", self.server)] {
            text.put(before, 1);
            text.address(end.address);
            text.put(*b".", 1);
            text.number(end.port);
        }
        text.put(*b"@", 1);
        text.number(self.first.0);
        text.put(*b"+", 1);
        text.number(self.last.0.saturating_sub(self.first.0));
        text
    }
}

impl fmt::Display for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.short().as_str())
    }
}

impl Serialize for Locator {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.short().serialize(serializer)
    }
}

/// A locator with the text of its id, which a record has before it.
pub(crate) struct LocatorBehind {
    id: Short<ID_BYTES_MAX>,
    locator: Locator,
}

impl LocatorBehind {
    /// `id` is the text of the exchange's.
    pub(crate) fn new(id: Short<ID_BYTES_MAX>, exchange: &Exchange) -> Self {
        Self { id, locator: Locator::of(exchange) }
    }
}

impl Serialize for LocatorBehind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.locator.short_behind(self.id.with_room()).serialize(serializer)
    }
}

impl FromStr for Locator {
    type Err = NoLocator;

    /// The text as it is printed and no other.
    fn from_str(text: &str) -> Result<Self, NoLocator> {
        let locator = parse(text).ok_or(NoLocator)?;
        // Numbers with zeros in front, addresses in another spelling, letters in lower case.
        if locator.short().as_str() == text { Ok(locator) } else { Err(NoLocator) }
    }
}

fn parse(text: &str) -> Option<Locator> {
    let mut parts = text.split('@');
    let (id, ends, times) = (parts.next()?, parts.next()?, parts.next()?);
    let (client, server) = ends.split_once('-')?;
    let (first, duration) = times.split_once('+')?;
    let first: u64 = first.parse().ok()?;
    parts.next().is_none().then_some(Locator {
        exchange: id.parse().ok()?,
        client: endpoint(client)?,
        server: endpoint(server)?,
        first: Timestamp(first),
        last: Timestamp(first.checked_add(duration.parse().ok()?)?),
    })
}

fn endpoint(text: &str) -> Option<Endpoint> {
    let (address, port) = text.rsplit_once('.')?;
    Some(Endpoint { address: address.parse::<IpAddr>().ok()?, port: port.parse().ok()? })
}

/// The text of an id, with room behind it: the connection's name, a hyphen, the index.
pub(crate) fn id_text<const N: usize>(id: ExchangeId) -> Short<N> {
    let mut text = Short::new();
    text.put(id.connection.text(), ConnectionId::TEXT_BYTES);
    text.put(*b"-", 1);
    text.number(id.index);
    text
}

/// Bytes of the longest id.
pub(crate) const ID_BYTES_MAX: usize = ConnectionId::TEXT_BYTES + 1 + 10;

/// The longest id, two addresses, ports, times, and what is between them.
const TEXT_BYTES_MAX: usize = ID_BYTES_MAX + 2 * (1 + ADDRESS_BYTES_MAX + 1 + 5) + 2 * (1 + 20);

#[cfg(test)]
mod tests {
    use gannet_flow::Handshake;
    use gannet_http::{Reason, Tunnel, TunnelProtocol};
    use proptest::prelude::*;

    use super::*;
    use crate::sample::{self, FIRST, head, request};

    const TEXT: &str =
        "K7E2QX4JZP5RGBT6MWOYFD3LVA-3@10.0.0.1.51234-2001:db8::2.8080@1795255872123456789+1500000";

    #[test]
    fn a_text_and_what_it_says() {
        let locator: Locator = TEXT.parse().unwrap();
        assert_eq!(locator.exchange.to_string(), "K7E2QX4JZP5RGBT6MWOYFD3LVA-3");
        assert_eq!((locator.client.address.to_string(), locator.client.port), ("10.0.0.1".into(), 51_234));
        assert_eq!((locator.server.address.to_string(), locator.server.port), ("2001:db8::2".into(), 8_080));
        assert_eq!((locator.first.0, locator.last.0), (FIRST, FIRST + 1_500_000));
        assert_eq!(locator.to_string(), TEXT);
    }

    #[test]
    fn what_is_no_locator() {
        for (from, to) in [
            ("K7E2", "k7e2"),
            ("K7E2", "7E2"),
            ("-3@", "-03@"),
            ("-3@", "@"),
            ("-3@", "-4294967296@"),
            ("10.0.0.1.", "10.0.0.1:"),
            ("10.0.0.1.", "10.0.1."),
            ("10.0.0.1.", "10.0.0.1.0"),
            ("51234", "65536"),
            ("db8::2", "db8:0::2"),
            ("db8::2", "DB8::2"),
            ("-2001", "2001"),
            ("@1795", "@-1795"),
            ("@1795", "@+1795"),
            ("+1500000", ""),
            ("+1500000", "+"),
            ("+1500000", "+18446744073709551615"),
            ("+1500000", "+1500000@"),
            ("+1500000", "+1500000 "),
            (TEXT, ""),
        ] {
            let text = TEXT.replacen(from, to, 1);
            assert_ne!(text, TEXT, "{from}");
            assert_eq!(text.parse::<Locator>(), Err(NoLocator), "{text}");
        }
        assert!(NoLocator.to_string().contains("ID@"));
    }

    #[test]
    fn an_exchange_from_its_first_packet_to_its_last() {
        let mut exchange = sample::exchange(request("GET / HTTP/1.1", &[]), head(b"HTTP/1.1 200 OK", &[]));
        let span = |exchange: &Exchange| {
            let locator = Locator::of(exchange);
            (locator.first.0 as i64 - FIRST as i64, locator.last.0 - FIRST)
        };
        assert_eq!(span(&exchange), (0, 1_500_000));
        exchange.timing.handshake = Handshake::new(Some(Timestamp(FIRST - 70)), None, None);
        assert_eq!(span(&exchange), (-70, 1_500_000));
        exchange.tunnel = Some(Box::new(Tunnel {
            protocol: TunnelProtocol::Tls,
            server_name: None,
            first: Timestamp(FIRST + 1_500_000),
            last: Timestamp(FIRST + 9_000_000),
            client_bytes: 1,
            server_bytes: 1,
            websocket: None,
            reason: Reason::Fin,
        }));
        assert_eq!(span(&exchange), (-70, 9_000_000));
        let orphan = sample::exchange_of(None, Some(sample::message(head(b"HTTP/1.1 200 OK", &[]), 0, 5, 9)));
        assert_eq!(span(&orphan), (5, 9));
    }

    proptest! {
        #[test]
        fn texts_lead_back(
            id in any::<[u8; 16]>(), index: u32, ends: [(IpAddr, u16); 2], first: u64, duration: u64,
        ) {
            let [client, server] = ends.map(|(address, port)| Endpoint { address, port });
            let connection = data_encoding(&id);
            let exchange = ExchangeId { connection, index };
            let last = Timestamp(first.saturating_add(duration));
            let locator = Locator { exchange, client, server, first: Timestamp(first), last };
            prop_assert_eq!(locator.to_string().parse(), Ok(locator), "{}", locator);
        }

        #[test]
        fn no_text_is_too_odd(text in "\\PC*|[A-Z2-7]{26}-[0-9]{1,3}@[0-9.:a-f-]{5,40}@[0-9+]{3,30}") {
            let _ = text.parse::<Locator>();
        }
    }

    /// A connection's name from its bytes, five bits in a letter.
    fn data_encoding(id: &[u8; 16]) -> ConnectionId {
        let bits = |at: usize| (0..5).map(move |bit| at * 5 + bit);
        let bit = |at: usize| id.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
        let letter = |at: usize| bits(at).fold(0, |value, at| value << 1 | bit(at));
        let text: String = (0..26)
            .map(|at| char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[usize::from(letter(at))]))
            .collect();
        text.parse().unwrap()
    }
}
