//! From a path to its route: a template with the variable parts named, of which there are few.
//!
//! A pattern of the user's is a path in which a segment `{name}` stands for any one segment that is not empty, and a
//! last segment `*` for the rest, whatever it is: `/users/{id}/orders`, `/static/*`. The first pattern that fits is
//! the route. A path that fits none gets a template made from its segments:
//!
//! | segment | becomes |
//! | --- | --- |
//! | digits only | `{id}` |
//! | a UUID | `{uuid}` |
//! | 8 or more hexadecimal digits, one of them a figure | `{hex}` |
//! | longer than 40 bytes, or 16 and more with small letters, capitals and two figures (base64) | `{token}` |
//! | the last one, with an extension | itself; its dotted parts as above: `app.{hex}.js`; four digits or more: `{id}.jpg` |
//! | anything else | itself |
//!
//! Beyond 8 segments the rest becomes `*`, so that a template is never long.

use std::borrow::Cow;
use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;

/// How paths become routes. Cloning shares the patterns.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    patterns: Arc<[Pattern]>,
}

impl Routes {
    /// Patterns are tried in order; a path that fits none gets a template made from its segments. The error names the
    /// pattern and says what is wrong with it.
    pub fn new(patterns: Vec<String>) -> Result<Self, String> {
        let patterns: Result<_, _> = patterns.into_iter().map(Pattern::new).collect();
        Ok(Self { patterns: patterns? })
    }

    /// The route of `path` (without query).
    pub fn route<'a>(&'a self, path: &str) -> Cow<'a, str> {
        if let Some(pattern) = self.fitting(path.as_bytes()) {
            return Cow::Borrowed(&pattern.text);
        }
        let mut out = String::with_capacity((path.len() + 16).min(MAX_ROUTE_BYTES));
        write_template(path, &mut out);
        Cow::Owned(out)
    }

    /// The same of a request that says which operation it wants, as those of SOAP do, whose path is one for all:
    /// both, with a blank between them.
    pub fn route_of<'a>(&'a self, path: &str, operation: Option<&str>) -> Cow<'a, str> {
        let route = self.route(path);
        match operation {
            None => route,
            Some(operation) => {
                let mut route = route.into_owned();
                write_operation(operation, &mut route);
                Cow::Owned(route)
            }
        }
    }

    /// Appends the route of `path` to `out`: allocates nothing once `out` is long enough.
    pub fn write(&self, path: &str, out: &mut String) {
        match self.fitting(path.as_bytes()) {
            Some(pattern) => out.push_str(&pattern.text),
            None => write_template(path, out),
        }
    }

    /// Hands on the route of `path` in pieces, as long as they are taken.
    #[inline]
    pub(crate) fn pieces<E>(
        &self,
        path: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.fitting(path) {
            Some(pattern) => take(pattern.text.as_bytes()),
            None => template(path, |piece| match piece {
                Piece::Kept(range) => take(path.get(range).unwrap_or_default()),
                Piece::Name(name) => take(name.as_bytes()),
            }),
        }
    }

    #[inline]
    fn fitting(&self, path: &[u8]) -> Option<&Pattern> {
        self.patterns.iter().find(|pattern| pattern.fits(path))
    }
}

/// Appends the operation to the route of its path.
pub(crate) fn write_operation(operation: &str, out: &mut String) {
    out.push(' ');
    match operation.char_indices().nth(MAX_OPERATION_CHARS) {
        None => out.push_str(operation),
        Some((end, _)) => {
            out.push_str(operation.get(..end).unwrap_or_default());
            out.push('…');
        }
    }
}

#[derive(Debug)]
struct Pattern {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Debug)]
enum Segment {
    Literal(String),
    Any,
    Rest,
}

impl Pattern {
    fn new(text: String) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("route pattern {text:?}: {what}"));
        let Some(path) = text.strip_prefix('/') else {
            return wrong("must begin with a slash");
        };
        if text.contains(['?', '#']) {
            return wrong("is compared with paths only, which have no query");
        }
        let mut segments = Vec::new();
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            segments.push(match part {
                "*" if last => Segment::Rest,
                part if part.contains('*') => {
                    return wrong("`*` stands for the rest of a path: only as its last segment");
                }
                "{}" => return wrong("a name is missing between `{` and `}`"),
                part if part.starts_with('{') && part.find('}') == Some(part.len() - 1) => {
                    if part[1..].contains('{') {
                        return wrong("a `{` inside of a name");
                    }
                    Segment::Any
                }
                part if part.contains(['{', '}']) => {
                    return wrong("`{name}` stands for a whole segment, between two slashes");
                }
                part => Segment::Literal(part.to_owned()),
            });
        }
        Ok(Self { text, segments })
    }

    fn fits(&self, path: &[u8]) -> bool {
        let Some(path) = path.strip_prefix(b"/") else { return false };
        let mut parts = path.split(|byte| *byte == b'/');
        for segment in &self.segments {
            let fits = match (segment, parts.next()) {
                (Segment::Rest, rest) => return rest.is_some(),
                (Segment::Any, Some(part)) => !part.is_empty(),
                (Segment::Literal(literal), Some(part)) => literal.as_bytes() == part,
                (_, None) => false,
            };
            if !fits {
                return false;
            }
        }
        parts.next().is_none()
    }
}

