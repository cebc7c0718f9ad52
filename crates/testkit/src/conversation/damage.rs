//! A finished conversation: its packets, what can be done to them, and the truth of what is left.

use std::ops::Range;

use gannet_packet::{LinkType, Timestamp};
use gannet_pcap::classic::{self, Precision};

use super::{Peer, Scripted, Segment, Span, Wire, flags, handshake_times, header_bytes_under};
use crate::truth::{Edges, TcpTruth, Times, Truth};

/// A packet of a conversation, as captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// When it passed the capture point, in ns since 1970.
    pub time_ns: u64,
    /// The captured bytes, from the Ethernet header on.
    pub frame: Vec<u8>,
    /// Bytes on the wire.
    pub orig_len: u32,
    /// Who sent it.
    pub from: Peer,
    /// TCP flags: [`flags`].
    pub flags: u8,
    /// Which bytes of the sender's stream it carries, counted from 0; empty for none.
    pub range: Range<u64>,
    /// Its sequence number, as a position: the SYN's is 0, byte `n` is at `n + 1`, the FIN behind the last.
    pub position: u64,
    /// Position that it acknowledges.
    pub ack: u64,
    /// The window that it announces, before scaling.
    pub window: u16,
    /// Tells sendings apart: two packets of equal number are one packet captured twice.
    pub sending: u64,
    /// It was captured before (see `sending`).
    pub copy: bool,
}

/// What a segment that is sent again has in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The same bytes.
    Same,
    /// Every byte another one.
    Other,
}

/// A conversation and its truth.
#[derive(Clone, Debug)]
pub struct Conversation {
    pub(super) wire: Wire,
    pub(super) streams: [Vec<u8>; 2],
    pub(super) packets: Vec<Packet>,
    pub(super) exchanges: Vec<Scripted>,
    /// Where the packets of the handshake are now.
    pub(super) handshake: Option<[Option<usize>; 3]>,
    pub(super) snaplen: Option<usize>,
}

/// What is in the capture.
impl Conversation {
    /// The packets in the order of capture; times never go back.
    pub fn packets(&self) -> &[Packet] {
        &self.packets
    }

    /// What an end sent, whether captured or not.
    pub fn stream(&self, from: Peer) -> &[u8] {
        &self.streams[from as usize]
    }

    /// What a reader of the capture can know of an end's stream: each byte as the first captured packet has it that
    /// has it at all, `None` where there is none (not captured, or cut off by the snaplen).
    pub fn captured(&self, from: Peer) -> Vec<Option<u8>> {
        let mut bytes = vec![None; self.stream(from).len()];
        for packet in self.packets.iter().filter(|packet| packet.from == from) {
            for (offset, byte) in packet.range.clone().zip(self.payload(packet)) {
                bytes[offset as usize].get_or_insert(*byte);
            }
        }
        bytes
    }

    /// The capture as a classic pcap file with nanoseconds.
    pub fn pcap(&self) -> Vec<u8> {
        pcap(&self.packets)
    }

    /// The truth of every exchange of which a captured packet carried at least one byte, in the order of requests.
    pub fn truth(&self) -> Vec<Truth> {
        let mut truths = Vec::new();
        let mut previous_response_last = None;
        for (index, exchange) in self.exchanges.iter().enumerate() {
            let mut times = Times { previous_response_last, ..Times::default() };
            if index == 0 {
                times.handshake = self.handshake.and_then(|numbers| handshake_times(&self.packets, numbers));
            }
            let (mut request, mut response) = (Edges::default(), Edges::default());
            for packet in &self.packets {
                match (packet.from, exchange.response) {
                    (Peer::Client, _) => exchange.request.see(&mut request, &packet.range, packet.time_ns),
                    (Peer::Server, Some(span)) => span.see(&mut response, &packet.range, packet.time_ns),
                    (Peer::Server, None) => {}
                }
            }
            (times.request, times.response) = (request, response);
            previous_response_last = response.last.or(previous_response_last);
            let (seen, tcp, whole) = self.tcp(exchange);
            if seen {
                truths.push(Truth {
                    client: self.wire.route().client,
                    server: self.wire.route().server,
                    facts: exchange.facts.clone(),
                    times,
                    tcp,
                    whole,
                });
            }
        }
        truths
    }

