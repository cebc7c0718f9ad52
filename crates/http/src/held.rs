//! Bytes of a flow of which it is not known yet what it is.
//!
//! Nearly every flow shows with its first segment what it is, and nothing of it is held. A start line that is cut by
//! the end of a segment is: until the verdict, with all that the analysis will want to know of its pieces. Of a flow
//! that was joined in the middle, segments that do not begin like a message are passed over.

use gannet_flow::{Data, Gap, GapReason, Had, Moment, Peer, Retransmission};

use crate::detect::{self, Verdict};
use crate::parse::Role;
use crate::prelude::{self, Answer, Prelude};

/// What is held of one flow.
#[derive(Debug)]
pub(crate) struct Held {
    /// Where each direction continues behind what was passed over; with pieces held, where they begin.
    pub(crate) next: [u64; 2],
    /// Bytes passed over.
    pub(crate) skipped: u64,
    /// Bytes are missing from the captured part of the flow.
    pub(crate) lost: bool,
    /// The SYN of a direction that sends was not seen: bytes may be missing before its first ones.
    pub(crate) unknown_before: bool,
    /// Some of them were cut off by the snapshot length.
    pub(crate) cut: bool,
    /// Directions that began like nothing that is known.
    pub(crate) strange: [bool; 2],
    /// The originator began with TLS, and nothing has come of the responder.
    pub(crate) greeted: bool,
    /// What is something begins within its segment.
    pub(crate) within: bool,
    /// What may be something begins so many bytes into the segment that is to be held.
    begins_at: usize,
    midstream: bool,
    /// Who began with a prelude, and what answers it.
    prelude: Option<(Peer, Answer)>,
    /// Directions whose prelude is over.
    begun: [bool; 2],
    bytes: [Vec<u8>; 2],
    pieces: Vec<Kept>,
    /// What acknowledgements of unseen bytes have told.
    unseen: Vec<(Peer, Had)>,
}

/// What happened, for the analysis that takes over.
pub(crate) enum Piece<'a> {
    Data(Data<'a>),
    Again(Retransmission),
}

#[derive(Debug)]
enum Kept {
    Data {
        from: Peer,
        offset: u64,
        len: usize,
        seen: Moment,
        now: Moment,
        acknowledged: Option<u64>,
        late: bool,
    },
    Again(Retransmission),
}

impl Held {
    pub(crate) fn new(midstream: bool) -> Self {
        Self {
            next: [0; 2],
            skipped: 0,
            lost: false,
            unknown_before: false,
            cut: false,
            strange: [false; 2],
            greeted: false,
            within: false,
            begins_at: 0,
            midstream,
            prelude: None,
            begun: [false; 2],
            bytes: [Vec::new(), Vec::new()],
            pieces: Vec::new(),
            unseen: Vec::new(),
        }
    }

    /// What is held of one direction.
    pub(crate) fn bytes(&self, from: Peer) -> &[u8] {
        &self.bytes[from as usize]
    }

    /// An end has received bytes that the capture has not.
    pub(crate) fn unseen_acknowledged(&mut self, from: Peer, had: Had) {
        if self.unseen.len() < UNSEEN_MAX {
            self.unseen.push((from, had));
        }
    }

    /// The same, for the analysis that takes over.
    pub(crate) fn unseen(&self) -> impl Iterator<Item = (Peer, Had)> {
        self.unseen.iter().copied()
    }

    /// Whether messages have to be looked for.
    pub(crate) fn search(&self) -> bool {
        self.midstream || self.lost || self.unknown_before
    }

