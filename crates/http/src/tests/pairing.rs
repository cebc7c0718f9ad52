//! Which response belongs to which request, and the times of both.

use gannet_flow::{CloseReason, Data, Moment, Peer};
use gannet_packet::Timestamp;
use proptest::prelude::*;

use super::run;
use crate::testing::{CLIENT, Lane, SERVER, line, lines};
use crate::{Confidence, Exchange, HttpConfig, Reason, State};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\n\r\n")
}

fn answer(status: u16) -> String {
    format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n")
}

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

#[test]
fn a_lost_response_does_not_shift_the_others() {
    let mut lane = Lane::new();
    lane.client(get("/1")).server(answer(201));
    lane.client(get("/2")).gap(SERVER, answer(202).len() as u64);
    lane.client(get("/3")).server(answer(203)).client(get("/4")).server(answer(204));
    let exchanges = lane.finish();
    assert_eq!(
        lines(&exchanges),
        [
            "GET /1 0 > 201 0 complete",
            "GET /2 0 > - gap",
            "GET /3 0 > 203 0 complete",
            "GET /4 0 > 204 0 complete"
        ]
    );
    // Its client was seen to take turns.
    assert_eq!(exchanges[2].confidence, Confidence::High);
    assert!(!exchanges[2].untrusted.any());
}

#[test]
fn a_lost_request_leaves_its_response_alone() {
    // The flow layer gives the hole up only after the response has been seen.
    for hole_first in [false, true] {
        let mut lane = Lane::new();
        lane.client(get("/1")).server(answer(201));
        let (known, hole) = (lane.sent[0], get("/2").len() as u64);
        if hole_first {
            lane.gap(CLIENT, hole);
        }
        lane.data(SERVER, answer(202).as_bytes(), Some(known + hole));
        if !hole_first {
            assert_eq!(lane.taken().len(), 1);
            lane.data(SERVER, answer(203).as_bytes(), Some(known + 2 * hole));
            lane.gap(CLIENT, hole);
            lane.data(CLIENT, get("/3").as_bytes(), Some((answer(201) + &answer(202)).len() as u64));
        } else {
            lane.client(get("/3")).server(answer(203));
        }
        let exchanges = lane.finish();
        let rest = &exchanges[exchanges.len() - 2..];
        assert_eq!(lines(rest), ["- > 202 0 orphan-response", "GET /3 0 > 203 0 complete"]);
        // There was room for no further request.
        assert_eq!(rest[1].confidence, Confidence::High);
        assert!(!rest[1].untrusted.pairing);
    }
}

