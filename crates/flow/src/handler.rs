//! What the table gives.

use crate::{Flow, Moment, Peer, Segment};

/// What becomes of the bytes of flows: implemented by protocol analysers.
///
/// For each flow: [`open`](Self::open) once, then [`data`](Self::data), [`gap`](Self::gap) and the rest in the order of
/// the stream (of each direction; the two directions interleave as captured), then [`close`](Self::close) once. A
/// closed flow is remembered for a while, until [`forget`](Self::forget).
pub trait Handler {
    /// What the handler keeps for each flow. Lies in the table's entry: keep it small, box what is large.
    type State;

    /// A flow has begun.
    fn open(&mut self, flow: &Flow) -> Self::State;

    /// A segment has been taken into a flow that is open; what it brings follows. For accounts of packets: an
    /// analyser of streams has no use for it.
    #[inline]
    fn taken(&mut self, state: &mut Self::State, flow: &Flow, segment: &Segment<'_>) {
        let _ = (state, flow, segment);
    }

    /// A segment of `from` without payload has acknowledged bytes that have not been seen. How much the two ends had
    /// then is told while it is of use; what segments with payload say of it comes with their [`Data`].
    fn unseen_acknowledged(&mut self, state: &mut Self::State, flow: &Flow, from: Peer, had: Had) {
        let _ = (state, flow, from, had);
    }

    /// The next bytes of one direction.
    fn data(&mut self, state: &mut Self::State, flow: &Flow, data: Data<'_>);

    /// The next bytes of one direction are missing and will not come.
    fn gap(&mut self, state: &mut Self::State, flow: &Flow, gap: Gap);

    /// Bytes that were delivered before have been sent again. Times of messages whose edges lie there are not what the
    /// receiver saw.
    fn retransmission(&mut self, state: &mut Self::State, flow: &Flow, again: Retransmission) {
        let _ = (state, flow, again);
    }

    /// One direction has ended with a FIN; everything before it has been delivered.
    fn end(&mut self, state: &mut Self::State, flow: &Flow, end: StreamEnd);

    /// The flow is over: nothing more comes for it. `now` is the packet that ended it or, for expiry, the tick.
    fn close(&mut self, state: Self::State, flow: &Flow, reason: CloseReason, now: Moment);

    /// A segment that belongs to a flow which is over and still remembered: the acknowledgement of the last FIN,
    /// something sent again.
    #[inline]
    fn late(&mut self, flow: &Flow, segment: &Segment<'_>) {
        let _ = (flow, segment);
    }

    /// A flow that is over is not remembered any longer: nothing late will be told of it.
    #[inline]
    fn forget(&mut self, flow: &Flow, now: Moment) {
        let _ = (flow, now);
    }

    /// Bytes that the states of all flows hold beside the entries they lie in. Counts against [`Limits::memory`], so
    /// that flows are evicted when it is too much; asked for each new flow, so it must be a sum that is kept.
    ///
    /// [`Limits::memory`]: crate::Limits::memory
    #[inline]
    fn memory(&self) -> usize {
        0
    }

    /// False if the handler has no use for further bytes of this flow: they are then neither held nor delivered,
    /// only counted. Asked after [`data`](Self::data) and [`gap`](Self::gap); false stays false. Of such a flow only
    /// [`close`](Self::close) is told.
    fn wants_more(&self, state: &Self::State) -> bool {
        let _ = state;
        true
    }
}

/// Bytes in stream order.
#[derive(Clone, Copy, Debug)]
pub struct Data<'a> {
    /// Who sent them.
    pub from: Peer,
    /// Where they start in the stream: 0 is the first byte behind the SYN, or the first byte seen.
    pub offset: u64,
    /// The bytes; never empty.
    pub bytes: &'a [u8],
    /// The packet that first carried them.
    pub seen: Moment,
    /// The packet that let them be delivered; `seen` itself unless they had to wait for earlier bytes.
    pub now: Moment,
    /// How many bytes of the opposite stream their sender had acknowledged when it sent them (offset in that stream);
    /// `None` without an ACK, or when that stream's start is not known.
    pub acknowledged: Option<u64>,
    /// They filled a hole: bytes behind them passed the capture point before. `seen` is then not the time of the first
    /// transmission. By time stamps: what arrived here behind its turn, and was in its turn on the wire, is not late.
    pub late: bool,
}

/// How much an end had received and sent when it sent a segment: offsets in both streams, each at or behind where that
/// stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Had {
    /// Before this offset it had received all that the other end sent.
    pub received: u64,
    /// Before this one it had sent all that it sent, the first time.
    pub sent: u64,
}

/// Missing bytes in stream order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Who sent them, or would have.
    pub from: Peer,
    /// Where they start in the stream.
    pub offset: u64,
    /// How many there are; never 0.
    pub len: u64,
    /// Why they are missing.
    pub reason: GapReason,
    /// The packet that decided it.
    pub now: Moment,
}

/// Why bytes are missing.
///
/// Cumulative acknowledgements are the witness. Selective ones (RFC 2018) are not asked: what they tell of a hole the
/// cumulative one tells a round trip later, unless the flow ends before, and the data receiver "is permitted to
/// discard data in its queue that has not been acknowledged to the data sender, even if the data has already been
/// reported in a SACK option", so that they prove less. To ask them, options of every acknowledgement would have to
/// be read. So of a flow that ends amid a loss what the capture missed behind that loss counts as lost, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum GapReason {
    /// The receiver acknowledged them, so they were on the wire: the capture missed them.
    NotCaptured,
    /// The segment was captured, but cut to the snapshot length.
    Cut,
    /// Nobody acknowledged them before the flow ended or too much waited for them.
    Lost,
}

/// Bytes that were sent again after they had been delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retransmission {
    /// Who sent them.
    pub from: Peer,
    /// Where they start in the stream.
    pub offset: u64,
    /// How many there are.
    pub len: u64,
    /// The packet.
    pub now: Moment,
}

/// The orderly end of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamEnd {
    /// Whose stream ended.
    pub from: Peer,
    /// Length of the stream in bytes.
    pub offset: u64,
    /// The packet with the FIN.
    pub seen: Moment,
    /// The packet that let the end be reached.
    pub now: Moment,
}

/// Why a flow is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CloseReason {
    /// Both directions have ended.
    Finished,
    /// One end reset it.
    Reset {
        /// The sender of the RST.
        by: Peer,
    },
    /// Nothing was seen of it for too long.
    Idle,
    /// The table was full.
    Evicted,
    /// Its ports were taken by a new flow.
    Reused,
    /// The capture ended.
    EndOfInput,
}
