//! The body of the fuzz target: any bytes in, invariants asserted.

use std::net::Ipv4Addr;
use std::time::Duration;

use gannet_packet::{Endpoint, FlowKey, IpProtocol, Side, Surroundings, TcpFlags, TcpHeader, Timestamp};

use crate::{
    CloseReason, Data, Flow, FlowTable, Gap, Handler, Limits, Moment, Outcome, Peer, Retransmission, Segment,
    StreamEnd,
};

/// Takes `bytes` as the traffic of a few flows through a small table: eight bytes for each segment or tick, payload
/// out of the same bytes.
///
/// # Panics
/// If offsets do not follow one another, something comes after an end, an identity of the counters does not hold, a
/// bound is exceeded, or tables that have only some of the flows tell other things of them (where bounds that flows
/// share play no part).
pub fn segments(bytes: &[u8]) {
    let Some((&[limits, shared], script)) = bytes.split_first_chunk() else { return };
    let limits = Limits {
        flows: if shared & 1 == 0 { 3 } else { 64 },
        half_open_flows: if shared & 1 == 0 { 2 } else { 64 },
        memory: 1 << 25,
        held_bytes: if shared & 1 == 0 { 6_000 } else { 1 << 24 },
        held_bytes_per_stream: 400 << (limits & 7),
        idle: Duration::from_millis(4_000),
        half_open: Duration::from_millis(1_000),
        linger: Duration::from_millis(500),
        hole_patience: Duration::from_millis(u64::from(limits >> 3)),
        deduplicate: shared & 6 != 4,
    };
    let wanted = if shared & 2 == 0 { u64::MAX } else { u64::from(shared >> 2) * 16 };
    let whole = run(limits, wanted, script, None);
    if shared & 1 != 0 {
        for flow in 0..FLOWS {
            let alone = run(limits, wanted, script, Some(flow));
            let of_flow = whole.iter().filter(|event| event.port == port(flow));
            assert!(of_flow.eq(alone.iter()), "flow {flow} depends on the others");
        }
    }
}

/// Takes `bytes` as the start of a stream that may be a TLS hello, behind the place where it is cut.
///
/// # Panics
/// If a hello that is cut says other things than the whole one.
pub fn tls(bytes: &[u8]) {
    crate::tls::fuzz(bytes);
}

/// One run over the flows, or over one of them.
fn run(limits: Limits, wanted: u64, script: &[u8], only: Option<u8>) -> Vec<Event> {
    let mut table = FlowTable::new(limits, 0x5eed, Watch { wanted, events: Vec::new() });
    let mut time = 1_u64 << 40;
    let mut moment = Moment::default();
    for (position, step) in script.as_chunks::<8>().0.iter().enumerate() {
        let &[kind, flags, high, low, ack_high, ack_low, len, pace] = step;
        time += u64::from(pace & 0x7f) << 20;
        // Time stamps of a capture are not always in order.
        let shown = if pace & 0x80 == 0 { time } else { time - (1 << 28) };
        moment = Moment { time: Timestamp(shown), position: position as u64 };
        if kind & 0x3f == 0x3f {
            moment.time = Timestamp(time);
            table.tick(moment);
            assert_eq!(table.check(), []);
            continue;
        }
        let flow = kind & (FLOWS - 1);
        if only.is_some_and(|only| only != flow) {
            continue;
        }
        let (key, _) = FlowKey::new(end(1, port(flow)), end(2, 80), IpProtocol::TCP);
        let wide = if kind & 0x10 == 0 { 0 } else { u32::from(high) << 22 };
        let payload = script.get(usize::from(low)..).unwrap_or_default();
        let wire_len = u32::from(len) << (kind >> 6);
        let payload = payload.get(..wire_len as usize).unwrap_or(payload);
        let options: &[u8] = if flags & 0x80 == 0 { &[] } else { &[1, 3, 3, 2] };
        let segment = Segment {
            key,
            side: if kind & 4 == 0 { Side::Low } else { Side::High },
            tcp: TcpHeader {
                offset: 34,
                len: 20,
                flags: TcpFlags(flags & 0x3f),
                // Near where numbers wrap.
                sequence: START
                    .wrapping_add(u32::from(u16::from_be_bytes([high & 7, low])))
                    .wrapping_add(wide),
                acknowledgement: START.wrapping_add(u32::from(u16::from_be_bytes([ack_high & 15, ack_low]))),
                window: u16::from(ack_high) << 6,
            },
            options,
            payload,
            wire_len,
            moment,
            interface: 0,
            ip_id: u16::from(flags >> 6) + u16::from(ack_low & 3),
            around: Surroundings::NONE,
        };
        table.segment(&segment);
        assert_eq!(table.check(), []);
        assert!(table.open_flows() <= limits.flows && table.half_open_flows() <= limits.half_open_flows);
        assert!(table.memory() <= limits.memory);
        assert!(table.held_memory() <= limits.held_bytes);
    }
    table.finish(moment);
    assert_eq!(table.check(), []);
    assert_eq!((table.open_flows(), table.counters().held_bytes), (0, 0));
    assert_ne!(table.segment(&nothing(moment)), Outcome::Accepted, "everything is forgotten");
    std::mem::take(&mut table.handler().events)
}

