//! What tells histograms apart: method, status class, host, route.
//!
//! A key is a text of the four with line feeds between them, written into a buffer and looked up without making
//! another. The first two are of this program's making; neither a host nor a route can hold a line feed here.

use std::fmt::Write;

use gannet_http::{Exchange, Head};

use crate::record::{OTHER_METHOD, known_method};
use crate::route::write_operation;
use crate::url::Url;
use crate::{Routes, wire_text};

/// The parts of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key<'a> {
    /// As OpenTelemetry has it; `-` for responses without a request.
    pub(crate) method: &'a str,
    /// `2xx`; `-` without a response.
    pub(crate) class: &'a str,
    /// The host asked for in small letters and without port, else the server's address.
    pub(crate) host: &'a str,
    pub(crate) route: &'a str,
}

/// How much of an exchange goes into its key: less when there are too many keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    All,
    /// All but the host.
    Route,
    /// All but the route.
    Host,
    /// Neither host nor route: of such keys there are no more than methods times classes.
    Method,
}

impl<'a> Key<'a> {
    /// The parts of what [`write`] wrote.
    pub(crate) fn of(text: &'a str) -> Self {
        let mut parts = text.splitn(4, SEPARATOR);
        let mut next = || parts.next().unwrap_or_default();
        Self { method: next(), class: next(), host: next(), route: next() }
    }

    /// Whether its host is one of those that were not kept apart.
    pub(crate) fn is_of_other_hosts(&self) -> bool {
        self.host == OTHER
    }

    /// Whether its route is one of those that were not kept apart.
    pub(crate) fn is_of_other_routes(&self) -> bool {
        self.route == OTHER
    }
}

/// Writes the key of `exchange` into `out`, over what was there.
pub(crate) fn write(exchange: &Exchange, detail: Detail, routes: &Routes, out: &mut String) {
    out.clear();
    // A method is one of a few here: it must not make keys without end.
    let request = exchange.request.as_ref().map(|request| &request.head);
    let method = request.map(|head| known_method(head.method()).unwrap_or(OTHER_METHOD));
    out.push_str(method.unwrap_or(NONE));
    out.push(SEPARATOR);
    let status = exchange.response.as_ref().and_then(|response| response.head.status());
    out.push_str(class(status));
    out.push(SEPARATOR);
    let url = match detail {
        Detail::All | Detail::Host => request.map(Url::of),
        Detail::Route | Detail::Method => request.map(Url::of_target),
    };
    match (detail, url.and_then(|url| url.host)) {
        (Detail::Route | Detail::Method, _) => out.push_str(OTHER),
        // Longer than names of hosts can be.
        (_, Some(host)) if host.len() > MAX_HOST_BYTES => out.push_str(OTHER),
        (_, Some(host)) => write_host(host, out),
        (_, None) => {
            // Writing to a String cannot fail.
            let _ = write!(out, "{}", exchange.connection.server.address);
        }
    }
    out.push(SEPARATOR);
    match (detail, url.map(|url| url.path)) {
        (Detail::Host | Detail::Method, _) => out.push_str(OTHER),
        (_, Some(Some(path))) => {
            routes.write(&wire_text(path), out);
            if let Some(operation) = request.and_then(Head::operation) {
                write_operation(&wire_text(operation), out);
            }
        }
        (_, Some(None)) => out.push_str("(authority)"),
        (_, None) => out.push_str("(no request)"),
    }
}

/// Names of hosts are the same in capitals (RFC 9110, section 4.2.3).
fn write_host(host: &[u8], out: &mut String) {
    let begin = out.len();
    out.push_str(&wire_text(host));
    if let Some(host) = out.get_mut(begin..) {
        host.make_ascii_lowercase();
    }
}

fn class(status: Option<u16>) -> &'static str {
    status.map_or(NONE, |status| CLASSES.get(usize::from(status / 100)).copied().unwrap_or(OTHER))
}

/// A status has three digits, whatever they are.
const CLASSES: [&str; 10] = ["0xx", "1xx", "2xx", "3xx", "4xx", "5xx", "6xx", "7xx", "8xx", "9xx"];

const SEPARATOR: char = '\n';
const NONE: &str = "-";
/// What hosts and routes are together that are too many to be kept apart.
const OTHER: &str = "(other)";
/// RFC 1035, section 2.3.4: "names 255 octets or less", with the lengths of their labels.
const MAX_HOST_BYTES: usize = 255;
