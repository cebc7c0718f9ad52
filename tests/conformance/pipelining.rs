//! Which answer belongs to which request while nothing is missing.

use serde_json::Value;

use super::case::{Case, Client, OK, Server, answer, get};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::talk(
            "pipelined",
            &["pipelining"],
            "three requests in one segment, three answers in another",
            |t| {
                t.client([get("/a"), get("/b"), get("/c")].concat());
                t.server([answer(201, ""), answer(202, "ab"), answer(203, "abc")].concat()).close(Client);
            },
            &[
                "GET h/a 0 > 201 0 complete high",
                "GET h/b 0 > 202 2 complete high",
                "GET h/c 0 > 203 3 complete high",
            ],
        )
        .gannet("of several requests in one frame tshark keeps the last, and links the first answer with it."),
        Case::talk(
            "pipelined-across-segments",
            &["pipelining", "head-split"],
            "requests and answers that begin and end anywhere in segments",
            |t| {
                let all = [get("/a"), get("/b"), get("/c")].concat();
                t.pieces(Client, &[&all[..10], &all[10..50], &all[50..]]);
                let all = [answer(200, "one"), answer(404, "two"), answer(200, "three")].concat();
                t.pieces(Server, &[&all[..60], &all[60..61], &all[61..]]).close(Client);
            },
            &[
                "GET h/a 0 > 200 3 complete high",
                "GET h/b 0 > 404 3 complete high",
                "GET h/c 0 > 200 5 complete high",
            ],
        )
        .gannet("of several requests in one frame tshark keeps the last, and links the first answer with it."),
        Case::talk(
            "pipelined-server-times",
            &["pipelining"],
            "two requests at once, answers 10 ms apart: the second one's time begins where the first answer ends",
            |t| {
                t.client([get("/a"), get("/b")].concat()).wait_ms(10).ok().wait_ms(10).ok().close(Client);
            },
            &["GET h/a 0 > 200 5 complete high", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("of several requests in one frame tshark keeps the last, and links the first answer with it."),
        Case::talk(
            "pipelined-1100",
            &["pipelining-bounded"],
            "1100 requests before the first answer; a queue holds 1000",
            |t| {
                t.client((0..1_100).map(|_| get("/a")).collect::<String>()).reset(Server);
            },
            &["100 × GET h/a 0 > - orphan-request (too-many-pending) low", "1000 × GET h/a 0 > - aborted (server-reset) low"],
        ),
        Case::talk(
            "answer-before-the-request-ends",
            &["early-answer", "request-goes-on"],
            "413 after the first of three segments; the body goes on, then another request",
            |t| {
                let head = "PUT /big HTTP/1.1\r\nHost: h\r\nContent-Length: 30\r\n\r\n";
                t.client(format!("{head}0123456789"))
                    .server(answer(413, "no"))
                    .client("0123456789")
                    .client("0123456789");
                t.get("/b").ok().close(Client);
            },
            &["PUT h/big 30 > 413 2 complete high untrusted=early-answer", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("to tshark the request comes about with its last segment, which is behind the answer: it links neither.")
        .also(0, "/timing/server_ns", Value::Null),
        Case::talk(
            "answer-before-the-request-ends-and-reset",
            &["early-answer", "reset"],
            "413, and RST before the body was over",
            |t| {
                t.client("PUT /big HTTP/1.1\r\nHost: h\r\nContent-Length: 30\r\n\r\n0123456789")
                    .server(answer(413, "no"));
                t.reset(Server);
            },
            &["PUT h/big 10 > 413 2 aborted (server-reset) high"],
        )
        .gannet("to tshark a request that is not whole is none."),
        Case::talk(
            "answer-while-the-request-streams",
            &["early-answer", "request-goes-on"],
            "both bodies chunked, chunk by chunk in turn",
            |t| {
                t.client("POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
                t.server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nONE\r\n")
                    .client("3\r\ntwo\r\n");
                t.server("3\r\nTWO\r\n").client("0\r\n\r\n").server("0\r\n\r\n").close(Client);
            },
            &["POST h/a 6 > 200 6 complete high untrusted=early-answer"],
        )
        .also(0, "/timing/server_ns", Value::Null),
        Case::talk(
            "answer-to-an-idle-connection",
            &["orphan-answer"],
            "408 on a connection without a request",
            |t| {
                t.wait_ms(5_000).server(answer(408, "")).close(Server);
            },
            &["- > 408 0 orphan-response (unsolicited) high"],
        ),
        Case::talk(
            "answer-behind-the-last-one",
            &["orphan-answer"],
            "an exchange, and 408 after a while",
            |t| {
                t.get("/a").ok().wait_ms(60_000).server(answer(408, "bye")).close(Server);
            },
            &["GET h/a 0 > 200 5 complete high", "- > 408 3 orphan-response (unsolicited) high"],
        ),
        Case::frames(
            "answer-that-crosses-a-request",
            &["orphan-answer", "loss-pairing"],
            "408 is sent while the second request is on its way: it acknowledges nothing of it",
            |stage| {
                let conversation = stage.talk(|t| {
                    t.get("/a").ok();
                    // The server sends first; the capture point is near the client.
                    t.builder.write(Server, answer(408, "").as_bytes()).segments(Server);
                    t.builder.write(Client, get("/b").as_bytes()).segments(Client);
                    t.builder.ack(Client).ack(Server).close(Server);
                });
                let mut conversation = conversation;
                conversation.reorder(8, 7);
                super::case::shot(&conversation)
            },
            &["GET h/a 0 > 200 5 complete high", "- > 408 0 orphan-response (unsolicited) high", "GET h/b 0 > - orphan-request (fin) high"],
        )
        .gannet("tshark does not show the second answer at all; it acknowledges nothing of the second request, so it cannot be the answer to it."),
        Case::talk(
            "request-without-an-answer",
            &["half-captured"],
            "the server acknowledges and closes without a word",
            |t| {
                t.get("/a").ok().get("/b").wait_ms(1_000).close(Server);
            },
            &["GET h/a 0 > 200 5 complete high", "GET h/b 0 > - orphan-request (fin) high"],
        ),
        Case::talk(
            "two-answers-to-one-request",
            &["orphan-answer"],
            "one request, two final answers in one segment",
            |t| {
                t.get("/a")
                    .server([answer(200, "a"), answer(500, "b")].concat())
                    .get("/b")
                    .server(OK)
                    .close(Client);
            },
            &["GET h/a 0 > 200 1 complete high", "- > 500 1 orphan-response (unsolicited) high", "GET h/b 0 > 200 5 complete high"],
        ),
    ]
}
