//! Records with some of their fields: what is not chosen is passed over before it is turned into text.
//!
//! The order stays the record's. An object of which nothing is left is left out, but for the line itself.

use std::fmt::{self, Display};

use serde::ser::{Impossible, Serialize, SerializeMap, SerializeStruct, Serializer};

use super::{Failed, Json, Members, Written, no_record_has, on_sheet};
use crate::fields::{Choice, Node, below};
use crate::sheet::{behind, put_byte};

/// Appends what `choice` leaves of `value`, an object, to `out` as JSON. `more` is as for [`write`](super::write).
pub(crate) fn write_chosen(
    value: &impl Serialize,
    choice: &Choice,
    more: usize,
    out: &mut Vec<u8>,
) -> fmt::Result {
    on_sheet(out, more, |room| value.serialize(Chosen { room, nodes: choice.nodes() }))
}

/// Writes one value of which some is chosen: an object.
struct Chosen<'o, 'c> {
    room: &'o mut [u8],
    nodes: &'c [Node],
}

/// Writes the members of an object that are chosen.
struct ChosenMembers<'o, 'c> {
    members: Members<'o>,
    nodes: &'c [Node],
}

impl<'o> ChosenMembers<'o, '_> {
    /// Lets `write` put a member behind the others; it says whether that is to stay. If not, it is as if nothing had
    /// been written.
    fn try_member(
        &mut self,
        write: impl FnOnce(Members<'_>) -> Result<Option<&mut [u8]>, Failed>,
    ) -> Result<(), Failed> {
        let Members { room, empty, close } = &mut self.members;
        let before = room.len();
        let left = write(Members { room, empty: *empty, close: *close })?.map(|left| left.len());
        if let Some(left) = left {
            *empty = false;
            *room = behind(std::mem::take(room), before - left)?;
        }
        Ok(())
    }
}

impl<'o> SerializeStruct for ChosenMembers<'o, '_> {
    type Ok = &'o mut [u8];
    type Error = Failed;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Failed> {
        match below(self.nodes, name) {
            None => Ok(()),
            Some([]) => self.members.serialize_field(name, value),
            Some(nodes) => self.try_member(|mut members| {
                SerializeMap::serialize_key(&mut members, name)?;
                let room = members.room;
                let (before, left) = (room.len(), value.serialize(Chosen { room: &mut *room, nodes })?.len());
                let is_empty = room.get(..before - left) == Some(b"{}");
                Ok(if is_empty { None } else { Some(behind(room, before - left)?) })
            }),
        }
    }

    fn end(self) -> Written<'o> {
        SerializeStruct::end(self.members)
    }
}

impl<'o> SerializeMap for ChosenMembers<'o, '_> {
    type Ok = &'o mut [u8];
    type Error = Failed;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, _: &T) -> Result<(), Failed> {
        // Maps of records are written by entry.
        Err(Failed::Unknown)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, _: &T) -> Result<(), Failed> {
        Err(Failed::Unknown)
    }

    /// All of an entry is chosen or nothing: maps are those of header fields.
    fn serialize_entry<K: Serialize + ?Sized, V: Serialize + ?Sized>(
        &mut self,
        key: &K,
        value: &V,
    ) -> Result<(), Failed> {
        let nodes = self.nodes;
        self.try_member(|mut members| {
            let Json { room } = members.next()?;
            let (before, left) = (room.len(), key.serialize(Json::on(&mut *room))?.len());
            // `"name"`, and a name that has to be escaped is none that could have been chosen.
            let name = room.get(..before - left).and_then(|key| key.strip_prefix(b"\"")?.strip_suffix(b"\""));
            let name = name.and_then(|name| str::from_utf8(name).ok()).unwrap_or_default();
            if below(nodes, name).is_none() {
                return Ok(None);
            }
            let room = put_byte(b':', behind(room, before - left)?)?;
            value.serialize(Json::on(room)).map(Some)
        })
    }

    fn end(self) -> Written<'o> {
        SerializeMap::end(self.members)
    }
}

macro_rules! whole {
    ($($name:ident: $type:ty),*) => {
        $(fn $name(self, value: $type) -> Written<'o> {
            Json::on(self.room).$name(value)
        })*
    };
}

impl<'o, 'c> Serializer for Chosen<'o, 'c> {
    type Ok = &'o mut [u8];
    type Error = Failed;
    type SerializeSeq = Members<'o>;
    type SerializeTuple = Impossible<&'o mut [u8], Failed>;
    type SerializeTupleStruct = Impossible<&'o mut [u8], Failed>;
    type SerializeTupleVariant = Impossible<&'o mut [u8], Failed>;
    type SerializeMap = ChosenMembers<'o, 'c>;
    type SerializeStruct = ChosenMembers<'o, 'c>;
    type SerializeStructVariant = Impossible<&'o mut [u8], Failed>;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<ChosenMembers<'o, 'c>, Failed> {
        Ok(ChosenMembers { members: Json::on(self.room).open(b'{', b'}')?, nodes: self.nodes })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<ChosenMembers<'o, 'c>, Failed> {
        Ok(ChosenMembers { members: Json::on(self.room).open(b'{', b'}')?, nodes: self.nodes })
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Written<'o> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Written<'o> {
        value.serialize(self)
    }

    // What has no parts to choose from: nothing in a record, since only names of the registry are chosen.

    whole! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_f32: f32,
        serialize_f64: f64, serialize_char: char, serialize_str: &str, serialize_bytes: &[u8]
    }

    fn serialize_none(self) -> Written<'o> {
        Json::on(self.room).serialize_none()
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Members<'o>, Failed> {
        Json::on(self.room).serialize_seq(len)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Written<'o> {
        Json::on(self.room).collect_str(value)
    }

    no_record_has!();
}
