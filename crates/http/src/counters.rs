//! The HTTP layer's part of the loss ledger, and what a run that found nothing says.

gannet_packet::counters! {
    /// Sums over all connections of one worker.
    ///
    /// ```text
    ///   flows = HTTP/1 + HTTP/2 + TLS + other + excluded by port + without payload + not known yet
    ///   requests = exchanges with a request;  final responses = exchanges with a response
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
        /// Not looked at, because of `--ports`.
        pub excluded: u64,
        pub empty: u64,
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
        /// Bytes on an HTTP/1 connection that belong to no message: garbage, what was skipped to find the next start line.
        pub skipped_bytes: u64,
        pub heads_cut: u64,
        pub ambiguous_lengths: u64,

        pub exchanges: u64,
        pub complete: u64,
        pub truncated: u64,
        pub gap: u64,
        pub orphan_requests: u64,
        pub orphan_responses: u64,
        pub aborted: u64,
        pub exchanges_midstream: u64,
        /// Exchanges whose durations are not to be trusted.
        pub untrusted: u64,
    }
}
