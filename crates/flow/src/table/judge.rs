//! How a segment stands to the streams of its flow.

use gannet_packet::{TcpFlags, Timestamp};

use crate::assembly::Assembly;
use crate::entry::Entry;
use crate::flow::{self, Attention};
use crate::history::Letter;
use crate::rare::Elsewhere;
use crate::sequence::{has, window_scale};
use crate::stream::{REACH_UNKNOWN, Start, Stream};
use crate::{GapReason, Had, Handler, Outcome, Peer, Segment};

impl<H: Handler> Assembly<'_, H> {
    /// Whether a segment is the copy of one that was taken a while ago: nothing of it is new, and time runs backwards.
    ///
    /// Interfaces that see the same packets (both ends of a pair, ports of a bridge) are read a block of one after a
    /// block of the other, so copies come too late for the marks of the last segments. What is sent again has a later
    /// time.
    #[inline]
    pub(super) fn is_late_copy(
        &self,
        entry: &Entry<H::State>,
        from: Peer,
        segment: &Segment<'_>,
        sequence: u32,
    ) -> bool {
        let stream = &entry.flow.streams[from as usize];
        stream.newest.is_after(segment.moment.time, entry.flow.last_seen)
            && self.is_known(entry, from, segment, sequence)
    }

    /// Whether everything that a segment says has been said before.
    #[cold]
    fn is_known(&self, entry: &Entry<H::State>, from: Peer, segment: &Segment<'_>, sequence: u32) -> bool {
        let stream = &entry.flow.streams[from as usize];
        let opposite = &entry.flow.streams[from.opposite() as usize];
        let offset = stream.offset(sequence);
        let end = offset + i64::from(segment.wire_len);
        let start = match stream.start {
            Start::Unknown => false,
            Start::Provisional => segment.wire_len == 0,
            Start::Known => true,
        };
        let syn = !has(segment, TcpFlags::SYN) || stream.syn() && offset == 0;
        let ack = !has(segment, TcpFlags::ACK)
            || opposite.start != Start::Unknown
                && opposite.offset(segment.tcp.acknowledgement) <= opposite.acked() as i64;
        start
            && syn
            && ack
            && offset >= 0
            && !has(segment, TcpFlags::RST)
            && self.has_seen(stream, offset as u64, end as u64, has(segment, TcpFlags::FIN))
    }

    /// Whether a segment with the mark of one that was seen is its copy: bytes that have not been seen are none,
    /// however alike the marks.
    pub(super) fn brings_nothing(
        &self,
        entry: &Entry<H::State>,
        from: Peer,
        segment: &Segment<'_>,
        sequence: u32,
    ) -> bool {
        let stream = &entry.flow.streams[from as usize];
        let offset = stream.offset(sequence);
        let end = offset + i64::from(segment.wire_len);
        segment.wire_len == 0
            || entry.state.is_none()
            || end <= stream.next as i64
            || self.has_seen(stream, offset.max(0) as u64, end as u64, false)
    }

    /// A segment of a flow that is closed.
    #[cold]
    pub(super) fn late(
        &mut self,
        entry: &mut Entry<H::State>,
        from: Peer,
        segment: &Segment<'_>,
        sequence: u32,
    ) -> Outcome {
        let is_later = segment.moment.time > entry.flow.last_seen;
        let stream = entry.stream(from);
        if segment.wire_len == 0 {
            let begins = has(segment, TcpFlags::SYN) && !has(segment, TcpFlags::ACK);
            let again = stream.syn() && stream.next != 0 && stream.base == sequence;
            self.counters.copied_flows += u64::from(is_later && begins && again);
            return Outcome::Accepted;
        }
        let end = stream.offset(sequence) + i64::from(segment.wire_len);
        let known = stream.start != Start::Unknown && end <= stream.next as i64;
        if !known || end < stream.next as i64 - reach(entry, from) {
            return Outcome::OutOfWindow;
        }
        self.counters.retransmitted_bytes += u64::from(segment.wire_len);
        Outcome::Accepted
    }

    /// A SYN that belongs to this flow: where its stream starts, when, and how windows are to be read.
    #[cold]
    pub(super) fn syn(&mut self, entry: &mut Entry<H::State>, from: Peer, segment: &Segment<'_>, first: u32) {
        let stream = entry.stream(from);
        let again = stream.syn();
        match stream.start {
            Start::Unknown => stream.begin(first, Start::Known),
            Start::Provisional => {
                let distance = stream.base.wrapping_sub(first);
                if distance <= PROVISIONAL_REACH {
                    stream.start = Start::Known;
                    self.start_earlier(entry, from, distance);
                }
            }
            Start::Known => {}
        }
        let stream = entry.stream(from);
        if stream.base != first {
            // A SYN+ACK that is not this flow's; the window test will say so.
            return;
        }
        stream.set_syn();
        stream.set_scale(window_scale(segment.options));
        let flow = &mut entry.flow;
        flow.midstream = false;
        let which = if has(segment, TcpFlags::ACK) { flow::SYN_ACK } else { flow::SYN };
        flow.seen(which, segment.moment.time);
        if again {
            flow.attention.set(Attention::SYN_AGAIN, true);
        }
        flow.attention.set(Attention::HANDSHAKE_WAITS, flow.handshake_waits());
    }

    /// Starts the streams that a segment tells the start of.
    #[inline]
    pub(super) fn begin(
        &mut self,
        entry: &mut Entry<H::State>,
        from: Peer,
        segment: &Segment<'_>,
        sequence: u32,
    ) {
        match entry.stream(from).start {
            Start::Known => {}
            Start::Unknown => {
                let start = if segment.wire_len == 0 { Start::Provisional } else { Start::Known };
                entry.stream(from).begin(sequence, start);
            }
            Start::Provisional => {
                let stream = entry.stream(from);
                let distance = stream.base.wrapping_sub(sequence);
                // A probe of one byte just before the start is no earlier data.
                let probe = segment.wire_len == 1 && distance == 1;
                if segment.wire_len != 0 && (1..=PROVISIONAL_REACH).contains(&distance) && !probe {
                    self.start_earlier(entry, from, distance);
                }
            }
        }
        if has(segment, TcpFlags::ACK) {
            let opposite = entry.stream(from.opposite());
            if opposite.start == Start::Unknown {
                opposite.begin(segment.tcp.acknowledgement, Start::Provisional);
            }
        }
    }

    /// Whether a segment can be of this flow's present.
    pub(super) fn in_window(
        &self,
        entry: &mut Entry<H::State>,
        from: Peer,
        offset: i64,
        segment: &Segment<'_>,
    ) -> bool {
        let reach_here = reach(entry, from);
        let end = offset + i64::from(segment.wire_len);
        let (low, high) = self.edges(entry.stream(from));
        if offset <= high + reach_here && end >= low - reach_here {
            return true;
        }
        // The capture may have missed more than a window, however much: half of all sequence numbers lie ahead. What
        // its sender has received shows then that it is up to date, with what was missed of the opposite direction.
        let opposite = entry.stream(from.opposite());
        if !has(segment, TcpFlags::ACK) || opposite.start == Start::Unknown {
            return false;
        }
        let acknowledged = opposite.offset(segment.tcp.acknowledgement);
        let (_, high_there) = self.edges(opposite);
        let reach_there = reach(entry, from.opposite());
        // Of both directions more than a window may be missing. Two numbers that lie ahead so little agree by chance
        // once in 65,000 times.
        let little = offset <= high + ELSEWHERE_REACH;
        let ahead = if little { reach_there.max(ELSEWHERE_REACH) } else { reach_there };
        offset > 0 && (high_there - reach_there..=high_there + ahead).contains(&acknowledged)
    }

    /// Whether a segment that is in no window shows, with the last one of the other end that was in none, that the
    /// flow has gone on elsewhere: the capture missed more than a window of both directions. The streams go on there
    /// then.
    ///
    /// Each of the two acknowledges what the other one sends, and nothing that was in a window came between them: who
    /// cannot see the flow cannot make such a pair. Late segments of a flow that had these ports before can: a young
    /// flow is not led astray by them.
    #[cold]
    pub(super) fn goes_on_elsewhere(
        &mut self,
        entry: &mut Entry<H::State>,
        from: Peer,
        segment: &Segment<'_>,
        sequence: u32,
    ) -> bool {
        let streams = &entry.flow.streams;
        let taken = streams[0].packets.wrapping_add(streams[1].packets);
        let over = streams.iter().any(|stream| stream.start == Start::Unknown || stream.ended());
        let age = segment.moment.time.0.saturating_sub(entry.flow.opened.0);
        if over || age < COPIES_WITHIN_NS || !has(segment, TcpFlags::ACK) || has(segment, TcpFlags::SYN) {
            return false;
        }
        let here = Elsewhere {
            sequence,
            end: sequence.wrapping_add(segment.wire_len).wrapping_add(has(segment, TcpFlags::FIN).into()),
            acknowledgement: segment.tcp.acknowledgement,
            taken,
        };
        let reach = Peer::BOTH.map(|peer| reach(entry, peer).min(ELSEWHERE_REACH));
        let elsewhere = &mut entry.flow.rare_mut().unusual_mut().elsewhere;
        elsewhere[from as usize] = Some(here);
        let Some(there) = elsewhere[from.opposite() as usize].filter(|there| there.taken == taken) else {
            return false;
        };
        // What one has sent by then against what the other has received, both ways.
        let agree = |sent: u32, received: u32, reach: i64| {
            (0..=reach).contains(&i64::from(sent.wrapping_sub(received) as i32))
        };
        if !agree(there.end, here.acknowledgement, reach[from.opposite() as usize])
            || !agree(here.sequence, there.acknowledgement, reach[from as usize])
        {
            return false;
        }
        entry.flow.rare_mut().unusual_mut().elsewhere = [None; 2];
        self.counters.resynchronised += 1;
        for (peer, target) in [(from, here.sequence), (from.opposite(), there.end)] {
            self.jump(entry, peer, target, reach[peer as usize]);
        }
        true
    }

    /// Lets a stream go on at a sequence number that is out of its reach. What is held comes first.
    fn jump(&mut self, entry: &mut Entry<H::State>, peer: Peer, target: u32, reach: i64) {
        let stream = entry.stream(peer);
        if (stream.offset(target) - stream.next as i64).abs() <= reach {
            return;
        }
        self.give_up_all(entry, peer);
        let stream = entry.stream(peer);
        // Streams only go on; more than 4 GiB would not be told from less.
        let ahead = u64::from(target.wrapping_sub(stream.next_sequence()));
        let next = stream.next + ahead;
        if stream.ended() || ahead == 0 {
            return;
        }
        if entry.flow.attention.has(Attention::UNWANTED) {
            entry.stream(peer).advance(next);
        } else {
            self.gap(entry, peer, next, GapReason::NotCaptured);
        }
    }

    /// Takes note of what a segment acknowledges and of its window. Returns the acknowledged offset.
    #[inline]
    pub(super) fn acknowledge(
        &mut self,
        entry: &mut Entry<H::State>,
        from: Peer,
        segment: &Segment<'_>,
    ) -> Option<u64> {
        if !has(segment, TcpFlags::ACK) {
            return None;
        }
        let syn = has(segment, TcpFlags::SYN);
        let both_scale = entry.flow.streams.iter().all(|stream| stream.scale().is_some());
        let scale = entry.stream(from).scale().filter(|_| both_scale && !syn).unwrap_or(0);
        let window = u32::from(segment.tcp.window) << scale;
        let opposite = entry.stream(from.opposite());
        opposite.raise_window(window);
        let (_, high) = self.edges(opposite);
        let offset = opposite.acknowledge(segment.tcp.acknowledgement, high as u64);
        // A FIN takes a sequence number, but is no byte.
        opposite.round_trip.acknowledged(segment.tcp.acknowledgement, segment.moment.time);
        let end = match opposite.hold {
            _ if opposite.ended() => opposite.next,
            Some(id) => self.holds.get(id).fin.map_or(u64::MAX, |fin| fin.offset),
            None => u64::MAX,
        };
        let first = opposite.base;
        if entry.flow.attention.has(Attention::HANDSHAKE_WAITS)
            && !syn
            && from == Peer::Originator
            && segment.tcp.acknowledgement.wrapping_sub(first) as i32 >= 0
        {
            entry.flow.seen(flow::ACK, segment.moment.time);
            entry.flow.attention.set(Attention::HANDSHAKE_WAITS, false);
        }
        let offset = offset.min(end);
        if offset as i64 > high && segment.wire_len == 0 && !syn {
            self.tell_unseen(entry, from, segment, offset);
        }
        Some(offset)
    }

    /// Tells the handler that a segment without payload has acknowledged `received` bytes, some of them unseen. One
    /// that keeps the connection alive repeats an older number (RFC 9293, section 3.8.4): it tells nothing.
    #[cold]
    fn tell_unseen(&mut self, entry: &mut Entry<H::State>, from: Peer, segment: &Segment<'_>, received: u64) {
        let unwanted = entry.flow.attention.has(Attention::UNWANTED);
        let stream = entry.stream(from);
        let sent = stream.offset(segment.tcp.sequence);
        if sent >= stream.next as i64
            && !unwanted
            && let Some(state) = &mut entry.state
        {
            self.handler.unseen_acknowledged(state, &entry.flow, from, Had { received, sent: sent as u64 });
        }
    }

    /// Between which offsets a stream's present lies: its next byte, and the highest that was seen or acknowledged.
    pub(super) fn edges(&self, stream: &Stream) -> (i64, i64) {
        let highest = stream.hold.map_or(0, |id| self.holds.get(id).highest);
        (stream.next as i64, stream.next.max(stream.acked()).max(highest) as i64)
    }
}

