//! One worker's analysis: frames become segments, streams, exchanges or ends of flows; those go to the outputs in
//! batches.
//!
//! ```text
//!   ring block ──┐                                             ┌─► Http ─► Collector ──┬─► Findings (kept here)
//!                ├─► Frame ─► Intake ─► Segment ─► FlowTable ──┴─► Flows ──────────────┴─► Batch ─► Lane ─► outputs
//!   file batch ──┘              │          ▲                         │
//!                               │          └─► Post: the flow is another worker's
//!                               └─► no segment: an account by the reason, or ─┘ a conversation
//! ```
//!
//! The frame's time stamp is the clock. Only live, and only while nothing comes, it is moved on by what the machine's
//! clock says has passed.

use std::time::{Duration, Instant};

use gannet_flow::{FlowTable, Moment, Segment};
use gannet_http::Http;
use gannet_packet::{End, FlowKey, Frame, LinkType, Packet, Surroundings, Timestamp};
use gannet_record::Interfaces;
use gannet_recorder::{InterfaceKey, Recorded, inplace};
use gannet_ring::Block;
use gannet_ring::interfaces::link_type_of_arphrd;
use gannet_ring::walk::{FrameHeader, FrameWalk, LookAhead};
use gannet_sink::{Batch, Lane};

use crate::clock::StampClock;
use crate::collector::Collector;
use crate::config::{HttpConfig, IntakeConfig, StatsConfig};
use crate::flows::Flows;
use crate::intake::{Found, Intake, Part, ip_bytes};
use crate::layer::{Findings, Layer};
use crate::ledger::{Analysed, AnalysisLedger, Counters};
use crate::mailbox::{Account, Post};

/// The analysis of one worker, by what is looked for.
#[expect(clippy::large_enum_variant, reason = "there is one for each worker")]
pub(crate) enum Analysis {
    Http(Engine<Http<Collector>>),
    Flows(Engine<Flows>),
}

/// Does something with the engine, whichever it is.
macro_rules! engine {
    ($analysis:expr, $engine:ident => $what:expr) => {
        match $analysis {
            Analysis::Http($engine) => $what,
            Analysis::Flows($engine) => $what,
        }
    };
}

/// What is done with packets whatever is looked for.
pub(crate) struct Engine<L: Layer> {
    table: FlowTable<L>,
    intake: Intake,
    /// To the other workers; `None` where each packet is given to the worker of its flow at once.
    post: Option<Post>,
    lane: Lane,
    /// Accounts of packets; the layers' own counters are added when it is shown.
    ledger: AnalysisLedger,
    worker: usize,
    workers: usize,
    batch: u64,
    interfaces: Known,
    /// Live: packets taken so far, the newest time stamp, and what time it is when no more come.
    packets: u64,
    newest: Timestamp,
    clock: StampClock,
    /// The newest time stamp of a packet out of a ring of this worker.
    reached: Timestamp,
}

/// What all analyses of a run have in common.
pub(crate) struct AnalysisPlan<'a> {
    pub(crate) aim: Aim<'a>,
    /// Against collisions made on purpose: random for each run.
    pub(crate) seed: u64,
    pub(crate) workers: usize,
    pub(crate) interfaces: Interfaces,
    /// By how much longer one packet of a flow may take than another to come to its worker.
    pub(crate) skew: Duration,
    /// Packets come from interfaces.
    pub(crate) live: bool,
}

/// What is looked for.
#[derive(Clone, Copy)]
pub(crate) enum Aim<'a> {
    Http(&'a HttpConfig),
    Flows(&'a StatsConfig),
}

impl<'a> Aim<'a> {
    /// What comes between packets and flows.
    pub(crate) fn intake(self) -> &'a IntakeConfig {
        match self {
            Self::Http(config) => &config.intake,
            Self::Flows(config) => &config.intake,
        }
    }
}

/// Segments that are gathered to be looked up together.
#[derive(Default)]
pub(crate) struct Run<'a> {
    segments: Vec<Segment<'a>>,
    /// Of each, the length of its IP packet and what it counts for in the ledger.
    lengths: Vec<(u32, u64)>,
}

/// Segments of a run: as many as the table looks up together.
const RUN: usize = 32;

