//! Heads: start lines, fields, line ends, limits.

use super::case::{Case, Client, OK, Server, get};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::talk(
            "head-cut-in-its-empty-line",
            &["head-split"],
            "CR LF CR | LF of both heads",
            |t| {
                t.pieces(Client, &["GET /a HTTP/1.1\r\nHost: h\r\n\r", "\n"]);
                t.pieces(Server, &["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r", "\nhello"]).close(Client);
            },
            &["GET h/a 0 > 200 5 complete high"],
        ),
        Case::talk(
            "head-cut-in-its-first-line",
            &["head-split"],
            "both first lines in pieces, the first of one byte",
            |t| {
                t.pieces(Client, &["G", "ET /a?b=c HT", "TP/1.1\r\nHo", "st: h\r\n\r\n"]);
                t.pieces(Server, &["H", "TTP/1", ".1 20", "0 OK\r\nContent-Length: 5\r\n\r\nhel", "lo"]).close(Client);
            },
            &["GET h/a?b=c 0 > 200 5 complete high"],
        ),
        Case::talk(
            "head-in-many-segments",
            &["head-split"],
            "a head of 12 kB in nine segments",
            |t| {
                let cookie = "x".repeat(12_000);
                t.client(format!("GET /a HTTP/1.1\r\nHost: h\r\nCookie: {cookie}\r\n\r\n")).ok().close(Client);
            },
            &["GET h/a 0 > 200 5 complete high"],
        ),
        Case::talk(
            "bare-line-feeds",
            &["bare-lf"],
            "lines that end in LF alone, in both heads",
            |t| {
                t.client("GET /a HTTP/1.1\nHost: h\n\n");
                t.server("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello").close(Client);
            },
            &["GET h/a 0 > 200 5 complete high notes=request-bare-lf,response-bare-lf"],
        ),
        Case::talk(
            "line-feeds-of-both-kinds",
            &["bare-lf"],
            "CRLF and LF in one head, the empty line LF",
            |t| {
                t.client("GET /a HTTP/1.1\r\nHost: h\n\n").client("GET /b HTTP/1.1\nHost: h\r\n\n");
                t.server([OK, OK].concat()).close(Client);
            },
            &["GET h/a 0 > 200 5 complete high notes=request-bare-lf", "GET h/b 0 > 200 5 complete high notes=request-bare-lf"],
        )
        .gannet("tshark misses the empty line that ends in LF behind lines that end in CRLF, and takes the next answer for another request's."),
        Case::talk(
            "empty-lines-before-a-request",
            &["blank-lines"],
            "CRLF behind a body of a form, as old browsers send it, then the next request",
            |t| {
                t.client("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc\r\n").ok();
                t.client(format!("\r\n\n{}", get("/b"))).ok().close(Client);
            },
            &["POST h/a 3 > 200 5 complete high", "GET h/b 0 > 200 5 complete high notes=request-blank-lines"],
        )
        .gannet("tshark does not pass over empty lines: what follows them is data to it."),
        Case::talk(
            "empty-lines-before-the-first-request",
            &["blank-lines"],
            "a connection that begins with empty lines",
            |t| {
                t.client(format!("\r\n\r\n{}", get("/a"))).ok().close(Client);
            },
            &["GET h/a 0 > 200 5 complete high notes=request-blank-lines"],
        )
        .gannet("the same."),
        Case::talk(
            "folded-fields",
            &["folded"],
            "a field on three lines; a length on the line behind its name",
            |t| {
                t.client("POST /a HTTP/1.1\r\nHost: h\r\nX-Long: one\r\n two\r\n\tthree\r\nContent-Length:\r\n 3\r\n\r\nabc");
                t.ok().close(Client);
            },
            &["POST h/a 3 > 200 5 complete high notes=request-folded"],
        )
        .gannet("tshark does not see the length on the folded line; the request has three bytes of a body.")
        .words("--header all")
        .also(0, "/http/request/header/x-long/0", "one two three"),
        Case::talk(
            "reason-phrase-missing",
            &["reason-phrase"],
            "`HTTP/1.1 200` and CRLF: no blank, no phrase",
            |t| {
                t.get("/a").server("HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok").close(Client);
            },
            &["GET h/a 0 > 200 2 complete high"],
        ),
        Case::talk(
            "reason-phrase-empty",
            &["reason-phrase"],
            "`HTTP/1.1 200 ` and CRLF: a blank and no phrase",
            |t| {
                t.get("/a").server("HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok").close(Client);
            },
            &["GET h/a 0 > 200 2 complete high"],
        ),
        Case::talk(
            "reason-phrase-not-ascii",
            &["reason-phrase"],
            "a phrase in Latin-1",
            |t| {
                t.get("/a").server(b"HTTP/1.1 404 nicht gef\xfcllt\r\nContent-Length: 2\r\n\r\nno").close(Client);
            },
            &["GET h/a 0 > 404 2 complete high"],
        ),
        Case::talk(
            "odd-statuses",
            &["odd-status"],
            "299, 599 and 999",
            |t| {
                for (target, status) in [("/a", 299), ("/b", 599), ("/c", 999)] {
                    t.get(target).server(super::case::answer(status, "x"));
                }
                t.close(Client);
            },
            &["GET h/a 0 > 299 1 complete high", "GET h/b 0 > 599 1 complete high", "GET h/c 0 > 999 1 complete high notes=response-odd-status"],
        ),
        Case::talk(
            "unknown-methods",
            &["methods"],
            "a method that nobody knows, one in lower case, one with punctuation",
            |t| {
                for method in ["FROB", "get", "X-Y_Z"] {
                    t.client(format!("{method} /a HTTP/1.1\r\nHost: h\r\n\r\n")).ok();
                }
                t.close(Client);
            },
            &[
                "FROB h/a 0 > 200 5 complete high",
                "get h/a 0 > 200 5 complete high",
                "X-Y_Z h/a 0 > 200 5 complete high",
            ],
        )
        .gannet("tshark knows methods by a list. Any token is one (RFC 9110, section 9.1)."),
        Case::talk(
            "webdav-and-upnp",
            &["methods"],
            "PROPFIND with a body, M-SEARCH with `*`, the absolute form of a target",
            |t| {
                t.client("PROPFIND /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nxml").server(super::case::answer(207, "<>"));
                t.client("M-SEARCH * HTTP/1.1\r\nHost: h\r\n\r\n").ok();
                t.client("GET http://other:81/c HTTP/1.1\r\nHost: h\r\n\r\n").ok().close(Client);
            },
            &[
                "PROPFIND h/a 3 > 207 2 complete high",
                "M-SEARCH h* 0 > 200 5 complete high",
                "GET other/c 0 > 200 5 complete high",
            ],
        )
        .both("tshark shows a target in absolute form as it is, Gannet its parts.")
        .also(1, "/url/original", "*")
        .also(2, "/url/original", "http://other:81/c"),
        Case::talk(
            "http-0.9",
            &["versions"],
            "a line for a request; all that the server sends is a body",
            |t| {
                t.client("GET /old.html\r\n").server("<html>HTTP/1.1 200 OK\r\n\r\n</html>").close(Server);
            },
            &["GET 198.51.100.10/old.html 0 > - 32 complete (fin) high"],
        )
        .gannet("tshark does not know HTTP/0.9.")
        .also(0, "/network/protocol/version", "0.9"),
        Case::talk(
            "requests-without-version",
            &["versions"],
            "other methods than GET without a version, which servers refuse",
            |t| {
                t.client("DELETE /a\r\n").server("HTTP/1.0 400 Bad Request\r\n\r\nno").close(Server);
            },
            &["DELETE 198.51.100.10/a 0 > 400 2 complete (fin) high"],
        )
        .gannet("the server refused what it took for a request.")
        .also(0, "/network/protocol/version", "0.9"),
        Case::talk(
            "http-1.0",
            &["versions"],
            "HTTP/1.0 with keep-alive and a length, then without a length",
            |t| {
                let get = "GET /a HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n";
                t.client(get).server("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nab");
                t.client(get).server("HTTP/1.0 200 OK\r\n\r\nup to the end").close(Server);
            },
            &["GET h/a 0 > 200 2 complete high", "GET h/a 0 > 200 13 complete (fin) high"],
        )
        .also(1, "/network/protocol/version", "1.0"),
        Case::talk(
            "head-beyond-64-kib",
            &["limits"],
            "a request's head of 100 kB with its Content-Length at the end, then another request",
            |t| {
                let filler = format!("X-Filler: {}\r\n", "x".repeat(990)).repeat(100);
                t.client(format!("POST /a HTTP/1.1\r\nHost: h\r\n{filler}Content-Length: 3\r\n\r\nabc")).ok();
                t.get("/b").ok().close(Client);
            },
            &[
                "POST h/a 3 > 200 5 complete high notes=request-head-cut",
                "GET h/b 0 > 200 5 complete high",
            ],
        ),
        Case::talk(
            "more-than-256-fields",
            &["limits"],
            "an answer of 300 fields with its Transfer-Encoding as the last",
            |t| {
                let filler: String = (0..300).map(|n| format!("X-{n}: y\r\n")).collect();
                t.get("/a").server(format!("HTTP/1.1 200 OK\r\n{filler}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"));
                t.get("/b").ok().close(Client);
            },
            &[
                "GET h/a 0 > 200 3 complete high notes=response-head-cut",
                "GET h/b 0 > 200 5 complete high",
            ],
        ),
        Case::talk(
            "target-beyond-64-kib",
            &["limits"],
            "a target of 80 kB",
            |t| {
                t.client(format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(80_000))).server(super::case::answer(414, ""));
                t.get("/b").ok().close(Client);
            },
            &[
                "GET 198.51.100.10/... (65532 bytes) 0 > 414 0 complete high notes=request-head-cut",
                "GET h/b 0 > 200 5 complete high",
            ],
        )
        .both("tshark keeps the whole target, Gannet the first 64 KiB of the head, and says so."),
        Case::talk(
            "odd-fields",
            &["limits"],
            "a field without a colon, a blank before one, bytes that no name has, blanks in the target",
            |t| {
                t.client(b"GET /a b HTTP/1.1\r\nHost: h\r\nno colon\r\nX-\xff\x01: 1\r\nContent-Length : 2\r\n\r\nab".as_slice());
                t.ok().close(Client);
            },
            &["GET h/a b 2 > 200 5 complete high notes=request-space-before-colon,request-no-colon,request-blanks-in-target"],
        )
        .gannet("tshark takes a field with a blank before its colon for none; servers that accept it (with a risk that RFC 9112, section 5.1, is about) take two bytes of a body."),
    ]
}
