//! Selections against a slow oracle: the record as JSON.

use std::sync::Arc;

use gannet_http::{Exchange, Interim, State};
use gannet_packet::{Surroundings, TunnelKind};
use proptest::prelude::*;
use serde_json::Value;

use super::fields::{self, Kind};
use super::*;
use crate::Interfaces;
use crate::sample::{exchange, exchange_of, head, message, request};

fn options() -> RecordOptions {
    let interfaces = Interfaces::default();
    interfaces.add("eth0".to_owned());
    RecordOptions { headers: HeaderSelection::all(), redact: false, interfaces, ..RecordOptions::default() }
}

fn json(exchange: &Exchange) -> Value {
    serde_json::to_value(Record::new(exchange, &options())).unwrap()
}

fn selects(selection: &Selection, exchange: &Exchange) -> bool {
    Selector::new(selection.clone(), options()).is_none_or(|mut selector| selector.selects(exchange))
}

fn holds(expression: &str, exchange: &Exchange) -> bool {
    let expression = Expression::new(expression).unwrap_or_else(|error| panic!("{error}"));
    selects(&Selection { expression: Some(expression), ..Selection::default() }, exchange)
}

/// `GET /users/42?x=1` of shop.example, answered by a 503 after 1.5 ms.
fn sample() -> Exchange {
    let fields =
        [("Host", "Shop.example:8080"), ("User-Agent", "curl/8.5"), ("Accept", "a"), ("accept", "b")];
    let response = head(b"HTTP/1.1 503 Down", &[(b"Content-Type", b"application/json")]);
    let mut exchange = exchange(request("GET /users/42?x=1 HTTP/1.1", &fields), response);
    exchange.untrusted.gap = true;
    exchange
}

fn unanswered() -> Exchange {
    let mut exchange = exchange_of(Some(message(request("POST /a HTTP/1.0", &[]), 7, 0, 1_000)), None);
    exchange.completed.time = started(&exchange);
    exchange.completed.time.0 += 5_000_000_000;
    exchange
}

fn orphan() -> Exchange {
    exchange_of(None, Some(message(head(b"HTTP/1.1 408 X", &[]), 0, 0, 1_000_000)))
}

#[test]
fn expressions_that_hold() {
    for expression in [
        "http.response.status_code >= 500",
        "http.response.status_code in [502, 503]",
        "http.request.method == \"GET\" && url.path.startsWith('/users/')",
        "http.route == '/users/{id}'",
        "!(http.response.status_code < 500) && true",
        "server.address.lowerAscii().endsWith('.example')",
        "timing.total_ns > duration('1ms') && timing.total_ns <= duration(\"1.5ms\")",
        "timing.total_ns / 1000000 == 1",
        "timing.total_ns / 1e6 == 1.5",
        "timing.ttfb_ns + timing.receive_ns == timing.total_ns",
        "url.query.matches('^x=[0-9]$')",
        "'gap' in gannet.untrusted && size(gannet.untrusted) == 1",
        "gannet.untrusted.exists(reason, reason.startsWith('g'))",
        "gannet.untrusted.all(reason, reason != 'midstream' && url.scheme == 'http')",
        "gannet.untrusted.exists_one(reason, reason == 'gap')",
        "http.request.header['user-agent'][0].contains('curl')",
        "http.request.header['User-Agent'] == ['curl/8.5']",
        "http.request.header.accept == ['a', 'b'] && size(http.request.header.accept) == 2",
        "'accept' in http.request.header && !('cookie' in http.request.header)",
        "http.response.header['content-type'][0] == 'application/json'",
        "has(http.response) && has(http.response.status_code) && !has(gannet.tunnel)",
        "gannet.tunnel == null && gannet.vlan == null && http.response != null",
        "(has(gannet.vlan) ? gannet.vlan : -1) == -1",
        "client.port % 2 == 0 && -client.port < 0",
        "timestamp > '2020' && timestamp < '2100'",
        "user_agent.original + '!' == 'curl/8.5!'",
        "gannet.state == 'complete' || 1 == 2",
        "'ä' != url.path",
        "http.response.body.size == 1234u",
    ] {
        assert!(holds(expression, &sample()), "{expression}");
        assert!(!holds(&format!("!({expression})"), &sample()), "!({expression})");
    }
}

