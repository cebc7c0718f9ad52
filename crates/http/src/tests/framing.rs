//! Where messages begin and end.

use gannet_flow::{CloseReason, Peer};
use gannet_packet::Timestamp;

use super::run;
use crate::testing::{CLIENT, Lane, SERVER, lines};
use crate::{HeadKind, HttpConfig, Oddities, PortSet, State};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn a_request_and_its_response() {
    let mut lane = Lane::new();
    lane.client(GET).server(OK);
    // Reported with the last byte, not with the connection's end.
    let exchanges = lane.taken();
    assert_eq!(lines(&exchanges), ["GET / 0 > 200 5 complete"]);
    let exchange = &exchanges[0];
    assert_eq!(exchange.connection.client.port, 40_000);
    assert_eq!(exchange.connection.flow, 7);
    assert_eq!(exchange.connection.interface, 3);
    let response = exchange.response.as_ref().unwrap();
    assert_eq!(response.wire_bytes, OK.len() as u64);
    assert_eq!(response.head.raw(), &OK.as_bytes()[..OK.len() - 5]);
    assert_eq!(response.head.reason(), b"OK");
    assert_eq!(exchange.request.as_ref().unwrap().head.field("HOST"), Some(&b"a"[..]));
    // An idle connection that closes has nothing to say.
    assert_eq!(lane.finish().len(), 0);
    let kinds: Vec<_> = lane.http.sink().heads.iter().map(|head| head.0).collect();
    assert_eq!(kinds, [HeadKind::Request, HeadKind::Response]);
}

#[test]
fn the_client_is_who_sends_requests() {
    let mut lane = Lane::new();
    lane.server(GET).client(OK);
    let exchanges = lane.finish();
    assert_eq!(lines(&exchanges), ["GET / 0 > 200 5 complete"]);
    assert_eq!(exchanges[0].connection.client, lane.flow.endpoint(Peer::Responder));
}

#[test]
fn heads_cut_anywhere() {
    let post = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    for size in 1..post.len() {
        let mut lane = Lane::new();
        for piece in post.as_bytes().chunks(size) {
            lane.client(piece);
        }
        let sent = lane.now;
        for piece in OK.as_bytes().chunks(size) {
            lane.server(piece);
        }
        let answered = lane.now;
        let exchanges = lane.taken();
        assert_eq!(lines(&exchanges), ["POST /x 3 > 200 5 complete"], "pieces of {size}");
        let (request, response) =
            (exchanges[0].request.as_ref().unwrap(), exchanges[0].response.as_ref().unwrap());
        assert_eq!((request.first, request.last), (Timestamp(100), Timestamp(sent)));
        assert_eq!((response.first, response.last), (Timestamp(sent + 100), Timestamp(answered)));
        let head_end = (post.len() - 3).div_ceil(size) as u64 * 100;
        assert_eq!(request.head_end, Timestamp(head_end));
        assert_eq!(exchanges[0].timing.server, Some(100));
    }
}

#[test]
fn bare_line_feeds_and_empty_lines() {
    let requests = "\r\n\n\r\nGET /1 HTTP/1.1\nHost: a\n\nGET /2 HTTP/1.0\r\n\n\r\nGET /3 HTTP/1.1\n\r\n";
    let mut lane = Lane::new();
    lane.client(requests);
    assert_eq!(lane.http.sink().heads.len(), 3);
    assert_eq!(lane.http.counters().skipped_bytes, 7);
}

#[test]
fn folded_fields() {
    let get = "GET / HTTP/1.1\r\nX: one\r\n two\r\n\tthree\r\nTransfer-Encoding:\r\n chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let mut lane = Lane::new();
    let exchanges = lane.client(get).server(OK).taken();
    assert_eq!(lines(&exchanges), ["GET / 3 > 200 5 complete"]);
    let head = &exchanges[0].request.as_ref().unwrap().head;
    assert!(head.folded);
    assert_eq!(head.field("x"), Some(&b"one two three"[..]));
    assert_eq!(head.raw(), &get.as_bytes()[..get.len() - 13]);
    assert_eq!(head.field("transfer-encoding"), Some(&b"chunked"[..]));
}

