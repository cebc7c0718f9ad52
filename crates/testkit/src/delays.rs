//! A server that answers after delays that are known, clients that ask it, and when each byte was on the wire at all.
//!
//! ```text
//!   client   write ┄┄┄┄ write ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄ read ┄┄┄┄┄┄┄ read
//!              ╲          ╲                                  ╱            ╱
//!   wire     first       last    of the request            first        last    of the response
//!                ╲          ╲                             ╱            ╱
//!   server      read ┄┄┄┄┄ read ┄┄┄ waits the delay ┄┄ write ┄┄┄┄┄ write
//! ```
//! Both read the clock that the kernel stamps packets with right before each write that matters, and right after each
//! read. A packet was on the wire after the one and before the other ([`Window`]), however late a busy machine let
//! either of them run. So a time that was captured can be proved wrong without a tolerance, and is proved right to
//! within the width of two windows.
//!
//! Heads and bodies come whole or in several writes with pauses between them, each write a segment of its own
//! (`TCP_NODELAY`); every other client keeps its connection, the others make one for each request.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::lab::{Lab, Side};

/// How much is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Requests in all.
    pub requests: u64,
    /// Requests a second, never more.
    pub per_second: f64,
}

/// One exchange as its two ends saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Number of the exchange, which its query carries: see [`number_in`].
    pub number: u64,
    /// What the server waits from the request's last byte to its answer's first.
    pub delay: Duration,
    /// What it did wait, by its own clock, in ns: never less.
    pub waited_ns: i128,
    /// The request came in one segment, and so did the response.
    pub is_single_frames: bool,
    /// Its connection was made for it alone.
    pub has_own_connection: bool,
    /// When the first byte of the request passed.
    pub request_first: Window,
    /// When the last byte of the request passed.
    pub request_last: Window,
    /// When the first byte of the response passed.
    pub response_first: Window,
    /// When the last byte of the response passed.
    pub response_last: Window,
}

/// A time that something happened between, in ns since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// It had not happened yet.
    pub earliest: i128,
    /// It had happened.
    pub latest: i128,
}

/// What a capture says of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The request's first byte, in ns since 1970.
    pub first: i128,
    /// From there to the request's last byte, in ns, and so on.
    pub send_ns: i128,
    /// From the request's first byte to the response's first.
    pub ttfb_ns: i128,
    /// From the request's last byte to the response's first.
    pub server_ns: i128,
    /// From the request's first byte to the response's last.
    pub total_ns: i128,
}

impl Known {
    /// What of the measured times cannot be, in words; `None` if all of them can.
    pub fn contradiction(&self, measured: &Measured) -> Option<String> {
        let Measured { first, send_ns, ttfb_ns, server_ns, total_ns } = *measured;
        let edges = [
            ("the request's first byte", first, self.request_first),
            ("the request's last byte", first + send_ns, self.request_last),
            ("the response's first byte", first + ttfb_ns, self.response_first),
            ("the response's last byte", first + total_ns, self.response_last),
        ];
        for (edge, at, window) in edges {
            if at < window.earliest || at > window.latest {
                return Some(format!(
                    "exchange {}: {edge} at {at}, which passed from {} to {}",
                    self.number, window.earliest, window.latest
                ));
            }
        }
        let shortest = self.delay.as_nanos() as i128;
        let longest = self.response_first.latest - self.request_last.earliest;
        (server_ns < shortest || server_ns > longest).then(|| {
            format!(
                "exchange {}: the server took {server_ns} ns, which was {shortest} to {longest}",
                self.number
            )
        })
    }
}

/// Has `plan` carried out between the two sides of the lab: the server is the receiver's, its port `port`. Returns
/// what is known, by number; fewer than were planned if `stop` is set meanwhile.
///
/// # Errors
/// Of sockets; and if an end did not get what the other was to send within [`PATIENCE`].
pub fn converse(lab: &Lab, port: u16, plan: Plan, stop: &AtomicBool) -> io::Result<Vec<Known>> {
    let address = SocketAddr::from((Side::Receiver.address(), port));
    let server = Server {
        listener: lab.enter(Side::Receiver, || TcpListener::bind(address))??,
        is_over: AtomicBool::new(false),
        halves: Mutex::default(),
    };
    let clients = Clients {
        server: address,
        plan,
        stop,
        next: AtomicU64::new(0),
        free: Mutex::new(Instant::now()),
        halves: Mutex::default(),
    };
    thread::scope(|scope| {
        let serving = scope.spawn(|| server.run());
        let asked = lab.enter(Side::Sender, || clients.run());
        server.is_over.store(true, Ordering::Release);
        // It waits for a connection: one more, which never passes the wire.
        let woken = lab.enter(Side::Receiver, || TcpStream::connect(address));
        let served = serving.join().unwrap_or_else(|_| Err(io::Error::other("the server panicked")));
        // What went wrong with the server is why its clients got nothing.
        woken??;
        served?;
        asked?
    })?;
    let mut ours = taken(clients.halves);
    let mut theirs = taken(server.halves);
    ours.sort_by_key(|half| half.number);
    theirs.sort_by_key(|half| half.number);
    let known: Vec<Known> =
        ours.iter().zip(&theirs).filter_map(|(ours, theirs)| known(ours, theirs)).collect();
    if known.len() != ours.len() || known.len() != theirs.len() {
        return Err(io::Error::other(format!(
            "{} exchanges of the clients, {} of the server",
            ours.len(),
            theirs.len()
        )));
    }
    Ok(known)
}

