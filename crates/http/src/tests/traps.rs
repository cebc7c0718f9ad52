//! What a tool of this kind gets wrong if it is careless: one test for each trap that has none elsewhere.

use gannet_flow::{CloseReason, Handshake};
use gannet_packet::Timestamp;

use crate::testing::{CLIENT, Lane, SERVER, lines};
use crate::{
    Confidence, Exchange, ExchangeId, HeadEvent, Http, HttpConfig, MessageEvent, Oddities, PendingRequest,
    Reason, Sink, State,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

fn keeping(body: usize) -> HttpConfig {
    HttpConfig { body, ..HttpConfig::default() }
}

fn names(oddities: Oddities) -> Vec<&'static str> {
    oddities.names().collect()
}

#[test]
fn oddities_of_heads_are_said_however_they_are_cut() {
    for (request, odd) in [
        ("GET / HTTP/1.1\r\nA: b\r\n\r\n", &[][..]),
        ("GET / HTTP/1.1\nA: b\n\n", &["bare-lf"]),
        ("GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n", &["bare-lf"]),
        ("GET / HTTP/1.1\nA: b\r\n\r\n", &["bare-lf"]),
        ("GET / HTTP/1.1\r\nA: b\r\n\n", &["bare-lf"]),
        ("GET / HTTP/1.1\r\nA:\r\nC: d \r\n\r\n", &[]),
        ("\r\nGET / HTTP/1.1\r\n\r\n", &["blank-lines"]),
        ("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", &["folded"]),
        ("GET / HTTP/1.1\r\nA : b\r\n\r\n", &["space-before-colon"]),
        ("GET / HTTP/1.1\r\nno field\r\n\r\n", &["no-colon"]),
        ("GET /a b HTTP/1.1\r\n\r\n", &["blanks-in-target"]),
        ("GET / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n", &["duplicate-length"]),
        ("GET / HTTP/1.1\r\nContent-Length: 0, 0\r\n\r\n", &["duplicate-length"]),
        ("GET / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 7\r\n\r\n", &["conflicting-length"]),
        ("GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", &["conflicting-length"]),
        (
            "GET / HTTP/1.1\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            &["length-and-coding"],
        ),
        ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &["coding-in-1.0"]),
        ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", &["odd-coding"]),
        ("GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", &["odd-coding"]),
        ("GET / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n", &["odd-coding"]),
        ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0;last=1\r\n\r\n", &["chunk-extensions"]),
        ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[]),
    ] {
        for size in [1, 3, 17, 1_000] {
            let mut lane = Lane::new();
            for piece in request.as_bytes().chunks(size) {
                lane.client(piece);
            }
            let exchanges = lane.server(OK).finish();
            assert_eq!(lines(&exchanges), lines(&exchanges)[..1], "{}", request.escape_debug());
            let message = exchanges[0].request.as_ref().unwrap();
            assert_eq!(names(message.oddities), odd, "{} {size}", request.escape_debug());
            assert_eq!(
                message.ambiguous_length,
                odd.iter().any(|name| name.contains("length") || name.contains("coding")),
                "{}",
                request.escape_debug()
            );
        }
    }
    let answered = |response: &str| {
        let exchanges = Lane::new().client(GET).server(response).finish();
        names(exchanges[0].response.as_ref().unwrap().oddities)
    };
    assert_eq!(answered("HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n"), ["odd-status"]);
    assert_eq!(answered("HTTP/1.1 204 N\r\nContent-Length: 5\r\n\r\n"), ["length-without-body"]);
    assert_eq!(answered("HTTP/1.1 204 N\r\nTransfer-Encoding: chunked\r\n\r\n"), ["length-without-body"]);
    assert!(answered("HTTP/1.1 204 N\r\nContent-Length: 0\r\n\r\n").is_empty());
    assert!(answered("HTTP/1.1 304 N\r\nContent-Length: 5\r\n\r\n").is_empty());
    let twice = "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(answered(twice), ["repeated-continue"]);
    assert_eq!(answered("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"), ["bad-chunk"]);
}

#[test]
fn a_length_that_what_follows_refutes() {
    let exchanges =
        Lane::new().client(GET).server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello").finish();
    assert_eq!(names(exchanges[0].response.as_ref().unwrap().oddities), ["length-refuted"]);
    // What follows begins like a message: right, then.
    let exchanges = Lane::new().client([GET, GET].concat()).server([OK, OK].concat()).finish();
    assert!(exchanges.iter().all(|exchange| exchange.response.as_ref().unwrap().oddities.is_empty()));
}

