//! Random conversations, cut and interleaved at random: the analysis must find what the builder put in.

use gannet_packet::Timestamp;
use proptest::prelude::*;

use crate::testing::{CLIENT, Lane, SERVER};
use crate::{Confidence, Exchange, Message, State};

/// A message as it is to be built.
#[derive(Clone, Debug)]
struct Spec {
    method: &'static str,
    /// Sent without waiting for the answer to the one before.
    pipelined: bool,
    request: Body,
    interim: Vec<u16>,
    status: u16,
    response: Body,
    fields: usize,
    /// Bodies of known length look like messages.
    sly: bool,
    bare_line_feeds: bool,
}

#[derive(Clone, Debug)]
enum Body {
    None,
    Length(usize),
    /// Sizes of chunks; extensions and trailers if odd.
    Chunks(Vec<usize>),
}

/// One direction as it is sent.
#[derive(Default)]
struct Stream {
    bytes: Vec<u8>,
    messages: Vec<Built>,
    /// Ranges in which bytes may be missing and nothing changes.
    unseen: Vec<(usize, usize)>,
    /// Offsets of interim responses, by the message they precede.
    interim: Vec<(usize, u16, usize)>,
    /// Ends of segments and their times.
    times: Vec<(usize, u64)>,
    missing: Vec<(usize, usize)>,
}

struct Built {
    start: usize,
    body: usize,
    end: usize,
    body_bytes: usize,
}

impl Stream {
    fn head(&mut self, spec: &Spec, start_line: &str, framing: &str) -> usize {
        let start = self.bytes.len();
        let end = if spec.bare_line_feeds { "\n" } else { "\r\n" };
        let mut head = format!("{start_line}{end}");
        for index in 0..spec.fields {
            head += &format!("X-Field-{index}: value number {index}{end}");
        }
        head += framing;
        head += end;
        self.bytes.extend_from_slice(head.as_bytes());
        start
    }

    fn message(&mut self, spec: &Spec, start_line: &str, framing: &Body, without_body: bool) {
        let fields = match framing {
            Body::None => String::new(),
            Body::Length(len) => format!("Content-Length: {len}\r\n"),
            Body::Chunks(_) => "transfer-encoding: chunked\r\n".into(),
        };
        let start = self.head(spec, start_line, &fields);
        let body = self.bytes.len();
        let mut body_bytes = 0;
        match framing {
            _ if without_body => {}
            Body::None => {}
            Body::Length(len) => {
                // What a body looks like means nothing.
                let filler = b"HTTP/1.1 200 OK\r\n\r\nGET / HTTP/1.1\r\n\r\n".iter().cycle();
                self.bytes.extend(filler.skip(usize::from(!spec.sly)).take(*len));
                body_bytes = *len;
                // The last byte carries a time.
                self.unseen.push((body, self.bytes.len().saturating_sub(1)));
            }
            Body::Chunks(sizes) => {
                for (index, size) in sizes.iter().enumerate() {
                    let line = if size % 2 == 1 {
                        format!("{size:X};a=\"b\"\r\n")
                    } else {
                        format!("0{size:x}\r\n")
                    };
                    self.bytes.extend_from_slice(line.as_bytes());
                    let data = self.bytes.len();
                    self.bytes.extend(b"\r\n0\r\n\r\n".iter().cycle().skip(index).take(*size));
                    self.unseen.push((data, self.bytes.len()));
                    self.bytes.extend_from_slice(b"\r\n");
                    body_bytes += size;
                }
                let end = if sizes.len() % 2 == 1 { "0\r\n\r\n" } else { "000\r\nTrailer: x\r\n\r\n" };
                self.bytes.extend_from_slice(end.as_bytes());
            }
        }
        self.messages.push(Built { start, body, end: self.bytes.len(), body_bytes });
    }

    /// When the byte at `offset` was seen.
    fn time(&self, offset: usize) -> u64 {
        self.times.iter().find(|(end, _)| *end > offset).expect("delivered").1
    }

    fn missing(&self, message: &Built) -> usize {
        let within =
            |(from, to): &(usize, usize)| to.min(&message.end).saturating_sub(*from.max(&message.start));
        self.missing.iter().map(within).sum()
    }
}

