//! Names for the interface numbers of a run.

use std::sync::{Arc, PoisonError, RwLock};

/// The interfaces of a run: written by whoever finds one, read by outputs. Shared by reference counting.
#[derive(Clone, Debug, Default)]
pub struct Interfaces(Arc<RwLock<Vec<Arc<str>>>>);

impl Interfaces {
    /// Adds an interface; returns its number in the run.
    pub fn add(&self, name: String) -> u32 {
        // A name is pushed or it is not: a panic elsewhere leaves nothing half done.
        let mut names = self.0.write().unwrap_or_else(PoisonError::into_inner);
        names.push(name.into());
        (names.len() - 1) as u32
    }

    /// The name of interface `number`; `None` if it is unknown or has no name.
    pub fn name(&self, number: u32) -> Option<String> {
        self.shared_name(number).map(|name| name.as_ref().to_owned())
    }

    /// The same without a copy.
    pub fn shared_name(&self, number: u32) -> Option<Arc<str>> {
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        names.get(number as usize).filter(|name| !name.is_empty()).cloned()
    }
}
