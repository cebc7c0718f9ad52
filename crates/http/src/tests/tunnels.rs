//! Connections that become something else.

use gannet_flow::{CloseReason, Handler, Peer};
use gannet_packet::Timestamp;

use super::tls::hello;
use crate::testing::{CLIENT, Lane, SERVER, lines};
use crate::{Confidence, Exchange, Oddities, Opcode, Reason, Tunnel, TunnelProtocol};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const ASK: &str = "GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n";
const CONNECT: &str = "CONNECT a:443 HTTP/1.1\r\n\r\n";

fn tunnel(exchange: &Exchange) -> &Tunnel {
    exchange.tunnel.as_ref().unwrap()
}

#[test]
fn websocket_is_one_long_exchange_with_its_frames_counted() {
    let mut lane = Lane::new();
    // The first frame comes with the answer.
    lane.client(ASK).server([SWITCH.as_bytes(), b"\x81\x05hel"].concat()).server("lo");
    assert_eq!(lane.taken().len(), 0, "it is not over");
    assert!(lane.wanted());
    lane.client(b"\x82\x83\0\0\0\0abc\x89\x80\0\0\0\0").server(b"\x8a\0\x88\x02\x03\xe8");
    lane.gap(CLIENT, 7);
    lane.client(b"\x81\x80\0\0\0\0");
    lane.fin(SERVER).fin(CLIENT).close(CloseReason::Finished);
    let exchanges = lane.taken();
    assert_eq!(lines(&exchanges), ["GET /chat 0 > 101 0 complete"]);
    assert_eq!(exchanges[0].reason, Reason::Framing);
    // Its lifetime is in none of its durations.
    assert_eq!((exchanges[0].timing.receive, exchanges[0].timing.total), (Some(0), Some(100)));
    let tunnel = tunnel(&exchanges[0]);
    assert_eq!((tunnel.protocol, tunnel.reason), (TunnelProtocol::WebSocket, Reason::Fin));
    assert_eq!(tunnel.first, Timestamp(200));
    let [client, server] = tunnel.websocket.unwrap();
    assert_eq!((client[Opcode::Binary], client[Opcode::Ping], client.frames()), (1, 1, 2));
    assert!(client.lost && !server.lost, "the hole was between frames");
    assert_eq!((server[Opcode::Text], server[Opcode::Pong], server[Opcode::Close]), (1, 1, 1));
    assert_eq!((server.payload_bytes, server.messages, server.close_code), (7, 1, Some(1000)));
    assert_eq!((tunnel.client_bytes, tunnel.server_bytes), (21, 13));
    assert_eq!(lane.http.counters().tunnel_bytes_delivered, 34);
}

#[test]
fn bytes_that_nobody_looks_at_are_counted() {
    let mut lane = Lane::new();
    lane.client(CONNECT).server("HTTP/1.1 200 Established\r\n\r\n").client("SSH-2.0-x\r\n");
    assert!(!lane.wanted(), "it is known, and no use");
    let sent = lane.sent;
    lane.flow.sample_stream(Peer::Originator, |stream| stream.bytes = sent[0] + 1_000);
    lane.flow.sample_stream(Peer::Responder, |stream| {
        (stream.bytes, stream.retransmitted_bytes) = (sent[1] + 50, 40);
    });
    lane.close(CloseReason::Reset { by: SERVER });
    let exchanges = lane.taken();
    assert_eq!(lines(&exchanges), ["CONNECT a:443 0 > 200 0 complete"]);
    let tunnel = tunnel(&exchanges[0]);
    assert_eq!((tunnel.client_bytes, tunnel.server_bytes), (1_011, 10));
    assert_eq!((tunnel.protocol, tunnel.reason), (TunnelProtocol::Other, Reason::ServerReset));
    let counters = lane.http.counters();
    assert_eq!((counters.tunnels, counters.tunnel_bytes, counters.http1), (1, 1_021, 1));
}

