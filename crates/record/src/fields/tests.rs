//! The registry and the schema against records of all kinds.

use std::collections::BTreeSet;

use gannet_flow::{Handshake, Moment};
use gannet_http::{
    Confidence, Exchange, Field as HeadField, Head, HeadKind, HeadReport, Interim, Message, MessageReport,
    Oddities, PendingRequest, Reason, State, TcpFacts, Trailers, Tunnel, TunnelProtocol, Untrusted,
    WebSocketFrames,
};
use gannet_packet::{Surroundings, Timestamp, TunnelKind};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::sample::{FIRST, exchange, exchange_of, head, message, request};
use crate::{EventRecord, Interfaces, Record, RecordOptions, Routes};

fn options() -> RecordOptions {
    let interfaces = Interfaces::default();
    interfaces.add("eth0".into());
    RecordOptions {
        interfaces,
        host_name: Some("tap1".into()),
        routes: Routes::new(vec!["/ws/*".into()]).unwrap(),
        ..RecordOptions::default()
    }
}

fn trailers() -> Option<Box<Trailers>> {
    let raw = b"Digest: x\r\ndigest: y\r\nCookie: s3cret\r\n";
    let at = |name, value| HeadField { name, value };
    let fields = [at(0..6, 8..9), at(11..17, 19..20), at(22..28, 30..36)];
    Some(Box::new(Trailers::new(raw.as_slice().into(), fields.into())))
}

fn with_body(message: Message, body: &[u8]) -> Message {
    Message { body: body.into(), body_bytes: body.len() as u64, trailers: trailers(), ..message }
}

