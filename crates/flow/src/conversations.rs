//! Who talks to whom without TCP: UDP, ICMP and whatever else IP carries, as `conn.log` has them.
//!
//! ```text
//!   Heard ──► index: key ──► slab of conversations ── list, the one heard last in front
//!   (a packet)                                             │
//!                 idle, or room is needed ◄── from the back┘ ──► FlowRecord
//! ```
//!
//! There are no streams here and nothing to put in order: a conversation is two sums of packets and bytes. Whether
//! one has ended by silence depends on its own times and those of the ticks alone, so that any number of tables over
//! the same input decides alike. The list makes room in constant time, and bounds what a flood of random addresses
//! takes.

use std::net::IpAddr;
use std::time::Duration;

use gannet_packet::{
    Audit, End, Endpoint, FlowKey, Frame, IpProtocol, Packet, Side, Surroundings, Timestamp, Transport,
};
use hashbrown::HashTable;

use crate::community::{answer_of, community_id_icmp};
use crate::{
    CloseReason, ConnectionId, ConnectionState, FlowRecord, Handshake, Moment, Peer, StreamFacts, Violation,
    community_id,
};

/// One packet of a conversation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heard {
    name: Name,
    side: Side,
    /// ICMP: type and code.
    icmp: Option<(u8, u8)>,
    payload_bytes: u64,
    ip_bytes: u64,
    interface: u32,
    moment: Moment,
    around: Surroundings,
    note: u8,
}

/// What a conversation is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name {
    key: FlowKey,
    /// ICMP messages that have no answers make a conversation for each direction.
    only_from: Option<Side>,
}

/// Bounds and times of a table of conversations.
#[derive(Clone, Copy, Debug)]
pub struct ConversationLimits {
    /// Conversations at once; beyond it the one that has been silent for longest is over.
    pub conversations: usize,
    /// One of which nothing was heard for this long is over.
    pub idle: Duration,
}

impl Default for ConversationLimits {
    /// - 262,144 conversations, 70 MB: a resolver's clients of a minute, at 4,000 new ones a second.
    /// - A minute: what Zeek waits for UDP and ICMP, and more than most address translators keep a mapping.
    fn default() -> Self {
        Self { conversations: 1 << 18, idle: Duration::from_secs(60) }
    }
}

gannet_packet::counters! {
    /// Sums over all conversations of one table.
    ///
    /// ```text
    ///   conversations opened = open now + idle + evicted + at the end
    /// ```
    #[expect(missing_docs, reason = "the names say it")]
    pub struct ConversationCounters {
        pub packets: u64,
        /// Of IP packets, headers included.
        pub bytes: u64,
        pub opened: u64,
        pub idle: u64,
        /// Over because the table was full.
        pub evicted: u64,
        pub at_end: u64,
    }
}

impl ConversationCounters {
    /// The identities that do not hold, of tables that together have `open` conversations.
    pub fn check(&self, open: u64) -> Vec<Violation> {
        let mut audit = Audit::default();
        audit.hold(
            "conversations opened = open + closed",
            self.opened,
            open + self.idle + self.evicted + self.at_end,
        );
        audit.violations()
    }
}

impl Heard {
    /// The packet's part in a conversation; `None` for TCP, for fragments, and for what has no whole IP header.
    pub fn new(frame: &Frame<'_>, packet: &Packet, position: u64) -> Option<Self> {
        let (Some((key, side)), Some(ip), End::Transport | End::Unknown) =
            (packet.flow, packet.ip, packet.end)
        else {
            return None;
        };
        let wire_len = u64::from(packet.payload.wire_len);
        let (name, side, icmp, payload_bytes) = match packet.transport {
            Transport::Tcp(_) => return None,
            Transport::Icmp { kind, code } | Transport::Icmpv6 { kind, code } => {
                let (name, side) = icmp_name(&key, side, kind, code);
                // Four more bytes belong to every message's header.
                (name, side, Some((kind, code)), wire_len.saturating_sub(ICMP_REST_LEN))
            }
            Transport::None | Transport::Udp | Transport::Ports => {
                (Name { key, only_from: None }, side, None, wire_len)
            }
        };
        let headers = u64::from(packet.payload.offset).saturating_sub(u64::from(ip.offset));
        Some(Self {
            name,
            side,
            icmp,
            payload_bytes,
            ip_bytes: headers + wire_len,
            interface: frame.interface,
            moment: Moment { time: frame.timestamp, position },
            around: packet.surroundings(),
            note: 0,
        })
    }

    /// With a note of what was seen in it, which goes into the conversation's record if it is the first that is not 0.
    pub fn noted(self, note: u8) -> Self {
        Self { note, ..self }
    }

    /// When it was captured.
    pub fn moment(&self) -> Moment {
        self.moment
    }
}

