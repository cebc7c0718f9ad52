//! Refusals of the parser: what was expected, and what the writer may have meant.
//!
//! Advice is given where a usual slip shows: letters swapped (`prot 80`), words of other tools (`dport 80`), signs of
//! other languages (`tcp & port 80`, `port 80,443`), a qualifier left out (`tcp 80`, `10.0.0.1`). It is always an
//! expression that could stand there.

use crate::error::{Error, ErrorKind, quoted};
use crate::lex::{Bad, Kind, Place, Sign, Token};
use crate::names;
use crate::syntax::{Identifier, IdentifierKind};
use crate::tree::Protocol;
use crate::words::{self, Family, Word};

/// What the parser could have gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A primitive.
    Term,
    /// What qualifiers are followed by.
    Identifier,
    /// A number, `len` or bytes.
    Arithmetic,
    /// `and`, `or` or the end.
    Join,
    /// `and`, `or` or the parenthesis that closes the one at this place.
    JoinOrClose(Place),
    /// A sign of comparison.
    Comparison,
    /// In other words.
    Other(&'static str),
}

impl Wanted {
    fn words(self) -> &'static str {
        match self {
            Self::Term => "a primitive such as `port 80`",
            Self::Identifier => "an address, number or name",
            Self::Arithmetic => "a number, `len` or bytes such as `ip[0]`",
            Self::Join => "`and`, `or` or the end",
            Self::JoinOrClose(_) => "`and`, `or` or `)`",
            Self::Comparison => "a comparison such as `!= 0`",
            Self::Other(words) => words,
        }
    }
}

/// The token at `at` cannot stand there.
pub(crate) fn unexpected(text: &str, tokens: &[Token], at: usize, wanted: Wanted) -> Error {
    let Some(&token) = tokens.get(at) else {
        return Error::new(ErrorKind::Syntax, "the expression ends too early", 0..0);
    };
    let before = at.checked_sub(1).and_then(|before| tokens.get(before)).copied();
    let rest = tokens.get(at + 1..).unwrap_or_default();
    let word = token.place.of(text);
    let shown = quoted(word);
    if let (Wanted::JoinOrClose(open), Kind::End) = (wanted, token.kind) {
        return syntax("this parenthesis is not closed", open);
    }
    match token.kind {
        Kind::Bad(bad) => return bad_token(bad, word, &shown, token.place),
        Kind::Sign(Sign::Close) if wanted == Wanted::Join => {
            return syntax("this parenthesis closes nothing", token.place);
        }
        Kind::Word(Word::Foreign(family))
            if matches!(wanted, Wanted::Term | Wanted::Join | Wanted::JoinOrClose(_)) =>
        {
            return foreign(family, word, token.place);
        }
        _ => {}
    }
    // Behind a name that was taken for an identifier the name itself may be the slip: `port 53 and prot 80`.
    if let (Wanted::Join | Wanted::JoinOrClose(_), Some(slip)) = (wanted, before)
        && slip.kind == (Kind::Name { escaped: false })
        && !at
            .checked_sub(2)
            .and_then(|at| tokens.get(at))
            .is_some_and(|token| matches!(token.kind, Kind::Word(_)))
        && let Some(help) = word_meant(slip.place.of(text), Some(token), text, true)
    {
        return syntax(format!("`{}` is no word of the language", quoted(slip.place.of(text))), slip.place)
            .with_help(help);
    }
    let found = if token.kind == Kind::End {
        "the expression ends".to_owned()
    } else {
        format!("there is `{shown}`")
    };
    let error = syntax(format!("expected {}, but {found} here", wanted.words()), token.place);
    match help(text, before, token, rest, wanted) {
        Some(help) => error.with_help(help),
        None => error,
    }
}

