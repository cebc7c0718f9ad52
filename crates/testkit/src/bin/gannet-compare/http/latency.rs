//! Our latency against tshark's `http.time`, on the first packets of the capture.
//!
//! ```text
//!   request   first ──────── last                       response   first ──────── last
//!             │◄─────────────────────────── total_ns ────────────────────────────►│
//!             │◄─ send_ns ──►│◄────────────────────── http.time ─────────────────►│
//! ```
//! tshark dissects a message in the frame that completes it, so with reassembly, its default, `http.time` runs from the
//! request's last frame to the response's last: `total_ns - send_ns` of ours, and `total_ns` itself where the request
//! came in one segment (`send_ns` 0). What is compared is each response's value to the nanosecond; a response is known
//! by its client and the time of its last frame.
//!
//! Pipelined exchanges are counted by themselves: tshark 4.0 takes one of the requests under way for that of a
//! response, not always the right one. (The truth of the whole capture has them, and ours are compared with it.)

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use super::records::{self, Record};
use super::{Setup, Verdict};
use crate::process::Process;

/// Where and when a response ended.
pub(super) type Response = (IpAddr, u16, i128);

/// An exchange of ours that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ours {
    /// `total_ns - send_ns`.
    after_request: i128,
    /// `send_ns` is 0.
    in_one_segment: bool,
    /// Its request came before the previous response had ended, or the next request before its response had.
    pipelined: bool,
}

/// Cuts the part, gives it to both and counts.
pub(super) fn compare(
    setup: &Setup<'_>,
    capture: &Path,
    packets: u64,
    verdict: &mut Verdict,
) -> anyhow::Result<()> {
    let part = setup.scratch.join("part.pcap");
    let mut cut = Command::new("tcpdump");
    cut.args(["-Z", "root", "--time-stamp-precision=nano", "-c", &packets.to_string(), "-r"]);
    cut.arg(capture).arg("-w").arg(&part);
    Process::spawn("tcpdump", cut)?.finish(setup.stop)?;

    let path = setup.scratch.join("part.jsonl");
    let mut gannet = Command::new(setup.gannet);
    gannet.args(["http", "-q", "-r"]).arg(&part).arg("-o").arg(format!("jsonl:{}", path.display()));
    Process::spawn("gannet", gannet)?.finish(setup.stop)?;
    let ours = ours(&records::read(&path)?);

    let theirs = http_times(&part)?;

    let tally = Tally::of(&ours, &theirs);
    verdict.print(&format!(
        "\nlatency: the first {packets} packets. tshark's http.time (request's last frame to response's last) \
         against total_ns - send_ns, to the nanosecond\n\n\
         {:>8} exchanges complete in ours, {} of them pipelined\n\
         {:>8} responses with http.time in tshark's\n\
         {:>8} equal, {} of them with send_ns 0: http.time equals total_ns itself\n\
         {:>8} differ, and {} pipelined ones, where tshark takes another request for the response's\n\
         {:>8} in tshark's only, {} in ours only, and {} pipelined ones\n",
        ours.values().map(Vec::len).sum::<usize>(),
        ours.values().flatten().filter(|ours| ours.pipelined).count(),
        theirs.values().map(Vec::len).sum::<usize>(),
        tally.equal,
        tally.equal_to_total,
        tally.differ,
        tally.differ_pipelined,
        tally.theirs_only,
        tally.ours_only,
        tally.ours_only_pipelined,
    ))?;
    for example in &tally.examples {
        verdict.print(&format!("         {example}\n"))?;
    }
    verdict.check(
        "http.time equals our time for every response, but for pipelined ones",
        tally.equal > 0 && tally.differ + tally.theirs_only + tally.ours_only == 0,
        &format!("{} equal", tally.equal),
    )
}

/// tshark's `http.time` of every response of a file, in ns, by where and when it ended.
pub(super) fn http_times(file: &Path) -> anyhow::Result<BTreeMap<Response, Vec<i128>>> {
    let fields = ["frame.time_epoch", "ip.dst", "ipv6.dst", "tcp.dstport", "http.time"];
    let output = Command::new("tshark")
        .args(["-n", "-r"])
        .arg(file)
        .args(["-Y", "http.response", "-T", "fields", "-E", "separator=/t", "-E", "occurrence=a"])
        .args(fields.iter().flat_map(|field| ["-e", field]))
        .stdin(Stdio::null())
        .output()
        .context("tshark")?;
    ensure!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr).trim());
    theirs(&String::from_utf8_lossy(&output.stdout))
}

