//! Why a run could not be started, or had to end.

use std::io;
use std::path::PathBuf;

use crate::control::Failure;
use crate::privileges;

/// A run that could not be started, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A socket, a ring or an interface.
    #[error(transparent)]
    Ring(#[from] gannet_ring::Error),
    /// The output.
    #[error(transparent)]
    Output(#[from] gannet_recorder::Error),
    /// An output of records.
    #[error(transparent)]
    Records(#[from] gannet_sink::Error),
    /// Privileges could not be given up.
    #[error(transparent)]
    Privileges(#[from] privileges::Error),
    /// A file to be read.
    #[error("{}: {source}", path.display())]
    Input {
        /// The file, `-` for standard input.
        path: PathBuf,
        /// What is wrong with it.
        source: gannet_pcap::Error,
    },
    /// A file to be read cannot be opened.
    #[error("cannot read {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A directory where a file is to be read.
    #[error("cannot read {}: it is a directory; name the capture files in it, each with -r", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// A filter that does not go with what is captured or read.
    #[error("{}{}", place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default(), source.render(text))]
    Filter {
        /// The file and its link type; `None` live.
        place: Option<String>,
        /// The expression.
        text: String,
        /// What is wrong with it.
        source: gannet_filter::Error,
    },
    /// Things asked for that do not go together.
    #[error("{0}")]
    Usage(String),
    /// No thread.
    #[error("starting a worker: {0}")]
    Thread(#[source] io::Error),
    /// A worker ended by a defect of this program.
    #[error("worker {0} ended by a defect in the program: please report it")]
    Worker(usize),
}

impl Error {
    /// What kind of failure it is, for the exit status.
    pub fn failure(&self) -> Failure {
        match self {
            Self::Ring(_) | Self::Privileges(_) | Self::Thread(_) | Self::Worker(_) => Failure::Open,
            Self::Output(_) | Self::Records(_) => Failure::Output,
            Self::Input { .. } | Self::Open { .. } | Self::Directory { .. } => Failure::Input,
            Self::Usage(_) | Self::Filter { .. } => Failure::Usage,
        }
    }
}