fn bad_token(bad: Bad, word: &str, shown: &str, place: Place) -> Error {
    match bad {
        Bad::Overflow => syntax(format!("the number {shown} is too large"), place)
            .with_help("numbers have 32 bits: 4294967295 at most"),
        Bad::Octal => syntax(format!("{shown} is no number: one that begins with 0 is octal"), place)
            .with_help(format!("write {} if it is decimal", quoted(word.trim_start_matches('0')))),
        Bad::Ip6 => syntax(format!("{shown} is no IPv6 address"), place),
        Bad::Mac => syntax(format!("{shown} is no Ethernet address"), place)
            .with_help("those have six bytes: `00:00:5e:00:53:01`"),
        Bad::Character => {
            let error = match word {
                "'" | "\"" | "`" => syntax("a quotation mark means nothing here", place),
                _ => syntax(format!("`{shown}` means nothing here"), place),
            };
            match word {
                "," => error.with_help("join with `or`: `port 80 or 443`"),
                "'" | "\"" | "`" => {
                    error.with_help("quotes are for the shell and around the whole expression")
                }
                "{" | "}" => error.with_help("group with parentheses"),
                ";" => error.with_help("join with `and` or `or`"),
                "~" => error.with_help("there is no such operator; `^ 0xff` turns the bits of a byte round"),
                "\\" => error.with_help("a backslash stands right in front of a name: `\\tcp`"),
                "$" => error.with_help("variables of the shell are not replaced between single quotes"),
                _ => error,
            }
        }
    }
}

/// What may have been meant by an unexpected token.
fn help(text: &str, before: Option<Token>, token: Token, rest: &[Token], wanted: Wanted) -> Option<String> {
    let after = rest.first().copied();
    let word = quoted(token.place.of(text));
    let previous = before.map(|before| (before.kind, quoted(before.place.of(text))));
    match (wanted, token.kind) {
        (Wanted::Term, Kind::Name { escaped: false }) => {
            word_meant(token.place.of(text), after, text, true).or_else(|| bare_name(&word))
        }
        (Wanted::Term, Kind::Dotted | Kind::Ip6(_)) => Some(match rest {
            [Token { kind: Kind::Sign(Sign::Slash), .. }, Token { kind: Kind::Number(_), place }, ..] => {
                format!("write `net {word}/{}`", quoted(place.of(text)))
            }
            _ => format!("write `host {word}`"),
        }),
        (Wanted::Term, Kind::Mac(_)) => Some(format!("write `ether host {word}`")),
        (Wanted::Term, Kind::Sign(sign)) => sign_for_term(previous, sign, &word),
        (Wanted::Identifier, Kind::Word(_) | Kind::Number(_)) => {
            Some(keyword_for_identifier(previous, &word))
        }
        (Wanted::Identifier, Kind::Sign(Sign::OpenBracket))
            if matches!(after, Some(Token { kind: Kind::Ip6(_), .. })) =>
        {
            Some("an IPv6 address has no brackets here: `host ::1`".to_owned())
        }
        (Wanted::Arithmetic, Kind::Dotted | Kind::Ip6(_)) => Some(format!(
            "bytes are compared with numbers; addresses with `src host {word}` and `dst host {word}`"
        )),
        (Wanted::Identifier, Kind::Sign(Sign::Equal)) => {
            previous.map(|(_, previous)| format!("no sign stands behind `{previous}`: `{previous} 80`"))
        }
        (Wanted::Arithmetic, Kind::Name { escaped: false }) => {
            word_meant(token.place.of(text), after, text, false)
        }
        (Wanted::Arithmetic, Kind::Sign(Sign::Greater))
            if matches!(previous, Some((Kind::Sign(Sign::Less), _))) =>
        {
            Some("unequal is `!=`".to_owned())
        }
        (Wanted::Arithmetic, Kind::Sign(Sign::Greater | Sign::Less))
            if matches!(previous, Some((Kind::Sign(Sign::Equal), _))) =>
        {
            Some("comparisons are `=` `!=` `<` `<=` `>` `>=`".to_owned())
        }
        (Wanted::Arithmetic, Kind::Sign(Sign::Equal)) => {
            Some("comparisons are `=` `!=` `<` `<=` `>` `>=`".to_owned())
        }
        (Wanted::Arithmetic, Kind::Sign(Sign::CloseBracket)) => {
            Some("in the brackets is the offset of the first byte: `tcp[13]`, `ip[2:2]`".to_owned())
        }
        (Wanted::Comparison, _) => previous.map(|(kind, previous)| match kind {
            Kind::Number(_) if previous.starts_with("tcp-") => {
                format!("a flag is tested with `tcp[tcpflags] & {previous} != 0`")
            }
            Kind::Number(_) if token.kind == Kind::End => {
                format!("a number alone tests nothing; a port is `port {previous}`")
            }
            Kind::Word(Word::Length) => "as in `len > 1000`".to_owned(),
            _ => "a value alone tests nothing; that it is not zero is `!= 0`".to_owned(),
        }),
        (Wanted::Join | Wanted::JoinOrClose(_), kind) => behind(previous, kind, &word, text, token),
        _ => None,
    }
}