#[test]
fn http_0_9() {
    for size in [1, 4, 100] {
        let mut lane = Lane::with(keeping(100), false);
        for piece in b"GET /old.html\r\n".chunks(size) {
            lane.client(piece);
        }
        for piece in b"HT<html>\r\n\r\n</html>".chunks(size) {
            lane.server(piece);
        }
        let exchanges = lane.finish();
        assert_eq!(lines(&exchanges), ["GET /old.html 0 > 0 19 complete"], "{size}");
        let (request, response) =
            (exchanges[0].request.as_ref().unwrap(), exchanges[0].response.as_ref().unwrap());
        let old = Some(&b"0.9"[..]);
        assert_eq!((request.head.version(), response.head.version()), (old, old));
        assert_eq!(response.head.status(), None);
        assert_eq!(&*response.body, b"HT<html>\r\n\r\n</html>", "{size}");
        assert_eq!((response.wire_bytes, exchanges[0].reason), (19, Reason::Fin));
    }
    // A server that answers in a newer version.
    for method in ["GET", "POST", "DELETE"] {
        let exchanges = Lane::new().client(format!("{method} /old\n")).server(OK).finish();
        assert_eq!(lines(&exchanges), [format!("{method} /old 0 > 200 5 complete")]);
    }
}

#[test]
fn http_1_0_with_keep_alive_and_without() {
    let mut lane = Lane::new();
    let get = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    lane.client(get).server("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab").client(get);
    lane.server("HTTP/1.0 200 OK\r\n\r\nup to the end");
    let exchanges = lane.finish();
    assert_eq!(lines(&exchanges), ["GET / 0 > 200 2 complete", "GET / 0 > 200 13 complete"]);
    assert_eq!((exchanges[0].reason, exchanges[1].reason), (Reason::Framing, Reason::Fin));
}

/// Runs both ends in pieces of several sizes; what comes of it is the same.
fn in_pieces(client: &str, server: &str) -> Vec<Exchange> {
    let run = |size: usize| {
        let mut lane = Lane::new();
        client.as_bytes().chunks(size).for_each(|piece| {
            lane.client(piece);
        });
        server.as_bytes().chunks(size).for_each(|piece| {
            lane.server(piece);
        });
        let exchanges = lane.finish();
        assert_eq!(lane.http.counters().check(), []);
        exchanges
    };
    let whole = run(10_000);
    for size in [1, 2, 3, 7, 17] {
        assert_eq!(lines(&run(size)), lines(&whole), "{client:?} {server:?} in {size}");
    }
    whole
}

/// Where an answer is due, whatever begins like `HTTP/` and has a version and a status of some kind is one.
#[test]
fn odd_status_lines_are_answers() {
    for (line, status, version, odd) in [
        ("HTTP/2.0 200 ok", Some(200), "2.0", &["odd-version"][..]),
        ("HTTP/2.1 200", Some(200), "2.1", &["odd-version"]),
        ("HTTP/0.9 200 ok", Some(200), "0.9", &["odd-version"]),
        ("HTTP/1.01 200 ok", Some(200), "1.01", &["odd-version"]),
        ("HTTP/1.10 200 ok", Some(200), "1.10", &["odd-version"]),
        ("HTTP/1.00 200 ok", Some(200), "1.00", &["odd-version"]),
        ("HTTP/1\0.1 200 ok", Some(200), "1\0.1", &["odd-version"]),
        ("http/1.1 200", Some(200), "1.1", &["odd-version"]),
        ("HTTP/1.1\t200 ok", Some(200), "1.1", &["odd-blanks"]),
        ("HTTP/1.1 2\x000 0", None, "1.1", &["odd-status"]),
        ("HTTP/1.1 2xx ok", None, "1.1", &["odd-status"]),
        ("HTTP/1.1 20x", None, "1.1", &["odd-status"]),
        ("HTTP/1.1 2000 ok", None, "1.1", &["odd-status"]),
        ("HTTP/1.1 2040 ok", None, "1.1", &["odd-status"]),
    ] {
        for (fields, bytes, reason) in [
            ("Content-Length: 5\r\n", 5, Reason::Framing),
            ("Transfer-Encoding: chunked\r\n", 3, Reason::Framing),
            ("", 9, Reason::Fin),
        ] {
            let body = match (bytes, reason) {
                (3, _) => "3\r\nabc\r\n0\r\n\r\n",
                (5, _) => "hello",
                _ => "until end",
            };
            let exchanges = in_pieces(GET, &format!("{line}\r\n{fields}\r\n{body}"));
            assert_eq!(exchanges.len(), 1, "{line:?}");
            let answer = exchanges[0].response.as_ref().unwrap();
            assert_eq!((exchanges[0].state, exchanges[0].reason), (State::Complete, reason), "{line:?}");
            assert_eq!((answer.head.status(), answer.body_bytes), (status, bytes), "{line:?}");
            assert_eq!(answer.head.version(), Some(version.as_bytes()), "{line:?}");
            assert_eq!(names(answer.oddities), odd, "{line:?}");
        }
        // One behind the other, and between usual ones.
        let odd_one = format!("{line}\r\nContent-Length: 2\r\n\r\nab");
        let exchanges = in_pieces(&GET.repeat(4), &[OK, &odd_one, &odd_one, OK].concat());
        let sizes: Vec<_> = exchanges.iter().map(|one| one.response.as_ref().unwrap().body_bytes).collect();
        assert_eq!(sizes, [5, 2, 2, 5], "{line:?}");
        assert!(
            exchanges.iter().all(|one| !one
                .response
                .as_ref()
                .unwrap()
                .oddities
                .has(Oddities::LENGTH_REFUTED))
        );
        // Behind bytes that are missing nothing is taken for a message that does not look like one.
        let mut lane = Lane::new();
        lane.client(GET.repeat(2)).server(OK).gap(SERVER, 3);
        let found = lane.server(&odd_one).finish();
        assert_eq!(found.iter().filter(|one| one.response.is_some()).count(), 1, "{line:?}");
    }
    for line in ["HTTP/1.1", "HTTP/ 200 ok", "FTP/1.1 200 ok", "HTTP 200 ok", "HTTP/12345678901234567 200 ok"]
    {
        let exchanges = in_pieces(GET, &format!("{line}\r\n\r\n"));
        assert!(exchanges[0].response.is_none(), "{line:?}");
    }
}

