//! Where the body of a message ends (RFC 9112, section 6), and the framing of chunks.

use crate::keep::{Budget, Keep};
use crate::oddity::Oddities;
use crate::parse::Framing;

/// How the end of a message is found once its head has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With the head.
    Head,
    /// After so many bytes; not 0.
    Length(u64),
    /// With the head, or like this: the method that decides it has not been seen.
    Perhaps(Otherwise),
    /// After the last chunk and the trailers.
    Chunks,
    /// With the connection.
    Close,
    /// With the head; what follows is another protocol.
    Switch,
}

/// How a response ends whose request is not a HEAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Otherwise {
    /// After so many bytes; not 0.
    Length(u64),
    Chunks,
    Close,
}

/// What a method means for the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Head,
    Connect,
    Other,
}

impl Method {
    pub(crate) fn of(name: &[u8]) -> Self {
        match name {
            b"HEAD" => Self::Head,
            b"CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }
}

/// What the request means for where its response ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    /// It offers another protocol.
    pub(crate) upgrade: bool,
}

/// Where a request ends. Without a length it has no body. One whose coding does not end in chunked has no end that
/// could be known: what its Content-Length says, if it has one, is as good as anything, and it is marked.
pub(crate) fn request_ending(framing: &Framing) -> Ending {
    if framing.chunked { Ending::Chunks } else { length(framing.length.unwrap_or(0)) }
}

/// Where a final response, or 101, ends; `asked` is its request, if it is known.
pub(crate) fn response_ending(status: u16, asked: Option<Asked>, framing: &Framing) -> Ending {
    let method = asked.map(|asked| asked.method);
    match (status, method) {
        // "A server MUST NOT switch to a protocol that was not indicated by the client" (RFC 9110, section 7.8).
        (101, _) if asked.is_some_and(|asked| !asked.upgrade) => Ending::Head,
        (101, _) | (200..=299, Some(Method::Connect)) => Ending::Switch,
        (100..=199 | 204 | 304, _) | (_, Some(Method::Head)) => Ending::Head,
        _ => {
            let otherwise = match framing.length {
                _ if framing.chunked => Otherwise::Chunks,
                // Another coding, or several that do not end in chunked: read until the connection closes.
                _ if framing.transfer_encoding => Otherwise::Close,
                None => Otherwise::Close,
                Some(0) => return Ending::Head,
                Some(left) => Otherwise::Length(left),
            };
            if method.is_some() { otherwise.ending() } else { Ending::Perhaps(otherwise) }
        }
    }
}

impl Ending {
    /// The same where the method is not certain: there may be no body.
    pub(crate) fn perhaps(self) -> Self {
        match self {
            Self::Length(left) => Self::Perhaps(Otherwise::Length(left)),
            Self::Chunks => Self::Perhaps(Otherwise::Chunks),
            Self::Close => Self::Perhaps(Otherwise::Close),
            Self::Head | Self::Perhaps(_) | Self::Switch => self,
        }
    }
}

impl Otherwise {
    fn ending(self) -> Ending {
        match self {
            Self::Length(left) => Ending::Length(left),
            Self::Chunks => Ending::Chunks,
            Self::Close => Ending::Close,
        }
    }
}

fn length(left: u64) -> Ending {
    if left == 0 { Ending::Head } else { Ending::Length(left) }
}

/// Where a stream is within a chunked body.
///
/// ```text
///   Size ──LF──► Data ──all──► AfterData ──LF──► Size        size 0: Size ──LF──► Trailers ──empty line──► end
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// In a size line.
    Size { size: u64, part: SizePart },
    /// So many bytes of the chunk are still to come; not 0.
    Data { left: u64 },
    /// In the line end behind the data; `cr` has been seen.
    AfterData { cr: bool },
    /// In the trailers: what has been seen of the current line.
    Trailers(Trailer),
}

/// Where in a size line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SizePart {
    /// Blanks before the digits.
    Before,
    /// The digits.
    Digits,
    /// Blanks or extensions behind them.
    After,
}

/// What has been seen of a line of the trailers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trailer {
    Nothing,
    Cr,
    Something,
}

/// What the bytes given did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// All are taken, and more are expected.
    More,
    /// The body has ended behind the bytes taken.
    End,
    /// The framing is not that of chunks.
    Bad,
}

impl Chunk {
    /// At the beginning of a body.
    pub(crate) const START: Self = Self::Size { size: 0, part: SizePart::Before };

