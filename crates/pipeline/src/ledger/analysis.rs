//! The analysis' side of the ledger: where each packet went that was looked at, and what streams and exchanges came of
//! them.
//!
//! ```text
//!   processed ──┬── stream            taken into its flow
//!               ├── duplicate         the same packet, captured twice
//!               ├── out of window     not of its flow's present
//!               ├── without flow      an end or acknowledgement of a flow that is not known
//!               ├── conversation      UDP, ICMP and others, where flows are recorded
//!               ├── other protocol    not TCP
//!               ├── fragment          of an IP datagram; what became of it the fragments' own accounts tell
//!               ├── cut               the snapshot length ends within its headers
//!               ├── malformed         by reason
//!               ├── mailbox full      its flow's worker was busy, live with several workers
//!               ├── after limit       beyond -c
//!               └── unreadable        could not be read out of its block
//! ```
//!
//! Datagrams that were put together from fragments are no packets: what became of them has accounts of its own, by the
//! same names. A packet that one worker takes and another looks at is processed by the former and in an account of the
//! latter: the identities are those of all workers together.

use gannet_flow::{ConversationCounters, FragmentCounters, Outcome};
use gannet_packet::{Audit, End, Malformed, TunnelKind};
use gannet_sink::EventKind;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::Amount;
use crate::mailbox;

/// The final account of a packet that was analysed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
#[expect(missing_docs, reason = "the drawing above says what each is")]
pub enum Analysed {
    Stream,
    Duplicate,
    OutOfWindow,
    WithoutFlow,
    Conversation,
    OtherProtocol,
    Fragment,
    Cut,
    Malformed,
    MailboxFull,
    AfterLimit,
    Unreadable,
}

impl Analysed {
    /// Every account, in the order of the report.
    pub const ALL: [Self; 12] = [
        Self::Stream,
        Self::Duplicate,
        Self::OutOfWindow,
        Self::WithoutFlow,
        Self::Conversation,
        Self::OtherProtocol,
        Self::Fragment,
        Self::Cut,
        Self::Malformed,
        Self::MailboxFull,
        Self::AfterLimit,
        Self::Unreadable,
    ];

    /// The account of a packet that the flow table has taken or refused.
    pub fn of_outcome(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Accepted => Self::Stream,
            Outcome::Duplicate => Self::Duplicate,
            Outcome::OutOfWindow => Self::OutOfWindow,
            Outcome::WithoutFlow => Self::WithoutFlow,
        }
    }

    /// The account of a packet in which no TCP segment was found, by why decoding ended.
    pub fn of_end(end: End) -> Self {
        match end {
            End::Transport | End::Unknown => Self::OtherProtocol,
            End::Fragment => Self::Fragment,
            End::Cut => Self::Cut,
            End::Malformed(_) => Self::Malformed,
        }
    }

    /// The key in the JSON report.
    pub fn key(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Duplicate => "duplicate",
            Self::OutOfWindow => "out_of_window",
            Self::WithoutFlow => "without_flow",
            Self::Conversation => "conversation",
            Self::OtherProtocol => "other_protocol",
            Self::Fragment => "fragment",
            Self::Cut => "cut",
            Self::Malformed => "malformed",
            Self::MailboxFull => "mailbox_full",
            Self::AfterLimit => "after_limit",
            Self::Unreadable => "unreadable",
        }
    }

    /// The words of the text report, after a number of packets.
    pub fn words(self) -> &'static str {
        match self {
            Self::Stream => "of TCP streams",
            Self::Duplicate => "captured twice",
            Self::OutOfWindow => "outside of the window of their TCP stream",
            Self::WithoutFlow => "of TCP connections that began before the capture and said nothing since",
            Self::Conversation => "of other conversations (UDP, ICMP ...)",
            Self::OtherProtocol => "of other protocols",
            Self::Fragment => "that are IP fragments",
            Self::Cut => "whose headers are cut by the snapshot length",
            Self::Malformed => "malformed",
            Self::MailboxFull => "not analysed, the worker of their connection was too busy",
            Self::AfterLimit => "not analysed, beyond the count given with -c",
            Self::Unreadable => "not analysed, unreadable",
        }
    }
}

