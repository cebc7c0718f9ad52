//! What is in bodies.

use super::case::{Case, Client};

pub(super) fn cases() -> Vec<Case> {
    vec![
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
