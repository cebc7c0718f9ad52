//! The head of a message: its bytes as they were on the wire, and where things are in them.

use std::ops::Range;

/// Start line and header fields (RFC 9112, sections 2 to 5). One allocation for the bytes, one for the fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// From the start line to the empty line, as captured; cut to the configured limit. Behind that, values that were
    /// folded, joined.
    raw: Box<[u8]>,
    /// Of what was captured.
    len: u32,
    start: StartLine,
    fields: Box<[Field]>,
    /// Where the version is if it is none of the usual ones; empty if the start line was cut before it.
    version: Option<Range<u32>>,
    /// The head was longer than the limit, or had more fields: those beyond are missing here.
    pub cut: bool,
    /// A field was continued on further lines (obs-fold): its value here is joined, with a blank for each line's end.
    pub folded: bool,
}

/// The parts of the start line, as ranges of the head's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartLine {
    /// `method SP request-target SP HTTP-version`
    Request {
        /// The method as sent.
        method: Range<u32>,
        /// The target as sent: a path with query, an absolute URI, an authority, or `*`.
        target: Range<u32>,
        /// 0 for HTTP/1.0, 1 for HTTP/1.1 and what is read like it: [`Head::version`] has the version as sent.
        minor: u8,
    },
    /// `HTTP-version SP status-code [SP reason-phrase]`
    Response {
        /// The status code; `None` if what stands there is no number of three digits.
        status: Option<u16>,
        /// The reason phrase; empty if there is none.
        reason: Range<u32>,
        /// 0 for HTTP/1.0, 1 for HTTP/1.1 and what is read like it: [`Head::version`] has the version as sent.
        minor: u8,
    },
    /// `GET SP request-target`, the whole of a request of HTTP/0.9.
    SimpleRequest {
        /// The target as sent.
        target: Range<u32>,
    },
    /// Nothing: a response of HTTP/0.9 is a body.
    SimpleResponse,
}

/// A header field, as ranges of the head's bytes; the value without blanks around it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Field {
    pub name: Range<u32>,
    pub value: Range<u32>,
}

impl Head {
    /// From its parts. Ranges that lie outside of `raw` read as empty.
    pub fn new(raw: Box<[u8]>, start: StartLine, fields: Box<[Field]>) -> Self {
        let len = raw.len() as u32;
        Self { raw, len, start, fields, version: None, cut: false, folded: false }
    }

    /// The same; `len` bytes of `raw` are the head, and behind them are values that were folded.
    pub(crate) fn unfolded(raw: Box<[u8]>, len: usize, start: StartLine, fields: Box<[Field]>) -> Self {
        Self { len: len as u32, folded: true, ..Self::new(raw, start, fields) }
    }

    /// Takes it out; what is left is no head.
    #[inline]
    pub(crate) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new(Box::default(), StartLine::SimpleResponse, Box::default()))
    }

    /// The bytes as captured.
    pub fn raw(&self) -> &[u8] {
        self.raw.get(..self.len as usize).unwrap_or_default()
    }

    /// Bytes allocated for it.
    pub(crate) fn memory(&self) -> usize {
        self.raw.len() + size_of_val(&*self.fields)
    }

    /// The start line.
    pub fn start(&self) -> &StartLine {
        &self.start
    }

    /// The method as sent; empty for a response.
    pub fn method(&self) -> &[u8] {
        match &self.start {
            StartLine::Request { method, .. } => self.bytes(method),
            StartLine::SimpleRequest { .. } => b"GET",
            StartLine::Response { .. } | StartLine::SimpleResponse => &[],
        }
    }

    /// The request target as sent; empty for a response.
    pub fn target(&self) -> &[u8] {
        match &self.start {
            StartLine::Request { target, .. } | StartLine::SimpleRequest { target } => self.bytes(target),
            StartLine::Response { .. } | StartLine::SimpleResponse => &[],
        }
    }

    /// The status code; `None` for a request, for a response of HTTP/0.9, which has none, and for one where no number
    /// of three digits stands.
    pub fn status(&self) -> Option<u16> {
        match self.start {
            StartLine::Response { status, .. } => status,
            _ => None,
        }
    }

    /// The reason phrase; empty for a request.
    pub fn reason(&self) -> &[u8] {
        match &self.start {
            StartLine::Response { reason, .. } => self.bytes(reason),
            _ => &[],
        }
    }

    /// The version as sent, without `HTTP/`: `1.0`, `1.1` or something odd; `0.9` where there is none by right.
    /// `None` if the start line was cut before it.
    pub fn version(&self) -> Option<&[u8]> {
        match (&self.version, &self.start) {
            (Some(range), _) => Some(self.bytes(range)).filter(|version| !version.is_empty()),
            (_, StartLine::SimpleRequest { .. } | StartLine::SimpleResponse) => Some(b"0.9"),
            (_, StartLine::Request { minor: 0, .. } | StartLine::Response { minor: 0, .. }) => Some(b"1.0"),
            _ => Some(b"1.1"),
        }
    }

    /// Says where an odd version is, or with an empty range that it is missing.
    pub(crate) fn set_version(&mut self, version: Option<Range<u32>>) {
        self.version = version;
    }

    /// Names and values in order.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|field| (self.bytes(&field.name), self.bytes(&field.value)))
    }

    /// Name and value of the field at this place, counted from 0; `None` if there are fewer.
    pub fn field_at(&self, place: usize) -> Option<(&[u8], &[u8])> {
        self.fields.get(place).map(|field| (self.bytes(&field.name), self.bytes(&field.value)))
    }

    /// The value of the first field of this name, in any case.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields().find(|(theirs, _)| theirs.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// What a SOAP request asks for: its `SOAPAction` field (SOAP 1.1), or the `action` of its content type
    /// (SOAP 1.2); without the quotes. `None` if it is no such request, or says nothing.
    pub fn operation(&self) -> Option<&[u8]> {
        if let Some(action) = self.field("soapaction") {
            return Some(unquoted(action)).filter(|action| !action.is_empty());
        }
        let media = self.field("content-type")?;
        let mut parts = media.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        if !parts.next()?.eq_ignore_ascii_case(b"application/soap+xml") {
            return None;
        }
        let action = parts.find_map(|part| {
            let equals = memchr::memchr(b'=', part)?;
            part[..equals]
                .trim_ascii()
                .eq_ignore_ascii_case(b"action")
                .then(|| part[equals + 1..].trim_ascii())
        });
        action.map(unquoted).filter(|action| !action.is_empty())
    }

    fn bytes(&self, range: &Range<u32>) -> &[u8] {
        self.raw.get(range.start as usize..range.end as usize).unwrap_or_default()
    }
}

fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] => inner,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use crate::parse::{Role, whole};

    #[test]
    fn soap_says_what_it_wants() {
        for (fields, operation) in [
            ("SOAPAction: \"urn:Shop#Buy\"\r\n", Some(&b"urn:Shop#Buy"[..])),
            ("soapaction: urn:Buy\r\n", Some(b"urn:Buy")),
            ("SOAPAction: \"\"\r\n", None),
            ("Content-Type: application/soap+xml; charset=utf-8; action=\"urn:Sell\"\r\n", Some(b"urn:Sell")),
            ("Content-Type: text/xml; action=urn:Sell\r\n", None),
            ("Content-Type: application/soap+xml\r\n", None),
            ("Host: a\r\n", None),
        ] {
            let head =
                whole(Role::Requests, format!("POST / HTTP/1.1\r\n{fields}\r\n").as_bytes(), 4_096, 9, true);
            assert_eq!(head.unwrap().head.operation(), operation, "{fields}");
        }
    }
}
