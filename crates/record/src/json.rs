//! Records as JSON, byte for byte as `serde_json` writes them, in half the time.
//!
//! Half of a record's bytes are the names of its fields. They are constants of the program, yet a serializer for anything
//! looks for characters to escape in each of them, and keeps in mind whether a comma is due:
//!
//! ```text
//!   field of a struct    ,"name":    one copy of constants; whether a comma is due is known when compiling, too
//!   text                 "text"      looked at eight bytes at a time; copied whole if there is nothing to escape
//! ```
//!
//! What a record is made of stays with its `Serialize`: this is one more serializer for it, and a test compares it with
//! `serde_json` over odd records. It knows what records are made of, and fails on anything else.

mod chosen;

use std::fmt::{Display, Error};

use serde::ser::{Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, Serializer};

pub(crate) use self::chosen::write_chosen;
use crate::{decimal, wire_text, words};

/// Appends `value` to `out` as JSON. Fails if there is something in it that records have not, such as a float.
pub(crate) fn write(value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), Error> {
    value.serialize(Json::new(out))
}

/// The shapes of data that nothing in a record has, refused: for every serializer that writes JSON here.
macro_rules! no_record_has {
    () => {
        fn serialize_unit(self) -> Result<(), Error> {
            Err(Error)
        }

        fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
            Err(Error)
        }

        fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), Error> {
            Err(Error)
        }

        fn serialize_newtype_variant<T: Serialize + ?Sized>(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: &T,
        ) -> Result<(), Error> {
            Err(Error)
        }

        fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Error> {
            Err(Error)
        }

        fn serialize_tuple_struct(
            self,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeTupleStruct, Error> {
            Err(Error)
        }

        fn serialize_tuple_variant(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeTupleVariant, Error> {
            Err(Error)
        }

        fn serialize_struct_variant(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeStructVariant, Error> {
            Err(Error)
        }
    };
}
use no_record_has;

/// ASCII text in which nothing has to be escaped, as whoever made it knows: no writer looks again.
#[derive(Clone, Copy)]
pub(crate) struct Plain<'a>(pub(crate) &'a [u8]);

impl Plain<'static> {
    /// A name that the program gives to something.
    pub(crate) const fn name(name: &'static str) -> Self {
        Self(name.as_bytes())
    }
}

impl Serialize for Plain<'_> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        debug_assert!(is_plain_ascii(self.0));
        if serializer.is_human_readable() {
            serializer.serialize_str(str::from_utf8(self.0).unwrap_or_default())
        } else {
            serializer.serialize_newtype_struct(PLAIN, &Unescaped(self.0))
        }
    }
}

/// What is in a [`Plain`].
struct Unescaped<'a>(&'a [u8]);

impl Serialize for Unescaped<'_> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Tells [`Json`] of a [`Plain`].
const PLAIN: &str = "Plain";

/// Writes one value.
struct Json<'o> {
    out: &'o mut Vec<u8>,
    /// Bytes are those of a [`Plain`].
    is_plain: bool,
}

/// Writes the members of an object or array.
struct Members<'o> {
    out: &'o mut Vec<u8>,
    /// None has been written.
    empty: bool,
    close: u8,
}

impl<'o> Json<'o> {
    #[inline]
    fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out, is_plain: false }
    }

    #[inline]
    fn open(self, open: u8, close: u8) -> Members<'o> {
        self.out.push(open);
        Members { out: self.out, empty: true, close }
    }

    #[inline]
    fn integer(self, value: impl Into<u64>) {
        decimal::write(value.into(), self.out);
    }
}

