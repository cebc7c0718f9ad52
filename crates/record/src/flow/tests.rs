use std::net::Ipv4Addr;

use gannet_flow::{
    CloseReason, ConnectionState, FlowRecord, Handshake, IcmpError, Moment, Peer, StreamFacts, TlsHello,
};
use gannet_packet::{Endpoint, IpProtocol, Surroundings, Timestamp, TunnelKind};
use serde_json::Value;

use super::*;
use crate::sample::FIRST;

fn end(host: u8, port: u16) -> Endpoint {
    Endpoint { address: Ipv4Addr::new(10, 0, 0, host).into(), port }
}

/// A TLS connection in a tunnel, with a loss.
pub(crate) fn flow() -> FlowEnd {
    let time = |nanos| Some(Timestamp(FIRST + nanos));
    let stream = |packets, bytes| StreamFacts { packets, bytes, ..StreamFacts::default() };
    let mut streams = [stream(7, 517), stream(6, 4_000)];
    streams[0].round_trip_ns = Some(210_000);
    streams[1] = StreamFacts {
        gap_bytes: 5,
        retransmitted_bytes: 1_448,
        conflicting_bytes: 3,
        out_of_order: 1,
        duplicates: 2,
        zero_windows: 4,
        zero_window_ns: 9,
        ..streams[1]
    };
    let flow = FlowRecord {
        id: 17,
        protocol: IpProtocol::TCP,
        connection_id: "AAAQEAYEAUDAOCAJBIFQYDIOB4".parse().unwrap(),
        community_id: "1:LQU9qZlK+B5F3KDmev6m5PMibrg=".to_owned(),
        originator: end(1, 51_234),
        responder: end(2, 443),
        interface: 0,
        around: Surroundings::sample(Some((TunnelKind::Vxlan, Some(7))), &[5, 6]),
        midstream: false,
        opened: Timestamp(FIRST),
        duration_ns: 1_234_567_890,
        reason: CloseReason::Reset { by: Peer::Responder },
        state: ConnectionState::Rstr,
        history: "ShADadr".to_owned(),
        handshake: Handshake::new(time(0), time(700_000), time(800_000)),
        streams,
        stream_lens: [517, 4_005],
        ip_bytes: [800, 4_300],
        icmp: None,
        note: 0,
        icmp_errors: Some((2, IcmpError { v6: false, kind: 3, code: 4 })),
        tls: Some(TlsHello {
            client: Some(Peer::Originator),
            server_name: Some("shop.example, \"x\"".to_owned()),
            offered: vec!["h2".to_owned(), "http/1.1".to_owned()],
            chosen: None,
            client_version: Some(0x0304),
            version: Some(0x0303),
        }),
    };
    FlowEnd { flow, service: Some(Service::Tls), reported: Moment { time: Timestamp(FIRST), position: 99 } }
}

/// A question to a name server, and no answer.
pub(crate) fn datagram() -> FlowEnd {
    let mut end = flow();
    end.service = None;
    end.flow = FlowRecord {
        protocol: IpProtocol::UDP,
        around: Surroundings::NONE,
        duration_ns: 0,
        reason: CloseReason::Idle,
        state: ConnectionState::S0,
        history: "D".to_owned(),
        handshake: Handshake::default(),
        streams: [StreamFacts { packets: 1, bytes: 38, ..Default::default() }, StreamFacts::default()],
        stream_lens: [38, 0],
        ip_bytes: [66, 0],
        icmp_errors: None,
        tls: None,
        interface: 1,
        ..end.flow
    };
    end
}

fn interfaces() -> Interfaces {
    let interfaces = Interfaces::default();
    interfaces.add("eth0".into());
    interfaces.add(String::new());
    interfaces
}