/// The number of the exchange with this query.
pub fn number_in(query: &str) -> Option<u64> {
    query.strip_prefix(QUERY)?.parse().ok()
}

/// What one end knows of an exchange: for what it sent, when it began to write the first and the last piece; for what
/// it got, when it had read the first piece and the last.
#[derive(Clone, Copy, Debug)]
struct Half {
    number: u64,
    has_own_connection: bool,
    request: (i128, i128),
    response: (i128, i128),
}

fn known(client: &Half, server: &Half) -> Option<Known> {
    let script = Script::of(client.number, client.has_own_connection);
    let sent = |before: i128, after: i128| Window { earliest: before, latest: after };
    (client.number == server.number).then(|| Known {
        number: client.number,
        delay: script.delay,
        waited_ns: server.response.0 - server.request.1,
        is_single_frames: script.request.len() == 1 && script.response.len() == 1,
        has_own_connection: client.has_own_connection,
        request_first: sent(client.request.0, server.request.0),
        request_last: sent(client.request.1, server.request.1),
        response_first: sent(server.response.0, client.response.0),
        response_last: sent(server.response.1, client.response.1),
    })
}

/// What both ends know beforehand of the exchange of a number: the pieces that are written, and the delay.
struct Script {
    delay: Duration,
    request: Vec<Vec<u8>>,
    response: Vec<Vec<u8>>,
}

impl Script {
    /// The numbers count through every combination of delay, request and response.
    fn of(number: u64, has_own_connection: bool) -> Self {
        let rest = number as usize / DELAYS.len();
        let request = rest % 3;
        let response = rest / 3 % 4;
        let target = format!("/answers?{QUERY}{number}");
        let end = if has_own_connection { "Connection: close\r\n\r\n" } else { "\r\n" };
        let asks = |method: &str, length: &str| {
            format!(
                "{method} {target} HTTP/1.1\r\nHost: known.example\r\nUser-Agent: delays\r\n{length}{end}"
            )
        };
        let form = format!("Content-Length: {}\r\n", 2 * PIECE);
        let answers = |length: usize| {
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n{end}")
                .into_bytes()
        };
        Self {
            delay: DELAYS[number as usize % DELAYS.len()],
            request: match request {
                0 => vec![asks("GET", "").into_bytes()],
                1 => cut(asks("GET", "").as_bytes(), &[3, 40]),
                _ => {
                    let mut pieces = cut(asks("POST", &form).as_bytes(), &[30]);
                    pieces.extend([vec![b'a'; PIECE], vec![b'b'; PIECE]]);
                    pieces
                }
            },
            response: match response {
                0 => vec![[answers(PIECE), vec![b'x'; PIECE]].concat()],
                1 => cut(&[answers(PIECE), vec![b'x'; PIECE]].concat(), &[10, 30]),
                2 => {
                    let mut pieces = vec![answers(3 * PIECE)];
                    pieces.extend([vec![b'x'; PIECE], vec![b'y'; PIECE], vec![b'z'; PIECE]]);
                    pieces
                }
                _ => {
                    let mut pieces = cut(&answers(2 * PIECE), &[10, 30]);
                    pieces.extend([vec![b'x'; PIECE], vec![b'y'; PIECE]]);
                    pieces
                }
            },
        }
    }
}

/// The bytes in pieces, cut at these offsets.
fn cut(bytes: &[u8], at: &[usize]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for &end in at {
        pieces.push(bytes[start..end].to_vec());
        start = end;
    }
    pieces.push(bytes[start..].to_vec());
    pieces
}

