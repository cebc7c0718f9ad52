//! The handler that turns the bytes of flows into exchanges.

use gannet_flow::{
    CloseReason, Data, Flow, Gap, GapReason, Had, Handler, Moment, Peer, Retransmission, StreamEnd,
};

use crate::detect::Verdict;
use crate::held::{Held, Piece};
use crate::keep::Budget;
use crate::pairing::{Ahead, Context, Http1, Next, Spare};
use crate::pending::Unanswered;
use crate::prelude::Prelude;
use crate::tunnel::TunnelState;
use crate::{Counters, Exchange, HeadEvent, MessageEvent, PendingRequest, ServerNames};

/// What the analysis may hold, and where it looks.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Longest head kept, in bytes; a longer one is framed to its end, what is beyond is not kept.
    pub max_head_bytes: usize,
    /// Most header fields kept of a head.
    pub max_fields: usize,
    /// Most requests without an answer on one connection; beyond it the oldest is reported as an orphan.
    pub max_pending: usize,
    /// Look only at flows with one of these ports; `None` looks at all.
    pub ports: Option<PortSet>,
    /// Bytes of each body that are kept with its message; 0 keeps none and costs nothing.
    pub body: usize,
    /// Most bytes of bodies kept at a time of messages whose exchange is not over. Beyond it bodies are cut, and
    /// counted.
    pub body_memory: usize,
    /// Requests that have been without an answer for so long are reported to [`Sink::pending`]; `None` watches nothing.
    pub pending_after_ns: Option<u64>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            // Servers take 8 to 64 KiB (nginx 32, Apache 100 fields of 8, Node 16): what one of them accepts is whole.
            max_head_bytes: 64 << 10,
            // Apache refuses more than 100, IIS and Go have no number. Each costs 16 bytes in the exchange.
            max_fields: 256,
            // Browsers pipeline 6 and load generators 16 to 64; a connection of which only requests are captured
            // holds this many heads, usually some 500 bytes each.
            max_pending: 1_000,
            ports: None,
            body: 0,
            // A thousand bodies of 256 KiB at a time on one worker.
            body_memory: 256 << 20,
            pending_after_ns: None,
        }
    }
}

/// A set of ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortSet(Vec<std::ops::RangeInclusive<u16>>);

impl PortSet {
    /// The ports in any of `ranges`.
    pub fn new(ranges: Vec<std::ops::RangeInclusive<u16>>) -> Self {
        Self(ranges)
    }

    /// Whether `port` is in it.
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.contains(&port))
    }
}

/// Takes what the analysis yields.
pub trait Sink {
    /// An exchange is complete, or will not get further.
    fn exchange(&mut self, exchange: Exchange);

    /// A head has been read. Its exchange follows later.
    fn head(&mut self, event: HeadEvent<'_>) {
        let _ = event;
    }

    /// A request or a final response is over. Its exchange follows later.
    fn message(&mut self, event: MessageEvent<'_>) {
        let _ = event;
    }

    /// A request has been without an answer for [`HttpConfig::pending_after_ns`]. Its exchange follows later.
    fn pending(&mut self, request: PendingRequest) {
        let _ = request;
    }
}

/// The HTTP analysis of one worker.
pub struct Http<S: Sink> {
    config: HttpConfig,
    counters: Counters,
    budget: Budget,
    unanswered: Option<Unanswered>,
    spare: Spare,
    /// What the stages of all flows take beside themselves.
    memory: usize,
    server_names: ServerNames,
    sink: S,
}

/// What the analysis keeps for each flow.
pub struct ConnectionState(Stage);

enum Stage {
    /// No byte of interest has been seen yet; what has been seen and which directions have ended.
    Undecided { held: Option<Box<Held>>, ended: [bool; 2] },
    /// Nothing to be had here.
    Ignored,
    /// The same, but for the server's name.
    Tls,
    /// An HTTP/1 connection.
    Http1(Box<Http1>),
    /// What was one.
    Tunnel(Box<Inside>),
}