/// The types of ICMP messages stand where others have ports: that of a message with its sender, and with the receiver
/// that of the answer or, where there is none, the code.
fn icmp_name(key: &FlowKey, side: Side, kind: u8, code: u8) -> (Name, Side) {
    let answer = answer_of(key.protocol(), kind);
    let end = |side, port: u8| Endpoint { address: key.endpoint(side).address, port: port.into() };
    let (key, side) =
        FlowKey::new(end(side, kind), end(side.opposite(), answer.unwrap_or(code)), key.protocol());
    (Name { key, only_from: answer.is_none().then_some(side) }, side)
}

/// All conversations of one worker.
pub struct Conversations {
    limits: ConversationLimits,
    idle_ns: u64,
    seed: u64,
    counters: ConversationCounters,
    index: HashTable<u32>,
    slab: Vec<Conversation>,
    free: Vec<u32>,
    /// Heard of last, and the longest ago.
    front: u32,
    back: u32,
    /// Time of the last tick.
    ticked: Timestamp,
}

struct Conversation {
    name: Name,
    originator: Side,
    icmp: Option<(u8, u8)>,
    interface: u32,
    around: Surroundings,
    note: u8,
    /// The position of its first packet.
    id: u64,
    opened: Timestamp,
    last_seen: Timestamp,
    /// The tick before it was filed where it is in the list.
    filed: Timestamp,
    packets: [u64; 2],
    payload_bytes: [u64; 2],
    ip_bytes: [u64; 2],
    /// The one heard after it, and the one heard before it.
    ahead: u32,
    behind: u32,
}

impl Conversations {
    /// None so far. `seed` must not be guessable: keys are chosen by whoever sends packets.
    pub fn new(limits: ConversationLimits, seed: u64) -> Self {
        Self {
            limits,
            idle_ns: u64::try_from(limits.idle.as_nanos()).unwrap_or(u64::MAX),
            seed,
            counters: ConversationCounters::default(),
            index: HashTable::new(),
            slab: Vec::new(),
            free: Vec::new(),
            front: NONE,
            back: NONE,
            ticked: Timestamp::default(),
        }
    }

    /// Takes one packet. Whatever is over by that is given to `over`, with the moment.
    pub fn take(&mut self, packet: &Heard, over: &mut impl FnMut(FlowRecord, Moment)) {
        self.counters.packets += 1;
        self.counters.bytes += packet.ip_bytes;
        let now = packet.moment;
        let hash = packet.name.key.hash(self.seed);
        let slab = &self.slab;
        let found = self.index.find(hash, |&at| slab[at as usize].name == packet.name).copied();
        let at = match found {
            // Time stamps need not be in order.
            Some(at) if now.time.0.saturating_sub(self.slab[at as usize].last_seen.0) < self.idle_ns => at,
            found => {
                if let Some(old) = found {
                    self.counters.idle += 1;
                    self.close(old, CloseReason::Idle, now, over);
                }
                while self.open() >= self.limits.conversations.max(1) {
                    self.counters.evicted += 1;
                    self.close(self.back, CloseReason::Evicted, now, over);
                }
                self.insert(hash, packet)
            }
        };
        let conversation = &mut self.slab[at as usize];
        if now.time < conversation.opened {
            conversation.begin_earlier(packet);
        }
        let from = conversation.peer(packet.side) as usize;
        conversation.packets[from] += 1;
        conversation.payload_bytes[from] += packet.payload_bytes;
        conversation.ip_bytes[from] += packet.ip_bytes;
        conversation.last_seen = conversation.last_seen.max(now.time);
        if conversation.note == 0 {
            conversation.note = packet.note;
        }
        self.unlink(at);
        self.file(at);
    }

    /// Lets time pass: ends what has been silent for too long and 3 s more, so that a packet whose time stamp lies
    /// that far behind `now` finds its conversation as it would have without this call.
    pub fn tick(&mut self, now: Moment, over: &mut impl FnMut(FlowRecord, Moment)) {
        let patience = self.idle_ns.saturating_add(DISORDER_NS);
        let is_silent = |since: Timestamp| now.time.0.saturating_sub(since.0) >= patience;
        self.ticked = self.ticked.max(now.time);
        // The list is in the order of ticks. Packets come between them, so that the time itself has the last word.
        while self.back != NONE && is_silent(self.slab[self.back as usize].filed) {
            let at = self.back;
            if is_silent(self.slab[at as usize].last_seen) {
                self.counters.idle += 1;
                self.close(at, CloseReason::Idle, now, over);
            } else {
                self.unlink(at);
                self.file(at);
            }
        }
    }

    /// Ends all conversations.
    pub fn finish(&mut self, now: Moment, over: &mut impl FnMut(FlowRecord, Moment)) {
        while self.back != NONE {
            self.counters.at_end += 1;
            self.close(self.back, CloseReason::EndOfInput, now, over);
        }
    }

    /// Conversations that go on.
    pub fn open(&self) -> usize {
        self.slab.len() - self.free.len()
    }

    /// The sums so far.
    pub fn counters(&self) -> &ConversationCounters {
        &self.counters
    }

