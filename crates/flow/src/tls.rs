//! The greeting of TLS: for whom, for what, in which version. Nothing else of TLS is looked at.
//!
//! ```text
//!   stream ──► record (type 22, version, length) ── fragments ──► handshake message (1 or 2, length) ──► extensions
//! ```
//!
//! Only the first bytes of a stream are looked at. A hello in one segment is read where it lies; one over several
//! segments is collected up to a bound. Whatever else a stream begins with costs a look at two bytes.

use std::net::IpAddr;

use gannet_packet::{Endpoint, FlowKey, IpProtocol};

use crate::flow::Attention;
use crate::rare::{Rare, boxed};
use crate::{Flow, Handshake, Peer};

/// What the hellos of a TLS connection said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsHello {
    /// Who sent the ClientHello.
    pub client: Option<Peer>,
    /// The name of the server that the client asked for (SNI, RFC 6066).
    pub server_name: Option<String>,
    /// The protocols that the client offered (ALPN, RFC 7301), the first of them.
    pub offered: Vec<String>,
    /// The one that the server chose, if it said so in the clear: before TLS 1.3.
    pub chosen: Option<String>,
    /// The highest version that the client offered: 0x0303 is TLS 1.2, 0x0304 TLS 1.3.
    pub client_version: Option<u16>,
    /// The version that the server chose.
    pub version: Option<u16>,
}

impl TlsHello {
    /// Memory beside itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        let texts = self.server_name.iter().chain(&self.offered).chain(&self.chosen);
        let list = self.offered.capacity() * size_of::<String>();
        texts.map(|text| boxed(text.capacity())).sum::<usize>() + if list == 0 { 0 } else { boxed(list) }
    }
}

/// The start of a stream that may be a hello.
#[derive(Clone, Debug, Default)]
pub(crate) struct Collecting {
    /// What has come so far, by sender; `None` where nothing is waited for.
    pub(crate) bytes: [Option<Vec<u8>>; 2],
}

/// What the start of a stream is.
#[derive(Debug, PartialEq)]
pub(crate) enum Start {
    /// No hello.
    Other,
    /// Perhaps one: more bytes are needed.
    Incomplete,
    /// A hello, read into what is known.
    Hello,
}

/// The versions by their names, for reports.
pub fn version_name(version: u16) -> Option<&'static str> {
    Some(match version {
        0x0300 => "SSLv3",
        0x0301 => "TLSv1",
        0x0302 => "TLSv1.1",
        0x0303 => "TLSv1.2",
        0x0304 => "TLSv1.3",
        _ => return None,
    })
}

/// Whether a stream that starts with these bytes may start with a hello.
#[inline]
pub(crate) fn may_start(bytes: &[u8]) -> bool {
    matches!(bytes, [HANDSHAKE] | [HANDSHAKE, 3, ..])
}

/// Reads the hello at the start of a stream, if it is there as a whole.
pub(crate) fn read(bytes: &[u8], from: Peer, hello: &mut TlsHello) -> Start {
    let mut joined = Vec::new();
    let mut rest = bytes;
    // The usual one lies in one record.
    loop {
        let &[kind, major, _, high, low, ref behind @ ..] = rest else {
            let possible = [HANDSHAKE, 3].iter().zip(rest).all(|(wanted, byte)| wanted == byte);
            return if possible { Start::Incomplete } else { Start::Other };
        };
        let len = usize::from(u16::from_be_bytes([high, low]));
        if kind != HANDSHAKE || major != 3 || len == 0 || len > RECORD_MAX {
            return Start::Other;
        }
        let fragment = behind.get(..len).unwrap_or(behind);
        let message = if joined.is_empty() {
            fragment
        } else {
            joined.extend_from_slice(fragment);
            &joined[..]
        };
        match message {
            [] => return Start::Incomplete,
            &[CLIENT_HELLO | SERVER_HELLO]
            | &[CLIENT_HELLO | SERVER_HELLO, _]
            | &[CLIENT_HELLO | SERVER_HELLO, _, _] => {}
            &[kind @ (CLIENT_HELLO | SERVER_HELLO), a, b, c, ref body @ ..] => {
                let len = u32::from_be_bytes([0, a, b, c]) as usize;
                if len > COLLECTED_MAX {
                    return Start::Other;
                }
                if let Some(body) = body.get(..len) {
                    let read = match kind {
                        CLIENT_HELLO => client_hello(body, from, hello),
                        _ => server_hello(body, from, hello),
                    };
                    return if read.is_some() { Start::Hello } else { Start::Other };
                }
            }
            _ => return Start::Other,
        }
        let Some(behind) = behind.get(len..) else { return Start::Incomplete };
        if joined.is_empty() {
            joined.extend_from_slice(fragment);
        }
        rest = behind;
    }
}

