//! Bytes that are missing, and captures that begin in the middle.
//!
//! Packets 0 to 2 are the handshake. Each thing said takes its segments and an acknowledgement.

use serde_json::Value;

use super::case::{Case, Client, OK, Server, Talk, answer, get, shot};

/// Three exchanges with time between them: requests in packets 3, 7 and 11, answers in 5, 9 and 13.
fn three(t: &mut Talk) {
    t.get("/a")
        .ok()
        .wait_ms(300)
        .get("/b")
        .server(answer(404, "no"))
        .wait_ms(300)
        .get("/c")
        .server(answer(201, "made"));
    t.wait_ms(300).close(Client);
}

/// A body of 4000 bytes in the segments 5, 6, 8 (7 acknowledges), then another exchange.
fn long(t: &mut Talk) {
    t.get("/a").server(answer(200, &"x".repeat(4_000))).wait_ms(300).get("/b").ok().close(Client);
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::damaged(
            "gap-in-a-body",
            &["gap-in-body"],
            "the second of three segments of a body of known length is missing",
            long,
            |c| {
                c.drop_packet(6);
            },
            &["GET h/a 0 > 200 4000 complete high gap=1448", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("tshark puts nothing together across a hole: the answer is not shown."),
        Case::damaged(
            "gap-at-the-end-of-a-body",
            &["gap-in-body"],
            "its last segment is missing: complete, and nobody knows when",
            long,
            |c| {
                c.drop_packet(8);
            },
            &["GET h/a 0 > 200 4000 complete high untrusted=gap gap=1144", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("tshark puts nothing together across a hole: the answer is not shown.")
        .also(0, "/timing/total_ns", Value::Null),
        Case::damaged(
            "gap-in-a-chunk",
            &["gap-in-body"],
            "bytes in the middle of a chunk are missing",
            |t| {
                t.get("/a")
                    .pieces(Server, &[&format!("{CHUNKED}9\r\nab"), "cdefg", "hi\r\n3\r\nxyz\r\n0\r\n\r\n"]);
                t.wait_ms(300).get("/b").ok().close(Client);
            },
            |c| {
                c.drop_packet(6);
            },
            &["GET h/a 0 > 200 12 complete high gap=5", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("tshark puts nothing together across a hole: the answer is not shown."),
        Case::damaged(
            "gap-of-the-rest-of-a-chunk",
            &["gap-in-body"],
            "all of a chunk's data but its line end are missing",
            |t| {
                t.get("/a").pieces(Server, &[&format!("{CHUNKED}5\r\n"), "abcde", "\r\n0\r\n\r\n"]);
                t.wait_ms(300).get("/b").ok().close(Client);
            },
            |c| {
                c.drop_packet(6);
            },
            &["GET h/a 0 > 200 5 complete high gap=5", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("tshark puts nothing together across a hole: the answer is not shown."),
        Case::damaged(
            "gap-in-a-chunk-size",
            &["gap-in-framing"],
            "a chunk's end and the next one's size are missing; the next answer follows",
            |t| {
                t.get("/a")
                    .pieces(Server, &[&format!("{CHUNKED}5\r\nabc"), "de\r\n4", "\r\nwxyz\r\n0\r\n\r\n"]);
                t.wait_ms(300).get("/b").ok().close(Client);
            },
            |c| {
                c.drop_packet(6);
            },
            &["GET h/a 0 > 200 3 gap (gap) high untrusted=gap gap=5", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("tshark puts nothing together across a hole: the answer is not shown."),
        Case::damaged(
            "begun-within-a-long-body",
            &["gap-in-body", "midstream"],
            "the SYN was captured, the next it has is the middle of an answer of 200 kB; another exchange follows",
            |t| {
                t.get("/a").server(answer(200, &"x".repeat(200_000))).wait_ms(300).get("/b").ok().close(Client);
            },
            |c| {
                c.drop_packets(1..20);
            },
            &["GET h/b 0 > 200 5 complete low untrusted=pairing"],
        )
        .gannet("tshark looks for no answer in a stream whose beginning it has not."),
        Case::damaged(
            "gap-in-a-head",
            &["gap-in-framing"],
            "the middle of an answer's head is missing: its status is known",
            |t| {
                t.get("/a")
                    .pieces(Server, &["HTTP/1.1 404 No\r\nX-A: b", "cd\r\nContent-Len", "gth: 2\r\n\r\nno"]);
                t.wait_ms(300).get("/b").ok().close(Client);
            },
            |c| {
                c.drop_packet(6);
            },
            &["GET h/a 0 > 404 0 gap (gap) high notes=response-head-cut untrusted=gap gap=15", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("tshark puts nothing together across a hole: the answer is not shown."),
        Case::damaged(
            "gap-in-a-status-line",
            &["gap-in-framing", "loss-pairing"],
            "an answer's beginning is missing up to its status; the next exchange is whole",
            three,
            |c| {
                c.drop_packet(5);
            },
            &["GET h/a 0 > - gap (gap) low gap=43", "GET h/b 0 > 404 2 complete high", "GET h/c 0 > 201 4 complete high"],
        ),
        Case::damaged(
            "gap-in-a-request",
            &["gap-in-framing"],
            "the end of a request's head is missing: its line is known",
            |t| {
                t.pieces(Client, &["GET /a HTTP/1.1\r\nHost: h\r\n", "X: y\r\n\r\n"])
                    .ok()
                    .wait_ms(300)
                    .get("/b")
                    .ok()
                    .close(Client);
            },
            |c| {
                c.drop_packet(4);
            },
            &["GET h/a 0 > 200 5 gap (gap) high notes=request-head-cut untrusted=gap gap=8", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("tshark shows no request whose head is not whole, though its line is known."),
        Case::damaged(
            "request-not-captured",
            &["loss-pairing", "orphan-answer"],
            "the first of three requests is missing: its answer is an orphan and not the second one's",
            three,
            |c| {
                c.drop_packet(3);
            },
            &["- > 200 5 orphan-response (request-missing) low gap=28", "GET h/b 0 > 404 2 complete high", "GET h/c 0 > 201 4 complete high"],
        ),
        Case::damaged(
            "request-to-a-proxy-not-captured",
            &["loss-pairing", "orphan-answer"],
            "the first of two requests to a proxy is missing: the second one, with a URL as well, is found",
            |t| {
                let get = |path| format!("GET http://h{path} HTTP/1.1\r\nHost: h\r\n\r\n");
                t.client(get("/a")).ok().wait_ms(300).client(get("/b")).server(answer(404, "no"));
                t.wait_ms(300).close(Client);
            },
            |c| {
                c.drop_packet(3);
            },
            &["- > 200 5 orphan-response (request-missing) low gap=36", "GET h/b 0 > 404 2 complete low untrusted=pairing"],
        )
        .gannet("the same; tshark shows the URL whole."),
        Case::damaged(
            "request-in-the-middle-not-captured",
            &["loss-pairing", "orphan-answer"],
            "the second of three requests is missing",
            three,
            |c| {
                c.drop_packet(7);
            },
            &["GET h/a 0 > 200 5 complete high", "- > 404 2 orphan-response (request-missing) low gap=28", "GET h/c 0 > 201 4 complete high"],
        ),
        Case::damaged(
            "answer-not-captured",
            &["loss-pairing"],
            "the answer to the second of three requests is missing",
            three,
            |c| {
                c.drop_packet(9);
            },
            &["GET h/a 0 > 200 5 complete high", "GET h/b 0 > - gap (gap) low gap=39", "GET h/c 0 > 201 4 complete high"],
        ),
        Case::damaged(
            "pipelined-answer-not-captured",
            &["loss-pairing"],
            "three requests at once, three answers in segments of their own, the first of them missing",
            |t| {
                t.client([get("/a"), get("/b"), get("/c")].concat());
                t.pieces(Server, &[answer(201, "a"), answer(202, "b"), answer(203, "c")]).close(Client);
            },
            |c| {
                c.drop_packet(5);
            },
            &["GET h/a 0 > - gap (gap) low gap=38", "GET h/b 0 > 202 1 complete low untrusted=pairing", "GET h/c 0 > 203 1 complete low untrusted=pairing"],
        )
        .gannet("which of the answers is missing cannot be known from the packets alone; Gannet says that it doubts, tshark links the first that it sees with the last request."),
        Case::damaged(
            "pipelined-answers-cut-by-a-gap",
            &["loss-pairing", "resync"],
            "six requests at once, six answers in three segments that begin in the middle of answers; the second is missing",
            |t| {
                t.client(["/a", "/b", "/c", "/d", "/e", "/f"].map(get).concat());
                let all: String = (201..207).map(|status| answer(status, "{\"a\":1}")).collect();
                t.pieces(Server, &[&all[..100], &all[100..150], &all[150..]]).close(Client);
            },
            |c| {
                c.drop_packet(6);
            },
            &["GET h/a 0 > 201 7 complete high", "GET h/b 0 > 202 7 complete high", "GET h/c 0 > - gap (gap) low gap=50", "GET h/d 0 > - gap (gap) low gap=50", "GET h/e 0 > 205 7 complete low untrusted=pairing", "GET h/f 0 > 206 7 complete low untrusted=pairing"],
        )
        .gannet("the answers before the hole are certain, those behind it are doubtful, and said to be; tshark finds none behind it, and links the first one with the last request."),
        Case::damaged(
            "joined-between-exchanges",
            &["midstream"],
            "the capture begins with the second of three requests",
            three,
            |c| {
                c.midstream(7);
            },
            &["GET h/b 0 > 404 2 complete low untrusted=pairing", "GET h/c 0 > 201 4 complete medium"],
        ),
        Case::damaged(
            "joined-before-an-answer",
            &["midstream", "orphan-answer"],
            "the capture begins with the answer to the first request",
            three,
            |c| {
                c.midstream(5);
            },
            &["- > 200 5 midstream (before-capture) low untrusted=midstream", "GET h/b 0 > 404 2 complete low untrusted=pairing", "GET h/c 0 > 201 4 complete medium"],
        ),
        Case::damaged(
            "joined-in-a-body",
            &["midstream"],
            "the capture begins in the middle of a body",
            long,
            |c| {
                c.midstream(6);
            },
            &["GET h/b 0 > 200 5 complete low untrusted=pairing"],
        )
        .gannet("tshark takes the rest of the body for data, and the answer behind it with it."),
        Case::damaged(
            "joined-in-a-chunked-body-like-an-answer",
            &["midstream", "resync"],
            "the capture begins in a chunked body; the next answer's start line is what is looked for",
            |t| {
                t.get("/a")
                    .pieces(Server, &[&format!("{CHUNKED}5\r\n"), "abcde\r\n", "3\r\nxyz\r\n0\r\n\r\n"]);
                t.wait_ms(300).get("/b").ok().close(Client);
            },
            |c| {
                c.midstream(6);
            },
            &["GET h/b 0 > 200 5 complete low untrusted=pairing"],
        ),
        Case::damaged(
            "joined-in-a-pipeline",
            &["midstream", "loss-pairing"],
            "joined when two of three pipelined requests are over: what the answers belong to cannot be known, and times are withheld",
            |t| {
                t.pieces(Client, &[get("/a"), get("/b"), get("/c")]);
                t.pieces(Server, &[answer(201, "a"), answer(202, "b"), answer(203, "c")]).close(Client);
            },
            |c| {
                c.midstream(5);
            },
            &["GET h/c 0 > 201 1 complete low untrusted=pairing", "- > 202 1 orphan-response (unsolicited) low", "- > 203 1 orphan-response (unsolicited) low"],
        ),
        Case::damaged(
            "capture-that-ends",
            &["close-delimited"],
            "the capture ends within an answer's body",
            long,
            |c| {
                c.stop_after(7);
            },
            &["GET h/a 0 > 200 2856 truncated (end-of-input) high"],
        )
        .gannet("tshark waits for the rest of a body and shows no answer while it does not come."),
        Case::damaged(
            "only-requests",
            &["half-captured"],
            "of the connection only what the client sent was captured",
            three,
            |c| {
                c.one_sided(Client);
            },
            &["GET h/a 0 > - orphan-request (one-sided) low gap=124", "GET h/b 0 > - orphan-request (one-sided) low gap=124", "GET h/c 0 > - orphan-request (one-sided) low gap=124"],
        ),
        Case::damaged(
            "only-answers",
            &["half-captured"],
            "of the connection only what the server sent was captured",
            three,
            |c| {
                c.one_sided(Server);
            },
            &["- > 200 5 orphan-response (one-sided) low gap=85", "- > 404 2 orphan-response (one-sided) low gap=85", "- > 201 4 orphan-response (one-sided) low gap=85"],
        ),
        Case::frames(
            "only-requests-for-a-long-time",
            &["half-captured"],
            "only the client's side, a request every 40 seconds: each is reported when the next one comes",
            |stage| {
                let mut conversation = stage.talk(|t| {
                    for target in ["/a", "/b", "/c"] {
                        t.get(target).ok().wait_ms(40_000);
                    }
                });
                conversation.one_sided(Client);
                shot(&conversation)
            },
            &["GET h/a 0 > - orphan-request (one-sided) low", "GET h/b 0 > - orphan-request (one-sided) low", "GET h/c 0 > - orphan-request (one-sided) low gap=129"],
        ),
        Case::damaged(
            "acknowledged-before-captured",
            &["what-is-a-gap"],
            "a mirror shows the acknowledgement of a body before the body",
            long,
            |c| {
                c.delay(Server, 400_000);
            },
            &["GET h/a 0 > 200 4000 complete high", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("tshark takes the delayed segments for retransmissions and puts nothing together.")
        .any_order(),
        Case::damaged(
            "lost-on-the-wire",
            &["what-is-a-gap"],
            "a segment was lost in front of the capture point, and comes again after 300 ms: no gap",
            |t| {
                t.get("/a")
                    .builder
                    .write(Server, answer(200, &"x".repeat(4_000)).as_bytes())
                    .segments(Server);
                t.wait_ms(400).builder.ack(Client);
                t.close(Client);
            },
            |c| {
                c.retransmit(6, 300_000_000, gannet_testkit::conversation::Content::Same).drop_packet(6);
            },
            &["GET h/a 0 > 200 4000 complete high"],
        )
        .gannet("tshark puts nothing together out of order unless it is told to (`tcp.reassemble_out_of_order`)."),
        Case::damaged(
            "cut-by-a-snaplen",
            &["gap-in-body"],
            "packets cut to 400 bytes: the head is there, most of the body is not",
            long,
            |c| {
                c.snaplen(400);
            },
            &["GET h/a 0 > 200 4000 complete high untrusted=gap gap=3038", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("the body has 4000 bytes, most of which were not captured; tshark counts those of one segment."),
        Case::talk(
            "garbage-between-answers",
            &["resync"],
            "bytes that are no message between two answers, in a segment of their own and in the next one's",
            |t| {
                t.client([get("/a"), get("/b"), get("/c")].concat());
                t.server(format!("{OK}garbage"))
                    .server(format!("more garbage\r\n\0{OK}{}", answer(201, "")))
                    .close(Client);
            },
            &["GET h/a 0 > 200 5 complete high notes=response-length-refuted", "GET h/b 0 > 200 5 complete high", "GET h/c 0 > 201 0 complete high"],
        )
        .gannet("tshark loses the answers behind the garbage."),
        Case::talk(
            "garbage-between-requests",
            &["resync"],
            "the same between requests",
            |t| {
                t.client(format!("{}\x01garbage\r\n{}", get("/a"), get("/b"))).ok().ok();
                t.client(format!("{{\"a\":1}}{}", get("/c"))).ok().close(Client);
            },
            &[
                "GET h/a 0 > 200 5 complete high",
                "GET h/b 0 > 200 5 complete high",
                "GET h/c 0 > 200 5 complete high",
            ],
        )
        .gannet("tshark loses the requests behind the garbage."),
    ]
}