/// What a record lacks is null, which is equal to null only, and neither more nor less than anything.
#[test]
fn fields_that_are_not_there() {
    for (expression, expected) in [
        ("http.response.status_code >= 500", false),
        ("http.response.status_code < 500", false),
        ("!(http.response.status_code >= 500)", true),
        ("http.response.status_code == 500", false),
        ("http.response.status_code != 500", true),
        ("http.response.status_code == null", true),
        ("http.response.status_code in [200, 500]", false),
        ("http.response.status_code in [200, null]", true),
        ("http.response.status_code + 1 == null", true),
        ("http.response == null", true),
        ("has(http.response)", false),
        ("timing.total_ns > 0", false),
        ("timing.total_ns == null", true),
        ("has(timing.total_ns)", false),
        ("url.query.contains('')", false),
        ("!url.query.contains('x')", true),
        ("url.query.matches('')", false),
        ("size(url.query) == null", true),
        ("url.query.lowerAscii() == null", true),
        ("http.request.header['cookie'][0] == null", true),
        ("http.request.header['cookie'] == null", true),
        ("http.request.header['cookie'].exists(v, v == 'x')", false),
        ("gannet.untrusted[0] == null && gannet.untrusted[-1] == null", true),
        ("size(timing.interim) == 0 && gannet.notes == null && !('x' in gannet.notes)", true),
        ("gannet.notes.all(note, note == 'x')", false),
        ("9223372036854775807 + client.port == null && client.port / 0 == null", true),
        ("-http.response.status_code == null", true),
        ("http.response.status_code > 0 || http.request.method == 'POST'", true),
        ("http.response.status_code > 0 ? false : true", true),
    ] {
        assert_eq!(holds(expression, &unanswered()), expected, "{expression}");
    }
    assert!(holds("http.request == null && url.path == null && http.response.status_code == 408", &orphan()));
}

