//! For tests: flows made by hand, and a sink that keeps what it is given.

use gannet_flow::{
    CloseReason, Data, Flow, Gap, GapReason, Had, Handler, Moment, Peer, Retransmission, StreamEnd,
};
use gannet_packet::Timestamp;

use crate::fuzz::flow;
use crate::{ConnectionState, Exchange, HeadEvent, HeadKind, Http, HttpConfig, Sink};

/// Keeps everything.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) heads: Vec<(HeadKind, Vec<u8>)>,
}

impl Sink for Kept {
    fn exchange(&mut self, exchange: Exchange) {
        self.exchanges.push(exchange);
    }

    fn head(&mut self, event: HeadEvent<'_>) {
        self.heads.push((event.kind, event.head.raw().to_vec()));
    }
}

/// One connection under the analysis. Each call is a packet; time goes on by 100 with each.
pub(crate) struct Lane {
    pub(crate) http: Http<Kept>,
    pub(crate) flow: Flow,
    state: Option<ConnectionState>,
    /// Offsets of the next bytes, as the peers sent them.
    pub(crate) sent: [u64; 2],
    pub(crate) now: u64,
}

pub(crate) const CLIENT: Peer = Peer::Originator;
pub(crate) const SERVER: Peer = Peer::Responder;

impl Lane {
    pub(crate) fn new() -> Self {
        Self::with(HttpConfig::default(), false)
    }

    pub(crate) fn midstream() -> Self {
        Self::with(HttpConfig::default(), true)
    }

    pub(crate) fn with(config: HttpConfig, midstream: bool) -> Self {
        let mut http = Http::new(config, Kept::default());
        let flow = flow(midstream);
        let state = Some(http.open(&flow));
        Self { http, flow, state, sent: [0; 2], now: 0 }
    }

    /// The client sends, having got everything.
    pub(crate) fn client(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let acknowledged = self.sent[SERVER as usize];
        self.data(CLIENT, bytes.as_ref(), Some(acknowledged))
    }

    /// The server sends, having got everything.
    pub(crate) fn server(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let acknowledged = self.sent[CLIENT as usize];
        self.data(SERVER, bytes.as_ref(), Some(acknowledged))
    }

    pub(crate) fn data(&mut self, from: Peer, bytes: &[u8], acknowledged: Option<u64>) -> &mut Self {
        let seen = self.tick();
        let offset = self.sent[from as usize];
        self.sent[from as usize] += bytes.len() as u64;
        self.deliver(Data { from, offset, bytes, seen, now: seen, acknowledged, late: false })
    }

    pub(crate) fn deliver(&mut self, data: Data<'_>) -> &mut Self {
        self.flow.sample_stream(data.from, |stream| stream.packets += 1);
        let state = self.state.as_mut().expect("open");
        // As the table does: what is not wanted is not delivered.
        if self.http.wants_more(state) {
            self.http.data(state, &self.flow, data);
        }
        self
    }

    pub(crate) fn gap(&mut self, from: Peer, len: u64) -> &mut Self {
        let now = self.tick();
        let offset = self.sent[from as usize];
        self.sent[from as usize] += len;
        let gap = Gap { from, offset, len, reason: GapReason::NotCaptured, now };
        let state = self.state.as_mut().expect("open");
        if self.http.wants_more(state) {
            self.http.gap(state, &self.flow, gap);
        }
        self
    }

    /// A segment without payload, of an end that had received and sent so much, though nobody saw all of that.
    pub(crate) fn unseen_acknowledged(&mut self, from: Peer, received: u64, sent: u64) -> &mut Self {
        self.tick();
        let state = self.state.as_mut().expect("open");
        self.http.unseen_acknowledged(state, &self.flow, from, Had { received, sent });
        self
    }

    pub(crate) fn again(&mut self, from: Peer, offset: u64, len: u64) -> &mut Self {
        let now = self.tick();
        let state = self.state.as_mut().expect("open");
        self.http.retransmission(state, &self.flow, Retransmission { from, offset, len, now });
        self
    }

    pub(crate) fn fin(&mut self, from: Peer) -> &mut Self {
        let now = self.tick();
        self.flow.sample_stream(from, |stream| stream.packets += 1);
        let end = StreamEnd { from, offset: self.sent[from as usize], seen: now, now };
        self.http.end(self.state.as_mut().expect("open"), &self.flow, end);
        self
    }

    pub(crate) fn close(&mut self, reason: CloseReason) -> &mut Self {
        let now = self.tick();
        self.http.close(self.state.take().expect("open"), &self.flow, reason, now);
        assert_eq!(self.http.counters().check(), []);
        assert_eq!((self.http.kept_bytes(), self.http.memory()), (0, 0));
        self
    }

    /// Both ends close in order.
    pub(crate) fn finish(&mut self) -> Vec<Exchange> {
        self.fin(CLIENT).fin(SERVER).close(CloseReason::Finished).taken()
    }

    /// What has been reported since the last call.
    pub(crate) fn taken(&mut self) -> Vec<Exchange> {
        std::mem::take(&mut self.http.sink().exchanges)
    }

    pub(crate) fn wanted(&self) -> bool {
        self.http.wants_more(self.state.as_ref().expect("open"))
    }

    fn tick(&mut self) -> Moment {
        self.now += 100;
        Moment { time: Timestamp(self.now), position: self.now / 100 }
    }
}

/// Method, target, status, body bytes of request and response, state: an exchange in one line.
pub(crate) fn line(exchange: &Exchange) -> String {
    let request = exchange.request.as_ref().map_or("-".into(), |request| {
        let head = &request.head;
        format!("{} {} {}", head.method().escape_ascii(), head.target().escape_ascii(), request.body_bytes)
    });
    let response = exchange.response.as_ref().map_or("-".into(), |response| {
        format!("{} {}", response.head.status().unwrap_or_default(), response.body_bytes)
    });
    format!("{request} > {response} {}", exchange.state.name())
}

pub(crate) fn lines(exchanges: &[Exchange]) -> Vec<String> {
    exchanges.iter().map(line).collect()
}
