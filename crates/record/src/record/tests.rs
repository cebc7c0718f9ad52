//! Records against lines written by hand, and against `serde_json`.

use std::net::IpAddr;

use gannet_flow::Handshake;
use gannet_http::{Head, Interim, Oddities, Reason, TcpFacts, Timing, Untrusted};
use gannet_packet::Surroundings;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::headers::HeaderPart;
use super::origin::Known;
use super::*;
use crate::sample::{FIRST, exchange, exchange_of, head, message, request};

fn options() -> RecordOptions {
    let interfaces = Interfaces::default();
    interfaces.add("eth0".into());
    interfaces.add(String::new());
    RecordOptions { interfaces, ..RecordOptions::default() }
}

fn line(exchange: &Exchange, options: &RecordOptions) -> String {
    serde_json::to_string(&Record::new(exchange, options)).unwrap()
}

fn value(exchange: &Exchange, options: &RecordOptions) -> Value {
    serde_json::from_str(&line(exchange, options)).unwrap()
}

fn ok() -> Head {
    head(b"HTTP/1.1 200 OK", &[])
}

/// A line that needs more room than it got at first is written again; what it says of a body is not made again.
#[test]
fn a_long_line_counts_its_bodies_once() {
    let codings = ["gzip"; 40].join(", ");
    let response = head(b"HTTP/1.1 200 OK", &[(b"Content-Encoding", codings.as_bytes())]);
    let mut exchange = exchange(request("GET / HTTP/1.1", &[("User-Agent", &"x".repeat(9_000))]), response);
    if let Some(message) = &mut exchange.response {
        message.body = b"body".as_slice().into();
    }
    let options = options();
    let mut written = Vec::new();
    Record::new(&exchange, &options).write_json(&mut written).unwrap();
    assert_eq!(options.bodies_refused.load(Ordering::Relaxed), 1);
    assert_eq!(String::from_utf8(written).unwrap(), line(&exchange, &options));
}

#[test]
fn a_whole_line() {
    let fields = [("Host", "shop.example:8080"), ("User-Agent", "curl/8.5"), ("Accept", "*/*"), ("X", "y")];
    let request = request("GET /users/42/orders?full=1 HTTP/1.1", &fields);
    let response = head(b"HTTP/1.1 200 OK", &[(b"Content-Type", b"application/json"), (b"Server", b"nginx")]);
    let mut exchange = exchange(request, response);
    exchange.timing.connect = Some(70_000);
    let before = |nanos| Some(Timestamp(FIRST - nanos));
    exchange.timing.handshake = Handshake::new(before(70_000), before(20_000), before(0));
    exchange.timing.server_round_trip = Some(40_000);
    exchange.tcp = TcpFacts {
        retransmitted_bytes: 1448,
        client_retransmitted_bytes: 1000,
        out_of_order: 1,
        gap_bytes: 5,
        zero_windows: 2,
        zero_window_ns: 7,
    };
    let expected = concat!(
        r#"{"timestamp":"2026-11-21T10:11:12.123456789Z","#,
        r#""http":{"request":{"method":"GET","header":{"host":["shop.example:8080"],"user-agent":["curl/8.5"]},"#,
        r#""size":106,"body":{"size":0}},"#,
        r#""response":{"status_code":200,"reason_phrase":"OK","#,
        r#""header":{"content-type":["application/json"],"server":["nginx"]},"size":1300,"body":{"size":1234}},"#,
        r#""route":"/users/{id}/orders"},"#,
        r#""url":{"path":"/users/42/orders","query":"full=1","scheme":"http"},"#,
        r#""client":{"address":"10.0.0.1","port":51234},"server":{"address":"shop.example","port":8080},"#,
        r#""network":{"peer":{"address":"10.0.0.2","port":8080},"protocol":{"version":"1.1"}},"#,
        r#""user_agent":{"original":"curl/8.5"},"#,
        r#""timing":{"connect_ns":70000,"connect_server_ns":50000,"connect_client_ns":20000,"send_ns":20000,"#,
        r#""ttfb_ns":1000000,"server_ns":980000,"receive_ns":500000,"total_ns":1500000,"think_ns":null,"#,
        r#""server_rtt_ns":40000,"client_rtt_ns":null,"network_estimate_ns":40000,"#,
        r#""syn_ns":1795255872123386789,"synack_ns":1795255872123436789,"hs_ack_ns":1795255872123456789,"#,
        r#""req_first_ns":1795255872123456789,"req_hdr_end_ns":1795255872123456789,"#,
        r#""req_last_ns":1795255872123476789,"interim":[],"resp_first_ns":1795255872124456789,"#,
        r#""resp_hdr_end_ns":1795255872124456789,"resp_last_ns":1795255872124956789},"#,
        r#""tcp":{"retransmitted":1448,"client_retransmitted":1000,"server_retransmitted":448,"out_of_order":1,"#,
        r#""gap_bytes":5,"zero_windows":2,"zero_window_ns":7},"#,
        r#""gannet":{"id":"AAAAAAAAAAAAAAAAAAAAAAAAAA-3","state":"complete","reason":"framing","#,
        r#""pair_confidence":"high","untrusted":[],"interface":"eth0","#,
        r#""locator":"AAAAAAAAAAAAAAAAAAAAAAAAAA-3@10.0.0.1.51234-10.0.0.2.8080@1795255872123386789+1570000"}}"#,
    );
    assert_eq!(line(&exchange, &options()), expected);
}

