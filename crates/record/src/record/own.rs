//! What a record says of itself: names, state, trust, where it was seen, what became of the connection.

use std::sync::Arc;

use gannet_http::{Exchange, Message, Oddities, Opcode, Tunnel, WebSocketFrames};
use gannet_packet::Surroundings;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::RecordOptions;
use super::parts::{Items, List};
use crate::json::Plain;
use crate::locator::{ID_BYTES_MAX, LocatorBehind, id_text};
use crate::short::Short;

/// What a record says of itself, put together where it is written.
pub(super) struct OwnPart<'a> {
    pub(super) exchange: &'a Exchange,
    /// That of a SOAP request.
    pub(super) operation: Option<&'a str>,
    pub(super) options: &'a RecordOptions,
}

impl Serialize for OwnPart<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Own::of(self.exchange, self.operation, self.options).serialize(serializer)
    }
}

#[derive(Serialize)]
struct Own<'a> {
    id: Short<ID_BYTES_MAX>,
    state: Plain<'static>,
    reason: Plain<'static>,
    pair_confidence: Plain<'static>,
    untrusted: List<Reasons<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<ArcStr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel: Option<TunnelPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inner_vlan: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    switched: Option<SwitchedPart<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    websocket: Option<WebSocketPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<List<Notes<'a>>>,
    locator: LocatorBehind,
}

impl<'a> Own<'a> {
    #[inline]
    fn of(exchange: &'a Exchange, operation: Option<&'a str>, options: &'a RecordOptions) -> Self {
        let id = id_text(exchange.id());
        let tunnel = exchange.tunnel.as_deref();
        let around = &exchange.connection.around;
        Self {
            id,
            state: Plain::name(exchange.state.name()),
            reason: Plain::name(exchange.reason.name()),
            pair_confidence: Plain::name(exchange.confidence.name()),
            untrusted: List(Reasons(exchange)),
            interface: options.interfaces.shared_name(exchange.connection.interface).map(ArcStr),
            tunnel: TunnelPart::of(around),
            vlan: around.vlans().outermost(),
            inner_vlan: inner_vlan(around),
            operation,
            switched: tunnel.map(SwitchedPart::new),
            websocket: tunnel.and_then(|tunnel| tunnel.websocket).map(|[client, server]| WebSocketPart {
                client: FramesPart(client),
                server: FramesPart(server),
            }),
            notes: Notes::of(exchange),
            locator: LocatorBehind::new(id, exchange),
        }
    }
}

/// The tunnel that a connection came in.
#[derive(Serialize)]
pub(crate) struct TunnelPart {
    kind: Plain<'static>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u32>,
}

impl TunnelPart {
    pub(crate) fn of(around: &Surroundings) -> Option<Self> {
        around.tunnel().map(|tunnel| Self { kind: Plain::name(tunnel.kind.name()), id: tunnel.id })
    }
}

/// The last VLAN, if there are several.
pub(crate) fn inner_vlan(around: &Surroundings) -> Option<u16> {
    let vlans = around.vlans();
    vlans.innermost().filter(|&innermost| Some(innermost) != vlans.outermost())
}

pub(super) struct ArcStr(pub(super) Arc<str>);

impl Serialize for ArcStr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// What the connection was used for after the exchange.
#[derive(Serialize)]
struct SwitchedPart<'a> {
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_name: Option<&'a str>,
    first_ns: u64,
    last_ns: u64,
    client_bytes: u64,
    server_bytes: u64,
    reason: &'static str,
}

impl<'a> SwitchedPart<'a> {
    fn new(tunnel: &'a Tunnel) -> Self {
        Self {
            protocol: tunnel.protocol.name(),
            server_name: tunnel.server_name.as_deref(),
            first_ns: tunnel.first.0,
            last_ns: tunnel.last.0,
            client_bytes: tunnel.client_bytes,
            server_bytes: tunnel.server_bytes,
            reason: tunnel.reason.name(),
        }
    }
}

