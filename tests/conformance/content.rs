//! What is in bodies.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use super::case::{Case, Client, Talk};

const HELLO: &[u8] = b"hello world";
/// `hello world` as brotli and zstd make it.
const BROTLI: &[u8] = b"\x0b\x05\x80hello world\x03";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd\x20\x0b\x59\0\0hello world";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Bytes that no coding makes shorter by much.
fn noise(len: usize) -> Vec<u8> {
    let mut random = gannet_testkit::random::Random::new(1);
    (0..len).map(|_| b'a' + random.below(26) as u8).collect()
}

/// An answer of this coding, and a plain exchange behind it.
fn coded(t: &mut Talk, coding: &str, body: &[u8]) {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    t.get("/a").server([head.as_bytes(), body].concat()).wait_ms(300).get("/b").ok().close(Client);
}

/// One of the codings: what it makes of `hello world` is that again.
fn decoded(
    name: &'static str,
    trap: &'static str,
    script: fn(&mut Talk),
    records: &'static [&'static str],
) -> Case {
    Case::talk(name, &["decoding", "sizes"], trap, script, records)
        .words("--body 64KiB")
        .also(0, "/http/response/body/decoded_size", 11)
        .also(0, "/http/response/body/decoding", "whole")
        .also(0, "/http/response/body/content", "hello world")
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        decoded("gzip", "`Content-Encoding: gzip`", |t| coded(t, "gzip", &gzip(HELLO)), &["GET h/a 0 > 200 31 complete high", "GET h/b 0 > 200 5 complete high"])
        .both("tshark shows the decoded length; Gannet both, and here that on the wire."),
        decoded("deflate", "`deflate` as it is meant: with zlib's header", |t| coded(t, "deflate", &zlib(HELLO)), &["GET h/a 0 > 200 19 complete high", "GET h/b 0 > 200 5 complete high"])
        .both("tshark shows the decoded length; Gannet both, and here that on the wire."),
        decoded("deflate-raw", "`deflate` as some send it: without one", |t| coded(t, "deflate", &deflate(HELLO)), &["GET h/a 0 > 200 13 complete high", "GET h/b 0 > 200 5 complete high"])
        .both("tshark shows the decoded length; Gannet both, and here that on the wire."),
        decoded("brotli", "`br`", |t| coded(t, "br", BROTLI), &["GET h/a 0 > 200 15 complete high", "GET h/b 0 > 200 5 complete high"])
        .both("tshark shows the decoded length; Gannet both, and here that on the wire."),
        decoded("zstd", "`zstd`", |t| coded(t, "zstd", ZSTD), &["GET h/a 0 > 200 20 complete high", "GET h/b 0 > 200 5 complete high"])
        .gannet("this tshark does not decode zstd, and shows no length of what it does not decode."),
        decoded(
            "codings-stacked",
            "`deflate, GZIP`: gzip is the outer one",
            |t| coded(t, "deflate, GZIP", &gzip(&zlib(HELLO))),
            &["GET h/a 0 > 200 40 complete high", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("tshark knows one coding at a time."),
        decoded(
            "gzip-in-chunks",
            "gzip whose bytes lie in several chunks",
            |t| {
                let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n";
                let mut answer = head.as_bytes().to_vec();
                for piece in gzip(HELLO).chunks(7) {
                    answer.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                    answer.extend_from_slice(piece);
                    answer.extend_from_slice(b"\r\n");
                }
                answer.extend_from_slice(b"0\r\n\r\n");
                t.get("/a").server(answer).get("/b").ok().close(Client);
            },
            &["GET h/a 0 > 200 31 complete high", "GET h/b 0 > 200 5 complete high"],
        )
        .both("tshark shows the decoded length; Gannet both, and here that on the wire."),
        decoded(
            "gzip-in-a-request",
            "a request with a coded body",
            |t| {
                let body = gzip(HELLO);
                let head = format!(
                    "POST /a HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world";
                t.client([head.as_bytes(), &body].concat()).server(answer).close(Client);
            },
            &["POST h/a 31 > 200 11 complete high"],
        )
        .both("tshark shows the decoded length; Gannet both, and here that on the wire.")
        .also(0, "/http/request/body/content", "hello world"),
        Case::talk(
            "unknown-coding",
            &["decoding"],
            "a coding that nobody knows: the bytes as they are",
            |t| coded(t, "x-secret", HELLO),
            &["GET h/a 0 > 200 11 complete high", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("tshark shows no length of what it does not decode.")
        .words("--body 64KiB")
        .also(0, "/http/response/body/decoding", "unknown-coding")
        .also(0, "/http/response/body/content", "hello world"),
        Case::talk(
            "not-the-coding-it-says",
            &["decoding"],
            "plain text that says gzip",
            |t| coded(t, "gzip", HELLO),
            &["GET h/a 0 > 200 11 complete high", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("tshark shows no length of what it does not decode.")
        .words("--body 64KiB")
        .also(0, "/http/response/body/decoding", "corrupt")
        .also(0, "/http/response/body/truncated", true),
        Case::talk(
            "more-than-is-kept",
            &["decoding-bounds", "sizes"],
            "--body 10 and a body of 11 bytes",
            |t| {
                t.get("/a").server("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world").get("/b").ok().close(Client);
            },
            &["GET h/a 0 > 200 11 complete high", "GET h/b 0 > 200 5 complete high"],
        )
        .words("--body 10")
        .also(0, "/http/response/body/truncated", true)
        .also(0, "/http/response/body/content", "hello worl"),
        Case::talk(
            "decompression-bomb",
            &["decoding-bounds"],
            "gzip in gzip: 100 MB of zeros in some hundred bytes",
            |t| coded(t, "gzip, gzip", &gzip(&gzip(&vec![0; 100_000_000]))),
            &["GET h/a 0 > 200 313 complete high", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("tshark knows one coding at a time.")
        .words("--body 64KiB")
        .also(0, "/http/response/body/truncated", true),
        Case::damaged(
            "gap-in-gzip",
            &["gap-in-coding", "gap-in-body"],
            "a hole in a compressed body: decoding ends there, framing goes on",
            |t| coded(t, "gzip", &gzip(&noise(6_000))),
            |c| {
                c.drop_packet(6);
            },
            &["GET h/a 0 > 200 3776 complete high gap=1448", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("tshark puts nothing together across a hole: the answer is not shown.")
        .words("--body 64KiB")
        .also(0, "/http/response/body/decoding", "truncated")
        .also(0, "/http/response/body/truncated", true),
        Case::talk(
            "bytes-that-are-not-utf-8",
            &["raw-bytes"],
            "Latin-1, control characters and U+FFFD itself: a byte that is no UTF-8 is U+FFFD and its two digits",
            |t| {
                let body = b"caf\xe9 \xff\0\"\\\n \xef\xbf\xbd";
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=latin1\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                t.get("/a").server([head.as_bytes(), body].concat()).close(Client);
            },
            &["GET h/a 0 > 200 14 complete high"],
        )
        .words("--body 64KiB")
        .also(0, "/http/response/body/content", "caf\u{fffd}E9 \u{fffd}FF\0\"\\\n \u{fffd}EF\u{fffd}BF\u{fffd}BD"),
        Case::talk(
            "one-range",
            &["ranges"],
            "206 with Content-Range",
            |t| {
                t.client("GET /a HTTP/1.1\r\nHost: h\r\nRange: bytes=2-4\r\n\r\n");
                t.server("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-4/10\r\nContent-Length: 3\r\n\r\ncde").close(Client);
            },
            &["GET h/a 0 > 206 3 complete high"],
        )
        .words("--header content-range")
        .also(0, "/http/response/header/content-range/0", "bytes 2-4/10"),
        Case::talk(
            "several-ranges",
            &["ranges"],
            "multipart/byteranges: each part has a Content-Range of its own",
            |t| {
                let part = |range: &str, text: &str| format!("--b\r\nContent-Range: bytes {range}/10\r\n\r\n{text}\r\n");
                let body = [part("0-1", "ab"), part("4-5", "ef"), "--b--\r\n".into()].concat();
                t.client("GET /a HTTP/1.1\r\nHost: h\r\nRange: bytes=0-1,4-5\r\n\r\n");
                t.server(format!(
                    "HTTP/1.1 206 Partial Content\r\nContent-Type: multipart/byteranges; boundary=b\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                ));
                t.close(Client);
            },
            &["GET h/a 0 > 206 87 complete high"],
        )
        .also(0, "/http/response/header/content-type/0", "multipart/byteranges; boundary=b"),
    ]
}
