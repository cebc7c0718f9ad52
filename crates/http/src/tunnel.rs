//! A connection that speaks another protocol after CONNECT or an Upgrade.
//!
//! ```text
//!   101, 2xx to CONNECT ──► what is it? ──┬─ WebSocket: frames are counted to the end
//!                           (first bytes) ├─ HTTP/1: its messages are analysed like those around it
//!                                         └─ TLS, HTTP/2, else: bytes are counted, the flow is let go
//!                                                                  │ the connection's end
//!                                                                  └──► the exchange that switched, with a Tunnel
//! ```

use gannet_flow::{CloseReason, Flow, Gap, Moment, Peer};
use gannet_packet::Timestamp;

use crate::detect::{self, Verdict};
use crate::websocket::{FrameCounter, WebSocketFrames};
use crate::{Exchange, Reason};

/// What a connection was used for after the exchange that switched it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// What was spoken.
    pub protocol: TunnelProtocol,
    /// The name in the ClientHello, if it was TLS.
    pub server_name: Option<String>,
    /// When it began: the last byte of the response that switched.
    pub first: Timestamp,
    /// When the last packet of the connection was seen.
    pub last: Timestamp,
    /// Bytes that the client sent; those that were not captured are counted.
    pub client_bytes: u64,
    /// Bytes that the server sent, likewise.
    pub server_bytes: u64,
    /// The frames of client and server, if it was WebSocket.
    pub websocket: Option<[WebSocketFrames; 2]>,
    /// How the connection ended.
    pub reason: Reason,
}

/// What is spoken in a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TunnelProtocol {
    /// Upgraded to `websocket`.
    WebSocket,
    /// Upgraded to `h2c`, or begun with its preface.
    Http2,
    /// HTTP/1: its exchanges are further ones of the connection.
    Http1,
    /// TLS.
    Tls,
    /// Something else.
    Other,
    /// Too little was seen to tell.
    Unknown,
}

impl TunnelProtocol {
    /// All.
    pub const ALL: [Self; 6] =
        [Self::WebSocket, Self::Http2, Self::Http1, Self::Tls, Self::Other, Self::Unknown];

    /// Its name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Http2 => "http2",
            Self::Http1 => "http1",
            Self::Tls => "tls",
            Self::Other => "other",
            Self::Unknown => "unknown",
        }
    }
}

/// A tunnel under way.
#[derive(Debug)]
pub(crate) struct TunnelState {
    /// The exchange that switched.
    exchange: Option<Exchange>,
    client: Peer,
    first: Timestamp,
    protocol: TunnelProtocol,
    /// Bytes since the switch that were delivered, and those before it; by sender.
    delivered: [u64; 2],
    before: [u64; 2],
    frames: Option<Box<[FrameCounter; 2]>>,
    /// The first bytes of each direction while it is not known what they are.
    heads: Option<Box<[Vec<u8>; 2]>>,
    server_name: Option<String>,
}

impl TunnelState {
    /// A tunnel between `client` and its server; `before` are the bytes before it, by sender.
    pub(crate) fn new(client: Peer, protocol: TunnelProtocol, first: Timestamp, before: [u64; 2]) -> Self {
        Self {
            exchange: None,
            client,
            first,
            protocol,
            delivered: [0; 2],
            before,
            frames: (protocol == TunnelProtocol::WebSocket).then(Box::default),
            heads: (protocol == TunnelProtocol::Unknown).then(Box::default),
            server_name: None,
        }
    }

    /// Sets the exchange that switched.
    pub(crate) fn set_exchange(&mut self, exchange: Exchange) {
        self.exchange = Some(exchange);
    }

    /// Bytes that it takes beside itself.
    pub(crate) fn memory(&self) -> usize {
        let heads = self
            .heads
            .as_ref()
            .map_or(0, |heads| size_of_val(&**heads) + heads.iter().map(Vec::capacity).sum::<usize>());
        let frames = self.frames.as_ref().map_or(0, |frames| size_of_val(&**frames));
        let name = self.server_name.as_ref().map_or(0, String::capacity);
        heads + frames + name + self.exchange.as_ref().map_or(0, Exchange::memory)
    }

    /// Who asked for it.
    pub(crate) fn client(&self) -> Peer {
        self.client
    }

    /// Whether it is not known yet what is spoken in it. Of TLS it is, while its name is still looked for.
    pub(crate) fn is_unknown(&self) -> bool {
        self.heads.is_some() && self.protocol == TunnelProtocol::Unknown
    }

    /// Where the next byte of `from` lies in its stream.
    pub(crate) fn position(&self, from: Peer) -> u64 {
        self.before[from as usize] + self.delivered[from as usize]
    }

    /// Counts bytes that belong to it and are looked at elsewhere.
    pub(crate) fn count(&mut self, from: Peer, bytes: u64) {
        self.delivered[from as usize] += bytes;
    }

    /// Whether it is HTTP/2 by upgrade.
    pub(crate) fn is_http2(&self) -> bool {
        self.protocol == TunnelProtocol::Http2
    }

    /// Whether further bytes are looked at.
    #[inline]
    pub(crate) fn wants_more(&self) -> bool {
        self.heads.is_some()
            || self.frames.as_ref().is_some_and(|frames| !frames.iter().all(|one| one.frames.lost))
    }

    /// Counts bytes that belong to it and cannot be looked at any more.
    pub(crate) fn pass(&mut self, from: Peer, bytes: u64) {
        if bytes > 0 {
            self.delivered[from as usize] += bytes;
            self.heads = None;
        }
    }

