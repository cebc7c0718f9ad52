//! From text to tokens.
//!
//! ```text
//!   tcp[tcpflags] & tcp-syn != 0      tcp  [  13  ]  &  2  !=  0
//!   └┬┘└───┬────┘                     each with its bytes in the text
//!    protocol  named number
//! ```
//!
//! The rules are libpcap's, down to their corners, because they decide what an expression means: the *longest* token
//! wins (`tcp-1` is a name and not a subtraction, `1-2` is a range and `fe80::1` not a slice), and among equally long
//! ones the order keyword, sign, MAC address, number, IPv4, IPv6, named number, name. Which keyword a word is says
//! [`words`](crate::words).
//!
//! Nothing fails here: what is no token becomes [`Kind::Bad`] and is refused when the parser comes to it, so that an
//! earlier mistake is reported first.

use std::net::Ipv6Addr;

use crate::words::{self, Word};

/// A piece of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub place: Place,
}

/// Bytes of the text; both ends are on character boundaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The first byte.
    pub start: u32,
    /// Behind the last.
    pub end: u32,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A keyword.
    Word(Word),
    /// A sign of arithmetic, comparison or grouping.
    Sign(Sign),
    /// A number, written out or by name (`tcp-syn`).
    Number(u32),
    /// Two to four numbers with dots between: an IPv4 address or the beginning of one. Not checked yet.
    Dotted,
    /// An IPv6 address.
    Ip6(Ipv6Addr),
    /// An Ethernet address, in any of its five forms.
    Mac([u8; 6]),
    /// An ARCnet address, `$1f`.
    Arcnet,
    /// A name; `escaped` if a backslash in front says that it is no keyword. The backslash is part of the place.
    Name {
        /// Whether there is a backslash.
        escaped: bool,
    },
    /// Nothing that the language has.
    Bad(Bad),
    /// Behind the last token; its place is empty.
    End,
}

/// Signs. `not`, `and` and `or` are here as well: the language does not tell them from `!`, `&&` and `||`.
#[allow(missing_docs, reason = "each is its sign")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    AndAlso,
    OrElse,
    Not,
    Open,
    Close,
    OpenBracket,
    CloseBracket,
    Colon,
    Plus,
    Minus,
    Star,
    Slash,
    Percent,
    Ampersand,
    Bar,
    Caret,
    ShiftLeft,
    ShiftRight,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

/// Why a token is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// A character that means nothing.
    Character,
    /// A number above 2^32 - 1.
    Overflow,
    /// `08`: a leading 0 makes a number octal.
    Octal,
    /// Looks like an IPv6 address, yet is none.
    Ip6,
    /// Looks like an Ethernet address, yet is none.
    Mac,
}

impl Place {
    /// From the beginning of one to the end of another.
    pub fn to(self, last: Self) -> Self {
        Self { start: self.start, end: last.end }
    }

    /// As the rest of the crate has it.
    pub fn span(self) -> crate::error::Span {
        self.start as usize..self.end as usize
    }

    /// The bytes at this place.
    pub fn of(self, text: &str) -> &str {
        text.get(self.span()).unwrap_or_default()
    }
}

/// All tokens of a text; the last one is [`Kind::End`]. The text is shorter than 4 GiB, which the parser has checked.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(text.len() / 4 + 2);
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&first) = bytes.get(at) {
        if matches!(first, b' ' | b'\r' | b'\n' | b'\t') {
            at += 1;
            continue;
        }
        let (mut length, kind) = longest(&text[at..]);
        // Any byte may be a bad one, also in the middle of what is a character to us.
        while !text.is_char_boundary(at + length) {
            length += 1;
        }
        tokens.push(Token { kind, place: place(at, at + length) });
        at += length;
    }
    tokens.push(Token { kind: Kind::End, place: place(at, at) });
    tokens
}

fn place(start: usize, end: usize) -> Place {
    Place { start: u32::try_from(start).unwrap_or(u32::MAX), end: u32::try_from(end).unwrap_or(u32::MAX) }
}

/// The longest token at the beginning of a text that is not empty; its length is at least 1.
fn longest(text: &str) -> (usize, Kind) {
    let bytes = text.as_bytes();
    if let Some(found) = sign(bytes) {
        return found;
    }
    match bytes[0] {
        b'$' => match hex_run(&bytes[1..], 2) {
            0 => (1, Kind::Bad(Bad::Character)),
            digits => (1 + digits, Kind::Arcnet),
        },
        b'\\' => match bytes[1..]
            .iter()
            .position(|byte| matches!(byte, b' ' | b'!' | b'(' | b')' | b'\n' | b'\t'))
            .unwrap_or(bytes.len() - 1)
        {
            0 => (1, Kind::Bad(Bad::Character)),
            length => (1 + length, Kind::Name { escaped: true }),
        },
        b':' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => word(text),
        _ => (1, Kind::Bad(Bad::Character)),
    }
}

