//! `-F`: a file with an expression or with a list of opcodes.

use std::io::{self, Read};
use std::path::Path;

use gannet_filter::file::without_comments;
use gannet_filter::{Program, opcodes};

use crate::exit::Error;
use crate::units::is_dash;

/// What a filter was given as: words or numbers.
pub(crate) enum Source {
    /// An expression; of a file, without its comments.
    Expression(String),
    /// A program.
    Opcodes(Program),
}

/// Reads the file; `-` is standard input.
pub(crate) fn read(path: &Path) -> Result<Source, Error> {
    let stdin = is_dash(path);
    let name = if stdin { "-F: standard input".to_owned() } else { format!("-F {}", path.display()) };
    let failed = |what: &dyn std::fmt::Display| Error::usage(format!("{name}: {what}"));
    let mut bytes = Vec::new();
    let limit = MAX_BYTES + 1;
    let read = if stdin {
        io::stdin().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    read.map_err(|error| failed(&error))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(failed(&format_args!("more than {MAX_BYTES} bytes is no filter")));
    }
    let text =
        String::from_utf8(bytes).map_err(|_| failed(&"neither an expression nor a list of opcodes"))?;
    if opcodes::is_list(&text) {
        return opcodes::parse(&text).map(Source::Opcodes).map_err(|error| failed(&error));
    }
    Ok(Source::Expression(without_comments(&text)))
}

/// Longer than any filter: a file of this size was given by mistake.
const MAX_BYTES: u64 = 16 << 20;
