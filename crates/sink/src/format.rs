//! The formats.

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A line of aligned columns for people.
    Text {
        /// With colours.
        colour: bool,
    },
    /// A JSON object per line.
    Jsonl,
    /// Nothing: for runs that want only the summary.
    None,
}

impl Format {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Jsonl => "jsonl",
            Self::None => "none",
        }
    }
}