    /// Whether anything of an exchange was captured, what TCP went through meanwhile, and whether all was captured.
    fn tcp(&self, exchange: &Scripted) -> (bool, TcpTruth, bool) {
        let spans = [Some(exchange.request), exchange.response];
        let within = |packet: &Packet| {
            spans[packet.from as usize]
                .is_some_and(|span: Span| packet.range.start < span.end && packet.range.end > span.start)
        };
        let mut facts = TcpTruth::default();
        let mut held = 0;
        for (from, span) in [(Peer::Client, spans[0]), (Peer::Server, spans[1])] {
            let Some(span) = span else { continue };
            let captured = self.captured(from);
            for offset in span.start..span.end {
                held += u64::from(captured[offset as usize].is_some());
                let carried = |packet: &Packet| packet.from == from && packet.range.contains(&offset);
                facts.gap_bytes += u64::from(!self.packets.iter().any(carried));
            }
        }
        let first = self.packets.iter().position(within);
        let last = self.last_new_packet(exchange);
        let mut carried = self.streams.each_ref().map(|stream| vec![false; stream.len()]);
        let mut newest = [0, 0];
        for (index, packet) in self.packets.iter().enumerate().filter(|(_, packet)| !packet.copy) {
            let counts = first.is_some_and(|first| first <= index) && last.is_some_and(|last| index <= last);
            let carried = &mut carried[packet.from as usize];
            let again = packet.range.clone().filter(|offset| carried[*offset as usize]).count() as u64;
            let fresh = packet.range.end - packet.range.start - again;
            if counts {
                facts.retransmitted_bytes += again;
                facts.out_of_order +=
                    u32::from(fresh > 0 && packet.range.start < newest[packet.from as usize]);
                facts.zero_windows += u32::from(packet.window == 0 && packet.flags & flags::RST == 0);
            }
            packet.range.clone().for_each(|offset| carried[offset as usize] = true);
            newest[packet.from as usize] = newest[packet.from as usize].max(packet.range.end);
        }
        let all: u64 = spans.iter().flatten().map(|span| span.end - span.start).sum();
        (first.is_some(), facts, held == all && exchange.response.is_some())
    }

    /// The packet with which the last byte of both messages that ever comes has come.
    fn last_new_packet(&self, exchange: &Scripted) -> Option<usize> {
        let spans = [(Peer::Client, Some(exchange.request)), (Peer::Server, exchange.response)];
        let bytes = spans.iter().filter_map(|(from, span)| Some((*from, (*span)?)));
        bytes
            .flat_map(|(from, span)| (span.start..span.end).map(move |offset| (from, offset)))
            .filter_map(|(from, offset)| {
                self.packets.iter().position(|packet| packet.from == from && packet.range.contains(&offset))
            })
            .max()
    }

    pub(super) fn payload<'p>(&self, packet: &'p Packet) -> &'p [u8] {
        let length = (packet.range.end - packet.range.start) as usize;
        let header = header_bytes_under(self.wire.route(), packet.flags);
        let payload = packet.frame.get(header..).unwrap_or_default();
        &payload[..payload.len().min(length)]
    }
}

/// Damage. Numbers of packets are those in [`packets`](Self::packets) at the time of the call; one that is not there
/// is left alone.
impl Conversation {
    /// Packet `number` is not in the capture.
    pub fn drop_packet(&mut self, number: usize) -> &mut Self {
        self.drop_packets(number..number.saturating_add(1))
    }

    /// Those packets are not in the capture.
    pub fn drop_packets(&mut self, numbers: Range<usize>) -> &mut Self {
        let mut number = 0;
        self.packets.retain(|_| {
            number += 1;
            !numbers.contains(&(number - 1))
        });
        self.renumber(|old| {
            (!numbers.contains(&old)).then(|| old - numbers.len().min(old.saturating_sub(numbers.start)))
        });
        self
    }

