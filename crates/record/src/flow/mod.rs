//! The record of a flow: who talked to whom, how much, for how long, and how it ended.
//!
//! As a line of `jsonl`, under the names that OpenTelemetry and the Elastic Common Schema have for flows, nested at
//! the dots. Keys without a value are absent.
//!
//! | field | meaning |
//! | --- | --- |
//! | `timestamp` | the first packet, RFC 3339, nine digits, UTC |
//! | `duration_ns` | from the first packet to the last one, or to the last FIN or RST of a TCP connection that ended; nanoseconds |
//! | `network.transport` | `tcp`, `udp`, `icmp`, `ipv6-icmp`, `sctp` ..., else the protocol's number |
//! | `network.type` | `ipv4`, `ipv6` |
//! | `network.protocol.name` | what was recognised in the payload: `http`, `tls`, `ssh`, `smtp`, `ftp` on any port, `dns` on those of name servers |
//! | `network.community_id` | the join key of Zeek, Suricata and Arkime, version 1 |
//! | `source.address`, `source.port` | who opened it: sent the SYN, or spoke first |
//! | `source.packets`, `source.bytes` | IP packets that it sent, and their bytes with IP headers |
//! | `source.payload_bytes` | TCP: the length of its stream, what was not captured included; else payload bytes of its datagrams |
//! | `source.tcp.missed_bytes` | of that stream, what was not captured |
//! | `source.tcp.retransmitted_bytes` | payload bytes that it sent again |
//! | `source.tcp.conflicting_bytes` | of them, those that were others than the first time |
//! | `source.tcp.out_of_order` | segments that came after one that follows them |
//! | `source.tcp.duplicates` | packets that the capture saw twice; in no other number |
//! | `source.tcp.zero_windows` | segments in which it could take no more bytes |
//! | `source.tcp.zero_window_ns` | for how long it could not |
//! | `source.tcp.rtt_ns` | from its data to their acknowledgement at the capture point, the shortest |
//! | `destination....` | the same of the other end |
//! | `icmp.type`, `icmp.code` | of the first message (ICMP) |
//! | `tcp.state` | what became of it, as Zeek's `conn_state`: `SF` established and ended, `S0` no answer, `REJ` refused ... |
//! | `tcp.history` | what happened in order, in Zeek's letters: `ShADadFf` |
//! | `tcp.handshake.client_ns` | from SYN+ACK to its acknowledgement: from the capture point to the client and back |
//! | `tcp.handshake.server_ns` | from SYN to SYN+ACK: from the capture point to the server and back |
//! | `tls.client.server_name` | the name that the client asked for (SNI) |
//! | `tls.client.supported_protocols` | the protocols that it offered (ALPN) |
//! | `tls.next_protocol`, `tls.version` | what the server chose, `TLSv1.3`; without an answer the highest version offered |
//! | `gannet.id` | the number of its first packet in the run |
//! | `gannet.connection` | the connection's name, the same at every tap |
//! | `gannet.end` | why it is over: `finished`, `reset-source`, `reset-destination`, `idle`, `evicted`, `reused`, `end-of-input` |
//! | `gannet.midstream` | `true` if its SYN was not seen |
//! | `gannet.interface` | where its first packet was seen |
//! | `gannet.tunnel.kind`, `.id`, `gannet.vlan`, `.inner_vlan` | what its first packet came in |
//! | `gannet.icmp_errors` | ICMP errors about it |
//!
//! As Zeek's `conn.log` and as `csv`: see [`FlowFormat`].

mod json;
mod table;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::net::IpAddr;

use gannet_flow::{FlowRecord, Moment};
use gannet_packet::IpProtocol;

use self::json::Line;
use crate::Interfaces;

/// A flow that is over, as outputs get it.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowEnd {
    /// What is known of it.
    pub flow: FlowRecord,
    /// What was recognised in its payload.
    pub service: Option<Service>,
    /// The packet that let it be reported, or the end of the input.
    pub reported: Moment,
}

/// A protocol that is recognised by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// HTTP/1.
    Http,
    /// HTTP/2 without TLS.
    Http2,
    /// TLS.
    Tls,
    /// SSH.
    Ssh,
    /// Mail on its way to a server.
    Smtp,
    /// The control connection of FTP.
    Ftp,
    /// Questions to name servers, multicast ones included.
    Dns,
}

