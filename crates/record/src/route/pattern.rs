//! A pattern of the user's: what it fits, and what is no pattern.
//!
//! Paths are what is on the wire, so nearly every text fits some path; but whoever writes `{id:[0-9]+}`, `:id` or
//! `<int:id>` has another program's language in mind, and would get a route that is never seen. These are refused
//! with what to write instead.

use std::sync::atomic::{AtomicBool, Ordering};

/// The patterns, in their order.
#[derive(Debug)]
pub(super) struct Patterns {
    list: Box<[Pattern]>,
    /// A path was compared with them.
    asked: AtomicBool,
}

impl Patterns {
    /// The error names the pattern and says what is wrong with it, and what to write.
    pub(super) fn new(patterns: Vec<String>) -> Result<Self, String> {
        let list: Result<_, _> = patterns.into_iter().map(Pattern::new).collect();
        Ok(Self { list: list?, asked: AtomicBool::new(false) })
    }

    /// The text of the first that fits.
    #[inline]
    pub(super) fn fitting(&self, path: &[u8]) -> Option<&str> {
        note(&self.asked);
        let pattern = self.list.iter().find(|pattern| pattern.fits(path))?;
        note(&pattern.fitted);
        Some(&pattern.text)
    }

    /// Those that were the route of no path, if there was a path at all.
    pub(super) fn unused(&self) -> impl Iterator<Item = &str> {
        let asked = self.asked.load(Ordering::Relaxed);
        let unused = self.list.iter().filter(move |pattern| asked && !pattern.fitted.load(Ordering::Relaxed));
        unused.map(|pattern| pattern.text.as_str())
    }
}

