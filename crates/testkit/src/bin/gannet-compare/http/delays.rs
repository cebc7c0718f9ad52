//! Live times against a server whose delays are known, and against tshark's `http.time` on the packets recorded beside.
//!
//! What the capture says must lie between what the two ends saw, for every exchange: that is a check, whatever else
//! the machine does. That `server_ns` is the delay to within a millisecond takes a machine that lets the server run
//! when its delay is over: that is a limit, and how late the server was by its own clock stands beside it.

use std::collections::BTreeMap;

use gannet_testkit::delays::{self, DELAYS, Known, Measured, Plan};
use gannet_testkit::lab::Lab;

use super::live::{Scene, read_and_remove};
use super::records::Record;
use super::{Setup, Verdict, latency};
use crate::report::{Removed, progress};
use crate::table::Grid;

/// Has the server asked for so many seconds, and compares.
pub(super) fn compare(setup: &Setup<'_>, seconds: u64, verdict: &mut Verdict) -> anyhow::Result<()> {
    let lab = Lab::new()?;
    let scene = Scene { setup, lab: &lab };
    let plan = Plan { requests: seconds * PER_SECOND, per_second: PER_SECOND as f64 };
    verdict.print(&format!(
        "\ndelays, gannet http --record under {} requests, {PER_SECOND}/s, split heads and bodies, kept and new \
         connections\n",
        plan.requests
    ))?;
    progress("delays");
    let path = setup.scratch.join("records.jsonl");
    let packets = Removed(setup.scratch.join("delays.pcapng"));
    let gannet = scene.start_gannet(&path, Some((&packets.0, &[], None)))?;
    let known = delays::converse(&lab, 80, plan, setup.stop)?;
    let finished = scene.stop_gannet(gannet)?;
    finished.check_drops(verdict)?;
    let records = read_and_remove(path)?;
    let exchanges = paired(&known, &records);
    verdict.check(
        "every exchange has its record, complete and with all times",
        exchanges.len() == known.len() && records.len() == known.len(),
        &format!("{} exchanges, {} records, {} of them so", known.len(), records.len(), exchanges.len()),
    )?;
    against_the_ends(&exchanges, verdict)?;
    against_tshark(&exchanges, &latency::http_times(&packets.0)?, verdict)
}

/// An exchange and what the capture says of it.
struct Exchange<'a> {
    known: &'a Known,
    record: &'a Record,
    measured: Measured,
}

impl Exchange<'_> {
    /// By how much `server_ns` is more than the delay.
    fn excess_ns(&self) -> i128 {
        self.measured.server_ns - self.known.delay.as_nanos() as i128
    }

    /// By how much the server waited longer than it was to.
    fn lateness_ns(&self) -> i128 {
        self.known.waited_ns - self.known.delay.as_nanos() as i128
    }
}

/// Each record with its exchange, which its query names.
fn paired<'a>(known: &'a [Known], records: &'a [Record]) -> Vec<Exchange<'a>> {
    let by_number: BTreeMap<u64, &Known> = known.iter().map(|known| (known.number, known)).collect();
    let pair = |record: &'a Record| {
        let (_, query) = record.line.path.split_once('?')?;
        let known = by_number.get(&delays::number_in(query)?)?;
        let measured = Measured {
            first: record.first,
            send_ns: record.send_ns?.into(),
            ttfb_ns: record.ttfb_ns?.into(),
            server_ns: record.server_ns?.into(),
            total_ns: record.total_ns?.into(),
        };
        record.complete.then_some(Exchange { known, record, measured })
    };
    records.iter().filter_map(pair).collect()
}

