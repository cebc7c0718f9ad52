//! The HTTP layer's part of the loss ledger, and what a run that found nothing says.

use gannet_packet::{Audit, Violation};

gannet_packet::counters! {
    /// Sums over all connections of one worker.
    ///
    /// ```text
    ///   flows = HTTP/1 + HTTP/2 + TLS + other + joined in the middle of something + excluded by port
    ///           + without payload + cut (+ not known yet, while open)
    ///   requests = exchanges with a request;  final responses = exchanges with a response
    ///   bytes = those of messages + skipped + of tunnels, as far as delivered
    ///   exchanges = complete + truncated + gap + orphan requests + orphan responses + aborted + midstream
    /// ```
    #[expect(missing_docs, reason = "the names say it; see the identities above")]
    pub struct Counters {
        pub flows: u64,
        pub http1: u64,
        pub http2: u64,
        pub tls: u64,
        /// Something else, or nothing that could be recognised.
        pub other: u64,
        /// Began before the capture, and no start line was in what was seen of them: the middle of a long message, or
        /// something else.
        pub midstream_unknown: u64,
        /// Not looked at, because of `--ports`.
        pub excluded: u64,
        pub empty: u64,
        /// Not recognised in what the snapshot length has left of them.
        pub cut: u64,
        /// HTTP/1 connections of which only one direction was seen.
        pub one_sided: u64,
        /// HTTP/1 connections that began before the capture.
        pub midstream: u64,
        /// Connections that became tunnels (CONNECT, Upgrade), and the bytes in them.
        pub tunnels: u64,
        pub tunnel_bytes: u64,

        pub requests: u64,
        pub responses: u64,
        pub interim_responses: u64,
        /// Bytes on an HTTP/1 connection that belong to no message: garbage, what was skipped to find the next start
        /// line.
        pub skipped_bytes: u64,
        pub heads_cut: u64,
        /// What may have begun a message, and got no further than into its first line, which does not say enough:
        /// their bytes are skipped.
        pub start_lines_cut: u64,
        pub ambiguous_lengths: u64,

        pub exchanges: u64,
        pub complete: u64,
        pub truncated: u64,
        pub gap: u64,
        pub orphan_requests: u64,
        pub orphan_responses: u64,
        pub aborted: u64,
        pub exchanges_midstream: u64,
        /// Exchanges without a request, and without a response.
        pub without_request: u64,
        pub without_response: u64,
        /// Exchanges whose durations are not to be trusted.
        pub untrusted: u64,

        /// Requests given up, and responses paired early, because too many waited on their connection.
        pub pending_full: u64,
        /// Interim responses that were not kept with their exchange.
        pub interim_dropped: u64,
        /// Bodies of which less was kept than asked for, because too much was kept of others.
        pub bodies_cut: u64,
        /// Bodies that were kept in part, for whatever reason: longer than what was asked for, a hole, no room.
        pub bodies_partial: u64,
        /// Requests reported as being without an answer for the time asked for, and those not watched because too
        /// many were.
        pub pending_reported: u64,
        pub pending_unwatched: u64,

        /// Bytes of HTTP/1 connections that were delivered, and those of them that belong to messages.
        pub bytes: u64,
        pub message_bytes: u64,
        /// Of the tunnel bytes, those that were delivered before the flow was let go.
        pub tunnel_bytes_delivered: u64,
    }
}

impl Counters {
    /// The identities that do not hold. Empty once every flow has been closed, or the program has a defect.
    pub fn check(&self) -> Vec<Violation> {
        let mut audit = Audit::default();
        let known = self.http1 + self.http2 + self.tls + self.other;
        audit.hold(
            "flows = HTTP/1 + HTTP/2 + TLS + other + midstream unknown + excluded + empty + cut",
            self.flows,
            known + self.midstream_unknown + self.excluded + self.empty + self.cut,
        );
        let states = self.complete + self.truncated + self.gap + self.orphan_requests;
        let states = states + self.orphan_responses + self.aborted + self.exchanges_midstream;
        audit.hold("exchanges = sum of states", self.exchanges, states);
        audit.hold(
            "exchanges = requests + exchanges without a request",
            self.exchanges,
            self.requests + self.without_request,
        );
        audit.hold(
            "exchanges = final responses + exchanges without a response",
            self.exchanges,
            self.responses + self.without_response,
        );
        audit.hold(
            "bytes = messages + skipped + tunnels",
            self.bytes,
            self.message_bytes + self.skipped_bytes + self.tunnel_bytes_delivered,
        );
        audit.violations()
    }
}
