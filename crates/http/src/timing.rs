//! Durations out of edges, and what TCP went through between two of them.
//!
//! ```text
//!   client   first ── head_end ─── last
//!   server                              (100)   first ── head_end ───── last
//!            ├──────── send ───────┤
//!            ├───────────── ttfb ─────────────┤
//!                                  ├─ server ─┤
//!                                             ├──────── receive ───────┤
//!            ├───────────────────────── total ─────────────────────────┤
//! ```
//!
//! A client that waits for `100 Continue` sends its last byte after it: that wait is in `send` and never in `server`.

use gannet_flow::{Flow, Handshake, Peer, StreamFacts};
use gannet_packet::Timestamp;

use crate::framing::Progress;
use crate::{TcpFacts, Timing, Untrusted};

/// The edges of an exchange; a message that was not seen to its end has no last byte.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edges<'a> {
    pub(crate) request: Option<(&'a Progress, bool)>,
    pub(crate) response: Option<(&'a Progress, bool)>,
    /// The end of the previous response on the connection.
    pub(crate) previous: Option<Timestamp>,
    /// The end of the last response before the request.
    pub(crate) before: Option<Timestamp>,
}

impl Edges<'_> {
    /// The durations. A negative one is none, and what it means is put down in `untrusted`.
    pub(crate) fn timing(&self, untrusted: &mut Untrusted) -> Timing {
        let last = |(message, complete): (&Progress, bool)| {
            (complete && !message.last_missing).then_some(message.last)
        };
        let request_first = self.request.map(|(message, _)| message.first);
        let request_last = self.request.and_then(last);
        let response_first = self.response.map(|(message, _)| message.first);
        let response_last = self.response.and_then(last);
        if let (Some((request, _)), Some(answered)) = (self.request, response_first) {
            untrusted.early_answer |= request.last > answered;
        }
        let ready = request_last.map(|last| self.previous.map_or(last, |previous| previous.max(last)));
        Timing {
            connect: None,
            send: between(request_first, request_last),
            ttfb: between(request_first, response_first),
            server: between(ready, response_first),
            receive: between(response_first, response_last),
            total: between(request_first, response_last),
            think: between(self.before, request_first),
            ..Timing::default()
        }
    }
}

/// From the SYN to the end of the handshake.
pub(crate) fn connect(handshake: &Handshake) -> Option<u64> {
    between(handshake.syn(), handshake.ack())
}

/// From the capture point to the receiver of `sender`'s data and back: the shortest time that was seen. A receiver that
/// acknowledges with its answers alone has shown it in the handshake.
pub(crate) fn round_trip(flow: &Flow, sender: Peer) -> Option<u64> {
    let of_handshake = match sender {
        Peer::Originator => flow.handshake().responder_ns(),
        Peer::Responder => flow.handshake().originator_ns(),
    };
    let of_data = flow.round_trip_ns(sender);
    of_data.into_iter().chain(of_handshake).min()
}

/// What both directions have gone through so far.
#[inline]
pub(crate) fn sums(flow: &Flow, client: Peer) -> TcpFacts {
    if flow.is_undisturbed() {
        return TcpFacts::default();
    }
    let [a, b] = Peer::BOTH.map(|sender| flow.stream(sender));
    let of_client = if client == Peer::Originator { &a } else { &b };
    // The byte of a probe is there to be refused, and no loss.
    let again = |stream: &StreamFacts| stream.retransmitted_bytes.wrapping_sub(u64::from(stream.probe_bytes));
    TcpFacts {
        client_retransmitted_bytes: again(of_client),
        zero_window_ns: a.zero_window_ns.wrapping_add(b.zero_window_ns),
        retransmitted_bytes: again(&a).wrapping_add(again(&b)),
        out_of_order: a.out_of_order.wrapping_add(b.out_of_order),
        gap_bytes: a.gap_bytes.wrapping_add(b.gap_bytes),
        zero_windows: a.zero_windows.wrapping_add(b.zero_windows),
    }
}

/// What came between two sums.
pub(crate) fn difference(now: &TcpFacts, then: &TcpFacts) -> TcpFacts {
    TcpFacts {
        retransmitted_bytes: now.retransmitted_bytes.wrapping_sub(then.retransmitted_bytes),
        out_of_order: now.out_of_order.wrapping_sub(then.out_of_order),
        gap_bytes: now.gap_bytes.wrapping_sub(then.gap_bytes),
        zero_windows: now.zero_windows.wrapping_sub(then.zero_windows),
        client_retransmitted_bytes: now
            .client_retransmitted_bytes
            .wrapping_sub(then.client_retransmitted_bytes),
        zero_window_ns: now.zero_window_ns.saturating_sub(then.zero_window_ns),
    }
}

fn between(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<u64> {
    to?.0.checked_sub(from?.0)
}