    /// Takes bytes off the front of `rest`, and adds what of them is body to `body_bytes`; `keep` is shown body and
    /// trailers.
    pub(crate) fn step(
        &mut self,
        rest: &mut &[u8],
        body_bytes: &mut u64,
        keep: &mut Keep,
        budget: &mut Budget,
    ) -> Step {
        loop {
            match self {
                Self::Data { left } => {
                    let take = (*left).min(rest.len() as u64);
                    *body_bytes += take;
                    *left -= take;
                    keep.body(&rest[..take as usize], budget);
                    *rest = &rest[take as usize..];
                    if *left > 0 {
                        return Step::More;
                    }
                    *self = Self::AfterData { cr: false };
                }
                Self::AfterData { cr } => {
                    let Some(byte) = pop(rest) else { return Step::More };
                    match byte {
                        b'\n' => *self = Self::START,
                        b'\r' if !*cr => *cr = true,
                        _ => return Step::Bad,
                    }
                }
                Self::Size { size, part: SizePart::After } => {
                    let Some(at) = memchr::memchr(b'\n', rest) else {
                        let extended = memchr::memchr(b';', rest).is_some();
                        keep.oddities.add_if(extended, Oddities::CHUNK_EXTENSIONS);
                        *rest = &[];
                        return Step::More;
                    };
                    // Blanks may stand there, too.
                    let extended = memchr::memchr(b';', &rest[..at]).is_some();
                    keep.oddities.add_if(extended, Oddities::CHUNK_EXTENSIONS);
                    *rest = &rest[at + 1..];
                    *self = match *size {
                        0 => Self::Trailers(Trailer::Nothing),
                        left => Self::Data { left },
                    };
                }
                Self::Size { size, part } => {
                    let Some(&byte) = rest.first() else { return Step::More };
                    match part.take(byte, size) {
                        Some(true) => *rest = &rest[1..],
                        Some(false) => {}
                        None => return Step::Bad,
                    }
                }
                Self::Trailers(seen) => {
                    let Some(&byte) = rest.first() else { return Step::More };
                    if seen.take(byte, rest, keep) {
                        return Step::End;
                    }
                }
            }
        }
    }
}

impl SizePart {
    /// Looks at a byte in front of or within the digits of `size`. False if it stands behind them and is left there;
    /// `None` if it cannot stand here.
    fn take(&mut self, byte: u8, size: &mut u64) -> Option<bool> {
        match (hex(byte), byte) {
            (Some(digit), _) if *size >> 60 == 0 => {
                *size = *size << 4 | digit;
                *self = Self::Digits;
            }
            (None, b' ' | b'\t') if *self == Self::Before => {}
            (None, b' ' | b'\t' | b';' | b'\r' | b'\n') if *self == Self::Digits => {
                *self = Self::After;
                return Some(false);
            }
            _ => return None,
        }
        Some(true)
    }
}

impl Trailer {
    /// Takes bytes of the trailers off `rest`, which begins with `byte`, up to the end of a line at most. True if that
    /// was the empty line at their end.
    fn take(&mut self, byte: u8, rest: &mut &[u8], keep: &mut Keep) -> bool {
        match (*self, byte) {
            (Self::Nothing | Self::Cr, b'\n') => {
                *rest = &rest[1..];
                return true;
            }
            (Self::Nothing, b'\r') => {
                *rest = &rest[1..];
                *self = Self::Cr;
                return false;
            }
            (Self::Cr, _) => keep.trailers(b"\r"),
            _ => {}
        }
        let end = memchr::memchr(b'\n', rest).map(|at| at + 1);
        let (line, behind) = rest.split_at(end.unwrap_or(rest.len()));
        keep.trailers(line);
        *rest = behind;
        *self = if end.is_some() { Self::Nothing } else { Self::Something };
        false
    }
}

fn pop(rest: &mut &[u8]) -> Option<u8> {
    let (&first, behind) = rest.split_first()?;
    *rest = behind;
    Some(first)
}