/// A sign where a primitive should be.
fn sign_for_term(previous: Option<(Kind, String)>, sign: Sign, word: &str) -> Option<String> {
    match (sign, previous) {
        (Sign::Ampersand, Some((Kind::Sign(Sign::AndAlso | Sign::Ampersand), _))) => {
            Some("write `and`".to_owned())
        }
        (Sign::AndAlso | Sign::OrElse, None) => Some(format!("`{word}` stands between two primitives")),
        (Sign::AndAlso | Sign::OrElse, Some((Kind::Sign(Sign::AndAlso | Sign::OrElse), other))) => {
            Some(format!("one of `{other}` and `{word}` is too much"))
        }
        (Sign::Close, Some((Kind::Sign(Sign::Open), _))) => {
            Some("there is nothing between the parentheses".to_owned())
        }
        _ => None,
    }
}

/// A keyword where a name or a number of the user's should be.
fn keyword_for_identifier(previous: Option<(Kind, String)>, word: &str) -> String {
    match previous {
        Some((Kind::Word(Word::Proto | Word::Protochain), _)) if !names::is_usual_protocol(word) => {
            format!("`{word}` is a keyword and stands alone; a protocol in numbers is `proto 47`")
        }
        Some((Kind::Word(Word::Proto | Word::Protochain), _)) => {
            format!("`{word}` is a keyword; the protocol's name is `\\{word}`, and mostly `{word}` alone will do")
        }
        Some((Kind::Sign(_), _)) => {
            "in a parenthesis that begins with an identifier, or stands behind qualifiers, there are identifiers only"
                .to_owned()
        }
        _ => format!("`{word}` is a keyword; a name that is spelt alike is `\\{word}`"),
    }
}

/// A word that is near none of the language's, where a primitive should be.
fn bare_name(word: &str) -> Option<String> {
    if let Some((left, right)) = word.split_once('-')
        && (left == "len" || left.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return Some(format!("a minus between values has blanks around it: `{left} - {right}`"));
    }
    word.starts_with(|first: char| first.is_ascii_alphabetic())
        .then(|| format!("a host of that name is `host {word}`"))
}

/// Behind a complete primitive.
fn behind(
    previous: Option<(Kind, String)>,
    kind: Kind,
    word: &str,
    text: &str,
    token: Token,
) -> Option<String> {
    match (previous, kind) {
        (_, Kind::Sign(Sign::Ampersand)) => {
            Some("`&` is for bits; primitives are joined with `and` or `&&`".to_owned())
        }
        (_, Kind::Sign(Sign::Bar)) => {
            Some("`|` is for bits; primitives are joined with `or` or `||`".to_owned())
        }
        (Some((Kind::Word(Word::Protocol(_)), protocol)), kind) if relation_or_arithmetic(kind) => {
            Some(format!("bytes of the packet are compared as in `{protocol}[0] {word} 1`"))
        }
        (Some((Kind::Number(_), number)), Kind::Sign(Sign::Slash)) => {
            Some(format!("a network is written out in front of a prefix: `net {number}.0.0.0/8`"))
        }
        (Some((Kind::Number(_), first)), Kind::Sign(Sign::Minus | Sign::Colon)) => {
            Some(format!("several ports are written without spaces: `portrange {first}-65535`"))
        }
        (Some((Kind::Word(Word::Protocol(protocol)), name)), Kind::Number(_)) if transport(protocol) => {
            Some(format!("write `{name} port {word}`"))
        }
        (Some((Kind::Word(Word::Protocol(_)), name)), Kind::Number(_)) => {
            Some(format!("write `{name} proto {word}`"))
        }
        (Some((Kind::Word(Word::Protocol(Protocol::Link)), name)), Kind::Mac(_)) => {
            Some(format!("write `{name} host {word}`"))
        }
        (Some((Kind::Word(Word::Protocol(_)), name)), Kind::Dotted | Kind::Ip6(_)) => {
            Some(match name.as_str() {
                "ip" | "ip6" | "arp" | "rarp" | "decnet" => format!("write `{name} host {word}`"),
                _ => format!("write `{name} and host {word}`"),
            })
        }
        (previous, Kind::Name { escaped: false }) => word_meant(token.place.of(text), None, text, true)
            .or_else(|| match previous {
                Some((Kind::Word(Word::Protocol(protocol)), name)) if transport(protocol) => {
                    Some(format!("write `{name} port {word}`"))
                }
                _ => Some("join with `and` or `or`".to_owned()),
            }),
        (_, Kind::Sign(Sign::Not | Sign::Open)) => Some("join with `and` or `or`".to_owned()),
        (_, Kind::End | Kind::Sign(_) | Kind::Bad(_)) => None,
        (
            _,
            Kind::Word(_)
            | Kind::Number(_)
            | Kind::Dotted
            | Kind::Ip6(_)
            | Kind::Mac(_)
            | Kind::Name { .. }
            | Kind::Arcnet,
        ) => Some("join with `and` or `or`".to_owned()),
    }
}

