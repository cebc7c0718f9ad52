//! When things happened, and how long they took.

use gannet_http::{Exchange, Interim, Message};
use gannet_packet::Timestamp;
use serde::{Serialize, Serializer};

use super::parts::{Items, List};

/// The times of an exchange. They are put together where they are written: moving them there would take as long.
pub(super) struct TimingPart<'a>(pub(super) &'a Exchange);

impl Serialize for TimingPart<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Times::of(self.0).serialize(serializer)
    }
}

/// All keys are there, null if there is no value: a reader of columns finds them in every line.
#[derive(Serialize)]
pub(super) struct Times<'a> {
    pub(super) connect_ns: Option<u64>,
    pub(super) connect_server_ns: Option<u64>,
    pub(super) connect_client_ns: Option<u64>,
    pub(super) send_ns: Option<u64>,
    pub(super) ttfb_ns: Option<u64>,
    pub(super) server_ns: Option<u64>,
    pub(super) receive_ns: Option<u64>,
    pub(super) total_ns: Option<u64>,
    pub(super) think_ns: Option<u64>,
    pub(super) server_rtt_ns: Option<u64>,
    pub(super) client_rtt_ns: Option<u64>,
    pub(super) network_estimate_ns: Option<u64>,
    pub(super) syn_ns: Option<u64>,
    pub(super) synack_ns: Option<u64>,
    pub(super) hs_ack_ns: Option<u64>,
    pub(super) req_first_ns: Option<u64>,
    pub(super) req_hdr_end_ns: Option<u64>,
    pub(super) req_last_ns: Option<u64>,
    interim: List<Interims<'a>>,
    pub(super) resp_first_ns: Option<u64>,
    pub(super) resp_hdr_end_ns: Option<u64>,
    pub(super) resp_last_ns: Option<u64>,
}

impl<'a> Times<'a> {
    #[inline]
    pub(super) fn of(exchange: &'a Exchange) -> Self {
        let Exchange { request, response, timing, .. } = exchange;
        let nanos = |time: Option<Timestamp>| time.map(|time| time.0);
        let request_first = request.as_ref().map(|message| message.first.0);
        let response_first = response.as_ref().map(|message| message.first.0);
        // The last byte may have come before the first: then there is no duration, and there are both times.
        let last = |message: &Option<Message>| {
            message.as_ref().filter(|message| message.last_seen).map(|message| message.last.0)
        };
        Self {
            connect_ns: timing.connect,
            connect_server_ns: timing.handshake.responder_ns(),
            connect_client_ns: timing.handshake.originator_ns(),
            send_ns: timing.send,
            ttfb_ns: timing.ttfb,
            server_ns: timing.server,
            receive_ns: timing.receive,
            total_ns: timing.total,
            think_ns: timing.think,
            server_rtt_ns: timing.server_round_trip,
            client_rtt_ns: timing.client_round_trip,
            network_estimate_ns: timing.network_estimate(),
            syn_ns: nanos(timing.handshake.syn()),
            synack_ns: nanos(timing.handshake.syn_ack()),
            hs_ack_ns: nanos(timing.handshake.ack()),
            req_first_ns: request_first,
            req_hdr_end_ns: request.as_ref().map(|message| message.head_end.0),
            req_last_ns: last(request),
            interim: List(Interims(&exchange.interim)),
            resp_first_ns: response_first,
            resp_hdr_end_ns: response.as_ref().map(|message| message.head_end.0),
            resp_last_ns: last(response),
        }
    }
}

struct Interims<'a>(&'a [Interim]);

impl Items for Interims<'_> {
    fn items(&self) -> impl Iterator<Item: Serialize> {
        self.0.iter().map(|interim| InterimPart { status_code: interim.status, first_ns: interim.first.0 })
    }
}

#[derive(Serialize)]
struct InterimPart {
    status_code: u16,
    first_ns: u64,
}
