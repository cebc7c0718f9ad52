//! The traps of HTTP on the wire, one test each.

mod conversation;
mod framing;
mod llhttp;
mod pairing;
mod tls;
mod traps;
mod tunnels;

/// Exchanges of one connection that both ends close in order: the client's bytes, then the server's.
fn run(client: impl AsRef<[u8]>, server: impl AsRef<[u8]>) -> Vec<String> {
    let mut lane = crate::testing::Lane::new();
    crate::testing::lines(&lane.client(client).server(server).finish())
}