#[test]
fn mistakes_are_found_and_shown() {
    for (expression, expected) in [
        (
            "http.response.status >= 500",
            "there is no field http.response.status: did you mean http.response.status_code?\n    \
             http.response.status >= 500\n    ^",
        ),
        (
            "url.path == '/' && http.response.status_code == '500'",
            "http.response.status_code is a number, and \"500\" is a text\n    \
             url.path == '/' && http.response.status_code == '500'\n    \
             \x20                                            ^",
        ),
        ("url.path", "the expression is a text, where yes or no is wanted\n    url.path\n    ^"),
        (
            "url.path >= 5 &&",
            "the expression ends where more is wanted\n    url.path >= 5 &&\n                    ^",
        ),
        (
            "url.path == 'x",
            "the text that begins here has no closing quote\n    url.path == 'x\n                ^",
        ),
        (
            "timing.total_ns > 5 ms",
            "'ms' is not expected here: times are as in duration(\"5ms\")\n    timing.total_ns > 5 ms\n                        ^",
        ),
        (
            "'ä' == url.path ||\n  url.pth == 'ö'",
            "there is no field url.pth: did you mean url.path?\n      url.pth == 'ö'\n      ^",
        ),
        (
            "gannet.untrusted == 'gap'",
            "gannet.untrusted is a list, and \"gap\" is a text: use `in`, or take an item of the list, as in [0]\n    gannet.untrusted == 'gap'\n                     ^",
        ),
        (
            "5 in gannet.untrusted",
            "5 is a number, and each in the list is a text\n    5 in gannet.untrusted\n      ^",
        ),
        ("'x' in url.path", "url.path is a text, a list is wanted\n    'x' in url.path\n           ^"),
        (
            "url.path < null",
            "null is neither more nor less than anything: == and != ask for it\n    url.path < null\n             ^",
        ),
        (
            "url.path.startWith('/')",
            "there is no function startWith: there are contains, startsWith, endsWith, matches, lowerAscii, size, duration, has, exists, all\n    url.path.startWith('/')\n                      ^",
        ),
        (
            "url.path.contains()",
            "contains does not take 0 values\n    url.path.contains()\n                     ^",
        ),
        (
            "url.path.matches('(')",
            "no regular expression: unclosed group\n    url.path.matches('(')\n                     ^",
        ),
        (
            "url.path.matches(url.query)",
            "the pattern is a text in quotes\n    url.path.matches(url.query)\n                     ^",
        ),
        (
            "timing.total_ns > duration('5 ms')",
            "a duration is a text like \"250ms\", \"1.5s\" or \"1m30s\"\n    timing.total_ns > duration('5 ms')\n                               ^",
        ),
        (
            "http.response == 5",
            "http.response is an object, and 5 is a number\n    http.response == 5\n                  ^",
        ),
        (
            "client.port && true",
            "client.port is a number, true or false is wanted\n    client.port && true\n    ^",
        ),
        (
            "gannet.untrusted.exists(r, q == r)",
            "there is no field q\n    gannet.untrusted.exists(r, q == r)\n                               ^",
        ),
        (
            "url.path.exists(c, c == 'a')",
            "url.path is a text, a list is wanted\n    url.path.exists(c, c == 'a')\n    ^",
        ),
        (
            "gannet.untrusted.map(r, r) == []",
            "lists are not made anew: use exists() or all()\n    gannet.untrusted.map(r, r) == []\n                        ^",
        ),
        (
            "[1, 'a'] == []",
            "a list holds what is alike: a number comes first, and this is a text\n    [1, 'a'] == []\n        ^",
        ),
        ("{'a': 1} == null", "nothing of a record can be compared with this\n    {'a': 1} == null\n    ^"),
        ("", "the expression is empty\n    \n    ^"),
        ("status >", "the expression ends where more is wanted\n    status >\n            ^"),
        ("(1 == 1", "')' is missing here\n    (1 == 1\n           ^"),
        ("1 == 1)", "')' is not expected here\n    1 == 1)\n          ^"),
        ("1 == #2", "# means nothing here\n    1 == #2\n         ^"),
        ("1 = 2", "= means nothing here: equality is ==\n    1 = 2\n      ^"),
        (
            "url.path ~ '/a'",
            "~ means nothing here: regular expressions are TEXT.matches(\"...\")\n    url.path ~ '/a'\n             ^",
        ),
        ("true & true", "& means nothing here: both is &&\n    true & true\n         ^"),
        ("true and true", "'and' is not expected here: it is written &&\n    true and true\n         ^"),
        ("true or true", "'or' is not expected here: it is written ||\n    true or true\n         ^"),
        (
            "url.path == /x",
            "'/' is not expected here: a text has quotes around it\n    url.path == /x\n                ^",
        ),
        (
            "http.response.status_code == 5xx",
            "'xx' is not expected here: a class of statuses is >= 500 && < 600, or --status 5xx\n    \
             http.response.status_code == 5xx\n                                  ^",
        ),
        (
            "url.path contains 'x'",
            "'contains' is not expected here: it is written TEXT.contains(\"...\")\n    url.path contains 'x'\n             ^",
        ),
        ("> 1", "'>' is not expected here\n    > 1\n    ^"),
        ("[1, ", "']' is missing here\n    [1, \n        ^"),
    ] {
        assert_eq!(Expression::new(expression).unwrap_err().to_string(), expected, "{expression}");
    }
    assert!(Expression::new(&"1 == 1 &&".repeat(10_000)).is_err());
}

/// Every name of a record's JSON is a field, of the kind that is said of it.
#[test]
fn fields_are_those_of_records() {
    let mut odd = sample();
    odd.connection.around = Surroundings::sample(Some((TunnelKind::Vxlan, Some(7))), &[100, 5]);
    odd.interim.push(Interim { status: 100, first: started(&odd) });
    odd.request = Some(message(request("BREW /a?b HTTP/1.1", &[("Host", "h")]), 0, 0, 1));
    odd.request.as_mut().unwrap().head.folded = true;
    let mut seen = std::collections::BTreeSet::new();
    for exchange in [sample(), odd, orphan(), unanswered()] {
        names(&json(&exchange), String::new(), &mut seen);
    }
    assert!(seen.len() > 50, "{seen:?}");
}

fn names(value: &Value, name: String, seen: &mut std::collections::BTreeSet<&'static str>) {
    let field = fields::all().find(|(field, _)| *field == name);
    match (field, value) {
        (Some((field, kind)), value) => {
            let items =
                |what: fn(&Value) -> bool| value.as_array().is_some_and(|items| items.iter().all(what));
            let is_right = match kind {
                Kind::Text => value.is_string(),
                Kind::Number => value.is_number() || value.is_null(),
                Kind::Texts => items(Value::is_string),
                Kind::Objects => items(Value::is_object),
                Kind::Flag => value.is_boolean(),
                Kind::Headers => value.is_object(),
            };
            assert!(is_right, "{name} {kind:?} {value}");
            seen.insert(field);
        }
        (None, Value::Object(object)) => {
            for (key, value) in object {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                names(value, name, seen);
            }
        }
        (None, value) => panic!("{name} is in a record and not in the list: {value}"),
    }
}

