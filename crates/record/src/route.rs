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
//! | a date, `2024-05-01` | `{date}` |
//! | 8 or more hexadecimal digits, one of them a figure | `{hex}` |
//! | longer than 40 bytes, or 16 and more with small letters, capitals and two figures (base64) | `{token}` |
//! | a name, `=` and one of these | the name and what it becomes: `year={id}` |
//! | the last one, with an extension | itself; its parts between dots or hyphens as above: `app.{hex}.js`, `app-{hex}.js`; four digits or more: `{id}.jpg` |
//! | two hexadecimal digits in front of a UUID, `{hex}` or `{token}`: a bucket of hashes | `{id}`, as if they were figures |
//! | one hexadecimal digit, two that begin with it, a name with an extension: the buckets of a large collection of files | `{id}/{id}/*` |
//! | anything else | itself |
//!
//! Buckets of hashes may be two in one another, and have a figure among their digits: `de` is a language. Behind a
//! number digits are no buckets of files: `/2024/1/12/x.jpg` is a date.
//!
//! Beyond 8 segments the rest becomes `*`, so that a template is never long.

mod pattern;

use std::borrow::Cow;
use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;

use self::pattern::Patterns;

/// How paths become routes. Cloning shares the patterns.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    patterns: Option<Arc<Patterns>>,
}

impl Routes {
    /// Patterns are tried in order; a path that fits none gets a template made from its segments. The error names the
    /// pattern and says what is wrong with it, and what to write.
    pub fn new(patterns: Vec<String>) -> Result<Self, String> {
        if patterns.is_empty() {
            return Ok(Self::default());
        }
        Ok(Self { patterns: Some(Arc::new(Patterns::new(patterns)?)) })
    }

    /// The patterns that were the route of no path, in their order; none if no route was asked for. Clones count, too.
    pub fn unused(&self) -> Vec<String> {
        self.patterns.iter().flat_map(|patterns| patterns.unused()).map(str::to_owned).collect()
    }

    /// The route of `path` (without query).
    pub fn route<'a>(&'a self, path: &str) -> Cow<'a, str> {
        if let Some(pattern) = self.fitting(path.as_bytes()) {
            return Cow::Borrowed(pattern);
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
            Some(pattern) => out.push_str(pattern),
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
            Some(pattern) => take(pattern.as_bytes()),
            None => template(path, |piece| match piece {
                Piece::Kept(range) => take(path.get(range).unwrap_or_default()),
                Piece::Name(name) => take(name.as_bytes()),
            }),
        }
    }

    #[inline]
    fn fitting(&self, path: &[u8]) -> Option<&str> {
        self.patterns.as_ref()?.fitting(path)
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
    let (mut start, mut before) = (1, &[][..]);
    for (at, part) in Parts::of(rest).enumerate() {
        if at == MAX_SEGMENTS {
            return found(Variable { start, end: path.len(), name: "*" });
        }
        // A number of two figures is one anyway.
        let is_short = part.text.len() <= BUCKET_DIGITS && part.figures < BUCKET_DIGITS;
        if is_short && part.text.first().is_some_and(u8::is_ascii_hexdigit) {
            match bucket(before, path.get(start..).unwrap_or_default()) {
                Bucket::None => {}
                Bucket::OfHashes => {
                    found(Variable { start, end: start + BUCKET_DIGITS, name: ID })?;
                    (start, before) = (start + BUCKET_DIGITS + 1, part.text);
                    continue;
                }
                Bucket::OfFiles if at + 2 < MAX_SEGMENTS => {
                    found(Variable { start, end: start + 1, name: ID })?;
                    found(Variable { start: start + 2, end: start + 4, name: ID })?;
                    return found(Variable { start: start + 5, end: path.len(), name: "*" });
                }
                Bucket::OfFiles => {}
            }
        }
        // As most are. What is a name as a whole is one without its extension, and so are its dotted parts.
        if part.figures != 0 || part.text.len() > MAX_SEGMENT_BYTES {
            variables_of(part, start, &mut found)?;
        }
        (start, before) = (start + part.text.len() + 1, part.text);
    }
    Ok(())
}

/// What a segment of one or two bytes is.
enum Bucket {
    None,
    /// One of hashes.
    OfHashes,
    /// One digit, and the next segment is two that begin with it: both are buckets of files.
    OfFiles,
}