fn json(end: &FlowEnd) -> String {
    let mut out = Vec::new();
    end.write_json(&interfaces(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn line(end: &FlowEnd, format: FlowFormat) -> String {
    let mut out = Vec::new();
    end.write_line(format, &interfaces(), &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_whole_line() {
    let expected = concat!(
        r#"{"timestamp":"2026-11-21T10:11:12.123456789Z","duration_ns":1234567890,"#,
        r#""network":{"transport":"tcp","type":"ipv4","protocol":{"name":"tls"},"#,
        r#""community_id":"1:LQU9qZlK+B5F3KDmev6m5PMibrg="},"#,
        r#""source":{"address":"10.0.0.1","port":51234,"packets":7,"bytes":800,"payload_bytes":517,"#,
        r#""tcp":{"missed_bytes":0,"retransmitted_bytes":0,"conflicting_bytes":0,"out_of_order":0,"duplicates":0,"#,
        r#""zero_windows":0,"zero_window_ns":0,"rtt_ns":210000}},"#,
        r#""destination":{"address":"10.0.0.2","port":443,"packets":6,"bytes":4300,"payload_bytes":4005,"#,
        r#""tcp":{"missed_bytes":5,"retransmitted_bytes":1448,"conflicting_bytes":3,"out_of_order":1,"duplicates":2,"#,
        r#""zero_windows":4,"zero_window_ns":9}},"#,
        r#""tcp":{"state":"RSTR","history":"ShADadr","handshake":{"client_ns":100000,"server_ns":700000}},"#,
        r#""tls":{"client":{"server_name":"shop.example, \"x\"","supported_protocols":["h2","http/1.1"]},"#,
        r#""version":"TLSv1.2"},"#,
        r#""gannet":{"id":17,"connection":"AAAQEAYEAUDAOCAJBIFQYDIOB4","end":"reset-destination","#,
        r#""interface":"eth0","tunnel":{"kind":"vxlan","id":7},"vlan":5,"inner_vlan":6,"icmp_errors":2}}"#,
    );
    assert_eq!(json(&flow()), expected);
}

#[test]
fn what_only_tcp_has_is_absent_elsewhere() {
    let value: Value = serde_json::from_str(&json(&datagram())).unwrap();
    assert_eq!(value["network"]["transport"], "udp");
    assert_eq!(value["source"]["port"], 51_234);
    for absent in ["/tcp", "/tls", "/icmp", "/source/tcp", "/network/protocol", "/gannet/interface"] {
        assert!(value.pointer(absent).is_none(), "{absent}");
    }
    let mut echo = datagram();
    echo.flow.protocol = IpProtocol::ICMP;
    echo.flow.icmp = Some((8, 0));
    let value: Value = serde_json::from_str(&json(&echo)).unwrap();
    assert_eq!((&value["icmp"]["type"], &value["icmp"]["code"]), (&8.into(), &0.into()));
    assert!(value.pointer("/source/port").is_none());
    echo.flow.protocol = IpProtocol(200);
    let value: Value = serde_json::from_str(&json(&echo)).unwrap();
    assert_eq!(value["network"]["transport"], "200");
}

#[test]
fn lines_of_zeek_have_its_columns() {
    let mut header = Vec::new();
    FlowFormat::Zeek.header(&mut header);
    let header = String::from_utf8(header).unwrap();
    let columns: Vec<_> = header.lines().filter(|line| line.contains("#fields\t")).collect();
    assert_eq!(
        columns,
        [
            "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\torig_bytes\tresp_bytes\t\
          conn_state\tlocal_orig\tlocal_resp\tmissed_bytes\thistory\torig_pkts\torig_ip_bytes\tresp_pkts\tresp_ip_bytes\t\
          tunnel_parents"
        ]
    );
    assert!(header.starts_with(
        "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n"
    ));
    let mut flow = flow();
    flow.flow.responder.address = Ipv4Addr::new(8, 8, 8, 8).into();
    let tcp = line(&flow, FlowFormat::Zeek);
    let values: Vec<_> = tcp.trim_end_matches('\n').split('\t').collect();
    assert!(values[1].starts_with('C') && values[1].len() == 18, "{tcp}");
    assert_eq!(values[0], "1795255872.123456");
    assert_eq!(
        values[2..].join(" "),
        "10.0.0.1 51234 8.8.8.8 443 tcp ssl 1.234567 517 4005 RSTR T F 5 ShADadr 7 800 6 4300 -"
    );
    let udp = line(&datagram(), FlowFormat::Zeek);
    let values: Vec<_> = udp.trim_end_matches('\n').split('\t').collect();
    assert_eq!(values[2..].join(" "), "10.0.0.1 51234 10.0.0.2 443 udp - - - - S0 T T 0 D 1 66 0 0 -");
}

/// Conversations between the same ends at other times are others.
#[test]
fn uids_differ() {
    let uid = |nanos: u64| {
        let mut end = datagram();
        end.flow.opened.0 += nanos;
        line(&end, FlowFormat::Zeek).split('\t').nth(1).unwrap().to_owned()
    };
    let all: std::collections::BTreeSet<_> = (0..100).map(|n| uid(n * 60_000_000_000)).collect();
    assert_eq!((all.len(), uid(0)), (100, uid(0)));
}

#[test]
fn values_of_csv_are_quoted_where_they_must_be() {
    let mut header = Vec::new();
    FlowFormat::Csv.header(&mut header);
    let columns = String::from_utf8(header).unwrap().trim_end().split(',').count();
    assert_eq!(
        line(&flow(), FlowFormat::Csv),
        "2026-11-21T10:11:12.123456789Z,1234567890,tcp,ipv4,tls,1:LQU9qZlK+B5F3KDmev6m5PMibrg=,\
         10.0.0.1,51234,7,800,517,0,0,0,210000,10.0.0.2,443,6,4300,4005,5,1448,1,,\
         RSTR,ShADadr,100000,700000,\"shop.example, \"\"x\"\"\",AAAQEAYEAUDAOCAJBIFQYDIOB4,reset-destination,eth0\r\n"
    );
    let plain = line(&datagram(), FlowFormat::Csv);
    assert_eq!(plain.trim_end().split(',').count(), columns);
}
