//! The list.

use gannet_http::{Confidence, DecodeEnd, Reason, State, TunnelProtocol, Untrusted};
use gannet_packet::TunnelKind;

use super::{Field, Kind, Lines, Value};
use crate::record::{KNOWN_METHODS, OTHER_METHOD, all_notes};

/// All fields, in the order of a line; an object before what is in it.
pub const FIELDS: &[Field] = &[
    field("timestamp", Kind::Time, ALL, ALL, "the request's first byte, or that of a response without a request; of an event, the first byte of its message"),
    field("http", Kind::Object, ALL, ALL, "the two messages"),
    field("http.request", Kind::Object, ALL, QP, "the request"),
    field("http.request.method", Kind::Word(methods), ALL, ALL, "the method if it is a known one, else _OTHER"),
    field("http.request.method_original", Kind::Text, ALL, NONE, "the method as sent, if it is not a known one"),
    field("http.request.id", Kind::Text, ALL, NONE, "what identifies the request, out of the first of x-request-id, x-correlation-id, x-amzn-trace-id, request-id, x-amz-request-id, x-ms-request-id, x-cloud-trace-context that it has, else that its response has; anybody can write it"),
    field("http.request.header", Kind::Headers, ALL, NONE, "the header fields that --header selects"),
    field("http.request.size", Kind::Integer(u64::MAX), XQ, X, "the whole message on the wire").unit("bytes"),
    field("http.request.body", Kind::Object, XQ, X, "the body"),
    field("http.request.body.size", Kind::Integer(u64::MAX), XQ, XQ, "on the wire, after removing the framing of chunks; bytes that were not captured are counted").unit("bytes"),
    field("http.request.body.content_type", Kind::Text, XQ, NONE, "its Content-Type, if bytes of it were kept (--body)"),
    field("http.request.body.encoding", Kind::Text, XQ, NONE, "its Content-Encoding, if bytes of it were kept"),
    field("http.request.body.decoded_size", Kind::Integer(u64::MAX), XQ, NONE, "the content, decoded, before it was escaped").unit("bytes"),
    field("http.request.body.decoding", Kind::Word(decodings), XQ, NONE, "how decoding ended: whole, or why not all of it is there: the body is cut off or has a hole (truncated), the output has a bound (too-long, bomb), the codings are too many, unknown, or not what they are called (corrupt)"),
    field("http.request.body.truncated", Kind::Boolean, XQ, NONE, "the content is not all of the body"),
    field("http.request.body.content", Kind::Text, XQ, NONE, "what was kept of the body, decoded. Bytes that are not UTF-8 are U+FFFD and two hexadecimal digits each, and so is a U+FFFD that was sent; the charset is not looked at, and credentials are not masked"),
    field("http.request.trailer", Kind::Headers, XQ, NONE, "all fields behind a chunked body"),
    field("http.response", Kind::Object, XIA, IA, "the final response; of an event, the interim or final one"),
    field("http.response.status_code", Kind::Integer(999), XIA, NONE, "the status code; absent if there is no number of three digits, and HTTP/0.9 has none"),
    field("http.response.reason_phrase", Kind::Text, XIA, NONE, "the reason phrase, if there is one"),
    field("http.response.header", Kind::Headers, XIA, NONE, "the header fields that --header selects"),
    field("http.response.size", Kind::Integer(u64::MAX), XA, X, "the whole message on the wire").unit("bytes"),
    field("http.response.body", Kind::Object, XA, X, "the body"),
    field("http.response.body.size", Kind::Integer(u64::MAX), XA, XA, "on the wire, after removing the framing of chunks; bytes that were not captured are counted").unit("bytes"),
    field("http.response.body.content_type", Kind::Text, XA, NONE, "its Content-Type, if bytes of it were kept (--body)"),
    field("http.response.body.encoding", Kind::Text, XA, NONE, "its Content-Encoding, if bytes of it were kept"),
    field("http.response.body.decoded_size", Kind::Integer(u64::MAX), XA, NONE, "the content, decoded, before it was escaped").unit("bytes"),
    field("http.response.body.decoding", Kind::Word(decodings), XA, NONE, "how decoding ended: whole, or why not all of it is there: the body is cut off or has a hole (truncated), the output has a bound (too-long, bomb), the codings are too many, unknown, or not what they are called (corrupt)"),
    field("http.response.body.truncated", Kind::Boolean, XA, NONE, "the content is not all of the body"),
    field("http.response.body.content", Kind::Text, XA, NONE, "what was kept of the body, decoded. Bytes that are not UTF-8 are U+FFFD and two hexadecimal digits each, and so is a U+FFFD that was sent; the charset is not looked at, and credentials are not masked"),
    field("http.response.trailer", Kind::Headers, XA, NONE, "all fields behind a chunked body"),
    field("http.route", Kind::Text, ALL, NONE, "the template of the path, as in /users/{id}, with the operation of a SOAP request behind a blank"),
    field("url", Kind::Object, ALL, NONE, "what was asked for; absent without a request"),
    field("url.path", Kind::Text, ALL, NONE, "the path, credentials masked; absent for CONNECT"),
    field("url.query", Kind::Text, ALL, NONE, "what is behind the question mark, signatures masked"),
    field("url.scheme", Kind::Text, ALL, NONE, "of the target if it has one, else http; absent for CONNECT"),
    field("url.original", Kind::Text, ALL, NONE, "the target as sent, credentials masked, if it does not begin with a slash: host and port of CONNECT, a whole URL, *"),
    field("client", Kind::Object, ALL, ALL, "who sent the request"),
    field("client.address", Kind::Text, ALL, ALL, "its IP address on this connection"),
    field("client.port", Kind::Integer(u16::MAX as u64), ALL, ALL, "its TCP port"),
    field("client.forwarded_for", Kind::Text, ALL, NONE, "the client that the first proxy names, out of Forwarded (RFC 7239), else X-Forwarded-For; without the port; anybody can write it"),
    field("server", Kind::Object, ALL, ALL, "who was asked"),
    field("server.address", Kind::Text, ALL, ALL, "the host of the target or the Host field, else the IP address"),
    field("server.port", Kind::Integer(u16::MAX as u64), ALL, ALL, "its TCP port"),
    field("network", Kind::Object, ALL, ALL, "the connection"),
    field("network.peer", Kind::Object, ALL, ALL, "the server's end of the connection"),
    field("network.peer.address", Kind::Text, ALL, ALL, "its IP address"),
    field("network.peer.port", Kind::Integer(u16::MAX as u64), ALL, ALL, "its TCP port"),
    field("network.protocol", Kind::Object, ALL, ALL, "HTTP"),
    field("network.protocol.version", Kind::Text, ALL, NONE, "the version in the start line as sent: 1.0, 1.1, or something odd; 0.9 without one; absent if it was not seen"),
    field("user_agent", Kind::Object, ALL, NONE, "the program of the client"),
    field("user_agent.original", Kind::Text, ALL, ALL, "the User-Agent field"),
    field("trace_id", Kind::Text, ALL, NONE, "of the traceparent field (W3C Trace Context), if there is one and it is valid; anybody can write it"),
    field("span_id", Kind::Text, ALL, NONE, "the parent's id in it"),
    field("host", Kind::Object, ALL, NONE, "the machine that captured; not in records made from files"),
    field("host.name", Kind::Text, ALL, ALL, "its name"),
    field("timing", Kind::Object, XQA, X, "when, in nanoseconds since 1970, and how long"),
    field("timing.connect_ns", Kind::Integer(u64::MAX), X, X, "from the SYN to the end of the handshake; on the first exchange of a connection only").unit("ns").or_null(),
    field("timing.connect_server_ns", Kind::Integer(u64::MAX), X, X, "from SYN to SYN+ACK: from the capture point to the server and back").unit("ns").or_null(),
    field("timing.connect_client_ns", Kind::Integer(u64::MAX), X, X, "from SYN+ACK to its acknowledgement: from the capture point to the client and back").unit("ns").or_null(),
    field("timing.send_ns", Kind::Integer(u64::MAX), XQ, X, "from the request's first to its last byte").unit("ns").or_null(),
    field("timing.ttfb_ns", Kind::Integer(u64::MAX), X, X, "from the request's first to the response's first byte").unit("ns").or_null(),
    field("timing.server_ns", Kind::Integer(u64::MAX), X, X, "from the request's last byte, or the end of the response before if that is later, to the response's first byte; null if the answer came first").unit("ns").or_null(),
    field("timing.receive_ns", Kind::Integer(u64::MAX), XA, X, "from the response's first to its last byte").unit("ns").or_null(),
    field("timing.total_ns", Kind::Integer(u64::MAX), X, X, "from the request's first to the response's last byte").unit("ns").or_null(),
    field("timing.think_ns", Kind::Integer(u64::MAX), X, X, "from the last byte of the response before to the first of the request").unit("ns").or_null(),
    field("timing.server_rtt_ns", Kind::Integer(u64::MAX), X, X, "from the capture point to the server and back: the shortest time of data and their acknowledgement, or of the handshake").unit("ns").or_null(),
    field("timing.client_rtt_ns", Kind::Integer(u64::MAX), X, X, "from the capture point to the client and back").unit("ns").or_null(),
    field("timing.network_estimate_ns", Kind::Integer(u64::MAX), X, X, "how much of server_ns was on the way: one way to the server and one back").unit("ns").or_null(),
    field("timing.syn_ns", Kind::Integer(u64::MAX), X, X, "the first SYN, since 1970; on the first exchange of a connection only").unit("ns").or_null(),
    field("timing.synack_ns", Kind::Integer(u64::MAX), X, X, "the first SYN+ACK, since 1970").unit("ns").or_null(),
    field("timing.hs_ack_ns", Kind::Integer(u64::MAX), X, X, "the first acknowledgement of it, since 1970").unit("ns").or_null(),
    field("timing.req_first_ns", Kind::Integer(u64::MAX), X, X, "the request's first byte, since 1970").unit("ns").or_null(),
    field("timing.req_hdr_end_ns", Kind::Integer(u64::MAX), X, X, "the last byte of its head, since 1970").unit("ns").or_null(),
    field("timing.req_last_ns", Kind::Integer(u64::MAX), X, X, "its last byte, since 1970").unit("ns").or_null(),
    field("timing.interim", Kind::Objects, X, X, "interim responses (1xx), in order"),
    field("timing.interim[].status_code", Kind::Integer(999), X, X, "the status code"),
    field("timing.interim[].first_ns", Kind::Integer(u64::MAX), X, X, "its first byte, since 1970").unit("ns"),
    field("timing.resp_first_ns", Kind::Integer(u64::MAX), X, X, "the final response's first byte, since 1970").unit("ns").or_null(),
    field("timing.resp_hdr_end_ns", Kind::Integer(u64::MAX), X, X, "the last byte of its head, since 1970").unit("ns").or_null(),
    field("timing.resp_last_ns", Kind::Integer(u64::MAX), X, X, "its last byte, since 1970").unit("ns").or_null(),
    field("tcp", Kind::Object, X, X, "what TCP went through while the exchange was under way, both directions; exchanges that overlap share it"),
    field("tcp.retransmitted", Kind::Integer(u64::MAX), X, X, "payload sent again").unit("bytes"),
    field("tcp.client_retransmitted", Kind::Integer(u64::MAX), X, X, "of it, by the client").unit("bytes"),
    field("tcp.server_retransmitted", Kind::Integer(u64::MAX), X, X, "of it, by the server").unit("bytes"),
    field("tcp.out_of_order", Kind::Integer(u32::MAX as u64), X, X, "segments that came behind a later one").unit("segments"),
    field("tcp.gap_bytes", Kind::Integer(u64::MAX), X, X, "payload that was not captured; of an exchange that is not complete, all that was found missing on its connection while it was under way").unit("bytes"),
    field("tcp.zero_windows", Kind::Integer(u32::MAX as u64), X, X, "segments that announced a window of zero").unit("segments"),
    field("tcp.zero_window_ns", Kind::Integer(u64::MAX), X, X, "how long a window was zero").unit("ns"),
    field("gannet", Kind::Object, ALL, ALL, "the record itself"),
    field("gannet.event", Kind::Word(events), QIAP, QIAP, "what the line is about, if it is no exchange"),
    field("gannet.id", Kind::Text, ALL, XP, "the name of the exchange: its connection and its number on that; the same in every run, and at every tap that saw the handshake. Connections of the same ports that were joined in their midst share a name"),
    field("gannet.complete", Kind::Boolean, QA, NONE, "the message was seen to its end"),
    field("gannet.waited_ns", Kind::Integer(u64::MAX), P, P, "how long the request has been waiting").unit("ns"),
    field("gannet.state", Kind::Word(states), X, X, "how the exchange ended"),
    field("gannet.reason", Kind::Word(reasons), X, X, "what ended it, or why a half of it is missing"),
    field("gannet.pair_confidence", Kind::Word(confidences), X, X, "how sure it is that the response is the answer to the request"),
    field("gannet.untrusted", Kind::Words(distrusts), X, X, "why the times are not to be trusted; such an exchange is in no histogram"),
    field("gannet.interface", Kind::Text, ALL, NONE, "where it was captured"),
    field("gannet.tunnel", Kind::Object, ALL, NONE, "the innermost tunnel that the connection came in"),
    field("gannet.tunnel.kind", Kind::Word(tunnels), ALL, ALL, "its protocol"),
    field("gannet.tunnel.id", Kind::Integer(u32::MAX as u64), ALL, NONE, "VNI, TEID, key, session or label"),
    field("gannet.vlan", Kind::Integer(4095), ALL, NONE, "the VLAN, the outermost if there are several"),
    field("gannet.inner_vlan", Kind::Integer(4095), ALL, NONE, "the innermost then"),
    field("gannet.operation", Kind::Text, ALL, NONE, "what a SOAP request asks for: SOAPAction, or the action of its content type"),
    field("gannet.switched", Kind::Object, X, NONE, "what the connection was used for after CONNECT or an upgrade"),
    field("gannet.switched.protocol", Kind::Word(switched), X, X, "what was spoken"),
    field("gannet.switched.server_name", Kind::Text, X, NONE, "the name in the ClientHello of TLS"),
    field("gannet.switched.first_ns", Kind::Integer(u64::MAX), X, X, "when it began, since 1970").unit("ns"),
    field("gannet.switched.last_ns", Kind::Integer(u64::MAX), X, X, "the last packet of the connection, since 1970").unit("ns"),
    field("gannet.switched.client_bytes", Kind::Integer(u64::MAX), X, X, "sent by the client").unit("bytes"),
    field("gannet.switched.server_bytes", Kind::Integer(u64::MAX), X, X, "sent by the server").unit("bytes"),
    field("gannet.switched.reason", Kind::Word(reasons), X, X, "how the connection ended"),
    field("gannet.websocket", Kind::Object, X, NONE, "the frames of a WebSocket connection"),
    field("gannet.websocket.client", Kind::Object, X, X, "those of the client"),
    field("gannet.websocket.client.frames", Kind::Integer(u64::MAX), X, X, "all").unit("frames"),
    field("gannet.websocket.client.continuation", Kind::Integer(u64::MAX), X, X, "of this kind").unit("frames"),
    field("gannet.websocket.client.text", Kind::Integer(u64::MAX), X, X, "of this kind").unit("frames"),
    field("gannet.websocket.client.binary", Kind::Integer(u64::MAX), X, X, "of this kind").unit("frames"),
    field("gannet.websocket.client.close", Kind::Integer(u64::MAX), X, X, "of this kind").unit("frames"),
    field("gannet.websocket.client.ping", Kind::Integer(u64::MAX), X, X, "of this kind").unit("frames"),
    field("gannet.websocket.client.pong", Kind::Integer(u64::MAX), X, X, "of this kind").unit("frames"),
    field("gannet.websocket.client.other", Kind::Integer(u64::MAX), X, X, "of a reserved kind").unit("frames"),
    field("gannet.websocket.client.messages", Kind::Integer(u64::MAX), X, X, "data frames that ended a message").unit("frames"),
    field("gannet.websocket.client.compressed", Kind::Integer(u64::MAX), X, X, "with the bit of a compressed message").unit("frames"),
    field("gannet.websocket.client.payload_bytes", Kind::Integer(u64::MAX), X, X, "payload of all").unit("bytes"),
    field("gannet.websocket.client.close_code", Kind::Integer(u16::MAX as u64), X, NONE, "status code of the first Close frame; 1005 if it has none"),
    field("gannet.websocket.client.lost", Kind::Boolean, X, X, "frames could not be told apart from some place on"),
    field("gannet.websocket.server", Kind::Object, X, X, "those of the server"),
    field("gannet.websocket.server.frames", Kind::Integer(u64::MAX), X, X, "all").unit("frames"),
    field("gannet.websocket.server.continuation", Kind::Integer(u64::MAX), X, X, "of this kind").unit("frames"),
    field("gannet.websocket.server.text", Kind::Integer(u64::MAX), X, X, "of this kind").unit("frames"),
    field("gannet.websocket.server.binary", Kind::Integer(u64::MAX), X, X, "of this kind").unit("frames"),
    field("gannet.websocket.server.close", Kind::Integer(u64::MAX), X, X, "of this kind").unit("frames"),
    field("gannet.websocket.server.ping", Kind::Integer(u64::MAX), X, X, "of this kind").unit("frames"),
    field("gannet.websocket.server.pong", Kind::Integer(u64::MAX), X, X, "of this kind").unit("frames"),
    field("gannet.websocket.server.other", Kind::Integer(u64::MAX), X, X, "of a reserved kind").unit("frames"),
    field("gannet.websocket.server.messages", Kind::Integer(u64::MAX), X, X, "data frames that ended a message").unit("frames"),
    field("gannet.websocket.server.compressed", Kind::Integer(u64::MAX), X, X, "with the bit of a compressed message").unit("frames"),
    field("gannet.websocket.server.payload_bytes", Kind::Integer(u64::MAX), X, X, "payload of all").unit("bytes"),
    field("gannet.websocket.server.close_code", Kind::Integer(u16::MAX as u64), X, NONE, "status code of the first Close frame; 1005 if it has none"),
    field("gannet.websocket.server.lost", Kind::Boolean, X, X, "frames could not be told apart from some place on"),
    field("gannet.notes", Kind::Words(notes), X, NONE, "what is odd about the messages"),
    field("gannet.locator", Kind::Text, X, X, "where its packets are: id, ends, first and last time; for gannet extract --exchange"),
];