/// A connection that has become a tunnel.
struct Inside {
    tunnel: TunnelState,
    /// The beginning of what may be a request, in a tunnel of which it is not known what it is.
    held: Option<Box<Held>>,
    /// HTTP/1 in it: the same connection in the same roles.
    stage: Option<Box<Stage>>,
    /// The number of its first exchange.
    next_index: u32,
    /// How many tunnels are around it.
    depth: u8,
}

impl<S: Sink> Http<S> {
    /// An analysis that yields into `sink`.
    pub fn new(config: HttpConfig, sink: S) -> Self {
        let budget = Budget { free: config.body_memory, refused: 0 };
        let unanswered = config.pending_after_ns.map(Unanswered::new);
        let (counters, server_names) = (Counters::default(), ServerNames::default());
        let spare = Spare::default();
        Self { config, counters, budget, unanswered, spare, memory: 0, server_names, sink }
    }

    /// The sums so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whom the TLS connections that are over were for.
    pub fn server_names(&self) -> &ServerNames {
        &self.server_names
    }

    /// Where exchanges go.
    pub fn sink(&mut self) -> &mut S {
        &mut self.sink
    }

    /// Reports requests that have had no answer for too long at `now`. To be called now and then, so that they are
    /// reported before their answer comes.
    pub fn report_pending(&mut self, now: Moment) {
        let Some(unanswered) = &mut self.unanswered else { return };
        while let Some(request) = unanswered.take_overdue(now) {
            self.counters.pending_reported += 1;
            self.sink.pending(request);
        }
    }

    /// For tests: bytes of bodies that are kept at the moment.
    #[doc(hidden)]
    pub fn kept_bytes(&self) -> usize {
        self.config.body_memory - self.budget.free
    }

    fn context<'a>(&'a mut self, flow: &'a Flow) -> Context<'a, S> {
        Context {
            config: &self.config,
            counters: &mut self.counters,
            budget: &mut self.budget,
            unanswered: &mut self.unanswered,
            spare: &mut self.spare,
            sink: &mut self.sink,
            flow,
        }
    }

    /// Does something to a flow's stage that may change what it takes, which is counted.
    #[inline]
    fn keeping_count(&mut self, state: &mut ConnectionState, what: impl FnOnce(&mut Self, &mut Stage)) {
        let before = state.0.memory();
        what(self, &mut state.0);
        // What it took is in the sum.
        self.memory = self.memory - before + state.0.memory();
    }

    /// Takes bytes that do not lie within a body.
    ///
    /// A function of its own, so that those that do are not burdened with its stack frame.
    #[inline(never)]
    fn look_at(&mut self, state: &mut ConnectionState, flow: &Flow, data: &Data<'_>) {
        self.keeping_count(state, |http, stage| match stage {
            Stage::Undecided { .. } => http.decide(stage, flow, data),
            _ => http.deliver(stage, flow, data),
        });
    }

    /// Takes bytes of a flow that is not known yet.
    fn decide(&mut self, stage: &mut Stage, flow: &Flow, data: &Data<'_>) {
        let Stage::Undecided { held, .. } = stage else { return };
        let known = flow.begins_with_syn(data.from) && !flow.midstream;
        let verdict = match held {
            None if known => crate::detect::classify(data.bytes, false),
            _ => {
                let held = held.get_or_insert_with(|| Box::new(Held::new(flow.midstream)));
                held.unknown_before |= !known;
                held.classify(data)
            }
        };
        let is_greeted = held.as_ref().is_some_and(|held| held.greeted);
        let client = match verdict {
            Verdict::Request | Verdict::Http2 | Verdict::Tls | Verdict::Other
                if is_greeted && data.from == Peer::Responder =>
            {
                return self.begin_tls(stage);
            }
            Verdict::Request => data.from,
            Verdict::Response => data.from.opposite(),
            Verdict::Unsure => {
                held.get_or_insert_with(|| Box::new(Held::new(flow.midstream))).push(data);
                return;
            }
            Verdict::Http2 => return ignore(stage, &mut self.counters.http2),
            Verdict::Tls => {
                let mut waits = || held.get_or_insert_with(|| Box::new(Held::new(false))).greet(data);
                if flow.midstream || !waits() {
                    self.begin_tls(stage);
                }
                return;
            }
            Verdict::Other => {
                let held = held.get_or_insert_with(|| Box::new(Held::new(flow.midstream)));
                match held.prelude(data) {
                    Prelude::Whole(len) if len < data.bytes.len() => {
                        let (offset, bytes) = (data.offset + len as u64, &data.bytes[len..]);
                        self.decide(stage, flow, &Data { offset, bytes, ..*data });
                    }
                    Prelude::Whole(_) => {}
                    Prelude::Unsure => held.push(data),
                    Prelude::No if held.pass(data) => {}
                    Prelude::No if is_greeted => self.begin_tls(stage),
                    Prelude::No => ignore(stage, unrecognised(&mut self.counters, flow)),
                }
                return;
            }
        };
        self.begin_http1(stage, flow, client, data);
    }