    /// The capture began when `packets` packets were over.
    pub fn midstream(&mut self, packets: usize) -> &mut Self {
        self.drop_packets(0..packets)
    }

    /// The capture ended after `packets` packets.
    pub fn stop_after(&mut self, packets: usize) -> &mut Self {
        self.drop_packets(packets..self.packets.len().max(packets))
    }

    /// One direction was not captured.
    pub fn one_sided(&mut self, kept: Peer) -> &mut Self {
        for number in (0..self.packets.len()).rev() {
            if self.packets[number].from != kept {
                self.drop_packet(number);
            }
        }
        self
    }

    /// Packet `from` was captured at the place `to`, those between moving by one. Places keep their times.
    pub fn reorder(&mut self, from: usize, to: usize) -> &mut Self {
        if from >= self.packets.len() || to >= self.packets.len() {
            return self;
        }
        let times: Vec<u64> = self.packets.iter().map(|packet| packet.time_ns).collect();
        let packet = self.packets.remove(from);
        self.packets.insert(to, packet);
        for (packet, time) in self.packets.iter_mut().zip(times) {
            packet.time_ns = time;
        }
        self.renumber(|old| {
            Some(match old {
                old if old == from => to,
                old if from < old && old <= to => old - 1,
                old if to <= old && old < from => old + 1,
                old => old,
            })
        });
        self
    }

    /// Packet `number` was captured twice, the second time `delay_ns` later: a mirror, a bridge, `any`.
    pub fn duplicate(&mut self, number: usize, delay_ns: u64) -> &mut Self {
        if let Some(packet) = self.packets.get(number) {
            let copy = Packet { time_ns: packet.time_ns + delay_ns, copy: true, ..packet.clone() };
            self.insert(copy);
        }
        self
    }

    /// The segment of packet `number` was sent again `delay_ns` later: the same sequence number, in a packet of its
    /// own.
    pub fn retransmit(&mut self, number: usize, delay_ns: u64, content: Content) -> &mut Self {
        let Some(packet) = self.packets.get(number) else { return self };
        let mut payload = self.bytes(packet.from, &packet.range);
        if content == Content::Other {
            payload.iter_mut().for_each(|byte| *byte ^= 0x15);
        }
        let again = Packet { time_ns: packet.time_ns + delay_ns, ..packet.clone() };
        self.resend(again, &payload)
    }

    /// Bytes `range` of the stream of packet `number`'s sender were sent again `delay_ns` after it, cut anew: more or
    /// fewer bytes than the packets before had (coalesced, or partly new). What the stream does not have is left out.
    pub fn retransmit_range(&mut self, number: usize, delay_ns: u64, range: Range<u64>) -> &mut Self {
        let Some(packet) = self.packets.get(number) else { return self };
        let end = range.end.min(self.stream(packet.from).len() as u64);
        let range = range.start.min(end)..end;
        let payload = self.bytes(packet.from, &range);
        let again = Packet {
            time_ns: packet.time_ns + delay_ns,
            flags: flags::ACK | flags::PSH,
            position: range.start + 1,
            range,
            ..packet.clone()
        };
        self.resend(again, &payload)
    }

    /// A packet that was dropped is in the capture all the same.
    pub fn capture_again(&mut self, packet: Packet) -> &mut Self {
        self.insert(packet);
        self
    }

    /// All packets are cut to so many bytes.
    pub fn snaplen(&mut self, bytes: usize) -> &mut Self {
        self.packets.iter_mut().for_each(|packet| packet.frame.truncate(bytes));
        self.snaplen = Some(self.snaplen.map_or(bytes, |old| old.min(bytes)));
        self
    }

    fn bytes(&self, from: Peer, range: &Range<u64>) -> Vec<u8> {
        self.stream(from)[range.start as usize..range.end as usize].to_vec()
    }

