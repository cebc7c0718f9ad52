//! The report of a run: for people on the terminal, for programs as JSON.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use gannet_flow::FragmentCounters;
use gannet_http::ServerNames;
use gannet_record::{Condition, Summary, TrafficSummary, counted};
use gannet_sink::SinkReport;

use crate::config::{CaptureConfig, Input};
use crate::filter::in_words;

use super::{Account, Amount, Analysed, AnalysisLedger, Ledger, WorkerLedger, exchanges};

/// What a run did: the ledger, the files, the time and the CPU it took. `Display` is the report on the terminal,
/// `Serialize` is `--stats-json`.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Every packet's account.
    pub ledger: Ledger,
    /// The files written, in the order they were begun. Empty for a stream.
    pub files: Vec<FileReport>,
    /// What an analysis of HTTP found, if there was one.
    pub http: Option<HttpReport>,
    /// How long a request may be without an answer before it is reported.
    pub pending_after: Option<Duration>,
    /// What the flows add up to, if they were recorded.
    pub traffic: Option<TrafficSummary>,
    /// CPU time of the process.
    pub cpu: CpuTime,
    /// How long the capture was open, or the files were being read.
    pub duration: Duration,
    /// The filter asked for, in the user's words.
    pub filter: Option<String>,
    /// What the kernel lets through besides, because nothing else is of use to the analysis.
    pub implied: Option<String>,
    /// Several workers wrote to one file: its packets are in order for each worker only.
    pub unordered: bool,
}

/// What an HTTP analysis found.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpReport {
    /// Latencies by route, if they were measured.
    pub summary: Option<Summary>,
    /// What exchanges were selected by; empty if all were.
    pub conditions: Vec<Condition>,
    /// The histograms as an HdrHistogram log, if that was asked for.
    pub histogram_log: Option<Vec<u8>>,
    /// The patterns of `--route` that no path has fitted, if routes were looked for.
    pub unused_routes: Vec<String>,
    /// Whom TLS connections were for.
    pub server_names: ServerNames,
}

/// A file that was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FileReport {
    /// Its name.
    pub path: PathBuf,
    /// Packets in it.
    pub packets: u64,
    /// Its size in bytes.
    pub bytes: u64,
}

/// CPU time of the process, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CpuTime {
    /// In user space.
    pub user_s: f64,
    /// In the kernel, on behalf of the process.
    pub sys_s: f64,
}

impl CpuTime {
    /// What this process has used since it started, all threads together (`getrusage(2)`). Zero if the kernel
    /// refuses to tell.
    pub fn of_process() -> Self {
        use nix::sys::resource::{UsageWho, getrusage};
        use nix::sys::time::TimeValLike;
        let seconds = |time: nix::sys::time::TimeVal| time.num_microseconds() as f64 / 1e6;
        getrusage(UsageWho::RUSAGE_SELF)
            .map(|usage| Self { user_s: seconds(usage.user_time()), sys_s: seconds(usage.system_time()) })
            .unwrap_or_default()
    }
}

impl Report {
    /// Of a run that has had no packet since it `began`, and is to write packets to disk if it is `recording`.
    pub fn before_packets(capture: &CaptureConfig, recording: bool, began: Instant) -> Self {
        let ledger = match &capture.input {
            Input::Files(_) => Ledger::files(0, 0, []),
            Input::Live { .. } => Ledger::live(Vec::new(), []),
        };
        Self {
            ledger: Ledger { recording, ..ledger },
            filter: capture.filter_text(),
            cpu: CpuTime::of_process(),
            duration: began.elapsed(),
            ..Self::default()
        }
    }
}

