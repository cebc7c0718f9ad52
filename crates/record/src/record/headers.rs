//! Header fields in records: which are selected, how they are gathered, and what of them is masked.

use std::borrow::Cow;

use gannet_http::{Head, Trailers};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::RecordOptions;
use super::origin::{self, Known};
use super::parts::{Items, List};
use crate::redact::{MASKED_FIELD, is_credential_field, masked_text, may_need_mask};
use crate::text::Wire;
use crate::{wire_text, words};

/// Which header fields records show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderSelection {
    /// Those of these names, in lower case.
    Named(Vec<String>),
    /// All.
    All,
}

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
        Self::Named(names.map(str::to_owned).to_vec())
    }
}

impl HeaderSelection {
    /// Which fields are selected, prepared for looking at many.
    pub(super) fn selector(&self) -> Selector<'_> {
        match self {
            Self::Named(names) => {
                let mut of_length = [0; LENGTHS];
                for (at, name) in names.iter().enumerate() {
                    if let Some(bits) = of_length.get_mut(name.len().min(LENGTHS - 1)) {
                        *bits |= 1_u16 << at.min(LAST_BIT);
                    }
                }
                let mut looked_at = KNOWN_LOOKED_AT;
                names.iter().for_each(|name| looked_at.add(name.as_bytes()));
                Selector { names, of_length, all: false, looked_at }
            }
            Self::All => Selector {
                names: &[],
                of_length: [0; LENGTHS],
                all: true,
                looked_at: LookedAt([u64::MAX; 4]),
            },
        }
    }
}

/// See [`HeaderSelection::selector`].
pub(super) struct Selector<'a> {
    names: &'a [String],
    /// For each length, which of the names have it, as bits: most fields have another. The last element is for that length
    /// and any longer one; the last bit is for that name and all behind it.
    of_length: [u16; LENGTHS],
    all: bool,
    /// Those that are selected, and those that something is made of.
    looked_at: LookedAt,
}

/// A set of names by length, first and last letter: no name is missing, and few are in it by accident.
#[derive(Clone, Copy)]
struct LookedAt([u64; 4]);

impl LookedAt {
    #[inline]
    const fn bit(name: &[u8]) -> (usize, u64) {
        let [first, .., last] = name else { return (0, 1) };
        // In any case of letters.
        let mixed = name.len() + (*first | 0x20) as usize * 7 + (*last | 0x20) as usize * 13;
        (mixed / 64 % 4, 1 << (mixed % 64))
    }

    const fn add(&mut self, name: &[u8]) {
        let (word, bit) = Self::bit(name);
        self.0[word] |= bit;
    }

    #[inline]
    fn has(&self, name: &[u8]) -> bool {
        let (word, bit) = Self::bit(name);
        self.0.get(word).is_some_and(|bits| bits & bit != 0)
    }
}

/// Those that something is made of.
const KNOWN_LOOKED_AT: LookedAt = {
    let mut names = LookedAt([0; 4]);
    let mut at = 0;
    while at < KNOWN {
        names.add(Known::NAMES[at].1.as_bytes());
        at += 1;
    }
    names
};

/// Few names are longer.
const LENGTHS: usize = 32;
const LAST_BIT: usize = u16::BITS as usize - 1;

impl Selector<'_> {
    #[inline]
    pub(super) fn contains(&self, name: &[u8]) -> bool {
        self.all || self.find(name).is_some()
    }

    /// Where `name` is among the names that are selected.
    #[inline]
    fn find(&self, name: &[u8]) -> Option<usize> {
        let mut bits = self.of_length.get(name.len().min(LENGTHS - 1)).copied().unwrap_or(0);
        while bits != 0 {
            let at = bits.trailing_zeros() as usize;
            // Takes the lowest bit away.
            bits &= bits - 1;
            let places = if at == LAST_BIT { at..self.names.len() } else { at..at + 1 };
            let names = self.names.get(places).unwrap_or_default();
            if let Some(place) = names.iter().position(|selected| same_name(name, selected.as_bytes())) {
                return Some(at + place);
            }
        }
        None
    }
}

/// Whether two names of fields are one: "Each header field consists of a case-insensitive field name" (RFC 9112, section
/// 5).
#[inline]
fn same_name(a: &[u8], b: &[u8]) -> bool {
    words::same_but_for_case(a, b)
}

/// The value of a header field as it is shown.
pub(super) enum Shown<'a> {
    AsItIs(Wire<'a>),
    Masked(Cow<'a, str>),
}

impl Serialize for Shown<'_> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::AsItIs(value) => value.serialize(serializer),
            Self::Masked(text) => serializer.serialize_str(text),
        }
    }
}

impl RecordOptions {
    /// A header value as it is shown, to be written.
    pub(super) fn shown<'a>(&self, name: &(impl AsRef<[u8]> + ?Sized), value: &'a [u8]) -> Shown<'a> {
        if self.redact && (is_credential_field(name.as_ref()) || may_need_mask(value)) {
            Shown::Masked(self.value(name, value))
        } else {
            Shown::AsItIs(Wire(value))
        }
    }

    /// A header value as it is shown.
    pub(super) fn value<'a>(&self, name: &(impl AsRef<[u8]> + ?Sized), value: &'a [u8]) -> Cow<'a, str> {
        if !self.redact {
            wire_text(value)
        } else if is_credential_field(name.as_ref()) {
            Cow::Borrowed(MASKED_FIELD)
        } else {
            masked_text(value)
        }
    }
}

