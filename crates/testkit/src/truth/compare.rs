//! Records against the truth, as multisets.
//!
//! What is compared is every leaf that any record of the truth has (`url.query`, `http.request.header.host`, ...);
//! what else the records say is not looked at. So a value where the truth has none is a difference, too, if the truth
//! knows the leaf at all. `null` and absent are the same: whoever reads JSON sees no difference.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::{self, BufRead};

use serde_json::Value;

/// A record that differs from the truth, or has no counterpart there, or the other way round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The truth at this line has no record.
    Missing {
        /// Line in the truth, from 1.
        truth_line: u64,
        /// What it is about.
        about: String,
    },
    /// The record at this line is not in the truth.
    Surplus {
        /// Line in the records, from 1.
        record_line: u64,
        /// What it is about.
        about: String,
    },
    /// The two belong together and differ.
    Fields {
        /// Line in the truth, from 1.
        truth_line: u64,
        /// Line in the records, from 1.
        record_line: u64,
        /// What they are about.
        about: String,
        /// The leaf, its value in the truth, its value in the record.
        fields: Vec<(String, String, String)>,
    },
}

/// What [`check`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Lines of the truth.
    pub truth: u64,
    /// Lines of the records.
    pub records: u64,
    /// Records that are equal to a line of the truth of their own.
    pub equal: u64,
    /// All differences, in the order of the truth; surplus records last.
    pub differences: Vec<Difference>,
}

impl Outcome {
    /// How many of the differing records differ in each leaf, most frequent first.
    pub fn by_field(&self) -> Vec<(String, u64)> {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for difference in &self.differences {
            if let Difference::Fields { fields, .. } = difference {
                for (field, _, _) in fields {
                    *counts.entry(field).or_default() += 1;
                }
            }
        }
        let mut counts: Vec<_> = counts.into_iter().map(|(field, count)| (field.to_owned(), count)).collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }
}

/// Compares the lines of `records` with those of `truth`; the order of lines plays no part.
///
/// # Errors
/// Reading fails, or a line is not JSON (`InvalidData`, with its number).
pub fn check(truth: impl BufRead, records: impl BufRead) -> io::Result<Outcome> {
    let mut known = HashSet::new();
    let truth = read(truth, "truth", |leaf| {
        if !known.contains(leaf) {
            known.insert(leaf.to_owned());
        }
        true
    })?;
    let records = read(records, "records", |leaf| known.contains(leaf))?;

    let mut outcome =
        Outcome { truth: truth.len() as u64, records: records.len() as u64, ..Outcome::default() };
    let mut open: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, record) in records.iter().enumerate().rev() {
        open.entry(record).or_default().push(index);
    }
    let mut unmatched = Vec::new();
    for (index, record) in truth.iter().enumerate() {
        match open.get_mut(record.as_str()).and_then(Vec::pop) {
            Some(_) => outcome.equal += 1,
            None => unmatched.push(index),
        }
    }
    let surplus: BTreeSet<usize> = open.into_values().flatten().collect();
    let truth = unmatched.into_iter().map(|index| (index, leaves(&truth[index]))).collect();
    let records = surplus.into_iter().map(|index| (index, leaves(&records[index]))).collect();
    pair(&truth, records, &mut outcome.differences);
    Ok(outcome)
}

/// Finds for each line of the truth the record that is most likely meant for it, and says how they differ.
fn pair(
    truth: &BTreeMap<usize, Leaves<'_>>,
    mut records: BTreeMap<usize, Leaves<'_>>,
    out: &mut Vec<Difference>,
) {
    let mut found = BTreeMap::new();
    for key in PAIRING {
        let values = |leaves: &Leaves<'_>| key.map(|leaf| leaves.get(leaf).map(|value| (*value).to_owned()));
        let mut candidates: HashMap<_, Vec<usize>> = HashMap::new();
        for (index, leaves) in records.iter().rev() {
            candidates.entry(values(leaves)).or_default().push(*index);
        }
        for (index, leaves) in truth {
            if found.contains_key(index) {
                continue;
            }
            let Some(record) = candidates.get_mut(&values(leaves)).and_then(Vec::pop) else { continue };
            if let Some(leaves) = records.remove(&record) {
                found.insert(*index, (record, leaves));
            }
        }
    }
    for (index, leaves) in truth {
        let truth_line = *index as u64 + 1;
        let Some((record, theirs)) = found.get(index) else {
            out.push(Difference::Missing { truth_line, about: about(leaves) });
            continue;
        };
        let names: BTreeSet<&str> = leaves.keys().chain(theirs.keys()).copied().collect();
        let value = |leaves: &Leaves<'_>, name| leaves.get(name).map_or("nothing", |value| value).to_owned();
        let fields = names
            .into_iter()
            .filter(|name| leaves.get(name) != theirs.get(name))
            .map(|name| (name.to_owned(), value(leaves, name), value(theirs, name)))
            .collect();
        let record_line = *record as u64 + 1;
        out.push(Difference::Fields { truth_line, record_line, about: about(leaves), fields });
    }
    let surplus = records.iter();
    out.extend(
        surplus.map(|(index, leaves)| Difference::Surplus {
            record_line: *index as u64 + 1,
            about: about(leaves),
        }),
    );
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing { truth_line, about } => write!(f, "truth:{truth_line}: no record of {about}"),
            Self::Surplus { record_line, about } => {
                write!(f, "records:{record_line}: not in the truth: {about}")
            }
            Self::Fields { truth_line, record_line, about, fields } => {
                write!(f, "truth:{truth_line} records:{record_line}: {about}")?;
                fields.iter().try_for_each(|(field, truth, record)| {
                    write!(f, "\n    {field}: truth {truth}, record {record}")
                })
            }
        }
    }
}

