//! Which exchanges are reported: by method, host, path, status, duration, or an expression over the record's fields.
//!
//! Each worker asks its own [`Selector`] before anything is made of an exchange: what is not selected is counted, and
//! neither in the records nor in the latencies. Conditions of different kinds all have to hold; of several of one
//! kind, one. Those that cost little are asked first.

mod compile;
mod evaluate;
mod expression;
mod extract;
mod fields;
mod status;
#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::net::IpAddr;

use gannet_http::{Connection, Exchange, Head};
use globset::{GlobBuilder, GlobMatcher};

use self::expression::Scratch;
pub use self::expression::{Expression, ExpressionError};
pub use self::status::StatusSet;
use crate::record::started;
use crate::url::Url;
use crate::{HeaderSelection, Record, RecordOptions, wire_text};

/// What is selected; the default selects everything.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Any of these methods, in whatever case.
    pub methods: Vec<String>,
    /// Any of these hosts.
    pub hosts: Vec<Glob>,
    /// Any of these paths.
    pub paths: Vec<Glob>,
    /// A status of these.
    pub statuses: Option<StatusSet>,
    /// Longer than so many nanoseconds, see [`Selector::selects`].
    pub slower_ns: Option<u64>,
    /// What else holds.
    pub expression: Option<Expression>,
}

/// A pattern: `*` for any characters, `?` for one, `[a-z]` for one of these, `{a,b}` for either.
#[derive(Clone, Debug)]
pub struct Glob {
    matcher: GlobMatcher,
}

/// A condition, as the command line calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of `Selection` say it")]
pub enum Condition {
    Method,
    Host,
    Path,
    Status,
    Slower,
    Where,
}

impl Glob {
    /// For hosts, whose names are the same in capitals. One with a port, a path or a scheme, which would fit nothing,
    /// is refused.
    pub fn of_host(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err(
                "it is empty: write a host or a pattern, such as shop.example or *.example".to_owned()
            );
        }
        if let Some((_, rest)) = text.split_once("://") {
            return Err(match parts_of_url(rest) {
                (host, "/") => format!("hosts are no URLs: write {host}"),
                (host, path) => format!("hosts are no URLs: write --host {host} --path {path}"),
            });
        }
        if text.contains('/') {
            let (host, path) = parts_of_url(text);
            return Err(format!("hosts are without a path here: write --host {host} --path {path}"));
        }
        // An IPv6 address has more colons.
        match text.split_once(':') {
            Some(("", port)) if !port.contains(':') => {
                Err(format!("ports are no hosts: --ports {port}, or server.port in --where"))
            }
            Some((host, port)) if !port.contains(':') => {
                Err(format!("hosts are without their port here: {host} (the port is server.port in --where)"))
            }
            _ => Self::new(text, true),
        }
    }

    /// For paths. `*` stands for slashes, too. One that begins with a letter, which would fit nothing, is refused.
    pub fn of_path(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("it is empty: write a path or a pattern, such as / or /api/*".to_owned());
        }
        if let Some((scheme, rest)) = text.split_once("://")
            && scheme.bytes().all(|byte| byte.is_ascii_alphabetic())
        {
            let (host, path) = parts_of_url(rest);
            return Err(format!("paths are no URLs: write --host {host} --path {path}"));
        }
        if !text.starts_with(['/', '*', '?', '[', '{']) {
            return Err(format!("paths begin with a slash: /{text}, or */{text} for one that ends so"));
        }
        Self::new(text, false)
    }

    fn new(text: &str, any_case: bool) -> Result<Self, String> {
        let glob = GlobBuilder::new(text).case_insensitive(any_case).literal_separator(false).build();
        glob.map(|glob| Self { matcher: glob.compile_matcher() }).map_err(|error| error.to_string())
    }

    fn fits(&self, text: &str) -> bool {
        self.matcher.is_match(text)
    }
}

/// Host, without its port, and path of what stands behind a URL's scheme.
fn parts_of_url(rest: &str) -> (&str, &str) {
    let (authority, path) = rest.find(['/', '?', '#']).map_or((rest, "/"), |at| rest.split_at(at));
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // An IPv6 address stands in brackets.
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => authority.split(':').next().unwrap_or(authority),
    };
    let path = path.split(['?', '#']).next().unwrap_or(path);
    (host, if path.is_empty() { "/" } else { path })
}

