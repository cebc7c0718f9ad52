//! What a connection holds of its messages and exchanges while they are under way.

use gannet_packet::Timestamp;

use crate::body::{Asked, Method};
use crate::framing::Progress;
use crate::keep::Kept;
use crate::oddity::Oddities;
use crate::{Confidence, Head, Interim};

/// One message.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) head: Head,
    pub(super) at: Progress,
    pub(super) fate: Fate,
    pub(super) oddities: Oddities,
    pub(super) method: Method,
    /// It offers or accepts another protocol, h2c or websocket.
    pub(super) upgrade: bool,
    pub(super) h2c: bool,
    pub(super) websocket: bool,
    /// Its end was the end of the connection, in order.
    pub(super) closed: bool,
    /// Of the exchange: that of a request, and of a response that has none.
    pub(super) index: u32,
    /// Of a request: the end of the last response before it.
    pub(super) previous_end: Option<Timestamp>,
    pub(super) kept: Option<Box<Kept>>,
    /// The connection's counts of losses when the message began.
    pub(super) losses: u32,
    pub(super) server_losses: u32,
}

/// How a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    UnderWay,
    Whole,
    /// Bytes that framing needs are missing.
    Broken,
    /// There should have been more.
    Cut,
}

/// A final response, and what came before it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) part: Part,
    pub(super) interim: Vec<Interim>,
    pub(super) previous_end: Option<Timestamp>,
    /// No final response came before it.
    pub(super) is_first: bool,
}

/// An exchange that has its response.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) request: Option<Part>,
    pub(super) answer: Answer,
    pub(super) confidence: Confidence,
    /// In doubt whether the two belong together.
    pub(super) doubtful: bool,
    pub(super) out_of_step: bool,
    /// The request was sent before the capture began.
    pub(super) before_capture: bool,
}

/// Which request a response answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolution {
    Pair(usize),
    Orphan,
    Wait,
}

impl Part {
    /// What it means for its response.
    pub(super) fn asked(&self) -> Asked {
        Asked { method: self.method, upgrade: self.upgrade }
    }
}

impl Open {
    /// Of its exchange.
    pub(super) fn index(&self) -> u32 {
        self.request.as_ref().unwrap_or(&self.answer.part).index
    }
}