/// A record by its leaves: dotted name and JSON text. Arrays are leaves.
type Leaves<'a> = BTreeMap<&'a str, &'a str>;

/// What records are paired by when they differ: the first that finds one.
const PAIRING: [[&str; 5]; 4] = [
    ["timestamp", "client.address", "client.port", "url.path", "url.query"],
    ["timestamp", "client.address", "client.port", "", ""],
    ["client.address", "client.port", "http.request.method", "url.path", "url.query"],
    ["timestamp", "url.path", "url.query", "", ""],
];

/// Each record as one text, a line per leaf that is `wanted`, in the order of their names: equal records are equal
/// texts, and a hundred thousand of them fit into memory. JSON text has neither line breaks nor tabs in it.
fn read(lines: impl BufRead, what: &str, mut wanted: impl FnMut(&str) -> bool) -> io::Result<Vec<String>> {
    let mut all = Vec::new();
    for (index, line) in lines.lines().enumerate() {
        let value: Value = serde_json::from_str(&line?).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{what}, line {}: {error}", index + 1))
        })?;
        let mut leaves = Vec::new();
        flatten(&mut String::new(), &value, &mut |name, value| {
            if wanted(name) {
                leaves.push(format!("{name}\t{value}\n"));
            }
        });
        leaves.sort_unstable();
        all.push(leaves.concat());
    }
    Ok(all)
}

fn leaves(record: &str) -> Leaves<'_> {
    record.lines().filter_map(|line| line.split_once('\t')).collect()
}

fn flatten(name: &mut String, value: &Value, out: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Null => {}
        Value::Object(members) => {
            for (member, value) in members {
                let len = name.len();
                if len > 0 {
                    name.push('.');
                }
                name.push_str(member);
                flatten(name, value, out);
                name.truncate(len);
            }
        }
        leaf => out(name, leaf),
    }
}

fn about(leaves: &Leaves<'_>) -> String {
    let value = |leaf: &str| leaves.get(leaf).map_or("-", |value| value.trim_matches('"'));
    let query =
        leaves.get("url.query").map_or_else(String::new, |query| format!("?{}", query.trim_matches('"')));
    format!(
        "{} {}:{} {} {}{query}",
        value("timestamp"),
        value("client.address"),
        value("client.port"),
        value("http.request.method"),
        value("url.path"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUTH: &str = concat!(
        r#"{"timestamp":"1","url":{"path":"/a","query":"x"},"client":{"port":1},"timing":{"connect_ns":7}}"#,
        "\n",
        r#"{"timestamp":"2","url":{"path":"/b"},"client":{"port":1},"timing":{"connect_ns":null}}"#,
        "\n",
    );

    fn differences(records: &str) -> Vec<Difference> {
        check(TRUTH.as_bytes(), records.as_bytes()).unwrap().differences
    }

    #[test]
    fn order_surplus_names_and_null_play_no_part() {
        let records = concat!(
            r#"{"timestamp":"2","url":{"path":"/b","query":null},"client":{"port":1},"more":{"id":1}}"#,
            "\n",
            r#"{"client":{"port":1},"timing":{"connect_ns":7},"timestamp":"1","url":{"query":"x","path":"/a"}}"#,
            "\n",
        );
        let outcome = check(TRUTH.as_bytes(), records.as_bytes()).unwrap();
        assert_eq!((outcome.equal, outcome.differences), (2, Vec::new()));
    }

    #[test]
    fn each_kind_of_difference_is_told() {
        let first = TRUTH.lines().next().unwrap();
        let second = TRUTH.lines().nth(1).unwrap();
        let changed = second.replace(r#""connect_ns":null"#, r#""connect_ns":3"#);
        let told = differences(&format!("{first}\n{changed}\n"));
        let fields = vec![("timing.connect_ns".to_owned(), "nothing".to_owned(), "3".to_owned())];
        let about = "2 -:1 - /b".to_owned();
        assert_eq!(told, [Difference::Fields { truth_line: 2, record_line: 2, about, fields }]);

        let told = differences(&format!("{first}\n"));
        assert!(matches!(told[..], [Difference::Missing { truth_line: 2, .. }]), "{told:?}");

        // Multisets: the same record twice is one too many.
        let told = differences(&format!("{first}\n{second}\n{first}\n"));
        assert!(matches!(told[..], [Difference::Surplus { record_line: 3, .. }]), "{told:?}");
        assert_eq!(told[0].to_string(), "records:3: not in the truth: 1 -:1 - /a?x");
    }

    #[test]
    fn fields_are_counted() {
        let records = TRUTH.replace(r#""port":1"#, r#""port":2"#);
        let outcome = check(TRUTH.as_bytes(), records.as_bytes()).unwrap();
        assert_eq!(outcome.by_field(), [("client.port".to_owned(), 2)]);
        assert_eq!((outcome.truth, outcome.records, outcome.equal), (2, 2, 0));
    }

    #[test]
    fn a_line_that_is_no_json_is_named() {
        let error = check(TRUTH.as_bytes(), &b"{}\n{\n"[..]).unwrap_err().to_string();
        assert!(error.starts_with("records, line 2: "), "{error}");
    }
}
