//! What a run's flows add up to: who talked most, and in which protocols.
//!
//! ```text
//!   FlowEnd ──► conversations (source, destination, its port, protocol) ─┐
//!           ──► endpoints (address) ─────────────────────────────────────┼─► merge ──► TrafficSummary
//!           ──► protocols (transport, service) ──────────────────────────┘
//! ```
//!
//! One for each worker. Rows are bounded; what finds no row any more is counted together.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::Hash;
use std::net::IpAddr;

use gannet_packet::IpProtocol;
use rustc_hash::FxHashMap;
use serde::Serialize;

use crate::flow::transport_name;
use crate::{FlowEnd, Service};

/// Sums over flows, as they end.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    conversations: Rows<Conversation>,
    endpoints: Rows<IpAddr>,
    protocols: Rows<Protocol>,
    total: Sums,
    /// Of frame time, in nanoseconds: the first packet of all and the last.
    first: Option<u64>,
    last: u64,
}

/// Flows between the same ends to the same port: a client's many connections to a server are one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Conversation {
    source: IpAddr,
    destination: IpAddr,
    port: u16,
    protocol: u8,
    service: Option<Service>,
}

type Protocol = (u8, Option<Service>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    flows: u64,
    /// Sent, and received; of a conversation: by its source, and by its destination.
    packets: [u64; 2],
    bytes: [u64; 2],
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.flows += other.flows;
        for way in 0..2 {
            self.packets[way] += other.packets[way];
            self.bytes[way] += other.bytes[way];
        }
    }

    fn of(end: &FlowEnd) -> Self {
        let packets = [0, 1].map(|way| end.flow.streams[way].packets);
        Self { flows: 1, packets, bytes: end.flow.ip_bytes }
    }

    fn turned(mut self) -> Self {
        self.packets.reverse();
        self.bytes.reverse();
        self
    }

    fn total_bytes(&self) -> u64 {
        self.bytes.iter().sum()
    }
}

/// Sums by key, and of what found no room.
#[derive(Clone, Debug)]
struct Rows<K> {
    rows: FxHashMap<K, Sums>,
    others: Sums,
}

impl<K> Default for Rows<K> {
    fn default() -> Self {
        Self { rows: FxHashMap::default(), others: Sums::default() }
    }
}

impl<K: Eq + Hash + Ord + Clone> Rows<K> {
    fn add(&mut self, key: K, sums: &Sums) {
        if let Some(row) = self.rows.get_mut(&key) {
            row.add(sums);
        } else if self.rows.len() < MAX_ROWS {
            self.rows.insert(key, *sums);
        } else {
            self.others.add(sums);
        }
    }

    fn merge(&mut self, other: &Self) {
        // In order, so that the same rows are left out whenever some are.
        let ordered: BTreeMap<_, _> = other.rows.iter().collect();
        for (key, sums) in ordered {
            self.add(key.clone(), sums);
        }
        self.others.add(&other.others);
    }

    /// The largest rows, and all others together.
    fn top(&self, name: impl Fn(&K) -> String, span_ns: u64) -> TrafficTable {
        let mut ordered: Vec<_> = self.rows.iter().collect();
        ordered.sort_unstable_by(|(one, a), (other, b)| {
            (Reverse(a.total_bytes()), *one).cmp(&(Reverse(b.total_bytes()), *other))
        });
        let mut left = self.others;
        let shown = ordered.len().min(SHOWN_ROWS);
        ordered[shown..].iter().for_each(|(_, sums)| left.add(sums));
        let row = |name: String, sums: &Sums| TrafficRow::new(name, sums, span_ns);
        TrafficTable {
            rows: ordered[..shown].iter().map(|(key, sums)| row(name(key), sums)).collect(),
            more_rows: (ordered.len() - shown) as u64,
            others: row(String::new(), &left),
        }
    }
}

impl Traffic {
    /// Adds a flow that is over.
    pub fn add(&mut self, end: &FlowEnd) {
        let flow = &end.flow;
        let sums = Sums::of(end);
        let protocol = flow.protocol.0;
        let conversation = Conversation {
            source: flow.originator.address,
            destination: flow.responder.address,
            port: if end.is_icmp() { 0 } else { flow.responder.port },
            protocol,
            service: end.service,
        };
        self.endpoints.add(conversation.source, &sums);
        self.endpoints.add(conversation.destination, &sums.turned());
        self.conversations.add(conversation, &sums);
        self.protocols.add((protocol, end.service), &sums);
        self.total.add(&sums);
        self.first = Some(self.first.map_or(flow.opened.0, |first| first.min(flow.opened.0)));
        self.last = self.last.max(flow.opened.0.saturating_add(flow.duration_ns));
    }