#[test]
fn odd_request_lines_are_requests() {
    for (line, target, version, odd) in [
        ("GET / HTTP/1.", "/", "1.", &["odd-version"][..]),
        ("GET / HTTP/2.0", "/", "2.0", &["odd-version"]),
        ("GET / HTTP/1.10", "/", "1.10", &["odd-version"]),
        ("GET /a b HTTP/1.7", "/a b", "1.7", &["blanks-in-target", "odd-version"]),
        ("POST http://h/ http/1.1", "http://h/", "1.1", &["odd-version"]),
        ("GET  /  HTTP/1.1", "/", "1.1", &["odd-blanks"]),
        ("GET\t/\tHTTP/1.1", "/", "1.1", &["odd-blanks"]),
        ("GET / HTTP/1.1 ", "/", "1.1", &["odd-blanks"]),
    ] {
        let request = format!("{line}\r\nHost: a\r\n\r\n");
        // As the first of a connection, and as a later one.
        for before in [0, 1] {
            let exchanges =
                in_pieces(&[&GET.repeat(before), &request[..], GET].concat(), &OK.repeat(before + 2));
            assert_eq!(exchanges.len(), before + 2, "{line:?}");
            assert!(exchanges.iter().all(|one| one.state == State::Complete), "{line:?}");
            let head = &exchanges[before].request.as_ref().unwrap().head;
            assert_eq!(
                (head.target(), head.version()),
                (target.as_bytes(), Some(version.as_bytes())),
                "{line:?}"
            );
            assert_eq!(names(exchanges[before].request.as_ref().unwrap().oddities), odd, "{line:?}");
        }
    }
    // On a connection that is known any method will do.
    let exchanges = in_pieces(&format!("{GET}FROB x HTTP/3\r\n\r\n"), &OK.repeat(2));
    assert_eq!(lines(&exchanges), ["GET / 0 > 200 5 complete", "FROB x 0 > 200 5 complete"]);
    // The preface of HTTP/2 is no request.
    let mut lane = Lane::new();
    lane.client("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").server("\0\0\x12\x04\0\0\0\0\0");
    lane.finish();
    assert_eq!((lane.http.counters().http2, lane.http.counters().requests), (1, 0));
}

