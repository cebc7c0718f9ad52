//! The head of a message: its bytes as they were on the wire, and where things are in them.

use std::ops::Range;

/// Start line and header fields (RFC 9112, sections 2 to 5), in one allocation:
///
/// ```text
///   GET / HTTP/1.1␍␊Host: a␍␊Accept: b,␍␊ c␍␊␍␊ │ b, c     │ ranges of Host │ ranges of Accept
///   └──────────────── captured_len ────────────┘ (unfolded) │
///   └─────────────────────── text_len ─────────────────────┘ └─── 16 bytes a field ───
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// From the start line to the empty line, as captured; cut to the configured limit. Behind that, values that were
    /// folded, joined. Behind that, where names and values of the fields are.
    bytes: Box<[u8]>,
    /// Of what was captured.
    captured_len: u32,
    /// Of that with the values that were folded.
    text_len: u32,
    start: StartLine,
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
    /// `method SP request-target` and no version, the whole of a request of HTTP/0.9. By right its method is `GET`.
    SimpleRequest {
        /// The method as sent.
        method: Range<u32>,
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

impl Field {
    const BYTES: usize = 16;

    #[inline]
    fn to_bytes(&self) -> [u8; Self::BYTES] {
        let [a, b, c, d] = [self.name.start, self.name.end, self.value.start, self.value.end].map(u128::from);
        (a | b << 32 | c << 64 | d << 96).to_le_bytes()
    }

    #[inline]
    fn of_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let word = u128::from_le_bytes(*bytes);
        let [name, value] =
            [word as u64, (word >> 64) as u64].map(|range| range as u32..(range >> 32) as u32);
        Self { name, value }
    }
}

impl Head {
    /// From its parts. Ranges that lie outside of `raw` read as empty.
    pub fn new(raw: &[u8], start: StartLine, fields: &[Field]) -> Self {
        Self::packed(raw, &[], start, fields.len(), fields.iter().cloned())
    }

    /// The same, with values that were folded: their ranges lie behind `raw`.
    pub(crate) fn unfolded(raw: &[u8], values: &[u8], start: StartLine, fields: &[Field]) -> Self {
        Self { folded: true, ..Self::packed(raw, values, start, fields.len(), fields.iter().cloned()) }
    }

    /// The same, from `count` fields or fewer that are not yet anywhere.
    #[inline]
    pub(crate) fn packed(
        raw: &[u8],
        unfolded: &[u8],
        start: StartLine,
        count: usize,
        fields: impl Iterator<Item = Field>,
    ) -> Self {
        let text_len = raw.len() + unfolded.len();
        let mut bytes = Vec::with_capacity(text_len + count * Field::BYTES);
        bytes.extend_from_slice(raw);
        bytes.extend_from_slice(unfolded);
        fields.for_each(|field| bytes.extend_from_slice(&field.to_bytes()));
        Self {
            bytes: bytes.into(),
            captured_len: raw.len() as u32,
            text_len: text_len as u32,
            start,
            version: None,
            cut: false,
            folded: false,
        }
    }

    /// Takes it out; what is left is no head.
    #[inline]
    pub(crate) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new(&[], StartLine::SimpleResponse, &[]))
    }

    /// The bytes as captured.
    pub fn raw(&self) -> &[u8] {
        self.bytes.get(..self.captured_len as usize).unwrap_or_default()
    }

    /// Bytes allocated for it.
    pub(crate) fn memory(&self) -> usize {
        self.bytes.len()
    }

    /// The start line.
    pub fn start(&self) -> &StartLine {
        &self.start
    }

    /// The method as sent; empty for a response.
    pub fn method(&self) -> &[u8] {
        match &self.start {
            StartLine::Request { method, .. } | StartLine::SimpleRequest { method, .. } => self.bytes(method),
            StartLine::Response { .. } | StartLine::SimpleResponse => &[],
        }
    }

    /// The request target as sent; empty for a response.
    pub fn target(&self) -> &[u8] {
        match &self.start {
            StartLine::Request { target, .. } | StartLine::SimpleRequest { target, .. } => self.bytes(target),
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
        self.table().iter().map(|field| self.field_of(field))
    }

    /// Name and value of the field at this place, counted from 0; `None` if there are fewer.
    pub fn field_at(&self, place: usize) -> Option<(&[u8], &[u8])> {
        self.table().get(place).map(|field| self.field_of(field))
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

    /// Where the fields are.
    #[inline]
    fn table(&self) -> &[[u8; Field::BYTES]] {
        self.bytes.get(self.text_len as usize..).unwrap_or_default().as_chunks().0
    }

    #[inline]
    fn field_of(&self, bytes: &[u8; Field::BYTES]) -> (&[u8], &[u8]) {
        let Field { name, value } = Field::of_bytes(bytes);
        (self.bytes(&name), self.bytes(&value))
    }

    #[inline]
    fn bytes(&self, range: &Range<u32>) -> &[u8] {
        let text = self.bytes.get(..self.text_len as usize).unwrap_or_default();
        text.get(range.start as usize..range.end as usize).unwrap_or_default()
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
