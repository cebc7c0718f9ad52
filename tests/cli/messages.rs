//! `gannet http -o messages`: whole messages out of a capture file, against texts written by hand.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use gannet_testkit::conversation::{Body, Builder, Peer, Request, Response, Setup};

use crate::util::Dir;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn chunked(content: &[u8], chunk: usize, trailers: &[(&'static str, &'static str)]) -> Body<'static> {
    let trailers = trailers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Body::Chunked { content: content.to_vec().into(), chunk, trailers }
}

fn connection() -> Builder {
    let mut builder = Builder::new(Setup::default());
    builder.handshake();
    builder
}

/// What is printed of a capture with this conversation, with `TIME` and `ID` in the place of what differs from one
/// connection to the next.
fn messages(builder: &Builder, words: &str) -> String {
    let dir = Dir::new();
    dir.write("a.pcap", &builder.finish().pcap());
    let outcome = dir.gannet(&format!("http -o messages -r a.pcap {words}")).run().exits(0);
    assert!(!outcome.stderr.contains("defect"), "{}", outcome.stderr);
    let line = |line: &str| {
        let Some(rest) = line.strip_prefix("--- 2026-01-15T") else { return line.to_owned() };
        let (time, rest) = rest.split_once(' ').unwrap();
        assert!(time.len() == "10:00:00.000001Z".len() && time.ends_with('Z'), "{time}");
        let words: Vec<_> = rest.split(' ').collect();
        let (connection, index) = words[4].split_once('-').unwrap();
        assert_eq!(connection.len(), 26, "{line}");
        let rest = rest.replace(&format!("{connection}-"), "ID-");
        assert!(index == "?" || index.parse::<u32>().is_ok());
        format!("--- TIME {rest}")
    };
    outcome.text().split('\n').map(line).collect::<Vec<_>>().join("\n")
}

const CLIENT: &str = "198.18.0.7:40007 > 198.51.100.10:80";
const SERVER: &str = "198.51.100.10:80 > 198.18.0.7:40007";

/// Each message under its line, in the order in which they end; codings and chunks are gone, trailers and interim
/// responses are there.
#[test]
fn whole_messages() {
    let mut builder = connection();
    builder.request(&Request::new("GET", "/greeting", "shop.example").header("Accept-Encoding", "gzip"));
    let body = gzip(b"hello, world\n");
    let coded = body.len();
    builder.response(&Response::new(200, Body::length(body)).header("Content-Encoding", "gzip"));
    let upload = Request::new("POST", "/upload", "shop.example").header("Expect", "100-continue");
    builder.request(&upload.body(chunked(b"some words", 4, &[("X-Sum", "17"), ("X-More", "y")])));
    builder.response(&Response::new(100, Body::None));
    let brotli = b"\x0b\x05\x80hello world\x03".to_vec();
    builder.response(&Response::new(201, chunked(&brotli, 5, &[])).header("content-encoding", "br"));
    builder.request(&Request::new("HEAD", "/greeting", "shop.example"));
    builder.response(&Response::new(200, Body::Announced(999)));
    builder.request(&Request::new("GET", "/greeting", "shop.example"));
    builder.response(&Response::new(304, Body::Announced(12)));
    builder.close(Peer::Client);
    let expected = format!(
        "--- TIME {CLIENT} request ID-0\n\
         GET /greeting HTTP/1.1\r\nHost: shop.example\r\nAccept-Encoding: gzip\r\n\r\n\
         --- TIME {SERVER} response ID-0 body 13 (gzip, {coded} bytes on the wire)\n\
         HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {coded}\r\n\r\nhello, world\n\n\n\
         --- TIME {CLIENT} request ID-1 body 10\n\
         POST /upload HTTP/1.1\r\nHost: shop.example\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n\
         some words\n\n--- trailers\nX-Sum: 17\r\nX-More: y\r\n\n\
         --- TIME {SERVER} interim ID-1\n\
         HTTP/1.1 100 Continue\r\n\r\n\
         --- TIME {SERVER} response ID-1 body 11 (br, 15 bytes on the wire)\n\
         HTTP/1.1 201 Created\r\ncontent-encoding: br\r\nTransfer-Encoding: chunked\r\n\r\nhello world\n\n\
         --- TIME {CLIENT} request ID-2\n\
         HEAD /greeting HTTP/1.1\r\nHost: shop.example\r\n\r\n\
         --- TIME {SERVER} response ID-2\n\
         HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n\
         --- TIME {CLIENT} request ID-3\n\
         GET /greeting HTTP/1.1\r\nHost: shop.example\r\n\r\n\
         --- TIME {SERVER} response ID-3\n\
         HTTP/1.1 304 Not Modified\r\nContent-Length: 12\r\n\r\n"
    );
    assert_eq!(messages(&builder, ""), expected);
    // Packets of seven bytes make no difference.
    let mut small = connection();
    small.mss(7);
    small.request(&Request::new("GET", "/a", "shop.example"));
    small.response(&Response::new(200, Body::length(&b"hello"[..])));
    small.close(Peer::Server);
    let expected = format!(
        "--- TIME {CLIENT} request ID-0\nGET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n\
         --- TIME {SERVER} response ID-0 body 5\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello\n\n"
    );
    assert_eq!(messages(&small, "--workers 2"), expected);
}