#[test]
fn odd_start_lines_and_fields() {
    for (status, reason) in [
        ("HTTP/1.1 200", ""),
        ("HTTP/1.1 200 ", ""),
        ("HTTP/1.1 200 All  is well ", "All  is well"),
        ("HTTP/1.1  200 two blanks", "two blanks"),
        ("HTTP/1.1 200 gr\u{fc}n", "gr\u{fc}n"),
        ("HTTP/1.0 299 odd", "odd"),
        ("HTTP/1.1 999", ""),
    ] {
        let mut lane = Lane::new();
        let response =
            format!("{status}\r\nNo colon\r\nSp ace : v\r\n\u{7f}\u{e9}: x\r\nContent-Length: 0\r\n\r\n");
        let exchanges = lane.client("GET /a b?c HTTP/1.1\r\n\r\n").server(&response).taken();
        assert_eq!(exchanges.len(), 1, "{status}");
        let head = &exchanges[0].response.as_ref().unwrap().head;
        assert_eq!(head.reason(), reason.as_bytes());
        assert_eq!(head.fields().count(), 3);
        assert_eq!(exchanges[0].request.as_ref().unwrap().head.target(), b"/a b?c");
    }
}

#[test]
fn lengths_stated_twice() {
    for (fields, body, ambiguous) in [
        ("Content-Length: 3\r\n", "abc", false),
        ("Content-Length: 3\r\nContent-Length: 3\r\n", "abc", true),
        ("Content-Length: 3, 3\r\n", "abc", true),
        ("Content-Length: 3\r\nContent-Length: 5\r\n", "abc", true),
        ("Content-Length: 003\r\n", "abc", false),
        ("Content-Length: +3\r\nContent-Length: 3\r\n", "abc", true),
        ("Content-Length: 99999999999999999999999\r\nContent-Length: 3\r\n", "abc", true),
        ("Content-Length: 9\r\nTransfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n", true),
        ("Transfer-Encoding: gzip, Chunked\r\nContent-Length: 9\r\n", "3\r\nabc\r\n0\r\n\r\n", true),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n", false),
    ] {
        let mut lane = Lane::new();
        let response = format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}");
        let exchanges = lane.client([GET, GET].concat()).server([&response, OK].concat()).finish();
        assert_eq!(lines(&exchanges), ["GET / 0 > 200 3 complete", "GET / 0 > 200 5 complete"], "{fields}");
        assert_eq!(exchanges[0].response.as_ref().unwrap().ambiguous_length, ambiguous, "{fields}");
    }
}

#[test]
fn a_wrong_length_ends_at_the_next_message() {
    let long = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello";
    let mut lane = Lane::new();
    lane.client(GET).server(long).client(GET).server(OK);
    let exchanges = lane.finish();
    assert_eq!(lines(&exchanges), ["GET / 0 > 200 2 complete", "GET / 0 > 200 5 complete"]);
    assert_eq!(lane.http.counters().skipped_bytes, 3);
}

#[test]
fn what_is_found_behind_garbage_does_not_depend_on_cuts() {
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\n\r\n");
    let lengths = "Content-Length: 2\r\n\r\n";
    for (requests, responses) in [
        // Lengths that are too short, garbage with and without line ends, with beginnings of start lines in it.
        (get("/2") + &get("/3"), format!("HTTP/1.1 200 OK\r\n{lengths}hello{OK}")),
        (get("/2") + &get("/3"), format!("{OK}HTTP/1.HTTP/1.1 HTTP/1.1 20 HTTHTTP/1.1 200\r\n{lengths}ab")),
        (get("/2") + &get("/3"), format!("{OK}junk HTTP/1.1 200 OK\r\nis what a server\r\nsays\r\n\r\n{OK}")),
        (get("/2") + &get("/3"), format!("{OK}junk HTTP/1.1 200 \"quoted\"\n\n\nGET / HTTP/1.1\r\n\r\n{OK}")),
        (format!("{}\0junk\r\n{}", get("/2"), get("/3")), [OK, OK].concat()),
        (format!("{}{{\"a\": 1}}{}", get("/2"), get("/3")), [OK, OK].concat()),
        (format!("{}}}GET  /x HTTP/1.1\r\nGET /\r\nPO ST /{}", get("/2"), get("/3")), [OK, OK].concat()),
        (format!("{}\0\nodd /a b HTTP/1.1\nFROB /4 HTTP/1.1\r\n\r\n", get("/2")), [OK, OK].concat()),
    ] {
        let (requests, responses) = (get("/1") + &requests, OK.to_owned() + &responses);
        let found = |size: usize| {
            let mut lane = Lane::new();
            requests.as_bytes().chunks(size).for_each(|piece| _ = lane.client(piece));
            responses.as_bytes().chunks(size).for_each(|piece| _ = lane.server(piece));
            let mut found = lines(&lane.finish());
            found.sort();
            (found, lane.http.counters().skipped_bytes)
        };
        let whole = found(9_999);
        assert_eq!(whole.0.len(), 3, "{responses:?} {:?}", whole.0);
        assert!(
            whole.0.iter().all(|line| line.ends_with("complete")) && whole.1 > 0,
            "{responses:?} {:?}",
            whole.0
        );
        for size in 1..requests.len().max(responses.len()) {
            assert_eq!(found(size), whole, "{size} {requests:?} {responses:?}");
        }
    }
}