/// What a template is made of.
enum Piece {
    /// These bytes of the path.
    Kept(Range<usize>),
    /// What stands for others.
    Name(&'static str),
}

/// Hands on the template of `path` in pieces, as long as they are taken.
#[inline]
fn template<E>(path: &[u8], mut take: impl FnMut(Piece) -> Result<(), E>) -> Result<(), E> {
    let mut kept = 0;
    variables(path, |variable| {
        take(Piece::Kept(kept..variable.start))?;
        kept = variable.end;
        take(Piece::Name(variable.name))
    })?;
    take(Piece::Kept(kept..path.len()))
}

fn write_template(path: &str, out: &mut String) {
    let Ok(()) = template(path.as_bytes(), |piece| {
        out.push_str(match piece {
            // Names stand between slashes and full stops, which are no part of other characters.
            Piece::Kept(range) => path.get(range).unwrap_or_default(),
            Piece::Name(name) => name,
        });
        Ok::<_, Infallible>(())
    });
}

/// What in a path is not in its template: these bytes of it, for which this name stands there.
struct Variable {
    start: usize,
    end: usize,
    name: &'static str,
}

/// Hands on the variables of `path` in their order, as long as they are taken.
#[inline]
fn variables<E>(path: &[u8], mut found: impl FnMut(Variable) -> Result<(), E>) -> Result<(), E> {
    let Some(rest) = path.strip_prefix(b"/") else {
        // `*`, or a target that is none of HTTP's forms.
        let is_kept = path.len() <= MAX_SEGMENT_BYTES;
        return if is_kept { Ok(()) } else { found(Variable { start: 0, end: path.len(), name: TOKEN }) };
    };
    let mut start = 1;
    for (at, part) in Parts::of(rest).enumerate() {
        if at == MAX_SEGMENTS {
            return found(Variable { start, end: path.len(), name: "*" });
        }
        // As most are. What is a name as a whole is one without its extension, and so are its dotted parts.
        if part.figures != 0 || part.text.len() > MAX_SEGMENT_BYTES {
            variables_of(part, start, &mut found)?;
        }
        start += part.text.len() + 1;
    }
    Ok(())
}

/// The same of a segment, which begins at `start`.
#[inline(never)]
fn variables_of<E>(
    Part { text, figures, last }: Part<'_>,
    start: usize,
    found: &mut impl FnMut(Variable) -> Result<(), E>,
) -> Result<(), E> {
    // A number, wherever it is: it has no extension.
    if figures == text.len() && figures <= MAX_SEGMENT_BYTES {
        return found(Variable { start, end: start + text.len(), name: ID });
    }
    let Some(stem) = Some(text).filter(|_| last).and_then(stem) else {
        return match kind_with(text, figures) {
            Some(name) => found(Variable { start, end: start + text.len(), name }),
            None => Ok(()),
        };
    };
    if let Some(name) = kind(stem).filter(|kind| *kind != ID || stem.len() >= MIN_FILE_DIGITS) {
        return found(Variable { start, end: start + stem.len(), name });
    }
    let mut start = start;
    for part in stem.split(|byte| *byte == b'.') {
        let end = start + part.len();
        // Figures between dots are versions, not numbers of things: `jquery.3.7.js`.
        if let Some(name) = kind(part).filter(|kind| *kind != ID) {
            found(Variable { start, end, name })?;
        }
        start = end + 1;
    }
    Ok(())
}

/// A segment of a path, and what is seen while its end is looked for.
#[derive(Clone, Copy)]
struct Part<'a> {
    text: &'a [u8],
    figures: usize,
    /// No other follows.
    last: bool,
}

/// The segments of a path that comes without its first slash.
struct Parts<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    fn of(path: &'a [u8]) -> Self {
        Self { rest: Some(path) }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let rest = self.rest?;
        let (mut len, mut figures) = (0, 0);
        for byte in rest.iter().take_while(|byte| **byte != b'/') {
            len += 1;
            figures += usize::from(byte.is_ascii_digit());
        }
        let text = rest.get(..len).unwrap_or(rest);
        self.rest = rest.get(len + 1..);
        Some(Part { text, figures, last: self.rest.is_none() })
    }
}

