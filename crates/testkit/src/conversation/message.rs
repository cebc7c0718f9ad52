//! HTTP messages to be sent: start line, header fields, body, framing.

use std::borrow::Cow;

/// A request.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The method, as it goes on the wire.
    pub method: Cow<'a, str>,
    /// The request target: path and query.
    pub target: Cow<'a, str>,
    /// Header fields in order, `Host` included, without those that frame the body.
    pub headers: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// The body.
    pub body: Body<'a>,
    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    pub minor: u8,
}

/// A response.
#[derive(Clone, Debug)]
pub struct Response<'a> {
    /// The status code.
    pub status: u16,
    /// The reason phrase; with an empty one the status line ends in the blank before it.
    pub reason: Cow<'a, str>,
    /// Header fields in order, without those that frame the body.
    pub headers: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// The body.
    pub body: Body<'a>,
    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    pub minor: u8,
}

/// A body and how its end is told (RFC 9112, section 6).
#[derive(Clone, Debug)]
pub enum Body<'a> {
    /// None, and no header field about it: most requests, 204, 304.
    None,
    /// None, but a `Content-Length` all the same: an answer to HEAD, some 304.
    Announced(u64),
    /// `Content-Length`.
    Length(Cow<'a, [u8]>),
    /// `Transfer-Encoding: chunked`, in chunks of `chunk` bytes, the last one shorter.
    Chunked {
        /// The content.
        content: Cow<'a, [u8]>,
        /// Bytes per chunk; 0 counts as 1.
        chunk: usize,
        /// Trailer fields behind the last chunk.
        trailers: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    },
    /// No length: the response ends with the connection. The caller has to close it.
    UntilClose(Cow<'a, [u8]>),
}

/// Where the parts of an encoded message lie, counted from its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes from the start line to the empty line, both included.
    pub head_bytes: u64,
    /// Bytes of the body after removing the chunk framing.
    pub body_bytes: u64,
    /// Bytes of it all.
    pub wire_bytes: u64,
}

impl<'a> Request<'a> {
    /// A request without body, of HTTP/1.1, with a `Host`.
    pub fn new(
        method: impl Into<Cow<'a, str>>,
        target: impl Into<Cow<'a, str>>,
        host: impl Into<Cow<'a, str>>,
    ) -> Self {
        let headers = vec![("Host".into(), host.into())];
        Self { method: method.into(), target: target.into(), headers, body: Body::None, minor: 1 }
    }

    /// With one more header field.
    #[must_use]
    pub fn header(mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: Body<'a>) -> Self {
        self.body = body;
        self
    }

    /// Appends it as it goes on the wire.
    pub fn encode(&self, out: &mut Vec<u8>) -> Layout {
        let at = out.len();
        out.extend_from_slice(self.method.as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.target.as_bytes());
        out.extend_from_slice(if self.minor == 0 { b" HTTP/1.0\r\n" } else { b" HTTP/1.1\r\n" });
        finish(out, at, &self.headers, &self.body)
    }

    /// All header fields, also those that frame the body.
    pub fn all_headers(&self) -> Vec<(String, String)> {
        all_headers(&self.headers, &self.body)
    }
}

impl<'a> Response<'a> {
    /// A response of HTTP/1.1 with the usual reason phrase.
    pub fn new(status: u16, body: Body<'a>) -> Self {
        Self { status, reason: reason(status).into(), headers: Vec::new(), body, minor: 1 }
    }

