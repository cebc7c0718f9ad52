//! TLS where HTTP may be.

use crate::testing::{Lane, lines};

/// A client that speaks TLS to a server of plain HTTP: the refusal was not looked at, as everything behind a greeting.
#[test]
fn the_refusal_of_a_tls_greeting_is_reported() {
    let hello = hello("shop.example");
    let refusal = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    for at in 0..hello.len() {
        let (first, rest) = hello.split_at(at);
        let mut lane = Lane::new();
        for part in [first, rest].into_iter().filter(|part| !part.is_empty()) {
            lane.client(part);
        }
        let exchanges = lane.server(refusal).finish();
        assert_eq!(lines(&exchanges), ["- > 400 0 orphan-response"], "cut at {at}");
        let counters = *lane.http.counters();
        assert_eq!((counters.http1, counters.tls, counters.check().len()), (1, 0, 0));
        assert_eq!(counters.skipped_bytes, hello.len() as u64, "cut at {at}");
    }
    // The refusal comes in pieces.
    let mut lane = Lane::new();
    lane.client(&hello);
    for piece in refusal.as_bytes().chunks(3) {
        lane.server(piece);
    }
    assert_eq!(lines(&lane.finish()), ["- > 400 0 orphan-response"]);
}

/// Everything else behind a greeting is TLS, as soon as that shows, and nothing more of it is wanted.
#[test]
fn a_tls_greeting_that_is_not_refused_is_tls() {
    let hello = hello("shop.example");
    for answer in
        ["\x16\x03\x03\0\x7a\x02", "\x15\x03\x03\0\x02\x02\x28", "GET / HTTP/1.1\r\n\r\n", "220 mail\r\n"]
    {
        let mut lane = Lane::new();
        lane.client(&hello);
        assert!(lane.wanted());
        lane.server(answer);
        assert!(!lane.wanted(), "{answer:?}");
        assert_eq!(lane.finish().len(), 0);
        assert_eq!((lane.http.counters().tls, lane.http.counters().check().len()), (1, 0), "{answer:?}");
    }
    // No answer, a part of one, a hole where it should be; and a client that goes on without one.
    let mut lane = Lane::new();
    lane.client(&hello);
    assert_eq!((lane.finish().len(), lane.http.counters().tls), (0, 1));
    let mut lane = Lane::new();
    lane.client(&hello).server("HTT");
    assert_eq!((lane.finish().len(), lane.http.counters().tls), (0, 1));
    let mut lane = Lane::new();
    lane.client(&hello);
    while lane.wanted() {
        lane.client([0x17; 1_000]);
    }
    assert_eq!((lane.finish().len(), lane.http.counters().tls), (0, 1));
}

/// A ClientHello in one record.
pub(super) fn hello(name: &str) -> Vec<u8> {
    let u16s = |len: usize| (len as u16).to_be_bytes();
    let list = [&[0], &u16s(name.len())[..], name.as_bytes()].concat();
    let server_name = [&u16s(list.len())[..], &list].concat();
    let extensions =
        [&[0, 23, 0, 0, 0, 0][..], &u16s(server_name.len()), &server_name, &[0, 43, 0, 1, 2]].concat();
    let body =
        [&[3, 3][..], &[9; 32], &[0, 0, 2, 0x13, 1, 1, 0], &u16s(extensions.len()), &extensions].concat();
    let handshake = [&[1, 0][..], &u16s(body.len()), &body].concat();
    [&[0x16, 3, 1][..], &u16s(handshake.len()), &handshake].concat()
}