    /// What `data` is, together with what is held of its direction.
    pub(crate) fn classify(&mut self, data: &Data<'_>) -> Verdict {
        let verdict = self.at_beginning(data);
        if !self.lost || self.midstream {
            return verdict;
        }
        // The connection's first bytes are missing, and with them where its messages begin. What looks like a request
        // within what its server sends is quoted there.
        let (role, expected) = match data.from {
            Peer::Originator => (Role::Requests, Verdict::Request),
            Peer::Responder => (Role::Responses, Verdict::Response),
        };
        let is_quoted = verdict == Verdict::Request && expected == Verdict::Response;
        if verdict != Verdict::Other && !is_quoted {
            return verdict;
        }
        let Some(at) = detect::find_start(role, data.bytes, false, false) else { return Verdict::Other };
        match detect::classify(&data.bytes[at..], true) {
            verdict if verdict == expected => {
                self.drop_pieces(data.from);
                self.within = true;
                verdict
            }
            // The end of the segment cuts it.
            Verdict::Unsure => {
                self.drop_pieces(data.from);
                self.begins_at = at;
                Verdict::Unsure
            }
            _ => Verdict::Other,
        }
    }

    /// The same, if it begins like something.
    fn at_beginning(&mut self, data: &Data<'_>) -> Verdict {
        let search = self.search();
        if self.strange[data.from as usize] && !search {
            return Verdict::Other;
        }
        let held = &mut self.bytes[data.from as usize];
        if held.is_empty() {
            return bounded(detect::classify(data.bytes, search), data.bytes);
        }
        let before = held.len();
        held.extend_from_slice(data.bytes);
        let verdict = bounded(detect::classify(held, search), held);
        // The last letters of a body and a request look like one of a strange method.
        let strange = verdict == Verdict::Request && !detect::is_common_request(held);
        held.truncate(before);
        let begins =
            || detect::is_common_request(data.bytes) && detect::request_line(data.bytes) == detect::Line::Yes;
        if search && (verdict == Verdict::Other || strange && begins()) {
            // What is held was no beginning. Perhaps this is one.
            self.drop_pieces(data.from);
            return bounded(detect::classify(data.bytes, search), data.bytes);
        }
        verdict
    }

    /// What `data`, which are nothing that is known, are together with what is held of their direction: a handshake
    /// that stands in front of another protocol, perhaps. [`Prelude::Whole`] says how many bytes of `data` are its
    /// last ones; they are passed over.
    pub(crate) fn prelude(&mut self, data: &Data<'_>) -> Prelude {
        let from = data.from;
        let direction = from as usize;
        if self.search() || self.begun[direction] || self.strange[direction] {
            return Prelude::No;
        }
        let held = &mut self.bytes[direction];
        let before = held.len();
        held.extend_from_slice(data.bytes);
        let found = match self.prelude {
            Some((client, answer)) if client != from => prelude::of_server(held, answer),
            _ => {
                let (found, answer) = prelude::of_client(held);
                if found != Prelude::No {
                    self.prelude = Some((from, answer));
                }
                found
            }
        };
        held.truncate(before);
        let Prelude::Whole(len) = found else { return found };
        let here = len.saturating_sub(before);
        self.drop_pieces(from);
        self.skipped += here as u64;
        self.next[direction] = data.offset + here as u64;
        self.begun[direction] = true;
        Prelude::Whole(here)
    }

    /// Holds `data`.
    pub(crate) fn push(&mut self, data: &Data<'_>) {
        let begins_at = std::mem::take(&mut self.begins_at);
        let Data { from, seen, now, acknowledged, late, .. } = *data;
        let (bytes, offset) = (&data.bytes[begins_at..], data.offset + begins_at as u64);
        self.skipped += begins_at as u64;
        let held = &mut self.bytes[from as usize];
        if held.is_empty() {
            self.next[from as usize] = offset;
        }
        held.extend_from_slice(bytes);
        self.pieces.push(Kept::Data { from, offset, len: bytes.len(), seen, now, acknowledged, late });
    }

    /// How many pieces are held.
    pub(crate) fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// How many bytes of a direction are held.
    pub(crate) fn held_bytes(&self, from: Peer) -> u64 {
        self.bytes[from as usize].len() as u64
    }