/// The interfaces that frames have come from, with their numbers in the run.
struct Known {
    all: Interfaces,
    seen: Vec<(InterfaceKey, u32)>,
}

impl Known {
    /// An interface's number. There are few, and mostly one.
    #[inline]
    fn number(&mut self, key: InterfaceKey, name: impl FnOnce() -> String) -> u32 {
        match self.seen.iter().find(|(known, _)| *known == key) {
            Some((_, number)) => *number,
            None => {
                let number = self.all.add(name());
                self.seen.push((key, number));
                number
            }
        }
    }
}

impl Analysis {
    pub(crate) fn new(plan: &AnalysisPlan<'_>, worker: usize, lane: Lane) -> Self {
        match plan.aim {
            Aim::Http(config) => {
                let collector = Collector::new(config, lane.wanted(), plan.interfaces.clone(), plan.live);
                let http = Http::new(config.analysis.clone(), collector);
                Self::Http(Engine::new(plan, config.flows, http, worker, lane))
            }
            Aim::Flows(config) => {
                let flows = Flows::new(&config.flows, plan.seed);
                Self::Flows(Engine::new(plan, config.flows, flows, worker, lane))
            }
        }
    }

    /// See [`Engine::block`].
    pub(crate) fn block(
        &mut self,
        block: &Block,
        source: u32,
        name: &dyn Fn(i32) -> String,
        snaplen: usize,
        allowed: u64,
    ) -> Recorded {
        engine!(self, engine => engine.block(block, source, name, snaplen, allowed))
    }

    /// See [`Engine::frame_of_run`].
    #[inline]
    pub(crate) fn frame_of_run<'a>(
        &mut self,
        run: &mut Run<'a>,
        frame: &Frame<'a>,
        position: u64,
        bytes: u64,
    ) {
        engine!(self, engine => engine.frame_of_run(run, frame, position, bytes));
    }

    /// See [`Engine::segment_of_run`].
    #[inline]
    pub(crate) fn segment_of_run<'a>(
        &mut self,
        run: &mut Run<'a>,
        segment: Segment<'a>,
        ip_bytes: u32,
        bytes: u64,
    ) {
        engine!(self, engine => engine.segment_of_run(run, segment, ip_bytes, bytes));
    }

    /// See [`Engine::end_run`].
    #[inline]
    pub(crate) fn end_run(&mut self, run: &mut Run<'_>) {
        engine!(self, engine => engine.end_run(run));
    }

    /// See [`Engine::part`].
    pub(crate) fn part(&mut self, frame: &Frame<'_>, position: u64, bytes: u64, part: Part) {
        engine!(self, engine => engine.part(frame, position, bytes, part));
    }

    /// See [`Engine::datagram`].
    pub(crate) fn datagram(&mut self, frame: &Frame<'_>, around: &Surroundings, position: u64, part: Part) {
        engine!(self, engine => engine.datagram(frame, around, position, part));
    }

    /// What is of another worker's flows goes there, and what they find is taken.
    pub(crate) fn with_post(mut self, post: Option<Post>) -> Self {
        engine!(&mut self, engine => engine.post = post);
        self
    }

    /// The way to the other workers.
    pub(crate) fn post(&mut self) -> Option<&mut Post> {
        engine!(self, engine => engine.post.as_mut())
    }

    /// See [`Engine::take_mail`].
    pub(crate) fn take_mail(&mut self) -> usize {
        engine!(self, engine => engine.take_mail())
    }

    /// See [`Engine::pass_time`].
    pub(crate) fn pass_time(
        &mut self,
        idle: Option<Instant>,
        delay: Duration,
        post: Duration,
        stamped_here: bool,
    ) {
        engine!(self, engine => engine.pass_time(idle, delay, post, stamped_here));
    }

    /// See [`Engine::tick`].
    pub(crate) fn tick(&mut self, now: Moment) {
        engine!(self, engine => engine.tick(now));
    }

    /// See [`Engine::flush`].
    pub(crate) fn flush(&mut self) {
        engine!(self, engine => engine.flush());
    }

    /// See [`Engine::send`].
    pub(crate) fn send(&mut self) {
        engine!(self, engine => engine.send());
    }

    /// See [`Engine::publish`].
    pub(crate) fn publish(&mut self, counters: &Counters) {
        engine!(self, engine => engine.publish(counters));
    }

    /// See [`Engine::finish`].
    pub(crate) fn finish(self, now: Option<Moment>, counters: &Counters) -> Findings {
        engine!(self, engine => engine.finish(now, counters))
    }
}

