//! gzip of several members (RFC 1952), from a source that may have pauses.

use std::io::{self, BufRead, Read};

use flate2::{Decompress, FlushDecompress, Status};

use super::Damage;

/// Decodes gzip members one after the other.
///
/// What was decoded before damage is given before the damage is told of: flate2's own reader forgets what lies in the
/// buffer that it was filling.
pub(super) struct GzipDecoder<R> {
    member: Decompress,
    /// Bytes of the member have been taken.
    in_member: bool,
    /// A member came before.
    is_behind: bool,
    source: R,
    /// Bytes of the source taken.
    taken: u64,
    /// What is wrong; told of when all that came before has been given.
    damage: Option<&'static str>,
}

impl<R: BufRead> GzipDecoder<R> {
    pub(super) fn new(source: R) -> Self {
        let member = Decompress::new_gzip(WINDOW_BITS);
        Self { member, in_member: false, is_behind: false, source, taken: 0, damage: None }
    }

    /// The damage that has been met: behind how many bytes of the source, and what is wrong.
    pub(super) fn damage(&self) -> Option<Damage> {
        self.damage.map(|what| Damage { at: self.taken, what: what.to_owned() })
    }

    /// What a refusal of the decoder means where it was met.
    fn damage_of(&self, message: &str) -> &'static str {
        let of_header = message.contains("header") || message.contains("compression method");
        if self.member.total_out() == 0 && of_header {
            return if self.is_behind {
                "bytes that are no gzip follow the gzip data"
            } else {
                "it begins like gzip, and goes on like something else"
            };
        }
        match message {
            "incorrect data check" | "incorrect length check" => "the checksum differs",
            _ => "what is there is no compressed data",
        }
    }
}

impl<R: BufRead> Read for GzipDecoder<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(damage) = self.damage {
                return Err(io::Error::other(damage));
            }
            let input = self.source.fill_buf()?;
            // Zeros fill the last block of tapes and disks. gzip's own tool passes over them as well.
            if self.is_behind && !self.in_member && input.first() == Some(&0) {
                let zeros = input.iter().take_while(|&&byte| byte == 0).count();
                self.source.consume(zeros);
                self.taken += zeros as u64;
                continue;
            }
            if input.is_empty() && !self.in_member {
                return Ok(0);
            }
            let (taken, given) = (self.member.total_in(), self.member.total_out());
            let status = self.member.decompress(input, buf, FlushDecompress::None);
            let taken = self.member.total_in() - taken;
            // Neither is more than a slice is long.
            let given = (self.member.total_out() - given) as usize;
            self.source.consume(taken as usize);
            self.taken += taken;
            self.in_member = true;
            match status {
                Ok(Status::StreamEnd) => {
                    self.member = Decompress::new_gzip(WINDOW_BITS);
                    (self.in_member, self.is_behind) = (false, true);
                }
                // It asks for more input, and there is none.
                Ok(_) if taken == 0 && given == 0 => self.damage = Some("the file ends within the gzip data"),
                Ok(_) => {}
                Err(error) => self.damage = Some(self.damage_of(error.message().unwrap_or_default())),
            }
            if given != 0 {
                return Ok(given);
            }
        }
    }
}

/// The largest window of deflate, 32 KiB, which every member may use.
const WINDOW_BITS: u8 = 15;