    /// Adds another worker's sums.
    pub fn merge(&mut self, other: &Self) {
        self.conversations.merge(&other.conversations);
        self.endpoints.merge(&other.endpoints);
        self.protocols.merge(&other.protocols);
        self.total.add(&other.total);
        self.first = match (self.first, other.first) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.last = self.last.max(other.last);
    }

    /// The tables.
    pub fn summary(&self) -> TrafficSummary {
        let span_ns = self.first.map_or(0, |first| self.last.saturating_sub(first));
        TrafficSummary {
            protocols: self.protocols.top(|&(number, service)| protocol_name(number, service), span_ns),
            endpoints: self.endpoints.top(IpAddr::to_string, span_ns),
            conversations: self.conversations.top(Conversation::name, span_ns),
            total: TrafficRow::new("total".to_owned(), &self.total, span_ns),
            span_ns,
        }
    }
}

impl Conversation {
    fn name(&self) -> String {
        let protocol = protocol_name(self.protocol, self.service);
        match (self.port, self.destination) {
            (0, destination) => format!("{} > {destination} {protocol}", self.source),
            (port, IpAddr::V6(v6)) => format!("{} > [{v6}]:{port} {protocol}", self.source),
            (port, IpAddr::V4(v4)) => format!("{} > {v4}:{port} {protocol}", self.source),
        }
    }
}

fn protocol_name(number: u8, service: Option<Service>) -> String {
    let transport = transport_name(IpProtocol(number));
    match service {
        Some(service) => format!("{transport}/{}", service.name()),
        None => transport.into_owned(),
    }
}

/// What a run's flows add up to: `Display` is what the terminal shows, `Serialize` is for programs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrafficSummary {
    /// By transport protocol and what was recognised in it.
    pub protocols: TrafficTable,
    /// By address; sent and received are the address's own.
    pub endpoints: TrafficTable,
    /// By source, destination, its port and the protocol.
    pub conversations: TrafficTable,
    /// All together.
    pub total: TrafficRow,
    /// From the first packet to the last, in nanoseconds of frame time.
    pub span_ns: u64,
}

/// The largest rows by bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrafficTable {
    /// The largest first.
    pub rows: Vec<TrafficRow>,
    /// How many more there are, as far as they were kept apart.
    pub more_rows: u64,
    /// These, and those that were not kept apart, together. A flow counts twice among endpoints.
    pub others: TrafficRow,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrafficRow {
    /// What it is about.
    pub name: String,
    /// Flows.
    pub flows: u64,
    /// Packets sent: by the source, or the endpoint.
    pub packets_sent: u64,
    /// Packets received.
    pub packets_received: u64,
    /// Bytes of IP packets sent.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Bytes of both ways per second over the run's span; `None` if that is shorter than a second.
    pub bytes_per_s: Option<f64>,
}

impl TrafficRow {
    fn new(name: String, sums: &Sums, span_ns: u64) -> Self {
        let rate = sums.total_bytes() as f64 / (span_ns as f64 / 1e9);
        Self {
            name,
            flows: sums.flows,
            packets_sent: sums.packets[0],
            packets_received: sums.packets[1],
            bytes_sent: sums.bytes[0],
            bytes_received: sums.bytes[1],
            bytes_per_s: (span_ns >= 1_000_000_000).then_some(rate),
        }
    }

    fn cells(&self, name: &str) -> [String; COLUMNS] {
        [
            name.to_owned(),
            self.flows.to_string(),
            (self.packets_sent + self.packets_received).to_string(),
            bytes(self.bytes_sent as f64),
            bytes(self.bytes_received as f64),
            self.bytes_per_s.map_or("-".to_owned(), |rate| format!("{}/s", bytes(rate))),
        ]
    }
}

