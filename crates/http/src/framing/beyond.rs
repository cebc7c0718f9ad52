//! Where a head ends, also one that is longer than what is kept of it.

use crate::parse::Parsed;

/// What has been seen of the end of a head: a line end, then perhaps a CR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Newline {
    None,
    Lf,
    LfCr,
}

/// A head beyond the limit.
#[derive(Debug)]
pub(super) struct Beyond {
    pub(super) newline: Newline,
    pub(super) head: Parsed,
    /// The beginning of the current line: enough for the fields that matter to framing.
    pub(super) line: Vec<u8>,
    /// The current line is the start line.
    pub(super) in_start_line: bool,
}

impl Newline {
    /// Length of `bytes` up to and with the end of the head: an empty line, ended by CRLF or LF.
    pub(super) fn find_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            match (*self, bytes.get(at)?) {
                (Self::Lf | Self::LfCr, b'\n') => return Some(at + 1),
                (Self::Lf, b'\r') => {
                    *self = Self::LfCr;
                    at += 1;
                }
                _ => {
                    *self = Self::None;
                    at += memchr::memchr(b'\n', &bytes[at..])? + 1;
                    *self = Self::Lf;
                }
            }
        }
    }
}

impl Beyond {
    /// Takes bytes off the front of `rest`; true once the head has ended.
    pub(super) fn take(&mut self, rest: &mut &[u8]) -> bool {
        let end = self.newline.find_end(rest);
        let mut piece = &rest[..end.unwrap_or(rest.len())];
        *rest = &rest[piece.len()..];
        while let Some(at) = memchr::memchr(b'\n', piece) {
            self.keep(&piece[..at]);
            if !std::mem::take(&mut self.in_start_line) {
                self.head.framing.line(&self.line);
            }
            self.line.clear();
            piece = &piece[at + 1..];
        }
        self.keep(piece);
        end.is_some()
    }

    pub(super) fn keep(&mut self, piece: &[u8]) {
        let room = KEPT_LINE.saturating_sub(self.line.len());
        self.line.extend_from_slice(&piece[..piece.len().min(room)]);
    }
}

/// Most of a field beyond the limit of a head that is looked at, in bytes: Content-Length and Transfer-Encoding are
/// far shorter.
const KEPT_LINE: usize = 256;