fn hex(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything taken, body bytes, result; the bytes one at a time and all at once must agree.
    fn run(bytes: &[u8]) -> (usize, u64, Step) {
        let mut whole = Chunk::START;
        let (mut rest, mut body) = (bytes, 0);
        let mut budget = Budget { free: 1_000, refused: 0 };
        let keeps = || {
            let mut keep = Keep::default();
            keep.begin(1_000, 1_000);
            keep
        };
        let mut keep = keeps();
        let step = whole.step(&mut rest, &mut body, &mut keep, &mut budget);
        let result = (bytes.len() - rest.len(), body, step);
        let mut one_by_one = keeps();

        let mut chunk = Chunk::START;
        let mut body = 0;
        let mut last = (bytes.len(), Step::More);
        for (index, byte) in bytes.iter().enumerate() {
            let mut one = std::slice::from_ref(byte);
            let step = chunk.step(&mut one, &mut body, &mut one_by_one, &mut budget);
            if step != Step::More {
                last = (index + 1 - one.len(), step);
                break;
            }
        }
        assert_eq!((last.0, body, last.1), result, "{}", bytes.escape_ascii());
        let kept = [keep, one_by_one].map(|mut keep| format!("{:?}", keep.take(99)));
        assert_eq!(kept[0], kept[1], "{}", bytes.escape_ascii());
        result
    }

    #[test]
    fn chunks_of_all_kinds() {
        for (bytes, body) in [
            (&b"0\r\n\r\n"[..], 0),
            (b"5\r\nhello\r\n0\r\n\r\n", 5),
            (b"a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n", 21),
            (b"5;ext=1;other=\"x y\"\r\nhello\r\n0;last\r\n\r\n", 5),
            (b"  5 \r\nhello\r\n000\r\n\r\n", 5),
            (b"5\nhello\n0\n\n", 5),
            (b"1\r\nx\r\n0\r\nTrailer: yes\r\nOther: no\r\n\r\n", 1),
            (b"1\r\nx\r\n0\r\n\rodd\r\n\n", 1),
            // A chunk that looks like the last one.
            (b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", 7),
        ] {
            assert_eq!(run(bytes), (bytes.len(), body, Step::End), "{}", bytes.escape_ascii());
            assert_eq!(run(&[bytes, b"HTTP/1.1"].concat()), (bytes.len(), body, Step::End));
        }
    }

    #[test]
    fn what_is_no_chunk() {
        for bytes in [
            &b"\r\n"[..],
            b"x\r\n",
            b"5x\r\n",
            b"-1\r\n",
            b"10000000000000000\r\n",
            b"1\r\nxy",
            b"1\r\nx\r\r",
            b";ext\r\n",
        ] {
            assert_eq!(run(bytes).2, Step::Bad, "{}", bytes.escape_ascii());
        }
        let mut chunk = Chunk::START;
        let mut budget = Budget { free: 0, refused: 0 };
        chunk.step(&mut &b"ffffffffffffffff\r\n"[..], &mut 0, &mut Keep::default(), &mut budget);
        assert_eq!(chunk, Chunk::Data { left: u64::MAX });
    }

    #[test]
    fn no_body_where_none_can_be() {
        let long = Framing { length: Some(9), ..Framing::default() };
        let chunks = Framing { chunked: true, transfer_encoding: true, ..long };
        let gzip = Framing { chunked: false, ..chunks };
        let none = Framing::default();
        let asked = |method| Some(Asked { method, upgrade: true });
        let get = asked(Method::Other);
        assert_eq!(response_ending(200, get, &long), Ending::Length(9));
        assert_eq!(response_ending(200, None, &long), Ending::Perhaps(Otherwise::Length(9)));
        assert_eq!(response_ending(200, get, &Framing { length: Some(0), ..none }), Ending::Head);
        assert_eq!(response_ending(200, asked(Method::Head), &long), Ending::Head);
        assert_eq!(response_ending(200, asked(Method::Head), &chunks), Ending::Head);
        assert_eq!(response_ending(204, get, &long), Ending::Head);
        assert_eq!(response_ending(304, None, &long), Ending::Head);
        assert_eq!(response_ending(103, None, &long), Ending::Head);
        assert_eq!(response_ending(101, None, &long), Ending::Switch);
        assert_eq!(response_ending(101, get, &long), Ending::Switch);
        let unasked = Some(Asked { method: Method::Other, upgrade: false });
        assert_eq!(response_ending(101, unasked, &long), Ending::Head);
        assert_eq!(response_ending(204, asked(Method::Connect), &none), Ending::Switch);
        assert_eq!(response_ending(407, asked(Method::Connect), &long), Ending::Length(9));
        assert_eq!(response_ending(200, get, &chunks), Ending::Chunks);
        assert_eq!(response_ending(200, get, &gzip), Ending::Close);
        assert_eq!(response_ending(200, get, &none), Ending::Close);
        assert_eq!(request_ending(&none), Ending::Head);
        assert_eq!(request_ending(&long), Ending::Length(9));
        assert_eq!(request_ending(&chunks), Ending::Chunks);
        assert_eq!(request_ending(&gzip), Ending::Length(9));
    }
}
