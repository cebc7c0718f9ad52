//! What the analysis tells before an exchange is complete: heads, messages, requests that wait for an answer.
//!
//! [`HeadEvent`] and [`MessageEvent`] are borrows of what the analysis holds, so that a sink that has no use for them
//! pays nothing; [`HeadReport`] and [`MessageReport`] are the same to be kept, copies.

use gannet_flow::Moment;
use gannet_packet::Timestamp;

use crate::{Connection, ExchangeId, Head, Message, Oddities, Trailers};

/// A head that has just been read, before its exchange is complete: for outputs with a line per head.
#[derive(Clone, Copy, Debug)]
pub struct HeadEvent<'a> {
    /// The connection.
    pub connection: &'a Connection,
    /// Request, interim or final response.
    pub kind: HeadKind,
    /// [`Exchange::index`] of its exchange; `None` while it is not known which request a response answers.
    ///
    /// [`Exchange::index`]: crate::Exchange::index
    pub index: Option<u32>,
    /// The head.
    pub head: &'a Head,
    /// Of a response: the head of the request, if it is known.
    pub request: Option<&'a Head>,
    /// When its first byte was first seen.
    pub first: Timestamp,
    /// How its bytes came.
    pub arrival: HeadArrival,
    /// The packet that completed it.
    pub now: Moment,
}

/// How the bytes of a head came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadArrival {
    /// In more than one packet.
    pub split: bool,
    /// Whether all of them came.
    pub extent: HeadExtent,
}

/// Whether all of a head was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeadExtent {
    /// Up to its empty line.
    #[default]
    Whole,
    /// Its end is missing.
    Cut,
    /// Its end is missing because a packet was cut to the snapshot length.
    Snapped,
}

/// A request or a final response that is over, before its exchange is: for outputs with whole messages. The fields that
/// [`Message`] has as well mean the same.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the fields of `Message` are described there")]
pub struct MessageEvent<'a> {
    /// The connection.
    pub connection: &'a Connection,
    /// Request or final response.
    pub kind: HeadKind,
    /// [`Exchange::index`] of its exchange; `None` while it is not known which request a response answers.
    ///
    /// [`Exchange::index`]: crate::Exchange::index
    pub index: Option<u32>,
    /// Of a response: the head of the request, if it is known.
    pub request: Option<&'a Head>,
    pub head: &'a Head,
    pub body: &'a [u8],
    pub trailers: Option<&'a Trailers>,
    pub body_bytes: u64,
    pub wire_bytes: u64,
    pub gap_bytes: u64,
    pub complete: bool,
    pub oddities: Oddities,
    pub first: Timestamp,
    pub head_end: Timestamp,
    pub last: Timestamp,
    /// [`Message::last_seen`].
    pub last_seen: bool,
    /// The packet that ended it.
    pub now: Moment,
}

/// A request that has had no answer for the time set by [`HttpConfig::pending_after_ns`].
///
/// [`HttpConfig::pending_after_ns`]: crate::HttpConfig::pending_after_ns
#[derive(Clone, Debug)]
pub struct PendingRequest {
    /// The connection.
    pub connection: Connection,
    /// [`Exchange::index`] of its exchange.
    ///
    /// [`Exchange::index`]: crate::Exchange::index
    pub index: u32,
    /// The head.
    pub head: Head,
    /// When its first byte was first seen.
    pub first: Timestamp,
    /// When that was found out: the packet or the lapse of time that made it so.
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

/// A [`HeadEvent`] to be kept, without the request of a response.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields of `HeadEvent`")]
pub struct HeadReport {
    pub connection: Connection,
    pub kind: HeadKind,
    pub index: Option<u32>,
    pub head: Head,
    pub request: Option<Box<Head>>,
    pub first: Timestamp,
    pub now: Moment,
}

/// A [`MessageEvent`] to be kept.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields of `MessageEvent`")]
pub struct MessageReport {
    pub connection: Connection,
    pub kind: HeadKind,
    pub index: Option<u32>,
    pub request: Option<Box<Head>>,
    pub message: Message,
    pub now: Moment,
}

impl HeadEvent<'_> {
    /// The same to be kept.
    pub fn to_report(&self) -> HeadReport {
        let Self { connection, kind, index, head, first, now, .. } = *self;
        let request = self.request.cloned().map(Box::new);
        HeadReport { connection: *connection, kind, index, head: head.clone(), request, first, now }
    }
}

impl MessageEvent<'_> {
    /// The same to be kept.
    pub fn to_report(&self) -> MessageReport {
        let message = Message {
            head: self.head.clone(),
            first: self.first,
            head_end: self.head_end,
            last: self.last,
            last_seen: self.last_seen,
            body_bytes: self.body_bytes,
            wire_bytes: self.wire_bytes,
            complete: self.complete,
            gap_bytes: self.gap_bytes,
            ambiguous_length: self.oddities.has(Oddities::OF_LENGTH),
            body: self.body.into(),
            trailers: self.trailers.cloned().map(Box::new),
            oddities: self.oddities,
        };
        let Self { connection, kind, index, request, now, .. } = *self;
        let request = request.cloned().map(Box::new);
        MessageReport { connection: *connection, kind, index, request, message, now }
    }
}

impl HeadReport {
    /// The name of its exchange; `None` while it is not known which request a response answers.
    pub fn id(&self) -> Option<ExchangeId> {
        self.index.map(|index| ExchangeId { connection: self.connection.id, index })
    }
}

impl MessageReport {
    /// The name of its exchange; `None` while it is not known which request a response answers.
    pub fn id(&self) -> Option<ExchangeId> {
        self.index.map(|index| ExchangeId { connection: self.connection.id, index })
    }
}

impl PendingRequest {
    /// The name of its exchange.
    pub fn id(&self) -> ExchangeId {
        ExchangeId { connection: self.connection.id, index: self.index }
    }
}