/// Writes the pieces, each a segment of its own; when the first and the last of them were about to be written.
fn write(stream: &mut TcpStream, pieces: &[Vec<u8>]) -> io::Result<(i128, i128)> {
    let mut times = None;
    for (index, piece) in pieces.iter().enumerate() {
        if index > 0 {
            thread::sleep(PAUSE);
        }
        let before = now();
        stream.write_all(piece)?;
        times = Some((times.map_or(before, |(first, _)| first), before));
    }
    times.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// Reads until `enough` says how many bytes it wants of what has come, and so many are there. When the first and the
/// last of them had been read; `None` if the other end closes instead of beginning.
fn read(
    stream: &mut TcpStream,
    bytes: &mut Vec<u8>,
    mut enough: impl FnMut(&[u8]) -> Option<usize>,
) -> io::Result<Option<(i128, i128)>> {
    let mut first = None;
    loop {
        let mut buffer = [0; 8192];
        let count = stream.read(&mut buffer)?;
        let after = now();
        if count == 0 {
            return if first.is_none() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let first = *first.get_or_insert(after);
        bytes.extend_from_slice(&buffer[..count]);
        match enough(bytes) {
            Some(wanted) if bytes.len() == wanted => return Ok(Some((first, after))),
            Some(wanted) if bytes.len() > wanted => return Err(io::ErrorKind::InvalidData.into()),
            _ => {}
        }
    }
}

struct Server {
    listener: TcpListener,
    is_over: AtomicBool,
    halves: Mutex<Vec<Half>>,
}

impl Server {
    /// Answers on every connection that is made until it is over.
    fn run(&self) -> io::Result<()> {
        let failure = Mutex::new(None);
        thread::scope(|scope| {
            loop {
                let (stream, _) = self.listener.accept()?;
                if self.is_over.load(Ordering::Acquire) {
                    break;
                }
                let failure = &failure;
                scope.spawn(move || {
                    if let Err(error) = self.serve(stream) {
                        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                });
            }
            io::Result::Ok(())
        })?;
        match taken(failure) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Answers on one connection until the client closes it, or asks for that.
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        prepare(&stream)?;
        loop {
            let mut bytes = Vec::new();
            let mut asked = None;
            let request = read(&mut stream, &mut bytes, |bytes| {
                let (number, closes) = *asked.get_or_insert(asked_in(bytes)?);
                Some(Script::of(number, closes).request.concat().len())
            })?;
            let (Some(request), Some((number, has_own_connection))) = (request, asked) else { return Ok(()) };
            let script = Script::of(number, has_own_connection);
            let due = request.1 + script.delay.as_nanos() as i128;
            while let Ok(rest @ 1..) = u64::try_from(due - now()) {
                thread::sleep(Duration::from_nanos(rest));
            }
            let response = write(&mut stream, &script.response)?;
            push(&self.halves, Half { number, has_own_connection, request, response });
            if has_own_connection {
                return Ok(());
            }
        }
    }
}

/// The number in a request's head, and whether the connection is to be closed; `None` while the head is not whole.
fn asked_in(bytes: &[u8]) -> Option<(u64, bool)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let head = &text[..text.find("\r\n\r\n")?];
    let query = head.split(' ').nth(1)?.split_once('?')?.1;
    Some((number_in(query)?, head.contains("Connection: close")))
}

struct Clients<'a> {
    server: SocketAddr,
    plan: Plan,
    stop: &'a AtomicBool,
    next: AtomicU64,
    /// When the next request may be sent.
    free: Mutex<Instant>,
    halves: Mutex<Vec<Half>>,
}

impl Clients<'_> {
    fn run(&self) -> io::Result<()> {
        thread::scope(|scope| {
            let clients: Vec<_> =
                (0..CLIENTS).map(|client| scope.spawn(move || self.ask(client % 2 == 1))).collect();
            let ended = clients
                .into_iter()
                .map(|client| client.join().unwrap_or_else(|_| Err(io::Error::other("a client panicked"))));
            ended.collect()
        })
    }

    /// One client: asks until all numbers have been asked for.
    fn ask(&self, has_own_connection: bool) -> io::Result<()> {
        let mut kept: Option<TcpStream> = None;
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.plan.requests {
                break;
            }
            self.wait_for_turn();
            let script = Script::of(number, has_own_connection);
            let mut stream = match kept.take() {
                Some(stream) => stream,
                None => TcpStream::connect(self.server)?,
            };
            prepare(&stream)?;
            let request = write(&mut stream, &script.request)?;
            let expected = script.response.concat();
            let mut bytes = Vec::new();
            let response = read(&mut stream, &mut bytes, |_| Some(expected.len()))?;
            let response = response.ok_or(io::ErrorKind::UnexpectedEof)?;
            if bytes != expected {
                return Err(io::ErrorKind::InvalidData.into());
            }
            push(&self.halves, Half { number, has_own_connection, request, response });
            kept = (!has_own_connection).then_some(stream);
        }
        Ok(())
    }

    /// Waits until one more request does not make them too many a second.
    fn wait_for_turn(&self) {
        let turn = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = (*free).max(Instant::now());
            *free = turn + Duration::from_secs_f64(1.0 / self.plan.per_second);
            turn
        };
        thread::sleep(turn.saturating_duration_since(Instant::now()));
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))
}