impl<'o> Serializer for Json<'o> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Members<'o>;
    type SerializeTuple = Impossible<(), Error>;
    type SerializeTupleStruct = Impossible<(), Error>;
    type SerializeTupleVariant = Impossible<(), Error>;
    type SerializeMap = Members<'o>;
    type SerializeStruct = Members<'o>;
    type SerializeStructVariant = Impossible<(), Error>;

    /// No: bytes are welcome, see [`Json::serialize_bytes`].
    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }

    #[inline]
    fn serialize_u8(self, value: u8) -> Result<(), Error> {
        self.integer(value);
        Ok(())
    }

    #[inline]
    fn serialize_u16(self, value: u16) -> Result<(), Error> {
        self.integer(value);
        Ok(())
    }

    #[inline]
    fn serialize_u32(self, value: u32) -> Result<(), Error> {
        self.integer(value);
        Ok(())
    }

    #[inline]
    fn serialize_u64(self, value: u64) -> Result<(), Error> {
        self.integer(value);
        Ok(())
    }

    #[inline]
    fn serialize_str(self, text: &str) -> Result<(), Error> {
        write_text(text, self.out);
        Ok(())
    }

    /// Bytes of the wire, as their text: what most of them are needs one look here, and two if it comes as a `str`.
    #[inline]
    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Error> {
        if self.is_plain {
            write_plain(bytes, self.out);
        } else {
            write_bytes(bytes, self.out);
        }
        Ok(())
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Error> {
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        // Both are constants where this is inlined.
        value.serialize(Self { is_plain: name == PLAIN, ..self })
    }

    #[inline]
    fn serialize_seq(self, _: Option<usize>) -> Result<Members<'o>, Error> {
        Ok(self.open(b'[', b']'))
    }

    #[inline]
    fn serialize_map(self, _: Option<usize>) -> Result<Members<'o>, Error> {
        Ok(self.open(b'{', b'}'))
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Members<'o>, Error> {
        Ok(self.open(b'{', b'}'))
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), Error> {
        write_text(&value.to_string(), self.out);
        Ok(())
    }

    // What no record has.

    fn serialize_i8(self, _: i8) -> Result<(), Error> {
        Err(Error)
    }

    fn serialize_i16(self, _: i16) -> Result<(), Error> {
        Err(Error)
    }

    fn serialize_i32(self, _: i32) -> Result<(), Error> {
        Err(Error)
    }

    fn serialize_i64(self, _: i64) -> Result<(), Error> {
        Err(Error)
    }

    fn serialize_f32(self, _: f32) -> Result<(), Error> {
        Err(Error)
    }

    fn serialize_f64(self, _: f64) -> Result<(), Error> {
        Err(Error)
    }

    fn serialize_char(self, _: char) -> Result<(), Error> {
        Err(Error)
    }

    no_record_has!();
}

impl Members<'_> {
    #[inline]
    fn next(&mut self) -> Json<'_> {
        if !std::mem::take(&mut self.empty) {
            self.out.push(b',');
        }
        Json::new(self.out)
    }

    #[inline]
    fn close(self) -> Result<(), Error> {
        self.out.push(self.close);
        Ok(())
    }
}

impl SerializeStruct for Members<'_> {
    type Ok = ();
    type Error = Error;

    /// `name` is the program's: an identifier of Rust's, or what an attribute calls it instead. Inlined, it is a constant, and
    /// copied by an instruction or two instead of a call.
    #[inline(always)]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        debug_assert!(is_plain(name.as_bytes()));
        // One piece, since each would wait for the one before to have changed the length; put together in its place.
        let (at, start) = (self.out.len(), usize::from(!std::mem::take(&mut self.empty)));
        let len = start + name.len() + 3;
        let Some(room) = ROOM.get(..len) else { return Err(Error) };
        self.out.extend_from_slice(room);
        if let Some(piece) = self.out.get_mut(at..at + len) {
            piece[0] = b',';
            piece[start] = b'"';
            piece[start + 1..start + 1 + name.len()].copy_from_slice(name.as_bytes());
            piece[len - 2] = b'"';
            piece[len - 1] = b':';
        }
        value.serialize(Json::new(self.out))
    }

    #[inline]
    fn end(self) -> Result<(), Error> {
        self.close()
    }
}

impl SerializeMap for Members<'_> {
    type Ok = ();
    type Error = Error;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        key.serialize(self.next())?;
        self.out.push(b':');
        Ok(())
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(Json::new(self.out))
    }

    #[inline]
    fn end(self) -> Result<(), Error> {
        self.close()
    }
}

impl SerializeSeq for Members<'_> {
    type Ok = ();
    type Error = Error;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(self.next())
    }

    #[inline]
    fn end(self) -> Result<(), Error> {
        self.close()
    }
}

/// For the longest name of a field, and what is around it.
static ROOM: [u8; 32] = [b' '; 32];