impl fmt::Display for Report {
    /// Several lines without a newline at the end: received, dropped and processed always, anything else if it is
    /// not zero.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ledger = &self.ledger;
        let processed = ledger.total.processed;
        if ledger.filtered.is_some() {
            writeln!(f, "{} read", Packets(ledger.received))?;
        } else {
            writeln!(f, "{} received", Packets(ledger.received))?;
            writeln!(f, "{} dropped by the kernel", Packets(ledger.dropped))?;
        }
        write!(f, "{} processed ({} bytes)", Packets(processed.packets), processed.bytes)?;
        if let Some(analysis) = &ledger.total.analysis {
            packets_analysed(f, analysis)?;
            // Workers tell of their analysis a few times a second.
            let behind = processed.packets.saturating_sub(analysis.sum().packets);
            if behind != 0 {
                write!(f, "\n  {} of which the analysis has not told yet", Packets(behind))?;
            }
        }
        if ledger.recording {
            for (account, amount) in ledger.total.accounts.used() {
                write!(f, "\n  {} {}", Packets(amount.packets), account.words())?;
            }
            let waiting = processed.packets.saturating_sub(ledger.total.accounts.sum().packets);
            if waiting != 0 {
                write!(f, "\n  {} on the way to the output", Packets(waiting))?;
            }
        }
        if let Some(filtered @ 1..) = ledger.filtered {
            write!(f, "\n{} kept out by the filter", Packets(filtered))?;
        }
        if let Some(filter) = in_words(self.filter.as_deref(), self.implied.as_deref()) {
            write!(f, "\nfilter: {filter}")?;
        }
        if ledger.total.cut_by_snaplen != 0 {
            write!(f, "\n{} cut to the snapshot length", Packets(ledger.total.cut_by_snaplen))?;
        }
        for interface in &ledger.interfaces {
            if interface.dropped != 0 {
                write!(
                    f,
                    "\n{}: {} dropped, the ring was full {} times (a larger --ring-size bridges longer pauses)",
                    interface.name,
                    Packets(interface.dropped),
                    interface.freezes
                )?;
            }
            if let Some(device) = interface.device.filter(|device| device.lost() != 0) {
                write!(
                    f,
                    "\n{}: besides, the device lost packets before the capture: {} missed, {} dropped, {} overruns",
                    interface.name, device.rx_missed, device.rx_dropped, device.rx_fifo_errors
                )?;
            }
        }
        if self.unordered {
            f.write_str(
                "\nseveral workers wrote to one file: its packets are in order for each worker only",
            )?;
        }
        if let Some(analysis) = &ledger.total.analysis {
            match analysis.flow_ends() {
                Some(ends) => flows(f, analysis, ends)?,
                None => exchanges::write(f, analysis, self)?,
            }
            outputs(f, &ledger.sinks)?;
        }
        Ok(())
    }
}

fn packets_analysed(f: &mut fmt::Formatter<'_>, analysis: &AnalysisLedger) -> fmt::Result {
    for (account, amount) in analysis.used() {
        write!(f, "\n  {} {}", Packets(amount.packets), account.words())?;
        if account == Analysed::Malformed {
            let reasons: Vec<_> =
                analysis.malformed().map(|(reason, count)| format!("{count} {}", reason.name())).collect();
            write!(f, " ({})", reasons.join(", "))?;
        }
        if account == Analysed::Fragment {
            fragments(f, &analysis.fragments)?;
        }
    }
    let unopened: Vec<_> = analysis.unopened().map(|(kind, count)| format!("{count} {kind}")).collect();
    if !unopened.is_empty() {
        write!(f, "\n  in tunnels that were not to be opened (--decap, --vni): {}", unopened.join(", "))?;
    }
    if analysis.handed_over != 0 {
        let count = analysis.handed_over;
        write!(f, "\n  {} handed to the worker of their connection", Packets(count))?;
    }
    Ok(())
}

/// What became of fragments.
fn fragments(f: &mut fmt::Formatter<'_>, counters: &FragmentCounters) -> fmt::Result {
    let ends = [
        (counters.duplicates, "captured twice"),
        (counters.overlapping, "overlapping"),
        (counters.cut, "cut by the snapshot length"),
        (counters.too_many, "of datagrams in too many pieces"),
        (counters.full, "without room for them"),
        (counters.impossible, "impossible"),
        (counters.expired, "of datagrams that were not complete in time"),
        (counters.evicted, "of datagrams that made room for others"),
        (counters.at_end, "of datagrams that were not complete at the end"),
        (counters.held, "waiting for others"),
    ];
    write!(
        f,
        " ({} put together to {}",
        counters.completed,
        counted(counters.datagrams_completed, "datagram")
    )?;
    for (count, words) in ends.into_iter().filter(|(count, _)| *count != 0) {
        write!(f, ", {count} {words}")?;
    }
    f.write_str(")")
}

/// The flows by how they ended, and what is not in their records.
fn flows(f: &mut fmt::Formatter<'_>, analysis: &AnalysisLedger, ends: u64) -> fmt::Result {
    let (tcp, others) = (&analysis.flows, analysis.conversations.unwrap_or_default());
    write!(f, "\n{}", counted(ends, "flow"))?;
    let open = analysis.open_flows + analysis.open_conversations;
    if open != 0 {
        write!(f, ", and {open} that go on")?;
    }
    let states = [
        (tcp.flows_finished, "finished"),
        (tcp.flows_reset, "reset"),
        (tcp.flows_idle + others.idle, "idle"),
        (tcp.flows_evicted + others.evicted, "given up for want of room (--max-flows, --flow-memory)"),
        (tcp.flows_reused, "replaced by one of the same ports"),
        (tcp.flows_at_end + others.at_end, "open at the end"),
    ];
    if ends != 0 {
        let states = states.into_iter().filter(|(count, _)| *count != 0);
        let states: Vec<_> = states.map(|(count, words)| format!("{count} {words}")).collect();
        write!(f, ": {}", states.join(", "))?;
    }
    if tcp.gap_bytes != 0 {
        write!(f, "\n{} of streams not captured", counted(tcp.gap_bytes, "byte"))?;
    }
    Ok(())
}