#[test]
fn a_message_found_in_a_later_segment_has_the_times_of_its_own_segments() {
    let mut lane = Lane::new();
    lane.client([GET, GET].concat()).server(OK);
    lane.server("junk HTTP/1.1 20").server("0 OK\r\nContent-Length: 2\r\n\r\n").server("ab");
    let exchanges = lane.finish();
    let response = exchanges[1].response.as_ref().unwrap();
    let times = [response.first, response.head_end, response.last];
    assert_eq!(times, [Timestamp(300), Timestamp(400), Timestamp(500)]);
    assert_eq!((response.wire_bytes, lane.http.counters().skipped_bytes), (40, 5));
}

#[test]
fn differing_lengths_are_verified_by_what_follows() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\n";
    for (body, refuted) in [("abc", false), ("abcde", true)] {
        let stream = [head, body, OK].concat();
        for size in 1..stream.len() {
            let mut lane = Lane::new();
            lane.client([GET, GET].concat());
            stream.as_bytes().chunks(size).for_each(|piece| _ = lane.server(piece));
            let exchanges = lane.finish();
            assert_eq!(lines(&exchanges), ["GET / 0 > 200 3 complete", "GET / 0 > 200 5 complete"], "{size}");
            let oddities = exchanges[0].response.as_ref().unwrap().oddities;
            assert_eq!(oddities.has(Oddities::LENGTH_REFUTED), refuted, "{size}");
        }
    }
    // Nothing follows for now: it is over when the client goes on, or with the connection.
    let mut lane = Lane::new();
    lane.client(GET).server([head, "abc"].concat());
    assert_eq!(lane.taken().len(), 0);
    lane.client(GET);
    assert_eq!(lines(&lane.taken()), ["GET / 0 > 200 3 complete"]);
    let mut lane = Lane::new();
    lane.client(GET).server([head, "abc"].concat());
    assert_eq!(lines(&lane.finish()), ["GET / 0 > 200 3 complete"]);
    let mut lane = Lane::new();
    lane.client(GET).server([head, "abc"].concat()).gap(SERVER, 9);
    assert_eq!(lines(&lane.finish()), ["GET / 0 > 200 3 complete"]);
}

#[test]
fn answers_without_a_body() {
    let length = "Content-Length: 5\r\n\r\n";
    for (method, status) in [("HEAD", 200), ("GET", 204), ("GET", 304), ("HEAD", 404)] {
        let request = format!("{method} / HTTP/1.1\r\n\r\n");
        let response = format!("HTTP/1.1 {status} X\r\n{length}");
        let both = run([&request, GET].concat(), [&response, OK].concat());
        assert_eq!(both, [format!("{method} / 0 > {status} 0 complete"), "GET / 0 > 200 5 complete".into()]);
    }
}

#[test]
fn a_body_up_to_the_end() {
    let response = "HTTP/1.0 200 OK\r\n\r\nsome bytes";
    let mut lane = Lane::new();
    lane.client(GET).server(response).server("more").fin(SERVER);
    assert_eq!(lines(&lane.taken()), ["GET / 0 > 200 14 complete"]);
    for (reason, state) in [
        (CloseReason::Reset { by: SERVER }, "aborted"),
        (CloseReason::Idle, "truncated"),
        (CloseReason::Evicted, "truncated"),
        (CloseReason::EndOfInput, "truncated"),
        (CloseReason::Reused, "truncated"),
    ] {
        let exchanges = Lane::new().client(GET).server(response).close(reason).taken();
        assert_eq!(lines(&exchanges), [format!("GET / 0 > 200 10 {state}")]);
        assert!(!exchanges[0].response.as_ref().unwrap().complete);
        assert_eq!((exchanges[0].timing.receive, exchanges[0].timing.total), (None, None));
        assert_eq!(exchanges[0].timing.ttfb, Some(100));
    }
}

