//! Text of a bounded length, put together without the heap: ASCII, and nothing in it that JSON would escape.

use std::fmt;
use std::net::IpAddr;

use serde::{Serialize, Serializer};

use crate::decimal::{self, Room};
use crate::json::Plain;

/// At most `N` bytes of text. Whoever makes one chooses `N` so that all of it fits; a piece that does not is left out.
#[derive(Clone, Copy)]
pub(crate) struct Short<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Short<N> {
    pub(crate) fn new() -> Self {
        Self { bytes: [0; N], len: 0 }
    }

    /// The same with room for `M` bytes, which is no less.
    #[inline]
    pub(crate) fn with_room<const M: usize>(&self) -> Short<M> {
        let mut text = Short::new();
        // All of it, of a length that is known when compiling.
        if let Some(room) = text.bytes.first_chunk_mut::<N>() {
            *room = self.bytes;
            text.len = self.len;
        }
        text
    }

    #[inline]
    pub(crate) fn text(&mut self, text: &str) {
        self.ascii(text.as_bytes());
    }

    #[inline]
    pub(crate) fn ascii(&mut self, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.len..self.len + bytes.len()) {
            room.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }

    #[inline]
    pub(crate) fn number(&mut self, number: impl Into<u64>) {
        decimal::write(number.into(), self);
    }

    #[inline]
    pub(crate) fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                let [a, b, c, last] = address.octets().map(|octet| OCTETS[usize::from(octet)]);
                for (text, len) in [a, b, c] {
                    self.put(text, len);
                }
                self.put(last.0, last.1 - 1);
            }
            IpAddr::V6(address) => {
                // Fails where there is no room, which is for whoever chose N to know.
                let _ = fmt::Write::write_fmt(self, format_args!("{address}"));
            }
        }
    }

    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub(crate) fn as_str(&self) -> &str {
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl<const N: usize> Room for Short<N> {
    #[inline]
    fn put<const M: usize>(&mut self, bytes: [u8; M], len: usize) {
        match self.bytes.get_mut(self.len..self.len + M) {
            Some(room) => {
                room.copy_from_slice(&bytes);
                self.len += len;
            }
            None => self.ascii(bytes.get(..len).unwrap_or(&bytes)),
        }
    }
}

/// Each number of an address in decimal with a full stop behind it, and how long that is.
static OCTETS: [([u8; 4], usize); 256] = {
    let mut octets = [([0; 4], 0); 256];
    let mut value = 0;
    while value < 256 {
        let digits = [b'0' + (value / 100) as u8, b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8];
        octets[value] = match (digits, value) {
            ([_, _, c], 0..10) => ([c, b'.', 0, 0], 2),
            ([_, b, c], 10..100) => ([b, c, b'.', 0], 3),
            ([a, b, c], _) => ([a, b, c, b'.'], 4),
        };
        value += 1;
    }
    octets
};

/// An address in a record.
#[derive(Clone, Copy)]
pub(crate) struct Address(pub(crate) IpAddr);

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = Short::<ADDRESS_BYTES_MAX>::new();
        text.address(self.0);
        text.serialize(serializer)
    }
}

/// Bytes of the longest address: 39 digits and colons, or 45 if there is one of IPv4's in it.
pub(crate) const ADDRESS_BYTES_MAX: usize = 45;

impl<const N: usize> fmt::Write for Short<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let before = self.len;
        self.text(text);
        if self.len == before + text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

impl<const N: usize> Serialize for Short<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Plain(self.as_bytes()).serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut short = Short::<5>::new();
        short.text("abc");
        short.text("def");
        short.number(42_u32);
        short.ascii(b"g");
        assert_eq!(short.as_str(), "abc42");
    }

    proptest! {
        #[test]
        fn addresses_are_those_of_the_standard_library(address: IpAddr, number: u64) {
            let mut short = Short::<80>::new();
            short.address(address);
            short.number(number);
            prop_assert_eq!(short.as_str(), format!("{address}{number}"));
        }
    }
}