    /// With one more header field.
    #[must_use]
    pub fn header(mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Appends it as it goes on the wire.
    pub fn encode(&self, out: &mut Vec<u8>) -> Layout {
        let at = out.len();
        out.extend_from_slice(if self.minor == 0 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
        push_decimal(out, u64::from(self.status));
        out.push(b' ');
        out.extend_from_slice(self.reason.as_bytes());
        out.extend_from_slice(b"\r\n");
        finish(out, at, &self.headers, &self.body)
    }

    /// All header fields, also those that frame the body.
    pub fn all_headers(&self) -> Vec<(String, String)> {
        all_headers(&self.headers, &self.body)
    }
}

impl<'a> Body<'a> {
    /// A body with `Content-Length`.
    pub fn length(content: impl Into<Cow<'a, [u8]>>) -> Self {
        Self::Length(content.into())
    }

    /// A chunked body without trailers.
    pub fn chunked(content: impl Into<Cow<'a, [u8]>>, chunk: usize) -> Self {
        Self::Chunked { content: content.into(), chunk, trailers: Vec::new() }
    }

    /// Its bytes without framing.
    pub fn content(&self) -> &[u8] {
        match self {
            Self::None | Self::Announced(_) => &[],
            Self::Length(content) | Self::Chunked { content, .. } | Self::UntilClose(content) => content,
        }
    }

    /// The header field that frames it.
    fn framing(&self) -> Option<(&'static str, Cow<'static, str>)> {
        match self {
            Self::None | Self::UntilClose(_) => None,
            Self::Announced(length) => Some(("Content-Length", length.to_string().into())),
            Self::Length(content) => Some(("Content-Length", content.len().to_string().into())),
            Self::Chunked { .. } => Some(("Transfer-Encoding", "chunked".into())),
        }
    }
}

/// Header fields, the empty line and the body, behind the start line that begins at `at`.
fn finish(out: &mut Vec<u8>, at: usize, headers: &[(Cow<'_, str>, Cow<'_, str>)], body: &Body<'_>) -> Layout {
    for (name, value) in headers {
        push_field(out, name, value);
    }
    if let Some((name, value)) = body.framing() {
        push_field(out, name, &value);
    }
    out.extend_from_slice(b"\r\n");
    let head_bytes = (out.len() - at) as u64;
    match body {
        Body::None | Body::Announced(_) => {}
        Body::Length(content) | Body::UntilClose(content) => out.extend_from_slice(content),
        Body::Chunked { content, chunk, trailers } => {
            for chunk in content.chunks((*chunk).max(1)) {
                push_hexadecimal(out, chunk.len());
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(chunk);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b"0\r\n");
            for (name, value) in trailers {
                push_field(out, name, value);
            }
            out.extend_from_slice(b"\r\n");
        }
    }
    Layout { head_bytes, body_bytes: body.content().len() as u64, wire_bytes: (out.len() - at) as u64 }
}

fn all_headers(headers: &[(Cow<'_, str>, Cow<'_, str>)], body: &Body<'_>) -> Vec<(String, String)> {
    let own = headers.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    own.chain(body.framing().map(|(name, value)| (name.to_owned(), value.into_owned()))).collect()
}

fn push_field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn push_decimal(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(number.to_string().as_bytes());
}

fn push_hexadecimal(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(format!("{number:x}").as_bytes());
}

fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        404 => "Not Found",
        413 => "Content Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_as_it_goes_on_the_wire() {
        let mut out = b"before".to_vec();
        let request = Request::new("POST", "/a?b=c", "example.org").body(Body::length(&b"12345"[..]));
        let layout = request.encode(&mut out);
        let head = b"POST /a?b=c HTTP/1.1\r\nHost: example.org\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(out, [&b"before"[..], head, b"12345"].concat());
        let head_bytes = head.len() as u64;
        assert_eq!(layout, Layout { head_bytes, body_bytes: 5, wire_bytes: head_bytes + 5 });
    }

    #[test]
    fn chunks_and_trailers() {
        let mut out = Vec::new();
        let body = Body::Chunked {
            content: (&b"0123456789abcdefXY"[..]).into(),
            chunk: 16,
            trailers: vec![("X-Sum".into(), "1".into())],
        };
        let layout = Response::new(200, body).header("Server", "s").encode(&mut out);
        let head = b"HTTP/1.1 200 OK\r\nServer: s\r\nTransfer-Encoding: chunked\r\n\r\n";
        let rest = b"10\r\n0123456789abcdef\r\n2\r\nXY\r\n0\r\nX-Sum: 1\r\n\r\n";
        assert_eq!(out, [&head[..], rest].concat());
        assert_eq!(layout.body_bytes, 18);
        assert_eq!(layout.head_bytes, head.len() as u64);
    }

    #[test]
    fn bodies_that_are_not_there() {
        for (body, field) in [(Body::None, None), (Body::Announced(77), Some("Content-Length: 77\r\n"))] {
            let mut out = Vec::new();
            let layout = Response::new(304, body).encode(&mut out);
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text.contains("Content-Length: 77\r\n"), field.is_some(), "{text}");
            assert_eq!((layout.body_bytes, layout.head_bytes), (0, layout.wire_bytes));
        }
    }
}
