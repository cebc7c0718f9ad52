//! What the analysis yields.

use gannet_flow::Moment;
use gannet_packet::{Endpoint, Surroundings, Timestamp};

use crate::Head;

/// A request and its response, or what could be had of them.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The connection it was on.
    pub connection: Connection,
    /// Number of the exchange on its connection, from 0.
    pub index: u32,
    /// The packet whose processing completed it: the key by which records of several workers are put in order, followed
    /// by the connection's id and `index`.
    pub completed: Moment,
    /// How it ended.
    pub state: State,
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
}

/// The facts of a connection that every exchange on it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// [`gannet_flow::Flow::id`].
    pub flow: u64,
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
    /// The response (or the request) was cut off, or had not begun yet: by a time-out, an eviction, the end of the capture.
    Truncated,
    /// Bytes of a head or of framing were missing; a gap inside a body of known length leaves an exchange complete.
    Gap,
    /// The connection, or the server's direction of it, ended in order without an answer; or no packet of the server was
    /// captured.
    OrphanRequest,
    /// A response without a request.
    OrphanResponse,
    /// Reset before it was over.
    Aborted,
    /// Its beginning was before the capture's.
    Midstream,
}

impl State {
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
}

/// How sure it is that a response belongs to its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Confidence {
    /// Something was missing between them; paired by what acknowledgements allow.
    Low,
    /// In order of appearance after a gap or a start in mid-stream.
    Medium,
    /// Nothing was missing on the connection.
    High,
}

impl Confidence {
    /// Its name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
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
    /// Bytes of the body on the wire after removing the chunk framing, gaps inside it included.
    pub body_bytes: u64,
    /// Bytes of the whole message on the wire: head, body, framing.
    pub wire_bytes: u64,
    /// It was seen to its end.
    pub complete: bool,
    /// Bytes missing inside its body.
    pub gap_bytes: u64,
    /// The length was not stated clearly: several differing Content-Length, or one beside Transfer-Encoding.
    pub ambiguous_length: bool,
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
    /// From the request's last byte, or the previous response's end if that is later (pipelining), to the response's first
    /// byte.
    pub server: Option<u64>,
    /// From the response's first to its last byte.
    pub receive: Option<u64>,
    /// From the request's first to the response's last byte.
    pub total: Option<u64>,
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
    /// Request and response may not belong together.
    pub pairing: bool,
}

impl Untrusted {
    /// True if any reason applies.
    pub fn any(self) -> bool {
        self != Self::default()
    }

    /// The reasons' names in records.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let reasons = [
            (self.retransmitted, "retransmitted"),
            (self.gap, "gap"),
            (self.midstream, "midstream"),
            (self.early_answer, "early-answer"),
            (self.pairing, "pairing"),
        ];
        reasons.into_iter().filter(|(applies, _)| *applies).map(|(_, name)| name)
    }
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
}

/// A head that has just been read, before its exchange is complete: for outputs with a line per head.
#[derive(Clone, Copy, Debug)]
pub struct HeadEvent<'a> {
    /// The connection.
    pub connection: &'a Connection,
    /// Request, interim or final response.
    pub kind: HeadKind,
    /// The head.
    pub head: &'a Head,
    /// When its first byte was first seen.
    pub first: Timestamp,
    /// The packet that completed it.
    pub now: Moment,
}

/// Which head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum HeadKind {
    Request,
    Interim,
    Response,
}
