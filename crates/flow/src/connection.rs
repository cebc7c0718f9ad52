//! What names a connection wherever and whenever it is looked at.

use std::fmt;
use std::net::IpAddr;

use data_encoding::{BASE32_NOPAD, DecodeError};
use gannet_packet::FlowKey;
use sha1::{Digest, Sha1};

use crate::{Flow, Peer};

/// The name of one connection: of its 5-tuple and both initial sequence numbers, and of nothing that a tap or a run
/// adds.
///
/// The first 16 bytes of SHA-1 over: both addresses as IPv6 (IPv4 mapped), both ports, the protocol, and for each end
/// one byte (1 if its initial sequence number is known) and the number (0 if not), in network byte order, the lower
/// end of the key first. Printed as 26 characters of base32 (RFC 4648, no padding).
///
/// Two connections of the same ports have different names because initial sequence numbers differ (RFC 6528). A flow
/// joined midstream has none: its name says that both are unknown, so it is the same at two taps that both joined
/// midstream, and the same for all such flows of these ports. A tap that saw the handshake and one that did not name it
/// differently. Where only one end's number was seen (a SYN without an answer), only that one counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId([u8; 16]);

impl ConnectionId {
    pub(crate) fn of(flow: &Flow) -> Self {
        let originator_is_low = flow.endpoint(Peer::Originator) == flow.key.low();
        let ends = if originator_is_low { Peer::BOTH } else { [Peer::Responder, Peer::Originator] };
        Self::new(&flow.key, ends.map(|peer| flow.initial_sequence(peer)))
    }

    /// The name by the initial sequence numbers of both ends of the key, the lower end first, as far as they are known.
    /// Conversations of protocols without any are named by their ends alone.
    pub(crate) fn new(key: &FlowKey, sequences: [Option<u32>; 2]) -> Self {
        let (low, high) = (key.low(), key.high());
        let mut sha = Sha1::new();
        for end in [low, high] {
            let address = match end.address {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            };
            sha.update(address.octets());
        }
        sha.update(low.port.to_be_bytes());
        sha.update(high.port.to_be_bytes());
        sha.update([key.protocol().0]);
        for number in sequences {
            sha.update([u8::from(number.is_some())]);
            sha.update(number.unwrap_or(0).to_be_bytes());
        }
        let digest: [u8; 20] = sha.finalize().into();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }

    /// The 16 bytes.
    pub fn bytes(&self) -> [u8; 16] {
        self.0
    }

    /// Its text, which is ASCII: what `Display` prints, without a formatter.
    pub fn text(&self) -> [u8; Self::TEXT_BYTES] {
        let bits = u128::from_be_bytes(self.0);
        // Five bits each from the highest on; of the last letter two are missing, which count as 0.
        let letter = |place: usize| match 123_usize.checked_sub(5 * place) {
            Some(below) => LETTERS[(bits >> below) as usize & 31],
            None => LETTERS[(bits << 2) as usize & 31],
        };
        std::array::from_fn(letter)
    }

    /// Length of its text: five bits of 128 in each letter.
    pub const TEXT_BYTES: usize = 26;
}

/// The base 32 of RFC 4648, section 6.
const LETTERS: [u8; 32] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.text()).unwrap_or_default())
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for ConnectionId {
    type Err = DecodeError;

    fn from_str(text: &str) -> Result<Self, DecodeError> {
        let wrong = DecodeError { position: 0, kind: data_encoding::DecodeKind::Length };
        let bytes = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes())?;
        bytes.try_into().map(Self).map_err(|_| wrong)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the library that reads it back.
        #[test]
        fn texts_are_those_of_rfc_4648(bytes: [u8; 16]) {
            let id = ConnectionId(bytes);
            prop_assert_eq!(id.to_string(), BASE32_NOPAD.encode(&bytes));
            prop_assert_eq!(id.to_string().parse::<ConnectionId>().ok(), Some(id));
        }
    }
}
