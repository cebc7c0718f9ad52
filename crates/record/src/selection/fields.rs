//! The fields of a record by their names, out of the registry, and what is meant by a name that is none.

use std::fmt::Write;

use crate::fields::{self, FIELDS, Lines};

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Flag,
    Texts,
    /// A list of objects, into which nobody can look here.
    Objects,
    /// Lists of texts by the names of header fields in small letters.
    Headers,
}

/// Every field that the record of an exchange may have.
pub(super) fn all() -> impl Iterator<Item = (&'static str, Kind)> {
    let of_exchanges = FIELDS.iter().filter(|field| field.lines.has(Lines::EXCHANGE));
    of_exchanges.filter(|field| !field.name.contains("[]")).filter_map(|field| {
        let kind = match field.kind {
            fields::Kind::Object => return None,
            fields::Kind::Headers => Kind::Headers,
            fields::Kind::Objects => Kind::Objects,
            fields::Kind::Text | fields::Kind::Time | fields::Kind::Word(_) => Kind::Text,
            fields::Kind::Words(_) => Kind::Texts,
            fields::Kind::Integer(_) => Kind::Number,
            fields::Kind::Boolean => Kind::Flag,
        };
        Some((field.name, kind))
    })
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Field(Kind),
    /// A header field: a list of texts.
    Header,
    /// An object with fields in it.
    Object,
}

/// What `name` stands for; the error says what may have been meant.
pub(super) fn find(name: &str) -> Result<Named, String> {
    if let Some((_, kind)) = all().find(|(field, _)| *field == name) {
        return Ok(Named::Field(kind));
    }
    let is_below =
        |name: &str, object: &str| name.strip_prefix(object).is_some_and(|rest| rest.starts_with('.'));
    if all().any(|(field, kind)| kind == Kind::Headers && is_below(name, field)) {
        return Ok(Named::Header);
    }
    if all().any(|(field, _)| is_below(field, name)) {
        return Ok(Named::Object);
    }
    let mut text = format!("there is no field {name}");
    let near = near(name);
    for (at, field) in near.iter().enumerate() {
        let before = match at {
            0 => ": did you mean ",
            _ if at + 1 == near.len() => " or ",
            _ => ", ",
        };
        // Writing to a String cannot fail.
        let _ = write!(text, "{before}{field}");
    }
    if !near.is_empty() {
        text.push('?');
    }
    Err(text)
}

/// Fields with names like this: that begin or end with it, then those that are spelled alike. At most three.
fn near(name: &str) -> Vec<&'static str> {
    let name = name.to_ascii_lowercase();
    let last = name.rsplit('.').next().unwrap_or(&name);
    let names = || all().map(|(field, _)| field);
    let mut near: Vec<_> = names().filter(|field| field.starts_with(&name)).collect();
    if near.is_empty() {
        let is_end = |field: &&str| field.strip_suffix(&name).is_some_and(|before| before.ends_with('.'));
        near = names().filter(is_end).collect();
    }
    if near.is_empty() {
        let same_end = |field: &&str| {
            let end = field.rsplit('.').next().unwrap_or(field);
            end == last || end.strip_suffix("_ns") == Some(last) || end.strip_suffix("_code") == Some(last)
        };
        near = names().filter(same_end).collect();
    }
    if near.is_empty() {
        let distance = |field: &str| strsim::damerau_levenshtein(&name, field);
        let mut alike: Vec<_> = names().map(|field| (distance(field), field)).collect();
        alike.sort_unstable();
        near = alike
            .into_iter()
            .filter(|(distance, _)| *distance <= MAX_DISTANCE)
            .map(|(_, field)| field)
            .collect();
    }
    near.truncate(MAX_NEAR);
    near
}

/// More changes than that make another word.
const MAX_DISTANCE: usize = 3;
const MAX_NEAR: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found() {
        assert_eq!(find("http.response.status_code"), Ok(Named::Field(Kind::Number)));
        assert_eq!(find("http.request.header.x-request-id"), Ok(Named::Header));
        assert_eq!(find("http.request.header"), Ok(Named::Field(Kind::Headers)));
        for object in ["http", "http.response", "gannet.tunnel", "url"] {
            assert_eq!(find(object), Ok(Named::Object));
        }
    }

    #[test]
    fn what_may_have_been_meant() {
        for (name, meant) in [
            ("http.response.status", ": did you mean http.response.status_code?"),
            ("status", ": did you mean http.response.status_code?"),
            ("method", ": did you mean http.request.method?"),
            ("url.pth", ": did you mean url.path?"),
            ("timing.total", ": did you mean timing.total_ns?"),
            ("Gannet.State", ": did you mean gannet.state?"),
            ("request.body.size", ": did you mean http.request.body.size?"),
            ("client.addres", ": did you mean client.address?"),
            ("timing.duration", ""),
            ("quux", ""),
        ] {
            assert_eq!(find(name), Err(format!("there is no field {name}{meant}")));
        }
    }
}
