//! The flags that are for outputs in httpry's format.

use std::num::NonZeroU32;

use gannet_http::PortSet;
use gannet_record::fields::Choice;
use gannet_record::{Fields, Methods, name_in_httpry};
use gannet_sink::{Format, HttpryOptions, RateOptions, SinkSpec};

use crate::args::HttpArgs;
use crate::exit::Error;

/// What those outputs show, and which requests.
pub(super) fn options(args: &HttpArgs, sinks: &[SinkSpec]) -> Result<(HttpryOptions, Methods), Error> {
    let is_there = sinks.iter().any(|sink| sink.format == Format::Httpry);
    if args.rates.is_some() && !is_there {
        return Err(Error::usage("--rates is for -o httpry, and no output has that format"));
    }
    if args.rate_threshold.is_some() && args.rates.is_none() {
        return Err(Error::usage("--rate-threshold is for --rates, which is not given"));
    }
    if args.rates.is_some() && !args.fields.is_empty() {
        return Err(Error::usage("--rates shows no fields but the host: leave --fields out"));
    }
    let fields = match args.fields.as_slice() {
        _ if !is_there => Fields::default(),
        [] => Fields::default(),
        list => Fields::new(list).map_err(|error| Error::usage(format!("--fields: {error}")))?,
    };
    if is_there && let Some((name, there)) = args.fields.iter().find_map(|name| of_records(name)) {
        return Err(Error::usage(format!("--fields: {name} is a name of -o jsonl; httpry has {there}")));
    }
    let methods = match args.selection.method.as_slice() {
        [] => Methods::default(),
        list => Methods::new(list).ok_or_else(|| Error::usage("--method: no method in the list"))?,
    };
    let threshold = args.rate_threshold.unwrap_or(DEFAULT_THRESHOLD);
    let rates = args.rates.map(|every| RateOptions { every, threshold });
    Ok((HttpryOptions { fields, rates, limit: None }, methods))
}

/// A name that only records have, and what there is instead. httpry takes any other name for that of a header field.
fn of_records(name: &str) -> Option<(&str, &str)> {
    let is_of_records = name.contains('.') && Choice::new([name]).is_ok();
    is_of_records.then(|| (name, name_in_httpry(name).unwrap_or("nothing like it")))
}

/// What is filtered by if nobody says: as httpry does, as long as nobody else wants other packets.
pub(super) fn default_filter(sinks: &[SinkSpec], has_ports: bool) -> Option<&'static str> {
    let all = !sinks.is_empty() && sinks.iter().all(|sink| sink.format == Format::Httpry);
    (all && !has_ports).then_some(DEFAULT_FILTER)
}

/// The same by ports: what of the filter can be told of frames that filters are not made for, and of a whole datagram.
pub(super) fn default_ports() -> PortSet {
    PortSet::new(vec![80..=80, 8080..=8080])
}

/// httpry's, and the fragments behind a first one, which have no ports: httpry looks at the first alone, we at the
/// whole.
const DEFAULT_FILTER: &str = "tcp port 80 or 8080 or (tcp and ip[6:2] & 0x1fff != 0)";

/// What httpry takes; its manual page says 1.
const DEFAULT_THRESHOLD: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);
