//! The formats.

use gannet_record::FlowFormat;

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
    /// A line for each head, as httpry prints them, or its rates: see [`HttpryOptions`](crate::HttpryOptions).
    Httpry,
    /// Whole messages, heads as they were on the wire.
    Messages {
        /// With colours.
        colour: bool,
    },
    /// A line of values for each flow.
    Flows(FlowFormat),
    /// Nothing: for runs that want only the summary.
    None,
}

impl Format {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Jsonl => "jsonl",
            Self::Httpry => "httpry",
            Self::Messages { .. } => "messages",
            Self::Flows(FlowFormat::Zeek) => "zeek",
            Self::Flows(FlowFormat::Csv) => "csv",
            Self::None => "none",
        }
    }

    /// What stands in front of the first record of a file, whatever is asked for.
    pub(crate) fn header(self, out: &mut Vec<u8>) {
        match self {
            Self::Flows(format) => format.header(out),
            Self::Text { .. } | Self::Jsonl | Self::Messages { .. } | Self::Httpry | Self::None => {}
        }
    }
}
