//! The records of flows: what the flow table knows of each connection, with what goes beyond its stream, and the
//! conversations of other protocols.
//!
//! ```text
//!   open ── taken, data ──► close ──► parked ── late ──► forget ──► Traffic (sums) ──► Event ──► outputs
//!                                     (ended by FIN or RST)
//!   packets without TCP ──► Conversations ──► idle, end ─────────►
//! ```
//!
//! A connection that has ended in order is reported when the table forgets it, a few seconds later: the
//! acknowledgement of its last FIN belongs to it.

use std::collections::HashMap;

use gannet_flow::{
    CloseReason, ConversationLimits, Conversations, Data, Flow, Gap, Handler, Heard, Moment, Peer, Segment,
    StreamEnd,
};
use gannet_http::Protocol;
use gannet_packet::{FlowKey, Frame, Packet, TcpFlags, Transport};
use gannet_record::{FlowEnd, Service, Traffic};
use gannet_sink::Event;

use crate::services;

/// Makes records of flows.
pub(crate) struct Flows {
    conversations: Conversations,
    ended: Ended,
    /// Closed flows, by id, that late packets may still come for.
    parked: HashMap<u64, Box<FlowEnd>>,
    /// At most so many of them.
    parked_max: usize,
    /// Those that found no room there.
    reported_at_once: u64,
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
    /// How many pieces of its streams were looked at; and [`GREETED`].
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
            parked_max: PARKED_MAX,
            reported_at_once: 0,
            ip_bytes: 0,
        }
    }

    /// How long the IP packet is whose segment comes next.
    #[inline]
    pub(crate) fn expect(&mut self, ip_bytes: u32) {
        self.ip_bytes = ip_bytes;
    }

    /// A packet that is no TCP segment, as a part of a conversation; `None` if it is of none.
    pub(crate) fn heard(frame: &Frame<'_>, packet: &Packet, position: u64) -> Option<Heard> {
        let heard = Heard::new(frame, packet, position)?;
        let is_dns = matches!(packet.transport, Transport::Udp)
            && packet.flow.as_ref().is_some_and(|(key, _)| has_dns_port(key))
            && frame.data.get(packet.payload.offset as usize..).is_some_and(services::is_dns);
        Some(if is_dns { heard.noted(NOTE_DNS) } else { heard })
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

    /// Connections that ended in order and were reported without waiting for late packets.
    pub(crate) fn reported_at_once(&self) -> u64 {
        self.reported_at_once
    }

    /// The sums over all flows that have been reported; they start anew.
    pub(crate) fn take_traffic(&mut self) -> Traffic {
        std::mem::take(&mut self.ended.traffic)
    }
}

/// A conversation.
fn plain(flow: gannet_flow::FlowRecord) -> FlowEnd {
    let service = (flow.note == NOTE_DNS).then_some(Service::Dns);
    FlowEnd { flow, service, reported: Moment::default() }
}

fn has_dns_port(key: &FlowKey) -> bool {
    DNS_PORTS.contains(&key.low().port) || DNS_PORTS.contains(&key.high().port)
}