const fn field(name: &'static str, kind: Kind, lines: Lines, always: Lines, about: &'static str) -> Field {
    Field { name, kind, unit: "", lines, always, nullable: false, about }
}

impl Field {
    const fn unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    const fn or_null(self) -> Self {
        Self { nullable: true, ..self }
    }
}

const ALL: Lines = Lines::ALL;
const IA: Lines = Lines::INTERIM.or(Lines::RESPONSE);
const NONE: Lines = Lines::NONE;
const P: Lines = Lines::PENDING;
const QA: Lines = Lines::REQUEST.or(Lines::RESPONSE);
const QIAP: Lines = Lines::REQUEST.or(Lines::INTERIM).or(Lines::RESPONSE).or(Lines::PENDING);
const QP: Lines = Lines::REQUEST.or(Lines::PENDING);
const X: Lines = Lines::EXCHANGE;
const XA: Lines = Lines::EXCHANGE.or(Lines::RESPONSE);
const XIA: Lines = Lines::EXCHANGE.or(Lines::INTERIM).or(Lines::RESPONSE);
const XP: Lines = Lines::EXCHANGE.or(Lines::PENDING);
const XQ: Lines = Lines::EXCHANGE.or(Lines::REQUEST);
const XQA: Lines = Lines::EXCHANGE.or(Lines::REQUEST).or(Lines::RESPONSE);

