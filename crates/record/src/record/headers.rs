//! Header fields in records: which are selected, how they are gathered, and what of them is masked.

use std::borrow::Cow;

use gannet_http::{Head, Trailers};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::RecordOptions;
use super::origin::{self, Known};
use super::parts::{Items, List};
use crate::json::{self, Plain, Written, is_escaped, is_plain_ascii};
use crate::names::Names;
use crate::redact::{MASKED_FIELD, is_credential_field, masked_text, may_begin_secret};
use crate::sheet::{Full, behind, piece, put, put_all, put_byte};
use crate::text::Wire;
use crate::{wire_text, words};

/// Which header fields records show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderSelection {
    all: bool,
    /// Those that are selected, and those that something is made of.
    names: Names,
    /// Of each of the names, what is to be known of fields that are called so.
    facts: Vec<Facts>,
}

/// What is to be known of fields of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Facts {
    /// In small letters.
    name: String,
    key: Key,
    selected: bool,
    is_credential: bool,
    known: Option<Known>,
}

/// A name as it begins a member of an object in JSON, `"name":[`, prepared for being copied without a look at its
/// length.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    bytes: [u8; KEY_ROOM],
    /// 0 if the name is too long, or if something in it has to be escaped.
    len: usize,
}

impl Key {
    fn new(name: &str) -> Self {
        let mut bytes = [0; KEY_ROOM];
        let text = format!("\"{name}\":[");
        match bytes.get_mut(..text.len()).filter(|_| is_plain_ascii(name.as_bytes())) {
            Some(room) => {
                room.copy_from_slice(text.as_bytes());
                Self { bytes, len: text.len() }
            }
            None => Self { bytes, len: 0 },
        }
    }

    #[inline]
    fn put<'r>(&self, room: &'r mut [u8]) -> Result<&'r mut [u8], Full> {
        *piece(room)? = self.bytes;
        behind(room, self.len)
    }
}

/// For all names but very long ones, whose fields are written another way.
const KEY_ROOM: usize = 32;

impl Default for HeaderSelection {
    /// The contract's: host, user-agent, content-type, content-length, location, server, x-forwarded-for, traceparent.
    fn default() -> Self {
        let names = [
            "host",
            "user-agent",
            "content-type",
            "content-length",
            "location",
            "server",
            "x-forwarded-for",
            "traceparent",
        ];
        Self::named(names)
    }
}

impl HeaderSelection {
    /// Those of these names, in any case of letters.
    pub fn named(names: impl IntoIterator<Item: Into<String>>) -> Self {
        let mut selection = Self { all: false, names: Names::new(), facts: Vec::new() };
        for name in names {
            selection.facts(&name.into()).selected = true;
        }
        for (known, name) in Known::NAMES {
            selection.facts(name).known = Some(known);
        }
        selection
    }

    /// All.
    pub fn all() -> Self {
        Self { all: true, ..Self::named([""; 0]) }
    }

    pub(super) fn is_all(&self) -> bool {
        self.all
    }

    /// What is to be known of fields of a name, which is added if it is not there.
    fn facts(&mut self, name: &str) -> &mut Facts {
        let number = self.names.add(name);
        if number == self.facts.len() {
            let is_credential = is_credential_field(name.as_bytes());
            let name = name.to_ascii_lowercase();
            let key = Key::new(&name);
            self.facts.push(Facts { name, key, selected: false, is_credential, known: None });
        }
        &mut self.facts[number]
    }

    #[inline]
    pub(super) fn contains(&self, name: &[u8]) -> bool {
        self.all || self.find(name).is_some_and(|(_, facts)| facts.selected)
    }

    /// What is to be known of fields of this name, and its number.
    #[inline]
    fn find(&self, name: &[u8]) -> Option<(usize, &Facts)> {
        let number = self.names.find(name)?;
        self.facts.get(number).map(|facts| (number, facts))
    }
}

/// Whether two names of fields are one: "Each header field consists of a case-insensitive field name" (RFC 9112,
/// section 5).
#[inline]
fn same_name(a: &[u8], b: &[u8]) -> bool {
    words::same_but_for_case(a, b)
}

/// The value of a header field as it is shown.
pub(super) enum Shown<'a> {
    Plain(Plain<'a>),
    AsItIs(Wire<'a>),
    Masked(Cow<'a, str>),
}

impl Serialize for Shown<'_> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(value) => value.serialize(serializer),
            Self::AsItIs(value) => value.serialize(serializer),
            Self::Masked(text) => serializer.serialize_str(text),
        }
    }
}

