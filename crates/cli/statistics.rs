//! The last words of `gannet httpry`.

use std::fmt;

use gannet_pipeline::config::Input;
use gannet_pipeline::ledger::Report;

use crate::resolve::Run;

/// What httpry says at its end.
pub(crate) struct Statistics<'a> {
    /// The run.
    pub(crate) run: &'a Run,
    /// How it ended.
    pub(crate) report: &'a Report,
}

impl fmt::Display for Statistics<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, report } = self;
        let ledger = &report.ledger;
        let limit = run.config.http.as_ref().and_then(|http| http.httpry.limit);
        let heads = ledger.total.analysis.as_ref().map_or(0, |analysis| analysis.raw_heads);
        let parsed = limit.map_or(heads, |limit| heads.min(limit.get()));
        if let Input::Files(_) = run.config.capture.input {
            return write!(f, "{parsed} http packets parsed");
        }
        let (received, dropped) = (ledger.received, ledger.dropped);
        write!(f, "{received} packets received, {dropped} packets dropped, {parsed} http packets parsed")?;
        let seconds = report.duration.as_secs();
        if seconds > 0 {
            let per_minute = |count: u64| count as f64 * 60.0 / seconds as f64;
            let (received, parsed) = (per_minute(received), per_minute(parsed));
            write!(f, "\n{received:.1} packets/min, {parsed:.1} http packets/min")?;
        }
        Ok(())
    }
}