/// Builds both directions.
fn build(specs: &[Spec]) -> (Stream, Stream) {
    let (mut client, mut server) = (Stream::default(), Stream::default());
    for (index, spec) in specs.iter().enumerate() {
        client.message(spec, &format!("{} /{index} HTTP/1.1", spec.method), &spec.request, false);
        for status in &spec.interim {
            let start = server.head(spec, &format!("HTTP/1.1 {status} Interim"), "");
            server.interim.push((index, *status, start));
        }
        let without_body = spec.method == "HEAD" || matches!(spec.status, 204 | 304);
        server.message(spec, &format!("HTTP/1.1 {} Status", spec.status), &spec.response, without_body);
    }
    (client, server)
}

/// Delivers both directions so that an answer follows its request, and a request that is not pipelined every answer
/// before it. `choices` are used in a circle.
fn deliver(specs: &[Spec], client: &mut Stream, server: &mut Stream, choices: &[u16], gaps: bool) -> Lane {
    let mut lane = Lane::new();
    let (mut sent, mut answered) = (0, 0);
    let mut choices = choices.iter().copied().cycle();
    let mut choose = move || usize::from(choices.next().expect("endless"));
    while sent < client.bytes.len() || answered < server.bytes.len() {
        let done = server.messages.iter().take_while(|message| message.end <= answered).count();
        let asked = client.messages.iter().take_while(|message| message.end <= sent).count();
        let mut allowed = done + 1;
        while allowed < specs.len() && specs[allowed].pipelined {
            allowed += 1;
        }
        let client_to = client.messages[allowed.min(specs.len()) - 1].end;
        let server_to = asked.checked_sub(1).map_or(0, |last| server.messages[last].end);
        let clients_turn = sent < client_to && (answered >= server_to || choose() % 2 == 0);
        let (stream, from, at, to) = if clients_turn {
            (&mut *client, CLIENT, &mut sent, client_to)
        } else {
            (&mut *server, SERVER, &mut answered, server_to)
        };
        let size = match choose() % 4 {
            0 => 1,
            1 => 1 + choose() % 9,
            _ => 1 + choose() % 3_000,
        };
        let mut end = (*at + size).min(to);
        let unseen = stream.unseen.iter().find(|(from, to)| from <= at && *at < *to).filter(|_| gaps);
        lane.now += choose() as u64 % 50 * 100;
        match unseen {
            Some((_, to)) if choose() % 2 == 0 => {
                end = end.min(*to);
                lane.gap(from, (end - *at) as u64);
                stream.missing.push((*at, end));
            }
            _ => {
                if from == CLIENT {
                    lane.client(&stream.bytes[*at..end]);
                } else {
                    lane.server(&stream.bytes[*at..end]);
                }
            }
        }
        stream.times.push((end, lane.now));
        *at = end;
    }
    lane
}

fn check_message(found: &Message, built: &Built, stream: &Stream) {
    assert_eq!(found.head.raw(), &stream.bytes[built.start..built.body]);
    assert_eq!(found.first, Timestamp(stream.time(built.start)));
    assert_eq!(found.head_end, Timestamp(stream.time(built.body - 1)));
    assert_eq!(found.last, Timestamp(stream.time(built.end - 1)));
    assert_eq!(found.body_bytes, built.body_bytes as u64);
    assert_eq!(found.wire_bytes, (built.end - built.start) as u64);
    assert_eq!(found.gap_bytes, stream.missing(built) as u64);
    assert!(found.complete && !found.ambiguous_length);
}

fn check(exchanges: &[Exchange], specs: &[Spec], client: &Stream, server: &Stream) {
    assert_eq!(exchanges.len(), specs.len());
    let mut previous = 0;
    for (index, (exchange, spec)) in exchanges.iter().zip(specs).enumerate() {
        let (asked, answered) = (&client.messages[index], &server.messages[index]);
        let (request, response) = (exchange.request.as_ref().unwrap(), exchange.response.as_ref().unwrap());
        check_message(request, asked, client);
        check_message(response, answered, server);
        assert_eq!(request.head.method(), spec.method.as_bytes());
        assert_eq!(request.head.target(), format!("/{index}").as_bytes());
        assert_eq!(response.head.status(), Some(spec.status));
        assert_eq!(response.head.reason(), b"Status");
        let interim: Vec<_> = exchange.interim.iter().map(|one| (one.status, one.first.0)).collect();
        let sent = server.interim.iter().filter(|(before, ..)| *before == index);
        assert_eq!(interim, sent.map(|(_, status, at)| (*status, server.time(*at))).collect::<Vec<_>>());

        let (first, last) = (client.time(asked.start), client.time(asked.end - 1));
        let (start, end) = (server.time(answered.start), server.time(answered.end - 1));
        let timing = exchange.timing;
        assert_eq!(timing.connect, (index == 0).then_some(25));
        assert_eq!(timing.send, Some(last - first));
        assert_eq!(timing.ttfb, Some(start - first));
        assert_eq!(timing.server, Some(start - last.max(previous)));
        assert_eq!(timing.receive, Some(end - start));
        assert_eq!(timing.total, Some(end - first));
        previous = end;

        assert_eq!((exchange.state, exchange.confidence), (State::Complete, Confidence::High));
        assert!(!exchange.untrusted.any());
        assert_eq!(exchange.index, index as u32);
        assert_eq!(exchange.completed.time, Timestamp(end));
    }
}