    /// Takes bytes that belong to it.
    pub(crate) fn data(&mut self, from: Peer, bytes: &[u8]) {
        self.delivered[from as usize] += bytes.len() as u64;
        if let Some(frames) = &mut self.frames {
            frames[from as usize].take(bytes);
        } else if self.heads.is_some() {
            self.look(from, bytes);
        }
    }

    /// Takes a hole.
    pub(crate) fn gap(&mut self, gap: &Gap) {
        if let Some(frames) = &mut self.frames {
            frames[gap.from as usize].gap(gap.len);
        }
        // What began before the hole is not told by what comes behind it.
        self.heads = None;
    }

    /// The connection is over. The exchange that switched, and the tunnel's bytes that were not delivered.
    pub(crate) fn close(mut self, flow: &Flow, reason: CloseReason, now: Moment) -> (Option<Exchange>, u64) {
        let since = |sender: Peer, bytes: u64| bytes.saturating_sub(self.before[sender as usize]);
        let captured = Peer::BOTH.map(|sender| {
            let stream = flow.stream(sender);
            let on_wire = stream.bytes.saturating_sub(stream.retransmitted_bytes);
            since(sender, on_wire).max(self.delivered[sender as usize])
        });
        // By their places in the stream: of a flow that nobody wants more of, a segment behind its turn counts as one
        // sent again.
        let bytes =
            Peer::BOTH.map(|sender| since(sender, flow.stream_len(sender)).max(captured[sender as usize]));
        let client = self.client as usize;
        let tunnel = Tunnel {
            protocol: self.protocol,
            server_name: self.server_name.take(),
            first: self.first,
            last: flow.last_seen.max(self.first),
            client_bytes: bytes[client],
            server_bytes: bytes[1 - client],
            websocket: self.frames.as_ref().map(|frames| [frames[client].frames, frames[1 - client].frames]),
            reason: Reason::of_close(reason, self.client),
        };
        if let Some(exchange) = &mut self.exchange {
            exchange.completed = now;
            exchange.tunnel = Some(Box::new(tunnel));
        }
        let delivered: u64 = self.delivered.iter().sum();
        (self.exchange, captured.iter().sum::<u64>().saturating_sub(delivered))
    }

    /// Looks at the first bytes of a tunnel of which it is not known what it is.
    fn look(&mut self, from: Peer, bytes: &[u8]) {
        let Some(heads) = &mut self.heads else { return };
        let head = &mut heads[from as usize];
        let room = HEAD_MAX.saturating_sub(head.len());
        head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let full = head.len() >= HEAD_MAX;
        self.protocol = match detect::classify(head, false) {
            Verdict::Unsure if !full => return,
            Verdict::Tls => TunnelProtocol::Tls,
            Verdict::Http2 => TunnelProtocol::Http2,
            Verdict::Request | Verdict::Response => TunnelProtocol::Http1,
            Verdict::Other | Verdict::Unsure => TunnelProtocol::Other,
        };
        let mut done = true;
        if self.protocol == TunnelProtocol::Tls {
            // A name is in the client's first record, which may take a few segments.
            match server_name(head) {
                Hello::Name(name) if from == self.client => self.server_name = Some(name),
                Hello::Unsure if from == self.client => done = full,
                _ => done = from == self.client,
            }
        }
        if done {
            self.heads = None;
        }
    }
}

/// What the beginning of a TLS client's stream says about the server's name.
enum Hello {
    Name(String),
    None,
    /// The hello is not whole.
    Unsure,
}

/// The name in the `server_name` extension (RFC 6066, section 3) of a ClientHello that lies in one record.
fn server_name(bytes: &[u8]) -> Hello {
    let mut record = Reader(bytes);
    let (Some(kind), Some(_version), Some(len)) = (record.u8(), record.take(2), record.u16()) else {
        return Hello::Unsure;
    };
    if kind != HANDSHAKE {
        return Hello::None;
    }
    let Some(record) = record.take(usize::from(len)) else { return Hello::Unsure };
    name_in(Reader(record)).map_or(Hello::None, Hello::Name)
}

fn name_in(mut hello: Reader<'_>) -> Option<String> {
    if hello.u8()? != CLIENT_HELLO {
        return None;
    }
    // Length, version, random; then session id, cipher suites and compression methods, each behind its length.
    hello.take(3 + 2 + 32)?;
    let session = hello.u8()?;
    hello.take(usize::from(session))?;
    let suites = hello.u16()?;
    hello.take(usize::from(suites))?;
    let methods = hello.u8()?;
    hello.take(usize::from(methods))?;
    let len = hello.u16()?;
    let mut extensions = Reader(hello.take(usize::from(len))?);
    loop {
        let (kind, len) = (extensions.u16()?, extensions.u16()?);
        let mut extension = Reader(extensions.take(usize::from(len))?);
        if kind == SERVER_NAME {
            // The length of the list, and the kind of its first name: 0, a host.
            extension.take(2)?;
            if extension.u8()? != 0 {
                return None;
            }
            let len = extension.u16()?;
            let name = extension.take(usize::from(len))?;
            let plausible = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
            return plausible.then(|| String::from_utf8_lossy(name).into_owned());
        }
    }
}

/// Takes numbers off the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }
}

const HANDSHAKE: u8 = 0x16;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
/// Bytes of each direction looked at to tell what a tunnel carries; a ClientHello with post-quantum key shares has
/// 1,800.
const HEAD_MAX: usize = 4_096;