    /// A flow has turned out to be HTTP/1: takes what is held of it, and `data`.
    fn begin_http1(&mut self, stage: &mut Stage, flow: &Flow, client: Peer, data: &Data<'_>) {
        let Stage::Undecided { held, ended } = stage else { return };
        let ended = *ended;
        self.counters.http1 += 1;
        self.counters.midstream += u64::from(flow.midstream);
        let Some(held) = held.take() else {
            let mut http1 = Box::new(Http1::new(flow, client, [false; 2], false));
            for from in [Peer::Originator, Peer::Responder] {
                http1.start_at(from, 0, ended[from as usize]);
            }
            *stage = Stage::Http1(http1);
            return self.deliver(stage, flow, data);
        };
        self.counters.bytes += held.skipped;
        self.counters.skipped_bytes += held.skipped;
        let mut search = held.strange.map(|strange| strange || held.search());
        search[data.from as usize] = held.within;
        let mut http1 = Box::new(Http1::new(flow, client, search, held.lost));
        http1.bad_request = held.strange[client as usize] && !held.search();
        for from in [Peer::Originator, Peer::Responder] {
            http1.start_at(from, held.next[from as usize], ended[from as usize]);
        }
        if held.lost && !flow.midstream {
            http1.begin_behind_holes();
        }
        held.unseen().for_each(|(from, had)| http1.unseen_acknowledged(from, had));
        *stage = Stage::Http1(http1);
        held.replay(|piece| match piece {
            Piece::Data(data) => self.deliver(stage, flow, &data),
            Piece::Again(again) => {
                if let Stage::Http1(http1) = stage {
                    http1.retransmission(&again);
                }
            }
        });
        self.deliver(stage, flow, data);
    }

    fn begin_tls(&mut self, stage: &mut Stage) {
        self.counters.tls += 1;
        *stage = Stage::Tls;
    }

    /// Takes bytes of a flow that is known.
    fn deliver(&mut self, stage: &mut Stage, flow: &Flow, data: &Data<'_>) {
        let len = data.bytes.len() as u64;
        match stage {
            Stage::Http1(http1) => {
                self.counters.bytes += len;
                let (next, left) = http1.data(&mut self.context(flow), data);
                if next != Next::Http1 {
                    self.go_on(stage, flow, next, data.now);
                    self.deliver_rest(stage, flow, data, left);
                }
            }
            Stage::Tunnel(inside) => self.deliver_inside(inside, flow, data),
            Stage::Undecided { .. } | Stage::Ignored | Stage::Tls => {}
        }
    }

    /// Takes the last bytes of what was delivered to another stage.
    #[cold]
    fn deliver_rest(&mut self, stage: &mut Stage, flow: &Flow, data: &Data<'_>, left: usize) {
        if left == 0 {
            return;
        }
        self.counters.bytes -= left as u64;
        let at = data.bytes.len() - left;
        let (offset, bytes) = (data.offset + at as u64, &data.bytes[at..]);
        self.deliver(stage, flow, &Data { offset, bytes, ..*data });
    }