#[test]
fn methods_hosts_paths() {
    let any = Selection::default();
    let methods =
        |list: &[&str]| Selection { methods: list.iter().map(|m| (*m).to_owned()).collect(), ..any.clone() };
    assert!(selects(&methods(&["post", "get"]), &sample()));
    assert!(!selects(&methods(&["ge", "gett"]), &sample()) && !selects(&methods(&["get"]), &orphan()));
    let host = |text: &str| Selection { hosts: vec![Glob::of_host(text).unwrap()], ..any.clone() };
    for (text, exchange, expected) in [
        ("shop.example", sample(), true),
        ("SHOP.*", sample(), true),
        ("*.example", sample(), true),
        ("shop.exampl", sample(), false),
        ("{a,shop}.exampl[a-f]", sample(), true),
        // Without a Host field the server's address is the host.
        ("10.0.0.?", unanswered(), true),
        ("10.0.1.*", unanswered(), false),
        ("10.*", orphan(), true),
    ] {
        assert_eq!(selects(&host(text), &exchange), expected, "{text}");
    }
    let path = |text: &str| Selection { paths: vec![Glob::of_path(text).unwrap()], ..any.clone() };
    for (text, exchange, expected) in [
        ("/users/42", sample(), true),
        ("/users/*", sample(), true),
        ("/*2", sample(), true),
        ("/users/??", sample(), true),
        ("/users", sample(), false),
        ("/Users/42", sample(), false),
        ("/users/42?x=1", sample(), false),
        ("*", orphan(), false),
    ] {
        assert_eq!(selects(&path(text), &exchange), expected, "{text}");
    }
    assert!(Glob::of_path("[").is_err() && Glob::of_host("{a").is_err());
    // What could fit nothing.
    assert!(
        Glob::of_path("api/*").is_err_and(|text| text.contains(": /api/*,")) && Glob::of_path("").is_err()
    );
    assert!(Glob::of_host("a.example:80").is_err_and(|text| text.contains(": a.example (")));
    for (host, expected) in [
        ("", "it is empty: write a host or a pattern, such as shop.example or *.example"),
        ("http://shop.example", "hosts are no URLs: write shop.example"),
        ("http://shop.example?q/r", "hosts are no URLs: write shop.example"),
        ("http://me:pw@shop.example:8/a", "hosts are no URLs: write --host shop.example --path /a"),
        ("https://shop.example:8443/", "hosts are no URLs: write shop.example"),
        ("http://[::1]:80/a/b?c", "hosts are no URLs: write --host ::1 --path /a/b"),
        ("shop.example/a", "hosts are without a path here: write --host shop.example --path /a"),
        (":8080", "ports are no hosts: --ports 8080, or server.port in --where"),
    ] {
        assert_eq!(Glob::of_host(host).unwrap_err(), expected);
    }
    for (path, expected) in [
        ("", "it is empty: write a path or a pattern, such as / or /api/*"),
        ("http://shop.example/a?b", "paths are no URLs: write --host shop.example --path /a"),
    ] {
        assert_eq!(Glob::of_path(path).unwrap_err(), expected);
    }
    assert!(Glob::of_path("/proxy/http://shop.example").is_ok() && Glob::of_path("*://*").is_ok());
    assert!(Glob::of_host("2001:db8::*").is_ok() && Glob::of_host("::1").is_ok());
}

#[test]
fn bodies_that_have_to_be_kept() {
    let field = |text: &str| Expression::new(text).unwrap().field_of_body().map(str::to_owned);
    assert_eq!(
        field("http.response.status_code == 200 && http.response.body.content.contains('x')").as_deref(),
        Some("http.response.body.content")
    );
    assert_eq!(
        field("has(http.request.body.decoded_size)").as_deref(),
        Some("http.request.body.decoded_size")
    );
    for without in ["http.request.body.size > 9", "http.response.header.body == ['x']", "url.path == '/'"] {
        assert_eq!(field(without), None, "{without}");
    }
}