/// Whether a RST is one of the sender's, as far as its numbers tell.
pub(super) fn plausible_reset<H: Handler>(
    entry: &mut Entry<H::State>,
    from: Peer,
    segment: &Segment<'_>,
    assembly: &Assembly<'_, H>,
) -> bool {
    // A refused SYN is answered from sequence number 0: its acknowledgement counts.
    let (whose, number) = match entry.stream(from).start {
        Start::Unknown if !has(segment, TcpFlags::ACK) => return true,
        Start::Unknown => (from.opposite(), segment.tcp.acknowledgement),
        _ => (from, segment.tcp.sequence),
    };
    let stream = entry.stream(whose);
    if stream.start == Start::Unknown {
        return true;
    }
    let offset = stream.offset(number);
    let (low, high) = assembly.edges(stream);
    // One that has sent a SYN alone resets what answers another connection with the numbers of that one.
    let young = stream.syn() && stream.next == 0 && stream.hold.is_none();
    let reach = if young { i64::from(PROVISIONAL_REACH) } else { reach(entry, whose) };
    (low - reach..=high + reach).contains(&offset)
}

/// Whether the first segment of an end acknowledges what its opposite, which has sent a SYN and nothing else, cannot
/// have sent: "If SEG.ACK =< ISS, or SEG.ACK > SND.NXT, send a reset" (RFC 9293, section 3.10.7.3). A server that
/// still has the connection of the same ports before this one answers its SYN so (RFC 5961, section 4), with the
/// numbers of that one.
#[inline]
pub(super) fn answers_another<S>(entry: &Entry<S>, from: Peer, segment: &Segment<'_>) -> bool {
    let stream = &entry.flow.streams[from as usize];
    let opposite = &entry.flow.streams[from.opposite() as usize];
    stream.start == Start::Unknown
        && has(segment, TcpFlags::ACK)
        && opposite.syn()
        && opposite.next == 0
        && opposite.hold.is_none()
        && !(0..=i64::from(PROVISIONAL_REACH)).contains(&opposite.offset(segment.tcp.acknowledgement))
}

