//! What can go wrong with an output.

use std::io;
use std::path::PathBuf;

/// An output could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be opened for appending.
    #[error("cannot write to {}: {source}", path.display())]
    Open {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A thread could not be started.
    #[error("starting the output thread: {0}")]
    Thread(#[source] io::Error),
}