/// One look at all fields of a head: which are selected, and where those are that records make something of.
pub(super) struct Scan<'a> {
    head: &'a Head,
    /// The bit of a place says that its field is selected. There is a field or two among many, and they are asked for more
    /// than once. Heads of more fields than a word has bits are rare, and theirs beyond are looked at each time.
    selected: u64,
    /// There are more fields than bits.
    is_long: bool,
    few: Few,
    /// The first value of each.
    known: [Option<&'a [u8]>; KNOWN],
    /// More than one `traceparent`.
    traces: u8,
}

/// The selected fields of a head as nearly all have them: a few, each once.
struct Few {
    /// Of each its place in the head and that of its name among those that are selected.
    places: [(u8, u8); FEW],
    len: usize,
    /// The places of the names, as bits.
    names: u64,
    /// They are others than that.
    is_other: bool,
}

impl Few {
    fn new() -> Self {
        Self { places: [(0, 0); FEW], len: 0, names: 0, is_other: false }
    }

    #[inline]
    fn add(&mut self, field: u32, name: usize) {
        let bit = 1_u64.unbounded_shl(name as u32);
        match self.places.get_mut(self.len) {
            // No bit: a name far back in a long selection.
            Some(place) if bit & !self.names != 0 => {
                *place = (field as u8, name as u8);
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

/// For each length, which of the known names have it, as bits; the last element is for that length and any longer one.
const KNOWN_OF_LENGTH: [u16; LENGTHS] = {
    let mut of_length = [0; LENGTHS];
    let mut at = 0;
    while at < KNOWN {
        of_length[Known::NAMES[at].1.len()] |= 1 << at;
        at += 1;
    }
    of_length
};

impl<'a> Scan<'a> {
    pub(super) fn new(head: &'a Head, selector: &Selector<'_>) -> Self {
        let mut scan = Self {
            head,
            selected: 0,
            is_long: head.field_at(BITS).is_some(),
            few: Few::new(),
            known: [None; KNOWN],
            traces: 0,
        };
        let mut next = 1_u64;
        for (name, value) in head.fields() {
            let bit = next;
            // 0 for what is beyond.
            next <<= 1;
            if !selector.looked_at.has(name) {
                continue;
            }
            if selector.all {
                scan.selected |= bit;
            } else if let Some(place) = selector.find(name) {
                scan.selected |= bit;
                scan.few.add(bit.trailing_zeros(), place);
                // As it should be; records have it in lower case in any case.
                scan.few.is_other |=
                    selector.names.get(place).is_some_and(|name| !words::is_lower(name.as_bytes()));
            }
            let bits = KNOWN_OF_LENGTH.get(name.len()).copied().unwrap_or(0);
            if bits != 0 {
                scan.know(bits, name, value);
            }
        }
        scan
    }

    #[inline]
    fn know(&mut self, mut bits: u16, name: &[u8], value: &'a [u8]) {
        while bits != 0 {
            let at = bits.trailing_zeros() as usize;
            // Takes the lowest bit away.
            bits &= bits - 1;
            if let (Some((known, text)), Some(place)) = (Known::NAMES.get(at), self.known.get_mut(at))
                && same_name(name, text.as_bytes())
            {
                self.traces += u8::from(*known == Known::Traceparent && self.traces < 2);
                place.get_or_insert(value);
                return;
            }
        }
    }

    /// The value of the first field of this name.
    pub(super) fn known(&self, name: Known) -> Option<&'a [u8]> {
        self.known.get(name as usize).copied().flatten()
    }

    /// The ids of trace and parent. Two fields are as good as none: nobody can say which is meant.
    pub(super) fn trace(&self) -> Option<(&'a str, &'a str)> {
        self.known(Known::Traceparent).filter(|_| self.traces == 1).and_then(origin::trace)
    }

    /// What identifies the request, by precedence.
    pub(super) fn request_id(&self) -> Option<&'a [u8]> {
        Known::IDS.into_iter().find_map(|id| self.known(id)).filter(|id| !id.is_empty())
    }
}

/// The selected fields: an array of values under each name in lower case, in the order of their first appearance.
pub(super) struct HeaderPart<'a> {
    scan: &'a Scan<'a>,
    options: &'a RecordOptions,
    selector: &'a Selector<'a>,
}

impl<'a> HeaderPart<'a> {
    pub(super) fn new(scan: &'a Scan<'a>, options: &'a RecordOptions, selector: &'a Selector<'a>) -> Self {
        Self { scan, options, selector }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.scan.selected == 0 && (!self.scan.is_long || self.fields_from(BITS).next().is_none())
    }

    /// The selected fields with their names in lower case, if there are few, each once.
    fn few(&self) -> Option<impl Iterator<Item = (&'a str, &'a [u8])>> {
        let few = &self.scan.few;
        let is_it = !few.is_other && !self.scan.is_long && !self.selector.all;
        let places = few.places.get(..few.len).filter(|_| is_it)?;
        Some(places.iter().filter_map(|(field, name)| {
            let (_, value) = self.scan.head.field_at(usize::from(*field))?;
            Some((self.selector.names.get(usize::from(*name))?.as_str(), value))
        }))
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
        few.chain(beyond.filter(|(_, name, _)| self.selector.contains(name)))
    }
}

/// Places that [`Scan::selected`] has a bit for.
const BITS: usize = u64::BITS as usize;

impl Serialize for HeaderPart<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(few) = self.few() {
            for (name, value) in few {
                map.serialize_entry(name, [self.options.shown(name, value)].as_slice())?;
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
