//! What is kept of a message behind its head: the first bytes of the body, the trailers, what was odd in between.
//!
//! ```text
//!   body     ┌── kept ──┬─ limit, memory full, or a hole ── only counted ──┐
//!            0          n                                                  body_bytes
//!   trailers the lines behind the last chunk, up to the limit of a head
//! ```
//!
//! Bytes of bodies are copied only if the configuration asks for them. All that is kept by one worker counts against
//! one [`Budget`]: it is taken when bytes are kept and given back when the exchange is reported.

use crate::head::Field;
use crate::oddity::Oddities;
use crate::parse;

/// Room for bodies, shared by all connections of a worker.
#[derive(Debug)]
pub(crate) struct Budget {
    /// Bytes that may still be kept.
    pub(crate) free: usize,
    /// Bodies that were cut because nothing was free.
    pub(crate) refused: u64,
}

/// What is kept of the message under way.
#[derive(Debug, Default)]
pub(crate) struct Keep {
    body: Vec<u8>,
    /// Bytes of the body still wanted.
    room: usize,
    trailers: Vec<u8>,
    /// Bytes of trailers still wanted.
    trailer_room: usize,
    trailers_cut: bool,
    pub(crate) oddities: Oddities,
}

/// What was kept of a message that is over.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<Box<Trailers>>,
    pub(crate) oddities: Oddities,
}

impl Kept {
    /// Bytes that it takes, without those of the body, which count against the budget.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>() + self.trailers.as_ref().map_or(0, |trailers| trailers.memory())
    }
}

/// The trailer section of a chunked body (RFC 9112, section 7.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trailers {
    /// Their bytes, and behind them the values that were folded.
    raw: Box<[u8]>,
    len: usize,
    fields: Box<[Field]>,
    /// They were longer than the limit of a head, or had more fields: those beyond are missing here.
    pub cut: bool,
}

impl Trailers {
    /// From its parts. Ranges that lie outside of `raw` read as empty.
    pub fn new(raw: Box<[u8]>, fields: Box<[Field]>) -> Self {
        Self { len: raw.len(), raw, fields, cut: false }
    }

    fn memory(&self) -> usize {
        size_of::<Self>() + self.raw.len() + size_of_val(&*self.fields)
    }

    /// The bytes as they were on the wire, without the empty line.
    pub fn raw(&self) -> &[u8] {
        self.raw.get(..self.len).unwrap_or_default()
    }

    /// Names and values in order.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let bytes = |range: &std::ops::Range<u32>| {
            self.raw.get(range.start as usize..range.end as usize).unwrap_or_default()
        };
        self.fields.iter().map(move |field| (bytes(&field.name), bytes(&field.value)))
    }

    /// The value of the first field of this name, in any case.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields().find(|(theirs, _)| theirs.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }
}

impl Keep {
    /// Bytes allocated for trailers; those of bodies count against the budget.
    pub(crate) fn memory(&self) -> usize {
        self.trailers.capacity()
    }

    /// A message begins of whose body `body` bytes and of whose trailers `trailers` bytes are wanted.
    pub(crate) fn begin(&mut self, body: usize, trailers: usize) {
        self.room = body;
        self.trailer_room = trailers;
    }

    /// Whether bytes of the body are still wanted.
    #[inline]
    pub(crate) fn wants_body(&self) -> bool {
        self.room > 0
    }

    /// Takes bytes of the body.
    #[inline]
    pub(crate) fn body(&mut self, bytes: &[u8], budget: &mut Budget) {
        if self.room > 0 {
            self.keep_body(bytes, budget);
        }
    }

    fn keep_body(&mut self, bytes: &[u8], budget: &mut Budget) {
        let wanted = bytes.len().min(self.room);
        let taken = wanted.min(budget.free);
        self.body.extend_from_slice(&bytes[..taken]);
        self.room -= taken;
        budget.free -= taken;
        if taken < wanted {
            // What is kept is the beginning, without holes.
            self.room = 0;
            budget.refused += 1;
        }
    }

    /// Bytes of the body are missing: what comes behind them is not kept.
    pub(crate) fn hole(&mut self) {
        self.room = 0;
    }

    /// Takes bytes of the trailers.
    pub(crate) fn trailers(&mut self, bytes: &[u8]) {
        let taken = bytes.len().min(self.trailer_room);
        self.trailers.extend_from_slice(&bytes[..taken]);
        self.trailer_room -= taken;
        self.trailers_cut |= taken < bytes.len();
    }

    /// What was kept, now that the message is over.
    #[inline]
    pub(crate) fn take(&mut self, max_fields: usize) -> Option<Box<Kept>> {
        self.room = 0;
        if self.body.is_empty() && self.trailers.is_empty() && self.oddities.is_empty() {
            return None;
        }
        Some(self.take_all(max_fields))
    }

    fn take_all(&mut self, max_fields: usize) -> Box<Kept> {
        let keep = std::mem::take(self);
        let trailers = (!keep.trailers.is_empty()).then(|| {
            let (len, mut raw) = (keep.trailers.len(), keep.trailers);
            let (fields, unfolded, dropped) = parse::trailers(&raw, max_fields);
            raw.extend_from_slice(&unfolded);
            Box::new(Trailers { raw: raw.into(), len, fields, cut: keep.trailers_cut || dropped })
        });
        Box::new(Kept { body: keep.body, trailers, oddities: keep.oddities })
    }

    /// Forgets what was kept: it is no body.
    pub(crate) fn forget(&mut self, budget: &mut Budget) {
        budget.free += self.body.len();
        *self = Self::default();
    }
}
