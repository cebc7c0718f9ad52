//! Records as JSON, byte for byte as `serde_json` writes them, in half the time.
//!
//! Half of a record's bytes are the names of its fields. They are constants of the program, yet a serializer for
//! anything looks for characters to escape in each of them, and keeps in mind whether a comma is due:
//!
//! ```text
//!   field of a struct    ,"name":    one copy of constants; whether a comma is due is known when compiling, too
//!   text                 "text"      looked at sixteen bytes at a time; copied whole if there is nothing to escape
//! ```
//!
//! What is written goes to a sheet: bytes behind the output that are there already ([`crate::sheet`]).
//!
//! What a record is made of stays with its `Serialize`: this is one more serializer for it, and a test compares it with
//! `serde_json` over odd records. It knows what records are made of, and fails on anything else.

mod chosen;

use std::fmt::{self, Display};

use serde::ser::{Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, Serializer};

pub(crate) use self::chosen::write_chosen;
use crate::sheet::{self, Full, append, behind, piece, put_all, put_byte};
use crate::{decimal, wire_text, words};

/// Appends `value` to `out` as JSON. It is asked again for what it says if that takes more than a usual record and
/// `more` bytes ([`room_for`]). Fails, and appends nothing, if there is something in it that records have not, such
/// as a float.
pub(crate) fn write(value: &impl Serialize, more: usize, out: &mut Vec<u8>) -> fmt::Result {
    on_sheet(out, more, |room| value.serialize(Json::on(room)))
}

/// Lets `write` put something behind `out`, again if there was no room for it. It returns what it left of the room.
pub(crate) fn on_sheet(
    out: &mut Vec<u8>,
    more: usize,
    write: impl FnMut(&mut [u8]) -> Result<&mut [u8], Failed>,
) -> fmt::Result {
    append(out, SHEET_BYTES + more, write, |failed| *failed == Failed::Full).map_err(|_| fmt::Error)
}

/// Writes a value at the start of the room.
#[inline]
pub(crate) fn put<'r>(value: &(impl Serialize + ?Sized), room: &'r mut [u8]) -> Written<'r> {
    value.serialize(Json::<false>::on(room))
}

/// Writes a number, or null if there is none.
#[inline(never)]
pub(crate) fn put_number(value: Option<u64>, room: &mut [u8]) -> Result<&mut [u8], Full> {
    let Some(value) = value else { return put_all(*b"null", room) };
    let len = decimal::put(value, piece(room)?);
    behind(room, len)
}

/// How many bytes a long text is likely to take, by a look at a sixteenth of it: all of it would be written again if
/// there were no room for its end.
pub(crate) fn room_for(text: &str) -> usize {
    let (mut looked_at, mut beyond) = (1, 0);
    for chunk in text.as_bytes().chunks(16 * LOOK) {
        let chunk = chunk.get(..LOOK).unwrap_or(chunk);
        looked_at += chunk.len();
        for byte in chunk {
            beyond += match byte {
                b'"' | b'\\' | b'\x08' | b'\t' | b'\n' | b'\x0c' | b'\r' => 1,
                0..=0x1f => 5,
                _ => 0,
            };
        }
    }
    // What was not looked at may have a little more of them.
    text.len() + text.len() / 16 + text.len() / looked_at * beyond * 9 / 8
}

/// A line of the cache.
const LOOK: usize = 64;

/// A usual record has room on a sheet of this size; larger ones cost filling up bytes that are not used.
const SHEET_BYTES: usize = 2_048;

/// Why something was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// There is no room for it.
    Full,
    /// No record has it.
    Unknown,
}

impl From<Full> for Failed {
    #[inline]
    fn from(_: Full) -> Self {
        Self::Full
    }
}

impl Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "no room",
            Self::Unknown => "no record has this",
        })
    }
}

impl std::error::Error for Failed {}

impl serde::ser::Error for Failed {
    fn custom<T: Display>(_: T) -> Self {
        Self::Unknown
    }
}

/// What is left of the room behind what was written.
pub(crate) type Written<'o> = Result<&'o mut [u8], Failed>;

