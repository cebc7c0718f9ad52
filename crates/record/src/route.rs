//! From a path to its route: a template with the variable parts named, of which there are few.
//!
//! A pattern of the user's is a path in which a segment `{name}` stands for any one segment that is not empty, and a last
//! segment `*` for the rest, whatever it is: `/users/{id}/orders`, `/static/*`. The first pattern that fits is the route. A
//! path that fits none gets a template made from its segments:
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
    pub fn route<'a>(&'a self, path: &'a str) -> Cow<'a, str> {
        if let Some(pattern) = self.patterns.iter().find(|pattern| pattern.fits(path)) {
            return Cow::Borrowed(&pattern.text);
        }
        let same = same_in_template(path);
        if same == path.len() {
            return Cow::Borrowed(path);
        }
        // A name in braces may be longer than what it stands for.
        let mut out = String::with_capacity((path.len() + 16).min(MAX_ROUTE_BYTES));
        write_template_from(same, path, &mut out);
        Cow::Owned(out)
    }

    /// The same of a request that says which operation it wants, as those of SOAP do, whose path is one for all: both, with a
    /// blank between them.
    pub fn route_of<'a>(&'a self, path: &'a str, operation: Option<&str>) -> Cow<'a, str> {
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
        match self.patterns.iter().find(|pattern| pattern.fits(path)) {
            Some(pattern) => out.push_str(&pattern.text),
            None => write_template(path, out),
        }
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

    fn fits(&self, path: &str) -> bool {
        let Some(path) = path.strip_prefix('/') else { return false };
        let mut parts = path.split('/');
        for segment in &self.segments {
            let fits = match (segment, parts.next()) {
                (Segment::Rest, rest) => return rest.is_some(),
                (Segment::Any, Some(part)) => !part.is_empty(),
                (Segment::Literal(literal), Some(part)) => literal == part,
                (_, None) => false,
            };
            if !fits {
                return false;
            }
        }
        parts.next().is_none()
    }
}

/// How many bytes of `path` are the same in its template: all of them, or what stands before the slash of a segment.
fn same_in_template(path: &str) -> usize {
    let Some(rest) = path.strip_prefix('/') else {
        return if path.len() <= MAX_SEGMENT_BYTES { path.len() } else { 0 };
    };
    let mut same = 0;
    for (at, part) in Parts::of(rest).enumerate() {
        let stays = match at {
            MAX_SEGMENTS => part.last && part.text == "*",
            _ => instead(part).is_none(),
        };
        if !stays {
            break;
        }
        same += 1 + part.text.len();
    }
    same
}

fn write_template(path: &str, out: &mut String) {
    write_template_from(0, path, out);
}

/// Appends the template of `path`, of which the first `same` bytes are known to be so in it, up to the slash of a segment.
fn write_template_from(same: usize, path: &str, out: &mut String) {
    let (before, path) = path.split_at_checked(same).unwrap_or(("", path));
    let Some(path) = path.strip_prefix('/') else {
        // `*`, or a target that is none of HTTP's forms.
        out.push_str(if path.len() <= MAX_SEGMENT_BYTES { path } else { TOKEN });
        return;
    };
    out.push_str(before);
    let first = before.bytes().filter(|byte| *byte == b'/').count();
    for (at, part) in (first..).zip(Parts::of(path)) {
        out.push('/');
        if at == MAX_SEGMENTS {
            out.push('*');
            return;
        }
        match instead(part) {
            Some(template) => out.push_str(&template),
            None => out.push_str(part.text),
        }
    }
}

/// A segment of a path, and what is seen while its end is looked for.
#[derive(Clone, Copy)]
struct Part<'a> {
    text: &'a str,
    figures: usize,
    /// No other follows.
    last: bool,
}

/// The segments of a path that comes without its first slash.
struct Parts<'a> {
    rest: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(path: &'a str) -> Self {
        Self { rest: Some(path) }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let rest = self.rest?;
        let (mut len, mut figures) = (0, 0);
        for byte in rest.bytes().take_while(|byte| *byte != b'/') {
            len += 1;
            figures += usize::from(byte.is_ascii_digit());
        }
        // A slash is no part of another character, so that there is one's end on both of its sides.
        let text = rest.get(..len).unwrap_or(rest);
        self.rest = rest.get(len + 1..);
        Some(Part { text, figures, last: self.rest.is_none() })
    }
}

/// What a segment becomes; `None` if it stays.
fn instead(part: Part<'_>) -> Option<Cow<'static, str>> {
    let Part { text, figures, last } = part;
    // As most are. What is a name as a whole is one without its extension, and so are its dotted parts.
    if figures == 0 && text.len() <= MAX_SEGMENT_BYTES {
        return None;
    }
    // A number, wherever it is: it has no extension.
    if figures == text.len() && figures <= MAX_SEGMENT_BYTES {
        return Some(Cow::Borrowed(ID));
    }
    let extended = || text.rsplit_once('.').filter(|(_, extension)| is_extension(extension));
    let Some((stem, extension)) = last.then(extended).flatten() else {
        return kind_with(text, figures).map(Cow::Borrowed);
    };
    if let Some(kind) = kind(stem).filter(|kind| *kind != ID || stem.len() >= MIN_FILE_DIGITS) {
        return Some(Cow::Owned(format!("{kind}.{extension}")));
    }
    // Figures between dots are versions, not numbers of things: `jquery.3.7.js`.
    let kind_of_part = |part| kind(part).filter(|kind| *kind != ID);
    if stem.split('.').all(|part| kind_of_part(part).is_none()) {
        return None;
    }
    let parts: Vec<_> = stem.split('.').map(|part| kind_of_part(part).unwrap_or(part)).collect();
    Some(Cow::Owned(format!("{}.{extension}", parts.join("."))))
}

/// The kind of variable that a segment looks like; `None` for a name.
fn kind(part: &str) -> Option<&'static str> {
    kind_with(part, part.bytes().filter(u8::is_ascii_digit).count())
}

/// The same if the figures in `part` have been counted.
fn kind_with(part: &str, figures: usize) -> Option<&'static str> {
    let bytes = part.as_bytes();
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

/// Up to five letters and figures, not figures alone.
fn is_extension(extension: &str) -> bool {
    (1..=5).contains(&extension.len())
        && extension.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && extension.bytes().any(|byte| byte.is_ascii_alphabetic())
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
        assert!(matches!(Routes::default().route("/static/app.js"), Cow::Borrowed(_)));
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
            prop_assert_eq!(routes.patterns[0].fits(&path), fits(&segments, &parts), "{} {}", text, path);
        }
    }
}