impl<L: Layer> Engine<L> {
    fn new(
        plan: &AnalysisPlan<'_>,
        mut limits: gannet_flow::Limits,
        layer: L,
        worker: usize,
        lane: Lane,
    ) -> Self {
        limits.hole_patience = limits.hole_patience.saturating_add(plan.skew);
        Self {
            table: FlowTable::new(limits, plan.seed, layer),
            intake: Intake::new(plan.aim.intake(), plan.seed),
            post: None,
            lane,
            ledger: AnalysisLedger::default(),
            worker,
            workers: plan.workers,
            batch: 0,
            interfaces: Known { all: plan.interfaces.clone(), seen: Vec::new() },
            packets: 0,
            newest: Timestamp::default(),
            reached: Timestamp::default(),
            clock: StampClock::new(),
        }
    }

    /// Looks at the first `allowed` packets of a ring block. `name` names its interfaces. Returns what a recording of
    /// the block would, so that either can be accounted for.
    pub(crate) fn block(
        &mut self,
        block: &Block,
        source: u32,
        name: &dyn Fn(i32) -> String,
        snaplen: usize,
        allowed: u64,
    ) -> Recorded {
        let taken = Instant::now();
        let mut newest = Timestamp::default();
        let descriptor = block.descriptor();
        let area = block.area();
        let mut walk = FrameWalk::new(&descriptor);
        let mut ahead = LookAhead::new(&descriptor, area);
        let mut done = Recorded::default();
        let mut run = Run::default();
        while let Some(Ok(header)) = walk.next(area) {
            ahead.step(area);
            let bytes = inplace::recorded_len(&header, snaplen) as u64;
            if done.packets == allowed {
                done.beyond.0 += 1;
                done.beyond.1 += bytes;
                continue;
            }
            done.packets += 1;
            done.bytes += bytes;
            newest = newest.max(header.timestamp);
            let key = InterfaceKey { source, ifindex: header.ifindex };
            let interface = self.interfaces.number(key, || name(header.ifindex));
            self.ring_frame(&mut run, &header, header.bytes(area), interface, bytes);
        }
        self.end_run(&mut run);
        done.unreadable = u64::from(walk.remaining());
        self.ledger.add(Analysed::AfterLimit, done.beyond.0, done.beyond.1);
        self.ledger.add(Analysed::Unreadable, done.unreadable, 0);
        if done.packets != 0 {
            self.reached = self.reached.max(newest);
            self.clock.compare(newest, taken);
        }
        if let Some(post) = &mut self.post {
            post.send_all();
        }
        done
    }