/// What one worker's analysis has done, or the sum over all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnalysisLedger {
    accounts: [Amount; Analysed::ALL.len()],
    /// Of datagrams.
    datagrams: [Amount; Analysed::ALL.len()],
    malformed: [u64; Malformed::ALL.len()],
    /// Packets in tunnels that were left closed; among those of other protocols.
    unopened: [u64; TunnelKind::ALL.len()],
    /// Segments, errors and parts of conversations given to the workers of their flows, and taken from others.
    pub handed_over: u64,
    /// See `handed_over`.
    pub taken_over: u64,
    /// ICMP errors whose packets are in an account, and of which the worker of the connection that they are about was
    /// not told: it was too busy.
    pub errors_shed: u64,
    /// Connections that ended in order and whose records lack what came behind the end, because too many were waiting
    /// for that.
    pub reported_at_once: u64,
    /// The fragments.
    pub fragments: FragmentCounters,
    /// The flow layer.
    pub flows: gannet_flow::Counters,
    /// The HTTP layer.
    pub http: gannet_http::Counters,
    /// Heads that were told of as httpry sees them.
    pub raw_heads: u64,
    /// Events that are not reported because they are not selected, by kind: of exchanges all, of others those that an
    /// output would have taken.
    pub not_selected: [u64; EventKind::ALL.len()],
    /// Flows that are open now.
    pub open_flows: u64,
    /// Conversations without TCP; `None` in a run that does not record flows.
    pub conversations: Option<ConversationCounters>,
    /// Those that go on now.
    pub open_conversations: u64,
}

impl AnalysisLedger {
    /// Adds a packet to its account.
    #[inline]
    pub fn add(&mut self, account: Analysed, packets: u64, bytes: u64) {
        let amount = &mut self.accounts[account as usize];
        amount.packets += packets;
        amount.bytes += bytes;
    }

    /// Adds a packet that ended like that without a TCP segment.
    #[inline]
    pub fn add_end(&mut self, end: End, bytes: u64) {
        self.add_end_to(end, mailbox::Account::Packet(bytes));
    }

    /// Adds a packet or a datagram to its account.
    pub(crate) fn add_to(&mut self, account: Analysed, what: mailbox::Account) {
        match what {
            mailbox::Account::Packet(bytes) => self.add(account, 1, bytes),
            mailbox::Account::Datagram(bytes) => self.add_datagram(account, bytes),
            mailbox::Account::Told => self.errors_shed += u64::from(account == Analysed::MailboxFull),
        }
    }

    /// Adds what ended like that without a TCP segment.
    pub(crate) fn add_end_to(&mut self, end: End, what: mailbox::Account) {
        self.add_to(Analysed::of_end(end), what);
        if let (End::Malformed(reason), false) = (end, what == mailbox::Account::Told) {
            self.malformed[reason as usize] += 1;
        }
    }

    /// Ends of flows that were reported, conversations included; `None` in a run that does not record flows.
    pub fn flow_ends(&self) -> Option<u64> {
        let others = self.conversations?;
        Some(self.flows.flows_closed() + others.opened - self.open_conversations)
    }

    /// Events of a kind that outputs may take: those that are selected.
    pub fn events(&self, kind: EventKind) -> u64 {
        let all = match kind {
            EventKind::Exchange => self.http.exchanges,
            EventKind::RequestHead | EventKind::Request => self.http.requests,
            EventKind::InterimHead => self.http.interim_responses,
            EventKind::ResponseHead | EventKind::Response => self.http.responses,
            EventKind::Pending => self.http.pending_reported,
            EventKind::Flow => self.flow_ends().unwrap_or(0),
            EventKind::RawHead => self.raw_heads,
        };
        all - self.not_selected[kind as usize]
    }

    /// Adds a datagram to its account.
    #[inline]
    pub fn add_datagram(&mut self, account: Analysed, bytes: u64) {
        let amount = &mut self.datagrams[account as usize];
        amount.packets += 1;
        amount.bytes += bytes;
    }

    /// A packet was left in a tunnel of this kind.
    pub fn add_unopened(&mut self, kind: TunnelKind) {
        self.unopened[kind as usize] += 1;
    }

    /// The datagrams that were put together and ended there.
    pub fn datagrams(&self, account: Analysed) -> Amount {
        self.datagrams[account as usize]
    }