/// A request with all that records make something of.
fn asked() -> Head {
    let fields = [
        ("Host", "shop.example:8080"),
        ("User-Agent", "curl/8.5"),
        ("X-Request-Id", "7f"),
        ("Forwarded", "for=\"[2001:db8::1]:80\";proto=https"),
        ("X-Forwarded-For", "192.0.2.1"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("Content-Type", "text/xml; charset=utf-8"),
        ("Content-Encoding", "identity"),
        ("SOAPAction", "\"urn:Shop#Buy\""),
    ];
    request("PURGE http://shop.example:8080/ws/7?a=1 HTTP/1.1", &fields)
}

fn answered() -> Head {
    let fields: [(&[u8], &[u8]); 3] =
        [(b"Server", b"x"), (b"Content-Encoding", b"gzip"), (b"Content-Type", b"text/plain")];
    head(b"HTTP/1.1 200 OK", &fields)
}

/// Every field of an exchange is in one of them.
fn exchanges() -> Vec<Exchange> {
    let before = |nanos| Some(Timestamp(FIRST - nanos));
    let mut full = exchange_of(
        Some(with_body(message(asked(), 0, 0, 20_000), "<a>caf\u{e9}\"\u{fffd}</a>".as_bytes())),
        Some(with_body(message(answered(), 0, 1_000_000, 1_500_000), &[0x1f, 0x8b, 8, 0])),
    );
    full.timing.handshake = Handshake::new(before(70_000), before(20_000), before(0));
    full.timing.connect = Some(70_000);
    full.timing.think = Some(1);
    full.timing.server_round_trip = Some(2);
    full.timing.client_round_trip = Some(u64::MAX);
    full.interim = vec![Interim { status: 100, first: Timestamp(FIRST) }];
    full.connection.around = Surroundings::sample(Some((TunnelKind::Vxlan, Some(7))), &[1, 4095]);
    full.untrusted =
        Untrusted { retransmitted: true, gap: true, midstream: true, early_answer: true, pairing: true };
    full.tcp = TcpFacts {
        retransmitted_bytes: u64::MAX,
        client_retransmitted_bytes: 1,
        out_of_order: u32::MAX,
        gap_bytes: 1,
        zero_windows: 1,
        zero_window_ns: 1,
    };
    for message in [&mut full.request, &mut full.response].into_iter().flatten() {
        message.head.cut = true;
        message.oddities.add(Oddities::BAD_CHUNK);
    }
    let mut web_socket = exchange(request("GET /chat HTTP/1.1", &[]), head(b"HTTP/1.1 101 Switching", &[]));
    let mut frames = WebSocketFrames::default();
    (frames.payload_bytes, frames.close_code) = (5, Some(1_000));
    web_socket.tunnel = Some(Box::new(Tunnel {
        protocol: TunnelProtocol::WebSocket,
        server_name: Some("shop.example".into()),
        first: Timestamp(FIRST),
        last: Timestamp(FIRST + 9),
        client_bytes: 1,
        server_bytes: 2,
        websocket: Some([frames; 2]),
        reason: Reason::Fin,
    }));
    let mut all = vec![
        full,
        web_socket,
        exchange(request("CONNECT shop.example:443 HTTP/1.1", &[]), head(b"HTTP/1.0 200", &[])),
        exchange_of(Some(message(request("GET / HTTP/1.0", &[]), 0, 0, 5)), None),
        exchange_of(None, Some(message(answered(), 3, 0, 5))),
        exchange(request("GET / HTTP/1.1", &[]), head(b"HTTP/1.1 204 No Content", &[])),
    ];
    for state in State::ALL {
        let mut one = exchange(request("GET / HTTP/1.1", &[]), head(b"HTTP/1.1 200 OK", &[]));
        one.state = state;
        all.push(one);
    }
    for reason in Reason::ALL {
        let mut one = exchange(request("GET / HTTP/1.1", &[]), head(b"HTTP/1.1 200 OK", &[]));
        one.reason = reason;
        all.push(one);
    }
    all
}

/// Every line of the golden set with `options`.
fn lines(options: &RecordOptions) -> Vec<String> {
    let mut lines = Vec::new();
    let mut add = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut line = Vec::new();
        write(&mut line);
        lines.push(String::from_utf8(line).unwrap());
    };
    let exchanges = exchanges();
    for exchange in &exchanges {
        add(&|line| Record::new(exchange, options).write_json(line).unwrap());
    }
    let first = &exchanges[0];
    let (connection, now) = (first.connection, Moment { time: Timestamp(FIRST + 9), position: 1 });
    for (kind, side) in [(HeadKind::Request, &first.request), (HeadKind::Response, &first.response)] {
        for request in [None, Some(Box::new(asked()))] {
            let index = request.as_ref().map(|_| 3);
            let message = side.clone().unwrap();
            let report = MessageReport { connection, kind, index, request, message, now };
            add(&|line| EventRecord::of_message(&report, options).write_json(line).unwrap());
        }
    }
    let of_head = |kind, head| {
        let request = Some(Box::new(asked()));
        HeadReport { connection, kind, index: Some(1), head, request, first: Timestamp(FIRST), now }
    };
    let interim = of_head(HeadKind::Interim, head(b"HTTP/1.1 103 Early Hints", &[(b"Server", b"x")]));
    for report in [interim, of_head(HeadKind::Request, asked()), of_head(HeadKind::Response, answered())] {
        add(&|line| EventRecord::of_head(&report, options).write_json(line).unwrap());
    }
    let pending = PendingRequest { connection, index: 1, head: asked(), first: Timestamp(FIRST), now };
    add(&|line| EventRecord::of_pending(&pending, options).write_json(line).unwrap());
    lines
}

/// The names of all keys in a value, as the registry has them; those of headers only up to their object.
fn names(value: &Value, prefix: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                into.insert(name.clone());
                if !matches!(field(&name).map(|field| field.kind), Some(Kind::Headers)) {
                    names(value, &name, into);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, &format!("{prefix}[]"), into)),
        _ => {}
    }
}

fn line_of(value: &Value) -> Lines {
    let event = value["gannet"]["event"].as_str();
    Lines::EACH.into_iter().find(|(_, name)| *name == event).unwrap().0
}

#[test]
fn what_is_in_records_is_in_the_registry_and_the_other_way_round() {
    let mut seen = vec![BTreeSet::new(); Lines::EACH.len()];
    for line in lines(&options()) {
        let value: Value = serde_json::from_str(&line).unwrap();
        let of = line_of(&value);
        let at = Lines::EACH.iter().position(|(line, _)| *line == of).unwrap();
        names(&value, "", &mut seen[at]);
    }
    for ((line, event), seen) in Lines::EACH.into_iter().zip(seen) {
        let known: BTreeSet<_> =
            FIELDS.iter().filter(|field| field.lines.has(line)).map(|field| field.name.to_owned()).collect();
        let missing: Vec<_> = seen.difference(&known).collect();
        assert!(missing.is_empty(), "{event:?}: not in the registry: {missing:?}");
        let unseen: Vec<_> = known.difference(&seen).collect();
        assert!(unseen.is_empty(), "{event:?}: in no record: {unseen:?}");
    }
}

