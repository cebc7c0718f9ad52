//! What the analysis yields.

use std::fmt;
use std::str::FromStr;

use gannet_flow::{CloseReason, ConnectionId, Handshake, Moment, Peer};
use gannet_packet::{Endpoint, Surroundings, Timestamp};

use crate::{Head, Oddities, Trailers, Tunnel};

/// A request and its response, or what could be had of them.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The connection it was on.
    pub connection: Connection,
    /// Number of the exchange on its connection, from 0, in the order in which they began: by request, and for a
    /// response without one when that was found out.
    pub index: u32,
    /// The packet whose processing completed it: the key by which records of several workers are put in order, followed
    /// by the connection's id and `index`.
    pub completed: Moment,
    /// How it ended.
    pub state: State,
    /// What ended it.
    pub reason: Reason,
    /// How sure it is that the response belongs to the request.
    pub confidence: Confidence,
    /// The request; `None` for an orphan response.
    pub request: Option<Message>,
    /// Interim responses (1xx) in order.
    pub interim: Vec<Interim>,
    /// The final response; `None` if there was none.
    pub response: Option<Message>,
    /// Durations.
    pub timing: Timing,
    /// Which of the durations are not to be trusted, and why.
    pub untrusted: Untrusted,
    /// What TCP went through while the exchange was under way.
    pub tcp: TcpFacts,
    /// What the connection was used for from here on, if this exchange turned it over to another protocol. Such an
    /// exchange is reported when the tunnel ends; its durations are those of the two messages.
    pub tunnel: Option<Box<Tunnel>>,
}

impl Exchange {
    /// Its name: the same at every tap and in every run over the same packets.
    pub fn id(&self) -> ExchangeId {
        ExchangeId { connection: self.connection.id, index: self.index }
    }

    /// Bytes allocated for its messages.
    pub(crate) fn memory(&self) -> usize {
        let messages = [&self.request, &self.response].into_iter().flatten();
        let messages: usize = messages.map(|message| message.head.memory() + message.body.len()).sum();
        messages + self.interim.capacity() * size_of::<Interim>()
    }

    /// What a SOAP request asked for: [`Head::operation`].
    pub fn operation(&self) -> Option<&[u8]> {
        self.request.as_ref()?.head.operation()
    }
}

/// The name of an exchange: printed as the connection's name, a hyphen, and the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId {
    /// The connection.
    pub connection: ConnectionId,
    /// [`Exchange::index`].
    pub index: u32,
}

impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.connection, self.index)
    }
}

/// A text that names no exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoExchangeId;

impl fmt::Display for NoExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the id of an exchange: 26 letters and digits, a hyphen, a number")
    }
}

impl std::error::Error for NoExchangeId {}

impl FromStr for ExchangeId {
    type Err = NoExchangeId;

    fn from_str(text: &str) -> Result<Self, NoExchangeId> {
        let (connection, index) = text.split_once('-').ok_or(NoExchangeId)?;
        let connection = connection.parse().map_err(|_| NoExchangeId)?;
        let digits = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
        let index = index.parse().ok().filter(|_| digits).ok_or(NoExchangeId)?;
        Ok(Self { connection, index })
    }
}

/// The facts of a connection that every exchange on it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// [`gannet_flow::Flow::id`].
    pub flow: u64,
    /// Names the connection at every tap and in every run.
    pub id: ConnectionId,
    /// Who sent requests.
    pub client: Endpoint,
    /// Who answered.
    pub server: Endpoint,
    /// Index of the interface in the tables of the run.
    pub interface: u32,
    /// The tunnel and the VLANs that its first segment came in.
    pub around: Surroundings,
    /// The capture began after the connection.
    pub midstream: bool,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Request and response were seen to their ends.
    Complete,
    /// The response (or the request) was cut off, or had not begun yet: by a time-out, an eviction, the end of the
    /// capture.
    Truncated,
    /// Bytes of a head or of framing were missing; a gap inside a body of known length leaves an exchange complete.
    Gap,
    /// The connection, or the server's direction of it, ended in order without an answer; or no packet of the server
    /// was captured.
    OrphanRequest,
    /// A response without a request.
    OrphanResponse,
    /// Reset before it was over.
    Aborted,
    /// Its beginning was before the capture's.
    Midstream,
}

impl State {
    /// All.
    pub const ALL: [Self; 7] = [
        Self::Complete,
        Self::Truncated,
        Self::Gap,
        Self::OrphanRequest,
        Self::OrphanResponse,
        Self::Aborted,
        Self::Midstream,
    ];