/// A first line that goes no further is reported if it says what was asked for, and counted if not.
#[test]
fn half_start_lines() {
    let reset = CloseReason::Reset { by: CLIENT };
    for (half, expected) in [
        ("GET /a HTTP/1.1", Some("GET /a 0 > - aborted")),
        ("GET /a H", Some("GET /a 0 > - aborted")),
        ("GET /a HTTP/1.1\r", Some("GET /a 0 > - aborted")),
        ("GET /a", None),
        ("GET /a ", None),
    ] {
        for size in [1, 3, 100] {
            let mut lane = Lane::new();
            half.as_bytes().chunks(size).for_each(|piece| {
                lane.client(piece);
            });
            let exchanges = lane.close(reset).taken();
            assert_eq!(lines(&exchanges), expected.as_slice(), "{half:?}");
            let counters = *lane.http.counters();
            assert_eq!(counters.start_lines_cut, u64::from(expected.is_none()), "{half:?}");
            assert_eq!((counters.http1, counters.check().len()), (1, 0));
            if let Some(exchange) = exchanges.first() {
                let head = &exchange.request.as_ref().unwrap().head;
                assert_eq!((head.cut, head.version()), (true, None));
            }
            // In front of a hole it is told as well, and what is behind belongs to another message.
            let mut lane = Lane::new();
            lane.client(half).gap(CLIENT, 100).client("GET /b HTTP/1.1\r\n\r\n");
            let broken = expected.map(|_| "GET /a 0 > - gap");
            assert_eq!(
                lines(&lane.finish()),
                broken.into_iter().chain(["GET /b 0 > - orphan-request"]).collect::<Vec<_>>()
            );
        }
    }
    for (half, expected, cut) in [
        ("HTTP/1.1 404 Not", "GET / 0 > 404 0 aborted", 0),
        ("HTTP/1.1 404 ", "GET / 0 > 404 0 aborted", 0),
        ("HTTP/1.1 404", "GET / 0 > - aborted", 1),
        ("HT", "GET / 0 > - aborted", 1),
    ] {
        let mut lane = Lane::new();
        let exchanges = lane.client(GET).server(half).close(reset).taken();
        assert_eq!(lines(&exchanges), [expected], "{half:?}");
        assert_eq!(lane.http.counters().start_lines_cut, cut, "{half:?}");
    }
    // A server that waits no longer refuses what there is; the rest makes no difference to that.
    let refusal = "HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n";
    for first_end in [CLIENT, SERVER] {
        let mut lane = Lane::new();
        lane.client("GET /a");
        if first_end == CLIENT {
            lane.fin(CLIENT);
        }
        let exchanges = lane.server(refusal).finish();
        assert_eq!(lines(&exchanges), ["- > 408 0 orphan-response"]);
        assert_eq!(exchanges[0].reason, Reason::BadRequest);
    }
    // What was searched for and is none was no start line.
    let mut lane = Lane::new();
    lane.client(GET).gap(CLIENT, 3).client("GET /b").close(reset);
    assert_eq!(lane.http.counters().start_lines_cut, 0);
}

#[test]
fn methods_that_nobody_knows() {
    for method in ["FROB", "frob", "Get", "X-Y_Z9"] {
        let exchanges = Lane::new().client(format!("{method} /x HTTP/1.1\r\n\r\n")).server(OK).finish();
        assert_eq!(lines(&exchanges), [format!("{method} /x 0 > 200 5 complete")]);
    }
}

#[test]
fn a_body_that_was_asked_about_and_refused_need_not_come() {
    const NO: &str = "HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno";
    let ask = |length: &str| format!("PUT /a HTTP/1.1\r\nExpect: 100-Continue\r\n{length}\r\n\r\n");
    let seen = |length: &str, refusal: &str, next: &[u8], size: usize| {
        let mut lane = Lane::new();
        lane.client(ask(length));
        for piece in refusal.as_bytes().chunks(size) {
            lane.server(piece);
        }
        for piece in next.chunks(size) {
            lane.client(piece);
        }
        lane.server(OK).finish()
    };
    for size in [1, 2, 5, 1_000] {
        for length in ["Content-Length: 9", "Content-Length: 5000", "Transfer-Encoding: chunked"] {
            let exchanges = seen(length, NO, b"PUT /b HTTP/1.1\r\n\r\n", size);
            assert_eq!(
                lines(&exchanges),
                ["PUT /a 0 > 401 2 complete", "PUT /b 0 > 200 5 complete"],
                "{length}"
            );
            let request = exchanges[0].request.as_ref().unwrap();
            assert_eq!(names(request.oddities), ["body-not-sent"]);
            assert_eq!((request.last, exchanges[0].untrusted.any()), (request.head_end, false));
            assert!(exchanges[0].timing.server.is_some(), "the server had all that it waited for");
        }
        // It comes all the same, whatever it begins with.
        let bodies = ["PUT x/123", "GGGGGGGGG", "GET  /a b", "P\r\nOST / ", "OPTIONS h"];
        for body in bodies {
            let sent = [body.as_bytes(), b"GET /b HTTP/1.1\r\n\r\n"].concat();
            let exchanges = seen("Content-Length: 9", NO, &sent, size);
            assert_eq!(
                lines(&exchanges)[1..],
                ["GET /b 0 > 200 5 complete"],
                "{body} {:?} {size}",
                lines(&exchanges)
            );
            assert!(exchanges[0].request.as_ref().unwrap().oddities.is_empty());
        }
        for chunks in ["D\r\nDELETE / HTTP\r\n0\r\n\r\n", "d;e=1\r\nDELETE / HTTP\r\n0\r\n\r\n"] {
            let sent = [chunks.as_bytes(), b"GET /b HTTP/1.1\r\n\r\n"].concat();
            let exchanges = seen("Transfer-Encoding: chunked", NO, &sent, size);
            assert_eq!(lines(&exchanges)[0], "PUT /a 13 > 401 2 complete", "{size}");
            assert_eq!(lines(&exchanges)[1], "GET /b 0 > 200 5 complete", "{size}");
        }
        // Continued: then it has to come.
        let continued = format!("HTTP/1.1 100 C\r\n\r\n{NO}");
        let exchanges = seen("Content-Length: 9", &continued, b"GET /b HT", size);
        assert_eq!(lines(&exchanges)[0], "PUT /a 9 > 401 2 complete", "{size}");
    }
    // The end of the connection, or what is missing, instead of the next request.
    let open = |close: bool| {
        let mut lane = Lane::new();
        lane.client(ask("Content-Length: 9"));
        if close {
            lane.server("HTTP/1.1 417 No\r\n\r\nno").fin(SERVER)
        } else {
            lane.server(NO)
        };
        lane
    };
    for close in [false, true] {
        for reset in [CloseReason::Finished, CloseReason::Reset { by: CLIENT }, CloseReason::EndOfInput] {
            let mut lane = open(close);
            let exchanges = lane.close(reset).taken();
            let status = if close { 417 } else { 401 };
            assert_eq!(lines(&exchanges), [format!("PUT /a 0 > {status} 2 complete")], "{reset:?}");
        }
    }
    let mut lane = open(false);
    let exchanges = lane.client("P").gap(CLIENT, 8).client("GET /b HTTP/1.1\r\n\r\n").server(OK).finish();
    assert_eq!(lines(&exchanges), ["PUT /a 9 > 401 2 complete", "GET /b 0 > 200 5 complete"]);
}