    /// Captures a packet that the sender of another has sent later.
    fn resend(&mut self, mut packet: Packet, payload: &[u8]) -> &mut Self {
        // It acknowledges what the sender had acknowledged by then.
        let earlier = |other: &&Packet| other.from == packet.from && other.time_ns <= packet.time_ns;
        packet.ack = self.packets.iter().filter(earlier).map(|other| other.ack).max().unwrap_or(packet.ack);
        packet.sending = self.packets.iter().map(|other| other.sending).max().unwrap_or(0) + 1;
        packet.copy = false;
        packet.frame = Vec::new();
        let segment = Segment {
            flags: packet.flags,
            position: packet.position,
            ack: packet.ack,
            window: packet.window,
            payload,
        };
        self.wire.write(&mut packet.frame, packet.time_ns, packet.from, &segment);
        packet.orig_len = packet.frame.len() as u32;
        packet.frame.truncate(self.snaplen.unwrap_or(usize::MAX));
        self.insert(packet);
        self
    }

    /// Puts a packet where its time says, behind those of the same time.
    fn insert(&mut self, packet: Packet) {
        let at = self.packets.partition_point(|other| other.time_ns <= packet.time_ns);
        self.packets.insert(at, packet);
        self.renumber(|old| Some(if old >= at { old + 1 } else { old }));
    }

    fn renumber(&mut self, new: impl Fn(usize) -> Option<usize>) {
        if let Some(numbers) = &mut self.handshake {
            numbers.iter_mut().for_each(|number| *number = number.and_then(&new));
        }
    }
}

/// Packets, for instance of [`merge`](super::merge), as a classic pcap file with nanoseconds.
pub fn pcap<'p>(packets: impl IntoIterator<Item = &'p Packet>) -> Vec<u8> {
    pcap_of(packets.into_iter().map(|packet| (packet.time_ns, packet.orig_len, &packet.frame[..])))
}

/// The same of times, original lengths and captured bytes.
pub fn pcap_of<'p>(frames: impl IntoIterator<Item = (u64, u32, &'p [u8])>) -> Vec<u8> {
    let mut file = classic::file_header(Precision::Nano, LinkType::ETHERNET, SNAPLEN).to_vec();
    for (time_ns, orig_len, bytes) in frames {
        let at = file.len();
        file.resize(at + classic::RECORD_HEADER, 0);
        let time = Timestamp(time_ns);
        classic::write_record_header(&mut file[at..], Precision::Nano, time, orig_len, bytes.len());
        file.extend_from_slice(bytes);
    }
    file
}

/// What file headers announce; what tcpdump uses by default.
pub(crate) const SNAPLEN: u32 = 262_144;

#[cfg(test)]
mod tests {
    use super::super::{Body, Builder, Request, Response, Setup};
    use super::*;
    use proptest::prelude::*;

    /// Handshake 0-2; request 3, its ACK 4; response of 10,000 bytes and head 5 ..; close.
    fn conversation() -> Conversation {
        let mut builder = Builder::new(Setup::default());
        builder.handshake().request(&Request::new("GET", "/", "h"));
        let body: Vec<u8> = (0..10_000u32).map(|n| n as u8).collect();
        builder.response(&Response::new(200, Body::length(body))).close(Peer::Client);
        builder.finish()
    }

    fn data(conversation: &Conversation, from: Peer) -> Vec<usize> {
        let packets = conversation.packets().iter().enumerate();
        packets.filter(|(_, p)| p.from == from && !p.range.is_empty()).map(|(number, _)| number).collect()
    }

