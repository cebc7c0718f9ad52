//! What all reports share: medians, the machine they were measured on, tables.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// A table whose columns are as wide as they must be: the first and the last to the left, the others to the right.
pub(crate) struct Grid {
    rows: Vec<Vec<String>>,
}

impl Grid {
    /// With these headings.
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|&heading| heading.to_owned()).collect()] }
    }

    /// Adds a row with as many cells as there are headings.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The lines, after an empty one.
    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::from("\n");
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let gap = if column == 0 { "" } else { "  " };
                let _ = if column == 0 || column + 1 == columns {
                    write!(line, "{gap}{cell:<width$}")
                } else {
                    write!(line, "{gap}{cell:>width$}")
                };
            }
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }
}

/// The middle value, or the mean of the two middle ones; 0 of nothing.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        len if len % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// The machine, the kernel, the compiler, the versions of the programs.
pub(crate) fn header(disk: &Path, versions: impl Iterator<Item = (String, Command)>) -> String {
    let mut text = String::new();
    let mut line = |name: &str, command: &mut Command| {
        let output = command.output();
        let said = output.map(|output| {
            // dumpcap and tcpdump differ in where they print it.
            let all = [output.stdout, output.stderr].concat();
            String::from_utf8_lossy(&all)
                .lines()
                .find(|line| !line.trim().is_empty())
                .unwrap_or("")
                .to_owned()
        });
        let _ = writeln!(text, "{name:<12} {}", said.unwrap_or_else(|error| error.to_string()).trim());
    };
    line("date", Command::new("date").arg("--utc").arg("--iso-8601=seconds"));
    line("kernel", Command::new("uname").arg("-srvm"));
    line("processor", Command::new("sh").args(["-c", "lscpu | sed -n 's/^Model name: *//p'"]));
    line("processors", &mut Command::new("nproc"));
    line("memory", Command::new("sh").args(["-c", "sed -n 's/^MemTotal: *//p' /proc/meminfo"]));
    line(
        "disk",
        Command::new("sh").args(["-c", "df -h --output=source,fstype,avail \"$0\" | tail -n 1"]).arg(disk),
    );
    line("load before", Command::new("cat").arg("/proc/loadavg"));
    line("rustc", Command::new("rustc").arg("--version"));
    for (name, mut command) in versions {
        line(&name, &mut command);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        assert_eq!(median(Vec::new()), 0.0);
    }

    #[test]
    fn columns_line_up() {
        let mut grid = Grid::new(&["tool", "wall", "note"]);
        grid.row(vec!["a".to_owned(), "1.25".to_owned(), "x".to_owned()]);
        grid.row(vec!["longer".to_owned(), "100.00".to_owned(), String::new()]);
        assert_eq!(grid.render(), "\ntool      wall  note\na         1.25  x\nlonger  100.00\n");
    }
}