#[test]
fn tunnels_and_vlans_are_told() {
    use gannet_packet::TunnelKind;
    let of = |tunnel, vlans: &[u16]| {
        let mut exchange = exchange(request("GET / HTTP/1.1", &[]), ok());
        exchange.connection.around = Surroundings::sample(tunnel, vlans);
        let mut quick = Vec::new();
        Record::new(&exchange, &options()).write_json(&mut quick).unwrap();
        assert_eq!(quick, line(&exchange, &options()).as_bytes());
        let own = value(&exchange, &options())["gannet"].clone();
        [own["tunnel"].clone(), own["vlan"].clone(), own["inner_vlan"].clone()]
    };
    let vxlan = json!({"kind": "vxlan", "id": 16_777_215});
    assert_eq!(of(Some((TunnelKind::Vxlan, Some(0xff_ffff))), &[]), [vxlan, Value::Null, Value::Null]);
    let ip = json!({"kind": "ipip"});
    assert_eq!(of(Some((TunnelKind::IpInIp, None)), &[5]), [ip, json!(5), Value::Null]);
    assert_eq!(of(None, &[100, 5]), [Value::Null, json!(100), json!(5)]);
    assert_eq!(of(None, &[]), [Value::Null, Value::Null, Value::Null]);
}

#[test]
fn an_orphan_response_has_no_request() {
    let mut exchange =
        exchange_of(None, Some(message(head(b"HTTP/1.0 408 Request Timeout", &[]), 3, 11, 12)));
    exchange.connection.interface = 1;
    exchange.reason = Reason::Unsolicited;
    exchange.untrusted = Untrusted { midstream: true, pairing: true, ..Untrusted::default() };
    let expected = concat!(
        r#"{"timestamp":"2026-11-21T10:11:12.123456800Z","#,
        r#""http":{"response":{"status_code":408,"reason_phrase":"Request Timeout","size":35,"body":{"size":3}}},"#,
        r#""client":{"address":"10.0.0.1","port":51234},"server":{"address":"10.0.0.2","port":8080},"#,
        r#""network":{"peer":{"address":"10.0.0.2","port":8080},"protocol":{"version":"1.0"}},"#,
        r#""timing":{"connect_ns":null,"connect_server_ns":null,"connect_client_ns":null,"send_ns":null,"#,
        r#""ttfb_ns":null,"server_ns":null,"receive_ns":null,"total_ns":null,"think_ns":null,"#,
        r#""server_rtt_ns":null,"client_rtt_ns":null,"network_estimate_ns":null,"syn_ns":null,"#,
        r#""synack_ns":null,"hs_ack_ns":null,"req_first_ns":null,"req_hdr_end_ns":null,"req_last_ns":null,"#,
        r#""interim":[],"resp_first_ns":1795255872123456800,"resp_hdr_end_ns":1795255872123456800,"#,
        r#""resp_last_ns":1795255872123456801},"#,
        r#""tcp":{"retransmitted":0,"client_retransmitted":0,"server_retransmitted":0,"out_of_order":0,"#,
        r#""gap_bytes":0,"zero_windows":0,"zero_window_ns":0},"#,
        r#""gannet":{"id":"AAAAAAAAAAAAAAAAAAAAAAAAAA-3","state":"orphan-response","reason":"unsolicited","#,
        r#""pair_confidence":"high","untrusted":["midstream","pairing"],"#,
        r#""locator":"AAAAAAAAAAAAAAAAAAAAAAAAAA-3@10.0.0.1.51234-10.0.0.2.8080@1795255872123456800+1"}}"#,
    );
    assert_eq!(line(&exchange, &options()), expected);
}

