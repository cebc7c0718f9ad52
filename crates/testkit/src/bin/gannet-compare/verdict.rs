//! Checks, which must hold, and limits, which depend on the machine and decide nothing.

use crate::report::Report;

/// What held and what did not, printed as it is found.
pub(crate) struct Verdict {
    report: Report,
    failed: usize,
    unmet: usize,
}

impl Verdict {
    /// Nothing found yet.
    pub(crate) fn new(report: Report) -> Self {
        Self { report, failed: 0, unmet: 0 }
    }

    /// Text as it is.
    pub(crate) fn print(&mut self, text: &str) -> anyhow::Result<()> {
        self.report.print(text)
    }

    /// Something that must be so.
    pub(crate) fn check(&mut self, what: &str, holds: bool, detail: &str) -> anyhow::Result<()> {
        self.failed += usize::from(!holds);
        let word = if holds { "ok    " } else { "FAILED" };
        self.print(&format!("{word} {what}{}{detail}\n", if detail.is_empty() { "" } else { ": " }))
    }

    /// Something that should be at most so much.
    pub(crate) fn at_most(&mut self, what: &str, value: f64, limit: f64) -> anyhow::Result<()> {
        self.limit(what, value, "at most", limit, value <= limit)
    }

    /// Something that should be at least so much.
    pub(crate) fn at_least(&mut self, what: &str, value: f64, limit: f64) -> anyhow::Result<()> {
        self.limit(what, value, "at least", limit, value >= limit)
    }

    fn limit(&mut self, what: &str, value: f64, word: &str, limit: f64, met: bool) -> anyhow::Result<()> {
        self.unmet += usize::from(!met);
        let verdict = if met { "met" } else { "NOT met" };
        self.print(&format!("limit  {what}: {value:.3}, {word} {limit}: {verdict}\n"))
    }

    /// The sums; true if every check held.
    pub(crate) fn close(mut self) -> anyhow::Result<bool> {
        let (failed, unmet) = (self.failed, self.unmet);
        self.print(&format!("\n{failed} checks failed, {unmet} limits not met\n"))?;
        Ok(failed == 0)
    }
}
