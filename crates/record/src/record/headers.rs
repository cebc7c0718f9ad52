//! Header fields in records: which are selected, how they are gathered, and what of them is masked.

use std::borrow::Cow;

use gannet_http::Head;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::RecordOptions;
use super::parts::{Items, List};
use crate::redact::{MASKED_FIELD, is_credential_field, masked_text};
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
                Selector { names, of_length, all: false }
            }
            Self::All => Selector { names: &[], of_length: [0; LENGTHS], all: true },
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
}

/// Few names are longer.
const LENGTHS: usize = 32;
const LAST_BIT: usize = u16::BITS as usize - 1;

impl Selector<'_> {
    #[inline]
    pub(super) fn contains(&self, name: &[u8]) -> bool {
        if self.all {
            return true;
        }
        let mut bits = self.of_length.get(name.len().min(LENGTHS - 1)).copied().unwrap_or(0);
        while bits != 0 {
            let at = bits.trailing_zeros() as usize;
            // Takes the lowest bit away.
            bits &= bits - 1;
            let names = if at == LAST_BIT { at..self.names.len() } else { at..at + 1 };
            let names = self.names.get(names).unwrap_or_default();
            if names.iter().any(|selected| same_name(name, selected.as_bytes())) {
                return true;
            }
        }
        false
    }
}

/// Whether two names of fields are one: "Each header field consists of a case-insensitive field name" (RFC 9112, section
/// 5).
#[inline]
fn same_name(a: &[u8], b: &[u8]) -> bool {
    words::same_but_for_case(a, b)
}

impl RecordOptions {
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

/// The selected fields: an array of values under each name in lower case, in the order of their first appearance.
///
/// Which are selected is found out once and kept as bits: there is a field or two among many. Heads of more fields than a
/// word has bits are rare, and theirs beyond are looked at each time.
pub(super) struct HeaderPart<'a> {
    head: &'a Head,
    options: &'a RecordOptions,
    selector: &'a Selector<'a>,
    /// The bit of a place says that its field is selected.
    selected: u64,
    /// There are more fields than bits.
    is_long: bool,
}

impl<'a> HeaderPart<'a> {
    pub(super) fn new(head: &'a Head, options: &'a RecordOptions, selector: &'a Selector<'a>) -> Self {
        let (mut selected, mut bit) = (0, 1_u64);
        for (name, _) in head.fields().take(BITS) {
            if selector.contains(name) {
                selected |= bit;
            }
            bit = bit.wrapping_shl(1);
        }
        Self { head, options, selector, selected, is_long: head.field_at(BITS).is_some() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fields_from(0).next().is_none()
    }

    /// Places, names and values of the selected fields, from place `first` on.
    fn fields_from(&self, first: usize) -> impl Iterator<Item = (usize, &'a [u8], &'a [u8])> {
        let head = self.head;
        let mut bits = if first < BITS { self.selected >> first << first } else { 0 };
        let few = std::iter::from_fn(move || {
            let place = bits.trailing_zeros() as usize;
            // Takes the lowest bit away.
            bits &= bits.checked_sub(1)?;
            head.field_at(place).map(|(name, value)| (place, name, value))
        });
        let beyond = if self.is_long { first.max(BITS)..usize::MAX } else { 0..0 };
        let beyond = beyond.map_while(|place| head.field_at(place).map(|(name, value)| (place, name, value)));
        few.chain(beyond.filter(|(_, name, _)| self.selector.contains(name)))
    }
}

/// Places that [`HeaderPart::selected`] has a bit for.
const BITS: usize = u64::BITS as usize;

impl Serialize for HeaderPart<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (at, name, _) in self.fields_from(0) {
            let mut earlier = self.fields_from(0).take_while(|(place, ..)| *place < at);
            if earlier.any(|(_, other, _)| same_name(name, other)) {
                continue;
            }
            let values = List(Values { part: self, name, at });
            // A name that is in lower case as it is needs no copy; HTTP/1 spells most with capitals.
            let mut buffer = [0; SHORT_NAME_BYTES];
            match buffer.get_mut(..name.len()) {
                Some(lower) if name.is_ascii() => {
                    lower.copy_from_slice(name);
                    lower.make_ascii_lowercase();
                    map.serialize_entry(str::from_utf8(lower).unwrap_or_default(), &values)?;
                }
                _ => map.serialize_entry(&wire_text(name).to_ascii_lowercase(), &values)?,
            }
        }
        map.end()
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
        same.map(|(_, _, value)| self.part.options.value(self.name, value))
    }
}

/// Longer names are lowered on the heap.
const SHORT_NAME_BYTES: usize = 64;