fn values<T: Copy>(all: &[T], name: fn(T) -> &'static str, about: fn(T) -> &'static str) -> Vec<Value> {
    all.iter().map(|one| Value { name: name(*one).to_owned(), about: about(*one) }).collect()
}

/// Those whose names say what they mean.
fn plain<'n>(names: impl IntoIterator<Item = &'n str>) -> Vec<Value> {
    names.into_iter().map(|name| Value { name: name.to_owned(), about: "" }).collect()
}

fn methods() -> Vec<Value> {
    plain(KNOWN_METHODS.into_iter().chain([OTHER_METHOD]))
}

fn events() -> Vec<Value> {
    plain(Lines::EACH.into_iter().filter_map(|(_, event)| event))
}

/// The text of their fields says what they mean.
fn decodings() -> Vec<Value> {
    plain(DecodeEnd::ALL.map(DecodeEnd::name))
}

fn states() -> Vec<Value> {
    values(&State::ALL, State::name, State::about)
}

fn reasons() -> Vec<Value> {
    values(&Reason::ALL, Reason::name, Reason::about)
}

fn confidences() -> Vec<Value> {
    values(&Confidence::ALL, Confidence::name, Confidence::about)
}

fn distrusts() -> Vec<Value> {
    values(&Untrusted::MEANINGS, |(name, _)| name, |(_, about)| about)
}

fn tunnels() -> Vec<Value> {
    plain(TunnelKind::ALL.map(TunnelKind::name))
}

fn switched() -> Vec<Value> {
    plain(TunnelProtocol::ALL.map(TunnelProtocol::name))
}

fn notes() -> Vec<Value> {
    all_notes().map(|(name, about)| Value { name, about }).collect()
}