impl RecordOptions {
    /// A header value as it is shown, to be written.
    fn shown<'a>(&self, name: &[u8], value: &'a [u8]) -> Shown<'a> {
        self.shown_if(self.redact && is_credential_field(name), value)
    }

    /// The value of a field that may be a `credential`, to be written.
    #[inline]
    pub(super) fn shown_if<'a>(&self, credential: bool, value: &'a [u8]) -> Shown<'a> {
        if credential && self.redact {
            Shown::Masked(Cow::Borrowed(MASKED_FIELD))
        } else if is_plain_unmasked(value) {
            // As nearly all are: one look for what would have to be escaped and for what would have to be masked.
            Shown::Plain(Plain(value))
        } else if self.redact {
            Shown::Masked(masked_text(value))
        } else {
            Shown::AsItIs(Wire(value))
        }
    }

    /// The value of a field that is no credential as it is shown.
    pub(super) fn value<'a>(&self, value: &'a [u8]) -> Cow<'a, str> {
        if self.redact { masked_text(value) } else { wire_text(value) }
    }
}

/// Nothing in it has to be escaped in JSON, nor to be masked.
#[inline]
pub(super) fn is_plain_unmasked(bytes: &[u8]) -> bool {
    words::none(bytes, |byte| is_escaped(byte) | may_begin_secret(byte))
}

/// One look at all fields of a head: which are selected, and where those are that records make something of.
pub(super) struct Scan<'a> {
    head: &'a Head,
    /// The bit of a place says that its field is selected. There is a field or two among many, and they are asked for
    /// more than once. Heads of more fields than a word has bits are rare, and theirs beyond are looked at each time.
    selected: u64,
    /// In the same way, those whose values are known to need neither escapes nor masks unless the name does.
    plain: u64,
    /// There are more fields than bits.
    is_long: bool,
    few: Few<'a>,
    /// Which there are of those that something is made of, as bits by their numbers, and the place of the first of
    /// each.
    has: u32,
    known: [u32; KNOWN],
    /// More than one `traceparent`.
    traces: u8,
}

/// The selected fields of a head as nearly all have them: a few, each once.
struct Few<'a> {
    fields: [FewField<'a>; FEW],
    len: usize,
    /// The places of the names, as bits.
    names: u64,
    /// They are others than that.
    is_other: bool,
}

#[derive(Clone, Copy)]
struct FewField<'a> {
    value: &'a [u8],
    /// The place of its name in the selection.
    name: u32,
    /// The value needs neither escapes nor masks unless the name does.
    is_plain: bool,
}

impl<'a> Few<'a> {
    fn new() -> Self {
        Self {
            fields: [FewField { value: &[], name: 0, is_plain: true }; FEW],
            len: 0,
            names: 0,
            is_other: false,
        }
    }

    #[inline]
    fn add(&mut self, field: FewField<'a>) {
        let bit = 1_u64.unbounded_shl(field.name);
        match self.fields.get_mut(self.len) {
            // No bit: a name far back in a long selection.
            Some(place) if bit & !self.names != 0 => {
                *place = field;
                self.len += 1;
                self.names |= bit;
            }
            _ => self.is_other = true,
        }
    }
}

/// Selected fields of a head that are remembered one by one.
const FEW: usize = 8;

const KNOWN: usize = Known::NAMES.len();

impl<'a> Scan<'a> {
    pub(super) fn new(head: &'a Head, selection: &HeaderSelection) -> Self {
        let mut scan = Self::before(head);
        scan.look(selection);
        scan
    }

    /// Before [`look`](Self::look): whoever keeps it where it is made has it moved nowhere.
    #[inline(always)]
    pub(super) fn before(head: &'a Head) -> Self {
        Self {
            head,
            selected: 0,
            plain: 0,
            is_long: head.field_at(BITS).is_some(),
            few: Few::new(),
            has: 0,
            known: [0; KNOWN],
            traces: 0,
        }
    }

    pub(super) fn look(&mut self, selection: &HeaderSelection) {
        let head = self.head;
        if selection.all {
            self.selected = u64::MAX.unbounded_shr(BITS.saturating_sub(head.fields().count()) as u32);
        }
        for (place, (name, value)) in (0..).zip(head.fields()) {
            let Some((at, found)) = selection.find(name) else { continue };
            // None for what is beyond.
            let bit = 1_u64.unbounded_shl(place);
            let is_plain = is_plain_unmasked(value);
            if is_plain {
                self.plain |= bit;
            }
            if found.selected {
                self.selected |= bit;
                self.few.add(FewField { value, name: at as u32, is_plain });
                self.few.is_other |= found.key.len == 0;
            }
            if let Some(known) = found.known {
                self.know(known, place);
            }
        }
    }

