//! The handler that turns the bytes of flows into exchanges.

use gannet_flow::{CloseReason, Data, Flow, Gap, Handler, Moment, Peer, Retransmission, StreamEnd};

use crate::detect::Verdict;
use crate::held::{Held, Piece};
use crate::pairing::{Context, Http1, Next};
use crate::{Counters, Exchange, HeadEvent};

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
}

/// The HTTP analysis of one worker.
pub struct Http<S: Sink> {
    config: HttpConfig,
    counters: Counters,
    sink: S,
}

/// What the analysis keeps for each flow.
pub struct ConnectionState(Stage);

enum Stage {
    /// No byte of interest has been seen yet; what has been seen and which directions have ended.
    Undecided { held: Option<Box<Held>>, ended: [bool; 2] },
    /// Nothing to be had here.
    Ignored,
    /// An HTTP/1 connection.
    Http1(Box<Http1>),
    /// What was one.
    Tunnel(Box<Tunnel>),
}

/// A connection that is something else by now.
struct Tunnel {
    /// Bytes since that were delivered.
    delivered: u64,
    /// Bytes before.
    before: u64,
}

impl<S: Sink> Http<S> {
    /// An analysis that yields into `sink`.
    pub fn new(config: HttpConfig, sink: S) -> Self {
        Self { config, counters: Counters::default(), sink }
    }

    /// The sums so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Where exchanges go.
    pub fn sink(&mut self) -> &mut S {
        &mut self.sink
    }

    fn context<'a>(&'a mut self, flow: &'a Flow) -> Context<'a, S> {
        Context { config: &self.config, counters: &mut self.counters, sink: &mut self.sink, flow }
    }

    /// Takes bytes of a flow that is not known yet.
    fn decide(&mut self, stage: &mut Stage, flow: &Flow, data: &Data<'_>) {
        let Stage::Undecided { held, ended } = stage else { return };
        let ended = *ended;
        let verdict = match held {
            None if !flow.midstream => crate::detect::classify(data.bytes, false),
            _ => held.get_or_insert_with(|| Box::new(Held::new(flow.midstream))).classify(data),
        };
        let client = match verdict {
            Verdict::Request => data.from,
            Verdict::Response => data.from.opposite(),
            Verdict::Unsure => {
                held.get_or_insert_with(|| Box::new(Held::new(flow.midstream))).push(data);
                return;
            }
            Verdict::Http2 => return ignore(stage, &mut self.counters.http2),
            Verdict::Tls => return ignore(stage, &mut self.counters.tls),
            Verdict::Other => {
                if !held.as_mut().is_some_and(|held| held.pass(data)) {
                    ignore(stage, unrecognised(&mut self.counters, flow));
                }
                return;
            }
        };
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
        let mut search = [held.search(); 2];
        search[data.from as usize] = false;
        let mut http1 = Box::new(Http1::new(flow, client, search, held.lost));
        for from in [Peer::Originator, Peer::Responder] {
            http1.start_at(from, held.next[from as usize], ended[from as usize]);
        }
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

    /// Takes bytes of a flow that is known.
    fn deliver(&mut self, stage: &mut Stage, flow: &Flow, data: &Data<'_>) {
        let len = data.bytes.len() as u64;
        match stage {
            Stage::Http1(http1) => {
                self.counters.bytes += len;
                let next = http1.data(&mut self.context(flow), data);
                self.go_on(stage, flow, next, data.now);
            }
            Stage::Tunnel(tunnel) => {
                tunnel.delivered += len;
                self.counters.bytes += len;
                self.counters.tunnel_bytes += len;
                self.counters.tunnel_bytes_delivered += len;
            }
            Stage::Undecided { .. } | Stage::Ignored => {}
        }
    }

    /// Leaves HTTP/1 if another protocol has begun.
    fn go_on(&mut self, stage: &mut Stage, flow: &Flow, next: Next, now: Moment) {
        let Next::Tunnel { h2c } = next else { return };
        let Stage::Http1(http1) = stage else { return };
        if h2c {
            self.counters.http1 -= 1;
            self.counters.http2 += 1;
        } else {
            self.counters.tunnels += 1;
        }
        self.counters.one_sided += u64::from(is_one_sided(flow));
        let (delivered, before) = http1.tunnelled_and_before();
        // Requests behind the one that was answered have no answer in this protocol.
        http1.close(&mut self.context(flow), CloseReason::Finished, now);
        *stage = Stage::Tunnel(Box::new(Tunnel { delivered, before }));
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
        match &mut state.0 {
            Stage::Http1(http1) => {
                if http1.skip(&data) {
                    self.counters.bytes += data.bytes.len() as u64;
                } else {
                    self.deliver(&mut state.0, flow, &data);
                }
            }
            Stage::Undecided { .. } => self.decide(&mut state.0, flow, &data),
            stage => self.deliver(stage, flow, &data),
        }
    }

    fn gap(&mut self, state: &mut Self::State, flow: &Flow, gap: Gap) {
        match &mut state.0 {
            Stage::Http1(http1) => {
                let next = http1.gap(&mut self.context(flow), &gap);
                self.go_on(&mut state.0, flow, next, gap.now);
            }
            Stage::Undecided { held, .. } => {
                held.get_or_insert_with(|| Box::new(Held::new(flow.midstream))).gap(&gap);
            }
            Stage::Ignored | Stage::Tunnel(_) => {}
        }
    }

    fn retransmission(&mut self, state: &mut Self::State, flow: &Flow, again: Retransmission) {
        let _ = flow;
        match &mut state.0 {
            Stage::Http1(http1) => http1.retransmission(&again),
            Stage::Undecided { held: Some(held), .. } => held.again(again),
            _ => {}
        }
    }

    fn end(&mut self, state: &mut Self::State, flow: &Flow, end: StreamEnd) {
        match &mut state.0 {
            Stage::Http1(http1) => {
                let next = http1.end(&mut self.context(flow), &end);
                self.go_on(&mut state.0, flow, next, end.now);
            }
            Stage::Undecided { ended, .. } => ended[end.from as usize] = true,
            Stage::Ignored | Stage::Tunnel(_) => {}
        }
    }

    fn close(&mut self, state: Self::State, flow: &Flow, reason: CloseReason, now: Moment) {
        match state.0 {
            Stage::Undecided { held: None, .. } => self.counters.empty += 1,
            Stage::Undecided { .. } => *unrecognised(&mut self.counters, flow) += 1,
            Stage::Http1(mut http1) => {
                self.counters.one_sided += u64::from(is_one_sided(flow));
                http1.close(&mut self.context(flow), reason, now);
            }
            Stage::Tunnel(tunnel) => {
                let Tunnel { delivered, before } = *tunnel;
                let on_wire = Peer::BOTH.iter().map(|&sender| {
                    let stream = flow.stream(sender);
                    stream.bytes.saturating_sub(stream.retransmitted_bytes)
                });
                let tunnelled = on_wire.sum::<u64>().saturating_sub(before);
                self.counters.tunnel_bytes += tunnelled.saturating_sub(delivered);
            }
            Stage::Ignored => {}
        }
    }

    #[inline]
    fn wants_more(&self, state: &Self::State) -> bool {
        !matches!(state.0, Stage::Ignored | Stage::Tunnel(_))
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
