//! The fragments' part of the loss ledger.

use gannet_packet::{Audit, Violation};

use super::Refusal;

gannet_packet::counters! {
    /// Sums over all datagrams.
    ///
    /// ```text
    ///   fragments given = completed + duplicates + overlapping + cut + too many + full + impossible
    ///                     + expired + evicted + at end + held
    ///   datagrams begun = completed + overlapping + cut + too many + full + expired + evicted + at end + open
    /// ```
    #[expect(missing_docs, reason = "the names say it; see the identities above")]
    pub struct FragmentCounters {
        pub fragments: u64,
        /// Payload of the fragments, on the wire.
        pub bytes: u64,
        /// Fragments that became part of a datagram.
        pub completed: u64,
        /// Exact copies of fragments.
        pub duplicates: u64,
        /// Of datagrams in which fragments overlap or contradict each other about the end.
        pub overlapping: u64,
        /// Of datagrams of which a fragment was cut by the snapshot length.
        pub cut: u64,
        /// Of datagrams in too many pieces.
        pub too_many: u64,
        /// Of datagrams larger than all the memory.
        pub full: u64,
        /// With lengths that no fragment can have.
        pub impossible: u64,
        /// Of datagrams that were not completed in time.
        pub expired: u64,
        /// Of datagrams that made room for newer ones.
        pub evicted: u64,
        /// Of datagrams that were not complete when the capture ended.
        pub at_end: u64,
        /// Waiting now.
        pub held: u64,
        /// First fragments that end within the transport header, which no sender makes (RFC 1858). Among those above.
        pub tiny_first: u64,

        pub datagrams: u64,
        pub datagrams_completed: u64,
        pub datagrams_overlapping: u64,
        pub datagrams_cut: u64,
        pub datagrams_too_many: u64,
        pub datagrams_full: u64,
        pub datagrams_expired: u64,
        pub datagrams_evicted: u64,
        pub datagrams_at_end: u64,
        /// Bytes of completed datagrams, IP header included.
        pub completed_bytes: u64,
    }
}

impl FragmentCounters {
    /// The identities that do not hold, of one worker or of the sum over several that have `open` datagrams begun.
    pub fn check(&self, open: u64) -> Vec<Violation> {
        let mut audit = Audit::default();
        audit.hold(
            "fragments given = sum of accounts",
            self.fragments,
            self.completed
                + self.duplicates
                + self.overlapping
                + self.cut
                + self.too_many
                + self.full
                + self.impossible
                + self.expired
                + self.evicted
                + self.at_end
                + self.held,
        );
        audit.hold(
            "datagrams begun = sum of ends + open",
            self.datagrams,
            self.datagrams_completed
                + self.datagrams_overlapping
                + self.datagrams_cut
                + self.datagrams_too_many
                + self.datagrams_full
                + self.datagrams_expired
                + self.datagrams_evicted
                + self.datagrams_at_end
                + open,
        );
        audit.violations()
    }

    /// The account of fragments refused for this.
    pub(super) fn of_refusal(&mut self, refusal: Refusal) -> &mut u64 {
        match refusal {
            Refusal::Overlapping => &mut self.overlapping,
            Refusal::Cut => &mut self.cut,
            Refusal::TooMany => &mut self.too_many,
            Refusal::Impossible => &mut self.impossible,
            Refusal::Full => &mut self.full,
        }
    }

    /// The account of datagrams given up for this; a single fragment that is impossible leaves its datagram alone.
    pub(super) fn datagrams_of_refusal(&mut self, refusal: Refusal) -> &mut u64 {
        match refusal {
            Refusal::Overlapping | Refusal::Impossible => &mut self.datagrams_overlapping,
            Refusal::Cut => &mut self.datagrams_cut,
            Refusal::TooMany => &mut self.datagrams_too_many,
            Refusal::Full => &mut self.datagrams_full,
        }
    }
}