/// Requests that were sent together come together; each answer names its own.
#[test]
fn pipelined() {
    let mut builder = connection();
    for path in ["/one", "/two"] {
        builder.write_request(&Request::new("GET", path, "h"));
    }
    builder.flush(Peer::Client);
    for text in ["1", "2"] {
        builder.write_response(&Response::new(200, Body::length(text.as_bytes())));
    }
    builder.flush(Peer::Server).close(Peer::Client);
    let text = messages(&builder, "");
    let lines: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("--- TIME ")).collect();
    let expected = [
        format!("{CLIENT} request ID-0"),
        format!("{CLIENT} request ID-1"),
        format!("{SERVER} response ID-0 body 1"),
        format!("{SERVER} response ID-1 body 1"),
    ];
    assert_eq!(lines, expected);
}

/// What is missing is said where it is missing.
#[test]
fn cut_and_missing() {
    let mut builder = connection();
    builder.request(&Request::new("GET", "/", "h"));
    builder
        .write(Peer::Server, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
        .flush(Peer::Server);
    builder.reset(Peer::Server);
    let text = messages(&builder, "");
    assert!(text.contains(" response ID-0 body 9 (cut off)\n"), "{text}");
    assert!(text.ends_with("\r\n\r\nonly this\n\n"), "{text}");

    let mut builder = connection();
    builder.request(&Request::new("GET", "/", "h"));
    builder.response(&Response::new(200, Body::length(vec![b'x'; 5_000])));
    let text = messages(&builder, "--body 1000");
    assert!(text.contains(" response ID-0 body 1000 (from the first 1000 of 5000)\n"), "{text}");
    let text = messages(&builder, "--body 0");
    assert!(text.contains(" response ID-0 body 0 (from the first 0 of 5000)\n"), "{text}");
    assert!(!text.contains("xxx"));

    let mut builder = connection();
    builder.request(&Request::new("GET", "/", "h"));
    builder.response(&Response::new(200, Body::length(&b"plain"[..])).header("Content-Encoding", "gzip"));
    builder.request(&Request::new("GET", "/", "h"));
    builder.response(&Response::new(200, Body::length(&b"plain"[..])).header("Content-Encoding", "snappy"));
    builder.request(&Request::new("GET", "/", "h"));
    let plain = Body::length(b"longer, and plain.".as_slice());
    builder.response(&Response::new(200, plain).header("Content-Encoding", "gzip"));
    let text = messages(&builder, "");
    assert!(
        text.contains(" response ID-0 body 0 (gzip, 5 bytes on the wire, ends too early for gzip)\n"),
        "{text}"
    );
    assert!(text.contains(" response ID-1 body 5 (not decoded, unknown coding: snappy)\n"), "{text}");
    assert!(
        text.contains(" response ID-2 body 0 (gzip, 18 bytes on the wire, does not decode as gzip)\n"),
        "{text}"
    );

    // A megabyte of nothing in a kilobyte is a bomb to whoever asked for little.
    let mut builder = connection();
    builder.request(&Request::new("GET", "/", "h"));
    let body = gzip(&vec![0; 3_000_000]);
    builder.response(&Response::new(200, Body::length(body)).header("Content-Encoding", "gzip"));
    let text = messages(&builder, "");
    assert!(
        text.contains(" response ID-0 body 1048576 (gzip, ") && text.contains("on the wire, and more)\n")
    );
}

/// Credentials are masked as they are in records, unless they are asked for.
#[test]
fn credentials() {
    let mut builder = connection();
    let request = Request::new("GET", "/a?sig=s3cret&b=1", "h").header("Authorization", "Basic s3cret");
    builder.request(&request.header("Referer", "http://joe:s3cret@h/"));
    let trailers = [("Set-Cookie", "s3cret")];
    builder.response(&Response::new(200, chunked(b"x", 1, &trailers)).header("Set-Cookie", "id=s3cret"));
    let text = messages(&builder, "");
    assert!(!text.contains("s3cret"), "{text}");
    for shown in [
        "GET /a?sig=REDACTED&b=1 HTTP/1.1\r\n",
        "Authorization: [REDACTED]\r\n",
        "Referer: http://REDACTED:REDACTED@h/\r\n",
        "\nSet-Cookie: [REDACTED]\r\n",
    ] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    assert_eq!(messages(&builder, "--no-redact").matches("s3cret").count(), 5);
}

/// In a pipe the number in the line says where a body ends, whatever is in it, and its bytes are as they were.
#[test]
fn bytes_stay_bytes() {
    let body = b"--- 2026-01-15T10:00:00.000000Z not a line of ours\n\x00\xff\x1b[31m\r\n\n".to_vec();
    let mut builder = connection();
    builder.request(&Request::new("GET", "/", "h"));
    builder.response(&Response::new(200, Body::length(body.clone())));
    builder.request(&Request::new("GET", "/2", "h"));
    let dir = Dir::new();
    dir.write("a.pcap", &builder.finish().pcap());
    let bytes = dir.gannet("http -q -o messages -r a.pcap").run().exits(0).stdout;
    let at = |wanted: &[u8]| bytes.windows(wanted.len()).position(|window| window == wanted).unwrap();
    let line = at(b" response ");
    let line_end = line + bytes[line..].iter().position(|byte| *byte == b'\n').unwrap();
    let count: usize =
        String::from_utf8_lossy(&bytes[line..line_end]).rsplit(' ').next().unwrap().parse().unwrap();
    let head_end = line_end + at(b"\r\n\r\n") - at(b"\r\n\r\n");
    let behind = &bytes[head_end..];
    let body_at = behind.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert_eq!((count, &behind[body_at..body_at + count]), (body.len(), &body[..]));
    assert!(behind[body_at + count..].starts_with(b"\n\n--- 2026-"));
}

/// Whole messages of what failed or was slow: with their exchange, when it is over, whichever way that is asked for.
#[test]
fn messages_of_chosen_exchanges() {
    let mut builder = connection();
    builder.request(&Request::new("GET", "/good", "h"));
    builder.response(&Response::new(200, Body::length(&b"fine"[..])));
    builder.request(&Request::new("POST", "/bad", "h").body(Body::length(&b"what=this"[..])));
    builder.response(&Response::new(103, Body::None).header("Link", "</a.css>"));
    let trailers = [("Checksum", "91")];
    let body = chunked(&gzip(b"no stock\n"), 7, &trailers);
    builder.response(&Response::new(503, body).header("Content-Encoding", "gzip"));
    builder.request(&Request::new("GET", "/silent", "h"));
    builder.fin(Peer::Server);
    builder.fin(Peer::Client);

    let everything = messages(&builder, "");
    let of_exchanges = messages(&builder, "--events exchange");
    // The messages are the same, but for the head of the interim response.
    let shown = |text: &str, what: &str| -> Vec<String> {
        text.split("--- TIME ").filter(|part| part.contains(what)).map(str::to_owned).collect()
    };
    for what in [" request ID-", " response ID-"] {
        assert!(!shown(&everything, what).is_empty());
        assert_eq!(shown(&everything, what), shown(&of_exchanges, what));
    }
    let order: Vec<_> = of_exchanges
        .lines()
        .filter(|line| line.starts_with("--- TIME"))
        .map(|line| line.to_owned())
        .collect();
    let kinds: Vec<_> =
        order.iter().map(|line| line.split(' ').skip(5).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        kinds,
        [
            "request ID-0",
            "response ID-0 body 4",
            "request ID-1 body 9",
            "interim ID-1 (status 103, head not kept)",
            "response ID-1 body 9 (gzip, 29 bytes on the wire)",
            "request ID-2",
            "exchange ID-2 (orphan-request: fin)",
        ]
    );
    let bad = &of_exchanges
        [of_exchanges.find("--- TIME 198.18.0.7:40007 > 198.51.100.10:80 request ID-1").unwrap()..];
    let (bad, silent) = bad.split_at(bad.find(" request ID-2").unwrap());
    let bad = &bad[..bad.rfind("--- TIME").unwrap()];
    assert!(bad.contains("\r\n\r\nno stock\n\n\n--- trailers\nChecksum: 91\r\n"), "{bad}");
    for words in [
        "--status 5xx",
        "--events exchange --status 503",
        "--where http.response.status_code>=500",
        "--status 5xx --workers 2",
    ] {
        assert_eq!(messages(&builder, words), bad, "{words}");
    }
    let silent = format!("--- TIME {CLIENT}{silent}");
    assert_eq!(messages(&builder, "--status none"), silent);
    assert_eq!(messages(&builder, "--where http.response.status_code==null --body 1k"), silent);
    assert_eq!(messages(&builder, "--slower 1h"), "");
    assert!(
        messages(&builder, "--status 503 --body 2")
            .contains(" request ID-1 body 2 (from the first 2 of 9)\n")
    );
    // Beside records of the same exchanges.
    let dir = Dir::new();
    dir.write("a.pcap", &builder.finish().pcap());
    dir.gannet("http -q -o messages -o jsonl:k -r a.pcap --events request,exchange")
        .run()
        .exits(0)
        .says("gannet: -o messages shows no responses: ");
    dir.gannet("http -o messages:m -o jsonl:j -r a.pcap --status 5xx").run().exits(0);
    assert_eq!(dir.read("j").split_inclusive(|byte| *byte == b'\n').count(), 1);
    assert_eq!(String::from_utf8_lossy(&dir.read("m")).matches(" response ").count(), 1);
}

/// Only requests, for whom answers are too much; and a mistake is named.
#[test]
fn a_choice_of_messages() {
    let mut builder = connection();
    builder.request(&Request::new("GET", "/", "h"));
    builder.response(&Response::new(200, Body::length(&b"x"[..])));
    let text = messages(&builder, "--events request");
    assert!(text.contains(" request ID-0\n") && !text.contains("response"), "{text}");
    let dir = Dir::new();
    for (words, said) in [
        (
            "-o messages --status 5xx --events request",
            "--status is about whole exchanges, and an output wants requests or responses before they are: --events \
             exchange reports them when they are over",
        ),
        ("--events answers", "'answers' is no event; there are exchange, request, response and interim"),
        ("--pending 5", "a time has a unit, as in 5s: ms, s, m, h or d"),
        ("--body much", "a size is a number with"),
    ] {
        dir.gannet(&format!("http -r a.pcap {words}")).run().exits(2).says(said);
    }
}
