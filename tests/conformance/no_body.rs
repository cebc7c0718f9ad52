//! Answers without a body, and those that end with the connection.

use super::case::{Case, Client, Server, answer, get};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::talk(
            "head-with-a-length",
            &["no-body"],
            "HEAD, and an answer that states the length that GET would have",
            |t| {
                t.client("HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n")
                    .server("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n");
                t.get("/b").ok().close(Client);
            },
            &["HEAD h/a 0 > 200 0 complete high", "GET h/b 0 > 200 5 complete high"],
        ),
        Case::talk(
            "head-then-put",
            &["no-body"],
            "HEAD, then PUT with a body on the same connection",
            |t| {
                t.client("HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n")
                    .server("HTTP/1.1 404 No\r\nContent-Length: 162\r\n\r\n");
                t.client("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\ndata")
                    .server(answer(201, "made"))
                    .close(Client);
            },
            &["HEAD h/a 0 > 404 0 complete high", "PUT h/a 4 > 201 4 complete high"],
        ),
        Case::talk(
            "heads-pipelined",
            &["no-body", "pipelining"],
            "HEAD, GET and HEAD in one segment; answers in one segment",
            |t| {
                t.client(format!(
                    "HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n{}HEAD /c HTTP/1.1\r\nHost: h\r\n\r\n",
                    get("/b")
                ));
                let none = "HTTP/1.1 200 OK\r\nContent-Length: 70\r\n\r\n";
                t.server(format!("{none}{}{none}", answer(200, "body"))).close(Client);
            },
            &[
                "HEAD h/a 0 > 200 0 complete high",
                "GET h/b 0 > 200 4 complete high",
                "HEAD h/c 0 > 200 0 complete high",
            ],
        )
        .gannet("of several requests in one frame tshark keeps the last, and has the first answer run into the next one, as if it had a body."),
        Case::talk(
            "head-chunked",
            &["no-body"],
            "an answer to HEAD that says chunked",
            |t| {
                t.client("HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n")
                    .server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                t.get("/b").ok().close(Client);
            },
            &["HEAD h/a 0 > 200 0 complete high", "GET h/b 0 > 200 5 complete high"],
        ),
        Case::talk(
            "no-content-with-a-length",
            &["no-body"],
            "204 with Content-Length: 5 and no body",
            |t| {
                t.get("/a")
                    .server("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n")
                    .get("/b")
                    .ok()
                    .close(Client);
            },
            &["GET h/a 0 > 204 0 complete high notes=response-length-without-body", "GET h/b 0 > 200 5 complete high"],
        ),
        Case::talk(
            "not-modified-with-a-length",
            &["no-body"],
            "304 with the length of what was not modified",
            |t| {
                t.get("/a")
                    .server("HTTP/1.1 304 Not Modified\r\nContent-Length: 700\r\n\r\n")
                    .get("/b")
                    .ok()
                    .close(Client);
            },
            &["GET h/a 0 > 304 0 complete high", "GET h/b 0 > 200 5 complete high"],
        ),
        Case::talk(
            "until-fin",
            &["close-delimited"],
            "neither a length nor a coding; FIN",
            |t| {
                t.get("/a")
                    .pieces(Server, &["HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nsome ", "bytes"])
                    .close(Server);
            },
            &["GET h/a 0 > 200 10 complete (fin) high"],
        ),
        Case::talk(
            "until-reset",
            &["close-delimited", "reset"],
            "the same; RST of the server",
            |t| {
                t.get("/a").server("HTTP/1.1 200 OK\r\n\r\nsome bytes").reset(Server);
            },
            &["GET h/a 0 > 200 10 aborted (server-reset) high"],
        )
        .gannet("tshark waits for the rest of a body and shows no answer while it does not come.")
        .also(0, "/timing/total_ns", serde_json::Value::Null),
        Case::talk(
            "until-the-capture-ends",
            &["close-delimited"],
            "the same; the capture ends",
            |t| {
                t.get("/a").server("HTTP/1.1 200 OK\r\n\r\nsome bytes");
            },
            &["GET h/a 0 > 200 10 truncated (end-of-input) high"],
        )
        .gannet("tshark waits for the rest of a body and shows no answer while it does not come."),
        Case::frames(
            "until-idle",
            &["close-delimited"],
            "the same; nothing more for 20 minutes, while another connection goes on",
            |stage| {
                let mut frames: Vec<_> = super::case::shot(&stage.talk(|t| {
                    t.get("/a").server("HTTP/1.1 200 OK\r\n\r\nsome bytes");
                }));
                let mut later = stage.clone();
                later.setup = later.setup.client_port(40_100);
                later.setup.start_ns += 1_200_000_000_000;
                frames.extend(super::case::shot(&later.talk(|t| {
                    t.get("/b").ok().close(Client);
                })));
                frames
            },
            &["GET h/a 0 > 200 10 truncated (idle) high", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("tshark waits for the rest of a body and shows no answer while it does not come."),
        Case::talk(
            "connection-close-with-a-length",
            &["close-delimited"],
            "a length and `Connection: close`: the answer is over before the FIN",
            |t| {
                t.get("/a")
                    .server("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello")
                    .wait_ms(3_000)
                    .close(Server);
            },
            &["GET h/a 0 > 200 5 complete high"],
        ),
    ]
}
