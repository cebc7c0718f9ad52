//! The flow layer's part of the loss ledger.

gannet_packet::counters! {
    /// Sums over all flows of one table. Every identity below is tested.
    ///
    /// ```text
    ///   segments given = accepted + duplicates + out of window + without flow
    ///   payload bytes given (wire length) = delivered + cut + retransmitted + duplicate + out of window
    ///                                       + unwanted + refused + discarded + held
    ///   flows opened = flows open + closed, by reason
    /// ```
    #[expect(missing_docs, reason = "the names say it; see the identities above")]
    pub struct Counters {
        pub segments: u64,
        pub accepted: u64,
        /// Copies of one packet that the capture saw more than once.
        pub duplicates: u64,
        /// Neither in the window of the flow nor a beginning of another: late segments of an earlier flow, blind resets.
        pub out_of_window: u64,
        /// Segments without payload and without SYN of flows that are not known: nothing to open a flow for.
        pub without_flow: u64,

        pub bytes: u64,
        pub delivered_bytes: u64,
        /// On the wire, but cut off by the snapshot length.
        pub cut_bytes: u64,
        /// Seen before.
        pub retransmitted_bytes: u64,
        pub duplicate_bytes: u64,
        pub out_of_window_bytes: u64,
        /// Of flows whose handler wants no more.
        pub unwanted_bytes: u64,
        /// Early bytes that found the pool full.
        pub refused_bytes: u64,
        /// Held when the flow ended and not delivered.
        pub discarded_bytes: u64,
        /// Early bytes waiting for earlier ones now.
        pub held_bytes: u64,

        /// Bytes that never came: what handlers were told as gaps, cut bytes excluded.
        pub gap_bytes: u64,
        pub gaps: u64,
        pub conflicting_bytes: u64,
        pub out_of_order: u64,

        pub flows_opened: u64,
        pub flows_midstream: u64,
        pub flows_finished: u64,
        pub flows_reset: u64,
        pub flows_idle: u64,
        pub flows_evicted: u64,
        pub flows_reused: u64,
        pub flows_at_end: u64,
    }
}