fn transport(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Tcp | Protocol::Udp | Protocol::Sctp)
}

fn relation_or_arithmetic(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Sign(
            Sign::Equal
                | Sign::NotEqual
                | Sign::Less
                | Sign::LessOrEqual
                | Sign::Greater
                | Sign::GreaterOrEqual
        )
    )
}

/// An identifier without qualifiers, where none can be taken over.
pub(crate) fn unqualified(text: &str, tokens: &[Token], at: usize, identifier: Identifier) -> Error {
    let word = quoted(identifier.place.of(text));
    if let IdentifierKind::Name(name) = identifier.kind
        && let Some(help) = word_meant(name.of(text), tokens.get(at).copied(), text, true)
    {
        return syntax(format!("`{word}` is no word of the language"), identifier.place).with_help(help);
    }
    let help = match identifier.kind {
        IdentifierKind::Number(_) => format!("write `port {word}`, `host {word}` or what else it is"),
        IdentifierKind::Mac(_) => format!("write `ether host {word}`"),
        IdentifierKind::DottedPrefix(..)
        | IdentifierKind::DottedMask(..)
        | IdentifierKind::Ip6(_, Some(_)) => format!("write `net {word}`"),
        IdentifierKind::Name(_) | IdentifierKind::Dotted | IdentifierKind::Ip6(_, None) => {
            format!("write `host {word}`, or `port`, `net`...")
        }
    };
    syntax(
        format!("nothing says what `{word}` is: the primitive in front has no qualifier to take over"),
        identifier.place,
    )
    .with_help(help)
}

/// The refusal of a keyword that is about frames of another kind.
pub(crate) fn foreign(family: Family, word: &str, place: Place) -> Error {
    let of = match family {
        Family::Wlan => "802.11 frames with their radio headers",
        Family::Atm => "ATM",
        Family::Mtp => "SS7 (MTP2 and MTP3)",
        Family::Pf => "the log of OpenBSD's packet filter",
    };
    Error::new(
        ErrorKind::Meaning,
        format!("`{}` is about {of}, a link type that filters are not made for", quoted(word)),
        place.span(),
    )
}

fn syntax(message: impl Into<String>, place: Place) -> Error {
    Error::new(ErrorKind::Syntax, message, place.span())
}

/// What a word that is not in the language may have been meant for; with the token behind it if that belongs to it.
fn word_meant(word: &str, after: Option<Token>, text: &str, primitive: bool) -> Option<String> {
    if primitive
        && let Some((_, meant)) = OTHER_TOOLS.iter().find(|(other, _)| other.eq_ignore_ascii_case(word))
    {
        return Some(match meant.strip_suffix(" _") {
            Some(head) => format!("did you mean `{}`?", with_operand(head, after, text)),
            None => format!("did you mean `{meant}`?"),
        });
    }
    let near = nearest(word, primitive)?;
    if near.eq_ignore_ascii_case(word) {
        return Some(format!("keywords are written in lower case: `{near}`"));
    }
    Some(format!("did you mean `{}`?", with_operand(near, after, text)))
}

