//! What the report says of HTTP: exchanges by state, what was seen beside them, and, where there are none, why that
//! may be.

use std::fmt;
use std::time::Duration;

use gannet_record::{ShortDuration, counted, printable};
use gannet_sink::EventKind;

use super::{Analysed, AnalysisLedger, Report};

/// Writes it, each line behind a line end.
pub(super) fn write(f: &mut fmt::Formatter<'_>, analysis: &AnalysisLedger, report: &Report) -> fmt::Result {
    let http = &analysis.http;
    let states = [
        (http.complete, "complete"),
        (http.truncated, "truncated"),
        (http.gap, "with a gap"),
        (http.orphan_requests, "without an answer"),
        (http.orphan_responses, "without a request"),
        (http.aborted, "aborted"),
        (http.exchanges_midstream, "begun before the capture"),
    ];
    write!(f, "\n{} on {}", counted(http.exchanges, "HTTP exchange"), counted(http.http1, "connection"))?;
    if http.exchanges != 0 {
        let states = states.into_iter().filter(|(count, _)| *count != 0);
        let states: Vec<_> = states.map(|(count, words)| format!("{count} {words}")).collect();
        write!(f, ": {}", states.join(", "))?;
    }
    selected(f, analysis, report)?;
    if report.pending_after.is_some() || http.pending_reported != 0 {
        pending(f, analysis, report.pending_after)?;
    }
    if http.bodies_cut != 0 {
        let bodies = if http.bodies_cut == 1 { "body was" } else { "bodies were" };
        write!(f, "\n{} {bodies} cut, because too much was kept of others", http.bodies_cut)?;
    }
    let refused: u64 = report.ledger.sinks.iter().map(|sink| sink.bodies_refused).sum();
    if refused != 0 {
        let bodies = if refused == 1 { "body was" } else { "bodies were" };
        write!(f, "\n{refused} {bodies} not decompressed to the end: a bomb, or too many codings")?;
    }
    let beyond: u64 = report.ledger.sinks.iter().map(|sink| sink.hosts_beyond).sum();
    if beyond != 0 {
        let messages = if beyond == 1 { "message counts" } else { "messages count" };
        write!(f, "\n{beyond} {messages} in the total of the rates alone, as there were too many hosts")?;
    }
    notes(f, analysis, report)?;
    if let Some(unused @ [_, ..]) = report.http.as_ref().map(|http| http.unused_routes.as_slice()) {
        write!(f, "\nno path fitted --route {}", unused.join(", "))?;
    }
    if http.exchanges == 0 { why_none(f, analysis, report) } else { Ok(()) }
}

/// How many exchanges met the conditions, if there are any.
fn selected(f: &mut fmt::Formatter<'_>, analysis: &AnalysisLedger, report: &Report) -> fmt::Result {
    let conditions = report.http.as_ref().map_or(&[][..], |http| &http.conditions);
    if conditions.is_empty() || analysis.http.exchanges == 0 {
        return Ok(());
    }
    let flags = conditions.iter().map(|condition| condition.flag()).collect::<Vec<_>>().join(", ");
    let not_selected = analysis.not_selected[EventKind::Exchange as usize];
    match analysis.events(EventKind::Exchange) {
        0 => write!(f, "\nnone of them was selected by {flags}"),
        selected => write!(f, "\n{selected} selected by {flags}, {not_selected} not"),
    }
}

/// Requests that waited for longer than `after`; `None`: a report of a run that goes on does not know it.
fn pending(f: &mut fmt::Formatter<'_>, analysis: &AnalysisLedger, after: Option<Duration>) -> fmt::Result {
    let http = &analysis.http;
    write!(f, "\n{} had to wait longer than ", counted(http.pending_reported, "request"))?;
    match after.map(|after| u64::try_from(after.as_nanos()).unwrap_or(u64::MAX)) {
        Some(nanos) => write!(f, "{}", ShortDuration { nanos })?,
        None => f.write_str("the time of --pending")?,
    }
    f.write_str(" for an answer")?;
    match http.pending_unwatched {
        0 => Ok(()),
        count => write!(f, "; {} not watched, because too many waited", counted(count, "request")),
    }
}

