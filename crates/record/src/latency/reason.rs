//! Why an exchange is counted but not measured.

use gannet_http::{Exchange, State};

/// Why an exchange is not in the percentiles. If several apply, the first of [`Reason::ALL`].
#[derive(Clone, Copy)]
pub(crate) enum Reason {
    Tunnel,
    Aborted,
    Unanswered,
    OrphanResponse,
    Truncated,
    Gap,
    Midstream,
    Retransmitted,
    EarlyAnswer,
    Pairing,
}

impl Reason {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 10] = [
        Self::Tunnel,
        Self::Aborted,
        Self::Unanswered,
        Self::OrphanResponse,
        Self::Truncated,
        Self::Gap,
        Self::Midstream,
        Self::Retransmitted,
        Self::EarlyAnswer,
        Self::Pairing,
    ];

    /// The duration to be measured, or why there is none.
    pub(crate) fn of(exchange: &Exchange) -> Result<u64, Self> {
        let status = exchange.response.as_ref().and_then(|response| response.head.status());
        let connect = exchange.request.as_ref().is_some_and(|request| request.head.method() == b"CONNECT");
        let untrusted = exchange.untrusted;
        Err(match (exchange.state, status) {
            (_, Some(101)) => Self::Tunnel,
            (_, Some(200..=299)) if connect => Self::Tunnel,
            (State::Aborted, _) => Self::Aborted,
            (State::OrphanRequest, _) => Self::Unanswered,
            (State::OrphanResponse, _) => Self::OrphanResponse,
            (State::Truncated, _) => Self::Truncated,
            (State::Gap, _) => Self::Gap,
            (State::Midstream, _) => Self::Midstream,
            (State::Complete, _) if untrusted.gap => Self::Gap,
            (State::Complete, _) if untrusted.midstream => Self::Midstream,
            (State::Complete, _) if untrusted.retransmitted => Self::Retransmitted,
            (State::Complete, _) if untrusted.early_answer => Self::EarlyAnswer,
            (State::Complete, _) if untrusted.pairing => Self::Pairing,
            (State::Complete, _) => return exchange.timing.total.ok_or(Self::Truncated),
        })
    }

    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tunnel => "tunnel",
            Self::Aborted => "aborted",
            Self::Unanswered => "unanswered",
            Self::OrphanResponse => "without request",
            Self::Truncated => "truncated",
            Self::Gap => "gap",
            Self::Midstream => "midstream",
            Self::Retransmitted => "retransmitted",
            Self::EarlyAnswer => "answered early",
            Self::Pairing => "pairing uncertain",
        }
    }
}
