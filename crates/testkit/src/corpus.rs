//! Real captures, and what other tools have found in them.
//!
//! They are not part of the repository: `$GANNET_CORPUS` names their folder, else they are looked for beside the
//! checkout, in `../shared/data`. A test that does not find them says so and passes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The folder with `pcaps` and `expected` in it; `None`, and a word on standard error, if there is none.
pub fn root() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let path = std::env::var_os("GANNET_CORPUS").map_or_else(beside, PathBuf::from);
    if path.join("INDEX.tsv").is_file() {
        return Some(path);
    }
    eprintln!("SKIPPED: no captures at $GANNET_CORPUS or ../shared/data; nothing was compared");
    None
}

/// The text files below a folder whose names end like this: name without that end, contents. In the order of names;
/// what is no text is left out.
pub fn tables(root: &Path, suffix: &str) -> BTreeMap<String, String> {
    let mut tables = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(root).ok().and_then(Path::to_str);
            let name = name.and_then(|name| name.strip_suffix(suffix));
            if let (Some(name), Ok(text)) = (name, std::fs::read_to_string(&path)) {
                tables.insert(name.to_owned(), text);
            }
        }
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_found_by_the_end_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("deep")).unwrap();
        for (name, text) in [("one.tsv", "1"), ("deep/two.http.tsv", "2"), ("three.txt", "3")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let found = |suffix| tables(folder.path(), suffix).into_iter().collect::<Vec<_>>();
        let pair = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        assert_eq!(found(".tsv"), [pair("deep/two.http", "2"), pair("one", "1")]);
        assert_eq!(found(".http.tsv"), [pair("deep/two", "2")]);
        assert_eq!(found(".log"), []);
    }
}