/// What was seen and is no exchange.
fn notes(f: &mut fmt::Formatter<'_>, analysis: &AnalysisLedger, report: &Report) -> fmt::Result {
    let (http, flows) = (&analysis.http, &analysis.flows);
    // Where there is no exchange it is among the reasons for that.
    let cut = if http.exchanges == 0 { 0 } else { http.start_lines_cut };
    for (count, one, several) in [
        (
            http.one_sided,
            "connection was seen in one direction only",
            "connections were seen in one direction only",
        ),
        (
            cut,
            "start line was cut off before it said enough",
            "start lines were cut off before they said enough",
        ),
        (
            http.http2,
            "connection speaks HTTP/2, which is counted but not read",
            "connections speak HTTP/2, which is counted but not read",
        ),
        (
            flows.copied_flows,
            "connection came again within 100 ms and was taken for a copy (--no-dedup: for another one)",
            "connections came again within 100 ms and were taken for copies (--no-dedup: for others)",
        ),
        (
            flows.flows_evicted,
            "connection was given up for want of room (--max-flows, --flow-memory)",
            "connections were given up for want of room (--max-flows, --flow-memory)",
        ),
        (
            http.pending_full,
            "message was not waited for any longer, because too many waited on its connection",
            "messages were not waited for any longer, because too many waited on their connection",
        ),
        (
            http.heads_cut,
            "head is not there to its end, or was longer, or had more fields, than what is kept",
            "heads are not there to their ends, or were longer, or had more fields, than what is kept",
        ),
        (http.interim_dropped, "interim response was not kept", "interim responses were not kept"),
        (
            http.skipped_bytes,
            "byte on HTTP connections belongs to no message",
            "bytes on HTTP connections belong to no message",
        ),
        (flows.gap_bytes, "byte of streams was not captured", "bytes of streams were not captured"),
        (
            flows.cut_bytes,
            "byte of streams was cut off by the snapshot length (-s)",
            "bytes of streams were cut off by the snapshot length (-s)",
        ),
        (
            http.tls,
            "connection is TLS, for which there are no keys",
            "connections are TLS, for which there are no keys",
        ),
    ] {
        match count {
            0 => {}
            1 => write!(f, "\n1 {one}")?,
            count => write!(f, "\n{count} {several}")?,
        }
    }
    if http.tls == 0 { Ok(()) } else { server_names(f, report) }
}

/// Whom TLS connections were for: `: www.example (3), api.example (1), 2 more, 1 without a name`.
fn server_names(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    let Some(names) = report.http.as_ref().map(|http| &http.server_names) else { return Ok(()) };
    let by_count = names.by_count();
    let (shown, rest) = by_count.split_at(by_count.len().min(NAMES_SHOWN));
    let mut parts: Vec<_> =
        shown.iter().map(|(name, count)| format!("{} ({count})", printable(name))).collect();
    let rest = rest.iter().map(|(_, count)| count).sum::<u64>() + names.others;
    if rest != 0 {
        parts.push(format!("{rest} for others"));
    }
    if names.unnamed != 0 && !shown.is_empty() {
        parts.push(format!("{} without a name", names.unnamed));
    }
    if parts.is_empty() { Ok(()) } else { write!(f, ": {}", parts.join(", ")) }
}

/// Why there is no exchange.
fn why_none(f: &mut fmt::Formatter<'_>, analysis: &AnalysisLedger, report: &Report) -> fmt::Result {
    let (http, ledger) = (&analysis.http, &report.ledger);
    let mut reasons = Vec::new();
    let mut reason = |count: u64, noun: &str, words: &str| {
        if count != 0 {
            reasons.push(format!("{} {words}", counted(count, noun)));
        }
    };
    reason(http.start_lines_cut, "start line", "cut off too early to say");
    reason(http.other, "connection", "of other protocols");
    reason(http.excluded, "connection", "on other ports than those asked for");
    reason(http.empty, "connection", "without data");
    reason(http.cut, "connection", "of which the snapshot length left too little to tell");
    reason(http.midstream_unknown, "connection", "that began before the capture");
    reason(analysis.account(Analysed::Cut).packets, "packet", "cut by the snapshot length");
    let fragments = &analysis.fragments;
    reason(fragments.fragments - fragments.completed, "IP fragment", "that did not make a datagram");
    let unopened = analysis.unopened().map(|(_, count)| count).sum();
    reason(unopened, "packet", "in tunnels not opened");
    // Those in tunnels are among them.
    let others = analysis.account(Analysed::OtherProtocol).packets.saturating_sub(unopened);
    reason(others, "packet", "of other protocols than TCP");
    reason(ledger.filtered.unwrap_or(0), "packet", "kept out by the filter");
    let live = ledger.filtered.is_none();
    if !reasons.is_empty() {
        write!(f, "\nno exchange was found in {}", reasons.join(", "))?;
    } else if ledger.total.processed.packets == 0 {
        f.write_str(if live {
            "\nno packets came: only TCP and what may carry it is captured"
        } else {
            "\nno exchange was found, as there are no packets in what was read"
        })?;
    }
    if let (Some(filter), true) = (&report.filter, live) {
        write!(
            f,
            "\nwhat the filter '{filter}' keeps out was not looked at, and the kernel does not count it"
        )?;
    }
    Ok(())
}

/// Names in the report; all of them are in the JSON.
const NAMES_SHOWN: usize = 5;