    /// Its name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Truncated => "truncated",
            Self::Gap => "gap",
            Self::OrphanRequest => "orphan-request",
            Self::OrphanResponse => "orphan-response",
            Self::Aborted => "aborted",
            Self::Midstream => "midstream",
        }
    }

    /// What it means, for users.
    pub fn about(self) -> &'static str {
        match self {
            Self::Complete => {
                "request and response were seen to their ends. Bytes may be missing inside a body of known length: \
                 tcp.gap_bytes is not 0 then"
            }
            Self::Truncated => {
                "the response, or the request, was cut off or had not begun: reason says by what. Sizes are of what was seen"
            }
            Self::Gap => {
                "bytes of a head or of the framing were not captured. Where the report has dropped packets, a larger \
                 --ring-size or more --workers help"
            }
            Self::OrphanRequest => {
                "a request that got no answer, though nothing cut the exchange off: reason says why"
            }
            Self::OrphanResponse => "a response without a request: reason says why",
            Self::Aborted => "the connection was reset before the exchange was over: reason says by whom",
            Self::Midstream => "the request was sent before the capture began; its answer is here",
        }
    }
}

/// What ended an exchange; for one without a request or a response, why that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Both messages ended where their framing says.
    Framing,
    /// The orderly end of the connection, or of one direction: it ends a response without a length, and cuts off or
    /// leaves unanswered all else.
    Fin,
    /// The client reset the connection.
    ClientReset,
    /// The server reset the connection.
    ServerReset,
    /// Nothing was seen of the connection for too long.
    Idle,
    /// There were too many connections.
    Evicted,
    /// The ports were taken by a new connection.
    Reused,
    /// The capture ended.
    EndOfInput,
    /// Bytes that framing needs are missing.
    Gap,
    /// The framing is not what it should be.
    BadFraming,
    /// Too many requests without an answer were waiting on the connection.
    TooManyPending,
    /// A later request was answered, and this one will not be.
    Overtaken,
    /// The connection became a tunnel before it was answered.
    Switched,
    /// No packet of the other direction was captured.
    OneSided,
    /// The request was sent before the capture began.
    BeforeCapture,
    /// Bytes of the client are missing, and with them the request.
    RequestMissing,
    /// What the client sent was seen, and is no request, or no whole head of one.
    BadRequest,
    /// The client began with the greeting of TLS, to a server that speaks plain HTTP.
    TlsRequest,
    /// What the server sent while the request had no answer was seen, and is no response.
    BadResponse,
    /// Everything the client sent was seen, and no request of it was open: a `408` on an idle connection, for instance.
    Unsolicited,
}

impl Reason {
    /// All.
    pub const ALL: [Self; 20] = [
        Self::Framing,
        Self::Fin,
        Self::ClientReset,
        Self::ServerReset,
        Self::Idle,
        Self::Evicted,
        Self::Reused,
        Self::EndOfInput,
        Self::Gap,
        Self::BadFraming,
        Self::TooManyPending,
        Self::Overtaken,
        Self::Switched,
        Self::OneSided,
        Self::BeforeCapture,
        Self::RequestMissing,
        Self::BadRequest,
        Self::TlsRequest,
        Self::BadResponse,
        Self::Unsolicited,
    ];