#[test]
fn the_list_is_in_order() {
    let mut before = BTreeSet::new();
    for field in FIELDS {
        assert!(before.insert(field.name), "{} is twice", field.name);
        if let Some((object, _)) = field.name.rsplit_once('.') {
            assert!(before.contains(object.trim_end_matches("[]")), "{} before its object", field.name);
        }
        assert!(field.lines.has(field.always), "{}", field.name);
        assert!(
            !field.about.is_empty() && !field.about.ends_with('.') && field.about.is_ascii(),
            "{}",
            field.name
        );
        assert_eq!(field.name.ends_with("_ns"), field.unit == "ns", "{}", field.name);
    }
}

/// What records can say of themselves is explained, each value once, to the manual and the schema alike.
#[test]
fn values_are_explained() {
    let schema = schema(None);
    for (name, len) in [
        ("gannet.state", State::ALL.len()),
        ("gannet.reason", Reason::ALL.len()),
        ("gannet.switched.reason", Reason::ALL.len()),
        ("gannet.pair_confidence", Confidence::ALL.len()),
        ("gannet.untrusted", Untrusted::MEANINGS.len()),
        ("gannet.notes", 2 * (3 + Oddities::MEANINGS.len())),
    ] {
        let values = field(name).unwrap().kind.values();
        assert_eq!(values.len(), len, "{name}");
        let names: BTreeSet<_> = values.iter().map(|value| &value.name).collect();
        assert_eq!(names.len(), len, "{name}: a value is twice");
        let meanings = super::Value::meanings(&values);
        let explained: Vec<_> = meanings.iter().flat_map(|(names, _)| names.split(", ")).collect();
        assert!(
            explained.iter().copied().eq(values.iter().map(|value| value.name.as_str())),
            "{name}: {explained:?}"
        );
        for (names, about) in meanings {
            assert!(about.len() > 10 && about.is_ascii() && !about.ends_with('.'), "{names}: {about}");
            assert!(schema.contains(&format!("; {names}: {about}")), "{names}");
        }
    }
}

fn validator(choice: Option<&Choice>) -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(&schema(choice)).unwrap();
    jsonschema::draft202012::meta::validate(&schema).unwrap();
    jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap()
}

#[test]
fn records_are_valid() {
    let validator = validator(None);
    for line in lines(&options()) {
        let value: Value = serde_json::from_str(&line).unwrap();
        // The messages of `oneOf` say little: the schema of this kind of line says more.
        assert!(validator.is_valid(&value), "{line}");
    }
}

#[test]
fn what_is_no_record_is_not_valid() {
    let validator = validator(None);
    let good: Value = serde_json::from_str(&lines(&options())[0]).unwrap();
    assert!(validator.is_valid(&good));
    for (pointer, key, value) in [
        ("", "new", json!(1)),
        ("", "timestamp", json!("yesterday")),
        ("/gannet", "state", json!("whole")),
        ("/gannet", "untrusted", json!(["bad"])),
        ("/gannet", "untrusted", json!(["gap", "gap"])),
        ("/gannet", "event", json!("request")),
        ("/gannet", "vlan", json!(4096)),
        ("/gannet/websocket", "client", json!({})),
        ("/timing", "total_ns", json!(1.5)),
        ("/timing", "total_ns", json!(-1)),
        ("/timing", "interim", json!([{"status_code": 100}])),
        ("/tcp", "out_of_order", Value::Null),
        ("/client", "port", json!(65_536)),
        ("/http/request", "header", json!({"host": "a"})),
        ("/http/request", "header", json!({"host": []})),
        ("/http/request", "method", json!("PURGE")),
    ] {
        let mut bad = good.clone();
        if let Some(Value::Object(object)) = bad.pointer_mut(pointer) {
            object.insert(key.to_owned(), value);
        } else if let Some((outer, inner)) = pointer.rsplit_once('/') {
            bad.pointer_mut(outer).unwrap()[inner] = json!({key: value});
        }
        assert!(!validator.is_valid(&bad), "{pointer}/{key}: {bad}");
    }
    for required in ["/timestamp", "/gannet/id", "/timing/syn_ns", "/network/peer", "/http/request/body"] {
        let mut bad = good.clone();
        let (object, key) = required.rsplit_once('/').unwrap();
        bad.pointer_mut(object).unwrap().as_object_mut().unwrap().remove(key).unwrap();
        assert!(!validator.is_valid(&bad), "{required}");
    }
}