impl Service {
    /// Its name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http | Self::Http2 => "http",
            Self::Tls => "tls",
            Self::Ssh => "ssh",
            Self::Smtp => "smtp",
            Self::Ftp => "ftp",
            Self::Dns => "dns",
        }
    }

    /// Its name in Zeek's `conn.log`.
    fn zeek_name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Http2 => "http2",
            Self::Tls => "ssl",
            Self::Ssh | Self::Smtp | Self::Ftp | Self::Dns => self.name(),
        }
    }
}

/// How a flow is written, besides JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowFormat {
    /// Zeek's `conn.log`: values with tabs between them, `-` for what is not known. No `#open` and `#close` lines, so
    /// that the same input makes the same output. `uid` is made of the connection's name and its first packet's time;
    /// `tunnel_parents` is always `-`: it names the lines of the tunnels' own flows, and what is opened here has
    /// none, because its packets are those of the flows inside (JSON has the tunnel itself); `service` knows `http`,
    /// `http2`, `ssl`, `ssh`, `smtp`, `ftp` and `dns`.
    Zeek,
    /// Values with commas between them (RFC 4180), under the names of the JSON record with underscores for dots.
    Csv,
}

impl FlowFormat {
    /// The lines in front of the first record.
    pub fn header(self, out: &mut Vec<u8>) {
        match self {
            Self::Zeek => table::zeek_header(out),
            Self::Csv => table::csv_header(out),
        }
    }
}

impl FlowEnd {
    /// Appends the record as a line of JSON, without the line's end. Fails only if a field is of a kind that no
    /// record has.
    pub fn write_json(&self, interfaces: &Interfaces, out: &mut Vec<u8>) -> fmt::Result {
        crate::json::write(&Line::new(self, interfaces), 0, out)
    }

    /// Appends the record as a line, with the line's end.
    pub fn write_line(&self, format: FlowFormat, interfaces: &Interfaces, out: &mut Vec<u8>) {
        match format {
            FlowFormat::Zeek => table::zeek_line(self, out),
            FlowFormat::Csv => table::csv_line(self, interfaces, out),
        }
    }

    /// IP packets of both directions.
    pub fn packets(&self) -> u64 {
        self.flow.streams.iter().map(|stream| stream.packets).sum()
    }

    /// Their bytes, IP headers included.
    pub fn bytes(&self) -> u64 {
        self.flow.ip_bytes.iter().sum()
    }

    /// True for ICMP of either version, whose ports are types and codes.
    pub(crate) fn is_icmp(&self) -> bool {
        matches!(self.flow.protocol, IpProtocol::ICMP | IpProtocol::ICMPV6)
    }

    pub(crate) fn is_tcp(&self) -> bool {
        self.flow.protocol == IpProtocol::TCP
    }

    /// `ipv4` or `ipv6`.
    fn network_type(&self) -> &'static str {
        match self.flow.originator.address {
            IpAddr::V4(_) => "ipv4",
            IpAddr::V6(_) => "ipv6",
        }
    }
}

/// The name of a transport protocol, as IANA and the Elastic Common Schema write it; a number if it has no name here.
pub(crate) fn transport_name(protocol: IpProtocol) -> std::borrow::Cow<'static, str> {
    let name = match protocol {
        IpProtocol::TCP => "tcp",
        IpProtocol::UDP => "udp",
        IpProtocol::ICMP => "icmp",
        IpProtocol::ICMPV6 => "ipv6-icmp",
        IpProtocol::SCTP => "sctp",
        IpProtocol::DCCP => "dccp",
        IpProtocol::UDP_LITE => "udplite",
        IpProtocol::GRE => "gre",
        IpProtocol::ESP => "esp",
        IpProtocol::AUTHENTICATION => "ah",
        IpProtocol(2) => "igmp",
        IpProtocol(89) => "ospf",
        IpProtocol(103) => "pim",
        IpProtocol(112) => "vrrp",
        IpProtocol(number) => return number.to_string().into(),
    };
    name.into()
}