    #[inline]
    fn ring_frame<'a>(
        &mut self,
        run: &mut Run<'a>,
        header: &FrameHeader,
        data: &'a [u8],
        interface: u32,
        bytes: u64,
    ) {
        // Positions of all workers are one sequence without two of the same.
        let position = self.packets * self.workers as u64 + self.worker as u64;
        self.packets += 1;
        self.newest = self.newest.max(header.timestamp);
        match link_type_of_arphrd(header.hardware_type) {
            Some(link_type) => {
                let frame = Frame {
                    data,
                    timestamp: header.timestamp,
                    orig_len: header.orig_len,
                    link_type,
                    interface,
                    packet_type: header.packet_type,
                };
                match header.vlan.filter(|_| link_type == LinkType::ETHERNET) {
                    None => self.frame_of_run(run, &frame, position, bytes),
                    Some(tag) => self.tagged_of_run(run, &frame, tag.tci, position, bytes),
                }
            }
            None => self.ledger.add_end(End::Unknown, bytes),
        }
    }

    /// Looks at one frame. `bytes` is what it counts for in the ledger.
    #[inline]
    fn frame(&mut self, frame: &Frame<'_>, position: u64, bytes: u64) {
        match segment_of(Packet::decode_plain(frame), frame, position) {
            Some((segment, ip_bytes)) => self.segment(&segment, ip_bytes, bytes),
            None => self.less_plain(frame, position, bytes),
        }
    }

    /// Looks at a frame that is no plain segment.
    #[inline(never)]
    fn less_plain(&mut self, frame: &Frame<'_>, position: u64, bytes: u64) {
        match segment_of(Packet::decode_usual(frame), frame, position) {
            Some((segment, ip_bytes)) => self.segment(&segment, ip_bytes, bytes),
            None => self.other(frame, &Surroundings::NONE, position, bytes),
        }
    }

    #[inline(always)]
    fn segment(&mut self, segment: &Segment<'_>, ip_bytes: u32, bytes: u64) {
        self.table.handler().expect(ip_bytes);
        self.table.handler().arrived(segment);
        let outcome = self.table.segment(segment);
        self.ledger.add(Analysed::of_outcome(outcome), 1, bytes);
    }

    /// Looks at a part of a frame. Of a fragment there is only the whole.
    #[cold]
    pub(crate) fn part(&mut self, frame: &Frame<'_>, position: u64, bytes: u64, part: Part) {
        if part == Part::Whole {
            return self.other(frame, &Surroundings::NONE, position, bytes);
        }
        let packet = self.intake.decode(frame);
        self.packet(frame, &packet, position, Account::Packet(bytes), part);
    }

    /// Looks at one frame of several whose bytes stay where they are: at once, or, where the table is larger than the
    /// caches, together with others ([`FlowTable::segments`]). [`end_run`](Self::end_run) must follow, and before
    /// anything else.
    #[inline]
    pub(crate) fn frame_of_run<'a>(
        &mut self,
        run: &mut Run<'a>,
        frame: &Frame<'a>,
        position: u64,
        bytes: u64,
    ) {
        // What is gathered changes nothing, so that a table is not small before the run has ended.
        if self.table.is_large() {
            self.gather(run, frame, position, bytes);
        } else {
            self.frame(frame, position, bytes);
        }
    }

    #[inline(never)]
    fn gather<'a>(&mut self, run: &mut Run<'a>, frame: &Frame<'a>, position: u64, bytes: u64) {
        match segment_of(Packet::decode_usual(frame), frame, position) {
            Some((segment, ip_bytes)) => self.gather_segment(run, segment, ip_bytes, bytes),
            None => {
                self.end_run(run);
                self.other(frame, &Surroundings::NONE, position, bytes);
            }
        }
    }

    /// The same for a frame whose outermost VLAN tag the kernel has taken off.
    #[inline(never)]
    fn tagged_of_run<'a>(
        &mut self,
        run: &mut Run<'a>,
        frame: &Frame<'a>,
        tci: u16,
        position: u64,
        bytes: u64,
    ) {
        let packet = Packet::decode_usual(frame).map(|packet| packet.behind_tag(tci));
        match segment_of(packet, frame, position) {
            Some((segment, ip_bytes)) => self.segment_of_run(run, segment, ip_bytes, bytes),
            None => {
                self.end_run(run);
                self.other(frame, &Surroundings::of_tag(tci), position, bytes);
            }
        }
    }

    /// Looks at a segment as [`frame_of_run`](Self::frame_of_run) does at its frame.
    #[inline]
    pub(crate) fn segment_of_run<'a>(
        &mut self,
        run: &mut Run<'a>,
        segment: Segment<'a>,
        ip_bytes: u32,
        bytes: u64,
    ) {
        if self.table.is_large() {
            self.gather_segment(run, segment, ip_bytes, bytes);
        } else {
            self.segment(&segment, ip_bytes, bytes);
        }
    }

    fn gather_segment<'a>(&mut self, run: &mut Run<'a>, segment: Segment<'a>, ip_bytes: u32, bytes: u64) {
        run.segments.push(segment);
        run.lengths.push((ip_bytes, bytes));
        if run.segments.len() >= RUN {
            self.end_run(run);
        }
    }

    /// Takes what has been gathered.
    #[inline]
    pub(crate) fn end_run(&mut self, run: &mut Run<'_>) {
        if !run.segments.is_empty() {
            self.take_run(run);
        }
    }

    #[inline(never)]
    fn take_run(&mut self, run: &mut Run<'_>) {
        let Run { segments, lengths } = run;
        let length = |at: usize| lengths.get(at).copied().unwrap_or_default();
        self.table.segments_with(
            segments,
            |layer, at| {
                layer.expect(length(at).0);
                if let Some(segment) = segments.get(at) {
                    layer.arrived(segment);
                }
            },
            |at, outcome| self.ledger.add(Analysed::of_outcome(outcome), 1, length(at).1),
        );
        segments.clear();
        lengths.clear();
    }

    /// Looks at a datagram that was put together elsewhere, in these surroundings.
    pub(crate) fn datagram(&mut self, frame: &Frame<'_>, around: &Surroundings, position: u64, part: Part) {
        let packet = self.intake.decode_inside(frame, around);
        self.packet(frame, &packet, position, Account::Datagram(frame.data.len() as u64), part);
    }

    /// Looks at a frame that there is no short way for, in these surroundings.
    #[inline(never)]
    fn other(&mut self, frame: &Frame<'_>, around: &Surroundings, position: u64, bytes: u64) {
        let packet = self.intake.decode_inside(frame, around);
        if packet.end != End::Fragment {
            return self.packet(frame, &packet, position, Account::Packet(bytes), Part::Whole);
        }
        let whole = self.intake.fragment(frame, packet, position, bytes, &mut self.ledger);
        if let Some((datagram, packet)) = whole {
            let frame = datagram.frame();
            let account = Account::Datagram(frame.data.len() as u64);
            self.packet(&frame, &packet, position, account, Part::Whole);
            self.intake.recycle(datagram);
        }
    }

    /// Takes a packet that is no fragment, or gives it to the worker of its flow.
    fn packet(&mut self, frame: &Frame<'_>, packet: &Packet, position: u64, account: Account, part: Part) {
        let found = match part {
            Part::Conversation => Found::Nothing,
            Part::Whole | Part::Error => Found::in_packet(frame, packet, position),
        };
        let bare = packet.tunnel.is_none();
        if part == Part::Error {
            return self.give_or_take(&found, bare, found.key(), packet.end, Account::Told);
        }
        if let Some(kind) = packet.unopened {
            self.ledger.add_unopened(kind);
        }
        // What the kernel sees whole and bare it gives to the worker of its flow.
        let arrived = bare && matches!(account, Account::Packet(_));
        let of_a_segment = matches!(found, Found::Segment(..));
        if !of_a_segment && let Some(heard) = L::heard(frame, packet, position) {
            if let Found::Error { quoted, .. } = &found {
                self.give_or_take(&found, bare, Some(&quoted.key), packet.end, Account::Told);
            }
            let key = packet.flow.as_ref().map(|(key, _)| key).filter(|_| !arrived);
            return self.give_or_take(&Found::Heard(heard), bare, key, packet.end, account);
        }
        let key = found.key().filter(|_| !(arrived && of_a_segment));
        self.give_or_take(&found, bare, key, packet.end, account);
    }

    /// Gives something to the worker of this flow, or takes it if that is this one or there is no such flow.
    fn give_or_take(
        &mut self,
        found: &Found<'_>,
        bare: bool,
        key: Option<&FlowKey>,
        end: End,
        account: Account,
    ) {
        if let (Some(post), Some(key)) = (&mut self.post, key)
            && let Some(owner) = post.other_owner(key, bare)
        {
            if post.give(owner, found, end, account) {
                self.ledger.handed_over += 1;
            } else {
                self.ledger.add_to(Analysed::MailboxFull, account);
            }
            return;
        }
        self.found(found, end, account);
    }

    /// Takes what is of a flow of this worker, or of none.
    fn found(&mut self, found: &Found<'_>, end: End, account: Account) {
        match found {
            Found::Segment(segment, ip_bytes) => {
                self.table.handler().expect(*ip_bytes);
                self.table.handler().arrived(segment);
                let outcome = self.table.segment(segment);
                self.ledger.add_to(Analysed::of_outcome(outcome), account);
            }
            Found::Error { error, quoted, now } => {
                self.table.icmp_error(*error, quoted, *now);
                self.ledger.add_end_to(end, account);
            }
            Found::Heard(heard) => {
                self.table.handler().hear(heard);
                self.ledger.add_to(Analysed::Conversation, account);
            }
            Found::Nothing => self.ledger.add_end_to(end, account),
        }
    }

    /// Takes what other workers found. Returns how much that was.
    pub(crate) fn take_mail(&mut self) -> usize {
        let Some(mut post) = self.post.take() else { return 0 };
        let mut count = 0;
        post.take(self.reached, |found, end, account| {
            count += 1;
            self.ledger.taken_over += 1;
            if !matches!(found, Found::Error { .. }) {
                self.newest = self.newest.max(found.time());
            }
            self.found(&found, end, account);
        });
        self.post = Some(post);
        count
    }

    /// Lets time pass, live: to the newest packet, or, if the rings were empty at `idle`, to what must have been
    /// taken out of them by then. `delay` is how long a packet may be under way from its stamp until its ring has it
    /// ready, `post` how much longer if another worker found it. `stamped_here` says that the stamps are this
    /// machine's time.
    pub(crate) fn pass_time(
        &mut self,
        idle: Option<Instant>,
        delay: Duration,
        post: Duration,
        stamped_here: bool,
    ) {
        if stamped_here && idle.is_some() {
            self.clock.compare_to_machine();
        }
        // Most runs never find anything for another worker.
        let delay = if self.ledger.taken_over == 0 { delay } else { delay + post };
        let delay = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        let now = idle.and_then(|idle| self.clock.at(idle)).unwrap_or_default();
        let time = self.newest.max(Timestamp(now.0.saturating_sub(delay)));
        let position = self.packets * self.workers as u64 + self.worker as u64;
        self.tick(Moment { time, position });
    }

    /// Lets time pass until `now`.
    pub(crate) fn tick(&mut self, now: Moment) {
        self.intake.tick(now);
        self.table.tick(now);
        self.table.handler().tick(now);
    }

    /// Hands on the events that wait.
    pub(crate) fn flush(&mut self) {
        if !self.table.handler().events().is_empty() {
            self.send();
        }
    }

    /// Hands on a batch, also an empty one: the end of an input batch, where records are put in order.
    pub(crate) fn send(&mut self) {
        let events = std::mem::take(self.table.handler().events());
        let room = self.lane.send(Batch { worker: self.worker, number: self.batch, events });
        *self.table.handler().events() = room;
        self.batch += 1;
    }

    /// Shows the sums so far.
    pub(crate) fn publish(&mut self, counters: &Counters) {
        self.intake.publish(&mut self.ledger);
        self.ledger.flows = *self.table.counters();
        self.ledger.open_flows = self.table.open_flows() as u64;
        self.table.handler().show(&mut self.ledger);
        counters.publish(&self.ledger);
    }

    /// Ends all flows, hands on the last events and returns what is left. `now`: the end of the input; `None` ends
    /// where this worker is.
    pub(crate) fn finish(mut self, now: Option<Moment>, counters: &Counters) -> Findings {
        let here =
            Moment { time: self.newest, position: self.packets * self.workers as u64 + self.worker as u64 };
        let now = now.unwrap_or(here);
        self.intake.finish();
        self.table.finish(now);
        self.table.handler().finish(now);
        self.send();
        self.publish(counters);
        self.table.handler().findings()
    }
}