fn any_body() -> impl Strategy<Value = Body> {
    prop_oneof![
        Just(Body::None),
        (0_usize..5_000).prop_map(Body::Length),
        (0_usize..20).prop_map(Body::Length),
        prop::collection::vec(1_usize..40, 0..6).prop_map(Body::Chunks),
        prop::collection::vec(1_usize..4_000, 0..4).prop_map(Body::Chunks),
    ]
}

fn any_spec() -> impl Strategy<Value = Spec> {
    let method =
        prop::sample::select(vec!["GET", "HEAD", "POST", "PUT", "M-SEARCH", "VERSION-CONTROL", "OPTIONS"]);
    let interim = prop::collection::vec(prop::sample::select(vec![100, 102, 103]), 0..3);
    let status = prop::sample::select(vec![200, 201, 204, 301, 304, 404, 500, 599]);
    (method, any::<bool>(), any_body(), interim, status, any_body(), 0_usize..80, any::<(bool, bool)>())
        .prop_map(
            |(method, pipelined, request, interim, status, response, fields, (sly, bare_line_feeds))| Spec {
                method,
                pipelined,
                request,
                interim,
                status,
                // Without a length it would go on to the connection's end.
                response: if matches!(response, Body::None) { Body::Length(0) } else { response },
                fields: if fields > 70 { fields } else { fields % 8 },
                sly,
                bare_line_feeds,
            },
        )
}

proptest! {
    #[test]
    fn what_was_built_is_found(
        specs in prop::collection::vec(any_spec(), 1..12),
        choices in prop::collection::vec(any::<u16>(), 1..200),
        gaps: bool,
    ) {
        let (mut client, mut server) = build(&specs);
        let mut lane = deliver(&specs, &mut client, &mut server, &choices, gaps);
        check(&lane.finish(), &specs, &client, &server);
        let counters = lane.http.counters();
        prop_assert_eq!(counters.skipped_bytes, 0);
        prop_assert_eq!(counters.complete, specs.len() as u64);
        prop_assert_eq!(lane.http.sink().heads.len(), 2 * specs.len() + server.interim.len());
    }

    /// The capture sees each answer before its request.
    #[test]
    fn the_directions_are_captured_in_the_wrong_order(
        mut specs in prop::collection::vec(any_spec(), 1..12),
        size in 1_usize..2_000,
    ) {
        // Without its request an answer to HEAD is one with a body, until something else than the body comes.
        for spec in &mut specs {
            spec.method = if spec.method == "HEAD" { "GET" } else { spec.method };
            // A body that begins like an answer is taken for one as long as its request could be a HEAD.
            spec.sly = false;
        }
        let (client, server) = build(&specs);
        let mut lane = Lane::new();
        let mut at = [0; 2];
        for index in 0..specs.len() {
            lane.sent[CLIENT as usize] = client.messages[index].end as u64;
            for piece in server.bytes[at[1]..server.messages[index].end].chunks(size) {
                lane.server(piece);
            }
            lane.sent[CLIENT as usize] = at[0] as u64;
            for piece in client.bytes[at[0]..client.messages[index].end].chunks(size) {
                lane.data(CLIENT, piece, Some(at[1] as u64));
            }
            at = [client.messages[index].end, server.messages[index].end];
        }
        let exchanges = lane.finish();
        prop_assert_eq!(exchanges.len(), specs.len());
        for (index, exchange) in exchanges.iter().enumerate() {
            prop_assert_eq!(exchange.state, State::Complete);
            prop_assert_eq!(exchange.confidence, Confidence::High);
            let target = format!("/{index}");
            prop_assert_eq!(exchange.request.as_ref().unwrap().head.target(), target.as_bytes());
            prop_assert_eq!(exchange.response.as_ref().unwrap().head.status(), Some(specs[index].status));
            let answered = &server.messages[index];
            prop_assert_eq!(exchange.response.as_ref().unwrap().body_bytes, answered.body_bytes as u64);
        }
    }
}
