//! From the flags that select exchanges to a [`Selection`].

use gannet_record::{Condition, Expression, Selection};
use gannet_sink::{EventKind, SinkSpec};

use crate::args::SelectionArgs;
use crate::exit::Error;

/// What is selected.
pub(super) fn selection(args: &SelectionArgs) -> Result<Selection, Error> {
    let methods: Vec<_> = args.method.iter().filter(|method| !method.is_empty()).cloned().collect();
    if methods.is_empty() && !args.method.is_empty() {
        return Err(Error::usage("--method: the list is empty: write methods, such as get,post"));
    }
    let expression = args.r#where.as_deref().map(Expression::new).transpose();
    Ok(Selection {
        methods,
        hosts: args.host.clone(),
        paths: args.path.clone(),
        statuses: args.status.clone(),
        slower_ns: args.slower.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
        expression: expression.map_err(|error| Error::usage(format!("--where: {error}")))?,
    })
}

/// Whether some of the conditions are about whole exchanges: a request or a response does not tell yet if they hold.
pub(super) fn needs_exchanges(args: &SelectionArgs) -> bool {
    args.status.is_some() || args.slower.is_some() || args.r#where.is_some()
}

/// Whether a condition looks into bodies.
pub(super) fn needs_bodies(args: &SelectionArgs) -> bool {
    let expression = args.r#where.as_deref().map(Expression::new);
    expression.is_some_and(|found| found.is_ok_and(|expression| expression.field_of_body().is_some()))
}

/// Refuses conditions on bodies where none are kept: they would hold for nothing.
pub(super) fn refuse_bodies_not_kept(selection: &Selection) -> Result<(), Error> {
    match selection.expression.as_ref().and_then(Expression::field_of_body) {
        Some(field) => Err(Error::usage(format!(
            "--where: {field} is of bodies, which are kept with --body only: add --body SIZE, such as --body 64KiB"
        ))),
        None => Ok(()),
    }
}

/// Refuses conditions that only an exchange can meet where an output is told of requests and responses before that.
pub(super) fn refuse_early_events(selection: &Selection, sinks: &[SinkSpec]) -> Result<(), Error> {
    let early =
        EVENTS_BEFORE_EXCHANGES.into_iter().find(|&kind| sinks.iter().any(|sink| sink.events.contains(kind)));
    // Heads as httpry sees them belong to no exchange; its own rule for methods is applied where they are found.
    let raw = sinks.iter().any(|sink| sink.events.contains(EventKind::RawHead));
    let other = selection.conditions().into_iter().find(|condition| *condition != Condition::Method);
    if let (true, Some(condition)) = (raw, other) {
        let flag = condition.flag();
        let text = format!(
            "{flag} selects exchanges, and -o httpry shows what is in packets: a filter selects those"
        );
        return Err(Error::usage(text));
    }
    match selection.conditions().into_iter().find(|condition| !condition.is_of_request()) {
        Some(condition) => {
            let early = match early {
                None => return Ok(()),
                Some(EventKind::Pending) => {
                    "--pending tells of requests before they are: leave one of the two out"
                }
                Some(_) => {
                    "an output wants requests or responses before they are: --events exchange reports them when they \
                     are over"
                }
            };
            let flag = condition.flag();
            let text = format!(
                "{flag} is about whole exchanges, and {early}; --method, --host and --path select requests at once"
            );
            Err(Error::usage(text))
        }
        None => Ok(()),
    }
}

/// What is told while its exchange goes on.
const EVENTS_BEFORE_EXCHANGES: [EventKind; 6] = [
    EventKind::RequestHead,
    EventKind::InterimHead,
    EventKind::ResponseHead,
    EventKind::Request,
    EventKind::Response,
    EventKind::Pending,
];

#[cfg(test)]
mod tests {
    use gannet_sink::{EventKinds, Format, Target};

    use super::*;

    fn sink(events: EventKinds) -> SinkSpec {
        SinkSpec { format: Format::Jsonl, target: Target::Stdout, events }
    }

    #[test]
    fn whole_exchanges_are_not_known_early() {
        let of_request = Selection { methods: vec!["GET".into()], ..Selection::default() };
        let of_exchange = Selection { slower_ns: Some(1), ..of_request.clone() };
        let exchanges = [sink(EventKinds::EXCHANGES)];
        for kind in EVENTS_BEFORE_EXCHANGES {
            let early = [sink(EventKinds::EXCHANGES), sink(EventKinds::NONE.with(kind))];
            assert!(refuse_early_events(&of_request, &early).is_ok());
            let error = refuse_early_events(&of_exchange, &early).unwrap_err();
            assert_eq!(error.exit, crate::exit::Exit::Usage);
            let said = error.cause.to_string();
            assert!(said.starts_with("--slower is about whole exchanges"));
            assert_eq!(said.contains("--pending"), kind == EventKind::Pending, "{said}");
        }
        assert!(refuse_early_events(&of_exchange, &exchanges).is_ok());
        let raw = [sink(EventKinds::NONE.with(EventKind::RawHead))];
        assert!(refuse_early_events(&of_request, &raw).is_ok());
        assert!(refuse_early_events(&of_exchange, &raw).is_err());
    }
}