/// The segment in a decoded frame, and how long its IP packet is.
#[inline(always)]
fn segment_of<'a>(packet: Option<Packet>, frame: &Frame<'a>, position: u64) -> Option<(Segment<'a>, u32)> {
    let packet = packet?;
    Some((Segment::new(frame, &packet, position)?, ip_bytes(&packet)))
}

#[cfg(test)]
mod tests {
    use gannet_packet::PacketType;
    use gannet_ring::fanout::FanoutMode;
    use gannet_sink::{Hub, HubConfig, Order, WhenFull, Writing};
    use gannet_testkit::conversation::{
        Carriage, Dialogue, Identifications, Manner, Packet as Sent, Peer, Setup, Wrap,
    };

    use super::*;
    use crate::ledger::Ledger;
    use crate::mailbox::PostOffice;

    const WORKERS: usize = 2;

    /// One packet of each of 40 connections, in a tunnel that no fanout program looks into.
    fn frames() -> Vec<Vec<u8>> {
        let wraps = vec![Wrap::Geneve { ipv6: false, vni: 9, option_words: 0, ethernet: true }];
        let carriage = Carriage { wraps, cuts: vec![] };
        let frame = |port: u16| {
            let mut setup = Setup::default();
            setup.route.client.set_port(port);
            let mut dialogue = Dialogue::new(setup, Manner::default());
            dialogue.open().say(Peer::Client, 300);
            let conversation = dialogue.finish();
            let with_payload = |packet: &&Sent| !packet.range.is_empty();
            let packet = conversation.packets().iter().find(with_payload).unwrap();
            carriage.frames(packet, &mut Identifications::default()).remove(0)
        };
        (40_000..40_040).map(frame).collect()
    }