#[test]
fn an_orphan_request_has_no_response() {
    let mut exchange = exchange_of(Some(message(request("POST /a HTTP/1.0", &[]), 9, 0, 5)), None);
    exchange.timing = Timing { send: Some(5), ..Timing::default() };
    let value = value(&exchange, &options());
    assert_eq!(
        value["http"],
        json!({"request": {"method": "POST", "size": 29, "body": {"size": 9}}, "route": "/a"})
    );
    assert_eq!(value["timing"]["send_ns"], 5);
    assert_eq!(value["network"]["protocol"]["version"], "1.0");
    assert_eq!(value["gannet"]["state"], "orphan-request");
    assert!(value.get("user_agent").is_none());
}

#[test]
fn methods_that_nobody_knows() {
    for (method, known) in
        [("GET", true), ("QUERY", true), ("TRACE", true), ("get", false), ("PROPFIND", false)]
    {
        let value = value(&exchange(request(&format!("{method} / HTTP/1.1"), &[]), ok()), &options());
        let request = &value["http"]["request"];
        if known {
            assert_eq!(request["method"], method);
            assert!(request.get("method_original").is_none());
        } else {
            assert_eq!(request["method"], "_OTHER");
            assert_eq!(request["method_original"], method);
        }
    }
}

#[test]
fn targets() {
    let parts = |line: &str| {
        let value = value(&exchange(request(line, &[("Host", "h")]), ok()), &options());
        (value["url"].clone(), value["server"]["address"].clone(), value["http"]["route"].clone())
    };
    let original = "HTTPS://REDACTED:REDACTED@o.example:1/7?a";
    assert_eq!(
        parts("GET HTTPS://u:p@o.example:1/7?a HTTP/1.1"),
        (
            json!({"path": "/7", "query": "a", "scheme": "https", "original": original}),
            json!("o.example"),
            json!("/{id}")
        )
    );
    for (target, original) in
        [("o.example:443", "o.example:443"), ("u:p@o.example:443", "REDACTED:REDACTED@o.example:443")]
    {
        let found = parts(&format!("CONNECT {target} HTTP/1.1"));
        assert_eq!(found, (json!({"original": original}), json!("o.example"), Value::Null));
    }
    assert_eq!(
        parts("OPTIONS * HTTP/1.1"),
        (json!({"path": "*", "scheme": "http", "original": "*"}), json!("h"), json!("*"))
    );
    assert_eq!(parts("GET /? HTTP/1.1").0, json!({"path": "/", "query": "", "scheme": "http"}));
}

#[test]
fn headers_are_selected_and_gathered() {
    let fields: [(&[u8], &[u8]); 5] = [
        (b"Server", b"a"),
        (b"X-Long", b"1"),
        (b"SERVER", b"b"),
        (b"x-long", b""),
        (b"Set-Cookie", b"id=secret"),
    ];
    let exchange = exchange(request("GET / HTTP/1.1", &[]), head(b"HTTP/1.1 200 OK", &fields));
    let header = |headers| {
        let value = value(&exchange, &RecordOptions { headers, ..options() });
        value["http"]["response"].get("header").cloned()
    };
    assert_eq!(header(HeaderSelection::default()), Some(json!({"server": ["a", "b"]})));
    assert_eq!(header(HeaderSelection::named(["etag"])), None);
    assert_eq!(
        header(HeaderSelection::all()),
        Some(json!({"server": ["a", "b"], "x-long": ["1", ""], "set-cookie": ["[REDACTED]"]}))
    );
}