    #[inline]
    fn know(&mut self, known: Known, place: u32) {
        self.traces += u8::from(known == Known::Traceparent && self.traces < 2);
        if !self.has(known)
            && let Some(first) = self.known.get_mut(known as usize)
        {
            *first = place;
            self.has |= known.bit();
        }
    }

    #[inline]
    fn has(&self, known: Known) -> bool {
        self.has & known.bit() != 0
    }

    /// The place of the first field of this name.
    #[inline]
    fn place_of(&self, name: Known) -> Option<usize> {
        let place = self.known.get(name as usize)?;
        self.has(name).then_some(*place as usize)
    }

    /// The value of the first field of this name.
    #[inline]
    pub(super) fn known(&self, name: Known) -> Option<&'a [u8]> {
        self.head.field_at(self.place_of(name)?).map(|(_, value)| value)
    }

    /// Whether it needs neither escapes nor masks.
    #[inline]
    pub(super) fn known_is_plain(&self, name: Known) -> bool {
        self.place_of(name).is_some_and(|place| self.plain & 1_u64.unbounded_shl(place as u32) != 0)
    }

    /// The same as it is shown; for names that are no credentials.
    pub(super) fn known_as_shown(&self, name: Known, options: &RecordOptions) -> Option<Shown<'a>> {
        let place = self.place_of(name)?;
        self.head.field_at(place).map(|(_, value)| self.shown(place, false, value, options))
    }

    /// The value of the field at a place as it is shown.
    #[inline]
    fn shown(&self, place: usize, credential: bool, value: &'a [u8], options: &RecordOptions) -> Shown<'a> {
        if self.plain & 1_u64.unbounded_shl(place as u32) != 0 && !credential {
            Shown::Plain(Plain(value))
        } else {
            options.shown_if(credential, value)
        }
    }

    /// The ids of trace and parent. Two fields are as good as none: nobody can say which is meant.
    pub(super) fn trace(&self) -> Option<(&'a str, &'a str)> {
        self.known(Known::Traceparent).filter(|_| self.traces == 1).and_then(origin::trace)
    }

    /// What identifies the request, by precedence.
    pub(super) fn request_id(&self) -> Option<&'a [u8]> {
        if self.has & Known::IDS_BITS == 0 {
            return None;
        }
        Known::IDS.into_iter().find_map(|id| self.known(id)).filter(|id| !id.is_empty())
    }
}

/// The selected fields: an array of values under each name in lower case, in the order of their first appearance.
pub(super) struct HeaderPart<'a> {
    scan: &'a Scan<'a>,
    options: &'a RecordOptions,
}

impl<'a> HeaderPart<'a> {
    pub(super) fn new(scan: &'a Scan<'a>, options: &'a RecordOptions) -> Self {
        Self { scan, options }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.scan.selected == 0 && (!self.scan.is_long || self.fields_from(BITS).next().is_none())
    }

    /// The selected fields, if there are few, each once, whose names are short and need no escapes.
    #[inline]
    fn few(&self) -> Option<impl Iterator<Item = (&'a Facts, Shown<'a>)>> {
        let (few, selection, options) = (&self.scan.few, &self.options.headers, self.options);
        let is_it = !few.is_other && !self.scan.is_long && !selection.all;
        let fields = few.fields.get(..few.len).filter(|_| is_it)?;
        Some(fields.iter().filter_map(move |field| {
            let facts = selection.facts.get(field.name as usize)?;
            let is_shown = field.is_plain && !facts.is_credential;
            let plain = || Shown::Plain(Plain(field.value));
            Some((facts, if is_shown { plain() } else { options.shown_if(facts.is_credential, field.value) }))
        }))
    }

