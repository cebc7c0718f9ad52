//! Some fields of a record, taken out of what it serializes.
//!
//! ```text
//!   Record ── Serialize ──► Extract: goes down where the tree of wanted names has a branch, steps over the rest
//!                              └─► Slots: one for each wanted field, used again for the next record
//! ```
//!
//! The names are the record's own by this: nothing here knows them.

use std::fmt::Display;

use serde::ser::{
    Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeTuple, Serializer,
};

/// The wanted names, as a tree.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    branches: Vec<(String, Self)>,
    /// The number of the slot for what is found here.
    slot: Option<usize>,
}

impl Tree {
    /// The slot of the field with these names, from the outermost; `next` if it has none yet.
    pub(super) fn slot(&mut self, names: &[&str], next: usize) -> usize {
        let Some((first, rest)) = names.split_first() else { return *self.slot.get_or_insert(next) };
        let at = match self.branches.iter().position(|(name, _)| name == first) {
            Some(at) => at,
            None => {
                self.branches.push(((*first).to_owned(), Self::default()));
                self.branches.len() - 1
            }
        };
        self.branches.get_mut(at).map_or(next, |(_, branch)| branch.slot(rest, next))
    }

    fn branch(&self, name: &str) -> Option<&Self> {
        self.branches.iter().find(|(branch, _)| branch == name).map(|(_, branch)| branch)
    }
}

/// What was found of the wanted fields.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// The name of an entry that is being looked at.
    name: Slot,
}

impl Slots {
    /// Takes the fields of `tree` out of `record`, over what was there. There are `count` of them.
    pub(super) fn fill(&mut self, tree: &Tree, count: usize, record: &impl Serialize) {
        self.slots.resize_with(count, Slot::default);
        self.slots.iter_mut().for_each(|slot| slot.held = Held::Nothing);
        // Whatever cannot be taken out is as if it were not there; nothing in a record is.
        let _ = record.serialize(Extract { tree, slots: self, item: false });
    }

    /// What is in a slot.
    pub(super) fn of(&self, slot: usize) -> Found<'_> {
        let Some(slot) = self.slots.get(slot) else { return Found::Nothing };
        match slot.held {
            Held::Nothing => Found::Nothing,
            Held::Object => Found::Object,
            Held::Scalar => slot.scalar.found(),
            Held::Items(count) => Found::Items(slot.items.get(..count).unwrap_or_default()),
        }
    }
}

/// A field of a record.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found<'s> {
    Nothing,
    /// There are fields below it.
    Object,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'s str),
    Items(&'s [Scalar]),
}

/// Keeps its memory whatever it holds.
#[derive(Debug, Default)]
struct Slot {
    held: Held,
    scalar: Scalar,
    items: Vec<Scalar>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Held {
    #[default]
    Nothing,
    Object,
    Scalar,
    Items(usize),
}

/// One value.
#[derive(Debug, Default)]
pub(super) struct Scalar {
    value: Plain,
    text: String,
}

#[derive(Clone, Copy, Debug, Default)]
enum Plain {
    #[default]
    Text,
    Bool(bool),
    Int(i64),
    Float(f64),
}

impl Scalar {
    pub(super) fn found(&self) -> Found<'_> {
        match self.value {
            Plain::Text => Found::Text(&self.text),
            Plain::Bool(value) => Found::Bool(value),
            Plain::Int(value) => Found::Int(value),
            Plain::Float(value) => Found::Float(value),
        }
    }
}

/// Where a value goes.
struct Extract<'e> {
    tree: &'e Tree,
    slots: &'e mut Slots,
    /// It is an item of a list.
    item: bool,
}

impl<'e> Extract<'e> {
    fn slot(&mut self) -> Option<&mut Slot> {
        self.tree.slot.and_then(|slot| self.slots.slots.get_mut(slot))
    }

    fn put(mut self, value: Plain, text: &str) {
        let item = self.item;
        let Some(slot) = self.slot() else { return };
        let scalar = match (item, slot.held) {
            (true, Held::Items(count)) => {
                slot.held = Held::Items(count + 1);
                if slot.items.len() == count {
                    slot.items.push(Scalar::default());
                }
                match slot.items.get_mut(count) {
                    Some(item) => item,
                    None => return,
                }
            }
            _ => {
                slot.held = Held::Scalar;
                &mut slot.scalar
            }
        };
        scalar.value = value;
        scalar.text.clear();
        scalar.text.push_str(text);
    }

    /// What is beyond the numbers of an expression is its largest.
    fn int(self, value: impl TryInto<i64>) -> Result<(), Unreachable> {
        self.put(Plain::Int(value.try_into().unwrap_or(i64::MAX)), "");
        Ok(())
    }

    fn hold(mut self, held: Held) -> Members<'e> {
        // What is in an item of a list has no name to be wanted by; that it is there is all that is told of it.
        if self.item {
            Extract { tree: self.tree, slots: &mut *self.slots, item: true }.put(Plain::Bool(true), "");
            return Members { tree: NOTHING, slots: self.slots, branch: None };
        }
        if let Some(slot) = self.slot() {
            slot.held = held;
        }
        Members { tree: self.tree, slots: self.slots, branch: None }
    }
}