#[test]
fn trailers_are_kept() {
    let body = "3\r\nabc\r\n0\r\nX-Sum: 17\r\nGrpc-Status:0\r\n more\r\nno field\r\n\r\n";
    let response = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    for size in [1, 5, 1_000] {
        let mut lane = Lane::new();
        lane.client(GET);
        for piece in response.as_bytes().chunks(size) {
            lane.server(piece);
        }
        let exchanges = lane.taken();
        let trailers = exchanges[0].response.as_ref().unwrap().trailers.as_ref().unwrap();
        assert_eq!(trailers.field("x-sum"), Some(&b"17"[..]));
        assert_eq!(trailers.field("grpc-status"), Some(&b"0 more"[..]));
        assert_eq!(trailers.raw(), b"X-Sum: 17\r\nGrpc-Status:0\r\n more\r\nno field\r\n");
        assert_eq!((trailers.fields().count(), trailers.cut), (2, false));
    }
    for (raw, value) in
        [("A: b\r\n\tc  \r\n \r\n  d\r\n", "b c d"), ("A:\r\n b\r\n", "b"), ("A: b\r\n \r\n", "b")]
    {
        let response = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{raw}Z: z\r\n\r\n");
        let exchanges = Lane::new().client(GET).server(response).finish();
        let trailers = exchanges[0].response.as_ref().unwrap().trailers.as_ref().unwrap();
        let fields: Vec<_> = trailers.fields().map(|(_, value)| value).collect();
        assert_eq!(fields, [value.as_bytes(), b"z"], "{raw}");
    }
    let config = HttpConfig { max_head_bytes: 60, max_fields: 1, ..HttpConfig::default() };
    let many = "X: y\r\n".repeat(100);
    let response = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{many}\r\n{OK}");
    let exchanges = Lane::with(config, false).client([GET, GET].concat()).server(response).finish();
    let trailers = exchanges[0].response.as_ref().unwrap().trailers.as_ref().unwrap();
    assert_eq!((trailers.raw().len(), trailers.fields().count(), trailers.cut), (60, 1, true));
    assert_eq!(exchanges[1].response.as_ref().unwrap().body_bytes, 5);
}

#[test]
fn bodies_are_kept_up_to_a_size() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x\r\ndefg\r\n0\r\n\r\n";
    let closed = "HTTP/1.1 200 OK\r\n\r\nabcdefg";
    let counted = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nabcdefg";
    for response in [chunked, closed, counted] {
        for (limit, kept) in [(0, ""), (1, "a"), (5, "abcde"), (7, "abcdefg"), (99, "abcdefg")] {
            for size in [1, 2, 1_000] {
                let mut lane = Lane::with(keeping(limit), false);
                lane.client("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nxy");
                for piece in response.as_bytes().chunks(size) {
                    lane.server(piece);
                }
                let exchanges = lane.finish();
                let (request, response) =
                    (exchanges[0].request.as_ref().unwrap(), exchanges[0].response.as_ref().unwrap());
                assert_eq!(&*response.body, kept.as_bytes(), "{limit} {size}");
                assert_eq!(response.body_bytes, 7);
                assert_eq!(response.body_is_whole(), limit >= 7);
                assert_eq!(&*request.body, &b"xy"[..limit.min(2)]);
            }
        }
    }
    // Up to the hole.
    let mut lane = Lane::with(keeping(99), false);
    lane.client(GET).server(&counted[..counted.len() - 4]).gap(SERVER, 2).server("fg");
    let exchanges = lane.finish();
    let response = exchanges[0].response.as_ref().unwrap();
    assert_eq!((&*response.body, response.body_bytes, response.gap_bytes), (&b"abc"[..], 7, 2));
    assert!(!response.body_is_whole());
    // All connections together keep no more than they may.
    let config = HttpConfig { body: 99, body_memory: 4, ..HttpConfig::default() };
    let mut lane = Lane::with(config, false);
    let exchanges = lane.client([GET, GET].concat()).server([counted, counted].concat()).finish();
    assert!(exchanges.iter().all(|exchange| &*exchange.response.as_ref().unwrap().body == b"abcd"));
    assert_eq!(lane.http.counters().bodies_cut, 2);
}