    fn insert(&mut self, hash: u64, packet: &Heard) -> u32 {
        let conversation = Conversation {
            name: packet.name,
            originator: packet.side,
            icmp: packet.icmp,
            interface: packet.interface,
            around: packet.around,
            note: 0,
            id: packet.moment.position,
            opened: packet.moment.time,
            last_seen: packet.moment.time,
            filed: self.ticked,
            packets: [0; 2],
            payload_bytes: [0; 2],
            ip_bytes: [0; 2],
            ahead: NONE,
            behind: NONE,
        };
        self.counters.opened += 1;
        let at = match self.free.pop() {
            Some(at) => {
                self.slab[at as usize] = conversation;
                at
            }
            None => {
                self.slab.push(conversation);
                (self.slab.len() - 1) as u32
            }
        };
        self.file(at);
        let (slab, seed) = (&self.slab, self.seed);
        self.index.insert_unique(hash, at, |&at| slab[at as usize].name.key.hash(seed));
        at
    }

    fn close(
        &mut self,
        at: u32,
        reason: CloseReason,
        now: Moment,
        over: &mut impl FnMut(FlowRecord, Moment),
    ) {
        self.unlink(at);
        let conversation = &self.slab[at as usize];
        let hash = conversation.name.key.hash(self.seed);
        if let Ok(entry) = self.index.find_entry(hash, |&other| other == at) {
            entry.remove();
        }
        self.free.push(at);
        over(conversation.record(reason), now);
    }

    /// Puts one that is not in the list in front.
    fn file(&mut self, at: u32) {
        let (front, ticked) = (self.front, self.ticked);
        let conversation = &mut self.slab[at as usize];
        (conversation.ahead, conversation.behind, conversation.filed) = (NONE, front, ticked);
        match front {
            NONE => self.back = at,
            front => self.slab[front as usize].ahead = at,
        }
        self.front = at;
    }

    fn unlink(&mut self, at: u32) {
        let Conversation { ahead, behind, .. } = self.slab[at as usize];
        match ahead {
            NONE => self.front = behind,
            ahead => self.slab[ahead as usize].behind = behind,
        }
        match behind {
            NONE => self.back = ahead,
            behind => self.slab[behind as usize].ahead = ahead,
        }
    }
}

impl Conversation {
    /// Takes note of a packet that passed the capture point before the first one that was taken, and may be of the
    /// end that was not heard first then: the order of arrival is not always that of the wire.
    #[cold]
    fn begin_earlier(&mut self, packet: &Heard) {
        self.opened = packet.moment.time;
        self.icmp = packet.icmp;
        if self.originator != packet.side {
            self.originator = packet.side;
            self.packets.swap(0, 1);
            self.payload_bytes.swap(0, 1);
            self.ip_bytes.swap(0, 1);
        }
    }

    fn peer(&self, side: Side) -> Peer {
        if side == self.originator { Peer::Originator } else { Peer::Responder }
    }

    fn record(&self, reason: CloseReason) -> FlowRecord {
        let key = &self.name.key;
        let end = |side| key.endpoint(side);
        let (originator, responder) = (end(self.originator), end(self.originator.opposite()));
        let streams = [0, 1].map(|from| StreamFacts {
            packets: self.packets[from],
            bytes: self.payload_bytes[from],
            ..StreamFacts::default()
        });
        let (state, history) = match (key.protocol(), self.packets[1]) {
            // What was answered, in Zeek's sense of the states.
            (IpProtocol::UDP, 0) => (ConnectionState::S0, "D"),
            (IpProtocol::UDP, _) => (ConnectionState::Sf, "Dd"),
            _ => (ConnectionState::Oth, ""),
        };
        FlowRecord {
            id: self.id,
            protocol: key.protocol(),
            connection_id: ConnectionId::new(key, [None; 2]),
            community_id: self.community_id(originator.address, responder.address),
            originator,
            responder,
            interface: self.interface,
            midstream: false,
            opened: self.opened,
            duration_ns: self.last_seen.0.saturating_sub(self.opened.0),
            reason,
            state,
            history: history.to_owned(),
            handshake: Handshake::default(),
            streams,
            stream_lens: self.payload_bytes,
            ip_bytes: self.ip_bytes,
            around: self.around,
            icmp: self.icmp,
            icmp_errors: None,
            note: self.note,
            tls: None,
        }
    }

    fn community_id(&self, originator: IpAddr, responder: IpAddr) -> String {
        let key = &self.name.key;
        match self.icmp {
            Some((kind, code)) => community_id_icmp(originator, responder, key.protocol(), kind, code, 0),
            None => community_id(key, 0),
        }
    }
}

/// No conversation.
const NONE: u32 = u32::MAX;

/// How far the time stamps of packets lie behind one another: rings hand blocks over 100 ms late at the most, and
/// mirrors and merged captures are seldom worse. Lower, a tick between two such packets cuts a conversation that is
/// not over; higher, those that are over are reported later.
const DISORDER_NS: u64 = 3_000_000_000;

/// Decoding passes type, code and checksum; "the header is eight bytes" (RFC 792, RFC 4443).
const ICMP_REST_LEN: u64 = 4;

#[cfg(test)]
mod tests;