/// Workers share the flags: a line of the cache that nobody writes any more is in all of their caches.
#[inline]
fn note(flag: &AtomicBool) {
    if !flag.load(Ordering::Relaxed) {
        flag.store(true, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Pattern {
    text: String,
    segments: Vec<Segment>,
    /// It was the route of a path.
    fitted: AtomicBool,
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
            return wrong(&without_slash(&text));
        };
        if text.contains(['?', '#']) {
            return wrong("is compared with paths only, which have no query");
        }
        let mut segments = Vec::new();
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            if part == "*" && last {
                segments.push(Segment::Rest);
                continue;
            }
            if let Some(what) = foreign(part, last) {
                return wrong(&what);
            }
            segments.push(match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                Some("") => return wrong("a name is missing between `{` and `}`"),
                Some(name) if name.contains(['{', '}']) => return wrong("a `{` or `}` inside of a name"),
                Some(_) => Segment::Any,
                None if part.contains(['{', '}']) => {
                    return wrong("`{name}` stands for a whole segment, between two slashes");
                }
                None => Segment::Literal(part.to_owned()),
            });
        }
        Ok(Self { text, segments, fitted: AtomicBool::new(false) })
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

/// What is wrong with a text that does not begin with a slash.
fn without_slash(text: &str) -> String {
    if matches!(text, "*" | "**" | "") {
        return "must begin with a slash: `/*` is every path".to_owned();
    }
    if let Some((method, path)) = text.split_once(' ')
        && path.starts_with('/')
        && method.bytes().all(|byte| byte.is_ascii_alphabetic())
    {
        return format!("a method is no part of it: write {path:?} (-m selects by methods)");
    }
    if let Some((_, rest)) = text.split_once("://") {
        let path = rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or("/");
        return format!("a host is no part of it: write {path:?} (--host selects by hosts)");
    }
    let path = text.trim_start_matches('^');
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("must begin with a slash: write \"{slash}{path}\"")
}

/// What is wrong with a segment that is written as elsewhere, and what to write.
fn foreign(part: &str, last: bool) -> Option<String> {
    let rest = |whose: &str| {
        Some(if last {
            format!("`{part}` {whose}: write `*` for the rest of a path")
        } else {
            "`*` stands for the rest of a path: only as its last segment; `{name}` is any one segment"
                .to_owned()
        })
    };
    if let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
        if name == "$" {
            return Some("`{$}` is not known here: a pattern without `*` fits whole paths only".to_owned());
        }
        if name.ends_with("...") || name.starts_with('*') {
            return rest("is not known here");
        }
        let plain = name.split(':').next().unwrap_or_default();
        if plain.len() != name.len() {
            let plain = if plain.is_empty() { "name" } else { plain };
            return Some(format!("`{{{plain}}}` is any one segment, without a type or an expression for it"));
        }
        return None;
    }
    let inner = part.strip_prefix('<').and_then(|part| part.strip_suffix('>'));
    if let Some(name) =
        inner.map(|inner| inner.rsplit(':').next().unwrap_or(inner)).or(part.strip_prefix(':'))
    {
        // Behind a name `(...)`, `?` or `+`, as in Express.
        let end = name
            .find(|char: char| !char.is_alphanumeric() && char != '_' && char != '-')
            .unwrap_or(name.len());
        let name = name.get(..end).filter(|name| !name.is_empty()).unwrap_or("name");
        return Some(format!("write `{{{name}}}` for any one segment, not `{part}`"));
    }
    if [".*", ".+", "\\", "[^", "[0-9", "[a-z", "[A-Z"].iter().any(|expression| part.contains(expression)) {
        return Some(format!(
            "`{part}` is a regular expression: write `{{name}}` for any one segment, and a last `*` for the rest"
        ));
    }
    if part.starts_with('*') && part.len() > 1 {
        return rest("is not known here");
    }
    part.contains('*').then(|| {
        "`*` stands for the rest of a path: only as its last segment; `{name}` is any one segment".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bad_patterns_are_named() {
        for (pattern, what) in [
            ("users", "must begin with a slash: write \"/users\""),
            ("", "must begin with a slash: `/*` is every path"),
            ("*", "`/*` is every path"),
            ("^/users", "write \"/users\""),
            ("GET /users", "a method is no part of it: write \"/users\""),
            ("http://shop.example/a/{id}", "a host is no part of it: write \"/a/{id}\""),
            ("https://shop.example", "write \"/\""),
            ("/a/*/b", "last segment"),
            ("/a*", "last segment"),
            ("/a/**", "`**` is not known here: write `*`"),
            ("/a/*path", "`*path` is not known here: write `*`"),
            ("/a/{rest...}", "`{rest...}` is not known here: write `*`"),
            ("/a/{*rest}", "`{*rest}` is not known here: write `*`"),
            ("/a/{rest...}/b", "only as its last segment"),
            ("/a/{$}", "whole paths only"),
            ("/a/{id:[0-9]+}", "`{id}` is any one segment"),
            ("/a/{id:int}/b", "`{id}` is any one segment"),
            ("/a/:id", "write `{id}` for any one segment, not `:id`"),
            ("/a/:id(\\d+)", "write `{id}`"),
            ("/a/<int:id>", "write `{id}` for any one segment, not `<int:id>`"),
            ("/a/<id>/b", "write `{id}`"),
            ("/a/.*", "regular expression"),
            ("/a/\\d+", "regular expression"),
            ("/a/[0-9]+", "regular expression"),
            ("/{}", "name is missing"),
            ("/{a", "whole segment"),
            ("/x{a}", "whole segment"),
            ("/{a}.json", "whole segment"),
            ("/{a{b}", "inside"),
            ("/a?b", "query"),
        ] {
            let error = Patterns::new(vec!["/fine".into(), pattern.into()]).unwrap_err();
            assert!(error.contains(&format!("{pattern:?}")) && error.contains(what), "{error}");
        }
    }

    /// Colons, dots, hyphens and the like are in paths.
    #[test]
    fn what_is_in_paths_is_a_pattern() {
        for pattern in [
            "/",
            "/*",
            "/v1/x:go",
            "/a/b.c/d-e_f~g",
            "/~joe",
            "/@joe",
            "/a//b/",
            "/a;v=1/{id}",
            "/%7Ba%7D",
            "/a,b",
        ] {
            Patterns::new(vec![pattern.into()]).unwrap();
        }
    }

    #[test]
    fn those_that_fit_nothing_are_known() {
        let patterns = Patterns::new(["/a/{x}", "/a/b", "/c"].map(str::to_owned).to_vec()).unwrap();
        assert_eq!(patterns.unused().count(), 0, "nothing was asked");
        assert_eq!(patterns.fitting(b"/d"), None);
        assert_eq!(patterns.unused().collect::<Vec<_>>(), ["/a/{x}", "/a/b", "/c"]);
        // The first one takes it.
        assert_eq!(patterns.fitting(b"/a/b"), Some("/a/{x}"));
        assert_eq!(patterns.fitting(b"/c"), Some("/c"));
        assert_eq!(patterns.unused().collect::<Vec<_>>(), ["/a/b"]);
    }

    proptest! {
        #[test]
        fn any_text_is_safe(text: String, segment in "[{}<>:.*$a-b\\[\\\\^]{0,6}") {
            let _ = Patterns::new(vec![text]);
            let _ = Patterns::new(vec![format!("/{segment}/{segment}")]);
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
            let pattern = Pattern::new(text.clone()).unwrap();
            prop_assert_eq!(pattern.fits(path.as_bytes()), fits(&segments, &parts), "{} {}", text, path);
        }
    }
}