    /// Takes bytes in a tunnel.
    #[cold]
    fn deliver_inside(&mut self, inside: &mut Inside, flow: &Flow, data: &Data<'_>) {
        let len = data.bytes.len() as u64;
        if let Some(stage) = &mut inside.stage {
            inside.tunnel.count(data.from, len);
            return self.deliver(stage, flow, data);
        }
        let looks =
            inside.tunnel.is_unknown() && inside.depth < DEPTH_MAX && data.from == inside.tunnel.client();
        let server = inside.tunnel.client().opposite();
        let position = inside.tunnel.position(server);
        inside.tunnel.data(data.from, data.bytes);
        self.counters.bytes += len;
        self.counters.tunnel_bytes += len;
        self.counters.tunnel_bytes_delivered += len;
        if !looks {
            return;
        }
        let mut held = inside.held.take().unwrap_or_else(|| Box::new(Held::new(false)));
        match held.classify(data) {
            Verdict::Request => {}
            Verdict::Unsure => {
                held.push(data);
                inside.held = Some(held);
                return;
            }
            _ => return,
        }
        let mut http1 = Box::new(Http1::new(flow, data.from, [false; 2], false));
        http1.go_inside(inside.next_index, inside.depth + 1);
        let bytes = held.held_bytes(data.from);
        http1.start_at(data.from, data.offset - bytes, false);
        http1.start_at(server, position, false);
        // They are of messages now.
        for counter in [
            &mut self.counters.bytes,
            &mut self.counters.tunnel_bytes,
            &mut self.counters.tunnel_bytes_delivered,
        ] {
            *counter -= bytes + len;
        }
        let mut stage = Box::new(Stage::Http1(http1));
        held.replay(|piece| {
            if let Piece::Data(data) = piece {
                self.deliver(&mut stage, flow, &data);
            }
        });
        self.deliver(&mut stage, flow, data);
        inside.stage = Some(stage);
    }

    /// Leaves HTTP/1 if another protocol has begun.
    fn go_on(&mut self, stage: &mut Stage, flow: &Flow, next: Next, now: Moment) {
        if next == Next::Http1 {
            return;
        }
        let Stage::Http1(http1) = stage else { return };
        let mut tunnel = http1.tunnel(now);
        let depth = http1.depth();
        if !tunnel.is_http2() {
            self.counters.tunnels += 1;
        } else if depth == 0 {
            self.counters.http1 -= 1;
            self.counters.http2 += 1;
        }
        self.counters.one_sided += u64::from(depth == 0 && is_one_sided(flow));
        let ahead = http1.take_ahead();
        // Requests behind the one that was answered have no answer in this protocol.
        if let Some(exchange) = http1.close(&mut self.context(flow), CloseReason::Finished, now) {
            tunnel.set_exchange(exchange);
        }
        let next_index = http1.next_index();
        let mut inside = Box::new(Inside { tunnel, held: None, stage: None, next_index, depth });
        if let Some(ahead) = ahead {
            self.go_ahead(&mut inside, flow, &ahead);
        }
        *stage = Stage::Tunnel(inside);
    }

    /// Gives a tunnel what its client has sent before it began.
    #[cold]
    fn go_ahead(&mut self, inside: &mut Inside, flow: &Flow, ahead: &Ahead) {
        ahead.replay(|data| self.deliver_inside(inside, flow, &data));
        if ahead.beyond == 0 {
            return;
        }
        let client = inside.tunnel.client();
        for counter in [
            &mut self.counters.bytes,
            &mut self.counters.tunnel_bytes,
            &mut self.counters.tunnel_bytes_delivered,
        ] {
            *counter += ahead.beyond;
        }
        inside.tunnel.pass(client, ahead.beyond);
        inside.held = None;
        if let Some(stage) = &mut inside.stage {
            let (offset, len) = (ahead.beyond_at, ahead.beyond);
            self.gap_in(
                stage,
                flow,
                &Gap { from: client, offset, len, reason: GapReason::Lost, now: ahead.now },
            );
        }
    }