#[test]
fn kept_bodies_are_decoded() {
    let zlib = b"\x78\x9c\xcb\x48\xcd\xc9\xc9\x07\x00\x06\x2c\x02\x15";
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: {}\r\n\r\n", zlib.len());
    for (limit, end, bytes) in [(99, "whole", &b"hello"[..]), (4, "truncated", b"h")] {
        let mut lane = Lane::with(keeping(limit), false);
        let exchanges = lane.client(GET).server([head.as_bytes(), zlib].concat()).finish();
        let decoded = exchanges[0].response.as_ref().unwrap().decoded(&Default::default());
        assert_eq!(decoded.end.name(), end);
        assert!(bytes.starts_with(&decoded.bytes), "{:?}", decoded.bytes);
        assert!(end != "whole" || decoded.bytes == bytes);
    }
}

/// A scanner's line is no request, but the server's refusal tells that it was meant as one.
#[test]
fn the_answer_to_what_is_no_request_is_reported() {
    let refusal = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    for line in [
        "GET  / HTTP/\n\n",
        "GET foo HTTP/2.0\n\n",
        "Frob / HTTP/1.10\r\n\r\n",
        "\u{c3} / HTTP/1.1\r\n\r\n",
        "OPTIONS HTTP\r\n\r\n",
        "JRMI\0\x02K",
        "\r\nEHLO a\r\n",
    ] {
        let whole = Lane::new().client(line).server(refusal).finish();
        assert_eq!(lines(&whole), ["- > 400 0 orphan-response"], "{line:?}");
        assert_eq!(whole[0].reason.name(), "bad-request");
        // Cut anywhere it is the same.
        for at in 1..line.len() {
            let (first, rest) = line.as_bytes().split_at(at);
            let mut lane = Lane::new();
            let exchanges = lane.client(first).client(rest).server(refusal).finish();
            assert_eq!(lines(&exchanges), lines(&whole), "{line:?} cut at {at}");
            let counters = *lane.http.counters();
            assert_eq!((counters.http1, counters.other, counters.check().len()), (1, 0, 0));
            assert_eq!(counters.skipped_bytes, line.len() as u64, "{line:?} cut at {at}");
        }
        // A request behind it is found again.
        let exchanges = Lane::new().client(line).server(refusal).client(GET).server(OK).finish();
        assert_eq!(exchanges[1].state.name(), "complete", "{line:?}");
    }
    // The server speaks first, and something else.
    let mut lane = Lane::new();
    let exchanges = lane.server("220 mail.example.com ESMTP\r\n").client(GET).finish();
    assert_eq!(exchanges.len(), 1);
    // Both are something else; or one is for long, and the other silent.
    let mut lane = Lane::new();
    lane.server("220 mail.example.com ESMTP\r\n");
    assert!(lane.wanted());
    lane.client("EHLO example.com\r\n");
    assert!(!lane.wanted());
    assert_eq!(lane.finish().len(), 0);
    let mut lane = Lane::new();
    let mut sent = 0;
    while lane.wanted() {
        lane.client([0x80; 1_000]);
        sent += 1;
    }
    assert_eq!((sent, lane.http.counters().other), (66, 1));
}