/// Three tables with the same columns, ended by the sum.
impl fmt::Display for TrafficSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.total.flows == 0 {
            return writeln!(f, "no flows");
        }
        let heading = |name: &str| [name, "FLOWS", "PACKETS", "SENT", "RECEIVED", "RATE"].map(str::to_owned);
        let parts = [
            ("CONVERSATION", &self.conversations),
            ("ENDPOINT", &self.endpoints),
            ("PROTOCOL", &self.protocols),
        ];
        let mut lines: Vec<Option<[String; COLUMNS]>> = Vec::new();
        for (name, table) in parts {
            lines.push(Some(heading(name)));
            lines.extend(table.rows.iter().map(|row| Some(row.cells(&row.name))));
            if table.more_rows != 0 || table.others.flows != 0 {
                lines.push(Some(table.others.cells(&format!("... {} more", table.more_rows))));
            }
            lines.push(None);
        }
        lines.push(Some(self.total.cells("total")));
        let mut widths = [0; COLUMNS];
        for cells in lines.iter().flatten() {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for line in &lines {
            let Some([name, numbers @ ..]) = line else {
                writeln!(f)?;
                continue;
            };
            write!(f, "{name:<width$}", width = widths[0])?;
            for (number, width) in numbers.iter().zip(&widths[1..]) {
                write!(f, "  {number:>width$}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// `999 B`, `1.2 kB`, `34 MB`: powers of 1000, as links are measured.
fn bytes(value: f64) -> String {
    let (mut value, mut unit) = (value, "B");
    for larger in ["kB", "MB", "GB", "TB", "PB"] {
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1e3, larger);
    }
    if unit != "B" && value < 9.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

const COLUMNS: usize = 6;
/// Rows of each kind that are kept apart: some 10 MB for each worker. Sums are exact with any number of rows.
const MAX_ROWS: usize = 1 << 16;
/// Rows that are shown of each table: three tables fit on a screen.
const SHOWN_ROWS: usize = 10;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::flow::tests::{datagram, flow};

    #[test]
    fn a_table_to_the_letter() {
        let mut traffic = Traffic::default();
        for _ in 0..3 {
            traffic.add(&flow());
        }
        traffic.add(&datagram());
        let expected = "\
CONVERSATION                     FLOWS  PACKETS    SENT  RECEIVED     RATE
10.0.0.1 > 10.0.0.2:443 tcp/tls      3       39  2.4 kB     13 kB  12 kB/s
10.0.0.1 > 10.0.0.2:443 udp          1        1    66 B       0 B   53 B/s

ENDPOINT                         FLOWS  PACKETS    SENT  RECEIVED     RATE
10.0.0.1                             4       40  2.5 kB     13 kB  12 kB/s
10.0.0.2                             4       40   13 kB    2.5 kB  12 kB/s

PROTOCOL                         FLOWS  PACKETS    SENT  RECEIVED     RATE
tcp/tls                              3       39  2.4 kB     13 kB  12 kB/s
udp                                  1        1    66 B       0 B   53 B/s

total                                4       40  2.5 kB     13 kB  12 kB/s
";
        assert_eq!(traffic.summary().to_string(), expected);
        assert_eq!(Traffic::default().summary().to_string(), "no flows\n");
    }

    /// Rows are bounded, sums are not, and it makes no difference who has summed up what.
    #[test]
    fn many_ends_are_summed_up() {
        let count = MAX_ROWS as u32 + 1_000;
        let mut parts = [Traffic::default(), Traffic::default()];
        let mut whole = Traffic::default();
        for n in 0..count {
            let mut end = datagram();
            end.flow.originator.address = Ipv4Addr::from_bits(0x0b00_0000 + n).into();
            end.flow.ip_bytes[0] = 66 + u64::from(n % 7);
            parts[(n % 2) as usize].add(&end);
            whole.add(&end);
        }
        let [mut merged, other] = parts;
        merged.merge(&other);
        let summary = whole.summary();
        assert_eq!(merged.summary().total, summary.total);
        assert_eq!(merged.summary().protocols, summary.protocols);
        assert_eq!(summary.total.flows, u64::from(count));
        assert_eq!(summary.conversations.rows.len(), SHOWN_ROWS);
        assert_eq!(summary.conversations.others.flows, u64::from(count) - SHOWN_ROWS as u64);
        assert_eq!(summary.conversations.more_rows, (MAX_ROWS - SHOWN_ROWS) as u64);
        assert!(whole.conversations.rows.len() == MAX_ROWS && whole.endpoints.rows.len() == MAX_ROWS);
    }

    #[test]
    fn sizes_have_two_digits_or_three() {
        for (value, text) in [
            (0.0, "0 B"),
            (999.0, "999 B"),
            (1_000.0, "1.0 kB"),
            (9_949.0, "9.9 kB"),
            (9_951.0, "10 kB"),
            (999_499.0, "999 kB"),
            (999_600.0, "1.0 MB"),
            (5e15, "5.0 PB"),
        ] {
            assert_eq!(bytes(value), text);
        }
    }
}