    /// Takes the end of what a flow was.
    fn close_stage(&mut self, stage: Stage, flow: &Flow, reason: CloseReason, now: Moment) {
        match stage {
            Stage::Undecided { held: None, .. } => self.counters.empty += 1,
            Stage::Undecided { held: Some(held), .. } if held.greeted => {
                self.counters.tls += 1;
                self.close_stage(Stage::Tls, flow, reason, now);
            }
            Stage::Undecided { held: Some(held), .. } if held.cut => self.counters.cut += 1,
            Stage::Undecided { .. } => *unrecognised(&mut self.counters, flow) += 1,
            Stage::Http1(mut http1) => {
                self.counters.one_sided += u64::from(http1.depth() == 0 && is_one_sided(flow));
                let switched = http1.close(&mut self.context(flow), reason, now);
                if let Some(exchange) = switched {
                    // It turned out with the end.
                    let mut tunnel = http1.tunnel(now);
                    if let Some(ahead) = http1.take_ahead() {
                        tunnel.pass(tunnel.client(), ahead.bytes());
                        for counter in [
                            &mut self.counters.bytes,
                            &mut self.counters.tunnel_bytes,
                            &mut self.counters.tunnel_bytes_delivered,
                        ] {
                            *counter += ahead.bytes();
                        }
                    }
                    tunnel.set_exchange(exchange);
                    self.counters.tunnels += 1;
                    let (exchange, _) = tunnel.close(flow, reason, now);
                    exchange.into_iter().for_each(|exchange| self.sink.exchange(exchange));
                }
            }
            Stage::Tunnel(inside) => {
                let Inside { tunnel, stage, .. } = *inside;
                let innermost = stage.is_none();
                if let Some(stage) = stage {
                    self.close_stage(*stage, flow, reason, now);
                }
                let (exchange, further) = tunnel.close(flow, reason, now);
                self.counters.tunnel_bytes += if innermost { further } else { 0 };
                if let Some(exchange) = exchange {
                    self.sink.exchange(exchange);
                }
            }
            Stage::Tls => {
                let name = flow.tls().and_then(|hello| hello.server_name.as_deref());
                self.server_names.add(name.filter(|name| !name.is_empty()));
            }
            Stage::Ignored => {}
        }
    }

    fn gap_in(&mut self, stage: &mut Stage, flow: &Flow, gap: &Gap) {
        match stage {
            Stage::Http1(http1) => {
                let next = http1.gap(&mut self.context(flow), gap);
                self.go_on(stage, flow, next, gap.now);
            }
            Stage::Undecided { held: Some(held), .. } if held.greeted => self.begin_tls(stage),
            Stage::Undecided { held, .. } => {
                held.get_or_insert_with(|| Box::new(Held::new(flow.midstream))).gap(gap);
            }
            Stage::Tunnel(inside) => {
                inside.tunnel.gap(gap);
                inside.held = None;
                if let Some(stage) = &mut inside.stage {
                    self.gap_in(stage, flow, gap);
                }
            }
            Stage::Ignored | Stage::Tls => {}
        }
    }

    fn end_in(&mut self, stage: &mut Stage, flow: &Flow, end: &StreamEnd) {
        match stage {
            Stage::Http1(http1) => {
                let next = http1.end(&mut self.context(flow), end);
                self.go_on(stage, flow, next, end.now);
            }
            Stage::Undecided { ended, .. } => ended[end.from as usize] = true,
            Stage::Tunnel(inside) => {
                if let Some(stage) = &mut inside.stage {
                    self.end_in(stage, flow, end);
                }
            }
            Stage::Ignored | Stage::Tls => {}
        }
    }
}

impl Inside {
    fn memory(&self) -> usize {
        let held = self.held.as_ref().map_or(0, |held| held.memory());
        let stage = self.stage.as_ref().map_or(0, |stage| size_of::<Stage>() + stage.memory());
        size_of::<Self>() + self.tunnel.memory() + held + stage
    }
}

/// Whether the capture saw no packet of one direction: asymmetric routing, or a filter.
fn is_one_sided(flow: &Flow) -> bool {
    Peer::BOTH.iter().any(|&sender| flow.stream(sender).packets == 0)
}