/// The complete exchanges by where and when their responses ended.
fn ours(records: &[Record]) -> BTreeMap<Response, Vec<Ours>> {
    let mut records: Vec<&Record> = records.iter().collect();
    records.sort_by_key(|record| (record.client, record.first));
    let end = |record: &Record| record.total_ns.map(|total| record.first + i128::from(total));
    let overlaps = |one: &Record, next: &Record| {
        one.client == next.client && end(one).is_none_or(|end| next.first < end)
    };
    let mut ours: BTreeMap<Response, Vec<_>> = BTreeMap::new();
    for (index, record) in records.iter().enumerate().filter(|(_, record)| record.complete) {
        let (Some(send), Some(end)) = (record.send_ns, end(record)) else { continue };
        let before = index.checked_sub(1).and_then(|index| records.get(index));
        let pipelined = before.is_some_and(|before| overlaps(before, record))
            || records.get(index + 1).is_some_and(|next| overlaps(record, next));
        ours.entry((record.client.0, record.client.1, end)).or_default().push(Ours {
            after_request: end - record.first - i128::from(send),
            in_one_segment: send == 0,
            pipelined,
        });
    }
    ours
}

/// tshark's rows: time, IPv4 or IPv6 address, port, `http.time` of each response in the frame.
fn theirs(rows: &str) -> anyhow::Result<BTreeMap<Response, Vec<i128>>> {
    let mut theirs: BTreeMap<Response, Vec<_>> = BTreeMap::new();
    for row in rows.lines() {
        let parsed = || -> Option<(Response, Vec<i128>)> {
            let [time, v4, v6, port, durations] = row.split('\t').collect::<Vec<_>>().try_into().ok()?;
            let address = if v4.is_empty() { v6 } else { v4 };
            let durations = durations.split(',').filter(|text| !text.is_empty());
            let response = (address.parse().ok()?, port.parse().ok()?, nanoseconds(time)?);
            Some((response, durations.map(nanoseconds).collect::<Option<_>>()?))
        };
        let (response, durations) = parsed().with_context(|| format!("tshark's row {row:?}"))?;
        theirs.entry(response).or_default().extend(durations);
    }
    Ok(theirs)
}

/// "1768471200.005616000" without passing through floating point.
fn nanoseconds(text: &str) -> Option<i128> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: i128 = format!("{fraction:0<9}").parse().ok()?;
    let seconds: i128 = seconds.parse().ok()?;
    Some(seconds * 1_000_000_000 + fraction)
}

/// How the two compare. What is pipelined is in the counts that say so, unless it is equal.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    equal: usize,
    /// Those of them that equal `total_ns`, too.
    equal_to_total: usize,
    differ: usize,
    differ_pipelined: usize,
    theirs_only: usize,
    ours_only: usize,
    ours_only_pipelined: usize,
    /// The first few that differ.
    examples: Vec<String>,
}

impl Tally {
    fn of(ours: &BTreeMap<Response, Vec<Ours>>, theirs: &BTreeMap<Response, Vec<i128>>) -> Self {
        let mut tally = Self::default();
        let ends: BTreeSet<&Response> = ours.keys().chain(theirs.keys()).collect();
        for end in ends {
            let ours = ours.get(end).map_or(&[][..], Vec::as_slice);
            let theirs = theirs.get(end).map_or(&[][..], Vec::as_slice);
            // Several responses may end in one frame; tshark does not say which of its times is whose.
            let mut open = theirs.to_vec();
            let mut unmatched = Vec::new();
            for exchange in ours {
                if let Some(found) = open.iter().position(|&time| time == exchange.after_request) {
                    open.swap_remove(found);
                    tally.equal += 1;
                    tally.equal_to_total += usize::from(exchange.in_one_segment);
                } else {
                    unmatched.push(exchange);
                }
            }
            for exchange in unmatched {
                let count = match (open.pop().is_some(), exchange.pipelined) {
                    (true, false) => &mut tally.differ,
                    (true, true) => &mut tally.differ_pipelined,
                    (false, false) => &mut tally.ours_only,
                    (false, true) => &mut tally.ours_only_pipelined,
                };
                *count += 1;
                if !exchange.pipelined && tally.examples.len() < EXAMPLES {
                    tally.examples.push(format!("{end:?}: tshark {theirs:?}, {exchange:?}"));
                }
            }
            tally.theirs_only += open.len();
            if !open.is_empty() && tally.examples.len() < EXAMPLES {
                tally.examples.push(format!("{end:?}: tshark {theirs:?}, ours {ours:?}"));
            }
        }
        tally
    }
}