/// ns since 1970, by the clock that software stamps of packets are of.
fn now() -> i128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i128)
}

fn push(halves: &Mutex<Vec<Half>>, half: Half) {
    halves.lock().unwrap_or_else(PoisonError::into_inner).push(half);
}

fn taken<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// What the server waits for, in turn.
pub const DELAYS: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(5), Duration::from_millis(50), Duration::from_millis(500)];

/// How long an end waits for the other: a machine may stand still for seconds.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// In front of the number in a request's query.
const QUERY: &str = "exchange=";

/// Requests under way at once, at most: an exchange takes 150 ms in the mean, so these could make some 200 a second.
const CLIENTS: usize = 32;

/// Between two writes of a message: longer than a segment takes, far shorter than a retransmission waits.
const PAUSE: Duration = Duration::from_millis(2);

/// Bytes of a piece of a body: it fits into a segment together with a head.
const PIECE: usize = 700;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_has_its_number() {
        let cycle = 4 * 3 * 4;
        let scripts: Vec<_> = (0..cycle).map(|number| Script::of(number, false)).collect();
        let mut seen: Vec<_> = scripts
            .iter()
            .map(|script| {
                (script.delay, script.request.len(), script.response.len(), script.response.concat().len())
            })
            .collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len() as u64, cycle);
        for (number, script) in scripts.iter().enumerate() {
            let request = script.request.concat();
            assert_eq!(asked_in(&request), Some((number as u64, false)));
            let own = Script::of(number as u64, true);
            assert_eq!(asked_in(&own.request.concat()), Some((number as u64, true)));
            let pieces = [&script.request, &script.response, &own.request, &own.response];
            assert!(pieces.iter().all(|pieces| pieces.iter().all(|piece| (1..1400).contains(&piece.len()))));
        }
    }

    #[test]
    fn a_request_is_known_by_its_whole_head() {
        let request = Script::of(7, true).request.concat();
        let head = request.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(asked_in(&request[..head - 1]), None);
        assert_eq!(asked_in(&request[..head]), Some((7, true)));
        assert_eq!(asked_in(b"GET / HTTP/1.1\r\n\r\n"), None);
    }

    #[test]
    fn times_that_cannot_be_are_told() {
        let window = |earliest, latest| Window { earliest, latest };
        let known = Known {
            number: 1,
            delay: Duration::from_nanos(100),
            waited_ns: 105,
            is_single_frames: false,
            has_own_connection: true,
            request_first: window(1_000, 1_010),
            request_last: window(1_020, 1_030),
            response_first: window(1_135, 1_150),
            response_last: window(1_200, 1_210),
        };
        let good = Measured { first: 1_005, send_ns: 20, ttfb_ns: 135, server_ns: 115, total_ns: 200 };
        assert_eq!(known.contradiction(&good), None);
        let bad = [
            Measured { first: 999, ..good },
            Measured { first: 1_011, ..good },
            Measured { send_ns: 14, ..good },
            Measured { send_ns: 26, ..good },
            Measured { ttfb_ns: 129, ..good },
            Measured { ttfb_ns: 146, ..good },
            Measured { server_ns: 99, ..good },
            Measured { server_ns: 131, ..good },
            Measured { total_ns: 194, ..good },
            Measured { total_ns: 206, ..good },
        ];
        for bad in bad {
            assert!(known.contradiction(&bad).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn requests_keep_their_pace_and_are_all_answered() {
        let Ok(()) = crate::lab::require() else { return };
        let lab = Lab::new().unwrap();
        let begun = Instant::now();
        let plan = Plan { requests: 48, per_second: 100.0 };
        let known = converse(&lab, 80, plan, &AtomicBool::new(false)).unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(470), "{:?}", begun.elapsed());
        assert_eq!(known.iter().map(|known| known.number).collect::<Vec<_>>(), (0..48).collect::<Vec<_>>());
        assert_eq!(known.iter().filter(|known| known.is_single_frames).count(), 4);
        for known in &known {
            assert!(known.waited_ns >= known.delay.as_nanos() as i128, "{known:?}");
            let windows =
                [known.request_first, known.request_last, known.response_first, known.response_last];
            assert!(windows.iter().all(|window| window.earliest <= window.latest), "{known:?}");
            assert!(windows.windows(2).all(|two| two[0].earliest <= two[1].earliest), "{known:?}");
        }
        let none = converse(&lab, 80, plan, &AtomicBool::new(true)).unwrap();
        assert_eq!(none, []);
    }
}