#[test]
fn what_is_in_a_tunnel_of_connect() {
    let hello = hello("shop.example");
    for (client, protocol, name) in [
        (&hello[..], TunnelProtocol::Tls, Some("shop.example")),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", TunnelProtocol::Http2, None),
        (b"GET / HTTP/1.1\r\n\r\n", TunnelProtocol::Http1, None),
        (b"SSH-2.0-OpenSSH_9\r\n", TunnelProtocol::Other, None),
        (b"GE", TunnelProtocol::Unknown, None),
        (b"\x16\x03\x01\x01\x00broken\r\n", TunnelProtocol::Tls, None),
    ] {
        for size in [1, 7, 1_000] {
            let mut lane = Lane::new();
            lane.client(CONNECT).server("HTTP/1.1 200 OK\r\n\r\n");
            for piece in client.chunks(size) {
                lane.client(piece);
            }
            lane.close(CloseReason::EndOfInput);
            let exchanges = lane.taken();
            // What was in it is over first.
            let tunnel = tunnel(exchanges.last().unwrap());
            assert_eq!((tunnel.protocol, tunnel.server_name.as_deref()), (protocol, name), "{size}");
            assert_eq!(exchanges.len(), 1 + usize::from(protocol == TunnelProtocol::Http1));
        }
    }
    // Refused: it stays HTTP/1.
    let mut lane = Lane::new();
    lane.client(CONNECT).server("HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno").client(GET).server(OK);
    let exchanges = lane.finish();
    assert_eq!(lines(&exchanges), ["CONNECT a:443 0 > 407 2 complete", "GET / 0 > 200 5 complete"]);
    assert!(exchanges.iter().all(|exchange| exchange.tunnel.is_none()));
}

/// A proxy's client that speaks plainly: its requests are further exchanges of the connection.
/// The client has had an answer that the capture has not, and asks for something else: it was refused.
#[test]
fn a_refusal_that_is_missing() {
    let refusal = "HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno".len() as u64;
    for (second, line) in [(GET, "GET / 0 > 200 5 complete"), (CONNECT, "CONNECT a:443 0 > 200 0 complete")] {
        let mut lane = Lane::new();
        lane.client(CONNECT).data(CLIENT, second.as_bytes(), Some(refusal)).gap(SERVER, refusal);
        lane.server(OK);
        let exchanges = lane.finish();
        assert_eq!(lines(&exchanges), ["CONNECT a:443 0 > - gap", line]);
    }
}

#[test]
fn http_in_a_tunnel_of_connect() {
    let established = "HTTP/1.1 200 Established\r\n\r\n";
    let post = "POST /in HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
    for size in [1, 5, 1_000] {
        let mut lane = Lane::new();
        lane.client(CONNECT).server(established);
        for (client, server) in [(GET, OK), (post, OK), (CONNECT, established), (GET, OK)] {
            for piece in client.as_bytes().chunks(size) {
                lane.client(piece);
            }
            for piece in server.as_bytes().chunks(size) {
                lane.server(piece);
            }
        }
        assert!(lane.wanted());
        lane.fin(CLIENT).fin(SERVER).close(CloseReason::Finished);
        let exchanges = lane.taken();
        assert_eq!(
            lines(&exchanges),
            [
                "GET / 0 > 200 5 complete",
                "POST /in 3 > 200 5 complete",
                "GET / 0 > 200 5 complete",
                "CONNECT a:443 0 > 200 0 complete",
                "CONNECT a:443 0 > 200 0 complete",
            ],
            "in pieces of {size}"
        );
        let indexes: Vec<_> = exchanges.iter().map(|exchange| exchange.index).collect();
        assert_eq!(indexes, [1, 2, 4, 3, 0]);
        let inner = (2 * GET.len() + post.len() + CONNECT.len()) as u64;
        let outermost = tunnel(&exchanges[4]);
        assert_eq!((outermost.protocol, outermost.client_bytes), (TunnelProtocol::Http1, inner));
        assert_eq!(tunnel(&exchanges[3]).client_bytes, GET.len() as u64);
        let counters = *lane.http.counters();
        assert_eq!((counters.http1, counters.tunnels, counters.tunnel_bytes), (1, 2, 0));
        assert_eq!((counters.message_bytes, counters.check().len()), (counters.bytes, 0));
    }
    // A reset in it is its exchange's.
    let mut lane = Lane::new();
    lane.client(CONNECT).server(established).client(GET).close(CloseReason::Reset { by: SERVER });
    assert_eq!(lines(&lane.taken())[0], "GET / 0 > - aborted");
    // So is a hole.
    let mut lane = Lane::new();
    lane.client(CONNECT).server(established).client(GET).server(&OK[..20]).gap(SERVER, 30);
    assert_eq!(lines(&lane.finish())[0], "GET / 0 > 200 0 gap");
}

/// Nobody goes down for ever.
#[test]
fn tunnels_in_tunnels_have_a_bound() {
    let mut lane = Lane::new();
    for _ in 0..1_000 {
        lane.client(CONNECT).server("HTTP/1.1 200 OK\r\n\r\n");
    }
    let exchanges = lane.finish();
    assert_eq!(exchanges.len(), 3);
    assert_eq!(lane.http.counters().check(), []);
}

#[test]
fn h2c_counts_as_http2() {
    let mut lane = Lane::new();
    lane.client("GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n")
        .server("HTTP/1.1 101 S\r\nUpgrade: h2c\r\n\r\n\0\0");
    lane.close(CloseReason::Finished);
    assert_eq!((lane.http.counters().http1, lane.http.counters().http2), (0, 1));
    assert_eq!(tunnel(&lane.taken()[0]).protocol, TunnelProtocol::Http2);
}

