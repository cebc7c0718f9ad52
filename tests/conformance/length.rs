//! Lengths that are stated twice, or wrong.

use super::case::{Case, Client, OK, Server, get};

/// An answer with these fields and this body, and a plain one behind it.
fn answered(t: &mut super::case::Talk, fields: &str, body: &str) {
    t.get("/a").server(format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}")).get("/b").ok().close(Client);
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::talk(
            "length-and-coding",
            &["coding-wins"],
            "Content-Length: 4 beside chunked, in an answer",
            |t| {
                answered(t, "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "6\r\nabcdef\r\n0\r\n\r\n")
            },
            &["GET h/a 0 > 200 6 complete high notes=response-length-ambiguous,response-length-and-coding", "GET h/b 0 > 200 5 complete high"],
        ),
        Case::talk(
            "coding-and-length-in-a-request",
            &["coding-wins"],
            "the other way about, in a request with another one behind it: the classic of request smuggling",
            |t| {
                t.client(format!(
                    "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n{}",
                    get("/b")
                ));
                t.server([OK, OK].concat()).close(Client);
            },
            &["POST h/a 0 > 200 5 complete high notes=request-length-ambiguous,request-length-and-coding", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("of several requests in one frame tshark keeps the last, and links the first answer with it."),
        Case::talk(
            "coding-in-capitals-behind-others",
            &["codings"],
            "`Transfer-Encoding: gzip, CHUNKED`",
            |t| answered(t, "Transfer-Encoding: gzip, CHUNKED\r\n", "3\r\nabc\r\n0\r\n\r\n"),
            &["GET h/a 0 > 200 3 complete high", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("tshark knows `chunked` alone: it takes the body up to the end of the connection, and the second answer with it."),
        Case::talk(
            "coding-on-two-lines",
            &["codings"],
            "two Transfer-Encoding fields, the second of them chunked",
            |t| {
                answered(
                    t,
                    "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
                    "3\r\nabc\r\n0\r\n\r\n",
                );
            },
            &["GET h/a 0 > 200 3 complete high", "GET h/b 0 > 200 5 complete high"],
        ),
        Case::talk(
            "chunked-in-http-1.0",
            &["codings"],
            "an answer of HTTP/1.0 that is chunked all the same",
            |t| {
                t.get("/a")
                    .server("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
                    .close(Server);
            },
            &["GET h/a 0 > 200 3 complete high notes=response-length-ambiguous,response-coding-in-1.0"],
        ),
        Case::talk(
            "coding-that-is-not-chunked",
            &["codings"],
            "`Transfer-Encoding: gzip` alone: up to the end of the connection, whatever the length says",
            |t| {
                t.get("/a")
                    .server("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: 2\r\n\r\nabcdef")
                    .close(Server);
            },
            &["GET h/a 0 > 200 6 complete (fin) high notes=response-length-ambiguous,response-length-and-coding,response-odd-coding"],
        )
        .gannet("a body whose coding does not end in chunked ends with the connection (RFC 9112, section 6.3); tshark takes the length."),
        Case::talk(
            "identity-coding",
            &["codings"],
            "`Transfer-Encoding: identity`, which RFC 2616 had for none",
            |t| answered(t, "Transfer-Encoding: identity\r\nContent-Length: 3\r\n", "abc"),
            &["GET h/a 0 > 200 3 complete high notes=response-length-ambiguous,response-odd-coding", "GET h/b 0 > 200 5 complete high"],
        ),
        Case::talk(
            "equal-lengths",
            &["equal-lengths"],
            "Content-Length: 3 twice",
            |t| answered(t, "Content-Length: 3\r\nContent-Length: 3\r\n", "abc"),
            &["GET h/a 0 > 200 3 complete high notes=response-length-ambiguous,response-duplicate-length", "GET h/b 0 > 200 5 complete high"],
        ),
        Case::talk(
            "equal-lengths-in-a-list",
            &["equal-lengths"],
            "`Content-Length: 3, 3`",
            |t| answered(t, "Content-Length: 3, 3\r\n", "abc"),
            &["GET h/a 0 > 200 3 complete high notes=response-length-ambiguous,response-duplicate-length", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("a list of equal numbers is that number (RFC 9110, section 8.6); to tshark it is none, and the body goes on into the next answer."),
        Case::talk(
            "differing-lengths-first-right",
            &["differing-lengths"],
            "3, then 5; the body has 3 bytes",
            |t| answered(t, "Content-Length: 3\r\nContent-Length: 5\r\n", "abc"),
            &["GET h/a 0 > 200 3 complete high notes=response-length-ambiguous,response-conflicting-length", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("the next answer begins where the first length ends; tshark takes the last one, and two bytes of the next answer with it."),
        Case::talk(
            "differing-lengths-second-right",
            &["differing-lengths"],
            "3, then 5; the body has 5 bytes, and the next answer is behind it",
            |t| {
                t.client([get("/a"), get("/b")].concat());
                t.server(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde{OK}"
                ));
                t.close(Client);
            },
            &["GET h/a 0 > 200 3 complete high notes=response-length-ambiguous,response-conflicting-length,response-length-refuted", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("neither can know. tshark takes the last length, which happens to be right here, and links the answer with the wrong request. Gannet keeps the first, sees that what follows is no message, and finds the next answer."),
        Case::talk(
            "differing-lengths-second-right-elsewhere",
            &["differing-lengths"],
            "the same, with a segment that ends where the first length does",
            |t| {
                t.client([get("/a"), get("/b")].concat());
                let head = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\n";
                t.pieces(Server, &[&format!("{head}abc"), "de", OK]).close(Client);
            },
            &["GET h/a 0 > 200 3 complete high notes=response-length-ambiguous,response-conflicting-length,response-length-refuted", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("the same."),
        Case::talk(
            "length-that-is-no-number",
            &["differing-lengths"],
            "`+3`, and 3 behind it; then a number beyond 64 bits, and 3 behind it",
            |t| {
                t.get("/a").server("HTTP/1.1 200 OK\r\nContent-Length: +3\r\nContent-Length: 3\r\n\r\nabc");
                answered(t, "Content-Length: 99999999999999999999999\r\nContent-Length: 3\r\n", "abc");
            },
            &["2 × GET h/a 0 > 200 3 complete high notes=response-length-ambiguous,response-conflicting-length", "GET h/b 0 > 200 5 complete high"],
        ),
        Case::talk(
            "length-too-short",
            &["differing-lengths", "resync"],
            "a length of 2 for a body of 5, and the next answer in a segment of its own",
            |t| {
                t.get("/a")
                    .server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello")
                    .get("/b")
                    .ok()
                    .close(Client);
            },
            &["GET h/a 0 > 200 2 complete high notes=response-length-refuted", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("the next answer is there to be found; tshark loses it behind the three bytes that belong to no message."),
        Case::talk(
            "length-too-short-in-one-segment",
            &["differing-lengths", "resync"],
            "the same with the next answer right behind it",
            |t| {
                t.client([get("/a"), get("/b")].concat());
                t.server(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello{OK}")).close(Client);
            },
            &["GET h/a 0 > 200 2 complete high notes=response-length-refuted", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("the same."),
        Case::talk(
            "length-too-long",
            &["close-delimited"],
            "a length of 9 for a body of 5, and FIN",
            |t| {
                t.get("/a").server("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello").close(Server);
            },
            &["GET h/a 0 > 200 5 truncated (fin) high"],
        )
        .gannet("tshark waits for the rest of a body and shows no answer while it does not come."),
        Case::talk(
            "request-without-a-length",
            &["request-without-length"],
            "POST with neither Content-Length nor Transfer-Encoding, and a request behind it",
            |t| {
                t.client(format!("POST /a HTTP/1.1\r\nHost: h\r\n\r\n{}", get("/b")))
                    .server([OK, OK].concat())
                    .close(Client);
            },
            &["POST h/a 0 > 200 5 complete high", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("of several requests in one frame tshark keeps the last, and links the first answer with it."),
        Case::talk(
            "get-with-a-body",
            &["request-without-length"],
            "GET with Content-Length: 3",
            |t| {
                t.client(format!("GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc{}", get("/b")));
                t.server([OK, OK].concat()).close(Client);
            },
            &["GET h/a 3 > 200 5 complete high", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("of several requests in one frame tshark keeps the last, and links the first answer with it."),
    ]
}
