//! What can go wrong with an output, and what to do about it.

use std::io;
use std::path::PathBuf;

/// An output that cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory was named (it ends in `/`) that is not there or cannot be read.
    #[error("output directory {}: {source} (create it, or name a file)", path.display())]
    Directory {
        /// The path given.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file cannot be created. The error names it.
    #[error("cannot create the output {}: {source}", path.display())]
    Create {
        /// The output.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A stream cannot be written.
    #[error("cannot write to {}: {source}", path.display())]
    Write {
        /// The output.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A socket in the file system is no output.
    #[error("{} is a socket: name a file, a directory, a FIFO or `-`", path.display())]
    Socket {
        /// The path given.
        path: PathBuf,
    },
    /// No thread, no disk queue.
    #[error("starting a helper thread: {0}")]
    Thread(#[source] io::Error),
}