#[test]
fn a_switch_that_nobody_asked_for_is_none() {
    let mut lane = Lane::new();
    lane.client(GET).server("HTTP/1.1 101 Switching\r\n\r\n").client(GET).server(OK);
    let exchanges = lane.finish();
    assert_eq!(lines(&exchanges), ["GET / 0 > 101 0 complete", "GET / 0 > 200 5 complete"]);
    assert!(exchanges[0].response.as_ref().unwrap().oddities.has(Oddities::UNASKED_SWITCH));
    assert!(exchanges[0].tunnel.is_none());
}

#[test]
fn requests_behind_a_switch_have_no_answer() {
    let mut lane = Lane::new();
    lane.client([ASK, GET].concat()).server(SWITCH);
    let exchanges = lane.finish();
    assert_eq!(lines(&exchanges), ["GET / 0 > - orphan-request", "GET /chat 0 > 101 0 complete"]);
    assert_eq!((exchanges[0].reason, exchanges[0].index, exchanges[1].index), (Reason::Switched, 1, 0));
}

/// The beginning of a ClientHello.
const HELLO: &[u8] = b"\x16\x03\x01\x00\x05\x01\0\0\x01\0";

#[test]
fn a_client_that_does_not_wait_for_its_tunnel() {
    // In the segment of its CONNECT, and behind it.
    for split in [0, 3, HELLO.len()] {
        let mut lane = Lane::new();
        lane.client([CONNECT.as_bytes(), &HELLO[..split]].concat());
        if split < HELLO.len() {
            lane.client(&HELLO[split..]);
        }
        lane.server("HTTP/1.1 200 OK\r\n\r\n").close(CloseReason::Finished);
        let exchanges = lane.taken();
        assert_eq!(lines(&exchanges), ["CONNECT a:443 0 > 200 0 complete"], "{split}");
        let tunnel = tunnel(&exchanges[0]);
        assert_eq!((tunnel.protocol, tunnel.client_bytes), (TunnelProtocol::Tls, HELLO.len() as u64));
        assert_eq!((lane.http.counters().skipped_bytes, lane.http.counters().tunnels), (0, 1));
    }
    // HTTP in it, and the first answer in the segment of the proxy's.
    let established = "HTTP/1.1 200 OK\r\n\r\n";
    for together in [true, false] {
        let mut lane = Lane::new();
        lane.client([CONNECT, GET].concat());
        if together {
            lane.server([established, OK].concat());
        } else {
            lane.server(established).server(OK);
        }
        lane.client(GET).server(OK);
        let get = "GET / 0 > 200 5 complete";
        assert_eq!(lines(&lane.finish()), [get, get, "CONNECT a:443 0 > 200 0 complete"]);
        assert_eq!((lane.http.counters().skipped_bytes, lane.http.counters().tunnel_bytes), (0, 0));
    }
}

#[test]
fn a_tunnel_that_is_refused() {
    let refused = "HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno";
    let mut lane = Lane::new();
    lane.client([CONNECT, GET].concat()).client(CONNECT).client(GET);
    lane.server(refused).server(OK).server(refused).server(OK);
    let get = "GET / 0 > 200 5 complete";
    let connect = "CONNECT a:443 0 > 407 2 complete";
    assert_eq!(lines(&lane.finish()), [connect, get, connect, get]);
    // Never answered: what is behind it was no request.
    let mut lane = Lane::new();
    lane.client(CONNECT).client(HELLO);
    assert_eq!(lines(&lane.finish()), ["CONNECT a:443 0 > - orphan-request"]);
    assert_eq!(lane.http.counters().skipped_bytes, HELLO.len() as u64);
    // A hole in it: nobody knows what is behind that.
    let mut lane = Lane::new();
    lane.client(CONNECT).client(HELLO).gap(CLIENT, 10).server("HTTP/1.1 200 OK\r\n\r\n").client("more");
    lane.close(CloseReason::Finished);
    let exchanges = lane.taken();
    assert_eq!(tunnel(&exchanges[0]).client_bytes, 4);
}