impl Selection {
    /// The conditions there are.
    pub fn conditions(&self) -> Vec<Condition> {
        let all = [
            (!self.methods.is_empty(), Condition::Method),
            (!self.hosts.is_empty(), Condition::Host),
            (!self.paths.is_empty(), Condition::Path),
            (self.statuses.is_some(), Condition::Status),
            (self.slower_ns.is_some(), Condition::Slower),
            (self.expression.is_some(), Condition::Where),
        ];
        all.into_iter().filter(|(there, _)| *there).map(|(_, condition)| condition).collect()
    }
}

impl Condition {
    /// Its flag.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Method => "--method",
            Self::Host => "--host",
            Self::Path => "--path",
            Self::Status => "--status",
            Self::Slower => "--slower",
            Self::Where => "--where",
        }
    }

    /// Whether a request is enough to know if it holds.
    pub fn is_of_request(self) -> bool {
        match self {
            Self::Method | Self::Host | Self::Path => true,
            Self::Status | Self::Slower | Self::Where => false,
        }
    }
}

/// Says of each exchange whether it is selected. One for each worker.
pub struct Selector {
    selection: Selection,
    options: RecordOptions,
    scratch: Scratch,
    /// Where an address is written that stands for a host.
    text: String,
}

impl Selector {
    /// For `selection`; an expression sees records as `options` have them, with every header field that it asks for.
    /// `None` if everything is selected.
    pub fn new(selection: Selection, options: RecordOptions) -> Option<Self> {
        if selection.conditions().is_empty() {
            return None;
        }
        let headers = selection.expression.as_ref().map(|expression| expression.headers().to_vec());
        Some(Self {
            options: RecordOptions {
                headers: HeaderSelection::named(headers.unwrap_or_default()),
                fields: None,
                ..options
            },
            selection,
            scratch: Scratch::default(),
            text: String::new(),
        })
    }

    /// Whether an exchange is selected.
    ///
    /// How long it took is `timing.total`; where that is not known, the time from its first byte until it was given
    /// up, which for a request without an answer is how long that has been waited for.
    pub fn selects(&mut self, exchange: &Exchange) -> bool {
        let Selection { statuses, slower_ns, .. } = &self.selection;
        if let Some(statuses) = statuses {
            let status = exchange.response.as_ref().and_then(|response| response.head.status());
            if !statuses.contains(status) {
                return false;
            }
        }
        if let Some(slower_ns) = slower_ns
            && duration(exchange).is_none_or(|nanos| nanos <= *slower_ns)
        {
            return false;
        }
        let request = exchange.request.as_ref().map(|request| &request.head);
        if !self.fits_request(exchange.connection.server.address, request) {
            return false;
        }
        match &self.selection.expression {
            Some(expression) => expression.holds(&Record::new(exchange, &self.options), &mut self.scratch),
            None => true,
        }
    }

    /// The same of a request that has no answer yet, or of a response to it, as far as the request tells. `request`
    /// is `None` for a response of which it is not known what it answers.
    pub fn selects_request(&mut self, connection: &Connection, request: Option<&Head>) -> bool {
        self.fits_request(connection.server.address, request)
    }

    fn fits_request(&mut self, server: IpAddr, request: Option<&Head>) -> bool {
        let Selection { methods, hosts, paths, .. } = &self.selection;
        if !methods.is_empty() {
            let Some(request) = request else { return false };
            if !methods.iter().any(|method| request.method().eq_ignore_ascii_case(method.as_bytes())) {
                return false;
            }
        }
        if !paths.is_empty() {
            let Some(path) = request.and_then(|request| Url::of_target(request).path) else { return false };
            let path = wire_text(path);
            if !paths.iter().any(|glob| glob.fits(&path)) {
                return false;
            }
        }
        if hosts.is_empty() {
            return true;
        }
        match request.and_then(|request| Url::of(request).host) {
            Some(host) => {
                let host = wire_text(host);
                hosts.iter().any(|glob| glob.fits(&host))
            }
            None => {
                self.text.clear();
                // Writing to a String cannot fail.
                let _ = write!(self.text, "{server}");
                hosts.iter().any(|glob| glob.fits(&self.text))
            }
        }
    }
}

/// How long an exchange took, or has taken until it was given up; `None` without a request, whose beginning nobody saw.
fn duration(exchange: &Exchange) -> Option<u64> {
    exchange.request.as_ref()?;
    let so_far = || exchange.completed.time.0.saturating_sub(started(exchange).0);
    Some(exchange.timing.total.unwrap_or_else(so_far))
}
