//! Flows as lines of values: Zeek's `conn.log`, and `csv`.

use std::borrow::Cow;
use std::io::Write;
use std::net::IpAddr;

use gannet_packet::{IpProtocol, Timestamp};

use super::{FlowEnd, json, transport_name};
use crate::Interfaces;
use crate::time::Rfc3339;

/// Names and types of the columns of `conn.log`, as Zeek 6 and its tools have them.
const ZEEK_COLUMNS: [(&str, &str); 21] = [
    ("ts", "time"),
    ("uid", "string"),
    ("id.orig_h", "addr"),
    ("id.orig_p", "port"),
    ("id.resp_h", "addr"),
    ("id.resp_p", "port"),
    ("proto", "enum"),
    ("service", "string"),
    ("duration", "interval"),
    ("orig_bytes", "count"),
    ("resp_bytes", "count"),
    ("conn_state", "string"),
    ("local_orig", "bool"),
    ("local_resp", "bool"),
    ("missed_bytes", "count"),
    ("history", "string"),
    ("orig_pkts", "count"),
    ("orig_ip_bytes", "count"),
    ("resp_pkts", "count"),
    ("resp_ip_bytes", "count"),
    ("tunnel_parents", "set[string]"),
];

pub(super) fn zeek_header(out: &mut Vec<u8>) {
    out.extend_from_slice(
        b"#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n",
    );
    for (title, part) in [("#fields", 0), ("#types", 1)] {
        out.extend_from_slice(title.as_bytes());
        for (name, kind) in ZEEK_COLUMNS {
            out.push(b'\t');
            out.extend_from_slice(if part == 0 { name } else { kind }.as_bytes());
        }
        out.push(b'\n');
    }
}

pub(super) fn zeek_line(end: &FlowEnd, out: &mut Vec<u8>) {
    let flow = &end.flow;
    let proto = match flow.protocol {
        IpProtocol::TCP => "tcp",
        IpProtocol::UDP => "udp",
        IpProtocol::ICMP | IpProtocol::ICMPV6 => "icmp",
        _ => "unknown_transport",
    };
    let local = |address| if is_local(address) { "T" } else { "F" };
    let history = if flow.history.is_empty() { "-" } else { &flow.history };
    let missed: u64 = flow.streams.iter().map(|stream| stream.gap_bytes).sum();
    // Zeek tells neither duration nor sizes of what was a single packet.
    let known = |value: String| if flow.duration_ns == 0 { "-".to_owned() } else { value };
    let [orig_bytes, resp_bytes] = flow.stream_lens.map(|len| known(len.to_string()));
    // Writing to a vector does not fail.
    let _ = writeln!(
        out,
        "{}\t{}\t{}\t{}\t{}\t{}\t{proto}\t{}\t{}\t{orig_bytes}\t{resp_bytes}\t{}\t{}\t{}\t{missed}\t{history}\t{}\t{}\t{}\t{}\t-",
        seconds(flow.opened.0),
        uid(end),
        flow.originator.address,
        flow.originator.port,
        flow.responder.address,
        flow.responder.port,
        end.service.map_or("-", |service| service.zeek_name()),
        known(seconds(flow.duration_ns)),
        flow.state.name(),
        local(flow.originator.address),
        local(flow.responder.address),
        flow.streams[0].packets,
        flow.ip_bytes[0],
        flow.streams[1].packets,
        flow.ip_bytes[1],
    );
}

/// Seconds with six digits behind the point, cut as Zeek's are.
fn seconds(nanos: u64) -> String {
    format!("{}.{:06}", nanos / 1_000_000_000, nanos / 1_000 % 1_000_000)
}

/// `C` and a number in letters and digits: of the connection and of the time of its first packet, because
/// conversations of other protocols than TCP have but their ends to be named by.
fn uid(end: &FlowEnd) -> String {
    let FlowEnd { flow, .. } = end;
    let time = u128::from(flow.opened.0) << 64 | u128::from(flow.opened.0);
    let mut number = u128::from_be_bytes(flow.connection_id.bytes()).wrapping_mul(time | 1);
    let mut text = String::from("C");
    for _ in 0..UID_DIGITS {
        text.push(char::from(DIGITS[(number % DIGITS.len() as u128) as usize]));
        number /= DIGITS.len() as u128;
    }
    text
}