#[test]
fn credentials_are_masked_unless_wanted() {
    let fields = [
        ("Host", "h"),
        ("Authorization", "Bearer s3cret"),
        ("Proxy-Authorization", "Basic s3cret"),
        ("Cookie", "id=s3cret"),
        ("Referer", "http://joe:s3cret@h/?sig=s3cret"),
        ("User-Agent", "bot http://u:s3cret@h/"),
    ];
    let request =
        request("GET http://joe:s3cret@h/http://joe:s3cret@h?a=1&Signature=s3cret HTTP/1.1", &fields);
    let location: [(&[u8], &[u8]); 2] =
        [(b"Location", b"https://h/?X-Goog-Signature=s3cret&b=2"), (b"Set-Cookie", b"s3cret")];
    let exchange = exchange(request, head(b"HTTP/1.1 302 Found", &location));
    let options = RecordOptions { headers: HeaderSelection::all(), ..options() };
    let masked = line(&exchange, &options);
    assert!(!masked.contains("s3cret"), "{masked}");
    let value = value(&exchange, &options);
    assert_eq!(value["url"]["query"], "a=1&Signature=REDACTED");
    assert_eq!(value["http"]["request"]["header"]["authorization"], json!(["[REDACTED]"]));
    assert_eq!(
        value["http"]["response"]["header"]["location"],
        json!(["https://h/?X-Goog-Signature=REDACTED&b=2"])
    );
    let plain = line(&exchange, &RecordOptions { redact: false, ..options });
    assert_eq!(plain.matches("s3cret").count(), 15, "{plain}");
}

#[test]
fn odd_bytes_stay_in_their_place() {
    let mut exchange = exchange(
        head(
            b"G\xffT /a\xe9/b\x01?q=\"\xc3\xa9\" HTTP/1.1",
            &[(b"Host", b"h\xfe"), (b"User-Agent", b"\x1b[1m\n")],
        ),
        head(b"HTTP/1.1 200 OK", &[(b"Server\xff", b"1"), (b"Content-Type", b"\xff")]),
    );
    exchange.interim.push(Interim { status: 100, first: Timestamp(FIRST) });
    exchange.interim.push(Interim { status: 103, first: Timestamp(FIRST) });
    for message in [&mut exchange.request, &mut exchange.response] {
        let message = message.as_mut().unwrap();
        (message.head.cut, message.ambiguous_length) = (true, true);
        message.oddities.add(Oddities::FOLDED);
        message.oddities.add(Oddities::BAD_CHUNK);
    }
    let options = RecordOptions { headers: HeaderSelection::all(), ..options() };
    let text = line(&exchange, &options);
    assert!(text.bytes().all(|byte| byte >= b' '), "{text:?}");
    let value = value(&exchange, &options);
    assert_eq!(value["http"]["request"]["method_original"], "G\u{fffd}FFT");
    assert_eq!(value["url"]["path"], "/a\u{fffd}E9/b\u{1}");
    assert_eq!(value["url"]["query"], "q=\"é\"");
    assert_eq!(value["server"]["address"], "h\u{fffd}FE");
    assert_eq!(
        value["http"]["response"]["header"],
        json!({"server\u{fffd}ff": ["1"], "content-type": ["\u{fffd}FF"]})
    );
    let interim = |status: u16| json!({"status_code": status, "first_ns": FIRST});
    assert_eq!(value["timing"]["interim"], json!([interim(100), interim(103)]));
    let notes = ["request", "response"].map(|whose| {
        ["head-cut", "length-ambiguous", "folded", "bad-chunk"].map(|note| format!("{whose}-{note}"))
    });
    assert_eq!(value["gannet"]["notes"], json!(notes.concat()));
}

#[test]
fn heads_of_more_fields_than_a_word_has_bits() {
    let names: Vec<_> =
        (0..130).map(|n| if n % 63 == 0 { "Server".to_owned() } else { format!("X-{n}") }).collect();
    let fields: Vec<(&[u8], &[u8])> = names.iter().map(|name| (name.as_bytes(), b"v".as_slice())).collect();
    let exchange = exchange(request("GET / HTTP/1.1", &[]), head(b"HTTP/1.1 200 OK", &fields));
    let header = |headers| {
        let value = value(&exchange, &RecordOptions { headers, ..options() });
        value["http"]["response"]["header"].as_object().cloned().unwrap_or_default()
    };
    let three = json!(["v", "v", "v"]);
    assert_eq!(Value::from(header(HeaderSelection::default())), json!({"server": three}));
    assert_eq!(header(HeaderSelection::named(["x-128"])).len(), 1);
    let all = header(HeaderSelection::all());
    assert_eq!((all.len(), &all["server"]), (128, &three));
}