impl<S: Sink> Handler for Http<S> {
    type State = ConnectionState;

    fn open(&mut self, flow: &Flow) -> Self::State {
        self.counters.flows += 1;
        let ports = [flow.key.low().port, flow.key.high().port];
        if self.config.ports.as_ref().is_some_and(|set| !ports.iter().any(|&port| set.contains(port))) {
            self.counters.excluded += 1;
            return ConnectionState(Stage::Ignored);
        }
        ConnectionState(Stage::Undecided { held: None, ended: [false; 2] })
    }

    #[inline]
    fn data(&mut self, state: &mut Self::State, flow: &Flow, data: Data<'_>) {
        if let Stage::Http1(http1) = &mut state.0
            && http1.skip(&data)
        {
            self.counters.bytes += data.bytes.len() as u64;
            return;
        }
        self.look_at(state, flow, &data);
    }

    fn unseen_acknowledged(&mut self, state: &mut Self::State, flow: &Flow, from: Peer, had: Had) {
        self.keeping_count(state, |_, stage| match stage {
            Stage::Http1(http1) => http1.unseen_acknowledged(from, had),
            Stage::Undecided { held, .. } => {
                held.get_or_insert_with(|| Box::new(Held::new(flow.midstream)))
                    .unseen_acknowledged(from, had);
            }
            _ => {}
        });
    }

    fn gap(&mut self, state: &mut Self::State, flow: &Flow, gap: Gap) {
        self.keeping_count(state, |http, stage| http.gap_in(stage, flow, &gap));
    }

    fn retransmission(&mut self, state: &mut Self::State, flow: &Flow, again: Retransmission) {
        let _ = flow;
        self.keeping_count(state, |_, mut stage| {
            loop {
                match stage {
                    Stage::Http1(http1) => return http1.retransmission(&again),
                    Stage::Undecided { held: Some(held), .. } => return held.again(again),
                    Stage::Tunnel(inside) => match &mut inside.stage {
                        Some(further) => stage = further,
                        None => return,
                    },
                    _ => return,
                }
            }
        });
    }

    fn end(&mut self, state: &mut Self::State, flow: &Flow, end: StreamEnd) {
        self.keeping_count(state, |http, stage| http.end_in(stage, flow, &end));
    }

    fn close(&mut self, state: Self::State, flow: &Flow, reason: CloseReason, now: Moment) {
        self.memory -= state.0.memory();
        self.close_stage(state.0, flow, reason, now);
    }

    #[inline]
    fn memory(&self) -> usize {
        self.memory
    }

    #[inline]
    fn wants_more(&self, state: &Self::State) -> bool {
        // Most bytes are of such a connection.
        matches!(state.0, Stage::Http1(_)) || state.0.wants_more()
    }
}

impl Stage {
    /// Bytes that it takes beside itself, without those of bodies, which count against their own budget.
    #[inline]
    fn memory(&self) -> usize {
        match self {
            Stage::Http1(http1) => http1.memory(),
            Stage::Undecided { held: None, .. } | Stage::Ignored | Stage::Tls => 0,
            Stage::Undecided { held: Some(held), .. } => held.memory(),
            Stage::Tunnel(inside) => inside.memory(),
        }
    }

    fn wants_more(&self) -> bool {
        match self {
            Stage::Ignored | Stage::Tls => false,
            Stage::Tunnel(inside) => match &inside.stage {
                Some(stage) => stage.wants_more(),
                None => inside.tunnel.wants_more(),
            },
            _ => true,
        }
    }
}

/// Where a flow counts of which nothing could be recognised.
fn unrecognised<'c>(counters: &'c mut Counters, flow: &Flow) -> &'c mut u64 {
    if flow.midstream { &mut counters.midstream_unknown } else { &mut counters.other }
}

fn ignore(stage: &mut Stage, counter: &mut u64) {
    *counter += 1;
    *stage = Stage::Ignored;
}

/// How many tunnels in one another are looked into: a proxy behind a proxy is not unheard of, more is somebody's joke.
const DEPTH_MAX: u8 = 2;