/// Whether a flow that a RST has ended goes on all the same: the end in whose name it came sends the next byte, or
/// takes the connection that it had refused. Its host has sent no RST then, or one that the other has not taken:
/// somebody else did, to be rid of the connection or of those who watch it (RFC 5961).
///
/// What the other end has sent before the RST came to it goes on for a while behind it, and shows nothing.
#[cold]
pub(super) fn outlives_reset<S>(entry: &Entry<S>, from: Peer, segment: &Segment<'_>) -> bool {
    let flow = &entry.flow;
    let stream = &flow.streams[from as usize];
    let opposite = &flow.streams[from.opposite() as usize];
    let acknowledged = opposite.offset(segment.tcp.acknowledgement);
    // Of a flow that ended with FINs a RST behind them is no part.
    let agrees = flow.history.has(from, Letter::Reset)
        && !has(segment, TcpFlags::RST)
        && has(segment, TcpFlags::ACK)
        && opposite.start != Start::Unknown
        && (opposite.acked().min(opposite.next) as i64..=opposite.next as i64).contains(&acknowledged);
    let goes_on = match has(segment, TcpFlags::SYN) {
        true => stream.start == Start::Unknown,
        false => {
            stream.start != Start::Unknown
                && segment.wire_len != 0
                && stream.next_sequence() == segment.tcp.sequence
        }
    };
    agrees && goes_on
}