#[derive(Serialize)]
struct WebSocketPart {
    client: FramesPart,
    server: FramesPart,
}

struct FramesPart(WebSocketFrames);

impl Serialize for FramesPart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let frames = &self.0;
        let mut part = serializer.serialize_struct("Frames", 6 + Opcode::ALL.len())?;
        part.serialize_field("frames", &frames.frames())?;
        for opcode in Opcode::ALL {
            part.serialize_field(opcode.name(), &frames[opcode])?;
        }
        part.serialize_field("messages", &frames.messages)?;
        part.serialize_field("compressed", &frames.compressed)?;
        part.serialize_field("payload_bytes", &frames.payload_bytes)?;
        if let Some(code) = &frames.close_code {
            part.serialize_field("close_code", code)?;
        }
        part.serialize_field("lost", &frames.lost)?;
        part.end()
    }
}

pub(super) struct Reasons<'a>(pub(super) &'a Exchange);

impl Items for Reasons<'_> {
    fn items(&self) -> impl Iterator<Item: Serialize> {
        self.0.untrusted.names().map(Plain::name)
    }
}

struct Notes<'a>(&'a Exchange);

impl<'a> Notes<'a> {
    fn of(exchange: &'a Exchange) -> Option<List<Self>> {
        let mut messages = [&exchange.request, &exchange.response].into_iter().flatten();
        messages.any(is_odd).then_some(List(Self(exchange))).filter(|notes| !notes.is_empty())
    }
}

impl Items for Notes<'_> {
    fn items(&self) -> impl Iterator<Item: Serialize> {
        let messages = [(REQUEST, &self.0.request), (RESPONSE, &self.0.response)];
        let some = messages.into_iter().filter_map(|(whose, message)| Some((whose, message.as_ref()?)));
        let some = some.filter(|(_, message)| is_odd(message));
        some.flat_map(|(whose, message)| names_of(message).map(move |name| note(whose, name)))
    }
}

/// Most messages have none, and are asked twice.
#[inline]
pub(super) fn is_odd(message: &Message) -> bool {
    !message.oddities.is_empty() || message.head.cut || message.ambiguous_length || message.trailers.is_some()
}

fn names_of(message: &Message) -> impl Iterator<Item = &'static str> {
    let cut_trailers = message.trailers.as_ref().is_some_and(|trailers| trailers.cut);
    let flags =
        [message.head.cut, cut_trailers, message.ambiguous_length].into_iter().zip(NOTES_BESIDE_ODDITIES);
    flags.filter(|(applies, _)| *applies).map(|(_, (name, _))| name).chain(message.oddities.names())
}

/// All that `notes` may have in it, with what it means: of each kind that of a request, then that of a response.
pub(crate) fn all_notes() -> impl Iterator<Item = (String, &'static str)> {
    NOTES_BESIDE_ODDITIES.iter().chain(Oddities::MEANINGS).flat_map(|(name, about)| {
        [REQUEST, RESPONSE].map(|whose| (note(whose, name).as_str().to_owned(), *about))
    })
}

fn note(whose: &str, name: &str) -> Short<NOTE_BYTES_MAX> {
    let mut text = Short::new();
    text.text(whose);
    text.text(name);
    text
}

const REQUEST: &str = "request-";
const RESPONSE: &str = "response-";
/// In the order of what they are true of in [`names_of`].
const NOTES_BESIDE_ODDITIES: [(&str, &str); 3] = [
    ("head-cut", "the head is longer than what is kept of one: fields behind that are not shown"),
    ("trailers-cut", "the trailers are longer than what is kept of them"),
    (
        "length-ambiguous",
        "where the message ends is a matter of opinion; readers may differ. Other notes say why",
    ),
];
/// Names of oddities are a few words.
const NOTE_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_note_has_room() {
        let all: Vec<_> = all_notes().collect();
        assert!(all.iter().all(|(note, _)| note.len() > RESPONSE.len()), "{all:?}");
        assert_eq!(all.len(), 2 * (3 + Oddities::MEANINGS.len()));
    }
}