fn against_the_ends(exchanges: &[Exchange<'_>], verdict: &mut Verdict) -> anyhow::Result<()> {
    let mut grid = Grid::new(&[
        "delay",
        "exchanges",
        "within 1 ms",
        "server_ns - delay: median",
        "99 %",
        "worst",
        "the server was late: 99 %",
        "worst",
        "",
    ]);
    let within = |exchange: &&Exchange<'_>| exchange.excess_ns().abs() <= WITHIN_NS;
    for delay in DELAYS {
        let of: Vec<_> = exchanges.iter().filter(|exchange| exchange.known.delay == delay).collect();
        let excess: Vec<i128> = of.iter().map(|exchange| exchange.excess_ns()).collect();
        let late: Vec<i128> = of.iter().map(|exchange| exchange.lateness_ns()).collect();
        grid.row(vec![
            format!("{delay:?}"),
            of.len().to_string(),
            of.iter().copied().filter(within).count().to_string(),
            microseconds(quantile(&excess, 0.5)),
            microseconds(quantile(&excess, 0.99)),
            microseconds(quantile(&excess, 1.0)),
            microseconds(quantile(&late, 0.99)),
            microseconds(quantile(&late, 1.0)),
            String::new(),
        ]);
    }
    verdict.print(&format!("{}\n", grid.render()))?;
    let wrong: Vec<String> =
        exchanges.iter().filter_map(|exchange| exchange.known.contradiction(&exchange.measured)).collect();
    let mut detail = format!("{} of {}", exchanges.len() - wrong.len(), exchanges.len());
    for wrong in wrong.iter().take(EXAMPLES) {
        detail.push_str(&format!("\n         {wrong}"));
    }
    verdict.check(
        "all times lie between the write of one end and the read of the other, server_ns is never below the delay",
        wrong.is_empty() && !exchanges.is_empty(),
        &detail,
    )?;
    let share = exchanges.iter().filter(within).count() as f64 / exchanges.len().max(1) as f64;
    verdict.at_least("share of exchanges whose server_ns is within 1 ms of the delay", share, SHARE)
}

/// `total_ns` of those that came in one frame each; `total_ns - send_ns` of the others, see [`latency`].
fn against_tshark(
    exchanges: &[Exchange<'_>],
    theirs: &BTreeMap<latency::Response, Vec<i128>>,
    verdict: &mut Verdict,
) -> anyhow::Result<()> {
    let difference = |exchange: &Exchange<'_>, ours: i128| {
        let (address, port) = exchange.record.client;
        let times = theirs.get(&(address, port, exchange.measured.first + exchange.measured.total_ns))?;
        times.iter().map(|time| (time - ours).abs()).min()
    };
    for (what, single) in
        [("total_ns of single-frame pairs", true), ("total_ns - send_ns of the others", false)]
    {
        let of: Vec<_> =
            exchanges.iter().filter(|exchange| exchange.known.is_single_frames == single).collect();
        let differences: Vec<i128> = of
            .iter()
            .filter_map(|exchange| {
                let after = if single { 0 } else { exchange.measured.send_ns };
                difference(exchange, exchange.measured.total_ns - after)
            })
            .collect();
        let worst = differences.iter().max().copied().unwrap_or(0);
        verdict.check(
            &format!("{what} equals tshark's http.time on the same packets within 1 µs"),
            !of.is_empty() && differences.len() == of.len() && worst <= HTTP_TIME_NS,
            &format!("{} pairs, {} with http.time, {worst} ns at worst", of.len(), differences.len()),
        )?;
    }
    Ok(())
}

/// The smallest value that this share of them do not exceed; 0 of nothing.
fn quantile(values: &[i128], share: f64) -> i128 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(0)
}

fn microseconds(ns: i128) -> String {
    format!("{:.0} µs", ns as f64 / 1e3)
}

/// Requests a second.
const PER_SECOND: u64 = 100;

/// `server_ns` is to be so near to the delay ...
const WITHIN_NS: i128 = 1_000_000;

/// ... for this share of the exchanges.
const SHARE: f64 = 0.99;

/// tshark's time may differ by so much.
const HTTP_TIME_NS: i128 = 1_000;

/// How many wrong ones are shown.
const EXAMPLES: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        let values: Vec<i128> = (1..=200).rev().collect();
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|share| quantile(&values, share)), [1, 100, 198, 200]);
        assert_eq!(quantile(&[], 0.5), 0);
    }
}
