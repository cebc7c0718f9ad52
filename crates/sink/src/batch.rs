//! What workers hand over.

use gannet_http::Exchange;

/// Exchanges that one worker completed, in the order in which it did.
#[derive(Debug)]
pub struct Batch {
    /// The worker.
    pub worker: usize,
    /// Number of the input batch that they come from, the same for all workers (files); counts up by one, also for empty
    /// batches. Live it has no meaning.
    pub number: u64,
    /// The exchanges.
    pub exchanges: Vec<Exchange>,
}
