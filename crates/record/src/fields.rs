//! The registry of the fields of a record: what there is, of which type, in which lines, and what it means. Said
//! once, here.
//!
//! ```text
//!   FIELDS ──┬──► schema: what `gannet http --schema` prints
//!            ├──► the section FIELDS of the manual page
//!            └──► Choice: the fields that `--fields` names, checked against it; the writer asks it what to leave out
//! ```
//!
//! A name has a dot for each object around it, and `[]` behind the name of an array of objects. A test walks records
//! of all kinds and fails if one has a key that is not here, or if one that is here is in none of them.

mod choice;
mod list;
mod schema;
#[cfg(test)]
mod tests;

pub use self::choice::{Choice, NoField};
pub(crate) use self::choice::{Node, below};
pub use self::list::FIELDS;
pub use self::schema::schema;

/// Whether the field with these parts in its name is in records only where bodies are kept: what is said of a body but
/// its size, which is counted in any case.
pub(crate) fn is_of_kept_body(names: &[&str]) -> bool {
    matches!(names, ["http", _, "body", name] if *name != "size")
}

/// A field, or an object of fields.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The unit of a number; empty if there is none.
    pub unit: &'static str,
    /// In which lines it can be.
    pub lines: Lines,
    /// In which lines it is whenever the object around it is.
    pub always: Lines,
    /// In lines of exchanges it may be null.
    pub nullable: bool,
    /// What it means, in words.
    pub about: &'static str,
}

/// Types of fields.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// An object with the fields that are listed under its name.
    Object,
    /// An object whose keys are names of header fields, in lower case, and whose values are arrays of strings.
    Headers,
    /// An array of objects.
    Objects,
    /// A string.
    Text,
    /// A string: RFC 3339, UTC, nine digits behind the full stop.
    Time,
    /// One of a few strings.
    Word(fn() -> Vec<Value>),
    /// An array of such strings.
    Words(fn() -> Vec<Value>),
    /// A whole number from 0 to the largest that it can be.
    Integer(u64),
    /// True or false.
    Boolean,
}

impl Kind {
    /// As the manual page calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Object | Self::Headers => "object",
            Self::Objects | Self::Words(_) => "array",
            Self::Text | Self::Word(_) => "string",
            Self::Time => "time",
            Self::Integer(_) => "integer",
            Self::Boolean => "boolean",
        }
    }

    /// The strings that it can be or have in it; none if there are more than a few.
    pub fn values(self) -> Vec<Value> {
        match self {
            Self::Word(values) | Self::Words(values) => values(),
            _ => Vec::new(),
        }
    }
}

/// A string that a field can be or have in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// As it is in records.
    pub name: String,
    /// What it means, in words; empty where the name says it.
    pub about: &'static str,
}

impl Value {
    /// What values mean, each with all names of that meaning, in their order; nothing of those whose names say it.
    pub fn meanings(values: &[Self]) -> Vec<(String, &'static str)> {
        let mut meanings: Vec<(String, &'static str)> = Vec::new();
        for value in values.iter().filter(|value| !value.about.is_empty()) {
            match meanings.last_mut().filter(|(_, about)| *about == value.about) {
                Some((names, _)) => {
                    names.push_str(", ");
                    names.push_str(&value.name);
                }
                None => meanings.push((value.name.clone(), value.about)),
            }
        }
        meanings
    }
}

/// A set of kinds of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines(u8);

impl Lines {
    /// None.
    pub const NONE: Self = Self(0);
    /// Exchanges: all lines but those of `--events` and `--pending`.
    pub const EXCHANGE: Self = Self(1);
    /// Requests.
    pub const REQUEST: Self = Self(2);
    /// Interim responses.
    pub const INTERIM: Self = Self(4);
    /// Responses.
    pub const RESPONSE: Self = Self(8);
    /// Requests that wait for an answer.
    pub const PENDING: Self = Self(16);
    /// All.
    pub const ALL: Self = Self(31);
    /// Each by itself, with the value of `gannet.event`; exchanges have none.
    pub const EACH: [(Self, Option<&'static str>); 5] = [
        (Self::EXCHANGE, None),
        (Self::REQUEST, Some("request")),
        (Self::INTERIM, Some("interim")),
        (Self::RESPONSE, Some("response")),
        (Self::PENDING, Some("pending")),
    ];

    /// Those of either.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// True if all of `others` are among them.
    pub const fn has(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

/// The field of this name.
pub fn field(name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.name == name)
}