/// What the segment is that `rest` begins with, of one or two bytes that are not both figures, behind another one.
#[inline(never)]
fn bucket(before: &[u8], rest: &[u8]) -> Bucket {
    // The paths of some APIs have the name where others have the number.
    let is_number =
        |text: &[u8]| text == ID.as_bytes() || !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let is_pair = |text: &[u8]| text.len() == BUCKET_DIGITS && text.iter().all(u8::is_ascii_hexdigit);
    let has_figure = |text: &[u8]| text.iter().any(u8::is_ascii_digit);
    let mut parts = Parts::of(rest);
    let (Some(this), Some(next)) = (parts.next(), parts.next()) else { return Bucket::None };
    let behind = parts.next();
    if let (&[digit], Some(file)) = (this.text, behind) {
        // A pair that begins with it has it as a hexadecimal digit.
        let is_within = is_pair(next.text) && next.text.first() == Some(&digit);
        let of_files = is_within && !is_number(before) && stem(file.text).is_some();
        return if of_files { Bucket::OfFiles } else { Bucket::None };
    }
    if !is_pair(this.text) {
        return Bucket::None;
    }
    let is_last = is_hash(next) && (has_figure(this.text) || is_pair(before) && has_figure(before));
    let is_first =
        is_pair(next.text) && behind.is_some_and(is_hash) && (has_figure(this.text) || has_figure(next.text));
    if is_last || is_first { Bucket::OfHashes } else { Bucket::None }
}

/// Whether a segment is something long that nobody reads, perhaps with an extension.
fn is_hash(part: Part<'_>) -> bool {
    let text = Some(part.text).filter(|_| part.last).and_then(stem).unwrap_or(part.text);
    matches!(kind(text), Some(UUID | HEX | TOKEN))
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
        let (name, value) = named_value(text);
        let found_kind = kind_with(text, figures).map(|kind| (0, kind));
        let found_kind = found_kind.or_else(|| kind(value).filter(|_| name != 0).map(|kind| (name, kind)));
        return match found_kind {
            Some((from, name)) => found(Variable { start: start + from, end: start + text.len(), name }),
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
        match kind(part).filter(|kind| *kind != ID) {
            Some(name) => found(Variable { start, end, name })?,
            None => hashes_of(part, start, found)?,
        }
        start = end + 1;
    }
    Ok(())
}

/// The same of what is between two dots, as far as hashes are set off by hyphens.
fn hashes_of<E>(
    part: &[u8],
    mut start: usize,
    found: &mut impl FnMut(Variable) -> Result<(), E>,
) -> Result<(), E> {
    for piece in part.split(|byte| *byte == b'-') {
        let end = start + piece.len();
        if kind(piece) == Some(HEX) {
            found(Variable { start, end, name: HEX })?;
        }
        start = end + 1;
    }
    Ok(())
}

