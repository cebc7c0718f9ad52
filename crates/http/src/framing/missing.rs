//! Bytes that are missing, and what comes no more.

use super::{Phase, Stream};
use crate::HttpConfig;
use crate::body::{Chunk, Otherwise};
use crate::parse::{Parsed, Role};

/// What missing bytes have led to.
#[derive(Debug)]
pub(crate) enum AfterGap {
    /// They lie within a body: framing goes on.
    Inside,
    /// They contain the end of the body and nothing else.
    End,
    /// They contain the end of the body and more.
    EndAndMore,
    /// They contain framing of the message whose body was under way.
    Broken,
    /// They contain some of a head, of which this was seen.
    Head(Result<Parsed, Half>),
    /// They lie between messages.
    Unknown,
    /// They belong to another protocol.
    Switched,
}

/// What was under way when a stream ended.
#[derive(Debug)]
pub(crate) enum Cut {
    Nothing,
    /// A head, of which this was seen.
    Head(Result<Parsed, Half>),
    /// A body that should have gone on.
    Body,
    /// A body that ends like this.
    Closed,
    /// A body that was over.
    Over,
}

/// Bytes that did not make a start line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Half {
    pub(crate) bytes: u64,
    /// They may have been the beginning of one, where one was due.
    pub(crate) of_start_line: bool,
}

impl Stream {
    /// Takes a hole of `len` bytes.
    pub(crate) fn gap(&mut self, len: u64, limits: &HttpConfig) -> AfterGap {
        let begun = if self.begun.is_some() { self.buffer.len() as u64 } else { 0 };
        self.decide_for_body();
        if let (Role::Requests, Phase::Perhaps, Otherwise::Length(left)) =
            (self.role, &self.phase, self.otherwise)
        {
            // What its client should have sent is more likely than what it should not.
            self.phase = Phase::Counted { left: left.saturating_sub(begun) };
        }
        let after = self.after_gap(len, limits);
        let within = match (&after, &self.phase) {
            (AfterGap::Inside | AfterGap::End, _) => len,
            (AfterGap::EndAndMore, Phase::Counted { left }) => *left,
            _ => 0,
        };
        if len > 0 {
            self.keep.hole();
            self.keeping = false;
        }
        if within > 0 {
            self.message.body_bytes += within;
            self.message.gap_bytes += within;
            self.message.end = self.position.saturating_add(within);
            self.message.last_missing = true;
        }
        match after {
            AfterGap::Inside | AfterGap::Switched => {}
            AfterGap::End => self.phase = Phase::Idle,
            _ => {
                self.phase = Phase::Search;
                (self.searched, self.line_start) = (false, false);
            }
        }
        self.position = self.position.saturating_add(len);
        after
    }

    /// What a hole of `len` bytes leads to, by the phase that it is in.
    fn after_gap(&mut self, len: u64, limits: &HttpConfig) -> AfterGap {
        match &mut self.phase {
            Phase::Idle | Phase::Decide | Phase::Search | Phase::Again => AfterGap::Unknown,
            Phase::Switched => AfterGap::Switched,
            Phase::Reading { .. } | Phase::Beyond(_) | Phase::Begun => AfterGap::Head(self.half_head(limits)),
            // Whether there is a body at all depends on a request that is not known: if there is none, what is
            // missing begins with another head, and to count on would pass over all that follow it.
            Phase::Perhaps => AfterGap::Broken,
            Phase::Counted { left } => match (*left).checked_sub(len) {
                Some(0) => AfterGap::End,
                Some(rest) => {
                    *left = rest;
                    AfterGap::Inside
                }
                None => AfterGap::EndAndMore,
            },
            Phase::Chunked(Chunk::Data { left }) if len < *left => {
                *left -= len;
                AfterGap::Inside
            }
            Phase::Chunked(Chunk::Data { left }) if len == *left => {
                self.phase = Phase::Chunked(Chunk::AfterData { cr: false });
                AfterGap::Inside
            }
            Phase::Chunked(_) => AfterGap::Broken,
            Phase::Verify => AfterGap::EndAndMore,
            Phase::Close => AfterGap::Inside,
        }
    }

    /// Nothing more comes.
    pub(crate) fn cut(&mut self, limits: &HttpConfig) -> Cut {
        self.decide_for_body();
        let cut = match &self.phase {
            Phase::Idle | Phase::Decide | Phase::Search | Phase::Again | Phase::Switched => Cut::Nothing,
            Phase::Reading { .. } | Phase::Beyond(_) | Phase::Begun => Cut::Head(self.half_head(limits)),
            Phase::Close => Cut::Closed,
            Phase::Perhaps if self.otherwise == Otherwise::Close => Cut::Closed,
            Phase::Perhaps | Phase::Counted { .. } | Phase::Chunked(_) => Cut::Body,
            Phase::Verify => Cut::Over,
        };
        if !matches!(self.phase, Phase::Switched) {
            self.phase = Phase::Search;
        }
        cut
    }
}
