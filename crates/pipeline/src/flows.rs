//! The records of flows: what the flow table knows of each connection, with what goes beyond its stream, and the
//! conversations of other protocols.
//!
//! ```text
//!   open ── taken, data ──► close ──► parked ── late ──► forget ──► Traffic (sums) ──► Event ──► outputs
//!                                     (ended by FIN or RST)
//!   packets without TCP ──► Conversations ──► idle, end ─────────►
//! ```
//!
//! A connection that has ended in order is reported when the table forgets it, a few seconds later: the acknowledgement of its
//! last FIN belongs to it.

use std::collections::HashMap;

use gannet_flow::{
    CloseReason, ConversationLimits, Conversations, Data, Flow, Gap, Handler, Heard, Moment, Peer, Segment,
    StreamEnd,
};
use gannet_http::Protocol;
use gannet_packet::TcpFlags;
use gannet_record::{FlowEnd, Service, Traffic};
use gannet_sink::Event;

/// Makes records of flows.
pub(crate) struct Flows {
    conversations: Conversations,
    ended: Ended,
    /// Closed flows, by id, that late packets may still come for.
    parked: HashMap<u64, Box<FlowEnd>>,
    /// Bytes of the IP packet that the table is given.
    ip_bytes: u32,
}

/// What has ended.
#[derive(Default)]
struct Ended {
    events: Vec<Event>,
    traffic: Traffic,
}

impl Ended {
    fn report(&mut self, mut end: Box<FlowEnd>, now: Moment) {
        end.reported = now;
        self.traffic.add(&end);
        self.events.push(Event::Flow(end));
    }
}

/// What is kept of each flow besides what the table does: 16 bytes, with which an entry fills whole lines of the cache.
pub(crate) struct Watched {
    /// Bytes of IP packets by sender, in 48 bits.
    low: [u32; 2],
    high: [u16; 2],
    service: Option<Service>,
    /// How many pieces of its streams were looked at.
    looks: u8,
}

impl Watched {
    fn add(&mut self, from: Peer, bytes: u32) {
        let at = from as usize;
        let (low, carry) = self.low[at].overflowing_add(bytes);
        self.low[at] = low;
        self.high[at] = self.high[at].saturating_add(carry.into());
    }

    fn ip_bytes(&self) -> [u64; 2] {
        [0, 1].map(|at| u64::from(self.high[at]) << 32 | u64::from(self.low[at]))
    }
}

impl Flows {
    pub(crate) fn new(limits: &gannet_flow::Limits, seed: u64) -> Self {
        let conversations = ConversationLimits {
            conversations: (limits.flows / CONVERSATIONS_PART)
                .min(limits.memory / CONVERSATION_MEMORY)
                .max(1),
            ..ConversationLimits::default()
        };
        Self {
            conversations: Conversations::new(conversations, seed),
            ended: Ended::default(),
            parked: HashMap::new(),
            ip_bytes: 0,
        }
    }

    /// How long the IP packet is whose segment comes next.
    #[inline]
    pub(crate) fn expect(&mut self, ip_bytes: u32) {
        self.ip_bytes = ip_bytes;
    }

    /// Takes a packet that is no TCP segment.
    pub(crate) fn hear(&mut self, heard: &Heard) {
        let ended = &mut self.ended;
        self.conversations.take(heard, &mut |flow, now| ended.report(Box::new(plain(flow)), now));
    }

    pub(crate) fn tick(&mut self, now: Moment) {
        let ended = &mut self.ended;
        self.conversations.tick(now, &mut |flow, now| ended.report(Box::new(plain(flow)), now));
    }

    pub(crate) fn finish(&mut self, now: Moment) {
        let ended = &mut self.ended;
        self.conversations.finish(now, &mut |flow, now| ended.report(Box::new(plain(flow)), now));
    }

    pub(crate) fn events(&mut self) -> &mut Vec<Event> {
        &mut self.ended.events
    }

    pub(crate) fn conversations(&self) -> &Conversations {
        &self.conversations
    }

    /// The sums over all flows that have been reported; they start anew.
    pub(crate) fn take_traffic(&mut self) -> Traffic {
        std::mem::take(&mut self.ended.traffic)
    }
}