    /// The kinds of tunnels that were left closed, and how many packets in them.
    pub fn unopened(&self) -> impl Iterator<Item = (TunnelKind, u64)> {
        TunnelKind::ALL.into_iter().zip(self.unopened).filter(|(_, count)| *count != 0)
    }

    /// Looks at the identities of a run that has ended, of all workers together.
    pub(super) fn audit(&self, audit: &mut Audit) {
        let packets = |account: Analysed| self.account(account).packets;
        let datagrams = |account: Analysed| self.datagrams(account).packets;
        let segments = [Analysed::Stream, Analysed::Duplicate, Analysed::OutOfWindow, Analysed::WithoutFlow];
        let segments = segments.map(|account| packets(account) + datagrams(account)).into_iter().sum();
        audit.hold("segments = packets and datagrams given to the flow table", self.flows.segments, segments);
        let fragments = packets(Analysed::Fragment) + datagrams(Analysed::Fragment);
        audit.hold(
            "fragments = packets and datagrams that are fragments",
            self.fragments.fragments,
            fragments,
        );
        let ends = self.datagrams.iter().map(|amount| amount.packets).sum();
        audit.hold("datagrams put together = sum of accounts", self.fragments.datagrams_completed, ends);
        audit.hold("segments handed over = taken over", self.handed_over, self.taken_over);
        audit.extend(self.fragments.check(0));
        audit.extend(self.flows.check(self.open_flows));
        audit.extend(self.http.check());
        if let Some(conversations) = &self.conversations {
            audit.hold(
                "packets and datagrams of conversations = packets given to them",
                packets(Analysed::Conversation) + datagrams(Analysed::Conversation),
                conversations.packets,
            );
            audit.extend(conversations.check(self.open_conversations));
        }
    }

    /// What is in an account.
    pub fn account(&self, account: Analysed) -> Amount {
        self.accounts[account as usize]
    }

    /// The sum over all accounts.
    pub fn sum(&self) -> Amount {
        let mut sum = Amount::default();
        for amount in self.accounts {
            sum += amount;
        }
        sum
    }

    /// The accounts that are not empty, in the order of the report.
    pub fn used(&self) -> impl Iterator<Item = (Analysed, Amount)> {
        Analysed::ALL.into_iter().zip(self.accounts).filter(|(_, amount)| amount.packets != 0)
    }

    /// The reasons for which packets were malformed, and how many were.
    pub fn malformed(&self) -> impl Iterator<Item = (Malformed, u64)> {
        Malformed::ALL.into_iter().zip(self.malformed).filter(|(_, count)| *count != 0)
    }
}

impl std::ops::AddAssign<&Self> for AnalysisLedger {
    fn add_assign(&mut self, other: &Self) {
        for (sum, amount) in self.accounts.iter_mut().zip(other.accounts) {
            *sum += amount;
        }
        for (sum, amount) in self.datagrams.iter_mut().zip(other.datagrams) {
            *sum += amount;
        }
        for (sum, count) in self.malformed.iter_mut().zip(other.malformed) {
            *sum += count;
        }
        for (sum, count) in self.unopened.iter_mut().zip(other.unopened) {
            *sum += count;
        }
        self.handed_over += other.handed_over;
        self.taken_over += other.taken_over;
        self.errors_shed += other.errors_shed;
        self.reported_at_once += other.reported_at_once;
        self.fragments += other.fragments;
        self.flows += other.flows;
        self.http += other.http;
        self.raw_heads += other.raw_heads;
        for (sum, count) in self.not_selected.iter_mut().zip(other.not_selected) {
            *sum += count;
        }
        self.open_flows += other.open_flows;
        self.open_conversations += other.open_conversations;
        if let Some(counters) = other.conversations {
            *self.conversations.get_or_insert_default() += counters;
        }
    }
}