/// No value refuses to be taken out, but the serializer's type has to say what refusal would be.
#[derive(Debug)]
struct Unreachable;

impl Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value that cannot be taken out of a record")
    }
}

impl std::error::Error for Unreachable {}

impl serde::ser::Error for Unreachable {
    fn custom<T: Display>(_: T) -> Self {
        Self
    }
}

macro_rules! ints {
    ($($name:ident $type:ty),*) => {
        $(fn $name(self, value: $type) -> Result<(), Unreachable> {
            self.int(value)
        })*
    };
}

impl<'e> Serializer for Extract<'e> {
    type Ok = ();
    type Error = Unreachable;
    type SerializeSeq = Members<'e>;
    type SerializeTuple = Members<'e>;
    type SerializeTupleStruct = Impossible<(), Unreachable>;
    type SerializeTupleVariant = Impossible<(), Unreachable>;
    type SerializeMap = Members<'e>;
    type SerializeStruct = Members<'e>;
    type SerializeStructVariant = Impossible<(), Unreachable>;

    ints!(
        serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64, serialize_u8 u8, serialize_u16 u16,
        serialize_u32 u32, serialize_u64 u64
    );

    fn serialize_bool(self, value: bool) -> Result<(), Unreachable> {
        self.put(Plain::Bool(value), "");
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Result<(), Unreachable> {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<(), Unreachable> {
        self.put(Plain::Float(value), "");
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), Unreachable> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, text: &str) -> Result<(), Unreachable> {
        self.put(Plain::Text, text);
        Ok(())
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), Unreachable> {
        self.serialize_str(&value.to_string())
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), Unreachable> {
        Err(Unreachable)
    }

    fn serialize_none(self) -> Result<(), Unreachable> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Unreachable> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Unreachable> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Unreachable> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, name: &'static str) -> Result<(), Unreachable> {
        self.serialize_str(name)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Unreachable> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Unreachable> {
        Err(Unreachable)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Members<'e>, Unreachable> {
        Ok(self.hold(Held::Items(0)))
    }

    fn serialize_tuple(self, _: usize) -> Result<Members<'e>, Unreachable> {
        Ok(self.hold(Held::Items(0)))
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Unreachable> {
        Err(Unreachable)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Unreachable> {
        Err(Unreachable)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Members<'e>, Unreachable> {
        Ok(self.hold(Held::Object))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Members<'e>, Unreachable> {
        Ok(self.hold(Held::Object))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Unreachable> {
        Err(Unreachable)
    }
}

/// Members of an object or a list.
struct Members<'e> {
    tree: &'e Tree,
    slots: &'e mut Slots,
    /// Of the entry whose name has been seen.
    branch: Option<&'e Tree>,
}

impl Members<'_> {
    fn item(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), Unreachable> {
        match self.tree.slot {
            Some(_) => value.serialize(Extract { tree: self.tree, slots: self.slots, item: true }),
            None => Ok(()),
        }
    }
}

impl SerializeStruct for Members<'_> {
    type Ok = ();
    type Error = Unreachable;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Unreachable> {
        match self.tree.branch(name) {
            Some(tree) => value.serialize(Extract { tree, slots: self.slots, item: false }),
            None => Ok(()),
        }
    }

    fn end(self) -> Result<(), Unreachable> {
        Ok(())
    }
}

impl SerializeMap for Members<'_> {
    type Ok = ();
    type Error = Unreachable;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, name: &T) -> Result<(), Unreachable> {
        // The slot for names takes the place of the first one for the moment: there is one serializer only.
        self.branch = None;
        if self.tree.branches.is_empty() {
            return Ok(());
        }
        let Slots { slots, name: place } = &mut *self.slots;
        if let Some(first) = slots.first_mut() {
            std::mem::swap(first, place);
        }
        let taken = name.serialize(Extract { tree: NAME, slots: self.slots, item: false });
        let Slots { slots, name: place } = &mut *self.slots;
        if let Some(first) = slots.first_mut() {
            std::mem::swap(first, place);
        }
        self.branch = self.tree.branch(&self.slots.name.scalar.text);
        taken
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unreachable> {
        match self.branch.take() {
            Some(tree) => value.serialize(Extract { tree, slots: self.slots, item: false }),
            None => Ok(()),
        }
    }

    fn end(self) -> Result<(), Unreachable> {
        Ok(())
    }
}

impl SerializeSeq for Members<'_> {
    type Ok = ();
    type Error = Unreachable;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unreachable> {
        self.item(value)
    }

    fn end(self) -> Result<(), Unreachable> {
        Ok(())
    }
}

impl SerializeTuple for Members<'_> {
    type Ok = ();
    type Error = Unreachable;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unreachable> {
        self.item(value)
    }

    fn end(self) -> Result<(), Unreachable> {
        Ok(())
    }
}

/// Nothing is wanted.
const NOTHING: &Tree = &Tree { branches: Vec::new(), slot: None };
/// The first slot's value is wanted.
const NAME: &Tree = &Tree { branches: Vec::new(), slot: Some(0) };