/// Of `name=value`: where the value begins, and the value. 0 if it is nothing of the kind.
fn named_value(text: &[u8]) -> (usize, &[u8]) {
    let of_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    match memchr::memchr(b'=', text).and_then(|at| text.split_at_checked(at + 1)) {
        Some((name @ [_, .., b'='], value)) if name[..name.len() - 1].iter().all(of_name) => {
            (name.len(), value)
        }
        _ => (0, &[]),
    }
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
    } else if is_date(bytes) {
        Some(DATE)
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

/// Four, two and two figures (RFC 3339, section 5.6: full-date).
fn is_date(bytes: &[u8]) -> bool {
    bytes.len() == 10
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
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
const DATE: &str = "{date}";
const HEX: &str = "{hex}";
const TOKEN: &str = "{token}";

/// Longer names are not chosen by people. A UUID has 36, a SHA-1 40.
const MAX_SEGMENT_BYTES: usize = 40;
/// Short words happen to be hexadecimal: `add`, `cafe`, `b2b`.
const MIN_HEX_DIGITS: usize = 8;
/// Hashes are spread over 256 directories, or over that many in as many.
const BUCKET_DIGITS: usize = 2;
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

    /// Paths as they are in the world, by who has them.
    #[test]
    fn templates_of_the_world() {
        for (path, route) in [
            // MediaWiki: the directories are the first digits of the name's MD5.
            ("/wikipedia/commons/4/4a/x.jpg", "/wikipedia/commons/{id}/{id}/*"),
            ("/wikipedia/commons/b/b7/y.jpg", "/wikipedia/commons/{id}/{id}/*"),
            ("/wikipedia/commons/1/12/z.jpg", "/wikipedia/commons/{id}/{id}/*"),
            (
                "/wikipedia/commons/thumb/b/bb/Logo.svg/174px-Logo.svg.png",
                "/wikipedia/commons/thumb/{id}/{id}/*",
            ),
            ("/w/c/cd", "/w/c/cd"),
            ("/c/cd/about", "/c/cd/about"),
            // Git, PyPI, npm's cache, Nix: those of their hash, which may go on behind them.
            ("/r.git/objects/4a/9f3c2b1d0e9f8a7b6c5d4e3f2a1b0c9d8e7f6a", "/r.git/objects/{id}/{hex}"),
            ("/r.git/objects/12/9f3c2b1d0e9f8a7b6c5d4e3f2a1b0c9d8e7f6a", "/r.git/objects/{id}/{hex}"),
            ("/p/4a/de/9f3c2b1d0e9f8a7b/requests-2.31.0.tar.gz", "/p/{id}/{id}/{hex}/requests-2.31.0.tar.gz"),
            ("/p/de/4a/9f3c2b1d0e9f8a7b/requests-2.31.0.tar.gz", "/p/{id}/{id}/{hex}/requests-2.31.0.tar.gz"),
            ("/cache/b7/c1/b7c1d2e3f4a5968778695a4b.webp", "/cache/{id}/{id}/{hex}.webp"),
            ("/b7/c1", "/b7/c1"),
            ("/4a/users", "/4a/users"),
            // Languages and versions stay.
            ("/de/deadbee0", "/de/{hex}"),
            ("/de/6f9619ff-8b86-d011-b42d-00c04fc964ff", "/de/{uuid}"),
            ("/en-US/docs/Web", "/en-US/docs/Web"),
            ("/fr/produits", "/fr/produits"),
            ("/api/v1/users", "/api/v1/users"),
            ("/v2/library/nginx/manifests/1.25", "/v2/library/nginx/manifests/1.25"),
            ("/admin/api/2024-01/products.json", "/admin/api/2024-01/products.json"),
            // Dates.
            ("/2024/05/01/a-post", "/{id}/{id}/{id}/a-post"),
            ("/2024/1/12/x.jpg", "/{id}/{id}/{id}/x.jpg"),
            ("/8/b/b0/x.jpg", "/{id}/b/b0/x.jpg"),
            ("/{id}/b/b0/x.jpg", "/{id}/b/b0/x.jpg"),
            ("/reports/2024-05-01", "/reports/{date}"),
            ("/logs/2024-05-01.gz", "/logs/{date}.gz"),
            ("/logs/2024-5-01.gz", "/logs/2024-5-01.gz"),
            // Pages of lists are no buckets.
            ("/list/1/10", "/list/{id}/{id}"),
            // Keys of object stores.
            ("/lake/year=2024/month=05/part.parquet", "/lake/year={id}/month={id}/part.parquet"),
            ("/lake/dt=2024-05-01/h=3", "/lake/dt={date}/h={id}"),
            ("/o/=5/a=/x", "/o/=5/a=/x"),
            ("/avatars/6f9619ff-8b86-d011-b42d-00c04fc964ff.png", "/avatars/{uuid}.png"),
            ("/d/da39a3ee5e6b4b0d3255bfef95601890afd80709.jpg", "/d/{hex}.jpg"),
            // What bundlers write.
            ("/assets/app-3f2a9c1b.js", "/assets/app-{hex}.js"),
            ("/assets/vendor.chunk-3f2a9c1b.min.css", "/assets/vendor.chunk-{hex}.min.css"),
            ("/assets/photo-1024x768.jpg", "/assets/photo-1024x768.jpg"),
            ("/files/report-20240501.pdf", "/files/report-20240501.pdf"),
            // Names for people, and ids that look like names.
            ("/blog/ten-things-about-http", "/blog/ten-things-about-http"),
            ("/watch/dQw4w9WgXcQ", "/watch/dQw4w9WgXcQ"),
            ("/s/VGhlIHF1aWNrIDEyMyBmb3g0NQ==", "/s/{token}"),
            // No deeper than other paths.
            ("/a/a/a/a/a/a/4/4a/x.jpg", "/a/a/a/a/a/a/{id}/4a/*"),
        ] {
            assert_eq!(template(path), route);
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

    fn any_path() -> impl Strategy<Value = String> {
        let segment = prop_oneof![
            "[0-9]{1,12}",
            "[0-9a-f]{6,12}",
            "[A-Za-z0-9_-]{0,50}",
            "[a-z0-9.]{0,12}",
            "[0-9a-f]{1,2}",
            "[a-z]{1,3}=[0-9]{1,4}",
            "20[0-9]{2}-[01][0-9]-[0-3][0-9](\\.gz)?",
            "[a-z]{1,5}-[0-9a-f]{8}\\.js",
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
            let (segments, most) = (route.split('/').count(), path.split('/').count().min(MAX_SEGMENTS + 2));
            prop_assert!(segments == most || segments < most && route.ends_with("/{id}/{id}/*"), "{}", route);
            let mut written = String::from("GET ");
            Routes::default().write(&path, &mut written);
            prop_assert_eq!(&written[4..], route);
        }
    }
}