fn write_text(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    if is_plain_ascii(bytes) {
        write_plain(bytes, out);
    } else {
        write_odd(text, out);
    }
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    if is_plain_ascii(bytes) {
        write_plain(bytes, out);
    } else {
        write_odd(&wire_text(bytes), out);
    }
}

/// Nothing in it has to be escaped.
#[inline]
fn write_plain(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    out.extend_from_slice(bytes);
    out.push(b'"');
}

#[inline(never)]
fn write_odd(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    if is_plain(text.as_bytes()) {
        out.extend_from_slice(text.as_bytes());
    } else {
        write_escaped(text.as_bytes(), out);
    }
    out.push(b'"');
}

/// "All Unicode characters may be placed within the quotation marks, except for the characters that MUST be escaped:
/// quotation mark, reverse solidus, and the control characters (U+0000 through U+001F)" (RFC 8259, section 7).
#[cold]
#[inline(never)]
fn write_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    let mut plain = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte >= b' ' && !matches!(byte, b'"' | b'\\') {
            continue;
        }
        out.extend_from_slice(bytes.get(plain..at).unwrap_or_default());
        plain = at + 1;
        let short = match byte {
            b'\x08' => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            b'\x0c' => b'f',
            b'\r' => b'r',
            0..=0x1f => {
                let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 0xf)]);
                continue;
            }
            itself => *itself,
        };
        out.extend_from_slice(&[b'\\', short]);
    }
    out.extend_from_slice(bytes.get(plain..).unwrap_or_default());
}

/// Nothing in it has to be escaped, nor looked at for what is not UTF-8.
#[inline]
pub(crate) fn is_plain_ascii(bytes: &[u8]) -> bool {
    words::none(bytes, is_escaped)
}

/// Whether this ASCII character has to be escaped; true for all that is not ASCII.
#[inline]
pub(crate) fn is_escaped(byte: u8) -> bool {
    // As a signed number a byte beyond ASCII is below 0.
    (byte.cast_signed() < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// Nothing in it has to be escaped.
#[inline]
fn is_plain(bytes: &[u8]) -> bool {
    words::none(bytes, |byte| (byte < b' ') | (byte == b'"') | (byte == b'\\'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn written(value: &impl Serialize) -> String {
        let mut out = b"before".to_vec();
        write(value, &mut out).unwrap();
        String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned()
    }

    #[test]
    fn brackets_and_commas() {
        for value in [
            json!({}),
            json!([]),
            json!([[], {}, [[]], {"a": {}}]),
            json!({"a": [","], ",": ","}),
            json!([true, false, u64::MAX, 0, ",", ""]),
        ] {
            assert_eq!(written(&value), value.to_string());
        }
    }

    #[test]
    fn what_records_have_not_is_refused() {
        assert!(write(&1.5, &mut Vec::new()).is_err());
        assert!(write(&[("a", -1)], &mut Vec::new()).is_err());
    }

    #[test]
    fn what_is_escaped() {
        for byte in 0..=0x7f_u8 {
            let expected = byte >= b' ' && byte != b'"' && byte != b'\\';
            assert_eq!(is_plain(&[byte]), expected);
            assert_eq!(is_plain(&[b"around it ".as_slice(), &[byte], b" others"].concat()), expected);
            for len in 1..40 {
                let mut bytes = vec![b'a'; len];
                for at in 0..len {
                    bytes[at] = byte;
                    assert_eq!(is_plain_ascii(&bytes), expected, "{bytes:?}");
                    bytes[at] = byte | 0x80;
                    assert!(!is_plain_ascii(&bytes), "{bytes:?}");
                    bytes[at] = b'a';
                }
            }
        }
        assert!(is_plain("żółć".as_bytes()) && is_plain(b""));
    }

    proptest! {
        /// Against `serde_json`.
        #[test]
        fn texts(text in "([ -~]|\\PC|[\0-\x7f]|[\"\\\\\n]){0,40}") {
            prop_assert_eq!(written(&text), serde_json::to_string(&text).unwrap());
        }

        /// Bytes of the wire are what their text is.
        #[test]
        fn bytes(bytes in proptest::collection::vec(prop_oneof![4 => b' '..=b'~', 1 => any::<u8>()], 0..60)) {
            let mut out = Vec::new();
            Json::new(&mut out).serialize_bytes(&bytes).unwrap();
            prop_assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&wire_text(&bytes)).unwrap());
        }
    }
}