#[test]
fn a_body_cut_short() {
    let mut lane = Lane::new();
    lane.client(GET).server(&OK[..OK.len() - 2]).fin(SERVER);
    assert_eq!(lines(&lane.taken()), ["GET / 0 > 200 3 truncated"]);
    let exchanges =
        Lane::new().client("PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab").fin(CLIENT).server(OK).taken();
    assert_eq!(lines(&exchanges), ["PUT / 2 > 200 5 truncated"]);
    assert_eq!(exchanges[0].timing.server, None);
    // Half a head, too.
    let exchanges = Lane::new().client(GET).server("HTTP/1.1 200 OK\r\nX: ").close(CloseReason::Idle).taken();
    assert_eq!(lines(&exchanges), ["GET / 0 > 200 0 truncated"]);
    let exchanges = Lane::new().client("GET / HTTP/1.1\r\nX: y\r\nZ").close(CloseReason::Idle).taken();
    assert_eq!(lines(&exchanges), ["GET / 0 > - truncated"]);
    assert_eq!(exchanges[0].request.as_ref().unwrap().head.fields().count(), 1);
}

#[test]
fn heads_beyond_the_limits() {
    let filler = "X-Filler: 0123456789\r\n".repeat(50);
    let config = HttpConfig { max_head_bytes: 200, max_fields: 4, ..HttpConfig::default() };
    let request = format!("POST / HTTP/1.1\r\n{filler}Content-Length: 3\r\n\r\nabc");
    let response =
        format!("HTTP/1.1 200 OK\r\n{filler}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    for size in [1, 7, 199, 200, 201, 5_000] {
        let mut lane = Lane::with(config.clone(), false);
        for piece in request.as_bytes().chunks(size) {
            lane.client(piece);
        }
        for piece in response.as_bytes().chunks(size) {
            lane.server(piece);
        }
        let exchanges = lane.client(GET).server(OK).finish();
        assert_eq!(lines(&exchanges), ["POST / 3 > 200 5 complete", "GET / 0 > 200 5 complete"], "{size}");
        let head = &exchanges[0].request.as_ref().unwrap().head;
        assert!(head.cut);
        assert_eq!((head.raw().len(), head.fields().count()), (200, 4));
        assert_eq!(exchanges[0].request.as_ref().unwrap().wire_bytes, request.len() as u64);
        assert!(!exchanges[1].request.as_ref().unwrap().head.cut);
        assert_eq!(lane.http.counters().heads_cut, 2);
    }
    // Too many fields alone.
    let config = HttpConfig { max_fields: 4, ..HttpConfig::default() };
    let exchanges = Lane::with(config, false).client(&request).server(&response).taken();
    assert_eq!(lines(&exchanges), ["POST / 3 > 200 5 complete"]);
    assert!(exchanges[0].request.as_ref().unwrap().head.cut);
    assert_eq!(exchanges[0].request.as_ref().unwrap().head.raw().len(), request.len() - 3);
}

#[test]
fn a_target_beyond_the_limits() {
    let config = HttpConfig { max_head_bytes: 100, ..HttpConfig::default() };
    let request = format!("GET /{} HTTP/1.1\r\nContent-Length: 2\r\n\r\nab", "x".repeat(500));
    let exchanges = Lane::with(config, false).client(request).server(OK).taken();
    assert_eq!(exchanges[0].state, State::Complete);
    let request = exchanges[0].request.as_ref().unwrap();
    assert_eq!((request.head.target().len(), request.body_bytes), (96, 2));
    // Longer than what is held of a flow that is not known: the method tells.
    let request = format!("POST *{} HTTP/1.1\r\n\r\n", "x".repeat(9_000));
    let mut lane = Lane::new();
    for piece in request.as_bytes().chunks(1_000) {
        lane.client(piece);
    }
    assert_eq!(lane.server(OK).taken()[0].request.as_ref().unwrap().head.target().len(), 9_001);
}

#[test]
fn chunks_that_are_none() {
    let bad = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nxyz\r\n";
    let mut lane = Lane::new();
    let exchanges = lane.client(GET).server(bad).client(GET).server(OK).finish();
    assert_eq!(lines(&exchanges), ["GET / 0 > 200 3 truncated", "GET / 0 > 200 5 complete"]);
}