/// A conversation in which nothing is looked for.
fn plain(flow: gannet_flow::FlowRecord) -> FlowEnd {
    FlowEnd { flow, service: None, reported: Moment::default() }
}

impl Handler for Flows {
    type State = Watched;

    fn open(&mut self, _: &Flow) -> Watched {
        Watched { low: [0; 2], high: [0; 2], service: None, looks: 0 }
    }

    #[inline]
    fn taken(&mut self, state: &mut Watched, flow: &Flow, segment: &Segment<'_>) {
        state.add(flow.peer(segment.side), self.ip_bytes);
    }

    #[inline]
    fn data(&mut self, state: &mut Watched, flow: &Flow, data: Data<'_>) {
        if state.service.is_some() || state.looks >= LOOKS_MAX {
            return;
        }
        // What did not begin with something known will not become it.
        if flow.midstream || data.offset == 0 {
            state.looks += 1;
            state.service =
                gannet_http::recognise(data.bytes, flow.midstream).map(|protocol| match protocol {
                    Protocol::Http1 => Service::Http,
                    Protocol::Http2 => Service::Http2,
                    Protocol::Tls => Service::Tls,
                });
        }
    }

    fn gap(&mut self, _: &mut Watched, _: &Flow, _: Gap) {}

    fn end(&mut self, _: &mut Watched, _: &Flow, _: StreamEnd) {}

    fn close(&mut self, state: Watched, flow: &Flow, reason: CloseReason, now: Moment) {
        let mut record = flow.record(reason);
        record.ip_bytes = state.ip_bytes();
        let end = Box::new(FlowEnd { flow: record, service: state.service, reported: now });
        let lingers = matches!(reason, CloseReason::Finished | CloseReason::Reset { .. });
        if lingers && self.parked.len() < PARKED_MAX {
            self.parked.insert(flow.id, end);
        } else {
            self.ended.report(end, now);
        }
    }

    fn late(&mut self, flow: &Flow, segment: &Segment<'_>) {
        let Some(end) = self.parked.get_mut(&flow.id) else { return };
        let record = &mut end.flow;
        let at = flow.peer(segment.side) as usize;
        record.streams[at].packets += 1;
        record.streams[at].bytes += u64::from(segment.wire_len);
        record.streams[at].retransmitted_bytes += u64::from(segment.wire_len);
        record.ip_bytes[at] += u64::from(self.ip_bytes);
        let flags = segment.tcp.flags;
        let letter = match () {
            () if flags.contains(TcpFlags::RST) => 'R',
            () if flags.contains(TcpFlags::FIN) || segment.wire_len != 0 => return,
            () if flags.contains(TcpFlags::SYN) => return,
            () if flags.contains(TcpFlags::ACK) => 'A',
            () => return,
        };
        let letter = if at == 0 { letter } else { letter.to_ascii_lowercase() };
        if !record.history.contains(letter) {
            record.history.push(letter);
        }
    }

    fn forget(&mut self, flow: &Flow, now: Moment) {
        if let Some(end) = self.parked.remove(&flow.id) {
            self.ended.report(end, now);
        }
    }
}

/// Of as many flows as there may be: conversations are the fewer, and cost as much each.
const CONVERSATIONS_PART: usize = 4;
/// Bytes of memory that each of them would have if all were conversations: they get an eighth at most.
const CONVERSATION_MEMORY: usize = 8 * 256;
/// Connections of the last seconds: 100 MB at most. Beyond it they are reported at once, without late packets.
const PARKED_MAX: usize = 1 << 17;
/// Pieces of a flow joined midstream, in which a message may begin with any.
const LOOKS_MAX: u8 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_fits_beside_a_flow() {
        assert_eq!(size_of::<Option<Watched>>(), 16);
    }

    #[test]
    fn bytes_go_beyond_32_bits() {
        let mut state = Watched { low: [0; 2], high: [0; 2], service: None, looks: 0 };
        for _ in 0..5 {
            state.add(Peer::Responder, u32::MAX);
        }
        state.add(Peer::Originator, 7);
        assert_eq!(state.ip_bytes(), [7, 5 * u64::from(u32::MAX)]);
    }
}