#[test]
fn what_is_sent_ahead_of_a_tunnel_has_a_bound() {
    for status in [200, 407] {
        let mut lane = Lane::new();
        lane.client(CONNECT).client(HELLO);
        for _ in 0..1_000 {
            lane.client([b'x'; 1_000]);
            assert!(lane.http.memory() < 64 << 10, "{}", lane.http.memory());
        }
        lane.server(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"));
        lane.close(CloseReason::Finished);
        let exchanges = lane.taken();
        assert_eq!(lines(&exchanges), [format!("CONNECT a:443 0 > {status} 0 complete")]);
        let counters = lane.http.counters();
        let all = HELLO.len() as u64 + 1_000_000;
        let found = exchanges[0].tunnel.as_ref().map(|tunnel| (tunnel.protocol, tunnel.client_bytes));
        if status == 200 {
            assert_eq!(found, Some((TunnelProtocol::Tls, all)));
            assert_eq!((counters.tunnel_bytes, counters.skipped_bytes), (all, 0));
        } else {
            assert_eq!((found, counters.skipped_bytes), (None, all));
        }
    }
}

/// Found by fuzzing: the answer was captured before the end of the request that asks to switch, and what shared the
/// segment with that end was read as HTTP/1.
#[test]
fn what_follows_the_request_of_an_early_switch_is_the_next_protocol() {
    for together in [true, false] {
        let mut lane = Lane::new();
        lane.data(SERVER, SWITCH.as_bytes(), Some(ASK.len() as u64));
        let frame = b"\x81\x80\0\0\0\0";
        if together {
            lane.data(CLIENT, &[ASK.as_bytes(), frame].concat(), Some(0));
        } else {
            lane.data(CLIENT, ASK.as_bytes(), Some(0)).client(frame);
        }
        let exchanges = lane.finish();
        assert_eq!(lines(&exchanges), ["GET /chat 0 > 101 0 complete"], "{together}");
        assert_eq!(tunnel(&exchanges[0]).websocket.unwrap()[0].frames(), 1);
    }
}

/// The handshake with a proxy stands in front of what goes through it, in whatever pieces both come.
#[test]
fn http_behind_socks_and_the_proxy_protocol() {
    let cases: [[&[&[u8]]; 2]; 4] = [
        [&[b"\x04\x01\0P\x5d\xb8\xd8\x77\0"], &[b"\0\x5a\0\0\0\0\0\0"]],
        [
            &[b"\x05\x02\0\x02", b"\x01\x04user\x06secret", b"\x05\x01\0\x03\x09a.example\0P"],
            &[b"\x05\x02", b"\x01\0", b"\x05\0\0\x01\x0a\0\0\x01\x04\x38"],
        ],
        [&[b"PROXY TCP4 192.0.2.1 192.0.2.2 50000 80\r\n"], &[]],
        [&[b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\xc3\x50\0P"], &[]],
    ];
    let (get, ok) =
        ("GET /a HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    for [asked, answered] in cases {
        for size in [1, 2, 7, 1_000] {
            let mut lane = Lane::new();
            for turn in 0..asked.len().max(answered.len()) {
                for piece in asked.get(turn).into_iter().flat_map(|bytes| bytes.chunks(size)) {
                    lane.client(piece);
                }
                for piece in answered.get(turn).into_iter().flat_map(|bytes| bytes.chunks(size)) {
                    lane.server(piece);
                }
            }
            for _ in 0..2 {
                for piece in get.as_bytes().chunks(size) {
                    lane.client(piece);
                }
                for piece in ok.as_bytes().chunks(size) {
                    lane.server(piece);
                }
            }
            let exchanges = lane.finish();
            let case = format!("{} in {size}", asked[0].escape_ascii());
            assert_eq!(lines(&exchanges), ["GET /a 0 > 200 5 complete"; 2], "{case}");
            assert!(exchanges.iter().all(|exchange| exchange.confidence == Confidence::High), "{case}");
            let prelude: usize = asked.iter().chain(answered).map(|bytes| bytes.len()).sum();
            let counters = lane.http.counters();
            assert_eq!(
                (counters.http1, counters.other, counters.skipped_bytes),
                (1, 0, prelude as u64),
                "{case}"
            );
        }
        // The request in one piece with what stands before it.
        let mut lane = Lane::new();
        let together = [&asked.concat()[..], get.as_bytes()].concat();
        if answered.is_empty() {
            assert_eq!(lines(&lane.client(together).server(ok).finish()), ["GET /a 0 > 200 5 complete"]);
        }
    }
}

#[test]
fn a_refusing_proxy_and_what_only_looks_like_one() {
    for (asked, answered) in [
        (&b"\x05\x01\0"[..], &b"\x05\xff"[..]),
        (b"\x04\x01\0P\x5d\xb8\xd8\x77\0", b"\0\x5b\0\0\0\0\0\0"),
        (b"\x05\0\x0b\x03\x10\0\0\0", b"\x05\0\x0c\x03"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 50000 25\r\n", b"220 ready\r\n"),
    ] {
        let mut lane = Lane::new();
        assert_eq!(lines(&lane.client(asked).server(answered).finish()), [""; 0], "{}", asked.escape_ascii());
        assert_eq!(lane.http.counters().other, 1, "{}", asked.escape_ascii());
    }
}