#[test]
fn gaps_inside_bodies() {
    let mut lane = Lane::new();
    lane.client(GET).server(&OK[..OK.len() - 4]).gap(SERVER, 3).server("o");
    let exchanges = lane.taken();
    assert_eq!(lines(&exchanges), ["GET / 0 > 200 5 complete"]);
    let response = exchanges[0].response.as_ref().unwrap();
    assert_eq!((response.gap_bytes, response.wire_bytes), (3, OK.len() as u64));
    assert!(!exchanges[0].untrusted.any());

    // Up to the last byte: complete, but nobody knows when.
    let exchanges = lane.client(GET).server(&OK[..OK.len() - 4]).gap(SERVER, 4).taken();
    assert_eq!(lines(&exchanges), ["GET / 0 > 200 5 complete"]);
    assert!(exchanges[0].untrusted.gap);
    assert_eq!(exchanges[0].timing.total, None);

    // In a chunk, and all of a chunk's data.
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n";
    lane.client(GET)
        .server(chunked)
        .gap(SERVER, 2)
        .server("c\r\n4\r\n")
        .gap(SERVER, 4)
        .server("\r\n0\r\n\r\n");
    let exchanges = lane.taken();
    assert_eq!(lines(&exchanges), ["GET / 0 > 200 7 complete"]);
    assert_eq!(exchanges[0].response.as_ref().unwrap().gap_bytes, 6);
    assert!(!exchanges[0].untrusted.any());
}

#[test]
fn gaps_inside_framing() {
    // A chunk-size line is missing.
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc";
    let mut lane = Lane::new();
    lane.client(GET).server(chunked).gap(SERVER, 5).server("more\r\n0\r\n\r\n").client(GET).server(OK);
    let exchanges = lane.finish();
    assert_eq!(lines(&exchanges), ["GET / 0 > 200 3 gap", "GET / 0 > 200 5 complete"]);
    assert!(exchanges[0].untrusted.gap && !exchanges[1].untrusted.any());
    assert_eq!(lane.http.counters().skipped_bytes, 11);
    // Some of a head is missing; the status is known.
    let mut lane = Lane::new();
    lane.client(GET).server("HTTP/1.1 404 No\r\nX:").gap(SERVER, 30).server("rest").client(GET).server(OK);
    assert_eq!(lines(&lane.finish()), ["GET / 0 > 404 0 gap", "GET / 0 > 200 5 complete"]);
    // Not even that: the request has no answer.
    let mut lane = Lane::new();
    lane.client(GET).server("HTTP/1.1 4").gap(SERVER, 30).client("GET /2 HTTP/1.1\r\n\r\n").server(OK);
    assert_eq!(lines(&lane.finish()), ["GET / 0 > - gap", "GET /2 0 > 200 5 complete"]);
    // A request's head: its response is an orphan's at least half.
    let mut lane = Lane::new();
    lane.client("GET /1 HTTP/1.1\r\nX: y\r\n").gap(CLIENT, 9).server(OK).client(GET).server(OK);
    assert_eq!(lines(&lane.finish()), ["GET /1 0 > 200 5 gap", "GET / 0 > 200 5 complete"]);
}

#[test]
fn a_gap_beyond_the_end_of_a_body() {
    let mut lane = Lane::new();
    // The gap holds the end of the first response and all of the second one.
    lane.client([GET, "GET /2 HTTP/1.1\r\n\r\n"].concat());
    lane.server(&OK[..OK.len() - 2]).gap(SERVER, 2 + OK.len() as u64);
    lane.client("GET /3 HTTP/1.1\r\n\r\n").server(OK);
    let exchanges = lane.finish();
    assert_eq!(exchanges[0].state, State::Complete);
    assert_eq!(exchanges[0].response.as_ref().unwrap().gap_bytes, 2);
    assert_eq!(lines(&exchanges[1..]), ["GET /2 0 > - gap", "GET /3 0 > 200 5 complete"]);
    let told = [&exchanges[1], &exchanges[2]].map(|exchange| exchange.confidence);
    assert_eq!(told, [crate::Confidence::Low, crate::Confidence::High]);
}