/// Signs; a colon only where no IPv6 address begins.
fn sign(bytes: &[u8]) -> Option<(usize, Kind)> {
    let next = bytes.get(1).copied();
    let (length, sign) = match (bytes[0], next) {
        (b'&', Some(b'&')) => (2, Sign::AndAlso),
        (b'|', Some(b'|')) => (2, Sign::OrElse),
        (b'>', Some(b'=')) => (2, Sign::GreaterOrEqual),
        (b'<', Some(b'=')) => (2, Sign::LessOrEqual),
        (b'!', Some(b'=')) => (2, Sign::NotEqual),
        (b'=', Some(b'=')) => (2, Sign::Equal),
        (b'<', Some(b'<')) => (2, Sign::ShiftLeft),
        (b'>', Some(b'>')) => (2, Sign::ShiftRight),
        (b'&', _) => (1, Sign::Ampersand),
        (b'|', _) => (1, Sign::Bar),
        (b'>', _) => (1, Sign::Greater),
        (b'<', _) => (1, Sign::Less),
        (b'!', _) => (1, Sign::Not),
        (b'=', _) => (1, Sign::Equal),
        (b'+', _) => (1, Sign::Plus),
        (b'-', _) => (1, Sign::Minus),
        (b'*', _) => (1, Sign::Star),
        (b'/', _) => (1, Sign::Slash),
        (b'%', _) => (1, Sign::Percent),
        (b'^', _) => (1, Sign::Caret),
        (b'[', _) => (1, Sign::OpenBracket),
        (b']', _) => (1, Sign::CloseBracket),
        (b'(', _) => (1, Sign::Open),
        (b')', _) => (1, Sign::Close),
        (b':', next) if next != Some(b':') => (1, Sign::Colon),
        _ => return None,
    };
    Some((length, Kind::Sign(sign)))
}

/// Numbers, addresses, keywords and names: whatever of them is longest, the earlier of equals.
fn word(text: &str) -> (usize, Kind) {
    let bytes = text.as_bytes();
    let name = name(bytes);
    // Most words are plain keywords or names: letters that are no hexadecimal digits begin neither number nor address.
    if name > 0 && !bytes[0].is_ascii_hexdigit() {
        return (name, named(&text[..name]));
    }
    let ip6 = ip6(bytes);
    let candidates = [
        (mac(bytes), Form::Mac),
        (number(bytes), Form::Number),
        (dotted(bytes), Form::Dotted),
        (ip6, Form::Ip6),
        (colons(bytes), Form::BadMac),
        (name, Form::Name),
    ];
    let mut best = (0, Form::Name);
    for candidate in candidates {
        if candidate.0 > best.0 {
            best = candidate;
        }
    }
    let (length, form) = best;
    let token = &text[..length];
    let kind = match form {
        Form::Mac => Kind::Mac(mac_bytes(token.as_bytes())),
        Form::Number => value(token).map_or_else(Kind::Bad, Kind::Number),
        Form::Dotted => Kind::Dotted,
        Form::Ip6 => token.parse().map_or(Kind::Bad(Bad::Ip6), Kind::Ip6),
        Form::BadMac => Kind::Bad(Bad::Mac),
        // `:` alone is a sign and `::` an address, so that a name is left, of one character at least.
        Form::Name => named(token),
    };
    (length.max(1), kind)
}

/// What [`word`] may have found.
#[derive(Clone, Copy)]
enum Form {
    Mac,
    Number,
    Dotted,
    Ip6,
    BadMac,
    Name,
}

/// A keyword, a named number, or a name.
fn named(token: &str) -> Kind {
    words::lookup(token).unwrap_or(Kind::Name { escaped: false })
}

/// Letters, digits, dots, dashes and underscores, beginning with a letter or digit and ending with one or a dot.
fn name(bytes: &[u8]) -> usize {
    if !bytes[0].is_ascii_alphanumeric() {
        return 0;
    }
    let run = bytes
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        .count();
    let tail = bytes[..run].iter().rev().take_while(|byte| matches!(byte, b'-' | b'_')).count();
    run - tail
}