/// Whether a SYN with the number of a flow's own one begins that flow once more: tools that replay a capture in a loop
/// send the same packets again and again.
///
/// A host that has data of its peer sends its SYN no more. What is captured twice comes within a tenth of a second; a
/// flow that is not over, which its capture may have missed the end of, must have been silent as well.
#[cold]
pub(super) fn is_played_again<S>(
    entry: &Entry<S>,
    from: Peer,
    segment: &Segment<'_>,
    copies_are_told: bool,
) -> bool {
    let Entry { flow, state, .. } = entry;
    let stream = &flow.streams[from as usize];
    let since = |time: Timestamp| segment.moment.time.0.saturating_sub(time.0);
    let is_copy = copies_are_told && since(flow.opened) <= COPIED_WITHIN_NS;
    let silent = since(flow.last_seen) > COPIES_WITHIN_NS;
    // Of a fast open also the SYN+ACK may be lost, and be seen here.
    let answered = stream.syn() && flow.streams[from.opposite() as usize].acked() != 0;
    answered && stream.next != 0 && !is_copy && (state.is_none() || silent)
}

/// How far from its present a stream may plausibly jump.
pub(super) fn reach<S>(entry: &Entry<S>, from: Peer) -> i64 {
    if entry.flow.streams.iter().all(Stream::syn) {
        // Windows that were announced while the capture missed packets are not known, small ones mean little.
        i64::from(entry.flow.streams[from as usize].window().max(REACH_MIN)) + i64::from(REACH_MIN)
    } else {
        REACH_UNKNOWN
    }
}

