//! What a client sends behind CONNECT without waiting for the answer.
//!
//! Whether that is the beginning of what the tunnel carries or another request is for the answer to say: a status of
//! 2xx opens the tunnel, and with any other the connection goes on in HTTP/1 (RFC 9110, section 9.3.6). Until then
//! the bytes are kept.

use gannet_flow::{Data, Gap, GapReason, Moment};

use super::part::{Fate, Part};
use super::{Context, Http1, Next};
use crate::Sink;
use crate::body::Method;
use crate::detect::{self, Verdict};
use crate::held::{Held, Piece};

/// Bytes of the client that wait for the answer to its CONNECT.
#[derive(Debug)]
pub(crate) struct Ahead {
    held: Held,
    /// So many are kept, and so many behind them are not, from this offset on.
    kept: u64,
    /// The first of them was sent when the client had had more of its server than before CONNECT.
    has_heard: bool,
    pub(crate) beyond: u64,
    pub(crate) beyond_at: u64,
    pub(crate) now: Moment,
}

impl Ahead {
    /// How many there are.
    pub(crate) fn bytes(&self) -> u64 {
        self.kept + self.beyond
    }

    /// Bytes that it takes.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + self.held.memory()
    }

    /// Gives those that are kept, in order.
    pub(crate) fn replay(&self, mut give: impl FnMut(Data<'_>)) {
        self.held.replay(|piece| match piece {
            Piece::Data(data) => give(data),
            Piece::Again(_) => {}
        });
    }
}

impl Http1 {
    /// Whether what the client sends next depends on the answer to its CONNECT.
    #[inline]
    pub(super) fn asked_for_tunnel(&self) -> bool {
        let asked = |last: &Part| last.method == Method::Connect && last.fate == Fate::Whole;
        let later = self.later.as_ref().and_then(|later| later.last_request());
        later.or(self.pending.back()).is_some_and(asked) && !self.no_tunnel
    }

    /// Keeps `data` of the client for later. It is in no account meanwhile.
    #[cold]
    pub(super) fn keep_ahead<S: Sink>(&mut self, context: &mut Context<'_, S>, data: &Data<'_>) {
        let later = self.later.as_ref().and_then(|later| later.last_request());
        let before = later.or(self.pending.back()).and_then(|connect| connect.at.acknowledged);
        let ahead = self.ahead.get_or_insert_with(|| {
            let (held, now) = (Held::new(false), data.now);
            let has_heard = before.is_some_and(|before| data.acknowledged.is_some_and(|had| before < had));
            Box::new(Ahead { held, kept: 0, has_heard, beyond: 0, beyond_at: 0, now })
        });
        let len = data.bytes.len() as u64;
        context.counters.bytes = context.counters.bytes.saturating_sub(len);
        ahead.now = data.now;
        if ahead.beyond > 0 || ahead.kept + len > AHEAD_MAX || ahead.held.pieces() >= PIECES_MAX {
            if ahead.beyond == 0 {
                ahead.beyond_at = data.offset;
            }
            ahead.beyond += len;
        } else {
            ahead.kept += len;
            ahead.held.push(data);
        }
        self.memory = self.allocated();
    }

    /// What is kept, for the tunnel that has begun.
    pub(crate) fn take_ahead(&mut self) -> Option<Box<Ahead>> {
        self.ahead.take()
    }

    /// Bytes of the server are missing. If its client has asked for something else when it had them, they had a refusal
    /// of the tunnel in them.
    #[inline]
    pub(super) fn perhaps_refused_tunnel<S: Sink>(&mut self, context: &mut Context<'_, S>) {
        let asks = |ahead: &Ahead| detect::classify(ahead.held.bytes(self.client), false) == Verdict::Request;
        if self.ahead.as_ref().is_some_and(|ahead| ahead.has_heard && asks(ahead)) {
            self.release_ahead(context, true);
        }
    }

    /// Takes what is kept for HTTP/1, if there is no tunnel to come any more.
    #[cold]
    pub(super) fn release_ahead<S: Sink>(&mut self, context: &mut Context<'_, S>, force: bool) {
        if self.ahead.is_none() || self.next == Next::Tunnel || !force && self.asked_for_tunnel() {
            return;
        }
        let Some(ahead) = self.ahead.take() else { return };
        self.no_tunnel = force;
        ahead.replay(|data| {
            context.counters.bytes += data.bytes.len() as u64;
            if self.next == Next::Tunnel {
                return self.keep_ahead(context, &data);
            }
            let (_, left) = self.data(context, &data);
            if left > 0 {
                let at = data.bytes.len() - left;
                let (offset, bytes) = (data.offset + at as u64, &data.bytes[at..]);
                self.keep_ahead(context, &Data { offset, bytes, ..data });
            }
        });
        self.release_beyond(context, &ahead);
        self.no_tunnel = false;
        self.memory = self.allocated();
    }

    fn release_beyond<S: Sink>(&mut self, context: &mut Context<'_, S>, ahead: &Ahead) {
        if ahead.beyond == 0 {
            return;
        }
        if let Some(again) = &mut self.ahead {
            // They are behind another CONNECT.
            if again.beyond == 0 {
                again.beyond_at = ahead.beyond_at;
            }
            again.beyond += ahead.beyond;
            return;
        }
        context.counters.bytes += ahead.beyond;
        context.counters.skipped_bytes += ahead.beyond;
        let (offset, len) = (ahead.beyond_at, ahead.beyond);
        self.gap(context, &Gap { from: self.client, offset, len, reason: GapReason::Lost, now: ahead.now });
    }
}

/// Most bytes kept: a ClientHello with post-quantum key shares has 1,800, and a client that does not wait sends one
/// flight.
const AHEAD_MAX: u64 = 16 << 10;
/// Most pieces they come in.
const PIECES_MAX: usize = 256;
