//! Requests that wait for an answer, by age: what `--pending` asks for.
//!
//! Kept only if the configuration names a time. Each request is put in when its head is whole and taken out when a
//! response to it begins or its exchange is given up; one that is in for longer than the time is reported once and
//! put out. Whether it is does not depend on how often somebody looks: what is late is found at the latest when its
//! answer comes.

use std::collections::BTreeMap;

use gannet_flow::Moment;
use gannet_packet::Timestamp;

use crate::PendingRequest;

/// The requests without an answer of one worker.
#[derive(Debug)]
pub(crate) struct Unanswered {
    after_ns: u64,
    requests: BTreeMap<Key, PendingRequest>,
    /// Bytes of their heads.
    head_bytes: usize,
}

/// Time, flow, index.
type Key = (Timestamp, u64, u32);

impl Unanswered {
    pub(crate) fn new(after_ns: u64) -> Self {
        Self { after_ns, requests: BTreeMap::new(), head_bytes: 0 }
    }

    /// A request has been sent. False if there is no room for it.
    pub(crate) fn put(&mut self, request: PendingRequest) -> bool {
        let head_bytes = self.head_bytes + request.head.raw().len();
        let room = self.requests.len() < UNANSWERED_MAX && head_bytes <= HEAD_BYTES_MAX;
        if room {
            self.head_bytes = head_bytes;
            self.requests.insert((request.first, request.connection.flow, request.index), request);
        }
        room
    }

    /// It has been answered, or will not be, at `now`. The request if that was too late and is not reported yet.
    pub(crate) fn take(
        &mut self,
        first: Timestamp,
        flow: u64,
        index: u32,
        now: Moment,
    ) -> Option<PendingRequest> {
        let request = self.requests.remove(&(first, flow, index))?;
        self.head_bytes = self.head_bytes.saturating_sub(request.head.raw().len());
        self.is_overdue(first, now).then_some(PendingRequest { now, ..request })
    }

    /// The oldest one if it has been waiting for too long.
    pub(crate) fn take_overdue(&mut self, now: Moment) -> Option<PendingRequest> {
        let (oldest, _) = self.requests.first_key_value()?;
        if !self.is_overdue(oldest.0, now) {
            return None;
        }
        let (_, request) = self.requests.pop_first()?;
        self.head_bytes = self.head_bytes.saturating_sub(request.head.raw().len());
        Some(PendingRequest { now, ..request })
    }

    fn is_overdue(&self, first: Timestamp, now: Moment) -> bool {
        now.time.0.checked_sub(first.0).is_some_and(|waited| waited >= self.after_ns)
    }
}

/// Most requests watched at once by a worker. Beyond it new ones are not watched, which is counted.
const UNANSWERED_MAX: usize = 100_000;
/// The same in bytes of their heads: usual ones have some 500.
const HEAD_BYTES_MAX: usize = 64 << 20;