    /// Its name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Framing => "framing",
            Self::Fin => "fin",
            Self::ClientReset => "client-reset",
            Self::ServerReset => "server-reset",
            Self::Idle => "idle",
            Self::Evicted => "evicted",
            Self::Reused => "reused",
            Self::EndOfInput => "end-of-input",
            Self::Gap => "gap",
            Self::BadFraming => "bad-framing",
            Self::TooManyPending => "too-many-pending",
            Self::Overtaken => "overtaken",
            Self::Switched => "switched",
            Self::OneSided => "one-sided",
            Self::BeforeCapture => "before-capture",
            Self::RequestMissing => "request-missing",
            Self::BadRequest => "bad-request",
            Self::TlsRequest => "tls-request",
            Self::BadResponse => "bad-response",
            Self::Unsolicited => "unsolicited",
        }
    }

    /// What it means, for users.
    pub fn about(self) -> &'static str {
        match self {
            Self::Framing => "both messages ended where their lengths or chunks say: the usual end",
            Self::Fin => {
                "a FIN: the usual end of a response without a length; anything else was cut off or left unanswered by it"
            }
            Self::ClientReset => "a RST from the client, which gave up or was stopped",
            Self::ServerReset => "a RST from the server, which refused, failed or was restarted",
            Self::Idle => {
                "no packet of the connection came for too long. The exchange may have gone on later"
            }
            Self::Evicted => {
                "the flow table was full, and this connection made room for another. A larger --max-flows or \
                 --flow-memory helps"
            }
            Self::Reused => "a new connection began with the same addresses and ports",
            Self::EndOfInput => "the capture ended first",
            Self::Gap => "bytes that framing needs were not captured: of a head, of a line of a chunk",
            Self::BadFraming => "the bytes seen break the rules of HTTP. gannet.notes may say which",
            Self::TooManyPending => "too many requests of the connection were waiting for an answer",
            Self::Overtaken => "a later request was answered, and this one will not be",
            Self::Switched => {
                "the connection became a tunnel (CONNECT, Upgrade) before this request was answered"
            }
            Self::OneSided => {
                "no packet of the other direction was captured. Capture where both directions pass, and with a filter \
                 that lets both through"
            }
            Self::BeforeCapture => "the request was sent before the capture began",
            Self::RequestMissing => "bytes of the client were not captured, and the request was in them",
            Self::BadRequest => "what the client sent is no request, or no whole head of one",
            Self::TlsRequest => "the client spoke TLS to a server that speaks plain HTTP",
            Self::BadResponse => "what the server sent while the request had no answer is no response",
            Self::Unsolicited => {
                "no request was open, and all that the client sent was seen: a 408 on an idle connection, for instance"
            }
        }
    }

    /// The end of the connection as a reason.
    pub(crate) fn of_close(reason: CloseReason, client: Peer) -> Self {
        match reason {
            CloseReason::Finished => Self::Fin,
            CloseReason::Reset { by } if by == client => Self::ClientReset,
            CloseReason::Reset { .. } => Self::ServerReset,
            CloseReason::Idle => Self::Idle,
            CloseReason::Evicted => Self::Evicted,
            CloseReason::Reused => Self::Reused,
            CloseReason::EndOfInput => Self::EndOfInput,
        }
    }
}

/// How sure it is that a response belongs to its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Confidence {
    /// There may be requests under way that were not seen, after a loss or a start in mid-stream, and the client was
    /// not seen to wait for all answers before it asks again. Such a pair is [`Untrusted::pairing`]. Of a message
    /// alone: its other half may be one of those that are alone, too.
    Low,
    /// After a start in mid-stream, from the second pair on, while one request follows one response; after a loss there
    /// or without acknowledgements, of a client that was seen to wait, be it by its pauses alone; after any loss, of
    /// one that sends several requests at once and was seen to wait for all answers, which one that does not wait does
    /// by chance, or that keeps so many under way; of a message alone, after a loss.
    Medium,
    /// By the count, nothing being missing or all that is missing being accounted for, or by what both ends
    /// acknowledge.
    High,
}

impl Confidence {
    /// All.
    pub const ALL: [Self; 3] = [Self::Low, Self::Medium, Self::High];

    /// Its name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// What it means, for users.
    pub fn about(self) -> &'static str {
        match self {
            Self::Low => {
                "requests that were not seen may be under way, and the client was not seen to wait for answers: the \
                 response may be another request's. untrusted has pairing then"
            }
            Self::Medium => {
                "after a loss or a start in mid-stream, and the client was seen to wait for each answer: right but for rare cases"
            }
            Self::High => "by the count of messages with nothing missing, or by what both ends acknowledged",
        }
    }
}

/// One message, request or final response.
#[derive(Clone, Debug)]
pub struct Message {
    /// Start line and header fields.
    pub head: Head,
    /// When its first byte was first seen.
    pub first: Timestamp,
    /// When the last byte of its head was.
    pub head_end: Timestamp,
    /// When its last byte was; for a message that is cut off, the last byte seen.
    pub last: Timestamp,
    /// Its last byte was seen: it is complete, and that byte is not missing.
    pub last_seen: bool,
    /// Bytes of the body on the wire after removing the chunk framing, gaps inside it included.
    pub body_bytes: u64,
    /// Bytes of the whole message on the wire: head, body, framing.
    pub wire_bytes: u64,
    /// It was seen to its end.
    pub complete: bool,
    /// Bytes missing inside its body.
    pub gap_bytes: u64,
    /// The length was not stated clearly: several Content-Length, one beside Transfer-Encoding, and whatever else of
    /// [`oddities`](Self::oddities) leaves it to the reader.
    pub ambiguous_length: bool,
    /// The first bytes of the body, without the framing of chunks and not decoded: as many as [`HttpConfig::body`]
    /// says, up to the first hole. Shorter than `body_bytes` if there was more.
    ///
    /// [`HttpConfig::body`]: crate::HttpConfig::body
    pub body: Box<[u8]>,
    /// The fields behind a chunked body.
    pub trailers: Option<Box<Trailers>>,
    /// What is odd about it.
    pub oddities: Oddities,
}