    #[test]
    fn a_dropped_segment_is_a_gap_and_its_edges_are_unknown() {
        let whole = conversation();
        let segments = data(&whole, Peer::Server);
        let mut middle = whole.clone();
        let lost = &whole.packets()[segments[2]];
        middle.drop_packet(segments[2]);
        let truth = &middle.truth()[0];
        assert_eq!((truth.whole, truth.tcp.gap_bytes), (false, 1_448));
        assert_eq!(truth.times, whole.truth()[0].times);
        assert!(
            middle.captured(Peer::Server)[lost.range.start as usize..lost.range.end as usize]
                .iter()
                .all(Option::is_none)
        );

        let mut first = whole.clone();
        first.drop_packet(segments[0]);
        let times = first.truth()[0].times;
        assert_eq!((times.response.first, times.response.head_end, times.ttfb()), (None, None, None));
        assert!(times.total().is_some());
    }

    #[test]
    fn a_late_segment_is_out_of_order_and_its_edges_are_late() {
        let whole = conversation();
        let segments = data(&whole, Peer::Server);
        let mut late = whole.clone();
        late.reorder(segments[0], segments[1]);
        let truth = &late.truth()[0];
        assert_eq!((truth.whole, truth.tcp.out_of_order, truth.tcp.retransmitted_bytes), (true, 1, 0));
        assert_eq!(truth.times.response.first, Some(whole.packets()[segments[1]].time_ns));
        assert!(late.packets().windows(2).all(|pair| pair[0].time_ns < pair[1].time_ns));
    }

    #[test]
    fn copies_are_the_same_packet_and_retransmissions_are_not() {
        let whole = conversation();
        let number = data(&whole, Peer::Server)[1];
        let mut doubled = whole.clone();
        doubled.duplicate(number, 10);
        assert_eq!(doubled.packets()[number].frame, doubled.packets()[number + 1].frame);
        assert_eq!(doubled.truth(), whole.truth());

        for content in [Content::Same, Content::Other] {
            let mut again = whole.clone();
            again.retransmit(number, 10, content);
            let (one, two) = (&again.packets()[number], &again.packets()[number + 1]);
            assert_eq!((one.range.clone(), one.position), (two.range.clone(), two.position));
            assert_ne!(one.frame[18..20], two.frame[18..20], "identification");
            assert_eq!(one.frame[66..] == two.frame[66..], content == Content::Same);
            assert_eq!(again.captured(Peer::Server), whole.captured(Peer::Server), "the first copy wins");
            let truth = &again.truth()[0];
            assert_eq!((truth.tcp.retransmitted_bytes, truth.times), (1_448, whole.truth()[0].times));
        }
    }

    #[test]
    fn a_retransmission_can_be_cut_anew_and_fill_a_gap() {
        let whole = conversation();
        let segments = data(&whole, Peer::Server);
        let range = whole.packets()[segments[1]].range.start..whole.packets()[segments[2]].range.end + 5;
        let mut mended = whole.clone();
        mended.retransmit_range(segments[3], 1, range.clone()).drop_packets(segments[1]..segments[2] + 1);
        assert!(mended.truth()[0].whole);
        assert_eq!(
            mended.truth()[0].tcp,
            TcpTruth { retransmitted_bytes: 5, out_of_order: 1, ..TcpTruth::default() }
        );
        let resent = mended.packets().iter().find(|packet| packet.range == range).unwrap();
        assert_eq!(resent.frame[66..], whole.stream(Peer::Server)[range.start as usize..range.end as usize]);
    }

    #[test]
    fn beginnings_ends_and_sides_that_are_missing() {
        let whole = conversation();
        let packets = whole.packets().len();
        let mut part = whole.clone();
        part.midstream(2);
        assert_eq!((part.packets().len(), part.truth()[0].times.handshake), (packets - 2, None));
        assert!(part.truth()[0].whole);
        let mut part = whole.clone();
        assert_eq!(part.stop_after(5).packets().len(), 5);
        assert_eq!((part.truth()[0].whole, part.truth()[0].times.response), (false, Edges::default()));
        assert_eq!(part.stop_after(3).truth(), []);
        let mut part = whole.clone();
        part.one_sided(Peer::Server);
        assert!(part.packets().iter().all(|packet| packet.from == Peer::Server));
        assert_eq!(part.truth()[0].times.request, Edges::default());
    }

