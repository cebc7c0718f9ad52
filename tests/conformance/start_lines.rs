//! First lines that are not what the grammar says, and those that are not whole.

use super::case::{Case, Client, Server, get};

const TARGETS: [&str; 5] = ["/a", "/b", "/c", "/d", "/e"];

/// An answer of two bytes whose first line begins like this.
fn answer(line: &str) -> String {
    format!("{line}\r\nContent-Length: 2\r\n\r\nab")
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::talk(
            "odd-versions-of-answers",
            &["odd-start-lines", "versions"],
            "HTTP/2.0, HTTP/0.9, HTTP/1.01, a NUL in the version, `http/1.1` in lower case",
            |t| {
                let lines = ["HTTP/2.0 200 ok", "HTTP/0.9 200 ok", "HTTP/1.01 200 ok", "HTTP/1\0.1 200", "http/1.1 200"];
                for (target, line) in TARGETS.iter().zip(lines) {
                    t.get(target).server(answer(line));
                }
                t.close(Client);
            },
            &[
                "GET h/a 0 > 200 2 complete high notes=response-odd-version",
                "GET h/b 0 > 200 2 complete high notes=response-odd-version",
                "GET h/c 0 > 200 2 complete high notes=response-odd-version",
                "GET h/d 0 > 200 2 complete high notes=response-odd-version",
                "GET h/e 0 > 200 2 complete high notes=response-odd-version",
            ],
        )
        .gannet("an answer was due, and these are answers: what else begins with a version, a status and fields that frame a body?"),
        Case::talk(
            "statuses-that-are-none",
            &["odd-start-lines", "odd-status"],
            "`2xx`, four digits, a word, a NUL among digits: no code is made of them",
            |t| {
                let lines = ["HTTP/1.1 2xx ok", "HTTP/1.1 2040 ok", "HTTP/1.1 ok", "HTTP/1.1 2\x000 0", "HTTP/1.1 20x"];
                for (target, line) in TARGETS.iter().zip(lines) {
                    t.get(target).server(answer(line));
                }
                t.close(Client);
            },
            &[
                "GET h/a 0 > - 2 complete high notes=response-odd-status",
                "GET h/b 0 > - 2 complete high notes=response-odd-status",
                "GET h/c 0 > - 2 complete high notes=response-odd-status",
                "GET h/d 0 > - 2 complete high notes=response-odd-status",
                "GET h/e 0 > - 2 complete high notes=response-odd-status",
            ],
        )
        .gannet("a status code has three digits (RFC 9110, section 15); clients differ in what they make of others, so none is said, but that there was an answer, and how long it was."),
        Case::talk(
            "odd-answer-up-to-the-end",
            &["odd-start-lines", "close-delimited"],
            "`HTTP/2.1 2000` without a length, then the end",
            |t| {
                t.get("/a").server("HTTP/2.1 2000 ok\r\n\r\nup to the end").close(Server);
            },
            &["GET h/a 0 > - 13 complete (fin) high notes=response-odd-status,response-odd-version"],
        )
        .gannet("the same."),
        Case::talk(
            "odd-blanks-of-answers",
            &["odd-start-lines"],
            "a tab behind the version, two blanks",
            |t| {
                t.get("/a").server(answer("HTTP/1.1\t200 ok")).get("/b").server(answer("HTTP/1.1  404 no")).close(Client);
            },
            &[
                "GET h/a 0 > 200 2 complete high notes=response-odd-blanks",
                "GET h/b 0 > 404 2 complete high notes=response-odd-blanks",
            ],
        )
        .gannet("recipients may take any white space there (RFC 9112, section 4)."),
        Case::talk(
            "odd-versions-of-requests",
            &["odd-start-lines", "versions"],
            "`HTTP/1.`, HTTP/2.0, HTTP/1.10 and lower case, the first on a connection nobody has spoken on",
            |t| {
                for (target, version) in TARGETS.iter().zip(["HTTP/1.", "HTTP/2.0", "HTTP/1.10", "http/1.1"]) {
                    t.client(format!("GET {target} {version}\r\nHost: h\r\n\r\n")).ok();
                }
                t.close(Client);
            },
            &[
                "GET h/a 0 > 200 5 complete high notes=request-odd-version",
                "GET h/b 0 > 200 5 complete high notes=request-odd-version",
                "GET h/c 0 > 200 5 complete high notes=request-odd-version",
                "GET h/d 0 > 200 5 complete high notes=request-odd-version",
            ],
        )
        .also(0, "/network/protocol/version", "1.")
        .also(1, "/network/protocol/version", "2.0"),
        Case::talk(
            "odd-blanks-of-requests",
            &["odd-start-lines"],
            "two blanks, tabs, a blank behind the version; an unknown method with all of it on a connection that is known",
            |t| {
                t.client("GET  /a  HTTP/1.1\r\nHost: h\r\n\r\n").ok();
                t.client("GET\t/b\tHTTP/1.1 \r\nHost: h\r\n\r\n").ok();
                t.client("FROB  /c\tHTTP/3\r\nHost: h\r\n\r\n").ok().close(Client);
            },
            &[
                "GET h/a 0 > 200 5 complete high notes=request-odd-blanks",
                "GET h/b 0 > 200 5 complete high notes=request-odd-blanks",
                "FROB h/c 0 > 200 5 complete high notes=request-odd-version,request-odd-blanks",
            ],
        )
        .gannet("recipients may take any white space there (RFC 9112, section 3)."),
        Case::talk(
            "request-line-cut-behind-its-target",
            &["half-start-lines", "reset"],
            "`GET /b HTTP/1` and RST",
            |t| {
                t.get("/a").ok().client("GET /b HTTP/1").reset(Client);
            },
            &[
                "GET h/a 0 > 200 5 complete high",
                "GET 198.51.100.10/b 0 > - aborted (client-reset) high notes=request-head-cut",
            ],
        )
        .gannet("method and target are there."),
        Case::talk(
            "request-line-cut-in-its-target",
            &["half-start-lines", "reset"],
            "`GET /b` and RST: the target may have gone on",
            |t| {
                t.get("/a").ok().client("GET /b").reset(Client);
            },
            &["GET h/a 0 > 200 5 complete high"],
        ),
        Case::talk(
            "status-line-cut",
            &["half-start-lines", "reset"],
            "`HTTP/1.1 404 Not` and RST",
            |t| {
                t.client(get("/a")).server("HTTP/1.1 404 Not").reset(Server);
            },
            &["GET h/a 0 > 404 0 aborted (server-reset) high notes=response-head-cut"],
        )
        .gannet("the status is there."),
    ]
}