impl Message {
    /// Every byte of the body is in `body`.
    pub fn body_is_whole(&self) -> bool {
        self.complete && self.gap_bytes == 0 && self.body.len() as u64 == self.body_bytes
    }
}

/// An interim response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interim {
    /// Its status, 100 to 199 without 101.
    pub status: u16,
    /// When its first byte was first seen.
    pub first: Timestamp,
}

/// Durations in nanoseconds. `None`: an edge was not seen, or (`server`) the answer began before the request ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// From the SYN to the end of the handshake; on the first exchange of a connection only.
    pub connect: Option<u64>,
    /// From the request's first to its last byte.
    pub send: Option<u64>,
    /// From the request's first to the response's first byte.
    pub ttfb: Option<u64>,
    /// From the request's last byte, or the previous response's end if that is later (pipelining), to the response's
    /// first byte.
    pub server: Option<u64>,
    /// From the response's first to its last byte.
    pub receive: Option<u64>,
    /// From the request's first to the response's last byte.
    pub total: Option<u64>,
    /// From the previous response's last byte on the connection to the request's first.
    pub think: Option<u64>,
    /// When the packets of the handshake passed; on the first exchange of a connection only. Its two legs are
    /// [`Handshake::responder_ns`] and [`Handshake::originator_ns`].
    pub handshake: Handshake,
    /// From the capture point to the server and back, the shortest time from data to their
    /// acknowledgement or of the handshake.
    /// Near the server it is next to nothing; near the client it is contained in `server` and `ttfb`.
    pub server_round_trip: Option<u64>,
    /// From the capture point to the client and back.
    pub client_round_trip: Option<u64>,
}

impl Timing {
    /// How much of `server` was the network's: one way to the server and one back.
    pub fn network_estimate(&self) -> Option<u64> {
        Some(self.server?.min(self.server_round_trip?))
    }
}

/// Why durations are not to be trusted. Such an exchange is left out of the histograms and counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Untrusted {
    /// A first or last byte was sent again, or came late.
    pub retransmitted: bool,
    /// Bytes at an edge were missing.
    pub gap: bool,
    /// The connection began before the capture, and the two directions are not in step yet.
    pub midstream: bool,
    /// The answer began before the request had ended.
    pub early_answer: bool,
    /// Request and response may not belong together: [`Confidence::Low`].
    pub pairing: bool,
}

impl Untrusted {
    /// True if any reason applies.
    pub fn any(self) -> bool {
        self != Self::default()
    }

    /// The reasons' names in records.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let applies = [self.retransmitted, self.gap, self.midstream, self.early_answer, self.pairing];
        applies.into_iter().zip(Self::MEANINGS).filter(|(applies, _)| *applies).map(|(_, (name, _))| name)
    }

    /// All names that there can be, in the order of the fields, and what they mean, for users.
    pub const MEANINGS: [(&'static str, &'static str); 5] = [
        (
            "retransmitted",
            "the first or last byte of a message was sent again or came late, so that it is not known when it passed first",
        ),
        ("gap", "the first or last byte of a message was not captured"),
        (
            "midstream",
            "the connection is older than the capture, and which answer is whose is not settled yet",
        ),
        ("early-answer", "the answer began before the request had ended: timing.server_ns is null"),
        ("pairing", "request and response may not belong together: pair_confidence is low"),
    ];
}

/// What TCP went through, both directions together, between the exchange's beginning and its completion. On a pipelined
/// connection exchanges overlap, and so do these counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFacts {
    /// Payload bytes sent again.
    pub retransmitted_bytes: u64,
    /// Segments that filled a hole.
    pub out_of_order: u32,
    /// Bytes not captured.
    pub gap_bytes: u64,
    /// Segments that announced a zero window.
    pub zero_windows: u32,
    /// Of the payload bytes sent again, those of the client.
    pub client_retransmitted_bytes: u64,
    /// How long a window was 0, in nanoseconds.
    pub zero_window_ns: u64,
}
