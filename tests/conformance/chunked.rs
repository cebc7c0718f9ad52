//! Chunked bodies.

use super::case::{Case, Client, Server, Talk};

fn chunked(t: &mut Talk, body: &str) {
    t.get("/a")
        .server(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"))
        .get("/b")
        .ok()
        .close(Client);
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::talk(
            "chunk-extensions",
            &["chunk-extensions"],
            "`5;a=1;b=\"x y\"` and an extension of the last chunk",
            |t| chunked(t, "5;a=1;b=\"x y\"\r\nhello\r\n0;last\r\n\r\n"),
            &["GET h/a 0 > 200 5 complete high notes=response-chunk-extensions", "GET h/b 0 > 200 5 complete high"],
        ),
        Case::talk(
            "chunk-sizes-in-both-cases",
            &["chunk-sizes"],
            "`a`, `B` and `0001`",
            |t| chunked(t, "a\r\n0123456789\r\nB\r\n0123456789a\r\n0001\r\nx\r\n000\r\n\r\n"),
            &["GET h/a 0 > 200 22 complete high", "GET h/b 0 > 200 5 complete high"],
        ),
        Case::talk(
            "blanks-around-chunk-sizes",
            &["chunk-sizes"],
            "blanks before the size and behind it",
            |t| chunked(t, " 5\r\nhello\r\n5 \t\r\nhello\r\n0 \r\n\r\n"),
            &["GET h/a 0 > 200 10 complete high", "GET h/b 0 > 200 5 complete high"],
        ),
        Case::talk(
            "chunk-size-beyond-64-bits",
            &["chunk-sizes", "resync"],
            "a size of 17 digits; the next answer follows",
            |t| chunked(t, "3\r\nabc\r\n10000000000000003\r\nxyz\r\n0\r\n\r\n"),
            &["GET h/a 0 > 200 3 truncated (bad-framing) high notes=response-bad-chunk", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("the first chunk was one; tshark gives up the whole body."),
        Case::talk(
            "chunk-size-that-is-none",
            &["chunk-sizes", "resync"],
            "a size line of letters; the next answer follows",
            |t| chunked(t, "3\r\nabc\r\nxyz\r\n0\r\n\r\n"),
            &["GET h/a 0 > 200 3 truncated (bad-framing) high notes=response-bad-chunk", "GET h/b 0 > 200 5 complete high"],
        ),
        Case::talk(
            "chunk-longer-than-its-size",
            &["chunk-sizes", "resync"],
            "a chunk of 5 bytes that says 3",
            |t| chunked(t, "3\r\nhello\r\n0\r\n\r\n"),
            &["GET h/a 0 > 200 3 truncated (bad-framing) high notes=response-bad-chunk", "GET h/b 0 > 200 5 complete high"],
        ),
        Case::talk(
            "line-feeds-between-chunks",
            &["chunk-sizes", "bare-lf"],
            "LF alone behind sizes and chunks",
            |t| chunked(t, "5\nhello\n0\n\n"),
            &["GET h/a 0 > 200 5 complete high", "GET h/b 0 > 200 5 complete high"],
        ),
        Case::talk(
            "false-last-chunk",
            &["chunk-end"],
            "a chunk whose data are `0 CRLF CRLF`, at the end of a segment",
            |t| {
                t.get("/a");
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                t.pieces(Server, &[&format!("{head}c\r\nabc\r\n\r\n0\r\n\r\n"), "\r\n3\r\nxyz\r\n0\r\n\r\n"]);
                t.get("/b").ok().close(Client);
            },
            &["GET h/a 0 > 200 15 complete high", "GET h/b 0 > 200 5 complete high"],
        ),
        Case::talk(
            "last-chunk-cut",
            &["chunk-end"],
            "the last chunk and the empty line behind it in pieces",
            |t| {
                t.get("/a");
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                t.pieces(Server, &[&format!("{head}3\r\nabc\r"), "\n0\r", "\n\r", "\n"]);
                t.get("/b").ok().close(Client);
            },
            &["GET h/a 0 > 200 3 complete high", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("tshark does not find the end of the chunks when it is cut in its empty line."),
        Case::talk(
            "trailers-announced",
            &["trailers"],
            "a Trailer field, and the field behind the last chunk",
            |t| {
                t.get("/a").server(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 17\r\n\r\n",
                );
                t.get("/b").ok().close(Client);
            },
            &["GET h/a 0 > 200 3 complete high", "GET h/b 0 > 200 5 complete high"],
        )
        .also(0, "/http/response/trailer/x-sum/0", "17"),
        Case::talk(
            "trailers-not-announced",
            &["trailers"],
            "two fields behind the last chunk that no Trailer field names",
            |t| chunked(t, "3\r\nabc\r\n0\r\nX-Sum: 17\r\nGrpc-Status: 0\r\n\r\n"),
            &["GET h/a 0 > 200 3 complete high", "GET h/b 0 > 200 5 complete high"],
        )
        .also(0, "/http/response/trailer/x-sum/0", "17")
        .also(0, "/http/response/trailer/grpc-status/0", "0"),
        Case::talk(
            "chunked-request",
            &["codings", "trailers"],
            "a chunked request with a trailer, and a request behind it in the same segment",
            |t| {
                t.client(format!(
                    "PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n{}",
                    super::case::get("/b")
                ));
                t.server([super::case::OK, super::case::OK].concat()).close(Client);
            },
            &["PUT h/a 11 > 200 5 complete high", "GET h/b 0 > 200 5 complete high"],
        )
        .also(0, "/http/request/trailer/x-sum/0", "1")
        .gannet("of several requests in one frame tshark keeps the last, and links the first answer with it."),
    ]
}
