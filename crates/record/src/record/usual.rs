//! The line of a usual exchange in JSON, at once.
//!
//! Nearly all exchanges have a request for a path and a response with a status, and nothing that needs escapes, masks
//! or a paragraph of the manual. Of their lines two thirds are always the same:
//!
//! ```text
//!   "},"client":{"address":"  10.0.0.1  ","port":  51234  },"server":{"address":"  shop.example  ...
//!   └─────── constant ──────┘          └ constant ┘       └────── constant ──────┘
//! ```
//!
//! Here the constants are copied as they are, values are looked at once, and nothing is put together that is not
//! written. What a line says is defined by [`Line`](super::parts::Line), to which every other exchange is left; a
//! test compares the two.

use std::borrow::Cow;
use std::fmt;

use gannet_http::{Exchange, Message};
use gannet_packet::{Endpoint, Surroundings};

use super::headers::{HeaderPart, Scan, Shown, is_plain_unmasked};
use super::message::{head_room, reason_phrase};
use super::origin::{Known, Said};
use super::own::{Reasons, is_odd};
use super::parts::{List, TcpPart};
use super::timing::Times;
use super::{RecordOptions, known_method, query_of, started};
use crate::decimal::Room;
use crate::json::{self, Plain, Written, put_number};
use crate::locator::Locator;
use crate::sheet::{Full, put, put_all, put_byte};
use crate::short::{ADDRESS_BYTES_MAX, Short};
use crate::text::Wire;
use crate::time::Rfc3339;
use crate::url::Url;

/// Appends the line of `exchange` to `out`, without its end. `None` if it is none of the usual.
pub(super) fn write(exchange: &Exchange, options: &RecordOptions, out: &mut Vec<u8>) -> Option<fmt::Result> {
    let (request, response) = (exchange.request.as_ref()?, exchange.response.as_ref()?);
    let is_usual = exchange.tunnel.is_none()
        && exchange.interim.is_empty()
        && exchange.connection.around == Surroundings::NONE
        && options.fields.is_none()
        && is_usual(request, options)
        && is_usual(response, options);
    let target = request.head.target();
    if !is_usual || !target.starts_with(b"/") {
        return None;
    }
    let (method, status) = (known_method(request.head.method())?, response.head.status()?);
    let url = Url::of_target(&request.head);
    let path = url.path.filter(|path| is_plain_unmasked(path))?;
    let (mut asked, mut answered) = (Scan::before(&request.head), Scan::before(&response.head));
    asked.look(&options.headers);
    answered.look(&options.headers);
    let said = Said::new(Some((&request.head, &asked)), Some(&answered), options);
    if said.operation.is_some() {
        return None;
    }
    let host = asked.known(Known::Host).and_then(|field| url.at(field).host);
    let host = host.map(|host| match asked.known_is_plain(Known::Host) {
        true => Shown::Plain(Plain(host)),
        false => Shown::AsItIs(Wire(host)),
    });
    let usual = Usual {
        exchange,
        options,
        request,
        response,
        method,
        status,
        asked: &asked,
        answered: &answered,
        said,
        path,
        query: query_of(url, options),
        host,
        client: EndText::of(exchange.connection.client),
        server: EndText::of(exchange.connection.server),
    };
    let more = head_room(request, options) + head_room(response, options);
    Some(json::on_sheet(out, more, |room| usual.put(room)))
}

/// Whether there is nothing to say of it but what everybody expects.
#[inline]
fn is_usual(message: &Message, options: &RecordOptions) -> bool {
    !is_odd(message) && (message.body.is_empty() || !options.bodies)
}

/// What is known of a usual exchange before its line is written.
struct Usual<'a> {
    exchange: &'a Exchange,
    options: &'a RecordOptions,
    request: &'a Message,
    response: &'a Message,
    method: &'static str,
    status: u16,
    asked: &'a Scan<'a>,
    answered: &'a Scan<'a>,
    said: Said<'a>,
    /// Needs neither escapes nor masks.
    path: &'a [u8],
    query: Option<Cow<'a, str>>,
    host: Option<Shown<'a>>,
    client: EndText,
    server: EndText,
}

