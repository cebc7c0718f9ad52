//! The flow layer's part of the loss ledger.

use gannet_packet::{Audit, Violation};

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
        /// Neither in the window of the flow nor a beginning of another: late segments of an earlier flow, blind
        /// resets.
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
        /// Held and then of no use: the handler wanted no more, or they lay behind the FIN. Also the text in a RST.
        pub discarded_bytes: u64,
        /// Early bytes waiting for earlier ones now.
        pub held_bytes: u64,

        /// Bytes that never came: what handlers were told as gaps, cut bytes excluded.
        pub gap_bytes: u64,
        /// How often handlers were told so.
        pub gaps: u64,
        /// Bytes given up because too much waited behind them: the bound of a stream, or of all.
        pub crowded_out_bytes: u64,
        pub conflicting_bytes: u64,
        pub out_of_order: u64,
        /// How often a flow went on elsewhere in both directions: the capture missed more than a window.
        pub resynchronised: u64,
        /// How often a flow that was over came again so soon that it counts as captured twice, whole as it was.
        pub copied_flows: u64,

        pub flows_opened: u64,
        pub flows_midstream: u64,
        pub flows_finished: u64,
        pub flows_reset: u64,
        pub flows_idle: u64,
        /// All that were evicted; the next are among them.
        pub flows_evicted: u64,
        /// Evicted half-open, or with one direction only.
        pub flows_evicted_half_open: u64,
        pub flows_reused: u64,
        pub flows_at_end: u64,

        /// ICMP errors about segments of known flows.
        pub icmp_errors: u64,
        /// ICMP errors about segments of no known flow, or not of its present.
        pub icmp_errors_without_flow: u64,
    }
}

impl Counters {
    /// The identities that do not hold, of one table or of the sum over several that have `open_flows` open flows.
    pub fn check(&self, open_flows: u64) -> Vec<Violation> {
        let mut audit = Audit::default();
        audit.hold(
            "segments given = sum of outcomes",
            self.segments,
            self.accepted + self.duplicates + self.out_of_window + self.without_flow,
        );
        audit.hold(
            "bytes given = sum of accounts",
            self.bytes,
            self.delivered_bytes
                + self.cut_bytes
                + self.retransmitted_bytes
                + self.duplicate_bytes
                + self.out_of_window_bytes
                + self.unwanted_bytes
                + self.refused_bytes
                + self.discarded_bytes
                + self.held_bytes,
        );
        audit.hold("flows opened = open + closed", self.flows_opened, open_flows + self.flows_closed());
        audit.violations()
    }

    /// Flows that are over, for whatever reason.
    pub fn flows_closed(&self) -> u64 {
        self.flows_finished
            + self.flows_reset
            + self.flows_idle
            + self.flows_evicted
            + self.flows_reused
            + self.flows_at_end
    }
}