/// The kind of variable that a segment looks like; `None` for a name.
fn kind(part: &[u8]) -> Option<&'static str> {
    kind_with(part, part.iter().filter(|byte| byte.is_ascii_digit()).count())
}

/// The same if the figures in `part` have been counted.
fn kind_with(bytes: &[u8], figures: usize) -> Option<&'static str> {
    if bytes.len() > MAX_SEGMENT_BYTES {
        Some(TOKEN)
    } else if figures == 0 {
        None
    } else if figures == bytes.len() {
        Some(ID)
    } else if is_uuid(bytes) {
        Some(UUID)
    } else if bytes.len() >= MIN_HEX_DIGITS && bytes.iter().all(u8::is_ascii_hexdigit) {
        Some(HEX)
    } else if bytes.len() >= MIN_TOKEN_BYTES && figures >= 2 && is_base64(bytes) {
        Some(TOKEN)
    } else {
        None
    }
}

/// Hexadecimal digits in groups of 8, 4, 4, 4 and 12 (RFC 9562, section 4).
fn is_uuid(bytes: &[u8]) -> bool {
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn is_base64(bytes: &[u8]) -> bool {
    let of_alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+' | b'=');
    bytes.iter().all(of_alphabet)
        && bytes.iter().any(u8::is_ascii_lowercase)
        && bytes.iter().any(u8::is_ascii_uppercase)
}

/// What stands before the extension of a file's name: up to five letters and figures, not figures alone.
fn stem(name: &[u8]) -> Option<&[u8]> {
    let (stem, extension) = name.split_at(memchr::memrchr(b'.', name)?);
    let extension = extension.get(1..)?;
    let is_extension = (1..=5).contains(&extension.len())
        && extension.iter().all(u8::is_ascii_alphanumeric)
        && extension.iter().any(u8::is_ascii_alphabetic);
    is_extension.then_some(stem)
}

/// Names of operations are URLs as a rule; what is longer than any of them is cut, so that a route is never long.
const MAX_OPERATION_CHARS: usize = 200;

const ID: &str = "{id}";
const UUID: &str = "{uuid}";
const HEX: &str = "{hex}";
const TOKEN: &str = "{token}";

/// Longer names are not chosen by people. A UUID has 36, a SHA-1 40.
const MAX_SEGMENT_BYTES: usize = 40;
/// Short words happen to be hexadecimal: `add`, `cafe`, `b2b`.
const MIN_HEX_DIGITS: usize = 8;
/// Shorter mixtures are names with a version in them more often than tokens.
const MIN_TOKEN_BYTES: usize = 16;
/// Files with shorter numbers are somebody's: `404.html`, `960.css`.
const MIN_FILE_DIGITS: usize = 4;
/// Deeper paths are those of files.
const MAX_SEGMENTS: usize = 8;
/// A slash, the segment, and an extension behind a token at the end.
const MAX_ROUTE_BYTES: usize = MAX_SEGMENTS * (1 + MAX_SEGMENT_BYTES + 6);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn template(path: &str) -> String {
        Routes::default().route(path).into_owned()
    }

    #[test]
    fn templates() {
        for (path, route) in [
            ("/", "/"),
            ("/users/42/orders/7", "/users/{id}/orders/{id}"),
            ("/v1/users", "/v1/users"),
            ("/o/6F9619FF-8B86-d011-b42d-00c04fc964ff", "/o/{uuid}"),
            ("/o/6f9619ff-8b86-d011-b42d00-c04fc964ff/x", "/o/6f9619ff-8b86-d011-b42d00-c04fc964ff/x"),
            ("/c/deadbeef", "/c/deadbeef"),
            ("/c/deadbee0", "/c/{hex}"),
            ("/c/dead0", "/c/dead0"),
            ("/c/da39a3ee5e6b4b0d3255bfef95601890afd80709", "/c/{hex}"),
            ("/t/eyJhbGciOiJIUzI1NiJ9", "/t/{token}"),
            ("/t/MyVeryLongComponent2", "/t/MyVeryLongComponent2"),
            ("/t/a-very-long-slug-of-an-article-that-somebody-wrote", "/t/{token}"),
            ("/static/app.js", "/static/app.js"),
            ("/static/jquery-3.7.1.min.js", "/static/jquery-3.7.1.min.js"),
            ("/static/app.3f2a9c1b.js", "/static/app.{hex}.js"),
            ("/img/12345.jpg", "/img/{id}.jpg"),
            ("/404.html", "/404.html"),
            ("/img/12345.jpg/edit", "/img/12345.jpg/edit"),
            ("/r/1.2.3", "/r/1.2.3"),
            ("/a//b/", "/a//b/"),
            ("*", "*"),
            ("/1/2/3/4/5/6/7/8/9/10", "/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/*"),
        ] {
            assert_eq!(template(path), route);
            let mut written = String::new();
            Routes::default().write(path, &mut written);
            assert_eq!(written, route);
        }
    }

    #[test]
    fn patterns_come_first_and_in_order() {
        let patterns = ["/users/{name}", "/users/me", "/static/*", "/a/{x}/b/{y}", "/"];
        let routes = Routes::new(patterns.map(str::to_owned).to_vec()).unwrap();
        for (path, route) in [
            ("/users/me", "/users/{name}"),
            ("/users/", "/users/"),
            ("/users/42", "/users/{name}"),
            ("/users/42/x", "/users/{id}/x"),
            ("/static/a/b/42", "/static/*"),
            ("/static/", "/static/*"),
            ("/static", "/static"),
            ("/a/1/b/2", "/a/{x}/b/{y}"),
            ("/a/1/c/2", "/a/{id}/c/{id}"),
            ("/", "/"),
        ] {
            assert_eq!(routes.route(path), route);
        }
    }

    #[test]
    fn bad_patterns_are_named() {
        for (pattern, what) in [
            ("users", "slash"),
            ("", "slash"),
            ("/a/*/b", "last segment"),
            ("/a*", "last segment"),
            ("/{}", "name is missing"),
            ("/{a", "whole segment"),
            ("/x{a}", "whole segment"),
            ("/{a}.json", "whole segment"),
            ("/{a{b}", "inside"),
            ("/a?b", "query"),
        ] {
            let error = Routes::new(vec!["/fine".into(), pattern.into()]).unwrap_err();
            assert!(error.contains(&format!("{pattern:?}")) && error.contains(what), "{error}");
        }
    }

    fn any_path() -> impl Strategy<Value = String> {
        let segment = prop_oneof![
            "[0-9]{1,12}",
            "[0-9a-f]{6,12}",
            "[A-Za-z0-9_-]{0,50}",
            "[a-z0-9.]{0,12}",
            "\\PC{0,8}",
            Just("*".to_owned()),
            Just("{id}".to_owned()),
        ];
        proptest::collection::vec(segment, 0..12).prop_map(|segments| format!("/{}", segments.join("/")))
    }

    #[test]
    fn operations_are_part_of_the_route() {
        let routes = Routes::default();
        assert_eq!(routes.route_of("/ws/7", None), "/ws/{id}");
        assert_eq!(routes.route_of("/ws/7", Some("urn:Shop#Buy")), "/ws/{id} urn:Shop#Buy");
        let long = routes.route_of("/", Some(&"é".repeat(500))).into_owned();
        assert_eq!(long, format!("/ {}…", "é".repeat(MAX_OPERATION_CHARS)));
    }

    proptest! {
        #[test]
        fn routes_are_their_own_routes(path in any_path()) {
            let route = template(&path);
            prop_assert_eq!(&template(&route), &route);
            prop_assert!(route.len() <= MAX_ROUTE_BYTES + 2);
            prop_assert_eq!(route.split('/').count(), path.split('/').count().min(MAX_SEGMENTS + 2));
            let mut written = String::from("GET ");
            Routes::default().write(&path, &mut written);
            prop_assert_eq!(&written[4..], route);
        }

        /// Against an obvious matcher, by recursion over both lists.
        #[test]
        fn patterns_fit_as_described(
            pattern in proptest::collection::vec("(a|b|\\{x\\})", 1..5), rest: bool,
            path in proptest::collection::vec("(a|b|)", 1..6),
        ) {
            fn fits(pattern: &[&str], path: &[&str]) -> bool {
                match (pattern, path) {
                    (["*"], path) => !path.is_empty(),
                    ([], []) => true,
                    ([first, pattern @ ..], [part, path @ ..]) => {
                        (first == part || (*first == "{x}" && !part.is_empty())) && fits(pattern, path)
                    }
                    _ => false,
                }
            }
            let mut segments: Vec<_> = pattern.iter().map(String::as_str).collect();
            if rest {
                segments.push("*");
            }
            let text = format!("/{}", segments.join("/"));
            let parts: Vec<_> = path.iter().map(String::as_str).collect();
            let path = format!("/{}", parts.join("/"));
            let routes = Routes::new(vec![text.clone()]).unwrap();
            prop_assert_eq!(routes.patterns[0].fits(path.as_bytes()), fits(&segments, &parts), "{} {}", text, path);
        }
    }
}
