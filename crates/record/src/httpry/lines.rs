//! Heads as lines of text.

use std::fmt::{self, Write};
use std::net::{IpAddr, Ipv4Addr};

use gannet_packet::Timestamp;
use jiff::tz::TimeZone;

use super::fields::{Column, Values};
use super::{Fields, RawKind, Sent};
use crate::decimal;
use crate::sheet::{Full, append, behind, piece, put, put_byte};
use crate::short::{ADDRESS_BYTES_MAX, Short};
use crate::time;

/// Times as httpry prints them: `2026-01-31 23:59:59`, in the local time zone.
#[derive(Debug)]
pub struct LocalTime {
    zone: TimeZone,
    /// The second that was asked for last, and its text: most lines of a second come together.
    last: Option<(u64, [u8; 19])>,
}

/// What stands in front of the first line of a file: two comments, of which the first names the release that the lines
/// are those of.
pub fn write_comments(fields: &Fields, out: &mut Vec<u8>) {
    out.extend_from_slice(b"# httpry version 0.1.8\n# Fields: ");
    for (index, name) in fields.names().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
    }
    out.push(b'\n');
}

/// What a line is made of: the values of the fields with a TAB between, `-` for what is not there or empty.
pub(super) struct Line<'a> {
    pub(super) kind: RawKind,
    pub(super) fields: &'a Fields,
    /// Where the values are in the head.
    pub(super) values: &'a Values,
    pub(super) head: &'a [u8],
    pub(super) sent: &'a Sent,
    /// When it was sent, as [`LocalTime`] has it.
    pub(super) time: &'a [u8],
}

impl Line<'_> {
    /// Appends the line.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        // It does not fail but for want of room, of which there is more then.
        let _ = append(out, LINE_BYTES, |room| self.put(room), |Full| true);
    }

    fn put<'r>(&self, mut room: &'r mut [u8]) -> Result<&'r mut [u8], Full> {
        let Sent { source, destination, .. } = self.sent;
        for (place, column) in self.fields.columns().enumerate() {
            if place > 0 {
                room = put_byte(b'\t', room)?;
            }
            let value = self.values.of(place, self.head);
            // These are httpry's own whatever the head says, and `direction` unless it has such a field.
            room = match (column, self.kind) {
                (Column::Timestamp, _) => put(self.time, room)?,
                (Column::SourceAddress, _) => put_address(source.address, room)?,
                (Column::DestinationAddress, _) => put_address(destination.address, room)?,
                (Column::SourcePort, _) => put_port(source.port, room)?,
                (Column::DestinationPort, _) => put_port(destination.port, room)?,
                (Column::Direction, RawKind::Request) if value.is_empty() => put_byte(b'>', room)?,
                (Column::Direction, RawKind::Response) if value.is_empty() => put_byte(b'<', room)?,
                _ if value.is_empty() => put_byte(b'-', room)?,
                _ => put(value, room)?,
            };
        }
        put_byte(b'\n', room)
    }
}

/// A usual line has room in so many bytes.
const LINE_BYTES: usize = 256;

impl LocalTime {
    /// Times of this zone.
    pub fn new(zone: TimeZone) -> Self {
        Self { zone, last: None }
    }

    /// The text of a time; parts of a second are cut off.
    pub fn text(&mut self, time: Timestamp) -> &[u8] {
        let secs = time.secs();
        let text = match self.last {
            Some((known, text)) if known == secs => text,
            _ => self.format(secs),
        };
        &self.last.insert((secs, text)).1
    }

    fn format(&self, secs: u64) -> [u8; 19] {
        // 2554 is the last year of a `Timestamp`, 9999 jiff's.
        let secs = i64::try_from(secs).unwrap_or(i64::MAX);
        let instant = jiff::Timestamp::from_second(secs).unwrap_or(jiff::Timestamp::MAX);
        let civil = self.zone.to_datetime(instant);
        let mut text = *b"0000-00-00 00:00:00";
        time::put(&mut text[0..4], civil.year().unsigned_abs().into());
        time::put(&mut text[5..7], civil.month().unsigned_abs().into());
        time::put(&mut text[8..10], civil.day().unsigned_abs().into());
        time::put(&mut text[11..13], civil.hour().unsigned_abs().into());
        time::put(&mut text[14..16], civil.minute().unsigned_abs().into());
        time::put(&mut text[17..19], civil.second().unsigned_abs().into());
        text
    }
}

/// An address as C's `inet_ntop` has it, which shows an IPv4 address in more places than Rust does.
struct Address(IpAddr);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V6(address) => match address.segments() {
                [0, 0, 0, 0, 0, 0, high, low] if high != 0 => {
                    let v4 = Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
                    write!(f, "::{v4}")
                }
                _ => address.fmt(f),
            },
            IpAddr::V4(address) => address.fmt(f),
        }
    }
}

fn put_address(address: IpAddr, room: &mut [u8]) -> Result<&mut [u8], Full> {
    let mut text = Short::<ADDRESS_BYTES_MAX>::new();
    if address.is_ipv4() {
        text.address(address);
    } else {
        // There is room for every address.
        let _ = write!(text, "{}", Address(address));
    }
    put(text.as_bytes(), room)
}

fn put_port(port: u16, room: &mut [u8]) -> Result<&mut [u8], Full> {
    let len = decimal::put(port.into(), piece(room)?);
    behind(room, len)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn comments_name_the_fields() {
        let mut out = Vec::new();
        write_comments(&Fields::new(&["A", "b"]).unwrap(), &mut out);
        assert_eq!(out, b"# httpry version 0.1.8\n# Fields: a,b\n");
    }

    #[test]
    fn addresses_are_those_of_c() {
        for text in ["::ffff:192.0.2.1", "::192.0.2.1", "::1", "::", "1::", "2001:db8::1:0:0:1", "192.0.2.1"]
        {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(Address(address).to_string(), text);
        }
        assert_eq!(Address(Ipv6Addr::from_bits(0xffff).into()).to_string(), "::ffff");
    }
}
