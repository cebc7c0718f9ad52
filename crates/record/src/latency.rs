//! Latency histograms by route, and the table at the end.

use std::fmt;

use gannet_http::Exchange;

use crate::Routes;

/// One worker's histograms: one for each method and route. Merged at the end.
pub struct Latencies;

impl Latencies {
    /// Empty; `routes` says which route an exchange belongs to.
    pub fn new(routes: Routes) -> Self {
        let _ = routes;
        Self
    }

    /// Adds an exchange.
    pub fn add(&mut self, exchange: &Exchange) {
        let _ = exchange;
    }

    /// Adds another worker's.
    pub fn merge(&mut self, other: &Self) {
        let _ = other;
    }

    /// The table, busiest routes first.
    pub fn summary(&self) -> Summary {
        Summary { rows: Vec::new() }
    }
}

/// The latency table: `Display` is what the terminal shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// One row per method and route.
    pub rows: Vec<SummaryRow>,
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct SummaryRow {
    /// Exchanges, those left out of the percentiles included.
    pub count: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.rows.len())
    }
}