/// What outputs did with records.
fn outputs(f: &mut fmt::Formatter<'_>, sinks: &[SinkReport]) -> fmt::Result {
    for sink in sinks {
        write!(f, "\n{} written to {}", counted(sink.written, "record"), sink.name)?;
        match (sink.closed, sink.shed) {
            (false, 0) => {}
            (false, shed) => write!(f, ", {shed} shed because it was too slow or failed")?,
            (true, 0) => f.write_str(", whose reader has closed it")?,
            (true, shed) => write!(f, ", whose reader has closed it before {shed} more")?,
        }
        if let Some(failure) = &sink.failure {
            write!(f, ": {failure}")?;
        }
        if let Some(failure) = &sink.reopen_failure {
            write!(f, "\n  into the old file since it could not be opened again: {failure}")?;
        }
    }
    Ok(())
}

/// `1 packet`, `2 packets`.
struct Packets(u64);

impl fmt::Display for Packets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} packet{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ledger = &self.ledger;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("packets", &PacketsJson(ledger))?;
        map.serialize_entry("bytes", &Columns(&ledger.total, |amount| amount.bytes))?;
        map.serialize_entry("cpu", &self.cpu)?;
        map.serialize_entry("duration_s", &self.duration.as_secs_f64())?;
        map.serialize_entry("files", &self.files)?;
        map.serialize_entry("interfaces", &ledger.interfaces)?;
        let workers: Vec<_> = ledger.workers.iter().map(WorkerJson).collect();
        map.serialize_entry("workers", &workers)?;
        map.serialize_entry("filter", &in_words(self.filter.as_deref(), self.implied.as_deref()))?;
        map.serialize_entry("unordered", &self.unordered)?;
        map.serialize_entry("failure", &ledger.failure)?;
        if let Some(analysis) = &ledger.total.analysis {
            map.serialize_entry("analysis", analysis)?;
            map.serialize_entry("sinks", &ledger.sinks.iter().map(SinkJson).collect::<Vec<_>>())?;
        }
        if let Some(http) = &self.http {
            map.serialize_entry("latency", &http.summary)?;
            map.serialize_entry("unused_routes", &http.unused_routes)?;
            map.serialize_entry("tls_server_names", &NamesJson(&http.server_names))?;
        }
        if let Some(traffic) = &self.traffic {
            map.serialize_entry("traffic", traffic)?;
        }
        map.end()
    }
}

/// `.packets`: the kernel's side, processed, every account (zero ones too, so that scripts need no default), and
/// what is known besides.
struct PacketsJson<'a>(&'a Ledger);

impl Serialize for PacketsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("received", &self.0.received)?;
        map.serialize_entry("dropped", &self.0.dropped)?;
        columns(&mut map, &self.0.total, |amount| amount.packets)?;
        map.serialize_entry("filtered", &self.0.filtered)?;
        map.serialize_entry("cut_by_snaplen", &self.0.total.cut_by_snaplen)?;
        map.end()
    }
}

/// How many TLS connections asked for each server, the most frequent first.
struct NamesJson<'a>(&'a ServerNames);

impl Serialize for NamesJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.by_count())
    }
}

struct SinkJson<'a>(&'a SinkReport);

impl Serialize for SinkJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(9))?;
        map.serialize_entry("name", &self.0.name)?;
        map.serialize_entry("made", &self.0.made)?;
        map.serialize_entry("written", &self.0.written)?;
        map.serialize_entry("shed", &self.0.shed)?;
        map.serialize_entry("bodies_refused", &self.0.bodies_refused)?;
        map.serialize_entry("hosts_beyond", &self.0.hosts_beyond)?;
        map.serialize_entry("closed", &self.0.closed)?;
        map.serialize_entry("failure", &self.0.failure)?;
        map.serialize_entry("reopen_failure", &self.0.reopen_failure)?;
        map.end()
    }
}

struct WorkerJson<'a>(&'a WorkerLedger);

impl Serialize for WorkerJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("packets", &Columns(self.0, |amount| amount.packets))?;
        map.serialize_entry("bytes", &Columns(self.0, |amount| amount.bytes))?;
        map.serialize_entry("blocks", &self.0.blocks)?;
        map.serialize_entry("blocks_copied", &self.0.blocks_copied)?;
        map.end()
    }
}

