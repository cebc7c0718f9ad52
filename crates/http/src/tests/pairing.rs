//! Which response belongs to which request where nothing is missing, and the times of both.

use gannet_flow::{CloseReason, Data, Moment, Peer};
use gannet_packet::Timestamp;

use super::{answer, get, run};
use crate::testing::{CLIENT, Lane, SERVER, line, lines};
use crate::{Confidence, HttpConfig, Reason, State};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn pipelined_requests_in_order() {
    let mut lane = Lane::new();
    lane.client([get("/1"), get("/2"), get("/3")].concat());
    lane.server(answer(201)).server(answer(202) + &answer(203));
    let exchanges = lane.finish();
    assert_eq!(
        lines(&exchanges),
        ["GET /1 0 > 201 0 complete", "GET /2 0 > 202 0 complete", "GET /3 0 > 203 0 complete"]
    );
    // The server could begin with the second answer when the first one was sent.
    let servers: Vec<_> = exchanges.iter().map(|exchange| exchange.timing.server).collect();
    assert_eq!(servers, [Some(100), Some(100), Some(0)]);
    let indices: Vec<_> = exchanges.iter().map(|exchange| exchange.index).collect();
    assert_eq!(indices, [0, 1, 2]);
    let connects: Vec<_> = exchanges.iter().map(|exchange| exchange.timing.connect).collect();
    assert_eq!(connects, [Some(25), None, None]);
    assert!(exchanges.iter().all(|exchange| exchange.confidence == Confidence::High));
}

