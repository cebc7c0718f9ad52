//! Refusals of the parser: what was expected, and what the writer may have meant.

use crate::error::{Error, ErrorKind};
use crate::lex::{Bad, Kind, Place, Token};
use crate::syntax::Identifier;
use crate::words::Family;

/// The token at `at` cannot stand there.
pub(crate) fn unexpected(text: &str, tokens: &[Token], at: usize, wanted: &str) -> Error {
    let Some(token) = tokens.get(at) else {
        return Error::new(ErrorKind::Syntax, format!("expected {wanted}"), 0..0);
    };
    let message = match token.kind {
        Kind::End => format!("expected {wanted}, found the end of the expression"),
        Kind::Bad(Bad::Overflow) => format!("the number {} is above 4294967295", token.place.of(text)),
        Kind::Bad(Bad::Octal) => format!("{} is no number: a leading 0 makes it octal", token.place.of(text)),
        Kind::Bad(Bad::Ip6) => format!("{} is no IPv6 address", token.place.of(text)),
        Kind::Bad(Bad::Mac) => format!("{} is no Ethernet address", token.place.of(text)),
        _ => format!("expected {wanted}, found `{}`", token.place.of(text)),
    };
    Error::new(ErrorKind::Syntax, message, token.place.span())
}

/// An identifier without qualifiers, where none can be taken over.
pub(crate) fn unqualified(text: &str, identifier: Identifier) -> Error {
    let word = identifier.place.of(text);
    Error::new(ErrorKind::Syntax, format!("`{word}` needs a qualifier"), identifier.place.span())
        .with_help(format!("write what it is: `host {word}`, `net {word}`, `port {word}`"))
}

/// The refusal of a keyword that is about frames of another kind.
pub(crate) fn foreign(family: Family, place: Place) -> Error {
    let family = match family {
        Family::Wlan => "802.11 frames with their radio headers",
        Family::Atm => "ATM",
        Family::Mtp => "SS7 (MTP2 and MTP3)",
        Family::Pf => "the log of OpenBSD's packet filter",
    };
    Error::new(
        ErrorKind::Meaning,
        format!("this word is about {family}, a link type that filters are not made for"),
        place.span(),
    )
}
