//! The traps of HTTP on the wire, one test each.

mod conversation;
mod framing;
mod llhttp;
mod losses;
mod pairing;
mod tls;
mod traps;
mod tunnels;
mod turns;
mod windows;

use crate::Exchange;
use crate::testing::line;

/// Exchanges of one connection that both ends close in order: the client's bytes, then the server's.
fn run(client: impl AsRef<[u8]>, server: impl AsRef<[u8]>) -> Vec<String> {
    let mut lane = crate::testing::Lane::new();
    crate::testing::lines(&lane.client(client).server(server).finish())
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\n\r\n")
}

fn answer(status: u16) -> String {
    format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n")
}

/// Checks that no request has the answer to another one, which has its number as `status`, unless that is said.
#[track_caller]
fn assert_right_or_marked(exchanges: &[Exchange]) {
    for exchange in exchanges {
        let (Some(request), Some(response)) = (&exchange.request, &exchange.response) else { continue };
        let asked: u16 = str::from_utf8(&request.head.target()[1..]).unwrap().parse().unwrap();
        let is_right = response.head.status() == Some(200 + asked);
        assert!(is_right || exchange.untrusted.pairing, "{}: {:?}", line(exchange), exchange.confidence);
    }
}
