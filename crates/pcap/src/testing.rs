//! For tests.

use std::io::{self, ErrorKind, Read};

/// Gives so many bytes at a time, with a pause before each time.
pub(crate) struct Halting<'a> {
    rest: &'a [u8],
    step: usize,
    paused: bool,
}

impl<'a> Halting<'a> {
    pub(crate) fn new(bytes: &'a [u8], step: usize) -> Self {
        Self { rest: bytes, step, paused: false }
    }
}

impl Read for Halting<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.paused = !self.paused;
        if self.paused {
            return Err(ErrorKind::WouldBlock.into());
        }
        let most = self.step.min(buf.len());
        self.rest.read(&mut buf[..most])
    }
}