impl Usual<'_> {
    fn put<'r>(&self, room: &'r mut [u8]) -> Written<'r> {
        let room = put_all(*b"{\"timestamp\":\"", room)?;
        let room = put_all(Rfc3339(started(self.exchange)).text(), room)?;
        let room = self.put_request(put_all(*b"\",\"http\":{\"request\":{\"method\":\"", room)?)?;
        let room = self.put_response(put_all(*b"}},\"response\":{\"status_code\":", room)?)?;
        let room = self.put_url(put_all(*b"}},\"route\":\"", room)?)?;
        let room = self.put_ends(put_all(*b",\"client\":{\"address\":\"", room)?)?;
        let room = self.put_said(room)?;
        let room = self.put_timing(put_all(*b",\"timing\":{\"connect_ns\":", room)?)?;
        let room = json::put(&TcpPart(&self.exchange.tcp), put_all(*b"},\"tcp\":", room)?)?;
        self.put_own(put_all(*b",\"gannet\":{\"id\":\"", room)?)
    }

    /// From the method to the size of the body.
    #[inline]
    fn put_request<'r>(&self, room: &'r mut [u8]) -> Written<'r> {
        let mut room = put_byte(b'"', put(self.method.as_bytes(), room)?)?;
        if let Some(id) = self.said.request_id {
            room = json::put(&Wire(id), put_all(*b",\"id\":", room)?)?;
        }
        self.put_message(self.request, self.asked, room)
    }

    /// From the status to the size of the body.
    #[inline]
    fn put_response<'r>(&self, room: &'r mut [u8]) -> Written<'r> {
        let mut room = put_number(Some(self.status.into()), room)?;
        if let Some(reason) = reason_phrase(&self.response.head) {
            room = json::put(&reason, put_all(*b",\"reason_phrase\":", room)?)?;
        }
        self.put_message(self.response, self.answered, room)
    }

    fn put_message<'r>(&self, message: &Message, scan: &Scan<'_>, room: &'r mut [u8]) -> Written<'r> {
        let (mut room, header) = (room, HeaderPart::new(scan, self.options));
        if !header.is_empty() {
            room = header.put(put_all(*b",\"header\":", room)?)?;
        }
        let room = put_number(Some(message.wire_bytes), put_all(*b",\"size\":", room)?)?;
        Ok(put_number(Some(message.body_bytes), put_all(*b",\"body\":{\"size\":", room)?)?)
    }

    /// Route, path and query.
    #[inline]
    fn put_url<'r>(&self, room: &'r mut [u8]) -> Written<'r> {
        let mut left = room;
        self.options.routes.pieces(self.path, |piece| {
            left = put(piece, std::mem::take(&mut left))?;
            Ok::<_, Full>(())
        })?;
        let room = put(self.path, put_all(*b"\"},\"url\":{\"path\":\"", left)?)?;
        let mut room = put_byte(b'"', room)?;
        if let Some(query) = &self.query {
            room = json::put(query, put_all(*b",\"query\":", room)?)?;
        }
        Ok(put_all(*b",\"scheme\":\"http\"}", room)?)
    }

    /// Who asked whom, over which version.
    #[inline]
    fn put_ends<'r>(&self, room: &'r mut [u8]) -> Written<'r> {
        let (client, server) = (&self.client, &self.server);
        let room = put(client.address(), room)?;
        let mut room = put(client.port(), put_all(*b"\",\"port\":", room)?)?;
        if let Some(client) = &self.said.forwarded_for {
            room = json::put(client, put_all(*b",\"forwarded_for\":", room)?)?;
        }
        let room = put_all(*b"},\"server\":{\"address\":", room)?;
        let room = match &self.host {
            Some(host) => json::put(host, room)?,
            None => json::put(&Plain(server.address()), room)?,
        };
        let room = put(server.port(), put_all(*b",\"port\":", room)?)?;
        let room = put(server.address(), put_all(*b"},\"network\":{\"peer\":{\"address\":\"", room)?)?;
        let room = put(server.port(), put_all(*b"\",\"port\":", room)?)?;
        let room = put_all(*b"},\"protocol\":{", room)?;
        let room = match self.request.head.version() {
            None => room,
            Some(b"1.1") => put_all(*b"\"version\":\"1.1\"", room)?,
            Some(version) => json::put(&Wire(version), put_all(*b"\"version\":", room)?)?,
        };
        Ok(put_all(*b"}}", room)?)
    }

    /// What the request says of where it comes from, and where this was seen.
    #[inline]
    fn put_said<'r>(&self, room: &'r mut [u8]) -> Written<'r> {
        let mut room = room;
        if let Some(agent) = &self.said.agent {
            room = put_byte(b'}', json::put(agent, put_all(*b",\"user_agent\":{\"original\":", room)?)?)?;
        }
        if let (Some(trace), Some(span)) = (self.said.trace_id, self.said.span_id) {
            room = json::put(trace, put_all(*b",\"trace_id\":", room)?)?;
            room = json::put(span, put_all(*b",\"span_id\":", room)?)?;
        }
        if let Some(name) = &self.options.host_name {
            room = put_byte(b'}', json::put(&**name, put_all(*b",\"host\":{\"name\":", room)?)?)?;
        }
        Ok(room)
    }

    #[inline]
    fn put_timing<'r>(&self, room: &'r mut [u8]) -> Written<'r> {
        let times = Times::of(self.exchange);
        let room = put_number(times.connect_ns, room)?;
        let room = put_number(times.connect_server_ns, put_all(*b",\"connect_server_ns\":", room)?)?;
        let room = put_number(times.connect_client_ns, put_all(*b",\"connect_client_ns\":", room)?)?;
        let room = put_number(times.send_ns, put_all(*b",\"send_ns\":", room)?)?;
        let room = put_number(times.ttfb_ns, put_all(*b",\"ttfb_ns\":", room)?)?;
        let room = put_number(times.server_ns, put_all(*b",\"server_ns\":", room)?)?;
        let room = put_number(times.receive_ns, put_all(*b",\"receive_ns\":", room)?)?;
        let room = put_number(times.total_ns, put_all(*b",\"total_ns\":", room)?)?;
        let room = put_number(times.think_ns, put_all(*b",\"think_ns\":", room)?)?;
        let room = put_number(times.server_rtt_ns, put_all(*b",\"server_rtt_ns\":", room)?)?;
        let room = put_number(times.client_rtt_ns, put_all(*b",\"client_rtt_ns\":", room)?)?;
        let room = put_number(times.network_estimate_ns, put_all(*b",\"network_estimate_ns\":", room)?)?;
        let room = put_number(times.syn_ns, put_all(*b",\"syn_ns\":", room)?)?;
        let room = put_number(times.synack_ns, put_all(*b",\"synack_ns\":", room)?)?;
        let room = put_number(times.hs_ack_ns, put_all(*b",\"hs_ack_ns\":", room)?)?;
        let room = put_number(times.req_first_ns, put_all(*b",\"req_first_ns\":", room)?)?;
        let room = put_number(times.req_hdr_end_ns, put_all(*b",\"req_hdr_end_ns\":", room)?)?;
        let room = put_number(times.req_last_ns, put_all(*b",\"req_last_ns\":", room)?)?;
        let room = put_number(times.resp_first_ns, put_all(*b",\"interim\":[],\"resp_first_ns\":", room)?)?;
        let room = put_number(times.resp_hdr_end_ns, put_all(*b",\"resp_hdr_end_ns\":", room)?)?;
        Ok(put_number(times.resp_last_ns, put_all(*b",\"resp_last_ns\":", room)?)?)
    }

    /// What the record says of itself, and the end of the line.
    #[inline]
    fn put_own<'r>(&self, room: &'r mut [u8]) -> Written<'r> {
        let exchange = self.exchange;
        let (name, index) = (exchange.connection.id.text(), Some(exchange.index.into()));
        let room = put_number(index, put_byte(b'-', put_all(name, room)?)?)?;
        let room = put(exchange.state.name().as_bytes(), put_all(*b"\",\"state\":\"", room)?)?;
        let room = put(exchange.reason.name().as_bytes(), put_all(*b"\",\"reason\":\"", room)?)?;
        let room = put_all(*b"\",\"pair_confidence\":\"", room)?;
        let room = put(exchange.confidence.name().as_bytes(), room)?;
        let room = put_all(*b"\",\"untrusted\":", room)?;
        let mut room = match exchange.untrusted.any() {
            true => json::put(&List(Reasons(exchange)), room)?,
            false => put_all(*b"[]", room)?,
        };
        if let Some(name) = self.options.interfaces.shared_name(exchange.connection.interface) {
            room = json::put(&*name, put_all(*b",\"interface\":", room)?)?;
        }
        let room = put_all(name, put_all(*b",\"locator\":\"", room)?)?;
        let room = put_number(index, put_byte(b'-', room)?)?;
        let room = put(self.client.both(), put_byte(b'@', room)?)?;
        let room = put(self.server.both(), put_byte(b'-', room)?)?;
        let Locator { first, last, .. } = Locator::of(exchange);
        let room = put_number(Some(first.0), put_byte(b'@', room)?)?;
        let room = put_number(Some(last.0.saturating_sub(first.0)), put_byte(b'+', room)?)?;
        Ok(put_all(*b"\"}}", room)?)
    }
}