impl Flow {
    /// Takes bytes of a stream that may begin with a hello; `offset` is where they lie.
    pub(crate) fn greet(&mut self, from: Peer, offset: u64, bytes: &[u8]) {
        let rare = self.rare_mut().more_mut();
        let collecting =
            rare.collecting.as_mut().and_then(|collecting| collecting.bytes[from as usize].take());
        let mut collected = match (collecting, offset) {
            (None, 0) => Vec::new(),
            // Behind a gap nothing can be read.
            (Some(collected), offset) if collected.len() as u64 == offset => collected,
            _ => return self.collect(from, None),
        };
        let bytes = bytes.get(..COLLECTED_MAX - collected.len().min(COLLECTED_MAX)).unwrap_or(bytes);
        let stream = if collected.is_empty() {
            bytes
        } else {
            collected.extend_from_slice(bytes);
            &collected[..]
        };
        let hello = rare.tls.get_or_insert_default();
        let start = read(stream, from, hello);
        if start == Start::Other && **hello == TlsHello::default() {
            rare.tls = None;
        }
        let more = start == Start::Incomplete && stream.len() < COLLECTED_MAX;
        if more && collected.is_empty() {
            collected.extend_from_slice(bytes);
        }
        self.collect(from, more.then_some(collected));
    }

    /// Keeps the start of a stream until more comes of it, or nothing any longer.
    fn collect(&mut self, from: Peer, collected: Option<Vec<u8>>) {
        let rare = self.rare_mut().more_mut();
        if collected.is_some() || rare.collecting.is_some() {
            rare.collecting.get_or_insert_default().bytes[from as usize] = collected;
        }
        if rare.collecting.as_ref().is_some_and(|collecting| collecting.bytes == [None, None]) {
            rare.collecting = None;
        }
        let waits = rare.collecting.is_some();
        if !waits && rare.tls.as_deref() == Some(&TlsHello::default()) {
            rare.tls = None;
        }
        self.attention.set(Attention::HELLO, waits);
    }
}

/// What a ClientHello says (RFC 8446, section 4.1.2). `None` if it is broken; then nothing of it is taken.
fn client_hello(body: &[u8], from: Peer, hello: &mut TlsHello) -> Option<()> {
    let mut body = Reader(body);
    let legacy = body.u16()?;
    body.take(32)?;
    body.block8()?;
    body.block16()?;
    body.block8()?;
    let mut version = legacy;
    let (mut name, mut offered) = (None, Vec::new());
    let mut extensions = Reader(if body.0.is_empty() { &[] } else { body.block16()? });
    while !extensions.0.is_empty() {
        let (kind, value) = (extensions.u16()?, extensions.block16()?);
        let mut value = Reader(value);
        match kind {
            SERVER_NAME => {
                let mut names = Reader(value.block16()?);
                while !names.0.is_empty() {
                    let (kind, value) = (names.u8()?, names.block16()?);
                    if kind == 0 && name.is_none() {
                        name = Some(text(value));
                    }
                }
            }
            ALPN => {
                let mut names = Reader(value.block16()?);
                while !names.0.is_empty() {
                    let name = names.block8()?;
                    if offered.len() < OFFERED_MAX {
                        offered.push(text(name));
                    }
                }
            }
            SUPPORTED_VERSIONS => {
                let mut versions = Reader(value.block8()?);
                while !versions.0.is_empty() {
                    let offer = versions.u16()?;
                    // Others are there to be ignored (RFC 8701).
                    if (0x0300..=0x0304).contains(&offer) {
                        version = version.max(offer);
                    }
                }
            }
            _ => {}
        }
    }
    hello.client = Some(from);
    hello.client_version = Some(version);
    hello.server_name = name;
    hello.offered = offered;
    Some(())
}

/// What a ServerHello says (RFC 8446, section 4.1.3).
fn server_hello(body: &[u8], from: Peer, hello: &mut TlsHello) -> Option<()> {
    let mut body = Reader(body);
    let mut version = body.u16()?;
    body.take(32)?;
    body.block8()?;
    body.take(3)?;
    let mut chosen = None;
    let mut extensions = Reader(if body.0.is_empty() { &[] } else { body.block16()? });
    while !extensions.0.is_empty() {
        let (kind, value) = (extensions.u16()?, extensions.block16()?);
        let mut value = Reader(value);
        match kind {
            SUPPORTED_VERSIONS => version = value.u16()?,
            ALPN => chosen = Some(text(Reader(value.block16()?).block8()?)),
            _ => {}
        }
    }
    hello.client = Some(from.opposite());
    hello.version = Some(version);
    hello.chosen = chosen;
    Some(())
}