#[test]
fn interim_responses_do_not_answer() {
    let mut lane = Lane::new();
    lane.client("PUT /1 HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    lane.server("HTTP/1.1 100 Continue\r\n\r\n").client("abc");
    lane.server(format!("HTTP/1.1 103 Early\r\nLink: x\r\n\r\n{}", answer(201)));
    lane.client(get("/2")).server(answer(202));
    let exchanges = lane.finish();
    assert_eq!(lines(&exchanges), ["PUT /1 3 > 201 0 complete", "GET /2 0 > 202 0 complete"]);
    let interim: Vec<_> =
        exchanges[0].interim.iter().map(|interim| (interim.status, interim.first.0)).collect();
    assert_eq!(interim, [(100, 200), (103, 400)]);
    assert_eq!(exchanges[1].interim, []);
    // The wait for the 100 is the client's.
    assert_eq!((exchanges[0].timing.send, exchanges[0].timing.server), (Some(200), Some(100)));
    assert_eq!(lane.http.counters().interim_responses, 2);
}

#[test]
fn times_of_an_exchange() {
    let mut lane = Lane::new();
    lane.client("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n").client("a").client("b");
    lane.now += 5_000;
    lane.server("HTTP/1.1 200 OK\r\nCont").server("ent-Length: 2\r\n\r\na").server("b");
    let exchange = &lane.taken()[0];
    let timing = exchange.timing;
    assert_eq!((timing.send, timing.server, timing.ttfb), (Some(200), Some(5_100), Some(5_300)));
    assert_eq!((timing.receive, timing.total, timing.connect), (Some(200), Some(5_500), Some(25)));
    assert_eq!(exchange.completed, Moment { time: Timestamp(5_600), position: 56 });
    let response = exchange.response.as_ref().unwrap();
    assert_eq!(response.head_end, Timestamp(5_500));
}

#[test]
fn an_answer_before_the_request_has_ended() {
    let mut lane = Lane::new();
    lane.client("PUT /big HTTP/1.1\r\nContent-Length: 10\r\n\r\n01234").server(answer(413));
    assert_eq!(lane.taken().len(), 0);
    lane.client("56789").client(get("/2")).server(answer(200));
    let exchanges = lane.finish();
    assert_eq!(lines(&exchanges), ["PUT /big 10 > 413 0 complete", "GET /2 0 > 200 0 complete"]);
    assert!(exchanges[0].untrusted.early_answer);
    assert_eq!(exchanges[0].timing.server, None);
    assert_eq!(exchanges[0].timing.ttfb, Some(100));
    assert!(!exchanges[1].untrusted.any());
    // The rest never comes.
    let mut lane = Lane::new();
    lane.client("PUT /big HTTP/1.1\r\nContent-Length: 10\r\n\r\n01234").server(answer(413));
    lane.close(CloseReason::Reset { by: SERVER });
    assert_eq!(lines(&lane.taken()), ["PUT /big 5 > 413 0 aborted"]);
    // Before the head has ended.
    let mut lane = Lane::new();
    lane.client("GET /big HTTP/1.1\r\nX: ").server(answer(431)).client("y\r\n\r\n");
    assert_eq!(lines(&lane.taken()), ["GET /big 0 > 431 0 complete"]);
}

#[test]
fn an_answer_without_a_request() {
    let mut lane = Lane::new();
    lane.client(get("/")).server(answer(200)).server(answer(408));
    let exchanges = lane.finish();
    assert_eq!(lines(&exchanges), ["GET / 0 > 200 0 complete", "- > 408 0 orphan-response"]);
    // It crosses a request on its way: the server had nothing of it.
    let mut lane = Lane::new();
    lane.client(get("/1")).server(answer(200)).client(get("/2"));
    let before = get("/1").len() as u64;
    lane.data(SERVER, answer(408).as_bytes(), Some(before));
    assert_eq!(
        lines(&lane.finish()),
        ["GET /1 0 > 200 0 complete", "- > 408 0 orphan-response", "GET /2 0 > - orphan-request"]
    );
}

#[test]
fn requests_without_an_answer() {
    for (reason, state) in [
        (CloseReason::Finished, "orphan-request"),
        (CloseReason::Reset { by: SERVER }, "aborted"),
        (CloseReason::Idle, "truncated"),
        (CloseReason::EndOfInput, "truncated"),
    ] {
        let mut lane = Lane::new();
        lane.client(get("/1")).server(answer(200)).client(get("/2")).close(reason);
        assert_eq!(lines(&lane.taken())[1..], [format!("GET /2 0 > - {state}")]);
        // Whether or not the connection had an answer before.
        let mut lane = Lane::new();
        lane.flow.sample_stream(SERVER, |stream| stream.packets = 1);
        lane.client(get("/1")).close(reason);
        assert_eq!(lines(&lane.taken()), [format!("GET /1 0 > - {state}")]);
    }
    // The server's direction is over, or was never seen: no answer was cut off.
    for ended in [true, false] {
        for reason in [CloseReason::EndOfInput, CloseReason::Idle, CloseReason::Evicted] {
            let mut lane = Lane::new();
            lane.client(get("/1"));
            if ended {
                lane.fin(SERVER);
            }
            lane.close(reason);
            assert_eq!(lines(&lane.taken()), ["GET /1 0 > - orphan-request"]);
        }
    }
}

#[test]
fn one_direction_alone() {
    let config = HttpConfig { max_pending: 3, ..HttpConfig::default() };
    let mut lane = Lane::with(config, false);
    for turn in 0..5 {
        lane.data(CLIENT, get(&format!("/{turn}")).as_bytes(), Some(turn * 50));
    }
    assert_eq!(lines(&lane.taken()), ["GET /0 0 > - orphan-request", "GET /1 0 > - orphan-request"]);
    lane.close(CloseReason::Idle);
    assert_eq!(lane.taken().len(), 3);
    assert_eq!(lane.http.counters().one_sided, 1);
    assert_eq!(lane.http.counters().orphan_requests, 5);

    let mut lane = Lane::new();
    lane.data(SERVER, (answer(201) + OK).as_bytes(), None).close(CloseReason::Idle);
    let exchanges = lane.taken();
    assert_eq!(lines(&exchanges), ["- > 201 0 orphan-response", "- > 200 5 orphan-response"]);
    assert_eq!(exchanges[0].connection.client.port, 40_000);
}

#[test]
fn a_response_that_is_captured_before_its_request() {
    let request = get("/1");
    let mut lane = Lane::new();
    lane.sent = [request.len() as u64, 0];
    lane.server(answer(200));
    lane.sent = [0, answer(200).len() as u64];
    assert_eq!(lane.taken().len(), 0);
    lane.data(CLIENT, request.as_bytes(), Some(0));
    let exchanges = lane.taken();
    assert_eq!(lines(&exchanges), ["GET /1 0 > 200 0 complete"]);
    assert_eq!(exchanges[0].confidence, Confidence::High);
    assert_eq!(exchanges[0].timing.server, None);
    assert!(exchanges[0].untrusted.early_answer);
    // The packet that completed it is that of the request.
    assert_eq!(exchanges[0].completed.time, Timestamp(200));
}

#[test]
fn the_method_of_a_late_request_counts() {
    let head = "HEAD / HTTP/1.1\r\n\r\n";
    let response = &OK[..OK.len() - 5];
    let late = |then: &str| {
        let mut lane = Lane::new();
        lane.data(SERVER, response.as_bytes(), Some(head.len() as u64));
        if !then.is_empty() {
            lane.data(SERVER, then.as_bytes(), Some((head.len() + get("/2").len()) as u64));
        }
        lane.data(CLIENT, head.as_bytes(), Some(0));
        if !then.is_empty() {
            lane.data(CLIENT, get("/2").as_bytes(), Some(response.len() as u64));
        }
        lines(&lane.finish())
    };
    assert_eq!(late(""), ["HEAD / 0 > 200 0 complete"]);
    assert_eq!(late(&answer(204)), ["HEAD / 0 > 200 0 complete", "GET /2 0 > 204 0 complete"]);

    let mut lane = Lane::new();
    let connect = "CONNECT a:1 HTTP/1.1\r\n\r\n";
    lane.data(SERVER, b"HTTP/1.1 200 OK\r\n\r\nabc", Some(connect.len() as u64));
    lane.data(CLIENT, connect.as_bytes(), Some(0));
    assert_eq!(lane.taken().len(), 0);
    assert_eq!(lane.http.counters().tunnel_bytes, 3);
    lane.close(CloseReason::Finished);
    let exchanges = lane.taken();
    assert_eq!(lines(&exchanges), ["CONNECT a:1 0 > 200 0 complete"]);
    assert_eq!(exchanges[0].tunnel.as_ref().unwrap().server_bytes, 3);
}

/// A connection that is joined before an answer may be one of which only the server is captured. That its first answer
/// is to a request from before is true of both; of the next ones, that their requests should have been seen.
#[test]
fn joined_before_an_answer() {
    let reasons = |lane: &mut Lane| {
        let exchanges = lane.close(CloseReason::Idle).taken();
        exchanges.iter().map(|one| one.reason).collect::<Vec<_>>()
    };
    let mut lane = Lane::midstream();
    lane.data(SERVER, answer(201).as_bytes(), Some(0)).data(SERVER, answer(202).as_bytes(), Some(50));
    assert_eq!(reasons(&mut lane), [Reason::BeforeCapture, Reason::OneSided]);
    let mut lane = Lane::midstream();
    lane.data(SERVER, answer(201).as_bytes(), Some(0)).client(get("/2")).server(answer(202));
    assert_eq!(reasons(&mut lane), [Reason::BeforeCapture, Reason::Framing]);
    // From the connection's first packet on there is nothing before.
    let mut lane = Lane::new();
    lane.data(SERVER, answer(201).as_bytes(), Some(50));
    assert_eq!(reasons(&mut lane), [Reason::OneSided]);
}

#[test]
fn joined_in_the_middle() {
    // The rest of a response, then a whole exchange.
    let mut lane = Lane::midstream();
    lane.server("rest of a body").client(get("/1")).server(answer(201)).client(get("/2")).server(answer(202));
    let exchanges = lane.finish();
    assert_eq!(lines(&exchanges), ["GET /1 0 > 201 0 complete", "GET /2 0 > 202 0 complete"]);
    // There may have been others under way when it was joined.
    let confidences: Vec<_> = exchanges.iter().map(|exchange| exchange.confidence).collect();
    assert_eq!(confidences, [Confidence::Low, Confidence::Medium]);
    assert!(exchanges[0].untrusted.pairing && !exchanges[1].untrusted.any());
    assert!(exchanges.iter().all(|exchange| exchange.connection.midstream));
    assert_eq!(exchanges[0].timing.connect, None);
    assert_eq!(lane.http.counters().skipped_bytes, 14);

    // A response whose request came before; then one that acknowledges nothing of the request seen.
    let mut lane = Lane::midstream();
    lane.server(answer(200)).client(get("/1")).server(answer(201));
    let exchanges = lane.finish();
    assert_eq!(lines(&exchanges), ["- > 200 0 midstream", "GET /1 0 > 201 0 complete"]);
    assert!(exchanges[0].untrusted.midstream && !exchanges[1].untrusted.midstream);

    // No witness: paired in order, and the times are not trusted.
    let mut lane = Lane::midstream();
    lane.client(get("/1")).data(SERVER, answer(201).as_bytes(), None);
    let exchanges = lane.finish();
    assert_eq!(exchanges[0].state, State::Complete);
    assert!(exchanges[0].untrusted.midstream);

    // The rest of an upload.
    let mut lane = Lane::midstream();
    lane.client("rest of an upload").server(answer(200)).client(get("/1")).server(answer(201));
    assert_eq!(lines(&lane.finish()), ["- > 200 0 midstream", "GET /1 0 > 201 0 complete"]);
}

#[test]
fn edges_that_were_sent_again() {
    let head = "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n";
    let all = (head.len() + 3) as u64;
    for (offset, len, marked) in
        [(0, 1, true), (all - 1, 1, true), (1, all - 2, false), (0, all, true), (all, 10, false)]
    {
        let mut lane = Lane::new();
        let exchanges = lane.client(head).client("abc").again(CLIENT, offset, len).server(OK).taken();
        assert_eq!(exchanges[0].untrusted.retransmitted, marked, "{offset} {len}");
    }
    // While the message is under way.
    let mut lane = Lane::new();
    lane.client(&head[..9]).again(CLIENT, 0, 2).client(&head[9..]).client("abc").server(OK);
    assert!(lane.taken()[0].untrusted.retransmitted);
    let mut lane = Lane::new();
    lane.client(get("/")).server(&OK[..40]).again(SERVER, 0, 40).server(&OK[40..]);
    assert!(lane.taken()[0].untrusted.retransmitted);
    let mut lane = Lane::new();
    lane.client(get("/")).server(&OK[..40]).again(SERVER, 1, 39).server(&OK[40..]);
    assert!(!lane.taken()[0].untrusted.retransmitted);
}

#[test]
fn edges_that_came_late() {
    for (late, marked) in
        [([true, false, false], true), ([false, true, false], false), ([false, false, true], true)]
    {
        let mut lane = Lane::new();
        lane.client(get("/"));
        let acknowledged = Some(lane.sent[0]);
        let pieces = [&OK[..20], &OK[20..41], &OK[41..]];
        let mut offset = 0;
        for (index, (piece, late)) in pieces.into_iter().zip(late).enumerate() {
            let seen = Moment { time: Timestamp(1_000 - 10 * index as u64), position: 9 };
            let now = Moment { time: Timestamp(1_000), position: 10 };
            lane.deliver(Data {
                from: SERVER,
                offset,
                bytes: piece.as_bytes(),
                seen,
                now,
                acknowledged,
                late,
            });
            offset += piece.len() as u64;
        }
        let exchange = &lane.taken()[0];
        assert_eq!(exchange.untrusted.retransmitted, marked, "{late:?}");
        // The times of the segments that carried the bytes, in whatever order.
        let response = exchange.response.as_ref().unwrap();
        assert_eq!((response.first, response.last), (Timestamp(1_000), Timestamp(980)));
        assert_eq!(exchange.timing.receive, None);
        assert_eq!(exchange.completed.position, 10);
    }
}

#[test]
fn what_tcp_went_through() {
    let mut lane = Lane::new();
    lane.flow.sample_stream(Peer::Originator, |stream| stream.retransmitted_bytes = 5);
    lane.client(get("/"));
    lane.flow.sample_stream(Peer::Originator, |stream| stream.retransmitted_bytes = 7);
    lane.flow.sample_stream(Peer::Responder, |stream| {
        (stream.retransmitted_bytes, stream.out_of_order, stream.zero_windows) = (10, 2, 1);
    });
    lane.server(OK);
    let tcp = lane.taken()[0].tcp;
    assert_eq!((tcp.retransmitted_bytes, tcp.out_of_order, tcp.zero_windows, tcp.gap_bytes), (12, 2, 1, 0));
}

#[test]
fn many_on_one_connection() {
    let requests: Vec<_> = (0..300).map(|index| get(&format!("/{index}"))).collect();
    let responses: Vec<_> = (0..300).map(|index| answer(200 + index)).collect();
    let expected: Vec<_> =
        (0..300).map(|index| format!("GET /{index} 0 > {} 0 complete", 200 + index)).collect();
    assert_eq!(run(requests.concat(), responses.concat()), expected);
    let mut lane = Lane::new();
    for (request, response) in requests.iter().zip(&responses) {
        lane.client(request).server(response);
    }
    assert_eq!(lane.finish().iter().map(line).collect::<Vec<_>>(), expected);
}

#[test]
fn heads_that_wait_are_bounded_in_bytes() {
    let request = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(60_000));
    let mut lane = Lane::new();
    for _ in 0..40 {
        lane.client(&request);
    }
    assert_eq!(lane.taken().len(), 40 - (1 << 20) / request.len());
    lane.close(CloseReason::Idle);
    assert_eq!(lane.taken().len(), (1 << 20) / request.len());
    assert_eq!(lane.http.counters().pending_full, 23);
    // Progress messages without end.
    let mut lane = Lane::new();
    lane.client(get("/"));
    for _ in 0..20 {
        lane.server("HTTP/1.1 102 Processing\r\n\r\n");
    }
    let exchanges = lane.server(answer(200)).taken();
    assert_eq!(exchanges[0].interim.len(), 16);
    assert_eq!((lane.http.counters().interim_responses, lane.http.counters().interim_dropped), (20, 4));
}
