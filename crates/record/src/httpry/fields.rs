//! Which values a line has, and finding them in a head.

use std::fmt;
use std::ops::Range;

use super::{RawKind, Walk, start, without_leading_space};
use crate::names::Names;
use crate::words;

/// The fields of a line, in order: what httpry's `-f` says.
///
/// Besides its eleven own names, each is the name of a header field. The last of several header fields counts, and an
/// empty one does not; one that is named like a part of the start line takes its place, as in httpry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    names: Names,
    /// What a name begins with, in any case of letters.
    begins: Box<[bool; 256]>,
    columns: Vec<Column>,
    /// Where the parts of a start line are among the names: version, method, target, status, reason phrase.
    start: [Option<usize>; 5],
}

/// What a field of a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Timestamp,
    SourceAddress,
    DestinationAddress,
    SourcePort,
    DestinationPort,
    Direction,
    /// Something in the head.
    Value,
}

impl Default for Fields {
    fn default() -> Self {
        Self::of(DEFAULT_FIELDS)
    }
}

/// A list of fields without a name in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoFields;

impl fmt::Display for NoFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no field in the list")
    }
}

impl std::error::Error for NoFields {}

/// Where the values of one head are in it: an empty range where there is none.
#[derive(Clone, Debug, Default)]
pub(super) struct Values(Vec<Range<usize>>);

/// What a head turned out to be by looking for its values.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    /// It begins with a line that gives a line.
    pub(super) is_head: bool,
    /// Its end is there.
    pub(super) has_end: bool,
}

impl Fields {
    /// From what was asked for: case and blanks around the names do not matter, nor do empty names and those that
    /// were there before.
    pub fn new<S: AsRef<str>>(list: &[S]) -> Result<Self, NoFields> {
        Some(Self::of(list)).filter(|fields| !fields.columns.is_empty()).ok_or(NoFields)
    }

    fn of<S: AsRef<str>>(list: &[S]) -> Self {
        let mut names = Names::new();
        for name in list.iter().map(|name| name.as_ref().trim()).filter(|name| !name.is_empty()) {
            names.add(name);
        }
        let mut begins = Box::new([false; 256]);
        for byte in names.iter().filter_map(|name| name.bytes().next()) {
            begins[usize::from(byte)] = true;
            begins[usize::from(byte.to_ascii_uppercase())] = true;
        }
        let columns = names.iter().map(|name| match name {
            "timestamp" => Column::Timestamp,
            "source-ip" => Column::SourceAddress,
            "dest-ip" => Column::DestinationAddress,
            "source-port" => Column::SourcePort,
            "dest-port" => Column::DestinationPort,
            "direction" => Column::Direction,
            _ => Column::Value,
        });
        let columns = columns.collect();
        let start = ["http-version", "method", "request-uri", "status-code", "reason-phrase"];
        let start = start.map(|name| names.find(name.as_bytes()));
        Self { names, begins, columns, start }
    }

    /// What httpry prints in its rate mode: the host alone.
    pub fn host() -> Self {
        Self::of(&["host"])
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter()
    }

    /// What each is, in order.
    pub(super) fn columns(&self) -> impl Iterator<Item = Column> {
        self.columns.iter().copied()
    }

    /// Looks for the values in a head, which may have more behind it. Those that are not in there, addresses and
    /// times, are left empty.
    pub(super) fn find(&self, kind: RawKind, head: &[u8], values: &mut Values) -> Found {
        values.0.clear();
        values.0.resize(self.columns.len(), 0..0);
        let mut walk = Walk::new(head);
        let Some(start) = start(kind, walk.first_line()) else { return Found::default() };
        let parts = [start.version, start.method, start.target, start.status, start.reason];
        for (place, part) in self.start.into_iter().zip(parts) {
            values.set(place, part, head);
        }
        while let Some(line) = walk.next_line() {
            // Most lines are told by their first byte.
            if !line.first().is_some_and(|byte| self.begins[usize::from(*byte)]) {
                continue;
            }
            let Some(colon) = words::position(line, |byte| byte == b':') else { continue };
            if let place @ Some(_) = self.names.find(&line[..colon]) {
                values.set(place, without_leading_space(&line[colon + 1..]), head);
            }
        }
        Found { is_head: true, has_end: walk.end.is_some() }
    }
}

impl Values {
    /// Takes a part of the head as the value at this place, unless it is empty.
    fn set(&mut self, place: Option<usize>, value: &[u8], head: &[u8]) {
        if let Some(place) = place.and_then(|place| self.0.get_mut(place))
            && !value.is_empty()
        {
            let start = (value.as_ptr() as usize).wrapping_sub(head.as_ptr() as usize);
            *place = start..start + value.len();
        }
    }

    /// The value at this place, counted from 0.
    pub(super) fn of<'a>(&self, place: usize, head: &'a [u8]) -> &'a [u8] {
        self.0.get(place).and_then(|range| head.get(range.clone())).unwrap_or_default()
    }
}

