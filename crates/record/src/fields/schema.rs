//! The schema of records: JSON Schema, draft 2020-12, made from the registry.

use std::fmt::Write;

use super::{Choice, FIELDS, Field, Kind, Lines, Value};

/// The schema of a line of `jsonl`, itself a JSON text of several lines: of all lines, or of those with the fields of
/// `choice` in them. Every whole line is of exactly one of the kinds that it lists, and no line has a key that is not
/// in it.
pub fn schema(choice: Option<&Choice>) -> String {
    let mut out = Out { text: String::new(), depth: 0 };
    out.open('{');
    out.pair("$schema", "https://json-schema.org/draft/2020-12/schema");
    out.pair("title", "A line of gannet http -o jsonl");
    out.pair(
        "description",
        "An exchange, or an event of --events or --pending, whose kind is gannet.event. Times are nanoseconds since 1970 or RFC 3339 in UTC.",
    );
    // What tells the kinds of lines apart may not have been chosen.
    out.key(if choice.is_none() { "oneOf" } else { "anyOf" });
    out.open('[');
    for (line, event) in Lines::EACH {
        out.item();
        out.open('{');
        out.pair("title", event.unwrap_or("exchange"));
        members(&mut out, "", line, event, choice);
        out.close('}');
    }
    out.close(']');
    out.close('}');
    out.text.push('\n');
    out.text
}

/// What says that it is an object with the fields under `prefix`.
fn members(out: &mut Out, prefix: &str, line: Lines, event: Option<&str>, choice: Option<&Choice>) {
    let fields = || {
        let inside = FIELDS.iter().filter_map(|field| Some((field, field.name.strip_prefix(prefix)?)));
        let own = inside.filter(|(_, name)| !name.contains('.'));
        own.filter(|(field, _)| field.lines.has(line) && choice.is_none_or(|choice| choice.has(field.name)))
    };
    out.pair("type", "object");
    out.key("properties");
    out.open('{');
    for (field, name) in fields() {
        out.key(name);
        out.open('{');
        value(out, field, line, event, choice);
        out.close('}');
    }
    out.close('}');
    // What is around a chosen field may be absent, and what is left of an object may be nothing.
    let always: Vec<_> = fields()
        .filter(|(field, _)| field.always.has(line) && choice.is_none())
        .map(|(_, name)| name)
        .collect();
    if !always.is_empty() {
        out.strings("required", always.into_iter());
    }
    out.key("additionalProperties");
    out.raw("false");
}

/// What says of which type a field is.
fn value(out: &mut Out, field: &Field, line: Lines, event: Option<&str>, choice: Option<&Choice>) {
    let mut about = match field.unit {
        "" => field.about.to_owned(),
        unit => format!("{} ({unit})", field.about),
    };
    let values = field.kind.values();
    for (names, meaning) in Value::meanings(&values) {
        // Writing to a String cannot fail.
        let _ = write!(about, "; {names}: {meaning}");
    }
    let names = values.iter().map(|value| value.name.as_str());
    out.pair("description", &about);
    match field.kind {
        Kind::Object => members(out, &format!("{}.", field.name), line, event, choice),
        Kind::Objects => {
            out.pair("type", "array");
            out.key("items");
            out.open('{');
            // All or nothing can be chosen of an array.
            members(out, &format!("{}[].", field.name), line, event, None);
            out.close('}');
        }
        Kind::Headers => {
            out.pair("type", "object");
            out.key("additionalProperties");
            out.raw(r#"{"type": "array", "items": {"type": "string"}, "minItems": 1}"#);
        }
        Kind::Text => out.pair("type", "string"),
        Kind::Time => {
            out.pair("type", "string");
            out.pair("format", "date-time");
        }
        Kind::Word(_) if field.name == "gannet.event" => out.pair("const", event.unwrap_or_default()),
        Kind::Word(_) => out.strings("enum", names),
        Kind::Words(_) => {
            out.pair("type", "array");
            out.key("items");
            out.open('{');
            out.strings("enum", names);
            out.close('}');
            out.key("uniqueItems");
            out.raw("true");
        }
        Kind::Integer(max) => {
            if field.nullable && line == Lines::EXCHANGE {
                out.strings("type", ["integer", "null"].into_iter());
            } else {
                out.pair("type", "integer");
            }
            out.key("minimum");
            out.raw("0");
            // Whoever reads numbers as doubles rounds the largest up: it is no bound to check against.
            if max <= u64::from(u32::MAX) {
                out.key("maximum");
                out.raw(&max.to_string());
            }
        }
        Kind::Boolean => out.pair("type", "boolean"),
    }
}

/// JSON with line breaks.
struct Out {
    text: String,
    depth: usize,
}

impl Out {
    fn open(&mut self, bracket: char) {
        self.text.push(bracket);
        self.depth += 1;
    }

    fn close(&mut self, bracket: char) {
        self.depth -= 1;
        self.line();
        self.text.push(bracket);
    }

    fn line(&mut self) {
        self.text.push('\n');
        self.text.extend(std::iter::repeat_n(' ', 2 * self.depth));
    }

    /// Before each member of an object or array.
    fn item(&mut self) {
        if !self.text.ends_with(['{', '[']) {
            self.text.push(',');
        }
        self.line();
    }

    fn key(&mut self, key: &str) {
        self.item();
        self.string(key);
        self.text.push_str(": ");
    }

    fn raw(&mut self, json: &str) {
        self.text.push_str(json);
    }

    fn pair(&mut self, key: &str, value: &str) {
        self.key(key);
        self.string(value);
    }

    fn strings<'s>(&mut self, key: &str, values: impl Iterator<Item = &'s str>) {
        self.key(key);
        self.text.push('[');
        for (at, value) in values.enumerate() {
            if at > 0 {
                self.text.push_str(", ");
            }
            self.string(value);
        }
        self.text.push(']');
    }

    /// Words of the program: all that can need an escape is a quotation mark or a backslash.
    fn string(&mut self, text: &str) {
        let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
        // Writing to a String cannot fail.
        let _ = write!(self.text, "\"{escaped}\"");
    }
}