/// The shapes of data that nothing in a record has, refused: for every serializer that writes JSON here.
macro_rules! no_record_has {
    () => {
        fn serialize_unit(self) -> Written<'o> {
            Err(Failed::Unknown)
        }

        fn serialize_unit_struct(self, _: &'static str) -> Written<'o> {
            Err(Failed::Unknown)
        }

        fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Written<'o> {
            Err(Failed::Unknown)
        }

        fn serialize_newtype_variant<T: Serialize + ?Sized>(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: &T,
        ) -> Written<'o> {
            Err(Failed::Unknown)
        }

        fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Failed> {
            Err(Failed::Unknown)
        }

        fn serialize_tuple_struct(
            self,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeTupleStruct, Failed> {
            Err(Failed::Unknown)
        }

        fn serialize_tuple_variant(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeTupleVariant, Failed> {
            Err(Failed::Unknown)
        }

        fn serialize_struct_variant(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeStructVariant, Failed> {
            Err(Failed::Unknown)
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

/// Writes one value at the start of the room.
struct Json<'o, const PLAIN_BYTES: bool = false> {
    room: &'o mut [u8],
}

/// Writes the members of an object or array.
struct Members<'o> {
    room: &'o mut [u8],
    /// None has been written.
    empty: bool,
    close: u8,
}

impl<'o> Json<'o> {
    #[inline]
    fn on(room: &'o mut [u8]) -> Self {
        Self { room }
    }
}

impl<'o, const PLAIN_BYTES: bool> Json<'o, PLAIN_BYTES> {
    #[inline]
    fn open(self, open: u8, close: u8) -> Result<Members<'o>, Failed> {
        Ok(Members { room: put_byte(open, self.room)?, empty: true, close })
    }

    #[inline]
    fn integer(self, value: impl Into<u64>) -> Written<'o> {
        let value = value.into();
        if value < 10 {
            return Ok(put_byte(b'0' + value as u8, self.room)?);
        }
        Ok(put_number(Some(value), self.room)?)
    }
}

impl<'o, const PLAIN_BYTES: bool> Serializer for Json<'o, PLAIN_BYTES> {
    type Ok = &'o mut [u8];
    type Error = Failed;
    type SerializeSeq = Members<'o>;
    type SerializeTuple = Impossible<&'o mut [u8], Failed>;
    type SerializeTupleStruct = Impossible<&'o mut [u8], Failed>;
    type SerializeTupleVariant = Impossible<&'o mut [u8], Failed>;
    type SerializeMap = Members<'o>;
    type SerializeStruct = Members<'o>;
    type SerializeStructVariant = Impossible<&'o mut [u8], Failed>;

    /// No: bytes are welcome, see [`Json::serialize_bytes`].
    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, value: bool) -> Written<'o> {
        Ok(sheet::put(if value { b"true" } else { b"false" }, self.room)?)
    }

    #[inline]
    fn serialize_u8(self, value: u8) -> Written<'o> {
        self.integer(value)
    }

    #[inline]
    fn serialize_u16(self, value: u16) -> Written<'o> {
        self.integer(value)
    }

    #[inline]
    fn serialize_u32(self, value: u32) -> Written<'o> {
        self.integer(value)
    }

    #[inline]
    fn serialize_u64(self, value: u64) -> Written<'o> {
        self.integer(value)
    }

    #[inline]
    fn serialize_str(self, text: &str) -> Written<'o> {
        write_text(text, self.room)
    }

    /// Bytes of the wire, as their text: what most of them are needs one look here, and two if it comes as a `str`.
    #[inline]
    fn serialize_bytes(self, bytes: &[u8]) -> Written<'o> {
        if PLAIN_BYTES { write_plain(bytes, self.room) } else { write_bytes(bytes, self.room) }
    }

    #[inline]
    fn serialize_none(self) -> Written<'o> {
        Ok(put_all(*b"null", self.room)?)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Written<'o> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Written<'o> {
        let room = self.room;
        // Both are constants where this is inlined.
        if name == PLAIN { value.serialize(Json::<true> { room }) } else { value.serialize(Json::on(room)) }
    }

    #[inline]
    fn serialize_seq(self, _: Option<usize>) -> Result<Members<'o>, Failed> {
        self.open(b'[', b']')
    }

    #[inline]
    fn serialize_map(self, _: Option<usize>) -> Result<Members<'o>, Failed> {
        self.open(b'{', b'}')
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Members<'o>, Failed> {
        self.open(b'{', b'}')
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Written<'o> {
        write_text(&value.to_string(), self.room)
    }

    // What no record has.

    fn serialize_i8(self, _: i8) -> Written<'o> {
        Err(Failed::Unknown)
    }

    fn serialize_i16(self, _: i16) -> Written<'o> {
        Err(Failed::Unknown)
    }

    fn serialize_i32(self, _: i32) -> Written<'o> {
        Err(Failed::Unknown)
    }

    fn serialize_i64(self, _: i64) -> Written<'o> {
        Err(Failed::Unknown)
    }

    fn serialize_f32(self, _: f32) -> Written<'o> {
        Err(Failed::Unknown)
    }

    fn serialize_f64(self, _: f64) -> Written<'o> {
        Err(Failed::Unknown)
    }

    fn serialize_char(self, _: char) -> Written<'o> {
        Err(Failed::Unknown)
    }

    no_record_has!();
}

impl<'o> Members<'o> {
    /// Puts a comma behind the one before.
    #[inline]
    fn next(&mut self) -> Result<Json<'o>, Failed> {
        let here = self.here();
        Ok(if std::mem::take(&mut self.empty) { here } else { Json::on(put_byte(b',', here.room)?) })
    }

    /// Takes the room: what is left of it must be given back.
    #[inline]
    fn here(&mut self) -> Json<'o> {
        Json::on(std::mem::take(&mut self.room))
    }

    #[inline]
    fn close(self) -> Written<'o> {
        Ok(put_byte(self.close, self.room)?)
    }
}