/// Decimal digits, or `0x` and hexadecimal ones.
fn number(bytes: &[u8]) -> usize {
    if bytes.len() > 2 && bytes[0] == b'0' && matches!(bytes[1], b'x' | b'X') {
        let digits = hex_run(&bytes[2..], usize::MAX);
        if digits > 0 {
            return 2 + digits;
        }
    }
    bytes.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Two to four numbers with dots between, as many as there are.
fn dotted(bytes: &[u8]) -> usize {
    dotted_parts(bytes, 4).0
}

/// The length of up to `most` numbers with dots between, and how many they are; nothing if fewer than two.
fn dotted_parts(bytes: &[u8], most: usize) -> (usize, usize) {
    let mut length = number(bytes);
    let mut parts = usize::from(length > 0);
    while (1..most).contains(&parts) && bytes.get(length) == Some(&b'.') {
        match number(&bytes[length + 1..]) {
            0 => break,
            digits => length += 1 + digits,
        }
        parts += 1;
    }
    if parts < 2 { (0, 0) } else { (length, parts) }
}

/// How many of the first bytes are hexadecimal digits, `most` at most.
fn hex_run(bytes: &[u8], most: usize) -> usize {
    bytes.iter().take(most).take_while(|byte| byte.is_ascii_hexdigit()).count()
}

/// The five forms of an Ethernet address: six bytes with colons, dashes or dots between, three pairs with dots,
/// twelve digits.
fn mac(bytes: &[u8]) -> usize {
    let six = |separator| groups(bytes, 6, separator, 1, 2);
    six(b':')
        .max(six(b'-'))
        .max(six(b'.'))
        .max(groups(bytes, 3, b'.', 4, 4))
        .max(if hex_run(bytes, 12) == 12 { 12 } else { 0 })
}

/// The length of `count` groups of hexadecimal digits with a separator between, or 0.
fn groups(bytes: &[u8], count: usize, separator: u8, least: usize, most: usize) -> usize {
    let mut at = 0;
    for group in 0..count {
        if group > 0 {
            if bytes.get(at) != Some(&separator) {
                return 0;
            }
            at += 1;
        }
        let digits = hex_run(&bytes[at..], most);
        if digits < least {
            return 0;
        }
        at += digits;
    }
    at
}

/// The bytes of an Ethernet address that [`mac`] has found: pairs of digits, single ones before a separator.
fn mac_bytes(token: &[u8]) -> [u8; 6] {
    let digit = |byte: u8| (byte as char).to_digit(16).map_or(0, |value| value as u8);
    let mut address = [0; 6];
    let mut rest = token;
    for byte in &mut address {
        if let [b':' | b'-' | b'.', tail @ ..] = rest {
            rest = tail;
        }
        (*byte, rest) = match rest {
            [high, low, tail @ ..] if low.is_ascii_hexdigit() => (digit(*high) << 4 | digit(*low), tail),
            [low, tail @ ..] => (digit(*low), tail),
            [] => (0, rest),
        };
    }
    address
}

/// Two or more groups of one or two hexadecimal digits, each with colons behind it: an Ethernet address that lacks
/// its end.
fn colons(bytes: &[u8]) -> usize {
    let mut at = 0;
    let mut groups = 0;
    let mut complete = 0;
    loop {
        let digits = hex_run(&bytes[at..], 2);
        if digits == 0 {
            return complete;
        }
        let run = bytes[at + digits..].iter().take_while(|&&byte| byte == b':').count();
        if run == 0 {
            return complete;
        }
        at += digits + run;
        groups += 1;
        if groups >= 2 {
            complete = at;
        }
    }
}

/// Up to eight groups of one to four hexadecimal digits with colons between, `::` once for those left out, the last
/// two perhaps as IPv4.
fn ip6(bytes: &[u8]) -> usize {
    let mut at = 0;
    let mut groups = 0;
    let mut elided = false;
    let mut complete = 0;
    if bytes.starts_with(b"::") {
        (at, elided, complete) = (2, true, 2);
    }
    loop {
        if if elided { groups <= 5 } else { groups == 6 } {
            let (length, parts) = dotted_parts(&bytes[at..], 4);
            if parts == 4 {
                return at + length;
            }
        }
        let digits = hex_run(&bytes[at..], 4);
        if digits == 0 || groups == if elided { 7 } else { 8 } {
            return complete;
        }
        at += digits;
        groups += 1;
        if elided || groups == 8 {
            complete = at;
        }
        if bytes[at..].starts_with(b"::") && !elided && groups <= 7 {
            at += 2;
            (elided, complete) = (true, at);
        } else if bytes.get(at) == Some(&b':') {
            at += 1;
        } else {
            return complete;
        }
    }
}

/// The value of a number: decimal, octal behind a leading 0, hexadecimal behind `0x`.
fn value(token: &str) -> Result<u32, Bad> {
    let (digits, radix) = match token.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&token[2..], 16),
        [b'0', _, ..] => (&token[1..], 8),
        _ => (token, 10),
    };
    let mut number = 0_u32;
    for digit in digits.chars() {
        let digit = digit.to_digit(radix).ok_or(Bad::Octal)?;
        number =
            number.checked_mul(radix).and_then(|number| number.checked_add(digit)).ok_or(Bad::Overflow)?;
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = tokens(text).iter().map(|token| token.kind).collect();
        assert_eq!(kinds.pop(), Some(Kind::End));
        kinds
    }

    fn pieces(text: &str) -> Vec<&str> {
        tokens(text).iter().map(|token| token.place.of(text)).filter(|piece| !piece.is_empty()).collect()
    }

    const NAME: Kind = Kind::Name { escaped: false };

    #[test]
    fn the_longest_token_wins() {
        assert_eq!(
            pieces("tcp-1 tcp[13]-1 1-2 es-is a- _"),
            ["tcp-1", "tcp", "[", "13", "]", "-", "1", "1-2", "es-is", "a", "-", "_"]
        );
        assert_eq!(
            pieces("ether[0:2] fe80::1 ::1/128 a::"),
            ["ether", "[", "0", ":", "2", "]", "fe80::1", "::1", "/", "128", "a::"]
        );
        assert_eq!(
            pieces("1.2.3.4 1.2.3.4.5 1.2.3.4.5.6 1.2.3."),
            ["1.2.3.4", "1.2.3.4.5", "1.2.3.4.5.6", "1.2.3."]
        );
        assert_eq!(
            kinds("1.2.3.4 1.2.3.4.5 1.2.3.4.5.6 1.2.3."),
            [Kind::Dotted, NAME, Kind::Mac([1, 2, 3, 4, 5, 6]), NAME]
        );
        assert_eq!(pieces("a&&b||!c<=d<<e"), ["a", "&&", "b", "||", "!", "c", "<=", "d", "<<", "e"]);
    }

    #[test]
    fn numbers_are_decimal_octal_or_hexadecimal_and_have_32_bits() {
        assert_eq!(
            kinds("4294967295 0037777777777 0xffffffff 0X1f 0"),
            [
                Kind::Number(u32::MAX),
                Kind::Number(u32::MAX),
                Kind::Number(u32::MAX),
                Kind::Number(31),
                Kind::Number(0)
            ]
        );
        assert_eq!(kinds("4294967296 0040000000000 0x100000000"), [Kind::Bad(Bad::Overflow); 3]);
        assert_eq!(kinds("08 0x 0xg"), [Kind::Bad(Bad::Octal), NAME, NAME]);
    }

    #[test]
    fn ethernet_addresses_have_five_forms() {
        let mac = Kind::Mac([0, 0x0c, 0x29, 0xaa, 0xbb, 0xcc]);
        assert_eq!(
            kinds("00:0c:29:aa:bb:cc 0-c-29-aa-bb-cc 00.c.29.aa.bb.cc 000c.29aa.bbcc 000c29aabbcc"),
            [mac; 5]
        );
        assert_eq!(kinds("00:0c:29:aa:bb: 1:2::")[0], Kind::Bad(Bad::Mac));
        assert_eq!(kinds("000c29aabbcc0"), [NAME]);
    }

    #[test]
    fn ip6_addresses_are_what_the_library_reads() {
        for good in [
            "::",
            "::1",
            "1::",
            "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7::",
            "::2:3:4:5:6:7:8",
            "::ffff:10.0.0.1",
            "1:2:3:4:5:6:1.2.3.4",
        ] {
            assert_eq!(kinds(good), [Kind::Ip6(good.parse().unwrap())], "{good}");
        }
        assert_eq!(kinds("::256.1.1.1"), [Kind::Bad(Bad::Ip6)]);
    }

    #[test]
    fn every_byte_lies_in_a_token_or_between_two() {
        proptest::proptest!(|(text in "[ -~\\t\u{e9}\u{4e2d}]{0,60}")| {
            let mut end = 0;
            for token in tokens(&text) {
                let span = token.place.span();
                proptest::prop_assert!(span.start >= end && text.is_char_boundary(span.start) && text.is_char_boundary(span.end));
                proptest::prop_assert!(text[end..span.start].bytes().all(|byte| byte.is_ascii_whitespace()));
                proptest::prop_assert!(!span.is_empty() || token.kind == Kind::End);
                end = span.end;
            }
            proptest::prop_assert!(text[end..].bytes().all(|byte| byte.is_ascii_whitespace()));
        });
    }
}