/// `processed` and every account, seen as packets or as bytes.
struct Columns<'a>(&'a WorkerLedger, fn(Amount) -> u64);

impl Serialize for Columns<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        columns(&mut map, self.0, self.1)?;
        map.end()
    }
}

fn columns<M: SerializeMap>(
    map: &mut M,
    worker: &WorkerLedger,
    column: fn(Amount) -> u64,
) -> Result<(), M::Error> {
    map.serialize_entry("processed", &column(worker.processed))?;
    for account in Account::ALL {
        map.serialize_entry(account.key(), &column(worker.accounts[account]))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use gannet_packet::{Decap, TunnelKind, TunnelKinds};

    use super::*;
    use crate::filter::implied;
    use crate::ledger::tests::{interface, pages};
    use crate::ledger::{Counters, DeviceLedger, InterfaceLedger};

    #[test]
    fn the_report_names_what_is_not_zero() {
        let page = Counters::new();
        let mut report = Report { ledger: Ledger::live(vec![interface(0, 0)], [&page]), ..Report::default() };
        assert_eq!(
            report.to_string(),
            "0 packets received\n0 packets dropped by the kernel\n0 packets processed (0 bytes)"
        );
        let device = DeviceLedger { rx_missed: 11, ..DeviceLedger::default() };
        report.ledger =
            Ledger::live(vec![InterfaceLedger { device: Some(device), ..interface(10, 3) }], &pages());
        report.unordered = true;
        assert_eq!(
            report.to_string(),
            "10 packets received\n\
             3 packets dropped by the kernel\n\
             7 packets processed (628 bytes)\n  \
             5 packets written\n  \
             1 packet not written, refused by the output\n  \
             1 packet not written, beyond the count given with -c\n\
             eth0: 3 packets dropped, the ring was full 2 times (a larger --ring-size bridges longer pauses)\n\
             eth0: besides, the device lost packets before the capture: 11 missed, 0 dropped, 0 overruns\n\
             several workers wrote to one file: its packets are in order for each worker only"
        );
        page.processed(4, 1);
        let running = Report { ledger: Ledger::live(vec![interface(4, 0)], [&page]), ..Report::default() };
        assert!(running.to_string().ends_with("\n  4 packets on the way to the output"));
        // Of an analysis that goes on as well the parts add up.
        let mut analysis = AnalysisLedger::default();
        analysis.add(Analysed::OtherProtocol, 1, 1);
        page.publish(&analysis);
        let ledger = Ledger { recording: false, ..Ledger::live(vec![interface(4, 0)], [&page]) };
        let running = Report { ledger, ..Report::default() }.to_string();
        let parts = "\n4 packets processed (1 bytes)\n  1 packet of other protocols\n  \
                     3 packets of which the analysis has not told yet\n";
        assert!(running.contains(parts), "{running}");
    }

    #[test]
    fn the_report_names_the_filter() {
        let page = Counters::new();
        let live = Ledger::live(vec![interface(0, 0)], [&page]);
        let mut report = Report { ledger: live, filter: Some("port 80".to_owned()), ..Report::default() };
        assert!(report.to_string().ends_with("\nfilter: port 80"), "{report}");
        page.publish(&AnalysisLedger::default());
        report.ledger = Ledger::live(vec![interface(0, 0)], [&page]);
        report.implied =
            Some(implied(&Decap { kinds: TunnelKinds::NONE.with(TunnelKind::Gre), ..Decap::ALL }));
        let text = report.to_string();
        assert!(text.contains("\nfilter: TCP, tunnels (gre), fragments; of these port 80\n"), "{text}");
        assert!(
            text.contains("\nno packets came") && text.contains("the filter 'port 80' keeps out"),
            "{text}"
        );
        // A file's packets are counted, whatever kept them out.
        report.ledger = Ledger::files(5, 5, [&page]);
        report.implied = None;
        let text = report.to_string();
        assert!(text.contains("\n5 packets kept out by the filter\nfilter: port 80"), "{text}");
        assert!(text.contains("no exchange was found in 5 packets kept out by the filter"), "{text}");
        assert!(!text.contains("no packets came"), "{text}");
    }

    #[test]
    fn the_process_has_used_some_cpu() {
        let used = || CpuTime::of_process().user_s + CpuTime::of_process().sys_s;
        let (before, begun) = (used(), Instant::now());
        while used() <= before {
            assert!(begun.elapsed() < Duration::from_secs(60), "busy for a minute without CPU time");
        }
    }
}