/// What `-f` is without being given.
pub const DEFAULT_FIELDS: &[&str] = &[
    "timestamp",
    "source-ip",
    "dest-ip",
    "direction",
    "method",
    "host",
    "request-uri",
    "http-version",
    "status-code",
    "reason-phrase",
];

/// What httpry calls the field of a record that has this name; `None` if there is no such field, or nothing like it
/// there.
pub fn name_in_httpry(name: &str) -> Option<&str> {
    let header = ["http.request.header.", "http.response.header."];
    if let Some(header) = header.iter().find_map(|object| name.strip_prefix(object)) {
        return Some(header);
    }
    NAMES.iter().find(|(_, record)| *record == name).map(|(httpry, _)| *httpry)
}

/// The field of a record that is what httpry has under this name.
pub(crate) fn name_in_records(name: &str) -> Option<&'static str> {
    NAMES.iter().find(|(httpry, _)| *httpry == name).map(|(_, record)| *record)
}

/// What is the same, or nearly so, by httpry's name and by that of the record.
const NAMES: &[(&str, &str)] = &[
    ("source-ip", "client.address"),
    ("source-port", "client.port"),
    ("dest-ip", "network.peer.address"),
    ("dest-port", "network.peer.port"),
    ("method", "http.request.method"),
    ("host", "http.request.header.host"),
    ("host", "server.address"),
    ("request-uri", "url.path"),
    ("request-uri", "url.query"),
    ("http-version", "network.protocol.version"),
    ("status-code", "http.response.status_code"),
    ("reason-phrase", "http.response.reason_phrase"),
    ("user-agent", "user_agent.original"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn found(fields: &str, kind: RawKind, head: &str) -> String {
        let fields = Fields::new(&fields.split(',').collect::<Vec<_>>()).unwrap();
        let mut values = Values::default();
        fields.find(kind, head.as_bytes(), &mut values);
        let values: Vec<_> =
            (0..fields.names().count()).map(|place| values.of(place, head.as_bytes())).collect();
        values.join(&b"|"[..]).escape_ascii().to_string()
    }

    #[test]
    fn names_are_put_in_order() {
        let fields = Fields::new(&[" Host", "", "x-A ", "HOST"]).unwrap();
        assert_eq!(fields.names().collect::<Vec<_>>(), ["host", "x-a"]);
        assert_eq!(Fields::new(&["", "  "]), Err(NoFields));
        assert_eq!(Fields::default().names().count(), 10);
    }

    #[test]
    fn values_of_requests() {
        let find = |head| found("method,request-uri,http-version,host,x,direction", RawKind::Request, head);
        assert_eq!(find("GET /a HTTP/1.1\r\nHost: b\r\n\r\n"), "GET|/a|HTTP/1.1|b||");
        // Spaces in front go, those behind stay; no other line end than LF, one CR before it.
        assert_eq!(find("GET  \t/a   HTTP/1.1 x\nHost:\t b \r\r\n\r\n"), "GET|/a|HTTP/1.1 x|b \\r||");
        // The last one counts, and an empty one does not.
        assert_eq!(
            find("GET /a HTTP/1.1\r\nX: 1\r\nx: 2\r\nX:\r\nhost : b\r\n\r\nX: 3"),
            "GET|/a|HTTP/1.1||2|"
        );
        // A line without a colon is none, a continued one is one of its own, and the name is all before the colon.
        assert_eq!(find("GET /a\r\nX\r\nX: 1\r\n X: 2\r\n :\r\n\r\n"), "GET|/a|||1|");
        // A header field named like a part of the line.
        assert_eq!(find("GET /a\r\nMethod: b\r\ndirection: c\r\n\r\n"), "b|/a||||c");
        assert_eq!(find("GET /a HTTP/1.1\r\nX: 1\0\r\nHost: b\r\n\r\n"), "GET|/a|HTTP/1.1|||");
        assert_eq!(find("GET /a HTTP/1.1\n\0X: 1\n\0\0\n"), "GET|/a|HTTP/1.1||1|");
    }

    #[test]
    fn values_of_responses() {
        let find =
            |head| found("http-version,status-code,reason-phrase,method,server", RawKind::Response, head);
        assert_eq!(find("HTTP/1.1 200 OK\r\nServer: a\r\n\r\n"), "HTTP/1.1|200|OK||a");
        assert_eq!(find("HTTP/1.0  404  Not  Found \r\n\r\n"), "HTTP/1.0|404|Not  Found ||");
        assert_eq!(find("HTTP/1.1 204 \r\n\r\n"), "HTTP/1.1|204|||");
        // What is not whole: the last line has no end.
        assert_eq!(find("HTTP/1.1 200 OK\r\nServer: a"), "HTTP/1.1|200|OK||");
        assert_eq!(find("HTTP/1.1 200 O"), "HTTP/1.1|200|O||");
    }
}