    /// Bytes that it takes.
    pub(crate) fn memory(&self) -> usize {
        let bytes: usize = self.bytes.iter().map(Vec::capacity).sum();
        let unseen = self.unseen.capacity() * size_of::<(Peer, Had)>();
        size_of::<Self>() + bytes + self.pieces.capacity() * size_of::<Kept>() + unseen
    }

    /// Passes over `data`; false if it is time to give up.
    pub(crate) fn pass(&mut self, data: &Data<'_>) -> bool {
        self.drop_pieces(data.from);
        self.skipped += data.bytes.len() as u64;
        self.next[data.from as usize] = data.offset + data.bytes.len() as u64;
        self.strange[data.from as usize] = true;
        if self.search() {
            self.skipped < SKIPPED_MAX
        } else {
            self.strange != [true; 2] && self.skipped < STRANGE_MAX
        }
    }

    /// Passes over the greeting of TLS: a server that speaks plain HTTP refuses it in HTTP. False if there is no
    /// answer to be waited for that would tell.
    pub(crate) fn greet(&mut self, data: &Data<'_>) -> bool {
        self.greeted = data.from == Peer::Originator && !self.search();
        self.greeted && self.pass(data)
    }

    /// Bytes are missing: what is held before them is no beginning of anything.
    pub(crate) fn gap(&mut self, gap: &Gap) {
        self.lost = true;
        self.cut |= gap.reason == GapReason::Cut;
        self.drop_pieces(gap.from);
        self.next[gap.from as usize] = gap.offset.saturating_add(gap.len);
    }

    /// Bytes were sent again.
    pub(crate) fn again(&mut self, again: Retransmission) {
        if self.pieces.len() < PIECES_MAX {
            self.pieces.push(Kept::Again(again));
        }
    }

    /// Gives everything that is held, in order.
    pub(crate) fn replay(&self, mut give: impl FnMut(Piece<'_>)) {
        let mut at = [0; 2];
        for piece in &self.pieces {
            match *piece {
                Kept::Data { from, offset, len, seen, now, acknowledged, late } => {
                    let start = at[from as usize];
                    at[from as usize] += len;
                    let bytes = self.bytes[from as usize].get(start..start + len).unwrap_or_default();
                    give(Piece::Data(Data { from, offset, bytes, seen, now, acknowledged, late }));
                }
                Kept::Again(again) => give(Piece::Again(again)),
            }
        }
    }

    fn drop_pieces(&mut self, from: Peer) {
        let dropped = self.held_bytes(from);
        self.skipped += dropped;
        self.next[from as usize] += dropped;
        self.bytes[from as usize].clear();
        self.pieces.retain(|piece| match piece {
            Kept::Data { from: theirs, .. } => *theirs != from,
            Kept::Again(again) => again.from != from,
        });
    }
}

/// A start line that is still not whole after so many bytes is HTTP's if its method is, else somebody else's.
fn bounded(verdict: Verdict, bytes: &[u8]) -> Verdict {
    if verdict != Verdict::Unsure || bytes.len() < HELD_MAX {
        return verdict;
    }
    let method = bytes.split(|&byte| byte == b' ').next().unwrap_or_default();
    if detect::is_common(method.trim_ascii_start()) { Verdict::Request } else { Verdict::Other }
}

/// Most bytes held of one direction. A server should take request lines of 8000 bytes (RFC 9112, section 3): longer
/// ones are found by their method.
const HELD_MAX: usize = 8_192;
/// Most acknowledgements of unseen bytes that are kept: more than what the first messages of a connection have.
const UNSEEN_MAX: usize = 8;
/// Most notes of bytes sent again, and of pieces.
const PIECES_MAX: usize = 2 * HELD_MAX;
/// Bytes passed over before a flow joined in the middle is given up: a response of this size may be under way, and
/// looking costs some nanoseconds for each segment.
const SKIPPED_MAX: u64 = 64 << 20;
/// Bytes of something unknown that are passed over before its flow is given up because the other direction keeps
/// silent: more than the head that a server takes before it refuses it. Most protocols have an answer to a few
/// hundred.
const STRANGE_MAX: u64 = 64 << 10;