/// An end of a connection as text, `10.0.0.1.8080`.
struct EndText {
    text: Short<{ ADDRESS_BYTES_MAX + 6 }>,
    address_len: usize,
}

impl EndText {
    #[inline]
    fn of(end: Endpoint) -> Self {
        let mut text = Short::new();
        text.address(end.address);
        let address_len = text.as_bytes().len();
        text.put(*b".", 1);
        text.number(end.port);
        Self { text, address_len }
    }

    fn both(&self) -> &[u8] {
        self.text.as_bytes()
    }

    fn address(&self) -> &[u8] {
        self.both().get(..self.address_len).unwrap_or_default()
    }

    fn port(&self) -> &[u8] {
        self.both().get(self.address_len + 1..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use gannet_flow::Handshake;
    use gannet_http::{Confidence, Head, Interim, Reason, State, Untrusted};
    use gannet_packet::Timestamp;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::sample::{FIRST, exchange, head};
    use crate::{HeaderSelection, Interfaces, Record, Routes};

    /// The line as [`Line`](super::super::parts::Line) has it, and whether it is a usual one, which is the same then.
    fn both(exchange: &Exchange, options: &RecordOptions) -> (String, bool) {
        let line = serde_json::to_string(&Record::new(exchange, options)).unwrap();
        let mut out = b"before".to_vec();
        let is_usual = write(exchange, options, &mut out).is_some_and(|written| written.is_ok());
        let expected = if is_usual { format!("before{line}") } else { "before".to_owned() };
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        (line, is_usual)
    }

    fn usual() -> Exchange {
        let fields: [(&[u8], &[u8]); 2] = [(b"Host", b"shop.example:8080"), (b"User-Agent", b"curl/8.5")];
        exchange(head(b"GET /users/42?full=1 HTTP/1.1", &fields), head(b"HTTP/1.1 200 OK", &[]))
    }

    #[test]
    fn what_is_not_usual_is_left_to_others() {
        let is_usual = |change: &dyn Fn(&mut Exchange)| {
            let mut exchange = usual();
            change(&mut exchange);
            both(&exchange, &RecordOptions::default()).1
        };
        let asked = |exchange: &mut Exchange, line: &[u8]| {
            exchange.request.iter_mut().for_each(|request| request.head = head(line, &[]));
        };
        assert!(is_usual(&|_| ()));
        assert!(!is_usual(&|exchange| exchange.request = None));
        assert!(!is_usual(&|exchange| exchange.response = None));
        assert!(!is_usual(
            &|exchange| exchange.interim = vec![Interim { status: 100, first: Timestamp(FIRST) }]
        ));
        assert!(!is_usual(&|exchange| exchange.connection.around = Surroundings::sample(None, &[7])));
        assert!(!is_usual(&|exchange| asked(exchange, b"BREW /pot HTTP/1.1")));
        assert!(!is_usual(&|exchange| asked(exchange, b"GET http://h/ HTTP/1.1")));
        assert!(!is_usual(&|exchange| asked(exchange, b"OPTIONS * HTTP/1.1")));
        assert!(!is_usual(&|exchange| asked(exchange, b"GET /a@b HTTP/1.1")));
        assert!(!is_usual(&|exchange| asked(exchange, "GET /\u{e9} HTTP/1.1".as_bytes())));
        assert!(!is_usual(&|exchange| {
            exchange.response.iter_mut().for_each(|response| response.body = b"body".as_slice().into());
        }));
        let fields = Some(crate::fields::Choice::new(["timing"]).unwrap());
        assert!(!both(&usual(), &RecordOptions { fields, ..RecordOptions::default() }).1);
    }

    /// Header fields that records make something of, with values of any kind.
    fn any_head(line: impl Strategy<Value = String>) -> impl Strategy<Value = Head> {
        let name = select(vec![
            "Host",
            "User-Agent",
            "content-type",
            "Server",
            "Location",
            "X-Forwarded-For",
            "Forwarded",
            "traceparent",
            "X-Request-Id",
            "SOAPAction",
            "Cookie",
            "Authorization",
            "X-A",
            "x-a-name-that-is-longer-than-most-are",
        ]);
        let value = prop_oneof![
            "[ -~]{0,60}",
            "[a-z.]{1,12}(:80)?",
            Just("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
            Just("for=\"[2001:db8::1]:47\";proto=http, for=b".to_owned()),
            Just("x".repeat(3_000)),
            "\\PC{0,9}",
        ];
        (line, proptest::collection::vec((name, value), 0..9)).prop_map(|(line, fields)| {
            let fields: Vec<_> =
                fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
            head(line.as_bytes(), &fields)
        })
    }

    fn any_request() -> impl Strategy<Value = Head> {
        any_head(
            "(GET|POST|QUERY|PURGE) (/[a-z0-9.-]{0,18}){1,10}([?]([a-z]{1,3}=[ -~&&[^ ]]{0,9}&|sig=[a-z]{0,3}&){0,4})? \
             HTTP/1[.][012]",
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]

        /// Against `serde_json`, with all that a usual exchange may have and may lack.
        #[test]
        fn usual_lines_are_those_of_serde_json(
            request in any_request(),
            response in any_head("HTTP/1[.][01] [2-5][0-9][0-9]( [A-Za-z\"]{1,9})?".prop_map(String::from)),
            (times, shift) in (any::<[Option<u64>; 12]>(), 0..64_u32), numbers: [u64; 8], address: IpAddr, flags: [bool; 6],
            state in select(vec![State::Complete, State::Gap, State::Aborted]), headers in 0..3_u8,
        ) {
            let mut exchange = exchange(request, response);
            let [a, b, c, d, e, f, g, h, i, j, k, l] = times.map(|time| time.map(|time| time >> shift));
            let timing = &mut exchange.timing;
            (timing.connect, timing.send, timing.ttfb, timing.server) = (a, b, c, d);
            (timing.receive, timing.total, timing.think) = (e, f, g);
            (timing.server_round_trip, timing.client_round_trip) = (h, i);
            timing.handshake = Handshake::new(j.map(Timestamp), k.map(Timestamp), l.map(Timestamp));
            for (message, [first, head, size]) in exchange.request.iter_mut().zip([[numbers[0], numbers[1], numbers[2]]]) {
                (message.first, message.head_end, message.wire_bytes) = (Timestamp(first), Timestamp(head), size >> shift);
            }
            (exchange.index, exchange.tcp.gap_bytes) = (numbers[3] as u32 >> (shift / 2), numbers[4] >> shift);
            exchange.connection.server.address = address;
            exchange.connection.client.port = numbers[5] as u16;
            exchange.connection.interface = u32::from(flags[0]);
            (exchange.state, exchange.reason, exchange.confidence) = (state, Reason::Fin, Confidence::Medium);
            exchange.untrusted = Untrusted { gap: flags[1], midstream: flags[2], ..Untrusted::default() };
            let interfaces = Interfaces::default();
            interfaces.add("eth0".to_owned());
            let options = RecordOptions {
                interfaces,
                redact: flags[3],
                host_name: flags[4].then(|| "tap \"1\"".into()),
                routes: Routes::new(if flags[5] { vec!["/{any}/*".to_owned()] } else { Vec::new() }).unwrap(),
                headers: match headers {
                    0 => HeaderSelection::default(),
                    1 => HeaderSelection::named(["x-a", "cookie", "x-a-name-that-is-longer-than-most-are"]),
                    _ => HeaderSelection::all(),
                },
                ..RecordOptions::default()
            };
            both(&exchange, &options);
        }
    }
}
