//! Records with some of their fields: what is not chosen is passed over before it is turned into text.
//!
//! The order stays the record's. An object of which nothing is left is left out, but for the line itself.

use std::fmt::{Display, Error};

use serde::ser::{Impossible, Serialize, SerializeMap, SerializeStruct, Serializer};

use super::{Json, Members, no_record_has};
use crate::fields::{Choice, Node, below};

/// Appends what `choice` leaves of `value`, an object, to `out` as JSON.
pub(crate) fn write_chosen(value: &impl Serialize, choice: &Choice, out: &mut Vec<u8>) -> Result<(), Error> {
    value.serialize(Chosen { out, nodes: choice.nodes() })
}

/// Writes one value of which some is chosen: an object.
struct Chosen<'o, 'c> {
    out: &'o mut Vec<u8>,
    nodes: &'c [Node],
}

/// Writes the members of an object that are chosen.
struct ChosenMembers<'o, 'c> {
    members: Members<'o>,
    nodes: &'c [Node],
}

impl ChosenMembers<'_, '_> {
    /// Takes back what was written from `start` on, as if nothing had been written since `empty` was so.
    fn undo(&mut self, start: usize, empty: bool) {
        self.members.out.truncate(start);
        self.members.empty = empty;
    }
}

impl SerializeStruct for ChosenMembers<'_, '_> {
    type Ok = ();
    type Error = Error;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        match below(self.nodes, name) {
            None => Ok(()),
            Some([]) => self.members.serialize_field(name, value),
            Some(nodes) => {
                let (start, empty) = (self.members.out.len(), self.members.empty);
                SerializeMap::serialize_key(&mut self.members, name)?;
                let at = self.members.out.len();
                value.serialize(Chosen { out: self.members.out, nodes })?;
                if self.members.out.get(at..) == Some(b"{}") {
                    self.undo(start, empty);
                }
                Ok(())
            }
        }
    }

    fn end(self) -> Result<(), Error> {
        SerializeStruct::end(self.members)
    }
}

impl SerializeMap for ChosenMembers<'_, '_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, _: &T) -> Result<(), Error> {
        // Maps of records are written by entry.
        Err(Error)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, _: &T) -> Result<(), Error> {
        Err(Error)
    }

    /// All of an entry is chosen or nothing: maps are those of header fields.
    fn serialize_entry<K: Serialize + ?Sized, V: Serialize + ?Sized>(
        &mut self,
        key: &K,
        value: &V,
    ) -> Result<(), Error> {
        let (start, empty) = (self.members.out.len(), self.members.empty);
        let quote = start + usize::from(!empty);
        self.members.serialize_key(key)?;
        // `"name":`, and a name that has to be escaped is none that could have been chosen.
        let name =
            self.members.out.get(quote..).and_then(|key| key.strip_prefix(b"\"")?.strip_suffix(b"\":"));
        let name = name.and_then(|name| str::from_utf8(name).ok()).unwrap_or_default();
        if below(self.nodes, name).is_none() {
            self.undo(start, empty);
            return Ok(());
        }
        self.members.serialize_value(value)
    }

    fn end(self) -> Result<(), Error> {
        SerializeMap::end(self.members)
    }
}

macro_rules! whole {
    ($($name:ident: $type:ty),*) => {
        $(fn $name(self, value: $type) -> Result<(), Error> {
            Json::new(self.out).$name(value)
        })*
    };
}

impl<'o, 'c> Serializer for Chosen<'o, 'c> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Members<'o>;
    type SerializeTuple = Impossible<(), Error>;
    type SerializeTupleStruct = Impossible<(), Error>;
    type SerializeTupleVariant = Impossible<(), Error>;
    type SerializeMap = ChosenMembers<'o, 'c>;
    type SerializeStruct = ChosenMembers<'o, 'c>;
    type SerializeStructVariant = Impossible<(), Error>;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<ChosenMembers<'o, 'c>, Error> {
        Ok(ChosenMembers { members: Json::new(self.out).open(b'{', b'}'), nodes: self.nodes })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<ChosenMembers<'o, 'c>, Error> {
        Ok(ChosenMembers { members: Json::new(self.out).open(b'{', b'}'), nodes: self.nodes })
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    // What has no parts to choose from: nothing in a record, since only names of the registry are chosen.

    whole! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_f32: f32,
        serialize_f64: f64, serialize_char: char, serialize_str: &str, serialize_bytes: &[u8]
    }

    fn serialize_none(self) -> Result<(), Error> {
        Json::new(self.out).serialize_none()
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Members<'o>, Error> {
        Json::new(self.out).serialize_seq(len)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), Error> {
        Json::new(self.out).collect_str(value)
    }

    no_record_has!();
}
