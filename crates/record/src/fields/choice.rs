//! Some of the fields: what `--fields` names.

use std::fmt;
use std::sync::Arc;

use super::{FIELDS, Kind, is_of_kept_body};

/// Fields that a line shall have in it, as a tree over the parts of their names. Cloning shares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice(Arc<[Node]>);

/// Part of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    name: String,
    /// Nothing is below it: all of it is chosen.
    pub(crate) nodes: Vec<Node>,
}

/// A name that no field has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoField(pub String);

impl fmt::Display for NoField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no record has a field {:?}", self.0)?;
        let last = self.0.rsplit('.').next().unwrap_or_default();
        let like = FIELDS.iter().find(|field| field.name.rsplit('.').next() == Some(last));
        let like = like.filter(|_| !last.is_empty()).map(|field| field.name);
        match crate::httpry::name_in_records(&self.0.to_ascii_lowercase()).or(like) {
            Some(name) => write!(f, "; there is {name}"),
            None => f.write_str("; the manual page lists them"),
        }
    }
}

impl std::error::Error for NoField {}

impl Choice {
    /// The fields of these names. An object stands for all that is in it, and a header field is named behind its
    /// object, as in `http.request.header.host`, in any case.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, NoField> {
        let mut roots = Vec::new();
        for name in names {
            let name = name.trim();
            let whole = resolved(name).ok_or_else(|| NoField(name.to_owned()))?;
            insert(&mut roots, &whole);
        }
        Ok(Self(roots.into()))
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.0
    }

    /// Names of header fields that are chosen by themselves: only what is selected for records can be chosen of them.
    pub fn headers(&self) -> Vec<String> {
        let mut names = Vec::new();
        for http in self.0.iter().filter(|node| node.name == "http") {
            for header in http.nodes.iter().flat_map(|side| &side.nodes).filter(|node| node.name == "header")
            {
                names.extend(header.nodes.iter().map(|node| node.name.clone()));
            }
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// A field that was chosen by itself and that records have of bodies that are kept only.
    pub fn field_of_body(&self) -> Option<String> {
        let http = self.0.iter().filter(|node| node.name == "http");
        for side in http.flat_map(|http| &http.nodes) {
            let fields = side.nodes.iter().flat_map(|part| part.nodes.iter().map(move |field| (part, field)));
            let mut names = fields.map(|(part, field)| ["http", &side.name, &part.name, &field.name]);
            if let Some(names) = names.find(|names| is_of_kept_body(names)) {
                return Some(names.join("."));
            }
        }
        None
    }

    /// Whether the field of the registry, or something in it, is chosen.
    pub(crate) fn has(&self, name: &str) -> bool {
        let mut nodes: &[Node] = &self.0;
        for part in name.split('.') {
            match nodes.iter().find(|node| node.name == part.trim_end_matches("[]")) {
                None => return false,
                Some(node) if node.nodes.is_empty() => return true,
                Some(node) => nodes = &node.nodes,
            }
        }
        true
    }
}

/// What chooses below a part of a name: `None` if it is not chosen, nothing if all of it is.
#[inline]
pub(crate) fn below<'c>(nodes: &'c [Node], name: &str) -> Option<&'c [Node]> {
    nodes.iter().find(|node| node.name == name).map(|node| node.nodes.as_slice())
}

/// The parts of a name of the registry, or of a header field in it.
fn resolved(name: &str) -> Option<Vec<String>> {
    let parts = |name: &str| name.split('.').map(str::to_owned).collect::<Vec<_>>();
    if FIELDS.iter().any(|field| field.name == name && !name.contains("[]")) {
        return Some(parts(name));
    }
    FIELDS.iter().filter(|field| matches!(field.kind, Kind::Headers)).find_map(|field| {
        let header = name.strip_prefix(field.name)?.strip_prefix('.').filter(|header| !header.is_empty())?;
        // A name of a header field may have full stops in it.
        Some(parts(field.name).into_iter().chain([header.to_ascii_lowercase()]).collect())
    })
}

fn insert(nodes: &mut Vec<Node>, parts: &[String]) {
    let Some((first, rest)) = parts.split_first() else {
        // All of what is around it is chosen, and what was chosen of it before is in that.
        nodes.clear();
        return;
    };
    match nodes.iter_mut().find(|node| node.name == *first) {
        Some(node) if node.nodes.is_empty() => {}
        Some(node) => insert(&mut node.nodes, rest),
        None => {
            let mut node = Node { name: first.clone(), nodes: Vec::new() };
            insert(&mut node.nodes, rest);
            nodes.push(node);
        }
    }
}
