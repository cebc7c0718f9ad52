//! How the process ends: the one place where exit statuses are given.
//!
//! | status | meaning |
//! | --- | --- |
//! | 0 | done; a signal that ended a capture and a reader that closed our pipe are normal ends |
//! | 1 | nothing matched (kept for commands that search) |
//! | 2 | wrong usage, a bad filter, a bad file |
//! | 3 | the capture could not be opened: permission, no such interface |
//! | 4 | packets were lost and `--strict` was given |
//! | 5 | the output could not be opened or written |

use std::io;
use std::process::ExitCode;

use gannet_pipeline::control::Failure;

/// An exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Everything was done.
    Done = 0,
    /// The command line, or a file to be read, is not usable.
    Usage = 2,
    /// The capture could not be opened.
    Open = 3,
    /// Packets were lost, and the user wanted to know.
    Lost = 4,
    /// The output could not be opened or written.
    Output = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<Failure> for Exit {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Usage | Failure::Input => Self::Usage,
            Failure::Open => Self::Open,
            Failure::Output => Self::Output,
        }
    }
}

/// An error of a command: the sentence for the user, and the status it ends the process with.
#[derive(Debug)]
pub(crate) struct Error {
    /// Which status.
    pub(crate) exit: Exit,
    /// What failed, with its causes.
    pub(crate) cause: anyhow::Error,
}

impl Error {
    /// An error made of a sentence.
    pub(crate) fn new(exit: Exit, sentence: impl std::fmt::Display) -> Self {
        Self { exit, cause: anyhow::anyhow!("{sentence}") }
    }

    /// Wrong usage.
    pub(crate) fn usage(sentence: impl std::fmt::Display) -> Self {
        Self::new(Exit::Usage, sentence)
    }

    /// Data for standard output did not get there. A reader that has closed the pipe has what it wanted.
    pub(crate) fn stdout(error: io::Error) -> Self {
        Self { exit: Exit::Output, cause: anyhow::Error::new(error).context("standard output") }
    }

    /// The causes on one line: what was attempted, on what, and the kernel's word. A cause that the sentence before
    /// it quotes already is not said twice.
    pub(crate) fn sentence(&self) -> String {
        let mut sentence = String::new();
        for cause in self.cause.chain() {
            let cause = cause.to_string();
            if sentence.is_empty() {
                sentence = cause;
            } else if !sentence.contains(&cause) {
                sentence = format!("{sentence}: {cause}");
            }
        }
        sentence
    }

    /// Whether the cause is a pipe that its reader has closed, which is a normal end.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        self.cause
            .chain()
            .filter_map(|cause| cause.downcast_ref::<io::Error>())
            .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// What clap says of a mistake, without the word that it puts in front; `None` if it is help, or a version.
pub(crate) fn words_of(error: &clap::Error) -> Option<String> {
    let text = error.render().to_string();
    text.strip_prefix("error: ").map(|words| words.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_recognised_under_its_context() {
        assert!(Error::stdout(io::ErrorKind::BrokenPipe.into()).is_closed_pipe());
        assert!(!Error::stdout(io::ErrorKind::StorageFull.into()).is_closed_pipe());
        assert!(!Error::usage("broken pipe").is_closed_pipe());
    }

    #[test]
    fn a_sentence_says_each_cause_once() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(Error::stdout(full).sentence(), "standard output: no storage space");
        let quoting = anyhow::anyhow!("no storage space").context("writing x: no storage space (free some)");
        let error = Error { exit: Exit::Output, cause: quoting };
        assert_eq!(error.sentence(), "writing x: no storage space (free some)");
    }
}