    #[test]
    fn a_snaplen_cuts_bytes_and_no_edges() {
        let whole = conversation();
        let mut cut = whole.clone();
        cut.snaplen(100);
        assert!(cut.packets().iter().all(|packet| packet.frame.len() <= 100));
        let truth = &cut.truth()[0];
        assert_eq!((truth.whole, truth.tcp.gap_bytes, truth.times), (false, 0, whole.truth()[0].times));
        let held = cut.captured(Peer::Server).iter().flatten().count();
        assert_eq!(held, data(&whole, Peer::Server).len() * 34);
    }

    #[test]
    fn windows_of_zero_and_probes_carry_nothing() {
        let mut builder = Builder::new(Setup::default());
        builder.handshake().request(&Request::new("GET", "/", "h"));
        builder.write_response(&Response::new(200, Body::length(vec![0; 4_000]))).segment(Peer::Server);
        builder.zero_window(Peer::Client).keep_alive(Peer::Server).flush(Peer::Server);
        let truth = &builder.finish().truth()[0];
        assert_eq!((truth.whole, truth.tcp.zero_windows, truth.tcp.retransmitted_bytes), (true, 1, 0));
    }

    #[derive(Clone, Debug)]
    enum Damage {
        Drop(usize),
        Reorder(usize, usize),
        Duplicate(usize, u64),
        Retransmit(usize, u64),
        Range(usize, u64, u64, u64),
        Snaplen(usize),
    }

    fn damage() -> impl Strategy<Value = Damage> {
        let number = || 0usize..30;
        prop_oneof![
            number().prop_map(Damage::Drop),
            (number(), number()).prop_map(|(from, to)| Damage::Reorder(from, to)),
            (number(), 0u64..200_000).prop_map(|(number, ns)| Damage::Duplicate(number, ns)),
            (number(), 0u64..200_000).prop_map(|(number, ns)| Damage::Retransmit(number, ns)),
            (number(), 0u64..200_000, 0u64..12_000, 0u64..3_000)
                .prop_map(|(number, ns, start, length)| Damage::Range(number, ns, start, length)),
            (0usize..1_600).prop_map(Damage::Snaplen),
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_damaged_the_truth_holds(damages in proptest::collection::vec(damage(), 0..8)) {
            let whole = conversation();
            let mut damaged = whole.clone();
            for damage in damages {
                match damage {
                    Damage::Drop(number) => damaged.drop_packet(number),
                    Damage::Reorder(from, to) => damaged.reorder(from, to),
                    Damage::Duplicate(number, ns) => damaged.duplicate(number, ns),
                    Damage::Retransmit(number, ns) => damaged.retransmit(number, ns, Content::Same),
                    Damage::Range(number, ns, start, length) => {
                        damaged.retransmit_range(number, ns, start..start + length)
                    }
                    Damage::Snaplen(bytes) => damaged.snaplen(bytes),
                };
            }
            prop_assert!(damaged.packets().windows(2).all(|pair| pair[0].time_ns <= pair[1].time_ns));
            let mut missing = 0;
            for from in [Peer::Client, Peer::Server] {
                for (byte, sent) in damaged.captured(from).iter().zip(whole.stream(from)) {
                    prop_assert!(byte.is_none_or(|byte| byte == *sent));
                    missing += u64::from(byte.is_none());
                }
            }
            for truth in damaged.truth() {
                prop_assert_eq!(truth.whole, missing == 0);
                prop_assert!(truth.tcp.gap_bytes <= missing);
                if let (Some(ttfb), Some(receive)) = (truth.times.ttfb(), truth.times.receive()) {
                    prop_assert_eq!(truth.times.total(), Some(ttfb + receive));
                }
                if let Some(handshake) = truth.times.handshake {
                    let known = |time| damaged.packets().iter().any(|packet| packet.time_ns == time);
                    prop_assert!(known(handshake.syn) && known(handshake.ack));
                }
            }
        }
    }
}