#[test]
fn durations() {
    let slower = |nanos| Selection { slower_ns: Some(nanos), ..Selection::default() };
    assert!(selects(&slower(1_499_999), &sample()) && !selects(&slower(1_500_000), &sample()));
    // Five seconds without an answer so far.
    assert!(
        selects(&slower(4_999_999_999), &unanswered()) && !selects(&slower(5_000_000_000), &unanswered())
    );
    assert!(!selects(&slower(0), &orphan()));
}

#[test]
fn requests_alone() {
    let selection = Selection { methods: vec!["GET".into()], ..Selection::default() };
    let mut selector = Selector::new(selection, options()).unwrap();
    let exchange = sample();
    let head = &exchange.request.as_ref().unwrap().head;
    assert!(selector.selects_request(&exchange.connection, Some(head)));
    assert!(!selector.selects_request(&exchange.connection, None));
    let post = request("POST / HTTP/1.1", &[]);
    assert!(!selector.selects_request(&exchange.connection, Some(&post)));
}

fn any_exchange() -> impl Strategy<Value = Exchange> {
    let method = prop_oneof![Just("GET"), Just("post"), Just("BREW")];
    let path = prop_oneof![Just("/"), Just("/a/1"), Just("/a/b?c=d"), Just("*"), Just("http://other/a")];
    let host = prop_oneof![Just(None), Just(Some("a.example")), Just(Some("B.example:81"))];
    let status = prop_oneof![Just(None), Just(Some(200_u16)), Just(Some(404)), Just(Some(503))];
    (method, path, host, status, 20_000..4_000_000_u64, any::<(bool, bool)>()).prop_map(
        |(method, path, host, status, total, (orphan, gap))| {
            let fields: Vec<_> = host.iter().map(|host| ("Host", *host)).collect();
            let request = request(&format!("{method} {path} HTTP/1.1"), &fields);
            let request = message(request, 3, 0, 20_000);
            let response = status
                .map(|status| message(head(format!("HTTP/1.1 {status} X").as_bytes(), &[]), 9, total, total));
            let request = (!(orphan && response.is_some())).then_some(request);
            let mut exchange = exchange_of(request, response);
            exchange.timing.total = (exchange.state == State::Complete).then_some(total);
            exchange.completed.time = started(&exchange);
            exchange.completed.time.0 += total;
            exchange.untrusted.gap = gap;
            exchange
        },
    )
}

/// What a record's JSON says to a question.
type Says = fn(&Value) -> bool;

/// A comparison, and what the JSON says of it.
fn any_comparison() -> impl Strategy<Value = (String, Says)> {
    fn status(json: &Value) -> Option<u64> {
        json.pointer("/http/response/status_code").and_then(Value::as_u64)
    }
    fn total(json: &Value) -> Option<u64> {
        json.pointer("/timing/total_ns").and_then(Value::as_u64)
    }
    fn path(json: &Value) -> Option<&str> {
        json.pointer("/url/path").and_then(Value::as_str)
    }
    let list: [(&str, Says); 9] = [
        ("http.response.status_code >= 404", |json| status(json).is_some_and(|status| status >= 404)),
        ("http.response.status_code != 200", |json| status(json) != Some(200)),
        ("http.response.status_code == null", |json| status(json).is_none()),
        ("timing.total_ns < 2000000", |json| total(json).is_some_and(|total| total < 2_000_000)),
        ("timing.total_ns / 1000 > 1000", |json| total(json).is_some_and(|total| total / 1000 > 1000)),
        ("url.path.startsWith('/a')", |json| path(json).is_some_and(|path| path.starts_with("/a"))),
        ("url.path in ['/', '*']", |json| path(json).is_some_and(|path| ["/", "*"].contains(&path))),
        ("'gap' in gannet.untrusted", |json| {
            json["gannet"]["untrusted"].as_array().unwrap().contains(&"gap".into())
        }),
        ("http.request.header.host[0].endsWith('example')", |json| {
            let host = json.pointer("/http/request/header/host/0").and_then(Value::as_str);
            host.is_some_and(|host| host.ends_with("example"))
        }),
    ];
    proptest::sample::select(list.to_vec()).prop_map(|(text, oracle)| (text.to_owned(), oracle))
}