/// Whether an address is nobody's on the internet: what Zeek takes for local unless it is told more.
fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            // 100.64.0.0/10: RFC 6598.
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || (a, b & 0xc0) == (100, 64)
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// Names of the columns of `csv`.
const CSV_COLUMNS: [&str; 32] = [
    "timestamp",
    "duration_ns",
    "network_transport",
    "network_type",
    "network_protocol_name",
    "network_community_id",
    "source_address",
    "source_port",
    "source_packets",
    "source_bytes",
    "source_payload_bytes",
    "source_tcp_missed_bytes",
    "source_tcp_retransmitted_bytes",
    "source_tcp_out_of_order",
    "source_tcp_rtt_ns",
    "destination_address",
    "destination_port",
    "destination_packets",
    "destination_bytes",
    "destination_payload_bytes",
    "destination_tcp_missed_bytes",
    "destination_tcp_retransmitted_bytes",
    "destination_tcp_out_of_order",
    "destination_tcp_rtt_ns",
    "tcp_state",
    "tcp_history",
    "tcp_handshake_client_ns",
    "tcp_handshake_server_ns",
    "tls_client_server_name",
    "gannet_connection",
    "gannet_end",
    "gannet_interface",
];

pub(super) fn csv_header(out: &mut Vec<u8>) {
    out.extend_from_slice(CSV_COLUMNS.join(",").as_bytes());
    out.extend_from_slice(b"\r\n");
}

pub(super) fn csv_line(end: &FlowEnd, interfaces: &Interfaces, out: &mut Vec<u8>) {
    let flow = &end.flow;
    let number = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
    let tcp = |value: u64| number(end.is_tcp().then_some(value));
    let mut values: Vec<Cow<'_, str>> = vec![
        timestamp(flow.opened).into(),
        flow.duration_ns.to_string().into(),
        transport_name(flow.protocol),
        end.network_type().into(),
        end.service.map_or("", |service| service.name()).into(),
        flow.community_id.as_str().into(),
    ];
    for (at, endpoint) in [flow.originator, flow.responder].into_iter().enumerate() {
        let facts = &flow.streams[at];
        let has_port = !end.is_icmp() && (flow.originator.port, flow.responder.port) != (0, 0);
        values.extend([
            endpoint.address.to_string().into(),
            number(has_port.then_some(endpoint.port.into())).into(),
            facts.packets.to_string().into(),
            flow.ip_bytes[at].to_string().into(),
            flow.stream_lens[at].to_string().into(),
            tcp(facts.gap_bytes).into(),
            tcp(facts.retransmitted_bytes).into(),
            tcp(facts.out_of_order.into()).into(),
            number(facts.round_trip_ns).into(),
        ]);
    }
    let state = if end.is_tcp() { flow.state.name() } else { "" };
    let server_name = flow.tls.as_ref().and_then(|hello| hello.server_name.as_deref());
    values.extend::<[Cow<'_, str>; 8]>([
        state.into(),
        if end.is_tcp() { flow.history.as_str().into() } else { "".into() },
        number(flow.handshake.originator_ns()).into(),
        number(flow.handshake.responder_ns()).into(),
        server_name.unwrap_or_default().into(),
        flow.connection_id.to_string().into(),
        json::reason_name(flow.reason).into(),
        interfaces.name(flow.interface).unwrap_or_default().into(),
    ]);
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        csv_value(value, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// "Fields containing line breaks (CRLF), double quotes, and commas should be enclosed in double-quotes", and a quote
/// within is "escaped by preceding it with another double quote" (RFC 4180, section 2).
fn csv_value(value: &str, out: &mut Vec<u8>) {
    if !value.contains([',', '"', '\r', '\n']) {
        out.extend_from_slice(value.as_bytes());
        return;
    }
    out.push(b'"');
    out.extend_from_slice(value.replace('"', "\"\"").as_bytes());
    out.push(b'"');
}

fn timestamp(time: Timestamp) -> String {
    Rfc3339(time).to_string()
}

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// As many as Zeek's have.
const UID_DIGITS: usize = 17;
