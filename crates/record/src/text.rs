//! Bytes of the wire as text: for records so that they can be turned back, for terminals so that they do no harm.

use std::borrow::Cow;
use std::fmt::Write;
use std::net::IpAddr;

use serde::{Serialize, Serializer};

use crate::short::{ADDRESS_BYTES_MAX, Short};
use crate::{decimal, words};

/// Wire bytes as the text of a record: UTF-8 as it is; any other byte becomes U+FFFD (the replacement character) and
/// its two hexadecimal digits, and so do the three bytes of a U+FFFD that was really sent.
///
/// Reversible: whoever replaces each U+FFFD and the two digits behind it by that byte has the wire's bytes again.
pub fn wire_text(bytes: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() || !text.contains(char::REPLACEMENT_CHARACTER) => Cow::Borrowed(text),
        _ => Cow::Owned(escape(bytes)),
    }
}

/// Bytes that become their [`wire_text`] when they are written.
#[derive(Clone, Copy)]
pub(crate) struct Wire<'a>(pub(crate) &'a [u8]);

impl Serialize for Wire<'_> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&wire_text(self.0))
        } else {
            // Our own, which does the same.
            serializer.serialize_bytes(self.0)
        }
    }
}

/// The same of bytes that are not needed any more: text that needs no escapes is not copied.
pub(crate) fn wire_string(bytes: Vec<u8>) -> String {
    match String::from_utf8(bytes) {
        Ok(text) if text.is_ascii() || !text.contains(char::REPLACEMENT_CHARACTER) => text,
        Ok(text) => escape(text.as_bytes()),
        Err(error) => escape(error.as_bytes()),
    }
}

/// The wire's bytes of a text that [`wire_text`] made.
pub(crate) fn wire_bytes(text: &str) -> Vec<u8> {
    let mut parts = text.split(char::REPLACEMENT_CHARACTER);
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.extend(digits);
        bytes.extend_from_slice(part.get(2..).unwrap_or_default().as_bytes());
    }
    bytes
}

/// Text for a terminal: whatever could move the cursor, switch colours, or turn the direction of reading is shown as
/// `\x1b` or `\u{202e}`, and a byte that [`wire_text`] escaped as `\xff`.
pub fn printable(text: &str) -> Cow<'_, str> {
    if words::none(text.as_bytes(), |byte| !(b' '..=b'~').contains(&byte)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        match char {
            // Followed by the digits that `wire_text` put there.
            char::REPLACEMENT_CHARACTER => out.push_str("\\x"),
            '\0'..='\x1f' | '\x7f'..='\u{9f}' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\x{:02x}", u32::from(char));
            }
            char if is_invisible(char) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(char));
            }
            char => out.push(char),
        }
    }
    Cow::Owned(out)
}

/// Appends how many `unit` a `value` is, for people: with one decimal up to 9.9, since two digits tell more than
/// anybody wants to compare by eye, and with none above, nor where the unit is 1. Units are multiples of 20
/// otherwise.
pub fn write_rounded(value: u64, unit: u64, out: &mut String) {
    let has_decimal = unit > 1 && value.saturating_mul(100) < unit.saturating_mul(995);
    let step = if has_decimal { unit / 10 } else { unit };
    let (whole, rest) = (value / step, value % step);
    // Half-way it is as the nearest number with a binary point is rounded, and so it is where that has no room for
    // all digits.
    if rest * 2 == step || value >> 50 != 0 {
        let (decimals, value) = (usize::from(has_decimal), value as f64 / unit as f64);
        // Writing to a String cannot fail.
        let _ = write!(out, "{value:.decimals$}");
        return;
    }
    let rounded = whole + u64::from(rest * 2 > step);
    if has_decimal {
        decimal::write(rounded / 10, out);
        out.push('.');
        decimal::write(rounded % 10, out);
    } else {
        decimal::write(rounded, out);
    }
}

/// Appends an address.
pub fn write_address(address: IpAddr, out: &mut String) {
    let mut text = Short::<ADDRESS_BYTES_MAX>::new();
    text.address(address);
    out.push_str(text.as_str());
}

/// A count and its noun: `1 packet`, `2 packets`.
pub fn counted(count: u64, noun: &str) -> String {
    format!("{count} {}", plural(count, noun))
}

/// The noun that goes with a count, of those that have their plural by an s.
pub fn plural(count: u64, noun: &str) -> Cow<'_, str> {
    if count == 1 { noun.into() } else { format!("{noun}s").into() }
}

