//! What may stand in front of HTTP on a connection, by agreement with somebody in between: the handshake of SOCKS 4,
//! 4a and 5, with or without a password, and the header of the PROXY protocol, versions 1 and 2.
//!
//! Each direction says itself where its part ends, so each is read for itself, however it is cut. Only parts that
//! grant what was asked for count: behind a refusal nothing of interest comes.

/// What the first bytes of a direction are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prelude {
    /// A prelude of so many bytes, all of which are there.
    Whole(usize),
    /// They agree with one so far.
    Unsure,
    /// None.
    No,
}

/// What answers a prelude, if anything does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    None,
    Socks4,
    Socks5,
}

/// The prelude of whoever speaks first, and what answers it.
pub(crate) fn of_client(bytes: &[u8]) -> (Prelude, Answer) {
    let (parsed, answer) = match bytes {
        [4, ..] => (socks4_request(bytes), Answer::Socks4),
        [5, ..] => (socks5_client(bytes), Answer::Socks5),
        [b'P', ..] => (proxy_line(bytes), Answer::None),
        [b'\r', ..] => (proxy_header(bytes), Answer::None),
        _ => (Err(End::No), Answer::None),
    };
    (verdict(parsed), answer)
}

/// The answer to a prelude.
pub(crate) fn of_server(bytes: &[u8], answer: Answer) -> Prelude {
    verdict(match answer {
        Answer::None => Err(End::No),
        Answer::Socks4 => socks4_reply(bytes),
        Answer::Socks5 => socks5_server(bytes),
    })
}

/// Why there is no whole prelude.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Short,
    No,
}

/// How many bytes a part takes.
type Parsed = Result<usize, End>;

fn verdict(parsed: Parsed) -> Prelude {
    match parsed {
        Ok(len) if len <= PRELUDE_MAX => Prelude::Whole(len),
        Err(End::Short) => Prelude::Unsure,
        Ok(_) | Err(End::No) => Prelude::No,
    }
}

/// Version, command, port, address, user, NUL; of SOCKS 4a, which has an address that is none (0.0.0.x), a name and
/// NUL behind it.
fn socks4_request(bytes: &[u8]) -> Parsed {
    expect(bytes, 1, |command| matches!(command, 1 | 2))?;
    let user = terminated(bytes, 8)?;
    let named = matches!(bytes.get(4..8), Some(&[0, 0, 0, last]) if last != 0);
    if named { terminated(bytes, user) } else { Ok(user) }
}

/// NUL, "granted", six bytes.
fn socks4_reply(bytes: &[u8]) -> Parsed {
    expect(bytes, 0, |version| version == 0)?;
    expect(bytes, 1, |reply| reply == SOCKS4_GRANTED)?;
    whole(bytes, 8)
}

/// RFC 1928: methods, then perhaps a name and a password (RFC 1929), then what is asked for.
fn socks5_client(bytes: &[u8]) -> Parsed {
    let methods = expect(bytes, 1, |methods| methods != 0)?;
    let mut at = 2 + usize::from(methods);
    if expect(bytes, at, |version| matches!(version, 1 | 5))? == 1 {
        let name = usize::from(expect(bytes, at + 1, |_| true)?);
        let password = usize::from(expect(bytes, at + 2 + name, |_| true)?);
        at += 3 + name + password;
        expect(bytes, at, |version| version == 5)?;
    }
    expect(bytes, at + 1, |command| matches!(command, 1..=3))?;
    socks5_address(bytes, at + 2)
}

/// The method that was chosen, what came of the password, what came of the request.
fn socks5_server(bytes: &[u8]) -> Parsed {
    expect(bytes, 0, |version| version == 5)?;
    let mut at = 2;
    if expect(bytes, 1, |method| matches!(method, 0 | 2))? == 2 {
        expect(bytes, 2, |version| version == 1)?;
        expect(bytes, 3, |status| status == 0)?;
        at = 4;
    }
    expect(bytes, at, |version| version == 5)?;
    expect(bytes, at + 1, |reply| reply == 0)?;
    socks5_address(bytes, at + 2)
}

/// A reserved byte, the address by its type, the port.
fn socks5_address(bytes: &[u8], at: usize) -> Parsed {
    expect(bytes, at, |reserved| reserved == 0)?;
    let address = match expect(bytes, at + 1, |kind| matches!(kind, 1 | 3 | 4))? {
        1 => 4,
        3 => 1 + usize::from(expect(bytes, at + 2, |len| len != 0)?),
        _ => 16,
    };
    whole(bytes, at + 2 + address + 2)
}

/// `PROXY`, a protocol, addresses and ports: a line of 107 bytes at most.
fn proxy_line(bytes: &[u8]) -> Parsed {
    if !PROXY_LINES.iter().any(|start| bytes.iter().zip(*start).all(|(byte, expected)| byte == expected)) {
        return Err(End::No);
    }
    match memchr::memchr(b'\n', &bytes[..bytes.len().min(PROXY_LINE_MAX)]) {
        Some(at) if bytes[..at].ends_with(b"\r") => Ok(at + 1),
        None if bytes.len() < PROXY_LINE_MAX => Err(End::Short),
        _ => Err(End::No),
    }
}

/// The signature, version and command, family, length.
fn proxy_header(bytes: &[u8]) -> Parsed {
    if !bytes.iter().zip(PROXY_SIGNATURE).all(|(byte, expected)| byte == expected) {
        return Err(End::No);
    }
    expect(bytes, 12, |version| matches!(version, 0x20 | 0x21))?;
    let high = expect(bytes, 14, |_| true)?;
    let low = expect(bytes, 15, |_| true)?;
    let end = 16 + usize::from(u16::from_be_bytes([high, low]));
    if end > PRELUDE_MAX { Err(End::No) } else { whole(bytes, end) }
}

