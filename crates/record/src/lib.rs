//! What is reported: the record of an exchange, the route it belongs to, latency histograms and their summary.
//!
//! ```text
//!               ┌─► Record ── serde ──► a line of jsonl; other outputs ask for its parts
//!   Exchange ───┤     └─ Url (parts of the target), Routes (template of the path), masking of credentials
//!               └─► Latencies (one per worker) ── merge ─┬─► Summary: the table by route, host, class of status
//!                                                        └─► an HdrHistogram log
//! ```
//!
//! No I/O here: records are written by whoever has an output (`gannet-sink`), histograms are filled by the workers,
//! each its own, and merged at the end.
#![forbid(unsafe_code)]

mod decimal;
pub mod fields;
mod flow;
mod histogram_log;
mod httpry;
mod interfaces;
mod json;
mod latency;
mod locator;
mod names;
mod record;
mod redact;
mod route;
#[cfg(test)]
mod sample;
mod selection;
mod sheet;
mod short;
mod summary;
mod text;
mod time;
mod traffic;
mod url;
mod verbatim;
mod words;

pub use flow::{FlowEnd, FlowFormat, Service};
pub use httpry::name_in_httpry;
pub use httpry::{
    DEFAULT_METHODS, Fields, HeadTexts, LocalTime, Methods, NoFields, Rates, RawHead, Sent,
    write_comments as write_httpry_comments,
};
pub use interfaces::Interfaces;
pub use latency::{Latencies, MAX_KEYS};
pub use locator::{Locator, NoLocator};
pub use record::{EventRecord, HeaderSelection, Record, RecordOptions};
pub use redact::SECRET_KEYS;
pub use route::Routes;
pub use selection::{Condition, Expression, ExpressionError, Glob, Selection, Selector, StatusSet};
pub use summary::{Figures, GroupRow, LeftOut, OtherKeys, Scale, Summary, SummaryRow};
pub use text::{columns, counted, plural, printable, shortened, wire_text, write_address, write_rounded};
pub use time::ShortDuration;
pub use traffic::{Traffic, TrafficRow, TrafficSummary, TrafficTable};
pub use verbatim::{masked_head, masked_trailers};
