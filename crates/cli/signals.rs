//! Signals become what a run can be told: SIGINT and SIGTERM end it, SIGUSR1 asks for the report, SIGHUP rotates.
//!
//! A second SIGINT or SIGTERM ends the process at once, with the status that a shell gives for that signal.

use std::io;
use std::sync::Arc;

use gannet_pipeline::control::{Control, Flags};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};

/// Installs the handlers for `control`. They stay for the rest of the process.
pub(crate) fn install(control: &Control) -> io::Result<()> {
    let Flags { stop, report, rotate } = control.flags();
    for signal in [SIGINT, SIGTERM] {
        // Handlers run in the order of their registration: the first signal finds the flag still unset here.
        signal_hook::flag::register_conditional_shutdown(
            signal,
            SHELL_STATUS_OF_SIGNAL + signal,
            stop.clone(),
        )?;
        signal_hook::flag::register(signal, stop.clone())?;
    }
    signal_hook::flag::register(SIGUSR1, report)?;
    signal_hook::flag::register(SIGHUP, rotate)?;
    // A limit to the size of files (`ulimit -f`) is met by an error of the write then, not by the end of the process.
    signal_hook::flag::register(SIGXFSZ, Arc::default())?;
    // Last, so that whoever is woken finds the flag set.
    for signal in [SIGINT, SIGTERM, SIGUSR1, SIGHUP] {
        signal_hook::low_level::pipe::register(signal, control.waker()?)?;
    }
    Ok(())
}

/// A shell reports the end by signal `n` as status 128 + `n`.
const SHELL_STATUS_OF_SIGNAL: i32 = 128;