    /// Writes them as [`Serialize`] does with JSON, but with the constants of their names.
    pub(super) fn put<'r>(&self, room: &'r mut [u8]) -> Written<'r> {
        let Some(few) = self.few() else { return json::put(self, room) };
        let mut room = room;
        let mut before = b'{';
        for (facts, shown) in few {
            room = facts.key.put(put_byte(before, room)?)?;
            before = b',';
            room = match shown {
                Shown::Plain(Plain(value)) => put_all(*b"\"]", put(value, put_byte(b'"', room)?)?)?,
                shown => put_byte(b']', json::put(&shown, room)?)?,
            };
        }
        Ok(put_byte(b'}', room)?)
    }

    /// Places, names and values of the selected fields, from place `first` on.
    fn fields_from(&self, first: usize) -> impl Iterator<Item = (usize, &'a [u8], &'a [u8])> {
        let head = self.scan.head;
        let mut bits = if first < BITS { self.scan.selected >> first << first } else { 0 };
        let few = std::iter::from_fn(move || {
            let place = bits.trailing_zeros() as usize;
            // Takes the lowest bit away.
            bits &= bits.checked_sub(1)?;
            head.field_at(place).map(|(name, value)| (place, name, value))
        });
        let beyond = if self.scan.is_long { first.max(BITS)..usize::MAX } else { 0..0 };
        let beyond = beyond.map_while(|place| head.field_at(place).map(|(name, value)| (place, name, value)));
        few.chain(beyond.filter(|(_, name, _)| self.options.headers.contains(name)))
    }
}

/// Places that [`Scan::selected`] has a bit for.
const BITS: usize = u64::BITS as usize;

impl Serialize for HeaderPart<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(few) = self.few() {
            for (facts, shown) in few {
                let name = Plain(facts.name.as_bytes());
                match shown {
                    Shown::Plain(value) => map.serialize_entry(&name, &Alone(value))?,
                    shown => map.serialize_entry(&name, &Alone(shown))?,
                }
            }
            return map.end();
        }
        for (at, name, _) in self.fields_from(0) {
            let mut earlier = self.fields_from(0).take_while(|(place, ..)| *place < at);
            if earlier.any(|(_, other, _)| same_name(name, other)) {
                continue;
            }
            entry(&mut map, name, &List(Values { part: self, name, at }))?;
        }
        map.end()
    }
}

/// An array of one value.
struct Alone<T>(T);

impl<T: Serialize> Serialize for Alone<T> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut array = serializer.serialize_seq(Some(1))?;
        array.serialize_element(&self.0)?;
        array.end()
    }
}

/// The fields behind a body: all of them, gathered like those of a head.
pub(super) struct TrailerPart<'a> {
    pub(super) trailers: &'a Trailers,
    pub(super) options: &'a RecordOptions,
}

impl Serialize for TrailerPart<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (at, (name, _)) in self.trailers.fields().enumerate() {
            if !self.trailers.fields().take(at).any(|(other, _)| same_name(name, other)) {
                entry(&mut map, name, &List(TrailerValues { part: self, name, at }))?;
            }
        }
        map.end()
    }
}

/// The values of all trailers called `name`; the first of them is the one at `at`.
struct TrailerValues<'a> {
    part: &'a TrailerPart<'a>,
    name: &'a [u8],
    at: usize,
}

impl Items for TrailerValues<'_> {
    fn items(&self) -> impl Iterator<Item: Serialize> {
        let fields = self.part.trailers.fields().skip(self.at);
        let same = fields.filter(|(name, _)| same_name(self.name, name));
        same.map(|(_, value)| self.part.options.shown(self.name, value))
    }
}

/// Writes the values of a field under its name in lower case.
fn entry<M: SerializeMap>(map: &mut M, name: &[u8], values: &impl Serialize) -> Result<(), M::Error> {
    // On the stack if it is short, as all but odd ones are.
    let mut buffer = [0; SHORT_NAME_BYTES];
    match buffer.get_mut(..name.len()) {
        Some(lower) if name.is_ascii() => {
            lower.copy_from_slice(name);
            lower.make_ascii_lowercase();
            map.serialize_entry(str::from_utf8(lower).unwrap_or_default(), values)
        }
        _ => map.serialize_entry(&wire_text(name).to_ascii_lowercase(), values),
    }
}

/// The values of all fields called `name`; the first of them is the one at `at`.
struct Values<'a> {
    part: &'a HeaderPart<'a>,
    name: &'a [u8],
    at: usize,
}

impl Items for Values<'_> {
    fn items(&self) -> impl Iterator<Item: Serialize> {
        let is_it = |place, name| place == self.at || same_name(self.name, name);
        let same = self.part.fields_from(self.at).filter(move |(place, name, _)| is_it(*place, name));
        same.map(|(_, _, value)| self.part.options.shown(self.name, value))
    }
}

/// Longer names are lowered on the heap.
const SHORT_NAME_BYTES: usize = 64;
