//! Requests that wait for an answer, by age: what `--pending` asks for.
//!
//! Kept only if the configuration names a time. Each request is put in when its head is whole and taken out when a response
//! to it begins or its exchange is given up; one that is in for longer than the time is reported once and put out.

use std::collections::BTreeMap;

use gannet_packet::Timestamp;

use crate::PendingRequest;

/// The requests without an answer of one worker.
#[derive(Debug)]
pub(crate) struct Unanswered {
    after_ns: u64,
    requests: BTreeMap<Key, PendingRequest>,
}

/// Time, flow, index.
type Key = (Timestamp, u64, u32);

impl Unanswered {
    pub(crate) fn new(after_ns: u64) -> Self {
        Self { after_ns, requests: BTreeMap::new() }
    }

    /// A request has been sent. False if there is no room for it.
    pub(crate) fn put(&mut self, request: PendingRequest) -> bool {
        let room = self.requests.len() < UNANSWERED_MAX;
        if room {
            self.requests.insert((request.first, request.connection.flow, request.index), request);
        }
        room
    }

    /// It has been answered, or will not be.
    pub(crate) fn remove(&mut self, first: Timestamp, flow: u64, index: u32) {
        self.requests.remove(&(first, flow, index));
    }

    /// The oldest one if it has been waiting for too long.
    pub(crate) fn take_overdue(&mut self, now: Timestamp) -> Option<PendingRequest> {
        let (oldest, _) = self.requests.first_key_value()?;
        let overdue = now.0.checked_sub(oldest.0.0).is_some_and(|waited| waited >= self.after_ns);
        overdue.then(|| self.requests.pop_first().map(|(_, request)| request)).flatten()
    }
}

/// Most requests watched at once, some hundred bytes each. Beyond it new ones are not watched, which is counted.
const UNANSWERED_MAX: usize = 100_000;