/// What is left of a record, the slow way: by the names of all that is in it.
fn oracle(value: &Value, prefix: &str, chosen: &[&str]) -> Option<Value> {
    let is_chosen =
        |name: &str| chosen.iter().any(|chosen| name == *chosen || name.starts_with(&format!("{chosen}.")));
    match value {
        _ if is_chosen(prefix) => Some(value.clone()),
        Value::Object(members) => {
            let left = members.iter().filter_map(|(key, value)| {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                Some((key.clone(), oracle(value, &name, chosen)?))
            });
            let left: serde_json::Map<_, _> = left.collect();
            (!left.is_empty() || prefix.is_empty()).then_some(Value::Object(left))
        }
        _ => None,
    }
}

#[test]
fn a_choice_of_fields() {
    let choice = Choice::new(["url.path", " http.request.header.Host", "timing.interim", "tcp"]).unwrap();
    assert_eq!(choice.headers(), ["host"]);
    let options = RecordOptions { fields: Some(choice), ..options() };
    let expected = concat!(
        r#"{"http":{"request":{"header":{"host":["shop.example:8080"]}}},"url":{"path":"/ws/7"},"#,
        r#""timing":{"interim":[{"status_code":100,"first_ns":1795255872123456789}]},"#,
        r#""tcp":{"retransmitted":18446744073709551615,"client_retransmitted":1,"#,
        r#""server_retransmitted":18446744073709551614,"out_of_order":4294967295,"gap_bytes":1,"#,
        r#""zero_windows":1,"zero_window_ns":1}}"#,
    );
    assert_eq!(lines(&options)[0], expected);
    // Nothing of it is in there.
    let none = RecordOptions { fields: Some(Choice::new(["host"]).unwrap()), host_name: None, ..options };
    assert!(lines(&none).iter().all(|line| line == "{}"));
}

#[test]
fn names_that_no_field_has() {
    for (name, hint) in [
        ("path", "; there is url.path"),
        ("http.request.headers", "; the manual page lists them"),
        ("timing.interim[]", "; the manual page lists them"),
        ("timing.interim[].first_ns", ""),
        ("http.request.header.", "; the manual page lists them"),
        ("", "; the manual page lists them"),
    ] {
        let error = Choice::new(["timestamp", name]).unwrap_err();
        assert_eq!(error, NoField(name.to_owned()));
        assert!(error.to_string().ends_with(hint), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_choice_is_exact(places in proptest::collection::vec(0..FIELDS.len(), 1..6), header: bool) {
        let fields = places.iter().map(|at| FIELDS[*at].name).filter(|name| !name.contains("[]"));
        let mut chosen: Vec<_> = fields.collect();
        if header {
            chosen.push("http.response.header.server");
        }
        let choice = Choice::new(chosen.iter().copied()).unwrap();
        let validator = validator(Some(&choice));
        let whole = lines(&options());
        let part = lines(&RecordOptions { fields: Some(choice), ..options() });
        for (whole, part) in whole.iter().zip(&part) {
            let (whole, part): (Value, Value) = (serde_json::from_str(whole).unwrap(), serde_json::from_str(part).unwrap());
            let expected = oracle(&whole, "", &chosen).unwrap_or_default();
            prop_assert_eq!(&expected, &part);
            // Kinds of lines cannot be told apart any more if what differs is left out: any of them may fit.
            prop_assert!(validator.is_valid(&part), "{}", part);
        }
    }
}