/// What a piece of a stream is of; `greeted`: the responder has begun with the code of SMTP and FTP.
fn service_of(greeted: bool, flow: &Flow, data: &Data<'_>) -> Option<Service> {
    if let Some(protocol) = gannet_http::recognise(data.bytes, flow.midstream) {
        return Some(match protocol {
            Protocol::Http1 => Service::Http,
            Protocol::Http2 => Service::Http2,
            Protocol::Tls => Service::Tls,
        });
    }
    let begins = data.offset == 0 && !flow.midstream;
    let is_command = begins && greeted && data.from == Peer::Originator;
    match data.bytes {
        bytes if begins && services::is_ssh(bytes) => Some(Service::Ssh),
        bytes if is_command => services::of_command(bytes),
        // "The message is prefixed with a two byte length field" (RFC 1035, section 4.2.2).
        [_, _, message @ ..] if begins && has_dns_port(&flow.key) && services::is_dns(message) => {
            Some(Service::Dns)
        }
        _ => None,
    }
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
        if state.service.is_some() || state.looks & LOOKS >= LOOKS_MAX {
            return;
        }
        // What did not begin with something known will not become it.
        if flow.midstream || data.offset == 0 {
            state.looks += 1;
            state.service = service_of(state.looks & GREETED != 0, flow, &data);
            if data.from == Peer::Responder && data.offset == 0 && services::is_greeting(data.bytes) {
                state.looks |= GREETED;
            }
        }
    }

    fn gap(&mut self, _: &mut Watched, _: &Flow, _: Gap) {}

    fn end(&mut self, _: &mut Watched, _: &Flow, _: StreamEnd) {}

    fn close(&mut self, state: Watched, flow: &Flow, reason: CloseReason, now: Moment) {
        let mut record = flow.record(reason);
        record.ip_bytes = state.ip_bytes();
        let end = Box::new(FlowEnd { flow: record, service: state.service, reported: now });
        let lingers = matches!(reason, CloseReason::Finished | CloseReason::Reset { .. });
        if lingers && self.parked.len() < self.parked_max {
            self.parked.insert(flow.id, end);
        } else {
            self.reported_at_once += u64::from(lingers);
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
/// The bits of [`Watched::looks`] that count, and the one that says that the responder began with a greeting.
const LOOKS: u8 = 0x7f;
const GREETED: u8 = 0x80;
/// DNS, multicast DNS, LLMNR. Elsewhere a few bytes in the right places prove too little.
const DNS_PORTS: [u16; 3] = [53, 5_353, 5_355];
/// What is noted of a packet.
const NOTE_DNS: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_fits_beside_a_flow() {
        assert_eq!(size_of::<Option<Watched>>(), 16);
    }

    /// A connection for each of these ports, opened and ended by both ends, then an acknowledgement behind the end.
    fn connections(ports: std::ops::Range<u16>, parked_max: usize) -> (Flows, Vec<FlowEnd>) {
        use gannet_packet::{Endpoint, IpProtocol, Side, Surroundings, TcpHeader, Timestamp};
        let (syn, fin, ack) = (2, 1, 16);
        let mut table = gannet_flow::FlowTable::new(
            gannet_flow::Limits::default(),
            1,
            Flows::new(&gannet_flow::Limits::default(), 1),
        );
        table.handler().parked_max = parked_max;
        let mut position = 0;
        for port in ports {
            let end = |host, port| Endpoint { address: [10, 0, 0, host].into(), port };
            let (key, client) = FlowKey::new(end(1, port), end(2, 80), IpProtocol::TCP);
            let mut give = |side: Side, sequence, acknowledgement, flags| {
                position += 1;
                table.handler().expect(40);
                table.segment(&Segment {
                    key,
                    side,
                    tcp: TcpHeader {
                        offset: 34,
                        len: 20,
                        flags: TcpFlags(flags),
                        sequence,
                        acknowledgement,
                        window: 100,
                    },
                    options: &[],
                    payload: &[],
                    wire_len: 0,
                    moment: Moment { time: Timestamp(position * 1_000_000), position },
                    interface: 0,
                    ip_id: position as u16,
                    around: Surroundings::NONE,
                })
            };
            let server = client.opposite();
            give(client, 9, 0, syn);
            give(server, 99, 10, syn | ack);
            give(client, 10, 100, fin | ack);
            give(server, 100, 11, fin | ack);
            give(client, 11, 101, ack);
        }
        table.finish(Moment { time: Timestamp(position * 1_000_000), position });
        let flows = std::mem::replace(table.handler(), Flows::new(&gannet_flow::Limits::default(), 1));
        let mut flows = flows;
        let ends = flows.events().drain(..);
        let ends = ends.map(|event| match event {
            Event::Flow(end) => *end,
            other => panic!("{other:?}"),
        });
        let ends = ends.collect();
        (flows, ends)
    }

    /// Beyond the bound connections are reported at once, without what comes behind their end, and counted.
    #[test]
    fn what_finds_no_room_to_wait_is_reported_at_once() {
        let packets = |ends: &[FlowEnd]| {
            let mut packets: Vec<_> = ends.iter().map(|end| end.flow.streams[0].packets).collect();
            packets.sort_unstable();
            packets
        };
        let (flows, ends) = connections(1_000..1_010, PARKED_MAX);
        assert_eq!((flows.reported_at_once(), packets(&ends)), (0, vec![3; 10]));
        let (flows, ends) = connections(1_000..1_010, 4);
        assert_eq!((flows.reported_at_once(), packets(&ends)), (6, [vec![2; 6], vec![3; 4]].concat()));
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