fn with_operand(head: &str, after: Option<Token>, text: &str) -> String {
    match after {
        Some(Token {
            kind:
                Kind::Number(_) | Kind::Dotted | Kind::Ip6(_) | Kind::Mac(_) | Kind::Name { .. } | Kind::Word(_),
            place,
        }) => {
            format!("{head} {}", quoted(place.of(text)))
        }
        _ => head.to_owned(),
    }
}

/// The keyword that is one slip away (two in long words), the more usual one of several.
pub(crate) fn nearest(word: &str, primitive: bool) -> Option<&'static str> {
    // No keyword is longer than this and a slip.
    if word.len() > 40 || word.len() < 2 {
        return None;
    }
    let lower = word.to_ascii_lowercase();
    let allowed = if word.len() < 6 { 1 } else { 2 };
    words::all()
        .filter(|(keyword, kind)| match kind {
            Kind::Word(Word::Foreign(_)) => false,
            Kind::Number(_) => !primitive,
            Kind::Word(Word::Protocol(_) | Word::Length) => {
                keyword.len() > 2 || lower == *keyword || !primitive
            }
            _ => primitive && (keyword.len() > 2 || lower == *keyword),
        })
        .filter_map(|(keyword, _)| {
            let slips = slips(&lower, keyword);
            let usual = USUAL.iter().position(|usual| *usual == keyword);
            // Of the short words only the usual ones: everything of three letters is near some protocol.
            let near = slips <= allowed
                && 2 * slips < keyword.len()
                && (keyword.len() > 3 || usual.is_some() || slips == 0);
            near.then_some((slips, usual.unwrap_or(USUAL.len()), keyword))
        })
        .min()
        .map(|(.., keyword)| keyword)
}

/// How many letters are left out, too many, wrong or swapped with their neighbour.
fn slips(word: &str, keyword: &str) -> usize {
    let (word, keyword) = (word.as_bytes(), keyword.as_bytes());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=keyword.len()).collect();
    for i in 0..word.len() {
        let mut next = vec![i + 1];
        for j in 0..keyword.len() {
            let mut slips =
                (row[j] + usize::from(word[i] != keyword[j])).min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && word[i] == keyword[j - 1] && word[i - 1] == keyword[j] {
                slips = slips.min(before[j - 1] + 1);
            }
            next.push(slips);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[keyword.len()]
}

/// The words that are meant most often.
const USUAL: &[&str] = &[
    "port",
    "host",
    "tcp",
    "udp",
    "net",
    "src",
    "dst",
    "and",
    "or",
    "not",
    "ip",
    "ip6",
    "icmp",
    "arp",
    "vlan",
    "ether",
    "proto",
    "portrange",
    "icmp6",
    "len",
    "less",
    "greater",
    "tcpflags",
    "tcp-syn",
    "tcp-ack",
];

/// What people write who have used another tool last, and what it is here; `_` takes the word behind it.
const OTHER_TOOLS: &[(&str, &str)] = &[
    ("dport", "dst port _"),
    ("sport", "src port _"),
    ("dstport", "dst port _"),
    ("srcport", "src port _"),
    ("dsthost", "dst host _"),
    ("srchost", "src host _"),
    ("dest", "dst _"),
    ("destination", "dst _"),
    ("source", "src _"),
    ("ports", "portrange _"),
    ("addr", "host _"),
    ("address", "host _"),
    ("ipaddr", "host _"),
    ("subnet", "net _"),
    ("network", "net _"),
    ("mac", "ether host _"),
    ("eth", "ether _"),
    ("ethernet", "ether _"),
    ("protocol", "proto _"),
    ("in", "inbound"),
    ("out", "outbound"),
    ("ipv4", "ip"),
    ("ip4", "ip"),
    ("ipv6", "ip6"),
    ("icmpv6", "icmp6"),
    ("size", "len _"),
    ("ssh", "tcp port 22"),
    ("http", "tcp port 80"),
    ("https", "tcp port 443"),
    ("tls", "tcp port 443"),
    ("dns", "port 53"),
    ("dhcp", "udp port 67 or 68"),
    ("ntp", "udp port 123"),
    ("syn", "tcp[tcpflags] & tcp-syn != 0"),
    ("fin", "tcp[tcpflags] & tcp-fin != 0"),
    ("rst", "tcp[tcpflags] & tcp-rst != 0"),
    ("ack", "tcp[tcpflags] & tcp-ack != 0"),
];