/// Names are ASCII where they are honest; what is not is shown as such.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..NAME_MAX).unwrap_or(bytes)).into_owned()
}

/// The fields of a message, in order.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(*self.take(2)?.first_chunk()?))
    }

    /// Bytes behind their length in one byte.
    fn block8(&mut self) -> Option<&'a [u8]> {
        let len = self.u8()?;
        self.take(usize::from(len))
    }

    /// Bytes behind their length in two bytes.
    fn block16(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }
}

/// The body of the fuzz target. Takes `bytes` as the start of a stream, behind a byte that chooses where it is cut.
///
/// # Panics
/// If a hello is another one when it comes in pieces, if what is no hello says something, or if more is kept than may
/// be.
pub fn fuzz(bytes: &[u8]) {
    let Some((&cut, stream)) = bytes.split_first() else { return };
    let mut whole = TlsHello::default();
    let start = read(stream, Peer::Originator, &mut whole);
    assert!(start == Start::Hello || whole == TlsHello::default(), "what is no hello says nothing");
    assert!(whole.heap_bytes() <= HELLO_HEAP_MAX, "{} bytes", whole.heap_bytes());
    for len in [usize::from(cut), stream.len() / 2, stream.len().saturating_sub(1)] {
        let mut part = TlsHello::default();
        match read(stream.get(..len).unwrap_or(stream), Peer::Originator, &mut part) {
            Start::Incomplete => {}
            other => assert_eq!(
                (other, part),
                (read(stream, Peer::Originator, &mut TlsHello::default()), whole.clone())
            ),
        }
    }
    fuzz_pieces(cut, stream);
}

/// The same stream through a flow, in pieces of a few lengths, once from each end.
fn fuzz_pieces(cut: u8, stream: &[u8]) {
    let stream = stream.get(..COLLECTED_MAX).unwrap_or(stream);
    let end = |address: [u8; 4], port| Endpoint { address: IpAddr::from(address), port };
    let (key, originator) =
        FlowKey::new(end([10, 0, 0, 1], 40_000), end([10, 0, 0, 2], 443), IpProtocol::TCP);
    for from in Peer::BOTH {
        let mut expected = TlsHello::default();
        let start = read(stream, from, &mut expected);
        let mut flow = Flow::sample(1, key, originator, Handshake::default());
        let mut offset = 0;
        let mut len = usize::from(cut);
        while offset < stream.len() {
            len = len * 7 % 251 + 1;
            let piece = &stream[offset..stream.len().min(offset + len)];
            if flow.attention.has(Attention::HELLO) || offset == 0 && may_start(piece) {
                flow.greet(from, offset as u64, piece);
            }
            assert!(flow.beside_cost() <= 2 * COLLECTED_MAX + HELLO_HEAP_MAX + 1_024);
            offset += piece.len();
        }
        let more = flow.rare().and_then(Rare::more);
        let found = more.and_then(|more| more.tls.as_deref().cloned()).unwrap_or_default();
        assert_eq!(found, expected, "in pieces as in one");
        let waits = start == Start::Incomplete && (1..COLLECTED_MAX).contains(&stream.len());
        assert_eq!(more.is_some_and(|more| more.collecting.is_some()), waits);
        assert_eq!(flow.attention.has(Attention::HELLO), waits);
    }
}

/// What a hello may have beside itself: its texts, each byte of which may have become three.
const HELLO_HEAP_MAX: usize = (OFFERED_MAX + 2) * (3 * 256 + 64);

/// Bytes of the start of a stream that are collected. A hello with a post-quantum key share has 1.8 KiB, one with a
/// session ticket and more 4 KiB.
pub(crate) const COLLECTED_MAX: usize = 8 << 10;

/// The content type.
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
/// "The length MUST NOT exceed 2^14 bytes."
const RECORD_MAX: usize = 1 << 14;
/// Extensions.
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;
/// Names of hosts have at most 253 characters.
const NAME_MAX: usize = 255;
/// Protocols that are kept; browsers offer two or three.
const OFFERED_MAX: usize = 8;