#[test]
fn long_selections_select_all_of_their_names() {
    let names: Vec<_> = (0..40).map(|n| format!("x-{}{n}", "long-".repeat(n % 9))).collect();
    let fields: Vec<(&[u8], &[u8])> = names.iter().map(|name| (name.as_bytes(), b"".as_slice())).collect();
    let selector = HeaderSelection::named(names.clone());
    assert!(fields.iter().all(|(name, _)| selector.contains(name)));
    assert!(!fields.iter().any(|(name, _)| selector.contains(&name[1..])));
    // What a look at a head passes over without a second one.
    let known = Known::NAMES.iter().map(|(_, name)| *name);
    for name in names.iter().map(String::as_str).chain(known).chain(["x"]) {
        let one = HeaderSelection::named([name]);
        for name in [name.to_owned(), name.to_uppercase()] {
            let head = head(b"GET / HTTP/1.1", &[(name.as_bytes(), b"v")]);
            let scan = Scan::new(&head, &one);
            let options = RecordOptions { headers: one.clone(), ..options() };
            assert!(!HeaderPart::new(&scan, &options).is_empty(), "{name}");
        }
    }
}

fn any_head(line: &'static str) -> impl Strategy<Value = Head> {
    let name = prop_oneof![
        "(Host|host|Server|LOCATION|User-Agent|Cookie|X-A|x-a|x-forwarded-for)".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..70),
    ];
    let value = prop_oneof![
        "[ -~]{0,40}".prop_map(String::into_bytes),
        "https?://(u:p@)?[a-z]{0,9}/(\\?sig=[a-z\"\\\\]{0,9})?".prop_map(String::into_bytes),
        proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'"'), Just(b'\\'), Just(b'\n')], 0..40),
    ];
    proptest::collection::vec((name, value), 0..70).prop_map(move |fields| {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
        head(line.as_bytes(), &fields)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Against `serde_json`.
    #[test]
    fn lines_are_those_of_serde_json(
        request in any_head("P\u{e9}T /a/42\"/\u{1}?b=\\&sig=1 HTTP/1.1"), response in any_head("HTTP/1.0 503 X"),
        ends in 0..3_u8, selection in 0..3_u8, redact: bool, v6: bool, numbers: [u64; 8], flags: [bool; 5],
    ) {
        let request = (ends != 1).then(|| message(request, numbers[0], 0, 1));
        let response = (ends != 2).then(|| message(response, numbers[1], 2, 3));
        let mut exchange = exchange_of(request, response);
        if let Some(request) = &mut exchange.request {
            request.first = Timestamp(numbers[2]);
            request.ambiguous_length = flags[0];
        }
        if v6 {
            exchange.connection.server.address = IpAddr::from(u128::from(numbers[3]).to_be_bytes());
        }
        (exchange.connection.flow, exchange.index) = (numbers[4], numbers[5] as u32);
        exchange.timing.connect = flags[1].then_some(numbers[6]);
        exchange.untrusted = Untrusted { gap: flags[2], pairing: flags[3], ..Untrusted::default() };
        exchange.tcp.gap_bytes = numbers[7];
        if flags[4] {
            exchange.interim = vec![Interim { status: 103, first: Timestamp(FIRST) }; 2];
        }
        let headers = match selection {
            0 => HeaderSelection::default(),
            1 => HeaderSelection::named(["x-a", "cookie"]),
            _ => HeaderSelection::all(),
        };
        let options = RecordOptions { headers, redact, ..options() };
        let mut written = Vec::new();
        Record::new(&exchange, &options).write_json(&mut written).unwrap();
        prop_assert_eq!(String::from_utf8(written).unwrap(), line(&exchange, &options));
    }

    /// Against all fields, of which the others are left out. A name may be asked for in capitals; records have none.
    #[test]
    fn selected_fields_are_some_of_all(head in any_head("GET / HTTP/1.1"), redact: bool, which: [bool; 6]) {
        let names = ["host", "Server", "location", "user-agent", "x-a", "cookie"].into_iter().zip(which);
        let names: Vec<_> = names.filter(|(_, wanted)| *wanted).map(|(name, _)| name.to_owned()).collect();
        let exchange = exchange_of(Some(message(head, 0, 0, 1)), None);
        let shown = |headers| {
            let mut written = Vec::new();
            let options = RecordOptions { headers, redact, ..options() };
            Record::new(&exchange, &options).write_json(&mut written).unwrap();
            let record: Value = serde_json::from_slice(&written).unwrap();
            record["http"]["request"]["header"].as_object().cloned().unwrap_or_default()
        };
        let mut expected = shown(HeaderSelection::all());
        expected.retain(|name, _| names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name)));
        prop_assert_eq!(shown(HeaderSelection::named(names)), expected);
    }
}
