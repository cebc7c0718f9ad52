//! What must happen, sentence by sentence: each has at least one case, and each case says which it is about.

/// A name, and what must happen.
pub(super) struct Statement {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
    /// Where it is tested instead, if no file of packets can.
    pub(super) elsewhere: Option<&'static str>,
}

const fn must(name: &'static str, text: &'static str) -> Statement {
    Statement { name, text, elsewhere: None }
}

pub(super) const STATEMENTS: &[Statement] = &[
    must("head-split", "A head is one head wherever segments cut it: in its first line, in its empty line."),
    must("bare-lf", "A line may end in LF alone."),
    must("blank-lines", "Empty lines before a start line are passed over."),
    must("folded", "A folded field is one field, joined with one blank, and that is said."),
    must("reason-phrase", "A reason phrase may be missing, with the blank before it or without."),
    must("odd-status", "Any status of three digits is a status."),
    must(
        "odd-start-lines",
        "Where a message is due, a first line with an odd version, status or blanks begins one, flagged.",
    ),
    must(
        "half-start-lines",
        "A first line that goes no further is reported if it says what was asked for or answered, and counted if not.",
    ),
    must("methods", "Any token is a method."),
    must("versions", "HTTP/0.9 and HTTP/1.0 are understood, in their own terms of where a body ends."),
    must(
        "coding-wins",
        "Transfer-Encoding counts, Content-Length beside it does not, and the message is flagged.",
    ),
    must(
        "codings",
        "`chunked` counts in any case, behind other codings, and in HTTP/1.0; what does not end in it has no end of its own.",
    ),
    must("equal-lengths", "Content-Length stated twice with one value is that value, flagged."),
    must(
        "differing-lengths",
        "Of different values the first is kept, flagged, and verified by what follows.",
    ),
    must("chunk-extensions", "Chunk extensions are passed over."),
    must(
        "chunk-sizes",
        "Chunk sizes are in hexadecimal of either case, with zeros in front or blanks around; one that does not fit is none.",
    ),
    must("chunk-end", "What looks like the last chunk at the end of a segment is not the end of the body."),
    must("trailers", "Trailers are kept and shown, announced or not."),
    must(
        "no-body",
        "Answers to HEAD, 1xx, 204, 304 and 2xx to CONNECT have no body, whatever length they state.",
    ),
    must(
        "close-delimited",
        "An answer without a length ends with FIN (complete) or is cut off by RST, time-out, eviction or the end of the capture (not complete); which of them is said.",
    ),
    must("request-without-length", "A request without a length has no body."),
    must("request-goes-on", "The body of a request goes on after the final answer."),
    must(
        "limits",
        "A head beyond the limits of bytes or fields, or a long target, is counted and cut, and framing goes on.",
    ),
    must("pipelining", "The n-th final answer is the n-th request's, also with many in one segment."),
    must(
        "pipelining-bounded",
        "The queue of requests without an answer is bounded: beyond it the oldest is reported without one.",
    ),
    must("interim", "1xx other than 101 answers nothing; statuses and times are kept apart."),
    must("continue", "A request that waits for 100 is one request; a second 100 is flagged."),
    must(
        "early-answer",
        "An answer may begin before its request has ended: `server` is null, and that is flagged.",
    ),
    must("orphan-answer", "An answer without a request is an orphan, with the reason."),
    must(
        "loss-pairing",
        "After bytes of unknown content are missing, no count is trusted: acknowledgements are the witness, and `pair_confidence` says how sure it is.",
    ),
    must(
        "connect",
        "After 2xx to CONNECT the connection is a tunnel: what is in it, its bytes and its duration are told.",
    ),
    must(
        "preludes",
        "A handshake of SOCKS or a header of the PROXY protocol in front of HTTP is passed over.",
    ),
    must(
        "upgrade",
        "After 101 that was asked for the connection is another protocol's; one that was not asked for changes nothing.",
    ),
    must("upgrade-ignored", "An Upgrade that the server ignores changes nothing."),
    must("h2c", "`Upgrade: h2c`: the request of HTTP/1 is stream 1."),
    must(
        "websocket",
        "A WebSocket connection is one long record with counts of its frames; its lifetime is no duration of a request.",
    ),
    must(
        "midstream",
        "Joined in the middle, each direction waits for a start line; that is said, and times are withheld until both are in step.",
    ),
    must(
        "gap-in-body",
        "A hole inside a body of known length, or inside a chunk, is counted, and framing goes on.",
    ),
    must(
        "gap-in-framing",
        "A hole in a head or in a chunk's size line ends the message as broken; the connection goes on at the next start line.",
    ),
    must("resync", "Where the next message begins depends on the bytes, not on how they were cut."),
    must(
        "what-is-a-gap",
        "A hole is one when the peer has acknowledged past it and patience is over; an acknowledgement captured before its bytes makes none.",
    ),
    must(
        "overlaps",
        "Of bytes that were sent twice the first copy counts, also where the second is longer or different.",
    ),
    must(
        "probes",
        "Keep-alive and zero-window probes, data in a SYN and urgent bytes neither enter a stream twice nor count as sent again; a zero window is told apart.",
    ),
    must(
        "port-reuse",
        "A new SYN begins a new connection, and late segments of the old one do not leak into it.",
    ),
    must("sequence-wrap", "Sequence numbers wrap within a body."),
    must(
        "reset",
        "RST within a body ends it as aborted, by whom, with the bytes so far; one outside of the window ends nothing, and one whose sender goes on was none.",
    ),
    must("fin-before-data", "A FIN with data still missing waits for them."),
    must(
        "half-captured",
        "Of a connection of which one direction was captured, requests are reported alone, after a time-out or with the end.",
    ),
    must(
        "same-packet-twice",
        "A packet that was captured twice counts once, also with a tag on one of the copies.",
    ),
    must("offload", "Segments of 64 KiB and wrong checksums are taken."),
    must(
        "fragments-and-tunnels",
        "Fragments and tunnels reach the same worker as the rest of their connection.",
    ),
    must("decoding", "gzip, deflate (zlib and raw), br and zstd are decoded, also stacked."),
    must("decoding-bounds", "What decodes to more than the bound is cut, and that is said."),
    must("sizes", "Sizes on the wire and decoded are both told."),
    must("gap-in-coding", "A hole inside compressed data ends decoding, not framing."),
    must("raw-bytes", "Bytes stay as they are: JSON escapes what is not UTF-8 so that it can be undone."),
    must("ranges", "206 keeps its Content-Range, one of several ranges its content type."),
    Statement {
        name: "aux-vlan",
        text: "The VLAN tag of a packet captured live is beside the frame, not in it.",
        elsewhere: Some("`tests/live/frames.rs`: no file can have it"),
    },
];