#[cfg(test)]
pub(crate) mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn block(size: usize, bytes: &[u8]) -> Vec<u8> {
        let len = (bytes.len() as u32).to_be_bytes();
        [&len[4 - size..], bytes].concat()
    }

    fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &block(2, value)].concat()
    }

    fn records(message: &[u8], fragment: usize) -> Vec<u8> {
        message.chunks(fragment).flat_map(|part| [&[22, 3, 1][..], &block(2, part)].concat()).collect()
    }

    /// A ClientHello for `name` in records of at most `fragment` bytes.
    pub(crate) fn client(name: &str, padding: usize, fragment: usize) -> Vec<u8> {
        let names = block(2, &[&[0][..], &block(2, name.as_bytes())].concat());
        let protocols = block(2, &[block(1, b"h2"), block(1, b"http/1.1")].concat());
        let versions = block(1, &[0x7a, 0x7a, 3, 4, 3, 3]);
        let extensions = [
            extension(0x0a0a, &[]),
            extension(SERVER_NAME, &names),
            extension(ALPN, &protocols),
            extension(SUPPORTED_VERSIONS, &versions),
            extension(21, &vec![0; padding]),
        ];
        let body = [
            &[3, 3][..],
            &[7; 32],
            &block(1, &[9; 32]),
            &block(2, &[0x13, 1, 0x13, 2]),
            &block(1, &[0]),
            &block(2, &extensions.concat()),
        ];
        records(&[&[CLIENT_HELLO][..], &block(3, &body.concat())].concat(), fragment)
    }

    /// A ServerHello of TLS 1.2 that chooses h2, or of TLS 1.3.
    pub(crate) fn server(version: u16) -> Vec<u8> {
        let extension = match version {
            0x0304 => extension(SUPPORTED_VERSIONS, &[3, 4]),
            _ => extension(ALPN, &block(2, &block(1, b"h2"))),
        };
        let body = [&[3, 3][..], &[8; 32], &block(1, &[]), &[0x13, 1, 0], &block(2, &extension)];
        records(&[&[SERVER_HELLO][..], &block(3, &body.concat())].concat(), RECORD_MAX)
    }

    fn hello(bytes: &[u8]) -> TlsHello {
        let mut hello = TlsHello::default();
        assert_eq!(read(bytes, Peer::Originator, &mut hello), Start::Hello);
        hello
    }

    #[test]
    fn hellos_are_read() {
        let read = hello(&client("www.example.com", 0, RECORD_MAX));
        assert_eq!(
            read,
            TlsHello {
                client: Some(Peer::Originator),
                server_name: Some("www.example.com".into()),
                offered: vec!["h2".into(), "http/1.1".into()],
                client_version: Some(0x0304),
                ..TlsHello::default()
            }
        );
        let old = hello(&server(0x0303));
        assert_eq!(
            (old.version, old.chosen.as_deref(), old.client),
            (Some(0x0303), Some("h2"), Some(Peer::Responder))
        );
        assert_eq!(hello(&server(0x0304)).version.and_then(version_name), Some("TLSv1.3"));
    }

    #[test]
    fn hellos_in_many_records_are_the_same() {
        let whole = hello(&client("a.example", 700, RECORD_MAX));
        for fragment in [1, 2, 3, 5, 100, 512] {
            assert_eq!(hello(&client("a.example", 700, fragment)), whole, "{fragment}");
        }
    }

    #[test]
    fn a_start_of_a_hello_is_incomplete_and_others_are_none() {
        let bytes = client("www.example.com", 0, 100);
        for len in 0..bytes.len() {
            let mut hello = TlsHello::default();
            assert_eq!(read(&bytes[..len], Peer::Originator, &mut hello), Start::Incomplete, "{len}");
        }
        for other in [
            &b"GET / HTTP/1.1"[..],
            &[22, 2],
            &[22, 3, 1, 0, 0],
            &[22, 3, 1, 0, 5, 11],
            &[22, 3, 1, 0xff, 0xff, 1],
        ] {
            assert_eq!(read(other, Peer::Originator, &mut TlsHello::default()), Start::Other, "{other:?}");
        }
        let long = [&[22, 3, 1, 0x40, 0, 1, 1, 0, 0][..], &[0; 100]].concat();
        assert_eq!(
            read(&long, Peer::Originator, &mut TlsHello::default()),
            Start::Other,
            "64 KiB are not collected"
        );
    }

    proptest! {
        #[test]
        fn broken_hellos_say_nothing(
            padding in 0..300_usize, fragment in 1..600_usize, changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut: u8, answer: bool,
        ) {
            let mut bytes = if answer { server(0x0303) } else { client("www.example.com", padding, fragment) };
            for (at, value) in changes {
                *at.get_mut(&mut bytes) = value;
            }
            fuzz(&[&[cut][..], &bytes].concat());
        }

        #[test]
        fn any_bytes(bytes in vec(any::<u8>(), 0..200)) {
            fuzz(&bytes);
        }
    }
}
