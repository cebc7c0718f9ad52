//! The tables of the recorders.

use std::fmt::Write as _;

use serde::Serialize;

use crate::table::median;
use crate::tools::Tool;
use crate::trial::Measurement;

/// All runs of one recorder under one load with one size of frames.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// The recorder's name.
    pub(crate) tool: String,
    /// The load's name.
    pub(crate) load: String,
    /// Length of the frames, or the mix.
    pub(crate) size: String,
    /// The runs that came to an end.
    pub(crate) runs: Vec<Measurement>,
    /// Why others did not.
    pub(crate) failures: Vec<String>,
}

impl Row {
    fn median(&self, value: impl Fn(&Measurement) -> f64) -> f64 {
        median(self.runs.iter().map(value).collect())
    }

    fn cpu_per_packet_ns(&self) -> f64 {
        self.median(|run| run.cpu_seconds * 1e9 / run.recorded.max(1) as f64)
    }

    /// What packets cost, without what starting costs.
    fn cpu_per_packet_after_start_ns(&self) -> f64 {
        self.median(|run| (run.cpu_seconds - run.start_cpu_seconds) * 1e9 / run.recorded.max(1) as f64)
    }

    fn bytes_per_packet(&self) -> f64 {
        self.median(|run| run.file_bytes as f64 / run.recorded.max(1) as f64)
    }
}

/// The tables, one per size and load; the ratios are to the row `tcpdump` of the same table.
pub(crate) fn render(rows: &[Row]) -> String {
    let mut text = String::new();
    for rows in rows.chunk_by(|one, next| (&one.size, &one.load) == (&next.size, &next.load)) {
        let Row { size, load, .. } = &rows[0];
        let offered = median(rows.iter().map(|row| row.median(|run| run.offered as f64)).collect());
        let pps = median(rows.iter().map(|row| row.median(|run| run.offered_pps)).collect());
        let _ =
            writeln!(text, "\n{size} bytes, {load}: {offered:.0} frames offered at {pps:.0}/s (medians)\n");
        let _ = writeln!(
            text,
            "{:<16} {:>4} {:>9} {:>12} {:>12} {:>8} {:>10} {:>9} {:>12} {:>9} {:>10} {:>9}  contents",
            "tool",
            "runs",
            "lost",
            "lost worst",
            "recorded",
            "CPU s",
            "ns/packet",
            "/tcpdump",
            "after start",
            "/tcpdump",
            "B/packet",
            "/tcpdump"
        );
        let tcpdump =
            rows.iter().find(|row| row.tool == Tool::Tcpdump.name()).filter(|row| !row.runs.is_empty());
        for row in rows {
            render_row(&mut text, row, tcpdump);
        }
        for row in rows {
            for note in row.failures.iter().chain(row.runs.iter().flat_map(|run| &run.notes)) {
                let _ = writeln!(text, "  {}: {note}", row.tool);
            }
        }
    }
    text
}

fn render_row(text: &mut String, row: &Row, tcpdump: Option<&Row>) {
    if row.runs.is_empty() {
        let _ = writeln!(text, "{:<16}    0 (see below)", row.tool);
        return;
    }
    let ratio = |value: fn(&Row) -> f64| {
        tcpdump.map_or_else(|| "-".to_owned(), |tcpdump| format!("{:.3}", value(row) / value(tcpdump)))
    };
    let loss = row.median(|run| run.lost() as f64 / run.offered.max(1) as f64);
    let worst = row.runs.iter().map(Measurement::lost).max().unwrap_or_default();
    let _ = writeln!(
        text,
        "{:<16} {:>4} {:>8.3}% {:>12} {:>12.0} {:>8.2} {:>10.1} {:>9} {:>12.1} {:>9} {:>10.1} {:>9}  {}",
        row.tool,
        row.runs.len(),
        loss * 100.0,
        worst,
        row.median(|run| run.recorded as f64),
        row.median(|run| run.cpu_seconds),
        row.cpu_per_packet_ns(),
        ratio(Row::cpu_per_packet_ns),
        row.cpu_per_packet_after_start_ns(),
        ratio(Row::cpu_per_packet_after_start_ns),
        row.bytes_per_packet(),
        ratio(Row::bytes_per_packet),
        contents(row),
    );
}

/// What the numbers in the frames say of all runs together.
fn contents(row: &Row) -> String {
    let reports: Vec<_> = row.runs.iter().filter_map(|run| run.report.as_ref()).collect();
    if reports.is_empty() {
        return "not numbered".to_owned();
    }
    let sum = |value: fn(&gannet_testkit::tally::Report) -> u64| {
        reports.iter().map(|report| value(report)).sum::<u64>()
    };
    let (corrupt, doubled, disorder) = (sum(|r| r.corrupt), sum(|r| r.doubled), sum(|r| r.out_of_order));
    if corrupt + doubled + disorder == 0 {
        "intact".to_owned()
    } else {
        format!("{corrupt} corrupt, {doubled} doubled, {disorder} out of order")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(recorded: u64, cpu_seconds: f64) -> Measurement {
        Measurement {
            offered: 1_000,
            recorded,
            offered_pps: 10.0,
            cpu_seconds,
            start_cpu_seconds: cpu_seconds / 4.0,
            file_bytes: recorded * 100,
            report: None,
            notes: vec!["odd".to_owned()],
        }
    }

    #[test]
    fn ratios_are_to_tcpdump_of_the_same_table() {
        let row = |tool: Tool, runs| Row {
            tool: tool.name(),
            load: "pace".to_owned(),
            size: "60".to_owned(),
            runs,
            failures: Vec::new(),
        };
        let rows = [
            row(Tool::Gannet, vec![run(1_000, 1.0), run(1_000, 3.0), run(1_000, 2.0)]),
            row(Tool::Tcpdump, vec![run(500, 8.0)]),
        ];
        let text = render(&rows);
        let gannet: Vec<&str> =
            text.lines().find(|line| line.starts_with("gannet")).unwrap().split_whitespace().collect();
        // 2,000,000 ns a packet against 16,000,000, a quarter of each before the first one.
        assert_eq!(
            &gannet[..10],
            ["gannet", "3", "0.000%", "0", "1000", "2.00", "2000000.0", "0.125", "1500000.0", "0.125"]
        );
        let tcpdump = text.lines().find(|line| line.starts_with("tcpdump")).unwrap();
        assert!(tcpdump.contains("50.000%") && tcpdump.contains(" 500 "), "{tcpdump}");
        assert!(text.contains("  tcpdump: odd"));
    }
}