/// The byte at `at`, if it is there and as it must be.
fn expect(bytes: &[u8], at: usize, agrees: impl FnOnce(u8) -> bool) -> Result<u8, End> {
    let &byte = bytes.get(at).ok_or(End::Short)?;
    if agrees(byte) { Ok(byte) } else { Err(End::No) }
}

/// Behind the NUL that is looked for from `at` on.
fn terminated(bytes: &[u8], at: usize) -> Parsed {
    let rest = bytes.get(at..).ok_or(End::Short)?;
    match memchr::memchr(0, &rest[..rest.len().min(NAME_MAX)]) {
        Some(end) => Ok(at + end + 1),
        None if rest.len() < NAME_MAX => Err(End::Short),
        None => Err(End::No),
    }
}

fn whole(bytes: &[u8], len: usize) -> Parsed {
    if bytes.len() >= len { Ok(len) } else { Err(End::Short) }
}

/// Longest prelude, in bytes. The longest of SOCKS have some 1,040; headers of the PROXY protocol have what their
/// sender adds, which is the names and certificates of TLS at most.
const PRELUDE_MAX: usize = 4_096;
/// Longest user or host name of SOCKS 4 with its NUL.
const NAME_MAX: usize = 256;
/// "Request granted".
const SOCKS4_GRANTED: u8 = 0x5a;
/// The longest line that the specification of HAProxy allows.
const PROXY_LINE_MAX: usize = 107;
const PROXY_LINES: [&[u8]; 3] = [b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN"];
const PROXY_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENTS: [(&[u8], Answer); 11] = [
        (b"\x04\x01\0P\x5d\xb8\xd8\x77\0", Answer::Socks4),
        (b"\x04\x01\0P\x5d\xb8\xd8\x77somebody\0", Answer::Socks4),
        (b"\x04\x01\0P\0\0\0\x01somebody\0a.example\0", Answer::Socks4),
        (b"\x05\x01\0\x05\x01\0\x01\x5d\xb8\xd8\x77\0P", Answer::Socks5),
        (b"\x05\x03\0\x01\x02\x05\x01\0\x03\x09a.example\0P", Answer::Socks5),
        (b"\x05\x01\x02\x01\x04user\x06secret\x05\x01\0\x04AAAABBBBCCCCDDDD\0P", Answer::Socks5),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 50000 80\r\n", Answer::None),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 50000 80\r\n", Answer::None),
        (b"PROXY UNKNOWN\r\n", Answer::None),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\xc3\x50\0P", Answer::None),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", Answer::None),
    ];

    const SERVERS: [(&[u8], Answer); 3] = [
        (b"\0\x5a\0\0\0\0\0\0", Answer::Socks4),
        (b"\x05\0\x05\0\0\x01\x0a\0\0\x01\x04\x38", Answer::Socks5),
        (b"\x05\x02\x01\0\x05\0\0\x03\x01a\x04\x38", Answer::Socks5),
    ];

    #[test]
    fn preludes_end_where_they_say_and_are_open_until_then() {
        let clients = CLIENTS.iter().map(|(bytes, answer)| (*bytes, None, *answer));
        let servers = SERVERS.iter().map(|(bytes, answer)| (*bytes, Some(*answer), *answer));
        for (bytes, of, answer) in clients.chain(servers) {
            let read = |bytes: &[u8]| match of {
                None => of_client(bytes).0,
                Some(answer) => of_server(bytes, answer),
            };
            for len in 1..bytes.len() {
                assert_eq!(read(&bytes[..len]), Prelude::Unsure, "{} {len}", bytes.escape_ascii());
            }
            assert_eq!(read(bytes), Prelude::Whole(bytes.len()), "{}", bytes.escape_ascii());
            let with_more = [bytes, b"GET / HTTP/1.1\r\n\r\n"].concat();
            assert_eq!(read(&with_more), Prelude::Whole(bytes.len()), "{}", bytes.escape_ascii());
            if of.is_none() {
                assert_eq!(of_client(bytes).1, answer);
            }
        }
    }

    #[test]
    fn refusals_and_other_protocols_are_none() {
        for bytes in [
            &b"\x04\x03\0P\x5d\xb8\xd8\x77\0"[..],
            b"\x05\0\x0b\x03\x10\0\0\0",
            b"\x05\x01\0\x07",
            b"\x05\x01\0\x05\x04",
            b"\x05\x01\0\x05\x01\0\x02",
            b"\x05\x01\0\x05\x01\0\x03\0",
            b"PROPFIND / HTTP/1.1\r\n",
            b"PROXY TCP5 ",
            b"PROXY TCP4 192.0.2.1\n",
            b"\r\n\r\nGET",
            b"\r\n\r\n\0\r\nQUIT\n\x11",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
            b"SSH-2.0-x\r\n",
        ] {
            assert_eq!(of_client(bytes).0, Prelude::No, "{}", bytes.escape_ascii());
        }
        assert_eq!(of_client(&[&b"PROXY TCP4 "[..], &[b'1'; 200]].concat()).0, Prelude::No);
        assert_eq!(of_client(&[&b"\x04\x01\0P\x5d\xb8\xd8\x77"[..], &[b'u'; 300]].concat()).0, Prelude::No);
        for (bytes, answer) in [
            (&b"\0\x5b\0\0\0\0\0\0"[..], Answer::Socks4),
            (b"\x05\xff", Answer::Socks5),
            (b"\x05\x02\x01\xff", Answer::Socks5),
            (b"\x05\0\x05\x05\0\x01", Answer::Socks5),
            (b"HTTP/1.1 200 OK\r\n", Answer::None),
        ] {
            assert_eq!(of_server(bytes, answer), Prelude::No, "{}", bytes.escape_ascii());
        }
    }
}
