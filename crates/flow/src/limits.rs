//! Bounds and times of a table.

use std::time::Duration;

/// Bounds and times of a table.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Flows at once; beyond it old ones are evicted: first those that are over, then half-open ones, then by idle
    /// time.
    pub flows: usize,
    /// How many of them may be half-open: flows of which only one direction or only a SYN was seen. Beyond it the
    /// oldest of them is evicted, however much room there is.
    pub half_open_flows: usize,
    /// Memory of the table in bytes: entries, their index, what is rare, early bytes, and what the handler keeps of
    /// flows ([`Handler::memory`](crate::Handler::memory)). Beyond it flows are evicted, and early bytes refused.
    pub memory: usize,
    /// Memory for early bytes, over all flows: whole buffers, not just the bytes in them.
    pub held_bytes: usize,
    /// The same for one direction of one flow; beyond it the hole becomes a gap.
    pub held_bytes_per_stream: usize,
    /// A flow with nothing seen for this long is over.
    pub idle: Duration,
    /// The same for a flow of which only one direction or only a SYN was seen.
    pub half_open: Duration,
    /// How long a flow that is over is remembered, so that its late segments do not open a new one.
    pub linger: Duration,
    /// How long a hole that the receiver has acknowledged may still be filled: capture points see segments out of
    /// order.
    pub hole_patience: Duration,
    /// Packets that were captured twice are recognised and left. If not, they count as sent twice.
    pub deduplicate: bool,
}

impl Default for Limits {
    /// - 1,048,576 flows: 270 MB, used only when there are that many.
    /// - 131,072 of them half-open: at 1,000,000 SYNs a second a handshake has 130 ms to complete, and one that takes
    ///   longer is joined at its SYN+ACK. More lets a flood take more memory, less shortens that time.
    /// - 448 MiB altogether, so that early bytes find their room beside as many flows.
    /// - 64 MiB of early bytes, 8 MiB of one stream. A receiver holds no more than its receive buffer (Linux: 6 MiB,
    ///   `tcp_rmem`), and a sender no more than that in flight: at 10 Gbit/s a retransmission within 6 ms finds all
    ///   bytes behind the hole still held. Less makes gaps of losses that were repaired; more costs memory.
    /// - Idle after 10 minutes: longer than the keep-alive time of common servers and proxies (60 to 350 s).
    /// - Half-open after a minute: Linux gives up a SYN+ACK after 63 s.
    /// - Linger 10 s: retransmissions of a FIN come within seconds; ports are reused with a SYN, which needs no
    ///   waiting.
    /// - Holes 100 ms: more than any queue between two capture points, less than anybody waits for a record.
    fn default() -> Self {
        Self {
            flows: 1 << 20,
            half_open_flows: 1 << 17,
            memory: 448 << 20,
            held_bytes: 64 << 20,
            held_bytes_per_stream: 8 << 20,
            idle: Duration::from_secs(600),
            half_open: Duration::from_secs(60),
            linger: Duration::from_secs(10),
            hole_patience: Duration::from_millis(100),
            deduplicate: true,
        }
    }
}