/// An ACK of no known flow.
fn nothing(moment: Moment) -> Segment<'static> {
    let (key, side) = FlowKey::new(end(1, port(0)), end(2, 80), IpProtocol::TCP);
    let flags = TcpFlags::ACK;
    let tcp = TcpHeader { offset: 34, len: 20, flags, sequence: 1, acknowledgement: 1, window: 1 };
    Segment {
        key,
        side,
        tcp,
        options: &[],
        payload: &[],
        wire_len: 0,
        moment,
        interface: 0,
        ip_id: 0,
        around: Surroundings::NONE,
    }
}

fn end(host: u8, port: u16) -> Endpoint {
    Endpoint { address: Ipv4Addr::new(10, 0, 0, host).into(), port }
}

fn port(flow: u8) -> u16 {
    40_000 + u16::from(flow)
}

/// Flows in a run.
const FLOWS: u8 = 4;
/// Sequence numbers begin here.
const START: u32 = u32::MAX - 700;

/// Writes down what happens to each flow and holds the table to its word.
struct Watch {
    wanted: u64,
    events: Vec<Event>,
}

/// What was told, and of which flow.
#[derive(Debug, PartialEq)]
struct Event {
    port: u16,
    what: What,
}

#[derive(Debug, PartialEq)]
enum What {
    Open(u64),
    Data(Peer, u64, Vec<u8>, Moment, Moment, Option<u64>, bool),
    Gap(Gap),
    Again(Retransmission),
    End(StreamEnd),
    Close(CloseReason, Moment),
}

#[derive(Default)]
struct Progress {
    next: [u64; 2],
    ended: [bool; 2],
}

impl Progress {
    fn advance(&mut self, from: Peer, offset: u64, len: u64) {
        assert!(!self.ended[from as usize] && len != 0);
        assert_eq!(self.next[from as usize], offset);
        self.next[from as usize] += len;
    }
}

impl Watch {
    fn note(&mut self, flow: &Flow, what: What) {
        self.events.push(Event { port: flow.key.low().port, what });
    }
}

impl Handler for Watch {
    type State = Progress;

    fn open(&mut self, flow: &Flow) -> Progress {
        self.note(flow, What::Open(flow.id));
        Progress::default()
    }

    fn data(&mut self, state: &mut Progress, flow: &Flow, data: Data<'_>) {
        let Data { from, offset, bytes, seen, now, acknowledged, late } = data;
        assert!(state.next == [0, 0] || self.wants_more(state));
        assert!(seen.position <= now.position && seen.position >= flow.id);
        state.advance(from, offset, bytes.len() as u64);
        self.note(flow, What::Data(from, offset, bytes.to_vec(), seen, now, acknowledged, late));
    }

    fn gap(&mut self, state: &mut Progress, flow: &Flow, gap: Gap) {
        state.advance(gap.from, gap.offset, gap.len);
        self.note(flow, What::Gap(gap));
    }

    fn retransmission(&mut self, state: &mut Progress, flow: &Flow, again: Retransmission) {
        assert!(again.len != 0 && again.offset + again.len <= state.next[again.from as usize]);
        self.note(flow, What::Again(again));
    }

    fn end(&mut self, state: &mut Progress, flow: &Flow, end: StreamEnd) {
        assert_eq!(end.offset, state.next[end.from as usize]);
        assert!(!std::mem::replace(&mut state.ended[end.from as usize], true));
        self.note(flow, What::End(end));
    }

    fn close(&mut self, state: Progress, flow: &Flow, reason: CloseReason, now: Moment) {
        if reason == CloseReason::Finished && self.wants_more(&state) {
            assert_eq!(state.ended, [true, true]);
        }
        self.note(flow, What::Close(reason, now));
    }

    fn wants_more(&self, state: &Progress) -> bool {
        state.next[0] + state.next[1] < self.wanted
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn any_bytes(bytes in vec(any::<u8>(), 0..800)) {
            super::segments(&bytes);
        }

        /// Few kinds of segments, close together.
        #[test]
        fn likely_segments(
            head in any::<[u8; 2]>(),
            steps in vec((0..8_u8, prop_oneof![Just(0x10_u8), Just(0x11), Just(2), Just(0x12), Just(0x18), Just(0x14)],
                0..4_u8, any::<u8>(), 0..4_u8, any::<u8>(), 0..200_u8, any::<u8>()), 0..80),
        ) {
            let mut bytes = head.to_vec();
            for (a, b, c, d, e, f, g, h) in steps {
                bytes.extend_from_slice(&[a, b, c, d, e, f, g, h & 0x8f]);
            }
            super::segments(&bytes);
        }
    }
}