/// At most `room` columns of `text`, `tail` of them from its end; between them `…` stands for what was cut.
///
/// For terminals: give it text that is [`printable`].
pub fn shortened(text: &str, room: usize, tail: usize) -> Cow<'_, str> {
    if text.len() <= room || columns(text.chars()) <= room {
        return text.into();
    }
    let rest = room.saturating_sub(1);
    let tail = tail.min(rest);
    let after = |(at, char): (usize, char)| (at + char.len_utf8(), char);
    let head_end = fitting(text.char_indices().map(after), rest - tail).unwrap_or(0);
    let tail_start = fitting(text.char_indices().rev(), tail).unwrap_or(text.len());
    format!("{}…{}", &text[..head_end], &text[tail_start..]).into()
}

/// The text in pieces of at most `room` columns each, or of a character that is wider.
pub fn wrapped(text: &str, room: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let after = |(at, char): (usize, char)| (at + char.len_utf8(), char);
        let end = fitting(rest.char_indices().map(after), room).unwrap_or(first.len_utf8());
        let (piece, left) = rest.split_at(end);
        rest = left;
        Some(piece)
    })
}

/// Columns on a terminal. East Asian scripts and pictures take two; what lies between them, but for punctuation and
/// blocks, is taken for wide, too, and makes a line shorter than it could be.
pub fn columns(chars: impl IntoIterator<Item = char>) -> usize {
    let wide = |char: &char| *char >= '\u{1100}' && !('\u{2010}'..='\u{25a1}').contains(char);
    chars.into_iter().map(|char| if wide(&char) { 2 } else { 1 }).sum()
}

/// The position of the last character that still fits into `room` columns.
fn fitting(chars: impl Iterator<Item = (usize, char)>, room: usize) -> Option<usize> {
    let mut used = 0;
    let fit = chars.take_while(|(_, char)| {
        used += columns([*char]);
        used <= room
    });
    fit.last().map(|(at, _)| at)
}

fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        let mut parts = chunk.valid().split(char::REPLACEMENT_CHARACTER);
        out.push_str(parts.next().unwrap_or_default());
        for part in parts {
            push_bytes(&mut out, "\u{fffd}".as_bytes());
            out.push_str(part);
        }
        push_bytes(&mut out, chunk.invalid());
    }
    out
}

fn push_bytes(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(out, "{}{byte:02X}", char::REPLACEMENT_CHARACTER);
    }
}

/// Separators, marks and overrides of direction, joiners: they change how what is around them is shown.
fn is_invisible(char: char) -> bool {
    matches!(char,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_too_long_is_cut_in_the_middle() {
        assert_eq!(shortened("shop.example/a/long/path.js", 15, 4), "shop.examp…h.js");
        assert_eq!(shortened("日本語日本語", 9, 2), "日本語…語");
        assert_eq!(wrapped("abcdefg", 3).collect::<Vec<_>>(), ["abc", "def", "g"]);
        assert_eq!(wrapped("日本a語", 3).collect::<Vec<_>>(), ["日", "本a", "語"]);
        assert_eq!(wrapped("日本", 1).collect::<Vec<_>>(), ["日", "本"]);
        assert_eq!(wrapped("", 3).count(), 0);
        assert_eq!(shortened("short", 5, 1), "short");
        assert_eq!(shortened("▁█▁ short", 9, 1), "▁█▁ short");
    }

    #[test]
    fn odd_bytes_are_escaped() {
        assert_eq!(wire_text(b"caf\xe9 41"), "caf\u{fffd}E9 41");
        assert_eq!(wire_text("café".as_bytes()), "café");
        assert_eq!(wire_text("\u{fffd}E9".as_bytes()), "\u{fffd}EF\u{fffd}BF\u{fffd}BDE9");
        assert!(matches!(wire_text("plain ünd gut".as_bytes()), Cow::Borrowed(_)));
    }

    #[test]
    fn terminals_see_no_control() {
        assert_eq!(printable("\x1b[31mred\x07\u{9b}2J"), "\\x1b[31mred\\x07\\x9b2J");
        assert_eq!(printable("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(printable(&wire_text(b"\xff\xfe")), "\\xFF\\xFE");
        assert_eq!(printable("/zażółć/日本"), "/zażółć/日本");
    }

    proptest! {
        #[test]
        fn escapes_are_reversible(bytes in proptest::collection::vec(
            prop_oneof![any::<u8>(), Just(0xef), Just(0xbf), Just(0xbd), Just(b'E')], 0..40)) {
            prop_assert_eq!(wire_string(bytes.clone()), wire_text(&bytes));
            prop_assert_eq!(wire_bytes(&wire_text(&bytes)), bytes);
        }

        #[test]
        fn printable_is_printable(text: String) {
            let shown = printable(&text);
            let is_harmless = !shown.chars().any(|c| c.is_control() || c == '\u{202e}');
            prop_assert!(is_harmless);
        }
    }
}