#[test]
fn other_protocols_are_let_go() {
    let counters = |client: &[u8], server: &[u8]| {
        let mut lane = Lane::new();
        lane.client(client);
        if lane.wanted() {
            lane.server(server);
        }
        // Only a start line that is not whole yet is waited for further.
        if lane.wanted() {
            lane.client("ER x\r\n");
        }
        assert!(!lane.wanted());
        lane.close(CloseReason::Finished);
        *lane.http.counters()
    };
    assert_eq!(counters(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"").http2, 1);
    assert_eq!(counters(b"PRI", b"\0\0\x12\x04\0\0\0\0\0").http2, 1);
    assert_eq!(counters(b"\x16\x03\x01\x02", b"\x15\x03\x01\0\x02").tls, 1);
    assert_eq!(counters(b"EHLO x\r\n", b"250 ok\r\n").other, 1);
    assert_eq!(counters(b"US", b"220 ready\r\n").other, 1);
    // Joined in the middle of a body: it may well be HTTP.
    let mut lane = Lane::midstream();
    lane.server(vec![b'x'; 3_000]).close(CloseReason::EndOfInput);
    let counters = lane.http.counters();
    assert_eq!((counters.midstream_unknown, counters.other, counters.midstream), (1, 0, 0));
    // So it may when it has been given up.
    let mut lane = Lane::midstream();
    let body = vec![b'x'; 1 << 20];
    while lane.wanted() {
        lane.server(&body);
    }
    lane.close(CloseReason::Finished);
    assert_eq!((lane.http.counters().midstream_unknown, lane.http.counters().other), (1, 0));
    let mut lane = Lane::new();
    lane.close(CloseReason::Finished);
    assert_eq!(lane.http.counters().empty, 1);
    let ports = Some(PortSet::new(vec![8_000..=8_999]));
    let lane = Lane::with(HttpConfig { ports, ..HttpConfig::default() }, false);
    assert!(!lane.wanted());
    assert_eq!(lane.http.counters().excluded, 1);
}

#[test]
fn an_upgrade_that_the_server_does_not_care_for() {
    let both = run(["GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n", GET].concat(), [OK, OK].concat());
    assert_eq!(both.len(), 2);
}

/// Who does not know that a HEAD was asked finds the end of its answer by what follows, wherever segments end.
#[test]
fn an_answer_that_may_have_no_body_ends_where_the_next_one_begins() {
    let heads = [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n",
    ];
    let next = "HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n";
    for head in heads {
        for cut in 0..next.len() {
            let mut lane = Lane::new();
            lane.gap(CLIENT, 40).server(head).server(&next[..cut]).server(&next[cut..]);
            lane.client("GET /3 HTTP/1.1\r\n\r\n").server(OK);
            let exchanges = lines(&lane.finish());
            let expected =
                ["- > 200 0 orphan-response", "- > 404 0 orphan-response", "GET /3 0 > 200 5 complete"];
            assert_eq!(exchanges, expected, "{head:?} {cut}");
        }
    }
    // What only begins like one is a body, however short it is.
    for (body, rest) in
        [("HTTP/1.1 ", ""), ("HTTP/1.1 2 is a bo", "dy"), ("HTTP/1.1 20", "."), ("HTTP", "/2")]
    {
        for cut in 0..body.len() {
            let mut lane = Lane::new();
            let len = body.len() + rest.len();
            lane.gap(CLIENT, 40).server(format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n"));
            lane.server(&body[..cut]).server(&body[cut..]).server(rest);
            lane.server(next);
            let exchanges = lines(&lane.finish());
            let first = format!("- > 200 {len} orphan-response");
            assert_eq!(exchanges, [first.as_str(), "- > 404 0 orphan-response"], "{body:?} {cut}");
        }
    }
}

/// The head of a request is missing, and its body ends in a letter.
#[test]
fn a_request_behind_a_letter_is_found() {
    let next = "GET /2 HTTP/1.1\r\n\r\n";
    for rest in ["body", "a=bP", "x=GE", "budGET", "77", "\r\n\r\nbody", "h\r\n\r\nbudGET", "\nP"] {
        let whole = [rest, next].concat();
        for cut in 1..whole.len() {
            let mut lane = Lane::new();
            lane.client(GET).server(OK).gap(CLIENT, 50);
            lane.client(&whole[..cut]).client(&whole[cut..]).server(OK);
            let exchanges = lines(&lane.finish());
            assert_eq!(exchanges[1..], ["GET /2 0 > 200 5 complete"], "{rest} {cut}");
        }
    }
}