/// What fits into a hole of the client's stream is counted with what a request of this client takes at least.
#[test]
fn a_hole_has_room_for_so_many_requests() {
    let named = |target: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: a.example\r\nUser-Agent: a/1\r\nAccept: */*\r\n\r\n")
    };
    // `GET / HTTP/1.1`, `Host:a.example`, `User-Agent:a/1` and three line feeds besides the empty line's.
    let least = 14 + 1 + 14 + 1 + 14 + 1 + 1;
    let confidence = |room: u64, tail: &str, answers: u64| {
        let mut lane = Lane::new();
        lane.client(named("/1")).server(answer(201)).gap(CLIENT, room);
        if !tail.is_empty() {
            lane.client(tail);
        }
        for _ in 0..answers {
            lane.server(answer(202));
        }
        lane.client(named("/3")).server(answer(203));
        let exchanges = lane.finish();
        let last = exchanges.last().unwrap();
        assert_eq!(lines(&exchanges[exchanges.len() - 1..]), ["GET /3 0 > 203 0 complete"]);
        assert_eq!(last.untrusted.pairing, last.confidence == Confidence::Low);
        last.confidence
    };
    let (high, low) = (Confidence::High, Confidence::Low);
    assert_eq!([confidence(least * 2 - 1, "", 1), confidence(least * 2, "", 1)], [high, low]);
    assert_eq!([confidence(least * 3 - 1, "", 2), confidence(least * 3, "", 2)], [high, low]);
    // The last one may go on behind the hole.
    assert_eq!([confidence(least, "tail of something\r\n", 1), confidence(1, "\r\n", 1)], [low, high]);
    // More answers than requests: one of them was not asked for, and who knows which.
    assert_eq!(confidence(least, "", 2), low);
}

/// Requests and answers lost side by side: the client had received what was in the server's hole before it asked again.
#[test]
fn an_answer_in_a_hole_is_counted() {
    for (hole, confidence) in [(answer(202).len() as u64, Confidence::High), (20, Confidence::Low)] {
        let mut lane = Lane::new();
        lane.client(get("/1")).server(answer(201));
        lane.gap(CLIENT, get("/2").len() as u64).gap(SERVER, hole);
        lane.client(get("/3")).server(answer(203)).client(get("/4")).server(answer(204));
        let exchanges = lane.finish();
        let expected =
            ["GET /1 0 > 201 0 complete", "GET /3 0 > 203 0 complete", "GET /4 0 > 204 0 complete"];
        assert_eq!(lines(&exchanges), expected);
        assert!(exchanges[1..].iter().all(|one| one.confidence == confidence), "{exchanges:?}");
    }
    // The very first answer of a client that never sent two requests at once.
    let mut lane = Lane::new();
    lane.client(get("/1")).gap(SERVER, answer(201).len() as u64).client(get("/2")).server(answer(202));
    let exchanges = lane.finish();
    assert_eq!(lines(&exchanges), ["GET /1 0 > - gap", "GET /2 0 > 202 0 complete"]);
    assert_eq!(exchanges[1].confidence, Confidence::High);
}

/// Where requests and responses, seen and missing, are as many, nobody's habit is asked.
#[test]
fn a_turn_that_adds_up_is_certain() {
    let run = |holes: [u64; 2]| {
        let mut lane = Lane::new();
        lane.client([get("/1"), get("/2"), get("/3")].concat());
        for (next, hole) in [(201, holes[0]), (202, 0), (203, holes[1])] {
            if hole > 0 {
                lane.gap(SERVER, hole);
            } else {
                lane.server(answer(next));
            }
        }
        lane.client([get("/4"), get("/5")].concat()).server(answer(204) + &answer(205));
        let exchanges = lane.finish();
        let pairs = exchanges.into_iter().filter(|one| one.request.is_some() && one.response.is_some());
        pairs.map(|one| (line(&one), one.confidence)).collect::<Vec<_>>()
    };
    let len = answer(201).len() as u64;
    for holes in [[len, 0], [0, len], [len, len]] {
        let found = run(holes);
        let sure = |pair: &(String, Confidence)| pair.1 == Confidence::High;
        assert!(found.len() >= 3 && found.iter().all(sure), "{holes:?}: {found:?}");
        assert!(found.iter().any(|(line, _)| line == "GET /2 0 > 202 0 complete"), "{found:?}");
    }
    // An interim response, or a whole one? It does not add up.
    assert!(run([20, 0]).iter().any(|(_, confidence)| *confidence == Confidence::Low));
}

/// Seen in random loss: a response to HEAD whose own head is cut by a hole was told to be whole.
#[test]
fn half_a_head_is_not_the_whole_answer_to_head() {
    let head = "HEAD / HTTP/1.1\r\n\r\n";
    let mut lane = Lane::new();
    // It is captured before its request.
    lane.data(SERVER, b"HTTP/1.1 200 OK\r\nContent-", Some(head.len() as u64)).gap(SERVER, 13);
    lane.data(CLIENT, head.as_bytes(), Some(0));
    assert_eq!(lines(&lane.finish()), ["HEAD / 0 > 200 0 gap"]);
}

/// Seen in random loss: what had been held and was the beginning of nothing was not counted as passed, and all offsets
/// behind it were too small.
#[test]
fn what_was_held_for_nothing_is_passed() {
    for held in ["H", "HT", "GE"] {
        let mut lane = Lane::midstream();
        lane.server(held).server(answer(200)).client(get("/1")).server(answer(201));
        assert_eq!(lines(&lane.finish()), ["- > 200 0 midstream", "GET /1 0 > 201 0 complete"], "{held}");
        assert_eq!(lane.http.counters().skipped_bytes, held.len() as u64);
    }
}

/// Seen in random loss: the method of the first request that can be read is cut by the end of a segment that begins
/// with something else.
#[test]
fn the_first_method_behind_a_loss_may_be_cut() {
    for cut in 1..4 {
        let mut lane = Lane::new();
        let (request, body) = ("HEAD /2 HTTP/1.1\r\n\r\n", "[9543]POGE[9543]P");
        lane.gap(CLIENT, 100).client([body, &request[..cut]].concat());
        lane.client(&request[cut..]).server("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
        let exchanges = lane.finish();
        assert_eq!(lines(&exchanges), ["HEAD /2 0 > 200 0 complete"], "{cut}");
        assert_eq!(lane.http.counters().skipped_bytes, body.len() as u64);
    }
}

/// Seen in random loss: the last letters of a body, in a segment of their own or at the end of one, and the request
/// behind them were one with a strange method that began too early.
#[test]
fn the_end_of_a_body_is_no_part_of_a_method() {
    for rest in ["P", "PO", "GE"] {
        let mut lane = Lane::new();
        lane.client(get("/1")).server(answer(201)).gap(CLIENT, 100).client(rest);
        lane.client("PUT /2 HTTP/1.1\r\n\r\n").server(answer(202));
        let found = lines(&lane.finish());
        assert!(found.contains(&"PUT /2 0 > 202 0 complete".to_owned()), "{rest}: {found:?}");
        let mut lane = Lane::new();
        lane.gap(CLIENT, 100).client(["[1]POGE[1]", rest].concat()).client(get("/2")).server(answer(202));
        assert_eq!(lines(&lane.finish()), ["GET /2 0 > 202 0 complete"], "{rest}");
    }
}

/// Seen in random loss: a body behind a lost head quotes a request, and the server was taken for the client of the
/// whole connection.
#[test]
fn a_quoted_request_behind_a_loss_is_none() {
    for before in ["", "[7]"] {
        let mut lane = Lane::new();
        lane.gap(CLIENT, 100).gap(SERVER, 100).server([before, &get("/quoted")].concat());
        lane.client(get("/2")).server(answer(202)).client(get("/3")).server(answer(203));
        let exchanges = lane.finish();
        assert_eq!(lines(&exchanges), ["GET /2 0 > 202 0 complete", "GET /3 0 > 203 0 complete"], "{before}");
    }
    // Who waited for the connection may be the client all the same, as its first answer shows.
    let mut lane = Lane::new();
    lane.gap(SERVER, 100).server(get("/2")).client(answer(202)).server(get("/3")).client(answer(203));
    assert!(lines(&lane.finish()).contains(&"GET /3 0 > 203 0 complete".to_owned()));
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

/// It went on with the answer to the first of two requests, of which the second one is in a hole.
#[test]
fn who_goes_on_before_the_answers_is_not_believed() {
    let mut lane = Lane::new();
    for _ in 0..4 {
        lane.client([get("/1"), get("/2")].concat()).server([answer(201), answer(202)].concat());
    }
    lane.client(get("/3")).gap(CLIENT, get("/4").len() as u64).server(answer(203));
    lane.client(get("/5")).server(answer(204)).server(answer(205)).client(get("/6")).server(answer(206));
    for exchange in lane.finish().iter().filter(|one| one.request.is_some() && one.response.is_some()) {
        let (asked, answered) =
            (line(exchange), exchange.response.as_ref().and_then(|one| one.head.status()));
        let is_right = asked.starts_with(&format!("GET /{} ", answered.unwrap() - 200));
        assert!(is_right || exchange.confidence == Confidence::Low, "{asked}: {:?}", exchange.confidence);
    }
}

/// A client that keeps a few requests under way has all its answers now and then, by chance.
#[test]
fn a_client_that_pipelines_is_believed_after_a_few_turns() {
    for turns in 1..6 {
        let mut lane = Lane::new();
        let [two_requests, two_answers] =
            [[get("/1"), get("/2")].concat(), [answer(201), answer(202)].concat()];
        for _ in 0..turns {
            lane.client(&two_requests).server(&two_answers);
        }
        // What opens the turn behind the hole was seen; how many there were before it was not.
        lane.gap(CLIENT, 500).gap(SERVER, 500).client(&two_requests).server(&two_answers);
        let exchanges = lane.finish();
        let last = exchanges.last().map(|one| (line(one), one.confidence));
        // But for its word there is nothing.
        let confidence = if turns < 3 { Confidence::Low } else { Confidence::Medium };
        assert_eq!(last, Some(("GET /2 0 > 202 0 complete".to_owned(), confidence)), "{turns}");
    }
}

/// Checks that no request has the answer to another one, which has its number as `status`, unless that is said.
#[track_caller]
fn assert_right_or_marked(exchanges: &[Exchange]) {
    for exchange in exchanges {
        let (Some(request), Some(response)) = (&exchange.request, &exchange.response) else { continue };
        let asked: u16 = str::from_utf8(&request.head.target()[1..]).unwrap().parse().unwrap();
        let is_right = response.head.status() == Some(200 + asked);
        assert!(is_right || exchange.untrusted.pairing, "{}: {:?}", line(exchange), exchange.confidence);
    }
}

/// A client that has waited for the answers to three turns of two requests.
fn after_three_turns() -> Lane {
    let mut lane = Lane::new();
    for _ in 0..3 {
        lane.client([get("/1"), get("/2")].concat()).server([answer(201), answer(202)].concat());
    }
    lane
}

/// Seen in random loss: the client goes on with its turn when the first answer has come, which is in a hole. Of the two
/// responses behind it the first was taken for the answer to the last request.
#[test]
fn more_answers_than_requests_show_that_a_client_has_not_waited() {
    let mut lane = after_three_turns();
    let had = lane.sent[SERVER as usize] + answer(203).len() as u64;
    lane.client(get("/3")).client(get("/4")).data(CLIENT, get("/5").as_bytes(), Some(had));
    lane.gap(SERVER, answer(203).len() as u64).server(answer(204)).server(answer(205));
    let exchanges = lane.client(get("/6")).server(answer(206)).finish();
    assert_right_or_marked(&exchanges);
    assert!(exchanges.iter().all(|one| line(one) != "GET /5 0 > 204 0 complete"), "{:?}", lines(&exchanges));
}

/// Seen in random loss: the first of two requests is missing, and its answer was taken for that to the second one.
#[test]
fn a_request_in_a_hole_without_an_answer_belongs_to_the_turn() {
    let len = get("/3").len() as u64;
    for behind_another in [false, true] {
        let mut lane = after_three_turns();
        if behind_another {
            lane.client(get("/3")).gap(CLIENT, len).client(get("/5")).server(answer(203));
        } else {
            lane.gap(CLIENT, len).client(get("/5"));
        }
        // It goes on before it has the last one.
        lane.server(answer(204)).client(get("/6")).server(answer(205)).server(answer(206));
        let exchanges = lane.client(get("/7")).server(answer(207)).finish();
        assert_right_or_marked(&exchanges);
        let torn = exchanges.iter().any(|one| line(one) == "GET /5 0 > 204 0 complete");
        assert!(!torn, "{behind_another}: {:?}", lines(&exchanges));
    }
}

/// Seen in random loss: a client that goes on in the middle of an answer whose end is missing. What is in that hole was
/// taken for an answer of its own, and for certain.
#[test]
fn the_end_of_an_answer_is_none_of_the_next_turn() {
    let mut lane = after_three_turns();
    lane.client(get("/3")).server("HTTP/1.1 203 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    let within = lane.sent[SERVER as usize] + 50;
    lane.gap(SERVER, 100);
    for next in ["/4", "/5"] {
        lane.data(CLIENT, get(next).as_bytes(), Some(within));
    }
    lane.server(answer(204)).client(get("/6")).server(answer(205)).server(answer(206));
    let exchanges = lane.finish();
    let sure = exchanges.iter().filter(|one| one.confidence == Confidence::High);
    assert_right_or_marked(&sure.cloned().collect::<Vec<_>>());
}

/// Seen in random loss: the answer in a hole is to a request in a hole, and it was taken for that to the first one
/// behind it, which came later.
#[test]
fn an_answer_from_before_a_request_is_not_to_it() {
    let mut lane = Lane::new();
    let (request, response) = (get("/2").len() as u64, answer(202).len() as u64);
    lane.client(get("/1"));
    lane.data(SERVER, answer(201).as_bytes(), Some(2 * request)).gap(SERVER, response);
    let had = lane.sent[SERVER as usize];
    let chunked = "HTTP/1.1 203 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    lane.data(SERVER, chunked.as_bytes(), Some(4 * request)).gap(SERVER, 100);
    lane.gap(CLIENT, request);
    for next in ["/3", "/4"] {
        lane.data(CLIENT, get(next).as_bytes(), Some(had));
    }
    let exchanges = lane.server(answer(204)).client(get("/5")).server(answer(205)).finish();
    assert_right_or_marked(&exchanges);
}

/// Seen in random loss: what is missing of the last answer of a turn was counted as one more when the next answer was
/// whole.
#[test]
fn the_rest_of_an_answer_is_no_further_one() {
    let mut lane = Lane::new();
    lane.client(get("/10")).server(answer(210));
    let asked = lane.sent[CLIENT as usize] + 4 * get("/11").len() as u64;
    let had = lane.sent[SERVER as usize];
    // All of it is captured before its requests.
    lane.gap(SERVER, 2 * answer(211).len() as u64).data(SERVER, answer(213).as_bytes(), Some(asked));
    let chunked = "HTTP/1.1 214 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    lane.data(SERVER, chunked.as_bytes(), Some(asked)).gap(SERVER, 100);
    let end = lane.sent[SERVER as usize];
    lane.data(SERVER, answer(215).as_bytes(), Some(asked + get("/15").len() as u64));
    let turn: String = ["/11", "/12", "/13", "/14"].map(get).concat();
    lane.data(CLIENT, turn.as_bytes(), Some(had)).data(CLIENT, get("/15").as_bytes(), Some(end));
    let found = lines(&lane.finish());
    assert!(!found.contains(&"GET /12 0 > 213 0 complete".to_owned()), "{found:?}");
    assert!(found.contains(&"GET /15 0 > 215 0 complete".to_owned()), "{found:?}");
}

/// Seen where a capture's ring had overflown twice: a whole exchange between the two was torn apart, because there was
/// an answer behind the second one as well.
#[test]
fn an_exchange_between_two_overflows_is_whole() {
    let mut lane = Lane::new();
    let (request, response) = (get("/1").len() as u64, answer(201).len() as u64);
    for next in 1..4 {
        lane.client(get(&format!("/{next}"))).server(answer(200 + next));
    }
    lane.gap(CLIENT, 3 * request).gap(SERVER, 3 * response).client(get("/7")).server(answer(207));
    lane.gap(CLIENT, 3 * request).gap(SERVER, 2 * response).server(answer(210));
    lane.client(get("/11")).server(answer(211));
    let exchanges = lane.finish();
    let found = lines(&exchanges);
    assert!(found.contains(&"GET /7 0 > 207 0 complete".to_owned()), "{found:?}");
    assert_right_or_marked(&exchanges);
}

/// A client that keeps three requests under way: the answers to all of them come at once, and it asks again for each.
/// What is in `lost` is missing: requests by their number, answers by 1000 more.
fn three_under_way(rounds: u16, lost: &[u16]) -> Vec<Exchange> {
    let mut lane = Lane::new();
    let send = |lane: &mut Lane, from, number: u16, bytes: String, had| {
        if lost.contains(&number) {
            lane.gap(from, bytes.len() as u64);
        } else {
            lane.data(from, bytes.as_bytes(), Some(had));
        }
    };
    let mut answered = [0; 3];
    for round in 0..rounds {
        for (place, had) in answered.iter().enumerate() {
            let number = 3 * round + place as u16;
            send(&mut lane, CLIENT, number, get(&format!("/{number}")), *had);
        }
        let had = lane.sent[CLIENT as usize];
        for (place, received) in answered.iter_mut().enumerate() {
            let number = 3 * round + place as u16;
            send(&mut lane, SERVER, 1_000 + number, answer(200 + number), had);
            *received = lane.sent[SERVER as usize];
        }
    }
    lane.finish()
}

#[test]
fn a_window_leaves_one_way_after_a_loss() {
    // A request, an answer, both of an exchange, three side by side.
    for lost in [&[31][..], &[1_031], &[31, 1_031], &[30, 1_031, 1_032], &[32, 33, 34]] {
        let exchanges = three_under_way(20, lost);
        assert_right_or_marked(&exchanges);
        let sure = |one: &&Exchange| one.state == State::Complete && one.confidence != Confidence::Low;
        let known = exchanges.iter().filter(sure).count();
        assert!(known >= 56, "{lost:?}, {known}: {:?}", lines(&exchanges));
    }
    // It has not been seen often enough that there are three.
    let exchanges = three_under_way(20, &[7]);
    assert_right_or_marked(&exchanges);
    assert!(exchanges.iter().all(|one| one.confidence != Confidence::Medium || one.response.is_none()));
}

/// What is lost of a client with a fixed number of requests under way, the `drawn` number says for each packet, and how
/// many of them the server answers before it asks again.
fn window(most: u16, drawn: &[u8]) -> Vec<Exchange> {
    let mut lane = Lane::new();
    let (mut asked, mut answered) = (0, 0);
    for &number in drawn {
        let is_lost = asked > 8 * most && number % 16 == 0;
        let (from, bytes) = if asked - answered == most || asked > answered && number % 3 == 0 {
            answered += 1;
            (SERVER, answer(199 + answered))
        } else {
            asked += 1;
            (CLIENT, get(&format!("/{}", asked - 1)))
        };
        match (is_lost, from) {
            (true, _) => lane.gap(from, bytes.len() as u64),
            (false, CLIENT) => lane.client(bytes),
            (false, SERVER) => lane.server(bytes),
        };
    }
    lane.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_a_window_is_paired_by_is_right(most in 2..5_u16, drawn in prop::collection::vec(any::<u8>(), 400)) {
        let exchanges = window(most, &drawn);
        let sure = exchanges.iter().filter(|one| one.confidence == Confidence::High);
        assert_right_or_marked(&sure.cloned().collect::<Vec<_>>());
    }
}

/// A client with a fixed number of requests under way looks like one that waits, until its server answers before it has
/// had the last request.
#[test]
fn joined_in_the_middle_of_a_window() {
    let mut lane = Lane::midstream();
    for next in 3..60 {
        // To the one before the last; once it is on its way while the server answers.
        let had = lane.sent[CLIENT as usize];
        lane.client(get(&format!("/{next}")));
        let had = if next == 30 { had } else { lane.sent[CLIENT as usize] };
        lane.data(SERVER, answer(200).as_bytes(), Some(had));
    }
    let exchanges = lane.finish();
    let confidences: Vec<_> = exchanges.iter().map(|one| one.confidence).collect();
    assert_eq!(confidences[..2], [Confidence::Low, Confidence::Medium]);
    assert!(exchanges[27..].iter().all(|one| one.confidence == Confidence::Low));
    let mut pairs = exchanges.iter().filter(|one| one.request.is_some() && one.response.is_some());
    assert!(pairs.all(|one| one.untrusted.pairing == (one.confidence == Confidence::Low)));
}

#[test]
fn pauses_show_that_a_client_waits() {
    let mut lane = Lane::midstream();
    // Of what was missing nobody knows how it was sent.
    lane.gap(CLIENT, 10_000);
    for next in 0..12 {
        lane.now += 100_000 << next;
        lane.client(get("/")).server(answer(200));
    }
    let exchanges = lane.finish();
    let doubted = exchanges.iter().take_while(|one| one.confidence == Confidence::Low).count();
    assert!((2..11).contains(&doubted), "{doubted}");
    assert!(exchanges[doubted..].iter().all(|one| one.confidence == Confidence::Medium));
    assert!(exchanges[doubted..].iter().all(|one| !one.untrusted.any()));
    assert!(exchanges[..doubted].iter().all(|one| one.untrusted.pairing));
}

#[test]
fn pipelined_and_lost_is_doubtful() {
    let mut lane = Lane::new();
    lane.client([get("/1"), get("/2"), get("/3"), get("/4")].concat());
    lane.server(answer(201)).gap(SERVER, 2 * answer(202).len() as u64).server(answer(204));
    let exchanges = lane.finish();
    let expected =
        ["GET /1 0 > 201 0 complete", "GET /2 0 > - gap", "GET /3 0 > - gap", "GET /4 0 > 204 0 complete"];
    assert_eq!(lines(&exchanges), expected);
    // That it closes in order says that it has all its answers, and nothing else does.
    assert_eq!((exchanges[0].confidence, exchanges[3].confidence), (Confidence::High, Confidence::Low));
    assert!(exchanges[3].untrusted.pairing);
}

/// Of two requests that the server had, one was answered in the hole.
#[test]
fn the_last_one_without_an_answer_has_the_next() {
    let len = answer(202).len() as u64;
    let mut lane = Lane::new();
    lane.client([get("/1"), get("/2"), get("/3")].concat());
    lane.server(answer(201)).gap(SERVER, len).server(answer(203));
    let exchanges = lane.finish();
    let expected = ["GET /1 0 > 201 0 complete", "GET /2 0 > - gap", "GET /3 0 > 203 0 complete"];
    assert_eq!(lines(&exchanges), expected);
    assert_eq!(exchanges[2].confidence, Confidence::High);
    // There is no room for an answer in the hole; and of a client that does not wait nothing else is believed.
    let mut lane = Lane::new();
    lane.client([get("/1"), get("/2")].concat());
    lane.server(answer(201)).client(get("/3")).gap(SERVER, 5).server(answer(202)).server(answer(203));
    let exchanges = lane.finish();
    assert!(!lines(&exchanges).contains(&"GET /3 0 > 202 0 complete".to_owned()), "{:?}", lines(&exchanges));
    // All that it was asked is known, and one of that is left. What was in the hole belongs to the answer before.
    let mut lane = Lane::new();
    lane.client([get("/1"), get("/2")].concat());
    let chunked = "HTTP/1.1 201 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    lane.server(chunked).gap(SERVER, 50).server("the end\r\n0\r\n\r\n").server(answer(202));
    let exchanges = lane.finish();
    assert_eq!(lines(&exchanges), ["GET /1 0 > 201 5 gap", "GET /2 0 > 202 0 complete"]);
    assert_eq!(exchanges[1].confidence, Confidence::High);
}

/// Seen in random loss: of a client that was never seen to wait, a whole exchange between two that are missing was torn
/// apart. What is in the hole before it had been acknowledged with an answer that its client had.
#[test]
fn an_answer_ends_the_turn_in_a_hole() {
    let run = |request_first: bool| {
        let mut lane = Lane::new();
        lane.client(get("/1")).server(answer(201)).gap(CLIENT, 108).server(answer(202));
        lane.client(get("/3")).server(answer(203)).gap(CLIENT, 56);
        if request_first {
            // The server's side is delivered late.
            let (before, had) = (lane.sent[CLIENT as usize], lane.sent[SERVER as usize]);
            let had = had + answer(204).len() as u64;
            lane.data(CLIENT, get("/5").as_bytes(), Some(had));
            lane.data(SERVER, answer(204).as_bytes(), Some(before)).server(answer(205));
        } else {
            lane.server(answer(204)).client(get("/5")).server(answer(205));
        }
        lane.gap(CLIENT, 105).gap(SERVER, 67).server(answer(206));
        lane.client(get("/7")).server(answer(207));
        lines(&lane.finish())
    };
    for request_first in [false, true] {
        let found = run(request_first);
        assert!(found.contains(&"GET /5 0 > 205 0 complete".to_owned()), "{found:?}");
    }
}

/// Seen in random loss of real traffic: the client goes on with its batch in the middle of the first answer to it,
/// whose end is missing. The next answers were given to the requests behind their own.
#[test]
fn a_request_in_the_middle_of_an_answer_opens_no_turn() {
    let mut lane = Lane::new();
    lane.client([get("/1"), get("/2")].concat()).server(answer(201) + &answer(202));
    lane.client([get("/3"), get("/4")].concat());
    lane.server("HTTP/1.1 203 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    lane.client([get("/5"), get("/6")].concat()).gap(SERVER, 5);
    for status in 204..=206 {
        lane.server(answer(status));
    }
    for exchange in lane.finish() {
        let (Some(request), Some(response)) = (&exchange.request, &exchange.response) else { continue };
        let asked: u16 = str::from_utf8(&request.head.target()[1..]).unwrap().parse().unwrap();
        assert_eq!(response.head.status(), Some(200 + asked), "{}", line(&exchange));
    }
}

/// Seen in random loss: where the first bytes of a connection were missing, any number of requests was thought to be.
#[test]
fn so_many_requests_as_there_is_room_for_before_the_first_one() {
    let (request, response) = (get("/1").len() as u64, answer(201).len() as u64);
    for server_lost in [false, true] {
        let mut lane = Lane::new();
        lane.gap(CLIENT, request);
        if server_lost {
            lane.gap(SERVER, response);
        } else {
            lane.server(answer(201));
        }
        lane.client(get("/2")).server(answer(202)).client(get("/3")).server(answer(203));
        let exchanges = lane.finish();
        let (known, expected) =
            (exchanges.len() - 2, ["GET /2 0 > 202 0 complete", "GET /3 0 > 203 0 complete"]);
        assert_eq!(
            (known, &lines(&exchanges)[known..]),
            (usize::from(!server_lost), &expected.map(String::from)[..])
        );
        assert!(exchanges[known..].iter().all(|one| one.confidence == Confidence::High), "{server_lost}");
    }
    // Nothing of the client is missing: the first answer is.
    let mut lane = Lane::new();
    lane.client(get("/1")).gap(SERVER, response).client(get("/2")).server(answer(202));
    let exchanges = lane.finish();
    assert_eq!(lines(&exchanges), ["GET /1 0 > - gap", "GET /2 0 > 202 0 complete"]);
    assert_eq!(exchanges[1].confidence, Confidence::High);
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

/// Seen in random loss: the answer to one request and all of the next one are missing.
#[test]
fn an_answer_does_not_go_to_the_request_before_a_hole() {
    for cut in [false, true] {
        let mut lane = Lane::new();
        lane.client(get("/1")).server(answer(201));
        lane.client(if cut { "GET /2 HTTP/1.1\r\nX: " } else { "GET /2 HTTP/1.1\r\n\r\n" });
        lane.gap(CLIENT, 40).gap(SERVER, answer(202).len() as u64).server(answer(203));
        lane.client(get("/4")).server(answer(204));
        let exchanges = lane.finish();
        let mut found = lines(&exchanges);
        found.sort();
        let expected = [
            "- > 203 0 orphan-response",
            "GET /1 0 > 201 0 complete",
            "GET /2 0 > - gap",
            "GET /4 0 > 204 0 complete",
        ];
        assert_eq!(found, expected, "{cut}");
    }
}

/// Seen in random loss: the first two requests of a client that always has two under way are missing, and from there on
/// it looks like one that waits for each answer.
#[test]
fn a_client_that_was_not_seen_to_wait_is_not_believed() {
    let mut lane = Lane::new();
    lane.gap(CLIENT, (get("/1") + &get("/2")).len() as u64).server(answer(201));
    for next in 3..6 {
        lane.client(get(&format!("/{next}"))).server(answer(199 + next));
    }
    let exchanges = lane.finish();
    let sound = |exchange: &&Exchange| {
        let pair = exchange.request.is_some() && exchange.response.is_some();
        pair && (exchange.confidence != Confidence::Low || !exchange.untrusted.pairing)
    };
    assert_eq!(exchanges.iter().filter(sound).count(), 0, "{:?}", lines(&exchanges));
}

/// An answer that was sent without the request which waited for everything before it: there was another one under way.
#[test]
fn an_answer_that_knows_less_shows_that_its_client_does_not_wait() {
    let mut lane = Lane::new();
    let answers = [201, 202, 203, 204].map(answer);
    let len = |count: usize| answers[..count].iter().map(String::len).sum::<usize>() as u64;
    lane.gap(CLIENT, (get("/1") + &get("/2")).len() as u64).server(&answers[0]);
    lane.client(get("/3")).server(&answers[1]);
    let before = lane.sent[0];
    lane.data(CLIENT, get("/4").as_bytes(), Some(len(2)));
    // It crosses the request.
    lane.data(SERVER, answers[2].as_bytes(), Some(before));
    lane.data(CLIENT, get("/5").as_bytes(), Some(len(3)));
    lane.server(&answers[3]);
    let mut exchanges = lines(&lane.finish());
    exchanges.sort();
    let expected = [
        "- > 201 0 orphan-response",
        "- > 203 0 orphan-response",
        "GET /3 0 > 202 0 complete",
        "GET /4 0 > 204 0 complete",
        "GET /5 0 > - orphan-request",
    ];
    assert_eq!(exchanges, expected);
}