/// How many differences are shown.
const EXAMPLES: usize = 5;

#[cfg(test)]
mod tests {
    use super::super::records::Line;
    use super::*;

    #[test]
    fn times_keep_their_nanoseconds() {
        assert_eq!(nanoseconds("1768471200.005616001"), Some(1_768_471_200_005_616_001));
        assert_eq!(nanoseconds("0.5"), Some(500_000_000));
        assert_eq!(nanoseconds("7"), Some(7_000_000_000));
        for bad in ["", ".5x", "1.0000000001", "a.1"] {
            assert_eq!(nanoseconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn rows_of_tshark() {
        let rows = "1.000000009\t10.0.0.1\t\t5\t0.000000004\n\
            2.0\t\t2001:db8::1\t6\t0.1,0.2\n3.0\t10.0.0.1\t\t5\t\n";
        let theirs = theirs(rows).unwrap();
        assert_eq!(theirs[&("10.0.0.1".parse().unwrap(), 5, 1_000_000_009)], [4]);
        assert_eq!(theirs[&("2001:db8::1".parse().unwrap(), 6, 2_000_000_000)], [100_000_000, 200_000_000]);
        assert_eq!(theirs[&("10.0.0.1".parse().unwrap(), 5, 3_000_000_000)], []);
        assert!(super::theirs("1.0\t10.0.0.1\n").is_err());
    }

    #[test]
    fn each_response_is_counted_once() {
        let at = |time| ("10.0.0.1".parse().unwrap(), 5, time);
        let exchange =
            |after_request, in_one_segment, pipelined| Ours { after_request, in_one_segment, pipelined };
        let ours = BTreeMap::from([
            (at(1), vec![exchange(10, true, false)]),
            (at(2), vec![exchange(20, false, true), exchange(21, true, true)]),
            (at(3), vec![exchange(30, true, false)]),
            (at(4), vec![exchange(40, true, false), exchange(40, true, true)]),
            (at(7), vec![exchange(70, true, true)]),
        ]);
        let theirs = BTreeMap::from([
            (at(1), vec![10]),
            (at(2), vec![21, 20]),
            (at(3), vec![31]),
            (at(5), vec![50]),
            (at(6), vec![]),
            (at(7), vec![71]),
        ]);
        let tally = Tally::of(&ours, &theirs);
        assert_eq!((tally.equal, tally.equal_to_total), (3, 2));
        assert_eq!((tally.differ, tally.differ_pipelined), (1, 1));
        assert_eq!((tally.theirs_only, tally.ours_only, tally.ours_only_pipelined), (1, 1, 1));
        assert_eq!(tally.examples.len(), 3);
    }

    #[test]
    fn overlapping_exchanges_are_pipelined() {
        let record = |port, first, total_ns, complete| Record {
            line: Line { method: String::new(), path: String::new(), status: 200, bytes: 0 },
            client: ("10.0.0.1".parse().unwrap(), port),
            first,
            send_ns: Some(2),
            ttfb_ns: None,
            server_ns: None,
            total_ns,
            complete,
        };
        let records = [
            record(5, 100, Some(10), true),
            record(5, 110, Some(10), true),
            record(5, 119, Some(5), true),
            record(6, 115, Some(10), true),
            record(7, 1, Some(9), true),
            record(7, 20, None, false),
        ];
        let ours = ours(&records);
        let pipelined: Vec<_> = ours.iter().map(|(end, ours)| (end.1, end.2, ours[0].pipelined)).collect();
        let expected = [(5, 110, false), (5, 120, true), (5, 124, true), (6, 125, false), (7, 10, false)];
        assert_eq!(pipelined, expected);
        assert_eq!(ours[&("10.0.0.1".parse().unwrap(), 5, 110)][0].after_request, 8);
    }
}