#[test]
fn reasons_of_orphans() {
    let reasons =
        |exchanges: &[Exchange]| exchanges.iter().map(|exchange| exchange.reason.name()).collect::<Vec<_>>();
    let bad_request = "HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n";
    let exchanges = Lane::new().client(GET).server([OK, bad_request].concat()).finish();
    assert_eq!(reasons(&exchanges), ["framing", "unsolicited"]);
    let bad_response = "ICY 200 OK\r\nicy-name: x\r\n\r\ndata";
    let exchanges = Lane::new().client(GET).server(bad_response).finish();
    assert_eq!(reasons(&exchanges), ["bad-response"]);
    let exchanges = Lane::new().client(GET).server("H\r\n").server(OK).client(GET).finish();
    assert_eq!(reasons(&exchanges), ["framing", "fin"]);
    let exchanges = Lane::new().client(GET).server("\r\n").finish();
    assert_eq!(reasons(&exchanges), ["fin"]);
    let exchanges = Lane::new().server(OK).close(CloseReason::Idle).taken();
    assert_eq!(reasons(&exchanges), ["one-sided"]);
    let mut lane = Lane::midstream();
    lane.fin(CLIENT).server(OK).close(CloseReason::Idle);
    assert_eq!(reasons(&lane.taken()), ["before-capture"]);
    let mut lane = Lane::new();
    lane.client(GET).server(OK).gap(CLIENT, 30).server(OK);
    assert_eq!(reasons(&lane.finish()), ["framing", "request-missing"]);
    let exchanges = Lane::new().client(GET).close(CloseReason::Idle).taken();
    assert_eq!(reasons(&exchanges), ["one-sided"]);
    for (close, reason) in [
        (CloseReason::Finished, "fin"),
        (CloseReason::Reset { by: CLIENT }, "client-reset"),
        (CloseReason::Reset { by: SERVER }, "server-reset"),
        (CloseReason::Idle, "idle"),
        (CloseReason::Evicted, "evicted"),
        (CloseReason::Reused, "reused"),
        (CloseReason::EndOfInput, "end-of-input"),
    ] {
        let exchanges = Lane::new().client(GET).server(&OK[..OK.len() - 1]).close(close).taken();
        assert_eq!(reasons(&exchanges), [reason]);
        let exchanges = Lane::new().client(GET).server(OK).client(GET).close(close).taken();
        assert_eq!(reasons(&exchanges), ["framing", reason]);
    }
    let mut lane = Lane::new();
    lane.client(GET).server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n").fin(SERVER);
    assert_eq!(reasons(&lane.taken()), ["bad-framing"]);
}

#[test]
fn requests_of_which_no_answer_is_captured_do_not_wait_for_ever() {
    let mut lane = Lane::new();
    lane.client(GET);
    lane.now += 31_000_000_000;
    lane.client(GET);
    let exchanges = lane.taken();
    assert_eq!(lines(&exchanges), ["GET / 0 > - orphan-request"]);
    assert_eq!(exchanges[0].reason, Reason::OneSided);
    // With a server there is hope.
    let mut lane = Lane::new();
    lane.client(GET).server(OK).client(GET);
    lane.now += 31_000_000_000;
    lane.client(GET);
    assert_eq!(lane.taken().len(), 1);
}

#[test]
fn times_around_an_exchange() {
    let mut lane = Lane::new();
    lane.client(GET).server(OK);
    lane.now += 1_000;
    lane.client(GET).server(OK);
    let exchanges = lane.finish();
    let handshake = Handshake::new(Some(Timestamp(10)), Some(Timestamp(20)), Some(Timestamp(35)));
    assert_eq!(exchanges[0].timing.handshake, handshake);
    assert_eq!((handshake.responder_ns(), handshake.originator_ns()), (Some(10), Some(15)));
    assert_eq!(exchanges[1].timing.handshake, Handshake::default());
    assert_eq!((exchanges[0].timing.think, exchanges[1].timing.think), (None, Some(1_100)));
    for exchange in &exchanges {
        let timing = &exchange.timing;
        assert_eq!((timing.server_round_trip, timing.client_round_trip), (Some(10), Some(15)));
        assert_eq!((timing.server, timing.network_estimate()), (Some(100), Some(10)));
    }
    // Pipelined: the client did not think.
    let exchanges = Lane::new().client([GET, GET].concat()).server([OK, OK].concat()).finish();
    assert_eq!(exchanges[1].timing.think, None);
    // Who sent what again.
    let mut lane = Lane::new();
    lane.client(GET);
    lane.flow.sample_stream(CLIENT, |stream| (stream.retransmitted_bytes, stream.zero_window_ns) = (7, 0));
    lane.flow.sample_stream(SERVER, |stream| (stream.retransmitted_bytes, stream.zero_window_ns) = (5, 900));
    let tcp = lane.server(OK).taken()[0].tcp;
    assert_eq!((tcp.retransmitted_bytes, tcp.client_retransmitted_bytes, tcp.zero_window_ns), (12, 7, 900));
}