/// Counts a segment among the facts of its stream.
#[inline]
pub(super) fn count<S>(entry: &mut Entry<S>, from: Peer, segment: &Segment<'_>) {
    let flow = &mut entry.flow;
    let stream = &mut flow.streams[from as usize];
    let (packets, packets_carry) = stream.packets.overflowing_add(1);
    let (bytes, bytes_carry) = stream.bytes.overflowing_add(segment.wire_len);
    (stream.packets, stream.bytes) = (packets, bytes);
    if packets_carry || bytes_carry {
        let carries = flow.unusual_stream(from);
        carries.packets_high += u32::from(packets_carry);
        carries.bytes_high += u32::from(bytes_carry);
    }
    flow.history.add_segment(from, segment.tcp.flags, segment.wire_len != 0);
    let closing = TcpFlags(TcpFlags::SYN.0 | TcpFlags::RST.0);
    let zero = segment.tcp.window == 0;
    if (zero || flow.attention.has(Attention::STALLED << from as u8)) && segment.tcp.flags.0 & closing.0 == 0
    {
        flow.stall(from, zero, segment.moment.time);
    }
}

/// "Pure ACK, FIN and RST" of nothing known: the rest of something whose end would never be seen.
pub(super) fn opens_a_flow(segment: &Segment<'_>) -> bool {
    !has(segment, TcpFlags::RST) && (has(segment, TcpFlags::SYN) || segment.wire_len != 0)
}

/// Bytes before a provisional start that are taken for late captured ones rather than for sent again: one
/// window of a sender that has just begun, or what a mirror puts out of order.
pub(super) const PROVISIONAL_REACH: u32 = 64 << 10;

/// How much earlier than a flow's first segment a copy of another's may be, or how much later, in nanoseconds: some
/// blocks of a capture ring, and little enough that a clock that is set back costs no flow.
pub(super) const COPIES_WITHIN_NS: u64 = 1_000_000_000;

/// How long behind a flow's first segment a copy of it may come, in nanoseconds: 100 ms, as for the marks of
/// [`Recent`](crate::sequence::Recent). More loses replays of short captures, less takes two capture points whose
/// clocks differ for a replay.
const COPIED_WITHIN_NS: u64 = 100_000_000;

/// How far what two segments say of one stream may be apart to be taken for the same place: what may be in flight.
const ELSEWHERE_REACH: i64 = 16 << 20;

/// The least window assumed, in bytes.
const REACH_MIN: u32 = 64 << 10;