    /// A worker that does not come to its mail: what is found for it is shed once the mailbox is full, every packet
    /// is in an account all the same, and what found room arrives.
    #[test]
    fn what_finds_no_room_in_a_mailbox_has_an_account() {
        let config = StatsConfig {
            intake: IntakeConfig::default(),
            flows: gannet_flow::Limits::default(),
            sinks: Vec::new(),
            flush_each: false,
        };
        let interfaces = Interfaces::default();
        let options = gannet_record::RecordOptions {
            interfaces: interfaces.clone(),
            ..gannet_record::RecordOptions::default()
        };
        let hub = Hub::open(HubConfig {
            sinks: Vec::new(),
            options,
            httpry: gannet_sink::HttpryOptions::default(),
            workers: WORKERS,
            order: Order::Arrival,
            when_full: WhenFull::Shed,
            flush_each: false,
            writing: Writing::ByThreads,
        });
        let hub = hub.unwrap();
        let plan = AnalysisPlan {
            aim: Aim::Flows(&config),
            seed: 1,
            workers: WORKERS,
            interfaces,
            skew: Duration::ZERO,
            live: false,
        };
        let office = PostOffice::new(WORKERS).unwrap();
        let [mut busy, mut finder] = [0, 1].map(|worker| {
            let post = Post::new(&office, worker, FanoutMode::Flow, Duration::ZERO);
            Analysis::new(&plan, worker, hub.lane()).with_post(Some(post))
        });
        let counters = [Counters::new(), Counters::new()];
        let frames = frames();
        let give = |finder: &mut Analysis, number: u64| {
            let data = &frames[number as usize % frames.len()];
            let frame = Frame {
                data,
                timestamp: Timestamp(number * 1_000),
                orig_len: data.len() as u32,
                link_type: LinkType::ETHERNET,
                interface: 0,
                packet_type: PacketType::Host,
            };
            let mut run = Run::default();
            finder.frame_of_run(&mut run, &frame, number, data.len() as u64);
            finder.end_run(&mut run);
            counters[1].processed(1, data.len() as u64);
        };
        for number in 0..TOTAL {
            give(&mut finder, number);
        }
        finder.post().unwrap().send_all();
        let arrived = busy.take_mail() as u64;
        assert_ne!(arrived, 0);
        // There is room again.
        for number in 0..40 {
            give(&mut finder, TOTAL + number);
        }
        finder.post().unwrap().send_all();
        let after = busy.take_mail() as u64;
        assert!((1..40).contains(&after), "{after}");
        for (analysis, counters) in [busy, finder].into_iter().zip(&counters) {
            analysis.finish(None, counters);
        }
        let mut ledger = Ledger::files(TOTAL + 40, 0, &counters);
        ledger.recording = false;
        assert_eq!(ledger.check(), []);
        let analysis = ledger.total.analysis.as_ref().unwrap();
        let shed = analysis.account(Analysed::MailboxFull).packets;
        // Every 40th packet is of the same connection, and so many of those are the busy worker's.
        assert_eq!(arrived + shed, after * TOTAL / 40);
        assert!(shed > 0 && analysis.taken_over == arrived + after, "{analysis:?}");
        assert_eq!(ledger.lost(), shed, "it is a loss, which `--strict` tells");
    }

    /// More than any mailbox holds.
    const TOTAL: u64 = 100_000;
}
