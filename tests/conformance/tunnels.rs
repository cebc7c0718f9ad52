//! CONNECT and Upgrade.

use super::case::{Case, Client, OK, Server, answer, get};

const CONNECT: &str = "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n";
const ESTABLISHED: &str = "HTTP/1.1 200 Connection established\r\n\r\n";
const WEBSOCKET: &str = "GET /chat HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const H2C: &str = "GET /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n";

/// A ClientHello in one record, for this name.
fn hello(name: &str) -> Vec<u8> {
    let u16s = |len: usize| (len as u16).to_be_bytes();
    let list = [&[0], &u16s(name.len())[..], name.as_bytes()].concat();
    let server_name = [&u16s(list.len())[..], &list].concat();
    let extensions = [&[0, 0][..], &u16s(server_name.len()), &server_name].concat();
    let body =
        [&[3, 3][..], &[9; 32], &[0, 0, 2, 0x13, 1, 1, 0], &u16s(extensions.len()), &extensions].concat();
    let handshake = [&[1, 0][..], &u16s(body.len()), &body].concat();
    [&[0x16, 3, 1][..], &u16s(handshake.len()), &handshake].concat()
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::talk(
            "connect-to-tls",
            &["connect"],
            "200, and TLS in both directions",
            |t| {
                t.client(CONNECT)
                    .server(ESTABLISHED)
                    .client(hello("a.example"))
                    .server([0x16, 3, 3, 0, 2, 2, 0]);
                t.wait_ms(2_000).client([0x17, 3, 3, 0, 2, 1, 2]).close(Client);
            },
            &["CONNECT a.example 0 > 200 0 complete high switched=tls,a.example,77+7"],
        )
        .also(0, "/url/original", "a.example:443"),
        Case::talk(
            "connect-answered-with-204",
            &["connect", "no-body"],
            "204, not 200, with a Content-Length; something else in the tunnel",
            |t| {
                t.client(CONNECT)
                    .server("HTTP/1.1 204 Fine\r\nContent-Length: 7\r\n\r\nSSH-2.0-x\r\n")
                    .client("SSH-2.0-y\r\n");
                t.close(Client);
            },
            &["CONNECT a.example 0 > 204 0 complete high switched=other,11+11 notes=response-length-without-body"],
        )
        .gannet("what follows a 2xx to CONNECT is the tunnel's, whatever the length says (RFC 9110, section 9.3.6)."),
        Case::talk(
            "socks-4",
            &["preludes"],
            "through a SOCKS 4a proxy",
            |t| {
                t.client(b"\x04\x01\0P\0\0\0\x01me\0a.example\0").server(b"\0\x5a\0\0\0\0\0\0");
                t.get("/a").ok().get("/b").ok().close(Client);
            },
            &["GET h/a 0 > 200 5 complete high", "GET h/b 0 > 200 5 complete high"],
        ),
        Case::talk(
            "socks-5",
            &["preludes"],
            "through a SOCKS 5 proxy that wants a password",
            |t| {
                t.client(b"\x05\x02\0\x02").server(b"\x05\x02").client(b"\x01\x04user\x06secret").server(b"\x01\0");
                t.client(b"\x05\x01\0\x03\x09a.example\0P").server(b"\x05\0\0\x01\x0a\0\0\x01\x04\x38");
                t.get("/a").ok().get("/b").ok().close(Client);
            },
            &["GET h/a 0 > 200 5 complete high", "GET h/b 0 > 200 5 complete high"],
        ),
        Case::talk(
            "proxy-line",
            &["preludes"],
            "behind a balancer that writes the PROXY protocol's line in front of the request",
            |t| {
                let line = "PROXY TCP4 192.0.2.1 192.0.2.2 50000 80\r\n";
                t.client([line, &get("/a")].concat()).ok().get("/b").ok().close(Client);
            },
            &["GET h/a 0 > 200 5 complete high", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("this tshark does not know the line of the PROXY protocol, and takes the request for data."),
        Case::talk(
            "proxy-header",
            &["preludes"],
            "the same with the header of version 2, in a segment of its own",
            |t| {
                t.client(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\xc3\x50\0P");
                t.get("/a").ok().get("/b").ok().close(Client);
            },
            &["GET h/a 0 > 200 5 complete high", "GET h/b 0 > 200 5 complete high"],
        ),
        Case::talk(
            "connect-refused",
            &["connect"],
            "407 with a body: the connection stays HTTP/1",
            |t| {
                t.client(CONNECT)
                    .server(answer(407, "who?"))
                    .client(CONNECT)
                    .server(answer(403, "no"))
                    .get("/b")
                    .ok()
                    .close(Client);
            },
            &[
                "CONNECT a.example 0 > 407 4 complete high",
                "CONNECT a.example 0 > 403 2 complete high",
                "GET h/b 0 > 200 5 complete high",
            ],
        ),
        Case::talk(
            "connect-and-bytes-before-the-answer",
            &["connect"],
            "the client does not wait for 200: its ClientHello comes before it",
            |t| {
                t.client(CONNECT)
                    .client(hello("a.example"))
                    .server(ESTABLISHED)
                    .server([0x16, 3, 3, 0, 2, 2, 0])
                    .close(Client);
            },
            &["CONNECT a.example 0 > 200 0 complete high switched=tls,a.example,70+7"],
        ),
        Case::talk(
            "connect-to-http",
            &["connect"],
            "a tunnel in which HTTP/1 is spoken: its exchanges, and that of the tunnel when it ends",
            |t| {
                t.client(CONNECT).server(ESTABLISHED).get("/a").ok().close(Client);
            },
            &["GET h/a 0 > 200 5 complete high", "CONNECT a.example 0 > 200 0 complete high switched=http1,28+43"],
        )
        .gannet("tshark shows the request in the tunnel and not its answer."),
        Case::talk(
            "websocket",
            &["upgrade", "websocket"],
            "101 with the first frame in its segment; text, ping, pong, close",
            |t| {
                t.client(WEBSOCKET).server([SWITCH.as_bytes(), b"\x81\x05hel"].concat()).server("lo");
                t.client(b"\x81\x83\0\0\0\0abc\x89\x80\0\0\0\0").server(b"\x8a\0").wait_ms(30_000);
                t.server(b"\x88\x02\x03\xe8").client(b"\x88\x82\0\0\0\0\x03\xe8").close(Server);
            },
            &["GET h/chat 0 > 101 0 complete high switched=websocket,23+13"],
        )
        .also(0, "/gannet/websocket/client/frames", 3)
        .also(0, "/gannet/websocket/client/close_code", 1_000)
        .also(0, "/gannet/websocket/server/payload_bytes", 7)
        .also(0, "/gannet/websocket/server/pong", 1),
        Case::talk(
            "switch-that-nobody-asked-for",
            &["upgrade"],
            "101 to a plain request; the connection goes on in HTTP/1",
            |t| {
                t.get("/a")
                    .server("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")
                    .get("/b")
                    .ok()
                    .close(Client);
            },
            &["GET h/a 0 > 101 0 complete high notes=response-unasked-switch", "GET h/b 0 > 200 5 complete high"],
        )
        .gannet("the client did not ask for a switch, and both go on in HTTP/1; tshark lets the connection go."),
        Case::talk(
            "switch-to-something-else",
            &["upgrade"],
            "`Upgrade: tn3270`, 101, and bytes of something else",
            |t| {
                t.client("GET /a HTTP/1.1\r\nHost: h\r\nUpgrade: tn3270\r\nConnection: Upgrade\r\n\r\n");
                t.server(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: tn3270\r\n\r\n\xff\xfb\x19")
                    .client(b"\xff\xfd\x19")
                    .close(Client);
            },
            &["GET h/a 0 > 101 0 complete high switched=other,3+3"],
        ),
        Case::talk(
            "upgrade-ignored",
            &["upgrade-ignored"],
            "`Upgrade: websocket, h2c` and a plain 200; another request",
            |t| {
                t.client(WEBSOCKET).ok().client(H2C).ok().get("/b").ok().close(Client);
            },
            &[
                "GET h/chat 0 > 200 5 complete high",
                "GET h/a 0 > 200 5 complete high",
                "GET h/b 0 > 200 5 complete high",
            ],
        ),
        Case::talk(
            "upgrade-required",
            &["upgrade-ignored"],
            "426 with an Upgrade field: nothing is switched",
            |t| {
                t.get("/a")
                    .server("HTTP/1.1 426 Upgrade Required\r\nUpgrade: TLS/1.2\r\nContent-Length: 0\r\n\r\n");
                t.get("/b").ok().close(Client);
            },
            &["GET h/a 0 > 426 0 complete high", "GET h/b 0 > 200 5 complete high"],
        ),
        Case::talk(
            "h2c-upgrade",
            &["h2c", "upgrade"],
            "101, then the frames of HTTP/2: stream 1 is the request that asked",
            |t| {
                let settings = b"\0\0\0\x04\0\0\0\0\0";
                t.client(H2C).server(
                    [
                        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
                            .as_slice(),
                        settings,
                    ]
                    .concat(),
                );
                t.client([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), settings].concat());
                t.server(b"\0\0\x01\x01\x05\0\0\0\x01\x89").close(Client);
            },
            &["GET h/a 0 > 101 0 complete high switched=http2,33+19"],
        ),
        Case::talk(
            "request-behind-an-upgrade",
            &["upgrade", "pipelining"],
            "a request pipelined behind one that asks for a switch that is granted",
            |t| {
                t.client([WEBSOCKET, &get("/b")].concat()).server([SWITCH, OK].concat()).close(Client);
            },
            &["GET h/b 0 > - orphan-request (switched) high", "GET h/chat 0 > 101 0 complete high switched=websocket,0+43"],
        )
        .gannet("the switch answers the first request; the second one is not answered in HTTP/1."),
    ]
}
