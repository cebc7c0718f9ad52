//! 1xx.

use super::case::{Case, Client, answer};

const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
const EXPECT: &str = "PUT /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::talk(
            "expect-and-continue",
            &["interim", "continue"],
            "head, 100, body, 201, and the next exchange",
            |t| {
                t.client(EXPECT)
                    .wait_ms(5)
                    .server(CONTINUE)
                    .wait_ms(5)
                    .client("hello")
                    .wait_ms(5)
                    .server(answer(201, "made"));
                t.get("/b").ok().close(Client);
            },
            &["PUT h/a 5 > 201 4 complete high interim=100", "GET h/b 0 > 200 5 complete high"],
        ),
        Case::talk(
            "expect-and-no-continue",
            &["continue"],
            "the client loses patience and sends the body before 100, which comes all the same",
            |t| {
                t.client(EXPECT)
                    .wait_ms(1_000)
                    .client("hello")
                    .server([CONTINUE, &answer(201, "made")].concat())
                    .close(Client);
            },
            &["PUT h/a 5 > 201 4 complete high interim=100"],
        )
        .gannet("tshark links the interim answer with the request, and leaves the final one alone."),
        Case::talk(
            "expect-and-refusal",
            &["continue", "no-body"],
            "417 instead of 100; the client does not send the body, and closes",
            |t| {
                t.client(EXPECT).wait_ms(5).server(answer(417, "")).close(Client);
            },
            &["PUT h/a 0 > 417 0 complete high notes=request-body-not-sent"],
        )
        .gannet("to tshark a request that is not whole is none."),
        Case::talk(
            "expect-refused-and-next",
            &["continue", "no-body"],
            "401 instead of 100; the client does not send the body, and asks again on the same connection",
            |t| {
                t.client(EXPECT).wait_ms(5).server(answer(401, "who?")).client(EXPECT);
                t.wait_ms(5).server(CONTINUE).client("hello").server(answer(201, "made")).close(Client);
            },
            &[
                "PUT h/a 0 > 401 4 complete high notes=request-body-not-sent",
                "PUT h/a 5 > 201 4 complete high interim=100",
            ],
        )
        .gannet("tshark takes the second request for the body of the first."),
        Case::damaged(
            "expect-refused-behind-a-loss",
            &["continue", "no-body", "loss-pairing"],
            "the answer before is missing; the client closes while 417 waits for that",
            |t| {
                t.get("/a").ok().wait_ms(300).client(EXPECT).wait_ms(5).server(answer(417, "")).close(Client);
            },
            |c| {
                c.drop_packet(5);
            },
            &[
                "GET h/a 0 > - gap (gap) low gap=43",
                "PUT h/a 0 > 417 0 complete high notes=request-body-not-sent",
            ],
        )
        .gannet("to tshark a request that is not whole is none."),
        Case::damaged(
            "continue-and-no-answer",
            &["interim", "continue", "loss-pairing"],
            "the final answer behind a 100 is missing: the 100 is none of the next exchange's",
            |t| {
                t.client(EXPECT).wait_ms(5).server(CONTINUE).wait_ms(5).client("hello");
                t.wait_ms(5).server(answer(201, "made")).wait_ms(300).get("/b").ok().close(Client);
            },
            |c| {
                c.drop_packets(9..11);
            },
            &["PUT h/a 5 > - gap (gap) low interim=100 gap=41", "GET h/b 0 > 200 5 complete high"],
        ),
        Case::talk(
            "continue-twice",
            &["continue"],
            "100 twice before the final answer",
            |t| {
                t.client(EXPECT)
                    .server([CONTINUE, CONTINUE].concat())
                    .client("hello")
                    .server(answer(200, ""))
                    .close(Client);
            },
            &["PUT h/a 5 > 200 0 complete high interim=100,100 notes=response-repeated-continue"],
        ),
        Case::talk(
            "continue-without-expect",
            &["interim"],
            "100 that nobody waits for, in one segment with the final answer",
            |t| {
                t.get("/a").server([CONTINUE, &answer(200, "x")].concat()).get("/b").ok().close(Client);
            },
            &["GET h/a 0 > 200 1 complete high interim=100", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("tshark links the interim answer with the request, and leaves the final one alone."),
        Case::talk(
            "early-hints",
            &["interim"],
            "102 and 103 before the final answer, at times of their own",
            |t| {
                t.get("/a").wait_ms(5).server("HTTP/1.1 102 Processing\r\n\r\n").wait_ms(5);
                t.server("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
                    .wait_ms(5)
                    .server(answer(200, "x"));
                t.get("/b").ok().close(Client);
            },
            &["GET h/a 0 > 200 1 complete high interim=102,103", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("tshark links the interim answer with the request, and leaves the final one alone."),
        Case::talk(
            "interim-with-a-length",
            &["interim", "no-body"],
            "103 with a Content-Length, which no 1xx may have",
            |t| {
                t.get("/a").server(
                    ["HTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\n\r\n", &answer(200, "x")].concat(),
                );
                t.get("/b").ok().close(Client);
            },
            &["GET h/a 0 > 200 1 complete high interim=103", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("1xx has no body; tshark takes the beginning of the final answer for it."),
        Case::talk(
            "interim-in-a-pipeline",
            &["interim", "pipelining"],
            "two requests; 100 and the answer to the first, 103 and the answer to the second",
            |t| {
                t.client([super::case::get("/a"), super::case::get("/b")].concat());
                t.server([CONTINUE, &answer(201, "")].concat());
                t.server(["HTTP/1.1 103 Early Hints\r\n\r\n", &answer(202, "")].concat()).close(Client);
            },
            &["GET h/a 0 > 201 0 complete high interim=100", "GET h/b 0 > 202 0 complete high interim=103"],
        )
        .gannet("tshark links the interim answer with the request, and leaves the final one alone."),
    ]
}