#[test]
fn an_exchange_has_one_name_from_its_first_event_on() {
    #[derive(Default)]
    struct Events(Vec<String>);
    impl Sink for Events {
        fn exchange(&mut self, exchange: Exchange) {
            self.0.push(format!("exchange {}", exchange.index));
        }
        fn head(&mut self, event: HeadEvent<'_>) {
            self.0.push(format!("{:?} {:?}", event.kind, event.index));
        }
        fn message(&mut self, event: MessageEvent<'_>) {
            let body = event.body.escape_ascii();
            self.0.push(format!("{:?} {:?} {body} {}", event.kind, event.index, event.complete));
        }
        fn pending(&mut self, request: PendingRequest) {
            self.0.push(format!("pending {} {}", request.index, request.first.0));
        }
    }
    use gannet_flow::{Data, Handler, Moment, Peer};
    let flow = crate::fuzz::flow(false);
    let config = HttpConfig { body: 9, pending_after_ns: Some(50), ..HttpConfig::default() };
    let mut http = Http::new(config, Events::default());
    let mut state = http.open(&flow);
    let mut at = [0, 0];
    let mut send = |http: &mut Http<Events>, from: Peer, bytes: &str, time: u64| {
        let (offset, other) = (at[from as usize], at[1 - from as usize]);
        at[from as usize] += bytes.len() as u64;
        let seen = Moment { time: Timestamp(time), position: time };
        let bytes = bytes.as_bytes();
        let data = Data { from, offset, bytes, seen, now: seen, acknowledged: Some(other), late: false };
        http.data(&mut state, &flow, data);
        http.report_pending(seen);
        std::mem::take(&mut http.sink().0)
    };
    let post = "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab";
    assert_eq!(send(&mut http, CLIENT, post, 100), ["Request Some(0)"]);
    assert_eq!(send(&mut http, SERVER, "HTTP/1.1 100 C\r\n\r\n", 120), ["Interim Some(0)"]);
    assert_eq!(send(&mut http, CLIENT, "c", 130), ["Request Some(0) abc true"]);
    assert_eq!(
        send(&mut http, CLIENT, GET, 151),
        ["Request Some(1)", "Request Some(1)  true", "pending 0 100"]
    );
    let answered = ["Response Some(0)", "Response Some(0) hello true", "exchange 0"];
    assert_eq!(send(&mut http, SERVER, OK, 190), answered);
    // Told once; the other one is answered in time.
    let answered = ["Response Some(1)", "Response Some(1) hello true", "exchange 1"];
    assert_eq!(send(&mut http, SERVER, OK, 195), answered);
    let late = Moment { time: Timestamp(9_000), position: 9_000 };
    http.report_pending(late);
    assert_eq!(http.sink().0.len(), 0);
    assert_eq!(http.counters().pending_reported, 1);
    // Nobody looked in between, and the answer says that it was late.
    assert_eq!(send(&mut http, CLIENT, GET, 9_100), ["Request Some(2)", "Request Some(2)  true"]);
    let answered = ["Response Some(2)", "pending 2 9100", "Response Some(2) hello true", "exchange 2"];
    assert_eq!(send(&mut http, SERVER, OK, 9_150), answered);
    // The answer began in time, and the rest of its head was long in coming.
    assert_eq!(send(&mut http, CLIENT, GET, 9_200), ["Request Some(3)", "Request Some(3)  true"]);
    assert_eq!(send(&mut http, SERVER, &OK[..20], 9_240).len(), 0);
    let answered = ["Response Some(3)", "Response Some(3) hello true", "exchange 3"];
    assert_eq!(send(&mut http, SERVER, &OK[20..], 9_990), answered);
}

#[test]
fn names_are_the_same_in_every_run() {
    let run = || Lane::new().client([GET, GET].concat()).server([OK, OK].concat()).finish();
    let (first, second) = (run(), run());
    let ids: Vec<_> = first.iter().map(Exchange::id).collect();
    assert_eq!(ids, second.iter().map(Exchange::id).collect::<Vec<_>>());
    assert!(ids[0] != ids[1] && ids[0].connection == ids[1].connection);
    assert_eq!(ids[0].connection, Lane::new().flow.connection_id());
    let text = ids[1].to_string();
    assert!(text.len() == 28 && text.ends_with("-1"), "{text}");
    assert_eq!(text.parse(), Ok(ids[1]));
    for wrong in ["", "-1", "x-1", &text[..26], &text.replace("-1", "-"), &text.replace("-1", "-+1")] {
        assert!(wrong.parse::<ExchangeId>().is_err(), "{wrong}");
    }
}

#[test]
fn confidence_is_told() {
    let mut lane = Lane::new();
    lane.client(GET).server(OK).gap(SERVER, 3).client(GET).server(OK);
    let told = |exchanges: &[Exchange]| exchanges.iter().map(|one| one.confidence).collect::<Vec<_>>();
    // All requests are known, and one alone is left.
    assert_eq!(told(&lane.finish()), [Confidence::High; 2]);
    // There may have been others, or there was room for one.
    for (room, confidence) in [(50, Confidence::Low), (30, Confidence::High)] {
        let mut lane = Lane::new();
        lane.client(GET).server(OK).gap(CLIENT, room).server(OK).client(GET).server(OK);
        assert_eq!(told(&lane.finish()), [Confidence::High, Confidence::Low, confidence]);
    }
    let mut lane = Lane::midstream();
    lane.client(GET).server(OK);
    assert_eq!(told(&lane.finish()), [Confidence::Low]);
}