/// An expression of several comparisons, and what the JSON says of it.
#[derive(Clone)]
struct Made {
    text: String,
    oracle: Arc<dyn Fn(&Value) -> bool>,
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

fn any_expression() -> impl Strategy<Value = Made> {
    let made = |text: String, oracle: Arc<dyn Fn(&Value) -> bool>| Made { text, oracle };
    let leaf = any_comparison().prop_map(move |(text, oracle)| made(text, Arc::new(oracle)));
    leaf.prop_recursive(4, 12, 3, move |inner| {
        let some = || inner.clone();
        prop_oneof![
            (some(), some()).prop_map(move |(a, b)| {
                let text = format!("({}) && ({})", a.text, b.text);
                made(text, Arc::new(move |json| (a.oracle)(json) && (b.oracle)(json)))
            }),
            (some(), some()).prop_map(move |(a, b)| {
                let text = format!("({}) || ({})", a.text, b.text);
                made(text, Arc::new(move |json| (a.oracle)(json) || (b.oracle)(json)))
            }),
            (some(), some(), some()).prop_map(move |(a, b, c)| {
                let text = format!("({}) ? ({}) : ({})", a.text, b.text, c.text);
                made(
                    text,
                    Arc::new(move |json| if (a.oracle)(json) { (b.oracle)(json) } else { (c.oracle)(json) }),
                )
            }),
            some().prop_map(move |a| made(format!("!({})", a.text), Arc::new(move |json| !(a.oracle)(json)))),
        ]
    })
}

proptest! {
    #[test]
    fn expressions_say_what_the_json_says(
        made in any_expression(),
        exchanges in proptest::collection::vec(any_exchange(), 1..8),
    ) {
        let expression = Expression::new(&made.text).unwrap();
        let selection = Selection { expression: Some(expression), ..Selection::default() };
        // One for all: nothing of an exchange must be left for the next.
        let mut selector = Selector::new(selection, options()).unwrap();
        for exchange in exchanges {
            let json = json(&exchange);
            prop_assert_eq!(selector.selects(&exchange), (made.oracle)(&json), "{} of {}", made.text, json);
        }
    }

    /// The short forms, alone and together, against the JSON.
    #[test]
    fn short_forms_say_what_the_json_says(
        exchange in any_exchange(), method: bool, host: bool, path: bool, status: bool, slower: bool,
    ) {
        let selection = Selection {
            methods: if method { vec!["get".into(), "POST".into()] } else { Vec::new() },
            hosts: if host { vec![Glob::of_host("*.EXAMPLE").unwrap(), Glob::of_host("other").unwrap()] } else { Vec::new() },
            paths: if path { vec![Glob::of_path("/a*").unwrap()] } else { Vec::new() },
            statuses: status.then(|| StatusSet::new("4xx,503,none").unwrap()),
            slower_ns: slower.then_some(2_000_000),
            expression: None,
        };
        let json = json(&exchange);
        let text = |pointer| json.pointer(pointer).and_then(Value::as_str);
        let sent = text("/http/request/method_original").or(text("/http/request/method"));
        let address = text("/server/address").unwrap().to_lowercase();
        let code = json.pointer("/http/response/status_code").and_then(Value::as_u64);
        let total = json["timing"]["total_ns"].as_u64();
        let so_far = exchange.request.as_ref().map(|request| exchange.completed.time.0 - request.first.0);
        let expected = (!method || sent.is_some_and(|sent| ["get", "post"].contains(&sent.to_lowercase().as_str())))
            && (!host || address.ends_with(".example") || address == "other")
            && (!path || text("/url/path").is_some_and(|path| path.starts_with("/a")))
            && (!status || code.is_none_or(|code| (400..500).contains(&code) || code == 503))
            && (!slower || total.or(so_far).is_some_and(|nanos| nanos > 2_000_000));
        prop_assert_eq!(selects(&selection, &exchange), expected, "{}", json);
    }

    /// Whatever is typed, it is understood or refused.
    #[test]
    fn no_text_makes_it_panic(text in "[a-z.0-9 '\"(){}\\[\\]<>=!&|?:+*/%,\\\\-]{0,40}|\\PC{0,40}") {
        if let Err(error) = Expression::new(&text) {
            let _ = error.to_string();
        }
    }
}