impl Serialize for AnalysisLedger {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("packets", &AccountsJson(self, |amount| amount.packets))?;
        map.serialize_entry("bytes", &AccountsJson(self, |amount| amount.bytes))?;
        map.serialize_entry("malformed", &MalformedJson(self))?;
        map.serialize_entry("datagrams", &DatagramsJson(self))?;
        map.serialize_entry("fragments", &FieldsJson(&self.fragments.fields()))?;
        map.serialize_entry("tunnels_unopened", &UnopenedJson(self))?;
        map.serialize_entry("handed_over", &self.handed_over)?;
        map.serialize_entry("taken_over", &self.taken_over)?;
        map.serialize_entry("errors_shed", &self.errors_shed)?;
        map.serialize_entry("flows", &FieldsJson(&self.flows.fields()))?;
        match &self.conversations {
            Some(counters) => {
                map.serialize_entry("reported_at_once", &self.reported_at_once)?;
                map.serialize_entry("conversations", &FieldsJson(&counters.fields()))?;
            }
            None => {
                map.serialize_entry("http", &FieldsJson(&self.http.fields()))?;
                let not_selected = self.not_selected[EventKind::Exchange as usize];
                let selection =
                    [("selected", self.events(EventKind::Exchange)), ("not_selected", not_selected)];
                map.serialize_entry("selection", &FieldsJson(&selection))?;
            }
        }
        map.end()
    }
}

struct AccountsJson<'a>(&'a AnalysisLedger, fn(Amount) -> u64);

impl Serialize for AccountsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let column = self.1;
        serializer.collect_map(Analysed::ALL.map(|account| (account.key(), column(self.0.account(account)))))
    }
}

/// What became of the datagrams that were put together: accounts that are not empty.
struct DatagramsJson<'a>(&'a AnalysisLedger);

impl Serialize for DatagramsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let accounts = Analysed::ALL.map(|account| (account.key(), self.0.datagrams(account).packets));
        serializer.collect_map(accounts.into_iter().filter(|(_, count)| *count != 0))
    }
}

struct UnopenedJson<'a>(&'a AnalysisLedger);

impl Serialize for UnopenedJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.unopened().map(|(kind, count)| (kind.name(), count)))
    }
}

struct FieldsJson<'a>(&'a [(&'static str, u64)]);

impl Serialize for FieldsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

struct MalformedJson<'a>(&'a AnalysisLedger);

impl Serialize for MalformedJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.malformed().map(|(reason, count)| (reason.name(), count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_have_their_own_place_and_words() {
        let mut words = Vec::new();
        for (index, account) in Analysed::ALL.into_iter().enumerate() {
            assert_eq!(account as usize, index);
            let mut ledger = AnalysisLedger::default();
            ledger.add(account, 3, 30);
            assert_eq!(ledger.sum(), Amount { packets: 3, bytes: 30 });
            assert_eq!(ledger.used().collect::<Vec<_>>(), [(account, Amount { packets: 3, bytes: 30 })]);
            words.extend([account.words(), account.key()]);
        }
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), 2 * Analysed::ALL.len() - 1, "only `malformed` is its own word");
    }

    #[test]
    fn sums_are_sums_of_everything() {
        let mut one = AnalysisLedger::default();
        one.add(Analysed::Stream, 1, 60);
        one.add_end(End::Malformed(Malformed::TcpHeader), 40);
        one.flows.flows_opened = 2;
        one.http.requests = 3;
        (one.open_flows, one.raw_heads) = (1, 8);
        (one.http.exchanges, one.not_selected[EventKind::Exchange as usize]) = (9, 4);
        one.add_datagram(Analysed::Stream, 3_000);
        one.add_unopened(TunnelKind::Geneve);
        (one.handed_over, one.taken_over, one.fragments.held) = (5, 6, 7);
        let mut sum = one.clone();
        sum += &one;
        assert_eq!(sum.sum(), Amount { packets: 4, bytes: 200 });
        assert_eq!(sum.malformed().collect::<Vec<_>>(), [(Malformed::TcpHeader, 2)]);
        assert_eq!((sum.flows.flows_opened, sum.http.requests, sum.open_flows), (4, 6, 2));
        assert_eq!(sum.datagrams(Analysed::Stream), Amount { packets: 2, bytes: 6_000 });
        assert_eq!(sum.unopened().collect::<Vec<_>>(), [(TunnelKind::Geneve, 2)]);
        assert_eq!(sum.events(EventKind::Exchange), 10);
        assert_eq!((sum.handed_over, sum.taken_over, sum.fragments.held), (10, 12, 14));
        assert_eq!(sum.raw_heads, 16);
    }
}
