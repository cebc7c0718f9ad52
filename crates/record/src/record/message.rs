//! What a record says of each message: start line, fields, body.

use std::borrow::Cow;

use gannet_http::{DecodeEnd, Head, Message, Trailers};
use serde::Serialize;

use super::headers::{HeaderPart, Scan, TrailerPart};
use super::{OTHER_METHOD, RecordOptions, known_method};
use crate::json::{Plain, room_for};
use crate::text::{Wire, wire_string};
use crate::wire_text;

#[derive(Serialize)]
pub(super) struct RequestPart<'a> {
    method: Plain<'static>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method_original: Option<Wire<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Wire<'a>>,
    #[serde(skip_serializing_if = "HeaderPart::is_empty")]
    header: HeaderPart<'a>,
    size: u64,
    body: BodyPart<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trailer: Option<TrailerPart<'a>>,
    /// What it is likely to take beyond the room that a usual message has in a line of JSON.
    #[serde(skip)]
    pub(super) room: usize,
}

impl<'a> RequestPart<'a> {
    /// `id` is what identifies the request, whoever said it.
    pub(super) fn new(
        message: &'a Message,
        scan: &'a Scan<'a>,
        id: Option<&'a [u8]>,
        options: &'a RecordOptions,
    ) -> Self {
        let original = message.head.method();
        let known = known_method(original);
        let body = BodyPart::new(message, options);
        Self {
            method: Plain::name(known.unwrap_or(OTHER_METHOD)),
            method_original: known.is_none().then_some(Wire(original)),
            id: id.map(Wire),
            header: HeaderPart::new(scan, options),
            size: message.wire_bytes,
            trailer: trailer(message, options),
            room: room(message, &body, options),
            body,
        }
    }
}

#[derive(Serialize)]
pub(super) struct ResponsePart<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason_phrase: Option<Wire<'a>>,
    #[serde(skip_serializing_if = "HeaderPart::is_empty")]
    header: HeaderPart<'a>,
    size: u64,
    body: BodyPart<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trailer: Option<TrailerPart<'a>>,
    /// What it is likely to take beyond the room that a usual message has in a line of JSON.
    #[serde(skip)]
    pub(super) room: usize,
}

impl<'a> ResponsePart<'a> {
    pub(super) fn new(message: &'a Message, scan: &'a Scan<'a>, options: &'a RecordOptions) -> Self {
        let body = BodyPart::new(message, options);
        Self {
            status_code: message.head.status(),
            reason_phrase: reason_phrase(&message.head),
            header: HeaderPart::new(scan, options),
            size: message.wire_bytes,
            trailer: trailer(message, options),
            room: room(message, &body, options),
            body,
        }
    }
}

fn room(message: &Message, body: &BodyPart<'_>, options: &RecordOptions) -> usize {
    head_room(message, options) + body.content.as_deref().map_or(0, room_for)
}

/// Of a head the usual fields take little, however long the others are: room that is not used has to be filled all
/// the same.
#[inline]
pub(super) fn head_room(message: &Message, options: &RecordOptions) -> usize {
    let head_bytes = if options.headers.is_all() { message.head.raw().len() } else { 0 };
    head_bytes.saturating_sub(USUAL_HEAD_BYTES)
}

/// The room for a usual record has room for a head of this size.
const USUAL_HEAD_BYTES: usize = 512;

pub(super) fn reason_phrase(head: &Head) -> Option<Wire<'_>> {
    Some(head.reason()).filter(|reason| !reason.is_empty()).map(Wire)
}

fn trailer<'a>(message: &'a Message, options: &'a RecordOptions) -> Option<TrailerPart<'a>> {
    let some = |trailers: &&Trailers| trailers.fields().next().is_some();
    let trailers = message.trailers.as_deref().filter(some)?;
    Some(TrailerPart { trailers, options })
}

/// `size` is there for each message, the rest if bytes of the body were kept.
#[derive(Serialize, Default)]
pub(super) struct BodyPart<'a> {
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decoded_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decoding: Option<Plain<'static>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
}

impl<'a> BodyPart<'a> {
    fn new(message: &'a Message, options: &RecordOptions) -> Self {
        if message.body.is_empty() || !options.bodies {
            return Self { size: message.body_bytes, ..Self::default() };
        }
        let decoded = options.decoded(message);
        let cut = matches!(
            decoded.end,
            DecodeEnd::Truncated | DecodeEnd::TooLong | DecodeEnd::Bomb | DecodeEnd::Corrupt
        );
        Self {
            size: message.body_bytes,
            content_type: message.head.field("content-type").map(wire_text),
            encoding: encoding(&message.head),
            decoded_size: Some(decoded.bytes.len() as u64),
            decoding: Some(Plain::name(decoded.end.name())),
            truncated: Some(cut || !message.body_is_whole()),
            content: Some(wire_string(decoded.bytes)),
        }
    }
}

/// The values of all `Content-Encoding`, as one list.
fn encoding(head: &Head) -> Option<Cow<'_, str>> {
    let values = || {
        let fields = head.fields().filter(|(name, _)| name.eq_ignore_ascii_case(b"content-encoding"));
        fields.map(|(_, value)| value)
    };
    if values().nth(1).is_none() {
        return values().next().map(wire_text);
    }
    Some(values().map(wire_text).collect::<Vec<_>>().join(", ").into())
}