impl<'o> SerializeStruct for Members<'o> {
    type Ok = &'o mut [u8];
    type Error = Failed;

    /// `name` is the program's: an identifier of Rust's, or what an attribute calls it instead. Inlined, it is a
    /// constant, and copied by an instruction or two instead of a call.
    #[inline(always)]
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Failed> {
        debug_assert!(is_plain(name.as_bytes()));
        let start = usize::from(!std::mem::take(&mut self.empty));
        let room = self.here().room;
        let key = piece::<NAME_ROOM>(room)?;
        let len = start + name.len() + 3;
        if len > NAME_ROOM {
            return Err(Failed::Unknown);
        }
        key[0] = b',';
        key[start] = b'"';
        key[start + 1..len - 2].copy_from_slice(name.as_bytes());
        key[len - 2..len].copy_from_slice(b"\":");
        self.room = value.serialize(Json::on(behind(room, len)?))?;
        Ok(())
    }

    #[inline]
    fn end(self) -> Written<'o> {
        self.close()
    }
}

impl<'o> SerializeMap for Members<'o> {
    type Ok = &'o mut [u8];
    type Error = Failed;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Failed> {
        self.room = put_byte(b':', key.serialize(self.next()?)?)?;
        Ok(())
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failed> {
        self.room = value.serialize(self.here())?;
        Ok(())
    }

    #[inline]
    fn end(self) -> Written<'o> {
        self.close()
    }
}

impl<'o> SerializeSeq for Members<'o> {
    type Ok = &'o mut [u8];
    type Error = Failed;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failed> {
        self.room = value.serialize(self.next()?)?;
        Ok(())
    }

    #[inline]
    fn end(self) -> Written<'o> {
        self.close()
    }
}

/// For the longest name of a field, and what is around it.
const NAME_ROOM: usize = 32;

fn write_text<'o>(text: &str, room: &'o mut [u8]) -> Written<'o> {
    let bytes = text.as_bytes();
    if is_plain_ascii(bytes) { write_plain(bytes, room) } else { write_odd(text, room) }
}

fn write_bytes<'o>(bytes: &[u8], room: &'o mut [u8]) -> Written<'o> {
    if is_plain_ascii(bytes) { write_plain(bytes, room) } else { write_odd(&wire_text(bytes), room) }
}

/// Nothing in it has to be escaped.
#[inline]
fn write_plain<'o>(bytes: &[u8], room: &'o mut [u8]) -> Written<'o> {
    Ok(put_byte(b'"', sheet::put(bytes, put_byte(b'"', room)?)?)?)
}

/// Text in which there is something beyond ASCII, or something to escape.
#[inline(never)]
fn write_odd<'o>(text: &str, room: &'o mut [u8]) -> Written<'o> {
    if is_plain(text.as_bytes()) {
        return write_plain(text.as_bytes(), room);
    }
    let mut escaped = Vec::with_capacity(text.len() + 16);
    write_escaped(text.as_bytes(), &mut escaped);
    write_plain(&escaped, room)
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
        write(value, 0, &mut out).unwrap();
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

    /// Longer than a sheet, by texts, by names, and with an end at every place around that of the sheet.
    #[test]
    fn long_values() {
        let long = json!({"a": "x".repeat(10_000), "b": ["\n".repeat(3_000), 1], "c": vec![12_345_678_901_u64; 900]});
        assert_eq!(written(&long), long.to_string());
        for len in SHEET_BYTES - 60..SHEET_BYTES + 10 {
            let value =
                json!({"a": "x".repeat(len), "b": [1, 12_345_678, u64::MAX, true, "", "ab"], "c": {}});
            assert_eq!(written(&value), value.to_string());
        }
    }

    /// Whatever a long text is made of, it is written once, and its room is not much larger than it.
    #[test]
    fn long_texts_find_the_room_they_need() {
        for unit in ["plain", "\"a\": 1,\n", "\u{1}\u{fffd}89", "é", "words \\ and others that are long\t\n"]
        {
            for count in [1, 100, 1_000, 40_000] {
                let text = unit.repeat(count);
                let (mut times, mut out) = (0, Vec::new());
                let more = room_for(&text);
                let done = on_sheet(&mut out, more, |room| {
                    times += 1;
                    Json::on(room).serialize_str(&text)
                });
                assert_eq!((done, times), (Ok(()), 1), "{count} times {unit:?}");
                assert!(more <= out.len() * 5 / 4, "{more} for {}: {count} times {unit:?}", out.len());
            }
        }
    }

    #[test]
    fn what_records_have_not_is_refused() {
        let mut out = b"before".to_vec();
        assert!(write(&("a", -1), 0, &mut out).is_err() && out == b"before");
        assert!(write(&1.5, 0, &mut Vec::new()).is_err());
        assert!(write(&[("a", -1)], 0, &mut Vec::new()).is_err());
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
            on_sheet(&mut out, 0, |room| Json::on(room).serialize_bytes(&bytes)).unwrap();
            prop_assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&wire_text(&bytes)).unwrap());
        }
    }
}
